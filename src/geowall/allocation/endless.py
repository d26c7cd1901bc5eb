"""A dictionary shared among a trillion features: power-law frequencies and one power-law loss.

Nothing is stored per feature. The hyperbola is split as in :mod:`geowall.allocation.markets`, both halves
have closed forms, and the exact optimum at a trillion latents takes milliseconds.

>>> share = allocate_zipf(1_000, alpha=0.5, beta=0.5)
>>> share.n_discovered, share.latents(np.array([1, 2, 3, 200])).tolist()
(174, [174, 87, 58, 0])
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt

import numpy as np
from jaxtyping import Int

from geowall.allocation.asymptotics import continuous_discovered, regime
from geowall.allocation.exact import LARGEST, bracket, whole
from geowall.allocation.losses import PowerLoss
from geowall.allocation.markets import SharedMarket
from geowall.allocation.zetas import zeta, zeta_tail
from geowall.kernels.apportion import zipf_columns, zipf_rows


class ZipfMarket(SharedMarket):
    """A :class:`SharedMarket` with probabilities ``i^-(1+alpha) / zeta(1+alpha)``, i = 1 .. n_features."""

    def __init__(self, alpha: float, loss: PowerLoss, cap: int, n_features: int) -> None:
        self.alpha, self.loss, self.gain, self.cap, self.n_features = alpha, loss, loss.gain, cap, n_features
        self.p_one, self.first = 1.0 / zeta(1.0 + alpha), float(loss.first)
        d = float(min(continuous_discovered(cap, alpha, float(loss.beta)), n_features))
        g = (1 + alpha) / (1 + float(loss.beta))
        # Split where as many features hold n latents as n: that is where rows and columns cost the same.
        rows = min(isqrt(cap) + 1, int(1.1 * d ** (g / (1 + g))) + 16)
        self.gains = np.asarray(loss.gain(np.arange(1, rows + 1)))
        self.unit = (self.p_one * self.gains) ** (1.0 / (1.0 + alpha))
        self.top, self.guess = self.p_one * self.first, float(self._p(np.array(d - 1)) * self.first)
        self._rank_p, self._weight = np.empty(0), np.empty(0)

    def _p(self, i: np.ndarray) -> np.ndarray:
        return self.p_one * (np.asarray(i, dtype=float) + 1.0) ** (-1.0 - self.alpha)

    def _rows(self, price: float) -> Int[np.ndarray, " row"]:
        return zipf_rows(self.unit, self.gains, self.p_one, self.alpha, price, self.n_features)

    def _columns(self, price: float, size: int) -> Int[np.ndarray, " column"]:
        beta = float(self.loss.beta)
        if size > self._weight.size:
            self._rank_p = self._p(np.arange(size + size // 8 + 1))
            self._weight = (self._rank_p * beta) ** (1.0 / (1.0 + beta))
        kind = self.first, self.loss.shift, self.loss.saturation, price, max(self.cap, self.gains.size)
        return zipf_columns(self._weight[:size], self._rank_p[:size], beta, *kind)

    def _narrow(self, state: object) -> None:
        """Closed forms need no brackets."""


@dataclass(frozen=True)
class ZipfAllocation:
    """The optimum in compact form.

    ``reach[n-1]`` features hold at least n latents, for n up to ``len(reach)``; ``head`` are the latents of
    the features that hold at least ``len(reach)``, the most frequent first.
    """

    d_sae: int
    market: ZipfMarket
    reach: Int[np.ndarray, " row"]
    head: Int[np.ndarray, " column"]

    @property
    def n_discovered(self) -> int:
        """Features with at least one latent."""
        return int(self.reach[0])

    @property
    def efficiency(self) -> float:
        """Features discovered per latent."""
        return self.n_discovered / self.d_sae

    @property
    def n_first(self) -> int:
        """Latents on the most frequent feature."""
        return int(self.latents(np.array([1]))[0])

    @property
    def total(self) -> int:
        """Latents given out."""
        return int(self.reach.sum()) + int((self.head - self.reach.size).sum())

    def latents(self, rank: Int[np.ndarray, "*n"]) -> Int[np.ndarray, "*n"]:
        """Latents of the features at ``rank`` (1 is the most frequent)."""
        rank = np.asarray(rank)
        n = self.reach.size - np.searchsorted(self.reach[::-1], rank)
        if not self.head.size:
            return n
        return np.where(rank <= self.head.size, self.head[np.minimum(rank, self.head.size) - 1], n)

    def loss(self) -> float:
        """``sum_i p_i L(n_i)``, summed by latents below the split and by features above it."""
        market, rows = self.market, self.reach.size
        s, columns = 1.0 + market.alpha, self.head.size
        beyond = zeta_tail(s, market.n_features) if market.n_features < LARGEST else 0.0
        tails = market.p_one * (zeta_tail(s, np.maximum(self.reach, columns)) - beyond)
        rest = float(market.loss(rows)) * market.p_one * (zeta_tail(s, columns) - beyond)
        rich = market._p(np.arange(columns)) @ market.loss(self.head)
        return float(rich + market.gains @ tails + rest)

    def margins(self) -> tuple[float, float]:
        """(smallest gain held, largest gain missed): at the optimum the first is no less."""
        i, n = np.arange(self.head.size), np.arange(1, self.reach.size + 1)
        held = np.where(self.reach > 0, self.market._p(self.reach - 1) * self.market.gains, np.inf)
        missed = np.where(
            self.reach < self.market.n_features, self.market._p(self.reach) * self.market.gains, 0.0
        )
        p, last = self.market._p(i), max(n.size, 1)
        rich_held = np.where(self.head > last, p * self.market.gain(self.head), np.inf)
        rich_missed = p * self.market.gain(self.head + 1)
        return min(held.min(), rich_held.min(initial=np.inf)), max(missed.max(), rich_missed.max(initial=0.0))


def allocate_zipf(
    d_sae: int,
    alpha: float,
    beta: float,
    *,
    n_features: int | None = None,
    convention: str = "cutoff",
    l_zero: float | None = None,
    n_sat: int | None = None,
) -> ZipfAllocation:
    """Exact sharing of ``d_sae`` latents among features of one power-law loss.

    ``n_features`` None means endlessly many.

    Equal to :func:`geowall.allocation.allocate` where that fits in memory (arXiv 2509.02565, section 2).

    Raises:
        GeowallError: ``d_sae`` is not a whole number in [1, 1e13], ``alpha`` or ``beta`` is not positive,
            or the convention for L(0) is unknown.
    """
    cap = whole(d_sae, "d_sae", 1)
    regime(alpha, beta)
    loss = PowerLoss(float(beta), convention, l_zero, n_sat)
    market = ZipfMarket(
        float(alpha), loss, cap, LARGEST if n_features is None else whole(n_features, "n_features", 1)
    )
    high, low = bracket(market, cap, market.guess)
    gains, i, n = market.between(high, low)
    chosen = np.lexsort((i, -gains))[: cap - high.total]
    i, n, rows = i[chosen], n[chosen], market.gains.size
    reach = high.reach.copy()
    np.add.at(reach, n[n <= rows] - 1, 1)
    head = np.full(reach[-1], rows)
    head[: high.head.size] = high.head
    np.add.at(head, i[n > rows], 1)
    return ZipfAllocation(cap, market, reach, head)
