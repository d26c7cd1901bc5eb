"""The figures of chapter 08 about choices of the analyst: clipping, whom a law is tried on, the metric.

>>> import pandas as pd
>>> sweep = pd.DataFrame({"model": "gemma-2-2b", "features": "kappa_ms", "clip_percentile": [0.0, 1.0]})
>>> fig_clipping(sweep.assign(loo_r2=[0.9, 0.95])).usermeta["name"]
'fig-clipping'
"""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import pandas as pd

from geowall.figures import theme
from geowall.figures.claim import declutter
from geowall.figures.marks import INTERVAL, colour, hypothesis, named, reach, short


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
