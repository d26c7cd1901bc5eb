"""The per-layer table that every law is fitted to, from any source: the paper's numbers or measured ones.

A measured row joins two tables: the geometry of chapter 06 and the exponents of chapter 07. A surrogate, a
flat twin of the layer's cloud, lends each summary two more columns: what it reads on the twin (``flat_``),
and what the layer has more (``excess_``), which can be negative and therefore enters a regression without a
logarithm.

>>> import pandas as pd
>>> key = {"source": "lab", "model": "m", "layer": 0, "site": "res", "surrogate": "gaussian"}
>>> found = {"estimator": ["nu", "d_int"], "value": [1.0, 5.0], "surrogate_value": [3.0, 9.0]}
>>> table = summaries(pd.DataFrame(key | found), "gaussian")
>>> table[["nu", "flat_nu", "excess_nu", "d_int"]].to_numpy().tolist()
[[1.0, 3.0, -2.0, 5.0]]
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from geowall.laws import features as feats
from geowall.laws.scaling import sparsity
from geowall.laws.scaling.sources import named
from geowall.laws.tables import where
from geowall.paths import GeowallError

KEY = ["source", "model", "layer"]
# The autoencoders whose exponents are regressed: those of the paper's kind. Gemma Scope names no schedule.
USUAL = {"architecture": "jumprelu", "schedule": ["matched", ""], "site": "res"}
RIVALS = ("participation", "tail_exponent")  # other estimators of chapter 06 that may predict as well
Z95 = 1.959964  # half-widths of a 95 % interval to a standard deviation
COMMON = [
    *KEY, "k", "alpha_width", "alpha_se", "beta_n", "gamma", *feats.GEOMETRY, "nmse_narrow", *RIVALS,
    "alpha_extrapolated",
]  # fmt: skip


def usual_grid(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of JumpReLU on the residual stream; of the lab's, those at matched budgets."""
    return where(table, **USUAL)


def of_published(layers: pd.DataFrame, k: int) -> pd.DataFrame:
    """Name the columns of :func:`geowall.laws.published.per_layer` as those of measured rows.

    ``alpha_width`` is the exponent at ``k``, ``nmse_narrow`` the error of the narrow dictionary at 50 active
    latents. The paper gives no errors of its exponents: ``alpha_se`` is empty.
    """
    return layers.assign(
        k=float(k), alpha_width=layers[f"alpha_k{k}"], nmse_narrow=layers["nmse_l0_50_width_lo"]
    )


def summaries(geometry: pd.DataFrame, surrogate: str, site: str = "res") -> pd.DataFrame:
    """Return one row a layer from the long table of chapter 06, with ``flat_`` and ``excess_`` columns.

    Raises :class:`~geowall.paths.GeowallError` for a surrogate that the table does not have.
    """
    kinds = sorted(set(geometry["surrogate"]))
    if surrogate not in kinds:
        raise GeowallError(f"no surrogate {surrogate!r}", f"the table has {', '.join(kinds)}", "name one")
    own = where(named(geometry), surrogate=surrogate, site=site)
    wide = own.pivot(index=KEY, columns="estimator", values=["value", "surrogate_value"])
    value, twin = wide["value"], wide["surrogate_value"]
    names = [name for name in feats.GEOMETRY if name in value]
    kept = value[[name for name in (*names, *RIVALS) if name in value]]
    flat = twin[names].add_prefix("flat_")
    excess = (value[names] - twin[names]).add_prefix("excess_")
    return pd.concat([kept, flat, excess], axis=1).reset_index().rename_axis(columns=None)


def exponents(laws: pd.DataFrame, k: float, form: str = "no_floor") -> pd.DataFrame:
    """Return the exponent of every measured layer at the ``k`` of the table nearest to the one asked.

    ``alpha_se`` is the half-width of the 95 % interval over 1.96. Columns: source, model, layer, k,
    alpha_width, alpha_se, beta_n, gamma, alpha_extrapolated.
    """
    own = where(laws, form=form, **USUAL)
    own = own[(own["source"] != "published") & own["alpha_width"].notna()]
    if own.empty:
        why = f"layer_laws has no {form} of JumpReLU autoencoders at the site res"
        raise GeowallError("no measured exponent to predict", why, "run chapter 07")
    # The k that every model has, nearest on a log scale.
    shared = set.intersection(*(set(rows["k"]) for _, rows in own.groupby("model")))
    at = min(shared, key=lambda here: abs(np.log(here / k)))
    own = own[own["k"] == at].rename(columns={"extrapolated": "alpha_extrapolated"})
    own = own.assign(alpha_se=(own["high"] - own["low"]) / (2 * Z95))
    columns = [*KEY, "k", "alpha_width", "alpha_se", "beta_n", "gamma", "alpha_extrapolated"]
    return own[columns].sort_values(KEY, ignore_index=True)


