"""One layer's errors on a grid of widths and sparsities, as measured and as drawn again.

Fits want arrays, tables want rows. A :class:`Grid` holds ``log L`` of one layer for every width, ``k`` and
draw, and knows which cells lie beyond their checkpoints:

>>> import pandas as pd
>>> rows = [{"d_sae": n, "l0": l0, "nmse": n**-0.3 / l0, "spread": 0.0} for n in (64, 256) for l0 in (8, 32)]
>>> grid = of_layer(pd.DataFrame(rows), [10.0, 64.0], reach=1.25)
>>> grid.widths.tolist(), grid.measured.tolist(), grid.log_error.shape
([64, 256], [[True, False], [True, False]], (2, 2, 1))
>>> grid.backbone([128, 512])
(0, 1)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from geowall.laws.scaling import sparsity
from geowall.laws.scaling.sources import ks_of
from geowall.laws.scaling.uncertainty import log_draws


@dataclass(frozen=True)
class Grid:
    """``log_error`` is NaN where a cell is out of reach; draw 0 is the data as measured."""

    widths: Int[np.ndarray, " width"]
    ks: Float[np.ndarray, " k"]
    log_error: Float[np.ndarray, "width k draw"]
    measured: Bool[np.ndarray, "width k"]  # inside the L0 of the width's checkpoints
    n_checkpoints: Int[np.ndarray, " width"]

    def at(self, k: float) -> int:
        """Return the place of ``k`` in the grid."""
        return int(np.flatnonzero(np.isclose(self.ks, k))[0])

    def reached(self, k: float) -> Bool[np.ndarray, " width"]:
        """Return which widths have an error at ``k``, measured or marked as extrapolated."""
        return np.isfinite(self.log_error[:, self.at(k), 0])

    def backbone(self, asked: Sequence[int]) -> tuple[int, int] | None:
        """Return the places of the two widths nearest to those asked for; None where there is only one."""
        narrow, wide = (int(np.abs(np.log(self.widths / n)).argmin()) for n in asked)
        return (narrow, wide) if narrow != wide else None


def of_layer(
    checkpoints: pd.DataFrame,
    ks: Sequence[float],
    reach: float = 1.25,
    draws: Float[np.ndarray, "checkpoint draw"] | None = None,
) -> Grid:
    """Interpolate one layer's checkpoints (d_sae, l0, nmse, or ``draws`` of ``log nmse``) on ``ks``."""
    draws = np.log(checkpoints["nmse"].to_numpy())[:, None] if draws is None else draws
    at, found = np.log(np.asarray(ks, dtype=float)), []
    for width in np.unique(checkpoints["d_sae"]):
        own = np.flatnonzero(checkpoints["d_sae"] == width)
        own = own[np.argsort(checkpoints["l0"].to_numpy()[own])]
        if len(own) < 2:
            continue
        log_l0 = np.log(checkpoints["l0"].to_numpy()[own])
        values, beyond = sparsity.log_errors(log_l0, draws[own], ks)
        far = np.abs(at - np.clip(at, log_l0[0], log_l0[-1])) > np.log(reach)
        values[far] = np.nan
        found.append((int(width), values, ~beyond, len(own)))
    widths, values, measured, n = zip(*found, strict=True)
    return Grid(np.array(widths), np.asarray(ks, float), np.stack(values), np.stack(measured), np.array(n))


def of_layers(
    checkpoints: pd.DataFrame,
    ks: Sequence[float],
    n_bootstrap: int = 0,
    seed: int = 0,
    reach: float = 1.25,
    drawn: Callable[[pd.DataFrame, int, int], np.ndarray] = log_draws,
) -> Iterator[tuple[dict[str, object], Grid]]:
    """Yield every layer and grid of a table of :func:`~geowall.laws.scaling.sparsity.usable` checkpoints.

    ``drawn`` draws their errors again: a function of :mod:`geowall.laws.scaling.uncertainty`.
    """
    table = checkpoints.reset_index(drop=True)
    draws = drawn(table, n_bootstrap, seed)
    for key, group in table.groupby(sparsity.GROUP, sort=True):
        if group["d_sae"].duplicated().any():
            named = dict(zip(sparsity.GROUP, key, strict=True))
            yield named, of_layer(group, ks_of(named["model"], ks), reach, draws[group.index])
