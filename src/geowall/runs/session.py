"""A run seen from inside its notebook: tables, figures, sentences and checks, each recorded as it is made.

A chapter opens with ``run = runs.start("08_geometry_regression", globals())`` and closes with
``run.finish()``. The same notebook works under the runner, under plain papermill and by hand in JupyterLab:
in the last two it checks its own parameters and makes its own folder.
"""

from __future__ import annotations

import ast
import difflib
import functools
import inspect
import json
import math
import os
import re
import shlex
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import altair as alt
import pandas as pd
from IPython.display import HTML, Markdown, display

from geowall.figures import renderer, theme
from geowall.paths import ROOT, GeowallError
from geowall.runs import fingerprint, parameters, provenance, store
from geowall.runs.wording import interval, number

CHECK_COLUMNS = ["claim", "value", "low", "high", "passed", "invariant"]


class ClaimError(GeowallError):
    """A claim or an invariant does not hold."""


def start(chapter: str, namespace: dict[str, Any]) -> Run:
    """Check the parameters in ``namespace`` (the notebook's ``globals()``) and open the run's folder.

    Raises :class:`~geowall.runs.parameters.ParameterError` for a value out of type or range and, under plain
    papermill, for a name that the chapter does not declare.
    """
    notebook = ROOT / "notebooks" / f"{chapter}.ipynb"
    declared = parameters.declared_in(notebook)
    parameters.refuse_unknown(_injected(namespace), declared, chapter)
    values = {name: parameter.check_typed(namespace[name]) for name, parameter in declared.items()}
    return Run(chapter, notebook, declared, values)


def _injected(namespace: dict[str, Any]) -> list[str]:
    """Return the names that papermill set: the cell it injects opens with the comment ``# Parameters``."""
    cells = [source for source in namespace.get("In", []) if source.startswith("# Parameters")]
    nodes = [node for cell in cells for node in ast.parse(cell).body if isinstance(node, ast.Assign)]
    return [target.id for node in nodes for target in node.targets]


def _weights(*values: Any) -> dict[str, str]:
    """Return the hashes of the lab's models that ``values`` name: a run depends on weights as on tables."""
    given = set(_texts(values))
    models = (folder for folder in (ROOT / "data" / "lab").glob("*") if folder.name in given)
    files = sorted(path for folder in models for path in folder.glob("*") if path.is_file())
    return {str(path.relative_to(ROOT)): _hashed(path, path.stat().st_mtime_ns) for path in files}


@functools.cache
def _hashed(path: Path, modified: int) -> str:
    return store.sha256(path)  # every table of a chapter asks for the same megabytes


