"""Architectures at one level of L0: their sweeps interpolated to where a SpaDE lies.

A sweep of few strengths hardly ever has a point where another architecture has one. Between two strengths a
measure is taken as linear in the logarithm of L0; beyond the ends of a sweep there is no number.

>>> curve = pd.DataFrame({"l0": [4.0, 16.0], "nmse": [0.4, 0.1]})
>>> round(between(curve, "nmse", 8.0, log=True), 3), between(curve, "nmse", 20.0)
(0.2, nan)
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from geowall.projections.separability import interval

DISCOVERED = ["n_discovered", "n_detected", "nmse"]


def between(curve: pd.DataFrame, column: str, at: float, log: bool = False) -> float:
    """A column of a sweep at an L0 between its ends; NaN beyond them."""
    order = curve[curve["l0"] > 0].sort_values("l0")
    if order.empty:
        return float("nan")
    x, y = np.log(order["l0"].to_numpy()), order[column].to_numpy(dtype=float)
    if log:
        y = np.log(np.maximum(y, 1e-12))
    value = np.interp(np.log(at), x, y, left=np.nan, right=np.nan)
    return float(np.exp(value)) if log else float(value)


def nested(table: pd.DataFrame, strength: float, reference: str = "spade") -> pd.DataFrame:
    """The error on each nested concept at the L0 that the reference spends on it, seed by seed.

    A row for each architecture and concept: columns architecture, concept_dim, l0 (of the reference),
    nmse_spade, nmse (interpolated), nmse_ratio (of the two, geometric mean of seeds), low, high (its 95 %
    interval), n_matched (seeds whose sweep reaches that L0) and n_seeds. Without a seed that does, the row
    has no error.
    """
    home = table[(table["architecture"] == reference) & (table["strength"] == strength)]
    rows = []
    for (name, dim), part in table[table["architecture"] != reference].groupby(
        ["architecture", "concept_dim"], sort=False
    ):
        here = home[home["concept_dim"] == dim].set_index("seed")
        errors = {
            seed: between(one, "nmse", here.loc[seed, "l0"], log=True) for seed, one in part.groupby("seed")
        }
        found = pd.Series(errors).dropna()
        logs = np.log(found / here.loc[found.index, "nmse"]).to_numpy()
        ratio = float(np.exp(logs.mean())) if len(logs) else float("nan")
        ends = np.exp(interval(logs))
        values = (name, dim, here["l0"].mean(), here["nmse"].mean(), found.mean(), ratio, *ends)
        rows.append((*values, len(found), len(errors)))
    columns = ["architecture", "concept_dim", "l0", "nmse_spade", "nmse", "nmse_ratio", "low", "high"]
    return pd.DataFrame(rows, columns=[*columns, "n_matched", "n_seeds"])


def discovered(table: pd.DataFrame, reference: str = "spade") -> pd.DataFrame:
    """Features that the reference finds less what others find at its L0, seed by seed.

    A row for each architecture, strength of the reference, number of latents and score (``n_discovered``,
    ``n_detected``, ``nmse``): columns architecture, d_sae, reference_strength, l0 (of the reference), score,
    spade, other, gap (the reference less the architecture), low, high (95 %), n_matched. Where fewer than
    two seeds' sweeps reach the L0 there is no row.
    """
    rows = []
    home = table[table["architecture"] == reference].groupby(["d_sae", "strength"])
    for name, part in table[table["architecture"] != reference].groupby("architecture", sort=False):
        for (d_sae, strength), own in home:
            curves = dict(tuple(part[part["d_sae"] == d_sae].groupby("seed")))
            for score in DISCOVERED:
                there = [between(curves[s], score, l0) for s, l0 in zip(own["seed"], own["l0"], strict=True)]
                pair = pd.DataFrame({"spade": own[score].to_numpy(), "other": there}).dropna()
                if len(pair) < 2:
                    continue
                gap = (pair["spade"] - pair["other"]).to_numpy()
                key = (name, d_sae, strength, own["l0"].mean(), score)
                rows.append((*key, *pair.mean(), gap.mean(), *interval(gap), len(pair)))
    columns = ["architecture", "d_sae", "reference_strength", "l0", "score", "spade", "other", "gap"]
    return pd.DataFrame(rows, columns=[*columns, "low", "high", "n_matched"])
