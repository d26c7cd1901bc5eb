"""The tables of chapter 09 that need more than one table of another chapter, each by one call.

>>> from geowall.laws import published
>>> tables = [published.read(path) for path in (published.LAYERS, published.SHOWCASE)]
>>> laws = theory_laws(pd.DataFrame(), pd.DataFrame(), *tables, k=16.0)
>>> laws.groupby("model").size().to_dict()
{'gemma-2-2b': 26, 'gemma-2-9b': 40}
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from geowall.laws.scaling.sources import named
from geowall.laws.tables import where
from geowall.wall import cells as from_tables
from geowall.wall import decisive, floors, theory
from geowall.wall.calibrate import hidden, prior_for
from geowall.wall.cells import Cell
from geowall.wall.holdout import RULES, as_then, by_octave, holdout
from geowall.wall.planner import predict

USUAL = {"site": "res", "architecture": "jumprelu", "schedule": "matched"}
OTHERS = USUAL | {"schedule": ""}  # Gemma Scope names no schedule
K_GEMMA = 50  # at which the paper draws its showcase points
OTHER_GRIDS = {
    "lab, TopK": {"architecture": "topk"},
    "lab, mlp": {"site": "mlp"},
    "lab, attention": {"site": "att"},
}
LEAST_LAYERS = 6  # of a grid that is predicted layer by layer


def lab_cells(
    checkpoints: pd.DataFrame, geometry: pd.DataFrame, k: float, schedule: str = "matched"
) -> list[Cell]:
    """Cells of the residual stream's JumpReLU grids at ``k``; of none, if there are no checkpoints."""
    return _cells(checkpoints, geometry, k, "lab", USUAL | {"schedule": schedule})


def gemma_cells(checkpoints: pd.DataFrame, geometry: pd.DataFrame) -> list[Cell]:
    """Cells of the checkpoints of Gemma Scope that were measured here, at the paper's sparsity."""
    return _cells(checkpoints, geometry, K_GEMMA, "gemma", OTHERS)


def _cells(
    checkpoints: pd.DataFrame, geometry: pd.DataFrame, k: float, source: str, which: dict[str, str]
) -> list[Cell]:
    if checkpoints.empty:
        return []
    kept = where(named(checkpoints), source=source, **which)
    kept = kept[kept["status"] == "measured"] if "status" in kept else kept
    shapes = geometry if geometry.empty else named(geometry)
    return from_tables.from_checkpoints(kept, k, shapes) if len(kept) else []


def wall_floors(details: pd.DataFrame, lab: pd.DataFrame, paper: pd.DataFrame, k: float) -> pd.DataFrame:
    """Fitted floors of measured and of showcase layers, at one k a grid, beside their geometry.

    Takes ``attenuation`` of chapter 07, ``layer_geometry`` of 06, the published layers, and the ``k`` at
    which 07 reads the lab's laws.
    """
    found = floors.layer_floors(details, pd.DataFrame())
    columns = ["model", "layer", "site", *floors.SUMMARIES]
    wide = [from_tables.wide_geometry(table) for table in (named(lab), paper)]
    shapes = [table.assign(site=table.get("site", USUAL["site"])).reindex(columns=columns) for table in wide]
    shapes = pd.concat(shapes)
    return floors.at_one_k(found.merge(shapes, how="left", on=["model", "layer", "site"]), k)


def usual(table: pd.DataFrame) -> pd.DataFrame:
    """The published rows, and of the lab the JumpReLU grids of matched budget on the residual stream."""
    own = np.logical_and.reduce([table[name] == value for name, value in USUAL.items()])
    return table[(table["source"] != "lab") | own].reset_index(drop=True)


def theory_laws(
    checkpoints: pd.DataFrame, geometry: pd.DataFrame, layers: pd.DataFrame, showcase: pd.DataFrame, k: float
) -> pd.DataFrame:
    """The plain power law of every layer whose geometry is known: :func:`geowall.wall.theory.laws_of`."""
    paper = theory.laws_of(from_tables.published(layers, showcase, K_GEMMA), "published")
    lab = theory.laws_of(lab_cells(checkpoints, geometry, k), "lab")
    gemma = theory.laws_of(gemma_cells(checkpoints, geometry), "gemma")
    parts = [paper.assign(k=float(K_GEMMA)), lab.assign(k=float(k)), gemma.assign(k=float(K_GEMMA))]
    return pd.concat([part for part in parts if len(part)], ignore_index=True)


