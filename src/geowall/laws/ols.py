"""Least squares in closed form: the fit, what it costs, and what it predicts for layers it has not seen.

Leaving ``k`` layers out needs no refit: the errors on the left-out set ``T`` are ``(I - H_TT)^-1 e_T``,
with ``H`` the hat matrix and ``e`` the residuals of the one fit to all layers (Zaher 2026, section 4.2).
With nothing but an intercept, ten layers and one left out:

>>> import numpy as np
>>> y = np.arange(10.0)[:, None]
>>> float(leave_k_out_r2(np.ones((10, 1)), y, 1)[0].round(4))  # 1 - (10 / 9)^2
-0.2346
"""

from __future__ import annotations

from functools import lru_cache
from itertools import combinations

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

from geowall.paths import GeowallError


def basis(design: Float[np.ndarray, "*batch layer column"]) -> Float[np.ndarray, "*batch layer column"]:
    """Return orthonormal columns that span the design; the hat matrix is ``Q Q^T``."""
    return np.linalg.qr(design)[0]


def residuals(
    design: Float[np.ndarray, "*batch layer column"], y: Float[np.ndarray, "*batch layer target"]
) -> Float[np.ndarray, "*batch layer target"]:
    """Return what the least-squares fit of every target leaves over."""
    q = basis(design)
    return y - q @ (np.swapaxes(q, -1, -2) @ y)


def coefficients(
    design: Float[np.ndarray, "*batch layer column"], y: Float[np.ndarray, "*batch layer target"]
) -> Float[np.ndarray, "*batch column target"]:
    """Return the least-squares coefficients; the smallest ones where columns coincide.

    By the normal equations, whose few columns make a batch of draws five times faster than an SVD of each:
    right for designs up to a condition number of 1e5, beyond which columns count as coinciding.
    """
    across = np.swapaxes(design, -1, -2)
    return np.linalg.pinv(across @ design, rcond=1e-10, hermitian=True) @ (across @ y)


def total(y: Float[np.ndarray, "*batch layer target"]) -> Float[np.ndarray, "*batch target"]:
    """Return the sum of squares about the mean."""
    return ((y - y.mean(axis=-2, keepdims=True)) ** 2).sum(axis=-2)


def r2(
    design: Float[np.ndarray, "*batch layer column"], y: Float[np.ndarray, "*batch layer target"]
) -> Float[np.ndarray, "*batch target"]:
    """Return the in-sample share of variance explained."""
    return 1 - (residuals(design, y) ** 2).sum(axis=-2) / total(y)


def leave_k_out_r2(
    design: Float[np.ndarray, "layer column"], y: Float[np.ndarray, "layer target"], k: int
) -> Float[np.ndarray, " target"]:
    """Return ``1 - MSE n / SS`` over the errors of every set of ``k`` left-out layers; SS is about the mean.

    Raises :class:`~geowall.paths.GeowallError` when fewer layers would remain than coefficients.
    """
    n, p = design.shape
    if n - k < p:
        raise GeowallError(
            f"leave-{k}-out cannot be computed",
            f"{n} layers less {k} cannot fix {p} coefficients",
            "use fewer features",
        )
    q = basis(design)
    sets = _subsets(n, k)
    within = np.eye(k) - q[sets] @ np.swapaxes(q[sets], 1, 2)
    errors = np.linalg.solve(within, residuals(design, y)[sets])
    return 1 - (errors**2).mean(axis=(0, 1)) * n / total(y)


@lru_cache(maxsize=128)
def _subsets(n: int, k: int) -> Int[np.ndarray, "set k"]:
    return np.array(list(combinations(range(n), k)))


def loo_errors(
    design: Float[np.ndarray, "layer column"], y: Float[np.ndarray, "layer target"]
) -> Float[np.ndarray, "layer target"]:
    """Return the error at each layer of the fit to all the others."""
    return residuals(design, y) / (1 - leverage(design))[:, None]


def leverage(design: Float[np.ndarray, "layer column"]) -> Float[np.ndarray, " layer"]:
    """Return the diagonal of the hat matrix: how far a layer's own value pulls its fitted value."""
    return (basis(design) ** 2).sum(axis=-1)


def information(rss: Float[np.ndarray, " target"], n: int, p: int) -> tuple[np.ndarray, np.ndarray]:
    """Return AIC ``n ln(RSS/n) + 2p`` and BIC ``n ln(RSS/n) + p ln n``, where ``p`` counts the intercept."""
    fit = n * np.log(rss / n)
    return fit + 2 * p, fit + p * np.log(n)


def f_test(
    rss_small: Float[np.ndarray, " target"],
    rss_large: Float[np.ndarray, " target"],
    p_small: int,
    p_large: int,
    n: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Return F and its p for a model of ``p_large`` coefficients against a nested one of ``p_small``."""
    added, left = p_large - p_small, n - p_large
    f = (rss_small - rss_large) / added / (rss_large / left)
    return f, stats.f.sf(f, added, left)


def share_of_labels(x: Float[np.ndarray, "row d"], labels: Int[np.ndarray, " row"]) -> float:
    """Return the share of the variance of ``x`` that knowing each row's label explains.

    One less the variance among rows of one label over all variance, both estimated without bias, so that a
    label that occurs once explains nothing:

    >>> rng = np.random.default_rng(0)
    >>> x, labels = rng.standard_normal((4000, 3)), rng.integers(800, size=4000)
    >>> round(share_of_labels(x, labels), 1), round(share_of_labels(x + labels[:, None], labels), 1)
    (0.0, 1.0)
    """
    order = np.argsort(labels, kind="stable")
    _, start, count = np.unique(labels[order], return_index=True, return_counts=True)
    x = np.asarray(x, dtype=np.float64)[order] - x.mean(axis=0, dtype=np.float64)
    sums = np.add.reduceat(x, start, axis=0)
    within = (x**2).sum() - (sums**2 / count[:, None]).sum()
    return float(1 - within / (len(x) - len(count)) / ((x**2).sum() / (len(x) - 1)))
