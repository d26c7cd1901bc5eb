"""Results that outlive their process: a folder for each checkpoint, renamed into place when it is whole.

Whoever is killed, at any moment, loses the checkpoint at hand and no other; whoever comes later, here or on
another machine that sees the folder, finds what is done and leaves it alone.

>>> import tempfile
>>> ledger = Ledger(Path(tempfile.mkdtemp()))
>>> ledger.keep("a checkpoint", {"checkpoints": pd.DataFrame({"nmse": [0.1]})})
>>> ledger.has("a checkpoint"), ledger.has("another"), ledger.gather("checkpoints")["nmse"].tolist()
(True, False, [0.1])
"""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd


class Ledger:
    """The durable tables of a census."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)

    def place(self, key: str) -> Path:
        """The folder of a checkpoint's tables."""
        return self.folder / hashlib.sha256(key.encode()).hexdigest()[:20]

    def has(self, key: str) -> bool:
        """Whether a checkpoint is done."""
        return self.place(key).is_dir()

    def keep(self, key: str, tables: Mapping[str, pd.DataFrame]) -> None:
        """Write the tables of a checkpoint: all of them, or none. Who comes second changes nothing.

        Every call leaves a line in ``journal.txt``, by which a census can be followed and audited.
        """
        self._put(self.place(key), tables)
        shutil.rmtree(self._aside(key), ignore_errors=True)
        with (self.folder / "journal.txt").open("a", encoding="utf-8") as file:  # appended in one write
            file.write(f"{self.place(key).name} {os.getpid()} {key}\n")

    def note(self, key: str, tables: Mapping[str, pd.DataFrame]) -> None:
        """Say why a checkpoint is not done, which does not make it done: the next census tries again."""
        shutil.rmtree(self._aside(key), ignore_errors=True)
        self._put(self._aside(key), tables)

    def _aside(self, key: str) -> Path:
        return self.folder / f".not-done-{self.place(key).name}"

    def _put(self, place: Path, tables: Mapping[str, pd.DataFrame]) -> None:
        beside = self.folder / f".{os.getpid()}-{uuid.uuid4().hex[:12]}"
        beside.mkdir()
        try:
            for name, table in tables.items():
                table.to_parquet(beside / f"{name}.parquet", index=False)
            beside.rename(place)
        except OSError:
            if not place.is_dir():
                raise
        finally:
            shutil.rmtree(beside, ignore_errors=True)

    def gather(self, name: str, keys: Iterable[str] | None = None) -> pd.DataFrame:
        """One table of all checkpoints that are done, or of those of ``keys`` in order, done or noted."""
        folders = (
            sorted(f for f in self.folder.glob("[!.]*") if f.is_dir())
            if keys is None
            else [self.place(key) if self.has(key) else self._aside(key) for key in keys]
        )
        paths = [folder / f"{name}.parquet" for folder in folders]
        parts = [pd.read_parquet(path) for path in paths if path.exists()]
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
