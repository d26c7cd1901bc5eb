"""The paper's long format: the exponent of every layer at several sparsities, regressed all at once.

The paper prints the leave-one-out R2 of all four summaries, but neither the sparsities nor what is left out.
Each choice that it may have made is tried, and set against what is printed:

>>> from geowall.laws import published
>>> layers = published.per_layer(published.read(published.LAYERS), k=50)
>>> found = long_format(layers, published.read(published.TEXT))
>>> settings_that_agree(found)[["sparsities", "left_out"]].drop_duplicates().to_numpy().tolist()
[['floors', 'layer']]
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from geowall.laws import features as feats
from geowall.laws import pooled, published
from geowall.laws.groups import each_model
from geowall.laws.printed import verdict

# Sparsities that the paper names: of its sweep, its printed floors, its surfaces, its drawn exponents.
SPARSITIES = {
    "sweep": (16, 25, 32, 50, 64, 75),
    "floors": (32, 50, 64, 75),
    "surfaces": (16, 24, 32, 48, 64, 96, 128, 160, 192),
    "drawn": (25, 50, 75),
}
K_TERMS = ("with geometry", "alone")  # log k and its products with the summaries, or log k once
LEFT_OUT = ("layer", "row")


def long_format(layers: pd.DataFrame, text: pd.DataFrame, features: str = feats.FULL) -> pd.DataFrame:
    """Recompute the long-format R2 of every model in every way, at the paper's own settings otherwise.

    ``layers`` is the published per-layer table, ``text`` the numbers printed in the paper's text. Columns:
    source, model, features, sparsities (a name of :data:`SPARSITIES`), ks, k_term (:data:`K_TERMS`), left_out
    (a layer with all its rows, or a row), n_rows, printed, recomputed, difference, unit, agrees.
    """
    said = text[text["quantity"] == "long_format_loo_r2"].set_index("model")
    made = []
    for key, kept in each_model(layers):
        row = {"source": key["source"], "model": key["model"], "features": features}
        value, decimals = said.loc[key["model"], ["value", "decimals"]]
        row |= {"printed": float(value), "unit": 10.0**-decimals}
        for name, ks in SPARSITIES.items():
            way = {"sparsities": name, "ks": ", ".join(map(str, ks)), "n_rows": len(ks) * len(kept)}
            for k_term in K_TERMS:
                for left_out, value in _left_out(kept, ks, features, k_term).items():
                    found = {"k_term": k_term, "left_out": left_out, "recomputed": value}
                    agrees = verdict(value, row["printed"], row["unit"], 0.0)
                    made.append(row | way | found | {"agrees": agrees})
    table = pd.DataFrame(made).assign(difference=lambda t: t["recomputed"] - t["printed"])
    first = ["source", "model", "features", "sparsities", "ks", "k_term", "left_out", "n_rows"]
    return table[[*first, "printed", "recomputed", "difference", "unit", "agrees"]]


def _left_out(kept: pd.DataFrame, ks: Sequence[float], features: str, k_term: str) -> dict[str, float]:
    """Return the R2 on left-out layers and on left-out rows of one model's exponents at all ``ks``."""
    y = np.concatenate([published.alpha_at(kept, k) for k in ks])
    layer, k = np.tile(np.arange(len(kept)), len(ks)), np.log(np.repeat(ks, len(kept)))
    base = np.column_stack([np.ones_like(k), k - k.mean()])
    z = feats.standardise(feats.regressors(kept, features))[layer]
    design = pooled.blocks(base, z) if k_term == "with geometry" else np.column_stack([base, z])
    groups = {"layer": layer, "row": np.arange(len(y))}
    return {name: pooled.leave_out_r2(design, y, groups[name]) for name in LEFT_OUT}


def settings_that_agree(table: pd.DataFrame) -> pd.DataFrame:
    """Return the ways, one a row, in which the numbers of all models come out as printed."""
    ways = ["sparsities", "ks", "k_term", "left_out"]
    all_of = (table["agrees"] == "as printed").groupby([table[way] for way in ways], sort=False).all()
    return all_of[all_of].reset_index()[ways]
