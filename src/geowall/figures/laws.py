"""Figures of chapter 07 that show the laws: exponents by depth and by sparsity, and the showcase floors.

>>> series_name("lab-small", "jumprelu", "scaled"), series_name("gemma-2-2b", "jumprelu", "")
('lab-small, scaled budget', 'Gemma 2 2B')
>>> series_name("lab-small", "jumprelu", "matched", "mlp")
'lab-small, MLP output'
"""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd

from geowall.figures import theme
from geowall.figures.marks import SITES
from geowall.laws.scaling.sparsity import STREAM

MODELS = {
    "gemma-2-2b": "Gemma 2 2B",
    "gemma-2-9b": "Gemma 2 9B",
    "gemma-2-2b here": "Gemma 2 2B, measured",
    "gemma-2-9b here": "Gemma 2 9B, measured",
}
COLOURS = {
    "gemma-2-2b": theme.BLUE,
    "gemma-2-9b": theme.ORANGE,
    "gemma-2-2b here": theme.PURPLE,
    "gemma-2-9b here": theme.RED,
    "lab-small": theme.GREEN,
    "lab-large": theme.RED,
}
SCALED = theme.PURPLE


def on_stream(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the residual stream, the one site that every source has."""
    return table[table["site"] == STREAM]


def series_name(model: str, architecture: str, schedule: str, site: str = STREAM) -> str:
    """Name a grid as a reader would: the model, and what is not JumpReLU on the stream at one budget."""
    name = MODELS.get(model, model)
    name += "" if site == STREAM else f", {SITES.get(site, site)}"
    name += ", TopK" if architecture == "topk" else "" if architecture == "jumprelu" else f", {architecture}"
    return name + (", scaled budget" if schedule == "scaled" else "")


def with_series(table: pd.DataFrame) -> pd.DataFrame:
    """Add ``series``, the name of the row's grid, and ``colour``."""
    sites = table["site"] if "site" in table else [STREAM] * len(table)
    keys = list(zip(table["model"], table["architecture"], table["schedule"], sites, strict=True))
    colours = [
        SCALED if s == "scaled" else theme.GREY if a == "topk" else COLOURS.get(m, theme.GREY)
        for m, a, s, _ in keys
    ]
    return table.assign(series=[series_name(*key) for key in keys], colour=colours)


def shades(table: pd.DataFrame, **options: object) -> alt.Color:
    """Return the colour of each series of a table of :func:`with_series`."""
    known = dict(zip(table["series"], table["colour"], strict=True))
    scale = alt.Scale(domain=list(known), range=list(known.values()))
    return alt.Color("series:N", title=None, scale=scale, **options)


def filled_or_open(base: alt.Chart, test: str, size: int, **channels: object) -> list[alt.Chart]:
    """Return filled dots where ``test``, an expression, holds, and open ones elsewhere."""
    dots = base.transform_filter(test).mark_circle(size=size, opacity=1).encode(**channels)
    rings = base.transform_filter(f"!({test})").mark_point(size=size, strokeWidth=1.5, opacity=1)
    return [dots, rings.encode(**channels)]


def log_widths(widths: pd.Series) -> alt.Axis:
    """Label every width of a logarithmic axis, or every second where there are many."""
    values = sorted(set(widths))
    step = 1 if len(values) < 6 else 2
    short = (
        "datum.value >= 1048576 ? '1M' : datum.value >= 4096 ? round(datum.value / 1024) + 'k' : datum.value"
    )
    return alt.Axis(values=values[::step], labelExpr=short, grid=False)


def fig_profiles(laws: pd.DataFrame, k: float, k_published: float = 50.0) -> alt.TopLevelMixin:
    """Width exponent by depth: the published one beside the lab's chords with their intervals."""
    laws = on_stream(laws)
    paper = laws[(laws["source"] == "published") & (laws["form"] == "no_floor") & (laws["k"] == k_published)]
    chords = laws[(laws["form"] == "secant") & (laws["architecture"] == "jumprelu")]
    own = chords[(chords["source"] == "lab") & (chords["k"] == k)]
    paper = pd.concat([paper, chords[(chords["source"] == "gemma") & (chords["k"] == k_published)]])
    left = _profile(with_series(paper), f"Gemma 2, k = {k_published:g}", 240)
    right = _profile(with_series(own), f"lab, k = {k:g}", 240)
    chart = alt.hconcat(left, right, spacing=12).resolve_scale(color="independent")
    words = [_range(rows) for rows in (*_by_series(paper), *_by_series(own))]
    both = "what was measured of it here has them; " if (paper["source"] == "gemma").any() else ""
    return theme.finish(
        chart,
        "exponent-profiles",
        caption="Width exponents by depth. *Left:* the paper's {cite:p}`zaher2026`, at every layer of "
        f"Gemma 2; it gives no intervals, {both}"
        "and open marks are extrapolated. *Right:* measured here, the slope between "
        "two widths at every layer, with the middle 95 % of draws of the documents. "
        + "; ".join(words) + ".",
        alt="Two panels of width exponent against layer. The published ones fall from high values at the "
        "first layers and level off. " + "; ".join(words) + ".",
    )  # fmt: skip


def _by_series(table: pd.DataFrame) -> list[pd.DataFrame]:
    return [rows for _, rows in with_series(table).groupby("series", sort=False)]


def _range(rows: pd.DataFrame) -> str:
    first, low, high = rows.iloc[0]["series"], rows["alpha_width"].min(), rows["alpha_width"].max()
    said = f"{low:.2f} to {high:.2f}" if len(rows) > 1 else f"{low:.2f}"
    return f"{first}: {said.replace('-', '−')}"


def _profile(table: pd.DataFrame, title: str, width: int) -> alt.LayerChart:
    rows = table[
        ["series", "colour", "layer", "alpha_width", "low", "high", "extrapolated", "narrow", "wide"]
    ]
    rows = rows.astype({"narrow": float, "wide": float})
    y = alt.Y("alpha_width:Q", title="width exponent α").axis(tickCount=5)
    x = alt.X("layer:Q", title="layer").axis(grid=False, tickMinStep=1, tickCount=6)
    legend = alt.Legend(orient="top", columns=2, labelFontSize=11, symbolType="circle", symbolOpacity=1)
    base = alt.Chart(rows).encode(x=x, color=shades(table, legend=legend))
    tooltip = [
        "series:N",
        "layer:Q",
        *[alt.Tooltip(f"{c}:Q", format=".3f") for c in ("alpha_width", "low", "high")],
    ]
    tooltip += [alt.Tooltip("narrow:Q", title="from width"), alt.Tooltip("wide:Q", title="to width")]
    points = filled_or_open(base, "!datum.extrapolated", 30, y=y, tooltip=tooltip)
    line = base.mark_line(strokeWidth=1.2, opacity=0.6).encode(y=y)
    layers = [line, *points]
    if rows["low"].notna().any():
        layers.insert(0, base.mark_rule(strokeWidth=1.2).encode(y=alt.Y("low:Q"), y2="high:Q"))
    return alt.layer(*layers).properties(width=width, height=210, title=title)


def fig_sparsities(laws: pd.DataFrame, found: pd.DataFrame) -> alt.TopLevelMixin:
    """Median exponent and median floor over layers against the sparsity at which they are read."""
    laws = on_stream(laws)
    paper = laws[(laws["source"] == "published") & (laws["form"] == "no_floor")]
    own = laws[laws["source"].isin(["lab", "gemma"])]
    table = with_series(pd.concat([paper, own[own["form"] == "secant"]]))
    grouped = table.groupby(["series", "colour", "k"], sort=False)["alpha_width"]
    rows = grouped.quantile([0.25, 0.5, 0.75]).unstack().reset_index()
    rows.columns = ["series", "colour", "k", "q25", "median", "q75"]
    legend = alt.Legend(orient="top", columns=3, symbolType="circle", symbolOpacity=1)
    base = alt.Chart(rows).encode(x=_by_k(), color=shades(rows, legend=legend))
    band = base.mark_area(opacity=0.15).encode(y=alt.Y("q25:Q", title="width exponent α"), y2="q75:Q")
    line = base.mark_line(strokeWidth=2, point=alt.OverlayMarkDef(size=32)).encode(
        y="median:Q", tooltip=["series:N", "k:Q", alt.Tooltip("median:Q", format=".3f")]
    )
    shares = with_series(found[found["n_floors"] > 0])
    chart = alt.hconcat((band + line).properties(width=245, height=210), _shares(shares, rows), spacing=14)
    steps = [_trend(own, "median") for _, own in rows.groupby("series", sort=False)]
    floors = [_trend(own, "floor_share") for _, own in shares.groupby("series", sort=False)]
    said = f"Exponents: {'; '.join(steps)}. Floors over the smallest error: {'; '.join(floors)}."
    return theme.finish(
        chart,
        "sparsities",
        caption="*Left:* median width exponent over layers (band: the middle half) by the sparsity it is "
        "read at. *Right:* median floor over the smallest error of the same layers, where the grid has one. "
        f"{said}",
        alt=f"Lines of width exponent and of floor share against active latents for each grid. {said}",
    )


def _by_k() -> alt.X:
    x = alt.X("k:Q", title="active latents k").scale(type="log", nice=False, padding=8)
    return x.axis(values=[8, 12, 16, 25, 50], grid=False)


def _shares(table: pd.DataFrame, rows: pd.DataFrame) -> alt.Chart:
    y = alt.Y("floor_share:Q", title="floor / smallest error").scale(zero=False).axis(format=".1f")
    shown = ["series", "k", "floor_share", "n_floors", "n_clear", "n_outside", "n_behind", "n_layers"]
    hover = ["series:N", "k:Q", alt.Tooltip("floor_share:Q", format=".2f")]
    hover += [f"{name}:Q" for name in shown[3:]]
    line = alt.Chart(table[shown]).mark_line(strokeWidth=2, point=alt.OverlayMarkDef(size=32))
    line = line.encode(x=_by_k(), y=y, color=shades(rows), tooltip=hover)
    return line.properties(width=245, height=210)


def _trend(rows: pd.DataFrame, column: str) -> str:
    ends = rows.sort_values("k").iloc[[0, -1]]
    values = " to ".join(f"{v:.2f}" for v in ends[column])
    return f"{ends['series'].iloc[0]}: {values} from k = {ends['k'].iloc[0]:g} to {ends['k'].iloc[1]:g}"


def fig_coefficients(laws: pd.DataFrame) -> alt.TopLevelMixin:
    """Coefficients of the surface without a floor by layer, with documents and checkpoints drawn again."""
    table = coefficients(laws)
    names = {"beta_n": "coefficient of log n, β_n", "gamma": "coefficient of log n log k, γ"}
    panels = [_coefficient(table, name, title) for name, title in names.items()]
    said = [
        f"{series}: β_n {rows['beta_n'].median():.2f} (±{_half(rows, 'beta_n'):.2f} at the median "
        f"layer), γ {rows['gamma'].median():.2f} (±{_half(rows, 'gamma'):.2f}), above zero at "
        f"{int((rows['gamma_low'] > 0).sum())} and below at {int((rows['gamma_high'] < 0).sum())} of "
        f"{len(rows)} layers"
        for series, rows in table.groupby("series", sort=False)
    ]
    said = "; ".join(said).replace(" -", " −")
    return theme.finish(
        alt.vconcat(*panels, spacing=12),
        "coefficients",
        caption="Coefficients of the surface without a floor ({eq}`eq-07-surface`) at every layer, between "
        "the same two widths as in {numref}`fig-exponent-profiles`, with the middle 95 % of draws of "
        f"documents and checkpoints. Medians: {said}.",
        alt=f"Two panels of coefficients with intervals against layer. {said}.",
    )


def coefficients(laws: pd.DataFrame) -> pd.DataFrame:
    """Return one row a layer and grid of the lab: its surface without a floor, which is one for all k."""
    own = on_stream(laws[(laws["source"] == "lab") & (laws["form"] == "no_floor")])
    own = own.drop_duplicates(["model", "architecture", "schedule", "layer"])
    return with_series(own[own["gamma_low"].notna()])


def _half(rows: pd.DataFrame, name: str) -> float:
    return float(((rows[f"{name}_high"] - rows[f"{name}_low"]) / 2).median())


def _coefficient(table: pd.DataFrame, name: str, title: str) -> alt.LayerChart:
    ends = [f"{name}_low", f"{name}_high"]
    rows = table[["series", "colour", "layer", name, *ends, "narrow", "wide"]]
    rows = rows.astype({"narrow": float, "wide": float})
    series = list(dict.fromkeys(rows["series"]))
    rows["at"] = rows["layer"] + 0.18 * (rows["series"].map(series.index) - (len(series) - 1) / 2)
    shown = alt.Scale(domain=list(table[ends].stack().quantile([0.03, 0.97])), clamp=True)
    y = alt.Y(f"{name}:Q", title=title, scale=shown).axis(tickCount=5)
    x = alt.X("at:Q", title="layer").axis(grid=False, tickMinStep=1, tickCount=6)
    legend = alt.Legend(orient="top", columns=4, symbolType="circle", symbolOpacity=1)
    base = alt.Chart(rows).encode(x=x, color=shades(table, legend=legend))
    tooltip = ["series:N", "layer:Q", *[alt.Tooltip(f"{c}:Q", format=".3f") for c in (name, *ends)]]
    bars = base.mark_rule(strokeWidth=1.2, opacity=0.6).encode(
        y=alt.Y(f"{ends[0]}:Q", scale=shown), y2=ends[1]
    )
    dots = base.mark_circle(size=30, opacity=1).encode(y=y, tooltip=tooltip)
    return alt.layer(bars, dots).properties(width=520, height=160)


def fig_showcase(points: pd.DataFrame, floors: pd.DataFrame, agreed: pd.DataFrame) -> alt.TopLevelMixin:
    """The showcase points with the law fitted to them, its floor and intervals, and the printed floor."""
    more = ["model", "layer", "printed", "inside", "inside_paper", "low_paper", "high_paper"]
    floors = floors[floors["source"] == "published"].merge(agreed[more])
    panels = [_showcase(row, points) for row in floors.to_dict("records")]
    chart = alt.vconcat(*[alt.hconcat(*panels[i : i + 3], spacing=10) for i in (0, 3)], spacing=12)
    inside, exactly = floors["inside"], floors[floors["dof"] == 0]
    far = [_where(row) for row in floors[~inside].to_dict("records")]
    outside = f"; {', '.join(far)} is outside" if far else ""
    held, exact = int(exactly["inside_paper"].sum()), len(exactly)
    words = "; ".join(
        f"{_where(row)} {row['floor']:.3f} ({row['low']:.3f} to {row['high']:.3f}), printed "
        f"{row['printed']:.3f}"
        for row in floors.to_dict("records")
    )
    return theme.finish(
        chart,
        "showcase",
        caption="Published errors at 50 active latents {cite:p}`zaher2026`, the law fitted to them "
        "(line), its "
        "floor with a 95 % interval (band) and the printed floor (dashes); open marks were dropped by the "
        f"paper's filter. {int(inside.sum())} of {len(floors)} printed floors lie in the "
        f"interval{outside}. At "
        f"{exact} layers three widths fix three parameters and the line must pass through every point. The "
        f"light band adds how far our floors and the printed ones part at the other layers; it holds {held} "
        f"of {exact}.",
        alt=f"Six panels of error against width, each falling towards a floor. Floors: {words}.",
    )


def _where(row: dict[str, object]) -> str:
    return f"{str(row['model']).rsplit('-', 1)[-1].upper()} layer {row['layer']}"


def _showcase(row: dict[str, object], points: pd.DataFrame) -> alt.LayerChart:
    own = points[(points["model"] == row["model"]) & (points["layer"] == row["layer"]) & (points["k"] == 50)]
    n = np.geomspace(own["d_sae"].min() / 1.3, own["d_sae"].max() * 8, 40)
    law = np.exp(row["log_a"] - row["alpha_width"] * np.log(n)) + row["floor"]
    colour = COLOURS[row["model"]]
    x = alt.X("d_sae:Q", title=None).scale(type="log", domain=[n[0], n[-1]], nice=False)
    x = x.axis(
        values=[2**14, 2**17, 2**20, 2**23],
        labelExpr="datum.value < 1e6 ? round(datum.value / 1024) + 'k' : round(datum.value / 1048576) + 'M'",
        grid=False,
    )
    y = alt.Y("nmse:Q", title=None).scale(zero=False, domain=[0.035, 0.185]).axis(tickCount=4, format=".2f")
    line = (
        alt.Chart(pd.DataFrame({"d_sae": n, "nmse": law}))
        .mark_line(color=colour, strokeWidth=1.8)
        .encode(x=x, y=y)
    )
    names = ("low", "high", "floor", "printed", "low_paper", "high_paper")
    ends = pd.DataFrame([{key: row[key] for key in names}])
    wide = alt.Chart(ends).mark_rect(color=colour, opacity=0.15).encode(y="low_paper:Q", y2="high_paper:Q")
    band = alt.Chart(ends).mark_rect(color=colour, opacity=0.45).encode(y="low:Q", y2="high:Q")
    rule = alt.Chart(ends).mark_rule(strokeDash=[5, 4], strokeWidth=1.4).encode(y="printed:Q")
    hover = [alt.Tooltip("d_sae:Q", title="width", format=","), alt.Tooltip("nmse:Q", format=".4f")]
    base = alt.Chart(own[["d_sae", "nmse", "kept"]])
    dots = filled_or_open(base, "datum.kept", 38, x=x, y=y, color=alt.value(colour), tooltip=hover)
    bands = [band] if np.isnan(row["low_paper"]) else [wide, band]
    return alt.layer(*bands, rule, line, *dots).properties(width=158, height=120, title=_where(row))
