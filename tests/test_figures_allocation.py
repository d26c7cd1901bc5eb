"""Charts of chapter 01: within bounds and true to their tables; the explorer computes as Python does."""

import html
import json
import re

import numpy as np
import pytest
import vl_convert

from geowall import allocation as a
from geowall.figures import allocation as figures
from geowall.figures import renderer
from geowall.figures.allocation_explorer import ALL, ONE, partial_zeta_expression
from geowall.figures.powers import human, power_of_ten


@pytest.fixture(scope="module")
def charts():
    scaling = a.scaling_table(0.5, [0.1, 0.5, 2.0], a.sizes(10, 1e8, 1))
    curves = a.discovery_table([0.5], np.geomspace(0.005, 1, 20), [1e4, 1e8])
    found = a.discovery_table([0.5], [0.05, 0.5], a.sizes(10, 1e8, 1))
    mixtures = a.heterogeneity_table(0.5, 0.05, 500, [0.1, 1.0], [1, 4], 2, 0)
    ranked = a.discovery_table([0.5], [0.05], [1e4], [1, 10, 100])
    made = [
        figures.fig_regimes(scaling),
        figures.fig_exponents(a.regimes_table(scaling, 1e4)),
        figures.fig_discovery(found),
        figures.fig_phase(a.phase_table([0.4, 0.8], [0.4, 0.8], 1e4)),
        figures.fig_worst_beta(curves, a.worst_beta_table(curves)),
        figures.fig_window_bias(a.window_table(0.5, [0.1, 0.5, 2.0], 1e3, [2, 3])),
        figures.fig_saturation(a.saturation_table(0.5, 0.05, [1e2, 1e4, 1e6], [None, 100])),
        figures.fig_heterogeneity(ranked, mixtures),
        figures.fig_explorer(),
    ]
    return {chart.usermeta["name"]: chart for chart in made}


def test_every_chart_fits_its_page_and_describes_itself(charts):
    assert len(charts) == 9
    for chart in charts.values():
        data, _ = renderer.bundle(chart, ["table"])  # refuses what is too wide or too long
        assert data["image/png"] and len(data["text/plain"]) > 60
        assert "nan" not in chart.usermeta["caption"] + data["text/plain"]


def test_captions_carry_the_computed_numbers(charts):
    assert "2.87 million features" in charts["fig-discovery"].usermeta["caption"]
    bias = a.window_table(0.5, [0.5], 1e3, [2]).bias.iloc[0]
    assert f"{bias:+.3f} over 2 decades" in charts["fig-window-bias"].usermeta["caption"]


def test_the_table_of_fits_has_a_row_a_fit():
    regimes = a.regimes_table(a.scaling_table(0.5, [0.1, 2.0], a.sizes(10, 1e6, 1)), 1e3)
    lines = figures.regimes_markdown(regimes).splitlines()
    assert len(lines) == 2 + len(regimes) and len({line.count("|") for line in lines}) == 1


def test_powers_and_counts_in_words():
    assert [human(x) for x in (950, 12_345, 1e6, 2.874e6, 1e12)] == [
        "950",
        "12,345",
        "1 million",
        "2.87 million",
        "1 trillion",
    ]
    assert power_of_ten("x").count("slice") == 2


def drawn_words(**values):
    svg = vl_convert.vegalite_to_svg(json.dumps(figures.fig_explorer(**values).to_dict()), vl_version="6.1")
    return [html.unescape(text) for text in re.findall(r"<text[^>]*>([^<]*)</text>", svg)]


def read_count(text):
    number, *word = text.replace(",", "").split()
    return float(number) * {"million": 1e6, "billion": 1e9, "trillion": 1e12}.get(
        word[0] if word else "", 1.0
    )


@pytest.mark.parametrize(
    ("alpha", "beta", "log_d_sae"),
    [(0.5, 0.25, 6.0), (0.5, 0.5, 8.0), (0.3, 1.0, 3.0), (2.0, 0.05, 4.0), (0.1, 0.1, 12.0), (1.0, 2.0, 9.3)],
)
def test_the_explorer_draws_the_continuous_allocation(alpha, beta, log_d_sae):
    words = drawn_words(alpha=alpha, beta=beta, log_d_sae=log_d_sae)
    size, g = 10**log_d_sae, (1 + alpha) / (1 + beta)
    d = float(a.continuous_discovered(size, alpha, beta))
    (found,) = [read_count(w.removesuffix(" discovered")) for w in words if w.endswith(" discovered")]
    (share,) = [float(w.split(": ")[1].split("%")[0]) / 100 for w in words if w.startswith("first feature")]
    assert found == pytest.approx(d, rel=6e-3, abs=0.51)  # three digits, or whole features, are shown
    assert share == pytest.approx(d**g / size, abs=6e-4)
    assert any(w.startswith(a.regime(alpha, beta)) for w in words)
    assert any(
        re.fullmatch(r"[\d.e−-]+", w) and float(w.replace("−", "-")) == pytest.approx(d / size, rel=6e-3)
        for w in words
    )


def test_the_explorer_is_close_to_the_exact_optimum():
    for alpha, beta, log_d_sae in [(0.5, 0.25, 6.0), (0.5, 0.1, 9.0)]:
        words = drawn_words(alpha=alpha, beta=beta, log_d_sae=log_d_sae)
        (found,) = [read_count(w.removesuffix(" discovered")) for w in words if w.endswith(" discovered")]
        exact = a.allocate_zipf(10**log_d_sae, alpha, beta).n_discovered
        assert found == pytest.approx(exact, rel=0.02)


def test_the_explorer_knows_the_papers_case():
    words = drawn_words(alpha=0.5, beta=0.05, log_d_sae=8.0, manifolds=ONE)
    assert "2.87 million discovered" in words and "of 100 million latents" in words


def test_the_explorer_needs_neither_rows_nor_network():
    spec = figures.fig_explorer(manifolds=ALL).to_dict()
    text = json.dumps({k: v for k, v in spec.items() if k not in ("$schema", "usermeta", "config")})
    assert "http" not in text and not spec.get("datasets")
    assert [p["bind"]["input"] for p in spec["params"]] == ["range", "range", "range", "radio"]


def test_the_expression_for_the_sum_is_the_sum_in_python():
    spec = {
        "data": {"values": [{"x": 500.0, "s": 1.4}, {"x": 500.0, "s": 1.0}, {"x": 20.0, "s": 0.3}]},
        "transform": [{"calculate": partial_zeta_expression("datum.s", "datum.x"), "as": "z"}],
        "mark": "text",
        "encoding": {
            "text": {"field": "z", "format": ".9f"},
            "y": {"field": "s", "type": "nominal", "axis": None},
        },
    }
    svg = vl_convert.vegalite_to_svg(json.dumps(spec), vl_version="6.1")
    drawn = sorted(float(t) for t in re.findall(r"<text[^>]*>([\d.]+)</text>", svg))
    expected = sorted(float(a.partial_zeta(s, x)) for x, s in [(500, 1.4), (500, 1.0), (20, 0.3)])
    np.testing.assert_allclose(drawn, expected, rtol=1e-8)
