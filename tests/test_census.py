"""The census: durable rows, spoilt files, kills, a real scheduler with two workers; what is read off it."""

from __future__ import annotations

import doctest
import importlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from geowall.census import alone, cluster, curves, discovery, manifolds, ranks, rows
from geowall.census.ledger import Ledger
from geowall.census.sample import Sample
from geowall.census.work import Settings
from geowall.kernels.evaluate import Errors, Tokens
from geowall.language.sites import Site
from geowall.language.writer import Writer
from geowall.paths import GeowallError
from geowall.sae import gemma_scope, inventory
from geowall.sae.model import Sae

MODULES = [
    "alone",
    "cluster",
    "curves",
    "discovery",
    "ledger",
    "manifolds",
    "ranks",
    "rows",
    "sample",
    "work",
]
TOKENS, D = 3000, 24


@pytest.mark.parametrize("name", MODULES)
def test_the_worked_examples(name):
    assert doctest.testmod(importlib.import_module(f"geowall.census.{name}")).failed == 0


def dictionary(n: int, seed: int, d: int = D) -> Sae:
    random = torch.Generator().manual_seed(seed)
    atoms = torch.nn.functional.normalize(torch.randn(n, d, generator=random), dim=1)
    zero = torch.zeros(n)
    return Sae("jumprelu", 1, atoms.T.contiguous(), zero, atoms, torch.zeros(d), zero + 1.5)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """Activations of two layers, their labels, and a grid of checkpoints."""
    root, random = tmp_path_factory.mktemp("census"), np.random.default_rng(0)
    sites = [Site("res", layer) for layer in (0, 1)]
    about = {"widths": {str(site): D for site in sites}, "rows": TOKENS, "dtype": "float32"}
    with Writer(root / "store", about, {"document": np.arange(TOKENS) // 100}, shard_rows=1024) as writer:
        writer.add(0, {site: random.standard_normal((TOKENS, D)).astype(np.float32) for site in sites})
    labels = pd.DataFrame({"token_class": np.where(np.arange(TOKENS) % 3, "name", "number")})
    labels.assign(column=np.arange(TOKENS) % 40 * 1.0).to_parquet(root / "labels.parquet")
    write_grid(root / "saes", (32, 64), (3, 5, 9))
    return root


def write_grid(folder: Path, widths, sparsities) -> None:
    for layer in (0, 1):
        for n in widths:
            for l0 in sparsities:
                about = {"model": "toy", "site": "res", "seed": 0, "schedule": "matched", "penalty": 1.0 / l0}
                gemma_scope.write(folder, dictionary(n, seed=100 * layer + l0), layer, l0, about)


def sample(place: Path) -> Sample:
    return Sample(str(place / "store"), labels=str(place / "labels.parquet"))


def lines(folder: Path) -> Counter:
    return Counter(line.split()[0] for line in (folder / "journal.txt").read_text().splitlines())


def alike(a: pd.DataFrame, b: pd.DataFrame) -> bool:
    return a.drop(columns="seconds").equals(b.drop(columns="seconds"))


def test_a_census_measures_what_the_metrics_say(place, tmp_path):
    chosen = inventory.checkpoints(str(place / "saes"))
    tables = cluster.measure(chosen, sample(place), tmp_path)
    table = tables["checkpoints"]
    assert len(table) == 12 and (table["status"] == "measured").all()
    row, checkpoint = table.iloc[3], chosen[3]
    assert (row["name"], row["penalty"], row["d_sae"]) == (checkpoint.name, checkpoint.about["penalty"], 64)
    tokens, sae = sample(place).tokens(0, "res"), gemma_scope.read(Path(checkpoint.path))
    each = (tokens.x - sae(tokens.x)).square().sum(1) / tokens.x.square().sum(1)
    kept = rows.inner(each)
    assert row["nmse"] == pytest.approx(float(each[kept].mean()), rel=1e-5)
    assert row["l0"] == pytest.approx(float((sae.encode(tokens.x)[kept] > 0).sum(1).float().mean()))
    assert row["nmse_low"] < row["nmse"] < row["nmse_high"] and row["fvu"] > 0
    latents = tables["latents"][tables["latents"]["name"] == checkpoint.name]
    assert latents["frequency"].sum() == pytest.approx(row["l0_mean"])
    assert latents["rank"].tolist() == list(range(1, 65)) and not latents["dead"].any()
    labels = tables["labels"][tables["labels"]["name"] == checkpoint.name]
    by_class = labels[labels["label"] == "token_class"]
    assert np.average(by_class["nmse"], weights=by_class["tokens"]) == pytest.approx(row["nmse"])
    assert (labels["label"] == "column").sum() == rows.BINS
    spread = tables["quantiles"].query("name == @checkpoint.name")["nmse"]
    assert spread.is_monotonic_increasing and spread.iloc[-1] == pytest.approx(row["nmse_max"])


def test_a_kill_loses_one_checkpoint_and_the_rest_is_not_measured_again(place, tmp_path):
    chosen, seen = inventory.checkpoints(str(place / "saes")), []

    def stop(done, total):
        seen.append(done)
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cluster.measure(chosen, sample(place), tmp_path, on_progress=stop)
    before = lines(tmp_path)
    assert len(before) == 5
    whole = cluster.measure(chosen, sample(place), tmp_path)["checkpoints"]
    assert len(whole) == 12 and set(lines(tmp_path).values()) == {1}
    elsewhere = cluster.measure(chosen, sample(place), tmp_path / "other", most=2)["checkpoints"]
    assert alike(whole, elsewhere)
    coarser = cluster.measure(chosen[:1], sample(place), tmp_path, Settings(trim=0.1))["checkpoints"]
    assert coarser["nmse"][0] != whole["nmse"][0] and len(lines(tmp_path)) == 13


def test_a_corrupt_file_is_named_skipped_and_reported(place, tmp_path):
    write_grid(tmp_path / "saes", (32,), (3, 4))
    broken = tmp_path / "saes" / "layer_0" / "width_32" / "average_l0_3" / "params.npz"
    broken.write_bytes(b"torn")
    gemma_scope.write(
        tmp_path / "saes", dictionary(8, 0, d=7), 0, 1, {**ABOUT, "seed": 9}
    )  # for another model
    chosen = inventory.checkpoints(str(tmp_path / "saes"))
    table = cluster.measure(chosen, sample(place), tmp_path / "rows")["checkpoints"].set_index("name")
    assert (table["status"] == "measured").sum() == 3 and len(table) == 5
    assert "ValueError" in table.loc["layer_0/width_32/average_l0_3/params.npz", "status"]
    assert "7 dimensions" in table.loc["layer_0/width_8/average_l0_1/params.npz", "status"]
    assert table["nmse"].isna().sum() == 2


def test_a_network_that_fails_is_reported_and_tried_again(place, tmp_path, monkeypatch):
    chosen = inventory.checkpoints(str(place / "saes"), layers=[0])[:3]
    chosen = [replace(c, path="", repo_id="made/up", about={}) for c in chosen]  # as on a hub
    there = {c.name: place / "saes" / c.name for c in chosen}

    def fetch(checkpoint, down=chosen[1].name):
        if checkpoint.name == down:
            raise inventory.NotFetchedError("it was not fetched", "the hub could not be reached", "run again")
        return there[checkpoint.name]

    monkeypatch.setattr(inventory, "fetch", fetch)
    for _ in range(2):  # an outage that lasts
        table = cluster.measure(chosen, sample(place), tmp_path)["checkpoints"]
        assert table["status"].tolist() == ["measured", "the hub could not be reached", "measured"]
        assert len(lines(tmp_path)) == 2
    monkeypatch.setattr(inventory, "fetch", lambda checkpoint: fetch(checkpoint, down=""))
    table = cluster.measure(chosen, sample(place), tmp_path)["checkpoints"]
    assert (table["status"] == "measured").all() and table["nmse"].notna().all()
    assert set(lines(tmp_path).values()) == {1} and not list(tmp_path.glob(".not-done*"))


ABOUT = {"model": "toy", "site": "res", "seed": 0, "schedule": "matched"}


def test_what_cannot_be_done_is_said(place, tmp_path):
    with pytest.raises(GeowallError, match="no checkpoint was given"):
        cluster.measure([], sample(place), tmp_path)
    chosen = inventory.checkpoints(str(place / "saes"))
    with pytest.raises(GeowallError, match="no scheduler answers"):
        cluster.measure(chosen, sample(place), tmp_path, scheduler="tcp://127.0.0.1:9")


@pytest.fixture
def scheduler(tmp_path):
    """A real scheduler on loopback, and two worker processes that found it by its address."""
    from distributed import LocalCluster

    with LocalCluster(0, host="127.0.0.1", dashboard_address=None) as own:
        command = [sys.executable, "-m", "dask", "worker", own.scheduler_address]
        command += ["--host", "127.0.0.1", "--nthreads", "1", "--no-nanny", "--no-dashboard"]
        command += ["--death-timeout", "60", "--local-directory", str(tmp_path)]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        workers = [
            subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, **quiet) for _ in "12"
        ]
        try:
            yield own.scheduler_address
        finally:
            for process in workers:
                process.kill()
                process.wait()


def wait_for(ready, seconds: float = 120.0):
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.slow
def test_a_cluster_that_loses_a_worker_gives_the_same_table(place, tmp_path, scheduler):
    from distributed import Client

    write_grid(tmp_path / "saes", (256, 512), range(3, 9))
    chosen, folder = inventory.checkpoints(str(tmp_path / "saes")), tmp_path / "rows"
    with Client(scheduler, set_as_default=False) as client:
        client.wait_for_workers(2, timeout=120)
        pids = client.run(os.getpid)
    with ThreadPoolExecutor(1) as pool:
        census = pool.submit(cluster.measure, chosen, sample(place), folder, scheduler=scheduler)
        journal = folder / "journal.txt"
        wait_for(lambda: journal.exists() and journal.read_text().count("\n") >= 2)
        killed = int(journal.read_text().split()[1])
        assert killed in pids.values() and not census.done()
        os.kill(killed, signal.SIGKILL)
        spread = census.result(timeout=120)["checkpoints"]
    done = lines(folder)
    assert len(done) == len(chosen) == 24 and set(done.values()) == {1}
    writers = [line.split()[1] for line in journal.read_text().splitlines()]
    assert 0 < writers.count(str(killed)) < 12, "the other worker finished what the first had begun"
    alone = cluster.measure(chosen, sample(place), tmp_path / "alone")["checkpoints"]
    pd.testing.assert_frame_equal(*(t.drop(columns="seconds") for t in (spread, alone)), rtol=1e-9)


def test_a_ledger_is_all_or_nothing(tmp_path):
    ledger = Ledger(tmp_path)
    with pytest.raises(ValueError):
        ledger.keep(
            "a", {"checkpoints": pd.DataFrame({"x": [1]}), "bad": pd.DataFrame([[1, 2]], columns=["y", "y"])}
        )
    assert not ledger.has("a") and ledger.gather("checkpoints").empty
    ledger.keep("a", {"checkpoints": pd.DataFrame({"x": [1]})})
    ledger.keep("a", {"checkpoints": pd.DataFrame({"x": [2]})})
    assert ledger.gather("checkpoints", ["a", "b"])["x"].tolist() == [1]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_sample_draws_the_same_rows_anywhere(place):
    drawn = Sample(str(place / "store"), rows=500, seed=3, labels=str(place / "labels.parquet"))
    assert len(drawn.places) == len(drawn.known) == len(drawn.documents) == 500
    whole = sample(place)
    assert torch.equal(drawn.tokens(1, "res").x, whole.tokens(1, "res").x[drawn.places])
    assert drawn.known["column"].tolist() == whole.known["column"][drawn.places].tolist()
    assert Sample(str(place / "store"), rows=500, seed=4).stamp != drawn.stamp


def errors(nmse: torch.Tensor, l0: torch.Tensor) -> tuple[Errors, Tokens]:
    one = torch.ones(len(nmse), dtype=torch.float64)
    return Errors(nmse.double(), one, one, l0, torch.ones(4, dtype=torch.long)), Tokens(
        torch.ones(len(nmse), 1)
    )


def test_the_trim_cuts_ranks_and_takes_the_sparsity_with_it():
    nmse = torch.cat([torch.zeros(5), torch.full((90,), 0.5), torch.full((5,), 900.0)])
    l0 = torch.cat([torch.zeros(5), torch.full((90,), 7.0), torch.full((5,), 300.0)]).long()
    row = rows.summary(*errors(nmse, l0), np.arange(100))
    assert (row["nmse"], row["l0"], row["nmse_median"]) == (0.5, 7.0, 0.5)
    assert row["nmse_mean"] == pytest.approx(45.45) and row["nmse_max"] == 900.0
    assert row["l0_mean"] == pytest.approx(21.3) and row["nmse_trim_2"] > 20


def test_intervals_follow_documents_not_tokens():
    values = torch.cat([torch.full((500,), 0.1), torch.full((500,), 0.3)])
    l0 = torch.ones(1000).long()
    few = rows.summary(*errors(values, l0), np.arange(1000) // 250)
    many = rows.summary(*errors(values, l0), np.arange(1000))
    assert few["nmse_high"] - few["nmse_low"] > 5 * (many["nmse_high"] - many["nmse_low"])


def test_interpolation_stays_within_what_was_measured():
    own = {"model": "m", "layer": 0, "site": "res", "architecture": "a", "schedule": "s", "seed": 0}
    table = pd.DataFrame(
        [own | {"d_sae": n, "l0": l0, "nmse": n**-0.2 * l0**-0.5} for n in (64, 256) for l0 in (4, 9, 30)]
    )
    level = curves.at_sparsity(table, [9.0, 20.0, 40.0])
    assert level["k"].tolist() == [9.0, 20.0] * 2
    assert np.allclose(level["nmse"], level["d_sae"] ** -0.2 * level["k"] ** -0.5, rtol=1e-3)
    assert curves.common_sparsity(table) == pytest.approx(np.sqrt(4 * 30))
    apart = pd.concat([table, table.assign(layer=1, l0=10 * table["l0"])])
    assert 30 <= curves.common_sparsity(apart) <= 40 or 4 <= curves.common_sparsity(apart) <= 300
    twin = table.assign(same_as=["", "x", "", "", "", ""])
    assert len(curves.at_sparsity(twin, [9.0])) == 2


def test_slopes_of_known_laws_and_of_too_few():
    frequency = np.arange(1, 2001) ** -0.6 / 5
    table = pd.DataFrame({"rank": range(1, 2001), "frequency": frequency, "dead": False})
    found = ranks.slope(table, 2000)
    assert found["slope"] == pytest.approx(-0.6, abs=1e-6) and found["decades"] == pytest.approx(
        2.0, abs=0.05
    )
    bent = ranks.slope(table.assign(frequency=np.minimum(frequency, 0.02)), 2000)
    assert bent["low"] < bent["slope"] < bent["high"]
    assert np.isnan(ranks.slope(table.assign(frequency=0.0), 2000)["slope"])


def test_discovery_counts_each_direction_once_and_chance_is_low():
    random = torch.Generator().manual_seed(0)
    wide = torch.nn.functional.normalize(torch.randn(400, 64, generator=random), dim=1)
    narrow = torch.cat([wide[:50], wide[:10] + 0.01, torch.randn(40, 64, generator=random)])
    found = discovery.curve([narrow, wide], [0.7, 0.99])
    assert found["n_discovered"].tolist() == [50, 50] and found["n_chance"].tolist() == [0, 0]
    assert discovery.merged(narrow) == 90
    assert discovery.pairs(wide[:0], wide).shape == (0, 2)
    assert discovery.exponent([64, 256], [16, 32]) == pytest.approx(0.5)
    assert np.isnan(discovery.exponent([64], [16])) and np.isnan(discovery.exponent([64, 128], [16, 0]))
    assert len(discovery.pairs(wide.repeat(6, 1), wide)) == 400  # more than one tile


def circle(n: int = 1200, d: int = 10):
    random = torch.Generator().manual_seed(0)
    angle = 6.283 * torch.rand(n, generator=random)
    basis = torch.linalg.qr(torch.randn(d, d, generator=random)).Q
    flat = torch.stack([angle.cos(), angle.sin()], dim=1)
    return flat @ basis[:2] + 0.1 * torch.randn(n, d - 2, generator=random) @ basis[2:] + 3.0, angle, basis


def test_the_subspace_of_a_known_manifold_is_found():
    x, angle, basis = circle()
    coordinate = angle.numpy().copy()
    coordinate[:100] = np.nan
    found = manifolds.subspace(x, coordinate, most=2)
    assert float((basis[:2] @ found.axes).square().sum()) == pytest.approx(2.0, abs=0.01)
    assert found.share > 0.8 and found.within > 0.95
    assert (found.bins[:100] == -1).all() and found.bins.max() == manifolds.BINS - 1
    parts = manifolds.clouds(x, found, seed=0)
    assert len(np.unique(parts["curve"].numpy(), axis=0)) == manifolds.BINS
    assert torch.allclose(parts["gaussian"].T.cov(), parts["tokens"].T.cov(), atol=0.06)


def test_a_dictionary_that_tiles_the_circle_has_tuned_latents_and_little_error_there():
    x, angle, basis = circle()
    found = manifolds.subspace(x, angle.numpy(), most=2)
    turn = torch.arange(24) * (6.283 / 24)
    atoms = torch.stack([turn.cos(), turn.sin()], dim=1) @ basis[:2]
    tiles = Sae("topk", 1, atoms.T.contiguous(), -(atoms @ x.mean(0)), atoms, x.mean(0), torch.zeros(24))
    blind = Sae("jumprelu", 1, basis[2:].T.contiguous(), torch.zeros(8), basis[2:], x.mean(0), torch.zeros(8))
    documents = np.arange(len(x)) // 60
    seen, unseen = (manifolds.within(sae, Tokens(x), found, documents) for sae in (tiles, blind))
    assert seen["n_latents"] == 24 and seen["low"] <= seen["loss"] <= seen["high"] < 0.1
    assert unseen["n_latents"] == 0 and unseen["loss"] == pytest.approx(1.0, abs=0.1)


def test_isolated_curves_fall_and_say_what_they_are_of():
    x, angle, _ = circle()
    parts = manifolds.clouds(x, manifolds.subspace(x, angle.numpy(), most=2), seed=0)
    seen = {("angle", name): cloud for name, cloud in parts.items() if name != "tokens"}
    table = manifolds.isolated(seen, [2, 16], ["topk k=1"], [0], steps=200)
    loss = table.set_index(["setting", "n_latents"])["loss"]
    assert set(table["manifold"]) == {"angle"} and (loss[:, 16] < 0.5 * loss[:, 2]).all()


def test_intervals_of_manifolds_alone_hold_a_known_difference():
    """Two laws with noise of their own in each draw: the interval of their difference holds the truth."""
    random, n, hits = np.random.default_rng(0), [16, 32, 64, 128], 0
    for _ in range(100):
        parts = []
        for setting, beta in (("tokens", 0.3), ("gaussian", 0.4)):
            for draw in range(7):
                loss = np.power(n, -beta) * np.exp(0.05 * random.standard_normal(4))
                own = {"layer": 0, "manifold": "m", "setting": setting, "architecture": "topk", "draw": draw}
                parts.append(pd.DataFrame({"n_latents": n, "loss": loss, "l0": 2.0, **own}))
        found = alone.differences(pd.concat(parts)).iloc[0]
        hits += found["low"] <= -0.1 <= found["high"]
    assert hits >= 88 and found["difference"] == pytest.approx(found["beta"] - found["beta_gaussian"])
    table = alone.summary(pd.concat(parts))
    assert len(table) == 8 and (table["low"] < table["loss"]).all() and (table["loss"] < table["high"]).all()


def test_documents_are_drawn_whole():
    documents = np.repeat([5, 2, 9], [4, 1, 3])
    rows = alone.drawn(documents, seed=1)
    taken = Counter(documents[rows])
    assert all(taken[d] % (documents == d).sum() == 0 for d in taken)
    assert sum(taken[d] // (documents == d).sum() for d in taken) == 3
