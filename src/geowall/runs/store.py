"""Files that are either whole or absent: atomic writes, folder swaps, locks and hashes.

Every file of a run is written beside its place and renamed into it, and a folder replaces another in one
system call, so a reader, or a run that comes after a kill, never meets half of anything:

>>> import tempfile, pathlib
>>> path = pathlib.Path(tempfile.mkdtemp()) / "note.txt"
>>> write_text(path, "whole")
>>> path.read_text(), sha256(path)[:8]
('whole', '5d5766cf')
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import hashlib
import json
import os
import shutil
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geowall.paths import GeowallError, RefusedError

if TYPE_CHECKING:
    import pandas as pd

_ASIDE = ".aside"  # ends the name of a folder that stands aside while another takes its place


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_atomically(path: Path, write: Callable[[Path], Any]) -> None:
    """Let ``write`` make a file beside ``path``, then rename it there; on failure nothing is left behind."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}")
    try:
        write(beside)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    write_atomically(path, lambda beside: beside.write_text(text, encoding="utf-8"))


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically, keys in order, so that equal contents are equal bytes."""
    write_text(path, json.dumps(content, indent=1, sort_keys=True) + "\n")


def write_table(folder: Path, name: str, table: pd.DataFrame) -> None:
    """Write ``<name>.parquet`` and ``<name>.csv`` atomically."""
    write_atomically(folder / f"{name}.parquet", lambda beside: table.to_parquet(beside, index=False))
    write_atomically(folder / f"{name}.csv", lambda beside: table.to_csv(beside, index=False))


def swap_folder(new: Path, place: Path) -> None:
    """Put the folder ``new`` at ``place`` in one step; what stood there before is removed afterwards."""
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.exists():
        _exchange(new, place)
        shutil.rmtree(new, ignore_errors=True)
    else:
        new.rename(place)


def _exchange(a: Path, b: Path) -> None:
    """Exchange two folders atomically where the kernel can (Linux, macOS), else by three renames."""
    if _exchanged_by_kernel(a, b):
        return
    # A file system that cannot: until the end, the old folder stays whole under a name that says what it is.
    aside = b.with_name(f".{b.name}.{uuid.uuid4().hex[:8]}{_ASIDE}")
    b.rename(aside)
    try:
        a.rename(b)
    except OSError:
        aside.rename(b)
        raise
    aside.rename(a)


def _exchanged_by_kernel(a: Path, b: Path) -> bool:
    libc = ctypes.CDLL(None, use_errno=True)
    source, target = os.fsencode(a), os.fsencode(b)
    at_cwd, exchange = -100, 2  # AT_FDCWD; RENAME_EXCHANGE on Linux and RENAME_SWAP on macOS are both 2
    if hasattr(libc, "renameat2"):
        return libc.renameat2(at_cwd, source, at_cwd, target, exchange) == 0
    return sys.platform == "darwin" and libc.renamex_np(source, target, exchange) == 0


def restore(place: Path) -> None:
    """Put back the folder that a kill between the renames of an exchange left aside, if ``place`` is missing.

    The caller holds the lock under which ``place`` is written.
    """
    for aside in sorted(place.parent.glob(f".{place.name}.{'[0-9a-f]' * 8}{_ASIDE}")):
        if place.exists():  # killed after the second rename: the new folder is there
            shutil.rmtree(aside, ignore_errors=True)
        else:
            aside.rename(place)


def restore_all(folder: Path) -> None:
    """Do the same for everything in ``folder``."""
    for aside in sorted(folder.glob(f".*{_ASIDE}")):
        name = aside.name.removesuffix(_ASIDE).rsplit(".", 1)[0]
        restore(folder / name.removeprefix("."))


@contextmanager
def locked(path: Path, on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold an exclusive lock on a file; the system lets go of it when the holder dies, however it dies.

    ``on_wait`` is called once if another process holds it now.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def locked_now(path: Path) -> Iterator[bool]:
    """Hold the lock on an existing file if nobody does, without waiting; tell whether it is held."""
    with path.open("r") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def is_locked(path: Path) -> bool:
    """Tell whether a living process holds the lock on ``path``."""
    if not path.exists():
        return False
    with locked_now(path) as free:
        return not free


def is_disk_full(error: BaseException | str) -> bool:
    """Tell whether an error, or the text of one, says that the disk, or one's share of it, is full."""
    full = (errno.ENOSPC, errno.EDQUOT)
    said = any(os.strerror(number) in str(error) for number in full)
    return getattr(error, "errno", None) in full or said


def make_writable(folder: Path) -> None:
    """Make the folder that runs go to, or refuse it in three lines before anything runs."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        if is_disk_full(error):
            raise disk_full(folder) from error
        what = f"runs cannot be written to {folder}: nothing ran"
        raise RefusedError(what, error.strerror or str(error), "name another folder: --out DIR") from error


def disk_full(folder: Path) -> GeowallError:
    """Describe a full disk in three lines."""
    return GeowallError(
        "the disk filled up and the run stopped; nothing published has changed",
        f"no space is left where {folder} lies",
        "make room (`geowall clean` removes old runs), or write elsewhere with `--out DIR`, then run again",
    )
