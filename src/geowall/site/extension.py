"""The Sphinx extension of the book: everything a page needs is in the book, so it works with no network.

At build time it writes the Vega bundle (from `vl_convert`) and MathJax (from the installed
`sphinx-mathjax-offline`) beside the pages; no third-party script is committed. It numbers chapters by their
files, puts a cost line under each chapter's title, and provides the directives of the generated pages:
``chapter-map``, ``claim-figure``, ``colophon`` and ``benchmarks``.
"""

from __future__ import annotations

import json
import re
import shutil
from importlib import metadata
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.errors import ExtensionError
from sphinx.util import logging

from geowall.site import directives, generated
from geowall.site.numbering import chapter_number, renumber
from geowall.site.polish import polish_folder

logger = logging.getLogger(__name__)

STATIC = Path(__file__).parent / "static"
_MATHJAX_FILES = ("tex-mml-chtml.js", "output/chtml/fonts/woff-v2", "input/tex/extensions")


def configure(app: Sphinx, config: Config) -> None:
    """Serve MathJax and our own style and scripts from the book itself."""
    config.mathjax_path = "mathjax/tex-mml-chtml.js"
    config.html_static_path.append(str(STATIC))
    config.html_favicon = str(STATIC / "favicon.svg")
    config.html_context.setdefault("default_mode", "auto")
    config.html_theme_options.update(
        pygments_light_style="a11y-high-contrast-light", pygments_dark_style="github-dark"
    )
    _without_thebe(app)


def _without_thebe(app: Sphinx) -> None:
    """Keep sphinx-thebe, which Jupyter Book always loads, from declaring its constants twice a page."""
    for event, listeners in app.events.listeners.items():
        app.events.listeners[event] = [
            listener
            for listener in listeners
            if getattr(listener.handler, "__name__", "") not in ("init_thebe_core", "update_thebe_context")
        ]


def write_libraries(app: Sphinx) -> None:
    """Write the third-party scripts into the book's `_static`, taken from the installed packages."""
    if app.builder.format != "html":
        return
    static = Path(app.outdir) / "_static"
    static.mkdir(parents=True, exist_ok=True)
    (static / "vega.js").write_text(_vega_bundle(), encoding="utf-8")
    source = _mathjax_folder()
    for name in _MATHJAX_FILES:
        target = static / "mathjax" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (source / name).is_dir():
            shutil.copytree(source / name, target, dirs_exist_ok=True)
        else:
            shutil.copyfile(source / name, target)


def _vega_bundle() -> str:
    import vl_convert

    # In a function of its own: the bundle declares short names at its top that other scripts declare too.
    return f"(() => {{\n{vl_convert.javascript_bundle()}\n}})();\n"


def _mathjax_folder() -> Path:
    try:
        package = metadata.distribution("sphinx-mathjax-offline")
    except metadata.PackageNotFoundError as error:
        fix = "pip install sphinx-mathjax-offline"
        raise ExtensionError(f"the book's mathematics needs MathJax; {fix}") from error
    return Path(package.locate_file("sphinx-mathjax-offline/static/mathjax"))


def add_scripts(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Load the chart library on the pages that have charts, and on no other."""
    boxes = doctree.findall(nodes.container) if doctree is not None else ()
    if any("gw-chart" in box["classes"] for box in boxes):
        app.add_js_file("vega.js", defer="defer", priority=600)
        app.add_js_file("inks.js", defer="defer", priority=650)
        app.add_js_file("charts.js", defer="defer", priority=700)


def add_cost_line(app: Sphinx, doctree: nodes.document) -> None:
    """Say under a chapter's title what it costs to read and to run."""
    docname = app.env.docname
    if chapter_number(docname) is None:
        return
    costs = Path(app.srcdir) / "book" / "costs.json"
    known = json.loads(costs.read_text(encoding="utf-8")) if costs.is_file() else {}
    page = json.loads(Path(app.env.doc2path(docname)).read_text(encoding="utf-8"))
    line = generated.cost_line(page["metadata"].get("geowall", {}), known.get(docname.rsplit("/", 1)[1], {}))
    for title in doctree.findall(nodes.title):
        if line:
            place = title.parent.index(title) + 1
            title.parent.insert(place, nodes.paragraph("", line, classes=["gw-cost"]))
        break


def warn_of_eaten_escapes(app: Sphinx, doctree: nodes.document) -> None:
    """Warn where Python has read ``\\b`` or ``\\a`` in a formula as a control character before TeX could."""
    for formula in doctree.findall(lambda node: isinstance(node, nodes.math | nodes.math_block)):
        if re.search(r"[\x00-\x08\x0b-\x1f]", formula.astext()):
            logger.warning("a formula holds a control character: double its backslash", location=formula)


def finish_pages(app: Sphinx, error: Exception | None) -> None:
    """Let the folder's own address open the book, and correct what the theme gets wrong offline."""
    if error is not None or app.builder.format != "html":
        return
    if app.config.root_doc != "index":
        title, target = app.config.html_title, f"{app.config.root_doc}.html"
        page = (
            f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
            f'<meta http-equiv="refresh" content="0; url={target}"><a href="{target}">{title}</a></html>\n'
        )
        (Path(app.outdir) / "index.html").write_text(page, encoding="utf-8")
    polish_folder(Path(app.outdir))


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect the parts above to the build."""
    app.connect("config-inited", configure)
    app.connect("builder-inited", write_libraries)
    app.connect("doctree-read", add_cost_line)
    app.connect("doctree-read", warn_of_eaten_escapes)
    app.connect("env-get-updated", renumber, priority=900)  # after Sphinx's own numbering
    app.connect("html-page-context", add_scripts)
    app.connect("build-finished", finish_pages, priority=900)
    app.add_css_file("book.css", priority=900)
    directives.register(app)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
