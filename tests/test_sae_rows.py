"""Rows of an array as training data: scale, split, equality, and the way back to the array's units."""

from __future__ import annotations

import pytest
import torch

from geowall import sae
from geowall.manifolds import generator
from geowall.paths import GeowallError


@pytest.fixture(scope="module")
def rows() -> sae.Rows:
    """Eight dense directions, far from the origin."""
    codes = torch.rand(4000, 8, generator=generator(1)) * (torch.rand(4000, 8, generator=generator(2)) < 0.3)
    return sae.Rows(7.0 + 20.0 * codes @ torch.randn(8, 6, generator=generator(3)), "codes")


def test_training_rows_are_centred_scaled_and_never_the_held_out_ones(rows: sae.Rows) -> None:
    x = torch.arange(40.0).reshape(20, 2)
    small = sae.Rows(x, held_out=0.25)
    drawn = small.sample(500, seed=0) * small.scale + small.mean
    kept = small.unseen(99, seed=0) * small.scale + small.mean
    assert set(drawn[:, 0].round().tolist()) == set(x[:15, 0].tolist())
    assert sorted(kept[:, 0].round().tolist()) == x[15:, 0].tolist()
    seen = rows.sample(20_000, seed=3)
    assert seen.mean(0).abs().max() < 0.02
    assert float(seen.square().sum(1).mean()) == pytest.approx(1.0, abs=0.02)
    assert sae.Rows(x, centre=False).mean.abs().max() == 0.0


def test_equality_is_by_content_split_and_name() -> None:
    x = torch.randn(50, 3, generator=generator(0))
    assert sae.Rows(x) == sae.Rows(x.clone())
    assert repr(sae.Rows(x)) == repr(sae.Rows(x.clone()))
    others = [sae.Rows(x + 1e-6), sae.Rows(x, "b"), sae.Rows(x, held_out=0.5), sae.Rows(x, centre=False)]
    assert len({sae.Rows(x), *others}) == 5


def test_a_grid_trains_on_rows_and_its_autoencoders_read_raw_rows(rows: sae.Rows) -> None:
    rules = [sae.Rule("topk", k=3), sae.Rule("jumprelu", l0=0.01), sae.Rule("matching_pursuit", k=3)]
    trained = sae.train(sae.grid([rows], [12], rules, seeds=[0]), sae.Schedule(steps=200, batch=128))
    assert trained.table["manifold"].unique().tolist() == ["codes"]
    assert (trained.table["fvu"] < 0.5).all()
    x = rows.unseen(300, 0)
    raw = x * rows.scale + rows.mean
    for one in trained.saes:
        restored = rows.restore(one)
        assert torch.allclose(restored(raw), one(x) * rows.scale + rows.mean, atol=2e-3)
        assert torch.allclose(restored.encode(raw), one.encode(x) * rows.scale, atol=2e-3)


@pytest.mark.parametrize("array", [torch.zeros(10, 3), torch.full((10, 3), torch.nan), torch.ones(1, 3)])
def test_rows_that_cannot_train_are_refused(array: torch.Tensor) -> None:
    with pytest.raises(GeowallError, match="no rows to train on"):
        sae.Rows(array)
