"""Reading one loss curve: exponents with intervals, and where the fall ends.

Two readings of one curve. ``beta`` is the slope of log L against log n, as Michaud et al. 2025 read it. With
a floor under the loss that slope tends to zero whatever the manifold, so ``beta_excess`` reads the slope of
L - floor, with the floor that makes the curve straightest (or one that is known).

>>> n = np.array([8, 16, 32, 64])
>>> curve = pd.DataFrame({"n_latents": n, "seed": 0, "loss": 0.1 + 1 / n})
>>> fit = fit_curve(curve, floor=0.1)
>>> round(fit["beta_excess"], 3), round(fit["beta"], 2), fit["n_saturation"]
(1.0, 0.32, 64)
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from jaxtyping import Float

from geowall.paths import GeowallError

SLACK = 0.02  # within this share of the best loss at any larger n, a curve is flat
FLOORS = np.concatenate([np.linspace(0.0, 0.9, 46), 1.0 - np.geomspace(0.09, 1e-3, 30)])


def fit_curve(
    curve: pd.DataFrame, floor: float | None = None, draws: int = 500, seed: int = 0
) -> dict[str, float]:
    """Exponents of one curve, from the best seed at each n, with 95 % intervals.

    An interval holds two errors, drawn together: the best of the seeds drawn again at every width, about its
    own mean, since the best of a draw is never better than the best; and the straight line's residuals,
    widened for the two numbers that were fitted and shared out among the widths again.

    Returns ``beta, low, high`` (of L), ``beta_excess, low_excess, high_excess`` (of L - floor), ``floor``,
    and ``n_saturation``: the smallest n whose loss is within 2 % of the best at any larger n (the largest n
    if the loss is still falling there).

    Raises:
        GeowallError: for fewer than three widths, or a floor that is not below the losses.
    """
    n, losses = _arrays(curve)
    if len(n) < 3:
        raise GeowallError("no exponent", f"{len(n)} widths give no slope", "train at least three widths")
    best = losses.min(axis=1)
    if floor is not None and floor >= best.min():
        why = f"the loss {best.min():.4g} is not above the floor {floor:.4g}"
        raise GeowallError("no exponent", why, "give a lower floor, or None to fit it")
    random = np.random.default_rng(seed)
    picks = random.integers(losses.shape[1], size=(draws, *losses.shape))
    drawn = np.take_along_axis(np.broadcast_to(losses, picks.shape), picks, axis=2).min(axis=2)
    base = floor if floor is not None else _straightest(n, best[None])[0]
    bases = np.full(draws, floor) if floor is not None else _straightest(n, drawn)
    # The same widths are shared out for both slopes: an interval of their difference stays possible.
    shares = random.integers(len(n), size=(draws, len(n)))
    return {
        **_interval(n, best, drawn, shares, ""),
        **_interval(n, best - base, drawn - bases[:, None], shares, "_excess"),
        "floor": float(base),
        "n_saturation": int(n[saturation(best)]),
    }


def saturation(best: Float[np.ndarray, " width"], slack: float = SLACK) -> int:
    """Index of the first width whose loss no larger width betters by more than a share ``slack``."""
    ahead = np.minimum.accumulate(best[::-1])[::-1]
    return int(np.argmax(best <= ahead / (1.0 - slack)))


def _arrays(curve: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Widths, and losses [width, seed]; a width that lacks a seed repeats its others."""
    groups = [(n, group["loss"].dropna().to_numpy()) for n, group in curve.groupby("n_latents")]
    groups = [(n, losses) for n, losses in groups if len(losses)]
    most = max((len(losses) for _, losses in groups), default=0)
    return (
        np.array([n for n, _ in groups], dtype=float),
        np.array([np.resize(losses, most) for _, losses in groups], dtype=float).reshape(len(groups), most),
    )


def _slopes(n: np.ndarray, losses: Float[np.ndarray, "draw width"]) -> Float[np.ndarray, " draw"]:
    x = np.log(n) - np.log(n).mean()
    return -(np.log(losses) @ x) / (x @ x)


def _straightest(n: np.ndarray, losses: Float[np.ndarray, "draw width"]) -> Float[np.ndarray, " draw"]:
    """The floor, as a share of the lowest loss, at which log(L - floor) is straightest in log n."""
    x = np.log(n) - np.log(n).mean()
    lowest, errors = losses.min(axis=1), []
    for share in FLOORS:
        y = np.log(losses - share * lowest[:, None])
        slope = (y @ x / (x @ x))[:, None]
        # Errors of log(L), not of log(L - floor): else the floor farthest from the data always wins.
        fitted = share * lowest[:, None] + np.exp(y.mean(axis=1, keepdims=True) + slope * x)
        errors.append(np.square(np.log(fitted / losses)).sum(axis=1))
    return FLOORS[np.argmin(errors, axis=0)] * lowest


def _interval(n: np.ndarray, best: np.ndarray, drawn: np.ndarray, shares: np.ndarray, suffix: str) -> dict:
    """Slope of the best seeds, and the ends of what seeds and residuals make of it."""
    beta = float(_slopes(n, best[None])[0])
    x, y = np.log(n) - np.log(n).mean(), np.log(best)
    residuals = (y - y.mean() + beta * x) * np.sqrt(len(n) / (len(n) - 2))
    of_seeds = _slopes(n, drawn)
    of_fit = -(residuals[shares] @ x) / (x @ x)
    low, high = np.quantile(beta + of_seeds - of_seeds.mean() + of_fit, [0.025, 0.975])
    return {f"beta{suffix}": beta, f"low{suffix}": float(low), f"high{suffix}": float(high)}
