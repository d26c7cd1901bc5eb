"""How well a checkpoint rebuilds tokens, and how sparsely, without ever writing tokens x latents.

Four scalars a token are enough for every error measure: the squared error, the product with the
reconstruction, the squared norm of the reconstruction, and the number of active latents. Three paths give
them:

* ``compiled`` (``evaluate.cpp``, where the processor has AVX512-BF16): screens in bfloat16 and settles what
  is near a threshold in float32, so that gates are those of an exact encoder; decodes the active rows only;
* ``torch``: tiles of latents in float32, decoded sparsely where ``d_sae / L0`` says it pays;
* ``slow``: the definition, three lines.

>>> from types import SimpleNamespace
>>> eye, zero = torch.eye(2), torch.zeros(2)
>>> sae = SimpleNamespace(architecture="relu", W_enc=eye, b_enc=zero, W_dec=eye, b_dec=zero, threshold=zero)
>>> found = evaluate(sae, torch.tensor([[3.0, -4.0]]))
>>> found.squared_error.tolist(), found.l0.tolist(), found.fired.tolist(), found.nmse(25.0).tolist()
([16.0], [1], [1, 0], [0.64])
"""

from __future__ import annotations

import ctypes
from functools import cached_property
from typing import NamedTuple, Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import embedding_bag

from geowall.kernels import compiled

GATED = ("relu", "jumprelu", "batchtopk")  # a latent is active by its own pre-activation alone
SPARSE = 5.5  # d_sae / L0 above which a sparse decoder wins on a CPU
CODES = 2**22  # codes the torch path holds at once: 16 MB
BLOCK = 8  # tokens the compiled path takes at once


class Dictionary(Protocol):
    """What is evaluated: :class:`geowall.sae.Sae`, or anything with its arrays; ``encode`` if not gated."""

    architecture: str
    W_enc: Float[Tensor, "d_model d_sae"]
    b_enc: Float[Tensor, " d_sae"]
    W_dec: Float[Tensor, "d_sae d_model"]
    b_dec: Float[Tensor, " d_model"]
    threshold: Float[Tensor, " d_sae"]


class Errors(NamedTuple):
    """What a checkpoint does to each token, and how often each latent fired."""

    squared_error: Float[Tensor, " token"]
    product: Float[Tensor, " token"]  # x . reconstruction
    squared_norm: Float[Tensor, " token"]  # of the reconstruction
    l0: Int[Tensor, " token"]
    fired: Int[Tensor, " latent"]

    def nmse(self, square: Float[Tensor, " token"]) -> Float[Tensor, " token"]:
        """Squared error over the token's own squared norm, uncentred (Zaher et al. 2026, section 3)."""
        return self.squared_error / torch.as_tensor(square).clamp(min=1e-30)

    def cosine(self, square: Float[Tensor, " token"]) -> Float[Tensor, " token"]:
        """Cosine of token and reconstruction; zero where either vanishes."""
        return self.product / (torch.as_tensor(square) * self.squared_norm).clamp(min=1e-30).sqrt()


