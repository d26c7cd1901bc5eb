"""The law with a floor: ``L = A n^-alpha + B``, fitted to a sparsity or to a layer (Zaher 2026, Eq. 2).

A floor is an error that no width gets under. Three widths decide a curve exactly, whatever they are, so a
curve through three points is no evidence for a floor:

>>> widths = np.array([16384.0, 65536.0, 1048576.0])
>>> found = curve(widths, np.log([[0.13218, 0.09558, 0.06181]]))
>>> found.floor.round(4).tolist(), bool(found.rss[0] < 1e-20)
([0.0444], True)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize

from geowall.kernels import floor_fits

# Shares of the smallest error that the floor starts at.
STARTS = (0.02, 0.4, 0.7, 0.9, 0.98)
NO_FLOOR = 1e-6  # of the smallest error: where a floor counts as none, since its logarithm has no end
STEEPEST = 5.0  # largest width exponent; steeper curves are a step
GAO = (-0.50, 0.26, -0.017, -0.042, -1.32, -0.085)  # Gao 2024: a0, beta_k, beta_n, gamma, zeta, eta


@dataclass(frozen=True)
class Fits:
    """Fits of many draws; ``at_k`` reads a surface at a sparsity; ``n0`` and ``k0`` are the centre."""

    theta: Float[np.ndarray, "draw 6"]
    rss: Float[np.ndarray, " draw"]
    n0: float
    k0: float

    def at_k(self, k: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return log A, the width exponent and the floor of every draw at ``k``; ``R = A n^-alpha``."""
        u = np.log(k / self.k0)
        a, bk, bn, g, z, h = self.theta.T
        alpha = -(bn + g * u)
        return a + bk * u + alpha * np.log(self.n0), alpha, np.exp(z + h * u)

    @property
    def alpha(self) -> Float[np.ndarray, " draw"]:
        """Width exponent at the centre of the design."""
        return -self.theta[:, 2]

    @property
    def floor(self) -> Float[np.ndarray, " draw"]:
        """Floor at the centre of the design; below ``NO_FLOOR`` of the smallest error it is none."""
        return np.exp(self.theta[:, 4])


def curve(
    widths: Float[np.ndarray, " width"],
    log_error: Float[np.ndarray, "draw width"],
    floor: Float[np.ndarray, " draw"] | None = None,
    weights: Float[np.ndarray, "draw width"] | None = None,
) -> Fits:
    """Fit ``A n^-alpha + B`` to every draw at one sparsity; ``floor`` holds B at given values (0: none)."""
    n0 = float(np.exp(np.log(widths).mean()))
    x, u = np.log(widths / n0), np.zeros(len(widths))
    low, high = _bounds(log_error, floor, surface=False)
    starts = _starts(x, u, log_error, low, high)
    theta, rss = floor_fits.fit(x, u, log_error, starts, low, high, weights)
    return Fits(theta, rss, n0, 1.0)


def surface(
    n: Float[np.ndarray, " cell"],
    k: Float[np.ndarray, " cell"],
    log_error: Float[np.ndarray, "draw cell"],
    centre: float | None = None,
    floor: Float[np.ndarray, " draw"] | None = None,
    weights: Float[np.ndarray, "draw cell"] | None = None,
    alpha: Float[np.ndarray, " draw"] | None = None,
) -> Fits:
    """Fit the six parameters of Eq. 2 to every draw.

    ``floor`` holds the floor at sparsity ``centre``, ``alpha`` the width exponent there. Cells are pairs of
    width and sparsity in any order, on a grid or as checkpoints happen to lie.
    """
    n0, k0 = (float(np.exp(np.log(v).mean())) for v in (n, k))
    k0 = k0 if centre is None else centre
    x, u = np.log(n / n0), np.log(k / k0)
    low, high = _bounds(log_error, floor, surface=True)
    if alpha is not None:
        low[:, 2] = high[:, 2] = -alpha
    starts = _starts(x, u, log_error, low, high)
    theta, rss = floor_fits.fit(x, u, log_error, starts, low, high, weights)
    return Fits(theta, rss, n0, k0)


def _bounds(log_error: np.ndarray, floor: np.ndarray | None, surface: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return both ends of the six parameters of every draw; a curve holds three of them at zero."""
    none, most = log_error.min(axis=1) + np.log(NO_FLOOR), log_error.max(axis=1)
    wide = 5.0 if surface else 0.0
    low = np.tile([-60.0, -wide, -STEEPEST, -wide, 0.0, -wide], (len(log_error), 1))
    high = np.tile([60.0, wide, 0.0, wide, 0.0, wide], (len(log_error), 1))
    low[:, 4], high[:, 4] = none, most
    if floor is not None:
        low[:, 4] = high[:, 4] = np.maximum(np.log(np.maximum(floor, 1e-300)), none)
    return low, high


def _starts(
    x: np.ndarray, u: np.ndarray, log_error: np.ndarray, low: np.ndarray, high: np.ndarray
) -> np.ndarray:
    """Return a start for each share of the smallest error: take that off, and fit a straight surface."""
    design = np.stack([np.ones_like(x), u, x, u * x], axis=1)
    slope = np.linalg.pinv(np.stack([np.ones_like(u), u], axis=1)) @ log_error.T
    made = []
    for share in STARTS:
        z = np.clip(log_error.min(axis=1) + np.log(share), low[:, 4], high[:, 4])
        h = np.clip(slope[1], low[:, 5], high[:, 5])
        # the floor's slope in log k is that of the errors, lowered until it is below all of them
        gap = (log_error - h[:, None] * u).min(axis=1) + np.log(share)
        z = np.where(low[:, 4] < high[:, 4], np.clip(gap, low[:, 4], high[:, 4]), z)
        rest = np.exp(log_error) - np.exp(z[:, None] + h[:, None] * u)
        rest = np.log(np.maximum(rest, 0.01 * np.exp(log_error)))
        made.append(np.column_stack([rest @ np.linalg.pinv(design).T, z, h]))
    return np.clip(np.stack(made, axis=1), low[:, None], high[:, None])


def nelder_mead(
    n: Float[np.ndarray, " cell"],
    k: Float[np.ndarray, " cell"],
    log_error: Float[np.ndarray, " cell"],
    n_starts: int = 8,
    seed: int = 0,
) -> tuple[Float[np.ndarray, " 6"], float]:
    """Twin of :func:`surface`, the paper's way: Nelder-Mead from eight starts, one of them Gao's values.

    Returns the six parameters of Eq. 2 in natural logarithms of ``n`` and ``k`` themselves, and the least sum
    of squares. The parameters are those of ``Fits.theta`` only after moving the centre: compare values of the
    law.
    """
    x, u = np.log(n), np.log(k)

    def loss(theta: np.ndarray) -> float:
        return float(((log_error - floor_fits.log_errors(x, u, theta)) ** 2).sum())

    rng = np.random.default_rng(seed)
    starts = np.array(GAO) * np.exp(0.5 * rng.standard_normal((n_starts, 6)))
    starts[0] = GAO
    options = {"maxiter": 20_000, "maxfev": 20_000, "xatol": 1e-9, "fatol": 1e-13, "adaptive": True}
    found = []
    for start in starts:
        for _ in range(4):  # begin again where it stopped: a simplex collapses before it arrives
            result = minimize(loss, start, method="Nelder-Mead", options=options)
            start = result.x
        found.append(result)
    best = min(found, key=lambda result: result.fun)
    return best.x, float(best.fun)
