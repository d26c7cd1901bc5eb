"""The exponent read in other ways: by another measure of error, another architecture, another schedule.

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
from geowall.laws.layers import usual_grid
from geowall.laws.regression import stage2
from geowall.laws.scaling import exponents as laws
from geowall.laws.scaling import sparsity

METRICS = ("nmse", "fvu", "cosine", "nmse_median", "nmse_mean")
GRID = ["model", "architecture", "schedule", "site"]


def errors_of(checkpoints: pd.DataFrame, metric: str) -> pd.Series:
    """Return a measure of error that falls to zero: one less the cosine, any other column as it is."""
    return 1 - checkpoints["cosine"] if metric == "cosine" else checkpoints[metric]


def exponents_by(
    checkpoints: pd.DataFrame, metrics: Sequence[str], k: float, ks: Sequence[float], backbone: Sequence[int]
) -> pd.DataFrame:
    """Return the exponent of every layer of every grid at ``k``, from each measure of error, in every form.

    ``ks`` is the grid that surfaces are fitted on, ``backbone`` the narrow and the wide dictionary of the
    forms that use two (see :func:`geowall.laws.scaling.exponents.exponents`). Columns: source, model, layer,
    site, architecture, schedule, metric, form, k, alpha_width, extrapolated.
    """
    kept, made = sparsity.usable(checkpoints), []
    for metric in metrics:
        own = kept.assign(nmse=errors_of(kept, metric))
        found = laws.exponents(own, ks, backbone, n_bootstrap=1)
        made.append(found[np.isclose(found["k"], k)].assign(metric=metric))
    columns = ["source", "model", "layer", *GRID[1:], "metric", "form", "k", "alpha_width", "extrapolated"]
    return pd.concat(made, ignore_index=True)[columns]


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
    exponents: pd.DataFrame, layers: pd.DataFrame, hypotheses: Sequence[str], form: str = "no_floor",
    clip_percentiles: Sequence[float] = feats.CLIP_PERCENTILES,
) -> pd.DataFrame:  # fmt: skip
    """Repeat the regression for every architecture, schedule and site.

    Columns: source, model, architecture, schedule, site, features, n_layers, alpha_mean, shift (of the mean
    exponent from the matched JumpReLU grid on the same layers), correlation (empty below three
    layers), loo_r2 (empty below eight).
    """
    made = []
    own = exponents[(exponents["metric"] == "nmse") & (exponents["form"] == form)]
    base = usual_grid(own).set_index(["model", "layer"])["alpha_width"]
    for key, grid in own.groupby(GRID, sort=False):
        table = layers.drop(columns=["alpha_width"]).merge(grid[["model", "layer", "alpha_width"]])
        if table.empty:
            continue
        y = table["alpha_width"].to_numpy()
        same = base.reindex(pd.MultiIndex.from_frame(table[["model", "layer"]])).to_numpy()
        for features in hypotheses:
            row = {
                "source": table["source"].iloc[0],
                **dict(zip(GRID, key, strict=True)),
                "features": features,
            }
            row |= {"n_layers": len(table), "alpha_mean": float(y.mean()), "shift": float((y - same).mean())}
            made.append(row | _scores(table, features, clip_percentiles))
    return pd.DataFrame(made)


def _scores(table: pd.DataFrame, features: str, clip_percentiles: Sequence[float]) -> dict[str, float]:
    """Return the correlation of the exponent with one feature and the left-out R2; NaN for too few layers."""
    found = {"correlation": float("nan"), "loo_r2": float("nan")}
    if len(table) >= 3:
        x = feats.regressors(table, features, clip_percentiles)[:, 0]
        found["correlation"] = float(correlation(x, table["alpha_width"].to_numpy()))
    if len(table) >= feats.FEWEST:
        setting = {"n_permutations": 1, "clip_percentiles": clip_percentiles}
        found["loo_r2"] = float(stage2(table, ["alpha_width"], [features], **setting)["loo_r2"].iloc[0])
    return found
