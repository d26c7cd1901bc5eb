"""Sparsemax and SpaDE's step against their slow twins, on awkward sizes, and the facts that define them."""

from __future__ import annotations

import doctest
import importlib.util
import os
import subprocess
import sys

import pytest
import torch
from benchmarks import b02_sparsemax

from geowall import sae
from geowall.kernels import dense_sae, spade, sparsemax
from geowall.kernels.sae_step import Rule, gradients_slow, size, steps_slow, views
from geowall.kernels.sparsemax import sparsemax_slow
from geowall.manifolds import Sphere
from geowall.paths import GeowallError
from geowall.sae.model import from_flat, to_flat
from geowall.sae.start import split, start

SIZES = [(1, 1, 3), (5, 1, 3), (48, 64, 1), (64, 48, 6), (37, 101, 8), (130, 67, 16), (7, 33, 129)]


@pytest.mark.parametrize("module", [sparsemax, spade], ids=lambda m: m.__name__)
def test_the_worked_examples(module):
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize("n", [1, 2, 15, 48, 64, 65, 1000, 4097])
@pytest.mark.parametrize("scale", [1e-4, 1.0, 30.0])
def test_values_support_and_gradients_equal_float64(n, scale):
    random = torch.Generator().manual_seed(n)
    x = (scale * torch.randn(2, 19, n, generator=random)).requires_grad_()
    twin = x.detach().double().requires_grad_()
    out, exact = sparsemax.sparsemax(x), sparsemax_slow(twin)
    back = torch.randn(out.shape, generator=random)
    out.backward(back)
    exact.backward(back.double())
    assert torch.allclose(out.double(), exact, atol=1e-6 * max(1.0, scale))
    assert torch.allclose(out.sum(-1), torch.ones(2, 19), atol=1e-6 * max(1.0, scale))
    # sorting in float32 may miss the support by entries of the size of its rounding; compiled code may not
    apart = (out > 0) != (exact > 0)
    sure = ~apart.any(-1)
    assert float(exact.detach()[apart].sum()) < 1e-5 and (bool(sure.all()) or not spade.available())
    assert torch.allclose(x.grad.double()[sure], twin.grad[sure], atol=1e-6)


@pytest.mark.parametrize(
    "row", [[0.0] * 300, list(range(300)), [float(-i) for i in range(300)], [5.0] * 3 + [0.0] * 200]
)
def test_ties_and_sorted_rows(row):
    x = torch.tensor([row]) * 1e-3
    assert torch.allclose(sparsemax.sparsemax(x), sparsemax_slow(x.double()).float(), atol=1e-6)


def test_minus_infinity_is_never_chosen_and_the_gradient_is_right_to_second_order():
    x = torch.tensor([[0.0, -torch.inf, 0.3]])
    assert sparsemax.sparsemax(x)[0, 1] == 0.0
    random = torch.Generator().manual_seed(0)
    assert torch.autograd.gradcheck(
        sparsemax_slow, torch.randn(4, 7, generator=random, dtype=torch.float64).requires_grad_()
    )


def problem(n, batch, d, seed=0, n_steps=1):
    random = torch.Generator().manual_seed(seed)
    params = start(n, d, Rule("spade"), seed)
    views(params, n, d).dec.add_(0.3 * torch.randn(n, d, generator=random))
    return params, torch.randn(n_steps, batch, d, generator=random) / d**0.5


@pytest.mark.compiled
@pytest.mark.parametrize("n, batch, d", SIZES)
def test_spade_gradients_equal_autograd(n, batch, d):
    rule = Rule("spade", l1=0.3)
    params, x = problem(n, batch, d)
    exact = gradients_slow(params.double(), x[0].double(), rule, n)
    work = dense_sae.Workspace(1, n, batch, d, params.device, torch.float64)
    dense = dense_sae.gradients(params.double()[None], x.double(), rule, n, work)
    compiled, scale = spade.gradients(params, x[0], rule, n), float(exact[0].abs().max())
    for found, tolerance in ((compiled, 2e-6), ([part[0] for part in dense], 1e-10)):
        assert torch.allclose(found[0].double(), exact[0], atol=tolerance * scale)
        assert torch.allclose(found[1].double(), exact[1], rtol=1e-5, atol=tolerance)
        assert torch.equal(found[2].double(), exact[2])


