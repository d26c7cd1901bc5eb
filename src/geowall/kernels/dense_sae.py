"""Closed-form training steps in torch for any size and device, with every buffer made once.

Five matrix products a batch, none for x: codes, reconstruction, the error sent back, and the two weight
gradients. On a CPU the batch goes through in tiles of tokens whose codes fit the cache; on a GPU members of
one shape go through together along the leading axis.

>>> work = Workspace(1, 2, 4, 3, torch.device("cpu"))
>>> work.tile
4
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from geowall.kernels import spade
from geowall.kernels.sae_step import Rule, Views, cut_of, update, views
from geowall.kernels.sparsemax import sparsemax

CACHE = 2**18  # floats of codes in flight on a CPU: 1 MB


@dataclass
class Workspace:
    """Buffers for ``members`` autoencoders of ``n_latents`` at a batch of ``batch`` tokens."""

    members: int
    n_latents: int
    batch: int
    d_model: int
    device: torch.device
    dtype: torch.dtype = torch.float32
    whole: bool = False
    tile: int = field(init=False)

    def __post_init__(self) -> None:
        fits = max(64, CACHE // max(1, self.members * self.n_latents))
        self.tile = self.batch if self.whole or self.device.type != "cpu" else min(self.batch, fits)
        wide = (self.members, self.tile, self.n_latents)
        options = {"device": self.device, "dtype": self.dtype}
        self.p, self.back = torch.empty(wide, **options), torch.empty(wide, **options)


def gradients(
    params: Float[Tensor, "member parameter"],
    x: Float[Tensor, "member token d_model"],
    rule: Rule,
    n_latents: int,
    work: Workspace | None = None,
    l1: Tensor | None = None,
    l0: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients, curve rows [member, 4] and firing counts [member, latent].

    ``l1`` and ``l0`` [member] override the rule's, so that members may differ in their penalty; twin:
    :func:`sae_step.gradients_slow`, member by member.
    """
    members, batch, d_model = x.shape
    whole = rule.architecture == "batchtopk"
    work = work or Workspace(members, n_latents, batch, d_model, x.device, whole=whole)
    l1 = params.new_full((members,), rule.l1) if l1 is None else l1
    l0 = params.new_full((members,), rule.l0) if l0 is None else l0
    grad = torch.zeros_like(params)
    curve, fired = params.new_zeros(members, 4), params.new_zeros(members, n_latents)
    weights, into = views(params, n_latents, d_model), views(grad, n_latents, d_model)
    take = _spade_tile if rule.architecture == "spade" else _tile
    for start in range(0, batch, work.tile):
        take(weights, into, x[:, start : start + work.tile], batch, rule, work, l1, l0, curve, fired)
    into.log_threshold.mul_(
        weights.log_threshold.sigmoid() if rule.architecture == "spade" else weights.log_threshold.exp()
    )
    curve[:, :3] /= batch
    return grad, curve, fired


def _tile(
    w: Views,
    into: Views,
    x: Tensor,
    batch: int,
    rule: Rule,
    work: Workspace,
    l1: Tensor,
    l0: Tensor,
    curve: Tensor,
    fired: Tensor,
) -> None:
    """Add one tile of tokens to gradients, curve and firing counts."""
    tokens, low = x.shape[1], work.dtype
    xs, enc, dec = x.to(low), w.enc.to(low), w.dec.to(low)
    p, back = work.p[:, :tokens], work.back[:, :tokens]
    torch.baddbmm(w.b_enc.to(low).unsqueeze(1), xs, enc.transpose(1, 2), out=p)
    on, near, theta = _gates(w, p, rule)
    if rule.architecture == "batchtopk":
        curve[:, 3] = cut_of(p, rule).clamp(min=0).flatten().to(curve.dtype)
    f = p.mul_(on)
    error = torch.baddbmm(w.b_dec.to(low).unsqueeze(1), f, dec) - xs
    torch.bmm(error, dec.transpose(1, 2), out=back)
    back.mul_(2.0 / batch).add_((l1 / batch).view(-1, 1, 1).to(low))
    if near is not None:
        slope = theta * back.float() + (l0 / batch).view(-1, 1, 1)
        into.log_threshold.sub_((near * slope).sum(1) / rule.bandwidth)
    back.mul_(on)
    into.enc.add_(torch.bmm(back.transpose(1, 2), xs))
    into.dec.add_(torch.bmm(f.transpose(1, 2), error), alpha=2.0 / batch)
    into.b_enc.add_(back.sum(1, dtype=into.b_enc.dtype))
    into.b_dec.add_(error.sum(1, dtype=into.b_dec.dtype), alpha=2.0 / batch)
    counts = on.sum(1, dtype=fired.dtype)
    fired += counts
    curve[:, 0] += error.float().square().sum((1, 2))
    curve[:, 1] += f.sum((1, 2), dtype=curve.dtype)
    curve[:, 2] += counts.sum(1)


