"""Four answers to "how curved?": the paper's two proxies, a fit over scales, and the second fundamental form.

The proxies ask how much variance leaves a tangent space, or how much the tangent space turns. Noise, ends,
clusters and mere dimension do that too. The other two fit a model in which curvature has its own term.

>>> from geowall.kernels.neighbours import neighbours
>>> from geowall.manifolds import Sphere
>>> x = Sphere(3, radius=2.0).sample(3000, seed=0)
>>> index = neighbours(x, 60).index
>>> form = second_form(x, index, d=2, k=60, chosen=torch.arange(100))
>>> round(float(form.mean_square.mean()) ** 0.5, 1)
0.5
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from geowall.kernels.local_geometry import local_geometry, overlap
from geowall.paths import GeowallError


def kappa_ms(
    spectrum: Float[Tensor, "point 2 dim"], energy: Float[Tensor, "point 2"], dims: Sequence[int]
) -> Float[Tensor, "point dims"]:
    """Multi-scale curvature at each point, ``max(0, rf(large) - rf(small))`` (Zaher et al. 2026, app. B).

    Args:
        spectrum: leading eigenvalues at both scales, falling.
        energy: the traces.
        dims: tangent dimensions, a column for each.
    """
    held = spectrum.cumsum(2)[:, :, torch.as_tensor(list(dims)) - 1]
    floor = torch.finfo(energy.dtype).tiny
    left = (1.0 - held / energy.clamp(min=floor)[:, :, None]).clamp(0.0, 1.0)
    left = left * (energy > floor)[:, :, None]
    return (left[:, 1] - left[:, 0]).clamp(min=0.0)


def kappa_tv(
    basis: Float[Tensor, "place d dim"],
    own: Int[Tensor, " point"],
    near: Int[Tensor, "point j"],
    dims: Sequence[int],
) -> Float[Tensor, "point dims"]:
    """Tangent variation: mean squared sine of the principal angles to the tangents of the nearest.

    Args:
        basis: orthonormal tangent bases of some places, leading directions first.
        own: each point's place among them.
        near: the places of its nearest neighbours.
        dims: tangent dimensions, a column for each: the leading so many directions.
    """
    held = overlap(basis, own, near, dims)
    return (1.0 - held / torch.as_tensor(list(dims))).mean(1).clamp(0.0, 1.0)


class Scales(NamedTuple):
    """What is left outside the tangent space, over scales, parted by how it grows."""

    curvature: float  # 1 / length; of a sphere 1 / R
    noise: float  # standard deviation of isotropic noise, a direction
    curved: Float[Tensor, " scale"]  # variance outside the tangent space that grows as the fourth power
    flat: Float[Tensor, " scale"]  # the part that does not grow


def multiscale(
    x: Float[Tensor, "point d"],
    index: Int[Tensor, "point k"],
    d: int,
    scales: Sequence[int] = (25, 50, 100, 200),
    chosen: Int[Tensor, " chosen"] | None = None,
) -> Scales:
    """Curvature and noise from local variances at four scales or more (Little et al. 2017).

    Within radius r of a point of a ``d``-manifold, tangent variances grow as ``r^2``, those made by curvature
    as ``r^4``, those of noise not at all. With the mean tangent variance ``t`` as the ruler, the variance
    outside the tangent space is ``D s^2 + c t^2``: least squares over the scales. For points uniform in a
    ball of a paraboloid, ``c = (2 rho |A|^2 - (1 - rho) (tr A)^2) / 4`` with ``rho = (d + 2) / (d + 4)``; for
    a sphere that is ``d / ((d + 4) R^2)``, and curvature is quoted as if the manifold bent like one.

    Raises:
        GeowallError: fewer than four scales, or scales that do not hold ``d`` directions.
    """
    if len(scales) < 4:
        why = f"{len(scales)} scales cannot tell a constant from a fourth power with any safety"
        raise GeowallError("curvature and noise were not parted", why, "give four scales or more")
    chosen = torch.arange(len(x)) if chosen is None else chosen
    found = local_geometry(x, index[chosen], list(scales), d, None, chosen, "mean")
    tangent = found.spectrum.mean((0, 2)).double()
    outside = (found.energy - found.spectrum.sum(2)).clamp(min=0.0).mean(0).double()
    count = torch.tensor(scales, dtype=torch.float64)
    outside = outside * count / (count - 1 - d).clamp(min=1.0)  # what fitting a mean and d directions took
    ruler = tangent.square()
    # weights 1 / outside^2: relative errors are alike at all scales
    weight = 1.0 / outside.clamp(min=1e-30).square()
    design = torch.stack([torch.ones_like(ruler), ruler], 1)
    flat, slope = _not_negative(design, outside, weight)
    normal = max(1, x.shape[1] - d)
    curvature = math.sqrt(max(0.0, slope) * (d + 4) / d)
    return Scales(curvature, math.sqrt(max(0.0, flat) / normal), slope * ruler, torch.full_like(ruler, flat))


def _not_negative(design: Tensor, y: Tensor, weight: Tensor) -> tuple[float, float]:
    """Weighted least squares of two columns, neither coefficient below zero."""

    def fit(columns: list[int]) -> tuple[float, list[float]]:
        a = design[:, columns] * weight.sqrt()[:, None]
        scale = a.norm(dim=0).clamp(min=1e-300)
        solved = torch.linalg.lstsq(a / scale, (y * weight.sqrt())[:, None]).solution[:, 0] / scale
        error = float((weight * (design[:, columns] @ solved - y).square()).sum())
        return error, solved.tolist()

    both = fit([0, 1])[1]
    if min(both) >= 0:
        return both[0], both[1]
    (constant_error, (constant,)), (growth_error, (growth,)) = fit([0]), fit([1])
    return (constant, 0.0) if constant_error < growth_error else (0.0, growth)


class Form(NamedTuple):
    """Squares of the second fundamental form at chosen points, less what noise adds to them on average."""

    mean_square: Float[Tensor, " point"]  # |H|^2, H = tr II / d
    square: Float[Tensor, " point"]  # |II|^2 / d, which is 1 / R^2 on a sphere too
    noise: Float[Tensor, " point"]  # standard deviation of what the quadratic leaves, a direction


def second_form(
    x: Float[Tensor, "point D"],
    index: Int[Tensor, "point k"],
    d: int,
    k: int,
    chosen: Int[Tensor, " chosen"] | None = None,
) -> Form:
    """The second fundamental form by least squares: normal coordinates as a quadratic in tangent ones.

    The tangent space is that of the ``k`` nearest about their mean. In all normal directions at once,
    ``n = b + B u + u^T A u / 2``; with a slope B the metric is ``I + B^T B``, by which A is measured. The
    scatter of the residuals gives the variance of each coefficient, which is subtracted from the squares, so
    that they are right on average and may be negative on flat data.

    Raises:
        GeowallError: if ``k`` neighbours do not determine the ``(d + 1)(d + 2) / 2`` coefficients.
    """
    unknown = (d + 1) * (d + 2) // 2
    if k > index.shape[1] or k < unknown + 2:
        why = f"a quadratic in {d} dimensions has {unknown} coefficients and {k} neighbours were to fix them"
        raise GeowallError("the second fundamental form was not fitted", why, "give more neighbours")
    chosen = torch.arange(len(x)) if chosen is None else chosen
    frames = local_geometry(x, index[chosen], [k], d, k, chosen, "mean").basis
    step = max(1, 2**22 // (k * max(unknown, x.shape[1])))
    parts = []
    for i in range(0, len(chosen), step):
        own = chosen[i : i + step]
        parts.append(_form(x, own, index[own, :k], frames[i : i + step], d))
    return Form(*(torch.cat(values) for values in zip(*parts, strict=True)))


def _inverse(matrix: Tensor) -> Tensor:
    """Of symmetric matrices; a pseudoinverse where neighbours do not fix all coefficients."""
    factor, failed = torch.linalg.cholesky_ex(matrix)
    weak = factor.diagonal(dim1=1, dim2=2).amin(1) < 1e-6 * factor.diagonal(dim1=1, dim2=2).amax(1)
    bad = (failed > 0) | weak
    if not bool(bad.any()):
        return torch.cholesky_inverse(factor)
    return torch.linalg.pinv(matrix, hermitian=True)


def _form(x: Tensor, own: Tensor, index: Tensor, basis: Tensor, d: int) -> tuple[Tensor, Tensor, Tensor]:
    near = torch.cat([torch.zeros(len(own), 1, x.shape[1]), x[index] - x[own, None]], 1).double()
    basis = basis.double()
    u = near @ basis
    normal = near - u @ basis.mT
    unit = u.square().sum(2).mean(1).sqrt().clamp(min=1e-300)[:, None, None]
    u = u / unit
    p, q = torch.triu_indices(d, d)
    quadratic = u[:, :, p] * u[:, :, q] * torch.where(p == q, 0.5, 1.0)
    design = torch.cat([torch.ones_like(u[:, :, :1]), u, quadratic], 2)
    inverse = _inverse(design.mT @ design)
    fitted = inverse @ design.mT @ normal  # [chosen, coefficient, D]
    left = normal - design @ fitted
    freedom = design.shape[1] - design.shape[2]
    variance = left.square().sum((1, 2)) / freedom  # summed over normal directions
    slope, bent = fitted[:, 1 : d + 1] / unit, fitted[:, d + 1 :] / unit.square()
    spread = inverse[:, d + 1 :, d + 1 :] * variance[:, None, None] / unit.square().square()
    metric = torch.eye(d, dtype=torch.float64) + slope @ slope.mT
    root = torch.linalg.inv(metric)
    full = torch.zeros(len(own), d, d, x.shape[1], dtype=torch.float64)
    full[:, p, q], full[:, q, p] = bent, bent
    raised = torch.einsum("nij,njkD->nikD", root, full)
    trace = torch.einsum("niiD->nD", raised)
    square = torch.einsum("nijD,njiD->n", raised, raised)
    on = (p == q).double()
    trace_noise = torch.einsum("c,ncd,d->n", on, spread, on)
    square_noise = (spread.diagonal(dim1=1, dim2=2) * torch.where(p == q, 1.0, 2.0)).sum(1)
    dims = max(1, x.shape[1] - d)
    mean_square = (trace.square().sum(1) - trace_noise) / d**2
    return mean_square, (square - square_noise) / d, (variance / dims).sqrt()
