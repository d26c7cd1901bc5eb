"""The allocation model: identical to the greedy heap, optimal at a trillion, and on the theory's limits."""

import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geowall import allocation as a
from geowall.kernels.apportion import greedy_heap
from geowall.paths import GeowallError


def by_heap(p, gain, d_sae):
    gains = np.asarray(gain(np.arange(1, d_sae + 2)), dtype=float).tolist()
    return greedy_heap(np.asarray(p, float).tolist(), lambda i, n: gains[n - 1], d_sae)


def plain_gain(loss):
    return lambda n: np.asarray(loss(n - 1), float) - np.asarray(loss(n), float)


SHARED = {
    "power": a.PowerLoss(0.3),
    "shifted": a.PowerLoss(0.5, "shifted"),
    "explicit": a.PowerLoss(2.0, "explicit", 3.0),
    "saturating": a.PowerLoss(0.3, n_sat=5),
    "callable": lambda n: (1.0 + n) ** -0.4,
    "linear": lambda n: np.maximum(0, 1 - n / 4.0),
    "halving": lambda n: 0.5**n,
    "discrete": lambda n: (n == 0) * 1.0,
}


@pytest.mark.parametrize("loss", SHARED.values(), ids=SHARED.keys())
@pytest.mark.parametrize("size", [1, 3, 48, 64, 100])
def test_a_shared_loss_is_the_heap(loss, size):
    rng = np.random.default_rng(size)
    gain = loss.gain if isinstance(loss, a.PowerLoss) else plain_gain(loss)
    lists = [
        a.zipf(size, 0.5),
        rng.random(size),
        np.ones(size),
        np.round(rng.random(size), 1),
        np.zeros(size),
    ]
    for p in lists:
        for d_sae in (0, 1, 7, 64, 1500):
            np.testing.assert_array_equal(a.allocate(p, loss, d_sae), by_heap(p, gain, d_sae))


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 9), st.booleans(), st.data())
def test_a_table_of_losses_is_the_heap(seed, features, longest, coarse, data):
    rng = np.random.default_rng(seed)
    gains = -np.sort(-rng.integers(0, 5 if coarse else 10**6, (features, longest)), axis=1)
    table = np.cumsum(np.c_[np.zeros(features), gains[:, ::-1]], axis=1)[:, ::-1].astype(float)
    p = rng.integers(0, 4, features) / 2.0
    d_sae = data.draw(st.integers(0, gains.size))
    room = np.c_[gains, np.full(features, -np.inf)]
    # A full feature bids minus infinity; p = 0 would make that NaN, so it is spelt out.
    worth = np.where(np.isinf(room), -np.inf, p[:, None] * np.where(np.isinf(room), 0, room))
    heap = greedy_heap([1.0] * features, lambda i, n: worth[i, min(n, longest + 1) - 1], d_sae)
    np.testing.assert_array_equal(a.allocate(p, table, d_sae), heap)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(0, 3000))
def test_features_with_losses_of_their_own_are_the_heap(seed, features, d_sae):
    rng = np.random.default_rng(seed)
    beta = np.where(rng.random(features) < 0.4, np.inf, rng.uniform(0.02, 2, features))
    loss, p = a.PowerLoss(beta, n_sat=rng.integers(1, 400, features)), rng.random(features)
    gains = loss.gain(np.arange(1, d_sae + 2)[:, None])
    heap = greedy_heap(p.tolist(), lambda i, n: gains[n - 1, i], d_sae)
    np.testing.assert_array_equal(a.allocate(p, loss, d_sae), heap)


def test_the_heap_is_optimal_where_everything_can_be_tried():
    p, loss = np.array([0.5, 0.3, 0.2]), a.PowerLoss(0.7)
    options = [(i, j, 9 - i - j) for i in range(10) for j in range(10 - i)]
    best = min(float(p @ loss(np.array(n))) for n in options)
    assert float(p @ loss(a.allocate(p, loss, 9))) == pytest.approx(best, abs=1e-15)


