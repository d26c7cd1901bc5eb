"""Is what was extracted what the model computed? Compared with forward hooks and with ``hidden_states``.

The hooks are torch's own and know nothing of nnsight or of the store, so they are an independent witness.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from geowall.language import reading
from geowall.language.reading import Setting
from geowall.language.sites import Site, tap

SEQUENCES = 4  # of the store's first, compared value by value


def proof(chosen: Setting) -> pd.DataFrame:
    """A row a site: the largest difference between the store and two other ways to the same values.

    Columns: ``layer``, ``site``, ``d`` its dimensions, ``n_tokens`` compared; ``hook_difference`` the largest
    absolute difference from forward hooks; ``bit_equal`` whether there is none; and, for the residual stream,
    ``hidden_difference``, the mean over tokens of ``|x - h| / |x|`` with ``h`` the entry of ``hidden_states``
    that bears this layer's number plus one, with ``norm`` and ``hidden_norm`` their mean norms.
    """
    store, model = reading.store_of(chosen), reading.model_of(chosen)
    batch = store.manifest["batch"]  # the same batches: other ones round differently
    ids = reading.packed(chosen).ids[: max(batch, SEQUENCES // batch * batch)]
    parts = [witness(model, part, store.sites) for part in ids.split(batch)]
    rows = []
    for site in store.sites:
        x = torch.from_numpy(store.read(site, slice(0, ids.numel())))
        hook = _stored(torch.cat([hooks[site] for hooks, _ in parts]), chosen["dtype"])
        gap = float((x - hook).abs().max())
        row = {"layer": site.layer, "site": site.kind, "d": x.shape[1], "n_tokens": len(x)}
        row |= {"hook_difference": gap, "bit_equal": torch.equal(x, hook)}
        if site.kind == "res":
            h = _stored(torch.cat([states[site.layer] for _, states in parts]), chosen["dtype"])
            off = (x - h).norm(dim=1) / x.norm(dim=1)
            norms = {"norm": float(x.norm(dim=1).mean()), "hidden_norm": float(h.norm(dim=1).mean())}
            row |= {"hidden_difference": float(off.mean()), **norms}
        rows.append(row)
    return pd.DataFrame(rows)


def witness(model: nn.Module, ids: Tensor, sites: list[Site]) -> tuple[dict[Site, Tensor], list[Tensor]]:
    """Values of the sites by forward hooks, and ``hidden_states`` less the embedding, [token, d] each."""
    found: dict[Site, Tensor] = {}
    handles = [_hook(model, site, found) for site in sites]
    try:
        with torch.no_grad():
            device = model.get_input_embeddings().weight.device
            out = model(ids.to(device), output_hidden_states=True, use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    return found, [state.reshape(-1, state.shape[-1]).cpu() for state in out.hidden_states[1:]]


def _hook(model: nn.Module, site: Site, found: dict[Site, Tensor]) -> Any:
    place = tap(model, site)

    def keep(module: nn.Module, args: tuple, output: Any) -> None:
        value = args if place.side == "input" else output
        value = value[0] if isinstance(value, tuple) else value
        found[site] = value.detach().reshape(-1, value.shape[-1]).cpu().clone()

    return model.get_submodule(place.path).register_forward_hook(keep)


def _stored(x: Tensor, dtype: str) -> Tensor:
    """The values as a store of that precision gives them back."""
    return x.to(getattr(torch, dtype)).float()


def masked(chosen: Setting) -> pd.DataFrame:
    """How many tokens are special by their id, how many by their position, and how many were counted.

    One row, for the page's invariant: ``n_tokens``, ``n_sequences``, ``bos_by_id``, ``bos_by_position``.
    """
    text, store = reading.packed(chosen), reading.store_of(chosen)
    at = np.asarray(text.ids == text.bos)
    return pd.DataFrame(
        [
            {
                "n_tokens": at.size,
                "n_sequences": len(at),
                "bos_by_id": int(at.sum()),
                "bos_by_position": int(at[:, 0].sum()),
                "bos_counted": store.manifest["n_special"],
            }
        ]
    )
