"""What is left of geometry once depth is known: partial correlations, first differences, and other targets.

Two curves that both follow depth correlate with each other. Taking a function of depth out of both, or
comparing their steps from layer to layer, asks for more. Here the two share depth and nothing else:

>>> import numpy as np
>>> layer = np.arange(8.0)
>>> bump, wave = (layer - 3.5) ** 2, np.array([0, 1, 0, -1, 0, 1, 0, -1.0])
>>> given = np.column_stack([np.ones(8), layer])
>>> plain = correlation(layer + wave, layer + bump / 9)
>>> partial = correlation(*(unexplained(v, given) for v in (layer + wave, layer + bump / 9)))
>>> round(float(plain), 2), round(float(abs(partial)), 2)
(0.93, 0.0)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import stats

from geowall.laws import bootstrap, ols, published
from geowall.laws import features as feats
from geowall.laws.regression import after, stage2

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
    for (source, model), group in layers.groupby(["source", "model"], sort=False):
        for q in dropped:
            kept = after(group, q)
            y = feats.numbers(kept, target)
            for name in features:
                x = feats.regressors(kept, name, clip_percentiles)[:, 0] cases = [(x, y,
                feats.design(feats.regressors(kept, depth)), depth, "levels") for depth in given]
                cases.append((np.diff(x), np.diff(y), np.ones((len(x) - 1, 1)), "none", "differences")) for
                *series, depth, form in cases:
                    key = {"source": source, "model": model, "target": target, "features": name, "given":
                    depth} key |= {"form": form, "dropped_layers": q, "n_layers": len(kept)} made.append(key
                    | _partial(*series, n_bootstrap, block_length, seed))
    return pd.DataFrame(made)


def _partial(
    x: np.ndarray, y: np.ndarray, design: np.ndarray, n_bootstrap: int, block_length: int, seed: int
) -> dict[str, float]:
    n, p = design.shape
    drawn = bootstrap.rows(n, "block", n_bootstrap, block_length, seed)
    picks = np.concatenate([np.arange(n)[None], drawn])
    r = correlation(*(unexplained(v[picks], design[picks]) for v in (x, y)))
    low, high = bootstrap.middle(r[1:])
    freedom = n - p - 1
    t = r[0] * np.sqrt(freedom / (1 - r[0] ** 2))
    return {"correlation": float(r[0]), "low": low, "high": high, "p_value": float(2 * stats.t.sf(abs(t), freedom))}


def feature_correlations(layers: pd.DataFrame, target: str) -> pd.DataFrame:
    """Return Pearson's correlation of every pair of raw summaries, and of each with the target, models pooled.

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
) -> pd.DataFrame:
    """Repeat the regression on every measure of the error that was published for each layer.

    Targets: the exponent of the surface and of the chord at 50 active latents, both on the layers that have
    both widths; and the logarithm of the mean error on C4 and on WikiText. Columns: those of
    :func:`geowall.laws.regression.stage2` up to ``loo_r2``.
    """
    table = layers.assign(alpha_chord=published.alpha_chord(layers))
    for corpus in ("c4", "wikitext"):
        table[f"ln_nmse_{corpus}"] = np.log(table[f"nmse_{corpus}"])
    both = table[table["alpha_chord"].notna()]
    setting = {"hypotheses": hypotheses, "n_permutations": 1, "clip_percentiles": clip_percentiles}
    exponents = stage2(both, ["alpha_k50", "alpha_chord"], **setting)
    errors = stage2(table, ["ln_nmse_c4", "ln_nmse_wikitext"], **setting)
    columns = ["source", "model", "target", "features", "n_layers", "r2", "loo_r2"]
    return pd.concat([exponents, errors], ignore_index=True)[columns]
