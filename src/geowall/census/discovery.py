"""How many features a dictionary has found: latents that a dictionary of another width has found too.

What a feature is cannot be read off one dictionary. But a direction that two dictionaries of different width
reach from different starts is more than an accident of either. With the widest dictionary as the reference,

    D(N) = number of mutually nearest pairs of live decoder rows whose cosine is at least tau,

so that every reference latent is counted once, and two copies of a latent find one feature between them. In
the benign regime D grows like N; where manifolds swallow latents, D falls behind (Michaud et al. 2025).

>>> eye = torch.eye(4)
>>> pairs(torch.cat([eye[:2], eye[:1]]), eye).tolist()
[[0, 0], [1, 1]]
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

TAU = 0.7  # far above chance in 96 dimensions or more; the chapter varies it
TILE = 2048  # rows compared at once

Rows = Float[Tensor, "latent d_model"]


def pairs(narrow: Rows, wide: Rows, tau: float = TAU) -> Int[Tensor, "pair 2"]:
    """Mutually nearest rows of two dictionaries with a cosine of at least ``tau``."""
    if not len(narrow) or not len(wide):
        return torch.zeros(0, 2, dtype=torch.long)
    a, b = normalize(narrow, dim=1), normalize(wide, dim=1)
    forth, cosine, best, back = [], [], torch.full((len(b),), -2.0), torch.zeros(len(b), dtype=torch.long)
    for start in range(0, len(a), TILE):
        cosines = a[start : start + TILE] @ b.T
        top = cosines.max(1)
        forth.append(top.indices)
        cosine.append(top.values)
        column = cosines.max(0)
        better = column.values > best
        best, back = (
            torch.where(better, column.values, best),
            torch.where(better, start + column.indices, back),
        )
    to, near, own = torch.cat(forth), torch.cat(cosine), torch.arange(len(a))
    kept = (back[to] == own) & (near >= tau)
    return torch.stack([own[kept], to[kept]], dim=1)


def merged(rows: Rows, tau: float = 0.9) -> int:
    """Directions left when every row within a cosine ``tau`` of an earlier one is dropped."""
    atoms = normalize(rows, dim=1)
    kept = torch.zeros(0, dtype=torch.long)
    for i in range(len(atoms)):
        if not len(kept) or float((atoms[kept] @ atoms[i]).max()) < tau:
            kept = torch.cat([kept, torch.tensor([i])])
    return len(kept)


def curve(dictionaries: Sequence[Rows], taus: Sequence[float] = (TAU,), seed: int = 0) -> pd.DataFrame:
    """D(N) of dictionaries (their live decoder rows) against the last one, which is the widest.

    Columns: n_live, tau, n_discovered (see the head of this module), n_chance (the same when the rows of the
    narrower dictionary are random directions with its covariance). A row a dictionary but the last, and tau.
    """
    reference, found = dictionaries[-1], []
    for own in dictionaries[:-1]:
        chance = null_rows(own, seed)
        for tau in taus:
            counts = {
                "n_discovered": len(pairs(own, reference, tau)),
                "n_chance": len(pairs(chance, reference, tau)),
            }
            found.append({"n_live": len(own), "tau": tau, **counts})
    return pd.DataFrame(found)


def null_rows(rows: Rows, seed: int) -> Rows:
    """As many random directions, with the covariance of the normalised rows."""
    atoms = normalize(rows.double(), dim=1)
    values, vectors = torch.linalg.eigh(atoms.T @ atoms / max(1, len(atoms)))
    shape = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    random = torch.Generator().manual_seed(seed)
    return (torch.randn(atoms.shape, generator=random, dtype=torch.float64) @ shape).float()


def exponent(n: Sequence[float], discovered: Sequence[float]) -> float:
    """Slope of log D against log N; NaN for fewer than two widths, or where nothing was discovered."""
    x, y = np.asarray(n, float), np.asarray(discovered, float)
    if len(np.unique(x)) < 2 or (y <= 0).any():
        return float("nan")
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])
