"""Regressions on more than one row a layer: all checkpoints at once, or the exponent at every sparsity.

Rows of one layer are not independent. Leaving out one row leaves its siblings in, and they give the layer
away; leaving out the layer does not. ``leave_out_r2`` does either, in closed form:

>>> import numpy as np
>>> rng, layer = np.random.default_rng(0), np.repeat(np.arange(10), 6)
>>> y = rng.standard_normal(10)[layer]  # nothing but the layer
>>> design = np.column_stack([np.ones(60), rng.standard_normal((10, 6))[layer]])  # and chance gives it away
>>> leave_out_r2(design, y, np.arange(60)) > 0.3, leave_out_r2(design, y, layer) < 0
(True, True)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from geowall.laws import features as feats
from geowall.laws import ols, published
from geowall.laws.groups import each_model
from geowall.laws.layers import usual_grid
from geowall.laws.scaling import sparsity
from geowall.paths import GeowallError


def leave_out_r2(
    design: Float[np.ndarray, "row column"], y: Float[np.ndarray, " row"], groups: Int[np.ndarray, " row"]
) -> float:
    """Return ``1 - SS of the errors on left-out groups / SS``; a group is left out whole.

    Raises :class:`~geowall.paths.GeowallError` when the rest does not fix the coefficients without a group.
    """
    q = ols.basis(design)
    rest, errors = ols.residuals(design, y[:, None])[:, 0], np.empty_like(y)
    for group in np.unique(groups):
        out = groups == group
        within = np.eye(out.sum()) - q[out] @ q[out].T
        if np.linalg.eigvalsh(within)[0] < 1e-9:
            why = f"the other rows do not fix the {design.shape[1]} coefficients"
            raise GeowallError(f"group {group} cannot be left out", why, "use fewer features")
        errors[out] = np.linalg.solve(within, rest[out])
    return float(1 - (errors**2).sum() / ols.total(y[:, None])[0])


def blocks(
    base: Float[np.ndarray, "row term"], z: Float[np.ndarray, "row feature"]
) -> Float[np.ndarray, "row column"]:
    """Return the base and its product with every feature: each term of the law varies with geometry."""
    return np.concatenate([base, *(base * column[:, None] for column in z.T)], axis=1)


def checkpoint_regressions(
    checkpoints: pd.DataFrame, layers: pd.DataFrame, hypotheses: Sequence[str],
    clip_percentiles: Sequence[float] = feats.CLIP_PERCENTILES,
) -> pd.DataFrame:  # fmt: skip
    """Predict the log error of every checkpoint from width, sparsity and the geometry of its layer.

    ``log L`` on ``[1, log n, log k, log n log k]`` (``none``), and that block again times each transformed
    feature (Zaher 2026, app. D). Takes JumpReLU at matched budgets. Columns: source, model, features, n_rows,
    n_layers, n_terms, r2, row_r2 (left-out checkpoints), layer_r2 (left-out layers).
    """
    grid = usual_grid(sparsity.usable(checkpoints))
    return _pooled(grid.assign(value=np.log(grid["nmse"]), n=np.log(grid["d_sae"]), k=np.log(grid["l0"])),
                   layers, hypotheses, ["n", "k"], clip_percentiles)  # fmt: skip


def curve_regressions(
    layers: pd.DataFrame, ks: dict[str, Sequence[float]], hypotheses: Sequence[str],
    clip_percentiles: Sequence[float] = feats.CLIP_PERCENTILES,
) -> pd.DataFrame:  # fmt: skip
    """Predict the exponent at all ``ks`` (of each source) at once, on ``[1, log k]`` times the features.

    The exponent is linear in ``log k`` at each layer, so the rows of a layer are two numbers in disguise.
    Columns as in :func:`checkpoint_regressions`.
    """
    made = []
    for source, own in layers.groupby("source", sort=False):
        rows = [own.assign(value=published.alpha_at(own, k), k=np.log(k)) for k in ks[source]]
        long = pd.concat(rows)[["source", "model", "layer", "value", "k"]]
        made.append(_pooled(long, own, hypotheses, ["k"], clip_percentiles))
    return pd.concat(made, ignore_index=True)


def _pooled(
    rows: pd.DataFrame, layers: pd.DataFrame, hypotheses: Sequence[str], base: Sequence[str],
    clip_percentiles: Sequence[float],
) -> pd.DataFrame:  # fmt: skip
    made = []
    for key, kept in each_model(layers):
        own = rows[(rows["model"] == key["model"]) & rows["layer"].isin(kept["layer"])]
        place = np.searchsorted(kept["layer"].to_numpy(), own["layer"].to_numpy())
        y, x = own["value"].to_numpy(), own[list(base)].to_numpy()
        x = x - x.mean(axis=0)  # changes no fit, and keeps products well conditioned
        terms = np.column_stack([np.ones(len(x)), x, *([x.prod(axis=1)] if x.shape[1] > 1 else [])])
        for features in hypotheses:
            z = feats.standardise(feats.regressors(kept, features, clip_percentiles))[place]
            design = blocks(terms, z)
            row = {"source": key["source"], "model": key["model"], "features": features, "n_rows": len(y)}
            row |= {"n_layers": len(kept), "n_terms": design.shape[1]}
            row["r2"] = float(ols.r2(design, y[:, None])[0])
            row["row_r2"] = leave_out_r2(design, y, np.arange(len(y)))
            made.append(row | {"layer_r2": leave_out_r2(design, y, place)})
    return pd.DataFrame(made)
