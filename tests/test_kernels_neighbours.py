"""The neighbour graph and the local second moments: every fast path against its slow twin, awkward sizes."""

from __future__ import annotations

import doctest
import importlib.util
import os
import subprocess
import sys

import pytest
import torch

from geowall.kernels import local_geometry as local
from geowall.kernels import neighbours as graphs
from geowall.paths import GeowallError

INTERPRETED = """
import torch
from geowall.kernels import neighbours as graphs
for n, d, k in ((2, 1, 1), (65, 3, 2), (300, 97, 3)):
    torch.manual_seed(n)
    x = torch.randn(n, d) * torch.arange(1, d + 1) ** -0.5 + 5 * torch.randn(d)
    x[:: n // 2] = x[0]
    found, expected = graphs.neighbours(x, k, "chip"), graphs.neighbours(x, k, "slow")
    assert torch.equal(found.index, expected.index), n
    assert torch.allclose(found.distance, expected.distance, atol=1e-6) and found.certified == 1.0
print("equal")
"""

COMPILED = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from geowall.kernels import chip_neighbours
arrays = ["y", "stats", "tau", "ends", "index", "count"]
signature = dict.fromkeys(arrays, "*fp32") | {"y": "*bf16", "index": "*i32", "count": "*i32"}
signature |= dict.fromkeys(["n", "d", "first", "groups", "room"], "i32")
flags = ["FIND", "WIDE", "ROWS", "GROUP", "DEPTH"]
signature |= dict.fromkeys(flags, "constexpr")
for find in (True, False):
    constants = dict(zip(flags, (find, False, 64, 64, 64)))
    source = ASTSource(chip_neighbours.screen_kernel, signature, constants)
    built = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": 4})
    assert ".target sm_90" in built.asm["ptx"] and "mma" in built.asm["ptx"]
    assert built.metadata.shared <= 227 * 1024
