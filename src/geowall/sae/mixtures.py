"""The loop closed: autoencoders trained on a manifold among discrete features, against the allocation model.

The model shares latents out by the largest gain, from the loss of each feature alone. That loss was measured,
so there is nothing left to fit:

>>> single = pd.DataFrame({"n_latents": [1, 2, 4], "loss": [0.6, 0.4, 0.3]})
>>> measured_loss(single, 4, at_zero=1.0).round(2).tolist()
[1.0, 0.6, 0.4, 0.35, 0.3]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float

from geowall.allocation import allocate
from geowall.kernels.sae_step import Rule
from geowall.manifolds import Mixture, Shell, generator
from geowall.sae.curves import trained
from geowall.sae.discovery import features, shares
from geowall.sae.lasso import tiling_loss
from geowall.sae.metrics import measure
from geowall.sae.model import Sae
from geowall.sae.schedule import Member, derive

COLUMNS = [
    "d_sae",
    "seed",
    "n_on_manifold",
    "n_discovered",
    "predicted_n_on_manifold",
    "predicted_n_discovered",
    "last_found",
    "seen_last_found",
    "first_missed",
    "seen_first_missed",
]
TESTED = 65_536  # tokens on which discovery is judged
HELD = 2**24  # floats of tokens on which separation is measured: 64 MB


def scene(world: Mapping[str, float]) -> Mixture:
    """The mixture of a chapter's parameters: d, thickness, p_manifold, n_discrete, alpha, rate."""
    shell = Shell(int(world["d"]), float(world["thickness"]))
    rest = {name: world[name] for name in ("p_manifold", "n_discrete", "alpha", "rate")}
    return Mixture((shell,), **rest)


def measured_loss(single: pd.DataFrame, most: int, at_zero: float) -> Float[np.ndarray, " n"]:
    """L(0) .. L(most) of one feature: best over seeds, straight lines between, and the hull from below.

    Beyond the widest autoencoder that was measured the loss stays.
    """
    best = single.groupby("n_latents")["loss"].min()
    n = np.concatenate([[0], best.index.to_numpy()])
    loss = np.minimum.accumulate(np.concatenate([[at_zero], best.to_numpy()]))
    corners: list[int] = []
    for i in range(len(n)):  # the lower convex hull: allocation needs gains that never grow
        while len(corners) > 1 and _above(n, loss, corners[-2], corners[-1], i):
            corners.pop()
        corners.append(i)
    return np.interp(np.arange(most + 1), n[corners], loss[corners])


def _above(n: np.ndarray, loss: np.ndarray, a: int, b: int, c: int) -> bool:
    return (loss[b] - loss[a]) * (n[c] - n[a]) >= (loss[c] - loss[a]) * (n[b] - n[a])


def predicted(world: Mapping[str, float], l1: float, single: pd.DataFrame, d_sae: int) -> tuple[int, int]:
    """Latents on the manifold, and features with a latent, of the optimal allocation.

    A discrete feature costs 1 without a latent and ``l1 - l1^2 / 4`` with one, as does a tiled direction.
    """
    mixture = scene(world)
    p = np.concatenate([[mixture.p_manifold], mixture.frequencies.double().numpy()])
    losses = np.full((len(p), d_sae + 1), tiling_loss(l1))
    losses[:, 0] = 1.0
    radius = 1.0 + mixture.manifolds[0].thickness ** 2 / 3.0  # mean squared radius of the shell
    losses[0] = measured_loss(single, d_sae, radius)
    latents = allocate(p, losses, d_sae)
    return int(latents[0]), int((latents > 0).sum())


def mixture(
    world: Mapping[str, float],
    d_saes: Sequence[int],
    l1: float,
    seeds: Sequence[int],
    single: pd.DataFrame,
    **training: object,
) -> pd.DataFrame:
    """A row an autoencoder: latents on the manifold and features discovered, beside the prediction.

    Columns: ``COLUMNS``. ``single`` has the measured ``n_latents, loss`` of the manifold alone. A latent is
    on the manifold when most of its decoder row is; see :func:`geowall.sae.discovery.features` for the rest,
    and :func:`edges` for the last four.
    """
    rows = []
    for member, sae in _autoencoders(world, d_saes, l1, seeds, training):
        found = features(sae, scene(world), TESTED)
        ideal = predicted(world, l1, single, member.n_latents)
        on = int(found["n_latents"].iloc[0])
        stops = edges(world, found, training.get("steps", 1000) * training.get("batch", 512))
        rows.append((member.n_latents, member.seed, on, int(found["discovered"].sum()), *ideal, *stops))
    return pd.DataFrame(rows, columns=COLUMNS)


