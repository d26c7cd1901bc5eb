"""Activations: equal to what the model computes, bit for bit, wherever and however often they are read."""

from __future__ import annotations

import doctest
import os
from pathlib import Path

import nnsight
import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from geowall.language import activations, rows, sites, store
from geowall.language.activations import Site, collect, extract
from geowall.paths import GeowallError

BOS, VOCABULARY, CONTEXT = 2, 120, 24


def gemma(layers=4, **options):
    torch.manual_seed(0)
    size = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=layers, head_dim=12)
    heads = dict(num_attention_heads=4, num_key_value_heads=2, query_pre_attn_scalar=12, sliding_window=8)
    ids = dict(vocab_size=VOCABULARY, bos_token_id=BOS, eos_token_id=1, pad_token_id=0)
    config = Gemma2Config(**size, **heads, **ids, attn_implementation="eager", **options)
    return Gemma2ForCausalLM(config).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def model():
    return gemma()


@pytest.fixture(scope="module")
def tokens():
    ids = torch.randint(3, VOCABULARY, (11, CONTEXT), generator=torch.Generator().manual_seed(1))
    ids[:, 0] = BOS
    ids[4, 9] = ids[7, 1] = BOS  # a document that begins inside a sequence
    return ids


def hooked(model, ids):
    """The same values by forward hooks, without nnsight."""
    found = {}

    def keep(name, take):
        return lambda module, args, out: found.__setitem__(name, take(args, out))

    for i, block in enumerate(model.model.layers):
        block.register_forward_hook(keep(Site("res", i), lambda args, out: out.clone()))
        block.post_feedforward_layernorm.register_forward_hook(
            keep(Site("mlp", i), lambda args, out: out.clone())
        )
        block.self_attn.o_proj.register_forward_hook(keep(Site("att", i), lambda args, out: args[0].clone()))
    with torch.no_grad():
        out = model(ids, output_hidden_states=True, use_cache=False)
    return found, out.hidden_states


@pytest.mark.parametrize("module", [activations, rows, sites, store], ids=lambda m: m.__name__)
def test_the_worked_examples(module):
    assert doctest.testmod(module).failed == 0


def test_every_site_equals_forward_hooks_bit_for_bit(tokens):
    fresh = gemma()
    every = sites.sites(fresh, sites.KINDS)
    found = collect(fresh, tokens, every)
    expected, hidden = hooked(fresh, tokens)
    assert set(found) == set(expected) == set(every) and len(every) == 12
    for site in every:
        assert np.array_equal(found[site], expected[site].numpy()), site
        assert found[site].shape == (*tokens.shape, activations.width(fresh, site))
    for layer in range(3):
        assert np.array_equal(found[Site("res", layer)], hidden[layer + 1].numpy())


def test_the_last_hidden_state_is_after_the_final_norm(model, tokens):
    last = collect(model, tokens, [Site("res", 3)])[Site("res", 3)]
    with torch.no_grad():
        hidden = model(tokens, output_hidden_states=True, use_cache=False).hidden_states[-1]
        normed = model.model.norm(torch.from_numpy(last))
    assert not np.allclose(last, hidden.numpy())
    assert torch.equal(normed, hidden)


@pytest.mark.parametrize(
    "other",
    [
        LlamaForCausalLM(
            LlamaConfig(
                vocab_size=VOCABULARY,
                hidden_size=16,
                intermediate_size=16,
                num_hidden_layers=2,
                num_attention_heads=2,
            )
        ),
        GPT2LMHeadModel(
            GPT2Config(vocab_size=VOCABULARY, n_embd=16, n_layer=2, n_head=2, bos_token_id=2, eos_token_id=1)
        ),
        GPTNeoXForCausalLM(
            GPTNeoXConfig(
                vocab_size=VOCABULARY,
                hidden_size=16,
                intermediate_size=16,
                num_hidden_layers=2,
                num_attention_heads=2,
            )
        ),
    ],
    ids=lambda m: type(m).__name__,
)
def test_other_architectures_have_the_same_sites(other, tokens):
    other.eval()
    found = collect(other, tokens, sites.sites(other, sites.KINDS))
    with torch.no_grad():
        hidden = other(tokens, output_hidden_states=True, use_cache=False).hidden_states
    assert np.array_equal(found[Site("res", 0)], hidden[1].numpy())
    assert {x.shape for x in found.values()} == {(*tokens.shape, 16)}


def test_a_store_holds_what_the_model_computes_less_the_special_tokens(model, tokens, tmp_path):
    at = [Site("res", 2), Site("att", 0), Site("mlp", 1)]
    documents = torch.arange(tokens.numel()).view_as(tokens) // 40
    made = extract(
        model, tokens, at, tmp_path / "s", documents=documents, batch=3, shard_rows=64, n_special=13
    )
    whole, plain = collect(model, tokens, at), (tokens != BOS).numpy()
    assert made.rows == plain.sum() == tokens.numel() - 13
    for site in at:
        assert np.allclose(
            made.read(site), whole[site][plain], rtol=0, atol=1e-6
        )  # batches of 3, batch of 11
        x = made.read(site)
        assert np.allclose(made.norms(site), np.linalg.norm(x, axis=1), rtol=1e-6)
        assert np.allclose(made.mean(site), x.mean(0, dtype=np.float64), atol=1e-6)
        assert np.array_equal(made.read(site, [5, 200, 0]), x[[5, 200, 0]])
    assert np.array_equal(made.index["token"], tokens.numpy()[plain])
    assert np.array_equal(made.index["document"], documents.numpy()[plain])
    assert np.array_equal(made.index["position"], np.nonzero(plain)[1])
    assert np.array_equal(made.places, np.flatnonzero(plain))
    assert made.manifest["n_special"] == 13 and made.manifest["special"] == [0, 1, 2]


