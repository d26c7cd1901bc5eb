"""A run's page as it is kept: without what differs between two equal runs, and as one HTML file to look at.

The book's own pages are richer (charts that answer, numbered figures); this file is for a glance at one run,
and is whole by itself: pictures and mathematics are inside, and nothing is fetched.
"""

from __future__ import annotations

import copy
import json
from importlib import metadata

import nbformat
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


def text_of(notebook: NotebookNode) -> str:
    """Return the notebook's file: one key a line, as Jupyter writes it, but each chart on a line of its own.

    A chart is thousands of brackets and keys, ten deep: on a line each, they make a page a fifth larger.

    >>> chart = {"mark": {"type": "bar"}, "width": 9}
    >>> output = nbformat.v4.new_output("display_data", {"application/vnd.vegalite.v5+json": chart})
    >>> page = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("", outputs=[output])])
    >>> written = text_of(page)
    >>> '"application/vnd.vegalite.v5+json": {"mark":{"type":"bar"},"width":9}' in written
    True
    >>> nbformat.reads(written, as_version=4) == page
    True
    """
    page, charts = copy.deepcopy(notebook), []
    for output in (output for cell in page.cells for output in cell.get("outputs", [])):
        for mime, content in output.get("data", {}).items():
            if mime.startswith("application/vnd.vegalite"):
                output["data"][mime] = f"chart {len(charts)}"
                chart = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
                charts.append((f'"{mime}": "chart {len(charts)}"', f'"{mime}": {chart}'))
    text = nbformat.writes(page) + "\n"
    for place, chart in charts:  # no text of a cell holds the quotes of a key: there they are escaped
        text = text.replace(place, chart, 1)
    return text


def html_of(notebook: NotebookNode) -> str:
    """Return one HTML file that holds the executed notebook and needs no network."""
    html, _ = HTMLExporter(mathjax_url="", require_js_url="").from_notebook_node(notebook)
    head, rest = html.split("</head>", 1)
    return f"{head}{_MATHJAX}{_mathjax()}</script></head>{rest}"


def _mathjax() -> str:
    package = metadata.distribution("sphinx-mathjax-offline")
    script = package.locate_file("sphinx-mathjax-offline/static/mathjax/tex-svg.js")
    return script.read_text(encoding="utf-8").replace("</script>", "<\\/script>")
