"""Chapter 08's second looks at published numbers: whose bounds clip, which error is read; and folded tables.

>>> folded("Two numbers", ["a", "b"], [["1", "2"]])
'<details>\\n<summary>Two numbers</summary>\\n\\n| a | b |\\n|---|--:|\\n| 1 | 2 |\\n\\n</details>'
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import altair as alt
import pandas as pd

from geowall.figures import theme
from geowall.figures.marks import (
    INTERVAL,
    dots,
    hypothesis,
    names_in_colour,
    shades,
    short,
    signed,
    within,
    without,
)
from geowall.figures.regression import STATISTIC_LABELS

TARGETS = {"beta_n": "β_n", "gamma": "γ"}
READINGS = {
    "alpha_k50": "exponent, fitted surface",
    "alpha_chord": "exponent, chord of two widths",
    "ln_nmse_c4": "log error on C4",
    "ln_nmse_wikitext": "log error on WikiText",
}


def fig_clip_bounds(transfer: pd.DataFrame) -> alt.TopLevelMixin:
    """Transfer R2 of every law that clips, under both kinds of bounds, at every cut."""
    both = moved_by_bounds(transfer)
    table = both.assign(row=both["features"].map(hypothesis))
    order = list(dict.fromkeys(table["row"]))
    least = table["dropped_layers"].min()
    panels = []
    for i, (q, rows) in enumerate(table.groupby("dropped_layers")):
        panels.append(_bounds_panel(rows, order, first=i == 0).properties(title=without(q, least)))
    at_each = [rows.loc[rows["moved"].abs().idxmax()] for _, rows in table.groupby("dropped_layers")]
    said = "; ".join(f"{_at(r['dropped_layers'], least)}, {_told(r)}" for r in at_each)
    worst = max(at_each, key=lambda r: abs(r["moved"]))
    curved = table[table["features"] == "kappa_ms"]
    own = ", ".join(
        f"{signed(rows['moved'].abs().max(), '.3f')} {_at(q, least)}"
        for q, rows in curved.groupby("dropped_layers")
    )
    names = names_in_colour(curved.assign(model=curved["test_model"]))
    return theme.finish(
        alt.vconcat(names, alt.hconcat(*panels, spacing=12), spacing=8),
        "clip-bounds",
        caption="Transfer between the Gemmas when the model predicted (its name in colour) is clipped at its "
        "own percentiles, which leaks (open, as in the paper's table), and at those of the model fitted "
        "(filled), with 95 % intervals from blocks of layers of both (◂ runs on to the left). The bounds "
        f"change $R^2$ by {abs(worst['moved']):.3f} at most: {said}. Curvature by itself moves "
        f"by up to {own}. What does not clip, depth, has one number for both and is not drawn.",
        alt=f"Dots with intervals in {len(panels)} panels. Largest changes: {said}.",
    )  # fmt: skip


def moved_by_bounds(transfer: pd.DataFrame) -> pd.DataFrame:
    """Rows of laws whose features are clipped, with ``moved``: R2 with own bounds less that with training."""
    key = ["features", "dropped_layers", "train_model", "test_model"]
    wide = transfer.pivot(index=key, columns="clip", values="transfer_r2")
    wide = wide.assign(moved=wide["own"] - wide["training"]).reset_index()
    clipped = wide.groupby("features")["moved"].transform(lambda moved: moved.abs().max()) > 1e-9
    return transfer.merge(wide[clipped], on=key).assign(name=lambda t: t["test_model"].map(short))


def _at(q: int, least: int) -> str:
    """Say within a sentence which layers are left out."""
    return "on all layers" if q == least else without(q, least).lower()


def _told(row: pd.Series) -> str:
    law = f"{hypothesis(row['features'])} from {short(row['train_model'])} to {short(row['test_model'])}"
    ours, theirs = signed(row["training"], ".3f"), signed(row["own"], ".3f")
    return f"{law}, {theirs} with bounds of the model predicted, {ours} with those of the model fitted"


def _bounds_panel(rows: pd.DataFrame, order: Sequence[str], first: bool) -> alt.LayerChart:
    low, high = -0.5, 1.0
    drawn = within(rows, low, high, ["low", "high", "transfer_r2"])
    drawn["line"] = drawn["name"] + drawn["clip"]
    axis = alt.Axis(labels=first, ticks=False, domain=False, labelLimit=150, labelPadding=6)
    y = alt.Y("row:N", sort=list(order), title=None, axis=axis)
    y = y.scale(domain=list(order), paddingInner=0.3, paddingOuter=0.15)
    scale = alt.Scale(domain=[low, high], nice=False)
    ticks = alt.Axis(values=[-0.5, 0, 0.5, 1], format=".1f")
    x = alt.X("transfer_r2_drawn:Q", title="transfer R²", scale=scale, axis=ticks)
    shade = alt.Color("name:N", title=None, legend=None, scale=shades(rows.assign(model=rows["test_model"])))
    tooltip = [
        alt.Tooltip("row:N", title="law"), alt.Tooltip("name:N", title="model predicted"),
        alt.Tooltip("clip:N", title="bounds"), alt.Tooltip("transfer_r2:Q", title="R²", format=".3f"),
        *INTERVAL,
    ]  # fmt: skip
    kept = ["row", "name", "clip", "line", "transfer_r2", "low", "high", "arrow", "edge"]
    drawn = drawn[[*kept, "low_drawn", "high_drawn", "transfer_r2_drawn"]].round(4)
    base = alt.Chart(drawn)
    bar = base.mark_rule(strokeWidth=2, opacity=0.45, strokeCap="round")
    bar = bar.encode(x=alt.X("low_drawn:Q", scale=scale, title="transfer R²"), x2="high_drawn:Q")
    arrow = base.transform_filter("datum.arrow != ''").mark_text(fontSize=12)
    fill = alt.condition("datum.clip == 'own'", alt.value("transparent"), shade)
    points = base.mark_point(size=42, strokeWidth=1.7, opacity=1).encode(x=x, fill=fill, tooltip=tooltip)
    marks = alt.layer(bar, arrow.encode(x="edge:Q", text="arrow:N"), points)
    marks = marks.encode(y=y, yOffset=alt.YOffset("line:N").scale(paddingOuter=0.2), color=shade)
    zero = alt.Chart(pd.DataFrame({"zero": [0]})).mark_rule(strokeDash=[3, 3], opacity=0.6).encode(x="zero:Q")
    return alt.layer(zero, marks).properties(width=145, height=62 * len(order))


def fig_error_metrics(metrics: pd.DataFrame) -> alt.TopLevelMixin:
    """Left-out R2 of every published reading of the error, by curvature, by all summaries and by depth."""
    table = metrics.rename(columns={"loo_from": "low", "loo_to": "high"})
    table = table.assign(row=table["target"].map(READINGS))
    order = [label for label in READINGS.values() if (table["row"] == label).any()]
    tooltip = [
        "name:N",
        alt.Tooltip("row:N", title="of the"),
        alt.Tooltip("loo_r2:Q", title="R², left-out layers", format=".3f"),
        alt.Tooltip("r2:Q", title="R², in sample", format=".3f"),
        *INTERVAL,
        alt.Tooltip("n_layers:Q", title="layers"),
    ]
    panels = []
    for i, (features, rows) in enumerate(table.groupby("features", sort=False)):
        kept = rows[["model", "row", "loo_r2", "r2", "low", "high", "n_layers"]].round(4)
        look = {"width": 125, "labels": i == 0, "limit": 190, "tooltip": tooltip}
        panel = dots(kept, "loo_r2", "row", order, (-0.5, 1.0), "R² on left-out layers", **look)
        panels.append(panel.properties(title=hypothesis(features)))
    curved = table[table["features"] == "kappa_ms"]
    said = "; ".join(
        f"{row} {', '.join(f'{signed(r.loo_r2)} ({short(r.model)})' for r in rows.itertuples())}"
        for row, rows in curved.groupby("row", sort=False)
    )
    fewer = curved.groupby("model", sort=False)["n_layers"].agg(["min", "max"])
    lacking = [
        f"{short(model)} {r['max'] - r['min']}" for model, r in fewer.iterrows() if r["max"] > r["min"]
    ]
    left = (
        f" Layers without both widths are left out of the exponents: {', '.join(lacking)}." if lacking else ""
    )
    return theme.finish(
        alt.vconcat(names_in_colour(table), alt.hconcat(*panels, spacing=14), spacing=8),
        "error-metrics",
        caption="Prediction of left-out layers when the exponent is a plain chord between two widths, and "
        "when the error itself is predicted, with 95 % intervals from blocks of layers (◂ runs on to the "
        f"left). By curvature: {said}.{left}",
        alt=f"Dots with intervals in {len(panels)} panels. By curvature: {said}.",
    )


def folded(summary: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table that a reader opens by its summary; the first column is words, the others numbers."""
    lines = [f"| {' | '.join(head)} |", "|---|" + "--:|" * (len(head) - 1)]
    lines += [f"| {' | '.join(cells)} |" for cells in rows]
    table = "\n".join(lines)
    return f"<details>\n<summary>{summary}</summary>\n\n{table}\n\n</details>"


