"""Training autoencoders too wide for :mod:`chip_sae` on a GPU, without ever writing a code.

A step is three launches. The first takes a block of tokens through all latents and leaves their error,
d_model numbers a token. The second takes a block of latents over all tokens, makes their codes again and
leaves their gradient. The third is Adam. All read the number of the step from the GPU, so a CUDA graph of one
step serves for all; members of one shape go side by side. Twin: :func:`sae_step.steps_slow`.

Importing this module needs triton; running it needs a GPU, or ``TRITON_INTERPRET=1`` set beforehand. No GPU
has run it yet: tests interpret it, and compile it for sm_90.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor

from geowall.kernels.sae_blocks import advance, aside, encode, padded, read, send_back, write
from geowall.kernels.sae_step import Rule

TOKENS = 32  # in a block
ELEMENTS = 2048  # latents x padded dimensions in a block
WIDEST = 128  # dimensions; beyond them the matrix products of dense_sae are thick enough for cuBLAS
WARPS = 8


def serves(architecture: str, d_model: int) -> bool:
    """Tell whether the tiles take such an autoencoder, of any number of latents."""
    return architecture in ("relu", "jumprelu") and d_model <= WIDEST


@triton.jit
def forward_kernel(
    state, x, now, error, sums, n, d, steps, batch,
    JUMP: tl.constexpr, T: tl.constexpr, N: tl.constexpr, D: tl.constexpr,
):  # fmt: skip
    """Error of a block of tokens [T, d], and sums of its square, of codes and of active latents."""
    tile, member, s = tl.program_id(0), tl.program_id(1).to(tl.int64), tl.load(now)
    at = state + member * 3 * (n * (2 * d + 2) + d)
    token, column = tile * T + tl.arange(0, T), tl.arange(0, D)
    real = (token < batch)[:, None]
    inside = real & (column < d)[None, :]
    cell = token[:, None] * d + column[None, :]
    given = tl.load(x + (member * steps + s) * batch * d + cell, mask=inside, other=0.0)
    bias = tl.load(at + n * (2 * d + 2) + column, mask=column < d, other=0.0)
    wrong, codes, active = bias[None, :] - given, 0.0, 0.0
    for j in range(0, n, N):
        row = j + tl.arange(0, N)
        enc, dec, b, h, _ = read(at, row, column, n, d)
        p, on = encode(given, enc, b, tl.exp(h), real & (row < n)[None, :], JUMP)
        f = tl.where(on, p, 0.0)
        wrong += tl.dot(f, dec, input_precision="ieee")
        codes += tl.sum(f)
        active += tl.sum(tl.where(on, 1.0, 0.0))
    wrong = tl.where(inside, wrong, 0.0)
    tl.store(error + member * batch * d + cell, wrong, mask=inside)
    into = sums + (member * tl.num_programs(0) + tile) * 3
    tl.store(into, tl.sum(wrong * wrong))
    tl.store(into + 1, codes)
    tl.store(into + 2, active)


@triton.jit
def backward_kernel(
    state, x, now, error, grad, squares, counts, l1s, l0s, n, d, steps, batch, bandwidth,
    JUMP: tl.constexpr, ASIDE: tl.constexpr, T: tl.constexpr, N: tl.constexpr, D: tl.constexpr,
):  # fmt: skip
    """Gradient of a block of latents, its squared norm, and on how many tokens each of them fired."""
    tile, member, s = tl.program_id(0), tl.program_id(1).to(tl.int64), tl.load(now)
    size = n * (2 * d + 2) + d
    row, column = tile * N + tl.arange(0, N), tl.arange(0, D)
    enc, dec, b, h, o = read(state + member * 3 * size, row, column, n, d)
    theta, l1, l0 = tl.exp(h), tl.load(l1s + member), tl.load(l0s + member)
    g_enc, g_dec, g_b = tl.zeros_like(enc), tl.zeros_like(dec), tl.zeros_like(b)
    g_h, g_o, fires = tl.zeros_like(h), tl.zeros_like(o), tl.zeros_like(b)
    for t in range(0, batch, T):
        token = t + tl.arange(0, T)
        real = (token < batch)[:, None]
        inside, cell = real & (column < d)[None, :], token[:, None] * d + column[None, :]
        given = tl.load(x + (member * steps + s) * batch * d + cell, mask=inside, other=0.0)
        wrong = tl.load(error + member * batch * d + cell, mask=inside, other=0.0)
        allowed = real & (row < n)[None, :]
        p, on = encode(given, enc, b, theta, allowed, JUMP)
        back, slope = send_back(p, on, wrong, dec, theta, allowed, batch, l1, l0, bandwidth, JUMP)
        g_enc += tl.dot(tl.trans(back), given, input_precision="ieee")
        g_dec += tl.dot(tl.trans(tl.where(on, p, 0.0)), wrong, input_precision="ieee")
        g_b += tl.sum(back, axis=0)
        g_h += slope
        g_o += tl.sum(wrong, axis=0)
        fires += tl.sum(tl.where(on, 1.0, 0.0), axis=0)
    g_dec, g_o = g_dec * 2.0 / batch, g_o * 2.0 / batch
    if ASIDE:
        g_dec = aside(g_dec, dec)
    write(grad + member * size, row, column, n, d, (g_enc, g_dec, g_b, g_h, g_o), True)
    square = tl.sum(g_enc * g_enc) + tl.sum(g_dec * g_dec) + tl.sum(g_b * g_b) + tl.sum(g_h * g_h)
    once = tl.where(tile == 0, 1.0, 0.0)  # the bias of the decoder belongs to no block
    tl.store(squares + member * tl.num_programs(0) + tile, square + once * tl.sum(g_o * g_o))
    tl.store(counts + member * n + row, fires, mask=row < n)


@triton.jit
def update_kernel(
    state, now, rates, grad, squares, sums, counts, curve, fired, n, d, steps, batch, blocks,
    clip, beta1, beta2, eps,
    N: tl.constexpr, D: tl.constexpr, TILES: tl.constexpr, BLOCKS: tl.constexpr,
):  # fmt: skip
    """Adam on a block of latents, while the member's loss is finite, and a row of the curve."""
    tile, member, s = tl.program_id(0), tl.program_id(1).to(tl.int64), tl.load(now)
    size, into = n * (2 * d + 2) + d, curve + (member * steps + s) * 4
    at, which = state + member * 3 * size, tl.arange(0, BLOCKS)
    part = sums + (member * blocks + which) * 3
    mse = tl.sum(tl.load(part, mask=which < blocks, other=0.0))
    codes = tl.sum(tl.load(part + 1, mask=which < blocks, other=0.0))
    active = tl.sum(tl.load(part + 2, mask=which < blocks, other=0.0))
    alive = tl.load(into - 1, mask=s > 0, other=1.0)  # of the step before
    # Not a number is not equal to itself, and an infinity less itself is not a number.
    alive = tl.where(mse + codes - (mse + codes) == 0.0, alive, 0.0)
    if tile == 0:
        tl.store(into, mse / batch)
        tl.store(into + 1, codes / batch)
        tl.store(into + 2, active / batch)
        tl.store(into + 3, alive)
    if alive > 0.0:
        tiles, row, column = tl.arange(0, TILES), tile * N + tl.arange(0, N), tl.arange(0, D)
        count, latent = tl.num_programs(0), member * n + row
        before = tl.load(fired + latent, mask=row < n, other=0.0)
        tl.store(fired + latent, before + tl.load(counts + latent, mask=row < n, other=0.0), mask=row < n)
        square = tl.sum(tl.load(squares + member * count + tiles, mask=tiles < count, other=0.0))
        shrink = tl.minimum(1.0, clip / (tl.sqrt(square) + 1e-6))
        lr, c1, c2 = tl.load(rates + 3 * s), tl.load(rates + 3 * s + 1), tl.load(rates + 3 * s + 2)
        p, g = read(at, row, column, n, d), read(grad + member * size, row, column, n, d)
        m, v = read(at + size, row, column, n, d), read(at + 2 * size, row, column, n, d)
        p, m, v = advance(p, m, v, g, shrink, lr, c1, c2, beta1, beta2, eps)
        write(at, row, column, n, d, p, tile == 0)
        write(at + size, row, column, n, d, m, tile == 0)
        write(at + 2 * size, row, column, n, d, v, tile == 0)


