"""What survives: every control turned into a claim, a number with its interval, and an outcome.

One rule judges all. A claim about a statistic survives when its whole 95 % interval is
on the claimed side of zero, fails when the whole interval is on the other side, and is undecided when
zero lies inside. A claim against a null survives when its p-value is at most 0.05 and stays undecided
otherwise, since too few layers give a large p as well as no link does. Where the power of a prediction is
known and too small, a prediction that is not seen is not testable:

>>> outcome(0.3, 0.1, 0.5, "above"), outcome(0.3, -0.1, 0.5, "above"), outcome(0.3, 0.1, 0.5, "below")
('survives', 'undecided', 'fails')
"""

from __future__ import annotations

import pandas as pd

from geowall.laws.power import cannot_tell
from geowall.laws.tables import where

OUTCOMES = ("survives", "undecided", "not testable", "fails")
LEVEL = 0.05
NULL_CLAIMS = {
    "permutation": "Beats layers in random order",
    "block": "Beats blocks of layers in random order",
    "shift": "Beats geometry shifted in depth",
    "increments": "Beats random paths as rough as alpha",
}


def outcome(value: float, low: float, high: float, side: str) -> str:
    """Return the outcome of the claim that ``value`` is ``above`` or ``below`` zero."""
    if not low <= high or value != value:
        raise ValueError(f"an interval runs from low to high, not {low} to {high} around {value}")
    claimed, against = (low > 0, high < 0) if side == "above" else (high < 0, low > 0)
    return "survives" if claimed else "fails" if against else "undecided"


