"""The figures of chapter 09 about floors, exponents and prefactors, and the regime of real dictionaries.

>>> table = pd.DataFrame({"method": ["a"], "architecture": ["relu"], "alpha": [0.4], "alpha_low": [0.3]})
>>> table = table.assign(alpha_high=0.5, beta=0.05, beta_low=0.04, beta_high=0.06, regime="pathological")
>>> table["restates"] = False
>>> fig_wall_regimes(table).usermeta["name"]
'fig-wall-regimes'
"""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd

from geowall.figures import theme
from geowall.figures.marks import SYMBOLS, colour, dots, listed, named, names_in_colour, shades, short, spoken

STATISTICS = {
    "floor": "floor",
    "floor_share": "floor over least error",
    "alpha_floor": "exponent above it",
    "attenuation": "exponent hidden by it",
}
TARGETS = {"log_level": "error at a middle width", "log_prefactor": "prefactor A", "alpha_width": "exponent"}
TERMS = {
    "log kappa_ms": "With curvature, equal dimension",
    "1/d_int": "With 1/dimension, equal curvature",
}
ENCODERS = {"relu": "ReLU", "topk": "TopK"}


def at_k(table: pd.DataFrame) -> str:
    """Say at which sparsity each model is read.

    >>> at_k(pd.DataFrame({"model": ["lab-small", "lab-large", "gemma-2-9b"], "k": [16.0, 16.0, 50.0]}))
    'k = 16 (lab-small and lab-large) and k = 50 (9B)'
    """
    models = table.dropna(subset=["k"]).groupby("k")["model"].unique()
    return spoken([f"k = {k:g} ({spoken([short(m) for m in names])})" for k, names in models.items()])


def fig_wall_floors(floors: pd.DataFrame) -> alt.TopLevelMixin:
    """Fitted floors with their intervals against dimension and against curvature."""
    table = named(floors.dropna(subset=["floor"])).copy()
    table["where"] = table["name"] + " layer " + table["layer"].astype(str)
    table["top"] = table["high"].clip(upper=1.25 * table["floor"].max())
    panels = []
    for summary, words in (("d_int", "intrinsic dimension"), ("kappa_ms", "curvature κ_ms")):
        rows = table.dropna(subset=[summary])[
            ["name", "where", "floor", "low", "high", "top", "clear", summary]
        ]
        x = alt.X(f"{summary}:Q", title=words).scale(type="log", nice=False, padding=12)
        x = x.axis(grid=False, tickCount=5, format="~g")
        y = alt.Y("floor:Q", title="floor (NMSE)" if not panels else None).scale(zero=True)
        base = alt.Chart(rows).encode(x=x, color=_shade(table))
        bars = base.mark_rule(strokeWidth=2, opacity=0.35).encode(y=alt.Y("low:Q"), y2="top:Q")
        tips = ["where:N", alt.Tooltip("floor:Q", format=".3f"), alt.Tooltip("low:Q", format=".3f")]
        tips += [alt.Tooltip("high:Q", format=".3f"), alt.Tooltip(f"{summary}:Q", format=".3g")]
        fill = alt.Fill("name:N", scale=shades(table), legend=None)
        fill = alt.condition("datum.clear", fill, alt.value("transparent"))
        points = base.mark_point(size=42, strokeWidth=1.6).encode(y=y, tooltip=tips, fill=fill)
        panels.append((bars + points).properties(width=250, height=230))
    clear = table.groupby("name", sort=False)["clear"].agg(["sum", "size"])
    said = spoken([f"{int(r['sum'])} of {int(r['size'])} at {name}" for name, r in clear.iterrows()])
    return theme.finish(
        alt.vconcat(names_in_colour(table), alt.hconcat(*panels, spacing=18), spacing=6),
        "wall-floors",
        caption="The fitted floor of each layer, with its profile-likelihood interval, against the layer's "
        f"dimension and curvature, at {at_k(table)}. Filled marks are clear of zero: {said}. Open marks "
        "are not: there a power "
        "law without a floor fits as well.",
        alt=f"Two scatter plots of floors against dimension and curvature. Clear of zero: {said}. Floors "
        f"run from {table['floor'].min():.3f} to {table['floor'].max():.3f}.",
    )


def _shade(table: pd.DataFrame) -> alt.Color:
    return alt.Color("name:N", title=None, scale=shades(table), legend=None)


