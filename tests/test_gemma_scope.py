"""Checkpoints in Gemma Scope's layout: written, read, refused, listed, found on a hand-made hub."""

from __future__ import annotations

import doctest
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from huggingface_hub import constants

from geowall.paths import GeowallError
from geowall.sae import gemma_scope, inventory
from geowall.sae.model import Sae

ABOUT = {"model": "toy", "site": "res", "seed": 0, "schedule": "matched"}


def dictionary(d: int = 5, n: int = 12, seed: int = 0, architecture: str = "jumprelu", k: int = 1) -> Sae:
    random = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*shape, generator=random)  # noqa: E731
    return Sae(architecture, k, draw(d, n), draw(n), draw(n, d), draw(d), draw(n).abs())


def equal(a: Sae, b: Sae) -> bool:
    return (a.architecture, a.k) == (b.architecture, b.k) and all(
        torch.equal(getattr(a, name), getattr(b, name)) for name in gemma_scope.KEYS
    )


@pytest.mark.parametrize("module", [gemma_scope, inventory])
def test_the_worked_examples(module):
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize("architecture, k", [("jumprelu", 1), ("topk", 3)])
def test_what_is_written_is_read(tmp_path, architecture, k):
    sae = dictionary(architecture=architecture, k=k)
    path = gemma_scope.write(tmp_path, sae, 7, 3.4, ABOUT)
    assert path == tmp_path / "layer_7" / "width_12" / "average_l0_3" / "params.npz"
    assert equal(gemma_scope.read(path), sae)
    with np.load(path, allow_pickle=False) as arrays:
        assert set(arrays.files) == set(gemma_scope.KEYS)
        assert all(array.dtype == np.float32 for array in arrays.values())
    (path.parent / "about.json").unlink()
    assert gemma_scope.read(path).architecture == "jumprelu"
    assert not list(tmp_path.rglob(".*"))


def test_a_name_that_is_taken_is_left_and_the_same_checkpoint_written_again(tmp_path):
    first = gemma_scope.write(tmp_path, dictionary(seed=1), 0, 3.0, ABOUT)
    second = gemma_scope.write(tmp_path, dictionary(seed=2), 0, 3.2, ABOUT | {"seed": 1})
    again = gemma_scope.write(tmp_path, dictionary(seed=3), 0, 3.0, ABOUT)
    assert [path.parent.name for path in (first, second, again)] == [
        "average_l0_3",
        "average_l0_4",
        "average_l0_3",
    ]
    assert equal(gemma_scope.read(first), dictionary(seed=3))
    assert gemma_scope.done(tmp_path, ABOUT | {"seed": 1}, 0, 12) == second
    assert gemma_scope.done(tmp_path, ABOUT | {"seed": 2}, 0, 12) is None
    with pytest.raises(GeowallError, match="lacks site, seed"):
        gemma_scope.write(tmp_path, dictionary(), 0, 3.0, {"model": "toy", "schedule": "matched"})


def test_names_of_widths_are_those_of_gemma_scope():
    for d_sae, name in ((512, "512"), (1024, "1k"), (16_384, "16k"), (65_536, "65k"), (2**20, "1m")):
        assert gemma_scope.width_name(d_sae) == name and gemma_scope.width_of(name) == d_sae
    listed = pd.read_csv(inventory.LIST)
    assert (listed["path"].str.extract(r"width_(\w+)/")[0].map(gemma_scope.width_of) == listed["width"]).all()
    with pytest.raises(GeowallError, match="power of two"):
        gemma_scope.width_of("60k")


def spoil(path: Path, **changes: np.ndarray | None) -> None:
    with np.load(path) as arrays:
        held = {**arrays, **changes}
    np.savez(path, **{name: array for name, array in held.items() if array is not None})


@pytest.mark.parametrize(
    "changes, why",
    [
        ({"threshold": None}, "no array"),
        ({"b_enc": np.zeros(11, np.float32)}, "b_enc has shape"),
        ({"W_dec": np.full((12, 5), np.nan, np.float32)}, "W_dec holds a value that is not finite"),
        ({"b_dec": np.zeros(5, np.int64)}, "not of floating point"),
        ({"W_enc": np.zeros(5, np.float32)}, "W_enc has shape"),
        ({"W_enc": np.array([{}], dtype=object)}, "ValueError"),
    ],
)
def test_a_spoilt_file_is_named_with_the_reason(tmp_path, changes, why):
    path = gemma_scope.write(tmp_path, dictionary(), 0, 3.0, ABOUT)
    spoil(path, **changes)
    with pytest.raises(GeowallError, match=why) as error:
        gemma_scope.read(path)
    assert str(path) in str(error.value) and len(str(error.value).splitlines()) == 3


@pytest.mark.parametrize("content", [b"", b"no archive", None])
def test_a_torn_file_is_named(tmp_path, content):
    path = gemma_scope.write(tmp_path, dictionary(), 0, 3.0, ABOUT)
    path.write_bytes(path.read_bytes()[:700] if content is None else content)
    with pytest.raises(GeowallError, match=r"params\.npz was not read"):
        gemma_scope.read(path)


