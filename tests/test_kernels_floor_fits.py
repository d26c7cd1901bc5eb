"""Batched fits of power laws above floors against their slow twin, SciPy and Nelder-Mead, and bounds."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
from benchmarks import b09_fits
from scipy.optimize import approx_fprime, least_squares

from geowall.kernels import compiled, floor_fits
from geowall.laws.scaling import floors

TRUE = np.array([-2.0, -0.4, -0.5, -0.03, -2.6, -0.3])
LOW = np.array([-60.0, -5, -5, -5, -16, -5])
HIGH = np.array([60.0, 5, 0, 5, 3, 5])


def problem(cells: int, fits: int, seed: int = 0, noise: float = 0.01):
    rng = np.random.default_rng(seed)
    x, u = rng.uniform(-1.7, 1.7, cells), np.sort(rng.uniform(-1, 1, cells))
    y = floor_fits.log_errors(x, u, TRUE) + noise * rng.standard_normal((fits, cells))
    return x, u, y, TRUE + 0.2 * rng.standard_normal((fits, 3, 6))


def test_the_worked_example():
    assert doctest.testmod(floor_fits).failed == 0


@pytest.mark.parametrize(("cells", "fits"), [(24, 1), (31, 7), (45, 8), (24, 17)])
def test_the_fast_path_is_its_slow_twin(cells, fits):
    x, u, y, start = problem(cells, fits, seed=cells)
    weights = np.random.default_rng(1).integers(0, 3, (fits, cells)).astype(float)
    many = (np.tile(bound, (fits, 1)) for bound in (LOW, HIGH))
    low, high = many
    fast = floor_fits.fit(x, u, y, start, low, high, weights)
    slow = floor_fits.fit_slow(x, u, y, start, low, high, weights)
    np.testing.assert_allclose(fast[1], slow[1], rtol=1e-9)
    fitted = [floor_fits.log_errors(x, u, theta) for theta in (fast[0], slow[0])]
    np.testing.assert_allclose(*fitted, atol=1e-6)


def test_without_a_compiler_the_answer_is_the_same(monkeypatch):
    x, u, y, start = problem(24, 3)
    fast = floor_fits.fit(x, u, y, start, LOW[None], HIGH[None])
    monkeypatch.setenv("GEOWALL_NO_COMPILER", "1")
    compiled.library.cache_clear()
    try:
        assert compiled.library(floor_fits.SOURCE) is None
        slow = floor_fits.fit(x, u, y, start, LOW[None], HIGH[None])
    finally:
        compiled.library.cache_clear()
    np.testing.assert_allclose(fast[0], slow[0], atol=1e-5)


def test_the_jacobian_is_the_derivative():
    x, u, _, start = problem(9, 1)
    theta = start[0, 0]
    by_hand = approx_fprime(theta, lambda t: floor_fits.log_errors(x, u, t), 1e-7)
    np.testing.assert_allclose(floor_fits.jacobian(x, u, theta), by_hand, atol=1e-6)


def test_the_optimum_is_that_of_scipy_inside_and_at_the_bounds():
    x, u, y, start = problem(40, 4, seed=3)
    y[2:] -= np.exp(TRUE[4])  # no floor left: its logarithm goes to the bound
    theta, rss = floor_fits.fit(x, u, y, start, LOW[None], HIGH[None])
    for i in range(4):
        found = least_squares(
            lambda t, i=i: floor_fits.log_errors(x, u, t) - y[i],
            np.clip(theta[i] + 0.05, LOW + 1e-3, HIGH - 1e-3),
            jac=lambda t: floor_fits.jacobian(x, u, t),
            bounds=(LOW, HIGH), xtol=1e-14, ftol=1e-14, gtol=1e-14, max_nfev=2000,
        )  # fmt: skip
        assert rss[i] <= 2 * found.cost * (1 + 1e-7)
    assert ((theta >= LOW) & (theta <= HIGH)).all()


def test_a_held_parameter_stays_and_costs_something():
    x, u, y, start = problem(30, 5, seed=4)
    free = floor_fits.fit(x, u, y, start, LOW[None], HIGH[None])
    low, high = np.tile(LOW, (5, 1)), np.tile(HIGH, (5, 1))
    low[:, 4] = high[:, 4] = -3.2
    held = floor_fits.fit(x, u, y, start, low, high)
    assert (held[0][:, 4] == -3.2).all()
    assert (held[1] > free[1]).all()


def test_nelder_mead_the_papers_way_reaches_the_same_optimum():
    n, k = (v.ravel() for v in np.meshgrid([64.0, 256, 1024], [8.0, 16, 32], indexing="ij"))
    noise = 0.005 * np.random.default_rng(0).standard_normal(9)
    y = np.log(3 * n**-0.5 * k**-0.4 + 0.25 * k**-0.3) + noise
    fast = floors.surface(n, k, y[None])
    theta, rss = floors.nelder_mead(n, k, y, n_starts=2, seed=1)
    assert abs(fast.rss[0] / rss - 1) < 1e-5
    ours, theirs = fast.at_k(16.0)[2][0], np.exp(theta[4] + theta[5] * np.log(16.0))
    assert abs(ours / theirs - 1) < 1e-2


@pytest.mark.parametrize("form", ["no floor", "with floor"])
def test_the_benchmark_fits_the_same_as_its_peer(form):
    assert b09_fits.gate(form, layers=1, draws=2) <= 1e-6
