"""What other layers teach about a layer of which only narrow dictionaries were trained.

Near the best width tried, ``n_ref``, the error of a layer is described by three numbers: the slope ``s`` at
which it falls there; the share ``phi`` of it that width does not remove; and how fast that share grows with
width, ``growth``, which is 0 for a floor and positive where wide dictionaries are short of training:

    L(n) / L(n_ref) = (1 - phi) (n / n_ref)^(-(s + phi growth) / (1 - phi)) + phi (n / n_ref)^growth.

With phi = 0 this is a power law. Sixteen times wider than the reference, at a slope of 0.2 there:

>>> shape = lambda phi, growth: float(np.exp(relative(np.log(16.0), np.log(0.2), phi, growth)))
>>> round(shape(0.0, 0.0), 3), round(shape(0.5, 0.0), 3), round(shape(0.5, 0.3), 3)
(0.574, 0.665, 1.22)

The prior over them is learnt from other layers: the logarithm of s from a regression on geometry (or on
nothing), and the weights of a grid about it by a few steps of expectation maximisation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from geowall.wall.cells import Cell

OFFSETS = np.linspace(-1.6, 1.6, 41)  # of log s from what geometry foretells
BENDS = [(0.0, 0.0), *((p, g) for p in (0.15, 0.3, 0.45, 0.6, 0.75, 0.9) for g in (0.0, 0.15, 0.3))]
GRID = np.array([(offset, *bend) for offset in OFFSETS for bend in BENDS])
SIGMAS = (0.005, 0.01, 0.02, 0.04)  # of log error: training noise, and reading the error at a sparsity
STEPS, SMOOTH = 6, 0.1  # of expectation maximisation; share of the broad start that stays in the weights
STRAIGHT_FLOOR_GROWING = (0.4, 0.45, 0.15)  # how credible each kind of curve is before any layer is seen
SPREAD = 0.35  # of log s, where no other layer is known
LEAST_SLOPE = 0.01  # narrower dictionaries that fall more slowly than this count as this slow

Weights = Float[np.ndarray, " grid"]


@dataclass(frozen=True)
class Prior:
    """Weights over GRID, the regression that its offsets are counted from, and the noise of log error."""

    weights: Weights
    coefficients: Float[np.ndarray, " term"]
    features: tuple[str, ...]
    sigma: float
    n_layers: int
    wobble: float = 0.0  # standard deviation of log error ahead, beyond what the grid and sigma explain

    def level(self, cell: Cell) -> float:
        """The log slope that geometry foretells for a cell."""
        return float(row(cell, self.features) @ self.coefficients)


def relative(u: object, log_slope: object, phi: object, growth: object = 0.0) -> np.ndarray:
    """log L(n) / L(n_ref) at u = log n / n_ref; arguments broadcast against each other."""
    u, phi, growth = (np.asarray(v, float) for v in (u, phi, growth))
    rest = 1.0 - phi
    return np.log(rest * np.exp(-(np.exp(log_slope) + phi * growth) / rest * u) + phi * np.exp(growth * u))


def shapes(u: Float[np.ndarray, " width"], level: float) -> Float[np.ndarray, "width grid"]:
    """``relative`` at every point of GRID."""
    return relative(u[:, None], level + GRID[:, 0], GRID[:, 1], GRID[:, 2])


def local_slope(cell: Cell) -> float:
    """-d log L / d log n of the two widest dictionaries of a cell, at least LEAST_SLOPE."""
    x, y = cell.x[-2:], cell.y[-2:]
    return max(LEAST_SLOPE, float((y[0] - y[-1]) / (x[-1] - x[0])))


def learn(others: Sequence[Cell], octaves: float, features: Sequence[str] = ()) -> Prior:
    """The prior that ``others`` teach for predictions ``octaves`` doublings ahead; models count the same.

    Each layer is anchored as many doublings before its own widest dictionary (or at its second narrowest),
    so that it shows how such curves go on. Layers that lack a feature are left out; without any layer the
    prior is broad about a slope of 0.2.
    """
    known = [c for c in others if len(c.widths) > 1 and all(c.geometry.get(f, 0) > 0 for f in features)]
    anchors = [anchor(cell, octaves) for cell in known]
    slopes = np.log([local_slope(c.up_to(a)) for c, a in zip(known, anchors, strict=True)])
    share = _shares(known)
    coefficients, levels = _regress(known, slopes, share, features)
    spread = float(np.sqrt(share @ (slopes - levels) ** 2)) if len(known) > 3 else SPREAD
    start = broad(max(spread, 0.05))
    squares = [squared_misfit(c, a, level) for c, a, level in zip(known, anchors, levels, strict=True)]
    freedom = np.array([len(c.widths) - 1 for c in known])
    fits = [_maximise(np.array(squares).reshape(-1, len(GRID)), freedom, share, s, start) for s in SIGMAS]
    best = int(np.argmax([evidence for _, evidence in fits])) if known else 2
    weights, sigma = fits[best][0], SIGMAS[best]
    parts = [(c.up_to(a), c.beyond(a), level) for c, a, level in zip(known, anchors, levels, strict=True)]
    wobble = _wobble(parts, share, weights, sigma)
    return Prior(weights, coefficients, tuple(features), sigma, len(known), wobble)


def ahead(
    cell: Cell, x: Float[np.ndarray, " width"], level: float, weights: Weights, sigma: float
) -> tuple[Float[np.ndarray, "width grid"], Weights]:
    """Log error at log widths ``x`` for each point of GRID, and the points' weights once ``cell`` is seen."""
    # The best width so far: shapes fall there, and what is wider may rise where training falls short.
    reference = cell.widths[int(np.argmin(cell.losses))]
    squares = squared_misfit(cell, reference, level)
    seen = weights * np.exp(-0.5 * (squares - squares.min()) / sigma**2)
    start = (cell.y[:, None] - shapes(cell.x - np.log(reference), level)).mean(axis=0)
    return start + shapes(x - np.log(reference), level), seen / seen.sum()


