"""The commands a stranger types: make's own, its refusals, and every recipe the book prints."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from geowall.paths import ROOT
from geowall.runs import chapters, readme
from geowall.runs.parameters import read_yaml, words

COMMANDS = {"help", "env", "book", "test", "run", "estimate", "publish", "site", "serve", "status", "bench"}
COMMANDS |= {"lint", "format", "clean"}


def shell(command: str, cwd: Path = ROOT, **extra: str) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-c", command],
        cwd=cwd,
        env=os.environ | {"PATH": path} | extra,
        capture_output=True,
        text=True,
        check=False,
    )


def test_make_alone_lists_every_command():
    shown = shell("make").stdout
    assert set(re.findall(r"^  make (\w+) ", shown, re.MULTILINE)) == COMMANDS
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony and set(phony[1].split()) == COMMANDS


def test_make_works_with_many_jobs_and_from_another_folder(tmp_path: Path):
    done = shell(f"make -j4 -C {shlex.quote(str(ROOT))} status estimate help", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "08_geometry_regression" in done.stdout and "make book" in done.stdout


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A folder with what makes the environment, and a Python that only says what it was asked for."""
    (tmp_path / "tools").mkdir()
    for name in ("Makefile", "pyproject.toml", "requirements.lock", "tools/environment.sh"):
        shutil.copy(ROOT / name, tmp_path / name)
    stand_in(tmp_path / "whole", 'case "$2" in venv) echo "$@" >asked; exit 7;; esac')
    return tmp_path


def stand_in(path: Path, body: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def test_the_environment_is_not_made_twice(bare: Path):
    stamp = bare / ".venv" / ".installed"
    stamp.parent.mkdir()
    stamp.touch()
    for command in ("make env PYTHON=./whole", "PYTHON=./whole bash tools/environment.sh"):
        assert shell(command, cwd=bare).returncode == 0 and not (bare / "asked").exists()
    os.utime(stamp, (1, 1))  # older than the lock
    assert shell("make env PYTHON=./whole", cwd=bare).returncode != 0 and (bare / "asked").exists()


def test_an_environment_that_a_kill_left_half_made_is_made_anew(bare: Path):
    stand_in(bare / ".venv" / "bin" / "python", 'case "$2" in pip) exit 1;; esac')
    assert shell("bash tools/environment.sh", cwd=bare, PYTHON="./whole").returncode == 7
    assert (bare / "asked").read_text() == "-m venv --clear .venv\n"


def test_nothing_is_installed_through_a_link(bare: Path):
    stand_in(bare / "elsewhere" / "bin" / "python", "echo $@ >asked")
    (bare / ".venv").symlink_to("elsewhere")
    done = shell("bash tools/environment.sh", cwd=bare, PYTHON="./whole")
    assert done.returncode == 1 and not (bare / "asked").exists()
    assert ".venv is a link to elsewhere" in done.stderr and len(done.stderr.splitlines()) == 3


@pytest.mark.parametrize(
    ("python", "words"),
    [
        ("no-such-python", "there is no command 'no-such-python'"),
        ("./old", "is 3.8.1, and the book needs 3.11 to 3.13"),
        ("./bare", "has no venv module"),
    ],
)
def test_an_unsuitable_python_is_refused_in_three_lines(bare: Path, python: str, words: str):
    stand_in(bare / "old", 'case "$2" in *version_info*) exit 1;; *platform*) echo 3.8.1;; esac')
    stand_in(bare / "bare", 'case "$2" in *ensurepip*) exit 1;; esac')
    done = shell("bash tools/environment.sh", cwd=bare, PYTHON=python)
    assert done.returncode == 1 and words in done.stderr and not (bare / ".venv").exists()
    assert [line.split(":")[0].strip() for line in done.stderr.splitlines()][1:] == ["why", "fix"]


def test_cleaning_installs_nothing(tmp_path: Path):
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "_build").mkdir()
    done = shell("make clean", cwd=tmp_path)
    assert done.returncode == 0 and [path.name for path in tmp_path.iterdir()] == ["Makefile"], done.stderr