class Tokens:
    """Tokens as the compiled path wants them, made once for all checkpoints of a layer."""

    def __init__(self, x: Float[Tensor, "token d_model"]) -> None:
        self.x = x.float().contiguous()

    @cached_property
    def square(self) -> Float[Tensor, " token"]:
        """Squared norms, in double."""
        return self.x.double().square().sum(1)

    @cached_property
    def packed(self) -> tuple[Tensor, Tensor, Tensor]:
        """Pairs in bfloat16, norms of the rounded tokens, norms of what rounding took."""
        tokens, d = self.x.shape
        pairs = torch.empty(-(-tokens // BLOCK) * BLOCK * ((d + 1) // 2), dtype=torch.int32)
        norm, residue = torch.empty(tokens), torch.empty(tokens)
        _library().evaluate_pack(tokens, d, *map(_address, (self.x, pairs, norm, residue)))
        return pairs, norm, residue


def evaluate(sae: Dictionary, x: Float[Tensor, "token d_model"] | Tokens, path: str = "auto") -> Errors:
    """Errors and sparsity of ``sae`` on tokens; float64 sums, int64 counts.

    Args:
        sae: what is evaluated; on the device of ``x``.
        x: tokens, or :class:`Tokens` where several checkpoints are to see them.
        path: ``auto``, ``compiled``, ``torch``, ``slow``, or ``chip`` (Triton).
    """
    tokens = x if isinstance(x, Tokens) else Tokens(x)
    path = _path(sae, tokens) if path == "auto" else path
    if path == "chip":
        from geowall.kernels import chip_evaluate

        return chip_evaluate.evaluate(sae, tokens.x)
    return {"compiled": _compiled, "torch": _torch, "slow": evaluate_slow}[path](sae, tokens)


def evaluate_slow(sae: Dictionary, tokens: Tokens) -> Errors:
    """The definition, in double."""
    x, codes = tokens.x.double(), _codes(sae, tokens.x, torch.float64)
    rebuilt = codes @ sae.W_dec.double() + sae.b_dec.double()
    return Errors(*_sums(x, rebuilt), (codes > 0).sum(1), (codes > 0).sum(0))


def available() -> bool:
    """Tell whether the compiled path serves this machine."""
    return _library() is not None and bool(_library().evaluate_supported())


def _path(sae: Dictionary, tokens: Tokens) -> str:
    if sae.architecture in GATED and tokens.x.device.type == "cpu" and available():
        return "compiled"
    if sae.architecture in GATED and tokens.x.device.type == "cuda":
        return "chip"
    return "torch"


def _compiled(sae: Dictionary, tokens: Tokens) -> Errors:
    """Screen, settle, decode. Room for active latents is guessed, and made where it was too little."""
    count, d = tokens.x.shape
    arrays = [getattr(sae, n).float().contiguous() for n in ("W_enc", "b_enc", "threshold", "W_dec", "b_dec")]
    W_enc, b_enc, threshold, W_dec, b_dec = arrays
    n, room = len(b_enc), min(len(b_enc), 256)
    for _ in range(2):
        latent, value = torch.empty(count, room, dtype=torch.int32), torch.empty(count, room)
        l0, fired = torch.zeros(count, dtype=torch.int32), torch.zeros(n, dtype=torch.int64)
        most = _library().evaluate_encode(
            *(count, d, n, room),
            *map(_address, (tokens.x, *tokens.packed, W_enc, b_enc, threshold, latent, value, l0, fired)),
        )
        if most <= room:
            break
        room = most
    sums = torch.zeros(3, count, dtype=torch.float64)
    _library().evaluate_decode(
        *(count, d, room), *map(_address, (tokens.x, latent, value, l0, W_dec, b_dec, *sums))
    )
    return Errors(*sums, l0.long(), fired)


def _torch(sae: Dictionary, tokens: Tokens) -> Errors:
    """Float32 codes, a tile of tokens at a time."""
    step, parts = max(1, CODES // len(sae.b_enc)), []
    for start in range(0, len(tokens.x), step):
        x = tokens.x[start : start + step]
        codes = _codes(sae, x, torch.float32)
        on = codes > 0
        if len(sae.b_enc) > SPARSE * max(1.0, float(on.sum()) / len(x)):
            rebuilt = _sparse(codes, on, sae.W_dec) + sae.b_dec
        else:
            rebuilt = torch.addmm(sae.b_dec, codes, sae.W_dec)
        parts.append(Errors(*_sums(x.double(), rebuilt.double()), on.sum(1), on.sum(0)))
    if not parts:
        return evaluate_slow(sae, tokens)
    joined = [torch.cat(values) for values in list(zip(*parts, strict=True))[:4]]
    return Errors(*joined, torch.stack([part.fired for part in parts]).sum(0))


def _codes(sae: Dictionary, x: Tensor, dtype: torch.dtype) -> Tensor:
    if sae.architecture not in GATED:
        return sae.encode(x).to(dtype)
    p = torch.addmm(sae.b_enc.to(dtype), x.to(dtype), sae.W_enc.to(dtype))
    return p * ((p > sae.threshold.to(dtype)) & (p > 0))


def _sparse(codes: Tensor, on: Tensor, W_dec: Tensor) -> Tensor:
    """``codes @ W_dec`` from the active codes alone."""
    starts = on.sum(1).cumsum(0).roll(1)
    starts[0] = 0
    return embedding_bag(on.nonzero()[:, 1], W_dec, starts, mode="sum", per_sample_weights=codes[on])


def _sums(x: Tensor, rebuilt: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return (x - rebuilt).square().sum(1), (x * rebuilt).sum(1), rebuilt.square().sum(1)


def _library() -> ctypes.CDLL | None:
    found = compiled.library("evaluate.cpp")
    if found is not None:
        found.evaluate_encode.restype = ctypes.c_long
    return found


def _address(tensor: Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(tensor.data_ptr())
