"""The figures of chapter 06 that show layers: profiles by depth, surrogates, correlations, choices, parts.

>>> import pandas as pd
>>> pairs = pd.DataFrame({"source": ["lab"], "first": ["nu"], "second": ["d_int"], "correlation": [0.5]})
>>> fig_feature_correlations(pairs).usermeta["name"]
'fig-feature-correlations'
"""

from __future__ import annotations

import altair as alt
import pandas as pd

from geowall.figures import theme
from geowall.figures.marks import SYMBOLS, WORDS, short

FOUR = list(WORDS)
KINDS = {
    "gaussian": "Gaussian",
    "gaussian_same_dim": "Gaussian, the layer's tangent dimension",
    "gaussian_same_d_int": "Gaussian of the layer's d_int",
    "clusters": "clusters",
    "clusters_same_dim": "clusters, the layer's tangent dimension",
}
KIND_COLOURS = [theme.ORANGE, theme.RED, theme.GREY, theme.PURPLE, theme.GREEN]
MARKS = ["circle", "square", "triangle-up", "diamond"]  # of models


def _published_panel(table: pd.DataFrame, estimator: str, width: int) -> alt.LayerChart:
    own = table[table["estimator"] == estimator].assign(name=table["model"].map(short))
    x = alt.X("layer:Q", title="layer").axis(grid=False, tickCount=6)
    y = alt.Y("value:Q", title=None).scale(zero=True)
    colour = alt.Color(
        "name:N", scale=alt.Scale(domain=["2B", "9B"], range=[theme.BLUE, theme.ORANGE]), legend=None
    )
    base = alt.Chart(own[["layer", "value", "name"]]).encode(x=x, y=y, color=colour)
    last = own.sort_values("layer").groupby("name").tail(1)
    words = alt.Chart(last[["layer", "value", "name"]]).mark_text(align="left", dx=4, fontSize=11)
    tooltip = ["name:N", "layer:Q", alt.Tooltip("value:Q", format=".3f")]
    drawn = base.mark_line(strokeWidth=1.5, point={"size": 12}).encode(tooltip=tooltip)
    return (drawn + words.encode(x=x, y=y, text="name:N", color=colour)).properties(width=width, height=110)


def _lab_panel(table: pd.DataFrame, estimator: str, width: int) -> alt.LayerChart:
    own = table[table["estimator"] == estimator]
    x = alt.X("layer:Q", title="layer").axis(grid=False, tickCount=6)
    y = alt.Y("value:Q", title=None).scale(zero=True)
    scale = alt.Scale(domain=list(KINDS), range=KIND_COLOURS)
    first = own["surrogate"].iloc[0]
    measured = alt.Chart(own[own["surrogate"] == first][["model", "layer", "value", "low", "high"]])
    tooltip = ["model:N", "layer:Q", *(alt.Tooltip(f"{c}:Q", format=".3f") for c in ("value", "low", "high"))]
    band = measured.mark_area(opacity=0.25, color=theme.BLUE).encode(
        x=x, y=alt.Y("low:Q"), y2="high:Q", detail="model:N"
    )
    line = measured.mark_line(strokeWidth=2, color=theme.BLUE, point={"size": 16, "color": theme.BLUE})
    line = line.encode(x=x, y=y, strokeDash=alt.StrokeDash("model:N", legend=None), tooltip=tooltip)
    twins = own[["model", "layer", "surrogate", "surrogate_value"]].rename(
        columns={"surrogate_value": "value"}
    )
    dashed = alt.Chart(twins).mark_line(strokeWidth=1.3, strokeDash=[4, 3])
    colour = alt.Color("surrogate:N", scale=scale, legend=None)
    tips = ["model:N", "layer:Q", "surrogate:N", alt.Tooltip("value:Q", format=".3f")]
    dashed = dashed.encode(x=x, y=y, color=colour, detail="model:N", tooltip=tips)
    last = own[own["surrogate"] == first].sort_values("layer").groupby("model").tail(1)
    last = last.assign(name=last["model"].str.rsplit("-", n=1).str[-1])[["layer", "value", "name"]]
    ends = alt.Chart(last).mark_text(align="right", dy=-8, fontSize=10, color=theme.BLUE)
    names = ends.encode(x=x, y=y, text="name:N")
    return (band + dashed + line + names).properties(width=width, height=110)


