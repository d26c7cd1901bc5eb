"""Advice for a reader's own layer: ``geowall plan`` without its terminal.

A table of measured checkpoints goes in (what ``geowall census --table`` writes), a recommended width comes
out, with the predicted error of every width on the way:

>>> rows = [{"model": "m", "layer": 3, "site": "res", "architecture": "topk", "schedule": "matched",
...     "d_sae": n, "l0": l0, "nmse": 2 * n**-0.3 / l0**0.5} for n in (512, 1024, 2048) for l0 in (10, 60)]
>>> found = advise(pd.DataFrame(rows), layer=3, k=30, target=0.035, teachers=[])
>>> found["recommended"], found["fitted"]
(4096, [512, 1024, 2048])
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from geowall.laws import published
from geowall.paths import ROOT, GeowallError
from geowall.wall import cells as from_tables
from geowall.wall.calibrate import SHOWN, Teachers, prior_for, teachers_of
from geowall.wall.cells import Cell
from geowall.wall.holdout import by_octave, holdout
from geowall.wall.planner import limit, predict, recommend
from geowall.wall.prior import Prior

NEEDED = ("layer", "d_sae", "l0", "nmse")
DEFAULTS = {"model": "yours", "site": "res", "architecture": "", "schedule": ""}
OCTAVES = 4  # how far ahead of the widest dictionary advice goes
SURE = 0.8  # probability with which a recommended width reaches its target
FEATURES = ("d_int", "kappa_ms")
WORTH = 0.05  # of the error: what the last doubling must save where no target is given
LAB = "data/lab/checkpoints.parquet"
NEAR = (10.0, 30.0)  # sparsities at which the lab's grids were measured at every width
TESTED = 3  # octaves that are hidden at most when the planner is tested
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
    doubling is expected to save five per cent of the error. What is said of a width depends on none of these.
    The prior is taught by the other layers of the model in the table, or where these are too few by other
    models, there and in ``teachers`` (by default the lab's layers and the published ones of Gemma 2).

    Returns:
        model, layer, site, architecture, schedule, k, fitted (widths), losses, recommended (None if no width
        within reach will do), probability, features, taught_by (layers by model), own (whether these are of
        the same model), n_layers (distinct ones that taught), stretch (of the ends of intervals), floor (the
        error that doubling for ever would end at: median and 95 %), scores (:func:`tested`), untested (what
        the scores do not speak of), and table: width, nmse, low_80, high_80, low, high.

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
    features = () if geometry is None else tuple(f for f in FEATURES if f in cell.geometry)
    ours = known(k) if teachers is None else teachers
    taught, prior = teachers_of(cell, own, ours), prior_for(cell, own, ours, features)
    told = predict(cell, prior, widths)
    recommended, probability = _recommended(cell, prior, widths, told, target, width)
    scores, untested = tested(cell, own, ours, features, k)
    return {
        **_of_cell(cell),
        "k": float(k),
        "target": target,
        "recommended": recommended,
        "probability": probability,
        "features": list(features),
        **_of_teachers(taught),
        "stretch": list(prior.stretch),
        "floor": limit(cell, prior),
        "scores": scores,
        "untested": untested,
        "table": told,
    }


def _of_cell(cell: Cell) -> dict[str, object]:
    named = dict(zip(("site", "architecture", "schedule"), cell.kind.split("/"), strict=True))
    measured = {"fitted": list(cell.widths), "losses": list(cell.losses)}
    return {"model": cell.model, "layer": cell.layer, **named, **measured}


def _of_teachers(taught: Teachers) -> dict[str, object]:
    models = [c.model for c in taught.cells]
    by_model = {model: models.count(model) for model in dict.fromkeys(models)}
    return {"taught_by": by_model, "own": taught.own, "n_layers": len(models)}


def tested(
    cell: Cell, own: Sequence[Cell], ours: Sequence[Cell], features: Sequence[str], k: float
) -> tuple[pd.DataFrame, list[str]]:
    """What this very planner's intervals have held of hidden dictionaries, and what that does not speak of.

    Taught by layers of the model, the layers of the table are tested in the place of the planned one, at its
    site, architecture and schedule; taught by other models, each of these in turn, taught by the rest. The
    widest one, two and three octaves are hidden, and intervals are learnt anew without them.

    Returns:
        :func:`geowall.wall.holdout.by_octave` of the tests, and sentences about what was not tested.
    """
    taught, unsaid = teachers_of(cell, own, ours), []
    if taught.own:
        cells = [c for c in own if (c.model, c.kind) == (cell.model, cell.kind)]
        rows = holdout(cells, "", TESTED, rules={"plan": features}, known=[*own, *ours])
        rows = rows[rows["others"] == "layers"]
    else:
        cells = [c for c in taught.cells if len(c.widths) > 2]
        rows = holdout(cells, "", TESTED, True, {"plan": features}, taught.cells)
        unsaid += _foreign(cell, cells, k) if len(rows) else []
    n = len(cell.widths)
    rows = rows[
        (rows["rule"] == "plan") & (rows["n_fitted"] >= SHOWN if n >= SHOWN else rows["n_fitted"] == n)
    ]
    if rows.empty:
        return rows.reindex(columns=["model", "octaves"]), [
            "these intervals: there are no dictionaries to hide"
        ]
    return by_octave(rows), unsaid


def _foreign(cell: Cell, cells: Sequence[Cell], k: float) -> list[str]:
    """In which ways the layers that were tested differ from the planned one."""
    kinds = sorted({c.kind.replace("/", ", ") for c in cells if c.kind and c.kind != cell.kind})
    said = [] if any(c.model == cell.model for c in cells) else [f"any layer of {cell.model}"]
    if kinds:
        own = ", ".join(filter(None, cell.kind.split("/"))) or "what is planned"
        said.append(f"{own}, since the layers that were are {'; '.join(kinds)}")
    if not NEAR[0] <= k <= NEAR[1]:
        near = float(np.clip(k, *NEAR))
        said.append(f"{k:g} active latents, since the lab was read at {near:g}")
    return said


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
        cells += from_tables.from_checkpoints(lab, float(np.clip(k, *NEAR)), shapes)
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
        f"taught by {_taught(found)}{given}",
        "",
        f"{'latents':>10}  {'nmse':>8}  {'80 %':>17}  {'95 %':>17}",
    ]
    for row in found["table"].itertuples():
        inner, outer = (f"{a:.4f} to {b:.4f}" for a, b in ((row.low_80, row.high_80), (row.low, row.high)))
        mark = "  <- recommended" if row.width == found["recommended"] else ""
        lines.append(f"{row.width:>10,}  {row.nmse:>8.4f}  {inner:>17}  {outer:>17}{mark}")
    end = found["floor"]
    lines.append(f"{'no end':>10}  {end['nmse']:>8.4f}  {'':>17}  {end['low']:.4f} to {end['high']:.4f}")
    return "\n".join([*lines, "", *_coverage(found), "", *_warning(found), _conclusion(found)])


def _taught(found: dict[str, object]) -> str:
    """Which layers taught: how many distinct ones, of which models."""
    by = [f"{n} of {model}" for model, n in found["taught_by"].items()]
    if not by:
        return "no other layer: intervals are broad"
    return f"{found['n_layers']} other layers{' of the same model' if found['own'] else ''}: {', '.join(by)}"


def _coverage(found: dict[str, object]) -> list[str]:
    """Say what these intervals have held of hidden dictionaries, by octaves ahead and model."""
    scores = found["scores"]
    lines = [f"not tested: {said}" for said in found["untested"]]
    if scores.empty:
        return lines
    low, _, _, high = found["stretch"]
    head = [
        "tested by hiding the widest dictionaries of "
        + ("the layers of this model" if found["own"] else "layers, each as if alone of its model"),
        f"intervals reach {low:.1f} times (below) and {high:.1f} times (above) as far as the teachers differ",
    ]
    rows = [
        f"  {r.octaves} octave{'s' if r.octaves > 1 else ' '} ahead, {r.model}: 95 % held {r.coverage:.0%} "
        f"of {r.n_predictions} ({r.coverage_plain:.0%} before widening), 80 % {r.coverage_80:.0%}; error "
        f"{np.expm1(r.error):.1%}"
        for r in scores.itertuples()
    ]
    last = found["table"]["width"].iloc[-1] / found["fitted"][-1]
    beyond = (
        []
        if np.log2(last) <= scores["octaves"].max() + 0.5
        else [f"  more than {scores['octaves'].max()} octaves ahead: not tested"]
    )
    return [*head, *rows, *beyond, *lines]


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
    return {**found, **{name: found[name].to_dict("records") for name in ("scores", "table")}}
