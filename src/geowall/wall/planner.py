"""How wide should a dictionary be? The error of a wide one, predicted from narrow ones, with an interval.

The layer's own last saving goes on shrinking as other layers have taught (:mod:`geowall.wall.prior`). Over a
grid of savings and of ratios a prediction is a mixture of normal distributions of log error:

>>> from geowall.wall.cells import Cell
>>> law = lambda *widths: tuple(0.5 * w**-0.25 for w in widths)
>>> others = [Cell("m", i, (64, 128, 256, 512), law(64, 128, 256, 512)) for i in range(6)]
>>> mine = Cell("m", 9, (64, 128), law(64, 128))
>>> table = predict(mine, learn(others), [256, 512])
>>> [round(v / w, 2) for v, w in zip(table["nmse"], law(256, 512))]
[1.01, 1.04]
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.special import ndtr, ndtri

from geowall.paths import GeowallError
from geowall.wall.cells import Cell
from geowall.wall.prior import LEAST_SAVING, NOISE, UNSTRETCHED, Prior, last_saving, learn, log_error, row

LEVELS = {"low": 0.025, "low_80": 0.1, "nmse": 0.5, "high_80": 0.9, "high": 0.975}
ENDS = ("low", "low_80", "high_80", "high")
FOR_EVER, FARTHEST = 1000.0, 3.0  # doublings: as good as endless, and as far as noise is let grow there
BEYOND = 40  # times the end of a 95 % interval, which no error is beyond
Surprises = Float[np.ndarray, "width 4"]
POINTS = (np.arange(17) + 0.5) / 17  # of a normal distribution, each as likely as the other
__all__ = ["Mixture", "learn", "mixture", "predict", "recommend"]


class Mixture:
    """Predictive distributions of log error at some widths: normal ones about points of the same weight."""

    def __init__(
        self, means: Float[np.ndarray, "width grid"], sd: Float[np.ndarray, " width"] | float
    ) -> None:
        """Keep the points, and the standard deviation about them at each width."""
        self.means, self.sd = means, np.broadcast_to(np.asarray(sd, float), means.shape[:1])

    def below(self, log_loss: Float[np.ndarray, " width"] | float) -> Float[np.ndarray, " width"]:
        """Probability that log error is at most ``log_loss``, at each width."""
        target = np.broadcast_to(np.asarray(log_loss, float), self.means.shape[:1])
        return ndtr((target[:, None] - self.means) / self.sd[:, None]).mean(axis=1)

    @functools.cached_property
    def levels(self) -> dict[str, Float[np.ndarray, " width"]]:
        """Log error at each of LEVELS."""
        shares = np.array(list(LEVELS.values()))[:, None]
        return dict(zip(LEVELS, self._quantiles(shares), strict=True))

    def quantile(self, share: float) -> Float[np.ndarray, " width"]:
        """Log error that is not exceeded with probability ``share``."""
        return self._quantiles(np.array([[share]]))[0]

    def _quantiles(self, shares: Float[np.ndarray, "share 1"]) -> Float[np.ndarray, "share width"]:
        """By bisection, all at once."""
        start = self.means.min(axis=1) - 9 * self.sd, self.means.max(axis=1) + 9 * self.sd
        low, high = (np.repeat(end[None], len(shares), axis=0) for end in start)
        for _ in range(28):
            middle = (low + high) / 2
            z = (middle[..., None] - self.means) / self.sd[:, None]
            under = ndtr(z).mean(axis=-1) < shares
            low, high = np.where(under, middle, low), np.where(under, high, middle)
        return (low + high) / 2

    def surprise(self, log_loss: Float[np.ndarray, " width"]) -> Surprises:
        """How far from the median ``log_loss`` lies, over how far each interval goes on either side.

        A row a width; a column for each of ENDS, negative below the median.
        """
        middle = self.levels["nmse"]
        off = np.asarray(log_loss, float) - middle
        return np.stack([off / np.abs(self.levels[end] - middle) for end in ENDS], axis=1)

    def log_density(self, log_loss: Float[np.ndarray, " width"]) -> Float[np.ndarray, " width"]:
        """Log density of ``log_loss`` at each width."""
        z = (np.asarray(log_loss)[:, None] - self.means) / self.sd[:, None]
        density = np.exp(-0.5 * z**2).mean(axis=1) / (self.sd * np.sqrt(2 * np.pi))
        return np.log(np.maximum(density, 1e-300))


class Stretched:
    """A mixture with the same medians whose intervals are wider, each end by a factor of its own."""

    def __init__(self, inner: Mixture, factors: Sequence[float]) -> None:
        """Move the ends of ``inner`` (ENDS) away from the median; log error between them moves in step."""
        middle = inner.levels["nmse"]
        ends = [inner.levels[end] - middle for end in ENDS]
        low, low_80, high_80, high = ends
        knots = np.array([BEYOND * low, low, low_80, 0 * low, high_80, high, BEYOND * high])
        f = np.array([factors[0], *factors[:2], 1.0, *factors[2:], factors[3]])
        self.inner, self.knots, self.moved = inner, knots + middle, knots * f[:, None] + middle

    @functools.cached_property
    def levels(self) -> dict[str, Float[np.ndarray, " width"]]:
        """Log error at each of LEVELS."""
        return {name: _through(v, self.knots, self.moved) for name, v in self.inner.levels.items()}

    def quantile(self, share: float) -> Float[np.ndarray, " width"]:
        """Log error that is not exceeded with probability ``share``."""
        return _through(self.inner.quantile(share), self.knots, self.moved)

    def below(self, log_loss: Float[np.ndarray, " width"] | float) -> Float[np.ndarray, " width"]:
        """Probability that log error is at most ``log_loss``, at each width."""
        target = np.broadcast_to(np.asarray(log_loss, float), self.knots.shape[1:])
        return self.inner.below(_through(target, self.moved, self.knots))

    def log_density(self, log_loss: Float[np.ndarray, " width"]) -> Float[np.ndarray, " width"]:
        """Log density of ``log_loss`` at each width."""
        step = 1e-6
        ends = [_through(np.asarray(log_loss) + s, self.moved, self.knots) for s in (-step, step)]
        slope = (ends[1] - ends[0]) / (2 * step)
        return self.inner.log_density((ends[0] + ends[1]) / 2) + np.log(np.maximum(slope, 1e-300))


def _through(values: np.ndarray, source: np.ndarray, target: np.ndarray) -> Float[np.ndarray, " width"]:
    """Carry a value a width from knots ``source`` to knots ``target``, straight between them."""
    return np.array([np.interp(v, a, b) for v, a, b in zip(values, source.T, target.T, strict=True)])


def mixture(cell: Cell, prior: Prior, widths: Sequence[int]) -> Mixture | Stretched:
    """The predictive distribution of the error of a dictionary of each of ``widths`` latents.

    Nothing but the cell and the prior goes in: what is said of a width does not depend on the others.

    Raises:
        GeowallError: for a cell without a width, or whose geometry lacks a feature of the prior.
    """
    octaves = np.log2(np.asarray(widths, float) / (cell.widths or (np.nan,))[-1])
    # noise where the curve sets out, and as much again a doubling: training that falls short, or goes on
    return _widened(Mixture(_curves(cell, prior, octaves), NOISE * np.hypot(1.0, octaves)), prior)


def limit(cell: Cell, prior: Prior) -> dict[str, float]:
    """The error at which doubling for ever would end by the same curves: nmse (median), low, high (95 %)."""
    noise = NOISE * np.hypot(1.0, FARTHEST)  # further out there is no test of it
    found = _widened(Mixture(_curves(cell, prior, np.array([FOR_EVER])), noise), prior)
    return {name: float(np.exp(found.levels[name][0])) for name in ("nmse", "low", "high")}


def _widened(found: Mixture, prior: Prior) -> Mixture | Stretched:
    return found if prior.stretch == UNSTRETCHED else Stretched(found, prior.stretch)


def _curves(
    cell: Cell, prior: Prior, octaves: Float[np.ndarray, " width"]
) -> Float[np.ndarray, "width point"]:
    """Log error so many doublings beyond the widest, for each saving and ratio that is believed."""
    if not cell.widths:
        raise GeowallError("nothing was predicted", "no width was measured", "measure at least one")
    lacking = [name for name in prior.features if not cell.geometry.get(name, 0) > 0]
    if lacking:
        why = f"layer {cell.layer} has no {', '.join(lacking)}"
        raise GeowallError("nothing was predicted", why, "give its geometry, or plan without")
    regressors = row(cell, prior.features)
    rate = _shrinking(float(regressors @ prior.shrink), prior.shrink_spread)
    saved, gap = _saved(cell, prior, float(regressors @ prior.saving))
    saved, rate = (each.ravel() for each in np.meshgrid(saved, rate))
    return cell.y.min() + log_error(octaves[:, None], saved, rate, gap)


def _shrinking(centre: float, spread: float) -> Float[np.ndarray, " point"]:
    """Points of the log ratio: normal, and below 0, since no doubling saves more than the one before it."""
    end = max(float(ndtr(-centre / spread)), 1e-9)
    return np.minimum(0.0, centre + spread * ndtri(end * POINTS))


def _saved(cell: Cell, prior: Prior, level: float) -> tuple[Float[np.ndarray, " point"], float]:
    """Points of the last saving, and the doublings it is the mean of."""
    z = ndtri(POINTS[::2])
    if len(cell.widths) == 1:
        return np.exp(level + prior.saving_spread * z), 1.0
    gap = float(np.log2(cell.widths[-1] / cell.widths[-2]))
    return np.maximum(LEAST_SAVING / 5, last_saving(cell) + NOISE * np.sqrt(2) / gap * z), gap


def predict(cell: Cell, prior: Prior, widths: Sequence[int]) -> pd.DataFrame:
    """Predicted error at some widths: width, nmse (median), low_80, high_80, low, high (95 %)."""
    found = mixture(cell, prior, widths)
    columns = {name: np.exp(value) for name, value in found.levels.items()}
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
