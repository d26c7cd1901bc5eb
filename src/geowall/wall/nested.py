"""Does a larger hypothesis earn its extra coefficients? Nested F tests of the paper's hierarchy.

From the best single summary to a pair, and from that pair to all four. The paper does not say which pair;
here it is the one with the best summary in it that predicts left-out layers best, which gives the three
p-values that the paper prints. F takes layers as independent, so each row also says how alike the errors of
neighbours are.

>>> rng = np.random.default_rng(0)
>>> made = pd.DataFrame(rng.lognormal(0, 1, (30, 4)), columns=list(feats.GEOMETRY))
>>> made = made.assign(source="toy", model="m", layer=range(30), alpha=np.log(made["nu"] * made["d_int"]))
>>> tests(made, ["alpha"])[["step", "large", "p_value"]].round(3).to_numpy().tolist()[0]
['one to two', 'd_int+nu', 0.0]
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from geowall.laws import features as feats
from geowall.laws import ols
from geowall.laws.regression import TARGETS, regression_of

STEPS = ("one to two", "two to four")


def tests(layers: pd.DataFrame, targets: Sequence[str] = TARGETS) -> pd.DataFrame:
    """F tests of both steps for every model and target.

    Columns: source, model, target, step, small, large (features), n_layers, f, p_value, autocorrelation (of
    the errors of the larger fit at neighbouring layers).
    """
    made = []
    layers = layers if "source" in layers else layers.assign(source="published")
    for (source, model), rows in layers.groupby(["source", "model"], sort=False):
        rows = rows.sort_values("layer")
        for target in targets:
            one, two = _nest(rows, target)
            for step, small, large in zip(STEPS, (one, two), (two, feats.FULL), strict=True):
                own = {"source": source, "model": model, "target": target, "step": step}
                own |= {"small": small, "large": large, "n_layers": len(rows)}
                made.append(own | _test(rows, target, small, large))
    return pd.DataFrame(made)


def _nest(rows: pd.DataFrame, target: str) -> tuple[str, str]:
    """The summary of the largest R2, and the pair with it of the largest left-out R2."""
    fits = {name: float(ols.r2(*_problem(rows, target, name))[0]) for name in feats.GEOMETRY}
    one = max(fits, key=fits.get)
    pairs = ["+".join(name for name in feats.GEOMETRY if name in (one, other)) for other in fits]
    pairs = [pair for pair in pairs if "+" in pair]
    return one, max(pairs, key=lambda pair: float(ols.leave_k_out_r2(*_problem(rows, target, pair), 1)[0]))


def _problem(rows: pd.DataFrame, target: str, features: str) -> tuple[np.ndarray, np.ndarray]:
    design = regression_of(rows, target, features, feats.CLIP_PERCENTILES)[0]
    return design, rows[target].to_numpy(float)[:, None]


def _test(rows: pd.DataFrame, target: str, small: str, large: str) -> dict[str, float]:
    (few, y), (many, _) = (_problem(rows, target, features) for features in (small, large))
    errors = [ols.residuals(design, y) for design in (few, many)]
    left = [(e**2).sum(axis=0) for e in errors]
    f, p = ols.f_test(*left, few.shape[1], many.shape[1], len(rows))
    alike = float(np.corrcoef(errors[1][:-1, 0], errors[1][1:, 0])[0, 1])
    return {"f": float(f[0]), "p_value": float(p[0]), "autocorrelation": alike}
