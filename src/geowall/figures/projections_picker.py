"""The picker of chapter 03: move a cluster, and see which architectures still find it, and how.

Everything is in the page, no kernel and no network: a place and an architecture are a row, and the field of
the best latent is a string of digits that the page unfolds.

>>> CELL
'split(datum.field, "")'
"""

from __future__ import annotations

import altair as alt
import pandas as pd

from geowall.figures import theme
from geowall.figures.projections import NAMES, colour, named
from geowall.projections.moved import EDGE, POINTS
from geowall.projections.scenes import Ring

CELL = 'split(datum.field, "")'
HERE = "datum.radius == picked_radius && datum.angle == picked_angle"
SIDE = 124


def fig_moved(table: pd.DataFrame) -> alt.TopLevelMixin:
    """The field of the best latent for the moved cluster, and how well every cluster is found."""
    radii, angles = (sorted(table[c].unique()) for c in ("radius", "angle"))
    start = {"radius": 0.5 if 0.5 in radii else radii[0], "angle": angles[0]}
    controls = [
        _radio("picked_radius", radii, start["radius"], "distance from the middle: "),
        _radio("picked_angle", angles, start["angle"], "direction, degrees: "),
    ]
    order = [a for a in NAMES if a in set(table["architecture"])]
    panels = [_panel(table[table["architecture"] == a]) for a in order]
    lost = table[table["f1"] < 0.9].groupby("architecture").size()
    places = table[table["architecture"] == order[0]].shape[0]
    listed = "; ".join(f"{NAMES[a]} {places - int(lost.get(a, 0))}" for a in order)
    return theme.finish(
        alt.vconcat(alt.hconcat(*panels, spacing=8), _bars(table, order), spacing=10).add_params(*controls),
        "moved",
        caption="Choose a place for the ringed cluster among five that stay. *Above:* the code of the latent "
        "that detects it best. *Below:* F1 of that latent (bar) and the mean for the other five (tick). Of "
        f"{places} places, the moved cluster is found with an F1 above nine tenths at: {listed}.",
        alt=f"Interactive chart: {len(radii)} distances and {len(angles)} directions of a cluster, the "
        f"receptive field of its best latent and its F1 for {len(order)} architectures. Found at: {listed}.",
    )


def _radio(name: str, options: list[float], value: float, title: str) -> alt.Parameter:
    return alt.param(name=name, value=value, bind=alt.binding_radio(options=options, name=title))


def _panel(part: pd.DataFrame) -> alt.LayerChart:
    step = 2.0 * EDGE / (POINTS - 1)
    span = alt.Scale(domain=[-EDGE - step / 2, EDGE + step / 2], nice=False)
    x, y = alt.X("x:Q", axis=None, scale=span), alt.Y("y:Q", axis=None, scale=span)
    here = alt.Chart(part[["radius", "angle", "field"]]).transform_filter(HERE)
    cells = (
        here.transform_calculate(cell=CELL, place=f"sequence(0, {POINTS**2})")
        .transform_flatten(["cell", "place"])
        .transform_calculate(
            x=f"{-EDGE} + {step} * (datum.place % {POINTS})",
            y=f"{-EDGE} + {step} * floor(datum.place / {POINTS})",
            code="toNumber(datum.cell) / 9",
        )
    )
    shade = alt.Color("code:Q", legend=None).scale(scheme=theme.SEQUENCE, domain=[0, 1])
    told = [alt.Tooltip(f"{name}:Q", format=".2f") for name in ("x", "y", "code")]
    squares = cells.mark_square(size=(SIDE / POINTS + 0.9) ** 2, opacity=1)
    squares = squares.encode(x=x, y=y, color=shade, tooltip=told)
    stay = pd.DataFrame(Ring().centres[1:].numpy(), columns=["x", "y"])
    spots = alt.Chart(stay).mark_circle(size=60, color="#ffffff", opacity=0.9).encode(x=x, y=y)
    ring = here.transform_calculate(
        x="datum.radius * cos(datum.angle * PI / 180)", y="datum.radius * sin(datum.angle * PI / 180)"
    )
    moved = ring.mark_point(size=150, strokeWidth=3, color="#ffffff", opacity=1).encode(x=x, y=y)
    title = NAMES[part["architecture"].iloc[0]]
    return alt.layer(squares, spots, moved).properties(width=SIDE, height=SIDE, title=title)


def _bars(table: pd.DataFrame, order: list[str]) -> alt.LayerChart:
    drawn = named(table.drop(columns="field"))
    here = alt.Chart(drawn).transform_filter(HERE)
    y = alt.Y("autoencoder:N", sort=[NAMES[a] for a in order], title=None).axis(ticks=False, domain=False)
    x = alt.X("f1:Q", title="F1 of the best latent").scale(domain=[0, 1.0], nice=False).axis(format=".1f")
    tooltip = [alt.Tooltip(f"{c}:Q", format=".3f") for c in ("f1", "f1_others")]
    bars = here.mark_bar(height=14).encode(x=x, y=y, color=colour(drawn), tooltip=tooltip)
    ticks = here.mark_tick(thickness=2.5, size=20, color="currentColor").encode(x="f1_others:Q", y=y)
    words = here.mark_text(align="left", fontWeight=600, color="#ffffff")
    words = words.encode(x=alt.value(6), y=y, text=alt.Text("f1:Q", format=".2f"))
    return alt.layer(bars, ticks, words).properties(width=420, height=24 * len(order))
