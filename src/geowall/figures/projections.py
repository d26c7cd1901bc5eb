"""The figures of chapter 03 on scenes of known geometry: receptive fields, separability, heterogeneity.

>>> name("jumprelu_wide"), paper("spade", "inner")
('JumpReLU, wide', 0.99)
"""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import numpy as np
import pandas as pd

from geowall.figures import theme
from geowall.figures.claim import declutter

NAMES = {
    "relu": "ReLU",
    "jumprelu": "JumpReLU",
    "jumprelu_wide": "JumpReLU, wide",
    "topk": "TopK",
    "matching_pursuit": "matching pursuit",
    "spade": "SpaDE",
    "rbf": "radial basis",
    "kmeans": "k-means",
}
BROWN = "#8a6d3b"
FIELD = 110  # pixels, side of a receptive field
COLOURS = dict(
    zip(
        NAMES,
        (theme.BLUE, theme.PURPLE, BROWN, theme.ORANGE, theme.GREY, theme.GREEN, theme.RED, theme.GREY),
        strict=True,
    )
)
# F1 of an outer and of an inner cluster at each autoencoder's best setting (Hindupur et al. 2025, figure 5).
PAPER = {"relu": (0.99, 0.48), "jumprelu": (1.0, 0.50), "topk": (0.79, 0.55), "spade": (1.0, 0.99)}


def name(architecture: str) -> str:
    """An architecture as a reader would call it."""
    return NAMES.get(architecture, architecture)


def paper(architecture: str, kind: str) -> float:
    """The paper's F1 for an outer or an inner cluster."""
    return PAPER[architecture][kind == "inner"]


def named(table: pd.DataFrame) -> pd.DataFrame:
    """Add ``autoencoder``, the name of the row's architecture."""
    return table.assign(autoencoder=table["architecture"].map(name))


def colour(table: pd.DataFrame) -> alt.Color:
    """The colour of each autoencoder of a table."""
    known = [a for a in NAMES if a in set(table["architecture"])]
    scale = alt.Scale(domain=[NAMES[a] for a in known], range=[COLOURS[a] for a in known])
    return alt.Color("autoencoder:N", scale=scale, legend=None)


def same(channel: alt.X | alt.Y, field: str) -> alt.X | alt.Y:
    """The channel for another field: layers that share a scale must say so, or it grows to hold zero."""
    other = channel.copy()
    other["shorthand"] = f"{field}:Q"
    return other


def key(table: pd.DataFrame, x: float, y: float, align: str = "left") -> alt.Chart:
    """Write the autoencoders' names in their colours, from pixel (``x``, ``y``) of a panel downwards."""
    order = [a for a in NAMES if a in set(table["architecture"])]
    names = named(pd.DataFrame({"architecture": order, "top": [y + 16.0 * i for i in range(len(order))]}))
    words = alt.Chart(names).mark_text(align=align, fontSize=12, fontWeight=600)
    place = alt.Y("top:Q", scale=None, axis=None)
    return words.encode(x=alt.value(x), y=place, text="autoencoder:N", color=colour(table))


def fig_receptive_fields(fields: pd.DataFrame, cloud: pd.DataFrame) -> alt.TopLevelMixin:
    """Where the best latent for an outer and for an inner cluster fires, for each architecture."""
    order = [a for a in NAMES if a in set(fields["architecture"])]
    rows = []
    for concept in fields["concept"].unique():
        panels = [
            _field(part, cloud, concept, NAMES[a] if concept == fields["concept"].iloc[0] else "")
            for a in order
            for part in [fields[(fields["architecture"] == a) & (fields["concept"] == concept)]]
        ]
        rows.append(alt.hconcat(*panels, spacing=6))
    scores = fields.groupby(["concept", "architecture"], sort=False)["f1"].first()
    listed = "; ".join(
        f"{concept.split()[0]}: " + ", ".join(f"{NAMES[a]} {scores[concept, a]:.2f}" for a in order)
        for concept in fields["concept"].unique()
    )
    return theme.finish(
        alt.vconcat(*rows, spacing=6).resolve_scale(color="shared"),
        "receptive-fields",
        caption="The receptive field of the latent that detects a cluster best (code over its largest), "
        "above for an outer, below for an inner cluster (filled dots). ReLU and JumpReLU see half planes, "
        "TopK unions of cones, SpaDE polygons about prototypes. F1 of that latent on other tokens, "
        f"{listed}.",
        alt=f"Heat maps of one latent's code over the plane, an architecture a column. F1, {listed}.",
    )


