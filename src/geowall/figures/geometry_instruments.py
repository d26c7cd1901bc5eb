"""The figures of chapter 06 that show instruments: what each estimator says of shapes that are known.

>>> import pandas as pd
>>> row = {"manifold": "ball", "truth": 2.0, "value": 2.1, "low": 2.0, "high": 2.2, "n_points": 9}
>>> table = pd.DataFrame([row | {"estimator": e} for e in ("d_int", "mle_20_corrected", "two_nn", "gride_8")])
>>> fig_dimension_calibration(table).usermeta["name"]
'fig-dimension-calibration'
"""

from __future__ import annotations

import altair as alt
import pandas as pd

from geowall.figures import theme
from geowall.figures.marks import SYMBOLS, WORDS, signed

ESTIMATORS = {
    "d_int": "the paper's d_int",
    "two_nn": "TwoNN",
    "mle_20": "MLE, 20 neighbours",
    "gride_8": "Gride, 8 and 16",
    "mle_20_corrected": "MLE, corrected",
}
COLOURS = [theme.BLUE, theme.ORANGE, theme.PURPLE, theme.RED, theme.GREEN]
FAMILIES = ["sphere", "circles", "normal", "ball"]
READINGS = ESTIMATORS | {"second_form": "second form", "multiscale": "multi-scale fit"}
SUMMARIES = ["d_int", "kappa_ms", "kappa_tv", "nu"]
PROXIES = ("kappa_ms", "kappa_tv")


def fig_dimension_calibration(table: pd.DataFrame) -> alt.TopLevelMixin:
    """Estimated against true dimension, one panel an estimator, a mark for each shape of any dimension."""
    table, panels = table[table["manifold"].isin(FAMILIES)], []
    names = [name for name in ESTIMATORS if name in set(table["estimator"])]
    most = float(table["truth"].max())
    diagonal = alt.Chart(pd.DataFrame({"truth": [0, most], "value": [0, most]})).mark_line(
        strokeDash=[3, 3], opacity=0.6, color=theme.GREY
    )
    for i, name in enumerate(names):
        rows = table[table["estimator"] == name][["manifold", "truth", "value", "low", "high", "n_points"]]
        top = max(1.45 * most, 1.05 * float(table[table["estimator"].isin(names)]["value"].max()))
        x = alt.X("truth:Q", title="true dimension").scale(domain=[0, 1.05 * most]).axis(tickCount=4)
        y = (
            alt.Y("value:Q", title="estimate" if i % 3 == 0 else None)
            .scale(domain=[0, top])
            .axis(tickCount=4)
        )
        base = alt.Chart(rows.assign(high=rows["high"].clip(upper=top))).encode(x=x)
        shape = alt.Shape("manifold:N", title="shape", legend=alt.Legend(orient="bottom") if i == 0 else None)
        bars = base.mark_rule(strokeWidth=2, opacity=0.4, color=COLOURS[i]).encode(y="low:Q", y2="high:Q")
        tips = [
            "manifold:N",
            "truth:Q",
            *(alt.Tooltip(f"{c}:Q", format=".2f") for c in ("value", "low", "high")),
        ]
        points = base.mark_point(size=40, color=COLOURS[i], opacity=1).encode(y=y, shape=shape, tooltip=tips)
        line = diagonal.encode(x="truth:Q", y="value:Q")
        panels.append((line + bars + points).properties(width=150, height=140, title=ESTIMATORS[name]))
    rows_of = [alt.hconcat(*panels[i : i + 3], spacing=12) for i in range(0, len(panels), 3)]
    chart = alt.vconcat(*rows_of, spacing=12).resolve_legend(shape="shared")
    last = table[table["truth"] == most].groupby("estimator")["value"].mean()
    found = ", ".join(f"{ESTIMATORS[n]} {last[n]:.1f}" for n in names if n in last)
    return theme.finish(
        chart,
        "dimension-calibration",
        caption=f"Dimension estimated from {table['n_points'].max()} points of shapes whose dimension is "
        "known (95 % of "
        "single measurements; for the corrected one, over families of shapes too, its own left out). At "
        f"{most:.0f} dimensions the shapes "
        f"read on average: {found}.",
        alt=f"Panels of estimated against true dimension. At {most:.0f} true dimensions: {found}.",
    )


