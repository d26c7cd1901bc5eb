"""Charts of chapter 03: within bounds, true to their tables, and a picker that answers in the page."""

from __future__ import annotations

import doctest
import itertools
import json

import pandas as pd
import pytest
import vl_convert

from geowall.figures import projections as figures
from geowall.figures import projections_honest as honest
from geowall.figures import projections_picker, renderer
from geowall.figures import projections_tables as printed
from geowall.projections import separability, targets
from geowall.projections.moved import POINTS

ARCHITECTURES = ["relu", "jumprelu", "topk", "spade", "rbf"]


def every(columns, **values):
    return pd.DataFrame(list(itertools.product(*columns.values())), columns=list(columns)).assign(**values)


@pytest.fixture(scope="module")
def tables():
    names = [f"{kind} {angle}" for kind in ("outer", "inner") for angle in (0, 60, 120)]
    plane = every(
        {"architecture": ARCHITECTURES, "strength": [1.0, 2.0], "seed": [0, 1, 2], "concept": names}
    )
    plane["f1_top5"] = 0.5 + 0.1 * plane["strength"] + 0.01 * plane["seed"]
    plane.loc[plane["architecture"] == "spade", "f1_top5"] += 0.2
    plane = plane.assign(l0=10.0 * plane["strength"], nmse=0.01, f1_heldout=plane["f1_top5"], f1_union=0.99)
    plane["f1_top5_chosen"] = plane["f1_top5"]
    fields = every(
        {"architecture": ARCHITECTURES, "concept": ["outer 120", "inner 300"], "x": range(5), "y": range(5)}
    )
    cloud = pd.DataFrame({"x": [0.0, 1.0], "y": [1.0, 2.0], "concept": ["outer 120", "inner 300"]})
    alike = every({"architecture": ARCHITECTURES[:4], "row": range(4), "column": range(4)}, cosine=0.5)
    blocks = every(
        {"architecture": ARCHITECTURES[:4], "seed": [0, 1]}, stable_rank=2.5, blocks=3, rand_index=0.5
    )
    nested = every(
        {"architecture": ARCHITECTURES[:4], "strength": [1.0, 8.0], "seed": [0, 1], "concept_dim": [6, 14]}
    )
    nested = nested.assign(l0=nested["concept_dim"] * 1.5, nmse=0.4 / nested["strength"])
    first = pd.DataFrame(
        {"concept_dim": [6, 14], "k": [8.0, 8.0], "k_above": [8.0, None], "nmse": [0.05, None]}
    )
    gaps = every(
        {"setting": ["plane", "text"], "architecture": ["relu", "topk"], "score": ["f1_heldout", "f1_top5"]}
    )
    gaps = gaps.assign(gap=0.25, low=-0.9, high=0.9, matched_on=["l0", "l0 and error"] * 4, n_matched=3)
    shifts = every(
        {"shift": list(honest.SHIFTS), "amount": [1.0, 4.0], "architecture": ARCHITECTURES, "seed": [0, 1]}
    )
    best = every({"tied": [0.0, 1.0], "architecture": ARCHITECTURES[:4]}, f1=0.8, l0=3.0, nmse=0.1)
    found = every({"architecture": ["relu", "topk", "spade"], "strength": [1.0, 2.0], "seed": [0, 1]})
    found = found.assign(n_discovered=found["strength"] * 4, n_detected=5, d_sae=32, nmse=0.1)
    level = every({"architecture": ["relu", "topk"], "score": ["n_discovered", "n_detected"]}, l0=2.5)
    equal = every({"architecture": ["relu", "topk"], "concept_dim": [6, 14]}, l0=8.0, nmse_spade=0.1)
    judged = [("plane", "relu", "F1", 0.97, 1.01, 0.99, 0.98, 1.0, 5, "holds", "")]
    judged.append(("plane", "topk", "F1", None, 0.87, 12.5, None, None, 1, "above", "a reason"))
    lonely = [("plane", "kmeans", 5, 0, 0.07), ("real text", "relu", 5, 2, 2.0)]
    bank = every(
        {"architecture": ARCHITECTURES, "strength": [1.0, 2.0], "seed": [0, 1], "concept": ["a", "b"]}
    )
    bank = bank.assign(
        l0=5.0 * bank["strength"], nmse=0.05, f1=0.6, f1_heldout=0.7, dead=0.1, stable_rank=3.0
    )
    spread = every({"architecture": ARCHITECTURES, "concept": ["a", "b"]}, f1=0.7, low=0.6, high=0.8)
    moved = every({"radius": [0.0, 0.5], "angle": [0.0, 30.0], "architecture": ARCHITECTURES[:4]})
    moved = moved.assign(f1=0.4 + moved["radius"] * 1.1, f1_others=0.9, field="0123456789" * 22 + "01234")
    return {
        "plane": plane,
        "fields": fields.assign(code=0.5, f1=0.75),
        "cloud": cloud,
        "alike": alike,
        "blocks": blocks,
        "nested": nested,
        "first": first,
        "gaps": gaps.assign(l0_ratio=1.0, nmse_ratio=2.0),
        "shifts": shifts.assign(f1_heldout=1.0 - 0.1 * shifts["amount"]),
        "best": best,
        "moved": moved,
        "found": found.assign(l0=found["strength"] * 2),
        "level": level.assign(gap=-1.5, low=-2.0, high=-1.0),
        "equal": equal.assign(nmse_ratio=0.5, low=0.4, high=0.6, n_matched=[2, 2, 2, 0]),
        "judged": pd.DataFrame(judged, columns=targets.COLUMNS),
        "lonely": pd.DataFrame(
            lonely, columns=["setting", "architecture", "n_seeds", "n_matched", "l0_ratio"]
        ),
        "bank": bank,
        "spread": spread,
    }


