"""What would change our mind, in numbers: how much more data would decide what is undecided.

An interval shrinks as the root of the data behind it. A gap of 0.02 known to 0.06 either way needs nine times
the data to be clear of zero:

>>> times_the_data(0.02, -0.04, 0.08)
9.0
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from geowall.wall.cells import Cell

FLOOR_SHARES = np.linspace(0.0, 0.98, 50)


def times_the_data(value: float, low: float, high: float) -> float:
    """How many times the data an interval as asymmetric as this one needs to stay clear of zero.

    At least 1; infinite for a value of exactly zero. The end that counts is the one towards zero.
    """
    if value == 0:
        return float("inf")
    reach = value - low if value > 0 else high - value
    return float(max(1.0, round((reach / abs(value)) ** 2, 6)))


def more_data(gaps: pd.DataFrame, questions: Sequence[tuple[str, str, str]]) -> pd.DataFrame:
    """For gaps in leave-one-out R2 (chapter 08): what it would take to decide them, at their present size.

    ``questions``: (features, rival, words). Columns: question, model, value, low, high, n_times (as much
    data), decided.
    """
    made = []
    for features, rival, words in questions:
        rows = gaps[(gaps["features"] == features) & (gaps["rival"] == rival)]
        rows = rows[rows["dropped_layers"] == rows["dropped_layers"].min()]
        for row in rows.to_dict("records"):
            ends = row["gap"], row["low"], row["high"]
            made.append(
                {"question": words, "model": row["model"], "value": ends[0], "low": ends[1], "high": ends[2]}
                | {"n_times": times_the_data(*ends), "decided": ends[1] > 0 or ends[2] < 0}
            )
    return pd.DataFrame(made)


def parting(cells: Sequence[Cell], times: float = 3.0, least: int = 4, octaves: int = 12) -> pd.DataFrame:
    """How wide must the next dictionary be to tell a floor from none?

    For every cell of at least ``least`` widths a power law with and one without a floor are fitted; where
    they part by ``times`` the scatter about the better one, a dictionary would decide. Columns: model,
    layer, n_widths, widest, scatter (of log error), floor, decides_at (latents; empty if not within
    ``octaves``).
    """
    made = []
    for cell in cells:
        if len(cell.widths) < least:
            continue
        plain, bent = _fit(cell, [0.0]), _fit(cell, FLOOR_SHARES)
        freedom = max(1, len(cell.widths) - 3)
        scatter = max(0.005, float(np.sqrt(bent["misfit"] / freedom)))
        ahead = cell.widths[-1] * 2.0 ** np.arange(0, octaves + 1)
        apart = np.abs(_log_error(bent, ahead) - _log_error(plain, ahead))
        clear = np.flatnonzero(apart > times * scatter)
        own = {
            "model": cell.model,
            "layer": cell.layer,
            "n_widths": len(cell.widths),
            "widest": cell.widths[-1],
        }
        decides = float(ahead[clear[0]]) if len(clear) else np.nan
        made.append(own | {"scatter": scatter, "floor": bent["floor"], "decides_at": decides})
    return pd.DataFrame(made)


def _fit(cell: Cell, shares: Sequence[float]) -> dict[str, float]:
    """The power law above a floor, a share of the least error, that is nearest in log error."""
    best = None
    for share in shares:
        floor = share * min(cell.losses)
        slope, level = np.polyfit(cell.x, np.log(np.exp(cell.y) - floor), 1)
        found = {"floor": floor, "slope": float(slope), "level": float(level)}
        misfit = float(((_log_error(found, np.exp(cell.x)) - cell.y) ** 2).sum())
        if best is None or misfit < best["misfit"]:
            best = found | {"misfit": misfit}
    return best


def _log_error(law: dict[str, float], widths: np.ndarray) -> np.ndarray:
    return np.log(np.exp(law["level"] + law["slope"] * np.log(widths)) + law["floor"])
