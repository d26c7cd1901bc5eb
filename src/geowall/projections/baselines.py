"""SpaDE's closest relatives, fitted without a gradient: k-means, and radial basis functions.

Both place centres by k-means. Vector quantisation gives every token the one nearest centre; radial basis
functions give it all centres within a radius, weighted by a Gaussian, and a decoder by least squares. What
they lack of SpaDE is the projection onto the simplex that ties the weights to each other.

>>> x = torch.randn(2000, 2, generator=torch.Generator().manual_seed(0))
>>> coder = kmeans(x, 16, strength=8, seed=0)
>>> coder.encode(x[:100]).sum(1).unique().tolist(), coder.decode(coder.encode(x)).shape == x.shape
([1.0], True)
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

TOKENS = 4096  # that the centres are fitted on
REACH = 2.0  # radii beyond which a radial basis function is cut to zero


@dataclass(frozen=True)
class Prototypes:
    """Codes by distance to centres: of the nearest alone (radius 0), or Gaussians of a radius, cut off."""

    centres: Float[Tensor, "latent d_model"]
    radius: float
    W_dec: Float[Tensor, "latent d_model"]
    b_dec: Float[Tensor, " d_model"]

    def encode(self, x: Float[Tensor, "token d_model"]) -> Float[Tensor, "token latent"]:
        """Codes from 0 to 1."""
        square = torch.cdist(x, self.centres).square()
        if not self.radius:
            return torch.nn.functional.one_hot(square.argmin(1), len(self.centres)).float()
        share = square / self.radius**2
        return torch.exp(-0.5 * share) * (share < REACH**2)

    def decode(self, codes: Float[Tensor, "token latent"]) -> Float[Tensor, "token d_model"]:
        """A linear map of the codes."""
        return codes @ self.W_dec + self.b_dec


def _centres(x: Tensor, count: int, seed: int) -> Tensor:
    from sklearn.cluster import KMeans

    model = KMeans(count, n_init=1, random_state=seed, max_iter=100).fit(x.double().numpy())
    return torch.from_numpy(model.cluster_centers_).float()


def kmeans(x: Float[Tensor, "token d_model"], n_latents: int, strength: float, seed: int) -> Prototypes:
    """Vector quantisation with ``strength`` centres, at most ``n_latents``."""
    centres = _centres(x, min(n_latents, int(strength)), seed)
    return Prototypes(centres, 0.0, centres, torch.zeros(x.shape[1]))


def radial(x: Float[Tensor, "token d_model"], n_latents: int, strength: float, seed: int) -> Prototypes:
    """Radial basis functions, of a radius ``strength`` times the median distance of neighbouring centres."""
    centres = _centres(x, n_latents, seed)
    near = torch.cdist(centres, centres) + torch.diag(torch.full((len(centres),), math.inf))
    radius = strength * float(near.min(1).values.median())
    blank = Prototypes(centres, radius, torch.zeros_like(centres), torch.zeros(x.shape[1]))
    codes = torch.cat([blank.encode(x), torch.ones(len(x), 1)], dim=1).double()
    ridge = 1e-6 * len(x) * torch.eye(codes.shape[1], dtype=torch.float64)
    weights = torch.linalg.solve(codes.T @ codes + ridge, codes.T @ x.double()).float()
    return Prototypes(centres, radius, weights[:-1], weights[-1])
