"""The figures of chapter 02 that test a reading: equal sparsity, better starts, close pairs, other shapes.

>>> lost = pd.Series([0.0, 1e-15, 0.25])
>>> visible(lost).tolist()
[0.0001, 0.0001, 0.25]
"""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import numpy as np
import pandas as pd

from geowall.figures import theme
from geowall.figures.hyperspheres import COLOURS, by_shape, labelled
from geowall.sae.curves import best

ERRORS = [1e-3, 0.6]  # shown
LEAST = 1e-4  # what merging loses, where less cannot be told from nothing
CLOSE = ["cosine", "cofiring", "rank", "radial_spread", "lost_merged", "lost_dropped"]


def visible(lost: pd.Series) -> pd.Series:
    """Losses for a logarithmic axis: none is drawn at its foot."""
    return lost.clip(lower=LEAST)


def fig_matched(sweep: pd.DataFrame, matched: pd.DataFrame, l0: float) -> alt.TopLevelMixin:
    """Error against L0, a line an architecture along its own penalty; a panel for sphere and shell."""
    table = labelled(sweep)
    by = ["manifold", "thickness", "autoencoder", "penalty"]
    points = table.groupby(by, sort=False)[["l0", "mse"]].median().reset_index()
    ends = table.groupby(by, sort=False)["mse"].agg(low="min", high="max").reset_index()
    points = points.merge(ends, on=by)
    panels = [
        _frontier(part, l0, shape == "sphere") for shape, part in points.groupby("manifold", sort=False)
    ]
    listed = _at(matched, l0)
    return theme.finish(
        alt.hconcat(*panels, spacing=12),
        "matched-l0",
        caption=f"Squared error against active latents, each architecture along its own penalty or k ("
        f"d = {int(sweep['d'].iloc[0])}, {int(sweep['n_latents'].iloc[0])} latents; median and range of "
        f"{sweep['seed'].nunique()} seeds). Dashed: {l0:g} active latents, where the errors are, {listed}.",
        alt=f"Two panels, error against active latents, a line an architecture. At {l0:g} active: {listed}.",
    )


def _at(matched: pd.DataFrame, l0: float) -> str:
    rows = labelled(matched[matched["l0"] == l0].assign(penalty=matched["kind"] + "="))
    parts = []
    for shape, part in rows.groupby("manifold", sort=False):
        values = part.sort_values("mse")
        parts.append(
            f"on the {shape}, " + ", ".join(f"{r.autoencoder} {r.mse:.3f}" for r in values.itertuples())
        )
    return "; ".join(parts)


def errors_at(matched: pd.DataFrame, autoencoder: str, l0: float) -> str:
    """What an autoencoder leaves of each manifold at ``l0`` active latents, in words that admit a gap.

    >>> row = {"architecture": "relu", "kind": "l1", "manifold": "sphere", "l0": 6.0, "mse": 0.07}
    >>> errors_at(pd.DataFrame([row]), "ReLU", 6), errors_at(pd.DataFrame([row]), "ReLU", 2)
    ('leaves 0.070 of the sphere', 'is not brought there by any of these penalties')
    """
    rows = labelled(matched[matched["l0"] == l0].assign(penalty=matched["kind"] + "="))
    rows = rows[rows["autoencoder"] == autoencoder]
    if rows.empty:
        return "is not brought there by any of these penalties"
    return "leaves " + " and ".join(f"{r.mse:.3f} of the {r.manifold}" for r in rows.itertuples())


def _frontier(points: pd.DataFrame, l0: float, first: bool) -> alt.LayerChart:
    colour = alt.Color("autoencoder:N", legend=None)
    colour = colour.scale(domain=list(COLOURS), range=list(COLOURS.values()))
    least = {name: points[name].clip(lower=ERRORS[0]) for name in ("mse", "low", "high")}
    points, axis = points.assign(**least), {"type": "log", "nice": False}
    x = alt.X("l0:Q", title="active latents, L0").scale(domain=[0.9, 18], **axis)
    x = x.axis(values=[1, 2, 3, 4, 6, 8, 12], grid=False)
    y = alt.Y("mse:Q", title="squared error" if first else None).scale(domain=ERRORS, **axis)
    y = y.axis(values=[0.001, 0.003, 0.01, 0.03, 0.1, 0.3], format="~g", labels=first)
    tooltip = [
        alt.Tooltip("autoencoder:N"),
        alt.Tooltip("penalty:N"),
        alt.Tooltip("l0:Q", format=".2f"),
        *[alt.Tooltip(f"{c}:Q", format=".4f") for c in ("mse", "low", "high")],
    ]
    base = alt.Chart(points).encode(x=x, color=colour)
    ends = alt.Y("low:Q", title=None).scale(domain=ERRORS, **axis)
    bars = base.mark_rule(strokeWidth=3, opacity=0.4).encode(y=ends, y2="high:Q")
    lines = base.mark_line(strokeWidth=1.8, point=alt.OverlayMarkDef(size=30)).encode(y=y, tooltip=tooltip)
    here = alt.Chart(pd.DataFrame({"l0": [l0]})).mark_rule(strokeDash=[4, 3], opacity=0.7).encode(x="l0:Q")
    title = points["thickness"].iloc[0]
    title = f"shell, radius 1 ± {title:g}" if title else "sphere"
    layers = [here, bars, lines, *([_key(points["autoencoder"].unique(), colour)] if first else [])]
    return alt.layer(*layers).properties(width=245, height=290, title=title)


