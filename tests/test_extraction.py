"""Chapter 04: its statistics against their definitions, its forecast, its figures, and its Gemma path."""

from __future__ import annotations

import doctest
import json
import os
import resource
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from benchmarks import b08_extraction
from transformers import Gemma2Config, Gemma2ForCausalLM

from geowall.figures import extraction, extraction_cost
from geowall.language import cache, cost, hub, proof, reading, statistics
from geowall.language.sites import Site
from geowall.paths import ROOT, GeowallError

SECRET = "hf_" + "x" * 20
SHA = "0123456789abcdef0123456789abcdef01234567"
FORECAST = dict(
    n_sequences=8, context=32, kinds=["res"], model_dtype="float32", dtype="float32", device="cpu"
)


@pytest.fixture(scope="module")
def chosen(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GEOWALL_ACTIVATIONS", str(tmp_path_factory.mktemp("activations")))
        kinds = ["res", "att", "mlp"]
        setting = reading.setting(
            "lab-small", "stdlib", "geometry", 14, 24, kinds, "float32", "float32", "cpu", 0
        )
        reading.store_of(setting)
        yield setting


@pytest.fixture(scope="module")
def rounds(chosen):
    return cost.race({**chosen, "kinds": ["res"]}, 3, 8)


@pytest.mark.parametrize("module", [statistics, extraction, extraction_cost], ids=lambda m: m.__name__)
def test_the_worked_examples(module):
    assert doctest.testmod(module).failed == 0


def test_the_proof_finds_no_difference_and_the_trap(chosen):
    table = proof.proof(chosen)
    stream = table[table["site"] == "res"]
    assert len(table) == 36 and table["bit_equal"].all() and (table["hook_difference"] == 0).all()
    assert (stream["hidden_difference"].iloc[:-1] == 0).all() and stream["hidden_difference"].iloc[-1] > 0.1
    counts = proof.masked(chosen).iloc[0]
    assert counts["bos_by_id"] == counts["bos_by_position"] == counts["bos_counted"] == 14


def test_a_wrong_bit_would_be_seen(chosen, monkeypatch):
    store = reading.store_of(chosen)
    whole = store.read

    def altered(site, rows=None):
        x = whole(site, rows).copy()
        x[3, 5] = np.nextafter(x[3, 5], np.float32(np.inf))
        return x

    monkeypatch.setattr(store, "read", altered)
    table = proof.proof(chosen)
    assert not table["bit_equal"].any() and (table["hook_difference"] > 0).all()


def test_statistics_equal_their_definitions(chosen):
    """Against loops over pairs, and NumPy's covariance."""
    store = reading.store_of(chosen)
    index, site = store.index, Site("res", 5)
    x, text = store.read(site).astype(np.float64), (index["token"] != 2).to_numpy()
    x, sequence = x[text], index["sequence"].to_numpy()[text]
    units = x / np.linalg.norm(x, axis=1, keepdims=True)
    assert statistics.cosine(x) == pytest.approx((units @ units.T)[~np.eye(len(x), dtype=bool)].mean())
    found = statistics.bos_effect(chosen, 200, 0)
    row = found[(found["layer"] == 5) & (found["tokens"] == "text")].set_index("statistic")
    apart = sequence[:, None] != sequence[None]
    size = np.linalg.norm(x, axis=1)
    values = np.linalg.eigvalsh(np.cov(x.T, bias=True))
    expected = {
        "mean_norm": size.mean(),
        "norm_spread": size.std() / size.mean(),
        "mean_share": (x @ x.T)[apart].mean() / (size**2).mean(),
        "cosine": (units @ units.T)[apart].mean(),
        "effective_dimension": values.sum() ** 2 / (values**2).sum(),
        "top_variance": values[-1] / values.sum(),
    }
    for name, value in expected.items():
        assert row.loc[name, "value"] == pytest.approx(value, rel=1e-4), name
        assert row.loc[name, "low"] <= value <= row.loc[name, "high"], name


def test_intervals_cover_the_truth(chosen):
    """Sequences drawn independently: the 95 % interval of the mean norm holds the truth nearly always."""
    random, hits = np.random.default_rng(0), 0
    for _ in range(60):
        x = random.standard_normal((120, 6)) + random.standard_normal((12, 1)).repeat(10, 0)
        rows = statistics._bootstrapped(x.astype(np.float32), np.arange(12).repeat(10), 200, 0)
        mean = next(row for row in rows if row["statistic"] == "mean_share")
        truth = 1 * 6 * 0 / 12  # directions of different sequences are independent
        hits += mean["low"] <= truth <= mean["high"]
    assert hits >= 48


def test_norms_positions_and_outliers(chosen):
    store = reading.store_of(chosen)
    x = store.read(Site("res", 11))
    bos = (store.index["token"] == 2).to_numpy()
    norms = statistics.norms(chosen).set_index(["layer", "site"])
    assert norms.loc[(11, "res"), "median"] == pytest.approx(np.median(np.linalg.norm(x[~bos], axis=1)))
    assert norms.loc[(11, "res"), "bos"] == pytest.approx(np.linalg.norm(x[bos], axis=1).mean(), rel=1e-6)
    places = statistics.positions(chosen)
    assert places.groupby("layer")["n_tokens"].sum().eq(14 * 24).all()
    assert (places[places["tokens"] == "bos"]["cosine"] > 0.999).all()  # BOS is the same in every sequence
    massive = statistics.massive(chosen)
    top = massive[(massive["layer"] == 11) & (massive["tokens"] == "text") & (massive["rank"] == 1)].iloc[0]
    assert top["magnitude"] == np.abs(x[~bos]).max() and not massive["massive"].any()


def test_a_massive_activation_is_called_one():
    about = statistics._about(Site("res", 0), "bos", 1, magnitude=2000.0, median=1.5)
    assert about["massive"] and not statistics._about(Site("res", 0), "bos", 1, 90.0, 0.01)["massive"]


def test_a_longer_bos_changes_the_mean_square_as_the_equation_says(chosen):
    table = statistics.amplified(chosen, 5, [1.0, 10.0]).set_index(["statistic", "relative_norm"])["value"]
    first, last = sorted(set(table.index.get_level_values(1)))
    assert last == pytest.approx(10 * first)
    plain = statistics.bos_effect(chosen, 50, 0)
    plain = plain[(plain["layer"] == 5) & (plain["tokens"] == "all")].set_index("statistic")["value"]
    for name in extraction.STATISTICS:
        assert table[name, first] == pytest.approx(plain[name], rel=1e-4)
    assert table["norm_spread", last] > 2 * table["norm_spread", first]


def test_the_forecast_foretells_an_extraction(chosen):
    """Within a factor of two, as the chapter asks, whatever else the machine does."""
    longer = {**chosen, "n_sequences": 48, "context": 64}
    table = cost.foretold(longer).set_index("quantity")
    assert 0.5 < table.loc["time", "ratio"] < 2
    assert table.loc["disk", "ratio"] == pytest.approx(1, abs=0.1)
    assert table.loc["download", "measured"] == table.loc["GPU memory", "measured"] == 0


def test_gemma_is_foretold_before_its_licence_is_accepted(monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(cost, "_rehearse", lambda *_: {"token": 1e-3, "fixed": 1.0, "gpu_bytes": 0})
    small = cost.forecast("google/gemma-2-2b", **FORECAST)
    large = cost.forecast("google/gemma-2-9b", **FORECAST)
    assert small["download_mb"] == pytest.approx(4 * 2614.3, rel=1e-3)  # its published number of parameters
    assert large["download_mb"] == pytest.approx(4 * 9241.7, rel=1e-3)
    assert small["disk_mb"] == pytest.approx(8 * 32 * (26 * 2304 * 4 + 26 * 4 + 16) / 1e6, rel=0.02)
    assert small["seconds"] == pytest.approx(1 + 8 * 32 * 1e-3)
    with pytest.raises(GeowallError, match="cannot be had"):
        cost.forecast("somebody/else", **FORECAST)


def test_the_race_and_the_memory_are_measured_on_every_token(chosen, rounds):
    assert len(rounds) == 3 * 3 * 2 and (rounds["seconds"] > 0).all()
    assert sorted(set(rounds["n_tokens"])) == [2 * 24, 8 * 24]
    summary = cost.summary(rounds, 0).set_index(["way", "quantity"])
    assert summary.loc[("hooks", "ratio"), "value"] == 1
    assert (summary["low"] <= summary["value"]).all() and (summary["value"] <= summary["high"]).all()
    memory = cost.memory({**chosen, "kinds": ["res"]}, 12)
    assert memory["batch"].tolist() == list(range(1, 13)) and memory["extracted_mb"].is_monotonic_increasing


def test_every_figure_says_what_its_table_says(chosen, rounds):
    effect, places = statistics.bos_effect(chosen, 50, 0), statistics.positions(chosen)
    charts = [
        extraction.fig_final_norm(proof.proof(chosen)),
        extraction.fig_norms(statistics.norms(chosen), places),
        extraction.fig_anisotropy(effect, places),
        extraction.fig_massive(statistics.massive(chosen)),
        extraction.fig_bos(effect),
        extraction.fig_amplified(statistics.amplified(chosen, 5, [1.0, 8.0, 64.0])),
        extraction_cost.fig_race(rounds, cost.summary(rounds, 0)),
    ]
    foretold = pd.DataFrame({"quantity": ["time", "download"], "unit": ["s", "MB"], "predicted": [2.0, 0.0]})
    charts.append(extraction_cost.fig_forecast(foretold.assign(measured=[3.0, 0.0], ratio=[1.5, np.nan])))
    for chart in charts:
        meta = chart.usermeta
        assert len(meta["caption"]) > 40 and len(meta["alt"]) > 40 and "nan" not in meta["caption"]
        assert json.loads(chart.to_json())["usermeta"]["name"] == meta["name"]
    assert "36 of 36 sites" in charts[0].usermeta["caption"] and "time 1.50" in charts[-1].usermeta["caption"]
    assert len({chart.usermeta["name"] for chart in charts}) == len(charts)


def test_two_runs_share_one_store(chosen):
    text = reading.packed(chosen)
    same = dict(special=[text.bos], n_special=14, keep_bos=True, dtype="float32")
    same |= dict(documents=text.document, sites=[Site("res", 1)])
    first = cache.activations_of("lab-small", text.ids, **same)
    calls = []
    again = cache.activations_of("lab-small", text.ids, **same, progress=lambda *now: calls.append(now))
    assert first.place == again.place and calls == []
    other = cache.activations_of("lab-small", text.ids[:9], [Site("res", 1)])
    assert other.place != first.place


def test_the_benchmark_checks_its_answer_first():
    work = b08_extraction.model(32, 2)
    assert b08_extraction.gate(work, b08_extraction.text(512)) == 0
    ids = b08_extraction.text(1024)
    assert ids.shape == (4, 256) and (ids[:, 0] == 2).all()


def geowall(*arguments, **changes):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
    environment = kept | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", **changes}
    command = [sys.executable, "-m", "geowall", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_the_chapter_without_the_model_ends_in_three_lines_at_once(tmp_path):
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    done = geowall(
        *("run", "04", "--profile", "gemma", "--out", str(tmp_path)),
        HF_TOKEN=SECRET,
        HF_HUB_CACHE=str(tmp_path / "empty"),
    )
    assert done.returncode == 1
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 5  # seconds of its own
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 3 and lines[0] == "the model google/gemma-2-2b cannot be had"
    assert "hf_" not in done.stderr + done.stdout and "Traceback" not in done.stderr


def test_the_gemma_profile_runs_from_a_hand_made_hub(tmp_path):
    """A tiny random Gemma 2 under the real one's name, offline, in bfloat16, with the lab's tokenizer."""
    repo = tmp_path / "hub" / "models--google--gemma-2-2b"
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text(SHA)
    torch.manual_seed(0)
    size = dict(hidden_size=32, intermediate_size=32, num_hidden_layers=3, head_dim=8, vocab_size=4096)
    heads = dict(num_attention_heads=2, num_key_value_heads=1, query_pre_attn_scalar=8, sliding_window=8)
    tiny = Gemma2ForCausalLM(Gemma2Config(**size, **heads, bos_token_id=2, eos_token_id=1, pad_token_id=0))
    tiny.bfloat16().save_pretrained(repo / "snapshots" / SHA)
    for path in hub.fetch("lab-small").glob("tokenizer*"):
        shutil.copy(path, repo / "snapshots" / SHA)
    small = {"text": "stdlib", "n_sequences": 12, "context": 16, "race_sequences": 8, "n_rounds": 3}
    given = [part for name, value in small.items() for part in ("-p", f"{name}={value}")]
    folders = {"HF_HUB_CACHE": str(tmp_path / "hub"), "GEOWALL_ACTIVATIONS": str(tmp_path / "activations")}
    done = geowall("run", "04", "--profile", "gemma", *given, "--out", str(tmp_path / "runs"), **folders)
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "runs" / "04_activation_extraction").glob("gemma-*")
    tables = folder / "tables"
    assert pd.read_parquet(tables / "proof.parquet")["bit_equal"].all()
    assert set(pd.read_parquet(tables / "norms.parquet")["layer"]) == {0, 1, 2}
    record = json.loads((folder / "provenance.json").read_text())
    assert record["parameters"]["model"] == "google/gemma-2-2b" and SECRET not in json.dumps(record)
