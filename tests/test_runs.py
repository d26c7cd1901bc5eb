"""The runner, from outside: what a reader types, what it leaves on disk, and what happens when it stops."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import nbformat
import pandas as pd
import pytest

from conftest import CELLS, Book, write_notebook


def tree(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def wait_for(what, seconds: float = 60.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = what()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError("waited in vain")


def asleep(book: Book) -> bool:
    """Tell whether the chapter is in its sleeping cell: the sixth, for the profile injects one."""
    try:
        pages = [nbformat.read(path, as_version=4) for path in book.runs.glob(".*/01_tiny.ipynb")]
    except nbformat.reader.NotJSONError:  # it is being written just now
        return False
    return any(page.cells[5].metadata.get("papermill", {}).get("status") == "running" for page in pages)


def test_a_run_leaves_page_tables_and_provenance(book: Book):
    done = book.run("run", "01")
    assert done.returncode == 0, done.stderr
    (folder,) = book.finished()
    names = {
        "01_tiny.ipynb",
        "01_tiny.html",
        "provenance.json",
        "tables/squares.parquet",
        "tables/squares.csv",
    }
    assert names | {"tables/checks.parquet", "tables/checks.csv"} == set(tree(folder))
    assert pd.read_csv(folder / "tables/squares.csv").y.tolist() == [0, 1, 4]
    record = json.loads((folder / "provenance.json").read_text())
    assert record["parameters"]["n"] == 3 and record["profile"] == "quick" and record["at_defaults"]
    assert record["seconds"] > 0 and record["peak_memory_mb"] > 10 and record["versions"]["numpy"]
    assert (
        "notebooks/01_tiny.ipynb" in record["sources"] and "src/geowall/runs/session.py" in record["sources"]
    )
    assert set(record) >= {"git", "device", "dtype", "seed", "inputs", "outputs", "cell_seconds"}
    html = (folder / "01_tiny.html").read_text()
    assert "How do squares grow?" in html and "data:image/png" in html
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=\"https?:", html), "the page fetches something"


def test_an_unchanged_chapter_is_not_executed_again_and_a_changed_one_is(book: Book):
    assert book.run("run", "01").returncode == 0
    (folder,) = book.finished()
    before = tree(folder)
    again = book.run("run", "01")
    assert "0 cells executed" in again.stderr and tree(folder) == before and book.times_computed() == 1
    (folder / "tables" / "squares.csv").write_text("x,y\n0,0\n")  # a damaged table is noticed and made again
    assert (
        "0 cells executed" not in book.run("run", "01").stderr
        and tree(folder)["tables/squares.csv"] == before["tables/squares.csv"]
    )
    write_notebook(book.root / "notebooks" / "01_tiny.ipynb", [*CELLS[:-1], 'print("more")', CELLS[-1]])
    assert "done in" in book.run("run", "01").stderr and len(book.finished()) == 2


def test_a_page_is_the_same_bytes_when_executed_again(book: Book):
    book.run("run", "01")
    (folder,) = book.finished()
    before = tree(folder)
    assert book.run("run", "01", "--force").returncode == 0
    after = tree(folder)
    before.pop("provenance.json"), after.pop("provenance.json")
    assert after == before and book.times_computed() == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "01", "-p", "wiat=3"], ["unknown parameter 'wiat'", "did you mean wait?", "n, rate, mode"]),
        (["run", "01", "-p", "n=many"], ["a text where a whole number belongs", "n: int in [1, 10]"]),
        (["run", "01", "-p", "n=2.5"], ["a number where a whole number belongs"]),
        (["run", "01", "-p", "n=11"], ["at most 10"]),
        (["run", "01", "-p", "rate=nan"], ["a text where a number belongs"]),
        (["run", "01", "-p", "rate=1e999"], ["must be finite"]),
        (["run", "01", "-p", "mode=upp"], ["none of the choices; did you mean up?"]),
        (["run", "01", "-p", "n"], ["no `=`"]),
        (["run", "01", "--profile", "quik"], ["no profile 'quik'", "--profile quick"]),
        (["run", "01", "-f", "absent.yaml"], ["no such file"]),
        (["run", "01", "-f", "."], ["Is a directory"]),
        (["run", "01", "-f", "number.yaml"], ["the name 1 is a whole number, not a text"]),
        (["run", "01", "--out", "number.yaml"], ["File exists", "--out DIR"]),
    ],
)
def test_a_wrong_parameter_is_refused_before_anything_runs(
    book: Book, arguments: list[str], words: list[str]
):
    (book.root / "number.yaml").write_text("1: 2\n")
    done = book.run(*arguments, cwd=book.root)
    assert done.returncode == 2 and not book.runs.exists()
    for word in words:
        assert word in done.stderr
    assert len(done.stderr.strip().splitlines()) == 3 and "Traceback" not in done.stderr


def test_yaml_text_where_a_number_belongs_is_refused(book: Book, tmp_path: Path):
    values = tmp_path / "values.yaml"
    values.write_text("rate: 1e-3\n")
    done = book.run("run", "01", "-f", values)
    assert done.returncode == 2 and "write 1.0e-3" in done.stderr
    values.write_text("rate: 1.0e-3\nn: 3\n")
    assert book.run("run", "01", "-f", values).returncode == 0
    (folder,) = book.finished()
    assert json.loads((folder / "provenance.json").read_text())["parameters"]["rate"] == 0.001


def test_an_unknown_chapter_names_the_nearest(book: Book):
    done = book.run("run", "01_tinny")
    assert done.returncode == 2 and "01_tiny" in done.stderr and len(done.stderr.strip().splitlines()) == 3


def test_a_failing_cell_leaves_the_published_page_and_says_why(book: Book):
    assert book.run("publish", "01").returncode == 0
    published = tree(book.root / "book" / "chapters")
    assert {"01_tiny/01_tiny.ipynb", "01_tiny/provenance.json", "01_tiny/tables/squares.csv"} < set(published)
    write_notebook(
        book.root / "notebooks" / "01_tiny.ipynb",
        [*CELLS[:4], 'assert False, "the roof fell in"', *CELLS[5:]],
    )
    done = book.run("publish", "01")
    assert done.returncode == 1 and "AssertionError: the roof fell in" in done.stderr
    assert len(done.stderr.strip().split("\n\n")[-1].splitlines()) == 3  # progress, then three lines
    assert tree(book.root / "book" / "chapters") == published
    (failed,) = book.runs.glob("*.failed")
    assert "the roof fell in" in (failed / "message.txt").read_text()
    cells = nbformat.read(failed / "failed.ipynb", as_version=4).cells
    assert any(output.output_type == "error" for cell in cells for output in cell.get("outputs", []))
    assert not list(book.runs.glob(".*/01_tiny.ipynb"))


def test_a_claim_that_fails_stops_the_defaults_and_is_reported_elsewhere(book: Book):
    done = book.run("run", "01", "-p", "n=4")
    assert done.returncode == 0
    (folder,) = book.finished()
    checks = pd.read_csv(folder / "tables" / "checks.csv").set_index("claim")
    assert not checks.passed["the sum of squares"] and checks.passed["rows"]
    broken = [cell.replace("5, 5", "6, 7") for cell in CELLS]
    write_notebook(book.root / "notebooks" / "01_tiny.ipynb", broken)
    done = book.run("run", "01")
    assert done.returncode == 1 and "the sum of squares: 5 where 6 to 7 was expected" in done.stderr


def test_kill_minus_nine_loses_nothing(book: Book):
    assert book.run("publish", "01").returncode == 0
    published = tree(book.root / "book")
    before = book.times_computed()
    # A change of the chapter, so that publishing must execute it again.
    slow = [cell.replace("wait: float = 0.0", "wait: float = 40.0") for cell in CELLS]
    write_notebook(book.root / "notebooks" / "01_tiny.ipynb", slow)
    running = book.start("publish", "01")
    wait_for(lambda: asleep(book))
    assert "running   1" in book.run("status").stdout
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert tree(book.root / "book") == published
    assert re.search(r"running   0\n  failed    full-\w+\.failed", book.run("status").stdout)
    (failed,) = book.runs.glob("*.failed")
    assert not [path for path in book.runs.glob(".full-*") if path.is_dir()]
    message = (failed / "message.txt").read_text().splitlines()
    assert message[0] == "chapter 01_tiny stopped at cell 6" and "killed" in message[1] and len(message) == 3
    assert nbformat.read(failed / "failed.ipynb", as_version=4).cells[4].outputs
    write_notebook(book.root / "notebooks" / "01_tiny.ipynb", [*CELLS[:-1], 'print("new")', CELLS[-1]])
    assert book.run("publish", "01").returncode == 0
    assert book.times_computed() == before, "the table finished before the kill was computed again"
    assert tree(book.root / "book") != published
    record = json.loads((book.root / "book" / "chapters" / "01_tiny" / "provenance.json").read_text())
    assert sum(record["cell_seconds"]) == pytest.approx(record["seconds"], abs=0.01)
    assert book.run("clean").returncode == 0 and not list(book.runs.glob(".*"))


MOMENTS = {  # where a publishing process is killed
    "while the page is copied": """
        left = [2]
        def deadly(source, target, **options):
            left[0] -= 1
            return shutil.copy2(source, target, **options) if left[0] >= 0 else os.kill(os.getpid(), 9)
        given = {"ignore_patterns": shutil.ignore_patterns, "rmtree": shutil.rmtree}
        copytree = functools.partial(shutil.copytree, copy_function=deadly)
        publish.shutil = types.SimpleNamespace(copytree=copytree, **given)
    """,
    "before the exchange": """
        store._exchange = lambda new, old: os.kill(os.getpid(), 9)
    """,
    "after the exchange": """
        exchange = store._exchange
        store._exchange = lambda new, old: (exchange(new, old), os.kill(os.getpid(), 9))
    """,
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_kill_while_a_page_goes_into_the_book_leaves_the_old_page_or_the_new(book: Book, moment: str):
    assert book.run("publish", "01").returncode == 0
    old = tree(book.root / "book" / "chapters" / "01_tiny")
    write_notebook(book.root / "notebooks" / "01_tiny.ipynb", [*CELLS[:-1], 'print("new")', CELLS[-1]])
    head = "import functools, os, shutil, types\nfrom geowall.runs import publish, store\n"
    tail = 'from geowall.__main__ import main\nmain(["publish", "01"])\n'
    script = head + textwrap.dedent(MOMENTS[moment]) + tail
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, env=book.environment(), capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    stands = tree(book.root / "book" / "chapters" / "01_tiny")
    assert (stands == old) == (moment != "after the exchange")
    assert {"01_tiny.ipynb", "provenance.json", "tables/squares.parquet"} <= set(stands)
    assert book.run("publish", "01").returncode == 0
    new = tree(book.root / "book" / "chapters" / "01_tiny")
    assert new != old and (moment != "after the exchange" or new == stands)
    assert book.run("clean", "--all").returncode == 0
    assert [path.name for path in (book.root / "book" / "chapters").iterdir()] == ["01_tiny"]


@pytest.mark.parametrize("command", ["clean --all", "status", "publish 01"])
def test_a_page_that_a_kill_left_aside_comes_back(book: Book, command: str):
    """On a file system that cannot exchange folders, killed with the old page away and no new one."""
    assert book.run("publish", "01").returncode == 0
    chapters = book.root / "book" / "chapters"
    old = tree(chapters)
    write_notebook(book.root / "notebooks" / "01_tiny.ipynb", [*CELLS[:-1], 'print("new")', CELLS[-1]])
    script = """
        import os, pathlib
        from geowall.__main__ import main
        from geowall.runs import store
        rename = pathlib.Path.rename
        def deadly(source, target):
            return os.kill(os.getpid(), 9) if target.name == "01_tiny" else rename(source, target)
        store._exchanged_by_kernel = lambda a, b: False
        pathlib.Path.rename = deadly
        main(["publish", "01"])
    """
    killed = [sys.executable, "-c", textwrap.dedent(script)]
    done = subprocess.run(killed, env=book.environment(), capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not (chapters / "01_tiny").exists() and len(list(chapters.iterdir())) == 2
    assert book.run(*command.split()).returncode == 0
    assert (tree(chapters / "01_tiny") == {k.removeprefix("01_tiny/"): v for k, v in old.items()}) == (
        command != "publish 01"
    )
    assert book.run("clean", "--all").returncode == 0
    assert [path.name for path in chapters.iterdir()] == ["01_tiny"]


def test_a_forced_run_leaves_the_tables_of_other_parameters(book: Book):
    assert book.run("run", "01", "-p", "n=4").returncode == 0
    (other,) = book.finished()
    shutil.rmtree(other)  # as if it had been killed after its table
    assert book.run("run", "01", "--force").returncode == 0
    assert book.run("run", "01", "-p", "n=4").returncode == 0
    assert book.times_computed() == 2 and len(book.finished()) == 2


def test_a_kernel_that_dies_is_said_in_three_lines(book: Book):
    (book.root / "tiny.py").write_text("import os\n\nos.kill(os.getpid(), 9)\n")
    done = book.run("run", "01")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "stopped at cell 4\n  why: DeadKernelError: the kernel died" in done.stderr
    assert "the kernel died" in next(book.runs.glob("*.failed/message.txt")).read_text()


def test_a_kernel_that_does_not_start_is_said_in_three_lines(book: Book):
    (book.root / "ipykernel_launcher.py").write_text('raise SystemExit("no room for a kernel")\n')
    done = book.run("run", "01")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "no Python kernel started" in done.stderr and "no room for a kernel" in done.stderr
    assert "no room for a kernel" in next(book.runs.glob("*.failed/message.txt")).read_text()


def test_two_runs_at_once_execute_once(book: Book):
    slow = [cell.replace("wait: float = 0.0", "wait: float = 4.0") for cell in CELLS]
    write_notebook(book.root / "notebooks" / "01_tiny.ipynb", slow)
    both = [book.start("run", "01") for _ in range(2)]
    texts = [process.communicate()[1] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sorted("0 cells executed" in text for text in texts) == [False, True]
    assert len(book.finished()) == 1 and book.times_computed() == 1


def test_a_full_disk_is_reported_as_such(book: Book, tmp_path: Path):
    """On a real file system of half a megabyte; where none can be mounted, in a name space of our own."""
    small = tmp_path / "small"
    small.mkdir()
    script = f'mount -t tmpfs -o size=160k none "{small}" && "$@"'
    command = ["unshare", "--mount", *([] if _is_root() else ["-Ur"]), "sh", "-c", script, "sh"]
    done = subprocess.run(
        [*command, *book.command("run", "01", "--out", small)],
        env=book.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1 and "the disk filled up" in done.stderr and "Traceback" not in done.stderr
    assert "--out DIR" in done.stderr


def test_a_disk_that_is_full_when_a_page_is_published_leaves_the_old_page(book: Book, tmp_path: Path):
    assert book.run("publish", "01").returncode == 0
    chapters, kept = book.root / "book" / "chapters", tmp_path / "kept"
    old = tree(chapters)
    write_notebook(book.root / "notebooks" / "01_tiny.ipynb", [*CELLS[:-1], 'print("new")', CELLS[-1]])
    script = (
        f'cp -r "{chapters}" "{kept}" && mount -t tmpfs -o size=160k none "{chapters}" '
        f'&& cp -r "{kept}/." "{chapters}" && head -c 300k /dev/zero > "{chapters}/filler" ; "$@" ; '
        f'code=$? ; rm "{chapters}/filler" && rm -r "{kept}" && cp -r "{chapters}" "{kept}" ; exit $code'
    )
    command = ["unshare", "--mount", *([] if _is_root() else ["-Ur"]), "sh", "-c", script, "sh"]
    done = subprocess.run(
        [*command, *book.command("publish", "01")],
        env=book.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1 and "the disk filled up" in done.stderr and "Traceback" not in done.stderr
    assert tree(kept) == old, "what the full disk held afterwards"
    assert len(list(book.finished())) == 2, "the run is whole; only its page found no room"
    assert book.run("publish", "01").returncode == 0 and tree(chapters) != old


def _is_root() -> bool:
    return subprocess.run(["id", "-u"], capture_output=True, text=True, check=True).stdout.strip() == "0"


def test_a_missing_input_says_which_and_what_to_do(book: Book):
    cells = [*CELLS[:3], 'run.read("data/published/geometry.csv")', *CELLS[3:]]
    write_notebook(book.root / "notebooks" / "01_tiny.ipynb", cells)
    done = book.run("run", "01")
    assert (
        done.returncode == 1
        and "data/published/geometry.csv" in done.stderr
        and "no such file" in done.stderr
    )


def test_a_changed_input_is_noticed(book: Book):
    (book.root / "data").mkdir()
    data = book.root / "data" / "numbers.csv"
    data.write_text("a\n1\n")
    write_notebook(
        book.root / "notebooks" / "01_tiny.ipynb", [*CELLS[:3], 'run.read("data/numbers.csv")', *CELLS[3:]]
    )
    assert "done in" in book.run("run", "01").stderr
    assert "0 cells executed" in book.run("run", "01").stderr
    data.write_text("a\n2\n")
    assert "done in" in book.run("run", "01").stderr
    (book.root / "data" / "lab" / "up").mkdir(parents=True)  # a parameter of the chapter names this model
    (book.root / "data" / "lab" / "up" / "model.safetensors").write_text("weights")
    assert book.run("run", "01", "--force").returncode == 0
    records = [json.loads((run / "provenance.json").read_text()) for run in book.finished()]
    assert any("data/lab/up/model.safetensors" in record["inputs"] for record in records)
    (book.root / "data" / "lab" / "up" / "model.safetensors").write_text("other weights")
    assert "done in" in book.run("run", "01").stderr


def test_plain_papermill_works_and_refuses_too(book: Book, tmp_path: Path):
    def papermill(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [
            sys.executable,
            "-m",
            "papermill",
            str(book.root / "notebooks" / "01_tiny.ipynb"),
            str(tmp_path / "o.ipynb"),
        ]
        return subprocess.run(
            [*command, *arguments], env=book.environment(), capture_output=True, text=True, check=False
        )

    log = ("-p", "log", str(book.log))
    done = papermill(*log, "-p", "n", "4")
    assert done.returncode == 0 and list(book.runs.glob("by-hand-*/tables/squares.csv")), done.stderr
    unknown = papermill(*log, "-p", "m", "4")
    assert unknown.returncode != 0 and "unknown parameter 'm'" in unknown.stderr
    assert "at most 10" in papermill(*log, "-p", "n", "40").stderr


def test_estimate_and_status_and_clean(book: Book):
    assert "no run to go by" in book.run("estimate").stdout
    assert book.run("run", "01").returncode == 0
    (folder,) = book.finished()
    seconds = json.loads((folder / "provenance.json").read_text())["seconds"]
    shown = book.run("estimate").stdout
    assert f"{round(seconds)} s" in shown and "will be reused" in shown
    book.run("run", "01", "-p", "n=4")
    assert "not published" in book.run("status").stdout
    kept, mine = (
        book.root / "runs" / "activations" / "tiny-0123456789ab",
        book.root / "runs" / "saes" / "mine",
    )
    kept.mkdir(parents=True), mine.mkdir(parents=True)
    by_hand, staged = (
        book.runs / "by-hand-0123456789ab",
        book.root / "book" / "chapters" / ".01_tiny.0123abcd",
    )
    by_hand.mkdir(), staged.mkdir()
    assert book.run("clean").returncode == 0 and kept.exists() and by_hand.exists() and staged.exists()
    assert book.run("clean", "--all").returncode == 0 and book.finished() == []
    assert not kept.exists() and mine.exists() and not by_hand.exists() and not staged.exists()


def test_it_works_from_another_folder_and_with_out(book: Book, tmp_path: Path):
    elsewhere = tmp_path / "else where"
    elsewhere.mkdir()
    done = book.run("run", "01", "--out", "my runs", cwd=elsewhere)
    assert done.returncode == 0, done.stderr
    assert list((elsewhere / "my runs" / "01_tiny").glob("quick-*/provenance.json"))
    shutil.rmtree(elsewhere)
