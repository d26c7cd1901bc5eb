"""How often would a claim pass if it were true? Powers of the claims that the lab's few layers could miss.

A share of layers has to stay above a half with its whole interval. Of two layers no share can:

>>> of_share(5 / 6, 2, 0.5), of_share(5 / 6, 32, 0.5) > 0.9
(0.0, True)
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from geowall.laws.power import cannot_tell, power
from geowall.wall.evidence import Found, only, share
from geowall.wall.geometry_numbers import LAB

LEVEL = "nmse_narrow"


def of_law(seen: pd.DataFrame, table: str, **rows: object) -> Found:
    """How often a true law would show over the lab's layers, or would do better than what was measured there.

    By the rule of chapter 08 (:func:`geowall.laws.power.cannot_tell`) a law that would seldom show is still
    refuted where it would hardly ever be as far off as what was measured. Of several rows the worst counts.
    """
    own = only(seen, table, source="lab", errors="spread", **rows)
    worst = own.loc[[own["measured"].idxmin()]]
    row, open_ = worst.iloc[0], len(cannot_tell(worst)) > 0
    return Found(float(row["power"] if open_ else max(row["power"], 1 - row["as_low"])))


def of_share(rate: float, n: int, limit: float) -> float:
    """How often the interval of a share of ``n`` layers is above ``limit``, each passing at ``rate``."""
    passes = [share(pd.Series([True] * k + [False] * (n - k))).low > limit for k in range(n + 1)]
    return float(stats.binom.pmf(np.flatnonzero(passes), n, rate).sum())


def of_floor(found: pd.DataFrame, model: str) -> Found:
    """How often a link of floors and curvature as steep as the published one would show over a lab model."""
    theirs = only(found, "09/wall_floors", source="published")
    own = only(found, "09/wall_floors", **(LAB | {"model": model})).dropna(subset=["kappa_ms"])
    slope = float(np.polyfit(np.log(theirs["kappa_ms"]), theirs["floor"], 1)[0])
    return Found(power(np.log(own["kappa_ms"].to_numpy(float)), slope, float(own["floor"].std())))


def of_forms(apart: pd.DataFrame, found: pd.DataFrame, criterion: str) -> Found:
    """How often most layers would take a form that stops, if every layer had a floor like those fitted.

    A planted curve as near to the fitted ones as there is, in exponent and in floor over least error, takes
    such a form at some rate; so many layers at that rate must pass the claim's own test. For the one form
    with a floor this is an upper bound.
    """
    own = only(found, "09/wall_floors", **LAB)
    rows = only(apart, "07/planted_families", criterion=criterion)
    for name, middle in (
        ("alpha_width", own["alpha_floor"].median()),
        ("floor_share", own["floor_share"].median()),
    ):
        rows = rows[(rows[name] - middle).abs() == (rows[name] - middle).abs().min()]
    return Found(of_share(float(rows["decided"].iloc[0]), len(own), 0.5))


def of_published_forms(rivals: pd.DataFrame) -> Found:
    """How often the published layers with enough widths would show most of them to prefer a floor."""
    rows = only(rivals, "07/rivals", source="published")
    return Found(of_share(5 / 6, rows.groupby(["model", "layer"]).ngroups, 0.5))


def of_level(layers: pd.DataFrame, model: str) -> Found:
    """How often an error that goes with curvature as the published one does would show over a lab model."""
    theirs = only(layers, "08/layers", source="published").groupby("model")
    slopes = [np.polyfit(np.log(rows["kappa_ms"]), np.log(rows[LEVEL]), 1)[0] for _, rows in theirs]
    own = only(layers, "08/layers", source="lab", model=model).dropna(subset=["kappa_ms", LEVEL])
    x, y = (np.log(own[name].to_numpy(float)) for name in ("kappa_ms", LEVEL))
    return Found(power(x, float(max(slopes, key=abs)), float(y.std(ddof=1))))
