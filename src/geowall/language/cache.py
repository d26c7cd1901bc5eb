"""Stores of activations that several chapters share: made once, under a name that says what they hold.

A store lies in ``runs/activations/<model>-<key>``, where the key is a hash of the model's weights, the
tokens, the sites and the options, so chapters that ask for the same activations read the same files. While
one run makes a store, another that wants it waits and then reuses it; what a killed run left is gone on with.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from torch import nn

from geowall.language import hub
from geowall.language.activations import Site, batch_for, extract
from geowall.language.store import Store
from geowall.language.writer import LAYOUT
from geowall.paths import ROOT


def folder() -> Path:
    """Where shared stores lie: ``GEOWALL_ACTIVATIONS``, or ``runs/activations`` of the book."""
    return Path(os.environ.get("GEOWALL_ACTIVATIONS") or ROOT / "runs" / "activations")


@functools.lru_cache(maxsize=1)
def loaded(name: str, dtype: str = "float32", device: str = "auto") -> nn.Module:
    """The model, kept in memory until another is asked for (see :func:`geowall.language.hub.load`)."""
    return hub.load(name, dtype, device)


def activations_of(
    name: str,
    tokens: Int[Any, "sequence position"],
    sites: Iterable[Site],
    *,
    model_dtype: str = "float32",
    device: str = "auto",
    documents: Int[Any, "sequence position"] | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    **options: Any,
) -> Store:
    """Return the activations of ``tokens`` in the model ``name``, extracted now or before.

    Args:
        name: a model that :func:`geowall.language.hub.load` knows.
        tokens: ids, packed without padding.
        sites: what to read.
        model_dtype: precision the model computes in (``dtype`` is what the store keeps).
        device: see :func:`geowall.language.hub.load`.
        documents: each token's document.
        progress: told the rows done and the rows to do.
        **options: of :func:`geowall.language.activations.extract`.
    """
    model, sites = loaded(name, model_dtype, device), sorted(set(sites))
    ids = torch.as_tensor(tokens).long().contiguous()
    options.setdefault("batch", batch_for(model, ids.shape[1]))
    asked = [name, hub.digest(model), list(map(str, sites)), list(ids.shape), sorted(options.items()), LAYOUT]
    hashed = hashlib.sha256(json.dumps(asked, default=str).encode())
    for array in (ids, documents):
        if array is not None:
            hashed.update(torch.as_tensor(array).long().contiguous().numpy().tobytes())
    place = folder() / f"{Path(name).name}-{hashed.hexdigest()[:12]}"
    return extract(model, ids, sites, place, documents=documents, name=name, progress=progress, **options)
