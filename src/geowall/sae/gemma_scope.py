"""Checkpoints in the layout of Gemma Scope: ``layer_L/width_W/average_l0_N/params.npz``, written and read.

Five float32 arrays without pickle: ``W_enc [d_model, d_sae]``, ``W_dec [d_sae, d_model]``, ``b_enc``,
``b_dec``, ``threshold`` (Lieberum et al. 2024). Nothing is subtracted from an activation and nothing is
normalised. What the layout does not say (model, site, seed, architecture) lies beside it in ``about.json``.

>>> import tempfile, torch
>>> eye, zero = torch.eye(2), torch.zeros(2)
>>> about = {"model": "toy", "site": "res", "seed": 0, "schedule": "matched"}
>>> folder = Path(tempfile.mkdtemp())
>>> path = write(folder, Sae("jumprelu", 1, eye, zero, eye, zero, zero), layer=3, l0=1.2, about=about)
>>> str(path.relative_to(folder)), read(path).d_sae, width_name(65_536), width_of("1m")
('layer_3/width_2/average_l0_1/params.npz', 2, '65k', 1048576)
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import uuid
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from geowall.paths import GeowallError
from geowall.sae.model import Sae

KEYS = ("W_enc", "W_dec", "b_enc", "b_dec", "threshold")
NEEDED = ("model", "site", "seed", "schedule")
PLACE = re.compile(r"layer_(\d+)/width_(\d+[km]?)/average_l0_(\d+)/params\.npz$")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that can be read: where it lies and what is known of it without opening it.

    ``path`` is a file on this machine, or is empty while it is still on the hub under ``repo_id``/``name``.
    ``about`` holds what ``about.json`` says.
    """

    model: str
    layer: int
    site: str
    d_sae: int
    nominal_l0: int
    name: str
    path: str = ""
    repo_id: str = ""
    about: dict[str, object] = field(default_factory=dict, hash=False)

    @property
    def key(self) -> str:
        """What names the checkpoint in durable rows: stable over machines and folders."""
        return f"{self.repo_id or self.model}/{self.site}/{self.name}"


def width_name(d_sae: int) -> str:
    """The name of a width: thousands and millions are cut, not rounded, so that 65,536 is ``65k``."""
    for unit, size in (("m", 10**6), ("k", 10**3)):
        if d_sae >= size:
            return f"{d_sae // size}{unit}"
    return str(d_sae)


def width_of(name: str) -> int:
    """The width behind a name; every width of this layout of a thousand or more is a power of two.

    Raises:
        GeowallError: for a name such as ``60k`` that no power of two has.
    """
    if name.isdigit():
        return int(name)
    known = {width_name(2**p): 2**p for p in range(10, 31)}
    if name not in known:
        why = f"{name!r} is not the name of a power of two"
        raise GeowallError("no such width", why, "use 1k, 2k ... 16k, 32k, 65k, 131k ... 1m")
    return known[name]


def write(folder: Path, sae: Sae, layer: int, l0: float, about: Mapping[str, object]) -> Path:
    """Write a checkpoint below ``folder``; whole or not at all. Returns the path of its ``params.npz``.

    A name that another checkpoint has (its ``about`` differs) is left to it, and the next free sparsity is
    taken, as in Gemma Scope's own labels; the same ``about`` is written again in its place.

    Args:
        folder: the release.
        sae: what to write, as float32.
        layer: of the model, counted from zero.
        l0: mean active latents of a token.
        about: at least ``model``, ``site``, ``seed`` and ``schedule``; all of it becomes columns of a census.
    """
    missing = [name for name in NEEDED if name not in about]
    if missing:
        why = f"`about` lacks {', '.join(missing)}"
        raise GeowallError("a checkpoint was not written", why, "give model, site, seed and schedule")
    about = {
        **about,
        "architecture": sae.architecture,
        "k": sae.k,
        "d_sae": sae.d_sae,
        "d_model": sae.d_model,
    }
    place = _place(folder / f"layer_{layer}" / f"width_{width_name(sae.d_sae)}", max(0, round(l0)), about)
    arrays = {name: getattr(sae, name).detach().cpu().float().numpy() for name in KEYS}
    place.mkdir(parents=True, exist_ok=True)
    _replace(place / "about.json", lambda file: file.write(json.dumps(about, sort_keys=True).encode()))
    _replace(place / "params.npz", lambda file: np.savez(file, **arrays))
    return place / "params.npz"


