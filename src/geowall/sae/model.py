"""A sparse autoencoder as it is used: five arrays in the layout of Gemma Scope, and two functions.

``codes = gate(x @ W_enc + b_enc)`` and ``reconstruction = codes @ W_dec + b_dec``; nothing is subtracted from
x and nothing is normalised. Matching pursuit has no encoder: it reads its codes off the decoder. SpaDE's
scores ``-L |x - w|^2`` fit the same layout, as ``W_enc = 2 L w`` and ``b_enc = -L |w|^2``: its gate is
sparsemax, which does not see the part that all latents share.

>>> eye = torch.eye(2)
>>> sae = Sae("relu", 1, eye, torch.zeros(2), eye, torch.zeros(2), torch.zeros(2))
>>> sae.decode(sae.encode(torch.tensor([[1.0, -1.0], [2.0, 3.0]]))).tolist()
[[1.0, 0.0], [2.0, 3.0]]
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from jaxtyping import Float
from torch import Tensor

from geowall.kernels import spade
from geowall.kernels.sae_step import ARCHITECTURES, Views, pursue, size, views
from geowall.kernels.sparsemax import sparsemax
from geowall.paths import GeowallError


@dataclass(frozen=True)
class Sae:
    """One trained autoencoder. ``threshold`` serves jumprelu (a latent each) and batchtopk (one for all)."""

    architecture: str
    k: int
    W_enc: Float[Tensor, "d_model d_sae"]
    b_enc: Float[Tensor, " d_sae"]
    W_dec: Float[Tensor, "d_sae d_model"]
    b_dec: Float[Tensor, " d_model"]
    threshold: Float[Tensor, " d_sae"]

    def __post_init__(self) -> None:
        if self.architecture not in ARCHITECTURES:
            known = ", ".join(ARCHITECTURES)
            raise GeowallError("no such autoencoder", f"{self.architecture!r} is not known", f"use {known}")

    @property
    def d_sae(self) -> int:
        """Latents in the dictionary."""
        return self.W_dec.shape[0]

    @property
    def d_model(self) -> int:
        """Dimensions of an activation."""
        return self.W_dec.shape[1]

    def encode(self, x: Float[Tensor, "token d_model"]) -> Float[Tensor, "token d_sae"]:
        """Codes, as at inference: batchtopk uses the threshold it learned, not the batch at hand."""
        if self.architecture == "matching_pursuit":
            return pursue(self._views(), x, self.k)
        p = x @ self.W_enc + self.b_enc
        if self.architecture == "spade":
            return sparsemax(p)
        if self.architecture == "topk" and self.k < self.d_sae:
            return p * ((p >= p.topk(self.k, dim=1).values[:, -1:]) & (p > 0))
        return p * ((p > self.threshold) & (p > 0))

    def decode(self, codes: Float[Tensor, "token d_sae"]) -> Float[Tensor, "token d_model"]:
        """Reconstruction from codes."""
        return codes @ self.W_dec + self.b_dec

    def __call__(self, x: Float[Tensor, "token d_model"]) -> Float[Tensor, "token d_model"]:
        """Reconstruction."""
        return self.decode(self.encode(x))

    def to(self, target: str | torch.device | torch.dtype) -> Sae:
        """A copy with its arrays on another device or of another type."""
        moved = {f.name: getattr(self, f.name) for f in fields(self)}
        return Sae(**{n: v.to(target) if isinstance(v, Tensor) else v for n, v in moved.items()})

    @property
    def sharpness(self) -> float:
        """SpaDE's scale of squared distances, L."""
        return float(-self.W_enc.square().sum() / (4.0 * self.b_enc.sum()))

    @property
    def prototypes(self) -> Float[Tensor, "d_sae d_model"]:
        """SpaDE's prototypes, the points that distances are taken from."""
        return self.W_enc.T / (2.0 * self.sharpness)

    def _views(self) -> Views:
        return Views(self.W_enc.T, self.W_dec, self.b_enc, self.threshold, self.b_dec)


def from_flat(
    flat: Float[Tensor, " parameter"], architecture: str, k: int, n_latents: int, cut: float = 0.0
) -> Sae:
    """The autoencoder behind a flat parameter vector of the trainers; ``cut`` is batchtopk's threshold."""
    d_model = (len(flat) - 2 * n_latents) // (2 * n_latents + 1)
    parts = views(flat.detach().clone(), n_latents, d_model)
    threshold = {"jumprelu": parts.log_threshold.exp()}.get(architecture, torch.zeros_like(parts.b_enc))
    if architecture == "batchtopk":
        threshold = threshold + cut
    enc = parts.dec if architecture == "matching_pursuit" else parts.enc
    if architecture == "spade":
        scale = spade.sharpness(parts.log_threshold[0])
        parts.b_enc.copy_(-scale * enc.square().sum(1))
        enc = 2.0 * scale * enc
    return Sae(architecture, k, enc.T.contiguous(), parts.b_enc, parts.dec, parts.b_dec, threshold)


def to_flat(sae: Sae) -> Float[Tensor, " parameter"]:
    """The flat parameter vector of an autoencoder, from which training can go on."""
    flat = sae.W_dec.new_empty(size(sae.d_sae, sae.d_model))
    parts = views(flat, sae.d_sae, sae.d_model)
    arrays = (sae.W_enc.T, sae.W_dec, sae.b_enc, sae.threshold.clamp(min=1e-12).log(), sae.b_dec)
    if sae.architecture == "spade":
        scale = sae.b_enc.new_full(sae.b_enc.shape, sae.sharpness)
        arrays = (sae.prototypes, sae.W_dec, sae.threshold, spade.raw(scale), sae.b_dec)
    for part, value in zip(parts, arrays, strict=True):
        part.copy_(value)
    return flat
