"""The regression: closed forms against statsmodels and brute force, the paper's tables, and bad input."""

import itertools

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from geowall.laws import bootstrap, long_format, ols, pooled, printed, published, regression
from geowall.laws import features as feats
from geowall.laws.tables import pick, where
from geowall.paths import GeowallError


@pytest.fixture(scope="module")
def layers():
    return published.per_layer(published.read(published.LAYERS), k=50)


@pytest.fixture(scope="module")
def stage2(layers):
    return regression.stage2(layers, n_permutations=200)


@pytest.fixture(scope="module")
def numbers(layers):
    tables, text = published.read(published.TABLES), published.read(published.TEXT)
    return printed.printed_against_recomputed(layers, tables, text)


def of(layers, model):
    return layers[layers["model"] == model]


# --- the transform -----------------------------------------------------------------------------------------


def test_clipping_comes_before_the_logarithm_and_the_z_score_last():
    values = np.concatenate([[1e-4], np.geomspace(1, 2, 29)])
    layers = pd.DataFrame({"layer": range(30), "nu": values})
    low, high = np.percentile(values, [1, 99])
    by_hand = np.log(np.clip(values, low, high))
    found = feats.regressors(layers, "nu")[:, 0]
    np.testing.assert_allclose(found, by_hand, rtol=1e-13)
    log_first = np.clip(np.log(values), *np.percentile(np.log(values), [1, 99]))
    assert np.abs(found - log_first).max() > 0.1, "the order makes a difference that a test can see"
    z = feats.standardise(found[:, None])
    assert abs(z.mean()) < 1e-13
    assert abs(z.std() - 1) < 1e-13


def test_depth_terms_are_neither_clipped_nor_logged():
    layers = pd.DataFrame({"layer": [0, 1, 2, 3]})
    np.testing.assert_allclose(feats.regressors(layers, "depth_linear")[:, 0], [0, 1, 2, 3])
    np.testing.assert_allclose(feats.regressors(layers, "depth_log")[:, 0], np.log([1, 2, 3, 4]))
    assert feats.regressors(layers, "depth").shape == (4, 2)
    np.testing.assert_allclose(feats.regressors(layers, "depth_relative")[:, 1], [0.25, 0.5, 0.75, 1])


def test_relative_depth_counts_the_dropped_layers():
    layers = pd.DataFrame({"layer": [2, 3]})
    np.testing.assert_allclose(feats.regressors(layers, "depth_relative")[:, 1], [0.75, 1])


def test_a_batch_is_transformed_like_its_members():
    x = np.random.default_rng(0).lognormal(size=(5, 26, 3))
    logged = np.array([True, False, True])
    batch = feats.transform(x, logged, feats.bounds(x))
    for one, together in zip(x, batch, strict=True):
        np.testing.assert_allclose(feats.transform(one, logged, feats.bounds(one)), together, rtol=1e-14)


def test_a_constant_column_becomes_zero():
    z = feats.standardise(np.column_stack([np.ones(9), np.arange(9.0)]))
    assert (z[:, 0] == 0).all()
    assert np.isfinite(z).all()


