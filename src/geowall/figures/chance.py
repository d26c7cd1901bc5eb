"""The figures of chapter 08 about chance: what each null hypothesis would reach, and how often it errs.

>>> import pandas as pd
>>> table = pd.DataFrame({"series": "random walk", "null": ["permutation", "shift"], "n_layers": 26})
>>> table["n_series"], table["false_alarm_rate"] = 300, [0.51, 0.18]
>>> fig_false_alarms(table).usermeta["name"]
'fig-false-alarms'
"""

from __future__ import annotations

import altair as alt
import pandas as pd

from geowall.figures import theme
from geowall.figures.marks import chance, colour, hypothesis, named, reach

NULL_LABELS = {
    "permutation": "layers in random order",
    "block": "blocks in random order",
    "shift": "shifted in depth",
    "increments": "random path, same steps",
}


def fig_nulls(histogram: pd.DataFrame, tests: pd.DataFrame, features: str = "kappa_ms") -> alt.TopLevelMixin:
    """R2 under each null hypothesis as a histogram, with the observed R2."""
    counts, tests = (named(t[t["features"] == features]) for t in (histogram, tests))
    order = list(dict.fromkeys(counts["null"]))
    peak = counts.groupby(["name", "null"])["share"].transform("max")
    counts["base"] = counts["null"].map(order.index) + 1.0
    counts["top"] = counts["base"] - 0.72 * counts["share"] / peak
    tests["base"] = tests["null"].map(order.index) + 1.0
    tests["label"] = [
        f"{NULL_LABELS[n]}: p = {chance(p)}" for n, p in zip(tests["null"], tests["p_value"], strict=True)
    ]
    panels = [_null_panel(counts, tests, name, len(order)) for name in dict.fromkeys(tests["name"])]
    words = "; ".join(
        f"{r.name_} {NULL_LABELS[r.null]} p = {chance(r.p_value)} "
        f"(smallest possible {chance(r.resolution)}), 95th percentile {r.q95:.2f}"
        for r in tests.rename(columns={"name": "name_"}).itertuples()
    )
    hard = tests.loc[tests["q95"].idxmax()]
    return theme.finish(
        alt.hconcat(*panels, spacing=20),
        "nulls",
        caption=f"The $R^2$ that {hypothesis(features)} reaches when geometry and exponent have nothing "
        f"to do with each other, "
        "under four ideas of *nothing*, and the observed $R^2$ (line). Under the paper's null almost "
        "any fit would look "
        f"extraordinary; against {NULL_LABELS[hard['null']]} one draw in twenty reaches "
        f"{hard['q95']:.2f}. There are only as "
        "many shifts as layers, so their p cannot be smaller than one over that number.",
        alt=f"Histograms with the observed value marked. {words}.",
    )


def _null_panel(counts: pd.DataFrame, tests: pd.DataFrame, name: str, rows: int) -> alt.LayerChart:
    counts, own = counts[counts["name"] == name], tests[tests["name"] == name]
    x = alt.X("r2_low:Q", title="R²").scale(domain=[0, 1], nice=False).axis(tickCount=5, grid=False)
    y = alt.Y("base:Q", title=None, axis=None).scale(domain=[0, rows], reverse=True, nice=False)
    tooltip = ["null:N", alt.Tooltip("r2_low:Q", format=".3f"), alt.Tooltip("share:Q", format=".1%")]
    bars = alt.Chart(counts).mark_bar(binSpacing=0.5, opacity=0.75)
    bars = bars.encode(x=x, x2="r2_high:Q", y=y, y2="top:Q", color=colour(tests), tooltip=tooltip)
    floor = alt.Chart(own).mark_rule(opacity=0.35).encode(y=y)
    label = (
        alt.Chart(own)
        .mark_text(align="right", dy=-46, fontSize=11.5)
        .encode(x=alt.value(236), y=y, text="label:N")
    )
    seen = alt.Chart(own.head(1)).mark_rule(color=theme.RED, strokeWidth=2.2).encode(x="observed:Q")
    return (floor + bars + seen + label).properties(width=262, height=62 * rows, title=name)


def fig_false_alarms(rates: pd.DataFrame) -> alt.TopLevelMixin:
    """How often each null calls two unrelated series linked, at the five per cent level."""
    table = rates.assign(row=rates["null"].map(NULL_LABELS), layers=rates["n_layers"].astype(str) + " layers")
    order = [NULL_LABELS[null] for null in dict.fromkeys(table["null"])]
    names = list(dict.fromkeys(table["layers"]))
    scale = alt.Scale(domain=names, range=[theme.BLUE, theme.ORANGE, theme.GREEN][: len(names)])
    panels = []
    for i, series in enumerate(dict.fromkeys(table["series"])):
        axis = alt.Axis(labels=i == 0, ticks=False, domain=False, labelLimit=180, labelPadding=6)
        y = alt.Y("row:N", sort=order, title=None, axis=axis).scale(domain=order)
        x = alt.X("false_alarm_rate:Q", title="false alarms").scale(
            domain=reach(table["false_alarm_rate"], 0, 0.65), nice=False
        )
        x = x.axis(values=[0, 0.2, 0.4, 0.6], format=".0%")
        tooltip = ["layers:N", "row:N", alt.Tooltip("false_alarm_rate:Q", format=".1%"), "n_series:Q"]
        points = alt.Chart(table[table["series"] == series]).mark_circle(size=75, opacity=0.9)
        points = points.encode(
            x=x, y=y, color=alt.Color("layers:N", scale=scale, legend=None), tooltip=tooltip
        )
        rule = alt.Chart(pd.DataFrame({"level": [0.05]})).mark_rule(strokeDash=[4, 3]).encode(x="level:Q")
        panel = rule + points
        if i == 0:
            words = pd.DataFrame({"layers": names, "top": [12 + 16 * n for n in range(len(names))]})
            key_ = (
                alt.Chart(words)
                .mark_text(align="right", fontWeight=600)
                .encode(
                    x=alt.value(125),
                    y=alt.Y("top:Q", scale=None, axis=None),
                    text="layers:N",
                    color=alt.Color("layers:N", scale=scale, legend=None),
                )
            )
            panel = panel + key_
        panels.append(panel.properties(width=130, height=140, title=series))
    walk = (
        table[table["series"] == table["series"].iloc[-1]]
        .groupby("row", sort=False)["false_alarm_rate"]
        .max()
    )
    words = "; ".join(f"{row} {rate:.0%}" for row, rate in walk.items())
    return theme.finish(
        alt.hconcat(*panels, spacing=12),
        "false-alarms",
        caption="How often each null finds a link at the 5 % level (dashed) between two series that "
        "have none. For "
        f"{table['series'].iloc[-1]}s, at most: {words}. A permutation p-value means what it says only "
        f"when layers are independent.",
        alt=f"Dots of false-alarm rates by null and by kind of series. For {table['series'].iloc[-1]}s: "
        f"{words}.",
    )
