"""The small parts of the runner: parameter types, fingerprints, atomic files, swaps, progress."""

from __future__ import annotations

import argparse
import contextlib
import doctest
import errno
import importlib
import io
import json
import math
import os
import shutil
import socket
import sys
from pathlib import Path

import nbformat
import pandas as pd
import pytest

from geowall import __main__
from geowall.paths import ROOT, GeowallError
from geowall.runs import (
    chapters,
    execute,
    failed,
    fingerprint,
    ledger,
    page,
    progress,
    provenance,
    session,
    store,
    together,
)
from geowall.runs.parameters import Parameter, ParameterError, parse
from geowall.runs.progress import Progress

MODULES = ["wording", "parameters", "lists", "page", "store", "progress", "fingerprint", "provenance"]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_the_docstrings_hold(name: str):
    result = doctest.testmod(importlib.import_module(f"geowall.runs.{name}"))
    assert result.attempted > 0 and result.failed == 0


def test_every_kind_of_parameter_is_read_from_text():
    declared = parse("a: int = 1\nb: float = 1.0\nc: bool = False\nd: list = [1]  # [0, 9] each\ne: str = ''")
    texts = {"a": "1e3", "b": "1e-3", "c": "True", "d": "1, 2", "e": "7"}
    values = {name: declared[name].check(text) for name, text in texts.items()}
    assert values == {"a": 1000, "b": 0.001, "c": True, "d": [1, 2], "e": "7"}


@pytest.mark.parametrize("value", [True, 1.5, "x", None, math.nan, [1]])
def test_a_whole_number_is_nothing_else(value: object):
    with pytest.raises(ParameterError):
        Parameter("n", int, 1).check_typed(value)


@pytest.mark.parametrize("value", [math.nan, math.inf, "1e-3", False])
def test_a_number_is_finite_and_not_text(value: object):
    with pytest.raises(ParameterError):
        Parameter("x", float, 1.0).check_typed(value)


def test_a_list_is_checked_item_by_item():
    parameter = Parameter("betas", list, [0.1], 0.0, 1.0)
    assert parameter.check_typed([0, 1]) == [0, 1]
    for bad in ([2.0], ["a"], [True], [math.nan]):
        with pytest.raises(ParameterError):
            parameter.check_typed(bad)


LISTS = """
layers: list = [4, 10]  # [1, 12] each; layers left out
clip: list = [1.0, 99.0]  # [0, 100] each, increasing, 2 of them; per cent
measured: list = ["a", "b", "c"]  # each, 3 of them; tables
wide: list = []  # [2, 64] each, or none; latents
sites: list = ["res"]  # {res, att} each; where to read
"""


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("layers", "[4.5]", "4.5 is a number where a whole number belongs"),
        ("layers", "", "it may not be empty"),
        ("layers", "[]", "it may not be empty"),
        ("layers", "[four]", "'four' is a text where a whole number belongs"),
        ("layers", "[4", "'4' is a text where a whole number belongs"),
        ("layers", "[13]", "it must be at most 12"),
        ("clip", "[5]", "it must hold 2 items, not 1"),
        ("clip", "[1, 50, 99]", "it must hold 2 items, not 3"),
        ("clip", "[99, 1]", "its items must increase"),
        ("clip", "[5, 5]", "its items must increase"),
        ("measured", "[1, 2, 3]", "1 is a whole number where a text belongs"),
        ("measured", "[a, b]", "it must hold 3 items, not 2"),
        ("wide", "[2.5]", "2.5 is a number where a whole number belongs"),
        ("sites", "[rse]", "it is none of the choices; did you mean res?"),
    ],
)
def test_a_list_that_a_chapter_cannot_use_is_refused(name: str, text: str, why: str):
    with pytest.raises(ParameterError) as refused:
        parse(LISTS)[name].check(text)
    assert refused.value.why == why and len(str(refused.value).splitlines()) == 3


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("layers", "4,10", [4, 10]),
        ("clip", "[1, 99]", [1.0, 99.0]),
        ("measured", "[my runs/a.csv, b, c]", ["my runs/a.csv", "b", "c"]),
        ("measured", "a,b,c", ["a", "b", "c"]),
        ("measured", '["a", "b, b", "c"]', ["a", "b, b", "c"]),
        ("wide", "", []),
        ("sites", "att", ["att"]),
    ],
)
def test_a_list_is_read_with_brackets_and_quotes_or_without(name: str, text: str, value: list):
    read = parse(LISTS)[name].check(text)
    assert read == value and [type(item) for item in read] == [type(item) for item in value]


