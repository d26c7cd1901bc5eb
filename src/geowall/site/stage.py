"""A copy of the book in which chapters are replaced by a reader's own runs.

A run folder has the layout of a published chapter (``<chapter>.ipynb``, ``tables/``, ``provenance.json``), so
staging is copying. Each replaced page gets a table at its foot, "Published against yours":

>>> published = [{"claim": "peak", "value": 2.0, "low": 1.0, "high": 3.0, "passed": "True"}]
>>> yours = [{"claim": "peak", "value": 2.5, "low": 1.0, "high": 3.0, "passed": "True"}]
>>> print(comparison(published, yours).splitlines()[-1])
| peak | 2 | 2.5 | 0.5 | 1 to 3 | yes |
"""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import nbformat
import yaml

from geowall.paths import ROOT, GeowallError
from geowall.runs.wording import interval, number

_COST = ("seconds", "peak_memory_mb", "device", "cores")
_COPIED = ("_config.yml", "_toc.yml", "book", "data/published", "benchmarks/results.json", "CITATION.cff")


def stage_runs(run_folders: dict[str, Path], out: Path, root: Path = ROOT) -> Path:
    """Make in ``out`` a book whose chapters are the given runs, or the published pages where there is none.

    ``run_folders`` maps a chapter's name to its run. Chapters of the table of contents that have neither a
    run nor a published page are left out of it. Raises :class:`~geowall.paths.GeowallError` for a run without
    a page. Returns ``out``.
    """
    for name in _COPIED:
        _copy(root / name, out / name)
    for chapter, folder in run_folders.items():
        if not (folder / f"{chapter}.ipynb").is_file():
            raise GeowallError(
                f"the book of runs cannot be built: {chapter} has no page",
                f"{folder} holds no {chapter}.ipynb",
                f"python -m geowall run {chapter}",
            )
        place = out / "book" / "chapters" / chapter
        shutil.rmtree(place, ignore_errors=True)
        _copy(folder, place)
        _add_comparison(place / f"{chapter}.ipynb", root / "book" / "chapters" / chapter)
    _record_costs(run_folders, out / "book" / "costs.json")
    _keep_present(out)
    return out


def comparison(published: list[dict[str, Any]], yours: list[dict[str, Any]]) -> str:
    """Markdown table of the checks of two runs, in the order of ``yours``; a dash where one lacks a claim."""
    before = {row["claim"]: row for row in published}
    lines = ["| Claim | Published | Yours | Difference | Expected | Holds |", "|---|--:|--:|--:|--:|---|"]
    lines += [_comparison_row(row["claim"], before.pop(row["claim"], None), row) for row in yours]
    lines += [_comparison_row(claim, row, None) for claim, row in before.items()]
    return "\n".join(lines)


def _comparison_row(claim: str, published: dict[str, Any] | None, yours: dict[str, Any] | None) -> str:
    there, here = _number(published, "value"), _number(yours, "value")
    difference = None if there is None or here is None else here - there
    low, high = (_number(yours or published, end) for end in ("low", "high"))
    expected = interval(low, high)
    holds = "–" if yours is None else {"true": "yes"}.get(str(yours["passed"]).lower(), "**no**")
    claim = claim.replace("|", "\\|")
    return f"| {claim} | {_shown(there)} | {_shown(here)} | {_shown(difference)} | {expected} | {holds} |"


def _number(row: dict[str, Any] | None, name: str) -> float | None:
    text = "" if row is None else row.get(name, "")
    return None if text in ("", None) else float(text)


def _shown(value: float | None) -> str:
    return "–" if value is None else number(value)


def _add_comparison(page: Path, published: Path) -> None:
    """Append the comparison to a staged page (the run's own page is left as it is)."""
    notebook = nbformat.read(page, as_version=4)
    yours = _checks(page.parent)
    if (published / "tables" / "checks.csv").is_file():
        says = "Every check of this chapter, in the published run and in yours."
    else:
        says = "This chapter has no published page yet, so these are your numbers alone."
    text = f"## Published against yours\n\n{says}\n\n{comparison(_checks(published), yours)}"
    cell = nbformat.v4.new_markdown_cell(text, id="published-against-yours")
    notebook.cells.append(cell)
    nbformat.write(notebook, page)


def _checks(folder: Path) -> list[dict[str, Any]]:
    path = folder / "tables" / "checks.csv"
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _record_costs(run_folders: dict[str, Path], costs: Path) -> None:
    """Let each cost line speak of the run on its page: its profile's cost replaces the published one."""
    known = json.loads(costs.read_text(encoding="utf-8")) if costs.is_file() else {}
    for chapter, folder in run_folders.items():
        record = folder / "provenance.json"
        made = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else {}
        if "seconds" in made and made.get("profile") in ("quick", "full", "gemma"):
            kept = {name: made[name] for name in _COST if name in made}
            known.setdefault(chapter, {})[made["profile"]] = kept
    costs.write_text(json.dumps(known, indent=1, sort_keys=True), encoding="utf-8")


def _keep_present(out: Path) -> None:
    """Drop from the staged table of contents every page that is not there."""
    path = out / "_toc.yml"
    toc = yaml.safe_load(path.read_text(encoding="utf-8"))
    parts = toc.pop("parts", [])
    for part in parts:
        part["chapters"] = [entry for entry in part["chapters"] if _exists(out, entry["file"])]
    if filled := [part for part in parts if part["chapters"]]:  # an empty list is an error to Sphinx
        toc["parts"] = filled
    path.write_text(yaml.safe_dump(toc, sort_keys=False), encoding="utf-8")


def _exists(out: Path, docname: str) -> bool:
    return any((out / f"{docname}{suffix}").is_file() for suffix in (".md", ".ipynb"))


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".*"))
    elif source.is_file():
        shutil.copyfile(source, target)
