"""Directives of the generated pages: each puts Markdown computed from the book's files into its page."""

from __future__ import annotations

import hashlib
import os
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from geowall.site import benchmarks, generated
from geowall.site.mime import figure, page_width
from geowall.site.plan import PLAN

_LAYERS, _SHOWCASE = "geometric_wall_layers", "geometric_wall_showcase"


class Generated(SphinxDirective):
    """A directive whose content is Markdown computed from the files of the book."""

    has_content = False
    option_spec: ClassVar = {}
    compute: ClassVar[Callable[[Path, set[str]], str]]  # from the book's folder and the pages of this build

    def run(self) -> list[nodes.Node]:
        """Compute the Markdown and parse it in place."""
        text = type(self).compute(Path(self.env.app.srcdir), set(self.env.found_docs))
        box = nodes.container(classes=[f"gw-{self.name}"])
        self.state.nested_parse(StringList(text.splitlines(), self.name), self.lineno, box)
        return [box]


def _chapter_map(root: Path, pages: set[str]) -> str:
    return generated.chapter_map(pages)


def _colophon(root: Path, pages: set[str]) -> str:
    there = [chapter for chapter in PLAN if chapter.docname in pages]
    return generated.colophon({chapter.name: (root / chapter.docname).parent for chapter in there})


def _benchmarks(root: Path, pages: set[str]) -> str:
    return benchmarks.table(root / "benchmarks" / "results.json")


class ClaimFigure(SphinxDirective):
    """The claim in one picture, drawn from the published numbers when the book is built."""

    has_content = False

    def run(self) -> list[nodes.Node]:
        """Return the figure, with links to the two published tables behind it."""
        import pandas as pd

        from geowall.figures import claim, renderer

        published = Path(self.env.app.srcdir) / "data" / "published"
        tables = [pd.read_csv(published / f"{name}.csv") for name in (_LAYERS, _SHOWCASE)]
        data, _ = renderer.bundle(claim.fig_claim(*tables), [])
        spec = data[renderer.MIME]
        caption, problems = self.state.inline_text(spec["usermeta"]["caption"], self.lineno)
        links = [(name, [("csv", f"/data/published/{name}.csv")]) for name in (_LAYERS, _SHOWCASE)]
        picture = self._picture(b64decode(data["image/png"]))
        return [figure(self.state.document, spec, picture, caption, links), *problems]

    def _picture(self, png: bytes) -> tuple[str, int]:
        place = Path(self.env.app.doctreedir) / f"{hashlib.sha256(png).hexdigest()}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(png)
        return f"/{os.path.relpath(place.resolve(), self.env.app.srcdir)}", page_width(png)


def register(app: Sphinx) -> None:
    """Add the directives to the build."""
    app.add_directive("claim-figure", ClaimFigure)
    computed = {"chapter-map": _chapter_map, "colophon": _colophon, "benchmarks": _benchmarks}
    for name, compute in computed.items():
        app.add_directive(name, type(name, (Generated,), {"compute": staticmethod(compute)}))
