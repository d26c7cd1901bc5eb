"""How the book writes a number and an interval.

>>> number(2874009.0), number(0.0371623), number(-3.43e-06), number(5), number(float("nan"))
('2,874,009', '0.03716', '−3.43 × 10⁻⁶', '5', 'missing')
>>> interval(2.0, 3.0), interval(None, 0.05), interval(1, None), interval(0, 0)
('2 to 3', 'at most 0.05', 'at least 1', 'exactly 0')
"""

from __future__ import annotations

import math

_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: float) -> str:
    """Write a number to four digits: thousands apart, very small ones as a power of ten, NaN as missing."""
    if not math.isfinite(value):
        return "missing" if math.isnan(value) else "∞" if value > 0 else "−∞"
    if abs(value) >= 1e4:
        text = f"{value:,.0f}" if abs(value) < 1e12 else _scientific(value)
    else:
        text = f"{value:.4g}" if value == 0 or abs(value) >= 1e-4 else _scientific(value)
    return text.replace("-", "−")


def _scientific(value: float) -> str:
    digits, power = f"{value:.3g}".split("e") if "e" in f"{value:.3g}" else f"{value:.2e}".split("e")
    return f"{digits} × 10{str(int(power)).translate(_RAISED)}"


def interval(low: float | None, high: float | None) -> str:
    """Write what a value was expected to be; None is an open end."""
    if low is not None and low == high:
        return f"exactly {number(low)}"
    if low is None and high is None:
        return "anything"
    if low is None or high is None:
        return f"at most {number(high)}" if low is None else f"at least {number(low)}"
    return f"{number(low)} to {number(high)}"
