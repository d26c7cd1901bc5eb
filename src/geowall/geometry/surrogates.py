"""Clouds without curvature that share something with a given one: what do the summaries say of them?

Every surrogate is a Gaussian, or a mixture of Gaussians, and so lies flat in the space: what a curvature
summary reports on it is not curvature.

>>> x = torch.randn(400, 5, generator=torch.Generator().manual_seed(0)) * torch.arange(1, 6)
>>> twin = surrogate("gaussian", x, seed=1)
>>> twin.shape, float((twin.T.cov() - x.T.cov()).abs().max()) < 6.0
(torch.Size([400, 5]), True)
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from sklearn.cluster import KMeans
from torch import Tensor

from geowall.geometry import dimension
from geowall.geometry.spectrum import participation
from geowall.kernels.neighbours import neighbours
from geowall.manifolds import generator
from geowall.paths import GeowallError

SURROGATES = ("gaussian", "gaussian_same_d_int", "clusters", "flat")
WINDOW = 100  # neighbours over which d_int is averaged


def surrogate(
    kind: str, x: Float[Tensor, "point d"], seed: int, n_clusters: int = 32, d_flat: int = 10
) -> Float[Tensor, "point d"]:
    """As many points as ``x`` from a flat cloud of its likeness.

    Args:
        kind: ``gaussian`` has the mean and covariance of ``x``; ``gaussian_same_d_int`` has its mean, its
            principal directions and its ``d_int``: the deviations along them are raised to a power, found
            by bisection, at which the draw reads as many dimensions as ``x``; ``clusters`` has as many points
            and the mean of each of ``n_clusters`` k-means clusters, and its covariance as far as its points
            tell; ``flat`` is ``gaussian`` in the leading ``d_flat`` principal directions alone.
        x: the cloud.
        seed: of clusters and draws.
        n_clusters: cells of ``clusters``. The few points of a small cell span too few dimensions: so the
            covariance that cells share counts in each as so many points as it has dimensions.
        d_flat: dimensions of ``flat``.

    Raises:
        GeowallError: an unknown kind, or more clusters than points.
    """
    random = generator(seed)
    if kind == "gaussian":
        return _gaussian(x, random)
    if kind == "gaussian_same_d_int":
        return _thinned(x, random)
    if kind == "flat":
        return _gaussian(x, random, d_flat)
    if kind == "clusters" and n_clusters > len(x):
        why = f"{len(x)} points were to make {n_clusters} clusters"
        raise GeowallError("there are more clusters than points", why, "ask for fewer")
    if kind == "clusters":
        return _mixture(x, random, n_clusters, seed)
    raise GeowallError("no such surrogate", f"{kind!r} is not known", f"use one of {', '.join(SURROGATES)}")


def _mixture(x: Tensor, random: torch.Generator, n_clusters: int, seed: int) -> Tensor:
    """Normal draws in every k-means cell, with its mean and its covariance, shrunk to the shared one."""
    found = KMeans(n_clusters, n_init=1, max_iter=30, random_state=seed).fit_predict(x.numpy())
    cells = [torch.from_numpy(np.flatnonzero(found == c)) for c in range(n_clusters)]
    around = torch.cat([x[own] - x[own].mean(0) for own in cells]).double()
    shared = around.T @ around / max(1, len(x) - n_clusters)
    weight = participation(torch.linalg.eigvalsh(shared)) if n_clusters < len(x) else 1.0
    twin = torch.empty_like(x)
    for own in cells:
        mean = x[own].mean(0)
        scatter = (x[own] - mean).double().T @ (x[own] - mean).double()
        covariance = (scatter + weight * shared) / (len(own) - 1 + weight)
        z = torch.randn(len(own), x.shape[1], generator=random)
        twin[own] = mean + (z - z.mean(0)) @ _root(covariance).T  # draws of a Gaussian, given their mean
    return twin


def _root(covariance: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(covariance)
    return (vectors * values.clamp(min=0.0).sqrt()).float()


def _gaussian(x: Tensor, random: torch.Generator, rank: int | None = None) -> Tensor:
    """Normal draws with the mean and the covariance of ``x``, or of its leading directions."""
    mean = x.mean(0)
    centred = x - mean
    if rank is not None:
        _, _, v = torch.linalg.svd(centred.double(), full_matrices=False)
        leading = v[:rank].float()
        centred = (centred @ leading.T) @ leading
    # Random mixtures of the centred rows have their covariance, whatever its rank.
    if len(x) <= x.shape[1]:
        mix = torch.randn(len(x), len(x), generator=random) / (len(x) - 1) ** 0.5
        return mean + mix @ centred
    root = _root(centred.double().T @ centred.double() / (len(x) - 1))
    return mean + torch.randn(len(x), x.shape[1], generator=random) @ root.T


def _thinned(x: Tensor, random: torch.Generator, within: float = 0.01, rounds: int = 14) -> Tensor:
    """Normal draws along the principal directions, their spectrum raised to where ``d_int`` is that of ``x``.

    The same normal numbers are stretched in every round, so that the reading falls smoothly as the power
    grows. Where no power from 1/64 to 64 will do, the nearer end is taken, as the layer's table shows.
    """
    mean = x.mean(0)
    _, spread, v = torch.linalg.svd((x - mean).double(), full_matrices=False)
    spread = spread[spread > 1e-6 * spread[0]]
    z = torch.randn(len(x), len(spread), generator=random)
    target, low, high = _d_int(x), np.log(1 / 64), np.log(64.0)
    for _ in range(rounds):
        middle = 0.5 * (low + high)
        deviation = (spread / spread[0]) ** float(np.exp(middle))
        drawn = z * deviation.float()
        found = _d_int(drawn)
        if abs(found / target - 1.0) < within:
            break
        low, high = (middle, high) if found > target else (low, middle)
    size = spread.square().sum().sqrt() / deviation.square().sum().sqrt() / (len(x) - 1) ** 0.5
    return mean + (drawn * size.float()) @ v[: len(spread)].float()


def _d_int(x: Tensor) -> float:
    graph = neighbours(x, min(WINDOW, len(x) - 1))
    return float(dimension.windowed(dimension.log_ratio(graph.distance), graph.index, WINDOW).mean())
