"""Data drawn again: each checkpoint's error moves by what other documents would have made of it.

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


def log_draws(checkpoints: pd.DataFrame, n_bootstrap: int, seed: int) -> Float[np.ndarray, "checkpoint draw"]:
    """Return ``log nmse`` of every checkpoint as measured (draw 0) and ``n_bootstrap`` times drawn again."""
    noise = np.random.default_rng(seed).standard_normal((len(checkpoints), n_bootstrap))
    noise = np.concatenate([np.zeros((len(checkpoints), 1)), noise], axis=1)
    return np.log(checkpoints["nmse"].to_numpy())[:, None] + noise * checkpoints["spread"].to_numpy()[:, None]


def middle(
    draws: Float[np.ndarray, "*item draw"], share: float = 0.95
) -> tuple[Float[np.ndarray, "*item"], Float[np.ndarray, "*item"]]:
    """Return the ends of the middle ``share`` of the draws along the last axis."""
    low, high = np.quantile(draws, [(1 - share) / 2, (1 + share) / 2], axis=-1)
    return low, high
