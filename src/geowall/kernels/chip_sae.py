"""Whole training runs on a GPU's chip: one program an autoencoder, one launch a sweep.

Where weights, gradients and Adam's moments fit one block's registers, nothing but the curve needs to leave
the chip for thousands of steps, and tokens of a sphere or shell are drawn in registers by a counter-based
generator. An H200 runs 132 of them at once. Dimensions are padded to powers of two of at least 16, which is
what its matrix units take; padded latents never fire. Twin: :func:`sae_step.steps_slow`, on the tokens of
:func:`draw`.

Importing this module needs triton; running it needs a GPU, or ``TRITON_INTERPRET=1`` set beforehand.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from jaxtyping import Float, Int
from torch import Tensor

from geowall.kernels.sae_step import Rule

TOKENS = 32  # of a batch in flight
ELEMENTS = 4096  # padded latents x padded dimensions; of such arrays, eight must fit the registers


def fits(architecture: str, n_latents: int, d_model: int, batch: int) -> bool:
    """Tell whether such an autoencoder can live on chip."""
    rows, columns = _padded(n_latents), _padded(d_model)
    known = architecture in ("relu", "jumprelu")
    return known and rows * columns <= ELEMENTS and batch % TOKENS == 0


def _padded(size: int) -> int:
    return max(16, triton.next_power_of_2(size))


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
def adam(p, m, v, g, lr, c1, c2, beta1, beta2, eps):
    """One update; returns parameter and moments."""
    m = beta1 * m + (1.0 - beta1) * g
    v = beta2 * v + (1.0 - beta2) * g * g
    return p - lr * (m / c1) / (tl.sqrt(v / c2) + eps), m, v


@triton.jit
def train_kernel(
    state, tokens, seeds, rates, l1s, l0s, curve, fired, n, d, steps, batch, t0, thickness,
    bandwidth, clip, beta1, beta2, eps,
    JUMP: tl.constexpr, DRAW: tl.constexpr, T: tl.constexpr, N: tl.constexpr, D: tl.constexpr,
):  # fmt: skip
    """Train one autoencoder for ``steps`` steps."""
    member = tl.program_id(0)
    row, column = tl.arange(0, N), tl.arange(0, D)
    is_row, is_column = row < n, column < d
    size = n * (2 * d + 2) + d
    base = state + member.to(tl.int64) * 3 * size
    cell = row[:, None] * d + column[None, :]
    inside = is_row[:, None] & is_column[None, :]
    # Parameters, then Adam's first and second moments: the same five parts at three places.
    enc = tl.load(base + cell, mask=inside, other=0.0)
    dec = tl.load(base + n * d + cell, mask=inside, other=0.0)
    b = tl.load(base + 2 * n * d + row, mask=is_row, other=-1e30)
    h = tl.load(base + 2 * n * d + n + row, mask=is_row, other=0.0)
    o = tl.load(base + size - d + column, mask=is_column, other=0.0)
    enc_m = tl.load(base + size + cell, mask=inside, other=0.0)
    dec_m = tl.load(base + size + n * d + cell, mask=inside, other=0.0)
    b_m = tl.load(base + size + 2 * n * d + row, mask=is_row, other=0.0)
    h_m = tl.load(base + size + 2 * n * d + n + row, mask=is_row, other=0.0)
    o_m = tl.load(base + 2 * size - d + column, mask=is_column, other=0.0)
    enc_v = tl.load(base + 2 * size + cell, mask=inside, other=0.0)
    dec_v = tl.load(base + 2 * size + n * d + cell, mask=inside, other=0.0)
    b_v = tl.load(base + 2 * size + 2 * n * d + row, mask=is_row, other=0.0)
    h_v = tl.load(base + 2 * size + 2 * n * d + n + row, mask=is_row, other=0.0)
    o_v = tl.load(base + 3 * size - d + column, mask=is_column, other=0.0)
    l1, l0 = tl.load(l1s + member) / batch, tl.load(l0s + member) / batch
    scale = 2.0 / batch
    count = tl.zeros([N], tl.float32)
    c1, c2 = 1.0, 1.0
    for _ in range(t0):
        c1, c2 = c1 * beta1, c2 * beta2
    alive = 1.0
    for s in range(steps):
        g_enc, g_dec = tl.zeros([N, D], tl.float32), tl.zeros([N, D], tl.float32)
        g_b, g_h, g_o = tl.zeros([N], tl.float32), tl.zeros([N], tl.float32), tl.zeros([D], tl.float32)
        mse, codes, active = 0.0, 0.0, 0.0
        here = tl.zeros([N], tl.float32)
        theta = tl.exp(h)
        for start in range(0, batch, T):
            if DRAW:
                x = tokens_at(tl.load(seeds + member), (t0 + s) * batch + start, d, thickness, T, D)
            else:
                token = (member * steps + s).to(tl.int64) * batch + start + tl.arange(0, T)
                at = token[:, None] * d + column[None, :]
                x = tl.load(tokens + at, mask=is_column[None, :], other=0.0)
            p = tl.dot(x, tl.trans(enc), input_precision="ieee") + b[None, :]
            on = p > 0.0
            if JUMP:
                on = on & (p > theta[None, :])
            f = tl.where(on, p, 0.0)
            error = tl.dot(f, dec, input_precision="ieee") + o[None, :] - x
            back = scale * tl.dot(error, tl.trans(dec), input_precision="ieee") + l1
            if JUMP:
                near = (tl.abs(p - theta[None, :]) < 0.5 * bandwidth) & is_row[None, :]
                slope = (theta[None, :] * back + l0) / bandwidth
                g_h -= tl.sum(tl.where(near, slope, 0.0), axis=0)
            back = tl.where(on, back, 0.0)
            g_enc += tl.dot(tl.trans(back), x, input_precision="ieee")
            g_dec += tl.dot(tl.trans(f), error, input_precision="ieee") * scale
            g_b += tl.sum(back, axis=0)
            g_o += tl.sum(error, axis=0) * scale
            gates = tl.where(on, 1.0, 0.0)
            here += tl.sum(gates, axis=0)
            mse += tl.sum(error * error)
            codes += tl.sum(f)
        active = tl.sum(here)
        g_h *= theta
        into = curve + (member * steps + s) * 4
        tl.store(into, mse / batch)
        tl.store(into + 1, codes / batch)
        tl.store(into + 2, active / batch)
        # Not a number is not equal to itself, and an infinity less itself is not a number.
        total = mse + codes
        alive = tl.where(total - total == 0.0, alive, 0.0)
        g_dec -= tl.sum(g_dec * dec, axis=1)[:, None] * dec
        square = tl.sum(g_enc * g_enc) + tl.sum(g_dec * g_dec)
        square += tl.sum(g_b * g_b) + tl.sum(g_h * g_h) + tl.sum(g_o * g_o)
        shrink = tl.minimum(1.0, clip / (tl.sqrt(square) + 1e-6))
        c1, c2 = c1 * beta1, c2 * beta2
        k1, k2, lr = 1.0 - c1, 1.0 - c2, tl.load(rates + s)
        if alive > 0.0:
            enc, enc_m, enc_v = adam(enc, enc_m, enc_v, g_enc * shrink, lr, k1, k2, beta1, beta2, eps)
            dec, dec_m, dec_v = adam(dec, dec_m, dec_v, g_dec * shrink, lr, k1, k2, beta1, beta2, eps)
            b, b_m, b_v = adam(b, b_m, b_v, g_b * shrink, lr, k1, k2, beta1, beta2, eps)
            h, h_m, h_v = adam(h, h_m, h_v, g_h * shrink, lr, k1, k2, beta1, beta2, eps)
            o, o_m, o_v = adam(o, o_m, o_v, g_o * shrink, lr, k1, k2, beta1, beta2, eps)
            dec /= tl.maximum(tl.sqrt(tl.sum(dec * dec, axis=1)), 1e-12)[:, None]
            count += here
        tl.store(into + 3, alive)
    tl.store(base + cell, enc, mask=inside)
    tl.store(base + n * d + cell, dec, mask=inside)
    tl.store(base + 2 * n * d + row, b, mask=is_row)
    tl.store(base + 2 * n * d + n + row, h, mask=is_row)
    tl.store(base + size - d + column, o, mask=is_column)
    tl.store(base + size + cell, enc_m, mask=inside)
    tl.store(base + size + n * d + cell, dec_m, mask=inside)
    tl.store(base + size + 2 * n * d + row, b_m, mask=is_row)
    tl.store(base + size + 2 * n * d + n + row, h_m, mask=is_row)
    tl.store(base + 2 * size - d + column, o_m, mask=is_column)
    tl.store(base + 2 * size + cell, enc_v, mask=inside)
    tl.store(base + 2 * size + n * d + cell, dec_v, mask=inside)
    tl.store(base + 2 * size + 2 * n * d + row, b_v, mask=is_row)
    tl.store(base + 2 * size + 2 * n * d + n + row, h_v, mask=is_row)
    tl.store(base + 3 * size - d + column, o_v, mask=is_column)
    tl.store(fired + member * n + row, count, mask=is_row)


def draw(
    seeds: Int[Tensor, " member"], count: int, d_model: int, thickness: float = 0.0
) -> Float[Tensor, "member token d_model"]:
    """The first ``count`` tokens of each stream, as a run with these seeds draws them in registers."""
    out = torch.empty(len(seeds), count, d_model, device=seeds.device)
    shape = (len(seeds), triton.cdiv(count, TOKENS))
    draw_kernel[shape](out, seeds, d_model, thickness, count, T=TOKENS, D=_padded(d_model))
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
    rows, columns = _padded(n_latents), _padded(d_model)
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
