"""One job of a census: checkpoints of one layer, on tokens read once, the next file read meanwhile.

A job is a few words (where the tokens lie, which checkpoints, where results go), so any worker can take it;
what it has finished is durable the moment it is finished (:mod:`geowall.census.ledger`).
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch

from geowall.census import rows
from geowall.census.ledger import Ledger
from geowall.census.sample import Sample
from geowall.kernels.evaluate import Errors, Tokens, evaluate
from geowall.paths import GeowallError
from geowall.sae import inventory
from geowall.sae.gemma_scope import Checkpoint, open_checked
from geowall.sae.model import Sae


@dataclass(frozen=True)
class Settings:
    """How a checkpoint is measured; two settings do not share durable results.

    ``trim`` is the share of tokens cut from either end of the ranking by error, ``neighbours`` the widest
    dictionary whose decoder neighbours are looked up, ``keep_files`` whether downloads stay in the cache, or
    the layers whose do, ``device`` where they are measured (``auto``: a GPU where there is one).
    """

    trim: float = 0.05
    neighbours: int = 16_384
    keep_files: bool | tuple[int, ...] = True
    device: str = "auto"

    def keeps(self, layer: int) -> bool:
        """Whether downloads of a layer stay in the cache."""
        return self.keep_files if isinstance(self.keep_files, bool) else layer in self.keep_files

    def place(self) -> str:
        """The device of this machine that is meant."""
        auto = "cuda" if torch.cuda.is_available() else "cpu"
        return auto if self.device == "auto" else self.device


@dataclass(frozen=True)
class Job:
    """Checkpoints of one layer and site, measured on one sample into one folder."""

    sample: Sample
    checkpoints: tuple[Checkpoint, ...]
    folder: str
    settings: Settings

    @property
    def layer(self) -> int:
        """Their layer."""
        return self.checkpoints[0].layer

    @property
    def site(self) -> str:
        """Their site."""
        return self.checkpoints[0].site


def key_of(checkpoint: Checkpoint, sample: Sample, settings: Settings) -> str:
    """What a durable result stands for: the checkpoint as it lies there, the tokens, the measure."""
    file = Path(checkpoint.path).stat() if checkpoint.path and Path(checkpoint.path).exists() else None
    written = [file.st_size, file.st_mtime_ns] if file else []
    return json.dumps([checkpoint.key, written, sample.stamp, settings.trim, settings.neighbours])


def run(job: Job, on_row: Callable[[Checkpoint], None] = lambda checkpoint: None) -> int:
    """Measure what is not yet durable of a job; return how many checkpoints were evaluated here.

    A checkpoint that cannot be read is recorded with the reason in ``status``, and passed over; one that
    could not be fetched is noted with the reason, and fetched again by the next run.
    """
    ledger = Ledger(Path(job.folder))
    left = [c for c in job.checkpoints if not ledger.has(key_of(c, job.sample, job.settings))]
    if not left:
        return 0
    tokens = job.sample.tokens(job.layer, job.site)
    for checkpoint, opened in _ahead(left):
        key, began = key_of(checkpoint, job.sample, job.settings), time.perf_counter()
        put = ledger.keep
        try:
            sae, digest = opened.result()
            tables = measured(checkpoint, sae, tokens, job.sample, job.settings)
            tables["checkpoints"]["weights"] = digest[:12]
        except GeowallError as error:
            put = ledger.note if isinstance(error, inventory.NotFetchedError) else ledger.keep
            tables = {"checkpoints": pd.DataFrame([describe(checkpoint) | {"status": error.why}])}
        tables["checkpoints"]["seconds"] = time.perf_counter() - began
        put(key, tables)
        if not job.settings.keeps(job.layer):
            inventory.forget(checkpoint)
        on_row(checkpoint)
    return len(left)


def _ahead(checkpoints: list[Checkpoint]) -> Iterator[tuple[Checkpoint, Future]]:
    """Each checkpoint with its file read, or being read; the next one is read meanwhile."""
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(_open, checkpoints[0])
        for i, checkpoint in enumerate(checkpoints):
            opened, following = waiting, checkpoints[i + 1 : i + 2]
            opened.exception()  # wait: two files at once are all the memory there is for them
            waiting = pool.submit(_open, following[0]) if following else waiting
            yield checkpoint, opened


def _open(checkpoint: Checkpoint) -> tuple[Sae, str]:
    return open_checked(inventory.fetch(checkpoint))


def describe(checkpoint: Checkpoint) -> dict[str, object]:
    """The columns that say which checkpoint a row is about."""
    about = checkpoint.about
    return {
        "model": checkpoint.model,
        "layer": checkpoint.layer,
        "site": checkpoint.site,
        "architecture": str(about.get("architecture", "jumprelu")),
        "schedule": str(about.get("schedule", "")),
        "d_sae": checkpoint.d_sae,
        "nominal_l0": checkpoint.nominal_l0,
        "seed": int(about.get("seed", 0)),
        "train_tokens": float(about.get("train_tokens", "nan")),
        "penalty": float(about.get("penalty", "nan")),
        "name": checkpoint.name,
        "status": "measured",
    }


def measured(
    checkpoint: Checkpoint, sae: Sae, tokens: Tokens, sample: Sample, settings: Settings
) -> dict[str, pd.DataFrame]:
    """All tables of one checkpoint: ``checkpoints`` (a row), ``latents``, ``quantiles``, ``labels``."""
    if sae.d_model != tokens.x.shape[1]:
        why = f"it is for {sae.d_model} dimensions and the tokens have {tokens.x.shape[1]}"
        raise GeowallError(
            f"{checkpoint.name} was not measured", why, "give the activations it was trained on"
        )
    device = settings.place()
    moved = tokens if device == "cpu" else Tokens(tokens.x.to(device))
    errors = Errors(*(value.cpu() for value in evaluate(sae.to(device), moved)))
    row = describe(checkpoint) | rows.summary(errors, tokens, sample.documents, settings.trim)
    own = {
        name: row[name] for name in ("model", "layer", "site", "architecture", "schedule", "d_sae", "seed")
    }
    own["nominal_l0"], own["name"] = row["nominal_l0"], row["name"]
    return {
        "checkpoints": pd.DataFrame([row]),
        "latents": _led(rows.latents(sae, errors, settings.neighbours), own),
        "quantiles": _led(rows.quantiles(errors, tokens), own),
        "labels": _led(rows.by_label(errors, tokens, sample.known, settings.trim), own),
    }


def _led(table: pd.DataFrame, own: dict[str, object]) -> pd.DataFrame:
    for place, (name, value) in enumerate(own.items()):
        table.insert(place, name, value)
    return table


def fingerprint(jobs: list[Job]) -> str:
    """Twelve digits for a list of jobs: what the tasks of a scheduler are named by."""
    text = json.dumps([key_of(c, job.sample, job.settings) for job in jobs for c in job.checkpoints])
    return hashlib.sha256(text.encode()).hexdigest()[:12]
