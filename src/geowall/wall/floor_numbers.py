"""Numbers about floors: those printed, those fitted here, their order, their forms, and what training does.

>>> table = pd.DataFrame({"model": "m", "layer": [0, 1], "k": 50, "floor": [0.2, 0.1]})
>>> order_of(table, "m")
[0, 1]
"""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pandas as pd

from geowall.laws.scaling.rivals import families
from geowall.laws.tables import where
from geowall.wall.evidence import Found, MissingError, Number, cell, only, share
from geowall.wall.floors import at_one_k
from geowall.wall.geometry_numbers import LAB, on_usual_grid

PRINTED = "data/published/geometric_wall_floors.csv"
K_PAPER = 50


def fitted(laws: pd.DataFrame, source: str) -> pd.DataFrame:
    """Fitted floors of a source at one k: model, layer, floor, low, high."""
    rows = laws[laws["form"].astype(str).str.startswith("with_floor") & (laws["source"] == source)]
    rows = rows[~rows["form"].astype(str).str.endswith("printed")]
    if rows.empty:
        raise MissingError(f"07/layer_laws has no fitted floor of source {source}")
    plain = rows[rows["form"] == "with_floor"]
    return at_one_k(on_usual_grid(plain if len(plain) else rows))


def one(laws: pd.DataFrame, model: str, layer: int) -> Found:
    """The fitted floor of a published showcase layer at k = 50."""
    row = only(fitted(laws, "published"), "07/layer_laws, with a floor,", model=model, layer=layer).iloc[0]
    return Found(float(row["floor"]), float(row["low"]), float(row["high"]))


def printed(table: pd.DataFrame, model: str, layer: int) -> Found:
    """The floor that the paper prints for a layer at k = 50."""
    return Found(float(only(table, PRINTED, model=model, layer=layer, k=K_PAPER)["floor"].iloc[0]))


def order_of(table: pd.DataFrame, model: str) -> list[int]:
    """Layers of a model by their printed floor at k = 50, the largest first."""
    rows = only(table, PRINTED, model=model, k=K_PAPER)
    return rows.sort_values("floor", ascending=False)["layer"].tolist()


def least_step(table: pd.DataFrame, laws: pd.DataFrame, model: str) -> Found:
    """Smallest step down from a layer's fitted floor to the next, in the printed order, with its interval."""
    rows = where(fitted(laws, "published"), model=model).set_index("layer").loc[order_of(table, model)]
    steps = []
    for (_, upper), (_, lower) in pairwise(rows.iterrows()):
        step = float(upper["floor"] - lower["floor"])
        under = np.hypot(upper["floor"] - upper["low"], lower["high"] - lower["floor"])
        over = np.hypot(upper["high"] - upper["floor"], lower["floor"] - lower["low"])
        steps.append(Found(step, step - float(under), step + float(over)))
    return min(steps, key=lambda found: found.value)


def printed_step(table: pd.DataFrame, model: str) -> Found:
    """The same step of the printed floors."""
    rows = only(table, PRINTED, model=model, k=K_PAPER)
    return Found(float(-rows["floor"].sort_values(ascending=False).diff().max()))


def alike(table: pd.DataFrame, layers: pd.DataFrame) -> Found:
    """Share of pairs of showcase layers of a model that floor, dimension and curvature order alike."""
    return _alike(only(table, PRINTED, k=K_PAPER), layers)


def alike_here(laws: pd.DataFrame, layers: pd.DataFrame) -> Found:
    """The same with the floors fitted here."""
    return _alike(fitted(laws, "published"), layers)


def _alike(floors: pd.DataFrame, layers: pd.DataFrame) -> Found:
    table = floors.merge(layers[["model", "layer", "d_int", "kappa_ms"]], on=["model", "layer"])
    same = []
    for _, rows in table.groupby("model"):
        for a, b in combinations(rows.to_dict("records"), 2):
            up = [a[name] > b[name] for name in ("floor", "d_int", "kappa_ms")]
            same.append(len(set(up)) == 1)
    return Found(float(np.mean(same)))


def in_k(table: pd.DataFrame) -> Found:
    """Largest distance of a printed floor from a power of k through those of its layer."""
    gaps = []
    for _, rows in table.groupby(["model", "layer"]):
        line = np.polyfit(np.log(rows["k"]), np.log(rows["floor"]), 1)
        gaps.append(float(np.abs(np.exp(np.polyval(line, np.log(rows["k"]))) - rows["floor"]).max()))
    return Found(max(gaps))


def other_k(showcase: pd.DataFrame) -> Found:
    """How many values of k the published points are drawn at beyond the one."""
    return Found(float(only(showcase, "07/showcase", source="published")["k"].nunique() - 1))


def with_all(subsets: pd.DataFrame, model: str, layer: int) -> Found:
    """The fitted floor with the widths that the paper drops, over the one without them."""
    rows = only(subsets, "07/subsets", source="published", model=model, layer=layer).set_index("subset")
    return Found(float(rows.loc["every", "floor"] / rows.loc["kept", "floor"]))


def dropped(subsets: pd.DataFrame, without: str) -> Found:
    """How many published points a filter drops."""
    rows = only(subsets, "07/subsets", source="published", subset=["every", without])
    total = rows.groupby("subset")["n_widths"].sum()
    return Found(float(total["every"] - total[without]))


def misfit(details: pd.DataFrame) -> Found:
    """Largest misfit of the fits to three points."""
    return Found(float(only(details, "07/floors", source="published", n_widths=3)["rss"].max()))


def identity(details: pd.DataFrame) -> Found:
    """Largest error of the identity of what a floor hides, over all layers."""
    return Found(float(details["identity"].abs().max()))


def positive(found: pd.DataFrame, **which: str) -> Found:
    """Share of layers whose floor's interval stays clear of zero."""
    return share(only(found, "09/wall_floors", **which)["clear"])


def tracked(model: str, summary: str, statistic: str = "floor") -> Number:
    """Correlation over a model's layers of what its floors do with a geometric summary."""
    return cell("09/tracks", "correlation", model=model, features=summary, statistic=statistic, given="none")


def shrunk_by_training(budgets: pd.DataFrame) -> Found:
    """Floor over the least error where training grows with width, less where it does not; median layer."""
    rows = only(budgets, "07/budgets", quantity="floor_share")
    wide = rows.pivot_table(index=["model", "layer"], columns="schedule", values="value")
    return Found(float((wide["scaled"] - wide["matched"]).median()))


def best_form(rivals: pd.DataFrame, **which: str) -> Found:
    """Share of layers whose law with a floor beats all rivals by AIC."""
    rows = only(rivals, "07/rivals", **which)
    return share(rows[rows["aic_gap"] == 0]["form"] == "with_floor")


def best_kind(rivals: pd.DataFrame, criterion: str) -> Found:
    """Share of the lab's matched JumpReLU layers where the best form is one that stops."""
    rows = only(rivals, "07/rivals", **LAB)
    return share(where(families(rows), criterion=criterion)["gap"] > 0)