def _field(part: pd.DataFrame, cloud: pd.DataFrame, concept: str, title: str) -> alt.LayerChart:
    step = float(np.diff(np.unique(part["x"])).min())
    span = alt.Scale(domain=[part["x"].min() - step / 2, part["x"].max() + step / 2], nice=False)
    x, y = alt.X("x:Q", axis=None, scale=span), alt.Y("y:Q", axis=None, scale=span)
    cells = alt.Chart(part).mark_square(size=(FIELD / len(np.unique(part["x"])) + 0.9) ** 2, opacity=1)
    scale = alt.Scale(scheme=theme.SEQUENCE, domain=[0, 1])
    shade = alt.Color("code:Q", scale=scale, legend=None)
    cells = cells.encode(x=x, y=y, color=shade, tooltip=[alt.Tooltip("code:Q", format=".2f")])
    own = alt.datum.concept == concept
    base = alt.Chart(cloud).encode(x=x, y=y)
    rest = base.transform_filter(~own).mark_point(size=7, strokeWidth=0.7, color="#ffffff", opacity=0.8)
    inside = base.transform_filter(own).mark_circle(size=16, color="#ffffff", opacity=1)
    short = title.removeprefix("matching ")  # a wide title would push the panels of its row apart
    return alt.layer(cells, rest, inside).properties(width=FIELD, height=FIELD, title=short)


def fig_separability(table: pd.DataFrame, best: pd.DataFrame) -> alt.TopLevelMixin:
    """F1 against L0 for outer and inner clusters, and the best of each beside the paper's."""
    kind = table["concept"].str.split().str[0]
    by = ["architecture", "strength", "kind"]
    means = table.assign(kind=kind).groupby(by, sort=False)[["l0", "f1_top5", "nmse"]].mean().reset_index()
    means = named(means[means["architecture"].isin(PAPER)])
    panels = [_against_l0(means[means["kind"] == k], k) for k in ("outer", "inner")]
    beside = named(best[best["architecture"].isin(PAPER) & (best["kind"] != "both")])
    beside = beside.assign(
        paper=[paper(a, k) for a, k in zip(beside["architecture"], beside["kind"], strict=True)]
    )
    listed = "; ".join(
        f"{n} {g['outer']:.2f} / {g['inner']:.2f} ({paper(a, 'outer'):.2f} / {paper(a, 'inner'):.2f})"
        for (a, n), g in beside.groupby(["architecture", "autoencoder"], sort=False)
        .apply(lambda part: part.set_index("kind")["f1"], include_groups=False)
        .iterrows()
    )
    chart = alt.hconcat(*panels, _beside(beside), spacing=14)
    return theme.finish(
        chart,
        "separability",
        caption="*Left, middle:* mean F1 of the five best latents of a cluster against L0, along each "
        "architecture's strengths (mean of seeds). *Right:* the best of each strength with its 95 % interval "
        "over seeds, outer filled and inner open, and what the paper prints (ticks). Outer / inner, with "
        f"the paper's in brackets: {listed}.",
        alt=f"F1 against L0 of outer and inner clusters, four architectures, and the best of each: {listed}.",
    )


def _against_l0(part: pd.DataFrame, kind: str) -> alt.LayerChart:
    part = part[part["l0"] > 0.5]
    x = alt.X("l0:Q", title="L0").scale(type="log", domain=[1, 128], nice=False)
    x = x.axis(values=[1, 2, 5, 10, 20, 50, 100], grid=False)
    y = alt.Y("f1_top5:Q", title="F1 of five best latents" if kind == "outer" else None)
    y = y.scale(domain=[0, 1.02], nice=False).axis(labels=kind == "outer", format=".1f")
    tooltip = [
        alt.Tooltip("autoencoder:N"),
        alt.Tooltip("strength:Q"),
        *[alt.Tooltip(f"{c}:Q", format=".3f") for c in ("l0", "f1_top5", "nmse")],
    ]
    base = alt.Chart(part).encode(x=x, y=y, color=colour(part))
    lines = base.mark_line(strokeWidth=2).encode(order="strength:Q")
    dots = base.mark_circle(size=36, opacity=1).encode(tooltip=tooltip)
    layers = [lines, dots]
    if kind == "inner":
        layers.append(key(part, 168, 40, "right"))
    return alt.layer(*layers).properties(width=170, height=230, title=f"{kind} clusters")


