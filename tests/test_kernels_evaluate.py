"""Evaluating a checkpoint: every path against the definition, at awkward sizes and at a threshold itself."""

from __future__ import annotations

import doctest
import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from benchmarks import b03_evaluation

from geowall.kernels import compiled, evaluate
from geowall.kernels.evaluate import Tokens, evaluate_slow
from geowall.sae.metrics import measure
from geowall.sae.model import Sae

SIZES = [
    (1, 1, 1, 1),
    (7, 3, 2, 1),
    (64, 48, 64, 9),
    (37, 130, 999, 30),
    (9, 100, 300, 30),
    (65, 257, 49, 40),
]


def problem(tokens, d, n, active, seed=0, architecture="jumprelu", k=1):
    random = torch.Generator().manual_seed(seed)
    atoms = torch.nn.functional.normalize(torch.randn(n, d, generator=random), dim=1)
    x = torch.randn(tokens, d, generator=random) * torch.linspace(0.3, 3.0, d) + 0.1
    p = (x @ atoms.T).flatten()
    edge = p.kthvalue(max(1, int(p.numel() * (1.0 - active / n)))).values.clamp(min=0.0)
    threshold = edge * (1.0 + 0.1 * torch.rand(n, generator=random))
    bias = 0.01 * torch.randn(n, generator=random), 0.1 * torch.randn(d, generator=random)
    return Sae(architecture, k, atoms.T.contiguous(), bias[0], atoms, bias[1], threshold), x


def same(found, expected):
    assert torch.equal(found.l0, expected.l0) and torch.equal(found.fired, expected.fired)
    for name in ("squared_error", "product", "squared_norm"):
        value, wanted = getattr(found, name), getattr(expected, name)
        assert torch.allclose(value, wanted, rtol=1e-5, atol=1e-4), name


def test_the_worked_examples():
    assert doctest.testmod(evaluate).failed == 0


@pytest.mark.parametrize("path", ["compiled", "torch"] if evaluate.available() else ["torch"])
@pytest.mark.parametrize("architecture", ["jumprelu", "relu", "batchtopk"])
@pytest.mark.parametrize("size", SIZES)
def test_every_path_is_its_twin(path, architecture, size):
    sae, x = problem(*size, architecture=architecture)
    same(evaluate.evaluate(sae, x, path), evaluate_slow(sae, Tokens(x)))


@pytest.mark.parametrize("architecture", ["topk", "matching_pursuit"])
def test_other_architectures_are_read_through_their_own_encoder(architecture):
    sae, x = problem(50, 16, 40, 5, architecture=architecture, k=3)
    found = evaluate.evaluate(sae, x)
    same(found, evaluate_slow(sae, Tokens(x)))
    assert int(found.l0.max()) <= 3


def test_the_definition_agrees_with_the_metrics_of_a_sweep():
    sae, x = problem(400, 16, 40, 5)
    row, found, square = measure(sae, x), evaluate.evaluate(sae, x), Tokens(x).square
    assert float(found.squared_error.mean()) == pytest.approx(row["mse"], rel=1e-5)
    assert float(1 - found.cosine(square).mean()) == pytest.approx(row["cosine_distance"], rel=1e-4)
    assert float(found.l0.double().mean()) == pytest.approx(row["l0"])
    assert int((found.fired == 0).sum()) == row["dead"]


@pytest.mark.compiled
def test_a_pre_activation_at_its_threshold_falls_on_the_right_side():
    """Thresholds a few units of float32 from the products of one token: bfloat16 alone knows nothing here."""
    sae, x = problem(16, 200, 320, 40, seed=3)
    p = x[0].double() @ sae.W_enc.double() + sae.b_enc.double()
    steps = torch.arange(320) % 7 - 3
    threshold = (p * (1.0 + steps * 3e-7)).float().clamp(min=0.0)
    close = Sae("jumprelu", 1, sae.W_enc, sae.b_enc, sae.W_dec, sae.b_dec, threshold)
    found, expected = evaluate.evaluate(close, x, "compiled"), evaluate_slow(close, Tokens(x))
    assert torch.equal(found.l0, expected.l0) and torch.equal(found.fired, expected.fired)
    assert 0 < int(found.l0[0]) < 320


def test_more_active_latents_than_there_was_room_for_are_all_kept():
    sae, x = problem(5, 8, 700, 640)
    expected = evaluate_slow(sae, Tokens(x))
    assert int(expected.l0.max()) > 256
    same(evaluate.evaluate(sae, x), expected)


def test_no_token_and_a_vanishing_one():
    sae, x = problem(3, 4, 6, 2)
    assert evaluate.evaluate(sae, x[:0], "torch").l0.shape == (0,)
    x[1] = 0.0
    found = evaluate.evaluate(sae, x)
    assert bool(found.nmse(Tokens(x).square).isfinite().all())
    assert float(found.cosine(Tokens(x).square)[1]) == 0.0


