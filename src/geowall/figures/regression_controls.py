"""The figure of chapter 08 that puts depth, first layers and chance to the layers measured here.

>>> table = pd.DataFrame({"features": ["kappa_ms"], "form": ["levels"], "given": ["depth"]})
>>> table = table.assign(model="m", dropped_layers=0, correlation=-0.5, low=-0.6, high=-0.4)
>>> _correlations(table)["row"].tolist()
['κ_ms, at equal depth']
"""

from __future__ import annotations

import altair as alt
import pandas as pd

from geowall.figures import theme
from geowall.figures.intervals import FORM_LABELS
from geowall.figures.marks import INTERVAL, dots, hypothesis, names_in_colour, short, without

SHAPES = [("levels", "depth"), ("differences", "none")]
NULLS = {"block": "blocks of layers", "increments": "random paths", "shift": "shifts in depth"}
COLUMNS = ["model", "dropped_layers", "row", "value", "low", "high"]


def fig_controls(r2: pd.DataFrame, partials: pd.DataFrame, tests: pd.DataFrame) -> alt.TopLevelMixin:
    """Left-out R2 beside depth, partial correlations, steps and p-values, with and without first layers."""
    scores, linked, chances = _scores(r2), _correlations(partials), _chances(tests)
    table = pd.concat([scores, linked, chances], ignore_index=True)
    order, cuts = list(dict.fromkeys(table["row"])), sorted(set(table["dropped_layers"]))[:2]
    panels = []
    for i, q in enumerate(cuts):
        own = table[table["dropped_layers"] == q].drop(columns="dropped_layers")
        tooltip = ["name:N", "row:N", alt.Tooltip("value:Q", format=".3f"), *INTERVAL]
        panel = dots(own, "value", "row", order, (-1, 1), "R², correlation or p", width=172, step=19,
                     labels=i == 0, limit=215, tooltip=tooltip)  # fmt: skip
        panels.append(panel.properties(title=without(q, cuts[0])))
    chart = alt.vconcat(names_in_colour(table), alt.hconcat(*panels, spacing=14), spacing=8)
    return theme.finish(chart, "controls-here", **_words(scores, linked, chances))


def _scores(r2: pd.DataFrame) -> pd.DataFrame:
    own = r2[(r2["statistic"] == "loo_r2") & (r2["bootstrap"] == "block")]
    return own.assign(row="R², " + own["features"].map(hypothesis))[COLUMNS]


def _correlations(partials: pd.DataFrame) -> pd.DataFrame:
    made = [
        own.assign(row=own["features"].map(hypothesis) + ", " + FORM_LABELS[form, given])
        for form, given in SHAPES
        for own in [partials[(partials["form"] == form) & (partials["given"] == given)]]
    ]
    return pd.concat(made).rename(columns={"correlation": "value"})[COLUMNS]


def _chances(tests: pd.DataFrame) -> pd.DataFrame:
    """The p-values, which have no intervals; the paper's own null, under which all is rare, is left out."""
    own = tests[tests["null"].isin(list(NULLS))]
    rows = [f"p, {hypothesis(f)}, {NULLS[n]}" for f, n in zip(own["features"], own["null"], strict=True)]
    return own.assign(row=rows, value=own["p_value"], low=own["p_value"], high=own["p_value"])[COLUMNS]


def _words(scores: pd.DataFrame, linked: pd.DataFrame, chances: pd.DataFrame) -> dict[str, str]:
    least = scores["dropped_layers"].min()
    works = _listed(scores[scores["low"] > 0], least)
    clear = _listed(linked[linked["low"] * linked["high"] > 0], least)
    rare = _listed(chances[chances["value"] <= 0.05], least)
    said = f"Wholly above zero: {works}. Correlations clear of zero: {clear}. p of at most 0.05: {rare}."
    caption = (
        "Depth, first layers and chance on the layers measured here, for curvature as it is read and for its "
        "excess over a flat twin: $R^2$ on left-out layers, alone and beside depth; correlation with the "
        "exponent at equal depth and in steps between neighbours; p under nulls that keep some or all of the "
        f"smoothness. Bars: 95 % from blocks of layers (◂ runs on). {said}"
    )
    return {"caption": caption, "alt": f"Dots with intervals in two panels. {said}"}


def _listed(table: pd.DataFrame, least: int) -> str:
    """Name the rows of a part of the figure, each with its models, all layers first."""
    table = table.assign(models=table["model"].map(short))
    words = [
        f"{row} at {', '.join(own['models'])} ({without(q, least).lower()})"
        for (q, row), own in table.groupby(["dropped_layers", "row"], sort=False)
    ]
    return "; ".join(words) or "none"
