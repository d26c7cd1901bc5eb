"""Estimates of dimension against other routes to them: scipy's and scikit-learn's, and scikit-dimension's."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from scipy.stats import expon
from sklearn.neighbors import NearestNeighbors

from geowall.geometry import dimension
from geowall.geometry.shapes import Linear, embedded
from geowall.kernels.neighbours import neighbours

POINTS, D_INT = 500, 5
SCALES = (1, 2, 4, 8, 16, 32)


@pytest.fixture(scope="module")
def cloud() -> torch.Tensor:
    return embedded(Linear(D_INT), POINTS, 12, 0.01, seed=0)


@pytest.fixture(scope="module")
def ours(cloud) -> dict[str, float]:
    distance = neighbours(cloud, 2 * max(SCALES)).distance
    ratio = dimension.log_ratio(distance)
    found = {f"gride_{k}": dimension.gride(distance, k) for k in SCALES}
    mle = float(1.0 / (1.0 / dimension.mle(distance, 20)).mean())
    return found | {
        "two_nn": dimension.two_nn(ratio), "linear": dimension.two_nn(ratio, "linear"), "mle_20": mle
    }  # fmt: skip


@pytest.fixture(scope="module")
def distances(cloud) -> np.ndarray:
    """Distances to the nearest by another search, in double precision."""
    x = cloud.double().numpy()
    return NearestNeighbors(n_neighbors=2 * max(SCALES) + 1, algorithm="brute").fit(x).kneighbors(x)[0][:, 1:]


def test_two_nn_is_the_rate_of_an_exponential_law(ours, distances):
    logs = np.log(distances[:, 1] / distances[:, 0])
    _, scale = expon.fit(logs, floc=0)
    assert ours["two_nn"] == pytest.approx(1 / scale, rel=1e-4)


def test_the_linear_fit_is_least_squares_through_the_origin(ours, distances):
    logs = np.sort(np.log(distances[:, 1] / distances[:, 0]))
    keep = int(0.9 * POINTS)
    heights = -np.log(1 - np.arange(1, keep + 1) / POINTS)
    slope = np.linalg.lstsq(logs[:keep, None], heights, rcond=None)[0][0]
    assert ours["linear"] == pytest.approx(slope, rel=1e-4)


def test_mle_is_the_inverse_of_the_mean_log_ratio_to_the_farthest(ours, distances):
    logs = np.log(distances[:, 19:20] / distances[:, :19])
    assert ours["mle_20"] == pytest.approx(1 / logs.mean(), rel=1e-4)


@pytest.mark.parametrize("near", SCALES)
def test_gride_is_where_its_likelihood_is_largest(ours, distances, near):
    m = distances[:, 2 * near - 1] / distances[:, near - 1]

    def cost(d: float) -> float:
        return -np.sum(np.log(d) + (near - 1) * np.log(m**d - 1) - ((2 * near - 1) * d + 1) * np.log(m))

    best = minimize_scalar(cost, bounds=(0.5, 30.0), method="bounded", options={"xatol": 1e-7})
    assert ours[f"gride_{near}"] == pytest.approx(best.x, rel=1e-4)


@pytest.mark.skipif(
    importlib.util.find_spec("skdim") is None, reason="scikit-dimension is of the extra `peers`"
)
def test_scikit_dimension_agrees(cloud, ours):
    import skdim

    x = cloud.numpy()
    assert ours["linear"] == pytest.approx(float(skdim.id.TwoNN().fit(x).dimension_), rel=1e-4)
    assert ours["mle_20"] == pytest.approx(float(skdim.id.MLE().fit(x, n_neighbors=20).dimension_), rel=1e-4)
    scales = skdim.id.GRIDE(multiscale=True, range_max=2 * max(SCALES)).fit(x).dimension_scales_
    for near, theirs in zip(
        SCALES, scales, strict=True
    ):  # it takes one point off its count and cuts outliers
        assert ours[f"gride_{near}"] == pytest.approx(float(theirs), rel=3 / POINTS**0.5)