def _key(kinds: list[str], measured: bool = True) -> alt.Chart:
    """Names of the lines in their colours, one under another, so that a phone shows them."""
    rows = [("measured, with interval", theme.BLUE)] if measured else []
    rows += [(KINDS[kind], KIND_COLOURS[list(KINDS).index(kind)]) for kind in kinds]
    table = pd.DataFrame(rows, columns=["text", "colour"])
    table["y"] = table.index * 16
    marks = alt.Chart(table).mark_text(align="left", baseline="top", fontWeight=600, fontSize=11)
    place, ink = alt.Y("y:Q", scale=None, axis=None), alt.Color("colour:N", scale=None)
    marks = marks.encode(x=alt.value(0), y=place, text="text:N", color=ink)
    return marks.properties(width=270, height=16 * len(rows))


def fig_profiles(published: pd.DataFrame, measured: pd.DataFrame) -> alt.TopLevelMixin:
    """The four summaries by depth: the paper's on the left, the lab's with intervals and surrogates right."""
    kinds = [kind for kind in KINDS if kind in set(measured["surrogate"])]
    rows = [_key(kinds)]
    for estimator, words in WORDS.items():
        left = _published_panel(published, estimator, 210).properties(title=f"{words}, published")
        right = _lab_panel(measured, estimator, 270).properties(title=f"{words}, lab")
        rows.append(alt.hconcat(left, right, spacing=24).resolve_scale(color="independent"))
    chart = alt.vconcat(*rows, spacing=8).resolve_scale(color="independent")
    four = measured[measured["estimator"].isin(FOUR)]
    above = (
        four.assign(over=four["surrogate_value"] >= four["value"])
        .groupby(["estimator", "surrogate"])["over"]
        .mean()
    )
    found = ", ".join(f"{SYMBOLS[e]} {above[e, kinds[0]]:.0%}" for e in FOUR)
    models = " and ".join(dict.fromkeys(measured["model"]))
    return theme.finish(
        chart,
        "profiles",
        caption=f"The four summaries by depth: Gemma 2 as published {{cite:p}}`zaher2026` (left) and "
        f"{models} measured "
        "here (right, 95 % intervals over documents). Dashed: the same pipeline on flat surrogates. "
        "Share of layers at "
        f"which the Gaussian of the same covariance, which has no curvature, is at least as high: {found}.",
        alt="Eight panels of summaries over layers. Share of layers where the flat Gaussian surrogate is "
        "as high as "
        f"the layer itself: {found}.",
    )


