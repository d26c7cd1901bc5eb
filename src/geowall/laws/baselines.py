"""What is left of geometry once depth is known: partial correlations, first differences, and other targets.

Two curves that both follow depth correlate with each other. Taking a function of depth out of both, or
comparing their steps from layer to layer, asks for more. These two share depth and nothing else:

>>> import numpy as np
>>> depth = np.arange(8.0)
>>> bump, wave = np.array([1, 0, 0, -1, -1, 0, 0, 1.0]), np.array([0, 1, -1, 0, 0, -1, 1, 0.0])
>>> given = np.column_stack([np.ones(8), depth])
>>> round(float(correlation(depth + bump, depth + wave)), 2)
0.91
>>> abs(round(float(correlation(unexplained(depth + bump, given), unexplained(depth + wave, given))), 2))
0.0
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import stats

from geowall.laws import bootstrap, ols, published
from geowall.laws import features as feats
from geowall.laws.groups import each_model, label_of, with_all_first
from geowall.laws.regression import stage2

GIVEN = ("none", "depth_linear", "depth_log", "depth")


def correlation(
    x: Float[np.ndarray, "*batch layer"], y: Float[np.ndarray, "*batch layer"]
) -> Float[np.ndarray, "*batch"]:
    """Return Pearson's correlation over the last axis."""
    x, y = (v - v.mean(axis=-1, keepdims=True) for v in (x, y))
    return (x * y).sum(axis=-1) / np.sqrt((x**2).sum(axis=-1) * (y**2).sum(axis=-1))


def unexplained(
    values: Float[np.ndarray, "*batch layer"], design: Float[np.ndarray, "*batch layer column"]
) -> Float[np.ndarray, "*batch layer"]:
    """Return what a least-squares fit of ``design`` leaves of ``values``."""
    return ols.residuals(design, values[..., None])[..., 0]


def partial_correlations(
    layers: pd.DataFrame,
    target: str,
    features: Sequence[str] = feats.GEOMETRY,
    given: Sequence[str] = GIVEN,
    dropped: Sequence[int] = (0,),
    n_bootstrap: int = 500,
    block_length: int = 5,
    clip_percentiles: Sequence[float] = feats.CLIP_PERCENTILES,
    seed: int = 0,
) -> pd.DataFrame:
    """Correlate the target with each transformed summary: at fixed depth, and in its layer-to-layer steps.

    Columns: source, model, target, features, given (the terms of depth taken out of both), form (levels or
    differences), dropped_layers, n_layers, correlation, low, high (moving-block bootstrap, 95 %), p_value
    (t, two sided, as if the residuals were independent).
    """
    made = []
    for key, kept in each_model(layers, dropped):
        y = feats.numbers(kept, target)
        for name in features:
            x = feats.regressors(kept, name, clip_percentiles)[:, 0]
            for case in _cases(kept, x, y, given):
                found = _partial(*case.pop("series"), n_bootstrap, block_length, seed)
                row = key | {"target": label_of(target, kept), "features": name} | case
                made.append(row | {"n_layers": len(kept)} | found)
    first = ["source", "model", "target", "features", "given", "form", "dropped_layers", "n_layers"]
    return pd.DataFrame(made)[[*first, "correlation", "low", "high", "p_value"]]


def _cases(layers: pd.DataFrame, x: np.ndarray, y: np.ndarray, given: Sequence[str]) -> list[dict]:
    levels = [
        {"given": depth, "form": "levels", "series": (x, y, feats.design(feats.regressors(layers, depth)))}
        for depth in given
    ]
    steps = (np.diff(x), np.diff(y), np.ones((len(x) - 1, 1)))
    return [*levels, {"given": "none", "form": "differences", "series": steps}]


def _partial(
    x: np.ndarray, y: np.ndarray, design: np.ndarray, n_bootstrap: int, block_length: int, seed: int
) -> dict[str, float]:
    n, p = design.shape
    picks = with_all_first(bootstrap.rows(n, "block", n_bootstrap, block_length, seed))
    r = correlation(*(unexplained(v[picks], design[picks]) for v in (x, y)))
    low, high = bootstrap.middle(r[1:])
    freedom = n - p - 1
    t = r[0] * np.sqrt(freedom / (1 - r[0] ** 2))
    p_value = 2 * stats.t.sf(abs(t), freedom)
    return {"correlation": float(r[0]), "low": low, "high": high, "p_value": float(p_value)}


def feature_correlations(layers: pd.DataFrame, target: str) -> pd.DataFrame:
    """Correlate every pair of raw summaries, and each with the target, over the layers of all models.

    Columns: feature, other, r. Neither clipped nor on a log scale (Zaher 2026, Fig. 5).
    """
    names = [*feats.GEOMETRY, target]
    values = {name: feats.numbers(layers, name) for name in names}
    rows = [
        {"feature": first, "other": second, "r": float(correlation(values[first], values[second]))}
        for i, first in enumerate(names)
        for second in names[i + 1 :]
    ]
    return pd.DataFrame(rows)


def error_metrics(
    layers: pd.DataFrame,
    hypotheses: Sequence[str],
    clip_percentiles: Sequence[float] = feats.CLIP_PERCENTILES,
    **draws: int,
) -> pd.DataFrame:
    """Repeat the regression on every measure of the error that was published for each layer.

    Targets: the exponent of the surface and of the chord at 50 active latents, both on the layers that have
    both widths; and the logarithm of the mean error on C4 and on WikiText. Columns: those of
    :func:`geowall.laws.regression.stage2` up to ``loo_r2``, and the intervals where ``draws`` (seed,
    n_bootstrap, block_length) ask for them.
    """
    table = layers.assign(alpha_chord=published.alpha_chord(layers))
    for corpus in ("c4", "wikitext"):
        table[f"ln_nmse_{corpus}"] = np.log(table[f"nmse_{corpus}"])
    both = table[table["alpha_chord"].notna()]
    setting = {"hypotheses": hypotheses, "n_permutations": 1, "clip_percentiles": clip_percentiles, **draws}
    exponents = stage2(both, ["alpha_k50", "alpha_chord"], **setting)
    errors = stage2(table, ["ln_nmse_c4", "ln_nmse_wikitext"], **setting)
    table = pd.concat([exponents, errors], ignore_index=True)
    columns = ["source", "model", "target", "features", "n_layers", "r2", "loo_r2", *bootstrap.ENDS]
    return table[[column for column in columns if column in table]]
