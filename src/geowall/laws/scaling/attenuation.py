"""How much of a width exponent a floor hides: the identity of the paper's Eq. 15.

A law ``R + B`` with ``R = A n^-alpha`` falls more slowly than ``R`` by itself. Between two widths the slope
is less by a term that holds nothing but the ratio of floor to power law at the two ends:

>>> a, alpha, floor = np.log(2.0), 0.4, 0.05
>>> chord(a, alpha, floor, 100.0, 800.0).round(6) == (alpha - hidden(a, alpha, floor, 100.0, 800.0)).round(6)
np.True_
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float

from geowall.laws.scaling.sources import backbone_of


def hidden(
    log_a: Float[np.ndarray, " *fit"],
    alpha: Float[np.ndarray, " *fit"],
    floor: Float[np.ndarray, " *fit"],
    narrow: float,
    wide: float,
) -> Float[np.ndarray, " *fit"]:
    """Return what the floor takes off the exponent between two widths (Eq. 15)."""
    ratio = [np.log1p(floor * np.exp(alpha * np.log(n) - log_a)) for n in (narrow, wide)]
    return (ratio[1] - ratio[0]) / np.log(wide / narrow)


def chord(
    log_a: Float[np.ndarray, " *fit"],
    alpha: Float[np.ndarray, " *fit"],
    floor: Float[np.ndarray, " *fit"],
    narrow: float,
    wide: float,
) -> Float[np.ndarray, " *fit"]:
    """Return the slope of the law between two widths: the exponent that a law without a floor finds."""
    ends = [np.log(np.exp(log_a - alpha * np.log(n)) + floor) for n in (narrow, wide)]
    return (ends[0] - ends[1]) / np.log(wide / narrow)


def table(floors: pd.DataFrame, backbone: Sequence[int]) -> pd.DataFrame:
    """Split the exponent with a floor into the one without and what the floor hides.

    Between the two widths that exponents without a floor are read from: the paper's, and ``backbone`` for the
    lab, or the nearest that were fitted. Takes rows of :func:`geowall.laws.scaling.intervals.floors`.
    Columns: the rows' own (``narrow`` and ``wide`` are these two), alpha_chord (slope of the fitted law),
    hidden (Eq. 15), share (hidden over the exponent with a floor), identity (what is left of it: rounding).
    """
    ends = [floors["model"].map(lambda model, i=i: backbone_of(model, backbone)[i]) for i in (0, 1)]
    narrow, wide = np.maximum(ends[0], floors["narrow"]), np.minimum(ends[1], floors["wide"])
    own = floors.assign(narrow=narrow.astype(int), wide=wide.astype(int))[wide > narrow]
    law = [own[name].to_numpy() for name in ("log_a", "alpha_width", "floor", "narrow", "wide")]
    slope, lost = chord(*law), hidden(*law)
    share = np.divide(lost, law[1], out=np.full(len(lost), np.nan), where=law[1] > 0)
    return own.assign(alpha_chord=slope, hidden=lost, share=share, identity=law[1] - lost - slope)
