"""Training a small language model so that a kill costs a minute at most and changes nothing.

The batch of a step is a function of seed and step, the schedule of the step alone; a checkpoint holds the
weights and what the optimisers remember. A run that was killed therefore ends with the bits it would have
had.

>>> from geowall.language.lab import Spec
>>> spec = Spec(layers=2, d_model=16, heads=2, groups=1, d_head=8, d_mlp=32, context=16, vocabulary=64)
>>> ids = torch.randint(3, 64, (40, 16), generator=torch.Generator().manual_seed(0))
>>> model, record = train(spec, ids, tokens=8 * 16 * 10)
>>> record.steps, record.loss < 5
(10, True)
"""

from __future__ import annotations

import hashlib
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import Gemma2ForCausalLM

from geowall.language.lab import Spec, make
from geowall.paths import GeowallError

SECONDS = 60.0  # between two checkpoints
PROBE = 12  # steps after which a budget of minutes becomes one of steps
WARMUP = 0.04  # share of the steps in which the rate rises
DECAY = 0.1
SMOOTH = 0.98  # memory of the loss that is shown


@dataclass(frozen=True)
class Record:
    """Where a training stands: steps taken of all there are, tokens seen, smoothed loss (nats a token),
    seconds of training, tokens a second lately."""

    steps: int
    total: int
    tokens: int
    loss: float
    seconds: float
    rate: float

    @property
    def left(self) -> float:
        """Seconds that the rest will take."""
        return (self.total - self.steps) * self.tokens / max(1, self.steps) / max(1e-9, self.rate)


@dataclass
class _State:
    """What a checkpoint holds, and what it is made of."""

    model: Gemma2ForCausalLM
    optimisers: list[torch.optim.Optimizer]
    step: int = 0
    total: int = 0
    loss: float = math.nan
    seconds: float = 0.0


def train(
    spec: Spec,
    ids: Int[Tensor, "sequence position"],
    tokens: int | None = None,
    minutes: float | None = None,
    folder: Path | None = None,
    device: str = "cpu",
    on_step: Callable[[Record], None] | None = None,
) -> tuple[Gemma2ForCausalLM, Record]:
    """Train a model of the given size on packed sequences.

    Args:
        spec: sizes, batch, peak rate, seed.
        ids: packed sequences; an epoch goes through all of them in an order of its own.
        tokens: seen altogether; ``spec.tokens`` by default.
        minutes: a budget of time instead; it becomes one of steps once the speed is known, and stays it.
        folder: where the checkpoint lies; with None none is written.
        device: ``cpu`` or ``cuda``.
        on_step: called after every step.

    Returns:
        The model on the CPU in float32, and the last record.

    Raises:
        GeowallError: if ``folder`` holds the checkpoint of another training.
    """
    per_step = spec.batch * ids.shape[1]
    state = _State(make(spec).to(device).train(), [])
    state.optimisers = optimisers(state.model, spec)
    state.total = 0 if minutes else max(1, round((tokens or spec.tokens) / per_step))
    name = fingerprint(spec, ids)
    _restore(state, folder, name)
    ids = ids.to(device)
    saved = fresh = time.monotonic()
    began, warm = fresh - state.seconds, state.step + 2  # the first two steps fill caches
    record = _record(state, per_step, 0.0)
    while state.step < (state.total or PROBE):
        _advance(state, ids, spec)
        now = time.monotonic()
        state.seconds = now - began
        fresh = now if state.step <= warm else fresh
        pace = max(0, state.step - warm) / max(1e-9, now - fresh)
        if not state.total and state.step >= PROBE:
            state.total = state.step + max(1, round((60.0 * minutes - state.seconds) * pace))
        record = _record(state, per_step, pace * per_step)
        if on_step:
            on_step(record)
        if folder and (now - saved > SECONDS or state.step == state.total):
            _save(state, folder, name)
            saved = time.monotonic()
    return state.model.cpu().eval(), record


def loss_of(model: Gemma2ForCausalLM, x: Int[Tensor, "sequence position"]) -> Float[Tensor, ""]:
    """Mean cross-entropy of the next token, in nats; matrix products in bfloat16."""
    with torch.autocast(x.device.type, torch.bfloat16):
        logits = model(input_ids=x, use_cache=False).logits
    return cross_entropy(logits[:, :-1].float().flatten(0, 1), x[:, 1:].flatten())


