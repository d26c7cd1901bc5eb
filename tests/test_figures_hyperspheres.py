"""Charts of chapter 02: within bounds, true to their tables, and a picker that answers in the page."""

from __future__ import annotations

import html
import itertools
import json
import re

import numpy as np
import pandas as pd
import pytest
import vl_convert

from geowall.figures import hyperspheres as figures
from geowall.figures import hyperspheres_checks as checks
from geowall.figures import hyperspheres_words as words
from geowall.figures import renderer
from geowall.figures.hyperspheres_circle import TAU, fig_circle, lanes
from geowall.figures.hyperspheres_picker import choices, fig_picker
from geowall.sae.curves import CURVE, common, exponents, falls, halves
from geowall.sae.matched import matched

RULES = [("relu", "l1=0.1"), ("jumprelu", "l1=0.1"), ("jumprelu", "l0=0.1"), ("topk", "k=2")]
RULES += [("batchtopk", "k=2"), ("matching_pursuit", "k=2"), ("spade", "l1=0.1")]


def every(**columns):
    """A row for every combination of curves and of the given columns."""
    settings = itertools.product([4, 6], [0.0, 0.1, 0.5], RULES, *columns.values())
    rows = [["shell" if t else "sphere", d, t, *rule, *rest] for d, t, rule, *rest in settings]
    return pd.DataFrame(rows, columns=[*CURVE, *columns])


@pytest.fixture(scope="module")
def tables():
    curves = every(n_latents=[8, 12, 16, 64], seed=[0, 1])
    curves["loss"] = 0.1 + 0.3 * curves["n_latents"] ** -0.5 * (1 + 0.1 * curves["seed"])
    fields = every(angle=range(0, 181, 15), radius=[0.5, 1.0, 1.5], n_latents=[16])
    fields["fires"] = (fields["angle"] < 60 * fields["radius"]).astype(float)
    angles = every(angle=range(5, 180, 10), n_latents=[16], live=[16]).assign(share=1 / 18)
    pairs = every(planted=[False, True], latent=range(5), n_latents=[16])
    pairs = pairs.assign(cosine=0.7, cofiring=0.4, rank=1.5, radial_spread=1.0, lost_dropped=0.2)
    pairs["lost_merged"] = np.where(pairs["planted"], 1e-9, 0.031)
    sparsities = every(seed=[0, 1, 2], l0=[1.0, 4.0]).query("d == 6 and thickness != 0.1")
    sparsities = sparsities.assign(mse=(1 + 0.1 * sparsities["seed"]) / sparsities["l0"], n_latents=32)
    gains = every(n_latents=[32, 128]).query("d == 6").assign(random=0.2, informed=0.19, gain=0.05)
    exact = every(n_latents=[12, 16], seed=[0])[["d", "thickness", "n_latents", "seed"]].assign(loss=0.15)
    mixture = pd.DataFrame({"d_sae": [16, 32] * 2, "seed": 0, "manifold": ["sphere"] * 2 + ["shell"] * 2})
    mixture = mixture.assign(n_on_manifold=[8, 15, 8, 9], n_discovered=[5, 9, 5, 9])
    mixture = mixture.assign(predicted_n_on_manifold=[8, 20, 8, 8], predicted_n_discovered=[9, 13, 9, 25])
    other = curves[curves["architecture"].isin(["relu", "topk"]) & (curves["thickness"] == 0)].query("d == 4")
    other = pd.concat([other.assign(manifold=name) for name in ("ripple", "helix", "torus", "swiss_roll")])
    return {
        "curves": curves,
        "other": other,
        "fields": fields,
        "angles": angles,
        "pairs": pairs,
        "exact": exact,
    } | {
        "mixture": mixture,
        "sparsities": sparsities,
        "gains": gains[gains["architecture"].isin(["relu", "jumprelu"])],
        "exponents": exponents(curves, 50),
    }