def fig_curvature_calibration(table: pd.DataFrame) -> alt.TopLevelMixin:
    """Measured against true curvature for the fits that have one, and the proxies beside, by noise."""
    titles = {
        "second_form": "second fundamental form", "multiscale": "multi-scale fit, round and flat shapes",
        "kappa_ms": "κ_ms (no unit)", "kappa_tv": "κ_tv (no unit)",
    }  # fmt: skip
    drawn = table[(table["estimator"] != "multiscale") | table["truth"].notna()]
    noises = sorted(table["noise"].unique())
    scale = alt.Scale(domain=noises, range=COLOURS[: len(noises)])
    panels = []
    for i, (name, title) in enumerate(titles.items()):
        rows = drawn[drawn["estimator"] == name][["manifold", "curvature", "noise", "value", "low", "high"]]
        x = alt.X("curvature:Q", title="true curvature").scale(nice=False, padding=10).axis(tickCount=5)
        y = alt.Y("value:Q", title=None).axis(tickCount=5)
        legend = alt.Legend(title="noise", orient="bottom", symbolOpacity=1) if i == 0 else None
        base = alt.Chart(rows).encode(x=x, color=alt.Color("noise:N", scale=scale, legend=legend))
        tips = ["manifold:N", "noise:N", "curvature:Q", alt.Tooltip("value:Q", format=".3f")]
        points = base.mark_point(size=34, opacity=1).encode(y=y, tooltip=tips)
        bars = base.mark_rule(opacity=0.4, strokeWidth=2).encode(y=alt.Y("low:Q", title=None), y2="high:Q")
        layers = [bars, points]
        if i < 2:
            most = float(table["curvature"].max())
            ideal = pd.DataFrame({"curvature": [0, most], "value": [0, most]})
            line = alt.Chart(ideal).mark_line(strokeDash=[3, 3], color=theme.GREY, opacity=0.7)
            layers.insert(0, line.encode(x="curvature:Q", y="value:Q"))
        panels.append(alt.layer(*layers).properties(width=240, height=150, title=title))
    chart = alt.vconcat(
        alt.hconcat(*panels[:2], spacing=20), alt.hconcat(*panels[2:], spacing=20), spacing=12
    )
    r = drawn.groupby("estimator")[["curvature", "value"]].apply(lambda t: t["curvature"].corr(t["value"]))
    found = ", ".join(f"{title} {r[name]:.2f}" for name, title in titles.items()).replace("-0", "−0")
    return theme.finish(
        chart.resolve_scale(color="shared"),
        "curvature-calibration",
        caption="What four measures say of shapes of known curvature (dashed: the truth). Correlation "
        "with the true "
        f"curvature over the shapes and noises shown: {found}.",
        alt=f"Four panels of measured against true curvature. Correlations with the truth: {found}.",
    )


