"""The lab's language models: training that survives a kill to the bit, and what is committed."""

from __future__ import annotations

import collections
import itertools
import json
import math
import signal
import subprocess
import sys

import pytest
import torch

from geowall import __main__ as command_line
from geowall.language import corpus, lab, remake, tokens, training, trigram
from geowall.paths import ROOT, GeowallError

TINY = lab.Spec(
    2, d_model=16, heads=2, groups=1, d_head=8, d_mlp=32, context=16, window=4, vocabulary=64, batch=4
)


def sequences(count: int = 40) -> torch.Tensor:
    """Sequences with something to learn: each token follows from the one before it."""
    start = torch.randint(3, 64, (count, 1), generator=torch.Generator().manual_seed(0))
    ids = 3 + (start + 7 * torch.arange(16)) % 61
    ids[:, 0] = 2
    return ids


def weights(model) -> torch.Tensor:
    return torch.cat([value.flatten() for value in model.state_dict().values()])


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, "tests")
from test_lab import TINY, sequences
from geowall.language import training

training.SECONDS = 0.0  # a checkpoint every step
kill = lambda record: os.kill(os.getpid(), signal.SIGKILL) if record.steps == 7 else None
training.train(TINY, sequences(), 12 * 64, folder=Path(sys.argv[1]), on_step=kill)
"""


def test_a_killed_training_ends_with_the_bits_it_would_have_had(tmp_path):
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    kept = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert 5 <= kept["step"] <= 7 and kept["total"] == 12
    seen = []
    resumed, record = training.train(
        TINY, sequences(), 12 * 64, folder=tmp_path, on_step=lambda r: seen.append(r.steps)
    )
    whole, straight = training.train(TINY, sequences(), 12 * 64)
    assert seen == list(range(kept["step"] + 1, 13)) and record.tokens == straight.tokens == 12 * 64
    assert torch.equal(weights(resumed), weights(whole)) and record.loss == straight.loss
    again, record = training.train(TINY, sequences(), 12 * 64, folder=tmp_path)
    assert record.steps == 12 and torch.equal(weights(again), weights(whole))


def test_another_training_does_not_go_on_from_this_ones_checkpoint(tmp_path):
    training.train(TINY, sequences(), 64, folder=tmp_path)
    with pytest.raises(GeowallError, match="not resumed"):
        training.train(TINY, sequences(39), 64, folder=tmp_path)


def test_a_training_learns_what_there_is_to_learn():
    model, record = training.train(TINY, sequences(200), 150 * 64)
    assert training.held_out_loss(model, sequences(200)[:50]) < 2.0 < math.log(61)
    assert record.steps == record.total == 150 and record.rate > 0 and record.left == 0


def test_a_budget_of_minutes_becomes_one_of_steps():
    records = []
    training.train(TINY, sequences(), minutes=0.03, on_step=records.append)
    assert records[training.PROBE - 2].total == 0 and records[-1].steps == records[-1].total
    assert len({record.total for record in records[training.PROBE - 1 :]}) == 1
    assert 0.3 < records[-1].seconds < 20


def test_an_epoch_deals_out_every_sequence_once():
    ids = torch.arange(10)[:, None].expand(10, 3)
    dealt = torch.cat([training.batch_of(ids, step, TINY)[:, 0] for step in range(10)])
    epochs = dealt.view(4, 10)
    assert (epochs.sort(1).values == torch.arange(10)).all() and len({tuple(e) for e in epochs.tolist()}) == 4


def test_the_architecture_is_gemma_2_in_full():
    for name, spec in lab.MODELS.items():
        config = lab.config(spec)
        assert config.model_type == "gemma2" and config.num_hidden_layers >= {"lab-small": 12}.get(name, 20)
        assert config.layer_types[:4] == ["sliding_attention", "full_attention"] * 2
        assert config.attn_logit_softcapping == 50.0 and config.final_logit_softcapping == 30.0
        assert config.num_key_value_heads < config.num_attention_heads and config.tie_word_embeddings
        assert config.hidden_activation == "gelu_pytorch_tanh" and config.sliding_window < spec.context
    assert torch.equal(weights(lab.make(TINY)), weights(lab.make(TINY)))
    with pytest.raises(GeowallError, match="use lab-small or lab-large"):
        lab.spec("lab-huge")


def kneser_ney(rows: list[list[int]], vocabulary: int):
    """The definition, in dictionaries (Chen & Goodman 1999)."""
    grams = [(a, b, c) for row in rows for a, b, c in zip([row[0], *row], row, row[1:], strict=False)]
    three = collections.Counter(grams)
    two = collections.Counter((b, c) for _, b, c in three)
    one = collections.Counter(c for _, c in two)

    def discounts(counts):
        n = [max(1, sum(v == i for v in counts.values())) for i in (1, 2, 3, 4)]
        y = n[0] / (n[0] + 2 * n[1])
        raw = [i - (i + 1) * y * n[i] / n[i - 1] for i in (1, 2, 3)]
        return [0.0, *(min(max(d, 0.0), i) for i, d in zip((1, 2, 3), raw, strict=True))]

    def lower(history, token, counts, below, steps):
        total = sum(v for g, v in counts.items() if g[:-1] == history)
        if not total:
            return below
        taken = sum(steps[min(v, 3)] for g, v in counts.items() if g[:-1] == history)
        here = counts.get((*history, token), 0)
        return (here - steps[min(here, 3)]) / total + taken / total * below

    def probability(a, b, c):
        total = sum(one.values())
        p = (max(one.get(c, 0) - 0.75, 0) + 0.75 * len(one) / vocabulary) / total
        p = lower((b,), c, two, p, discounts(two))
        return lower((a, b), c, three, p, discounts(three))

    return probability


def test_the_trigram_model_is_the_textbooks():
    ids = torch.randint(0, 7, (12, 20), generator=torch.Generator().manual_seed(1)).clamp(max=5)
    model, slow = trigram.fit(ids, vocabulary=8), kneser_ney(ids.tolist(), 8)
    cases = torch.tensor(list(itertools.product(range(8), repeat=3)))
    fast = model.probability(*cases.T)
    expected = torch.tensor([slow(*case) for case in cases.tolist()], dtype=torch.float64)
    torch.testing.assert_close(fast, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(fast.view(64, 8).sum(1), torch.ones(64, dtype=torch.float64))
    first = [(row[max(0, i - 2)], row[i - 1], row[i]) for row in ids.tolist() for i in range(1, 20)]
    mean = -sum(math.log(slow(*case)) for case in first) / len(first)
    assert trigram.loss(model, ids) == pytest.approx(mean)


def test_remaking_leaves_what_the_hugging_face_library_reads(tmp_path, monkeypatch):
    text = tmp_path / "text"
    text.mkdir()
    for i in range(60):
        (text / f"{i}.py").write_text(f"def f{i}(x):\n    return x + {i}\n" * 20)
    monkeypatch.setitem(lab.MODELS, "lab-tiny", TINY.__class__(**{**TINY.__dict__, "vocabulary": 300}))
    out = tmp_path / "lab"
    made = remake.remake("lab-tiny", str(text), budget=20 * 64, out=out, work=tmp_path / "work")
    assert made == json.loads((out / "lab-tiny" / "provenance.json").read_text())
    assert made["tokens_seen"] == 20 * 64 and made["corpus"]["sha256"] == corpus.load(str(text)).sha256
    assert sum(made["parts"].values()) == 60 and "/" not in made["device"]
    assert not [path for path in out.iterdir() if path.name.startswith(".")]
    model, tokenizer = lab.load("lab-tiny", out)
    assert model.config._attn_implementation == "eager" and not model.training
    held_out = tokens.pack(corpus.load(str(text)).split("held_out"), tokenizer, context=16)
    assert training.held_out_loss(model, held_out.ids) == pytest.approx(made["held_out_loss"], abs=1e-3)


def test_a_corpus_too_small_for_every_part_is_refused_before_training(tmp_path):
    (tmp_path / "text").mkdir()
    for i in range(4):
        (tmp_path / "text" / f"{i}.py").write_text("x = 1\n" * 50)
    with pytest.raises(GeowallError, match="is empty"):
        remake.remake("lab-small", str(tmp_path / "text"), 64, out=tmp_path / "lab", on_step=pytest.fail)
    assert not (tmp_path / "lab").exists()


def test_a_model_that_is_not_there_names_the_command_that_makes_it(tmp_path):
    with pytest.raises(GeowallError, match="geowall lab train --model lab-small"):
        lab.load("lab-small", tmp_path)
    with pytest.raises(SystemExit):
        command_line.main(["lab", "train", "--model", "lab-huge"])


def test_no_network_is_said_in_three_lines(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(GeowallError, match=r"was not read\n  why: .*\n  fix: check the name") as failed:
        corpus.load("hf:no/such")
    assert str(failed.value).count("\n") == 2


@pytest.mark.parametrize("name", sorted(path.parent.name for path in lab.FOLDER.glob("*/config.json")))
def test_what_is_committed_predicts_better_than_a_trigram_model(name: str):
    made = json.loads((lab.FOLDER / name / "provenance.json").read_text())
    assert made["verdict"] == "trained" and made["held_out_loss"] < made["trigram_loss"] - remake.MARGIN
    model, tokenizer = lab.load(name)
    part = corpus.load().split("held_out")
    unseen = tokens.pack(part, tokenizer, limit=24).ids
    loss = training.held_out_loss(model, unseen, batch=4)
    assert made["held_out_loss"] - 0.4 < loss < made["trigram_loss"]
    assert sum(p.numel() for p in model.parameters()) == made["parameters"]


def test_the_committed_models_keep_to_their_size():
    sizes = [path.stat().st_size for path in lab.FOLDER.rglob("*") if path.is_file()]
    assert sum(sizes) < 25_000_000
