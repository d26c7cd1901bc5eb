"""Chapter 08 on measured layers: rows, flat twins, errors of exponents, pooled rows, readings, figures."""

import doctest
import importlib

import numpy as np
import pandas as pd
import pytest

from geowall.figures import (
    intervals,
    outcomes,
    regression_controls,
    regression_grids,
    regression_lab,
    regression_pooled,
    renderer,
)
from geowall.laws import (
    baselines,
    bootstrap,
    groups,
    noise,
    nulls,
    ols,
    pooled,
    power,
    published,
    regression,
    twins,
    variants,
    verdict,
)  # fmt: skip
from geowall.laws import features as feats
from geowall.laws import layers as rows
from geowall.laws.tables import pick, where
from geowall.paths import GeowallError

KINDS = ("gaussian", "gaussian_same_dim")
GRID = {"site": "res", "architecture": "jumprelu", "schedule": "matched"}
SIZES = {"m-large": 20, "m-small": 12}


def tables(seed: int = 0):
    """Geometry, laws and checkpoints of two models: exponents are 0.3 less 0.1 of the excess of kappa_ms."""
    rng, geometry, laws, checkpoints = np.random.default_rng(seed), [], [], []
    for model, n_layers in SIZES.items():
        for layer in range(n_layers):
            excess = dict(zip(feats.GEOMETRY, rng.normal(size=4), strict=True))
            alpha = 0.3 - 0.1 * excess["kappa_ms"] + 1e-5 * rng.normal()
            flat = {name: 20 + rng.normal() for name in feats.GEOMETRY}
            value = {name: flat[name] + excess[name] for name in flat}
            value |= {"participation": 9 + rng.random(), "tail_exponent": 1 + rng.random()}
            where_ = {"source": "lab", "model": model, "layer": layer, "site": "res"}
            for name, kind in ((name, kind) for name in value for kind in KINDS):
                row = where_ | {"estimator": name, "surrogate": kind, "value": value[name]}
                geometry.append(row | {"surrogate_value": flat.get(name, 1.0)})
            for k in (8.0, 16.0, 32.0):
                law = where_ | GRID | {"form": "no_floor", "k": k, "alpha_width": alpha, "narrow": 64}
                law |= {"low": alpha - 0.02, "high": alpha + 0.02, "beta_n": -alpha, "wide": 256}
                laws.append(law | {"gamma": 1e-4 * rng.normal(), "extrapolated": False})
            for width in (64, 128, 256):
                for l0 in (5.0, 12.0, 40.0):
                    error = 0.9 * width**-alpha / l0**0.3
                    row = {"model": model, "layer": layer, **GRID, "d_sae": width, "l0": l0, "nmse": error}
                    row |= {"fvu": error * width**-0.1, "cosine": 1 - error / 2, "nmse_median": error}
                    row |= {"nmse_mean": error, "nmse_low": error, "nmse_high": error, "status": "measured"}
                    checkpoints.append(row | {"weights": f"{model}{layer}{width}{l0}"})
    return pd.DataFrame(geometry), pd.DataFrame(laws), pd.DataFrame(checkpoints)


@pytest.fixture(scope="module")
def made():
    return tables()


@pytest.fixture(scope="module")
def lab(made):
    return rows.measured(*made, k=16)


@pytest.fixture(scope="module")
def both(lab):
    theirs = published.per_layer(published.read(published.LAYERS), k=50)
    return rows.stacked(rows.of_published(theirs, 50), lab)


LAWS = (
    "layers groups twins noise pooled variants ols features regression baselines bootstrap leverage nulls "
    "power long_format"
)
FIGURES = (
    "regression regression_controls regression_grids regression_lab regression_pooled "
    "first_layers intervals chance outcomes"
)
NAMES = [f"laws.{m}" for m in LAWS.split()] + [f"figures.{m}" for m in FIGURES.split()]


@pytest.mark.parametrize("name", NAMES)
def test_the_examples_of_the_docstrings_hold(name):
    assert doctest.testmod(importlib.import_module(f"geowall.{name}")).failed == 0


# --- power -------------------------------------------------------------------------------------------------


