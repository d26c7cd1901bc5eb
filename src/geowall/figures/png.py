"""Small pictures: a chart has few colours, so a palette image of it is a tenth of the size.

The picture is only the fallback of a chart (no JavaScript, GitHub's notebook view, paper), yet every executed
page carries one for each figure:

>>> from geowall.figures.png import encode, shrink
>>> import numpy as np
>>> white = np.full((64, 64, 3), 255, np.uint8)
>>> len(encode(white)) < 200
True
"""

from __future__ import annotations

import struct
import zlib

import numpy as np
from jaxtyping import UInt8

PIXEL_RATIO = 1.3  # picture over page: sharp enough on paper, and a page of two dozen pictures stays small
FREQUENT = 24  # colours chosen for being frequent, before those chosen for being far from these
COLOURS = 32  # no chart of the book shows a difference between 32 and 256

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_RGBA, _PALETTE, _SUB = 6, 3, 1


def shrink(png: bytes) -> bytes:
    """Re-encode an opaque RGBA picture with a palette of at most 32 colours.

    A picture stored in another way than `vl_convert` does (8-bit RGBA, every row filtered by "Sub") is
    returned as it came: larger, never wrong.
    """
    pixels = _decode(png)
    if pixels is None:
        return png
    small = encode(pixels)
    return small if len(small) < len(png) else png


def encode(pixels: UInt8[np.ndarray, "height width 3"]) -> bytes:
    """PNG of ``pixels`` with at most 32 colours; the same pixels always give the same bytes."""
    height, width, _ = pixels.shape
    palette, index = _quantise(pixels.reshape(-1, 3))
    rows = np.zeros((height, width + 1), np.uint8)  # first column: filter 0, none
    rows[:, 1:] = index.reshape(height, width)
    head = struct.pack(">IIBBBBB", width, height, 8, _PALETTE, 0, 0, 0)
    body = [
        (b"IHDR", head),
        (b"PLTE", palette.tobytes()),
        (b"IDAT", zlib.compress(rows.tobytes(), 9)),
        (b"IEND", b""),
    ]
    return _SIGNATURE + b"".join(_chunk(kind, data) for kind, data in body)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _quantise(colours: UInt8[np.ndarray, "pixel 3"]) -> tuple[np.ndarray, np.ndarray]:
    """A palette (at most 32 x 3) and each pixel's place in it.

    First the most frequent colours: those of paper, ink, lines and bands, however pale. Then, one at a time,
    the colour that is farthest from all of these, so that no shade is far from its nearest.
    """
    packed = colours.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    seen, place, often = np.unique(packed, return_inverse=True, return_counts=True)
    exact = np.stack([seen >> 16, seen >> 8 & 255, seen & 255], axis=1).astype(np.int64)
    chosen = list(np.argsort(-often, kind="stable")[:FREQUENT])
    apart = np.stack([((exact - exact[one]) ** 2).sum(1) for one in chosen], axis=1)
    while len(chosen) < min(COLOURS, len(seen)):
        chosen.append(apart.min(1).argmax())
        apart = np.column_stack([apart, ((exact - exact[chosen[-1]]) ** 2).sum(1)])
    return exact[chosen].astype(np.uint8), apart.argmin(1).astype(np.uint8)[place]


def _decode(png: bytes) -> np.ndarray | None:
    """Pixels (height x width x 3) of an 8-bit RGBA, Sub-filtered, not interlaced picture; else ``None``."""
    chunks = list(_chunks(png))
    width, height, depth, colour, _, _, interlace = struct.unpack(">IIBBBBB", chunks[0][1])
    if (depth, colour, interlace) != (8, _RGBA, 0):
        return None
    data = zlib.decompress(b"".join(body for kind, body in chunks if kind == b"IDAT"))
    rows = np.frombuffer(data, np.uint8).reshape(height, 1 + 4 * width)
    if not (rows[:, 0] == _SUB).all():
        return None
    pixels = np.cumsum(rows[:, 1:].reshape(height, width, 4), axis=1, dtype=np.uint8)
    return pixels[..., :3] if (pixels[..., 3] == 255).all() else None


def _chunks(png: bytes):
    at = len(_SIGNATURE)
    while at < len(png):
        (size,) = struct.unpack(">I", png[at : at + 4])
        yield png[at + 4 : at + 8], png[at + 8 : at + 8 + size]
        at += 12 + size
