"""The lab: two small language models of the Gemma 2 architecture, and where they lie.

>>> sorted(MODELS), MODELS["lab-small"].layers
(['lab-large', 'lab-small'], 12)
>>> config(MODELS["lab-small"]).layer_types[:2]
['sliding_attention', 'full_attention']
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoTokenizer, Gemma2Config, Gemma2ForCausalLM, PreTrainedTokenizerFast

from geowall.language.tokens import SPECIAL, VOCABULARY
from geowall.paths import ROOT, GeowallError

FOLDER = ROOT / "data" / "lab"


@dataclass(frozen=True)
class Spec:
    """Size of a model of the lab and how it is trained: a cosine over ``tokens`` that peaks at ``lr``."""

    layers: int
    d_model: int
    heads: int
    groups: int
    d_head: int
    d_mlp: int
    context: int = 256
    window: int = 64
    vocabulary: int = VOCABULARY
    batch: int = 8
    lr: float = 6e-3
    tokens: int = 4_000_000
    seed: int = 0


MODELS = {
    "lab-small": Spec(layers=12, d_model=96, heads=4, groups=2, d_head=24, d_mlp=288),
    "lab-large": Spec(
        layers=20, d_model=160, heads=4, groups=2, d_head=40, d_mlp=480, lr=4e-3, tokens=2_400_000
    ),
}


def spec(name: str) -> Spec:
    """The size of a model by its name.

    Raises:
        GeowallError: if the lab has no such model.
    """
    if name not in MODELS:
        raise GeowallError("no such model of the lab", f"{name!r} is not known", f"use {' or '.join(MODELS)}")
    return MODELS[name]


def config(spec: Spec) -> Gemma2Config:
    """Gemma 2 in full, smaller: local and global attention in turn, grouped queries, both soft caps, GeGLU,
    norms before and after each block, tied and scaled embeddings (Gemma Team 2024, arXiv 2408.00118)."""
    pad, eos, bos = range(len(SPECIAL))
    return Gemma2Config(
        vocab_size=spec.vocabulary,
        hidden_size=spec.d_model,
        intermediate_size=spec.d_mlp,
        num_hidden_layers=spec.layers,
        num_attention_heads=spec.heads,
        num_key_value_heads=spec.groups,
        head_dim=spec.d_head,
        query_pre_attn_scalar=spec.d_head,
        max_position_embeddings=spec.context,
        sliding_window=spec.window,
        pad_token_id=pad,
        eos_token_id=eos,
        bos_token_id=bos,
        tie_word_embeddings=True,
        attn_implementation="eager",  # the soft cap on attention scores exists in this one alone
    )


def make(spec: Spec) -> Gemma2ForCausalLM:
    """An untrained model, the same for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(spec.seed)
        return Gemma2ForCausalLM(config(spec)).float()


def load(
    name: str, folder: Path = FOLDER, dtype: torch.dtype = torch.float32
) -> tuple[Gemma2ForCausalLM, PreTrainedTokenizerFast]:
    """A trained model of the lab, in evaluation mode, and its tokenizer; nothing is downloaded.

    Raises:
        GeowallError: if it was not trained on this machine and is not in the book.
    """
    place = folder / name
    if not (place / "config.json").exists():
        what = f"the language model {name!r} was not loaded"
        raise GeowallError(what, f"there is no config.json in {place}", f"geowall lab train --model {name}")
    options = {"local_files_only": True}
    model = Gemma2ForCausalLM.from_pretrained(place, dtype=dtype, attn_implementation="eager", **options)
    return model.eval().requires_grad_(False), AutoTokenizer.from_pretrained(place, **options)
