"""Which tokens of an extraction become rows, decided from the ids alone, before the model runs.

Special tokens are found by their id, not by their position, and their number is part of the record. A sample
is drawn from the tokens that remain:

>>> ids = np.array([[2, 5, 6, 7], [2, 8, 2, 9]])
>>> rows = rows_of(ids, special=[2], keep_bos=False, sample=3, seed=0, n_special=3)
>>> rows.places.tolist(), rows.n_special, rows.between(1, 2)
([3, 5, 7], 3, (1, 3))
>>> rows.origin(ids, None)["token"].tolist()
[7, 8, 9]
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int, Int64

from geowall.paths import GeowallError


@dataclass(frozen=True)
class Rows:
    """Rows of an extraction: places in the flattened tokens, in reading order, and how they were chosen."""

    places: Int64[np.ndarray, " row"]
    context: int
    tokens: str  # SHA-256 of the ids
    special: tuple[int, ...]
    n_special: int
    keep_bos: bool
    sample: int | None
    seed: int

    def manifest(self) -> dict[str, Any]:
        """What the store's manifest says of the rows."""
        kept = ("tokens", "special", "n_special", "keep_bos", "sample", "seed")
        return {"rows": len(self.places)} | {name: getattr(self, name) for name in kept}

    def between(self, first: int, last: int) -> tuple[int, int]:
        """First row, and one past the last, of the sequences ``first`` to ``last - 1``."""
        ends = np.searchsorted(self.places, [first * self.context, last * self.context])
        return int(ends[0]), int(ends[1])

    def origin(self, ids: Int[np.ndarray, "sequence position"], documents: Any) -> dict[str, np.ndarray]:
        """Where each row comes from: token, sequence, position in it, and document if known."""
        sequence, position = np.divmod(self.places, self.context)
        found = {"token": ids.reshape(-1)[self.places], "sequence": sequence, "position": position}
        if documents is not None:
            found["document"] = np.asarray(documents).reshape(-1)[self.places]
        return {name: values.astype(np.int32) for name, values in found.items()}


def rows_of(
    ids: Int[np.ndarray, "sequence position"],
    special: list[int],
    keep_bos: bool,
    sample: int | None,
    seed: int,
    n_special: int | None = None,
) -> Rows:
    """Choose the rows of an extraction.

    Args:
        ids: token ids.
        special: ids that stand for no text.
        keep_bos: keep them all the same.
        sample: rows to draw without replacement; None keeps all.
        seed: of the sample.
        n_special: how many special tokens there must be, if that is known.

    Raises:
        GeowallError: another number of special tokens, or fewer tokens than ``sample`` asks for.
    """
    flat = ids.reshape(-1)
    at = np.isin(flat, special)
    count = int(at.sum())
    if n_special is not None and count != n_special:
        why = f"the ids {special} occur {count} times where {n_special} were expected"
        raise GeowallError(
            "nothing was extracted: special tokens are not where they belong", why, "pack again"
        )
    places = np.arange(flat.size) if keep_bos else np.flatnonzero(~at)
    if sample is not None:
        if not 0 < sample <= len(places):
            why = f"{sample} of {len(places)} tokens were asked for"
            raise GeowallError(
                "nothing was extracted: no such sample", why, "ask for fewer, or give more text"
            )
        chosen = np.random.default_rng(seed).choice(len(places), sample, replace=False)
        places = places[np.sort(chosen)]
    if not len(places):
        raise GeowallError("nothing was extracted", "every token is a special one", "give text")
    hashed = hashlib.sha256(np.ascontiguousarray(ids, dtype="<i8").tobytes())
    hashed.update(str(ids.shape).encode())
    how = (tuple(special), count, keep_bos, sample, seed)
    return Rows(places.astype(np.int64), ids.shape[1], hashed.hexdigest(), *how)
