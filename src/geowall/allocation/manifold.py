"""One manifold among discrete features: how many features are left undiscovered for the sake of one.

The simulation of arXiv 2509.02565, Fig. 2 (right). The manifold, at rank r, has the loss ``n^-beta``; every
other feature is perfect after one latent. Whether the n-th latent of the manifold is among the N best is a
yes-or-no question that turns from yes to no once as n grows, so the exact answer costs log2(N) looks.

>>> found = discovery(100_000_000, alpha=0.5, beta=0.05)
>>> found.n_on_manifold + found.n_discovered - 1, round(found.efficiency, 4)
(100000000, 0.0287)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from geowall.allocation.asymptotics import regime
from geowall.allocation.exact import whole
from geowall.allocation.losses import PowerLoss
from geowall.allocation.zetas import zeta, zeta_tail


class Discovery(NamedTuple):
    """``n_on_manifold`` latents, ``n_discovered`` features with a latent (the manifold is one of them),
    ``efficiency`` = features discovered per latent, and the expected ``loss``."""

    n_on_manifold: int
    n_discovered: int
    efficiency: float
    loss: float


def discovery(
    d_sae: int,
    alpha: float,
    beta: float,
    manifold_rank: int = 1,
    *,
    convention: str = "cutoff",
    l_zero: float | None = None,
    n_sat: int | None = None,
) -> Discovery:
    """Exact optimum for one manifold at ``manifold_rank`` among endlessly many discrete features.

    ``n_sat`` is the number of latents after which the manifold's loss stops falling. A latent that serves
    manifold and discrete feature equally goes to the lower rank.

    Raises:
        GeowallError: ``d_sae`` or ``manifold_rank`` is not a whole number of at least 1, ``alpha`` or
            ``beta`` is not positive, or the convention for L(0) is unknown.
    """
    total, rank = whole(d_sae, "d_sae", 1), whole(manifold_rank, "manifold_rank", 1)
    regime(alpha, beta)
    loss = PowerLoss(float(beta), convention, l_zero, n_sat)
    weight = float(rank) ** -(1 + alpha)

    def wins(n: int) -> bool:
        """Is the manifold's n-th latent better than the discrete feature that would then be the last?"""
        rival = _rank_of_discrete(total - n + 1, rank)
        gain, rival_gain = weight * float(loss.gain(n)), float(rival) ** -(1 + alpha)
        return gain > rival_gain or (gain == rival_gain and rank < rival)

    n = _last_true(wins, total)
    discrete = total - n
    reached = (
        _rank_of_discrete(discrete + 1, rank) - 1
    )  # ranks up to here are covered, the manifold's own aside
    missed = float(zeta_tail(1 + alpha, reached)) - (weight if rank > reached else 0.0)
    cost = (missed + weight * float(loss(n))) / zeta(1 + alpha)
    found = discrete + (n > 0)
    return Discovery(n, found, found / total, cost)


def _rank_of_discrete(k: int, manifold_rank: int) -> int:
    """Rank of the k-th discrete feature when one rank is taken by the manifold."""
    return k if k < manifold_rank else k + 1


def _last_true(ask: Callable[[int], bool], high: int) -> int:
    """Largest n in [0, high] that passes ``ask``, which turns from true to false once (ask(0) is true)."""
    low = 0
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if ask(middle) else (low, middle - 1)
    return low