def test_a_law_on_curvature_that_varies_is_carried_and_its_power_is_that_of_the_transfer_it_plants(both):
    gemma = where(both, source="published")
    whole = pd.DataFrame({"slope": [-0.11, -0.02]})
    found = power.of_transfer(gemma, whole, n_draws=200)
    assert len(found) == 2 * 2 * 2  # directions, sizes of the noise, levels
    assert found["power"].min() > 0.9 and (found["slope"] == -0.11).all()
    carried = regression.transfer(gemma, "alpha_width", ["kappa_ms"], n_bootstrap=1)
    carried = where(carried, clip="training").set_index("test_model")
    for level, column in (("same", "transfer_r2"), ("free", "level_free_r2")):
        seen = where(found, errors="wobble", level=level).set_index("test_model")["measured"]
        assert np.allclose(seen, carried.loc[seen.index, column], atol=1e-9)


def test_another_level_is_beyond_every_draw_of_one_law_and_is_granted_where_it_is_free(lab):
    law = pd.DataFrame({"slope": [-0.1]})
    rng = np.random.default_rng(0)
    planted = 0.5 - 0.1 * np.log(lab["kappa_ms"]) + 1e-3 * rng.standard_normal(len(lab))
    apart = lab.assign(alpha_width=planted + 5.0 * (lab["model"] == "m-small"))
    found = power.of_transfer(apart, law, n_draws=200)
    assert (where(found, level="same")["as_low"] == 1 / 201).all()
    assert (where(found, level="free", errors="wobble")["as_low"] > 1 / 201).all()
    assert (where(found, level="same")["measured"] < 0).all()
    alone = power.of_transfer(where(lab, model="m-small"), law)
    assert alone.empty and list(alone) == list(found)


# --- rows --------------------------------------------------------------------------------------------------


def test_measured_rows_join_geometry_exponents_and_the_narrow_error(lab, made):
    assert lab.groupby("model", sort=False).size().to_dict() == {"m-small": 12, "m-large": 20}
    assert (lab["k"] == 16).all()
    np.testing.assert_allclose(lab["kappa_ms"] - lab["flat_kappa_ms"], lab["excess_kappa_ms"])
    np.testing.assert_allclose(lab["nmse_narrow"], 0.9 * 64 ** -lab["alpha_width"] / 16**0.3, rtol=1e-6)
    np.testing.assert_allclose(lab["alpha_se"], 0.02 / 1.959964)


def test_the_nearest_sparsity_that_all_models_have_is_read(made):
    laws = made[1]
    some = laws[(laws["model"] != "m-small") | (laws["k"] != 16)]
    assert (rows.exponents(some, 15)["k"] == 8).all(), "16 is nearer, and only one model has it"
    assert (rows.exponents(laws, 1000)["k"] == 32).all()


def test_gemma_scope_names_no_schedule(made, lab):
    geometry, laws, checkpoints = made
    hub = rows.measured(geometry, laws.assign(schedule=""), checkpoints.assign(schedule=""), k=16)
    pd.testing.assert_frame_equal(hub, lab)


def test_what_cannot_be_joined_is_refused_in_three_lines(made):
    geometry, laws, checkpoints = made
    for change, said in (
        ((geometry.assign(model=geometry["model"] + "x"), laws), "no layer has both"),
        ((geometry, laws.assign(source="published")), "no measured exponent"),
        ((geometry.assign(surrogate="clusters"), laws), "no surrogate 'gaussian_same_dim'"),
    ):
        with pytest.raises(GeowallError, match=said) as caught:
            rows.measured(*change, checkpoints, k=16)
        assert len(str(caught.value).splitlines()) == 3


def test_sources_share_their_columns_first(both):
    assert list(both.columns[:5]) == ["source", "model", "layer", "k", "alpha_width"]
    assert both.groupby("source")["k"].unique().map(list).to_dict() == {"lab": [16.0], "published": [50.0]}
    assert both.loc[both["source"] == "published", "alpha_se"].isna().all()
    assert rows.models_of(both, ["lab"]) == {"m-small": 12, "m-large": 20}


