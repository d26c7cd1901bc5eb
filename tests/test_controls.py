"""The controls: calibrated nulls, intervals that cover, partial correlations, influence, verdicts."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats

from geowall.laws import baselines, bootstrap, leverage, nulls, ols, published, regression, verdict
from geowall.laws import features as feats
from geowall.laws.tables import pick, where
from geowall.paths import GeowallError


@pytest.fixture(scope="module")
def layers():
    return published.per_layer(published.read(published.LAYERS), k=50)


# --- nulls -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("null", ["permutation", "block", "shift"])
@pytest.mark.parametrize("n", [8, 26, 42])
def test_rearrangements_keep_every_layer_once(null, n):
    draws = nulls.moved(np.arange(float(n)), null, 50, 5, seed=1)
    assert (np.sort(draws, axis=1) == np.arange(n)).all()


def test_shifts_are_all_shifts_and_begin_with_none():
    y = np.arange(7.0)
    draws = nulls.moved(y, "shift", n_draws=3)
    assert draws.shape == (7, 7)
    assert (draws[0] == y).all()
    assert len(np.unique(draws, axis=0)) == 7


def test_blocks_stay_together():
    draws = nulls.moved(np.arange(40.0), "block", 200, 5, seed=2)
    kept = (np.diff(draws, axis=1) % 40 == 1).mean()
    assert 0.75 < kept < 0.9, "four neighbours in five stay neighbours when blocks hold five layers"


def test_increments_keep_the_sizes_of_the_steps():
    y = np.random.default_rng(0).standard_normal(26).cumsum()
    draws = nulls.moved(y, "increments", 20, seed=3)
    sizes = np.sort(np.abs(np.diff(draws, axis=1)), axis=1)
    np.testing.assert_allclose(sizes, np.tile(np.sort(np.abs(np.diff(y))), (20, 1)), rtol=1e-9)


def test_unknown_null_is_refused():
    with pytest.raises(GeowallError, match="no null hypothesis 'bootstrap'"):
        nulls.moved(np.arange(9.0), "bootstrap")


def test_r2_of_draws_is_the_r2_of_each_fit():
    rng = np.random.default_rng(4)
    design, draws = feats.design(rng.standard_normal((26, 4))), rng.standard_normal((30, 26))
    slow = [sm.OLS(y, design).fit().rsquared for y in draws]
    np.testing.assert_allclose(nulls.r2_of_draws(design, draws), slow, rtol=1e-9)
    np.testing.assert_allclose(nulls.r2_of_draws(design, draws), ols.r2(design, draws.T), rtol=1e-9)


def test_p_values_cannot_be_smaller_than_their_resolution():
    draws = np.linspace(0, 0.5, 99)
    assert nulls.p_value(0.9, draws) == 0.01
    assert nulls.p_value(0.0, draws) == 1.0
    assert nulls.p_value(0.5, draws, exhaustive=True) == pytest.approx(1 / 99)


@pytest.mark.parametrize("null", ["permutation", "shift"])
def test_p_values_are_uniform_where_the_null_is_true(null):
    rng, p_values = np.random.default_rng(6), []
    for i in range(400):
        design = feats.design(rng.standard_normal((20, 2)))
        y = rng.standard_normal(20)
        r2 = nulls.r2_of_draws(design, nulls.moved(y, null, 99, seed=i))
        p_values.append(nulls.p_value(nulls.r2_of_draws(design, y[None])[0], r2, exhaustive=null == "shift"))
    grid = 20 if null == "shift" else 100
    jittered = np.array(p_values) - rng.uniform(0, 1 / grid, len(p_values))  # the p-values are discrete
    assert stats.kstest(jittered, "uniform").pvalue > 0.001


def test_shifts_are_calibrated_on_circular_series_with_memory_and_permutations_are_not():
    rng, n, alarms = np.random.default_rng(7), 40, {"shift": [], "permutation": []}
    window = np.exp(-0.5 * (np.minimum(np.arange(n), n - np.arange(n)) / 3) ** 2)
    smooth = np.fft.ifft(np.fft.fft(rng.standard_normal((2, 300, n))) * np.fft.fft(window)).real
    for i, (x, y) in enumerate(zip(*smooth, strict=True)):
        design = feats.design(x[:, None])
        observed = nulls.r2_of_draws(design, y[None])[0]
        for null, found in alarms.items():
            r2 = nulls.r2_of_draws(design, nulls.moved(y, null, 99, seed=i))
            found.append(nulls.p_value(observed, r2, exhaustive=null == "shift") <= 0.05)
    assert 0.02 <= np.mean(alarms["shift"]) <= 0.09
    assert np.mean(alarms["permutation"]) > 0.3


def test_false_alarms_show_the_permutation_test_failing_on_random_walks():
    table = nulls.false_alarms([26], n_series=150, n_draws=99, seed=1)
    assert len(table) == len(nulls.SERIES) * len(nulls.NULLS)
    walk = where(table, series="random walk")
    assert pick(walk, "false_alarm_rate", null="permutation") > 0.35
    assert pick(walk, "false_alarm_rate", null="increments") < 0.12
    assert pick(table, "false_alarm_rate", series="independent layers", null="permutation") < 0.12


def test_null_tables_agree_with_stage2(layers):
    tests = nulls.null_tests(layers, "alpha_k50", ["kappa_ms"], n_draws=200, seed=3)
    stage2 = regression.stage2(layers, ["alpha_k50"], ["kappa_ms"], n_permutations=200, seed=3)
    for model, n in (("gemma-2-2b", 26), ("gemma-2-9b", 42)):
        fit = where(stage2, model=model)
        shift, permutation = (where(tests, model=model, null=null) for null in ("shift", "permutation"))
        assert np.isclose(shift["observed"].iloc[0], fit["r2"].iloc[0])
        assert shift["p_value"].iloc[0] == fit["shift_p"].iloc[0] == shift["resolution"].iloc[0] == 1 / n
        assert permutation["p_value"].iloc[0] == fit["permutation_p"].iloc[0]
        assert permutation["resolution"].iloc[0] == 1 / 201


def test_histogram_holds_every_draw(layers):
    table = nulls.null_histogram(layers, "alpha_k50", ["kappa_ms"], n_draws=100)
    sums = table.groupby(["model", "null"])["share"].sum()
    np.testing.assert_allclose(sums, 1.0)
    assert (table["r2_high"] > table["r2_low"]).all()


# --- bootstrap ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "length"), [(7, 3), (26, 5), (42, 1), (5, 9)])
def test_blocks_are_runs_around_the_circle(n, length):
    rows = bootstrap.rows(n, "block", 300, length, seed=0)
    assert rows.shape == (300, n)
    steps = np.diff(rows, axis=1) % n
    inside = (np.arange(1, n) % length) != 0
    assert (steps[:, inside] == 1 % n).all()
    counts = np.bincount(rows.ravel(), minlength=n) / 300
    assert abs(counts - 1).max() < 0.35, "every layer is as likely as any other, the ends included"


def test_unknown_bootstrap_is_refused():
    with pytest.raises(GeowallError, match="no bootstrap 'wild'"):
        bootstrap.rows(9, "wild", 2)


def test_same_seed_same_intervals(layers):
    one, two, three = (
        bootstrap.intervals(layers, "alpha_k50", ["kappa_ms"], n_bootstrap=60, seed=s) for s in (1, 1, 2)
    )
    pd.testing.assert_frame_equal(one, two)
    assert not one["low"].equals(three["low"])


def test_the_value_is_that_of_stage2_and_blocks_are_wider(layers):
    table = bootstrap.intervals(layers, "alpha_k50", ["kappa_ms"], n_bootstrap=400)
    stage2 = regression.stage2(layers, ["alpha_k50"], ["kappa_ms"], n_permutations=1)
    for model in published.MODELS:
        for statistic in ("r2", "loo_r2"):
            rows = where(table, model=model, statistic=statistic)
            np.testing.assert_allclose(rows["value"], pick(stage2, statistic, model=model), rtol=1e-10)
            width = rows.set_index("bootstrap")["high"] - rows.set_index("bootstrap")["low"]
            assert width["block"] > width["layer"]


def test_draws_of_r2_are_refits():
    rng = np.random.default_rng(8)
    layers = pd.DataFrame(
        {"layer": range(15), "nu": rng.lognormal(size=15), "alpha": rng.standard_normal(15)}
    )
    picks = bootstrap.rows(15, "layer", 10, seed=4)
    fast = bootstrap.r2_draws(layers, "alpha", "nu", picks)
    for pick_, found in zip(picks, fast, strict=True):
        drawn = layers.iloc[pick_]
        x = np.log(np.clip(drawn["nu"], *np.percentile(drawn["nu"], [1, 99])))
        slow = sm.OLS(drawn["alpha"].to_numpy(), sm.add_constant(x.to_numpy())).fit().rsquared
        np.testing.assert_allclose(found, slow, rtol=1e-9)


@pytest.mark.slow
def test_layer_intervals_cover_a_known_correlation():
    rng, hits, truth = np.random.default_rng(9), 0, 0.8
    for i in range(150):
        x = rng.standard_normal(60)
        y = np.sqrt(truth) * x + np.sqrt(1 - truth) * rng.standard_normal(60)
        layers = pd.DataFrame({"layer": range(60), "g": np.exp(x), "alpha": y})
        picks = bootstrap.rows(60, "layer", 200, seed=i)
        low, high = bootstrap.middle(bootstrap.r2_draws(layers, "alpha", "g", picks, (0, 100)))
        hits += low <= truth <= high
    assert 0.87 <= hits / 150 <= 0.99


def test_gaps_are_differences_and_vanish_between_equals(layers):
    pairs = [["kappa_ms", "depth"], ["nu", "nu"]]
    table = bootstrap.gaps(layers, "alpha_k50", pairs, dropped=[0, 4], n_bootstrap=50)
    stage2 = regression.stage2(layers, ["alpha_k50"], ["kappa_ms", "depth"], dropped=[0, 4], n_permutations=1)
    for row in where(table, rival="depth").itertuples():
        fits = where(stage2, model=row.model, dropped_layers=row.dropped_layers)
        gap = pick(fits, "loo_r2", features="kappa_ms") - pick(fits, "loo_r2", features="depth")
        assert np.isclose(row.gap, gap)
    assert (where(table, rival="nu")[["gap", "low", "high"]] == 0).all(axis=None)


# --- depth, influence, metrics -----------------------------------------------------------------------------


def test_partial_correlation_is_the_t_of_a_joint_regression(layers):
    table = baselines.partial_correlations(layers, "alpha_k50", ["kappa_ms"], ["depth"], n_bootstrap=20)
    for model, group in layers.groupby("model"):
        x = feats.regressors(group, "kappa_ms")
        design = np.column_stack([feats.design(feats.regressors(group, "depth")), x])
        fit = sm.OLS(group["alpha_k50"].to_numpy(), design).fit()
        by_t = fit.tvalues[-1] / np.sqrt(fit.tvalues[-1] ** 2 + fit.df_resid)
        row = where(table, model=model, form="levels")
        np.testing.assert_allclose(row["correlation"].iloc[0], by_t, rtol=1e-8)
        np.testing.assert_allclose(row["p_value"].iloc[0], fit.pvalues[-1], rtol=1e-6)


def test_plain_and_difference_correlations_are_pearsons(layers):
    table = baselines.partial_correlations(layers, "alpha_k50", ["nu"], ["none"], n_bootstrap=20)
    for model, group in layers.groupby("model"):
        x, y = feats.regressors(group, "nu")[:, 0], group["alpha_k50"].to_numpy()
        rows = where(table, model=model).set_index("form")
        np.testing.assert_allclose(rows.loc["levels", "correlation"], np.corrcoef(x, y)[0, 1], rtol=1e-10)
        steps = np.corrcoef(np.diff(x), np.diff(y))[0, 1]
        np.testing.assert_allclose(rows.loc["differences", "correlation"], steps, rtol=1e-10)
        np.testing.assert_allclose(rows.loc["levels", "p_value"], stats.pearsonr(x, y).pvalue, rtol=1e-6)


def test_two_curves_in_depth_have_no_partial_correlation():
    rng, layer = np.random.default_rng(10), np.arange(40.0)
    table = pd.DataFrame({"source": "made up", "model": "m", "layer": layer})
    table["g"] = np.exp(-0.1 * layer + 0.02 * rng.standard_normal(40))
    table["alpha"] = 1 - 0.02 * layer + 0.02 * rng.standard_normal(40)
    found = baselines.partial_correlations(table, "alpha", ["g"], ["none", "depth"], n_bootstrap=20)
    levels = where(found, form="levels")
    assert pick(levels, "correlation", given="none") > 0.95
    assert abs(pick(levels, "correlation", given="depth")) < 0.4


def test_influence_is_that_of_statsmodels(layers):
    table = leverage.layer_influence(layers, "alpha_k50", ["d_int+kappa_ms"])
    for model, group in layers.groupby("model"):
        design = feats.design(feats.regressors(group, "d_int+kappa_ms"))
        twin = sm.OLS(group["alpha_k50"].to_numpy(), design).fit().get_influence()
        rows = where(table, model=model)
        np.testing.assert_allclose(rows["leverage"], twin.hat_matrix_diag, rtol=1e-7)
        np.testing.assert_allclose(rows["cooks_distance"], twin.cooks_distance[0], rtol=1e-6)
        np.testing.assert_allclose(rows["loo_error"], twin.resid_press, rtol=1e-7)
        assert rows["variance_share"].sum() == pytest.approx(1)


def test_the_extrapolated_layers_are_marked_and_carry_much(layers):
    table = leverage.layer_influence(layers, "alpha_k50", ["kappa_ms"])
    marked = table[table["alpha_extrapolated"]]
    assert marked[["model", "layer"]].to_numpy().tolist() == [["gemma-2-9b", 0], ["gemma-2-9b", 1]]
    assert marked["variance_share"].sum() > 0.6


def test_error_metrics_compare_like_with_like(layers):
    table = baselines.error_metrics(layers, ["kappa_ms"])
    exponents = where(table, model="gemma-2-9b", target=["alpha_k50", "alpha_chord"])
    assert (exponents["n_layers"] == 40).all(), "both on the layers that have both widths"
    assert abs(exponents["loo_r2"].diff().iloc[-1]) < 0.005


def test_correlations_are_symmetric_in_what_they_mean(layers):
    table = baselines.feature_correlations(layers, "alpha_k50")
    assert len(table) == 10
    direct = np.corrcoef(layers["nu"], layers["alpha_k50"])[0, 1]
    assert np.isclose(pick(table, "r", feature="nu", other="alpha_k50"), direct)


# --- verdicts ----------------------------------------------------------------------------------------------


def test_outcomes_follow_the_rule():
    assert verdict.outcome(0.5, 0.1, 0.9, "above") == "survives"
    assert verdict.outcome(0.5, 0.0, 0.9, "above") == "undecided"
    assert verdict.outcome(-0.5, -0.9, -0.1, "above") == "fails"
    assert verdict.outcome(-0.5, -0.9, -0.1, "below") == "survives"
    with pytest.raises(ValueError, match="from low to high"):
        verdict.outcome(0.5, 0.9, 0.1, "above")


def test_every_claim_is_judged_once_in_each_model(layers):
    small = {"n_bootstrap": 60}
    evidence = (
        bootstrap.intervals(layers, "alpha_k50", ["kappa_ms"], [0, 4], **small),
        bootstrap.gaps(layers, "alpha_k50", [["kappa_ms", "depth"]], [0, 4], **small),
        baselines.partial_correlations(layers, "alpha_k50", dropped=[0, 4], **small),
        nulls.null_tests(layers, "alpha_k50", ["kappa_ms"], n_draws=99),
        regression.transfer(layers, "alpha_k50", ["kappa_ms"], [0, 4], **small),
        regression.transfer_gaps(layers, "alpha_k50", [["kappa_ms", "depth_relative"]], [0, 4], **small),
    )
    table = verdict.verdicts(*evidence)
    assert len(table) == 2 * (2 + 4 + 6 + 2 + 2 + 2)
    assert not table.duplicated(["claim", "model"]).any()
    assert set(table["outcome"]) <= set(verdict.OUTCOMES)
    counts = verdict.count(table)
    assert counts.groupby("model")["n_claims"].sum().eq(18).all()
