"""Which latents serve which feature: known dictionaries, and a trained one."""

from __future__ import annotations

import doctest

import pytest
import torch

from geowall.manifolds import Mixture, Sphere
from geowall.sae import Rule, Schedule, discovery, evaluate, grid, train
from geowall.sae.discovery import features, shares
from geowall.sae.model import Sae

MIXTURE = Mixture((Sphere(3),), p_manifold=0.5, n_discrete=6, alpha=0.5, rate=1.5)


def dictionary(rows):
    zeros = torch.zeros(len(rows))
    return Sae("relu", 1, rows.T.contiguous(), zeros, rows, torch.zeros(rows.shape[1]), zeros)


def test_the_worked_example():
    assert doctest.testmod(discovery).failed == 0


def test_a_dictionary_that_lacks_one_feature_and_mixes_two():
    eye = torch.eye(9)
    sphere = torch.cat([eye[:3], -eye[:3]])
    mixed = torch.nn.functional.normalize(eye[[7]] + eye[[8]], dim=1)
    model = dictionary(torch.cat([sphere, eye[3:6], mixed]))
    table = features(model, MIXTURE, 8192)
    assert table["n_latents"].tolist()[:5] == [6, 1, 1, 1, 0]
    assert table["discovered"].tolist() == [True, True, True, True, False, False, False]
    assert table["mse"][0] == pytest.approx(0.0, abs=1e-9)
    assert table["mse"][4] == pytest.approx(table["p"][4], rel=1e-5)
    assert table["specificity"][0] == pytest.approx(1.0)
    assert shares(model, MIXTURE)[-1].tolist()[-2:] == pytest.approx([0.5, 0.5])


def test_the_errors_of_orthogonal_features_add_up():
    model = dictionary(torch.nn.functional.normalize(torch.randn(20, 9, generator=torch.Generator()), dim=1))
    table = features(model, MIXTURE, 40_000)
    whole = evaluate(grid([MIXTURE], [20], [Rule()], [0]), [model], 40_000)["mse"][0]
    assert table["mse"].sum() == pytest.approx(whole, rel=0.05)


def test_training_discovers_the_features_of_a_small_mixture():
    members = grid([MIXTURE], [40], [Rule("relu", l1=0.05)], [0])
    trained = train(members, Schedule(steps=1500, batch=512))
    table = features(trained.saes[0], MIXTURE, 16_384)
    assert table["discovered"][1:].mean() > 0.6
    assert table["n_latents"][0] >= 6
    assert table["specificity"][0] > 0.75
