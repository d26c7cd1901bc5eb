"""B6: local second moments of every point, against a principal component analysis a point.

The work is multi-scale curvature at 30 and 200 neighbours, participation ratios and tangent variation, from a
given graph. The peers analyse a few points and are scaled to all of them: a loop has no economy of scale.
The limit is a product in float32 of as many multiplications. Then the second fundamental form at 200 points
of a sphere, against a loop of least squares.
"""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import torch

from benchmarks.measure import measure, seconds, share_of_product, slope
from geowall.geometry.curvature import kappa_ms, kappa_tv, second_form
from geowall.kernels.local_geometry import local_geometry
from geowall.kernels.neighbours import neighbours
from geowall.manifolds import Sphere, generator

N, D, DIM, FEW = 2000, 2304, 15, 4
SCALES, BASIS, NEAR = (30, 50, 200), 50, 5
MUST, GOAL = 8.0, 25.0


def ours(x: torch.Tensor, index: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Both curvature summaries of every point; participation ratios come with them."""
    found = local_geometry(x, index, SCALES, DIM, BASIS)
    own, near = torch.arange(len(x)), index[:, :NEAR]
    bent = kappa_ms(found.spectrum[:, [0, 2]], found.energy[:, [0, 2]], [DIM])
    return bent[:, 0], kappa_tv(found.basis, own, near, [DIM])[:, 0]


def svd_loop(x: np.ndarray, index: np.ndarray) -> list[float]:
    """One singular value decomposition a point and scale, in numpy."""
    found = []
    for i in range(FEW):
        share = []
        for k in SCALES:
            square = np.linalg.svd(x[index[i, :k]] - x[i], full_matrices=False)[1] ** 2
            share.append(1 - square[:DIM].sum() / square.sum())
        found.append(max(0.0, share[2] - share[0]))
    return found


def skdim_loop(x: np.ndarray, index: np.ndarray) -> list[float]:
    """The peer's local PCA, a fit a point and scale."""
    import skdim

    pca = [skdim.id.lPCA(ver="participation_ratio") for _ in range(3)]
    return [
        float(p.fit(x[index[i, :k]]).dimension_) for i in range(FEW) for p, k in zip(pca, SCALES, strict=True)
    ]


def form_loop(x: np.ndarray, index: np.ndarray, count: int, k: int) -> list[float]:
    """Mean curvature by least squares, a point at a time."""
    found = []
    for i in range(count):
        near = x[index[i, :k]] - x[i]
        v = np.linalg.svd(near - near.mean(0), full_matrices=False)[2][:2]
        u = near @ v.T
        normal = near - u @ v
        design = np.column_stack([np.ones(k), u, 0.5 * u[:, 0] ** 2, u[:, 0] * u[:, 1], 0.5 * u[:, 1] ** 2])
        bent = np.linalg.lstsq(design, normal, rcond=None)[0]
        found.append(float(np.linalg.norm(bent[3] + bent[5]) / 2))
    return found


def gate(x: torch.Tensor, index: torch.Tensor) -> float:
    """Largest difference of curvature from the definition at a few points; a sphere must read ``1 / R``.

    Raises:
        AssertionError: above 1e-5, or a sphere off by more than 5 %.
    """
    mine, expected = ours(x, index)[0][:FEW], svd_loop(x.double().numpy(), index.numpy())
    off = float((mine.double() - torch.tensor(expected)).abs().max())
    if not off <= 1e-5:
        raise AssertionError(f"B6: curvatures differ from their definition by {off:.1e}")
    sphere = Sphere(3, radius=2.0).sample(2000, seed=0)
    form = second_form(sphere, neighbours(sphere, 40).index, 2, 40, torch.arange(200))
    if not abs(float(form.mean_square.mean().sqrt()) - 0.5) < 0.025:
        raise AssertionError("B6: a sphere of radius two does not have curvature 1/2")
    return off


def multiplications(n: int, d: int) -> float:
    """Of the whole: inner products once each, a tridiagonal form a scale, bases, angles between them."""
    forms = sum(2 * k**3 / 3 for k in SCALES)
    return n * (n * d / 2 + forms + BASIS * d * DIM + NEAR * d * DIM**2)


def run(small: bool = False) -> list[dict[str, object]]:
    """All rows of B6."""
    torch.set_num_threads(1)
    n, d = (400, 256) if small else (N, D)
    x = torch.randn(n, d, generator=generator(0)) * torch.arange(1, d + 1) ** -0.5
    index, count = neighbours(x, 200).index, 3 if small else 9
    off = gate(x, index)
    array, near, rows = x.numpy(), index.numpy(), []
    share = share_of_product(lambda: ours(x, index), multiplications(n, d), rounds=2 if small else 5)
    peers = {"numpy": svd_loop} | ({"skdim": skdim_loop} if find_spec("skdim") else {})
    for name, peer in peers.items():
        found = measure(lambda: ours(x, index), lambda peer=peer: peer(array, near), rounds=count)
        scaled = {end: found[end] * n / FEW for end in ("ratio", "low", "high")}
        case = f"{n} points, d = {d}, both curvatures, against {name}"
        limits = {"must": MUST, "goal": GOAL} if name == "skdim" and not small else {}
        extra = {"largest_difference": off, **share, **limits}
        rows.append({"id": "B6", "case": case, "peer": name, **found, **scaled, **extra})
    return [*rows, _form(small), _growth(small)]


def _form(small: bool) -> dict[str, object]:
    x = Sphere(3).sample(2000, seed=0)
    index, count = neighbours(x, 40).index, 50 if small else 200
    some, array, near = torch.arange(count), x.double().numpy(), index.numpy()
    found = measure(
        lambda: second_form(x, index, 2, 40, some),
        lambda: form_loop(array, near, count, 40),
        rounds=3 if small else 9,
    )
    return {
        "id": "B6",
        "case": f"second fundamental form at {count} points, against numpy",
        "peer": "numpy",
        **found,
    }


def _growth(small: bool) -> dict[str, object]:
    sizes, costs = ([300, 600, 1200] if small else [1000, 2000, 4000]), []
    for n in sizes:
        x = torch.randn(n, 256, generator=generator(0)) * torch.arange(1, 257) ** -0.5
        index = neighbours(x, 200).index
        costs.append([seconds(lambda x=x, index=index: ours(x, index)) for _ in range(3 if small else 5)])
    return {"id": "B6", "case": "cost against points, d = 256", **slope(sizes, costs), "expected": 1.0}
