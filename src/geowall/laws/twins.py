"""Is it curvature? Every summary of a layer beside the same summary of a flat twin, as predictors.

A surrogate has the layer's covariance, or its clusters, and no curvature. If what the estimators read on the
twin predicts the exponent as well as what they read on the layer, the law is not about curvature; if what the
layer has *more* than its twin predicts it, it may be.

>>> columns_of("nu")
{'layer': 'nu', 'flat twin': 'flat_nu', 'excess': 'excess_nu'}
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from geowall.laws import features as feats
from geowall.laws import layers as rows
from geowall.laws.baselines import partial_correlations
from geowall.laws.regression import stage2

PARTS = ("layer", "flat twin", "excess")


def columns_of(summary: str) -> dict[str, str]:
    """Return the columns that hold a summary of the layer, of its flat twin, and their difference."""
    return dict(zip(PARTS, (summary, f"flat_{summary}", f"excess_{summary}"), strict=True))


def twin_regressions(
    layers: pd.DataFrame, geometry: pd.DataFrame, target: str, surrogates: Sequence[str],
    n_bootstrap: int = 500, block_length: int = 3,
    clip_percentiles: Sequence[float] = feats.CLIP_PERCENTILES, seed: int = 0,
) -> pd.DataFrame:  # fmt: skip
    """Correlate the target with each part of each summary, and predict left-out layers from it.

    ``layers`` are measured rows, ``geometry`` the long table of chapter 06 with every surrogate. Columns:
    surrogate, source, model, target, features (the summary), part (layer, flat twin, excess), given (none, or
    depth taken out of both), correlation, low, high (95 %, blocks of layers), loo_r2 (of the part alone).
    What a twin reads enters as a logarithm, as summaries do; where it reads nothing at a layer it has no row.
    """
    made = []
    names = {column: (g, part) for g in feats.GEOMETRY for part, column in columns_of(g).items()}
    setting = {"clip_percentiles": clip_percentiles, "seed": seed}
    draws = {"given": ["none", "depth"], "n_bootstrap": n_bootstrap, "block_length": block_length, **setting}
    for surrogate in surrogates:
        shape = rows.summaries(geometry, surrogate).drop(columns="source")
        twins = layers.drop(columns=[*names, *rows.RIVALS], errors="ignore").merge(
            shape, on=["model", "layer"]
        )
        asked = [name for name in names if names[name][1] != PARTS[1] or (twins[name] > 0).all()]
        found = partial_correlations(twins, target, asked, **draws)
        left_out = stage2(twins, [target], asked, n_permutations=1, **setting)
        both = found[found["form"] == "levels"].merge(left_out[["model", "features", "loo_r2"]])
        made.append(both.assign(surrogate=surrogate))
    table = pd.concat(made, ignore_index=True)
    table["part"] = table["features"].map(lambda name: names[name][1])
    table["features"] = table["features"].map(lambda name: names[name][0])
    columns = ["surrogate", "source", "model", "target", "features", "part", "given"]
    return table[[*columns, "correlation", "low", "high", "loo_r2"]]
