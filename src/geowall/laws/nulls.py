"""What a high R2 is worth: how often data with no link between geometry and exponent would reach it.

Neighbouring layers resemble each other, in geometry and in exponent alike. A null that shuffles layers one
by one destroys that resemblance and so compares a smooth curve with noise. The other nulls keep it, wholly
or in part:

>>> import numpy as np
>>> moved(np.arange(4.0), "shift")[1].tolist()
[3.0, 0.0, 1.0, 2.0]
>>> p_value(0.9, np.array([0.9, 0.1, 0.2, 0.3]), exhaustive=True)  # one shift of four, the identity
0.25
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float

from geowall.laws import features as feats
from geowall.laws import ols
from geowall.laws.groups import each_model, label_of, regression_of
from geowall.paths import GeowallError

NULLS = ("permutation", "block", "increments", "shift")


def moved(
    y: Float[np.ndarray, " layer"], null: str, n_draws: int = 1000, block_length: int = 5, seed: int = 0
) -> Float[np.ndarray, "draw layer"]:
    """Return ``y`` as the null hypothesis would have it, one draw a row.

    * ``permutation``: layers in random order (the paper's null);
    * ``block``: blocks of ``block_length`` consecutive layers in random order, cut at a random offset;
    * ``increments``: the steps of ``y`` from layer to layer in random order and with random signs, summed
      again: a path exactly as rough as ``y`` that knows nothing of geometry;
    * ``shift``: all circular shifts, the identity first. There are as many as layers, whatever ``n_draws``.

    Raises :class:`~geowall.paths.GeowallError` for another name.
    """
    rng, n = np.random.default_rng(seed), len(y)
    if null == "shift":
        return np.stack([np.roll(y, shift) for shift in range(n)])
    if null == "permutation":
        return rng.permuted(np.tile(y, (n_draws, 1)), axis=1)
    if null == "block":
        return y[_block_orders(n, n_draws, block_length, rng)]
    if null == "increments":
        steps = rng.permuted(np.tile(np.diff(y), (n_draws, 1)), axis=1)
        path = np.cumsum(steps * rng.choice([-1.0, 1.0], steps.shape), axis=1)
        return np.concatenate([np.zeros((n_draws, 1)), path], axis=1)
    raise GeowallError(f"no null hypothesis {null!r}", f"there are {', '.join(NULLS)}", "choose one of these")


def _block_orders(n: int, n_draws: int, length: int, rng: np.random.Generator) -> np.ndarray:
    circle = (np.arange(n) + rng.integers(n, size=(n_draws, 1))) % n
    block = np.arange(n) // length
    place = rng.random((n_draws, block[-1] + 1))[:, block]
    return np.take_along_axis(circle, np.argsort(place, axis=1, kind="stable"), axis=1)


def r2_of_draws(
    design: Float[np.ndarray, "layer column"], draws: Float[np.ndarray, "draw layer"]
) -> Float[np.ndarray, " draw"]:
    """Return the in-sample R2 of every draw of the exponent on one design that holds an intercept."""
    centred = draws - draws.mean(axis=1, keepdims=True)
    explained = ((centred @ ols.basis(design)) ** 2).sum(axis=1)
    return explained / (centred**2).sum(axis=1)


def p_value(observed: float, draws: Float[np.ndarray, " draw"], *, exhaustive: bool = False) -> float:
    """Return the share of draws that reach ``observed``; random draws count the observation among themselves.

    The smallest p that ``n`` random draws can give is ``1 / (n + 1)``; ``n`` exhaustive ones, ``1 / n``.
    """
    reached = int((draws >= observed - 1e-12).sum())
    return reached / len(draws) if exhaustive else (reached + 1) / (len(draws) + 1)


def null_tests(
    layers: pd.DataFrame,
    target: str,
    hypotheses: Sequence[str],
    n_draws: int = 1000,
    block_length: int = 5,
    clip_percentiles: Sequence[float] = feats.CLIP_PERCENTILES,
    seed: int = 0,
    dropped: Sequence[int] = (0,),
) -> pd.DataFrame:
    """Test the in-sample R2 of every hypothesis against every null, without the first ``dropped`` layers.

    Columns: source, model, dropped_layers, target, features, null, observed, p_value, resolution (the
    smallest p this null can give), q95 (the R2 that one draw in twenty exceeds), n_draws.
    """
    rows = []
    for key, observed, r2 in _drawn(
        layers, target, hypotheses, n_draws, block_length, clip_percentiles, seed, dropped
    ):
        exhaustive = key["null"] == "shift"
        p = {
            "p_value": p_value(observed, r2, exhaustive=exhaustive),
            "resolution": 1 / (len(r2) + (not exhaustive)),
        }
        rows.append(
            key | {"observed": observed} | p | {"q95": float(np.quantile(r2, 0.95)), "n_draws": len(r2)}
        )
    return pd.DataFrame(rows)


def null_histogram(
    layers: pd.DataFrame,
    target: str,
    hypotheses: Sequence[str],
    n_draws: int = 1000,
    block_length: int = 5,
    clip_percentiles: Sequence[float] = feats.CLIP_PERCENTILES,
    seed: int = 0,
    bins: int = 25,
) -> pd.DataFrame:
    """Count the R2 of the same draws in equal bins from 0 to 1.

    Columns: source, model, target, features, null, r2_low, r2_high, share (of the draws). Empty bins are
    left out.
    """
    made = []
    for key, _, r2 in _drawn(layers, target, hypotheses, n_draws, block_length, clip_percentiles, seed):
        counts, edges = np.histogram(r2, bins=bins, range=(0, 1))
        found = {"r2_low": edges[:-1], "r2_high": edges[1:], "share": counts / len(r2)}
        made.append(pd.DataFrame(key | found)[counts > 0])
    return pd.concat(made, ignore_index=True)


def _drawn(
    layers: pd.DataFrame,
    target: str,
    hypotheses: Sequence[str],
    n_draws: int,
    block_length: int,
    clip_percentiles: Sequence[float],
    seed: int,
    dropped: Sequence[int] = (0,),
) -> Iterator[tuple[dict, float, np.ndarray]]:
    """Yield the key of every test, the observed R2 and the R2 of the draws."""
    for model, kept in each_model(layers, dropped):
        for features in hypotheses:
            design, y = regression_of(kept, target, features, clip_percentiles)
            observed = float(r2_of_draws(design, y[None])[0])
            for null in NULLS:
                key = model | {"target": label_of(target, kept)}
                key |= {"features": features, "null": null}
                yield key, observed, r2_of_draws(design, moved(y, null, n_draws, block_length, seed))


SERIES = {"independent layers": 0.0, "AR(1), 0.8": 0.8, "random walk": 1.0}


def false_alarms(
    n_layers: Sequence[int], n_series: int = 300, n_draws: int = 199, block_length: int = 5, seed: int = 0
) -> pd.DataFrame:
    """Return how often each null calls two unrelated series linked, at the five per cent level.

    Geometry and exponent are independent draws of the same kind of series: white noise, an autoregression
    with coefficient 0.8, or a random walk. A null that deserves its p-value says 5 %. Columns: series,
    null, n_layers, n_series, false_alarm_rate.
    """
    rows = []
    for n in n_layers:
        for name, memory in SERIES.items():
            x, y = _series(memory, (2, n_series, n), np.random.default_rng(seed))
            for null in NULLS:
                alarms = [_alarm(x[i], y[i], null, n_draws, block_length, seed + i) for i in range(n_series)]
                row = {"series": name, "null": null, "n_layers": n, "n_series": n_series}
                rows.append(row | {"false_alarm_rate": float(np.mean(alarms))})
    return pd.DataFrame(rows)


def _series(memory: float, shape: tuple[int, int, int], rng: np.random.Generator) -> np.ndarray:
    noise = rng.standard_normal(shape)
    if memory == 0:
        return noise
    if memory < 1:
        noise[..., 0] /= np.sqrt(1 - memory**2)  # so that the series is stationary from its first layer
    series = noise.copy()
    for layer in range(1, shape[-1]):
        series[..., layer] += memory * series[..., layer - 1]
    return series


def _alarm(x: np.ndarray, y: np.ndarray, null: str, n_draws: int, block_length: int, seed: int) -> bool:
    design = feats.design(x[:, None])
    r2 = r2_of_draws(design, moved(y, null, n_draws, block_length, seed))
    observed = r2_of_draws(design, y[None])[0]
    return p_value(observed, r2, exhaustive=null == "shift") <= 0.05
