"""Every fast trainer against its slow twin: values, gradients, whole runs, awkward sizes."""

from __future__ import annotations

import doctest
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from benchmarks import b01_sweep

from geowall.kernels import compiled, dense_sae, sae_step, small_sae
from geowall.kernels.sae_step import Rule, gradients_slow, size, steps_slow, views

RULES = [
    Rule("relu", l1=0.1),
    Rule("jumprelu", l0=0.02, l1=0.01, bandwidth=0.3),
    Rule("topk", k=3),
    Rule("batchtopk", k=2),
]
COMPILED = [*RULES, Rule("matching_pursuit", k=3, l1=0.05)]
SIZES = [(1, 1, 3), (1, 48, 2), (5, 1, 3), (48, 64, 1), (64, 48, 6), (37, 101, 8), (130, 67, 16), (7, 33, 29)]


def problem(n, batch, d, seed=0, n_steps=1):
    random = torch.Generator().manual_seed(seed)
    params = torch.randn(size(n, d), generator=random) * 0.5
    parts = views(params, n, d)
    parts.dec[:] = torch.nn.functional.normalize(parts.dec, dim=1)
    parts.log_threshold[:] = -1.0 + 0.5 * parts.log_threshold
    x = torch.randn(n_steps, batch, d, generator=random)
    return params, x


COMPILES = pytest.param(small_sae, marks=pytest.mark.compiled)


@pytest.mark.parametrize("module", [sae_step, COMPILES, dense_sae, compiled], ids=lambda m: m.__name__)
def test_the_worked_examples(module):
    assert doctest.testmod(module).failed == 0


@pytest.mark.compiled
@pytest.mark.parametrize("n, batch, d", SIZES)
@pytest.mark.parametrize("rule", COMPILED, ids=lambda r: r.architecture)
def test_compiled_gradients_equal_autograd(rule, n, batch, d):
    params, x = problem(n, batch, d)
    if rule.architecture == "matching_pursuit" and n < 8:
        rule = replace(rule, k=1)  # a second match with the same row is zero but for rounding: no gradient
    grad, curve, fired = small_sae.gradients(params, x[0], rule, n)
    grad64, curve64, fired64 = gradients_slow(params.double(), x[0].double(), rule, n)
    assert torch.allclose(curve.double(), curve64, rtol=1e-5, atol=1e-6)
    assert torch.equal(fired.double(), fired64)
    assert torch.allclose(grad.double(), grad64, rtol=1e-4, atol=2e-6 * float(grad64.abs().max() + 1))


@pytest.mark.compiled
@pytest.mark.parametrize("rule", COMPILED, ids=lambda r: r.architecture)
def test_a_compiled_run_equals_a_slow_one(rule):
    n, d = 33, 5
    params, x = problem(n, 96, d, seed=1, n_steps=40)
    lr = torch.linspace(1e-2, 1e-3, 40)
    fast = torch.stack([params, torch.zeros_like(params), torch.zeros_like(params)])
    slow = fast.clone()
    taken, curve, fired = small_sae.steps(fast, x, lr, 0, rule, n)
    taken_slow, curve_slow, fired_slow = steps_slow(slow, x, lr, 0, rule, n)
    assert taken == taken_slow == 40
    assert torch.allclose(curve[:10], curve_slow[:10], rtol=1e-4, atol=1e-4)
    assert torch.allclose(curve[:, 0], curve_slow[:, 0], rtol=2e-2)
    assert (fired - fired_slow).abs().sum() < 0.01 * fired.sum()
    assert torch.allclose(views(fast[0], n, d).dec.norm(dim=1), torch.ones(n), atol=1e-5)


@pytest.mark.parametrize("n, batch, d", [*SIZES, (4096, 200, 3)])
@pytest.mark.parametrize("rule", RULES, ids=lambda r: r.architecture)
def test_dense_gradients_equal_autograd_for_members_of_their_own_penalties(rule, n, batch, d):
    batches, vectors = zip(*(problem(n, batch, d, seed)[::-1] for seed in range(2)), strict=True)
    params, x = torch.stack(vectors).double(), torch.cat(batches).double()
    penalties = torch.tensor([0.1, 0.3], dtype=torch.float64)
    whole = rule.architecture == "batchtopk"
    work = dense_sae.Workspace(2, n, batch, d, params.device, torch.float64, whole)
    grad, curve, fired = dense_sae.gradients(params, x, rule, n, work, l1=penalties)
    for i in range(2):
        slow = gradients_slow(params[i], x[i], replace(rule, l1=float(penalties[i])), n)
        assert torch.allclose(curve[i], slow[1], rtol=1e-6)
        assert torch.equal(fired[i], slow[2])
        assert torch.allclose(grad[i], slow[0], rtol=1e-5, atol=1e-6 * float(slow[0].abs().max()))


