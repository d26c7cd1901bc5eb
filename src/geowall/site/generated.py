"""The parts of pages that are computed when the book is built: map, cost lines, colophon, benchmarks.

Each function takes what is on disk and returns Markdown, so that no number of the book is typed twice:

>>> cost_line({"minutes_to_read": 12, "needs": "no GPU, no download"}, {"quick": {"seconds": 9.6}})
'12 min to read · quick run 10 s · no GPU, no download'
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from geowall.site.plan import PLAN


def cost_line(about: dict[str, Any], costs: dict[str, dict[str, Any]]) -> str:
    """What a chapter costs its reader: minutes to read, time to run at each profile, what it needs.

    ``about`` is the notebook's ``geowall`` metadata, ``costs`` maps a profile to the cost of its last run
    (``seconds``, ``peak_memory_mb``, ``device``, ``cores``).
    """
    parts = [f"{about['minutes_to_read']} min to read"] if "minutes_to_read" in about else []
    for profile, cost in sorted(costs.items(), key=lambda item: ("quick", "full", "gemma").index(item[0])):
        parts.append(f"{profile} run {duration(cost['seconds'])}{_machine(cost)}")
    return " · ".join([*parts, *([about["needs"]] if about.get("needs") else [])])


def duration(seconds: float) -> str:
    """Seconds as a reader says them.

    >>> duration(0.4), duration(75), duration(4000)
    ('1 s', '1 min 15 s', '1 h 7 min')
    """
    whole = max(1, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min" + (f" {whole % 60} s" if whole % 60 else "")
    return f"{whole // 3600} h {round(whole % 3600 / 60)} min"


def _machine(cost: dict[str, Any]) -> str:
    device = str(cost.get("device", ""))
    where = f"{cost['cores']} CPU cores" if device.startswith("cpu") and cost.get("cores") else device
    memory = f"{cost['peak_memory_mb']:.0f} MB" if cost.get("peak_memory_mb") else ""
    told = ", ".join(part for part in (where, memory) if part)
    return f" ({told})" if told else ""


def chapter_map(present: set[str]) -> str:
    """The table of the nine chapters: a link where the page is in this build, "planned" where it is not."""
    rows = ["| | Chapter | Question | State |", "|---:|---|---|---|"]
    for chapter in PLAN:
        there = chapter.docname in present
        title = f"{{doc}}`{chapter.title} </{chapter.docname}>`" if there else chapter.title
        state = "**read it**" if there else "planned"
        rows.append(f"| {chapter.number} | {title} | {chapter.question} | {state} |")
    return "\n".join(rows)


def colophon(folders: dict[str, Path]) -> str:
    """How the pages of this build were made: one row for each chapter, then the versions they share."""
    records = {name: _record(folder) for name, folder in sorted(folders.items())}
    rows = [
        "| Chapter | Profile | Commit | Time | Peak memory | Device | Seed | Tables |",
        "|---|---|---|--:|--:|---|--:|--:|",
    ]
    rows += [_colophon_row(name, record) for name, record in records.items()]
    versions: dict[str, dict[str, str]] = {}
    for name, record in records.items():
        for library, version in record.get("versions", {}).items():
            versions.setdefault(library, {})[name] = version
    listed = ["| Library | Version |", "|---|---|"]
    listed += [f"| {library} | {_versions(found)} |" for library, found in sorted(versions.items())]
    return "\n".join([*rows, "", *(listed if versions else [])])


def _colophon_row(name: str, record: dict[str, Any]) -> str:
    git = record.get("git", {})
    sha = f"`{git['sha'][:10]}`" if git.get("sha") else "not recorded"
    dirty = ", with changes not committed" if git.get("dirty") else ""
    cells = (
        name.replace("_", " "),
        record.get("profile", "not recorded"),
        sha + dirty,
        duration(record["seconds"]) if "seconds" in record else "not recorded",
        f"{record['peak_memory_mb']:.0f} MB" if record.get("peak_memory_mb") else "not recorded",
        record.get("device", "not recorded"),
        "none" if record.get("seed") is None else record["seed"],
        len(record.get("tables", {})),
    )
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def _versions(found: dict[str, str]) -> str:
    distinct = sorted(set(found.values()))
    if len(distinct) == 1:
        return distinct[0]
    return ", ".join(
        f"{version} ({', '.join(n[:2] for n in found if found[n] == version)})" for version in distinct
    )


def _record(folder: Path) -> dict[str, Any]:
    path = folder / "provenance.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
