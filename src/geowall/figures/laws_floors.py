"""Figures of chapter 07 about floors in the lab: by layer, by what is left out, by budget, and planted ones.

>>> ORDER[0], NAMES["without_widest"]
('every', 'without the widest')
"""

from __future__ import annotations

import altair as alt
import pandas as pd

from geowall.figures import theme
from geowall.figures.laws import filled_or_open, on_stream, shades, with_series
from geowall.laws.scaling.rivals import STOPS

NAMES = {
    "every": "every width",
    "kept": "widths that fall",
    "filtered": "all three filters",
    "without_widest": "without the widest",
    "without_narrowest": "without the narrowest",
}
ORDER = list(NAMES)
SHOWN = ("kept", "without_widest", "without_narrowest")  # choices of widths that captions count
FITS = {"curve": "curve", "surface": "surface", "surface_drawn": "surface, checkpoints drawn"}
FORMS = {
    "no_floor": "no floor",
    "with_floor": "with floor",
    "soft_knee": "soft knee",
    "two_power": "two powers",
    "quadratic_n": "quadratic in log n",
    "quadratic_k": "quadratic in log k",
}


def fig_floors(floors: pd.DataFrame, redrawn: pd.DataFrame, k: float) -> alt.TopLevelMixin:
    """Floor of every lab layer as a share of its smallest error, by depth, with both kinds of interval."""
    own = on_stream(floors[(floors["source"] == "lab") & (floors["k"] == k)])
    key = ["model", "layer", "site", "architecture", "schedule"]
    both = own.merge(redrawn[[*key, "low", "high"]], on=key, how="left", suffixes=("", "_documents"))
    for end in ("low", "high", "low_documents", "high_documents"):
        both[end] = both[end] / both["least"]
    table = with_series(
        both[[*key, "n_widths", "floor_share", "low", "high", "low_documents", "high_documents"]]
    )
    panels = [_depth(rows, name, table) for name, rows in table.groupby("series", sort=True)]
    chart = alt.vconcat(
        *[alt.hconcat(*panels[i : i + 2], spacing=14) for i in range(0, len(panels), 2)], spacing=12
    )
    said = [
        f"{name}: {int((rows['low'] > 0).sum())} of {len(rows)} layers by the profile, "
        f"{int((rows['low_documents'] > 0.01).sum())} by the documents"
        for name, rows in table.groupby("series", sort=True)
    ]
    return theme.finish(
        chart,
        "floors",
        caption=f"The fitted floor over the smallest error of the layer, at k = {k:g}: thick bar, 95 % "
        f"profile "
        "interval; thin bar, documents drawn again. One would mean that the widest dictionary is at its "
        "floor. "
        "Intervals clear of zero, " + "; ".join(said) + ".",
        alt="Panels of floor share against layer for each grid of the lab. Intervals clear of zero, "
        + "; ".join(said) + ".",
    )  # fmt: skip


def _depth(rows: pd.DataFrame, name: str, table: pd.DataFrame) -> alt.LayerChart:
    x = alt.X("layer:Q", title="layer").axis(grid=False, tickMinStep=1, tickCount=6)
    x = x.scale(domain=[-0.7, max(3, int(table["layer"].max())) + 0.7], nice=False)
    y = (
        alt.Y("floor_share:Q", title="floor / smallest error")
        .scale(domain=[0, 1.2])
        .axis(tickCount=4, format=".1f")
    )
    base = alt.Chart(rows.drop(columns=["model", "site", "architecture", "schedule"])).encode(
        x=x, color=shades(table, legend=None)
    )
    tooltip = [
        "layer:Q",
        "n_widths:Q",
        *[alt.Tooltip(f"{c}:Q", format=".2f") for c in ("floor_share", "low", "high")],
    ]
    thick = base.mark_rule(strokeWidth=5, opacity=0.35).encode(y=alt.Y("low:Q"), y2="high:Q")
    thin = base.mark_rule(strokeWidth=1.2, opacity=0.8).encode(
        y=alt.Y("low_documents:Q"), y2="high_documents:Q"
    )
    dots = base.mark_circle(size=36, opacity=1).encode(y=y, tooltip=tooltip)
    return alt.layer(thin, thick, dots).properties(width=250, height=120, title=name)


