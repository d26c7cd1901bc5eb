"""The figures of chapter 03 beyond the paper: matched pairs, other geometries, discovery, language.

>>> READINGS["f1_heldout"]
'best, held out'
"""

from __future__ import annotations

import altair as alt
import pandas as pd

from geowall.figures import theme
from geowall.figures.claim import declutter
from geowall.figures.projections import NAMES, colour, key, named, same

SHIFTS = {
    "stretched": "one axis stretched",
    "whitened": "stretched, then whitened",
    "norms": "norms that vary",
}


def fig_matched(gaps: pd.DataFrame) -> alt.TopLevelMixin:
    """SpaDE's F1 less that of a matched autoencoder, in each setting, as the paper reads F1 and held out."""
    table = named(gaps[gaps["score"] != "f1_union"]).assign(reading=lambda t: t["score"].map(READINGS))
    table["both"] = table["matched_on"] == "l0 and error"
    order = [NAMES[a] for a in NAMES if a in set(table["architecture"])]
    settings = list(table["setting"].unique())
    shade = colour(table)
    panels = [_gap_panel(table[table["setting"] == s], s, order, s == settings[0], shade) for s in settings]
    held = table[table["score"] == "f1_heldout"].groupby("setting", sort=False)
    listed = "; ".join(
        f"{s}: " + ", ".join(f"{r.autoencoder} {r.gap:+.2f}" for r in part.itertuples()) for s, part in held
    ).replace("-", "−")
    return theme.finish(
        alt.hconcat(*panels, spacing=12),
        "matched",
        caption="SpaDE's F1 less that of an architecture at equal L0: filled where the error is equal too, "
        "open where it is not. Upper dot: mean of the best latents, as the paper reads it; lower dot: "
        "the best latent, chosen on other tokens. Means over concepts, with 95 % intervals over seeds, cut "
        f"at the edges. Held out, {listed}.",
        alt=f"Dots with intervals of SpaDE's lead in F1 over others. Held out, {listed}.",
    )


READINGS = {"f1_top5": "mean of the best", "f1_heldout": "best, held out"}
EDGES = (-0.5, 0.6)  # of a gap that is drawn


def _gap_panel(
    part: pd.DataFrame, title: str, order: list[str], first: bool, shade: alt.Color
) -> alt.LayerChart:
    drawn = part.assign(left=part["low"].clip(*EDGES), right=part["high"].clip(*EDGES))
    axis = alt.Axis(labels=first, ticks=False, domain=False)
    y = alt.Y("autoencoder:N", sort=order, title=None, axis=axis).scale(domain=order)
    offset = alt.YOffset("reading:N", sort=list(READINGS.values()))
    x = alt.X("gap:Q", title="SpaDE ahead by").scale(domain=list(EDGES), nice=False, clamp=True)
    x = x.axis(values=[-0.4, 0, 0.4], format="+.1f")
    base = alt.Chart(drawn).encode(y=y, yOffset=offset, color=shade)
    tooltip = ["reading:N", "matched_on:N", alt.Tooltip("n_matched:Q", title="seeds with a pair")]
    tooltip += [alt.Tooltip(f"{c}:Q", format=".2f") for c in ("gap", "low", "high", "l0_ratio", "nmse_ratio")]
    zero = alt.Chart(pd.DataFrame({"x": [0]})).mark_rule(opacity=0.6, strokeDash=[3, 3]).encode(x="x:Q")
    bars = base.mark_rule(strokeWidth=3, opacity=0.4)
    bars = bars.encode(x=same(x, "left"), x2="right:Q")
    dots = base.mark_point(size=50, strokeWidth=2, filled=False, opacity=1).encode(x=x, tooltip=tooltip)
    full = base.transform_filter("datum.both").mark_circle(size=60, opacity=1).encode(x=x, tooltip=tooltip)
    return alt.layer(zero, bars, dots, full).properties(width=150, height=36 * len(order), title=title)


