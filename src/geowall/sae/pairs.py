"""Tile or duplicate? What two close latents do, and what is lost when they are made one.

A high cosine between decoder rows cannot tell: tiles of a manifold are close, and so are copies. Three things
can be seen (do they fire together, how many dimensions do their codes span, at which radii do they fire) and
one can be done: give the pair a single direction and a single code, the best there are, and see what the
reconstruction loses. Copies lose nothing.

>>> copies = torch.tensor([[0.5, 0.5], [1.0, 1.0], [0.0, 0.0]])
>>> rows = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
>>> float(merged_error(copies, rows, torch.zeros(3, 2)).sum())
0.0
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from geowall.sae.curves import Sweep, labels, pick, tokens
from geowall.sae.model import Sae

SEEN = ["cofiring", "rank", "radial_spread"]
DONE = ["lost_merged", "lost_dropped"]
RARE = 1e-3  # share of tokens on which a latent must fire to count as live


def neighbours(
    sweeps: Sequence[Sweep], n_latents: int, seed: int, n_tokens: int = 8192, **training: object
) -> pd.DataFrame:
    """Every live latent and the one nearest to it; and again with every latent doubled.

    Columns: those of a curve, n_latents, planted (whether each latent was given a copy at half strength),
    latent, cosine (of the two decoder rows), cofiring (tokens on which both fire, of those on which either
    does), rank (effective number of dimensions of their codes: 1 when one is a multiple of the other, 2 when
    they never meet), radial_spread (standard deviation of the radius where the latent fires, over that of
    all tokens; empty on a sphere), lost_merged and lost_dropped (what the squared error gains on the tokens
    of either when the pair is made one latent (:func:`merged_error`), and when the latent falls silent, over
    the squared norm of these tokens).
    """
    parts = []
    for member, sae in pick(sweeps, n_latents, seed, training):
        x = tokens(member.manifold.d_model, member.manifold.thickness, n_tokens)
        # Matching pursuit picks one of two equals, and SpaDE's latents compete: a copy changes the function.
        copies = [] if sae.architecture in ("matching_pursuit", "spade") else [(True, doubled(sae))]
        for planted, given in ((False, sae), *copies):
            named = labels(member) | {"n_latents": n_latents, "planted": planted}
            parts.append(nearest(given, x, hollow=not member.manifold.thickness).assign(**named))
    return pd.concat(parts, ignore_index=True)


def doubled(sae: Sae) -> Sae:
    """The same function with twice the latents, each pair sharing what one did."""
    k = 2 * sae.k if sae.architecture == "topk" else sae.k
    half = (0.5 * sae.W_enc).repeat(1, 2), (0.5 * sae.b_enc).repeat(2)
    return Sae(sae.architecture, k, *half, sae.W_dec.repeat(2, 1), sae.b_dec, (0.5 * sae.threshold).repeat(2))


def nearest(sae: Sae, x: Float[Tensor, "token d_model"], hollow: bool) -> pd.DataFrame:
    """A row for each live latent: what :func:`neighbours` says of it and the one nearest to it."""
    codes = sae.encode(x)
    error = sae.decode(codes) - x
    alive = torch.nonzero((codes > 0).float().mean(0) > RARE).flatten()
    codes, rows = codes[:, alive], sae.W_dec[alive]
    units = torch.nn.functional.normalize(rows, dim=1)
    cosines = units @ units.T - 4.0 * torch.eye(len(rows))
    made = []
    for i, j in enumerate(cosines.argmax(1).tolist()):
        pair = [i, j]
        seen = _together(codes[:, pair], x.norm(dim=1), hollow)
        made.append(
            (int(alive[i]), float(cosines[i, j]), *seen, *_lost(codes[:, pair], rows[pair], error, x))
        )
    return pd.DataFrame(made, columns=["latent", "cosine", *SEEN, *DONE])


def _together(
    codes: Float[Tensor, "token 2"], radius: Float[Tensor, " token"], hollow: bool
) -> tuple[float, float, float]:
    either, both = (codes > 0).any(1), (codes > 0).all(1)
    overlap = torch.nn.functional.cosine_similarity(codes[:, 0], codes[:, 1], dim=0)
    rank = float(2.0 / (1.0 + overlap.square()))  # (trace)^2 over the trace of the square, unit diagonal
    spread = float("nan") if hollow else float(radius[codes[:, 0] > 0].std() / radius.std())
    return float(both.sum() / either.sum().clamp(min=1)), rank, spread


def _lost(codes: Tensor, rows: Tensor, error: Tensor, x: Tensor) -> tuple[float, float]:
    """What merging the two loses, and what dropping the first does, over the norm of the pair's tokens."""
    here = (codes > 0).any(1)
    codes, error, whole = codes[here], error[here], x[here].square().sum()
    dropped = (error - codes[:, :1] * rows[:1]).square().sum() - error.square().sum()
    return float(merged_error(codes, rows, error).sum() / whole), float(dropped / whole)


def merged_error(
    codes: Float[Tensor, "token 2"], rows: Float[Tensor, "2 d_model"], error: Float[Tensor, "token d_model"]
) -> Float[Tensor, " token"]:
    """Squared error that a token gains when two latents become one.

    The one has the direction that best rebuilds what the two wrote together, and on every token the code
    that is best for it: no encoder could give a better one.
    """
    written = codes @ rows
    direction = torch.linalg.eigh(written.T @ written).eigenvectors[:, -1]
    kept = (written @ direction)[:, None] * direction
    return (error - (written - kept)).square().sum(1) - error.square().sum(1)
