"""The figures of chapter 08 on other readings of the exponent, pooled rows and all directions.

>>> import pandas as pd
>>> table = pd.DataFrame({"model": ["lab-small"], "features": ["nu"], "row_r2": [0.9], "layer_r2": [0.4]})
>>> fig_pooled(table.assign(r2=0.92), table.assign(r2=0.95)).usermeta["name"]
'fig-pooled'
"""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import pandas as pd

from geowall.figures import theme
from geowall.figures.marks import colour, hypothesis, listed, named, names_in_colour, short, signed, spoken

METRIC_WORDS = {
    "nmse": "NMSE, trimmed (paper)",
    "nmse_median": "NMSE, median token",
    "nmse_mean": "NMSE, plain mean",
    "fvu": "FVU, about the mean",
    "cosine": "cosine distance",
}
FORM_WORDS = {"no_floor": "surface", "no_floor_all": "surface, all widths", "secant": "chord"}


def fig_readings(readings: pd.DataFrame, usual: str) -> alt.TopLevelMixin:
    """Correlate the exponent with geometry and depth for every measure of error and every form of the law."""
    one = readings[(readings["form"] == usual) | (readings["metric"] == "nmse")]
    words = one["metric"].map(METRIC_WORDS)
    table = named(one.assign(row=words.where(one["form"] == usual, "NMSE, " + one["form"].map(FORM_WORDS))))
    order = list(dict.fromkeys([*table.loc[table["form"] == usual, "row"], *table["row"]]))
    panels = []
    for i, features in enumerate(dict.fromkeys(table["features"])):
        rows = table[table["features"] == features]
        axis = alt.Axis(labels=i == 0, ticks=False, domain=False, labelPadding=6, labelLimit=170)
        y = alt.Y("row:N", sort=order, title=None, axis=axis).scale(domain=order)
        x = alt.X("correlation:Q", title="correlation").scale(domain=[-1, 1], nice=False)
        x = x.axis(values=[-1, 0, 1])
        tooltip = ["name:N", "row:N", *(alt.Tooltip(f"{c}:Q", format=".2f")
                                        for c in ("correlation", "loo_r2", "agreement"))]  # fmt: skip
        points = alt.Chart(rows).mark_circle(size=65, opacity=0.9)
        points = points.encode(x=x, y=y, color=colour(table), tooltip=tooltip)
        zero = alt.Chart(pd.DataFrame({"zero": [0]})).mark_rule(strokeDash=[3, 3], opacity=0.6)
        panel = zero.encode(x="zero:Q") + points
        panels.append(panel.properties(width=125, height=24 * len(order), title=hypothesis(features)))
    least = table.groupby("name", sort=False)["agreement"].min().to_dict()
    spans = "; ".join(
        f"{hypothesis(f)} {spoken([f'{lo:.2f} to {hi:.2f} ({short(m)})' for m, lo, hi in _spans(rows)])}"
        for f, rows in table.groupby("features", sort=False)
    ).replace("-0", "−0")
    return theme.finish(
        alt.vconcat(names_in_colour(table), alt.hconcat(*panels, spacing=14), spacing=8),
        "readings",
        caption="Correlation of the exponent with curvature, dimension and depth, for five measures of the "
        "error and three forms of the law. Exponents read in another way correlate with the usual ones at "
        f"{listed(least)} or more. Range over all readings: {spans}.",
        alt=f"Dots in three panels. {spans}.",
    )


def _spans(rows: pd.DataFrame) -> list[tuple[str, float, float]]:
    ends = rows.groupby("model", sort=False)["correlation"].agg(["min", "max"])
    return [(model, row["min"], row["max"]) for model, row in ends.iterrows()]


def fig_pooled(checkpoints: pd.DataFrame, curves: pd.DataFrame) -> alt.TopLevelMixin:
    """R2 on left-out rows (filled) and on left-out layers (open) where rows of all layers are pooled."""
    panels, said = [], []
    tables = {"Log error of every checkpoint": checkpoints, "Exponent at every sparsity": curves}
    everyone = named(pd.concat(tables.values()))
    for i, (title, rows) in enumerate(tables.items()):
        table = named(rows).assign(row=rows["features"].map(_pooled_name))
        panels.append(_pooled_panel(table, everyone, first=i == 0).properties(title=title))
        lost = (table["row_r2"] - table["layer_r2"]).max()
        worst = table.loc[(table["row_r2"] - table["layer_r2"]).idxmax()]
        said.append(f"{title.lower()}: up to {lost:.2f} ({worst['name']}, {worst['row']})")
    words = "; ".join(said)
    return theme.finish(
        alt.vconcat(names_in_colour(everyone), alt.hconcat(*panels, spacing=14), spacing=8),
        "pooled",
        caption="Regressions on more than one row a layer: $R^2$ on left-out rows (filled) and on left-out "
        "layers (open), which says whether a new layer could be predicted. What siblings of a left-out row "
        f"give away, {words}.",
        alt=f"Dumbbells in two panels. Largest losses: {words}.",
    )


def _pooled_name(features: str) -> str:
    return "no geometry" if features == "none" else hypothesis(features)


