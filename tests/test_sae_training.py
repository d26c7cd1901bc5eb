"""Sweeps: what they learn, resume to the bit, divergence, threads, devices' paths."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass

import pandas as pd
import pytest
import torch

from geowall import sae
from geowall.manifolds import Shell, Sphere
from geowall.paths import GeowallError
from geowall.sae import Rule, Schedule, grid, train

SHORT = Schedule(steps=60, batch=64, every=20)


def same(a, b):
    for one, other in zip(a.saes, b.saes, strict=True):
        assert torch.equal(one.W_enc, other.W_enc) and torch.equal(one.W_dec, other.W_dec)
        assert torch.equal(one.threshold, other.threshold)
    pd.testing.assert_frame_equal(a.rows, b.rows)
    pd.testing.assert_frame_equal(a.table, b.table)


@pytest.mark.parametrize("rule", [Rule("relu", l1=0.1), Rule("topk", k=2)], ids=lambda r: r.architecture)
def test_spheres_are_tiled_and_half_spaces_cannot_tile_a_shell(rule):
    members = grid([Sphere(6), Shell(6, 0.5)], [64, 256], [rule], [0])
    loss = train(members, Schedule(steps=600, batch=512)).table["loss"].tolist()
    sphere, shell = loss[0] / loss[1], loss[2] / loss[3]
    assert sphere > 1.1
    assert (shell < 1.03) if rule.architecture == "relu" else (shell > 1.4)


def test_a_signed_basis_reaches_its_analytic_level():
    members = grid([Sphere(6)], [12], [Rule("relu", l1=0.1)], [0, 1])
    trained = train(members, Schedule(steps=800, batch=512, lr=1e-2))
    assert trained.table["loss"].min() == pytest.approx(sae.signed_basis_loss(6, 0.1), rel=0.01)
    exact = sae.envelope(Sphere(6).sample(2000, 5), trained.saes[0].W_dec, 0.1)["loss"]
    assert exact <= trained.table["loss"][0] * 1.01


def test_rows_say_how_training_went(tmp_path):
    rules = [Rule("relu", l1=0.1), Rule("matching_pursuit", k=2), Rule("relu", l1=0.1, aux=0.03)]
    trained = train(grid([Sphere(4)], [16], rules, [0]), SHORT, tmp_path)
    assert trained.rows["step"].tolist() == [20] * 3 + [40] * 3 + [60] * 3
    assert (trained.rows["status"] == "training").all()
    assert trained.table["steps"].tolist() == [60] * 3
    streamed = pd.read_csv(tmp_path / "rows.csv")
    assert streamed.shape == trained.rows.shape
    first, last = trained.rows["mse"][:3], trained.rows["mse"][-3:]
    assert (last.to_numpy() < first.to_numpy()).all()


RULES = [
    Rule("relu", l1=0.1),
    Rule("batchtopk", k=2),
    Rule("jumprelu", l0=0.05),
    Rule("matching_pursuit", k=2),
]


class KilledError(Exception):
    """Stands for whatever ends a process between two blocks of steps."""


@pytest.mark.parametrize("blocks", [1, 4])
def test_a_killed_sweep_ends_with_the_bits_it_would_have_had(tmp_path, monkeypatch, blocks):
    monkeypatch.setattr("geowall.sae.checkpoint.SECONDS", -1.0)
    members = grid([Sphere(3), Shell(3, 0.3)], [5], RULES, [0, 1])
    schedule = Schedule(steps=60, batch=64, every=20, revive=True, dead_after=20)
    whole = train(members, schedule)
    seen = []

    def kill(progress):
        seen.append(progress)
        if len(seen) > blocks:
            raise KilledError

    with pytest.raises(KilledError):
        train(members, schedule, tmp_path, on_progress=kill)
    assert 0 < seen[-1].done < 1 and seen[-1].left > 0
    same(whole, train(members, schedule, tmp_path))
    same(whole, train(members, schedule, tmp_path))


def test_a_process_that_vanishes_is_resumed(tmp_path):
    code = f"""
