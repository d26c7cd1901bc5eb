"""How much of a layer's activations is nothing but the token: the simplest rival of geometry.

``token_identity(["lab-small"])`` has a row for each layer, with the share of the variance of activations that
the identity of their token explains (:func:`geowall.laws.ols.share_of_labels`).
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from geowall.language import samples
from geowall.language.activations import Site
from geowall.language.layer_geometry import n_layers
from geowall.laws.ols import share_of_labels

LAB = ("lab-small", "lab-large")  # whose weights are in the book


def token_identity(models: Sequence[str], sequences: int = 16, seed: int = 0) -> pd.DataFrame:
    """Return ``token_share`` of every layer of the lab's models among ``models``, on unseen text.

    ``sequences`` are of 256 tokens. Columns: model, layer, token_share, n_tokens.
    """
    made = []
    for model in (name for name in dict.fromkeys(models) if name in LAB):
        every = tuple(range(n_layers(model)))
        store = samples.stored(model, sequences, seed, every)
        ids = samples.packed_tokens(model, sequences, seed).ids.reshape(-1).numpy()[store.places]
        for layer in every:
            share = share_of_labels(store.read(Site("res", layer)), ids)
            made.append({"model": model, "layer": layer, "token_share": share, "n_tokens": len(ids)})
    return pd.DataFrame(made, columns=["model", "layer", "token_share", "n_tokens"])
