"""The figure of chapter 08 that adds up: which claims survive, which stay open, which fail.

>>> _readable("Transfers better than depth_relative")
'Transfers better than relative depth'
"""

from __future__ import annotations

import altair as alt
import pandas as pd

from geowall.figures import theme
from geowall.figures.marks import SHORT, chance, hypothesis, named

OUTCOME_WORDS = {
    "survives": "survive",
    "undecided": "stay open",
    "not testable": "cannot be tested",
    "fails": "fail",
}
OUTCOME_COLOURS = {
    "survives": theme.GREEN,
    "undecided": theme.GREY,
    "not testable": theme.PURPLE,
    "fails": theme.RED,
}


MARKS = {"survives": "✓", "undecided": "·", "not testable": "?", "fails": "✗"}


def fig_verdict(verdicts: pd.DataFrame) -> alt.TopLevelMixin:
    """Every claim about curvature, in every model: survives, undecided, or fails."""
    table = named(verdicts)
    table["text"] = [_number(row) for row in table.itertuples()]
    whole = table["claim"].map(_readable).str.split(" without layers 0 to ", expand=True)
    table["row"] = whole[0] + table["statistic"].map({"p": " (p)"}).fillna("")
    table["look"] = whole.get(1, pd.Series(index=whole.index, dtype=object)).fillna("")
    looks = sorted(set(table["look"]) - {""}, key=int)
    table["said"] = table["outcome"].map(MARKS)
    first = table["look"] == ""
    table.loc[first, "said"] = table["text"].str.split("  ").str[0].str.removeprefix("p = ")
    order = list(dict.fromkeys(table["row"]))
    y = alt.Y("row:N", sort=order, title=None).scale(domain=order)
    y = y.axis(domain=False, ticks=False, labelLimit=345, labelPadding=8)
    x = alt.X("name:N", title=None, sort=list(dict.fromkeys(table["name"])))
    x = x.axis(orient="top", labelAngle=0, domain=False, ticks=False, labelFontWeight=600)
    scale = alt.Scale(domain=list(OUTCOME_COLOURS), range=list(OUTCOME_COLOURS.values()))
    base = alt.Chart(table[["row", "name", "look", "statistic", "text", "said", "outcome"]])
    words = [
        base.transform_filter(f"datum.look == '{look}'").mark_text(fontSize=12, fontWeight=600, dx=dx)
        for look, dx in zip(["", *looks], [-10, *(18 + 12 * i for i in range(len(looks)))], strict=True)
    ]
    chart = alt.layer(*words).encode(
        x=x, y=y, text="said:N", color=alt.Color("outcome:N", scale=scale, legend=None),
        tooltip=["row:N", "name:N", "look:N", "statistic:N", "text:N", "outcome:N"],
    )  # fmt: skip
    chart = chart.properties(width=76 * table["name"].nunique(), height=23 * len(order))
    return theme.finish(chart, "verdict", **_verdict_words(table, looks))


def _number(row: tuple) -> str:
    """A p-value, or a number and its interval after two spaces."""
    if pd.isna(row.low):
        return f"p = {chance(row.value)}"
    form = "+.2f" if abs(row.value) < 10 else "+.0f"
    return f"{row.value:{form}}  [{row.low:.2f}, {row.high:.2f}]".replace("-", "−")


def _verdict_words(table: pd.DataFrame, looks: list[str]) -> dict[str, str]:
    counts = table.groupby("name", sort=False)["outcome"].value_counts(sort=False).unstack(fill_value=0)
    said = "; ".join(
        f"at {name} " + ", ".join(f"{row.get(o, 0)} {verb}" for o, verb in OUTCOME_WORDS.items())
        for name, row in counts.iterrows()
    )
    failed = table[table["outcome"] == "fails"]
    listed = "; ".join(
        f"{claim} ({name})" for claim, name in zip(failed["claim"], failed["name"], strict=True)
    )
    again = " and ".join(f"{int(look) + 1}" for look in looks)
    behind = f" The marks behind it are for the layers without the first {again}." if looks else ""
    return {
        "caption": "Each claim about curvature against each control: the number on all layers, or its "
        f"p-value (point at it for the 95 % interval).{behind} One rule for all: an interval wholly on the "
        "claimed side of zero survives (green, ✓), wholly on the other side fails (red, ✗), and otherwise "
        "nothing is decided (grey, ·); a p-value survives up to 0.05 and decides nothing above. Where a true "
        "law would seldom be seen and often look as bad, the claim cannot be tested (purple, ?). "
        f"{said[0].upper() + said[1:]}.",
        "alt": f"A table of claims by model. {said}. Failing: {listed or 'none'}.",
    }


def _readable(claim: str) -> str:
    """Write the hypotheses in a claim in symbols."""
    head, beats, rest = claim.partition(" beats ")
    if beats:
        rival, without, layers = rest.partition(" without ")
        return f"{hypothesis(head)} beats {hypothesis(rival)}{without}{layers}"
    for name, label in {**SHORT, "depth_relative": "relative depth", "kappa_ms": "κ_ms"}.items():
        claim = claim.replace(name, label)
    return claim
