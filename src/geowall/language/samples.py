"""The tokens of the corpus that geometry is measured on, with their labels: the same for every table.

>>> packed_tokens.cache_info().maxsize
8
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float

from geowall.language import corpus, hub, labels
from geowall.language.activations import Site
from geowall.language.cache import activations_of
from geowall.language.store import Store
from geowall.language.tokens import Packed, pack


@lru_cache(maxsize=1)
def text() -> corpus.Corpus:
    """The part of the corpus that nothing was trained on and only geometry is measured on."""
    return corpus.load().split("geometry")


@lru_cache(maxsize=8)
def packed_tokens(model: str, sequences: int, seed: int = 0, context: int = 256) -> Packed:
    """Sequences of that part, in the model's own tokens."""
    return pack(text(), hub.tokenizer(model), context, sequences, seed)


def stored(model: str, sequences: int, seed: int, layers: tuple[int, ...], kind: str = "res") -> Store:
    """Activations of all tokens of those sequences but BOS, kept and shared between tables."""
    packed = packed_tokens(model, sequences, seed)
    return activations_of(
        model, packed.ids, [Site(kind, layer) for layer in layers], documents=packed.document
    )


@lru_cache(maxsize=4)
def labelled(model: str, sequences: int, seed: int) -> labels.Labels:
    """Class and coordinates of every token of those sequences."""
    return labels.label(packed_tokens(model, sequences, seed), text())


def draw(count: int, n: int, seed: int) -> np.ndarray:
    """``n`` of ``count`` rows in their order, without replacement; all where there are no more."""
    if n >= count:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, n, replace=False))


def with_bos(
    model: str, sequences: int, seed: int, layers: tuple[int, ...]
) -> dict[int, Float[torch.Tensor, "row d"]]:
    """Activations of the same tokens with BOS, for what it does to the summaries."""
    packed = packed_tokens(model, sequences, seed)
    sites = [Site("res", layer) for layer in layers]
    store = activations_of(model, packed.ids, sites, keep_bos=True)
    return {site.layer: torch.from_numpy(store.read(site)) for site in sites}
