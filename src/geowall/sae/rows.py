"""Activations of a model as training data: the rows of an array, put on the scale that the trainers expect.

Starts, learning rates and bandwidths are for tokens about the origin with a norm of about 1, so rows are
centred and divided by their root mean square norm; :meth:`Rows.restore` takes an autoencoder trained on them
back to the units of the array.

>>> raw = 5.0 + 3.0 * torch.randn(1000, 4, generator=generator(0))
>>> rows = Rows(raw, name="layer 3")
>>> rows, tuple(rows.sample(8, seed=1).shape), round(float(rows.unseen(100, 0).square().sum(1).mean()), 1)
(Rows('layer 3', 900 x 4, 49e98cdf), (8, 4), 1.0)
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from geowall.manifolds import generator
from geowall.paths import GeowallError
from geowall.sae.model import Sae

CHUNK = 65_536  # rows hashed, and summed in float64, at once


class Rows:
    """A data source of a sweep beside the manifolds: ``sample`` draws rows with replacement.

    Two are equal when their content, split and name are, on any machine; the checkpoints of a sweep rely on
    it. The array is held, not copied: it may be of any floating type, on any device, or mapped from a file.

    Attributes:
        name: stands in the column ``manifold`` of every table.
        mean: of the training rows [d_model]; zero when not ``centre``.
        scale: root mean square norm of the training rows, about ``mean``.
    """

    def __init__(
        self,
        array: Float[Tensor, "row d_model"],
        name: str = "rows",
        held_out: float = 0.1,
        centre: bool = True,
    ) -> None:
        """Split off the last share ``held_out`` of the array, for measuring, and read the scale of the rest.

        Raises:
            GeowallError: if there are no rows on one side of the split, or values that are not finite.
        """
        count = len(array) - int(held_out * len(array))
        if array.ndim != 2 or not 0 < count < len(array):
            why = f"an array of shape {tuple(array.shape)} with a share {held_out:g} held out"
            raise GeowallError(
                "no rows to train on", why, "give a matrix of a row a token, and keep rows on both sides"
            )
        self.name, self.count, self._array = name, count, array
        self.mean, self.scale = _moments(array[:count], centre)
        self._digest = _digest(array, count, name, centre)

    @property
    def d_model(self) -> int:
        """Dimensions of a row."""
        return self._array.shape[1]

    def sample(self, n: int, seed: int, device: str = "cpu") -> Float[Tensor, "token d_model"]:
        """Draw ``n`` training rows with replacement, centred and scaled; equal seeds give equal rows."""
        return self._take(torch.randint(self.count, (n,), generator=generator(seed)), device)

    def unseen(self, n: int, seed: int, device: str = "cpu") -> Float[Tensor, "token d_model"]:
        """At most ``n`` held-out rows, each once."""
        order = torch.randperm(len(self._array) - self.count, generator=generator(seed))
        return self._take(self.count + order[:n], device)

    def restore(self, sae: Sae) -> Sae:
        """The autoencoder that does to raw rows what ``sae`` does to centred and scaled ones.

        Decoder rows keep their unit norm; codes and thresholds are in the units of the array (but SpaDE's
        codes have no unit: its prototypes and decoder rows are restored).
        """
        enc = sae.W_enc
        if sae.architecture == "spade":
            return self._restore_spade(sae)
        return replace(
            sae,
            b_enc=self.scale * sae.b_enc - self.mean @ enc,
            b_dec=self.scale * sae.b_dec + self.mean,
            threshold=self.scale * sae.threshold,
        )

    def _restore_spade(self, sae: Sae) -> Sae:
        points, sharpness = self.scale * sae.prototypes + self.mean, sae.sharpness / self.scale**2
        return replace(
            sae,
            W_enc=2.0 * sharpness * points.T,
            b_enc=-sharpness * points.square().sum(1),
            W_dec=self.scale * sae.W_dec,
            b_dec=self.scale * sae.b_dec + self.mean,
        )

    def _take(self, at: Tensor, device: str) -> Tensor:
        rows = self._array[at.to(self._array.device)].to(device).float()
        return (rows - self.mean.to(device)) / self.scale

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rows) and self._digest == other._digest

    def __hash__(self) -> int:
        return int(self._digest, 16)

    def __repr__(self) -> str:
        return f"Rows({self.name!r}, {self.count} x {self.d_model}, {self._digest})"


def _moments(array: Tensor, centre: bool) -> tuple[Tensor, float]:
    """Mean row and root mean square norm about it, summed in float64."""
    total = sum(part.double().sum(0) for part in array.split(CHUNK)).cpu()
    square = sum(part.double().square().sum() for part in array.split(CHUNK)).cpu() / len(array)
    mean = total / len(array) if centre else torch.zeros_like(total)
    scale = float((square - mean.square().sum()).clamp(min=0).sqrt())
    if not 0.0 < scale < float("inf"):
        raise GeowallError(
            "no rows to train on", f"their norm is {scale}", "drop rows that are not finite, or all equal"
        )
    return mean.float(), scale


def _digest(array: Tensor, count: int, name: str, centre: bool) -> str:
    """Eight hexadecimal digits of everything that training on the array depends on."""
    hashed = hashlib.sha256(f"{name} {count} {centre} {tuple(array.shape)} {array.dtype}".encode())
    for part in array.split(CHUNK):
        hashed.update(part.contiguous().cpu().view(torch.uint8).numpy())
    return hashed.hexdigest()[:8]
