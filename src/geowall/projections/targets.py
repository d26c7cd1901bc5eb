"""What Hindupur et al. 2025 print, beside what this chapter finds: every target, held or missed, and why.

The paper gives no intervals, so a target is a range: ``SLACK`` about an F1 that it prints, ``NEAR`` about a
ratio that it describes, a bound where it states one. A target holds if the 95 % interval of our seeds meets
its range.

>>> verdict((0.95, 1.0), (0.90, 0.96)), verdict((0.95, 1.0), (0.80, 0.90)), verdict((-INF, 0.87), (0.5, 0.6))
('holds', 'below', 'holds')
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from geowall.projections.comparison import best_of
from geowall.projections.heterogeneity import DONE
from geowall.projections.separability import interval

SLACK, NEAR = 0.02, 1.25  # of an F1 of two digits, and the factor about a ratio that is "about" or "close to"
INF = float("inf")
COLUMNS = ["experiment", "architecture", "target", "paper_low", "paper_high", "ours", "low", "high"]
COLUMNS += ["n_seeds", "verdict", "reason"]
BLOCKS = {"spade": (6.0, 7.0), "relu": (2.0, 3.0), "jumprelu": (2.0, 3.0), "topk": (2.0, 3.0)}
F1_LEVEL, ERROR_RATIO, BEST_POS, BEST_OTHER, WIDE_L0 = 0.88, 20.0, 0.95, 0.87, 30.0
# Why a target is missed, where the reason is known. By experiment, what was measured, architecture, side.
REASONS = {
    ("plane", "inner", "relu", "above"): "within what a half plane can reach",
    ("plane", "inner", "jumprelu", "above"): "within what a half plane can reach",
    ("plane", "outer", "topk", "above"): "rises with training; dead latents start again here",
    ("plane", "blocks", "spade", "below"): "blocks of unequal size lower the stable rank",
    ("nested", "k", "topk", "below"): "a fifth of the variance may be left, so fewer than d suffice",
    ("nested", "k", "topk", "above"): "needs longer training",
    ("nested", "l0", "spade", "above"): "more than one latent a dimension after this training",
    ("nested", "l0", "spade", "below"): "rebuilds it only in part",
    ("nested", "small", "relu", "below"): "at this penalty; L0 falls as the penalty grows",
    ("formal language", "f1", "spade", "below"): "rises as the penalty falls, up to the least that was swept",
    ("formal language", "error", "relu", "below"): "ReLU stays below that F1: compared at its best",
}
UNKNOWN = {"above": "ours is higher; the cause is not isolated", "below": "ours is lower; not isolated"}


def verdict(paper: tuple[float, float], ours: tuple[float, float]) -> str:
    """``holds`` if our interval meets the paper's range, else on which side ours lies."""
    if ours[0] <= paper[1] and ours[1] >= paper[0]:
        return "holds"
    return "above" if ours[0] > paper[1] else "below"


def table(
    plane: pd.DataFrame,
    blocks: pd.DataFrame,
    nested: pd.DataFrame,
    formal: pd.DataFrame,
    paper: Mapping[str, tuple[float, float]],
) -> pd.DataFrame:
    """A row for each target of the paper's three experiments on known ground: ``COLUMNS``.

    ``plane`` is the table of best settings, ``paper`` its F1 of outer and inner clusters by architecture. A
    bound that the paper does not set is empty.
    """
    rows = [*_plane(plane, paper), *_blocks(blocks), *_first_k(nested), *_adapted(nested), *_words(formal)]
    return pd.DataFrame(rows, columns=COLUMNS)


def _row(
    key: tuple[str, str, str], words: str, paper: tuple, values: np.ndarray, logs: bool = False
) -> tuple:
    """A row from a number for each seed; ``logs`` for a ratio, whose mean is geometric."""
    values = np.log(values) if logs else np.asarray(values, dtype=float)
    ours = (values.mean(), *interval(values))
    return _told(key, words, paper, tuple(np.exp(ours)) if logs else ours, len(values))


def _told(key: tuple[str, str, str], words: str, paper: tuple, ours: tuple, n_seeds: int) -> tuple:
    mean, low, high = (float(value) for value in ours)
    ends = (mean, mean) if np.isnan(low) else (low, high)
    found = verdict(paper, ends)
    reason = "" if found == "holds" else REASONS.get((*key, found), UNKNOWN[found])
    bounds = (value if np.isfinite(value) else np.nan for value in paper)
    return (key[0], key[2], words, *bounds, mean, low, high, n_seeds, found, reason)


