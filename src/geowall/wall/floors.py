"""Where a layer's error would stop, what that does to its exponent, and whether geometry says so.

A law with a floor, L = A n^-a + B, fitted without one has a smaller exponent: the floor *attenuates* it
(Zaher 2026, Eq. 15). Half of an exponent of 0.2 may be hidden:

>>> one = dict.fromkeys(LAYER, "m") | {"layer": 0, "k": 16.0, "low": 0.05, "high": 0.12, "floor": 0.1}
>>> forms = [{"form": "with_floor", "alpha_width": 0.4}, {"form": "no_floor_all", "alpha_width": 0.2}]
>>> laws = pd.DataFrame([one | form for form in forms])
>>> layer_floors(laws, pd.DataFrame())[["attenuation", "hidden"]].iloc[0].tolist()
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
COLUMNS = [*LAYER, "k", "alpha_floor", "floor", "low", "high", "alpha_plain", "attenuation", "hidden"]
COLUMNS += ["clear", "floor_share", "extrapolated"]


def layer_floors(
    laws: pd.DataFrame, geometry: pd.DataFrame, details: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Every fitted floor beside the exponent without one, and the layer's geometry.

    Takes ``layer_laws`` of chapter 07, a table of geometry (long or wide), and its table ``floors`` for
    ``floor_share``, the floor over the least error of the layer. Columns: COLUMNS, which hold
    the exponents with and without a floor (``alpha_floor``, ``alpha_plain``), their difference, the share of
    the former that it is (``hidden``), whether the floor's interval is ``clear`` of zero; and a column for
    each summary that is known.
    """
    fitted = laws[laws["form"] == "with_floor"]
    plain = laws[laws["form"].isin(["no_floor", "no_floor_all"])].sort_values("form")
    plain = plain.drop_duplicates([*LAYER, "k"], keep="last")[[*LAYER, "k", "alpha_width"]]
    table = fitted.rename(columns={"alpha_width": "alpha_floor"})
    table = table.merge(plain.rename(columns={"alpha_width": "alpha_plain"}), how="left", on=[*LAYER, "k"])
    table["attenuation"] = table["alpha_floor"] - table["alpha_plain"]
    table["hidden"] = table["attenuation"] / table["alpha_floor"]
    table["clear"] = table["low"] > CLEAR * table["floor"]
    if details is not None:
        table = table.merge(details[[*LAYER, "k", "floor_share"]], how="left", on=[*LAYER, "k"])
    table = table.reindex(columns=COLUMNS)
    if geometry.empty:
        return table.reset_index(drop=True)
    shapes = wide_geometry(geometry)
    known = [name for name in SUMMARIES if name in shapes]
    key = [name for name in ("model", "layer", "site") if name in shapes]
    return table.merge(shapes[[*key, *known]], how="left", on=key)


def at_one_k(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of every grid of a model at the one k where most of its layers are inside their data."""
    grid, kept = ["source", "model", "site", "architecture", "schedule"], []
    for _, rows in table.groupby(grid, sort=False, dropna=False):
        inside = rows[~rows["extrapolated"].eq(True)]
        best = (inside if len(inside) else rows).groupby("k")["layer"].nunique()
        middle = best[best == best.max()].index
        chosen = 50.0 if 50.0 in middle else float(middle[len(middle) // 2])
        kept.append(rows[rows["k"] == chosen])
    return pd.concat(kept, ignore_index=True) if kept else table


def tracks(
    table: pd.DataFrame,
    columns: Sequence[str] = ("floor", "floor_share", "alpha_floor", "attenuation"),
    summaries: Sequence[str] = SUMMARIES,
    n_bootstrap: int = 1000,
    block_length: int = 5,
    seed: int = 0,
) -> pd.DataFrame:
    """Does what a floor does go with geometry over layers? Correlations, and at equal depth.

    Columns: source, model, statistic (one of ``columns``), features (a summary), given (``none`` or
    ``depth``), correlation, low, high (95 %, blocks of neighbouring layers drawn again), n_layers. Models
    with fewer than six layers are pooled by source and given no depth.
    """
    made = []
    sizes = table.groupby(["source", "model"])["layer"].transform("nunique")
    table = table.assign(pool=table["model"].where(sizes >= 6, "pooled"))
    for (source, model), rows in table.groupby(["source", "pool"], sort=False):
        rows = rows.drop_duplicates(["model", "layer"]).sort_values(["model", "layer"])
        depths = ("none",) if model == "pooled" else ("none", "depth")
        for statistic in columns:
            for name in [s for s in summaries if s in rows and rows[s].notna().sum() > 3]:
                kept = rows.dropna(subset=[statistic, name])
                for given in depths:
                    if len(kept) < (4 if given == "none" else 7):
                        continue
                    r = partial(kept, statistic, name, given, n_bootstrap, block_length, seed)
                    own = {"source": source, "model": model, "statistic": statistic, "features": name}
                    made.append(own | {"given": given} | r | {"n_layers": len(kept)})
    return pd.DataFrame(made)


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