def fig_excess(table: pd.DataFrame) -> alt.TopLevelMixin:
    """What each summary exceeds its surrogate by, with intervals, in units of the summary itself."""
    drawn, models = table.copy(), list(dict.fromkeys(table["model"]))
    for column in ("excess", "low", "high"):
        drawn[column] = drawn[column] / drawn["value"]
    panels = []
    for estimator in ("kappa_ms", "kappa_tv"):
        own = drawn[drawn["estimator"] == estimator][["model", "layer", "surrogate", "excess", "low", "high"]]
        x = alt.X("layer:Q", title="layer").axis(grid=False, tickCount=6)
        y = alt.Y("excess:Q", title=None).axis(format="+.0%", tickCount=5)
        scale = alt.Scale(domain=list(KINDS), range=KIND_COLOURS)
        base = alt.Chart(own).encode(x=x, color=alt.Color("surrogate:N", scale=scale, legend=None))
        tooltip = ["model:N", "layer:Q", "surrogate:N", alt.Tooltip("excess:Q", format="+.1%")]
        shape = alt.Shape("model:N", scale=alt.Scale(domain=models, range=MARKS[: len(models)]), legend=None)
        points = base.mark_point(size=28, filled=True, opacity=1).encode(y=y, shape=shape, tooltip=tooltip)
        bars = base.mark_rule(opacity=0.5).encode(y=alt.Y("low:Q"), y2="high:Q")
        zero = (
            alt.Chart(pd.DataFrame({"zero": [0]}))
            .mark_rule(strokeDash=[3, 3], opacity=0.7)
            .encode(y="zero:Q")
        )
        panels.append((zero + bars + points).properties(width=215, height=190, title=WORDS[estimator]))
    kinds = [kind for kind in KINDS if kind in set(table["surrogate"])]
    chart = alt.vconcat(_key(kinds, measured=False), alt.hconcat(*panels, spacing=20), spacing=10)
    clear = table.assign(clear=table["low"] > 0).groupby(["surrogate", "estimator"])["clear"].mean()
    curved = {
        k: ", ".join(f"{SYMBOLS[e]} {clear[k, e]:.0%}" for e in ("kappa_ms", "kappa_tv")) for k in kinds
    }
    found = "; ".join(f"{KINDS[k]}: {words}" for k, words in curved.items())
    drawn_as = ", ".join(f"{model}: {mark}s" for model, mark in zip(models, MARKS, strict=False))
    return theme.finish(
        chart,
        "excess",
        caption="What is left of each summary when its flat surrogate is subtracted, as a share of the "
        f"summary ({drawn_as}). Share "
        f"of layers at which a curvature summary is clearly above the surrogate: {found}.",
        alt=f"Two panels of the excess over surrogates by layer. Share of layers clearly above: {found}.",
    )


def _source_names() -> dict[str, str]:
    """Shorter names of the sources of correlations."""
    short_kinds = {
        kind: words.replace("the layer's tangent dimension", "its k_t").replace("of the layer's", "of its")
        for kind, words in KINDS.items()
    }
    twins = {f"lab, {kind} surrogate": f"flat: {words}" for kind, words in short_kinds.items()}
    return twins | {f"lab, excess over {kind}": f"less {words}" for kind, words in short_kinds.items()}


def fig_feature_correlations(table: pd.DataFrame) -> alt.TopLevelMixin:
    """Correlations of the summaries over layers, by source: the paper's Fig. 5 beside the lab's."""
    drawn = table.assign(pair=table["second"].map(SYMBOLS) + " · " + table["first"].map(SYMBOLS))
    drawn["source"] = drawn["source"].replace(_source_names())
    drawn = drawn.dropna(subset=["correlation"])  # one of the two never varies
    sources, pairs = list(dict.fromkeys(drawn["source"])), list(dict.fromkeys(drawn["pair"]))
    x = alt.X("pair:N", sort=pairs, title=None)
    x = x.axis(orient="top", labelAngle=0, domain=False, ticks=False, labelFontSize=11, labelLimit=90)
    y = alt.Y("source:N", sort=sources, title=None).axis(domain=False, ticks=False, labelLimit=200)
    scale = alt.Scale(domain=[-1, 0, 1], range=[theme.ORANGE, "#80808020", theme.BLUE])
    ends = [column for column in ("low", "high") if column in drawn]
    tooltip = [
        "source:N", "pair:N", *(alt.Tooltip(f"{c}:Q", format=".3f") for c in ("correlation", *ends))
    ]  # fmt: skip
    base = alt.Chart(drawn[["source", "pair", "correlation", *ends]]).encode(x=x, y=y, tooltip=tooltip)
    colour = alt.Color("correlation:Q", scale=scale, legend=None)
    cells = base.mark_rect(cornerRadius=3, opacity=0.75).encode(color=colour)
    words = base.mark_text(fontWeight=600).encode(text=alt.Text("correlation:Q", format=".2f"))
    chart = (cells + words).properties(width=420, height=28 * len(sources))
    means = drawn.groupby("source", sort=False)["correlation"].mean()
    found = "; ".join(f"{source} {value:.2f}" for source, value in means.items())
    return theme.finish(
        chart,
        "feature-correlations",
        caption=f"Correlations of the four summaries over layers. Mean of the six: {found}. Where flat "
        "surrogates alone correlate, the summaries share something that is not curvature; a blank is a "
        "summary that never varies.".replace("-0.", "−0."),
        alt=f"A table of correlations by source. Mean of the six pairs: {found}.",
    )