def _key(names: Sequence[str], colour: alt.Color) -> alt.Chart:
    """The names of the lines, in the corner that no line can reach: few latents and a small error."""
    listed = [name for name in COLOURS if name in set(names)]
    rows = pd.DataFrame({"autoencoder": listed, "y": [284 - 16 * i for i in range(len(listed))][::-1]})
    text = alt.Chart(rows).mark_text(align="left", fontWeight=600, fontSize=11)
    at = alt.Y("y:Q", scale=None, axis=None)
    return text.encode(x=alt.value(8), y=at, text="autoencoder:N", color=colour)


def fig_restarts(gains: pd.DataFrame) -> alt.TopLevelMixin:
    """What an informed start saves of the loss: a row an autoencoder and manifold, a dot a width."""
    table = labelled(gains)
    table = table.assign(row=table["autoencoder"] + ", " + table["manifold"])
    order = list(dict.fromkeys(table.sort_values("autoencoder", ascending=False)["row"]))
    y = alt.Y("row:N", sort=order, title=None).axis(ticks=False, domain=False, labelLimit=200)
    x = alt.X("gain:Q", title="loss saved by the informed start").axis(format="+.0%", tickCount=6)
    tooltip = [
        alt.Tooltip("row:N", title="curve"),
        alt.Tooltip("n_latents:Q", title="latents"),
        *[alt.Tooltip(f"{c}:Q", format=".4f") for c in ("random", "informed")],
        alt.Tooltip("gain:Q", format="+.1%"),
    ]
    base = alt.Chart(table).encode(y=y, yOffset=alt.YOffset("n_latents:O"), color=by_shape())
    dots = base.mark_circle(size=70, opacity=0.9).encode(x=x, tooltip=tooltip)
    words = base.mark_text(align="left", dx=8, fontSize=10).encode(x=x, text="n_latents:N")
    zero = alt.Chart(pd.DataFrame({"x": [0.0]})).mark_rule(opacity=0.6).encode(x="x:Q")
    ends = table.groupby("autoencoder", sort=False)["gain"].agg(["min", "max"])
    listed = "; ".join(f"{n} {r['min']:+.1%} to {r['max']:+.1%}" for n, r in ends.iterrows()).replace(
        "-", "−"
    )
    return theme.finish(
        alt.layer(zero, dots, words).properties(width=400, height=38 * len(order)),
        "restarts",
        caption="Share of the best loss that a better start saves, at the number of latents beside each dot "
        f"(d = {int(table['d'].iloc[0])}): under L1 the best dictionary of half the width with every latent "
        f"split in two, under L0 narrow caps. Below zero the random start was the better. {listed}.",
        alt=f"Dots on a line of gains, a row for each autoencoder and manifold. Gains: {listed}.",
    )


def fig_neighbours(neighbours: pd.DataFrame, d: int, thickness: float) -> alt.TopLevelMixin:
    """Each latent and its nearest, and planted copies: do both fire, and what does making them one lose?"""
    table = labelled(neighbours[(neighbours["d"] == d) & neighbours["thickness"].isin([0.0, thickness])])
    table = table[table["autoencoder"].isin(["ReLU", "TopK"])]
    table = table.assign(
        where=table["autoencoder"] + ", " + table["manifold"],
        kind=np.where(table["planted"], "planted copies", "as trained"),
        lost=visible(table["lost_merged"]),
    )
    names = list(dict.fromkeys(table["where"]))
    span = [float(table["cosine"].min()) - 0.03, 1.03]
    columns = []
    for name in names:
        part, first = table[table["where"] == name], name == names[0]
        columns.append(
            alt.vconcat(*(_pairs(part, y, span, name, first) for y in ("cofiring", "lost")), spacing=8)
        )
    own = table[~table["planted"]].groupby("where", sort=False)[CLOSE].median()
    listed = "; ".join(
        f"{n}: {r.cofiring:.0%} co-firing, {r.lost_merged:.1%} lost" for n, r in own.iterrows()
    )
    copies = table.loc[table["planted"], "lost_merged"].max()
    return theme.finish(
        alt.hconcat(*columns, spacing=8),
        "neighbours",
        caption=f"Every live latent with the one nearest to it (d = {d}, {int(table['n_latents'].iloc[0])} "
        "latents; blue). Red: the same autoencoder with every latent split in two, duplicates by "
        "construction. *Above:* tokens on which both fire, of those on which either does. *Below:* what the "
        "squared error gains, over the norm of these tokens, when one direction with one code does the work "
        f"of both. Medians as trained: {listed}. Planted copies lose {_at_most(copies)}.",
        alt=f"Two rows of four scatter plots against the cosine of nearest latents. Medians: {listed}.",
    )


