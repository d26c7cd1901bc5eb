"""Each apportionment kernel equals its slow twin, on awkward sizes and with ties."""

import numpy as np
import pytest

from geowall.kernels import apportion as k

SIZES = [1, 2, 3, 48, 64, 101]


def falling(rng, rows, columns, coarse):
    gains = -np.sort(-rng.random((rows, columns)), axis=1)
    return np.round(gains, 1) if coarse else gains


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("coarse", [False, True])
def test_table_counts(size, coarse):
    gains = falling(np.random.default_rng(size), size, 2 * size + 1, coarse)
    for price in [0.1, 0.5, float(gains[size // 2, size]), 2.0]:
        np.testing.assert_array_equal(k.table_counts(gains, price), k.table_counts_slow(gains, price))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shift", [0, 1])
def test_power_counts(size, shift):
    rng = np.random.default_rng(size)
    p, beta = np.sort(rng.random(size))[::-1].copy(), rng.uniform(0.02, 3, size)
    beta[rng.random(size) < 0.3] = np.inf
    first = np.where(np.isinf(beta), 1.0, beta if not shift else -np.expm1(-beta * np.log(2)))
    n_sat = rng.integers(1, 60, size)
    for price in [1e-4, 0.01, float(p[0] * first[0])]:
        given = p, beta, first, shift, n_sat, price, 200
        np.testing.assert_array_equal(k.power_counts(*given), k.power_counts_slow(*given))


def test_shared_power_counts_is_power_counts_with_one_loss():
    p = np.random.default_rng(1).random(64)
    one = np.ones(64)
    many = k.power_counts(p, 0.3 * one, 0.3 * one, 0, np.full(64, 50), 1e-3, 1000)
    np.testing.assert_array_equal(k.shared_power_counts(p, 0.3, 0.3, 0, 50, 1e-3, 1000), many)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("coarse", [False, True])
def test_reach_rows(size, coarse):
    rng = np.random.default_rng(size)
    p = np.sort(np.round(rng.random(size), 1) if coarse else rng.random(size))[::-1].copy()
    gains = falling(rng, 1, size + 5, coarse)[0]
    low, high = np.zeros(gains.size, np.int64), np.full(gains.size, size)
    for price in [0.06, 0.3, float(p[0] * gains[0]), 2.0]:
        reach = k.reach_rows(p, gains, price, low, high)
        np.testing.assert_array_equal(reach, k.reach_rows_slow(p, gains, price))


@pytest.mark.parametrize("size", SIZES)
def test_spread(size):
    rng = np.random.default_rng(size)
    reach = np.sort(rng.integers(0, size + 1, 7))[::-1].copy()
    head = np.sort(rng.integers(7, 50, reach[-1]))[::-1].copy()
    np.testing.assert_array_equal(k.spread(reach, head, size), k.spread_slow(reach, head, size))


@pytest.mark.parametrize("beta", [0.05, 0.5, 2.0])
@pytest.mark.parametrize("alpha", [0.2, 0.5, 1.5])
def test_zipf_rows_and_columns_equal_the_general_kernels(alpha, beta):
    n = np.arange(1, 200)
    gains = np.asarray(k.power_gain(n, beta, beta, 0, 10**12))
    p = 0.4 * np.arange(1, 5001.0) ** (-1 - alpha)
    for price in [float(p[100] * gains[3]), float(p[999] * gains[0]), 1e-5]:
        rows = k.zipf_rows((0.4 * gains) ** (1 / (1 + alpha)), gains, 0.4, alpha, price, p.size)
        np.testing.assert_array_equal(rows, k.reach_rows_slow(p, gains, price))
        rich = p[p * beta > 5 * price]
        columns = k.zipf_columns((rich * beta) ** (1 / (1 + beta)), rich, beta, beta, 0, 10**12, price, 10**9)
        expected = k.shared_power_counts(rich, beta, beta, 0, 10**12, price, 10**9)
        np.testing.assert_array_equal(columns, expected)


def test_power_gain_is_the_difference_of_the_losses_and_never_rises():
    n = np.arange(2, 1000)
    gain = k.power_gain(n, 0.3, 0.3, 0, 10**12)
    np.testing.assert_allclose(gain, (n - 1.0) ** -0.3 - n**-0.3, rtol=1e-9)
    far = k.power_gain(np.arange(10**12, 10**12 + 1000), 0.3, 0.3, 0, 10**13)
    assert (np.diff(far) <= 0).all() and np.unique(far).size > 900  # no cancellation at 1e12


def test_inspect():
    assert k.inspect(np.array([0.5, 0.5, 0.1])) == (True, True)
    assert k.inspect(np.array([0.1, 0.5])) == (True, False)
    assert not k.inspect(np.array([0.1, np.nan]))[0] and not k.inspect(np.array([0.1, -1e-9]))[0]
    assert not k.inspect(np.array([np.inf]))[0]


def test_greedy_heap_breaks_ties_by_index():
    assert k.greedy_heap([0.5, 0.5, 0.5], lambda i, n: 1.0 / n, 4).tolist() == [2, 1, 1]
