"""What the lab's grid is, beside the showcase points: cells of both in one shape, training, and two budgets.

>>> table = pd.DataFrame({"model": "m", "architecture": "topk", "schedule": "matched", "d_sae": [64, 128],
...                       "train_tokens": 6400.0, "dead": [0, 32], "layer": 0})
>>> training(table)[["d_sae", "tokens_per_latent", "dead_share"]].to_numpy().tolist()
[[64.0, 100.0, 0.0], [128.0, 50.0, 0.25]]
"""

from __future__ import annotations

import pandas as pd

from geowall.laws.scaling import intervals
from geowall.laws.scaling.sparsity import GROUP, STREAM
from geowall.laws.tables import where

KIND = ["model", "architecture", "schedule"]
SITE_COLUMNS = ["n_layers", "alpha_width", "n_floors", "floor_share", "n_clear", "narrow", "wide"]


def showcase_cells(showcase: pd.DataFrame, inventory: pd.DataFrame) -> pd.DataFrame:
    """Return the published showcase points with the columns of :func:`sparsity.cells`, dropped ones included.

    ``kept`` says which the paper's filter left in.
    """
    counts = inventory.groupby(["model", "layer", "width"]).size().rename("n_checkpoints").reset_index()
    table = showcase.merge(counts, on=["model", "layer", "width"], how="left")
    group = {"source": "published", "site": "res", "architecture": "jumprelu", "schedule": ""}
    table = table.assign(**group, k=table["k"].astype(float), extrapolated=False)
    return table.rename(columns={"width": "d_sae"})[
        [*GROUP, "d_sae", "k", "nmse", "extrapolated", "n_checkpoints", "kept"]
    ]


def measured(showcase: pd.DataFrame, cells: pd.DataFrame, at: float = 50.0) -> pd.DataFrame:
    """Return the showcase points at one sparsity and the measured cells within their checkpoints.

    Points that the paper dropped are among them: filter i drops the same ones, and fits of ``every`` width
    have to see them.
    """
    own = showcase[showcase["k"] == at].drop(columns="kept")
    return pd.concat([own, cells[~cells["extrapolated"]]], ignore_index=True)


def for_rivals(showcase: pd.DataFrame, checkpoints: pd.DataFrame, at: float = 50.0) -> pd.DataFrame:
    """Return all showcase points at one sparsity and the measured checkpoints: GROUP, d_sae, l0, nmse."""
    own = showcase[showcase["k"] == at].rename(columns={"k": "l0"})
    columns = [*GROUP, "d_sae", "l0", "nmse"]
    return pd.concat([own[columns], checkpoints[columns]], ignore_index=True)


def training(checkpoints: pd.DataFrame) -> pd.DataFrame:
    """Return how long each width was trained and how much of it is dead, median over layers and penalties.

    Columns: model, architecture, schedule, d_sae, n_layers, n_checkpoints, train_tokens, tokens_per_latent,
    dead_share.
    """
    table = checkpoints.assign(dead_share=checkpoints["dead"] / checkpoints["d_sae"])
    grouped = table.groupby([*KIND, "d_sae"])
    found = grouped[["train_tokens", "dead_share"]].median()
    found["n_layers"], found["n_checkpoints"] = grouped["layer"].nunique(), grouped.size()
    found = found.reset_index()
    return found.assign(tokens_per_latent=found["train_tokens"] / found["d_sae"])


def by_sparsity(covered: pd.DataFrame, cells: pd.DataFrame, floors: pd.DataFrame) -> pd.DataFrame:
    """Say what each sparsity is worth to each grid of the stream: what it can reach, and the floors there.

    Takes ``coverage``, the cells and the fitted floors. Columns: model, architecture, schedule, k, n_cells,
    n_outside (beyond their checkpoints), n_layers, n_behind (layers whose widest dictionary within its
    checkpoints has a larger error than a narrower one), n_floors (layers with a fit), n_clear (whose interval
    excludes zero), floor_share (median).
    """
    key = [*KIND, "k"]
    inside = where(cells, site=STREAM, extrapolated=False).sort_values("d_sae")
    errors = inside.groupby([*key, "layer"])["nmse"]
    behind = (errors.last() > errors.min()).groupby(key).agg(n_layers="size", n_behind="sum")
    fits = where(floors, site=STREAM).assign(clear=lambda t: t["low"] > 0).groupby(key)
    fits = fits.agg(
        n_floors=("layer", "size"), n_clear=("clear", "sum"), floor_share=("floor_share", "median")
    )
    table = covered.assign(n_outside=covered["n_cells"] - covered["n_inside"]).set_index(key)
    table = table[["n_cells", "n_outside"]].join(behind).join(fits).reset_index()
    counts = ["n_layers", "n_behind", "n_floors", "n_clear"]
    return table.fillna(dict.fromkeys(counts, 0)).astype(dict.fromkeys(counts, int))


