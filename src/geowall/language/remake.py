"""Remaking a model of the lab from the corpus: tokenizer, training, judgement, and the files that stay.

The folder holds what the Hugging Face library reads, in bfloat16 and in pieces of at most 4 MB, and
``provenance.json``, which says what was trained on what and how well it predicts. A model counts as trained
when its held-out loss is clearly below a trigram model's on the same tokens.

>>> verdict(3.2, 4.0), verdict(3.98, 4.0)
('trained', 'not trained: its loss is not clearly below the trigram model')
"""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from transformers import Gemma2ForCausalLM, PreTrainedTokenizerFast

from geowall.language import corpus, lab, tokens, training, trigram

MARGIN = 0.1  # nats by which a trained model is better than the trigram one
SHARD = "4MB"


def remake(
    name: str,
    source: str = "stdlib",
    budget: int | None = None,
    minutes: float | None = None,
    out: Path = lab.FOLDER,
    work: Path | None = None,
    device: str = "cpu",
    on_step: Callable[[training.Record], None] | None = None,
) -> dict[str, Any]:
    """Train a model of the lab and write it to ``out/name``; return its provenance.

    Args:
        name: ``lab-small`` or ``lab-large``.
        source: the corpus, see :func:`geowall.language.corpus.load`.
        budget: tokens to train on, those of the model's specification by default.
        minutes: a budget of time instead.
        out: the folder of the lab.
        work: where checkpoints lie; a call with the same one goes on from them.
        device: ``cpu`` or ``cuda``.
        on_step: called after every step.
    """
    spec, text = lab.spec(name), corpus.load(source)
    parts = {
        part: len(text.split(part).documents) for part in corpus.PARTS
    }  # none may be empty: refused here
    tokenizer = tokens.train_tokenizer(text.split("language"), spec.vocabulary)
    seen = tokens.pack(text.split("language"), tokenizer, spec.context).ids
    unseen = tokens.pack(text.split("held_out"), tokenizer, spec.context).ids
    model, record = training.train(spec, seen, budget, minutes, work, device, on_step=on_step)
    model = model.to(torch.bfloat16)
    place = _save(model, tokenizer, out / name)
    losses = {
        "held_out_loss": training.held_out_loss(model.float(), unseen),
        "trigram_loss": trigram.loss(trigram.fit(seen, spec.vocabulary), unseen),
    }
    made = {
        "model": name,
        "verdict": verdict(losses["held_out_loss"], losses["trigram_loss"]),
        **{key: round(value, 4) for key, value in losses.items()},
        "held_out_tokens": unseen[:, 1:].numel(),
        "parameters": sum(value.numel() for value in model.parameters()),
        "specification": asdict(spec),
        "tokens_seen": record.tokens,
        "tokens_of_corpus": seen.numel(),
        "steps": record.steps,
        "seconds": round(record.seconds),
        "device": _device(device),
        "corpus": {"source": source, "version": text.version, "sha256": text.sha256},
        "parts": parts,
        "seen": "the part `language` and nothing else",
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("torch", "transformers", "tokenizers")},
    }
    (place / "provenance.json").write_text(json.dumps(made, indent=2) + "\n")
    return made


def verdict(held_out: float, baseline: float) -> str:
    """Whether a model counts as trained."""
    fine = held_out < baseline - MARGIN
    return "trained" if fine else "not trained: its loss is not clearly below the trigram model"


def _save(model: Gemma2ForCausalLM, tokenizer: PreTrainedTokenizerFast, place: Path) -> Path:
    """Write model and tokenizer beside the old folder, then put them in its place."""
    beside = place.with_name(f".{place.name}")
    shutil.rmtree(beside, ignore_errors=True)
    model.save_pretrained(beside, max_shard_size=SHARD)
    for path in beside.glob("*.safetensors"):
        path.chmod(0o644)  # the library writes them for their owner alone
    tokenizer.save_pretrained(beside)
    shutil.rmtree(place, ignore_errors=True)
    beside.rename(place)
    return place


def _device(device: str) -> str:
    if device.startswith("cuda"):
        return torch.cuda.get_device_name()
    threads = torch.get_num_threads()
    return f"CPU ({platform.machine()}), {threads} thread{'s' if threads > 1 else ''}"
