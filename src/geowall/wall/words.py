"""Numbers of the verdict table as they are printed, on the page, in the picture and in a reason.

>>> short(2_874_009.0), shown(0.9792, 0.59, 0.987)
('2.87e6', '0.979 [0.59, 0.99]')
"""

from __future__ import annotations

from math import isnan, nan

SMALL = 1e-6  # of the largest of a number and its ends: an end nearer to zero is printed as zero


def shown(value: float, low: float = nan, high: float = nan) -> str:
    """Return a number with its interval, as tables and reasons print it.

    >>> shown(0.5), shown(float("nan"))
    ('0.500', '–')
    """
    ends = interval(value, low, high)
    return f"{short(value)} {ends}" if ends else short(value)


def interval(value: float, low: float, high: float) -> str:
    """Return the interval in brackets; nothing where there is none, or it is a point.

    An end that is zero but for rounding is printed as zero; ends that would look the same get a digit more:

    >>> interval(0.0, 2.8e-17, 0.434), interval(0.32, -0.099, 0.026), interval(0.992, 0.9905, 0.9928)
    ('[0, 0.43]', '[−0.099, 0.026]', '[0.991, 0.993]')
    """
    if isnan(value) or isnan(low) or isnan(high) or low == high:
        return ""
    size = max(abs(end) for end in (value, low, high))
    ends = [0.0 if abs(end) < SMALL * size else end for end in (low, high)]
    coarse, fine = ([short(end, digits) for end in ends] for digits in (2, 3))
    return f"[{', '.join(coarse if len(set(coarse)) == 2 else fine)}]"


def short(value: float, digits: int = 3) -> str:
    """A few digits, a true minus, thousands as powers of ten; a dash for no number.

    >>> short(-0.5701), short(0.998), short(0.05), short(1e-4), short(147.2), short(1.369, 2)
    ('−0.570', '0.998', '0.050', '1e-4', '147', '1.4')
    """
    if isnan(value):
        return "–"
    size = abs(value)
    if size >= 1e5 or 0 < size < 1e-3:
        mantissa, power = f"{value:.2e}".split("e") if size >= 1 else f"{value:.0e}".split("e")
        text = f"{float(mantissa):g}e{int(power)}"
        return f"−{text[1:]}" if value < 0 else text
    decimals = 0 if size >= 99.5 else 1 if size >= 9.95 else digits - 1 if size >= 1 else digits
    text = f"{value:.{decimals if size >= 0.0995 else 3}f}"
    return "0" if value == 0 else text.replace("-", "−")