def test_spans_are_ranges_and_what_a_slope_makes_of_them(lab):
    table = rows.spans(lab, pd.DataFrame({"slope": [-0.1, 0.05]}))
    own = lab[lab["model"] == "m-small"]
    fold = own["kappa_ms"].max() / own["kappa_ms"].min()
    assert np.isclose(pick(table, "kappa_fold", model="m-small"), fold)
    assert np.isclose(pick(table, "predicted_span", model="m-small"), 0.1 * np.log(fold))


def test_short_models_are_left_out_of_late_cuts_only(both):
    found = [(key["model"], key["dropped_layers"]) for key, _ in groups.each_model(both, [0, 4, 10])]
    assert found.count(("m-small", 4)) == 1
    assert ("m-small", 10) not in found and ("m-large", 10) in found
    with pytest.raises(GeowallError, match="too few layers"):
        list(groups.each_model(both[both["model"] == "m-small"], [10]))


def test_targets_are_named_by_the_sparsity_they_were_read_at(both):
    table = regression.stage2(both, ["alpha_width", "gamma"], ["kappa_ms"], n_permutations=1)
    named = table.groupby("source")["target"].unique().map(list).to_dict()
    assert named == {"published": ["alpha_k50", "gamma"], "lab": ["alpha_k16", "gamma"]}


def test_differences_enter_without_a_logarithm(lab):
    one = lab[lab["model"] == "m-small"]
    assert (one["excess_kappa_ms"] < 0).any()
    x = feats.regressors(one, "excess_kappa_ms+kappa_ms")
    np.testing.assert_allclose(x[:, 0], one["excess_kappa_ms"])
    assert np.abs(x[:, 1] - one["kappa_ms"]).min() > 1


# --- twins and errors --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def twin(lab, made):
    return twins.twin_regressions(lab, made[0], "alpha_width", KINDS, n_bootstrap=40)


def test_an_exponent_made_of_the_excess_is_found_there_and_not_in_the_twin(twin):
    assert len(twin) == 2 * 2 * 4 * 3 * 2
    curve = where(twin, features="kappa_ms", surrogate="gaussian", given="none")
    np.testing.assert_allclose(where(curve, part="excess")["correlation"], -1, atol=1e-6)
    np.testing.assert_allclose(where(curve, part="excess")["loo_r2"], 1, atol=1e-6)
    assert (where(curve, part="flat twin")["correlation"].abs() < 0.8).all()


def test_a_twin_that_reads_nothing_is_no_predictor_and_its_excess_still_is(lab, made):
    kind = made[0]["surrogate"] == KINDS[0]
    silent = kind & (made[0]["estimator"] == "kappa_ms") & (made[0]["layer"] == 0)
    shape = made[0].assign(surrogate_value=made[0]["surrogate_value"].mask(silent, 0.0))
    table = twins.twin_regressions(lab, shape, "alpha_width", KINDS, n_bootstrap=2)
    parts = table[table["features"] == "kappa_ms"].groupby("surrogate")["part"].unique()
    assert set(parts[KINDS[0]]) == {"layer", "excess"} and set(parts[KINDS[1]]) == set(twins.PARTS)


def test_errors_of_known_size_are_found_as_wobble_and_set_the_ceiling():
    rng, layer = np.random.default_rng(1), np.arange(400)
    y = 0.3 + 0.1 * np.sin(layer / 40) + 0.02 * rng.standard_normal(400)
    assert abs(noise.wobble(y) / 0.02 - 1) < 0.25
    truth = 0.1 * np.sin(layer / 40)
    r2 = 1 - ((y - 0.3 - truth) ** 2).sum() / ((y - y.mean()) ** 2).sum()
    assert abs(noise.ceiling(y, np.full(400, 0.02)) - r2) < 0.02


def test_equal_errors_weigh_nothing_and_no_errors_move_nothing(lab):
    table = noise.with_errors(lab.assign(alpha_se=0.0), "alpha_width", ["kappa_ms", "nu"], n_draws=20)
    stated = where(table, errors="documents")
    np.testing.assert_allclose(stated["low"], stated["value"], atol=1e-12)
    np.testing.assert_allclose(table["weighted"], table["value"], atol=1e-9)
    fits = regression.stage2(lab, ["alpha_width"], ["nu"], n_permutations=1)
    ours = where(stated, model="m-large", features="nu", statistic="loo_r2")
    np.testing.assert_allclose(ours["value"], pick(fits, "loo_r2", model="m-large"), rtol=1e-9)


