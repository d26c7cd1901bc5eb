"""B10: the book itself, in a clone of its own: rendered cold, made again unchanged, made after one change.

What counts is counted: a book made again executes no cell; after a change of one chapter (its prose, and its
published tables as publishing would replace them) it executes that chapter and the chapters that read these
tables, no other; pages that nothing touched are the same bytes, and so is a site rendered twice. The times
are absolute seconds of this machine and no ratios: there is no peer.

Runs of the clone start from the finished quick runs of this book, so ``make book`` before it saves minutes;
whatever is not finished is executed first, untimed. There is no small version: the same counts on a book of
one chapter are tests (``tests/test_runs.py``), and this book has no smaller one.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat
import pandas as pd

from geowall.paths import ROOT
from geowall.runs import chapters

MUST_SITE = 60.0  # seconds
CHANGED = "01_capacity_allocation"
TOLD = re.compile(r"^(\d\d_\w+)\s+(reused|done)", re.MULTILINE)


def run(small: bool = False) -> list[dict[str, object]]:
    """Rows of the three times; the counts are gates.

    Raises:
        AssertionError: a build failed, a page changed that should not, or the wrong chapters were executed.
    """
    if small:
        return []
    with tempfile.TemporaryDirectory(prefix="geowall-book-") as folder:
        book = Path(folder) / "book"
        subprocess.run(["git", "clone", "--quiet", "--local", str(ROOT), str(book)], check=True)
        rows = [_site(book)]
        _take_runs(book)
        _made(book)  # what was not finished is executed here
        return [*rows, *_again(book), *_changed(book)]


def _site(book: Path) -> dict[str, object]:
    """Time a cold rendering of the published pages; a second one gives the same bytes."""
    seconds, _ = _timed(book, "site")
    first = _hashes(book / "_build" / "html")
    _timed(book, "site")
    assert first == _hashes(book / "_build" / "html"), "a site rendered twice is not the same bytes"
    assert seconds <= MUST_SITE, f"the site took {seconds:.0f} s"
    case = (
        f"the site, cold: {len([name for name in first if name.endswith('.html')])} pages, 0 cells executed"
    )
    return {"id": "B10", "case": case, "seconds": seconds, "must_seconds": MUST_SITE}


def _again(book: Path) -> list[dict[str, object]]:
    """Time `make book` with nothing changed: no chapter is executed, no page changes."""
    before = _hashes(book / "runs" / "book" / "html")
    seconds, executed = _made(book)
    assert executed == set(), f"unchanged, and executed: {sorted(executed)}"
    assert before == _hashes(book / "runs" / "book" / "html"), "a book made again is not the same bytes"
    return [{"id": "B10", "case": "the book again, nothing changed: 0 cells executed", "seconds": seconds}]


def _changed(book: Path) -> list[dict[str, object]]:
    """Time `make book` after a change of one chapter: it and its dependants are executed, no other."""
    readers = _readers(book, CHANGED)
    before = _hashes(book / "runs" / "book" / "html" / "book" / "chapters")
    _change(book, CHANGED)
    seconds, executed = _made(book)
    assert executed == {CHANGED, *readers}, f"executed {sorted(executed)}, not {sorted({CHANGED, *readers})}"
    after = _hashes(book / "runs" / "book" / "html" / "book" / "chapters")
    moved = {name.split("/")[0] for name in before if name.endswith(".html") and before[name] != after[name]}
    assert moved <= executed, f"pages changed of chapters that were not executed: {sorted(moved - executed)}"
    total = len(chapters.every())
    case = f"the book after one chapter changed: {len(executed)} of {total} chapters executed"
    return [{"id": "B10", "case": case, "seconds": seconds}]


def _made(book: Path) -> tuple[float, set[str]]:
    """Make the book; return the seconds, and the names of the chapters that were executed."""
    seconds, told = _timed(book, "book", "--profile", "quick")
    found = dict(TOLD.findall(told.replace("\r", "\n")))
    assert len(found) == len(chapters.every()), f"chapters told of: {sorted(found)}"
    return seconds, {name for name, how in found.items() if how == "done"}


def _timed(book: Path, *arguments: str) -> tuple[float, str]:
    """Seconds of one command on the clone, on all cores, and what it said on standard error."""
    environment = os.environ | {"GEOWALL_ROOT": str(book), "PYTHONPATH": str(book / "src")}
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "geowall", *arguments],
        cwd=book, env=environment, capture_output=True, text=True, check=False, preexec_fn=_all_cores,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return time.perf_counter() - began, done.stderr


def _all_cores() -> None:
    """Undo the pinning of a benchmark's process: a book is made on all cores."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, range(os.cpu_count() or 1))


def _take_runs(book: Path) -> None:
    for place in sorted((ROOT / "runs").glob("[0-9][0-9]_*/quick-*/provenance.json")):
        if not place.parent.name.endswith(".failed"):
            shutil.copytree(place.parent, book / "runs" / place.parent.relative_to(ROOT / "runs"))


def _readers(book: Path, chapter: str) -> set[str]:
    """Chapters whose newest quick run read a published table of ``chapter``."""
    found = set()
    for folder in (book / "runs").glob("[0-9][0-9]_*"):
        records = sorted(folder.glob("quick-*/provenance.json"), key=lambda path: path.stat().st_mtime)
        inputs = json.loads(records[-1].read_text(encoding="utf-8"))["inputs"]
        if any(name.startswith(f"book/chapters/{chapter}/tables/") for name in inputs):
            found.add(folder.name)
    return found


def _change(book: Path, chapter: str) -> None:
    """Add a sentence to the prose, and write the published tables anew: other bytes, the same numbers."""
    source = book / "notebooks" / f"{chapter}.ipynb"
    notebook = nbformat.read(source, as_version=4)
    notebook.cells[0].source += "\n\nThis sentence was added."
    nbformat.write(notebook, source)
    for path in (book / "book" / "chapters" / chapter / "tables").glob("*.parquet"):
        pd.read_parquet(path).to_parquet(path, index=False, compression="gzip")


def _hashes(folder: Path) -> dict[str, str]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
