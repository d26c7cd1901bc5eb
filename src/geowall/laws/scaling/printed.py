"""The paper's per-layer laws as rows of the same table: 68 exponents, and the floors it prints.

>>> from geowall.laws import published
>>> rows = laws(*map(published.read, (published.LAYERS, published.CHECKPOINTS, FLOORS)), [50.0])
>>> rows.groupby("form").size().to_dict()
{'no_floor': 68, 'secant': 66, 'with_floor_printed': 24}
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from geowall.laws import published
from geowall.laws.scaling.sources import BACKBONE

FLOORS = f"{published.FOLDER}/geometric_wall_floors.csv"
CHORD_K = 50.0  # the sparsity of the two digitised curves


def laws(
    layers: pd.DataFrame, inventory: pd.DataFrame, floors: pd.DataFrame, ks: Sequence[float]
) -> pd.DataFrame:
    """Return the published exponents at every ``k``, the chord at k = 50, and the printed floors.

    The columns are those of :func:`geowall.laws.scaling.exponents.exponents`, with ``floor``. The paper gives
    no intervals and no ``beta_k``: these are empty. ``extrapolated`` marks 9B layers 0 and 1, where the wide
    dictionary was not measured at 50 active latents.
    """
    table = layers.reset_index(drop=True)
    beyond = table["nmse_l0_50_width_hi"].isna()
    made = [
        table[["model", "layer"]].assign(
            form="no_floor", k=float(k), alpha_width=published.alpha_at(table, k),
            beta_n=table["beta_n"], gamma=table["gamma"], extrapolated=beyond & (k >= CHORD_K),
        )
        for k in ks
    ]  # fmt: skip
    chord = table[["model", "layer"]].assign(
        form="secant", k=CHORD_K, alpha_width=published.alpha_chord(table)
    )
    made.append(chord[~beyond].assign(extrapolated=False))
    widths, counts = _backbone(inventory)
    rows = pd.concat(made, ignore_index=True).merge(counts, on=["model", "layer"])
    rows = rows.assign(**{end: rows["model"].map(widths[end]) for end in widths}, n_widths=2)
    printed = floors.assign(form="with_floor_printed", extrapolated=False)
    rows = pd.concat([rows, printed.astype({"k": float})], ignore_index=True)
    group = {"source": "published", "site": "res", "architecture": "jumprelu", "schedule": ""}
    return rows.assign(**group, low=np.nan, high=np.nan, beta_k=np.nan)


def _backbone(inventory: pd.DataFrame) -> tuple[dict[str, dict[str, int]], pd.DataFrame]:
    narrow, wide = (inventory["model"].map({m: w[i] for m, w in BACKBONE.items()}) for i in (0, 1))
    own = inventory[(inventory["width"] == narrow) | (inventory["width"] == wide)]
    counts = own.groupby(["model", "layer"]).size().rename("n_checkpoints").reset_index()
    ends = {end: {m: w[i] for m, w in BACKBONE.items()} for i, end in enumerate(("narrow", "wide"))}
    return ends, counts
