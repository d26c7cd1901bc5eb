"""Sparsemax on a GPU: a program a row, the row in registers from its one reading to its one writing.

The threshold is found by Michelot's iteration from below: it starts under the largest element less one, and
every round drops what it exceeds, until nothing more is dropped. Sums are in float64, so the support is
exact. Twin: :func:`geowall.kernels.sparsemax.sparsemax_slow`.

Importing this module needs triton; running it needs a GPU, or ``TRITON_INTERPRET=1`` set beforehand.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor


@triton.jit
def forward_kernel(x, out, n, N: tl.constexpr):
    """Project one row of ``n`` numbers, padded to ``N``."""
    row, column = tl.program_id(0).to(tl.int64), tl.arange(0, N)
    inside = column < n
    v = tl.load(x + row * n + column, mask=inside, other=float("-inf"))
    v -= tl.max(v, axis=0)
    on = v > -1.0
    count, before = tl.sum(on.to(tl.int32), axis=0), 0
    tau = -1.0
    while count != before:
        before = count
        total = tl.sum(tl.where(on, v, 0.0).to(tl.float64), axis=0)
        exact = (total - 1.0) / count
        on = v.to(tl.float64) > exact
        tau = exact.to(tl.float32)
        count = tl.sum(on.to(tl.int32), axis=0)
    tl.store(out + row * n + column, tl.where(on, v - tau, 0.0), mask=inside)


@triton.jit
def backward_kernel(back, out, grad, n, N: tl.constexpr):
    """Less its mean on the support, zero elsewhere."""
    row, column = tl.program_id(0).to(tl.int64), tl.arange(0, N)
    at, inside = row * n + column, column < n
    on = tl.load(out + at, mask=inside, other=0.0) > 0.0
    g = tl.load(back + at, mask=inside & on, other=0.0)
    mean = tl.sum(g, axis=0) / tl.maximum(tl.sum(on.to(tl.float32), axis=0), 1.0)
    tl.store(grad + at, tl.where(on, g - mean, 0.0), mask=inside)


def warps(n: int) -> int:
    """Warps of a program: at most 32 numbers a thread, where a block has as many threads."""
    return min(32, max(1, triton.next_power_of_2(n) // 1024))


def forward(x: Tensor) -> tuple[Tensor, tuple[()]]:
    """The projection of contiguous float32 rows of at most 65,536 numbers."""
    out, n = torch.empty_like(x), x.shape[-1]
    forward_kernel[(x.numel() // n,)](x, out, n, N=triton.next_power_of_2(n), num_warps=warps(n))
    return out, ()


def backward(back: Tensor, out: Tensor) -> Tensor:
    """The gradient with respect to the rows."""
    grad, n = torch.empty_like(out), out.shape[-1]
    backward_kernel[(out.numel() // n,)](back, out, grad, n, N=triton.next_power_of_2(n), num_warps=warps(n))
    return grad
