"""What an unfinished run leaves: ``<profile>-<id>.failed`` with its page and a message of three lines.

A run that failed says so itself. One that was killed cannot: its hidden work folder stays behind, and whoever
next takes the lock of that run, or asks for the status, makes a ``.failed`` folder of it.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import nbformat

from geowall.paths import GeowallError
from geowall.runs import store


class ChapterError(GeowallError):
    """A chapter stopped; what it left is in its ``.failed`` folder."""


def folder_of(place: Path) -> Path:
    """Return where the remains of the run that belongs at ``place`` lie."""
    return place.with_name(f"{place.name}.failed")


def lock_of(place: Path) -> Path:
    """Return the file whose lock a process holds while it makes the run at ``place``."""
    return place.with_name(f".{place.name}.lock")


def leave(work: Path, place: Path, what: str, why: str, fix: str = "") -> ChapterError:
    """Move a work folder to its ``.failed`` place with a message; return the error that says the same."""
    page, remains = work / f"{place.parent.name}.ipynb", folder_of(place)
    again = "mend the cause, then run again: finished tables are kept"
    error = ChapterError(what, why, fix or f"open {remains / 'failed.ipynb'}, {again}")
    try:
        if page.exists():
            page.rename(work / "failed.ipynb")
        store.write_text(work / "message.txt", f"{error}\n")
        store.swap_folder(work, remains)
    except OSError:  # a full disk may refuse even this; the message still reaches the terminal
        shutil.rmtree(work, ignore_errors=True)
    return error


def bury(place: Path) -> None:
    """Make ``.failed`` of what a killed process left of the run at ``place``, whose lock the caller holds."""
    for folder in (place, folder_of(place)):
        store.restore(folder)
    works = [path for path in place.parent.glob(f".{place.name}.*") if path.is_dir()]
    for work in sorted(works, key=lambda path: path.stat().st_mtime):  # the newest replaces those before
        chapter = place.parent.name
        if (work / "provenance.json").exists() or not (work / f"{chapter}.ipynb").exists():
            shutil.rmtree(work, ignore_errors=True)  # a finished run's, or nothing to look at yet
            continue
        why = "the process was killed (kill -9), ran out of memory, or the machine went down"
        fix = "run the same command again: finished tables are kept"
        leave(work, place, f"chapter {chapter} stopped{_where(work / f'{chapter}.ipynb')}", why, fix)


def bury_all(folder: Path) -> None:
    """Do the same for every run of a chapter's folder that no process is making now."""
    for lock in folder.glob(".*.lock"):
        place = folder / lock.name.removeprefix(".").removesuffix(".lock")
        with store.locked_now(lock) as free:
            if free:
                bury(place)


def _where(page: Path) -> str:
    """Name the cell that was running, as papermill marks it in the page it writes."""
    try:
        cells = nbformat.read(page, as_version=4).cells
    except (OSError, nbformat.reader.NotJSONError):  # killed while it was written
        return ""
    for index, cell in enumerate(cells):
        if cell.metadata.get("papermill", {}).get("status") == "running":
            return f" at cell {index + 1}"
    return ""
