"""From the scalars of every token to the rows of a checkpoint: error, sparsity, where the error lies.

The loss of a checkpoint is the mean of the per-token error over the inner 90 % of tokens, and its sparsity
the mean count over the same tokens (Zaher et al. 2026, section 3 and Fig. 6): a handful of tokens with a tiny
norm, or a giant one, own the plain mean.

>>> values = torch.cat([torch.linspace(0.1, 0.2, 99), torch.tensor([1e6])])
>>> f"{float(values.mean()):.0f}", f"{float(values[inner(values)].mean()):.3f}"
('10000', '0.151')
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from geowall.census.discovery import null_rows
from geowall.kernels.evaluate import Errors, Tokens
from geowall.sae.metrics import inner, neighbour_cosine
from geowall.sae.model import Sae

BINS = 12  # of a coordinate, by its quantiles, where it takes more values than that
QUANTILES = np.unique(np.concatenate([np.linspace(0.0, 1.0, 41), [0.001, 0.01, 0.02, 0.98, 0.99, 0.999]]))


def summary(
    errors: Errors, tokens: Tokens, documents: Int[np.ndarray, " token"], trim: float = 0.05, draws: int = 200
) -> dict[str, float | int]:
    """The measured columns of ``checkpoints``.

    ``nmse`` and ``l0`` are means over the inner tokens; ``nmse_low`` and ``nmse_high`` are the ends of a 95 %
    bootstrap interval over documents. ``fvu`` and ``cosine`` are over all tokens: squared error over that of
    predicting the mean, and the mean cosine of token and reconstruction. ``nmse_mean``, ``nmse_median``,
    ``nmse_trim_2`` and ``nmse_max`` are what the error would be by other rules.
    """
    each, kept = errors.nmse(tokens.square), inner(errors.nmse(tokens.square), trim)
    spread = (tokens.x.double() - tokens.x.double().mean(0)).square().sum()
    low, high = _interval(each[kept].numpy(), documents[kept.numpy()], draws)
    return {
        "l0": float(errors.l0[kept].double().mean()),
        "nmse": float(each[kept].mean()),
        "fvu": float(errors.squared_error.sum() / spread),
        "cosine": float(errors.cosine(tokens.square).mean()),
        "tokens": len(each),
        "nmse_low": low,
        "nmse_high": high,
        "nmse_median": float(each.median()),
        "nmse_trim_2": float(each[inner(each, 0.02)].mean()),
        "nmse_mean": float(each.mean()),
        "nmse_max": float(each.max()),
        "l0_mean": float(errors.l0.double().mean()),
        "dead": int((errors.fired == 0).sum()),
    }


def _interval(values: np.ndarray, groups: np.ndarray, draws: int) -> tuple[float, float]:
    """95 % interval of a mean when whole documents are drawn again."""
    sums, counts = np.bincount(groups, values), np.bincount(groups)
    sums, counts = sums[counts > 0], counts[counts > 0]
    weights = np.random.default_rng(0).multinomial(len(counts), np.full(len(counts), 1 / len(counts)), draws)
    low, high = np.quantile((weights @ sums) / np.maximum(weights @ counts, 1), [0.025, 0.975])
    return float(low), float(high)


def quantiles(errors: Errors, tokens: Tokens) -> pd.DataFrame:
    """The distribution of the per-token error: a row a quantile. Columns: quantile, nmse."""
    each = errors.nmse(tokens.square).numpy()
    return pd.DataFrame({"quantile": QUANTILES, "nmse": np.quantile(each, QUANTILES)})


def by_label(errors: Errors, tokens: Tokens, labels: pd.DataFrame, trim: float = 0.05) -> pd.DataFrame:
    """Error and sparsity of the inner tokens by what is known of them, a row a value of a label.

    Columns: label, value (of a category: its name; of a coordinate: the mean of its bin, as text), tokens,
    nmse, nmse_se (standard error), l0. Rows of a coordinate that is missing are left out of it.
    """
    each = errors.nmse(tokens.square)
    frame = pd.DataFrame({"nmse": each.numpy(), "l0": errors.l0.double().numpy()})
    kept, parts = inner(each, trim).numpy(), []
    for label in labels.columns:
        groups = binned(labels[label])
        chosen = frame[kept].groupby(groups[kept], observed=True, sort=True)
        found = chosen.agg(
            tokens=("nmse", "size"), nmse=("nmse", "mean"), nmse_se=("nmse", "sem"), l0=("l0", "mean")
        )
        parts.append(found.rename_axis("value").reset_index().astype({"value": str}).assign(label=label))
    columns = ["label", "value", "tokens", "nmse", "nmse_se", "l0"]
    return pd.concat(parts)[columns] if parts else pd.DataFrame(columns=columns)


def binned(values: pd.Series, bins: int = BINS) -> pd.Series:
    """A category as it is; a number with many values as the mean of its bin, bins by quantiles; NaN stays."""
    if not pd.api.types.is_numeric_dtype(values) or values.nunique() <= bins + 1:
        return values
    cuts = pd.qcut(values, bins, labels=False, duplicates="drop")
    return values.groupby(cuts).transform("mean").round(1)


def latents(sae: Sae, errors: Errors, widest: int = 16_384) -> pd.DataFrame:
    """What is known of each latent: a row a latent, most frequent first.

    Columns: latent, rank (from 1), frequency (share of tokens), dead, neighbour_cosine (largest cosine of its
    decoder row with any other's), neighbour_live (with a live one's). Neighbours are NaN above ``widest``
    latents: their cost grows with the square.
    """
    tokens, fired = len(errors.l0), errors.fired
    every, live = torch.full((len(fired),), torch.nan), torch.full((len(fired),), torch.nan)
    if len(fired) <= widest:
        every, on = neighbour_cosine(sae.W_dec.float()), fired > 0
        live[on] = neighbour_cosine(sae.W_dec.float()[on])
    table = pd.DataFrame(
        {
            "latent": range(len(fired)),
            "frequency": (fired.double() / max(1, tokens)).numpy(),
            "dead": (fired == 0).numpy(),
            "neighbour_cosine": every.numpy(),
            "neighbour_live": live.numpy(),
        }
    )
    table = table.sort_values("frequency", ascending=False, kind="stable")
    table.insert(1, "rank", range(1, len(table) + 1))
    return table


def null_cosines(W_dec: Float[Tensor, "latent d_model"], seed: int) -> Float[Tensor, " latent"]:
    """Nearest-neighbour cosines of as many random directions with the covariance of the decoder's rows."""
    return neighbour_cosine(null_rows(W_dec, seed))
