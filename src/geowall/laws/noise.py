"""What errors of the exponents do to a regression on them: intervals, weights, and the ceiling they set.

The exponents of a layer are estimates. With standard errors ``s`` around true exponents, no law can explain
more of the measured ones than the share of their variance that is not error. Where no errors are given, the
wobble of the exponent from layer to layer bounds them: it is at most all error.

>>> import numpy as np
>>> ceiling(np.array([0.1, 0.2, 0.3, 0.4]), np.full(4, 0.05)) > 0.8
True
>>> wobble(np.array([0.0, 1.0, 2.0, 3.0])), wobble(np.array([0.0, 1.0, 0.0, 1.0])) > 1
(0.0, True)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float

from geowall.laws import bootstrap, ols
from geowall.laws import features as feats
from geowall.laws.groups import each_model, label_of, regression_of


def ceiling(y: Float[np.ndarray, " layer"], se: Float[np.ndarray, " layer"]) -> float:
    """Return the share of the variance of ``y`` over layers that is not its own error; negative if none."""
    return float(1 - (se**2).mean() / y.var(ddof=1))


def wobble(y: Float[np.ndarray, " layer"]) -> float:
    """Return the standard deviation of independent errors that would explain the second differences of ``y``.

    From the median of their size, so that a few sharp bends of the true curve do not count as error.
    """
    return float(1.4826 * np.median(np.abs(np.diff(y, 2))) / np.sqrt(6))


def _errors(kept: pd.DataFrame, y: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Yield every kind of error that is known of a model's exponents."""
    if "alpha_se" in kept and kept["alpha_se"].notna().all():
        yield "documents", kept["alpha_se"].to_numpy(dtype=float)
    yield "wobble", np.full(len(y), wobble(y))


def with_errors(
    layers: pd.DataFrame,
    target: str,
    hypotheses: Sequence[str],
    n_draws: int = 500,
    clip_percentiles: Sequence[float] = feats.CLIP_PERCENTILES,
    seed: int = 0,
) -> pd.DataFrame:
    """Repeat every regression on exponents drawn anew from their errors, and once weighted by them.

    ``errors`` says which: ``documents``, the column ``alpha_se`` where it is there, or ``wobble``
    (:func:`wobble`). Draws add a second error to the one that is there already, so they lie lower by about as
    much as the value lies below that of true exponents. Columns: source, model, target, features, n_layers,
    errors, se (median), statistic (r2, loo_r2), value, low, high (95 % of the draws), weighted (the same with
    layers weighted by ``1 / se^2``), ceiling (:func:`ceiling`).
    """
    made = []
    for key, kept in each_model(layers):
        for features in hypotheses:
            design, y = regression_of(kept, target, features, clip_percentiles)
            for errors, se in _errors(kept, y):
                noise = np.random.default_rng(seed).standard_normal((n_draws, len(y)))
                drawn = _statistics(design, np.column_stack([y, (y + se * noise).T]), np.ones_like(y))
                weighted = _statistics(design, y[:, None], 1 / np.maximum(se, 1e-12))
                row = key | {
                    "target": label_of(target, kept),
                    "features": features,
                    "n_layers": len(y),
                    "errors": errors,
                }
                row |= {"se": float(np.median(se))}
                for statistic, values in drawn.items():
                    low, high = bootstrap.middle(values[1:])
                    found = {"statistic": statistic, "value": float(values[0]), "low": low, "high": high}
                    found |= {"weighted": float(weighted[statistic][0]), "ceiling": ceiling(y, se)}
                    made.append(row | found)
    return pd.DataFrame(made).drop(columns="dropped_layers")


def _statistics(
    design: Float[np.ndarray, "layer column"],
    y: Float[np.ndarray, "layer draw"],
    root_weight: Float[np.ndarray, " layer"],
) -> dict[str, Float[np.ndarray, " draw"]]:
    """Return R2 in sample and on left-out layers of a fit with the squares of ``root_weight`` as weights."""
    root = (root_weight / root_weight.mean())[:, None]
    x, z = design * root, y * root
    total = (ols.residuals(root, z) ** 2).sum(axis=0)  # about the weighted mean
    inside, outside = ols.residuals(x, z), ols.loo_errors(x, z)
    return {"r2": 1 - (inside**2).sum(axis=0) / total, "loo_r2": 1 - (outside**2).sum(axis=0) / total}
