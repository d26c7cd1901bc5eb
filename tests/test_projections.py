"""Scenes, detectors, comparisons, grammar and banks of chapter 03, where the answer is known."""

from __future__ import annotations

import doctest
import math

import numpy as np
import pandas as pd
import pytest
import torch

from geowall.kernels.sparsemax import sparsemax_slow
from geowall.paths import GeowallError
from geowall.projections import (
    autoencoders,
    banks,
    baselines,
    comparison,
    concepts,
    formal,
    grammar,
    heterogeneity,
    levels,
    moved,
    naturalistic,
    scenes,
    separability,
    sets,
    targets,
    vision,
)
from geowall.projections.scenes import Nested, Pairs, Ring

MODULES = [autoencoders, banks, baselines, comparison, concepts, formal, grammar, heterogeneity, moved]
MODULES += [levels, naturalistic, scenes, separability, sets, targets, vision]
QUICK = {"steps": 300, "batch": 256, "lr": 0.01}


@pytest.mark.parametrize("module", MODULES, ids=lambda m: m.__name__)
def test_the_worked_examples(module):
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize("architecture", list(sets.SETS))
@pytest.mark.parametrize("n", [1, 2, 7])
def test_a_gate_is_the_nearest_point_of_its_set(architecture, n):
    points = 2.0 * np.random.default_rng(n).standard_normal((8, n))
    for p in points:
        k = min(2, n)
        found = sets.gate(architecture, p, k=k)
        assert np.allclose(found, sets.solved(architecture, p, k=k), atol=1e-6)


@pytest.mark.parametrize("d", [1, 2, 5])
def test_a_flat_cluster_takes_a_prototype_more_than_its_dimensions(d):
    random = torch.Generator().manual_seed(d)
    # Corners of a regular simplex of d dimensions about the origin, rotated into a space of d + 3.
    frame = torch.linalg.qr(torch.randn(d + 3, d + 3, generator=random, dtype=torch.float64)).Q
    flat = torch.linalg.svd(torch.eye(d + 1, dtype=torch.float64) - 1.0 / (d + 1)).Vh[:d]
    corners = flat.T @ frame[:d]
    shares = torch.distributions.Dirichlet(torch.ones(d + 1, dtype=torch.float64)).sample((500,))
    x = shares @ corners
    assert int(torch.linalg.matrix_rank(x - x.mean(0))) == d
    # At this sharpness SpaDE's codes are the shares themselves: d + 1 prototypes rebuild every token.
    sharpness = d / (2.0 * (d + 1) * float(corners[0].square().sum()))
    codes = sparsemax_slow(-sharpness * torch.cdist(x, corners).square())
    assert torch.allclose(codes, shares, atol=1e-9) and torch.allclose(codes @ corners, x, atol=1e-9)
    assert (codes > 0).all()
    # Codes that sum to 1 keep d prototypes on a flat of d - 1 dimensions: the narrowest axis stays.
    left = torch.linalg.eigvalsh(torch.cov(x.T, correction=0))[-d]
    for _ in range(20):
        fewer = torch.randn(d, d + 3, generator=random, dtype=torch.float64)
        fewer = fewer - fewer.mean(0) + x.mean(0) if d > 1 else x.mean(0)[None]
        affine = torch.linalg.pinv(fewer - fewer[0])
        rebuilt = fewer[0] + (x - fewer[0]) @ affine @ (fewer - fewer[0])
        assert float((x - rebuilt).square().sum(1).mean()) >= float(left) - 1e-9


@pytest.mark.parametrize("scene", [Ring(), Ring(stretch=5.0, norm_spread=0.3), Nested((3, 8), 10), Pairs()])
def test_scenes_are_centred_scaled_and_the_same_for_the_same_seed(scene):
    x, holds = scene.labelled(20_000, seed=3)
    assert x.mean(0).abs().max() < 0.05 and abs(float(x.square().sum(1).mean()) - 1.0) < 0.06
    assert holds.shape == (20_000, len(scene.names)) and (holds.sum(1) > 0).all()
    again, _ = scene.labelled(20_000, seed=3)
    assert torch.equal(x, again) and torch.equal(scene.sample(20_000, 3), x)


def test_whitening_gives_the_covariance_of_a_round_cloud():
    x, _ = Ring(stretch=9.0, whiten=True).labelled(50_000, seed=0)
    assert torch.allclose(torch.cov(x.T), 0.5 * torch.eye(2), atol=0.02)


