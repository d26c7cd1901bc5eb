"""The last chapter: rules and verdicts, floors and theory, regimes, the planner, and `geowall plan`."""

from __future__ import annotations

import json
from dataclasses import replace
from math import nan

import numpy as np
import pandas as pd
import pytest

from geowall.__main__ import main
from geowall.laws import long_format, published
from geowall.paths import ROOT, GeowallError
from geowall.wall import (
    advice,
    calibrate,
    chapter,
    claims_capacity,
    decisive,
    evidence,
    floor_numbers,
    floors,
    geometry_numbers,
    holdout,
    nested,
    planner,
    powers,
    profile_numbers,
    regimes,
    rules,
    theory,
    words,
)
from geowall.wall import cells as from_tables
from geowall.wall import verdicts as judge
from geowall.wall.cells import Cell
from geowall.wall.claims_geometry import FITS
from geowall.wall.prior import UNSTRETCHED, last_saving, learn, log_error

WIDTHS = (64, 128, 256, 512, 1024)


@pytest.fixture(scope="module")
def shelf() -> dict[str, pd.DataFrame]:
    """Every published table that the claims need, and the nested tests."""
    paths = judge.present().items()
    tables = {
        name: pd.read_parquet(ROOT / path) if path.endswith("parquet") else pd.read_csv(ROOT / path)
        for name, path in paths
    }
    return tables | {"09/nested_tests": nested.tests(published.read(published.LAYERS))}


@pytest.fixture(scope="module")
def judged(shelf: dict[str, pd.DataFrame]) -> pd.DataFrame:
    return judge.verdicts(shelf)


def layers_with_floors(n: int, seed: int = 0, noise: float = 0.01) -> list[Cell]:
    """Layers whose first exponent goes with curvature, each with a floor of its own."""
    rng, made = np.random.default_rng(seed), []
    for layer in range(n):
        kappa = float(np.exp(rng.normal(-2, 0.5)))
        slope, phi = 0.3 * (kappa / np.exp(-2)) ** -0.6, rng.uniform(0, 0.6)
        u = np.log(np.array(WIDTHS) / 256)
        errors = 0.2 * np.exp(
            np.log((1 - phi) * np.exp(-slope / (1 - phi) * u) + phi) + rng.normal(0, noise, len(u))
        )
        shape = {"kappa_ms": kappa, "d_int": 5.0 + rng.uniform()}
        made.append(Cell("planted", layer, WIDTHS, tuple(map(float, errors)), shape))
    return made


@pytest.mark.parametrize(
    ("rule", "ends", "there", "says"),
    [
        (rules.above(0), (0.3, 0.1, 0.5), nan, "yes"),
        (rules.above(0), (0.3, -0.1, 0.5), nan, "no"),
        (rules.above(0), (0.3, -0.1, 0.5), 0.4, "undecided"),
        (rules.above(0), (0.3, -0.1, 0.5), 0.8, "no"),
        (rules.above(0), (-0.3, -0.5, 0.5), nan, "no"),
        (rules.below(1), (0.9, nan, nan), nan, "yes"),
        (rules.below(1), (0.9, 0.8, 1.2), 0.85, "undecided"),
        (rules.same(0.01), (0.5, 0.4, 0.6), 0.505, "yes"),
        (rules.same(0.01), (0.5, 0.4, 0.6), 0.59, "undecided"),
        (rules.same(0.01), (0.5, 0.4, 0.6), 0.7, "no"),
        (rules.about(2), (0.09, 0.08, 0.1), 0.05, "undecided"),
        (rules.about(2), (-0.09, -0.1, -0.08), 0.05, "no"),
        (rules.about(2), (0.09, 0.04, 0.1), 0.05, "yes"),
        (rules.between(1, 2), (1.5, 0.9, 1.8), 1.0, "undecided"),
    ],
)
def test_a_rule_looks_at_the_whole_interval(rule, ends, there, says):
    assert rule.of(*ends, there) == says


def test_a_number_that_is_none_cannot_be_judged():
    with pytest.raises(ValueError, match="no number"):
        rules.above(0).of(nan)
    assert rules.verdict("no", "yes") == rules.FAILED and rules.verdict("yes", "undecided") == rules.CAVEAT


def test_every_claim_is_judged_once_and_says_why(judged: pd.DataFrame):
    assert len(judged) == len(judge.CLAIMS) and judged["claim"].is_unique
    assert set(judged["verdict"]) <= set(rules.VERDICTS)
    short_of = judged["verdict"] != rules.REPRODUCED
    assert (judged.loc[short_of, "why"].str.len() > 5).all() and (judged.loc[~short_of, "why"] == "").all()
    assert judged.loc[judged["verdict"] != rules.UNTESTED, "value"].notna().all()
    counted = judge.count(judged)
    assert counted["n_claims"].sum() == len(judged) and counted.groupby("paper")["of"].first().sum() == len(
        judged
    )


