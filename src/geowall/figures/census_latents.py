"""The figures of chapter 05 on latents: decoder neighbours, firing frequencies, discovery across widths.

>>> label(512)
'512 latents'
"""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd

from geowall.census.discovery import exponent
from geowall.census.ranks import PUBLISHED, WINDOW, thinned
from geowall.figures import theme
from geowall.figures.census import _named, by_width, decades, power_axis, words

KINDS = {"live": theme.BLUE, "all": theme.ORANGE, "null": theme.GREY}
KIND_WORDS = {"live": "live latents", "all": "dead ones too", "null": "random directions"}


def label(d_sae: int) -> str:
    """The title of a width's panel."""
    return f"{words(d_sae)} latents"


def fig_neighbour_cosines(neighbours: pd.DataFrame, layer: int, close: float) -> alt.TopLevelMixin:
    """How close each latent's nearest neighbour is: live latents, all of them, random directions."""
    table = _one_sparsity(neighbours[neighbours["layer"] == layer])
    table = table.assign(panel=[label(int(d)) for d in table["d_sae"]], kind=table["kind"].map(KIND_WORDS))
    low = max(0.0, float(table.loc[table["share"] > 0, "cosine"].min()) - 0.02)
    scale = alt.Scale(domain=list(KIND_WORDS.values()), range=[KINDS[k] for k in KIND_WORDS])
    chart = (
        alt.Chart(table[table["cosine"] >= low])
        .mark_line(interpolate="step-after", strokeWidth=1.8)
        .encode(
            x=alt.X("cosine:Q", title="cosine with the nearest row")
            .scale(domain=[low, 1.0])
            .axis(tickCount=4),
            y=alt.Y("share:Q", title="share of latents").axis(format=".0%", tickCount=4),
            color=alt.Color("kind:N", title=None, scale=scale),
            tooltip=["kind:N", "cosine:Q", alt.Tooltip("share:Q", format=".1%")],
        )
        .properties(width=226, height=170)
    )
    tail = table[table["cosine"] >= close].groupby(["d_sae", "kind"])["share"].sum().unstack()
    listed = "; ".join(
        f"{label(int(d))}: live {row[KIND_WORDS['live']]:.1%}, with dead {row[KIND_WORDS['all']]:.1%}, "
        f"random "
        f"{row[KIND_WORDS['null']]:.1%}"
        for d, row in tail.iterrows()
    )
    order = [label(int(d)) for d in sorted(table["d_sae"].unique())]
    return theme.finish(
        chart.facet(facet=alt.Facet("panel:N", title=None, sort=order), columns=2),
        "neighbour-cosines",
        caption=f"Cosine of each decoder row with its nearest, layer {layer}. Grey: as many random "
        f"directions with "
        f"the decoder's own covariance. Share at {close:g} or above: {listed}.",
        alt=f"Histograms of nearest-neighbour cosines, a panel a width. At {close:g} or above: {listed}.",
    )


