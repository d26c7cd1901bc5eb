"""The pullback metric of a language model: what a step in an activation does to the next token predicted.

A tail is the model from one activation on: the tokens before it are as they were, the activation of the last
token after block ``layer`` is replaced, and the log predictions for the token after it are returned.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from geowall.geometry import pullback as geometry
from geowall.geometry.dimension import mle
from geowall.geometry.resampling import ratio
from geowall.language.activations import Site, collect
from geowall.language.cache import activations_of, loaded
from geowall.language.samples import packed_tokens

SHARES = (1, 2, 4, 8, 16, 32, 64)  # leading directions of the metric whose share of the trace is told


def tail(
    model: nn.Module, ids: Int[Tensor, " position"], layer: int
) -> Callable[[Float[Tensor, "batch d"]], Float[Tensor, "batch vocabulary"]]:
    """The model from the last token's activation after block ``layer`` to its log predictions.

    Differentiable forwards, twice; see :mod:`geowall.geometry.pullback`.
    """
    block = model.get_submodule("model.layers")[layer]

    def log_predictions(h: Tensor) -> Tensor:
        def replace(_: nn.Module, __: object, output: object) -> object:
            hidden = output[0] if isinstance(output, tuple) else output
            changed = torch.cat([hidden[:, :-1], h[:, None].to(hidden.dtype)], 1)
            return (changed, *output[1:]) if isinstance(output, tuple) else changed

        hook = block.register_forward_hook(replace)
        try:
            logits = model(ids.expand(len(h), -1), use_cache=False, logits_to_keep=1).logits
        finally:
            hook.remove()
        return logits[:, -1].log_softmax(-1)

    return log_predictions


def pullback(
    model: str, layers: Sequence[int], n_points: int = 8, context: int = 96, n_cloud: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:  # fmt: skip
    """The metric at sampled activations: ``model, layer, quantity, value, low, high, n_points``.

    Points lie at mixed places, from the eighth token of a sequence to the last of ``context``.
    ``dimension`` is Levina and Bickel's from the lengths of straight steps to the twenty nearest of
    ``n_cloud`` other activations of the layer, under the metric at the point; ``dimension_euclidean`` the
    same under the plain one, and ``shared_neighbours`` the share of the twenty nearest that both name.
    ``share_1`` to ``share_64`` are the shares of the trace in the leading directions, the spectrum.
    ``curvature`` is that of geodesics along steps to the nearest neighbours, and ``bend_to_neighbour`` the
    same for a step of the size of that to the nearest, without a unit.
    """
    ids = packed_tokens(model, n_points, seed, context).ids
    places = np.linspace(min(8, context - 1), context - 1, n_points).round().astype(int)
    cloud = packed_tokens(model, -(-n_cloud // 255), seed + 1).ids
    network, sites = loaded(model), [Site("res", layer) for layer in layers]
    own = collect(network, ids, sites)
    ids = ids.to(network.get_input_embeddings().weight.device)
    store = activations_of(model, cloud, sites, sample=n_cloud, seed=seed)
    rows = []
    for site in sites:
        others, found = torch.from_numpy(store.read(site)), []
        for i, place in enumerate(places):
            rest = tail(network, ids[i, : place + 1], site.layer)
            found.append(_at_point(rest, torch.from_numpy(own[site][i, place]), others, ids.device))
        rows += _rows(model, site.layer, pd.DataFrame(found), seed)
    return pd.DataFrame(rows, columns=["model", "layer", "quantity", "value", "low", "high", "n_points"])


def _at_point(tail: geometry.Tail, h: Tensor, others: Tensor, device: torch.device) -> dict[str, float]:
    here = h.to(device)
    image = geometry.embedded(*geometry.scores(tail, here, batch=32))
    plain = (others - h).double().norm(dim=1)
    close = plain.argsort()[:20]
    steps = others[close[:4]] - h
    bent = geometry.geodesic_curvature(tail, here, steps.to(device), image).cpu()
    G = (image @ image.T).cpu()
    lengths = geometry.distances(G, h, others)
    near = lengths.argsort()[:20]
    size = lengths[close[:4]]
    summary = geometry.spectrum(G)
    inverse = {
        name: float(1.0 / mle(d[order][None])[0])
        for name, d, order in (("dimension", lengths, near), ("dimension_euclidean", plain, close))
    }
    return inverse | {
        "participation": summary["participation"],
        "rank": summary["rank"],
        "trace": summary["trace"],
        **{f"share_{m}": share for m, share in geometry.shares(G, SHARES).items()},
        "shared_neighbours": len(np.intersect1d(near, close)) / 20,
        "curvature": float(bent.median()),
        "bend_to_neighbour": float((bent * size).median()),
        "step_to_neighbour": float(lengths[near[0]]),
    }


def _rows(model: str, layer: int, found: pd.DataFrame, seed: int) -> list[list]:
    rows, each = [], torch.arange(len(found))
    for name in found:
        values = torch.tensor(found[name].to_numpy(), dtype=torch.float64)
        ones = torch.ones_like(values)
        # Dimensions were noted the other way up, so that their mean is the harmonic one.
        top, bottom = (ones, values) if name.startswith("dimension") else (values, ones)
        rows.append([model, layer, name, *ratio(top, bottom, each, 400, seed), len(found)])
    return rows
