"""The tables of chapter 02: curves, exponents, fields of known latents, mixtures against brute force."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
import torch

from geowall.kernels import sae_step
from geowall.manifolds import Shell
from geowall.paths import ROOT, GeowallError
from geowall.runs import chapters
from geowall.runs.parameters import read_yaml
from geowall.sae import Member, Rule, Sae, Schedule, curves, fields, mixtures, pairs, train
from geowall.sae.lasso import tiling_loss

FAST = {"steps": 150, "batch": 128, "lr": 1e-2}
SWEEP = {
    "rules": ["relu l1=0.1"],
    "ds": [3],
    "thicknesses": [0.0, 0.5],
    "n_latents": [4, 16],
    "seeds": [0, 1],
}
WORLD = {"d": 2, "thickness": 0.0, "p_manifold": 0.5, "n_discrete": 3, "alpha": 1.0, "rate": 1.0}


def curve(loss, d=3, **other):
    names = {"manifold": "sphere", "d": d, "thickness": 0.0, "architecture": "relu", "penalty": "l1=0.1"}
    n = [2 * d, 4 * d, 8 * d, 16 * d]
    rows = [{"n_latents": m, "seed": s, "loss": loss(m) * (1 + 0.1 * s)} for m in n for s in (0, 1)]
    return pd.DataFrame(rows).assign(**{**names, **other})


def test_an_autoencoder_is_named_by_text():
    assert curves.rule("jumprelu l0=0.03") == Rule("jumprelu", l0=0.03)
    for wrong in ("relu", "relu l1", "relu l1=much", "relu size=3"):
        with pytest.raises(GeowallError, match="no such autoencoder"):
            curves.rule(wrong)


def test_loss_curves_have_a_row_an_autoencoder():
    table = curves.loss_curves([SWEEP], **FAST)
    assert list(table.columns) == curves.COLUMNS
    assert len(table) == 2 * 4 * 2 and sorted(table["n_latents"].unique()) == [4, 6, 7, 16]
    assert table.groupby("manifold")["thickness"].unique().map(list).to_dict() == {
        "shell": [0.5],
        "sphere": [0.0],
    }
    assert np.allclose(table["mse"] + table["penalty_value"], table["loss"])


def test_equal_sweeps_are_trained_once():
    members = curves.members_of(SWEEP)
    assert curves.trained(members, FAST) is curves.trained(list(members), dict(FAST))
    assert curves.trained(members, FAST) is not curves.trained(members, {**FAST, "lr": 2e-2})
    told = {0: torch.zeros(sae_step.size(4, 3))}
    assert curves.trained(members, FAST, told) is not curves.trained(members, FAST)
    assert curves.trained(members, FAST, told) is curves.trained(members, FAST, {0: told[0].clone()})


def test_a_chapter_that_lost_its_process_finds_its_training_again(tmp_path, monkeypatch):
    monkeypatch.setenv("GEOWALL_STEPS", str(tmp_path))
    members = curves.members_of({**SWEEP, "bare": True, "n_latents": [5]})
    first = curves.trained(members, FAST)
    kept = sorted(tmp_path.rglob("*.pt"))
    assert [path.name for path in kept] == ["group-000.pt", "group-001.pt"]
    curves._trained.cache_clear()
    written = [path.stat().st_mtime_ns for path in kept]
    again = curves.trained(members, FAST)
    assert [path.stat().st_mtime_ns for path in kept] == written
    assert torch.equal(first.saes[3].W_dec, again.saes[3].W_dec)
    assert first.table.equals(again.table)


def test_exponents_of_known_power_laws_come_back():
    floor = curves.tiling_level(3, 0.0, "l1=0.1")
    table = curves.exponents(curve(lambda n: floor + n**-0.7))
    assert table["floor"].tolist() == [0.0, floor]
    assert table["beta"][1] == pytest.approx(0.7) and table["beta"][0] < 0.5
    assert (table["low"] <= table["beta"]).all() and (table["beta"] <= table["high"] + 1e-9).all()
    assert curves.exponents(curve(lambda n: 1 / n)[lambda t: t["n_latents"] < 20]).empty
    plain = curves.exponents(curve(lambda n: n**-0.4, architecture="topk", penalty="k=2"))
    assert plain["floor"].tolist() == [0.0] and plain["beta"][0] == pytest.approx(0.4)


def test_exponents_are_compared_over_the_widths_that_all_curves_have():
    wide = curve(lambda n: 0.1 + 1 / n)
    narrow = curve(lambda n: 0.1 + 1 / n, architecture="topk", penalty="k=2")
    narrow = narrow[narrow["n_latents"] < 48]
    alone = curve(lambda n: 0.1 + 1 / n, d=4)
    shared = curves.common(pd.concat([wide, narrow, alone]))
    widths = shared.groupby(["d", "architecture"])["n_latents"].agg(lambda n: sorted(set(n)))
    assert widths[3, "relu"] == widths[3, "topk"] == [6, 12, 24] and len(widths[4, "relu"]) == 4
    fitted = curves.exponents(shared)[lambda t: (t["floor"] == 0) & (t["d"] == 3)]
    assert fitted["beta"].nunique() == 1 and fitted[["n_low", "n_high"]].values.tolist() == [[6, 24]] * 2


def test_a_curve_that_bends_has_two_slopes():
    found = curves.halves(curve(lambda n: n**-0.5 if n < 12 else 12**-0.5 * (n / 12) ** -0.1)).iloc[0]
    assert (found["n_low"], found["n_middle"], found["n_high"]) == (6, 12, 48)
    assert found["beta_low"] == pytest.approx(0.5) and found["beta_high"] == pytest.approx(0.1)
    assert curves.halves(curve(lambda n: 1 / n)[lambda t: t["n_latents"] < 20]).empty


def test_other_manifolds_are_trained_by_name_with_twice_their_dimensions_among_the_widths():
    table = curves.other_manifolds(["helix", "ripple"], ["topk k=2"], [4], [0], d=4, **FAST)
    assert table[["manifold", "d", "n_latents"]].values.tolist() == [
        ["helix", 3, 4], ["helix", 3, 6], ["ripple", 4, 4], ["ripple", 4, 8],
    ]  # fmt: skip
    assert np.isfinite(table["loss"]).all() and (table["live"] <= table["n_latents"]).all()


def test_falls_and_rises_read_the_best_seed():
    assert curves.falls(curve(lambda n: 1 / n))["fall"][0] == pytest.approx(1 - 1 / 8)
    rise = curves.rises(curve(lambda n: 1.0 if n < 20 else 1.2))
    assert rise["rise"][0] == pytest.approx(0.2) and rise["at"][0] == 24
    assert curves.rises(curve(lambda n: 1 / n))["rise"][0] == 0.0


def test_the_tiling_level_is_the_mean_over_the_radius():
    radii = Shell(4, 0.5).sample(20_000, 0).norm(dim=1).tolist()
    mean = np.mean([tiling_loss(0.3, r) for r in radii])
    assert curves.tiling_level(4, 0.5, "l1=0.3") == pytest.approx(mean, rel=0.01)
    assert curves.tiling_level(4, 0.5, "l0=0.2") == 0.2 and curves.tiling_level(4, 0.5, "k=2") == 0.0
    assert curves.tiling_level(4, 0.5, "l1=0.3", "spade") == 0.0


def test_exact_codes_are_no_worse_than_trained_ones():
    exact = curves.exact_codes({**SWEEP, "thicknesses": [0.0]}, 0.1, **FAST)
    ours = curves.loss_curves([{**SWEEP, "thicknesses": [0.0]}], **FAST)
    both = exact.merge(ours, on=["n_latents", "seed"], suffixes=("_exact", ""))
    assert len(both) == 8 and (both["loss_exact"] < 1.05 * both["loss"]).all()


def made(architecture, bias=0.0, k=1):
    rows = torch.cat([torch.eye(2), -torch.eye(2)])
    return Sae(
        architecture, k, rows.T.contiguous(), torch.full((4,), bias), rows, torch.zeros(2), torch.zeros(4)
    )


def test_a_half_space_widens_with_the_radius_and_a_cone_does_not():
    alive = torch.arange(4)
    at = {
        r: [fields._fires(made("relu", -0.5), alive, a, r, 0) for a in (10, 50, 70, 100)] for r in (0.6, 1.4)
    }
    assert at[0.6] == [1.0, 0.0, 0.0, 0.0] and at[1.4] == [1.0, 1.0, 0.0, 0.0]
    cone = [[fields._fires(made("topk"), alive, a, r, 0) for a in (10, 40, 50)] for r in (0.6, 1.4)]
    assert cone == [[1.0, 1.0, 0.0]] * 2


def test_copies_fire_together_span_one_dimension_and_lose_nothing_when_merged():
    x = Shell(2, 0.5).sample(2000, 0)
    tiles = pairs.nearest(made("topk"), x, hollow=False)
    twins = pairs.nearest(pairs.doubled(made("topk")), x, hollow=False)
    assert len(tiles) == 4 and len(twins) == 8
    assert tiles["cofiring"].max() == 0.0 and tiles["rank"].tolist() == pytest.approx([2.0] * 4)
    assert twins["cofiring"].min() == 1.0 and twins["rank"].tolist() == pytest.approx([1.0] * 8)
    assert twins["cosine"].tolist() == pytest.approx([1.0] * 8)
    assert torch.allclose(made("topk")(x), pairs.doubled(made("topk"))(x))
    assert twins["lost_merged"].abs().max() < 1e-5 and tiles["lost_merged"].min() > 0.2
    assert tiles["lost_dropped"].min() > 0.3


def test_merging_keeps_the_best_direction():
    codes, rows = torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.eye(2)
    assert pairs.merged_error(codes, rows, torch.zeros(2, 2)).tolist() == pytest.approx([0.0, 1.0])


def test_fields_angles_and_neighbours_cover_the_sweep():
    shown = [SWEEP]
    field = fields.fields(shown, 16, 0, **FAST)
    assert field.groupby("thickness")["radius"].nunique().to_dict() == {0.0: 1, 0.5: fields.RADII}
    assert field["fires"].between(0, 1).all()
    angles = fields.decoder_angles(shown, 16, 0, **FAST)
    assert angles.groupby("thickness")["share"].sum().tolist() == pytest.approx([1.0, 1.0])
    near = pairs.neighbours(shown, 16, 0, **FAST)
    assert near["radial_spread"].isna().equals(near["manifold"] == "sphere")


def test_the_circle_table_lies_on_the_circle():
    table = fields.circle([4, 8], 0.1, 0, **FAST)
    arcs = table[table["part"] != "reconstruction"]
    assert np.allclose(np.hypot(arcs["x"], arcs["y"]), 1.0, atol=1e-5)
    assert table[table["part"] == "arrow"].groupby("n_latents").size().to_dict() == {4: 4, 8: 8}


def test_a_measured_loss_becomes_convex_and_stays_below():
    single = pd.DataFrame({"n_latents": [1, 2, 4, 8], "seed": 0, "loss": [0.9, 0.5, 0.45, 0.2]})
    loss = mixtures.measured_loss(single, 10, at_zero=1.0)
    gains = -np.diff(loss)
    assert loss[0] == 1.0 and loss[10] == loss[8] == 0.2
    assert (np.diff(gains) <= 1e-12).all()
    assert (loss[single["n_latents"]] <= single["loss"] + 1e-12).all()


def test_the_prediction_is_the_best_of_all_allocations():
    single = pd.DataFrame({"n_latents": [1, 2, 3, 4], "seed": 0, "loss": [0.7, 0.45, 0.3, 0.2]})
    p = [0.5, *mixtures.scene(WORLD).frequencies.tolist()]
    loss = mixtures.measured_loss(single, 5, 1.0)
    covered = tiling_loss(0.1)

    def cost(on, found):
        return p[0] * loss[on] + sum(q * (covered if i < found else 1.0) for i, q in enumerate(p[1:]))

    options = {(n, m): cost(n, m) for n, m in itertools.product(range(6), range(4)) if n + m == 5}
    on, found = min(options, key=options.get)
    assert mixtures.predicted(WORLD, 0.1, single, 5) == (on, found + 1)


def test_mixtures_are_counted_and_separate():
    single = curves.loss_curves([{**SWEEP, "ds": [2], "thicknesses": [0.0]}], **FAST)
    world, training = {**WORLD, "n_discrete": 12}, {**FAST, "steps": 600, "lr": 5e-3}
    table = mixtures.mixture(world, [16], 0.1, [0, 1], single, **training)
    assert list(table.columns) == mixtures.COLUMNS and len(table) == 2
    assert (table["n_on_manifold"] + table["n_discovered"] - 1 <= 16).all()
    assert (table["seen_first_missed"] > 0).all() and mixtures.mixture(world, [], 0.1, [0], single).empty
    apart = mixtures.separation(world, [16], 0.1, [0, 1], **training)
    assert (apart["additivity_gap"].abs() < 0.1).all() and (apart["specificity"] > 0.5).all()


def test_the_edges_of_discovery_are_counted_in_tokens():
    p = mixtures.scene(WORLD).frequencies.tolist()
    found = pd.DataFrame({"kind": ["manifold"] + ["discrete"] * 3, "discovered": [True, True, False, True]})
    assert mixtures.edges(WORLD, found, 1000) == pytest.approx((3, 1000 * p[2], 2, 1000 * p[1]))
    none = mixtures.edges(WORLD, found.assign(discovered=True), 1000)
    assert none[0] == 3 and np.isnan(none[2:]).all()


def test_a_mixture_trained_longer_keeps_its_own_steps():
    single = pd.DataFrame({"n_latents": [4, 8], "seed": 0, "loss": [0.3, 0.2]})
    table = mixtures.lengths(WORLD, 8, 0.1, [0], single, [1, 3], **FAST)
    assert table["times"].tolist() == [1, 3] and table["seed"].tolist() == [0, 0]
    assert table["loss"].iloc[1] < table["loss"].iloc[0] and table["specificity"].between(0, 1).all()


def test_the_whole_range_of_the_issue_is_within_reach():
    few = {"steps": 2, "batch": 16}
    wide = {
        **SWEEP,
        "rules": ["relu l1=0.1", "jumprelu l1=0.1"],
        "ds": [8],
        "n_latents": [1024],
        "bare": True,
    }
    table = curves.loss_curves([{**wide, "seeds": [0], "thicknesses": [0.0]}], **few)
    assert table["d"].tolist() == [8, 8] and np.isfinite(table["loss"]).all()
    world = {**WORLD, "d": 4, "n_discrete": 2000}
    single = pd.DataFrame({"n_latents": [8, 16], "seed": 0, "loss": [0.3, 0.2]})
    assert mixtures.predicted(world, 0.1, single, 4096) == (2096, 2001)
    scene = mixtures.scene(world)
    taken = train([Member(scene, 8, Rule("relu", l1=0.1), 0)], Schedule(steps=2, batch=8, every=1))
    assert taken.saes[0].W_dec.shape == (8, 2004) and taken.table["status"].tolist() == ["trained"]


def test_the_night_is_made_of_parameters_that_the_chapter_takes():
    night = read_yaml(ROOT / "notebooks" / "params" / "night_02.yaml")
    values = chapters.find("02").resolve("full", night)
    assert max(values["n_wide"]) >= 10_000 and values["ds"] == [2, 3, 4, 6, 8]
    assert values["n_discrete"] == [2000, 2000] and max(values["mixture_d_saes"]) == 4096
    assert set(chapters.find("02").resolve("full")["ds"]) == set(values["ds"])
