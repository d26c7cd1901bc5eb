"""Activations of a model with labels: what autoencoders of language and vision are trained and judged on.

>>> x, holds = torch.randn(500, 4), torch.rand(500, 2) > 0.5
>>> bank = Bank(x, holds, ["a", "b"], "noise")
>>> tuple(bank.chosen()[0].shape), tuple(bank.tested()[1].shape)
((350, 4), (150, 2))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from geowall.paths import GeowallError
from geowall.projections import concepts
from geowall.projections.autoencoders import Fit, fits
from geowall.projections.separability import scored_on
from geowall.sae import Rows

MOST = 4096  # tokens on which latents are chosen, and on which they are scored
SIMILAR = 500  # tokens whose codes are compared with each other
COLUMNS = ["architecture", "strength", "seed", "concept", "l0", "nmse", "f1", "f1_heldout", "f1_union"]
COLUMNS += ["latents_per_concept", "dead", "stable_rank", "f1_chosen", "f1_heldout_chosen", "f1_union_chosen"]
RENAMED = {"f1_top5": "f1", "f1_top5_chosen": "f1_chosen"}


@dataclass(frozen=True, eq=False)
class Bank:
    """Activations, the concepts that hold of each, and the concepts' names; the last 30 % are for scoring."""

    x: Float[Tensor, "token d_model"]
    holds: Bool[Tensor, "token concept"]
    names: list[str]
    title: str

    @cached_property
    def rows(self) -> Rows:
        """The source that trainers take."""
        return Rows(self.x, self.title, held_out=0.3)

    def _part(self, first: int, last: int) -> tuple[Tensor, Tensor]:
        step = max(1, (last - first) // MOST)
        rows = self.rows
        return (self.x[first:last:step] - rows.mean) / rows.scale, self.holds[first:last:step]

    def chosen(self) -> tuple[Tensor, Tensor]:
        """Tokens of the training part, as trainers see them, with their concepts."""
        return self._part(0, self.rows.count)

    def tested(self) -> tuple[Tensor, Tensor]:
        """Tokens that no training saw."""
        return self._part(self.rows.count, len(self.x))


def one_hot(labels: Int[Tensor, " token"], count: int) -> Bool[Tensor, "token concept"]:
    """A column for each class; of a negative label nothing holds."""
    return labels[:, None] == torch.arange(count)


def scores(
    bank: Bank,
    strengths: Mapping[str, Sequence[float]],
    seeds: Sequence[int],
    n_latents: int,
    top: int,
    **training: object,
) -> pd.DataFrame:
    """A row for each autoencoder and concept: ``COLUMNS``.

    ``f1`` is the mean of the ``top`` best latents, ``f1_union`` of at most ``top`` (see
    :func:`geowall.projections.separability.scored`); ``dead`` is the share of latents that fire on no scored
    token, ``stable_rank`` that of the similarities of the codes of 500 tokens.
    """
    made = fits(bank.rows, n_latents, strengths, seeds, training)
    return pd.concat([_scored(fit, bank, top) for fit in made], ignore_index=True)[COLUMNS]


def _scored(fit: Fit, bank: Bank, top: int) -> pd.DataFrame:
    chosen, test = bank.chosen(), bank.tested()
    table = scored_on(fit, chosen, test, bank.names, top).rename(columns=RENAMED)
    codes = fit.coder.encode(test[0])
    similar = concepts.similarity(codes[:: max(1, len(codes) // SIMILAR)])
    dead = float((~(codes > concepts.FIRES).any(0)).float().mean())
    return table.assign(dead=dead, stable_rank=concepts.stable_rank(similar))


def save(
    path: Path, x: Float[np.ndarray, "token d"], labels: Int[np.ndarray, " token"], names: list[str]
) -> None:
    """Write activations with a class each as a file that :func:`load` reads."""
    np.savez(path, x=x.astype(np.float32), labels=labels.astype(np.int64), names=np.array(names))


def load(path: Path) -> Bank:
    """Activations from an ``npz`` file: ``x`` [token, d], ``labels`` [token] (negative: none), ``names``.

    Raises:
        GeowallError: if the file is not there, or its arrays do not fit each other.
    """
    if not path.is_file():
        fix = "write it with geowall.projections.banks.save"
        raise GeowallError("no activations were read", f"there is no file {path}", fix)
    with np.load(path, allow_pickle=False) as file:
        parts = {name: file[name] for name in ("x", "labels", "names") if name in file}
    sound = len(parts) == 3 and parts["x"].ndim == 2 and len(parts["x"]) == len(parts["labels"])
    if not sound or parts["labels"].max() >= len(parts["names"]):
        why = f"{path.name} needs x [token, d], labels [token] and names, a name for each label"
        raise GeowallError("no activations were read", why, "write it with geowall.projections.banks.save")
    names = [str(name) for name in parts["names"]]
    holds = one_hot(torch.from_numpy(parts["labels"]), len(names))
    return Bank(torch.from_numpy(parts["x"]), holds, names, path.stem)


def spread(table: pd.DataFrame, best: pd.DataFrame) -> pd.DataFrame:
    """F1 of every class at each architecture's best strength, range of seeds.

    Columns: architecture, concept, f1, low, high.
    """
    here = table.merge(best[["architecture", "strength"]], on=["architecture", "strength"])
    groups = here.groupby(["architecture", "concept"], sort=False)["f1_heldout"]
    return groups.agg(f1="mean", low="min", high="max").reset_index()


def reached(table: pd.DataFrame, architecture: str, f1: float, score: str = "f1") -> float:
    """The smallest error at which an architecture reaches an F1 (means of seeds and concepts); NaN if
    never."""
    means = table[table["architecture"] == architecture].groupby("strength")[["nmse", score]].mean()
    above = means[means[score] >= f1]
    return float(above["nmse"].min()) if len(above) else float("nan")
