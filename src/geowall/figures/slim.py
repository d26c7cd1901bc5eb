"""A chart's specification without what no reader can see: unused columns, the 17th digit, repeated names.

Pages stay small, and the same chart of the same table is the same text on every machine:

>>> rows = [{"x": 0.12345678901, "kind": "a", "unused": 1}, {"x": 2.0, "kind": "b", "unused": 2}]
>>> spec = {"data": {"name": "data-0123456789abcdef"}, "datasets": {"data-0123456789abcdef": rows}}
>>> slim({**spec, "encoding": ["x", "kind"]})["datasets"]
{'data-1': 'x,kind\\n0.12345679,a\\n2,b\\n'}
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from typing import Any

_DIGITS = 8  # significant; a screen shows four
_NAME = re.compile(
    r"\b(data|view|param)([-_])([0-9a-f]{16,32})"
)  # what Altair calls the things it has to name


def slim(spec: dict[str, Any]) -> dict[str, Any]:
    """Return the same chart in fewer characters; it draws the same and answers the same.

    Rows are kept as CSV text where every column is of one plain type, with the types beside it.
    """
    if "datasets" not in spec:
        return _renamed(spec)
    frame = json.dumps({key: value for key, value in spec.items() if key != "datasets"})
    datasets = {name: _slim_rows(rows, frame) for name, rows in spec["datasets"].items()}
    formats = {name: _types(rows) for name, rows in datasets.items()}
    texts = {name: rows if formats[name] is None else _csv(rows) for name, rows in datasets.items()}
    return _renamed(_with_formats({**spec, "datasets": texts}, formats))


def n_rows(data: str | list[Any]) -> int:
    """Rows of a slim chart's data set."""
    return len(data) if isinstance(data, list) else max(0, len(list(csv.reader(io.StringIO(data)))) - 1)


def _slim_rows(rows: Any, frame: str) -> Any:
    """Drop the fields that the specification never mentions and round the others."""
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        return rows
    used = {field for row in rows for field in row if field in frame}
    return [{field: _rounded(value) for field, value in row.items() if field in used} for row in rows]


def _rounded(value: Any) -> Any:
    if not isinstance(value, float) or not math.isfinite(value):
        return value
    if value.is_integer() and abs(value) < 2**53:
        return int(value)
    return float(f"{value:.{_DIGITS}g}")


def _types(rows: Any) -> dict[str, str] | None:
    """Vega's parse type of each column that is not text; ``None`` where the rows cannot be CSV."""
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        return None
    fields = list(rows[0])
    if not fields or any(list(row) != fields for row in rows):
        return None
    types: dict[str, str] = {}
    for field in fields:
        kinds = {bool: "boolean", int: "number", float: "number", str: "text", type(None): "nothing"}
        found = {kinds.get(type(row[field]), "other") for row in rows}
        if found == {"text"}:
            continue
        if found - {"nothing"} not in ({"number"}, {"boolean"}):
            return None
        types[field] = (found - {"nothing"}).pop()
    return types


def _csv(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(rows[0])
    writer.writerows([_cell(value) for value in row.values()] for row in rows)
    return text.getvalue()


def _cell(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value


def _with_formats(node: Any, formats: dict[str, dict[str, str] | None]) -> Any:
    """Tell every reference to a data set how its text is to be read."""
    if isinstance(node, list):
        return [_with_formats(item, formats) for item in node]
    if not isinstance(node, dict):
        return node
    made = {key: value if key == "datasets" else _with_formats(value, formats) for key, value in node.items()}
    data = made.get("data")
    if isinstance(data, dict) and formats.get(data.get("name")) is not None:
        made["data"] = {**data, "format": {"type": "csv", "parse": formats[data["name"]]}}
    return made


def _renamed(spec: dict[str, Any]) -> dict[str, Any]:
    """Number Altair's hashed names in order of appearance: a hash changes with the last digit of the data."""
    known: dict[str, dict[str, int]] = {}

    def number(match: re.Match[str]) -> str:
        names = known.setdefault(match[1], {})
        return f"{match[1]}{match[2]}{names.setdefault(match[0], len(names) + 1)}"

    return json.loads(_NAME.sub(number, json.dumps(spec)))
