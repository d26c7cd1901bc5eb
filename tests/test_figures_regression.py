"""The figures of chapter 08: each draws from its table, fits its column and says its numbers."""

import doctest
import importlib
import json

import numpy as np
import pandas as pd
import pytest

from geowall.figures import (
    chance,
    first_layers,
    intervals,
    marks,
    outcomes,
    regression_checks,
    renderer,
    theme,
)
from geowall.figures import regression as figures
from geowall.laws import baselines, bootstrap, leverage, nulls, printed, published, regression, verdict
from geowall.laws.features import FULL, GEOMETRY

TARGET = "alpha_k50"
MANY = {"n_bootstrap": 40}


@pytest.fixture(scope="module")
def layers():
    return published.per_layer(published.read(published.LAYERS), k=50)


@pytest.fixture(scope="module")
def numbers(layers):
    return printed.printed_against_recomputed(
        layers, published.read(published.TABLES), published.read(published.TEXT)
    )


@pytest.mark.parametrize("name", ["chance", "marks", "outcomes", "regression", "regression_checks"])
def test_examples_in_the_modules_hold(name):
    assert doctest.testmod(importlib.import_module(f"geowall.figures.{name}")).failed == 0


def charts(layers, numbers):
    """Yield every figure of the chapter, drawn from ``layers``."""
    shown = ["kappa_ms", FULL, "depth"]
    stage2 = regression.stage2(
        layers, ["alpha_k50", "beta_n", "gamma"], [*regression.HIERARCHY, "depth"], [0, 1, 2], 20
    )
    influence = leverage.layer_influence(layers, TARGET, list(GEOMETRY))
    r2s = bootstrap.intervals(layers, TARGET, shown, [0, 2], **MANY)
    gaps = bootstrap.gaps(layers, TARGET, [["kappa_ms", "depth"], ["depth+d_int", "depth"]], [0, 2], **MANY)
    partials = baselines.partial_correlations(layers, TARGET, dropped=[0, 2], **MANY)
    tests = nulls.null_tests(layers, TARGET, ["kappa_ms"], 99)
    transfer = regression.transfer(layers, TARGET, ["kappa_ms", "depth_relative"], [0, 2], **MANY)
    transfer_gaps = regression.transfer_gaps(layers, TARGET, [["kappa_ms", "depth_relative"]], **MANY)
    sweep = printed.sparsity_sweep(layers, [25, 50, 75], ["kappa_ms", "depth"], **MANY)
    metrics = baselines.error_metrics(layers, ["kappa_ms", "depth"], **MANY)
    both_bounds = regression.transfer(
        layers, TARGET, ["kappa_ms", "d_int+kappa_ms", "depth"], [0, 10], **MANY
    )
    yield figures.fig_layers(layers, TARGET)
    yield figures.fig_fits(layers, influence, TARGET)
    yield figures.fig_printed(numbers)
    yield figures.fig_hierarchy(stage2)
    yield figures.fig_sparsity(sweep, numbers)
    yield regression_checks.fig_error_metrics(metrics)
    yield regression_checks.fig_clip_bounds(both_bounds)
    yield intervals.fig_forest(r2s)
    yield first_layers.fig_dropped(stage2, TARGET, shown)
    yield first_layers.fig_influence(influence)
    yield intervals.fig_partial(partials)
    yield first_layers.fig_beside_depth(gaps[gaps["features"] == "depth+d_int"])
    yield chance.fig_nulls(nulls.null_histogram(layers, TARGET, ["kappa_ms"], 99), tests)
    yield chance.fig_false_alarms(nulls.false_alarms([26, 42], 20, 19))
    yield outcomes.fig_verdict(verdict.verdicts(r2s, gaps, partials, tests, transfer, transfer_gaps))


@pytest.fixture(scope="module")
def drawn(layers, numbers):
    return {chart.to_dict()["usermeta"]["name"]: chart for chart in charts(layers, numbers)}


