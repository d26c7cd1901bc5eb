"""The figures of chapter 08 that set layers measured here beside the published ones.

>>> import pandas as pd
>>> table = pd.DataFrame({"model": ["lab-small"], "features": ["nu"], "errors": ["wobble"], "se": [0.01]})
>>> table = table.assign(statistic="loo_r2", value=0.4, low=0.1, high=0.5, weighted=0.4, ceiling=0.9)
>>> fig_errors(table).usermeta["name"]
'fig-exponent-errors'
"""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd

from geowall.figures import theme
from geowall.figures.marks import (
    INTERVAL,
    SYMBOLS,
    WORDS,
    colour,
    dots,
    hypothesis,
    key,
    listed,
    log_ticks,
    named,
    names_in_colour,
    spoken,
)

Z95 = 1.959964


def fig_sources(layers: pd.DataFrame) -> alt.TopLevelMixin:
    """The exponent of every layer of every source against curvature, dimension and relative depth."""
    table = named(layers[["model", "layer", "k", "alpha_width", "alpha_se", "kappa_ms", "d_int"]])
    table["share"] = (table["layer"] + 1) / table.groupby("name")["layer"].transform("max").add(1)
    table["low"] = table["alpha_width"] - Z95 * table["alpha_se"].fillna(0)
    table["high"] = table["alpha_width"] + Z95 * table["alpha_se"].fillna(0)
    panels = [
        _against(table, "kappa_ms", "curvature κ_ms", log_ticks(table["kappa_ms"]), 250),
        _against(table, "d_int", WORDS["d_int"], [2, 3, 5, 10, 20, 50], 250, first=False),
    ]
    depth = _against(table, "share", "share of the network that has run", [], 525)
    chart = alt.vconcat(alt.hconcat(*panels, spacing=18), depth + key(table, 420, 12), spacing=12)
    return theme.finish(chart, "sources", **_sources_words(table))


def _against(
    table: pd.DataFrame, column: str, title: str, ticks: list[float], width: int, first: bool = True
) -> alt.LayerChart:
    """Exponents against a column; on a log axis if it is given ticks, else on one of shares."""
    x = alt.X(f"{column}:Q", title=title).scale(type="log" if ticks else "linear", nice=False, padding=10)
    shares = alt.Axis(values=[0, 0.25, 0.5, 0.75, 1], format=".0%", grid=False)
    x = x.axis(alt.Axis(values=ticks, format="~g", grid=False) if ticks else shares)
    top = float(min(table["high"].max(), 0.75))
    y = alt.Y("alpha_width:Q", title="width exponent α" if first else None)
    y = y.scale(domain=[0, top], nice=False, clamp=True)
    base = alt.Chart(table.drop(columns="model").round(4)).encode(x=x, color=colour(table))
    bars = base.transform_filter("datum.high > datum.low").mark_rule(opacity=0.75, strokeWidth=1)
    bars = bars.encode(y=alt.Y("low:Q").scale(domain=[0, top], clamp=True), y2="high:Q")
    tooltip = ["name:N", "layer:Q", "k:Q", alt.Tooltip("alpha_width:Q", title="α", format=".3f"), *INTERVAL]
    points = base.mark_circle(size=30, opacity=0.85).encode(y=y, tooltip=tooltip)
    return (bars + points).properties(width=width, height=200)


def _sources_words(table: pd.DataFrame) -> dict[str, str]:
    spans = table.groupby("name", sort=False)["kappa_ms"].agg(["min", "max"])
    spread = spoken([f"{row['max'] / row['min']:.3g}-fold ({n})" for n, row in spans.iterrows()])
    pairs = {name: (own["kappa_ms"], own["d_int"], own["alpha_width"])
             for name, own in table.groupby("name", sort=False)}  # fmt: skip
    curve = {n: np.corrcoef(np.log(k), a)[0, 1] for n, (k, _, a) in pairs.items()}
    wide = {n: np.corrcoef(np.log(d), a)[0, 1] for n, (_, d, a) in pairs.items()}
    ks = spoken(sorted({f"{k:g}" for k in table["k"]}, key=float))
    words = (
        f"Curvature varies {spread} over the layers of a model. Its logarithm correlates with the exponent "
        f"at {listed(curve)}, that of dimension at {listed(wide)}."
    )
    caption = (
        f"The exponent of every layer, read at k = {ks} active latents, against curvature, dimension and "
        f"place in the network. Bars: 95 % intervals of the measured ones (the paper gives none). {words}"
    )
    return {"caption": caption, "alt": f"Three scatter plots, one colour a model. {words}"}


