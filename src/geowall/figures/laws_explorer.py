"""The explorer of chapter 07: choose a grid, a layer and a sparsity; see points, laws, floor and interval.

The page holds the parameters of every fit and draws the curves itself, with no kernel and no network.

>>> "log_a" in CURVE
True
"""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd

from geowall.figures import theme
from geowall.figures.laws import filled_or_open, log_widths, with_series
from geowall.figures.marks import spoken

HERE = "datum.series == picked_grid && datum.layer == picked_layer && datum.k == picked_k"
CURVE = "exp(datum.log_a - datum.alpha_width * log(datum.n)) + datum.floor"
STRAIGHT = "exp(datum.log_line - datum.alpha_line * log(datum.n))"
STEPS = 40
PAPER_K = 50.0  # at which the paper draws its points


def fig_explorer(
    cells: pd.DataFrame, showcase: pd.DataFrame, floors: pd.DataFrame, k: float
) -> alt.TopLevelMixin:
    """Points and fits of one layer at one sparsity under the reader's hands, starting at ``k``.

    ``showcase`` has the published points; those that the paper dropped are drawn open, as cells beyond their
    checkpoints are.
    """
    shown = showcase[showcase["k"] == PAPER_K].assign(fitted=showcase["kept"])
    shown = pd.concat([cells.assign(fitted=~cells["extrapolated"]), shown])
    points = with_series(shown)[["series", "layer", "k", "d_sae", "nmse", "fitted"]]
    fits = _fits(with_series(floors), points)
    grids = sorted(points["series"].unique(), key=lambda name: (", " in name, name))
    first = "lab-small" if "lab-small" in grids else grids[0]
    middle = int(points.loc[points["series"] == first, "layer"].median())
    ks = sorted(points["k"].unique().tolist())
    controls = [
        alt.param(name="picked_grid", value=first, bind=alt.binding_select(options=grids, name="grid: ")),
        alt.param(
            name="picked_layer", value=middle,
            bind=alt.binding_range(min=0, max=int(points["layer"].max()), step=1, name="layer: "),
        ),
        alt.param(
            name="picked_k", value=float(k), bind=alt.binding_select(options=ks, name="active latents k: ")
        ),
    ]  # fmt: skip
    chart = _panel(points, fits).add_params(*controls)
    n = len(fits)
    return theme.finish(
        chart,
        "law-explorer",
        caption=f"Choose one of {n} fits, of the lab or of the paper's six curves (at {PAPER_K:g} active "
        "latents). Points: error at each width (open where it is not fitted: the sparsity is beyond its "
        "checkpoints, or the paper's filter dropped it). Solid: the law with a floor; dashed: the straight "
        "law; band: 95 % profile interval of the floor.",
        alt=f"Interactive chart with controls for grid, layer and sparsity over {n} fits: error against "
        f"width on "
        "logarithmic axes, a curve with a floor, a straight law, and the band of the floor's interval.",
    )


def _fits(floors: pd.DataFrame, points: pd.DataFrame) -> pd.DataFrame:
    """Add to each law with a floor the straight law through the same widths."""
    made = []
    for row in floors.to_dict("records"):
        same = (
            (points["series"] == row["series"])
            & (points["layer"] == row["layer"])
            & (points["k"] == row["k"])
        )
        own = points[same & points["fitted"]]
        slope, level = np.polyfit(np.log(own["d_sae"]), np.log(own["nmse"]), 1)
        made.append({"log_line": level, "alpha_line": -slope})
    columns = [
        "series",
        "layer",
        "k",
        "log_a",
        "alpha_width",
        "floor",
        "low",
        "high",
        "narrow",
        "wide",
        "dof",
    ]
    return pd.concat([floors[columns].reset_index(drop=True), pd.DataFrame(made)], axis=1).round(5)


def _panel(points: pd.DataFrame, fits: pd.DataFrame) -> alt.LayerChart:
    x = alt.X("n:Q", title="latents in the dictionary").scale(type="log", nice=False, padding=6)
    x = x.axis(log_widths(points["d_sae"]))
    y = alt.Y("error:Q", title="error (NMSE)").scale(type="log", nice=False, padding=6)
    y = y.axis(values=[0.01, 0.015, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.4], format="~g")
    here = alt.Chart(fits).transform_filter(HERE)
    grown = here.transform_calculate(step=f"sequence(0, {STEPS + 1})").transform_flatten(["step"])
    ends = f"log(datum.narrow / 1.3) + datum.step * log(3.9 * datum.wide / datum.narrow) / {STEPS}"
    grown = grown.transform_calculate(n=f"exp({ends})")
    law = grown.transform_calculate(error=CURVE).mark_line(strokeWidth=2.2, color=theme.BLUE).encode(x=x, y=y)
    line = grown.transform_calculate(error=STRAIGHT).mark_line(
        strokeWidth=1.4, strokeDash=[5, 4], color=theme.GREY
    )
    band = here.transform_calculate(error="max(datum.low, 0.5 * datum.floor)")
    band = band.mark_rect(color=theme.BLUE, opacity=0.3)
    band = band.encode(y=y, y2="high:Q")
    dots = alt.Chart(points).transform_filter(HERE).transform_calculate(n="datum.d_sae", error="datum.nmse")
    hover = [alt.Tooltip("d_sae:Q", title="width", format=","), alt.Tooltip("nmse:Q", format=".4f")]
    hover.append("fitted:N")
    orange = alt.value(theme.ORANGE)
    dots = filled_or_open(dots, "datum.fitted", 60, x=x, y=y, color=orange, tooltip=hover)
    return alt.layer(band, line.encode(x=x, y=y), law, *dots, *_words(here), _missing(fits)).properties(
        width=520, height=270
    )


def _words(here: alt.Chart) -> list[alt.Chart]:
    lines = [
        "'floor ' + format(datum.floor, '.3f') + ' (' + format(datum.low, '.3f') + ' to '"
        " + format(datum.high, '.3f') + ')'",
        "'exponent with it ' + format(datum.alpha_width, '.2f') + ', straight ' + "
        "format(datum.alpha_line, '.2f')",
        "datum.low > 0 ? 'zero is outside the interval' : 'zero is inside the interval'",
        "datum.dof == 0 ? 'three widths: exactly determined' : ''",
    ]
    return [
        here.transform_calculate(words=line)
        .mark_text(align="right", baseline="top", fontSize=12, fontWeight=600 if i == 0 else 400)
        .encode(x=alt.value(512), y=alt.value(6 + 17 * i), text="words:N")
        for i, line in enumerate(lines)
    ]


def _missing(fits: pd.DataFrame) -> alt.Chart:
    """Say so where the reader's choice has no fit, and which layers have one."""
    made = []
    for series, own in fits.groupby("series", sort=False):
        there = "".join(f"|{layer}@{k:g}" for layer, k in zip(own["layer"], own["k"], strict=True))
        layers = sorted(set(own["layer"]))
        # a run of layers by its ends
        named = f"{layers[0]} to {layers[-1]}" if len(layers) > 3 else spoken([str(n) for n in layers])
        ks = ", ".join(f"{k:g}" for k in sorted(set(own["k"])))
        made.append({"series": series, "there": there + "|", "words": f"fits: layers {named}, k = {ks}"})
    mine = "indexof(datum.there, '|' + picked_layer + '@' + picked_k + '|') < 0"
    text = alt.Chart(pd.DataFrame(made)).transform_filter(f"datum.series == picked_grid && {mine}")
    return text.mark_text(fontSize=13).encode(x=alt.value(260), y=alt.value(120), text="words:N")
