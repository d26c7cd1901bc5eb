"""The figures of chapter 04 that show what an extraction costs: time, memory, and the forecast.

>>> import pandas as pd
>>> rows = {"batch": [1, 2, 3], "resident_mb": [900.0, 910.0, 909.0], "extracted_mb": [2.0, 4.0, 6.0]}
>>> fig_memory(pd.DataFrame(rows), warm=2).usermeta["name"]
'fig-memory'
"""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd

from geowall.figures import theme

WAYS = {"extract": "nnsight to disk", "usual": "whole model"}
MUST = 1.10  # of the benchmark B8: at most this many times the bare forward pass


def fig_race(rounds: pd.DataFrame, summary: pd.DataFrame) -> alt.TopLevelMixin:
    """Cost of each further token over the bare forward pass, and of the whole race, with intervals."""
    labels = {"token_ratio": "each further token", "ratio": "all in all"}
    table = summary[summary["quantity"].isin(labels) & (summary["way"] != "hooks")].copy()
    table["row"] = table["way"].map(WAYS) + ": " + table["quantity"].map(labels)
    order = [f"{way}: {what}" for way in WAYS.values() for what in labels.values()]
    ends = [min(0.95, table["low"].min() / 1.02), max(1.3, table["high"].max() * 1.02)]
    log = alt.Scale(type="log", domain=ends, nice=False)
    x = alt.X("value:Q", title="time over that of the bare forward pass with hooks", scale=log)
    x = x.axis(values=[0.8, 0.9, 1, 1.1, 1.2, 1.5, 2, 3], format="~g")
    y = alt.Y("row:N", sort=order, title=None).axis(domain=False, ticks=False, labelLimit=260, labelPadding=8)
    scale = alt.Scale(domain=list(WAYS), range=[theme.BLUE, theme.ORANGE])
    colour = alt.Color("way:N", scale=scale, legend=None)
    base = alt.Chart(table).encode(y=y, color=colour)
    tooltip = ["row:N", *(alt.Tooltip(f"{c}:Q", format=".3f") for c in ("value", "low", "high"))]
    spread = base.mark_rule(strokeWidth=3, opacity=0.5).encode(x=alt.X("low:Q"), x2="high:Q")
    dots = base.mark_circle(size=90, opacity=1).encode(x=x, tooltip=tooltip)
    words = base.mark_text(dy=-13, fontSize=12, fontWeight=600).encode(
        x=x, text=alt.Text("value:Q", format=".2f")
    )
    lines = pd.DataFrame({"at": [1.0, MUST], "text": ["bare", "must"]})
    rules = alt.Chart(lines).mark_rule(strokeDash=[4, 3], opacity=0.6).encode(x=alt.X("at:Q", scale=log))
    notes = alt.Chart(lines).mark_text(align="left", dx=4, fontSize=11, opacity=0.8)
    notes = notes.encode(x="at:Q", y=alt.value(184), text="text:N")
    chart = (rules + spread + dots + words + notes).properties(width=370, height=190)
    found = summary.set_index(["way", "quantity"])
    token, start = found.loc[("extract", "token_ratio")], found.loc[("extract", "start_seconds")]
    usual = found.loc[("usual", "ratio")]
    caption = (
        f"Median over {rounds['round'].nunique()} alternating rounds, with 95 % intervals. Tracing, "
        "copying, hashing and storing cost "
        f"{token['value']:.2f} ({token['low']:.2f} to {token['high']:.2f}) times the bare forward pass for "
        "each further token, and "
        f"{start['value']:.2f} s once for laying out the store. Asking the whole model for "
        "`hidden_states`, head included, costs "
        f"{usual['value']:.2f} times and stores nothing. Dashed: what the benchmark of this book must stay "
        "under."
    )
    return theme.finish(
        chart, "race", caption=caption, alt=f"Dots with intervals. {caption}".replace("`", "")
    )


