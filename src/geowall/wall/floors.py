"""Where a layer's error would stop, what that does to its exponent, and whether geometry says so.

A law with a floor, L = A n^-a + B, fitted without one has a smaller exponent: the floor *attenuates* it
(Zaher 2026, Eq. 15). Half of an exponent of 0.2 may be hidden:

>>> one = dict.fromkeys(LAYER, "m") | {"layer": 0, "k": 16.0, "low": 0.05, "high": 0.12, "floor": 0.1}
>>> one |= {"alpha_width": 0.4, "alpha_chord": 0.2, "hidden": 0.2, "share": 0.5}
>>> layer_floors(pd.DataFrame([one]), pd.DataFrame())[["attenuation", "hidden"]].iloc[0].tolist()
[0.2, 0.5]
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from geowall.laws import baselines, bootstrap
from geowall.wall.cells import wide_geometry

LAYER = ["source", "model", "layer", "site", "architecture", "schedule"]
CLEAR = 0.01  # of the floor itself: a lower end above this share of it is clear of zero
SUMMARIES = ("d_int", "kappa_ms", "kappa_tv", "nu")
FEWEST = 6  # layers of a model that is not pooled with others
COLUMNS = [*LAYER, "k", "alpha_floor", "floor", "low", "high", "alpha_plain", "attenuation", "hidden"]
COLUMNS += ["clear", "least", "floor_share", "dof", "sigma_dof"]
ERROR = "least"  # beside the summaries: a floor may follow nothing but the error of its layer
POOLED = "pooled"


def layer_floors(details: pd.DataFrame, geometry: pd.DataFrame) -> pd.DataFrame:
    """Every fitted floor beside the exponent without one, and the layer's geometry.

    Takes ``attenuation`` of chapter 07 and a table of geometry (long or wide). Columns: COLUMNS, which hold
    the exponents with and without a floor (``alpha_floor``, and ``alpha_plain``, the slope of the same law
    between the two widths of plain exponents), their difference ``attenuation``, the share of the former that
    it is (``hidden``), whether the floor's interval is ``clear`` of zero, the layer's least error, and
    the floor over it; and a column for each summary that is known.
    """
    names = {"alpha_width": "alpha_floor", "alpha_chord": "alpha_plain", "hidden": "attenuation"}
    table = details.rename(columns=names | {"share": "hidden"})
    table["clear"] = table["low"] > CLEAR * table["floor"]
    table = table.reindex(columns=COLUMNS)
    if geometry.empty:
        return table.reset_index(drop=True)
    shapes = wide_geometry(geometry)
    known = [name for name in SUMMARIES if name in shapes]
    key = [name for name in ("model", "layer", "site") if name in shapes]
    return table.merge(shapes[[*key, *known]], how="left", on=key)


def at_one_k(table: pd.DataFrame, asked: float | None = None) -> pd.DataFrame:
    """The rows of every grid of a model at one k: the one ``asked`` for, if the grid has it.

    Else the paper's 50 or the middle one of those where most of its layers are inside their data.
    """
    grid, kept = ["source", "model", "site", "architecture", "schedule"], []
    for _, rows in table.groupby(grid, sort=False, dropna=False):
        beyond = rows["extrapolated"].eq(True) if "extrapolated" in rows else pd.Series(False, rows.index)
        inside = rows[~beyond]
        best = (inside if len(inside) else rows).groupby("k")["layer"].nunique()
        middle = best[best == best.max()].index
        chosen = 50.0 if 50.0 in middle else float(middle[len(middle) // 2])
        kept.append(rows[rows["k"] == (asked if asked in set(rows["k"]) else chosen)])
    return pd.concat(kept, ignore_index=True) if kept else table


def tracks(
    table: pd.DataFrame,
    columns: Sequence[str] = ("floor", "floor_share", "alpha_floor", "attenuation"),
    summaries: Sequence[str] = (*SUMMARIES, ERROR),
    n_bootstrap: int = 1000,
    block_length: int = 5,
    seed: int = 0,
) -> pd.DataFrame:
    """Does what a floor does go with geometry over layers? Correlations, and at equal depth.

    Columns: source, model, statistic (one of ``columns``), features (a summary, or ``least``, the layer's
    least error), given (``none`` or ``depth``), k, correlation, low, high (95 %), n_layers. Models with fewer
    than six layers are pooled by source and given no depth. The intervals draw blocks of neighbouring layers
    again; pooled layers have no neighbours, and Fisher's interval takes them for independent.
    """
    made = []
    sizes = table.groupby(["source", "model"])["layer"].transform("nunique")
    table = table.assign(pool=table["model"].where(sizes >= FEWEST, POOLED))
    for (source, model), rows in table.groupby(["source", "pool"], sort=False):
        rows = rows.drop_duplicates(["model", "layer"]).sort_values(["model", "layer"])
        depths = ("none",) if model == POOLED else ("none", "depth")
        for statistic in columns:
            for name in [s for s in summaries if s in rows and rows[s].notna().sum() > 3]:
                kept = rows.dropna(subset=[statistic, name])
                for given in depths:
                    if len(kept) < (4 if given == "none" else 7):
                        continue
                    draws = (n_bootstrap, block_length, seed)
                    r = alone(kept, statistic, name) if model == POOLED else None
                    r = r or partial(kept, statistic, name, given, *draws)
                    own = {"source": source, "model": model, "statistic": statistic, "features": name}
                    own |= {"given": given, "k": float(kept["k"].iloc[0]) if "k" in kept else np.nan}
                    made.append(own | r | {"n_layers": len(kept)})
    return pd.DataFrame(made)


def alone(rows: pd.DataFrame, y: str, x: str) -> dict[str, float]:
    """Correlation of two columns over layers of several models, with Fisher's interval of independent rows.

    >>> rows = pd.DataFrame({"floor": [1.0, 2.0, 3.0, 4.0], "nu": [1.0, 3.0, 2.0, 5.0]})
    >>> {name: round(value, 2) for name, value in alone(rows, "floor", "nu").items()}
    {'correlation': 0.84, 'low': -0.63, 'high': 1.0}
    """
    r = float(np.corrcoef(rows[y].to_numpy(float), np.log(rows[x].to_numpy(float)))[0, 1])
    z, half = np.arctanh(np.clip(r, -0.999999, 0.999999)), 1.959964 / np.sqrt(len(rows) - 3)
    return {"correlation": r, "low": float(np.tanh(z - half)), "high": float(np.tanh(z + half))}


def partial(
    rows: pd.DataFrame, y: str, x: str, given: str, n_bootstrap: int, block_length: int, seed: int
) -> dict[str, float]:
    """Correlation of two columns over layers; ``depth``: with a curve in depth taken out of both."""
    layer = rows["layer"].to_numpy(float)
    design = np.ones((len(rows), 1))
    if given == "depth":
        design = np.column_stack([design, np.log(layer + 1), layer])
    series = rows[y].to_numpy(float), np.log(rows[x].to_numpy(float))
    picks = bootstrap.rows(len(rows), "block", n_bootstrap, min(block_length, len(rows)), seed)
    picks = np.concatenate([np.arange(len(rows))[None], picks])
    with np.errstate(invalid="ignore", divide="ignore"):
        r = baselines.correlation(*(baselines.unexplained(v[picks], design[picks]) for v in series))
    low, high = np.nanquantile(r[1:], [0.025, 0.975])
    return {"correlation": float(r[0]), "low": float(low), "high": float(high)}


def shares_by_k(details: pd.DataFrame) -> pd.DataFrame:
    """Floor over the least error of the lab's layers by schedule and sparsity: the median layer.

    Takes ``attenuation`` of chapter 07; JumpReLU on the residual stream of models that have both schedules.
    Columns: schedule, k, n_layers, floor_share.
    """
    own = details[(details["source"] == "lab") & (details["site"] == "res")]
    own = own[own["architecture"] == "jumprelu"]
    both = own.groupby("model")["schedule"].transform("nunique") > 1
    table = own[both].groupby(["schedule", "k"])["floor_share"].agg(n_layers="size", floor_share="median")
    return table.reset_index()


def hidden_parts(table: pd.DataFrame) -> pd.DataFrame:
    """How much of the exponent the floor hides, and how much either varies over layers.

    Columns: source, model, n_layers, alpha_plain, alpha_floor, attenuation, hidden (medians over layers),
    plain_spread, floor_spread, hidden_spread (standard deviations over layers of alpha_plain, alpha_floor and
    attenuation).
    """
    made = []
    known = table.dropna(subset=["attenuation"])
    for (source, model), rows in known.groupby(["source", "model"], sort=False):
        middle = rows[["alpha_plain", "alpha_floor", "attenuation", "hidden"]].median().to_dict()
        columns = {
            "plain_spread": "alpha_plain",
            "floor_spread": "alpha_floor",
            "hidden_spread": "attenuation",
        }
        spreads = {name: float(rows[column].std()) for name, column in columns.items()}
        made.append({"source": source, "model": model, "n_layers": len(rows)} | middle | spreads)
    return pd.DataFrame(made)
