"""Figures and sentences of chapter 07: they name what they show, and their numbers are the tables' own."""

from __future__ import annotations

import doctest
import json

import pandas as pd
import pytest

from geowall.figures import laws, laws_explorer, laws_floors, laws_words, renderer
from geowall.laws import published
from geowall.laws.scaling import (
    agreement,
    attenuation,
    exponents,
    filters,
    intervals,
    lab,
    planted,
    planted_surfaces,
    printed,
    redrawn,
    rivals,
    sparsity,
    surfaces,
    tables,
)
from geowall.laws.tables import where

K = 20.0


def elsewhere(stream):
    """Layer 3 of one grid as if it had been trained at another site, to widths of 512, at half the error."""
    usual = {"model": "lab-small", "architecture": "jumprelu", "schedule": "matched", "layer": 3}
    own = where(stream[stream["d_sae"] <= 512], **usual)
    halved = {name: own[name] / 2 for name in ("nmse", "nmse_low", "nmse_high")}
    return own.assign(site="mlp", weights="mlp" + own["weights"], **halved)


@pytest.fixture(scope="module")
def data():
    raw = pd.read_parquet(published.ROOT / "data/lab/checkpoints.parquet")
    stream = raw[raw["layer"].isin([3, 9]) & (raw["site"] == "res")]
    grid = sparsity.usable(pd.concat([stream, elsewhere(stream)]))
    files = (published.LAYERS, published.CHECKPOINTS, printed.FLOORS, published.SHOWCASE)
    layers, inventory, floors_printed, showcase = map(published.read, files)
    paper = printed.laws(layers, inventory, floors_printed, [25, 50])
    only = where(grid, site="res")
    whole = surfaces.surfaces(only[only["l0"] < 40], [K], 20)
    chords = exponents.exponents(grid, [12, K], [128, 512], n_bootstrap=20, laws=whole)
    points, cells = lab.showcase_cells(showcase, inventory), sparsity.cells(grid, [12, K])
    floors = intervals.floors(lab.measured(points, cells))
    covered, measured = sparsity.coverage(only, [12, K]), where(floors, source="lab")
    part = cells[cells["k"].isin([12, K]) & ~cells["extrapolated"]]
    return {
        "points": points, "cells": cells, "floors": floors,
        "agreed": agreement.agreement(floors, floors_printed, points),
        "laws": tables.layer_laws(paper, chords, floors.assign(form="with_floor")),
        "budgets": lab.budgets(cells, chords, K), "split": attenuation.table(floors, [128, 512]),
        "subsets": intervals.floors(part, intervals.SUBSETS),
        "redrawn": redrawn.floors(only, K, 20), "sites": lab.sites(cells, chords, K),
        "forms": (forms := rivals.rivals(lab.for_rivals(points, only[only["l0"] < 40]))),
        "kinds": rivals.families(forms),
        "planted": planted.planted([3, 5], [0.0, 0.6], [0.01], n_curves=40),
        "recovered": planted_surfaces.recovered(
            only[only["l0"] < 40], K, (0.01, 0.04), [0.8], [0.0, 0.9], n_bootstrap=20
        ),
        "apart": planted_surfaces.told_apart(only[only["l0"] < 40], K, 0.02, [0.8], [0.0, 0.9]),
        "covered": covered, "by_k": lab.by_sparsity(covered, cells, measured),
        "loo": sparsity.leave_one_out(only), "whole": whole,
        "training": lab.training(only), "dropped": filters.tally(filters.marked(cells)),
    }  # fmt: skip


@pytest.fixture(scope="module")
def charts(data):
    return [
        laws.fig_profiles(data["laws"], K),
        laws.fig_sparsities(data["laws"], data["by_k"]),
        laws.fig_showcase(data["points"], data["floors"], data["agreed"]),
        laws_floors.fig_planted(data["planted"]),
        laws_floors.fig_floors(data["floors"], data["redrawn"], K),
        laws_explorer.fig_explorer(data["cells"], data["points"], data["floors"], K),
        laws_floors.fig_subsets(data["subsets"], K),
        laws_floors.fig_budgets(data["budgets"]),
        laws_floors.fig_attenuation(data["split"], K),
        laws_floors.fig_rivals(data["forms"]),
        laws_floors.fig_recovered(data["recovered"]),
        laws.fig_coefficients(data["laws"]),
    ]


@pytest.mark.parametrize("module", [laws, laws_explorer, laws_floors, laws_words], ids=lambda m: m.__name__)
def test_the_worked_examples(module):
    assert doctest.testmod(module).failed == 0