def test_every_figure_is_named_once_described_and_fits_the_column(drawn):
    assert len(drawn) == 15
    for chart in drawn.values():
        spec = chart.to_dict()
        meta = spec["usermeta"]
        assert meta["name"].startswith("fig-")
        assert len(meta["caption"]) > 60
        assert len(meta["alt"]) > 60
        assert meta["alt"] == spec["description"]
        bundle, _ = renderer.bundle(chart, [])  # raises if the chart is too wide or has too many rows
        assert len(bundle["image/png"]) > 1000


def test_no_figure_prints_a_missing_number(drawn):
    for chart in drawn.values():
        meta = chart.to_dict()["usermeta"]
        assert "nan" not in f"{meta['caption']} {meta['alt']}".lower().split()


def test_other_models_and_other_ranges_draw_too(layers, numbers):
    made_up = layers.assign(
        source="lab",
        model=layers["model"].map({"gemma-2-2b": "lab-small", "gemma-2-9b": "lab-large"}),
        kappa_ms=layers["kappa_ms"] * 3e-3,
        alpha_k50=layers["alpha_k50"] * 2,
    )
    for chart in (
        figures.fig_layers(made_up, TARGET),
        figures.fig_fits(made_up, leverage.layer_influence(made_up, TARGET, list(GEOMETRY)), TARGET),
        first_layers.fig_influence(leverage.layer_influence(made_up, TARGET, ["kappa_ms"])),
    ):
        text = json.dumps(chart.to_dict())
        assert "lab-large" in text
        renderer.bundle(chart, [])


def test_extrapolated_layers_are_drawn_open(drawn):
    text = json.dumps(drawn["fig-layers"].to_dict())
    assert "datum.alpha_extrapolated" in text
    assert "2 open marks" in drawn["fig-layers"].to_dict()["usermeta"]["caption"]


def test_correlations_stand_beside_the_printed_ones(numbers):
    text = figures.table_of_correlations(numbers)
    assert text.count(" (0.") + text.count(" (−0.") == (numbers["table"] == "Fig. 5").sum() == 10
    assert "| κ_tv | " in text and "(0.98)" in text and "nan" not in text


def test_the_one_cell_that_needs_explaining_is_named(drawn):
    caption = drawn["fig-printed"].to_dict()["usermeta"]["caption"]
    assert "321 do, 1 does within the error" in caption
    assert "Table 4, d_int+nu, R² of gamma comes out at 0.68248 where 0.683 is printed" in caption


def test_no_p_value_reads_as_zero(layers):
    tests = nulls.null_tests(layers, TARGET, ["kappa_ms"], 9999)
    assert tests["p_value"].min() < 0.0005, "smaller than three decimals can show"
    drawn = chance.fig_nulls(nulls.null_histogram(layers, TARGET, ["kappa_ms"], 99), tests)
    text = json.dumps(drawn.to_dict(), ensure_ascii=False)
    assert "p = 0.0001" in text and "p = 0.000 " not in text
    assert "smallest possible 0.0001" in text


def test_every_printed_number_is_in_the_tables_beside_ours(numbers):
    text = regression_checks.printed_tables(numbers)
    lines = [line for line in text.splitlines() if line.startswith("|") and "---" not in line]
    cells = [cell for line in lines for cell in line.split(" | ")[1:] if "<br>" in cell]
    assert len(cells) == len(numbers) == 322
    assert text.count("(\\*)") == 1 + (numbers["agrees"] != "as printed").sum()
    parts = [
        part.replace("−", "-").replace("(\\*)", "")
        for cell in cells
        for part in cell.strip(" |").split("<br>")
    ]
    found = np.array(parts, dtype=float).reshape(-1, 3)
    np.testing.assert_array_equal(np.sort(found[:, 0]), np.sort(numbers["printed"]))
    np.testing.assert_allclose(np.sort(found[:, 1]), np.sort(numbers["recomputed"]), atol=0.0051)
    np.testing.assert_allclose(found[:, 1] - found[:, 0], found[:, 2], atol=0.011)
    assert text.count("<details>") == 7


