"""What other layers teach about a layer of which only narrow dictionaries were trained.

A doubling of the width saves ``d`` of the log error, and each doubling after it ``r`` times what the one
before it saved:

    L(2^m n) = L(n) exp(-d (r + r^2 + ... + r^m)) = L(n) exp(-d r (1 - r^m) / (1 - r)).

With r = 1 this is a power law, with r < 1 the error stops at a floor. The last saving is the layer's own; how
fast savings shrink is what other layers teach. Three doublings, after one that saved a tenth:

>>> [round(float(v), 3) for v in log_error(np.array([1.0, 2.0, 3.0]), 0.1, np.log(0.5))]
[-0.05, -0.075, -0.087]
>>> [round(float(v), 3) for v in log_error(np.array([1.0, 2.0, 3.0]), 0.1, 0.0)]
[-0.1, -0.2, -0.3]

The logarithm of r is normal about a regression on geometry (or on nothing), cut off at r = 1: no error falls
faster than the layer's own last step goes on to.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from geowall.wall.cells import Cell

LEAST_SAVING = 0.005  # of log error a doubling: one that saves less counts as saving this
FASTEST, SLOWEST = -2.5, 0.5  # log r of a layer is read within these: noise in small savings goes beyond
NOISE = 0.01  # of log error: training, and reading the error at a sparsity
BROAD = {"shrink": (-0.6, 0.5), "saving": (np.log(0.1), 0.8)}  # where no layer is known: centre and spread
LEAST_SPREAD = 0.1  # of log r, however much the teachers agree
FEW = 3  # layers that are too few to know a spread by

UNSTRETCHED = (1.0, 1.0, 1.0, 1.0)

Terms = Float[np.ndarray, " term"]


@dataclass(frozen=True)
class Prior:
    """What the teachers say: log r and the log of the last saving, each a regression and a spread about it.

    ``stretch`` is by how much the ends of intervals (95 % and 80 % below, 80 % and 95 % above the median)
    must be further out than the spreads put them, to hold what they should (:mod:`geowall.wall.calibrate`).
    """

    shrink: Terms
    shrink_spread: float
    saving: Terms
    saving_spread: float
    features: tuple[str, ...]
    n_layers: int
    stretch: tuple[float, ...] = UNSTRETCHED


def log_error(octaves: object, saving: object, log_r: object, gap: object = 1.0) -> np.ndarray:
    """Log error relative to the widest dictionary, ``octaves`` doublings beyond it.

    ``saving`` is what a doubling saved in the mean over the last ``gap`` doublings. Arguments broadcast.
    """
    u, saving, g, gap = (np.asarray(v, float) for v in (octaves, saving, log_r, gap))
    rate = np.where(np.abs(g) < 1e-6, -1e-6, g)
    start = rate * gap / -np.expm1(-rate * gap)  # the saving at the widest, over its mean in the gap
    return -saving * start * np.expm1(rate * u) / rate


def savings(cell: Cell) -> tuple[Float[np.ndarray, " gap"], Float[np.ndarray, " gap"]]:
    """What a doubling saved of log error between neighbouring widths, and where the gaps have their middles.

    Middles are counted in doublings. A dictionary that does worse than a narrower one was short of training:
    it saves nothing.
    """
    y, octaves = np.minimum.accumulate(cell.y), cell.x / np.log(2)
    return -np.diff(y) / np.diff(octaves), (octaves[1:] + octaves[:-1]) / 2


def last_saving(cell: Cell) -> float:
    """What the last doubling of a cell saved, at least LEAST_SAVING."""
    gap = np.log2(cell.widths[-1] / cell.widths[-2])
    return max(LEAST_SAVING, float((min(cell.y[:-1]) - min(cell.y)) / gap))


def log_ratios(cell: Cell) -> Float[np.ndarray, " pair"]:
    """Log of each saving over the one before it, a doubling; none after a saving that is hardly one."""
    saved, middles = savings(cell)
    before = saved[:-1] > LEAST_SAVING
    ratio = np.log(np.maximum(saved[1:], LEAST_SAVING)[before] / saved[:-1][before])
    return np.clip(ratio / np.diff(middles)[before], FASTEST, SLOWEST)


def learn(others: Sequence[Cell], features: Sequence[str] = ()) -> Prior:
    """The prior that ``others`` teach; models count the same, and so do the layers of one.

    A layer of three or more widths shows how its savings shrink, one of two what its last doubling saved.
    Layers that lack a feature are left out; without any layer the prior is broad.
    """
    able = [c for c in others if len(c.widths) > 1 and all(c.geometry.get(f, 0) > 0 for f in features)]
    shown = [(cell, log_ratios(cell)) for cell in able if len(cell.widths) > 2]
    shown = [(cell, ratios) for cell, ratios in shown if len(ratios)]
    share = _shares([cell for cell, _ in shown])
    each = [(cell, r, s / len(rs)) for (cell, rs), s in zip(shown, share, strict=True) for r in rs]
    shrink, spread = _regress(each, len(shown), features, BROAD["shrink"])
    last = [(c, np.log(last_saving(c)), s) for c, s in zip(able, _shares(able), strict=True)]
    saving, saving_spread = _regress(last, len(able), features, BROAD["saving"])
    return Prior(shrink, max(spread, LEAST_SPREAD), saving, saving_spread, tuple(features), len(shown))


def row(cell: Cell, features: Sequence[str]) -> Terms:
    """The regressors of a cell: one, and the logarithms of its summaries."""
    return np.array([1.0, *(np.log(cell.geometry[name]) for name in features)])


def _shares(known: Sequence[Cell]) -> Float[np.ndarray, " layer"]:
    counts = Counter(cell.model for cell in known)
    share = np.array([1.0 / counts[cell.model] for cell in known])
    return share / share.sum() if len(known) else share


def _regress(
    seen: Sequence[tuple[Cell, float, float]], n: int, features: Sequence[str], broad: tuple[float, float]
) -> tuple[Terms, float]:
    """Weighted least squares on geometry and the spread about it; the mean alone where layers are too few."""
    if not seen:
        return np.array([broad[0]] + [0.0] * len(features)), broad[1]
    values, share = np.array([v for _, v, _ in seen]), np.array([s for _, _, s in seen])
    used = tuple(features) if n > len(features) + 2 else ()
    design, root = np.array([row(cell, used) for cell, _, _ in seen]), np.sqrt(share)
    found = np.linalg.lstsq(design * root[:, None], values * root, rcond=None)[0]
    spread = float(np.sqrt(share @ (values - design @ found) ** 2)) if n > FEW else broad[1]
    return np.concatenate([found, np.zeros(len(features) - len(used))]), spread