def ring(n_latents):
    turn = np.linspace(0, TAU, 61)
    parts = [pd.DataFrame({"part": "reconstruction", "latent": -1, "angle": turn})]
    for latent in range(n_latents):
        at = TAU * latent / n_latents
        parts.append(pd.DataFrame({"part": "arrow", "latent": latent, "angle": [at]}))
        parts.append(
            pd.DataFrame({"part": "arc", "latent": latent, "angle": at + np.linspace(-0.9, 0.9, 20)})
        )
    table = pd.concat(parts, ignore_index=True).assign(n_latents=n_latents)
    return table.assign(x=np.cos(table["angle"]), y=np.sin(table["angle"]))


@pytest.fixture(scope="module")
def charts(tables):
    curves, exact, exponent = tables["curves"], tables["exact"], tables["exponents"]
    losses = pd.DataFrame({"n_latents": [4, 8], "seed": 0, "loss": [0.131, 0.12]})
    made = [
        fig_circle(pd.concat([ring(4), ring(8)]), losses),
        figures.fig_loss_curves(curves, exact, ["ReLU"], 0.5, "loss-curves"),
        figures.fig_loss_curves(curves, exact, ["JumpReLU, L1", "JumpReLU, L0"], 0.5, "jumprelu-curves"),
        figures.fig_sphere_exponents(exponent, 0.5),
        figures.fig_thickness(exponents(common(curves), 50)),
        figures.fig_fields(tables["fields"], 6, 0.5),
        figures.fig_mixture(tables["mixture"]),
        checks.fig_neighbours(tables["pairs"], 6, 0.5),
        checks.fig_matched(tables["sparsities"], matched(tables["sparsities"], [2.0]), 2.0),
        checks.fig_restarts(tables["gains"]),
        checks.fig_others(tables["other"]),
        fig_picker(curves, tables["angles"], tables["fields"]),
    ]
    return {chart.usermeta["name"]: chart for chart in made}


def test_every_chart_fits_its_page_and_describes_itself(charts):
    assert len(charts) == 12
    for chart in charts.values():
        data, _ = renderer.bundle(chart, ["table"])  # refuses what is too wide or too long
        assert data["image/png"] and len(data["text/plain"]) > 60
        assert "nan" not in chart.usermeta["caption"] + data["text/plain"]


def test_captions_carry_the_computed_numbers(charts, tables):
    deep = tables["exponents"].query("d == 6 and architecture == 'topk'")["beta"]
    assert f"TopK {deep.iloc[0]:.2f} to {deep.iloc[-1]:.2f}" in charts["fig-thickness"].usermeta["caption"]
    assert (
        "the same widths, 8 to 64 (d = 4) and 12 to 64 (d = 6)" in charts["fig-thickness"].usermeta["caption"]
    )
    assert "swiss roll (d = 4) ReLU" in charts["fig-others"].usermeta["caption"]
    assert "TopK 30° to 90°" in charts["fig-fields"].usermeta["caption"]
    assert "sphere: 15 latents (predicted 20)" in charts["fig-mixture"].usermeta["caption"]
    rows = json.dumps(charts["fig-sphere-exponents"].to_dict()["datasets"])
    assert "d = 6, JumpReLU" in rows and "SpaDE" not in rows
    close = charts["fig-neighbours"].usermeta["caption"]
    assert "TopK, shell: 40% co-firing, 3.1% lost" in close and "Planted copies lose less than 0.01%" in close
    assert "on the shell, ReLU 0.550" in charts["fig-matched-l0"].usermeta["caption"]
    assert "ReLU +5.0% to +5.0%" in charts["fig-restarts"].usermeta["caption"]
    assert "4 latents: loss 0.131" in json.dumps(charts["fig-circle"].to_dict())


def test_arcs_of_a_lane_do_not_meet():
    arcs = [(a, a + 2.0) for a in np.linspace(0, TAU, 9)[:-1]]
    chosen = lanes(arcs)
    assert max(chosen) + 1 < len(arcs)
    turn = np.linspace(0, TAU, 500)
    for lane in set(chosen):
        covered = sum(
            ((turn - a) % TAU < b - a).astype(int)
            for (a, b), at in zip(arcs, chosen, strict=True)
            if at == lane
        )
        assert covered.max() <= 1


def test_choices_are_few_and_keep_the_ends():
    assert choices([0.5, 0.0, 0.1], 4) == [0.0, 0.1, 0.5]
    assert choices([2, 3, 4, 6, 8], 2) == [2, 8]


