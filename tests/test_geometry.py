"""The instruments of a layer: known shapes, flat nulls, bad input, the metric of predictions."""

from __future__ import annotations

import doctest
import warnings

import numpy as np
import pandas as pd
import pytest
import torch

from geowall.figures import geometry as layer_figures
from geowall.figures import geometry_instruments, geometry_sites
from geowall.geometry import (
    calibration,
    cloud,
    correction,
    curvature,
    dimension,
    pullback,
    resampling,
    responses,
    shapes,
    spectrum,
    summary,
    surrogates,
)  # fmt: skip
from geowall.kernels.neighbours import neighbours
from geowall.language import layer_fits, layer_geometry
from geowall.language.pullback import tail
from geowall.paths import GeowallError

MODULES = [calibration, cloud, curvature, dimension, pullback, responses, shapes, spectrum, summary]
MODULES += [
    correction,
    resampling,
    layer_fits,
    surrogates,
    layer_figures,
    geometry_instruments,
    geometry_sites,
]


@pytest.mark.parametrize("module", MODULES, ids=lambda m: m.__name__)
def test_the_worked_examples(module):
    assert doctest.testmod(module).failed == 0


@pytest.fixture(scope="module")
def known():
    grid = [1, 2, 3, 5, 7, 10, 14, 20, 28, 40]
    reference = calibration.dimensions(calibration.REFERENCES, grid, 600, 2, seed=50)
    return calibration.dimensions(calibration.FAMILIES, [2, 5, 10, 20], 600, 3), reference


def test_low_dimensions_are_read_right(known):
    low = known[0][(known[0]["truth"] <= 5) & (known[0]["estimator"] == "d_int")]
    assert ((low["value"] / low["truth"] - 1).abs() < 0.12).all()


def test_corrected_dimensions_hold_the_truth_within_their_interval(known):
    fixed = correction.corrections(*known)
    inside = (fixed["low"] <= fixed["truth"]) & (fixed["truth"] <= fixed["high"])
    assert inside.mean() >= 0.9 and len(fixed) == 16


def test_the_tested_family_is_left_out_of_its_reference(known):
    tested, reference = known
    only = tested[tested["manifold"] == "circles"]
    others = reference[reference["manifold"] != "circles"]
    pd.testing.assert_frame_equal(
        correction.corrections(only, reference), correction.corrections(only, others)
    )


def test_a_reading_beyond_every_reference_has_an_open_interval(known):
    reference = known[1]
    beyond = 1.0 + reference["value"].max()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a page shows them
        middle, low, high = correction.corrected(beyond, 0.95 * beyond, reference)
    assert low < middle < high == np.inf


@pytest.mark.parametrize(("name", "d"), calibration.MANIFOLDS, ids=lambda part: str(part))
def test_every_manifold_reads_its_dimension_until_noise_takes_its_place(name, d):
    tables = [
        calibration.dimensions([name], [d], 500, 2, noise, calibration.D_NOISY) for noise in (0.0, 0.05)
    ]
    clean, noisy = (table.set_index("estimator") for table in tables)
    assert set(clean["truth"]) == {float(d)} == set(noisy["truth"])
    assert ((clean["value"] / d - 1).abs() < 0.2).all()
    assert noisy.loc["d_int", "value"] > 1.5 * clean.loc["d_int", "value"]
    assert noisy.loc["gride_8", "value"] < noisy.loc["d_int", "value"]  # which looks nearer


@pytest.mark.parametrize("name", ["circle", "helix", "ripple"])
def test_curves_bend_as_they_should(name):
    found = calibration.curvatures([(name, 1, 1.0)], (0.0,), 600, 1).set_index("estimator")
    assert found.loc["second_form", "value"] == pytest.approx(found.loc["second_form", "truth"], rel=0.1)


