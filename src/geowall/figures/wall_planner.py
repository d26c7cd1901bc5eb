"""The figures of chapter 09 about the planner: how well it foretells, and what it says of each layer.

>>> table = pd.DataFrame({"group": ["lab"], "rule": ["flat"], "n_predictions": [4], "error": [0.1]})
>>> table = table.assign(bias=0.0, coverage=0.9, coverage_80=0.7, log_score=1.0)
>>> fig_wall_holdout(table).usermeta["name"]
'fig-wall-holdout'
"""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd

from geowall.figures import theme
from geowall.figures.marks import short, spoken

NAMES = {
    "geometry": "planner, dimension and curvature",
    "curvature": "planner, curvature",
    "dimension": "planner, dimension",
    "no geometry": "planner, no geometry",
    "own line": "the layer's own straight line",
    "global exponent": "the other layers' mean exponent",
    "flat": "no further gain",
}
PLANNERS = ("geometry", "curvature", "dimension", "no geometry")


def fig_wall_holdout(scores: pd.DataFrame) -> alt.TopLevelMixin:
    """Mean size of the error by rule and group of hidden widths, and how often intervals held the truth."""
    table = scores.copy()
    table["row"] = table["rule"].map(NAMES)
    order = [name for rule, name in NAMES.items() if (table["rule"] == rule).any()]
    table["size"] = np.expm1(table["error"])
    table["words"] = [f"{v:.1%}" for v in table["size"]]
    table["held"] = [
        f"{c:.0%}" if rule in PLANNERS else ""
        for c, rule in zip(table["coverage"], table["rule"], strict=True)
    ]
    table["planner"] = table["rule"].isin(PLANNERS)
    most = float(min(0.6, table["size"].max())) * 1.25
    table["drawn"] = table["size"].clip(upper=most)
    groups, panels = list(dict.fromkeys(table["group"])), []
    width = int((340 - 14 * (len(groups) - 1)) / len(groups))
    for group in groups:
        rows = table[table["group"] == group][
            ["row", "size", "drawn", "words", "held", "planner", "n_predictions"]
        ]
        y = alt.Y("row:N", sort=order, title=None).scale(domain=order)
        y = y.axis(labels=not panels, ticks=False, domain=False, labelLimit=230, labelPadding=6)
        x = alt.X("drawn:Q", title="mean error").scale(domain=[0, most], nice=False)
        x = x.axis(format="%", tickCount=3, grid=True)
        tips = ["row:N", "words:N", "held:N", "n_predictions:Q"]
        shade = alt.condition("datum.planner", alt.value(theme.BLUE), alt.value(theme.GREY))
        base = alt.Chart(rows).encode(y=y, tooltip=tips)
        bars = base.mark_bar(height=11, opacity=0.65).encode(x=x, color=shade)
        held = base.mark_text(align="right", fontSize=11, fontWeight=600).encode(
            x=alt.value(width - 2), text="held:N"
        )
        title = alt.Title(group.split(", "), fontSize=12)
        panels.append((bars + held).properties(width=width, height=25 * len(order), title=title))
    planner = table[table["planner"]]
    best = planner.loc[planner.groupby("group", sort=False)["error"].idxmin()]
    said = spoken([f"{r.size:.1%} for {r.group} ({r.row})" for r in best.itertuples()])
    return theme.finish(
        alt.hconcat(*panels, spacing=14),
        "wall-holdout",
        caption="Mean error of predictions of hidden widths, one octave and more ahead, by rule; the numbers "
        "at the right say how many of the "
        f"planner's 95 % intervals held what was measured. The best planner errs by {said}.",
        alt=f"Bars of mean error by rule in {len(groups)} groups of hidden widths. The best planner: {said}.",
    )