def fig_bias(table: pd.DataFrame) -> alt.TopLevelMixin:
    """Bias and spread against sample size and noise, estimators of dimension above, of curvature below."""
    drawn = table[table["estimator"].isin(list(READINGS))]
    drawn = drawn.assign(name=drawn["estimator"].map(READINGS), at=drawn["level"].map("{:,g}".format))
    rows = []
    for quantity, own in drawn.groupby("quantity", sort=False):
        scale = alt.Scale(domain=list(dict.fromkeys(own["name"])), range=COLOURS)
        legend = alt.Legend(orient="bottom", title=None, symbolOpacity=1, columns=4)
        colour = alt.Color("name:N", scale=scale, legend=legend)
        panels = [
            _bias_panel(part.sort_values("level"), colour).properties(title=f"{quantity}, by {factor}")
            for factor, part in own.groupby("factor", sort=False)
        ]
        rows.append(alt.hconcat(*panels, spacing=20).resolve_scale(color="shared", xOffset="shared"))
    chart = alt.vconcat(*rows, spacing=12).resolve_scale(color="independent", xOffset="independent")
    worst = drawn.loc[
        drawn.groupby(["quantity", "factor"], sort=False)["bias"].apply(lambda b: b.abs().idxmax())
    ]
    found = "; ".join(
        f"{row.quantity} by {row.factor} {signed(row.bias, '+.0%')} ({row.name}, {row.at})"
        for row in worst.itertuples(index=False)
    )
    return theme.finish(
        chart,
        "bias",
        caption="Mean error of each estimator as a share of the truth; bars hold 95 % of the single "
        f"measurements of every shape. Every cloud is turned at random. Largest mean: {found}.",
        alt=f"Four panels of relative errors by sample size and noise. Largest mean: {found}.",
    )


def _bias_panel(own: pd.DataFrame, colour: alt.Color) -> alt.LayerChart:
    order, names = (list(dict.fromkeys(own[column])) for column in ("at", "name"))
    axis = alt.Axis(labelAngle=0, ticks=False, domain=False)
    title = "points" if own["factor"].iloc[0] == "sample size" else "noise, a direction"
    x = alt.X("at:O", sort=order, title=title, axis=axis)
    base = alt.Chart(own[["at", "name", "bias", "low", "high"]]).encode(
        x=x, xOffset=alt.XOffset("name:N").scale(domain=names, padding=0.5), color=colour
    )
    tips = ["name:N", "at:O", *(alt.Tooltip(f"{c}:Q", format="+.1%") for c in ("bias", "low", "high"))]
    y = alt.Y("bias:Q", title=None, axis=alt.Axis(format="+.0%", tickCount=5))
    zero = (
        alt.Chart(pd.DataFrame({"bias": [0.0]})).mark_rule(strokeDash=[3, 3], opacity=0.6).encode(y="bias:Q")
    )
    bars = base.mark_rule(strokeWidth=3, opacity=0.45).encode(y=alt.Y("low:Q", title=None), y2="high:Q")
    points = base.mark_circle(size=45, opacity=1).encode(y=y, tooltip=tips)
    return (zero + bars + points).properties(width=235, height=130)


def fig_responses(table: pd.DataFrame, ratios: pd.DataFrame) -> alt.TopLevelMixin:
    """How the paper's summaries answer to curvature and to four things that are none, each on a scale."""
    factors = {
        "curvature": "curvature (bend)", "dimension": "dimension, flat", "noise": "noise, flat",
        "spectrum": "spectral decay, flat", "clusters": "clusters, flat",
    }  # fmt: skip
    top = table.groupby("estimator")["value"].transform("max")
    drawn = table.assign(share=table["value"] / top, summary=table["estimator"].map(SYMBOLS))
    scale = alt.Scale(domain=[SYMBOLS[s] for s in SUMMARIES], range=COLOURS[:4])
    panels = []
    for i, (factor, title) in enumerate(factors.items()):
        rows = drawn[drawn["factor"] == factor][["level", "share", "summary", "value", "gaussian"]]
        x = alt.X("level:Q", title=title)
        x = x.scale(type="log", nice=False) if factor == "clusters" else x.scale(nice=False)
        x = x.axis(grid=False, values=sorted(rows["level"].unique()), labelOverlap="greedy", format="~g")
        axis = alt.Axis(format=".0%", labels=i % 3 == 0, ticks=i % 3 == 0)
        y = alt.Y("share:Q", title="share of its largest" if i % 3 == 0 else None, axis=axis).scale(
            domain=[0, 1.02]
        )
        colour = alt.Color(
            "summary:N", scale=scale, title=None, legend=alt.Legend(orient="bottom") if i == 0 else None
        )
        tips = ["summary:N", "level:Q", *(alt.Tooltip(f"{c}:Q", format=".3f") for c in ("value", "gaussian"))]
        line = alt.Chart(rows).mark_line(point={"size": 30}).encode(x=x, y=y, color=colour, tooltip=tips)
        panels.append(line.properties(width=158, height=140))
    chart = alt.vconcat(
        alt.hconcat(*panels[:3], spacing=14), alt.hconcat(*panels[3:], spacing=14), spacing=12
    )
    chart = chart.resolve_scale(color="shared")
    by = ratios.set_index("estimator")
    found = ", ".join(
        f"{SYMBOLS[e]} {by.loc[e, 'ratio']:.2f} (most by {by.loc[e, 'other']})" for e in SUMMARIES
    )
    return theme.finish(
        chart,
        "responses",
        caption="One thing changes at a time, and only in the first panel is it curvature. Range over "
        "curvature divided by "
        f"the largest range over anything else: {found}. A measure of curvature would be far above one.",
        alt="Five panels of the four summaries against one factor each. Range over curvature by largest "
        f"other: {found}.",
    )


