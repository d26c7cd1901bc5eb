"""The performance page: what `make bench` measured, as ratios to named peers.

Filled in below once the layout of ``benchmarks/results.json`` is known.
"""

from __future__ import annotations

from pathlib import Path


def table(path: Path) -> str:
    """Return the Markdown table of the results."""
    return "No benchmark has been recorded yet: `make bench` writes the results this page is drawn from."
