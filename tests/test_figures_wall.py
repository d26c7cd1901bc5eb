"""The pictures of chapter 09: each from a small table, with a caption that its numbers fill."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from geowall.figures import planner_words, wall, wall_laws, wall_planner, wall_words
from geowall.wall import rules, verdicts

MODELS = ("lab-small", "gemma-2-2b")
SUMMARIES = ("d_int", "kappa_ms")


def floors() -> pd.DataFrame:
    rows = [
        {"source": "lab", "model": m, "layer": i, "floor": 0.1 + 0.01 * i, "low": 0.05 * i, "high": 0.2}
        | {"clear": i > 0, "d_int": 5.0 + i, "kappa_ms": 0.1 + 0.01 * i}
        for m in MODELS for i in range(4)
    ]  # fmt: skip
    return pd.DataFrame(rows).assign(k=25.0)


def correlations() -> pd.DataFrame:
    rows = [
        {"source": "lab", "model": m, "statistic": s, "features": f, "given": g, "correlation": 0.4}
        for m in MODELS for s in wall_laws.STATISTICS for f in SUMMARIES for g in ("none", "depth")
    ]  # fmt: skip
    return pd.DataFrame(rows).assign(low=-0.1, high=0.8, n_layers=12, k=25.0)


def covering() -> pd.DataFrame:
    rows = [
        {"source": "lab", "model": m, "target": target, "term": term, "slope": -0.6, "low": -1.0, "high": 0.5}
        for m in MODELS for target in wall_laws.TARGETS for term in wall_laws.TERMS
    ]  # fmt: skip
    ends = {"partial": 0.3, "partial_low": 0.1, "partial_high": 0.6, "patches": 4.0, "atoms": 2.0}
    return pd.DataFrame(rows).assign(**ends, k=16.0)


def deciding() -> pd.DataFrame:
    rows = [{"model": m, "layer": i, "widest": 1024, "scatter": 0.01} for m in MODELS for i in range(3)]
    return pd.DataFrame(rows).assign(decides_at=[1024.0, 4096.0, np.nan] * 2, k=16.0)


def forecasts() -> pd.DataFrame:
    own = {"model": "lab-small", "layer": 3, "low_80": 0.15, "high_80": 0.2, "low": 0.1, "high": 0.25}
    rows = [own | {"width": 64 * 2**i, "nmse": 0.3 - 0.05 * i, "predicted": 0.2} for i in range(4)]
    return pd.DataFrame(rows).assign(part=["fitted", "fitted", "hidden", "ahead"])


@pytest.mark.parametrize(
    ("draw", "table", "words"),
    [
        (wall_laws.fig_wall_floors, floors(), ["3 of 4 at lab-small", "k = 25 (lab-small and 2B)"]),
        (wall_laws.fig_wall_tracks, correlations(), ["0.40 (lab-small) and 0.40 (2B)", "k = 25"]),
        (wall_laws.fig_wall_theory, covering(), ["−0.6 (−1.0 to 0.5) at lab-small", "k = 16"]),
        (wall_laws.fig_wall_deciding, deciding(), ["At 2 of 6 layers", "at 2 (open"]),
        (wall_planner.fig_wall_planner, forecasts(), ["Of 1 hidden dictionaries 1 lie inside"]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_figure_says_what_its_table_says(draw, table: pd.DataFrame, words: list[str]):
    spec = draw(table).to_dict()
    for each in words:
        assert each in spec["usermeta"]["caption"], spec["usermeta"]["caption"]
    assert len(spec["usermeta"]["alt"]) > 20


def test_the_claim_chart_fits_the_page_and_names_every_verdict():
    table = verdicts.verdicts({})
    table["verdict"] = [rules.VERDICTS[i % 4] for i in range(len(table))]
    spec = wall.fig_wall_verdicts(table).to_dict()
    text = str(spec["datasets"])
    assert all(f"'{glyph}'" in text for glyph in wall.GLYPHS.values())
    assert all(claim in text for claim in table["claim"].head(5))
    assert f"The {len(table)} claims" in spec["usermeta"]["caption"] and spec["width"] <= 610


def test_every_claim_is_in_one_bar_of_the_tally_and_parts_follow_each_other():
    table = verdicts.verdicts({})
    table["verdict"] = [rules.VERDICTS[i % 4] for i in range(len(table))]
    rows, labels = wall._counted(table)
    assert rows["n"].sum() == len(table) and set(rows["label"]) == set(labels)
    assert labels[:2] == ["The Geometric Wall, recomputed", "The Geometric Wall, measured here"]
    for _, own in rows.groupby("label"):
        ends = own["n"].cumsum()
        assert own["place"].is_monotonic_increasing
        assert (own["middle"] + own["n"] / 2 == ends).all()
    count = (table["verdict"] == rules.CAVEAT).sum()
    assert f"{count} are reproduced with caveat" in wall.fig_wall_tally(table).usermeta["caption"]


def test_bars_of_the_planner_stand_beside_the_intervals_they_earned():
    rows = [
        {"group": g, "rule": r, "n_predictions": 9} for g in ("lab", "Gemma 2") for r in wall_planner.NAMES
    ]
    table = pd.DataFrame(rows).assign(error=0.1, bias=0.0, coverage=0.9, coverage_80=0.7, log_score=1.0)
    table.loc[table["rule"] == "no geometry", "error"] = 0.05
    caption = wall_planner.fig_wall_holdout(table).to_dict()["usermeta"]["caption"]
    assert "5.1% for lab (planner, no geometry)" in caption


def test_the_conclusion_names_the_models_where_a_term_is_clear_and_no_others():
    table = covering().assign(source="published", model=["gemma-2-2b"] * 6 + ["gemma-2-9b"] * 6)
    unclear = (table["model"] == "gemma-2-9b") & (table["term"] == "1/d_int")
    table.loc[unclear, "partial_low"] = -0.1
    beside = table.assign(given="depth", dropped_layers=0, partial_low=-0.2)
    said = wall_words.learned_theory(table, beside)
    assert "with curvature, clear of zero, at 2B and 9B, and with dimension at 2B alone" in said
    assert "beside a curve in depth, with curvature nowhere and with dimension nowhere" in said


def test_pairings_made_from_the_growth_of_features_are_counted_apart():
    pairs = pd.DataFrame(
        {"regime": ["undecided", "undecided", "pathological"], "restates": [False, False, True]}
    )
    said = wall_words.learned_regimes(pairs)
    assert "2 of the 2 pairings from frequencies" in said and "The 1 from $D(N)$ restate" in said


def test_the_count_of_verdicts_lists_the_numbers_that_do_not_come_out():
    table = verdicts.verdicts({}).head(4).assign(published_value=0.9, source=["published", "lab"] * 2)
    table["verdict"] = [rules.FAILED, rules.FAILED, rules.CAVEAT, rules.REPRODUCED]
    said = wall_words.learned_verdicts(table)
    assert "1 are reproduced, 1 with a caveat, 2 are not, and 0 cannot be tested here" in said
    assert f"1 made from what the paper itself publishes ({table['claim'].iloc[0]})" in said


def test_the_share_of_a_floor_is_quoted_at_every_sparsity_that_both_schedules_have():
    rows = [
        {"k": k, "schedule": s, "floor_share": k / 100}
        for k in (8.0, 16.0, 25.0)
        for s in ("matched", "scaled")
    ]
    assert "at k = 8, 16 and 25 it is 0.08, 0.16 and 0.25" in wall_words.training(pd.DataFrame(rows))


def horizons() -> pd.DataFrame:
    rows = [
        {"group": group, "others": others, "model": "lab-small", "octaves": n, "n_predictions": 20}
        | {"coverage": 0.95 - 0.3 * (others == "model") * (n == 1), "coverage_plain": 0.6}
        for group, others in (("lab", "layers"), ("lab, other model", "model")) for n in (1, 2)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_where_intervals_hold_too_little_is_drawn_and_said():
    spec = wall_planner.fig_wall_horizons(horizons()).to_dict()
    caption = spec["usermeta"]["caption"]
    assert "Fewest held in lab: lab-small, by other models alone, 1 octave ahead: 65% of 20" in caption
    said = planner_words.horizons(horizons())
    assert "taught by its other layers, 1 and 2 octaves ahead: 95% of 20 and 95% of 20" in said
    assert "Clearly less than 95 % in 1 of 4 rows: lab, other model, lab-small" in said


def test_forecasts_are_set_against_floors():
    fitted = pd.DataFrame({"model": ["lab-small"], "layer": [3], "k": [16.0], "low": [0.24], "high": [0.3]})
    said = planner_words.against_floors(forecasts(), fitted)
    assert "In 1 of 1 layers" in said and "(k = 16), in 0 its whole" in said
    assert planner_words.against_floors(forecasts(), fitted.assign(model="else")) == ""