def test_the_picker_answers_without_a_kernel(charts):
    spec = charts["fig-picker"].to_dict()
    names = {p["name"]: p["bind"]["options"] for p in spec["params"] if "bind" in p}
    assert names["picked_d"] == [4, 6] and names["picked_thickness"] == [0.0, 0.1, 0.5]
    assert names["picked_autoencoder"] == list(figures.COLOURS)
    spec["datasets"] = {
        key: [r | {"live": 7 if r.get("d") == 4 else r.get("live")} for r in rows]
        for key, rows in spec["datasets"].items()
    }
    for param in spec["params"]:
        param["value"] = {"picked_d": 4}.get(param["name"], param.get("value"))
    svg = vl_convert.vegalite_to_svg(json.dumps(spec), vl_version="6.1")
    assert "7 live" in [html.unescape(text) for text in re.findall(r"<text[^>]*>([^<]*)</text>", svg)]


def test_sentences_say_where_curves_stop_and_who_leads(tables):
    curves = tables["curves"].assign(live=60)
    said = words.stops(tables["exponents"], curves, 0.5)
    assert "from 64 and 64 latents on, 5.3 to 8.0 times $2d$" in said
    assert "in 4 and 6 dimensions that is the widest we trained" in said
    assert "Of the 64 latents of the widest dictionaries on spheres 60 and 60 are alive" in said
    flat = curves.assign(loss=np.where(curves["n_latents"] < 16, 0.3, 0.2))
    fate = words.spheres_fate(exponents(flat, 50), flat)
    assert "in 4 and 6 dimensions it is within 2 % of its best from 16 and 16 latents on" in fate
    assert "do not stop" not in fate
    slopes = words.slopes(tables["exponents"], halves(curves))
    assert "above that for d = 4 and 6" in slopes and "from 12 to 16 latents" in slopes
    assert "12 to 64 latents in 6 dimensions" in words.compared(tables["exponents"], 6, 0.5)
    assert words.others(falls(tables["other"]), tables["other"]).count("TopK") == 4
    rows = {"l0": 2.0, "kind": "k", "manifold": "sphere"}
    pair = [rows | {"architecture": "topk", "mse": 0.1, "low": 0.09, "high": 0.11}]
    ahead = [*pair, rows | {"architecture": "batchtopk", "mse": 0.2, "low": 0.12, "high": 0.3}]
    level = [*pair, rows | {"architecture": "batchtopk", "mse": 0.1, "low": 0.05, "high": 0.3}]
    assert "0.100 against 0.200 at 2 (TopK ahead)" in words.leads(pd.DataFrame(ahead))
    assert "seeds overlap" in words.leads(pd.DataFrame(level))


def test_sentences_count_what_training_has_shown():
    row = {"d_sae": 16, "n_discovered": 5, "predicted_n_discovered": 9, "first_missed": 4.0, "times": 1}
    row |= {"seen_first_missed": 900.0, "last_found": 6.0, "seen_last_found": 400.0, "specificity": 0.7}
    row |= {"n_on_manifold": 8, "predicted_n_on_manifold": 7}
    more = row | {"times": 4, "n_discovered": 7, "seen_last_found": 1200.0}
    edge = words.edge(pd.DataFrame([row]), 5000)
    assert "4 discrete features are found; the rarest of them is number 6" in edge
    assert "shown 400 times in 5,000 training tokens, and 2 more frequent ones are missed" in edge
    said = words.longer(pd.DataFrame([row, more]))
    assert "Trained 4 times as long, 16 latents discover 7 features instead of 5, of 9" in said
    assert "after the long training is number 6" in said
    assert "50% of what was missing" in said and "shown 400 and 1,200 times" in said
    world = {"d": 2, "thickness": 0.0, "p_manifold": 0.5, "n_discrete": 2000, "alpha": 1.0, "rate": 1.0}
    assert words.kept(world, 200) == "The 200 most frequent of the 2,000 hold 99.7% of their activity."
    assert "1,221 features less than once" in words.rarest(world, 1_000_000)
