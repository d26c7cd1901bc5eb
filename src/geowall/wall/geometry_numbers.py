"""The numbers that the claims of the Geometric Wall paper are judged by, each made from the book's tables.

>>> agreeing(pd.DataFrame({"agrees": ["as printed", "no"]})).value
0.5
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from geowall.laws.power import power
from geowall.laws.scaling.rivals import families
from geowall.laws.tables import where
from geowall.wall.evidence import Found, MissingError, Number, cell, only, share
from geowall.wall.floors import at_one_k

FOUR = ["d_int", "kappa_ms", "kappa_tv", "nu"]
ALL = "+".join(FOUR)
LAB = {"source": "lab", "site": "res", "architecture": "jumprelu", "schedule": "matched"}
PRINTED = "data/published/geometric_wall_floors.csv"
NONE = float("nan")


def agreeing(numbers: pd.DataFrame) -> Found:
    """Share of the printed numbers that come out, within the error of reading the drawings."""
    return Found(float((numbers["agrees"] != "no").mean()))


def lead(stage2: pd.DataFrame, source: str = "published") -> Found:
    """R2 of curvature less that of the best other summary, in the model where it is least."""
    rows = only(stage2, "08/stage2", source=source, dropped_layers=0, features=FOUR)
    rows = rows[rows["target"].astype(str).str.startswith("alpha")]
    wide = rows.pivot_table(index=["model", "target"], columns="features", values="r2")
    return Found(float((wide["kappa_ms"] - wide.drop(columns="kappa_ms").max(axis=1)).min()))


def largest_p(tests: pd.DataFrame) -> Found:
    """Largest p of the paper's own test over the two models."""
    return Found(
        float(
            only(tests, "08/null_tests", source="published", features="kappa_ms", null="permutation")[
                "p_value"
            ].max()
        )
    )


def false_alarms(alarms: pd.DataFrame) -> Found:
    """How often that test finds a link between random walks, at its best."""
    rates = only(alarms, "08/false_alarms", series="random walk", null="permutation")["false_alarm_rate"]
    return Found(float(rates.min()))


def worst_sweep(sweep: pd.DataFrame) -> Found:
    """Smallest leave-one-out R2 of curvature over sparsities and models."""
    rows = only(sweep, "08/sparsity", source="published", features="kappa_ms")
    return Found(float(rows["loo_r2"].min()))


def coefficient(stage2: pd.DataFrame, model: str, target: str, rival: str = "") -> Found:
    """Leave-one-out R2 of a coefficient of the law by curvature, or what that is above a rival's."""
    asked = {"source": "published", "model": model, "target": target, "dropped_layers": 0}
    own, other = (
        only(stage2, "08/stage2", features=name, **asked)["loo_r2"].iloc[0]
        for name in ("kappa_ms", rival or "none")
    )
    return Found(float(own - other if rival else own))


def pooled(curves: pd.DataFrame, model: str, rows: bool = False) -> Found:
    """R2 of the exponents at all sparsities on left-out layers by all four; or what left-out rows add."""
    row = only(curves, "08/curve_regressions", source="published", model=model, features=ALL).iloc[0]
    return Found(float(row["row_r2"] - row["layer_r2"] if rows else row["layer_r2"]))


def over_narrow(checkpoints: pd.DataFrame, model: str) -> Found:
    """R2 of checkpoints of left-out layers by all four less that by the error of the narrowest dictionary."""
    own, other = (
        only(checkpoints, "08/checkpoint_regressions", model=model, features=name)["layer_r2"].iloc[0]
        for name in (ALL, "nmse_narrow")
    )
    return Found(float(own - other))


def interpolation(left_out: pd.DataFrame, model: str, over: float = 0.0) -> Found:
    """R2 of checkpoints between their neighbours: the median over layers and widths of the matched grid.

    With ``over``, the share of layers and widths whose R2 is above it.
    """
    rows = only(left_out, "07/leave_one_out", **(LAB | {"model": model}))
    squares = rows.assign(miss=rows["log_error"] ** 2, all=rows["deviation"] ** 2)
    each = squares.groupby(["layer", "d_sae"])[["miss", "all"]].mean()
    r2 = 1 - each["miss"] / each["all"]
    return share(r2 > over) if over else Found(float(r2.median()))


