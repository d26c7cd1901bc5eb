"""B4: exact neighbours of every point, against FAISS and against tiles of torch products with a top-k.

A cloud with the spectrum of a language model's layer (variances ``1 / i``) and an isotropic one, which is the
hardest for a screen. The limit is a product of all pairs, each once, in bfloat16. The gate compares with the
definition in double on rows drawn at random: the same indices in the same order, and every row certified.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

import torch

from benchmarks.measure import measure, seconds, share_of_product, slope
from geowall.kernels.neighbours import neighbours
from geowall.manifolds import generator

N, D, K = 8000, 2304, 100
SMALL_N, SMALL_D = 1500, 512
SPECTRA = {"language-model spectrum": -0.5, "isotropic": 0.0}
MUST, GOAL = 1.5, 4.0
TILE = 1024


def cloud(n: int, d: int, decay: float, seed: int = 0) -> torch.Tensor:
    """Points with standard deviations ``i^decay``, about a direction they share."""
    random = generator(seed)
    x = torch.randn(n, d, generator=random) * torch.arange(1, d + 1) ** decay
    return x + 3.0 * torch.randn(d, generator=random) * torch.arange(1, d + 1) ** decay


def torch_tiles(x: torch.Tensor, k: int) -> torch.Tensor:
    """Brute force as a careful reader would write it: products a tile of rows at a time, then top-k."""
    square, parts = x.square().sum(1), []
    for i in range(0, len(x), TILE):
        tile = torch.addmm(square[None], x[i : i + TILE], x.T, alpha=-2.0)
        parts.append(tile.topk(k + 1, largest=False).indices)
    return torch.cat(parts)


def faiss_flat(x: torch.Tensor, k: int) -> object:
    """The peer's exact index, one thread."""
    import faiss

    faiss.omp_set_num_threads(1)
    index = faiss.IndexFlatL2(x.shape[1])
    index.add(x.numpy())
    return index.search(x.numpy(), k + 1)


def gate(x: torch.Tensor, k: int, rows: int = 64) -> float:
    """Candidates a point; raises where an index or an order differs from the definition in double.

    Raises:
        AssertionError: a neighbour is not the true one, or a row is not certified.
    """
    found, wide = neighbours(x, k), x.double()
    for i in torch.randperm(len(x), generator=generator(1))[:rows].tolist():
        square = (wide - wide[i]).square().sum(1)
        square[i] = torch.inf
        expected = square.sort(stable=True).indices[:k]
        if not torch.equal(found.index[i], expected):
            raise AssertionError(f"B4: the neighbours of point {i} are not its nearest")
    if found.certified < 1.0:
        raise AssertionError(f"B4: only {found.certified:.1%} of the rows are certified")
    return found.measured


def run(small: bool = False) -> list[dict[str, object]]:
    """All rows of B4."""
    torch.set_num_threads(1)
    n, d = (SMALL_N, SMALL_D) if small else (N, D)
    peers: dict[str, Callable] = {"torch": torch_tiles} | (
        {"faiss": faiss_flat} if find_spec("faiss") else {}
    )
    rows: list[dict[str, object]] = []
    for spectrum, decay in SPECTRA.items():
        x = cloud(n, d, decay)
        measured = gate(x, K)
        pairs = n * n * d / 2  # multiplications, each pair once
        share = share_of_product(lambda x=x: neighbours(x, K), pairs, "bfloat16", 2 if small else 5)
        for name, peer in peers.items():
            found = measure(
                lambda x=x: neighbours(x, K), lambda x=x, peer=peer: peer(x, K), rounds=3 if small else 9
            )
            case = f"{n} points, d = {d}, {spectrum}, against {name}"
            limits = {"must": MUST, "goal": GOAL} if name == "faiss" and not small else {}
            rows.append(
                {"id": "B4", "case": case, "peer": name, **found, "measured": measured, **share, **limits}
            )
    return [*rows, _growth(small)]


def _growth(small: bool) -> dict[str, object]:
    sizes, costs = ([500, 1000, 2000] if small else [2000, 4000, 8000]), []
    for n in sizes:
        x = cloud(n, 256, -0.5)
        costs.append([seconds(lambda x=x: neighbours(x, K)) for _ in range(3 if small else 7)])
    return {"id": "B4", "case": "cost against points, d = 256", **slope(sizes, costs), "expected": 2.0}
