"""The explorer of chapter 01: three sliders and the allocation, computed by the page itself.

Everything the reader sees follows from the sliders through Vega expressions, with no kernel and no network:
the continuous allocation ``n_i = (D/i)^g``, its size ``N = D^g sum_{i<=D} i^-g`` by Euler and Maclaurin on a
grid of D, and the D at which N is the chosen number of latents. The sum is written out from the same
constants that :func:`geowall.allocation.partial_zeta` uses, and a test holds the two together.

>>> fig_explorer().usermeta["name"]
'fig-explorer'
"""

from __future__ import annotations

import altair as alt

from geowall.allocation.zetas import HEAD
from geowall.figures import theme
from geowall.figures.powers import decades, log_axis

STEPS = 480  # points of the grid of D; interpolation between them is good to 1e-4
TOP = 12  # decades
FLOOR = 0.4  # where the areas stand, so that a feature with one latent is seen
LEAST = 1e-6  # of the features per latent that are drawn
ALL, ONE = "every feature", "only the most frequent"
REGIMES = [
    ("datum.alpha < datum.beta", "benign: β > α", theme.GREEN),
    ("datum.alpha == datum.beta", "critical: β = α", theme.ORANGE),
    ("true", "pathological: β < α", theme.RED),
]
COLOUR = " : ".join(f"{test} ? '{colour}'" for test, _, colour in REGIMES) + " : ''"
NAME = " : ".join(f"{test} ? '{name}'" for test, name, _ in REGIMES) + " : ''"


def fig_explorer(
    alpha: float = 0.5, beta: float = 0.25, log_d_sae: float = 6.0, manifolds: str = ALL
) -> alt.TopLevelMixin:
    """The allocation under the reader's hands, starting at the given values."""
    controls = [
        _slider("alpha", "α (features get rare)", alpha, 0.1, 2, 0.05),
        _slider("beta", "β (manifolds are learnt)", beta, 0.05, 2, 0.05),
        _slider("log_d_sae", "log₁₀ of the latents", log_d_sae, 1, TOP, 0.1),
        alt.param(
            name="manifolds",
            value=manifolds,
            bind=alt.binding_radio(options=[ALL, ONE], name="manifolds: "),
        ),
    ]
    chart = alt.hconcat(_shares(), _curve(), spacing=14).add_params(*controls)
    return theme.finish(
        chart,
        "explorer",
        caption="Drag. *Left:* latents given to each feature, by rank; the area ends at the last feature "
        "discovered. *Right:* features discovered per latent as the dictionary grows, the present one "
        "marked. The page itself computes the continuous allocation, cut off at one latent, for an endless "
        "list of features of which every one is a manifold, or only the most frequent.",
        alt="Interactive chart with sliders for alpha, beta and dictionary size. Left: latents against "
        "feature rank on logarithmic axes, a falling straight line. Right: features discovered per latent "
        "against dictionary size.",
    )


def _slider(name: str, label: str, value: float, low: float, high: float, step: float) -> alt.Parameter:
    return alt.param(
        name=name, value=value, bind=alt.binding_range(min=low, max=high, step=step, name=f"{label}: ")
    )


def partial_zeta_expression(s: str, x: str) -> str:
    """:func:`geowall.allocation.partial_zeta` as a Vega expression of two expressions."""
    head = " + ".join(f"pow({i}, -({s}))" for i in range(1, HEAD))
    power = f"(pow({x}, 1 - {s}) - pow({HEAD}, 1 - {s})) / (1 - {s})"
    integral = f"(abs(1 - {s}) < 1e-9 ? log({x} / {HEAD}) : {power})"

    def ends(at: str, sign: str) -> str:
        odd = (
            f"({s} / 12 * pow({at}, -{s} - 1) - {s} * ({s} + 1) * ({s} + 2) / 720 * pow({at}, -{s} - 3)"
            f" + {s} * ({s} + 1) * ({s} + 2) * ({s} + 3) * ({s} + 4) / 30240 * pow({at}, -{s} - 5))"
        )
        return f"(pow({at}, -{s}) / 2 {sign} {odd})"

    return f"({head} + {ends(str(HEAD), '+')} + {integral} + {ends(x, '-')})"


def _grid() -> alt.Chart:
    """Rows over a grid of D, each with the dictionary size N that discovers D features."""
    data = alt.sequence(start=0, stop=STEPS + 1, step=1, as_="t")
    manifold = "pow(datum.beta * pow(datum.d, 1 + datum.alpha), 1 / (1 + datum.beta))"
    every = f"pow(datum.d, datum.g) * {partial_zeta_expression('datum.g', 'datum.d')}"
    return (
        alt.Chart(data)
        .transform_calculate(alpha="alpha", beta="beta")
        .transform_calculate(g="(1 + alpha) / (1 + beta)", log_d=f"datum.t * {TOP} * LN10 / {STEPS}")
        .transform_calculate(d="exp(datum.log_d)")
        .transform_calculate(n=f"manifolds == '{ALL}' ? {every} : datum.d - 1 + max(1, {manifold})")
        .transform_calculate(efficiency="datum.d / datum.n", colour=COLOUR)
    )


