"""Whole training runs on a GPU's chip: one program an autoencoder, one launch a sweep.

Where weights, gradients and Adam's moments fit one block's registers, and what overflows them its L1 cache,
nothing but the curve needs to leave the chip for thousands of steps, and tokens of a sphere or shell are
drawn in registers by a counter-based generator. An H200 runs 132 of them at once. Dimensions are padded to
powers of two of at least 16, which is what its matrix units take; padded latents never fire. Wider
autoencoders go to :mod:`tile_sae`. Twin: :func:`sae_step.steps_slow`, on the tokens of :func:`draw`.

Importing this module needs triton; running it needs a GPU, or ``TRITON_INTERPRET=1`` set beforehand. No GPU
has run it yet: tests interpret it, and compile it for sm_90.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from jaxtyping import Float, Int
from torch import Tensor

from geowall.kernels.sae_blocks import advance, aside, encode, padded, read, send_back, write
from geowall.kernels.sae_step import Rule

TOKENS = 16  # of a batch in flight
# Padded latents x padded dimensions, and padded dimensions, up to which a block's spilled registers stay in
# L1, by the assembler's report for sm_90 (a test reads it). Twice that and they go to L2 and beyond.
ELEMENTS, WIDEST = 2048, 64
PARAMETERS = 6900  # n_latents x d_model: at 32 bytes each, what one block's shared memory could hold


def fits(architecture: str, n_latents: int, d_model: int, batch: int) -> bool:
    """Tell whether such an autoencoder can live on chip."""
    rows, columns = padded(n_latents), padded(d_model)
    small = rows * columns <= ELEMENTS and columns <= WIDEST and n_latents * d_model <= PARAMETERS
    return architecture in ("relu", "jumprelu") and small and batch % TOKENS == 0


@triton.jit
def tokens_at(seed, first, d, thickness, T: tl.constexpr, D: tl.constexpr):
    """Tokens ``first .. first + T`` of the stream of a seed: shell of a thickness, [T, D]."""
    token = first + tl.arange(0, T)
    column = tl.arange(0, D)
    at = token[:, None] * (D + 1) + column[None, :]
    x = tl.where(column[None, :] < d, tl.randn(seed, at), 0.0)
    radius = 1.0 + thickness * (2.0 * tl.rand(seed, token * (D + 1) + D) - 1.0)
    return x * (radius / tl.sqrt(tl.sum(x * x, axis=1)))[:, None]


@triton.jit
def draw_kernel(out, seeds, d, thickness, count, T: tl.constexpr, D: tl.constexpr):
    """Write the tokens that a run would draw."""
    member, tile = tl.program_id(0), tl.program_id(1)
    x = tokens_at(tl.load(seeds + member), tile * T, d, thickness, T, D)
    row, column = tile * T + tl.arange(0, T), tl.arange(0, D)
    at = (member * count + row[:, None]) * d + column[None, :]
    tl.store(out + at, x, mask=(row[:, None] < count) & (column[None, :] < d))


@triton.jit
def train_kernel(
    state, tokens, seeds, rates, l1s, l0s, curve, fired, n, d, steps, batch, t0, thickness,
    bandwidth, clip, beta1, beta2, eps,
    JUMP: tl.constexpr, DRAW: tl.constexpr, T: tl.constexpr, N: tl.constexpr, D: tl.constexpr,
):  # fmt: skip
    """Train one autoencoder for ``steps`` steps."""
    member = tl.program_id(0)
    row, column = tl.arange(0, N), tl.arange(0, D)
    at, size = state + member.to(tl.int64) * 3 * (n * (2 * d + 2) + d), n * (2 * d + 2) + d
    p, m = read(at, row, column, n, d), read(at + size, row, column, n, d)
    v = read(at + 2 * size, row, column, n, d)
    count, alive, c1, c2 = tl.zeros([N], tl.float32), 1.0, 1.0, 1.0
    for _ in range(t0):
        c1, c2 = c1 * beta1, c2 * beta2
    for s in range(steps):
        here = member * steps + s
        first = tokens + here.to(tl.int64) * batch * d
        g, fires, mse, codes = whole_batch(
            p, first, tl.load(seeds + member), (t0 + s) * batch, n, d, batch, thickness,
            tl.load(l1s + member), tl.load(l0s + member), bandwidth, row, column, JUMP, DRAW, T,
        )  # fmt: skip
        # Not a number is not equal to itself, and an infinity less itself is not a number.
        alive = tl.where(mse + codes - (mse + codes) == 0.0, alive, 0.0)
        c1, c2 = c1 * beta1, c2 * beta2
        if alive > 0.0:
            lr = tl.load(rates + s)
            p, m, v = step(p, m, v, g, lr, 1.0 - c1, 1.0 - c2, clip, beta1, beta2, eps)
            count += fires
        into = curve + here * 4
        tl.store(into, mse / batch)
        tl.store(into + 1, codes / batch)
        tl.store(into + 2, tl.sum(fires) / batch)
        tl.store(into + 3, alive)
    write(at, row, column, n, d, p, True)
    write(at + size, row, column, n, d, m, True)
    write(at + 2 * size, row, column, n, d, v, True)
    tl.store(fired + member * n + row, count, mask=row < n)


@triton.jit
def whole_batch(
    p, first, seed, start, n, d, batch, thickness, l1, l0, bandwidth, row, column,
    JUMP: tl.constexpr, DRAW: tl.constexpr, T: tl.constexpr,
):  # fmt: skip
    """Gradient of every part over a batch, how often each latent fired, and sums of error and codes."""
    enc, dec, b, h, o = p
    theta, scale, allowed = tl.exp(h), 2.0 / batch, (row < n)[None, :]
    g_enc, g_dec, g_b = tl.zeros_like(enc), tl.zeros_like(dec), tl.zeros_like(b)
    g_h, g_o, fires = tl.zeros_like(h), tl.zeros_like(o), tl.zeros_like(b)
    mse, codes = 0.0, 0.0
    for t in range(0, batch, T):
        if DRAW:
            x = tokens_at(seed, start + t, d, thickness, T, column.shape[0])
        else:
            at = (t + tl.arange(0, T))[:, None] * d + column[None, :]
            x = tl.load(first + at, mask=(column < d)[None, :], other=0.0)
        pre, on = encode(x, enc, b, theta, allowed, JUMP)
        f = tl.where(on, pre, 0.0)
        error = tl.dot(f, dec, input_precision="ieee") + o[None, :] - x
        back, slope = send_back(pre, on, error, dec, theta, allowed, batch, l1, l0, bandwidth, JUMP)
        g_enc += tl.dot(tl.trans(back), x, input_precision="ieee")
        g_dec += tl.dot(tl.trans(f), error, input_precision="ieee") * scale
        g_b += tl.sum(back, axis=0)
        g_h += slope
        g_o += tl.sum(error, axis=0) * scale
        fires += tl.sum(tl.where(on, 1.0, 0.0), axis=0)
        mse += tl.sum(error * error)
        codes += tl.sum(f)
    return (g_enc, g_dec, g_b, g_h, g_o), fires, mse, codes


@triton.jit
def step(p, m, v, g, lr, c1, c2, clip, beta1, beta2, eps):
    """Project the decoder's gradient, clip, step Adam, put the decoder back: sae_step.update."""
    g = (g[0], aside(g[1], p[1]), g[2], g[3], g[4])
    square = tl.sum(g[0] * g[0]) + tl.sum(g[1] * g[1])
    square += tl.sum(g[2] * g[2]) + tl.sum(g[3] * g[3]) + tl.sum(g[4] * g[4])
    shrink = tl.minimum(1.0, clip / (tl.sqrt(square) + 1e-6))
    return advance(p, m, v, g, shrink, lr, c1, c2, beta1, beta2, eps)


