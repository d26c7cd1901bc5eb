"""B3: evaluating a checkpoint, against sae_lens and against the same four lines of torch.

The work is error and sparsity of 2,048 tokens of 2,304 dimensions through a JumpReLU dictionary of 16k and of
65k latents of which about 100 are active, weights and tokens in float32 on both sides; what our path spends
on rounding and packing is inside its time. Tokens are sums of a few of the dictionary's own directions and
noise, so that codes are what a trained dictionary's are: a few large ones, far above a threshold in the tail.

* ``sae_lens``: ``JumpReLUSAE.encode`` and ``decode``, then the same scalars; absent where not installed;
* ``torch``: ``x @ W_enc``, the threshold, ``codes @ W_dec`` in float32, what the peer does at its core.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from importlib.util import find_spec

import torch
from torch.nn.functional import normalize

from benchmarks.measure import measure, seconds, slope
from geowall.kernels.evaluate import Errors, Tokens, available, evaluate
from geowall.sae.model import Sae

TOKENS, D_MODEL, ACTIVE = 2048, 2304, 100
D_SAES = (16_384, 65_536)
MUST, GOAL = 1.8, 5.0
DOUBT = 2e-6  # of |x| |w|: within it float32 itself does not know the side of a threshold

Work = Callable[[], tuple[torch.Tensor, torch.Tensor]]


def problem(
    d_sae: int, seed: int = 0, tokens: int = TOKENS, d_model: int = D_MODEL
) -> tuple[Sae, torch.Tensor]:
    """A dictionary with unit decoder rows, and tokens on which about ``ACTIVE`` latents fire."""
    random = torch.Generator().manual_seed(seed)
    atoms = normalize(torch.randn(d_sae, d_model, generator=random), dim=1)
    picks = torch.randint(d_sae, (tokens, ACTIVE), generator=random)
    codes = 2.0 + torch.randn(tokens, ACTIVE, generator=random).abs()
    x = torch.stack([c @ atoms[p] for c, p in zip(codes, picks, strict=True)])
    x += 0.05 * torch.randn(tokens, d_model, generator=random)
    W_enc, zero = atoms.T.contiguous(), torch.zeros(d_sae)
    sample = (x[:64] @ W_enc).flatten()
    edge = sample.kthvalue(int(sample.numel() * (1.0 - ACTIVE / d_sae))).values
    threshold = edge * (0.98 + 0.04 * torch.rand(d_sae, generator=random))
    return Sae("jumprelu", 1, W_enc, zero, atoms, 0.1 * torch.randn(d_model, generator=random), threshold), x


def ours(sae: Sae, x: torch.Tensor) -> Work:
    """The kernel, packing of tokens and weights included."""

    def work() -> tuple[torch.Tensor, torch.Tensor]:
        tokens = Tokens(x)
        found: Errors = evaluate(sae, tokens)
        found.cosine(tokens.square)
        return found.nmse(tokens.square), found.l0

    return work


def eager(sae: Sae, x: torch.Tensor) -> Work:
    """Dense float32 codes in one piece: what a careful reader would write."""
    return _scalars(sae.encode, sae.decode, x)


def sae_lens(sae: Sae, x: torch.Tensor) -> Work:
    """The peer's inference class with the same weights."""
    from sae_lens import JumpReLUSAE, JumpReLUSAEConfig

    config = JumpReLUSAEConfig(d_in=sae.d_model, d_sae=sae.d_sae, apply_b_dec_to_input=False)
    peer = JumpReLUSAE(config)
    with torch.no_grad():
        for name in ("W_enc", "b_enc", "W_dec", "b_dec", "threshold"):
            getattr(peer, name).copy_(getattr(sae, name))
    peer.requires_grad_(False)
    return _scalars(peer.encode, peer.decode, x)


def _scalars(encode: Callable, decode: Callable, x: torch.Tensor) -> Work:
    def work() -> tuple[torch.Tensor, torch.Tensor]:
        with torch.no_grad():
            codes = encode(x)
            rebuilt = decode(codes)
            torch.nn.functional.cosine_similarity(x, rebuilt, dim=1)
            return (x - rebuilt).square().sum(1) / x.square().sum(1), (codes > 0).sum(1)

    return work