def squared_misfit(cell: Cell, at: int, level: float) -> Weights:
    """Squared error of each point of GRID, the log error at the anchor ``at`` fitted to the cell."""
    left = cell.y[:, None] - shapes(cell.x - np.log(at), level)
    return ((left - left.mean(axis=0)) ** 2).sum(axis=0)


def broad(spread: float) -> Weights:
    """Normal weights over offsets, half again as wide as ``spread``; over bends, STRAIGHT_FLOOR_GROWING."""
    kinds = np.where(GRID[:, 1] == 0, 0, np.where(GRID[:, 2] == 0, 1, 2))
    bends = np.array(STRAIGHT_FLOOR_GROWING)[kinds] / np.bincount(kinds)[kinds]
    weights = np.exp(-0.5 * (GRID[:, 0] / (1.5 * spread)) ** 2) * bends
    return weights / weights.sum()


def anchor(cell: Cell, octaves: float) -> int:
    """The width from which a cell's widest dictionary is about ``octaves`` doublings away."""
    widths = np.array(cell.widths, float)
    place = int(np.argmin(np.abs(np.log2(widths[-1] / widths) - octaves)))
    return int(cell.widths[max(1, place)])


def row(cell: Cell, features: Sequence[str]) -> Float[np.ndarray, " term"]:
    """The regressors of a cell: one, and the logarithms of its summaries."""
    return np.array([1.0, *(np.log(cell.geometry[name]) for name in features)])


def _wobble(
    parts: Sequence[tuple[Cell, Cell, float]], share: np.ndarray, weights: Weights, sigma: float
) -> float:
    """What predictions of the teachers' own wide dictionaries miss, beyond what they expect to miss."""
    excess, total = 0.0, 0.0
    for (narrow, wide, level), own in zip(parts, share, strict=True):
        if not wide.widths:
            continue
        means, seen = ahead(narrow, wide.x, level, weights, sigma)
        middle = means @ seen
        expected = (means - middle[:, None]) ** 2 @ seen + sigma**2 * (1 + 1 / len(narrow.widths))
        excess += own * float(((wide.y - middle) ** 2 - expected).mean())
        total += own
    return float(np.sqrt(max(0.0, excess / total))) if total else 0.0


def _shares(known: Sequence[Cell]) -> Float[np.ndarray, " layer"]:
    counts = Counter(cell.model for cell in known)
    share = np.array([1.0 / counts[cell.model] for cell in known])
    return share / share.sum() if len(known) else share


def _regress(
    known: Sequence[Cell], slopes: np.ndarray, share: np.ndarray, features: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Weighted least squares of log slopes on geometry; the mean alone where layers are too few."""
    if len(known) <= len(features) + 2:
        level = float(slopes.mean()) if len(known) else float(np.log(0.2))
        return np.array([level] + [0.0] * len(features)), np.full(len(known), level)
    design, root = np.array([row(cell, features) for cell in known]), np.sqrt(share)
    coefficients = np.linalg.lstsq(design * root[:, None], slopes * root, rcond=None)[0]
    return coefficients, design @ coefficients


def _maximise(
    squares: Float[np.ndarray, "layer grid"],
    freedom: np.ndarray,
    share: np.ndarray,
    sigma: float,
    start: Weights,
) -> tuple[Weights, float]:
    """Weights after a few steps, and the log evidence of the layers under them."""
    likelihoods, weights = np.exp(-0.5 * squares / sigma**2), start
    for _ in range(STEPS if len(squares) else 0):
        joint = likelihoods * weights
        posterior = joint / np.maximum(joint.sum(axis=1, keepdims=True), 1e-300)
        weights = (1 - SMOOTH) * (share @ posterior) + SMOOTH * start
    evidence = np.log(np.maximum(likelihoods @ weights, 1e-300)) - freedom * np.log(sigma)
    return weights, float((share * evidence).sum())