def _at_most(lost: float) -> str:
    return f"less than {LEAST:.2%}" if lost < LEAST else f"up to {lost:.1%}"


def _pairs(table: pd.DataFrame, y: str, span: Sequence[float], title: str, first: bool) -> alt.Chart:
    above = y == "cofiring"
    colour = alt.Color("kind:N", legend=None)
    colour = colour.scale(domain=["as trained", "planted copies"], range=[theme.BLUE, theme.RED])
    name = ("both fire, of either" if above else "lost when merged") if first else None
    height = alt.Y(f"{y}:Q", title=name)
    if above:
        height = height.scale(domain=[0, 1.02], nice=False).axis(format=".0%", tickCount=4, labels=first)
    else:
        height = height.scale(type="log", domain=[LEAST * 0.8, 0.4], nice=False)
        height = height.axis(values=[1e-4, 1e-3, 1e-2, 0.1], format="~%", labels=first)
    x = alt.X("cosine:Q", title=None if above else "cosine").scale(domain=span, nice=False)
    x = x.axis(values=[0.2, 0.4, 0.6, 0.8, 1.0], format="~g", labels=not above, grid=False)
    tooltip = [alt.Tooltip("kind:N"), *[alt.Tooltip(f"{c}:Q", format=".3f") for c in CLOSE]]
    chart = alt.Chart(table).mark_circle(size=30, opacity=0.6)
    chart = chart.encode(x=x, y=height, color=colour, tooltip=tooltip)
    return chart.properties(width=118, height=120, **({"title": title} if above else {}))


def fig_others(curves: pd.DataFrame) -> alt.TopLevelMixin:
    """L(n) on manifolds by name, over its value at the narrowest width: a panel each, a line an architecture.

    ``curves`` is :func:`geowall.sae.curves.other_manifolds`.
    """
    table = labelled(best(curves))
    narrow = table.sort_values("n_latents").groupby(["manifold", "autoencoder"])["loss"].transform("first")
    table = table.sort_values("n_latents").assign(share=table["loss"] / narrow)
    table["worst_share"] = table["worst"] / narrow
    names = list(dict.fromkeys(curves["manifold"]))
    low = 0.8 * table["share"].min()
    panels = [_other(table[table["manifold"] == name], name == names[0], low) for name in names]
    last = table.groupby(["manifold", "autoencoder"], sort=False)["share"].last()
    listed = "; ".join(
        f"{name.replace('_', ' ')} (d = {int(curves.loc[curves['manifold'] == name, 'd'].iloc[0])}) "
        + ", ".join(f"{a} {share:.3f}" for a, share in last[name].items())
        for name in names
    )
    most = int(table["n_latents"].max())
    return theme.finish(
        alt.hconcat(*panels, spacing=8),
        "others",
        caption="Loss over that of the narrowest dictionary, on four manifolds that are neither sphere nor "
        f"shell: best seed, and the range up to the worst. Dotted: 2d latents. At {most} latents: {listed}.",
        alt=f"Four log-log panels of loss against latents. At {most} latents: {listed}.",
    )


def _other(part: pd.DataFrame, first: bool, low: float) -> alt.LayerChart:
    colour = alt.Color("autoencoder:N", legend=None)
    colour = colour.scale(domain=list(COLOURS), range=list(COLOURS.values()))
    x = alt.X("n_latents:Q", title="latents n").scale(type="log", base=2, nice=False)
    x = x.axis(values=[4, 16, 64, 256], grid=False)
    y = alt.Y("share:Q", title="loss, over the narrowest" if first else None)
    y = y.scale(type="log", domain=[low, 1.05], nice=False)
    y = y.axis(values=[0.001, 0.01, 0.1, 0.3, 1.0], format="~g", labels=first)
    tooltip = [
        alt.Tooltip("autoencoder:N"),
        alt.Tooltip("n_latents:Q", title="latents"),
        alt.Tooltip("loss:Q", title="best seed", format=".4f"),
        alt.Tooltip("worst:Q", title="worst seed", format=".4f"),
    ]
    base = alt.Chart(part).encode(x=x, color=colour)
    band = base.mark_area(opacity=0.22).encode(y=y, y2="worst_share:Q")
    lines = base.mark_line(strokeWidth=2, point=alt.OverlayMarkDef(size=28)).encode(y=y, tooltip=tooltip)
    twice = alt.Chart(pd.DataFrame({"n": [2 * int(part["d"].iloc[0])]})).mark_rule(strokeDash=[2, 3])
    layers = [twice.encode(x="n:Q"), band, lines, *([_key(part["autoencoder"].unique(), colour)] * first)]
    title = str(part["manifold"].iloc[0]).replace("_", " ")
    return alt.layer(*layers).properties(width=118, height=290, title=title)