def test_what_a_comment_says_of_a_list_is_shown_and_nothing_else_is_understood():
    assert "clip: list in [0, 100] each, increasing, 2 of them, [1.0" in str(parse(LISTS)["clip"])
    with pytest.raises(ValueError, match="not 'sorted'"):
        parse("a: list = [1]  # [0, 9] each, sorted; numbers")


@pytest.mark.parametrize(
    ("chapter", "name", "text"),
    [
        ("01", "betas", "[]"),
        ("02", "n_discrete", "[48]"),
        ("03", "dims", "[6, 14]"),
        ("07", "backbone", "[512, 128]"),
        ("08", "clip_percentiles", "[99, 1]"),
        ("08", "measured", "[a, b]"),
        ("08", "without_first", "[4.5]"),
        ("09", "measured", "[a, b]"),
    ],
)
def test_the_chapters_declare_the_lists_that_they_need(chapter: str, name: str, text: str):
    with pytest.raises(ParameterError, match=f"parameter {name} = "):
        chapters.find(chapter).resolve("quick", {}, {name: text})


def test_a_parameters_cell_holds_declarations_alone():
    with pytest.raises(ValueError, match="literal"):
        parse("n = 3")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path):
    path = tmp_path / "file"
    store.write_text(path, "old")

    def fail(beside: Path) -> None:
        beside.write_text("ne")
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        store.write_atomically(path, fail)
    assert path.read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_folder_is_swapped_whole(tmp_path: Path):
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "page").write_text(name)
    store.swap_folder(tmp_path / "new", tmp_path / "old")
    assert (tmp_path / "old" / "page").read_text() == "new" and not (tmp_path / "new").exists()


def folders(tmp_path: Path, *names: str) -> list[Path]:
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "page").write_text(name)
    return [tmp_path / name for name in names]


@pytest.mark.parametrize(("renames", "stands"), [(0, "old"), (1, "old"), (2, "new"), (3, "new")])
def test_a_kill_between_the_renames_of_a_poor_file_system_loses_no_folder(
    tmp_path: Path, monkeypatch, renames: int, stands: str
):
    old, new = folders(tmp_path, "old", "new")
    rename, left = Path.rename, [renames]

    class Killed(BaseException):
        pass

    def deadly(source: Path, target: Path) -> Path:
        left[0] -= 1
        if left[0] < 0:
            raise Killed
        return rename(source, target)

    monkeypatch.setattr(store, "_exchanged_by_kernel", lambda a, b: False)
    monkeypatch.setattr(Path, "rename", deadly)
    with contextlib.suppress(Killed):
        store.swap_folder(new, old)
    monkeypatch.setattr(Path, "rename", rename)
    assert old.exists() == (renames != 1)
    store.restore_all(tmp_path)
    assert (old / "page").read_text() == stands
    assert not list(tmp_path.glob(".*")), "nothing stays aside once the folder is in its place"


def test_an_exchange_that_fails_half_way_puts_the_old_folder_back(tmp_path: Path, monkeypatch):
    (old,) = folders(tmp_path, "old")
    monkeypatch.setattr(store, "_exchanged_by_kernel", lambda a, b: False)
    with pytest.raises(FileNotFoundError):
        store.swap_folder(tmp_path / "gone", old)
    assert (old / "page").read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["old"]


def test_only_what_stood_aside_is_put_back_and_only_to_its_own_place(tmp_path: Path):
    folders(tmp_path, ".page.01234567", ".page.failed.01234567.aside")
    store.restore(tmp_path / "page")
    assert not (tmp_path / "page").exists(), "a copy that was not finished, and another folder's"
    store.restore(tmp_path / "page.failed")
    assert (tmp_path / "page.failed").exists()