def fig_memory(memory: pd.DataFrame, warm: int = 10) -> alt.TopLevelMixin:
    """Resident memory after each batch, above its level with full buffers; and what was extracted."""
    level = float(memory["resident_mb"].iloc[warm - 1])
    kept = memory["extracted_mb"] - float(memory["extracted_mb"].iloc[warm - 1])
    parts = {
        "memory of the process": memory["resident_mb"] - level,
        "had every batch been kept": kept.clip(lower=0),
    }
    table = pd.concat(
        [pd.DataFrame({"batch": memory["batch"], "mb": v, "what": k}) for k, v in parts.items()]
    )
    colours = dict(zip(parts, (theme.BLUE, theme.GREY), strict=True))
    scale = alt.Scale(domain=list(colours), range=list(colours.values()))
    x = alt.X("batch:Q", title="batches extracted").scale(nice=False).axis(grid=False)
    y = alt.Y("mb:Q", title=f"MB above batch {warm}")
    base = alt.Chart(table).encode(x=x, y=y, color=alt.Color("what:N", scale=scale, legend=None))
    line = base.mark_line(strokeWidth=2).encode(
        tooltip=["what:N", "batch:Q", alt.Tooltip("mb:Q", format=".1f")]
    )
    last = table[table["batch"] == table["batch"].max()]
    label = alt.Chart(last).mark_text(align="right", dy=-10, fontSize=12, fontWeight=600)
    label = label.encode(x=x, y=y, text="what:N", color=alt.Color("what:N", scale=scale, legend=None))
    chart = (line + label).properties(width=540, height=220)
    after = memory["resident_mb"].iloc[warm:] - level
    caption = (
        f"Memory of the process over {len(memory)} batches, from the {warm}th on, when model and write "
        "buffers are in place: it moves "
        f"between {after.min():+.1f} and {after.max():+.1f} MB while {kept.iloc[-1]:.0f} MB of activations "
        "pass through."
    ).replace("-", "−")
    return theme.finish(chart, "memory", caption=caption, alt=f"A level line and a rising one. {caption}")


def fig_forecast(foretold: pd.DataFrame) -> alt.TopLevelMixin:
    """Measured over predicted, for whatever this machine can measure."""
    table = foretold.dropna(subset=["ratio"]).copy()
    table["words"] = [
        f"{row.predicted:.3g} {row.unit} foretold, {row.measured:.3g} {row.unit} measured"
        for row in table.itertuples()
    ]
    reach = max(2.6, 1.15 * float(np.exp(np.abs(np.log(table["ratio"])).max())))
    log = alt.Scale(type="log", domain=[1 / reach, reach], nice=False)
    x = alt.X("ratio:Q", title="measured over foretold", scale=log)
    x = x.axis(values=[0.25, 0.5, 1, 2, 4], format="~g")
    y = alt.Y("quantity:N", sort=None, title=None).axis(
        domain=False, ticks=False, labelPadding=8, labelFontSize=13
    )
    band = alt.Chart(pd.DataFrame({"low": [0.5], "high": [2.0]})).mark_rect(fill=theme.GREEN, opacity=0.14)
    band = band.encode(x=alt.X("low:Q", scale=log), x2="high:Q")
    one = alt.Chart(pd.DataFrame({"at": [1.0]})).mark_rule(strokeDash=[4, 3], opacity=0.6).encode(x="at:Q")
    base = alt.Chart(table).encode(y=y)
    tooltip = ["quantity:N", "words:N", alt.Tooltip("ratio:Q", format=".3f")]
    dots = base.mark_circle(size=110, color=theme.BLUE, opacity=1).encode(x=x, tooltip=tooltip)
    words = base.mark_text(dy=-14, fontSize=12).encode(x=x, text="words:N")
    chart = (band + one + dots + words).properties(width=460, height=60 * len(table) + 20)
    known = "; ".join(f"{row.quantity} {row.ratio:.2f}" for row in table.itertuples())
    still = ", ".join(foretold.loc[foretold["ratio"].isna(), "quantity"])
    rest = f" Nothing was foretold and nothing used of: {still}." if still else ""
    caption = f"Measured over foretold: {known}. The band is a factor of two either way.{rest}"
    return theme.finish(chart, "forecast", caption=caption, alt=f"Dots near one. {caption}")
