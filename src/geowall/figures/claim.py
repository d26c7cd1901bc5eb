"""The book's claim in one picture, drawn from the published numbers each time the book is built.

Left, the wall: what a larger dictionary still buys at six layers. Right, the claim: how fast a layer's error
falls is written in the curvature of its activations.

>>> declutter([0.10, 0.101, 0.20], gap=0.05)
[0.0755, 0.1255, 0.2]
"""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import numpy as np
import pandas as pd

from geowall.figures import theme

SHORT = {"gemma-2-2b": "2B", "gemma-2-9b": "9B"}
THOUSANDS = "datum.value < 1e6 ? round(datum.value / 1024) + 'k' : '1M'"  # as checkpoints are named: 16k, 64k
K = 50  # active latents at which both panels are read


def fig_claim(layers: pd.DataFrame, showcase: pd.DataFrame) -> alt.TopLevelMixin:
    """Draw error against latents at the showcase layers beside exponent against curvature at all layers.

    ``layers`` has ``model, layer, kappa_ms, alpha_k50, nmse_l0_50_width_hi`` and ``showcase`` has ``model,
    layer, k, width, nmse, kept`` (the two published tables). A layer hovered in one panel is marked in both.
    """
    layers, curves = _layers(layers, showcase), _curves(showcase)
    hovers = [
        alt.selection_point(name=name, on="pointerover", fields=["where"], nearest=True)
        for name in ("wall_hover", "claim_hover")
    ]
    caption, description = _words(layers, curves)
    chart = alt.hconcat(_wall(curves, hovers), _claim(layers, hovers), spacing=20)
    return theme.finish(chart, "claim", caption=caption, alt=description)


def declutter(heights: Sequence[float], gap: float) -> list[float]:
    """Push labels apart until neighbours are ``gap`` from each other, moving each as little as possible."""
    order = np.argsort(heights)
    placed = np.asarray(heights, float)[order]
    for _ in range(100):
        short = gap - np.diff(placed)
        if (short <= 1e-9).all():
            break
        shift = np.clip(short, 0, None) / 2
        placed[:-1] -= shift
        placed[1:] += shift
    back = np.empty_like(placed)
    back[order] = placed
    return [round(float(h), 4) for h in back]


def _layers(layers: pd.DataFrame, showcase: pd.DataFrame) -> pd.DataFrame:
    table = layers[["model", "layer", "kappa_ms", "alpha_k50"]].copy()
    table["where"] = _where(table)
    table["saved"] = 1 - 2 ** -table["alpha_k50"]
    table["extrapolated"] = layers["nmse_l0_50_width_hi"].isna()  # no wide dictionary was measured at K
    table["drawn_left"] = table["where"].isin(_where(showcase))
    return table


def _curves(showcase: pd.DataFrame) -> pd.DataFrame:
    table = showcase[(showcase["k"] == K) & showcase["kept"].astype(bool)].copy()
    table["where"] = _where(table)
    return table.sort_values(["where", "width"])[["model", "layer", "where", "width", "nmse"]]


def _where(table: pd.DataFrame) -> pd.Series:
    return table["model"].map(SHORT) + " layer " + table["layer"].astype(str)


def _at_hand(hovers: list[alt.Parameter]) -> alt.Condition:
    """Full ink for the layer under the pointer in either panel, and for all when there is none."""
    return alt.when(hovers[0] & hovers[1]).then(alt.value(1)).otherwise(alt.value(0.25))


def _colour() -> alt.Color:
    domain = list(theme.MODEL_COLOURS)
    scale = alt.Scale(domain=domain, range=[theme.MODEL_COLOURS[model] for model in domain])
    return alt.Color("model:N", scale=scale, legend=None)


def _wall(curves: pd.DataFrame, hovers: list[alt.Parameter]) -> alt.LayerChart:
    ends = curves.groupby("where").tail(1).copy()
    ends["label_height"] = np.exp(declutter(np.log(ends["nmse"]), gap=0.062))
    ends["label_width"] = ends["width"] * 1.18
    tooltip = [
        alt.Tooltip("where:N", title="layer"),
        alt.Tooltip("width:Q", title="latents", format=","),
        alt.Tooltip("nmse:Q", title="error (NMSE)", format=".4f"),
    ]
    width = alt.X("width:Q", title="latents in the dictionary")
    width = width.scale(type="log", base=2, domain=[14_500, 5_000_000], nice=False)
    width = width.axis(values=[2**14, 2**16, 2**18, 2**20], labelExpr=THOUSANDS, grid=False)
    error = alt.Y("nmse:Q", title="error (NMSE)").scale(type="log", domain=[0.055, 0.19], nice=False)
    error = error.axis(values=[0.06, 0.08, 0.1, 0.12, 0.16], format=".2f", tickCount=5)
    base = alt.Chart(curves).encode(x=width, y=error, color=_colour(), detail="where:N")
    strong = _at_hand(hovers)
    lines = base.mark_line(strokeWidth=2).encode(opacity=strong)
    points = base.mark_circle(size=45).encode(opacity=strong, tooltip=tooltip).add_params(hovers[0])
    labels = alt.Chart(ends).mark_text(align="left", fontSize=11)
    labels = labels.encode(
        x="label_width:Q", y="label_height:Q", text="where:N", color=_colour(), opacity=strong
    )
    return (lines + points + labels).properties(width=245, height=270, title="More latents help, ever less")