def lab_r2(intervals: pd.DataFrame, model: str) -> Found:
    """Leave-one-out R2 of lab layers by curvature, with its block interval."""
    asked = {"source": "lab", "model": model, "features": "kappa_ms", "dropped_layers": 0}
    rows = only(intervals, "08/intervals", statistic="loo_r2", bootstrap="block", **asked)
    row = rows[rows["target"].astype(str).str.startswith("alpha")].iloc[0]
    return Found(float(row["value"]), float(row["low"]), float(row["high"]))


def lab_transfer(transfer: pd.DataFrame) -> Found:
    """Transfer R2 by curvature from one lab model to the other, the worse of both ways."""
    names = ["lab-small", "lab-large"]
    rows = only(
        transfer, "08/transfer", source="lab", train_model=names, test_model=names, features="kappa_ms"
    )
    rows = rows[(rows["clip"] == "training") & (rows["dropped_layers"] == 0)]
    if rows.empty:
        raise MissingError("08/transfer has no transfer between lab models")
    row = rows.loc[rows["transfer_r2"].idxmin()]
    return Found(float(row["transfer_r2"]), float(row.get("low", NONE)), float(row.get("high", NONE)))


def first_less_others(laws: pd.DataFrame, source: str) -> Found:
    """Exponent of layer 0 less the largest of the layers past the first quarter, in the worse model."""
    rows = only(laws, "07/layer_laws", source=source, form="no_floor")
    rows = at_one_k(_grid(rows))
    gaps = []
    for _, group in rows.groupby("model"):
        deep = group[group["layer"] > group["layer"].max() / 4]
        first = group[group["layer"] == 0]
        best = deep.loc[deep["alpha_width"].idxmax()]
        gap = float(first["alpha_width"].iloc[0] - best["alpha_width"])
        half = np.hypot(*((row["high"] - row["low"]) / 2 for row in (first.iloc[0], best)))
        gaps.append(Found(gap, gap - half, gap + half) if np.isfinite(half) else Found(gap))
    return min(gaps, key=lambda found: found.value)


def _grid(laws: pd.DataFrame) -> pd.DataFrame:
    """The residual stream's matched JumpReLU rows of the lab; all rows of other sources."""
    lab = laws["source"] == "lab"
    usual = np.logical_and.reduce([laws[name] == value for name, value in LAB.items() if name != "source"])
    return laws[~lab | usual]


def late_peak(layers: pd.DataFrame, model: str) -> Found:
    """Largest published exponent in the second half of a model."""
    rows = only(layers, "08/layers", source="published", model=model)
    return Found(float(rows.loc[rows["layer"] > rows["layer"].max() / 2, "alpha_k50"].max()))


def secant_gap(laws: pd.DataFrame) -> Found:
    """Largest difference of the surface's exponent and the chord's over published layers at k = 50."""
    rows = only(laws, "07/layer_laws", source="published", k=50.0, form=["no_floor", "secant"])
    wide = rows.pivot_table(index=["model", "layer"], columns="form", values="alpha_width").dropna()
    return Found(float((wide["no_floor"] - wide["secant"]).abs().max()))


def floors(laws: pd.DataFrame, source: str) -> pd.DataFrame:
    """Fitted floors of a source at one k: model, layer, floor, low, high."""
    rows = laws[laws["form"].astype(str).str.startswith("with_floor") & (laws["source"] == source)]
    rows = rows[~rows["form"].astype(str).str.endswith("printed")]
    if rows.empty:
        raise MissingError(f"07/layer_laws has no fitted floor of source {source}")
    plain = rows[rows["form"] == "with_floor"]
    return at_one_k(_grid(plain if len(plain) else rows))


def one_floor(laws: pd.DataFrame, model: str, layer: int) -> Found:
    """The fitted floor of a published showcase layer at k = 50."""
    row = only(floors(laws, "published"), "07/layer_laws, with a floor,", model=model, layer=layer).iloc[0]
    return Found(float(row["floor"]), float(row["low"]), float(row["high"]))


