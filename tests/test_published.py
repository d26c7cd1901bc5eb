"""The published numbers are the ones the README describes: rows, columns, ranges, hashes, identities."""

import hashlib
import re

import numpy as np
import pandas as pd
import pytest

from geowall.laws import published
from geowall.paths import ROOT, GeowallError

FOLDER = ROOT / published.FOLDER
README = (FOLDER / "README.md").read_text(encoding="utf-8")
FILES = re.findall(r"\| `(\w+\.csv)` \| (\d+) \|.*\| `([0-9a-f]{64})` \|", README)
POSITIVE = [
    "d_int",
    "kappa_ms",
    "kappa_tv",
    "nu",
    "alpha_k25",
    "alpha_k50",
    "alpha_k75",
    "nmse_c4",
    "nmse_wikitext",
]
RANGES = {
    "d_int": (5, 40),
    "kappa_ms": (0, 1),
    "kappa_tv": (0, 1),
    "nu": (0, 10),
    "alpha_k25": (0, 1),
    "alpha_k50": (0, 1),
    "alpha_k75": (0, 1),
    "beta_n": (-1, 0),
    "gamma": (-0.2, 0),
    "nmse_c4": (0, 1),
    "nmse_wikitext": (0, 1),
    "nmse_l0_50_width_lo": (0, 1),
    "nmse_l0_50_width_hi": (0, 1),
}


@pytest.fixture(scope="module")
def layers():
    return published.read(published.LAYERS)


def test_readme_names_every_file():
    assert {name for name, _, _ in FILES} == {path.name for path in FOLDER.glob("*.csv")}


@pytest.mark.parametrize(("name", "rows", "digest"), FILES)
def test_rows_and_hash_are_those_of_the_readme(name, rows, digest):
    content = (FOLDER / name).read_bytes()
    assert hashlib.sha256(content).hexdigest() == digest
    assert len(pd.read_csv(FOLDER / name)) == int(rows)


@pytest.mark.parametrize("name", [name for name, _, _ in FILES])
def test_every_column_is_in_the_readme(name):
    missing = [column for column in pd.read_csv(FOLDER / name) if f"`{column}`" not in README]
    assert not missing


def test_layers_are_complete_and_in_order(layers):
    for model, count in (("gemma-2-2b", 26), ("gemma-2-9b", 42)):
        assert layers.loc[layers["model"] == model, "layer"].tolist() == list(range(count))


def test_layer_columns_are_numbers_within_range(layers):
    for column, (low, high) in RANGES.items():
        values = layers[column].dropna()
        assert values.dtype == np.float64
        assert values.between(low, high, inclusive="neither").all(), column
    assert set(layers.columns) == {"model", "layer", *RANGES}


def test_only_the_two_explained_cells_are_empty(layers):
    rows, columns = np.nonzero(layers.isna().to_numpy())
    empty = {
        (layers["model"][i], int(layers["layer"][i]), layers.columns[j])
        for i, j in zip(rows, columns, strict=True)
    }
    assert empty == {("gemma-2-9b", layer, "nmse_l0_50_width_hi") for layer in (0, 1)}


@pytest.mark.parametrize("k", [25, 50, 75])
def test_exponents_and_coefficients_read_as_separate_marks_agree(layers, k):
    gap = layers[f"alpha_k{k}"] - published.alpha_at(layers, k)
    assert gap.abs().max() < 3e-6


def test_the_surface_exponent_is_the_chord_within_a_hundredth(layers):
    gap = (layers["alpha_k50"] - published.alpha_chord(layers)).abs()
    assert gap.isna().sum() == 2
    assert gap.max() < 0.01
    assert gap.median() < 0.001


def test_tables_have_a_value_in_every_printed_cell():
    tables = published.read(published.TABLES)
    assert tables.groupby("table").size().to_dict() == {1: 7, 2: 7, 3: 14, 4: 14, 5: 6}
    within = tables[tables["table"] < 5]
    assert within[["r2", "loo_r2", "l2o_r2", "l3o_r2", "aic", "bic"]].notna().all(axis=None)
    assert within["f_vs_h0"].isna().equals(within["features"] == "none")
    across = tables[tables["table"] == 5]
    assert across[["transfer_r2", "test_in_sample_r2"]].notna().all(axis=None)
    assert (across["train_model"] != across["test_model"]).all()


def test_text_numbers_carry_their_decimals():
    text = published.read(published.TEXT)
    counts = text.groupby("quantity").size().to_dict()
    assert counts == {"long_format_loo_r2": 2, "loo_r2": 12, "pearson_r": 10}
    assert np.allclose(text["value"], text["value"].round(2), atol=0)
    assert text["value"].abs().le(1).all()


def test_checkpoints_are_the_844_of_the_paper():
    checkpoints = published.read(published.CHECKPOINTS)
    assert checkpoints.groupby("model").size().to_dict() == {"gemma-2-2b": 312, "gemma-2-9b": 532}
    assert not checkpoints.duplicated().any()
    assert checkpoints.notna().all(axis=None)
    assert set(np.log2(checkpoints["width"])) == {14, 15, 16, 17, 18, 19, 20}
    assert checkpoints["nominal_l0"].between(1, 1000).all()
    named = checkpoints["path"].str.extract(r"layer_(\d+)/width_\w+/average_l0_(\d+)/params\.npz").astype(int)
    assert (named[0] == checkpoints["layer"]).all()
    assert (named[1] == checkpoints["nominal_l0"]).all()


def test_showcase_layers_are_the_six_of_the_paper():
    showcase = published.read(published.SHOWCASE)
    found = set(zip(showcase["model"], showcase["layer"], strict=True))
    assert found == {("gemma-2-2b", n) for n in (5, 12, 19)} | {("gemma-2-9b", n) for n in (9, 20, 31)}
    assert showcase["nmse"].between(0, 1, inclusive="neither").all()


def test_showcase_agrees_with_the_layers_at_the_backbone_widths(layers):
    showcase = published.read(published.SHOWCASE)
    narrow = showcase[(showcase["k"] == 50) & (showcase["width"] == 16384)]
    both = narrow.merge(layers, on=["model", "layer"])
    assert len(both) == 6
    assert np.allclose(both["nmse"], both["nmse_l0_50_width_lo"], atol=1e-5)


def test_per_layer_adds_source_exponent_and_mark(layers):
    table = published.per_layer(layers, k=32)
    assert (table["source"] == "published").all()
    assert np.allclose(table["alpha_k32"], published.alpha_at(table, 32))
    marked = table[table["alpha_extrapolated"]]
    assert list(zip(marked["model"], marked["layer"], strict=True)) == [("gemma-2-9b", 0), ("gemma-2-9b", 1)]
    assert "source" not in layers, "the table given is left as it was"


def test_a_missing_file_speaks_in_three_lines():
    with pytest.raises(GeowallError) as caught:
        published.read("data/published/nothing.csv")
    assert len(str(caught.value).splitlines()) == 3
