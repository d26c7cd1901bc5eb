"""The numbers that the claims of the Geometric Wall paper are judged by, each made from the book's tables.

>>> agreeing(pd.DataFrame({"agrees": ["as printed", "no"]})).value
0.5
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from geowall.wall.evidence import Found, MissingError, only, share
from geowall.wall.floors import at_one_k

FOUR = ["d_int", "kappa_ms", "kappa_tv", "nu"]
ALL = "+".join(FOUR)
LAB = {"source": "lab", "site": "res", "architecture": "jumprelu", "schedule": "matched"}
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


def sweep_lead(sweep: pd.DataFrame) -> Found:
    """Left-out R2 of curvature less that of a curve in depth, at the sparsity and model where it is least."""
    rows = only(sweep, "08/sparsity", source="published", features=["kappa_ms", "depth"])
    wide = rows.pivot_table(index=["model", "k"], columns="features", values="loo_r2")
    return Found(float((wide["kappa_ms"] - wide["depth"]).min()))


def left_out(
    stage2: pd.DataFrame, model: str, target: str, features: str = "kappa_ms", rival: str = ""
) -> Found:
    """Leave-one-out R2 of a number of the law by some summaries, or what that is above a rival's."""
    asked = {"source": "published", "model": model, "target": target, "dropped_layers": 0}
    own, other = (
        only(stage2, "08/stage2", features=name, **asked)["loo_r2"].iloc[0]
        for name in (features, rival or "none")
    )
    return Found(float(own - other if rival else own))


def drawn_correlations(numbers: pd.DataFrame) -> Found:
    """Share of the correlations printed in the paper's Fig. 5 that come out."""
    return agreeing(numbers[numbers["table"] == "Fig. 5"])


def metric_shift(readings: pd.DataFrame) -> Found:
    """Largest change of the lab's left-out R2 by curvature when the error is measured otherwise."""
    rows = only(readings, "08/readings", source="lab", form="no_floor", features="kappa_ms")
    wide = rows.pivot_table(index="model", columns="metric", values="loo_r2")
    return Found(float(wide.drop(columns="nmse").sub(wide["nmse"], axis=0).abs().max().max()))


def most_power(powers: pd.DataFrame) -> Found:
    """How often the published law would show, in the lab model where it would show more often."""
    return Found(float(only(powers, "08/power", source="lab", errors="spread")["power"].max()))


def at_several(tried: pd.DataFrame, model: str, sparsities: str = "floors") -> Found:
    """R2 of the exponents at several sparsities on left-out layers, by all four summaries."""
    way = {"sparsities": sparsities, "k_term": "with geometry", "left_out": "layer"}
    return Found(float(only(tried, "08/long_format", model=model, **way)["recomputed"].iloc[0]))


def sweep_off(tried: pd.DataFrame, model: str) -> Found:
    """By how much that R2 at the sparsities of the paper's own sweep misses the one that it prints."""
    printed = only(tried, "08/long_format", model=model)["printed"].iloc[0]
    return Found(abs(at_several(tried, model, "sweep").value - float(printed)))


def over(checkpoints: pd.DataFrame, model: str, rival: str) -> Found:
    """R2 of checkpoints of left-out layers by all four summaries less that by something else."""
    own, other = (
        only(checkpoints, "08/checkpoint_regressions", model=model, features=name)["layer_r2"].iloc[0]
        for name in (ALL, rival)
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


def carried(powers: pd.DataFrame, level: str) -> Found:
    """Transfer R2 by curvature between lab models, the worse way, with their level shared or free."""
    rows = only(powers, "08/power_transfer", source="lab", errors="spread", level=level)
    return Found(float(rows["measured"].min()))


def first_less_others(laws: pd.DataFrame, source: str) -> Found:
    """Exponent of layer 0 less the largest of the layers past the first quarter, in the worse model."""
    rows = only(laws, "07/layer_laws", source=source, form="no_floor")
    rows = at_one_k(on_usual_grid(rows))
    gaps = []
    for _, group in rows.groupby("model"):
        deep = group[group["layer"] > group["layer"].max() / 4]
        first = group[group["layer"] == 0]
        best = deep.loc[deep["alpha_width"].idxmax()]
        gap = float(first["alpha_width"].iloc[0] - best["alpha_width"])
        half = np.hypot(*((row["high"] - row["low"]) / 2 for row in (first.iloc[0], best)))
        gaps.append(Found(gap, gap - half, gap + half) if np.isfinite(half) else Found(gap))
    return min(gaps, key=lambda found: found.value)


def on_usual_grid(laws: pd.DataFrame) -> pd.DataFrame:
    """The residual stream's matched JumpReLU rows of the lab; all rows of other sources."""
    lab = laws["source"] == "lab"
    usual = np.logical_and.reduce([laws[name] == value for name, value in LAB.items() if name != "source"])
    return laws[~lab | usual]


def secant_gap(laws: pd.DataFrame) -> Found:
    """Largest difference of the surface's exponent and the chord's over published layers at k = 50."""
    rows = only(laws, "07/layer_laws", source="published", k=50.0, form=["no_floor", "secant"])
    wide = rows.pivot_table(index=["model", "layer"], columns="form", values="alpha_width").dropna()
    return Found(float((wide["no_floor"] - wide["secant"]).abs().max()))


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


def least_p(tests: pd.DataFrame, step: str, but: list[tuple[str, str]]) -> Found:
    """Smallest p of a step of the hierarchy, over all models and targets but some."""
    rows = only(tests, "09/nested_tests", source="published", step=step)
    kept = [pair not in but for pair in zip(rows["model"], rows["target"], strict=True)]
    return Found(float(rows.loc[kept, "p_value"].min()))