def done(folder: Path, about: Mapping[str, object], layer: int, d_sae: int) -> Path | None:
    """The checkpoint below ``folder`` that was written with this ``about``, if there is one."""
    width = folder / f"layer_{layer}" / f"width_{width_name(d_sae)}"
    for path in sorted(width.glob("average_l0_*/params.npz")):
        kept = _about(path)
        if all(kept.get(name) == value for name, value in about.items()):
            return path
    return None


def _place(width: Path, l0: int, about: Mapping[str, object]) -> Path:
    while True:
        place = width / f"average_l0_{l0}"
        if not (place / "params.npz").exists() or _about(place / "params.npz") == about:
            return place
        l0 += 1


def _replace(path: Path, write_to) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}")
    try:
        with beside.open("wb") as file:
            write_to(file)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _about(path: Path) -> dict[str, object]:
    beside = path.with_name("about.json")
    return json.loads(beside.read_text(encoding="utf-8")) if beside.exists() else {}


def read(path: Path) -> Sae:
    """Read a checkpoint: JumpReLU, as Gemma Scope's are, unless its ``about.json`` names an architecture.

    Raises:
        GeowallError: naming the file, if it is no archive, lacks an array, or an array has another shape or
            type than it must, or holds a value that is not finite.
    """
    return open_checked(path)[0]


def open_checked(path: Path) -> tuple[Sae, str]:
    """Like :func:`read`, with the SHA-256 of the five arrays: equal for checkpoints that are the same."""
    path = Path(path)
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in KEYS}
        about = _about(path)
    except KeyError as error:
        raise _unreadable(path, f"it holds no array {error}") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise _unreadable(path, f"{type(error).__name__}: {error}".splitlines()[0]) from None
    why = _unsound(arrays)
    if why:
        raise _unreadable(path, why)
    digest = hashlib.sha256()
    for name in KEYS:
        arrays[name] = np.ascontiguousarray(arrays[name], dtype=np.float32)
        digest.update(arrays[name])
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    return Sae(
        str(about.get("architecture", "jumprelu")), int(about.get("k", 1)), **tensors
    ), digest.hexdigest()


def _unsound(arrays: Mapping[str, np.ndarray]) -> str:
    """Say what is wrong with the arrays of a checkpoint; empty where nothing is."""
    for name, array in arrays.items():
        if array.dtype.kind != "f":
            return f"{name} is of type {array.dtype}, not of floating point"
    if arrays["W_enc"].ndim != 2:
        return f"W_enc has shape {arrays['W_enc'].shape}, not (d_model, d_sae)"
    d_model, d_sae = arrays["W_enc"].shape
    shapes = dict(
        zip(KEYS, ((d_model, d_sae), (d_sae, d_model), (d_sae,), (d_model,), (d_sae,)), strict=True)
    )
    for name, shape in shapes.items():
        if arrays[name].shape != shape:
            return f"{name} has shape {arrays[name].shape} where {shape} was expected"
        if not np.isfinite(arrays[name].sum(dtype=np.float64)):  # a sum keeps what is not finite, and no copy
            return f"{name} holds a value that is not finite"
    return ""


def _unreadable(path: Path, why: str) -> GeowallError:
    return GeowallError(
        f"the checkpoint {path} was not read", why, "fetch or train it again, and remove this one"
    )


def local(folder: Path, model: str = "", site: str = "res") -> list[Checkpoint]:
    """Every checkpoint below a folder, in the order of model, site, layer, width, sparsity, name.

    ``model`` and ``site`` are for checkpoints that do not say so themselves.

    Raises:
        GeowallError: if the folder is missing, or holds none.
    """
    found = []
    for path in Path(folder).rglob("params.npz"):
        match = PLACE.search(path.as_posix())
        if match is None:
            continue
        about, name = _about(path), path.relative_to(folder).as_posix()
        d_sae = int(about.get("d_sae", 0)) or width_of(match[2])
        said = str(about.get("model", model)), str(about.get("site", site))
        found.append(
            Checkpoint(said[0], int(match[1]), said[1], d_sae, int(match[3]), name, str(path), "", about)
        )
    if not found:
        why = (
            "there is no such folder"
            if not Path(folder).is_dir()
            else "it holds no layer_*/width_*/average_l0_*"
        )
        raise GeowallError(
            f"no checkpoint was found in {folder}", why, "train a grid, or name another folder"
        )
    return sorted(found, key=lambda c: (c.model, c.site, c.layer, c.d_sae, c.nominal_l0, c.name))