def test_a_run_that_stood_aside_is_put_back_by_whoever_next_takes_its_lock(tmp_path: Path):
    place = tmp_path / "01_tiny" / "quick-0123456789ab"
    aside = place.with_name(f".{place.name}.01234567.aside")
    for again in (lambda: failed.bury(place), lambda: ledger.clean(tmp_path, everything=False)):
        aside.mkdir(parents=True)
        (aside / "provenance.json").write_text("{}")
        again()
        assert (place / "provenance.json").exists() and not aside.exists()
        shutil.rmtree(place)


def forced(tmp_path: Path, monkeypatch, force: bool, then) -> Path:
    """Run a chapter whose execution is ``then(folder of its steps)``, and stops; return what it leaves."""

    def stop(chapter, given, environment: dict[str, str], work, watch) -> None:
        then(Path(environment["GEOWALL_STEPS"]))
        raise GeowallError("this run", "stops", "here")

    monkeypatch.setattr(execute, "_execute", stop)
    with pytest.raises(GeowallError, match="this run"):
        execute.run(chapters.find("01"), "quick", {}, tmp_path, force=force)
    return tmp_path / chapters.find("01").name / ".steps"


def test_a_forced_run_finds_no_step_and_takes_none_from_others(tmp_path: Path, monkeypatch):
    shared = tmp_path / chapters.find("01").name / ".steps"
    shared.mkdir(parents=True)
    for name in ("mine.json", "mine.parquet", "other.parquet"):
        (shared / name).write_text("old")

    def work(kept: Path) -> None:
        assert not kept.exists() and len(list(shared.iterdir())) == 3
        (kept / "training" / "a").mkdir(parents=True)
        for name in ("mine.json", "mine.parquet", "training/a/group-000.pt", ".mine.parquet.1-2"):
            (kept / name).write_text("new")

    assert forced(tmp_path, monkeypatch, True, work) == shared
    read = {str(p.relative_to(shared)): p.read_text() for p in shared.rglob("*") if p.is_file()}
    fresh = dict.fromkeys(["mine.json", "mine.parquet", "training/a/group-000.pt"], "new")
    assert read == fresh | {"other.parquet": "old"}
    assert not list(shared.parent.glob(".steps-*"))


def test_what_a_killed_forced_run_had_finished_is_kept_for_the_next(tmp_path: Path, monkeypatch):
    place = execute.place_of(chapters.find("01"), "quick", {}, tmp_path)
    left = place.with_name(f".steps-{place.name}")
    left.mkdir(parents=True)
    (left / "mine.parquet").write_text("new")
    read = []
    forced(tmp_path, monkeypatch, False, lambda kept: read.append((kept / "mine.parquet").read_text()))
    forced(tmp_path, monkeypatch, True, lambda kept: read.append(kept.exists()))
    assert read == ["new", False] and not left.exists()


def test_a_changed_helper_changes_the_fingerprint_of_those_who_import_it(tmp_path: Path, monkeypatch):
    package = tmp_path / "src" / "geowall"
    (package / "laws").mkdir(parents=True)
    for file, code in {
        "__init__.py": "",
        "a.py": "from geowall.laws import b\n",
        "laws/__init__.py": "",
        "laws/b.py": "from . import c\n",
        "laws/c.py": "x = 1\n",
        "other.py": "x = 1\n",
    }.items():
        (package / file).write_text(code)
    monkeypatch.setattr(fingerprint, "_SOURCE", tmp_path / "src")
    before = fingerprint.imported_files("from geowall import a")
    assert {Path(name).name for name in before} == {"__init__.py", "a.py", "b.py", "c.py"}
    (package / "other.py").write_text("x = 2\n")
    assert fingerprint.imported_files("from geowall import a") == before
    (package / "laws" / "c.py").write_text("x = 2\n")
    assert fingerprint.imported_files("from geowall import a") != before


