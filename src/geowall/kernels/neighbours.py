"""The exact nearest neighbours of every point: one graph from which every estimator reads.

A fast product in low precision proposes, a bound proves that no neighbour was lost, float32 measures the few
that remain, and double orders those that float32 cannot. Points are centred first, or the direction all
activations share eats the bits. Four paths:

* ``compiled`` (``neighbours.cpp``, where the processor has AVX512-VNNI): each pair once, nothing kept that is
  not needed;
* ``torch``: tiles of float32 products; rows that the bound cannot certify are done again by definition;
* ``chip`` (:mod:`geowall.kernels.chip_neighbours`): the same screen on a GPU;
* ``slow``: the definition, three lines.

>>> graph = neighbours(torch.tensor([[0.0], [1.0], [3.0]]), k=2)
>>> graph.index.tolist(), graph.distance.tolist()
([[1, 2], [0, 2], [1, 0]], [[1.0, 3.0], [1.0, 2.0], [2.0, 3.0]])
"""

from __future__ import annotations

import ctypes
import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from geowall.kernels import compiled
from geowall.paths import GeowallError

ROWS, COLUMNS = 1024, 8192  # of a tile of the torch path: 32 MB
SPARE = 32  # candidates beyond k that the torch path measures
USUAL = 2.0**-16  # within this and its inverse the squares of coordinates need no other unit
MEASURED = 2**24  # numbers of gathered differences held at once


class Graph(NamedTuple):
    """Each point's ``k`` nearest others, nearest first; ties go by index."""

    index: Int[Tensor, "point k"]  # int64
    distance: Float[Tensor, "point k"]  # Euclidean
    certified: float  # share of the points that the screen's bound settled; the rest were done by definition
    measured: float  # candidates a point that were measured after the screen


def neighbours(x: Float[Tensor, "point d"], k: int, path: str = "auto") -> Graph:
    """Exact neighbour graph of a cloud, the point itself left out.

    Args:
        x: points; taken as float32.
        k: neighbours of each.
        path: ``auto``, ``compiled``, ``torch``, ``chip`` or ``slow``.

    Raises:
        GeowallError: fewer than ``k + 1`` points, or a value that is not finite.
    """
    x = x.detach().float().contiguous()
    _check(x, k)
    path = _path(x) if path == "auto" else path
    if path in ("slow", "compiled"):
        return neighbours_slow(x, k) if path == "slow" else _compiled(x, k)
    centred = x - x.mean(0, dtype=torch.float64).float()
    scale = _scale(centred)
    points, centred = x * scale, centred * scale  # by a power of two, which changes no digit
    if path == "chip":
        from geowall.kernels import chip_neighbours

        found = settle(points, centred, k, *chip_neighbours.candidates(centred, k))
    else:
        found = _torch(points, centred, k)
    return found._replace(distance=found.distance / scale)


def neighbours_slow(x: Float[Tensor, "point d"], k: int) -> Graph:
    """The definition, in double, row by row."""
    wide, rows = x.double(), []
    for i, point in enumerate(wide):
        square = (wide - point).square().sum(1).index_fill(0, torch.tensor([i], device=x.device), math.inf)
        rows.append(square.sort(stable=True))
    square, index = (torch.stack([row[part][:k] for row in rows]) for part in (0, 1))
    return Graph(index, square.sqrt().float(), 1.0, float(len(x) - 1))


def available() -> bool:
    """Tell whether the compiled path serves this machine."""
    found = compiled.library("neighbours.cpp")
    return found is not None and bool(found.neighbours_supported())


def _path(x: Tensor) -> str:
    if x.device.type == "cuda":
        return "chip"
    return "compiled" if available() else "torch"


def _scale(x: Tensor) -> float:
    """The power of two that brings the largest coordinate near one."""
    largest = max(map(abs, map(float, torch.aminmax(x))))
    return 2.0 ** -math.frexp(largest)[1] if largest > 0 else 1.0


def _check(x: Tensor, k: int) -> None:
    if k < 1 or len(x) <= k:
        why = f"{len(x)} points have {max(0, len(x) - 1)} neighbours each, and {k} were asked for"
        raise GeowallError("there is no such neighbour graph", why, "give more points, or a k of at least 1")
    if x.numel() and not all(math.isfinite(end) for end in torch.aminmax(x)):
        bad = int((~torch.isfinite(x)).any(1).sum())
        why = f"{bad} of {len(x)} points have a coordinate that is not a finite number"
        raise GeowallError("there is no neighbour graph", why, "drop those points, or mend what made them")