def fig_wall_tracks(tracks: pd.DataFrame) -> alt.TopLevelMixin:
    """What goes with geometry over layers: the floor, the exponent above it, the part it hides."""
    shown = tracks[tracks["features"].isin(["d_int", "kappa_ms"])]
    panels = []
    for features, title in (("d_int", "With dimension"), ("kappa_ms", "With curvature")):
        rows = shown[shown["features"] == features].copy()
        rows["row"] = rows["statistic"].map(STATISTICS) + np.where(
            rows["given"] == "depth", ", equal depth", ""
        )
        order = [s + g for s in STATISTICS.values() for g in ("", ", equal depth")]
        order = [name for name in order if (rows["row"] == name).any()]
        tips = [
            "name:N",
            "row:N",
            alt.Tooltip("correlation:Q", format=".2f"),
            alt.Tooltip("low:Q", format=".2f"),
        ]
        tips += [alt.Tooltip("high:Q", format=".2f"), "n_layers:Q"]
        panel = dots(
            rows.drop(columns=["source", "features", "given", "statistic"]), "correlation", "row", order,
            (-1.0, 1.0), "correlation", width=172, step=30, labels=not panels, limit=230, tooltip=tips,
        )  # fmt: skip
        panels.append(panel.properties(title=title))
    floors = shown[(shown["statistic"] == "floor") & (shown["given"] == "none")]
    said = "; ".join(
        f"{SYMBOLS[f]}: {_listed(rows, 'correlation')}" for f, rows in floors.groupby("features", sort=False)
    )
    return theme.finish(
        alt.vconcat(names_in_colour(shown), alt.hconcat(*panels, spacing=14), spacing=6),
        "wall-tracks",
        caption="Correlations over layers with the logarithm of a summary, with 95 % intervals from "
        f"blocks of neighbouring layers. Floors are read at {at_k(tracks)}. The floor itself: {said}. "
        "*Pooled* are the showcase layers of "
        "Gemma 2, six in all, with Fisher's interval: they are no neighbours.",
        alt=f"Two panels of correlations with intervals. The floor with {said}.",
    )


def _listed(rows: pd.DataFrame, column: str) -> str:
    return listed(dict(zip(rows["model"], rows[column], strict=True)))


def fig_wall_theory(theory: pd.DataFrame) -> alt.TopLevelMixin:
    """Does curvature go with the level and dimension with the exponent? Partial correlations by model."""
    shown = theory[theory["target"] != "log_prefactor"].copy()
    shown["low"], shown["high"] = shown["partial_low"], shown["partial_high"]
    shown["row"] = shown["target"].map(TARGETS)
    order = [TARGETS["log_level"], TARGETS["alpha_width"]]
    panels = []
    for term, title in TERMS.items():
        rows = shown[shown["term"] == term]
        columns = ["model", "row", "partial", "low", "high", "slope", "patches", "atoms"]
        tips = ["name:N", "row:N", alt.Tooltip("partial:Q", format=".2f"), alt.Tooltip("low:Q", format=".2f")]
        tips += [alt.Tooltip("high:Q", format=".2f"), alt.Tooltip("slope:Q", format=".2f")]
        tips += [alt.Tooltip("patches:Q", format=".1f"), alt.Tooltip("atoms:Q", format=".1f")]
        panel = dots(
            rows[columns], "partial", "row", order, (-1.0, 1.0), "partial correlation",
            width=185, step=72, labels=not panels, limit=150, tooltip=tips,
        )  # fmt: skip
        panels.append(panel.properties(title=title))
    own = theory[(theory["target"] == "alpha_width") & (theory["term"] == "1/d_int")]
    said = spoken([f"{_range(r)} at {short(r.model)}" for r in own.itertuples()])
    return theme.finish(
        alt.vconcat(names_in_colour(shown), alt.hconcat(*panels, spacing=14), spacing=6),
        "wall-theory",
        caption="If dictionaries covered manifolds with flat patches, error at a given width would rise "
        "with curvature and fall with 1/dimension, and the exponent would rise with 1/dimension "
        f"and ignore curvature. Laws are read at {at_k(theory)}; intervals are 95 %, from blocks "
        f"of layers. The exponent's slope on 1/dimension is {said}, where patches want 4 and "
        "single atoms 2.",
        alt="Partial correlations of error and exponent with curvature and dimension. Slopes on "
        f"1/dimension: {said}.",
    )


def _range(row: tuple) -> str:
    return f"{row.slope:.1f} ({row.low:.1f} to {row.high:.1f})".replace("-", "−")


