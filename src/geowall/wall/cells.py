"""A cell: the errors of one layer at one sparsity over the widths that were measured there.

Everything the planner knows of a layer is such a cell, with the layer's geometry where it was measured:

>>> cell = Cell("lab-small", 3, (64, 128, 256), (0.30, 0.24, 0.20), {"d_int": 4.1})
>>> cell.up_to(128).widths, cell.beyond(128).widths
((64, 128), (256,))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from geowall.census import curves
from geowall.paths import GeowallError

OWN = ["model", "layer", "site", "architecture", "schedule"]
SUMMARIES = ("d_int", "kappa_ms", "kappa_tv", "nu")


@dataclass(frozen=True)
class Cell:
    """Errors ``losses`` (NMSE) of ``widths`` latents, ascending, at one layer; ``geometry`` by summary."""

    model: str
    layer: int
    widths: tuple[int, ...]
    losses: tuple[float, ...]
    geometry: Mapping[str, float] = field(default_factory=dict)
    kind: str = ""  # site, architecture and schedule, where a layer has several

    @property
    def x(self) -> np.ndarray:
        """Natural logarithms of the widths."""
        return np.log(np.array(self.widths, float))

    @property
    def y(self) -> np.ndarray:
        """Natural logarithms of the errors."""
        return np.log(np.array(self.losses, float))

    def up_to(self, width: int) -> Cell:
        """The cell as it would be, had nothing wider than ``width`` been trained."""
        return self._where(np.array(self.widths) <= width)

    def beyond(self, width: int) -> Cell:
        """What was measured above ``width``."""
        return self._where(np.array(self.widths) > width)

    def _where(self, kept: np.ndarray) -> Cell:
        widths = tuple(w for w, keep in zip(self.widths, kept, strict=True) if keep)
        losses = tuple(v for v, keep in zip(self.losses, kept, strict=True) if keep)
        return Cell(self.model, self.layer, widths, losses, self.geometry, self.kind)


def from_checkpoints(
    checkpoints: pd.DataFrame, k: float, geometry: pd.DataFrame | None = None, least: int = 2
) -> list[Cell]:
    """Cells of a table of checkpoints at ``k`` active latents, where at least ``least`` widths reach it.

    The error at ``k`` is interpolated between measured sparsities and never extrapolated
    (:func:`geowall.census.curves.at_sparsity`); seeds of one width are averaged in the logarithm.
    ``geometry`` is a table ``layer_geometry``, or a wide one with a column for each summary.
    """
    read = curves.at_sparsity(checkpoints, [k])
    shapes, made = _shapes(geometry), []
    own = [name for name in OWN if name in read]
    for key, group in read.groupby(own, sort=True):
        named = dict(zip(own, key, strict=True))
        error = np.log(group.groupby("d_sae")["nmse"].agg(lambda v: np.exp(np.log(v).mean())))
        if len(error) < least:
            continue
        kind = "/".join(str(named[name]) for name in OWN[2:] if name in named)
        here = (named["model"], int(named["layer"]))
        # a table of shapes without sites serves every site
        shape = shapes.get((*here, named.get("site", "res")), shapes.get((*here, ""), {}))
        widths, losses = tuple(map(int, error.index)), tuple(np.exp(error.to_numpy()).tolist())
        made.append(Cell(str(named["model"]), int(named["layer"]), widths, losses, shape, kind))
    return made


def published(layers: pd.DataFrame, showcase: pd.DataFrame, k: int = 50) -> list[Cell]:
    """Cells of Gemma 2 from the paper's own figures: two widths a layer, more at the showcase layers.

    Takes the two published tables (Zaher 2026). Layers without a wide dictionary at ``k`` have no cell; all
    measured showcase points are kept, also those that the paper's filters drop.
    """
    wide_of = {"gemma-2-2b": 65_536, "gemma-2-9b": 131_072}
    made = []
    for row in layers.itertuples():
        shown = showcase.query("model == @row.model and layer == @row.layer and k == @k")
        points = dict(zip(shown["width"].astype(int), shown["nmse"], strict=True))
        if not points and row.nmse_l0_50_width_hi == row.nmse_l0_50_width_hi:
            points = {16_384: row.nmse_l0_50_width_lo, wide_of[row.model]: row.nmse_l0_50_width_hi}
        if points:
            shape = {name: float(getattr(row, name)) for name in SUMMARIES}
            widths = tuple(sorted(points))
            losses = tuple(float(points[w]) for w in widths)
            made.append(Cell(row.model, int(row.layer), widths, losses, shape))
    return made


def _shapes(geometry: pd.DataFrame | None) -> dict[tuple[str, int, str], dict[str, float]]:
    """Summaries of each layer by (model, layer, site), from a long or a wide table."""
    if geometry is None or geometry.empty:
        return {}
    wide = wide_geometry(geometry)
    columns = [name for name in SUMMARIES if name in wide]
    return {
        (str(row["model"]), int(row["layer"]), str(row.get("site", ""))): {n: float(row[n]) for n in columns}
        for _, row in wide.iterrows()
    }


def wide_geometry(geometry: pd.DataFrame) -> pd.DataFrame:
    """A row for each layer and site, a column for each estimator: model, layer, site, d_int, ...

    A table that is wide already is returned as it is, and one without sites stays without.

    Raises:
        GeowallError: for a table that has neither ``estimator`` and ``value`` nor any summary as a column.
    """
    if {"estimator", "value"} <= set(geometry):
        key = [name for name in ("model", "layer", "site") if name in geometry]
        first = geometry.drop_duplicates([*key, "estimator"])  # the value is the same in every row
        table = first.pivot(index=key, columns="estimator", values="value")
        return table.reset_index().rename_axis(columns=None)
    if not {"model", "layer"} <= set(geometry) or not set(SUMMARIES) & set(geometry):
        why = f"its columns are {', '.join(map(str, geometry.columns))}"
        raise GeowallError(
            "the geometry of no layer was read", why, "give the table layer_geometry of chapter 06"
        )
    return geometry


def pick(cells: Sequence[Cell], layer: int, model: str = "") -> Cell:
    """The one cell of a layer (and a model, where there are several).

    Raises:
        GeowallError: if there is none, or more than one.
    """
    found = [cell for cell in cells if cell.layer == layer and model in ("", cell.model)]
    if len(found) == 1:
        return found[0]
    there = ", ".join(sorted({f"{c.model} layer {c.layer} ({c.kind})" for c in found or cells})[:8]) or "none"
    what = f"{'no' if not found else 'more than one'} set of widths at layer {layer}"
    raise GeowallError(what, f"there are {there}", f"choose with {_choices(found)}")


def _choices(found: Sequence[Cell]) -> str:
    """The options of the command line that part these cells, with the values there are."""
    keys = [dict(zip(OWN[2:], c.kind.split("/"), strict=False)) | {"model": c.model} for c in found]
    said = []
    for name in ("model", *OWN[2:]):
        values = sorted({key.get(name, "") for key in keys} - {""})
        if len({key.get(name, "") for key in keys}) > 1 and values:
            said.append(f"--{name} {' or '.join(values)}")
    return ", ".join(said) or "--layer, --model, --site, --architecture, --schedule"
