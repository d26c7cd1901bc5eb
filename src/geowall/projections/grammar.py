"""A language whose every word's part of speech is known: a probabilistic grammar of English-like sentences.

The rules are those of Hindupur et al. 2025 (appendix): noun and verb phrases that nest, ten words for each of
six parts of speech. Sentences are packed one after the other behind a first token.

>>> text = sample(3, 16, seed=0)
>>> text.ids.shape, bool((text.ids[:, 0] == BOS).all()), int(text.parts.max()) < len(PARTS)
(torch.Size([3, 16]), True, True)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

PARTS = ("pronoun", "noun", "adjective", "conjunction", "verb", "adverb")
WORDS = 10  # of each part of speech, equally frequent
PAD, EOS, BOS = 0, 1, 2  # as in every tokenizer of the lab
VOCABULARY = 3 + len(PARTS) * WORDS
DEEPEST = 12  # phrases within phrases; deeper ones end at once

NOUN_PHRASES = {
    ("pronoun",): 0.20,
    ("noun",): 0.20,
    ("NP", "conjunction", "NP"): 0.15,
    ("adjective", "noun"): 0.45,
}
VERB_PHRASES = {
    ("VP", "conjunction", "VP"): 0.15,
    ("VP", "adverb"): 0.45,
    ("verb", "NP"): 0.20,
    ("verb",): 0.20,
}
RULES = {"S": {("NP", "VP"): 1.0}, "NP": NOUN_PHRASES, "VP": VERB_PHRASES}


@dataclass(frozen=True)
class Text:
    """Token ids, and the part of speech of each (-1: none)."""

    ids: Int[Tensor, "sequence position"]
    parts: Int[Tensor, "sequence position"]


def sentence(rng: np.random.Generator, symbol: str = "S", depth: int = 0) -> list[int]:
    """Parts of speech of one expansion of a symbol."""
    if symbol in PARTS:
        return [PARTS.index(symbol)]
    rules = [(rhs, p) for rhs, p in RULES[symbol].items() if depth < DEEPEST or symbol not in rhs]
    weights = np.array([p for _, p in rules])
    chosen = rules[rng.choice(len(rules), p=weights / weights.sum())][0]
    return [part for child in chosen for part in sentence(rng, child, depth + 1)]


def sample(n_sequences: int, context: int, seed: int) -> Text:
    """Sequences of ``context`` tokens: the first token, then sentences that end with one of their own."""
    rng = np.random.default_rng(seed)
    ids, parts = [], []
    while len(ids) < n_sequences * (context - 1):
        own = sentence(rng)
        words = rng.integers(WORDS, size=len(own))
        ids += [3 + WORDS * part + int(word) for part, word in zip(own, words, strict=True)] + [EOS]
        parts += [*own, -1]
    shape, first = (n_sequences, context - 1), torch.full((n_sequences, 1), BOS)
    tokens, labels = (torch.tensor(v[: n_sequences * (context - 1)]).view(shape) for v in (ids, parts))
    return Text(torch.cat([first, tokens], dim=1), torch.cat([torch.full_like(first, -1), labels], dim=1))
