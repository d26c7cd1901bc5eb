"""The loss of one feature as a function of the latents it is given.

A manifold tiled by n latents keeps a loss ``n^-beta``; a discrete feature is perfect after its first latent.
What a feature costs that has none, L(0), the power law does not say, so the convention has a name:

* ``cutoff``: the first latent gains ``beta``, the slope of the power law at n = 1, so that the integer
  optimum follows the continuous one, which is cut off where n falls to 1; then ``L(0) = 1 + beta``.
* ``shifted``: ``L(n) = (1 + n)^-beta``, so ``L(0) = 1``.
* ``explicit``: ``L(0) = l_zero``, any number that keeps the loss convex.

>>> float(PowerLoss(0.5)(4)), float(PowerLoss(0.5, "shifted")(3)), float(PowerLoss(0.5)(0))
(0.5, 0.5, 1.5)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from geowall.kernels.apportion import power_gain
from geowall.paths import GeowallError

CONVENTIONS = ("cutoff", "shifted", "explicit")
NEVER = np.iinfo(np.int64).max  # latents after which a manifold that does not saturate saturates


@dataclass(frozen=True)
class PowerLoss:
    """``L(n) = n^-beta`` for n >= 1, with a named convention for L(0) and, if asked, saturation.

    ``beta`` is a number shared by all features or an array [feature]; ``inf`` is a discrete feature
    (L(0) = 1, L(n >= 1) = 0). ``n_sat`` (number or array) stops the fall after that many latents.

    Raises:
        GeowallError: an unknown convention, ``beta <= 0``, ``n_sat < 1``, or a concave ``l_zero``.
    """

    beta: float | Float[np.ndarray, " feature"]
    convention: str = "cutoff"
    l_zero: float | None = None
    n_sat: int | Int[np.ndarray, " feature"] | None = None

    def __post_init__(self) -> None:
        _refuse_unknown(self.convention, self.l_zero)
        beta = np.asarray(self.beta, dtype=float)
        if not np.all(beta > 0):
            raise GeowallError(
                "beta must be positive", f"got {self.beta!r}", "give beta > 0, or inf for a discrete feature"
            )
        if self.n_sat is not None and np.any(np.asarray(self.n_sat) < 1):
            raise GeowallError("n_sat must be at least 1", f"got {self.n_sat!r}", "give n_sat >= 1, or None")
        if self.convention == "explicit":
            keeps = (self.saturation > 1) & np.isfinite(beta)  # a discrete feature keeps its own L(0)
            second = np.where(keeps, _power_drop(beta), 0.0)
            if not np.all(self.l_zero - 1.0 >= second):
                why = f"with L(0) = {self.l_zero} the first latent gains less than the second"
                raise GeowallError("the loss is not convex", why, f"give l_zero >= {1 + np.max(second):.6g}")

    @property
    def shift(self) -> int:
        """What is added to n inside the power: 1 in the shifted convention."""
        return int(self.convention == "shifted")

    @property
    def saturation(self) -> int | Int[np.ndarray, " feature"]:
        """Latents after which nothing more is gained."""
        return NEVER if self.n_sat is None else self.n_sat

    @property
    def first(self) -> Float[np.ndarray, "*n"]:
        """Gain of the first latent, L(0) - L(1)."""
        beta = np.asarray(self.beta, dtype=float)
        gain = {"cutoff": beta, "shifted": _power_drop(beta)}.get(self.convention)
        gain = np.full_like(beta, self.l_zero or 0.0) - 1.0 if gain is None else gain
        return np.where(np.isinf(beta), 1.0, gain)

    def __call__(self, n: Int[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
        """L(n), broadcast over ``n`` and ``beta``."""
        beta, n = np.asarray(self.beta, dtype=float), np.asarray(n)
        held = np.maximum(np.minimum(n, self.saturation), 1)
        some = np.where(
            np.isinf(beta), 0.0, (held + float(self.shift)) ** -np.where(np.isinf(beta), 1.0, beta)
        )
        return np.where(n >= 1, some, some + self.first)

    def gain(self, n: Int[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
        """L(n-1) - L(n) without cancellation, broadcast over ``n`` and ``beta``."""
        return power_gain(n, self.beta, self.first, self.shift, self.saturation)


def _power_drop(beta: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
    return -np.expm1(-beta * np.log(2.0))  # 1 - 2^-beta


def _refuse_unknown(convention: str, l_zero: float | None) -> None:
    if convention not in CONVENTIONS:
        raise GeowallError(
            "unknown convention for L(0)", f"got {convention!r}", f"choose one of {', '.join(CONVENTIONS)}"
        )
    if (convention == "explicit") != (l_zero is not None):
        why = f"convention {convention!r} with l_zero = {l_zero}"
        raise GeowallError("l_zero goes with the explicit convention", why, "give both, or neither")
