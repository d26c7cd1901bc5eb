"""Features as bidders: at a price, how many latents each of them earns.

Each market answers ``at(price)`` with a state (how many latents are sold) and lists the gains that lie
between two states. Three kinds differ in what they know of the losses and so in what a question costs:

* :class:`TableMarket`, a table of gains per feature: a binary search per feature;
* :class:`PowerMarket`, a power law per feature: one logarithm per feature;
* :class:`SharedMarket`, one loss shared by all: the hyperbola split at ``sqrt(N)`` latents.

Split of the hyperbola: fewer than ``sqrt(N)`` features can hold more than ``sqrt(N)`` of N latents. So count,
for each n up to ``sqrt(N)``, the features that hold at least n (rows), and add what the few richest hold
beyond (columns): about ``sqrt(N)`` searches instead of one a feature or one a latent.

>>> market = TableMarket(np.array([[0.5, 0.2], [0.3, 0.1]]))
>>> market.at(0.25).total, market.allocation(market.at(0.25)).tolist()
(2, [1, 1])
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt

import numpy as np
from jaxtyping import Float, Int

from geowall.allocation.losses import PowerLoss
from geowall.kernels.apportion import (
    power_counts,
    power_gain,
    reach_rows,
    shared_power_counts,
    spread,
    table_counts,
)
from geowall.paths import GeowallError

Gains = Float[np.ndarray, " candidate"]
Ranks = Int[np.ndarray, " candidate"]


@dataclass(frozen=True)
class State:
    """What is sold at a price: ``counts`` [feature], or ``reach`` [row] and ``head`` [column]."""

    price: float
    total: int
    counts: Int[np.ndarray, " feature"] | None = None
    reach: Int[np.ndarray, " row"] | None = None
    head: Int[np.ndarray, " column"] | None = None


class DenseMarket:
    """A market whose state is the whole allocation; subclasses give ``_counts`` and ``_gain``."""

    def at(self, price: float, full: bool = True) -> State:
        """State at a price; dense markets always answer in full."""
        counts = self._counts(price)
        return State(price, int(counts.sum()), counts)

    def between(self, high: State, low: State) -> tuple[Gains, Ranks, Ranks]:
        """Gains between two states: (gain, feature, the how-manieth latent)."""
        i = np.repeat(np.arange(high.counts.size), low.counts - high.counts)
        n = high.counts[i] + 1 + _places(low.counts - high.counts)
        return self._gain(i, n), i, n

    def allocation(self, state: State) -> Int[np.ndarray, " feature"]:
        """Latents of each feature, in the caller's order."""
        return state.counts.copy()


class TableMarket(DenseMarket):
    """Features with a table of gains each, [feature, n_max], rows never rising."""

    def __init__(self, gains: Float[np.ndarray, "feature n_max"]) -> None:
        self.gains = np.ascontiguousarray(gains)
        self.top = float(gains.max(initial=0.0))

    def _counts(self, price: float) -> Int[np.ndarray, " feature"]:
        return table_counts(self.gains, price)

    def _gain(self, i: Ranks, n: Ranks) -> Gains:
        return self.gains[i, n - 1]


class PowerMarket(DenseMarket):
    """Features with a :class:`PowerLoss` whose beta or saturation differs from feature to feature."""

    def __init__(self, p: Float[np.ndarray, " feature"], loss: PowerLoss, cap: int) -> None:
        def each(value: object, kind: type) -> np.ndarray:
            if np.ndim(value) and np.shape(value) != p.shape:
                why = f"{p.size} features, but beta or n_sat has shape {np.shape(value)}"
                raise GeowallError(
                    "the losses have the wrong length", why, "give one value a feature, or one"
                )
            return np.ascontiguousarray(np.broadcast_to(np.asarray(value, dtype=kind), p.shape))

        self.p, self.shift, self.cap = p, loss.shift, cap
        self.beta, self.first = each(loss.beta, float), each(loss.first, float)
        self.n_sat = each(loss.saturation, np.int64)
        self.top = float((p * self.first).max(initial=0.0))

    def _counts(self, price: float) -> Int[np.ndarray, " feature"]:
        return power_counts(self.p, self.beta, self.first, self.shift, self.n_sat, price, self.cap)

    def _gain(self, i: Ranks, n: Ranks) -> Gains:
        return self.p[i] * power_gain(n, self.beta[i], self.first[i], self.shift, self.n_sat[i])