def budgets(cells: pd.DataFrame, exponents: pd.DataFrame, k: float) -> pd.DataFrame:
    """Compare the two schedules at the layers of the stream that have both, on the widths that both have.

    Columns: source, model, layer, schedule, quantity (``alpha_width``, the chord between the backbone widths;
    ``floor``; ``floor_share``, the floor over the smallest error), value, low, high, narrow, wide.
    """
    here = cells[(cells["architecture"] == "jumprelu") & (cells["k"] == k) & ~cells["extrapolated"]]
    here = here[here["site"] == STREAM]
    both = here.groupby(["model", "layer", "d_sae"])["schedule"].transform("nunique") == 2
    found = intervals.floors(here[both], ["every"])
    ends = {end: found[end] / found["least"] for end in ("low", "high")}
    plain = found.assign(quantity="floor", value=found["floor"])
    shares = found.assign(quantity="floor_share", value=found["floor_share"], **ends)
    chords = exponents[(exponents["form"] == "secant") & (exponents["k"] == k)]
    chords = chords[(chords["architecture"] == "jumprelu") & (chords["site"] == STREAM)]
    chords = chords.assign(quantity="alpha_width")
    paired = chords.groupby(["model", "layer"])["schedule"].transform("nunique") == 2
    rows = pd.concat([plain, shares, chords[paired].assign(value=chords["alpha_width"])], ignore_index=True)
    columns = ["source", "model", "layer", "schedule", "quantity", "value", "low", "high", "narrow", "wide"]
    return rows[columns]


def sites(cells: pd.DataFrame, exponents: pd.DataFrame, k: float) -> pd.DataFrame:
    """Compare the sites of each model that has several, on the layers and widths that all of them have.

    JumpReLU at matched budgets, within the checkpoints. Columns: source, model, site, n_layers, alpha_width
    (median of the chords), n_floors (layers with a fit), floor_share (median), n_clear (floors whose interval
    excludes zero), narrow, wide. No rows where no model has two sites to compare.
    """
    usual = {"architecture": "jumprelu", "schedule": "matched", "k": k, "extrapolated": False}
    key, grid = ["source", "model", "site"], where(cells, **usual)
    here = _at_all_sites(grid, grid, ["model", "layer", "d_sae"])
    chords = _at_all_sites(where(exponents, form="secant", **usual), grid, ["model", "layer"])
    if here.empty or chords.empty:
        return pd.DataFrame(columns=[*key, *SITE_COLUMNS])
    fits = _at_all_sites(intervals.floors(here), grid, ["model", "layer"])
    fits = fits.assign(clear=fits["low"] > 0).groupby(key, sort=False)
    alphas = chords.groupby(key, sort=False)["alpha_width"]
    made = alphas.agg(n_layers="size", alpha_width="median").join(
        fits.agg(
            n_floors=("layer", "size"), floor_share=("floor_share", "median"), n_clear=("clear", "sum"),
            narrow=("narrow", "min"), wide=("wide", "max"),
        )
    )  # fmt: skip
    counts = dict.fromkeys(("n_floors", "n_clear", "narrow", "wide"), int)
    made = made.dropna().reset_index().astype(counts)
    order = made["site"].ne(STREAM).argsort(kind="stable")
    return made.iloc[order][[*key, *SITE_COLUMNS]].reset_index(drop=True)


def _at_all_sites(table: pd.DataFrame, grid: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Keep what every site that a model has in ``grid`` has too, of models that have several."""
    several = table["model"].map(grid.groupby("model")["site"].nunique())
    return table[(several > 1) & (table.groupby(by)["site"].transform("nunique") == several)]
