"""Instruments put to clouds whose dimension and curvature are known.

>>> table = dimensions(["circles"], [2], n_points=400, replicates=2)
>>> sorted(table["estimator"]), table["truth"].unique().tolist()
(['d_int', 'gride_8', 'mle_20', 'two_nn', 'two_nn_linear'], [2.0])
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from geowall.geometry import curvature, dimension, shapes
from geowall.geometry.cloud import prepare
from geowall.geometry.summary import FOUR, Recipe, measure
from geowall.geometry.surrogates import surrogate
from geowall.kernels.neighbours import neighbours

COLUMNS = [
    *("manifold", "d", "curvature", "noise", "n_points", "estimator"),
    *("truth", "value", "low", "high"),
]
REFERENCES = ("circles", "normal", "ball")  # no ends and even; uneven; ends
RECIPE = {"trim": 0.0, "n_local": 300}


def dimension_estimates(x: Float[Tensor, "point d"]) -> dict[str, float]:
    """Every estimator of the dimension on one cloud, from one graph."""
    graph = neighbours(x, 100)
    ratio = dimension.log_ratio(graph.distance)
    return {
        "d_int": float(dimension.windowed(ratio, graph.index, 100).mean()),
        "two_nn": dimension.two_nn(ratio),
        "two_nn_linear": dimension.two_nn(ratio, "linear"),
        "mle_20": float(1.0 / (1.0 / dimension.mle(graph.distance, 20)).mean()),
        "gride_8": dimension.gride(graph.distance, 8),
    }


def dimensions(
    names: Sequence[str], ds: Sequence[int], n_points: int = 1000, replicates: int = 3, noise: float = 0.0,
    seed: int = 0,
) -> pd.DataFrame:  # fmt: skip
    """What each estimator of dimension says of shapes of known dimension, rotated in as many as they need.

    ``low`` and ``high`` are where 95 % of single measurements fall, by the spread of the replicates.
    """
    rows = []
    for name in names:
        for d in ds:
            shape = shapes.make(name, d)
            ambient = shape.d_model + (2 if noise else 0)
            drawn = [
                dimension_estimates(shapes.embedded(shape, n_points, ambient, noise, seed + 1000 * r))
                for r in range(replicates)
            ]
            rows += _rows(name, shape, noise, n_points, drawn, {e: float(shape.d_int) for e in drawn[0]})
    return pd.DataFrame(rows, columns=COLUMNS)


def _rows(
    name: str, shape: shapes.Manifold, noise: float, n: int, drawn: list[dict], truth: dict[str, float]
) -> list[list]:
    bent = float(shape.curvature(shape.sample(500, 0)).square().mean().sqrt())
    rows = []
    for estimator in drawn[0]:
        values = np.array([found[estimator] for found in drawn])
        half = 1.96 * values.std(ddof=1) if len(values) > 1 else np.nan
        middle = values.mean()
        about = [name, shape.d_int, bent, noise, n, estimator, truth.get(estimator, np.nan)]
        rows.append([*about, middle, middle - half, middle + half])
    return rows


def corrected(value: float, estimator: str, reference: pd.DataFrame) -> tuple[float, float, float]:
    """The dimension at which reference clouds of the same size give ``value``: middle, least and most.

    Neighbour estimators fall behind from ten dimensions on, by how much depends on the size of the cloud and
    a little on its density and ends. Each reference family (``reference``: a table of :func:`dimensions`)
    inverts its own curve; the interval runs over families. Beyond the largest dimension it is open.
    """
    found = []
    for _, own in reference[reference["estimator"] == estimator].groupby("manifold"):
        own = own.sort_values("d")
        curve = np.maximum.accumulate(own["value"].to_numpy())
        beyond = value > curve[-1]
        found.append(np.nan if beyond else float(np.interp(value, curve, own["d"], left=own["d"].min())))
    if np.isnan(found).any():
        return (
            float(np.nanmean(found)) if not np.isnan(found).all() else np.inf,
            float(np.nanmin(found)),
            np.inf,
        )
    return float(np.mean(found)), float(min(found)), float(max(found))


def corrections(tested: pd.DataFrame, reference: pd.DataFrame, estimator: str = "d_int") -> pd.DataFrame:
    """The corrected dimension of each tested shape, in the columns of the calibration table.

    Its interval adds the spread of a single measurement to that of the families.
    """
    rows = []
    for row in tested[tested["estimator"] == estimator].itertuples():
        middle, _, _ = corrected(row.value, estimator, reference)
        low, high = corrected(row.low, estimator, reference)[1], corrected(row.high, estimator, reference)[2]
        about = [row.manifold, row.d, row.curvature, row.noise, row.n_points, f"{estimator}_corrected"]
        rows.append([*about, row.truth, middle, low, high])
    return pd.DataFrame(rows, columns=COLUMNS)


CURVED = (
    ("sphere", 2, 0.5), ("sphere", 2, 1.0), ("sphere", 2, 2.0), ("sphere", 5, 1.0), ("torus", 2, 1.0),
    ("cylinder", 2, 1.0), ("swiss_roll", 2, 1.0), ("bowl", 3, 0.5), ("bowl", 3, 1.0), ("ball", 2, 1.0),
    ("ball", 5, 1.0),
)  # fmt: skip


def curvatures(
    cases: Sequence[Sequence] = CURVED, noises: Sequence[float] = (0.0, 0.01), n_points: int = 2000,
    replicates: int = 3, d_ambient: int = 12, seed: int = 0,
) -> pd.DataFrame:  # fmt: skip
    """What every measure of curvature says of shapes of known curvature, in ``d_ambient`` dimensions.

    ``second_form`` has the truth ``sqrt mean |tr II / d|^2``; ``multiscale`` is quoted against the same
    number, which is its own on spheres only. The paper's proxies have a truth on flat shapes alone, none.
    """
    rows = []
    for name, d, value in cases:
        shape = shapes.make(name, d, value)
        for noise in noises:
            drawn = [
                _curvature_estimates(shapes.embedded(shape, n_points, d_ambient, noise, seed + 1000 * r), d)
                for r in range(replicates)
            ]
            bent = float(shape.curvature(shape.sample(2000, 0)).square().mean().sqrt())
            truth = {"second_form": bent, "multiscale": bent, "noise": noise}
            truth |= dict.fromkeys(("kappa_ms", "kappa_tv"), 0.0) if bent == 0 else {}
            label = f"{name} R = {value:g}" if name == "sphere" else name
            label = f"{name} b = {value:g}" if name == "bowl" else label
            rows += _rows(label, shape, noise, n_points, drawn, truth)
    return pd.DataFrame(rows, columns=COLUMNS)


def _curvature_estimates(x: Tensor, d: int) -> dict[str, float]:
    cloud = prepare(x, trim=0.0)
    index = neighbours(cloud.points, 200).index
    some = torch.arange(0, len(x), max(1, len(x) // 200))
    scales = curvature.multiscale(cloud.points, index, d, (20, 40, 80, 160), some)
    unknown = (d + 1) * (d + 2) // 2
    form = curvature.second_form(cloud.points, index, d, max(30, 3 * unknown), some)
    found = measure(cloud, Recipe(dim=d, **RECIPE), 0).set_index("estimator")["value"]
    return {
        "multiscale": scales.curvature,
        "noise": scales.noise,
        "second_form": float(form.mean_square.mean().clamp(min=0.0).sqrt()),
        "kappa_ms": float(found["kappa_ms"]),
        "kappa_tv": float(found["kappa_tv"]),
    }


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
