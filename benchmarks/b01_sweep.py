"""B1: training small autoencoders, against sae_lens and against a plain torch loop.

The work is 200 Adam steps of ReLU + L1 on the unit sphere, one autoencoder at a time, from the same start on
the same tokens, drawn beforehand. A round times ``STEPS`` consecutive steps of the 200, since a step costs
the same all along; the correctness gate takes all 200. The peers:

* ``eager``: autograd, ``torch.optim.Adam(fused=True)``, clipping, the decoder put back on the unit sphere;
* ``sae_lens``: ``StandardTrainingSAE.training_forward_pass`` with the same optimiser and clipping, and none
  of its trainer's logging. It has no unit norm to keep, so it does less; it is absent where not installed.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

import torch

from benchmarks.measure import is_noisy, measure, seconds, slope
from geowall.kernels import small_sae
from geowall.kernels.sae_step import Rule, gradients_slow, views
from geowall.manifolds import Sphere
from geowall.sae.schedule import Schedule
from geowall.sae.start import start

D_MODELS, N_LATENTS, PENALTIES, SEEDS = (3, 8, 16), (8, 64, 512, 2048), (0.03, 0.1), (0, 1)
BATCH, STEPS, GATE = 1024, 10, 200
RATE = 1e-3  # at 3e-3 the widest runs are chaotic, and no two orders of summation stay together
MUST = {"sae_lens": 3.0, "eager": 1.9}  # geometric mean over the grid
GOAL = {"sae_lens": 8.0, "eager": 4.0}
OTHERS = (Rule("jumprelu", l0=0.03), Rule("topk", k=4), Rule("batchtopk", k=4))

Step = Callable[[], object]


@dataclass
class Task:
    """One autoencoder to train: start, tokens [step, token, d_model], learning rates, rule."""

    n_latents: int
    d_model: int
    rule: Rule
    seed: int
    steps: int = STEPS

    def __post_init__(self) -> None:
        count = self.steps * BATCH
        self.x = Sphere(self.d_model).sample(count, self.seed).view(self.steps, BATCH, self.d_model)
        self.params = start(self.n_latents, self.d_model, self.rule, self.seed)
        self.lr = Schedule(steps=GATE, lr=RATE).rates()[: self.steps].contiguous()


def ours(task: Task) -> Step:
    """Steps of the compiled trainer; every call goes on from where the last one ended."""
    state = torch.stack([task.params, torch.zeros_like(task.params), torch.zeros_like(task.params)])
    done = [0]

    def work() -> torch.Tensor:
        _, curve, _ = small_sae.steps(state, task.x, task.lr, done[0], task.rule, task.n_latents)
        done[0] += len(task.x)
        return curve[:, 0] + task.rule.l1 * curve[:, 1]

    return work


def eager(task: Task) -> Step:
    """The plain loop: what a careful reader would write."""
    parts = views(task.params.clone(), task.n_latents, task.d_model)
    W_enc, W_dec = parts.enc.T.contiguous(), parts.dec.clone()
    weights = [w.requires_grad_() for w in (W_enc, W_dec, parts.b_enc.clone(), parts.b_dec.clone())]
    _, _, b_enc, b_dec = weights
    optimiser = torch.optim.Adam(weights, lr=1.0, fused=True)

    def work() -> torch.Tensor:
        losses = []
        for x, lr in zip(task.x, task.lr, strict=True):
            codes = torch.relu(torch.addmm(b_enc, x, W_enc))
            error = torch.addmm(b_dec, codes, W_dec) - x
            loss = error.square().sum(1).mean() + task.rule.l1 * codes.sum(1).mean()
            optimiser.zero_grad()
            loss.backward()
            with torch.no_grad():
                W_dec.grad -= (W_dec.grad * W_dec).sum(1, keepdim=True) * W_dec
                torch.nn.utils.clip_grad_norm_(weights, 1.0)
                optimiser.param_groups[0]["lr"] = float(lr)
                optimiser.step()
                W_dec.div_(W_dec.norm(dim=1, keepdim=True))
            losses.append(loss.detach())
        return torch.stack(losses)

    return work


def sae_lens(task: Task) -> Step:
    """The peer's own forward pass and loss, stepped in a loop."""
    from sae_lens.saes.sae import TrainStepInput
    from sae_lens.saes.standard_sae import StandardTrainingSAE, StandardTrainingSAEConfig

    config = StandardTrainingSAEConfig(
        d_in=task.d_model, d_sae=task.n_latents, l1_coefficient=task.rule.l1, apply_b_dec_to_input=False
    )
    peer, parts = StandardTrainingSAE(config), views(task.params, task.n_latents, task.d_model)
    with torch.no_grad():
        peer.W_enc.copy_(parts.enc.T)
        peer.W_dec.copy_(parts.dec)
    optimiser = torch.optim.Adam(peer.parameters(), lr=1.0, fused=True)

    def work() -> torch.Tensor:
        losses = []
        for x, lr in zip(task.x, task.lr, strict=True):
            out = peer.training_forward_pass(TrainStepInput(x, {"l1": task.rule.l1}, None, 0, False))
            out.loss.backward()
            torch.nn.utils.clip_grad_norm_(peer.parameters(), 1.0)
            optimiser.param_groups[0]["lr"] = float(lr)
            optimiser.step()
            optimiser.zero_grad()
            losses.append(out.loss.detach())
        return torch.stack(losses)

    return work


