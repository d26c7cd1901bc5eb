"""Width exponents of every layer without a floor: the chord between two widths, and the surface.

>>> import pandas as pd
>>> one = {"source": "lab", "model": "m", "layer": 0, "site": "res", "architecture": "topk"}
>>> rows = [{"d_sae": n, "l0": l0, "nmse": n**-0.3 / l0, "spread": 0.0} for n in (64, 256) for l0 in (8, 32)]
>>> table = pd.DataFrame(rows).assign(**one, schedule="matched")
>>> found = exponents(table, [10.0, 20.0], backbone=[64, 256], n_bootstrap=1)
>>> found[["form", "k", "alpha_width"]].round(3).head(2).to_numpy().tolist()
[['secant', 10.0, 0.3], ['secant', 20.0, 0.3]]
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from geowall.laws.scaling import surface, uncertainty
from geowall.laws.scaling.grid import Grid, of_layers
from geowall.laws.scaling.sources import backbone_of

BOUNDS = ("beta_n_low", "beta_n_high", "gamma_low", "gamma_high")


def exponents(
    checkpoints: pd.DataFrame,
    ks: Sequence[float],
    backbone: Sequence[int],
    n_bootstrap: int = 200,
    seed: int = 0,
    reach: float = 1.25,
    laws: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Return the no-floor exponents of every layer and grid at every ``k``, with 95 % intervals.

    ``form`` is ``secant`` (two backbone widths at one ``k``, Eq. 16), ``no_floor`` (the surface of Eq. 6 on
    these two widths, the paper's way) or ``no_floor_all`` (the surface on all widths). ``extrapolated`` says
    that a width was read beyond its checkpoints at this ``k``. Models of the paper are read between the
    paper's two widths, whatever is asked for. ``low`` and ``high`` bound the exponent with the documents
    drawn again; ``beta_n_low`` to ``gamma_high`` bound the coefficients of a surface with documents and
    checkpoints drawn, where ``laws``, the fitted surfaces with a floor, say how far checkpoints stray.
    Columns: the group, form, k, alpha_width, beta_n, beta_k, gamma, low, high, beta_n_low, beta_n_high,
    gamma_low, gamma_high, narrow, wide, n_widths, n_checkpoints, extrapolated.
    """
    asked = {"ks": ks, "n_bootstrap": n_bootstrap, "seed": seed, "reach": reach}
    made, bounds = (
        [],
        {} if laws is None else _bounds(uncertainty.scattered(checkpoints, laws), asked, backbone),
    )
    for key, grid in of_layers(checkpoints, **asked):
        pair = backbone_of(key["model"], backbone)
        for row in (*_secants(grid, pair), *_surfaces(grid, pair)):
            ends = bounds.get((*key.values(), row["form"]), dict.fromkeys(BOUNDS, float("nan")))
            made.append(key | row | ends)
    return pd.DataFrame(made)


def _bounds(
    checkpoints: pd.DataFrame, asked: dict[str, object], backbone: Sequence[int]
) -> dict[tuple[object, ...], dict[str, float]]:
    """Return the ends of ``beta_n`` and ``gamma`` of every layer and form: all drawn again."""
    made = {}
    known = checkpoints[checkpoints["scatter"].notna()]
    for key, grid in of_layers(known, **asked, drawn=uncertainty.log_draws_of_checkpoints):
        for form, used in _sets(grid, backbone_of(key["model"], backbone)).items():
            theta = _theta(grid, form, used)
            if theta is not None:
                ends = np.ravel([uncertainty.middle(theta[1:, i]) for i in (1, 3)])
                made[(*key.values(), form)] = dict(zip(BOUNDS, ends.tolist(), strict=True))
    return made


def _secants(grid: Grid, backbone: Sequence[int]) -> Iterator[dict[str, object]]:
    pair = grid.backbone(backbone)
    if pair is None:
        return
    narrow, wide = grid.widths[list(pair)]
    for j, k in enumerate(grid.ks):
        alphas = surface.secant(*grid.log_error[list(pair), j], wide / narrow)
        if np.isfinite(alphas[0]):
            yield _row(grid, list(pair), "secant", j, k, alphas)


def _surfaces(grid: Grid, backbone: Sequence[int]) -> Iterator[dict[str, object]]:
    for form, used in _sets(grid, backbone).items():
        theta = _theta(grid, form, used)
        if theta is None:
            continue
        for j, at in enumerate(grid.ks):
            if grid.reached(at)[used].sum() > 1:
                coefficients = dict(zip(("beta_n", "beta_k", "gamma"), theta[0, 1:].tolist(), strict=True))
                yield _row(grid, used, form, j, at, surface.alpha_at(theta, at)) | coefficients


def _sets(grid: Grid, backbone: Sequence[int]) -> dict[str, list[int]]:
    """Return the places of the widths behind each form of the surface."""
    pair = grid.backbone(backbone)
    return {"no_floor": list(pair) if pair else [], "no_floor_all": list(range(len(grid.widths)))}


def _theta(grid: Grid, form: str, used: list[int]) -> np.ndarray | None:
    """Return the surface's coefficients in every draw; None where too few cells are within checkpoints."""
    cells = grid.measured[used]
    if form == "no_floor":  # a full grid, so that the surface has the slope of the chord
        cells = cells & cells.all(axis=0)
    if (cells.sum(axis=1) > 1).sum() < 2:
        return None
    width, k = np.nonzero(cells)
    n = grid.widths[used][width].astype(float)
    return surface.fit(n, grid.ks[k], grid.log_error[used][width, k].T)


def _row(grid: Grid, used: list[int], form: str, j: int, k: float, alphas: np.ndarray) -> dict[str, object]:
    drawn = alphas[1:] if len(alphas) > 1 else alphas
    low, high = uncertainty.middle(drawn)
    nothing = dict.fromkeys(("beta_n", "beta_k", "gamma"), float("nan"))
    ends = {"low": float(low), "high": float(high)}
    widths = {"narrow": int(grid.widths[used[0]]), "wide": int(grid.widths[used[-1]]), "n_widths": len(used)}
    counts = {"n_checkpoints": int(grid.n_checkpoints[used].sum())}
    beyond = {"extrapolated": bool(not grid.measured[used, j].all())}
    return (
        {"form": form, "k": float(k), "alpha_width": float(alphas[0])}
        | nothing
        | ends
        | widths
        | counts
        | beyond
    )
