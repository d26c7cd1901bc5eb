"""A run's page as it is kept: without what differs between two equal runs, and as one HTML file to look at.

The book's own pages are richer (charts that answer, numbered figures); this file is for a glance at one run,
and is whole by itself: pictures and mathematics are inside, and nothing is fetched.
"""

from __future__ import annotations

from importlib import metadata

from nbconvert import HTMLExporter
from nbformat import NotebookNode

_MATHJAX = """<script>
window.MathJax = {
  tex: {inlineMath: [['$', '$'], ['\\\\(', '\\\\)']], tags: 'ams'},
  options: {enableMenu: false},
}
</script>
<script>"""


def normalised(notebook: NotebookNode) -> NotebookNode:
    """Strip what differs between two equal runs: papermill's paths, the times of execution, random names."""
    notebook.metadata.pop("papermill", None)
    for cell in notebook.cells:
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell["id"] = "injected-parameters"  # papermill draws it at random
    return notebook


def html_of(notebook: NotebookNode) -> str:
    """Return one HTML file that holds the executed notebook and needs no network."""
    html, _ = HTMLExporter(mathjax_url="", require_js_url="").from_notebook_node(notebook)
    head, rest = html.split("</head>", 1)
    return f"{head}{_MATHJAX}{_mathjax()}</script></head>{rest}"


def _mathjax() -> str:
    package = metadata.distribution("sphinx-mathjax-offline")
    script = package.locate_file("sphinx-mathjax-offline/static/mathjax/tex-svg.js")
    return script.read_text(encoding="utf-8").replace("</script>", "<\\/script>")