def fig_subsets(subsets: pd.DataFrame, k: float) -> alt.TopLevelMixin:
    """What the choice of widths does to the floors: a dot a layer, open where zero is in the interval."""
    own = subsets[(subsets["source"] == "lab") & (subsets["k"] == k)]
    table = with_series(on_stream(own))
    table = table.assign(chosen=table["subset"].map(NAMES), decided=table["low"] > 0)
    rows = table[["series", "colour", "chosen", "layer", "floor_share", "decided", "n_widths", "alpha_width"]]
    y = alt.Y("chosen:N", sort=[NAMES[name] for name in ORDER], title=None).axis(
        ticks=False, domain=False, labelLimit=160, labelPadding=10
    )
    x = alt.X("floor_share:Q", title="floor / smallest error").axis(format=".1f", tickCount=6)
    hover = ["series:N", "layer:Q", "n_widths:Q", alt.Tooltip("floor_share:Q", format=".2f")]
    hover.append(alt.Tooltip("alpha_width:Q", title="exponent with the floor", format=".2f"))
    colour = shades(table, legend=alt.Legend(orient="top", columns=2))
    offset = alt.YOffset("series:N")
    dots = filled_or_open(
        alt.Chart(rows), "datum.decided", 34, x=x, y=y, yOffset=offset, color=colour, tooltip=hover
    )
    said = "; ".join(f"{NAMES[subset]}, {outside(own, subset)}" for subset in SHOWN)
    return theme.finish(
        alt.layer(*dots).properties(width=400, height=290),
        "subsets",
        caption=f"Floors at k = {k:g} by which widths are fitted, a mark a layer of a grid, open where zero "
        f"is in the 95 % interval. Zero is outside, of layers that have three widths left: {said}.",
        alt=f"Strip chart of floor shares by choice of widths. Zero is outside: {said}.",
    )


def outside(subsets: pd.DataFrame, subset: str) -> str:
    """Say at how many layers of every grid zero stays outside the interval of the floor."""
    table = with_series(on_stream(subsets[subsets["subset"] == subset]))
    said = [
        f"{int((rows['low'] > 0).sum())} of {len(rows)} ({name})"
        for name, rows in table.groupby("series", sort=True)
    ]
    return ", ".join(said)


def fig_budgets(budgets: pd.DataFrame) -> alt.TopLevelMixin:
    """Exponent and floor at matched and at scaled budgets, on the same widths of the same layers."""
    table = budgets.assign(
        series=budgets["schedule"].map({"matched": "matched budget", "scaled": "scaled budget"}),
        colour=budgets["schedule"].map({"matched": theme.GREEN, "scaled": theme.PURPLE}),
    )
    titles = {"alpha_width": "width exponent α", "floor_share": "floor / smallest error"}
    panels = [_budget(table[table["quantity"] == name], title, table) for name, title in titles.items()]
    chart = alt.hconcat(*panels, spacing=16)
    table = table[table["quantity"].isin(list(titles))]
    medians = table.groupby(["quantity", "schedule"])["value"].median()
    said = "; ".join(
        f"{titles[name]} {medians[name, 'matched']:.2f} matched, {medians[name, 'scaled']:.2f} scaled"
        for name in titles
    )
    n = table["layer"].nunique()
    return theme.finish(
        chart,
        "budgets",
        caption="The same layers and widths, trained on the same tokens at every width (matched) or on "
        "tokens "
        f"growing as width^0.65 (scaled). Medians over {n} layer{'s' if n > 1 else ''}: {said}.",
        alt=f"Two panels by layer comparing budgets. Medians: {said}.",
    )


