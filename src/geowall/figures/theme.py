"""How every chart of the book looks, and the caption and text description each one carries.

A figure function takes a tidy table and ends with :func:`finish`, which names the chart and attaches a
caption and a description computed from that table, so that no number in a caption is ever typed:

>>> import altair as alt, pandas as pd
>>> chart = alt.Chart(pd.DataFrame({"x": [1], "y": [2]})).mark_point().encode(x="x", y="y")
>>> finish(chart, "demo", caption="One point.", alt="A single point at (1, 2).").usermeta["name"]
'fig-demo'
"""

from __future__ import annotations

import altair as alt

# Read in light and in dark mode: each has a contrast of 3:1 or more with white and with #121212. Words need
# 4.5, which the page sees to (`inks.js` of the site), as it does for lines in any other colour.
BLUE, ORANGE, GREEN, RED, PURPLE, GREY = "#3b82c4", "#c2711c", "#2a9163", "#d1495b", "#9467bd", "#808080"
CATEGORY = [BLUE, ORANGE, GREEN, RED, PURPLE, GREY]
SEQUENCE = "viridis"
MODEL_COLOURS = {"gemma-2-2b": BLUE, "gemma-2-9b": ORANGE}

MAX_WIDTH = 620  # pixels, legends and axes included: the width of the text column
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"


@alt.theme.register("geowall", enable=True)
def _theme() -> alt.theme.ThemeConfig:
    # Ink is `currentColor`: the page's own text colour, so a chart follows the light/dark switch by itself.
    faint = {"domainColor": "currentColor", "tickColor": "currentColor", "gridColor": "#80808033"}
    ink = {"labelColor": "currentColor", "titleColor": "currentColor"}
    below = {"orient": "bottom", "labelLimit": 260, "labelFontSize": 12, "titleFontSize": 12}
    return {
        "config": {
            "background": "transparent",
            "font": FONT,
            "view": {"stroke": None, "continuousWidth": 480, "continuousHeight": 280},
            "axis": {**faint, **ink, "labelFontSize": 12, "titleFontSize": 13, "titleFontWeight": "normal"},
            "legend": {**ink, **below},
            "header": {**ink, "labelFontSize": 12, "titleFontSize": 12},
            "title": {"color": "currentColor", "fontSize": 13, "anchor": "start", "fontWeight": 600},
            "text": {"color": "currentColor", "fontSize": 12},
            "rule": {"color": "currentColor"},
            "range": {"category": CATEGORY},
        }
    }


def finish(chart: alt.TopLevelMixin, name: str, *, caption: str, alt: str) -> alt.TopLevelMixin:
    """Name a chart and attach its caption (MyST inline markdown) and its text description (plain text).

    ``name`` becomes the label ``fig-<name>``, which pages refer to with ``{numref}``.
    """
    meta = {"name": f"fig-{name}", "caption": caption, "alt": alt}
    return chart.properties(description=alt, usermeta=meta)
