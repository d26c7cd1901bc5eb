"""Architectures, starts, metrics, exact codes: against definitions and known levels."""

from __future__ import annotations

import doctest
import importlib
import math

import pytest
import torch

from geowall import sae
from geowall.kernels.sae_step import ARCHITECTURES, Rule, encode, size, views
from geowall.manifolds import Shell, Sphere, make
from geowall.paths import GeowallError
from geowall.sae import lasso, metrics
from geowall.sae.model import Sae, from_flat, to_flat
from geowall.sae.schedule import Member, Schedule, derive, grid
from geowall.sae.start import revive, split, start

MODULES = ["checkpoint", "lasso", "metrics", "model", "schedule", "start", "training"]


@pytest.mark.parametrize("name", ["", *(f".{m}" for m in MODULES)])
def test_the_worked_examples(name):
    assert doctest.testmod(importlib.import_module(f"geowall.sae{name}")).failed == 0


def random_flat(n, d, seed=0):
    flat = torch.randn(size(n, d), generator=torch.Generator().manual_seed(seed))
    parts = views(flat, n, d)
    parts.dec[:] = torch.nn.functional.normalize(parts.dec, dim=1)
    return flat


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_inference_is_the_training_forward(architecture):
    n, d, rule = 40, 7, Rule(architecture, k=3)
    flat, x = random_flat(n, d), torch.randn(64, 7, generator=torch.Generator().manual_seed(1))
    codes, gates, p = encode(views(flat, n, d), x, rule)
    cut = float(p.flatten().topk(3 * 64).values[-1]) - 1e-6 if architecture == "batchtopk" else 0.0
    model = from_flat(flat, architecture, 3, n, cut)
    assert torch.allclose(model.encode(x), codes, atol=1e-5)
    assert torch.allclose(model(x), codes @ model.W_dec + model.b_dec, atol=1e-5)
    if architecture in ("topk", "matching_pursuit"):
        assert int(gates.sum(1).max()) <= 3
    if architecture == "batchtopk":
        assert int(gates.sum()) == 3 * 64


@pytest.mark.parametrize("architecture", ["relu", "jumprelu", "topk"])
def test_flat_vectors_and_autoencoders_are_the_same_thing(architecture):
    flat = random_flat(10, 4)
    model = from_flat(flat, architecture, 2, 10)
    again = from_flat(to_flat(model), architecture, 2, 10)
    for name in ("W_enc", "W_dec", "b_enc", "b_dec", "threshold"):
        assert torch.allclose(getattr(model, name), getattr(again, name), atol=1e-6), name
    assert model.to(torch.float64).W_enc.dtype == torch.float64
    assert (model.d_sae, model.d_model) == (10, 4)


