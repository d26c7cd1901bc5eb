"""The performance page: what `make bench` measured, as ratios to named peers.

The page is drawn from ``benchmarks/results.json``. A GPU column without a measurement says so:

>>> row = {"id": "B7", "case": "small", "peer": "heapq", "ratio": 412.3, "low": 399.9, "high": 430.1}
>>> limits = {"must": 300, "goal": 1000, "share_of_limit": 0.047}
>>> print(ratios([row | limits]).splitlines()[-1])
| B7 | small | `heapq` | **412** (400 to 430) | 300 | 1,000 | 4.7 % of a copy | not measured |
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

_NAMES = {
    "B1": "training small sparse autoencoders",
    "B2": "sparsemax, and a training step of SpaDE",
    "B3": "evaluating a checkpoint",
    "B4": "exact neighbours",
    "B5": "intrinsic dimensions of one cloud",
    "B6": "local geometry",
    "B7": "allocation of latents to features",
    "B8": "extracting activations",
    "B9": "laws of many layers with their bootstraps",
    "B10": "making the book: rendered, made again, made after a change",
}
_REFERENCES = {
    "B1": "loss curves of the eager twin",
    "B2": "sparsemax and its gradient in double precision",
    "B3": "errors of the same checkpoint by the peer",
    "B5": "TwoNN and MLE of scikit-dimension",
    "B6": "curvatures by their definition, in double precision",
    "B8": "hidden states of a bare forward",
    "B9": "`scipy.optimize.curve_fit`",
}
_NOTHING = "No benchmark has been recorded yet: `make bench` writes the results this page is drawn from."


def table(path: Path) -> str:
    """Return the page's Markdown: ratios to peers, times without a peer, growth, agreement, the machine."""
    if not path.is_file():
        return _NOTHING
    found = json.loads(path.read_text(encoding="utf-8"))
    rows = found["results"]
    parts = [
        ("## Against a peer", ratios([row for row in rows if "ratio" in row])),
        ("## On its own", seconds([row for row in rows if "ratio" not in row and "seconds" in row])),
        ("## How cost grows", slopes([row for row in rows if "slope" in row])),
        ("## The same answers", differences([row for row in rows if "largest_difference" in row])),
        ("## Measured on", _machine(found)),
    ]
    return "\n\n".join(f"{heading}\n\n{text}" for heading, text in parts if text)


def ratios(rows: list[dict[str, Any]]) -> str:
    """Speed over that of a named peer on the same work in the same process, with its 95 % interval.

    Where the work has a limit that can be timed (a copy of its data, a matrix product of as many
    multiplications), the share of that limit's speed stands beside it.
    """
    if not rows:
        return ""
    lines = [
        "| | Work | Peer | Times as fast | Must | Goal | Speed of the limit | On a GPU |",
        "|---|---|---|---|--:|--:|---|---|",
    ]
    for row in rows:
        noisy = ", noisy" if row.get("noisy") else ""
        ratio = f"**{_times(row['ratio'])}** ({_times(row['low'])} to {_times(row['high'])}{noisy})"
        gpu = f"{row['gpu_ratio']:,.3g}" if "gpu_ratio" in row else "not measured"
        limits = " | ".join(_number(row.get(name)) for name in ("must", "goal"))
        says = f"{row['id']} | {row['case']} | `{row['peer']}` | {ratio} | {limits} | {_share(row)} | {gpu}"
        lines.append(f"| {says} |")
    return "\n".join(lines)


def seconds(rows: list[dict[str, Any]]) -> str:
    """Times of work that no peer can do, with what they must stay under."""
    if not rows:
        return ""
    lines = ["| | Work | Latents | Time | Must | Goal |", "|---|---|--:|--:|--:|--:|"]
    for row in rows:
        size = f"{row['d_sae']:,}" if "d_sae" in row else ""
        limits = " | ".join(_time(row.get(name)) for name in ("must_seconds", "goal_seconds"))
        lines.append(f"| {row['id']} | {row['case']} | {size} | {_time(row['seconds'])} | {limits} |")
    return "\n".join(lines)


def slopes(rows: list[dict[str, Any]]) -> str:
    """Exponents of the cost against the size of the work, with what theory expects."""
    if not rows:
        return ""
    lines = ["| | Work | Exponent of the cost | Expected |", "|---|---|---|---|"]
    for row in rows:
        slope = f"{row['slope']:.2f} ({row['slope_low']:.2f} to {row['slope_high']:.2f})"
        lines.append(f"| {row['id']} | {row['case']} | {slope} | {row.get('expected', '')} |")
    return "\n".join(lines)


def differences(rows: list[dict[str, Any]]) -> str:
    """Largest difference of our results from a reference, which must be small before anything is timed.

    >>> row = {"id": "B5", "largest_difference": 7e-9}
    >>> unknown = {"id": "B9", "largest_difference": float("nan")}  # its reference was not installed
    >>> print(differences([row, row | {"largest_difference": 0.0}, unknown]).splitlines()[-1])
    | B5 | intrinsic dimensions of one cloud | TwoNN and MLE of scikit-dimension | 7.0e-09 |
    """
    rows = [row for row in rows if math.isfinite(row["largest_difference"])]
    if not rows:
        return ""
    most: dict[str, float] = {}
    for row in rows:
        most[row["id"]] = max(most.get(row["id"], 0.0), row["largest_difference"])
    lines = ["| | Results | Reference | Largest difference |", "|---|---|---|--:|"]
    for name, off in sorted(most.items()):
        lines.append(f"| {name} | {_NAMES.get(name, '')} | {_REFERENCES.get(name, '')} | {off:.1e} |")
    return "\n".join(lines)


def _machine(found: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in sorted(found.get("versions", {}).items()))
    device = str(found.get("device", "not recorded")).rstrip(".")
    says = f"CPU: {device}; Python {found.get('python', 'not recorded')}; {versions}."
    if not any("gpu_ratio" in row for row in found["results"]):
        says += " No GPU has measured anything yet: that column is empty, not zero."
    kernels = [
        f"{name}: {_NAMES[name]}"
        for name in sorted({row["id"] for row in found["results"]}, key=lambda name: int(name[1:]))
        if name in _NAMES
    ]
    return f"{says}\n\n{'; '.join(kernels)}." if kernels else says


def _share(row: dict[str, Any]) -> str:
    if "share_of_limit" not in row:
        return ""
    return f"{100 * row['share_of_limit']:.2g} % of a {row.get('limit', 'copy')}"


def _times(ratio: float) -> str:
    """Three digits of a ratio.

    >>> _times(1479.26), _times(1.5), _times(72.04)
    ('1,480', '1.5', '72')
    """
    return f"{float(f'{ratio:.3g}'):,.6g}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.6g}"


def _time(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.3g} s" if value >= 1 else f"{value * 1e3:.3g} ms"
