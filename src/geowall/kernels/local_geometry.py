"""What the neighbours of a point spread over, at several scales at once.

The ``K`` nearest of a point, seen from the point itself (or from their mean), have second moments

    C(K) = (1 / K) sum_j (h_j - h)(h_j - h)^T        (Zaher et al. 2026, appendix B)

whose traces, squares and leading subspace are all that the summaries of a layer need. One matrix of inner
products serves every ``K``: the Gram matrix of the largest, whose corners are those of the smaller ones, or,
where there are fewer dimensions than neighbours, ``C(K)`` itself. A cloud of at most 4,096 points has all
its inner products in one tile, from which every Gram matrix is read: far fewer than the points' own
neighbourhoods would take. Nothing of points x neighbours x d outlives a batch.

On a processor compiled code (``local_geometry.cpp``) takes a point at a time, its Gram matrix in the cache;
without a compiler, or with ``path="torch"``, the same is done in batches.

>>> line = torch.arange(6.0)[:, None] * torch.tensor([[3.0, 4.0]])
>>> near = torch.tensor([[1, 2, 3], [0, 2, 3], [1, 3, 0], [2, 4, 1], [3, 5, 2], [4, 3, 2]])
>>> found = local_geometry(line, near, scales=[2, 3], dim=1, basis_scale=2)
>>> found.residual.abs().max() < 1e-6, found.participation[0].tolist()
(tensor(True), [1.0, 1.0])
>>> torch.allclose(found.basis.abs(), torch.tensor([0.6, 0.8])[None, :, None].expand(6, 2, 1))
True
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from geowall.kernels import compiled
from geowall.paths import GeowallError

SOURCE = "local_geometry.cpp"
NUMBERS = 2**23  # gathered at once: 32 MB
TILE = 4096  # points whose inner products are held at once, in double: 128 MB


class Local(NamedTuple):
    """Second moments about each point, for each scale."""

    energy: Float[Tensor, "point scale"]  # trace of C(K)
    participation: Float[Tensor, "point scale"]  # (tr C)^2 / tr C^2
    residual: Float[Tensor, "point scale"]  # share of the trace outside the leading ``dim`` directions
    spectrum: Float[Tensor, "point scale dim"]  # the leading eigenvalues of C(K), falling
    basis: Float[Tensor, "point d dim"] | None  # orthonormal, of the leading subspace at ``basis_scale``


def local_geometry(
    x: Float[Tensor, "point d"],
    index: Int[Tensor, "chosen k"],
    scales: Sequence[int],
    dim: int,
    basis_scale: int | None = None,
    centres: Int[Tensor, " chosen"] | None = None,
    about: str = "point",
    path: str = "auto",
) -> Local:
    """Local second moments of chosen points of a cloud, all scales from one gathering of neighbours.

    Args:
        x: the cloud.
        index: neighbours of the chosen points, nearest first; at least ``max(scales)`` of them.
        scales: neighbourhood sizes K, at most the columns of ``index``.
        dim: how many leading directions count as tangent.
        basis_scale: the scale whose leading subspace is returned; None for none.
        centres: which points of the cloud are chosen; all of them by default.
        about: ``point`` takes moments about the point (the paper), ``mean`` about the neighbours' mean.
        path: ``auto`` takes compiled code where there is some; ``torch`` never does.

    Raises:
        GeowallError: a scale beyond the graph, or a ``dim`` that a scale or the space cannot hold.
    """
    scales = [int(scale) for scale in scales]
    _check(x, index, scales, dim, basis_scale)
    centres = torch.arange(len(x), device=x.device) if centres is None else centres
    code = _code(x) if path == "auto" else None
    tile = _tile(x, scales, len(centres), code)
    if code is not None and tile is not None and max(scales) <= x.shape[1]:
        return _from_tile(code, x, tile, centres, index, scales, dim, basis_scale, about)
    step = max(1, NUMBERS // (max(scales) * x.shape[1]))
    parts = []
    for i in range(0, len(centres), step):
        own, near = centres[i : i + step], index[i : i + step, : max(scales)]
        parts.append(_batch(code, x, own, near, tile, scales, dim, basis_scale, about))
    whole = [torch.cat(values) for values in list(zip(*parts, strict=True))[:4]]
    return Local(*whole, torch.cat([part.basis for part in parts]) if basis_scale else None)


def local_geometry_slow(near: Float[Tensor, "k d"], dim: int) -> tuple[Tensor, Tensor]:
    """Eigenvalues of the second moments of one neighbourhood, and the leading directions, by definition."""
    _, s, v = torch.linalg.svd(near.double(), full_matrices=False)
    return s.square() / len(near), v[:dim].T


def _code(x: Tensor) -> ctypes.CDLL | None:
    """Compiled code, where it serves these points; it has no gradients."""
    served = x.device.type == "cpu" and x.dtype == torch.float32 and not x.requires_grad
    return compiled.library(SOURCE) if served else None


def _places(index: Tensor, count: int) -> Tensor:
    """Indices as compiled code reads them, which trusts that they lie among ``count``."""
    if index.numel() and not 0 <= int(index.min()) <= int(index.max()) < count:
        raise IndexError(f"indices {int(index.min())} to {int(index.max())} of {count} places")
    return index.long().contiguous()


def _address(tensor: Tensor | None) -> ctypes.c_void_p:
    return ctypes.c_void_p(None if tensor is None else tensor.data_ptr())


def _longs(*numbers: int) -> list[ctypes.c_long]:
    return [ctypes.c_long(number) for number in numbers]


def _tile(x: Tensor, scales: list[int], count: int, code: ctypes.CDLL | None) -> Tensor | None:
    """All inner products of a small cloud, centred, in double; None where neighbourhoods are cheaper."""
    gram = [scale for scale in scales if scale <= x.shape[1]]
    if not gram or len(x) > TILE or len(x) ** 2 > count * max(gram) ** 2:
        return None
    centred = x.double() - x.mean(0, dtype=torch.float64)
    if code is None:
        return centred @ centred.T
    tile = torch.empty(len(x), len(x), dtype=torch.float64)
    code.local_tile(*_longs(*x.shape), _address(centred), _address(tile))
    return tile


def _from_tile(
    code: ctypes.CDLL, x: Tensor, tile: Tensor, own: Tensor, index: Tensor, scales: list[int], dim: int,
    basis_scale: int | None, about: str,
) -> Local:  # fmt: skip
    """All points in compiled code; what it cannot diagonalise is done in torch."""
    x, own, index, across = x.contiguous(), _places(own, len(x)), _places(index, len(x)), index.shape[1]
    count, mean = len(own), int(about == "mean")
    total, square = torch.empty(count, len(scales)), torch.empty(count, len(scales))
    values, sizes = torch.empty(count, len(scales), dim), torch.tensor(scales)
    vectors = torch.empty(count, basis_scale, dim) if basis_scale else None
    lost = code.local_moments(
        *_longs(len(x)), _address(tile), *_longs(count), _address(own), _address(index), *_longs(across),
        _address(sizes), *_longs(len(scales), dim, basis_scale or 0, mean),
        *map(_address, (total, square, values, vectors)),
    )  # fmt: skip
    if lost:
        return local_geometry(x, index, scales, dim, basis_scale, own, about, "torch")
    parts = [_measures(total[:, s], square[:, s], values[:, s], k) for s, k in enumerate(scales)]
    basis = None
    if basis_scale:
        basis, at = torch.empty(count, x.shape[1], dim), scales.index(basis_scale)
        weights = vectors * _inverse_roots(values[:, at])[:, None]
        code.local_directions(
            *_longs(x.shape[1]), _address(x), *_longs(count), _address(own), _address(index),
            *_longs(across, basis_scale, dim, mean), _address(weights), _address(basis),
        )  # fmt: skip
    return Local(*(torch.stack([part[n] for part in parts], 1) for n in range(4)), basis)


def _batch(
    code: ctypes.CDLL | None, x: Tensor, own: Tensor, index: Tensor, tile: Tensor | None,
    scales: list[int], dim: int, basis_scale: int | None, about: str,
) -> Local:  # fmt: skip
    """One batch of neighbourhoods, seen from their points."""
    d = x.shape[1]
    largest = max((scale for scale in scales if scale <= d), default=0)
    needed = max((scale for scale in scales if scale > d or scale == basis_scale or tile is None), default=0)
    near = x[index[:, :needed]] - x[own, None]
    gram = None
    if largest:
        gram = _products(tile, own, index[:, :largest]) if tile is not None else None
        gram = torch.bmm(near[:, :largest], near[:, :largest].mT) if gram is None else gram
    found, basis = [], None
    for scale in scales:
        small = scale <= d
        matrix = gram[:, :scale, :scale] if small else torch.bmm(near[:, :scale].mT, near[:, :scale])
        if about == "mean":
            matrix = _recentred(matrix, near[:, :scale], small)
        wanted = basis_scale == scale
        values, vectors = leading(matrix, dim, wanted, code)
        total = matrix.diagonal(dim1=1, dim2=2).sum(1)
        found.append(_measures(total, matrix.flatten(1).square().sum(1), values, scale))
        if wanted:
            basis = _directions(near[:, :scale], vectors, values, about) if small else vectors
    return Local(*(torch.stack([f[n] for f in found], 1) for n in range(4)), basis)


def _products(tile: Tensor, own: Tensor, index: Tensor) -> Tensor:
    """Inner products of a point's neighbours seen from the point, read from the cloud's."""
    between = tile[index[:, :, None], index[:, None, :]]
    mine = tile[own[:, None], index]
    return (between - mine[:, :, None] - mine[:, None, :] + tile[own, own][:, None, None]).float()


def _measures(total: Tensor, square: Tensor, values: Tensor, scale: int) -> tuple[Tensor, ...]:
    """Trace, participation ratio, residual share and leading values; all zero where all points coincide."""
    floor = torch.finfo(total.dtype).tiny
    residual = (1.0 - values.sum(1) / total.clamp(min=floor)).clamp(0.0, 1.0) * (total > floor)
    return total / scale, total.square() / square.clamp(min=floor), residual, values / scale


def _recentred(matrix: Tensor, near: Tensor, small: bool) -> Tensor:
    """Moments about the mean from those about the point."""
    if small:
        rows = matrix.mean(2, keepdim=True)
        return matrix - rows - rows.mT + rows.mean(1, keepdim=True)
    mean = near.mean(1, keepdim=True)
    return matrix - near.shape[1] * mean.mT @ mean


def _directions(near: Tensor, vectors: Tensor, values: Tensor, about: str) -> Tensor:
    """Directions in the space from eigenvectors of the Gram matrix; zero where there is no spread."""
    near = near - near.mean(1, keepdim=True) if about == "mean" else near
    return torch.bmm(near.mT, vectors) * _inverse_roots(values)[:, None]


def _inverse_roots(values: Tensor) -> Tensor:
    """``values ** -0.5``; zero below 1e-6 of the largest, where float32 leaves no direction."""
    sound = values > 1e-6 * values[:, :1].clamp(min=1e-30)
    return torch.where(sound, values.clamp(min=1e-30).rsqrt(), 0.0)


def leading(
    matrix: Float[Tensor, "batch m m"], k: int, vectors: bool = True, code: ctypes.CDLL | None = None
) -> tuple[Float[Tensor, "batch k"], Float[Tensor, "batch m k"] | None]:
    """The ``k`` largest eigenvalues of symmetric positive matrices, falling, and their vectors.

    LAPACK takes them one by one, which on a GPU would be a loop: there a block of vectors is iterated on in
    batched products. Compiled code keeps a matrix in the cache. Twin: :func:`leading_slow`.
    """
    if matrix.device.type == "cuda":
        return leading_batched(matrix, k)
    if code is not None:
        found = _leading(code, matrix.contiguous(), k, vectors)
        if found is not None:
            return found
    # LAPACK refuses a whole batch for one matrix that is not finite
    sound = matrix.isfinite().all((1, 2), keepdim=True)
    lost = torch.where(sound[:, 0], 0.0, torch.nan).to(matrix.dtype)
    matrix = matrix.where(sound, 0.0)
    if not vectors:
        return torch.linalg.eigvalsh(matrix)[:, -k:].flip(1).clamp(min=0.0) + lost, None
    values, directions = leading_slow(matrix, k)
    return values + lost, directions + lost[:, None]


def _leading(code: ctypes.CDLL, matrix: Tensor, k: int, vectors: bool) -> tuple[Tensor, Tensor | None] | None:
    """Compiled; None where a matrix could not be diagonalised."""
    count, m = matrix.shape[:2]
    values, turned = torch.empty(count, k), torch.empty(count, m, k) if vectors else None
    lost = code.local_leading(
        *_longs(count, m), _address(matrix), *_longs(k), *map(_address, (values, turned))
    )
    return None if lost else (values, turned)


def leading_slow(matrix: Float[Tensor, "batch m m"], k: int) -> tuple[Tensor, Tensor]:
    """The definition."""
    values, vectors = torch.linalg.eigh(matrix)
    return values[:, -k:].flip(1).clamp(min=0.0), vectors[:, :, -k:].flip(2)


def leading_batched(
    matrix: Float[Tensor, "batch m m"], k: int, rounds: int = 30, tolerance: float = 1e-7
) -> tuple[Tensor, Tensor]:
    """Subspace iteration in batched products; stops when the sum of the leading values does."""
    m = matrix.shape[1]
    block = min(m, k + max(8, k // 2))
    random = torch.Generator(matrix.device).manual_seed(0)
    start = torch.randn(m, block, generator=random, device=matrix.device, dtype=matrix.dtype)
    basis, before = _orthonormal(matrix @ start), None
    for _ in range(rounds):
        basis = _orthonormal(matrix @ (matrix @ basis))
        values, turn = torch.linalg.eigh(basis.mT @ matrix @ basis)
        basis, total = basis @ turn.flip(2), values[:, -k:].sum(1)
        if before is not None and bool(((total - before).abs() <= tolerance * total).all()):
            break
        before = total
    return values.flip(1)[:, :k].clamp(min=0.0), basis[:, :, :k]


def _orthonormal(block: Tensor) -> Tensor:
    return torch.linalg.qr(block).Q


def overlap(
    basis: Float[Tensor, "place d dim"],
    own: Int[Tensor, " point"],
    near: Int[Tensor, "point j"],
    dims: Sequence[int],
) -> Float[Tensor, "point j dims"]:
    """Squared cosines of the principal angles between subspaces, summed: ``|B_own^T B_near|^2``.

    Args:
        basis: orthonormal bases of some places, leading directions first.
        own: each point's place among them.
        near: the places it is compared with.
        dims: how many leading directions of both count, a column for each.
    """
    code = _code(basis)
    if code is None:
        return overlap_slow(basis, own, near, dims)
    basis, own, near = basis.contiguous(), _places(own, len(basis)), _places(near, len(basis))
    found, wanted = torch.empty(*near.shape, len(dims)), torch.tensor(list(dims))
    code.local_overlap(
        *_longs(*basis.shape), _address(basis), *_longs(len(own)), _address(own), _address(near),
        *_longs(near.shape[1]), _address(wanted), *_longs(len(dims)), _address(found),
    )  # fmt: skip
    return found


def overlap_slow(basis: Tensor, own: Tensor, near: Tensor, dims: Sequence[int]) -> Tensor:
    """The definition, a batch of points at a time."""
    parts = [basis[a][:, None].mT @ basis[b] for a, b in zip(own.split(256), near.split(256), strict=True)]
    square = torch.cat(parts).square()
    return torch.stack([square[:, :, :dim, :dim].sum((2, 3)) for dim in dims], 2)


def _check(x: Tensor, index: Tensor, scales: list[int], dim: int, basis_scale: int | None) -> None:
    if not scales or min(scales) < 2 or max(scales) > index.shape[1]:
        why = f"scales {scales} do not lie in 2 .. {index.shape[1]}, the neighbours at hand"
        raise GeowallError("there is no local geometry", why, "ask for a graph of more neighbours")
    if not 1 <= dim <= min(min(scales), x.shape[1]):
        why = f"{min(scales)} neighbours in {x.shape[1]} dimensions do not span {dim} directions"
        raise GeowallError("there is no tangent space", why, "give a smaller dim or larger scales")
    if basis_scale is not None and basis_scale not in scales:
        why = f"{basis_scale} is not among the scales {scales}"
        raise GeowallError("there is no such basis", why, "add it to the scales")
