"""Writing a store of activations: whole shards, in the background, each followed by a line with its hashes.

Rows come in reading order; the writer fills one shard's buffers while a thread stores the shard before, so
memory is two shards and no more however long the extraction is. Opening a folder again goes on with the
shards that are missing, truncated or altered (see :mod:`geowall.language.store` for an example).
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import zarr
from torch import Tensor

from geowall.language import shards
from geowall.language.sites import Site
from geowall.language.store import JOURNAL, MANIFEST, NORM, ORIGIN, SUM, Store
from geowall.paths import GeowallError

FORMAT = 2
BUFFER = 1 << 27  # bytes that the rows of a shard may take over all sites
CHUNK = 1 << 18  # bytes read at least when one row is wanted, and lost at most at the end of an array
MOST_ROWS = 4096  # of a shard
ZARR = "zarr.json"  # the description of an array or a group
LAYOUT = (FORMAT, BUFFER, CHUNK, MOST_ROWS)  # what decides, beside the contents, how a store is laid out
_STORED = {"float32": ("float32", torch.float32), "bfloat16": ("uint16", torch.bfloat16)}


class Writer:
    """Adds rows to the missing shards of a store. A context: leaving it waits for the last shard."""

    def __init__(
        self,
        folder: object,
        about: dict[str, Any],
        origin: dict[str, np.ndarray],
        shard_rows: int | None = None,
    ) -> None:
        """Open ``folder`` or make it.

        Args:
            folder: a local folder; it is made if need be.
            about: the manifest: at least ``widths`` (by site), ``rows`` and ``dtype`` (float32 or bfloat16).
            origin: arrays [row] that say where each row comes from, by name.
            shard_rows: rows of a shard; by default as many as 128 MB hold, 4,096 at most.

        Raises:
            GeowallError: the folder holds another extraction.
        """
        self.folder, self.rows = Path(folder), about["rows"]
        self.shard_rows = shard_rows or _shard_rows(about)
        self.sites = sorted(Site.parse(name) for name in about["widths"])
        entry = {**about, "format": FORMAT, "shard_rows": self.shard_rows, "origin": sorted(origin)}
        self.manifest: dict[str, Any] = json.loads(json.dumps(entry))
        if (self.folder / MANIFEST).is_file():
            self._refuse_another()
        else:
            self._create(origin)
        self.missing = set(Store.open(self.folder).damaged())
        for shard in self.missing:  # what is left of it would be read before it is written over
            for file in self._files(shard):
                (self.folder / file).unlink(missing_ok=True)
        self._thread, self._pending = ThreadPoolExecutor(1), None
        self._spare: list[dict[Site, Tensor]] = []
        self._open: tuple[int, dict[Site, Tensor]] | None = None
        self._filled = 0

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            if self._pending is not None:
                self._pending.result()
        finally:
            self._thread.shutdown()

    def needs(self, first: int, last: int) -> bool:
        """Whether any of the rows ``first`` to ``last - 1`` lies in a missing shard."""
        shards = range(first // self.shard_rows, -(-last // self.shard_rows))
        return last > first and any(shard in self.missing for shard in shards)

    def room(self, first: int, last: int) -> dict[Site, Tensor] | None:
        """Where the rows ``first`` to ``last - 1`` will lie, so that they can be put there at once.

        None where they are of several shards, or of a finished one. :meth:`add` takes them in either case.
        """
        shard, offset = divmod(first, self.shard_rows)
        if last - first > self.shard_rows - offset or shard not in self.missing:
            return None
        return {site: buffer[offset : offset + last - first] for site, buffer in self._of(shard).items()}

    def add(self, first: int, values: dict[Site, Any]) -> None:
        """Take rows ``first`` onwards of every site ([row, d] each); rows of finished shards are dropped.

        Rows of a missing shard must come in order and without gaps. Those put into :meth:`room` stay there.
        """
        values = {site: torch.as_tensor(value) for site, value in values.items()}
        last = first + len(next(iter(values.values())))
        while first < last:
            shard, offset = divmod(first, self.shard_rows)
            count = min(self.shard_rows - offset, last - first)
            if shard in self.missing:
                self._take(shard, offset, {site: value[:count] for site, value in values.items()})
            values = {site: value[count:] for site, value in values.items()}
            first += count

    def _take(self, shard: int, offset: int, values: dict[Site, Tensor]) -> None:
        buffers = self._of(shard)
        if offset != self._filled:
            raise ValueError(f"rows of shard {shard} came at {offset} where {self._filled} was next")
        for site, value in values.items():
            place = buffers[site][offset : offset + len(value)]
            if place.data_ptr() != value.data_ptr():
                place.copy_(value)
        self._filled += len(next(iter(values.values())))
        if self._filled == self._size(shard):
            self._send(shard, buffers)

    def _of(self, shard: int) -> dict[Site, Tensor]:
        """The buffers of the shard that is being filled."""
        if self._open is None or self._open[0] != shard:
            self._open, self._filled = (shard, self._spare.pop() if self._spare else self._buffers()), 0
        return self._open[1]

    def _send(self, shard: int, buffers: dict[Site, Tensor]) -> None:
        """Hand a full shard to the thread, after the one before is stored."""
        if self._pending is not None:
            self._spare.append(self._pending.result())
        self._pending: Future | None = self._thread.submit(self._write, shard, buffers)
        self._open = None
        self.missing.discard(shard)

    def _write(self, shard: int, buffers: dict[Site, Tensor]) -> dict[Site, Tensor]:
        size, norms, sums, files = self._size(shard), [], [], {}
        for site, file in zip(self.sites, self._files(shard), strict=False):
            x = buffers[site][:size]
            norms.append(torch.linalg.vector_norm(x, dim=1, dtype=torch.float32))
            sums.append(_sum(x))
            parts = shards.shard(_as_stored(x), self._chunk(x.shape[1]), self.shard_rows)
            files[file] = shards.write(self.folder / file, parts)
        beside = (torch.stack(norms, 1).numpy(), self.shard_rows), (torch.cat(sums)[None].numpy(), 1)
        for (values, rows), file in zip(beside, self._files(shard)[-2:], strict=True):
            files[file] = shards.write(self.folder / file, shards.padded(values, rows))
        _append(self.folder / JOURNAL, json.dumps({"shard": shard, "files": files}))
        return buffers

    def _chunk(self, d: int) -> int:
        """Rows of a chunk of a site of this width."""
        itemsize = np.dtype(_STORED[self.manifest["dtype"]][0]).itemsize
        return math.gcd(_power_of_two(CHUNK // (d * itemsize)), self.shard_rows)

    def _files(self, shard: int) -> list[str]:
        return [f"{name}/c/{shard}/0" for name in (*map(str, self.sites), NORM, SUM)]  # as Zarr names them

    def _size(self, shard: int) -> int:
        return min(self.shard_rows, self.rows - shard * self.shard_rows)

    def _buffers(self) -> dict[Site, Tensor]:
        rows, dtype = min(self.shard_rows, self.rows), _STORED[self.manifest["dtype"]][1]
        widths = self.manifest["widths"]
        return {site: torch.empty(rows, widths[str(site)], dtype=dtype) for site in self.sites}

    def _refuse_another(self) -> None:
        held = json.loads((self.folder / MANIFEST).read_text(encoding="utf-8"))
        names = held.keys() | self.manifest.keys()
        differ = sorted(name for name in names if held.get(name) != self.manifest.get(name))
        if differ:
            raise GeowallError(
                f"nothing was extracted into {self.folder}",
                f"another extraction lies there: it differs in {', '.join(differ)}",
                "give another folder, or remove that one",
            )

    def _create(self, origin: dict[str, np.ndarray]) -> None:
        """Lay out all arrays; the manifest comes last and atomically, so half a layout is no store."""
        self._clear()
        group = zarr.open_group(self.folder, mode="w", zarr_format=3)
        plain = {"compressors": None, "filters": None, "fill_value": 0}  # activations do not compress
        dtype, rows = _STORED[self.manifest["dtype"]][0], self.shard_rows
        holds = {"holds": self.manifest["dtype"]}
        first: dict[int, str] = {}  # site of each width: the others' descriptions are copies of its own
        for name, d in self.manifest["widths"].items():
            cut = {"chunks": (self._chunk(d), d), "shards": (rows, d)}
            if d not in first:
                group.create_array(name, shape=(self.rows, d), dtype=dtype, **cut, **plain, attributes=holds)
                first[d] = name
            self._describe(name, first[d])
        shape, chunks = (self.rows, len(self.sites)), (rows, len(self.sites))
        group.create_array(NORM, shape=shape, chunks=chunks, dtype="float32", **plain)
        total = sum(self.manifest["widths"].values())
        sums = {"shape": (-(-self.rows // rows), total), "chunks": (1, total), "dtype": "float64"}
        group.create_array(SUM, **sums, **plain)
        for name, values in origin.items():
            group.create_array(name, data=np.ascontiguousarray(values), chunks=(min(len(values), 1 << 16),))
        beside = self.folder / f".{MANIFEST}"
        beside.write_text(json.dumps(self.manifest, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        beside.replace(self.folder / MANIFEST)

    def _describe(self, name: str, like: str) -> None:
        """Give an array, and the group that it lies in, the description of another."""
        here, there = self.folder / name, self.folder / like
        here.mkdir(parents=True, exist_ok=True)
        for to, of in ((here, there), (here.parent, there.parent)):
            if not (to / ZARR).exists():
                (to / ZARR).write_bytes((of / ZARR).read_bytes())

    def _clear(self) -> None:
        """Remove half a layout; leave a folder of somebody's other files alone."""
        ours = {ZARR, JOURNAL, f".{MANIFEST}", NORM, SUM, *ORIGIN}
        held = list(self.folder.glob("*"))
        if others := [path.name for path in held if path.name not in ours and path.name[:6] != "layer_"]:
            raise GeowallError(
                f"nothing was extracted into {self.folder}",
                f"it is no store of activations: it holds {others[0]}",
                "give a folder that does not exist yet",
            )
        for half in held:
            shutil.rmtree(half) if half.is_dir() else half.unlink()


