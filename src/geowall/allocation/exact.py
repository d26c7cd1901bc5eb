"""The exact sharing of a dictionary: the N largest marginal gains, found through their price.

Taking the largest marginal gain N times (a greedy heap) is optimal when every loss is convex. The N-th
largest gain is a price; whoever knows it knows the allocation, and it can be found by counting:

>>> from geowall.allocation import PowerLoss, zipf
>>> allocate(zipf(5, alpha=0.5), PowerLoss(0.5), d_sae=20).tolist()
[9, 4, 3, 2, 2]
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from math import isqrt, log, nextafter

import numpy as np
from jaxtyping import Float, Int

from geowall.allocation.losses import PowerLoss
from geowall.allocation.markets import (
    PowerMarket,
    SharedMarket,
    SharedPowerMarket,
    State,
    TableMarket,
    refuse_broken_loss,
)
from geowall.kernels.apportion import inspect
from geowall.paths import GeowallError

Loss = Callable[[Int[np.ndarray, "*n"]], Float[np.ndarray, "*n"]]
MOST = 2**62  # features times latents that 64-bit counts can hold
LARGEST = 10**13  # beyond, float64 no longer separates the gains of neighbouring ranks
FAINT = 5e-324  # the smallest positive float: what gains less gains nothing
Market = TableMarket | PowerMarket | SharedMarket


def allocate(
    p: Float[np.ndarray, " feature"],
    loss: Loss | PowerLoss | Float[np.ndarray, "feature n_max_plus_1"],
    d_sae: int,
) -> Int[np.ndarray, " feature"]:
    """Latents per feature that minimise ``sum_i p_i L_i(n_i)`` with ``sum_i n_i = d_sae``.

    The model of arXiv 2509.02565, section 2. The answer is the greedy heap's, to the integer: equal gains go
    to the lower index, and latents that no feature can use (gain zero) go to the lowest index that has room.

    Args:
        p: probability that each feature is active, [feature]; any non-negative weights, in any order.
        loss: one function of n shared by all features (if it has a method ``gain(n)``, that is used), a
            :class:`PowerLoss`, or a table of losses [feature, n_max + 1] whose column n is L_i(n).
        d_sae: latents to share out.

    Raises:
        GeowallError: ``p`` holds a negative number or NaN; a loss is NaN, increasing or not convex;
            ``d_sae`` is not a whole number, or more than a table has room for. All before anything is
            computed. A table is checked everywhere, a function at the first 16,384 n and on a geometric
            grid up to ``d_sae``.
    """
    p, monotone = _probabilities(p)
    cap = whole(d_sae, "d_sae")
    if cap * p.size > MOST:
        why = f"{cap} latents for {p.size} features: the counts would overflow"
        raise GeowallError("too much to share out", why, "see allocate_zipf for lists too long for memory")
    market, order = _market(p, monotone, loss, cap)
    if not cap:
        return np.zeros(p.size, np.int64)
    n = _settle(market, cap, order)
    if order is None:
        return n
    unsorted = np.empty_like(n)
    unsorted[order] = n
    return unsorted


def whole(value: object, name: str, least: int = 0) -> int:
    """``value`` as an int, if it is a whole number in [least, 1e13]; 1e12 is, 1.5, True and NaN are not."""
    try:
        number = (
            int(value)
            if isinstance(value, float | np.floating) and value == int(value)
            else operator.index(value)
        )
    except (TypeError, ValueError, OverflowError):
        number = None
    if number is None or isinstance(value, bool | np.bool_) or not least <= number <= LARGEST:
        raise GeowallError(
            f"{name} must be a whole number", f"got {value!r}", f"give {least} <= {name} <= {LARGEST:.0e}"
        )
    return number


def _probabilities(p: object) -> tuple[Float[np.ndarray, " feature"], bool]:
    p = np.ascontiguousarray(p, dtype=float)
    if p.ndim != 1 or not p.size:
        raise GeowallError(
            "p must be a list of probabilities", f"got shape {p.shape}", "give one number a feature"
        )
    sound, monotone = inspect(p)
    if not sound:
        raise GeowallError(
            "p holds a negative number or NaN", f"its smallest is {p.min()}", "give non-negative numbers"
        )
    return p, bool(monotone)


def _market(p: np.ndarray, monotone: bool, loss: object, cap: int) -> tuple[Market, np.ndarray | None]:
    """The market that fits the loss, and the order in which it holds the features (None: the caller's)."""
    if isinstance(loss, PowerLoss) and (np.ndim(loss.beta) or np.ndim(loss.saturation)):
        return PowerMarket(p, loss, max(cap, 1)), None
    if not callable(loss):
        return _table_market(p, np.asarray(loss, dtype=float), cap), None
    order = None if monotone else np.argsort(-p)
    ordered = p if monotone else p[order]
    if isinstance(loss, PowerLoss):
        return SharedPowerMarket(ordered, loss, max(cap, 1)), order
    gain = getattr(loss, "gain", None) or (
        lambda n: np.asarray(loss(n - 1), float) - np.asarray(loss(n), float)
    )
    _probe(loss, gain, cap)
    return SharedMarket(ordered, gain, max(cap, 1)), order


def _table_market(p: np.ndarray, table: np.ndarray, cap: int) -> TableMarket:
    if table.ndim != 2 or table.shape[0] != p.size or table.shape[1] < 2:
        why = f"got shape {table.shape} for {p.size} features"
        raise GeowallError(
            "the table of losses has the wrong shape", why, "give [feature, n_max + 1] with n_max >= 1"
        )
    gains = table[:, :-1] - table[:, 1:]
    refuse_broken_loss(gains, np.abs(table).max(axis=1, keepdims=True) if np.isfinite(table).all() else 1.0)
    if cap > gains.size:
        why = f"d_sae = {cap} but {p.size} features with {gains.shape[1]} latents each hold {gains.size}"
        raise GeowallError(
            "d_sae is more than the table has room for", why, "give longer tables or a smaller d_sae"
        )
    # Rounding may lift a gain by an ulp above its predecessor; a heap never reaches past its own top.
    return TableMarket(np.minimum.accumulate(p[:, None] * gains, axis=1))


def _probe(loss: Loss, gain: Loss, cap: int) -> None:
    """Look at a shared loss at the first n and along a geometric grid up to N."""
    near = np.arange(1, min(cap, 16_384) + 2)
    far = np.unique(np.geomspace(1, max(cap, 2), 64).astype(np.int64))
    for n in (near, far):
        gains = np.asarray(gain(n), dtype=float)
        if gains.shape != n.shape:
            raise GeowallError(
                "the loss must take an array", f"{n.shape} in, {gains.shape} out", "vectorise the loss"
            )
        scale = np.asarray(loss(n - 1), dtype=float)
        refuse_broken_loss(gains, float(np.abs(scale).max()) if np.isfinite(scale).all() else 1.0)


def _settle(market: Market, d_sae: int, order: np.ndarray | None) -> Int[np.ndarray, " feature"]:
    high, low = bracket(market, d_sae)
    n = market.allocation(high)
    short = d_sae - high.total
    if low.total < d_sae:  # nothing left to gain: the idle latents
        n = market.allocation(low)
        return _park_idle(n, d_sae - low.total, market, order)
    if nextafter(low.price, 1e308) >= high.price:
        return _split_ties(n, market.allocation(low), short, order)
    gains, i, _ = market.between(high, low)
    original = order[i] if order is not None else i
    chosen = np.lexsort((original, -gains))[:short]
    np.add.at(n, i[chosen], 1)
    return n


def _split_ties(n: np.ndarray, most: np.ndarray, short: int, order: np.ndarray | None) -> np.ndarray:
    """All gains between the two states are equal: the lower index takes all of its own first."""
    rank = np.argsort(order) if order is not None else slice(None)
    back = order if order is not None else slice(None)
    extra = (most - n)[rank]
    taken = np.clip(short - (np.cumsum(extra) - extra), 0, extra)
    out = n[rank] + taken
    return out[back]


def _park_idle(n: np.ndarray, idle: int, market: Market, order: np.ndarray | None) -> np.ndarray:
    """Latents that nobody can use go where the heap's ties put them: to the first index with room."""
    rank = np.argsort(order) if order is not None else slice(None)
    back = order if order is not None else slice(None)
    out = n[rank]
    room = np.full(out.size, market.gains.shape[1]) - out if isinstance(market, TableMarket) else None
    if room is None:
        out[0] += idle
    else:
        out += np.clip(idle - (np.cumsum(room) - room), 0, room)
    return out[back]


def bracket(market: Market, d_sae: int, guess: float | None = None) -> tuple[State, State]:
    """States (high, low) either side of the price of the last latent, few gains or no float apart.

    The high state sells fewer than ``d_sae``, the low one at least as many, unless even at a price of nearly
    nothing fewer can be sold, when both are that last state. The count falls about like a power of the price,
    so a regula falsi in logarithms (Illinois variant) lands within a few steps; every fourth step bisects.
    """
    few = min(max(64, 2 * isqrt(d_sae)), 4096)
    high = market.at(nextafter(market.top, 1e308))
    high, low = _descend(market, d_sae, high, guess)
    weight_high = weight_low = 1.0
    for step in range(400):
        if low.total - high.total <= few or nextafter(low.price, 1e308) >= high.price or low.total < d_sae:
            break
        state = market.at(_between_prices(high, low, d_sae, weight_high, weight_low, step))
        if state.total >= d_sae:
            low, weight_low, weight_high = state, 1.0, weight_high / 2
        else:
            high, weight_high, weight_low = state, 1.0, weight_low / 2
    if low.head is None and low.counts is None:
        low = market.at(low.price, full=True)
    return high, low


def _descend(market: Market, d_sae: int, high: State, guess: float | None) -> tuple[State, State]:
    """Step down from the top (or away from a good guess, ever faster) until the price has been passed."""
    if guess is not None and (state := market.at(guess)).total >= d_sae:
        return _ascend(market, d_sae, high, state)
    price, factor = guess or market.top / max(d_sae, 2), 0.999 if guess else 0.1
    while True:
        state = market.at(max(price, FAINT))
        if state.total >= d_sae or price <= FAINT:
            return high, state
        high, price, factor = state, price * factor, factor * factor


def _ascend(market: Market, d_sae: int, high: State, low: State) -> tuple[State, State]:
    factor = 0.999
    while low.price / factor < high.price:
        state = market.at(low.price / factor)
        if state.total < d_sae:
            return state, low
        low, factor = state, factor * factor
    return high, low


def _between_prices(
    high: State, low: State, d_sae: int, weight_high: float, weight_low: float, step: int
) -> float:
    x_high, x_low = log(high.price), log(low.price)
    above = weight_high * (log(d_sae + 0.5) - log(high.total + 0.5))
    below = weight_low * (log(low.total + 0.5) - log(d_sae + 0.5))
    share = 0.5 if step % 4 == 3 or not above + below > 0 else above / (above + below)
    price = np.exp(x_high + share * (x_low - x_high))
    return float(min(max(price, nextafter(low.price, 1e308)), nextafter(high.price, 0.0)))
