"""Figures of chapter 01 where one or some features are manifolds and the others are discrete.

>>> from geowall.allocation import discovery_table
>>> table = discovery_table([0.5], [0.05, 0.5], [1e4, 1e6, 1e8])
>>> fig_discovery(table).usermeta["name"]
'fig-discovery'
"""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd

from geowall.figures import theme
from geowall.figures.claim import declutter
from geowall.figures.powers import SIZE, decades, human, line_ends, log_axis

EFFICIENCY = "features discovered per latent"
COUNTS = [
    alt.Tooltip("d_sae:Q", title="latents", format=",.3~s"),
    alt.Tooltip("n_discovered:Q", title="features discovered", format=",.4~s"),
    alt.Tooltip("n_on_manifold:Q", title="latents on the manifold", format=",.4~s"),
    alt.Tooltip("efficiency:Q", title="features per latent", format=".3~g"),
]


def fig_discovery(discovered: pd.DataFrame, marked: tuple[float, float] = (0.05, 1e8)) -> alt.TopLevelMixin:
    """Efficiency against d_sae, one line a beta; a ring at ``marked`` (beta, d_sae)."""
    table = discovered.assign(label="β = " + discovered["beta"].map("{:g}".format))
    top, low = int(np.ceil(np.log10(table["d_sae"].max()))), table["efficiency"].min()
    x = alt.X("d_sae:Q", title=SIZE).axis(log_axis(decades(0, top, 2)))
    x = x.scale(type="log", domain=[table["d_sae"].min(), 10.0**top * 12], nice=False)
    y = alt.Y("efficiency:Q", title=EFFICIENCY).axis(log_axis(decades(-6, 0), grid=True))
    y = y.scale(type="log", domain=[low / 1.3, 1.15], nice=False)
    colour = alt.Color("beta:Q", legend=None).scale(scheme="viridis", type="log", domain=[0.004, 4])
    base = alt.Chart(table).encode(x=x, y=y, color=colour, detail="beta:N")
    points = base.mark_circle(size=18).encode(tooltip=[alt.Tooltip("beta:Q", title="β"), *COUNTS])
    ends = line_ends(table, "beta", "d_sae").sort_values("beta")
    gap = np.log10(1.3 / low) / 21
    ends["height"] = 10 ** np.array(declutter(np.log10(ends["efficiency"]), gap=gap))
    labels = alt.Chart(ends).mark_text(align="left", dx=6).encode(x=x, y="height:Q", text="label:N")
    here = table[np.isclose(table["beta"], marked[0]) & (table["d_sae"] == marked[1])]
    chart = base.mark_line(strokeWidth=2) + points + labels
    found = ""
    if len(here):
        chart += _ring(here, x)
        count = human(here["n_discovered"].iloc[0])
        found = f" At $\\beta = {marked[0]:g}$, {human(marked[1])} latents discover {count} features."
    listed = ", ".join(f"{row.efficiency:.2g} for beta {row.beta:g}" for row in ends.itertuples())
    return theme.finish(
        chart.properties(width=500, height=330),
        "discovery",
        caption="One manifold, the most frequent feature, among discrete features "
        f"($\\alpha = {table['alpha'].iloc[0]:g}$), after Fig. 2 (right) of {{cite:t}}`michaud2025`; every "
        f"point is the exact optimum.{found} A manifold whose loss falls slowly takes nearly all latents, "
        "and the smallest $\\beta$ is not the worst.",
        alt="Features discovered per latent against dictionary size, one line a beta, falling where beta is "
        f"below alpha. At the right end: {listed}.",
    )


def _ring(here: pd.DataFrame, x: alt.X) -> alt.LayerChart:
    words = here.assign(words=f"{human(here['n_discovered'].iloc[0])} features")
    base = alt.Chart(words).encode(x=x, y="efficiency:Q")
    ring = base.mark_point(size=140, strokeWidth=2, color=theme.RED, filled=False, opacity=1)
    text = base.mark_text(align="right", dx=-10, dy=10, color=theme.RED, fontWeight=600)
    return ring + text.encode(text="words:N")