def _budget(rows: pd.DataFrame, title: str, table: pd.DataFrame) -> alt.LayerChart:
    rows = rows[["series", "colour", "layer", "value", "low", "high"]]
    x = alt.X("layer:O", title="layer").axis(grid=False, labelAngle=0)
    base = alt.Chart(rows).encode(
        x=x, xOffset="series:N", color=shades(table, legend=alt.Legend(orient="top"))
    )
    bar = base.mark_rule(strokeWidth=1.5).encode(y=alt.Y("low:Q"), y2="high:Q")
    tooltip = [
        "layer:O",
        "series:N",
        *[alt.Tooltip(f"{c}:Q", format=".3f") for c in ("value", "low", "high")],
    ]
    dots = base.mark_circle(size=40, opacity=1).encode(y=alt.Y("value:Q", title=title), tooltip=tooltip)
    return (bar + dots).properties(width=245, height=170)


def fig_attenuation(split: pd.DataFrame, k: float) -> alt.TopLevelMixin:
    """The exponent with a floor, split into what a law without one finds and what the floor hides."""
    own = on_stream(split[(split["source"] == "published") | (split["k"] == k)])
    own = own[own["architecture"] == "jumprelu"]
    table = with_series(own)
    table["where"] = [
        f"{'L' if s == 'published' else ''}{n}" for s, n in zip(table["source"], table["layer"], strict=True)
    ]
    parts = {"alpha_chord": "found without a floor", "hidden": "hidden by the floor"}
    long = table.melt(["series", "layer", "share"], list(parts), "part", "exponent")
    long["rank"] = long["part"].map({name: i for i, name in enumerate(parts)})
    long["part"] = long["part"].map(parts)
    y = alt.Y("exponent:Q", title="width exponent α").axis(tickCount=4)
    colour = alt.Color("part:N", title=None, sort=list(parts.values())).scale(
        domain=list(parts.values()), range=[theme.BLUE, theme.GREY]
    )
    bars = [
        alt.Chart(rows.drop(columns="series")).mark_bar().encode(
            x=alt.X("layer:O", title="layer").axis(labelAngle=0, labelOverlap=True, ticks=False), y=y,
            color=colour.legend(orient="top"), order=alt.Order("rank:Q"),
            tooltip=["layer:O", "part:N", alt.Tooltip("exponent:Q", format=".3f"),
                     alt.Tooltip("share:Q", title="hidden share", format=".0%")],
        ).properties(width=_wide(rows), height=150, title=name)
        for name, rows in long.groupby("series", sort=False)
    ]  # fmt: skip
    few = [bar for bar in bars if bar.width < 200]
    many = [bar for bar in bars if bar.width >= 200]
    lines = [few, *[many[i : i + 2] for i in range(0, len(many), 2)]]
    chart = alt.vconcat(*[alt.hconcat(*line, spacing=12) for line in lines if line], spacing=10)
    said = "; ".join(
        f"{name}: {rows['share'].median():.0%}" for name, rows in table.groupby("series", sort=False)
    )
    return theme.finish(
        chart,
        "attenuation",
        caption="The exponent with a floor at each layer, split between what a law without one finds, "
        "from the same two widths as in {numref}`fig-exponent-profiles`, and what the floor takes off it. "
        f"Median share hidden by the floor: {said}.",
        alt=f"Stacked bars of exponents by layer. Median share hidden by the floor: {said}.",
    )


def _wide(rows: pd.DataFrame) -> int:
    return 245 if rows["layer"].nunique() > 3 else 110


def fig_rivals(forms: pd.DataFrame) -> alt.TopLevelMixin:
    """How far each form lies above the best one, by AICc and by AIC, a mark a layer."""
    table = with_series(on_stream(forms))
    stop = table["form"].isin(STOPS).map({True: " (stops)", False: ""})
    table = table.assign(form=table["form"].map(FORMS) + stop)
    order = table.groupby("form")["aicc_gap"].median().sort_values().index.tolist()
    panels = [
        _criterion(table, column, title, order, labels=not i)
        for i, (column, title) in enumerate({"aicc_gap": "AICc", "aic_gap": "AIC"}.items())
    ]
    best = {c: table[table[f"{c}_gap"] == 0].groupby("form").size() for c in ("aicc", "aic")}
    said = {c: ", ".join(f"{form} {best[c][form]}" for form in order if form in best[c]) for c in best}
    words = f"by AICc {said['aicc']}; by AIC {said['aic']}"
    layers = len(table.drop_duplicates(["series", "layer"]))
    return theme.finish(
        alt.hconcat(*panels, spacing=12),
        "law-forms",
        caption=f"Rival forms fitted to the checkpoints of {layers} layers and grids; zero is the layer's "
        f"best. A floor and a soft knee stop at a positive error. Best forms {words}.",
        alt=f"Two strip charts of AICc and AIC differences by form. Best forms {words}.",
    )


