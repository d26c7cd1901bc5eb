"""Figures of chapter 01 where every feature is a manifold: the three regimes.

>>> from geowall.allocation import phase_table
>>> fig_phase(phase_table([0.4, 0.8], [0.4, 0.8], 1e4)).usermeta["name"]
'fig-phase'
"""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd

from geowall.figures import theme
from geowall.figures.claim import declutter
from geowall.figures.powers import SIZE, decades, human, line_ends, log_axis

PALE, DARK = "#f2f2f2", "#141414"  # on a heat map, whose colours do not follow the page
REGIME_COLOURS = {"pathological": theme.RED, "critical": theme.ORANGE, "benign": theme.GREEN}


def fig_regimes(scaling: pd.DataFrame) -> alt.TopLevelMixin:
    """Efficiency and loss against d_sae when every feature is a manifold, with their limits dashed."""
    table = scaling.assign(
        efficiency_theory=scaling["n_discovered_theory"] / scaling["d_sae"],
        label="β = " + scaling["beta"].map("{:g}".format),
    )
    floor = 10.0 ** np.floor(np.log10(scaling["efficiency"].min()))
    left = _regime_panel(table, "efficiency", "features discovered per latent", [floor, 1.3])
    right = _regime_panel(table, "loss", "loss", [scaling["loss"].min() / 2, scaling["loss"].max() * 1.5])
    chart = alt.hconcat(
        left.properties(title="Who gets discovered"),
        (right + _regime_names()).properties(title="What remains lost"),
        spacing=12,
    )
    top = scaling["d_sae"].max()
    last = scaling[scaling["d_sae"] == top]
    listed = "; ".join(
        f"{row.efficiency:.2g} at beta {row.beta:g} ({row.regime})" for row in last.itertuples()
    )
    return theme.finish(
        chart,
        "regimes",
        caption="Every feature a manifold with loss $n^{-\\beta}$, feature frequencies falling with "
        f"$\\alpha = {scaling['alpha'].iloc[0]:g}$. Points: the exact integer optimum; dashed: its limit. "
        "*Left:* below $\\beta = \\alpha$ the share of latents that discover something falls without end; "
        "above, it settles. *Right:* the loss falls as $N^{-\\alpha}$ where $\\beta > \\alpha$ and only as "
        "$N^{-\\beta}$ where $\\beta < \\alpha$.",
        alt=f"Two log-log panels against dictionary size. Features discovered per latent at {human(top)} "
        f"latents: {listed}. The loss falls steeply for large beta and almost not at all for the smallest.",
    )


def _regime_panel(table: pd.DataFrame, y: str, title: str, domain: list[float]) -> alt.LayerChart:
    top = int(np.ceil(np.log10(table["d_sae"].max())))
    x = alt.X("d_sae:Q", title=SIZE).scale(type="log", domain=[8, 10.0**top * 90], nice=False)
    x = x.axis(log_axis(decades(2, top, 2 if top < 10 else 4)))
    low, high = np.floor(np.log10(domain[0])), np.ceil(np.log10(domain[1]))
    axis = alt.Y(f"{y}:Q", title=title).scale(type="log", domain=domain, nice=False, clamp=False)
    axis = axis.axis(log_axis(decades(int(low), int(high)), grid=True))
    scale = alt.Scale(domain=list(REGIME_COLOURS), range=list(REGIME_COLOURS.values()))
    colour = alt.Color("regime:N", scale=scale, legend=None)
    tooltip = [
        alt.Tooltip("regime:N"),
        alt.Tooltip("beta:Q", title="β"),
        alt.Tooltip("d_sae:Q", title="latents", format=",.3~s"),
        alt.Tooltip("n_discovered:Q", title="features discovered", format=",.4~s"),
        alt.Tooltip("first_share:Q", title="share of the first feature", format=".1%"),
        alt.Tooltip("loss:Q", format=".3~g"),
    ]
    base = alt.Chart(table).encode(x=x, color=colour, detail="beta:N")
    limit = base.transform_filter(f"datum.{y}_theory <= {domain[1]}").mark_line(
        strokeDash=[4, 3], strokeWidth=1.2
    )
    points = base.mark_circle(size=26, opacity=0.9).encode(y=axis, tooltip=tooltip)
    ends = line_ends(table, "beta", "d_sae").copy()
    gap = np.log10(domain[1] / domain[0]) / 17
    ends["height"] = 10 ** np.array(declutter(np.log10(ends[y]), gap=gap))
    labels = alt.Chart(ends).mark_text(align="left", dx=6, fontSize=11)
    labels = labels.encode(x=x, y="height:Q", text="label:N", color=colour)
    return (limit.encode(y=alt.Y(f"{y}_theory:Q")) + points + labels).properties(width=215, height=270)


