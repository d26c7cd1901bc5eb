"""Synthetic activations whose geometry is known: a manifold is a chart, a seed gives a tensor of points.

Each manifold knows its intrinsic dimension, the dimension it lives in and, where there is a closed form, its
mean curvature: the norm of the trace of the second fundamental form over the intrinsic dimension, so that a
sphere of radius R has 1/R.

>>> sphere = Sphere(d_model=3)
>>> points = sphere.sample(4, seed=0)
>>> tuple(points.shape), sphere.d_int, float(sphere.curvature(points)[0])
((4, 3), 2, 1.0)
>>> bool(torch.equal(points, sphere.sample(4, seed=0)))
True
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from geowall.paths import GeowallError

TAU = 2.0 * math.pi


def generator(seed: int, device: str = "cpu") -> torch.Generator:
    """A fresh stream of random numbers, the same for the same seed."""
    return torch.Generator(device).manual_seed(seed)


@dataclass(frozen=True)
class Manifold(ABC):
    """A distribution over a manifold: ``draw`` gives points, ``d_int`` and ``d_model`` its dimensions."""

    @property
    @abstractmethod
    def d_int(self) -> int:
        """Intrinsic dimension."""

    @abstractmethod
    def draw(self, n: int, random: torch.Generator) -> Float[Tensor, "token d_model"]:
        """Draw ``n`` points from a stream of random numbers, on its device, in float32."""

    def sample(self, n: int, seed: int, device: str = "cpu") -> Float[Tensor, "token d_model"]:
        """Draw ``n`` points; equal seeds give equal points."""
        return self.draw(n, generator(seed, device))

    def curvature(self, points: Float[Tensor, "token d_model"]) -> Float[Tensor, " token"] | None:
        """Mean curvature at points of the manifold (inverse length), or None where no closed form is
        known."""
        return None


@dataclass(frozen=True)
class Sphere(Manifold):
    """The hypersphere S^(d_model - 1), uniform; with ``d_model = 2`` the circle."""

    d_model: int
    radius: float = 1.0

    def __post_init__(self) -> None:
        _check("d_model", self.d_model, 2)

    @property
    def d_int(self) -> int:
        """One less than the dimension around it."""
        return self.d_model - 1

    def draw(self, n: int, random: torch.Generator) -> Float[Tensor, "token d_model"]:
        """Normal draws, projected."""
        points = torch.randn(n, self.d_model, generator=random, device=random.device)
        return points * (self.radius / points.norm(dim=1, keepdim=True))

    def curvature(self, points: Float[Tensor, "token d_model"]) -> Float[Tensor, " token"]:
        """1/R everywhere."""
        return torch.full((len(points),), 1.0 / self.radius)


@dataclass(frozen=True)
class Shell(Manifold):
    """A spherical shell: a uniform direction at a radius uniform in ``[1 - thickness, 1 + thickness]``.

    ``thickness = 0.5`` is the shell of Michaud et al. 2025, ``thickness = 0`` the sphere (same directions
    from the same seed).
    """

    d_model: int
    thickness: float = 0.5

    def __post_init__(self) -> None:
        _check("d_model", self.d_model, 2)
        _check("thickness", self.thickness, 0.0, 1.0)

    @property
    def d_int(self) -> int:
        """The full dimension, unless the shell has no thickness."""
        return self.d_model if self.thickness else self.d_model - 1

    def draw(self, n: int, random: torch.Generator) -> Float[Tensor, "token d_model"]:
        """A point of the sphere, then a radius."""
        direction = Sphere(self.d_model).draw(n, random)
        radius = torch.rand(n, 1, generator=random, device=random.device)
        return direction * (1.0 + self.thickness * (2.0 * radius - 1.0))

    def curvature(self, points: Float[Tensor, "token d_model"]) -> Float[Tensor, " token"]:
        """None of its own once it has a thickness: it is an open set of a flat space."""
        return torch.full((len(points),), 0.0 if self.thickness else 1.0)


@dataclass(frozen=True)
class Torus(Manifold):
    """The ring torus in three dimensions, uniform by area; ``major`` to the tube's centre, ``minor`` its
    radius."""

    major: float = 1.0
    minor: float = 0.4
    d_model: int = 3

    def __post_init__(self) -> None:
        _check("d_model", self.d_model, 3, 3)
        _check("minor", self.minor, 0.0, self.major)

    @property
    def d_int(self) -> int:
        """A surface."""
        return 2

    def draw(self, n: int, random: torch.Generator) -> Float[Tensor, "token d_model"]:
        """Angles, the second weighted by the area element ``major + minor cos(v)``."""
        u, uniform = (TAU * torch.rand(2, n, generator=random, device=random.device)).unbind()
        low, high = uniform - self.minor / self.major, uniform + self.minor / self.major
        for _ in range(26):  # bisect v + (minor/major) sin(v) = uniform, which rises, to float32
            v = 0.5 * (low + high)
            above = v + self.minor / self.major * torch.sin(v) > uniform
            low, high = torch.where(above, low, v), torch.where(above, v, high)
        ring = self.major + self.minor * torch.cos(v)
        return torch.stack([ring * torch.cos(u), ring * torch.sin(u), self.minor * torch.sin(v)], dim=1)

    def curvature(self, points: Float[Tensor, "token d_model"]) -> Float[Tensor, " token"]:
        """Half the sum of the principal curvatures ``1/minor`` and ``cos(v) / (major + minor cos(v))``."""
        ring = points[:, :2].norm(dim=1)
        return 0.5 * (1.0 / self.minor + (ring - self.major) / (self.minor * ring)).abs()


@dataclass(frozen=True)
class Helix(Manifold):
    """``turns`` turns of a helix of radius 1 and rise ``pitch`` a turn, uniform by length, about the
    origin."""

    turns: float = 2.0
    pitch: float = 1.0
    d_model: int = 3

    def __post_init__(self) -> None:
        _check("d_model", self.d_model, 3, 3)

    @property
    def d_int(self) -> int:
        """A curve."""
        return 1

    def draw(self, n: int, random: torch.Generator) -> Float[Tensor, "token d_model"]:
        """An angle uniform over the turns."""
        turn = self.turns * (torch.rand(n, generator=random, device=random.device) - 0.5)
        return torch.stack([torch.cos(TAU * turn), torch.sin(TAU * turn), self.pitch * turn], dim=1)

    def curvature(self, points: Float[Tensor, "token d_model"]) -> Float[Tensor, " token"]:
        """``r / (r^2 + c^2)`` with the rise c a radian."""
        return torch.full((len(points),), 1.0 / (1.0 + (self.pitch / TAU) ** 2))


@dataclass(frozen=True)
class Ripple(Manifold):
    """A closed curve that ripples through all its dimensions: planes k = 1 .. d_model/2, each turning k
    times.

    ``decay`` is the power by which amplitude falls with k; the norm is 1 everywhere, so that nothing but the
    number of directions it bends through distinguishes it from a circle.
    """

    d_model: int
    decay: float = 0.0

    def __post_init__(self) -> None:
        _check("d_model", self.d_model, 2)
        if self.d_model % 2:
            raise GeowallError("no such ripple", f"d_model is {self.d_model}, odd", "give an even d_model")

    @property
    def d_int(self) -> int:
        """A curve."""
        return 1

    def _planes(self) -> tuple[Tensor, Tensor]:
        k = torch.arange(1, self.d_model // 2 + 1, dtype=torch.float32)
        amplitude = k**-self.decay
        return k, amplitude / amplitude.norm()

    def draw(self, n: int, random: torch.Generator) -> Float[Tensor, "token d_model"]:
        """An angle, uniform, which is uniform by length since the speed is constant."""
        angle = TAU * torch.rand(n, 1, generator=random, device=random.device)
        k, amplitude = (part.to(random.device) for part in self._planes())
        waves = [amplitude * torch.cos(k * angle), amplitude * torch.sin(k * angle)]
        return torch.stack(waves, dim=2).flatten(1)

    def curvature(self, points: Float[Tensor, "token d_model"]) -> Float[Tensor, " token"]:
        """Acceleration over squared speed."""
        k, amplitude = self._planes()
        value = (amplitude * k**2).norm() / (amplitude * k).square().sum()
        return torch.full((len(points),), float(value))


@dataclass(frozen=True)
class SwissRoll(Manifold):
    """A sheet rolled up along the spiral of radius ``angle / outer``, angles from ``inner`` to ``outer``,
    width 1."""

    inner: float = 1.5 * math.pi
    outer: float = 4.5 * math.pi
    d_model: int = 3

    def __post_init__(self) -> None:
        _check("d_model", self.d_model, 3, 3)
        _check("inner", self.inner, 0.0, self.outer)

    @property
    def d_int(self) -> int:
        """A surface."""
        return 2

    def draw(self, n: int, random: torch.Generator) -> Float[Tensor, "token d_model"]:
        """An angle and a height, both uniform (by angle, not by area)."""
        u, height = torch.rand(2, n, generator=random, device=random.device).unbind()
        angle = self.inner + (self.outer - self.inner) * u
        radius = angle / self.outer
        return torch.stack([radius * torch.cos(angle), height - 0.5, radius * torch.sin(angle)], dim=1)

    def curvature(self, points: Float[Tensor, "token d_model"]) -> Float[Tensor, " token"]:
        """Half the curvature of the spiral: the other principal curvature is none."""
        angle = self.outer * points[:, [0, 2]].norm(dim=1)
        return 0.5 * self.outer * (angle**2 + 2.0) / (angle**2 + 1.0) ** 1.5


@dataclass(frozen=True)
class Mixture(Manifold):
    """Superposed features, ``x = sum_i S_i f_i``: manifolds in subspaces of their own and Zipf discrete
    features.

    Feature i is active independently with its own probability: ``p_manifold`` for each of ``manifolds``, and
    ``min(1, rate * i^-(1 + alpha) / zeta)`` for the discrete ones, whose probabilities sum to ``rate`` (when
    none is cut). With ``d_ambient = 0`` the subspaces are orthogonal (the coordinate axes); otherwise every
    subspace is a random frame of ``d_ambient`` dimensions and they overlap. Michaud et al. 2025, section 2.
    """

    manifolds: tuple[Manifold, ...]
    p_manifold: float = 1.0
    n_discrete: int = 0
    alpha: float = 0.5
    rate: float = 1.0
    d_ambient: int = 0
    seed_subspaces: int = 0

    @property
    def d_int(self) -> int:
        """Dimensions of the manifolds and one for each discrete feature."""
        return sum(part.d_int for part in self.manifolds) + self.n_discrete

    @property
    def d_features(self) -> int:
        """Dimensions of all subspaces together."""
        return sum(part.d_model for part in self.manifolds) + self.n_discrete

    @property
    def d_model(self) -> int:
        """Dimensions of the activations."""
        return self.d_ambient or self.d_features

    @cached_property
    def frequencies(self) -> Float[Tensor, " discrete"]:
        """Probability of each discrete feature, most frequent first."""
        p = torch.arange(1, self.n_discrete + 1, dtype=torch.float64) ** -(1.0 + self.alpha)
        return (self.rate * p / p.sum()).clamp(max=1.0).float()

    @cached_property
    def subspaces(self) -> Float[Tensor, "feature_dim d_model"]:
        """Rows: the axes of every subspace in turn, the manifolds' first; orthonormal within a subspace."""
        if not self.d_ambient:
            return torch.eye(self.d_features)
        widths = [part.d_model for part in self.manifolds] + [1] * self.n_discrete
        random = generator(self.seed_subspaces)
        frames = [torch.linalg.qr(torch.randn(self.d_ambient, w, generator=random))[0].T for w in widths]
        return torch.cat(frames)

    def draw_features(
        self, n: int, random: torch.Generator
    ) -> tuple[Float[Tensor, "token feature_dim"], Bool[Tensor, "token feature"]]:
        """Draw the features before they are superposed: their coordinates, and which of them are active."""
        device, parts = random.device, len(self.manifolds)
        p = torch.cat([torch.full((parts,), self.p_manifold), self.frequencies]).to(device)
        active = torch.rand(n, len(p), generator=random, device=device) < p
        drawn = [part.draw(n, random) * active[:, [i]] for i, part in enumerate(self.manifolds)]
        return torch.cat([*drawn, active[:, parts:].float()], dim=1), active

    def draw(self, n: int, random: torch.Generator) -> Float[Tensor, "token d_model"]:
        """Draw the features and superpose them."""
        features, _ = self.draw_features(n, random)
        return features @ self.subspaces.to(features.device) if self.d_ambient else features


def make(name: str, d: int = 2, thickness: float = 0.0) -> Manifold:
    """A manifold by name, as chapters put it into their parameters.

    Args:
        name: ``circle``, ``sphere``, ``shell``, ``torus``, ``helix``, ``ripple`` or ``swiss_roll``.
        d: dimensions of the space around a sphere, shell or ripple; the others have their own.
        thickness: of a shell.

    Raises:
        GeowallError: if there is no manifold of that name.
    """
    shapes = {
        "circle": lambda: Sphere(2),
        "sphere": lambda: Sphere(d),
        "shell": lambda: Shell(d, thickness),
        "torus": Torus,
        "helix": Helix,
        "ripple": lambda: Ripple(d),
        "swiss_roll": SwissRoll,
    }
    if name not in shapes:
        raise GeowallError("no such manifold", f"{name!r} is not known", f"use one of {', '.join(shapes)}")
    return shapes[name]()


def _check(name: str, value: float, low: float, high: float = math.inf) -> None:
    if not low <= value <= high:
        raise GeowallError("no such manifold", f"{name} is {value}", f"give {name} in [{low}, {high}]")