def gate(sae: Sae, x: torch.Tensor, peer: Callable[[Sae, torch.Tensor], Work]) -> dict[str, float]:
    """Errors to 1e-4 and counts per token equal to the peer's, where float32 can tell them at all.

    A count may differ only where a float64 product lies within float32's own rounding of a threshold, and
    there ours must be the one that float64 gives.

    Raises:
        AssertionError: if either does not hold; a fast wrong kernel is a failure.
    """
    (nmse, l0), (expected, counts) = ours(sae, x)(), peer(sae, x)()
    off = float(((nmse - expected) / expected).abs().max())
    differ = (l0 != counts).nonzero().flatten()
    for t in differ.tolist():
        p = x[t].double() @ sae.W_enc.double() + sae.b_enc.double()
        close = (p - sae.threshold).abs() < DOUBT * x[t].norm() * sae.W_enc.norm(dim=0)
        exact = int(((p > sae.threshold) & (p > 0)).sum())
        if not bool(close.any()) or int(l0[t]) != exact:
            raise AssertionError(f"B3: token {t} has {int(l0[t])} active latents, {exact} in float64")
    if not off <= 1e-4:
        raise AssertionError(f"B3: errors differ by {off:.1e}")
    return {"largest_difference": off, "undecided_by_float32": len(differ), "l0": float(l0.double().mean())}


def run(small: bool = False) -> list[dict[str, object]]:
    """All rows of B3; ``small`` takes fewer tokens, 512 dimensions and 8k latents."""
    torch.set_num_threads(1)
    sizes = [(8192, 512, 512)] if small else [(n, TOKENS, D_MODEL) for n in D_SAES]
    peers = {"torch": eager} | ({"sae_lens": sae_lens} if find_spec("sae_lens") else {})
    rows = []
    for d_sae, tokens, d_model in sizes:
        sae, x = problem(d_sae, 0, tokens, d_model)
        for name, peer in peers.items():
            checked = gate(sae, x, peer)
            found = measure(ours(sae, x), peer(sae, x), rounds=3 if small else 9)
            case = f"d = {d_model}, {d_sae:,} latents, L0 = {checked['l0']:.0f}, against {name}"
            sizes_of = {"d_model": d_model, "d_sae": d_sae, "compiled": available()}
            rows.append({"id": "B3", "case": case, "peer": name, **found, **checked, **sizes_of})
    for name in peers:
        rows.append(_mean(name, [row for row in rows if row.get("peer") == name]))
    return [*rows, _growth(small)]


def _mean(name: str, rows: list[dict[str, object]]) -> dict[str, object]:
    """Geometric mean of the ratios; its interval adds those of the sizes in quadrature."""
    logs = [math.log(row["ratio"]) for row in rows]
    spread = [0.5 * math.log(row["high"] / row["low"]) for row in rows]
    middle, half = sum(logs) / len(logs), math.sqrt(sum(s * s for s in spread)) / len(logs)
    ends = {"ratio": math.exp(middle), "low": math.exp(middle - half), "high": math.exp(middle + half)}
    counts = {"rounds": sum(r["rounds"] for r in rows), "dropped": sum(r["dropped"] for r in rows)}
    noisy = any(bool(row["noisy"]) for row in rows)
    limits = {"must": MUST, "goal": GOAL} if name == "sae_lens" else {}
    case = f"geometric mean of the sizes, against {name}"
    return {"id": "B3", "case": case, "peer": name, **ends, **counts, "noisy": noisy, **limits}


def _growth(small: bool) -> dict[str, object]:
    """How the cost grows with the dictionary, at the same number of active latents."""
    sizes, costs = (2048, 4096, 8192), []
    for d_sae in sizes:
        sae, x = problem(d_sae, 0, 512, 512)
        costs.append([seconds(ours(sae, x)) for _ in range(3 if small else 9)])
    found = slope([float(n) for n in sizes], costs)
    return {"id": "B3", "case": "cost against d_sae", **found, "expected": 1.0}
