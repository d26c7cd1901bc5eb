"""The four summaries of a layer by the paper's recipe, every choice an argument, and rivals beside them.

>>> from geowall.manifolds import Sphere
>>> found = summarise(Sphere(6).sample(900, seed=0), recipe=Recipe(n_local=200), n_bootstrap=20)
>>> found[found["estimator"] == "d_int"][["value", "n_points"]].round(1).values.tolist()
[[4.9, 810.0]]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from geowall.geometry import curvature, dimension, spectrum
from geowall.geometry.cloud import Cloud, prepare, to_unit
from geowall.geometry.resampling import ENDS, chosen_means, draws, ratio
from geowall.kernels.local_geometry import local_geometry
from geowall.kernels.neighbours import Graph, neighbours
from geowall.manifolds import generator
from geowall.paths import GeowallError

FOUR = ("d_int", "kappa_ms", "kappa_tv", "nu")
COLUMNS = ["estimator", "value", "low", "high", "given_low", "given_high", "n_points", "k"]


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
    """A row for each estimator: ``estimator, value, low, high, given_low, given_high, n_points, k``.

    Beside the paper's four: ``two_nn``, ``mle_20``, ``gride_1`` to ``gride_64`` (scale-dependent dimension),
    ``tangent_dim``, ``participation``, ``local_participation``, ``tail_exponent``. Last come
    ``n_duplicates``, ``n_trimmed`` and ``n_constant``, what was left out (:class:`Cloud`).

    Intervals resample documents, with the graph held fixed; a ratio of distances counts in all the windows it
    lies in (:func:`dimension.influence`), and the tangent dimension is taken anew in each draw, by as much as
    the draw moves ``d_int``. In ``given_low`` and ``given_high`` it stays what it is, for comparisons at one
    tangent dimension. Intervals know nothing of the bias of an estimator, which
    :mod:`geowall.geometry.calibration` measures. Where there is no value a point (participation, tail) they
    are empty.

    Raises:
        GeowallError: bad points (see :func:`prepare`), or too few for the recipe.
    """
    recipe = recipe if isinstance(recipe, Recipe) else Recipe(**recipe)
    cloud = prepare(points, documents, recipe.trim, recipe.duplicates)
    left_out = {name: getattr(cloud, name) for name in ("n_duplicates", "n_trimmed", "n_constant")}
    return measure(cloud, recipe, n_bootstrap, seed).assign(**left_out)


def measure(cloud: Cloud, recipe: Recipe, n_bootstrap: int = 200, seed: int = 0) -> pd.DataFrame:
    """The table of :func:`summarise` for a cloud that is prepared, without what became of other rows."""
    found = pointwise(cloud, recipe, n_bootstrap, seed)
    rows = []
    for name, (top, bottom, own, k) in found.pairs.items():
        value, low, high = ratio(top, bottom, cloud.documents[own], n_bootstrap, seed)
        rows.append([name, value, low, high, low, high, len(own), k])
    for name, (values, own, k) in found.bent.items():
        value = float(values[:, found.dims.index(found.dim)].double().mean())
        ends = _ends(values, own, found, cloud.documents, seed)
        rows.append([name, value, *ends, len(own), k])
    empty = [np.nan] * 4
    rows += [[name, value, *empty, len(cloud.points), k] for name, (value, k) in found.scalars.items()]
    return pd.DataFrame(rows, columns=COLUMNS)


def _ends(values: Tensor, own: Tensor, found: Pointwise, documents: Tensor, seed: int) -> list[float]:
    """Interval of a curvature with the tangent dimension drawn, then with it given."""
    if found.drawn is None:
        return [np.nan] * 4
    places = torch.tensor([found.dims.index(dim) for dim in found.drawn])
    given = torch.full_like(places, found.dims.index(found.dim))
    both = [chosen_means(values, column, own, documents, seed) for column in (places, given)]
    return [end for means in both for end in torch.quantile(means, ENDS).tolist()]


Pair = tuple[Tensor, Tensor, Tensor, int]


class Pointwise(NamedTuple):
    """Values at points, from which estimates and their intervals are taken."""

    pairs: dict[str, Pair]  # a numerator and a denominator a point, the points, and K
    bent: dict[str, tuple[Tensor, Tensor, int]]  # a value a point and tangent dimension, the points, and K
    scalars: dict[str, tuple[float, int]]  # what has no value a point
    dim: int  # the tangent dimension
    dims: list[int]  # those that draws of the documents take, the columns of ``bent``
    drawn: list[int] | None  # which each draw takes


def pointwise(cloud: Cloud, recipe: Recipe, n_bootstrap: int = 0, seed: int = 0) -> Pointwise:
    """Values at points of every estimator; an estimate is the sum of numerators over that of denominators."""
    x = to_unit(cloud.points)  # nothing below has a unit
    graph = _graph(x, recipe)
    log_ratio = dimension.log_ratio(graph.distance)
    local = dimension.windowed(log_ratio, graph.index, recipe.window, recipe.window_method)
    _refuse_heaps(graph.distance, local, min(recipe.small, 20))
    every, ones = torch.arange(len(x)), torch.ones(len(x), dtype=torch.float64)
    certain, nu = _uncertain(log_ratio, graph, local, recipe)
    sound = ~log_ratio.isnan() & (log_ratio > 0)
    pairs: dict[str, Pair] = {
        "d_int": (certain, ones, every, recipe.window),
        "nu": (nu, ones, every, recipe.window_nu),
        "two_nn": (ones[sound], log_ratio[sound], every[sound], 2),
        "mle_20": (ones, 1.0 / dimension.mle(graph.distance, 20), every, 20),
    }
    dim = tangent_dimension(local, log_ratio, x.shape[1], recipe)
    moved = draws(certain, ones, cloud.documents, n_bootstrap, seed)
    drawn = None
    if moved is not None:
        moved = (moved / certain.mean()).tolist()
        drawn = [tangent_dimension(local, log_ratio, x.shape[1], recipe, by) for by in moved]
    dims = sorted({dim, *(drawn or [])})
    bent = curvatures(x, graph, dims, recipe, seed)
    values = spectrum.eigenvalues(x)
    scales = [k for k in (1, 2, 4, 8, 16, 32, 64) if 2 * k <= graph.index.shape[1]]
    scalars = {f"gride_{k}": (dimension.gride(graph.distance, k), 2 * k) for k in scales}
    scalars |= {
        "tangent_dim": (float(dim), recipe.window),
        "participation": (spectrum.participation(values), len(x)),
        "tail_exponent": (spectrum.tail_exponent(values), len(x)),
    }
    return Pointwise(pairs, bent, scalars, dim, dims, drawn)


def _graph(x: Tensor, recipe: Recipe) -> Graph:
    most = max(recipe.window, recipe.large)
    if len(x) <= most:
        why = f"{len(x)} points are left, and the recipe looks at {most} neighbours"
        raise GeowallError("the cloud is too small for the recipe", why, "give more points")
    largest = max(most, recipe.window_nu, recipe.tangent_k, 128)
    return neighbours(x, min(recipe.k, largest, len(x) - 1))


def _uncertain(log_ratio: Tensor, graph: Graph, local: Tensor, recipe: Recipe) -> tuple[Tensor, Tensor]:
    """Local dimension and heterogeneity at each point, with what its ratio does to all windows it lies in."""
    nu = dimension.heterogeneity(local, graph.index, recipe.window_nu)
    if recipe.window_method != "mle":  # see dimension.influence
        return local, nu
    ones = torch.ones(len(local), dtype=torch.float64)
    near = graph.index[:, : recipe.window_nu]
    pull = (local[near] - local[near].mean(1, keepdim=True)) / ((near.shape[1] - 1) * nu[:, None])
    weight = torch.zeros_like(ones).index_add(0, near.flatten(), pull.flatten().double())
    nu = nu + dimension.influence(log_ratio, graph.index, recipe.window, local, weight)
    return local + dimension.influence(log_ratio, graph.index, recipe.window, local, ones), nu


def _refuse_heaps(distance: Tensor, local: Tensor, k: int) -> None:
    """Points on top of each other have no dimension, and a curvature of zero that nobody measured."""
    heaped = local.isnan() | (distance[:, k - 1] == 0)
    if bool(heaped.any()):
        why = f"{int(heaped.sum())} of {len(local)} points lie on their neighbours, or all around them do"
        raise GeowallError("the cloud has no local geometry there", why, 'drop equal rows: duplicates="drop"')


def tangent_dimension(local: Tensor, log_ratio: Tensor, d: int, recipe: Recipe, moved: float = 1.0) -> int:
    """Median of the per-point TwoNN estimates, clipped to [1, min(K - 1, d - 1)] (the paper's k_t).

    ``moved`` is the factor by which a draw of the documents moves all estimates. K is the smallest of the
    neighbourhoods that must hold the tangent space: a median above 29 is read as 29.
    """
    if recipe.dim:
        return recipe.dim
    if d < 2:
        why = "its points have one coordinate that varies"
        raise GeowallError("the cloud cannot bend", why, "give two or more, or ask for the dimension alone")
    single = 1.0 / log_ratio[~log_ratio.isnan() & (log_ratio > 0)]
    median = float((local if recipe.tangent == "window" else single).nanmedian())
    return int(np.clip(round(moved * median), 1, min(recipe.small - 1, recipe.tangent_k - 1, d - 1)))


def curvatures(
    x: Tensor, graph: Graph, dims: Sequence[int], recipe: Recipe, seed: int = 0
) -> dict[str, tuple[Tensor, Tensor, int]]:
    """What :func:`pointwise` says of curvature, a column for each tangent dimension."""
    own = torch.arange(len(x))
    if 0 < recipe.n_local < len(x):
        own = torch.randperm(len(x), generator=generator(seed))[: recipe.n_local].sort().values
    found = local_geometry(x, graph.index[own], [recipe.small, recipe.large], max(dims), None, own)
    near = graph.index[own, : recipe.tangent_neighbours]
    places, where = torch.cat([own, near.flatten()]).unique(return_inverse=True)
    scale, about = recipe.tangent_k, recipe.tangent_about
    tangents = local_geometry(x, graph.index[places], [scale], max(dims), scale, places, about)
    turned = curvature.kappa_tv(tangents.basis, where[: len(own)], where[len(own) :].view_as(near), dims)
    shared = found.participation[:, 1:].expand(-1, len(dims))
    return {
        "kappa_ms": (curvature.kappa_ms(found.spectrum, found.energy, dims), own, recipe.large),
        "kappa_tv": (turned, own, scale),
        "local_participation": (shared, own, recipe.large),
    }
