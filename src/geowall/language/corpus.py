"""The text that activations come from: documents, parted by name so that no part has seen another.

A document's part follows from the hash of its name alone. The same file therefore lies in the same part on
every machine and in every version of the corpus, and what was measured on one part was never trained on.

>>> share("json/decoder.py") == share("json/decoder.py"), 0 <= share("json/decoder.py") < 1
(True, True)
>>> part_of("json/decoder.py"), part_of("argparse.py")
('language', 'sae')
"""

from __future__ import annotations

import hashlib
import os
import sys
import sysconfig
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path
from typing import Any

from geowall.paths import GeowallError

# Shares of the documents. A language model of the lab is trained on ``language`` and sees nothing else:
# ``held_out`` measures its loss, ``sae`` trains autoencoders, ``geometry`` and ``error`` are measured on.
PARTS = {"language": 0.60, "held_out": 0.06, "sae": 0.18, "geometry": 0.08, "error": 0.08}
# What of the standard library is no text of its own: tests, other people's packages, caches.
SKIPPED = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__", "ensurepip"}
CHARACTERS = 16_000_000  # read of a streamed data set, unless told otherwise


@dataclass(frozen=True)
class Document:
    """A text and the name that decides its part."""

    name: str
    text: str


@dataclass(frozen=True)
class Corpus:
    """Documents in order of their names, where they come from, and which version of it.

    ``part`` names the part of the corpus that these documents are, ``all`` before any split.
    """

    source: str
    version: str
    documents: tuple[Document, ...]
    part: str = "all"

    @cached_property
    def sha256(self) -> str:
        """Fingerprint of all names and texts."""
        digest = hashlib.sha256()
        for document in self.documents:
            for text in (document.name, document.text):
                encoded = text.encode("utf-8", "surrogatepass")
                digest.update(len(encoded).to_bytes(8, "big") + encoded)
        return digest.hexdigest()

    @property
    def characters(self) -> int:
        """Length of all texts together."""
        return sum(len(document.text) for document in self.documents)

    def split(self, part: str) -> Corpus:
        """The documents of one of the PARTS.

        Raises:
            GeowallError: if there is no such part, or no document in it.
        """
        if part not in PARTS:
            why, fix = f"{part!r} is not known", f"use {', '.join(PARTS)}"
            raise GeowallError("no such part of the corpus", why, fix)
        chosen = tuple(document for document in self.documents if part_of(document.name) == part)
        if not chosen:
            why = f"none of the {len(self.documents)} documents of {self.source} falls into it"
            raise GeowallError(f"the part {part!r} is empty", why, "give a corpus of more documents")
        return replace(self, documents=chosen, part=part)


def share(name: str) -> float:
    """Where a name falls between 0 and 1, evenly over names."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:7], "big") / 2.0**56


def part_of(name: str) -> str:
    """The part that a document of this name belongs to."""
    place, edge = share(name), 0.0
    for part, width in PARTS.items():
        edge += width
        if place < edge:
            return part
    return part  # the shares add up to 1 but for rounding


def load(source: str = "stdlib", characters: int = CHARACTERS) -> Corpus:
    """Read a corpus.

    Args:
        source: ``stdlib``, the source of this Python's standard library without its tests; a folder, whose
            text files are read; or ``hf:<dataset>``, the parquet files of a data set on the Hugging Face hub,
            streamed.
        characters: after how many a streamed data set ends.

    Raises:
        GeowallError: if there is no text to read.
    """
    if source == "stdlib":
        folder = Path(sysconfig.get_path("stdlib"))
        documents, version = _files(folder, "*.py"), f"Python {sys.version.split()[0]}"
    elif source.startswith("hf:"):
        documents, version = tuple(_streamed(source[3:], characters)), ""
    else:
        documents, version = _files(Path(source), "*"), ""
    if not documents:
        why = f"{source!r} holds no readable text"
        raise GeowallError("there is no corpus", why, "give stdlib, a folder of text files, or hf:<dataset>")
    return Corpus(source, version, documents)


def _files(folder: Path, pattern: str) -> tuple[Document, ...]:
    """Text files below a folder, named by their path from there, in order of their names."""
    found = []
    for place, below, names in os.walk(folder):
        below[:] = [name for name in below if name not in SKIPPED and not name.startswith((".", "config-"))]
        for path in (Path(place, name) for name in names if fnmatch(name, pattern)):
            text = _read(path)
            if text and text.strip():
                found.append(Document(path.relative_to(folder).as_posix(), text))
    return tuple(sorted(found, key=lambda document: document.name))


def _read(path: Path) -> str | None:
    """The text of a file, in the encoding a Python source declares, else UTF-8; None if it is no text."""
    try:
        if path.suffix == ".py":
            with tokenize.open(path) as file:
                return file.read()
        return path.read_text(encoding="utf-8")
    except (SyntaxError, UnicodeDecodeError):
        return None


def _streamed(dataset: str, characters: int) -> Iterator[Document]:
    """Rows of a data set on the hub until there are enough characters."""
    from huggingface_hub import HfFileSystem

    files = HfFileSystem()
    try:
        paths = sorted(files.glob(f"datasets/{dataset}/**/*.parquet"))
        yield from rows(files, paths, characters)
    except OSError as error:
        why = f"the hub gave no parquet files of {dataset!r} ({type(error).__name__})"
        fix = "check the name and the connection, or use --corpus stdlib"
        raise GeowallError("the data set was not read", why, fix) from None


def rows(files: Any, paths: list[str], characters: int) -> Iterator[Document]:
    """Texts of parquet files on an fsspec file system, row group by row group.

    The column ``text`` or ``content`` is read, else the first column of strings; a document is named by its
    file and row.
    """
    import pyarrow.parquet as pq

    left = characters
    for path in paths:
        with files.open(path, "rb") as file:
            table = pq.ParquetFile(file)
            names = table.schema_arrow.names
            strings = [name for name in names if str(table.schema_arrow.field(name).type).endswith("string")]
            column = next((name for name in ("text", "content", *strings) if name in names), None)
            batches = table.iter_batches(batch_size=256, columns=[column]) if column else ()
            texts = (text for batch in batches for text in batch.column(0).to_pylist())
            for row, text in enumerate(texts):
                if left <= 0:
                    return
                if text and text.strip():
                    left -= len(text)
                    yield Document(f"{path}#{row:08}", text)
