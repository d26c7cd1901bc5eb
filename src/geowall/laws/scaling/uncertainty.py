"""Data drawn again: each checkpoint's error moves by what other documents would have made of it.

Of checkpoints there is one of each kind; how far another training would have ended from it is told by how far
those of a layer scatter about their law (:func:`log_draws_of_checkpoints`).

The measured table gives an interval of every error over documents, but not which errors rise together. Drawn
independently, as here, intervals of exponents and floors are at least as wide as documents make them:
documents that are hard for one width are hard for all, and what is common to all changes no exponent.

>>> table = pd.DataFrame({"nmse": [0.1, 0.2], "spread": [0.0, 0.05]})
>>> moved = log_draws(table, 1000, seed=0)
>>> moved.shape, bool((moved[0] == np.log(0.1)).all()), bool(abs(moved[1].std() - 0.05) < 0.005)
((2, 1001), True, True)
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import stats

from geowall.laws.scaling.sparsity import GROUP

LAW = 6  # parameters of the law that checkpoints scatter about


def log_draws(checkpoints: pd.DataFrame, n_bootstrap: int, seed: int) -> Float[np.ndarray, "checkpoint draw"]:
    """Return ``log nmse`` of every checkpoint as measured (draw 0) and ``n_bootstrap`` times drawn again."""
    noise = np.random.default_rng(seed).standard_normal((len(checkpoints), n_bootstrap))
    noise = np.concatenate([np.zeros((len(checkpoints), 1)), noise], axis=1)
    return np.log(checkpoints["nmse"].to_numpy())[:, None] + noise * checkpoints["spread"].to_numpy()[:, None]


def scattered(checkpoints: pd.DataFrame, laws: pd.DataFrame) -> pd.DataFrame:
    """Return the checkpoints with ``scatter``, by which a layer's stray from its law, and its ``dof``.

    ``laws`` are rows of :func:`geowall.laws.scaling.surfaces.surfaces`. A layer without a surface borrows the
    medians of its source; both are empty where the source has none.
    """
    own = laws.assign(dof=laws["n_checkpoints"] - LAW).drop_duplicates(GROUP)[[*GROUP, "scatter", "dof"]]
    table = checkpoints.drop(columns=["scatter", "dof"], errors="ignore").merge(own, on=GROUP, how="left")
    middles = own.groupby("source")[["scatter", "dof"]].median()
    return table.fillna({name: table["source"].map(middles[name]) for name in ("scatter", "dof")})


def log_draws_of_checkpoints(
    checkpoints: pd.DataFrame, n_bootstrap: int, seed: int
) -> Float[np.ndarray, "checkpoint draw"]:
    """Return ``log nmse`` as measured (draw 0), then with documents and checkpoints drawn anew.

    Three or four checkpoints a width cannot be drawn with replacement: most draws would lack an end of the
    curve. Drawn instead is by how much each strays from the law of its layer, as if trained again: by
    ``scatter``, itself drawn as ``dof`` left-over checkpoints tell it. The documents are part of what
    scatters, so that the larger of the two deviations counts, not both.

    >>> table = pd.DataFrame({"nmse": 0.1, "spread": [0.0, 0.2], "scatter": 0.05, "dof": 8, "layer": 0})
    >>> moved = log_draws_of_checkpoints(table.assign(**dict.fromkeys(set(GROUP) - {"layer"}, "")), 4000, 0)
    >>> bool(0.05 < moved[0].std() < 0.065), round(float(moved[1].std()), 2)
    (True, 0.2)
    """
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((len(checkpoints), n_bootstrap))
    layer, scatter = checkpoints.groupby(GROUP, sort=False).ngroup().to_numpy(), checkpoints["scatter"]
    dof = checkpoints["dof"].to_numpy()[:, None]
    chances = rng.uniform(size=(layer.max() + 1, n_bootstrap))[layer]
    drawn = scatter.to_numpy()[:, None] * np.sqrt(dof / stats.chi2.ppf(chances, dof))
    deviation = np.maximum(drawn, checkpoints["spread"].to_numpy()[:, None])
    moved = np.concatenate([np.zeros((len(checkpoints), 1)), noise * deviation], axis=1)
    return np.log(checkpoints["nmse"].to_numpy())[:, None] + moved


def middle(
    draws: Float[np.ndarray, "*item draw"], share: float = 0.95
) -> tuple[Float[np.ndarray, "*item"], Float[np.ndarray, "*item"]]:
    """Return the ends of the middle ``share`` of the draws along the last axis."""
    low, high = np.quantile(draws, [(1 - share) / 2, (1 + share) / 2], axis=-1)
    return low, high
