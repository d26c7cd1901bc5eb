"""Do fitted floors agree with printed ones, and what would it take where they do not?

A layer with more than three widths has noise of its own, and by that an interval of its own. A curve through
three points has one floor and nothing left over: any other floor fits too if the points may be off by enough,
so by itself the layer has no interval, and one by borrowed noise says only what that noise does to it.
The paper's floors come from another fit: one surface over many sparsities, which need not pass through the
points at any of them. How much that matters is seen at the *other* layers: by how much do their two floors
differ? That, put on top of the noise, is the interval for what the paper would print:

>>> widened(0.058, 0.055, 0.061, others=[0.01, -0.02, 0.0, 0.01, -0.04]).round(4).tolist()
[0.0538, 0.0624]
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import stats

from geowall.laws.scaling import intervals
from geowall.laws.scaling.floors import curve

KEY = ["model", "layer"]


def widened(
    floor: float, low: float, high: float, others: Sequence[float], level: float = 0.95
) -> Float[np.ndarray, " 2"]:
    """Return an interval of a floor with the differences ``others`` put on top of its noise, in logarithms.

    ``others`` are logarithms of fitted over printed floor elsewhere, about zero.
    """
    root = np.sqrt(np.mean(np.square(others)))
    also = stats.t.ppf((1 + level) / 2, len(others)) * root
    sides = np.hypot(np.log([floor / low, high / floor]), also)
    return floor * np.exp(sides * [-1, 1])


def agreement(
    floors: pd.DataFrame, printed: pd.DataFrame, points: pd.DataFrame, at: float = 50.0
) -> pd.DataFrame:
    """Set each fitted floor of the published points beside the printed one.

    ``printed`` has a floor for each layer and ``k``. Columns: model, layer, n_widths, dof, sigma, sigma_dof,
    floor, low, high, printed, inside (the printed floor, as rounded, lies in the interval), difference (log
    of fitted over printed), k_slope (of the logarithms of the printed floors in log k), misfit (root mean
    square by which holding the floor at the printed one moves the curve off the points, in standard
    deviations of their noise), and, where the curve is exactly determined, low_paper, high_paper and
    inside_paper: by :func:`widened`, from all other layers.
    """
    own = floors[(floors["source"] == "published") & (floors["k"] == at)]
    logs = printed.assign(k=np.log(printed["k"]), floor=np.log(printed["floor"])).groupby(KEY)[["k", "floor"]]
    slopes = logs.apply(lambda own: float(np.polyfit(own["k"], own["floor"], 1)[0]))
    there = printed[printed["k"] == at].set_index(KEY)["floor"]
    table = own[[*KEY, "n_widths", "dof", "sigma", "sigma_dof", "rss", "floor", "low", "high"]].reset_index(
        drop=True
    )
    place = pd.MultiIndex.from_frame(table[KEY])
    table = table.assign(printed=there.reindex(place).to_numpy(), k_slope=slopes.reindex(place).to_numpy())
    table["inside"] = _inside(table, "low", "high")
    table = table.join(_alone(points[points["k"] == at]), on=KEY)
    table["inside_own"] = _inside(table, "low_own", "high_own").where(table["dof"] > 0)
    table["difference"] = np.log(table["floor"] / table["printed"])
    table["misfit"] = [_misfit(row, points) for row in table.to_dict("records")]
    ends = np.array([
        widened(row.floor, row.low, row.high, table["difference"].drop(row.Index))
        for row in table.itertuples()
    ])  # fmt: skip
    exact = table["dof"] == 0
    table = table.assign(low_paper=ends[:, 0], high_paper=ends[:, 1])
    table["inside_paper"] = _inside(table, "low_paper", "high_paper").where(exact)
    table[["low_paper", "high_paper"]] = table[["low_paper", "high_paper"]].where(exact)
    return table.drop(columns="rss")


def _alone(points: pd.DataFrame) -> pd.DataFrame:
    """Return the ends of every layer's interval where no other layer lends it noise."""
    alone = pd.concat([intervals.floors(own) for _, own in points.groupby(KEY)])
    return alone.set_index(KEY)[["low", "high"]].add_suffix("_own")


def _inside(table: pd.DataFrame, low: str, high: str) -> pd.Series:
    """Say whether the printed floor lies in an interval whose ends are rounded as it is."""
    return table["printed"].between(table[low].round(3), table[high].round(3))


def _misfit(row: dict[str, object], points: pd.DataFrame) -> float:
    same = (points["model"] == row["model"]) & (points["layer"] == row["layer"]) & points["kept"]
    own = points[same & (points["k"] == 50)].sort_values("d_sae")
    errors = np.log(own["nmse"].to_numpy())[None]
    fit = curve(own["d_sae"].to_numpy(float), errors, np.array([row["printed"]]))
    return float(np.sqrt(max(fit.rss[0] - row["rss"], 0) / len(own)) / row["sigma"])