@pytest.mark.parametrize(
    ("p", "loss", "d_sae", "word"),
    [
        ([0.5, -0.1], a.PowerLoss(0.5), 3, "negative"),
        ([0.5, np.nan], a.PowerLoss(0.5), 3, "NaN"),
        ([], a.PowerLoss(0.5), 3, "list of probabilities"),
        ([0.5], a.PowerLoss(0.5), 2.5, "whole number"),
        ([0.5], a.PowerLoss(0.5), -1, "whole number"),
        ([0.5], a.PowerLoss(0.5), True, "whole number"),
        ([0.5], a.PowerLoss(0.5), float("nan"), "whole number"),
        ([0.5], lambda n: n * 1.0, 3, "increases"),
        ([0.5], lambda n: -(n**2.0), 3, "not convex"),
        ([0.5], lambda n: np.full(np.shape(n), np.nan), 3, "not a number"),
        ([0.5], lambda n: 1.0, 3, "array"),
        ([0.5], [[1.0, 0.9, 0.1]], 2, "not convex"),
        ([0.5], [[1.0, np.nan]], 1, "not a number"),
        ([0.5], [[1.0, 1.5]], 1, "increases"),
        ([0.5], lambda n: (1.0 + n) ** -0.5 - 0.1 * (n > 5000), 10**6, "not convex"),
        ([0.5, 0.5], a.PowerLoss(np.array([0.1, 0.2, 0.3])), 3, "length"),
        (np.ones(600_000), a.PowerLoss(0.5), 10**13, "too much"),
        ([0.5, 0.5], [[1.0, 0.5]], 1, "shape"),
        ([0.5], [[1.0, 0.5]], 2, "room"),
    ],
)
def test_bad_input_is_refused_in_three_lines(p, loss, d_sae, word):
    with pytest.raises(GeowallError, match=word) as refused:
        a.allocate(np.array(p), loss if callable(loss) else np.array(loss), d_sae)
    assert len(str(refused.value).splitlines()) == 3


@pytest.mark.parametrize(
    "make",
    [
        lambda: a.PowerLoss(0.5, "unknown"),
        lambda: a.PowerLoss(0.5, "explicit"),
        lambda: a.PowerLoss(0.5, l_zero=2.0),
        lambda: a.PowerLoss(2.0, "explicit", 1.1),
        lambda: a.PowerLoss(-0.5),
        lambda: a.PowerLoss(np.nan),
        lambda: a.PowerLoss(0.5, n_sat=0),
        lambda: a.regime(0.0, 1.0),
        lambda: a.discovery(0, 0.5, 0.5),
        lambda: a.discovery(10, 0.5, 0.5, 0),
        lambda: a.allocate_zipf(10**14, 0.5, 0.5),
    ],
)
def test_losses_and_sizes_out_of_range_are_refused(make):
    with pytest.raises(GeowallError):
        make()


def test_conventions_for_a_feature_without_a_latent():
    assert float(a.PowerLoss(0.5)(0)) == 1.5 and float(a.PowerLoss(0.5, "shifted")(0)) == 1.0
    assert float(a.PowerLoss(0.5, "explicit", 4.0)(0)) == 4.0
    np.testing.assert_allclose(a.PowerLoss(np.inf)(np.array([0, 1, 2])), [1, 0, 0])
    for loss in (a.PowerLoss(0.5), a.PowerLoss(0.5, "shifted"), a.PowerLoss(0.5, "explicit", 4.0, n_sat=9)):
        n = np.arange(1, 30)
        np.testing.assert_allclose(loss.gain(n), loss(n - 1) - loss(n), atol=1e-15)


@pytest.mark.parametrize(("alpha", "beta"), [(0.5, 0.05), (0.5, 0.5), (0.5, 2.0), (2.0, 0.1), (0.1, 3.0)])
@pytest.mark.parametrize(
    "extra", [{}, {"convention": "shifted"}, {"convention": "explicit", "l_zero": 2.5}, {"n_sat": 7}]
)
def test_the_endless_list_is_the_list_in_memory(alpha, beta, extra):
    p = a.zipf(20_000, alpha)
    for d_sae in (1, 3, 10, 1000, 12_345):
        share = a.allocate_zipf(d_sae, alpha, beta, n_features=p.size, **extra)
        n = a.allocate(p, a.PowerLoss(beta, **extra), d_sae)
        np.testing.assert_array_equal(share.latents(np.arange(1, p.size + 1)), n)
        assert share.total == d_sae and share.n_discovered == (n > 0).sum() and share.n_first == n[0]
        assert share.loss() == pytest.approx(float(p @ a.PowerLoss(beta, **extra)(n)), rel=1e-9)


