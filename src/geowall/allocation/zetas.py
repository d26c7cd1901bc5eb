"""Sums of powers over ranks: whole, up to a rank, and beyond a rank.

>>> round(zeta(2.0), 6), round(float(partial_zeta(1.0, 4.0)), 6), round(float(zeta_tail(2.0, 1)), 6)
(1.644934, 2.083333, 0.644934)
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy import special

# Ranks summed one by one before Euler and Maclaurin take over; with three corrections the error is below
# 1e-9.
HEAD = 12


def zeta(s: float) -> float:
    """Riemann's zeta(s), s > 1."""
    return float(special.zeta(s))


def zeta_tail(s: float, rank: Float[np.ndarray, "*n"] | int) -> Float[np.ndarray, "*n"]:
    """Sum of ``i^-s`` over the ranks i > ``rank``, for s > 1."""
    return special.zeta(s, np.asarray(rank, dtype=float) + 1.0)


def partial_zeta(s: float, rank: Float[np.ndarray, "*n"] | float) -> Float[np.ndarray, "*n"]:
    """Sum of ``i^-s`` over ranks i <= ``rank``, continued smoothly to real ``rank`` >= 1; any s > 0."""
    x = np.asarray(rank, dtype=float)
    head = (np.arange(1.0, HEAD) ** -s).sum() + _euler_maclaurin(s, float(HEAD), -1)
    return head + _integral(s, float(HEAD), x) + _euler_maclaurin(s, x, 1)


def _integral(s: float, low: float, high: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
    # (high^(1-s) - low^(1-s)) / (1-s), also at s = 1, where it is log(high / low).
    return low ** (1.0 - s) * np.log(high / low) * special.exprel((1.0 - s) * np.log(high / low))


def _euler_maclaurin(s: float, x: Float[np.ndarray, "*n"] | float, side: int) -> Float[np.ndarray, "*n"]:
    odd = s / 12 * x ** (-s - 1) - s * (s + 1) * (s + 2) / 720 * x ** (-s - 3)
    return x**-s / 2 - side * (odd + s * (s + 1) * (s + 2) * (s + 3) * (s + 4) / 30240 * x ** (-s - 5))


def zipf(n_features: int, alpha: float) -> Float[np.ndarray, " feature"]:
    """``p_i = i^-(1+alpha) / zeta(1+alpha)`` for the first ``n_features`` of an endless list of features."""
    return np.arange(1, n_features + 1, dtype=float) ** -(1.0 + alpha) / zeta(1.0 + alpha)
