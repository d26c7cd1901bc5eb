"""Who serves whom: which latents of an autoencoder stand for which feature of a mixture.

A latent belongs to the feature whose subspace holds most of its decoder row; a discrete feature is discovered
when one latent points along it (cosine above 0.9) and fires with it (F1 above 0.9). Orthogonal subspaces
split the squared error exactly, so the loss can be read feature by feature.

>>> from geowall.manifolds import Mixture
>>> mixture = Mixture((), n_discrete=3, rate=1.0)
>>> eye = torch.eye(3)
>>> perfect = Sae("relu", 1, eye, torch.zeros(3), eye, torch.zeros(3), torch.zeros(3))
>>> features(perfect, mixture, n_tokens=2000, seed=0)["discovered"].tolist()
[True, True, True]
"""

from __future__ import annotations

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from geowall.manifolds import Mixture, generator
from geowall.sae.model import Sae
from geowall.sae.schedule import derive

COSINE, F1 = 0.9, 0.9
TILE = 4096  # tokens at once


def shares(sae: Sae, mixture: Mixture) -> Float[Tensor, "latent feature"]:
    """Share of each decoder row's squared norm that lies in each feature's subspace."""
    along = (sae.W_dec @ mixture.subspaces.T).square() / sae.W_dec.square().sum(1, keepdim=True)
    owner = _owners(mixture)
    return torch.zeros(len(along), _count(mixture)).index_add_(1, owner, along)


def features(sae: Sae, mixture: Mixture, n_tokens: int = 65_536, seed: int = 0) -> pd.DataFrame:
    """A row for each feature, manifolds first.

    Columns: ``feature``, ``kind`` (``manifold`` or ``discrete``), ``p`` (how often it was active),
    ``n_latents`` (live latents that belong to it), ``specificity`` (mean share of their decoder rows in its
    subspace), ``cosine`` and ``f1`` (of the latent that fires with it best), ``discovered`` (a manifold: has
    a latent), ``mse`` (mean squared error in its subspace, over all tokens; the rows add up to the whole
    where subspaces are orthogonal).
    """
    fired, active, together, error = _statistics(sae, mixture, n_tokens, seed)
    share, live = shares(sae, mixture), fired > 0
    belongs = torch.nn.functional.one_hot(share.argmax(1), _count(mixture)).bool() & live[:, None]
    counts = belongs.sum(0)
    specific = (share * belongs).sum(0) / counts
    f1 = 2.0 * together / (fired[:, None] + active[None, :]).clamp(min=1.0)
    parts = len(mixture.manifolds)
    axes = mixture.subspaces[sum(m.d_model for m in mixture.manifolds) :]
    cosine = torch.cat([torch.ones(sae.d_sae, parts), _cosines(sae.W_dec, axes)], dim=1)
    best = f1.max(0)
    found = ((cosine > COSINE) & (f1 > F1)).any(0)
    found[:parts] = counts[:parts] > 0
    columns = {
        "feature": range(_count(mixture)),
        "kind": ["manifold"] * parts + ["discrete"] * mixture.n_discrete,
        "p": (active / n_tokens).tolist(),
        "n_latents": counts.tolist(),
        "specificity": specific.tolist(),
        "cosine": cosine.gather(0, best.indices[None])[0].tolist(),
        "f1": best.values.tolist(),
        "discovered": found.tolist(),
        "mse": (error / n_tokens).tolist(),
    }
    return pd.DataFrame(columns)


def _statistics(
    sae: Sae, mixture: Mixture, n_tokens: int, seed: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Firings of each latent, activity of each feature, both at once, and squared error by subspace."""
    owner = _owners(mixture)
    # Without an ambient space the subspaces are the axes: a product with the identity only costs.
    frames = mixture.subspaces if mixture.d_ambient else None
    fired, active = torch.zeros(sae.d_sae), torch.zeros(_count(mixture))
    together, error = torch.zeros(sae.d_sae, _count(mixture)), torch.zeros(_count(mixture))
    for start in range(0, n_tokens, TILE):
        count = min(TILE, n_tokens - start)
        drawn, is_active = mixture.draw_features(count, generator(derive(seed, "discovery", start)))
        x = drawn if frames is None else drawn @ frames
        codes, on_feature = sae.encode(x), is_active.float()
        on = (codes > 0).float()
        fired, active = fired + on.sum(0), active + on_feature.sum(0)
        together += on.T @ on_feature
        missing = x - sae.decode(codes)
        error.index_add_(0, owner, (missing if frames is None else missing @ frames.T).square().sum(0))
    return fired, active, together, error


def _owners(mixture: Mixture) -> Tensor:
    widths = [part.d_model for part in mixture.manifolds] + [1] * mixture.n_discrete
    return torch.repeat_interleave(torch.arange(len(widths)), torch.tensor(widths))


def _count(mixture: Mixture) -> int:
    return len(mixture.manifolds) + mixture.n_discrete


def _cosines(rows: Tensor, axes: Tensor) -> Tensor:
    return torch.nn.functional.normalize(rows, dim=1) @ axes.T
