"""What the paper's four summaries answer to: curvature, and four things that are not curvature.

>>> factors = ["curvature"] * 8 + ["noise"] * 8
>>> table = pd.DataFrame({"factor": factors, "estimator": [*FOUR] * 4, "value": np.arange(16.0) ** 2 // 16})
>>> found = specificity(table)
>>> found[["by_curvature", "by_other"]].iloc[0].tolist(), found.loc[0, "other"]
([1.0, 5.0], 'noise')
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from torch import Tensor

from geowall.geometry import shapes
from geowall.geometry.cloud import prepare, to_unit
from geowall.geometry.resampling import arms, single
from geowall.geometry.summary import FOUR, Recipe, curvatures, measure
from geowall.geometry.surrogates import surrogate
from geowall.kernels.neighbours import neighbours

RECIPE = Recipe(trim=0.0, n_local=300)
TWO = ("kappa_ms", "kappa_tv")
# One thing changes at a time; only the first is curvature.
FACTORS = {
    "curvature": [("bowl", 8, b, 0.05) for b in (0.0, 0.25, 0.5, 1.0, 2.0)],
    "dimension": [("normal", d, 1.0, 0.0) for d in (2, 5, 10, 15, 20)],
    "noise": [("normal", 8, 1.0, s) for s in (0.0, 0.05, 0.1, 0.2, 0.4)],
    "spectrum": [("power_law", 24, a, 0.0) for a in (0.0, 0.25, 0.5, 1.0, 1.5)],
    "clusters": [("clusters", 16, c, 0.0) for c in (1, 4, 16, 64, 256)],
}


def drawn(
    n_points: int = 1500, d_ambient: int = 24, replicates: int = 3, n_bootstrap: int = 200, seed: int = 0
) -> pd.DataFrame:
    """Every draw of every cloud of :data:`FACTORS`, beside a surrogate that shares its covariance.

    Columns ``factor, level, draw, estimator, value, low, high, surrogate, surrogate_value, surrogate_low,
    surrogate_high``, a row for each of the four summaries and for the tangent dimension. Intervals are over
    points drawn with replacement. Clusters have a second surrogate, ``clusters``, which keeps them.
    """
    rows = []
    named = {column: f"surrogate_{column}" for column in ("value", "low", "high")}
    for factor, cases in FACTORS.items():
        for name, d, value, noise in cases:
            shape = shapes.make(name, d, value)
            level = {"dimension": d, "noise": noise}.get(factor, value)
            for r in range(replicates):
                x = shapes.embedded(shape, n_points, d_ambient, noise, seed + 1000 * r)
                own = _read(x, n_bootstrap)
                for kind in ("gaussian", "clusters") if factor == "clusters" else ("gaussian",):
                    twin = surrogate(kind, x, seed + r, int(value))  # as many cells as clusters
                    theirs = _read(twin, n_bootstrap).rename(columns=named)
                    both = own.merge(theirs, on="estimator")
                    rows.append(both.assign(factor=factor, level=float(level), draw=r, surrogate=kind))
    columns = ["factor", "level", "draw", "estimator", "value", "low", "high", "surrogate", *named.values()]
    return pd.concat(rows, ignore_index=True)[columns]


def _read(x: Tensor, n_bootstrap: int) -> pd.DataFrame:
    found = measure(prepare(x, trim=0.0), RECIPE, n_bootstrap)
    return found[found["estimator"].isin([*FOUR, "tangent_dim"])][["estimator", "value", "low", "high"]]


def responses(table: pd.DataFrame) -> pd.DataFrame:
    """How the paper's four summaries answer to curvature, and to four things that are not curvature.

    Columns ``factor, level, estimator, value, low, high, gaussian, gaussian_low, gaussian_high``: means over
    the draws of :func:`drawn` and where 95 % of single measurements fall, of the clouds and of Gaussians of
    the same covariance.
    """
    own = table[(table["surrogate"] == "gaussian") & table["estimator"].isin(FOUR)]
    rows = [
        [*key, *single(part["value"]), *single(part["surrogate_value"])]
        for key, part in own.groupby(["factor", "level", "estimator"], sort=False)
    ]
    ours = ["value", "low", "high", "gaussian", "gaussian_low", "gaussian_high"]
    return pd.DataFrame(rows, columns=["factor", "level", "estimator", *ours])


def agreement(table: pd.DataFrame) -> pd.DataFrame:
    """Whether both curvatures of each exactly flat cloud agree with those of its surrogate, draw by draw.

    Columns ``factor, level, estimator, surrogate, difference, low, high, agree``: the mean difference over
    the draws, Student's 95 % interval of a single one, and the share of draws in which the difference is no
    more than the arms of the two intervals in quadrature. Clusters are set beside the surrogate that
    keeps them, since a single Gaussian is not their likeness.
    """
    flat = (table["factor"] != "curvature") | (table["level"] == 0)
    likeness = np.where(table["factor"] == "clusters", "clusters", "gaussian")
    own = table[flat & table["estimator"].isin(TWO) & (table["surrogate"] == likeness)].copy()
    below, over = arms(own)
    own["difference"] = own["value"] - own["surrogate_value"]
    own["agree"] = (own["difference"] - below <= 0) & (own["difference"] + over >= 0)
    key = ["factor", "level", "estimator", "surrogate"]
    rows = [
        [*name, *single(part["difference"]), part["agree"].mean()]
        for name, part in own.groupby(key, sort=False)
    ]
    return pd.DataFrame(rows, columns=[*key, "difference", "low", "high", "agree"])


def specificity(table: pd.DataFrame) -> pd.DataFrame:
    """For each summary its range over curvature, and its largest range over a factor that is none.

    Columns ``estimator, by_curvature, by_other, other, ratio``; a measure of curvature has a ratio far above
    one, over whatever ranges. How far below one it lies depends on the ranges of :data:`FACTORS`.
    """
    spread = table.groupby(["estimator", "factor"])["value"].agg(lambda v: v.max() - v.min()).unstack()
    rest = spread.drop(columns="curvature")
    found = pd.DataFrame({"by_curvature": spread["curvature"], "by_other": rest.max(axis=1)})
    found["other"] = rest.idxmax(axis=1)
    found["ratio"] = found["by_curvature"] / found["by_other"]
    return found.loc[list(FOUR)].reset_index()


def shortfall(
    ds: Sequence[int] = (4, 8, 12, 16), bend: float = 1.0, n_points: int = 1500, replicates: int = 3,
    seed: int = 0,
) -> pd.DataFrame:  # fmt: skip
    """Both curvatures by how far the tangent dimension falls short of the true one, flat and bent.

    The clouds are bowls of ``d`` dimensions, flat and with ``bend``, without noise, and the tangent dimension
    is given: from one to the true one, and at most 29. Columns ``d, bend, tangent_dim, missing, estimator,
    value, low, high``, with where 95 % of single measurements fall.
    """
    rows = []
    for d in ds:
        dims = list(range(1, min(d, RECIPE.small - 1) + 1))
        for b in (0.0, bend):
            shape, found = shapes.make("bowl", d, b), []
            for r in range(replicates):
                x = to_unit(shapes.embedded(shape, n_points, 2 * d, 0.0, seed + 1000 * r))
                read = curvatures(x, neighbours(x, RECIPE.large), dims, RECIPE, seed)
                found.append([read[name][0].double().mean(0).numpy() for name in TWO])
            for i, dim in enumerate(dims):
                for j, name in enumerate(TWO):
                    rows.append([d, b, dim, d - dim, name, *single([draw[j][i] for draw in found])])
    about = ["d", "bend", "tangent_dim", "missing", "estimator"]
    return pd.DataFrame(rows, columns=[*about, "value", "low", "high"])
