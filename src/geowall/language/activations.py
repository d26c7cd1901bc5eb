"""Reading activations out of a language model with nnsight; the only module that imports it.

:func:`collect` keeps everything in memory, for small work; :func:`extract` writes a store of any size. Both
trace one batch at a time, take each site's value as it is computed, and stop the model after the last site,
so the blocks above it and the head never run.

>>> import numpy as np, torch
>>> from transformers import LlamaConfig, LlamaForCausalLM
>>> size = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2}
>>> model = LlamaForCausalLM(LlamaConfig(vocab_size=9, **size)).eval()
>>> found = collect(model, np.array([[1, 5, 7]]), [Site("res", 1), Site("att", 0)])
>>> {str(site): x.shape for site, x in found.items()}
{'layer_0/att': (1, 3, 8), 'layer_1/res': (1, 3, 8)}
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import nnsight
import numpy as np
import torch
from jaxtyping import Float, Float32, Int, Int64
from torch import Tensor, nn

from geowall.language import hub
from geowall.language.rows import Rows, rows_of
from geowall.language.sites import Site, blocks, config_of, sites, tap, width
from geowall.language.store import Store
from geowall.language.writer import Writer, locked
from geowall.paths import GeowallError

__all__ = ["Site", "collect", "extract", "far", "sites", "width"]

TOKENS = {"cuda": 8192, "cpu": 1024}  # of a trace, unless told otherwise: a processor's caches are small
Taps = list[tuple[Site, str, str]]


def collect(
    model: nn.Module, ids: Int[Any, "sequence position"], sites: Iterable[Site], dtype: str = "float32"
) -> dict[Site, Float32[np.ndarray, "sequence position d"]]:
    """Activations of all tokens of a few sequences, BOS included, in one trace.

    Args:
        model: a causal language model, wherever it lies.
        ids: token ids without padding.
        sites: what to read.
        dtype: precision to round to before the values are returned as float32.

    Raises:
        GeowallError: a site that the model does not have, or a token that it does not know.
    """
    ids = _checked(model, ids)
    rows = torch.arange(ids.numel())
    found = _trace(nnsight.NNsight(model), ids, _taps(model, sites), rows, getattr(torch, dtype))
    return {site: value.float().numpy().reshape(*ids.shape, -1) for site, value in found.items()}


def extract(
    model: nn.Module | nnsight.TransformersModel,
    tokens: Int[Any, "sequence position"],
    sites: Iterable[Site],
    folder: str | Path,
    *,
    documents: Int[Any, "sequence position"] | None = None,
    batch: int | None = None,
    dtype: str = "float32",
    keep_bos: bool = False,
    special: Iterable[int] | None = None,
    n_special: int | None = None,
    sample: int | None = None,
    seed: int = 0,
    shard_rows: int | None = None,
    name: str = "",
    remote: bool | str = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Store:
    """Write the activations of ``tokens`` at ``sites`` into a store, or go on with one that was begun.

    A row is a token; rows lie in reading order. The batches are the same whether a store is made in one go or
    in many, and so are its bytes. A finished store is verified by its hashes and returned.

    Args:
        model: a causal language model in evaluation mode, on one device or many, or one from :func:`far`.
        tokens: ids, packed without padding.
        sites: what to read.
        folder: where the store lies; a local folder.
        documents: each token's document, kept beside its row.
        batch: sequences in a trace; by default as many as suit the device.
        dtype: what the rows are stored as, ``float32`` or ``bfloat16``.
        keep_bos: keep the special tokens' rows too.
        special: ids left out otherwise, wherever they stand; by default the model's BOS, EOS and padding.
        n_special: how many of them the tokens must hold, when the caller knows.
        sample: keep this many rows, drawn without replacement by ``seed``; None keeps all.
        seed: of the sample.
        shard_rows: rows of a shard; by default as many as 128 MB hold, 4,096 at most.
        name: what the manifest calls the model.
        remote: run on NDIF (True), or serialise as for NDIF and run here ("local").
        progress: told the rows done and the rows to do after each trace.

    Raises:
        GeowallError: a missing site, a token out of the vocabulary, another number of special tokens than
            expected, or a folder that holds another extraction.
    """
    module = model._module if isinstance(model, nnsight.TransformersModel) else model
    ids, taps, stack = _checked(module, tokens), _taps(module, sites), blocks(module)
    context = ids.shape[1]
    batch = batch or batch_for(module, context)
    left_out = _special(module) if special is None else sorted({int(token) for token in special})
    rows = rows_of(ids.numpy(), left_out, keep_bos, sample, seed, n_special)
    about = {
        "model": name or config_of(module)._name_or_path,
        "digest": f"remote:{model.repo_id}" if remote is True else hub.digest(module),
        "widths": {str(site): width(module, site, stack) for site, _, _ in taps},
        "dtype": dtype,
        "context": context,
        "batch": batch,
        **rows.manifest(),
    }
    with locked(Path(f"{folder}.lock")):
        with Writer(folder, about, rows.origin(ids.numpy(), documents), shard_rows) as writer:
            if writer.missing:
                envoy = nnsight.NNsight(model) if isinstance(model, nn.Module) else model
                _fill(writer, envoy, ids, taps, rows, batch, {"remote": remote} if remote else {}, progress)
        return Store.open(folder)


def far(name: str) -> nnsight.TransformersModel:
    """A model that lies on NDIF: its structure without weights, for ``extract(..., remote=True)``."""
    return nnsight.TransformersModel(name, task="text-generation")


def batch_for(model: nn.Module, context: int) -> int:
    """Sequences in a trace that suit the device a model lies on."""
    return max(1, TOKENS.get(_entrance(model).type, TOKENS["cuda"]) // context)


def _entrance(model: nn.Module) -> torch.device:
    """Where token ids go in: a model that is spread over devices has several."""
    return model.get_input_embeddings().weight.device


def _fill(
    writer: Writer,
    envoy: Any,
    ids: Int[Tensor, "sequence position"],
    taps: Taps,
    rows: Rows,
    batch: int,
    far: dict[str, Any],
    progress: Callable[[int, int], None],
) -> None:
    """Trace the batches that missing shards need; each batch's values are dropped once copied."""
    dtype = getattr(torch, writer.manifest["dtype"])
    for begin in range(0, len(ids), batch):
        first, last = rows.between(begin, begin + batch)
        if writer.needs(first, last):
            within = torch.from_numpy(rows.places[first:last] - begin * ids.shape[1])
            part, room = ids[begin : begin + batch], None if far else writer.room(first, last)
            found = (
                _sent(envoy, part, taps, within, dtype, far)
                if far
                else (_trace(envoy, part, taps, within, dtype, room))
            )
            writer.add(first, found)
            progress(last, len(rows.places))


