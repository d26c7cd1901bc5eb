"""The autoencoders that chapter 03 compares, by architecture and strength, trained or fitted by one call.

JumpReLU comes twice: with the bandwidth of Hindupur et al. 2025, and a hundred times wider, since a threshold
trained through a narrow window takes long to move. ``strength`` is k for TopK and matching pursuit, the
penalty's weight for the others in the paper's units (tokens of mean squared norm d_model), the number of
centres for k-means, and the radius over the distance of neighbouring centres for radial basis functions.
Tokens here have a mean squared norm of 1; hence the powers of d_model:

>>> rule("relu", 0.1, d_model=4).l1, rule("jumprelu", 0.1, d_model=4).l0, rule("spade", 0.1, d_model=4).l1
(0.05, 0.025, 0.1)
"""

from __future__ import annotations

import functools
import hashlib
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from geowall.kernels.sae_step import Rule, views
from geowall.manifolds import Manifold
from geowall.paths import GeowallError
from geowall.projections import baselines
from geowall.sae import Member, Schedule, train
from geowall.sae.curves import CODE, SOURCES
from geowall.sae.schedule import derive
from geowall.sae.start import start

TRAINED = ("relu", "jumprelu", "jumprelu_wide", "topk", "spade", "matching_pursuit")
FITTED = ("kmeans", "rbf")
WITH_K = ("topk", "matching_pursuit")
BANDWIDTHS = {"jumprelu": 1e-3, "jumprelu_wide": 0.1}  # and first thresholds, in the paper's units


class Coder(Protocol):
    """Whatever turns tokens into codes and codes into tokens."""

    def encode(self, x: Float[Tensor, "token d_model"]) -> Float[Tensor, "token latent"]:
        """Codes, not negative."""

    def decode(self, codes: Float[Tensor, "token latent"]) -> Float[Tensor, "token d_model"]:
        """Reconstruction."""


@dataclass(frozen=True)
class Fit:
    """One autoencoder with what it was made by."""

    architecture: str
    strength: float
    seed: int
    coder: Coder


def rule(architecture: str, strength: float, d_model: int) -> Rule:
    """The engine's rule behind an architecture and a strength.

    Raises:
        GeowallError: for an architecture that is not trained, or a k that is not a whole number.
    """
    root = math.sqrt(d_model)
    if architecture not in TRAINED:
        raise GeowallError("no such autoencoder to train", f"{architecture!r}", f"use {', '.join(TRAINED)}")
    if architecture in WITH_K:
        if strength != int(strength) or strength < 1:
            raise GeowallError("no such autoencoder to train", f"k is {strength}", "give a whole k")
        return Rule(architecture, k=int(strength))
    if architecture in BANDWIDTHS:
        return Rule("jumprelu", l0=strength / d_model, bandwidth=BANDWIDTHS[architecture] / root)
    return Rule(architecture, l1=strength if architecture == "spade" else strength / root)


def first(member: Member) -> Tensor:
    """Where training starts: as the engine has it; JumpReLU as the paper does, with thresholds near zero."""
    n, d, given = member.n_latents, member.manifold.d_model, member.rule
    seed = derive(member.seed, "start", n)
    if given.architecture != "jumprelu":
        return start(n, d, given, seed)
    flat = start(n, d, Rule("relu"), seed)
    views(flat, n, d).log_threshold.fill_(math.log(given.bandwidth))
    return flat


def fits(
    scene: Manifold,
    n_latents: int,
    strengths: Mapping[str, Sequence[float]],
    seeds: Sequence[int],
    training: Mapping[str, object],
) -> list[Fit]:
    """Train, or remember: an autoencoder for each architecture, strength and seed.

    ``training`` holds ``steps``, ``batch``, ``lr``, ``revive`` (whether dead latents start again, true
    unless said) and ``threads``; each a value, or one for every architecture with that of the ``rest``. In a
    run of a chapter the training lies beside its finished tables, so that one that is killed goes on there.
    """
    made = []
    for architecture, values in strengths.items():
        settings = tuple(sorted((name, _own(value, architecture)) for name, value in training.items()))
        make = _fitted if architecture in FITTED else _trained
        made += make(scene, n_latents, architecture, tuple(values), tuple(seeds), settings)
    return made


def _own(value: object, architecture: str) -> object:
    return value.get(architecture, value["rest"]) if isinstance(value, Mapping) else value


@functools.lru_cache(maxsize=256)
def _trained(
    scene: Manifold, n: int, architecture: str, strengths: tuple, seeds: tuple, settings: tuple
) -> list[Fit]:
    given = dict(settings)
    rules = [rule(architecture, strength, scene.d_model) for strength in strengths]
    members = [Member(scene, n, r, seed) for r in rules for seed in seeds]
    schedule = Schedule(
        steps=int(given.get("steps", 1000)),
        batch=int(given.get("batch", 512)),
        lr=float(given.get("lr", 0.01)),
        revive=bool(given.get("revive", True)),
        dead_after=100,
    )
    starts = {i: first(member) for i, member in enumerate(members)}
    folder = _folder(members, schedule)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    trained = train(members, schedule, folder, device, threads=int(given.get("threads", 1)), starts=starts)
    names = [(strength, seed) for strength in strengths for seed in seeds]
    return [Fit(architecture, *name, sae) for name, sae in zip(names, trained.saes, strict=True)]


def _folder(members: Sequence[Member], schedule: Schedule) -> Path | None:
    """Where a killed training goes on: named by what is trained and by the code that trains it."""
    if not os.environ.get("GEOWALL_STEPS"):
        return None
    name = hashlib.sha256(f"{members!r} {schedule!r} {_sources()}".encode()).hexdigest()[:12]
    return Path(os.environ["GEOWALL_STEPS"]) / "training" / name


@functools.cache
def _sources() -> str:
    own = (Path(__file__), Path(__file__).with_name("scenes.py"))
    files = [*own, *(SOURCES / name for name in CODE)]
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


@functools.lru_cache(maxsize=256)
def _fitted(
    scene: Manifold, n: int, architecture: str, strengths: tuple, seeds: tuple, settings: tuple
) -> list[Fit]:
    fit = baselines.kmeans if architecture == "kmeans" else baselines.radial
    tokens = {seed: scene.sample(baselines.TOKENS, derive(seed, "baseline")) for seed in seeds}
    return [
        Fit(architecture, strength, seed, fit(tokens[seed], n, strength, seed))
        for strength in strengths
        for seed in seeds
    ]
