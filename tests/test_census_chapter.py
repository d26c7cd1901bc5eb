"""Chapter 05 from end to end on Gemma 2 and Gemma Scope: the real names and widths, from a hand-made hub."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import Gemma2Config, Gemma2ForCausalLM

from geowall.census import chapter, forecast
from geowall.paths import ROOT, GeowallError
from geowall.sae import inventory

D = 8
SHA = "a" * 40


@pytest.fixture(scope="module")
def hub(tmp_path_factory) -> Path:
    """A cache of the hub: Gemma 2 2B with two small layers, and four of the checkpoints of each."""
    root = tmp_path_factory.mktemp("hub")
    model = snapshot(root, "google/gemma-2-2b")
    special = {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2, "vocab_size": 4096}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 4, "query_pre_attn_scalar": 4}
    config = Gemma2Config(hidden_size=D, intermediate_size=8, num_hidden_layers=2, **heads, **special)
    torch.manual_seed(0)
    random = Gemma2ForCausalLM(config).eval()
    random.save_pretrained(model)
    ids = torch.randint(3, 4096, (4, 64), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        scale = float(random(ids, output_hidden_states=True).hidden_states[1].std())
    for file in (ROOT / "data" / "lab" / "lab-small").glob("tokenizer*"):
        shutil.copy(file, model)
    scope = snapshot(root, "google/gemma-scope-2b-pt-res")
    for layer in (0, 1):
        for width in (2**14, 2**16)[: 1 + layer]:
            listed = inventory.gemma_scope("gemma-2-2b", [layer], [width])
            for active, checkpoint in zip((4.0, 12.0), listed[1:3], strict=True):
                path = scope / checkpoint.name
                path.parent.mkdir(parents=True)
                np.savez(path, **arrays(width, active, scale * (1 + layer), seed=layer))
    return root


def snapshot(root: Path, repo: str) -> Path:
    place = root / f"models--{repo.replace('/', '--')}"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text(SHA)
    made = place / "snapshots" / SHA
    made.mkdir(parents=True)
    return made


def arrays(width: int, active: float, scale: float, seed: int) -> dict[str, np.ndarray]:
    """A dictionary of which the first few hundred latents live, the more the wider."""
    random = np.random.default_rng(seed)
    atoms = random.standard_normal((width, D)).astype(np.float32)
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    live = 200 if width == 2**14 else 400
    edge = np.quantile(random.standard_normal(10_000), 1 - active / live)
    threshold = np.where(np.arange(width) < live, 0.2 * scale * edge, 1e9).astype(np.float32)
    zero = np.zeros(width, np.float32)
    return {
        "W_enc": 0.2 * atoms.T.copy(),
        "W_dec": atoms,
        "b_enc": zero,
        "b_dec": zero[:D],
        "threshold": threshold,
    }


@pytest.fixture(scope="module")
def text(tmp_path_factory) -> Path:
    """A folder of small modules, enough of them that every part of the corpus has some."""
    folder = tmp_path_factory.mktemp("text")
    body = (
        "def area(width, height):\n    if width < 0:\n        raise ValueError((width, [height, 1]))  # no\n"
    )
    for i in range(90):
        (folder / f"module_{i}.py").write_text(body.replace("area", f"area_{i}") * 12 + "    return 'x'\n")
    return folder


@pytest.mark.slow
def test_the_gemma_profile_runs_from_a_hand_made_hub(hub, text, tmp_path):
    own = {"HF_HUB_CACHE": str(hub), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    own |= {"GEOWALL_ACTIVATIONS": str(tmp_path / "activations"), "GEOWALL_CENSUS": str(tmp_path / "census")}
    given = {"corpus": text, "widths": [2**14], "layer": 1, "ladder": [2**14, 2**16], "n_tokens": 500}
    given |= {"n_latents": [12, 16, 24]}
    pairs = [part for name, value in given.items() for part in ("-p", f"{name}={value}")]
    command = [
        sys.executable,
        "-m",
        "geowall",
        "run",
        "05",
        "--profile",
        "gemma",
        "--out",
        str(tmp_path / "runs"),
    ]
    done = subprocess.run(
        [*command, *pairs], env=os.environ | own, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (tables,) = (tmp_path / "runs").glob("05_checkpoint_census/gemma-*/tables")
    checkpoints = pd.read_parquet(tables / "checkpoints.parquet")
    ladder = pd.read_parquet(tables / "ladder.parquet")
    assert set(checkpoints["layer"]) == {0, 1} and set(ladder["d_sae"]) == {2**14, 2**16}
    sound = checkpoints[checkpoints["status"] == "measured"]
    assert len(sound) == 4 and len(checkpoints) == len(inventory.gemma_scope("gemma-2-2b", [0, 1], [2**14]))
    assert (ladder["status"] == "measured").sum() == 4
    assert checkpoints.loc[checkpoints["nmse"].isna(), "status"].str.contains("does not have it").all()
    assert sound["nmse"].between(0, 1.5).all() and sound["dead"].min() > 10_000
    record = json.loads((tables.parent / "provenance.json").read_text())
    assert record["parameters"]["source"] == "hub" and record["profile"] == "gemma"
    losses = pd.read_parquet(tables / "manifold_loss.parquet")
    assert set(losses["manifold"]) == set(chapter.COORDINATES)


def test_what_it_will_cost_is_known_without_a_network():
    given = {"model": "google/gemma-2-2b", "source": "hub+keep", "widths": [2**14, 2**16], "layer": 12}
    given |= {"ladder": [2**20], "n_tokens": 1000}
    row = forecast.forecast(given, rate=1e12)
    weights = 4 * 2614.3  # MB of the language model
    assert row["download_mb"] == pytest.approx(0.2e6 + 6 * 19_330 + weights, rel=0.02)
    assert row["seconds"] > forecast.REST + 2 * 2e9 * 1000 / 1e12 and "276 checkpoints" in row["basis"]
    streamed = forecast.forecast(given | {"source": "hub"}, rate=1e12)
    assert row["disk_mb"] - streamed["disk_mb"] == pytest.approx(0.2e6, rel=0.02)
    assert streamed["download_mb"] == row["download_mb"]
    with pytest.raises(GeowallError, match="nothing to forecast"):
        forecast.forecast(given | {"widths": [7], "ladder": [7]}, rate=1e12)
