"""What an extraction costs: foretold before it runs, and measured against the bare forward pass.

The forecast rehearses: a random model of two of the real model's layers runs a few batches on the same
device, and its time is scaled to all layers and all tokens. Nothing of the real model is needed but its
configuration, so an hour of extraction, or a download of gigabytes, is foretold in seconds.
"""

from __future__ import annotations

import copy
import gc
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn
from transformers import AutoModelForCausalLM, Gemma2Config, PretrainedConfig
from transformers.initialization import no_init_weights

from geowall.language import hub, reading
from geowall.language.activations import batch_for, extract
from geowall.language.reading import Setting
from geowall.language.sites import Site, blocks, sites, tap, width
from geowall.language.writer import BUFFER
from geowall.paths import GeowallError

Clock = Callable[[], float]
TURNS = 3  # of rehearsal and extraction, where one is held against the other
REHEARSED = 1e10  # multiply-adds of a rehearsed batch on a processor: a fraction of a second
VOCABULARY = 256  # of the rehearsal: embedding and head take no part in an extraction
ITEM = {"float32": 4, "bfloat16": 2}
GEMMA: dict[str, dict[str, int]] = {
    "google/gemma-2-2b": {},  # the defaults of its configuration
    "google/gemma-2-9b": {
        "hidden_size": 3584,
        "intermediate_size": 14336,
        "num_hidden_layers": 42,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
    },
}


def forecast(
    model: str,
    n_sequences: int,
    context: int,
    kinds: list[str],
    model_dtype: str,
    dtype: str,
    device: str,
    speed: dict[str, float] | None = None,
) -> dict[str, Any]:
    """Foretell an extraction, from the ``speed`` of a :class:`Rehearsal`: of one of its own by default.

    Returns:
        ``seconds`` (the model loaded), ``gpu_mb`` at the peak (0 on a processor), ``disk_mb`` of the store,
        ``download_mb`` and ``weights_mb`` of the model, and ``basis``: where its size is known from.

    Raises:
        GeowallError: the model cannot be had.
    """
    config, download, basis = _known(model)
    whole = _hollow(config)
    widths = [width(whole, site) for site in sites(whole, kinds)]
    tokens, shards = n_sequences * context, n_sequences * context / 4096
    disk = tokens * (ITEM[dtype] * sum(widths) + 4 * len(widths) + 16) + 8 * shards * sum(widths)
    speed = speed or _rehearse(config, kinds, context, model_dtype, dtype, hub.place(device))
    weights = ITEM[model_dtype] * sum(weight.numel() for weight in whole.parameters())
    return {
        "seconds": speed["fixed"] + tokens * speed["token"],
        "gpu_mb": (weights + speed["gpu_bytes"]) / 1e6 if speed["gpu_bytes"] else 0.0,
        "disk_mb": disk / 1e6,
        "download_mb": download / 1e6,
        "weights_mb": weights / 1e6,
        "basis": basis,
    }


def of_chapter(values: dict[str, Any]) -> dict[str, Any]:
    """Foretell chapter 04 at these parameters, for ``geowall estimate``.

    The chapter extracts its text over again (once to keep, the rest against the clock) and races it in part.
    """
    names = ("model", "n_sequences", "context", "kinds", "model_dtype", "dtype", "device")
    raced = 4 * (values["n_rounds"] + 1) * min(values["n_sequences"], values["race_sequences"])
    times = 1 + TURNS + raced / values["n_sequences"]
    one = forecast(**{name: values[name] for name in names})
    return {
        "seconds": one["seconds"] * times + one["weights_mb"] / 1000 + 10,
        "memory_mb": 1000 + 2 * BUFFER / 1e6 + (0 if one["gpu_mb"] else one["weights_mb"]),
        **{name: one[name] for name in ("gpu_mb", "disk_mb", "download_mb")},
        "basis": f"foretold by a rehearsal of two layers; {one['basis']}",
    }


def weights(model: str) -> tuple[int, float]:
    """Weights of a model that take part in reading it, the embedding left out, and bytes to download."""
    config, download, _ = _known(model)
    whole = _hollow(config)
    return _parameters(config) - whole.get_input_embeddings().weight.numel(), download


def _known(model: str) -> tuple[PretrainedConfig, float, str]:
    """Configuration of a model, bytes to download, and where both are known from.

    The sizes of Gemma 2 are public (Gemma Team 2024, arXiv 2408.00118), so its cost can be told before its
    licence is accepted; the hub keeps its weights in 32 bits.
    """
    try:
        found = hub.find(model)
        return hub.config(model), found.download_bytes, f"the model: {found.kind}"
    except GeowallError:
        if model not in GEMMA:
            raise
        config = Gemma2Config(**GEMMA[model])
        return config, 4 * _parameters(config), "published sizes: the hub did not answer"


