"""What chapter 04 reads: a model, a text packed for it, and the store of activations they give.

The setting is a plain dictionary, so that a chapter can hand it from table to table; it holds fingerprints of
the weights and of the text, so that a table made from others is never taken for this one's.
"""

from __future__ import annotations

import functools
import hashlib
import json
from pathlib import Path
from typing import Any

from torch import nn

from geowall.language import cache, corpus, hub, tokens
from geowall.language.sites import Site, sites
from geowall.language.store import Store
from geowall.language.tokens import Packed
from geowall.paths import GeowallError

Setting = dict[str, Any]


def setting(
    model: str,
    text: str,
    part: str,
    n_sequences: int,
    context: int,
    kinds: list[str],
    model_dtype: str,
    dtype: str,
    device: str,
    seed: int,
) -> Setting:
    """Everything that decides what is read.

    Args:
        model: a name that :func:`geowall.language.hub.find` knows.
        text: a corpus that :func:`geowall.language.corpus.load` knows.
        part: the part of it; ``all`` takes the whole.
        n_sequences: sequences drawn from it by ``seed``.
        context: tokens of each, BOS included.
        kinds: of sites: ``res``, ``att``, ``mlp``.
        model_dtype: precision of the model.
        dtype: precision of the store.
        device: where the model runs.
        seed: of the draw.

    Raises:
        GeowallError: the model cannot be had, or the residual stream is left out.
    """
    given = dict(locals())
    if "res" not in kinds:
        why = f"the chapter is about the residual stream, and kinds = {kinds} leaves it out"
        raise GeowallError("nothing was read", why, "add res to kinds")
    return given | {"weights": _stamp(hub.fetch(model)), "sha256": _corpus(text, part).sha256[:12]}


def packed(chosen: Setting) -> Packed:
    """The text, packed with the model's own tokenizer."""
    names = ("model", "text", "part", "context", "n_sequences", "seed")
    return _packed(*(chosen[name] for name in names))


def model_of(chosen: Setting) -> nn.Module:
    """The model."""
    return cache.loaded(chosen["model"], chosen["model_dtype"], chosen["device"])


def sites_of(chosen: Setting) -> list[Site]:
    """Every site of the kinds asked for."""
    return sites(model_of(chosen), chosen["kinds"])


def store_of(chosen: Setting) -> Store:
    """The activations, special tokens included, extracted now or taken from the shared cache."""
    return _store(json.dumps(chosen, sort_keys=True))


@functools.lru_cache(maxsize=2)
def _store(stamp: str) -> Store:
    chosen = json.loads(stamp)
    text = packed(chosen)
    return cache.activations_of(
        chosen["model"],
        text.ids,
        sites_of(chosen),
        documents=text.document,
        model_dtype=chosen["model_dtype"],
        device=chosen["device"],
        dtype=chosen["dtype"],
        special=[text.bos],
        n_special=len(text),
        keep_bos=True,
    )


@functools.lru_cache(maxsize=2)
def _packed(model: str, text: str, part: str, context: int, n_sequences: int, seed: int) -> Packed:
    return tokens.pack(_corpus(text, part), hub.tokenizer(model), context, n_sequences, seed)


@functools.lru_cache(maxsize=2)
def _corpus(text: str, part: str) -> corpus.Corpus:
    whole = corpus.load(text)
    return whole if part == "all" else whole.split(part)


def _stamp(folder: Path) -> str:
    """Fingerprint of a model's files; a snapshot of the hub is named by one already."""
    if folder.parent.name == "snapshots":
        return folder.name[:12]
    hashed = hashlib.sha256()
    for path in sorted(folder.glob("*")):
        if path.suffix in (".safetensors", ".json"):
            with path.open("rb") as file:
                hashed.update(path.name.encode() + hashlib.file_digest(file, "sha256").digest())
    return hashed.hexdigest()[:12]