def test_a_dense_member_that_diverges_stands_still_alone():
    n, d, rule = 8, 3, Rule("relu", l1=0.05)
    params, x = problem(n, 32, d, n_steps=6)
    lr = torch.full((6,), 1e-2)
    alone = torch.stack([params, params * 0, params * 0])
    pair = torch.stack([alone, alone])
    steps_slow(alone, x, lr, 0, rule, n)
    both = torch.stack([x, x])
    both[1, 4, 0, 0] = torch.inf
    taken, curve, _ = dense_sae.steps(pair, both, lr, 0, rule, n)
    assert taken.tolist() == [6, 4]
    assert torch.allclose(pair[0], alone, atol=1e-5)
    assert bool(pair.isfinite().all())
    assert not bool(curve[1, 4].isfinite().all())


def test_dense_steps_in_bfloat16_follow_float32():
    n, d, rule = 64, 24, Rule("relu", l1=0.05)
    params, x = problem(n, 128, d, n_steps=30)
    state = torch.stack([params, params * 0, params * 0])[None]
    runs = {}
    for dtype in (torch.float32, torch.bfloat16):
        lr = torch.full((30,), 3e-3)
        runs[dtype] = dense_sae.steps(state.clone(), x[None], lr, 0, rule, n, dtype=dtype)[1][0, :, 0]
    assert torch.allclose(runs[torch.bfloat16], runs[torch.float32], rtol=2e-2)


@pytest.mark.compiled
def test_two_halves_of_a_run_are_the_run_bit_for_bit():
    n, d, rule = 20, 4, Rule("relu", l1=0.05)
    params, x = problem(n, 50, d, n_steps=10)
    whole = torch.stack([params, torch.zeros_like(params), torch.zeros_like(params)])
    halves, lr = whole.clone(), torch.full((10,), 1e-2)
    small_sae.steps(whole, x, lr, 0, rule, n)
    small_sae.steps(halves, x[:5].contiguous(), lr[:5], 0, rule, n)
    small_sae.steps(halves, x[5:].contiguous(), lr[5:], 5, rule, n)
    assert torch.equal(whole, halves)


@pytest.mark.compiled
def test_a_run_stops_where_its_loss_ceases_to_be_finite():
    n, d, rule = 8, 3, Rule("relu", l1=0.05)
    params, x = problem(n, 32, d, n_steps=6)
    x[4, 0, 0] = torch.inf
    for take in (small_sae.steps, steps_slow):
        state = torch.stack([params, torch.zeros_like(params), torch.zeros_like(params)])
        assert take(state, x, torch.full((6,), 1e-2), 0, rule, n)[0] == 4
        assert bool(state.isfinite().all())


def test_tensors_that_do_not_fit_are_refused():
    params, x = problem(8, 32, 3)
    with pytest.raises(ValueError, match="contiguous float32"):
        small_sae.gradients(params, x[0].double(), Rule(), 8)
    with pytest.raises(ValueError, match="matching sizes"):
        small_sae.gradients(params[:-1], x[0], Rule(), 8)


def test_without_a_compiler_the_path_is_unavailable():
    code = "from geowall.kernels import small_sae; print(small_sae.available('relu', 3))"
    run = [sys.executable, "-c", f"import os; os.environ['GEOWALL_NO_COMPILER'] = '1'; {code}"]
    assert subprocess.run(run, capture_output=True, text=True, check=True).stdout.strip() == "False"


@pytest.mark.compiled
def test_the_benchmark_times_what_it_says():
    assert b01_sweep.gate(b01_sweep.Task(8, 3, Rule("relu", l1=0.1), 0)) < 1e-4
    quiet = {"rounds": 9, "dropped": 0, "noisy": False}
    rows = [{"ratio": r, "low": r / 1.1, "high": r * 1.1, **quiet} for r in (2.0, 8.0)]
    mean = b01_sweep._mean("eager", rows)
    assert mean["ratio"] == pytest.approx(4.0) and mean["low"] < 4.0 < mean["high"]
