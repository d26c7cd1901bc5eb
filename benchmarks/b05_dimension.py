"""B5: every estimate of dimension from one graph, against libraries that find neighbours for each.

The bundle is TwoNN, MLE(20), Gride at 1 to 64 and heterogeneity. The peers:

* ``skdim``: its TwoNN, MLE and Gride, each from its own neighbours, and no heterogeneity;
* ``scikit-learn``: a neighbour search for each estimator, and our arithmetic.

dadapy, the home of Gride, cannot be installed beside numpy 2, and has no row. The limit is a product of all
pairs, each once, in bfloat16.
"""

from __future__ import annotations

from importlib.util import find_spec

import torch

from benchmarks.measure import measure, seconds, share_of_product, slope
from geowall.geometry import dimension
from geowall.geometry.shapes import Linear, embedded
from geowall.kernels.neighbours import neighbours
from geowall.manifolds import Sphere

N, D, D_INT = 4000, 256, 10
SCALES = (1, 2, 4, 8, 16, 32, 64)
MUST, GOAL = 5.0, 15.0


def ours(x: torch.Tensor) -> dict[str, float]:
    """All estimates from one graph of 128 neighbours."""
    graph = neighbours(x, 128)
    ratio = dimension.log_ratio(graph.distance)
    local = dimension.windowed(ratio, graph.index, 100)
    found = {f"gride_{k}": dimension.gride(graph.distance, k) for k in SCALES}
    return found | {
        "two_nn": dimension.two_nn(ratio, "linear"),
        "mle_20": float(1.0 / (1.0 / dimension.mle(graph.distance, 20)).mean()),
        "nu": float(dimension.heterogeneity(local, graph.index, 50).mean()),
    }


def skdim_bundle(x: torch.Tensor) -> dict[str, float]:
    """The peer's estimators, each fitted on its own."""
    import skdim

    found = {
        "two_nn": float(skdim.id.TwoNN().fit(x.numpy()).dimension_),
        "mle_20": float(skdim.id.MLE().fit(x.numpy(), n_neighbors=20).dimension_),
    }
    gride = skdim.id.GRIDE(multiscale=True, range_max=128).fit(x.numpy())
    return found | {f"gride_{k}": float(d) for k, d in zip(SCALES, gride.dimension_scales_, strict=True)}


def sklearn_bundle(x: torch.Tensor) -> list[float]:
    """A neighbour search an estimator, as most pipelines do it."""
    from sklearn.neighbors import NearestNeighbors

    def distances(k: int) -> torch.Tensor:
        search = NearestNeighbors(n_neighbors=k + 1, algorithm="brute").fit(x.numpy())
        return torch.from_numpy(search.kneighbors(x.numpy())[0][:, 1:])

    found = [dimension.two_nn(dimension.log_ratio(distances(2)), "linear")]
    found.append(float(1.0 / (1.0 / dimension.mle(distances(20), 20)).mean()))
    return found + [dimension.gride(distances(128), k) for k in SCALES]


def gate(x: torch.Tensor) -> float:
    """Largest relative difference from the peer, where it is installed; a sphere must read its dimension.

    Raises:
        AssertionError: above 1e-4, or a sphere of three dimensions off by more than 5 %.
    """
    sphere = ours(Sphere(4).sample(3000, seed=0))
    if not all(abs(sphere[name] / 3.0 - 1.0) < 0.05 for name in ("two_nn", "gride_2")):
        raise AssertionError(f"B5: a sphere of three dimensions reads {sphere}")
    if not find_spec("skdim"):
        return float("nan")
    mine, theirs = ours(x), skdim_bundle(x)
    off = max(abs(mine[name] / theirs[name] - 1.0) for name in ("two_nn", "mle_20"))
    # the peer's Gride takes one point off its count and cuts outliers
    gride = max(abs(mine[name] / theirs[name] - 1.0) for name in theirs if name.startswith("gride"))
    if off > 1e-4 or gride > 3.0 / len(x) ** 0.5:
        raise AssertionError(f"B5: estimates differ from scikit-dimension's by {off:.1e}")
    return off


def run(small: bool = False) -> list[dict[str, object]]:
    """All rows of B5."""
    torch.set_num_threads(1)
    n = 800 if small else N
    x = embedded(Linear(D_INT), n, D, 0.01, seed=0)
    off = gate(x)
    peers = {"scikit-learn": sklearn_bundle} | ({"skdim": skdim_bundle} if find_spec("skdim") else {})
    share = share_of_product(lambda: ours(x), n * n * D / 2, "bfloat16", 2 if small else 5)
    rows = []
    for name, peer in peers.items():
        found = measure(lambda: ours(x), lambda peer=peer: peer(x), rounds=3 if small else 9)
        case = f"{n} points, d = {D}, all estimators, against {name}"
        limits = {"must": MUST, "goal": GOAL} if name == "skdim" and not small else {}
        rows.append(
            {"id": "B5", "case": case, "peer": name, **found, "largest_difference": off, **share, **limits}
        )
    sizes = [400, 800, 1600] if small else [2000, 4000, 8000]
    clouds = [embedded(Linear(D_INT), size, D, 0.01, seed=0) for size in sizes]
    costs = [[seconds(lambda y=y: ours(y)) for _ in range(3 if small else 7)] for y in clouds]
    return [*rows, {"id": "B5", "case": "cost against points", **slope(sizes, costs), "expected": 2.0}]