def test_nested_concepts_have_their_dimension_and_equal_variance():
    scene = Nested((2, 6), 8)
    x, holds = scene.raw(40_000, torch.Generator().manual_seed(0))
    for dim, own in zip(scene.dims, holds.T, strict=True):
        values = torch.linalg.eigvalsh(torch.cov(x[own].T))
        assert int((values > 1e-4).sum()) == dim
        assert float(values.sum()) == pytest.approx(0.02, rel=0.03)
    with pytest.raises(GeowallError, match="no such scene"):
        Nested((9,), 8)


def test_pairs_are_free_or_tied():
    _, free = Pairs(0.0).labelled(20_000, 0)
    _, tied = Pairs(1.0).labelled(2000, 0)
    assert torch.equal(tied[:, :3], tied[:, 3:])
    joint = (free[:, 0] & free[:, 3]).float().mean()
    assert float(joint) == pytest.approx(1 / 9, abs=0.01)


def test_a_union_is_chosen_on_some_tokens_and_scored_on_others():
    random = torch.Generator().manual_seed(0)
    holds = torch.rand(400, 3, generator=random) < 0.4
    fires = torch.rand(400, 6, generator=random) < 0.2
    fires[:200, 0], fires[200:, 1] = holds[:200, 2], holds[200:, 2]
    fires[200:, 0] = fires[:200, 1] = False
    own, tested = concepts.union(fires, holds, fires, holds, 4)
    assert torch.equal(own, tested) and bool((own.diff(dim=0) >= -1e-6).all())
    assert float(own[1, 2]) == 1.0 and int(concepts.enough(own)[2]) == 2
    silent = torch.zeros_like(fires)
    assert float(concepts.union(fires, holds, silent, holds, 2)[1].max()) == 0.0
    score, chosen = concepts.held_out(fires, holds, fires, holds)
    assert torch.allclose(score, concepts.f1(fires, holds).max(0).values)
    assert torch.equal(chosen, concepts.f1(fires, holds).argmax(0))


def test_blocks_of_similar_codes_are_counted():
    holds = torch.eye(4).bool().repeat_interleave(10, 0)
    similar = concepts.similarity(holds.float())
    assert concepts.stable_rank(similar) == pytest.approx(4.0, abs=1e-4)
    count, found, rand = concepts.blocks(similar, holds)
    assert (count, len(set(found)), rand) == (4, 4, 1.0)


def test_strengths_are_in_the_papers_units():
    rule = autoencoders.rule
    assert rule("jumprelu_wide", 1.0, 4).bandwidth == pytest.approx(100 * rule("jumprelu", 1.0, 4).bandwidth)
    assert rule("topk", 3, 4).k == 3
    for architecture, strength in (("kmeans", 3), ("topk", 2.5), ("matching_pursuit", 0)):
        with pytest.raises(GeowallError, match="no such autoencoder"):
            rule(architecture, strength, 4)


def test_no_half_plane_holds_an_inner_cluster_alone():
    table = sets.best_half_plane(4000, 120, 0)
    f1 = table.groupby("kind")["f1"].agg(["min", "max"])
    assert f1.loc["outer", "min"] > 0.99 and 0.5 < f1.loc["inner", "max"] < 0.67
    x, holds = Ring().labelled(4000, 0)
    row = table.iloc[1]
    normal = torch.tensor([math.cos(math.radians(row["angle"])), math.sin(math.radians(row["angle"]))])
    along = x @ normal
    tried = [float(concepts.f1((along >= t)[:, None], holds[:, [1]])) for t in along.sort().values[::10]]
    assert max(tried) == pytest.approx(row["f1"], abs=2e-3)


def test_a_killed_training_goes_on_beside_the_tables_of_its_run(tmp_path, monkeypatch):
    given = {"steps": 200, "batch": 64, "lr": 0.01}
    plain = autoencoders.fits(Ring(), 16, {"spade": [0.01]}, [5], given)[0]
    monkeypatch.setenv("GEOWALL_STEPS", str(tmp_path))
    assert autoencoders.fits(Ring(), 16, {"spade": [0.01]}, [5], given)[0] is plain, "remembered"
    assert not list(tmp_path.iterdir())
    autoencoders._trained.cache_clear()
    again = autoencoders.fits(Ring(), 16, {"spade": [0.01]}, [5], given)[0]
    folders = list((tmp_path / "training").iterdir())
    assert len(folders) == 1 and torch.equal(again.coder.W_dec, plain.coder.W_dec)
    autoencoders._trained.cache_clear()
    third = autoencoders.fits(Ring(), 16, {"spade": [0.01]}, [5], given)[0]
    assert list((tmp_path / "training").iterdir()) == folders
    assert torch.equal(third.coder.W_dec, plain.coder.W_dec)
    autoencoders.fits(Ring(), 16, {"spade": [0.02]}, [5], given)
    assert len(list((tmp_path / "training").iterdir())) == 2
    autoencoders._trained.cache_clear()