def test_a_missing_table_a_missing_row_and_no_number_are_reasons(shelf: dict[str, pd.DataFrame]):
    nothing = judge.verdicts({}).set_index("claim")
    assert (nothing["verdict"] == rules.UNTESTED).all()
    assert (
        nothing.loc["Curvature fits the exponent at 2B, R²", "why"] == "table 08/intervals is not published"
    )
    emptied = shelf | {"08/intervals": shelf["08/intervals"].query("features != 'kappa_ms'")}
    found = judge.verdicts(emptied, FITS).set_index("claim").loc["Curvature fits the exponent at 2B, R²"]
    assert found["verdict"] == rules.UNTESTED and "08/intervals has no row with" in found["why"]
    column = evidence.cell("01/ranked", "gone").find
    with pytest.raises(evidence.MissingError, match="no gone"):
        column({"01/ranked": pd.DataFrame({"beta": [1.0]})})


def test_verdicts_follow_the_tables(shelf: dict[str, pd.DataFrame], judged: pd.DataFrame):
    claim = "Curvature fits the exponent at 9B, R²"
    assert judged.set_index("claim").loc[claim, "verdict"] == rules.CAVEAT
    table = shelf["08/intervals"].copy()
    table.loc[table["statistic"] == "r2", ["value", "low", "high"]] = 0.5, 0.4, 0.6
    moved = judge.verdicts(shelf | {"08/intervals": table}, FITS).set_index("claim").loc[claim]
    assert moved["verdict"] == rules.FAILED and moved["value"] == 0.5
    gaps = shelf["08/gaps"].assign(low=0.1, gap=0.2, high=0.3)
    cleared = judge.verdicts(shelf | {"08/gaps": gaps}, FITS).set_index("claim").loc[claim]
    assert cleared["verdict"] == rules.REPRODUCED and cleared["why"] == ""


CONTROLLED = [claim for claim in judge.CLAIMS if claim.control]


@pytest.mark.parametrize("claim", CONTROLLED, ids=lambda claim: claim.claim)
def test_a_caveat_says_what_the_number_of_its_control_says(claim, shelf: dict[str, pd.DataFrame]):
    control = claim.control
    found = control.number.find(shelf)
    said, side = control.says(found), control.rule.side(found.value, found.low, found.high)
    shown = words.shown(found.value, found.low, found.high)
    doubt = f"it is not clear whether {control.passes}"
    assert control.passes != control.otherwise
    assert (said == "") == (side == "yes")
    assert said.startswith({"yes": "", "no": control.otherwise, "undecided": doubt}[side])
    assert side == "yes" or said.endswith(f"({control.what} {shown})")
    # The limit that the sentence is about lies inside the interval exactly where nothing is concluded.
    ends = [control.rule.of(end) == "yes" for end in (found.low, found.high) if not np.isnan(end)]
    assert side != "undecided" or len(set(ends)) == 2 or (control.rule.of(found.value) == "yes") != ends[0]


def test_an_undecided_control_is_not_worded_as_a_failed_one(shelf: dict[str, pd.DataFrame]):
    claims = [
        claim for claim in judge.CLAIMS if claim.claim.startswith("A form that stops fits best by AICc")
    ]
    (control,) = [claim.control for claim in claims]
    for share, says in ((0.3, "forms that go on are best"), (0.6, "it is not clear whether"), (0.95, "")):
        n = round(32 * share)
        found = evidence.share(pd.Series([True] * n + [False] * (32 - n)))
        assert says in control.says(found) and bool(says) == bool(control.says(found))
    table = judge.verdicts(shelf, claims)
    assert "forms that go on are best" not in table["why"].iloc[0]


def test_nested_tests_give_the_three_printed_p_values(shelf: dict[str, pd.DataFrame]):
    table = shelf["09/nested_tests"].set_index(["model", "target", "step"])["p_value"]
    assert len(table) == 12
    assert table["gemma-2-2b", "alpha_k50", "one to two"] == pytest.approx(5e-4, abs=5e-5)
    assert table["gemma-2-9b", "beta_n", "two to four"] == pytest.approx(3e-3, abs=5e-4)
    assert table["gemma-2-9b", "gamma", "two to four"] == pytest.approx(7e-3, abs=5e-4)


def test_floors_are_held_against_their_printed_order(shelf: dict[str, pd.DataFrame]):
    printed, laws = shelf[floor_numbers.PRINTED], shelf["07/layer_laws"]
    assert floor_numbers.order_of(printed, "gemma-2-9b") == [20, 31, 9]
    assert floor_numbers.least_step(printed, laws, "gemma-2-2b").low > 0
    turned = floor_numbers.least_step(printed, laws, "gemma-2-9b")
    assert turned.low <= turned.value <= turned.high and turned.value < 0.005
    assert floor_numbers.printed_step(printed, "gemma-2-9b").value == pytest.approx(0.005)
    assert floor_numbers.in_k(printed).value < 1e-3