@pytest.fixture(scope="module")
def charts(tables):
    best = separability.best_settings(tables["plane"])
    at = dict.fromkeys(ARCHITECTURES[:4], 1.0)
    made = [
        figures.fig_receptive_fields(tables["fields"], tables["cloud"]),
        figures.fig_separability(tables["plane"], best),
        figures.fig_likeness(tables["alike"], tables["blocks"], "likeness", "sorted"),
        figures.fig_likeness(tables["alike"], None, "nested-likeness", "sorted"),
        figures.fig_heterogeneity(tables["nested"], at, tables["first"]),
        honest.fig_matched(tables["gaps"]),
        honest.fig_shifts(tables["shifts"]),
        honest.fig_co_occurring(tables["best"], tables["best"].assign(f1=0.9)),
        honest.fig_discovery(tables["found"], tables["level"]),
        honest.fig_bank(tables["bank"], "formal-language", "Words", 10),
        honest.fig_classes(tables["spread"], "classes-seen", "Words"),
        projections_picker.fig_moved(tables["moved"]),
    ]
    return {chart.usermeta["name"]: chart for chart in made}


@pytest.mark.parametrize("module", [figures, honest, printed, projections_picker], ids=lambda m: m.__name__)
def test_the_worked_examples(module):
    assert doctest.testmod(module).failed == 0


def test_every_chart_fits_its_page_and_describes_itself(charts):
    assert len(charts) == 12
    for chart in charts.values():
        data, _ = renderer.bundle(chart, ["table"])  # refuses what is too wide or too long
        assert data["image/png"] and len(data["text/plain"]) > 60
        assert "nan" not in chart.usermeta["caption"] + data["text/plain"]


def test_captions_carry_the_computed_numbers(charts):
    caption = {name: chart.usermeta["caption"] for name, chart in charts.items()}
    assert "SpaDE 0.91 / 0.91 (1.00 / 0.99)" in caption["fig-separability"]
    assert "ReLU 2.5 (0.50)" in caption["fig-likeness"]
    assert "9 for 6; 21 for 14 dimensions" in caption["fig-nested"]
    assert "plane: ReLU +0.25, TopK +0.25" in caption["fig-matched"]
    assert "one axis stretched 0.90 to 0.60" in caption["fig-shifts"]
    assert "at its own L0: L0 2.5, ReLU −1.5 (−2.0 to −1.0)" in caption["fig-projected-discovery"]
    assert "Median over classes: ReLU 0.70" in caption["fig-classes-seen"]
    assert "Of 4 places" in caption["fig-moved"] and "ReLU 2; " in caption["fig-moved"]


def test_tables_are_printed_as_rows_of_the_page(tables):
    rows = printed.targets(tables["judged"]).splitlines()
    assert rows[2] == "| plane | ReLU, F1 | 0.97 to 1.01 | 0.99 (0.98 to 1.00) | yes |  |"
    assert rows[3] == "| plane | TopK, F1 | below 0.87 | 12.5 | no, above | a reason |"
    equal = printed.at_equal_l0(tables["equal"]).splitlines()
    assert equal[2] == "| L0 of SpaDE | 8.0 | 8.0 |"
    assert equal[-1] == "| TopK, error over SpaDE's | 0.50 (0.40 to 0.60) | not reached |"
    words = printed.unmatched(tables["lonely"])
    assert "k-means in the plane (0 of 5 seeds; nearest 0.07 of SpaDE's L0)" in words
    assert "ReLU in real text (2 of 5 seeds" in words
    assert printed.unmatched(tables["lonely"][:0]).startswith("Every architecture")


def test_best_strengths_follow_the_table(tables):
    best = separability.best_settings(tables["plane"])
    assert figures.best_strengths(best, ["spade", "relu", "absent"]) == {"spade": 2.0, "relu": 2.0}


def test_the_picker_answers_without_a_kernel(charts):
    spec = charts["fig-moved"].to_dict()
    options = {p["name"]: p["bind"]["options"] for p in spec["params"] if "bind" in p}
    assert options == {"picked_radius": [0.0, 0.5], "picked_angle": [0.0, 30.0]}
    numbers = []
    for radius in (0.0, 0.5):
        for param in spec["params"]:
            param["value"] = {"picked_radius": radius}.get(param["name"], param.get("value"))
        svg = vl_convert.vegalite_to_svg(json.dumps(spec), vl_version="6.1")
        numbers.append((">0.40<" in svg, ">0.95<" in svg))
        assert svg.count("<path") > 4 * POINTS**2  # a square for each digit of four strings
    assert numbers == [(True, False), (False, True)]