@pytest.mark.parametrize(
    ("given", "profile"), [("", "full"), ("PROFILE=quick", "quick"), ("PROFILE=gemma", "gemma")]
)
def test_publishing_takes_the_profile_that_is_named(given: str, profile: str):
    assert f"publish 08 --profile {profile}\n" in shell(f"make -n publish CH=08 {given}").stdout


def test_the_last_built_book_is_served_on_this_machine(tmp_path: Path):
    place = {"cwd": tmp_path, "env": os.environ | {"GEOWALL_ROOT": str(tmp_path)}, "text": True}
    command = [sys.executable, "-m", "geowall", "serve", "--port", "0"]
    refused = subprocess.run(command, capture_output=True, check=False, **place)
    assert refused.returncode == 1 and "fix: make site" in refused.stderr
    (tmp_path / "_build" / "html").mkdir(parents=True)
    (tmp_path / "_build" / "html" / "index.html").write_text("a book")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, **place) as served:
        try:
            address = re.search(r"http://127\.0\.0\.1:\d+", served.stdout.readline())
            with urllib.request.urlopen(f"{address[0]}/index.html", timeout=20) as answer:
                assert answer.read() == b"a book"
        finally:
            served.terminate()


@pytest.mark.parametrize(
    ("given", "pairs"),
    [
        ("k=75 drop_first_layers=2", ["k=75", "drop_first_layers=2"]),
        ("betas=[0.1, 0.2]", ["betas=[0.1, 0.2]"]),
        ('measured=["a b", "c"] k=75', ['measured=["a b", "c"]', "k=75"]),
        ("measured=['a', 'b'] form='no_floor'", ["measured=['a', 'b']", "form=no_floor"]),
        ("text=it's form=no_floor_all", ["text=it's", "form=no_floor_all"]),
        ("a='b','c'", ["a='b','c'"]),
        ("", []),
    ],
)
def test_make_hands_over_parameters_as_they_were_given(bare: Path, given: str, pairs: list[str]):
    stand_in(bare / ".venv" / "bin" / "python", 'shift 2; for word; do echo "$word"; done')
    (bare / ".venv" / ".installed").touch()
    done = shell(f"make --no-print-directory run CH=08 P={shlex.quote(given)}", cwd=bare)
    told = done.stdout.splitlines()
    assert told == ["run", "08", "--profile", "quick", *(["--pairs", given] if given else [])], done.stderr
    assert words(given) == pairs


def test_parameters_of_make_reach_the_chapter():
    taken = "'measured=[a b, c, d] k=75' -p form=no_floor_all -p k=999"
    done = shell(f"python -m geowall run 08 --pairs {taken}")
    assert done.returncode == 2 and "parameter k = 999" in done.stderr  # the last of two, and all were read
    done = shell("python -m geowall run 08 --pairs 'betas=0.1, 0.2'")
    assert done.returncode == 2 and "'0.2'" in done.stderr and "quotes or brackets" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 3


def examples() -> list[tuple[str, str]]:
    """Every (chapter, `name=value ...`) that the Makefile, the README and the book print, however given."""
    pages = [ROOT / "Makefile", *ROOT.glob("*.md"), *(ROOT / "book").glob("*.md")]
    text = "\n".join(path.read_text().replace("\\\n", " ") for path in pages)
    found = re.findall(r'CH=(\w+) P="([^"]*)"', text)
    for chapter, options in re.findall(r"geowall run (\d\d)((?: +-p +[^\s`]+)+)", text):
        found.append((chapter, options.replace("-p", "")))
    for chapter, options in re.findall(r"papermill notebooks/(\w+)\.ipynb \S+((?: +-p +\S+ +\S+)+)", text):
        found.append((chapter, re.sub(r"-p +(\S+) +", r"\1=", options)))
    for lines, chapter in re.findall(r"printf '([^']*)'[^\n]*\n[^\n]*geowall run (\d\d) -f", text):
        found.append((chapter, lines.replace(": ", "=").replace("\\n", " ")))
    return sorted(set(found))


def test_the_examples_are_found_however_parameters_are_given():
    assert len(examples()) >= 6 and {chapter[:2] for chapter, _ in examples()} >= {"01", "07", "08"}
    assert any("repeats" in options for _, options in examples())  # from a file
    assert any(len(chapter) > 2 for chapter, _ in examples())  # to papermill