def test_a_changed_kernel_changes_the_fingerprint_of_those_who_compile_it(tmp_path: Path, monkeypatch):
    kernels = tmp_path / "src" / "geowall" / "kernels"
    kernels.mkdir(parents=True)
    (kernels / "fast.py").write_text('def run():\n    return library("fast.cpp")\n')
    for name in ("fast.cpp", "other.cpp"):
        (kernels / name).write_text("int x = 1;\n")
    monkeypatch.setattr(fingerprint, "_SOURCE", tmp_path / "src")
    before = fingerprint.imported_files("from geowall.kernels import fast")
    assert set(before) == {"src/geowall/kernels/fast.py", "src/geowall/kernels/fast.cpp"}
    (kernels / "other.cpp").write_text("int x = 2;\n")
    assert fingerprint.imported_files("from geowall.kernels import fast") == before
    (kernels / "fast.cpp").write_text("int x = 2;\n")
    assert fingerprint.imported_files("from geowall.kernels import fast") != before


def test_every_kernel_in_cpp_is_among_the_sources_of_a_chapter():
    reached = [fingerprint.sources(chapter.notebook) for chapter in chapters.every()]
    for path in (ROOT / "src" / "geowall" / "kernels").glob("*.cpp"):
        assert any(str(path.relative_to(ROOT)) in found for found in reached), path


def test_arguments_of_a_table_are_told_apart():
    table = pd.DataFrame({"a": [1, 2]})
    assert session._stamp(table) == session._stamp(table.copy())
    assert session._stamp(table) != session._stamp(table[::-1])
    assert session._stamp(table) != session._stamp(table.rename(columns={"a": "b"}))
    with pytest.raises(GeowallError):
        session._stamp(len)


def test_what_a_kill_left_is_told_by_whoever_next_takes_the_lock(tmp_path: Path, monkeypatch):
    chapter = chapters.find("01")
    place = execute.place_of(chapter, "quick", {}, tmp_path)
    page = nbformat.read(chapter.notebook, as_version=4)
    page.cells[2].metadata["papermill"] = {"status": "running"}
    for name, file in (("0123abcd", "tables"), ("4567cdef", "provenance.json"), ("89ab0123", chapter.name)):
        work = place.with_name(
            f".{place.name}.{name}"
        )  # killed before the first cell, after the last, between
        work.mkdir(parents=True)
        nbformat.write(page, work / f"{file}.ipynb") if file == chapter.name else (work / file).write_text("")

    def stop(*_: object) -> None:
        assert failed.folder_of(place).exists()
        raise GeowallError("this run", "stops", "too")

    monkeypatch.setattr(execute, "_execute", stop)
    with pytest.raises(GeowallError, match="this run"):
        execute.run(chapter, "quick", {}, tmp_path)
    message = (failed.folder_of(place) / "message.txt").read_text()
    assert message.startswith(f"chapter {chapter.name} stopped at cell 3\n  why: the process was killed")
    assert (failed.folder_of(place) / "failed.ipynb").exists()
    assert {path.name for path in place.parent.iterdir()} == {
        failed.lock_of(place).name,
        failed.folder_of(place).name,
    }


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_and_a_used_up_share_of_one_are_full(number: int):
    assert store.is_disk_full(OSError(number, os.strerror(number)))
    assert store.is_disk_full(f"[Errno {number}] {os.strerror(number)}: 'table.csv'")
    assert not store.is_disk_full(OSError(errno.EACCES, os.strerror(errno.EACCES)))


@pytest.fixture
def run(tmp_path: Path, monkeypatch) -> session.Run:
    """A run of a chapter whose parameters name no model, in a book with one model in its lab."""
    monkeypatch.setenv("GEOWALL_RUN_FOLDER", str(tmp_path / "run"))
    monkeypatch.setenv("GEOWALL_STEPS", str(tmp_path / "steps"))
    monkeypatch.setattr(session, "ROOT", tmp_path)
    (tmp_path / "data" / "lab" / "mine").mkdir(parents=True)
    (tmp_path / "data" / "lab" / "mine" / "model.safetensors").write_text("weights")
    return session.Run("01_capacity_allocation", ROOT / "notebooks" / "01_capacity_allocation.ipynb", {}, {})


def fix_of(run: session.Run, path: str) -> str:
    with pytest.raises(GeowallError) as stopped:
        run.read(path)
    assert len(str(stopped.value).splitlines()) == 3
    return stopped.value.fix