def steps(
    state: Float[Tensor, "member 3 parameter"],
    x: Float[Tensor, "member step token d_model"],
    lr: Float[Tensor, " step"],
    t0: int,
    rule: Rule,
    n_latents: int,
    l1: Float[Tensor, " member"],
    l0: Float[Tensor, " member"],
) -> tuple[Tensor, Float[Tensor, "member step 4"], Float[Tensor, "member latent"]]:
    """Take a step for each batch, in place on ``state``; like :func:`dense_sae.steps`."""
    work = _Buffers(state, x, n_latents, rule)
    powers = torch.arange(t0 + 1, t0 + x.shape[1] + 1, dtype=torch.float64)
    falls = [lr.double().cpu(), 1.0 - rule.beta1**powers, 1.0 - rule.beta2**powers]
    rates = torch.stack(falls, dim=1).to(x.device, torch.float32)

    def one() -> None:
        work.gradients(l1, l0, aside=True)
        work.update(rates)

    _repeat(one, x.shape[1], x.device)
    taken = work.curve[:, :, 3].sum(1).long()
    work.curve[:, :, 3] = 0.0
    return taken, work.curve, work.fired


def gradients(
    params: Float[Tensor, "member parameter"],
    x: Float[Tensor, "member token d_model"],
    rule: Rule,
    n_latents: int,
    l1: Float[Tensor, " member"],
    l0: Float[Tensor, " member"],
) -> tuple[Tensor, Float[Tensor, "member 4"], Float[Tensor, "member latent"]]:
    """Gradients, curve rows and firing counts of one batch; twin: :func:`sae_step.gradients_slow`."""
    state = torch.stack([params, torch.zeros_like(params), torch.zeros_like(params)], dim=1)
    work = _Buffers(state, x.unsqueeze(1).contiguous(), n_latents, rule)
    work.gradients(l1, l0, aside=False)
    curve = torch.nn.functional.pad(work.sums.sum(1) / x.shape[1], (0, 1))
    return work.grad, curve, work.counts


