"""The figures of chapter 05 on errors: by depth, width and sparsity, and over the tokens of one checkpoint.

>>> power_axis([128, 512]).to_dict()["values"], [words(d) for d in (512, 16_384, 1_048_576)]
([128, 512], ['512', '16k', '1m'])
"""

from __future__ import annotations

from collections.abc import Iterable

import altair as alt
import numpy as np
import pandas as pd

from geowall.census.curves import at_sparsity
from geowall.figures import theme
from geowall.figures.marks import log_ticks, short
from geowall.sae.gemma_scope import width_name as words

RULES = {
    "nmse_median": "median",
    "nmse_trim_2": "2 % cut",
    "nmse": "5 % cut",
    "nmse_mean": "mean",
    "nmse_max": "worst",
}


def power_axis(values: Iterable[int], **given: object) -> alt.Axis:
    """An axis labelled at the widths that there are."""
    return alt.Axis(values=[int(v) for v in sorted(set(values))], format=",", grid=False, **given)


def by_width(table: pd.DataFrame, legend: bool = True) -> alt.Color:
    """A shade for each width, light to dark."""
    widths = sorted(int(w) for w in table["d_sae"].unique())
    shades = ["#2f6fb2", "#2a9163", "#c2711c", "#d1495b", "#9467bd", "#808080", "#b8860b", "#17828f"]
    key = alt.Legend(title="latents", columns=8, symbolOpacity=1) if legend else None
    scale = alt.Scale(domain=[words(w) for w in widths], range=shades[: len(widths)])
    return alt.Color("width_name:N", legend=key, scale=scale)


