"""Every chapter: its anatomy as a source, and what it leaves when it runs at the quick profile."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pandas as pd
import pytest

from geowall.paths import ROOT
from geowall.runs import chapters, parameters
from geowall.runs.chapters import Chapter
from geowall.runs.execute import finished

CHAPTERS = chapters.every()
BUDGET = 600  # seconds for all chapters together at quick
NIGHTS = sorted((ROOT / "notebooks" / "params").glob("night_*.yaml"))


@pytest.fixture(scope="module")
def quick() -> dict[str, Path]:
    """The current quick run of every chapter, executed if need be as `make book` does."""
    done = geowall("run", *[chapter.name for chapter in CHAPTERS])
    assert done.returncode == 0, done.stderr
    return finished(CHAPTERS, "quick", ROOT / "runs")


def geowall(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "geowall", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def cells(chapter: Chapter, kind: str = "code") -> list[nbformat.NotebookNode]:
    return [cell for cell in nbformat.read(chapter.notebook, as_version=4).cells if cell.cell_type == kind]


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.name)
class TestSource:
    def test_it_holds_no_outputs(self, chapter: Chapter):
        for cell in cells(chapter):
            assert not cell.outputs and cell.execution_count is None

    def test_its_cells_are_named(self, chapter: Chapter):
        """A cell without a name gets a random one at each reading, and the page other bytes at each run."""
        names = [cell.get("id") for cell in json.loads(chapter.notebook.read_text(encoding="utf-8"))["cells"]]
        assert None not in names and len(set(names)) == len(names)

    def test_it_argues_and_does_not_compute(self, chapter: Chapter):
        for cell in cells(chapter):
            assert len(cell.source.splitlines()) <= 12, cell.source
            for node in ast.walk(ast.parse(cell.source)):
                assert not isinstance(node, ast.FunctionDef | ast.ClassDef | ast.For | ast.While), cell.source
            assert not re.search(r"cuda|['\"]/(home|root|tmp|work|Users)/", cell.source), cell.source

    def test_it_opens_and_closes_as_every_chapter(self, chapter: Chapter):
        first, code = cells(chapter, "markdown")[0], cells(chapter)
        assert first.source.startswith("# ") and "?" in first.source, "a title and the question"
        assert code[0].metadata.tags == ["parameters"] and code[-1].source.strip() == "run.finish()"
        assert f'run = runs.start("{chapter.name}", globals())' in code[1].source
        assert set(chapter.about) >= {"after", "needs", "minutes_to_read"}

    def test_its_parameters_are_declared_with_meaning_and_range(self, chapter: Chapter):
        declared = parameters.declared_in(chapter.notebook)
        assert "seed" in declared
        for parameter in declared.values():
            assert parameter.meaning, parameter
            assert parameter.check_typed(parameter.default) == parameter.default
            if parameter.type in (int, float):
                bounded = parameter.high < float("inf") or parameter.choices
                assert bounded, f"{parameter.name} has no range"
        for profile in parameters.PROFILES:
            chapter.resolve(profile)

    def test_its_prose_types_no_result(self, chapter: Chapter):
        """A decimal number outside a formula is a result, and results are computed."""
        for cell in cells(chapter, "markdown"):
            prose = re.sub(
                r"\$\$.*?\$\$|\$[^$]*\$|`[^`]*`|\([^()]*\d{4}[^()]*\)", "", cell.source, flags=re.DOTALL
            )
            assert not re.search(r"\d\.\d+", prose), prose


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.name)
class TestRun:
    def test_it_runs_and_its_claims_hold(self, chapter: Chapter, quick: dict[str, Path]):
        checks = pd.read_parquet(quick[chapter.name] / "tables" / "checks.parquet")
        assert len(checks) >= 3 and checks.passed.all() and (~checks.invariant).any()

    def test_every_figure_has_its_caption_text_and_tables(self, chapter: Chapter, quick: dict[str, Path]):
        folder, names = quick[chapter.name], []
        for cell in nbformat.read(folder / f"{chapter.name}.ipynb", as_version=4).cells:
            for output in cell.get("outputs", []):
                assert output.output_type != "stream", f"stray output: {output.get('text')}"
                for mime, content in output.get("data", {}).items():
                    if mime.startswith("application/vnd.vegalite"):
                        meta = content["usermeta"]
                        names.append(meta["name"])
                        assert len(meta["caption"]) > 20 and len(meta["alt"]) > 20
                        # An explorer computes in the page and holds no data; every other figure has a table.
                        assert meta["tables"] or not content.get("datasets")
                        for table in meta["tables"]:
                            assert len(pd.read_parquet(folder / "tables" / f"{table}.parquet")) > 0
        assert len(names) == len(set(names)) >= 3

    def test_its_tables_are_tidy_and_equal_in_both_formats(self, chapter: Chapter, quick: dict[str, Path]):
        for path in (quick[chapter.name] / "tables").glob("*.parquet"):
            table, text = pd.read_parquet(path), pd.read_csv(path.with_suffix(".csv"), keep_default_na=True)
            assert list(table.columns) == list(text.columns) and len(table) == len(text)
            assert all(re.fullmatch(r"[a-z][a-z0-9_]*", column) for column in table.columns), path.name

    def test_its_page_is_within_the_budget(self, chapter: Chapter, quick: dict[str, Path]):
        assert (quick[chapter.name] / f"{chapter.name}.ipynb").stat().st_size < 1_000_000

    def test_it_has_a_published_page(self, chapter: Chapter, quick: dict[str, Path]):
        record = json.loads((chapter.published / "provenance.json").read_text())
        assert record["at_defaults"] and record["profile"] in ("full", "gemma")


def test_all_chapters_fit_the_quick_budget(quick: dict[str, Path]):
    seconds = [json.loads((folder / "provenance.json").read_text())["seconds"] for folder in quick.values()]
    assert len(seconds) == len(CHAPTERS) and sum(seconds) < BUDGET


@pytest.mark.parametrize("night", NIGHTS, ids=lambda night: night.stem)
def test_a_night_is_made_of_parameters_that_its_chapter_takes(night: Path):
    chapter, values = chapters.find(night.stem.removeprefix("night_")), parameters.read_yaml(night)
    assert values.items() <= chapter.resolve("full", values).items()
    assert chapter.resolve("full", values) != chapter.resolve("full")


def test_a_second_run_of_all_chapters_executes_none(quick: dict[str, Path]):
    before = {name: (folder / "provenance.json").stat().st_mtime_ns for name, folder in quick.items()}
    again = geowall("run")
    assert again.returncode == 0 and again.stderr.count("0 cells executed") == len(CHAPTERS)
    assert before == {name: (folder / "provenance.json").stat().st_mtime_ns for name, folder in quick.items()}
