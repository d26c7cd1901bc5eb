"""Could a law be seen here at all? Exponents made by the published law on measured curvature, and tested.

Layers whose curvature hardly varies cannot show that exponents follow it, however true that is. A law of the
steepest published slope is planted on the curvature of the measured layers, noise is added, and the same
leave-one-out regression looks for it. Curvature over two decades is seen, over a twentieth of one it is not:

>>> wide, narrow = np.geomspace(0.01, 1.0, 20), np.geomspace(0.1, 0.112, 20)
>>> power(np.log(wide), -0.1, 0.1, 200), power(np.log(narrow), -0.1, 0.1, 200) < 0.4
(1.0, True)
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from jaxtyping import Float

from geowall.laws import ols
from geowall.laws.noise import wobble

ENOUGH = 0.8  # share of true laws that must be seen before not seeing one says anything


def power(
    x: Float[np.ndarray, " layer"], slope: float, sd: float, n_draws: int = 1000, seed: int = 0
) -> float:
    """Return how often ``slope * x`` with noise ``sd`` predicts left-out layers better than their mean."""
    noise = np.random.default_rng(seed).standard_normal((len(x), n_draws))
    y = slope * x[:, None] + sd * noise
    design = np.column_stack([np.ones_like(x), x])
    left_out = (ols.loo_errors(design, y) ** 2).sum(axis=0)
    return float((left_out < ((y - y.mean(axis=0)) ** 2).sum(axis=0)).mean())


def of_layers(
    layers: pd.DataFrame,
    slopes: pd.DataFrame,
    target: str = "alpha_width",
    n_draws: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Return the power of every model's layers to show the steepest of the published ``slopes``.

    ``errors`` says how large the noise is: ``wobble``, what neighbouring layers differ by
    (:func:`geowall.laws.noise.wobble`), or ``spread``, all that the measured exponents vary by, which is what
    would have to drown the law if it holds here. Columns: source, model, n_layers, kappa_fold, slope, errors,
    se (of the noise), power, n_draws.
    """
    steep = float(slopes.loc[slopes["slope"].abs().idxmax(), "slope"])
    made = []
    for (source, model), own in layers.groupby(["source", "model"], sort=False):
        x, y = np.log(own["kappa_ms"].to_numpy(float)), own.sort_values("layer")[target].to_numpy(float)
        row = {"source": source, "model": model, "n_layers": len(own), "slope": steep}
        row["kappa_fold"] = float(np.exp(np.ptp(x)))
        for errors, sd in (("wobble", wobble(y)), ("spread", float(y.std(ddof=1)))):
            seen = power(x, steep, sd, n_draws, seed)
            made.append(row | {"errors": errors, "se": sd, "power": seen, "n_draws": n_draws})
    return pd.DataFrame(made)
