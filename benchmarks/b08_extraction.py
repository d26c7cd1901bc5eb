"""B8: extraction of every layer to disk, against the bare forward pass with hooks.

The model is a random Gemma 2 of 8 layers, d = 512; the work is 16,384 tokens in sequences of 256. Ours traces
with nnsight, copies, hashes and stores every layer's residual stream; the peer is the decoder without its
head, with hooks that hold each layer's output until its batch is done and keep nothing after. The gate:
what is on disk equals ``hidden_states`` bit for bit: the last layer after the final norm, which is their end.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from transformers import Gemma2Config, Gemma2ForCausalLM

from benchmarks.measure import measure, seconds, slope
from geowall.language import cost
from geowall.language.activations import Site, batch_for, extract, sites
from geowall.language.store import Store

D_MODEL, LAYERS, CONTEXT, VOCABULARY = 512, 8, 256, 512
TOKENS = 16_384
MUST, GOAL = 1 / 1.10, 1 / 1.03  # ratios here are peer over ours


def model(d_model: int = D_MODEL, layers: int = LAYERS) -> Gemma2ForCausalLM:
    """A random Gemma 2, always the same."""
    torch.manual_seed(0)
    size = {"hidden_size": d_model, "intermediate_size": 4 * d_model, "num_hidden_layers": layers}
    heads = {"num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": d_model // 8}
    rest = {"query_pre_attn_scalar": d_model // 8, "sliding_window": 64, "vocab_size": VOCABULARY}
    config = Gemma2Config(**size, **heads, **rest, bos_token_id=2, attn_implementation="eager")
    return Gemma2ForCausalLM(config).eval().requires_grad_(False)


def text(tokens: int, seed: int = 0) -> torch.Tensor:
    """Sequences of random tokens that open with BOS."""
    random = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, VOCABULARY, (tokens // CONTEXT, CONTEXT), generator=random)
    ids[:, 0] = 2
    return ids


def ours(work: Gemma2ForCausalLM, ids: torch.Tensor, folder: Path) -> Store:
    """Everything to disk; BOS too, so that both sides hold the same values."""
    return extract(work, ids, sites(work), folder, keep_bos=True)


def gate(work: Gemma2ForCausalLM, ids: torch.Tensor) -> float:
    """Largest difference between the store and ``hidden_states``.

    Raises:
        AssertionError: one bit differs.
    """
    batch = batch_for(work, CONTEXT)
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        store = ours(work, ids, Path(folder) / "store")
        options = {"output_hidden_states": True, "use_cache": False}
        states = [work(part, **options).hidden_states for part in ids.split(batch)]
        worst, last = 0.0, work.config.num_hidden_layers - 1
        for layer in range(last + 1):
            found = torch.from_numpy(store.read(Site("res", layer)))
            found = work.model.norm(found) if layer == last else found
            expected = torch.cat([state[layer + 1].reshape(-1, found.shape[1]) for state in states])
            worst = max(worst, float((found - expected).abs().max()))
    if worst:
        raise AssertionError(f"B8: what is on disk differs from hidden_states by {worst:.1e}")
    return worst


def run(small: bool = False) -> list[dict[str, object]]:
    """All rows of B8; ``small`` takes a quarter of the tokens and a quarter of the width."""
    torch.set_num_threads(1)
    work, tokens = (model(128, 4), TOKENS // 4) if small else (model(), TOKENS)
    worst, ids = gate(work, text(8 * CONTEXT)), text(tokens)
    at, batch = sites(work), batch_for(work, CONTEXT)

    def stored(part: torch.Tensor) -> None:
        with tempfile.TemporaryDirectory() as folder:
            ours(work, part, Path(folder) / "store")

    found = measure(lambda: stored(ids), lambda: cost.bare(work, ids, at, batch), rounds=3 if small else 9)
    case = f"{len(at)} layers, d = {work.config.hidden_size}, {tokens:,} tokens to disk, against hooks alone"
    row = {"id": "B8", "case": case, "peer": "bare forward with hooks", **found, "must": MUST, "goal": GOAL}
    sizes = [tokens // 8, tokens // 4, tokens // 2]
    costs = [[seconds(lambda n=n: stored(ids[: n // CONTEXT])) for _ in range(3)] for n in sizes]
    growth = slope([float(n) for n in sizes], costs)
    growth_row = {"id": "B8", "case": "cost against tokens", **growth, "expected": 1.0}
    return [row | {"d_model": work.config.hidden_size, "largest_difference": worst}, growth_row]
