"""The on-chip trainer: interpreted against its twin, and compiled for sm_90 with no GPU."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import pytest

INTERPRETED = """
import torch
from geowall.kernels import chip_sae
from geowall.kernels.sae_step import Rule, steps_slow, views
from geowall.sae.start import start

torch.manual_seed(0)
jump = Rule("jumprelu", bandwidth=0.3)
for n, d, rule in ((1, 3, Rule("relu")), (24, 5, Rule("relu")), (48, 2, jump), (64, 3, jump), (37, 4, jump)):
    seeds, n_steps, batch = torch.tensor([3, 4]), 3, 32
    params = torch.stack([start(n, d, rule, s) for s in (0, 1)])
    state = torch.stack([params, params * 0, params * 0], dim=1).contiguous()
    slow, loaded = state.clone(), state.clone()
    lr = torch.tensor([1e-2, 2e-2, 1e-2])
    l1, l0 = torch.tensor([0.1, 0.3]), torch.tensor([0.05, 0.02])
    x = chip_sae.draw(seeds, n_steps * batch, d, 0.25).view(2, n_steps, batch, d)
    radius = x.norm(dim=-1)
    assert 0.75 <= radius.min() < 0.8 and 1.2 < radius.max() <= 1.2501, (radius.min(), radius.max())
    assert x.flatten(0, 2).mean(0).abs().max() < 0.2
    taken, curve, fired = chip_sae.steps(state, seeds, lr, 0, rule, n, l1, l0, batch, 0.25)
    assert torch.equal(chip_sae.steps(loaded, x, lr, 0, rule, n, l1, l0)[1], curve)
    assert torch.equal(loaded, state) and taken.tolist() == [3, 3]
    for i in range(2):
        own = Rule(rule.architecture, l1=float(l1[i]), l0=float(l0[i]), bandwidth=rule.bandwidth)
        _, expected, counts = steps_slow(slow[i], x[i], lr, 0, own, n)
        assert torch.allclose(curve[i, :, :3], expected[:, :3], rtol=1e-4, atol=1e-5), (n, i)
        assert torch.allclose(state[i, 0], slow[i, 0], atol=2e-4), (n, i)
        assert (fired[i] - counts).abs().max() <= 1
x[1, 1, 0, 0] = torch.inf
taken = chip_sae.steps(loaded, x, lr, 3, rule, n, l1, l0)[0]
assert taken.tolist() == [3, 1] and bool(loaded.isfinite().all())

print("equal")
"""

COMPILED = """
import pathlib, re, subprocess, triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from geowall.kernels import chip_sae

pointers = ["state", "tokens", "seeds", "rates", "l1s", "l0s", "curve", "fired"]
signature = dict.fromkeys(pointers, "*fp32") | {"seeds": "*i64", "tokens": "*fp32"}
signature |= dict.fromkeys(["n", "d", "steps", "batch", "t0"], "i32")
signature |= dict.fromkeys(["thickness", "bandwidth", "clip", "beta1", "beta2", "eps"], "fp32")
flags = ["JUMP", "DRAW", "T", "N", "D"]
signature |= dict.fromkeys(flags, "constexpr")
for rows, jump in ((128, True), (16, False)):
    constants = dict(zip(flags, (jump, jump, chip_sae.TOKENS, rows, 16)))
    source = ASTSource(chip_sae.train_kernel, signature, constants)
    built = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": 8})
    assert ".target sm_90" in built.asm["ptx"] and len(built.asm["cubin"]) > 1000
    ptxas = pathlib.Path(triton.__file__).parent / "backends/nvidia/bin/ptxas"
    given = pathlib.Path("kernel.ptx")
    given.write_text(built.asm["ptx"])
    command = [ptxas, "-v", "--gpu-name", "sm_90a", given, "-o", "kernel.cubin"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    spilled = int(re.search(r"(\\d+) bytes stack frame", told)[1]) * 8 * 32
    assert spilled + built.metadata.shared <= 228 * 1024, (rows, spilled, built.metadata.shared)
print("compiled")
"""

needs_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is for Linux")


def run(tmp_path, code: str, **environment: str) -> str:
    script = tmp_path / "script.py"
    script.write_text(code)
    env = os.environ | environment
    result = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout.strip().splitlines()[-1]


@needs_triton
def test_interpreted_runs_equal_their_twin(tmp_path):
    assert run(tmp_path, INTERPRETED, TRITON_INTERPRET="1") == "equal"


@needs_triton
def test_it_compiles_for_hopper_and_keeps_to_its_l1_without_one(tmp_path):
    assert run(tmp_path, COMPILED, TRITON_INTERPRET="0") == "compiled"
