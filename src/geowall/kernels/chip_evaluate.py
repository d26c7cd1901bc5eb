"""The evaluation of a checkpoint on a GPU: a screen in bfloat16 tiles, then a program for each token.

The first kernel multiplies tiles of tokens and latents on the tensor cores and keeps, for each token, the
latents that may be active: those whose product is not below the threshold by more than rounding to bfloat16
can account for (the bound of ``evaluate.cpp``). The second takes each of them again in float64, decides, and
adds its decoder row to a reconstruction that never leaves the registers. Tokens x latents are never written.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor

from geowall.kernels.evaluate import Dictionary, Errors

TOKENS, LATENTS, DEPTH = 64, 128, 32  # of a tile of the screen
ROOM = 512  # candidates kept for a token at first; made where it was too little


@triton.jit
def screen_kernel(
    x, W, x_norm, x_off, w_norm, w_slope, cut, found, count,
    tokens, d, n, room,
    T: tl.constexpr, N: tl.constexpr, K: tl.constexpr,
):  # fmt: skip
    """Latents that may be active: counted for each token, and named while there is room."""
    t = tl.program_id(0) * T + tl.arange(0, T)
    j = tl.program_id(1) * N + tl.arange(0, N)
    is_t, is_j = t < tokens, j < n
    sums = tl.zeros((T, N), tl.float32)
    for start in range(0, d, K):
        k = start + tl.arange(0, K)
        a = tl.load(x + t[:, None] * d + k[None, :], mask=is_t[:, None] & (k < d)[None, :], other=0.0)
        b = tl.load(
            W + k[:, None].to(tl.int64) * n + j[None, :], mask=(k < d)[:, None] & is_j[None, :], other=0.0
        )
        sums = tl.dot(a, b, sums)
    off = (
        tl.load(x_off + t, mask=is_t, other=0.0)[:, None] * tl.load(w_norm + j, mask=is_j, other=0.0)[None, :]
    )
    size = (
        tl.load(x_norm + t, mask=is_t, other=0.0)[:, None]
        * tl.load(w_slope + j, mask=is_j, other=0.0)[None, :]
    )
    least = tl.load(cut + j, mask=is_j, other=float("inf"))[None, :] - off - size
    is_open = (sums >= least) & is_t[:, None] & is_j[None, :]
    row = tl.broadcast_to(t[:, None], (T, N))
    slot = tl.atomic_add(count + row, 1, mask=is_open)
    name = tl.broadcast_to(j[None, :], (T, N))
    tl.store(found + row.to(tl.int64) * room + slot, name, mask=is_open & (slot < room))


@triton.jit
def settle_kernel(
    x, enc, b_enc, threshold, dec, b_dec, found, count, error, inner, square, l0, fired,
    d, room, D: tl.constexpr, C: tl.constexpr,
):  # fmt: skip
    """One token: settle its candidates in float64, decode the active ones, keep four scalars."""
    t = tl.program_id(0)
    k = tl.arange(0, D)
    is_k = k < d
    own = tl.load(x + t * d + k, mask=is_k, other=0.0).to(tl.float64)
    rebuilt = tl.load(b_dec + k, mask=is_k, other=0.0)
    many = tl.load(count + t)
    active = tl.zeros((C,), tl.int32)
    for start in range(0, many, C):
        i = start + tl.arange(0, C)
        is_i = i < many
        j = tl.load(found + t.to(tl.int64) * room + i, mask=is_i, other=0).to(tl.int64)
        place, inside = j[:, None] * d + k[None, :], is_i[:, None] & is_k[None, :]
        w = tl.load(enc + place, mask=inside, other=0.0).to(tl.float64)
        p = tl.sum(own[None, :] * w, axis=1) + tl.load(b_enc + j).to(tl.float64)
        on = (p > tl.load(threshold + j).to(tl.float64)) & (p > 0.0) & is_i
        code = tl.where(on, p, 0.0).to(tl.float32)
        row = tl.load(dec + place, mask=inside & on[:, None], other=0.0)
        rebuilt += tl.sum(code[:, None] * row, axis=0)
        active += on.to(tl.int32)
        tl.atomic_add(fired + j, on.to(tl.int32), mask=on)
    left, made = own - rebuilt.to(tl.float64), rebuilt.to(tl.float64)
    tl.store(error + t, tl.sum(left * left, axis=0))
    tl.store(inner + t, tl.sum(own * made, axis=0))
    tl.store(square + t, tl.sum(made * made, axis=0))
    tl.store(l0 + t, tl.sum(active, axis=0))


def evaluate(sae: Dictionary, x: Float[Tensor, "token d_model"]) -> Errors:
    """Errors and sparsity of a gated dictionary; twin: :func:`geowall.kernels.evaluate.evaluate_slow`."""
    (tokens, d), n, device = x.shape, len(sae.b_enc), x.device
    counts = {"dtype": torch.int32, "device": device}
    fired, l0 = torch.zeros(n, **counts), torch.zeros(tokens, **counts)
    sums = torch.zeros(3, tokens, dtype=torch.float64, device=device)
    if tokens == 0:
        return Errors(*sums, l0.long(), fired.long())
    x, enc = x.float().contiguous(), sae.W_enc.float().T.contiguous()
    found, count, room = _screened(sae, x, enc)
    settle_kernel[(tokens,)](
        *(x, enc, sae.b_enc.float(), sae.threshold.float()),
        *(sae.W_dec.float().contiguous(), sae.b_dec.float()),
        *(found, count, *sums, l0, fired, d, room),
        D=_padded(d), C=_at_once(d), num_warps=8 if d > 1024 else 4,
    )  # fmt: skip
    return Errors(*sums, l0.long(), fired.long())


def _padded(d: int) -> int:
    return max(16, triton.next_power_of_2(d))


def _at_once(d: int) -> int:
    """Candidates that the registers of a program hold."""
    return max(2, min(16, 8192 // _padded(d)))


def _screened(sae: Dictionary, x: Tensor, enc: Tensor) -> tuple[Tensor, Tensor, int]:
    """Candidates [token, room], how many each token has, and the room."""
    (tokens, d), n = x.shape, len(enc)
    rounded, w = x.bfloat16(), sae.W_enc.bfloat16().contiguous()
    more = 1.0 + 1e-6 * d  # for the rounding of these norms themselves
    x_norm, x_off = more * rounded.float().norm(dim=1), more * (x - rounded.float()).norm(dim=1)
    kept = enc.bfloat16().float()
    w_norm = more * enc.norm(dim=1)
    w_slope = more * ((enc - kept).norm(dim=1) + (d + 32) * 2.0**-24 * kept.norm(dim=1))
    cut, room = sae.threshold.float().clamp(min=0) - sae.b_enc.float(), min(n, ROOM)
    shape = (triton.cdiv(tokens, TOKENS), triton.cdiv(n, LATENTS))
    while True:
        found = torch.zeros(tokens, room, dtype=torch.int32, device=x.device)
        count = torch.zeros(tokens, dtype=torch.int32, device=x.device)
        screen_kernel[shape](
            *(rounded, w, x_norm, x_off, w_norm, w_slope, cut, found, count, tokens, d, n, room),
            T=TOKENS, N=LATENTS, K=DEPTH,
        )  # fmt: skip
        most = int(count.max())
        if most <= room:
            return found, count, room
        room = most
