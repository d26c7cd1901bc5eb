"""How the loss of one manifold falls with its latents: L(n) by sweeps, its exponents, its exact-code levels.

A sweep is a dictionary of lists, so that a chapter can write it down; autoencoders are named by text.

>>> rule("topk k=2").k, rule("relu l1=0.1").l1
(2, 0.1)
>>> sweep = {"rules": ["relu l1=0.1"], "ds": [2], "thicknesses": [0.0], "n_latents": [16], "seeds": [0]}
>>> curves = loss_curves([sweep], steps=100, batch=128)
>>> curves["n_latents"].tolist(), curves["manifold"].unique().tolist()
([4, 5, 16], ['sphere'])
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from geowall.kernels.sae_step import Rule
from geowall.manifolds import Shell, make
from geowall.paths import GeowallError
from geowall.sae.lasso import envelope, tiling_loss
from geowall.sae.model import Sae
from geowall.sae.scaling import fit_curve
from geowall.sae.schedule import Member, Schedule, derive
from geowall.sae.training import Trained, train

Sweep = Mapping[str, Sequence]  # rules, ds, thicknesses, n_latents, seeds; bare, if these widths are all
SOURCES = Path(__file__).parent.parent
CODE = (
    "manifolds.py",
    *(f"sae/{name}.py" for name in ("checkpoint", "metrics", "model", "schedule", "start", "training")),
    *(f"kernels/{name}.py" for name in ("sae_step", "dense_sae", "small_sae", "spade", "sparsemax")),
    *(f"kernels/{name}" for name in ("small_sae.cpp", "sparsemax.cpp", "chip_sae.py", "tile_sae.py")),
)
CURVE = ["manifold", "d", "thickness", "architecture", "penalty"]  # what tells one L(n) from another
COLUMNS = [*CURVE, "n_latents", "seed", "mse", "penalty_value", "loss", "l0", "live"]


def rule(text: str) -> Rule:
    """An autoencoder by architecture and penalty, as in ``jumprelu l0=0.1``.

    Raises:
        GeowallError: if the text is not an architecture and one ``name=number``.
    """
    try:
        architecture, penalty = text.split()
        name, value = penalty.split("=")
        return Rule(architecture, **{name: int(value) if name == "k" else float(value)})
    except (ValueError, TypeError) as error:
        fix = 'write an architecture and a penalty, as in "relu l1=0.1" or "topk k=2"'
        raise GeowallError("no such autoencoder", f"{text!r}: {error}", fix) from None


def members_of(sweep: Sweep) -> list[Member]:
    """Every autoencoder of a sweep; 2 d and 2 d + 1 latents are among the widths, unless ``bare`` is set."""
    return [
        Member(Shell(d, thickness), n, rule(text), seed)
        for d in sweep["ds"]
        for thickness in sweep["thicknesses"]
        for text in sweep["rules"]
        for n in sorted({*sweep["n_latents"], *(() if sweep.get("bare") else (2 * d, 2 * d + 1))})
        for seed in sweep["seeds"]
    ]


def trained(
    members: Sequence[Member],
    training: Mapping[str, object],
    starts: Mapping[int, torch.Tensor] | None = None,
) -> Trained:
    """Train, or remember: the tables of a chapter share what one process has trained.

    ``training`` holds ``steps``, ``batch``, ``lr``, ``dead_after``, ``revive`` and ``threads``; ``starts`` as
    in :func:`geowall.sae.train`. In a run of a chapter the training lies beside its finished tables, so that
    one that is killed, or that has lost its process, goes on from there.
    """
    given = tuple(sorted(training.items()))
    return _trained(tuple(members), given, _Starts(dict(starts or {})))


class _Starts:
    """Parameter vectors to start from, equal by content."""

    def __init__(self, flats: Mapping[int, torch.Tensor]) -> None:
        self.flats = flats
        content = b"".join(str(i).encode() + flat.numpy().tobytes() for i, flat in sorted(flats.items()))
        self.digest = hashlib.sha256(content).hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Starts) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)


@functools.lru_cache(maxsize=16)
def _trained(members: tuple[Member, ...], training: tuple, starts: _Starts) -> Trained:
    given = dict(training)
    schedule = Schedule(
        steps=given.get("steps", 1000),
        batch=given.get("batch", 512),
        lr=given.get("lr", 5e-3),
        dead_after=given.get("dead_after", 200),
        revive=bool(given.get("revive", False)),
    )
    folder = None
    if os.environ.get("GEOWALL_STEPS"):
        sweep = f"{members!r} {schedule!r} {starts.digest} {_sources()}"
        name = hashlib.sha256(sweep.encode()).hexdigest()[:12]
        folder = Path(os.environ["GEOWALL_STEPS"]) / "training" / name
    device = "cuda" if torch.cuda.is_available() else "cpu"
    threads = given.get("threads", 1)
    return train(members, schedule, folder, device=device, threads=threads, starts=starts.flats)


@functools.cache
def _sources() -> str:
    """Digest of the code that training depends on: what other code has trained must not go on here."""
    return hashlib.sha256(b"".join((SOURCES / name).read_bytes() for name in CODE)).hexdigest()


def labels(member: Member) -> dict[str, object]:
    """The columns that name a curve; the penalty with its strength, ``l1=0.1`` or ``k=2``."""
    given = member.rule
    named = {"l1": given.l1, "l0": given.l0, "k": given.k}
    used = [f"{name}={value:g}" for name, value in named.items() if value and name != "k"] or [f"k={given.k}"]
    hollow = not getattr(member.manifold, "thickness", 0.0)
    return {
        "manifold": "sphere" if hollow else "shell",
        "d": member.manifold.d_model,
        "thickness": getattr(member.manifold, "thickness", 0.0),
        "architecture": given.architecture,
        "penalty": " ".join(used),
    }


def loss_curves(sweeps: Sequence[Sweep], **training: object) -> pd.DataFrame:
    """A row an autoencoder: ``COLUMNS``, measured on tokens that no training saw."""
    parts = []
    for members in filter(None, map(members_of, sweeps)):
        table = trained(members, training).table
        named = pd.DataFrame([labels(member) for member in members])
        parts.append(pd.concat([named, table[COLUMNS[len(CURVE) :]]], axis=1))
    return pd.concat(parts, ignore_index=True)[COLUMNS]


def tiling_level(d: int, thickness: float, penalty: str, architecture: str = "relu") -> float:
    """What an infinite tiling costs: every token has a latent of its own direction (:func:`tiling_loss`).

    SpaDE, which pays for the distance to its prototypes, would pay nothing.
    """
    name, value = penalty.split("=")
    if architecture == "spade":
        return 0.0
    if name == "l1":
        radii = 1.0 + thickness * np.linspace(-1.0, 1.0, 201)
        return float(np.mean([tiling_loss(float(value), float(r)) for r in radii]))
    return float(value) if name == "l0" else 0.0


def best(curves: pd.DataFrame) -> pd.DataFrame:
    """L(n), the loss at the optimum, stood for by the best seed; with the median and the worst beside it."""
    points = curves.groupby([*CURVE, "n_latents"], sort=False)["loss"]
    return points.agg(loss="min", median="median", worst="max").reset_index()


def exponents(curves: pd.DataFrame, n_bootstrap: int = 500, seed: int = 0) -> pd.DataFrame:
    """Two rows a curve, the exponent of L(n) and of L(n) - floor from 2 d latents on, ``floor`` the tiling's.

    Columns: ``CURVE``, ``beta`` (minus the slope in logarithms), ``low``, ``high`` (95 %, of seeds and of the
    fit), ``floor`` (what was subtracted), ``n_saturation`` (:func:`geowall.sae.scaling.fit_curve`), ``n_low``
    and ``n_high`` (the widths fitted). Where the floor is zero there is one row; curves with fewer than three
    widths have none.
    """
    rows = []
    for names, curve in curves.groupby(CURVE, sort=False):
        keys = dict(zip(CURVE, names, strict=True))
        past = curve[curve["n_latents"] >= 2 * keys["d"]]
        if past["n_latents"].nunique() < 3:
            continue
        floor = tiling_level(keys["d"], keys["thickness"], keys["penalty"], keys["architecture"])
        fit = fit_curve(past, floor, n_bootstrap, seed)
        widths = {"n_low": past["n_latents"].min(), "n_high": past["n_latents"].max()}
        for suffix, subtracted in {"": 0.0, "_excess": floor}.items():
            if subtracted or not suffix:
                ends = {name: fit[name + suffix] for name in ("beta", "low", "high")}
                end = {"floor": subtracted, "n_saturation": fit["n_saturation"]}
                rows.append(keys | ends | end | widths)
    return pd.DataFrame(rows)


def common(curves: pd.DataFrame) -> pd.DataFrame:
    """The rows at widths that every curve of a dimension has, so that their exponents can be compared.

    A slope that flattens with n is smaller the wider it was measured: like must be fitted with like.
    """
    parts = []
    for _, part in curves.groupby("d", sort=False):
        has = part.groupby(CURVE, sort=False)["n_latents"].agg(set)
        parts.append(part[part["n_latents"].isin(set.intersection(*has))])
    return pd.concat(parts, ignore_index=True)


def halves(curves: pd.DataFrame) -> pd.DataFrame:
    """Is a slope one number? Of the best seeds, from 2 d to the width in the middle, and from there on.

    Columns: ``CURVE``, ``n_low``, ``n_middle``, ``n_high`` (the middle is the width nearest to the geometric
    mean of the ends), ``beta_low``, ``beta_high`` (minus the slope of a chord in logarithms).
    """
    rows = []
    for names, curve in curves.groupby(CURVE, sort=False):
        keys = dict(zip(CURVE, names, strict=True))
        best = np.log(curve[curve["n_latents"] >= 2 * keys["d"]].groupby("n_latents")["loss"].min())
        if len(best) < 3:
            continue
        n = np.log(best.index.to_numpy(dtype=float))
        middle = 1 + int(np.abs(n[1:-1] - 0.5 * (n[0] + n[-1])).argmin())
        ends = {"n_low": best.index[0], "n_middle": best.index[middle], "n_high": best.index[-1]}
        slopes = [-(best.iloc[b] - best.iloc[a]) / (n[b] - n[a]) for a, b in ((0, middle), (middle, -1))]
        rows.append(keys | ends | dict(zip(("beta_low", "beta_high"), slopes, strict=True)))
    return pd.DataFrame(rows)


def other_manifolds(
    names: Sequence[str],
    rules: Sequence[str],
    n_latents: Sequence[int],
    seeds: Sequence[int],
    d: int = 8,
    **training: object,
) -> pd.DataFrame:
    """A row an autoencoder of a manifold by name (:func:`geowall.manifolds.make`); ``d`` is for ripples.

    Twice a manifold's dimensions are always among its widths. Columns: ``COLUMNS``, ``manifold`` the name.
    """
    shapes = {name: make(name, d) for name in names}
    widths = {name: sorted({*n_latents, 2 * shapes[name].d_model}) for name in names}
    keys = [(name, n, text, s) for name in names for text in rules for n in widths[name] for s in seeds]
    members = [Member(shapes[name], n, rule(text), s) for name, n, text, s in keys]
    named = pd.DataFrame([labels(m) | {"manifold": key[0]} for m, key in zip(members, keys, strict=True)])
    table = trained(members, training).table
    return pd.concat([named, table[COLUMNS[len(CURVE) :]]], axis=1)[COLUMNS]


def falls(curves: pd.DataFrame) -> pd.DataFrame:
    """What latents beyond about 2 d still buy, by the best seeds.

    Columns: ``CURVE``, ``fall`` (share of the loss at 2 d or 2 d + 1 latents, the better, gone at the
    widest: with exactly 2 d training does not always find the signed basis).
    """
    rows = []
    for names, curve in curves.groupby(CURVE, sort=False):
        keys = dict(zip(CURVE, names, strict=True))
        lowest = curve.groupby("n_latents")["loss"].min()
        basis = lowest.reindex([2 * keys["d"], 2 * keys["d"] + 1]).min()
        rows.append(keys | {"fall": float(1.0 - lowest.iloc[-1] / basis)})
    return pd.DataFrame(rows)


def rises(curves: pd.DataFrame) -> pd.DataFrame:
    """How far each curve is from falling: L(n) cannot rise with n at the optimum.

    Columns: ``CURVE``, ``rise`` (largest share by which the best loss of any width exceeds the best of a
    narrower one), ``at`` (the width where it does).
    """
    rows = []
    for names, curve in curves.groupby(CURVE, sort=False):
        best = curve.groupby("n_latents")["loss"].min()
        above = best / best.cummin() - 1.0
        rows.append(
            dict(zip(CURVE, names, strict=True)) | {"rise": float(above.max()), "at": int(above.idxmax())}
        )
    return pd.DataFrame(rows)


def exact_codes(sweep: Sweep, l1: float, n_tokens: int = 400, **training: object) -> pd.DataFrame:
    """The loss with the best codes any encoder could give, for the dictionaries that spheres taught.

    The gauge of a set of directions is 1-homogeneous, so the same dictionaries serve shells: a row for each
    of ``sweep["thicknesses"]``. Columns: d, thickness, n_latents, seed, loss, l0.
    """
    members = members_of({**sweep, "thicknesses": [0.0], "rules": [f"relu l1={l1:g}"]})
    rows = []
    for member, sae in zip(members, trained(members, training).saes, strict=True):
        for thickness in sweep["thicknesses"]:
            x = tokens(member.manifold.d_model, thickness, n_tokens)
            ideal = envelope(x - sae.b_dec, sae.W_dec, l1)
            at = {"d": member.manifold.d_model, "thickness": thickness, "n_latents": member.n_latents}
            rows.append(at | {"seed": member.seed, "loss": ideal["loss"], "l0": ideal["l0"]})
    return pd.DataFrame(rows)


def tokens(d: int, thickness: float, n_tokens: int) -> torch.Tensor:
    """The tokens on which the dictionaries of one manifold are compared, [token d]."""
    return Shell(d, thickness).sample(n_tokens, derive(0, "comparison", d))


def pick(
    sweeps: Sequence[Sweep], n_latents: int, seed: int, training: Mapping[str, object]
) -> list[tuple[Member, Sae]]:
    """The autoencoders of one width and seed of some sweeps."""
    pairs = []
    for sweep in sweeps:
        members = members_of(sweep)
        pairs += zip(members, trained(members, training).saes, strict=True)
    return [(m, sae) for m, sae in pairs if m.n_latents == n_latents and m.seed == seed]