@pytest.mark.parametrize(("alpha", "beta"), [(0.5, 0.05), (0.5, 0.5), (0.5, 1.0), (0.1, 0.1), (5.0, 5.0)])
def test_a_trillion_latents_are_shared_optimally_in_under_a_second(alpha, beta):
    a.allocate_zipf(1000, alpha, beta)
    began = time.perf_counter()
    share = a.allocate_zipf(10**12, alpha, beta, n_features=10**12)
    assert time.perf_counter() - began < 1.0
    held, missed = share.margins()
    assert share.total == 10**12 and held >= missed


def test_discovery_is_the_general_optimum_with_one_manifold():
    p = a.zipf(3000, 0.5)
    for rank in (1, 2, 17):
        beta = np.full(p.size, np.inf)
        beta[rank - 1] = 0.05
        for d_sae in (1, 2, 16, 17, 100, 2999):
            n = a.allocate(p, a.PowerLoss(beta), d_sae)
            found = a.discovery(d_sae, 0.5, 0.05, rank)
            assert (found.n_on_manifold, found.n_discovered) == (n[rank - 1], (n > 0).sum())
            beyond = float(a.zeta_tail(1.5, p.size)) / a.zeta(1.5)
            assert found.loss == pytest.approx(float(p @ a.PowerLoss(beta)(n)) + beyond, rel=1e-12)


def test_the_papers_three_million():
    found = a.discovery(10**8, 0.5, 0.05)
    assert found.n_discovered == 2_874_009 and found.n_on_manifold + found.n_discovered - 1 == 10**8
    rank = a.power_discovered(found.n_on_manifold, 0.5, 0.05)
    assert rank == pytest.approx(found.n_discovered, rel=1e-5)


def test_discovery_at_a_trillion_takes_no_time():
    began = time.perf_counter()
    a.discovery(10**12, 0.5, 0.05)
    assert time.perf_counter() - began < 1.0


def test_partial_zeta_is_the_sum():
    for s in (0.3, 1.0, 1.0 + 1e-12, 1.7):
        sums = np.cumsum(np.arange(1, 2001.0) ** -s)
        x = np.array([1, 2, 5, 11, 12, 100, 2000])
        np.testing.assert_allclose(a.partial_zeta(s, x)[2:], sums[x - 1][2:], rtol=1e-6)
        np.testing.assert_allclose(a.partial_zeta(s, x)[-3:], sums[x - 1][-3:], rtol=1e-11)


def test_the_integer_optimum_follows_the_continuous_one():
    for alpha, beta in [(0.5, 0.1), (0.5, 0.25)]:
        share = a.allocate_zipf(10**10, alpha, beta)
        assert share.n_discovered == pytest.approx(
            float(a.continuous_discovered(1e10, alpha, beta)), rel=2e-3
        )
    d = a.continuous_discovered(np.array([10.0, 1e6]), 0.5, 0.5)
    np.testing.assert_allclose(d * a.partial_zeta(1.0, d), [10.0, 1e6], rtol=1e-9)


@pytest.mark.parametrize("extra", [{}, {"convention": "shifted"}, {"convention": "explicit", "l_zero": 3.0}])
@pytest.mark.parametrize(("alpha", "beta", "close"), [(0.5, 2.0, 1e-4), (0.5, 1.0, 2e-3), (0.5, 0.1, 3e-3)])
def test_prefactors_of_the_limits(alpha, beta, close, extra):
    share, law = a.allocate_zipf(10**12, alpha, beta, **extra), a.asymptote(alpha, beta, **extra)
    assert share.n_discovered == pytest.approx(float(law.discovered(1e12)), rel=close)
    assert share.loss() == pytest.approx(float(law.loss(1e12)), rel=close)


def test_the_critical_regime_closes_in_with_the_logarithm():
    law = a.asymptote(0.5, 0.5)
    off = [
        a.allocate_zipf(n, 0.5, 0.5).n_discovered / float(law.discovered(n)) - 1
        for n in (10**6, 10**9, 10**12)
    ]
    assert off[0] > off[1] > off[2] > 0 and off[2] < 0.12


