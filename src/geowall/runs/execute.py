"""Execute a chapter in a folder of its own, or reuse the run that already has the same sources and inputs.

While a chapter runs, its files lie in a hidden folder; only a run whose every cell passed is moved, in one
step, to ``runs/<chapter>/<profile>-<id>/``. A run that failed leaves ``failed.ipynb`` and ``message.txt`` in
``runs/<chapter>/<profile>-<id>.failed/`` (:mod:`geowall.runs.failed`). Tables that were finished before a
kill are not computed again.
"""

from __future__ import annotations

import bisect
import itertools
import json
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import nbformat
import papermill
from jupyter_client.kernelspec import NoSuchKernel
from nbclient.exceptions import DeadKernelError
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine, papermill_engines
from papermill.exceptions import PapermillExecutionError
from traitlets.config import Config

from geowall.paths import ROOT, GeowallError
from geowall.runs import failed, fingerprint, parameters, provenance, steps, store
from geowall.runs.chapters import Chapter
from geowall.runs.page import html_of, normalised, text_of


class Watcher(Protocol):
    """Whoever wants to know where a run stands."""

    def cell(self, index: int, total: int) -> None:
        """Cell ``index`` of ``total`` begins."""

    def wait(self) -> None:
        """Another process is making this very run; this one waits for it."""


class Silent:
    """The watcher of a run that nobody watches."""

    def cell(self, index: int, total: int) -> None:
        """Say nothing."""

    def wait(self) -> None:
        """Say nothing."""


@dataclass(frozen=True)
class Result:
    """A finished run: where it lies, what it cost, and whether it was there already."""

    folder: Path
    seconds: float
    cached: bool


class _WatchedEngine(NBClientEngine):
    """Papermill's engine, which also reports each cell and gives the kernel its own environment."""

    @classmethod
    def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, **options: Any) -> Any:
        tell, starts = nb_man.cell_start, options["starts"]

        def cell_start(cell: Any, index: int) -> None:
            starts.append(time.monotonic())
            options["watch"].cell(index, len(nb_man.nb.cells))
            tell(cell, index)

        nb_man.cell_start = cell_start
        # Sockets in files, not on TCP ports: nobody else can listen, and no two kernels race for a port.
        with tempfile.TemporaryDirectory(prefix="geowall-") as sockets:
            config = Config({"KernelManager": {"transport": "ipc", "ip": f"{sockets}/kernel"}})
            client = PapermillNotebookClient(
                nb_man, kernel_name=kernel_name, timeout=None, startup_timeout=120, config=config
            )
            with options["log"].open("wb") as log:  # what the kernel says outside its cells, a crash say
                return client.execute(env=options["env"], stderr=log)


papermill_engines.register("geowall", _WatchedEngine)


def run(
    chapter: Chapter,
    profile: str,
    given: dict[str, Any],
    out: Path,
    *,
    force: bool = False,
    watch: Watcher | None = None,
) -> Result:
    """Execute ``chapter`` at ``profile`` with the checked values ``given`` (:meth:`Chapter.resolve`).

    Returns the finished run under ``out/<chapter>/``; raises :class:`~geowall.runs.failed.ChapterError` when
    a cell fails.
    """
    place = place_of(chapter, profile, given, out)
    watch = watch or Silent()
    # A second run with the same sources and parameters waits for the first and then finds its work done.
    with _guarded(place), store.locked(failed.lock_of(place), watch.wait):
        failed.bury(place)
        if not force and is_complete(place):
            return Result(place, _provenance(place)["seconds"], cached=True)
        chapter.ask("preflight", given)
        with _work_folder(place) as work, steps.folder_for(place, force) as kept:
            environment = _kernel_environment(profile, given == chapter.resolve(profile), work, kept)
            starts = _execute(chapter, given, environment, work, watch)
            seconds = _finish(chapter, work, starts)
            store.swap_folder(work, place)
    shutil.rmtree(failed.folder_of(place), ignore_errors=True)
    return Result(place, seconds, cached=False)


def place_of(chapter: Chapter, profile: str, given: dict[str, Any], out: Path) -> Path:
    """Return the folder of a run with these parameters and the sources as they are now, made or not."""
    declared = parameters.declared_in(chapter.notebook)
    values = {name: given.get(name, parameter.default) for name, parameter in declared.items()}
    return out / chapter.name / fingerprint.run_id(chapter.notebook, profile, values)


def finished(chosen: list[Chapter], profile: str, out: Path) -> dict[str, Path]:
    """Return the folders of the chapters whose run at a profile is finished and current, by name."""
    places = {chapter.name: place_of(chapter, profile, chapter.resolve(profile), out) for chapter in chosen}
    return {name: place for name, place in places.items() if is_complete(place)}


def is_complete(folder: Path) -> bool:
    """Tell whether a run folder is finished, untouched, and made from the inputs as they are now."""
    try:
        record = _provenance(folder)
    except (FileNotFoundError, json.JSONDecodeError):
        return False
    outputs = all(
        (folder / name).is_file() and store.sha256(folder / name) == h
        for name, h in record["outputs"].items()
    )
    return outputs and fingerprint.inputs_hold(record["inputs"])


def _provenance(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "provenance.json").read_text(encoding="utf-8"))


