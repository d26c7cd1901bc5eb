"""The figures of chapter 08 that show the law: layers, fits, hypotheses, and the paper's numbers beside ours.

>>> from geowall.laws import published, printed
>>> layers = published.per_layer(published.read(published.LAYERS), k=50)
>>> fig_layers(layers, "alpha_k50").usermeta["name"]
'fig-layers'
"""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import numpy as np
import pandas as pd

from geowall.figures import theme
from geowall.figures.claim import declutter
from geowall.figures.marks import WORDS, colour, hypothesis, key, log_ticks, named, reach, short, signed
from geowall.laws.printed import VERDICTS


def _hovers(*names: str) -> list[alt.Parameter]:
    """One selection for each panel: Vega-Lite cannot share a nearest-point selection between panels."""
    return [alt.selection_point(name=n, on="pointerover", fields=["where"], nearest=True) for n in names]


def _strength(hovers: list[alt.Parameter]) -> alt.Condition:
    chosen = hovers[0]
    for hover in hovers[1:]:
        chosen = chosen & hover
    return alt.when(chosen).then(alt.value(1)).otherwise(alt.value(0.15))


def _prepared(layers: pd.DataFrame, target: str) -> pd.DataFrame:
    columns = ["model", "layer", "d_int", "kappa_ms", "kappa_tv", "nu", target, "alpha_extrapolated"]
    table = named(layers[columns].rename(columns={target: "exponent"}))
    table["where"] = table["name"] + " layer " + table["layer"].astype(str)
    return table


def _tooltip(*columns: str) -> list[alt.Tooltip]:
    """Name the layer and its exponent, then the given summaries."""
    first = [
        alt.Tooltip("where:N", title="layer"),
        alt.Tooltip("exponent:Q", title="exponent α", format=".3f"),
    ]
    return first + [alt.Tooltip(f"{c}:Q", title=WORDS[c], format=".3~g") for c in columns]


def _marks(
    base: alt.Chart, strong: alt.Condition, hover: alt.Parameter | None, *summaries: str, size: int = 28
) -> alt.Chart:
    """Filled dots for measured exponents, open ones for extrapolated exponents."""
    fill = alt.condition(
        "datum.alpha_extrapolated", alt.value("transparent"), alt.Fill("name:N", legend=None)
    )
    dots = base.mark_point(size=size, strokeWidth=1.6).encode(
        opacity=strong, fill=fill, tooltip=_tooltip(*summaries)
    )
    return dots.add_params(hover) if hover is not None else dots


def fig_layers(layers: pd.DataFrame, target: str) -> alt.TopLevelMixin:
    """The exponent and the four summaries by depth; pointing at an exponent marks its layer in all panels."""
    table = _prepared(layers, target).round(5)
    hovers = _hovers("profile_hover")
    strong = _strength(hovers)
    exponent = alt.Y("exponent:Q", title="width exponent α").scale(
        domain=reach(table["exponent"], 0, 0.72), nice=False
    )
    base = alt.Chart(table).encode(color=colour(table))
    depth = alt.X("layer:Q", title="layer").scale(domain=[0, table["layer"].max() + 1], nice=False)
    depth = depth.axis(grid=False, tickCount=6)
    line = base.mark_line(strokeWidth=1, opacity=0.4)
    profile = line.encode(x=depth, y=exponent) + _marks(
        base.encode(x=depth, y=exponent), strong, hovers[0], *WORDS
    )
    top = (profile + key(table, 505, 14, align="right")).properties(width=512, height=170)
    small = [_small_profile(base, line, depth, column, title, strong) for column, title in WORDS.items()]
    chart = alt.vconcat(
        top, alt.hconcat(*small[:2], spacing=20), alt.hconcat(*small[2:], spacing=20), spacing=14
    )
    return theme.finish(chart, "layers", **_layers_words(table))


def _small_profile(
    base: alt.Chart, line: alt.Chart, depth: alt.X, column: str, title: str, strong: alt.Condition
) -> alt.LayerChart:
    y = alt.Y(f"{column}:Q", title=None).scale(zero=False).axis(tickCount=4)
    panel = line.encode(x=depth, y=y) + _marks(base.encode(x=depth, y=y), strong, None, column, size=14)
    return panel.properties(width=243, height=105, title=title)


