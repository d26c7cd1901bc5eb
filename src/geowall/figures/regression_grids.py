"""Chapter 08 on what else was trained: other architectures, budgets and sites, named by what is different.

>>> label("jumprelu", "matched", "res"), label("topk", "matched", "res"), label("jumprelu", "scaled", "mlp")
('the usual grid', 'TopK', 'MLP output, scaled budget')
"""

from __future__ import annotations

import altair as alt
import pandas as pd

from geowall.figures import theme
from geowall.figures.marks import SITES, hypothesis, listed, named, reach, signed, spoken
from geowall.laws.layers import USUAL

USUAL_NAME = "the usual grid"
ARCHITECTURES = {"topk": "TopK", "batchtopk": "BatchTopK", "spade": "SpaDE"}


def label(architecture: str, schedule: str, site: str) -> str:
    """Name a grid by how it differs from JumpReLU at matched budgets on the residual stream."""
    parts = [
        SITES.get(site, site) if site != USUAL["site"] else "",
        ARCHITECTURES.get(architecture, architecture) if architecture != USUAL["architecture"] else "",
        f"{schedule} budget" if schedule not in USUAL["schedule"] else "",
    ]
    return ", ".join(part for part in parts if part) or USUAL_NAME


def labelled(table: pd.DataFrame) -> pd.DataFrame:
    """Add ``grid``, the name of the row's grid, and ``name``, the label of its model."""
    keys = zip(table["architecture"], table["schedule"], table["site"], strict=True)
    return named(table).assign(grid=[label(*key) for key in keys])


def fig_grids(exponents: pd.DataFrame, form: str) -> alt.TopLevelMixin:
    """The exponent by layer for every architecture, training schedule and site."""
    table = labelled(exponents[(exponents["metric"] == "nmse") & (exponents["form"] == form)])
    order = {
        "size": table.groupby("name")["layer"].transform("nunique"),
        "other": table["grid"] != USUAL_NAME,
    }
    table = table.assign(**order).sort_values(["size", "name", "other", "grid", "layer"])
    grids = sorted(set(table["grid"]), key=lambda grid: (grid != USUAL_NAME, grid))
    scale = alt.Scale(domain=grids, range=theme.CATEGORY[: len(grids)])
    shade = alt.Color("grid:N", scale=scale, legend=alt.Legend(title=None, orient="top", columns=5))
    rows = table[["name", "grid", "layer", "alpha_width", "extrapolated"]].round({"alpha_width": 4})
    panels = []
    for i, name in enumerate(dict.fromkeys(table["name"])):
        x = alt.X("layer:Q", title="layer").axis(grid=False, tickCount=6, format="d")
        y = alt.Y("alpha_width:Q", title="width exponent α" if i == 0 else None)
        y = y.scale(domain=reach(table["alpha_width"], 0, 0.3), nice=False)
        tooltip = ["grid:N", "layer:Q", alt.Tooltip("alpha_width:Q", format=".3f"), "extrapolated:N"]
        base = alt.Chart(rows[rows["name"] == name]).encode(x=x, y=y, color=shade, tooltip=tooltip)
        lines = base.mark_line(strokeWidth=2) + base.mark_circle(size=40, opacity=1)
        panels.append(lines.properties(width=235, height=180, title=name))
    grouped = table.groupby(["name", "grid"], sort=False)["alpha_width"].agg(["size", "mean"])
    said = "; ".join(
        f"{name}, {grid}: {signed(row['mean'])} ({row['size']:.0f} layer{'s' if row['size'] > 1 else ''})"
        for (name, grid), row in grouped.iterrows()
    )
    return theme.finish(
        alt.hconcat(*panels, spacing=18),
        "grids",
        caption="The exponent by layer for every grid of autoencoders trained, named by how it differs from "
        f"JumpReLU on the residual stream at equal budgets. Means: {said}.",
        alt=f"Lines by layer. Means: {said}.",
    )