def hidden_widths(
    checkpoints: pd.DataFrame,
    geometry: pd.DataFrame,
    layers: pd.DataFrame,
    showcase: pd.DataFrame,
    k: float,
    octaves: int = 3,
    rules: Sequence[str] = tuple(RULES),
) -> pd.DataFrame:
    """The planner put to the test on every grid: :func:`geowall.wall.holdout.holdout`.

    Three groups: ``lab``, taught by the other layers of the model; ``lab, other model``, each layer as if it
    were alone; and ``Gemma 2``, the showcase layers, taught by the other model and the lab. ``lab, scaled``,
    where the budget of training grows with the width, and ``Gemma 2, measured`` are there where enough
    layers are.
    """
    chosen = {name: RULES[name] for name in rules}
    lab, gemma = lab_cells(checkpoints, geometry, k), from_tables.published(layers, showcase, K_GEMMA)
    shown, ours = [c for c in gemma if len(c.widths) > 2], [*lab, *gemma]
    parts = [
        holdout(lab, "lab", octaves, False, chosen, gemma),
        holdout(lab, "lab, other model", octaves, True, chosen, gemma),
        holdout(shown, "Gemma 2", octaves, True, chosen, ours),
    ]
    more = {"lab, scaled": lab_cells(checkpoints, geometry, k, "scaled")}
    more["Gemma 2, measured"] = [c for c in gemma_cells(checkpoints, geometry) if len(c.widths) > 2]
    for group, cells in more.items():
        if len({c.layer for c in cells}) >= LEAST_LAYERS:
            parts.append(holdout(cells, group, octaves, False, chosen, ours))
    return pd.concat([part for part in parts if len(part)], ignore_index=True)


def horizons(
    tested: pd.DataFrame,
    checkpoints: pd.DataFrame,
    layers: pd.DataFrame,
    showcase: pd.DataFrame,
    k: float,
    octaves: int = 3,
) -> pd.DataFrame:
    """What the intervals of the planner without geometry held: by group, who taught, model and octaves ahead.

    ``tested`` is :func:`hidden_widths`; the lab's other sites and architectures are tested here. Columns:
    those of :func:`geowall.wall.holdout.by_octave`.
    """
    ours = [*lab_cells(checkpoints, pd.DataFrame(), k), *from_tables.published(layers, showcase, K_GEMMA)]
    parts = [tested[tested["rule"] == "no geometry"]]
    for group, other in OTHER_GRIDS.items():
        cells = _cells(checkpoints, pd.DataFrame(), k, "lab", USUAL | other)
        found = holdout(cells, group, octaves, False, {"no geometry": ()}, ours)
        parts.append(found[found["rule"] == "no geometry"])
    parts = [part for part in parts if len(part)]
    return by_octave(pd.concat(parts, ignore_index=True), ["group", "others", "model"])


def forecasts(
    checkpoints: pd.DataFrame, geometry: pd.DataFrame, k: float, octaves: float = 2.0, beyond: int = 2
) -> pd.DataFrame:
    """What the planner says of every lab layer: a row a width.

    Hidden widths are predicted from the narrow ones alone, widths ahead from all that were measured, as
    ``geowall plan`` predicts them. Columns: model, layer, width, nmse (measured; NaN where nothing is), part
    (``fitted``, ``hidden`` or ``ahead``), predicted, low_80, high_80, low, high (NaN for fitted widths).
    """
    lab, made, memo = lab_cells(checkpoints, geometry, k), [], {}
    for cell in lab:
        parts = hidden(cell, octaves)
        if parts is None:
            continue
        narrow, wide = parts
        then = as_then(cell, lab, narrow.widths[-1])
        ahead = [cell.widths[-1] * 2**step for step in range(1, beyond + 1)]
        told = [
            predict(narrow, prior_for(narrow, then, memo=memo), wide.widths).assign(
                part="hidden", measured=wide.losses
            ),
            predict(cell, prior_for(cell, lab, memo=memo), ahead).assign(part="ahead", measured=np.nan),
        ]
        said = pd.concat(told).rename(columns={"nmse": "predicted", "measured": "nmse"})
        known = pd.DataFrame({"width": narrow.widths, "nmse": narrow.losses, "part": "fitted"})
        made.append(pd.concat([known, said]).assign(model=cell.model, layer=cell.layer))
    columns = ["model", "layer", "width", "nmse", "part", "predicted", "low_80", "high_80", "low", "high"]
    return pd.concat(made, ignore_index=True)[columns] if made else pd.DataFrame(columns=columns)


def deciding_widths(
    checkpoints: pd.DataFrame, layers: pd.DataFrame, showcase: pd.DataFrame, k: float
) -> pd.DataFrame:
    """How wide the next dictionary must be to tell a floor: :func:`geowall.wall.decisive.parting`."""
    lab = lab_cells(checkpoints, pd.DataFrame(), k)
    measured = [*lab, *gemma_cells(checkpoints, pd.DataFrame())]
    found = decisive.parting([*measured, *from_tables.published(layers, showcase, K_GEMMA)])
    at = dict.fromkeys((cell.model for cell in lab), float(k))
    return found.assign(k=found["model"].map(at).fillna(float(K_GEMMA)))