def _layers_words(table: pd.DataFrame) -> dict[str, str]:
    low, high = table.loc[table["exponent"].idxmin()], table.loc[table["exponent"].idxmax()]
    r = np.corrcoef(np.log(table["kappa_ms"]), table["exponent"])[0, 1]
    marked = int(table["alpha_extrapolated"].sum())
    caption = (
        f"All {len(table)} layers {{cite:p}}`zaher2026`: the exponent and the four geometric summaries by "
        f"depth. The exponent correlates with the logarithm of curvature at {r:.2f}. Point at one to find "
        f"its layer in every panel. The {marked} open marks are "
        "extrapolated exponents. Everything here is a smooth curve over depth: that is what the "
        "controls are about."
    ).replace("-0.", "−0.")
    words = (
        f"Five linked panels for {len(table)} layers of {' and '.join(dict.fromkeys(table['name']))}. The "
        f"exponent falls from {high['exponent']:.2f} at {high['where']} to {low['exponent']:.2f} at "
        f"{low['where']} and rises a little towards the end, while curvature and tangent variation rise "
        "and level off and dimension and heterogeneity peak at mid-depth."
    )
    return {"caption": caption, "alt": words}


def fig_fits(layers: pd.DataFrame, influence: pd.DataFrame, target: str) -> alt.TopLevelMixin:
    """The exponent against each summary with the fitted law of each model (``influence`` holds the fits)."""
    table = _prepared(layers, target).round(5)  # one data set for all panels
    hovers = _hovers(*(f"fit_hover_{column}" for column in WORDS))
    strong = _strength(hovers)
    panels = []
    for i, (column, title) in enumerate(WORDS.items()):
        fits = influence[influence["features"] == column]
        both = table[["model", "layer", column]].merge(
            fits[["model", "layer", "fitted"]], on=["model", "layer"]
        )
        r2 = {m: 1 - _ratio(fits[fits["model"] == m]) for m in dict.fromkeys(fits["model"])}
        x = alt.X(f"{column}:Q", title=title).scale(type="log", nice=False, padding=12)
        x = x.axis(values=log_ticks(both[column]), format="~g", grid=False)
        y = alt.Y("exponent:Q", title="exponent α" if i % 2 == 0 else None)
        base = alt.Chart(table).encode(x=x, color=colour(table))
        y = y.scale(domain=reach(table["exponent"], 0, 0.72), nice=False)
        law = alt.Chart(_law(both, column)).mark_line(strokeWidth=1.6, opacity=0.7)
        law = law.encode(x=x, y=alt.Y("fitted:Q"), color=colour(table))
        labels = pd.DataFrame(
            {"model": list(r2), "text": [f"{short(m)}  R² = {v:.2f}" for m, v in r2.items()]}
        )
        labels["top"] = [6.0 + 15 * n for n in range(len(labels))]
        words = alt.Chart(named(labels)).mark_text(align="right", fontWeight=600, fontSize=12)
        words = words.encode(x=alt.value(248), y=alt.Y("top:Q", scale=None, axis=None), text="text:N")
        panel = (
            law
            + _marks(base.encode(y=y), strong, hovers[i], column, size=24)
            + words.encode(color=colour(table))
        )
        panels.append(panel.properties(width=250, height=170))
    chart = alt.vconcat(
        alt.hconcat(*panels[:2], spacing=16), alt.hconcat(*panels[2:], spacing=16), spacing=14
    )
    error = influence.groupby("features")[["value", "fitted"]].apply(_ratio)
    best = influence[influence["features"] == error.idxmin()]
    found = " and ".join(
        f"{1 - _ratio(fits):.3f} ({short(model)})" for model, fits in best.groupby("model", sort=False)
    )
    return theme.finish(
        chart,
        "fits",
        caption="The exponent against each summary, on a log axis, with the law fitted to each model "
        f"after clipping (hence the flat ends). The tightest is {WORDS[error.idxmin()]}: $R^2$ = "
        f"{found}. Point at a layer to find it in all panels.",
        alt="Four scatter plots of the width exponent against intrinsic dimension, curvature, tangent "
        "variation and heterogeneity. In each the exponent falls; the tightest is "
        f"{WORDS[error.idxmin()]}, with R2 of {found}.",
    )


