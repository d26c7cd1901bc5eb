"""What a run will cost, from what it cost before: time, memory, disk and download.

Nothing is guessed: a chapter that has never run at a profile is said to be unknown, unless it names a
function that foretells it (``forecast`` in the notebook's metadata: ``module:function``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from geowall.paths import GeowallError
from geowall.runs import execute, ledger
from geowall.runs.chapters import Chapter


def estimates(chosen: list[Chapter], profile: str, out: Path) -> list[dict[str, Any]]:
    """Return a row for each chapter: seconds; memory, disk, download in megabytes; what they rest on."""
    return [_estimate(chapter, profile, out) for chapter in chosen]


def _estimate(chapter: Chapter, profile: str, out: Path) -> dict[str, Any]:
    given = chapter.resolve(profile)
    place = execute.place_of(chapter, profile, given, out)
    folder = ledger.latest(chapter, profile, out)
    known = ledger.provenance_of(folder) if folder else ledger.costs().get(chapter.name, {}).get(profile)
    if known is None and "forecast" in chapter.about:
        return {"chapter": chapter.name, **_foretold(chapter, given), "reused": False}
    measured_in = folder or chapter.published
    disk = sum(path.stat().st_size for path in measured_in.rglob("*") if path.is_file()) / 1e6
    return {
        "chapter": chapter.name,
        "seconds": known and known["seconds"],
        "memory_mb": known and known["peak_memory_mb"],
        "disk_mb": round(disk, 1),
        "download_mb": chapter.about.get("download_mb", {}).get(profile, 0.0),
        "basis": f"{known['device']}, {known['cores']} cores" if known else "",
        "reused": execute.is_complete(place),
    }


def _foretold(chapter: Chapter, given: dict[str, Any]) -> dict[str, Any]:
    """What the chapter's own forecast says; where it cannot be made, why."""
    try:
        return chapter.ask("forecast", given)
    except GeowallError as error:
        unknown = {"seconds": None, "memory_mb": None, "disk_mb": 0.0, "download_mb": 0.0}
        return unknown | {"basis": f"{error.what}: {error.why}"}