def fig_shortfall(table: pd.DataFrame) -> alt.TopLevelMixin:
    """Both summaries against the dimensions that the tangent space lacks: solid flat, dashed bent."""
    panels = [_shortfall_panel(table[table["estimator"] == name], name) for name in PROXIES]
    chart = alt.hconcat(*panels, spacing=24).resolve_scale(color="shared", strokeDash="shared")
    read = table.assign(flat=table["bend"] == 0).groupby(["estimator", "missing", "flat"])["value"].mean()
    lacking = sorted(set(table["missing"]))[1]
    found = "; ".join(
        f"{SYMBOLS[e]}: bending adds {read[e, 0, False] - read[e, 0, True]:.3f}, "
        f"{'one dimension' if lacking == 1 else f'{lacking} dimensions'} too few "
        f"{read[e, lacking, True] - read[e, 0, True]:.3f}"
        for e in PROXIES
    )
    return theme.finish(
        chart,
        "shortfall",
        caption="The two curvature summaries of graphs of quadratics, flat (solid) and bent (dashed), by how "
        "many dimensions the tangent space lacks; a line for each true dimension, bars hold 95 % of single "
        f"measurements. Means over dimensions: {found}.",
        alt=f"Two panels of curvature summaries against missing tangent dimensions. {found}.",
    )


def _shortfall_panel(own: pd.DataFrame, name: str) -> alt.LayerChart:
    ds = sorted(own["d"].unique())
    own = own.assign(shape=own["bend"].map(lambda b: "bent" if b else "flat"))
    colour = alt.Color(
        "d:N", scale=alt.Scale(domain=ds, range=COLOURS[: len(ds)]),
        legend=alt.Legend(title="true dimension", orient="bottom", symbolOpacity=1),
    )  # fmt: skip
    dash = alt.StrokeDash(
        "shape:N", scale=alt.Scale(domain=["flat", "bent"], range=[[1, 0], [4, 3]]), legend=None
    )
    x = alt.X("missing:Q", title="true less tangent dimension").axis(grid=False, format="d")
    y = alt.Y("value:Q", title=None)
    base = alt.Chart(own.drop(columns=["estimator", "bend"])).encode(x=x, color=colour)
    tips = [
        "shape:N",
        "d:N",
        "tangent_dim:Q",
        *(alt.Tooltip(f"{c}:Q", format=".3f") for c in ("value", "low", "high")),
    ]
    line = base.mark_line(strokeWidth=1.8, point={"size": 14}).encode(y=y, strokeDash=dash, tooltip=tips)
    bars = base.mark_rule(opacity=0.3).encode(y=alt.Y("low:Q", title=None), y2="high:Q")
    return (bars + line).properties(width=245, height=190, title=WORDS[name])
