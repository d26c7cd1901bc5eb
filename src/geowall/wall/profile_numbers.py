"""Numbers along depth: where exponents, errors and summaries rise, peak and level off.

Each is the value of the model that is worst for the claim, with the range over models for an interval.

>>> rows = pd.DataFrame({"model": "m", "layer": range(5), "nu": [1.0, 2, 3, 2, 1]})
>>> peak(rows, "nu")
Found(value=0.5, low=0.5, high=0.5)
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from geowall.wall.evidence import Found, only

LAYERS = "data/published/geometric_wall_layers.csv"
SHOWCASE = "data/published/geometric_wall_showcase.csv"
GAO_AT_50 = 0.017 + 0.042 * np.log(50.0)  # width exponent of Gao et al. 2024, which has a floor beside it
BEFORE_THE_END = 0.9  # of the depth: what comes later is the end of the model, where errors jump


def lab_profiles(geometry: pd.DataFrame) -> pd.DataFrame:
    """The lab's summaries by layer of the residual stream, a column each."""
    rows = only(geometry, "06/layer_geometry", source="lab", site="res")
    rows = rows.drop_duplicates(["model", "layer", "estimator"])
    return rows.pivot_table(index=["model", "layer"], columns="estimator", values="value").reset_index()


def _worst(table: pd.DataFrame, column: str, of: Callable[[pd.Series], float], good: float) -> Found:
    """What ``of`` makes of a column by relative depth, in the model where it is farthest from ``good``."""
    made = []
    for _, rows in table.groupby("model"):
        rows = rows.sort_values("layer")
        made.append(of(pd.Series(rows[column].to_numpy(float), rows["layer"] / rows["layer"].max())))
    return Found(float(max(made, key=lambda value: abs(value - good))), float(min(made)), float(max(made)))


def peak(table: pd.DataFrame, column: str) -> Found:
    """Relative depth of the largest value."""
    return _worst(table, column, lambda s: float(s.idxmax()), 0.5)


def inner_peak(table: pd.DataFrame, column: str) -> Found:
    """Relative depth of the largest value before the last layers."""
    return _worst(table, column, lambda s: float(s[s.index < BEFORE_THE_END].idxmax()), 0.5)


def dip(table: pd.DataFrame, column: str) -> Found:
    """Share of the inner peak that is gone at the least value after it."""

    def of(s: pd.Series) -> float:
        top = s[s.index < BEFORE_THE_END].idxmax()
        return float(1 - s[s.index > top].min() / s[top])

    return _worst(table, column, of, 1.0)


def jump(table: pd.DataFrame, column: str) -> Found:
    """Last layer over the one before."""
    return _worst(table, column, lambda s: float(s.iloc[-1] / s.iloc[-2]), 10.0)


def plateau(table: pd.DataFrame, column: str) -> Found:
    """What a column still ranges over in the second half, as a share of what it rises by before that.

    Negative where it falls from the first layer to the middle.
    """

    def of(s: pd.Series) -> float:
        late = s[s.index >= 0.5]
        return float((late.max() - late.min()) / (late.iloc[0] - s.iloc[0]))

    return _worst(table, column, of, 0.0)


def first(layers: pd.DataFrame, model: str) -> Found:
    """Published exponent of layer 0 at k = 50."""
    return Found(float(only(layers, LAYERS, model=model, layer=0)["alpha_k50"].iloc[0]))


def unreached(layers: pd.DataFrame, model: str) -> Found:
    """1 where the wide dictionaries of layer 0 stop short of 50 active latents, else 0."""
    row = only(layers, LAYERS, model=model, layer=0).iloc[0]
    return Found(float(np.isnan(row["nmse_l0_50_width_hi"])))


def least(layers: pd.DataFrame, model: str) -> Found:
    """Smallest published exponent at k = 50."""
    return Found(float(only(layers, LAYERS, model=model)["alpha_k50"].min()))


def least_at(layers: pd.DataFrame, model: str) -> Found:
    """Relative depth of the smallest exponent."""
    rows = only(layers, LAYERS, model=model)
    return Found(float(rows.loc[rows["alpha_k50"].idxmin(), "layer"] / rows["layer"].max()))


def _late(layers: pd.DataFrame, model: str) -> pd.Series:
    rows = only(layers, LAYERS, model=model)
    rows = rows[rows["layer"] > rows["layer"].max() / 2]
    return rows.loc[rows["alpha_k50"].idxmax()]


def late_peak(layers: pd.DataFrame, model: str) -> Found:
    """Largest published exponent in the second half of a model."""
    return Found(float(_late(layers, model)["alpha_k50"]))


def late_peak_at(layers: pd.DataFrame, model: str) -> Found:
    """Depth of that layer, as a share of the model's layers up to and with it."""
    n = only(layers, LAYERS, model=model)["layer"].max() + 1
    return Found(float((_late(layers, model)["layer"] + 1) / n))


def below_gao(layers: pd.DataFrame) -> Found:
    """Gao's exponent less the late peak, the larger gap of both models."""
    return Found(float(max(GAO_AT_50 - late_peak(layers, model).value for model in layers["model"].unique())))


def floored_below_gao(found: pd.DataFrame) -> Found:
    """Gao's exponent less that above the floor, over the showcase layers: the most, least and most."""
    gaps = GAO_AT_50 - only(found, "09/wall_floors", source="published")["alpha_floor"]
    return Found(float(gaps.max()), float(gaps.min()), float(gaps.max()))


def corpora(layers: pd.DataFrame) -> Found:
    """Correlation of log errors on the two corpora, in the model where it is least."""
    logs = np.log(layers[["nmse_c4", "nmse_wikitext"]]).groupby(layers["model"]).corr()
    return Found(float(logs.xs("nmse_c4", level=1)["nmse_wikitext"].min()))


def identity(layers: pd.DataFrame) -> Found:
    """Largest miss of alpha(k) = -(beta_n + gamma ln k) at the three k that are drawn."""
    misses = [
        (layers[f"alpha_k{k}"] + layers["beta_n"] + layers["gamma"] * np.log(k)).abs().max()
        for k in (25, 50, 75)
    ]
    return Found(float(max(misses)))


def all_widths(layers: pd.DataFrame, showcase: pd.DataFrame) -> Found:
    """Largest gap between the exponents drawn at showcase layers and those of all their kept widths."""
    gaps = []
    for (model, layer), rows in showcase[showcase["kept"]].groupby(["model", "layer"]):
        slope = -np.polyfit(np.log(rows["width"]), np.log(rows["nmse"]), 1)[0]
        drawn = only(layers, LAYERS, model=model, layer=layer)["alpha_k50"].iloc[0]
        gaps.append(abs(float(drawn) - float(slope)))
    return Found(max(gaps))