@pytest.fixture(scope="module")
def plane():
    strengths = {
        "relu": [0.3],
        "jumprelu": [0.0001],
        "topk": [12],
        "spade": [0.01],
        "rbf": [2],
        "kmeans": [6],
    }
    table = separability.separability(strengths, [0, 1], 64, **QUICK)
    return strengths, table, separability.best_settings(table)


def test_only_prototypes_see_the_inner_clusters(plane):
    _, table, best = plane
    inner = best[best["kind"] == "inner"].set_index("architecture")["f1"]
    assert inner["spade"] > 0.85 and inner["rbf"] > 0.85
    assert inner[["relu", "jumprelu", "topk"]].max() < 0.75
    held = table.groupby("architecture")["f1_heldout"].mean()
    assert held["kmeans"] > 0.98 and held["spade"] > 0.9
    assert (best["low"] <= best["f1"]).all() and (best["f1"] <= best["high"]).all()
    assert (best["n_seeds"] == 2).all() and (best["f1_one_setting"] == best["f1"]).all()


def test_a_strength_is_chosen_on_other_tokens_than_it_is_scored_on():
    keys = {"architecture": "relu", "seed": 0, "l0": 1.0, "nmse": 0.1}
    scored = [("outer 0", 1.0, 0.6, 0.9), ("outer 0", 2.0, 0.8, 0.7)]
    scored += [("inner 60", 1.0, 0.3, 0.2), ("inner 60", 2.0, 0.2, 0.3)]
    columns = ["concept", "strength", "f1_top5", "f1_top5_chosen"]
    table = pd.DataFrame(scored, columns=columns).assign(**keys)
    best = separability.best_settings(table).set_index("kind")
    assert best["strength"].to_dict() == {"outer": 1.0, "inner": 2.0, "both": 1.0}
    assert best["f1"].to_dict() == pytest.approx({"outer": 0.6, "inner": 0.2, "both": 0.45})
    assert best.loc["inner", "f1_one_setting"] == pytest.approx(0.3)
    one = comparison.best_of(table[table["concept"] == "outer 0"], ["architecture"], "f1_top5").iloc[0]
    assert (one["strength"], one["f1"]) == (1.0, 0.6)


def test_fields_similarities_and_blocks_come_from_the_best_strength(plane):
    strengths, _, best = plane
    options = {"n_latents": 64, **QUICK}
    fields = separability.fields(strengths, best, [0, 1], **options)
    assert fields["code"].between(0.0, 1.0).all() and len(fields) == 6 * 2 * 19**2
    share = fields.assign(on=fields["code"] > 0).groupby("architecture")["on"].mean()
    assert share["spade"] < 0.2 < share["relu"]
    alike = separability.ring_likeness({"spade": [0.01], "topk": [12]}, best, [0, 1], **options)
    mean = alike.groupby("architecture")["cosine"].mean()
    assert mean["spade"] < mean["topk"]
    blocks = (
        separability.code_blocks(strengths, best, [0, 1], **options).groupby("architecture")["blocks"].mean()
    )
    assert blocks["spade"] > blocks[["relu", "jumprelu", "topk"]].max()


def test_pairs_are_matched_on_both_or_on_l0_or_not_at_all():
    base = {"seed": 0, "concept": "a", "strength": 1.0} | dict.fromkeys(comparison.SCORES, 0.9)
    cases = {"spade": (10, 0.1), "relu": (12, 0.15), "topk": (9, 0.5), "kmeans": (1, 0.1)}
    rows = [base | {"architecture": a, "l0": l0, "nmse": e} for a, (l0, e) in cases.items()]
    rows += [row | {"seed": 1, "f1_heldout": 0.7} for row in rows]
    pairs = comparison.matched(pd.DataFrame(rows), "x")
    on = pairs.groupby("architecture")["matched_on"].first()
    assert on.to_dict() == {"relu": "l0 and error", "topk": "l0", "kmeans": "nothing"}
    gaps = comparison.gaps(pairs)
    assert set(gaps["architecture"]) == {"relu", "topk"} and gaps["gap"].abs().max() < 1e-9
    assert (gaps["n_matched"] == 2).all()
    left = comparison.unmatched(pairs).iloc[0]
    assert (left["architecture"], left["n_seeds"], left["n_matched"]) == ("kmeans", 2, 0)
    assert left["l0_ratio"] == pytest.approx(0.1)