PART_WORDS = {"layer": "of the layer", "flat twin": "of the flat twin", "excess": "excess over it"}


def fig_twins(twins: pd.DataFrame, surrogate: str) -> alt.TopLevelMixin:
    """Correlate the exponent with each summary of the layer, of its flat twin, and with their difference."""
    table = twins[twins["surrogate"] == surrogate]
    table = table.assign(row=table["features"].map(SYMBOLS) + " " + table["part"].map(PART_WORDS))
    order = [f"{SYMBOLS[f]} {w}" for f in dict.fromkeys(table["features"]) for w in PART_WORDS.values()]
    panels = []
    for i, (given, title) in enumerate([("none", "As it is"), ("depth", "At equal depth")]):
        tooltip = ["name:N", "row:N", alt.Tooltip("correlation:Q", format=".2f"), *INTERVAL]
        kept = table.loc[table["given"] == given, ["model", "row", "correlation", "low", "high"]]
        panel = dots(kept, "correlation", "row", order, (-1, 1), "correlation with the exponent",
                     width=178, step=24, labels=i == 0, tooltip=tooltip)  # fmt: skip
        panels.append(panel.properties(title=title))
    curve = table[(table["features"] == "kappa_ms") & (table["given"] == "none")]
    said = "; ".join(
        f"{PART_WORDS[part]}: {listed(rows.set_index('model')['correlation'].to_dict())}"
        for part, rows in curve.groupby("part", sort=False)
    )
    clear = int((table["low"] * table["high"] > 0).sum())
    return theme.finish(
        alt.vconcat(names_in_colour(table), alt.hconcat(*panels, spacing=14), spacing=8),
        "twins",
        caption="Correlation of the exponent with the summaries of a layer, with those of a flat twin (here "
        "a Gaussian of the same covariance, read with the layer's tangent dimension), and with their "
        "difference; 95 % intervals from blocks of layers. A law about curvature needs a negative sign in "
        f"the excess of κ_ms. {clear} of the {len(table)} intervals are clear of zero.",
        alt=f"Dots with intervals. Curvature as it is, {said}.",
    )


ERROR_WORDS = {"documents": "stated errors", "wobble": "errors of the size of the wobble"}


def fig_errors(errors: pd.DataFrame) -> alt.TopLevelMixin:
    """Left-out R2 of every hypothesis when the exponents are drawn again from their wobble."""
    table = errors[errors["statistic"] == "loo_r2"].assign(row=errors["features"].map(hypothesis))
    rows = table[table["errors"] == "wobble"]
    tooltip = ["name:N", "row:N", alt.Tooltip("value:Q", format=".3f"), *INTERVAL]
    tooltip += [alt.Tooltip(f"{c}:Q", format=".3f") for c in ("se", "ceiling")]
    kept = rows[["model", "row", "value", "low", "high", "se", "ceiling"]]
    step = 9 + 9 * rows["model"].nunique()
    order = list(dict.fromkeys(table["row"]))
    chart = dots(kept, "value", "row", order, (-1, 1), "R² on left-out layers", width=400, step=step,
                 tooltip=tooltip)  # fmt: skip
    ceilings = "; ".join(
        f"{ERROR_WORDS[kind]}: {listed(own.groupby('model', sort=False)['ceiling'].first().to_dict())}"
        for kind, own in table.groupby("errors", sort=False)
    )
    return theme.finish(
        alt.vconcat(names_in_colour(rows), chart, spacing=8),
        "exponent-errors",
        caption="The same regressions on exponents as measured (dots) and drawn again with errors of the "
        "size of their wobble from layer to layer (bars, 95 % of the draws). The share of the variance of "
        f"the exponent that is not error, which no law can beat: {ceilings}. Below zero, errors as stated "
        "exceed all differences between layers.",
        alt=f"Dots with intervals. Ceilings: {ceilings}.",
    )
