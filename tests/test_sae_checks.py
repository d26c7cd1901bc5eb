"""Equal sparsity, informed starts: read off known tables, and made at a tiny size."""

from __future__ import annotations

import doctest

import numpy as np
import pandas as pd
import pytest

from geowall.kernels.sae_step import Rule, views
from geowall.manifolds import Sphere
from geowall.sae import matched, restarts
from geowall.sae.model import from_flat
from geowall.sae.start import narrow

FAST = {"steps": 200, "batch": 128, "lr": 1e-2}
NAMES = {"manifold": "shell", "d": 3, "thickness": 0.5, "n_latents": 8}


@pytest.mark.parametrize("module", [matched, restarts])
def test_the_worked_examples(module):
    assert doctest.testmod(module).failed == 0


def sweep(architecture, kind, power, seeds=3):
    l0 = np.array([1.0, 2.0, 4.0])
    parts = [
        pd.DataFrame({"l0": l0, "mse": (1 + 0.1 * s) * l0**-power, "seed": s, "penalty": f"{kind}=1"})
        for s in range(seeds)
    ]
    return pd.concat(parts).assign(architecture=architecture, **NAMES)


def test_errors_are_read_at_one_sparsity_with_the_range_of_seeds():
    both = pd.concat([sweep("relu", "l1", 1.0), sweep("jumprelu", "l1", 0.5), sweep("jumprelu", "l0", 2.0)])
    table = matched.matched(both, [3.0, 5.0]).set_index(["architecture", "kind"])
    assert len(table) == 3 and (table["l0"] == 3.0).all() and (table["n_seeds"] == 3).all()
    assert table.loc[("relu", "l1"), ["mse", "low", "high"]].tolist() == pytest.approx([1.1 / 3, 1 / 3, 0.4])
    assert table.loc[("jumprelu", "l0"), "mse"] == pytest.approx(1.1 / 9)


def test_a_silent_autoencoder_is_passed_over():
    dead = sweep("relu", "l1", 1.0, seeds=1).assign(l0=0.0)
    assert matched.matched(dead, [1.0]).empty


def test_a_sweep_of_penalties_has_a_row_an_autoencoder():
    table = matched.penalty_sweep(["topk k=1", "topk k=2", "spade l1=0.1"], 3, [0.0, 0.5], 8, [0, 1], **FAST)
    assert list(table.columns) == matched.COLUMNS and len(table) == 12
    top = table[table["architecture"] == "topk"]
    assert top["l0"].tolist() == pytest.approx([1, 1, 2, 2] * 2)
    equal = matched.matched(table, [1.0, 2.0])
    assert set(equal.loc[equal["architecture"] == "topk", "l0"]) == {1.0, 2.0}


def test_restarts_pair_random_with_informed_and_say_what_they_gain():
    given = {
        "rules": ["relu l1=0.1", "jumprelu l0=0.1"],
        "ds": [3],
        "thicknesses": [0.0, 0.5],
        "seeds": [0, 1],
    }
    table = restarts.restarts(given, [8, 16], **FAST)
    assert list(table.columns) == restarts.COLUMNS and len(table) == 2 * 16
    assert table.groupby("start").size().to_dict() == {"informed": 16, "random": 16}
    gains = restarts.gains(table)
    assert len(gains) == 8 and (gains["gain"] == 1 - gains["informed"] / gains["random"]).all()
    assert gains.loc[gains["architecture"] == "relu", "gain"].abs().max() < 0.3


def test_narrow_caps_are_shared_by_few():
    n, d, rule = 128, 3, Rule("jumprelu", l0=0.1)
    flat = narrow(n, d, rule, seed=0)
    codes = from_flat(flat, "jumprelu", 1, n).encode(Sphere(d).sample(4000, 1))
    assert float((codes > 0).float().sum(1).mean()) == pytest.approx(1.5, abs=0.3)
    assert 0.5 < float(codes.sum(1).mean()) < 1.5
    assert float(views(flat, n, d).log_threshold.std()) == 0.0