def test_a_match_on_both_stands_for_most_seeds_or_not_at_all():
    base = {"concept": "a", "strength": 1.0} | dict.fromkeys(comparison.SCORES, 0.9)
    rows = [base | {"architecture": "spade", "seed": s, "l0": 10.0, "nmse": 0.1} for s in range(3)]
    errors = [0.1, 0.9, 0.9]
    rows += [base | {"architecture": "relu", "seed": s, "l0": 10.0, "nmse": errors[s]} for s in range(3)]
    few = comparison.gaps(comparison.matched(pd.DataFrame(rows), "x"))
    assert set(few["matched_on"]) == {"l0"} and (few["n_matched"] == 3).all()


def test_sweeps_are_compared_where_the_reference_lies():
    l0, errors = [4.0, 16.0, 8.0], [0.4, 0.1, 0.3]
    named = {"architecture": ["topk", "topk", "spade"], "strength": [4.0, 16.0, 1.0]}
    one = pd.DataFrame(named | {"concept_dim": 6, "l0": l0, "nmse": errors})
    table = pd.concat([one.assign(seed=seed) for seed in (0, 1)])
    equal = levels.nested(table, 1.0).iloc[0]
    assert equal["nmse"] == pytest.approx(0.2) and equal["nmse_ratio"] == pytest.approx(2 / 3)
    assert (equal["n_matched"], equal["n_seeds"]) == (2, 2)
    beyond = levels.nested(table.assign(l0=table["l0"].replace(8.0, 20.0)), 1.0).iloc[0]
    assert beyond["n_matched"] == 0 and math.isnan(beyond["nmse"])
    counts = table.assign(n_discovered=table["l0"], n_detected=2.0, d_sae=64)
    found = levels.discovered(counts).set_index("score")
    assert found.loc["n_discovered", "gap"] == pytest.approx(8.0 - 10.0)
    assert found.loc["n_detected", "gap"] == 0.0 and (found["n_matched"] == 2).all()


def _nested_table() -> pd.DataFrame:
    rows = []
    for seed in (0, 1):
        for dim in (6, 14, 30):
            rows += [("topk", k, seed, dim, k, 0.1 if k > dim else 0.5) for k in (4.0, 8.0, 16.0)]
            rows.append(("spade", 1.0, seed, dim, 1.1 * dim, 0.1))
            rows += [("relu", 1.0, seed, dim, 20.0 + seed, 0.1), ("jumprelu", 1.0, seed, dim, 150.0, 0.1)]
    return pd.DataFrame(rows, columns=["architecture", "strength", "seed", "concept_dim", "l0", "nmse"])


def test_every_target_of_the_paper_is_judged():
    names = ["relu", "jumprelu", "topk", "spade"]
    paper = {name: (0.99, 0.5) for name in names}
    best = pd.DataFrame([(name, kind) for name in names for kind in ("outer", "inner")])
    best = best.set_axis(["architecture", "kind"], axis=1).assign(f1=0.98, low=0.97, high=0.99, n_seeds=2)
    blocks = pd.DataFrame([(name, seed, 3) for name in names for seed in (0, 1)])
    blocks = blocks.set_axis(["architecture", "seed", "blocks"], axis=1)
    words = [
        (n, s, 1.0, f, f, e)
        for n, f, e in zip(names, (0.8, 0.8, 0.9, 0.97), (1.0, 1, 1, 0.05), strict=True)
        for s in (0, 1)
    ]
    words = pd.DataFrame(words, columns=["architecture", "seed", "strength", "f1", "f1_chosen", "nmse"])
    table = targets.table(best, blocks, _nested_table(), words.assign(l0=5.0), paper)
    assert list(table.columns) == targets.COLUMNS and len(table) == 8 + 4 + 2 + 2 + 2 + 4
    told = table.set_index(["architecture", "target"])
    assert told.loc[("relu", "F1, outer clusters"), "verdict"] == "holds"
    assert "half plane" in told.loc[("relu", "F1, inner clusters"), "reason"]
    assert told.loc[("spade", "blocks of codes"), "verdict"] == "below"
    assert set(table[table["target"].str.startswith("first k")]["verdict"]) == {"holds"}
    assert told.loc[("relu", "latents at penalty 1, 6 dimensions"), "verdict"] == "below"
    assert told.loc[("jumprelu", "latents at penalty 1, 6 dimensions"), "verdict"] == "holds"
    assert told.loc[("relu", "error over SpaDE's at equal F1"), "ours"] == pytest.approx(20.0)
    assert told.loc[("topk", "best F1"), "verdict"] == "above"
    assert math.isnan(told.loc[("spade", "best F1"), "paper_high"])
    missed = targets.missed(table)
    assert (missed["reason"] != "").all() and (table[table["verdict"] == "holds"]["reason"] == "").all()


