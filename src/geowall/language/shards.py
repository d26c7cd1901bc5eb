"""The file of a shard, written directly: the very bytes that Zarr would write, hashed on the way.

Rows that are neither compressed nor cut across lie in a shard's file as they lie in memory. An index follows
(where each chunk begins, how long it is) and a checksum of it; chunks past the end of the array are left out
(Zarr specification, version 3, codec ``sharding_indexed``). Zarr reads these files and is the twin they are
tested against; to write them it would copy the rows three times and read every file again.

>>> rows = np.arange(6, dtype=np.float32).reshape(3, 2)
>>> parts = shard(rows, chunk=2, whole=8)  # three rows of eight, in chunks of two
>>> [len(part) for part in parts], np.frombuffer(parts[2][:64], "<u8").reshape(4, 2)[:, 1].tolist()[:2]
([24, 8, 68], [16, 16])
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable
from pathlib import Path

import google_crc32c  # Zarr's own
import numpy as np
from jaxtyping import Shaped

AT_ONCE = 1 << 20  # bytes hashed and then written while they are in the processor's cache
NONE = np.iinfo(np.uint64).max  # stands in the index for a chunk that is not there

Bytes = bytes | memoryview


def shard(rows: Shaped[np.ndarray, "row d"], chunk: int, whole: int) -> tuple[Bytes, Bytes, Bytes]:
    """Parts of the file of a shard of ``whole`` rows, of which these are there: rows, padding, index."""
    each, filled = chunk * rows[0].nbytes, -(-len(rows) // chunk)
    return (*padded(rows, filled * chunk), _index(each, filled, whole // chunk))


def padded(rows: Shaped[np.ndarray, "row d"], whole: int) -> tuple[Bytes, Bytes]:
    """Parts of the file of a chunk of ``whole`` rows, of which these are there."""
    return memoryview(rows).cast("B"), bytes((whole - len(rows)) * rows[0].nbytes)


@functools.lru_cache(maxsize=64)
def _index(each: int, filled: int, chunks: int) -> bytes:
    places = np.full((chunks, 2), NONE, "<u8")
    places[:filled, 0], places[:filled, 1] = np.arange(filled) * each, each
    held = places.tobytes()
    return held + google_crc32c.value(held).to_bytes(4, "little")


def write(path: Path, parts: Iterable[Bytes]) -> str:
    """Write a file, whole or not at all; return its SHA-256."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside, digest = path.with_name(f".{path.name}"), hashlib.sha256()
    with beside.open("wb") as file:
        for part in parts:
            for first in range(0, len(part), AT_ONCE):
                piece = part[first : first + AT_ONCE]
                digest.update(piece)
                file.write(piece)
    beside.replace(path)
    return digest.hexdigest()