import os, pathlib
from geowall import sae
from geowall.manifolds import Sphere
from geowall.sae import checkpoint
checkpoint.SECONDS = -1.0
members = sae.grid([Sphere(3)], [5, 8], [sae.Rule("relu", l1=0.1)], [0])
die = lambda progress: os._exit(9) if progress.done > 0.5 else None
folder, schedule = pathlib.Path({str(tmp_path)!r}), sae.Schedule(steps=60, batch=64, every=20)
sae.train(members, schedule, folder, on_progress=die)
"""
    assert subprocess.run([sys.executable, "-c", code], env=os.environ, check=False).returncode == 9
    members = grid([Sphere(3)], [5, 8], [Rule("relu", l1=0.1)], [0])
    assert (tmp_path / "group-000.pt").exists()
    same(train(members, SHORT), train(members, SHORT, tmp_path))


def test_another_sweeps_checkpoints_are_refused(tmp_path):
    train(grid([Sphere(3)], [4], [Rule()], [0]), SHORT, tmp_path)
    with pytest.raises(GeowallError, match="not resumed"):
        train(grid([Sphere(3)], [4], [Rule()], [1]), SHORT, tmp_path)


def test_threads_change_nothing():
    members = grid([Sphere(3)], [4, 9, 33], [Rule("relu", l1=0.1), Rule("topk", k=2)], [0, 1])
    same(train(members, SHORT), train(members, SHORT, threads=3))


@dataclass(frozen=True)
class Broken(Sphere):
    """A sphere with one token that is not a number, in one of its blocks."""

    bad: int = 0

    def sample(self, n, seed, device="cpu"):
        points = super().sample(n, seed, device)
        if seed == self.bad:
            points[n // 2] = torch.nan
        return points


@pytest.mark.parametrize(
    "rule", [Rule("relu", l1=0.1), Rule("matching_pursuit", k=2)], ids=lambda r: r.architecture
)
def test_divergence_stops_a_member_and_not_the_sweep(rule):
    from geowall.sae.schedule import derive

    broken = Broken(3, bad=derive(1, "tokens", 20))
    trained = train(grid([broken], [6], [rule], [0, 1, 2]), SHORT)
    assert trained.table["status"].tolist() == ["trained", "diverged", "trained"]
    assert trained.table["steps"].tolist() == [60, 30, 60]
    rows = trained.rows[trained.rows["seed"] == 1]
    assert rows["status"].tolist() == ["training", "diverged"]
    assert rows["mse"].isna().tolist() == [False, True]
    assert bool(trained.saes[1].W_dec.isfinite().all())
    assert trained.table["mse"].notna().all()


def test_every_path_trains_to_the_same_place():
    members = grid(
        [Sphere(4)], [12], [Rule("relu", l1=0.1), Rule("jumprelu", l0=0.05), Rule("topk", k=2)], [0, 1]
    )
    fast = train(members, SHORT)
    for path in ("small", "dense", "slow"):
        other = train(members, SHORT, path=path)
        assert other.table["loss"].tolist() == pytest.approx(fast.table["loss"].tolist(), rel=2e-2)
    low = train(members, SHORT, dtype=torch.bfloat16)
    assert low.table["loss"].tolist() == pytest.approx(fast.table["loss"].tolist(), rel=5e-2)


def test_a_member_may_start_where_another_ended():
    members = grid([Sphere(4)], [8], [Rule("relu", l1=0.1)], [0])
    half = train(members, Schedule(steps=400, batch=256, lr=1e-2))
    wide = grid([Sphere(4)], [16], [Rule("relu", l1=0.1)], [0])
    from geowall.sae.start import split

    warm = train(wide, Schedule(steps=100, batch=256), starts={0: split(half.saes[0], seed=1)})
    assert warm.table["loss"][0] < half.table["loss"][0] * 1.01
