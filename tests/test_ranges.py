"""A chapter at both ends of the ranges it declares: its figures fit the page, its sentences hold numbers.

The chapter's own cells are executed, one parameter away from the defaults at a time. Only a chapter whose
tables take seconds is here, and only parameters that say what is computed, not how much of it.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import altair as alt
import nbformat
import pandas as pd
import pytest
from IPython.display import Markdown

from geowall.figures import renderer, theme
from geowall.paths import ROOT, GeowallError
from geowall.runs import parameters, session

CHAPTERS = ["01_capacity_allocation"]
STRICTLY = renderer.bundle
TRIED = ("alpha", "beta")


def _notebook(chapter: str) -> Path:
    return ROOT / "notebooks" / f"{chapter}.ipynb"


def _ends(chapter: str) -> Iterator[Any]:
    """Each parameter at the lowest and the highest value it may have, and at each choice it offers."""
    everything = parameters.declared_in(_notebook(chapter))
    for name in TRIED:
        declared = everything[name]
        ends = list(declared.choices)
        if math.isfinite(declared.high):
            ends = [declared.low, declared.high]
            ends = [int(end) for end in ends] if declared.type is int else ends
            ends = [[end] for end in ends] + [ends] if declared.type is list else ends
        for end in ends:
            if end != declared.default:
                yield pytest.param(chapter, name, end, id=f"{chapter[:2]}-{name}-{end}")


@functools.cache
def _drawn(text: str) -> dict[str, Any]:
    """The bundle of a chart, which is refused where it is too wide. Most charts are the same at most ends."""
    return STRICTLY(alt.Chart.from_json(text), [])[0]


def _bundle(chart: alt.TopLevelMixin, tables: list[str], *, strict: bool) -> tuple[dict[str, Any], dict]:
    return _drawn(chart.to_json()), {}


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tables that no changed parameter touches are computed once."""
    return tmp_path_factory.mktemp("steps")


@pytest.mark.parametrize(("chapter", "name", "end"), [end for chapter in CHAPTERS for end in _ends(chapter)])
def test_a_chapter_holds_at_the_ends_of_its_ranges(
    chapter: str,
    name: str,
    end: Any,
    steps: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown: list[Any] = []
    monkeypatch.setattr(session.renderer, "bundle", _bundle)
    monkeypatch.setattr(session, "display", lambda *what, **_: shown.extend(what))
    monkeypatch.setenv("GEOWALL_RUN_FOLDER", str(tmp_path))
    monkeypatch.setenv("GEOWALL_STEPS", str(steps))
    namespace: dict[str, Any] = {}
    for cell in nbformat.read(_notebook(chapter), as_version=4).cells:
        if cell.cell_type == "code":
            exec(cell.source, namespace)
        if "parameters" in cell.metadata.get("tags", []):
            assert name in namespace
            namespace[name] = end
    charts = [bundle for bundle in shown if isinstance(bundle, dict)]
    assert len(charts) >= 5
    captions = [chart[renderer.MIME]["usermeta"]["caption"] for chart in charts]
    sentences = [text.data for text in shown if isinstance(text, Markdown)]
    assert not [text for text in captions + sentences if re.search(r"\bnan\b|\binf\b", text)]


def test_a_readers_run_is_not_stopped_by_a_wide_chart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[Any] = []
    monkeypatch.setattr(session, "display", lambda *what, **_: shown.extend(what))
    monkeypatch.setenv("GEOWALL_RUN_FOLDER", str(tmp_path))
    declared = parameters.declared_in(_notebook(CHAPTERS[0]))
    own = {name: parameter.default for name, parameter in declared.items()} | {"alpha": 0.05}
    wide = alt.Chart(pd.DataFrame({"x": [1], "y": [2]})).mark_point().encode(x="x", y="y")
    wide = theme.finish(wide.properties(width=640), "wide", caption="A point.", alt="A point at (1, 2).")
    session.start(CHAPTERS[0], own).figure(wide)
    *_, chart, note = shown
    assert chart[renderer.MIME]["usermeta"]["shrunk_from"] > 640
    assert f"{chart[renderer.MIME]['usermeta']['shrunk_from']} pixels wide" in note.data
    run = session.start(CHAPTERS[0], own | {"alpha": declared["alpha"].default})
    with pytest.raises(GeowallError, match="pixels wide"):
        run.figure(wide)