def gate(task: Task) -> float:
    """Largest relative difference of the loss curves of ours and eager over a whole run.

    Raises:
        AssertionError: above 1e-4; a fast wrong kernel is a failure.
    """
    whole = Task(task.n_latents, task.d_model, task.rule, task.seed, GATE)
    curve, expected = ours(whole)(), eager(whole)()
    off = float(((curve - expected) / expected).abs().max())
    if not off <= 1e-4:
        raise AssertionError(f"B1: loss curves differ by {off:.1e} at {task.d_model} x {task.n_latents}")
    return off


def run(small: bool = False) -> list[dict[str, object]]:
    """All rows of B1; ``small`` takes one penalty, one seed and three widths."""
    torch.set_num_threads(1)
    cells = list(itertools.product(D_MODELS, N_LATENTS[:3] if small else N_LATENTS))
    variants = list(itertools.product(PENALTIES[-1:] if small else PENALTIES, SEEDS[:1] if small else SEEDS))
    worst = max(gate(Task(n, d, Rule(l1=l1), s)) for (d, n) in cells for (l1, s) in variants)
    peers = {"eager": eager} | ({"sae_lens": sae_lens} if find_spec("sae_lens") else {})
    rows = []
    for name, peer in peers.items():
        found = [_cell(name, peer, d, n, variants, small) for d, n in cells]
        rows += [*found, _mean(name, found) | {"largest_difference": worst}]
    return [*rows, *([] if small else _variants()), _growth(small)]


def _cell(name: str, peer, d: int, n: int, variants: list, small: bool) -> dict[str, object]:
    tasks = [Task(n, d, Rule(l1=l1), s) for l1, s in variants]
    mine, theirs = [ours(t) for t in tasks], [peer(t) for t in tasks]
    found = measure(
        lambda: [work() for work in mine], lambda: [work() for work in theirs], rounds=3 if small else 9
    )
    case = f"relu, d = {d}, n = {n}, against {name}"
    return {"id": "B1", "case": case, "peer": name, **found, "d_model": d, "n_latents": n}


def _mean(name: str, rows: list[dict[str, object]]) -> dict[str, object]:
    """Geometric mean of the ratios; its interval adds the cells' own in quadrature."""
    logs = [math.log(row["ratio"]) for row in rows]
    spread = [0.5 * math.log(row["high"] / row["low"]) for row in rows]
    middle, half = sum(logs) / len(logs), math.sqrt(sum(s * s for s in spread)) / len(logs)
    ends = {"ratio": math.exp(middle), "low": math.exp(middle - half), "high": math.exp(middle + half)}
    counts = {"rounds": sum(r["rounds"] for r in rows), "dropped": sum(r["dropped"] for r in rows)}
    most = sum(bool(row["noisy"]) for row in rows) > len(rows) / 2
    # As for one cell: a third of all that was timed, dropped, makes a mean noisy however it is spread.
    noisy = most or is_noisy(counts["rounds"], counts["dropped"])
    case = f"relu, geometric mean of the grid, against {name}"
    limits = {"must": MUST[name], "goal": GOAL[name]}
    return {"id": "B1", "case": case, "peer": name, **ends, **counts, "noisy": noisy, **limits}


def _variants() -> list[dict[str, object]]:
    """The other architectures against their definition under autograd."""
    rows = []
    for rule, d, n in itertools.product(OTHERS, (3, 16), (64, 512)):
        task = Task(n, d, rule, 0)
        grad = small_sae.gradients(task.params, task.x[0], rule, n)[0]
        slow = gradients_slow(task.params, task.x[0], rule, n)[0]
        if not torch.allclose(grad, slow, rtol=1e-3, atol=1e-5 * float(slow.abs().max())):
            raise AssertionError(f"B1: gradients of {rule.architecture} differ at {d} x {n}")
        found = measure(
            lambda t=task: [small_sae.gradients(t.params, x, t.rule, t.n_latents) for x in t.x],
            lambda t=task: [gradients_slow(t.params, x, t.rule, t.n_latents) for x in t.x],
        )
        case = f"{rule.architecture}, d = {d}, n = {n}, gradients against autograd"
        rows.append({"id": "B1", "case": case, "peer": "autograd", **found, "d_model": d, "n_latents": n})
    return rows


def _growth(small: bool) -> dict[str, object]:
    costs = []
    for n in N_LATENTS[1:]:
        work = ours(Task(n, 8, Rule(l1=0.1), 0))
        costs.append([seconds(work) for _ in range(3 if small else 9)])
    found = slope([float(n) for n in N_LATENTS[1:]], costs)
    return {"id": "B1", "case": "cost against n, d = 8", **found, "expected": 1.0}
