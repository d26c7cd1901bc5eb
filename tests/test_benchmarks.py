"""The rules of measurement: ratios, intervals, slopes, and when continuous integration complains."""

import time

import numpy as np
import pytest
from benchmarks import __main__ as suite
from benchmarks import b01_sweep, measure


def test_a_ratio_is_peer_over_ours_with_its_interval(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(measure.time, "perf_counter", time.process_time)  # other tests share the machine
    found = measure.measure(lambda: sum(range(3000)), lambda: sum(range(30_000)), rounds=9, least=0.002)
    assert 3 < found["ratio"] < 40 and found["low"] <= found["ratio"] <= found["high"]
    assert found["rounds"] >= 9 or found["rounds"] + found["dropped"] == 18


def test_rounds_made_up_for_do_not_make_a_row_quiet():
    assert not measure.is_noisy(kept=9, dropped=4) and measure.is_noisy(kept=9, dropped=5)


def test_the_interval_narrows_with_agreement():
    wide = measure.interval(np.log([1.0, 2.0, 3.0, 4.0, 5.0]))
    assert measure.interval(np.log([3.0] * 5)) == pytest.approx((3.0, 3.0)) and wide[0] < 3 < wide[1]


def test_the_slope_of_a_square_root():
    rng = np.random.default_rng(0)
    costs = [list(np.sqrt(n) * np.exp(rng.normal(0, 0.01, 5))) for n in (1e3, 1e4, 1e5)]
    found = measure.slope([1e3, 1e4, 1e5], costs)
    assert found["slope"] == pytest.approx(0.5, abs=0.02) and found["slope_low"] <= found["slope_high"]


def test_only_a_clear_and_quiet_loss_of_speed_is_reported():
    before = [{"id": "B7", "case": "x", "ratio": 100.0}]
    row = {"id": "B7", "case": "x", "ratio": 70.0, "low": 65.0, "high": 79.0, "noisy": False}
    assert "at most 79" in suite.regressions([row], before)[0]
    assert suite.regressions([row | {"high": 81.0}], before) == []
    assert suite.regressions([row | {"noisy": True}], before) == []
    assert suite.regressions([row | {"case": "new"}], before) == []


def test_what_was_not_measured_stays_on_record():
    recorded = [
        {"id": "B1", "case": "grid", "peer": "eager", "ratio": 1.0},
        {"id": "B1", "case": "grid", "peer": "sae_lens", "ratio": 2.0},
        {"id": "B1", "case": "first call", "seconds": 1.0},
        {"id": "B7", "case": "heap", "peer": "heapq", "ratio": 3.0},
    ]
    rows = [{"id": "B1", "case": "grid", "peer": "eager", "ratio": 9.0}]
    assert suite.unmeasured(recorded, rows) == [recorded[1], recorded[3]]


def test_a_mean_is_noisy_when_a_third_of_all_rounds_was_dropped_however_spread():
    cell = {"ratio": 2.0, "low": 1.9, "high": 2.1, "rounds": 9, "dropped": 4, "noisy": False}
    quiet = b01_sweep._mean("eager", [cell] * 3)
    assert quiet["ratio"] == pytest.approx(2.0) and quiet["noisy"] is False
    one = {**cell, "dropped": 9, "noisy": True}
    spread = b01_sweep._mean("eager", [one, cell, cell])
    assert (spread["rounds"], spread["dropped"], spread["noisy"]) == (27, 17, True)
    assert b01_sweep._mean("eager", [{**cell, "noisy": True}] * 2)["noisy"] is True