def printed_tables(numbers: pd.DataFrame) -> str:
    """Write every printed number, ours below it and the difference below that, in the paper's own tables."""
    tables = numbers.assign(text=[_three_lines(row) for row in numbers.itertuples()])
    parts = ["All of them, as the paper sets them: printed, recomputed, and ours less the paper's."]
    if (numbers["agrees"] != "as printed").any():
        parts[0] += " (\\*) does not round to what is printed; the caption above says why."
    for name, rows in tables.groupby("table", sort=False):
        statistics = [s for s in STATISTIC_LABELS if (rows["statistic"] == s).any()]
        key = ["train_model", "test_model", "target", "features"]
        cells = [
            [_regression(*which), *(own.get(s, "–") for s in statistics)]
            for which, group in rows.groupby(key, sort=False)
            for own in [dict(zip(group["statistic"], group["text"], strict=True))]
        ]
        head = ["printed, recomputed, difference", *(STATISTIC_LABELS[s] for s in statistics)]
        parts.append(folded(f"{name}: {len(rows)} numbers", head, cells))
    return "\n\n".join(parts)


def _three_lines(row: tuple) -> str:
    digits = max(0, round(-math.log10(row.unit)))
    ours, off = _exact(row.recomputed, digits + 2), _exact(row.difference, digits + 2, "+")
    mark = "" if row.agrees == "as printed" else " (\\*)"
    return f"{_exact(row.printed, digits)}<br>{ours}<br>{off}{mark}"