def fig_choices(table: pd.DataFrame) -> alt.TopLevelMixin:
    """Each summary under another choice, relative to the paper's recipe, over layers."""
    usual = table[table["variant"] == "as the paper"].set_index(["model", "layer", "estimator"])["value"]
    others = table[table["variant"] != "as the paper"].copy()
    before = usual.reindex(pd.MultiIndex.from_frame(others[["model", "layer", "estimator"]])).to_numpy()
    others["change"] = others["value"] / before - 1.0
    mean = (
        others.groupby(["variant", "estimator"], sort=False)["change"]
        .agg(["mean", "min", "max"])
        .reset_index()
    )
    mean["summary"] = mean["estimator"].map(SYMBOLS)
    order = list(dict.fromkeys(others["variant"]))
    x = alt.X("summary:N", sort=[SYMBOLS[e] for e in FOUR], title=None)
    x = x.axis(orient="top", labelAngle=0, domain=False, ticks=False)
    y = alt.Y("variant:N", sort=order, title=None).axis(domain=False, ticks=False, labelLimit=240)
    scale = alt.Scale(domain=[-0.5, 0, 0.5], range=[theme.ORANGE, "#80808020", theme.BLUE], clamp=True)
    tooltip = [
        "variant:N",
        "summary:N",
        *(alt.Tooltip(f"{c}:Q", format="+.1%") for c in ("mean", "min", "max")),
    ]
    base = alt.Chart(mean).encode(x=x, y=y, tooltip=tooltip)
    cells = base.mark_rect(cornerRadius=3, opacity=0.75).encode(
        color=alt.Color("mean:Q", scale=scale, legend=None)
    )
    words = base.mark_text(fontWeight=600).encode(text=alt.Text("mean:Q", format="+.0%"))
    chart = (cells + words).properties(width=340, height=26 * len(order))
    worst = mean.loc[mean["mean"].abs().groupby(mean["estimator"]).idxmax()]
    found = ", ".join(
        f"{s} {m:+.0%} ({v})"
        for s, m, v in zip(worst["summary"], worst["mean"], worst["variant"], strict=True)
    )
    return theme.finish(
        chart,
        "choices",
        caption=f"Change of each summary when one choice is another, mean over {table['layer'].nunique()} "
        "layers (point "
        f"for the range). Largest: {found}.".replace("-", "−"),
        alt=f"A table of relative changes by choice and summary. Largest: {found}.",
    )


