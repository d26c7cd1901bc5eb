"""Where checkpoints come from: the 844 of Gemma Scope on the hub, or any folder in their layout.

The list of the 844 is a file of the book, so choosing, counting and naming need no network:

>>> chosen = gemma_scope("gemma-2-2b", layers=[12], widths=[2**16])
>>> len(gemma_scope()), [c.nominal_l0 for c in chosen]
(844, [21, 38, 72, 141, 297])
>>> find("gemma-2-2b", "layer_12/width_65k/average_l0_37")
Traceback (most recent call last):
...
geowall.paths.GeowallError: gemma-2-2b has no checkpoint layer_12/width_65k/average_l0_37
  why: Gemma Scope does not list it
  fix: did you mean layer_12/width_65k/average_l0_38, layer_12/width_65k/average_l0_21?
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pandas as pd

from geowall.paths import ROOT, GeowallError
from geowall.sae.gemma_scope import Checkpoint, local


class NotFetchedError(GeowallError):
    """A checkpoint was not had from the hub, which says nothing about the checkpoint: another try may."""


LIST = ROOT / "data" / "published" / "gemma_scope_checkpoints.csv"
KEEP = "+keep"  # at the end of a source: its files stay on this disk
D_MODEL = {"gemma-2-2b": 2304, "gemma-2-9b": 3584}


@cache
def _listed() -> tuple[Checkpoint, ...]:
    table = pd.read_csv(LIST)
    rows = table.sort_values(["model", "layer", "width", "nominal_l0"], kind="stable").itertuples()
    return tuple(
        Checkpoint(r.model, int(r.layer), "res", int(r.width), int(r.nominal_l0), r.path, "", r.repo_id)
        for r in rows
    )


def gemma_scope(
    model: str | None = None, layers: Iterable[int] | None = None, widths: Iterable[int] | None = None
) -> list[Checkpoint]:
    """Checkpoints of Gemma Scope's residual streams, by model, layer, width and sparsity.

    ``model`` may carry the name of its organisation. None chooses all.

    Raises:
        GeowallError: if there is none, naming what there is.
    """
    layers, widths = (None if v is None else set(v) for v in (layers, widths))
    name = None if model is None else model.rpartition("/")[2]
    if name not in (None, *D_MODEL):
        near = difflib.get_close_matches(name, D_MODEL, 1) or list(D_MODEL)
        raise GeowallError(f"Gemma Scope has no {model}", f"it covers {', '.join(D_MODEL)}", f"use {near[0]}")
    own = [c for c in _listed() if name in (None, c.model)]
    found = [
        c for c in own if (layers is None or c.layer in layers) and (widths is None or c.d_sae in widths)
    ]
    if not found:
        there = sorted({c.d_sae for c in own if layers is None or c.layer in layers})
        why = (
            f"of these layers there are the widths {there}"
            if there
            else f"it has {max(c.layer for c in own) + 1} layers"
        )
        raise GeowallError("no checkpoint of Gemma Scope was chosen", why, "choose among them")
    return found


def find(model: str, name: str) -> Checkpoint:
    """The checkpoint of a name such as ``layer_12/width_65k/average_l0_38``.

    Raises:
        GeowallError: naming the nearest ones, if there is none of that name.
    """
    known = {c.name.removesuffix("/params.npz"): c for c in gemma_scope(model)}
    name = name.strip("/").removesuffix("/params.npz")
    if name not in known:
        near = ", ".join(nearest(name, known)[:2])
        what = f"{model} has no checkpoint {name}"
        raise GeowallError(what, "Gemma Scope does not list it", f"did you mean {near}?")
    return known[name]


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """Names most like a wrong one: same layer and width, and then the nearest sparsity, where it has them."""
    parts = re.fullmatch(r"(layer_\d+/width_\w+)/average_l0_(\d+)", name)
    own = [other for other in known if parts and other.startswith(f"{parts[1]}/")]
    if own:
        wanted = int(parts[2])
        return sorted(own, key=lambda other: abs(int(other.rpartition("_")[2]) - wanted))
    return difflib.get_close_matches(name, list(known), 3, 0.0)


def compare(found: Iterable[Checkpoint], model: str) -> pd.DataFrame:
    """What a place holds against the list: columns name, listed, found; a row where they differ."""
    listed, there = {c.name for c in gemma_scope(model)}, {c.name for c in found}
    differ = sorted(listed ^ there)
    return pd.DataFrame(
        {"name": differ, "listed": [n in listed for n in differ], "found": [n in there for n in differ]}
    )


def checkpoints(source: str, model: str = "", layers: Iterable[int] | None = None) -> list[Checkpoint]:
    """Checkpoints of a source: ``hub`` (Gemma Scope) or a folder.

    Args:
        source: ``hub``, or a folder in the layout of Gemma Scope.
        model: whose; needed for ``hub``, and where a folder's checkpoints do not say.
        layers: some layers alone.
    """
    if source == "hub":
        return gemma_scope(model or None, layers)
    wanted = None if layers is None else set(layers)
    found = [c for c in local(Path(source), model) if wanted is None or c.layer in wanted]
    if not found:
        raise GeowallError(
            f"no checkpoint was chosen in {source}", f"none is of layers {wanted}", "choose others"
        )
    return found


def download_bytes(chosen: Iterable[Checkpoint]) -> int:
    """Bytes of checkpoints of the hub, from their widths: two float32 matrices, three vectors, a header."""
    sizes = ((c.d_sae, D_MODEL[c.model]) for c in chosen if c.repo_id)
    return sum(4 * (2 * n * d + 2 * n + d) + 2048 for n, d in sizes)


def fetch(checkpoint: Checkpoint) -> Path:
    """The file of a checkpoint: where it lies, or in the hub's cache after a download if need be.

    Raises:
        NotFetchedError: if it cannot be had. The message holds nothing that was sent.
    """
    if checkpoint.path:
        return Path(checkpoint.path)
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        RepositoryNotFoundError,
    )

    what = f"{checkpoint.repo_id}/{checkpoint.name} was not fetched"
    try:
        return Path(hf_hub_download(checkpoint.repo_id, checkpoint.name))
    except GatedRepoError:
        page = f"https://huggingface.co/{checkpoint.repo_id}"
        raise NotFetchedError(what, "its licence must be accepted first", f"accept it at {page}") from None
    except (EntryNotFoundError, RepositoryNotFoundError) as error:
        why = f"the hub, or its cache here, does not have it ({type(error).__name__})"
        raise NotFetchedError(what, why, "connect to the network, or choose another checkpoint") from None
    except (HfHubHTTPError, OSError) as error:
        why = f"the hub could not be reached ({type(error).__name__})"
        raise NotFetchedError(
            what, why, "connect to the network and run again: what is done is kept"
        ) from None


def forget(checkpoint: Checkpoint) -> None:
    """Remove a download from the hub's cache, so that 2.4 TB can stream through a small disk."""
    if checkpoint.path:
        return
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(checkpoint.repo_id, checkpoint.name)
    if isinstance(cached, str):
        target = Path(os.path.realpath(cached))
        for path in {Path(cached), target}:
            path.unlink(missing_ok=True)


def duplicates(table: pd.DataFrame) -> pd.DataFrame:
    """Checkpoints whose weights are those of an earlier one: columns name, same_as.

    ``table`` is ``checkpoints`` with the column ``weights``. Ten of the 844 are listed twice under
    neighbouring labels, and would spoil an interpolation in sparsity.
    """
    sound = table[table["weights"].notna()].sort_values(["model", "layer", "d_sae", "nominal_l0", "name"])
    first = sound.groupby("weights")["name"].transform("first")
    again = sound.duplicated("weights")
    return pd.DataFrame({"name": sound.loc[again, "name"], "same_as": first[again]}).reset_index(drop=True)
