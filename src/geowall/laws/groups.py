"""The models of a table one after another, each as it is and without its first layers.

>>> import pandas as pd
>>> layers = pd.DataFrame({"source": "made up", "model": "m", "layer": range(10)})
>>> [(key["dropped_layers"], len(kept)) for key, kept in each_model(layers, [0, 2, 5])]
[(0, 10), (2, 8)]
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from geowall.laws import features as feats


def each_model(layers: pd.DataFrame, dropped: Sequence[int] = (0,)) -> Iterator[tuple[dict, pd.DataFrame]]:
    """Yield ``source``, ``model`` and ``dropped_layers``, and the layers of that model that remain, by depth.

    A model too short for a cut is left out of it. Raises :class:`~geowall.paths.GeowallError` for a model
    that is too short for every one of them (see :func:`geowall.laws.features.after`).
    """
    for (source, model), group in layers.groupby(["source", "model"], sort=False):
        long_enough = [q for q in dropped if (group["layer"] >= q).sum() >= feats.FEWEST]
        for q in long_enough or [min(dropped)]:
            yield {"source": source, "model": model, "dropped_layers": q}, feats.after(group, q)


def label_of(target: str, kept: pd.DataFrame) -> str:
    """Name what is predicted: the exponent by the ``k`` it was read at, as ``alpha_k50``, where there is one.

    >>> kept = pd.DataFrame({"k": [16.0, 16.0]})
    >>> label_of("alpha_width", kept), label_of("gamma", kept)
    ('alpha_k16', 'gamma')
    """
    if target != "alpha_width" or "k" not in kept or kept["k"].nunique() != 1:
        return target
    return f"alpha_k{kept['k'].iloc[0]:g}"


def regression_of(
    kept: pd.DataFrame,
    target: str,
    features: str,
    clip_percentiles: Sequence[float] = feats.CLIP_PERCENTILES,
) -> tuple[Float[np.ndarray, "layer column"], Float[np.ndarray, " layer"]]:
    """Return the design of one hypothesis on one model's layers, intercept first, and the target."""
    x = feats.standardise(feats.regressors(kept, features, clip_percentiles))
    return feats.design(x), feats.numbers(kept, target)


def with_all_first(picks: Int[np.ndarray, "draw layer"]) -> Int[np.ndarray, "draw1 layer"]:
    """Put the layers as they are before the draws, so that one call gives the value and its draws."""
    return np.concatenate([np.arange(picks.shape[1])[None], picks])
