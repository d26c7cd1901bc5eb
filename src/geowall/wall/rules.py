"""When a claim counts as reproduced: every rule of the verdict table, each stated once.

A **test** looks at a number and its interval and says yes, no, or undecided; a claim may also have a
**control**, a second number that must pass if the first is to mean what the paper takes it to mean.

* *not testable here*: the number does not exist in this book, or a true law would hardly show in it; the
  reason says which;
* *not reproduced*: the number fails its test; so it does when its interval reaches the other side of what is
  claimed, unless it holds the paper's number as well;
* *reproduced with caveat*: its interval does both, or it passes and the control fails or stays open;
* *reproduced*: it passes with its whole interval, and so does the control.

>>> verdict(above(0.0).of(0.3, 0.1, 0.5)), verdict(above(0.0).of(0.3, -0.1, 0.5)), verdict("yes", "no")
('reproduced', 'not reproduced', 'reproduced with caveat')
>>> about(2).of(0.08, 0.07, 0.09, published=0.05), same(0.0005).of(0.9794, published=0.979)
('undecided', 'yes')
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isnan, nan

from geowall.laws.power import ENOUGH

REPRODUCED, CAVEAT, FAILED, UNTESTED = VERDICTS = (
    "reproduced",
    "reproduced with caveat",
    "not reproduced",
    "not testable here",
)


WHOLE = " with its whole interval"
OUTSIDE = ", which is outside its interval"


@dataclass(frozen=True)
class Rule:
    """A test: what passes, what leaves it undecided, what fails it, and the function that tells.

    The function takes (value, low, high, published).
    """

    words: str
    doubt: str
    denial: str
    judge: Callable[[float, float, float, float], str]

    def of(self, value: float, low: float = nan, high: float = nan, published: float = nan) -> str:
        """Return ``yes``, ``undecided`` or ``no``; without an interval the value stands for both its ends.

        Raises ValueError for a value that is not a number, or an interval that does not run upwards.
        """
        low, high = (value if isnan(end) else end for end in (low, high))
        if isnan(value) or low > high:
            raise ValueError(f"no number to judge: {value} in [{low}, {high}]")
        return self.judge(value, low, high, published)

    def side(self, value: float, low: float = nan, high: float = nan) -> str:
        """Return ``yes`` if value and both ends pass by themselves, ``no`` if none does, else ``undecided``.

        For a number with no number of a paper beside it, as a control is.

        >>> above(0).side(0.3, -0.1, 0.5), above(0).side(-0.3, -0.5, -0.1), above(0).side(0.3)
        ('undecided', 'no', 'yes')
        """
        ends = [value if isnan(end) else end for end in (value, low, high)]
        passed = [self.of(end) == "yes" for end in ends]
        return "yes" if all(passed) else "undecided" if any(passed) else "no"


def above(limit: float) -> Rule:
    """The whole interval above ``limit`` is a yes; undecided if it holds the paper's number too."""
    return Rule(
        f"above {limit:g}",
        f"its interval holds the paper's number, and reaches below {limit:g}",
        f"not above {limit:g}{WHOLE}",
        lambda value, low, high, there: (
            "yes" if low > limit else _doubt(low, high, there) if value > limit else "no"
        ),
    )


def below(limit: float) -> Rule:
    """The whole interval below ``limit`` is a yes; undecided if it holds the paper's number too."""
    return Rule(
        f"below {limit:g}",
        f"its interval holds the paper's number, and reaches above {limit:g}",
        f"not below {limit:g}{WHOLE}",
        lambda value, low, high, there: (
            "yes" if high < limit else _doubt(low, high, there) if value < limit else "no"
        ),
    )


def _doubt(low: float, high: float, there: float) -> str:
    """What an interval says that reaches the other side: nothing, unless the paper's number is in it."""
    return "undecided" if low <= there <= high else "no"


def same(tolerance: float) -> Rule:
    """Within ``tolerance`` of the paper's number; undecided if only the interval holds that number."""
    return Rule(
        f"within {tolerance:g} of the paper's number",
        "only its interval holds the paper's number",
        f"off the paper's number by more than {tolerance:g}{OUTSIDE}"
        if tolerance
        else "not the paper's number",
        lambda value, low, high, there: (
            "yes" if abs(value - there) <= tolerance else "undecided" if low <= there <= high else "no"
        ),
    )


def held(last_digit: float) -> Rule:
    """The paper's number lies in the interval, as far as its ``last_digit`` tells."""
    return Rule(
        "the paper's number in the interval",
        "",
        "the paper's number is outside its interval",
        lambda value, low, high, there: (
            "yes" if low - last_digit / 2 <= there <= high + last_digit / 2 else "no"
        ),
    )


def about(factor: float) -> Rule:
    """The paper's number lies in the interval; undecided if it is only within a ``factor`` of the value."""
    return Rule(
        f"the paper's number in the interval, or else within a factor of {factor:g}",
        f"within a factor of {factor:g}, but outside the interval",
        f"off by more than a factor of {factor:g}",
        lambda value, low, high, there: (
            "yes"
            if low <= there <= high
            else "undecided"
            if value * there > 0 and 1 / factor <= value / there <= factor
            else "no"
        ),
    )


def between(least: float, most: float) -> Rule:
    """The whole interval between two numbers is a yes; undecided if it holds the paper's number too."""
    return Rule(
        f"between {least:g} and {most:g}",
        f"its interval holds the paper's number, and reaches outside {least:g} to {most:g}",
        f"not between {least:g} and {most:g}{WHOLE}",
        lambda value, low, high, there: (
            "yes"
            if least <= low and high <= most
            else _doubt(low, high, there)
            if least <= value <= most
            else "no"
        ),
    )


def verdict(number: str, control: str = "yes") -> str:
    """The verdict from what the test says of a number, and of its control where there is one."""
    if number == "no":
        return FAILED
    return REPRODUCED if number == "yes" and control == "yes" else CAVEAT


def markdown() -> str:
    """The rules of the verdict as a list, for the page that shows them beside the verdicts."""
    return "\n".join(
        [
            f"* **{UNTESTED}**: the number does not exist in this book, or what is claimed, were it true, "
            f"would be seen in fewer than {ENOUGH:.0%} of draws like these layers; the reason says which.",
            f"* **{FAILED}**: the number fails its test, or its interval reaches the other side of what is "
            "claimed without holding the paper's number.",
            f"* **{CAVEAT}**: its interval reaches the other side and holds the paper's number too; or "
            "the number passes and the control fails or stays open, a second number without which the first "
            "does not mean what it seems to; the reason says which, and gives the second number.",
            f"* **{REPRODUCED}**: it passes with its whole interval, and so does its control.",
            "",
            "A test is one of six: above or below a limit, between two, within a tolerance of the paper's "
            "number, that number in the interval, or about it (in the interval; a caveat, if within a stated "
            "factor). "
            "The table `verdicts` names the test of each claim.",
        ]
    )
