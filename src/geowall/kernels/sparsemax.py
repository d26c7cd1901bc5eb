"""Sparsemax: the point of the probability simplex nearest to a row (Martins and Astudillo 2016, equation 2).

The answer is ``max(0, x - tau)`` with the one ``tau`` at which it sums to 1. Sorting finds it in three lines
(the twin below); the compiled path never sorts, and the GPU's keeps the row in registers.

>>> sparsemax(torch.tensor([[0.0, 0.5, 1.0], [2.0, 0.0, 0.0]])).tolist()
[[0.0, 0.25, 0.75], [1.0, 0.0, 0.0]]
"""

from __future__ import annotations

import ctypes
from importlib.util import find_spec

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from geowall.kernels import compiled

ROOM = 64  # places of a row's support that are kept for the way back; a wider one is read off the output
LARGE = 2**23  # floats that no allocator keeps at hand: their pages are fresh each time


def sparsemax_slow(x: Float[Tensor, "*row column"]) -> Float[Tensor, "*row column"]:
    """The definition, by sorting; any device, any precision, differentiable by autograd."""
    ranked = x.sort(dim=-1, descending=True).values
    tau = (ranked.cumsum(-1) - 1.0) / torch.arange(1, x.shape[-1] + 1, dtype=x.dtype, device=x.device)
    return (x - tau.gather(-1, (ranked > tau).sum(-1, keepdim=True) - 1)).clamp(min=0.0)


def sparsemax(x: Float[Tensor, "*row column"]) -> Float[Tensor, "*row column"]:
    """Project the last axis onto the simplex; twin: :func:`sparsemax_slow`.

    Float32 on a CPU takes the compiled path, on a GPU the Triton one; everything else sorts. The support is
    that of exact arithmetic on the numbers given. Rows that hold a NaN are undefined.
    """
    if x.dtype != torch.float32 or not x.numel() or not _fast(x):
        return sparsemax_slow(x)
    return _Sparsemax.apply(x)


def _fast(x: Tensor) -> bool:
    if x.device.type == "cpu":
        return compiled.library("sparsemax.cpp") is not None
    return find_spec("triton") is not None and x.shape[-1] <= 65_536


class _Sparsemax(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        x = x.contiguous()
        out, kept = forward(x) if x.device.type == "cpu" else _chip().forward(x)
        ctx.save_for_backward(out, *kept)
        return out

    @staticmethod
    def backward(ctx, back):
        out, *kept = ctx.saved_tensors
        back = back.contiguous()
        return backward(back, out, *kept) if out.device.type == "cpu" else _chip().backward(back, out)


def _chip():
    from geowall.kernels import chip_sparsemax

    return chip_sparsemax


def forward(x: Float[Tensor, "*row column"]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """The projection of contiguous float32 rows; and each row's support: places [row, ROOM] and count."""
    rows, n = x.numel() // x.shape[-1], x.shape[-1]
    out, room = _zeros(x), min(n, ROOM)
    at, count = torch.empty(rows, room, dtype=torch.int32), torch.empty(rows, dtype=torch.int32)
    compiled.library("sparsemax.cpp").sparsemax_forward(
        ctypes.c_int64(rows), n, room, *map(address, (x, out, at, count))
    )
    return out, (at, count)


def backward(back: Tensor, out: Tensor, at: Tensor, count: Tensor) -> Tensor:
    """The gradient with respect to the rows: on the support what came back less its mean, elsewhere zero."""
    grad, room = _zeros(out), at.shape[1]
    compiled.library("sparsemax.cpp").sparsemax_backward(
        ctypes.c_int64(len(count)),
        *(out.shape[-1], room),
        *map(address, (back, out, at, count, grad)),
    )
    return grad


def _zeros(like: Tensor) -> Tensor:
    """Zeros; numpy's large ones cost nothing until a page is written, and come in large pages."""
    if like.numel() < LARGE:
        return torch.zeros_like(like)
    return torch.from_numpy(np.zeros(like.shape, np.float32))


def address(tensor: Tensor) -> ctypes.c_void_p:
    """Where a tensor's numbers lie, for compiled code."""
    return ctypes.c_void_p(tensor.data_ptr())
