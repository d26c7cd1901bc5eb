"""The picker of chapter 02: a dimension, a thickness, an autoencoder, and what training made of them.

Everything is in the page, no kernel and no network: the panels filter their rows by the reader's choice.

>>> choices([3, 4, 6, 8], most=3)
[3, 6, 8]
"""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import numpy as np
import pandas as pd

from geowall.figures import theme
from geowall.figures.hyperspheres import COLOURS, LATENTS, fires, labelled
from geowall.sae.curves import best

PICKED = "datum.d == picked_d && datum.autoencoder == picked_autoencoder"
HERE = f"{PICKED} && datum.thickness == picked_thickness"


def choices(values: Sequence[float], most: int) -> list[float]:
    """At most ``most`` of the sorted values, evenly spread, ends included."""
    known = sorted(set(values))
    places = np.unique(np.rint(np.linspace(0, len(known) - 1, min(most, len(known)))).astype(int))
    return [known[i] for i in places]


def fig_picker(curves: pd.DataFrame, angles: pd.DataFrame, fields: pd.DataFrame) -> alt.TopLevelMixin:
    """L(n), the angles in the dictionary and the firing field for the reader's choice of three."""
    ds = choices(curves.loc[curves["architecture"] == "topk", "d"], 3)
    thicknesses = choices(curves["thickness"], 4)
    tables = [_chosen(table, ds, thicknesses) for table in (best(curves), angles, fields)]
    names = [name for name in COLOURS if name in set(tables[0]["autoencoder"])]
    controls = [
        _radio("picked_d", ds, ds[-1], "dimensions d: "),
        _radio("picked_thickness", thicknesses, thicknesses[-1], "half thickness of the shell: "),
        _radio("picked_autoencoder", names, names[0], "autoencoder: "),
    ]
    panels = [
        _curve(tables[0]) + _missing(tables[0], ds, thicknesses, names),
        _angles(tables[1]),
        _field(tables[2]),
    ]
    chart = alt.hconcat(*panels, spacing=12).add_params(*controls).resolve_scale(color="independent")
    n = int(fields["n_latents"].iloc[0])
    return theme.finish(
        chart,
        "picker",
        caption="Choose. *Left:* L(n) at the chosen thickness (thick, with the range of seeds) among the "
        f"others (thin). *Middle:* angles between all pairs of live latents in a dictionary of {n}; a signed "
        "basis has them at 90° and 180° only. *Right:* share of tokens on which a latent fires, by their "
        "angle from its direction and their radius.",
        alt=f"Interactive chart: loss against latents, angles between {n} decoder directions, and firing by "
        f"angle and radius, for {len(ds)} dimensions, {len(thicknesses)} thicknesses and {len(names)} "
        "autoencoders.",
    )


def _chosen(table: pd.DataFrame, ds: list, thicknesses: list) -> pd.DataFrame:
    return labelled(table[table["d"].isin(ds) & table["thickness"].isin(thicknesses)])


def _radio(name: str, options: list, value: object, title: str) -> alt.Parameter:
    return alt.param(name=name, value=value, bind=alt.binding_radio(options=options, name=title))


def _curve(table: pd.DataFrame) -> alt.LayerChart:
    x = alt.X("n_latents:Q", title=LATENTS).scale(type="log", base=2, nice=False)
    x = x.axis(values=[2, 8, 32, 128, 512, 2048, 8192], format="~s", grid=False)
    y = alt.Y("loss:Q", title="loss L(n)").scale(type="log", nice=False)
    y = y.axis(values=[0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0], format="~g")
    base = alt.Chart(table).transform_filter(PICKED).encode(x=x)
    here = base.transform_filter("datum.thickness == picked_thickness")
    tooltip = [
        alt.Tooltip("n_latents:Q", title="latents"),
        *[alt.Tooltip(f"{column}:Q", format=".4f") for column in ("loss", "median", "worst")],
    ]
    others = base.mark_line(strokeWidth=1, opacity=0.6, color=theme.GREY).encode(y=y, detail="thickness:N")
    band = here.mark_area(opacity=0.25, color=theme.ORANGE).encode(y=y, y2="worst:Q")
    line = here.mark_line(strokeWidth=2.5, color=theme.ORANGE).encode(y=y)
    dots = here.mark_circle(size=34, opacity=1, color=theme.ORANGE).encode(y=y, tooltip=tooltip)
    return alt.layer(others, band, line, dots).properties(width=148, height=190, title="Loss")


def _missing(table: pd.DataFrame, ds: list, thicknesses: list, names: list[str]) -> alt.Chart:
    """Say so where the reader's choice was not trained."""
    there = set(zip(table["d"], table["thickness"], table["autoencoder"], strict=True))
    every = [(float(d), float(t), name) for d in ds for t in thicknesses for name in names]
    lacking = [choice for choice in every if choice not in there]
    rows = pd.DataFrame(lacking, columns=["d", "thickness", "autoencoder"]).assign(words="not trained here")
    text = alt.Chart(rows).transform_filter(HERE).mark_text(fontSize=12)
    return text.encode(x=alt.value(74), y=alt.value(90), text="words:N")


def _angles(table: pd.DataFrame) -> alt.Chart:
    x = alt.X("angle:Q", title="degrees between latents").scale(domain=[0, 180], nice=False)
    x = x.axis(values=[0, 45, 90, 135, 180], grid=False)
    tooltip = [
        alt.Tooltip("angle:Q", title="degrees"),
        alt.Tooltip("share:Q", title="share of pairs", format=".1%"),
        alt.Tooltip("live:Q", title="live latents"),
    ]
    here = alt.Chart(table).transform_filter(HERE)
    y = alt.Y("share:Q", title=None).axis(format=".0%", tickCount=4)
    bars = here.mark_bar(color=theme.BLUE, width=7).encode(x=x, y=y, tooltip=tooltip)
    live = here.transform_aggregate(live="max(live)").transform_calculate(words="datum.live + ' live'")
    words = live.mark_text(align="left", fontSize=11).encode(x=alt.value(4), y=alt.value(8), text="words:N")
    return (bars + words).properties(width=132, height=190, title="Dictionary")


def _field(table: pd.DataFrame) -> alt.Chart:
    tooltip = [
        alt.Tooltip("angle:Q", title="degrees"),
        alt.Tooltip("radius:Q"),
        alt.Tooltip("fires:Q", format=".0%"),
    ]
    here = alt.Chart(table).transform_filter(HERE)
    x = alt.X("angle:O", title="degrees from a latent")
    x = x.axis(values=[0, 45, 90, 135, 180], labelAngle=0, ticks=False)
    y = alt.Y("radius:O", title="radius", sort="descending").axis(ticks=False, format=".2~f")
    cells = here.mark_rect().encode(x=x, y=y, color=fires(), tooltip=tooltip)
    return cells.properties(width=140, height=190, title="Where a latent fires")