def edges(world: Mapping[str, float], found: pd.DataFrame, tokens: int) -> tuple[float, ...]:
    """Where discovery stops, and how often training of ``tokens`` tokens has shown what lies there.

    Returns the rank of the rarest discrete feature that was discovered and the tokens expected to have shown
    it, and the same of the most frequent one that was missed; not a number where there is none.
    """
    p = scene(world).frequencies.double().numpy()
    discovered = found.loc[found["kind"] == "discrete", "discovered"].to_numpy(dtype=bool)
    ends: list[float] = []
    for ranks in (np.flatnonzero(discovered)[-1:], np.flatnonzero(~discovered)[:1]):
        ends += [float(ranks[0] + 1), float(p[ranks[0]] * tokens)] if len(ranks) else [np.nan, np.nan]
    return tuple(ends)


def lengths(
    world: Mapping[str, float],
    d_sae: int,
    l1: float,
    seeds: Sequence[int],
    single: pd.DataFrame,
    times: Sequence[int],
    **training: object,
) -> pd.DataFrame:
    """The same mixture trained longer: is a feature missed because it was seen too rarely?

    Columns: ``times`` (as long), those of :func:`mixture`, and ``specificity`` and ``loss`` of
    :func:`separation`.
    """
    parts = []
    for longer in times:
        given = {**training, "steps": longer * training.get("steps", 1000)}
        found = mixture(world, [d_sae], l1, seeds, single, **given)
        apart = separation(world, [d_sae], l1, seeds, **given)[["d_sae", "seed", "specificity", "loss"]]
        parts.append(found.merge(apart, on=["d_sae", "seed"]).assign(times=longer))
    table = pd.concat(parts, ignore_index=True)
    return table[["times", *COLUMNS, "specificity", "loss"]]


def _autoencoders(
    world: Mapping[str, float], d_saes: Sequence[int], l1: float, seeds: Sequence[int], training: Mapping
) -> list[tuple[Member, Sae]]:
    members = [Member(scene(world), n, Rule("relu", l1=l1), s) for n in d_saes for s in seeds]
    if not members:
        return []
    return list(zip(members, trained(members, training).saes, strict=True))


def separation(
    world: Mapping[str, float], d_saes: Sequence[int], l1: float, seeds: Sequence[int], **training: object
) -> pd.DataFrame:
    """Does the loss separate into features? A row an autoencoder.

    Columns: d_sae, seed, specificity (largest share of a live latent's decoder row in one feature's subspace,
    mean over latents), loss, additive_loss (of the manifold alone plus that of the discrete features alone,
    less that of nothing), additivity_gap (their difference over the loss).
    """
    mixed, rows = scene(world), []
    n_tokens = min(16_384, HELD // mixed.d_model)
    drawn, _ = mixed.draw_features(n_tokens, generator(derive(0, "separation")))
    d = mixed.manifolds[0].d_model
    for member, sae in _autoencoders(world, d_saes, l1, seeds, training):
        parts = {"whole": drawn, "manifold": drawn.clone(), "discrete": drawn.clone()}
        parts["manifold"][:, d:], parts["discrete"][:, :d] = 0.0, 0.0
        parts["nothing"] = torch.zeros_like(drawn[:2])
        measured = {name: measure(sae, x, member.rule) for name, x in parts.items()}
        loss = {name: values["loss"] for name, values in measured.items()}
        fired = (sae.encode(drawn[:8192]) > 0).any(0)
        specific = float(shares(sae, mixed)[fired].max(1).values.mean())
        added = loss["manifold"] + loss["discrete"] - loss["nothing"]
        gap = (loss["whole"] - added) / loss["whole"]
        rows.append((member.n_latents, member.seed, specific, loss["whole"], added, gap))
    names = ["d_sae", "seed", "specificity", "loss", "additive_loss", "additivity_gap"]
    return pd.DataFrame(rows, columns=names)
