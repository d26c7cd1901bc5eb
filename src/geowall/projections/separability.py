"""Which concepts each architecture can see: clusters in the plane (Hindupur et al. 2025, figure 5).

>>> strengths = {"spade": [0.01], "topk": [8]}
>>> table = separability(strengths, [0], n_latents=16, steps=50, batch=64)
>>> sorted(table["architecture"].unique()), table["concept"].nunique(), list(table.columns) == COLUMNS
(['spade', 'topk'], 6, True)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from geowall.projections import concepts
from geowall.projections.autoencoders import Fit, fits
from geowall.projections.scenes import Ring, Scene

CHOOSE, SCORE = 4096, 4096  # tokens on which latents are chosen, and those on which they are scored
TOP = 5  # best latents of a concept whose F1 is averaged (Hindupur et al. 2025)
COLUMNS = ["architecture", "strength", "seed", "concept", "l0", "nmse", "f1_top5", "f1_heldout"]
COLUMNS += ["f1_union", "latents_per_concept", "f1_top5_chosen", "f1_heldout_chosen", "f1_union_chosen"]


def scored(fit: Fit, scene: Scene, top: int = TOP) -> pd.DataFrame:
    """A row a concept: how sparse and how true the codes are on test tokens, and how well a concept is seen.

    ``nmse`` is the squared error over the variance of all test tokens; ``f1_top5`` the mean F1 of the
    ``top`` best latents, as the paper reads it; ``f1_heldout`` of the best latent and ``f1_union`` of the
    union of at most ``top``, chosen on other tokens; ``latents_per_concept`` how many reach 95 % of it. The
    scores with ``_chosen`` are those on the other tokens: what a strength may be chosen by.
    """
    x, holds = scene.labelled(CHOOSE, seed=101)
    test, test_holds = scene.labelled(SCORE, seed=102)
    return scored_on(fit, (x, holds), (test, test_holds), scene.names, top)


def scored_on(
    fit: Fit, chosen: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor], names: Sequence[str], top: int
) -> pd.DataFrame:
    """:func:`scored` on given tokens: pairs of tokens and the concepts that hold of them."""
    codes = fit.coder.encode(test[0])
    fires, test_fires = fit.coder.encode(chosen[0]) > concepts.FIRES, codes > concepts.FIRES
    error = (test[0] - fit.coder.decode(codes)).square().sum()
    variance = (test[0] - test[0].mean(0)).square().sum()
    unions, test_unions = concepts.union(fires, chosen[1], test_fires, test[1], top)
    own = concepts.f1(fires, chosen[1])
    columns = {
        "architecture": fit.architecture,
        "strength": float(fit.strength),
        "seed": fit.seed,
        "concept": list(names),
        "l0": float(test_fires.float().sum(1).mean()),
        "nmse": float(error / variance),
        "f1_top5": concepts.best_mean(concepts.f1(test_fires, test[1]), top).tolist(),
        "f1_heldout": concepts.held_out(fires, chosen[1], test_fires, test[1])[0].tolist(),
        "f1_union": test_unions[-1].tolist(),
        "latents_per_concept": concepts.enough(unions).tolist(),
        "f1_top5_chosen": concepts.best_mean(own, top).tolist(),
        "f1_heldout_chosen": own.max(0).values.tolist(),
        "f1_union_chosen": unions[-1].tolist(),
    }
    return pd.DataFrame(columns)


def separability(
    strengths: Mapping[str, Sequence[float]],
    seeds: Sequence[int],
    n_latents: int = 128,
    scene: Mapping[str, object] | None = None,
    **training: object,
) -> pd.DataFrame:
    """A row for each autoencoder and cluster: ``COLUMNS`` (see :func:`scored`)."""
    ring = ring_of(scene)
    made = fits(ring, n_latents, strengths, seeds, training)
    return pd.concat([scored(fit, ring) for fit in made], ignore_index=True)[COLUMNS]


def ring_of(given: Mapping[str, object] | None) -> Ring:
    """A ring from the literals of a chapter."""
    values = dict(given or {})
    if values.get("moved") is not None:
        values["moved"] = tuple(values["moved"])
    return Ring(**values)


def best_settings(table: pd.DataFrame, score: str = "f1_top5") -> pd.DataFrame:
    """The strength at which each architecture sees the outer clusters, the inner ones, and both, best.

    The strength is chosen on the tokens that latents are chosen on, and scored on others. A row for each
    architecture and kind (``outer``, ``inner``, ``both``): columns architecture, kind, strength, f1 (mean
    ``score`` over seeds), low, high (its 95 % interval), l0, nmse, n_seeds, and f1_one_setting, one_low,
    one_high: the kind's F1 at the one strength that is best for both kinds.
    """
    kind = table["concept"].str.split().str[0]
    keys, by = ["architecture", "strength", "seed"], f"{score}_chosen"
    by_kind = table.assign(kind=kind).groupby([*keys, "kind"], sort=False)[["l0", "nmse", score, by]].mean()
    both = by_kind.groupby(keys, sort=False).mean().assign(kind="both").set_index("kind", append=True)
    one = both.groupby(keys[:2], sort=False)[by].mean().groupby("architecture").idxmax().str[1]
    rows = []
    for (architecture, name), part in pd.concat([by_kind, both]).groupby(
        ["architecture", "kind"], sort=False
    ):
        strength = part.groupby("strength", sort=False)[by].mean().idxmax()
        here = part.xs(strength, level="strength")
        row = {"architecture": architecture, "kind": name, "strength": strength}
        row |= dict(zip(["f1", "low", "high"], _spread(here[score]), strict=True))
        row |= {"l0": here["l0"].mean(), "nmse": here["nmse"].mean(), "n_seeds": len(here)}
        single = _spread(part.xs(one[architecture], level="strength")[score])
        rows.append(row | dict(zip(["f1_one_setting", "one_low", "one_high"], single, strict=True)))
    return pd.DataFrame(rows)


def _spread(values: pd.Series) -> tuple[float, float, float]:
    return (float(values.mean()), *interval(values.to_numpy()))


def interval(values: np.ndarray) -> tuple[float, float]:
    """A 95 % t interval of the mean; nothing from a single value."""
    from scipy.stats import t

    if len(values) < 2:
        return float("nan"), float("nan")
    half = t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean() - half), float(values.mean() + half)


def picked(made: Sequence[Fit], best: pd.DataFrame, seed: int) -> list[Fit]:
    """Of each architecture the autoencoder that sees both kinds best, of one seed."""
    both = best[best["kind"] == "both"]
    at = dict(zip(both["architecture"], both["strength"], strict=True))
    return [fit for fit in made if fit.seed == seed and at.get(fit.architecture) == fit.strength]


def fields(
    strengths: Mapping[str, Sequence[float]],
    best: pd.DataFrame,
    seeds: Sequence[int],
    n_latents: int = 128,
    n_points: int = 19,
    **training: object,
) -> pd.DataFrame:
    """Where the best latent for an outer and for an inner cluster fires, on a grid of the plane.

    Columns: architecture, concept, f1 (of that latent, on other tokens), x, y, code (over its largest).
    """
    ring = Ring()
    made = picked(fits(ring, n_latents, strengths, seeds, training), best, seeds[0])
    x, holds = ring.labelled(CHOOSE, seed=101)
    test, test_holds = ring.labelled(SCORE, seed=102)
    axis = torch.linspace(-1.9, 1.9, n_points)
    grid = torch.cartesian_prod(axis, axis)
    parts = []
    for fit in made:
        fires, test_fires = (fit.coder.encode(tokens) > concepts.FIRES for tokens in (x, test))
        score, chosen = concepts.held_out(fires, holds, test_fires, test_holds)
        codes = fit.coder.encode(grid)
        for concept in (2, 5):
            part = pd.DataFrame({"x": grid[:, 0], "y": grid[:, 1], "code": codes[:, chosen[concept]]})
            part["code"] /= max(1e-9, float(part["code"].max()))
            names = {"architecture": fit.architecture, "concept": ring.names[concept]}
            parts.append(part.assign(**names, f1=float(score[concept])))
    order = ["architecture", "concept", "f1", "x", "y", "code"]
    return pd.concat(parts, ignore_index=True)[order]


def cloud(n: int = 180) -> pd.DataFrame:
    """Tokens of the ring, to be drawn. Columns: x, y, concept."""
    x, holds = Ring().labelled(n, seed=103)
    names = np.array(Ring().names)[holds.float().argmax(1).numpy()]
    return pd.DataFrame({"x": x[:, 0], "y": x[:, 1], "concept": names})


def likeness(made: Sequence[Fit], scene: Scene, n_tokens: int = 600, per_concept: int = 5) -> pd.DataFrame:
    """Cosine similarity of the codes of tokens sorted by concept.

    Columns: architecture, row, column (place in the order), cosine.
    """
    x, holds = scene.labelled(n_tokens, seed=104)
    order, parts = sorted_by_concept(holds, per_concept), []
    for fit in made:
        matrix = concepts.similarity(fit.coder.encode(x[order]))
        parts.append(long_matrix(matrix).assign(architecture=fit.architecture))
    return pd.concat(parts, ignore_index=True)[["architecture", "row", "column", "cosine"]]


def ring_likeness(
    strengths: Mapping[str, Sequence[float]],
    best: pd.DataFrame,
    seeds: Sequence[int],
    n_latents: int = 128,
    **training: object,
) -> pd.DataFrame:
    """:func:`likeness` on the ring, at the strength that sees both kinds of cluster best."""
    made = picked(fits(Ring(), n_latents, strengths, seeds, training), best, seeds[0])
    return likeness(made, Ring())


def sorted_by_concept(holds: Bool[Tensor, "token concept"], each: int) -> Tensor:
    """Places of the first ``each`` tokens of every concept, concept by concept."""
    return torch.cat([torch.nonzero(column).flatten()[:each] for column in holds.T])


def long_matrix(matrix: Float[Tensor, "row column"]) -> pd.DataFrame:
    """A matrix as rows of ``row, column, cosine``."""
    row, column = np.indices(matrix.shape)
    return pd.DataFrame({"row": row.ravel(), "column": column.ravel(), "cosine": matrix.flatten().numpy()})


def code_blocks(
    strengths: Mapping[str, Sequence[float]],
    best: pd.DataFrame,
    seeds: Sequence[int],
    n_latents: int = 128,
    **training: object,
) -> pd.DataFrame:
    """How many blocks the code similarities fall into. A row for each architecture and seed.

    Columns: architecture, seed, stable_rank, blocks (its ceiling), rand_index (adjusted, of the spectral
    clusters with the concepts).
    """
    ring, rows = Ring(), []
    x, holds = ring.labelled(300, seed=105)
    made = fits(ring, n_latents, strengths, seeds, training)
    for seed in seeds:
        for fit in picked(made, best, seed):
            matrix = concepts.similarity(fit.coder.encode(x))
            count, _, rand = concepts.blocks(matrix, holds, seed=0)
            rows.append((fit.architecture, seed, concepts.stable_rank(matrix), count, rand))
    return pd.DataFrame(rows, columns=["architecture", "seed", "stable_rank", "blocks", "rand_index"])