def test_tables_have_the_columns_that_later_chapters_read():
    found = a.discovery_table([0.5], [0.05], [1e4], [1, 10])
    expected = [
        "alpha",
        "beta",
        "d_sae",
        "manifold_rank",
        "n_on_manifold",
        "n_discovered",
        "efficiency",
        "loss",
    ]
    assert list(found.columns) == expected and len(found) == 2
    scaling = a.scaling_table(0.5, [0.1, 0.5, 2.0], a.sizes(10, 1e8, 2))
    assert (scaling.groupby("beta")["loss"].diff().dropna() < 0).all()
    regimes = a.regimes_table(scaling, 1e4)
    assert {"alpha", "beta", "regime", "quantity", "exponent_theory", "prefactor_theory"} <= set(
        regimes.columns
    )
    for what in ("exponent", "prefactor"):
        assert (regimes[f"{what}_low"] <= regimes[f"{what}_fit"]).all()
        assert (regimes[f"{what}_fit"] <= regimes[f"{what}_high"]).all()
    assert (regimes["exponent_fit"] - regimes["exponent_theory"]).abs().max() < 0.02


def test_the_worst_beta_is_one_over_the_logarithm():
    curves = a.discovery_table([0.5], np.geomspace(0.005, 1, 60), [1e6, 1e10])
    worst = a.worst_beta_table(curves)
    np.testing.assert_allclose(worst["beta_worst"], 1 / np.log(worst["d_sae"]), rtol=0.02)
    low = curves[curves["d_sae"] == 10**6].set_index("beta")["efficiency"]
    assert low.iloc[0] > low.min() < low.iloc[-1]  # not monotone


def test_a_short_sweep_is_biased_and_does_not_know_it():
    windows = a.window_table(0.5, [0.1, 0.5], 1e4, [2, 4]).set_index(["beta", "decades"])
    assert -0.13 < windows.bias[(0.5, 2)] < windows.bias[(0.5, 4)] < -0.09
    assert windows.exponent_high[(0.5, 2)] < 0.4 < windows.exponent_theory[(0.5, 2)]


def test_saturation_gives_the_latents_back():
    table = a.saturation_table(0.5, 0.05, [1e6], [None, 100, 10**4])
    assert table["n_discovered"].tolist() == [107_813, 10**6 - 99, 10**6 - 9_999]
    assert table["n_sat"].isna().tolist() == [True, False, False]


def test_mixtures_are_reproducible_and_end_at_the_known_cases():
    given = 0.5, 0.05, 2000, [0.1, 1.0], [1], 2
    table = a.heterogeneity_table(*given, seed=3)
    pd.testing.assert_frame_equal(table, a.heterogeneity_table(*given, seed=3))
    every = table[table["manifold_share"] == 1.0]
    assert set(every["n_discovered"]) == {a.allocate_zipf(2000, 0.5, 0.05).n_discovered}
    assert (every["latents_on_manifolds"] == 1.0).all()


SHAPED = {
    "discovery": lambda *shape: a.discovery_table([0.5], [0.3], [1e4], [1, 7], *shape),
    "scaling": lambda *shape: a.scaling_table(0.5, [0.3], [1e2, 1e4], *shape),
    "phase": lambda *shape: a.phase_table([0.4, 0.8], [0.3], 1e4, *shape),
    "windows": lambda *shape: a.window_table(0.5, [0.3], 1e3, [2], *shape),
    "saturation": lambda *shape: a.saturation_table(0.5, 0.3, [1e3], [None, 50], *shape),
    "mixtures": lambda *shape: a.heterogeneity_table(0.5, 0.3, 500, [0.1, 1.0], [1], 2, 3, *shape),
}


@pytest.mark.parametrize(("name", "make"), SHAPED.items(), ids=SHAPED.keys())
def test_every_table_of_the_chapter_keeps_to_the_convention_it_is_given(name: str, make):
    pd.testing.assert_frame_equal(make("explicit", 1.3), make("cutoff", 1.3))  # 1 + beta is what cutoff means
    pd.testing.assert_frame_equal(make("shifted", None), make("shifted", 2.5))
    assert not make("shifted", None).equals(make("cutoff", None))
    # A frequent manifold alone among discrete features has its first latent at any price of having none.
    assert make("explicit", 50.0).equals(make("cutoff", None)) == (name in ("discovery", "saturation"))
