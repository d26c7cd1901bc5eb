"""Per-layer laws: planted numbers come back, nothing is extrapolated unseen, printed floors return."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import numpy as np
import pandas as pd
import pytest

from geowall.laws import published, scaling
from geowall.laws.scaling import (
    agreement,
    attenuation,
    exponents,
    filters,
    floors,
    intervals,
    lab,
    planted,
    planted_surfaces,
    printed,
    redrawn,
    rivals,
    sparsity,
    surface,
    surfaces,
    tables,
    uncertainty,
)
from geowall.laws.tables import pick, where
from geowall.paths import GeowallError

GRID = {"source": "lab", "model": "made", "site": "res", "architecture": "jumprelu", "schedule": "matched"}
WIDTHS, L0 = (64, 128, 256, 512, 1024), (5.0, 12.0, 25.0, 50.0)


def checkpoints(law, layers: int = 1, spread: float = 0.0, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rows = [
        {
            "layer": layer,
            "d_sae": n,
            "l0": k,
            "nmse": law(n, k) * np.exp(spread * rng.standard_normal()),
            "spread": spread,
        }
        for layer in range(layers)
        for n in WIDTHS
        for k in L0
    ]
    return pd.DataFrame(rows).assign(**GRID)


def straight(n, k):
    return 2.0 * n**-0.3 * k**-0.5 * np.exp(0.02 * np.log(n) * np.log(k))


def floored(n, k):
    return 3.0 * n**-0.6 * k**-0.4 + 0.3 * k**-0.5


@pytest.fixture(scope="module")
def showcase():
    table, inventory = published.read(published.SHOWCASE), published.read(published.CHECKPOINTS)
    return lab.showcase_cells(table, inventory)


@pytest.fixture(scope="module")
def published_floors(showcase):
    return intervals.floors(showcase[showcase["kept"] & (showcase["k"] == 50)])


@pytest.mark.parametrize("name", [m.name for m in pkgutil.iter_modules(scaling.__path__)])
def test_the_worked_examples(name):
    assert doctest.testmod(importlib.import_module(f"geowall.laws.scaling.{name}")).failed == 0


# --- one sparsity for all widths ---------------------------------------------------------------------------


def test_a_power_law_is_interpolated_exactly_and_extrapolation_is_marked_or_refused():
    cells = sparsity.cells(checkpoints(straight), [4.5, 10, 20, 55, 80], reach=1.25)
    assert sorted(cells["k"].unique()) == [4.5, 10, 20, 55]
    assert cells.loc[cells["extrapolated"], "k"].isin([4.5, 55]).all()
    assert not cells.loc[cells["k"].between(5, 50), "extrapolated"].any()
    expected = straight(cells["d_sae"].to_numpy(), cells["k"].to_numpy())
    np.testing.assert_allclose(cells["nmse"], expected, rtol=1e-12)


def test_leaving_a_checkpoint_out_costs_nothing_on_a_power_law():
    loo = sparsity.leave_one_out(checkpoints(straight))
    assert len(loo) == len(WIDTHS) * (len(L0) - 2)
    assert loo["log_error"].abs().max() < 1e-12


def test_duplicates_and_what_was_not_measured_are_dropped():
    table = checkpoints(straight).assign(status="measured", nmse_low=0.1, nmse_high=0.12)
    table["weights"] = [str(i) for i in range(len(table))]
    twice = pd.concat(
        [table, table.assign(l0=table["l0"] + 1), table.head(3).assign(status="damaged", weights="x")]
    )
    assert len(sparsity.usable(twice)) == len(table)


def test_a_single_penalty_is_refused_in_three_lines():
    with pytest.raises(GeowallError) as caught:
        sparsity.cells(checkpoints(straight).query("l0 == 12"), [12])
    assert len(str(caught.value).splitlines()) == 3


# --- without a floor ---------------------------------------------------------------------------------------


def test_the_surface_is_its_slow_twin_and_its_exponent_the_chord():
    rng = np.random.default_rng(0)
    n, k = (v.ravel() for v in np.meshgrid([64.0, 512], [8.0, 16, 32], indexing="ij"))
    y = rng.standard_normal((5, 6))
    np.testing.assert_allclose(surface.fit(n, k, y), surface.fit_slow(n, k, y), rtol=1e-8, atol=1e-9)
    found = exponents.exponents(checkpoints(straight), [10.0, 20.0], [128, 512], n_bootstrap=2)
    for row in found.to_dict("records"):
        assert abs(row["alpha_width"] - (0.3 - 0.02 * np.log(row["k"]))) < 1e-10
    assert set(found["form"]) == {"secant", "no_floor", "no_floor_all"}


def test_documents_drawn_again_cover_the_planted_exponent():
    table = checkpoints(straight, layers=80, spread=0.02)
    found = exponents.exponents(table, [12.0], [128, 512], n_bootstrap=100)
    own = where(found, form="secant")
    covered = own["low"].le(0.3 - 0.02 * np.log(12)) & own["high"].ge(0.3 - 0.02 * np.log(12))
    assert len(own) == 80
    assert 0.85 <= covered.mean() <= 1.0
    assert abs(own["alpha_width"].mean() - (0.3 - 0.02 * np.log(12))) < 0.01


def test_coefficients_hold_the_planted_ones_with_documents_and_checkpoints_drawn():
    table = checkpoints(straight, layers=120, spread=0.03).assign(spread=0.02)
    laws = surfaces.surfaces(table, [12.0], n_bootstrap=2)
    found = exponents.exponents(table, [8.0, 12.0, 20.0], [128, 512], n_bootstrap=200, laws=laws)
    for form in ("no_floor", "no_floor_all"):
        own = where(found, form=form, k=12.0)
        assert len(own) == 120
        for name, truth in (("beta_n", -0.3), ("gamma", 0.02)):
            held = own[f"{name}_low"].le(truth) & own[f"{name}_high"].ge(truth)
            assert 0.9 <= held.mean() <= 0.995, (form, name)
            assert own[f"{name}_low"].le(own[name]).all() and own[f"{name}_high"].ge(own[name]).all()
    assert where(found, form="secant")["gamma_low"].isna().all()


def test_a_layer_without_a_surface_borrows_the_scatter_of_its_source_and_another_source_has_none():
    table = checkpoints(straight, layers=2, spread=0.03)
    laws = surfaces.surfaces(table[table["layer"] == 0], [12.0], n_bootstrap=2)
    other = table.assign(source="gemma")
    known = uncertainty.scattered(pd.concat([table, other]), laws)
    assert known.groupby("source")["scatter"].nunique().to_dict() == {"gemma": 0, "lab": 1}
    found = exponents.exponents(pd.concat([table, other]), [8.0, 12.0], [128, 512], 5, laws=laws)
    rows = where(found, form="no_floor_all").set_index("source")["gamma_low"]
    assert rows["lab"].notna().all() and rows["gemma"].isna().all()


# --- with a floor ------------------------------------------------------------------------------------------


def test_printed_floors_lie_in_the_intervals_but_for_one(published_floors):
    both = published_floors.merge(
        pd.read_csv(published.ROOT / printed.FLOORS), on=["model", "layer", "k"], suffixes=("", "_printed")
    )
    inside = both["floor_printed"].between(both["low"].round(3), both["high"].round(3))
    assert both.loc[~inside, ["model", "layer"]].to_numpy().tolist() == [["gemma-2-9b", 31]]
    assert (both["low"] > 0).all()


def test_three_widths_are_exactly_determined_and_borrow_their_noise(published_floors):
    exact = where(published_floors, n_widths=3)
    assert len(exact) == 4
    assert exact["rss"].max() < 1e-15
    assert published_floors["sigma_dof"].unique().tolist() == [6]
    assert (exact["high"] > exact["low"]).all()


def test_only_layers_with_widths_to_spare_have_an_interval_of_their_own(published_floors, showcase):
    table = agreement.agreement(published_floors, pd.read_csv(published.ROOT / printed.FLOORS), showcase)
    assert (table["low_own"].notna() == (table["dof"] > 0)).all()
    spare = table[table["dof"] > 0]
    assert spare["layer"].tolist() == [12, 20] and spare["inside_own"].astype(bool).all()
    # fewer degrees of freedom than the pool has: one layer alone is less sure of its noise
    assert (spare["low_own"] < spare["low"]).all() and (spare["high_own"] > spare["high"]).all()


def test_the_first_filter_drops_what_the_paper_dropped(showcase):
    at_50 = showcase[showcase["k"] == 50].sort_values("d_sae")
    marked = filters.marked(at_50)
    assert (marked["falls"] == marked["kept"]).all()


def test_exponents_out_of_order_are_dropped():
    assert filters.orderly([0.1, 0.2, 0.15, 0.3]).sum() == 3
    assert filters.orderly([0.4, 0.3, 0.5, 0.2, 0.1]).tolist() == [True, True, False, True, True]
    assert filters.flattening([1, 2, 4, 8], [0.8, 0.6, 0.3, 0.46]).tolist() == [True, True, False, True]


def test_planted_floors_are_held_and_filters_make_floors():
    known = planted.planted([5], [0.0, 0.6], [0.01], n_curves=250)
    whole = where(known, filtered=False)
    assert whole["coverage"].between(0.9, 1.0).all()
    assert whole["bias"].abs().max() < 0.03
    assert pick(whole, "decided", floor_share=0.0) < 0.06
    assert pick(known, "bias", floor_share=0.0, filtered=True) > 0.1


def test_the_attenuation_identity_is_exact(published_floors):
    split = attenuation.table(published_floors, [128, 512])
    assert split["identity"].abs().max() < 1e-12
    paper = published.read(published.LAYERS).merge(split, on=["model", "layer"])
    assert (paper["alpha_k50"] - paper["alpha_chord"]).abs().max() < 0.01, (
        "the paper's exponent is this chord"
    )
    none = attenuation.hidden(np.array(0.0), np.array(0.5), np.array(0.0), 64.0, 512.0)
    assert none == 0


def test_a_planted_surface_comes_back_from_checkpoints():
    found = surfaces.surfaces(checkpoints(floored), [10.0, 20.0], n_bootstrap=5)
    np.testing.assert_allclose(found["alpha_width"], 0.6, atol=1e-4)
    np.testing.assert_allclose(found["floor"], 0.3 * found["k"] ** -0.5, rtol=1e-4)
    np.testing.assert_allclose(found[["beta_n", "beta_k", "gamma"]].iloc[0], [-0.6, -0.4, 0.0], atol=1e-3)


@pytest.mark.parametrize(("share", "alpha"), [(0.0, 0.8), (0.0, 0.3), (0.9, 0.8)])
def test_profiles_of_surfaces_hold_what_is_planted_at_the_scatter_of_surfaces(share, alpha):
    design = checkpoints(straight, layers=100)
    table = planted_surfaces.planted(design, 16.0, alpha, share, 0.044, seed=0)
    found = surfaces.surfaces(table, [16.0], n_bootstrap=2)
    truths = {"": planted_surfaces.LEVEL * share, "alpha_": alpha}
    for name, truth in truths.items():
        held = found[f"{name}low"].le(truth + 1e-4) & found[f"{name}high"].ge(truth - 1e-4)
        assert held.mean() >= 0.88, name
    assert (found["low"] <= found["floor"] + 1e-9).all() and (found["high"] >= found["floor"] - 1e-9).all()
    assert (found["alpha_low"] <= found["alpha_width"] + 1e-9).all()
    np.testing.assert_allclose(found["scatter"].median(), 0.044, rtol=0.1)


def test_the_exponent_of_a_surface_can_be_held():
    rng = np.random.default_rng(0)
    n, k = (v.ravel() for v in np.meshgrid(WIDTHS, L0))
    y = np.log(floored(n, k)) + 0.02 * rng.standard_normal(len(n))
    held = floors.surface(n, k, np.tile(y, (3, 1)), centre=16.0, alpha=np.array([0.2, 0.6, 1.5]))
    np.testing.assert_allclose(held.at_k(16.0)[1], [0.2, 0.6, 1.5], rtol=1e-9)
    assert (held.rss >= floors.surface(n, k, y[None]).rss * (1 - 1e-6)).all()


def test_floors_with_documents_drawn_again_hold_the_truth():
    table = checkpoints(floored, layers=20, spread=0.01)
    found = redrawn.floors(table, 12.0, n_bootstrap=60)
    truth = 0.3 * 12**-0.5
    assert (found["low"].le(truth) & found["high"].ge(truth)).mean() >= 0.75


def test_subsets_leave_out_what_they_say():
    cells = sparsity.cells(checkpoints(floored, layers=2, spread=0.004), [12.0])
    found = intervals.floors(cells, intervals.SUBSETS)
    ends = found[found["layer"] == 0].set_index("subset")[["narrow", "wide", "n_widths"]]
    assert ends.loc["without_widest"].tolist() == [64, 512, 4]
    assert ends.loc["without_narrowest"].tolist() == [128, 1024, 4]
    assert (found["low"] <= found["floor"] + 1e-12).all()
    assert (found["high"] >= found["floor"] - 1e-12).all()


@pytest.mark.parametrize(("law", "form"), [(straight, "no_floor"), (floored, "with_floor")])
def test_the_planted_form_beats_its_opposite(law, form):
    found = rivals.rivals(checkpoints(law, spread=0.003))
    gaps = found.set_index("form")["aicc_gap"]
    # a parabola in log n or a soft knee may do as well over five octaves
    assert gaps["with_floor" if form == "no_floor" else "no_floor"] > gaps[form] + 2
    nested = found.set_index("form")["rss"]
    assert nested["two_power"] <= nested["with_floor"] * (1 + 1e-6) <= nested["no_floor"] * (1 + 2e-6)


def test_a_soft_knee_and_a_floor_stop_and_the_other_forms_go_on():
    # with the noise of real curves a parabola in log n can pass for a floor over five octaves
    bent, plain = (
        rivals.families(rivals.rivals(checkpoints(law, spread=1e-4))) for law in (floored, straight)
    )
    assert bent["criterion"].tolist() == plain["criterion"].tolist() == ["aic", "aicc"]
    assert set(bent["stops"]) == {"with_floor"} and not set(plain["goes_on"]) & set(rivals.STOPS)
    # two powers are a floor with one parameter more, so that a floor leads them by two in AIC at most
    assert bent["gap"].iloc[0] == pytest.approx(2.0, abs=1e-3) and bent["gap"].iloc[1] > 2


def test_points_that_the_paper_dropped_are_fitted_where_every_width_is(showcase):
    cells = lab.measured(showcase, sparsity.cells(checkpoints(floored), [12.0]))
    found = intervals.floors(where(cells, source="published"), ["kept", "every"])
    twelve = where(found, model="gemma-2-2b", layer=12).set_index("subset")
    assert twelve["n_widths"].to_dict() == {"kept": 5, "every": 7}
    assert twelve.loc["every", "floor"] > 1.1 * twelve.loc["kept", "floor"]
    others = found[(found["model"] != "gemma-2-2b") | (found["layer"] != 12)]
    assert (others.groupby(["model", "layer"])["n_widths"].nunique() == 1).all()


def test_laws_planted_on_the_labs_design_come_back_with_their_intervals():
    made = checkpoints(straight, layers=8).assign(spread=0.005)
    found = planted_surfaces.recovered(made, 20.0, (0.003, 0.003), [0.6], [0.0, 0.6], n_bootstrap=60)
    straight_ones = where(found, fit="no_floor")
    assert straight_ones["quantity"].tolist() == ["beta_n", "gamma"] and set(straight_ones["n_curves"]) == {8}
    found = where(found, fit=["curve", "surface", "surface_drawn"])
    found = found.set_index(["fit", "quantity", "floor_share"]).sort_index()
    assert (found["bias"].abs() < 0.06).all() and (found["n_curves"] == 8).all()
    assert found.loc[("curve", "floor")]["coverage"].min() >= 0.75
    assert found.loc[("curve", "floor", 0.6), "decided"] > 0.9 > found.loc[("curve", "floor", 0.0), "decided"]


def test_a_planted_floor_is_taken_for_a_form_that_stops_and_none_is_not():
    found = planted_surfaces.told_apart(checkpoints(straight, layers=8), 20.0, 0.003, [0.6], [0.0, 0.6])
    seen = found.set_index(["criterion", "floor_share"])["decided"]
    assert seen["aicc", 0.6] >= 0.75 > 0.25 >= seen["aicc", 0.0]


# --- the tables others read --------------------------------------------------------------------------------


def test_layer_laws_has_the_columns_of_the_contract_and_one_row_a_law(published_floors):
    files = (published.LAYERS, published.CHECKPOINTS, printed.FLOORS)
    paper = printed.laws(*map(published.read, files), [25, 50, 75])
    own = exponents.exponents(checkpoints(floored), [12.0], [128, 512], n_bootstrap=2)
    laws = tables.layer_laws(paper, own, published_floors.assign(form="with_floor"))
    assert list(laws.columns)[:17] == [
        "source", "model", "layer", "site", "architecture", "schedule", "form", "k", "alpha_width",
        "beta_n", "beta_k", "gamma", "floor", "low", "high", "n_checkpoints", "extrapolated",
    ]  # fmt: skip
    assert not laws.duplicated([*sparsity.GROUP, "form", "k"]).any()
    whole = where(laws, source="published", form="no_floor", k=50.0)
    layers = published.read(published.LAYERS).set_index(["model", "layer"])["alpha_k50"]
    np.testing.assert_allclose(
        whole.set_index(["model", "layer"])["alpha_width"].loc[layers.index], layers, atol=5e-6
    )
    assert whole.loc[whole["extrapolated"], "layer"].tolist() == [0, 1]
    assert laws["extrapolated"].dtype == bool


def test_budgets_compare_the_same_widths_of_the_same_layers():
    matched = checkpoints(floored)
    scaled = checkpoints(straight).assign(schedule="scaled").query("d_sae < 1024")
    both = pd.concat([matched, scaled, checkpoints(floored).assign(layer=5)])
    chords = exponents.exponents(both, [12.0], [128, 512], n_bootstrap=5)
    found = lab.budgets(sparsity.cells(both, [12.0]), chords, 12.0)
    assert set(found["layer"]) == {0}
    assert where(found, quantity="floor_share")["wide"].tolist() == [512, 512]
    value = found.set_index(["quantity", "schedule"])["value"]
    assert value["floor_share", "scaled"] < 0.05 < value["floor_share", "matched"]


def test_each_sparsity_says_what_it_can_reach_and_who_falls_behind():
    table = checkpoints(floored, layers=2)
    worse = (table["d_sae"] == 1024) & (table["layer"] == 1)
    table.loc[worse, "nmse"] *= 2
    table["nmse"] *= np.exp(0.001 * np.random.default_rng(0).standard_normal(len(table)))
    cells = sparsity.cells(table, [12.0, 60.0], reach=1.25)
    covered = sparsity.coverage(table, [12.0, 60.0])
    found = lab.by_sparsity(covered, cells, intervals.floors(cells[~cells["extrapolated"]])).set_index("k")
    assert found["n_cells"].tolist() == [10, 10] and found["n_outside"].tolist() == [0, 10]
    assert found["n_behind"].tolist() == [1, 0] and found["n_floors"].tolist() == [2, 0]
    assert np.isnan(found.loc[60.0, "floor_share"]) and 0 < found.loc[12.0, "floor_share"] < 1.1
    assert sparsity.chosen_k(covered) == 12 and sparsity.chosen_k(covered, 16) == 16


def test_a_floor_of_none_is_written_as_zero():
    fits = floors.curve(np.array(WIDTHS, float), np.log([[n**-0.4 for n in WIDTHS]]))
    assert fits.floor[0] < 1e-4 * WIDTHS[-1] ** -0.4
    cells = sparsity.cells(checkpoints(straight, layers=3, spread=0.003), [12.0])
    assert (intervals.floors(cells)["low"] == 0).any()
