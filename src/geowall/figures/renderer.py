"""What a chart leaves in a notebook: an interactive specification, a picture and a sentence.

Altair's own renderers need a network or a megabyte of JavaScript a chart. Here a chart becomes a bundle of
``application/vnd.vegalite.v5+json`` (JupyterLab and the book's pages draw it; the specification inside names
its own version, v6), ``image/png`` (GitHub, print, JavaScript off) and ``text/plain`` (its description):

>>> import altair as alt, pandas as pd
>>> from geowall.figures import renderer, theme
>>> bar = alt.Chart(pd.DataFrame({"x": ["a"], "y": [2]})).mark_bar().encode(x="x", y="y").properties(width=90)
>>> data, metadata = renderer.bundle(theme.finish(bar, "demo", caption="A bar.", alt="One bar."), ["demo"])
>>> sorted(data), data["text/plain"], data[renderer.MIME]["usermeta"]["tables"]
(['application/vnd.vegalite.v5+json', 'image/png', 'text/plain'], 'One bar.', ['demo'])
"""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

import altair as alt
import vl_convert

from geowall.figures import theme
from geowall.figures.png import PIXEL_RATIO, shrink
from geowall.figures.slim import n_rows, slim
from geowall.paths import GeowallError

MIME = "application/vnd.vegalite.v5+json"
MAX_ROWS = 5_000  # of all the data a chart carries: a page stays under a megabyte
SHRINKS = 6  # steps in which a reader's chart gets narrower; one still too wide is scrolled on its page
_VEGALITE = ".".join(alt.SCHEMA_VERSION.lstrip("v").split(".")[:2])


def bundle(
    chart: alt.TopLevelMixin, tables: list[str], *, strict: bool = True
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Mime data and metadata of a finished chart, naming the tables its page offers for download.

    Raises :class:`~geowall.paths.GeowallError` when the chart has no name, caption and description
    (:func:`geowall.figures.theme.finish`), carries more than 5,000 rows, or is wider than 620 pixels. Where
    ``strict`` is false a chart that is too wide gets narrower panels instead, and ``shrunk_from`` among the
    ``usermeta`` of its specification says how wide it was.
    """
    with alt.data_transformers.disable_max_rows():  # our own limit, below, says what to do about it
        spec = slim(chart.to_dict())
    meta = spec.get("usermeta") or {}
    if not all(meta.get(key) for key in ("name", "caption", "alt")):
        raise GeowallError(
            "a chart cannot be shown yet",
            "it has no name, caption and text description",
            'end its function with theme.finish(chart, "name", caption="...", alt="...")',
        )
    spec["usermeta"] = {**meta, "tables": list(tables)}
    _check_rows(spec, meta["name"])
    picture = _picture(spec)
    if strict:
        _check_width(picture, meta["name"])
    elif _width(picture) > theme.MAX_WIDTH:
        spec, picture = _shrunk(spec, picture)
    return _mime(spec, picture, meta["alt"]), {}


def draw(spec: dict[str, Any]) -> dict[str, Any]:
    """The same bundle for any chart a reader displays while exploring: no name, no limits."""
    alt_text = (spec.get("usermeta") or {}).get("alt") or spec.get("description") or "A chart."
    return _mime(spec, _picture(spec), str(alt_text))


def _mime(spec: dict[str, Any], picture: bytes, text: str) -> dict[str, Any]:
    return {MIME: spec, "image/png": base64.b64encode(picture).decode("ascii"), "text/plain": text}


def _picture(spec: dict[str, Any]) -> bytes:
    """The chart in black ink on white paper, readable on a page of any colour."""
    paper = {**spec, "background": "white", "config": {**spec.get("config", {}), "background": "white"}}
    ink = json.dumps(paper).replace("currentColor", "black")
    return shrink(
        vl_convert.vegalite_to_png(ink, vl_version=_VEGALITE, scale=PIXEL_RATIO, allowed_base_urls=[])
    )


def _check_rows(spec: dict[str, Any], name: str) -> None:
    rows = sum(n_rows(data) for data in spec.get("datasets", {}).values())
    if rows > MAX_ROWS:
        raise GeowallError(
            f"the chart {name} cannot be shown",
            f"it carries {rows:,} rows and a page has room for {MAX_ROWS:,}",
            "let its function thin or aggregate the table (the download links keep every row)",
        )


def _width(picture: bytes) -> float:
    """Pixels of the page that a picture is wide."""
    (width,) = struct.unpack(">I", picture[16:20])
    return width / PIXEL_RATIO


def _shrunk(spec: dict[str, Any], picture: bytes) -> tuple[dict[str, Any], bytes]:
    """The chart with narrower panels. Axes and legends keep their size, so it may take more than one step."""
    spec["usermeta"]["shrunk_from"] = round(_width(picture))
    for _ in range(SHRINKS):
        if _width(picture) <= theme.MAX_WIDTH:
            break
        spec = _narrower(spec, 0.99 * theme.MAX_WIDTH / _width(picture))
        picture = _picture(spec)
    return spec, picture


def _narrower(node: Any, ratio: float) -> Any:
    """The same specification with every panel's width, given in pixels or by the step, times ``ratio``."""
    if isinstance(node, list):
        return [_narrower(item, ratio) for item in node]
    if not isinstance(node, dict):
        return node
    scaled = {
        key: value if key in ("datasets", "mark", "encoding") else _narrower(value, ratio)
        for key, value in node.items()
    }
    for key in ("width", "continuousWidth"):
        if isinstance(node.get(key), int | float):
            scaled[key] = int(node[key] * ratio)
    if isinstance(node.get("width"), dict) and "step" in node["width"]:
        scaled["width"] = {"step": node["width"]["step"] * ratio}
    return scaled


def _check_width(picture: bytes, name: str) -> None:
    if _width(picture) > theme.MAX_WIDTH:
        raise GeowallError(
            f"the chart {name} cannot be shown",
            f"it is {_width(picture):.0f} pixels wide and the text column has {theme.MAX_WIDTH}",
            "give its panels a smaller width in its function (axes and legends count)",
        )


alt.renderers.register("geowall", draw)
alt.renderers.enable("geowall")