def test_bias_and_spread_are_of_single_measurements_over_the_truth():
    names = ["d_int", "second_form"]
    arm = resampling.reach(3)
    rows = [["circles", 10, 0.1, 0.0, n, "d_int", 10.0, 9.0, 9.0 - arm, 9.0 + arm] for n in (50, 100, 200)]
    rows += [["circle", 1, 1.0, s, 100, "d_int", 1.0, 1.0 + s, 1.0, 2.0] for s in (0.0, 0.5)]
    rows += [["circle", 1, 1.0, s, 200, "second_form", 1.0, 1.0 - s, 1.0, 1.0] for s in (0.0, 0.5)]
    rows += [["helix", 1, 1.0, 0.0, 200, "second_form", 1.0, 7.0, 1.0, 1.0]]  # is not round
    rows += [["ball", 2, 0.0, 0.0, 200, "second_form", 0.0, 0.1, 0.0, 0.2]]  # has no truth to share
    found = calibration.bias(pd.DataFrame(rows, columns=calibration.COLUMNS))
    assert set(found["estimator"]) == set(names)
    sized = found[(found["quantity"] == "dimension") & (found["factor"] == "sample size")]
    assert sized["level"].tolist() == [50, 100, 200]
    assert np.allclose(sized["bias"], -0.1) and np.allclose(sized["spread"], 0.1)
    assert np.allclose(sized["low"], -0.1 - arm / 10) and np.allclose(sized["high"], -0.1 + arm / 10)
    noisy = found[(found["factor"] == "noise")].set_index(["quantity", "level"])["bias"]
    assert noisy["dimension", 0.5] == 0.5 and noisy["curvature", 0.5] == -0.5 and noisy["curvature", 0.0] == 0


def test_estimates_do_not_depend_on_rotation_shift_or_unit():
    x = shapes.Circles(3).sample(500, seed=0)
    turn = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(1)))[0]
    plain, moved = (
        summary.summarise(y, recipe={"n_local": 60}, n_bootstrap=0).set_index("estimator")["value"]
        for y in (x, 7.0 * (x @ turn) + 100.0)
    )
    same = ["two_nn", "mle_20", "gride_8", "d_int", "participation"]
    # trimming by norm sees the shift; without it nothing does
    a, b = (
        summary.summarise(y, recipe={"n_local": 60, "trim": 0.0}, n_bootstrap=0).set_index("estimator")[
            "value"
        ]
        for y in (x, 7.0 * (x @ turn) + 100.0)
    )
    assert np.allclose(a[same], b[same], rtol=1e-3) and np.allclose(a["kappa_ms"], b["kappa_ms"], atol=2e-3)
    assert not np.allclose(plain["d_int"], moved["d_int"], rtol=1e-4)


def test_gride_at_the_first_neighbour_is_two_nn():
    graph = neighbours(shapes.Linear(4).sample(400, seed=0), 10)
    log_ratio = dimension.log_ratio(graph.distance)
    assert dimension.gride(graph.distance, 1) == pytest.approx(dimension.two_nn(log_ratio), rel=1e-6)


@pytest.mark.parametrize("radius", [0.5, 2.0])
def test_fits_find_the_curvature_of_a_sphere(radius):
    x = shapes.embedded(shapes.make("sphere", 2, radius), 2500, 6, 0.0, seed=0)
    index, some = neighbours(x, 160).index, torch.arange(0, 2500, 25)
    form = curvature.second_form(x, index, 2, 40, some)
    assert float(form.mean_square.mean().sqrt()) == pytest.approx(1 / radius, rel=0.06)
    assert float(form.square.mean().sqrt()) == pytest.approx(1 / radius, rel=0.06)
    scales = curvature.multiscale(x, index, 2, (20, 40, 80, 160), some)
    assert scales.curvature == pytest.approx(1 / radius, rel=0.1)


def test_scales_part_noise_from_curvature():
    flat = shapes.embedded(shapes.Linear(3, "ball"), 2500, 9, 0.03, seed=0)
    some = torch.arange(0, 2500, 25)
    found = curvature.multiscale(flat, neighbours(flat, 400).index, 3, (50, 100, 200, 400), some)
    assert found.noise == pytest.approx(0.03, rel=0.15) and found.curvature < 0.25


def test_a_bowl_has_the_second_fundamental_form_it_was_given():
    bowl = shapes.Bowl(3, bend=0.5)
    assert float(bowl.form().square().sum() / 3) == pytest.approx(0.25)
    origin = float(bowl.curvature(torch.zeros(1, 6))[0])
    assert origin == pytest.approx(float(bowl.form().diagonal(dim1=1, dim2=2).sum(1).norm() / 3), rel=1e-5)
    x = bowl.sample(3000, seed=0)
    truth = float(bowl.curvature(x).square().mean().sqrt())
    form = curvature.second_form(x, neighbours(x, 60).index, 3, 60, torch.arange(0, 3000, 20))
    assert float(form.mean_square.mean().sqrt()) == pytest.approx(truth, rel=0.1)


