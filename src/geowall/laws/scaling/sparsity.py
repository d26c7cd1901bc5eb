"""Errors at a common sparsity: between the checkpoints of one width, and never silently beyond them.

Autoencoders are trained at a penalty and end at some L0. To compare widths at ``k`` active latents, ``log L``
is interpolated in ``log L0`` by a monotone cubic (Zaher 2026, section 3). A power law is a straight line
there, so it comes back exactly:

>>> import numpy as np
>>> l0 = np.array([5.0, 12.0, 40.0])
>>> value, beyond = log_errors(np.log(l0), np.log(0.9 / l0), [20, 50])
>>> np.exp(value).round(4).tolist(), beyond.tolist()
([0.045, 0.018], [False, True])
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from scipy.interpolate import PchipInterpolator

from geowall.laws.scaling.sources import LAB, ks_of, named
from geowall.paths import GeowallError

GROUP = ["source", "model", "layer", "site", "architecture", "schedule"]
STREAM = "res"  # the site that every source has: the residual stream after a block
NORMAL = 1.959964  # half-widths of a 95 % interval to a standard deviation


def usable(checkpoints: pd.DataFrame) -> pd.DataFrame:
    """Return the measured checkpoints, one for each set of weights in a grid, with ``source`` and ``spread``.

    Source and model are those of :func:`geowall.laws.scaling.sources.named`.

    ``spread`` is the standard deviation of ``log nmse`` over documents drawn again, from the interval
    ``nmse_low`` to ``nmse_high``. The same autoencoder may belong to two schedules; it stays in both.
    """
    kept = named(checkpoints[checkpoints["status"] == "measured"])
    kept["spread"] = np.log(kept["nmse_high"] / kept["nmse_low"]) / (2 * NORMAL)
    kept = kept.drop_duplicates([*GROUP, "d_sae", "weights"]).drop_duplicates([*GROUP, "d_sae", "l0"])
    return kept.sort_values([*GROUP, "d_sae", "l0"], ignore_index=True)


def sparse(checkpoints: pd.DataFrame, l0_most: float) -> pd.DataFrame:
    """Return the checkpoints without those of the lab that have more than ``l0_most`` active latents."""
    return checkpoints[(checkpoints["source"] != LAB) | (checkpoints["l0"] <= l0_most)]


def by_width(checkpoints: pd.DataFrame) -> Iterator[tuple[dict[str, object], pd.DataFrame]]:
    """Yield the checkpoints of every layer, grid and width that has at least two, by rising L0."""
    for key, group in checkpoints.groupby([*GROUP, "d_sae"], sort=True):
        if len(group) > 1:
            yield dict(zip([*GROUP, "d_sae"], key, strict=True)), group.sort_values("l0")


def log_errors(
    log_l0: Float[np.ndarray, " checkpoint"],
    log_error: Float[np.ndarray, " checkpoint *draw"],
    ks: Sequence[float],
) -> tuple[Float[np.ndarray, " k *draw"], Bool[np.ndarray, " k"]]:
    """Return ``log L`` at each of ``ks`` and whether that lies beyond the checkpoints.

    Beyond the last checkpoint on either side the curve goes on along its tangent, and says so.
    """
    at = np.log(np.asarray(ks, dtype=float))
    inside = np.clip(at, log_l0[0], log_l0[-1])
    curve = PchipInterpolator(log_l0, log_error, axis=0)
    steps = (at - inside).reshape(-1, *[1] * (np.ndim(log_error) - 1))
    return curve(inside) + steps * curve.derivative()(inside), at != inside


def cells(checkpoints: pd.DataFrame, ks: Sequence[float], reach: float = 1.25) -> pd.DataFrame:
    """Return the error of every layer, grid and width at every ``k``.

    Columns: those of ``GROUP``, d_sae, k, nmse, extrapolated, n_checkpoints. A ``k`` beyond the
    checkpoints marks its row; one more than ``reach`` times beyond them has none. Models of the paper are
    read at the paper's sparsities, whatever is asked for.
    """
    made = []
    for key, group in by_width(checkpoints):
        wanted = ks_of(key["model"], ks)
        log_l0, at = np.log(group["l0"].to_numpy()), np.log(np.asarray(wanted, dtype=float))
        values, beyond = log_errors(log_l0, np.log(group["nmse"].to_numpy()), wanted)
        near = np.abs(at - np.clip(at, log_l0[0], log_l0[-1])) <= np.log(reach)
        rows = {"k": wanted, "nmse": np.exp(values), "extrapolated": beyond, "n_checkpoints": len(group)}
        made.append(pd.DataFrame(key | rows)[near])
    if not made:
        raise GeowallError(
            "no width can be read at a common sparsity",
            "no layer and width has two checkpoints",
            "measure autoencoders at two penalties or more",
        )
    return pd.concat(made, ignore_index=True)


def leave_one_out(checkpoints: pd.DataFrame) -> pd.DataFrame:
    """Predict every checkpoint that has neighbours on both sides from the others of its width.

    Columns: those of ``GROUP``, d_sae, l0, nmse, predicted, log_error, deviation (standard, of ``log nmse``
    over the checkpoints of the width). Needs three checkpoints a width.
    """
    made = []
    for key, group in by_width(checkpoints):
        x, y = np.log(group["l0"].to_numpy()), np.log(group["nmse"].to_numpy())
        for i in range(1, len(x) - 1):
            value, _ = log_errors(np.delete(x, i), np.delete(y, i), [np.exp(x[i])])
            row = {"l0": np.exp(x[i]), "nmse": np.exp(y[i]), "predicted": float(np.exp(value[0]))}
            made.append(key | row | {"log_error": float(value[0] - y[i]), "deviation": y.std()})
    return pd.DataFrame(made)


def coverage(checkpoints: pd.DataFrame, ks: Sequence[float]) -> pd.DataFrame:
    """Return how many layers and widths of each grid have checkpoints on both sides of each ``k``.

    Columns: model, architecture, schedule, k, n_cells, n_inside, l0_from and l0_to (the range that all widths
    and layers of the grid share).
    """
    grid = ["model", "architecture", "schedule"]
    ends = checkpoints.groupby([*grid, "layer", "d_sae"])["l0"].agg(["min", "max"])
    made = []
    for key, own in ends.groupby(grid):
        row = dict(zip(grid, key, strict=True))
        row |= {"n_cells": len(own), "l0_from": own["min"].max(), "l0_to": own["max"].min()}
        for k in ks:
            made.append(row | {"k": k, "n_inside": int(((own["min"] <= k) & (own["max"] >= k)).sum())})
    return pd.DataFrame(made)[[*grid, "k", "n_cells", "n_inside", "l0_from", "l0_to"]]


def chosen_k(covered: pd.DataFrame, asked: int = 0) -> int:
    """Return the ``k`` at which laws are read: ``asked``, or where the fewest cells need extrapolation.

    One ``k`` serves all models, so that exponents compare. Of equally good ones it is the middle one.

    >>> covered = pd.DataFrame({"k": [8, 16, 20, 25, 40], "n_cells": 9, "n_inside": [7, 9, 9, 9, 4]})
    >>> chosen_k(covered), chosen_k(covered, asked=16)
    (20, 16)
    """
    if asked:
        return asked
    outside = (covered["n_cells"] - covered["n_inside"]).groupby(covered["k"]).sum()
    best = outside.index[outside == outside.min()]
    return int(best[(len(best) - 1) // 2])
