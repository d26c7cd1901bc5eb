"""Who teaches a layer's prior, and how much wider its intervals must be than the teachers' spread says.

A layer is taught by the other layers of its model that were measured the same way, where three or more of
them show how savings shrink; else by other models. Then the teachers are put in its place one by one: their
widest octaves are hidden, they are predicted by what the rest would have taught, and intervals are stretched
until they hold 95 of a hundred of what was hidden (a conformal scaling). The layer itself takes no part:

>>> errors = {i: tuple(0.5 * n ** -(0.2 + 0.01 * i) for n in (64, 128, 256, 512)) for i in range(6)}
>>> table = [Cell("m", i, (64, 128, 256, 512), losses) for i, losses in errors.items()]
>>> prior = prior_for(table[2], table)
>>> prior.n_layers, prior.stretch
(5, (1.0, 1.0, 1.0, 1.0))
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from geowall.wall.cells import Cell
from geowall.wall.planner import ENDS, LEVELS, Surprises, mixture
from geowall.wall.prior import FEW, UNSTRETCHED, Prior, learn

HIDDEN = (1, 2, 3)  # octaves that are hidden of a teacher
SHOWN = 3  # widths from which a layer shows how its savings shrink
Test = tuple[str, int, Surprises]  # model and layer, and a row a hidden width
Memo = dict[object, list[Test]]


@dataclass(frozen=True)
class Teachers:
    """Cells that teach a prior: ``own`` layers of the model (else other models), and how far they reach.

    ``reach`` is by how many octaves they were measured beyond the planned layer; a teacher in its place is
    predicted by others that reach as far beyond it.
    """

    cells: tuple[Cell, ...]
    own: bool
    reach: float = 0.0


def hidden(cell: Cell, octaves: float, least: int = 2) -> tuple[Cell, Cell] | None:
    """A cell parted into narrow widths and the ``octaves`` widest, or None if fewer than ``least`` remain.

    >>> narrow, wide = hidden(Cell("m", 0, (64, 128, 256), (0.4, 0.3, 0.25)), octaves=1)
    >>> narrow.widths, wide.widths
    ((64, 128), (256,))
    """
    narrow = cell.up_to(cell.widths[-1] / 2**octaves * 1.001)
    if len(narrow.widths) < least or len(narrow.widths) == len(cell.widths):
        return None
    return narrow, cell.beyond(narrow.widths[-1])


def teachers_of(cell: Cell, table: Sequence[Cell], known: Sequence[Cell] = ()) -> Teachers:
    """Who teaches the prior of ``cell``: layers of its model in ``table``, or with them of other models too.

    A layer counts once, never as its own teacher, and no model of the table is taken from ``known`` again.
    """
    own = [c for c in table if c.model == cell.model and c.kind == cell.kind and c.layer != cell.layer]
    if sum(len(c.widths) >= SHOWN for c in own) >= FEW:
        widest = max(c.widths[-1] for c in own)
        return Teachers(tuple(own), True, max(0.0, float(np.log2(widest / cell.widths[-1]))))
    there = {_name(c.model) for c in table} | {_name(cell.model)}
    foreign = [*own, *(c for c in table if _name(c.model) != _name(cell.model))]
    seen = _points([*table, cell])  # a layer of the table under another name has an error in common with it
    foreign += [c for c in known if _name(c.model) not in there and not _points([c]) & seen]
    return Teachers(tuple({(c.model, c.layer, c.kind): c for c in foreign}.values()), False)


def prior_for(
    cell: Cell,
    table: Sequence[Cell],
    known: Sequence[Cell] = (),
    features: Sequence[str] = (),
    calibrated: bool = True,
    memo: Memo | None = None,
) -> Prior:
    """The prior of a cell: one, whatever is asked of it. ``table`` is the reader's, ``known`` is ours.

    ``memo`` keeps what tests of the teachers have found, between calls with the same ones.
    """
    found = teachers_of(cell, table, known)
    prior = learn(found.cells, features)
    return replace(prior, stretch=_stretch(cell, found, features, memo)) if calibrated else prior


def _stretch(cell: Cell, found: Teachers, features: Sequence[str], memo: Memo | None) -> tuple[float, ...]:
    least, memo = min(SHOWN, len(cell.widths)), {} if memo is None else memo
    # The narrow widths of the layer itself are known, and may teach those that stand in for it.
    pool = sorted([*found.cells, *([cell] if found.own else [])], key=lambda c: (c.model, c.layer, c.kind))
    key = (least, tuple(features), found.reach, tuple((c.model, c.layer, c.kind, c.losses) for c in pool))
    if key not in memo:
        tests = _own(pool, found.reach, least, features) if found.own else _foreign(pool, least, features)
        memo[key] = list(tests)
    return stretch_of([t for t in memo[key] if t[:2] != (cell.model, cell.layer)])


def stretch_of(tests: Sequence[Test]) -> tuple[float, ...]:
    """By how much each end of an interval must move out to leave beyond it what it should, and no more.

    Models count the same, and so do the layers of one. At least 1: agreement by luck narrows nothing. Ends
    move apart, since a dictionary that is short of training errs on one side.
    """
    if not tests:
        return UNSTRETCHED
    models = [model for model, _, _ in tests]
    weight = np.concatenate([np.full(len(z), 1 / models.count(m) / len(z)) for m, _, z in tests])
    seen, made = np.concatenate([z for _, _, z in tests]), {}
    for column, end in enumerate(ENDS):
        side = -1 if LEVELS[end] < 0.5 else 1
        out, held = side * seen[:, column], max(LEVELS[end], 1 - LEVELS[end])
        order = np.argsort(out)
        share = np.cumsum(weight[order]) / weight.sum()
        level = min(1.0, held * (1 + 1 / len(tests)))  # one layer more than was seen, as conformal ends ask
        made[end] = max(1.0, float(out[order][min(np.searchsorted(share, level - 1e-9), len(out) - 1)]))
    low, low_80, high_80, high = made.values()
    return max(low, low_80), low_80, high_80, max(high, high_80)


def _own(cells: Sequence[Cell], reach: float, least: int, features: Sequence[str]) -> Iterator[Test]:
    """Each layer in the place of the planned one, predicted by the other layers of its model."""
    for cell in cells:
        made = []
        for octaves in HIDDEN:
            parts = hidden(cell, octaves, least)
            if parts is not None:
                rest = cut(cells, parts[0].widths[-1] * 2**reach, cell)
                made.append(_surprises(*parts, learn(rest, features)))
        if any(len(z) for z in made):
            yield cell.model, cell.layer, np.concatenate(made)


def _foreign(cells: Sequence[Cell], least: int, features: Sequence[str]) -> Iterator[Test]:
    """Each layer in the place of the planned one, predicted by the models that are not its own."""
    for model in dict.fromkeys(c.model for c in cells):
        prior = learn([c for c in cells if c.model != model], features)
        for cell in (c for c in cells if c.model == model):
            parts = [p for octaves in HIDDEN if (p := hidden(cell, octaves, least))]
            made = [_surprises(*each, prior) for each in parts]
            if any(len(z) for z in made):
                yield model, cell.layer, np.concatenate(made)


def _surprises(narrow: Cell, wide: Cell, prior: Prior) -> Surprises:
    if not all(narrow.geometry.get(name, 0) > 0 for name in prior.features):
        return np.empty((0, len(ENDS)))
    return mixture(narrow, prior, wide.widths).surprise(wide.y)


def cut(cells: Sequence[Cell], width: float, without: Cell | None = None) -> list[Cell]:
    """The cells as they would be, had nothing wider than ``width`` been trained; ``without`` one of them."""
    kept = [c.up_to(width * 1.001) for c in cells if c is not without]
    return [c for c in kept if c.widths]


def _name(model: str) -> str:
    return model.split("/")[-1].lower()


def _points(cells: Sequence[Cell]) -> set[tuple[int, float]]:
    """Widths and errors, as far as a table that was written and read again keeps them."""
    return {(w, float(f"{v:.9g}")) for c in cells for w, v in zip(c.widths, c.losses, strict=True)}