def fig_wall_horizons(horizons: pd.DataFrame) -> alt.TopLevelMixin:
    """How many of the 95 % intervals held, by group, teachers, model and octaves ahead."""
    table = horizons[horizons["octaves"] <= 3].copy()  # further out there is a handful
    by = table["others"].map({"layers": "own layers", "model": "other models"})
    site = table["group"].str.removesuffix(", other model")
    table["row"] = [f"{g}: {short(m)}, by {o}" for g, m, o in zip(site, table["model"], by, strict=True)]
    # a layer alone of its model, and one whose own layers show too little, are both taught by other models
    alone = table["group"].eq("lab, other model")
    table.loc[alone, "row"] += " alone"
    table["ahead"] = [f"{n} octave{'s' if n > 1 else ''}" for n in table["octaves"]]
    columns = ["row", "ahead", "coverage", "coverage_plain", "n_predictions"]
    order = list(dict.fromkeys(table["row"]))
    scale = alt.X(type="quantitative", title="intervals that held").scale(domain=[0, 1])
    scale = scale.axis(format="%", tickCount=3, grid=True)
    y = alt.Y("row:N", sort=order, title=None).axis(ticks=False, domain=False, labelLimit=280)
    tips = ["row:N", "ahead:N", alt.Tooltip("coverage:Q", format=".0%")]
    tips += [alt.Tooltip("coverage_plain:Q", format=".0%", title="before widening"), "n_predictions:Q"]
    panels = []
    for ahead, rows in table.groupby("ahead", sort=True):
        base = alt.Chart(rows[columns]).encode(y=y.scale(domain=order), tooltip=tips)
        y = y.axis(labels=False, ticks=False, domain=False)
        line = alt.Chart(pd.DataFrame({"x": [0.95]})).mark_rule(strokeDash=[3, 3], color=theme.GREY)
        before = base.mark_point(size=45, color=theme.GREY).encode(x=scale.field("coverage_plain"))
        held = base.mark_point(size=60, filled=True, color=theme.BLUE).encode(x=scale.field("coverage"))
        drawn = line.encode(x="x:Q") + before + held
        panels.append(drawn.properties(width=62, height=17 * len(order), title=alt.Title(ahead, fontSize=12)))
    least = table.loc[table["coverage"].idxmin()]
    worst = f"{least['row']}, {least['ahead']} ahead: {least['coverage']:.0%} of {least['n_predictions']}"
    return theme.finish(
        alt.hconcat(*panels, spacing=10),
        "wall-horizons",
        caption="Share of 95 % intervals that held what was hidden, by who taught and how far ahead; hollow: "
        f"before the intervals were widened. The dashed line is 95 %. Fewest held in {worst}.",
        alt=f"Points of coverage in {len(order)} rows by octaves ahead, around a line at 95 %. The least: "
        f"{worst}.",
    )


def fig_wall_planner(forecasts: pd.DataFrame) -> alt.TopLevelMixin:
    """One layer at a time: narrow dictionaries it was fitted to, wide ones hidden from it, the prediction."""
    table = forecasts.copy()
    table["where"] = table["model"].map(short) + " layer " + table["layer"].astype(str)
    options = list(dict.fromkeys(table["where"]))
    first = options[len(options) // 2]
    choice = alt.selection_point(
        name="planned_layer",
        fields=["where"],
        value=first,
        bind=alt.binding_select(options=options, name="layer "),
    )
    x = alt.X("width:Q", title="latents in the dictionary").scale(type="log", base=2, nice=False, padding=16)
    x = x.axis(values=sorted(table["width"].unique()), format=",", grid=False)
    span = [0.75 * float(table["nmse"].min()), 1.1 * float(table["nmse"].max())]
    y = alt.Y("nmse:Q", title="error (NMSE)").scale(type="log", domain=span, nice=False)
    y = y.axis(tickCount=6, format=".2~f")
    base = alt.Chart(table).transform_filter(choice)
    wide = base.transform_filter("datum.part != 'fitted'").encode(x=x)
    # two forecasts: of hidden widths from the narrow ones, of widths ahead from all that were measured
    wide = wide.encode(detail="part:N")
    outer = wide.mark_area(opacity=0.18, color=theme.BLUE, clip=True).encode(y=alt.Y("low:Q"), y2="high:Q")
    inner = wide.mark_area(opacity=0.28, color=theme.BLUE, clip=True).encode(
        y=alt.Y("low_80:Q"), y2="high_80:Q"
    )
    line = wide.mark_line(strokeWidth=2, color=theme.BLUE, clip=True).encode(y=alt.Y("predicted:Q"))
    tips = ["where:N", alt.Tooltip("width:Q", format=","), alt.Tooltip("nmse:Q", format=".4f")]
    tips += [alt.Tooltip("predicted:Q", format=".4f"), "part:N"]
    measured = base.transform_filter("isValid(datum.nmse)").mark_point(
        size=70, strokeWidth=2, color=theme.ORANGE
    )
    fill = alt.condition("datum.part == 'fitted'", alt.value(theme.ORANGE), alt.value("transparent"))
    measured = measured.encode(x=x, y=y, fill=fill, tooltip=tips).add_params(choice)
    chart = (outer + inner + line + measured).properties(width=500, height=280)
    hidden = table[table["part"] == "hidden"]
    inside = hidden["nmse"].between(hidden["low"], hidden["high"])
    return theme.finish(
        chart,
        "wall-planner",
        caption="Choose a layer. Filled: the narrow dictionaries that the planner was given; open: the "
        "wide ones that were hidden; the line and bands: its median and its 80 % and 95 % intervals, of the "
        "hidden ones from the filled, and of widths that were never trained from all. "
        f"Of {len(hidden)} hidden dictionaries {inside.sum()} lie inside the wider band.",
        alt=f"Error against width at one of {len(options)} layers, with the planner's prediction beyond "
        "the narrow "
        f"dictionaries. Of {len(hidden)} hidden ones {inside.sum()} lie in the 95 % band.",
    )
