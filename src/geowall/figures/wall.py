"""The pictures that sum the book up: how many claims of three papers hold, and every one with its numbers.

>>> row = {"paper": "zaher2026", "claim": "A line fits", "source": "lab", "published_value": 0.9}
>>> row |= {"value": 0.5, "low": 0.2, "high": 0.7, "verdict": "not reproduced"}
>>> row |= {"why": "outside", "figure": "fig-fits"}
>>> [draw(pd.DataFrame([row])).usermeta["name"] for draw in (fig_wall_verdicts, fig_wall_tally)]
['fig-wall-verdicts', 'fig-wall-tally']
"""

from __future__ import annotations

import altair as alt
import pandas as pd

from geowall.figures import theme
from geowall.wall.rules import CAVEAT, FAILED, REPRODUCED, UNTESTED, VERDICTS
from geowall.wall.words import interval, short

PAPERS = {
    "zaher2026": "The Geometric Wall",
    "michaud2025": "Capacity allocation and manifolds",
    "hindupur2025": "Projecting assumptions",
}
COLOURS = {REPRODUCED: theme.GREEN, CAVEAT: theme.BLUE, FAILED: theme.RED, UNTESTED: theme.GREY}
GLYPHS = {REPRODUCED: "✓", CAVEAT: "(✓)", FAILED: "✗", UNTESTED: "?"}
HEADS = {REPRODUCED: "reproduced", CAVEAT: "caveat", FAILED: "not reprod.", UNTESTED: "not testable"}
PLACES = dict(zip(VERDICTS, (462, 498, 535, 571), strict=True))  # pixels
# Left edge of "on" and of the interval, right edge of both numbers: no text runs into the next.
ON, THERE, HERE, ENDS, WIDTH = 244, 313, 357, 362, 600
STEP, HEAD, TOP = 12.5, 25, 30
RECOMPUTED, MEASURED = "recomputed", "measured here"
TESTED_BY = {"published": RECOMPUTED, "theory": RECOMPUTED, "lab": MEASURED, "toy": MEASURED}
LEGIBLE = 3  # claims a part of a bar must have for its count to fit into it


def fig_wall_tally(verdicts: pd.DataFrame) -> alt.TopLevelMixin:
    """Draw how many claims came to which verdict, by paper and by how they were tested."""
    rows, labels = _counted(verdicts)
    y = alt.Y("label:N", sort=labels, title=None).axis(labelLimit=250, ticks=False, domain=False)
    colour = alt.Color("verdict:N", title=None, sort=list(VERDICTS)).scale(
        domain=list(VERDICTS), range=[COLOURS[verdict] for verdict in VERDICTS]
    )
    x = alt.X("n:Q", title="claims", stack="zero").axis(grid=False, tickMinStep=1)
    base = alt.Chart(rows).encode(y=y, order="place:O", tooltip=["label:N", "verdict:N", "n:Q"])
    bars = base.mark_bar(height={"band": 0.72}).encode(x=x, color=colour.legend(orient="top", columns=2))
    middle = alt.X("middle:Q", title="claims")
    wide = base.transform_filter(f"datum.n >= {LEGIBLE}")
    words = wide.mark_text(color="white", fontSize=11, fontWeight=700).encode(x=middle, text="n:Q")
    chart = alt.layer(bars, words).properties(width=340, height=28 * len(labels))
    counts = verdicts["verdict"].value_counts()
    caption = (
        f"Of {len(verdicts)} claims of {{cite:t}}`zaher2026`, {{cite:t}}`michaud2025` and "
        f"{{cite:t}}`hindupur2025` {', '.join(f'{counts.get(v, 0)} are {v}' for v in VERDICTS)}. "
        "*Recomputed* are those that follow from numbers the paper prints or draws, or from its theory; "
        "*measured here* those that were tried on this book's lab and toy data. The next figure has each of "
        "them."
    )
    return theme.finish(
        chart, "wall-tally", caption=caption, alt=_words(verdicts)["alt"].replace("A table", "Bars", 1)
    )


