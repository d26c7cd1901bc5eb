"""The samplers: dimensions, curvature against finite differences, mixtures, seeds."""

from __future__ import annotations

import doctest
import math

import pytest
import torch

from geowall import manifolds
from geowall.manifolds import Helix, Mixture, Ripple, Shell, Sphere, SwissRoll, Torus, make
from geowall.paths import GeowallError

ALL = [Sphere(2), Sphere(5, 2.0), Shell(3, 0.2), Torus(), Helix(), Ripple(8), Ripple(6, 1.0), SwissRoll()]


def test_the_worked_example():
    assert doctest.testmod(manifolds).failed == 0


@pytest.mark.parametrize("manifold", ALL, ids=repr)
def test_a_seed_gives_points_of_the_stated_dimensions(manifold):
    points = manifold.sample(300, seed=3)
    assert points.shape == (300, manifold.d_model)
    assert points.dtype == torch.float32
    assert torch.equal(points, manifold.sample(300, seed=3))
    assert not torch.equal(points, manifold.sample(300, seed=4))


@pytest.mark.parametrize("manifold", ALL, ids=repr)
def test_local_rank_is_the_intrinsic_dimension(manifold):
    cloud = manifold.sample(200_000, seed=0)
    near = (cloud - cloud[0]).norm(dim=1).topk(60, largest=False).indices
    spectrum = torch.linalg.svdvals(cloud[near] - cloud[near].mean(0)).square()
    share = spectrum.cumsum(0) / spectrum.sum()
    assert share[manifold.d_int - 1] > 0.97
    assert manifold.d_int == 1 or share[manifold.d_int - 2] < 0.97


def test_radii():
    assert torch.allclose(Sphere(4, 3.0).sample(50, 0).norm(dim=1), torch.tensor(3.0))
    radius = Shell(4, 0.5).sample(20_000, 0).norm(dim=1)
    assert 0.5 <= radius.min() < 0.501 and 1.499 < radius.max() <= 1.5001
    assert radius.mean() == pytest.approx(1.0, abs=0.01)
    assert torch.allclose(Shell(4, 0.0).sample(9, 1), Sphere(4).sample(9, 1))
    assert torch.allclose(Ripple(10, 0.7).sample(50, 0).norm(dim=1), torch.tensor(1.0))


def curve_curvature(x, h):
    velocity, acceleration = (x[2] - x[0]) / (2 * h), (x[2] - 2 * x[1] + x[0]) / h**2
    speed2 = velocity.square().sum()
    normal = acceleration - velocity * (velocity @ acceleration) / speed2
    return float(normal.norm() / speed2)


def test_curvature_of_curves_against_finite_differences():
    h = 1e-3
    t = torch.tensor([0.3 - h, 0.3, 0.3 + h], dtype=torch.float64)
    helix = torch.stack([torch.cos(t), torch.sin(t), 0.7 * t / math.tau], dim=1)
    assert float(Helix(pitch=0.7).curvature(helix)[0]) == pytest.approx(curve_curvature(helix, h), rel=1e-4)
    k, amplitude = Ripple(6, 0.5)._planes()
    waves = [f(k.double() * t[:, None]) * amplitude.double() for f in (torch.cos, torch.sin)]
    ripple = torch.stack(waves, dim=2).flatten(1)
    expected = curve_curvature(ripple, h)
    assert float(Ripple(6, 0.5).curvature(ripple)[0]) == pytest.approx(expected, rel=1e-4)
    roll = SwissRoll()
    angle = 7.0 + (t - 0.3)
    spiral = (angle / roll.outer)[:, None] * torch.stack([torch.cos(angle), 0 * t, torch.sin(angle)], dim=1)
    assert float(roll.curvature(spiral)[1]) == pytest.approx(curve_curvature(spiral, h) / 2, rel=1e-4)


def test_total_mean_curvature_of_surfaces():
    # Averaged by area over a torus: (1/minor) / 2, because cos(v) integrates to nothing.
    torus = Torus(1.0, 0.4)
    points = torus.sample(200_000, seed=1)
    assert float(torus.curvature(points).mean()) == pytest.approx(0.5 / 0.4, rel=5e-3)
    tube = (points[:, :2].norm(dim=1) - 1.0).square() + points[:, 2].square()
    assert torch.allclose(tube, torch.tensor(0.16), atol=1e-5)
    assert float(Sphere(7, 2.0).curvature(points)[0]) == 0.5


def test_torus_is_uniform_by_area():
    # Pappus: the outer half holds 1/2 + minor / (pi major) of the area.
    ring = Torus(1.0, 0.4).sample(200_000, seed=2)[:, :2].norm(dim=1)
    assert float((ring > 1.0).float().mean()) == pytest.approx(0.5 + 0.4 / math.pi, abs=4e-3)


def test_orthogonal_mixture_splits_into_its_features():
    mixture = Mixture((Sphere(4), Shell(3, 0.2)), p_manifold=0.5, n_discrete=20, alpha=0.5, rate=2.0)
    features, active = mixture.draw_features(20_000, manifolds.generator(0))
    assert features.shape == (20_000, mixture.d_model) == (20_000, 27)
    assert torch.equal(mixture.sample(20_000, 0), features)
    assert torch.equal(features[:, :4].norm(dim=1) > 0, active[:, 0])
    assert torch.equal(features[:, 7:] > 0, active[:, 2:])
    assert float(active[:, :2].float().mean()) == pytest.approx(0.5, abs=0.01)
    assert torch.allclose(active[:, 2:].float().mean(0), mixture.frequencies, atol=0.015)
    assert mixture.frequencies[3] / mixture.frequencies[0] == pytest.approx(4**-1.5, rel=1e-5)
    assert mixture.d_int == 3 + 3 + 20


def test_overlapping_mixture_lives_in_fewer_dimensions():
    mixture = Mixture((Sphere(4),), n_discrete=30, d_ambient=12)
    frames = mixture.subspaces
    assert frames.shape == (34, 12)
    assert torch.allclose(frames[:4] @ frames[:4].T, torch.eye(4), atol=1e-5)
    assert torch.allclose(frames.norm(dim=1), torch.ones(34), atol=1e-5)
    assert (frames[:4] @ frames[4:].T).abs().max() > 0.1
    assert mixture.sample(5, 0).shape == (5, 12)


def test_names_and_errors():
    assert make("circle") == Sphere(2)
    assert make("shell", 4, 0.1) == Shell(4, 0.1)
    assert {make(name, 4).d_int for name in ("torus", "swiss_roll", "helix", "ripple")} == {1, 2}
    with pytest.raises(GeowallError, match="use one of"):
        make("klein")
    with pytest.raises(GeowallError, match="thickness"):
        Shell(3, 2.0)
    with pytest.raises(GeowallError, match="even"):
        Ripple(5)
