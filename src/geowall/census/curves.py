"""Error at a common sparsity: checkpoints of a width are measured wherever their L0 fell, and read at k.

Between measured sparsities log error is interpolated over log L0 without overshoot (PCHIP, as Zaher et al.
2026 do), and nothing is extrapolated.

>>> own = dict.fromkeys(["model", "layer", "site", "architecture", "schedule", "seed", "source"], 0)
>>> table = pd.DataFrame([own | {"d_sae": 64, "l0": l0, "nmse": 1 / l0, "same_as": ""} for l0 in (4, 8, 32)])
>>> at_sparsity(table, [16, 64])[["k", "nmse"]].to_numpy().round(4).tolist()
[[16.0, 0.0625]]
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.interpolate import PchipInterpolator

CELL = ["source", "model", "layer", "site", "architecture", "schedule", "d_sae", "seed"]


def at_sparsity(checkpoints: pd.DataFrame, ks: Sequence[float], value: str = "nmse") -> pd.DataFrame:
    """``value`` of every width at the sparsities ``ks`` that lie within its measured ones.

    Columns: those of CELL that the table has, k, and the value. Duplicates (``same_as``) and rows that were
    not measured are left out.
    """
    table = checkpoints[checkpoints[value].notna() & (checkpoints["l0"] > 0)]
    if "same_as" in table:
        table = table[table["same_as"].fillna("") == ""]
    cell, parts = [name for name in CELL if name in table], []
    for own, group in table.groupby(cell, sort=False):
        group = group.drop_duplicates("l0").sort_values("l0")
        inside = [k for k in ks if group["l0"].min() <= k <= group["l0"].max()]
        if len(group) < 2 or not inside:
            continue
        line = PchipInterpolator(np.log(group["l0"]), np.log(group[value]))
        row = dict(zip(cell, own, strict=True))
        parts += [row | {"k": float(k), value: float(np.exp(line(np.log(k))))} for k in inside]
    return pd.DataFrame(parts, columns=[*cell, "k", value])


def common_sparsity(checkpoints: pd.DataFrame) -> float:
    """The sparsity that most widths of most layers were measured around: the middle of the shared range.

    Where the ranges of all cells do not meet, the one that lies within the most of them.
    """
    cell = [name for name in CELL if name in checkpoints]
    ranges = checkpoints[checkpoints["l0"] > 0].groupby(cell)["l0"].agg(["min", "max"])
    low, high = ranges["min"].max(), ranges["max"].min()
    if low <= high:
        return float(np.sqrt(low * high))
    grid = np.geomspace(ranges["min"].min(), ranges["max"].max(), 200)
    inside = ((ranges["min"].to_numpy() <= grid[:, None]) & (ranges["max"].to_numpy() >= grid[:, None])).sum(
        1
    )
    return float(np.exp(np.log(grid[inside == inside.max()]).mean()))
