"""Advice for a reader's own layer: ``geowall plan`` without its terminal.

A table of measured checkpoints goes in (what ``geowall census --table`` writes), a recommended width comes
out, with the predicted error of every width on the way:

>>> rows = [{"model": "m", "layer": 3, "site": "res", "architecture": "topk", "schedule": "matched",
...     "d_sae": n, "l0": l0, "nmse": 2 * n**-0.3 / l0**0.5} for n in (512, 1024, 2048) for l0 in (10, 60)]
>>> found = advise(pd.DataFrame(rows), layer=3, k=30, target=0.03, teachers=[])
>>> found["recommended"], found["fitted"]
(8192, [512, 1024, 2048])
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from geowall.laws import published
from geowall.laws.tables import where
from geowall.paths import ROOT, GeowallError
from geowall.wall import cells as from_tables
from geowall.wall.cells import Cell
from geowall.wall.planner import predict, recommend
from geowall.wall.prior import Prior, learn

NEEDED = ("layer", "d_sae", "l0", "nmse")
DEFAULTS = {"model": "yours", "site": "res", "architecture": "", "schedule": ""}
OCTAVES = 4  # how far ahead of the widest dictionary advice goes
SURE = 0.8  # probability with which a recommended width reaches its target
FEATURES = ("d_int", "kappa_ms")
WORTH = 0.05  # of the error: what the last doubling must save where no target is given
LAB = "data/lab/checkpoints.parquet"
SCORES = "book/chapters/09_geometric_wall/tables/holdout_scores.parquet"
FEW = 3  # other layers of a model that are too few to have taught the prior by themselves
SHAPES = "book/chapters/06_layer_geometry/tables/layer_geometry.parquet"


def read_table(place: Path, what: str = "checkpoints") -> pd.DataFrame:
    """A table from a parquet or CSV file, or from a folder that holds one of that name.

    Raises:
        GeowallError: if there is none, or it cannot be read.
    """
    if place.is_dir():
        names = [f"{folder}{what}.{ending}" for folder in ("", "tables/") for ending in ("parquet", "csv")]
        found = [place / name for name in names if (place / name).is_file()]
        if not found:
            why = f"{place} holds no {what}.parquet and no {what}.csv"
            fix = f"geowall census {place} --table {what}.parquet, then plan with that file"
            raise GeowallError("nothing was planned", why, fix)
        place = found[0]
    if not place.is_file():
        fix = f"geowall census FOLDER --table {place.name}"
        raise GeowallError("nothing was planned", f"there is no file {place}", fix)
    try:
        return pd.read_parquet(place) if place.suffix == ".parquet" else pd.read_csv(place)
    except (OSError, ValueError) as error:
        why = f"{place} cannot be read as a table: {str(error).splitlines()[0]}"
        raise GeowallError("nothing was planned", why, "give a parquet or CSV file") from error


def checked(table: pd.DataFrame) -> pd.DataFrame:
    """The measured rows of a table of checkpoints, with what may be left out filled in.

    Raises:
        GeowallError: for a missing column, no row, or an error, a width or a sparsity that cannot be.
    """
    missing = [name for name in NEEDED if name not in table]
    if missing:
        why = f"the table of checkpoints has no column {', '.join(missing)}"
        raise GeowallError("nothing was planned", why, "geowall census FOLDER --table checkpoints.parquet")
    kept = table[table["status"] == "measured"] if "status" in table else table
    kept = kept.dropna(subset=list(NEEDED))
    if kept.empty:
        why = "no checkpoint in the table was measured"
        raise GeowallError("nothing was planned", why, "look at its columns status and nmse")
    wrong = kept[~((kept["nmse"] > 0) & (kept["d_sae"] > 0) & (kept["l0"] > 0))]
    if len(wrong):
        why = f"{len(wrong)} rows have an nmse, d_sae or l0 that is not positive"
        raise GeowallError("nothing was planned", why, "leave these rows out")
    # An empty key of a CSV file is NaN, and a group of that key is none to pandas.
    names = [*DEFAULTS, *(name for name in ("source", "seed") if name in kept)]
    texts = {name: kept.get(name, pd.Series(DEFAULTS.get(name, ""), kept.index)) for name in names}
    return kept.assign(**{name: text.astype(object).where(text.notna(), "") for name, text in texts.items()})


def advise(
    checkpoints: pd.DataFrame,
    layer: int,
    k: float,
    target: float | None = None,
    width: int | None = None,
    geometry: pd.DataFrame | None = None,
    model: str = "",
    site: str = "",
    architecture: str = "",
    schedule: str = "",
    teachers: Sequence[Cell] | None = None,
) -> dict[str, object]:
    """How wide to train at a layer, read at ``k`` active latents.

    With a ``target`` error the recommended width is the narrowest that reaches it with probability 0.8; with
    a ``width`` it is that width and the advice is its predicted error; with neither, the widest whose last
    doubling is expected to save five per cent of the error. The prior is taught by the other layers of the
    table and by ``teachers`` (by default the lab's layers and the published ones of Gemma 2).

    Returns:
        model, layer, site, k, fitted (widths), losses, recommended (None if no width within reach will do),
        probability, features, n_layers (that taught the prior), held_out (:func:`held_out`), and
        table: width, nmse, low_80, high_80, low,
        high.

    Raises:
        GeowallError: for a layer or a k that was not measured, or a target outside 0 to 1.
    """
    if target is not None and not 0 < target < 1:
        raise GeowallError("nothing was planned", f"a target of {target:g} is no NMSE", "give 0 to 1")
    asked = {"model": model, "site": site, "architecture": architecture, "schedule": schedule}
    table = _chosen(checked(checkpoints), layer, asked)
    own = from_tables.from_checkpoints(table, k, geometry, least=1)
    if not any(cell.layer == layer for cell in own):
        _refuse_k(table[table["layer"] == layer], k)
    cell = from_tables.pick(own, layer, model)
    widths = _widths(cell, width)
    others = [c for c in own if (c.model, c.layer) != (cell.model, cell.layer)]
    features = () if geometry is None else tuple(f for f in FEATURES if f in cell.geometry)
    prior = learn([*others, *(known(k) if teachers is None else teachers)], _octaves(cell, widths), features)
    told = predict(cell, prior, widths)
    recommended, probability = _recommended(cell, prior, widths, told, target, width)
    return {
        "model": cell.model,
        "layer": layer,
        "site": cell.kind.split("/")[0],
        "k": float(k),
        "fitted": list(cell.widths),
        "losses": list(cell.losses),
        "target": target,
        "recommended": recommended,
        "probability": probability,
        "features": list(features),
        "n_layers": prior.n_layers,
        "held_out": held_out(sum(c.model == cell.model for c in others)),
        "table": told,
    }


def held_out(n_own: int) -> dict[str, object]:
    """How many hidden dictionaries the planner's 95 % intervals held when it was tested as it is used here.

    With ``n_own`` other layers of the same model to learn from, or too few and so other models alone. Returns
    group, coverage, n_predictions; nothing where chapter 09 is not published.
    """
    path = ROOT / SCORES
    if not path.is_file():
        return {}
    group = "lab" if n_own >= FEW else "lab, other model"
    rows = where(pd.read_parquet(path), group=group, rule="no geometry")
    if rows.empty:
        return {}
    row = rows.iloc[0]
    named = {"group": group, "coverage": float(row["coverage"])}
    return named | {"n_predictions": int(row["n_predictions"])}


@functools.lru_cache(maxsize=4)
def known(k: float) -> tuple[Cell, ...]:
    """Layers that teach a reader's prior: the lab's at a sparsity near ``k``, and the published ones."""
    layers, showcase = (published.read(path) for path in (published.LAYERS, published.SHOWCASE))
    cells = from_tables.published(layers, showcase)
    if (ROOT / LAB).is_file():
        lab = pd.read_parquet(ROOT / LAB)
        lab = lab[
            (lab["schedule"] == "matched") & (lab["architecture"] == "jumprelu") & (lab["site"] == "res")
        ]
        shapes = pd.read_parquet(ROOT / SHAPES) if (ROOT / SHAPES).is_file() else None
        cells += from_tables.from_checkpoints(lab, float(np.clip(k, 10.0, 30.0)), shapes)
    return tuple(cells)


def _chosen(table: pd.DataFrame, layer: int, asked: dict[str, str]) -> pd.DataFrame:
    """Rows of what was asked for, at one site; where none was asked for, the residual stream if it can be."""
    for name, value in asked.items():
        if value and not (table[name] == value).any():
            there = ", ".join(sorted(map(str, table[name].unique())))
            raise GeowallError(
                "nothing was planned", f"no checkpoint has {name} {value}", f"choose of {there}"
            )
        table = table[table[name] == value] if value else table
    if not (table["layer"] == layer).any():
        there = ", ".join(map(str, sorted(table["layer"].unique())))
        what = f"no checkpoint of layer {layer} is in the table"
        raise GeowallError("nothing was planned", what, f"choose --layer among {there}")
    here = table.loc[table["layer"] == layer, "site"]
    if (here == DEFAULTS["site"]).any():
        return table[table["site"] == DEFAULTS["site"]]
    return table[table["site"] == here.iloc[0]] if here.nunique() == 1 else table


def _refuse_k(rows: pd.DataFrame, k: float) -> None:
    ranges = rows.groupby("d_sae")["l0"].agg(["min", "max"])
    low, high = float(ranges["min"].max()), float(ranges["max"].min())
    near = f"-k {np.sqrt(low * high):.3g}" if low < high else "measure more sparsities of each width"
    least, most = float(rows["l0"].min()), float(rows["l0"].max())
    why = f"no width was measured on both sides of k = {k:g}; their L0 runs from {least:.3g} to {most:.3g}"
    raise GeowallError("nothing was planned", why, near)


def _widths(cell: Cell, width: int | None) -> list[int]:
    widest = cell.widths[-1]
    if width is None:
        return [widest * 2**step for step in range(1, OCTAVES + 1)]
    if width <= widest:
        why = f"{width:,} latents were measured, or are narrower than the {widest:,} that were"
        raise GeowallError("nothing was planned", why, f"ask for more than --width {widest}")
    steps = int(np.ceil(np.log2(width / widest)))
    return sorted({*(widest * 2**step for step in range(1, steps)), int(width)})


def _octaves(cell: Cell, widths: Sequence[int]) -> float:
    return float(min(3.0, np.log2(widths[-1] / cell.widths[-1])))


def _recommended(
    cell: Cell,
    prior: Prior,
    widths: Sequence[int],
    told: pd.DataFrame,
    target: float | None,
    width: int | None,
) -> tuple[int | None, float | None]:
    if target is not None:
        reached = [w for w, loss in zip(cell.widths, cell.losses, strict=True) if loss <= target]
        if reached:
            return reached[0], 1.0
        found, probability = recommend(cell, prior, target, widths, SURE)
        return found, probability
    if width is not None:
        return int(width), None
    path = np.array([min(cell.losses), *told["nmse"]])
    best = cell.widths[int(np.argmin(cell.losses))]
    worth = 1 - path[1:] / path[:-1] >= WORTH
    steps = int(np.argmin(worth)) if not worth.all() else len(worth)
    return int([best, *widths][steps]), None


def report(found: dict[str, object]) -> str:
    """The advice in lines of plain text, for a terminal."""
    fitted = ", ".join(f"{w:,}: {v:.4f}" for w, v in zip(found["fitted"], found["losses"], strict=True))
    given = f" and {' and '.join(found['features'])}" if found["features"] else ""
    site = "" if found["site"] == DEFAULTS["site"] else f" ({found['site']})"
    lines = [
        f"{found['model']} layer {found['layer']}{site} at {found['k']:g} active latents; measured {fitted}",
        f"prior from {found['n_layers']} other layers{given}",
        "",
        f"{'latents':>10}  {'nmse':>8}  {'80 %':>17}  {'95 %':>17}",
    ]
    for row in found["table"].itertuples():
        inner, outer = (f"{a:.4f} to {b:.4f}" for a, b in ((row.low_80, row.high_80), (row.low, row.high)))
        mark = "  <- recommended" if row.width == found["recommended"] else ""
        lines.append(f"{row.width:>10,}  {row.nmse:>8.4f}  {inner:>17}  {outer:>17}{mark}")
    return "\n".join([*lines, *_coverage(found), "", *_warning(found), _conclusion(found)])


def _coverage(found: dict[str, object]) -> list[str]:
    """Say what the 95 % intervals have been worth, as a line below them."""
    tested = found["held_out"]
    if not tested:
        return []
    taught = "other layers of the model" if tested["group"] == "lab" else "other models alone"
    return [
        f"tested on hidden dictionaries of the lab, taught by {taught}: the 95 % intervals held "
        f"{tested['coverage']:.0%} of {tested['n_predictions']}"
    ]


def _warning(found: dict[str, object]) -> list[str]:
    widths, losses = found["fitted"], found["losses"]
    best = int(np.argmin(losses))
    if best == len(widths) - 1:
        return []
    return [f"{widths[-1]:,} latents have a larger error than {widths[best]:,}: they were short of training"]


def _conclusion(found: dict[str, object]) -> str:
    target, width = found["target"], found["recommended"]
    if target is not None and width is None:
        last = found["table"]["width"].iloc[-1]
        return (
            f"no width up to {last:,} reaches {target:g} with probability {SURE:.0%}; "
            f"the widest does with {found['probability']:.0%}"
        )
    if target is not None:
        if width in found["fitted"]:
            return f"the dictionary of {width:,} latents has reached {target:g} already"
        return f"train {width:,} latents: {target:g} is reached with probability {found['probability']:.0%}"
    if width in found["fitted"]:
        return (
            f"stay at {width:,} latents: doubling them is expected to save less than {WORTH:.0%} of the error"
        )
    row = found["table"].set_index("width").loc[width]
    ends = f"{row['low']:.4f} to {row['high']:.4f}"
    return f"{width:,} latents: {row['nmse']:.4f} is expected, {ends} by the 95 % interval"


def as_json(found: dict[str, object]) -> dict[str, object]:
    """The advice with its table as a list of rows, all of plain numbers."""
    return {**found, "table": found["table"].to_dict("records")}
