"""Intrinsic dimension from ratios of neighbour distances.

In ``d`` dimensions of uniform density the ratio of the second to the first distance has
``log(r2 / r1) ~ Exp(d)``: small ratios, many dimensions. Everything here reads one neighbour graph.

>>> from geowall.kernels.neighbours import neighbours
>>> from geowall.manifolds import Sphere
>>> graph = neighbours(Sphere(4).sample(1500, seed=0), 100)
>>> ratio = log_ratio(graph.distance)
>>> [round(value, 1) for value in (two_nn(ratio), two_nn(ratio, "linear"), gride(graph.distance, 8))]
[3.0, 3.0, 2.9]
"""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.optimize import brentq
from torch import Tensor

from geowall.paths import GeowallError


def log_ratio(distance: Float[Tensor, "point k"], near: int = 1, far: int = 2) -> Float[Tensor, " point"]:
    """``log(r_far / r_near)``; not a number at points that coincide with their ``near``-th neighbour."""
    if not 1 <= near < far <= distance.shape[1]:
        why = f"neighbours {near} and {far} of {distance.shape[1]} were asked for"
        raise GeowallError("there is no such ratio", why, "ask for a graph of more neighbours")
    a, b = distance[:, near - 1].double(), distance[:, far - 1].double()
    return torch.where(a > 0, (b / a.clamp(min=1e-300)).log(), torch.nan)


def two_nn(ratio: Float[Tensor, " point"], method: str = "mle", discard: float = 0.1) -> float:
    """TwoNN (Facco et al. 2017) from ``log_ratio``.

    Args:
        ratio: log ratios; those that are not a number are left out.
        method: ``mle`` takes the maximum of the likelihood, ``n / sum``; ``linear`` fits the empirical
            distribution through the origin, as the paper of TwoNN does.
        discard: share of the largest ratios that ``linear`` leaves out.
    """
    ratio = _sound(ratio)
    if method == "mle":
        return float(len(ratio) / ratio.sum())
    keep = int(len(ratio) * (1 - discard))
    x = ratio.sort().values[:keep]
    y = -torch.log1p(-torch.arange(1, keep + 1, dtype=torch.float64) / len(ratio))
    return float((x * y).sum() / (x * x).sum())


def windowed(
    ratio: Float[Tensor, " point"],
    index: Int[Tensor, "point k"],
    window: int = 100,
    method: str = "mle",
) -> Float[Tensor, " point"]:
    """A TwoNN estimate at each point from its own ratio and those of its ``window`` nearest.

    The paper speaks of "per-point TwoNN estimates averaged within a window". Read word by word that is
    ``mean``, the mean of ``1 / log(r2 / r1)``, which has no expectation: its law has a tail of index one.
    ``mle`` averages the other way up, count over sum; ``median`` takes the median ratio.
    """
    values = torch.cat([ratio[:, None], ratio[index[:, :window]]], 1)
    sound = ~values.isnan() & (values > 0)
    if method == "mle":
        return sound.sum(1) / values.where(sound, torch.zeros(())).sum(1)
    if method == "mean":
        return (1.0 / values.where(sound, torch.full((), math.inf))).sum(1) / sound.sum(1)
    if method == "median":
        return math.log(2.0) / values.where(sound, torch.nan).nanmedian(1).values
    raise GeowallError("no such window", f"{method!r} is not known", "use mle, mean or median")


def influence(
    ratio: Float[Tensor, " point"],
    index: Int[Tensor, "point k"],
    window: int,
    local: Float[Tensor, " point"],
    weight: Float[Tensor, " point"],
) -> Float[Tensor, " point"]:
    """What each point's ratio adds to ``sum(weight * local)`` through all the windows it lies in.

    A ratio enters a hundred windows, so that a mean of windowed estimates is far less certain than their
    spread suggests. To first order, estimate i moves by ``-local_i^2 / |W| (ratio_j - 1 / local_i)`` for each
    j in its window; these add up to nothing within a window, so that a mean stays what it was.
    """
    near = torch.cat([torch.arange(len(index))[:, None], index[:, :window]], 1)
    values = ratio[near]
    sound = ~values.isnan() & (values > 0)
    moved = -(weight * local.square() / sound.sum(1))[:, None] * (values - 1.0 / local[:, None])
    return torch.zeros(len(ratio), dtype=torch.float64).index_add(
        0, near.flatten(), moved.where(sound, torch.zeros(())).flatten().double()
    )


def heterogeneity(
    local: Float[Tensor, " point"], index: Int[Tensor, "point k"], window: int = 50
) -> Float[Tensor, " point"]:
    """Standard deviation of the local estimates over each point's ``window`` nearest (the paper's nu)."""
    return local[index[:, :window]].std(1)


def mle(distance: Float[Tensor, "point k"], k: int = 20) -> Float[Tensor, " point"]:
    """Levina and Bickel's estimate at each point; a layer's is the harmonic mean (MacKay, Ghahramani)."""
    if not 2 <= k <= distance.shape[1]:
        why = f"{k} of {distance.shape[1]} neighbours were asked for"
        raise GeowallError("there is no such estimate", why, "ask for a graph of more neighbours")
    r = distance[:, :k].double()
    logs = (r[:, -1:] / r[:, :-1].clamp(min=1e-300)).log().where(r[:, :-1] > 0, torch.zeros(()))
    return (r[:, :-1] > 0).sum(1) / logs.sum(1)


def gride(distance: Float[Tensor, "point k"], near: int) -> float:
    """Gride at the scale of the ``near``-th and ``2 near``-th neighbour (Denti et al. 2022, eq. 9).

    The maximum of the likelihood ``d (m^d - 1)^(near - 1) / m^((2 near - 1) d + 1)`` of ``m = r_2near /
    r_near``: the one root of its derivative, which falls with ``d``. ``near = 1`` is TwoNN.
    """
    ratio = _sound(log_ratio(distance, near, 2 * near)).numpy()
    total, start = ratio.sum(), len(ratio) / ratio.sum()  # the answer is within a factor of 2 near

    def slope(log_d: float) -> float:
        d = np.exp(log_d)
        grown = (ratio / -np.expm1(-d * ratio)).sum() if near > 1 else 0.0  # m^d log m / (m^d - 1)
        return len(ratio) / d + (near - 1) * grown - (2 * near - 1) * total

    ends = (np.log(start) - 7.0, np.log(start) + 7.0)
    return float(np.exp(brentq(slope, *ends, xtol=1e-9)))


def _sound(ratio: Tensor) -> Tensor:
    ratio = ratio[~ratio.isnan() & (ratio > 0)].double()
    if len(ratio) < 2:
        why = "fewer than two points lie apart from their neighbours"
        raise GeowallError("there is no dimension to estimate", why, "drop duplicates, or give more points")
    return ratio