def _texts(value: Any) -> Iterator[str]:
    """Yield every text in lists and mappings, however deep."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)


class Run:
    """One execution of one chapter."""

    def __init__(
        self, chapter: str, notebook: Path, declared: dict[str, parameters.Parameter], values: dict[str, Any]
    ) -> None:
        """Open the folder the runner made, or make one beside the runner's when there is no runner."""
        self._defaults = defaults = {name: parameter.default for name, parameter in declared.items()}
        self.chapter, self.parameters = chapter, values
        self.profile = os.environ.get("GEOWALL_PROFILE", "by-hand")
        self.at_defaults = os.environ.get("GEOWALL_AT_DEFAULTS", str(int(values == defaults))) == "1"
        self.id = fingerprint.run_id(notebook, self.profile, values)
        self.folder = Path(os.environ.get("GEOWALL_RUN_FOLDER") or ROOT / "runs" / chapter / self.id)
        self._steps = Path(os.environ.get("GEOWALL_STEPS") or ROOT / "runs" / chapter / ".steps")
        self._started, self._tables = time.monotonic(), {}
        self._weights = _weights(values)
        self._inputs = dict(self._weights)
        self._checks: list[dict[str, Any]] = []
        self._reused: list[tuple[float, float]] = []  # when a table was reused, and the seconds it once took
        display(Markdown(f"Run `{self.id}` on `{provenance.device()}`."))

    def read(self, path: str) -> pd.DataFrame:
        """Read a CSV or parquet file of the repository (``path`` is relative to its root) as an input."""
        full = ROOT / path
        if not full.is_file():
            what = f"chapter {self.chapter} stopped before reading {path}"
            raise GeowallError(what, f"there is no such file: {full}", self._fix_of_missing(path))
        self._inputs[path] = store.sha256(full)
        return pd.read_parquet(full) if full.suffix == ".parquet" else pd.read_csv(full)

    def _fix_of_missing(self, path: str) -> str:
        """Say how to get a file: from git, from the chapter that makes it, or by the right name of it."""
        if provenance.is_committed(path):
            return f"git checkout -- {shlex.quote(path)}"
        beside = (ROOT / path).parent
        near = difflib.get_close_matches(Path(path).name, [p.name for p in beside.glob("[!.]*")], 1)
        asked = next((name for name in self.parameters if self._is_own(name, path)), None)
        if published := None if near else re.match(r"book/chapters/(\d\d)_", path):
            return f"geowall publish {published[1]}"
        if asked:
            guess = f"{beside / near[0]} is there; " if near else ""
            return f"{guess}name a file that is there: geowall run {self.chapter[:2]} -p {asked}=..."
        return f"did you mean {near[0]}?" if near else f"put the file at {ROOT / path}, then run again"

    def _is_own(self, name: str, path: str) -> bool:
        """Tell whether a parameter's value, and not its default, names a file or the folder above it."""
        own = set(_texts(self.parameters[name])) - set(_texts(self._defaults.get(name)))
        return any(text and Path(path).is_relative_to(text) for text in own)

    def table(
        self, name: str, function: Callable[..., pd.DataFrame], *args: Any, **kwargs: Any
    ) -> pd.DataFrame:
        """Return ``function(*args, **kwargs)``, kept on disk as ``tables/<name>.parquet`` and ``.csv``.

        The result of the same call of the same code is reused, so a run that was killed goes on from its last
        table: the same libraries too, and the same weights where a parameter or an argument names a model of
        the lab. Arguments are literals, arrays or tables.
        """
        weights = self._weights | _weights(args, kwargs)
        self._inputs |= weights
        code = _sources_of(function), provenance.versions(), weights
        key = fingerprint.digest(name, *code, [_stamp(a) for a in args], _stamp(kwargs))
        step = self._steps / f"{name}-{key}.parquet"
        if not step.exists():
            began = time.monotonic()
            made = function(*args, **kwargs)
            cost = {"seconds": time.monotonic() - began}
            store.write_json(step.with_suffix(".json"), cost)
            store.write_atomically(step, lambda beside: made.to_parquet(beside, index=False))
        else:
            spent = json.loads(step.with_suffix(".json").read_text())["seconds"]
            self._reused.append((time.monotonic(), spent))
        table = pd.read_parquet(step)  # always what is on disk: a fresh and a reused table are the same table
        store.write_table(self.folder / "tables", name, table)
        self._tables[name] = {"rows": len(table), "columns": list(table.columns)}
        return table

    def figure(self, chart: alt.TopLevelMixin, *tables: str) -> None:
        """Show a chart and name the tables it was drawn from, which the page offers for download.

        At the chapter's defaults and at its profiles a chart must fit the column. A reader's own parameters
        may make its labels longer: then its panels are drawn narrower, and a line under it says so.
        """
        for name in tables:
            if name not in self._tables:
                known = ", ".join(self._tables) or "none"
                raise GeowallError(
                    f"the figure names a table {name!r}", f"this run has made: {known}", "name one of them"
                )
        data, metadata = renderer.bundle(chart, list(tables), strict=self.at_defaults)
        display(data, metadata=metadata, raw=True)
        if wide := data[renderer.MIME]["usermeta"].get("shrunk_from"):
            display(
                Markdown(
                    f"At these parameters this figure came out {wide} pixels wide. The column has "
                    f"{theme.MAX_WIDTH}, so its panels are drawn narrower than usual."
                )
            )

    def text(self, markdown: str) -> None:
        """Show a sentence whose numbers were computed."""
        display(Markdown(markdown))

    def expect(
        self,
        claim: str,
        value: float,
        low: float | None = None,
        high: float | None = None,
        *,
        invariant: bool = False,
    ) -> None:
        """Check ``low <= value <= high`` (None: no bound) and record it in the run's table of checks.

        An invariant must hold for any parameters. A claim must hold at the chapter's defaults and at its
        profiles; for a reader's own parameters it is reported only. Raises :class:`ClaimError`.
        """
        value = float(value)
        above = low is None or value >= low
        below = high is None or value <= high
        passed = above and below and not math.isnan(value)
        self._checks.append(
            dict(zip(CHECK_COLUMNS, (claim, value, low, high, passed, invariant), strict=True))
        )
        allowed = interval(low, high)
        if not passed and (invariant or self.at_defaults):
            raise ClaimError(
                f"chapter {self.chapter} stopped: {'an invariant' if invariant else 'a claim'} does not hold",
                f"{claim}: {value:.6g} where {allowed} was expected",
                "look at the table above it; a change of code or data moved this number",
            )
        display(Markdown(f"{'✓' if passed else '✗'} {claim}: **{number(value)}** (expected {allowed})"))

    def finish(self) -> None:
        """Write the table of checks and the record of the run, and show both, folded."""
        checks = pd.DataFrame(self._checks, columns=CHECK_COLUMNS)
        checks = checks.astype(
            {"value": float, "low": float, "high": float, "passed": bool, "invariant": bool}
        )
        store.write_table(self.folder / "tables", "checks", checks)
        self._tables["checks"] = {"rows": len(checks), "columns": CHECK_COLUMNS}
        shown = {
            "chapter": self.chapter,
            "run": self.id,
            "profile": self.profile,
            "parameters": self.parameters,
            "at_defaults": self.at_defaults,
            "seed": self.parameters.get("seed"),
            "device": provenance.device(),
            "dtype": provenance.dtype(self.parameters),
            "versions": provenance.versions(),
            "inputs": self._inputs,
        }
        record = shown | {
            "tables": self._tables,
            "seconds": round(time.monotonic() - self._started, 3),
            "reused": self._reused,
            "peak_memory_mb": provenance.peak_memory_mb(),
            "cores": provenance.cores(),
        }
        store.write_json(self.folder / "session.json", record)
        display(HTML(_folded("Provenance of this page", json.dumps(shown, indent=1))))