def fig_shifts(shifts: pd.DataFrame) -> alt.TopLevelMixin:
    """F1 of the held-out best latent as the geometry changes: stretched, whitened, norms that vary."""
    means = shifts.groupby(["shift", "amount", "architecture"], sort=False)["f1_heldout"]
    table = named(means.agg(f1="mean", low="min", high="max").reset_index())
    panels = [_shift_panel(table[table["shift"] == s], s) for s in SHIFTS if s in set(table["shift"])]
    listed = []
    for s in SHIFTS:
        part = table[(table["shift"] == s) & (table["architecture"] == "spade")].sort_values("amount")
        listed.append(f"{SHIFTS[s]} {part['f1'].iloc[0]:.2f} to {part['f1'].iloc[-1]:.2f}")
    words = "; ".join(listed)
    return theme.finish(
        alt.hconcat(*panels, spacing=12),
        "shifts",
        caption="F1 of the best latent, chosen on other tokens, mean over the six clusters; bands are the "
        f"range of seeds. SpaDE from the smallest to the largest change: {words}.",
        alt=f"Lines of F1 against three changes of the geometry. SpaDE: {words}.",
    )


def _shift_panel(part: pd.DataFrame, shift: str) -> alt.LayerChart:
    amounts = sorted(part["amount"].unique())
    title = "spread of log norm" if shift == "norms" else "factor"
    room = 1.55 if shift == "norms" else 1.0
    scale = alt.Scale(domain=[amounts[0], amounts[-1] * room], nice=False)
    if shift != "norms":
        scale = alt.Scale(type="log", domain=[amounts[0], amounts[-1]], nice=False)
    x = alt.X("amount:Q", title=title, scale=scale).axis(values=amounts, format="~g", grid=False)
    first = shift == "stretched"
    y = alt.Y("f1:Q", title="F1, held out" if first else None).scale(domain=[0.2, 1.02], nice=False)
    y = y.axis(labels=first, format=".1f")
    base = alt.Chart(part).encode(x=x, color=colour(part))
    layers = [
        base.mark_area(opacity=0.18, clip=True).encode(y=same(y, "low"), y2="high:Q"),
        base.mark_line(strokeWidth=2).encode(y=y),
        base.mark_circle(size=34, opacity=1).encode(
            y=y, tooltip=["autoencoder:N", "amount:Q", alt.Tooltip("f1:Q", format=".3f")]
        ),
    ]
    if shift == "norms":
        last = part[part["amount"] == amounts[-1]].copy()
        last["at"] = declutter(last["f1"], gap=0.06)
        words = alt.Chart(last).mark_text(align="left", dx=6, fontSize=11)
        layers.append(words.encode(x="amount:Q", y="at:Q", text="autoencoder:N", color=colour(part)))
    width = 205 if shift == "norms" else 140
    return alt.layer(*layers).properties(width=width, height=220, title=SHIFTS[shift])


def fig_co_occurring(best: pd.DataFrame, unions: pd.DataFrame) -> alt.TopLevelMixin:
    """Two concepts a token: single latents and unions, drawn apart or tied to each other."""
    table = named(pd.concat([best.assign(reading="best latent"), unions.assign(reading="union of five")]))
    order = [NAMES[a] for a in NAMES if a in set(table["architecture"])]
    ties = sorted(table["tied"].unique())
    words = {ties[0]: "drawn apart", ties[-1]: "always together"}
    panels = []
    for tied in (ties[-1], ties[0]):
        part = table[table["tied"] == tied]
        axis = alt.Axis(labels=bool(tied == ties[-1]), ticks=False, domain=False)
        y = alt.Y("autoencoder:N", sort=order, title=None, axis=axis)
        x = alt.X("f1:Q", title="F1, held out").scale(domain=[0.2, 1.02], nice=False).axis(format=".1f")
        base = alt.Chart(part).encode(y=y, color=colour(part))
        tooltip = [
            "autoencoder:N",
            "reading:N",
            *[alt.Tooltip(f"{c}:Q", format=".3f") for c in ("f1", "l0", "nmse")],
        ]
        single = base.transform_filter("datum.reading == 'best latent'")
        joint = base.transform_filter("datum.reading == 'union of five'")
        panels.append(
            alt.layer(
                single.mark_circle(size=70, opacity=1).encode(x=x, tooltip=tooltip),
                joint.mark_point(size=70, filled=False, strokeWidth=2, shape="diamond").encode(
                    x=x, tooltip=tooltip
                ),
            ).properties(width=225, height=30 * len(order), title=f"concepts {words[tied]}")
        )
    apart = table[(table["tied"] == ties[0])].pivot_table(index="autoencoder", columns="reading", values="f1")
    listed = "; ".join(
        f"{n} {apart.loc[n, 'best latent']:.2f} ({apart.loc[n, 'union of five']:.2f})" for n in order
    )
    return theme.finish(
        alt.hconcat(*panels, spacing=14),
        "co-occurring",
        caption="Every token has one concept of each of two kinds. Dots: F1 of the best latent; diamonds: of "
        f"a union of at most five; mean over six concepts at the best strength. Drawn apart: {listed}.",
        alt=f"Dots and diamonds of F1 for each architecture, in two panels. Concepts drawn apart: {listed}.",
    )


