"""How many latents each feature earns at a price, counted without visiting every latent.

Sharing a dictionary is divisor-method apportionment: a latent goes to the feature with the largest
marginal gain ``p_i [L(n-1) - L(n)]``, so at a price ``t`` feature i holds as many latents as it has gains of
at least ``t``. The kernels below count them; each has a slow twin of three lines beside it.

>>> import numpy as np
>>> table_counts(np.array([[0.5, 0.2, 0.1], [0.3, 0.3, 0.0]]), 0.2).tolist()
[2, 2]
"""

from __future__ import annotations

import heapq
from math import expm1, floor, inf, isinf, log1p

import numpy as np
from numba import njit, vectorize

# A real-valued boundary this close (relatively) to an integer is settled by comparing the gain itself.
NEAR = 1e-13


@njit(cache=True)
def _gain(n, beta, first, shift, n_sat):
    if n > n_sat:
        return 0.0
    if n <= 1:
        return first
    if isinf(beta):
        return 0.0
    m = n - 1.0 + shift
    # (m^-beta) - (m+1)^-beta without cancellation, good to one rounding at n = 1e12.
    return -(m**-beta) * expm1(-beta * log1p(1.0 / m))


@vectorize(cache=True)
def power_gain(n, beta, first, shift, n_sat):
    """What the n-th latent gains on a feature whose loss is ``(n + shift)^-beta`` (n >= 1), broadcasting.

    ``first`` is the gain of the first latent, which the convention for L(0) decides; after ``n_sat`` latents
    nothing is gained; ``beta = inf`` is a discrete feature.
    """
    return _gain(n, beta, first, shift, n_sat)


@njit(cache=True)
def _first_below(p, gain, price, low, high):
    # Number of leading entries with p[i] * gain >= price; it is known to lie in [low, high].
    while low < high:
        middle = (low + high) // 2
        if p[middle] * gain >= price:
            low = middle + 1
        else:
            high = middle
    return low


@njit(cache=True)
def inspect(p):
    """One pass over ``p``: (all finite and non-negative, non-increasing)."""
    unsound, rises = 0, 0
    for i in range(p.size):  # counters, not a way out: the compiler turns them into vector instructions
        unsound += not 0.0 <= p[i] < inf
    for i in range(1, p.size):
        rises += p[i] > p[i - 1]
    return unsound == 0, rises == 0


@njit(cache=True)
def table_counts(gains, price):
    """Entries of each row of ``gains`` [feature, n_max] that are at least ``price``; rows never rise."""
    counts = np.empty(gains.shape[0], np.int64)
    for i in range(gains.shape[0]):
        counts[i] = _first_below(gains[i], 1.0, price, 0, gains.shape[1])
    return counts


def table_counts_slow(gains, price):
    """Twin of :func:`table_counts`: look at every entry."""
    return (gains >= price).sum(axis=1)


@njit(cache=True)
def _power_count(p, beta, first, shift, n_sat, price, cap):
    if p * first < price:
        return 0
    if isinf(beta) or n_sat <= 1:
        return min(1, cap)
    # The continuous solution at the midpoint of the step, with the first curvature correction ...
    m = (p * beta / price) ** (1.0 / (1.0 + beta))
    n = int(min(max(m + (2.0 + beta) / (24.0 * max(m, 1.0)) + 0.5 - shift, 1.0), cap, n_sat))
    # ... then the integers settle it by the very gains that a heap would compare.
    while n > 1 and p * _gain(n, beta, first, shift, n_sat) < price:
        n -= 1
    while n < cap and p * _gain(n + 1, beta, first, shift, n_sat) >= price:
        n += 1
    return n


@njit(cache=True)
def power_counts(p, beta, first, shift, n_sat, price, cap):
    """Latents, at most ``cap``, earned at ``price`` by features with losses of their own (arrays)."""
    counts = np.empty(p.size, np.int64)
    for i in range(p.size):
        counts[i] = _power_count(p[i], beta[i], first[i], shift, n_sat[i], price, cap)
    return counts


