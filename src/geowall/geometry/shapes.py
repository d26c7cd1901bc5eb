"""Clouds whose dimension and curvature are known, beside those of :mod:`geowall.manifolds`.

>>> tiles = Circles(3)
>>> tiles.d_int, tiles.d_model, round(float(tiles.curvature(tiles.sample(1, 0))[0]), 3)
(3, 6, 0.577)
>>> embedded(Linear(2), 500, d_ambient=7, noise=0.0, seed=0).shape
torch.Size([500, 7])
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from geowall.manifolds import Helix, Manifold, Ripple, Shell, Sphere, SwissRoll, Torus, generator
from geowall.paths import GeowallError


@dataclass(frozen=True)
class Linear(Manifold):
    """A linear space: ``normal`` draws of deviations ``i^-decay / 2``, or uniform in ``ball`` or ``cube``."""

    d: int
    density: str = "normal"
    decay: float = 0.0

    @property
    def d_model(self) -> int:
        """The space itself."""
        return self.d

    @property
    def d_int(self) -> int:
        """All of it."""
        return self.d

    def draw(self, n: int, random: torch.Generator) -> Float[Tensor, "token d_model"]:
        """Normal draws, pushed to a uniform radius for the ball; uniform ones for the cube."""
        if self.density == "cube":
            return 2 * torch.rand(n, self.d, generator=random) - 1
        x = torch.randn(n, self.d, generator=random)
        if self.density == "ball":
            radius = torch.rand(n, 1, generator=random) ** (1.0 / self.d)
            return x / x.norm(dim=1, keepdim=True) * radius
        return x * torch.arange(1, self.d + 1) ** -(0.5 * self.decay)

    def curvature(self, points: Float[Tensor, "token d_model"]) -> Float[Tensor, " token"]:
        """None."""
        return torch.zeros(len(points))


@dataclass(frozen=True)
class Circles(Manifold):
    """A product of ``d`` unit circles, the flat torus in ``2 d`` dimensions: no ends, and bent everywhere."""

    d: int

    @property
    def d_model(self) -> int:
        """Two a circle."""
        return 2 * self.d

    @property
    def d_int(self) -> int:
        """One a circle."""
        return self.d

    def draw(self, n: int, random: torch.Generator) -> Float[Tensor, "token d_model"]:
        """Angles, uniform."""
        angle = 2 * math.pi * torch.rand(n, self.d, generator=random)
        return torch.cat([angle.cos(), angle.sin()], 1)

    def curvature(self, points: Float[Tensor, "token d_model"]) -> Float[Tensor, " token"]:
        """``|tr II| / d``: d unit accelerations at right angles, over d."""
        return torch.full((len(points),), self.d**-0.5)


@dataclass(frozen=True)
class Spheres(Manifold):
    """A product of unit spheres of two dimensions, and a circle if ``d`` is odd: between the two others."""

    d: int

    @property
    def d_model(self) -> int:
        """Three a sphere, two a circle."""
        return self.d + -(-self.d // 2)

    @property
    def d_int(self) -> int:
        """Two a sphere."""
        return self.d

    def draw(self, n: int, random: torch.Generator) -> Float[Tensor, "token d_model"]:
        """Normal draws of each factor, pushed to its radius."""
        sizes = [3] * (self.d // 2) + [2] * (self.d % 2)
        x = torch.randn(n, sum(sizes), generator=random).split(sizes, 1)
        return torch.cat([part / part.norm(dim=1, keepdim=True) for part in x], 1)

    def curvature(self, points: Float[Tensor, "token d_model"]) -> Float[Tensor, " token"]:
        """``|tr II| / d``: each factor's trace is its dimension, at right angles to the others'."""
        square = 4 * (self.d // 2) + self.d % 2
        return torch.full((len(points),), square**0.5 / self.d)


@dataclass(frozen=True)
class Cylinder(Manifold):
    """A unit circle times an interval of length two."""

    @property
    def d_model(self) -> int:
        """Three."""
        return 3

    @property
    def d_int(self) -> int:
        """A surface."""
        return 2

    def draw(self, n: int, random: torch.Generator) -> Float[Tensor, "token d_model"]:
        """An angle and a height."""
        angle, height = torch.rand(2, n, generator=random)
        angle = 2 * math.pi * angle
        return torch.stack([angle.cos(), angle.sin(), 2 * height - 1], 1)

    def curvature(self, points: Float[Tensor, "token d_model"]) -> Float[Tensor, " token"]:
        """Half of the circle's."""
        return torch.full((len(points),), 0.5)


