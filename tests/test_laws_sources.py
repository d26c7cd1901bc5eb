"""Measured layers of Gemma 2 beside the lab's and the published ones: one path for three sources."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from geowall.laws import layers
from geowall.laws.scaling import exponents, sources, sparsity
from geowall.paths import ROOT, GeowallError
from geowall.wall import chapter

LAB = "data/lab/checkpoints.parquet"
LAYERS = 12


@pytest.fixture(scope="module")
def gemma() -> pd.DataFrame:
    """A table `checkpoints` of chapter 05, as it is for Gemma Scope: no schedule, no training, wide."""
    rows, columns = [], list(pd.read_parquet(ROOT / LAB).columns)
    for layer in range(LAYERS):
        for n in (16384, 65536, 2**20) if layer == 5 else (16384, 65536):
            for l0 in (12.0, 30.0, 60.0, 120.0):
                error = 0.4 * (n / 16384) ** -(0.1 + 0.02 * layer) * l0**-0.3
                name = f"layer_{layer}/width_{n}/average_l0_{l0:.0f}/params.npz"
                rows.append({
                    "model": "gemma-2-2b", "layer": layer, "site": "res", "architecture": "jumprelu",
                    "schedule": "", "d_sae": n, "nominal_l0": int(l0), "seed": 0, "status": "measured",
                    "train_tokens": np.nan, "penalty": np.nan, "name": name, "l0": l0, "nmse": error,
                    "fvu": 1.1 * error, "cosine": 1 - error / 2, "tokens": 5000, "nmse_low": 0.99 * error,
                    "nmse_high": 1.01 * error, "nmse_median": error, "nmse_trim_2": error, "dead": 0,
                    "nmse_mean": error, "nmse_max": 2.0, "l0_mean": l0, "weights": name, "same_as": "",
                })  # fmt: skip
    return pd.DataFrame(rows)[columns]


def shapes(model: str) -> pd.DataFrame:
    one = {"source": "lab", "model": model, "site": "res", "surrogate": "gaussian_same_dim"}
    rows = [
        one | {"layer": layer, "estimator": name, "value": 0.1 * (layer + 1), "surrogate_value": 0.1}
        for layer in range(LAYERS) for name in ("d_int", "kappa_ms", "kappa_tv", "nu")
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_measured_gemma_is_read_at_the_papers_sparsities_between_the_papers_widths(gemma):
    both = sources.gathered({"lab": pd.read_parquet(ROOT / LAB), "mine": gemma})
    table = sparsity.usable(both)
    assert set(table["source"]) == {"lab", "gemma"}
    mine = table[table["source"] == "gemma"]
    assert set(mine["model"]) == {"gemma-2-2b here"}
    cells = sparsity.cells(mine, [8, 16])
    assert set(cells["k"]) == set(sources.KS)
    found = exponents.exponents(mine, [8, 16], [128, 512], n_bootstrap=2)
    chord = found[(found["form"] == "secant") & (found["k"] == 50)].set_index("layer")["alpha_width"]
    np.testing.assert_allclose(chord, 0.1 + 0.02 * chord.index.to_numpy(), rtol=1e-9)


def test_one_model_in_two_tables_and_no_lab_are_refused(gemma):
    with pytest.raises(GeowallError, match="two tables of one model"):
        sources.gathered({"a": gemma, "b": gemma.assign(model="google/gemma-2-2b")})
    with pytest.raises(GeowallError, match="no grid of the lab"):
        sources.gathered({"a": gemma})


def test_geometry_finds_its_layers_by_either_name(gemma):
    geometry = shapes("google/gemma-2-2b")
    laws = exponents.exponents(sparsity.usable(gemma), [50], [128, 512], n_bootstrap=5)
    table = layers.measured(geometry, laws, gemma, k=50)
    assert len(table) == LAYERS and set(table["source"]) == {"gemma"}
    assert table["nmse_narrow"].notna().all()
    cells = chapter.gemma_cells(gemma, geometry)
    assert len(cells) == LAYERS and all(cell.geometry["d_int"] > 0 for cell in cells)
    assert max(len(cell.widths) for cell in cells) == 3


def test_chapter_07_runs_on_a_table_of_gemma(gemma, tmp_path: Path):
    mine = tmp_path / "gemma.parquet"
    gemma.to_parquet(mine, index=False)
    given = {"checkpoints": f'["{LAB}", "{mine}"]', "n_bootstrap": 20, "n_curves": 50}
    pairs = [part for name, value in given.items() for part in ("-p", f"{name}={value}")]
    command = [sys.executable, "-m", "geowall", "run", "07", "--out", str(tmp_path / "runs"), *pairs]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (found,) = tmp_path.glob("runs/07_*/quick-*/tables/layer_laws.parquet")
    laws = pd.read_parquet(found)
    assert set(laws["source"]) == {"published", "lab", "gemma"}
    own = laws[laws["source"] == "gemma"]
    assert own[own["form"] == "with_floor"]["layer"].unique().tolist() == [5]
