"""The figures of chapter 08 that doubt the law: depth, first layers, chance, transfer, and what survives.

>>> import pandas as pd
>>> table = pd.DataFrame({"series": "random walk", "null": ["permutation", "shift"], "n_layers": 26})
>>> table["n_series"], table["false_alarm_rate"] = 300, [0.51, 0.18]
>>> fig_false_alarms(table).usermeta["name"]
'fig-false-alarms'
"""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import pandas as pd

from geowall.figures import theme
from geowall.figures.claim import declutter
from geowall.figures.marks import colour, dots, hypothesis, key, named, reach, short

NULL_LABELS = {
    "permutation": "layers in random order",
    "block": "blocks in random order",
    "shift": "shifted in depth",
    "increments": "random path, same steps",
}
INTERVAL = [
    alt.Tooltip("low:Q", title="95 % from", format=".3f"),
    alt.Tooltip("high:Q", title="to", format=".3f"),
]


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
        "blocks, a "
        "sample can miss the first layers altogether, and then little of the fit is left.",
        alt=f"Dots with intervals. In-sample R2 with block intervals: {words}.",
    )


def fig_dropped(stage2: pd.DataFrame, target: str, shown: Sequence[str]) -> alt.TopLevelMixin:
    """R2 on left-out layers (solid) and in sample (dashed) after dropping the first layers, for ``shown``."""
    table = stage2[(stage2["target"] == target) & stage2["features"].isin(list(shown))]
    table = named(table).assign(hypothesis=lambda t: t["features"].map(hypothesis))
    order = [hypothesis(features) for features in shown]
    scale = alt.Scale(domain=order, range=theme.CATEGORY[: len(order)])
    panels = [
        _dropped_panel(table[table["name"] == name], scale, i)
        for i, name in enumerate(dict.fromkeys(table["name"]))
    ]
    poor = table[(table["loo_r2"] < 0.5) & table["features"].isin(["kappa_ms", "depth"])]
    half = poor.groupby(["hypothesis", "name"], sort=False)["dropped_layers"].min()
    words = ", ".join(f"{what} {q} ({name})" for (what, name), q in half.items()) or "none shown"
    last = table[table["dropped_layers"] == table["dropped_layers"].max()]
    ends = "; ".join(
        f"{r.name_} {r.hypothesis} {r.loo_r2:.2f}"
        for r in last.rename(columns={"name": "name_"}).itertuples()
    )
    ends = ends.replace("-", "−")
    return theme.finish(
        alt.hconcat(*panels, spacing=16),
        "dropped",
        caption="The same regressions without the first layers: $R^2$ on left-out layers (solid) and in "
        "sample (dashed). "
        f"Left-out $R^2$ falls below one half once this many layers are dropped: {words}.",
        alt="Lines of leave-one-out R2 against the number of first layers dropped. At the right end: "
        f"{ends}.",
    )


def _dropped_panel(table: pd.DataFrame, scale: alt.Scale, i: int) -> alt.LayerChart:
    top = table["dropped_layers"].max()
    x = alt.X("dropped_layers:Q", title="first layers dropped")
    x = x.scale(domain=[table["dropped_layers"].min(), top + 5.6], nice=False).axis(
        values=list(range(0, top + 1, 2)), grid=False
    )
    y = alt.Y("loo_r2:Q", title="R²" if i == 0 else None).scale(domain=[-0.25, 1], nice=False)
    shade = alt.Color("hypothesis:N", scale=scale, legend=None)
    tooltip = [
        "hypothesis:N",
        alt.Tooltip("dropped_layers:Q", title="dropped"),
        alt.Tooltip("n_layers:Q", title="layers left"),
        alt.Tooltip("loo_r2:Q", title="left out", format=".3f"),
        alt.Tooltip("r2:Q", title="in sample", format=".3f"),
    ]
    base = alt.Chart(table).encode(x=x, color=shade)
    solid = base.mark_line(strokeWidth=2.2, clip=True).encode(y=y)
    solid += base.mark_circle(size=24, opacity=1, clip=True).encode(y=y, tooltip=tooltip)
    dashed = base.mark_line(strokeWidth=1.3, opacity=0.45, strokeDash=[3, 2], clip=True).encode(y="r2:Q")
    ends = table[table["dropped_layers"] == top].copy()
    ends["height"] = declutter(ends["loo_r2"].clip(-0.22, 1), gap=0.075)
    labels = alt.Chart(ends).mark_text(align="left", dx=7, fontSize=11)
    labels = labels.encode(x=x, y=alt.Y("height:Q"), text="hypothesis:N", color=shade)
    zero = alt.Chart(pd.DataFrame({"zero": [0]})).mark_rule(strokeDash=[3, 3], opacity=0.6).encode(y="zero:Q")
    return (zero + dashed + solid + labels).properties(width=236, height=260, title=table["name"].iloc[0])


