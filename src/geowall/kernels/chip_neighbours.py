"""The screen of the neighbour graph on a GPU: candidates by bfloat16, and a proof for what is left out.

Two passes over the same tiles, of which nothing is kept but what is needed. The first writes, for each point
and each group of 64 others, the smallest upper end of a squared distance; the k-th smallest of a point's
groups is an upper end for its k-th neighbour, since k groups hold k others. The second writes the others
whose lower end does not exceed it. :func:`geowall.kernels.neighbours.settle` measures them exactly. A tile
serves its rows alone, unlike on a processor: to serve both sides the groups of all points would have to be
held at once, n^2 / 64 numbers, and products are what a GPU has plenty of.

Importing this module needs triton; running it needs a GPU, or ``TRITON_INTERPRET=1`` set beforehand.
"""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from jaxtyping import Float, Int
from torch import Tensor

ROWS, GROUP, DEPTH = 64, 64, 64  # of a tile: points, others, coordinates at a time
BAND = 8192  # points whose groups are held at once
ROOM = 4  # candidates a point may have, over k; who has more is done by definition


@triton.jit
def _stat(row, at, inside):
    return tl.load(row + at, mask=inside, other=0.0)


@triton.jit
def screen_kernel(
    y, stats, tau, ends, index, count,
    n, d, first, groups, room,
    FIND: tl.constexpr, WIDE: tl.constexpr, ROWS: tl.constexpr, GROUP: tl.constexpr, DEPTH: tl.constexpr,
):  # fmt: skip
    """One tile of points against one group: its smallest upper ends, or (``FIND``) its candidates."""
    i = first + tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    j = tl.program_id(1) * GROUP + tl.arange(0, GROUP)
    mine, theirs = i < n, j < n
    products = tl.zeros((ROWS, GROUP), tl.float32)
    for start in range(0, d, DEPTH):
        at = start + tl.arange(0, DEPTH)
        a = tl.load(y + i[:, None].to(tl.int64) * d + at, mask=mine[:, None] & (at < d)[None, :], other=0.0)
        b = tl.load(y + j[None, :].to(tl.int64) * d + at[:, None], mask=theirs[None, :] & (at < d)[:, None],
                    other=0.0)  # fmt: skip
        if WIDE:  # the interpreter multiplies bfloat16 as if it were an integer
            a, b = a.to(tl.float32), b.to(tl.float32)
        products += tl.dot(a, b)
    si, mi, ri = _stat(stats, i, mine), _stat(stats + 2 * n, i, mine), _stat(stats + 3 * n, i, mine)
    sj, nj = _stat(stats, j, theirs), _stat(stats + n, j, theirs)
    mj, rj = _stat(stats + 2 * n, j, theirs), _stat(stats + 3 * n, j, theirs)
    both = si[:, None] + sj[None, :]
    sums = (d + 64) * 5.9604645e-8
    off = ri[:, None] * nj[None, :] + mi[:, None] * (rj + sums * mj)[None, :]
    off = 2.00002 * off + 4.7683716e-7 * both
    distance = both - 2.0 * products
    other = mine[:, None] & theirs[None, :] & (i[:, None] != j[None, :])
    row = (i - first).to(tl.int64)
    if FIND:
        limit = tl.load(tau + i, mask=mine, other=float("-inf"))
        open_ = other & (distance - off <= limit[:, None])
        many = tl.sum(open_.to(tl.int32), axis=1)
        begin = tl.atomic_add(count + i, many, mask=mine & (many > 0))
        place = begin[:, None] + tl.cumsum(open_.to(tl.int32), axis=1) - 1
        to = index + i[:, None].to(tl.int64) * room + place
        tl.store(to, j[None, :] + tl.zeros_like(place), mask=open_ & (place < room))
    else:
        upper = tl.min(tl.where(other, distance + off, float("inf")), axis=1)
        tl.store(ends + row * groups + tl.program_id(1), upper, mask=mine)


def candidates(
    centred: Float[Tensor, "point d"], k: int
) -> tuple[Int[Tensor, "point room"], Float[Tensor, " point"]]:
    """Candidates of each point (-1: none) and a squared distance that every other point exceeds."""
    n, d = centred.shape
    y, stats = centred.bfloat16(), _stats(centred)
    groups, room = triton.cdiv(n, GROUP), min(n - 1, ROOM * k + GROUP)
    device = centred.device
    tau = torch.full((n,), math.inf, device=device)
    index = torch.full((n, room), -1, dtype=torch.int32, device=device)
    count = torch.zeros(n, dtype=torch.int32, device=device)
    sizes = {"ROWS": ROWS, "GROUP": GROUP, "DEPTH": DEPTH, "WIDE": device.type == "cpu"}
    for first in range(0, n, BAND):
        last = min(n, first + BAND)
        grid = (triton.cdiv(last - first, ROWS), groups)
        ends = torch.full((last - first, groups), math.inf, device=device)
        args = (y, stats, tau, ends, index, count, n, d, first, groups, room)
        if groups >= k:  # else every other point is a candidate
            screen_kernel[grid](*args, FIND=False, **sizes)
            tau[first:last] = ends.kthvalue(k, dim=1).values
        screen_kernel[grid](*args, FIND=True, **sizes)
    beyond = torch.where(count <= room, tau, -math.inf)  # an overflow proves nothing
    return index.long(), beyond


def _stats(centred: Tensor) -> Float[Tensor, "4 point"]:
    """Squared norm, norm, norm of the rounded point, norm of what rounding took; the last three upwards."""
    wide, rounded = centred.double(), centred.bfloat16().double()
    norms = [v.norm(dim=1) * (1 + 1e-6) for v in (wide, rounded, wide - rounded)]
    return torch.stack([wide.square().sum(1), *norms]).float().contiguous()
