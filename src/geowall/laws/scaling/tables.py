"""The chapter's main table: every law of every layer, published and measured, in one shape.

``low`` and ``high`` bound the number that a form is read for: the exponent of the forms without a floor, the
floor of those with one. ``beta_n_low`` to ``gamma_high`` bound two coefficients of the surfaces without one.

>>> import pandas as pd
>>> parts = [pd.DataFrame({"source": ["lab"], "form": ["secant"], "alpha_width": [0.2], "d_sae": [1]})]
>>> layer_laws(*parts)[["source", "form", "alpha_width", "floor"]].to_numpy().tolist()
[['lab', 'secant', 0.2, nan]]
"""

from __future__ import annotations

import pandas as pd

from geowall.laws.scaling.exponents import BOUNDS
from geowall.laws.scaling.sparsity import GROUP

COLUMNS = [
    *GROUP, "form", "k", "alpha_width", "beta_n", "beta_k", "gamma", "floor", "low", "high",
    "n_checkpoints", "extrapolated", "narrow", "wide", "n_widths", *BOUNDS,
]  # fmt: skip
ORDER = ["source", "model", "architecture", "schedule", "site", "form", "k", "layer"]


def layer_laws(*parts: pd.DataFrame) -> pd.DataFrame:
    """Stack the rows of :mod:`exponents`, :mod:`printed` and :mod:`floors` into ``layer_laws``."""
    table = pd.concat([part.reindex(columns=COLUMNS) for part in parts], ignore_index=True)
    counts = {name: "Int64" for name in ("n_checkpoints", "narrow", "wide", "n_widths")}
    names = ("k", "alpha_width", "beta_n", "beta_k", "gamma", "floor", "low", "high", *BOUNDS)
    numbers = dict.fromkeys(names, float)
    table["extrapolated"] = table["extrapolated"].eq(True)  # fits with a floor never use such cells
    return table.astype(counts | numbers).sort_values(ORDER, ignore_index=True)
