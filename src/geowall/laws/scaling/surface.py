"""The law without a floor: a twisted plane in ``log n`` and ``log k``, and the chord that nearly equals it.

``log L = a0 + beta_n log n + beta_k log k + gamma log n log k`` (Zaher 2026, Eq. 6) is linear in its four
coefficients; the width exponent at ``k`` is ``-(beta_n + gamma log k)`` (Eq. 7). Two widths decide it:

>>> import numpy as np
>>> n, k = np.meshgrid([16384.0, 65536.0], [25.0, 50.0, 75.0], indexing="ij")
>>> y = 1.0 - 0.05 * np.log(n) - 0.3 * np.log(k) - 0.02 * np.log(n) * np.log(k)
>>> theta = fit(n.ravel(), k.ravel(), y.ravel()[None])
>>> float(alpha_at(theta, 50.0)[0].round(4)), float(secant(y[:1, 1], y[1:, 1], 4.0)[0].round(4))
(0.1282, 0.1282)
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

COEFFICIENTS = ("a0", "beta_n", "beta_k", "gamma")


def design(n: Float[np.ndarray, " cell"], k: Float[np.ndarray, " cell"]) -> Float[np.ndarray, "cell 4"]:
    """Return the columns 1, log n, log k, log n log k."""
    x, y = np.log(n), np.log(k)
    return np.stack([np.ones_like(x), x, y, x * y], axis=1)


def fit(
    n: Float[np.ndarray, " cell"], k: Float[np.ndarray, " cell"], log_error: Float[np.ndarray, "draw cell"]
) -> Float[np.ndarray, "draw 4"]:
    """Return the four coefficients of every draw by one pseudo-inverse (Eq. 6).

    With a single ``k`` or a single width they are not all determined; the smallest ones are returned.
    """
    return log_error @ np.linalg.pinv(design(n, k)).T


def fit_slow(
    n: Float[np.ndarray, " cell"], k: Float[np.ndarray, " cell"], log_error: Float[np.ndarray, "draw cell"]
) -> Float[np.ndarray, "draw 4"]:
    """Twin of :func:`fit`: one least-squares problem after another."""
    return np.stack([np.linalg.lstsq(design(n, k), y, rcond=None)[0] for y in log_error])


def alpha_at(theta: Float[np.ndarray, "*draw 4"], k: float) -> Float[np.ndarray, "*draw"]:
    """Return the width exponent ``-(beta_n + gamma log k)`` (Eq. 7)."""
    return -(theta[..., 1] + theta[..., 3] * np.log(k))


def secant(
    log_narrow: Float[np.ndarray, "*draw"], log_wide: Float[np.ndarray, "*draw"], ratio: float
) -> Float[np.ndarray, "*draw"]:
    """Return the exponent as the chord between two widths ``ratio`` apart (Eq. 16)."""
    return (log_narrow - log_wide) / np.log(ratio)
