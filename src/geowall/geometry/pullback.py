"""The metric that the rest of a model gives to its activations: how much a step changes what is predicted.

With ``pi(h)`` the prediction from activation ``h``, the Fisher-Rao metric of predictions pulled back is

    G(h) = J^T (diag pi - pi pi^T) J = sum_v pi_v dlog pi_v dlog pi_v^T,

J the Jacobian of the logits. It is the metric of the embedding ``h -> 2 sqrt(pi(h))`` in a sphere of radius
two, which is how curvature under it is measured. ``tail`` is any function from activations to log
predictions, rows of a batch independent, that torch can differentiate forwards.

>>> W = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
>>> G = metric(lambda h: (h @ W).log_softmax(-1), torch.zeros(2))
>>> [[round(value, 3) for value in row] for row in G.tolist()]
[[0.222, -0.111], [-0.111, 0.222]]
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import jvp

Tail = Callable[[Tensor], Tensor]


def scores(tail: Tail, h: Float[Tensor, " d"], batch: int = 64) -> tuple[Tensor, Tensor]:
    """Log predictions at ``h`` and their derivatives along every coordinate; ``[V]`` and ``[d, V]``."""
    d = len(h)
    parts = []
    for i in range(0, d, batch):
        along = torch.eye(d, dtype=h.dtype, device=h.device)[i : i + batch]
        log, moved = jvp(tail, (h.expand(len(along), -1).contiguous(),), (along,))
        parts.append(moved)
    return log[0], torch.cat(parts)


def metric(tail: Tail, h: Float[Tensor, " d"], batch: int = 64) -> Float[Tensor, "d d"]:
    """G at one activation."""
    image = embedded(*scores(tail, h, batch))
    return image @ image.T


def embedded(log: Float[Tensor, " V"], moved: Float[Tensor, "d V"]) -> Float[Tensor, "d V"]:
    """From :func:`scores`, the derivatives of the embedding along every coordinate: ``G`` is their Gram."""
    return moved.double() * (0.5 * log.double()).exp()


def spectrum(G: Float[Tensor, "d d"], share: float = 0.99) -> dict[str, float]:
    """Trace, largest eigenvalue, participation ratio, and how many directions hold ``share`` of the trace."""
    values = torch.linalg.eigvalsh(G).flip(0).clamp(min=0.0)
    reached = values.cumsum(0) >= (share - 1e-12) * values.sum()
    return {
        "trace": float(values.sum()),
        "largest": float(values[0]),
        "participation": float(values.sum() ** 2 / values.square().sum().clamp(min=1e-300)),
        "rank": int(reached.int().argmax()) + 1,
        "numerical_rank": int((values > 1e-9 * values[0]).sum()),
    }


def shares(G: Float[Tensor, "d d"], leading: Sequence[int]) -> dict[int, float]:
    """Shares of the trace in so many leading directions: the spectrum of the metric, added up."""
    values = torch.linalg.eigvalsh(G).flip(0).clamp(min=0.0)
    held = values.cumsum(0) / values.sum().clamp(min=1e-300)
    return {m: float(held[min(m, len(held)) - 1]) for m in leading}


def distances(
    G: Float[Tensor, "d d"], h: Float[Tensor, " d"], others: Float[Tensor, "point d"]
) -> Float[Tensor, " point"]:
    """Lengths of straight steps from ``h`` to other points under the metric at ``h``."""
    steps = (others - h).double()
    return ((steps @ G) * steps).sum(1).clamp(min=0.0).sqrt()


def geodesic_curvature(
    tail: Tail, h: Float[Tensor, " d"], along: Float[Tensor, "step d"],
    image: Float[Tensor, "d V"] | None = None,
) -> Float[Tensor, " step"]:  # fmt: skip
    """Curvature, in the embedding ``2 sqrt(pi)``, of geodesics that leave ``h`` along given directions.

    A geodesic of the pulled-back metric accelerates only at right angles to the image of the activations, and
    by as much as a straight step does there: the second derivative of the embedding along the step, less its
    part in the image, over the squared speed. The sphere of predictions itself bends by 1/2. ``image`` is
    that of :func:`embedded`, the dearest part, where it is known.
    """
    image = embedded(*scores(tail, h)) if image is None else image

    def speed(at: Tensor) -> Tensor:
        logs, change = jvp(tail, (at,), (along,))
        return (0.5 * logs).exp() * change

    start = h.expand(len(along), -1).contiguous()
    velocity, bend = jvp(speed, (start,), (along,))
    velocity, bend = velocity.double(), bend.double()
    values, vectors = torch.linalg.eigh(image @ image.T)
    sound = values > 1e-9 * values[-1]
    frame = (vectors[:, sound] / values[sound].sqrt()).T @ image  # orthonormal rows spanning the image
    normal = bend - (bend @ frame.T) @ frame
    return normal.norm(dim=1) / velocity.square().sum(1).clamp(min=1e-300)