def _criterion(table: pd.DataFrame, column: str, title: str, order: list[str], labels: bool) -> alt.Chart:
    rows = table[["series", "colour", "layer", "form", "n_parameters", "n_checkpoints"]]
    rows = rows.assign(gap=table[column].clip(upper=40))
    y = alt.Y("form:N", sort=order, title=None).axis(
        labels=labels, ticks=False, domain=False, labelLimit=160, labelPadding=10
    )
    x = alt.X("gap:Q", title=f"{title} above the best (to 40)").axis(tickCount=5)
    dots = alt.Chart(rows).mark_circle(size=30, opacity=0.7).encode(
        x=x, y=y, yOffset="series:N", color=shades(table, legend=alt.Legend(orient="top", columns=3)),
        tooltip=["series:N", "layer:Q", "form:N", alt.Tooltip("gap:Q", format=".1f"), "n_parameters:Q",
                 "n_checkpoints:Q"],
    )  # fmt: skip
    return dots.properties(width=185, height=230)


def fig_planted(known: pd.DataFrame) -> alt.TopLevelMixin:
    """Bias, coverage and decisions on curves with a planted floor, as they are and after the filters."""
    table = known.assign(
        noise=known["sigma"].map("noise {:.1%}".format),
        how=known["filtered"].map({False: "all widths", True: "after filters i and ii"}),
        widths=known["n_widths"].astype(str) + " widths",
    )
    columns = ["noise", "how", "widths", "floor_share", "bias", "coverage", "decided", "n_curves"]
    panels = [
        _planted(table[columns], value, title, target)
        for value, title, target in (
            ("bias", "median error of the floor share", 0.0),
            ("coverage", "intervals that hold the truth", 0.95),
            ("decided", "intervals that exclude zero", None),
        )
    ]
    chart = alt.hconcat(*panels, spacing=10)
    whole, cut = known[~known["filtered"]], known[known["filtered"]]
    false, made = whole[whole["floor_share"] == 0], cut[cut["floor_share"] == 0]
    said = (
        f"coverage {whole['coverage'].min():.0%} to {whole['coverage'].max():.0%}; without a floor a "
        f"floor is "
        f"claimed {false['decided'].max():.0%} of the time at most, yet after the filters its median is "
        f"up to "
        f"{made['bias'].max():.0%} of the error"
    )
    return theme.finish(
        chart,
        "planted",
        caption="Curves with a known floor, by its share of the error at the widest dictionary. Solid: "
        "all widths; "
        f"dashed: after the paper's filters i and ii. Of all widths, {said}.",
        alt=f"Three panels for curves with planted floors. {said}.",
    )


def _planted(table: pd.DataFrame, value: str, title: str, target: float | None) -> alt.LayerChart:
    x = alt.X("floor_share:Q", title="planted share").axis(values=[0, 0.3, 0.6, 0.9], grid=False)
    y = alt.Y(f"{value}:Q", title=None).axis(format=".0%", tickCount=5)
    if target:
        y = y.scale(domain=[min(0.85, table[value].min()), 1.0], nice=False, zero=False)
    colour = alt.Color("widths:N", title=None).scale(range=[theme.RED, theme.ORANGE, theme.BLUE])
    shown = table[table["noise"] == table["noise"].max()]
    lines = alt.Chart(shown).mark_line(point=alt.OverlayMarkDef(size=25)).encode(
        x=x, y=y, color=colour.legend(orient="top"), detail="how:N",
        strokeDash=alt.StrokeDash("how:N", legend=None).scale(
            domain=["all widths", "after filters i and ii"], range=[[1, 0], [4, 3]]),
        tooltip=["widths:N", "noise:N", "how:N", "n_curves:Q", alt.Tooltip(f"{value}:Q", format=".1%")],
    )  # fmt: skip
    layers = [lines]
    if target is not None:
        rule = alt.Chart(pd.DataFrame({"target": [target]})).mark_rule(strokeDash=[2, 3], opacity=0.7)
        layers.insert(0, rule.encode(y="target:Q"))
    return alt.layer(*layers).properties(width=146, height=150, title=alt.Title(title, fontSize=11))


