"""From a layer's summaries to regressors: clip, then logarithm, then z-score, in that order.

A hypothesis is written as names joined by ``+``. A geometric summary is clipped at two percentiles of the
layers it is fitted to and put on a log scale; a depth term is a function of the layer's index alone:

>>> terms("d_int+kappa_ms")
('d_int', 'kappa_ms')
>>> terms("none")
()
>>> import pandas as pd
>>> layers = pd.DataFrame({"layer": [0, 1, 2], "nu": [1.0, 2.0, 4.0]})
>>> columns = assemble(layers, "depth+nu")
>>> columns.names, columns.values[2].round(2).tolist()
(('log(layer+1)', 'layer', 'nu'), [1.1, 2.0, 4.0])
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from geowall.paths import GeowallError

GEOMETRY = ("d_int", "kappa_ms", "kappa_tv", "nu")
FULL = "+".join(GEOMETRY)
DEPTH = ("depth_log", "depth_linear", "depth", "depth_relative")
CLIP_PERCENTILES = (1.0, 99.0)
SIGNED = "excess_"  # names of differences, which have no logarithm
FEWEST = 8  # layers a regression needs


@dataclass(frozen=True)
class Columns:
    """The raw regressors of a hypothesis; those that are ``logged`` are clipped and put on a log scale."""

    names: tuple[str, ...]
    values: Float[np.ndarray, "layer term"]
    logged: Bool[np.ndarray, " term"]


def terms(features: str) -> tuple[str, ...]:
    """Return the names in a hypothesis; ``none`` has none."""
    return () if features == "none" else tuple(features.split("+"))


def assemble(layers: pd.DataFrame, features: str) -> Columns:
    """Return the raw regressors of ``features`` for one model's layers, in the order of the rows.

    ``depth_log`` is ``ln(layer + 1)``, ``depth_linear`` is ``layer``, ``depth`` is both, and
    ``depth_relative`` is both for the fraction ``(layer + 1) / layers`` of the network that has run. Any
    other name is a column; one that begins with ``excess_`` may be negative and is not put on a log scale.
    Raises :class:`~geowall.paths.GeowallError` for a column that is missing, empty
    or not positive.
    """
    names: list[str] = []
    values: list[np.ndarray] = []
    logged: list[bool] = []
    for term in terms(features):
        found = _depth(layers, term) if term in DEPTH else {term: _summary(layers, term)}
        names += found
        values += found.values()
        logged += [term not in DEPTH and not term.startswith(SIGNED)] * len(found)
    stacked = np.column_stack(values) if values else np.empty((len(layers), 0))
    return Columns(tuple(names), stacked, np.array(logged, dtype=bool))


def _depth(layers: pd.DataFrame, term: str) -> dict[str, np.ndarray]:
    if "layer" not in layers:
        raise GeowallError(
            f"no depth baseline {term!r}", "the table has no column 'layer'", "add the layer's index"
        )
    index = layers["layer"].to_numpy(dtype=float)
    logarithm, linear = {"log(layer+1)": np.log(index + 1)}, {"layer": index}
    if term == "depth_relative":
        # The number of layers of the whole model, also when the first ones have been dropped.
        share = (index + 1) / (index.max() + 1)
        return {"log(share)": np.log(share), "share": share}
    return {"depth_log": logarithm, "depth_linear": linear, "depth": logarithm | linear}[term]


def _summary(layers: pd.DataFrame, column: str) -> Float[np.ndarray, " layer"]:
    return numbers(layers, column) if column.startswith(SIGNED) else _positive(layers, column)


def _positive(layers: pd.DataFrame, column: str) -> Float[np.ndarray, " layer"]:
    values = numbers(layers, column)
    if (values <= 0).any():
        where = (
            layers.loc[values <= 0, "layer"].tolist()
            if "layer" in layers
            else np.nonzero(values <= 0)[0].tolist()
        )
        why = f"it is zero or negative at layers {where} and its logarithm is taken"
        raise GeowallError(
            f"{column} cannot be a regressor", why, "drop these layers or choose another feature"
        )
    return values


def numbers(layers: pd.DataFrame, column: str) -> Float[np.ndarray, " layer"]:
    """Return a column as float64; raise :class:`~geowall.paths.GeowallError` if it is missing or has gaps."""
    if column not in layers:
        numeric = ", ".join(layers.select_dtypes("number").columns)
        raise GeowallError(
            f"no column {column!r} in the per-layer table", f"it has {numeric}", "correct the name"
        )
    values = layers[column].to_numpy(dtype=float)
    if not np.isfinite(values).all():
        gaps = int((~np.isfinite(values)).sum())
        raise GeowallError(
            f"{column} cannot enter a regression",
            f"{gaps} of its values are empty or infinite",
            "drop these layers",
        )
    return values


def after(layers: pd.DataFrame, dropped_layers: int) -> pd.DataFrame:
    """Return one model's layers in order of depth, from layer ``dropped_layers`` on.

    Raises :class:`~geowall.paths.GeowallError` if fewer than eight are left.
    """
    kept = layers[layers["layer"] >= dropped_layers].sort_values("layer")
    if len(kept) < FEWEST:
        why = f"{len(layers)} layers less the first {dropped_layers} leave {len(kept)}; eight are the least"
        raise GeowallError("the regression has too few layers", why, "drop fewer layers (drop_first_layers)")
    return kept


def bounds(
    values: Float[np.ndarray, "*batch layer term"], percentiles: Sequence[float] = CLIP_PERCENTILES
) -> Float[np.ndarray, "2 *batch term"]:
    """Return the clip bounds of every column: numpy's linear percentiles of the raw values."""
    return np.percentile(values, percentiles, axis=-2)


def transform(
    values: Float[np.ndarray, "*batch layer term"],
    logged: Bool[np.ndarray, " term"],
    limits: Float[np.ndarray, "2 *batch term"],
) -> Float[np.ndarray, "*batch layer term"]:
    """Clip at ``limits``, then take the natural logarithm, of the ``logged`` columns (Zaher 2026, 4.1)."""
    low, high = limits[..., None, :]
    clipped = np.clip(values, low, high)
    return np.where(logged, np.log(np.where(logged, clipped, 1.0)), values)


def regressors(
    layers: pd.DataFrame, features: str, percentiles: Sequence[float] = CLIP_PERCENTILES
) -> Float[np.ndarray, "layer term"]:
    """Return the clipped and logged regressors of one model's layers, not yet z-scored."""
    columns = assemble(layers, features)
    return transform(columns.values, columns.logged, bounds(columns.values, percentiles))


def standardise(
    train: Float[np.ndarray, "*batch layer term"], test: Float[np.ndarray, "*batch other term"] | None = None
) -> Float[np.ndarray, "*batch row term"]:
    """Return ``test`` (by default ``train``) less the mean of ``train``, over its population deviation.

    A column that is constant over ``train`` becomes zero.
    """
    mean, deviation = train.mean(axis=-2, keepdims=True), train.std(axis=-2, keepdims=True)
    return ((train if test is None else test) - mean) / np.where(deviation > 0, deviation, 1.0)


def design(z: Float[np.ndarray, "*batch layer term"]) -> Float[np.ndarray, "*batch layer column"]:
    """Put a column of ones before the regressors."""
    return np.concatenate([np.ones((*z.shape[:-1], 1)), z], axis=-1)
