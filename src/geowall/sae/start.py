"""Where training starts, and how dead latents start again.

The encoder starts as the decoder's transpose, scaled down by min(1, 2 d_model / n_latents): at full scale
half of a wide dictionary fires at once, the reconstruction starts far above the data, and what training has
not undone by its last step looks like a law. The same trap waits for jumprelu under an L0 penalty, which
moves nothing but thresholds within a bandwidth: it starts on caps so narrow that about 2 d_model latents fire
at once. Under L1 alone it starts as ReLU does: a threshold that is there from the start kills latents.
SpaDE starts with prototypes spread like the tokens at a sharpness of one half, and rebuilds a token from the
prototypes themselves (Hindupur et al. 2025, for tokens of mean squared norm 1 instead of d_model).

>>> from geowall.kernels.sae_step import Rule, views
>>> parts = views(start(64, 4, Rule(), seed=0), 64, 4)
>>> round(float((parts.enc / parts.dec).mean()), 3)
0.125
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import normalize

from geowall.kernels import spade
from geowall.kernels.sae_step import Rule, Views, size, views
from geowall.manifolds import Sphere, generator
from geowall.paths import GeowallError
from geowall.sae.model import Sae, to_flat

EDGE = 0.2  # least cosine at which a jumprelu latent starts to fire
TURN = 0.05  # of a revived latent away from its token, as a share of the token's norm
THRESHOLD = 0.05  # of a revived jumprelu latent, as a share of a pre-activation at its largest


def start(n_latents: int, d_model: int, rule: Rule, seed: int) -> Float[Tensor, " parameter"]:
    """Random unit directions, the encoder their scaled transpose, no biases."""
    flat = torch.zeros(size(n_latents, d_model))
    parts = views(flat, n_latents, d_model)
    atoms = normalize(torch.randn(n_latents, d_model, generator=generator(seed)), dim=1)
    # With k latents a token the sum over them is at most k, however wide the dictionary is.
    few = rule.architecture in ("topk", "batchtopk")
    if rule.architecture == "spade":
        return _prototypes(flat, parts, d_model, seed)
    scale = 1.0 / min(rule.k, n_latents) if few else min(1.0, 2.0 * d_model / n_latents)
    threshold = THRESHOLD * scale
    if rule.architecture == "jumprelu" and rule.l0:
        scale, threshold = _caps(n_latents, d_model, 2.0 * d_model)
    parts.dec.copy_(atoms)
    parts.enc.copy_(scale * atoms)
    parts.log_threshold.fill_(math.log(threshold))
    return flat


def _prototypes(flat: Tensor, parts: Views, d_model: int, seed: int) -> Float[Tensor, " parameter"]:
    """Points spread like the tokens, in the encoder and in the decoder, at a sharpness of one half."""
    points = torch.randn(parts.enc.shape, generator=generator(seed)) / math.sqrt(d_model)
    parts.enc.copy_(points)
    parts.dec.copy_(points)
    parts.log_threshold[0] = spade.raw(torch.tensor(0.5))
    return flat


def narrow(
    n_latents: int, d_model: int, rule: Rule, seed: int, firing: float = 1.5
) -> Float[Tensor, " parameter"]:
    """A start of jumprelu as a tiling: caps of which about ``firing`` share a token, not 2 d_model."""
    flat = start(n_latents, d_model, rule, seed)
    parts = views(flat, n_latents, d_model)
    scale, threshold = _caps(n_latents, d_model, firing)
    parts.enc.copy_(scale * parts.dec)
    parts.log_threshold.fill_(math.log(threshold))
    return flat


def _caps(n_latents: int, d_model: int, firing: float) -> tuple[float, float]:
    """Scale and threshold at which at most ``firing`` latents fire on a token, and rebuild about its norm.

    A threshold that starts near zero stays there, since its logarithm is what is trained: hence EDGE.
    """
    cosine = Sphere(d_model).sample(8192, seed=0)[:, 0]
    edge = max(EDGE, float(torch.quantile(cosine, 1.0 - min(0.5, firing / n_latents))))
    inside = torch.where(cosine >= edge, cosine, 0.0).square().mean()
    scale = min(1.0, 1.0 / max(1e-6, n_latents * float(inside)))
    return scale, scale * edge


def split(sae: Sae, seed: int, jitter: float = 0.05) -> Float[Tensor, " parameter"]:
    """Start twice as wide as ``sae``, at its loss: every latent becomes two of half its code, jittered.

    L(n) cannot rise with n at the optimum; a start from the best half checks that training got there.

    Raises:
        GeowallError: for SpaDE, whose codes share a sum of 1: no copy of half a code leaves it as it is.
    """
    if sae.architecture == "spade":
        fix = "start from prototypes, geowall.sae.start.start"
        raise GeowallError("SpaDE was not split", "its codes compete for a sum of 1", fix)
    noise = jitter * torch.randn(2 * sae.d_sae, sae.d_model, generator=generator(seed))
    twice = Sae(
        sae.architecture,
        sae.k,
        (0.5 * sae.W_enc).repeat(1, 2),
        (0.5 * sae.b_enc).repeat(2),
        normalize(sae.W_dec.repeat(2, 1) + noise, dim=1),
        sae.b_dec,
        (0.5 * sae.threshold).repeat(2),
    )
    return to_flat(twice)


def revive(
    state: Float[Tensor, "3 parameter"],
    dead: Bool[Tensor, " latent"],
    x: Float[Tensor, "token d_model"],
    error: Float[Tensor, "token d_model"],
    seed: int,
    rule: Rule | None = None,
) -> None:
    """Point dead latents at badly rebuilt tokens, drawn by squared error, in place; their moments vanish.

    Each is turned a little: two that start at one token, or at equal ones, would be alike ever after.
    """
    n, count = len(dead), int(dead.sum())
    if not count:
        return
    params, *moments = (views(part, n, x.shape[1]) for part in state)
    badness = error.square().sum(1).clamp(min=1e-20).cpu()
    random = generator(seed)
    chosen = torch.multinomial(badness, count, replacement=True, generator=random)
    turn = TURN * normalize(torch.randn(count, x.shape[1], generator=random), dim=1).to(x.device)
    tokens = x[chosen.to(x.device)]
    tokens = tokens + tokens.norm(dim=1, keepdim=True) * turn
    atoms = normalize(tokens, dim=1)
    if rule is not None and rule.architecture == "spade":
        params.dec[dead] = params.enc[dead] = tokens
        for moment in moments:
            moment.enc[dead] = moment.dec[dead] = 0.0
        return
    alive = params.enc[~dead].norm(dim=1)
    strength = 0.2 * alive.mean() if len(alive) else 0.2
    params.dec[dead], params.enc[dead], params.b_enc[dead] = atoms, strength * atoms, 0.0
    params.log_threshold[dead] = torch.log(THRESHOLD * torch.as_tensor(strength))
    for moment in moments:
        for part in moment[:4]:
            part[dead] = 0.0
