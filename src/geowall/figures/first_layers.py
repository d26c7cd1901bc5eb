"""The figures of chapter 08 about its first layers: their weight, and what is left without them.

>>> import pandas as pd
>>> table = pd.DataFrame({"model": "gemma-2-2b", "features": "depth+nu", "dropped_layers": [0, 1]})
>>> fig_beside_depth(table.assign(rival="depth", gap=0.2, low=0.1, high=0.3)).usermeta["name"]
'fig-beside-depth'
"""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import pandas as pd

from geowall.figures import theme
from geowall.figures.claim import declutter
from geowall.figures.marks import INTERVAL, colour, hypothesis, key, named, reach


def fig_influence(influence: pd.DataFrame, features: str = "kappa_ms", first: int = 14) -> alt.TopLevelMixin:
    """Share of the exponent's variance that each of the first layers carries, and its Cook's distance."""
    table = named(influence[influence["features"] == features])
    shown = table[table["layer"] < table["layer"].min() + first].copy()
    shown["mark"] = shown["alpha_extrapolated"].map({True: "extrapolated", False: "measured"})
    shown = shown.drop(columns="value").round(5)  # it is in the caption's words, not in the chart
    tooltip = [
        "name:N",
        "layer:O",
        alt.Tooltip("variance_share:Q", format=".1%"),
        alt.Tooltip("cumulative_share:Q", title="with all before", format=".1%"),
        alt.Tooltip("leverage:Q", format=".2f"),
        alt.Tooltip("cooks_distance:Q", title="Cook's distance", format=".3f"),
        "mark:N",
    ]
    panels = []
    for column, title, form in [
        ("variance_share", "Share of the exponent's variance", "%"),
        ("cooks_distance", "Pull on the fit (Cook's distance)", "~g"),
    ]:
        top = reach(shown[column], 0, 0.6)[1] if column == "variance_share" else max(8, shown[column].max())
        y = alt.Y(f"{column}:Q", title=None).axis(format=form, tickCount=5).scale(domain=[0, top], nice=False)
        x = alt.X("layer:O", title="layer").axis(labelAngle=0)
        base = alt.Chart(shown).encode(x=x, y=y, xOffset="name:N", color=colour(table), tooltip=tooltip)
        solid = base.transform_filter("!datum.alpha_extrapolated").mark_bar()
        hollow = base.transform_filter("datum.alpha_extrapolated").mark_bar(fillOpacity=0.25, strokeWidth=1.5)
        hollow = hollow.encode(stroke=colour(table))
        panels.append((solid + hollow).properties(width=250, height=200, title=title))
    panels[0] = panels[0] + key(table, 240, 14, align="right")
    four = table[table["layer"] == table["layer"].min() + 3].set_index("name")["cumulative_share"]
    one = table[table["layer"] == table["layer"].min()].set_index("name")["variance_share"]
    words = " and ".join(f"{v:.0%} ({n})" for n, v in four.items())
    alone = " and ".join(f"{v:.0%} ({n})" for n, v in one.items())
    worst = table.loc[table["cooks_distance"].idxmax()]
    return theme.finish(
        alt.hconcat(*panels, spacing=20),
        "influence",
        caption=f"The first layer alone carries {alone} of the variance of the exponent, the first four "
        f"{words}. Hollow "
        "bars: exponents extrapolated beyond the measured sparsities. The strongest pull on the fit is layer "
        f"{worst['layer']} of {worst['name']}, with a Cook's distance of {worst['cooks_distance']:.1f}; "
        f"above 1 is large.",
        alt=f"Bars by layer. First layer: {alone} of the variance; first four: {words}.",
    )


def fig_dropped(stage2: pd.DataFrame, target: str, shown: Sequence[str]) -> alt.TopLevelMixin:
    """R2 on left-out layers (solid) and in sample (dashed) after dropping the first layers, for ``shown``."""
    table = stage2[(stage2["target"] == target) & stage2["features"].isin(list(shown))]
    table = named(table).assign(hypothesis=lambda t: t["features"].map(hypothesis))
    order = [hypothesis(features) for features in shown]
    scale = alt.Scale(domain=order, range=theme.CATEGORY[: len(order)])
    panels = [
        _dropped_panel(table[table["name"] == name].round(4), scale, i)
        for i, name in enumerate(dict.fromkeys(table["name"]))
    ]
    poor = table[(table["loo_r2"] < 0.5) & table["features"].isin(["kappa_ms", "depth"])]
    half = poor.groupby(["hypothesis", "name"], sort=False)["dropped_layers"].min()
    words = ", ".join(f"{what} {q} ({name})" for (what, name), q in half.items()) or "none shown"
    last = table[table["dropped_layers"] == table["dropped_layers"].max()]
    ends = "; ".join(
        f"{r.name_} {r.hypothesis} {r.loo_r2:.2f}"
        for r in last.rename(columns={"name": "name_"}).itertuples()
    )
    ends = ends.replace("-", "−")
    return theme.finish(
        alt.hconcat(*panels, spacing=16),
        "dropped",
        caption="The same regressions without the first layers: $R^2$ on left-out layers (solid) and in "
        "sample (dashed). "
        f"Left-out $R^2$ falls below one half once this many layers are dropped: {words}.",
        alt="Lines of leave-one-out R2 against the number of first layers dropped. At the right end: "
        f"{ends}.",
    )


