"""What a run depends on, as one short identifier.

A chapter depends on its notebook, on the files of the package that it imports, directly or not, and the C++
sources that these compile, on the libraries, and on its parameters. The data it reads are recorded by the run
itself, with their hashes, as a compiler records the headers it met; a finished run is reused when all of
these still hold.

>>> "src/geowall/paths.py" in imported_files("from geowall import paths")
True
"""

from __future__ import annotations

import ast
import functools
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import nbformat

from geowall.paths import ROOT
from geowall.runs import provenance
from geowall.runs.store import sha256

_SOURCE = Path(__file__).resolve().parents[2]  # src/


def imported_files(code: str) -> dict[str, str]:
    """Return the package files that ``code`` reaches by imports, relative to the root, with their hashes."""
    waiting, reached = set(_modules(code, "")), set()
    while waiting:
        path = waiting.pop()
        reached.add(path)
        waiting |= set(_imports_of(path, path.stat().st_mtime_ns)) - reached
    return {str(path.relative_to(_SOURCE.parent)): sha256(path) for path in sorted(reached)}


@functools.cache
def _imports_of(path: Path, modified: int) -> tuple[Path, ...]:
    if path.suffix != ".py":
        return ()
    package, code = ".".join(path.relative_to(_SOURCE).parent.parts), path.read_text(encoding="utf-8")
    return (*_modules(code, package), *_compiled(code, path.parent))


def _compiled(code: str, folder: Path) -> Iterable[Path]:
    """Yield the C++ sources beside a module that it names, as in ``compiled.library("neighbours.cpp")``."""
    literals = (node.value for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Constant))
    names = (text for text in literals if isinstance(text, str) and text.endswith(".cpp"))
    yield from (folder / name for name in names if (folder / name).is_file())


def _modules(code: str, package: str) -> Iterable[Path]:
    """Yield the files of the package that the import statements of ``code`` name."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            parents = parts[: len(parts) - node.level + 1] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            names = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            yield from _files(name)


def _files(module: str) -> Iterable[Path]:
    """Yield the file of a module of the package and of every package above it."""
    parts = module.split(".")
    if parts[0] != "geowall":
        return
    for depth in range(1, len(parts) + 1):
        path = _SOURCE.joinpath(*parts[:depth])
        for candidate in (path / "__init__.py", path.with_suffix(".py")):
            if candidate.is_file():
                yield candidate


def code_of(notebook: Path) -> str:
    """Return the code cells of a notebook, joined; magics have no place in a chapter."""
    cells = nbformat.read(notebook, as_version=4).cells
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "code")


def sources(notebook: Path) -> dict[str, str]:
    """Return the hashes of the notebook, prose included, and of the package files it uses."""
    return {f"notebooks/{notebook.name}": sha256(notebook), **imported_files(code_of(notebook))}


def digest(*contents: Any) -> str:
    """Return twelve hexadecimal digits that stand for JSON-like contents."""
    return hashlib.sha256(json.dumps(contents, sort_keys=True, default=str).encode()).hexdigest()[:12]


def run_id(notebook: Path, profile: str, parameters: dict[str, Any]) -> str:
    """Return the identifier of a run: equal for equal sources, libraries and parameters."""
    return f"{profile}-{digest(sources(notebook), provenance.versions(), parameters)}"


def inputs_hold(inputs: dict[str, str]) -> bool:
    """Tell whether every recorded input file still has its recorded hash; paths are relative to the root."""
    return all((ROOT / name).is_file() and sha256(ROOT / name) == value for name, value in inputs.items())
