"""What the allocation tends to when every feature is a manifold with the loss ``n^-beta``.

With feature probabilities ``i^-(1+alpha) / zeta(1+alpha)`` a feature's share falls as ``i^-g``,
``g = (1+alpha)/(1+beta)``, and everything hangs on whether these shares have a finite sum.

>>> regime(0.5, 0.1), regime(0.5, 0.5), regime(0.5, 1.0)
('pathological', 'critical', 'benign')
>>> law = asymptote(0.5, 0.1)
>>> round(law.discovered.exponent, 4), round(law.loss.exponent, 4), round(law.first_share, 3)
(0.7333, -0.1, 0.298)
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np
from jaxtyping import Float

from geowall.allocation.losses import PowerLoss
from geowall.allocation.zetas import partial_zeta, zeta
from geowall.paths import GeowallError


@dataclass(frozen=True)
class Power:
    """``prefactor * N^exponent * (ln N)^log_exponent``."""

    prefactor: float
    exponent: float
    log_exponent: float = 0.0

    def __call__(self, n: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
        """Value at N = ``n``."""
        n = np.asarray(n, dtype=float)
        return self.prefactor * n**self.exponent * np.log(n) ** self.log_exponent


@dataclass(frozen=True)
class Asymptote:
    """Limits of D(N), of the loss L(N), and of the share of latents on the most frequent feature."""

    regime: str
    discovered: Power
    loss: Power
    first_share: float


def regime(alpha: float, beta: float) -> str:
    """``benign`` (alpha < beta), ``critical`` (equal) or ``pathological`` (beta < alpha)."""
    if not (alpha > 0 and beta > 0):
        raise GeowallError(
            "alpha and beta must be positive", f"got {alpha}, {beta}", "give alpha > 0 and beta > 0"
        )
    return "critical" if alpha == beta else "benign" if alpha < beta else "pathological"


def continuous_asymptote(alpha: float, beta: float) -> Asymptote:
    """Limits of the continuous allocation ``n_i = (D/i)^g``, cut off at n_D = 1, where L(0) = 1.

    arXiv 2509.02565, section 2, with the prefactors worked out.
    """
    g, z, name = (1 + alpha) / (1 + beta), zeta(1 + alpha), regime(alpha, beta)
    if name == "benign":
        loss = Power((1 / (1 - g) + 1 / alpha) * (1 - g) ** -alpha / z, -alpha)
        return Asymptote(name, Power(1 - g, 1.0), loss, 0.0)
    if name == "critical":
        return Asymptote(name, Power(1.0, 1.0, -1.0), Power(1 / z, -alpha, 1 + alpha), 0.0)
    return Asymptote(
        name, Power(zeta(g) ** (-1 / g), 1 / g), Power(zeta(g) ** (1 + beta) / z, -beta), 1 / zeta(g)
    )


def asymptote(
    alpha: float, beta: float, convention: str = "cutoff", l_zero: float | None = None
) -> Asymptote:
    """Limits of the exact integer allocation.

    Exponents are those of the continuous one. In the benign regime most features hold a handful of latents,
    so that whole latents and the convention for L(0) change the prefactors: with ``rho_n`` the n-th marginal
    gain over the first, to the power ``1/(1+alpha)``, and ``S = sum_n rho_n``, D = N / S and
    ``L = gain_1 S^(1+alpha) N^-alpha / (alpha zeta(1+alpha))``.
    """
    loss = PowerLoss(beta, convention, l_zero)
    g, z, name = (1 + alpha) / (1 + beta), zeta(1 + alpha), regime(alpha, beta)
    first = float(loss.first)
    lift = (first / beta) ** (1 / (1 + alpha))  # features reached per feature of the continuous cut-off
    if name == "benign":
        total = _rungs(loss, alpha)
        power = Power(first * total ** (1 + alpha) / (alpha * z), -alpha)
        return Asymptote(name, Power(1 / total, 1.0), power, 0.0)
    if name == "critical":
        return Asymptote(name, Power(lift, 1.0, -1.0), Power(1 / z, -alpha, 1 + alpha), 0.0)
    limit = continuous_asymptote(alpha, beta)
    return Asymptote(name, Power(lift * limit.discovered.prefactor, 1 / g), limit.loss, limit.first_share)


def _rungs(loss: PowerLoss, alpha: float, explicit: int = 20_000) -> float:
    """``sum_n (gain_n / gain_1)^(1/(1+alpha))``: a sum, continued by the power it becomes."""
    n = np.arange(1, explicit + 1)
    head = ((loss.gain(n) / loss.first) ** (1 / (1 + alpha))).sum()
    power = (1 + loss.beta) / (1 + alpha)  # the terms fall as m^-power around the midpoint m of a step
    middle = explicit + loss.shift
    return float(head + (loss.beta / loss.first) ** (1 / (1 + alpha)) * middle ** (1 - power) / (power - 1))


def continuous_discovered(d_sae: Float[np.ndarray, "*n"] | float, alpha: float, beta: float) -> np.ndarray:
    """Features discovered by the continuous allocation: the D that solves ``N = D^g sum_{i<=D} i^-g``.

    Bisection in log D, vectorised over ``d_sae``; relative error below 1e-12 of the equation's own solution.
    """
    target, g = np.asarray(d_sae, dtype=float), (1 + alpha) / (1 + beta)
    low, high = np.zeros_like(target), np.log(np.maximum(target, 1.0))
    for _ in range(ceil(np.log2(40 / 1e-13))):
        middle = (low + high) / 2
        d = np.exp(middle)
        enough = d**g * partial_zeta(g, d) <= target
        low, high = np.where(enough, middle, low), np.where(enough, high, middle)
    return np.exp(low)


def continuous_loss(d_sae: Float[np.ndarray, "*n"] | float, alpha: float, beta: float) -> np.ndarray:
    """Loss of the continuous allocation, ``D^-alpha [N/D + 1/alpha] / zeta(1+alpha)``."""
    d = continuous_discovered(d_sae, alpha, beta)
    return d**-alpha * (np.asarray(d_sae, float) / d + 1 / alpha) / zeta(1 + alpha)


def power_discovered(n_on_manifold: float, alpha: float, beta: float, manifold_rank: int = 1) -> float:
    """Rank of the last discrete feature worth a latent beside a manifold holding n: ``r
    (n^(1+b)/b)^(1/(1+a))``."""
    return manifold_rank * (n_on_manifold ** (1 + beta) / beta) ** (1 / (1 + alpha))