def _spade_tile(
    w: Views,
    into: Views,
    x: Tensor,
    batch: int,
    rule: Rule,
    work: Workspace,
    l1: Tensor,
    l0: Tensor,
    curve: Tensor,
    fired: Tensor,
) -> None:
    """The same for SpaDE: a score's gradient is the code's, less its mean on the support."""
    low, pull = work.dtype, (2.0 * l1 / batch).view(-1, 1, 1)
    p, scale = spade.scores(w, x)
    far, f = spade.distances(p, scale, x), sparsemax(p)
    on = f > 0
    error = torch.bmm(f.to(low), w.dec.to(low)).to(x.dtype) - x
    back = torch.bmm(error.to(low), w.dec.to(low).transpose(1, 2)).to(x.dtype)
    back.mul_(2.0 / batch).add_(0.5 * pull * far)
    back.sub_((back * on).sum(2, keepdim=True) / on.sum(2, keepdim=True)).mul_(on)
    towards = 2.0 * scale * back - pull * f
    into.enc.add_(torch.bmm(towards.transpose(1, 2).to(low), x.to(low)))
    into.enc.sub_(towards.sum(1).unsqueeze(-1) * w.enc)
    into.dec.add_(torch.bmm(f.transpose(1, 2).to(low), error.to(low)), alpha=2.0 / batch)
    into.log_threshold[:, 0] -= (back * far).sum((1, 2))
    counts = on.sum(1, dtype=fired.dtype)
    fired += counts
    curve[:, 0] += error.square().sum((1, 2))
    curve[:, 1] += (f * far).sum((1, 2))
    curve[:, 2] += counts.sum(1)


def _gates(w: Views, p: Tensor, rule: Rule) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Which latents are active, which are near their threshold, and the thresholds."""
    if rule.architecture != "jumprelu":
        return (p >= cut_of(p, rule)) & (p > 0), None, None
    theta = w.log_threshold.exp().unsqueeze(1)
    return p > theta, (p.float() - theta).abs() < 0.5 * rule.bandwidth, theta


def steps(
    state: Float[Tensor, "member 3 parameter"],
    x: Float[Tensor, "member step token d_model"],
    lr: Float[Tensor, " step"],
    t0: int,
    rule: Rule,
    n_latents: int,
    l1: Tensor | None = None,
    l0: Tensor | None = None,
    dtype: torch.dtype = torch.float32,
) -> tuple[Tensor, Float[Tensor, "member step 4"], Float[Tensor, "member latent"]]:
    """Take a step for each batch, in place on ``state``; twin: :func:`sae_step.steps_slow`.

    Returns the steps each member took before its loss ceased to be finite (it then stands still), the
    curves, and the firing counts. ``dtype`` is that of the matrix products; weights stay float32.
    """
    members, n_steps, batch, d_model = x.shape
    whole = rule.architecture == "batchtopk"
    work = Workspace(members, n_latents, batch, d_model, x.device, dtype, whole)
    curve, fired = x.new_zeros(members, n_steps, 4), x.new_zeros(members, n_latents)
    taken = torch.full((members,), n_steps, device=x.device)
    params, m, v = state.unbind(1)
    for s in range(n_steps):
        grad, curve[:, s], counts = gradients(params, x[:, s], rule, n_latents, work, l1, l0)
        fine = curve[:, s].isfinite().all(1) & (taken == n_steps)
        fired += counts * fine[:, None]
        if bool(fine.all()):
            update(params, m, v, grad, float(lr[s]), t0 + s + 1, rule, n_latents)
            continue
        taken = torch.where(fine, taken, taken.clamp(max=s))
        before = state.clone()
        update(params, m, v, grad.nan_to_num(0, 0, 0), float(lr[s]), t0 + s + 1, rule, n_latents)
        state[~fine] = before[~fine]
    return taken, curve, fired