def fig_influence(influence: pd.DataFrame, features: str = "kappa_ms", first: int = 14) -> alt.TopLevelMixin:
    """Share of the exponent's variance that each of the first layers carries, and its Cook's distance."""
    table = named(influence[influence["features"] == features])
    shown = table[table["layer"] < table["layer"].min() + first].copy()
    shown["mark"] = shown["alpha_extrapolated"].map({True: "extrapolated", False: "measured"})
    tooltip = [
        "name:N",
        "layer:O",
        alt.Tooltip("variance_share:Q", format=".1%"),
        alt.Tooltip("cumulative_share:Q", title="with all before", format=".1%"),
        alt.Tooltip("leverage:Q", format=".2f"),
        alt.Tooltip("cooks_distance:Q", title="Cook's distance", format=".3f"),
        "mark:N",
    ]
    panels = []
    for column, title, form in [
        ("variance_share", "Share of the exponent's variance", "%"),
        ("cooks_distance", "Pull on the fit (Cook's distance)", "~g"),
    ]:
        top = reach(shown[column], 0, 0.6)[1] if column == "variance_share" else max(8, shown[column].max())
        y = alt.Y(f"{column}:Q", title=None).axis(format=form, tickCount=5).scale(domain=[0, top], nice=False)
        x = alt.X("layer:O", title="layer").axis(labelAngle=0)
        base = alt.Chart(shown).encode(x=x, y=y, xOffset="name:N", color=colour(table), tooltip=tooltip)
        solid = base.transform_filter("!datum.alpha_extrapolated").mark_bar()
        hollow = base.transform_filter("datum.alpha_extrapolated").mark_bar(fillOpacity=0.25, strokeWidth=1.5)
        hollow = hollow.encode(stroke=colour(table))
        panels.append((solid + hollow).properties(width=250, height=200, title=title))
    panels[0] = panels[0] + key(table, 240, 14, align="right")
    four = table[table["layer"] == table["layer"].min() + 3].set_index("name")["cumulative_share"]
    one = table[table["layer"] == table["layer"].min()].set_index("name")["variance_share"]
    words = " and ".join(f"{v:.0%} ({n})" for n, v in four.items())
    alone = " and ".join(f"{v:.0%} ({n})" for n, v in one.items())
    worst = table.loc[table["cooks_distance"].idxmax()]
    return theme.finish(
        alt.hconcat(*panels, spacing=20),
        "influence",
        caption=f"The first layer alone carries {alone} of the variance of the exponent, the first four "
        f"{words}. Hollow "
        "bars: exponents extrapolated beyond the measured sparsities. The strongest pull on the fit is layer "
        f"{worst['layer']} of {worst['name']}, with a Cook's distance of {worst['cooks_distance']:.1f}; "
        f"above 1 is large.",
        alt=f"Bars by layer. First layer: {alone} of the variance; first four: {words}.",
    )


