"""How this project measures speed: a ratio to a named peer, on the same work, in the same process.

Two contestants are timed in rounds A B B A, so that a drift of the machine cancels inside a round. Every
sample repeats its work until it has lasted 20 ms, a fixed probe (a matrix product) is timed in each round,
and rounds whose probe is more than 10 % off the best are dropped and made up for. The result is the median of
the log-ratios with a bootstrap interval:

>>> quick = measure(lambda: sum(range(400)), lambda: sum(range(40_000)), rounds=9, least=0.002)
>>> 3 < quick["ratio"] and quick["low"] <= quick["ratio"] <= quick["high"]
True
"""

from __future__ import annotations

import math
import os
import platform
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

Work = Callable[[], object]
LEAST = 0.02  # seconds a sample must last
ROUNDS = 9
OFF = 1.10  # a probe slower than this times the best spoils its round
PEERS = ("entmax", "faiss-cpu", "sae-lens", "scikit-dimension", "sparsemax")
PACKAGES = ("numpy", "numba", "scipy", "torch", *PEERS)  # those that are installed


def pin_one_thread() -> int:
    """Keep this process on one core with one thread; return the core."""
    core = max(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[name] = "1"
    return core


def seconds(work: Work, least: float = LEAST) -> float:
    """Seconds a call of ``work`` takes, from as many calls as fill ``least`` seconds."""
    calls, began = 0, time.perf_counter()
    while True:
        work()
        calls += 1
        spent = time.perf_counter() - began
        if spent >= least:
            return spent / calls


def measure(
    ours: Work, peer: Work, rounds: int = ROUNDS, least: float = LEAST, seed: int = 0
) -> dict[str, object]:
    """Ratio peer / ours (above 1: ours is faster) with its 95 % interval, and the rounds behind it.

    Both are warmed up first, so compile time is not in it (:func:`first_call` measures that).
    """
    ours(), peer()
    logs, timed = _quiet_rounds(ours, peer, rounds, least)
    low, high = interval(logs, seed)
    return {
        "ratio": float(np.exp(np.median(logs))),
        "low": low,
        "high": high,
        "rounds": len(logs),
        "dropped": timed - len(logs),
        "noisy": len(logs) < rounds or is_noisy(len(logs), timed - len(logs)),
    }


def is_noisy(kept: int, dropped: int) -> bool:
    """Whether the machine disturbed more than a third of all rounds.

    >>> is_noisy(9, 4), is_noisy(9, 8)
    (False, True)
    """
    return 3 * dropped > kept + dropped


def _quiet_rounds(ours: Work, peer: Work, rounds: int, least: float) -> tuple[np.ndarray, int]:
    """Log-ratios of the quiet rounds, and how many were timed: up to twice as many, to make up."""
    matrix, kept = np.random.default_rng(0).standard_normal((256, 256)), []
    while True:
        kept.append(_round(ours, peer, least, lambda: matrix @ matrix))
        fast = min(probe for _, probe in kept)
        logs = np.array([log for log, probe in kept if probe <= OFF * fast])
        if len(logs) >= rounds or len(kept) >= 2 * rounds:
            return logs, len(kept)


def _round(ours: Work, peer: Work, least: float, probe: Work) -> tuple[float, float]:
    before = seconds(probe, least / 2)
    a, b, c, d = seconds(ours, least), seconds(peer, least), seconds(peer, least), seconds(ours, least)
    return math.log((b + c) / (a + d)), max(before, seconds(probe, least / 2))


def interval(logs: np.ndarray, seed: int = 0, draws: int = 4000) -> tuple[float, float]:
    """95 % bootstrap interval of the median ratio, from log-ratios."""
    picks = np.random.default_rng(seed).integers(len(logs), size=(draws, len(logs)))
    low, high = np.quantile(np.median(logs[picks], axis=1), [0.025, 0.975])
    return float(np.exp(low)), float(np.exp(high))


def first_call(work: Work) -> float:
    """Seconds of the first call of ``work`` in this process, compilation included."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def slope(sizes: list[float], costs: list[list[float]], seed: int = 0) -> dict[str, float]:
    """Log-log slope of cost against size, from samples ``costs[i]`` at ``sizes[i]``, with a 95 % interval."""
    rng, x = np.random.default_rng(seed), np.log(sizes)
    draws = [
        np.polyfit(x, [np.log(np.median(rng.choice(c, len(c)))) for c in costs], 1)[0] for _ in range(2000)
    ]
    low, high = np.quantile(draws, [0.025, 0.975])
    middle = np.polyfit(x, [np.log(np.median(c)) for c in costs], 1)[0]
    return {"slope": float(middle), "slope_low": float(low), "slope_high": float(high)}


def copy_seconds(source: np.ndarray) -> float:
    """Seconds to copy an array once: what work that reads and writes as much cannot beat."""
    target = np.empty_like(source)
    return min(seconds(lambda: np.copyto(target, source)) for _ in range(5))


def share_of_product(
    ours: Work, multiplications: float, dtype: str = "float32", rounds: int = 5
) -> dict[str, object]:
    """What share of its time ``ours`` would take if it were a matrix product of as many multiplications.

    The product is timed beside it in each round; with ``bfloat16`` it is the fastest the machine has.
    """
    import torch  # after the threads are pinned

    side, shares = 1024, []
    a = torch.randn(side, side, generator=torch.Generator().manual_seed(0)).to(getattr(torch, dtype))
    for _ in range(rounds):
        limit = seconds(lambda: a @ a) * multiplications / side**3
        shares.append(limit / seconds(ours))
    return {"share_of_limit": float(np.median(shares)), "limit": f"{dtype} product"}


def environment() -> dict[str, object]:
    """What a ratio depends on: device, interpreter, package versions."""
    return {
        "device": _processor(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES if _installed(name)},
    }


def _installed(name: str) -> bool:
    try:
        return bool(version(name))
    except PackageNotFoundError:
        return False


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, one thread"