def _beside(best: pd.DataFrame) -> alt.LayerChart:
    order = [NAMES[a] for a in PAPER]
    y = alt.Y("autoencoder:N", sort=order, title=None).axis(ticks=False, domain=False)
    offset = alt.YOffset("kind:N", sort=["outer", "inner"])
    x = alt.X("f1:Q", title="best F1").scale(domain=[0.4, 1.02], nice=False, clamp=True)
    x = x.axis(values=[0.4, 0.6, 0.8, 1.0], format=".1f")
    base = alt.Chart(best).encode(y=y, yOffset=offset, color=colour(best))
    bars = base.mark_rule(strokeWidth=3, opacity=0.45, clip=True)
    bars = bars.encode(x=same(x, "low"), x2="high:Q")
    tooltip = [
        alt.Tooltip("kind:N"),
        *[alt.Tooltip(f"{c}:Q", format=".3f") for c in ("f1", "low", "high", "paper")],
    ]
    fill = alt.condition("datum.kind == 'outer'", alt.value(1), alt.value(0))
    dots = base.mark_point(size=55, opacity=1, filled=False, strokeWidth=2)
    dots = dots.encode(x=x, tooltip=tooltip)
    full = base.mark_circle(size=60).encode(x=x, opacity=fill)
    at = same(x, "paper")
    tick = base.mark_tick(thickness=2, size=15, opacity=1, color="currentColor").encode(x=at)
    return alt.layer(bars, full, dots, tick).properties(width=108, height=230, title="beside the paper")


def fig_likeness(
    table: pd.DataFrame, blocks: pd.DataFrame | None, label: str, what: str
) -> alt.TopLevelMixin:
    """Cosine similarity of codes sorted by concept, a panel an architecture."""
    order = [a for a in NAMES if a in set(table["architecture"])]
    ranks = None if blocks is None else blocks.groupby("architecture")[["stable_rank", "rand_index"]].mean()
    scale = alt.Scale(scheme=theme.SEQUENCE, domain=[0, 1])
    panels = []
    for a in order:
        part = table[table["architecture"] == a]
        cells = (
            alt.Chart(part, title=NAMES[a])
            .mark_rect()
            .encode(
                x=alt.X("column:O", axis=None),
                y=alt.Y("row:O", axis=None),
                color=alt.Color("cosine:Q", scale=scale, legend=None),
                tooltip=[alt.Tooltip("cosine:Q", format=".2f")],
            )
        )
        panels.append(cells.properties(width=138, height=138))
    parts = [table[table["architecture"] == a] for a in order]
    each = int(table["row"].max()) + 1
    listed = "; ".join(
        f"{NAMES[a]} {part['cosine'].mean():.2f}" for a, part in zip(order, parts, strict=True)
    )
    words = f"Mean over all pairs: {listed}."
    if ranks is not None:
        found = "; ".join(
            f"{NAMES[a]} {ranks.loc[a, 'stable_rank']:.1f} ({ranks.loc[a, 'rand_index']:.2f})" for a in order
        )
        words = f"Stable rank (agreement of its blocks with the clusters, adjusted Rand): {found}."
    return theme.finish(
        alt.hconcat(*panels, spacing=8),
        label,
        caption=f"Cosine similarity of the codes of {each} tokens, {what}, dark 0 and bright 1. {words}",
        alt=f"Similarity matrices of codes sorted by concept, one for each architecture. {words}",
    )


def fig_heterogeneity(table: pd.DataFrame, at: dict[str, float], first_k: pd.DataFrame) -> alt.TopLevelMixin:
    """L0 against a concept's dimension, its error, and TopK's error against k."""
    keys = ["architecture", "strength", "concept_dim"]
    means = table.groupby(keys, sort=False)[["l0", "nmse"]].mean().reset_index()
    here = named(
        pd.concat([means[(means["architecture"] == a) & (means["strength"] == s)] for a, s in at.items()])
    )
    dims = sorted(table["concept_dim"].unique())
    line = pd.DataFrame({"concept_dim": [dims[0], dims[-1]], "l0": [dims[0], dims[-1]]})
    left = _by_dimension(here, line, dims)
    right = _by_k(means[means["architecture"] == "topk"], dims)
    spade = here[here["architecture"] == "spade"]
    listed = "; ".join(f"{int(r.l0 + 0.5)} for {int(r.concept_dim)}" for r in spade.itertuples())
    done = "; ".join(f"k = {r.k:g} for {r.concept_dim}" for r in first_k.dropna(subset="k").itertuples())
    return theme.finish(
        alt.hconcat(left, right, spacing=18),
        "nested",
        caption="*Left:* active latents against the dimension of a concept (dashed: as many as dimensions), "
        f"one strength each. SpaDE uses, with a penalty of {at['spade']:g}, {listed} dimensions. *Right:* "
        "TopK's error on each concept against k; the dotted line is an error of one fifth, first reached by "
        f"the swept {done} dimensions.",
        alt=f"L0 against concept dimension for {len(at)} architectures; SpaDE uses {listed}. TopK's error "
        f"against k falls below one fifth at {done}.",
    )


