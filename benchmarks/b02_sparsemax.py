"""B2: sparsemax and SpaDE's step, against the packages ``sparsemax`` and ``entmax``.

A round times a forward and a backward pass of 1,024 rows, and of the loss of SpaDE with respect to
prototypes, decoder and sharpness. The peers:

* ``sparsemax``: ``Sparsemax(dim=-1)``, which sorts every row;
* ``entmax``: ``entmax.sparsemax``, with a full sort, and with the partial sort of the ``k`` fastest on
  the rows at hand (it must know them: the choice is not timed).

For SpaDE's step the peers' gate stands in the same closed form of the distances, under autograd. A peer that
is not installed is absent.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

import torch

from benchmarks.measure import copy_seconds, measure, seconds, slope
from geowall.kernels import spade
from geowall.kernels.sae_step import Rule, gradients_slow, views
from geowall.kernels.sparsemax import sparsemax, sparsemax_slow
from geowall.sae.start import start

ROWS, WIDTHS = 1024, (512, 4096, 32_768)
N_LATENTS, D_MODEL, L1 = 4096, 64, 0.1
MUST = {"sparsemax": 10.0, "entmax": 5.0}
GOAL = {"sparsemax": 40.0, "entmax": 20.0, "entmax, tuned k": 3.0}
KS = (8, 16, 32, 64, 128)

Gate = Callable[[torch.Tensor], torch.Tensor]


def peers(x: torch.Tensor) -> dict[str, Gate]:
    """The peers that are installed, by name; ``x`` is what k is tuned on."""
    found: dict[str, Gate] = {}
    if find_spec("sparsemax"):
        from sparsemax import Sparsemax

        found["sparsemax"] = Sparsemax(dim=-1)
    if find_spec("entmax"):
        import entmax

        found["entmax"] = lambda rows: entmax.sparsemax(rows, dim=-1)
        tuned = {k: seconds(lambda k=k: entmax.sparsemax(x, dim=-1, k=k)) for k in KS if k <= x.shape[-1]}
        best = min(tuned, key=tuned.get)
        found["entmax, tuned k"] = lambda rows: entmax.sparsemax(rows, dim=-1, k=best)
    return found


def both_ways(gate: Gate, x: torch.Tensor, back: torch.Tensor) -> Callable[[], torch.Tensor]:
    """A forward and a backward pass."""

    def work() -> torch.Tensor:
        leaf = x.detach().requires_grad_()
        return torch.autograd.grad(gate(leaf), leaf, back)[0]

    return work


def check(n: int) -> float:
    """Largest error of values and gradients on rows of ``n`` numbers, against sorting in float64.

    Raises:
        AssertionError: above 1e-6, if a row does not sum to 1, or if a support differs.
    """
    random = torch.Generator().manual_seed(n)
    x = torch.randn(64, n, generator=random).requires_grad_()
    back = torch.randn(64, n, generator=random)
    out, exact = sparsemax(x), sparsemax_slow(x.double())
    grad, expected = (torch.autograd.grad(f, x, g)[0] for f, g in ((out, back), (exact, back.double())))
    off = max(float((out - exact).detach().abs().max()), float((grad - expected).abs().max()))
    off = max(off, float((out.detach().double().sum(1) - 1.0).abs().max()))
    if off > 1e-6 or not torch.equal(out > 0, exact > 0):
        raise AssertionError(f"B2: sparsemax of {n} numbers is off by {off:.1e}, or has another support")
    return off


def ours() -> Callable[[], tuple[torch.Tensor, ...]]:
    """SpaDE's gradient, compiled."""
    params, x = problem()
    return lambda: spade.gradients(params, x, Rule("spade", l1=L1), N_LATENTS)


def problem() -> tuple[torch.Tensor, torch.Tensor]:
    """A start, and a batch."""
    x = torch.randn(ROWS, D_MODEL, generator=torch.Generator().manual_seed(0)) / D_MODEL**0.5
    return start(N_LATENTS, D_MODEL, Rule("spade"), 0), x


