"""One training step of a sparse autoencoder, as a definition: the slow twin of every fast trainer here.

The loss of a batch, with codes ``f`` and pre-activations ``p = W_enc x + b_enc``, is

    mean |x - W_dec f - b_dec|^2 + l1 mean sum f + l0 mean sum H(p - threshold)

where H has a straight-through gradient of a given bandwidth with respect to the threshold (Rajamanoharan et
al. 2024, arXiv 2407.14435, equations 11 and 12). The rows of the decoder stay on the unit sphere, but for
SpaDE (:mod:`geowall.kernels.spade`), whose decoder is free, which has no biases, and whose ``l1`` weighs each
code by the squared distance to its prototype.

>>> rule = Rule("relu", l1=0.1)
>>> params = torch.zeros(size(2, 3)); views(params, 2, 3).dec[:] = torch.eye(2, 3)
>>> grad, curve, fired = gradients_slow(params, torch.ones(4, 3), rule, 2)
>>> curve[:1].tolist(), views(grad, 2, 3).b_dec.tolist()
([3.0], [-2.0, -2.0, -2.0])
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from geowall.kernels import spade
from geowall.kernels.sparsemax import sparsemax_slow

ARCHITECTURES = ("relu", "jumprelu", "topk", "batchtopk", "matching_pursuit", "spade")
EXACT = "donot_use_mm_for_euclid_dist"
CURVE = ("mse", "code_sum", "active", "cut")  # what every step reports, each a mean over tokens


@dataclass(frozen=True)
class Rule:
    """How a step is taken: the architecture, its penalties, and Adam's settings.

    ``k`` serves topk, batchtopk and matching_pursuit; ``l0`` and ``bandwidth`` serve jumprelu; ``aux`` weighs
    the auxiliary loss in which dead latents rebuild the error (Gao et al. 2024), at most ``k_aux`` a token.
    """

    architecture: str = "relu"
    k: int = 1
    l1: float = 0.0
    l0: float = 0.0
    bandwidth: float = 0.1
    aux: float = 0.0
    k_aux: int = 32
    clip: float = 1.0
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8


class Views(NamedTuple):
    """The parts of a flat parameter vector; a row of ``enc`` or ``dec`` belongs to a latent."""

    enc: Float[Tensor, "*member latent d_model"]
    dec: Float[Tensor, "*member latent d_model"]
    b_enc: Float[Tensor, "*member latent"]
    log_threshold: Float[Tensor, "*member latent"]
    b_dec: Float[Tensor, "*member d_model"]


def size(n_latents: int, d_model: int) -> int:
    """Length of the flat parameter vector."""
    return n_latents * (2 * d_model + 2) + d_model


def views(flat: Float[Tensor, "*member parameter"], n_latents: int, d_model: int) -> Views:
    """View the last axis of ``flat`` as its parts, without a copy."""
    nd, lead = n_latents * d_model, flat.shape[:-1]
    enc, dec, b_enc, log_threshold, b_dec = flat.split([nd, nd, n_latents, n_latents, d_model], dim=-1)
    rows = (*lead, n_latents, d_model)
    return Views(enc.unflatten(-1, rows[-2:]), dec.unflatten(-1, rows[-2:]), b_enc, log_threshold, b_dec)


class Jump(torch.autograd.Function):
    """``p H(p - threshold)`` and ``H(p - threshold)``, with rectangle-kernel gradients for the threshold."""

    @staticmethod
    def forward(ctx, p, threshold, bandwidth):
        """Codes and gates."""
        ctx.save_for_backward(p, threshold)
        ctx.bandwidth = bandwidth
        on = (p > threshold) & (p > 0)
        return p * on, on.to(p.dtype)

    @staticmethod
    def backward(ctx, g_code, g_gate):
        """The pre-activation sees the codes alone; the threshold sees both, near itself."""
        p, threshold = ctx.saved_tensors
        near = ((p - threshold).abs() < 0.5 * ctx.bandwidth) / ctx.bandwidth
        g_threshold = -(near * (threshold * g_code + g_gate)).sum(0)
        return g_code * ((p > threshold) & (p > 0)), g_threshold, None


def cut_of(p: Float[Tensor, "*member token latent"], rule: Rule) -> Tensor:
    """What a pre-activation must reach under ``topk`` (one a token) or ``batchtopk`` (one a batch)."""
    if rule.architecture == "topk" and rule.k < p.shape[-1]:
        return p.topk(rule.k, dim=-1).values[..., -1:]
    kept = rule.k * p.shape[-2]
    if rule.architecture == "batchtopk" and kept < p.shape[-2] * p.shape[-1]:
        return p.flatten(-2).topk(kept, dim=-1).values[..., -1:, None]
    return p.new_zeros(())


def pursue(parts: Views, x: Float[Tensor, "token d_model"], k: int) -> Float[Tensor, "token latent"]:
    """Matching pursuit: ``k`` times, the atom that explains most of what is left takes its share of it."""
    left, codes = x - parts.b_dec, []
    for _ in range(k):
        match = left @ parts.dec.T
        code = torch.zeros_like(match).scatter(1, match.argmax(1, keepdim=True), 1.0) * match.relu()
        left = left - code @ parts.dec
        codes.append(code)
    return torch.stack(codes).sum(0)


def encode(parts: Views, x: Tensor, rule: Rule) -> tuple[Tensor, Tensor, Tensor]:
    """Codes, gates (1 where a latent is active) and pre-activations, differentiable."""
    if rule.architecture == "matching_pursuit":
        f = pursue(parts, x, rule.k)
        return f, (f > 0).to(f.dtype), x @ parts.dec.T
    if rule.architecture == "spade":
        p, _ = spade.scores(parts, x)
        f = sparsemax_slow(p)
        return f, (f > 0).to(f.dtype), p
    p = x @ parts.enc.T + parts.b_enc
    if rule.architecture == "jumprelu":
        return *Jump.apply(p, parts.log_threshold.exp(), rule.bandwidth), p
    on = ((p >= cut_of(p.detach(), rule)) & (p > 0)).to(p.dtype)
    return p * on, on, p


def loss_slow(
    parts: Views, x: Float[Tensor, "token d_model"], rule: Rule, dead: Bool[Tensor, " latent"] | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """The definition: loss, its curve row (see CURVE), and how often each latent fired."""
    f, gate, p = encode(parts, x, rule)
    if rule.architecture == "spade":
        error, weights = x - f @ parts.dec, torch.cdist(x, parts.enc, compute_mode=EXACT).square()
    else:
        error, weights = x - f @ parts.dec - parts.b_dec, torch.ones_like(f)
    mse, code_sum, active = error.square().sum(1).mean(), (weights * f).sum(1).mean(), gate.sum(1).mean()
    loss = mse + rule.l1 * code_sum + rule.l0 * active
    if rule.aux and dead is not None and bool(dead.any()):
        k = min(rule.k_aux, int(dead.sum()))
        best = p.masked_fill(~dead, -torch.inf).topk(k, dim=1)
        spare = torch.zeros_like(p).scatter(1, best.indices, best.values.relu())
        loss = loss + rule.aux * (error.detach() - spare @ parts.dec).square().sum(1).mean()
    cut = cut_of(p.detach(), rule).clamp(min=0).mean() if rule.architecture == "batchtopk" else mse * 0
    return loss, torch.stack([mse, code_sum, active, cut]).detach(), gate.detach().sum(0)


def gradients_slow(
    params: Float[Tensor, " parameter"],
    x: Float[Tensor, "token d_model"],
    rule: Rule,
    n_latents: int,
    dead: Bool[Tensor, " latent"] | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradient by autograd, curve row and firing counts of one batch."""
    leaf = params.detach().clone().requires_grad_()
    loss, curve, fired = loss_slow(views(leaf, n_latents, x.shape[1]), x, rule, dead)
    return torch.autograd.grad(loss, leaf)[0], curve, fired