def test_flat_clouds_and_their_surrogates_agree_within_their_intervals(monkeypatch):
    cases = {
        "dimension": [("normal", d, 1.0, 0.0) for d in (5, 15)],
        "spectrum": [("power_law", 24, 1.0, 0.0)],
        "clusters": [("clusters", 16, c, 0.0) for c in (16, 64)],
    }
    monkeypatch.setattr(responses, "FACTORS", cases)
    found = responses.agreement(responses.drawn(600, 24, 4, 100))
    assert set(found["estimator"]) == {"kappa_ms", "kappa_tv"} and len(found) == 10
    for _, part in found.groupby("surrogate"):
        assert part["agree"].mean() >= 0.75  # of 24 and 16 that are 95 % each, and not independent
    assert ((found["low"] <= 0) & (found["high"] >= 0)).all()


def test_intervals_of_curvature_draw_the_tangent_dimension_anew():
    x = shapes.embedded(shapes.make("normal", 15), 700, 24, 0.0, seed=0)
    settings = summary.Recipe(trim=0.0, n_local=100)
    free = summary.measure(cloud.prepare(x, trim=0.0), settings, 100).set_index("estimator")
    wide, narrow = (free["high"] - free["low"], free["given_high"] - free["given_low"])
    for name in ("kappa_ms", "kappa_tv"):
        assert wide[name] > 3 * narrow[name] > 0
        assert free.loc[name, "low"] <= free.loc[name, "value"] <= free.loc[name, "high"]
    assert wide["d_int"] == narrow["d_int"]
    dim = int(free.loc["tangent_dim", "value"])
    asked = summary.Recipe(trim=0.0, n_local=100, dim=dim)
    held = summary.measure(cloud.prepare(x, trim=0.0), asked, 100).set_index("estimator")
    assert held.loc["kappa_ms", ["value", "low", "high"]].tolist() == pytest.approx(
        free.loc["kappa_ms", ["value", "given_low", "given_high"]].tolist(), rel=1e-3
    )


def test_a_tangent_space_too_small_reads_as_curvature():
    found = responses.shortfall([6], 1.0, 500, 2).query("estimator == 'kappa_ms'")
    flat = found[found["bend"] == 0].set_index("missing")["value"]
    bent = found[found["bend"] == 1].set_index("missing")["value"]
    assert flat[0] < 1e-4 < bent[0] < flat[2]
    both = responses.shortfall([4, 6], 1.0, 400, 2)
    caption = geometry_instruments.fig_shortfall(both).usermeta["caption"]
    assert "one dimension too few" in caption


def test_a_surrogate_reads_as_many_dimensions_as_its_cloud():
    x = shapes.embedded(shapes.Bowl(3, 1.0), 600, 20, 0.05, seed=0)
    twin = surrogates.surrogate("gaussian_same_d_int", x, 1)
    ours, theirs = (surrogates._d_int(y) for y in (x, twin))
    assert theirs == pytest.approx(ours, rel=0.03)
    assert float(twin.var(0).sum()) == pytest.approx(float(x.var(0).sum()), rel=0.1)


def test_surrogates_keep_what_they_promise():
    x = torch.randn(600, 6, generator=torch.Generator().manual_seed(0)) * torch.arange(1, 7)
    x[:300] += 30.0
    kept = surrogates.surrogate("clusters", x, 0, n_clusters=2)
    assert float((kept[:300].mean(0) - x[:300].mean(0)).abs().max()) < 2.0
    flat = surrogates.surrogate("flat", x, 0, d_flat=2)
    assert spectrum.components(spectrum.eigenvalues(flat), 0.9999) == 2
    wide = surrogates.surrogate("gaussian", x[:5], 0)  # more dimensions than points
    assert wide.shape == (5, 6) and bool(wide.isfinite().all())
    with pytest.raises(GeowallError):
        surrogates.surrogate("bent", x, 0)


def test_intervals_come_from_documents():
    top, alone = torch.randn(400, generator=torch.Generator().manual_seed(0)), torch.arange(400)
    together = torch.arange(400) // 40
    top = top + torch.repeat_interleave(torch.randn(10, generator=torch.Generator().manual_seed(1)), 40)
    ones = torch.ones(400)
    one, other = summary.ratio(top, ones, alone, 300, 0), summary.ratio(top, ones, together, 300, 0)
    assert other[2] - other[1] > 2 * (one[2] - one[1]) and one[0] == other[0]
    assert np.isnan(summary.ratio(top, ones, torch.zeros(400), 300, 0)[1])


