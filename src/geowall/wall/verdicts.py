"""The verdict table: every claim of the three papers, judged from the tables of the other chapters.

Nothing is typed but the claims themselves and the papers' numbers. An empty shelf judges nothing:

>>> table = verdicts({})
>>> set(table["verdict"]), len(table) > 30
({'not testable here'}, True)
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan, nan

import pandas as pd

from geowall.laws.power import ENOUGH
from geowall.paths import ROOT
from geowall.wall import claims_capacity, claims_geometry, claims_projection, rules
from geowall.wall.claims import Claim
from geowall.wall.evidence import Found, MissingError, Shelf, path_of
from geowall.wall.words import short, shown

CLAIMS = (*claims_geometry.CLAIMS, *claims_capacity.CLAIMS, *claims_projection.CLAIMS)
COLUMNS = ["paper", "claim", "source", "published_value", "value", "low", "high", "verdict", "why"]
COLUMNS += ["rule", "chapter", "figure"]


def needed(claims: Sequence[Claim] = CLAIMS) -> list[str]:
    """Names of the tables that the claims are judged by."""
    return sorted({name for claim in claims for name in claim.tables})


def present(claims: Sequence[Claim] = CLAIMS, without: str = "-") -> dict[str, str]:
    """Name and path, from the root of the book, of the tables that are published.

    ``without`` leaves out those of one chapter: the one that judges, and has its own at hand.
    """
    paths = {name: path_of(name) for name in needed(claims) if not name.startswith(f"{without}/")}
    return {name: path for name, path in paths.items() if (ROOT / path).is_file()}


def verdicts(shelf: Shelf, claims: Sequence[Claim] = CLAIMS) -> pd.DataFrame:
    """Judge every claim by the tables on the shelf; a row a claim, in the order of the papers.

    Columns: paper, claim, source, published_value, value, low, high, verdict, why (the caveat, or why it
    cannot be tested), rule, chapter, figure (its label). ``shelf`` maps ``08/transfer`` to that table.
    """
    return pd.DataFrame([_judged(claim, shelf) for claim in claims], columns=COLUMNS)


def _judged(claim: Claim, shelf: Shelf) -> dict[str, object]:
    try:
        published = claim.there(shelf)
        found = claim.number.find(shelf)
        says = claim.rule.of(found.value, found.low, found.high, published)
        doubt = claim.control.says(claim.control.number.find(shelf)) if claim.control else ""
        verdict = rules.verdict(says, "no" if doubt else "yes")
        why = _why(claim, says, doubt, isnan(found.low))
        seen = claim.power.find(shelf).value if claim.power and says != "yes" else 1.0
        if seen < ENOUGH:
            verdict, why = rules.UNTESTED, f"were it true, it would be seen in {seen:.0%} of draws"
    except MissingError as reason:
        published = claim.published if isinstance(claim.published, float) else nan
        found, verdict, why = Found(nan), rules.UNTESTED, str(reason)
    return {
        "paper": claim.paper,
        "claim": claim.claim,
        "source": claim.source,
        "published_value": published,
        "value": found.value,
        "low": found.low,
        "high": found.high,
        "verdict": verdict,
        "why": why,
        "rule": claim.rule.words,
        "chapter": claim.chapter,
        "figure": f"fig-{claim.figure}",
    }


def _why(claim: Claim, says: str, doubt: str, alone: bool) -> str:
    if says == "no":
        denial = claim.rule.denial
        return denial.removesuffix(rules.WHOLE).removesuffix(rules.OUTSIDE) if alone else denial
    reasons = [claim.rule.doubt if says == "undecided" else "", doubt]
    return "; ".join(reason for reason in reasons if reason)


def count(table: pd.DataFrame) -> pd.DataFrame:
    """How many claims of each paper have each verdict: paper, verdict, n_claims, of."""
    wide = table.groupby(["paper", "verdict"]).size().unstack(fill_value=0)
    wide = wide.reindex(index=table["paper"].unique(), columns=list(rules.VERDICTS), fill_value=0)
    long = wide.stack().rename("n_claims").reset_index()
    return long.assign(of=long["paper"].map(wide.sum(axis=1)))


def markdown(table: pd.DataFrame, paper: str) -> str:
    """The rows of one paper as a MyST table, each with its reason and a reference to its figure."""
    lines = ["| Claim | Paper | Here | Verdict | Seen in |", "|---|--:|--:|---|---|"]
    for row in table[table["paper"] == paper].itertuples():
        why = f": {row.why}" if row.why else ""
        figure = f"{{numref}}`{row.figure}`"
        here = shown(row.value, row.low, row.high)
        claim = row.claim if row.source == "published" else f"{row.claim} ({row.source})"
        said = f"**{row.verdict}**{why}"
        lines.append(f"| {claim} | {short(row.published_value)} | {here} | {said} | {figure} |")
    return "\n".join(lines)
