"""Is a concept in the code? F1 of single latents, of latents chosen on other tokens, of unions of several.

A latent is read as a detector: it fires (above 1e-6) or it does not. F1 of the best latent is what the
literature reports; it favours many narrow latents as soon as unions are allowed and few broad ones as long as
they are not, so both are here, and a choice is always scored on tokens it was not made on.

>>> fires = torch.tensor([[1, 0], [1, 0], [0, 1], [0, 0]]).bool()
>>> holds = torch.tensor([[1], [1], [1], [0]]).bool()
>>> f1(fires, holds).flatten().tolist(), round(float(union(fires, holds, fires, holds, 2)[0][1, 0]), 2)
([0.800000011920929, 0.5], 1.0)
"""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

FIRES = 1e-6  # a code above this counts as active (Hindupur et al. 2025)

Fires = Bool[Tensor, "token latent"]
Holds = Bool[Tensor, "token concept"]


def f1(fires: Fires, holds: Holds) -> Float[Tensor, "latent concept"]:
    """F1 of every latent as a detector of every concept."""
    on, truth = fires.float(), holds.float()
    return 2.0 * (on.T @ truth) / (on.sum(0)[:, None] + truth.sum(0)[None, :]).clamp(min=1.0)


def best_mean(scores: Float[Tensor, "latent concept"], m: int) -> Float[Tensor, " concept"]:
    """Mean F1 of the ``m`` best latents of each concept."""
    return scores.topk(min(m, len(scores)), dim=0).values.mean(0)


def held_out(
    fires: Fires, holds: Holds, test_fires: Fires, test_holds: Holds
) -> tuple[Float[Tensor, " concept"], Int[Tensor, " concept"]]:
    """F1 on test tokens of the latent that is best on others, and which it is."""
    chosen = f1(fires, holds).argmax(0)
    return f1(test_fires, test_holds).gather(0, chosen[None])[0], chosen


def union(
    fires: Fires, holds: Holds, test_fires: Fires, test_holds: Holds, m: int
) -> tuple[Float[Tensor, "count concept"], Float[Tensor, "count concept"]]:
    """F1 of unions of 1 .. ``m`` latents, chosen greedily on some tokens: on those, and on test tokens."""
    on, truth = fires.float(), holds.float()
    joint, test_joint = torch.zeros_like(holds), torch.zeros_like(test_holds)
    own, tested = [], []
    for _ in range(m):
        free = (~joint).float()
        hits = on.T @ (free * truth) + (joint & holds).sum(0)
        size = on.T @ free + joint.sum(0)
        chosen = (2.0 * hits / (size + truth.sum(0)).clamp(min=1.0)).argmax(0)
        joint, test_joint = joint | fires[:, chosen], test_joint | test_fires[:, chosen]
        own.append(_paired(joint, holds))
        tested.append(_paired(test_joint, test_holds))
    # A latent that does harm need not be added.
    own, tested = torch.stack(own), torch.stack(tested)
    best = torch.stack([own[: i + 1].argmax(0) for i in range(m)])
    return own.gather(0, best), tested.gather(0, best)


def _paired(fires: Holds, holds: Holds) -> Float[Tensor, " concept"]:
    return 2.0 * (fires & holds).sum(0) / (fires.sum(0) + holds.sum(0)).clamp(min=1)


def enough(scores: Float[Tensor, "count concept"], share: float = 0.95) -> Int[Tensor, " concept"]:
    """Fewest latents whose union reaches a share of the F1 of the largest union."""
    return (scores >= share * scores[-1]).float().argmax(0) + 1


def similarity(codes: Float[Tensor, "token latent"]) -> Float[Tensor, "token token"]:
    """Cosine similarity of the codes of every pair of tokens; a token without a code is like none."""
    unit = torch.nn.functional.normalize(codes, dim=1)
    return unit @ unit.T


def stable_rank(matrix: Float[Tensor, "row column"]) -> float:
    """Squared Frobenius over squared spectral norm: of a block diagonal similarity of equal blocks, their
    number."""
    return float(matrix.square().sum() / torch.linalg.matrix_norm(matrix, 2).square().clamp(min=1e-30))


def blocks(
    similar: Float[Tensor, "token token"], holds: Holds, seed: int = 0
) -> tuple[int, Int[np.ndarray, " token"], float]:
    """Spectral clusters of a similarity matrix, as many as its stable rank, rounded up.

    Returns their number, the cluster of each token, and the adjusted Rand index with the concepts: 1 when
    every cluster is a concept.
    """
    from sklearn.cluster import SpectralClustering
    from sklearn.metrics import adjusted_rand_score

    count = max(1, math.ceil(stable_rank(similar) - 1e-3))
    truth = holds.float().argmax(1).numpy()
    if count == 1:
        found = np.zeros(len(truth), dtype=int)
    else:
        affinity = similar.clamp(min=0.0).double().numpy() + 1e-6
        model = SpectralClustering(count, affinity="precomputed", random_state=seed, n_init=4)
        found = model.fit_predict(affinity)
    return count, found, float(adjusted_rand_score(truth, found))
