"""Fused tiles for wide autoencoders: interpreted against their twin, and compiled for sm_90 with no GPU."""

from __future__ import annotations

from test_kernels_chip import needs_triton, run

INTERPRETED = """
import torch
from geowall.kernels import tile_sae
from geowall.kernels.sae_step import Rule, gradients_slow, size, steps_slow, views

def problem(n, batch, d, members=2):
    random = torch.Generator().manual_seed(n)
    params = torch.randn(members, size(n, d), generator=random) * 0.5
    parts = views(params, n, d)
    parts.dec[:] = torch.nn.functional.normalize(parts.dec, dim=-1)
    parts.log_threshold[:] = -1.0 + 0.5 * parts.log_threshold
    return params, torch.randn(members, 4, batch, d, generator=random)

def own(rule, i):
    return Rule(rule.architecture, l1=float(l1[i]), l0=float(l0[i]), bandwidth=rule.bandwidth)

l1, l0 = torch.tensor([0.1, 0.3]), torch.tensor([0.05, 0.02])
relu, jump = Rule("relu"), Rule("jumprelu", bandwidth=0.3)
shapes = ((1, 1, 3, jump), (48, 64, 1, relu), (64, 48, 33, jump), (67, 21, 7, relu), (150, 37, 5, jump))
for n, batch, d, rule in shapes:
    params, x = problem(n, batch, d)
    grad, curve, fired = tile_sae.gradients(params, x[:, 0], rule, n, l1, l0)
    for i in range(2):
        slow, row, counts = gradients_slow(params[i].double(), x[i, 0].double(), own(rule, i), n)
        assert torch.allclose(curve[i].double(), row, rtol=1e-5, atol=1e-6), (n, i)
        assert torch.equal(fired[i].double(), counts), (n, i)
        assert torch.allclose(grad[i].double(), slow, rtol=1e-4, atol=2e-6 * float(slow.abs().max() + 1))

n, rule, lr = 150, jump, torch.tensor([1e-2, 2e-2, 1e-2, 5e-3])
state = torch.stack([params, params * 0, params * 0], dim=1).contiguous()
slow = state.clone()
halves = state.clone()
taken, curve, fired = tile_sae.steps(state, x, lr, 0, rule, n, l1, l0)
assert taken.tolist() == [4, 4]
for i in range(2):
    _, rows, counts = steps_slow(slow[i], x[i], lr, 0, own(rule, i), n)
    assert torch.allclose(curve[i], rows, rtol=1e-4, atol=1e-5), i
    assert torch.allclose(state[i, 0], slow[i, 0], atol=2e-4), i
    assert (fired[i] - counts).abs().max() <= 1, i
for part in (slice(0, 1), slice(1, 4)):
    tile_sae.steps(halves, x[:, part].contiguous(), lr[part], part.start, rule, n, l1, l0)
assert torch.equal(halves, state)

x[1, 2, 0, 0] = torch.inf
stopped = halves[:1].clone()
taken, curve, _ = tile_sae.steps(halves, x[:, :3].contiguous(), lr[:3], 4, rule, n, l1, l0)
assert taken.tolist() == [3, 2] and bool(halves.isfinite().all()) and not bool(curve[1, 2, 0].isfinite())
tile_sae.steps(stopped, x[:1, :3].contiguous(), lr[:3], 4, rule, n, l1[:1], l0[:1])
assert torch.equal(stopped[0], halves[0])

from geowall import sae
from geowall.manifolds import Sphere

members = sae.grid([Sphere(3)], [8], [sae.Rule("relu", l1=l1) for l1 in (0.05, 0.1)], [0])
schedule = sae.Schedule(steps=4, batch=32, every=2)
losses = [sae.train(members, schedule, path=path).table["loss"] for path in ("chip", "tiles", "slow")]
assert all(abs(loss - losses[2]).max() < 1e-4 for loss in losses), losses
print("equal")
"""

COMPILED = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from geowall.kernels import tile_sae

ints = ["n", "d", "steps", "batch", "blocks"]
reals = ["bandwidth", "clip", "beta1", "beta2", "eps"]

def build(kernel, **constants):
    kinds = dict.fromkeys(ints, "i32") | dict.fromkeys(reals, "fp32") | dict.fromkeys(constants, "constexpr")
    signature = {name: kinds.get(name, "*fp32") for name in kernel.arg_names} | {"now": "*i64"}
    source = ASTSource(kernel, signature, constants)
    built = triton.compile(
        source, target=GPUTarget("cuda", 90, 32), options={"num_warps": tile_sae.WARPS}
    )
    assert ".target sm_90" in built.asm["ptx"] and len(built.asm["cubin"]) > 1000
    assert built.metadata.shared <= 227 * 1024, built.metadata.shared

shape = {"T": tile_sae.TOKENS, "N": 128, "D": 16}
build(tile_sae.forward_kernel, JUMP=True, **shape)
build(tile_sae.backward_kernel, JUMP=True, ASIDE=True, **shape)
build(tile_sae.update_kernel, N=128, D=16, TILES=64, BLOCKS=32)
print("compiled")
"""


@needs_triton
def test_interpreted_tiles_equal_their_twin(tmp_path):
    assert run(tmp_path, INTERPRETED, TRITON_INTERPRET="1") == "equal"


@needs_triton
def test_tiles_compile_for_hopper_without_one(tmp_path):
    assert run(tmp_path, COMPILED, TRITON_INTERPRET="0") == "compiled"
