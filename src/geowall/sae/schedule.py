"""What a sweep trains and how long: members, their grid, and the schedule they share.

>>> from geowall.manifolds import make
>>> len(grid([make("sphere", 3), make("shell", 3, 0.5)], [2, 4], [Rule(), Rule("topk", k=2)], seeds=[0, 1]))
16
>>> [round(rate, 2) for rate in Schedule(steps=6, warmup=0.4, lr=1.0).rates().tolist()]
[0.5, 1.0, 0.86, 0.5, 0.15, 0.01]
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from geowall.kernels.sae_step import ARCHITECTURES, Rule
from geowall.paths import GeowallError

FLOATS = 2**23  # of samples drawn at once: 32 MB


class Source(Protocol):
    """Where tokens come from: a manifold, or :class:`geowall.sae.rows.Rows`.

    Equal sources must have equal ``repr`` and hash. A source with a method ``unseen`` of the same arguments
    is measured on what that gives.
    """

    @property
    def d_model(self) -> int:
        """Dimensions of a token."""

    def sample(self, n: int, seed: int, device: str = "cpu") -> Float[Tensor, "token d_model"]:
        """Draw ``n`` tokens; equal seeds give equal tokens."""


@dataclass(frozen=True)
class Member:
    """One autoencoder of a sweep: its data, its width, its rule, its seed (of start and of data)."""

    manifold: Source
    n_latents: int
    rule: Rule
    seed: int

    def __post_init__(self) -> None:
        rule = self.rule
        for sound, why, fix in (
            (self.n_latents >= 1, f"n_latents is {self.n_latents}", "give at least one latent"),
            (
                rule.architecture in ARCHITECTURES,
                f"architecture {rule.architecture!r}",
                f"use {ARCHITECTURES}",
            ),
            (rule.k >= 1, f"k is {rule.k}", "give k of at least 1"),
        ):
            if not sound:
                raise GeowallError("no such autoencoder to train", why, fix)

    def describe(self) -> dict[str, str | int | float]:
        """The columns that tell members apart in every table."""
        m, rule = self.manifold, self.rule
        return {
            "manifold": getattr(m, "name", type(m).__name__.lower()),
            "d": m.d_model,
            "thickness": getattr(m, "thickness", 0.0),
            "architecture": rule.architecture,
            "penalty": rule.l0 if rule.architecture == "jumprelu" else rule.l1,
            "k": rule.k if rule.architecture in ("topk", "batchtopk", "matching_pursuit") else 0,
            "n_latents": self.n_latents,
            "seed": self.seed,
        }


def grid(
    manifolds: Sequence[Source], n_latents: Sequence[int], rules: Sequence[Rule], seeds: Sequence[int]
) -> list[Member]:
    """Every combination, manifold by manifold."""
    return [Member(*values) for values in itertools.product(manifolds, n_latents, rules, seeds)]


@dataclass(frozen=True)
class Schedule:
    """Adam with a linear warm-up and a cosine down to ``last`` of the peak rate; fresh tokens every step.

    A row of the training table is written every ``every`` steps. A latent is dead when it has not fired for
    ``dead_after`` steps; with ``revive`` the dead start again at badly rebuilt tokens, in the first half of
    training (the auxiliary loss of a rule is the other treatment).
    """

    steps: int = 3000
    batch: int = 1024
    lr: float = 3e-3
    warmup: float = 0.05
    last: float = 0.01
    every: int = 100
    dead_after: int = 200
    revive: bool = False

    def rates(self) -> Float[Tensor, " step"]:
        """Learning rate of each step."""
        step = torch.arange(self.steps, dtype=torch.float64)
        rise = max(1, round(self.warmup * self.steps))
        turn = ((step - rise + 1).clamp(min=0) / max(1, self.steps - rise)).clamp(max=1.0)
        cosine = self.last + (1.0 - self.last) * 0.5 * (1.0 + torch.cos(math.pi * turn))
        return (self.lr * torch.minimum((step + 1) / rise, cosine)).float()

    def block(self, d_model: int) -> int:
        """Steps whose tokens are drawn at once: a divisor of ``every``, so that rows end on a block."""
        most = max(1, FLOATS // (self.batch * d_model))
        return max(b for b in range(1, self.every + 1) if self.every % b == 0 and b <= most)


def derive(seed: int, *names: int | str) -> int:
    """A seed for a named use: streams of one run must not meet, and none depends on what ran before."""
    text = ":".join(map(str, (seed, *names)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")