class SharedMarket:
    """Features sorted by probability (``p`` never rises) that share one loss, given by its ``gain(n)``."""

    def __init__(self, p: Float[np.ndarray, " feature"], gain: object, cap: int) -> None:
        self.p, self.gain, self.cap = p, gain, cap
        self.n_features = p.size
        rows = isqrt(cap) + 1
        self.gains = np.ascontiguousarray(gain(np.arange(1, rows + 1)), dtype=float)
        self.top = float(p[0] * self.gains[0]) if p.size else 0.0
        # Every question narrows where the answers of the next can lie.
        self._reach = np.zeros(rows, np.int64), np.full(rows, p.size, np.int64)
        self._head = np.full(rows, rows, np.int64), np.full(rows, max(cap, rows), np.int64)

    def at(self, price: float, full: bool = False) -> State:
        """State at a price; without columns, unless ``full``, where the rows sell far more than ``cap``."""
        reach = self._rows(price)
        sold = int(reach.sum())
        if sold > 2 * self.cap + 4096 and not full:
            return State(price, sold, reach=reach)
        head = self._columns(price, int(reach[-1]))
        state = State(price, sold + int((head - reach.size).sum()), reach=reach, head=head)
        self._narrow(state)
        return state

    def _rows(self, price: float) -> Int[np.ndarray, " row"]:
        return reach_rows(self.p, self.gains, price, *self._reach)

    def _columns(self, price: float, size: int) -> Int[np.ndarray, " column"]:
        rows = self.gains.size
        known = min(size, rows)
        low, high = np.full(size, rows), np.full(size, max(self.cap, rows))
        low[:known], high[:known] = self._head[0][:known], self._head[1][:known]
        p = self.p[:size]
        while (open_ := np.flatnonzero(low < high)).size:
            middle = (low[open_] + high[open_] + 1) // 2
            enough = p[open_] * self.gain(middle) >= price
            low[open_[enough]], high[open_[~enough]] = middle[enough], middle[~enough] - 1
        return low

    def _narrow(self, state: State) -> None:
        # Sold too few: a floor for what is to come; too many: a ceiling.
        side, bound = (0, np.maximum) if state.total < self.cap else (1, np.minimum)
        bound(self._reach[side], state.reach, out=self._reach[side])
        known = min(state.head.size, self._head[side].size)
        kept = self._head[side][:known]
        bound(kept, state.head[:known], out=kept)
        if side:
            self._head[1][known:] = self.gains.size  # poorer features hold no more than the rows count

    def between(self, high: State, low: State) -> tuple[Gains, Ranks, Ranks]:
        """Gains between two states: (gain, place of the feature in sorted order, the how-manieth latent)."""
        rows = low.reach - high.reach
        n = np.repeat(np.arange(1, rows.size + 1), rows)
        i = high.reach[n - 1] + _places(rows)
        held = np.full(low.head.size, self.gains.size)
        held[: high.head.size] = high.head
        columns = np.repeat(np.arange(low.head.size), low.head - held)
        more = held[columns] + 1 + _places(low.head - held)
        gains = np.concatenate([self._p(i) * self.gains[n - 1], self._p(columns) * self.gain(more)])
        return gains, np.concatenate([i, columns]), np.concatenate([n, more])

    def _p(self, i: Ranks) -> Gains:
        return self.p[i]

    def allocation(self, state: State) -> Int[np.ndarray, " feature"]:
        """Latents of each feature, in sorted order."""
        return spread(state.reach, state.head, self.n_features)


class SharedPowerMarket(SharedMarket):
    """A :class:`SharedMarket` whose loss is a :class:`PowerLoss`: its columns have a closed form."""

    def __init__(self, p: Float[np.ndarray, " feature"], loss: PowerLoss, cap: int) -> None:
        super().__init__(p, loss.gain, cap)
        self.kind = float(loss.beta), float(loss.first), loss.shift, int(loss.saturation)

    def _columns(self, price: float, size: int) -> Int[np.ndarray, " column"]:
        most = max(self.cap, self.gains.size)  # no less than the rows already count
        return shared_power_counts(self.p[:size], *self.kind, price, most)


def _places(lengths: Int[np.ndarray, " run"]) -> Ranks:
    """0, 1, .. within each run: the offsets that ``np.repeat`` of the same lengths needs."""
    return np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)


def refuse_broken_loss(gains: Float[np.ndarray, "*n"], scale: Float[np.ndarray, "*n"] | float) -> None:
    """Refuse gains (last axis: latents) that are NaN, negative or rising, beyond rounding of ``scale``.

    Raises:
        GeowallError: the loss is NaN, increases, or is not convex.
    """
    slack = 8 * np.finfo(float).eps * np.abs(scale)
    fix = "give losses that fall, ever more slowly, with the number of latents"
    if not np.all(np.isfinite(gains)):
        raise GeowallError("the loss is not a number", "L(n-1) - L(n) is NaN or infinite somewhere", fix)
    if np.any(gains < -slack):
        raise GeowallError("the loss increases", f"L(n-1) - L(n) falls to {gains.min():.3g}", fix)
    if gains.shape[-1] > 1 and np.any(np.diff(gains, axis=-1) > slack):
        rise = float(np.diff(gains, axis=-1).max())
        raise GeowallError(
            "the loss is not convex", f"a marginal gain is {rise:.3g} above the one before it", fix
        )