def _shard_rows(about: dict[str, Any]) -> int:
    itemsize = 2 if about["dtype"] == "bfloat16" else 4
    fitting = BUFFER // (itemsize * sum(about["widths"].values()))
    whole = 1 << (about["rows"] - 1).bit_length()  # a short store is one shard
    return min(max(512, _power_of_two(fitting)), MOST_ROWS, whole)


def _power_of_two(value: int) -> int:
    """Largest power of two that is at most ``value``, and at least 1."""
    return 1 << max(0, value.bit_length() - 1)


def _sum(x: Tensor) -> Tensor:
    """Sum over rows in float64: of blocks short enough for float32, which is five times as fast."""
    return torch.stack([block.sum(0, dtype=torch.float32) for block in x.split(64)]).sum(
        0, dtype=torch.float64
    )


def _as_stored(x: Tensor) -> np.ndarray:
    return x.view(torch.uint16).numpy() if x.dtype == torch.bfloat16 else x.numpy()


def _append(path: Path, line: str) -> None:
    """Add a line to a file and see it to the disk; a line that a kill cut short is closed first."""
    with path.open("ab+") as file:
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            line = line if file.read(1) == b"\n" else f"\n{line}"
        file.write(f"{line}\n".encode())
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def locked(path: Path, on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold an exclusive lock on a file; the system lets go of it when the holder dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
