"""The circle drawn out: data, its image, the decoder's arrows, and an arc wherever a latent fires.

>>> lanes([(0.0, 1.0), (0.5, 1.5), (1.2, 2.0)])
[0, 1, 0]
"""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import numpy as np
import pandas as pd

from geowall.figures import theme

TAU = 2.0 * np.pi
FIRST, STEP, ROOM = 1.14, 0.085, 0.7  # innermost lane of arcs, between lanes at most, and all lanes
INK = [theme.BLUE, theme.ORANGE, theme.GREEN, theme.RED, theme.PURPLE]


def lanes(arcs: Sequence[tuple[float, float]]) -> list[int]:
    """The first lane in which each arc (start, end; radians, end above start) meets none placed before."""
    placed: list[list[tuple[float, float]]] = []
    chosen = []
    for arc in arcs:
        free = [number for number, lane in enumerate(placed) if not any(_meet(arc, other) for other in lane)]
        chosen.append(free[0] if free else len(placed))
        if not free:
            placed.append([])
        placed[chosen[-1]].append(arc)
    return chosen


def _meet(one: tuple[float, float], other: tuple[float, float]) -> bool:
    """Whether two arcs overlap, whole turns apart or not."""
    return any(one[0] <= other[1] + s and other[0] + s <= one[1] for s in (-TAU, 0.0, TAU))


def fig_circle(circle: pd.DataFrame, losses: pd.DataFrame) -> alt.TopLevelMixin:
    """A panel for each dictionary of the circle (tables of :mod:`geowall.sae.fields`)."""
    medians = losses.groupby("n_latents")["loss"].median()
    drawn = {n: _arcs(part) for n, part in circle.groupby("n_latents")}
    edge = max(arcs[["x", "y"]].abs().to_numpy().max() for arcs in drawn.values()) + STEP
    panels = [
        _panel(circle[circle["n_latents"] == n], arcs, edge, f"{n} latents: loss {medians[n]:.3f}")
        for n, arcs in drawn.items()
    ]
    widths = {n: np.rad2deg(arcs.groupby("latent")["turn"].agg(np.ptp).median()) for n, arcs in drawn.items()}
    listed = ", ".join(f"{w:.0f}° with {n}" for n, w in widths.items())
    return theme.finish(
        alt.hconcat(*panels, spacing=8),
        "circle",
        caption="ReLU autoencoders on the unit circle (thin grey), its image under them (thick grey), and "
        "the decoder directions (arrows). The arc of the same colour marks where a latent fires: "
        f"{listed} latents in the middle of their ranks. Losses are medians of the seeds.",
        alt=f"Circles with arrows and coloured arcs for {len(panels)} dictionaries. Median arc: {listed}.",
    )


def _arcs(part: pd.DataFrame) -> pd.DataFrame:
    """Points of each latent's arc in order, with its lane and colour; ``turn`` rises along the arc."""
    arrows = part[part["part"] == "arrow"].sort_values("angle")
    rows = []
    for latent in arrows["latent"]:
        angles = np.unique(part[(part["part"] == "arc") & (part["latent"] == latent)]["angle"] % TAU)
        if not len(angles):
            continue
        gaps = np.diff(angles, append=angles[0] + TAU)
        turn = np.unwrap(np.roll(angles, -1 - int(gaps.argmax())))
        rows.append((latent, turn[:: max(1, len(turn) // 30)] if len(turn) > 1 else turn))
    placed = lanes([(float(t[0]), float(t[-1])) for _, t in rows])
    made, step = [], min(STEP, ROOM / (1 + max(placed, default=0)))
    for order, ((latent, turn), lane) in enumerate(zip(rows, placed, strict=True)):
        at = FIRST + step * lane
        points = {
            "latent": latent,
            "lane": lane,
            "turn": turn,
            "x": at * np.cos(turn),
            "y": at * np.sin(turn),
        }
        made.append(pd.DataFrame(points).assign(colour=INK[order % len(INK)]))
    return pd.concat(made, ignore_index=True)


def _panel(part: pd.DataFrame, arcs: pd.DataFrame, edge: float, title: str) -> alt.LayerChart:
    span = alt.Scale(domain=[-edge, edge], nice=False)
    x, y = alt.X("x:Q", axis=None, scale=span), alt.Y("y:Q", axis=None, scale=span)
    turn = np.linspace(0.0, TAU, 91)
    data = alt.Chart(pd.DataFrame({"x": np.cos(turn), "y": np.sin(turn), "turn": turn}))
    image = alt.Chart(part[part["part"] == "reconstruction"][["x", "y", "angle"]].iloc[::2])
    colours = arcs.drop_duplicates("latent").set_index("latent")["colour"]
    arrows = part[part["part"] == "arrow"][["latent", "x", "y"]]
    arrows = arrows.assign(colour=arrows["latent"].map(colours).fillna(theme.GREY), zero=0.0)
    colour = alt.Color("colour:N", scale=None)
    stem = alt.Chart(arrows).encode(x=x, y=y, color=colour)
    return alt.layer(
        data.mark_line(color=theme.GREY, strokeWidth=1).encode(x=x, y=y, order="turn:Q"),
        image.mark_line(color=theme.GREY, strokeWidth=3, opacity=0.8).encode(x=x, y=y, order="angle:Q"),
        stem.mark_rule(strokeWidth=1.4).encode(
            x=alt.X("zero:Q", axis=None, scale=span), x2="x:Q", y=alt.Y("zero:Q", axis=None), y2="y:Q"
        ),
        stem.mark_circle(size=30, opacity=1).encode(tooltip=[alt.Tooltip("latent:N")]),
        alt.Chart(arcs)
        .mark_line(strokeWidth=2.4)
        .encode(x=x, y=y, order="turn:Q", detail="latent:N", color=colour),
    ).properties(width=190, height=190, title=title)
