"""Architectures compared at one sparsity: error against L0 along each one's own penalty, where they meet.

Losses of different penalties cannot be compared, and a ReLU autoencoder at one penalty has not the sparsity
of a TopK one at one k. What can be compared is the error at the same number of active latents. Errors are
interpolated along a seed's own sweep, log mse in log L0, and never beyond it.

>>> rows = {"architecture": "relu", "seed": 0, "l0": [1.0, 4.0], "mse": [0.4, 0.1]}
>>> sweep = pd.DataFrame(rows).assign(manifold="sphere", d=3, thickness=0.0, penalty="l1=0.1", n_latents=8)
>>> matched(sweep, [2.0, 8.0])[["l0", "mse", "n_seeds"]].round(3).values.tolist()
[[2.0, 0.2, 1.0]]
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from geowall.manifolds import Shell
from geowall.sae.curves import labels, rule, trained
from geowall.sae.schedule import Member

FAMILY = ["manifold", "d", "thickness", "n_latents", "architecture", "kind"]
COLUMNS = [
    "manifold",
    "d",
    "thickness",
    "architecture",
    "penalty",
    "n_latents",
    "seed",
    "l0",
    "mse",
    "fvu",
    "live",
]


def penalty_sweep(
    rules: Sequence[str],
    d: int,
    thicknesses: Sequence[float],
    n_latents: int,
    seeds: Sequence[int],
    **training: object,
) -> pd.DataFrame:
    """A row for each autoencoder of one width, on every shell, with every rule and seed: ``COLUMNS``."""
    members = [
        Member(Shell(d, t), n_latents, rule(text), s) for t in thicknesses for text in rules for s in seeds
    ]
    named = pd.DataFrame([labels(member) for member in members])
    table = trained(members, training).table[["n_latents", "seed", "l0", "mse", "fvu", "live"]]
    return pd.concat([named, table], axis=1)[COLUMNS]


def matched(sweep: pd.DataFrame, l0s: Sequence[float]) -> pd.DataFrame:
    """Error of each architecture at given L0, where at least one seed's sweep reaches it.

    Columns: ``FAMILY`` (``kind`` is the penalty that was swept: l1, l0 or k), l0, mse, low, high (median and
    extremes over seeds), n_seeds.
    """
    rows = []
    families = sweep.assign(kind=sweep["penalty"].str.split("=").str[0]).groupby(FAMILY, sort=False)
    for names, family in families:
        found = np.array([_read(run, l0s) for _, run in family.groupby("seed")])
        for l0, values in zip(l0s, found.T, strict=True):
            values = values[np.isfinite(values)]
            if len(values):
                ends = {"mse": np.median(values), "low": values.min(), "high": values.max()}
                rows.append(
                    dict(zip(FAMILY, names, strict=True)) | {"l0": l0} | ends | {"n_seeds": len(values)}
                )
    return pd.DataFrame(rows, columns=[*FAMILY, "l0", "mse", "low", "high", "n_seeds"])


def _read(run: pd.DataFrame, l0s: Sequence[float]) -> np.ndarray:
    """Error of one seed at each L0, not a number beyond its sweep; of two rules at one L0 the better."""
    curve = run[run["l0"] > 0].groupby("l0")["mse"].min()
    if curve.empty:
        return np.full(len(l0s), np.nan)
    slack = 1e-6  # k of TopK is met exactly but for rounding
    at = np.clip(l0s, curve.index[0], curve.index[-1])
    inside = np.abs(np.log(at / np.asarray(l0s))) < slack
    values = np.exp(np.interp(np.log(at), np.log(curve.index), np.log(curve.to_numpy())))
    return np.where(inside, values, np.nan)
