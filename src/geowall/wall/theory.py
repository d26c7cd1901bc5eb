"""Curvature in the prefactor, dimension in the exponent? What covering a manifold would look like.

If n cells of a d-dimensional manifold of curvature kappa are each rebuilt by a flat patch, the squared error
goes as kappa^2 n^(-4/d); if by a single atom each, as n^(-2/d). Either way

    log L(n) = const + a log kappa - b (1/d) log n,      alpha = b / d,

with a = 2, b = 4 (patches) or a = 0, b = 2 (atoms). Made so, the regression finds it:

>>> d, kappa = np.linspace(5, 25, 12), np.geomspace(0.1, 0.3, 12)[::-1] ** np.array([1, 2] * 6)
>>> made = pd.DataFrame({"source": "toy", "model": "m", "layer": range(12), "d_int": d, "kappa_ms": kappa})
>>> made["alpha_width"], made["log_level"] = 4 / d, 2 * np.log(kappa) - 4 / d * 5.0
>>> found = regress(made.assign(log_width=5.0, log_prefactor=2 * np.log(kappa)), n_bootstrap=20)
>>> found.set_index(["target", "term"])["slope"].round(2).to_dict()[("alpha_width", "1/d_int")]
4.0
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from geowall.laws import baselines, bootstrap, ols
from geowall.wall.cells import Cell

TARGETS = ("log_level", "log_prefactor", "alpha_width")
TERMS = ("log kappa_ms", "1/d_int")


def laws_of(cells: Sequence[Cell], source: str) -> pd.DataFrame:
    """The plain power law of every cell whose geometry is known, read in the middle of its widths.

    Columns: source, model, layer, alpha_width, log_prefactor (log A, the error of one latent by
    extrapolation), log_level (log error at the middle width), log_width (of that width), d_int, kappa_ms.
    """
    made = []
    for cell in cells:
        if len(cell.widths) < 2 or not all(cell.geometry.get(name, 0) > 0 for name in ("d_int", "kappa_ms")):
            continue
        slope, level = np.polyfit(cell.x - cell.x.mean(), cell.y, 1)
        row = {"source": source, "model": cell.model, "layer": cell.layer, "alpha_width": -slope}
        row |= {
            "log_prefactor": level - slope * cell.x.mean(),
            "log_level": level,
            "log_width": cell.x.mean(),
        }
        made.append(row | {name: cell.geometry[name] for name in ("d_int", "kappa_ms")})
    return pd.DataFrame(made)


def regress(
    table: pd.DataFrame,
    n_bootstrap: int = 1000,
    block_length: int = 5,
    seed: int = 0,
    depth: bool = False,
) -> pd.DataFrame:
    """Regress level, prefactor and exponent on log curvature and on 1/d together, model by model.

    ``depth`` puts a curve in depth beside both. Columns: source, model, k, target, term, slope, low, high
    (95 %, blocks of layers), partial (correlation at equal other term), partial_low, partial_high, patches,
    atoms (the slope that either picture wants), n_layers.
    """
    made = []
    for (source, model), rows in table.groupby(["source", "model"], sort=False):
        rows = rows.sort_values("layer")
        x = np.column_stack([np.log(rows["kappa_ms"]), 1 / rows["d_int"]])
        layer = rows["layer"].to_numpy(float)
        beside = np.column_stack([np.log(layer + 1), layer]) if depth else np.empty((len(rows), 0))
        k = float(rows["k"].iloc[0]) if "k" in rows else np.nan
        picks = bootstrap.rows(len(rows), "block", n_bootstrap, min(block_length, len(rows)), seed)
        picks = np.concatenate([np.arange(len(rows))[None], picks])
        wanted = _wanted(float(rows["log_width"].mean()))
        for target in TARGETS:
            y = rows[target].to_numpy(float)
            for term, found in zip(TERMS, _fit(x, y, picks, beside), strict=True):
                own = {"source": source, "model": model, "k": k, "target": target, "term": term}
                patches, atoms = wanted[target, term]
                made.append(own | found | {"patches": patches, "atoms": atoms, "n_layers": len(rows)})
    return pd.DataFrame(made)


def controls(
    table: pd.DataFrame,
    dropped: Sequence[int] = (0, 4),
    n_bootstrap: int = 1000,
    block_length: int = 5,
    seed: int = 0,
) -> pd.DataFrame:
    """The exponent's regression again at equal depth, and without each model's first layers.

    Columns: those of :func:`regress`, with given (``none``, or ``depth``: log(layer + 1) and layer stand
    beside both terms) and dropped_layers.
    """
    made = []
    for q in dropped:
        for given in ("none", "depth"):
            kept = table[table["layer"] >= q]
            rows = regress(kept, n_bootstrap, block_length, seed, depth=given == "depth")
            rows = rows[rows["target"] == "alpha_width"]
            made.append(rows.assign(given=given, dropped_layers=q))
    return pd.concat(made, ignore_index=True)


def _wanted(log_width: float) -> dict[tuple[str, str], tuple[float, float]]:
    curvature, dimension = TERMS
    return {
        ("log_level", curvature): (2.0, 0.0),
        ("log_level", dimension): (-4.0 * log_width, -2.0 * log_width),
        ("log_prefactor", curvature): (2.0, 0.0),
        ("log_prefactor", dimension): (0.0, 0.0),
        ("alpha_width", curvature): (0.0, 0.0),
        ("alpha_width", dimension): (4.0, 2.0),
    }


def _fit(x: np.ndarray, y: np.ndarray, picks: np.ndarray, beside: np.ndarray) -> list[dict[str, float]]:
    design = np.concatenate([np.ones((len(x), 1)), x, beside], axis=1)[picks]
    slopes = ols.coefficients(design, y[picks][..., None])[..., 0]
    found = []
    for term in (0, 1):
        others = np.delete(design, term + 1, axis=-1)
        with np.errstate(invalid="ignore", divide="ignore"):
            r = baselines.correlation(
                baselines.unexplained(x[:, term][picks], others), baselines.unexplained(y[picks], others)
            )
        ends, sides = (np.nanquantile(v[1:], [0.025, 0.975]) for v in (slopes[:, term + 1], r))
        row = {"slope": float(slopes[0, term + 1]), "low": float(ends[0]), "high": float(ends[1])}
        row |= {"partial": float(r[0]), "partial_low": float(sides[0]), "partial_high": float(sides[1])}
        found.append(row)
    return found
