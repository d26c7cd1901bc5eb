"""The figure of chapter 08 that adds up: which claims survive, which stay open, which fail.

>>> _readable("Transfers better than depth_relative")
'Transfers better than relative depth'
"""

from __future__ import annotations

import altair as alt
import pandas as pd

from geowall.figures import theme
from geowall.figures.marks import SHORT, hypothesis, named

OUTCOME_WORDS = {"survives": "survive", "undecided": "stay open", "fails": "fail"}
OUTCOME_COLOURS = {"survives": theme.GREEN, "undecided": theme.GREY, "fails": theme.RED}


def fig_verdict(verdicts: pd.DataFrame) -> alt.TopLevelMixin:
    """Every claim about curvature, in every model: survives, undecided, or fails."""
    table = named(verdicts).copy()
    table["claim"] = table["claim"].map(_readable)
    table["text"] = [
        f"p = {r.value:.3f}"
        if pd.isna(r.low)
        else f"{r.value:+.2f}  [{r.low:.2f}, {r.high:.2f}]".replace("-", "−")
        for r in table.itertuples()
    ]
    many = table["name"].nunique() > 2  # then there is room for the number only
    table["said"] = [text.split("  [")[0] for text in table["text"]] if many else table["text"]
    order = list(dict.fromkeys(table["claim"]))
    scale = alt.Scale(domain=list(OUTCOME_COLOURS), range=list(OUTCOME_COLOURS.values()))
    y = alt.Y("claim:N", sort=order, title=None).scale(domain=order)
    y = y.axis(domain=False, ticks=False, labelLimit=345, labelPadding=8)
    x = alt.X("name:N", title=None, sort=list(dict.fromkeys(table["name"])))
    x = x.axis(orient="top", labelAngle=0, domain=False, ticks=False, labelFontWeight=600)
    shade = alt.Color("outcome:N", scale=scale, legend=alt.Legend(title=None, orient="bottom"))
    tooltip = ["claim:N", "name:N", "statistic:N", "text:N", "outcome:N"]
    base = alt.Chart(table).encode(x=x, y=y, tooltip=tooltip)
    cells = base.mark_rect(cornerRadius=4, opacity=0.4, stroke=None).encode(color=shade)
    words = base.mark_text(fontSize=11).encode(text="said:N")
    chart = (cells + words).properties(
        width=62 * table["name"].nunique() if many else 256, height=24 * len(order)
    )
    counts = table.groupby("name", sort=False)["outcome"].value_counts(sort=False).unstack(fill_value=0)
    said = "; ".join(
        f"at {name} " + ", ".join(f"{row.get(o, 0)} {verb}" for o, verb in OUTCOME_WORDS.items())
        for name, row in counts.iterrows()
    )
    failed = "; ".join(
        f"{r.claim} ({r.name_})"
        for r in table[table["outcome"] == "fails"].rename(columns={"name": "name_"}).itertuples()
    )
    return theme.finish(
        chart,
        "verdict",
        caption="Each claim about curvature against each control, with its number and 95 % interval. "
        "One rule for all: "
        "an interval wholly on the claimed side of zero survives, wholly on the other side fails, and "
        "otherwise "
        f"nothing is decided; a p-value survives up to 0.05. {said}.",
        alt=f"A table of claims by model. {said}. Failing: {failed or 'none'}.",
    )


def _readable(claim: str) -> str:
    """Write the hypotheses in a claim in symbols."""
    head, beats, rest = claim.partition(" beats ")
    if beats:
        rival, without, layers = rest.partition(" without ")
        return f"{hypothesis(head)} beats {hypothesis(rival)}{without}{layers}"
    for name, label in {**SHORT, "depth_relative": "relative depth", "kappa_ms": "κ_ms"}.items():
        claim = claim.replace(name, label)
    return claim