def fig_slopes(slopes: pd.DataFrame) -> alt.TopLevelMixin:
    """Slope of the exponent in log curvature after dropping the first layers, with block-bootstrap bands."""
    table = named(slopes)
    names = list(dict.fromkeys(table["name"]))
    panels = []
    for i, name in enumerate(names):
        rows = table[table["name"] == name]
        x = alt.X("dropped_layers:Q", title="first layers dropped").axis(grid=False, tickCount=7)
        y = alt.Y("slope:Q", title="slope dα / d ln κ_ms" if i == 0 else None)
        y = y.scale(domain=[-0.4, 0.1], nice=False, clamp=True).axis(format=".1f", tickCount=5)
        base = alt.Chart(rows).encode(x=x, color=colour(table))
        band = base.mark_area(opacity=0.18).encode(
            y=alt.Y("low:Q").scale(domain=[-0.4, 0.1], clamp=True), y2="high:Q"
        )
        tooltip = ["name:N", "dropped_layers:Q", alt.Tooltip("slope:Q", format=".3f"), *INTERVAL]
        line = base.mark_line(strokeWidth=2.2).encode(y=y) + base.mark_circle(size=28).encode(
            y=y, tooltip=tooltip
        )
        zero = (
            alt.Chart(pd.DataFrame({"zero": [0]}))
            .mark_rule(strokeDash=[3, 3], opacity=0.6)
            .encode(y="zero:Q")
        )
        panels.append((zero + band + line).properties(width=240, height=190, title=name))
    ends = table.groupby("name", sort=False)["slope"].agg(["first", "last"])
    words = " and ".join(
        f"from {r['first']:.2f} to {r['last']:.2f} ({n})" for n, r in ends.iterrows()
    ).replace("-", "−")
    return theme.finish(
        alt.hconcat(*panels, spacing=20),
        "slopes",
        caption="A law keeps its slope when points are removed. Without its first layers the slope "
        f"goes {words}; bands are "
        "95 % intervals from blocks of layers.",
        alt=f"Two lines of slope against layers dropped, going {words}.",
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
                title=_without(q, table["dropped_layers"].min())
            )
        )
    depth = table[(table["given"] == "depth") & (table["form"] == "levels")]
    cells = [
        f"{hypothesis(f)} {short(m)} {r:.2f} ({lo:.2f} to {hi:.2f}) "
        f"{_without(q, depth['dropped_layers'].min()).lower()}"
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


def _without(q: int, least: int) -> str:
    return "All layers" if q == least else f"Without layers 0 to {q - 1}"


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
                title=_without(q, table["dropped_layers"].min())
            )
        )
    sure = table[table["low"] * table["high"] > 0]
    words = "; ".join(
        f"{row.row} {row.gap:+.2f} at {short(row.model)} "
        f"{_without(row.dropped_layers, table['dropped_layers'].min()).lower()}"
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


def fig_beside_depth(gaps: pd.DataFrame) -> alt.TopLevelMixin:
    """What each summary adds to depth on left-out layers, against the number of first layers dropped."""
    table = named(gaps)
    least, step = table["dropped_layers"].min(), table["dropped_layers"].max()
    panels = []
    for i, features in enumerate(dict.fromkeys(table["features"])):
        rows = table[table["features"] == features]
        x = alt.X("dropped_layers:Q", title="first layers dropped")
        x = x.axis(grid=False, values=list(range(least, step + 1)), format="d")
        scale = alt.Scale(domain=[-0.5, 1.0], nice=False, clamp=True)
        y = alt.Y("gap:Q", title="gain in left-out R²" if i == 0 else None, scale=scale)
        y = y.axis(values=[-0.5, 0, 0.5, 1], format=".1f")
        base = alt.Chart(rows).encode(x=x, color=colour(table))
        band = base.mark_area(opacity=0.2).encode(y=alt.Y("low:Q", scale=scale), y2="high:Q")
        tooltip = ["name:N", "dropped_layers:Q", alt.Tooltip("gap:Q", format="+.3f"), *INTERVAL]
        line = base.mark_line(strokeWidth=2.2).encode(y=y)
        line += base.mark_circle(size=30, opacity=1).encode(y=y, tooltip=tooltip)
        zero = (
            alt.Chart(pd.DataFrame({"zero": [0]}))
            .mark_rule(strokeDash=[3, 3], opacity=0.6)
            .encode(y="zero:Q")
        )
        panel = zero + band + line
        panel = panel + key(table, 8, 12) if i == 0 else panel
        rival = hypothesis(rows["rival"].iloc[0])
        panels.append(panel.properties(width=240, height=200, title=f"{hypothesis(features)}  over  {rival}"))
    words = "; ".join(_how_often(rows) for _, rows in table.groupby(["features", "name"], sort=False))
    return theme.finish(
        alt.hconcat(*panels, spacing=20),
        "beside-depth",
        caption="Gain in left-out $R^2$ when one summary joins depth, after dropping the first layers; "
        "bands are 95 % "
        f"intervals from blocks of layers. How often the band is clear of zero: {words}.",
        alt=f"Two panels of lines with bands. {words}.",
    )


def _how_often(rows: pd.DataFrame) -> str:
    clear = int((rows["low"] > 0).sum())
    return f"{hypothesis(rows['features'].iloc[0])} at {rows['name'].iloc[0]}, {clear} of {len(rows)}"


def fig_nulls(histogram: pd.DataFrame, tests: pd.DataFrame, features: str = "kappa_ms") -> alt.TopLevelMixin:
    """R2 under each null hypothesis as a histogram, with the observed R2."""
    counts, tests = (named(t[t["features"] == features]) for t in (histogram, tests))
    order = list(dict.fromkeys(counts["null"]))
    peak = counts.groupby(["name", "null"])["share"].transform("max")
    counts["base"] = counts["null"].map(order.index) + 1.0
    counts["top"] = counts["base"] - 0.72 * counts["share"] / peak
    tests["base"] = tests["null"].map(order.index) + 1.0
    tests["label"] = [
        f"{NULL_LABELS[n]}: p = {p:.3f}" for n, p in zip(tests["null"], tests["p_value"], strict=True)
    ]
    panels = [_null_panel(counts, tests, name, len(order)) for name in dict.fromkeys(tests["name"])]
    words = "; ".join(
        f"{r.name_} {NULL_LABELS[r.null]} p = {r.p_value:.3f} (smallest possible {r.resolution:.3f}), "
        f"95th percentile {r.q95:.2f}"
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


def fig_clipping(sweep: pd.DataFrame) -> alt.TopLevelMixin:
    """Leave-one-out R2 against how far the features are clipped in."""
    table = named(sweep).assign(hypothesis=lambda t: t["features"].map(hypothesis))
    x = alt.X("clip_percentile:Q", title="features clipped at this percentile, and as far from the top")
    x = x.scale(domain=[0, table["clip_percentile"].max() * 1.3], nice=False).axis(
        values=sorted(set(table["clip_percentile"])), format="~g", grid=False
    )
    y = alt.Y("loo_r2:Q", title="leave-one-out R²")
    y = y.scale(domain=reach(table["loo_r2"], 0.7, 1), nice=False)
    dash = alt.StrokeDash("features:N", legend=None).scale(
        domain=["kappa_ms", "depth"], range=[[1, 0], [5, 4]]
    )
    base = alt.Chart(table).encode(x=x, y=y, color=colour(table), detail="features:N")
    points = base.mark_circle(size=36, opacity=1, clip=True)
    points = points.encode(
        tooltip=["name:N", "hypothesis:N", "clip_percentile:Q", alt.Tooltip("loo_r2:Q", format=".3f")]
    )
    ends = table[table["clip_percentile"] == table["clip_percentile"].max()].copy()
    ends["height"] = declutter(ends["loo_r2"].clip(-0.45), gap=0.018)
    ends["label"] = ends["name"] + " " + ends["hypothesis"]
    labels = (
        alt.Chart(ends)
        .mark_text(align="left", dx=8, fontSize=12)
        .encode(x=x, y=alt.Y("height:Q"), text="label:N", color=colour(table))
    )
    paper = alt.Chart(pd.DataFrame({"at": [1]})).mark_rule(strokeDash=[3, 3], opacity=0.6).encode(x="at:Q")
    chart = (
        paper + base.mark_line(strokeWidth=2, clip=True).encode(strokeDash=dash) + points + labels
    ).properties(width=500, height=230)
    best = table[table["features"] == "kappa_ms"].sort_values("loo_r2").groupby("name", sort=False).tail(1)
    words = " and ".join(
        f"{r.clip_percentile:g} % ({r.name_})" for r in best.rename(columns={"name": "name_"}).itertuples()
    )
    none = table[(table["features"] == "kappa_ms") & (table["clip_percentile"] == 0)].set_index("name")[
        "loo_r2"
    ]
    bare = " and ".join(f"{v:.3f} ({n})" for n, v in none.items())
    return theme.finish(
        chart,
        "clipping",
        caption="Clipping moves the first layer and little else. Curvature predicts best when clipped "
        f"at {words}; unclipped it "
        f"reaches {bare}. The vertical line is the paper's choice, 1 %. Depth is not clipped.",
        alt=f"Lines of leave-one-out R2 against the clip percentile. Best at {words}; unclipped {bare}.",
    )


def fig_transfer(transfer: pd.DataFrame) -> alt.TopLevelMixin:
    """Transfer R2, clipped at the test model's own percentiles (open) or the training model's (filled)."""
    table = transfer[transfer["dropped_layers"] == transfer["dropped_layers"].min()]
    table = table.assign(row=table["features"].map(hypothesis), floor=table["low"].clip(lower=-0.5))
    order = list(dict.fromkeys(table["row"]))
    panels = [
        _transfer_panel(rows, order, f"{short(train)} to {short(test)}", first=i == 0)
        for i, ((train, test), rows) in enumerate(table.groupby(["train_model", "test_model"], sort=False))
    ]
    strict = table[table["clip"] == "training"]
    words = "; ".join(
        f"{short(r.train_model)} to {short(r.test_model)} {r.row} {r.transfer_r2:.3f} ({r.low:.2f} to "
        f"{r.high:.2f})"
        for r in strict.itertuples()
    ).replace("-", "−")
    both = table.pivot_table(index=["train_model", "test_model", "row"], columns="clip", values="transfer_r2")
    loss = (both["own"] - both["training"]).max()
    return theme.finish(
        alt.hconcat(*panels, spacing=16),
        "transfer",
        caption="A law fitted to one model and scored on the other, with the features clipped at the test "
        "model's own percentiles as the paper's table needs (open) and at the training model's alone "
        "(filled); "
        "bars are 95 % intervals of the latter from blocks of layers (◂ runs on). The strict rule costs "
        "up to "
        f"{loss:.3f}. {_rival(strict)}",
        alt=f"Dots for two directions. With training bounds: {words}.",
    )


def _rival(strict: pd.DataFrame) -> str:
    """Say what the position in the network, which uses no geometry, does beside curvature."""
    found = strict[strict["features"].isin(["kappa_ms", "depth_relative"])]
    key_ = ["train_model", "test_model"]
    wide = found.pivot_table(index=key_, columns="features", values="transfer_r2", sort=False)
    if len(wide.columns) < 2:
        return ""
    words = " and ".join(
        f"{row['depth_relative']:.3f} against {row['kappa_ms']:.3f} ({short(train)} to {short(test)})"
        for (train, test), row in wide.iterrows()
    )
    return f"Relative depth, which uses no geometry, reaches {words} for curvature."


def _transfer_panel(table: pd.DataFrame, order: Sequence[str], title: str, first: bool) -> alt.LayerChart:
    axis = alt.Axis(labels=first, ticks=False, domain=False, labelPadding=12, labelLimit=150)
    y = alt.Y("row:N", sort=list(order), title=None, axis=axis).scale(domain=list(order))
    x = (
        alt.X("transfer_r2:Q", title="transfer R²")
        .scale(domain=[-0.5, 1], nice=False)
        .axis(values=[-0.5, 0, 0.5, 1], format=".1f")
    )
    tooltip = ["row:N", "clip:N", alt.Tooltip("transfer_r2:Q", format=".3f"), *INTERVAL]
    tooltip.append(alt.Tooltip("test_in_sample_r2:Q", title="fitted there", format=".3f"))
    base = alt.Chart(table).encode(y=y, tooltip=tooltip)
    strict = base.transform_filter("datum.clip == 'training'")
    bar = strict.mark_rule(color=theme.GREEN, strokeWidth=3, opacity=0.4).encode(
        x=alt.X("floor:Q").scale(domain=[-0.5, 1]), x2="high:Q"
    )
    cut = (
        strict.transform_filter("datum.low < -0.5")
        .mark_text(text="◂", fontSize=13, dx=-4, color=theme.GREEN)
        .encode(x="floor:Q")
    )
    filled = strict.mark_circle(color=theme.GREEN, size=60, opacity=1, clip=True).encode(x=x)
    hollow = (
        base.transform_filter("datum.clip == 'own'")
        .mark_point(color=theme.PURPLE, size=110, strokeWidth=1.8, opacity=1, clip=True)
        .encode(x=x)
    )
    return (bar + cut + filled + hollow).properties(width=205, height=27 * len(order), title=title)


METRIC_LABELS = {
    "alpha_k50": "exponent, surface",
    "alpha_chord": "exponent, chord",
    "ln_nmse_c4": "ln error, C4",
    "ln_nmse_wikitext": "ln error, WikiText",
}


def fig_metrics(metrics: pd.DataFrame) -> alt.TopLevelMixin:
    """Leave-one-out R2 for every measure of the error that was published for each layer."""
    table = metrics.assign(
        row=metrics["target"].map(METRIC_LABELS), hypothesis=metrics["features"].map(hypothesis)
    )
    order, kinds = list(METRIC_LABELS.values()), list(dict.fromkeys(table["hypothesis"]))
    scale = alt.Scale(domain=kinds, range=[theme.BLUE, theme.GREEN, theme.GREY][: len(kinds)])
    shade = alt.Color("hypothesis:N", scale=scale, legend=alt.Legend(title=None, orient="top"))
    panels = []
    for i, (model, rows) in enumerate(table.groupby("model", sort=False)):
        axis = alt.Axis(labels=i == 0, ticks=False, domain=False, labelPadding=6, labelLimit=150)
        y = alt.Y("row:N", sort=order, title=None, axis=axis).scale(domain=order, paddingInner=0.3)
        x = (
            alt.X("loo_r2:Q", title="leave-one-out R²")
            .scale(domain=reach(table["loo_r2"], 0.5, 1), nice=False)
            .axis(tickCount=5)
        )
        tooltip = [
            "row:N",
            "hypothesis:N",
            alt.Tooltip("loo_r2:Q", format=".3f"),
            alt.Tooltip("r2:Q", format=".3f"),
            "n_layers:Q",
        ]
        points = (
            alt.Chart(rows)
            .mark_circle(size=80, opacity=0.9, clip=True)
            .encode(x=x, y=y, color=shade, tooltip=tooltip)
        )
        points = points.encode(yOffset=alt.YOffset("hypothesis:N").scale(domain=kinds, paddingOuter=0.4))
        panels.append(points.properties(width=205, height=42 * len(order), title=short(model)))
    curve = metrics[metrics["features"] == "kappa_ms"]
    wide = curve.pivot(index="model", columns="target", values="loo_r2")
    change = (wide["alpha_k50"] - wide["alpha_chord"]).abs().max()
    words = "; ".join(
        f"{short(r.model)} {METRIC_LABELS[r.target]} {r.loo_r2:.3f}" for r in curve.itertuples()
    )
    return theme.finish(
        alt.hconcat(*panels, spacing=16),
        "metrics",
        caption="What the published numbers can say about the metric. *Exponents:* fitted surface "
        "against plain "
        f"slope between two widths, on the layers that have both; curvature's $R^2$ changes by at most "
        f"{change:.3f}. "
        "*Errors:* their logarithm on two corpora; the geometry was measured on C4.",
        alt=f"Dots of leave-one-out R2. Curvature: {words}.",
    )


OUTCOME_WORDS = {"survives": "survive", "undecided": "stay open", "fails": "fail"}
OUTCOME_COLOURS = {"survives": theme.GREEN, "undecided": theme.GREY, "fails": theme.RED}


def fig_verdict(verdicts: pd.DataFrame) -> alt.TopLevelMixin:
    """Every claim about curvature, in every model: survives, undecided, or fails."""
    table = named(verdicts).copy()
    table["claim"] = table["claim"].map(_readable)
    table["text"] = [
        f"p = {r.value:.3f}"
        if pd.isna(r.low)
        else f"{r.value:+.2f}  [{r.low:.2f}, {r.high:.2f}]".replace("-", "−")
        for r in table.itertuples()
    ]
    order = list(dict.fromkeys(table["claim"]))
    scale = alt.Scale(domain=list(OUTCOME_COLOURS), range=list(OUTCOME_COLOURS.values()))
    y = alt.Y("claim:N", sort=order, title=None).scale(domain=order)
    y = y.axis(domain=False, ticks=False, labelLimit=345, labelPadding=8)
    x = alt.X("name:N", title=None, sort=list(dict.fromkeys(table["name"])))
    x = x.axis(orient="top", labelAngle=0, domain=False, ticks=False, labelFontWeight=600)
    shade = alt.Color("outcome:N", scale=scale, legend=alt.Legend(title=None, orient="bottom"))
    tooltip = ["claim:N", "name:N", "statistic:N", "text:N", "outcome:N"]
    base = alt.Chart(table).encode(x=x, y=y, tooltip=tooltip)
    cells = base.mark_rect(cornerRadius=4, opacity=0.4, stroke=None).encode(color=shade)
    words = base.mark_text(fontSize=11).encode(text="text:N")
    chart = (cells + words).properties(width=256, height=24 * len(order))
    counts = table.groupby("name", sort=False)["outcome"].value_counts(sort=False).unstack(fill_value=0)
    said = "; ".join(
        f"at {name} " + ", ".join(f"{row.get(o, 0)} {verb}" for o, verb in OUTCOME_WORDS.items())
        for name, row in counts.iterrows()
    )
    failed = "; ".join(
        f"{r.claim} ({r.name_})"
        for r in table[table["outcome"] == "fails"].rename(columns={"name": "name_"}).itertuples()
    )
    return theme.finish(
        chart,
        "verdict",
        caption="Each claim about curvature against each control, with its number and 95 % interval. "
        "One rule for all: "
        "an interval wholly on the claimed side of zero survives, wholly on the other side fails, and "
        "otherwise "
        f"nothing is decided; a p-value survives up to 0.05. {said}.",
        alt=f"A table of claims by model. {said}. Failing: {failed or 'none'}.",
    )


def _readable(claim: str) -> str:
    """Write the hypotheses in a claim in symbols."""
    head, beats, rest = claim.partition(" beats ")
    if beats:
        rival, without, layers = rest.partition(" without ")
        return f"{hypothesis(head)} beats {hypothesis(rival)}{without}{layers}"
    return claim.replace("depth_relative", "relative depth").replace("kappa_ms", "κ_ms")