def _compiled(x: Tensor, k: int) -> Graph:
    n, d = x.shape
    scale = _scale(x)
    scale = 1.0 if USUAL < scale < 1.0 / USUAL else scale
    points = x if scale == 1.0 else x * scale
    index, square = torch.empty(n, k, dtype=torch.int32), torch.empty(n, k)
    library = compiled.library("neighbours.cpp")
    library.neighbours_exact.restype = ctypes.c_int64
    addresses = [ctypes.c_void_p(t.data_ptr()) for t in (points, index, square)]
    measured = library.neighbours_exact(*map(ctypes.c_long, (n, d, k)), *addresses)
    return Graph(index.long(), square.sqrt() / scale, 1.0, measured / n)


def _torch(points: Tensor, centred: Tensor, k: int) -> Graph:
    """Screen in float32: what was left out lies beyond the last one kept, less the bound."""
    n, d = centred.shape
    keep = min(n - 1, k + SPARE)
    square = centred.double().square().sum(1).float()
    bound = (d + 64) * 2.0**-23 * (square + square.max()) + 1e-37  # so that a tie is not certified
    parts = [_screen(centred, square, slice(i, i + ROWS), keep) for i in range(0, n, ROWS)]
    index, screened = (torch.cat(part) for part in zip(*parts, strict=True))
    beyond = torch.where(torch.tensor(keep < n - 1), screened[:, -1] - bound, math.inf)
    return settle(points, centred, k, index, beyond)


def _screen(centred: Tensor, square: Tensor, rows: slice, keep: int) -> tuple[Tensor, Tensor]:
    """The ``keep`` nearest of a tile of rows by float32 products, merged over tiles of columns."""
    mine, own = centred[rows], torch.arange(len(centred))[rows]
    best = torch.empty(len(mine), 0)
    index = torch.empty(len(mine), 0, dtype=torch.long)
    for j in range(0, len(centred), COLUMNS):
        others = centred[j : j + COLUMNS]
        tile = torch.addmm(square[rows, None] + square[None, j : j + COLUMNS], mine, others.T, alpha=-2)
        column = torch.arange(j, j + len(others))
        tile[own[:, None] == column] = math.inf
        best = torch.cat([best, tile], 1)
        index = torch.cat([index, column.expand(len(mine), -1)], 1)
        best, order = best.topk(min(keep, best.shape[1]), largest=False)
        index = index.gather(1, order)
    return index, best


def settle(points: Tensor, centred: Tensor, k: int, index: Tensor, beyond: Tensor) -> Graph:
    """Measure candidates exactly, order them, and do again by definition what is not certified.

    Args:
        points: as given.
        centred: less their mean.
        k: neighbours to keep.
        index: candidates of each point, -1 where there is none; ``[point, candidate]``.
        beyond: a squared distance that every point left out is proven to exceed; ``[point]``.
    """
    step = max(1, MEASURED // (index.shape[1] * points.shape[1]))
    parts = []
    for i in range(0, len(points), step):
        wanted, rows = index[i : i + step], points[i : i + step].double()
        square = (points[wanted.clamp(min=0)].double() - rows[:, None]).square().sum(2)
        square[wanted < 0] = math.inf
        by_index = wanted.argsort(1)
        square, wanted = square.gather(1, by_index), wanted.gather(1, by_index)
        square, order = square.sort(dim=1, stable=True)
        parts.append((wanted.gather(1, order)[:, :k], square[:, :k]))
    nearest, square = (torch.cat(part) for part in zip(*parts, strict=True))
    doubtful = (~(square[:, -1] <= beyond)).nonzero()[:, 0]
    for i in doubtful.tolist():
        every = (points.double() - points[i].double()).square().sum(1)
        every[i] = math.inf
        ordered, order = every.sort(stable=True)
        nearest[i], square[i] = order[:k], ordered[:k]
    certified = 1.0 - len(doubtful) / len(points)
    return Graph(nearest, square.sqrt().float(), certified, float((index >= 0).sum() / len(points)))
