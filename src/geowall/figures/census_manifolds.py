"""The figures of chapter 05 on what is known of tokens: classes, coordinates, and manifolds by themselves.

>>> SETTINGS["curve"]
'the curve alone'
"""

from __future__ import annotations

import altair as alt
import pandas as pd

from geowall.figures import theme
from geowall.figures.census import _named, by_width, decades, log_error, power_axis

NAMES = {
    "column": "position in the line",
    "indentation": "indentation depth",
    "bracket": "bracket depth",
    "position": "position in the context",
}
SETTINGS = {"curve": "the curve alone", "tokens": "its tokens", "gaussian": "a Gaussian of their covariance"}
SHADES = {"curve": theme.GREEN, "tokens": theme.BLUE, "gaussian": theme.GREY}
RULES = {"relu": "ReLU", "topk": "TopK"}
LEAST = 1e-3  # of a loss that is drawn: below it a handful of points have a latent each


def fig_classes(labels: pd.DataFrame, layers: list[int]) -> alt.TopLevelMixin:
    """Error by class of token at a few layers, a dot a width (the middle sparsity)."""
    table = _middle(labels[(labels["label"] == "token_class") & labels["layer"].isin(layers)])
    table = _named(table).assign(panel="layer " + table["layer"].astype(str))
    table = table.assign(low=table["nmse"] - 2 * table["nmse_se"], high=table["nmse"] + 2 * table["nmse_se"])
    order = table.groupby("value")["nmse"].mean().sort_values().index.tolist()
    y = alt.Y("value:N", title=None, sort=order).axis(ticks=False, labelPadding=6)
    base = alt.Chart(table).encode(y=y, color=by_width(table))
    x = alt.X("nmse:Q", title="error (NMSE)").scale(zero=False).axis(tickCount=4)
    tips = [
        "value:N",
        "width_name:N",
        alt.Tooltip("nmse:Q", format=".3f"),
        alt.Tooltip("tokens:Q", format=","),
    ]
    dots = base.mark_circle(size=56, opacity=1).encode(x=x, tooltip=tips)
    bars = base.mark_rule(strokeWidth=3, opacity=0.4).encode(x=alt.X("low:Q"), x2="high:Q")
    width = {1: 430, 2: 205}.get(len(layers), 134)
    chart = (bars + dots).properties(width=width, height=24 * len(order))
    wide = table[table["d_sae"] == table["d_sae"].max()]
    mean = wide.groupby("value")["nmse"].mean()
    ends = [f"{value:.3f} ({name})" for name, value in mean.sort_values().iloc[[0, -1]].items()]
    said = f"With the widest dictionary, from {ends[0]} to {ends[1]}."
    panels = ["layer " + str(layer) for layer in layers]
    return theme.finish(
        chart.facet(facet=alt.Facet("panel:N", title=None, sort=panels), columns=3),
        "classes",
        caption=f"Error by class of token, with two standard errors. {said}",
        alt=f"Dot plot of error by token class, a panel a layer, a dot a width. {said}",
    )


