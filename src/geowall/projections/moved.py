"""One cluster of the ring moved about: where must a concept lie for an architecture to see it?

>>> table = moved_cluster({"spade": 0.01}, [0.5], [0.0], seed=0, n_latents=16, steps=50, batch=64)
>>> len(table), len(table["field"][0]), set(table["field"][0]) <= set("0123456789")
(1, 225, True)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
import torch

from geowall.projections import concepts
from geowall.projections.autoencoders import fits
from geowall.projections.scenes import Ring
from geowall.projections.separability import CHOOSE, SCORE

POINTS, EDGE = 15, 2.1  # a side of the grid, and how far it reaches, in the paper's units
COLUMNS = ["radius", "angle", "architecture", "f1", "f1_others", "field"]


def moved_cluster(
    at: Mapping[str, float],
    radii: Sequence[float],
    angles: Sequence[float],
    seed: int,
    n_latents: int = 64,
    **training: object,
) -> pd.DataFrame:
    """The first cluster of the ring at every radius and angle (degrees); ``at`` gives each architecture its
    strength.

    A row for each place and architecture: columns radius, angle, architecture, f1 (of the best latent for the
    moved cluster, chosen on other tokens), f1_others (mean over the five that stay), field (the code of that
    latent on a grid of 15 x 15, from bottom left, row by row, a digit of 0 to 9 each).
    """
    rows = []
    for radius in radii:
        for angle in angles:
            ring = Ring(moved=(float(radius), float(angle)))
            x, holds = ring.labelled(CHOOSE, seed=101)
            test, test_holds = ring.labelled(SCORE, seed=102)
            strengths = {name: [value] for name, value in at.items()}
            for fit in fits(ring, n_latents, strengths, [seed], training):
                fires, test_fires = (fit.coder.encode(tokens) > concepts.FIRES for tokens in (x, test))
                score, chosen = concepts.held_out(fires, holds, test_fires, test_holds)
                codes = fit.coder.encode(ring.place(grid()))[:, chosen[0]]
                digits = "".join(str(int(v)) for v in _tenths(codes))
                values = (float(score[0]), float(score[1:].mean()))
                rows.append((float(radius), float(angle), fit.architecture, *values, digits))
    return pd.DataFrame(rows, columns=COLUMNS)


def grid() -> torch.Tensor:
    """Points of the plane, row by row from the bottom left, [point, 2]."""
    axis = torch.linspace(-EDGE, EDGE, POINTS)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return torch.stack([x.flatten(), y.flatten()], dim=1)


def _tenths(codes: torch.Tensor) -> list[float]:
    """0 where silent, 1 to 9 by strength where the latent fires."""
    share = codes / codes.max().clamp(min=1e-9)
    return torch.where(codes > concepts.FIRES, 1 + (8.999 * share).floor(), 0.0).clamp(max=9).tolist()