def test_profiles_take_the_model_that_is_worst_for_the_claim():
    up, hill = [1.0, 2, 3, 4, 5], [1.0, 4, 5, 4.5, 4.6]
    rows = [{"model": m, "layer": i, "x": v} for m, vs in (("a", up), ("b", hill)) for i, v in enumerate(vs)]
    table = pd.DataFrame(rows)
    assert profile_numbers.peak(table, "x") == evidence.Found(1.0, 0.5, 1.0)
    flat = profile_numbers.plateau(table, "x")
    assert flat.value == pytest.approx(1.0) and flat.low == pytest.approx(0.5 / 4)
    assert profile_numbers.jump(table, "x").low == pytest.approx(4.6 / 4.5)
    assert profile_numbers.dip(table[table["model"] == "b"], "x").value == pytest.approx(0.1)


def test_powers_know_when_nothing_could_be_seen():
    assert powers.of_share(0.9, 2, 0.5) == 0 and powers.of_share(0.9, 40, 0.5) > 0.99


def test_a_transfer_that_no_true_law_would_give_is_no_bad_luck():
    rows = [
        {"source": "lab", "errors": "spread", "level": level, "measured": m, "power": 0.5, "as_low": a}
        for level, m, a in (("same", -20.0, 0.001), ("same", -50.0, 0.002), ("free", -1.0, 0.3))
    ]
    table = pd.DataFrame(rows)
    assert geometry_numbers.carried(table, "free").value == -1.0
    told = [powers.of_law(table, "08/power_transfer", level=level).value for level in ("same", "free")]
    assert told == pytest.approx([0.998, 0.5])


def test_the_long_format_is_read_where_both_numbers_come_out():
    layers = published.per_layer(published.read(published.LAYERS), k=50)
    table = long_format.long_format(layers, published.read(published.TEXT))
    found = [geometry_numbers.at_several(table, model).value for model in ("gemma-2-2b", "gemma-2-9b")]
    assert found == pytest.approx([0.97, 0.80], abs=0.005)
    assert geometry_numbers.sweep_off(table, "gemma-2-9b").value == pytest.approx(0.024, abs=5e-4)


def test_a_sphere_that_still_gains_at_the_widest_dictionary_is_not_judged():
    row = {"architecture": "relu", "manifold": "sphere", "floor": 0.0, "d": 8, "n_high": 8192}
    assert claims_capacity.absorbed(pd.DataFrame([row | {"n_saturation": 2048}])).value == 2048
    with pytest.raises(evidence.MissingError, match="of 8,192 latents"):
        claims_capacity.absorbed(pd.DataFrame([row | {"n_saturation": 8192}]))


def test_intervals_print_no_noise_and_no_equal_ends():
    assert words.shown(0.0, 3e-17, 0.43) == "0 [0, 0.43]"
    assert words.shown(0.008, -0.0018, 0.49) == "0.008 [−0.002, 0.49]"
    assert words.shown(0.998) == "0.998" and words.shown(0.9, 0.991, 0.993) == "0.900 [0.991, 0.993]"


def test_every_figure_of_a_claim_is_on_the_page_it_names(judged: pd.DataFrame):
    for place, rows in judged.groupby("chapter"):
        page = ROOT / "book" / "chapters" / place / f"{place}.ipynb"
        assert (ROOT / "notebooks" / f"{place}.ipynb").is_file()
        text = page.read_text(encoding="utf-8") if page.is_file() else ""
        lacking = [name for name in rows["figure"] if page.is_file() and f'"{name}"' not in text]
        assert lacking == [], place
    table = judge.markdown(judged, "michaud2025")
    assert (
        table.count("\n") == 1 + (judged["paper"] == "michaud2025").sum() and "{numref}`fig-circle`" in table
    )


def test_cells_never_extrapolate_and_carry_their_geometry():
    rows = [
        {"model": "m", "layer": 2, "site": "res", "architecture": "topk", "schedule": ""}
        | {"d_sae": n, "l0": l0, "nmse": n**-0.25 / l0, "seed": seed}
        for n, top in ((64, 40), (128, 40), (256, 12)) for l0 in (8, top) for seed in (0, 1)
    ]  # fmt: skip
    shape = pd.DataFrame({"model": "m", "layer": [2], "site": "res", "estimator": "d_int", "value": [7.0]})
    (cell,) = from_tables.from_checkpoints(pd.DataFrame(rows), 20, shape)
    assert cell.widths == (64, 128) and cell.geometry == {"d_int": 7.0}
    assert np.allclose(cell.losses, [64**-0.25 / 20, 128**-0.25 / 20])
    sites = pd.concat([shape, shape.assign(site="mlp", value=3.0)])
    both = pd.concat([pd.DataFrame(rows).assign(site=site) for site in ("mlp", "res", "att")])
    shapes = {c.kind: c.geometry for c in from_tables.from_checkpoints(both, 20, sites)}
    assert shapes == {"res/topk/": {"d_int": 7.0}, "mlp/topk/": {"d_int": 3.0}, "att/topk/": {}}
    (anywhere,) = from_tables.from_checkpoints(
        pd.DataFrame(rows).assign(site="mlp"), 20, shape.drop(columns="site")
    )
    assert anywhere.geometry == {"d_int": 7.0}
    gemma = from_tables.published(*map(published.read, (published.LAYERS, published.SHOWCASE)))
    assert len(gemma) == 66 and max(len(c.widths) for c in gemma) == 7
    with pytest.raises(GeowallError, match="no set of widths at layer 3"):
        from_tables.pick([cell], 3)
    with pytest.raises(GeowallError, match="geometry of no layer"):
        from_tables.wide_geometry(pd.DataFrame({"x": [1]}))