# --- least squares -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "p"), [(8, 2), (26, 5), (42, 3), (48, 1)])
def test_fit_is_that_of_statsmodels(n, p):
    rng = np.random.default_rng(n)
    design = feats.design(rng.standard_normal((n, p - 1)))
    y = rng.standard_normal((n, 2))
    theta, r2 = ols.coefficients(design, y), ols.r2(design, y)
    rss = (ols.residuals(design, y) ** 2).sum(axis=0)
    aic, bic = ols.information(rss, n, p)
    for j in range(2):
        twin = sm.OLS(y[:, j], design).fit()
        np.testing.assert_allclose(theta[:, j], twin.params, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(r2[j], twin.rsquared, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(ols.leverage(design), twin.get_influence().hat_matrix_diag, atol=1e-12)
        # statsmodels keeps the constant n (1 + ln 2 pi) of the likelihood, the paper drops it
        constant = n * (1 + np.log(2 * np.pi))
        np.testing.assert_allclose([aic[j], bic[j]], [twin.aic - constant, twin.bic - constant], rtol=1e-9)
        if p > 1:
            f, p_value = ols.f_test(ols.total(y), rss, 1, p, n)
            np.testing.assert_allclose([f[j], p_value[j]], [twin.fvalue, twin.f_pvalue], rtol=1e-8)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_leaving_layers_out_is_refitting_without_them(k):
    rng = np.random.default_rng(k)
    n, design = 11, feats.design(rng.standard_normal((11, 2)))
    y = rng.standard_normal((n, 1))
    errors = []
    for left in itertools.combinations(range(n), k):
        kept = [i for i in range(n) if i not in left]
        theta = np.linalg.lstsq(design[kept], y[kept], rcond=None)[0]
        errors.extend(((y - design @ theta)[list(left)] ** 2).ravel())
    slow = 1 - np.mean(errors) * n / ols.total(y)[0]
    np.testing.assert_allclose(ols.leave_k_out_r2(design, y, k)[0], slow, rtol=1e-10)


def test_leave_one_out_errors_are_those_of_the_general_formula():
    rng = np.random.default_rng(5)
    design, y = feats.design(rng.standard_normal((17, 3))), rng.standard_normal((17, 2))
    r2 = 1 - (ols.loo_errors(design, y) ** 2).sum(axis=0) / ols.total(y)
    np.testing.assert_allclose(r2, ols.leave_k_out_r2(design, y, 1), rtol=1e-12)


@pytest.mark.parametrize("n", [26, 42])
def test_the_mean_alone_loses_by_a_known_amount(n):
    y = np.random.default_rng(n).standard_normal((n, 1))
    np.testing.assert_allclose(ols.leave_k_out_r2(np.ones((n, 1)), y, 1), 1 - (n / (n - 1)) ** 2, rtol=1e-12)


def test_too_few_layers_to_leave_out_is_an_error_in_three_lines():
    with pytest.raises(GeowallError) as caught:
        ols.leave_k_out_r2(feats.design(np.eye(6)[:, :4]), np.ones((6, 1)), 3)
    assert len(str(caught.value).splitlines()) == 3


# --- hypotheses and tables ---------------------------------------------------------------------------------


def test_the_least_correlated_pairs_are_the_papers(layers):
    assert regression.low_rho_pair(of(layers, "gemma-2-2b")) == "d_int+nu"
    assert regression.low_rho_pair(of(layers, "gemma-2-9b")) == "d_int+kappa_ms"


def test_the_intervals_of_all_targets_together_are_those_of_each(layers):
    given, some = {"n_bootstrap": 60, "block_length": 4, "seed": 3}, ["kappa_ms", feats.FULL, "depth"]
    names, targets = ["r2_from", "r2_to", "loo_from", "loo_to"], list(regression.TARGETS)
    together = regression.stage2(layers, targets, some, [0, 5], n_permutations=1, **given)
    assert list(together.columns[-4:]) == names
    for target in targets:
        each = bootstrap.intervals(layers, target, some, [0, 5], **given)
        each = each[each["bootstrap"] == "block"]
        for statistic, ends in (("r2", names[:2]), ("loo_r2", names[2:])):
            slow = each[each["statistic"] == statistic]
            both = slow.merge(together, on=["model", "target", "features", "dropped_layers"])
            assert len(both) == len(slow) == 12
            np.testing.assert_allclose(both[ends], both[["low", "high"]], rtol=1e-10, atol=1e-12)
    alone = regression.stage2(layers, ["gamma"], ["none"], n_permutations=1, **given)
    np.testing.assert_allclose(alone[["r2_from", "r2_to"]], 0, atol=1e-12)


def test_stage2_has_the_columns_of_the_contract(stage2):
    assert list(stage2.columns) == [
        "source", "model", "target", "features", "n_layers", "dropped_layers",
        "r2", "loo_r2", "l2o_r2", "l3o_r2",
        "aic", "bic", "f_vs_h0", "p_value", "permutation_p", "shift_p",
    ]  # fmt: skip
    assert not stage2.duplicated(["model", "target", "features", "dropped_layers"]).any()
    assert (stage2["loo_r2"] <= stage2["r2"]).all()
    without = stage2["features"] == "none"
    assert stage2.loc[without, ["f_vs_h0", "p_value", "permutation_p", "shift_p"]].isna().all(axis=None)
    assert stage2[~without].notna().all(axis=None)


def test_every_permutation_p_is_small_as_the_paper_says(stage2):
    assert stage2["permutation_p"].dropna().max() <= 0.01


def test_dropping_layers_is_dropping_rows(layers):
    dropped = regression.stage2(layers, ["alpha_k50"], ["kappa_ms"], dropped=[5], n_permutations=10)
    fewer = regression.stage2(layers[layers["layer"] >= 5], ["alpha_k50"], ["kappa_ms"], n_permutations=10)
    assert (dropped["dropped_layers"] == 5).all()
    columns = ["n_layers", "r2", "loo_r2", "l3o_r2", "aic"]
    np.testing.assert_allclose(dropped[columns].to_numpy(), fewer[columns].to_numpy(), rtol=1e-12)


def test_the_order_of_the_rows_does_not_matter(layers):
    shuffled = layers.sample(frac=1, random_state=0)
    here = regression.stage2(layers, ["gamma"], ["kappa_ms"], n_permutations=50)
    there = regression.stage2(shuffled, ["gamma"], ["kappa_ms"], n_permutations=50)
    for model in published.MODELS:
        for column in ("l2o_r2", "permutation_p", "shift_p"):
            assert np.isclose(pick(here, column, model=model), pick(there, column, model=model))


def test_transfer_has_the_columns_of_the_contract_and_intervals_around_nothing_else(layers):
    table = regression.transfer(layers, "alpha_k50", ["kappa_ms", "depth"], n_bootstrap=50)
    assert list(table.columns) == [
        "source", "train_model", "test_model", "target", "features", "clip", "dropped_layers", "transfer_r2",
        "test_in_sample_r2", "low", "high", "level_free_r2", "rms_error",
    ]  # fmt: skip
    assert len(table) == 2 * 2 * 2
    assert (table["low"] <= table["high"]).all()
    assert (table["transfer_r2"] <= table["test_in_sample_r2"] + 1e-12).all(), (
        "no law beats the one fitted there"
    )
    depth = where(table, features="depth")
    assert np.allclose(where(depth, clip="own")["transfer_r2"], where(depth, clip="training")["transfer_r2"])


def test_transfer_by_hand(layers):
    train, test = of(layers, "gemma-2-2b"), of(layers, "gemma-2-9b")
    low, high = np.percentile(train["kappa_ms"], [1, 99])
    x, x_test = (np.log(np.clip(t["kappa_ms"], low, high)) for t in (train, test))
    fit = sm.OLS(train["alpha_k50"].to_numpy(), sm.add_constant(x.to_numpy())).fit()
    error = test["alpha_k50"] - fit.predict(sm.add_constant(x_test.to_numpy()))
    y = test["alpha_k50"]
    by_hand = 1 - (error**2).sum() / ((y - y.mean()) ** 2).sum()
    table = regression.transfer(layers, "alpha_k50", ["kappa_ms"], n_bootstrap=2)
    found = pick(table, "transfer_r2", train_model="gemma-2-2b", clip="training")
    np.testing.assert_allclose(found, by_hand, rtol=1e-10)


def test_transfer_of_a_model_to_its_copy_is_its_own_fit(layers):
    one = of(layers, "gemma-2-9b")
    twins = pd.concat([one, one.assign(model="copy")])
    table = regression.transfer(twins, "alpha_k50", ["d_int+nu"], n_bootstrap=2)
    assert np.allclose(table["transfer_r2"], table["test_in_sample_r2"], rtol=1e-12)


def test_transfer_gap_is_the_difference_of_two_transfers(layers):
    gaps = regression.transfer_gaps(layers, "alpha_k50", [["kappa_ms", "depth_relative"]], n_bootstrap=20)
    table = regression.transfer(layers, "alpha_k50", ["kappa_ms", "depth_relative"], n_bootstrap=2)
    strict = where(table, clip="training").pivot(index="test_model", columns="features", values="transfer_r2")
    for row in gaps.itertuples():
        assert np.isclose(
            row.gap, strict.loc[row.test_model, "kappa_ms"] - strict.loc[row.test_model, "depth_relative"]
        )


def test_the_fitted_laws_are_those_of_the_note(layers):
    table = regression.slopes(layers, "alpha_k50", n_bootstrap=20)
    for model, level, slope in (
        ("gemma-2-2b", 0.1869, -0.0898 / 0.7979),
        ("gemma-2-9b", 0.1803, -0.1003 / 0.9592),
    ):
        assert abs(pick(table, "intercept", model=model) - level) < 1e-4
        assert abs(pick(table, "slope", model=model) - slope) < 5e-4


def test_not_clipping_is_the_zeroth_percentile(layers):
    sweep = regression.clip_sweep(layers, "alpha_k50", ["kappa_ms"], [0, 1])
    model = of(layers, "gemma-2-2b")
    design = sm.add_constant(np.log(model["kappa_ms"].to_numpy()))
    bare = sm.OLS(model["alpha_k50"].to_numpy(), design).fit().rsquared
    assert np.isclose(pick(sweep, "r2", model="gemma-2-2b", clip_percentile=0), bare)


# --- the paper's numbers -----------------------------------------------------------------------------------


def test_every_printed_cell_is_compared(numbers):
    tables = published.read(published.TABLES)
    cells = tables[[*printed.WITHIN, *printed.ACROSS]].notna().sum().sum()
    text = published.read(published.TEXT)
    apart = text["quantity"] == "long_format_loo_r2"  # its sparsities are not given: a table of its own
    assert len(numbers) == cells + (~apart).sum() == 322
    assert numbers["recomputed"].notna().all()


@pytest.mark.parametrize("table", ["Table 1", "Table 2", "Table 3", "Table 5", "Fig. 5", "k sweep"])
def test_every_cell_rounds_to_what_is_printed(numbers, table):
    rows = where(numbers, table=table)
    beyond = rows["difference"].abs() / rows["unit"] - 0.5
    assert beyond.max() <= 1e-9, rows.loc[beyond.idxmax()].to_dict()


def test_table_4_rounds_to_what_is_printed_but_for_one_explained_cell(numbers):
    rows = where(numbers, table="Table 4")
    outside = rows[rows["difference"].abs() > rows["unit"] * (0.5 + 1e-9)]
    cell = {"train_model": "gemma-2-2b", "target": "gamma", "features": "d_int+nu", "statistic": "r2"}
    assert len(outside) == len(where(outside, **cell)) == 1
    # The bound is not tuned: it is what the calibration error of the readings can do to this very cell.
    needed = outside["difference"].abs().iloc[0] - 0.0005
    assert 0 < needed < outside["reading_error"].iloc[0] < 1e-4
    assert outside["agrees"].iloc[0] == "within the reading error"


def test_reading_error_bounds_what_random_misreadings_do(layers):
    own, rng = of(layers, "gemma-2-2b").reset_index(drop=True), np.random.default_rng(0)
    bound = printed.reading_error(layers, "gemma-2-2b", "gamma", "d_int+nu", "r2")
    here = regression.stage2(own, ["gamma"], ["d_int+nu"], n_permutations=1)["r2"][0]
    for _ in range(20):
        moved = own.copy()
        for column in ("gamma", "d_int", "nu"):
            moved[column] += rng.uniform(-1, 1, len(own)) * 1e-5 * np.ptp(own[column])
        there = regression.stage2(moved, ["gamma"], ["d_int+nu"], n_permutations=1)["r2"][0]
        assert abs(there - here) <= bound


def test_the_long_format_comes_out_at_the_sparsities_of_the_floors_with_layers_left_out(layers):
    found = long_format.long_format(layers, published.read(published.TEXT))
    ways = len(long_format.SPARSITIES) * len(long_format.K_TERMS) * len(long_format.LEFT_OUT)
    assert len(found) == 2 * ways
    agree = long_format.settings_that_agree(found)
    assert set(agree["sparsities"]) == {"floors"} and set(agree["left_out"]) == {"layer"}
    at_sweep = where(found, sparsities="sweep", k_term="with geometry")
    for left_out in long_format.LEFT_OUT:  # the sweep is what the page regresses everywhere else
        curve = pooled.curve_regressions(layers, {"published": long_format.SPARSITIES["sweep"]}, [feats.FULL])
        own = where(at_sweep, left_out=left_out).set_index("model")["recomputed"]
        assert np.allclose(own, curve.set_index("model").loc[own.index, f"{left_out}_r2"], atol=1e-9)


def test_the_verdict_has_no_slack_of_its_own():
    assert printed.verdict(0.12349, 0.123, 0.001, 0.0) == "as printed"
    assert printed.verdict(0.12351, 0.123, 0.001, 0.0) == "no"
    assert printed.verdict(0.12351, 0.123, 0.001, 2e-5) == "within the reading error"
    assert printed.verdict(0.12351, 0.123, 0.001, 5e-6) == "no"


def test_alpha_at_other_sparsities_reproduces_the_columns(layers):
    sweep = printed.sparsity_sweep(layers, [25, 50, 75], ["kappa_ms"])
    direct = regression.stage2(
        layers, ["alpha_k25", "alpha_k50", "alpha_k75"], ["kappa_ms"], n_permutations=1
    )
    for row in sweep.itertuples():
        other = pick(direct, "loo_r2", model=row.model, target=f"alpha_k{row.k}")
        assert abs(row.loo_r2 - other) < 1e-4


# --- bad input ---------------------------------------------------------------------------------------------


def spoilt(layers, **changes):
    return layers.assign(**changes)


@pytest.mark.parametrize(
    ("change", "hypothesis", "said"),
    [
        ({}, "curvature", "no column 'curvature'"),
        ({"nu": np.nan}, "nu", "empty or infinite"),
        ({"nu": np.inf}, "nu", "empty or infinite"),
        ({"nu": 0.0}, "nu", "zero or negative"),
        ({"nu": -1.0}, "nu", "zero or negative"),
        ({"alpha_k50": np.nan}, "nu", "empty or infinite"),
    ],
)
def test_bad_columns_are_refused_in_three_lines(layers, change, hypothesis, said):
    with pytest.raises(GeowallError) as caught:
        regression.stage2(spoilt(layers, **change), ["alpha_k50"], [hypothesis], n_permutations=1)
    assert said in str(caught.value)
    assert len(str(caught.value).splitlines()) == 3


def test_the_gap_in_the_wide_error_is_refused_as_a_feature(layers):
    with pytest.raises(GeowallError, match="2 of its values are empty"):
        regression.stage2(layers, ["alpha_k50"], ["nmse_l0_50_width_hi"], n_permutations=1)


def test_too_few_layers_are_refused_in_three_lines(layers):
    with pytest.raises(GeowallError, match="leave 6; eight are the least") as caught:
        regression.stage2(layers, ["alpha_k50"], ["nu"], dropped=[20], n_permutations=1)
    assert len(str(caught.value).splitlines()) == 3


def test_depth_without_a_layer_column_is_refused():
    with pytest.raises(GeowallError, match="no column 'layer'"):
        feats.regressors(pd.DataFrame({"nu": [1.0, 2.0]}), "depth")


def test_no_second_look_is_refused():
    with pytest.raises(GeowallError, match="without_first is empty"):
        regression.cuts(0, [])


def test_pick_refuses_to_guess(stage2):
    with pytest.raises(GeowallError, match="no single r2"):
        pick(stage2, "r2", model="gemma-2-2b")
