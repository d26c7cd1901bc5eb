"""How wide should a dictionary be? The error of a wide one, predicted from narrow ones, with an interval.

The errors of a layer's narrow dictionaries meet a prior that other layers have taught
(:mod:`geowall.wall.prior`). On a grid of slopes and bends the posterior is exact; a prediction is a mixture
of normal distributions of log error:

>>> from geowall.wall.cells import Cell
>>> law = lambda *widths: tuple(0.5 * w**-0.25 for w in widths)
>>> others = [Cell("m", i, (64, 128, 256, 512), law(64, 128, 256, 512)) for i in range(6)]
>>> mine = Cell("m", 9, (64, 128), law(64, 128))
>>> table = predict(mine, learn(others, octaves=2), [256, 512])
>>> [round(v / w, 2) for v, w in zip(table["nmse"], law(256, 512))]
[1.0, 1.0]
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.special import ndtr

from geowall.paths import GeowallError
from geowall.wall.cells import Cell
from geowall.wall.prior import Prior, ahead, learn

LEVELS = {"low": 0.025, "low_80": 0.1, "nmse": 0.5, "high_80": 0.9, "high": 0.975}
__all__ = ["Mixture", "learn", "mixture", "predict", "recommend"]


class Mixture:
    """Predictive distributions of log error at some widths: one normal for each point of the grid."""

    def __init__(
        self, means: Float[np.ndarray, "width grid"], sd: float, weights: Float[np.ndarray, " grid"]
    ) -> None:
        """Keep the points of the grid that carry weight."""
        kept = weights > 1e-9 * weights.max()
        self.means, self.sd = means[:, kept], sd
        self.weights = weights[kept] / weights[kept].sum()

    def below(self, log_loss: Float[np.ndarray, " width"] | float) -> Float[np.ndarray, " width"]:
        """Probability that log error is at most ``log_loss``, at each width."""
        target = np.broadcast_to(np.asarray(log_loss, float), self.means.shape[:1])
        return ndtr((target[:, None] - self.means) / self.sd) @ self.weights

    def quantile(self, share: float) -> Float[np.ndarray, " width"]:
        """Log error that is not exceeded with probability ``share``, by bisection."""
        low, high = self.means.min(axis=1) - 9 * self.sd, self.means.max(axis=1) + 9 * self.sd
        for _ in range(34):
            middle = (low + high) / 2
            under = self.below(middle) < share
            low, high = np.where(under, middle, low), np.where(under, high, middle)
        return (low + high) / 2

    def log_density(self, log_loss: Float[np.ndarray, " width"]) -> Float[np.ndarray, " width"]:
        """Log density of ``log_loss`` at each width."""
        z = (np.asarray(log_loss)[:, None] - self.means) / self.sd
        density = np.exp(-0.5 * z**2) @ self.weights / (self.sd * np.sqrt(2 * np.pi))
        return np.log(np.maximum(density, 1e-300))


def mixture(cell: Cell, prior: Prior, widths: Sequence[int]) -> Mixture:
    """The predictive distribution of the error of a dictionary of each of ``widths`` latents.

    Raises:
        GeowallError: for a cell without a width, or whose geometry lacks a feature of the prior.
    """
    if not cell.widths:
        raise GeowallError("nothing was predicted", "no width was measured", "measure at least one")
    lacking = [name for name in prior.features if not cell.geometry.get(name, 0) > 0]
    if lacking:
        why = f"layer {cell.layer} has no {', '.join(lacking)}"
        raise GeowallError("nothing was predicted", why, "give its geometry, or plan without")
    means, weights = ahead(
        cell, np.log(np.asarray(widths, float)), prior.level(cell), prior.weights, prior.sigma
    )
    sd = np.hypot(prior.sigma * np.sqrt(1 + 1 / len(cell.widths)), prior.wobble)
    return Mixture(means, float(sd), weights)


def predict(cell: Cell, prior: Prior, widths: Sequence[int]) -> pd.DataFrame:
    """Predicted error at some widths: width, nmse (median), low_80, high_80, low, high (95 %)."""
    found = mixture(cell, prior, widths)
    columns = {name: np.exp(found.quantile(share)) for name, share in LEVELS.items()}
    table = pd.DataFrame({"width": list(widths), **columns})
    return table[["width", "nmse", "low_80", "high_80", "low", "high"]]


def recommend(
    cell: Cell, prior: Prior, target: float, widths: Sequence[int], sure: float = 0.8
) -> tuple[int | None, float]:
    """The narrowest of ``widths`` whose error is at most ``target`` with probability ``sure``, and that one.

    Where none is, None and the probability at the widest.
    """
    reached = mixture(cell, prior, widths).below(np.log(target))
    enough = np.flatnonzero(reached >= sure)
    if len(enough):
        return int(widths[enough[0]]), float(reached[enough[0]])
    return None, float(reached[-1])