def test_the_planner_covers_planted_floors_and_beats_the_straight_line():
    found = holdout.holdout(layers_with_floors(30), "planted", 2, rules={"no geometry": ()})
    scores = holdout.scores(found, ["group"]).set_index("rule")
    assert scores.loc["no geometry", "coverage"] >= 0.92 and scores.loc["no geometry", "coverage_80"] >= 0.7
    assert scores.loc["no geometry", "error"] < 0.5 * scores.loc["own line", "error"]
    assert (found["low"] < found["low_80"]).all() and (found["high_80"] < found["high"]).all()
    better = holdout.gains(found, ["group"], "no geometry", 200).set_index("rival")
    assert better.loc["own line", "low"] > 0 and better.loc["own line", "n_layers"] == 30
    ahead = holdout.by_octave(found).query("rule == 'no geometry'")
    assert ahead["octaves"].tolist() == [1, 2] and ahead["n_predictions"].sum() == 90


def test_geometry_enters_the_prior_and_helps_one_who_has_a_single_width():
    taught = layers_with_floors(24, seed=1)
    prior = learn(taught[:-1], ("kappa_ms",))
    assert prior.saving[1] < 0  # where curvature is large the last doubling saved less
    steep = Cell("planted", 99, (256,), (0.2,), {"kappa_ms": 0.03, "d_int": 5.0})
    flat = Cell("planted", 99, (256,), (0.2,), {"kappa_ms": 0.6, "d_int": 5.0})
    low, high = (planner.predict(c, prior, [1024])["nmse"].iloc[0] for c in (steep, flat))
    assert low < 0.95 * high
    with pytest.raises(GeowallError, match="no kappa_ms"):
        planner.predict(Cell("x", 0, (64,), (0.3,)), prior, [128])


def test_without_teachers_the_prior_is_broad_and_the_answer_wide():
    cell = Cell("x", 0, (64, 128), (0.3, 0.26))
    table = planner.predict(cell, learn([]), [256, 1024])
    assert (table["low"] < table["nmse"]).all() and (table["nmse"] < table["high"]).all()
    assert table["high"].iloc[1] / table["low"].iloc[1] > 1.2
    assert last_saving(Cell("x", 0, (64, 128), (0.3, 0.31))) == 0.005


def test_quantiles_and_probabilities_of_a_mixture_agree():
    mixed = planner.Mixture(np.array([[0.0, 1.0, 1.0], [2.0, 5.0, 5.0]]), 0.3)
    wider = planner.Stretched(mixed, (3.0, 2.0, 1.5, 4.0))
    grid = np.linspace(-9, 14, 12_000)
    for found in (mixed, wider):
        assert found.below(found.quantile(0.3)) == pytest.approx([0.3, 0.3], abs=1e-4)
        dense = [found.log_density(np.array([x, x])) for x in grid]
        assert np.trapezoid(np.exp(dense), grid, axis=0) == pytest.approx([1, 1], abs=3e-3)
    near, far = ({k: v[0] - d.levels["nmse"][0] for k, v in d.levels.items()} for d in (mixed, wider))
    for end, factor in zip(planner.ENDS, (3.0, 2.0, 1.5, 4.0), strict=True):
        assert far[end] == pytest.approx(factor * near[end])
    assert np.allclose(mixed.surprise(mixed.levels["high"])[:, 3], 1)


def test_a_curve_of_shrinking_savings_is_the_law_it_says():
    widths = np.array([64, 128, 256, 512, 1024, 2048])
    law = 0.1 * np.exp(1.7 * widths**-0.5)  # log error above a floor of 0.1: each doubling keeps 2^-0.5
    cell = Cell("m", 0, tuple(widths[:3].tolist()), tuple(law[:3].tolist()))
    saved = last_saving(cell)
    found = cell.losses[-1] * np.exp(log_error(np.arange(1, 4), saved, -0.5 * np.log(2)))
    assert np.allclose(found, law[3:])
    wide = Cell("m", 0, (64, 256), (float(law[0]), float(law[2])))  # two octaves apart, the same law
    found = wide.losses[-1] * np.exp(log_error(np.arange(1, 4), last_saving(wide), -0.5 * np.log(2), 2.0))
    assert np.allclose(found, law[3:])


@pytest.fixture(scope="module")
def lab() -> list[Cell]:
    table = pd.read_parquet(ROOT / advice.LAB)
    return chapter.lab_cells(table.assign(source="lab"), pd.DataFrame(), 16.0)


