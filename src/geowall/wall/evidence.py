"""Where a number stands: a table of a chapter, and a function that finds the number and its interval in it.

Tables are named by chapter and name. A number that is not there is a reason, never a silent pass:

>>> rows = {"features": ["kappa_ms"], "r2": [0.9], "low": [0.1], "high": [1.0]}
>>> shelf = {"08/transfer": pd.DataFrame(rows)}
>>> cell("08/transfer", "r2", features="kappa_ms").find(shelf)
Found(value=0.9, low=0.1, high=1.0)
>>> cell("08/transfer", "r2", features="nu").find(shelf)
Traceback (most recent call last):
...
geowall.wall.evidence.MissingError: 08/transfer has no row with features = nu
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import nan
from pathlib import Path

import numpy as np
import pandas as pd

from geowall.laws.tables import where
from geowall.paths import ROOT

Shelf = Mapping[str, pd.DataFrame]


class MissingError(Exception):
    """A number that this book does not hold, and why."""


@dataclass(frozen=True)
class Found:
    """A number and its 95 % interval, where it has one."""

    value: float
    low: float = nan
    high: float = nan


@dataclass(frozen=True)
class Number:
    """The tables that a number is made from, and how."""

    tables: tuple[str, ...]
    make: Callable[..., Found]

    def find(self, shelf: Shelf) -> Found:
        """Make the number from the tables on the shelf.

        Raises:
            MissingError: where a table, a column or a row is not there, or the number is none.
        """
        for name in self.tables:
            if name not in shelf:
                raise MissingError(f"table {name} is not published")
        try:
            found = self.make(*(shelf[name] for name in self.tables))
        except KeyError as error:
            raise MissingError(f"{' and '.join(self.tables)} have no {error.args[0]}") from error
        if not np.isfinite(found.value):
            raise MissingError(f"{' and '.join(self.tables)} give no number")
        return found


def cell(table: str, column: str, low: str = "low", high: str = "high", **conditions: object) -> Number:
    """The one row of ``table`` that meets all conditions; its ends where the table has such columns."""

    def make(rows: pd.DataFrame) -> Found:
        kept = only(rows, table, **conditions)
        if len(kept) != 1:
            raise MissingError(f"{table} has {len(kept)} rows with {_said(conditions)}")
        row = kept.iloc[0]
        return Found(float(row[column]), *(float(row[end]) if end in row else nan for end in (low, high)))

    return Number((table,), make)


def made(make: Callable[..., Found], *tables: str) -> Number:
    """The number that a function makes from whole tables."""
    return Number(tables, make)


def check(chapter: str, claim: str) -> Number:
    """The value of a chapter's own check; what it was allowed to be is not its interval."""
    return cell(f"{chapter}/checks", "value", "", "", claim=claim)


def nothing(reason: str) -> Number:
    """A number that cannot be had here."""

    def make() -> Found:
        raise MissingError(reason)

    return Number((), make)


def only(rows: pd.DataFrame, table: str, **conditions: object) -> pd.DataFrame:
    """The rows that meet all conditions.

    Raises:
        MissingError: if there is none.
    """
    kept = where(rows, **conditions)
    if kept.empty:
        raise MissingError(f"{table} has no row with {_said(conditions)}")
    return kept


def spread(values: pd.Series, seed: int = 0) -> Found:
    """Mean of seeds, with a 95 % bootstrap interval of it."""
    numbers = values.to_numpy(float)
    draws = np.random.default_rng(seed).choice(numbers, (2000, len(numbers))).mean(axis=1)
    return Found(float(numbers.mean()), *map(float, np.quantile(draws, [0.025, 0.975])))


def share(flags: pd.Series) -> Found:
    """Share of true flags with Wilson's 95 % interval."""
    n, p, z = len(flags), float(flags.mean()), 1.959964
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return Found(p, float(max(0.0, middle - half)), float(min(1.0, middle + half)))


def path_of(table: str) -> str:
    """Where a table lies, from the root of the book: ``08/transfer``, or the path of a file of data."""
    if table.startswith("data/"):
        return table
    chapter, name = table.split("/")
    found = sorted(Path(ROOT, "notebooks").glob(f"{chapter}_*.ipynb"))
    return f"book/chapters/{found[0].stem if found else chapter}/tables/{name}.parquet"


def _said(conditions: Mapping[str, object]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in conditions.items())
