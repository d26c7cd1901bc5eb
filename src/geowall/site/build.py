"""Build the book: render into a folder of its own, then put it in place in one step.

Two builds at once never meet, a failed build leaves the old book as it was, and no build imports torch:

>>> from geowall.site import build
>>> import sys
>>> "torch" in sys.modules
False
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from geowall.paths import ROOT, GeowallError
from geowall.runs.store import is_disk_full, swap_folder
from geowall.site.stage import stage_runs


def build_published(root: Path, out: Path, strict: bool = False) -> Path:
    """Render the committed pages of the book at ``root`` into ``out``; return the path of its first page.

    ``strict`` makes every warning and every unresolved reference an error. Raises
    :class:`~geowall.paths.GeowallError` when a page of the table of contents is missing or the build fails.
    """
    for docname in _pages(root):
        if not any((root / f"{docname}{suffix}").is_file() for suffix in (".md", ".ipynb")):
            chapter = f"python -m geowall publish {docname.rsplit('/', 1)[1]}"
            raise GeowallError(
                f"the book cannot be built: {docname} is missing",
                "_toc.yml lists it and it is not in the repository",
                chapter if "/chapters/" in docname else f"git checkout -- {docname}.md",
            )
    return build_site(root, out, strict)


def build_runs(run_folders: dict[str, Path], out: Path, strict: bool = False, root: Path = ROOT) -> Path:
    """Render a book in which the given runs replace published chapters; return the path of its first page."""
    temporary = Path(tempfile.gettempdir())
    with _guarded(out, temporary), tempfile.TemporaryDirectory(prefix="geowall-stage-") as staged:
        return build_site(stage_runs(run_folders, Path(staged), root), out, strict)


def build_site(source: Path, out: Path, strict: bool = False) -> Path:
    """Render the book whose ``_config.yml`` and ``_toc.yml`` lie in ``source`` into the folder ``out``.

    The pages are made beside ``out`` and moved there in one step. Returns ``out / "index.html"``. Raises
    :class:`~geowall.paths.GeowallError` with the build's own warnings when it fails.
    """
    source, out = Path(source).resolve(), Path(out).resolve()
    with _guarded(out, out.parent):
        out.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        with _guarded(out, out.parent):
            done = _render(source, work, strict)
            if is_disk_full(done.stderr):  # whatever the code: Sphinx warns of a file that it could not copy
                raise _disk_full(out, _fullest(out.parent, Path(tempfile.gettempdir())))
            if done.returncode:
                raise GeowallError(
                    f"the book at {source} was not built: {out} is as it was",
                    _complaints(done.stderr, work) or f"Sphinx ended with code {done.returncode}",
                    "mend the pages named above, then run the same command again",
                )
            (work / "html" / ".buildinfo").unlink(missing_ok=True)
            (work / "html").chmod(0o755)
            swap_folder(work / "html", out)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return out / "index.html"


@contextmanager
def _guarded(out: Path, folder: Path) -> Iterator[None]:
    """Say that the disk of ``folder`` is full in three lines."""
    try:
        yield
    except OSError as error:  # one of many files, or shutil's list of all that were not copied
        if is_disk_full(error):
            raise _disk_full(out, folder) from error
        raise


def _disk_full(out: Path, folder: Path) -> GeowallError:
    clean, other = "`make clean` removes old runs and builds", "or name another folder: TMPDIR=DIR"
    return GeowallError(
        f"the disk filled up and the book was not built: {out} is as it was",
        f"no space is left where {folder} lies",
        f"make room ({clean if folder == out.parent else other}), then run the same command again",
    )


def _fullest(*folders: Path) -> Path:
    return min(folders, key=lambda folder: shutil.disk_usage(folder).free)


def _render(source: Path, work: Path, strict: bool) -> subprocess.CompletedProcess[str]:
    """Run Sphinx in a process of its own: it changes global state, and its extensions stay out of ours."""
    command = [sys.executable, "-m", "geowall.site.render", str(source), str(work)]
    paths = os.pathsep.join(path for path in sys.path if path)
    environment = os.environ | {"PYTHONPATH": paths, "PYTHONHASHSEED": "0"}
    return subprocess.run(
        [*command, *(["--strict"] if strict else [])],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )


def _complaints(text: str, work: Path) -> str:
    lines = [line.replace(str(work), "") for line in text.splitlines() if line.strip()]
    return "\n    ".join(lines[-40:])


def _pages(root: Path) -> list[str]:
    toc = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))
    return [toc["root"], *(entry["file"] for part in toc.get("parts", ()) for entry in part["chapters"])]
