"""Global spectra: participation ratio, spectral tail, and dimensions of principal components.

>>> flat = torch.randn(2000, 3, generator=torch.Generator().manual_seed(0)) @ torch.eye(3, 10)
>>> values = eigenvalues(flat)
>>> round(participation(values), 1), components(values, 0.99)
(3.0, 3)
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor


def eigenvalues(x: Float[Tensor, "point d"]) -> Float[Tensor, " rank"]:
    """Eigenvalues of the covariance, falling, from the smaller of the two products; at most n - 1."""
    centred = x.double() - x.double().mean(0)
    n, d = centred.shape
    gram = centred.T @ centred if d <= n else centred @ centred.T
    values = torch.linalg.eigvalsh(gram / (n - 1)).flip(0).clamp(min=0.0)
    return values[: min(n - 1, d)]


def participation(values: Float[Tensor, " rank"]) -> float:
    """``(sum l)^2 / sum l^2``: how many directions share the variance."""
    return float(values.sum() ** 2 / values.square().sum())


def components(values: Float[Tensor, " rank"], share: float = 0.9) -> int:
    """Principal components that hold this share of the variance."""
    reached = values.cumsum(0) / values.sum() >= share - 1e-12
    return int(reached.int().argmax()) + 1


def tail_exponent(values: Float[Tensor, " rank"], first: int = 5, share: float = 0.5) -> float:
    """Exponent ``a`` of ``l_i ~ i^-a``: least squares in logs from rank ``first`` to ``share`` of the ranks.

    Not a number where fewer than four eigenvalues lie in that range.
    """
    last = int(share * len(values))
    kept = values[first - 1 : last]
    kept = kept[kept > 1e-12 * values[0]]
    if len(kept) < 4:
        return math.nan
    x = torch.arange(first, first + len(kept), dtype=torch.float64).log()
    y = kept.double().log()
    x = x - x.mean()
    return float(-(x * y).sum() / (x * x).sum())
