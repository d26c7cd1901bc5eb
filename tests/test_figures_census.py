"""The figures of chapter 05: drawn from small tables, with captions whose numbers are the tables' own."""

from __future__ import annotations

import doctest
import importlib

import numpy as np
import pandas as pd
import pytest

from geowall.census import alone, chapter, curves
from geowall.census.ranks import slopes
from geowall.figures import census, census_latents, census_manifolds, renderer
from geowall.laws import published

OWN = {"model": "lab-small", "site": "res", "architecture": "jumprelu", "schedule": "matched", "seed": 0}
WIDTHS, L0S = (64, 256), (5, 12, 30)


@pytest.mark.parametrize("module", ["census", "census_latents", "census_manifolds"])
def test_the_worked_examples(module):
    assert doctest.testmod(importlib.import_module(f"geowall.figures.{module}")).failed == 0


def grid() -> pd.DataFrame:
    rows = []
    for layer in (0, 1, 2):
        for n in WIDTHS:
            for l0 in L0S:
                nmse = (0.5 + 0.2 * layer) * n**-0.1 * l0**-0.4
                row = {
                    "layer": layer,
                    "d_sae": n,
                    "nominal_l0": l0,
                    "l0": float(l0),
                    "nmse": nmse,
                    "same_as": "",
                }
                row |= {
                    "name": f"{layer}/{n}/{l0}",
                    "status": "measured",
                    "nmse_low": 0.9 * nmse,
                    "nmse_high": 1.1 * nmse,
                }
                rules = {"nmse_median": 0.9, "nmse_trim_2": 1.01, "nmse_mean": 1.1, "nmse_max": 9.0}
                rows.append(OWN | row | {name: factor * nmse for name, factor in rules.items()})
    return pd.DataFrame(rows)


def each(table: pd.DataFrame, make) -> pd.DataFrame:
    """A table with the naming columns of every checkpoint."""
    names = [*OWN, "layer", "d_sae", "nominal_l0", "name"]
    parts = [make(row).assign(**{name: row[name] for name in names}) for _, row in table.iterrows()]
    return pd.concat(parts, ignore_index=True)


def latents(table: pd.DataFrame) -> pd.DataFrame:
    def make(row):
        rank = np.arange(1, row["d_sae"] + 1)
        return pd.DataFrame({"rank": rank, "frequency": 0.3 * rank**-0.5, "dead": False})

    return each(table, make)


def shown(chart, name: str, *texts: str) -> None:
    """The chart fits the page and its words hold what the table says."""
    data, _ = renderer.bundle(chart, [])
    assert chart.usermeta["name"] == f"fig-{name}" and "image/png" in data
    for text in texts:
        assert text in chart.usermeta["caption"], chart.usermeta["caption"]
    assert chart.usermeta["alt"]


def test_errors_by_depth_width_and_sparsity():
    table = grid()
    k = curves.common_sparsity(table)
    least = curves.at_sparsity(table, [k]).query("d_sae == 256 and layer == 0")["nmse"].iloc[0]
    shown(census.fig_errors(table, k, 1), "errors", f"layer 0 ({least:.3f})", "12.2 active ones")
    layers = published.read(published.LAYERS)
    shown(census.fig_beside_gemma(table, layers, k), "beside-gemma", "lab-small 1.00", "Gemma 2 9B")
    level = curves.at_sparsity(pd.concat([table, table.assign(model="lab-large")]), [k])
    shown(census.fig_widths(level), "widths", "lab-small −0.10 to −0.10", "lab-large")
    shown(census.fig_ladder(table[table["layer"] == 1]), "ladder", "with 64 latents")


def test_tokens_and_rules():
    table = grid()
    quantile = np.array([0.0, 0.01, 0.25, 0.5, 0.75, 0.99, 1.0])
    spread = each(
        table, lambda row: pd.DataFrame({"quantile": quantile, "nmse": row["nmse"] * (0.2 + quantile)})
    )
    paper = pd.read_csv(published.ROOT / "data" / "published" / "geometric_wall_trimming.csv")
    rules = chapter.rules(table, [0, 2], paper)
    assert rules["where"].tolist()[:3] == ["layer 0", "layer 2", "2B layer 5"] and len(rules) == 8
    assert rules["nmse"][0] == pytest.approx(
        table.query("layer == 0 and d_sae == 256 and nominal_l0 == 12")["nmse"].iloc[0]
    )
    shown(
        census.fig_tokens(spread, rules), "tokens", "here: 1.10 to 1.10 times", "paper: 4.65 to 85.58 times"
    )