@njit(cache=True)
def shared_power_counts(p, beta, first, shift, n_sat, price, cap):
    """:func:`power_counts` for features that share one loss."""
    counts = np.empty(p.size, np.int64)
    for i in range(p.size):
        counts[i] = _power_count(p[i], beta, first, shift, n_sat, price, cap)
    return counts


def power_counts_slow(p, beta, first, shift, n_sat, price, cap):
    """Twin of :func:`power_counts`: write out every gain up to ``cap``."""
    n = np.arange(1, cap + 1)[:, None]
    return (p * power_gain(n, beta, first, shift, n_sat) >= price).sum(axis=0)


@njit(cache=True)
def reach_rows(p, gains, price, low, high):
    """Features holding at least n latents, n = 1 .. len(gains), if ``p`` never rises and all share a loss.

    ``low`` and ``high`` bracket the answer; features that hold n + 1 latents are among those that hold n.
    """
    reach = np.empty(gains.size, np.int64)
    previous = p.size
    for k in range(gains.size):
        previous = _first_below(p, gains[k], price, min(low[k], previous), min(high[k], previous))
        reach[k] = previous
    return reach


def reach_rows_slow(p, gains, price):
    """Twin of :func:`reach_rows`: the whole table of gains."""
    return (p[None, :] * gains[:, None] >= price).sum(axis=1)


@njit(cache=True)
def spread(reach, head, n_features):
    """The allocation [feature] from ``reach`` (features with n latents or more) and ``head`` (richest)."""
    n = np.zeros(n_features, np.int64)
    start = head.size
    n[:start] = head
    for k in range(reach.size - 1, -1, -1):
        n[start : reach[k]] = k + 1
        start = max(start, reach[k])
    return n


def spread_slow(reach, head, n_features):
    """Twin of :func:`spread`: ask of every feature how many rows reach it."""
    n = (np.arange(n_features) < reach[:, None]).sum(axis=0)
    return np.concatenate([head, n[head.size :]])


@njit(cache=True)
def zipf_rows(unit, gains, p_one, alpha, price, n_features):
    """:func:`reach_rows` for ``p_i = p_one i^-(1+alpha)``; ``unit`` is ``(p_one gains)^(1/(1+alpha))``."""
    reach = np.empty(gains.size, np.int64)
    scale = price ** (-1.0 / (1.0 + alpha))
    for k in range(gains.size):
        x = unit[k] * scale
        i = floor(x + NEAR * x)
        if i >= 1 and i > x - NEAR * x and p_one * float(i) ** (-1.0 - alpha) * gains[k] < price:
            i -= 1
        reach[k] = min(int(i), n_features)
    return reach


@njit(cache=True)
def zipf_columns(weight, p, beta, first, shift, n_sat, price, cap):
    """Latents of the features ``p``, all far above one latent each; ``weight`` is ``(p
    beta)^(1/(1+beta))``."""
    head = np.empty(p.size, np.int64)
    scale = price ** (-1.0 / (1.0 + beta))
    for i in range(p.size):
        m = weight[i] * scale
        if m < 1000.0:
            head[i] = _power_count(p[i], beta, first, shift, n_sat, price, cap)
            continue
        x = m + (2.0 + beta) / (24.0 * m) + 0.5 - shift
        slack = NEAR * x + 1e3 / m**3
        n = min(np.int64(x + slack), n_sat, cap)
        if n > x - slack and p[i] * _gain(n, beta, first, shift, n_sat) < price:
            n -= 1
        head[i] = n
    return head


def greedy_heap(p, gain, d_sae):
    """The definition: ``d_sae`` times, a latent to the largest ``p[i] * gain(i, n)``, ties by index."""
    n, heap = [0] * len(p), [(-p[i] * gain(i, 1), i) for i in range(len(p))]
    heapq.heapify(heap)
    for _ in range(d_sae):
        i = heap[0][1]
        n[i] += 1
        heapq.heapreplace(heap, (-p[i] * gain(i, n[i] + 1), i))
    return np.array(n, dtype=np.int64)
