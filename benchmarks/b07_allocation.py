"""B7: sharing a dictionary. Ours against the greedy heap, and a trillion latents.

The peer is ``heapq`` with everything precomputed that it can use: the gains of one feature as a plain list,
one ``heapreplace`` a latent, tuples so that ties fall to the lower index.
"""

from __future__ import annotations

import heapq

import numpy as np

from benchmarks.measure import copy_seconds, first_call, measure, seconds, slope
from geowall.allocation import PowerLoss, allocate, allocate_zipf, zipf

ALPHA = 0.5
BETAS = (0.05, 0.5, 1.0)
MUST, GOAL = 300.0, 1000.0  # times the heap
MUST_SECONDS, GOAL_SECONDS = 1.0, 0.1  # at a trillion latents


def heap(p: list[float], gains: list[float], d_sae: int) -> list[int]:
    """The peer: the N largest marginal gains, one at a time."""
    n = [0] * len(p)
    queue = [(-share * gains[0], i) for i, share in enumerate(p)]
    heapq.heapify(queue)
    replace = heapq.heapreplace
    for _ in range(d_sae):
        i = queue[0][1]
        n[i] = held = n[i] + 1
        replace(queue, (-p[i] * gains[held], i))
    return n


def run(small: bool = False) -> list[dict[str, object]]:
    """All rows of B7; ``small`` shrinks the work for CI and keeps the names."""
    scale = 10 if small else 1
    compiled = first_call(lambda: allocate(zipf(100, ALPHA), PowerLoss(0.5), 1000))
    rows = [{"id": "B7", "case": "first call, compile or load included", "seconds": compiled}]
    rows += [_against_heap(beta, 100_000 // scale, 1_000_000 // scale, 5 if small else 9) for beta in BETAS]
    rows += [_unsorted(100_000 // scale, 1_000_000 // scale, 5 if small else 9)]
    rows += [_trillion(beta) for beta in BETAS]
    rows += [_growth_of_table(small), _growth_of_zipf(small)]
    return rows


def _against_heap(beta: float, n_features: int, d_sae: int, rounds: int) -> dict[str, object]:
    p, loss = zipf(n_features, ALPHA), PowerLoss(beta)
    listed, gains = p.tolist(), loss.gain(np.arange(1, d_sae + 2)).tolist()
    if allocate(p, loss, d_sae).tolist() != heap(listed, gains, d_sae):
        raise AssertionError(f"B7: the allocation differs from the heap at beta = {beta}")
    found = measure(lambda: allocate(p, loss, d_sae), lambda: heap(listed, gains, d_sae), rounds)
    # Whatever reads p and writes n is no faster than a copy of as many bytes.
    limit = copy_seconds(p)
    ours = min(seconds(lambda: allocate(p, loss, d_sae)) for _ in range(5))
    case = f"beta = {beta:g}, against heapq"
    size = {"d_sae": d_sae, "n_features": n_features, "must": MUST, "goal": GOAL}
    return {"id": "B7", "case": case, "peer": "heapq", **found, "share_of_limit": limit / ours, **size}


def _unsorted(n_features: int, d_sae: int, rounds: int) -> dict[str, object]:
    p, loss = np.random.default_rng(0).permutation(zipf(n_features, ALPHA)), PowerLoss(0.5)
    listed, gains = p.tolist(), loss.gain(np.arange(1, d_sae + 2)).tolist()
    if allocate(p, loss, d_sae).tolist() != heap(listed, gains, d_sae):
        raise AssertionError("B7: the allocation differs from the heap on unsorted frequencies")
    found = measure(lambda: allocate(p, loss, d_sae), lambda: heap(listed, gains, d_sae), rounds)
    case = "beta = 0.5, unsorted frequencies, against heapq"
    return {"id": "B7", "case": case, "peer": "heapq", **found, "d_sae": d_sae, "n_features": n_features}


def _trillion(beta: float) -> dict[str, object]:
    share = allocate_zipf(10**12, ALPHA, beta, n_features=10**12)
    held, missed = share.margins()
    if share.total != 10**12 or held < missed:
        raise AssertionError(f"B7: not optimal at 1e12, beta = {beta}: {share.total}, {held} < {missed}")
    spent = min(seconds(lambda: allocate_zipf(10**12, ALPHA, beta, n_features=10**12)) for _ in range(9))
    size = {"d_sae": 10**12, "n_features": 10**12, "must_seconds": MUST_SECONDS, "goal_seconds": GOAL_SECONDS}
    return {"id": "B7", "case": f"beta = {beta:g}, a trillion latents and features", "seconds": spent, **size}


def _growth_of_table(small: bool) -> dict[str, object]:
    p, loss = zipf(100_000, ALPHA), PowerLoss(0.5)
    sizes = [10**k for k in range(4, 7 if small else 10)]
    costs = [[seconds(lambda n=n: allocate(p, loss, n)) for _ in range(5)] for n in sizes]
    case = "cost against d_sae, 1e5 features in memory"
    return {"id": "B7", "case": case, **slope([float(n) for n in sizes], costs), "expected": 0.5}


def _growth_of_zipf(small: bool) -> dict[str, object]:
    sizes = [10**k for k in range(9, 12 if small else 14)]
    costs = [[seconds(lambda n=n: allocate_zipf(n, ALPHA, 0.5)) for _ in range(5)] for n in sizes]
    case = "cost against d_sae, endless features"
    return {"id": "B7", "case": case, **slope([float(n) for n in sizes], costs), "expected": 0.5}