def _pooled_panel(table: pd.DataFrame, everyone: pd.DataFrame, first: bool) -> alt.LayerChart:
    order = list(dict.fromkeys(everyone["features"].map(_pooled_name)))
    axis = alt.Axis(labels=first, ticks=False, domain=False, labelLimit=150, labelPadding=6)
    y = alt.Y("row:N", sort=order, title=None, axis=axis)
    y = y.scale(domain=order, paddingInner=0.3, paddingOuter=0.15)
    names = list(dict.fromkeys(everyone["name"]))
    offset = alt.YOffset("name:N").scale(domain=names, paddingOuter=0.3)
    x = alt.X("row_r2:Q", title="R²").scale(domain=[-0.25, 1], nice=False).axis(values=[0, 0.5, 1])
    kept = table[["name", "row", "r2", "row_r2", "layer_r2"]].assign(cut=table["layer_r2"].clip(lower=-0.25))
    base = alt.Chart(kept)
    tooltip = [
        "name:N",
        "row:N",
        *(alt.Tooltip(f"{c}:Q", format=".3f") for c in ("r2", "row_r2", "layer_r2")),
    ]
    bar = base.mark_rule(strokeWidth=2.5, opacity=0.45, clip=True).encode(x=x, x2="cut:Q")
    filled = base.mark_circle(size=45, opacity=1, clip=True).encode(x=x, tooltip=tooltip)
    hollow = base.mark_point(size=40, strokeWidth=1.7, opacity=1, clip=True).encode(x="cut:Q")
    marks = alt.layer(bar, hollow, filled).encode(y=y, yOffset=offset, color=colour(everyone))
    return marks.properties(width=205, height=(11 + 9 * len(names)) * len(order))


def fig_transfer(transfer: pd.DataFrame, shown: Sequence[str]) -> alt.TopLevelMixin:
    """Transfer R2 from every model (rows) to every other (columns), for each of ``shown``."""
    least = transfer["dropped_layers"].min()
    table = _beside_own(transfer[transfer["dropped_layers"] == least])
    table = table.assign(train=table["train_model"].map(short), test=table["test_model"].map(short))
    table["text"] = table["transfer_r2"].map(_brief)
    table["ends"] = "[" + table["low"].map(_brief) + ", " + table["high"].map(_brief) + "]"
    table["shade"] = table["transfer_r2"].clip(-1, 1)
    names = list(dict.fromkeys(table["train"]))
    panels = [
        _directions_panel(table[table["features"] == features], names).properties(title=hypothesis(features))
        for features in shown
    ]
    own = table[table["features"].isin(list(shown))]
    said = "; ".join(f"{r.train} to {r.test}, {hypothesis(r.features)} {r.text}" for r in own.itertuples())
    home = own["source"].str.contains(" to ")
    good = int((own.loc[home, "transfer_r2"] > 0).sum())
    granted = own.loc[home & (own["features"] == shown[0]), "level_free_r2"].max()
    return theme.finish(
        alt.vconcat(*panels, spacing=10),
        "transfer",
        caption="A law fitted to the model of the row and scored on that of the column, clipped at bounds of "
        "the first: $R^2$ and its 95 % interval from blocks of layers of both. What bounds of "
        f"the second would change is in {{numref}}`fig-clip-bounds`. Of the "
        f"{int(home.sum())} crossings between published and measured, {good} are better than the mean of the "
        f"model predicted; granted that mean, {hypothesis(shown[0])} reaches {signed(granted)} at most.",
        alt=f"Two matrices of transfer R2. {said}.",
    )


def _beside_own(transfer: pd.DataFrame) -> pd.DataFrame:
    """Rows clipped at training bounds, with ``own_r2``: the same law, clipped at the test model's own."""
    keys = ["train_model", "test_model", "features"]
    rows = {clip: own for clip, own in transfer.groupby("clip")}
    leaky = rows["own"][[*keys, "transfer_r2"]].rename(columns={"transfer_r2": "own_r2"})
    return rows["training"].merge(leaky, on=keys, how="left", validate="one_to_one")


def _brief(value: float) -> str:
    form = f"{value:.2f}" if abs(value) < 10 else f"{value:.0f}"
    return form.replace("-", "−")


def _directions_panel(table: pd.DataFrame, names: list[str]) -> alt.LayerChart:
    y = alt.Y("train:N", sort=names, title="fitted to").scale(domain=names)
    y = y.axis(domain=False, ticks=False)
    x = alt.X("test:N", sort=names, title="scored on").scale(domain=names)
    x = x.axis(orient="top", labelAngle=0, domain=False, ticks=False)
    scale = alt.Scale(domain=[-1, 0, 1], range=[theme.RED, "#80808020", theme.GREEN])
    tooltip = [
        alt.Tooltip("train:N", title="fitted to"), alt.Tooltip("test:N", title="scored on"),
        alt.Tooltip("transfer_r2:Q", title="R²", format=".3f"), alt.Tooltip("ends:N", title="95 %"),
        alt.Tooltip("own_r2:Q", title="R², own bounds", format=".3f"),
        alt.Tooltip("level_free_r2:Q", title="R², level granted", format=".3f"),
        alt.Tooltip("rms_error:Q", title="misses α by", format=".3f"),
        alt.Tooltip("test_in_sample_r2:Q", title="fitted there", format=".3f"),
    ]  # fmt: skip
    base = alt.Chart(table).encode(x=x, y=y)
    cells = base.mark_rect(cornerRadius=3, opacity=0.55, stroke=None)
    cells = cells.encode(color=alt.Color("shade:Q", scale=scale, legend=None), tooltip=tooltip)
    # The words lie over the cells and would swallow the pointer.
    large = base.mark_text(fontSize=13, fontWeight=600, dy=-6).encode(text="text:N", tooltip=tooltip)
    small = base.mark_text(fontSize=10, dy=9).encode(text="ends:N", tooltip=tooltip)
    return (cells + large + small).properties(width=112 * len(names), height=40 * len(names))
