"""Stores of activations: whole or mended, read in any order, near or far."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap
import threading
import time

import fsspec
import numpy as np
import pytest
import torch
import zarr

from geowall.language.sites import Site
from geowall.language.store import JOURNAL, MANIFEST, Store, floats, journal
from geowall.language.writer import Writer, locked
from geowall.paths import GeowallError

SITES = [Site("res", 0), Site("res", 1), Site("att", 10), Site("res", 10)]  # 10 comes after 2
WIDTHS = {site: 4 + 3 * site.layer for site in SITES}
ROWS, SHARD = 100, 16
ABOUT = {"widths": {str(site): WIDTHS[site] for site in SITES}, "rows": ROWS, "dtype": "float32"}
ABOUT |= {"context": 10, "model": "made up"}


def values(seed=0):
    random = np.random.default_rng(seed)
    return {site: random.standard_normal((ROWS, WIDTHS[site])).astype(np.float32) for site in SITES}


def origin():
    sequence, position = np.divmod(np.arange(ROWS), 10)
    return {"sequence": sequence, "position": position, "token": np.arange(ROWS) % 7}


def write(folder, step=7, last=ROWS):
    """Write the rows in pieces that fit no shard; return the first rows of the pieces that were needed."""
    needed, x = [], values()
    with Writer(folder, ABOUT, origin(), SHARD) as writer:
        for first in range(0, last, step):
            end = min(first + step, last)
            if writer.needs(first, end):
                needed.append(first)
                writer.add(first, {site: x[site][first:end] for site in SITES})
    return needed


@pytest.fixture
def made(tmp_path):
    write(tmp_path / "s")
    return Store.open(tmp_path / "s")


def contents(folder):
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != JOURNAL)
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_what_was_written_is_read_in_any_order(made):
    x = values()
    assert made.sites == SITES and made.rows == ROWS and made.n_shards == 7 and made.damaged() == []
    for site in SITES:
        assert np.array_equal(made.read(site), x[site])
        assert np.array_equal(made.read(site, slice(15, 40, 3)), x[site][15:40:3])
        assert np.array_equal(made.read(site, [99, 3, 3, 50]), x[site][[99, 3, 3, 50]])
        assert made.read(site, []).shape == (0, made.width(site))
        assert np.allclose(made.norms(site), np.linalg.norm(x[site], axis=1), rtol=1e-6)
        assert np.allclose(made.mean(site), x[site].mean(0, dtype=np.float64), atol=1e-6)
    assert made.index.columns.tolist() == ["token", "sequence", "position"]
    assert np.array_equal(made.places, np.arange(ROWS))


def test_any_reader_of_zarr_3_can_open_it(made):
    group = zarr.open_group(made.place, mode="r")
    assert group.metadata.zarr_format == 3
    array = group["layer_1/res"]
    assert array.shards == (SHARD, 7) and np.array_equal(array[:], values()[SITES[1]])


@pytest.mark.parametrize(("dtype", "rows", "shard_rows"), [("float32", 100, 16), ("bfloat16", 1500, 1024)])
def test_files_are_those_that_zarr_writes(dtype, rows, shard_rows, tmp_path):
    """Byte for byte: whole shards and cut ones, with one chunk and with several, zeros, norms and sums."""
    widths = {"layer_0/res": 5, "layer_0/mlp": 700, "layer_1/res": 700}
    about = {"widths": widths, "rows": rows, "dtype": dtype}
    random = np.random.default_rng(0)
    x = {Site.parse(name): random.standard_normal((rows, d)).astype(np.float32) for name, d in widths.items()}
    x[Site("res", 0)][:shard_rows] = 0
    with Writer(tmp_path / "s", about, {}, shard_rows) as writer:
        writer.add(0, {site: torch.from_numpy(values) for site, values in x.items()})
    ours = zarr.open_group(tmp_path / "s", mode="r")
    with zarr.config.set({"array.write_empty_chunks": True}):
        for name in (*widths, "norm", "sum"):
            values, like = ours[name][:], ours[name].metadata.to_dict()
            held = {"chunks": ours[name].chunks, "shards": ours[name].shards, "fill_value": 0}
            plain = {"compressors": None, "filters": None, "attributes": like["attributes"]}
            shape = {"shape": values.shape, "dtype": values.dtype}
            twin = zarr.create_array(tmp_path / "twin" / name, **shape, **held, **plain)
            for first in range(0, len(values), (held["shards"] or held["chunks"])[0]):
                end = first + (held["shards"] or held["chunks"])[0]
                twin[first:end] = values[first:end]
            assert contents(tmp_path / "twin" / name) == contents(tmp_path / "s" / name), name
    bits = ours["layer_1/res"][:]
    found = floats(bits) if dtype == "bfloat16" else bits
    assert np.array_equal(
        found, torch.from_numpy(x[Site("res", 1)]).to(getattr(torch, dtype)).float().numpy()
    )


def test_rows_put_into_their_room_are_stored_like_rows_handed_over(tmp_path):
    x = values()
    with Writer(tmp_path / "s", ABOUT, origin(), SHARD) as writer:
        assert writer.room(10, 20) is None and writer.room(0, 17) is None  # of two shards
        for first in range(0, ROWS, 4):
            room = writer.room(first, first + 4)
            for site in SITES:
                room[site].copy_(torch.from_numpy(x[site][first : first + 4]))
            writer.add(first, room)
        assert writer.room(0, 4) is None  # of a finished one
    write(tmp_path / "whole")
    assert contents(tmp_path / "s") == contents(tmp_path / "whole")


def test_batches_are_a_shuffled_pass_in_bounded_memory(made):
    site, x = SITES[0], values()[SITES[0]]
    for window in (1, 32, 1000):
        seen = np.concatenate(list(made.batches(site, 9, seed=1, window=window)))
        assert len(seen) == ROWS // 9 * 9
        order = [int(np.flatnonzero((x == row).all(1))[0]) for row in seen]
        assert len(set(order)) == len(order) and order != sorted(order)
    first = [np.stack(list(made.batches(site, 25, seed=s))) for s in (1, 1, 2)]
    assert np.array_equal(first[0], first[1]) and not np.array_equal(first[0], first[2])


def test_zeros_are_stored_like_any_other_rows(tmp_path):
    about = {"widths": {"layer_0/res": 3}, "rows": 5, "dtype": "bfloat16"}
    with Writer(tmp_path / "s", about, {}, 4) as writer:
        writer.add(0, {SITES[0]: np.zeros((5, 3), np.float32)})
    store = Store.open(tmp_path / "s")
    assert store.damaged() == [] and not store.read(SITES[0]).any()


def test_bits_of_bfloat16_are_exact():
    x = torch.tensor([0.0, -0.0, 1.5, -3.0e38, 1e-40, float("inf")]).bfloat16()
    assert np.array_equal(floats(x.view(torch.uint16).numpy()), x.float().numpy())


@pytest.mark.parametrize("harm", ["truncated", "altered", "gone", "emptied", "norms altered"])
def test_a_damaged_shard_is_found_and_only_it_is_redone(harm, made, tmp_path):
    folder = tmp_path / "s"
    before = contents(folder)
    file = folder / ("norm/c/2/0" if harm == "norms altered" else "layer_1/res/c/2/0")
    whole = file.read_bytes()
    if harm == "gone":
        file.unlink()
    else:
        altered = whole[:9] + bytes([whole[9] ^ 1]) + whole[10:]
        file.write_bytes({"truncated": whole[:-5], "emptied": b""}.get(harm, altered))
    assert made.damaged() == [2]
    assert write(folder) == [28, 35, 42]  # the pieces that touch rows 32 to 47
    assert contents(folder) == before and Store.open(folder).damaged() == []


def test_a_last_shard_cut_short_is_redone_too(made, tmp_path):
    file = tmp_path / "s/sum/c/6/0"
    file.write_bytes(file.read_bytes()[:3])
    assert made.damaged() == [6] and write(tmp_path / "s") and made.damaged() == []


def test_a_journal_cut_in_the_middle_of_a_line_costs_one_shard(made, tmp_path):
    path = tmp_path / "s" / JOURNAL
    text = path.read_text()
    path.write_text(text[: text.rindex("layer_1")])
    assert made.damaged() == [6]
    write(tmp_path / "s")
    assert made.damaged() == [] and len(journal(path.read_text())) == 7


def test_a_killed_writer_leaves_what_it_had_finished(tmp_path):
    """The bytes are those of a store made in one go, and no finished shard is written again."""
    code = f"""
    import sys, time
    sys.path.insert(0, {str(__file__).rsplit("/", 1)[0]!r})
    import test_store as t
    x = t.values()
    with t.Writer({str(tmp_path / "killed")!r}, t.ABOUT, t.origin(), t.SHARD) as writer:
        for first in range(0, t.ROWS, 4):
            writer.add(first, {{site: x[site][first : first + 4] for site in t.SITES}})
            time.sleep(0.05)
    """
    child = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)])
    path = tmp_path / "killed" / JOURNAL
    while not path.exists() or path.read_text().count("\n") < 2:
        assert child.poll() is None
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    missing = Store.open(tmp_path / "killed").damaged()
    assert 1 < len(missing) < 6
    assert min(write(tmp_path / "killed")) >= (missing[0] * SHARD) // 7 * 7
    write(tmp_path / "whole")
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_a_layout_that_was_never_finished_is_made_again(made, tmp_path):
    (tmp_path / "s" / MANIFEST).unlink()
    assert len(write(tmp_path / "s")) == 15 and made.damaged() == []


def test_a_folder_of_other_files_is_left_alone(tmp_path):
    (tmp_path / "letters").write_text("dear")
    with pytest.raises(GeowallError, match="it holds letters"):
        Writer(tmp_path, ABOUT, origin(), SHARD)
    assert (tmp_path / "letters").read_text() == "dear"


def test_another_extraction_is_never_mixed_in(made, tmp_path):
    other = ABOUT | {"model": "another"}
    with pytest.raises(GeowallError, match="differs in model"):
        Writer(tmp_path / "s", other, origin(), SHARD)
    with pytest.raises(GeowallError, match="no activations were found"):
        Store.open(tmp_path / "nowhere")
    with pytest.raises(GeowallError, match="the store holds no layer_7/res"):
        made.read(Site("res", 7))


def test_rows_out_of_order_are_refused(tmp_path):
    x = values()
    with Writer(tmp_path / "s", ABOUT, origin(), SHARD) as writer:
        writer.add(0, {site: x[site][:5] for site in SITES})
        with pytest.raises(ValueError, match="came at 6 where 5 was next"):
            writer.add(6, {site: x[site][6:9] for site in SITES})


@pytest.mark.parametrize("scheme", ["memory://far/s", "file://{}/copy"])
def test_a_store_is_read_over_fsspec(scheme, made, tmp_path):
    address = scheme.format(tmp_path)
    files, root = fsspec.core.url_to_fs(address)
    for name, content in contents(tmp_path / "s").items():
        files.makedirs(f"{root}/{name}".rsplit("/", 1)[0], exist_ok=True)
        files.pipe_file(f"{root}/{name}", content)
    files.pipe_file(f"{root}/{JOURNAL}", (tmp_path / "s" / JOURNAL).read_bytes())
    far = Store.open(address)
    assert far.manifest == json.loads((tmp_path / "s" / MANIFEST).read_text())
    for site in SITES:
        assert np.array_equal(far.read(site), made.read(site))
        assert np.array_equal(far.read(site, [70, 2]), made.read(site, [70, 2]))
    assert far.index.equals(made.index) and far.damaged() == []


def test_a_lock_is_held_by_one_at_a_time(tmp_path):
    order, waiting = [], threading.Event()

    def second():
        with locked(tmp_path / "s.lock", waiting.set):
            order.append("second")

    with locked(tmp_path / "s.lock"):
        thread = threading.Thread(target=second)
        thread.start()
        assert waiting.wait(10)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]
