"""The claims of Hindupur et al. 2025 on what each architecture can see.

>>> {claim.place for claim in CLAIMS}
{'03'}
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pandas as pd

from geowall.wall.claims import HINDUPUR, NONE, Claim, Control
from geowall.wall.evidence import Found, MissingError, cell, made, nothing, only, share, spread
from geowall.wall.rules import about, above, below, between, same

PAPER = HINDUPUR
NEAR = same(0.1)  # of F1: trained for fewer steps than the paper
APART = ["relu", "jumprelu", "spade"]


def best(settings: pd.DataFrame, kind: str, architectures: Sequence[str], most: bool = True) -> Found:
    """Largest (or smallest) F1 of some architectures on a kind of cluster, at their best setting."""
    rows = only(settings, "03/best_settings", kind=kind, architecture=list(architectures))
    row = rows.loc[rows["f1"].idxmax() if most else rows["f1"].idxmin()]
    return Found(float(row["f1"]), float(row["low"]), float(row["high"]))


def blocks(table: pd.DataFrame, architectures: Sequence[str]) -> Found:
    """Blocks of similar codes, mean over seeds with its interval; the most of the architectures."""
    rows = only(table, "03/code_blocks", architecture=list(architectures))
    found = [spread(group["blocks"]) for _, group in rows.groupby("architecture")]
    return max(found, key=lambda one: one.value)


def at_first_k(table: pd.DataFrame) -> Found:
    """Share of concepts that TopK rebuilds exactly from the first k above their dimension on."""
    return share(table["k"] == table["k_above"])


def per_dimension(table: pd.DataFrame) -> Found:
    """Latents a dimension that SpaDE spends, all concepts but the largest: the middle, least and most."""
    small = table.sort_values("concept_dim").iloc[:-1]
    ratio = small["l0"] / small["concept_dim"]
    return Found(float(ratio.median()), float(ratio.min()), float(ratio.max()))


def on_smallest(table: pd.DataFrame, architecture: str) -> Found:
    """Latents spent on the smallest concept at a penalty of 1."""
    rows = only(table, "03/heterogeneity", architecture=architecture, strength=1.0)
    return spread(rows[rows["concept_dim"] == rows["concept_dim"].min()]["l0"])


def top_f1(table: pd.DataFrame, architecture: str, score: str = "f1") -> Found:
    """Best mean F1 of parts of speech over penalties, with the interval over seeds."""
    rows = only(table, "03/formal_language", architecture=architecture)
    seeds = rows.groupby(["strength", "seed"])[score].mean()
    strength = seeds.groupby("strength").mean().idxmax()
    return spread(seeds[strength])


def error_ratio(table: pd.DataFrame) -> Found:
    """ReLU's error where it is best over the least of the SpaDEs that detect at least as well."""
    mean = table.groupby(["architecture", "strength"])[["f1", "nmse"]].mean()
    relu, spade = (only(mean.reset_index(), "03/formal_language", architecture=a) for a in ("relu", "spade"))
    own = relu.loc[relu["f1"].idxmax()]
    as_good = spade[spade["f1"] >= own["f1"]]
    if as_good.empty:
        raise MissingError("03/formal_language has no SpaDE that detects as well as ReLU")
    return Found(float(own["nmse"] / as_good["nmse"].min()))


def gates(table: pd.DataFrame) -> Found:
    """Largest difference of any gate from the projection onto its set."""
    return Found(float(table["largest_difference"].max()))


def adapted(table: pd.DataFrame, architectures: Sequence[str]) -> Found:
    """Slope of L0 in the dimension of a concept where it rebuilds them best; the least of architectures."""
    rows = only(table, "03/dimension_slopes", architecture=list(architectures))
    rows = rows.loc[rows.groupby("architecture")["nmse"].idxmin()]
    row = rows.loc[rows["slope"].idxmin()]
    return Found(float(row["slope"]), float(row["low"]), float(row["high"]))