def _law(both: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return the corners of each model's law: straight in the logarithm inside the clip bounds, else flat."""
    made = []
    for model, fits in both.sort_values(column).groupby("model", sort=False):
        x, y = np.log(fits[column].to_numpy()), fits["fitted"].to_numpy()
        slope, level = np.polyfit(x[1:-1], y[1:-1], 1)  # only the outermost layers can lie outside the bounds
        corners = [x[0], (y[0] - level) / slope, (y[-1] - level) / slope, x[-1]]
        made.append(pd.DataFrame({"model": model, column: np.exp(corners), "fitted": y[[0, 0, -1, -1]]}))
    return named(pd.concat(made))


def _ratio(fits: pd.DataFrame) -> float:
    y = fits["value"]
    return float(((y - fits["fitted"]) ** 2).sum() / ((y - y.mean()) ** 2).sum())


def table_of_correlations(printed: pd.DataFrame) -> str:
    """Pearson correlations over all layers, ours and the paper's (the rows of Fig. 5 in ``printed``)."""
    table = printed[printed["table"] == "Fig. 5"]
    names = ["d_int", "kappa_ms", "kappa_tv", "nu", "alpha_k50"]
    labels = {name: "exponent α" if name == "alpha_k50" else hypothesis(name) for name in names}
    cells = {
        (row.target, row.features): f"{signed(row.recomputed, '.3f')} ({signed(row.printed)})"
        for row in table.itertuples()
    }
    lines = ["", *(labels[name] for name in names[:-1])], ["---"] * len(names)
    body = [[labels[row], *(cells.get((row, column), "") for column in names[:-1])] for row in names[1:]]
    text = "\n".join("| " + " | ".join(line) + " |" for line in [*lines, *body])
    top = table.loc[table["recomputed"].abs().idxmax()]
    return (
        f"Correlations over all layers of both models, in brackets as printed:\n\n{text}\n\n"
        f"The four summaries are nearly one variable: {labels[top['features']]} and {labels[top['target']]} "
        f"correlate at {top['recomputed']:.2f}. The largest difference from the paper is "
        f"{table['difference'].abs().max():.4f}."
    )


STATISTIC_LABELS = {
    "r2": "R²",
    "loo_r2": "leave-1-out R²",
    "l2o_r2": "leave-2-out R²",
    "l3o_r2": "leave-3-out R²",
    "aic": "AIC",
    "bic": "BIC",
    "f_vs_h0": "F",
    "transfer_r2": "transfer R²",
    "test_in_sample_r2": "R² where tested",
    "pearson_r": "correlation",
}


def fig_printed(printed: pd.DataFrame) -> alt.TopLevelMixin:
    """Every printed number against ours: the difference, in units of the last printed digit."""
    table = printed.assign(
        units=printed["difference"] / printed["unit"],
        kind=printed["statistic"].map(STATISTIC_LABELS),
        hypothesis=printed["features"].map(hypothesis),
        model=printed["test_model"].map(short),
    )
    order = [label for label in STATISTIC_LABELS.values() if (table["kind"] == label).any()]
    domain = [-1.0, 0.65]
    x = alt.X("units:Q", title="recomputed − printed, in units of the last printed digit")
    x = x.scale(domain=domain).axis(values=[-0.5, 0, 0.5], format=".1f")
    y = alt.Y("kind:N", sort=order, title=None).axis(domain=False, ticks=False, labelPadding=8)
    y = y.scale(domain=order, paddingInner=0.25, paddingOuter=0.2)
    band = alt.Chart(pd.DataFrame({"low": [-0.5], "high": [0.5]})).mark_rect(fill=theme.GREEN, opacity=0.14)
    band = band.encode(x=alt.X("low:Q", scale=alt.Scale(domain=domain)), x2="high:Q")
    edges = alt.Chart(pd.DataFrame({"edge": [-0.5, 0.5]})).mark_rule(strokeDash=[4, 3], opacity=0.6)
    outside = table[table["agrees"] != "as printed"][["units", "kind", "table", "hypothesis"]]
    outside = outside.assign(label=outside["table"] + ", " + outside["hypothesis"])
    label = alt.Chart(outside[["units", "kind", "label"]]).mark_text(align="right", dx=-9, dy=4, fontSize=11)
    label = label.encode(x=x, y=y, text="label:N")
    chart = band + edges.encode(x="edge:Q") + _printed_points(table, x, y) + label
    chart = chart.properties(width=440, height=26 * len(order))
    return theme.finish(chart, "printed", **_printed_words(table))


def _printed_points(table: pd.DataFrame, x: alt.X, y: alt.Y) -> alt.Chart:
    shown = [
        "table",
        "model",
        "target",
        "hypothesis",
        "kind",
        "printed",
        "recomputed",
        "units",
    ]
    rounded = table[shown].round({"recomputed": 5, "units": 3})
    # A digit for a word: there are hundreds of rows.
    rounded["verdict"] = table["agrees"].map(VERDICTS.index)
    targets = list(dict.fromkeys(table["target"]))
    rounded["target"] = table["target"].map(targets.index)
    tooltip = [
        *(alt.Tooltip("named:N", title=c) if c == "target" else f"{c}:N" for c in shown[:5]),
        "printed:Q",
        alt.Tooltip("recomputed:Q", format=".5f"),
        alt.Tooltip("difference:Q", title="recomputed − printed", format="+.5f"),
        "agrees:N",
    ]
    scale = alt.Scale(domain=list(VERDICTS), range=[theme.BLUE, theme.ORANGE, theme.RED])
    usual = "datum.verdict == 0"
    return (
        alt.Chart(rounded)
        .transform_calculate(agrees=f"{list(VERDICTS)}[datum.verdict]", named=f"{targets}[datum.target]")
        # The golden ratio spreads the points of a row evenly.
        .transform_window(place="row_number()", groupby=["kind"])
        .transform_calculate(jitter="(datum.place * 0.618034) % 1")
        .transform_calculate(difference="datum.recomputed - datum.printed")
        .mark_circle()
        .encode(
            x=x,
            y=y,
            yOffset=alt.YOffset("jitter:Q", scale=alt.Scale(domain=[0, 1])),
            color=alt.Color("agrees:N", scale=scale, legend=None),
            opacity=alt.condition(usual, alt.value(0.65), alt.value(1)),
            size=alt.condition(usual, alt.value(24), alt.value(90)),
            tooltip=tooltip,
        )
    )


def _printed_words(table: pd.DataFrame) -> dict[str, str]:
    counts = table["agrees"].value_counts()
    same, near, off = (int(counts.get(v, 0)) for v in VERDICTS)
    odd = "".join(
        f" {row.table}, {row.features}, {STATISTIC_LABELS[row.statistic]} of {row.target} comes out at "
        f"{row.recomputed:.5f} where {row.printed:g} is printed: "
        f"{abs(row.difference) - row.unit / 2:.1e} beyond "
        f"rounding, and reading the inputs off a drawing can move it by {row.reading_error:.1e}."
        for row in table[table["agrees"] != "as printed"].itertuples()
    )
    caption = (
        f"Each dot is one of {len(table)} printed numbers. Inside the band a recomputed number rounds to "
        f"the printed one: {same} do, {near} {'does' if near == 1 else 'do'} within the error of reading "
        f"the inputs, {off} {'does' if off == 1 else 'do'} not."
    )
    return {
        "caption": caption + odd,
        "alt": f"Strips of dots within plus or minus half a unit: {caption}{odd}",
    }


TARGET_LABELS = {"beta_n": "coefficient β_n", "gamma": "coefficient γ"}


def fig_hierarchy(stage2: pd.DataFrame) -> alt.TopLevelMixin:
    """In-sample (filled) and leave-one-out (open) R2 of every hypothesis of the paper, for each target."""
    geometry = (
        stage2["features"].str.split("+").map(lambda t: set(t) <= {"d_int", "kappa_ms", "kappa_tv", "nu"})
    )
    table = named(stage2[geometry & (stage2["dropped_layers"] == stage2["dropped_layers"].min())])
    pairs = table["features"].str.count(r"\+") == 1
    table["hypothesis"] = table["features"].map(hypothesis).mask(pairs, "least correlated pair")
    order = ["d_int", "κ_ms", "κ_tv", "ν", "least correlated pair", "all four"]
    panels = []
    for i, target in enumerate(dict.fromkeys(table["target"])):
        panel = _hierarchy_panel(table[table["target"] == target], order, first=i == 0)
        title = TARGET_LABELS.get(target, "exponent α")
        panels.append(panel.properties(width=142, height=250, title=title))
    chart = alt.hconcat(*panels, spacing=12)
    drop = table.assign(gap=table["r2"] - table["loo_r2"]).sort_values("gap").iloc[-1]
    full = table[table["features"].str.count(r"\+") == 3].set_index(["target", "name"])
    one = table[table["features"] == "kappa_ms"].set_index(["target", "name"])
    worse = int((full["loo_r2"] < one["loo_r2"].reindex(full.index)).sum())
    caption = (
        "How well each hypothesis fits all layers (filled) and predicts a layer it has not seen (open). "
        "With all four summaries the fit is always best and the prediction is worse than with κ_ms alone "
        f"in {worse} of {len(full)} cases; the largest loss is "
        f"{TARGET_LABELS.get(drop['target'], 'exponent α')} at {drop['name']}, from {drop['r2']:.2f} to "
        f"{drop['loo_r2']:.2f}."
    )
    words = "; ".join(
        f"{row.target} {row.name_} {row.hypothesis}: {row.r2:.2f} in sample, {row.loo_r2:.2f} left out"
        for row in table[table["features"].isin(["kappa_ms"]) | (table["hypothesis"] == "all four")]
        .rename(columns={"name": "name_"})
        .itertuples()
    )
    return theme.finish(chart, "hierarchy", caption=caption, alt=f"Dumbbells for three targets. {words}.")


def _hierarchy_panel(table: pd.DataFrame, order: Sequence[str], first: bool) -> alt.LayerChart:
    axis = alt.Axis(labels=first, ticks=False, domain=False, labelLimit=150, labelPadding=6)
    y = alt.Y("hypothesis:N", sort=list(order), title=None, axis=axis)
    y = y.scale(domain=list(order), paddingInner=0.3, paddingOuter=0.15)
    offset = alt.YOffset("name:N").scale(paddingOuter=0.3)
    tooltip = [
        alt.Tooltip("name:N", title="model"),
        alt.Tooltip("features:N"),
        alt.Tooltip("r2:Q", title="R²", format=".3f"),
        alt.Tooltip("loo_r2:Q", title="leave-1-out", format=".3f"),
        alt.Tooltip("l3o_r2:Q", title="leave-3-out", format=".3f"),
        alt.Tooltip("aic:Q", title="AIC", format=".0f"),
        alt.Tooltip("f_vs_h0:Q", title="F", format=".0f"),
        alt.Tooltip("p_value:Q", title="p of F", format=".1e"),
    ]
    base = alt.Chart(table.round({"r2": 4, "loo_r2": 4, "l3o_r2": 4, "aic": 1, "f_vs_h0": 1}))
    x = (
        alt.X("r2:Q", title="R²")
        .scale(domain=reach(table["loo_r2"], 0, 1), nice=False)
        .axis(values=[0, 0.25, 0.5, 0.75, 1], format="~g")
    )
    bar = base.mark_rule(strokeWidth=2.5, opacity=0.45, clip=True).encode(x=x, x2="loo_r2:Q")
    filled = base.mark_circle(size=55, opacity=1).encode(x=x, tooltip=tooltip)
    hollow = base.mark_point(size=45, strokeWidth=1.8, opacity=1, clip=True).encode(x="loo_r2:Q")
    panel = alt.layer(bar, hollow, filled).encode(y=y, yOffset=offset, color=colour(table))
    return panel + key(table, 5, 12) if first else panel


def fig_sparsity(sweep: pd.DataFrame, printed: pd.DataFrame) -> alt.TopLevelMixin:
    """Leave-one-out R2 of curvature and of depth against the sparsity at which the exponent is read."""
    table = named(sweep)
    table["hypothesis"] = table["features"].map(hypothesis)
    rings = printed[printed["table"] == "k sweep"].rename(columns={"test_model": "model"})
    rings = named(rings.assign(k=rings["target"].str.removeprefix("alpha_k").astype(int)))
    x = alt.X("k:Q", title="active latents k at which the exponent is read")
    x = x.scale(type="log", domain=[14.5, 118], nice=False).axis(values=sorted(set(table["k"])), grid=False)
    y = alt.Y("loo_r2:Q", title="leave-one-out R²").scale(domain=reach(table["loo_r2"], 0.82, 1), nice=False)
    dash = alt.StrokeDash("features:N", legend=None).scale(
        domain=["kappa_ms", "depth"], range=[[1, 0], [5, 4]]
    )
    tooltip = [
        "name:N",
        "k:Q",
        "hypothesis:N",
        alt.Tooltip("loo_r2:Q", format=".4f"),
        alt.Tooltip("loo_from:Q", title="95 % from", format=".3f"),
        alt.Tooltip("loo_to:Q", title="to", format=".3f"),
        alt.Tooltip("r2:Q", format=".4f"),
    ]
    base = alt.Chart(table).encode(x=x, y=y, color=colour(table), detail="features:N")
    lines = base.mark_line(strokeWidth=2).encode(strokeDash=dash)
    points = base.mark_circle(size=36, opacity=1).encode(tooltip=tooltip)
    theirs = (
        alt.Chart(rings)
        .mark_point(size=150, strokeWidth=1.4)
        .encode(
            x=x,
            y=alt.Y("printed:Q"),
            color=colour(table),
            tooltip=["name:N", "k:Q", alt.Tooltip("printed:Q", format=".2f")],
        )
    )
    ends = table[table["k"] == table["k"].max()].copy()
    ends["height"] = declutter(ends["loo_r2"], gap=0.0105)
    ends["label"] = ends["name"] + " " + ends["hypothesis"]
    labels = (
        alt.Chart(ends)
        .mark_text(align="left", dx=13, fontSize=12)
        .encode(x=x, y=alt.Y("height:Q"), text="label:N", color=colour(table))
    )
    chart = (lines + theirs + points + labels).properties(width=520, height=250)
    caption = _sparsity_words(table)
    return theme.finish(
        chart, "sparsity", caption=caption, alt=f"Lines of leave-one-out R2 against k. {caption}"
    )


def _sparsity_words(table: pd.DataFrame) -> str:
    span = table[table["features"] == "kappa_ms"].groupby("name", sort=False)["loo_r2"].agg(["first", "last"])
    words = " and ".join(
        f"from {row['first']:.3f} to {row['last']:.3f} ({name})" for name, row in span.iterrows()
    )
    ks = sorted(set(table["k"]))
    wide = table.pivot(index=["name", "k"], columns="features", values="loo_r2")
    ahead = (wide["depth"] > wide["kappa_ms"]).groupby("name").sum()
    counts = ", ".join(f"{n} of {len(ks)} ({name})" for name, n in ahead.items())
    sure = "; ".join(
        f"{hypothesis(features)} at {name} {signed(rows['loo_from'].min())} to {signed(rows['loo_to'].max())}"
        for (features, name), rows in table.groupby(["features", "name"], sort=False)
    )
    return (
        "Prediction of unseen layers by curvature (solid) and by depth (dashed) when the exponent is read "
        f"at k = {ks[0]} to {ks[-1]}. Rings: the paper's two decimals. Curvature goes {words}. Depth is "
        f"ahead at this many values of k: {counts}. The 95 % intervals from blocks of layers (point at a "
        f"dot) are wider than the axis; over all k they run: {sure}."
    )