def trained_at(checkpoints: pd.DataFrame) -> str:
    """Say at which sites the autoencoders of a table sit.

    >>> trained_at(pd.DataFrame({"site": ["res", "res", "mlp"]}))
    '2 on the residual stream, which this chapter is about, and 1 at MLP output, for {numref}`fig-grids`'
    """
    counts = checkpoints["site"].value_counts()
    other = [f"{n} at {SITES.get(site, site)}" for site, n in counts.items() if site != USUAL["site"]]
    if not other:
        return "all on the residual stream: attention and MLP outputs were not trained"
    return (
        f"{counts.get(USUAL['site'], 0)} on the residual stream, which this chapter is about, and "
        f"{spoken(other)}, for {{numref}}`fig-grids`"
    )


def table_of(grids: pd.DataFrame) -> str:
    """Write every grid as a row: its exponent, and what the geometry of its own site has to do with it."""
    rows = labelled(grids).assign(usual=lambda t: t["grid"] == USUAL_NAME)
    # small models first, as in the figure, and the usual grid of each on top
    rows["size"] = rows.groupby("name")["n_layers"].transform("max")
    rows = rows.sort_values(["size", "name", "usual", "n_layers"], ascending=[True, True, False, False])
    by = [rows[rows["features"] == name] for name in ("kappa_ms", "d_int")]
    lines = [
        "| Grid | Layers | Mean | Shift | $r$: $\\kappa_{ms}$, $d_{int}$ "
        "| $R^2$: $\\kappa_{ms}$, $d_{int}$ |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for curved, wide in zip(*(table.to_dict("records") for table in by), strict=True):
        pairs = [f"{_number(curved[s])}, {_number(wide[s])}" for s in ("correlation", "loo_r2")]
        pairs = [pair.replace("–, –", "–") for pair in pairs]
        shift = _number(curved["shift"], "+.2f") if curved["grid"] != USUAL_NAME else "–"
        cells = [
            f"{curved['name']}, {curved['grid']}",
            str(curved["n_layers"]),
            _number(curved["alpha_mean"]),
        ]
        lines.append(f"| {' | '.join([*cells, shift, *pairs])} |")
    return "\n".join(lines)


def _number(value: float, form: str = ".2f") -> str:
    return "–" if value != value else signed(value, form)


def told(grids: pd.DataFrame, layers: pd.DataFrame) -> str:
    """Say how to read :func:`table_of`, what was not measured, and whether geometry predicts any other grid.

    ``layers`` are those of the usual grids, whose exponents' spread the shifts are compared with.
    """
    rows = labelled(grids)
    other = rows[rows["grid"] != USUAL_NAME]
    if other.empty:
        return "Nothing but JumpReLU at equal budgets on the residual stream was trained."
    spread = layers.groupby("model", sort=False)["alpha_width"].std().to_dict()
    one = other[other["features"] == "kappa_ms"]
    lacking = sorted({SITES.get(site, site) for site in one.loc[~one["own_geometry"], "site"]})
    good = other[(other["loo_r2"] > 0) & other["features"].isin(["kappa_ms", "d_int"])]
    found = [
        f"{r.grid} by {hypothesis(r.features)} ($R^2$ = {signed(r.loo_r2)}, $r$ = {signed(r.correlation)})"
        for r in good.itertuples()
    ]
    far = one[one["n_extrapolated"] > 0]
    words = [
        "Shift: of the mean from the usual grid, on the same layers and widths. $r$ and $R^2$ on left-out "
        "layers: with the geometry of the site itself, where there are layers enough. Over the layers of "
        f"the usual grid the exponent has a standard deviation of {listed(spread)}. Of other grids "
        f"{spoken(found or ['none'])} {'are' if len(found) > 1 else 'is'} predicted better than by the mean"
        f"{'; the law needs a negative $r$' if found else ''}.",
    ]
    if lacking:
        words.append(f"No geometry was measured at {spoken(lacking)}, so nothing is regressed there.")
    if len(far):
        beyond = [f"{r.n_extrapolated} of {r.n_layers} ({r.model}, {r.grid})" for r in far.itertuples()]
        words.append(f"Read beyond their checkpoints: {spoken(beyond)} exponents.")
    return " ".join(words)
