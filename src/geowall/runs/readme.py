"""The part of the README that is computed: its picture, and the map from figure to chapter to data.

Both are read off the published pages, so they say what the book holds; a test compares them.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat

from geowall.paths import ROOT
from geowall.runs import chapters, store
from geowall.runs.chapters import Chapter

README, PICTURE = ROOT / "README.md", ROOT / "book" / "picture.png"
PICTURED = "fig-alpha-against-geometry"  # the figure that states the book's claim
_BEGIN, _END = "<!-- map: written by `make publish` -->", "<!-- /map -->"


def figures(chapter: Chapter) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield (usermeta, PNG in base64) of every figure on a chapter's published page, in order."""
    page = chapter.published / f"{chapter.name}.ipynb"
    for cell in nbformat.read(page, as_version=4).cells if page.exists() else []:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            for mime, content in data.items():
                if mime.startswith("application/vnd.vegalite") and "usermeta" in content:
                    yield content["usermeta"], data["image/png"]


def figure_map() -> str:
    """Return the map as a Markdown table: figure, chapter, data."""
    rows = ["| figure | chapter | data |", "|---|---|---|"]
    for chapter in chapters.every():
        folder = f"book/chapters/{chapter.name}"
        for meta, _ in figures(chapter):
            name = meta["name"].removeprefix("fig-").replace("-", " ")
            tables = ", ".join(f"[{table}]({folder}/tables/{table}.csv)" for table in meta["tables"])
            rows.append(f"| {name} | [{chapter.name[:2]}]({folder}/{chapter.name}.ipynb) | {tables} |")
    return "\n".join(rows)


def refreshed(text: str) -> str:
    """Return the README's text with its map as the published pages have it."""
    block = f"{_BEGIN}\n{figure_map()}\n{_END}"
    return re.sub(re.escape(_BEGIN) + ".*?" + re.escape(_END), lambda _: block, text, flags=re.DOTALL)


def refresh() -> None:
    """Write the map into the README and the picture beside the pages, when either has changed."""
    text = README.read_text(encoding="utf-8")
    if refreshed(text) != text:
        store.write_text(README, refreshed(text))
    for chapter in chapters.every():
        for meta, png in figures(chapter):
            if meta["name"] == PICTURED:
                _write_picture(PICTURE, base64.b64decode(png))


def _write_picture(path: Path, content: bytes) -> None:
    if not path.exists() or path.read_bytes() != content:
        store.write_atomically(path, lambda beside: beside.write_bytes(content))