def test_whitening_undoes_a_stretch_and_variable_norms_hurt():
    table = comparison.shifts({"spade": 0.01}, [0], [16.0], [0.0, 1.0], 64, **QUICK)
    f1 = table.set_index(["shift", "amount"])["f1_heldout"]
    assert f1["whitened", 16.0] > 0.9 > f1["stretched", 16.0]
    assert f1["norms", 0.0] > 0.9 > f1["norms", 1.0]


def test_a_pressed_spade_has_a_latent_for_each_combination():
    table = comparison.co_occurring({"spade": [1.0]}, [0], [0.0, 1.0], 32, **QUICK)
    f1 = table.set_index("tied")
    assert f1.loc[0.0, "f1_heldout"] < 0.6 < 0.9 < f1.loc[0.0, "f1_union"]
    assert f1.loc[1.0, "f1_heldout"] > 0.9
    best = comparison.best_of(table, ["tied"])
    assert best["f1"].tolist() == pytest.approx(f1["f1_heldout"].tolist())


def test_discovery_counts_directions_and_detections():
    world = {"d": 2, "thickness": 0.0, "p_manifold": 0.5, "n_discrete": 6, "alpha": 0.5, "rate": 1.0}
    table = comparison.discovery(world, [16], {"topk": [2], "spade": [0.05]}, [0], steps=300, batch=256)
    assert table["architecture"].tolist() == ["topk", "spade"]
    assert (table["n_discovered"] <= table["n_detected"]).all() and (table["n_detected"] <= 6).all()
    assert table["nmse"].between(0.0, 1.0).all()


def test_codes_of_spade_grow_with_the_dimension_and_topks_do_not():
    scene = {"dims": [2, 8], "d_model": 8}
    strengths = {"topk": [3, 10], "spade": [1.0]}
    table = heterogeneity.heterogeneity(strengths, [0, 1], 64, scene, **QUICK)
    slope = heterogeneity.dimension_slope(table).set_index(["architecture", "strength"])["slope"]
    assert slope["spade", 1.0] > 0.25 and abs(slope["topk", 3.0]) < 0.05
    first = heterogeneity.first_k(table).set_index("concept_dim")
    assert first.loc[2, "k"] == 3.0 and first.loc[8, "k_above"] == 10.0
    adapted = heterogeneity.adapted(table, "spade", 1.0)
    assert adapted["l0"].is_monotonic_increasing and (adapted["low"] <= adapted["l0"]).all()
    alike = heterogeneity.nested_likeness(strengths, {"spade": 1.0}, [0, 1], 64, scene, **QUICK)
    assert alike["cosine"].between(-1e-6, 1 + 1e-6).all() and len(alike) == 10**2


def test_the_moved_cluster_is_seen_where_it_stands_alone():
    table = moved.moved_cluster({"spade": 0.01, "relu": 0.3}, [0.0, 2.0], [0.0], 0, 64, **QUICK)
    f1 = table.set_index(["radius", "architecture"])["f1"]
    assert f1[2.0, "spade"] > 0.95 and f1[0.0, "relu"] < 0.5
    assert table["field"].str.fullmatch("[0-9]{225}").all()
    points = moved.grid()
    assert points[0].tolist() == pytest.approx([-moved.EDGE, -moved.EDGE])
    assert points[1, 0] > points[0, 0] and points[1, 1] == points[0, 1]