def _named(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(width_name=[words(int(d)) for d in table["d_sae"]])


def log_error(table: pd.DataFrame, column: str = "nmse", title: str | None = "error (NMSE)") -> alt.Y:
    """An axis of errors that ends near the data: logarithmic, unless they lie within a factor of three."""
    values = table[column].dropna()
    if values.max() < 3 * values.min():
        return alt.Y(f"{column}:Q", title=title).scale(zero=False, padding=8).axis(tickCount=5)
    scale = alt.Scale(type="log", domain=[0.92 * values.min(), 1.08 * values.max()], nice=False)
    return alt.Y(f"{column}:Q", title=title, scale=scale).axis(values=log_ticks(values), format="~g")


def decades(values: pd.Series) -> list[float]:
    """Powers of ten within the range of values: all the grid that a long logarithmic axis needs.

    >>> decades(pd.Series([0.002, 30.0]))
    [0.01, 0.1, 1.0, 10.0]
    """
    low, high = np.ceil(np.log10(values.min()) - 1e-9), np.floor(np.log10(values.max()) + 1e-9)
    return [float(f"1e{int(e)}") for e in np.arange(low, high + 1)]


def fig_errors(checkpoints: pd.DataFrame, k: float, layer: int) -> alt.TopLevelMixin:
    """Error by depth at ``k`` active latents, and error against sparsity at a layer that a click chooses."""
    table = _named(_own(checkpoints))
    level = _named(at_sparsity(_own(checkpoints), [k]))
    start = {"fields": ["layer"], "value": [{"layer": layer}]}
    pick = alt.selection_point(name="errors_layer", nearest=True, on="click", empty=False, **start)
    depth = alt.X("layer:Q", title="layer", scale=alt.Scale(domain=[-0.3, table["layer"].max() + 0.3]))
    base = alt.Chart(level).encode(x=depth.axis(tickMinStep=1, grid=False), y=log_error(level))
    base = base.encode(color=by_width(table))
    tips = [alt.Tooltip("layer:Q"), alt.Tooltip("d_sae:Q", format=","), alt.Tooltip("nmse:Q", format=".3f")]
    rule = alt.Chart(pd.DataFrame({"layer": sorted(table["layer"].unique())})).mark_rule(strokeDash=[4, 3])
    rule = rule.encode(x=depth, opacity=alt.when(pick).then(alt.value(0.8)).otherwise(alt.value(0.0)))
    dots = base.mark_circle(size=46, opacity=1).encode(tooltip=tips).add_params(pick)
    left = alt.layer(rule, base.mark_line(strokeWidth=1.6), dots)
    x = alt.X("l0:Q", title="L0, active latents").scale(type="log", nice=False, padding=10)
    right = alt.Chart(table).transform_filter(pick)
    right = right.encode(x=x.axis(values=log_ticks(table["l0"]), format="~g", grid=False), y=log_error(table))
    right = right.encode(color=by_width(table))
    tips = [*tips[:2], alt.Tooltip("l0:Q", format=".1f"), tips[2]]
    frontier = right.mark_line(strokeWidth=1.6) + right.mark_circle(size=46, opacity=1).encode(tooltip=tips)
    chart = alt.hconcat(
        left.properties(width=236, height=240, title=f"By depth, at L0 = {k:.3g}"),
        frontier.properties(width=216, height=240, title="Against sparsity, at the marked layer"),
        spacing=22,
    )
    return theme.finish(chart, "errors", **_errors_words(table, level, k))


def _own(checkpoints: pd.DataFrame) -> pd.DataFrame:
    """Distinct measured checkpoints with a code, of the commonest site, architecture, schedule and seed."""
    table = checkpoints[(checkpoints["status"] == "measured") & (checkpoints["l0"] > 0)]
    table = table[table["same_as"].fillna("") == ""] if "same_as" in table else table
    for name in ("site", "architecture", "schedule", "seed"):
        table = table[table[name] == table[name].mode()[0]]
    return table


def _errors_words(table: pd.DataFrame, level: pd.DataFrame, k: float) -> dict[str, str]:
    widest = level[level["d_sae"] == level["d_sae"].max()].set_index("layer")["nmse"]
    sizes = f"{words(int(table['d_sae'].min()))} to {words(int(table['d_sae'].max()))}"
    found = (
        f"With {words(int(level['d_sae'].max()))} latents the error is least at layer {widest.idxmin()} "
        f"({widest.min():.3f}) and largest at layer {widest.idxmax()} ({widest.max():.3f})."
    )
    return {
        "caption": f"*Left:* error of {len(table)} checkpoints of {short(table['model'].iloc[0])}, {sizes} "
        f"latents, interpolated to {k:.3g} active ones. *Right:* as measured, at one layer; click a layer "
        f"on the "
        f"left to change it. {found}",
        "alt": f"Two panels: error by layer with a line for each width, and error against sparsity. {found}",
    }


def fig_beside_gemma(checkpoints: pd.DataFrame, layers: pd.DataFrame, k: float) -> alt.TopLevelMixin:
    """Error over relative depth: narrow and wide dictionaries of our model beside Gemma 2's two sizes."""
    level = at_sparsity(_own(checkpoints), [k])
    ends = level[level["d_sae"].isin([level["d_sae"].min(), level["d_sae"].max()])]
    ours = pd.DataFrame({"model": ends["model"], "layer": ends["layer"], "nmse": ends["nmse"]})
    ours["width"] = np.where(ends["d_sae"] == ends["d_sae"].max(), "wide", "narrow")
    parts = [ours]
    for column, name in (("nmse_l0_50_width_lo", "narrow"), ("nmse_l0_50_width_hi", "wide")):
        part = layers[["model", "layer", column]].rename(columns={column: "nmse"}).dropna()
        parts.append(part.assign(width=name))
    table = pd.concat(parts, ignore_index=True)
    table["depth"] = table["layer"] / table.groupby("model")["layer"].transform("max")
    table["name"] = table["model"].map(_title)
    names = list(dict.fromkeys(table["name"]))
    shades = alt.Scale(domain=["narrow", "wide"], range=[theme.BLUE, theme.ORANGE])
    y = log_error(table)
    tips = ["name:N", "layer:Q", "width:N", alt.Tooltip("nmse:Q", format=".3f")]
    base = alt.Chart(table).encode(
        x=alt.X("depth:Q", title="relative depth").axis(tickCount=3, format=".1f", grid=False),
        y=y,
        color=alt.Color("width:N", title=None, scale=shades),
        tooltip=tips,
    )
    chart = (base.mark_line(strokeWidth=1.4) + base.mark_circle(size=26, opacity=1)).properties(
        width=160, height=200
    )
    peaks = (
        table[table["width"] == "wide"].groupby("name", sort=False).apply(_inner_peak, include_groups=False)
    )
    listed = "; ".join(f"{name} {peak:.2f}" for name, peak in peaks.items())
    return theme.finish(
        chart.facet(facet=alt.Facet("name:N", title=None, sort=names), columns=3),
        "beside-gemma",
        caption=f"Error by depth at a common sparsity: ours at {k:.3g} active latents, Gemma 2 at 50 "
        "{cite:p}`zaher2026`, with the narrowest and the widest dictionary that all layers share. "
        f"Relative depth of the largest error of the wide ones: {listed}.",
        alt=f"Three panels of error over relative depth, narrow above wide. Deepest error: {listed}.",
    )


def _inner_peak(group: pd.DataFrame) -> float:
    return float(group.loc[group["nmse"].idxmax(), "depth"])


def _title(model: str) -> str:
    size = short(model)
    return f"Gemma 2 {size}" if size != model else model.rpartition("/")[2]


def fig_tokens(distributions: pd.DataFrame, rules: pd.DataFrame) -> alt.TopLevelMixin:
    """Error of every token of a checkpoint a layer, sorted; and what five rules make of such a distribution.

    ``rules`` has a row a checkpoint with ``source``, ``where``, and the columns of RULES.
    """
    table = distributions[distributions["d_sae"] == distributions["d_sae"].max()]
    l0 = table.groupby("layer")["nominal_l0"].transform(lambda v: sorted(set(v))[len(set(v)) // 2])
    table = table[(table["nominal_l0"] == l0) & table["quantile"].between(0.001, 0.999)]
    table = table.assign(where="layer " + table["layer"].astype(str))
    cut = pd.DataFrame({"from": [0.0, 0.95], "to": [0.05, 1.0]})
    band = alt.Chart(cut).mark_rect(opacity=0.12, color=theme.GREY)
    band = band.encode(x=alt.X("from:Q", title="share of tokens with a smaller error"), x2="to:Q")
    x = alt.X("quantile:Q", scale=alt.Scale(domain=[0, 1])).axis(format=".0%", tickCount=5, grid=False)
    line = (
        alt.Chart(table)
        .mark_line(strokeWidth=1.8)
        .encode(
            x=x,
            y=log_error(table, title="error of the token"),
            color=alt.Color("where:N", title=None, sort=None),
            tooltip=["where:N", alt.Tooltip("quantile:Q", format=".1%"), alt.Tooltip("nmse:Q", format=".3f")],
        )
    )
    left = (band + line).properties(width=226, height=230, title="Tokens in order of their error")
    chart = alt.hconcat(left, _rules_panel(rules), spacing=24).resolve_scale(color="independent")
    inflation = (
        rules.assign(times=rules["nmse_mean"] / rules["nmse"]).groupby("source")["times"].agg(["min", "max"])
    )
    listed = "; ".join(
        f"{name}: {row['min']:.2f} to {row['max']:.2f} times" for name, row in inflation.iterrows()
    )
    return theme.finish(
        chart,
        "tokens",
        caption="*Left:* the error of every token of one checkpoint a layer; the grey ends are cut before "
        "the mean "
        "is taken. *Right:* what the error would be by five rules, here and in the paper "
        "{cite:p}`zaher2026`. Plain mean over trimmed mean, " + listed + ".",
        alt=f"Left, sorted errors of tokens; right, five summaries of each checkpoint. Mean over trimmed: "
        f"{listed}.",
    )


def _rules_panel(rules: pd.DataFrame) -> alt.Chart:
    long = rules.melt(["source", "where"], list(RULES), "rule", "value").dropna()
    long["rule"] = long["rule"].map(RULES)
    x = alt.X("value:Q", title="error").scale(type="log", nice=False, padding=8)
    x = x.axis(format="~g", values=decades(long["value"])[::2])
    shades = [theme.GREEN, theme.PURPLE, theme.BLUE, theme.ORANGE, theme.RED]
    scale = alt.Scale(domain=list(RULES.values()), range=shades)
    return (
        alt.Chart(long)
        .mark_circle(size=48, opacity=0.85)
        .encode(
            x=x,
            y=alt.Y("where:N", title=None, sort=list(rules["where"])).axis(ticks=False, labelLimit=120),
            color=alt.Color("rule:N", title=None, legend=alt.Legend(columns=3), scale=scale),
            tooltip=["where:N", "rule:N", alt.Tooltip("value:Q", format=".3~g")],
        )
        .properties(width=200, height=230, title="Five rules")
    )


def fig_ladder(rungs: pd.DataFrame) -> alt.TopLevelMixin:
    """Error and its interval against width at one layer, as measured, the sparsity written beside each."""
    table = _own(rungs).assign(text=lambda t: "L0 " + t["l0"].round().astype(int).astype(str))
    x = alt.X("d_sae:Q", title="latents").scale(type="log", base=2, nice=False, padding=24)
    base = alt.Chart(table).encode(x=x.axis(power_axis(table["d_sae"])))
    bars = base.mark_rule(strokeWidth=3, opacity=0.4, color=theme.BLUE)
    bars = bars.encode(y=alt.Y("nmse_low:Q", title="error (NMSE)").scale(zero=False), y2="nmse_high:Q")
    tips = [
        alt.Tooltip("d_sae:Q", format=","),
        alt.Tooltip("nmse:Q", format=".3f"),
        alt.Tooltip("l0:Q", format=".1f"),
    ]
    dots = base.mark_circle(size=60, opacity=1, color=theme.BLUE).encode(y="nmse:Q", tooltip=tips)
    line = base.mark_line(strokeWidth=1.4, color=theme.BLUE).encode(y="nmse:Q")
    said = base.mark_text(align="left", dx=8, dy=-8, fontSize=11).encode(y="nmse:Q", text="text:N")
    ends = table.sort_values("d_sae").iloc[[0, -1]]
    found = " to ".join(
        f"{r.nmse:.3f} with {words(r.d_sae)} latents (L0 {r.l0:.0f})" for r in ends.itertuples()
    )
    chart = alt.layer(bars, line, dots, said).properties(width=480, height=230)
    return theme.finish(
        chart,
        "ladder",
        caption=f"Layer {int(table['layer'].iloc[0])}, with 95 % intervals over documents: {found}.",
        alt=f"Error against dictionary size at one layer, falling from {found}.",
    )


def fig_widths(level: pd.DataFrame) -> alt.TopLevelMixin:
    """Error against width at one sparsity, a line a layer, a panel a model: see :func:`at_sparsity`."""
    table, k = level, float(level["k"].iloc[0])
    x = alt.X("d_sae:Q", title="latents").scale(type="log", base=2, nice=False, padding=8)
    color = alt.Color("layer:Q", title="layer", scale=alt.Scale(scheme=theme.SEQUENCE))
    tips = ["model:N", "layer:Q", alt.Tooltip("d_sae:Q", format=","), alt.Tooltip("nmse:Q", format=".3f")]
    x = x.axis(power_axis(table["d_sae"], labelOverlap=True))
    base = alt.Chart(table).encode(x=x, y=log_error(table), color=color, detail="layer:N", tooltip=tips)
    several = table["model"].nunique() > 1
    chart = base.mark_line(strokeWidth=1.4) + base.mark_circle(size=24, opacity=1)
    chart = chart.properties(width=232 if several else 460, height=260)
    widths = table.groupby(["model", "layer"])["d_sae"].transform("nunique")
    whole = widths == table.groupby("model")["d_sae"].transform("nunique")
    falls = table[whole].groupby(["model", "layer"]).apply(_slope, include_groups=False).dropna()
    ends = {m: f"{g.min():.2f} to {g.max():.2f}".replace("-", "−") for m, g in falls.groupby(level=0)}
    listed = "; ".join(f"{model} {text}" for model, text in ends.items())
    return theme.finish(
        chart.facet(facet=alt.Facet("model:N", title=None), columns=2),
        "widths",
        caption=f"Error against width at {k:.3g} active latents, a line for each layer, dark for early ones. "
        f"Slopes over all widths, log on log: {listed}.",
        alt=f"Error against width on logarithmic axes, a line a layer. Slopes: {listed}.",
    )


def _slope(group: pd.DataFrame) -> float:
    if group["d_sae"].nunique() < 2:
        return float("nan")
    return float(np.polyfit(np.log(group["d_sae"]), np.log(group["nmse"]), 1)[0])
