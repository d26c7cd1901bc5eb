"""Marks that charts of layers share: the models' colours, the names of hypotheses, dots with intervals.

>>> hypothesis("depth+kappa_ms"), hypothesis("d_int+kappa_ms+kappa_tv+nu"), short("gemma-2-9b")
('depth + κ_ms', 'all four', '9B')
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import altair as alt
import pandas as pd

from geowall.figures import theme

SHORT = {"gemma-2-2b": "2B", "gemma-2-9b": "9B"}
ALL_FOUR = "d_int+kappa_ms+kappa_tv+nu"
SYMBOLS = {
    "none": "mean only",
    "d_int": "d_int",
    "kappa_ms": "κ_ms",
    "kappa_tv": "κ_tv",
    "nu": "ν",
    "depth_log": "log depth",
    "depth_linear": "linear depth",
    "depth_relative": "relative depth",
    "nmse_narrow": "narrow error",
    "participation": "participation ratio",
    "tail_exponent": "spectral tail",
    "excess_kappa_ms": "excess of κ_ms",
    "token_share": "token identity",
}
SITES = {"res": "residual stream", "att": "attention heads", "mlp": "MLP output"}
WORDS = {
    "d_int": "intrinsic dimension d_int",
    "kappa_ms": "curvature κ_ms",
    "kappa_tv": "tangent variation κ_tv",
    "nu": "heterogeneity ν",
}


INTERVAL = [
    alt.Tooltip("low:Q", title="95 % from", format=".3f"),
    alt.Tooltip("high:Q", title="to", format=".3f"),
]


def short(model: str) -> str:
    """Return the label of a model: the size for Gemma 2, its own name otherwise."""
    return SHORT.get(model, model)


def hypothesis(features: str) -> str:
    """Write a hypothesis as a reader would: symbols joined by a plus, four summaries as ``all four``."""
    plain = features.replace(ALL_FOUR, "all four")
    return " + ".join(SYMBOLS.get(term, term) for term in plain.split("+"))


def listed(values: dict[str, float], form: str = ".2f") -> str:
    """Write a number for each model, as in ``0.98 (2B) and 0.87 (9B)``, with a true minus sign."""
    written = [f"{value:{form}}".replace("-", "−") + f" ({short(model)})" for model, value in values.items()]
    return spoken(written)


def signed(value: float, form: str = ".2f") -> str:
    """Write one number with a true minus sign.

    >>> signed(-0.5), signed(2, ".0f")
    ('−0.50', '2')
    """
    return f"{value:{form}}".replace("-", "−")


def chance(p_value: float) -> str:
    """Write a p-value so that none reads as zero: to three decimals, or to two digits where it is smaller.

    >>> chance(0.03846), chance(0.0012), chance(1 / 10_001), chance(1 / 1_001), chance(1.0)
    ('0.038', '0.0012', '0.0001', '0.001', '1')
    """
    digits = max(3, 1 - math.floor(math.log10(p_value)))
    return f"{round(p_value, digits):.{digits}f}".rstrip("0").rstrip(".")


def spoken(words: Sequence[str]) -> str:
    """Join words as a sentence does.

    >>> spoken(["one", "two", "three"]), spoken(["one"])
    ('one, two and three', 'one')
    """
    *before, last = words or [""]
    return f"{', '.join(before)} and {last}" if before else last


def decided(table: pd.DataFrame, by: str = "model") -> str:
    """Say in words which models' intervals, ``low`` to ``high``, are clear of zero.

    >>> decided(pd.DataFrame({"model": ["gemma-2-2b", "gemma-2-9b"], "low": [0.1, -1], "high": [0.2, 1]}))
    'the interval is clear of zero at 2B only'
    """
    clear = table[table["low"] * table["high"] > 0]
    if clear.empty:
        return "no interval is clear of zero"
    if len(clear) == len(table):
        return "all intervals are clear of zero"
    return f"the interval is clear of zero at {spoken([short(m) for m in clear[by]])} only"


def without(q: int, least: int) -> str:
    """Say which layers a panel or a row leaves out, when the widest look drops the first ``least``."""
    return "All layers" if q == least else f"Without layers 0 to {q - 1}"


def reach(values: pd.Series, low: float, high: float, least: float = -0.5) -> list[float]:
    """Return the axis from ``low`` to ``high``, longer where ``values`` need it, but not below ``least``.

    >>> reach(pd.Series([0.42, 0.9]), 0.5, 1.0)
    [0.4, 1.0]
    """
    down, up = math.floor(values.min() * 20) / 20, math.ceil(values.max() * 20) / 20
    return [max(least, min(low, down)), max(high, up)]


def log_ticks(values: pd.Series) -> list[float]:
    """Return round numbers within the range of ``values``, few enough to label a short logarithmic axis.

    >>> log_ticks(pd.Series([0.0026, 0.23])), log_ticks(pd.Series([0.29, 0.73]))
    ([0.003, 0.01, 0.03, 0.1], [0.3, 0.4, 0.5, 0.6, 0.7])
    """
    decades = range(math.floor(math.log10(values.min())), math.ceil(math.log10(values.max())) + 1)
    for mantissas in ([1, 3], [1, 2, 3, 5], [1, 1.5, 2, 2.5], [1, 2, 3, 4, 5, 6, 7, 8, 9]):
        ticks = [float(f"{m}e{d}") for d in decades for m in mantissas]
        ticks = [tick for tick in ticks if values.min() <= tick <= values.max()]
        if len(ticks) >= 4:
            break
    return ticks


def shades(table: pd.DataFrame) -> alt.Scale:
    """Return the scale from the label of each model of a table to its colour."""
    names = list(dict.fromkeys(table["model"]))
    spare = iter(theme.CATEGORY[2:])
    colours = [theme.MODEL_COLOURS.get(model) or next(spare, theme.GREY) for model in names]
    return alt.Scale(domain=[short(model) for model in names], range=colours)


def colour(table: pd.DataFrame) -> alt.Color:
    """Return the colour of each model of a table by its label, the column ``name``."""
    return alt.Color("name:N", title=None, scale=shades(table), legend=None)


def named(table: pd.DataFrame) -> pd.DataFrame:
    """Add ``name``, the label of the row's model."""
    return table.assign(name=table["model"].map(short))


