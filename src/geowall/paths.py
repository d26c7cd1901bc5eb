"""Where the book lives on disk, and the one error that speaks in three lines.

>>> from geowall import paths
>>> (paths.ROOT / "notebooks").is_dir()
True
"""

from __future__ import annotations

import os
from pathlib import Path

# The package is installed in place (`pip install -e .`): the book is two folders above it.
# GEOWALL_ROOT serves whoever installs the package without its book and has a clone elsewhere.
ROOT = Path(os.environ.get("GEOWALL_ROOT") or Path(__file__).resolve().parents[2])


class GeowallError(Exception):
    """A failure a reader can act on: what stopped, why, and the command that fixes it."""

    def __init__(self, what: str, why: str, fix: str) -> None:
        super().__init__(f"{what}\n  why: {why}\n  fix: {fix}")
        self.what, self.why, self.fix = what, why, fix


class RefusedError(GeowallError):
    """What was asked for cannot be had. Nothing has run, and the exit code is 2."""