def test_a_folder_is_listed_in_order_and_an_empty_one_refused(tmp_path):
    for layer, n, l0 in ((2, 12, 5), (0, 12, 3), (0, 8, 9), (0, 12, 1)):
        gemma_scope.write(tmp_path / "release", dictionary(n=n), layer, l0, ABOUT | {"penalty": 0.1 * l0})
    (tmp_path / "release" / "params.npz").write_bytes(b"elsewhere")
    found = gemma_scope.local(tmp_path)
    assert [(c.layer, c.d_sae, c.nominal_l0) for c in found] == [
        (0, 8, 9),
        (0, 12, 1),
        (0, 12, 3),
        (2, 12, 5),
    ]
    assert found[1].about["penalty"] == 0.1 and found[0].model == "toy"
    assert [c.layer for c in inventory.checkpoints(str(tmp_path), layers=[2])] == [2]
    for wrong, why in ((tmp_path / "none", "no such folder"), (tmp_path / "release" / "layer_9", "no such")):
        with pytest.raises(GeowallError, match=why):
            gemma_scope.local(wrong)
    with pytest.raises(GeowallError, match="none is of layers"):
        inventory.checkpoints(str(tmp_path), layers=[1])


def test_the_inventory_is_the_published_one():
    every = inventory.gemma_scope()
    assert len(every) == 844 and len({c.key for c in every}) == 844
    assert [len(inventory.gemma_scope(f"google/{m}")) for m in inventory.D_MODEL] == [312, 532]
    assert {c.d_sae for c in inventory.gemma_scope("gemma-2-2b", layers=[5])} == {2**14, 2**16, 2**20}
    sizes = inventory.download_bytes(inventory.gemma_scope("gemma-2-2b")) / 1e12
    assert sizes == pytest.approx(0.66, abs=0.01)
    missing = inventory.compare([c for c in every if c.model == "gemma-2-2b"][1:], "gemma-2-2b")
    assert missing[["listed", "found"]].to_numpy().tolist() == [[True, False]]


@pytest.mark.parametrize(
    "wrong, near",
    [
        ("layer_12/width_65k/average_l0_37", "layer_12/width_65k/average_l0_38"),
        ("layer_12/width_64k/average_l0_38", "layer_12/width_65k/average_l0_38"),
        ("layer_9/width_17k/average_l0_37", "layer_9/width_16k/average_l0_37"),
    ],
)
def test_wrong_names_are_answered_with_the_nearest(wrong, near):
    with pytest.raises(GeowallError) as error:
        inventory.find("gemma-2-2b", wrong)
    assert near in error.value.fix
    assert inventory.find("gemma-2-2b", "layer_12/width_65k/average_l0_38/params.npz").d_sae == 65_536


def test_wrong_models_layers_and_widths_are_answered_with_what_there_is():
    for given, text in (
        ({"model": "gemma-2-2B"}, "use gemma-2-2b"),
        ({"model": "gemma-2-2b", "layers": [40]}, "26 layers"),
        ({"model": "gemma-2-2b", "layers": [5], "widths": [7]}, "16384, 65536, 1048576"),
    ):
        with pytest.raises(GeowallError) as error:
            inventory.gemma_scope(**given)
        assert text in str(error.value)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A cache of the hub with one checkpoint in it, and no network."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    place = tmp_path / "models--google--gemma-scope-2b-pt-res"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text("a" * 40)
    checkpoint = inventory.gemma_scope("gemma-2-2b", [0], [2**14])[0]
    path = place / "snapshots" / ("a" * 40) / checkpoint.name
    path.parent.mkdir(parents=True)
    np.savez(path, **{name: getattr(dictionary(), name).numpy() for name in gemma_scope.KEYS})
    return checkpoint, path


def test_the_hub_is_read_from_its_cache_and_what_it_lacks_is_said(hub):
    checkpoint, path = hub
    assert inventory.fetch(checkpoint) == path
    assert equal(gemma_scope.read(inventory.fetch(checkpoint)), dictionary())
    with pytest.raises(GeowallError, match="was not fetched") as error:
        inventory.fetch(replace(checkpoint, name="layer_0/width_16k/average_l0_46/params.npz"))
    assert len(str(error.value).splitlines()) == 3 and "hf_" not in str(error.value)
    inventory.forget(checkpoint)
    assert not path.exists()
    inventory.forget(replace(checkpoint, path=__file__))
    assert Path(__file__).exists()


def test_duplicates_are_found_by_their_weights(tmp_path):
    rows = []
    for l0, seed in ((3, 0), (4, 0), (9, 1)):
        path = gemma_scope.write(tmp_path, dictionary(seed=seed), 0, l0, ABOUT | {"label": l0})
        row = {"model": "toy", "layer": 0, "d_sae": 12, "nominal_l0": l0, "name": f"l0_{l0}"}
        rows.append(row | {"weights": gemma_scope.open_checked(path)[1]})
    found = inventory.duplicates(pd.DataFrame(rows))
    assert found.to_numpy().tolist() == [["l0_4", "l0_3"]]


def test_about_is_json_beside_the_arrays(tmp_path):
    path = gemma_scope.write(tmp_path, dictionary(), 0, 3.0, ABOUT | {"train_tokens": 1000})
    about = json.loads(path.with_name("about.json").read_text())
    assert about["train_tokens"] == 1000 and (about["d_model"], about["d_sae"]) == (5, 12)