@pytest.mark.compiled
def test_a_compiled_run_of_spade_equals_a_slow_one_and_its_two_halves():
    n, d, rule = 33, 5, Rule("spade", l1=0.1)
    params, x = problem(n, 96, d, seed=1, n_steps=30)
    lr = torch.linspace(1e-2, 1e-3, 30)
    fast = torch.stack([params, torch.zeros_like(params), torch.zeros_like(params)])
    slow, halves, dense = fast.clone(), fast.clone(), fast.clone()[None]
    taken, curve, _ = spade.steps(fast, x, lr, 0, rule, n)
    expected = steps_slow(slow, x, lr, 0, rule, n)
    assert taken == expected[0] == 30
    assert torch.allclose(curve, expected[1], rtol=1e-3, atol=1e-5)
    assert torch.allclose(dense_sae.steps(dense, x[None], lr, 0, rule, n)[1][0], curve, rtol=1e-3, atol=1e-5)
    spade.steps(halves, x[:13].contiguous(), lr[:13], 0, rule, n)
    spade.steps(halves, x[13:].contiguous(), lr[13:], 13, rule, n)
    assert torch.equal(fast, halves)


@pytest.mark.compiled
def test_a_run_of_spade_stops_where_its_loss_ceases_to_be_finite():
    n, d, rule = 8, 3, Rule("spade")
    params, x = problem(n, 32, d, n_steps=6)
    for bad in (torch.inf, torch.nan):
        x[4, 5, 0] = bad
        state = torch.stack([params, torch.zeros_like(params), torch.zeros_like(params)])
        assert spade.steps(state, x, torch.full((6,), 1e-2), 0, rule, n)[0] == 4
        assert bool(state.isfinite().all())


def test_tensors_that_do_not_fit_are_refused():
    params, x = problem(8, 32, 3)
    for wrong in (params.double(), params[:-1]):
        with pytest.raises(ValueError, match="matching sizes"):
            spade.gradients(wrong, x[0], Rule("spade"), 8)
    assert len(params) == size(8, 3)


INTERPRETED = """
import torch
from geowall.kernels import chip_sparsemax
from geowall.kernels.sparsemax import sparsemax_slow

torch.manual_seed(0)
for n in (1, 48, 64, 101):
    for scale in (1e-3, 1.0):
        x = (scale * torch.randn(5, n)).requires_grad_()
        exact, back = sparsemax_slow(x.double()), torch.randn(5, n)
        out, _ = chip_sparsemax.forward(x.detach())
        assert torch.equal(out > 0, exact > 0), (n, scale)
        assert torch.allclose(out.double(), exact, atol=1e-6), (n, scale)
        expected = torch.autograd.grad(exact, x, back.double())[0]
        assert torch.allclose(chip_sparsemax.backward(back, out), expected, atol=1e-5), (n, scale)
print("equal")
"""

COMPILED = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from geowall.kernels import chip_sparsemax

pairs = {chip_sparsemax.forward_kernel: ["x", "out"], chip_sparsemax.backward_kernel: ["back", "out", "grad"]}
for kernel, pointers in pairs.items():
    for n in (512, 32768):
        signature = dict.fromkeys(pointers, "*fp32") | {"n": "i32", "N": "constexpr"}
        source = ASTSource(kernel, signature, {"N": n})
        options = {"num_warps": chip_sparsemax.warps(n)}
        built = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)
        assert ".target sm_90" in built.asm["ptx"] and len(built.asm["cubin"]) > 1000
        assert built.metadata.shared <= 227 * 1024