def _exact(value: float, digits: int, sign: str = "") -> str:
    """Write a number to so many decimals, zero without a minus.

    >>> _exact(-1e-9, 3), _exact(-0.5, 1), _exact(0.25, 2, "+")
    ('0.000', '−0.5', '+0.25')
    """
    return signed(round(value, digits) + 0.0, f"{sign}.{digits}f")


def _target(target: str) -> str:
    """Write what is predicted.

    >>> _target("alpha_k50"), _target("gamma"), _target("kappa_ms")
    ('α at 50', 'γ', 'κ_ms')
    """
    if target.startswith("alpha_k"):
        return target.replace("alpha_k", "α at ")
    return TARGETS.get(target, hypothesis(target))


def _regression(train: str, test: str, target: str, features: str) -> str:
    """Name the row of a table: what is predicted from what, and where."""
    where = {"pooled": "both models"}.get(train, short(train))
    where += "" if train == test else f" to {short(test)}"
    return f"{where}, {_target(target)}<br>{hypothesis(features)}"


def interval_tables(stage2: pd.DataFrame) -> str:
    """Write both R2 of every hypothesis and target with their intervals, one folded table for each cut."""
    parts, least = [], stage2["dropped_layers"].min()
    targets = list(dict.fromkeys(stage2["target"]))
    for q, rows in stage2.groupby("dropped_layers"):
        cells = [
            [f"{short(model)}, {hypothesis(features)}", *(_both_r2(own, target) for target in targets)]
            for (model, features), own in rows.groupby(["model", "features"], sort=False)
        ]
        head = ["in sample, left out", *(_target(target) for target in targets)]
        parts.append(folded(f"Every R² with its 95 % interval: {without(q, least).lower()}", head, cells))
    return "\n\n".join(parts)


def _both_r2(rows: pd.DataFrame, target: str) -> str:
    row = rows[rows["target"] == target].iloc[0]
    ends = [(row["r2"], row["r2_from"], row["r2_to"]), (row["loo_r2"], row["loo_from"], row["loo_to"])]
    return "<br>".join(f"{_exact(v, 3)} [{_exact(low, 2)}, {_exact(high, 2)}]" for v, low, high in ends)