def test_a_missing_file_is_fetched_from_where_it_comes(run: session.Run, tmp_path: Path, monkeypatch):
    """From git if it is committed, from its chapter else from its chapter, else from the reader."""
    run._defaults = {"measured": ["a b.csv"], "base": "tables", "text": ""}
    run.parameters = {"measured": ["a b.csv", "mine.csv"], "base": f"{tmp_path}/out", "text": ""}
    monkeypatch.setattr(provenance, "is_committed", lambda path: path == "a b.csv")
    assert fix_of(run, "a b.csv") == "git checkout -- 'a b.csv'"
    assert fix_of(run, "mine.csv") == "name a file that is there: geowall run 01 -p measured=..."
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "laws.parquet").touch()
    near = f"{tmp_path}/out/laws.parquet is there; name a file that is there: geowall run 01 -p base=..."
    assert fix_of(run, f"{tmp_path}/out/law.parquet") == near
    assert fix_of(run, "book/chapters/05_checkpoint_census/tables/x.csv") == "geowall publish 05"
    run.parameters["text"] = "book/chapters/05_checkpoint_census/tables/x.csv"
    assert fix_of(run, run.parameters["text"]) == "geowall publish 05"
    assert fix_of(run, "data/x.csv") == f"put the file at {tmp_path}/data/x.csv, then run again"


def test_git_is_asked_what_it_has():
    assert provenance.is_committed("data/published/README.md")
    assert not provenance.is_committed("data/published/absent.csv")
    assert not provenance.is_committed("/elsewhere/absent.csv")


def steps(run: session.Run) -> int:
    return len(list(run._steps.glob("*.parquet")))


def test_a_reused_table_counts_in_its_cell_for_what_it_once_took():
    assert execute._cell_seconds([0.0, 1.0, 3.0, 4.0], [[1.5, 10.0], [3.0, 5.0]]) == [1.0, 12.0, 6.0]


def test_a_table_kept_for_later_is_not_that_of_other_libraries(run: session.Run, monkeypatch):
    for _ in range(2):
        run.table("sizes", named, ["other"])
    assert steps(run) == 1
    monkeypatch.setattr(provenance, "versions", lambda: {"numpy": "999"})
    run.table("sizes", named, ["other"])
    assert steps(run) == 2


def test_weights_that_only_an_argument_names_are_inputs_of_the_run(run: session.Run, tmp_path: Path):
    weights = tmp_path / "data" / "lab" / "mine" / "model.safetensors"
    run.table("sizes", named, ["other"])
    assert run._inputs == {}
    run.table("sizes", named, {"deep": [["mine"]]})
    assert run._inputs == {"data/lab/mine/model.safetensors": store.sha256(weights)} and steps(run) == 2
    weights.write_text("other weights")
    os.utime(weights, ns=(1, 1))  # a clock may be too coarse to tell the two apart
    run.table("sizes", named, {"deep": [["mine"]]})
    assert run._inputs == {"data/lab/mine/model.safetensors": store.sha256(weights)} and steps(run) == 3


def named(models) -> pd.DataFrame:
    return pd.DataFrame({"models": [len(models)]})


