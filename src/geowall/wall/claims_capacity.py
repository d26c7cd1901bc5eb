"""The claims of Michaud et al. 2025 on capacity allocation, C1 to C10 of this book's list.

>>> [claim.claim[:3] for claim in CLAIMS][:2]
['C1 ', 'C2 ']
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd

from geowall.wall.claims import MICHAUD, NONE, Claim, Control
from geowall.wall.evidence import Found, MissingError, cell, check, made, nothing, only
from geowall.wall.rules import about, above, below, between, same

PAPER = MICHAUD


def largest_gap(separation: pd.DataFrame) -> Found:
    """Largest share by which the loss of a mixture and the sum of its parts differ."""
    return Found(float(separation["additivity_gap"].abs().max()))


def lost(mixture: pd.DataFrame) -> Found:
    """Features discovered over those of the optimal allocation, at the widest, median and range of seeds."""
    widest = mixture[mixture["d_sae"] == mixture["d_sae"].max()]
    ratio = widest["n_discovered"] / widest["predicted_n_discovered"]
    return Found(float(ratio.median()), float(ratio.min()), float(ratio.max()))


def worst_exponent(regimes: pd.DataFrame) -> Found:
    """Largest distance of a fitted exponent of a regime from the theory's."""
    return Found(float((regimes["exponent_fit"] - regimes["exponent_theory"]).abs().max()))


def last_step(losses: pd.DataFrame) -> Found:
    """Loss on the circle with 24 latents over that with 8, the best of the seeds each."""
    best = losses.groupby("n_latents")["loss"].min()
    return Found(float(best[24] / best[8]))


def falls(table: pd.DataFrame, architecture: str, penalty: str, manifold: str, most: bool = False) -> Found:
    """Share of the loss past 2d that goes; the least of the spheres, or the most of the thickest shells."""
    rows = only(table, "02/falls", architecture=architecture, manifold=manifold)
    rows = rows[rows["penalty"].str.startswith(penalty)]
    rows = rows[rows["thickness"] == rows["thickness"].max()]
    if rows.empty:
        raise MissingError(f"02/falls has no {architecture} under {penalty}")
    return Found(float(rows["fall"].max() if most else rows["fall"].min()))


def sphere_beta(exponents: pd.DataFrame) -> Found:
    """Exponent of L(n) on the sphere of most dimensions under ReLU and L1."""
    rows = only(exponents, "02/exponents", architecture="relu", manifold="sphere", floor=0.0)
    row = rows.loc[rows["d"].idxmax()]
    return Found(float(row["beta"]), float(row["low"]), float(row["high"]))


def other_encoder(exponents: pd.DataFrame) -> Found:
    """Exponent on the thick shell over that on the sphere under TopK, most dimensions, over equal widths."""
    rows = only(exponents, "02/exponents_alike", architecture="topk", floor=0.0)
    own = rows[rows["d"] == rows["d"].max()].set_index("thickness")["beta"]
    return Found(float(own[own.index.max()] / own[0.0]))


def frequency_slope(slopes: pd.DataFrame) -> Found:
    """Slope of firing frequency against rank, median over the widest dictionaries, and their quartiles."""
    own = slopes[slopes["d_sae"] == slopes["d_sae"].max()]["slope"]
    return Found(*(float(own.quantile(q)) for q in (0.5, 0.25, 0.75)))


