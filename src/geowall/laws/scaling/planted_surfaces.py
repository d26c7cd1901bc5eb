"""Laws whose floor and exponent are known, on the design that was really trained, through the real fits.

Every checkpoint keeps its layer, width and L0, and gets the error of a law with a floor and noise: for
curves at one sparsity that of the lab's curves, for surfaces the larger scatter that surfaces leave, which
have to bend with sparsity too. Then the functions of the chapter go over it as over the measured table:
reading at one sparsity, filter i, profile intervals (``curve``), the surface with its profile (``surface``)
and with checkpoints drawn again (``surface_drawn``), and, where no floor is planted, the surface without one
(``no_floor``), documents and checkpoints drawn.

>>> n, l0, layer = (v.ravel() for v in np.meshgrid([64, 128, 256, 512, 1024], [6.0, 15, 35, 70], range(6)))
>>> design = pd.DataFrame({"d_sae": n, "l0": l0, "layer": layer, "source": "lab", "model": "m"})
>>> design = design.assign(site="res", architecture="jumprelu", schedule="matched", spread=0.01)
>>> found = recovered(design, 20.0, (0.004, 0.004), [0.5], [0.6], n_bootstrap=40)
>>> found.set_index(["fit", "quantity"])["bias"].abs().max() < 0.05
np.True_
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
import pandas as pd

from geowall.laws.scaling import exponents, intervals, rivals, sparsity, surfaces
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
    checkpoints: pd.DataFrame, k: float, noise: tuple[float, float], alphas: Sequence[float],
    shares: Sequence[float], ks: Sequence[float] = (10.0, 20.0), backbone: Sequence[int] = (128, 512),
    repeats: int = 1, n_bootstrap: int = 60, seed: int = 0,
) -> pd.DataFrame:  # fmt: skip
    """Plant laws on the matched JumpReLU grids of the residual stream, and look for them.

    ``noise`` is that of log errors: of curves, and of surfaces. ``ks`` and ``backbone`` are those of the
    surface without a floor. Columns: alpha_width and floor_share (planted), sigma, fit, quantity
    (``alpha_width``, ``floor``; of ``no_floor`` ``beta_n``, ``gamma``), n_curves, bias (median; of the floor
    over the error of the widest dictionary), spread (standard deviation), coverage (of the 95 % interval),
    decided (intervals that exclude zero: of floors, and of a ``gamma`` that is zero).
    """
    own = where(checkpoints, site=sparsity.STREAM, architecture="jumprelu", schedule="matched")
    own, made = own.reset_index(drop=True), []
    for alpha, share in product(alphas, shares):
        parts: dict[str, list[pd.DataFrame]] = {"curve": [], "surface": [], "no_floor": []}
        for drawn in range(seed, seed + repeats):
            cells = sparsity.cells(planted(own, k, alpha, share, noise[0], drawn), [k])
            parts["curve"].append(intervals.floors(cells[~cells["extrapolated"]]))
            table = planted(own, k, alpha, share, noise[1], drawn)
            laws = surfaces.surfaces(table, [k], n_bootstrap, drawn)
            parts["surface"].append(laws)
            if share == 0 and alpha == alphas[0]:  # straight: the exponent changes no error of the fit
                found = exponents.exponents(table, ks, backbone, n_bootstrap, drawn, laws=laws)
                parts["no_floor"].append(where(found, form="no_floor").drop_duplicates(sparsity.GROUP))
        row = {"alpha_width": alpha, "floor_share": share}
        for fit, found in parts.items():
            if found:
                row["sigma"] = noise[fit != "curve"]
                made += [row | judged for judged in _judged(pd.concat(found), fit, alpha, share)]
    return pd.DataFrame(made)


def _judged(found: pd.DataFrame, fit: str, alpha: float, share: float) -> Iterator[dict[str, object]]:
    if fit == "no_floor":
        for name, truth in (("beta_n", -alpha), ("gamma", 0.0)):
            ends = [name, f"{name}_low", f"{name}_high"]
            yield {"fit": fit, "quantity": name} | _counted(found[ends].to_numpy(), truth, name)
        return
    for suffix in ("", "_drawn") if fit == "surface" else ("",):
        floor = found[["floor", f"low{suffix}", f"high{suffix}"]].to_numpy() / LEVEL
        exponent = found[["alpha_width", f"alpha_low{suffix}", f"alpha_high{suffix}"]].to_numpy()
        for quantity, values, truth in (("floor", floor, share), ("alpha_width", exponent, alpha)):
            yield {"fit": fit + suffix, "quantity": quantity} | _counted(values, truth, quantity)


def _counted(values: np.ndarray, truth: float, quantity: str) -> dict[str, object]:
    """Compare estimates and their intervals, rows of ``values``, with the truth."""
    slack = NONE if quantity == "floor" else 0.0
    held = (values[:, 1] <= truth + slack) & (values[:, 2] >= truth - slack)
    decided = {"floor": values[:, 1] > NONE, "gamma": (values[:, 1] > 0) | (values[:, 2] < 0)}
    return {
        "n_curves": len(values), "bias": float(np.median(values[:, 0] - truth)),
        "spread": float(values[:, 0].std()), "coverage": float(held.mean()),
        "decided": float(decided[quantity].mean()) if quantity in decided else float("nan"),
    }  # fmt: skip


def told_apart(
    checkpoints: pd.DataFrame, k: float, sigma: float, alphas: Sequence[float], shares: Sequence[float],
    seed: int = 0,
) -> pd.DataFrame:  # fmt: skip
    """Plant laws as :func:`recovered` does, and ask at how many layers a form that stops fits best.

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
