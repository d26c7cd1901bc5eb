"""Intervals: over documents drawn with replacement, and of single measurements from a few replicates.

>>> middle, low, high = single([1.0, 2.0, 3.0])
>>> middle, round(high - middle, 2)  # 4.30, Student's quantile of two degrees, by the root of 1 + 1 / 3
(2.0, 4.97)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from scipy import stats
from torch import Tensor

ENDS = torch.tensor([0.025, 0.975], dtype=torch.float64)


def reach(n: int) -> float:
    """Half-width of a 95 % interval of one more draw, in standard deviations estimated from ``n`` draws."""
    return float(stats.t.ppf(0.975, n - 1)) * math.sqrt(1.0 + 1.0 / n) if n > 1 else math.nan


def single(values: Sequence[float] | np.ndarray) -> tuple[float, float, float]:
    """Mean of replicates, and where 95 % of single measurements fall; no interval from one replicate."""
    values = np.asarray(values, dtype=float)
    middle = float(values.mean())
    half = reach(len(values)) * float(values.std(ddof=1)) if len(values) > 1 else math.nan
    return middle, middle - half, middle + half


def arms(table: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """How far the interval of ``value`` less ``surrogate_value`` reaches down and up, arms in quadrature.

    Arms are taken one by one, since intervals of curvatures, which end at zero, are lopsided.
    """
    down = np.hypot(table["value"] - table["low"], table["surrogate_high"] - table["surrogate_value"])
    up = np.hypot(table["high"] - table["value"], table["surrogate_value"] - table["surrogate_low"])
    return down, up


def weights(documents: Int[Tensor, " point"], n_bootstrap: int, seed: int) -> tuple[Tensor, Tensor] | None:
    """How often each draw takes each document, and each point's document; None where nothing can be drawn."""
    _, cell = documents.unique(return_inverse=True)
    count = int(cell.max()) + 1
    if count < 2 or n_bootstrap < 2:
        return None
    return _taken(count, n_bootstrap, seed), cell


@lru_cache(maxsize=2)  # every estimator of a cloud is drawn alike
def _taken(count: int, n_bootstrap: int, seed: int) -> Tensor:
    rng = np.random.default_rng(seed)
    taken = rng.multinomial(count, np.full(count, 1 / count), n_bootstrap)
    return torch.from_numpy(taken.astype(float))


def summed(
    values: Float[Tensor, "point column"], cell: Int[Tensor, " point"], count: int
) -> Float[Tensor, "document column"]:
    """Sums over the points of each document."""
    return torch.zeros(count, values.shape[1], dtype=torch.float64).index_add(0, cell, values.double())


def ratio(
    top: Tensor, bottom: Tensor, documents: Tensor, n_bootstrap: int, seed: int
) -> tuple[float, float, float]:
    """``sum(top) / sum(bottom)`` with its 95 % interval over documents drawn with replacement.

    With fewer than two documents or draws the interval is empty.
    """
    value = float(top.double().sum() / bottom.double().sum())
    drawn = draws(top, bottom, documents, n_bootstrap, seed)
    return (value, math.nan, math.nan) if drawn is None else (value, *torch.quantile(drawn, ENDS).tolist())


def draws(top: Tensor, bottom: Tensor, documents: Tensor, n_bootstrap: int, seed: int) -> Tensor | None:
    """The ratio of :func:`ratio` in each draw."""
    found = weights(documents, n_bootstrap, seed)
    if found is None:
        return None
    taken, cell = found
    a, b = summed(torch.stack([top, bottom], 1), cell, taken.shape[1]).unbind(1)
    return (taken @ a) / (taken @ b)


def chosen_means(
    values: Float[Tensor, "point column"],
    column: Int[Tensor, " draw"],
    own: Int[Tensor, " point"],
    documents: Int[Tensor, " every"],
    seed: int,
) -> Float[Tensor, " draw"]:
    """Mean of ``values`` in each draw of documents, in the column that the draw chooses.

    ``own`` are the places of the rows among all points; draws are those of :func:`draws` for the same seed.
    """
    taken, cell = weights(documents, len(column), seed)
    a = taken @ summed(values, cell[own], taken.shape[1])
    b = taken @ summed(torch.ones(len(own), 1), cell[own], taken.shape[1])
    return (a.gather(1, column[:, None]) / b)[:, 0]