@contextmanager
def _work_folder(place: Path) -> Iterator[Path]:
    """Make a hidden folder for one execution; remove it unless it was moved to its place."""
    work = place.parent / f".{place.name}.{uuid.uuid4().hex[:8]}"
    work.mkdir(parents=True)
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


@contextmanager
def _guarded(place: Path) -> Iterator[None]:
    """Say that the disk is full in three lines."""
    try:
        yield
    except OSError as error:
        if store.is_disk_full(error):
            raise store.disk_full(place.parent) from error
        raise


def _execute(
    chapter: Chapter, given: dict[str, Any], environment: dict[str, str], work: Path, watch: Watcher
) -> list[float]:
    """Execute the notebook into ``work`` and return the time at which each cell began, then the end."""
    starts: list[float] = []
    page = work / f"{chapter.name}.ipynb"
    options = {
        "env": environment,
        "watch": watch,
        "starts": starts,
        "log": work / "kernel.log",
    }
    try:
        papermill.execute_notebook(
            chapter.notebook,
            page,
            given,
            engine_name="geowall",
            kernel_name="python3",
            progress_bar=False,
            **options,
        )
    except PapermillExecutionError as error:
        raise _failure(chapter, work, f"cell {error.cell_index + 1}", error.evalue, error.ename) from error
    except DeadKernelError as error:
        why = "the kernel died, most often because memory ran out"
        raise _failure(chapter, work, f"cell {len(starts)}", why, "DeadKernelError") from error
    except (RuntimeError, NoSuchKernel, OSError) as error:
        if starts or store.is_disk_full(error):
            raise
        raise _unstarted(chapter, work, error) from error
    return [*starts, time.monotonic()]


def _kernel_environment(profile: str, at_defaults: bool, work: Path, kept: Path) -> dict[str, str]:
    return os.environ | {
        "GEOWALL_ROOT": str(ROOT),
        "GEOWALL_PROFILE": profile,
        "GEOWALL_AT_DEFAULTS": str(int(at_defaults)),
        "GEOWALL_RUN_FOLDER": str(work),
        "GEOWALL_STEPS": str(kept),
        "JUPYTER_PREFER_ENV_PATH": "1",  # a kernel of the same name in the reader's home must not shadow ours
        "TQDM_DISABLE": "1",
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),  # chapters run side by side
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }


def _failure(chapter: Chapter, work: Path, where: str, why: str, kind: str) -> GeowallError:
    """Move the half-executed page to the ``.failed`` folder with its message; return the error to raise."""
    place = work.with_name(work.name[1:].rsplit(".", 1)[0])
    what, why, fix = f"chapter {chapter.name} stopped at {where}", why.strip(), ""
    if "\n  why: " in why:  # the notebook raised one of our own three-line errors
        what, why = why.split("\n  why: ", 1)
        why, fix = why.split("\n  fix: ", 1)
    elif store.is_disk_full(why):
        full = store.disk_full(place.parent)
        what, why, fix = full.what, full.why, full.fix
    else:
        why = f"{kind}: {why.splitlines()[0] if why else 'no message'}"
    return failed.leave(work, place, what, why, fix)


def _unstarted(chapter: Chapter, work: Path, error: Exception) -> GeowallError:
    """Say why no kernel answered: Jupyter's error, and the last line that the kernel itself wrote."""
    log = work / "kernel.log"
    said = log.read_text(encoding="utf-8", errors="replace").split("\n") if log.exists() else []
    last = next((line.strip() for line in reversed(said) if line.strip()), "")
    why = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}"
    what = f"chapter {chapter.name} stopped before its first cell: no Python kernel started"
    fix = "rm .venv/.installed && make env, then run the same command again"
    place = work.with_name(work.name[1:].rsplit(".", 1)[0])
    return failed.leave(work, place, what, f"{why}; it said: {last}" if last else why, fix)


def _cell_seconds(starts: list[float], reused: list[list[float]]) -> list[float]:
    """Seconds that each cell takes on its own: what its reused tables once took is in it.

    ``starts`` are the cells' and the end; the clock is the machine's, and so the same in the kernel.
    """
    cells = [end - begin for begin, end in itertools.pairwise(starts)]
    for moment, spent in reused:
        cells[max(0, bisect.bisect_right(starts, moment, hi=len(cells)) - 1)] += spent
    return [round(seconds, 3) for seconds in cells]


def _finish(chapter: Chapter, work: Path, starts: list[float]) -> float:
    """Normalise the page, write its HTML and its provenance; return the seconds the chapter took."""
    page = work / f"{chapter.name}.ipynb"
    session = json.loads((work / "session.json").read_text(encoding="utf-8"))
    notebook = normalised(nbformat.read(page, as_version=4))
    store.write_text(page, text_of(notebook))
    store.write_text(page.with_suffix(".html"), html_of(notebook))
    for spent in ("session.json", "kernel.log"):
        (work / spent).unlink()
    outputs = [path for path in sorted(work.rglob("*")) if path.is_file()]
    cells = _cell_seconds(starts, session.pop("reused"))
    seconds = round(sum(cells), 3)
    record = session | {
        "seconds": seconds,
        "cell_seconds": cells,
        "git": provenance.git_state(),
        "sources": fingerprint.sources(chapter.notebook),
        "outputs": {str(path.relative_to(work)): store.sha256(path) for path in outputs},
    }
    store.write_json(work / "provenance.json", record)
    return seconds