print("compiled")
"""

needs_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is for Linux")


@needs_triton
@pytest.mark.parametrize("code, flag", [(INTERPRETED, "1"), (COMPILED, "0")], ids=["equal", "compiled"])
def test_the_gpu_path_interpreted_and_compiled_for_hopper_without_one(tmp_path, code, flag):
    script = tmp_path / "script.py"
    script.write_text(code)
    env = os.environ | {"TRITON_INTERPRET": flag}
    run = subprocess.run([sys.executable, str(script)], env=env, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-3000:]
    assert run.stdout.strip().splitlines()[-1] in ("equal", "compiled")


def simplex(dimensions, points, seed):
    """Tokens, prototypes, and their squared distances."""
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(points, dimensions, generator=random, dtype=torch.float64)
    w = torch.randn(9, dimensions, generator=random, dtype=torch.float64)
    return x, w, torch.cdist(x, w).square()


@pytest.mark.parametrize("scale", [0.05, 0.4, 3.0])
def test_what_spade_codes_are(scale):
    x, w, d = simplex(3, 40, 1)
    z = sparsemax_slow(-scale * d)
    # Active exactly where the sharpness is below what the nearer prototypes leave it.
    nearer = (d[:, :, None] - d[:, None, :]).clamp(min=0.0).sum(2)
    assert torch.equal(z > 0, scale * nearer < 1.0)
    # The parallel axis theorem of K-deep-simplex's penalty.
    centre = z @ w
    left = (z * d).sum(1)
    right = (x - centre).square().sum(1) + (z * torch.cdist(centre, w).square()).sum(1)
    assert torch.allclose(left, right)
    # Affine on a fixed support: halfway between two tokens of one support, the code is halfway too.
    near = x + 1e-4 * torch.randn(x.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    other = sparsemax_slow(-scale * torch.cdist(near, w).square())
    same = ((z > 0) == (other > 0)).all(1)
    middle = sparsemax_slow(-scale * torch.cdist(0.5 * (x + near), w).square())
    assert same.sum() > 30 and torch.allclose(middle[same], 0.5 * (z + other)[same])


def test_the_two_limits_of_the_sharpness():
    _, _, d = simplex(3, 40, 1)
    sharp, flat = sparsemax_slow(-1e6 * d), sparsemax_slow(-1e-9 * d)
    assert torch.equal(sharp, torch.nn.functional.one_hot(d.argmin(1), 9).double())
    assert torch.allclose(flat, torch.full_like(flat, 1 / 9), atol=1e-6)


def test_the_engine_trains_spade_on_every_path_and_gives_it_back_in_any_units():
    rules = [Rule("spade", l1=0.01), Rule("spade", l1=0.5)]
    members = sae.grid([Sphere(4)], [12], rules, [0])
    short = sae.Schedule(steps=60, batch=64, every=20, revive=True, dead_after=20)
    fast = sae.train(members, short)
    assert fast.table["loss"].is_monotonic_increasing and (fast.table["mse"] < 0.6).all()
    for path in ("dense", "slow"):
        other = sae.train(members, short, path=path).table["loss"]
        assert other.tolist() == pytest.approx(fast.table["loss"].tolist(), rel=2e-2)
    model, raw = fast.saes[0], 5.0 + 3.0 * Sphere(4).sample(2000, 0)
    rows = sae.Rows(raw)
    plain, restored = (raw - rows.mean) / rows.scale, rows.restore(model)
    assert torch.allclose(restored.encode(raw), model.encode(plain), atol=1e-5)
    assert torch.allclose((restored(raw) - rows.mean) / rows.scale, model(plain), atol=1e-4)
    again = from_flat(to_flat(model), "spade", 1, 12)
    assert torch.allclose(again.encode(plain), model.encode(plain), atol=1e-5)
    with pytest.raises(GeowallError, match="not split"):
        split(model, 0)
    weighted = (model.encode(plain) * torch.cdist(plain, model.prototypes).square()).sum(1).mean()
    assert sae.measure(model, plain, rules[1])["penalty_value"] == pytest.approx(
        0.5 * float(weighted), rel=1e-4
    )


def test_the_benchmark_times_what_it_says():
    assert b02_sparsemax.check(100) < 1e-6
    gate, x = sparsemax.sparsemax, torch.randn(3, 50, generator=torch.Generator().manual_seed(0))
    back = torch.ones(3, 50)
    assert torch.allclose(b02_sparsemax.both_ways(gate, x, back)(), torch.zeros(3, 50), atol=1e-6)
    assert b02_sparsemax._limits("entmax") == {"must": 5.0, "goal": 20.0}
