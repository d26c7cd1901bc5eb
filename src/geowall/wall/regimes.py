"""Which regime are real dictionaries in? alpha from frequencies and discovery, beta from manifolds alone.

If features with frequencies i^-(1 + alpha) are tiled by n_i ~ i^-g latents each, g = (1 + alpha)/(1 + beta),
a feature's latents share its frequency. The slope s of latents' frequency against rank is then not
1 + alpha but

    s = beta (1 + alpha) / (beta - alpha),   so   alpha = beta (s - 1) / (beta + s).

Without tiling (beta large) alpha = s - 1. With a slope of 1.5:

>>> round(untiled(1.5), 3), round(untiled(1.5, beta=1.0), 3), round(from_discovery(0.8, beta=0.2), 3)
(0.5, 0.2, 0.5)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf

import numpy as np
import pandas as pd

PATHOLOGICAL, BENIGN, OPEN = "pathological", "benign", "undecided"


def untiled(slope: float, beta: float = inf) -> float:
    """alpha from the slope s of latents' frequency against rank (positive), corrected for tiling at beta."""
    return slope - 1.0 if beta == inf else beta * (slope - 1.0) / (beta + slope)


def from_discovery(delta: float, beta: float) -> float:
    """alpha from D ~ N^delta, by delta = (1 + beta)/(1 + alpha) of the pathological regime."""
    return (1.0 + beta) / delta - 1.0


def slopes(latents: pd.DataFrame, taus: Sequence[float], parts: int = 4) -> pd.DataFrame:
    """Slope of firing frequency against rank of every dictionary, all live latents and without close ones.

    A latent whose nearest live neighbour is at a cosine of ``tau`` or more may be a tile; with such latents
    left out the slope is that of the rest. The window runs from the tenth part of the ranks to nine tenths,
    even in log rank; ``low`` and ``high`` are the least and the most of its ``parts``. Columns: d_sae, tau
    (1: none left out), n_latents, slope (positive), low, high.
    """
    made = []
    for d_sae, rows in latents.groupby("d_sae"):
        live = rows[~rows["dead"].astype(bool) & (rows["frequency"] > 0)]
        for tau in [1.0, *taus]:
            kept = live if tau >= 1 else live[~(live["neighbour_live"] >= tau)]
            if len(kept) >= 8 * parts:
                own = {"d_sae": int(d_sae), "tau": tau, "n_latents": len(kept)}
                made.append(own | _slope(np.sort(kept["frequency"].to_numpy())[::-1], parts))
    return pd.DataFrame(made)


def _slope(frequency: np.ndarray, parts: int) -> dict[str, float]:
    rank = np.arange(1, len(frequency) + 1)
    grid = np.geomspace(max(2, len(rank) / 10), 0.9 * len(rank), 16 * parts)
    x, y = np.log(grid), np.interp(np.log(grid), np.log(rank), np.log(frequency))
    steep = [
        -float(np.polyfit(a, b, 1)[0]) for a, b in zip(np.split(x, parts), np.split(y, parts), strict=True)
    ]
    return {"slope": -float(np.polyfit(x, y, 1)[0]), "low": min(steep), "high": max(steep)}


def betas(exponents: pd.DataFrame) -> pd.DataFrame:
    """beta of isolated manifolds by encoder: architecture, setting, beta (median), low, high (extremes)."""
    own = exponents[exponents["setting"].isin(["tokens", "gaussian"])]
    made = own.groupby(["architecture", "setting"])["beta"].agg(beta="median", low="min", high="max")
    return made.reset_index()


def estimates(slope: pd.DataFrame, beta: pd.DataFrame, discovered: pd.DataFrame) -> pd.DataFrame:
    """Every pairing of an alpha with a beta, and the regime it puts the dictionaries in.

    Takes the tables of :func:`slopes` and :func:`betas`, and ``growth_overall`` of chapter 05: the exponents
    of D(N) with their intervals over ladders. Columns: method, architecture, alpha, alpha_low, alpha_high,
    beta, beta_low, beta_high, restates (true where alpha is made from D(N): (1 + beta)/delta - 1 exceeds beta
    exactly where delta is below 1, so that the pairing says nothing that delta does not), regime (``benign``
    where the whole range of beta lies above that of alpha, ``pathological`` where it lies below, else
    ``undecided``).
    """
    widest, made = slope[slope["d_sae"] == slope["d_sae"].max()], []
    for b in beta[beta["setting"] == "tokens"].to_dict("records"):
        ends = [b["beta"], b["low"], b["high"]]
        for row in widest.to_dict("records"):
            given = "" if row["tau"] >= 1 else f", none closer than {row['tau']:g}"
            made.append(
                _estimate(f"frequencies{given}", b, [untiled(row[e]) for e in ("slope", "low", "high")])
            )
        whole = widest[widest["tau"] >= 1].iloc[0]
        tiled = [untiled(whole[e], v) for e, v in zip(("slope", "low", "high"), ends, strict=True)]
        made.append(_estimate("frequencies, untiled", b, tiled))
        for row in discovered.to_dict("records"):
            alphas = [from_discovery(row[e], b["beta"]) for e in ("exponent", "low", "high")]
            made.append(_estimate(f"D(N) at a cosine of {row['tau']:g}", b, alphas, restates=True))
    return pd.DataFrame(made)