CLAIMS = [
    Claim(
        PAPER, "Gates are projections, largest difference", "theory", NONE, made(gates, "03/agreement"),
        below(1e-6), "03", "receptive-fields",
    ),
    Claim(
        PAPER, "SpaDE isolates inner clusters, F1", "toy", 0.99,
        made(partial(best, kind="inner", architectures=["spade"]), "03/best_settings"), NEAR,
        "03", "separability",
        Control(
            "radial basis functions without a simplex do not",
            "so do radial basis functions without a simplex",
            "their F1",
            made(partial(best, kind="inner", architectures=["rbf"]), "03/best_settings"), below(0.9),
        ),
    ),
    Claim(
        PAPER, "No other architecture does, best F1", "toy", 0.55,
        made(partial(best, kind="inner", architectures=["relu", "jumprelu", "topk"]), "03/best_settings"),
        NEAR, "03", "separability",
    ),
    *(
        Claim(
            PAPER, f"{name} on inner clusters, F1", "toy", there,
            made(partial(best, kind="inner", architectures=[kind]), "03/best_settings"), NEAR,
            "03", "separability",
        )
        for name, kind, there in (("ReLU", "relu", 0.48), ("JumpReLU", "jumprelu", 0.50))
    ),
    Claim(
        PAPER, "All but TopK isolate outer clusters, least F1", "toy", 0.99,
        made(partial(best, kind="outer", architectures=APART, most=False), "03/best_settings"), NEAR,
        "03", "separability",
    ),
    Claim(
        PAPER, "TopK on outer clusters, F1", "toy", 0.79,
        made(partial(best, kind="outer", architectures=["topk"]), "03/best_settings"), NEAR,
        "03", "separability",
    ),
    Claim(
        PAPER, "SpaDE's codes fall into 6 or 7 blocks", "toy", 6.0,
        made(partial(blocks, architectures=("spade",)), "03/code_blocks"), about(1.5), "03", "likeness",
    ),
    Claim(
        PAPER, "The others' into 2 or 3, most", "toy", 3.0,
        made(partial(blocks, architectures=("relu", "jumprelu", "topk")), "03/code_blocks"), below(3.5),
        "03", "likeness",
    ),
    Claim(
        PAPER, "TopK needs k above the dimension, share", "toy", 1.0,
        made(at_first_k, "03/first_k"), above(0.75), "03", "nested",
    ),
    Claim(
        PAPER, "SpaDE's L0 a dimension, all but the largest", "toy", 1.0,
        made(per_dimension, "03/spade_l0"), between(0.67, 1.5), "03", "nested",
    ),
    Claim(
        PAPER, "ReLU and JumpReLU adapt to dimension, slope", "toy", NONE,
        made(partial(adapted, architectures=["relu", "jumprelu"]), "03/dimension_slopes"), above(0.1),
        "03", "nested",
    ),
    Claim(
        PAPER, "TopK does not, slope at k = 32", "toy", 0.0,
        cell("03/dimension_slopes", "slope", architecture="topk", strength=32.0), below(0.1), "03", "nested",
        Control(
            "it does not at the largest k either",
            "at the largest k it does: latents that are allowed stay silent on small concepts", "slope",
            made(partial(adapted, architectures=["topk"]), "03/dimension_slopes"), below(0.1),
        ),
    ),
    Claim(
        PAPER, "ReLU wastes latents on a small concept", "toy", 30.0,
        made(partial(on_smallest, architecture="relu"), "03/heterogeneity"), above(30), "03", "nested",
    ),
    Claim(
        PAPER, "JumpReLU wastes latents on a small concept", "toy", 30.0,
        made(partial(on_smallest, architecture="jumprelu"), "03/heterogeneity"), above(30), "03", "nested",
        Control(
            "it does with a wider window, which lets its thresholds move",
            "not with a wider window, which lets its thresholds move",
            "latents",
            made(partial(on_smallest, architecture="jumprelu_wide"), "03/heterogeneity"), above(30),
        ),
    ),
    Claim(
        PAPER, "Formal language: SpaDE's F1 passes 0.95", "toy", 0.95,
        made(partial(top_f1, architecture="spade"), "03/formal_language"), same(0.02),
        "03", "formal-language",
        Control(
            "held out, at equal sparsity, it leads TopK",
            "held out, at equal sparsity, TopK leads",
            "lead",
            cell("03/gaps", "gap", setting="formal language", architecture="topk", score="f1_heldout"),
            above(0),
        ),
    ),
    Claim(
        PAPER, "Formal language: TopK stays below 0.87", "toy", 0.87,
        made(partial(top_f1, architecture="topk"), "03/formal_language"), below(0.87),
        "03", "formal-language",
        Control(
            "by its best latent, held out, it does",
            "by its best latent, held out, it does not",
            "F1",
            made(partial(top_f1, architecture="topk", score="f1_heldout"), "03/formal_language"), below(0.87),
        ),
    ),
    Claim(
        PAPER, "Formal language: JumpReLU stays below 0.87", "toy", 0.87,
        made(partial(top_f1, architecture="jumprelu"), "03/formal_language"), below(0.87),
        "03", "formal-language",
    ),
    Claim(
        PAPER, "Formal language: ReLU reaches F1", "toy", 0.88,
        made(partial(top_f1, architecture="relu"), "03/formal_language"), NEAR, "03", "formal-language",
    ),
    Claim(
        PAPER, "Formal language: ReLU's error over SpaDE's", "toy", 20.0,
        made(error_ratio, "03/formal_language"), about(2), "03", "formal-language",
    ),
    Claim(
        PAPER, "Images: SpaDE's F1 leads, median class", "published", 0.83,
        nothing("the weights of a vision model are not in this book"), above(0), "03", "naturalistic",
    ),
    Claim(
        PAPER, "Images: the others' F1, best median class", "published", 0.85,
        nothing("the weights of a vision model are not in this book"), below(0.85), "03", "naturalistic",
    ),
    Claim(
        PAPER, "Real text: SpaDE leads TopK held out, F1", "lab", NONE,
        cell("03/gaps", "gap", setting="real text", architecture="topk", score="f1_heldout"), above(0),
        "03", "naturalistic",
    ),
]  # fmt: skip