def _plane(best: pd.DataFrame, paper: Mapping[str, tuple[float, float]]) -> list[tuple]:
    rows, at = [], best.set_index(["architecture", "kind"])
    for name, values in paper.items():
        for kind, value in zip(("outer", "inner"), values, strict=True):
            ours = at.loc[(name, kind), ["f1", "low", "high"]]
            span, count = (value - SLACK, value + SLACK), int(at["n_seeds"].iloc[0])
            rows.append(_told(("plane", kind, name), f"F1, {kind} clusters", span, tuple(ours), count))
    return rows


def _blocks(blocks: pd.DataFrame) -> list[tuple]:
    counts = {name: part["blocks"].to_numpy() for name, part in blocks.groupby("architecture")}
    return [
        _row(("plane", "blocks", name), "blocks of codes", span, counts[name])
        for name, span in BLOCKS.items()
    ]


def _first_k(nested: pd.DataFrame) -> list[tuple]:
    topk, rows = nested[nested["architecture"] == "topk"], []
    ks = sorted(topk["strength"].unique())
    for dim, part in topk.groupby("concept_dim"):
        above = [k for k in ks if k > dim]
        if not above:
            continue
        beyond = 2.0 * ks[-1]  # stands for "none of the sweep"
        done = part[part["nmse"] < DONE].groupby("seed")["strength"].min()
        first = done.reindex(part["seed"].unique()).fillna(beyond).to_numpy()
        words = f"first k that rebuilds {dim} dimensions"
        rows.append(_row(("nested", "k", "topk"), words, (above[0], above[0]), first))
    return rows


def _adapted(nested: pd.DataFrame) -> list[tuple]:
    at_one, rows = nested[nested["strength"] == 1.0], []
    dims = sorted(nested["concept_dim"].unique())
    for dim in dims[:-1]:
        own = at_one[(at_one["architecture"] == "spade") & (at_one["concept_dim"] == dim)]
        words = f"latents a dimension at penalty 1, {dim} dimensions"
        ratio = own["l0"].to_numpy() / dim
        rows.append(_row(("nested", "l0", "spade"), words, (1.0 / NEAR, NEAR), ratio))
    for name in ("relu", "jumprelu"):
        own = at_one[(at_one["architecture"] == name) & (at_one["concept_dim"] == dims[0])]
        words = f"latents at penalty 1, {dims[0]} dimensions"
        rows.append(_row(("nested", "small", name), words, (WIDE_L0, INF), own["l0"].to_numpy()))
    return rows


def _words(formal: pd.DataFrame) -> list[tuple]:
    rows = [_row(*_error(formal), logs=True)]
    best = best_of(formal, ["architecture"], "f1").set_index("architecture")
    spans = {"jumprelu": (-INF, BEST_OTHER), "topk": (-INF, BEST_OTHER), "spade": (BEST_POS, INF)}
    for name, span in spans.items():
        ours = tuple(best.loc[name, ["f1", "low", "high"]])
        key = ("formal language", "f1", name)
        rows.append(_told(key, "best F1", span, ours, formal["seed"].nunique()))
    return rows


def _error(formal: pd.DataFrame) -> tuple[tuple, str, tuple, np.ndarray]:
    """ReLU's error over SpaDE's where both reach an F1: the paper's level, or ReLU's best if it is lower."""
    means = formal.groupby(["architecture", "seed", "strength"])[["f1", "nmse"]].mean()
    ratios = []
    for seed in formal["seed"].unique():
        relu, spade = means.loc[("relu", seed)], means.loc[("spade", seed)]
        level = min(F1_LEVEL, relu["f1"].max())
        least = [one[one["f1"] >= level]["nmse"].min() for one in (relu, spade)]
        ratios.append(least[0] / least[1])
    span = (ERROR_RATIO / NEAR, ERROR_RATIO * NEAR)
    return ("formal language", "error", "relu"), "error over SpaDE's at equal F1", span, np.array(ratios)


def missed(given: pd.DataFrame) -> pd.DataFrame:
    """The targets that do not hold."""
    return given[given["verdict"] != "holds"]
