"""How sure a regression across layers can be: intervals from layers drawn again, one by one or in blocks.

Drawing single layers treats neighbours as strangers and gives intervals that are too short when they are not.
The circular moving-block bootstrap draws runs of ``block_length`` consecutive layers instead:

>>> rows(7, "block", 1, block_length=3, seed=0).tolist()
[[5, 6, 0, 4, 5, 6, 3]]
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from geowall.laws import features as feats
from geowall.laws import ols
from geowall.laws.groups import each_model, label_of, regression_of, with_all_first
from geowall.paths import GeowallError

KINDS = ("layer", "block")
ENDS = ("r2_from", "r2_to", "loo_from", "loo_to")  # columns of an interval beside both R2


def rows(
    n: int, kind: str, n_bootstrap: int, block_length: int = 5, seed: int = 0
) -> Int[np.ndarray, "draw layer"]:
    """Return the rows of each draw: ``n`` layers one by one, or in runs of consecutive ones cut to ``n``."""
    rng = np.random.default_rng(seed)
    if kind == "layer":
        return rng.integers(n, size=(n_bootstrap, n))
    if kind != "block":
        raise GeowallError(f"no bootstrap {kind!r}", "there are layer and block", "choose one of these")
    # Blocks run on from the last layer to the first: else the ends, where alpha varies most, would be rare.
    starts = rng.integers(n, size=(n_bootstrap, -(-n // block_length)))
    return ((starts[..., None] + np.arange(block_length)) % n).reshape(n_bootstrap, -1)[:, :n]


def middle(draws: Float[np.ndarray, " draw"], share: float = 0.95) -> tuple[float, float]:
    """Return the percentiles that hold the middle ``share`` of the draws."""
    low, high = np.quantile(draws, [(1 - share) / 2, (1 + share) / 2])
    return float(low), float(high)


def r2_draws(
    layers: pd.DataFrame,
    target: str,
    features: str,
    picks: Int[np.ndarray, "draw layer"],
    clip_percentiles: Sequence[float] = feats.CLIP_PERCENTILES,
) -> Float[np.ndarray, " draw"]:
    """Return the in-sample R2 of each draw, transform and fit repeated on it."""
    columns, y = feats.assemble(layers, features), feats.numbers(layers, target)
    x = columns.values[picks]
    logs = feats.transform(x, columns.logged, feats.bounds(x, clip_percentiles))
    return ols.r2(feats.design(feats.standardise(logs)), y[picks][..., None])[..., 0]


def loo_draws(
    layers: pd.DataFrame,
    target: str,
    features: str,
    picks: Int[np.ndarray, "draw layer"],
    clip_percentiles: Sequence[float] = feats.CLIP_PERCENTILES,
) -> Float[np.ndarray, " draw"]:
    """Return the leave-one-layer-out R2 of each draw of the left-out errors.

    The fits stay those of the full data: a layer drawn twice would otherwise predict itself.
    """
    design, y = regression_of(layers, target, features, clip_percentiles)
    errors = ols.loo_errors(design, y[:, None])[:, 0]
    return 1 - (errors[picks] ** 2).sum(axis=-1) / ols.total(y[picks][..., None])[..., 0]


def ends(
    layers: pd.DataFrame,
    targets: Sequence[str],
    features: str,
    picks: Int[np.ndarray, "draw layer"],
    clip_percentiles: Sequence[float] = feats.CLIP_PERCENTILES,
) -> dict[str, Float[np.ndarray, " target"]]:
    """Return the middle 95 % of both R2 for every target: ``r2_from``, ``r2_to``, ``loo_from``, ``loo_to``.

    The draws of :func:`r2_draws` and :func:`loo_draws`; targets share the designs, which are the work.
    """
    columns = feats.assemble(layers, features)
    y = np.column_stack([feats.numbers(layers, target) for target in targets])
    x, drawn = columns.values[picks], y[picks]
    logs = feats.transform(x, columns.logged, feats.bounds(x, clip_percentiles))
    errors = ols.loo_errors(regression_of(layers, targets[0], features, clip_percentiles)[0], y)
    draws = {
        "r2": ols.r2(feats.design(feats.standardise(logs)), drawn),
        "loo": 1 - (errors[picks] ** 2).sum(axis=-2) / ols.total(drawn),
    }
    bounds = {name: [middle(of_target) for of_target in found.T] for name, found in draws.items()}
    return {
        f"{name}_{end}": np.array([pair[i] for pair in pairs])
        for name, pairs in bounds.items()
        for i, end in enumerate(("from", "to"))
    }


STATISTICS = {"r2": r2_draws, "loo_r2": loo_draws}


def intervals(
    layers: pd.DataFrame,
    target: str,
    hypotheses: Sequence[str],
    dropped: Sequence[int] = (0,),
    n_bootstrap: int = 500,
    block_length: int = 5,
    clip_percentiles: Sequence[float] = feats.CLIP_PERCENTILES,
    seed: int = 0,
) -> pd.DataFrame:
    """Return every R2 of every hypothesis within every model, with both kinds of 95 % interval.

    Columns: source, model, target, features, dropped_layers, statistic (r2, loo_r2), bootstrap (layer,
    block), value, low, high.
    """
    made = []
    for key, group, kind, picks in _drawn(layers, dropped, KINDS, n_bootstrap, block_length, seed):
        for features in hypotheses:
            for statistic, draws_of in STATISTICS.items():
                draws = draws_of(group, target, features, picks, clip_percentiles)
                low, high = middle(draws[1:])
                row = key | {
                    "target": label_of(target, group),
                    "features": features,
                    "statistic": statistic,
                    "bootstrap": kind,
                }
                made.append(row | {"value": float(draws[0]), "low": low, "high": high})
    return pd.DataFrame(made)


def _drawn(
    layers: pd.DataFrame,
    dropped: Sequence[int],
    kinds: Sequence[str],
    n_bootstrap: int,
    block_length: int,
    seed: int,
) -> Iterator[tuple[dict, pd.DataFrame, str, np.ndarray]]:
    """Yield each model's remaining layers and the rows of its draws, of which the first is all of them."""
    for key, kept in each_model(layers, dropped):
        for kind in kinds:
            yield key, kept, kind, with_all_first(rows(len(kept), kind, n_bootstrap, block_length, seed))


def gaps(
    layers: pd.DataFrame,
    target: str,
    pairs: Sequence[Sequence[str]],
    dropped: Sequence[int] = (0,),
    n_bootstrap: int = 500,
    block_length: int = 5,
    clip_percentiles: Sequence[float] = feats.CLIP_PERCENTILES,
    seed: int = 0,
) -> pd.DataFrame:
    """Return how much better each first hypothesis predicts left-out layers than the second of its pair.

    The two are scored on the same draws, in blocks. Columns: source, model, target, features, rival,
    dropped_layers, gap (of leave-one-layer-out R2), low, high.
    """
    made = []
    for key, group, _, picks in _drawn(layers, dropped, ["block"], n_bootstrap, block_length, seed):
        for features, rival in pairs:
            ours, theirs = (
                loo_draws(group, target, name, picks, clip_percentiles) for name in (features, rival)
            )
            gap = ours - theirs
            low, high = middle(gap[1:])
            row = key | {"target": label_of(target, group), "features": features, "rival": rival}
            made.append(row | {"gap": float(gap[0]), "low": low, "high": high})
    return pd.DataFrame(made)