def test_weights_are_those_of_a_weighted_fit():
    rng = np.random.default_rng(2)
    x, y, se = feats.design(rng.normal(size=(15, 1))), rng.normal(size=15), rng.uniform(0.1, 2, 15)
    found = noise._statistics(x, y[:, None], 1 / se)["r2"][0]
    w = 1 / se**2
    theta = np.linalg.solve(x.T @ (w[:, None] * x), x.T @ (w * y))
    mean = (w * y).sum() / w.sum()
    assert np.isclose(found, 1 - (w * (y - x @ theta) ** 2).sum() / (w * (y - mean) ** 2).sum())


# --- pooled rows and readings ------------------------------------------------------------------------------


def test_leaving_groups_out_is_refitting_without_them():
    rng = np.random.default_rng(3)
    design, y, group = feats.design(rng.normal(size=(30, 3))), rng.normal(size=30), np.arange(30) % 6
    errors = np.empty(30)
    for g in range(6):
        out = group == g
        errors[out] = y[out] - design[out] @ np.linalg.lstsq(design[~out], y[~out], rcond=None)[0]
    by_hand = 1 - (errors**2).sum() / ((y - y.mean()) ** 2).sum()
    assert np.isclose(pooled.leave_out_r2(design, y, group), by_hand)
    one = ols.leave_k_out_r2(design, y[:, None], 1)[0]
    assert np.isclose(pooled.leave_out_r2(design, y, np.arange(30)), one)
    with pytest.raises(GeowallError, match="group 0 cannot be left out"):
        pooled.leave_out_r2(np.eye(6)[group], y, group)


def test_checkpoints_of_a_law_in_the_features_are_predicted_for_unseen_layers(lab, made):
    table = pooled.checkpoint_regressions(made[2], lab, ["none", "excess_kappa_ms"])
    assert (table["n_rows"] == table["n_layers"] * 9).all()
    np.testing.assert_allclose(where(table, features="excess_kappa_ms")["layer_r2"], 1, atol=1e-6)
    assert (where(table, features="none")["layer_r2"] < 0.99).all()
    assert where(table, features="excess_kappa_ms")["n_terms"].eq(8).all()


def test_exponents_at_every_sparsity_repeat_the_one_exponent(both):
    ks = {"published": [25, 50, 75], "lab": [8.0, 32.0]}
    table = pooled.curve_regressions(both, ks, ["kappa_ms", "depth"])
    assert (table["row_r2"] >= table["layer_r2"] - 1e-9).all()
    loo = regression.stage2(both, ["alpha_width"], ["kappa_ms"], n_permutations=1)
    for model in published.MODELS:
        here = pick(table, "layer_r2", model=model, features="kappa_ms")
        assert abs(here - pick(loo, "loo_r2", model=model)) < 0.03


@pytest.fixture(scope="module")
def read(made):
    checkpoints = made[2]
    topk = checkpoints[checkpoints["layer"] < 3].assign(architecture="topk", weights="t")
    topk["weights"] += topk.index.astype(str)
    topk["nmse"] *= topk["d_sae"] ** -0.05
    narrow = (checkpoints["model"] == "m-small") & (checkpoints["d_sae"] < 256)
    mlp = checkpoints[narrow].assign(site="mlp", weights="m" + checkpoints.loc[narrow, "weights"])
    return variants.exponents_by(
        pd.concat([checkpoints, topk, mlp], ignore_index=True),
        ["nmse", "fvu"],
        16.0,
        [8.0, 16.0, 32.0],
        [64, 128],
    )


