"""Thousands of power laws above floors fitted at once: ``log L = log(R + B)`` by bounded least squares.

``R = exp(a + bk u + bn x + g u x)`` falls with ``x = log n`` (less its mean) and ``B = exp(z + h u)`` does
not; ``u`` is ``log k`` less its mean. Six parameters are a surface (Zaher 2026, Eq. 2); with ``u = 0`` and
three of them held at zero it is the curve of one sparsity. Bounds are a problem's own, so holding a parameter
at each of many values, for a profile, is many problems:

>>> import numpy as np
>>> x = np.log([0.25, 0.5, 1.0, 2.0, 4.0])
>>> y = np.log(0.1 * np.exp(-0.5 * x) + 0.05)
>>> free = np.array([[-9, 0, -4, 0, -9, 0.0], [9, 0, 0, 0, 9, 0]])
>>> start = np.array([-2, 0, -0.3, 0, -4, 0.0])
>>> theta, rss = fit(x, 0 * x, y[None], start[None, None], *free[:, None])
>>> np.exp(theta[0, [0, 4]]).round(6).tolist(), float(theta[0, 2].round(6)), bool(rss[0] < 1e-20)
([0.1, 0.05], -0.5, True)
"""

from __future__ import annotations

import ctypes

import numpy as np
from jaxtyping import Float

from geowall.kernels import compiled

NAMES = ("a", "beta_k", "beta_n", "gamma", "zeta", "eta")
SOURCE = "floor_fits.cpp"


def fit(
    x: Float[np.ndarray, " cell"],
    u: Float[np.ndarray, " cell"],
    y: Float[np.ndarray, "fit cell"],
    start: Float[np.ndarray, "fit start 6"],
    low: Float[np.ndarray, "fit 6"],
    high: Float[np.ndarray, "fit 6"],
    weights: Float[np.ndarray, "fit cell"] | None = None,
    iterations: int = 200,
    tol: float = 1e-8,
) -> tuple[Float[np.ndarray, "fit 6"], Float[np.ndarray, " fit"]]:
    """Return the best parameters over all starts and their weighted sum of squares, in float64.

    Newton's steps, damped as Levenberg and Marquardt do, and theirs where the Hessian is not positive; eight
    fits side by side in compiled code. Without a compiler :func:`fit_slow` does the same work. Starts, bounds
    and weights may be broadcast over fits.
    """
    n, cells = len(y), len(x)
    weights = np.ones((1, cells)) if weights is None else weights
    n_starts = np.shape(start)[1]
    given = [(start, (n, n_starts, 6)), (low, (n, 6)), (high, (n, 6)), (weights, (n, cells))]
    start, low, high, weights = (
        np.ascontiguousarray(np.broadcast_to(v, shape), dtype=np.float64) for v, shape in given
    )
    x, u, y = (np.ascontiguousarray(v, dtype=np.float64) for v in (x, u, y))
    code = compiled.library(SOURCE)
    if code is None:
        return fit_slow(x, u, y, start, low, high, weights, iterations, tol)
    theta, rss = np.full((n, 6), np.nan), np.empty(n)
    arrays = (x, u, y, weights, start, low, high)
    code.floor_fits(
        *(n, n_starts, cells, *map(_address, arrays), iterations, ctypes.c_double(tol)),
        *map(_address, (theta, rss)),
    )
    return theta, rss


