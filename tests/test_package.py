"""What holds for the whole repository: floors, pins, papers, files that no machine should leave behind."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

import geowall
from geowall.paths import ROOT

SOURCE = ROOT / "src" / "geowall"
# From the ground up. A module may import from its own floor and from those below it.
FLOORS = [
    "paths",
    "kernels manifolds",
    "allocation sae geometry",
    "language",
    "laws projections census",
    "wall",
    "figures",
    "runs",
    "site",
    "__main__",
]
LEVEL = {name: level for level, names in enumerate(FLOORS) for name in names.split()}


def test_the_package_names_its_floors():
    named = geowall.__doc__.split(":", 1)[1].split("<")
    assert [re.findall(r"``(\w+)``", floor) for floor in named] == [floor.split() for floor in FLOORS]
    folders = {path.stem for path in SOURCE.iterdir() if path.stem not in ("__init__", "__pycache__")}
    assert folders == set(LEVEL)


def floor_of(module: str) -> int:
    return LEVEL[module.split(".")[1]]


def imports_of(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return found


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_an_import_never_goes_up(path: Path):
    own = ".".join(["geowall", *path.relative_to(SOURCE).with_suffix("").parts])
    for name in imports_of(path):
        parts = name.split(".")
        if parts[0] == "geowall" and len(parts) > 1 and parts[1] in LEVEL and own != "geowall.__init__":
            assert floor_of(name) <= floor_of(own), f"{own} imports {name}, which stands above it"


@pytest.mark.parametrize(
    ("library", "allowed"),
    [("nnsight", "language/"), ("triton", "kernels/"), ("papermill", "runs/"), ("jupyter_book", "site/")],
)
def test_each_outside_world_has_one_door(library: str, allowed: str):
    for path in SOURCE.rglob("*.py"):
        if any(name.split(".")[0] == library for name in imports_of(path)):
            assert str(path.relative_to(SOURCE)).startswith(allowed)


def pins() -> dict[str, str]:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    return dict(line.split(" ;")[0].strip().split("==") for line in lines if "==" in line and line[0] != "#")


def pinned() -> set[str]:
    return {line for line in (ROOT / "requirements.lock").read_text().splitlines() if line[0] != "#"}


def test_the_lock_is_exact_and_installable_by_anyone():
    lines = [
        line for line in (ROOT / "requirements.lock").read_text().splitlines() if not line.startswith("#")
    ]
    for line in lines:
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*( ; .+)?", line), line
    assert any(line.startswith("triton==") and "linux" in line for line in lines)
    card = (
        "jupyter-book",
        "jupyterlab",
        "torch",
        "nnsight",
        "numpy",
        "scipy",
        "pandas",
        "altair",
        "papermill",
    )
    assert set(card) <= set(pins())


def test_the_lock_satisfies_the_package():
    from importlib.metadata import version

    from packaging.requirements import Requirement

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    assert set(extras) == {"book", "peers", "cluster", "dev"}
    known = {name.lower().replace("_", "-"): value for name, value in pins().items()}
    for line in [*project["dependencies"], *extras["book"], *extras["cluster"], *extras["dev"]]:
        wanted = Requirement(line)
        assert wanted.specifier.contains(known[wanted.name.lower()]), line
    assert version("geowall") == project["version"]


@pytest.mark.filterwarnings("ignore:pkg_resources is deprecated")  # by an older pip itself
def test_conda_and_binder_name_no_version_the_lock_does_not(tmp_path: Path):
    from pip._internal.network.session import PipSession
    from pip._internal.req.req_file import parse_requirements

    packages = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    assert packages[:3] == ["python=3.11", "pip", "make"]
    (tmp_path / ".binder").mkdir()
    for name in ("requirements.lock", ".binder/requirements.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    # conda writes its list beside the file that holds it; both must be what pip itself can read
    (tmp_path / "conda.txt").write_text("".join(f"{line}\n" for line in packages[3]["pip"]))
    for file in (tmp_path / "conda.txt", tmp_path / ".binder" / "requirements.txt"):
        assert "==" not in file.read_text()
        read = [(line.requirement, line.is_editable) for line in parse_requirements(str(file), PipSession())]
        assert (".", True) in read and {text for text, editable in read if not editable} == pinned()


def test_workflows_and_papers_are_well_formed():
    for path in (ROOT / ".github" / "workflows").glob("*.yml"):
        workflow = yaml.safe_load(path.read_text())
        assert workflow["jobs"] and workflow["permissions"]["contents"] == "read"
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert citation["version"] == version and len(citation["references"]) == 3
    assert len((ROOT / "CONTRIBUTING.md").read_text().splitlines()) <= 45, "one screen"
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    known = pins()
    assert hooks[0]["rev"] == known["nbstripout"] and hooks[1]["rev"] == f"v{known['ruff']}"


def test_a_test_is_skipped_only_for_what_a_machine_lacks():
    lacks = r"importlib\.util\.find_spec\(\"(triton|sae_lens|skdim)\"\) is None|no Chromium on this machine"
    lacks += r"|needs a C\+\+ compiler"
    for path in (ROOT / "tests").glob("*.py"):
        for call in re.findall(
            r"(?:mark\.skip(?:if)?|pytest\.skip|importorskip|xfail)\(.*(?:\n.*)?", path.read_text()
        ):
            assert path == Path(__file__) or re.search(lacks, call), f"{path.name}: {call}"


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_no_secret_no_path_of_a_machine_and_no_pickle():
    forbidden = re.compile(
        r"hf_[A-Za-z0-9]{30,}|/home/[a-z]+/|/root/|allow_pickle\s*=\s*True|trust_remote_code\s*=\s*True"
    )
    for path in tracked():
        if path.suffix in {".parquet", ".png", ".safetensors"} or path == Path(__file__):
            continue
        found = forbidden.search(path.read_text(encoding="utf-8"))
        assert not found, f"{path.relative_to(ROOT)}: {found and found[0]}"


def test_the_book_keeps_to_its_size():
    assert sum(path.stat().st_size for path in tracked() if path.is_relative_to(ROOT / "book")) < 25_000_000
    for path in tracked():
        assert path.stat().st_size < 5_000_000, path
