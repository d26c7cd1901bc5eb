"""Instruments that have a term for curvature, put to layers: what they say, and what noise leaves of it.

A layer's curvature has a unit, one over a length. Here it is quoted over the neighbourhood that it was fitted
in: ``bend`` is ``|H|^2`` times the mean squared distance to those neighbours, about four times the share of
their squared distance by which the layer leaves its tangent space.

>>> from geowall.geometry.shapes import embedded, make
>>> x = embedded(make("sphere", 2), 900, 6, 0.0, seed=0)
>>> found = fits(prepare(x, trim=0.0), 2, n_chosen=90)
>>> found["estimator"].tolist(), bool(found["low"].iloc[0] > 0)
(['bend', 'bend_scales', 'noise'], True)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import torch

from geowall.geometry import curvature
from geowall.geometry.cloud import Cloud, prepare, to_unit
from geowall.geometry.resampling import ratio
from geowall.geometry.summary import Recipe, measure
from geowall.geometry.surrogates import surrogate
from geowall.kernels.neighbours import neighbours
from geowall.language.layer_geometry import cloud_of, n_layers
from geowall.manifolds import generator

SCALES = 4  # neighbourhoods of the fit over scales, each twice the one before
COLUMNS = ["model", "layer", "cloud", "estimator", "value", "low", "high", "tangent_dim", "k", "n_points"]


def layer_fits(
    models: Sequence[str], n_points: int, recipe: Mapping[str, Any], kinds: Sequence[str],
    *, sequences: int = 48, layers: Sequence[int] = (), n_clusters: int = 32, n_chosen: int = 200,
    n_bootstrap: int = 200, seed: int = 0,
) -> pd.DataFrame:  # fmt: skip
    """Both fits of every layer and of its flat surrogates, at the layer's tangent dimension.

    Args:
        models: names that :func:`geowall.language.hub.load` knows.
        n_points: activations drawn at each layer.
        recipe: arguments of :class:`Recipe`.
        kinds: of :func:`surrogate`.
        sequences: of 256 tokens, from which they are drawn.
        layers: which; empty means all.
        n_clusters: of the cluster-preserving surrogate.
        n_chosen: points at which a quadratic is fitted.
        n_bootstrap: draws of documents behind each interval.
        seed: of every draw.
    """
    settings, rows = Recipe(**recipe), []
    for model in models:
        every = tuple(range(n_layers(model)))
        for layer in [n for n in layers if n in every] or every:
            cloud = cloud_of(model, layer, n_points, settings, sequences, seed, "res", every)
            read = measure(cloud, settings, 0, seed).set_index("estimator")["value"]
            clouds = {"layer": cloud}
            for kind in kinds:
                twin = surrogate(kind, cloud.points, seed + 1, n_clusters)
                clouds[kind] = prepare(twin, cloud.documents, trim=0.0)
            for name, own in clouds.items():
                found = fits(own, int(read["tangent_dim"]), n_chosen, n_bootstrap, seed)
                rows.append(found.assign(model=model, layer=layer, cloud=name))
    return pd.concat(rows, ignore_index=True)[COLUMNS]


def fits(cloud: Cloud, dim: int, n_chosen: int = 200, n_bootstrap: int = 200, seed: int = 0) -> pd.DataFrame:
    """The second fundamental form and the fit over scales of one cloud, with a given tangent dimension.

    ``bend`` is that of the form: noise is subtracted, so that it is right on average and may be negative.
    ``bend_scales`` is that of the fit over scales, without an interval; ``noise`` what the quadratics leave,
    a direction, over the root mean squared distance. ``k`` neighbours are three times as many as a quadratic
    has coefficients, thirty at least, and half of the cloud at most.
    """
    x = to_unit(cloud.points)
    unknown = (dim + 1) * (dim + 2) // 2
    k = min(max(30, 3 * unknown), len(x) // 2)
    smallest = max(20, 2 * dim)
    scales = [min(smallest * 2**i, len(x) - 1) for i in range(SCALES)]
    graph = neighbours(x, max(k, *scales))
    chosen = torch.randperm(len(x), generator=generator(seed))[:n_chosen].sort().values
    size = graph.distance[chosen, :k].double().square().mean(1)
    form = curvature.second_form(x, graph.index, dim, k, chosen)
    ones, documents = torch.ones(len(chosen), dtype=torch.float64), cloud.documents[chosen]
    bend = ratio(form.mean_square * size, ones, documents, n_bootstrap, seed)
    left = ratio(form.noise / size.sqrt(), ones, documents, n_bootstrap, seed)
    grown = curvature.multiscale(x, graph.index, dim, scales, chosen).curvature ** 2 * float(size.mean())
    rows = [["bend", *bend, k], ["bend_scales", grown, None, None, scales[-1]], ["noise", *left, k]]
    found = pd.DataFrame(rows, columns=["estimator", "value", "low", "high", "k"])
    return found.astype({"low": float, "high": float}).assign(tangent_dim=dim, n_points=len(chosen))