def _address(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def log_errors(
    x: Float[np.ndarray, " cell"], u: Float[np.ndarray, " cell"], theta: Float[np.ndarray, "*fit 6"]
) -> Float[np.ndarray, "*fit cell"]:
    """Return ``log(R + B)`` on the design."""
    a, bk, bn, g, z, h = np.moveaxis(theta, -1, 0)[..., None]
    return np.logaddexp(a + bk * u + (bn + g * u) * x, z + h * u)


def jacobian(
    x: Float[np.ndarray, " cell"], u: Float[np.ndarray, " cell"], theta: Float[np.ndarray, "*fit 6"]
) -> Float[np.ndarray, "*fit cell 6"]:
    """Return the derivatives of :func:`log_errors`: shares of R and of B times the design."""
    a, bk, bn, g = np.moveaxis(theta[..., :4], -1, 0)[..., None]
    share = np.exp(a + bk * u + (bn + g * u) * x - log_errors(x, u, theta))[..., None]
    one = np.ones_like(x)
    power, floor = np.stack([one, u, x, u * x], axis=-1), np.stack([one, u], axis=-1)
    return np.concatenate([share * power, (1 - share) * floor], axis=-1)


def fit_slow(
    x: Float[np.ndarray, " cell"],
    u: Float[np.ndarray, " cell"],
    y: Float[np.ndarray, "fit cell"],
    start: Float[np.ndarray, "fit start 6"],
    low: Float[np.ndarray, "fit 6"],
    high: Float[np.ndarray, "fit 6"],
    weights: Float[np.ndarray, "fit cell"],
    iterations: int = 200,
    tol: float = 1e-8,
) -> tuple[Float[np.ndarray, "fit 6"], Float[np.ndarray, " fit"]]:
    """Twin of :func:`fit` in array operations: the same steps, all fits together, one start after another."""
    found = [_descend(x, u, y, s, low, high, weights, iterations, tol) for s in np.moveaxis(start, 1, 0)]
    theta, rss = (np.stack(part) for part in zip(*found, strict=True))
    best, every = rss.argmin(axis=0), np.arange(len(y))
    return theta[best, every], rss[best, every]


def _descend(x, u, y, start, low, high, weights, iterations, tol):
    theta, lam = np.clip(start, low, high), np.full(len(y), 1e-3)
    rss, g, h, newton = _sums(x, u, y, weights, theta)
    active = np.arange(len(y))
    for _ in range(iterations):
        here, down, up = theta[active], low[active], high[active]
        held = ((here <= down) & (g[active] <= 0)) | ((here >= up) & (g[active] >= 0))
        step = _step(g[active], h[active], newton[active], held, lam[active])
        trial = np.clip(here + step, down, up)
        moved = (np.abs(trial - here) > tol * (1 + np.abs(here))).any(axis=1)
        new = _sums(x, u, y[active], weights[active], trial)
        better = new[0] <= rss[active]
        settled = better & (rss[active] - new[0] <= tol**2 * rss[active] + 1e-300) & (lam[active] < 1e-2)
        lam[active] *= np.where(better, 0.1, 10.0)
        for old, fresh in zip((theta, rss, g, h, newton), (trial, *new), strict=True):
            old[active[better]] = fresh[better]
        active = active[moved & ~settled & (lam[active] < 1e14)]
        if not len(active):
            break
    return theta, rss


def _step(g, h, newton, held, lam):
    """Newton's step where its damped Hessian is positive definite, Gauss and Newton's elsewhere."""
    out = held[:, :, None] | held[:, None, :]
    damping = np.einsum("fii,f->fi", h, lam) + 1e-300
    damped = [np.where(out, 0.0, m) for m in (newton, h)]
    for matrix in damped:
        diagonal = np.einsum("fii->fi", matrix)
        diagonal[:] = np.where(held, 1.0, diagonal + damping)
    sound = np.linalg.eigvalsh(damped[0])[:, 0] > 0
    chosen = np.where(sound[:, None, None], *damped)
    return np.linalg.solve(chosen, np.where(held, 0.0, g)[..., None])[..., 0]


def _sums(x, u, y, weights, theta):
    """Sum of squares, J'r, J'J, and the Hessian: log S bends by the product of the shares of R and B."""
    r, j = y - log_errors(x, u, theta), jacobian(x, u, theta)
    one = np.ones_like(x)
    apart = np.stack([one, u, x, u * x, -one, -u], axis=-1)
    share = j[..., 0]
    weighted, bend = weights[..., None] * j, weights * r * share * (1 - share)
    square = np.einsum("fcp,fcq->fpq", weighted, j)
    curved = np.einsum("fc,cp,cq->fpq", bend, apart, apart)
    return (weights * r**2).sum(axis=-1), np.einsum("fc,fcp->fp", r, weighted), square, square - curved