def fig_worst_beta(discovered: pd.DataFrame, worst: pd.DataFrame) -> alt.TopLevelMixin:
    """Efficiency against beta at fixed sizes, with the worst beta and the rule 1 / ln d_sae."""
    names = {n: f"{human(n)} latents" for n in discovered["d_sae"].unique()}
    table, marks = (t.assign(label=t["d_sae"].map(names)) for t in (discovered, worst))
    low, high = table["beta"].min(), table["beta"].max()
    x = alt.X("beta:Q", title="β of the manifold").scale(type="log", domain=[low, high * 1.02], nice=False)
    x = x.axis(values=[0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3], format="~g", grid=False)
    y = alt.Y("efficiency:Q", title=EFFICIENCY).axis(log_axis(decades(-5, 0), grid=True))
    y = y.scale(type="log", domain=[table["efficiency"].min() / 2, 1.2], nice=False)
    colour = alt.Color("label:N", legend=None, sort=list(names.values()))
    lines = alt.Chart(table).mark_line(strokeWidth=2)
    lines = lines.encode(x=x, y=y, color=colour, tooltip=[alt.Tooltip("beta:Q", format=".3~g"), *COUNTS])
    bottom = alt.Chart(marks).encode(x="beta_worst:Q", y="efficiency:Q", color=colour)
    dots = bottom.mark_circle(size=90, opacity=1).encode(tooltip=[alt.Tooltip("beta_worst:Q", format=".4f")])
    ticks = alt.Chart(marks).mark_tick(orient="vertical", thickness=2, size=30, color="currentColor")
    rule = alt.Tooltip("beta_rule:Q", title="1 / ln d_sae", format=".4f")
    ticks = ticks.encode(x="beta_rule:Q", y="efficiency:Q", tooltip=[rule], opacity=alt.value(0.7))
    labels = bottom.mark_text(dx=-16, dy=26, fontWeight=600).encode(text="label:N")
    listed = ", ".join(f"{row.beta_worst:.3f} at {names[row.d_sae]}" for row in worst.itertuples())
    off = (worst["beta_rule"] / worst["beta_worst"] - 1).abs().max()
    return theme.finish(
        (lines + ticks + dots + labels).properties(width=500, height=320),
        "worst-beta",
        caption="A flatter loss is not always worse: each curve has a bottom (dot), and the rule "
        f"$\\beta = 1/\\ln N$ (tick) finds it to {off:.0%} or better. Below it the manifold's loss is so "
        "flat that its further latents gain less than a rare feature does.",
        alt="Features per latent against beta, a valley for each dictionary size. The worst beta is "
        f"{listed}.",
    )


def fig_saturation(saturation: pd.DataFrame) -> alt.TopLevelMixin:
    """Efficiency against d_sae when the manifold's loss stops falling after n_sat latents (missing: none)."""
    named = {n: f"after {human(float(n))}" for n in saturation["n_sat"].dropna().unique()}
    table = saturation.assign(label=[named.get(n, "never") for n in saturation["n_sat"].fillna(0)])
    order = list(dict.fromkeys(table["label"]))
    table = table.sort_values(["n_sat", "d_sae"], na_position="last")  # what is drawn last lies on top
    top, first = table["d_sae"].max(), saturation.iloc[0]
    x = alt.X("d_sae:Q", title=SIZE).axis(log_axis(decades(0, 12, 2)))
    x = x.scale(type="log", domain=[table["d_sae"].min(), top * 1.02], nice=False)
    y = alt.Y("efficiency:Q", title=EFFICIENCY).scale(domain=[0, 1.04], nice=False)
    colours = [theme.RED, theme.BLUE, theme.GREEN, theme.PURPLE, theme.ORANGE, theme.GREY]
    colour = alt.Color(
        "label:N", legend=alt.Legend(title="the manifold saturates", symbolOpacity=1), sort=order
    )
    colour = colour.scale(domain=order, range=colours[: len(order)])
    base = alt.Chart(table).encode(x=x, y=y.axis(format="%", tickCount=5), color=colour)
    points = base.mark_circle(size=22, opacity=1).encode(
        tooltip=[alt.Tooltip("label:N", title="saturates"), *COUNTS]
    )
    last = table[table["d_sae"] == top].set_index("label")["efficiency"]
    listed = ", ".join(f"{last[name]:.2%} ({name})" for name in order)
    return theme.finish(
        (base.mark_line(strokeWidth=2) + points).properties(width=500, height=280),
        "saturation",
        caption=f"Saturation cures the pathology. One manifold ($\\beta = {first['beta']:g}$, "
        f"$\\alpha = {first['alpha']:g}$) whose loss stops falling after a number of latents: once the "
        "dictionary is a few times that number, nearly every further latent discovers a feature. "
        f"Features per latent at {human(top)} latents: {listed}.",
        alt="Features per latent against dictionary size. The lines of saturating manifolds follow the "
        "falling line and turn back up towards 100 % beyond their saturation; the one that never saturates "
        "keeps falling.",
    )


