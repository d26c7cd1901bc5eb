"""Chapter 06 beside the residual stream: what attention heads and MLPs put out, read by the same recipe.

>>> import pandas as pd
>>> row = {"model": "m", "layer": 0, "low": 1.0, "high": 3.0, "surrogate": "gaussian_same_dim"}
>>> row |= {"value": 2.0, "surrogate_value": 1.5}
>>> table = pd.DataFrame([row | {"site": s, "estimator": e} for s in ("res", "att") for e in FOUR])
>>> fig_sites(table).usermeta["name"]
'fig-sites'
>>> told(pd.DataFrame({"model": ["m"], "site": ["res"]}))
'Only the residual stream was measured here: `other_sites` names what else can be.'
"""

from __future__ import annotations

import altair as alt
import pandas as pd

from geowall.figures import theme
from geowall.figures.marks import SITES, SYMBOLS, WORDS, signed, spoken

FOUR = list(WORDS)
BESIDE = "gaussian_same_dim"  # the surrogate that every site has
COLOURS = [theme.BLUE, theme.ORANGE, theme.GREEN]


def fig_sites(table: pd.DataFrame) -> alt.TopLevelMixin:
    """The four summaries by depth at each site of the first model, each dashed on its flat twin."""
    own = table[(table["model"] == table["model"].iloc[0]) & (table["surrogate"] == BESIDE)]
    own = own.assign(name=own["site"].map(SITES))
    panels = [
        _panel(own[own["estimator"] == name]).properties(width=255, height=120, title=words)
        for name, words in WORDS.items()
    ]
    rows = [alt.hconcat(*panels[i : i + 2], spacing=20) for i in (0, 2)]
    chart = alt.vconcat(_key(own), *rows, spacing=10).resolve_scale(color="independent")
    middle = own.groupby(["estimator", "site"])["value"].median()
    sites = [site for site in SITES if site in set(own["site"])]
    found = "; ".join(
        f"{SYMBOLS[e]} {', '.join(f'{middle[e, s]:.3g} ({SITES[s]})' for s in sites)}" for e in FOUR
    )
    return theme.finish(
        chart,
        "sites",
        caption=f"The four summaries of {own['model'].iloc[0]} by depth at each site, with 95 % intervals "
        "over documents; dashed: a Gaussian of the same covariance, read with the same tangent dimension. "
        f"Median over layers: {found}.",
        alt=f"Four panels of summaries over layers, a line a site. Medians: {found}.",
    )


def _panel(own: pd.DataFrame) -> alt.LayerChart:
    columns = ["layer", "name", "value", "low", "high", "surrogate_value"]
    base = alt.Chart(own[columns]).encode(
        x=alt.X("layer:Q", title="layer").axis(grid=False, tickCount=6), color=_colour(own)
    )
    tips = ["name:N", "layer:Q", *(alt.Tooltip(f"{c}:Q", format=".3f") for c in columns[2:])]
    y = alt.Y("value:Q", title=None).scale(zero=True).axis(tickCount=5)
    bars = base.mark_rule(strokeWidth=3, opacity=0.45).encode(y=alt.Y("low:Q", title=None), y2="high:Q")
    line = base.mark_line(strokeWidth=2, point={"size": 18}).encode(y=y, tooltip=tips)
    twin = base.mark_line(strokeWidth=1.2, strokeDash=[4, 3]).encode(y="surrogate_value:Q")
    return bars + twin + line


def _colour(own: pd.DataFrame) -> alt.Color:
    kept = [(words, ink) for (site, words), ink in zip(SITES.items(), COLOURS, strict=True)]
    names, inks = zip(*[pair for pair in kept if pair[0] in set(own["name"])], strict=True)
    return alt.Color("name:N", scale=alt.Scale(domain=list(names), range=list(inks)), legend=None)


def _key(own: pd.DataFrame) -> alt.Chart:
    names = pd.DataFrame({"name": [words for words in SITES.values() if words in set(own["name"])]})
    names["x"] = names.index * 130
    marks = alt.Chart(names).mark_text(align="left", baseline="top", fontWeight=600, fontSize=12)
    place = alt.X("x:Q", scale=None, axis=None)
    return marks.encode(x=place, y=alt.value(0), text="name:N", color=_colour(own)).properties(
        width=390, height=14
    )


def told(table: pd.DataFrame) -> str:
    """Say what other sites read beside the stream, from the table of ``layer_geometry.by_site``."""
    others = [site for site in SITES if site in set(table["site"]) and site != "res"]
    if not others:
        return "Only the residual stream was measured here: `other_sites` names what else can be."
    model = table["model"].iloc[0]
    own = table[table["model"] == model].set_index(["site", "estimator"])
    parts = [f"{SITES[site]} " + ", ".join(_beside(own, site, name) for name in FOUR) for site in others]
    clear = spoken(
        [f"{own.loc[(s, 'kappa_ms'), 'clear']:.0%} of the layers ({SITES[s]})" for s in ("res", *others)]
    )
    along = spoken([f"{signed(own.loc[(s, 'kappa_ms'), 'correlation'])} ({SITES[s]})" for s in others])
    return (
        f"Medians over the layers of {model}, the residual stream's in brackets: {'; '.join(parts)}. κ_ms is "
        f"clearly above the flat twin's at {clear}. Over layers it correlates with the stream's at {along}."
    )


def _beside(own: pd.DataFrame, site: str, name: str) -> str:
    return f"{SYMBOLS[name]} {own.loc[(site, name), 'value']:.3g} ({own.loc[('res', name), 'value']:.3g})"
