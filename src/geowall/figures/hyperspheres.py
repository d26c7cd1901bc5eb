"""The figures of chapter 02: loss curves of spheres and shells, their exponents, fields and mixtures.

>>> label("jumprelu", "l0=0.1"), label("topk", "k=2")
('JumpReLU, L0', 'TopK')
"""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import numpy as np
import pandas as pd

from geowall.figures import theme
from geowall.figures.claim import declutter
from geowall.sae.curves import best, falls, tiling_level
from geowall.sae.lasso import signed_basis_loss

NAMES = {
    "relu": "ReLU",
    "jumprelu": "JumpReLU",
    "topk": "TopK",
    "batchtopk": "BatchTopK",
    "matching_pursuit": "matching pursuit",
    "spade": "SpaDE",
}
SHAPES = {"sphere": theme.BLUE, "shell": theme.ORANGE}
LATENTS = "latents n"
PAPER = 0.05  # the exponent that Michaud et al. 2025 report for hollow spheres of 6 to 8 dimensions


def label(architecture: str, penalty: str) -> str:
    """An autoencoder as a reader would call it; JumpReLU by its penalty, as it has two."""
    plain = NAMES.get(architecture, architecture)
    return f"{plain}, {penalty.split('=')[0].upper()}" if architecture == "jumprelu" else plain


def labelled(table: pd.DataFrame) -> pd.DataFrame:
    """Add ``autoencoder``, the label of the row's architecture and penalty."""
    names = [label(a, p) for a, p in zip(table["architecture"], table["penalty"], strict=True)]
    return table.assign(autoencoder=names)


def by_shape(title: str | None = None, legend: bool = False) -> alt.Color:
    """Blue for spheres, orange for shells."""
    scale = alt.Scale(domain=list(SHAPES), range=list(SHAPES.values()))
    return alt.Color("manifold:N", title=title, scale=scale, legend=alt.Legend() if legend else None)


