"""Sentences of chapter 09 about the planner, every number in them computed from the chapter's tables.

>>> held = {"octaves": [1, 2], "coverage": [0.95, 0.5], "n_predictions": 20}
>>> short_rows(pd.DataFrame(held))["octaves"].tolist()
[2]
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from geowall.figures.marks import short, spoken
from geowall.figures.wall_planner import NAMES
from geowall.figures.wall_words import around
from geowall.wall.holdout import PLAIN

KNOWING = ("geometry", "curvature", "dimension")  # planners that are told something of a layer's geometry


def simple_rules(scores: pd.DataFrame, gains: pd.DataFrame) -> str:
    """Say how well the planner foretells, against simple rules, and whether geometry helps it."""
    own, simple = _by_group(scores)
    said = [
        f"{group}: {_size(row['error'])} with {row['coverage']:.0%} of the hidden dictionaries in its 95 % "
        f"intervals; the best simple rule, {NAMES[simple.loc[group, 'rule']]}, "
        f"{_size(simple.loc[group, 'error'])}"
        for group, row in own.iterrows()
    ]
    return (
        f"Mean errors of the planner without geometry: {'; '.join(said)}. {_verdict(own, simple)} "
        f"{geometry(gains)}"
    )


def horizons(table: pd.DataFrame) -> str:
    """Say by model and octaves ahead what the 95 % intervals held, and where that is clearly too little."""
    lab = table[table["group"].isin(("lab", "lab, other model"))]
    said = []
    for (group, others, model), rows in lab.groupby(["group", "others", "model"], sort=False):
        held = spoken([f"{r.coverage:.0%} of {r.n_predictions}" for r in rows.itertuples()])
        before = spoken([f"{v:.0%}" for v in rows["coverage_plain"]])
        ahead = spoken([str(n) for n in rows["octaves"]])
        how = f"{ahead} octave{'s' if rows['octaves'].max() > 1 else ''} ahead"
        said.append(f"{short(model)}, {_taught(group, others)}, {how}: {held} (before widening {before})")
    few = short_rows(table)
    where = "; ".join(
        f"{r.group}, {r.model}, {_taught(r.group, r.others)}, {r.octaves} octave"
        f"{'s' if r.octaves > 1 else ''} ahead ({r.coverage:.0%} of {r.n_predictions})"
        for r in few.itertuples()
    )
    return (
        f"What the 95 % intervals held: {'; '.join(said)}. "
        + (f"Clearly less than 95 % in {len(few)} of {len(table)} rows: {where}. " if len(few) else "")
        + "What one layer teaches of another is not what one model teaches of another, and where few octaves "
        "were measured intervals cannot learn how wide they must be."
    )


def _taught(group: str, others: str) -> str:
    if others == "layers":
        return "taught by its other layers"
    return "each layer as if alone" if group.endswith("other model") else "taught by other models"


def short_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Rows that held so few that intervals of 95 % would do worse once in twenty times at most."""
    held = (table["coverage"] * table["n_predictions"]).round()
    return table[stats.binom.cdf(held, table["n_predictions"], 0.95) < 0.05]


def against_floors(told: pd.DataFrame, floors: pd.DataFrame) -> str:
    """Say how forecasts ahead stand to the floors that chapter 07 fits to the same curves, and why."""
    last = told[told["part"] == "ahead"].groupby(["model", "layer"], as_index=False).last()
    fitted = floors[["model", "layer", "k", "low", "high"]]
    shared = last.merge(fitted, on=["model", "layer"], suffixes=("", "_floor"))
    if shared.empty:
        return ""
    below, apart = shared["predicted"] < shared["low_floor"], shared["high"] < shared["low_floor"]
    ks = spoken([f"{k:g}" for k in sorted(set(shared["k"]))])
    return (
        f"In {below.sum()} of {len(shared)} layers the planner's median for the widest forecast lies below "
        f"the interval of the floor that chapter 07 fits to the same curve (k = {ks}), in {apart.sum()} its "
        "whole 95 % interval does. The two answer different questions: the floor's interval says how well "
        "one form fits the layer's own points, if that form is true; the planner takes no form for true, "
        "and lets savings shrink as they did at other layers."
    )


def _size(log_error: float) -> str:
    """Write a mean size of log errors as the figure does."""
    return f"{np.expm1(log_error):.1%}"


def _verdict(own: pd.DataFrame, simple: pd.DataFrame) -> str:
    loses = own.index[own["error"] > simple["error"]]
    if not len(loses):
        return "It beats every simple rule in every group."
    held = spoken([f"{own.loc[g, 'coverage']:.0%}" for g in loses])
    return (
        f"It loses to a simple rule in {spoken([f'*{g}*' for g in loses])}, where its intervals hold {held}: "
        "there the simple rule is the better one."
    )


def geometry(gains: pd.DataFrame) -> str:
    """Say in how many comparisons geometry helped or hurt the planner."""
    rows = gains[gains["rival"].isin(KNOWING)]
    better, worse = rows[rows["high"] < 0], rows[rows["low"] > 0]
    if rows.empty:
        return "Nobody was told geometry here."
    return (
        f"Told geometry, the planner was compared with itself untold {len(rows)} times ("
        f"{spoken(list(dict.fromkeys(rows['rival'])))}, in {rows['group'].nunique()} groups). The change of "
        f"its error is clear of zero for the better in {_listed(better)}, for the worse in {_listed(worse)}; "
        f"of so many intervals at 95 % about {max(1, round(0.05 * len(rows)))} would be by chance."
    )


def _listed(rows: pd.DataFrame) -> str:
    if rows.empty:
        return "none"
    said = [
        f"{r.rival} ({r.group}: {around(100 * r.gain, 100 * r.low, 100 * r.high, '+.1f')} %)"
        for r in rows.itertuples()
    ]
    return f"{len(rows)}: {spoken(said)}"


def _by_group(scores: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the scores of the planner without geometry, and those of the best simple rule, by group."""
    own = scores[scores["rule"] == "no geometry"].set_index("group")
    simple = scores[scores["rule"].isin(PLAIN)].sort_values("error").drop_duplicates("group")
    return own, simple.set_index("group").loc[own.index]


def learned(
    scores: pd.DataFrame, gains: pd.DataFrame, far: pd.DataFrame, octaves: Sequence[int] | int
) -> str:
    """Sum up the planner: where it can be relied on, where not, and what geometry adds."""
    own, simple = _by_group(scores)
    lab, few = own.loc["lab"], short_rows(far)
    pairs = zip(few["group"], few["model"], strict=True)
    rows = spoken(list(dict.fromkeys(f"*{group}* ({short(model)})" for group, model in pairs)))
    kept = f"They hold clearly too few in {rows}." if len(few) else "Nowhere do they hold clearly too few."
    return (
        f"* **Plan by other layers of the same model.** A few narrow dictionaries and what those layers did "
        f"foretell one to {octaves} doublings within {_size(lab['error'])} in the mean, with "
        f"{lab['coverage']:.0%} in the 95 % intervals ({lab['coverage_plain']:.0%} before they were widened "
        f"by what other layers asked for). {kept} {_verdict(own, simple)}\n"
        f"* **{_adds(gains)}** {geometry(gains)}"
    )


def _adds(gains: pd.DataFrame) -> str:
    """Head the paragraph on geometry by what the intervals say."""
    rows = gains[gains["rival"].isin(KNOWING)]
    better, worse = (rows["high"] < 0).sum(), (rows["low"] > 0).sum()
    if worse > better:
        return "Geometry does the plan more harm than good."
    return "Geometry adds to the plan." if better > len(rows) / 2 else "Geometry adds little to the plan."
