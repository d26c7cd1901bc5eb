"""What a run will cost, from what it cost before: time, memory, disk and download.

Nothing is guessed: a chapter that has never run at a profile is said to be unknown.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from geowall.runs import execute, ledger
from geowall.runs.chapters import Chapter


def estimates(chosen: list[Chapter], profile: str, out: Path) -> list[dict[str, Any]]:
    """Return a row for each chapter: seconds; memory, disk, download in megabytes; what they rest on."""
    return [_estimate(chapter, profile, out) for chapter in chosen]


def _estimate(chapter: Chapter, profile: str, out: Path) -> dict[str, Any]:
    place = execute.place_of(chapter, profile, chapter.resolve(profile), out)
    folder = ledger.latest(chapter, profile, out)
    known = ledger.provenance_of(folder) if folder else ledger.costs().get(chapter.name, {}).get(profile)
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