def _claim(layers: pd.DataFrame, hovers: list[alt.Parameter]) -> alt.LayerChart:
    tooltip = [
        alt.Tooltip("where:N", title="layer"),
        alt.Tooltip("kappa_ms:Q", title="curvature", format=".3f"),
        alt.Tooltip("alpha_k50:Q", title="exponent", format=".3f"),
        alt.Tooltip("saved:Q", title="error saved by doubling", format=".1%"),
    ]
    curvature = alt.X("kappa_ms:Q", title="curvature of the layer's activations")
    curvature = curvature.scale(type="log", domain=[0.0018, 0.3], nice=False)
    curvature = curvature.axis(values=[0.003, 0.01, 0.03, 0.1, 0.3], format="~g", grid=False)
    exponent = alt.Y("alpha_k50:Q", title="width exponent α").scale(domain=[0, 0.72], nice=False)
    strong = _at_hand(hovers)
    base = alt.Chart(layers).encode(x=curvature, y=exponent, color=_colour())
    points = base.mark_point(size=38, strokeWidth=1.6).encode(
        opacity=strong,
        tooltip=tooltip,
        fill=alt.when("datum.extrapolated").then(alt.value("transparent")).otherwise(_colour()),
    )
    points = points.add_params(hovers[1])
    ringed = base.transform_filter("datum.drawn_left").mark_point(size=120, strokeWidth=1.5, filled=False)
    names = pd.DataFrame(
        {"model": list(SHORT), "text": [f"Gemma 2 {size}" for size in SHORT.values()], "height": [0.66, 0.61]}
    )
    key = alt.Chart(names).mark_text(align="right", fontWeight=600)
    key = key.encode(x=alt.value(212), y="height:Q", text="text:N", color=_colour())
    return (ringed + points + key).properties(
        width=215, height=270, title="… and curvature says how much less"
    )


def _words(layers: pd.DataFrame, curves: pd.DataFrame) -> tuple[str, str]:
    """Caption and text description, every number computed."""
    r = np.corrcoef(np.log(layers["kappa_ms"]), layers["alpha_k50"])[0, 1]
    shown_r = f"{r:.2f}".replace("-", "−")
    measured = layers[~layers["extrapolated"]]
    steep = measured.loc[measured["alpha_k50"].idxmax()]
    flat = measured.loc[measured["alpha_k50"].idxmin()]
    drop = {where: 1 - c["nmse"].iloc[-1] / c["nmse"].iloc[0] for where, c in curves.groupby("where")}
    caption = (
        f"The claim in one picture, from the published numbers of {len(layers)} layers of Gemma 2 at "
        f"{K} active latents {{cite:p}}`zaher2026`. "
        f"*Left:* the error of sparse autoencoders at {len(drop)} layers against the size of their "
        f"dictionary; the widest removes between {min(drop.values()):.0%} and {max(drop.values()):.0%} "
        "of the error of the narrowest. "
        "*Right:* each layer's width exponent $\\alpha$ (error falls as $n^{-\\alpha}$ with $n$ latents) "
        "against the curvature measured in its activations; rings mark the layers of the left panel, "
        f"and the {layers['extrapolated'].sum()} open marks are extrapolated, not measured. "
        f"Doubling the dictionary saves {steep['saved']:.0%} of the error at {steep['where']} and "
        f"{flat['saved']:.0%} at {flat['where']}; the correlation of $\\alpha$ with the logarithm of "
        f"curvature is {shown_r}."
    )
    description = (
        "Two panels. Left: reconstruction error against dictionary size on logarithmic axes for "
        f"{len(drop)} layers of Gemma 2 2B and 9B, all falling and flattening, from "
        f"{curves['nmse'].max():.3f} down to {curves['nmse'].min():.3f}. Right: width exponent against "
        f"curvature for {len(layers)} layers; exponents fall from {steep['alpha_k50']:.2f} at curvature "
        f"{steep['kappa_ms']:.3f} ({steep['where']}) to {flat['alpha_k50']:.2f} at curvature "
        f"{flat['kappa_ms']:.2f} ({flat['where']}), and the two models lie on nearly the same line."
    )
    return caption, description
