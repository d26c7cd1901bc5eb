"""Which form does a layer's error have? Six laws fitted to the same checkpoints and compared by AIC and AICc.

With ``x = log n`` and ``u = log L0`` about their means, and ``R = exp(a + bk u + bn x + g u x)``:

* ``no_floor``: R; ``quadratic_k``: R with a term in u^2; ``quadratic_n``: R with a term in x^2;
* ``with_floor``: R + exp(z + h u), which no width gets under;
* ``two_power``: R + exp(z + h u - d x), a floor that falls slowly;
* ``soft_knee``: R at an effective width, (1/n + 1/n0)^-1, that stops growing at n0.

Only two of them stop at a positive error however wide the dictionary: ``with_floor`` and ``soft_knee``.

>>> round(aic(1.0, 20, 4), 3), round(aicc(1.0, 20, 4), 3)
(-51.915, -49.248)
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.optimize import least_squares

from geowall.laws.scaling.floors import surface
from geowall.laws.scaling.sparsity import GROUP

LINEAR = {"no_floor": 0, "quadratic_k": 1, "quadratic_n": 2}  # which square is added
PARAMETERS = {
    "no_floor": 4,
    "quadratic_k": 5,
    "quadratic_n": 5,
    "with_floor": 6,
    "two_power": 7,
    "soft_knee": 5,
}
OF_A_CURVE = {
    "no_floor": 2,
    "quadratic_n": 3,
    "with_floor": 3,
    "two_power": 4,
    "soft_knee": 3,
}  # at a single k
# As the width grows a soft knee stops at its error at n0, which is a wall as much as a floor is; the others
# go on falling, or turn and rise.
STOPS = ("with_floor", "soft_knee")
CRITERIA = ("aic", "aicc")


def aic(rss: float, n: int, p: int) -> float:
    """Return ``n log(RSS / n) + 2 p`` (the paper's)."""
    return float(n * np.log(max(rss, 1e-300) / n) + 2 * p)


def aicc(rss: float, n: int, p: int) -> float:
    """Return the AIC corrected for few observations; infinite when there are as many parameters."""
    return aic(rss, n, p) + 2 * p * (p + 1) / (n - p - 1) if n > p + 1 else float("inf")


def fitted(
    form: str,
    n: Float[np.ndarray, " cell"],
    k: Float[np.ndarray, " cell"],
    log_error: Float[np.ndarray, " cell"],
) -> float:
    """Return the least sum of squares of a form; a single sparsity makes it a curve."""
    x, u = np.log(n) - np.log(n).mean(), np.log(k) - np.log(k).mean()
    if form in LINEAR:
        columns = [np.ones_like(x), u, x, u * x, *([[], [u * u], [x * x]][LINEAR[form]])]
        design = np.stack(columns, axis=1)
        return float(((log_error - design @ (np.linalg.pinv(design) @ log_error)) ** 2).sum())
    floor = surface(n, k if np.ptp(u) else np.ones_like(k), log_error[None])
    if form == "with_floor":
        return float(floor.rss[0])
    if form == "two_power":
        starts, predict = [[*floor.theta[0], 0.05]], _two_power
    else:
        straight = np.linalg.pinv(np.stack([np.ones_like(x), u, x, u * x], axis=1)) @ log_error
        starts, predict = [[*straight, x0] for x0 in (x.max() + 1, x.mean())], _soft_knee
    least = []
    for start in starts:
        found = least_squares(
            lambda t: predict(t, x, u)[0] - log_error, start, jac=lambda t: predict(t, x, u)[1], method="lm",
            max_nfev=500,
        )  # fmt: skip
        least.append(2 * found.cost)
    return float(min(least))


def _two_power(theta: np.ndarray, x: np.ndarray, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return values and Jacobian; the second exponent is a square, so that it never rises."""
    a, bk, bn, g, z, h, root = theta
    first, second = a + bk * u + (bn + g * u) * x, z + h * u - root**2 * x
    value, one = np.logaddexp(first, second), np.ones_like(x)
    p, q = np.exp(first - value)[:, None], np.exp(second - value)[:, None]
    terms = [p * np.stack([one, u, x, u * x], axis=1), q * np.stack([one, u, -2 * root * x], axis=1)]
    return value, np.concatenate(terms, axis=1)


def _soft_knee(theta: np.ndarray, x: np.ndarray, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    a, bk, bn, g, x0 = theta
    s = np.logaddexp(-x, -x0)  # minus the logarithm of the effective width
    slope = bn + g * u
    return a + bk * u - slope * s, np.stack([np.ones_like(x), u, -s, -u * s, slope * np.exp(-x0 - s)], axis=1)


def rivals(checkpoints: pd.DataFrame, spare: int = 2) -> pd.DataFrame:
    """Compare the forms at every layer that has ``spare`` checkpoints more than the largest has parameters.

    ``checkpoints`` has the columns of the group, d_sae, l0 and nmse; one sparsity makes the forms curves.
    Columns: the group, form, n_parameters, n_checkpoints, rss, aic, aicc, and how far each lies above the
    layer's best: aic_gap, aicc_gap.
    """
    made = []
    for key, own in checkpoints.groupby(GROUP, sort=True):
        n, l0, y = own["d_sae"].to_numpy(float), own["l0"].to_numpy(float), np.log(own["nmse"].to_numpy())
        forms = PARAMETERS if np.ptp(l0) > 0 else OF_A_CURVE
        if len(own) < max(forms.values()) + spare or own["d_sae"].nunique() < 4:
            continue
        for form, p in forms.items():
            rss = fitted(form, n, l0, y)
            row = {"form": form, "n_parameters": p, "n_checkpoints": len(own), "rss": rss}
            made.append(dict(zip(GROUP, key, strict=True)) | row | {
                "aic": aic(rss, len(own), p), "aicc": aicc(rss, len(own), p)})  # fmt: skip
    table = pd.DataFrame(made)
    best = table.groupby(GROUP)[["aic", "aicc"]].transform("min")
    return table.assign(aic_gap=table["aic"] - best["aic"], aicc_gap=table["aicc"] - best["aicc"])


def tally(table: pd.DataFrame) -> pd.DataFrame:
    """Count the layers at which each form is best, by either criterion: n_aic, n_aicc, of n_layers."""
    key = ["source", "model", "architecture", "schedule", "form"]
    wins = table.assign(n_aic=table["aic_gap"] == 0, n_aicc=table["aicc_gap"] == 0, n_layers=1)
    return wins.groupby(key)[["n_aic", "n_aicc", "n_layers"]].sum().reset_index()


def families(table: pd.DataFrame) -> pd.DataFrame:
    """Compare the best form that stops at a positive error (STOPS) with the best that does not.

    Takes the table of :func:`rivals`. Columns: the group, criterion (``aic``, ``aicc``), stops and goes_on
    (the best form of either kind), gap (the criterion of the best that goes on less that of the best that
    stops: above zero, stopping is better).
    """
    made = []
    for key, own in table.groupby(GROUP, sort=True):
        ends = own["form"].isin(STOPS)
        for criterion in CRITERIA:
            best = [kept.loc[kept[criterion].idxmin()] for kept in (own[ends], own[~ends])]
            row = dict(zip(GROUP, key, strict=True)) | {"criterion": criterion}
            row |= {"stops": best[0]["form"], "goes_on": best[1]["form"]}
            made.append(row | {"gap": float(best[1][criterion] - best[0][criterion])})
    columns = [*GROUP, "criterion", "stops", "goes_on", "gap"]
    return pd.DataFrame(made, columns=columns)