def test_intervals_widen_with_distance_and_no_forecast_leaves_the_falling_laws(lab: list[Cell]):
    for cell in lab:
        prior = calibrate.prior_for(cell, lab)
        widths = [cell.widths[-1] * 2**step for step in range(1, 7)]
        told = planner.predict(cell, prior, widths)
        for low, high in (("low", "high"), ("low_80", "high_80")):
            assert (np.diff(np.log(told[high] / told[low])) > 0).all()
        best, step = min(cell.losses), last_saving(cell)
        # in the median a wider dictionary never does worse,
        assert (np.diff([best, *told["nmse"]]) <= 1e-6).all()
        straight = best * np.exp(-(step + 0.02) * np.arange(1, 7))
        assert (told["nmse"] >= straight).all()  # nor better than the last saving going on for ever
        assert planner.limit(cell, prior)["nmse"] <= told["nmse"].iloc[-1] * 1.01


def test_a_layer_never_teaches_itself_and_no_layer_teaches_twice(lab: list[Cell]):
    small, large = ([c for c in lab if c.model == f"lab-{size}"] for size in ("small", "large"))
    own = calibrate.teachers_of(small[6], lab, lab)
    assert own.own and own.reach == 0 and [c.layer for c in own.cells] == [i for i in range(12) if i != 6]
    assert calibrate.teachers_of(small[0], lab).reach == 2  # others were measured two octaves further
    alone = calibrate.teachers_of(small[6], [small[6]], [*lab, *large])
    assert not alone.own and sorted(c.layer for c in alone.cells) == list(range(20))
    renamed = [replace(c, model=f"someone/{c.model.upper()}") for c in large]
    assert calibrate.teachers_of(renamed[3], [renamed[3]], large).cells == ()
    mine = [replace(c, model="mine") for c in small[:3]]
    few = calibrate.teachers_of(mine[0], mine, lab)  # too few of its own teach beside others
    assert not few.own and {c.model for c in few.cells} == {"mine", "lab-large", "lab-small"}
    assert all(c.layer > 2 for c in few.cells if c.model == "lab-small")  # these three are mine


def test_hidden_widths_teach_nothing(lab: list[Cell]):
    small = [c for c in lab if c.model == "lab-small"]
    narrow, _ = calibrate.hidden(small[6], 2)
    then = holdout.as_then(small[6], small, narrow.widths[-1])
    assert max(c.widths[-1] for c in then) == narrow.widths[-1]
    spoilt = [
        replace(
            c,
            losses=tuple(
                v * (9 if w > narrow.widths[-1] else 1) for w, v in zip(c.widths, c.losses, strict=True)
            ),
        )
        for c in small
    ]
    other = holdout.as_then(spoilt[6], spoilt, narrow.widths[-1])
    a, b = (calibrate.prior_for(narrow, table) for table in (then, other))
    assert a.shrink == pytest.approx(b.shrink) and a.stretch == b.stretch and a.n_layers == b.n_layers


def test_ends_are_stretched_by_what_hidden_widths_ask():
    rng = np.random.default_rng(0)
    assert calibrate.stretch_of([]) == UNSTRETCHED
    calm = [("m", i, np.full((5, 4), 0.2)) for i in range(30)]
    assert calibrate.stretch_of(calm) == UNSTRETCHED
    reach = np.array([1.96, 1.2816, 1.2816, 1.96])
    wild = [("m", i, 3 * rng.normal(size=(20, 1)) / reach) for i in range(200)]
    assert np.allclose(calibrate.stretch_of(wild), 3, rtol=0.12)
    up = [("m", i, np.abs(z)) for _, i, z in wild]  # all errors on one side move that side alone
    low, low_80, high_80, high = calibrate.stretch_of(up)
    assert low == low_80 == 1 and high_80 > 3 and high > 3


def test_attenuation_and_what_follows_geometry():
    rng, made = np.random.default_rng(0), []
    for layer in range(14):
        own = dict.fromkeys(floors.LAYER, "lab") | {"layer": layer, "k": 16.0, "low": 0.0, "high": 1.0}
        own |= {"floor": 0.01 * (layer + 4), "least": 0.02 * (layer + 4), "alpha_width": 0.5}
        lost = 0.02 * layer
        made.append(own | {"alpha_chord": 0.5 - lost, "hidden": lost, "share": lost / 0.5})
    shape = pd.DataFrame(
        {"model": "lab", "layer": range(14), "d_int": np.arange(4.0, 18), "nu": rng.uniform(1, 2, 14)}
    )
    table = floors.layer_floors(pd.DataFrame(made), shape)
    assert np.allclose(table["attenuation"], 0.02 * table["layer"]) and not table["clear"].any()
    found = floors.tracks(table.assign(floor_share=0.5), ["floor"], ["d_int", "least"], 100)
    found = found.set_index(["features", "given"])
    assert found.loc[("d_int", "none"), "correlation"] > 0.95 and found.loc[("d_int", "none"), "low"] > 0.7
    assert found.loc[("least", "none"), "correlation"] > 0.95
    split = floors.hidden_parts(table).iloc[0]
    assert split["hidden"] == pytest.approx(0.26) and split["floor_spread"] == pytest.approx(0)
    assert split["hidden_spread"] == pytest.approx(split["plain_spread"])


