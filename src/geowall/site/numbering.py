"""Chapters keep the number of their file: Figure 8.2 is in ``08_geometry_regression`` however many exist.

Sphinx counts the chapters of a table of contents from one. While chapters are missing, or when a reader
builds a book of a few runs, the eighth would be called the second. So what it numbers is renumbered by name:

>>> chapter_number("book/chapters/08_geometry_regression/08_geometry_regression")
8
>>> chapter_number("book/intro") is None
True
"""

from __future__ import annotations

import re

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

_CHAPTER = re.compile(r"^book/chapters/(\d+)_[^/]+/\1_[^/]+$")


def chapter_number(docname: str) -> int | None:
    """The number in a chapter page's name; ``None`` for any other page."""
    match = _CHAPTER.match(docname)
    return int(match[1]) if match else None


def renumber(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """Replace the first part of every number of a chapter (title, figures, equations) by the file's."""
    changed = []
    for docname in sorted(env.found_docs):
        number = chapter_number(docname)
        if number is None or docname not in env.toc_secnumbers:
            continue
        sections = env.toc_secnumbers[docname]
        env.toc_secnumbers[docname] = {anchor: _moved(old, number) for anchor, old in sections.items()}
        for numbers in env.toc_fignumbers.get(docname, {}).values():
            numbers.update({label: _moved(old, number) for label, old in numbers.items()})
        for reference in env.tocs[docname].findall(nodes.reference):
            if reference.get("secnumber"):
                reference["secnumber"] = _moved(reference["secnumber"], number)
        if env.titles[docname].get("secnumber"):
            env.titles[docname]["secnumber"] = _moved(env.titles[docname]["secnumber"], number)
        changed.append(docname)
    return changed


def _moved(number: tuple[int, ...], chapter: int) -> tuple[int, ...]:
    return (chapter, *number[1:]) if number else number
