"""Axes in powers of ten, and labels that sit at the ends of lines.

>>> power_of_ten("datum.value").startswith("'10'")
True
>>> human(2_874_009), human(1e8), human(950)
('2.87 million', '100 million', '950')
"""

from __future__ import annotations

import altair as alt
import pandas as pd

SIZE = "d_sae, latents in the dictionary"
_DIGITS = "⁰¹²³⁴⁵⁶⁷⁸⁹"


def power_of_ten(value: str) -> str:
    """A Vega expression that writes the number ``value``, itself an expression, as 10ⁿ."""
    exponent = f"round(log({value}) / LN10)"

    def digit(of: str) -> str:
        return f"slice('{_DIGITS}', {of}, {of} + 1)"

    tens = f"(abs({exponent}) >= 10 ? {digit(f'floor(abs({exponent}) / 10)')} : '')"
    return f"'10' + ({exponent} < 0 ? '⁻' : '') + {tens} + {digit(f'abs({exponent}) % 10')}"


def decades(low: int, high: int, step: int = 1) -> list[float]:
    """Tick values ``10^low .. 10^high``."""
    return [10.0**k for k in range(low, high + 1, step)]


def log_axis(values: list[float], grid: bool = False) -> alt.Axis:
    """An axis that writes powers of ten at ``values``."""
    return alt.Axis(values=values, labelExpr=power_of_ten("datum.value"), grid=grid)


def human(number: float) -> str:
    """A count in words a reader can hold: three digits and million, billion or trillion."""
    for size, word in ((1e12, "trillion"), (1e9, "billion"), (1e6, "million")):
        if number >= size:
            return f"{number / size:.3g} {word}"
    return f"{number:,.0f}"


def line_ends(table: pd.DataFrame, by: str, x: str) -> pd.DataFrame:
    """The last row (largest ``x``) of each line: where its label goes."""
    return table.sort_values(x).groupby(by, sort=False).tail(1)