@pytest.mark.parametrize(
    "spoil",
    [
        lambda x: x.index_fill(0, torch.tensor([3]), torch.nan),
        lambda x: x[:150],
        lambda x: torch.ones_like(x),
        lambda x: x[0],
        lambda x: x[:1].expand(400, -1),
        lambda x: x[:, :1],
    ],
    ids=["nan", "few", "constant", "vector", "one point", "one coordinate"],
)
def test_bad_clouds_are_refused_in_three_lines(spoil):
    x = torch.randn(400, 5, generator=torch.Generator().manual_seed(0))
    with pytest.raises(GeowallError) as error:
        summary.summarise(spoil(x), n_bootstrap=0)
    assert len(str(error.value).splitlines()) == 3


def test_equal_points_are_kept_up_to_ten_and_refused_where_nothing_lies_between():
    x = torch.randn(300, 5, generator=torch.Generator().manual_seed(0))
    heap = cloud.prepare(torch.cat([x, x[:1].expand(200, -1)]), trim=0.0, duplicates="keep")
    assert (len(heap.points), heap.n_duplicates) == (309, 191)
    found = summary.measure(heap, summary.Recipe(n_local=20), 0)
    assert bool(found.set_index("estimator")["value"].drop("tail_exponent").notna().all())
    twice = cloud.prepare(torch.cat([x, x]), trim=0.0, duplicates="keep")
    with pytest.raises(GeowallError, match="no local geometry"):
        summary.measure(twice, summary.Recipe(n_local=20), 0)


@pytest.mark.parametrize("unit", [2.0**-60, 2.0**60])
def test_the_unit_of_activations_is_of_no_account(unit):
    x = torch.randn(300, 5, generator=torch.Generator().manual_seed(0))
    a, b = (summary.summarise(y, recipe={"n_local": 20}, n_bootstrap=20) for y in (x, unit * x))
    pd.testing.assert_frame_equal(a, b)


def test_words_and_clusters_that_mean_nothing_are_refused():
    for words in ({"tangent": "points"}, {"tangent_about": "median"}):
        with pytest.raises(GeowallError, match="no such recipe"):
            summary.Recipe(**words)
    with pytest.raises(GeowallError, match="more clusters than points"):
        surrogates.surrogate("clusters", torch.eye(5), 0, n_clusters=6)


def test_duplicates_and_constant_columns_are_counted_and_more_dimensions_than_points_are_fine():
    x = torch.randn(300, 400, generator=torch.Generator().manual_seed(0))
    x[7], x[:, 3] = x[9], 1.0
    prepared = cloud.prepare(x, trim=0.0)
    assert (prepared.n_duplicates, prepared.n_constant, prepared.points.shape) == (1, 1, (299, 399))
    found = summary.summarise(x, recipe={"n_local": 20}, n_bootstrap=0)
    assert bool(found["value"].notna().all())
    counts = found[["n_duplicates", "n_trimmed", "n_constant"]].drop_duplicates()
    assert counts.values.tolist() == [[1, 2 * int(0.05 * 299), 1]]


def test_the_pullback_metric_is_exact_where_it_is_known():
    torch.manual_seed(0)
    W, h = torch.randn(4, 9, dtype=torch.float64), torch.randn(4, dtype=torch.float64)

    def predictions(at):
        return (at @ W).log_softmax(-1)

    p = predictions(h).exp()
    expected = W @ (torch.diag(p) - p[:, None] * p[None, :]) @ W.T
    G = pullback.metric(predictions, h, batch=3)
    held = pullback.shares(G, (1, 2, 4, 64))
    assert 0 < held[1] < held[2] < held[4] == pytest.approx(1.0) and held[64] == held[4]
    assert torch.allclose(G, expected, atol=1e-12)
    step = 1e-4 * torch.randn(4, dtype=torch.float64)
    nats = (p * (predictions(h) - predictions(h + step))).sum()
    assert float(0.5 * step @ G @ step) == pytest.approx(float(nats), rel=1e-2)
    assert float(pullback.distances(G, h, (h + step)[None])[0] ** 2) == pytest.approx(
        2 * float(nats), rel=1e-2
    )


def test_geodesics_of_two_outcomes_bend_with_the_sphere_of_predictions_alone():
    h = torch.tensor([0.3], dtype=torch.float64)
    W = torch.tensor([[1.0, -1.0]], dtype=torch.float64)
    bend = pullback.geodesic_curvature(
        lambda at: (at @ W).log_softmax(-1), h, torch.ones(1, 1, dtype=torch.float64)
    )
    assert float(bend[0]) == pytest.approx(0.5, rel=1e-6)  # a great circle of a sphere of radius two


