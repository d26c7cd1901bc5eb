"""Compiled local second moments against their slow twins: leading values, bases and angles, awkward sizes."""

from __future__ import annotations

import pytest
import torch

from geowall.kernels import compiled, neighbours
from geowall.kernels import local_geometry as local

CODE = compiled.library(local.SOURCE)
SIDES = [1, 2, 3, 15, 16, 17, 48, 64, 65, 97]


def positive(m, kind, seed=0, count=3):
    """Symmetric matrices without negative eigenvalues, of a spectrum that is hard in its own way."""
    random = torch.Generator().manual_seed(seed)
    turn = torch.linalg.qr(torch.randn(count, m, m, generator=random, dtype=torch.float64)).Q
    place = torch.arange(m, dtype=torch.float64)
    spectrum = {
        "falling": 1.0 / (1.0 + place),
        "flat": torch.ones(m, dtype=torch.float64),
        "pairs": torch.floor(place / 2.0) + 1.0,
        "one": (place == 0).double(),
        "wide": 10.0 ** (-8.0 * place / m),
        "none": torch.zeros(m, dtype=torch.float64),
    }[kind]
    return (turn * spectrum) @ turn.mT


@pytest.mark.parametrize("kind", ["falling", "flat", "pairs", "one", "wide", "none"])
@pytest.mark.parametrize("m", SIDES)
def test_leading_values_and_vectors_equal_their_definition(m, kind):
    matrix = positive(m, kind)
    for k in {1, (m + 1) // 2, m}:
        expected = local.leading_slow(matrix, k)[0]
        trace = matrix.diagonal(dim1=1, dim2=2).sum(1)[:, None]
        found, none = local.leading(matrix.float(), k, vectors=False, code=CODE)
        values, vectors = local.leading(matrix.float(), k, code=CODE)
        assert none is None and found.shape == (len(matrix), k)
        for each in (found, values):
            assert bool(((each.double() - expected).abs() <= 2e-6 * trace).all())
        vectors = vectors.double()
        assert torch.allclose(
            vectors.mT @ vectors, torch.eye(k, dtype=torch.float64).expand(3, k, k), atol=1e-5
        )
        held = (vectors.mT @ matrix @ vectors).diagonal(dim1=1, dim2=2)
        assert bool(((held - expected).abs() <= 1e-5 * trace).all())


@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_leading_values_do_not_depend_on_the_unit(scale):
    matrix = positive(33, "falling").float()
    expected, found = (local.leading(m, 5, code=CODE)[0] for m in (matrix, matrix * scale))
    assert torch.allclose(found / scale, expected, rtol=1e-5)


@pytest.mark.parametrize("about", ["point", "mean"])
@pytest.mark.parametrize(
    "n, d, scales, dim",
    [(2, 3, [2], 1), (49, 48, [7, 48], 5), (65, 64, [5, 33, 64], 5), (141, 77, [40, 61], 19)],
)
def test_both_paths_agree(n, d, scales, dim, about):
    x = torch.randn(n, d, generator=torch.Generator().manual_seed(n)) * torch.arange(1, d + 1) ** -0.5 + 3.0
    near = torch.stack([torch.randperm(n, generator=torch.Generator().manual_seed(i)) for i in range(n)])
    near = torch.cat([near, near], 1)[
        :, : max(scales)
    ]  # a neighbour twice, or the point itself: all is defined
    own = torch.arange(n).flip(0)
    for basis in (None, scales[0]):
        found, expected = (
            local.local_geometry(x, near, scales, dim, basis, own, about, path) for path in ("auto", "torch")
        )
        assert torch.allclose(found.energy, expected.energy, rtol=1e-5, atol=1e-7)
        assert torch.allclose(found.participation, expected.participation, rtol=1e-4)
        assert torch.allclose(found.residual, expected.residual, atol=1e-5)
        assert torch.allclose(found.spectrum, expected.spectrum, atol=2e-6 * float(expected.energy.max()))
        assert (found.basis is None) == (basis is None)
        if basis is not None and dim < basis - 1:
            places = torch.arange(n)
            both = torch.cat([found.basis, expected.basis])
            angles = local.overlap_slow(both, places, places[:, None] + n, [dim])
            assert torch.allclose(angles, torch.full_like(angles, dim), atol=1e-3)


@pytest.mark.parametrize("n, d", [(1, 1), (48, 7), (64, 64), (97, 515), (193, 33)])
def test_all_inner_products_equal_their_definition(n, d):
    x = torch.randn(n, d, generator=torch.Generator().manual_seed(d))
    found, expected = (local._tile(x, [1], n * n, code) for code in (CODE, None))
    assert torch.allclose(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dim, dims", [(1, [1]), (5, [5, 2]), (16, [16]), (17, [17, 3, 16]), (33, [33])])
@pytest.mark.parametrize("d, places, j", [(64, 7, 5), (131, 4, 1), (300, 9, 7)])
def test_angles_equal_their_definition(d, places, j, dim, dims):
    random = torch.Generator().manual_seed(d)
    basis = torch.linalg.qr(torch.randn(places, d, dim, generator=random)).Q.contiguous()
    own = torch.randint(places, (11,), generator=random)
    near = torch.randint(places, (11, j), generator=random)
    near[0, 0] = own[0]
    found, expected = local.overlap(basis, own, near, dims), local.overlap_slow(basis, own, near, dims)
    assert torch.allclose(found, expected, atol=1e-5)
    assert torch.allclose(found[0, 0], torch.tensor(dims).float(), atol=1e-5)


def test_an_index_outside_the_cloud_is_refused():
    x = torch.randn(40, 12, generator=torch.Generator().manual_seed(0))
    near = neighbours.neighbours(x, 20).index
    near[3, 4] = 40
    with pytest.raises(IndexError):
        local.local_geometry(x, near, [10], 3)
    with pytest.raises(IndexError):
        local.overlap(x[:, :, None], torch.arange(40), near, [1])


@pytest.mark.parametrize("code", [CODE, None], ids=["compiled", "torch"])
@pytest.mark.parametrize("vectors", [False, True])
def test_what_is_not_finite_stays_so(code, vectors):
    matrix = positive(20, "falling").float()
    matrix[1] = torch.nan
    values = local.leading(matrix, 3, vectors, code)[0]
    assert bool(values[1].isnan().all()) and bool(values[[0, 2]].isfinite().all())


def test_points_that_coincide_spread_over_nothing():
    x = torch.ones(40, 12)
    near = neighbours.neighbours(x, 20).index
    found = local.local_geometry(x, near, [10], 3, 10)
    assert all(float(part.abs().max()) == 0.0 for part in found[:4])
    assert float(found.basis.abs().max()) == 0.0
