"""An honest trigram model: interpolated Kneser-Ney smoothing with three discounts an order.

It sees the same packed sequences as a language model and is scored on the same tokens: all but the first of
a sequence, each given at most the two before it (Chen & Goodman 1999, section 3).

>>> ids = torch.tensor([[0, 1, 2, 3, 1, 2, 3, 1, 2, 3]])
>>> model = fit(ids, vocabulary=5)
>>> round(float(model.probability(torch.tensor([[1]]), torch.tensor([[2]]), torch.tensor([[3]]))), 2)
0.72
>>> every = torch.arange(5)
>>> round(float(model.probability(every * 0 + 1, every * 0 + 2, every).sum()), 6)
1.0
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Order:
    """Counts of one order: sorted n-grams and their discounted counts; per history its total and its share
    of mass left for the order below."""

    grams: np.ndarray
    counts: np.ndarray
    histories: np.ndarray
    totals: np.ndarray
    spare: np.ndarray


@dataclass(frozen=True)
class Trigram:
    """A fitted model: trigrams, bigrams and unigrams over ``vocabulary`` tokens."""

    vocabulary: int
    three: Order
    two: Order
    one: np.ndarray

    def probability(self, first: Tensor, second: Tensor, token: Tensor) -> Float[Tensor, "*shape"]:
        """Probability of ``token`` after ``first second``, in float64."""
        v = np.int64(self.vocabulary)
        a, b, c = (part.numpy().astype(np.int64) for part in (first, second, token))
        low = _interpolate(self.two, b, b * v + c, self.one[c])
        return torch.from_numpy(_interpolate(self.three, a * v + b, (a * v + b) * v + c, low))


def fit(ids: Int[Tensor, "sequence position"], vocabulary: int) -> Trigram:
    """Count the n-grams within sequences; BOS stands before itself where a history is short."""
    v = np.int64(vocabulary)
    a, b, c = (part.numpy().astype(np.int64).ravel() for part in _triples(ids))
    grams, counts = np.unique((a * v + b) * v + c, return_counts=True)
    # Below the top order a gram counts once for each token it was ever seen after.
    pairs, before = np.unique(grams % (v * v), return_counts=True)
    singles, ahead = np.unique(pairs % v, return_counts=True)
    unigram = np.zeros(vocabulary)
    unigram[singles] = ahead
    discount = 0.75 * len(singles)
    unigram = (np.maximum(unigram - 0.75, 0.0) + discount / vocabulary) / unigram.sum()
    return Trigram(vocabulary, _order(grams, counts, v), _order(pairs, before, v), unigram)


def loss(model: Trigram, ids: Int[Tensor, "sequence position"]) -> float:
    """Mean cross-entropy over every token but the first of each sequence, in nats."""
    return float(-model.probability(*_triples(ids)).log().mean())


def _triples(ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The two tokens before, and the token, of every place but the first."""
    longer = torch.cat([ids[:, :1], ids], dim=1)
    return longer[:, :-2], longer[:, 1:-1], longer[:, 2:]


def _order(grams: np.ndarray, counts: np.ndarray, v: np.int64) -> Order:
    """Discount the counts of an order, by how often they are seen (Chen & Goodman, equation 26)."""
    n1, n2, n3, n4 = (max(1, int((counts == times).sum())) for times in (1, 2, 3, 4))
    y = n1 / (n1 + 2.0 * n2)
    steps = np.clip([0.0, 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3], 0.0, [0, 1, 2, 3])
    taken = steps[np.minimum(counts, 3)]
    histories, where = np.unique(grams // v, return_inverse=True)
    totals = np.bincount(where, weights=counts)
    return Order(grams, counts - taken, histories, totals, np.bincount(where, weights=taken) / totals)


def _interpolate(order: Order, history: np.ndarray, gram: np.ndarray, low: np.ndarray) -> np.ndarray:
    """Discounted share of the gram, and the spare mass spread as the order below says."""
    h, known = _find(order.histories, history)
    g, seen = _find(order.grams, gram)
    share = np.where(seen, order.counts[g], 0.0) / order.totals[h]
    return np.where(known, share + order.spare[h] * low, low)


def _find(table: np.ndarray, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    place = np.minimum(np.searchsorted(table, keys), len(table) - 1)
    return place, table[place] == keys
