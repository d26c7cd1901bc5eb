"""From the output of a cell to a numbered figure of the page.

A cell that shows a finished chart leaves a specification, a picture and a sentence in its notebook (see
:mod:`geowall.figures.renderer`). On the page they become one figure: the picture for readers without
JavaScript, the specification for the page's loader to draw, the caption, links to the data, and the sentence:

>>> from geowall.site.mime import script_json
>>> script_json({"title": "</script>"})
'{"title":"<\\\\/script>"}'
"""

from __future__ import annotations

import hashlib
import json
import struct
from base64 import b64decode
from collections.abc import Sequence
from html import escape
from typing import Any, ClassVar

from docutils import nodes
from sphinx import addnodes

from geowall.figures.png import PIXEL_RATIO

MIME = "application/vnd.vegalite.v5+json"
FORMATS = ("csv", "parquet")


class ChartRenderer:
    """The myst-nb plugin for charts: one docutils figure for each finished chart, a picture for any other."""

    mime_priority_overrides: ClassVar[Sequence[tuple[str, str, int | None]]] = [("*", MIME, 1)]

    @staticmethod
    def handle_mime(renderer: Any, data: Any, inline: bool) -> list[nodes.Element] | None:
        """Return the nodes of a chart's output, or ``None`` to leave another mime type to others."""
        if data.mime_type != MIME:
            return None
        picture = _picture_beside(renderer, data)
        uri = renderer.write_file([f"{hashlib.sha256(picture).hexdigest()}.png"], picture, exists_ok=True)
        spec = data.content
        meta = spec.get("usermeta") or {}
        if inline or "name" not in meta:
            return [
                nodes.image(
                    uri=uri, alt=spec.get("description", "A chart."), width=f"{page_width(picture)}px"
                )
            ]
        caption = nodes.Element()
        with renderer.renderer.current_node_context(caption):
            renderer.renderer.nested_render_text(meta["caption"], data.line or 0, inline=True)
        links = [
            (name, [(fmt, f"tables/{name}.{fmt}") for fmt in FORMATS]) for name in meta.get("tables", [])
        ]
        return [figure(renderer.renderer.document, spec, (uri, page_width(picture)), caption.children, links)]


def figure(
    document: nodes.document,
    spec: dict[str, Any],
    picture: tuple[str, int],
    caption: list[nodes.Node],
    links: list[tuple[str, list[tuple[str, str]]]],
) -> nodes.figure:
    """One numbered figure: chart, caption, download links and text description.

    ``picture`` is the address and width (pixels) of the PNG; ``links`` gives, for each table behind the
    figure, its name and the (format, path beside the page) of each file.
    """
    meta = spec["usermeta"]
    chart = nodes.container(classes=["gw-chart"])
    uri, width = picture
    chart += nodes.image(uri=uri, alt=meta["alt"], width=f"{width}px", classes=["gw-picture"])
    script = f'<script type="application/json" class="gw-spec">{script_json(spec)}</script>'
    chart += nodes.raw(script, script, format="html")
    made = nodes.figure("", chart, nodes.caption("", "", *caption), classes=["gw-figure"])
    made["names"].append(meta["name"])
    document.note_explicit_target(made, made)
    legend = nodes.legend()
    if links:
        legend += _downloads(links)
    described = (
        f'<details class="gw-alt"><summary>Text description</summary><p>{escape(meta["alt"])}</p></details>'
    )
    legend += nodes.raw(described, described, format="html")
    made += legend
    return made


def script_json(content: Any) -> str:
    """JSON that may stand inside a ``<script>``: nothing in it can close the element or open a comment."""
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False)
    return text.replace("</", "<\\/").replace("<!--", "<\\!--")


def _downloads(links: list[tuple[str, list[tuple[str, str]]]]) -> nodes.paragraph:
    line = nodes.paragraph("", "Data: ", classes=["gw-data"])
    for position, (name, files) in enumerate(links):
        line += nodes.Text("; " if position else "")
        line += nodes.literal("", name)
        for fmt, path in files:
            label = nodes.Text({"csv": "CSV"}.get(fmt, fmt))
            line += nodes.Text(" " if fmt == files[0][0] else ", ")
            line += addnodes.download_reference("", "", label, reftarget=path)
    return line


def _picture_beside(renderer: Any, data: Any) -> bytes:
    """The PNG that the same output carries; a chart saved by other means than ours may have none."""
    _, outputs = renderer.renderer.nb_client.code_cell_outputs(data.cell_index)
    png = outputs[data.output_index]["data"].get("image/png")
    if png is None:
        from geowall.figures.renderer import draw

        png = draw(data.content)["image/png"]
    return b64decode(png)


def page_width(picture: bytes) -> int:
    """Width of a picture on the page, in CSS pixels."""
    return round(struct.unpack(">I", picture[16:20])[0] / PIXEL_RATIO)
