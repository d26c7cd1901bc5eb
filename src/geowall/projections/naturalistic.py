"""Syntactic classes in a language model trained on real text, or any labelled activations of the reader's.

The source is a model of the lab (its activations on text that it never saw, labelled by Python's own
tokenizer), or an ``npz`` file (:func:`geowall.projections.banks.save`), which is also how activations of a
vision model come in (:mod:`geowall.projections.vision`).

>>> title("lab-small", 6), title("mine/vit.npz", 0)
('lab-small, after block 6', 'vit')
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import torch

from geowall.language import cache, corpus, lab, labels, tokens
from geowall.language.activations import Site
from geowall.paths import ROOT
from geowall.projections import banks

TOP = 5  # best latents of a class whose F1 is averaged


def title(source: str, layer: int) -> str:
    """What a source is called on the page."""
    return Path(source).stem if source.endswith(".npz") else f"{source}, after block {layer}"


@functools.lru_cache(maxsize=2)
def bank(source: str, layer: int, n_tokens: int, seed: int) -> banks.Bank:
    """Activations with labels of a source.

    Raises:
        GeowallError: if there is no such model of the lab, or no such file.
    """
    if source.endswith(".npz"):
        return banks.load(ROOT / source)
    _, tokenizer = lab.load(source)
    part = corpus.load().split("sae")
    context = lab.spec(source).context
    packed = tokens.pack(part, tokenizer, context, limit=-(-n_tokens // (context - 1)), seed=seed)
    classes = labels.label(packed, part).token_class.reshape(-1)
    site = Site("res", layer)
    store = cache.activations_of(source, packed.ids, [site], documents=packed.document)
    x, here = torch.from_numpy(store.read(site)), classes[torch.from_numpy(store.places)]
    names = list(labels.CLASSES)
    return banks.Bank(x, banks.one_hot(here.long(), len(names)), names, title(source, layer))


def naturalistic(
    strengths: Mapping[str, Sequence[float]],
    seeds: Sequence[int],
    n_latents: int,
    data: Mapping[str, object],
    **training: object,
) -> pd.DataFrame:
    """A row for each autoencoder and class (:func:`geowall.projections.banks.scores`).

    ``data`` holds ``source``, ``layer``, ``n_tokens`` and ``seed``; classes that no scored token has are left
    out.
    """
    given = bank(str(data["source"]), int(data["layer"]), int(data["n_tokens"]), int(data["seed"]))
    table = banks.scores(given, strengths, seeds, n_latents, TOP, **training)
    share = given.tested()[1].float().mean(0)
    present = [name for name, value in zip(given.names, share.tolist(), strict=True) if value > 0.002]
    return table[table["concept"].isin(present)].reset_index(drop=True)