def _by_dimension(here: pd.DataFrame, line: pd.DataFrame, dims: list[int]) -> alt.LayerChart:
    x = alt.X("concept_dim:Q", title="dimension of the concept")
    x = x.scale(type="log", domain=[dims[0] * 0.85, dims[-1] * 2.6], nice=False).axis(values=dims, grid=False)
    y = alt.Y("l0:Q", title="L0 on its tokens").scale(type="log", nice=False)
    y = y.axis(values=[3, 5, 10, 20, 50, 100, 200, 500])
    base = alt.Chart(here).encode(x=x, y=y, color=colour(here))
    tooltip = [alt.Tooltip("autoencoder:N"), alt.Tooltip("strength:Q"), alt.Tooltip("concept_dim:Q")]
    tooltip += [alt.Tooltip(f"{c}:Q", format=".3f") for c in ("l0", "nmse")]
    last = here.sort_values("concept_dim").groupby("autoencoder", sort=False).tail(1).copy()
    last["at"] = np.exp(declutter(np.log(last["l0"]), gap=0.24))
    words = alt.Chart(last).mark_text(align="left", dx=7, fontSize=11)
    return alt.layer(
        alt.Chart(line).mark_line(strokeDash=[5, 4], opacity=0.8, color="currentColor").encode(x=x, y=y),
        base.mark_line(strokeWidth=2),
        base.mark_circle(size=40, opacity=1).encode(tooltip=tooltip),
        words.encode(x="concept_dim:Q", y="at:Q", text="autoencoder:N", color=colour(here)),
    ).properties(width=216, height=250)


def _by_k(topk: pd.DataFrame, dims: list[int]) -> alt.LayerChart:
    ks = sorted(topk["strength"].unique())
    x = alt.X("strength:Q", title="k of TopK").scale(type="log", domain=[ks[0], ks[-1] * 2.2], nice=False)
    x = x.axis(values=ks, format="~g", grid=False)
    span = [0.75 * topk["nmse"].min(), 1.2 * topk["nmse"].max()]
    y = alt.Y("nmse:Q", title="error over the concept's variance")
    y = y.scale(type="log", domain=span, nice=False)
    y = y.axis(values=[0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0], format="~g")
    shade = alt.Color("concept_dim:O", legend=None).scale(domain=dims, scheme="viridis")
    base = alt.Chart(topk).encode(x=x, y=y, color=shade)
    tooltip = [alt.Tooltip("strength:Q", title="k"), alt.Tooltip("concept_dim:Q")]
    tooltip.append(alt.Tooltip("nmse:Q", format=".3f"))
    last = topk[topk["strength"] == ks[-1]].assign(words=lambda t: t["concept_dim"].astype(str) + "-dim.")
    last["at"] = np.exp(declutter(np.log(last["nmse"]), gap=0.055 * float(np.log(span[1] / span[0]))))
    fifth = alt.Chart(pd.DataFrame({"y": [0.2]})).mark_rule(strokeDash=[2, 3], opacity=0.9).encode(y="y:Q")
    return alt.layer(
        fifth,
        base.mark_line(strokeWidth=2),
        base.mark_circle(size=40, opacity=1).encode(tooltip=tooltip),
        alt.Chart(last)
        .mark_text(align="left", dx=7, fontSize=11)
        .encode(x=x, y=same(y, "at"), text="words:N"),
    ).properties(width=206, height=250)


def best_strengths(best: pd.DataFrame, architectures: Sequence[str]) -> dict[str, float]:
    """The strength of each architecture that sees outer and inner clusters best."""
    both = best[best["kind"] == "both"].set_index("architecture")["strength"]
    return {a: float(both[a]) for a in architectures if a in both.index}
