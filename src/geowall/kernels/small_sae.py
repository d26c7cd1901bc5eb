"""Training a small sparse autoencoder in compiled code: whole steps without leaving the cache.

For the few dimensions of a synthetic manifold the matrix products are too thin for a BLAS: the time goes into
writing codes, masks and their gradients. ``small_sae.cpp`` never writes them (see its head). The closed-form
gradient costs five products of batch x latents x d_model; none is taken with respect to x.

>>> available("topk", d_model=3, k=2), available("topk", d_model=300, k=2)
(True, False)
"""

from __future__ import annotations

import ctypes

import torch
from jaxtyping import Float
from torch import Tensor

from geowall.kernels import compiled
from geowall.kernels.sae_step import ARCHITECTURES, Rule, size

D_MAX = 32  # beyond this the lanes' registers spill and a BLAS wins
K_MAX = 64  # the k largest of a token are kept by insertion


class _Rule(ctypes.Structure):
    _fields_ = (
        ("architecture", ctypes.c_int32),
        ("k", ctypes.c_int32),
        *((name, ctypes.c_float) for name in ("l1", "l0", "bandwidth", "clip", "beta1", "beta2", "eps")),
    )


def available(architecture: str, d_model: int, k: int = 1, aux: float = 0.0) -> bool:
    """Tell whether the compiled path serves such an autoencoder on this machine."""
    fits = architecture in ARCHITECTURES[:5] and d_model <= D_MAX and k <= K_MAX and not aux
    return fits and compiled.library("small_sae.cpp", D_MODEL=d_model) is not None


def gradients(
    params: Float[Tensor, " parameter"], x: Float[Tensor, "token d_model"], rule: Rule, n_latents: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradient, curve row and firing counts of one batch; twin: :func:`sae_step.gradients_slow`."""
    _check(params, x, n_latents)
    grad, curve = torch.empty_like(params), torch.empty(4)
    fired = torch.zeros(n_latents, dtype=torch.float64)
    compiled.library("small_sae.cpp", D_MODEL=x.shape[1]).sae_gradients(
        n_latents, len(x), ctypes.byref(_packed(rule)), *map(_address, (params, x, grad, curve, fired))
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
    taken = compiled.library("small_sae.cpp", D_MODEL=d_model).sae_steps(
        *(n_latents, batch, n_steps, ctypes.byref(_packed(rule))),
        *map(_address, (*state, x, rates)),
        t0,
        *map(_address, (curve, fired)),
    )
    return taken, curve, fired.float()


def _packed(rule: Rule) -> _Rule:
    names = [name for name, _ in _Rule._fields_[1:]]
    return _Rule(ARCHITECTURES.index(rule.architecture), *(getattr(rule, name) for name in names))


def _address(tensor: Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(tensor.data_ptr())


def _check(params: Tensor, x: Tensor, n_latents: int) -> None:
    tensors = (params, x)
    sound = all(t.is_contiguous() and t.dtype == torch.float32 and t.device.type == "cpu" for t in tensors)
    if not sound or params.shape[-1] != size(n_latents, x.shape[-1]):
        raise ValueError("contiguous float32 tensors on the CPU, of matching sizes, are needed")
