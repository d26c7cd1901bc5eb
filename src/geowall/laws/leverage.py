"""Which layers make the result: the variance of the exponent each carries, and the pull of each on the fit.

>>> import pandas as pd
>>> layers = pd.DataFrame({"source": "made up", "model": "m", "layer": range(9), "nu": range(1, 10)})
>>> layers["alpha"] = [0.9, 0.5, 0.4, 0.4, 0.3, 0.3, 0.3, 0.2, 0.2]
>>> table = layer_influence(layers, "alpha", ["nu"])
>>> round(float(table["variance_share"][0]), 2), round(float(table["variance_share"].sum()), 2)
(0.71, 1.0)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from geowall.laws import features as feats
from geowall.laws import ols
from geowall.laws.groups import each_model, label_of, regression_of


def layer_influence(
    layers: pd.DataFrame,
    target: str,
    hypotheses: Sequence[str],
    clip_percentiles: Sequence[float] = feats.CLIP_PERCENTILES,
) -> pd.DataFrame:
    """Return every layer's weight in every hypothesis.

    Columns: source, model, layer, target, features, value (of the target), fitted, loo_error (error of
    the fit to all other layers), variance_share (of the target's sum of squares about its mean),
    cumulative_share (with all layers before it), leverage (diagonal of the hat matrix), cooks_distance,
    alpha_extrapolated.
    """
    made = []
    for key, kept in each_model(layers):
        key |= {"layer": kept["layer"].to_numpy(), "target": label_of(target, kept)}
        flag = kept["alpha_extrapolated"].to_numpy() if "alpha_extrapolated" in kept else False
        for features in hypotheses:
            found = _influence(*regression_of(kept, target, features, clip_percentiles))
            made.append(pd.DataFrame(key | {"features": features} | found | {"alpha_extrapolated": flag}))
    return pd.concat(made, ignore_index=True).drop(columns="dropped_layers")


def _influence(design: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
    rest = ols.residuals(design, y[:, None])[:, 0]
    h, (n, p) = ols.leverage(design), design.shape
    share = (y - y.mean()) ** 2 / ols.total(y[:, None])
    cooks = rest**2 / (p * (rest**2).sum() / (n - p)) * h / (1 - h) ** 2
    found = {"value": y, "fitted": y - rest, "loo_error": rest / (1 - h), "variance_share": share}
    return found | {"cumulative_share": np.cumsum(share), "leverage": h, "cooks_distance": cooks}