def update(params: Tensor, m: Tensor, v: Tensor, grad: Tensor, lr: float, t: int, rule: Rule, n: int) -> None:
    """Project the decoder's gradient, clip, step Adam, put the decoder back on the sphere; in place.

    SpaDE's decoder is neither projected nor put back. Vectors have a leading member axis or
    none; clipping is per member. ``t`` counts steps from 1.
    """
    d = (params.shape[-1] - 2 * n) // (2 * n + 1)
    atoms, slope = views(params, n, d).dec, views(grad, n, d).dec
    free = rule.architecture == "spade"
    if not free:
        slope -= (slope * atoms).sum(-1, keepdim=True) * atoms
    grad *= (rule.clip / (grad.norm(dim=-1, keepdim=True) + 1e-6)).clamp(max=1.0)
    m.lerp_(grad, 1.0 - rule.beta1)
    v.mul_(rule.beta2).addcmul_(grad, grad, value=1.0 - rule.beta2)
    root = (v.sqrt() / (1.0 - rule.beta2**t) ** 0.5).add_(rule.eps)
    params.addcdiv_(m, root, value=-lr / (1.0 - rule.beta1**t))
    if not free:
        atoms /= atoms.norm(dim=-1, keepdim=True).clamp(min=1e-12)


def steps_slow(
    state: Float[Tensor, "3 parameter"],
    x: Float[Tensor, "step token d_model"],
    lr: Float[Tensor, " step"],
    t0: int,
    rule: Rule,
    n_latents: int,
    dead: Bool[Tensor, " latent"] | None = None,
) -> tuple[int, Float[Tensor, "step 4"], Float[Tensor, " latent"]]:
    """Take a step for each batch, in place on ``state`` (parameters and Adam's two moments).

    Returns the steps taken before the loss ceased to be finite, their curve, and firing counts.
    """
    curve, fired = torch.zeros(len(x), 4), torch.zeros(n_latents)
    for s in range(len(x)):
        grad, curve[s], counts = gradients_slow(state[0], x[s], rule, n_latents, dead)
        if not bool(curve[s].isfinite().all()):
            return s, curve, fired
        fired += counts.cpu()
        update(*state, grad, float(lr[s]), t0 + s + 1, rule, n_latents)
    return len(x), curve, fired
