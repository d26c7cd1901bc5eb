"""The comparison that a best-latent F1 leaves out: equal sparsity and error, other geometries, other goals.

Two autoencoders are matched when their L0 and their error agree within a factor; the difference of their F1
is then one of architecture. Where no pair agrees in both, the nearest in L0 stands in and its error is told.
Errors below ``PERFECT`` count as equal: nobody reads a concept off the fourth decimal.

>>> row = {"strength": 1.0, "seed": 0, "concept": "a", "l0": 10.0, "nmse": 0.1} | dict.fromkeys(SCORES, 0.9)
>>> other = row | {"architecture": "relu", "l0": 11.0, "f1_heldout": 0.5}
>>> pair = matched(pd.DataFrame([row | {"architecture": "spade"}, other]), "plane").iloc[0]
>>> str(pair["architecture"]), str(pair["matched_on"]), round(float(pair["f1_heldout_gap"]), 3)
('relu', 'l0 and error', 0.4)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from geowall.kernels.sae_step import Rule
from geowall.manifolds import generator
from geowall.projections.autoencoders import fits
from geowall.projections.scenes import Pairs, Ring, Scene
from geowall.projections.separability import interval, scored
from geowall.sae.curves import trained
from geowall.sae.discovery import features
from geowall.sae.metrics import measure
from geowall.sae.mixtures import scene as mixture_of
from geowall.sae.schedule import Member, derive

L0_FACTOR, NMSE_FACTOR = 1.3, 2.0  # within which two autoencoders are as sparse, and as true
PERFECT = 1e-3
SCORES = ["f1_top5", "f1_heldout", "f1_union"]
CHOSEN = [f"{score}_chosen" for score in SCORES]


def matched(table: pd.DataFrame, setting: str, reference: str = "spade") -> pd.DataFrame:
    """For each seed and architecture the pair with the reference that agrees best in L0 and in error.

    Columns: setting, architecture, seed, strength, reference_strength, l0_ratio, nmse_ratio (of the
    architecture over the reference), matched_on (``l0 and error``, ``l0``, or ``nothing`` within its factor),
    and for each score its gap: the reference's mean over concepts less the architecture's.
    """
    keys = ["architecture", "strength", "seed"]
    given = table.rename(columns={"f1": "f1_top5"})
    means = given.groupby(keys, sort=False)[["l0", "nmse", *SCORES]].mean().reset_index()
    rows = []
    for seed, part in means.groupby("seed", sort=False):
        home = part[part["architecture"] == reference]
        for name, other in part[part["architecture"] != reference].groupby("architecture", sort=False):
            rows.append({"setting": setting, "architecture": name, "seed": seed} | _nearest(other, home))
    return pd.DataFrame(rows)


def _nearest(other: pd.DataFrame, home: pd.DataFrame) -> dict[str, object]:
    pairs = other.merge(home, how="cross", suffixes=("", "_home"))
    l0 = pairs["l0"].clip(lower=0.01) / pairs["l0_home"]
    nmse = pairs["nmse"].clip(lower=PERFECT) / pairs["nmse_home"].clip(lower=PERFECT)
    by_l0 = np.log(l0).abs() / np.log(L0_FACTOR)
    by_both = np.maximum(by_l0, np.log(nmse).abs() / np.log(NMSE_FACTOR))
    on = "l0 and error" if by_both.min() <= 1.0 else "l0" if by_l0.min() <= 1.0 else "nothing"
    best = (by_both if on == "l0 and error" else by_l0).idxmin()
    row = {"strength": pairs["strength"][best], "reference_strength": pairs["strength_home"][best]}
    row |= {"l0_ratio": l0[best], "nmse_ratio": nmse[best], "matched_on": on}
    return row | {f"{name}_gap": pairs[f"{name}_home"][best] - pairs[name][best] for name in SCORES}


def gaps(pairs: pd.DataFrame) -> pd.DataFrame:
    """Mean gap over seeds, with its 95 % interval, of the closest kind of match that an architecture has.

    Pairs equal in both count alone where more than half of the seeds have one; else all pairs equal in L0.
    Columns: setting, architecture, score, gap, low, high, matched_on, n_matched (seeds), l0_ratio, nmse_ratio
    (geometric means). Architectures that match on nothing have no row here but one in :func:`unmatched`.
    """
    rows = []
    for (setting, name), part in pairs.groupby(["setting", "architecture"], sort=False):
        both = part["matched_on"] == "l0 and error"
        on = "l0 and error" if 2 * both.sum() > len(part) else "l0"
        here = part[both] if on == "l0 and error" else part[part["matched_on"] != "nothing"]
        if here.empty:
            continue
        ratios = [float(np.exp(np.log(here[column]).mean())) for column in ("l0_ratio", "nmse_ratio")]
        for score in SCORES:
            values = here[f"{score}_gap"].to_numpy()
            ends = interval(values)
            rows.append((setting, name, score, values.mean(), *ends, on, len(here), *ratios))
    columns = ["setting", "architecture", "score", "gap", "low", "high", "matched_on", "n_matched"]
    return pd.DataFrame(rows, columns=[*columns, "l0_ratio", "nmse_ratio"])


def unmatched(pairs: pd.DataFrame) -> pd.DataFrame:
    """Architectures that fail to match SpaDE's L0 at some seed.

    Columns: setting, architecture, n_seeds, n_matched, l0_ratio (geometric mean of the nearest pairs that do
    not match).
    """
    rows = []
    for (setting, name), part in pairs.groupby(["setting", "architecture"], sort=False):
        left = part[part["matched_on"] == "nothing"]
        if len(left):
            ratio = float(np.exp(np.log(left["l0_ratio"]).mean()))
            rows.append((setting, name, len(part), len(part) - len(left), ratio))
    return pd.DataFrame(rows, columns=["setting", "architecture", "n_seeds", "n_matched", "l0_ratio"])


def shifts(
    at: Mapping[str, float],
    seeds: Sequence[int],
    stretches: Sequence[float],
    norm_spreads: Sequence[float],
    n_latents: int = 128,
    **training: object,
) -> pd.DataFrame:
    """The ring with one axis stretched, stretched and whitened again, and with norms that vary.

    ``at`` gives each architecture its strength. A row for each autoencoder: columns shift (``stretched``,
    ``whitened``, ``norms``), amount, architecture, seed, l0, nmse, f1_heldout, f1_union (means of clusters).
    """
    scenes = [("stretched", a, Ring(stretch=a)) for a in stretches]
    scenes += [("whitened", a, Ring(stretch=a, whiten=True)) for a in stretches]
    scenes += [("norms", a, Ring(norm_spread=a)) for a in norm_spreads]
    parts = []
    for shift, amount, ring in scenes:
        means = _means(ring, at, seeds, n_latents, training)
        parts.append(means.assign(shift=shift, amount=float(amount)))
    order = ["shift", "amount", "architecture", "seed", "l0", "nmse", "f1_heldout", "f1_union"]
    return pd.concat(parts, ignore_index=True)[order]


def _means(
    scene: Scene, at: Mapping[str, float], seeds: Sequence[int], n_latents: int, training: Mapping
) -> pd.DataFrame:
    strengths = {name: [value] for name, value in at.items()}
    table = pd.concat([scored(fit, scene) for fit in fits(scene, n_latents, strengths, seeds, training)])
    return table.groupby(["architecture", "seed"], sort=False)[["l0", "nmse", *SCORES]].mean().reset_index()


def co_occurring(
    strengths: Mapping[str, Sequence[float]],
    seeds: Sequence[int],
    ties: Sequence[float],
    n_latents: int = 32,
    **training: object,
) -> pd.DataFrame:
    """Two concepts on every token, drawn apart or tied (:class:`geowall.projections.scenes.Pairs`).

    A row for each autoencoder: columns tied, architecture, strength, seed, l0, nmse, and the scores (also on
    the tokens of choice), means over the six concepts.
    """
    parts = []
    for tied in ties:
        made = fits(Pairs(tied), n_latents, strengths, seeds, training)
        parts += [scored(fit, Pairs(tied)).assign(tied=float(tied)) for fit in made]
    keys = ["tied", "architecture", "strength", "seed"]
    table = pd.concat(parts, ignore_index=True)
    return table.groupby(keys, sort=False)[["l0", "nmse", *SCORES, *CHOSEN]].mean().reset_index()


def best_of(table: pd.DataFrame, by: Sequence[str], score: str = "f1_heldout") -> pd.DataFrame:
    """The strength that is best for a score on the tokens of choice, scored on others.

    Columns: ``by``, strength, f1 (mean of seeds), low, high, l0, nmse.
    """
    rows = []
    for names, part in table.groupby(list(by), sort=False):
        strength = part.groupby("strength", sort=False)[f"{score}_chosen"].mean().idxmax()
        here = part[part["strength"] == strength]
        seeds = here.groupby("seed")[score].mean().to_numpy()
        keys = dict(zip(by, names if isinstance(names, tuple) else (names,), strict=True))
        values = {"strength": strength, "f1": seeds.mean()}
        low, high = interval(seeds)
        rest = {"low": low, "high": high, "l0": here["l0"].mean(), "nmse": here["nmse"].mean()}
        rows.append(keys | values | rest)
    return pd.DataFrame(rows)


def discovery(
    world: Mapping[str, float],
    d_saes: Sequence[int],
    penalties: Mapping[str, Sequence[float]],
    seeds: Sequence[int],
    **training: object,
) -> pd.DataFrame:
    """Does tiling cost discovery? The mixture of chapter 02, and the features that are discovered in it.

    ``penalties`` are in the engine's own units: l1 for ReLU and SpaDE, k for TopK. A row for each
    autoencoder: columns architecture, strength, d_sae, seed, n_on_manifold, n_discovered (discrete features
    with a latent of cosine and F1 above 0.9), n_detected (discrete features with a latent of F1 above 0.9,
    wherever it points), nmse, l0.
    """
    mixture = mixture_of(world)
    names = {"relu": "l1", "spade": "l1", "topk": "k"}
    rules = [Rule(name, **{names[name]: v}) for name, values in penalties.items() for v in values]
    members = [Member(mixture, n, rule, seed) for rule in rules for n in d_saes for seed in seeds]
    x, rows = mixture.draw(8192, generator(derive(0, "discovery"))), []
    for member, sae in zip(members, trained(members, training).saes, strict=True):
        found = features(sae, mixture, 32_768)
        discrete = found[found["kind"] == "discrete"]
        values = measure(sae, x)
        counts = [int(found["n_latents"].iloc[0]), int(discrete["discovered"].sum())]
        counts.append(int((discrete["f1"] > 0.9).sum()))
        rule = member.rule
        key = (rule.architecture, float(getattr(rule, names[rule.architecture])), member.n_latents)
        error = float((x - sae(x)).square().sum() / (x - x.mean(0)).square().sum())
        rows.append((*key, member.seed, *counts, error, values["l0"]))
    columns = [
        "architecture",
        "strength",
        "d_sae",
        "seed",
        "n_on_manifold",
        "n_discovered",
        "n_detected",
        "nmse",
        "l0",
    ]
    return pd.DataFrame(rows, columns=columns)
