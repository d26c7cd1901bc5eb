"""The journal of a sweep: rows as they come, and states from which a killed run goes on to the same bits.

>>> Journal(None, "a sweep").restore(0, [])
0
"""

from __future__ import annotations

import csv
import hashlib
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from geowall.paths import GeowallError

if TYPE_CHECKING:
    from geowall.sae.training import Trainee

SECONDS = 20.0  # between two checkpoints of a group
KEPT = ("state", "silent", "window", "total", "cut", "steps", "status")


class Journal:
    """Rows of a sweep in memory and, given a folder, in ``rows.csv``; a checkpoint file for each group."""

    def __init__(self, folder: Path | None, sweep: str) -> None:
        self.folder, self.rows = folder, []
        self.fingerprint = hashlib.sha256(sweep.encode()).hexdigest()
        self.saved = time.monotonic()
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "rows.csv").unlink(missing_ok=True)  # checkpoints hold the rows up to themselves

    def write(self, rows: Sequence[dict[str, object]]) -> None:
        """Append rows, and flush them so that a run can be followed."""
        self.rows.extend(rows)
        if self.folder is None or not rows:
            return
        with (self.folder / "rows.csv").open("a", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(rows[0]))
            if file.tell() == 0:
                writer.writeheader()
            writer.writerows(rows)

    def save(self, group: int, step: int, trainees: Sequence[Trainee], finished: bool) -> None:
        """Write the group's checkpoint, if it is finished or the last one is some time ago."""
        if self.folder is None or not (finished or time.monotonic() - self.saved > SECONDS):
            return
        self.saved = time.monotonic()
        indices = {t.index for t in trainees}
        content = {
            "fingerprint": self.fingerprint,
            "step": step,
            "rows": [row for row in self.rows if row["member"] in indices],
            "trainees": [{name: getattr(t, name) for name in KEPT} for t in trainees],
        }
        beside = self._path(group).with_suffix(f".{os.getpid()}")
        torch.save(content, beside)
        beside.replace(self._path(group))

    def restore(self, group: int, trainees: Sequence[Trainee]) -> int:
        """Put the group back to where its checkpoint left it; return the steps it has taken."""
        if self.folder is None or not self._path(group).exists():
            return 0
        content = torch.load(self._path(group), map_location="cpu", weights_only=True)
        if content["fingerprint"] != self.fingerprint:
            why = f"{self.folder} holds checkpoints of a sweep with other members, schedule or precision"
            raise GeowallError("the sweep was not resumed", why, "give another folder, or empty this one")
        for trainee, kept in zip(trainees, content["trainees"], strict=True):
            kept["state"] = kept["state"].to(trainee.state.device)
            for name, value in kept.items():
                setattr(trainee, name, value)
        self.write(content["rows"])
        return content["step"]

    def _path(self, group: int) -> Path:
        return self.folder / f"group-{group:03}.pt"