def test_neighbours_ranks_and_discovery():
    table = grid()
    edges = np.arange(0, 1, 0.02).round(2)

    def histogram(row):
        parts = []
        for kind, at in (("live", 0.5), ("all", 0.98), ("null", 0.3)):
            share = (edges == at) * 1.0
            parts.append(pd.DataFrame({"cosine": edges, "share": share, "kind": kind}))
        return pd.concat(parts)

    near = each(table[table["layer"] == 1], histogram)
    shown(
        census_latents.fig_neighbour_cosines(near, 1, 0.97),
        "neighbour-cosines",
        "with dead 100.0%",
        "live 0.0%",
    )
    crowd = chapter.crowding(near, 0.97).set_index(["d_sae", "kind"])
    assert (
        crowd.loc[(64, "live"), "cosine"] == pytest.approx(0.51)
        and crowd.loc[(64, "all"), "close_share"] == 1.0
    )
    fired = latents(table)
    found = slopes(fired)
    assert np.allclose(found["slope"], -0.5, atol=1e-6)
    shown(census_latents.fig_ranks(fired, found, 1), "ranks", "256 latents: −0.50")
    counts = pd.DataFrame(
        {"d_sae": [64, 128, 64, 128], "tau": [0.5, 0.5, 0.7, 0.7], "n_discovered": [32, 64, 8, 8]}
    )
    counts = counts.assign(layer=1, rank_l0=0, seed=0, n_chance=[2, 2, 0, 0], l0=9.0, n_live=counts["d_sae"])
    shown(
        census_latents.fig_discovery(counts, 1),
        "discovery-widths",
        "cosine 0.5: 1.00",
        "cosine 0.7: 0.00",
        "50% at",
    )
    assert chapter.growth(counts)["exponent"].round(6).tolist() == [1.0, 0.0]
    again = chapter.growth(pd.concat([counts, counts.assign(seed=1, n_discovered=[32, 32, 8, 8])]))
    overall = chapter.growth_overall(again).set_index("tau")
    assert overall["ladders"].tolist() == [2, 2] and overall.loc[0.5, "exponent"] == pytest.approx(0.5)
    assert overall.loc[0.5, "low"] < 0 < 1 < overall.loc[0.5, "high"]  # two ladders say next to nothing


def test_classes_coordinates_and_manifolds():
    def groups(row):
        parts = [
            pd.DataFrame(
                {"label": "token_class", "value": ["name", "number"], "nmse": [row["nmse"], 2 * row["nmse"]]}
            )
        ]
        for label in ("column", "indentation", "bracket", "position"):
            values = pd.DataFrame(
                {"label": label, "value": ["0", "1.5", "3"], "nmse": row["nmse"] * np.array([1, 1.2, 1.1])}
            )
            parts.append(values)
        return pd.concat(parts).assign(nmse_se=0.001, tokens=100, l0=9.0)

    table = grid()
    labels = each(table, groups)
    top = 2 * table.query("d_sae == 256 and nominal_l0 == 12 and layer == 2")["nmse"].iloc[0]
    shown(census_manifolds.fig_classes(labels, [2]), "classes", f"{top:.3f} (number)")
    shown(census_manifolds.fig_coordinates(labels, 1), "coordinates", "bracket depth")
    rows = []
    for manifold in ("column", "indentation", "bracket"):
        for n in (8, 16, 32, 64):
            row = {
                "layer": 1,
                "manifold": manifold,
                "architecture": "topk",
                "d_sae": n,
                "n_latents": n,
                "l0": 2.0,
            }
            for setting, loss in (("curve", 1e-5), ("tokens", n**-0.3), ("gaussian", n**-0.4)):
                rows.append(row | {"setting": setting, "loss": loss, "low": loss, "high": loss})
            inside = {
                "setting": "in the dictionary",
                "architecture": "jumprelu",
                "n_latents": n // 4,
                "loss": n**-0.5,
            }
            rows.append(row | inside | {"low": 0.9 * n**-0.5, "high": 1.1 * n**-0.5})
    losses = pd.DataFrame(rows)
    by_itself = losses[losses["setting"] != "in the dictionary"].assign(draw=0)
    again = [by_itself.assign(draw=i, loss=by_itself["loss"] * (1 + 0.01 * i)) for i in (1, 2, 3)]
    exponents = alone.exponents(pd.concat([by_itself, *again]))
    assert set(exponents["setting"]) == {"tokens", "gaussian"}
    said = "position in the line 0.30 (Gaussian 0.40)"
    shown(census_manifolds.fig_manifold_loss(losses, exponents, 1), "manifold-loss", said)
    shown(
        census_manifolds.fig_in_dictionary(losses, 1),
        "in-dictionary",
        "position in the line: 16 tuned, error 0.125",
    )
    tuned = chapter.tuned_share(losses)
    assert np.allclose(tuned["exponent"], 1.0) and np.allclose(tuned[["share_narrow", "share_wide"]], 0.25)
