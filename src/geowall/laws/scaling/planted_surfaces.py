"""Surfaces whose floor and exponent are known, on the design that was really trained, through the real fits.

Every checkpoint keeps its layer, width and L0, and gets the error of a law with a floor, with the noise that
curves of the lab have. Then the functions of the chapter go over it as over the measured table: reading at
one sparsity, filter i, profile intervals (``curve``), and the surface with checkpoints drawn again
(``surface``).

>>> n, l0, layer = (v.ravel() for v in np.meshgrid([64, 128, 256, 512, 1024], [6.0, 15, 35, 70], range(6)))
>>> design = pd.DataFrame({"d_sae": n, "l0": l0, "layer": layer, "source": "lab", "model": "m"})
>>> design = design.assign(site="res", architecture="jumprelu", schedule="matched", spread=0.01)
>>> found = recovered(design, 20.0, 0.004, [0.5], [0.6], n_bootstrap=40)
>>> found.set_index(["fit", "quantity"])["bias"].abs().max() < 0.05
np.True_
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
import pandas as pd

from geowall.laws.scaling import intervals, rivals, sparsity, surfaces
from geowall.laws.tables import where

LEVEL = 0.1  # noiseless error of the widest dictionary at the sparsity that is read
SLOPES = (0.6, 0.4)  # of the power law and of the floor in log k: not the same, so that shares vary with k
NONE = 1e-3  # of the error: a lower end below this holds a floor of none


def planted(
    design: pd.DataFrame, k: float, alpha: float, share: float, sigma: float, seed: int
) -> pd.DataFrame:
    """Return ``design`` with ``nmse`` of a law of exponent ``alpha`` and floor ``share * LEVEL`` at ``k``."""
    widest = design.groupby(["model", "layer"])["d_sae"].transform("max")
    u = np.log(design["l0"] / k)
    rest = LEVEL * (1 - share) * (design["d_sae"] / widest) ** -alpha * np.exp(-SLOPES[0] * u)
    clean = rest + LEVEL * share * np.exp(-SLOPES[1] * u)
    noise = np.random.default_rng(seed).standard_normal(len(design))
    return design.assign(nmse=clean * np.exp(sigma * noise))


def recovered(
    checkpoints: pd.DataFrame, k: float, sigma: float, alphas: Sequence[float], shares: Sequence[float],
    repeats: int = 1, n_bootstrap: int = 60, seed: int = 0,
) -> pd.DataFrame:  # fmt: skip
    """Plant surfaces on the matched JumpReLU grids of the residual stream, and look for them.

    ``sigma`` is the noise of log errors. Columns: alpha_width and floor_share (planted), sigma, fit
    (``curve`` or ``surface``), quantity (``alpha_width``, ``floor``), n_curves, bias (median; of the floor
    over the error of the widest dictionary), spread (standard deviation), coverage (of the 95 % interval),
    decided (floors whose interval excludes zero; empty for exponents).
    """
    own = where(checkpoints, site=sparsity.STREAM, architecture="jumprelu", schedule="matched")
    own, made = own.reset_index(drop=True), []
    for alpha, share in product(alphas, shares):
        parts: dict[str, list[pd.DataFrame]] = {"curve": [], "surface": []}
        for repeat in range(repeats):
            table = planted(own, k, alpha, share, sigma, seed + repeat)
            cells = sparsity.cells(table, [k])
            parts["curve"].append(intervals.floors(cells[~cells["extrapolated"]]))
            parts["surface"].append(surfaces.surfaces(table, [k], n_bootstrap, seed + repeat))
        row = {"alpha_width": alpha, "floor_share": share, "sigma": sigma}
        for fit, found in parts.items():
            made += [row | {"fit": fit} | judged for judged in _judged(pd.concat(found), alpha, share)]
    return pd.DataFrame(made)


def _judged(found: pd.DataFrame, alpha: float, share: float) -> Iterator[dict[str, object]]:
    floor = found[["floor", "low", "high"]].to_numpy() / LEVEL
    exponent = found[["alpha_width", "alpha_low", "alpha_high"]].to_numpy()
    for quantity, values, truth in (("floor", floor, share), ("alpha_width", exponent, alpha)):
        slack = NONE if quantity == "floor" else 0.0
        held = (values[:, 1] <= truth + slack) & (values[:, 2] >= truth - slack)
        yield {
            "quantity": quantity, "n_curves": len(values), "bias": float(np.median(values[:, 0] - truth)),
            "spread": float(values[:, 0].std()), "coverage": float(held.mean()),
            "decided": float((values[:, 1] > NONE).mean()) if quantity == "floor" else float("nan"),
        }  # fmt: skip


def told_apart(
    checkpoints: pd.DataFrame, k: float, sigma: float, alphas: Sequence[float], shares: Sequence[float],
    seed: int = 0,
) -> pd.DataFrame:  # fmt: skip
    """Plant surfaces as :func:`recovered` does, and ask at how many layers a form that stops fits best.

    Columns: alpha_width and floor_share (planted), sigma, criterion (``aic``, ``aicc``), n_curves (layers),
    decided (share of them where the best form is one of those that stop).
    """
    own = where(checkpoints, site=sparsity.STREAM, architecture="jumprelu", schedule="matched")
    own, made = own.reset_index(drop=True), []
    for alpha, share in product(alphas, shares):
        kinds = rivals.families(rivals.rivals(planted(own, k, alpha, share, sigma, seed)))
        for criterion, rows in kinds.groupby("criterion"):
            row = {"alpha_width": alpha, "floor_share": share, "sigma": sigma, "criterion": criterion}
            made.append(row | {"n_curves": len(rows), "decided": float((rows["gap"] > 0).mean())})
    return pd.DataFrame(made)