def test_matching_pursuit_leaves_less_at_every_step():
    model, x = from_flat(random_flat(60, 5), "matching_pursuit", 1, 60), Sphere(5).sample(200, 0)
    errors = [
        float(metrics.mse(x, Sae(*("matching_pursuit", k), *list(vars(model).values())[2:])(x)))
        for k in (1, 2, 4, 8)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.2 * errors[0]


@pytest.mark.parametrize("architecture", [a for a in ARCHITECTURES if a != "batchtopk"])
@pytest.mark.parametrize("n", [1, 12, 1024])
def test_a_start_is_not_far_above_the_data(architecture, n):
    rule, d = Rule(architecture, k=2, l0=0.1), 6
    model = from_flat(start(n, d, rule, seed=0), architecture, 2, n)
    x = Sphere(d).sample(4000, 0)
    row = sae.measure(model, x)
    alone = architecture == "spade" and n == 1  # one prototype stands for every token, wherever it is
    assert row["mse"] < (3.0 if alone else 1.2)
    if architecture == "jumprelu" and n > 12:
        assert 0.5 * 2 * d < row["l0"] < 2 * 2 * d
        as_relu = from_flat(start(n, d, Rule("jumprelu", l1=0.1), seed=0), architecture, 1, n)
        assert sae.measure(as_relu, x)["l0"] > 0.4 * n


def test_a_split_dictionary_starts_at_the_loss_of_its_half():
    model = from_flat(random_flat(20, 4), "relu", 1, 20)
    twice = from_flat(split(model, seed=0, jitter=0.0), "relu", 1, 40)
    x = Sphere(4).sample(100, 0)
    assert torch.allclose(model(x), twice(x), atol=1e-5)
    assert torch.allclose(model.encode(x).sum(1), twice.encode(x).sum(1), atol=1e-5)


def test_the_dead_start_again_at_tokens_and_only_they():
    n, d = 10, 3
    state = torch.stack([random_flat(n, d, seed) for seed in range(3)])
    before, dead, x = state.clone(), torch.arange(n) % 3 == 0, Sphere(3).sample(50, 0)
    revive(state, dead, x, x, seed=4)
    for old, new in zip(before, state, strict=True):
        for part, was in zip(views(new, n, d)[:4], views(old, n, d)[:4], strict=True):
            assert torch.equal(part[~dead], was[~dead])
    atoms = views(state[0], n, d).dec[dead]
    assert float((atoms @ x.T).max(1).values.min()) > 0.99
    assert float(views(state[1], n, d).enc[dead].abs().max()) == 0.0


@pytest.mark.parametrize("architecture", ["topk", "spade"])
def test_no_two_revived_latents_are_alike(architecture):
    n, d, rule = 10, 3, Rule(architecture, k=2)
    state = torch.stack([random_flat(n, d, seed) for seed in range(3)])
    x = torch.ones(5, d)  # equal tokens: all ten start there
    revive(state, torch.ones(n, dtype=torch.bool), x, x, seed=4, rule=rule)
    parts = views(state[0], n, d)
    for rows in (parts.enc, parts.dec):
        assert float(torch.pdist(rows).min()) > 1e-4
    assert float((torch.nn.functional.normalize(parts.enc, dim=1) @ x[0] / d**0.5).min()) > 0.99


def test_nmse_cuts_both_tails_and_fvu_is_about_the_mean():
    x = torch.ones(100, 2)
    rebuilt = x.clone()
    rebuilt[0] = 1e6
    rebuilt[1:6] = 0.0
    assert float(metrics.nmse(x, rebuilt)) == pytest.approx(1 / 90)
    assert float(metrics.nmse(x, rebuilt, trim=0.0)) > 1e9
    cloud = torch.randn(5000, 3, generator=torch.Generator().manual_seed(0)) + 10.0
    assert float(metrics.fvu(cloud, cloud.mean(0).expand_as(cloud))) == pytest.approx(1.0, abs=1e-5)
    assert float(metrics.cosine_distance(x, -x)) == pytest.approx(2.0)


def test_geometry_of_a_known_dictionary():
    basis = torch.cat([torch.eye(3), -torch.eye(3)])
    model = Sae("relu", 1, basis.T, torch.zeros(6), basis, torch.zeros(3), torch.zeros(6))
    x = Sphere(3).sample(5000, 0)
    assert torch.allclose(metrics.neighbour_cosine(basis), torch.zeros(6))
    assert torch.allclose(metrics.firing_share(model, x), torch.full((6,), 0.5), atol=0.03)
    assert float(metrics.coverage(model, x)) == 1.0
    row = metrics.measure(model, x, Rule("relu", l1=0.1))
    assert (row["live"], row["dead"], row["l0"]) == (6, 0, pytest.approx(3.0))
    assert row["mse"] == pytest.approx(0.0, abs=1e-10)
    assert row["penalty_value"] == pytest.approx(0.1 * sae.signed_basis_gauge(3), rel=0.01)
    silent = Sae("relu", 1, basis.T, torch.full((6,), -9.0), basis, torch.zeros(3), torch.zeros(6))
    assert math.isnan(metrics.measure(silent, x)["neighbour_cosine"])
    assert math.isnan(float(metrics.neighbour_cosine(basis[:1])[0]))


def test_neighbours_do_not_depend_on_tiles():
    atoms = torch.randn(1500, 4, generator=torch.Generator().manual_seed(0))
    cosines = torch.nn.functional.normalize(atoms, dim=1) @ torch.nn.functional.normalize(atoms, dim=1).T
    expected = cosines.fill_diagonal_(-2.0).max(1).values
    assert torch.allclose(metrics.neighbour_cosine(atoms), expected, atol=1e-5)


@pytest.mark.parametrize("d, level", [(2, 1.273), (3, 1.5), (4, 1.698), (6, 2.037), (8, 2.328)])
def test_gauge_of_a_signed_basis(d, level):
    assert sae.signed_basis_gauge(d) == pytest.approx(level, abs=6e-4)
    assert sae.signed_basis_loss(d, 1e-5) / 1e-5 == pytest.approx(sae.signed_basis_gauge(d), rel=1e-3)


@pytest.mark.parametrize("d, l1", [(2, 0.3), (6, 0.1)])
def test_exact_codes_of_a_signed_basis_pay_the_analytic_level(d, l1):
    basis = torch.cat([torch.eye(d), -torch.eye(d)])
    found = sae.envelope(Sphere(d).sample(20_000, 0), basis, l1)
    assert found["loss"] == pytest.approx(sae.signed_basis_loss(d, l1), rel=6e-3)


def test_exact_codes_of_a_fine_tiling_pay_the_tiling_level():
    angle = torch.arange(64) * (math.tau / 64)
    atoms = torch.stack([angle.cos(), angle.sin()], dim=1)
    assert sae.envelope(Sphere(2).sample(300, 0), atoms, 0.2)["loss"] == pytest.approx(
        sae.tiling_loss(0.2), rel=2e-3
    )
    assert sae.tiling_loss(0.5, radius=0.1) == pytest.approx(0.01)


def test_the_certificate_is_zero_only_at_the_optimum():
    x, atoms = Sphere(5).sample(50, 0), Sphere(5).sample(30, 1)
    codes = sae.lasso_codes(x.double(), atoms.double(), 0.1, tolerance=1e-9)
    loss, gap = lasso.certificate(x.double(), atoms.double(), codes, 0.1)
    assert float(gap.mean()) < 1e-9 and float(gap.min()) > -1e-12
    assert bool((codes >= 0).all())
    worse, gap_worse = lasso.certificate(x.double(), atoms.double(), codes * 1.05, 0.1)
    assert bool((gap_worse >= worse - loss - 1e-12).all())
    with pytest.raises(GeowallError, match="duality gap"):
        sae.lasso_codes(x, atoms, 0.1, tolerance=1e-9, most_steps=25)


def test_the_envelope_is_below_any_encoder():
    model = from_flat(start(64, 4, Rule(), seed=0), "relu", 1, 64)
    x, rule = Sphere(4).sample(500, 0), Rule("relu", l1=0.1)
    assert sae.envelope(x, model.W_dec, 0.1)["loss"] <= metrics.measure(model, x, rule)["loss"]


def test_grids_schedules_and_seeds():
    members = grid([make("circle"), Shell(3, 0.2)], [2, 4], [Rule(), Rule("jumprelu", l0=0.1)], [0, 1, 2])
    assert len(members) == len(set(members)) == 24
    assert members[-1].describe() == {
        "manifold": "shell", "d": 3, "thickness": 0.2, "architecture": "jumprelu", "penalty": 0.1,
        "k": 0, "n_latents": 4, "seed": 2,
    }  # fmt: skip
    rates = Schedule(steps=1000).rates()
    assert len(rates) == 1000 and float(rates.max()) == pytest.approx(3e-3)
    assert float(rates[-1]) == pytest.approx(3e-5, rel=1e-3)
    assert Schedule(batch=1024, every=100).block(8) == 100
    assert Schedule(batch=1024, every=100).block(2000) == 4
    assert derive(0, "tokens", 5) != derive(0, "tokens", 6)
    for bad in ({"n_latents": 0}, {"rule": Rule("gru")}, {"rule": Rule(k=0)}):
        with pytest.raises(GeowallError):
            Member(**({"manifold": make("circle"), "n_latents": 2, "rule": Rule(), "seed": 0} | bad))
    with pytest.raises(GeowallError, match="not known"):
        Sae("gru", 1, *[torch.zeros(1)] * 5)
