"""Instruments put to clouds whose dimension and curvature are known, turned at random in more dimensions.

>>> table = dimensions(["circles"], [2], n_points=400, replicates=2)
>>> sorted(table["estimator"]), table["truth"].unique().tolist()
(['d_int', 'gride_8', 'mle_20', 'mle_20_half', 'two_nn', 'two_nn_linear'], [2.0])
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from geowall.geometry import curvature, dimension, shapes
from geowall.geometry.cloud import prepare
from geowall.geometry.correction import corrections
from geowall.geometry.resampling import reach, single
from geowall.geometry.summary import Recipe
from geowall.geometry.summary import curvatures as proxies
from geowall.kernels.neighbours import neighbours

COLUMNS = [
    *("manifold", "d", "curvature", "noise", "n_points", "estimator"),
    *("truth", "value", "low", "high"),
]
FAMILIES = ("sphere", "circles", "normal", "ball")  # of any dimension: tori, linear spaces, and spheres
REFERENCES = (*FAMILIES, "cube", "spheres")  # of which the tested family is left out
SIZED = 10  # dimensions at which families are drawn in other sizes too
MANIFOLDS = (
    ("circle", 1), ("helix", 1), ("ripple", 1), ("torus", 2), ("swiss_roll", 2), ("cylinder", 2),
    ("sphere", 3), ("shell", 3), ("bowl", 3),
)  # fmt: skip
CURVED = (
    ("sphere", 2, 0.5), ("sphere", 2, 1.0), ("sphere", 2, 2.0), ("sphere", 5, 1.0), ("torus", 2, 1.0),
    ("cylinder", 2, 1.0), ("swiss_roll", 2, 1.0), ("bowl", 3, 0.5), ("bowl", 3, 1.0), ("ball", 2, 1.0),
    ("ball", 5, 1.0), ("circle", 1, 1.0), ("helix", 1, 1.0), ("ripple", 1, 1.0), ("shell", 3, 1.0),
)  # fmt: skip
ROUND = (("circle", 1, 1.0), ("sphere", 2, 1.0), ("sphere", 5, 1.0))  # drawn in other sizes, and noisier
NOISES = (0.0, 0.01, 0.05)  # a direction; neighbours lie 0.005 (curves) to 1 (ten dimensions) apart
D_NOISY = 12  # dimensions that noise has
DIMENSION = ("d_int", "two_nn", "two_nn_linear", "mle_20", "gride_8")
CURVATURE = ("second_form", "multiscale")


def calibrate(
    reference: pd.DataFrame, ds: Sequence[int], n_points: int = 1000, replicates: int = 3, seed: int = 0
) -> pd.DataFrame:
    """Every estimator on every shape: what it reads beside the truth, by sample size and noise.

    Dimension is estimated from ``n_points`` of all :data:`FAMILIES` in ``ds`` dimensions, from half and twice
    as many in ten, and of the :data:`MANIFOLDS` without noise and with; curvature from ``2 n_points`` of
    :data:`CURVED`, and of the round ones from half and twice as many and with more noise. ``reference`` is
    what :func:`correction.corrections` learns from. Columns: :data:`COLUMNS`.
    """
    draws = {"replicates": replicates, "seed": seed}
    known = dimensions(FAMILIES, ds, n_points, **draws)
    sized = [dimensions(FAMILIES, [SIZED], n, **draws) for n in (n_points // 2, 2 * n_points)]
    noisy = [
        dimensions([name], [d], n_points, noise=noise, d_ambient=D_NOISY, **draws)
        for name, d in MANIFOLDS
        for noise in NOISES
    ]
    bent = [curvatures(CURVED, NOISES[:2], 2 * n_points, **draws)]
    bent += [curvatures(ROUND, NOISES[:1], n, **draws) for n in (n_points, 4 * n_points)]
    bent += [curvatures(ROUND, NOISES[2:], 2 * n_points, **draws)]
    return pd.concat([known, corrections(known, reference), *sized, *noisy, *bent], ignore_index=True)


def bias(table: pd.DataFrame, replicates: int = 3) -> pd.DataFrame:
    """Bias and spread of the estimators that have a truth, by sample size and by noise.

    Columns ``quantity, factor, level, estimator, bias, low, high, spread``: the mean over shapes of value
    over truth less one, the least and the most of single measurements of any shape (95 % of each), and the
    standard deviation of one, from so many ``replicates``. Dimension by sample size is that of families of
    ten dimensions, by noise that of the manifolds; curvature is that of the round shapes.
    """
    true = table[table["truth"] > 0]
    over = {name: true[name] / true["truth"] - 1.0 for name in ("low", "high")}
    square = ((over["high"] - over["low"]) / (2 * reach(replicates))) ** 2
    true = true.assign(bias=true["value"] / true["truth"] - 1.0, square=square, **over)
    dims, bent = (true[true["estimator"].isin(names)] for names in (DIMENSION, CURVATURE))
    pairs = pd.MultiIndex.from_frame(dims[["manifold", "d"]])
    families = dims["manifold"].isin(FAMILIES) & (dims["d"] == SIZED) & (dims["noise"] == 0)
    bent = bent[bent["manifold"].isin([_label(name, value) for name, _, value in ROUND])]
    middle = bent["n_points"].median()
    parts = [
        ("dimension", "sample size", "n_points", dims[families]),
        ("dimension", "noise", "noise", dims[pairs.isin(MANIFOLDS)]),
        ("curvature", "sample size", "n_points", bent[bent["noise"] == 0]),
        ("curvature", "noise", "noise", bent[bent["n_points"] == middle]),
    ]
    read, rows = {"bias": "mean", "low": "min", "high": "max", "square": "mean"}, []
    for quantity, factor, column, own in parts:
        found = own.groupby([column, "estimator"], sort=False).agg(read).reset_index()
        found = found.rename(columns={column: "level"}).assign(quantity=quantity, factor=factor)
        rows.append(found.assign(level=found["level"].astype(float), spread=found["square"] ** 0.5))
    columns = ["quantity", "factor", "level", "estimator", "bias", "low", "high", "spread"]
    return pd.concat(rows, ignore_index=True)[columns]


def dimension_estimates(x: Float[Tensor, "point d"]) -> dict[str, float]:
    """Every estimator of the dimension on one cloud, from one graph."""
    graph = neighbours(x, 100)
    ratio = dimension.log_ratio(graph.distance)
    return {
        "d_int": float(dimension.windowed(ratio, graph.index, 100).mean()),
        "two_nn": dimension.two_nn(ratio),
        "two_nn_linear": dimension.two_nn(ratio, "linear"),
        "mle_20": _mle(graph.distance),
        "mle_20_half": float(np.mean([_mle(neighbours(half, 20).distance) for half in (x[::2], x[1::2])])),
        "gride_8": dimension.gride(graph.distance, 8),
    }


def _mle(distance: Float[Tensor, "point k"]) -> float:
    return float(1.0 / (1.0 / dimension.mle(distance, 20)).mean())


def dimensions(
    names: Sequence[str], ds: Sequence[int], n_points: int = 1000, replicates: int = 3, noise: float = 0.0,
    d_ambient: int = 0, seed: int = 0,
) -> pd.DataFrame:  # fmt: skip
    """What each estimator of dimension says of shapes of known dimension, turned in as many as they need.

    ``d_ambient`` asks for more, which matter to noise alone; without it noise has two dimensions more.
    ``low`` and ``high`` are where 95 % of single measurements fall, by the spread of the replicates.
    """
    rows = []
    for name in names:
        for d in ds:
            shape = shapes.make(name, d)
            ambient = d_ambient or shape.d_model + (2 if noise else 0)
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
        about = [name, shape.d_int, bent, noise, n, estimator, truth.get(estimator, np.nan)]
        rows.append([*about, *single([found[estimator] for found in drawn])])
    return rows


def curvatures(
    cases: Sequence[Sequence] = CURVED, noises: Sequence[float] = (0.0, 0.01), n_points: int = 2000,
    replicates: int = 3, d_ambient: int = 12, seed: int = 0,
) -> pd.DataFrame:  # fmt: skip
    """What every measure of curvature says of shapes of known curvature, in ``d_ambient`` dimensions.

    ``second_form`` has the truth ``sqrt mean |tr II / d|^2``; what noise adds to the square is subtracted,
    and where that leaves less than nothing the root is quoted with a minus sign. ``multiscale`` is quoted as
    if a shape bent like a sphere, and has a truth on spheres and on flat shapes alone. The paper's proxies
    have one on flat shapes alone, none.
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
            truth = {"second_form": bent, "noise": noise}
            truth |= {"multiscale": bent} if bent == 0 or name in ("sphere", "circle") else {}
            truth |= dict.fromkeys(("kappa_ms", "kappa_tv"), 0.0) if bent == 0 else {}
            rows += _rows(_label(name, value), shape, noise, n_points, drawn, truth)
    return pd.DataFrame(rows, columns=COLUMNS)


def _label(name: str, value: float) -> str:
    mark = {"sphere": "R", "bowl": "b"}.get(name)
    return f"{name} {mark} = {value:g}" if mark else name


def _curvature_estimates(x: Tensor, d: int) -> dict[str, float]:
    cloud = prepare(x, trim=0.0)
    graph = neighbours(cloud.points, 200)
    index = graph.index
    some = torch.arange(0, len(x), max(1, len(x) // 200))
    scales = curvature.multiscale(cloud.points, index, d, (20, 40, 80, 160), some)
    unknown = (d + 1) * (d + 2) // 2
    form = curvature.second_form(cloud.points, index, d, max(30, 3 * unknown), some)
    proxy = proxies(cloud.points, graph, [d], Recipe(dim=d, n_local=300))
    square = float(form.mean_square.mean())
    return {
        "multiscale": scales.curvature,
        "noise": scales.noise,
        "second_form": math.copysign(abs(square) ** 0.5, square),
        "kappa_ms": float(proxy["kappa_ms"][0].mean()),
        "kappa_tv": float(proxy["kappa_tv"][0].mean()),
    }
