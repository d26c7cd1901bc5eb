"""What is known of past runs: the latest of each chapter, what it cost, and where the book stands."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

from geowall.paths import ROOT
from geowall.runs import chapters, failed, fingerprint, store
from geowall.runs.chapters import Chapter

COSTS = ROOT / "book" / "costs.json"
KEPT = ("activations", "census", "saes")  # folders of a runs folder that chapters share
_HASHED = re.compile(r"-[0-9a-f]{12}(-labels\.parquet|\.lock)?$")


def provenance_of(folder: Path) -> dict[str, Any] | None:
    """Return the provenance of a run or of a published chapter, or None where there is none."""
    try:
        return json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None


def latest(chapter: Chapter, profile: str, out: Path) -> Path | None:
    """Return the newest finished run of a chapter at a profile; runs with a reader's own parameters aside."""
    folders = [path.parent for path in (out / chapter.name).glob(f"{profile}-*/provenance.json")]
    plain = [folder for folder in folders if (provenance_of(folder) or {}).get("at_defaults")]
    return max(plain, key=lambda folder: folder.stat().st_mtime, default=None)


def past_cells(chapter: Chapter, profile: str, out: Path) -> list[float]:
    """Return the seconds of each cell the last time the chapter ran at a profile, from a run or the book."""
    folder = latest(chapter, profile, out)
    record = provenance_of(folder) if folder else None
    published = provenance_of(chapter.published)
    if record is None and published is not None and published["profile"] == profile:
        record = published
    return record["cell_seconds"] if record else []


def past_seconds(chapter: Chapter, profile: str) -> float | None:
    """Return what the book says a chapter takes at a profile, on the machine that it was measured on."""
    return costs().get(chapter.name, {}).get(profile, {}).get("seconds")


def costs() -> dict[str, dict[str, dict[str, Any]]]:
    """Return what each chapter cost at each profile, as the book's cost lines and ``estimate`` show it."""
    return json.loads(COSTS.read_text(encoding="utf-8")) if COSTS.exists() else {}


def record_costs(chapter: Chapter, out: Path) -> None:
    """Enter the newest run of each profile into the book's costs."""
    with store.locked(ROOT / "runs" / ".costs.lock"):
        known = costs()
        for profile in ("quick", "full", "gemma"):
            folder = latest(chapter, profile, out)
            record = provenance_of(folder) if folder else None
            if record is not None:
                kept = {name: record[name] for name in ("seconds", "peak_memory_mb", "device", "cores")}
                known.setdefault(chapter.name, {})[profile] = kept
        store.write_json(COSTS, known)


def staging_lock() -> Path:
    """Return the file whose lock a process holds while it puts a page into the book."""
    return ROOT / "runs" / ".publish.lock"


def is_current(chapter: Chapter) -> bool | None:
    """Tell whether the published page was made from the sources as they are; None where none is published."""
    record = provenance_of(chapter.published)
    return None if record is None else record["sources"] == fingerprint.sources(chapter.notebook)


def status(out: Path) -> list[dict[str, Any]]:
    """Return a row for each chapter: its published page, its finished, running and failed runs.

    What a killed run left behind becomes a failed run first, with a message that says so; a page that a kill
    left aside goes back to its place.
    """
    _left_in_the_book()
    rows = []
    for chapter in chapters.every():
        folder, record = out / chapter.name, provenance_of(chapter.published)
        failed.bury_all(folder)
        current = is_current(chapter)
        rows.append(
            {
                "chapter": chapter.name,
                "published": record["profile"] if record else "-",
                "page": {True: "current", False: "sources changed", None: "not published"}[current],
                "finished": ", ".join(sorted(p.parent.name for p in folder.glob("[!.]*/provenance.json")))
                or "-",
                "running": sum(store.is_locked(lock) for lock in folder.glob(".*.lock")),
                "failed": ", ".join(sorted(p.name for p in folder.glob("*.failed"))) or "-",
            }
        )
    return rows


def _in_use(path: Path) -> bool:
    stem = path.name.removesuffix(".lock").removesuffix("-labels.parquet")
    return store.is_locked(path.parent / f"{stem}.lock")


def _beyond_runs(out: Path) -> list[Path]:
    """Return what only ``clean(everything=True)`` removes, but for finished runs."""
    shared = (path for name in KEPT for path in sorted((out / name).glob("*")) if _HASHED.search(path.name))
    by_hand = [path for chapter in chapters.every() for path in (out / chapter.name).glob("by-hand-*")]
    return [*by_hand, *(path for path in shared if not _in_use(path)), *_left_in_the_book()]


def _left_in_the_book() -> list[Path]:
    """Put back pages that a kill left aside, and return what else lies beside the pages, to be removed.

    Nothing is touched while somebody publishes.
    """
    lock, book = staging_lock(), ROOT / "book" / "chapters"
    if not any(book.glob(".*")):
        return []
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.touch()
    with store.locked_now(lock) as free:
        if not free:
            return []
        store.restore_all(book)
        return [path for path in book.glob(".*") if path.is_dir()]


def clean(out: Path, everything: bool) -> list[Path]:
    """Remove failed runs, what kills left behind, and all but the newest run of each chapter and profile.

    Where a run is alive, what it works in is left alone. ``everything`` removes finished runs too, also those
    made by hand in JupyterLab or with papermill, what a kill left of a page on its way into the book, and the
    activations, measurements and autoencoders that chapters keep for one another (named by a hash; what a
    reader trained under a name of their own stays). Returns what went.
    """
    doomed: list[Path] = []
    for folder in (path for path in sorted(out.glob("*")) if path.is_dir()):
        if not any(store.is_locked(lock) for lock in folder.glob(".*.lock")):
            store.restore_all(folder)
            doomed += folder.glob(".*")
        doomed += folder.glob("*.failed")
        finished = sorted(
            (path.parent for path in folder.glob("[!.]*/provenance.json")),
            key=lambda run: run.stat().st_mtime,
            reverse=True,
        )
        newest: set[str] = set()
        for run in finished:
            profile = run.name.rsplit("-", 1)[0]
            if everything or profile in newest:
                doomed.append(run)
            newest.add(profile)
    if everything:
        doomed += _beyond_runs(out)
    for path in doomed:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return doomed