def test_planted_exponents_come_back_from_every_measure_in_every_form(read, lab):
    own = read[(read["architecture"] == "jumprelu") & (read["site"] == "res")]
    usual = own.merge(lab[["model", "layer", "alpha_width"]], on=["model", "layer"], suffixes=("_read", ""))
    assert set(usual["form"]) == {"secant", "no_floor", "no_floor_all"}
    extra = usual["metric"].map({"nmse": 0.0, "fvu": 0.1})
    np.testing.assert_allclose(usual["alpha_width_read"], usual["alpha_width"] + extra, atol=1e-9)


def test_readings_and_grids_compare_with_the_usual_one(read, lab, made):
    readings = variants.by_metric(read, lab, ["excess_kappa_ms"])
    np.testing.assert_allclose(readings["agreement"], 1, atol=1e-9)
    np.testing.assert_allclose(readings["correlation"], -1, atol=1e-6)
    grids = variants.by_grid(read, lab, made[0], ["excess_kappa_ms"])
    np.testing.assert_allclose(where(grids, architecture="topk")["shift"], 0.05, atol=1e-9)
    assert where(grids, architecture="topk")["loo_r2"].isna().all(), (
        "three layers are too few to leave one out"
    )
    np.testing.assert_allclose(where(grids, architecture="jumprelu", site="res")["loo_r2"], 1, atol=1e-6)


def test_a_site_is_regressed_on_its_own_geometry_and_compared_on_equal_widths(read, lab, made):
    """The exponents of the site are those of the stream; its geometry is turned round, so is the sign."""
    stream = where(made[0], site="res", model="m-small")
    turned = stream.assign(site="mlp", value=2 * stream["surrogate_value"] - stream["value"])
    every = pd.concat([made[0], turned], ignore_index=True)
    features = ["kappa_ms", "d_int", "excess_kappa_ms"]
    told = {}
    for name, geometry in (("known", every), ("unknown", made[0])):
        grids = variants.by_grid(read, lab, geometry, features)
        found = where(grids, site="mlp", features="excess_kappa_ms").iloc[0]
        assert found["own_geometry"] == (name == "known") and found["n_layers"] == 12
        assert abs(found["shift"]) < 1e-9, "narrow and wide are the same"
        assert np.isnan(found["correlation"]) if name == "unknown" else found["correlation"] > 0.999
        told[name] = regression_grids.told(grids, lab)
        assert regression_grids.table_of(grids).count("\n") == 6
    assert "No geometry was measured at MLP output" in told["unknown"] and "No geometry" not in told["known"]
    all_widths = variants.by_grid(read, lab, every, features, form="no_floor_all")
    assert where(all_widths, site="mlp")["shift"].isna().all(), "64 to 128 latents against 64 to 256"
    training, site = variants.largest_shifts(grids, lab)
    assert training > 0.3 and site < 1e-6


# --- transfer, verdict, figures ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def carried(both):
    return regression.transfer(both, "alpha_width", ["kappa_ms", "depth_relative"], [0, 10], n_bootstrap=20)


def test_a_law_is_carried_between_all_models_that_have_the_layers(carried, both):
    whole = where(carried, dropped_layers=0, clip="training", features="kappa_ms")
    assert len(whole) == 4 * 3
    late = where(carried, dropped_layers=10)
    assert "m-small" not in {*late["train_model"], *late["test_model"]}
    assert (carried["level_free_r2"] >= carried["transfer_r2"] - 1e-12).all()
    home = both[both["model"] == "gemma-2-9b"]["alpha_width"]
    row = where(whole, train_model="gemma-2-2b", test_model="gemma-2-9b").iloc[0]
    assert np.isclose(row["rms_error"], np.sqrt((1 - row["transfer_r2"]) * home.var(ddof=0)))
    far = where(whole, train_model="gemma-2-9b", test_model="m-large")
    assert far["source"].tolist() == ["published to lab"] and far["target"].tolist() == ["alpha_k16"]


