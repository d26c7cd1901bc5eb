"""What the tests share: a small book of its own for whatever runs, fails, is killed or published."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
import pytest

import geowall
from geowall.kernels import compiled
from geowall.paths import ROOT
from geowall.runs.store import locked
from geowall.site import build

HELPER = """
import time

import altair as alt
import pandas as pd

from geowall.figures import theme


def squares(n):
    return pd.DataFrame({"x": range(n), "y": [i * i for i in range(n)]})


def counted(n, log):
    with open(log, "a") as file:
        file.write("computed\\n")
    return squares(n)


def chart(table):
    marks = alt.Chart(table).mark_point().encode(x="x", y="y").properties(width=200)
    return theme.finish(marks, "tiny", caption="Squares.", alt="Squares of whole numbers.")


sleep = time.sleep
"""

CELLS = [
    "# Tiny\n\n**How do squares grow?**",
    """n: int = 3  # [1, 10] rows
rate: float = 0.5  # [0, 1] of nothing
mode: str = "up"  # {up, down} direction
wait: float = 0.0  # [0, 60] seconds
log: str = ""  # file that counts computations
boom: bool = False  # fail""",
    'import tiny\nfrom geowall import runs\n\nrun = runs.start("01_tiny", globals())',
    'table = run.table("squares", tiny.counted, n=n, log=log)\nrun.figure(tiny.chart(table), "squares")',
    'print("sleeping")\ntiny.sleep(wait)\nassert not boom, "asked to fail"',
    'run.expect("the sum of squares", table.y.sum(), 5, 5)\n'
    'run.expect("rows", len(table), 1, invariant=True)',
    "run.finish()",
]


@dataclass
class Book:
    """A book of one chapter in a temporary folder, and the command line on it."""

    root: Path
    log: Path
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def runs(self) -> Path:
        return self.root / "runs" / "01_tiny"

    def environment(self) -> dict[str, str]:
        path = f"{self.root}{os.pathsep}{Path(geowall.__file__).parents[1]}"  # the package that is tested
        return os.environ | {"GEOWALL_ROOT": str(self.root), "PYTHONPATH": path, **self.extra}

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "geowall", *map(str, arguments)]

    def run(self, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments),
            env=self.environment(),
            cwd=cwd,
            capture_output=True,
            text=True,
            check=False,
        )

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(*arguments), env=self.environment(), stderr=subprocess.PIPE, text=True
        )

    def finished(self) -> list[Path]:
        return sorted(path.parent for path in self.runs.glob("[!.]*/provenance.json"))

    def times_computed(self) -> int:
        return len(self.log.read_text().splitlines()) if self.log.exists() else 0


def write_notebook(path: Path, cells: list[str]) -> None:
    """Write a source notebook: first cell markdown, second tagged parameters, the rest code."""
    made = [nbformat.v4.new_markdown_cell(cells[0]), *map(nbformat.v4.new_code_cell, cells[1:])]
    made[1].metadata["tags"] = ["parameters"]
    for index, cell in enumerate(made):
        cell["id"] = f"cell-{index}"
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    about = {"after": [], "needs": "nothing", "minutes_to_read": 1}
    book = nbformat.v4.new_notebook(cells=made, metadata={"kernelspec": kernel, "geowall": about})
    nbformat.write(book, path)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without a compiler the book takes its torch paths, which the other tests hold to the same twins."""
    if compiled.library("sparsemax.cpp") is None:
        for item in items:
            if item.get_closest_marker("compiled"):
                item.add_marker(pytest.mark.skip(reason="needs a C++ compiler"))


@pytest.fixture
def book(tmp_path: Path) -> Book:
    root = tmp_path / "a book with spaces"
    (root / "notebooks" / "params").mkdir(parents=True)
    (root / "book" / "chapters").mkdir(parents=True)
    log = tmp_path / "computed.log"
    for profile, values in (
        ("quick", f"01_tiny:\n  log: {log}\n"),
        ("full", f"01_tiny:\n  log: {log}\n"),
        ("gemma", ""),
    ):
        (root / "notebooks" / "params" / f"{profile}.yaml").write_text(values)
    (root / "tiny.py").write_text(HELPER)
    (root / "README.md").write_text("# Tiny\n")
    write_notebook(root / "notebooks" / "01_tiny.ipynb", CELLS)
    return Book(root, log)


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The committed pages, rendered with every warning an error: once, whichever worker comes first."""
    shared = tmp_path_factory.getbasetemp()
    shared = shared if worker_id == "master" else shared.parent
    with locked(shared / "site.lock"):
        if not (shared / "site").exists():
            build.build_published(ROOT, shared / "site", strict=True)
    return shared / "site"
