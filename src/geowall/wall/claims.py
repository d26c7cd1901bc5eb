"""One claim of a paper, declared: where its number stands, when it counts, and what it depends on.

>>> from geowall.wall.evidence import cell
>>> from geowall.wall.rules import same
>>> number = cell("01/ranked", "n_discovered", manifold_rank=1)
>>> claim = Claim("michaud2025", "3e6 are found", "theory", 3e6, number, same(1e5), "01", "discovery")
>>> claim.chapter
'01_capacity_allocation'
"""

from __future__ import annotations

from dataclasses import dataclass
from math import nan
from pathlib import Path

from geowall.paths import ROOT
from geowall.wall import words
from geowall.wall.evidence import Found, Number, Shelf
from geowall.wall.rules import Rule


@dataclass(frozen=True)
class Control:
    """A second number that must pass its own rule: what it means if it does, and what if it does not.

    Both are clauses: ``passes`` after "it is not clear whether", ``otherwise`` by itself. ``what`` names the
    number, which :meth:`says` prints, so that a reader can see which of the two it bears out:

    >>> from geowall.wall.evidence import made
    >>> from geowall.wall.rules import above
    >>> beaten = Control("depth does worse", "depth does better", "gap", made(Found), above(0))
    >>> beaten.says(Found(-0.2, -0.3, -0.1))
    'depth does better (gap −0.200 [−0.30, −0.10])'
    >>> beaten.says(Found(0.2, -0.3, 0.4))
    'it is not clear whether depth does worse (gap 0.200 [−0.30, 0.40])'
    >>> beaten.says(Found(0.2, 0.1, 0.4))
    ''
    """

    passes: str
    otherwise: str
    what: str
    number: Number
    rule: Rule

    def says(self, found: Found) -> str:
        """Say what the number of the control says, or nothing where it passes."""
        side = self.rule.side(found.value, found.low, found.high)
        clause = {"no": self.otherwise, "undecided": f"it is not clear whether {self.passes}"}
        shown = f"{self.what} {words.shown(found.value, found.low, found.high)}"
        return "" if side == "yes" else f"{clause[side]} ({shown})"


@dataclass(frozen=True)
class Claim:
    """What a paper says, and how this book decides.

    ``source`` says on what: ``published`` (the paper's own numbers), ``lab``, ``toy`` (data with a known
    answer) or ``theory``. ``published`` is the paper's number, NaN where it gives none, or how it follows
    from what the paper draws. ``place`` is the number of a chapter, ``figure`` the name of its figure.
    """

    paper: str
    claim: str
    source: str
    published: float | Number
    number: Number
    rule: Rule
    place: str
    figure: str
    control: Control | None = None
    power: Number | None = None  # how often it would pass if it were true; too seldom: no verdict

    @property
    def chapter(self) -> str:
        """Name of the chapter that holds the figure."""
        found = sorted(Path(ROOT, "notebooks").glob(f"{self.place}_*.ipynb"))
        return found[0].stem if found else self.place

    @property
    def tables(self) -> set[str]:
        """The tables that the numbers and the control are made from."""
        numbers = [self.number, self.published, self.control and self.control.number, self.power]
        return {name for number in numbers if isinstance(number, Number) for name in number.tables}

    def there(self, shelf: Shelf) -> float:
        """The paper's number.

        Raises:
            MissingError: where it follows from a table that is not on the shelf.
        """
        return self.published.find(shelf).value if isinstance(self.published, Number) else self.published


NONE = nan
ZAHER, MICHAUD, HINDUPUR = "zaher2026", "michaud2025", "hindupur2025"  # the papers, by their key
