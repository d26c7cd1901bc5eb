"""The part of the README that is computed: its picture, and the map from figure to chapter to data.

Both are read off the published pages, so they say what the book holds; a test compares them.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from typing import Any

import nbformat

from geowall.paths import ROOT, GeowallError
from geowall.runs import chapters, store
from geowall.runs.chapters import Chapter

README, PICTURE = ROOT / "README.md", ROOT / "book" / "picture.png"
SUMMARY = "fig-wall-tally"  # the figure of the last chapter that becomes the picture
_BEGIN, _END = "<!-- map: written by `make publish` -->", "<!-- /map -->"


def figures(chapter: Chapter) -> Iterator[dict[str, Any]]:
    """Yield the name, caption, description and tables of every figure on a chapter's published page."""
    return (chart["usermeta"] for chart, _ in _drawn(chapter))


def _drawn(chapter: Chapter) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield every chart on a chapter's published page with its PNG in base 64."""
    page = chapter.published / f"{chapter.name}.ipynb"
    for cell in nbformat.read(page, as_version=4).cells if page.exists() else []:
        for output in cell.get("outputs", []):
            for mime, content in output.get("data", {}).items():
                if mime.startswith("application/vnd.vegalite") and "usermeta" in content:
                    yield content, output["data"]["image/png"]


def figure_map() -> str:
    """Return the map as a Markdown table: figure, chapter, data."""
    rows = ["| figure | chapter | data |", "|---|---|---|"]
    for chapter in chapters.every():
        folder = f"book/chapters/{chapter.name}"
        for meta in figures(chapter):
            name = meta["name"].removeprefix("fig-").replace("-", " ")
            data = ", ".join(f"[{table}]({folder}/tables/{table}.csv)" for table in meta["tables"])
            page = f"[{chapter.name[:2]}]({folder}/{chapter.name}.ipynb)"
            rows.append(f"| {name} | {page} | {data or 'computed in the page'} |")
    return "\n".join(rows)


def refreshed(text: str) -> str:
    """Return the README's text with its map as the published pages have it."""
    block = f"{_BEGIN}\n{figure_map()}\n{_END}"
    return re.sub(re.escape(_BEGIN) + ".*?" + re.escape(_END), lambda _: block, text, flags=re.DOTALL)


def refresh() -> None:
    """Write the map into the README, where it has a place for one, and the picture beside the pages."""
    text = README.read_text(encoding="utf-8")
    if _BEGIN not in text:
        return
    if refreshed(text) != text:
        store.write_text(README, refreshed(text))
    drawn = picture()
    if not PICTURE.exists() or PICTURE.read_bytes() != drawn:
        store.write_atomically(PICTURE, lambda beside: beside.write_bytes(drawn))


def picture() -> bytes:
    """Return the verdict on every claim as PNG, as the last chapter's published page shows it."""
    for chart, png in _drawn(chapters.every()[-1]):
        if chart["usermeta"]["name"] == SUMMARY:
            return base64.b64decode(png)
    why = f"no published page draws {SUMMARY}"
    raise GeowallError("the README has no picture", why, "make publish CH=09")
