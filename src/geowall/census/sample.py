"""The tokens a census is taken on: an activation store, how many of its rows, and what is known of each.

A sample is a few words that travel to any worker; whoever opens it reads the same rows:

>>> here, there = Sample("runs/activations/a-store", rows=4096), Sample("elsewhere/a-store", rows=4096)
>>> here.stamp == there.stamp, here.stamp == Sample("runs/activations/a-store", rows=4096, seed=1).stamp
(True, False)
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Int

from geowall.kernels.evaluate import Tokens
from geowall.language.sites import Site
from geowall.language.store import Store


@dataclass(frozen=True)
class Sample:
    """Rows of an activation store, drawn without replacement by ``seed``; ``rows = 0`` takes all.

    ``labels`` is a parquet file with a row for each row of the store: any categories and coordinates of its
    tokens, by which errors are told apart. ``name`` stands for the store in durable results, so that a store
    may lie elsewhere on another machine; the name of its folder by default.
    """

    store: str
    rows: int = 0
    seed: int = 0
    labels: str = ""
    name: str = ""

    @property
    def stamp(self) -> str:
        """What makes two samples the same tokens: the store's name, how many rows, which draw."""
        name = self.name or Path(self.store).name
        return hashlib.sha256(json.dumps([name, self.rows, self.seed]).encode()).hexdigest()[:12]

    @cached_property
    def opened(self) -> Store:
        """The store."""
        return Store.open(self.store)

    @cached_property
    def places(self) -> Int[np.ndarray, " token"]:
        """Which rows of the store, in its order."""
        total = self.opened.rows
        if not self.rows or self.rows >= total:
            return np.arange(total)
        return np.sort(np.random.default_rng(self.seed).permutation(total)[: self.rows])

    def tokens(self, layer: int, site: str) -> Tokens:
        """Activations of one site, ready for every checkpoint trained on it."""
        place = Site(site, layer)
        rows = None if len(self.places) == self.opened.rows else self.places
        return Tokens(torch.from_numpy(np.ascontiguousarray(self.opened.read(place, rows))))

    @cached_property
    def documents(self) -> Int[np.ndarray, " token"]:
        """Document of each token, numbered from zero; a document of its own where the store does not say."""
        index = self.opened.index
        if "document" not in index:
            return np.arange(len(self.places))
        return pd.factorize(index["document"].to_numpy()[self.places])[0]

    @cached_property
    def known(self) -> pd.DataFrame:
        """Labels of the sampled tokens: no column where there are none."""
        if not self.labels:
            return pd.DataFrame(index=range(len(self.places)))
        return pd.read_parquet(self.labels).iloc[self.places].reset_index(drop=True)
