"""Do codes adapt to concepts of different dimension? Nested Gaussians (Hindupur et al. 2025, figure 6).

>>> scene = {"dims": [2, 6], "d_model": 8}
>>> table = heterogeneity({"topk": [2], "spade": [1.0]}, [0], 32, scene, steps=60, batch=128)
>>> table["concept_dim"].tolist(), table.loc[table["architecture"] == "topk", "l0"].round(0).tolist()
([2, 6, 2, 6], [2.0, 2.0])
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from geowall.projections import concepts
from geowall.projections.autoencoders import fits
from geowall.projections.scenes import Nested
from geowall.projections.separability import interval, likeness

SCORED = 6000  # tokens on which errors are measured
COLUMNS = ["architecture", "strength", "seed", "concept_dim", "l0", "nmse", "live"]
DONE = 0.2  # error at which a concept counts as rebuilt (Hindupur et al. 2025)


def nested(given: Mapping[str, object]) -> Nested:
    """The scene from the literals of a chapter."""
    return Nested(tuple(given["dims"]), int(given["d_model"]))


def heterogeneity(
    strengths: Mapping[str, Sequence[float]],
    seeds: Sequence[int],
    n_latents: int,
    scene: Mapping[str, object],
    **training: object,
) -> pd.DataFrame:
    """A row for each autoencoder and concept: ``COLUMNS``.

    ``l0`` is over the concept's own tokens, ``nmse`` the squared error on them over their variance, ``live``
    the latents of the autoencoder that fire on any token.
    """
    world = nested(scene)
    x, holds = world.labelled(SCORED, seed=102)
    rows = []
    for fit in fits(world, n_latents, strengths, seeds, training):
        codes = fit.coder.encode(x)
        fires, error = codes > concepts.FIRES, (x - fit.coder.decode(codes)).square().sum(1)
        live = int(fires.any(0).sum())
        for i, dim in enumerate(world.dims):
            own = holds[:, i]
            variance = (x[own] - x[own].mean(0)).square().sum(1).mean()
            l0, nmse = float(fires[own].float().sum(1).mean()), float(error[own].mean() / variance)
            rows.append((fit.architecture, float(fit.strength), fit.seed, dim, l0, nmse, live))
    return pd.DataFrame(rows, columns=COLUMNS)


def nested_likeness(
    strengths: Mapping[str, Sequence[float]],
    at: Mapping[str, float],
    seeds: Sequence[int],
    n_latents: int,
    scene: Mapping[str, object],
    **training: object,
) -> pd.DataFrame:
    """Similarity of codes of tokens sorted by concept; ``at`` gives each architecture its strength."""
    world = nested(scene)
    made = fits(world, n_latents, {name: strengths[name] for name in at}, seeds, training)
    return likeness(
        [fit for fit in made if fit.seed == seeds[0] and at[fit.architecture] == fit.strength], world
    )


def first_k(table: pd.DataFrame) -> pd.DataFrame:
    """The first k of the sweep at which TopK rebuilds each concept (error below ``DONE``, mean of seeds).

    Columns: concept_dim, k (empty: none of the sweep), k_above (the first k of the sweep at or above the
    dimension), nmse (there).
    """
    means = table[table["architecture"] == "topk"].groupby(["concept_dim", "strength"])["nmse"].mean()
    rows = []
    for dim, errors in means.groupby(level=0):
        errors = errors.droplevel(0)
        done, above = errors[errors < DONE], errors[errors.index >= dim]
        enough = float(done.index[0]) if len(done) else None
        beyond = (float(above.index[0]), float(above.iloc[0])) if len(above) else (None, None)
        rows.append((dim, enough, *beyond))
    return pd.DataFrame(rows, columns=["concept_dim", "k", "k_above", "nmse"]).astype({"k": float})


def adapted(table: pd.DataFrame, architecture: str, strength: float) -> pd.DataFrame:
    """L0 against dimension for one autoencoder. Columns: concept_dim, l0, low, high (95 %, seeds), nmse."""
    here = table[(table["architecture"] == architecture) & (table["strength"] == strength)]
    rows = []
    for dim, part in here.groupby("concept_dim"):
        rows.append((dim, part["l0"].mean(), *interval(part["l0"].to_numpy()), part["nmse"].mean()))
    return pd.DataFrame(rows, columns=["concept_dim", "l0", "low", "high", "nmse"])


def dimension_slope(table: pd.DataFrame) -> pd.DataFrame:
    """How L0 grows with a concept's dimension: 0, one size for all; 1, in proportion.

    A row for each architecture and strength: columns architecture, strength, slope (of log L0 on log
    dimension, mean of seeds), low, high, nmse (mean over concepts).
    """
    rows = []
    for (architecture, strength), part in table.groupby(["architecture", "strength"], sort=False):
        slopes = [
            np.polyfit(np.log(one["concept_dim"]), np.log(one["l0"].clip(lower=0.1)), 1)[0]
            for _, one in part.groupby("seed")
        ]
        ends = interval(np.array(slopes))
        rows.append((architecture, strength, float(np.mean(slopes)), *ends, part["nmse"].mean()))
    return pd.DataFrame(rows, columns=["architecture", "strength", "slope", "low", "high", "nmse"])
