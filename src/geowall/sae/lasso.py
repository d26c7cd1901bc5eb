"""The best codes that any encoder could give, for a dictionary: non-negative LASSO, solved with a
certificate.

A trained encoder is one matrix and a threshold; what it loses to the codes below is the price of that
amortisation. Two levels are known in closed form: a signed basis (2 d latents), and an infinite tiling.

>>> round(signed_basis_gauge(3), 3), round(tiling_loss(0.1), 4)
(1.5, 0.0975)
>>> codes = lasso_codes(torch.tensor([[1.0, 0.0]]), torch.eye(2), l1=0.2)
>>> bool(torch.allclose(codes, torch.tensor([[0.9, 0.0]]), atol=1e-4))
True
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from geowall.paths import GeowallError


def lasso_codes(
    x: Float[Tensor, "token d_model"],
    W_dec: Float[Tensor, "latent d_model"],
    l1: float,
    tolerance: float = 1e-4,
    most_steps: int = 20_000,
) -> Float[Tensor, "token latent"]:
    """Codes ``f >= 0`` that minimise ``|x - f W_dec|^2 + l1 sum f`` for each token, by FISTA with restarts.

    Stops when the duality gap, averaged over tokens, is below ``tolerance`` of the mean loss.

    Raises:
        GeowallError: if the gap is not reached in ``most_steps``.
    """
    gram, match = W_dec @ W_dec.T, x @ W_dec.T
    step = 0.5 / float(torch.linalg.eigvalsh(gram)[-1])
    f = torch.zeros_like(match)
    ahead, momentum = f, torch.ones(len(x), 1, dtype=x.dtype, device=x.device)
    for count in range(most_steps):
        new = (ahead - step * (2.0 * (ahead @ gram - match) + l1)).clamp_(min=0.0)
        # Restart the momentum of each token whose last move went uphill (O'Donoghue & Candes 2015).
        uphill = ((ahead - new) * (new - f)).sum(1, keepdim=True) > 0
        grown = torch.where(uphill, 1.0, 0.5 * (1.0 + (1.0 + 4.0 * momentum**2).sqrt()))
        pull = torch.where(uphill, 0.0, (momentum - 1.0) / grown)
        ahead, f, momentum = new + pull * (new - f), new, grown
        if count % 25 == 24:
            loss, gap = certificate(x, W_dec, f, l1)
            if float(gap.mean()) <= tolerance * float(loss.mean()):
                return f
    why = f"the duality gap is still above {tolerance:g} of the loss after {most_steps} steps"
    raise GeowallError("the LASSO codes were not found", why, "raise tolerance or most_steps")


def certificate(
    x: Float[Tensor, "token d_model"],
    W_dec: Float[Tensor, "latent d_model"],
    codes: Float[Tensor, "token latent"],
    l1: float,
) -> tuple[Float[Tensor, " token"], Float[Tensor, " token"]]:
    """Loss of each token, and how far above the optimum it can be at most (the duality gap)."""
    residual = x - codes @ W_dec
    loss = residual.square().sum(1) + l1 * codes.sum(1)
    reach = 2.0 * (residual @ W_dec.T).max(1, keepdim=True).values.clamp(min=1e-30)
    dual = residual * (l1 / reach).clamp(max=1.0)
    return loss, loss - (2.0 * dual * x - dual.square()).sum(1)


def envelope(
    x: Float[Tensor, "token d_model"], W_dec: Float[Tensor, "latent d_model"], l1: float
) -> dict[str, float]:
    """Mean loss, squared error, penalty and l0 of the best codes: no encoder of this dictionary is lower."""
    codes = lasso_codes(x, W_dec, l1)
    error, penalty = float((x - codes @ W_dec).square().sum(1).mean()), l1 * float(codes.sum(1).mean())
    l0 = float((codes > 1e-6).sum(1).float().mean())
    return {"mse": error, "penalty_value": penalty, "loss": error + penalty, "l0": l0}


def signed_basis_gauge(d_model: int) -> float:
    """Mean of ``|x|_1`` on the unit sphere: what 2 d latents at plus and minus a basis pay, for a small
    l1."""
    log_ratio = math.lgamma(d_model / 2) - math.lgamma((d_model + 1) / 2)
    return d_model / math.sqrt(math.pi) * math.exp(log_ratio)


def signed_basis_loss(d_model: int, l1: float, radius: float = 1.0, nodes: int = 20_001) -> float:
    """Loss of a signed basis on a sphere with ideal codes, for any l1, by quadrature over one coordinate.

    A coordinate t costs ``l1 |t| - l1^2/4`` where ``|t| > l1/2`` and ``t^2`` elsewhere; on the unit sphere it
    has the density ``(1 - t^2)^((d-3)/2)``, integrated over the angle ``t = cos(a)``.
    """
    angle = (torch.arange(nodes, dtype=torch.float64) + 0.5) * (math.pi / nodes)
    t = radius * angle.cos().abs()
    weight = angle.sin() ** (d_model - 2)
    cost = torch.where(t > l1 / 2, l1 * t - l1**2 / 4, t**2)
    return d_model * float((cost * weight).sum() / weight.sum())


def tiling_loss(l1: float, radius: float = 1.0) -> float:
    """Loss when every token has a latent of its own direction: ``l1 r - l1^2/4``, or ``r^2`` if all are
    silent."""
    return l1 * radius - l1**2 / 4 if radius > l1 / 2 else radius**2