def _present() -> alt.Chart:
    """The one row of the grid at the reader's dictionary size, D interpolated in logarithms."""
    share = f"manifolds == '{ALL}' ? pow(datum.d, datum.g) / datum.n : 1 - (datum.d - 1) / datum.n"
    between = "datum.log_d + (datum.next_log_d - datum.log_d) * (log_d_sae * LN10 - log(datum.n))"
    return (
        _grid()
        .transform_window(next_n="lead(n)", next_log_d="lead(log_d)", sort=[alt.SortField("t")])
        .transform_filter("datum.n <= pow(10, log_d_sae) && datum.next_n > pow(10, log_d_sae)")
        .transform_calculate(log_d=f"{between} / (log(datum.next_n) - log(datum.n))", n="pow(10, log_d_sae)")
        .transform_calculate(d="exp(datum.log_d)")
        .transform_calculate(efficiency="datum.d / datum.n", share=share)
    )


def _shares() -> alt.LayerChart:
    x = alt.X("rank:Q", title="rank of the feature").scale(type="log", domain=[0.6, 10.0**TOP], nice=False)
    y = alt.Y("latents:Q", title="latents it is given").scale(
        type="log", domain=[FLOOR, 10.0**TOP], nice=False
    )
    axis = log_axis(decades(0, TOP, 3))
    colour = alt.Color("colour:N", scale=None)
    here = _present()
    line = (
        here.transform_calculate(place="sequence(0, 101)")
        .transform_flatten(["place"])
        .transform_calculate(rank="exp(datum.log_d * datum.place / 100)")
        .transform_calculate(
            latents=f"manifolds == '{ALL}' ? pow(datum.d / datum.rank, datum.g)"
            " : datum.place == 0 ? datum.share * datum.n : 1"
        )
    )
    area = line.mark_area(opacity=0.35).encode(
        x=x.axis(axis), y=y.axis(axis), y2=alt.datum(FLOOR), color=colour
    )
    edge = line.mark_line(strokeWidth=2).encode(x="rank:Q", y="latents:Q", color=colour)
    words = (
        here.transform_calculate(regime=NAME, found=f"{_human('datum.d')} + ' discovered'")
        .transform_calculate(held="'first feature: ' + format(datum.share, '.1%') + ' of the latents'")
        .transform_calculate(of=f"'of ' + {_human('datum.n')} + ' latents'")
    )
    lines = [
        words.mark_text(align="right", baseline="top", fontSize=12, fontWeight=weight).encode(
            x=alt.value(235), y=alt.value(4 + 17 * k), text=f"{field}:N", **extra
        )
        for k, (field, weight, extra) in enumerate(
            [("regime", 700, {"color": colour}), ("found", 600, {}), ("of", 400, {}), ("held", 400, {})]
        )
    ]
    return alt.layer(area, edge, *lines).properties(width=240, height=270, title="Where the latents go")


def _curve() -> alt.LayerChart:
    x = alt.X("n:Q", title="latents in the dictionary").scale(type="log", domain=[10, 10.0**TOP], nice=False)
    y = alt.Y("efficiency:Q", title="features discovered per latent")
    y = y.scale(type="log", domain=[LEAST, 1.5], nice=False).axis(log_axis(decades(-6, 0, 2), grid=True))
    colour = alt.Color("colour:N", scale=None)
    visible = _grid().transform_filter(f"datum.n >= 10 && datum.n <= 1e{TOP} && datum.efficiency >= {LEAST}")
    line = visible.mark_line(strokeWidth=2).encode(x=x.axis(log_axis(decades(0, TOP, 3))), y=y, color=colour)
    point = _present().mark_circle(size=130, opacity=1).encode(x="n:Q", y="efficiency:Q", color=colour)
    number = _present().transform_calculate(text="format(datum.efficiency, '.3~g')")
    label = number.mark_text(align="left", dx=9, dy=-9, fontWeight=600).encode(
        x="n:Q", y="efficiency:Q", text="text:N"
    )
    return (line + point + label).properties(width=240, height=270, title="What a latent buys")


def _human(value: str) -> str:
    steps = [("1e12", "trillion"), ("1e9", "billion"), ("1e6", "million")]
    words = "".join(
        f"{value} >= 0.9995 * {size} ? format({value} / {size}, '.3~r') + ' {word}' : "
        for size, word in steps
    )
    return f"({words}format({value}, ',.0f'))"