def fig_recovered(found: pd.DataFrame) -> alt.TopLevelMixin:
    """Bias and coverage of floors and exponents planted on the lab's own design, by curve and by surface."""
    found = found[found["fit"] != "no_floor"].assign(fit=lambda t: t["fit"].map(FITS))
    table = found.assign(exponent=found["alpha_width"].map("exponent {:g}".format))
    titles = {"floor": "floor over the error", "alpha_width": "exponent"}
    noise = (
        found.drop_duplicates("fit").set_index("fit")["sigma"].drop(FITS["surface_drawn"], errors="ignore")
    )
    panels = []
    for quantity, name in titles.items():
        rows = table[table["quantity"] == quantity]
        cut = rows.assign(bias=rows["bias"].clip(-0.25, 0.25))
        wrong = _recovered(cut, "bias", f"{name}: median error", 0.0)
        panels.append(alt.hconcat(wrong, _recovered(rows, "coverage", f"{name}: coverage", 0.95), spacing=14))
    words = "; ".join(
        f"{titles[quantity]}, by {fit}: {rows['coverage'].min():.0%} to {rows['coverage'].max():.0%}"
        for (quantity, fit), rows in found.groupby(["quantity", "fit"], sort=False)
    )
    return theme.finish(
        alt.vconcat(*panels, spacing=12),
        "planted-surfaces",
        caption="Laws planted on the widths and sparsities that the lab really trained, fitted at one "
        "sparsity (curve) and over all of them (surface), by the planted share of the floor in the error at "
        "the widest dictionary, under the noise that each leaves in the lab: "
        f"{', '.join(f'{sigma:.1%} ({fit})' for fit, sigma in noise.items())}. Intervals are profiles, or "
        "the middle of draws of the checkpoints; median errors are cut at a quarter. How many of the 95 % "
        f"intervals hold the truth: {words}.",
        alt=f"Four panels of bias and coverage against the planted share of the floor. Coverage: {words}.",
    )


def _recovered(rows: pd.DataFrame, value: str, title: str, target: float) -> alt.LayerChart:
    share = value == "coverage"
    x = alt.X("floor_share:Q", title="planted share").axis(tickCount=5, grid=False, format=".1f")
    y = alt.Y(f"{value}:Q", title=None).axis(format=".0%" if share else ".2f", tickCount=5)
    domain = [min(0.75, rows[value].min()), 1.0] if share else [-0.25, 0.25]
    y = y.scale(domain=domain, nice=False, zero=False)
    colour = alt.Color("fit:N", title=None).scale(
        domain=list(FITS.values()), range=[theme.ORANGE, theme.BLUE, theme.GREY]
    )
    dash = alt.StrokeDash("exponent:N", title=None).legend(orient="top", symbolType="stroke")
    lines = alt.Chart(rows).mark_line(point=alt.OverlayMarkDef(size=28)).encode(
        x=x, y=y, color=colour.legend(orient="top"), strokeDash=dash,
        tooltip=["fit:N", "exponent:N", "floor_share:Q", "n_curves:Q",
                 *[alt.Tooltip(f"{c}:Q", format=".3f") for c in ("bias", "spread", "coverage", "decided")]],
    )  # fmt: skip
    rule = alt.Chart(pd.DataFrame({"target": [target]})).mark_rule(strokeDash=[2, 3], opacity=0.7)
    return (rule.encode(y="target:Q") + lines).properties(width=225, height=130, title=title)