def fig_heterogeneity(ranked: pd.DataFrame, mixtures: pd.DataFrame) -> alt.TopLevelMixin:
    """What decides the damage: the rank of one manifold (``ranked``), or how many there are."""
    chart = alt.hconcat(
        _rank_panel(ranked).properties(width=235, height=270, title="One manifold: its rank decides"),
        _mixture_panel(mixtures).properties(
            width=235, height=270, title="Many: which ones, not how different"
        ),
        spacing=14,
    )
    luck, kind = heterogeneity_ranges(mixtures)
    setting, n = mixtures.iloc[0], human(mixtures["d_sae"].iloc[0])
    return theme.finish(
        chart,
        "heterogeneity",
        caption=f"Sensitivity to what the features are ($\\alpha = {setting['alpha']:g}$, "
        f"$\\beta = {setting['beta']:g}$). *Left:* one manifold at a given rank, "
        f"{human(ranked['d_sae'].iloc[0])} latents. *Right:* each feature is a manifold with the probability "
        f"on the axis, its $\\beta$ drawn around {setting['beta']:g}; dots are draws, lines their means, {n} "
        f"latents. Which features happen to be manifolds moves the result by up to {luck:.0%} of the "
        f"latents; how different they are moves the mean by up to {kind:.0%}.",
        alt=f"Left: features per latent rise from {ranked['efficiency'].min():.0%} to "
        f"{ranked['efficiency'].max():.0%} with the manifold's rank. Right: they fall with the share of "
        f"manifolds; draws differ by up to {luck:.0%}, the means of different spreads by up to {kind:.0%}.",
    )


def _rank_panel(ranked: pd.DataFrame) -> alt.LayerChart:
    top = ranked["manifold_rank"].max()
    x = alt.X("manifold_rank:Q", title="rank of the one manifold")
    x = x.scale(type="log", domain=[1, top], nice=False).axis(log_axis(decades(0, 6)))
    y = alt.Y("efficiency:Q", title=EFFICIENCY).scale(domain=[0, 1.02], nice=False)
    base = alt.Chart(ranked).encode(x=x, y=y.axis(format="%", tickCount=5))
    points = base.mark_circle(color=theme.BLUE, size=40, opacity=1)
    tooltip = [alt.Tooltip("manifold_rank:Q", title="rank", format=",d"), *COUNTS]
    return base.mark_line(color=theme.BLUE, strokeWidth=2) + points.encode(tooltip=tooltip)


def _mixture_panel(mixtures: pd.DataFrame) -> alt.LayerChart:
    words = {s: "all the same β" if s == 1 else f"within a factor {s:g}" for s in mixtures["spread"].unique()}
    table = mixtures.assign(label=mixtures["spread"].map(words))
    x = alt.X("manifold_share:Q", title="share of features that are manifolds").scale(type="log", nice=False)
    x = x.axis(values=[0.001, 0.01, 0.1, 1], format=".1~%", grid=False)
    y = alt.Y("efficiency:Q", title=None).scale(domain=[0, 1.02], nice=False).axis(format="%", tickCount=5)
    colour = alt.Color(
        "label:N", sort=list(words.values()), legend=alt.Legend(title="their β", symbolOpacity=1)
    )
    tooltip = [
        alt.Tooltip("label:N", title="β"),
        alt.Tooltip("manifold_share:Q", title="manifolds", format=".1~%"),
        alt.Tooltip("efficiency:Q", title="features per latent", format=".1%"),
        alt.Tooltip("latents_on_manifolds:Q", title="latents on manifolds", format=".1%"),
    ]
    base = alt.Chart(table).encode(x=x, y=y, color=colour)
    draws = base.mark_circle(size=32, opacity=0.5).encode(tooltip=tooltip)
    return base.mark_line(strokeWidth=2).encode(y=alt.Y("mean(efficiency):Q", title=None)) + draws


def heterogeneity_ranges(mixtures: pd.DataFrame) -> tuple[float, float]:
    """Largest range of efficiency: between draws of one setting, and between spreads' means at one share."""
    settings = mixtures.groupby(["manifold_share", "spread"])["efficiency"]
    means = settings.mean().groupby("manifold_share")
    return float((settings.max() - settings.min()).max()), float((means.max() - means.min()).max())
