"""Parts of speech in a small transformer that learnt a formal language (Hindupur et al. 2025, figure 7).

>>> model, losses = trained_model(16, 20, seed=0)
>>> model.config.num_hidden_layers, len(losses) > 1, bool(losses["loss"].iloc[-1] < losses["loss"].iloc[0])
(2, True, True)
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from geowall.language import lab
from geowall.language.activations import Site, collect
from geowall.projections import banks, grammar
from geowall.sae.schedule import derive

CONTEXT, BATCH, HEADS = 64, 16, 2
COUNTED = 80_000  # tokens that n-grams are counted on
EVERY = 10  # steps between two rows of the training's table
MIDDLE = Site("res", 0)  # between the two blocks
TOP = 10  # best latents of a part of speech whose F1 is averaged


def spec(d_model: int, seed: int) -> lab.Spec:
    """Two layers, two heads; one optimisation step sees 1,024 tokens."""
    return lab.Spec(
        layers=2,
        d_model=d_model,
        heads=HEADS,
        groups=HEADS,
        d_head=d_model // HEADS,
        d_mlp=2 * d_model,
        context=CONTEXT,
        window=CONTEXT,
        vocabulary=grammar.VOCABULARY,
        seed=seed,
    )


@functools.lru_cache(maxsize=4)
def trained_model(d_model: int, steps: int, seed: int) -> tuple[nn.Module, pd.DataFrame]:
    """The transformer, and its loss on the way: columns step, loss (nats a token, each on fresh text)."""
    model = lab.make(spec(d_model, seed)).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1.0, weight_decay=0.01)
    text, rows, window = grammar.sample(steps * BATCH, CONTEXT, derive(seed, "grammar")).ids, [], []
    for step, ids in enumerate(text.view(steps, BATCH, CONTEXT)):
        warm = min(1.0, (step + 1) / (0.1 * steps))
        optimiser.param_groups[0]["lr"] = 3e-3 * warm * 0.5 * (1.0 + np.cos(np.pi * step / steps))
        loss = _loss(model, ids)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        window.append(float(loss.detach()))
        if len(window) == EVERY or step + 1 == steps:
            rows.append((step + 1, float(np.mean(window))))
            window = []
    return model.eval().requires_grad_(False), pd.DataFrame(rows, columns=["step", "loss"])


def _loss(model: nn.Module, ids: torch.Tensor) -> torch.Tensor:
    logits = model(input_ids=ids[:, :-1]).logits
    return cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())


def losses(d_model: int, steps: int, seed: int) -> pd.DataFrame:
    """The model's loss beside what needs no model, in nats a token. Columns: step, loss, source.

    ``source`` is ``transformer``, or ``unigram`` and ``bigram``, counted on ``COUNTED`` tokens and scored on
    others.
    """
    table = trained_model(d_model, steps, seed)[1].assign(source="transformer")
    counted = grammar.sample(COUNTED // CONTEXT, CONTEXT, derive(seed, "counts")).ids.numpy()
    fresh = grammar.sample(COUNTED // 4 // CONTEXT, CONTEXT, derive(seed, "scores")).ids.numpy()
    pairs = np.ones((grammar.VOCABULARY, grammar.VOCABULARY)) * 0.01
    np.add.at(pairs, (counted[:, :-1].ravel(), counted[:, 1:].ravel()), 1.0)
    single = np.log(pairs.sum(0) / pairs.sum())
    double = np.log(pairs / pairs.sum(1, keepdims=True))
    before, after = fresh[:, :-1].ravel(), fresh[:, 1:].ravel()
    flat = [(steps, -single[after].mean(), "unigram"), (steps, -double[before, after].mean(), "bigram")]
    return pd.concat([table, pd.DataFrame(flat, columns=["step", "loss", "source"])], ignore_index=True)


@functools.lru_cache(maxsize=4)
def bank(d_model: int, steps: int, n_tokens: int, seed: int) -> banks.Bank:
    """Activations between the two blocks, with the part of speech of each token; first tokens left out."""
    model, _ = trained_model(d_model, steps, seed)
    text = grammar.sample(-(-n_tokens // (CONTEXT - 1)), CONTEXT, derive(seed, "activations"))
    x = collect(model, text.ids, [MIDDLE])[MIDDLE][:, 1:]
    labels = text.parts[:, 1:].reshape(-1)
    rows = torch.from_numpy(np.ascontiguousarray(x.reshape(len(labels), -1)))
    return banks.Bank(rows, banks.one_hot(labels, len(grammar.PARTS)), list(grammar.PARTS), "formal language")


def formal_language(
    strengths: Mapping[str, Sequence[float]],
    seeds: Sequence[int],
    n_latents: int,
    model: Mapping[str, int],
    **training: object,
) -> pd.DataFrame:
    """A row for each autoencoder and part of speech (:func:`geowall.projections.banks.scores`).

    ``model`` holds the transformer's ``d_model``, ``steps`` and ``seed``, and ``n_tokens`` to read.
    """
    given = bank(model["d_model"], model["steps"], model["n_tokens"], model["seed"])
    return banks.scores(given, strengths, seeds, n_latents, TOP, **training)