def fig_wall_regimes(estimates: pd.DataFrame) -> alt.TopLevelMixin:
    """Every estimate of alpha against the beta of either encoder: left of the band benign, right of it
    not."""
    low, high = -0.7, 1.3
    order = list(dict.fromkeys(estimates["method"]))
    y = alt.Y("method:N", sort=order, title=None)
    panels = []
    for encoder, rows in estimates.groupby("architecture", sort=False):
        drawn = rows.assign(left=rows["alpha_low"].clip(low, high), right=rows["alpha_high"].clip(low, high))
        x = alt.X("alpha:Q", title="α, how fast features get rare")
        x = x.scale(domain=[low, high], nice=False).axis(grid=False, values=[-0.5, 0, 0.5, 1.0])
        own = y.axis(domain=False, ticks=False, labels=not panels, labelLimit=210, labelPadding=8)
        base = alt.Chart(drawn).encode(y=own.scale(domain=order))
        tips = [
            "method:N",
            *(alt.Tooltip(f"{c}:Q", format=".2f") for c in ("alpha", "alpha_low", "alpha_high")),
        ]
        tips += [alt.Tooltip("beta:Q", format=".3f"), "regime:N"]
        band = alt.Chart(rows[["beta_low", "beta_high"]].head(1)).mark_rect(opacity=0.6, color=theme.GREY)
        band = band.encode(x=alt.X("beta_low:Q"), x2="beta_high:Q")
        bars = base.mark_rule(strokeWidth=3, opacity=0.4, color=theme.BLUE)
        bars = bars.encode(x=alt.X("left:Q"), x2="right:Q")
        points = base.mark_circle(size=55, opacity=1, color=theme.BLUE).encode(x=x, tooltip=tips)
        title = f"β of {ENCODERS.get(encoder, encoder)}: {rows['beta'].iloc[0]:.2f}"
        panels.append((band + bars + points).properties(width=182, height=26 * len(order), title=title))
    counts = estimates["regime"].value_counts()
    said = spoken([f"{n} {regime}" for regime, n in counts.items()])
    return theme.finish(
        alt.hconcat(*panels, spacing=14),
        "wall-regimes",
        caption="Every estimate of α with its range, against β of isolated manifolds (grey band) under "
        "two encoders. A bar left of the band is the benign regime, right of it the pathological "
        f"one. Of {len(estimates)} pairings {said}. The {int(estimates['restates'].sum())} made "
        "from D(N) restate how D(N) grows, whatever β is.",
        alt=f"Two panels of estimates of alpha against beta. Of {len(estimates)} pairings {said}.",
    )


def fig_wall_deciding(parting: pd.DataFrame) -> alt.TopLevelMixin:
    """How much wider than today's widest the dictionary would have to be that tells a floor from none."""
    table = named(parting).copy()
    table["octaves"] = np.log2(table["decides_at"] / table["widest"])
    table["known"] = table["octaves"].notna()
    never = int((~table["known"]).sum())
    cap = float(np.nanmax([table["octaves"].max(), 4])) + 1
    table["drawn"] = table["octaves"].fillna(cap)
    x = alt.X("drawn:Q", title="doublings beyond the widest dictionary").scale(
        domain=[-0.5, cap + 0.5], nice=False
    )
    x = x.axis(values=list(range(int(cap) + 1)), format="d", grid=True)
    y = alt.Y("name:N", title=None).axis(domain=False, ticks=False)
    tips = [
        "name:N",
        "layer:Q",
        alt.Tooltip("decides_at:Q", format=","),
        alt.Tooltip("scatter:Q", format=".3f"),
    ]
    jitter = alt.YOffset("jitter:Q", scale=alt.Scale(domain=[0, 1]))
    table["jitter"] = (table.groupby("name").cumcount() * 0.618034) % 1
    points = alt.Chart(
        table[["name", "layer", "drawn", "decides_at", "scatter", "jitter", "known"]]
    ).mark_point(size=45)
    fill = alt.Fill("name:N", scale=shades(table), legend=None)
    fill = alt.condition("datum.known", fill, alt.value("transparent"))
    points = points.encode(x=x, y=y, yOffset=jitter, color=colour(table), fill=fill, tooltip=tips)
    chart = points.properties(width=480, height=alt.Step(44))
    here = int((table["octaves"] <= 0).sum())
    return theme.finish(
        chart,
        "wall-deciding",
        caption="At which width a power law with a floor and one without would part by three times the "
        "scatter of the fit, in doublings beyond the widest dictionary there is, at "
        f"{at_k(table)}. At {here} of {len(table)} layers today's widest already tells; at {never} "
        "(open, at the right edge) no width within twelve doublings does.",
        alt=f"A dot for each layer. At {here} of {len(table)} layers the widest dictionary decides "
        f"already; at {never} none does within twelve doublings.",
    )