def fig_parts(table: pd.DataFrame) -> alt.TopLevelMixin:
    """The summaries of token classes and of places in the sequence, each with its interval."""
    layer = sorted(table["layer"].unique())[len(table["layer"].unique()) // 2]
    own = table[table["layer"] == layer].drop_duplicates(["group", "estimator"])
    order = list(dict.fromkeys(own["group"]))
    kinds = alt.Scale(domain=["all", "class", "position"], range=[theme.GREY, theme.BLUE, theme.ORANGE])
    panels = []
    for i, estimator in enumerate(FOUR):
        rows = own[own["estimator"] == estimator][["group", "part", "value", "low", "high", "n_points"]]
        axis = alt.Axis(labels=i % 2 == 0, ticks=False, domain=False, labelLimit=140)
        y = alt.Y("group:N", sort=order, title=None, axis=axis)
        x = alt.X("value:Q", title=None).scale(zero=False, padding=8).axis(tickCount=4)
        base = alt.Chart(rows).encode(y=y, color=alt.Color("part:N", scale=kinds, legend=None))
        bars = base.mark_rule(strokeWidth=3, opacity=0.45).encode(x=alt.X("low:Q", title=None), x2="high:Q")
        tips = [
            "group:N",
            *(alt.Tooltip(f"{c}:Q", format=".3f") for c in ("value", "low", "high")),
            "n_points:Q",
        ]
        points = base.mark_circle(size=50, opacity=1).encode(x=x, tooltip=tips)
        panels.append((bars + points).properties(width=205, height=19 * len(order), title=WORDS[estimator]))
    chart = alt.vconcat(
        alt.hconcat(*panels[:2], spacing=14), alt.hconcat(*panels[2:], spacing=14), spacing=12
    )
    spread = own[own["part"] == "class"].groupby("estimator")["value"].agg(lambda v: v.max() / v.min())
    found = ", ".join(f"{SYMBOLS[e]} {spread[e]:.1f}" for e in FOUR)
    return theme.finish(
        chart,
        "parts",
        caption=f"Token classes (blue) and places in the sequence (orange) at layer {layer}, each of the "
        "same number of "
        f"tokens, with 95 % intervals over documents. Largest over smallest class: {found}.",
        alt="Four panels of summaries by token class and place. Ratio of the largest to the smallest "
        f"class: {found}.",
    )


def fig_pullback(table: pd.DataFrame) -> alt.TopLevelMixin:
    """The metric of predictions by depth: directions that matter, dimension, neighbours, bending."""
    titles = {
        "participation": "directions that matter (participation)",
        "dimension": "dimension by steps that matter",
        "shared_neighbours": "nearest 20 shared with Euclid",
        "bend_to_neighbour": "bend over a step to a neighbour",
    }
    panels = []
    for quantity, title in titles.items():
        rows = table[table["quantity"] == quantity][["model", "layer", "value", "low", "high"]]
        ends = [rows["layer"].min() - 0.5, rows["layer"].max() + 0.5]
        x = alt.X("layer:Q", title="layer").scale(domain=ends, nice=False)
        base = alt.Chart(rows).encode(x=x.axis(grid=False, values=sorted(rows["layer"].unique())))
        bars = base.mark_rule(strokeWidth=3, opacity=0.45, color=theme.BLUE, clip=True)
        top = (
            1.6 * rows["value"].max()
            if quantity == "dimension"
            else max(rows["high"].max(), rows["value"].max())
        )
        y = alt.Y("value:Q", title=None).scale(domain=[0, float(top)])
        bars = bars.encode(y=alt.Y("low:Q"), y2="high:Q")
        tips = [
            "model:N",
            "layer:Q",
            *(alt.Tooltip(f"{c}:Q", format=".3f") for c in ("value", "low", "high")),
        ]
        points = base.mark_line(point={"size": 40}, color=theme.BLUE).encode(
            y=y, tooltip=tips, detail="model:N"
        )
        panels.append((bars + points).properties(width=225, height=110, title=title))
    chart = alt.vconcat(
        alt.hconcat(*panels[:2], spacing=20), alt.hconcat(*panels[2:], spacing=20), spacing=12
    )
    shared = table[table["quantity"] == "shared_neighbours"]["value"].mean()
    bend = table[table["quantity"] == "bend_to_neighbour"]["value"].median()
    return theme.finish(
        chart,
        "pullback",
        caption=f"The metric that predictions give to activations. On average {shared:.0%} of the nearest "
        "neighbours are "
        f"nearest in both metrics, and over the step to a Euclidean neighbour a geodesic turns by {bend:.2f} "
        "(its curvature times the length of the step).",
        alt=f"Four panels by layer: participation, dimension, shared neighbours ({shared:.0%} on "
        "average), bend "
        f"(median {bend:.2f}).",
    )