def test_the_grammar_keeps_its_rules():
    text = grammar.sample(400, 64, seed=1)
    assert int(text.ids.max()) < grammar.VOCABULARY
    words = text.parts >= 0
    assert torch.equal((text.ids[words] - 3) // grammar.WORDS, text.parts[words])
    assert (text.ids[~words] < 3).all()
    rng = np.random.default_rng(0)
    shapes = [grammar.sentence(rng, "NP") for _ in range(2000)]
    single = np.mean([shape == [grammar.PARTS.index("pronoun")] for shape in shapes])
    pair = np.mean([shape == [2, 1] for shape in shapes])
    assert single == pytest.approx(0.20, abs=0.03) and pair == pytest.approx(0.45, abs=0.04)
    assert torch.equal(grammar.sample(3, 8, 5).ids, grammar.sample(3, 8, 5).ids)


def test_parts_of_speech_are_found_in_a_transformer_that_learns():
    losses = formal.losses(16, 20, 0).set_index("source")["loss"]
    assert losses["bigram"] < losses["unigram"] < math.log(grammar.VOCABULARY)
    model = {"d_model": 16, "steps": 20, "seed": 0, "n_tokens": 3000}
    table = formal.formal_language({"spade": [0.1], "topk": [4]}, [0], 64, model, **QUICK)
    assert list(table.columns) == banks.COLUMNS and set(table["concept"]) == set(grammar.PARTS)
    assert table["f1_heldout"].mean() > 0.3 and table["dead"].between(0.0, 1.0).all()
    assert table["f1_union"].mean() >= table["f1_heldout"].mean() - 0.05
    reached = banks.reached(table, "spade", 0.0)
    assert reached == pytest.approx(table.loc[table["architecture"] == "spade", "nmse"].iloc[0])
    assert math.isnan(banks.reached(table, "spade", 2.0))


def test_a_readers_own_activations(tmp_path, monkeypatch):
    monkeypatch.setattr(naturalistic, "ROOT", tmp_path)
    random = np.random.default_rng(0)
    labels = random.integers(3, size=3000)
    x = np.eye(3, 8)[labels] + 0.05 * random.standard_normal((3000, 8))
    banks.save(tmp_path / "mine.npz", x, labels, ["a", "b", "c"])
    data = {"source": "mine.npz", "layer": 0, "n_tokens": 1, "seed": 0}
    table = naturalistic.naturalistic({"spade": [0.1], "kmeans": [3]}, [0], 16, data, **QUICK)
    assert set(table["concept"]) == {"a", "b", "c"}
    assert table[table["architecture"] == "kmeans"]["f1_heldout"].min() > 0.99
    best = comparison.best_of(table, ["architecture"])
    spread = banks.spread(table, best)
    assert (spread["low"] <= spread["f1"]).all() and len(spread) == 6
    with pytest.raises(GeowallError, match="no file"):
        banks.load(tmp_path / "absent.npz")
    np.savez(tmp_path / "bad.npz", x=x, labels=labels)
    with pytest.raises(GeowallError, match="a name for each label"):
        banks.load(tmp_path / "bad.npz")


@pytest.fixture(scope="module")
def vit():
    from transformers import ViTConfig, ViTModel

    size = {"hidden_size": 8, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 16}
    return ViTModel(ViTConfig(image_size=8, patch_size=4, **size)).eval()


def test_activations_of_a_vision_model(vit, tmp_path):
    images = torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    x = vision.embed(vit, images, layer=2)
    last = vit(images, output_hidden_states=True).hidden_states[-1]
    assert torch.allclose(x, last, atol=1e-5)
    rows, labels = vision.labelled(x, torch.arange(5))
    assert rows.shape == (25, 8) and labels.tolist()[:6] == [0] * 5 + [1]
    with pytest.raises(GeowallError, match="no activations"):
        vision.embed(vit, images, layer=3)
    with pytest.raises(GeowallError, match="list of like blocks"):
        vision.blocks(torch.nn.Linear(2, 2))
    vit.save_pretrained(tmp_path / "vit")
    again = vision.embed(vision.load(str(tmp_path / "vit")), images, layer=2)
    assert torch.allclose(again, x, atol=1e-5)
    with pytest.raises(GeowallError, match="was not loaded"):
        vision.load(str(tmp_path / "absent"))
    with pytest.raises(GeowallError, match="timm is not installed"):
        vision.load("timm:any")