def _counted(verdicts: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Return the bars' parts with the middle of each, and the bars' names in the order of the papers."""
    places = {verdict: place for place, verdict in enumerate(VERDICTS)}
    how = verdicts["source"].map(TESTED_BY)
    names = verdicts["paper"].map(lambda p: PAPERS.get(p, p).removesuffix(" and manifolds")) + ", " + how
    order = verdicts.assign(label=names, at=how == MEASURED)
    papers = list(dict.fromkeys(verdicts["paper"]))
    order["paper"] = order["paper"].map(papers.index)
    labels = list(dict.fromkeys(order.sort_values(["paper", "at"])["label"]))
    rows = order.groupby(["label", "verdict"]).size().rename("n").reset_index()
    rows = rows.assign(place=rows["verdict"].map(places)).sort_values(["label", "place"])
    rows["middle"] = rows.groupby("label")["n"].cumsum() - rows["n"] / 2
    return rows.reset_index(drop=True), labels


def fig_wall_verdicts(verdicts: pd.DataFrame) -> alt.TopLevelMixin:
    """Draw every claim as a row: what the paper has, what is found here, and one of four columns."""
    rows, heads, height = _laid_out(verdicts)
    y = alt.Y("top:Q", scale=None, axis=None)
    tooltip = ["claim:N", "source:N", "there:N", "here:N", "ends:N", "verdict:N", "why:N", "figure:N"]
    base = alt.Chart(rows).encode(y=y, tooltip=tooltip)
    # Lines, not shaded rows: a shade this faint is lost when the picture gets its palette.
    lines = alt.Chart(rows[["below"]]).mark_rule(color=theme.GREY, opacity=0.5, strokeWidth=0.5)
    lines = lines.encode(x=alt.value(0), x2=alt.value(WIDTH), y=alt.Y("below:Q", scale=None, axis=None))
    text = [
        base.mark_text(align="left", fontSize=10).encode(x=alt.value(2), text="claim:N"),
        base.mark_text(align="left", fontSize=10, opacity=0.65).encode(x=alt.value(ON), text="source:N"),
        base.mark_text(align="right", fontSize=10).encode(x=alt.value(THERE), text="there:N"),
        base.mark_text(align="right", fontSize=10).encode(x=alt.value(HERE), text="here:N"),
        base.mark_text(align="left", fontSize=10, opacity=0.75).encode(x=alt.value(ENDS), text="ends:N"),
    ]
    shade = alt.Color(
        "verdict:N", scale=alt.Scale(domain=list(COLOURS), range=list(COLOURS.values())), legend=None
    )
    marks = base.mark_text(fontSize=12, fontWeight=700).encode(
        x=alt.X("place:Q", scale=None, axis=None), text="glyph:N", color=shade
    )
    chart = alt.layer(lines, *text, marks, *_headings(heads), *_columns())
    chart = chart.properties(width=WIDTH, height=height)
    return theme.finish(chart, "wall-verdicts", **_words(verdicts))


def _laid_out(verdicts: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, float]:
    rows, heads, top = [], [], float(TOP)
    for paper, group in verdicts.groupby("paper", sort=False):
        top += HEAD
        heads.append({"top": top - 9, "words": PAPERS.get(paper, paper)})
        for row in group.to_dict("records"):
            rows.append(row | {"top": top + STEP / 2, "below": top + STEP})
            top += STEP
    table = pd.DataFrame(rows)
    table["there"] = table["published_value"].map(short)
    table["here"] = table["value"].map(short)
    table["ends"] = [interval(r.value, r.low, r.high) for r in table.itertuples()]
    table["place"], table["glyph"] = table["verdict"].map(PLACES), table["verdict"].map(GLYPHS)
    table["source"] = table["source"].replace("published", "paper")
    kept = ["claim", "source", "there", "here", "ends", "verdict", "why", "figure"]
    return table[[*kept, "place", "glyph", "top", "below"]], pd.DataFrame(heads), top + 4


def _headings(heads: pd.DataFrame) -> list[alt.Chart]:
    base = alt.Chart(heads).mark_text(align="left", fontSize=12, fontWeight=700)
    return [base.encode(x=alt.value(2), y=alt.Y("top:Q", scale=None, axis=None), text="words:N")]


def _columns() -> list[alt.Chart]:
    """The titles of the columns, those of the verdicts by turns on two lines so that they do not touch."""
    titles = [("on", ON, 25, "left"), ("paper", THERE, 25, "right")]
    titles += [("here", HERE, 25, "right"), ("[95 %]", ENDS, 25, "left")]
    made = []
    for words, x, y, align in titles:
        mark = alt.Chart(pd.DataFrame({"words": [words]})).mark_text(align=align, fontSize=11, opacity=0.75)
        made.append(mark.encode(x=alt.value(x), y=alt.value(y), text="words:N"))
    for place, (verdict, x) in enumerate(PLACES.items()):
        words = pd.DataFrame({"words": [HEADS[verdict]]})
        mark = alt.Chart(words).mark_text(fontSize=10, fontWeight=600, color=COLOURS[verdict])
        made.append(mark.encode(x=alt.value(x), y=alt.value(10 if place % 2 == 0 else 25), text="words:N"))
    return made


def _words(verdicts: pd.DataFrame) -> dict[str, str]:
    counts = verdicts["verdict"].value_counts()
    said = ", ".join(f"{counts.get(verdict, 0)} {verdict}" for verdict in VERDICTS)
    by_paper = "; ".join(
        f"{PAPERS.get(paper, paper)}: " + ", ".join(f"{(group['verdict'] == v).sum()} {v}" for v in VERDICTS)
        for paper, group in verdicts.groupby("paper", sort=False)
    )
    failed = "; ".join(verdicts.loc[verdicts["verdict"] == FAILED, "claim"])
    caption = (
        f"The {len(verdicts)} claims of {{cite:t}}`zaher2026`, {{cite:t}}`michaud2025` and "
        "{cite:t}`hindupur2025`: the number of the paper, the number found here with its 95 % interval where "
        "there is one, and the verdict, by the column of its mark. *On* says what was measured: the paper's "
        "own published numbers, this book's lab, toy data with known answers, or theory. "
        f"In all {said}. Point at a row for the reason."
    )
    alt_text = f"A table of {len(verdicts)} claims. {by_paper}. Not reproduced: {failed or 'none'}."
    return {"caption": caption, "alt": alt_text}
