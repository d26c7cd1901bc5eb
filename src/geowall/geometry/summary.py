"""The four summaries of a layer by the paper's recipe, every choice an argument, and rivals beside them.

>>> from geowall.manifolds import Sphere
>>> found = summarise(Sphere(6).sample(900, seed=0), recipe=Recipe(n_local=200), n_bootstrap=20)
>>> found[found["estimator"] == "d_int"][["value", "n_points"]].round(1).values.tolist()
[[4.9, 810.0]]
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from geowall.geometry import curvature, dimension, spectrum
from geowall.geometry.cloud import Cloud, prepare, to_unit
from geowall.kernels.local_geometry import local_geometry
from geowall.kernels.neighbours import Graph, neighbours
from geowall.manifolds import generator
from geowall.paths import GeowallError

FOUR = ("d_int", "kappa_ms", "kappa_tv", "nu")


@dataclass(frozen=True)
class Recipe:
    """How a layer is summarised; defaults are the paper's where it says (Zaher et al. 2026, 4 and app. B).

    It does not say: what it does about duplicates (``duplicates``); how per-point TwoNN estimates are
    averaged (``window_method``, see :func:`dimension.windowed`); whether the median that gives the tangent
    dimension is of windowed or of single estimates (``tangent``); and whether the "local PCA" of ``kappa_tv``
    is about the point, as its ``C(K)``, or about the mean, as is usual (``tangent_about``).
    """

    trim: float = 0.05
    k: int = 500  # of the graph; cut to what the largest window needs, which changes nothing
    window: int = 100
    window_nu: int = 50
    window_method: str = "mle"
    small: int = 30
    large: int = 200
    tangent_k: int = 50
    tangent_neighbours: int = 5
    tangent: str = "window"  # or "point"
    tangent_about: str = "point"  # or "mean"
    dim: int = 0  # tangent dimension; 0 takes the median, as the paper does
    duplicates: str = "drop"
    n_local: int = 0  # points at which curvatures are taken, drawn by seed; 0: all

    def __post_init__(self) -> None:
        """Refuse words that mean nothing: nothing else would notice them."""
        if self.tangent not in ("window", "point") or self.tangent_about not in ("point", "mean"):
            why = f"tangent is {self.tangent!r} and tangent_about is {self.tangent_about!r}"
            raise GeowallError("no such recipe", why, "use window or point, and point or mean")


def summarise(
    points: Float[Tensor, "row d"] | np.ndarray,
    documents: Int[Tensor, " row"] | np.ndarray | None = None,
    recipe: Recipe | Mapping[str, object] = Recipe(),
    n_bootstrap: int = 200,
    seed: int = 0,
) -> pd.DataFrame:
    """A row for each estimator: ``estimator, value, low, high, n_points, k``.

    Beside the paper's four: ``two_nn``, ``mle_20``, ``gride_1`` to ``gride_64`` (scale-dependent dimension),
    ``tangent_dim``, ``participation``, ``local_participation``, ``tail_exponent``.

    Intervals resample documents, with the graph and the tangent dimension held fixed; a ratio of distances
    counts in all the windows it lies in (:func:`dimension.influence`). They know nothing of the bias of an
    estimator, which :mod:`geowall.geometry.calibration` measures. Where there is no value a point
    (participation, tail) they are empty.

    Raises:
        GeowallError: bad points (see :func:`prepare`), or too few for the recipe.
    """
    recipe = recipe if isinstance(recipe, Recipe) else Recipe(**recipe)
    return measure(prepare(points, documents, recipe.trim, recipe.duplicates), recipe, n_bootstrap, seed)


def measure(cloud: Cloud, recipe: Recipe, n_bootstrap: int = 200, seed: int = 0) -> pd.DataFrame:
    """The table of :func:`summarise` for a cloud that is prepared."""
    pairs, scalars = pointwise(cloud, recipe, seed)
    rows = []
    for name, (top, bottom, own, k) in pairs.items():
        value, low, high = ratio(top, bottom, cloud.documents[own], n_bootstrap, seed)
        rows.append([name, value, low, high, len(own), k])
    rows += [[name, value, np.nan, np.nan, len(cloud.points), k] for name, (value, k) in scalars.items()]
    return pd.DataFrame(rows, columns=["estimator", "value", "low", "high", "n_points", "k"])


Pair = tuple[Tensor, Tensor, Tensor, int]


def pointwise(
    cloud: Cloud, recipe: Recipe, seed: int = 0
) -> tuple[dict[str, Pair], dict[str, tuple[float, int]]]:
    """Values at points: for each estimator a numerator and a denominator a point, the points, and K.

    An estimate is the sum of the one over the sum of the other. The second part holds what has no points.
    """
    x = to_unit(cloud.points)  # nothing below has a unit
    largest = max(recipe.window, recipe.window_nu, recipe.large, recipe.tangent_k, 128)
    if len(x) <= max(recipe.window, recipe.large):
        why = (
            f"{len(x)} points are left, and the recipe looks at {max(recipe.window, recipe.large)} neighbours"
        )
        raise GeowallError("the cloud is too small for the recipe", why, "give more points")
    graph = neighbours(x, min(recipe.k, largest, len(x) - 1))
    log_ratio = dimension.log_ratio(graph.distance)
    local = dimension.windowed(log_ratio, graph.index, recipe.window, recipe.window_method)
    _refuse_heaps(graph.distance, local, min(recipe.small, 20))
    every, ones = torch.arange(len(x)), torch.ones(len(x), dtype=torch.float64)
    nu = dimension.heterogeneity(local, graph.index, recipe.window_nu)
    sound = ~log_ratio.isnan() & (log_ratio > 0)
    inverse = 1.0 / dimension.mle(graph.distance, 20)
    if recipe.window_method == "mle":  # see dimension.influence
        near = graph.index[:, : recipe.window_nu]
        pull = (local[near] - local[near].mean(1, keepdim=True)) / ((near.shape[1] - 1) * nu[:, None])
        weight = torch.zeros_like(ones).index_add(0, near.flatten(), pull.flatten().double())
        nu = nu + dimension.influence(log_ratio, graph.index, recipe.window, local, weight)
        certain = local + dimension.influence(log_ratio, graph.index, recipe.window, local, ones)
    else:
        certain = local
    pairs: dict[str, Pair] = {
        "d_int": (certain, ones, every, recipe.window),
        "nu": (nu, ones, every, recipe.window_nu),
        "two_nn": (ones[sound], log_ratio[sound], every[sound], 2),
        "mle_20": (ones, inverse, every, 20),
    }
    dim = tangent_dimension(local, log_ratio, x.shape[1], recipe)
    pairs |= curvatures(x, graph, dim, recipe, seed)
    values = spectrum.eigenvalues(x)
    scales = [k for k in (1, 2, 4, 8, 16, 32, 64) if 2 * k <= graph.index.shape[1]]
    scalars = {f"gride_{k}": (dimension.gride(graph.distance, k), 2 * k) for k in scales}
    scalars |= {
        "tangent_dim": (float(dim), recipe.window),
        "participation": (spectrum.participation(values), len(x)),
        "tail_exponent": (spectrum.tail_exponent(values), len(x)),
    }
    return pairs, scalars


def _refuse_heaps(distance: Tensor, local: Tensor, k: int) -> None:
    """Points on top of each other have no dimension, and a curvature of zero that nobody measured."""
    heaped = local.isnan() | (distance[:, k - 1] == 0)
    if bool(heaped.any()):
        why = f"{int(heaped.sum())} of {len(local)} points lie on their neighbours, or all around them do"
        raise GeowallError("the cloud has no local geometry there", why, 'drop equal rows: duplicates="drop"')


def tangent_dimension(local: Tensor, log_ratio: Tensor, d: int, recipe: Recipe) -> int:
    """Median of the per-point TwoNN estimates, clipped to [1, min(K - 1, d - 1)] (the paper's k_t)."""
    if recipe.dim:
        return recipe.dim
    if d < 2:
        why = "its points have one coordinate that varies"
        raise GeowallError("the cloud cannot bend", why, "give two or more, or ask for the dimension alone")
    single = 1.0 / log_ratio[~log_ratio.isnan() & (log_ratio > 0)]
    median = float((local if recipe.tangent == "window" else single).nanmedian())
    return int(np.clip(round(median), 1, min(recipe.small - 1, recipe.tangent_k - 1, d - 1)))


def curvatures(x: Tensor, graph: Graph, dim: int, recipe: Recipe, seed: int = 0) -> dict[str, Pair]:
    """What :func:`pointwise` says of curvature, for a graph and a tangent dimension that are known."""
    own = torch.arange(len(x))
    if 0 < recipe.n_local < len(x):
        own = torch.randperm(len(x), generator=generator(seed))[: recipe.n_local].sort().values
    found = local_geometry(x, graph.index[own], [recipe.small, recipe.large], dim, None, own)
    near = graph.index[own, : recipe.tangent_neighbours]
    places, where = torch.cat([own, near.flatten()]).unique(return_inverse=True)
    scale, about = recipe.tangent_k, recipe.tangent_about
    tangents = local_geometry(x, graph.index[places], [scale], dim, scale, places, about)
    turned = curvature.kappa_tv(tangents.basis, where[: len(own)], where[len(own) :].view_as(near))
    ones = torch.ones(len(own), dtype=torch.float64)
    return {
        "kappa_ms": (curvature.kappa_ms(found.residual), ones, own, recipe.large),
        "kappa_tv": (turned, ones, own, scale),
        "local_participation": (found.participation[:, 1], ones, own, recipe.large),
    }


def ratio(
    top: Tensor, bottom: Tensor, documents: Tensor, n_bootstrap: int, seed: int
) -> tuple[float, float, float]:
    """``sum(top) / sum(bottom)`` with its 95 % interval over documents drawn with replacement.

    With fewer than two documents or draws the interval is empty.
    """
    top, bottom = top.double(), bottom.double()
    value = float(top.sum() / bottom.sum())
    _, cell = documents.unique(return_inverse=True)
    count = int(cell.max()) + 1
    if count < 2 or n_bootstrap < 2:
        return value, np.nan, np.nan
    a, b = (torch.zeros(count, dtype=torch.float64).index_add(0, cell, v) for v in (top, bottom))
    rng = np.random.default_rng(seed)
    weight = torch.from_numpy(rng.multinomial(count, np.full(count, 1 / count), n_bootstrap).astype(float))
    drawn = (weight @ a) / (weight @ b)
    low, high = torch.quantile(drawn, torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return value, low, high
