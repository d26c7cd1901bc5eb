"""Exponents and plateaus of known curves."""

from __future__ import annotations

import doctest

import numpy as np
import pandas as pd
import pytest

from geowall.paths import GeowallError
from geowall.sae import scaling
from geowall.sae.scaling import fit_curve, saturation

N = 2 ** np.arange(2, 12)


def table(loss, seeds=5, noise=0.01, **names):
    rng = np.random.default_rng(0)
    rows = [{"n_latents": int(n), "seed": s, "loss": loss(n) * np.exp(noise * rng.random())}
            for n in N for s in range(seeds)]  # fmt: skip
    base = {"manifold": "sphere", "d": 3, "thickness": 0.0, "architecture": "relu", "penalty": 0.1, "k": 0}
    return pd.DataFrame(rows).assign(**(base | names))


def test_the_worked_example():
    assert doctest.testmod(scaling).failed == 0


@pytest.mark.parametrize("beta", [0.05, 0.3, 1.0])
def test_a_power_law_gives_its_exponent(beta):
    fit = fit_curve(table(lambda n: n**-beta))
    assert fit["low"] <= fit["beta"] <= fit["high"] or fit["high"] - fit["low"] < 0.005
    assert fit["beta"] == pytest.approx(beta, abs=0.01)
    assert fit["n_saturation"] == N[-1]


def test_a_floor_hides_the_exponent_and_the_excess_shows_it():
    curve = table(lambda n: 0.1 + n**-1.0, noise=1e-4)
    fit = fit_curve(curve)
    assert fit["beta"] < 0.25
    assert fit["floor"] == pytest.approx(0.1, rel=0.02)
    assert fit["beta_excess"] == pytest.approx(1.0, abs=0.1)
    assert fit_curve(curve, floor=0.1)["beta_excess"] == pytest.approx(1.0, abs=0.1)


def test_a_plateau_is_found_where_it_begins():
    assert fit_curve(table(lambda n: max(1.0 / n, 1.0 / 64), noise=1e-3))["n_saturation"] == 64
    assert saturation(np.array([3.0, 1.0, 1.01, 1.0])) == 1


def test_what_cannot_be_fitted_says_so():
    curve = table(lambda n: 1.0 / n)
    with pytest.raises(GeowallError, match="three widths"):
        fit_curve(curve[curve["n_latents"] < 16])
    with pytest.raises(GeowallError, match="not above the floor"):
        fit_curve(curve, floor=1.0)


def test_an_interval_holds_the_fit_as_well_as_the_seeds():
    bent = {n: n**-0.3 * (1.2 if i % 2 else 1.0) for i, n in enumerate(N)}
    fit = fit_curve(table(bent.get, noise=0.0))
    assert fit["low"] < fit["beta"] - 0.01 and fit["beta"] + 0.01 < fit["high"]
    straight = fit_curve(table(lambda n: n**-0.3, noise=0.0))
    assert straight["high"] - straight["low"] < 1e-9
    noisy = fit_curve(table(lambda n: n**-0.3, seeds=3, noise=0.3))
    assert noisy["low"] < noisy["beta"] < noisy["high"]


def test_the_interval_of_a_noisy_line_covers_its_slope_and_is_not_one_sided():
    rng, inside, above = np.random.default_rng(1), 0, 0
    for _ in range(60):
        rows = [{"n_latents": n, "seed": s, "loss": n**-0.3 * np.exp(0.05 * rng.normal())}
                for n in N for s in range(3)]  # fmt: skip
        fit = fit_curve(pd.DataFrame(rows), draws=300)
        inside += fit["low"] <= 0.3 <= fit["high"]
        above += fit["high"] - fit["beta"] > fit["beta"] - fit["low"]
    assert inside >= 50 and 12 <= above <= 48


def test_a_diverged_seed_is_left_out():
    curve = table(lambda n: 1.0 / n)
    curve.loc[3, "loss"] = np.nan
    assert fit_curve(curve)["beta"] == pytest.approx(1.0, abs=0.01)
