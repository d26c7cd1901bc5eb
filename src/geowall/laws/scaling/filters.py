"""The paper's three monotone filters: what is dropped before a law with a floor is fitted.

They keep a curve falling, ever more slowly, and the exponent orderly across sparsities. The second keeps what
looks like a floor and drops what does not, which :mod:`geowall.laws.scaling.planted` puts to the test.

>>> widths, errors = [1, 2, 4, 8, 16], [0.4, 0.3, 0.25, 0.26, 0.2]
>>> falling(errors).tolist()
[True, True, True, False, True]
>>> flattening(widths[:3], errors[:3]).tolist()
[True, True, True]
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from geowall.laws.scaling.sparsity import GROUP

LARGEST = 2.0  # a local exponent above this is not plausible


def falling(errors: Sequence[float]) -> Bool[np.ndarray, " width"]:
    """Keep the widths, from narrow to wide, whose error is below that of every kept one before (filter i)."""
    kept, least = [], np.inf
    for error in errors:
        kept.append(error < least)
        least = min(least, error)
    return np.array(kept)


def flattening(widths: Sequence[float], errors: Sequence[float]) -> Bool[np.ndarray, " width"]:
    """Keep the widths to which the local exponent is plausible and no larger than before (filter ii)."""
    x, y = np.log(np.asarray(widths, float)), np.log(np.asarray(errors, float))
    kept, last, limit = [True], 0, LARGEST
    for i in range(1, len(x)):
        local = (y[last] - y[i]) / (x[i] - x[last])
        kept.append(bool(0 <= local <= limit))
        if kept[-1]:
            last, limit = i, local
    return np.array(kept)


def orderly(alphas: Sequence[float]) -> Bool[np.ndarray, " k"]:
    """Keep the longest run of sparsities whose exponents rise or fall throughout (filter iii)."""
    alphas = np.asarray(alphas, float)
    rising, fallen = (_longest(sign * alphas) for sign in (1.0, -1.0))
    return rising if rising.sum() >= fallen.sum() else fallen


def _longest(values: np.ndarray) -> np.ndarray:
    """Mark the longest rising subsequence."""
    length, before = np.ones(len(values), int), np.full(len(values), -1)
    for i in range(len(values)):
        for j in range(i):
            if values[j] <= values[i] and length[j] + 1 > length[i]:
                length[i], before[i] = length[j] + 1, j
    kept, i = np.zeros(len(values), bool), int(length.argmax())
    while i >= 0:
        kept[i], i = True, int(before[i])
    return kept


def marked(cells: pd.DataFrame) -> pd.DataFrame:
    """Say of every cell whether each filter keeps it, in the paper's order.

    Adds ``falls`` (filter i), ``flattens`` (ii, among those that fall) and ``orderly`` (iii: the exponent
    between the narrowest and widest kept width, across the sparsities of a layer).
    """
    table = cells.sort_values([*GROUP, "k", "d_sae"], ignore_index=True)
    layer = table.groupby(GROUP, sort=False).ngroup().to_numpy()
    k, n, error = (table[name].to_numpy(float) for name in ("k", "d_sae", "nmse"))
    # the table is sorted, so a curve is a run of rows: arrays, since pandas takes longer than the filters
    starts = np.flatnonzero(np.diff(layer, prepend=-1) | (np.diff(k, prepend=np.nan) != 0))
    falls, flattens, disorderly = (np.zeros(len(table), bool) for _ in range(3))
    ends = {}
    for run in np.split(np.arange(len(table)), starts[1:]):
        falls[run] = falling(error[run])
        own = run[falls[run]]
        flattens[own] = flattening(n[own], error[own])
        own = own[flattens[own]]
        if len(own) > 1:
            ends.setdefault(layer[run[0]], []).append((run, _alpha(n[own], error[own])))
    for curves in ends.values():
        bad = ~orderly([alpha for _, alpha in curves])
        for out, (run, _) in zip(bad, curves, strict=True):
            disorderly[run] = out
    return table.assign(falls=falls, flattens=flattens, orderly=~disorderly)


def _alpha(widths: Float[np.ndarray, " width"], errors: Float[np.ndarray, " width"]) -> float:
    """Return the exponent between the ends of a curve."""
    return float(np.log(errors[0] / errors[-1]) / np.log(widths[-1] / widths[0]))


def tally(table: pd.DataFrame) -> pd.DataFrame:
    """Count cells and what the filters drop: source, model, architecture, schedule, n_cells, n_rising, ..."""
    key = ["source", "model", "architecture", "schedule"]
    ks = table.drop_duplicates([*GROUP, "k"])
    counts = table.assign(
        n_rising=~table["falls"], n_steepening=table["falls"] & ~table["flattens"], n_cells=1
    )
    counts = counts.groupby(key)[["n_cells", "n_rising", "n_steepening"]].sum()
    curves = ks.assign(n_curves=1, n_disorderly=~ks["orderly"]).groupby(key)
    return counts.join(curves[["n_curves", "n_disorderly"]].sum()).reset_index()
