"""Last corrections to each finished page, where the theme assumes a web server or a network.

>>> page = '<link rel="preload" as="font" href="x.woff2" /><html lang="en" data-theme="auto">'
>>> polish(page)
'<html lang="en" data-theme="light">'
"""

from __future__ import annotations

import re
from pathlib import Path

# Icons are drawn by script, so their fonts are never used, and over file:// a preload of a font is an error.
_FONT_PRELOAD = re.compile(r'\s*<link rel="preload" as="font"[^>]*>')
# The theme writes "auto" and resolves it at the end of the page. Resolved at once, nothing flashes; and
# without JavaScript the page is light, not without colours.
_THEME = re.compile(r'(dataset\.theme = localStorage\.getItem\("theme"\)) \|\| "auto"')
_RESOLVED = r'\1 || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")'


def polish(page: str) -> str:
    """Return a page's HTML with those corrections."""
    page = _FONT_PRELOAD.sub("", page)
    page = _THEME.sub(_RESOLVED, page)
    return page.replace('data-theme="auto"', 'data-theme="light"', 1)


def polish_folder(folder: Path) -> None:
    """Correct every page below ``folder``."""
    for path in sorted(folder.rglob("*.html")):
        if "_static" not in path.relative_to(folder).parts:
            path.write_text(polish(path.read_text(encoding="utf-8")), encoding="utf-8")