def fig_discovery(table: pd.DataFrame, level: pd.DataFrame) -> alt.TopLevelMixin:
    """Features discovered, and merely detected, against L0; ``level``: SpaDE against others at its L0."""
    columns = {"n_discovered": "discovered: F1 and direction", "n_detected": "detected: F1 alone"}
    panels = []
    for column, title in columns.items():
        groups = table.groupby(["architecture", "strength"], sort=False)
        spread = groups[column].agg(n="mean", low="min", high="max").join(groups[["l0", "nmse"]].mean())
        panels.append(_discovery_panel(named(spread.reset_index()), title, column == "n_discovered"))
    found = level[level["score"] == "n_discovered"]
    listed = "; ".join(
        f"L0 {row.l0:.1f}, {NAMES[row.architecture]} {row.gap:+.1f} ({row.low:+.1f} to {row.high:+.1f})"
        for row in found.sort_values(["l0", "architecture"]).itertuples()
    ).replace("-", "−")
    return theme.finish(
        alt.hconcat(*panels, spacing=16),
        "projected-discovery",
        caption="One sphere in four dimensions among discrete features of Zipf frequency (chapter 02), "
        f"{int(table['d_sae'].max())} latents, along each architecture's strengths: means, range of seeds. "
        "*Left:* discrete features with a latent that points along them and fires with them; *right:* that "
        f"fires with them, wherever it points. SpaDE's lead in discovered features at its own L0: {listed}.",
        alt=f"Features discovered and detected against L0 for three architectures. SpaDE's lead: {listed}.",
    )


def _discovery_panel(part: pd.DataFrame, title: str, first: bool) -> alt.LayerChart:
    scale = alt.Scale(type="log", domain=[part["l0"].min() * 0.9, part["l0"].max() * 1.15], nice=False)
    x = alt.X("l0:Q", title="L0", scale=scale).axis(values=[1, 2, 3, 5, 8, 12, 20], grid=False)
    most = 1.05 * float(part["high"].max())
    y = alt.Y("n:Q", title="features" if first else None).scale(domain=[0, most], nice=False)
    base = alt.Chart(part).encode(x=x, color=colour(part))
    tooltip = [
        "autoencoder:N",
        "strength:Q",
        *[alt.Tooltip(f"{c}:Q", format=".3f") for c in ("l0", "n", "nmse")],
    ]
    layers = [
        base.mark_rule(strokeWidth=3, opacity=0.4).encode(y=same(y, "low"), y2="high:Q"),
        base.mark_line(strokeWidth=2).encode(y=y, order="l0:Q"),
        base.mark_circle(size=40, opacity=1).encode(y=y, tooltip=tooltip),
    ]
    if not first:
        layers.append(key(part, 8, 166))
    return alt.layer(*layers).properties(width=240, height=220, title=title)