def finite(scaling: pd.DataFrame, low: int, high: int) -> pd.DataFrame:
    """Exponent of D(N) that the theory itself has over widths as narrow as those at hand.

    Takes ``scaling`` of chapter 01, the optimal allocations, and the narrowest and widest dictionary; widths
    within a factor of two of that range count. In the benign regime D goes as N in the end, but not there.
    Columns: alpha, beta, regime, d_sae_low, d_sae_high, exponent.
    """
    near = scaling[scaling["d_sae"].between(low / 2, 2 * high)]
    made = []
    for (alpha, beta, regime), rows in near.groupby(["alpha", "beta", "regime"], sort=False):
        slope = np.polyfit(
            np.log(rows["d_sae"].astype(float)), np.log(rows["n_discovered"].astype(float)), 1
        )[0]
        ends = {"d_sae_low": int(rows["d_sae"].min()), "d_sae_high": int(rows["d_sae"].max())}
        made.append({"alpha": alpha, "beta": beta, "regime": regime} | ends | {"exponent": float(slope)})
    return pd.DataFrame(made)


def _estimate(
    method: str, beta: Mapping[str, float], alphas: Sequence[float], restates: bool = False
) -> dict[str, object]:
    alpha, low, high = alphas[0], float(np.min(alphas)), float(np.max(alphas))  # an unknown end stays so
    regime = BENIGN if beta["low"] > high else PATHOLOGICAL if beta["high"] < low else OPEN
    return {
        "method": method,
        "architecture": beta["architecture"],
        "alpha": alpha,
        "alpha_low": low,
        "alpha_high": high,
        "beta": beta["beta"],
        "beta_low": beta["low"],
        "beta_high": beta["high"],
        "restates": restates,
        "regime": regime,
    }


def signs(
    discovered: pd.DataFrame, tuned: pd.DataFrame, crowding: pd.DataFrame, mixture: pd.DataFrame
) -> pd.DataFrame:
    """Signs of the pathological regime that need neither alpha nor beta, and what each says.

    Columns: sign, value, low, high (NaN where there is no interval), threshold, says. The sign is there when
    the value lies on the pathological side of the threshold with its interval.
    """
    made = [
        _sign(f"D(N) falls behind N, cosine {r.tau:g}", (r.exponent, r.low, r.high), 1.0, below=True)
        for r in discovered.itertuples()
    ]
    most = tuned.loc[tuned["exponent"].idxmax()]
    made.append(_sign("A manifold keeps its share of latents", (float(most["exponent"]),) * 3, 0.95))
    live = crowding[crowding["kind"] == "live"].sort_values("d_sae")
    made.append(_sign("Decoder rows coincide", (float(live["close_share"].iloc[-1]),) * 3, 0.05))
    wide = mixture[mixture["d_sae"] == mixture["d_sae"].max()]
    ratio = wide["n_on_manifold"] / wide["predicted_n_on_manifold"]
    ends = float(ratio.median()), float(ratio.min()), float(ratio.max())
    made.append(_sign("A planted manifold takes what theory gives it", ends, 0.8))
    return pd.DataFrame(made)


def _sign(name: str, ends: tuple[float, float, float], threshold: float, below: bool = False) -> dict:
    value, low, high = ends
    there, absent = (high < threshold, low > threshold) if below else (low > threshold, high < threshold)
    says = PATHOLOGICAL if there else BENIGN if absent else OPEN
    return {"sign": name, "value": value, "low": low, "high": high, "threshold": threshold, "says": says}


def markdown(table: pd.DataFrame) -> str:
    """The signs as a MyST table."""
    lines = ["| Sign of the pathological regime | Here | Range | Threshold | Says |", "|---|--:|--:|--:|---|"]
    for row in table.itertuples():
        ends = "–" if row.low == row.high else f"{row.low:.2f} to {row.high:.2f}"
        lines.append(f"| {row.sign} | {row.value:.2f} | {ends} | {row.threshold:g} | {row.says} |")
    return "\n".join(lines)