print("compiled")
"""

needs_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is for Linux")
PATHS = ["torch", *(["compiled"] if graphs.available() else [])]


def cloud(n, d, seed=0, duplicates=False):
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d, generator=random) * torch.arange(1, d + 1) ** -0.5
    if duplicates:
        x[[5, 11, n - 1]] = x[9].clone()
    return x + 5 * torch.randn(d, generator=random)  # the direction that all activations share


@pytest.mark.parametrize("module", [graphs, local], ids=lambda m: m.__name__)
def test_the_worked_examples(module):
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "n, d, k",
    [(2, 1, 1), (48, 48, 47), (49, 3, 5), (64, 130, 1), (145, 64, 9), (257, 97, 20), (700, 33, 100)],
)
def test_a_graph_equals_its_definition(path, n, d, k):
    x = cloud(n, d, duplicates=n > 60)
    found, expected = graphs.neighbours(x, k, path), graphs.neighbours(x, k, "slow")
    assert torch.equal(found.index, expected.index)
    assert torch.allclose(found.distance, expected.distance, rtol=1e-5, atol=1e-6)
    assert found.certified == 1.0


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("scale", [1e-20, 1e15])
def test_a_graph_does_not_depend_on_the_unit(path, scale):
    x = cloud(120, 20)
    assert torch.equal(graphs.neighbours(x * scale, 9, path).index, graphs.neighbours(x, 9, "slow").index)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("spoil", ["spikes", "lengths", "heaps"])
def test_a_graph_survives_points_that_round_badly(path, spoil):
    x = torch.randn(200, 301, generator=torch.Generator().manual_seed(3))
    if spoil == "spikes":  # one coordinate far above the others
        x[::7, 5] = 1e4
    elif spoil == "lengths":
        x *= 10.0 ** -torch.arange(200)[:, None].div(40.0)
    else:  # tight heaps far from one another, and many ties
        x = (x[:4, None] * 1e3 + x[:50, :1].round()).reshape(200, 301)
    found, expected = graphs.neighbours(x, 30, path), graphs.neighbours(x, 30, "slow")
    assert torch.equal(found.index, expected.index) and found.certified <= 1.0


@pytest.mark.parametrize("path", PATHS)
def test_points_all_alike_are_each_others_neighbours_in_order(path):
    found = graphs.neighbours(torch.ones(70, 5), 3, path)
    assert found.index[:2].tolist() == [[1, 2, 3], [0, 2, 3]] and float(found.distance.max()) == 0.0


def test_what_the_bound_cannot_certify_is_done_by_definition():
    x = torch.zeros(200, 4)
    x[:, 0] = 1e4
    x[:100, 1] = torch.arange(100) * 1e-3  # far below what float32 products resolve
    found, expected = graphs.neighbours(x, 5, "torch"), graphs.neighbours(x, 5, "slow")
    assert torch.equal(found.index, expected.index) and found.certified < 1.0


@pytest.mark.parametrize("k, spoil", [(10, False), (0, False), (3, True)])
def test_a_graph_that_cannot_be_is_refused(k, spoil):
    x = cloud(10, 3)
    x[3, 1] = torch.nan if spoil else x[3, 1]
    with pytest.raises(GeowallError):
        graphs.neighbours(x, k)


@needs_triton
@pytest.mark.parametrize("code, flag, word", [(INTERPRETED, "1", "equal"), (COMPILED, "0", "compiled")])
def test_the_chip_screens_and_compiles(tmp_path, code, flag, word):
    script = tmp_path / "script.py"
    script.write_text(code)
    env = os.environ | {"TRITON_INTERPRET": flag}
    result = subprocess.run(
        [sys.executable, str(script)], env=env, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert result.stdout.strip().splitlines()[-1] == word


@pytest.mark.parametrize("about", ["point", "mean"])
@pytest.mark.parametrize("tile", [True, False], ids=["tile", "batches"])
@pytest.mark.parametrize("n, d", [(120, 7), (90, 33), (64, 64), (130, 200)])
def test_second_moments_equal_their_definition(n, d, tile, about, monkeypatch):
    monkeypatch.setattr(local, "TILE", 4096 if tile else 0)
    x, dim = cloud(n, d), 3
    graph = graphs.neighbours(x, 48)
    found = local.local_geometry(x, graph.index, [5, 20, 48], dim, basis_scale=20, about=about)
    for i in (0, n - 1):
        for s, k in enumerate((5, 20, 48)):
            near = x[graph.index[i, :k]].double() - x[i].double()
            near = near - near.mean(0) if about == "mean" else near
            values, basis = local.local_geometry_slow(near, dim)
            share = 1 - values[:dim].sum() / values.sum()
            assert float(found.energy[i, s]) == pytest.approx(float(values.sum()), rel=1e-5)
            assert float(found.residual[i, s]) == pytest.approx(float(share), abs=2e-5)
            ratio = values.sum() ** 2 / values.square().sum()
            assert float(found.participation[i, s]) == pytest.approx(float(ratio), rel=1e-4)
            if k == 20:
                overlap = (found.basis[i].double().T @ basis).square().sum() / dim
                assert float(overlap) == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("decay", [0.0, 0.5, 2.0])
def test_iteration_finds_the_leading_values(decay):
    y = torch.randn(5, 60, 90, generator=torch.Generator().manual_seed(0)) * torch.arange(1, 91) ** -decay
    values, vectors = local.leading_batched(y @ y.mT, 7)
    expected, _ = local.leading_slow((y @ y.mT).double(), 7)
    assert torch.allclose(values.sum(1).double(), expected.sum(1), rtol=1e-4)
    assert torch.allclose(vectors.mT @ vectors, torch.eye(7).expand(5, 7, 7), atol=1e-5)


@pytest.mark.parametrize(
    "scales, dim, basis", [([2, 60], 1, None), ([5], 6, None), ([5], 2, 4), ([], 1, None)]
)
def test_local_geometry_that_cannot_be_is_refused(scales, dim, basis):
    x = cloud(30, 8)
    with pytest.raises(GeowallError):
        local.local_geometry(x, graphs.neighbours(x, 20).index, scales, dim, basis)