def _dropped_panel(table: pd.DataFrame, scale: alt.Scale, i: int) -> alt.LayerChart:
    top = table["dropped_layers"].max()
    x = alt.X("dropped_layers:Q", title="first layers dropped")
    x = x.scale(domain=[table["dropped_layers"].min(), top + 5.6], nice=False).axis(
        values=list(range(0, top + 1, 2)), grid=False
    )
    y = alt.Y("loo_r2:Q", title="R²" if i == 0 else None).scale(domain=[-0.25, 1], nice=False)
    shade = alt.Color("hypothesis:N", scale=scale, legend=None)
    tooltip = [
        "hypothesis:N",
        alt.Tooltip("dropped_layers:Q", title="dropped"),
        alt.Tooltip("n_layers:Q", title="layers left"),
        alt.Tooltip("loo_r2:Q", title="left out", format=".3f"),
        alt.Tooltip("r2:Q", title="in sample", format=".3f"),
    ]
    base = alt.Chart(table).encode(x=x, color=shade)
    solid = base.mark_line(strokeWidth=2.2, clip=True).encode(y=y)
    solid += base.mark_circle(size=24, opacity=1, clip=True).encode(y=y, tooltip=tooltip)
    dashed = base.mark_line(strokeWidth=1.3, opacity=0.45, strokeDash=[3, 2], clip=True).encode(y="r2:Q")
    ends = table[table["dropped_layers"] == top].copy()
    ends["height"] = declutter(ends["loo_r2"].clip(-0.22, 1), gap=0.075)
    labels = alt.Chart(ends).mark_text(align="left", dx=7, fontSize=11)
    labels = labels.encode(x=x, y=alt.Y("height:Q"), text="hypothesis:N", color=shade)
    zero = alt.Chart(pd.DataFrame({"zero": [0]})).mark_rule(strokeDash=[3, 3], opacity=0.6).encode(y="zero:Q")
    return (zero + dashed + solid + labels).properties(width=236, height=260, title=table["name"].iloc[0])


def fig_beside_depth(gaps: pd.DataFrame) -> alt.TopLevelMixin:
    """What each summary adds to depth on left-out layers, against the number of first layers dropped."""
    table = named(gaps)
    least, step = table["dropped_layers"].min(), table["dropped_layers"].max()
    panels = []
    for i, features in enumerate(dict.fromkeys(table["features"])):
        rows = table[table["features"] == features]
        x = alt.X("dropped_layers:Q", title="first layers dropped")
        x = x.axis(grid=False, values=list(range(least, step + 1)), format="d")
        scale = alt.Scale(domain=[-0.5, 1.0], nice=False, clamp=True)
        y = alt.Y("gap:Q", title="gain in left-out R²" if i == 0 else None, scale=scale)
        y = y.axis(values=[-0.5, 0, 0.5, 1], format=".1f")
        base = alt.Chart(rows).encode(x=x, color=colour(table))
        band = base.mark_area(opacity=0.2).encode(y=alt.Y("low:Q", scale=scale), y2="high:Q")
        tooltip = ["name:N", "dropped_layers:Q", alt.Tooltip("gap:Q", format="+.3f"), *INTERVAL]
        line = base.mark_line(strokeWidth=2.2).encode(y=y)
        line += base.mark_circle(size=30, opacity=1).encode(y=y, tooltip=tooltip)
        zero = (
            alt.Chart(pd.DataFrame({"zero": [0]}))
            .mark_rule(strokeDash=[3, 3], opacity=0.6)
            .encode(y="zero:Q")
        )
        panel = zero + band + line
        panel = panel + key(table, 8, 12) if i == 0 else panel
        rival = hypothesis(rows["rival"].iloc[0])
        panels.append(panel.properties(width=240, height=200, title=f"{hypothesis(features)}  over  {rival}"))
    words = "; ".join(_how_often(rows) for _, rows in table.groupby(["features", "name"], sort=False))
    return theme.finish(
        alt.hconcat(*panels, spacing=20),
        "beside-depth",
        caption="Gain in left-out $R^2$ when one summary joins depth, after dropping the first layers; "
        "bands are 95 % "
        f"intervals from blocks of layers. How often the band is clear of zero: {words}.",
        alt=f"Two panels of lines with bands. {words}.",
    )


def _how_often(rows: pd.DataFrame) -> str:
    clear = int((rows["low"] > 0).sum())
    return f"{hypothesis(rows['features'].iloc[0])} at {rows['name'].iloc[0]}, {clear} of {len(rows)}"
