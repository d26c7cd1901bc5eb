"""From what an estimator of dimension reads to the dimension: learnt on clouds that are known.

Neighbour estimators fall behind from ten dimensions on, by an amount that depends on the size of the cloud
and on its shape. Two readings of a cloud know something of both: the estimate, and how it changes when half
the points are left out. A quadratic in the logarithm of the one, and the other, is fitted to reference
clouds of the same size; each family of shapes that is tested is left out of its own reference.

>>> read = np.array([1.0, 1.9, 3.7, 7.0, 12.0])
>>> rows = [[f, float(d), e, v] for f in "abc" for d, r in zip((1, 2, 4, 8, 16), read, strict=True)
...         for e, v in ((BASE, r), (HALF, 0.97 * r))]
>>> reference = pd.DataFrame(rows, columns=["manifold", "d", "estimator", "value"])
>>> [round(value, 1) for value in corrected(7.0, 0.97 * 7.0, reference)]
[8.3, 8.1, 8.4]
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

BASE, HALF = "mle_20", "mle_20_half"  # of all estimators the one that spreads least, and its reading of half
NAME = "mle_20_corrected"


def corrected(value: float, half: float, reference: pd.DataFrame) -> tuple[float, float, float]:
    """The dimension of a cloud that reads ``value``, and ``half`` from half its points: middle, low, high.

    The interval is Student's over the reference families: each is predicted from the others, and the root
    mean square of their errors at the three dimensions nearest to the middle is the standard deviation. It
    covers a new family if that is no stranger than the known ones. Beyond the largest reading it is open.
    """
    wide = _wide(reference)
    middle = float(np.exp(_design([value], [half]) @ _fit(wide))[0])
    nearest = sorted(wide["d"].unique(), key=lambda d: abs(np.log(d / middle)))[:3]
    errors = []
    for name in wide["manifold"].unique():
        own, others = wide[wide["manifold"] == name], wide[wide["manifold"] != name]
        own = own[own["d"].isin(nearest)]
        errors.append((_design(own[BASE], own[HALF]) @ _fit(others) - np.log(own["d"])).mean())
    n = len(errors)
    by = np.exp(stats.t.ppf(0.975, n - 1) * np.sqrt(np.mean(np.square(errors)) * (1 + 1 / n)))
    return middle, middle / float(by), math.inf if value > wide[BASE].max() else middle * float(by)


def corrections(tested: pd.DataFrame, reference: pd.DataFrame) -> pd.DataFrame:
    """The corrected dimension of each tested shape, from references without its family, as calibration rows.

    Its interval adds that of a single reading to that of the families, in quadrature of logarithms.
    """
    rows = []
    halves = tested[tested["estimator"] == HALF].set_index(["manifold", "d"])["value"]
    for row in tested[tested["estimator"] == BASE].itertuples():
        others, half = reference[reference["manifold"] != row.manifold], halves[row.manifold, row.d]
        middle, low, high = corrected(row.value, half, others)
        ends = [corrected(end, half * end / row.value, others)[0] for end in (row.low, row.high)]
        read = np.log(ends[1] / ends[0]) / 2
        by = np.exp(np.hypot(read, np.log(middle / low)))
        about = {"estimator": NAME, "value": middle, "low": middle / by, "high": middle * by}
        rows.append(row._asdict() | about | ({"high": np.inf} if np.isinf(high) else {}))
    return pd.DataFrame(rows)[list(tested.columns)]


def _wide(reference: pd.DataFrame) -> pd.DataFrame:
    own = reference[reference["estimator"].isin([BASE, HALF])]
    return own.pivot(index=["manifold", "d"], columns="estimator", values="value").reset_index()


def _design(value: Sequence[float], half: Sequence[float]) -> np.ndarray:
    log, change = np.log(np.asarray(value)), np.log(np.asarray(value) / np.asarray(half))
    return np.stack([np.ones_like(log), log, log**2, change, change * log], 1)


def _fit(wide: pd.DataFrame) -> np.ndarray:
    return np.linalg.lstsq(_design(wide[BASE], wide[HALF]), np.log(wide["d"].to_numpy()), rcond=None)[0]
