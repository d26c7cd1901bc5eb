"""The exponent read in other ways: by another measure of error, another architecture, schedule or site.

>>> import pandas as pd
>>> errors_of(pd.DataFrame({"cosine": [0.9], "fvu": [0.2], "nmse": [0.1]}), "cosine").round(2).tolist()
[0.1]
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from geowall.laws import features as feats
from geowall.laws.baselines import correlation
from geowall.laws.groups import each_model
from geowall.laws.layers import USUAL, summaries, usual_grid
from geowall.laws.regression import stage2
from geowall.laws.scaling import exponents as laws
from geowall.laws.scaling import sparsity
from geowall.laws.tables import where

METRICS = ("nmse", "fvu", "cosine", "nmse_median", "nmse_mean")
GRID = ["model", "architecture", "schedule", "site"]
SAME = ["model", "layer", "narrow", "wide", "n_widths"]  # exponents between these can be compared


def errors_of(checkpoints: pd.DataFrame, metric: str) -> pd.Series:
    """Return a measure of error that falls to zero: one less the cosine, any other column as it is."""
    return 1 - checkpoints["cosine"] if metric == "cosine" else checkpoints[metric]


def exponents_by(
    checkpoints: pd.DataFrame, metrics: Sequence[str], k: float, ks: Sequence[float], backbone: Sequence[int]
) -> pd.DataFrame:
    """Return the exponent of every layer at ``k`` in every form: of every grid, by every measure of error.

    Other measures than ``nmse`` are read of JumpReLU on the residual stream at matched budgets alone. ``ks``
    is the grid that surfaces are fitted on, ``backbone`` the narrow and the wide dictionary of the forms that
    use two (see :func:`geowall.laws.scaling.exponents.exponents`). Columns: source, model, layer, site,
    architecture, schedule, metric, form, k, alpha_width, narrow, wide, n_widths, extrapolated.
    """
    kept, made = sparsity.usable(checkpoints), []
    for metric in metrics:
        own = kept if metric == "nmse" else usual_grid(kept)
        own = own.assign(nmse=errors_of(own, metric))
        found = laws.exponents(own, ks, backbone, n_bootstrap=1)
        made.append(found[np.isclose(found["k"], k)].assign(metric=metric))
    columns = ["source", "model", "layer", *GRID[1:], "metric", "form", "k", "alpha_width", *SAME[2:]]
    return pd.concat(made, ignore_index=True)[[*columns, "extrapolated"]]


def by_metric(
    exponents: pd.DataFrame, layers: pd.DataFrame, hypotheses: Sequence[str],
    clip_percentiles: Sequence[float] = feats.CLIP_PERCENTILES,
) -> pd.DataFrame:  # fmt: skip
    """Repeat the regression on the exponent from each measure of error and in each form.

    Takes JumpReLU at matched budgets. Columns: source, model, metric, form, features, n_layers, r2, loo_r2,
    correlation (of exponent and the first feature, transformed), agreement (correlation of this exponent with
    the layers' own).
    """
    own, made = usual_grid(exponents), []
    for (metric, form), rows in own.groupby(["metric", "form"], sort=False):
        read = rows[["model", "layer", "alpha_width"]].rename(columns={"alpha_width": "alpha_read"})
        table = layers.merge(read, on=["model", "layer"])
        fits = stage2(table, ["alpha_read"], hypotheses, n_permutations=1, clip_percentiles=clip_percentiles)
        for key, kept in each_model(table):
            y, usual = feats.numbers(kept, "alpha_read"), feats.numbers(kept, "alpha_width")
            for fit in fits[fits["model"] == key["model"]].itertuples():
                x = feats.regressors(kept, fit.features, clip_percentiles)[:, 0]
                row = {"source": fit.source, "model": fit.model, "metric": metric, "form": form}
                row |= {"features": fit.features, "n_layers": fit.n_layers, "r2": fit.r2}
                row |= {"loo_r2": fit.loo_r2, "correlation": float(correlation(x, y))}
                made.append(row | {"agreement": float(correlation(y, usual))})
    return pd.DataFrame(made)


def by_grid(
    exponents: pd.DataFrame, layers: pd.DataFrame, geometry: pd.DataFrame, hypotheses: Sequence[str],
    form: str = "no_floor", clip_percentiles: Sequence[float] = feats.CLIP_PERCENTILES,
    surrogate: str = "gaussian_same_dim",
) -> pd.DataFrame:  # fmt: skip
    """Repeat the regression for every architecture, schedule and site, each site on its own geometry.

    ``layers`` has the geometry of the residual stream, ``geometry`` (the table of chapter 06) that of other
    sites. Columns: source, model, architecture, schedule, site, features, n_layers, n_extrapolated (exponents
    read beyond the checkpoints), own_geometry (whether that of the site was measured), alpha_mean, shift (of
    the mean exponent from the matched JumpReLU grid on the same layers and widths; empty where the widths
    differ), correlation (empty below three layers), loo_r2 (empty below eight).
    """
    made = []
    own = exponents[(exponents["metric"] == "nmse") & (exponents["form"] == form)]
    base = usual_grid(own)[[*SAME, "alpha_width"]]
    for key, grid in own.groupby(GRID, sort=False):
        table = grid[["model", "layer", "alpha_width", "extrapolated"]].merge(
            shapes_at(layers, geometry, key[-1], surrogate)
        )
        if table.empty:
            continue
        pairs = grid[grid["layer"].isin(table["layer"])].merge(base, on=SAME, suffixes=("", "_usual"))
        row = {"source": table["source"].iloc[0], **dict(zip(GRID, key, strict=True))}
        counts = {"n_layers": len(table), "n_extrapolated": int(table["extrapolated"].sum())}
        counts["own_geometry"] = bool(table.reindex(columns=feats.GEOMETRY[:2]).notna().all(axis=None))
        counts["alpha_mean"] = float(table["alpha_width"].mean())
        counts["shift"] = float((pairs["alpha_width"] - pairs["alpha_width_usual"]).mean())
        for features in hypotheses:
            made.append(row | {"features": features} | counts | _scores(table, features, clip_percentiles))
    return pd.DataFrame(made)


def shapes_at(layers: pd.DataFrame, geometry: pd.DataFrame, site: str, surrogate: str) -> pd.DataFrame:
    """Return each layer's source, and its geometry at a site where that was measured."""
    if site == USUAL["site"]:
        return layers.drop(columns="alpha_width")
    key, there = ["source", "model", "layer"], where(geometry, site=site, surrogate=surrogate)
    if there.empty:
        return layers[key]
    shapes = summaries(geometry, surrogate, site).drop(columns="source")
    return layers[key].merge(shapes, on=["model", "layer"], how="left")


def largest_shifts(grids: pd.DataFrame, layers: pd.DataFrame) -> tuple[float, float]:
    """Return the largest shift by training (architecture, schedule) and by site, from :func:`by_grid`.

    In standard deviations over the layers of the model's usual grid; NaN where nothing else was trained.
    """
    spread = grids["model"].map(layers.groupby("model")["alpha_width"].std())
    size = (grids["shift"] / spread).abs()
    stream = grids["site"] == USUAL["site"]
    return float(size[stream & (size > 0)].max()), float(size[~stream].max())


def _scores(table: pd.DataFrame, features: str, clip_percentiles: Sequence[float]) -> dict[str, float]:
    """Return the correlation of the exponent with one feature and the left-out R2; NaN for too few layers."""
    found = {"correlation": float("nan"), "loo_r2": float("nan")}
    for name in (term for term in feats.terms(features) if term not in feats.DEPTH):
        if name not in table:
            return found
        bad = table[name].isna() | ((table[name] <= 0) & (not name.startswith(feats.SIGNED)))
        table = table[~bad]
    if len(table) >= 3:
        x = feats.regressors(table, features, clip_percentiles)[:, 0]
        found["correlation"] = float(correlation(x, table["alpha_width"].to_numpy()))
    if len(table) >= feats.FEWEST:
        setting = {"n_permutations": 1, "clip_percentiles": clip_percentiles}
        found["loo_r2"] = float(stage2(table, ["alpha_width"], [features], **setting)["loo_r2"].iloc[0])
    return found
