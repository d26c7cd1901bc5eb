"""Each gate is a projection: of the pre-activations onto the set that the architecture assumes.

Closed forms, and the same points found by a general solver that knows the set and nothing of the gate
(Hindupur et al. 2025, section 3).

>>> p = np.array([0.9, -0.4, 0.3])
>>> gate("topk", p, k=1).tolist(), solved("topk", p, k=1).round(6).tolist()
([0.9, 0.0, 0.0], [0.9, 0.0, 0.0])
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from scipy.optimize import lsq_linear, minimize

from geowall.kernels.sparsemax import sparsemax_slow
from geowall.projections.scenes import Ring

SETS = {
    "relu": "non-negative orthant",
    "jumprelu": "orthant shifted by the threshold, and a step",
    "topk": "orthant with at most k non-zeros",
    "spade": "probability simplex",
}
Vector = Float[np.ndarray, " latent"]


def gate(architecture: str, p: Vector, k: int = 2, threshold: float = 0.5) -> Vector:
    """The non-linearity as the autoencoder computes it, of pre-activations (of SpaDE: of scores)."""
    if architecture == "relu":
        return np.maximum(p, 0.0)
    if architecture == "jumprelu":
        return p * (p > threshold)
    if architecture == "topk":
        return np.where(np.argsort(np.argsort(-p)) < k, np.maximum(p, 0.0), 0.0)
    return sparsemax_slow(torch.from_numpy(p)).numpy()


def solved(architecture: str, p: Vector, k: int = 2, threshold: float = 0.5) -> Vector:
    """The point of the architecture's set nearest to ``p``, by a general solver.

    JumpReLU is the projection onto the shifted orthant, taken back to zero, plus a step of the threshold's
    height where the projection is inside.
    """
    if architecture == "relu":
        return _box(p, 0.0)
    if architecture == "jumprelu":
        inside = _box(p, threshold) - threshold
        return inside + threshold * (inside > 1e-9)
    if architecture == "topk":
        return _sparse(p, k)
    return _simplex(lambda z: 0.5 * np.sum((z - p) ** 2), lambda z: z - p, len(p))


def _box(p: Vector, low: float) -> Vector:
    bounds = (np.full(len(p), low), np.full(len(p), np.inf))
    return lsq_linear(np.eye(len(p)), p, bounds, tol=1e-14).x


def _sparse(p: Vector, k: int) -> Vector:
    """Every support in turn: the set is a union of orthants, and no convex solver knows which."""
    best, point = np.inf, np.zeros(len(p))
    for support in itertools.combinations(range(len(p)), k):
        z = np.zeros(len(p))
        z[list(support)] = _box(p[list(support)], 0.0)
        if np.sum((z - p) ** 2) < best:
            best, point = np.sum((z - p) ** 2), z
    return point


def _simplex(value, slope, n: int) -> Vector:
    total = {"type": "eq", "fun": lambda z: z.sum() - 1.0, "jac": np.ones_like}
    options = {"ftol": 1e-15, "maxiter": 500}
    bounds = [(0.0, 1.0)] * n
    found = minimize(
        value, np.full(n, 1.0 / n), jac=slope, bounds=bounds, constraints=[total], options=options
    )
    return found.x


def solved_spade(distances: Vector, sharpness: float) -> Vector:
    """SpaDE's inner problem: ``min sum z_i d_i + |z|^2 / (2 L)`` over the simplex, by a general solver."""

    def value(z):
        return z @ distances + z @ z / (2.0 * sharpness)

    return _simplex(value, lambda z: distances + z / sharpness, len(distances))


def agreement(n_latents: int, n_points: int, seed: int) -> pd.DataFrame:
    """How far gates are from the solver's answers on random pre-activations.

    A row an architecture: columns architecture, constraint_set, n_points, largest_difference, the largest of
    any component; SpaDE's row takes the worse of the projection and of its inner problem.
    """
    rng, rows = np.random.default_rng(seed), []
    points = rng.standard_normal((n_points, n_latents))
    for architecture, name in SETS.items():
        off = max(float(np.abs(gate(architecture, p) - solved(architecture, p)).max()) for p in points)
        if architecture == "spade":
            far = points**2
            inner = [np.abs(gate("spade", -0.7 * d) - solved_spade(d, 0.7)).max() for d in far]
            off = max(off, float(max(inner)))
        rows.append((architecture, name, n_points, off))
    return pd.DataFrame(rows, columns=["architecture", "constraint_set", "n_points", "largest_difference"])


def best_half_plane(n_tokens: int, n_directions: int, seed: int) -> pd.DataFrame:
    """The largest F1 of any half plane for each cluster of the ring, over directions and all thresholds.

    The ceiling of one ReLU or JumpReLU latent. Columns: concept, kind (``outer``, ``inner``), f1, angle (of
    the half plane's normal, degrees).
    """
    ring = Ring()
    x, holds = ring.labelled(n_tokens, seed)
    size = torch.arange(1, n_tokens + 1)[:, None]
    best = [(0.0, 0.0)] * len(ring.names)
    for degrees in torch.linspace(0, 360, n_directions + 1)[:-1].tolist():
        normal = torch.tensor([math.cos(math.radians(degrees)), math.sin(math.radians(degrees))])
        inside = holds[(x @ normal).argsort(descending=True)].float().cumsum(0)
        scores = (2.0 * inside / (size + holds.sum(0))).max(0).values.tolist()
        best = [max(old, (score, degrees)) for old, score in zip(best, scores, strict=True)]
    rows = [(name, name.split()[0], *found) for name, found in zip(ring.names, best, strict=True)]
    return pd.DataFrame(rows, columns=["concept", "kind", "f1", "angle"])