def _one_sparsity(table: pd.DataFrame) -> pd.DataFrame:
    """The middle sparsity of every width."""
    l0 = table.groupby("d_sae")["nominal_l0"].transform(lambda v: sorted(set(v))[len(set(v)) // 2])
    return table[table["nominal_l0"] == l0]


def fig_ranks(latents: pd.DataFrame, slopes: pd.DataFrame, layer: int) -> alt.TopLevelMixin:
    """Firing frequency against rank at one layer, and the slopes of its fit at all layers."""
    own = _one_sparsity(latents[(latents["layer"] == layer)])
    table = _named(thinned(own))
    x = (
        alt.X("rank:Q", title="rank")
        .scale(type="log", nice=False)
        .axis(format="~s", grid=False, values=decades(table["rank"]))
    )
    y = alt.Y("frequency:Q", title="share of tokens on which it fires").scale(type="log", nice=False)
    line = (
        alt.Chart(table)
        .mark_line(strokeWidth=1.8)
        .encode(
            x=x,
            y=y.axis(format="~g", values=decades(table["frequency"])),
            color=by_width(table),
            tooltip=["width_name:N", "rank:Q", alt.Tooltip("frequency:Q", format=".2~e")],
        )
    )
    left = line.properties(width=218, height=240, title=f"Layer {layer}")
    chosen = _named(slopes).dropna(subset="slope")
    chosen = chosen.groupby(["layer", "d_sae", "width_name"], as_index=False)["slope"].median()
    marks = alt.Chart(chosen).encode(
        x=alt.X("layer:Q", title="layer").axis(tickMinStep=1, grid=False),
        y=alt.Y("slope:Q", title="slope, log on log").scale(zero=False, padding=12),
        color=by_width(table, legend=False),
        tooltip=["layer:Q", "width_name:N", alt.Tooltip("slope:Q", format=".2f")],
    )
    paper = PUBLISHED.assign(text="Gemma Scope " + PUBLISHED["d_sae"].map(words))
    rule = alt.Chart(paper).mark_rule(strokeDash=[4, 4], opacity=0.7).encode(y="slope:Q")
    said = (
        alt.Chart(paper)
        .mark_text(align="left", dy=-7, fontSize=11)
        .encode(y="slope:Q", x=alt.value(4), text="text:N")
    )
    right = alt.layer(rule, said, marks.mark_line(strokeWidth=1.4), marks.mark_circle(size=40, opacity=1))
    chart = alt.hconcat(left, right.properties(width=218, height=240, title="Slope by depth"), spacing=24)
    middle = chosen.groupby("d_sae")["slope"].median()
    listed = "; ".join(f"{label(int(d))}: {s:.2f}" for d, s in middle.items()).replace("-", "−")
    return theme.finish(
        chart,
        "ranks",
        caption=f"*Left:* how often latents fire, most frequent first. *Right:* the slope between ranks "
        f"{WINDOW[0]:.1%} and {WINDOW[1]:.0%} of the dictionary, the paper's window; dashed, two Gemma Scope "
        f"dictionaries {{cite:p}}`michaud2025`. Median over layers and sparsities: {listed}.",
        alt=f"Left, frequency against rank on logarithmic axes; right, slopes by layer. Medians: {listed}.",
    )


def fig_discovery(discovery: pd.DataFrame, layer: int) -> alt.TopLevelMixin:
    """Latents that the widest dictionary has found too, against width, for several bars on the cosine."""
    table = discovery[(discovery["layer"] == layer) & (discovery["seed"] == discovery["seed"].min())]
    table = table[table["rank_l0"] == sorted(set(table["rank_l0"]))[len(set(table["rank_l0"])) // 2]]
    table = table.assign(bar="cosine " + table["tau"].map("{:.2g}".format))
    x = alt.X("d_sae:Q", title="N, latents in the dictionary").scale(
        type="log", base=2, nice=False, padding=12
    )
    y = alt.Y("n:Q", title="D, latents found by the widest too").scale(
        type="log", base=2, nice=False, padding=8
    )
    both = pd.concat(
        [
            table.assign(n=table["n_discovered"], kind="found"),
            table.assign(n=table["n_chance"], kind="by chance"),
        ]
    )
    base = alt.Chart(both[both["n"] > 0]).encode(
        x=x.axis(power_axis(table["d_sae"])),
        y=y.axis(format="~s"),
        color=alt.Color("bar:N", title="same at", sort=None),
        strokeDash=alt.StrokeDash(
            "kind:N", title=None, scale=alt.Scale(domain=["found", "by chance"], range=[[1, 0], [3, 3]])
        ),
        tooltip=["bar:N", "kind:N", alt.Tooltip("d_sae:Q", format=","), alt.Tooltip("n:Q", format=",")],
    )
    sizes = sorted(table["d_sae"].unique())
    all_of = pd.DataFrame(
        {"d_sae": sizes, "n": sizes, "text": ["", *[""] * (len(sizes) - 2), "D = N"][: len(sizes)]}
    )
    diagonal = alt.Chart(all_of).mark_line(strokeDash=[2, 4], color=theme.GREY).encode(x=x, y=y)
    word = alt.Chart(all_of).mark_text(dx=-18, dy=-8, color=theme.GREY).encode(x=x, y=y, text="text:N")
    chart = alt.layer(diagonal, word, base.mark_line(strokeWidth=1.8), base.mark_circle(size=50, opacity=1))
    powers = {bar: exponent(g["d_sae"], g["n_discovered"]) for bar, g in table.groupby("bar", sort=False)}
    listed = "; ".join(f"{bar}: {p:.2f}" for bar, p in powers.items() if np.isfinite(p))
    last = table[table["d_sae"] == max(sizes)]
    shares = ", ".join(
        f"{n / d:.0%} at {b}"
        for n, d, b in zip(last["n_discovered"], last["d_sae"], last["bar"], strict=True)
    )
    said = f"Of the widest compared, {shares}." + (f" Exponents of D against N: {listed}." if listed else "")
    return theme.finish(
        chart.properties(width=480, height=270),
        "discovery-widths",
        caption=f"Mutually nearest decoder rows of a dictionary and the widest one, layer {layer}, by the "
        f"cosine that "
        f"makes two rows the same. {said}",
        alt=f"Number of shared latents against dictionary size, below the diagonal. {said}",
    )
