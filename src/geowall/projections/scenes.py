"""Labelled activations whose concepts have a known geometry: clusters in the plane, nested subspaces, pairs.

Every scene is a manifold that the trainers take, centred and scaled to a mean squared norm of 1, and gives
its concepts with the tokens: a column a concept, several of which may hold at once.

>>> x, concepts = Ring().labelled(1000, seed=0)
>>> tuple(x.shape), concepts.sum(1).unique().tolist(), round(float(x.square().sum(1).mean()), 1)
((1000, 2), [1], 1.0)
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from geowall.manifolds import Manifold, generator
from geowall.paths import GeowallError

MEASURED = 32_768  # tokens from which a scene's mean, scale and covariance are read


@dataclass(frozen=True)
class Scene(Manifold):
    """A distribution over tokens and the concepts that hold of them; ``raw`` in the units of its paper."""

    @property
    @abstractmethod
    def names(self) -> list[str]:
        """A name for each concept."""

    @abstractmethod
    def raw(
        self, n: int, random: torch.Generator
    ) -> tuple[Float[Tensor, "token d_model"], Bool[Tensor, "token concept"]]:
        """Draw tokens and their concepts, neither centred nor scaled."""

    @property
    def d_int(self) -> int:
        """No scene lies on less than its space."""
        return self.d_model

    @cached_property
    def moments(self) -> tuple[Float[Tensor, " d_model"], Float[Tensor, "d_model d_model"], float]:
        """Mean and covariance of raw tokens, and their root mean square norm about the mean."""
        x, _ = self.raw(MEASURED, generator(1))
        centred = x - x.mean(0)
        return x.mean(0), centred.T @ centred / len(x), float(centred.square().sum(1).mean().sqrt())

    def place(self, x: Float[Tensor, "token d_model"]) -> Float[Tensor, "token d_model"]:
        """Centre and scale raw tokens; with ``whiten`` among the scene's fields, give them the covariance
        1/d."""
        mean, covariance, scale = self.moments
        if not getattr(self, "whiten", False):
            return (x - mean.to(x.device)) / scale
        values, vectors = torch.linalg.eigh(covariance)
        root = vectors @ torch.diag((values * self.d_model).clamp(min=1e-12).rsqrt()) @ vectors.T
        return (x - mean.to(x.device)) @ root.to(x.device)

    def labelled(
        self, n: int, seed: int, device: str = "cpu"
    ) -> tuple[Float[Tensor, "token d_model"], Bool[Tensor, "token concept"]]:
        """Draw tokens as the trainers see them, with their concepts; equal seeds give equal tokens."""
        x, concepts = self.raw(n, generator(seed, device))
        return self.place(x), concepts

    def draw(self, n: int, random: torch.Generator) -> Float[Tensor, "token d_model"]:
        """Draw tokens alone."""
        return self.place(self.raw(n, random)[0])


def _one_of(n: int, count: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """A concept for each token, as a number and as a row of truth values."""
    which = torch.randint(count, (n,), generator=random, device=random.device)
    return which, torch.nn.functional.one_hot(which, count).bool()


@dataclass(frozen=True)
class Ring(Scene):
    """Six isotropic clusters in the plane at 0, 60, ..., 300 degrees, radii outer and inner in turn.

    The separability experiment of Hindupur et al. 2025 at the defaults. ``stretch`` multiplies one axis,
    ``norm_spread`` multiplies every token by a log-normal factor of that standard deviation, ``whiten``
    undoes the covariance. ``moved`` puts the first cluster at (radius, degrees) instead.
    """

    inner: float = 0.5
    outer: float = 1.5
    variance: float = 2**-4.5 / 2  # of an axis
    stretch: float = 1.0
    norm_spread: float = 0.0
    whiten: bool = False
    moved: tuple[float, float] | None = None
    d_model: int = 2

    @property
    def names(self) -> list[str]:
        """Radius and direction."""
        return [f"{'outer' if i % 2 == 0 else 'inner'} {60 * i}" for i in range(6)]

    @property
    def centres(self) -> Float[Tensor, "concept 2"]:
        """Centres before anything is stretched."""
        polar = [(self.outer if i % 2 == 0 else self.inner, 60.0 * i) for i in range(6)]
        if self.moved is not None:
            polar[0] = self.moved
        rows = [(r * math.cos(math.radians(a)), r * math.sin(math.radians(a))) for r, a in polar]
        return torch.tensor(rows)

    def raw(self, n: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """A cluster for each token, and a normal draw about its centre."""
        which, concepts = _one_of(n, 6, random)
        noise = torch.randn(n, 2, generator=random, device=random.device)
        x = self.centres.to(random.device)[which] + math.sqrt(self.variance) * noise
        factor = torch.randn(n, 1, generator=random, device=random.device)
        x = x * (self.norm_spread * factor).exp()
        return x * x.new_tensor([self.stretch, 1.0]), concepts


@dataclass(frozen=True)
class Nested(Scene):
    """Gaussian concepts of different dimension and equal variance, in nested axis-aligned subspaces.

    The heterogeneity experiment of Hindupur et al. 2025: total variance 1/50 shared out over ``dims[i]``
    axes, 1e-6 on every axis besides, centres uniform in a cube of side ``300 / 50 / 128``.
    """

    dims: tuple[int, ...] = (6, 14, 30, 62, 126)
    d_model: int = 128
    seed_centres: int = 0

    def __post_init__(self) -> None:
        if max(self.dims) > self.d_model:
            why = f"a concept of {max(self.dims)} dimensions among {self.d_model}"
            raise GeowallError("no such scene", why, "give d_model at least the largest of dims")

    @property
    def names(self) -> list[str]:
        """The intrinsic dimension."""
        return [str(k) for k in self.dims]

    @property
    def centres(self) -> Float[Tensor, "concept d_model"]:
        """A point of the cube for each concept."""
        side = 300 / 50 / 128
        return side * torch.rand(len(self.dims), self.d_model, generator=generator(self.seed_centres))

    @property
    def spreads(self) -> Float[Tensor, "concept d_model"]:
        """Standard deviation of each concept along each axis."""
        axis = torch.arange(self.d_model)
        return torch.stack([((axis < k) * (0.02 / k) + 1e-6).sqrt() for k in self.dims])

    def raw(self, n: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """A concept for each token, and a normal draw about its centre."""
        which, concepts = _one_of(n, len(self.dims), random)
        noise = torch.randn(n, self.d_model, generator=random, device=random.device)
        return self.centres.to(noise.device)[which] + self.spreads.to(noise.device)[which] * noise, concepts


@dataclass(frozen=True)
class Pairs(Scene):
    """Tokens with one concept of each of two kinds: three clusters in one plane plus three in another.

    Every concept is linearly separable, whatever the other kind does. ``tied`` is the probability that the
    second concept follows from the first instead of being drawn on its own: at 1 there are three joint
    concepts and no co-occurrence left to resolve.
    """

    tied: float = 0.0
    variance: float = 0.01
    d_model: int = 4

    @property
    def names(self) -> list[str]:
        """Kind and number."""
        return [f"{kind}{i}" for kind in "ab" for i in range(3)]

    def raw(self, n: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw both kinds, and superpose them."""
        first, is_first = _one_of(n, 3, random)
        own, _ = _one_of(n, 3, random)
        follows = torch.rand(n, generator=random, device=random.device) < self.tied
        second = torch.where(follows, first, own)
        angle = 2.0 * math.pi / 3.0 * torch.stack([first, second], dim=1)
        x = torch.stack([angle.cos(), angle.sin()], dim=2).flatten(1)
        noise = torch.randn(n, 4, generator=random, device=random.device)
        is_second = torch.nn.functional.one_hot(second, 3).bool()
        return x + math.sqrt(self.variance) * noise, torch.cat([is_first, is_second], dim=1)