def test_verdicts_cover_both_sources_and_every_claim_once(both, lab, twin, carried):
    small = {"n_bootstrap": 20, "dropped": [0]}
    gaps = regression.transfer_gaps(both, "alpha_width", [["kappa_ms", "depth_relative"]], **small)
    evidence = (
        bootstrap.intervals(both, "alpha_width", ["kappa_ms"], **small),
        bootstrap.gaps(both, "alpha_width", [["kappa_ms", "depth"]], **small),
        baselines.partial_correlations(both, "alpha_width", ["kappa_ms"], **small),
        nulls.null_tests(both, "alpha_width", ["kappa_ms"], 99),
        carried, gaps,
    )  # fmt: skip
    table = verdict.verdicts(*evidence, twins=where(twin, surrogate="gaussian"))
    assert not table.duplicated(["claim", "model"]).any()
    assert set(table["source"]) == {"published", "lab"}
    assert set(where(table, claim="Transfers from gemma-2-9b")["model"]) == {"m-small", "m-large"}
    assert where(table, claim="Its excess over a flat twin goes with alpha")["outcome"].eq("survives").all()
    check(outcomes.fig_verdict(table))
    seen = pd.DataFrame({"model": ["m-small", "gemma-2-9b"], "errors": "spread", "power": 0.3})
    judged = verdict.verdicts(*evidence, power=seen.assign(as_low=[0.4, 0.01])).set_index(["claim", "model"])
    before = verdict.verdicts(*evidence).set_index(["claim", "model"])["outcome"]
    changed = judged.index[judged["outcome"] != before]
    assert set(changed) <= {("Predicts unseen layers", "m-small")}
    assert before["Predicts unseen layers", "m-small"] == "survives" or len(changed) == 1


def test_a_law_is_planted_as_often_as_its_power_says_and_never_as_low_where_it_is_there(lab):
    law = pd.DataFrame({"slope": [-0.1]})
    x = np.log(where(lab, model="m-small")["kappa_ms"].to_numpy(float))
    found = power.of_layers(where(lab, model="m-small"), law, n_draws=300)
    se = where(found, errors="spread")["se"].iloc[0]
    assert pick(found, "power", errors="spread") == power.power(x, -0.1, se, 300)
    assert found["measured"].nunique() == 1 and found["as_low"].between(1 / 301, 1).all()
    blind = power.cannot_tell(found.assign(power=0.5, as_low=[0.2, 0.2]))
    assert blind["errors"].tolist() == ["spread"]
    assert power.cannot_tell(found.assign(power=0.9, as_low=0.2)).empty


def check(chart, *, rendered=True):
    meta = chart.to_dict()["usermeta"]
    assert len(meta["caption"]) > 60 and len(meta["alt"]) > 30
    assert "nan" not in f"{meta['caption']} {meta['alt']}".lower().replace(",", " ").split()
    if rendered:
        renderer.bundle(chart, [])  # raises if the chart is too wide


def test_figures_of_measured_layers_draw_and_fit(both, lab, twin, read, carried, made):
    errors = noise.with_errors(both, "alpha_width", ["kappa_ms", "depth"], n_draws=20)
    per_row = pooled.checkpoint_regressions(made[2], lab, ["none", "kappa_ms"])
    curve = pooled.curve_regressions(both, {"published": [25, 50], "lab": [8, 32]}, ["none", "kappa_ms"])
    curvature, cuts = ["kappa_ms", "excess_kappa_ms"], {"dropped": [0, 4], "n_bootstrap": 20}
    rivals = bootstrap.intervals(lab, "alpha_width", curvature, n_bootstrap=20)
    controls = (
        bootstrap.intervals(lab, "alpha_width", [*curvature, "depth"], **cuts),
        baselines.partial_correlations(lab, "alpha_width", curvature, **cuts),
        nulls.null_tests(lab, "alpha_width", curvature, 99),
    )
    for chart in (
        regression_lab.fig_sources(both),
        regression_lab.fig_twins(twin, "gaussian"),
        regression_lab.fig_errors(errors),
        regression_pooled.fig_readings(variants.by_metric(read, lab, ["kappa_ms", "d_int"]), "no_floor"),
        regression_grids.fig_grids(read, "no_floor"),
        regression_pooled.fig_pooled(per_row, curve),
        regression_pooled.fig_transfer(carried, ["kappa_ms", "depth_relative"]),
        intervals.fig_rivals(rivals),
        regression_controls.fig_controls(*controls),
    ):
        check(chart, rendered=chart.usermeta["name"] in ("fig-twins", "fig-controls-here"))