def narrow_error(checkpoints: pd.DataFrame, k: float) -> pd.DataFrame:
    """Return ``nmse_narrow``, the error of each layer's narrowest dictionary at ``k`` active latents."""
    grid = usual_grid(sparsity.usable(checkpoints))
    narrow = grid[grid["d_sae"] == grid.groupby("model")["d_sae"].transform("min")]
    found = sparsity.cells(narrow, [k]).rename(columns={"nmse": "nmse_narrow"})
    return found.loc[np.isclose(found["k"], k), ["model", "layer", "nmse_narrow"]]


def measured(
    geometry: pd.DataFrame, laws: pd.DataFrame, checkpoints: pd.DataFrame, k: float,
    surrogate: str = "gaussian_same_dim", form: str = "no_floor", drop_first_layers: int = 0,
) -> pd.DataFrame:  # fmt: skip
    """Join geometry, exponents and the error of the narrowest dictionary; the smallest model comes first.

    A model or layer that only one of the first two tables has is left out; models of the paper are named
    apart from its published rows (:func:`geowall.laws.scaling.sources.named`). Raises
    :class:`~geowall.paths.GeowallError` when none is in both.
    """
    shape, made = summaries(geometry, surrogate), laws[laws["source"] != "published"]
    both = made[made["model"].isin(shape["model"])]
    alphas = exponents(both if len(both) else made, k, form)
    table = alphas.merge(shape.drop(columns="source"), on=["model", "layer"])
    if table.empty:
        models = [", ".join(sorted(set(part["model"]))) for part in (shape, alphas)]
        why = f"geometry is of {models[0]}, exponents are of {models[1]}"
        raise GeowallError(
            "no layer has both geometry and an exponent", why, "run chapters 06 and 07 on one model"
        )
    table = table.merge(
        narrow_error(checkpoints, float(table["k"].iloc[0])), on=["model", "layer"], how="left"
    )
    table = table[table["layer"] >= drop_first_layers]
    size = table.groupby("model")["layer"].transform("size")
    return (
        table.assign(size=size)
        .sort_values(["size", "model", "layer"], ignore_index=True)
        .drop(columns="size")
    )


def stacked(*parts: pd.DataFrame) -> pd.DataFrame:
    """Put the rows of all sources into one table: the columns they share first, then what only some have."""
    table = pd.concat(parts, ignore_index=True)
    order = [name for name in COMMON if name in table]
    return table[[*order, *(name for name in table if name not in order)]]


def models_of(layers: pd.DataFrame, sources: Sequence[str]) -> dict[str, int]:
    """Return the number of layers of every model of the given sources, in order of appearance."""
    own = layers[layers["source"].isin(list(sources))]
    return own.groupby("model", sort=False).size().to_dict()


def spans(layers: pd.DataFrame, slopes: pd.DataFrame) -> pd.DataFrame:
    """Say how far curvature and exponent range over a model, and what the steepest of ``slopes`` makes of it.

    Columns: source, model, kappa_fold (largest ``kappa_ms`` over smallest), alpha_span (largest exponent less
    smallest), predicted_span (the size of the steepest slope of ``slopes`` times ``ln kappa_fold``).
    """
    made = []
    for (source, model), own in layers.groupby(["source", "model"], sort=False):
        fold = float(own["kappa_ms"].max() / own["kappa_ms"].min())
        row = {"source": source, "model": model, "kappa_fold": fold}
        row["alpha_span"] = float(own["alpha_width"].max() - own["alpha_width"].min())
        made.append(row | {"predicted_span": float(slopes["slope"].abs().max() * np.log(fold))})
    return pd.DataFrame(made)


def recipe_of(laws: pd.DataFrame, form: str) -> dict[str, list]:
    """Return the sparsities and the two backbone widths that the usual laws of a table were fitted to."""
    own = usual_grid(laws[(laws["form"] == form) & (laws["source"] != "published")])
    widths = [int(own["narrow"].min()), int(own["wide"].max())]
    return {"ks": sorted(set(own["k"].astype(float))), "backbone": widths}