def test_few_layers_of_several_models_have_fishers_interval_and_no_blocks():
    six = pd.DataFrame({"source": "published", "model": ["a"] * 3 + ["b"] * 3, "layer": [5, 12, 19] * 2})
    six["floor"], six["d_int"] = [0.04, 0.1, 0.07, 0.06, 0.1, 0.06], [15.0, 22, 18, 17, 26, 19]
    (row,) = floors.tracks(six, ["floor"], ["d_int"], 50).to_dict("records")
    z = np.arctanh(row["correlation"])
    assert row["model"] == "pooled" and row["low"] == pytest.approx(np.tanh(z - 1.959964 / np.sqrt(3)))


def test_a_law_that_could_not_be_seen_is_not_called_absent(shelf: dict[str, pd.DataFrame]):
    claims = [claim for claim in judge.CLAIMS if claim.claim.startswith("Curvature predicts layers of")]
    rows = [{"source": "lab", "model": m, "errors": "spread"} for m in ("lab-small", "lab-large")]
    for seen, verdict in ((0.45, rules.UNTESTED), (0.95, rules.FAILED)):
        table = pd.DataFrame(rows).assign(power=seen, measured=-0.3, as_low=0.2)
        found = judge.verdicts(shelf | {"08/power": table}, claims)
        assert set(found["verdict"]) == {verdict}
        assert found["why"].str.contains("45%").all() == (seen < 0.5)


def test_covering_laws_come_back_from_planted_layers():
    rng, made = np.random.default_rng(3), []
    for layer in range(20):
        d, kappa = rng.uniform(5, 25), np.exp(rng.normal(-2, 0.4))
        losses = tuple(float(kappa**2 * n ** (-4 / d)) for n in WIDTHS)
        made.append(Cell("m", layer, WIDTHS, losses, {"d_int": d, "kappa_ms": kappa}))
    table = theory.regress(theory.laws_of(made, "toy"), 50).set_index(["target", "term"])
    for target in ("log_level", "alpha_width"):
        for term in theory.TERMS:
            row = table.loc[(target, term)]
            assert row["slope"] == pytest.approx(row["patches"], abs=1e-6), (target, term)


def test_the_frequency_slope_is_corrected_for_tiling():
    for alpha, beta in ((0.3, 1.0), (0.1, 0.5), (0.8, 2.0)):
        slope = beta * (1 + alpha) / (beta - alpha)
        assert regimes.untiled(slope, beta) == pytest.approx(alpha)
        assert regimes.from_discovery((1 + beta) / (1 + alpha), beta) == pytest.approx(alpha)
    rank = np.arange(1, 401)
    latents = pd.DataFrame({"d_sae": 400, "frequency": rank**-1.4, "dead": False, "neighbour_live": 0.1})
    latents.loc[latents.index % 2 == 0, "neighbour_live"] = 0.95
    found = regimes.slopes(latents, [0.9]).set_index("tau")
    assert found.loc[1.0, "slope"] == pytest.approx(1.4, abs=0.02) and found.loc[0.9, "n_latents"] == 200
    beta = pd.DataFrame(
        {"architecture": ["relu"], "setting": "tokens", "beta": 0.05, "low": 0.04, "high": 0.06}
    )
    grown = pd.DataFrame({"tau": [0.5], "exponent": [0.7], "low": [0.65], "high": [0.75]})
    pairs = regimes.estimates(found.reset_index(), beta, grown).set_index("method")
    assert pairs["restates"].tolist() == [name.startswith("D(N)") for name in pairs.index]
    said = pairs["regime"]
    assert (
        said["D(N) at a cosine of 0.5"] == regimes.PATHOLOGICAL
        and said["frequencies"] == regimes.PATHOLOGICAL
    )


def test_a_floor_shows_at_a_width_and_a_power_law_never_does():
    bent = Cell("m", 0, WIDTHS, tuple(0.1 + 2 / n for n in WIDTHS))
    straight = Cell("m", 1, WIDTHS, tuple(n**-0.3 for n in WIDTHS))
    table = decisive.parting([bent, straight]).set_index("layer")
    assert table.loc[0, "decides_at"] <= 2048 and table.loc[0, "floor"] == pytest.approx(0.1, abs=0.01)
    assert np.isnan(table.loc[1, "decides_at"])
    assert decisive.times_the_data(-0.1, -0.4, 0.2) == pytest.approx(9.0)
    assert decisive.times_the_data(0.5, 0.4, 0.6) == 1.0 and decisive.times_the_data(0.0, -1, 1) == np.inf


