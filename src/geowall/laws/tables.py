"""Reading one number out of a tidy table, for the sentences of a page.

>>> import pandas as pd
>>> table = pd.DataFrame({"model": ["a", "b"], "r2": [0.5, 0.75]})
>>> pick(table, "r2", model="b")
0.75
"""

from __future__ import annotations

import pandas as pd

from geowall.paths import GeowallError


def where(table: pd.DataFrame, /, **conditions: object) -> pd.DataFrame:
    """Return the rows whose columns equal all ``conditions``; a list stands for any of its members."""
    kept = pd.Series(True, index=table.index)
    for column, value in conditions.items():
        kept &= table[column].isin(value) if isinstance(value, list | tuple) else table[column] == value
    return table[kept]


def pick(table: pd.DataFrame, column: str, /, **conditions: object) -> float:
    """Return ``column`` of the one row whose other columns equal ``conditions``.

    Raises :class:`~geowall.paths.GeowallError` unless there is exactly one such row.
    """
    rows = where(table, **conditions)
    if len(rows) != 1:
        asked = ", ".join(f"{name} = {value!r}" for name, value in conditions.items())
        raise GeowallError(f"no single {column} to quote", f"{len(rows)} rows have {asked}", "name one row")
    value = rows[column].iloc[0]
    return value.item() if hasattr(value, "item") else value


def each(table: pd.DataFrame, column: str, /, by: str = "model", **conditions: object) -> dict[str, float]:
    """Return ``column`` of the one row for each value of ``by``, in order of appearance."""
    rows = where(table, **conditions)
    return {value: pick(rows, column, **{by: value}) for value in dict.fromkeys(rows[by])}