def theirs(gate: Gate) -> Callable[[], tuple[torch.Tensor, ...]]:
    """The same loss under autograd, with a peer's gate."""
    params, x = problem()
    parts = views(params, N_LATENTS, D_MODEL)
    raw = parts.log_threshold[:1].clone()
    weights = [part.clone().requires_grad_() for part in (parts.enc, parts.dec, raw)]
    square = x.square().sum(1, keepdim=True)

    def work() -> tuple[torch.Tensor, ...]:
        enc, dec, free = weights
        far = square + enc.square().sum(1) - 2.0 * x @ enc.T
        z = gate(-spade.sharpness(free) * far)
        loss = (x - z @ dec).square().sum(1).mean() + L1 * (z * far).sum(1).mean()
        return torch.autograd.grad(loss, weights)

    return work


def check_step() -> float:
    """Largest error of SpaDE's gradient over its largest value, against autograd in float64.

    Raises:
        AssertionError: above 1e-5.
    """
    params, x = problem()
    grad = ours()()[0]
    exact = gradients_slow(params.double(), x.double(), Rule("spade", l1=L1), N_LATENTS)[0]
    off = float((grad - exact).abs().max() / exact.abs().max())
    if off > 1e-5:
        raise AssertionError(f"B2: SpaDE's gradient is off by {off:.1e}")
    return off


def run(small: bool = False) -> list[dict[str, object]]:
    """All rows of B2; ``small`` leaves the widest rows out."""
    torch.set_num_threads(1)
    rows = [row for n in (WIDTHS[:2] if small else WIDTHS) for row in _gate_rows(n, small)]
    return [*rows, *_step_rows(small), _growth(small)]


def _gate_rows(n: int, small: bool) -> list[dict[str, object]]:
    off = check(n)
    random = torch.Generator().manual_seed(1)
    x, back = (torch.randn(ROWS, n, generator=random) for _ in range(2))
    mine, rows = both_ways(sparsemax, x, back), []
    limit = copy_seconds(x.numpy())  # every number is read at least once
    for name, gate in peers(x).items():
        found = measure(mine, both_ways(gate, x, back), rounds=3 if small else 9)
        row = {
            "id": "B2",
            "case": f"sparsemax both ways, {ROWS} x {n}, against {name}",
            "peer": name,
            **found,
        }
        rows.append(row | _limits(name) | {"n": n, "largest_difference": off})
        rows[-1]["share_of_limit"] = limit / seconds(mine)
    return rows


def _step_rows(small: bool) -> list[dict[str, object]]:
    off, rows = check_step(), []
    params, x = problem()
    scores, _ = spade.scores(views(params, N_LATENTS, D_MODEL), x)
    for name, gate in peers(scores).items():
        found = measure(ours(), theirs(gate), rounds=3 if small else 9)
        case = f"SpaDE's gradient, d = {D_MODEL}, n = {N_LATENTS}, against {name}"
        rows.append(
            {"id": "B2", "case": case, "peer": name, **found, **_limits(name), "largest_difference": off}
        )
    return rows


def _limits(name: str) -> dict[str, float]:
    return {key: table[name] for key, table in (("must", MUST), ("goal", GOAL)) if name in table}


def _growth(small: bool) -> dict[str, object]:
    """How the forward pass grows with the length of a row, in cache: rows are few enough to stay there."""
    costs, widths = [], [512, 2048, 8192]
    for n in widths:
        x = torch.randn(16, n, generator=torch.Generator().manual_seed(2))
        costs.append([seconds(lambda x=x: sparsemax(x)) for _ in range(3 if small else 9)])
    found = slope([float(n) for n in widths], costs)
    return {"id": "B2", "case": "cost of 16 rows against their length", **found, "expected": 1.0}
