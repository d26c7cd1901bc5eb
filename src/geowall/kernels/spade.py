"""Training steps of SpaDE: codes are sparsemax of the scaled, negative squared distances to prototypes.

``z = sparsemax(-L |x - w_i|^2)`` and ``x_hat = z D`` (Hindupur et al. 2025). What all latents share drops out
of a sparsemax, so the scores are ``2 L w.x - L |w|^2``: a batch x latents array, never one with d_model too.
Off the support everything vanishes, the gradient included. The compiled step therefore makes one matrix
product, a tile of tokens at a time, and then touches only prototypes that a token uses. Twin:
:func:`geowall.kernels.sae_step.steps_slow` with the architecture ``spade``.

In the flat parameter vector the raw sharpness (``L`` is its softplus) is the first of the thresholds; biases
stay zero.

>>> sharpness(raw(torch.tensor(0.25))).item()
0.25
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

from geowall.kernels import compiled
from geowall.kernels.sparsemax import address

if TYPE_CHECKING:
    from geowall.kernels.sae_step import Rule, Views


class _Adam(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_float) for name in ("l1", "clip", "beta1", "beta2", "eps"))


def sharpness(raw: Tensor) -> Tensor:
    """The scale of squared distances, from the parameter that is trained."""
    return softplus(raw)


def raw(sharpness: Tensor) -> Tensor:
    """The inverse of :func:`sharpness`."""
    return sharpness + torch.log(-torch.expm1(-sharpness))


def scores(
    parts: Views, x: Float[Tensor, "*member token d_model"]
) -> tuple[Float[Tensor, "*member token latent"], Tensor]:
    """What sparsemax is taken of, and the sharpness [*member, 1, 1]."""
    scale = sharpness(parts.log_threshold[..., :1, None])
    square = parts.enc.square().sum(-1).unsqueeze(-2)
    return scale * (2.0 * x @ parts.enc.transpose(-1, -2) - square), scale


def distances(scores: Tensor, scale: Tensor, x: Tensor) -> Tensor:
    """Squared distances to every prototype, from the scores: ``|x|^2`` less what the scores hold of them."""
    return x.square().sum(-1, keepdim=True) - scores / scale


def available() -> bool:
    """Tell whether the compiled path serves this machine."""
    return compiled.library("sparsemax.cpp") is not None


def gradients(
    params: Float[Tensor, " parameter"], x: Float[Tensor, "token d_model"], rule: Rule, n_latents: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradient, curve row and firing counts of one batch; twin: :func:`sae_step.gradients_slow`."""
    _check(params, x, n_latents)
    grad, curve = torch.empty_like(params), torch.empty(4)
    fired = torch.zeros(n_latents, dtype=torch.float64)
    compiled.library("sparsemax.cpp").spade_gradients(
        *(n_latents, x.shape[1], len(x), ctypes.c_float(rule.l1)),
        *map(address, (params, x, grad, curve, fired)),
    )
    return grad, curve, fired.float()


def steps(
    state: Float[Tensor, "3 parameter"],
    x: Float[Tensor, "step token d_model"],
    lr: Float[Tensor, " step"],
    t0: int,
    rule: Rule,
    n_latents: int,
) -> tuple[int, Float[Tensor, "step 4"], Float[Tensor, " latent"]]:
    """Take a step for each batch, in place on ``state``; twin: :func:`sae_step.steps_slow`.

    The interpreter's lock is released meanwhile, so threads may train different members.
    """
    _check(state, x, n_latents)
    n_steps, batch, d_model = x.shape
    curve, rates = torch.zeros(n_steps, 4), lr.float().contiguous()
    fired = torch.zeros(n_latents, dtype=torch.float64)
    settings = _Adam(*(getattr(rule, name) for name, _ in _Adam._fields_))
    taken = compiled.library("sparsemax.cpp").spade_steps(
        *(n_latents, d_model, batch, n_steps, ctypes.byref(settings)),
        *map(address, (*state, x, rates)),
        t0,
        *map(address, (curve, fired)),
    )
    return taken, curve, fired.float()


def _check(params: Tensor, x: Tensor, n_latents: int) -> None:
    tensors, length = (params, x), n_latents * (2 * x.shape[-1] + 2) + x.shape[-1]
    sound = all(t.is_contiguous() and t.dtype == torch.float32 and t.device.type == "cpu" for t in tensors)
    if not sound or params.shape[-1] != length:
        raise ValueError("contiguous float32 tensors on the CPU, of matching sizes, are needed")
