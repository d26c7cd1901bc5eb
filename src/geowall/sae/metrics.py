"""How good a reconstruction is, how sparse its codes, how its latents lie: each number defined once.

>>> x = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
>>> float(mse(x, 0.5 * x)), float(nmse(x, 0.5 * x)), float(fvu(x, x.mean(0).expand(2, 2)))
(0.625, 0.25, 1.0)
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

from geowall.kernels import spade
from geowall.kernels.sae_step import Rule
from geowall.sae.model import Sae
from geowall.sae.schedule import Member, derive

Tokens = Float[Tensor, "token d_model"]
TILE = 2**22  # codes held at once: 16 MB


def mse(x: Tokens, reconstruction: Tokens) -> Float[Tensor, ""]:
    """Squared error summed over dimensions, mean over tokens: the loss that training minimises."""
    return (x - reconstruction).square().sum(1).mean()


def token_nmse(x: Tokens, reconstruction: Tokens) -> Float[Tensor, " token"]:
    """Squared error of each token over its own squared norm, uncentred (Zaher et al. 2026, section 3)."""
    return (x - reconstruction).square().sum(1) / x.square().sum(1).clamp(min=1e-30)


def inner(values: Float[Tensor, " token"], trim: float = 0.05) -> Bool[Tensor, " token"]:
    """The tokens left when a share ``trim`` is cut from either end of the ranking."""
    cut = int(trim * len(values))
    kept = torch.zeros(len(values), dtype=torch.bool, device=values.device)
    kept[values.argsort()[cut : len(values) - cut]] = True
    return kept


def nmse(x: Tokens, reconstruction: Tokens, trim: float = 0.05) -> Float[Tensor, ""]:
    """Mean of :func:`token_nmse` over the inner tokens."""
    values = token_nmse(x, reconstruction)
    return values[inner(values, trim)].mean()


def fvu(x: Tokens, reconstruction: Tokens) -> Float[Tensor, ""]:
    """Fraction of variance unexplained: squared error over that of predicting the mean."""
    return (x - reconstruction).square().sum() / (x - x.mean(0)).square().sum()


def cosine_distance(x: Tokens, reconstruction: Tokens) -> Float[Tensor, ""]:
    """Mean of one minus the cosine between a token and its reconstruction."""
    return (1.0 - cosine_similarity(x, reconstruction, dim=1)).mean()


def neighbour_cosine(W_dec: Float[Tensor, "latent d_model"]) -> Float[Tensor, " latent"]:
    """Largest cosine of each latent's decoder row with any other's; NaN where there is no other."""
    atoms = normalize(W_dec, dim=1)
    if len(atoms) < 2:
        return atoms.new_full((len(atoms),), torch.nan)
    nearest = []
    for start in range(0, len(atoms), 1024):
        cosines = atoms[start : start + 1024] @ atoms.T
        cosines[torch.arange(len(cosines)), torch.arange(start, start + len(cosines))] = -2.0
        nearest.append(cosines.max(1).values)
    return torch.cat(nearest)


def firing_share(sae: Sae, x: Tokens) -> Float[Tensor, " latent"]:
    """Share of tokens on which each latent fires; zero for the dead."""
    return sum((codes > 0).sum(0) for codes in _codes(sae, x)) / len(x)


def coverage(sae: Sae, x: Tokens) -> Float[Tensor, ""]:
    """Share of tokens that lie in the receptive field of at least one latent."""
    return sum((codes > 0).any(1).sum() for codes in _codes(sae, x)) / len(x)


def measure(sae: Sae, x: Tokens, rule: Rule | None = None) -> dict[str, float]:
    """Every metric of an autoencoder on given tokens, as the columns of a table.

    ``l0`` is over all tokens; ``penalty_value`` and ``loss`` need the rule it was trained by, else there is
    no penalty. ``live`` counts latents that fire on any of the tokens, and neighbours are among them.
    """
    rule = rule or Rule(sae.architecture, sae.k)
    fired, active, total, parts, covered = 0, 0.0, 0.0, [], 0.0
    for codes in _codes(sae, x):
        on = codes > 0
        fired, active = fired + on.sum(0), active + float(on.sum())
        total, covered = total + _cost(sae, x, codes, parts), covered + float(on.any(1).sum())
        parts.append(sae.decode(codes))
    rebuilt, live = torch.cat(parts), fired > 0
    error, penalty = float(mse(x, rebuilt)), (rule.l1 * total + rule.l0 * active) / len(x)
    near = neighbour_cosine(sae.W_dec[live])
    return {
        "mse": error,
        "penalty_value": penalty,
        "loss": error + penalty,
        "l0": active / len(x),
        "live": int(live.sum()),
        "dead": int((~live).sum()),
        "nmse": float(nmse(x, rebuilt)),
        "fvu": float(fvu(x, rebuilt)),
        "cosine_distance": float(cosine_distance(x, rebuilt)),
        "neighbour_cosine": float(near.median()) if len(near) else float("nan"),
        "coverage": covered / len(x),
    }


def _cost(sae: Sae, x: Tokens, codes: Tensor, before: list[Tensor]) -> float:
    """What l1 weighs: a tile's codes; of SpaDE, each times the squared distance to its prototype."""
    if sae.architecture != "spade":
        return float(codes.sum())
    first = sum(map(len, before))
    here = x[first : first + len(codes)]
    return float((codes * spade.distances(here @ sae.W_enc + sae.b_enc, sae.sharpness, here)).sum())


def evaluate(members: Sequence[Member], saes: Sequence[Sae], n_tokens: int = 16_384) -> pd.DataFrame:
    """A row for each member: what it is, and :func:`measure` on tokens it was not trained on.

    The tokens depend on the manifold alone, so that members of one manifold are compared on the same ones.
    """
    rows, seen = [], {}
    for member, sae in zip(members, saes, strict=True):
        if member.manifold not in seen:
            seed = derive(0, "evaluation", repr(member.manifold))
            source = member.manifold
            seen[source] = getattr(source, "unseen", source.sample)(n_tokens, seed)
        rows.append(member.describe() | measure(sae, seen[member.manifold], member.rule))
    return pd.DataFrame(rows)


def _codes(sae: Sae, x: Tokens):
    tile = max(1, TILE // sae.d_sae)
    for start in range(0, len(x), tile):
        yield sae.encode(x[start : start + tile])