def test_the_largest_change_by_bounds_is_over_all_cuts(drawn, layers):
    assert "change $R^2$ by 0.287 at most" in drawn["fig-clip-bounds"].to_dict()["usermeta"]["caption"]
    transfer = regression.transfer(layers, TARGET, ["kappa_ms", "depth"], [0, 10], n_bootstrap=1)
    moved = regression_checks.moved_by_bounds(transfer)
    assert set(moved["features"]) == {"kappa_ms"}, "depth has no bounds to move it"
    at_nine = moved[(moved["dropped_layers"] == 10) & (moved["test_model"] == "gemma-2-9b")]
    np.testing.assert_allclose(at_nine["moved"], 0.154, atol=5e-4)


def test_interval_tables_hold_every_target_at_every_cut(layers):
    fits = regression.stage2(layers, regression.TARGETS, ["none", "nu"], [0, 4], n_permutations=1, **MANY)
    text = regression_checks.interval_tables(fits)
    assert text.count("<details>") == 2
    assert text.count("[") == 2 * len(fits)
    row = fits[(fits["target"] == "gamma") & (fits["features"] == "nu")].iloc[0]
    assert f"{marks.signed(row['loo_r2'], '.3f')} [{marks.signed(row['loo_from'])}, " in text


def test_panels_of_the_layers_answer_to_each_other(drawn):
    spec = drawn["fig-layers"].to_dict()
    assert {param["name"] for param in spec["params"]} == {"profile_hover"}
    text = json.dumps(spec)
    assert text.count('{"param": "profile_hover", "value": 1}') >= 5


def test_dots_cut_what_runs_off_and_say_so():
    table = pd.DataFrame({"model": ["a", "b", "c"], "low": [-3.0, 0.1, 0.2], "high": [0.5, 0.9, 4.0]})
    cut = marks.within(table, -0.5, 1.0, ["low", "high"])
    assert cut["arrow"].tolist() == ["◂", "", "▸"]
    assert cut["edge"].tolist() == [-0.5, 0.9, 1.0]
    assert cut["low_drawn"].tolist() == [-0.5, 0.1, 0.2]
    assert cut["high_drawn"].tolist() == [0.5, 0.9, 1.0]


def test_law_corners_lie_on_the_clipped_law(layers):
    influence = leverage.layer_influence(layers, TARGET, ["kappa_ms"])
    both = layers.merge(influence[["model", "layer", "fitted"]], on=["model", "layer"])
    law = figures._law(both, "kappa_ms")
    for model, corners in law.groupby("model"):
        own = layers.loc[layers["model"] == model, "kappa_ms"]
        low, high = np.percentile(own, [1, 99])
        np.testing.assert_allclose(corners["kappa_ms"], [own.min(), low, high, own.max()], rtol=1e-6)


def test_models_without_a_colour_of_their_own_get_different_ones():
    scale = marks.shades(pd.DataFrame({"model": ["gemma-2-9b", "lab-small", "lab-large"]}))
    assert scale["domain"] == ["9B", "lab-small", "lab-large"]
    assert scale["range"][0] == theme.MODEL_COLOURS["gemma-2-9b"]
    assert len(set(scale["range"])) == 3


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        ([0.1, 0.2], [0.3, 0.4], "all intervals are clear of zero"),
        ([-0.1, -0.2], [0.3, 0.4], "no interval is clear of zero"),
        ([-0.1, 0.2], [0.3, 0.4], "the interval is clear of zero at 9B only"),
    ],
)
def test_words_for_intervals(low, high, said):
    assert marks.decided(pd.DataFrame({"model": list(published.MODELS), "low": low, "high": high})) == said
