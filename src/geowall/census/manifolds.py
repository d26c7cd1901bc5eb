"""Manifolds of a language model whose coordinate is known, and how their error falls with latents.

A coordinate (position in the line, indentation, bracket depth) draws a curve through activation space: the
mean activation at each of its values. The directions in which those means vary span the manifold's subspace.
Two curves L_i(n) follow:

* **isolated**: a small autoencoder sees nothing else, and n is its width. It sees the curve alone (``curve``:
  the mean at each value), or the tokens projected into the subspace (``tokens``), which scatter about it;
* **in the dictionary**: a trained checkpoint's error within the subspace, over the variance there; n is the
  number of its latents that are tuned to the coordinate.

A Gaussian cloud with the covariance of the projected tokens (``gaussian``) says what is due to shape.

>>> angle = torch.linspace(0, 6, 600)
>>> x = torch.stack([angle.cos(), angle.sin(), torch.zeros(600)], dim=1)
>>> found = subspace(x, angle.numpy(), most=2)
>>> tuple(found.axes.shape), found.share > 0.9
((3, 2), True)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from geowall.kernels.evaluate import Tokens
from geowall.sae.curves import rule
from geowall.sae.model import Sae
from geowall.sae.rows import Rows
from geowall.sae.schedule import Schedule, grid
from geowall.sae.training import train

BINS = 24  # values of a coordinate that are told apart, by its quantiles
DIMENSIONS = 6  # of a manifold's subspace
CODES = 2**22  # held at once: 16 MB
TUNED = 0.05  # share of a latent's variance that the coordinate explains


@dataclass(frozen=True)
class Manifold:
    """The subspace of a coordinate's mean activations.

    ``mean`` is the mean of the tokens that have the coordinate, ``axes`` span the subspace, ``bins`` gives
    each token's bin (-1: it has none), ``share`` is how much of the tokens' variance lies between bins, and
    ``within`` how much of that the axes hold.
    """

    mean: Float[Tensor, " d_model"]
    axes: Float[Tensor, "d_model axis"]
    bins: Int[Tensor, " token"]
    share: float
    within: float


def subspace(
    x: Float[Tensor, "token d_model"], coordinate: Float[np.ndarray, " token"], most: int = DIMENSIONS
) -> Manifold:
    """Find where the mean activation goes as the coordinate changes; NaN means that a token has none."""
    bins = bins_of(coordinate)
    kept = bins >= 0
    own, which = x[kept].double(), bins[kept]
    mean, count = own.mean(0), torch.bincount(which).double()
    sums = torch.zeros(len(count), x.shape[1], dtype=torch.float64).index_add_(0, which, own - mean)
    means = sums / count.clamp(min=1)[:, None]
    between = (means * count[:, None]).T @ means / len(own)
    values, vectors = torch.linalg.eigh(between)
    axes = vectors[:, -most:].flip(1)
    total = float((own - mean).square().sum() / len(own))
    spread = float(values.sum().clamp(min=1e-30))
    return Manifold(mean.float(), axes.float(), bins, spread / total, float(values[-most:].sum()) / spread)


def bins_of(coordinate: Float[np.ndarray, " token"], most: int = BINS) -> Int[Tensor, " token"]:
    """Bins by value where there are few values, by quantile where there are many; -1 where there is none."""
    series = pd.Series(np.asarray(coordinate, float))
    if series.nunique() > most:
        series = pd.qcut(series, most, labels=False, duplicates="drop")
    return torch.from_numpy(pd.factorize(series, sort=True)[0].astype(np.int64))


def isolated(
    clouds: Mapping[tuple[str, str], Float[Tensor, "token axis"]],
    n_latents: Sequence[int],
    rules: Sequence[str],
    seeds: Sequence[int],
    steps: int = 600,
    threads: int = 1,
) -> pd.DataFrame:
    """L(n) of clouds by the names of their manifold and setting.

    Columns: manifold, setting, architecture, penalty, n_latents, seed, loss (share of the cloud's variance,
    penalty included), l0.
    """
    rows = []
    for (name, setting), cloud in clouds.items():
        members = grid([Rows(cloud, name=name)], n_latents, [rule(text) for text in rules], seeds)
        schedule = Schedule(steps=steps, batch=512, lr=5e-3, every=steps)
        table = train(members, schedule, threads=threads).table
        rows.append(table.assign(setting=setting, manifold=name))
    columns = ["manifold", "setting", "architecture", "penalty", "n_latents", "seed", "loss", "l0"]
    return pd.concat(rows, ignore_index=True)[columns]


def clouds(x: Float[Tensor, "token d_model"], manifold: Manifold, seed: int) -> dict[str, Tensor]:
    """What the isolated autoencoders of one manifold see: its curve, its tokens, their Gaussian twin."""
    kept = manifold.bins >= 0
    tokens, bins = (x[kept] - manifold.mean) @ manifold.axes, manifold.bins[kept]
    count = torch.bincount(bins).to(tokens)
    means = tokens.new_zeros(len(count), tokens.shape[1]).index_add_(0, bins, tokens) / count[:, None]
    return {"curve": means[bins], "tokens": tokens, "gaussian": gaussian(tokens, seed)}


def gaussian(cloud: Float[Tensor, "token axis"], seed: int) -> Float[Tensor, "token axis"]:
    """As many normal draws with the mean and covariance of a cloud."""
    centred = cloud.double() - cloud.double().mean(0)
    values, vectors = torch.linalg.eigh(centred.T @ centred / len(cloud))
    random = torch.Generator().manual_seed(seed)
    drawn = torch.randn(cloud.shape, generator=random, dtype=torch.float64)
    return (drawn @ ((vectors * values.clamp(min=0).sqrt()) @ vectors.T) + cloud.double().mean(0)).float()


def within(
    sae: Sae, tokens: Tokens, manifold: Manifold, documents: Int[np.ndarray, " token"], draws: int = 200
) -> dict[str, float | int]:
    """Error of a checkpoint within a manifold's subspace, over the variance there, and its tuned latents.

    Returns ``loss`` with the ends of a 95 % bootstrap interval over documents, and ``n_latents``: latents
    of whose variance the coordinate explains a twentieth, and more than of 99 % of them when codes and bins
    are shifted against each other by half the sample.
    """
    kept = (manifold.bins >= 0).nonzero().flatten()
    bins, shifted = manifold.bins[kept], manifold.bins[kept].roll(len(kept) // 2)
    parts, sums = [], [Tuning(sae.d_sae, int(bins.max()) + 1) for _ in range(2)]
    axes, step = sae.W_dec @ manifold.axes, max(1, CODES // sae.d_sae)
    for start in range(0, len(kept), step):
        x, here = tokens.x[kept[start : start + step]], slice(start, start + step)
        codes = sae.encode(x)
        off = (codes @ axes + (sae.b_dec - manifold.mean) @ manifold.axes).double()
        own = ((x - manifold.mean) @ manifold.axes).double()
        parts.append(torch.stack([(own - off).square().sum(1), own.square().sum(1)]))
        for one, which in zip(sums, (bins, shifted), strict=True):
            one.add(codes, which[here])
    error, spread = torch.cat(parts, dim=1).numpy()
    explained, chance = (one.explained() for one in sums)
    bar = max(TUNED, float(chance.quantile(0.99)))
    low, high = _interval(error, spread, documents[kept.numpy()], draws)
    return {
        "n_latents": int((explained > bar).sum()),
        "loss": float(error.sum() / spread.sum()),
        "low": low,
        "high": high,
    }


class Tuning:
    """Share of each latent's variance that lies between the bins of a coordinate, a tile of codes at a time.

    >>> codes = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0], [0.0, 1.0]])
    >>> tuning = Tuning(latents=2, bins=2)
    >>> tuning.add(codes, torch.tensor([0, 0, 1, 1]))
    >>> tuning.explained().tolist()
    [1.0, 0.0]
    """

    def __init__(self, latents: int, bins: int) -> None:
        self.count = torch.zeros(bins, dtype=torch.float64)
        self.sums = torch.zeros(bins, latents, dtype=torch.float64)
        self.squares = torch.zeros(latents, dtype=torch.float64)

    def add(self, codes: Float[Tensor, "token latent"], bins: Int[Tensor, " token"]) -> None:
        """Take a tile of codes and its tokens' bins."""
        self.count += torch.bincount(bins, minlength=len(self.count))
        self.sums += torch.zeros_like(self.sums).index_add_(0, bins, codes.double())
        self.squares += codes.double().square().sum(0)

    def explained(self) -> Float[Tensor, " latent"]:
        """The shares; zero for a latent that never varied."""
        overall = self.sums.sum(0) / self.count.sum()
        means = self.sums / self.count.clamp(min=1)[:, None]
        between = ((means - overall).square() * self.count[:, None]).sum(0)
        total = self.squares - self.count.sum() * overall.square()
        return torch.where(total > 1e-12, between / total.clamp(min=1e-12), 0.0)


def _interval(above: np.ndarray, below: np.ndarray, groups: np.ndarray, draws: int) -> tuple[float, float]:
    """95 % interval of a ratio of sums when whole documents are drawn again."""
    above, below, seen = np.bincount(groups, above), np.bincount(groups, below), np.bincount(groups) > 0
    above, below = above[seen], below[seen]
    weights = np.random.default_rng(0).multinomial(len(above), np.full(len(above), 1 / len(above)), draws)
    low, high = np.quantile((weights @ above) / np.maximum(weights @ below, 1e-30), [0.025, 0.975])
    return float(low), float(high)