def test_stored_rows_equal_the_same_batches_bit_for_bit(model, tokens, tmp_path):
    site = Site("res", 1)
    made = extract(model, tokens, [site], tmp_path / "s", batch=4, keep_bos=True, shard_rows=50)
    parts = [collect(model, tokens[i : i + 4], [site])[site].reshape(-1, 32) for i in (0, 4, 8)]
    assert np.array_equal(made.read(site), np.concatenate(parts))


def test_bfloat16_is_stored_as_its_bits(model, tokens, tmp_path):
    site = Site("res", 0)
    half = extract(model, tokens, [site], tmp_path / "half", batch=4, dtype="bfloat16")
    full = extract(model, tokens, [site], tmp_path / "full", batch=4)
    rounded = torch.from_numpy(full.read(site)).bfloat16().float().numpy()
    assert np.array_equal(half.read(site), rounded)
    size = [
        sum(f.stat().st_size for f in (tmp_path / n / "layer_0/res/c").rglob("*") if f.is_file())
        for n in ("half", "full")
    ]
    assert size[0] < 0.55 * size[1]


def test_a_sample_is_the_same_rows_of_the_whole(model, tokens, tmp_path):
    site = Site("res", 1)
    whole = extract(model, tokens, [site], tmp_path / "whole", batch=4)
    some = extract(model, tokens, [site], tmp_path / "some", batch=4, sample=40, seed=3)
    assert some.rows == 40 and np.all(np.diff(some.places) > 0)
    assert np.array_equal(some.read(site), whole.read(site, np.searchsorted(whole.places, some.places)))
    other = extract(model, tokens, [site], tmp_path / "other", batch=4, sample=40, seed=4)
    assert not np.array_equal(some.places, other.places)


def test_the_blocks_above_the_last_site_and_the_head_never_run(tokens):
    fresh, ran = gemma(), []
    for name in ("model.layers.1", "model.layers.2", "model.norm", "lm_head"):
        fresh.get_submodule(name).register_forward_pre_hook(lambda *_, n=name: ran.append(n))
    collect(fresh, tokens, [Site("att", 0)])
    assert ran == []
    collect(fresh, tokens, [Site("res", 1), Site("att", 0)])
    assert ran == ["model.layers.1"]


def test_serialised_as_for_a_remote_run_the_values_are_the_same(model, tokens, tmp_path):
    words = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()), pad_token="<pad>")
    wrapped = nnsight.TransformersModel(model, tokenizer=words, task="text-generation")
    at = [Site("res", 3), Site("att", 1)]
    here = extract(model, tokens, at, tmp_path / "here", batch=4)
    there = extract(wrapped, tokens, at, tmp_path / "there", batch=4, remote="local")
    assert all(np.array_equal(here.read(site), there.read(site)) for site in at)


def test_memory_is_flat_over_fifty_batches(tmp_path):
    """Fifty batches hold 23 MB of activations and 200 MB of attention weights; none of it may stay."""
    deep, ids = gemma(), torch.randint(3, VOCABULARY, (60, 256))
    memory, page = [], os.sysconf("SC_PAGE_SIZE")

    def progress(done, total):
        memory.append(int(Path("/proc/self/statm").read_text().split()[1]) * page)

    extract(
        deep, ids, sites.sites(deep, sites.KINDS), tmp_path / "s", batch=1, shard_rows=512, progress=progress
    )
    assert len(memory) == 60
    assert np.median(memory[50:]) - np.median(memory[5:15]) < 15_000_000


@pytest.mark.parametrize(
    ("call", "why"),
    [
        (lambda m, t, p: extract(m, t, [Site("res", 9)], p), "4 layers"),
        (lambda m, t, p: extract(m, t, [], p), "no site"),
        (lambda m, t, p: extract(m, t + 100, [Site("res", 0)], p), "the model knows 0 to 119"),
        (lambda m, t, p: extract(m, t, [Site("res", 0)], p, n_special=11), "13 times where 11"),
        (lambda m, t, p: extract(m, t, [Site("res", 0)], p, sample=10_000), "10000 of 251"),
        (lambda m, t, p: extract(m, t[0], [Site("res", 0)], p), "[sequence, position]"),
        (lambda m, t, p: Site("head", 0), "one of att, mlp, res"),
        (lambda m, t, p: Site.parse("layer0/res"), "layer_LAYER/KIND"),
    ],
)
def test_what_cannot_be_extracted_is_said_in_three_lines(call, why, model, tokens, tmp_path):
    with pytest.raises(GeowallError) as caught:
        call(model, tokens, tmp_path / "s")
    assert why in caught.value.why and str(caught.value).count("\n") == 2