def _regime_names() -> alt.Chart:
    signs = {"pathological": "β < α: pathological", "critical": "β = α: critical", "benign": "β > α: benign"}
    names = pd.DataFrame({"regime": list(signs), "words": list(signs.values()), "y": [222, 239, 256]})
    scale = alt.Scale(domain=list(REGIME_COLOURS), range=list(REGIME_COLOURS.values()))
    text = alt.Chart(names).mark_text(align="left", fontWeight=600, fontSize=11)
    return text.encode(
        x=alt.value(8),
        y=alt.Y("y:Q", scale=None, axis=None),
        text="words:N",
        color=alt.Color("regime:N", scale=scale, legend=None),
    )


def fig_exponents(regimes: pd.DataFrame) -> alt.TopLevelMixin:
    """Fitted exponents and prefactors beside their theory, for features discovered and for the loss."""
    table = regimes.assign(
        label="β = " + regimes["beta"].map("{:g}".format) + " " + regimes["regime"],
        what=regimes["quantity"].map({"n_discovered": "features discovered D", "loss": "loss L"}),
    )
    for end in ("fit", "low", "high"):
        table[f"gap_{end}"] = regimes[f"exponent_{end}"] - regimes["exponent_theory"]
        table[f"ratio_{end}"] = regimes[f"prefactor_{end}"] / regimes["prefactor_theory"]
    left = _gap_panel(table, "gap", "exponent: fitted minus theory", 0.0, show_labels=True)
    right = _gap_panel(table, "ratio", "prefactor: fitted over theory", 1.0, show_labels=False)
    worst = table.loc[table["gap_fit"].abs().idxmax()]
    far = table.loc[(table["ratio_fit"] - 1).abs().idxmax()]
    return theme.finish(
        alt.hconcat(left, right, spacing=14),
        "exponents",
        caption=f"Theory against the exact optimum between {human(regimes['fit_from'].min())} and "
        f"{human(regimes['fit_to'].max())} latents. Lines span what single decades of that range would give. "
        f"The exponents agree to {abs(worst['gap_fit']):.1g} or better; the prefactors to "
        f"{abs(far['ratio_fit'] - 1):.0%}, the furthest at $\\beta = {far['beta']:g}$ ({far['regime']}), "
        "where the corrections fade only with the logarithm of the size.",
        alt=f"Dots for {len(regimes)} fits. Largest gap of an exponent {worst['gap_fit']:.2g} at beta "
        f"{worst['beta']:g}; ratios of prefactors from {table['ratio_fit'].min():.3f} to "
        f"{table['ratio_fit'].max():.3f}.",
    )


def _gap_panel(table: pd.DataFrame, x: str, title: str, zero: float, show_labels: bool) -> alt.LayerChart:
    axis = alt.Axis(labels=True, domain=False, ticks=False, labelLimit=150) if show_labels else None
    y = alt.Y("label:N", title=None, sort=list(dict.fromkeys(table["label"])), axis=axis)
    colour = alt.Color("what:N", title=None, scale=alt.Scale(range=[theme.BLUE, theme.PURPLE]))
    span = alt.Scale(zero=False, nice=True)
    tooltip = [
        alt.Tooltip("label:N", title="regime"),
        alt.Tooltip("what:N", title="quantity"),
        *[alt.Tooltip(f"exponent_{end}:Q", format=".4f") for end in ("theory", "fit", "low", "high")],
        *[alt.Tooltip(f"prefactor_{end}:Q", format=".4~g") for end in ("theory", "continuous", "fit")],
    ]
    base = alt.Chart(table).encode(y=y, yOffset="what:N", color=colour)
    ranges = base.mark_rule(strokeWidth=2.5).encode(
        x=alt.X(f"{x}_low:Q", title=title, scale=span, axis=alt.Axis(tickCount=5)), x2=f"{x}_high:Q"
    )
    dots = base.mark_circle(size=60, opacity=1).encode(x=f"{x}_fit:Q", tooltip=tooltip)
    rule = alt.Chart(pd.DataFrame({"at": [zero]})).mark_rule(strokeDash=[3, 3], opacity=0.7).encode(x="at:Q")
    return (rule + ranges + dots).properties(width=205, height=alt.Step(17))