def _folded(summary: str, text: str) -> str:
    escaped = text.replace("&", "&amp;").replace("<", "&lt;")
    return f'<details class="provenance"><summary>{summary}</summary><pre>{escaped}</pre></details>'


def _sources_of(function: Callable[..., Any]) -> dict[str, str]:
    """Return the hashes of a function's own file and of every file of the package that it can reach."""
    module = inspect.getmodule(function)
    if module is None or getattr(module, "__file__", None) is None or "<" in function.__qualname__:
        raise GeowallError(
            f"run.table was given {function!r}",
            "it is not a named function of a module",
            "move it into a module",
        )
    own = Path(module.__file__)
    reached = fingerprint.imported_files(f"import {module.__name__}\n{own.read_text(encoding='utf-8')}")
    return {"function": f"{module.__name__}.{function.__qualname__}", own.name: store.sha256(own), **reached}


def _stamp(value: Any) -> Any:
    """Stand for an argument by something JSON can hold: tables and arrays by a hash of their contents."""
    if isinstance(value, pd.DataFrame):
        rows = pd.util.hash_pandas_object(value, index=True).to_numpy()
        return {"columns": list(value.columns), "rows": fingerprint.digest(rows.tobytes().hex())}
    if hasattr(value, "tobytes"):
        return {
            "shape": list(value.shape),
            "dtype": str(value.dtype),
            "bytes": fingerprint.digest(value.tobytes().hex()),
        }
    if isinstance(value, dict):
        return {str(key): _stamp(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_stamp(item) for item in value]
    if callable(value):
        raise GeowallError(
            "run.table was given a function as an argument", "its contents cannot be hashed", "pass its name"
        )
    return value