def test_the_lab_of_the_book_is_planned_and_compared():
    lab = pd.read_parquet(ROOT / "data" / "lab" / "checkpoints.parquet")
    few = lab[(lab["model"] == "lab-small") & (lab["layer"] < 4)]
    told = chapter.forecasts(few, pd.DataFrame(), 16.0)
    assert set(told["part"]) == {"fitted", "hidden", "ahead"} and told["layer"].nunique() == 4
    assert told.loc[told["part"] == "ahead", "nmse"].isna().all()
    others = few[(few["architecture"] == "jumprelu") & (few["schedule"] == "matched")]
    others = pd.concat(
        [few, others.assign(site="mlp", nmse=1.7 * others["nmse"], weights="mlp" + others["weights"])]
    )
    pd.testing.assert_frame_equal(chapter.forecasts(others, pd.DataFrame(), 16.0), told)
    hidden = told[told["part"] == "hidden"]
    assert (hidden["predicted"] / hidden["nmse"]).between(0.5, 2).all()


@pytest.fixture(scope="module")
def mine() -> pd.DataFrame:
    """Six layers of a reader's model, three widths, two sparsities each."""
    own = {"model": "mine", "site": "res", "architecture": "topk", "schedule": "", "status": "measured"}
    rows = [
        own | {"layer": layer, "d_sae": n, "l0": l0, "nmse": (1 + 0.1 * layer) * n**-0.3 / l0**0.5}
        for layer in range(6) for n in (512, 1024, 2048) for l0 in (10, 60)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_a_width_is_told_the_same_whatever_is_asked():
    table = pd.read_parquet(ROOT / advice.LAB)
    chosen = {"architecture": "jumprelu", "schedule": "matched", "site": "res", "k": 16}
    for model, layer, some in (("lab-small", 6, [1]), ("lab-large", 19, [0, 3])):
        asked = chosen | {"model": model, "layer": layer}
        usual = advice.advise(table, **asked)["table"].set_index("width")
        assert len(usual) == advice.OCTAVES
        for width in usual.index[some]:
            told = advice.advise(table, **asked, width=width)["table"].set_index("width")
            pd.testing.assert_frame_equal(told, usual.loc[:width])
        aimed = advice.advise(table, **asked, target=0.09)["table"].set_index("width")
        pd.testing.assert_frame_equal(aimed, usual)
        between = advice.advise(table, **asked, width=int(usual.index[1] * 1.4))["table"].set_index("width")
        pd.testing.assert_frame_equal(between.iloc[:2], usual.iloc[:2])


def test_the_book_and_the_command_foretell_the_same():
    table = pd.read_parquet(ROOT / advice.LAB)
    book = chapter.forecasts(table, pd.DataFrame(), 16.0).query("part == 'ahead'")
    for model, layer in (("lab-small", 6), ("lab-large", 3)):
        asked = {"model": model, "layer": layer, "architecture": "jumprelu", "schedule": "matched"}
        command = advice.advise(table, k=16, **asked)["table"].iloc[:2]
        page = book.query("model == @model and layer == @layer")
        assert np.allclose(page["predicted"], command["nmse"]) and np.allclose(page["high"], command["high"])


def test_the_command_prints_the_score_of_what_it_did(lab: list[Cell]):
    table = pd.read_parquet(ROOT / advice.LAB)
    asked = {"model": "lab-large", "layer": 6, "k": 16, "architecture": "jumprelu"}
    found = advice.advise(table, **asked)
    assert found["own"] and found["taught_by"] == {"lab-large": 19} and not found["untested"]
    large = [c for c in lab if c.model == "lab-large"]
    rows = holdout.holdout(large, "", advice.TESTED, rules={"plan": ()})
    rows = rows[(rows["rule"] == "plan") & (rows["n_fitted"] >= 3)]
    first = found["scores"].query("octaves == 1").iloc[0]
    ahead = rows[rows["octaves"] == 1]
    assert first["n_predictions"] == len(ahead) and first["coverage"] == ahead["covered"].mean()
    text = advice.report(found)
    assert f"95 % held {first['coverage']:.0%} of {first['n_predictions']}" in text
    assert "more than 2 octaves ahead: not tested" in text and "19 of lab-large" in text
    alone = table[(table["layer"] == 6) | (table["model"] != "lab-large")].query("model == 'lab-large'")
    other = advice.advise(alone, **asked)
    assert not other["own"] and set(other["scores"]["model"]) == {"lab-small", "gemma-2-2b", "gemma-2-9b"}
    assert any("layer of lab-large" in said for said in other["untested"])


def test_what_the_score_does_not_speak_of_is_said(mine: pd.DataFrame):
    found = advice.advise(mine.query("layer < 2"), 1, 30)
    assert any("topk" in said and "jumprelu" in said for said in found["untested"])
    assert "not tested: " in advice.report(found)
    bare = advice.advise(mine.query("layer == 1"), 1, 30, teachers=[])
    assert bare["scores"].empty and "there are no dictionaries to hide" in advice.report(bare)


def test_the_choice_that_is_left_is_named():
    table = pd.read_parquet(ROOT / advice.LAB)
    with pytest.raises(GeowallError) as refused:
        advice.advise(table, 6, 16, model="lab-small", architecture="jumprelu")
    assert refused.value.fix == "choose with --schedule matched or scaled"
    with pytest.raises(GeowallError) as refused:
        advice.advise(table, 6, 16)
    assert "--model lab-large or lab-small" in refused.value.fix and "--schedule" in refused.value.fix


def test_advice_for_a_target_a_width_and_neither(mine: pd.DataFrame):
    least = mine.query("layer == 1 and d_sae == 2048")["nmse"].mean()
    found = advice.advise(mine, 1, 30, target=0.017, teachers=[])
    assert found["recommended"] in (4096, 8192) and found["probability"] >= advice.SURE and least > 0.017
    assert "train" in advice.report(found) and "<- recommended" in advice.report(found)
    asked = advice.advise(mine, 1, 30, width=6000, teachers=[])
    assert asked["table"]["width"].tolist() == [4096, 6000] and asked["recommended"] == 6000
    open_ended = advice.advise(mine, 1, 30, teachers=[])
    assert open_ended["recommended"] > 2048 and open_ended["target"] is None
    done = advice.advise(mine, 1, 30, target=0.5, teachers=[])
    assert done["recommended"] == 512 and "already" in advice.report(done)
    never = advice.advise(mine, 1, 30, target=0.0001, teachers=[])
    assert never["recommended"] is None and "no width up to" in advice.report(never)


def test_one_site_is_planned_at_a_time(mine: pd.DataFrame):
    worse = mine.assign(site="mlp", nmse=2 * mine["nmse"])
    stream, both = (advice.advise(table, 1, 30, teachers=[]) for table in (mine, pd.concat([worse, mine])))
    assert (
        both["site"] == "res"
        and both["losses"] == stream["losses"]
        and both["n_layers"] == stream["n_layers"]
    )
    asked = advice.advise(pd.concat([worse, mine]), 1, 30, site="mlp", teachers=[])
    assert asked["site"] == "mlp" and np.allclose(asked["losses"], 2 * np.array(stream["losses"]))
    alone = advice.advise(pd.concat([worse, mine[mine["layer"] != 1]]), 1, 30, teachers=[])
    assert alone["losses"] == asked["losses"] and "layer 1 (mlp) at" in advice.report(alone)
    with pytest.raises(GeowallError, match="more than one set of widths"):
        advice.advise(pd.concat([worse, worse.assign(site="att")]), 1, 30, teachers=[])


@pytest.mark.parametrize(
    ("change", "asked", "words"),
    [
        ({}, {"layer": 7}, "no checkpoint of layer 7"),
        ({}, {"k": 500}, "no width was measured on both sides of k = 500"),
        ({}, {"target": 2.0}, "a target of 2 is no NMSE"),
        ({}, {"width": 1024}, "1,024 latents"),
        ({}, {"model": "yours"}, "no checkpoint has model yours"),
        ({"nmse": -1.0}, {}, "not positive"),
        ({"status": "unreadable"}, {}, "no checkpoint in the table was measured"),
    ],
)
def test_what_cannot_be_planned_is_refused(mine: pd.DataFrame, change: dict, asked: dict, words: str):
    with pytest.raises(GeowallError) as refused:
        advice.advise(mine.assign(**change), **({"layer": 1, "k": 30, "teachers": []} | asked))
    assert words in str(refused.value) and len(str(refused.value).splitlines()) == 3


def test_a_table_without_its_columns_is_refused(mine: pd.DataFrame):
    with pytest.raises(GeowallError, match="no column nmse"):
        advice.checked(mine.drop(columns="nmse"))


def test_plan_on_the_command_line(mine: pd.DataFrame, tmp_path, capsys):
    mine.to_csv(tmp_path / "checkpoints.csv", index=False)
    asked = ["plan", str(tmp_path), "--layer", "1", "-k", "30", "--target"]
    assert main([*asked, "0.0195"]) == 0  # a little below what 2,048 latents have
    text = capsys.readouterr().out
    assert "mine layer 1 at 30 active latents" in text and "train" in text
    assert main([*asked, "0.0001"]) == 0 and "no width up to" in capsys.readouterr().out
    assert main(["plan", str(tmp_path / "checkpoints.csv"), "--layer", "1", "-k", "30", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["layer"] == 1 and set(found["table"][0]) >= {"width", "nmse", "low", "high"}
    assert main(["plan", str(tmp_path), "--layer", "9", "-k", "30"]) == 2
    refused = capsys.readouterr().err.strip().splitlines()
    assert len(refused) == 3 and "layer 9" in refused[1]
    (tmp_path / "broken.parquet").write_text("no table")
    assert main(["plan", str(tmp_path / "broken.parquet"), "--layer", "1", "-k", "30"]) == 2
    assert "cannot be read as a table" in capsys.readouterr().err


def test_a_wide_dictionary_short_of_training_is_told(mine: pd.DataFrame):
    worse = mine.copy()
    worse.loc[worse["d_sae"] == 2048, "nmse"] *= 1.6
    found = advice.advise(worse, 1, 30, teachers=[])
    assert "2,048 latents have a larger error than 1,024" in advice.report(found)
    assert found["recommended"] >= 1024 and found["table"]["nmse"].iloc[0] > 0.5 * min(found["losses"])
