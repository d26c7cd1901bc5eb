"""The figures of chapter 08 that set dots with intervals in rows: every R2, correlation and gain.

>>> import pandas as pd
>>> gaps = pd.DataFrame({"model": ["gemma-2-2b"], "features": "nu", "rival": "depth", "dropped_layers": 0})
>>> fig_gaps(gaps.assign(gap=0.2, low=0.1, high=0.3)).usermeta["name"]
'fig-gaps'
"""

from __future__ import annotations

import altair as alt
import pandas as pd

from geowall.figures import theme
from geowall.figures.marks import INTERVAL, dots, hypothesis, key, short, without

FIRST_MISSED = (
    "The paper gives no intervals. Drawn in blocks, a sample can miss the first layers altogether, and then "
    "little of the fit is left."
)


def fig_forest(intervals: pd.DataFrame, name: str = "forest", note: str = FIRST_MISSED) -> alt.TopLevelMixin:
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
        name,
        caption="Every $R^2$ of the exponent with two 95 % bootstrap intervals: layers drawn one by one "
        "(thick) and "
        f"in blocks of neighbours (thin; ◂ runs on to the left). {note}",
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


def fig_gaps(gaps: pd.DataFrame) -> alt.TopLevelMixin:
    """How much better one hypothesis predicts left-out layers than its rival, in two panels."""
    table = gaps.assign(row=gaps["features"].map(hypothesis) + "  over  " + gaps["rival"].map(hypothesis))
    order = list(dict.fromkeys(table["row"]))
    panels = []
    for i, q in enumerate(sorted(set(table["dropped_layers"]))[:2]):
        tooltip = ["name:N", "row:N", alt.Tooltip("gap:Q", format=".3f"), *INTERVAL]
        rows = table[table["dropped_layers"] == q]
        panel = dots(
            rows,
            "gap",
            "row",
            order,
            (-0.5, 1),
            "gain in R²",
            width=180,
            labels=i == 0,
            limit=200,
            tooltip=tooltip,
        )
        panels.append(
            (panel + key(table, 160, 12) if i == 0 else panel).properties(
                title=without(q, table["dropped_layers"].min())
            )
        )
    sure = table[table["low"] * table["high"] > 0]
    words = "; ".join(
        f"{row.row} {row.gap:+.2f} at {short(row.model)} "
        f"{without(row.dropped_layers, table['dropped_layers'].min()).lower()}"
        for row in sure.itertuples()
    ).replace("-", "−")
    return theme.finish(
        alt.hconcat(*panels, spacing=14),
        "gaps",
        caption="Gain in leave-one-layer-out $R^2$ of the first hypothesis over the second, both scored "
        "on the same draws of "
        "blocks of layers. An interval on one side of zero is a decision.",
        alt=f"Dots with intervals. Decided: {words}.",
    )
