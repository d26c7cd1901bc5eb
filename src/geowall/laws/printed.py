"""Every number the paper prints about its regression, beside the same number recomputed from its figures.

A recomputed number agrees when it rounds to the printed one. When it does not, the inputs are the suspects:
they were read from drawings. :func:`reading_error` says by how much a cell can move when every input moves
by as much as its reading allows, so a disagreement is explained by a bound and not by a wider tolerance.

>>> unit_of("f_vs_h0"), unit_of("loo_r2"), unit_of("aic")
(0.1, 0.001, 1.0)
>>> verdict(0.68248, 0.683, unit=0.001, bound=0.00006), verdict(0.6834, 0.683, unit=0.001, bound=0.0)
('within the reading error', 'as printed')
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from geowall.laws import bootstrap, published
from geowall.laws import features as feats
from geowall.laws.baselines import feature_correlations
from geowall.laws.regression import stage2, transfer

WITHIN = ("r2", "loo_r2", "l2o_r2", "l3o_r2", "aic", "bic", "f_vs_h0")  # Tables 1-4
ACROSS = ("transfer_r2", "test_in_sample_r2")  # Table 5
HYPOTHESES = ("none", *feats.GEOMETRY, "low_rho", feats.FULL)
TRANSFERRED = ("kappa_ms", "d_int+kappa_ms", feats.FULL)
PAPER_TARGETS = ("alpha_k50", "beta_n", "gamma")
VERDICTS = ("as printed", "within the reading error", "no")


def unit_of(statistic: str) -> float:
    """Return one unit in the last digit that the paper prints of a statistic."""
    return {"aic": 1.0, "bic": 1.0, "f_vs_h0": 0.1}.get(statistic, 0.001)


def verdict(recomputed: float, printed: float, unit: float, bound: float) -> str:
    """Say whether a number rounds to the printed one, as it is or within what reading it allows."""
    off = abs(recomputed - printed) - unit / 2
    if off <= 1e-9 * unit:
        return "as printed"
    return "within the reading error" if off <= bound else "no"


def printed_against_recomputed(
    layers: pd.DataFrame,
    tables: pd.DataFrame,
    text: pd.DataFrame,
) -> pd.DataFrame:
    """Recompute every cell of the paper's Tables 1-5, of its Fig. 5 and of its sweep over k.

    ``layers`` is the per-layer table, ``tables`` and ``text`` are the printed numbers; the settings are the
    paper's, whatever a chapter's parameters say. Columns: table,
    train_model, test_model, target, features, statistic, printed, recomputed, difference, unit (of the last
    printed digit), reading_error (bound on what the digitisation can do; only where it is needed), agrees.
    """
    made = [
        _tables(layers, tables),
        _correlations(layers, text),
        _sweep(layers, text),
    ]
    table = pd.concat(made, ignore_index=True)
    table["difference"] = table["recomputed"] - table["printed"]
    outside = table["difference"].abs() > table["unit"] * (0.5 + 1e-9)
    table["reading_error"] = np.nan
    table.loc[outside, "reading_error"] = [
        reading_error(layers, row.train_model, row.target, row.features, row.statistic)
        if row.statistic in WITHIN and row.table.startswith("Table")
        else 0.0
        for row in table[outside].itertuples()
    ]
    cells = zip(
        table["recomputed"], table["printed"], table["unit"], table["reading_error"].fillna(0), strict=True
    )
    table["agrees"] = [verdict(*cell) for cell in cells]
    return table


def _tables(layers: pd.DataFrame, tables: pd.DataFrame) -> pd.DataFrame:
    within = stage2(layers, PAPER_TARGETS, HYPOTHESES, n_permutations=1)
    within = within.assign(train_model=within["model"], test_model=within["model"])
    across = transfer(layers, "alpha_k50", TRANSFERRED, n_bootstrap=1)
    across = across[across["clip"] == "own"]
    ours = pd.concat([_long(within, WITHIN), _long(across, ACROSS)])
    printed = _long(tables, (*WITHIN, *ACROSS), ["table"]).rename(columns={"recomputed": "printed"})
    key = ["train_model", "test_model", "target", "features", "statistic"]
    both = printed.dropna(subset="printed").merge(ours, on=key, how="left", validate="one_to_one")
    both["table"] = "Table " + both["table"].astype(str)
    return both.assign(unit=both["statistic"].map(unit_of))


def _long(table: pd.DataFrame, statistics: Sequence[str], extra: Sequence[str] = ()) -> pd.DataFrame:
    key = [*extra, "train_model", "test_model", "target", "features"]
    return table.melt(key, list(statistics), var_name="statistic", value_name="recomputed")


def _correlations(layers: pd.DataFrame, text: pd.DataFrame) -> pd.DataFrame:
    ours = feature_correlations(layers, "alpha_k50")
    printed = text[text["quantity"] == "pearson_r"].merge(ours, on=["feature", "other"], how="left")
    cells = {"table": "Fig. 5", "train_model": "pooled", "test_model": "pooled", "target": printed["other"]}
    cells |= {"features": printed["feature"], "statistic": "pearson_r", "printed": printed["value"]}
    return pd.DataFrame(cells | {"recomputed": printed["r"], "unit": 10.0 ** -printed["decimals"]})


def _sweep(layers: pd.DataFrame, text: pd.DataFrame) -> pd.DataFrame:
    printed = text[text["quantity"] == "loo_r2"].astype({"k": int})
    ours = sparsity_sweep(layers, sorted(set(printed["k"])), ["kappa_ms"])
    both = printed.merge(ours, on=["model", "k"], how="left", validate="one_to_one")
    cells = {"table": "k sweep", "train_model": both["model"], "test_model": both["model"]}
    cells |= {"target": "alpha_k" + both["k"].astype(str), "features": both["feature"], "statistic": "loo_r2"}
    return pd.DataFrame(cells | {"printed": both["value"], "recomputed": both["loo_r2"], "unit": 0.01})


def sparsity_sweep(
    layers: pd.DataFrame,
    ks: Sequence[int],
    hypotheses: Sequence[str],
    clip_percentiles: Sequence[float] = feats.CLIP_PERCENTILES,
    **draws: int,
) -> pd.DataFrame:
    """Repeat the regression on the exponent at every ``k``, taken from ``beta_n`` and ``gamma``.

    Columns: source, model, k, features, n_layers, r2, loo_r2; and their intervals, where ``draws`` (seed,
    n_bootstrap, block_length) ask for them.
    """
    names = {f"alpha_k{k}": int(k) for k in ks}
    table = layers.assign(**{name: published.alpha_at(layers, k) for name, k in names.items()})
    setting = {"n_permutations": 1, "clip_percentiles": clip_percentiles, **draws}
    fits = stage2(table, list(names), hypotheses, **setting)
    fits["k"] = fits["target"].map(names)
    columns = ["source", "model", "k", "features", "n_layers", "r2", "loo_r2", *bootstrap.ENDS]
    return fits[[column for column in columns if column in fits]]


def reading_error(
    layers: pd.DataFrame,
    model: str,
    target: str,
    features: str,
    statistic: str,
) -> float:
    """Bound how far a cell can move when each of its inputs moves by as much as its reading allows.

    Every input of the model moves, on its own, by the calibration bound: 1e-5 of its axis, for which the
    range of the data stands, since no axis is shorter than its data. The moves of the cell are added as
    if they all had the same sign: a first-order worst case, not a typical error.
    """
    own = layers[layers["model"] == model].reset_index(drop=True)

    def cell(table: pd.DataFrame) -> float:
        fit = stage2(table, [target], [features], n_permutations=1)
        return float(fit[statistic].iloc[0])

    here, moves = cell(own), []
    for column in [target, *feats.terms(features)]:
        step = published.CALIBRATION * float(np.ptp(own[column]))
        for row in own.index:
            moved = own.copy()
            moved.loc[row, column] += step
            moves.append(abs(cell(moved) - here))
    return float(np.sum(moves))