def fig_phase(phase: pd.DataFrame) -> alt.TopLevelMixin:
    """Share of latents that discover a feature over the plane of (alpha, beta), at one dictionary size."""
    chart = _phase_cells(phase) + _phase_border(phase)
    size, most = human(phase["d_sae"].iloc[0]), phase.groupby("regime")["efficiency"].max()
    return theme.finish(
        chart.properties(width=380, height=380),
        "phase",
        caption=f"Features discovered per latent at {size} latents when every feature is a manifold. The "
        "dashed line, $\\beta = \\alpha$, parts the regimes in the limit; at a real size there is no cliff "
        f"on it, only a slope. In the pathological half at most {most.get('pathological', 0.0):.0%} of the "
        "latents discover a feature.",
        alt=f"Heat map over alpha and beta at {size} latents. Features per latent run from "
        f"{phase['efficiency'].min():.1g} at large alpha and small beta to {phase['efficiency'].max():.2f} "
        "at small alpha and large beta.",
    )


def _phase_cells(phase: pd.DataFrame) -> alt.Chart:
    half = np.diff(np.unique(phase["alpha"])).min() / 2
    edges = {f"{v}_low": phase[v] - half for v in ("alpha", "beta")}
    # A hair of overlap, or the page's background shines through between the cells.
    edges |= {f"{v}_high": phase[v] + 1.06 * half for v in ("alpha", "beta")}
    table = phase.assign(**edges)
    span = alt.Scale(domain=[half, float(table["alpha_high"].max())], nice=False)
    axis = alt.Axis(grid=False, tickCount=6)
    key = alt.Legend(
        title=["latents that", "discover", "a feature"],
        format=".1~%",
        values=[0.001, 0.003, 0.01, 0.03, 0.1, 0.3],
        orient="right",
        direction="vertical",
        gradientLength=300,
    )
    shade = alt.Scale(
        scheme="viridis", type="log", domain=[phase["efficiency"].min(), phase["efficiency"].max()]
    )
    tooltip = [
        alt.Tooltip("alpha:Q", title="α", format=".3~g"),
        alt.Tooltip("beta:Q", title="β", format=".3~g"),
        alt.Tooltip("regime:N"),
        alt.Tooltip("efficiency:Q", title="features per latent", format=".2~%"),
        alt.Tooltip("first_share:Q", title="share of the first feature", format=".2~%"),
    ]
    return (
        alt.Chart(table)
        .mark_rect(stroke=None, clip=True)
        .encode(
            x=alt.X("alpha_low:Q", title="α: how fast features get rare", scale=span, axis=axis),
            x2="alpha_high",
            y=alt.Y("beta_low:Q", title="β: how fast a manifold is learnt", scale=span, axis=axis),
            y2="beta_high",
            color=alt.Color("efficiency:Q", legend=key, scale=shade),
            tooltip=tooltip,
        )
    )


def _phase_border(phase: pd.DataFrame) -> alt.LayerChart:
    top = float(phase["alpha"].max())
    ends = pd.DataFrame({"a": [0, 2 * top], "b": [0, 2 * top]})
    dashed = alt.Chart(ends).mark_line(strokeDash=[6, 4], strokeWidth=2, color=PALE, clip=True)
    names = pd.DataFrame({"a": [0.27 * top, 0.74 * top], "b": [0.8 * top, 0.24 * top]})
    names = names.assign(text=["benign", "pathological"], ink=[DARK, PALE])
    words = alt.Chart(names).mark_text(fontSize=15, fontWeight=600)
    words = words.encode(x="a:Q", y="b:Q", text="text:N", color=alt.Color("ink:N", scale=None))
    return dashed.encode(x="a:Q", y="b:Q") + words