def verdicts(
    intervals: pd.DataFrame,
    gaps: pd.DataFrame,
    partials: pd.DataFrame,
    tests: pd.DataFrame,
    transfers: pd.DataFrame,
    transfer_gaps: pd.DataFrame,
    features: str = "kappa_ms",
    twins: pd.DataFrame | None = None,
    power: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Judge one hypothesis by every control, in every model.

    Takes the tables of ``bootstrap.intervals``, ``bootstrap.gaps``, ``baselines.partial_correlations``,
    ``nulls.null_tests``, ``regression.transfer`` and ``regression.transfer_gaps``, and for measured layers
    that of ``twins.twin_regressions`` with one surrogate. A law carried from one source to another is judged
    on the layers it is tried on. ``power``, that of ``power.of_layers``, says for which models a true law
    would not be seen: whether curvature predicts their layers is not testable, unless it does; nor is it on
    fewer of the layers, whose curvature varies no more. Columns: group, claim, source, model (for transfer,
    the model tested on), statistic, value, low, high (NaN for a p-value), outcome.
    """
    made = [
        _intervals(where(intervals, features=features, statistic="loo_r2", bootstrap="block")),
        _tests(where(tests, features=features)),
        _partials(where(partials, features=features, given=["none", "depth"], form="levels")),
        _partials(where(partials, features=features, form="differences")),
        _gaps(gaps),
        _transfer(where(transfers, features=features, clip="training"), transfer_gaps),
        *([] if twins is None else [_excess(where(twins, features=features, part="excess"))]),
    ]
    columns = ["group", "claim", "source", "model", "statistic", "value", "low", "high", "outcome"]
    judged = pd.concat(made, ignore_index=True)[columns]
    return judged if power is None else _testable(judged, power)


def _testable(judged: pd.DataFrame, power: pd.DataFrame) -> pd.DataFrame:
    blind = set(cannot_tell(power, LEVEL)["model"])
    silent = (judged["group"] == "Prediction") & judged["model"].isin(blind)
    return judged.assign(
        outcome=judged["outcome"].mask(silent & (judged["outcome"] != "survives"), "not testable")
    )


def _judged(table: pd.DataFrame, value: str, side: str, **extra: object) -> pd.DataFrame:
    judged = table.rename(columns={value: "value"}).assign(**extra)
    cells = zip(judged["value"], judged["low"], judged["high"], strict=True)
    return judged.assign(outcome=[outcome(*cell, side) for cell in cells])


def _which(table: pd.DataFrame) -> list[str]:
    """Name the layers a row was computed on, after the claim."""
    first = table["dropped_layers"].min()
    return [f" without layers 0 to {int(q) - 1}" if q > first else "" for q in table["dropped_layers"]]


def _intervals(table: pd.DataFrame) -> pd.DataFrame:
    claims = ["Predicts unseen layers" + layers for layers in _which(table)]
    return _judged(table, "value", "above", group="Prediction", claim=claims, statistic="leave-one-out R2")


def _tests(table: pd.DataFrame) -> pd.DataFrame:
    judged = table.rename(columns={"p_value": "value"}).assign(group="Chance", statistic="p")
    judged["claim"] = judged["null"].map(NULL_CLAIMS)
    judged["low"] = judged["high"] = float("nan")
    return judged.assign(outcome=["survives" if p <= LEVEL else "undecided" for p in judged["value"]])


def _partials(table: pd.DataFrame) -> pd.DataFrame:
    names = {
        ("levels", "none"): "Goes with alpha",
        ("levels", "depth"): "Goes with alpha at equal depth",
        ("differences", "none"): "Steps with alpha, layer to layer",
    }
    kinds = zip(table["form"], table["given"], strict=True)
    claims = [names[kind] + layers for kind, layers in zip(kinds, _which(table), strict=True)]
    return _judged(table, "correlation", "below", group="Depth", claim=claims, statistic="correlation")


def _gaps(table: pd.DataFrame) -> pd.DataFrame:
    claims = [
        f"{features} beats {rival}{layers}"
        for features, rival, layers in zip(table["features"], table["rival"], _which(table), strict=True)
    ]
    return _judged(table, "gap", "above", group="Rivals", claim=claims, statistic="gap in leave-one-out R2")


def _transfer(transfers: pd.DataFrame, gaps: pd.DataFrame) -> pd.DataFrame:
    transfers, gaps = (t.rename(columns={"test_model": "model"}) for t in (transfers, gaps))
    transfers, gaps = _within_or_whole(transfers), gaps[~_crosses(gaps)]
    claims = [
        f"Transfers from {train}" if across else "Transfers to the other model" + layers
        for train, across, layers in zip(
            transfers["train_model"], _crosses(transfers), _which(transfers), strict=True
        )
    ]
    level = _judged(
        transfers, "transfer_r2", "above", group="Transfer", claim=claims, statistic="transfer R2"
    )
    claims = [
        f"Transfers better than {r}{layers}" for r, layers in zip(gaps["rival"], _which(gaps), strict=True)
    ]
    gap = _judged(gaps, "gap", "above", group="Transfer", claim=claims, statistic="gap in transfer R2")
    both = pd.concat([level, gap], ignore_index=True)
    return both.assign(source=both["source"].str.split(" to ").str[-1])


def _crosses(table: pd.DataFrame) -> pd.Series:
    """Say which rows carry a law from one source to another."""
    return table["source"].str.contains(" to ")


def _within_or_whole(transfers: pd.DataFrame) -> pd.DataFrame:
    """Keep the second looks, without first layers, within a source only."""
    first = transfers["dropped_layers"] == transfers["dropped_layers"].min()
    return transfers[first | ~_crosses(transfers)]


def _excess(table: pd.DataFrame) -> pd.DataFrame:
    names = {
        "none": "Its excess over a flat twin goes with alpha",
        "depth": "Its excess does, at equal depth",
    }
    claims = table["given"].map(names)
    return _judged(table, "correlation", "below", group="Twin", claim=claims, statistic="correlation")


def count(table: pd.DataFrame) -> pd.DataFrame:
    """Return how many claims of each model have each outcome: model, outcome, n_claims, of."""
    counts = table.groupby(["model", "outcome"], sort=False).size().unstack(fill_value=0)
    counts = counts.reindex(columns=list(OUTCOMES), fill_value=0)
    total = counts.sum(axis=1)
    long = counts.stack().rename("n_claims").reset_index()
    return long.assign(of=long["model"].map(total))