def _middle(table: pd.DataFrame) -> pd.DataFrame:
    """The middle sparsity of every layer and width."""
    own = table.groupby(["layer", "d_sae"])["nominal_l0"]
    return table[table["nominal_l0"] == own.transform(lambda v: sorted(set(v))[len(set(v)) // 2])]


def fig_coordinates(labels: pd.DataFrame, layer: int) -> alt.TopLevelMixin:
    """Error along every known coordinate at one layer, a line a width."""
    table = _middle(labels[(labels["layer"] == layer) & labels["label"].isin(NAMES)])
    table = _named(table).assign(at=table["value"].astype(float), panel=table["label"].map(NAMES))
    table = table.assign(low=table["nmse"] - 2 * table["nmse_se"], high=table["nmse"] + 2 * table["nmse_se"])
    base = alt.Chart(table).encode(
        x=alt.X("at:Q", title=None).axis(grid=False, tickCount=4, tickMinStep=1), color=by_width(table)
    )
    tips = [
        "panel:N",
        "at:Q",
        "width_name:N",
        alt.Tooltip("nmse:Q", format=".3f"),
        alt.Tooltip("tokens:Q", format=","),
    ]
    y = alt.Y("nmse:Q", title="error (NMSE)").scale(zero=False)
    band = base.mark_area(opacity=0.18).encode(y=alt.Y("low:Q", title="error (NMSE)"), y2="high:Q")
    line = base.mark_line(strokeWidth=1.6).encode(y=y)
    chart = (band + line + base.mark_circle(size=22, opacity=1).encode(y=y, tooltip=tips)).properties(
        width=226, height=140
    )
    swing = table[table["d_sae"] == table["d_sae"].max()].groupby("panel")["nmse"].agg(["min", "max"])
    listed = "; ".join(f"{name} {r['min']:.3f} to {r['max']:.3f}" for name, r in swing.iterrows())
    panels = chart.facet(facet=alt.Facet("panel:N", title=None, sort=list(NAMES.values())), columns=2)
    return theme.finish(
        panels.resolve_scale(x="independent"),
        "coordinates",
        caption=f"Error along four coordinates of a token, layer {layer}, with two standard errors. With "
        f"the widest "
        f"dictionary: {listed}.",
        alt=f"Four panels of error along a coordinate, a line a width. Widest: {listed}.",
    )


def fig_manifold_loss(losses: pd.DataFrame, exponents: pd.DataFrame, layer: int) -> alt.TopLevelMixin:
    """L_i(n) of manifolds alone: the curve, its tokens, a Gaussian; a row a kind of autoencoder."""
    table = losses[(losses["layer"] == layer) & losses["setting"].isin(SETTINGS)]
    table = table.assign(panel=table["manifold"].map(NAMES), row=table["architecture"].map(RULES))
    table["what"], table["drawn"] = table["setting"].map(SETTINGS), table["loss"].clip(lower=LEAST)
    shown = table["loss"] >= LEAST  # below, a logarithm's interval says nothing
    table["least"], table["most"] = (table[end].clip(lower=LEAST).where(shown) for end in ("low", "high"))
    scale = alt.Scale(domain=list(SETTINGS.values()), range=[SHADES[s] for s in SETTINGS])
    x = alt.X("n_latents:Q", title="n, latents").scale(type="log", base=2, nice=False, padding=8)
    x = x.axis(power_axis(table["n_latents"], labelOverlap=True))
    y = alt.Y("drawn:Q", title="loss, share of variance").scale(type="log", nice=False, padding=6)
    y = y.axis(format="~g", values=[*decades(table["drawn"]), 0.3, 0.03])
    tips = ["panel:N", "what:N", "n_latents:Q", alt.Tooltip("loss:Q", format=".4f")]
    hue = alt.Color("what:N", title=None, scale=scale, legend=alt.Legend(symbolOpacity=1))
    base = alt.Chart().encode(x=x, y=y, color=hue)
    line, dots = base.mark_line(strokeWidth=1.6), base.mark_circle(size=30, opacity=1).encode(tooltip=tips)
    ends = alt.Y("least:Q", title="loss, share of variance").scale(type="log", nice=False, padding=6)
    bars = alt.Chart().mark_rule(strokeWidth=3, opacity=0.35).encode(x=x, y=ends, y2="most:Q", color=hue)
    rows = []
    for architecture, name in RULES.items():
        own = table[table["architecture"] == architecture]
        if len(own):
            panel = alt.layer(bars, line, dots, data=own).properties(width=154, height=150)
            facet = alt.Facet("panel:N", title=name, sort=list(NAMES.values()))
            rows.append(panel.facet(facet=facet, columns=3))
    fits = exponents[exponents["layer"] == layer].set_index(["architecture", "manifold", "setting"])["beta"]
    listed = "; ".join(
        f"{RULES[a]}, {NAMES[m]} {fits[a, m, 'tokens']:.2f} (Gaussian {fits[a, m, 'gaussian']:.2f})"
        for a, m in dict.fromkeys((a, m) for a, m, s in fits.index if s == "tokens")
    )
    return theme.finish(
        alt.vconcat(*rows, spacing=12),
        "manifold-loss",
        caption=f"Loss of small autoencoders that see one manifold of layer {layer} and nothing else, "
        f"the better of two trainings, with 95 % intervals over documents and trainings. "
        f"Exponents of the tokens' curves: {listed}.",
        alt=f"Loss against latents in panels by autoencoder and manifold. Exponents: {listed}.",
    )


def fig_in_dictionary(losses: pd.DataFrame, layer: int) -> alt.TopLevelMixin:
    """What a trained dictionary spends on a manifold, and what error it leaves there."""
    table = losses[(losses["layer"] == layer) & (losses["setting"] == "in the dictionary")]
    l0 = table.groupby("d_sae")["l0"].transform(lambda v: sorted(set(v))[len(set(v)) // 2])
    table = table[table["l0"] == l0].assign(panel=lambda t: t["manifold"].map(NAMES))
    names = [name for name in NAMES.values() if name in set(table["panel"])]
    scale = alt.Scale(domain=names, range=theme.CATEGORY[: len(names)])
    x = alt.X("d_sae:Q", title="N, latents in the dictionary").scale(
        type="log", base=2, nice=False, padding=12
    )
    base = alt.Chart(table).encode(
        x=x.axis(power_axis(table["d_sae"])), color=alt.Color("panel:N", title=None, scale=scale)
    )
    tips = ["panel:N", alt.Tooltip("d_sae:Q", format=","), "n_latents:Q", alt.Tooltip("loss:Q", format=".3f")]
    tuned = base.encode(y=alt.Y("n_latents:Q", title="latents tuned to it").scale(type="symlog"))
    loss = base.encode(y=log_error(table, "loss", "error in its subspace"))
    bars = base.mark_rule(strokeWidth=3, opacity=0.4).encode(
        y=alt.Y("low:Q", title="error in its subspace"), y2="high:Q"
    )
    dot = {"size": 50, "opacity": 1}
    left = tuned.mark_line(strokeWidth=1.6) + tuned.mark_circle(**dot).encode(tooltip=tips)
    right = loss.mark_line(strokeWidth=1.6) + bars + loss.mark_circle(**dot).encode(tooltip=tips)
    widest = table[table["d_sae"] == table["d_sae"].max()]
    listed = "; ".join(f"{r.panel}: {r.n_latents} tuned, error {r.loss:.3f}" for r in widest.itertuples())
    chart = alt.hconcat(
        left.properties(width=226, height=220), right.properties(width=226, height=220), spacing=24
    )
    return theme.finish(
        chart,
        "in-dictionary",
        caption=f"The same manifolds inside trained dictionaries, layer {layer}: how many latents follow "
        f"the coordinate, "
        f"and the error left in its subspace over the variance there, with 95 % intervals. At the widest, "
        f"{listed}.",
        alt=f"Two panels against dictionary size: tuned latents, and error in the subspace. At the "
        f"widest, {listed}.",
    )
