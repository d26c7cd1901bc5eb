"""Curves whose floor is known: is it found, does the interval hold it, and is one seen where there is none?

Curves ``A n^-alpha + B`` are given the noise that checkpoints have, then fitted as the layers are. The floor
is stated as its share of the noiseless error at the widest dictionary.

>>> found = planted([5], [0.8], [0.003], n_curves=60)
>>> bool(abs(found["bias"][0]) < 0.02), bool(found["coverage"][0] > 0.85), bool(found["decided"][0] > 0.9)
(True, True, True)
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import stats

from geowall.laws.scaling import filters
from geowall.laws.scaling.floors import curve

ALPHA = 0.4  # of the planted curves, near those of the showcase layers
POOL = 24  # degrees of freedom behind the estimate of the noise
NARROW = 64.0


def curves(
    n_widths: int, share: float, sigma: float, n_curves: int, ratio: float = 2.0, seed: int = 0
) -> tuple[np.ndarray, Float[np.ndarray, "curve width"], float]:
    """Return widths, noisy ``log L`` and the planted floor, where the noiseless error ends at 0.1."""
    widths = NARROW * ratio ** np.arange(n_widths)
    floor = 0.1 * share
    clean = (0.1 - floor) * (widths / widths[-1]) ** -ALPHA + floor
    noise = np.random.default_rng(seed).standard_normal((n_curves, n_widths))
    return widths, np.log(clean) + sigma * noise, floor


def planted(
    n_widths: Sequence[int],
    shares: Sequence[float],
    sigmas: Sequence[float],
    n_curves: int = 300,
    ratio: float = 2.0,
    seed: int = 0,
) -> pd.DataFrame:
    """Plant floors and look for them, with all widths and with those that the paper's filters i and ii keep.

    Columns: n_widths, ratio (of neighbouring widths), floor_share (planted), sigma, filtered, n_curves (with
    three widths or more left), bias and spread (of the fitted share of the error that is floor), coverage (of
    the 95 % profile interval), decided (share of curves whose interval excludes zero).
    """
    made = []
    for n, share, sigma in product(n_widths, shares, sigmas):
        widths, y, floor = curves(n, share, sigma, n_curves, ratio, seed)
        for filtered in (False, True):
            weights = np.ones_like(y) if not filtered else np.array([_kept(widths, row) for row in y])
            enough = weights.sum(axis=1) >= 3
            row = {"n_widths": n, "ratio": ratio, "floor_share": share, "sigma": sigma, "filtered": filtered}
            made.append(row | _judged(widths, y[enough], floor, sigma, weights[enough], seed))
    return pd.DataFrame(made)


def _kept(widths: np.ndarray, log_error: np.ndarray) -> np.ndarray:
    falls = filters.falling(log_error)
    kept = np.zeros(len(widths))
    kept[np.flatnonzero(falls)[filters.flattening(widths[falls], np.exp(log_error[falls]))]] = 1.0
    return kept


def _judged(
    widths: np.ndarray, y: np.ndarray, floor: float, sigma: float, weights: np.ndarray, seed: int
) -> dict[str, float]:
    best = curve(widths, y, weights=weights)
    truth, zero = (curve(widths, y, np.full(len(y), b), weights) for b in (floor, 0.0))
    least = np.minimum.reduce([best.rss, truth.rss, zero.rss])
    noise = sigma**2 * np.random.default_rng(seed + 1).chisquare(POOL, len(y)) / POOL
    allowed = noise * stats.t.ppf(0.975, POOL) ** 2
    error = (best.floor - floor) / 0.1
    return {
        "n_curves": len(y), "bias": float(np.median(error)), "spread": float(np.std(error)),
        "coverage": float((truth.rss - least <= allowed).mean()),
        "decided": float((zero.rss - least > allowed).mean()),
    }  # fmt: skip
