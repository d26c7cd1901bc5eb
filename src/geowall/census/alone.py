"""Manifolds by themselves, with intervals: L_i(n), its exponent, and how far that is from a Gaussian's.

Every curve is measured once on the documents as they are (``draw`` 0) and again on documents drawn with
replacement, the Gaussian twin made afresh each time and every autoencoder trained anew. So what the draws
scatter by holds both the text and the training, and a difference is taken within a draw, between clouds of
the same documents. Of the trainings of one draw the best counts, since L_i(n) is a minimum. An interval is
the first draw's value and Student's quantile times the standard deviation of the others:

>>> around(np.array([1.0, 0.9, 1.1, 1.0])).round(2).tolist()
[0.57, 1.43]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from scipy.stats import t as student
from torch import Tensor

from geowall.census import manifolds
from geowall.census.manifolds import Manifold
from geowall.sae.scaling import fit_curve
from geowall.sae.schedule import derive

STARTS = 2  # trainings of each autoencoder, the better one counts
CURVE = ["layer", "manifold", "setting", "architecture"]


def losses(
    x: Float[Tensor, "token d_model"],
    found: Mapping[str, Manifold],
    documents: Int[np.ndarray, " token"],
    n_latents: Sequence[int],
    rules: Sequence[str],
    n_draws: int,
    steps: int,
    seed: int,
) -> pd.DataFrame:
    """L_i(n) of the clouds of some manifolds, on the documents as they are and on ``n_draws`` draws of them.

    Columns: manifold, setting, architecture, n_latents, draw, loss (the best of the starts), l0.
    """
    parts = []
    for draw in range(n_draws + 1):
        own = derive(seed, "alone", draw)
        rows = np.arange(len(x)) if draw == 0 else drawn(documents, own)
        seen = {}
        for name, manifold in found.items():
            again = replace(manifold, bins=manifold.bins[rows])
            each = manifolds.clouds(x[rows], again, derive(own, "gaussian", name))
            seen |= {(name, setting): cloud for setting, cloud in each.items()}
        seeds = [derive(own, "start", i) for i in range(STARTS)]
        table = manifolds.isolated(seen, n_latents, rules, seeds, steps)
        cell = table.groupby(["manifold", "setting", "architecture", "n_latents"], sort=False)
        parts.append(cell.agg(loss=("loss", "min"), l0=("l0", "mean")).reset_index().assign(draw=draw))
    return pd.concat(parts, ignore_index=True)


def drawn(documents: Int[np.ndarray, " token"], seed: int) -> Int[np.ndarray, " row"]:
    """Tokens of as many documents as there are, drawn with replacement."""
    names, inverse = np.unique(documents, return_inverse=True)
    counts = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)))
    return np.repeat(np.arange(len(documents)), counts[inverse])


def around(values: Float[np.ndarray, " draw"]) -> Float[np.ndarray, 2]:
    """Ends of a 95 % interval about the first of the draws, from the scatter of the others."""
    others = np.asarray(values, float)[1:]
    if len(others) < 2:
        return np.full(2, np.nan)
    half = student.ppf(0.975, len(others) - 1) * others.std(ddof=1)
    return values[0] + half * np.array([-1.0, 1.0])


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """A row for each curve and width of a table of :func:`losses`: loss, low, high, l0."""
    parts = []
    for own, cell in table.groupby([*CURVE, "n_latents"], sort=False):
        cell = cell.sort_values("draw")
        low, high = np.exp(around(np.log(cell["loss"].to_numpy())))
        row = dict(zip([*CURVE, "n_latents"], own, strict=True)) | {"loss": cell["loss"].iloc[0]}
        parts.append(row | {"low": low, "high": high, "l0": cell["l0"].iloc[0]})
    return pd.DataFrame(parts)


def exponents(table: pd.DataFrame) -> pd.DataFrame:
    """Exponents of the clouds of a table of :func:`losses` from twice the dimension on.

    The curve has none where it is a handful of points. Columns: CURVE, beta (of L) with low and high,
    beta_excess (of L over the floor that makes it straightest), floor, n_saturation.
    """
    parts = []
    for own, curve in _fitted(table).groupby(CURVE, sort=False):
        betas = _betas(curve)
        if len(betas):
            fit = fit_curve(curve[curve["draw"] == 0].assign(seed=0), draws=2)
            low, high = around(betas)
            row = dict(zip(CURVE, own, strict=True)) | {"beta": betas[0], "low": low, "high": high}
            parts.append(row | {name: fit[name] for name in ("beta_excess", "floor", "n_saturation")})
    return pd.DataFrame(parts)


def differences(table: pd.DataFrame) -> pd.DataFrame:
    """How much faster the tokens' curves fall than their Gaussian twins', draw by draw.

    Columns: layer, manifold, architecture, beta (of the tokens), beta_gaussian, difference, low, high.
    """
    parts, names = [], ["layer", "manifold", "architecture"]
    for own, pair in _fitted(table).groupby(names, sort=False):
        tokens, twin = (_betas(pair[pair["setting"] == setting]) for setting in ("tokens", "gaussian"))
        if len(tokens) and len(twin):
            low, high = around(tokens - twin)
            row = dict(zip(names, own, strict=True)) | {"beta": tokens[0], "beta_gaussian": twin[0]}
            parts.append(row | {"difference": tokens[0] - twin[0], "low": low, "high": high})
    return pd.DataFrame(parts)


def _fitted(table: pd.DataFrame) -> pd.DataFrame:
    clouds = table["setting"].isin(["tokens", "gaussian"])
    return table[clouds & (table["n_latents"] >= 2 * manifolds.DIMENSIONS)]


def _betas(curve: pd.DataFrame) -> Float[np.ndarray, " draw"]:
    """The exponent of each draw, the documents as they are first; none for fewer than three widths."""
    wide = curve.pivot_table(index="draw", columns="n_latents", values="loss", sort=True)
    if wide.shape[1] < 3:
        return np.zeros(0)
    x = np.log(wide.columns.to_numpy(float))
    return -np.polyfit(x, np.log(wide.to_numpy()).T, 1)[0]
