"""B9: laws of many layers with their bootstraps, against ``scipy.optimize.curve_fit`` in a loop.

A job is 68 layers with 1,000 bootstraps each, of the surface without a floor (four parameters) and with one
(six), on six widths and nine sparsities. The peer gets the analytic Jacobian, its default method and, like
ours, the layer's own fit as a start. Both sides fit the same draws of a layer, the next layer each time.
"""

from __future__ import annotations

from itertools import cycle

import numpy as np
from scipy.optimize import curve_fit

from benchmarks.measure import first_call, measure, seconds, slope
from geowall.kernels import floor_fits
from geowall.laws.scaling import surface

LAYERS, BOOTSTRAPS = 68, 1000
WIDTHS, KS = 2.0 ** np.arange(6, 12), np.array([8.0, 11, 16, 22, 32, 45, 64, 90, 128])
NOISE = 0.01
MUST, GOAL = 30.0, 200.0
N, K = (v.ravel() for v in np.meshgrid(WIDTHS, KS, indexing="ij"))
X, U = np.log(N) - np.log(N).mean(), np.log(K) - np.log(K).mean()
DESIGN = surface.design(np.exp(X), np.exp(U))  # of the centred widths and sparsities, for both sides
BOUNDS = np.array([[-60.0, -5, -5, -5, -16, -5], [60.0, 5, 0, 5, 3, 5]])


def layer(i: int, draws: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draws of one layer's ``log L`` [draw, cell], and the start of either law: its fit without noise."""
    rng = np.random.default_rng(i)
    theta = np.array([-2.0, -0.4, -0.5, -0.03, -2.4, -0.3]) + rng.uniform(-1, 1, 6) * [
        0.3,
        0.1,
        0.1,
        0.02,
        0.2,
        0.1,
    ]
    clean = floor_fits.log_errors(X, U, theta)
    plain = np.linalg.lstsq(DESIGN, clean, rcond=None)[0]
    return clean + NOISE * rng.standard_normal((draws, len(N))), theta, plain


def ours(y: np.ndarray, theta: np.ndarray, form: str) -> np.ndarray:
    """Parameters of every draw."""
    if form == "no floor":
        return surface.fit(np.exp(X), np.exp(U), y)
    return floor_fits.fit(X, U, y, theta[None, None], BOUNDS[:1], BOUNDS[1:])[0]


def peer(y: np.ndarray, theta: np.ndarray, plain: np.ndarray, form: str, **options: float) -> np.ndarray:
    """The same by ``curve_fit``, one draw after another."""
    if form == "no floor":
        given = {"p0": plain, "jac": lambda _, *p: DESIGN, **options}
        return np.array([curve_fit(lambda _, *p: DESIGN @ np.array(p), X, row, **given)[0] for row in y])

    def law(_: np.ndarray, *p: float) -> np.ndarray:
        return np.logaddexp(p[0] + p[1] * U + (p[2] + p[3] * U) * X, p[4] + p[5] * U)

    def slopes(_: np.ndarray, *p: float) -> np.ndarray:
        return floor_fits.jacobian(X, U, np.array(p))

    return np.array([curve_fit(law, X, row, theta, jac=slopes, **options)[0] for row in y])


def gate(form: str, layers: int = 4, draws: int = 10) -> float:
    """Largest relative difference of the sums of squares, and of any fitted value, from the peer's.

    Raises:
        AssertionError: above 1e-6.
    """
    worst = 0.0
    for i in range(layers):
        y, theta, plain = layer(i, draws)
        mine = ours(y, theta, form)
        exact = peer(y, theta, plain, form, ftol=1e-14, xtol=1e-14, gtol=1e-14, maxfev=20_000)
        fitted = [
            t @ DESIGN.T if form == "no floor" else floor_fits.log_errors(X, U, t) for t in (mine, exact)
        ]
        rss = [((y - f) ** 2).sum(axis=1) for f in fitted]
        worst = max(
            worst, float(np.abs(rss[0] / rss[1] - 1).max()), float(np.abs(fitted[0] - fitted[1]).max())
        )
    if not worst <= 1e-6:
        raise AssertionError(f"B9: {form} differs from curve_fit by {worst:.1e}")
    return worst


def run(small: bool = False) -> list[dict[str, object]]:
    """All rows of B9; ``small`` shrinks the work for CI and keeps the names."""
    compiled = first_call(lambda: ours(*layer(0, 8)[:2], "with floor"))
    rows = [{"id": "B9", "case": "first call, compile or load included", "seconds": compiled}]
    draws, rounds = (40, 5) if small else (200, 9)
    data = [layer(i, draws) for i in range(8 if small else LAYERS)]
    both = ("no floor", "with floor")
    for case, forms in (("no floor", both[:1]), ("with floor", both[1:]), ("both surfaces", both)):
        found = {"largest_difference": max(gate(form) for form in forms)}
        found |= _against_loop(data, forms, rounds)
        limits = {"must": MUST, "goal": GOAL} if forms == both else {}
        case = f"{case}, bootstraps of 68 layers, a fit"
        rows.append({"id": "B9", "case": case, "peer": "scipy.optimize.curve_fit", **found, **limits})
    return [*rows, _whole(small), _growth(small)]


def _against_loop(data: list, forms: tuple[str, ...], rounds: int) -> dict[str, object]:
    mine, theirs = cycle(data), cycle(data)

    def a() -> None:
        y, theta, _ = next(mine)
        for form in forms:
            ours(y, theta, form)

    def b() -> None:
        y, theta, plain = next(theirs)
        for form in forms:
            peer(y, theta, plain, form)

    return measure(a, b, rounds)


def _whole(small: bool) -> dict[str, object]:
    layers, draws = (8, 100) if small else (LAYERS, BOOTSTRAPS)
    data = [layer(i, draws) for i in range(layers)]

    def work() -> None:
        for y, theta, _ in data:
            ours(y, theta, "no floor"), ours(y, theta, "with floor")

    spent = min(seconds(work) for _ in range(3))
    return {"id": "B9", "case": f"both surfaces, {layers} layers x {draws} bootstraps", "seconds": spent}


def _growth(small: bool) -> dict[str, object]:
    sizes = [100, 1000] if small else [100, 1000, 10_000, 100_000]
    y, theta, _ = layer(0, sizes[-1])
    costs = [[seconds(lambda n=n: ours(y[:n], theta, "with floor")) for _ in range(5)] for n in sizes]
    case = "cost against fits of the surface with a floor"
    return {"id": "B9", "case": case, **slope([float(n) for n in sizes], costs), "expected": 1.0}
