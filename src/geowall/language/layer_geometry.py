"""Geometry of every layer of a language model: the tables of chapter 06.

All tables measure the same tokens: sequences of the corpus part that no model was trained on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from geowall.geometry.cloud import Cloud, prepare
from geowall.geometry.resampling import arms
from geowall.geometry.summary import FOUR, Recipe, measure
from geowall.geometry.surrogates import surrogate
from geowall.language import labels, samples
from geowall.language.activations import Site
from geowall.language.cache import loaded
from geowall.language.sites import config_of
from geowall.paths import GeowallError

COLUMNS = [
    *("source", "model", "layer", "site", "estimator", "value", "low", "high"),
    *("surrogate", "surrogate_value", "surrogate_low", "surrogate_high", "n_points", "k"),
]
BESIDE = "gaussian_same_dim"  # the surrogate of other sites than the residual stream
VARIANTS = (
    "as the paper", "BOS kept", "norms not trimmed", "duplicates kept", "half the points", "twice the points",
    "scales 20 and 100", "scales 30 and 400", "tangents about the mean", "tangent dimension 10",
    "tangent dimension of single ratios", "window of medians", "window of means", "graph of 200 neighbours",
    "one activation per token type",
)  # fmt: skip


def n_layers(model: str) -> int:
    """Blocks of a model."""
    return int(config_of(loaded(model)).num_hidden_layers)


def layer_geometry(
    models: Sequence[str], n_points: int, recipe: Mapping[str, Any], surrogates: Sequence[str],
    *, other_sites: Sequence[str] = (), sequences: int = 48, n_clusters: int = 32,
    layers: Sequence[int] = (), n_bootstrap: int = 200, source: str = "lab", seed: int = 0,
) -> pd.DataFrame:  # fmt: skip
    """Every estimator at every layer, beside the same estimator of each surrogate of the layer's cloud.

    The residual stream of each model, and other sites of the first beside one surrogate, :data:`BESIDE`.

    Args:
        models: names that :func:`geowall.language.hub.load` knows.
        n_points: activations drawn at each layer, the same tokens at all.
        recipe: arguments of :class:`Recipe`.
        surrogates: kinds of :func:`surrogate`; ending in ``_same_dim``, with the layer's own tangent
            dimension in the place of one estimated on the surrogate. In those rows the layer's interval too
            holds the tangent dimension where it is; in others each draw of documents takes it anew.
        other_sites: ``att`` or ``mlp``, of the first model.
        sequences: of 256 tokens, from which they are drawn.
        n_clusters: of the cluster-preserving surrogate.
        layers: which; empty means all.
        n_bootstrap: draws of documents behind each interval.
        source: what the table says of where it comes from.
        seed: of every draw.
    """
    places = [(model, "res", surrogates) for model in models]
    places += [(models[0], site, [BESIDE]) for site in dict.fromkeys(other_sites) if site != "res"]
    rows, settings = [], Recipe(**recipe)
    for model, site, kinds in places:
        chosen = tuple(layers) or tuple(range(n_layers(model)))
        for layer in chosen:
            cloud = cloud_of(model, layer, n_points, settings, sequences, seed, site, chosen)
            found = beside_surrogates(cloud, settings, kinds, n_clusters, n_bootstrap, seed)
            rows.append(found.assign(source=source, model=model, layer=layer, site=site))
    return pd.concat(rows, ignore_index=True)[COLUMNS]


def beside_surrogates(
    cloud: Cloud, recipe: Recipe, kinds: Sequence[str], n_clusters: int, n_bootstrap: int, seed: int
) -> pd.DataFrame:
    """Every estimator of one cloud and of each of its surrogates: a row an estimator and ``surrogate``."""
    own = measure(cloud, recipe, n_bootstrap, seed)
    dim = int(own.set_index("estimator").loc["tangent_dim", "value"])
    given = own.assign(low=own["given_low"], high=own["given_high"])
    plain, rows = {kind: kind.removesuffix("_same_dim") for kind in kinds}, []
    twins = {name: surrogate(name, cloud.points, seed + 1, n_clusters) for name in set(plain.values())}
    for kind, name in plain.items():
        ours, asked = (own, recipe) if kind == name else (given, replace(recipe, dim=dim))
        theirs = measure(prepare(twins[name], trim=0.0), asked, n_bootstrap, seed)
        named = {column: f"surrogate_{column}" for column in ("value", "low", "high")}
        both = ours.merge(theirs[["estimator", *named]].rename(columns=named), on="estimator")
        rows.append(both.assign(surrogate=kind))
    return pd.concat(rows, ignore_index=True)


def _every(model: str, looked_at: Sequence[int]) -> tuple[int, ...]:
    """All layers of a model, of which those looked at must be some."""
    every = tuple(range(n_layers(model)))
    if not looked_at or not set(looked_at) <= set(every):
        why = f"{model} has the layers 0 to {every[-1]}, and {list(looked_at)} were asked for"
        raise GeowallError("there is no such layer to look at", why, "name some of them")
    return every


def cloud_of(
    model: str, layer: int, n_points: int, recipe: Recipe, sequences: int, seed: int, site: str = "res",
    layers: Sequence[int] = (), types: bool = False,
) -> Cloud:  # fmt: skip
    """The cloud of a layer: rows drawn from the shared store, prepared by the recipe.

    With ``types`` no two rows are of the same token: the first of each that was read stands for all.
    """
    store = samples.stored(model, sequences, seed, tuple(layers) or (layer,), site)
    rows = samples.draw(store.rows, n_points, seed)
    if types:
        ids = samples.packed_tokens(model, sequences, seed).ids.reshape(-1).numpy()[store.places]
        firsts = np.sort(np.unique(ids, return_index=True)[1])
        rows = firsts[samples.draw(len(firsts), n_points, seed)]
    documents = store.index["document"].to_numpy()[rows]
    return prepare(store.read(Site(site, layer), rows), documents, recipe.trim, recipe.duplicates)


def clouds(
    models: Sequence[str], n_points: int, recipe: Mapping[str, Any], *, sequences: int = 48, seed: int = 0
) -> pd.DataFrame:
    """What became of the activations of each layer before they were measured.

    Columns ``model, layer, n_given, n_duplicates, n_trimmed, n_constant, n_points``.
    """
    counts, rows = ("n_given", "n_duplicates", "n_trimmed", "n_constant"), []
    for model in models:
        every = tuple(range(n_layers(model)))
        for layer in every:
            cloud = cloud_of(model, layer, n_points, Recipe(**recipe), sequences, seed, "res", every)
            rows.append([model, layer, *(getattr(cloud, name) for name in counts), len(cloud.points)])
    return pd.DataFrame(rows, columns=["model", "layer", *counts, "n_points"])


def excess(table: pd.DataFrame, estimators: Sequence[str] = FOUR) -> pd.DataFrame:
    """What is left of an estimate less its surrogate's: ``excess, low, high`` and ``share`` of the estimate.

    The arms of the two intervals are added in quadrature.
    """
    kept = table[table["estimator"].isin(estimators)].copy()
    down, up = arms(kept)
    kept["excess"] = kept["value"] - kept["surrogate_value"]
    kept["share"] = kept["surrogate_value"] / kept["value"]
    kept["low"], kept["high"] = kept["excess"] - down, kept["excess"] + up
    return kept[
        ["model", "layer", "site", "estimator", "surrogate", "value", "excess", "low", "high", "share"]
    ]


def by_site(table: pd.DataFrame) -> pd.DataFrame:
    """The four summaries of each site: ``model, site, estimator, value, share, clear, correlation``.

    Medians over layers of the value and of its surrogate's share of it, the share of layers clearly above the
    surrogate :data:`BESIDE`, and the correlation over layers with the same summary of the residual stream.
    """
    left = excess(table[table["surrogate"] == BESIDE]).assign(clear=lambda t: t["low"] > 0)
    key = ["model", "layer", "estimator"]
    stream = left[left["site"] == "res"].set_index(key)["value"].rename("stream")
    left, by = left.join(stream, on=key), ["model", "site", "estimator"]
    found = left.groupby(by, sort=False).agg(
        value=("value", "median"), share=("share", "median"), clear=("clear", "mean")
    )
    found["correlation"] = left.groupby(by, sort=False)[["value", "stream"]].apply(
        lambda own: own["value"].corr(own["stream"])
    )
    return found.reset_index()


def sensitivity(
    model: str, layers: Sequence[int], n_points: int, recipe: Mapping[str, Any], *, sequences: int = 48,
    seed: int = 0,
) -> pd.DataFrame:  # fmt: skip
    """The four summaries when one choice at a time is another.

    Columns ``estimator, value, model, layer, variant, n_points``.
    """
    base, rows = Recipe(**recipe), []
    every = _every(model, layers)
    for layer in layers:
        for variant in VARIANTS:
            settings, n = _varied(base, variant, n_points)
            if variant == "BOS kept":
                x = samples.with_bos(model, sequences, seed, tuple(layers))[layer]
                rows_kept = samples.draw(len(x), n, seed)
                bos = np.arange(0, len(x), 256)  # every one of them
                x = x[np.union1d(rows_kept, bos)]
                cloud = prepare(x, None, settings.trim, settings.duplicates)
            else:
                types = variant == "one activation per token type"
                cloud = cloud_of(model, layer, n, settings, sequences, seed, "res", every, types)
            found = measure(cloud, settings, 0, seed)
            found = found[found["estimator"].isin(FOUR)][["estimator", "value"]]
            rows.append(found.assign(model=model, layer=layer, variant=variant, n_points=len(cloud.points)))
    return pd.concat(rows, ignore_index=True)


def _varied(base: Recipe, variant: str, n: int) -> tuple[Recipe, int]:
    changed = {
        "norms not trimmed": {"trim": 0.0},
        "duplicates kept": {"duplicates": "keep"},
        "scales 20 and 100": {"small": 20, "large": 100},
        "scales 30 and 400": {"large": 400},
        "tangents about the mean": {"tangent_about": "mean"},
        "tangent dimension 10": {"dim": 10},
        "tangent dimension of single ratios": {"tangent": "point"},
        "window of medians": {"window_method": "median"},
        "window of means": {"window_method": "mean"},
        "graph of 200 neighbours": {"k": 200},
    }.get(variant, {})
    counts = {"half the points": n // 2, "twice the points": 2 * n}
    return replace(base, **changed), counts.get(variant, n)


def groups(
    model: str, layers: Sequence[int], n_points: int, recipe: Mapping[str, Any], *, sequences: int = 48,
    n_bootstrap: int = 200, seed: int = 0,
) -> pd.DataFrame:  # fmt: skip
    """The four summaries of parts of a layer, all of the same number of points.

    Parts are those of the token's class, of its place in the sequence, and ``all tokens``; a part with too
    few tokens is left out. Columns ``model, layer, part, group, estimator, value, low, high, n_points``.
    """
    settings, every, rows = Recipe(**recipe), _every(model, layers), []
    store = samples.stored(model, sequences, seed, every)
    masks = _masks(samples.labelled(model, sequences, seed), store.places, store.index["position"].to_numpy())
    documents = store.index["document"].to_numpy()
    for layer in layers:
        for (part, group), mask in masks.items():
            where = np.flatnonzero(mask)
            if len(where) < n_points:
                continue
            chosen = where[samples.draw(len(where), n_points, seed)]
            cloud = prepare(store.read(Site("res", layer), chosen), documents[chosen], settings.trim)
            found = measure(cloud, settings, n_bootstrap, seed)
            found = found[found["estimator"].isin(FOUR)].drop(columns=["k", "given_low", "given_high"])
            rows.append(found.assign(model=model, layer=layer, part=part, group=group))
    if not rows:
        why = f"{len(documents)} tokens were read and {n_points} of one kind were asked for"
        raise GeowallError("no part of a layer was measured", why, "give more sequences, or fewer points")
    return pd.concat(rows, ignore_index=True)


def _masks(
    found: labels.Labels, places: np.ndarray, position: np.ndarray
) -> dict[tuple[str, str], np.ndarray]:
    kind = found.token_class.reshape(-1).numpy()[places]
    masks = {("all", "all tokens"): np.ones(len(places), bool)}
    masks |= {("class", name): kind == i for i, name in enumerate(labels.CLASSES)}
    for low, high in ((1, 31), (32, 127), (128, 255)):
        masks["position", f"positions {low}-{high}"] = (position >= low) & (position <= high)
    return masks


def correlations(measured: pd.DataFrame, published: pd.DataFrame) -> pd.DataFrame:
    """Pearson correlations of the four summaries over layers, with intervals.

    Columns ``source, first, second, correlation, low, high``. Sources: the published layers of both Gemma
    models, the lab's as measured, the lab's surrogates alone, and what the lab's exceed them by. Intervals
    are Fisher's, as if layers were independent of each other; since
    neighbouring layers are alike, they are too narrow. Where a summary never varies there is no correlation.
    """
    rows = []
    sources = {"published Gemma 2": published[list(FOUR)]}
    for kind, own in measured.groupby("surrogate"):
        wide = {
            column: own.pivot(index=["model", "layer"], columns="estimator", values=column)[list(FOUR)]
            for column in ("value", "surrogate_value")
        }
        sources["lab"] = wide["value"]
        sources[f"lab, {kind} surrogate"] = wide["surrogate_value"]
        sources[f"lab, excess over {kind}"] = wide["value"] - wide["surrogate_value"]
    for source, frame in sources.items():
        for i, second in enumerate(FOUR):
            rows += [[source, second, first, *_pearson(frame[second], frame[first])] for first in FOUR[:i]]
    return pd.DataFrame(rows, columns=["source", "first", "second", "correlation", "low", "high"])


def _pearson(a: pd.Series, b: pd.Series) -> tuple[float, float, float]:
    """Correlation with Fisher's 95 % interval; all empty where one of the two never varies."""
    if min(np.ptp(a), np.ptp(b)) <= 1e-9 * max(a.abs().max(), b.abs().max()) or len(a) < 4:
        return np.nan, np.nan, np.nan
    r = float(np.corrcoef(a, b)[0, 1])
    z, half = np.arctanh(np.clip(r, -1 + 1e-12, 1 - 1e-12)), 1.96 / (len(a) - 3) ** 0.5
    return r, float(np.tanh(z - half)), float(np.tanh(z + half))


def stacked(*tables: pd.DataFrame) -> pd.DataFrame:
    """Tables of the same columns, one under the other."""
    return pd.concat(tables, ignore_index=True)