def _parameters(config: PretrainedConfig) -> int:
    return sum(weight.numel() for weight in _hollow(config).parameters())


def _hollow(config: PretrainedConfig) -> nn.Module:
    """The model without its weights."""
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config)


def _rehearse(
    config: PretrainedConfig,
    kinds: list[str],
    context: int,
    model_dtype: str,
    dtype: str,
    device: torch.device,
) -> dict[str, float]:
    """Seconds an extraction takes at all and for each token, and GPU bytes beyond the weights."""
    rehearsal = Rehearsal.of(config, kinds, context, model_dtype, dtype, device)
    for _ in range(1 if rehearsal.warm() > 1.0 else 3):
        rehearsal.again(time.perf_counter)
    return rehearsal.speed()


@dataclass
class Rehearsal:
    """An extraction from a random model of two layers, timed as often as one likes, short and longer."""

    model: nn.Module
    options: dict[str, Any]  # of an extraction: kinds, batch, context, dtype
    share: float  # layers of the real model for each one here
    timed: dict[int, list[float]] = field(default_factory=lambda: {1: [], 4: []})  # seconds by batches
    gpu_bytes: int = 0  # at the peak, beyond what was held before

    @classmethod
    def of(
        cls,
        config: PretrainedConfig,
        kinds: list[str],
        context: int,
        model_dtype: str,
        dtype: str,
        device: torch.device,
    ) -> Rehearsal:
        """Set one up; on a processor its batches are short enough to take a fraction of a second."""
        layers = config.get_text_config().num_hidden_layers
        model = _stand_in(_shortened(config, min(2, layers)), getattr(torch, model_dtype), device)
        block = sum(w.numel() for w in model.parameters())
        most = context if device.type == "cuda" else int(REHEARSED / block)
        context = max(16, min(context, most))
        batch = max(1, min(batch_for(model, context), most // context))
        options = {"kinds": kinds, "batch": batch, "context": context, "dtype": dtype}
        return cls(model, options, layers / min(2, layers))

    def warm(self) -> float:
        """Seconds of a first run, which no speed is told from."""
        return _timed(self.model, 1, time.perf_counter, **self.options)

    def again(self, clock: Clock) -> None:
        """Time one batch, and four."""
        on_gpu = _entrance(self.model).type == "cuda"
        if on_gpu:
            torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.memory_allocated() if on_gpu else 0
        for n_batches, found in self.timed.items():
            found.append(_timed(self.model, n_batches, clock, **self.options))
        if on_gpu:
            self.gpu_bytes = max(self.gpu_bytes, torch.cuda.max_memory_allocated() - held)

    def speed(self) -> dict[str, float]:
        """Seconds once, seconds a token (each from the best of the runs) and GPU bytes beyond the weights."""
        few, many = (min(found) for found in self.timed.values())
        tokens = self.options["batch"] * self.options["context"]
        each = max(many - few, 0.0) / (3 * tokens)
        fixed = max(few - each * tokens, 0.0)
        return {"token": self.share * each, "fixed": fixed, "gpu_bytes": self.gpu_bytes}


def _entrance(model: nn.Module) -> torch.device:
    return model.get_input_embeddings().weight.device


def _stand_in(config: PretrainedConfig, dtype: torch.dtype, device: torch.device) -> nn.Module:
    """A model of this shape whose weights are all alike: drawing them at random takes longer than it runs."""
    with device, no_init_weights():
        model = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation="eager")
    model = model.eval().requires_grad_(False)
    for weight in model.parameters():
        weight.fill_(0.01)
    return model


def _shortened(config: PretrainedConfig, layers: int) -> PretrainedConfig:
    """The same model with fewer layers and next to no vocabulary."""
    short = copy.deepcopy(config)
    text = short.get_text_config()
    text.num_hidden_layers, text.vocab_size = layers, VOCABULARY
    text.bos_token_id = text.eos_token_id = text.pad_token_id = 0
    if getattr(text, "layer_types", None):
        text.layer_types = text.layer_types[:layers]
    return short


def _timed(
    model: nn.Module, n_batches: int, clock: Clock, kinds: list[str], batch: int, context: int, dtype: str
) -> float:
    ids = torch.randint(
        1, VOCABULARY, (n_batches * batch, context), generator=torch.Generator().manual_seed(0)
    )
    return _extraction(model, ids, sites(model, kinds), clock, batch=batch, dtype=dtype)[0]


def _bytes(model: nn.Module) -> int:
    return sum(weight.numel() * weight.element_size() for weight in model.parameters())


def _extraction(
    model: nn.Module, ids: torch.Tensor, at: list, clock: Clock = time.perf_counter, **options: Any
) -> tuple[float, int]:
    """Seconds and bytes on disk of an extraction into a folder that is removed again."""
    with tempfile.TemporaryDirectory() as folder:
        began = clock()
        extract(model, ids, at, Path(folder) / "store", **options)
        spent = clock() - began
        size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
    return spent, size


def foretold(chosen: Setting) -> pd.DataFrame:
    """The forecast of this chapter's extraction beside the extraction itself, run afresh.

    Rehearsals and extractions take turns and the best of each counts, so both have met the same machine. On a
    processor both are counted in this process's own seconds, which other programs hardly lengthen.

    Columns: ``quantity``, ``unit``, ``predicted``, ``measured``, ``ratio`` (measured over predicted; empty
    where nothing was predicted and nothing measured).
    """
    how = {name: chosen[name] for name in ("kinds", "context", "model_dtype", "dtype")}
    found, device = hub.find(chosen["model"]), hub.place(chosen["device"])
    model, ids, at = reading.model_of(chosen), reading.packed(chosen).ids, reading.sites_of(chosen)
    rehearsal = Rehearsal.of(_known(chosen["model"])[0], **how, device=device)
    rehearsal.warm()
    options = {"clock": _clock(device), "keep_bos": True, "dtype": chosen["dtype"]}
    spent, gpu_bytes = [], 0
    for _ in range(TURNS):
        rehearsal.again(options["clock"])
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        spent.append(_extraction(model, ids, at, **options))
        if device.type == "cuda":
            gpu_bytes = torch.cuda.max_memory_allocated() - _bytes(rehearsal.model)
    seconds, disk = min(spent)
    names = ("model", "n_sequences", "device")
    predicted = forecast(**{name: chosen[name] for name in names}, **how, speed=rehearsal.speed())
    measured = {"seconds": seconds, "gpu_mb": gpu_bytes / 1e6, "disk_mb": disk / 1e6}
    return _beside(predicted, measured | {"download_mb": found.download_bytes / 1e6})


def _beside(predicted: dict[str, Any], measured: dict[str, float]) -> pd.DataFrame:
    labels = {"seconds": "time", "gpu_mb": "GPU memory", "disk_mb": "disk", "download_mb": "download"}
    rows = []
    for name, label in labels.items():
        p, m = predicted[name], measured[name]
        unit = "s" if name == "seconds" else "MB"
        ratio = m / p if p else None
        rows.append({"quantity": label, "unit": unit, "predicted": p, "measured": m, "ratio": ratio})
    return pd.DataFrame(rows).astype({"ratio": float})


def _clock(device: torch.device) -> Clock:
    """What tells the time of work: on a processor, this process's own seconds, all its threads together."""
    return time.perf_counter if device.type == "cuda" else time.process_time


def race(chosen: Setting, n_rounds: int, n_sequences: int) -> pd.DataFrame:
    """Seconds of an extraction to disk and of the same forward pass without it, in alternating rounds.

    The ways: ``extract``; ``hooks``, the decoder without its head, with hooks that keep each site's value
    until its batch is done; ``usual``, the whole model with its head, asked for ``hidden_states``. Every
    other round runs backwards, so that a drift of the machine cancels, and each way runs on a quarter of the
    sequences too, which tells what is paid once from what is paid for each token.

    Columns: ``round``, ``way``, ``n_tokens``, ``seconds`` (on a processor, those of this process alone).
    """
    model, every = reading.model_of(chosen), _repeated(reading.packed(chosen).ids, n_sequences)
    at, batch = reading.sites_of(chosen), batch_for(model, chosen["context"])
    ways = {
        "extract": lambda ids: _extraction(model, ids, at, batch=batch, dtype=chosen["dtype"]),
        "hooks": lambda ids: bare(model, ids, at, batch),
        "usual": lambda ids: usual(model, ids, batch),
    }
    tasks = [(way, size) for way in ways for size in (max(1, n_sequences // 4), n_sequences)]
    for way, size in tasks:
        ways[way](every[:size])
    rows = []
    for number in range(n_rounds):
        for way, size in tasks[:: -1 if number % 2 else 1]:
            seconds = _seconds(lambda w=way, s=size: ways[w](every[:s]))
            tokens = size * every.shape[1]
            rows.append({"round": number, "way": way, "n_tokens": tokens, "seconds": seconds})
    return pd.DataFrame(rows)


def summary(rounds: pd.DataFrame, seed: int, draws: int = 4000) -> pd.DataFrame:
    """What the rounds of :func:`race` say, each a median over rounds with a bootstrap 95 % interval.

    Columns: ``way``, ``quantity``, ``value``, ``low``, ``high``. The quantities of a way: ``ratio`` of its
    seconds to those of the hooks on all tokens; ``token_ratio``, the same for each further token;
    ``start_seconds``, paid once; ``tokens_per_second``.
    """
    wide = rounds.pivot(index="round", columns=["way", "n_tokens"], values="seconds")
    few, many = sorted(set(rounds["n_tokens"]))
    random, rows = np.random.default_rng(seed), []
    picks = random.integers(len(wide), size=(draws, len(wide)))
    slope = {way: (wide[way, many] - wide[way, few]) / (many - few) for way in set(rounds["way"])}
    for way in dict.fromkeys(rounds["way"]):
        found = {
            "ratio": wide[way, many] / wide["hooks", many],
            "token_ratio": slope[way] / slope["hooks"],
            "start_seconds": wide[way, few] - few * slope[way],
            "tokens_per_second": many / wide[way, many],
        }
        for quantity, values in found.items():
            x = values.to_numpy()
            low, high = np.quantile(np.median(x[picks], axis=1), [0.025, 0.975])
            value = {"value": float(np.median(x)), "low": float(low), "high": float(high)}
            rows.append({"way": way, "quantity": quantity, **value})
    return pd.DataFrame(rows)


def bare(model: nn.Module, ids: torch.Tensor, at: list, batch: int) -> None:
    """The decoder without its head, and a hook that keeps each site's value until its batch is done."""
    kept: dict[str, torch.Tensor] = {}
    stack = blocks(model)
    hooks = [_keeping(model, site, stack, kept) for site in at]
    base, device = model.base_model, model.get_input_embeddings().weight.device
    with torch.no_grad():
        for part in ids.split(batch):
            base(part.to(device), use_cache=False)
            kept.clear()
    for hook in hooks:
        hook.remove()


def _keeping(model: nn.Module, site: Site, stack: str, kept: dict[str, torch.Tensor]) -> Any:
    place = tap(model, site, stack)
    module = model.get_submodule(place.path)
    if place.side == "input":
        return module.register_forward_pre_hook(lambda _, args: kept.__setitem__(str(site), args[0]))
    return module.register_forward_hook(lambda _, args, output: kept.__setitem__(str(site), output))


def usual(model: nn.Module, ids: torch.Tensor, batch: int) -> None:
    """The model as it is usually called: with its head, asking for ``hidden_states``."""
    device = model.get_input_embeddings().weight.device
    with torch.no_grad():
        for part in ids.split(batch):
            model(part.to(device), use_cache=False, output_hidden_states=True)


def _seconds(work: Callable[[], object]) -> float:
    """Seconds on a GPU; on a processor, this process's own: what else the machine does is not counted."""
    on_gpu = torch.cuda.is_available()
    clock = time.perf_counter if on_gpu else time.process_time
    began = clock()
    work()
    if on_gpu:
        torch.cuda.synchronize()
    return clock() - began


def memory(chosen: Setting, n_batches: int) -> pd.DataFrame:
    """Resident memory after each batch of an extraction of single sequences.

    Columns: ``batch``, ``resident_mb``, ``extracted_mb`` (of activations so far: what would have grown, had
    they been kept).
    """
    model, ids = reading.model_of(chosen), _repeated(reading.packed(chosen).ids, n_batches)
    at, resident = reading.sites_of(chosen), []
    gc.collect()
    with tempfile.TemporaryDirectory() as folder:
        extract(
            model,
            ids,
            at,
            Path(folder) / "store",
            batch=1,
            shard_rows=4 * ids.shape[1],
            dtype=chosen["dtype"],
            progress=lambda done, total: resident.append(resident_mb()),
        )
    each = ids.shape[1] * sum(width(model, site) for site in at) * ITEM[chosen["dtype"]] / 1e6
    rows = enumerate(resident, start=1)
    return pd.DataFrame([{"batch": i, "resident_mb": mb, "extracted_mb": i * each} for i, mb in rows])


def resident_mb() -> float:
    """Memory of this process now, in megabytes, where the system tells (Linux), else its peak."""
    import os
    import resource

    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def _repeated(ids: torch.Tensor, n_sequences: int) -> torch.Tensor:
    """That many sequences, the given ones over and over."""
    return ids[torch.arange(n_sequences) % len(ids)]
