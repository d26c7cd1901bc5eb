"""A store of activations: Zarr version 3, one sharded array a site, readable from a disk or over a network.

::

    manifest.json          model, tokens, sites, sizes, precision, hashes: what the store holds
    shards.jsonl           a line for each finished shard: the SHA-256 of its files
    layer_3/res            [row, d]       the activations at a site; bfloat16 is kept as its 16 bits
    norm                   [row, site]    their norms, sites in the order they are computed
    sum                    [shard, all d] their sums, site after site: the mean is one addition away
    token, document, sequence, position   [row]   where each row comes from

Rows are tokens in reading order. Shards are written whole, and a line of ``shards.jsonl`` follows each, so
what a kill leaves behind is a store with shards missing, and :meth:`Store.damaged` names them:

>>> import tempfile, numpy as np
>>> from geowall.language.sites import Site
>>> from geowall.language.writer import Writer
>>> site, x = Site("res", 0), np.arange(12, dtype=np.float32).reshape(6, 2)
>>> folder, about = tempfile.mkdtemp(), {"widths": {str(site): 2}, "rows": 6, "dtype": "float32"}
>>> with Writer(folder, about, {}, shard_rows=4) as writer:
...     writer.add(0, {site: x})
>>> store = Store.open(folder)
>>> store.read(site, [5, 0]).tolist(), store.norms(site)[:2].tolist(), store.damaged()
([[10.0, 11.0], [0.0, 1.0]], [1.0, 3.605551242828369], [])
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Any

import fsspec
import numpy as np
import pandas as pd
import zarr
from jaxtyping import Float, Float32, Float64, Int64
from zarr.storage import FsspecStore, LocalStore

from geowall.language.sites import Site
from geowall.paths import GeowallError

MANIFEST, JOURNAL = "manifest.json", "shards.jsonl"
NORM, SUM = "norm", "sum"
ABSENT = ""  # the hash of no file
ORIGIN = ("token", "document", "sequence", "position")
WINDOW = 1 << 16  # rows that are shuffled together: a perfect shuffle of stores up to this size


class Store:
    """A store opened for reading. Use :meth:`open`."""

    def __init__(self, place: str, files: fsspec.AbstractFileSystem, root: str) -> None:
        self.place, self._files, self._root = place, files, root
        self.manifest: dict[str, Any] = json.loads(self._text(MANIFEST))
        self.sites = sorted(Site.parse(name) for name in self.manifest["widths"])
        self.rows: int = self.manifest["rows"]

    @classmethod
    def open(cls, place: object) -> Store:
        """Open a folder, or any address that fsspec reads: ``https://``, ``s3://``, ``memory://``.

        Raises:
            GeowallError: nothing is there, or it is no store.
        """
        files, root = fsspec.core.url_to_fs(str(place))
        try:
            return cls(str(place), files, root.rstrip("/"))
        except (OSError, KeyError, json.JSONDecodeError) as error:
            why = f"{MANIFEST} is not there, or not one of a store ({type(error).__name__})"
            fix = "extract them first (chapter 04), or mend the address"
            raise GeowallError(f"no activations were found at {place}", why, fix) from None

    def width(self, site: Site) -> int:
        """Number of dimensions of an activation at ``site``."""
        return self.manifest["widths"][self._known(site)]

    def read(self, site: Site, rows: slice | Sequence[int] | None = None) -> Float32[np.ndarray, "row d"]:
        """Activations of these rows (all by default), in the order asked for, as float32."""
        array = self._array(self._known(site))
        if rows is None or isinstance(rows, slice):
            return self._floats(array[slice(None) if rows is None else rows])
        wanted, back = np.unique(np.asarray(rows, dtype=np.int64), return_inverse=True)
        return self._floats(array.get_orthogonal_selection((wanted, slice(None))))[back]

    def batches(
        self, site: Site, n: int, seed: int, window: int = WINDOW
    ) -> Iterator[Float32[np.ndarray, "n d"]]:
        """One pass in random order, ``n`` rows at a time; fewer than ``n`` rows at the end are left out.

        Shards come in random order and the rows of ``window`` rows' worth of shards are shuffled together, so
        memory stays at a window however large the store is.
        """
        random, size = np.random.default_rng(seed), self.manifest["shard_rows"]
        shards = random.permutation(-(-self.rows // size))
        many, left = max(1, window // size), np.empty((0, self.width(site)), np.float32)
        for first in range(0, len(shards), many):
            parts = [self.read(site, slice(s * size, (s + 1) * size)) for s in shards[first : first + many]]
            pool = np.concatenate([left, *parts])
            pool = pool[random.permutation(len(pool))]
            whole = len(pool) // n * n
            yield from pool[:whole].reshape(-1, n, pool.shape[1])
            left = pool[whole:]

    def norms(self, site: Site) -> Float32[np.ndarray, " row"]:
        """Euclidean norm of each row, measured as it was written."""
        self._known(site)
        return self._array(NORM)[:, self.sites.index(site)]

    def mean(self, site: Site) -> Float64[np.ndarray, " d"]:
        """Mean activation, from the sums measured on the way."""
        width, before = self.width(site), self.sites[: self.sites.index(site)]
        first = sum(map(self.width, before))
        return self._array(SUM)[:, first : first + width].sum(0) / self.rows

    @functools.cached_property
    def index(self) -> pd.DataFrame:
        """Where each row comes from: ``token`` (id), ``document``, ``sequence``, ``position`` in it."""
        held = [name for name in ORIGIN if name in self.manifest["origin"]]
        return pd.DataFrame({name: self._array(name)[:] for name in held})

    @property
    def places(self) -> Int64[np.ndarray, " row"]:
        """Each row's place in ``tokens.reshape(-1)``, so ``labels.reshape(-1)[store.places]`` labels rows."""
        origin = self.index[["sequence", "position"]].to_numpy(np.int64)
        return origin @ np.array([self.manifest["context"], 1])

    @property
    def n_shards(self) -> int:
        """Number of shards of each array."""
        return -(-self.rows // self.manifest["shard_rows"])

    def damaged(self) -> list[int]:
        """Shards that are missing, truncated or altered, by the recorded hashes of their files."""
        records = journal(self._text(JOURNAL) if self._files.exists(f"{self._root}/{JOURNAL}") else "")
        return [shard for shard in range(self.n_shards) if not self._intact(records.get(shard, {}))]

    def _intact(self, files: dict[str, str]) -> bool:
        return bool(files) and all(self._digest(name) == known for name, known in files.items())

    def _digest(self, name: str) -> str:
        try:
            with self._files.open(f"{self._root}/{name}", "rb") as file:
                digest = hashlib.sha256()
                while block := file.read(1 << 20):
                    digest.update(block)
                return digest.hexdigest()
        except FileNotFoundError:
            return ABSENT

    def _known(self, site: Site) -> str:
        if str(site) not in self.manifest["widths"]:
            held = ", ".join(map(str, self.sites[:6])) + (", ..." if len(self.sites) > 6 else "")
            raise GeowallError(
                f"the store holds no {site}", f"it holds {held}", f"extract with {site} among the sites"
            )
        return str(site)

    @functools.cached_property
    def _group(self) -> zarr.Group:
        if "file" in np.atleast_1d(self._files.protocol):
            backing = LocalStore(self._root, read_only=True)
        else:
            backing = FsspecStore.from_url(self.place, read_only=True)
        return zarr.open_group(backing, mode="r", zarr_format=3)

    def _array(self, name: str) -> zarr.Array:
        return self._group[name]

    def _floats(self, x: np.ndarray) -> Float[np.ndarray, "row d"]:
        return floats(x) if self.manifest["dtype"] == "bfloat16" else x

    def _text(self, name: str) -> str:
        return self._files.cat_file(f"{self._root}/{name}").decode("utf-8")


def floats(bits: np.ndarray) -> Float32[np.ndarray, "*shape"]:
    """Exact float32 values of bfloat16 numbers given by their 16 bits (the upper half of a float32's)."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def journal(text: str) -> dict[int, dict[str, str]]:
    """Files and hashes of each finished shard; a line cut short by a kill counts for nothing."""
    records: dict[int, dict[str, str]] = {}
    for line in text.splitlines():
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            continue
        records[entry["shard"]] = entry["files"]
    return records
