"""What the paper's four summaries answer to: curvature, and four things that are not curvature.

>>> factors = ["curvature"] * 8 + ["noise"] * 8
>>> table = pd.DataFrame({"factor": factors, "estimator": [*FOUR] * 4, "value": np.arange(16.0) ** 2 // 16})
>>> found = specificity(table)
>>> found[["by_curvature", "by_other"]].iloc[0].tolist(), found.loc[0, "other"]
([1.0, 5.0], 'noise')
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from torch import Tensor

from geowall.geometry import shapes
from geowall.geometry.cloud import prepare
from geowall.geometry.summary import FOUR, Recipe, measure
from geowall.geometry.surrogates import surrogate

RECIPE = {"trim": 0.0, "n_local": 300}
# One thing changes at a time; only the first is curvature.
FACTORS = {
    "curvature": [("bowl", 8, b, 0.05) for b in (0.0, 0.25, 0.5, 1.0, 2.0)],
    "dimension": [("normal", d, 1.0, 0.0) for d in (2, 5, 10, 15, 20)],
    "noise": [("normal", 8, 1.0, s) for s in (0.0, 0.05, 0.1, 0.2, 0.4)],
    "spectrum": [("power_law", 24, a, 0.0) for a in (0.0, 0.25, 0.5, 1.0, 1.5)],
    "clusters": [("clusters", 16, c, 0.0) for c in (1, 4, 16, 64, 256)],
}


def responses(n_points: int = 1500, d_ambient: int = 24, replicates: int = 2, seed: int = 0) -> pd.DataFrame:
    """How the paper's four summaries answer to curvature, and to four things that are not curvature.

    Columns ``factor, level, estimator, value, low, high, gaussian``: the last is the same summary of the
    Gaussian of the same covariance.
    """
    rows = []
    for factor, cases in FACTORS.items():
        for name, d, value, noise in cases:
            shape = shapes.make(name, d, value)
            drawn = []
            for r in range(replicates):
                x = shapes.embedded(shape, n_points, d_ambient, noise, seed + 1000 * r)
                twin = surrogate("gaussian", x, seed + r)
                drawn.append([_four(x), _four(twin)])
            level = {"dimension": d, "noise": noise}.get(factor, value)
            for estimator in FOUR:
                values = np.array([pair[0][estimator] for pair in drawn])
                half = 1.96 * values.std(ddof=1) if len(values) > 1 else np.nan
                middle, gauss = values.mean(), np.mean([pair[1][estimator] for pair in drawn])
                rows.append([factor, level, estimator, middle, middle - half, middle + half, gauss])
    return pd.DataFrame(rows, columns=["factor", "level", "estimator", "value", "low", "high", "gaussian"])


def _four(x: Tensor) -> pd.Series:
    found = measure(prepare(x, trim=0.0), Recipe(**RECIPE), 0)
    return found.set_index("estimator")["value"][list(FOUR)]


def specificity(table: pd.DataFrame) -> pd.DataFrame:
    """For each summary its range over curvature, and its largest range over a factor that is none.

    Columns ``estimator, by_curvature, by_other, other, ratio``; a measure of curvature has a ratio far above
    one.
    """
    spread = table.groupby(["estimator", "factor"])["value"].agg(lambda v: v.max() - v.min()).unstack()
    rest = spread.drop(columns="curvature")
    found = pd.DataFrame({"by_curvature": spread["curvature"], "by_other": rest.max(axis=1)})
    found["other"] = rest.idxmax(axis=1)
    found["ratio"] = found["by_curvature"] / found["by_other"]
    return found.loc[list(FOUR)].reset_index()