def test_without_a_compiler_torch_does_it(monkeypatch):
    monkeypatch.setenv("GEOWALL_NO_COMPILER", "1")
    compiled.library.cache_clear()
    try:
        assert not evaluate.available()
        sae, x = problem(20, 16, 30, 5)
        same(evaluate.evaluate(sae, x), evaluate_slow(sae, Tokens(x)))
    finally:
        compiled.library.cache_clear()


def test_the_benchmark_compares_equals():
    sae, x = b03_evaluation.problem(2048, 0, 32, 128)
    checked = b03_evaluation.gate(sae, x, b03_evaluation.eager)
    assert checked["largest_difference"] < 1e-4 and 50 < checked["l0"] < 200
    wrong = Sae("jumprelu", 1, sae.W_enc, sae.b_enc, sae.W_dec, sae.b_dec, 1.2 * sae.threshold)
    with pytest.raises(AssertionError, match="B3"):
        b03_evaluation.gate(sae, x, lambda _, x: b03_evaluation.eager(wrong, x))


INTERPRETED = """
import torch
from geowall.kernels import chip_evaluate
from geowall.kernels.evaluate import Tokens, evaluate, evaluate_slow
from tests.test_kernels_evaluate import problem, same

for size, room in (((3, 20, 150, 9), 512), ((2, 33, 40, 30), 4)):
    chip_evaluate.ROOM = room
    sae, x = problem(*size)
    same(evaluate(sae, x, "chip"), evaluate_slow(sae, Tokens(x)))
assert evaluate(sae, x[:0], "chip").l0.shape == (0,)
print("equal")
"""

COMPILED = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from geowall.kernels import chip_evaluate as chip

whole = dict.fromkeys(["tokens", "d", "n", "room"], "i32")
floats = dict.fromkeys(["x_norm", "x_off", "w_norm", "w_slope", "cut"], "*fp32")
screen = {"x": "*bf16", "W": "*bf16", **floats, "found": "*i32", "count": "*i32", **whole}
names = ["x", "enc", "b_enc", "threshold", "dec", "b_dec"]
settle = dict.fromkeys(names, "*fp32") | {"found": "*i32", "count": "*i32"}
settle |= dict.fromkeys(["error", "inner", "square"], "*fp64") | {"l0": "*i32", "fired": "*i32"}
settle |= {"d": "i32", "room": "i32"}
sizes = {"T": chip.TOKENS, "N": chip.LATENTS, "K": chip.DEPTH}
for kernel, signature, constants in (
    (chip.screen_kernel, screen, sizes),
    (chip.settle_kernel, settle, {"D": chip._padded(2304), "C": chip._at_once(2304)}),
):
    signature = signature | dict.fromkeys(constants, "constexpr")
    source, warps = ASTSource(kernel, signature, constants), 8 if kernel is chip.settle_kernel else 4
    built = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": warps})
    assert ".target sm_90" in built.asm["ptx"] and len(built.asm["cubin"]) > 1000
    assert built.metadata.shared <= 227 * 1024, built.metadata.shared
    if kernel is chip.screen_kernel:
        assert "wgmma" in built.asm["ptx"] or "mma.sync" in built.asm["ptx"]
print("compiled")
"""

needs_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is for Linux")


def run(tmp_path, code: str, **environment: str) -> str:
    script = tmp_path / "script.py"
    script.write_text(code)
    env = os.environ | environment | {"PYTHONPATH": os.pathsep.join(sys.path)}
    result = subprocess.run(
        [sys.executable, str(script)], env=env, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout.strip().splitlines()[-1]


@needs_triton
def test_interpreted_kernels_equal_their_twin(tmp_path):
    assert run(tmp_path, INTERPRETED, TRITON_INTERPRET="1") == "equal"


@needs_triton
def test_they_compile_for_hopper_without_one(tmp_path):
    assert run(tmp_path, COMPILED, TRITON_INTERPRET="0") == "compiled"


@pytest.mark.skipif(importlib.util.find_spec("sae_lens") is None, reason="sae_lens is of the extra `peers`")
def test_sae_lens_opens_a_checkpoint_and_agrees(tmp_path):
    from sae_lens import JumpReLUSAE, JumpReLUSAEConfig

    from geowall.sae import gemma_scope

    sae, x = problem(300, 24, 96, 8)
    about = {"model": "toy", "site": "res", "seed": 0, "schedule": "matched"}
    path = gemma_scope.write(tmp_path, sae, 0, 8.0, about)
    peer = JumpReLUSAE(JumpReLUSAEConfig(d_in=24, d_sae=96, apply_b_dec_to_input=False))
    with np.load(path) as arrays:
        peer.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
    found, codes = evaluate.evaluate(gemma_scope.read(path), x), peer.encode(x)
    assert torch.equal(found.l0, (codes > 0).sum(1))
    error = (x - peer.decode(codes)).square().sum(1).double()
    assert torch.allclose(found.squared_error, error, rtol=1e-4)
