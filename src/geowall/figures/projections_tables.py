"""Tables of chapter 03 as they are printed: the paper's targets, errors at equal L0, and what has no match.

>>> bounds(0.97, 1.01), bounds(float("nan"), 0.87), bounds(16.0, 16.0)
('0.97 to 1.01', 'below 0.87', '16')
"""

from __future__ import annotations

import pandas as pd

from geowall.figures.projections import NAMES, name

VERDICTS = {"holds": "yes", "above": "no, above", "below": "no, below"}


def bounds(low: float, high: float) -> str:
    """The range that a target leaves."""
    if low == high:
        return f"{low:g}"
    if low != low:
        return f"below {high:.2g}"
    return f"above {low:.2g}" if high != high else f"{low:.3g} to {high:.3g}"


def spread(mean: float, low: float, high: float, form: str = ".2f") -> str:
    """A mean with its interval, where there is one."""
    return f"{mean:{form}}" if low != low else f"{mean:{form}} ({low:{form}} to {high:{form}})"


def targets(table: pd.DataFrame) -> str:
    """Every target of the paper as a row."""
    lines = ["| Experiment | Target | Paper | Ours (95 %) | Holds | Why |", "|---|---|---|---|---|---|"]
    for row in table.itertuples():
        ours = spread(row.ours, row.low, row.high, ".2f" if row.ours < 10 else ".1f")
        what = f"{name(row.architecture)}, {row.target}"
        paper = bounds(row.paper_low, row.paper_high)
        cells = [row.experiment, what, paper, ours, VERDICTS[row.verdict], row.reason]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def at_equal_l0(table: pd.DataFrame) -> str:
    """Errors over SpaDE's on each nested concept, at SpaDE's L0."""
    dims = sorted(table["concept_dim"].unique())
    here = table.drop_duplicates("concept_dim").set_index("concept_dim")
    lines = [f"| Dimension | {' | '.join(map(str, dims))} |", f"|---|{'--:|' * len(dims)}"]
    sizes, errors = (here.loc[dims, column] for column in ("l0", "nmse_spade"))
    lines.append(f"| L0 of SpaDE | {' | '.join(f'{value:.1f}' for value in sizes)} |")
    lines.append(f"| its error | {' | '.join(f'{value:.3f}' for value in errors)} |")
    for architecture in (a for a in NAMES if a in set(table["architecture"])):
        own = table[table["architecture"] == architecture].set_index("concept_dim")
        cells = [
            spread(own.loc[d, "nmse_ratio"], own.loc[d, "low"], own.loc[d, "high"])
            if own.loc[d, "n_matched"]
            else "not reached"
            for d in dims
        ]
        lines.append(f"| {name(architecture)}, error over SpaDE's | {' | '.join(cells)} |")
    return "\n".join(lines)


def unmatched(table: pd.DataFrame) -> str:
    """Who has no pair of equal L0, in words."""
    if table.empty:
        return "Every architecture has a pair of equal L0 at every seed."
    parts = [
        f"{name(row.architecture)} in {'the ' if row.setting != 'real text' else ''}{row.setting} "
        f"({row.n_matched} of {row.n_seeds} seeds; nearest {row.l0_ratio:.2g} of SpaDE's L0)"
        for row in table.itertuples()
    ]
    return f"Without a pair of equal L0 at some or all seeds: {'; '.join(parts)}."