@dataclass(frozen=True)
class Bowl(Manifold):
    """A graph of quadratics over ``d`` normal coordinates of deviation 1/2, in ``d`` normal directions.

    Normal direction ``m`` is ``bend u^T A_m u / 2`` with ``A_m`` a fixed random symmetric matrix, so that
    ``bend = 0`` is flat and nothing else changes with ``bend``.
    """

    d: int
    bend: float = 1.0

    @property
    def d_model(self) -> int:
        """As many normal directions as tangent ones."""
        return 2 * self.d

    @property
    def d_int(self) -> int:
        """The coordinates."""
        return self.d

    def form(self) -> Float[Tensor, "normal d d"]:
        """The second fundamental form at the origin."""
        a = torch.randn(self.d, self.d, self.d, generator=generator(7))
        a = 0.5 * (a + a.mT)
        return self.bend * a / (a.square().sum() / self.d).sqrt()  # |II|^2 / d = bend^2

    def draw(self, n: int, random: torch.Generator) -> Float[Tensor, "token d_model"]:
        """Coordinates, then heights."""
        u = 0.5 * torch.randn(n, self.d, generator=random)
        return torch.cat([u, 0.5 * torch.einsum("ni,mij,nj->nm", u, self.form(), u)], 1)

    def curvature(self, points: Float[Tensor, "token d_model"]) -> Float[Tensor, " token"]:
        """``|tr II| / d`` from the gradient and the Hessian of the graph at each point."""
        u, form = points[:, : self.d].double(), self.form().double()
        slope = torch.einsum("mij,nj->nim", form, u)
        metric = torch.eye(self.d, dtype=torch.float64) + slope @ slope.mT
        trace = torch.einsum("nij,mij->nm", torch.linalg.inv(metric), form)  # of the heights, raised
        tilt = torch.eye(self.d, dtype=torch.float64) + slope.mT @ slope
        square = torch.einsum("nm,nmk,nk->n", trace, torch.linalg.inv(tilt), trace)
        return (square.sqrt() / self.d).float()


@dataclass(frozen=True)
class Clusters(Manifold):
    """Flat Gaussian blobs of ``d`` dimensions, ``n_clusters`` of them, their weights Zipf's."""

    d: int
    n_clusters: int

    @property
    def d_model(self) -> int:
        """The space itself."""
        return self.d

    @property
    def d_int(self) -> int:
        """All of it."""
        return self.d

    def draw(self, n: int, random: torch.Generator) -> Float[Tensor, "token d_model"]:
        """A blob by its weight, then a point: deviation 0.15 about centres of deviation 1/2."""
        centres = 0.5 * torch.randn(self.n_clusters, self.d, generator=random)
        weights = 1.0 / torch.arange(1, self.n_clusters + 1)
        which = torch.multinomial(weights, n, replacement=True, generator=random)
        return centres[which] + 0.15 * torch.randn(n, self.d, generator=random)

    def curvature(self, points: Float[Tensor, "token d_model"]) -> Float[Tensor, " token"]:
        """None."""
        return torch.zeros(len(points))


def make(name: str, d: int, value: float = 1.0) -> Manifold:
    """A cloud by name; ``value`` is a radius, a bend, a decay or a number of clusters.

    Raises:
        GeowallError: if there is none of that name.
    """
    known = {
        "sphere": lambda: Sphere(d + 1, radius=value),
        "circles": lambda: Circles(d),
        "normal": lambda: Linear(d),
        "ball": lambda: Linear(d, "ball"),
        "cube": lambda: Linear(d, "cube"),
        "spheres": lambda: Spheres(d),
        "power_law": lambda: Linear(d, decay=value),
        "bowl": lambda: Bowl(d, value),
        "clusters": lambda: Clusters(d, int(value)),
        "circle": lambda: Sphere(2),
        "shell": lambda: Shell(d),
        "helix": Helix,
        "ripple": lambda: Ripple(8),
        "torus": Torus,
        "cylinder": Cylinder,
        "swiss_roll": SwissRoll,
    }
    if name not in known:
        raise GeowallError("no such cloud", f"{name!r} is not known", f"use one of {', '.join(known)}")
    return known[name]()


def embedded(shape: Manifold, n: int, d_ambient: int, noise: float, seed: int) -> Float[Tensor, "token D"]:
    """Points of a shape, turned at random in ``d_ambient`` dimensions, with isotropic noise.

    Raises:
        GeowallError: if the shape does not fit.
    """
    random = generator(seed)
    x = shape.draw(n, random)
    if x.shape[1] > d_ambient:
        why = f"it takes {x.shape[1]} dimensions and d_ambient is {d_ambient}"
        raise GeowallError("the shape was not embedded", why, f"give d_ambient of {x.shape[1]} or more")
    frame = torch.linalg.qr(torch.randn(d_ambient, x.shape[1], generator=random))[0]
    return x @ frame.T + noise * torch.randn(n, d_ambient, generator=random)
