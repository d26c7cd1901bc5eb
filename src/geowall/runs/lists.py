"""What the comment of a list says about the whole list, between its range and its meaning.

``each`` stands before these words, with commas between them, and a semicolon ends them:

- ``increasing``: every item is larger than the one before;
- ``2 of them``, ``2 or more``: how many items; without such a word at least one;
- ``or none``: the list may be empty.

>>> shape, meaning = read("each, increasing, 2 of them; per cent")
>>> meaning, shape.refuses([1, 99]), shape.refuses([99, 1]), shape.refuses([5])
('per cent', None, 'its items must increase', 'it must hold 2 items, not 1')
>>> read("each; exponents")[0].refuses([])
'it may not be empty'
"""

from __future__ import annotations

import ast
import itertools
import math
import re
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Shape:
    """How many items a list may hold and in which order; ``words`` are those of the comment."""

    least: int = 1
    most: float = math.inf
    increasing: bool = False
    words: str = ""

    def refuses(self, items: list[Any]) -> str | None:
        """Say what is wrong with a list whose items are right one by one; None if nothing is."""
        if not items and self.least:
            return "it may not be empty"
        if not self.least <= len(items) <= self.most:
            wanted = f"{self.least}" if self.least == self.most else f"{self.least} or more"
            return f"it must hold {wanted} items, not {len(items)}"
        if self.increasing and any(a >= b for a, b in itertools.pairwise(items)):
            return "its items must increase"
        return None


FILLED = Shape()


def read(comment: str) -> tuple[Shape, str]:
    """Split a list's comment, its range taken off, into what it says of the list and the meaning."""
    match = re.match(r"each\b([^;]*);?\s*(.*)", comment)
    if match is None:
        return FILLED, comment
    words = [word.strip() for word in match[1].split(",") if word.strip()]
    least, most = (0 if "or none" in words else 1), math.inf
    for word in words:
        if count := re.fullmatch(r"(\d+) (of them|or more)", word):
            least, most = int(count[1]), int(count[1]) if count[2] == "of them" else math.inf
        elif word not in ("increasing", "or none"):
            raise ValueError(f"after `each` stand `increasing`, counts or `or none`, not {word!r}")
    return Shape(least, most, "increasing" in words, ", ".join(["each", *words])), match[2]


def item_type(default: list[Any], low: float, high: float, choices: tuple[str, ...]) -> type | None:
    """Return the type of a list's items: that of the default's; of an empty default, that of the range.

    >>> item_type([4, 10], 1, 12, ()), item_type([1, 2.5], 0, 9, ()), item_type([], 2, 64, ())
    (<class 'int'>, <class 'float'>, <class 'int'>)
    """
    kinds = {type(item) for item in default}
    if kinds == {int, float}:
        return float
    if kinds:
        return kinds.pop() if len(kinds) == 1 else None
    if choices:
        return str
    if not math.isfinite(high):
        return None
    return int if float(low).is_integer() and float(high).is_integer() else float


def from_text(text: str) -> Any:
    """Read a list from a command line, with or without brackets, and its texts with or without quotes.

    >>> from_text("1, 2"), from_text("['a', 'b']"), from_text("[a b, c]"), from_text("")
    ([1, 2], ['a', 'b'], ['a b', 'c'], [])
    """
    text = text.strip()
    bracketed = text if text.startswith("[") else f"[{text}]"
    try:
        return ast.literal_eval(bracketed)
    except (ValueError, SyntaxError):
        inner = bracketed[1:-1] if bracketed.endswith("]") else bracketed[1:]
    return [item.strip().strip("'\"") for item in inner.split(",") if item.strip()]
