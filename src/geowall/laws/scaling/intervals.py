"""Floors with profile-likelihood intervals: every floor that fits nearly as well as the best one.

For each floor held fixed the other parameters are fitted again. Where the sum of squares exceeds the least
one by less than ``t^2 sigma^2``, the floor is in the interval. The noise ``sigma`` of a curve comes from all
curves of its kind that have widths to spare, so that a layer with three widths, which the law fits exactly,
has an interval too. The exponent's interval spans all pairs of floor and exponent within that bound:

>>> rows = [("lab", "m", layer, n, 2.0 * n**-0.5 + 0.05 + bump) for layer in (0, 1)
...         for n, bump in zip((64, 128, 256, 512, 1024), (0, 1e-3, 0, -1e-3, 0))]
>>> cells = pd.DataFrame(rows, columns=["source", "model", "layer", "d_sae", "nmse"])
>>> cells = cells.assign(site="res", architecture="topk", schedule="matched", k=20.0, n_checkpoints=3)
>>> found = floors(cells)
>>> bool((found["low"] < 0.05).all() and (found["high"] > 0.05).all()), found["dof"].tolist()
(True, [2, 2])
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import stats

from geowall.laws.scaling import filters
from geowall.laws.scaling.floors import NO_FLOOR, Fits, curve
from geowall.laws.scaling.sparsity import GROUP

SUBSETS = ("kept", "every", "without_widest", "without_narrowest", "filtered")
PROFILE = np.concatenate([[0.0], np.linspace(0.01, 1.2, 120)])  # floors over the smallest error
PARAMETERS = 3
LEAST_DOF = 4  # of a pool of curves; with fewer the noise is that of all curves of the source and site


def floors(cells: pd.DataFrame, subsets: Sequence[str] = ("kept",), level: float = 0.95) -> pd.DataFrame:
    """Fit a floor to every layer, grid and ``k`` of ``cells`` and give its profile-likelihood interval.

    ``cells`` has the columns of :func:`~geowall.laws.scaling.sparsity.cells`. A ``subset`` says which widths
    are fitted: ``kept``, those that fall (the paper's filter i); ``every``; ``kept`` less the widest or the
    narrowest; ``filtered``, by filters i to iii. Columns: the group, k, subset, n_widths, n_checkpoints,
    narrow, wide, least (smallest error), log_a, alpha_width, alpha_low, alpha_high, floor, low, high, rss,
    rss_zero (without a floor), dof, sigma, sigma_dof, floor_share (of the smallest error).
    """
    table = filters.marked(cells)
    made = []
    for subset in subsets:
        fitted = [_fitted(key, own) for key, own in _curves(table, subset)]
        rows = pd.DataFrame([row for row, _ in fitted])
        rows[["sigma", "sigma_dof"]] = _noise(rows)
        profiles = [profile for _, profile in fitted]
        ends = map(_interval, rows.to_dict("records"), profiles, [level] * len(rows))
        made.append(rows.assign(**pd.DataFrame(ends), subset=subset))
    found = pd.concat(made, ignore_index=True)
    return found.assign(floor_share=found["floor"] / found["least"])


def _curves(table: pd.DataFrame, subset: str):
    """Yield what a subset leaves of every curve that has at least three widths."""
    chosen = table if subset == "every" else table[table["falls"]]
    if subset == "filtered":
        chosen = table[table["flattens"] & table["orderly"]]
    ends = {"without_widest": slice(None, -1), "without_narrowest": slice(1, None)}
    for key, own in chosen.sort_values("d_sae").groupby([*GROUP, "k"], sort=True):
        own = own.iloc[ends.get(subset, slice(None))]
        if len(own) >= PARAMETERS:
            yield dict(zip([*GROUP, "k"], key, strict=True)), own


Profile = tuple[np.ndarray, Fits, np.ndarray]  # held floors, their fits, and how stiff the exponent is there


def _fitted(key: dict[str, object], own: pd.DataFrame) -> tuple[dict[str, object], Profile]:
    widths, errors = own["d_sae"].to_numpy(float), np.log(own["nmse"].to_numpy())[None]
    held = PROFILE * np.exp(errors.min())
    best, profile = curve(widths, errors), curve(widths, np.repeat(errors, len(held), axis=0), held)
    # a profile can find a better place than the free fit's own starts
    steeper = int(profile.rss.argmin())
    if profile.rss[steeper] < best.rss[0]:
        best = Fits(profile.theta[[steeper]], profile.rss[[steeper]], best.n0, 1.0)
    log_a, alpha, floor = (float(value[0]) for value in best.at_k(1.0))
    least = float(np.exp(errors.min()))
    row = key | {
        "n_widths": len(own), "n_checkpoints": int(own["n_checkpoints"].sum()),
        "narrow": int(widths[0]), "wide": int(widths[-1]), "least": least,
        "log_a": log_a, "alpha_width": alpha, "floor": floor if floor > 10 * NO_FLOOR * least else 0.0,
        "rss": float(best.rss[0]), "rss_zero": float(profile.rss[0]), "dof": len(own) - PARAMETERS,
    }  # fmt: skip
    return row, (held, profile, _stiffness(profile, np.log(widths)))


def _stiffness(profile: Fits, x: Float[np.ndarray, " width"]) -> Float[np.ndarray, " floor"]:
    """Return by how much a unit of exponent, squared, raises the misfit at each held floor, A fitted anew."""
    log_a, alpha, floor = profile.at_k(1.0)
    power = np.exp(log_a[:, None] - alpha[:, None] * x)
    share = power / (
        power + floor[:, None]
    )  # what a logarithm of the power law moves the logarithm of the law
    slope = share * x
    along = (share * slope).sum(axis=1) / (share**2).sum(axis=1)
    return ((slope - along[:, None] * share) ** 2).sum(axis=1)


def _noise(rows: pd.DataFrame) -> Float[np.ndarray, "curve 2"]:
    """Return the deviation of log errors from the law, pooled over a curve's kind, and its freedom."""

    def pooled(names: list[str]) -> pd.DataFrame:
        return rows.groupby(names)[["rss", "dof"]].transform("sum")

    own = pooled(["source", "site", "architecture", "schedule", "k"])
    wide = pooled(["source", "site", "k"])
    few = own["dof"] < LEAST_DOF
    rss, dof = own["rss"].where(~few, wide["rss"]), own["dof"].where(~few, wide["dof"])
    return np.column_stack([np.sqrt(rss / dof.where(dof > 0)), dof])


def _interval(row: dict[str, object], profile: Profile, level: float) -> dict[str, float]:
    """Return the ends of the floor, and those of the exponent over all floors and slopes within the bound."""
    held, fits, stiff = profile
    if not row["sigma_dof"] > 0:
        return dict.fromkeys(("low", "high", "alpha_low", "alpha_high"), float("nan"))
    allowed = (row["sigma"] * stats.t.ppf((1 + level) / 2, row["sigma_dof"])) ** 2
    # as far from the best as the bound allows, in units of the bound: nearly straight in the floor
    away = np.sqrt(np.maximum(fits.rss - row["rss"], 0) / allowed)
    low, high = crossing(held, away, row["floor"], -1), crossing(held, away, row["floor"], 1)
    alphas = np.interp([low, high], held, fits.alpha)
    # what the bound leaves at a held floor is the exponent's own
    inside = (away <= 1) & (held >= low) & (held <= high)
    half = np.sqrt(allowed * (1 - away[inside] ** 2) / np.maximum(stiff[inside], 1e-12))
    ends = np.concatenate([alphas, fits.alpha[inside] - half, fits.alpha[inside] + half])
    return {
        "low": low,
        "high": high,
        "alpha_low": float(max(0.0, ends.min())),
        "alpha_high": float(ends.max()),
    }


def crossing(
    held: Float[np.ndarray, " floor"], away: Float[np.ndarray, " floor"], best: float, side: int
) -> float:
    """Return where ``away`` first reaches one on a side of ``best``, or the end of the profile.

    >>> held, away = np.array([0.0, 1.0, 2.0, 3.0]), np.array([2.0, 0.5, 0.0, 0.4])
    >>> crossing(held, away, 2.0, -1).__round__(3), crossing(held, away, 2.0, 1)
    (0.667, 3.0)
    """
    order = np.flatnonzero((held - best) * side > 0)[::side]
    x, y = np.append(best, held[order]), np.append(0.0, away[order])
    out = np.flatnonzero(y > 1)
    if not len(out):
        return float(x[-1])
    i = int(out[0])
    return float(x[i - 1] + (x[i] - x[i - 1]) * (1 - y[i - 1]) / (y[i] - y[i - 1]))