def draw(
    seeds: Int[Tensor, " member"], count: int, d_model: int, thickness: float = 0.0
) -> Float[Tensor, "member token d_model"]:
    """The first ``count`` tokens of each stream, as a run with these seeds draws them in registers."""
    out = torch.empty(len(seeds), count, d_model, device=seeds.device)
    shape = (len(seeds), triton.cdiv(count, TOKENS))
    draw_kernel[shape](out, seeds, d_model, thickness, count, T=TOKENS, D=padded(d_model))
    return out


def steps(
    state: Float[Tensor, "member 3 parameter"],
    x: Float[Tensor, "member step token d_model"] | Int[Tensor, " member"],
    lr: Float[Tensor, " step"],
    t0: int,
    rule: Rule,
    n_latents: int,
    l1: Float[Tensor, " member"],
    l0: Float[Tensor, " member"],
    batch: int = 1024,
    thickness: float = 0.0,
) -> tuple[Tensor, Float[Tensor, "member step 4"], Float[Tensor, "member latent"]]:
    """Take a step for each rate, in place on ``state``; like :func:`dense_sae.steps`.

    ``x`` holds the tokens, or the seeds of streams of a shell of ``thickness`` to draw them from on chip.
    """
    members, drawn = len(state), x.ndim == 1
    n_steps, batch = len(lr), batch if drawn else x.shape[2]
    d_model = (state.shape[-1] - 2 * n_latents) // (2 * n_latents + 1)
    if not fits(rule.architecture, n_latents, d_model, batch):
        raise ValueError(f"{rule.architecture} of {n_latents} x {d_model} at a batch of {batch} does not fit")
    curve, fired = state.new_zeros(members, n_steps, 4), state.new_zeros(members, n_latents)
    rows, columns = padded(n_latents), padded(d_model)
    train_kernel[(members,)](
        *(state, x, x, lr.to(state.device), l1, l0, curve, fired),
        *(n_latents, d_model, n_steps, batch, t0, thickness),
        *(rule.bandwidth, rule.clip, rule.beta1, rule.beta2, rule.eps),
        JUMP=rule.architecture == "jumprelu", DRAW=drawn, T=TOKENS, N=rows, D=columns,
        num_warps=4 if rows * columns <= 512 else 8,
    )  # fmt: skip
    taken = curve[:, :, 3].sum(1).long()
    curve[:, :, 3] = 0.0
    return taken, curve, fired