def test_every_chart_says_what_it_shows(charts):
    names = [chart.usermeta["name"] for chart in charts]
    assert len(set(names)) == len(charts) == 12
    for chart in charts:
        assert len(chart.usermeta["caption"]) > 60
        assert len(chart.usermeta["alt"]) > 40
        assert "nan" not in chart.usermeta["caption"]


def test_the_explorer_draws_its_curves_in_the_page_and_fits_the_column(charts):
    explorer = charts[5]
    spec = json.dumps(explorer.to_dict())
    assert laws_explorer.CURVE in spec
    assert {p["name"] for p in explorer.to_dict()["params"] if "bind" in p} == {
        "picked_grid",
        "picked_layer",
        "picked_k",
    }
    bundle, _ = renderer.bundle(explorer, ["cells"])
    assert bundle["text/plain"].startswith("Interactive chart")


def test_the_sentences_carry_the_tables_numbers(data):
    said = laws_words.showcase(data["agreed"])
    assert said.startswith("5 of 6 printed floors")
    assert "9B layer 31" in said and "does not hold the printed floor either" in said
    share = data["split"].query("source == 'published'")["share"]
    learned = laws_words.learned_published(data["floors"], data["agreed"], data["split"])
    assert f"{share.min():.0%} to {share.max():.0%}" in learned
    texts = [
        laws_words.sparsity(data["covered"], data["loo"], K), laws_words.training(data["training"]),
        laws_words.profiles(data["laws"], K), laws_words.planted(data["planted"]),
        laws_words.recovered(data["recovered"]),
        laws_words.told_apart(data["apart"]),
        laws_words.filters(data["dropped"]), laws_words.floors(data["floors"], data["whole"], K),
        laws_words.budgets(data["budgets"]), laws_words.subsets(data["subsets"], K),
        laws_words.sparsities(data["by_k"], K, [12]), laws_words.coefficients(data["laws"]),
        laws_words.rivals(data["forms"], data["kinds"]),
        laws_words.learned_lab(
            data["floors"], data["whole"], data["subsets"], data["budgets"], data["kinds"], K
        ),
    ]  # fmt: skip
    assert all("nan" not in text and len(text) > 80 for text in texts)


def test_sites_are_compared_on_equal_widths_and_never_mixed(data, charts):
    """Half the error at every width: the same exponent, the same share of a floor, at one layer of two."""
    table = data["sites"].set_index("site")
    assert table.index.tolist() == ["res", "mlp"] and set(table["n_layers"]) == {1}
    assert table["wide"].tolist() == [512, 512]
    for column in ("alpha_width", "floor_share"):
        assert table.loc["mlp", column] == pytest.approx(table.loc["res", column], rel=1e-3)
    said = laws_words.sites(data["sites"], K)
    assert "(residual stream)" in said and "(MLP output)" in said and "nan" not in said
    assert laws_words.sites(data["sites"].iloc[:0], K).startswith("No other site")
    explorer = charts[5].to_dict()["params"][0]["bind"]["options"]
    assert "lab-small, MLP output" in explorer and "Gemma 2 2B" in explorer
    for chart in (charts[0], charts[1], *charts[3:5], *charts[6:]):
        assert "MLP" not in json.dumps(chart.to_dict())
    everywhere, stream = (
        laws_words.profiles(own, K) for own in (data["laws"], where(data["laws"], site="res"))
    )
    assert everywhere == stream


def test_each_grid_says_what_leaving_widths_out_does_to_zero(data):
    """In the caption and in the sentence, at the chosen sparsity and at the one beside it."""
    rows = where(data["subsets"], k=K, subset="without_narrowest", site="res", schedule="scaled")
    count = f"{int((rows['low'] > 0).sum())} of {len(rows)} (lab-small, scaled budget)"
    said = laws_words.subsets(data["subsets"], K)
    assert count in said and "At k = 12 zero stays outside" in said
    caption = laws_floors.fig_subsets(data["subsets"], K).usermeta["caption"]
    assert caption.count("lab-small, TopK") == len(laws_floors.SHOWN) and count in caption


def test_every_planted_exponent_is_in_the_sentence(data):
    both = pd.concat([data["apart"], data["apart"].assign(alpha_width=0.3, decided=0.21)])
    said = laws_words.told_apart(both)
    assert "exponent of 0.3" in said and "exponent of 0.8" in said and "21% of layers" in said
