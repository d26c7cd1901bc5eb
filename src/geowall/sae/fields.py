"""Where latents fire: the circle drawn out, and for any dimension the field of a typical latent.

By symmetry what matters of a token is its angle from a latent's decoder direction and its radius. A half
space is ``radius cos(angle) > c``, which cannot hold a small cap at every radius; a cone is ``angle < a``.

>>> table = circle([4], l1=0.1, seed=0, steps=150, batch=128)
>>> sorted(table["part"].unique()), table[table["part"] == "arrow"]["latent"].tolist()
(['arc', 'arrow', 'reconstruction'], [0, 1, 2, 3])
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from geowall.kernels.sae_step import Rule
from geowall.manifolds import Shell, generator
from geowall.sae.curves import Sweep, labels, pick, tokens, trained
from geowall.sae.metrics import firing_share
from geowall.sae.model import Sae
from geowall.sae.schedule import Member

ANGLES = np.arange(0, 181, 15)  # degrees from the decoder direction
RADII = 5  # across a shell
AROUND = 24  # tokens a latent at each angle and radius


def circle_losses(
    n_latents: Sequence[int], l1: float, seeds: Sequence[int], **training: object
) -> pd.DataFrame:
    """Losses on the unit circle. Columns: n_latents, seed, mse, loss, l0, live."""
    members = [Member(Shell(2, 0.0), n, Rule("relu", l1=l1), s) for n in n_latents for s in seeds]
    return trained(members, training).table[["n_latents", "seed", "mse", "loss", "l0", "live"]]


def circle(
    n_latents: Sequence[int], l1: float, seed: int, n_points: int = 181, **training: object
) -> pd.DataFrame:
    """What ReLU autoencoders make of the unit circle: its image, the decoder, and where each latent fires.

    Columns: n_latents, part (``reconstruction``, ``arrow``, ``arc``), latent (-1 for the reconstruction), x,
    y, angle (radians along the circle; for an arrow its direction).
    """
    members = [Member(Shell(2, 0.0), n, Rule("relu", l1=l1), seed) for n in n_latents]
    angle = torch.linspace(0.0, 2.0 * np.pi, n_points)
    x = torch.stack([angle.cos(), angle.sin()], dim=1)
    parts = []
    for member, sae in zip(members, trained(members, training).saes, strict=True):
        parts.append(_points(sae(x), angle, "reconstruction").assign(n_latents=member.n_latents))
        towards = torch.atan2(sae.W_dec[:, 1], sae.W_dec[:, 0])
        arrows = _points(sae.W_dec, towards, "arrow").assign(latent=range(sae.d_sae))
        parts.append(arrows.assign(n_latents=member.n_latents))
        on = sae.encode(x) > 0
        for latent in range(sae.d_sae):
            arc = _points(x[on[:, latent]], angle[on[:, latent]], "arc").assign(latent=latent)
            parts.append(arc.assign(n_latents=member.n_latents))
    return pd.concat(parts, ignore_index=True)[["n_latents", "part", "latent", "x", "y", "angle"]]


def _points(at: Float[Tensor, "point 2"], angle: Float[Tensor, " point"], part: str) -> pd.DataFrame:
    columns = {"x": at[:, 0].tolist(), "y": at[:, 1].tolist(), "angle": angle.tolist()}
    return pd.DataFrame(columns).assign(part=part, latent=-1)


def fields(sweeps: Sequence[Sweep], n_latents: int, seed: int, **training: object) -> pd.DataFrame:
    """The field of a typical latent of each autoencoder of one width and seed.

    Columns: those of a curve, n_latents, angle (degrees from the decoder direction), radius, fires (share of
    tokens there on which the latent fires, mean over live latents).
    """
    parts = []
    for member, sae in pick(sweeps, n_latents, seed, training):
        d, thickness = member.manifold.d_model, member.manifold.thickness
        alive = torch.nonzero(firing_share(sae, tokens(d, thickness, 8192)) > 1e-3).flatten()
        radii = 1.0 + thickness * np.linspace(-1.0, 1.0, RADII) if thickness else np.ones(1)
        grid = [(a, r, _fires(sae, alive, float(a), float(r), seed)) for a in ANGLES for r in radii]
        part = pd.DataFrame(grid, columns=["angle", "radius", "fires"])
        parts.append(part.assign(n_latents=n_latents, **labels(member)))
    return pd.concat(parts, ignore_index=True)


def _fires(sae: Sae, alive: Tensor, angle: float, radius: float, seed: int) -> float:
    """Share of tokens at an angle and radius from live decoder directions on which the latent fires."""
    if not len(alive):
        return 0.0
    towards = sae.W_dec[alive].repeat_interleave(AROUND, 0)
    noise = torch.randn(towards.shape, generator=generator(seed))
    aside = torch.nn.functional.normalize(noise - (noise * towards).sum(1, keepdim=True) * towards, dim=1)
    turn = np.deg2rad(angle)
    codes = sae.encode(radius * (np.cos(turn) * towards + np.sin(turn) * aside))
    own = codes.gather(1, alive.repeat_interleave(AROUND)[:, None])
    return float((own > 0).float().mean())


def decoder_angles(sweeps: Sequence[Sweep], n_latents: int, seed: int, **training: object) -> pd.DataFrame:
    """How the live latents of a dictionary lie: the angles between all pairs, in bins of 10 degrees.

    A signed basis has pairs at 90 and 180 degrees only; a tiling has them at every angle. Columns: those of
    a curve, n_latents, angle (middle of the bin, degrees), share (of pairs), live.
    """
    parts = []
    for member, sae in pick(sweeps, n_latents, seed, training):
        d, thickness = member.manifold.d_model, member.manifold.thickness
        rows = sae.W_dec[firing_share(sae, tokens(d, thickness, 8192)) > 1e-3]
        i, j = torch.triu_indices(len(rows), len(rows), 1)
        angles = torch.rad2deg(torch.arccos((rows @ rows.T)[i, j].clamp(-1.0, 1.0)))
        counts, edges = np.histogram(angles.numpy(), bins=18, range=(0.0, 180.0))
        part = pd.DataFrame({"angle": 0.5 * (edges[1:] + edges[:-1]), "share": counts / max(1, counts.sum())})
        parts.append(part.assign(n_latents=n_latents, live=len(rows), **labels(member)))
    return pd.concat(parts, ignore_index=True)