def fig_window_bias(windows: pd.DataFrame) -> alt.TopLevelMixin:
    """The exponent a sweep of widths reads against beta, over windows of several lengths, and its bias."""
    table = windows.assign(label=windows["decades"].astype(str) + " decades")
    x = alt.X("beta:Q", title="β of the manifolds").scale(type="log", nice=False)
    x = x.axis(values=[0.05, 0.1, 0.2, 0.5, 1, 2], format="~g", grid=False)
    colour = alt.Color("label:N", legend=alt.Legend(title="sweep over", symbolOpacity=1))
    base = alt.Chart(table).encode(
        x=x, color=colour.scale(range=[theme.BLUE, theme.GREEN, theme.PURPLE]), tooltip=_window_tooltip()
    )
    zero = alt.Chart(pd.DataFrame({"y": [0.0]})).mark_rule(strokeDash=[5, 4]).encode(y="y:Q")
    bias = base.mark_line(strokeWidth=1.8, point=alt.OverlayMarkDef(size=28))
    right = zero + bias.encode(y=alt.Y("bias:Q", title="read minus limit"))
    chart = alt.hconcat(
        _window_readings(base, windows).properties(width=240, height=260, title="What the sweep reads"),
        right.properties(width=215, height=260, title="… and by how much it is off"),
        spacing=12,
    )
    deep = windows.loc[windows["bias"].abs().idxmax()]
    same = windows[windows["beta"] == deep["beta"]].set_index("decades")["bias"]
    listed = ", ".join(f"{bias:+.3f} over {span} decades" for span, bias in same.items())
    return theme.finish(
        chart,
        "window-bias",
        caption=f"A noiseless sweep of widths from {human(windows['d_sae_low'].min())} latents, every "
        f"feature a manifold ($\\alpha = {windows['alpha'].iloc[0]:g}$), read with a straight line; bands "
        "are the line's own 95 % interval. The limit is $\\min(\\alpha, \\beta)$. The reading is furthest "
        f"from it at $\\beta = {deep['beta']:.2g}$: {listed}. A longer sweep hardly helps, and the interval "
        "does not warn.",
        alt="Exponent read against beta for sweeps of several lengths, all below the limit. Largest bias "
        f"{deep['bias']:.3f} at beta {deep['beta']:.2g}.",
    )


def _window_tooltip() -> list[alt.Tooltip]:
    ends = {"theory": "limit", "fit": "read", "low": "95 % from", "high": "95 % to"}
    numbers = [alt.Tooltip(f"exponent_{end}:Q", title=title, format=".3f") for end, title in ends.items()]
    return [alt.Tooltip("label:N", title="sweep"), alt.Tooltip("beta:Q", title="β", format=".3~g"), *numbers]


def _window_readings(base: alt.Chart, windows: pd.DataFrame) -> alt.LayerChart:
    truth = base.mark_line(strokeDash=[5, 4], strokeWidth=1.8)
    y = alt.Y("exponent_theory:Q", title="exponent of the loss")
    truth = truth.encode(y=y, color=alt.value("currentColor"))
    band = base.mark_area(opacity=0.25).encode(y="exponent_low:Q", y2="exponent_high:Q")
    read = base.mark_line(strokeWidth=1.8, point=alt.OverlayMarkDef(size=28)).encode(y="exponent_fit:Q")
    corner = windows.loc[[windows["exponent_theory"].idxmax()]].assign(text="min(α, β)")
    word = alt.Chart(corner).mark_text(align="right", dx=-8, dy=4)
    return truth + band + read + word.encode(x="beta:Q", y="exponent_theory:Q", text="text:N")


def regimes_markdown(regimes: pd.DataFrame) -> str:
    """The fits as a Markdown table: one row a regime and quantity, theory beside fit and its interval."""
    head = [
        "β",
        "regime",
        "quantity",
        "exponent, theory",
        "fitted (decades)",
        "prefactor, theory",
        "fitted (range)",
    ]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for r in regimes.itertuples():
        quantity = {"n_discovered": "$D$", "loss": "$L$"}[r.quantity]
        exponent = f"{r.exponent_fit:.4f} ({r.exponent_low:.4f}, {r.exponent_high:.4f})"
        prefactor = f"{r.prefactor_fit:.4g} ({r.prefactor_low:.4g}, {r.prefactor_high:.4g})"
        lines.append(
            f"| {r.beta:g} | {r.regime} | {quantity} | {r.exponent_theory:.4f} | {exponent} | "
            f"{r.prefactor_theory:.4g} | {prefactor} |"
        )
    return "\n".join(lines)