def test_a_tail_is_the_model_and_its_derivatives_are_those_of_differences():
    from geowall.language import lab
    from geowall.language.activations import Site, collect

    small = lab.make(
        lab.Spec(layers=3, d_model=16, context=16, window=8, heads=2, groups=1, d_head=8, d_mlp=32)
    )
    ids = torch.randint(3, 100, (1, 9), generator=torch.Generator().manual_seed(0))
    ids[0, 0] = 2
    h = torch.from_numpy(collect(small, ids, [Site("res", 1)])[Site("res", 1)][0, -1])
    rest = tail(small, ids[0], 1)
    assert torch.allclose(rest(h[None])[0], small(ids).logits[0, -1].log_softmax(-1), atol=1e-5)
    _, moved = pullback.scores(rest, h)
    step = torch.zeros_like(h)
    step[4] = 1e-2
    difference = (rest((h + step)[None])[0] - rest((h - step)[None])[0]) / 2e-2
    assert torch.allclose(moved[4], difference, atol=1e-3)


def test_excess_and_correlations_read_the_table():
    rng, rows = np.random.default_rng(0), []
    for layer in range(6):
        for estimator in summary.FOUR:
            value = rng.uniform(1, 2)
            rows.append(["lab", "m", layer, "res", estimator, value, value - 0.1, value + 0.1, "gaussian"])
            rows[-1] += [value - 0.5, value - 0.6, value - 0.4, 100, 20]
    table = pd.DataFrame(rows, columns=layer_geometry.COLUMNS)
    left = layer_geometry.excess(table)
    assert np.allclose(left["excess"], 0.5) and np.allclose(left["high"] - left["excess"], 0.1 * 2**0.5)
    wide = table.pivot(index=["model", "layer"], columns="estimator", values="value").reset_index()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = layer_geometry.correlations(table, wide).set_index(["source", "first", "second"])
    found = table["correlation"]
    assert found["lab", "nu", "d_int"] == pytest.approx(found["published Gemma 2", "nu", "d_int"])
    assert found["lab, excess over gaussian"].isna().all()  # it never varies
    assert ((table["low"] < found) & (found < table["high"]))[found.notna()].all()


def test_other_sites_are_read_beside_the_stream():
    rng, rows = np.random.default_rng(0), []
    for layer in range(5):
        stream = {estimator: rng.uniform(1, 2) for estimator in summary.FOUR}
        for site, grown in (("res", 1.0), ("mlp", 2.0)):
            for estimator in summary.FOUR:
                value = grown * stream[estimator]
                row = ["lab", "m", layer, site, estimator, value, value - 0.1, value + 0.1]
                flat = value - 0.5 if site == "res" else value + 0.5
                rows.append([*row, layer_geometry.BESIDE, flat, flat, flat, 100, 20])
    table = pd.DataFrame(rows, columns=layer_geometry.COLUMNS)
    found = layer_geometry.by_site(table).set_index(["site", "estimator"])
    assert np.allclose(found["correlation"], 1.0)
    assert (found.loc["res", "clear"] == 1).all() and (found.loc["mlp", "clear"] == 0).all()
    assert np.allclose(found.loc["mlp", "value"], 2 * found.loc["res", "value"])
    words = geometry_sites.told(found.reset_index())
    assert "100% of the layers (residual stream) and 0% of the layers (MLP output)" in words
    only = geometry_sites.told(found.reset_index().query("site == 'res'"))
    assert only.startswith("Only the residual stream")


def test_surrogates_of_a_cloud_are_drawn_once_and_read_twice():
    x = torch.randn(300, 8, generator=torch.Generator().manual_seed(0)) * torch.arange(1, 9) ** -0.5
    kinds, settings = ["gaussian", "gaussian_same_dim"], summary.Recipe(trim=0.0, n_local=30, dim=0)
    found = layer_geometry.beside_surrogates(cloud.prepare(x, trim=0.0), settings, kinds, 4, 20, 0)
    read = found.pivot(index="estimator", columns="surrogate", values="surrogate_value")
    assert read.loc["d_int", "gaussian"] == read.loc["d_int", "gaussian_same_dim"]
    own = found.drop_duplicates("estimator").set_index("estimator")["value"]
    assert read.loc["tangent_dim", "gaussian_same_dim"] == own["tangent_dim"]