@torch.no_grad()
def held_out_loss(model: Gemma2ForCausalLM, ids: Int[Tensor, "sequence position"], batch: int = 16) -> float:
    """Mean cross-entropy over every token but the first of each sequence, in nats."""
    device = next(model.parameters()).device
    parts = [loss_of(model, part.to(device)) * len(part) for part in ids.split(batch)]
    return float(torch.stack(parts).double().sum() / len(ids))


def optimisers(model: Gemma2ForCausalLM, spec: Spec) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the layers (Jordan et al. 2024), AdamW for embeddings and norms."""
    named = list(model.named_parameters())
    matrices = [value for name, value in named if value.ndim == 2 and "embed" not in name]
    rest = [value for name, value in named if value.ndim != 2 or "embed" in name]
    return [
        torch.optim.Muon(matrices, lr=spec.lr, weight_decay=DECAY, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, lr=spec.lr, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def rate(step: int, total: int, peak: float) -> float:
    """Learning rate of a step: a linear rise, then a cosine to nothing.

    >>> [round(rate(step, 100, 1.0), 2) for step in (0, 3, 4, 52, 99)]
    [0.25, 1.0, 1.0, 0.5, 0.0]
    """
    rise = max(1, round(WARMUP * total))
    if step < rise:
        return peak * (step + 1) / rise
    return peak * 0.5 * (1.0 + math.cos(math.pi * (step - rise) / max(1, total - rise)))


def batch_of(ids: Int[Tensor, "sequence position"], step: int, spec: Spec) -> Int[Tensor, "batch position"]:
    """The sequences of a step: each epoch deals all of them out in its own order."""
    places = torch.arange(step * spec.batch, (step + 1) * spec.batch)
    orders = {
        epoch: torch.randperm(len(ids), generator=torch.Generator().manual_seed(1000 * spec.seed + epoch))
        for epoch in (places // len(ids)).unique().tolist()
    }
    rows = [int(orders[place // len(ids)][place % len(ids)]) for place in places.tolist()]
    return ids[rows]


def fingerprint(spec: Spec, ids: Int[Tensor, "sequence position"]) -> str:
    """What a checkpoint must agree on to be gone on from: sizes, seed and data, not the budget."""
    sized = replace(spec, tokens=0)
    return hashlib.sha256(repr(sized).encode() + ids.cpu().numpy().tobytes()).hexdigest()


def _advance(state: _State, ids: Tensor, spec: Spec) -> None:
    """Take one step."""
    lr = rate(state.step, state.total or 100 * PROBE, spec.lr)
    for optimiser in state.optimisers:
        for group in optimiser.param_groups:
            group["lr"] = lr
    loss = loss_of(state.model, batch_of(ids, state.step, spec))
    loss.backward()
    torch.nn.utils.clip_grad_norm_(state.model.parameters(), 1.0)
    for optimiser in state.optimisers:
        optimiser.step()
        optimiser.zero_grad()
    value = float(loss.detach())
    state.loss = value if math.isnan(state.loss) else SMOOTH * state.loss + (1.0 - SMOOTH) * value
    state.step += 1


def _record(state: _State, per_step: int, pace: float) -> Record:
    return Record(state.step, state.total, state.step * per_step, state.loss, state.seconds, pace)


def _save(state: _State, folder: Path, name: str) -> None:
    """Write the checkpoint beside the old one, then put it in its place."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "fingerprint": name,
        "model": state.model.state_dict(),
        "optimisers": [optimiser.state_dict() for optimiser in state.optimisers],
        **{key: getattr(state, key) for key in ("step", "total", "loss", "seconds")},
    }
    beside = folder / f"checkpoint.{os.getpid()}"
    torch.save(content, beside)
    beside.replace(folder / "checkpoint.pt")


def _restore(state: _State, folder: Path | None, name: str) -> None:
    """Go on from the checkpoint in ``folder``, if there is one."""
    if folder is None or not (folder / "checkpoint.pt").exists():
        return
    content = torch.load(folder / "checkpoint.pt", map_location="cpu", weights_only=True)
    if content["fingerprint"] != name:
        why = f"{folder} holds the checkpoint of a training with other sizes, seed or data"
        raise GeowallError("the training was not resumed", why, f"remove {folder / 'checkpoint.pt'}")
    state.model.load_state_dict(content["model"])
    for optimiser, kept in zip(state.optimisers, content["optimisers"], strict=True):
        optimiser.load_state_dict(kept)
    for key in ("step", "total", "loss", "seconds"):
        setattr(state, key, content[key])
