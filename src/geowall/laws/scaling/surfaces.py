"""The whole law with a floor at every layer (Eq. 2), fitted to checkpoints where they lie, without a grid.

Each checkpoint enters at its own width and L0, so nothing is interpolated and every error counts once. The
interval is a bootstrap over checkpoints: each draw weighs them anew, as if others had been trained.

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

from geowall.laws.scaling import uncertainty
from geowall.laws.scaling.floors import NO_FLOOR, Fits, surface
from geowall.laws.scaling.sources import ks_of
from geowall.laws.scaling.sparsity import GROUP

WIDTHS, SPARE = 4, 2  # a surface needs four widths, and two checkpoints more than its six parameters


def surfaces(
    checkpoints: pd.DataFrame, ks: Sequence[float], n_bootstrap: int = 200, seed: int = 0
) -> pd.DataFrame:
    """Fit the six parameters of Eq. 2 to every layer that has the checkpoints for it, and read it at ``ks``.

    ``low`` and ``high`` bound the floor, ``alpha_low`` and ``alpha_high`` the exponent: the middle 95 % of
    ``n_bootstrap`` draws of the checkpoints. Columns: the group, form, k, alpha_width, beta_n, beta_k, gamma,
    floor, low, high, alpha_low, alpha_high, rss, n_checkpoints, extrapolated, narrow, wide, n_widths.
    """
    made = []
    for key, own in checkpoints.groupby(GROUP, sort=True):
        widths = np.unique(own["d_sae"])
        if len(widths) < WIDTHS or len(own) < 6 + SPARE:
            continue
        weights = drawn_weights(own["d_sae"].to_numpy(), n_bootstrap, seed)
        n, l0 = (own[name].to_numpy(float) for name in ("d_sae", "l0"))
        fits = surface(n, l0, np.tile(np.log(own["nmse"].to_numpy()), (len(weights), 1)), weights=weights)
        ends = own.groupby("d_sae")["l0"].agg(["min", "max"])
        head = dict(zip(GROUP, key, strict=True)) | {"form": "with_floor_surface"} | coefficients(fits)
        tail = {"n_checkpoints": len(own), "narrow": widths[0], "wide": widths[-1], "n_widths": len(widths)}
        for k in ks_of(head["model"], ks):
            beyond = bool(k < ends["min"].max() or k > ends["max"].min())
            made.append(head | _read(fits, float(k)) | tail | {"extrapolated": beyond})
    return pd.DataFrame(made)


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
    found |= {"low": low, "high": high, "alpha_low": down, "alpha_high": up}
    return {name: float(value) for name, value in found.items()}