def test_progress_says_cell_and_time_left_and_is_quiet_in_a_pipe():
    out = io.StringIO()
    watch = Progress("01", [1.0, 2.0, 30.0], out)
    for index in range(3):
        watch.cell(index, 3)
    assert out.getvalue().splitlines() == ["01  cell 1/3  0 s, about 33 s left"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_foretells_a_first_run_from_the_costs_of_the_book(monkeypatch):
    out = Terminal()
    Progress("01", [], out, seconds=100.0).cell(2, 3)
    assert out.getvalue() == "\r\033[K01  cell 3/3  0 s, about 1 min 40 s left"
    monkeypatch.setattr(ledger, "costs", lambda: {"01_tiny": {"quick": {"seconds": 7.0}}})
    assert ledger.past_seconds(chapters.Chapter("01_tiny", Path()), "quick") == 7.0
    assert ledger.past_seconds(chapters.Chapter("01_tiny", Path()), "full") is None


def test_chapters_that_share_a_terminal_do_not_rewrite_each_others_line(monkeypatch):
    monkeypatch.setenv(progress.LINES, "1")
    out = Terminal()
    for name in ("01", "02"):
        watch = Progress(name, [], out)
        watch.cell(0, 3)
        watch.close("done")
    assert out.getvalue() == "01  cell 1/3  0 s\n01  done\n02  cell 1/3  0 s\n02  done\n"


def test_a_chapter_that_fails_stops_those_that_read_it_and_nobody_else(tmp_path: Path, monkeypatch, capfd):
    def made(name: str, *after: str) -> chapters.Chapter:
        about = {"geowall": {"after": list(after)}}
        nbformat.write(nbformat.v4.new_notebook(metadata=about), tmp_path / f"{name}.ipynb")
        return chapters.Chapter(name, tmp_path / f"{name}.ipynb")

    script = (
        "import os, sys; print(os.environ['GEOWALL_LINES']); sys.argv[-1] == '02' and os.kill(os.getpid(), 9)"
    )
    python = tmp_path / "python"  # the second chapter is killed, as when memory runs out
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{script}" "$@"\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    four = [made("01"), made("02"), made("03", "02"), made("04", "03")]
    codes = together.run_all(four, lambda chapter: [chapter.name], jobs=2)
    assert codes == {"01": 0, "02": -9, "03": together.SKIPPED, "04": together.SKIPPED}
    assert capfd.readouterr().out.splitlines() == ["1", "1"]
    monkeypatch.setattr(together, "run_all", lambda *_: codes)
    given = argparse.Namespace(profile="quick", out=tmp_path, force=False, jobs=2)
    assert __main__._run_together(four, given) == 1
    assert capfd.readouterr().err.split("\n")[1:3] == [
        "failed: 02",
        "not started, for they read what failed: 03, 04",
    ]


def test_a_busy_port_is_said_in_three_lines(tmp_path: Path, capsys):
    (tmp_path / "book" / "html").mkdir(parents=True)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert __main__.main(["serve", "--port", str(port), "--out", str(tmp_path)]) == 1
    assert __main__.main(["serve", "--port", "70000", "--out", str(tmp_path)]) == 1
    said = capsys.readouterr().err.strip().splitlines()
    assert "Address already in use" in said[1] and "--port" in said[2] and len(said) == 7


def test_json_is_the_same_bytes_for_the_same_contents(tmp_path: Path):
    for name, content in (("a", {"x": 1, "y": 2}), ("b", {"y": 2, "x": 1})):
        store.write_json(tmp_path / name, content)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert json.loads((tmp_path / "a").read_text()) == {"x": 1, "y": 2}


def test_a_missing_value_fails_its_claim_and_says_so(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("GEOWALL_RUN_FOLDER", str(tmp_path))
    run = session.Run("01_capacity_allocation", ROOT / "notebooks" / "01_capacity_allocation.ipynb", {}, {})
    with pytest.raises(session.ClaimError, match="nan where 0 to 1 was expected"):
        run.expect("a mean of nothing", math.nan, 0, 1)
    with pytest.raises(session.ClaimError, match="an invariant does not hold"):
        run.expect("a sum", 3, 0, 1, invariant=True)


def test_a_written_page_reads_as_jupyters_own_and_keeps_each_chart_on_one_line():
    """And what a cell prints is never mistaken for a chart."""
    spec = {"mark": "bar", "title": "κ", "layer": [{"mark": {"type": "rule", "clip": True}}] * 30}
    shown = [
        nbformat.v4.new_output("display_data", {"application/vnd.vegalite.v5+json": spec, "text/plain": "κ"}),
        nbformat.v4.new_output("stream", text='"application/vnd.vegalite.v5+json": "chart 1"\nchart 1'),
        nbformat.v4.new_output("display_data", {"application/vnd.vegalite.v5+json": {"width": 9}}),
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1", outputs=shown)])
    text = page.text_of(notebook)
    assert nbformat.reads(text, as_version=4) == notebook
    assert len(text) < 0.6 * len(nbformat.writes(notebook))
    assert len([line for line in text.splitlines() if line.lstrip().startswith('"application/vnd')]) == 2
