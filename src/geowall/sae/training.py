"""Training a whole sweep in one call, resumable to the bit.

Members of one manifold see the same tokens where they share a seed, so curves differ by what the sweep varies
and not by their data. Everything random is a function of (seed, step): a run that was killed goes on from its
checkpoint and ends with the bits it would have had. A member whose loss ceases to be finite stands still with
the status ``diverged``; the sweep goes on.

>>> from geowall.manifolds import make
>>> from geowall.sae.schedule import grid
>>> members = grid([make("sphere", 3)], [6], [Rule("topk", k=2)], seeds=[0, 1])
>>> trained = train(members, Schedule(steps=200, batch=256))
>>> trained.table["status"].tolist(), trained.rows["step"].tolist()
(['trained', 'trained'], [100, 100, 200, 200])
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from geowall.kernels import dense_sae, sae_step, small_sae, spade
from geowall.kernels.sae_step import Rule
from geowall.sae.checkpoint import Journal
from geowall.sae.metrics import evaluate
from geowall.sae.model import Sae, from_flat
from geowall.sae.schedule import Member, Schedule, derive
from geowall.sae.start import revive, start

Blocks = Float[Tensor, "step token d_model"]


@dataclass
class Trainee:
    """A member in training: parameters and moments [3, parameter], and what is counted on the way."""

    index: int
    member: Member
    state: Tensor
    silent: Tensor  # steps since each latent fired
    window: Tensor  # firing counts since the last row
    total: Tensor  # curve summed since the last row
    cut: float = 0.0  # batchtopk's threshold, a running mean
    steps: int = 0
    status: str = "training"


@dataclass(frozen=True)
class Trained:
    """What a sweep gives: autoencoders in the order of its members, rows of the training, and a final table.

    ``rows``: a row per member and ``every`` steps, means since the row before. ``table``: a row per member,
    metrics on unseen tokens (:func:`geowall.sae.metrics.measure`), ``status`` and ``steps`` taken.
    """

    members: list[Member]
    saes: list[Sae]
    rows: pd.DataFrame
    table: pd.DataFrame


@dataclass(frozen=True)
class Progress:
    """Where a sweep stands: share of its work done, seconds gone and left, and the manifold at hand."""

    done: float
    elapsed: float
    left: float
    manifold: str


def train(
    members: Sequence[Member],
    schedule: Schedule | None = None,
    folder: Path | None = None,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    threads: int = 1,
    starts: Mapping[int, Float[Tensor, " parameter"]] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    path: str = "auto",
) -> Trained:
    """Train every member.

    Args:
        members: the sweep; see :func:`geowall.sae.schedule.grid`.
        schedule: how long and how fast; shared.
        folder: where ``rows.csv`` streams to and checkpoints lie; with None nothing is written.
        device: ``cpu`` or ``cuda``.
        dtype: of the matrix products; ``torch.bfloat16`` or float32. Weights are float32.
        threads: members trained at once on a CPU; results do not depend on it.
        starts: parameter vectors to start members from, by index (see :mod:`geowall.sae.start`).
        on_progress: called after every block of steps.
        path: ``auto``, or the trainer to use where it can: ``small`` (compiled, CPU), ``dense`` (torch),
            ``chip`` (a GPU's registers), ``tiles`` (fused, GPU) or ``slow`` (autograd). The auxiliary loss is
            always ``slow``, twice the time of ``dense`` on a CPU (:attr:`Schedule.revive` costs nothing), and
            so is matching pursuit where ``small`` does not take it.

    Raises:
        GeowallError: if ``folder`` holds the checkpoints of another sweep.
    """
    schedule, members = schedule or Schedule(), list(members)
    sweep = _Sweep(members, schedule, device, dtype, starts or {}, on_progress, path, time.monotonic())
    journal = Journal(folder, f"{members!r} {schedule!r} {dtype!r}")
    done: dict[int, Trainee] = {}
    with ThreadPoolExecutor(max(1, threads)) as pool:
        for number, manifold in enumerate(dict.fromkeys(m.manifold for m in members)):
            indices = [i for i, m in enumerate(members) if m.manifold == manifold]
            for trainee in _train_group(sweep, number, indices, journal, pool):
                done[trainee.index] = trainee
    trainees = [done[i] for i in range(len(members))]
    saes = [_finish(t) for t in trainees]
    table = evaluate(members, saes)
    table["status"], table["steps"] = [t.status for t in trainees], [t.steps for t in trainees]
    return Trained(members, saes, pd.DataFrame(journal.rows), table)


@dataclass
class _Sweep:
    members: list[Member]
    schedule: Schedule
    device: str
    dtype: torch.dtype
    starts: Mapping[int, Tensor]
    on_progress: Callable[[Progress], None] | None
    path: str
    began: float
    done: float = 0.0  # work, in latents x dimensions x steps
    fresh: float = 0.0  # of it, done by this process

    def advance(self, group: list[Trainee], count: int, resumed: bool = False) -> None:
        work = float(sum(t.member.n_latents * t.member.manifold.d_model for t in group) * count)
        self.done += work
        self.fresh += 0.0 if resumed else work
        if self.on_progress is None or not self.fresh:
            return
        whole = sum(m.n_latents * m.manifold.d_model for m in self.members) * self.schedule.steps
        elapsed = time.monotonic() - self.began
        left = elapsed * (whole - self.done) / self.fresh
        self.on_progress(Progress(self.done / whole, elapsed, left, repr(group[0].member.manifold)))


def _train_group(
    sweep: _Sweep, number: int, indices: list[int], journal: Journal, pool: ThreadPoolExecutor
) -> list[Trainee]:
    """Train the members of one manifold side by side."""
    schedule = sweep.schedule
    group = [_enrol(sweep, i) for i in indices]
    first = journal.restore(number, group)
    sweep.advance(group, first, resumed=True)
    manifold, rates = group[0].member.manifold, schedule.rates()
    block = schedule.block(manifold.d_model)
    for step in range(first, schedule.steps, block):
        count = min(block, schedule.steps - step)
        training = [t for t in group if t.status == "training"]
        tokens = {
            seed: manifold.sample(count * schedule.batch, derive(seed, "tokens", step), sweep.device)
            for seed in dict.fromkeys(t.member.seed for t in training)
        }
        blocks = {seed: x.view(count, schedule.batch, -1).contiguous() for seed, x in tokens.items()}
        work = [
            (bucket, blocks, rates[step : step + count], step, sweep) for bucket in _buckets(training, sweep)
        ]
        list(pool.map(lambda arguments: _advance(*arguments), work))
        step += count
        if step % schedule.every == 0 or step == schedule.steps:
            journal.write(_rows(training, step, schedule))
            for t in training:
                _treat(t, blocks[t.member.seed][-1], step, schedule)
        sweep.advance(group, count)
        journal.save(number, step, group, finished=step == schedule.steps)
    for t in group:
        t.status = "trained" if t.status == "training" else t.status
    return group


def _enrol(sweep: _Sweep, index: int) -> Trainee:
    member = sweep.members[index]
    d_model, n = member.manifold.d_model, member.n_latents
    flat = sweep.starts.get(index)
    flat = start(n, d_model, member.rule, derive(member.seed, "start", n)) if flat is None else flat
    state = torch.zeros(3, len(flat))
    state[0] = flat
    state = state.to(sweep.device)
    return Trainee(index, member, state, torch.zeros(n), torch.zeros(n), torch.zeros(4, dtype=torch.float64))


def _buckets(group: list[Trainee], sweep: _Sweep) -> list[list[Trainee]]:
    """What goes through a trainer together: members of one shape where it takes many, else a member each."""
    buckets: dict[object, list[Trainee]] = {}
    for t in group:
        shape = (t.member.n_latents, replace(t.member.rule, l1=0.0, l0=0.0))
        path = _path(t.member, sweep)
        # On a CPU stacking only widens what must fit the cache, unless the path is asked for.
        alone = path in ("small", "slow") or (sweep.device == "cpu" and sweep.path == "auto")
        buckets.setdefault(t.index if alone else shape, []).append(t)
    return list(buckets.values())


def _path(member: Member, sweep: _Sweep) -> str:
    rule, d_model = member.rule, member.manifold.d_model
    if rule.aux:
        return "slow"
    if rule.architecture == "matching_pursuit":
        fast = sweep.path in ("auto", "small") and (sweep.device, sweep.dtype) == ("cpu", torch.float32)
        return "small" if fast and small_sae.available(rule.architecture, d_model, rule.k) else "slow"
    if sweep.path != "auto":
        return sweep.path
    if sweep.dtype != torch.float32:
        return "dense"
    if sweep.device == "cpu":
        served = spade.available() if rule.architecture == "spade" else False
        served = served or small_sae.available(rule.architecture, d_model, rule.k)
        return "small" if served else "dense"
    return _gpu_path(rule.architecture, member.n_latents, d_model, sweep.schedule.batch)


def _gpu_path(architecture: str, n_latents: int, d_model: int, batch: int) -> str:
    """The whole run on chip where it fits, fused tiles above that, and torch for what neither takes."""
    if find_spec("triton") is None:
        return "dense"
    from geowall.kernels import chip_sae, tile_sae

    if chip_sae.fits(architecture, n_latents, d_model, batch):
        return "chip"
    return "tiles" if tile_sae.serves(architecture, d_model) else "dense"


def _advance(bucket: list[Trainee], blocks: dict[int, Blocks], lr: Tensor, step: int, sweep: _Sweep) -> None:
    """Take a block of steps with the members of a bucket."""
    first = bucket[0]
    rule, n, path = first.member.rule, first.member.n_latents, _path(first.member, sweep)
    x = blocks[first.member.seed]
    if path == "small":
        compiled = spade if rule.architecture == "spade" else small_sae
        _count(first, *compiled.steps(first.state, x, lr, step, rule, n))
    elif path == "slow":
        dead = (first.silent >= sweep.schedule.dead_after).to(x.device)
        _count(first, *sae_step.steps_slow(first.state, x, lr, step, rule, n, dead))
    else:
        state = torch.stack([t.state for t in bucket])
        x = torch.stack([blocks[t.member.seed] for t in bucket])
        l1 = x.new_tensor([t.member.rule.l1 for t in bucket])
        l0 = x.new_tensor([t.member.rule.l0 for t in bucket])
        if path in ("chip", "tiles"):
            from geowall.kernels import chip_sae, tile_sae

            take = chip_sae.steps if path == "chip" else tile_sae.steps
            taken, curve, fired = take(state, x, lr, step, rule, n, l1, l0)
        else:
            taken, curve, fired = dense_sae.steps(state, x, lr, step, rule, n, l1, l0, sweep.dtype)
        for i, t in enumerate(bucket):
            t.state.copy_(state[i])
            _count(t, int(taken[i]), curve[i].cpu(), fired[i].cpu())


def _count(t: Trainee, taken: int, curve: Tensor, fired: Tensor) -> None:
    t.steps += taken
    t.status = "training" if taken == len(curve) else "diverged"
    t.silent = torch.where(fired > 0, 0.0, t.silent + len(curve))
    t.window = t.window + fired
    t.total = t.total + curve.double().sum(0)
    if t.member.rule.architecture == "batchtopk":
        for cut in curve[:taken, 3].tolist():
            t.cut = cut if t.cut == 0.0 else 0.99 * t.cut + 0.01 * cut


def _rows(group: list[Trainee], step: int, schedule: Schedule) -> list[dict[str, object]]:
    """The rows of a group since the last ones; counts start again."""
    span = (step - 1) % schedule.every + 1
    rows = []
    for t in group:
        mse, code_sum, active, _ = (t.total / span).tolist()
        penalty = t.member.rule.l1 * code_sum + t.member.rule.l0 * active
        row = {"member": t.index, **t.member.describe(), "step": step, "mse": mse, "penalty_value": penalty}
        row |= {"loss": mse + penalty, "l0": active, "live": int((t.window > 0).sum()), "status": t.status}
        rows.append(row)
        t.window, t.total = torch.zeros_like(t.window), torch.zeros_like(t.total)
    return rows


def _treat(t: Trainee, x: Float[Tensor, "token d_model"], step: int, schedule: Schedule) -> None:
    """Revive the dead, if the schedule says so."""
    dead = t.silent >= schedule.dead_after
    if not schedule.revive or t.status != "training" or step > schedule.steps // 2 or not bool(dead.any()):
        return
    error = x - _finish(t).to(str(x.device))(x)
    revive(t.state, dead.to(x.device), x, error, derive(t.member.seed, "revive", step), t.member.rule)
    t.silent = torch.where(dead, 0.0, t.silent)


def _finish(t: Trainee) -> Sae:
    rule: Rule = t.member.rule
    return from_flat(t.state[0].cpu(), rule.architecture, rule.k, t.member.n_latents, t.cut)