def key(table: pd.DataFrame, x: float, y: float, step: float = 17, align: str = "left") -> alt.Chart:
    """Write the models' labels in their colours, from pixel (``x``, ``y``) of a panel downwards."""
    names = named(table[["model"]].drop_duplicates())
    names["top"] = [y + step * i for i in range(len(names))]
    base = alt.Chart(names).mark_text(align=align, fontWeight=600, fontSize=12)
    return base.encode(
        x=alt.value(x), y=alt.Y("top:Q", scale=None, axis=None), text="name:N", color=colour(table)
    )


def names_in_colour(table: pd.DataFrame, width: int = 300) -> alt.Chart:
    """Write the models' labels in their colours on a line of its own, for figures whose panels are full."""
    names = named(table[["model"]].drop_duplicates())
    names["left"] = [sum(7.5 * len(name) + 14 for name in names["name"][:i]) for i in range(len(names))]
    base = alt.Chart(names).mark_text(align="left", baseline="top", fontWeight=600, fontSize=12)
    place = alt.X("left:Q", scale=None, axis=None)
    return base.encode(x=place, y=alt.value(0), text="name:N", color=colour(table)).properties(
        width=width, height=14
    )


def within(table: pd.DataFrame, low: float, high: float, columns: Sequence[str]) -> pd.DataFrame:
    """Cut ``columns`` to what a panel shows; ``arrow`` marks an interval that runs on past an edge."""
    drawn = table.assign(arrow="")
    drawn["edge"] = table[columns[1]]
    drawn.loc[table[columns[1]] > high, ["arrow", "edge"]] = ["▸", high]
    drawn.loc[table[columns[0]] < low, ["arrow", "edge"]] = ["◂", low]
    for column in columns:
        drawn[f"{column}_drawn"] = table[column].clip(low, high)
    return drawn


def dots(
    table: pd.DataFrame,
    value: str,
    row: str,
    order: Sequence[str],
    domain: tuple[float, float],
    title: str,
    *,
    width: int = 200,
    step: int = 26,
    labels: bool = True,
    limit: int = 170,
    tooltip: Sequence[str | alt.Tooltip] = (),
) -> alt.LayerChart:
    """Draw ``value`` with its interval ``low`` to ``high`` in rows, one dot a model within each row.

    Columns ``inner_low`` and ``inner_high``, where there are any, become a thicker bar; arrows mark intervals
    that run on past an edge.
    """
    double = "inner_low" in table
    columns = ["low", "high", value, *(["inner_low", "inner_high"] if double else [])]
    axis = alt.Axis(labels=labels, ticks=False, domain=False, labelLimit=limit, labelPadding=6)
    y = alt.Y(f"{row}:N", sort=list(order), title=None, axis=axis)
    y = y.scale(domain=list(order), paddingInner=0.25, paddingOuter=0.15)
    offset = alt.YOffset("name:N").scale(paddingInner=0.1, paddingOuter=0.3)
    halves = [v / 2 for v in range(round(2 * domain[0]), round(2 * domain[1]) + 1)]
    scale = alt.Scale(domain=list(domain), nice=False, clamp=True)
    x = alt.X(
        f"{value}:Q",
        title=title,
        scale=scale,
        axis=alt.Axis(values=halves, format=".1f", labelOverlap=True),
    )
    drawn = within(named(table), *domain, columns)
    # The axis cuts by itself, and no dot is placed to a ten-thousandth: pages stay small.
    drawn = drawn.drop(columns=["model", *(f"{column}_drawn" for column in columns)]).round(4)
    base = alt.Chart(drawn)
    bar = base.mark_rule(strokeWidth=2 if double else 3, opacity=0.45, strokeCap="round")
    arrow = (
        base.transform_filter("datum.arrow != ''").mark_text(fontSize=13).encode(x="edge:Q", text="arrow:N")
    )
    points = base.mark_circle(size=55, opacity=1).encode(x=x, tooltip=list(tooltip) or alt.Undefined)
    inner = base.mark_rule(strokeWidth=6, opacity=0.45, strokeCap="round")
    inner = [inner.encode(x=alt.X("inner_low:Q"), x2="inner_high:Q")] if double else []
    zero = alt.Chart(pd.DataFrame({"zero": [0]})).mark_rule(strokeDash=[3, 3], opacity=0.6).encode(x="zero:Q")
    bar = bar.encode(x=alt.X("low:Q", title=title, scale=scale), x2="high:Q")
    # What the marks share is said once, so that pages stay small.
    marks = alt.layer(bar, *inner, arrow, points).encode(y=y, yOffset=offset, color=colour(table))
    return alt.layer(zero, marks).properties(width=width, height=step * len(order))