def _trace(
    envoy: Any,
    ids: Int[Tensor, "sequence position"],
    taps: Taps,
    rows: Int64[Tensor, " row"],
    dtype: torch.dtype,
    room: dict[Site, Tensor] | None = None,
) -> dict[Site, Tensor]:
    """Values of the sites at ``rows`` (places in the flattened batch), on the CPU, by one forward pass.

    They are put into ``room`` where it is given, copied once.
    """
    ids, found = ids.to(_entrance(envoy._module)), {}
    with torch.no_grad(), envoy.trace(ids, use_cache=False) as tracer:
        for site, path, side in taps:
            part = envoy.get(path)
            value = part.input if side == "input" else part.output
            value = value[0] if isinstance(value, tuple) else value
            found[site] = _picked(value, rows, dtype, room and room[site])
        tracer.stop()
    return found


def _picked(
    value: Float[Tensor, "*place d"], rows: Int64[Tensor, " row"], dtype: torch.dtype, room: Tensor | None
) -> Float[Tensor, "row d"]:
    """The rows of a value, on the CPU; rows that follow each other are not gathered first."""
    flat, first, count = value.detach().reshape(-1, value.shape[-1]), int(rows[0]), len(rows)
    if int(rows[-1]) - first == count - 1:  # places are in order
        flat = flat[first : first + count]
    elif room is not None and flat.device == room.device and flat.dtype == room.dtype:
        return torch.index_select(flat, 0, rows, out=room)
    else:
        flat = flat[rows.to(flat.device)]
    return flat.to("cpu", dtype, copy=True) if room is None else room.copy_(flat)


def _sent(
    envoy: Any,
    ids: Int[Tensor, "sequence position"],
    taps: Taps,
    rows: Int64[Tensor, " row"],
    dtype: torch.dtype,
    far: dict[str, Any],
) -> dict[Site, Tensor]:
    """The same on another machine: what runs there is sent as text, so it calls nothing of this book."""
    wanted = [(str(site), path, side) for site, path, side in taps]
    with torch.no_grad(), envoy.trace(ids, use_cache=False, **far) as tracer:
        kept = nnsight.save({})
        for name, path, side in wanted:
            part = envoy.get(path)
            value = part.input if side == "input" else part.output
            value = value[0] if isinstance(value, tuple) else value
            flat = value.reshape(-1, value.shape[-1])
            kept[name] = flat[rows.to(flat.device)].to("cpu", dtype)
        tracer.stop()
    return {site: kept[str(site)] for site, _, _ in taps}


def _taps(model: nn.Module, sites: Iterable[Site]) -> Taps:
    """Where the sites are taken, in the order in which the model computes them, as nnsight must read them."""
    chosen = sorted(set(sites))
    if not chosen:
        raise GeowallError("nothing was extracted", "no site was asked for", 'give [Site("res", 0)]')
    stack = blocks(model)
    places = [(site, tap(model, site, stack)) for site in chosen]
    return [(site, place.path, place.side) for site, place in places]


def _special(model: nn.Module) -> list[int]:
    """Ids that stand for no text: BOS, EOS and padding, as the model's configuration has them."""
    config = config_of(model)
    named = [getattr(config, f"{name}_token_id", None) for name in ("bos", "eos", "pad")]
    flat = [token for entry in named for token in (entry if isinstance(entry, list) else [entry])]
    return sorted({token for token in flat if token is not None})


def _checked(model: nn.Module, ids: Int[Any, "sequence position"]) -> Int64[Tensor, "sequence position"]:
    ids = torch.as_tensor(ids).long()
    known = model.get_input_embeddings().weight.shape[0]
    if ids.ndim != 2 or not ids.numel():
        why = f"they have the shape {tuple(ids.shape)} where [sequence, position] belongs"
        raise GeowallError("the tokens were refused", why, "pack them first")
    if ids.min() < 0 or ids.max() >= known:
        why = f"ids run from {ids.min()} to {ids.max()}, and the model knows 0 to {known - 1}"
        raise GeowallError("the tokens were refused", why, "tokenize with the model's own tokenizer")
    return ids