def fig_bank(table: pd.DataFrame, label: str, what: str, top: int) -> alt.TopLevelMixin:
    """F1 against L0 and against the error, as the paper reads it, and by the held-out latent."""
    keys = ["architecture", "strength"]
    means = named(
        table.groupby(keys, sort=False)[["l0", "nmse", "f1", "f1_heldout", "dead", "stable_rank"]]
        .mean()
        .reset_index()
    )
    panels = [
        _bank_panel(means, "l0", "L0", "f1", f"F1, {top} best latents"),
        _bank_panel(means, "nmse", "error over variance", "f1", f"F1, {top} best latents"),
        _bank_panel(means, "l0", "L0", "f1_heldout", "F1, best latent, held out"),
    ]
    tops = means.groupby("autoencoder", sort=False)[["f1", "f1_heldout"]].max()
    listed = "; ".join(f"{n} {r.f1:.2f} ({r.f1_heldout:.2f})" for n, r in tops.iterrows())
    return theme.finish(
        alt.hconcat(*panels, spacing=14),
        label,
        caption=f"{what}, along each architecture's strengths, mean of seeds and concepts. *Left* and "
        f"*middle:* mean F1 of the {top} best latents, as the paper reads it. *Right:* F1 of the best "
        f"latent, chosen on other tokens. The best of each, in brackets by the held-out latent: {listed}.",
        alt=f"F1 against L0 and against error for each architecture. Best, held out in brackets: {listed}.",
    )


def _bank_panel(means: pd.DataFrame, x: str, x_title: str, y: str, y_title: str) -> alt.LayerChart:
    values = means[x].clip(lower=1e-4)
    low, high = float(values.min()) / 1.3, float(values.max()) * 1.3
    ticks = [float(f"{m}e{d}") for d in range(-4, 4) for m in (1, 3)]
    ticks = [t for t in ticks if low <= t <= high]
    at = alt.X(f"{x}:Q", title=x_title).scale(type="log", domain=[low, high], nice=False, clamp=True)
    at = at.axis(values=ticks, format="~g", grid=False)
    height = alt.Y(f"{y}:Q", title=y_title).scale(domain=[0.2, 1.02], nice=False, clamp=True)
    height = height.axis(format=".1f")
    tooltip = ["autoencoder:N", "strength:Q"]
    tooltip += [
        alt.Tooltip(f"{c}:Q", format=".3f") for c in ("l0", "nmse", "f1", "f1_heldout", "dead", "stable_rank")
    ]
    base = alt.Chart(means).encode(x=at, y=height, color=colour(means))
    layers = [base.mark_line(strokeWidth=2).encode(order="strength:Q")]
    layers.append(base.mark_circle(size=36, opacity=1).encode(tooltip=tooltip))
    if y == "f1_heldout":
        count = means["architecture"].nunique()
        layers.append(key(means, 138, 8 if means[y].max() < 0.75 else 208 - 16 * (count - 1), "right"))
    return alt.layer(*layers).properties(width=140, height=220)


def fig_classes(best: pd.DataFrame, label: str, what: str) -> alt.TopLevelMixin:
    """F1 of the held-out best latent for each class at each architecture's best strength."""
    table = named(best)
    medians = table.groupby("concept")["f1"].median().sort_values(ascending=False)
    y = alt.Y("concept:N", sort=list(medians.index), title=None).axis(ticks=False, domain=False)
    x = (
        alt.X("f1:Q", title="F1 of the best latent, held out")
        .scale(domain=[0, 1.02], nice=False)
        .axis(format=".1f")
    )
    offset = alt.YOffset("autoencoder:N", sort=[NAMES[a] for a in NAMES])
    base = alt.Chart(table).encode(y=y, yOffset=offset, color=colour(table))
    tooltip = [
        "concept:N",
        "autoencoder:N",
        *[alt.Tooltip(f"{c}:Q", format=".2f") for c in ("f1", "low", "high")],
    ]
    bars = base.mark_rule(strokeWidth=2, opacity=0.45)
    bars = bars.encode(x=same(x, "low"), x2="high:Q")
    dots = base.mark_circle(size=44, opacity=1).encode(x=x, tooltip=tooltip)
    order = [a for a in NAMES if a in set(table["architecture"])]
    middle = table.groupby("architecture")["f1"].median()
    listed = "; ".join(f"{NAMES[a]} {middle[a]:.2f}" for a in order)
    height = 40 * len(medians)
    names = key(table, 425, height - 16 * len(order), "right")
    chart = alt.layer(bars, dots, names).properties(width=430, height=height)
    return theme.finish(
        chart,
        label,
        caption=f"{what}: F1 of each class at the strength that is best for an architecture, range of seeds. "
        f"Median over classes: {listed}.",
        alt=f"Dots of F1 for each class and architecture. Medians: {listed}.",
    )
