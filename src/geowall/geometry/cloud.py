"""From activations to the cloud that is measured: what is dropped, and that nothing is dropped silently.

>>> x = torch.tensor([[1.0, 0.0], [2.0, 0.0], [2.0, 0.0], [40.0, 0.0], [3.0, 0.0]])
>>> cloud = prepare(x, trim=0.0)
>>> len(cloud.points), cloud.n_duplicates, cloud.n_constant, cloud.kept.tolist()
(4, 1, 1, [0, 1, 3, 4])
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from geowall.paths import GeowallError

COPIES = {"drop": 1, "keep": 10}  # of a row; fewer than the neighbours that any estimator looks at


@dataclass(frozen=True)
class Cloud:
    """Points to measure, and what became of those that were given."""

    points: Float[Tensor, "point d"]  # float32, centred
    documents: Int[Tensor, " point"]  # one number for points that are not independent
    kept: Int[Tensor, " point"]  # rows of what was given
    n_given: int
    n_duplicates: int  # rows equal to an earlier one, dropped
    n_trimmed: int  # rows with the largest or smallest norms, dropped
    n_constant: int  # coordinates that never vary: they add nothing to any distance, and are dropped


def prepare(
    points: Float[Tensor, "row d"] | np.ndarray,
    documents: Int[Tensor, " row"] | np.ndarray | None = None,
    trim: float = 0.05,
    duplicates: str = "drop",
    centre: bool = True,
) -> Cloud:
    """Trim by norm, drop duplicates and constant coordinates, subtract the mean.

    The paper drops the top and bottom 5 % by norm, centres globally, and neither whitens nor normalises
    (Zaher et al. 2026, section 4); it does not say what it does about equal rows. More dimensions than points
    are taken as they are: distances do not mind, and every rank is then at most one less than the points.

    Args:
        points: activations.
        documents: where each comes from; by default each row is on its own.
        trim: share of the rows dropped at each end of the norms, before centring.
        duplicates: ``drop`` keeps the first of equal rows; ``keep`` keeps ten, since among more of them
            every neighbour is at no distance, and there is nothing to measure.
        centre: subtract the mean of what is left.

    Raises:
        GeowallError: not a matrix, a value that is not finite, or fewer than three rows left.
    """
    points = torch.as_tensor(points).detach().float()
    _check(points, documents, trim, duplicates)
    n = len(points)
    kept = torch.from_numpy(np.flatnonzero(_copy(points.numpy()) < COPIES[duplicates]))
    n_duplicates = n - len(kept)
    cut = int(trim * len(kept))
    order = to_unit(points[kept]).norm(dim=1).argsort(stable=True)[cut : len(kept) - cut]
    kept = kept[order.sort().values]
    chosen = points[kept]
    if len(chosen) < 3:
        why = f"of {n} rows {n_duplicates} were duplicates and {2 * cut} were trimmed"
        raise GeowallError("no cloud is left to measure", why, "give more rows, or a smaller trim")
    low, high = chosen.min(0).values, chosen.max(0).values
    varies = high > low
    if not bool(varies.any()):
        raise GeowallError("there is no geometry", "all points are equal", "give points that differ")
    chosen = chosen[:, varies]
    if centre:
        chosen = chosen - chosen.mean(0, dtype=torch.float64).float()
    where = torch.arange(n) if documents is None else torch.as_tensor(documents).long()
    constant = int((~varies).sum())
    return Cloud(chosen.contiguous(), where[kept], kept, n, n_duplicates, 2 * cut, constant)


def _copy(rows: np.ndarray) -> np.ndarray:
    """How many equal rows come before each."""
    _, group, count = np.unique(rows, axis=0, return_inverse=True, return_counts=True)
    order = np.argsort(group.ravel(), kind="stable")
    before = np.empty(len(rows), dtype=np.int64)
    before[order] = np.arange(len(rows)) - np.repeat(np.cumsum(count) - count, count)
    return before


def to_unit(x: Float[Tensor, "point d"]) -> Float[Tensor, "point d"]:
    """``x`` by a power of two, its largest coordinate about one: exact, and no square leaves float32.

    >>> to_unit(torch.tensor([[3e-30, 1e-30]])).max() > 0.5
    tensor(True)
    """
    return x * 2.0 ** -int(x.abs().max().clamp(min=torch.finfo(x.dtype).tiny).log2().floor())


def _check(points: Tensor, documents: object, trim: float, duplicates: str) -> None:
    if points.ndim != 2 or not points.numel():
        why = f"the shape is {tuple(points.shape)} where [row, d] belongs"
        raise GeowallError("no cloud to measure", why, "give a matrix with a row for each activation")
    bad = int((~torch.isfinite(points)).any(1).sum())
    if bad:
        why = f"{bad} of {len(points)} rows hold a value that is not a finite number"
        raise GeowallError("no cloud to measure", why, "drop those rows, or mend what made them")
    if documents is not None and len(documents) != len(points):
        why = f"{len(documents)} documents are named for {len(points)} rows"
        raise GeowallError("no cloud to measure", why, "name one document a row")
    if not 0 <= trim < 0.5 or duplicates not in COPIES:
        why = f"trim is {trim} and duplicates is {duplicates!r}"
        raise GeowallError("no such cloud", why, "give a trim in [0, 0.5) and drop or keep")
