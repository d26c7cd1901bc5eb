"""The figures of chapter 08 that set dots with intervals in rows: every R2, correlation and gain.

>>> import pandas as pd
>>> table = pd.DataFrame({"source": "made up", "model": ["m"], "target": "alpha", "features": "nu"})
>>> table = table.assign(statistic="loo_r2", bootstrap="block", dropped_layers=0)
>>> fig_rivals(table.assign(value=0.4, low=0.1, high=0.6)).usermeta["name"]
'fig-rivals'
"""

from __future__ import annotations

import altair as alt
import pandas as pd

from geowall.figures import theme
from geowall.figures.marks import INTERVAL, dots, hypothesis, key, names_in_colour, short, without


def fig_forest(intervals: pd.DataFrame) -> alt.TopLevelMixin:
    """Every R2, in sample and on left-out layers, with its layer (thick) and block interval (thin)."""
    table = intervals[intervals["dropped_layers"] == intervals["dropped_layers"].min()]
    table = table.assign(row=table["features"].map(hypothesis))
    order = list(dict.fromkeys(table["row"]))
    cell = ["model", "row", "statistic"]
    ends = table[table["bootstrap"] == "layer"][[*cell, "low", "high"]]
    block = table[table["bootstrap"] == "block"].drop(
        columns=["source", "target", "bootstrap", "dropped_layers"]
    )
    both = block.merge(ends.rename(columns={"low": "inner_low", "high": "inner_high"}), on=cell)
    panels = []
    for i, (statistic, title) in enumerate([("r2", "In sample"), ("loo_r2", "Left-out layers")]):
        rows = both[both["statistic"] == statistic].drop(columns=["statistic", "features"])
        tooltip = ["name:N", "row:N", alt.Tooltip("value:Q", format=".3f"), *INTERVAL]
        panel = dots(
            rows, "value", "row", order, (-0.5, 1.0), "R²", width=205, labels=i == 0, tooltip=tooltip
        )
        panels.append((panel + key(table, 5, 10) if i == 0 else panel).properties(title=title))
    words = "; ".join(
        f"{row.row} {short(row.model)} {row.value:.2f} ({row.low:.2f} to {row.high:.2f})"
        for row in both[both["statistic"] == "r2"].itertuples()
    ).replace("-", "−")
    return theme.finish(
        alt.hconcat(*panels, spacing=14),
        "forest",
        caption="Every $R^2$ of the exponent with two 95 % bootstrap intervals: layers drawn one by one "
        "(thick) and "
        "in blocks of neighbours (thin; ◂ runs on to the left). The paper gives no intervals. Drawn in "
        "blocks, a sample can miss the first layers altogether, and then little of the fit is left.",
        alt=f"Dots with intervals. In-sample R2 with block intervals: {words}.",
    )


FORM_LABELS = {
    ("levels", "none"): "as it is",
    ("levels", "depth_linear"): "at equal linear depth",
    ("levels", "depth_log"): "at equal log depth",
    ("levels", "depth"): "at equal depth",
    ("differences", "none"): "layer-to-layer steps",
}


def fig_partial(partials: pd.DataFrame) -> alt.TopLevelMixin:
    """Correlate the exponent with each summary: as it is, at equal depth, and in steps between layers."""
    forms = [("levels", "none"), ("levels", "depth"), ("differences", "none")]
    table = partials.assign(shape=list(zip(partials["form"], partials["given"], strict=True)))
    table = table[table["shape"].isin(forms)]
    table["row"] = [
        f"{hypothesis(f)}, {FORM_LABELS[s]}" for f, s in zip(table["features"], table["shape"], strict=True)
    ]
    order = [f"{hypothesis(f)}, {FORM_LABELS[s]}" for s in forms for f in dict.fromkeys(table["features"])]
    panels = []
    for i, q in enumerate(sorted(set(table["dropped_layers"]))[:2]):
        tooltip = ["name:N", "row:N", alt.Tooltip("correlation:Q", format=".3f"), *INTERVAL]
        rows = table[table["dropped_layers"] == q]
        panel = dots(
            rows,
            "correlation",
            "row",
            order,
            (-1, 1),
            "correlation",
            width=190,
            step=25,
            labels=i == 0,
            tooltip=tooltip,
        )
        panels.append(
            (panel + key(table, 165, 12) if i == 0 else panel).properties(
                title=without(q, table["dropped_layers"].min())
            )
        )
    depth = table[(table["given"] == "depth") & (table["form"] == "levels")]
    cells = [
        f"{hypothesis(f)} {short(m)} {r:.2f} ({lo:.2f} to {hi:.2f}) "
        f"{without(q, depth['dropped_layers'].min()).lower()}"
        for f, m, q, r, lo, hi in depth[
            ["features", "model", "dropped_layers", "correlation", "low", "high"]
        ].itertuples(index=False)
        if f in ("kappa_ms", "d_int")
    ]
    return theme.finish(
        alt.hconcat(*panels, spacing=14),
        "partial",
        caption="Correlation of the exponent with each summary, with 95 % intervals from blocks of "
        "layers. *At equal depth:* "
        "after both are freed of everything linear in the layer's index and in its logarithm. *Steps:* "
        "differences between "
        "neighbouring layers.",
        alt="Dots with intervals. At equal depth: " + "; ".join(cells).replace("-", "−") + ".",
    )


def fig_rivals(intervals: pd.DataFrame) -> alt.TopLevelMixin:
    """Left-out R2 of every hypothesis, simple rivals included, with its interval from blocks of layers."""
    table = intervals[(intervals["statistic"] == "loo_r2") & (intervals["bootstrap"] == "block")]
    table = table.assign(row=table["features"].map(hypothesis))
    order = list(dict.fromkeys(table["row"]))
    tooltip = ["name:N", "row:N", alt.Tooltip("value:Q", format=".3f"), *INTERVAL]
    kept = table[["model", "row", "value", "low", "high"]]
    chart = dots(
        kept, "value", "row", order, (-1.0, 1.0), "R² on left-out layers", width=400, tooltip=tooltip
    )
    above = table[table["low"] > 0]
    found = "; ".join(f"{r.row} at {short(r.model)}" for r in above.itertuples()) or "none"
    said = "; ".join(f"{r.row} {short(r.model)} {r.value:.2f}" for r in table.itertuples()).replace("-", "−")
    return theme.finish(
        alt.vconcat(names_in_colour(table), chart, spacing=8),
        "rivals",
        caption="Prediction of left-out layers by geometry, by depth and by rivals that need no manifold: "
        "how many directions share the variance, how fast the spectrum falls, how much is nothing but the "
        "token, how large the error of the narrowest dictionary is. Bars: 95 % from blocks of layers. Wholly "
        f"above zero: {found}.",
        alt=f"Dots with intervals. {said}.",
    )