def _repeat(one: Callable[[], None], times: int, device: torch.device) -> None:
    """Take a step ``times`` times: the first compiles the kernels, the others are replays of a CUDA graph."""
    one()
    if device.type != "cuda":
        for _ in range(times - 1):
            one()
        return
    if times > 1:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            one()
        for _ in range(times - 1):
            graph.replay()
    torch.cuda.synchronize(device)  # the graph's buffers must outlive its last replay


class _Buffers:
    """What the launches of a step hand on to each other: all of a block of steps, allocated once."""

    def __init__(self, state: Tensor, x: Tensor, n_latents: int, rule: Rule) -> None:
        members, n_steps, batch, d_model = x.shape
        self.state, self.x, self.rule = state, x, rule
        self.sizes, self.members = (n_latents, d_model, n_steps, batch), members
        self.columns = padded(d_model)
        self.rows = max(16, min(128, ELEMENTS // self.columns))
        self.blocks, self.tiles = triton.cdiv(batch, TOKENS), triton.cdiv(n_latents, self.rows)
        self.now = torch.zeros((), dtype=torch.int64, device=x.device)
        self.error = x.new_empty(members, batch, d_model)
        self.sums, self.squares = x.new_empty(members, self.blocks, 3), x.new_empty(members, self.tiles)
        self.grad = x.new_empty(members, state.shape[-1])
        self.counts, self.fired = x.new_empty(members, n_latents), x.new_zeros(members, n_latents)
        self.curve = x.new_zeros(members, n_steps, 4)

    def gradients(self, l1: Tensor, l0: Tensor, aside: bool) -> None:
        """Launch the first two kernels."""
        jump = self.rule.architecture == "jumprelu"
        shape = {"T": TOKENS, "N": self.rows, "D": self.columns, "num_warps": WARPS}
        forward_kernel[(self.blocks, self.members)](
            *(self.state, self.x, self.now, self.error, self.sums), *self.sizes, JUMP=jump, **shape
        )
        backward_kernel[(self.tiles, self.members)](
            *(self.state, self.x, self.now, self.error, self.grad, self.squares, self.counts, l1, l0),
            *(*self.sizes, self.rule.bandwidth),
            **({"JUMP": jump, "ASIDE": aside} | shape),
        )

    def update(self, rates: Tensor) -> None:
        """Launch the third, and count the step."""
        update_kernel[(self.tiles, self.members)](
            *(self.state, self.now, rates, self.grad, self.squares, self.sums, self.counts),
            *(self.curve, self.fired, *self.sizes, self.blocks),
            *(self.rule.clip, self.rule.beta1, self.rule.beta2, self.rule.eps),
            N=self.rows, D=self.columns, num_warps=WARPS,
            TILES=triton.next_power_of_2(self.tiles), BLOCKS=triton.next_power_of_2(self.blocks),
        )  # fmt: skip
        self.now += 1
