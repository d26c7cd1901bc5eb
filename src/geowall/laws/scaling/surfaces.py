"""The whole law with a floor at every layer (Eq. 2), fitted to checkpoints where they lie, without a grid.

Each checkpoint enters at its own width and L0, so nothing is interpolated and every error counts once. The
interval of a floor or an exponent is a likelihood profile: the values that, held fixed, leave a sum of
squares that the layer's own scatter allows. Beside it stands a bootstrap over checkpoints, where each draw
weighs them anew, as if others had been trained. It falls short where the floor is small: residuals are
smaller than deviations, by what six parameters take up, and a floor that cannot be below zero is too large on
average, which every draw repeats. The profile counts the parameters and compares fits, not estimates;
``planted_surfaces`` shows the coverage of both.

>>> n, l0 = (v.ravel() for v in np.meshgrid([64.0, 128, 256, 512, 1024], [6.0, 15, 35, 70]))
>>> error = 2 * (n / l0) ** -0.5 * l0**-0.7 + 0.3 * l0**-0.6
>>> table = pd.DataFrame({"d_sae": n, "l0": l0, "nmse": error})
>>> table = table.assign(source="lab", model="m", layer=0, site="res", architecture="topk")
>>> table = table.assign(schedule="matched")
>>> found = surfaces(table, [20.0], n_bootstrap=20)
>>> found["floor"].round(4).tolist(), round(0.3 * 20**-0.6, 4)
([0.0497], 0.0497)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import stats

from geowall.laws.scaling import uncertainty
from geowall.laws.scaling.floors import NO_FLOOR, STEEPEST, Fits, surface
from geowall.laws.scaling.intervals import crossing
from geowall.laws.scaling.sources import ks_of
from geowall.laws.scaling.sparsity import GROUP

WIDTHS, SPARE = 4, 2  # a surface needs four widths, and two checkpoints more than its six parameters
PARAMETERS = 6
# Values that a profile holds: everywhere, and closely about the best one, in shares of the law at the widest
# dictionary (floors) or of the exponent itself.
HELD_FLOORS, ABOUT_FLOOR = np.linspace(0.0, 1.2, 16), np.array([0.005, 0.015, 0.03, 0.06, 0.1, 0.16])
HELD_ALPHAS = np.append(0.0, np.geomspace(0.05, STEEPEST, 15))
ABOUT_ALPHA = np.exp([0.02, 0.05, 0.1, 0.18, 0.3, 0.5])


def surfaces(
    checkpoints: pd.DataFrame, ks: Sequence[float], n_bootstrap: int = 200, seed: int = 0, level: float = 0.95
) -> pd.DataFrame:
    """Fit the six parameters of Eq. 2 to every layer that has the checkpoints for it, and read it at ``ks``.

    ``low`` and ``high`` bound the floor, ``alpha_low`` and ``alpha_high`` the exponent, by the profile; the
    same names with ``_drawn`` are the middle 95 % of ``n_bootstrap`` draws of the checkpoints. ``scatter``
    is the deviation of log errors about the law. Columns: the group, form, k, alpha_width, beta_n, beta_k,
    gamma, floor, low, high, alpha_low, alpha_high, low_drawn, high_drawn, alpha_low_drawn, alpha_high_drawn,
    rss, scatter, n_checkpoints, extrapolated, narrow, wide, n_widths.
    """
    made = []
    for key, own in checkpoints.groupby(GROUP, sort=True):
        widths = np.unique(own["d_sae"])
        if len(widths) < WIDTHS or len(own) < PARAMETERS + SPARE:
            continue
        weights = drawn_weights(own["d_sae"].to_numpy(), n_bootstrap, seed)
        n, l0, y = own["d_sae"].to_numpy(float), own["l0"].to_numpy(float), np.log(own["nmse"].to_numpy())
        fits = surface(n, l0, np.tile(y, (len(weights), 1)), weights=weights)
        ends = own.groupby("d_sae")["l0"].agg(["min", "max"])
        head = dict(zip(GROUP, key, strict=True)) | {"form": "with_floor_surface"} | coefficients(fits)
        head["scatter"] = float(np.sqrt(fits.rss[0] / (len(own) - PARAMETERS)))
        tail = {"n_checkpoints": len(own), "narrow": widths[0], "wide": widths[-1], "n_widths": len(widths)}
        for k in ks_of(head["model"], ks):
            beyond = bool(k < ends["min"].max() or k > ends["max"].min())
            read = _read(fits, float(k)) | profiled(n, l0, y, fits, float(k), level)
            made.append(head | read | tail | {"extrapolated": beyond})
    return pd.DataFrame(made)


def profiled(
    n: Float[np.ndarray, " cell"],
    l0: Float[np.ndarray, " cell"],
    log_error: Float[np.ndarray, " cell"],
    fits: Fits,
    k: float,
    level: float = 0.95,
) -> dict[str, float]:
    """Return the ends of floor and exponent at ``k`` by profile likelihood.

    ``fits`` holds the free fit as its first draw. The noise is that of the layer alone, so that the bound is
    ``t^2 RSS / dof`` above the least sum of squares.
    """
    log_a, alpha, floor = (float(value[0]) for value in fits.at_k(k))
    law = float(np.exp(log_a - alpha * np.log(n.max())) + floor)
    held = {
        "floor": np.r_[HELD_FLOORS * law, floor - ABOUT_FLOOR * law, floor + ABOUT_FLOOR * law],
        "alpha": np.r_[HELD_ALPHAS, alpha / ABOUT_ALPHA, alpha * ABOUT_ALPHA],
    }
    most = {"floor": HELD_FLOORS[-1] * law, "alpha": STEEPEST}
    held = {name: np.unique(np.clip(values, 0.0, most[name])) for name, values in held.items()}
    found = {
        name: surface(n, l0, np.tile(log_error, (len(values), 1)), centre=k, **{name: values})
        for name, values in held.items()
    }
    # a profile can find a better place than the free fit's own starts
    least = min(float(fits.rss[0]), *(float(profile.rss.min()) for profile in found.values()))
    dof = len(n) - PARAMETERS
    allowed = max(stats.t.ppf((1 + level) / 2, dof) ** 2 * least / dof, 1e-20)
    ends = {}
    for name, best in (("floor", floor), ("alpha", alpha)):
        away = np.sqrt(np.maximum(found[name].rss - least, 0) / allowed)
        if least < fits.rss[0] * (1 - 1e-6):
            best = float(held[name][away.argmin()])
        ends[name] = [crossing(held[name], away, best, side) for side in (-1, 1)]
    (low, high), (down, up) = ends["floor"], ends["alpha"]
    return {"low": low, "high": high, "alpha_low": down, "alpha_high": up}


def drawn_weights(widths: np.ndarray, n_bootstrap: int, seed: int) -> np.ndarray:
    """Return how often each checkpoint is drawn: once each in draw 0, then at random within its width.

    Drawn within widths, so that no draw lacks a width.
    """
    rng, weights = np.random.default_rng(seed), np.ones((n_bootstrap + 1, len(widths)))
    for width in np.unique(widths):
        own = np.flatnonzero(widths == width)
        weights[1:, own] = rng.multinomial(len(own), np.full(len(own), 1 / len(own)), n_bootstrap)
    return weights


def coefficients(fits: Fits) -> dict[str, float]:
    """Return the first draw's coefficients of ``log n``, ``log k`` and their product, and its RSS."""
    _, bk, bn, g, _, _ = fits.theta[0]
    moved = {"beta_n": bn - g * np.log(fits.k0), "beta_k": bk - g * np.log(fits.n0), "gamma": g}
    return {name: float(value) for name, value in (moved | {"rss": fits.rss[0]}).items()}


def _read(fits: Fits, k: float) -> dict[str, float]:
    _, alpha, floor = fits.at_k(k)
    floor = np.where(floor > 10 * NO_FLOOR * floor.max(), floor, 0.0)
    (low, high), (down, up) = uncertainty.middle(floor[1:]), uncertainty.middle(alpha[1:])
    found = {"k": k, "alpha_width": alpha[0], "floor": floor[0]}
    found |= {"low_drawn": low, "high_drawn": high, "alpha_low_drawn": down, "alpha_high_drawn": up}
    return {name: float(value) for name, value in found.items()}
