"""The commands a stranger types: make's own, its refusals, and every recipe the book prints."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from geowall.paths import ROOT
from geowall.runs import readme

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


def test_the_environment_is_not_made_twice(tmp_path: Path):
    stamp = ROOT / ".venv" / ".installed"
    if not stamp.exists():  # the tests run in an environment somebody made by hand
        stamp = tmp_path
    before = stamp.stat().st_mtime_ns
    assert shell("make env").returncode == 0 or stamp is tmp_path
    assert stamp.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("python", "words"),
    [
        ("no-such-python", "there is no command 'no-such-python'"),
        ("./old", "is 3.8.1, and the book needs 3.11 to 3.13"),
        ("./bare", "has no venv module"),
    ],
)
def test_an_unsuitable_python_is_refused_in_three_lines(tmp_path: Path, python: str, words: str):
    (tmp_path / "tools").mkdir()
    shutil.copy(ROOT / "tools" / "environment.sh", tmp_path / "tools")
    shutil.copy(ROOT / "requirements.lock", tmp_path)
    stand_ins = {
        "old": 'case "$2" in *version_info*) exit 1;; *platform*) echo 3.8.1;; esac',
        "bare": 'case "$2" in *ensurepip*) exit 1;; esac',
    }
    for name, body in stand_ins.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    done = shell("bash tools/environment.sh", cwd=tmp_path, PYTHON=python)
    assert done.returncode == 1 and words in done.stderr and not (tmp_path / ".venv").exists()
    assert [line.split(":")[0].strip() for line in done.stderr.splitlines()][1:] == ["why", "fix"]


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


def test_the_readme_shows_what_the_book_holds():
    text = readme.README.read_text()
    assert text == readme.refreshed(text), "the figure map is out of date: make publish"
    assert text.count("/tables/") >= 6
    assert readme.PICTURE.read_bytes() == readme.picture() and readme.PICTURE.stat().st_size < 300_000
    for link in re.findall(r"\]\(((?!http)[^)#]+)\)", text):
        assert (ROOT / link).exists(), f"README links to {link}"


def test_papermill_command_of_the_readme_works(tmp_path: Path):
    line = next(line for line in readme.README.read_text().splitlines() if ".venv/bin/papermill" in line)
    command = line.replace(".venv/bin/papermill", "papermill").replace(
        "out.ipynb", str(tmp_path / "out.ipynb")
    )
    done = shell(command)
    assert done.returncode == 0 and (tmp_path / "out.ipynb").exists(), done.stderr[-2000:]