def flatter(slopes: pd.DataFrame) -> Found:
    """Median slope of the widest dictionaries less that of those half as wide, with an interval."""
    wide = slopes["d_sae"].max()
    ends = [slopes.loc[slopes["d_sae"] == width, "slope"].to_numpy(float) for width in (wide, wide // 2)]
    rng = np.random.default_rng(0)
    draws = [np.median(rng.choice(own, (2000, len(own))), axis=1) for own in ends]
    interval = np.quantile(draws[0] - draws[1], [0.025, 0.975])
    return Found(float(np.median(ends[0]) - np.median(ends[1])), *map(float, interval))


def absorbed(exponents: pd.DataFrame) -> Found:
    """Fewest latents within 2 % of the best loss on the sphere of most dimensions under ReLU and L1."""
    rows = only(exponents, "02/exponents", architecture="relu", manifold="sphere", floor=0.0)
    row = rows.loc[rows["d"].idxmax()]
    if row["n_saturation"] >= row["n_high"]:
        raise MissingError(f"it still gains at the widest dictionary trained, of {row['n_high']:,} latents")
    return Found(float(row["n_saturation"]))


def tail(crowding: pd.DataFrame, kind: str) -> Found:
    """Share of decoder rows with a neighbour at a cosine of 0.97, in the widest dictionary."""
    rows = only(crowding, "05/crowding", kind=kind)
    return Found(float(rows.loc[rows["d_sae"].idxmax(), "close_share"]))


def largest_growth(growth: pd.DataFrame) -> Found:
    """Exponent of D(N) at a cosine of 0.7 in the ladder where it is largest."""
    return Found(float(only(growth, "05/growth", tau=0.7)["exponent"].max()))


CLAIMS = [
    Claim(
        PAPER, "C1 The loss separates, largest gap", "toy", NONE,
        made(largest_gap, "02/separation"), below(0.05), "02", "mixture",
        Control(
            "training finds the features that the optimum would",
            "but training of this length finds a fraction of the features that the optimum would",
            "found, of those",
            made(lost, "02/mixture"), between(0.8, 1.25),
        ),
    ),
    Claim(
        PAPER, "C2 Regimes, worst error of an exponent", "theory", NONE,
        made(worst_exponent, "01/regimes"), below(0.01), "01", "exponents",
        Control(
            "two decades of widths read the exponent within its interval",
            "two decades of widths read the exponent too low, by more than its interval",
            "upper end of it over the limit",
            check("01", "upper end of its 95 % interval, against the limit"), above(1),
        ),
    ),
    Claim(
        PAPER, "C2 Regimes, largest ratio of a prefactor", "theory", 1.0,
        check("01", "regimes: largest ratio of a fitted to a theoretical prefactor"), same(0.15),
        "01", "exponents",
        Control(
            "it is within a twentieth by a trillion latents",
            "on the border of the regimes it comes as a logarithm does: a trillion latents are too few",
            "ratio",
            check("01", "regimes: largest ratio of a fitted to a theoretical prefactor"), below(1.05),
        ),
    ),
    Claim(
        PAPER, "C2 Manifolds that saturate do no harm, D/N", "theory", 1.0,
        check("01", "features per latent at 1e6 latents, saturating at 100"), same(1e-3),
        "01", "saturation",
    ),
    Claim(
        PAPER, "C3 Features found by 1e8 latents", "theory", 3e6,
        check("01", "features discovered by 1e8 latents, alpha = 0.5, beta = 0.05 (the paper: about 3e6)"),
        same(2e5), "01", "discovery",
    ),
    Claim(
        PAPER, "C4 Circle: loss with 24 latents over 8", "toy", NONE,
        made(last_step, "02/circle_losses"), between(0.8, 0.99), "02", "circle",
    ),
    Claim(
        PAPER, "C5 Spheres go on gaining past 2d, least", "toy", NONE,
        made(partial(falls, architecture="relu", penalty="l1", manifold="sphere"), "02/falls"),
        above(0.05), "02", "loss-curves",
    ),
    Claim(
        PAPER, "C5 A sphere of 8 dimensions absorbs latents", "toy", 1e4,
        made(absorbed, "02/exponents"), above(1e4), "02", "loss-curves",
    ),
    Claim(
        PAPER, "C5 Exponent on a sphere of 8 dimensions", "toy", 0.05,
        made(sphere_beta, "02/exponents"), about(2), "02", "sphere-exponents",
    ),
    Claim(
        PAPER, "C6 Shells stop near 2d, largest fall past it", "toy", NONE,
        made(partial(falls, architecture="relu", penalty="l1", manifold="shell", most=True), "02/falls"),
        below(0.1), "02", "loss-curves",
        Control(
            "under TopK too a thick shell falls less than a sphere",
            "only for half spaces: under TopK a thick shell falls as a sphere does",
            "exponent on the shell over that on the sphere",
            made(other_encoder, "02/exponents_alike"), below(0.5),
        ),
    ),
    Claim(
        PAPER, "C6 Rippling manifolds do not stop so, fall", "toy", NONE,
        cell("02/other_falls", "fall", manifold="ripple", architecture="relu"), above(0.1), "02", "others",
    ),
    Claim(
        PAPER, "C7 JumpReLU agrees with ReLU on spheres", "toy", NONE,
        made(partial(falls, architecture="jumprelu", penalty="l1", manifold="sphere"), "02/falls"),
        above(0.05), "02", "jumprelu-curves",
        Control(
            "it does under an L0 penalty too",
            "under an L0 penalty it stops on spheres too",
            "least fall",
            made(partial(falls, architecture="jumprelu", penalty="l0", manifold="sphere"), "02/falls"),
            above(0.05),
        ),
    ),
    *(
        Claim(
            PAPER, f"C8 Frequency slope of Gemma Scope, {width}", "published", there,
            nothing("its dictionaries are not in this book: run chapter 05 with --profile gemma"),
            same(0.05), "05", "ranks",
        )
        for width, there in (("16k", -0.74), ("32k", -0.57))
    ),
    Claim(
        PAPER, "C8 Frequency slope, widest of the lab", "lab", -0.57,
        made(frequency_slope, "05/slopes"), about(2), "05", "ranks",
    ),
    Claim(
        PAPER, "C8 Twice as wide, the slope is flatter, by", "lab", 0.17,
        made(flatter, "05/slopes"), above(0), "05", "ranks",
    ),
    Claim(
        PAPER, "C9 Some latents all but coincide, share", "lab", NONE,
        made(partial(tail, kind="all"), "05/crowding"), above(0), "05", "neighbour-cosines",
        Control(
            "they fire",
            "most of them never fire",
            "share of live over that of all latents",
            made(lambda t: Found(tail(t, "live").value / tail(t, "all").value), "05/crowding"), above(0.5),
        ),
    ),
    Claim(
        PAPER, "C10 Real dictionaries lag: exponent of D(N)", "lab", NONE,
        cell("05/growth_overall", "exponent", tau=0.5), below(1), "05", "discovery-widths",
        Control(
            "at a stricter cosine it lags in every ladder of widths",
            "at a stricter cosine D keeps up with N in one ladder of widths",
            "largest exponent",
            made(largest_growth, "05/growth"), below(0.95),
        ),
    ),
]  # fmt: skip