def fig_loss_curves(
    curves: pd.DataFrame, exact: pd.DataFrame, rules: Sequence[str], thickness: float, name: str
) -> alt.TopLevelMixin:
    """L(n) on spheres and on shells of one thickness: a row an autoencoder, a panel a dimension.

    ``exact`` (:func:`geowall.sae.curves.exact_codes`) is drawn where the penalty is L1.
    """
    shown = labelled(curves)
    shown = shown[shown["thickness"].isin([0.0, thickness]) & shown["autoencoder"].isin(rules)]
    table = labelled(best(shown))
    ideal = exact.groupby(["d", "thickness", "n_latents"], as_index=False)["loss"].min()
    ideal["manifold"] = np.where(ideal["thickness"] == 0.0, "sphere", "shell")
    ds = sorted(table["d"].unique())
    rows = []
    for rule in rules:
        part = table[table["autoencoder"] == rule]
        drawn = ideal if part["penalty"].iloc[0].startswith("l1") else ideal.iloc[:0]
        by_d = {d: (part[part["d"] == d], drawn[drawn["d"] == d]) for d in ds}
        panels = [_panel(*by_d[d], rule, bool(d == ds[0]), 500 // max(3, len(ds)) - 8) for d in ds]
        rows.append(alt.hconcat(*panels, spacing=10))
    caption, description = _curves_words(shown, rules, thickness)
    chart = rows[0] if len(rows) == 1 else alt.vconcat(*rows, spacing=14)
    return theme.finish(chart, name, caption=caption, alt=description)


def _panel(part: pd.DataFrame, ideal: pd.DataFrame, rule: str, first: bool, wide: int) -> alt.LayerChart:
    d, penalty = int(part["d"].iloc[0]), part["penalty"].iloc[0]
    low = 0.09 if penalty.startswith("l") else 0.8 * part["loss"].min()
    x = alt.X("n_latents:Q", title=LATENTS).scale(type="log", base=2, nice=False)
    ticks = [2, 8, 32, 128, 512, 2048, 8192][:: 1 if wide > 120 else 2]
    x = x.axis(values=ticks, format="~s", grid=False)
    axis = alt.Axis(values=[0.1, 0.15, 0.2, 0.3, 0.5, 1.0], format="~g", labels=first)
    y = alt.Y("loss:Q", title=f"loss L(n), {rule}" if first else None, axis=axis)
    y = y.scale(type="log", domain=[low, 1.0], nice=False)
    tooltip = [
        alt.Tooltip("manifold:N"),
        alt.Tooltip("n_latents:Q", title="latents"),
        *[alt.Tooltip(f"{c}:Q", title=t, format=".4f") for c, t in SEEDS.items()],
    ]
    base = alt.Chart(part).encode(x=x, color=by_shape())
    band = base.mark_area(opacity=0.22).encode(y=y, y2="worst:Q")
    lines = base.mark_line(strokeWidth=2).encode(y=y)
    dots = base.mark_circle(size=30, opacity=1).encode(y=y, tooltip=tooltip)
    layers = [*_levels(d, penalty, wide if first else 0), band, lines, dots, *_ends(wide if first else 0)]
    if len(ideal):
        points = alt.Chart(ideal).mark_point(shape="diamond", size=42, strokeWidth=1.4)
        layers.append(points.encode(x="n_latents:Q", y="loss:Q", color=by_shape(), tooltip=tooltip[:2]))
    twice = alt.Chart(pd.DataFrame({"n": [2 * d], "words": ["2d"]})).encode(x="n:Q")
    layers.append(twice.mark_rule(strokeDash=[2, 3], opacity=0.5))
    layers.append(twice.mark_text(align="left", dx=3, fontSize=11).encode(y=alt.value(8), text="words:N"))
    return alt.layer(*layers).properties(width=wide, height=210, title=f"d = {d}")


SEEDS = {"loss": "best seed", "median": "median seed", "worst": "worst seed"}


def _levels(d: int, penalty: str, wide: int) -> list[alt.Chart]:
    """The signed basis, where it is known, and the infinite tiling; named where there is a width for it."""
    levels = [("infinite tiling", tiling_level(d, 0.0, penalty), [2, 3], "left")]
    if penalty.startswith("l1"):
        level = signed_basis_loss(d, float(penalty.split("=")[1]))
        levels.append(("signed basis", level, [6, 4], "right"))
    layers = []
    for words, level, dash, side in levels:
        at = pd.DataFrame({"level": [level], "words": [words]})
        base = alt.Chart(at).encode(y="level:Q")
        layers.append(base.mark_rule(strokeDash=dash, opacity=0.8))
        if wide:
            text = base.mark_text(align=side, fontSize=10, dy=-6, opacity=0.85)
            layers.append(text.encode(x=alt.value(3 if side == "left" else wide - 1), text="words:N"))
    return layers


def _ends(wide: int) -> list[alt.Chart]:
    """Name the two curves once, in the corner of a panel of some width."""
    if not wide:
        return []
    names = pd.DataFrame({"manifold": list(SHAPES), "y": [28, 44]})
    y = alt.Y("y:Q", scale=None, axis=None)
    text = alt.Chart(names).mark_text(align="right", fontWeight=600)
    return [text.encode(x=alt.value(wide - 3), y=y, text="manifold:N", color=by_shape())]


def _curves_words(table: pd.DataFrame, rules: Sequence[str], thickness: float) -> tuple[str, str]:
    fall = labelled(falls(table))
    listed = []
    for rule in rules:
        part = fall[fall["autoencoder"] == rule].groupby("manifold")["fall"]
        ends = {shape: f"{g.min():.0%} to {g.max():.0%}" for shape, g in part}
        listed.append(f"{rule}: {ends['sphere']} on spheres, {ends['shell']} on shells")
    what, most = "; ".join(listed).replace("-", "−"), int(table["n_latents"].max())
    exact = " Diamonds: dictionaries that ReLU learnt on the sphere, with the best possible codes."
    caption = (
        f"Loss against latents on hollow spheres (blue) and on shells of radius 1 ± {thickness:g} (orange): "
        "best seed, and the range up to the worst. Dashed and dotted: what 2d latents at plus and minus a "
        f"basis would cost with ideal codes, and infinitely many.{exact} From "
        f"about 2d to {most:,} latents the loss falls by, {what}."
    )
    return caption, f"Log-log panels of loss against latents, one for each dimension. Falls: {what}."


def fig_sphere_exponents(exponents: pd.DataFrame, thickness: float) -> alt.TopLevelMixin:
    """Exponents of L(n), and of L(n) less the tiling's level, on spheres and shells."""
    halfspaces = exponents["architecture"].isin(["relu", "jumprelu"])
    table = labelled(exponents[halfspaces & exponents["penalty"].str.startswith("l1")])
    table = table[table["thickness"].isin([0.0, thickness])]
    table = table.assign(
        row="d = " + table["d"].astype(str) + ", " + table["autoencoder"].str.replace(", L1", "")
    )
    raw, excess = table[table["floor"] == 0.0], table[table["floor"] > 0.0]
    theory = excess[["d", "row"]].drop_duplicates().assign(at=lambda t: 2.0 / (t["d"] - 1))
    paper = pd.DataFrame({"at": [PAPER]})
    line = alt.Chart(paper).mark_rule(strokeDash=[4, 3], opacity=0.8).encode(x="at:Q")
    word = alt.Chart(paper.assign(words="paper")).mark_text(align="left", dx=3, fontSize=11)
    word = word.encode(x="at:Q", y=alt.value(-6), text="words:N")
    tick = alt.Chart(theory).mark_point(shape="stroke", angle=90, size=110, strokeWidth=2)
    tick = tick.encode(
        x="at:Q",
        y=alt.Y("row:N", sort=list(theory["row"])),
        tooltip=[alt.Tooltip("at:Q", title="2 / (d − 1)", format=".3f")],
    )
    tall = 34 * raw["row"].nunique()
    left = alt.layer(line, word, *_dots(raw, "β of L(n)", True)).properties(width=205, height=tall)
    right = alt.layer(tick, *_dots(excess, "β of L(n) − tiling level", False))
    right = right.properties(width=205, height=tall)
    spheres, shells = (raw[raw["manifold"] == shape] for shape in SHAPES)
    words = (
        f"{spheres['beta'].min():.2f} to {spheres['beta'].max():.2f} on spheres and "
        f"{shells['beta'].min():.3f} to {shells['beta'].max():.3f} on shells"
    ).replace("-", "−")
    return theme.finish(
        alt.hconcat(left, right, spacing=16),
        "sphere-exponents",
        caption="Exponents fitted from 2d latents on, with 95 % intervals from seeds and fit: "
        "spheres blue, shells orange. *Left:* of the loss itself, "
        f"{words}; dashed, the 0.05 that {{cite:t}}`michaud2025` report for spheres of 6 to 8 dimensions at "
        "up to ten thousand latents. *Right:* of what is left above an infinite tiling; ticks mark "
        "$2/(d-1)$, the rate of ideal codes.",
        alt=f"Dots with intervals for each dimension and architecture. Exponents of the loss: {words}.",
    )


def _dots(table: pd.DataFrame, title: str, labels: bool) -> list[alt.Chart]:
    axis = alt.Axis(labels=labels, ticks=False, domain=False, labelLimit=150)
    order = list(dict.fromkeys(table["row"]))
    y = alt.Y("row:N", sort=order, title=None, axis=axis).scale(paddingInner=0.2)
    base = alt.Chart(table).encode(
        y=y, yOffset=alt.YOffset("manifold:N", sort=list(SHAPES)), color=by_shape()
    )
    tooltip = [
        alt.Tooltip("row:N", title="curve"),
        alt.Tooltip("manifold:N"),
        *[alt.Tooltip(f"{c}:Q", format=".3f") for c in ("beta", "low", "high", "floor")],
        alt.Tooltip("n_saturation:Q", title="latents at saturation"),
    ]
    x = alt.X("beta:Q", title=title).axis(tickCount=5, format="~g")
    bars = base.mark_rule(strokeWidth=3, opacity=0.5).encode(x=alt.X("low:Q", title=title), x2="high:Q")
    return [bars, base.mark_circle(size=55, opacity=1).encode(x=x, tooltip=tooltip)]


def fig_thickness(exponents: pd.DataFrame) -> alt.TopLevelMixin:
    """The exponent of L(n) against the thickness of the shell, for every architecture.

    ``exponents`` are of curves cut to widths they share (:func:`geowall.sae.curves.common`).
    """
    table = labelled(exponents[exponents["floor"] == 0.0])
    ds = sorted(table.loc[table["architecture"] == "topk", "d"].unique())[-2:]
    panels = [_thickness_panel(table[table["d"] == d], bool(d == ds[0])) for d in ds]
    thick = table[table["d"] == ds[-1]].sort_values("thickness").groupby("autoencoder")["beta"]
    ends = {n: (g.iloc[0], g.iloc[-1]) for n, g in thick}
    listed = "; ".join(f"{n} {a:.2f} to {b:.2f}" for n, (a, b) in ends.items()).replace("-", "−")
    spans = table[table["d"].isin(ds)].groupby("d")[["n_low", "n_high"]].first()
    spans = " and ".join(f"{s.n_low} to {s.n_high} (d = {d})" for d, s in spans.iterrows())
    return theme.finish(
        alt.hconcat(*panels, spacing=10),
        "thickness",
        caption="Exponent of L(n) against the half thickness of the shell (0: hollow), with 95 % intervals "
        f"from seeds and fit. Every curve of a panel is fitted over the same widths, {spans} latents. From "
        f"the thinnest to the thickest in {ds[-1]} dimensions: {listed}.",
        alt=f"Exponent against thickness, a line an architecture. In {ds[-1]} dimensions: {listed}.",
    )


COLOURS = {
    "ReLU": theme.BLUE,
    "JumpReLU, L1": theme.PURPLE,
    "JumpReLU, L0": theme.GREY,
    "TopK": theme.ORANGE,
    "BatchTopK": theme.RED,
    "matching pursuit": theme.GREEN,
    "SpaDE": "#9a8420",
}


def _thickness_panel(table: pd.DataFrame, first: bool) -> alt.LayerChart:
    d = int(table["d"].iloc[0])
    colour = alt.Color("autoencoder:N", legend=None)
    colour = colour.scale(domain=list(COLOURS), range=list(COLOURS.values()))
    x = alt.X("thickness:Q", title="half thickness of the shell").axis(tickCount=5, format="~g", grid=False)
    x = x.scale(domain=[-0.02, 0.78], nice=False).axis(values=sorted(table["thickness"].unique()))
    y = alt.Y("beta:Q", title="β of L(n)" if first else None).axis(tickCount=6, format="~g")
    tooltip = [
        alt.Tooltip("autoencoder:N"),
        alt.Tooltip("thickness:Q"),
        *[alt.Tooltip(f"{c}:Q", format=".3f") for c in ("beta", "low", "high")],
    ]
    base = alt.Chart(table).encode(x=x, color=colour)
    bars = base.mark_rule(strokeWidth=3, opacity=0.4).encode(y="low:Q", y2="high:Q")
    lines = base.mark_line(strokeWidth=2, point=alt.OverlayMarkDef(size=36)).encode(y=y, tooltip=tooltip)
    ends = table.sort_values("thickness").groupby("autoencoder").tail(1).copy()
    ends["height"] = declutter(ends["beta"], gap=0.06 * (table["high"].max() - table["low"].min()))
    words = alt.Chart(ends).mark_text(align="left", dx=7, fontSize=11)
    words = words.encode(x="thickness:Q", y="height:Q", text="autoencoder:N", color=colour)
    zero = alt.Chart(pd.DataFrame({"y": [0.0]})).mark_rule(opacity=0.5).encode(y="y:Q")
    return alt.layer(zero, bars, lines, words).properties(width=222, height=270, title=f"d = {d}")


def fig_fields(fields: pd.DataFrame, d: int, thickness: float) -> alt.TopLevelMixin:
    """Where a typical latent fires, by angle and radius, on a thick shell: a panel an architecture."""
    table = labelled(fields[(fields["d"] == d) & (fields["thickness"] == thickness)])
    order = [name for name in COLOURS if name in set(table["autoencoder"])]
    tooltip = [
        alt.Tooltip("angle:Q", title="degrees"),
        alt.Tooltip("radius:Q"),
        alt.Tooltip("fires:Q", format=".0%"),
    ]
    angle = alt.Axis(values=[0, 90, 180], labelAngle=0, ticks=False)
    cells = (
        alt.Chart()
        .mark_rect()
        .encode(
            x=alt.X("angle:O", title=None, axis=angle),
            y=alt.Y("radius:O", title=None, sort="descending").axis(ticks=False, format=".2~f"),
            color=fires(),
            tooltip=tooltip,
        )
    )
    panels = [
        cells.properties(data=table[table["autoencoder"] == name], width=104, height=80, title=name)
        for name in order
    ]
    chart = alt.concat(*panels, columns=4, spacing=12)
    widths = field_widths(table)
    listed = "; ".join(f"{name} {w.inner:.0f}° to {w.outer:.0f}°" for name, w in widths.iterrows())
    return theme.finish(
        chart,
        "fields",
        caption="Share of tokens on which a latent fires, against their angle from its decoder direction "
        f"(degrees, across) and their radius (up): d = {d}, radius 1 ± {thickness:g}, "
        f"{int(table['n_latents'].iloc[0])} latents. The "
        f"half-width of a field, from the innermost to the outermost radius: {listed}.",
        alt=f"Heat maps of firing by angle and radius, one for each architecture. Half-widths: {listed}.",
    )


def fires(legend: bool = True) -> alt.Color:
    """The colour of a firing share, from 0 to 1."""
    key = alt.Legend(title="fires", format=".0%", tickCount=3, gradientLength=120) if legend else None
    return alt.Color("fires:Q", legend=key).scale(scheme=theme.SEQUENCE, domain=[0, 1])


def field_widths(fields: pd.DataFrame) -> pd.DataFrame:
    """Half-width of a typical field in degrees (firing summed over angles), a row an autoencoder.

    Columns: inner, outer (at the smallest and at the largest radius).
    """
    step = float(np.diff(np.unique(fields["angle"])).min())
    sums = step * fields.groupby(["autoencoder", "radius"], sort=False)["fires"].sum().unstack()
    ends = pd.DataFrame({"inner": sums[sums.columns.min()], "outer": sums[sums.columns.max()]})
    return ends.reindex([name for name in COLOURS if name in sums.index])


def fig_mixture(mixtures: pd.DataFrame) -> alt.TopLevelMixin:
    """Latents on the manifold and features discovered, measured beside predicted; column ``manifold``."""
    left = _mixture_panel(mixtures, "n_on_manifold", "latents on the manifold")
    right = _mixture_panel(mixtures, "n_discovered", "features discovered")
    top = mixtures[mixtures["d_sae"] == mixtures["d_sae"].max()].groupby("manifold").median()
    listed = "; ".join(
        f"{name}: {r.n_on_manifold:.0f} latents (predicted {r.predicted_n_on_manifold:.0f}) and "
        f"{r.n_discovered:.0f} features ({r.predicted_n_discovered:.0f})"
        for name, r in top.iterrows()
    )
    return theme.finish(
        alt.hconcat(left, right, spacing=18),
        "mixture",
        caption="Autoencoders trained on one manifold among discrete features. Points: measured, median and "
        "range of the seeds; dashed: the optimal allocation computed from the loss measured on the manifold "
        f"alone. At {int(mixtures['d_sae'].max())} latents, {listed}.",
        alt=f"Two panels against dictionary size, measured points and predicted dashed lines. {listed}.",
    )


def _mixture_panel(mixtures: pd.DataFrame, y: str, title: str) -> alt.LayerChart:
    points = mixtures.groupby(["manifold", "d_sae"])
    table = points[[y, f"predicted_{y}"]].median()
    table = table.assign(low=points[y].min(), high=points[y].max()).reset_index()
    table["at"] = table["d_sae"] * table["manifold"].map({"sphere": 0.975, "shell": 1.025})
    span = [0.9 * table["d_sae"].min(), 1.1 * table["d_sae"].max()]
    x = alt.X("d_sae:Q", title="d_sae, latents in the dictionary")
    x = x.scale(type="log", base=2, domain=span, nice=False)
    widths = sorted(table["d_sae"].unique())
    x = x.axis(values=widths[:: 1 + len(widths) // 6], format=",", grid=False)
    base = alt.Chart(table).encode(x=x, color=by_shape())
    tooltip = [
        alt.Tooltip("manifold:N"),
        alt.Tooltip("d_sae:Q", title="latents"),
        alt.Tooltip(f"{y}:Q", title="measured"),
        alt.Tooltip(f"predicted_{y}:Q", title="predicted"),
    ]
    line = base.mark_line(strokeDash=[5, 4], strokeWidth=1.6)
    line = line.encode(
        y=alt.Y(f"predicted_{y}:Q", title=title).scale(type="log").axis(values=[1, 10, 100, 1000], format=",")
    )
    bars = base.mark_rule(strokeWidth=3, opacity=0.45).encode(x="at:Q", y="low:Q", y2="high:Q")
    dots = base.mark_circle(size=60, opacity=1).encode(x="at:Q", y=f"{y}:Q", tooltip=tooltip)
    names = pd.DataFrame({"manifold": list(SHAPES), "y": [12, 29]})
    words = alt.Chart(names).mark_text(align="left", fontWeight=600)
    words = words.encode(
        x=alt.value(8), y=alt.Y("y:Q", scale=None, axis=None), text="manifold:N", color=by_shape()
    )
    return alt.layer(line, bars, dots, words).properties(width=222, height=230)
