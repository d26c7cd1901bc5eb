"""Where a chapter keeps finished tables and trainings until its next run: ``runs/<chapter>/.steps``.

All runs of a chapter share that folder, for each file is named by everything that it depends on. A forced run
must find nothing there, and must not take it from others, which may be reading: it works in a folder of its
own, and what it finished replaces what was there, file by file, when it ends.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def folder_for(place: Path, force: bool) -> Iterator[Path]:
    """Give the folder that the run at ``place``, whose lock the caller holds, keeps its steps in."""
    shared, own = place.parent / ".steps", place.parent / f".steps-{place.name}"
    _adopt(own, shared)  # what a forced run that was killed had finished
    try:
        yield own if force else shared
    finally:
        _adopt(own, shared)


def _adopt(own: Path, shared: Path) -> None:
    # In order of names: a table, .parquet, is read with its record, .json, which must be there before it.
    for path in sorted(own.rglob("[!.]*")):
        if path.is_file():
            place = shared / path.relative_to(own)
            place.parent.mkdir(parents=True, exist_ok=True)
            path.replace(place)
    shutil.rmtree(own, ignore_errors=True)
