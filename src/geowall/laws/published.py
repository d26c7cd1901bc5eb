"""The paper's numbers for the 68 layers of Gemma 2, as the tidy per-layer table that every law is fitted to.

One row is a layer. The width exponent is linear in ``ln k``, so the two coefficients give it at any sparsity:

>>> layers = per_layer(read(LAYERS), k=50)
>>> layers.groupby("model", sort=True).size().to_dict()
{'gemma-2-2b': 26, 'gemma-2-9b': 42}
>>> round(float(alpha_at(layers, 50)[0]), 4), round(float(layers["alpha_k50"][0]), 4)
(0.5054, 0.5054)
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from jaxtyping import Float

from geowall.paths import ROOT, GeowallError

FOLDER = "data/published"
LAYERS = f"{FOLDER}/geometric_wall_layers.csv"
TABLES = f"{FOLDER}/geometric_wall_tables.csv"
TEXT = f"{FOLDER}/geometric_wall_text.csv"
SHOWCASE = f"{FOLDER}/geometric_wall_showcase.csv"
CHECKPOINTS = f"{FOLDER}/gemma_scope_checkpoints.csv"

MODELS = ("gemma-2-2b", "gemma-2-9b")
CALIBRATION = 1e-5  # of an axis: the bound on a digitised position
# The width ratio between the two backbone dictionaries of each model: 65k and 131k over 16k.
BACKBONE_RATIO = {"gemma-2-2b": 4.0, "gemma-2-9b": 8.0}


def read(path: str) -> pd.DataFrame:
    """Read a published table by its path from the root of the book, as ``run.read`` does in a chapter.

    Raises :class:`~geowall.paths.GeowallError` if the file is not there.
    """
    full = ROOT / path
    if not full.is_file():
        raise GeowallError(f"no published table at {path}", "the file is missing", f"git checkout -- {path}")
    return pd.read_csv(full)


def per_layer(
    layers: pd.DataFrame, k: int, source: str = "published", drop_first_layers: int = 0
) -> pd.DataFrame:
    """Add ``source``, ``alpha_k<k>`` and ``alpha_extrapolated`` to the per-layer table.

    ``alpha_extrapolated`` marks the layers whose wide backbone dictionary was not measured at 50 active
    latents (9B layers 0 and 1): their exponent is the paper's fit carried beyond its data.
    """
    kept = layers[layers["layer"] >= drop_first_layers]
    table = kept.sort_values(["model", "layer"], ignore_index=True)
    table.insert(0, "source", source)
    if f"alpha_k{k}" not in table:
        table[f"alpha_k{k}"] = alpha_at(table, k)
    wide = table.get("nmse_l0_50_width_hi")
    table["alpha_extrapolated"] = False if wide is None else wide.isna()
    return table


def alpha_at(layers: pd.DataFrame, k: float) -> Float[np.ndarray, " layer"]:
    """Width exponent ``-(beta_n + gamma ln k)`` of the no-floor surface (Zaher 2026, Eq. 7)."""
    return -(layers["beta_n"].to_numpy() + layers["gamma"].to_numpy() * np.log(k))


def alpha_chord(layers: pd.DataFrame) -> Float[np.ndarray, " layer"]:
    """Width exponent as the slope between the two backbone widths at L0 = 50 (Zaher 2026, Eq. 16).

    It needs no surface fit. NaN where the wide dictionary was not measured at that sparsity. ``layers`` needs
    the columns ``model``, ``nmse_l0_50_width_lo`` and ``nmse_l0_50_width_hi`` of the published table.
    """
    ratio = layers["model"].map(BACKBONE_RATIO).to_numpy(dtype=float)
    narrow, wide = (layers[f"nmse_l0_50_width_{end}"].to_numpy() for end in ("lo", "hi"))
    return np.log(narrow / wide) / np.log(ratio)