@pytest.mark.parametrize(("chapter", "options"), examples())
def test_every_example_has_parameters_that_its_chapter_takes(chapter: str, options: str):
    given = dict(option.split("=", 1) for option in words(options))
    assert given and set(given) <= set(chapters.find(chapter).resolve("quick", {}, given))


@pytest.mark.parametrize(
    "path", sorted((ROOT / "notebooks" / "params").glob("night_*.yaml")), ids=lambda p: p.stem
)
def test_a_night_goes_beyond_full_with_parameters_that_its_chapter_takes(path: Path):
    chapter, night = chapters.find(path.stem[-2:]), read_yaml(path)
    full = chapter.resolve("full")
    assert set(night) <= set(chapter.resolve("full", night))
    assert any(full.get(name) != value for name, value in night.items())


def recipes() -> list[str]:
    """Every block of the rerun page that is marked as a recipe."""
    text = (ROOT / "book" / "rerun.md").read_text()
    blocks = re.findall(r"```\{code-block\} bash\n((?::[^\n]*\n)*)\n?(.*?)```", text, flags=re.DOTALL)
    return [body.strip() for options, body in blocks if ":class: recipe" in options]


def test_the_rerun_page_has_recipes():
    assert len(recipes()) >= 6


@pytest.mark.parametrize("recipe", recipes(), ids=lambda recipe: str(recipe)[:50])
def test_every_recipe_of_the_book_works(recipe: str, tmp_path: Path):
    done = shell(recipe)
    assert done.returncode == 0, done.stderr[-2000:]


SMALLER = {  # what makes a recipe of the lab a matter of seconds
    "lab train": "--tokens 4000",
    "lab saes": "--layers 1 --jumprelu 0.5 --steps 20 --sequences 32",
    "census": "--tokens 2048",
}


@pytest.mark.slow
def test_the_recipes_of_the_lab_work_at_a_smaller_size(tmp_path: Path):
    text = (ROOT / "book" / "rerun.md").read_text()
    blocks = [b for b in re.findall(r"```bash\n(.*?)```", text, flags=re.DOTALL) if "geowall" in b]
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("python -m geowall")]
    assert [next(name for name in SMALLER if name in line) for line in lines] == [
        "lab train", "lab train", "lab saes", "census",
    ]  # fmt: skip
    corpus = tmp_path / "text"
    corpus.mkdir()
    for source in sorted(Path(os.__file__).parent.glob("*.py"))[:60]:
        shutil.copy(source, corpus)
    (tmp_path / "data").symlink_to(ROOT / "data")  # a book of its own: a training here may be under way
    for line in lines[1:]:  # the first differs from the second by its corpus alone
        small = next(extra for name, extra in SMALLER.items() if name in line)
        line = line.replace("some/folder/of/text", str(corpus))
        done = shell(f"{line} {small}", cwd=tmp_path, GEOWALL_ROOT=str(tmp_path))
        brief = (
            "lab train" in line and "not trained: its loss" in done.stderr
        )  # so few tokens teach it nothing
        assert done.returncode == 0 or brief, done.stderr[-2000:]
    assert (tmp_path / "runs/saes/mine.parquet").exists() and (tmp_path / "my-models" / "lab-small").exists()


def test_the_readme_shows_what_the_book_holds():
    text = readme.README.read_text()
    assert text == readme.refreshed(text), "the figure map is out of date: make publish"
    assert text.count("/tables/") >= 6
    assert readme.PICTURE.read_bytes() == readme.picture() and readme.PICTURE.stat().st_size < 300_000
    for link in re.findall(r"\]\(((?!http)[^)#]+)\)", text):
        assert (ROOT / link).exists(), f"README links to {link}"


def test_papermill_command_of_the_readme_is_a_recipe_of_the_book():
    line = next(line for line in readme.README.read_text().splitlines() if ".venv/bin/papermill" in line)
    command = line.split("#")[0].strip().removeprefix(".venv/bin/")
    assert command.replace(" out.ipynb ", " runs/out.ipynb ") in recipes()