def printed_floor(printed: pd.DataFrame, model: str, layer: int) -> Found:
    """The floor that the paper prints for a layer at k = 50."""
    return Found(float(only(printed, PRINTED, model=model, layer=layer, k=50)["floor"].iloc[0]))


def with_all(subsets: pd.DataFrame, model: str, layer: int) -> Found:
    """The fitted floor with the widths that the paper drops, over the one without them."""
    rows = only(subsets, "07/subsets", source="published", model=model, layer=layer).set_index("subset")
    return Found(float(rows.loc["every", "floor"] / rows.loc["kept", "floor"]))


def positive(found: pd.DataFrame) -> Found:
    """Share of lab layers whose floor's interval stays clear of zero."""
    return share(only(found, "09/wall_floors", **LAB)["clear"])


def tracked(model: str, summary: str, statistic: str = "floor") -> Number:
    """Correlation over a model's layers of what its floors do with a geometric summary."""
    return cell("09/tracks", "correlation", model=model, features=summary, statistic=statistic, given="none")


def floor_power(found: pd.DataFrame, model: str) -> Found:
    """How often a link of floors and curvature as steep as the published one would show over a lab model."""
    theirs = only(found, "09/wall_floors", source="published")
    own = only(found, "09/wall_floors", **(LAB | {"model": model})).dropna(subset=["kappa_ms"])
    slope = float(np.polyfit(np.log(theirs["kappa_ms"]), theirs["floor"], 1)[0])
    return Found(power(np.log(own["kappa_ms"].to_numpy(float)), slope, float(own["floor"].std())))


def misfit(details: pd.DataFrame) -> Found:
    """Largest misfit of the fits to three points."""
    rows = only(details, "07/floors", source="published", n_widths=3)
    return Found(float(rows["rss"].max()))


def shrunk_by_training(budgets: pd.DataFrame) -> Found:
    """Floor over the least error where training grows with width, less where it does not; median of
    layers."""
    rows = only(budgets, "07/budgets", quantity="floor_share")
    wide = rows.pivot_table(index=["model", "layer"], columns="schedule", values="value")
    return Found(float((wide["scaled"] - wide["matched"]).median()))


def best_form(rivals: pd.DataFrame) -> Found:
    """Share of the lab's matched JumpReLU layers whose law with a floor beats all rivals by AIC."""
    rows = only(rivals, "07/rivals", **LAB)
    return share(rows[rows["aic_gap"] == 0]["form"] == "with_floor")


def best_kind(rivals: pd.DataFrame, criterion: str) -> Found:
    """Share of the lab's matched JumpReLU layers where the best form is one that stops."""
    rows = only(rivals, "07/rivals", **LAB)
    return share(where(families(rows), criterion=criterion)["gap"] > 0)


def forms_power(apart: pd.DataFrame, found: pd.DataFrame, criterion: str) -> Found:
    """How often a floor planted in the lab, as large as the fitted ones, is taken for a form that stops."""
    fitted = only(found, "09/wall_floors", **LAB)["floor_share"].median()
    rows = only(apart, "07/planted_families", criterion=criterion)
    near = rows["floor_share"].iloc[(rows["floor_share"] - fitted).abs().argmin()]
    return Found(float(rows.loc[rows["floor_share"] == near, "decided"].max()))


def clearly_curved(excess: pd.DataFrame, surrogate: str) -> Found:
    """Share of layers whose curvature lies clearly above that of a flat twin."""
    rows = only(excess, "06/excess", estimator="kappa_ms", surrogate=surrogate, site=LAB["site"])
    return share(rows["low"] > 0)


def mean_over_trimmed(rules: pd.DataFrame) -> Found:
    """Plain over trimmed mean error of the lab's checkpoints, the largest."""
    own = only(rules, "05/rules", source="here")
    return Found(float((own["nmse_mean"] / own["nmse"]).max()))


def twins(inventory: pd.DataFrame) -> Found:
    """Pairs of checkpoints of Gemma 2 2B that differ by one in the sparsity of their name."""
    own = inventory[inventory["model"] == "gemma-2-2b"].sort_values(["layer", "width", "nominal_l0"])
    steps = own.groupby(["layer", "width"])["nominal_l0"].diff()
    return Found(float((steps == 1).sum()))
