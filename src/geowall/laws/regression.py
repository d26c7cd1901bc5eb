"""Does a layer's geometry predict its exponent, and does the law of one model hold in another?

Every hypothesis is a straight line in the transformed summaries. :func:`stage2` ranks them within a model
and :func:`transfer` carries each to the other model. Half the layers of a made-up model are enough to see
the shape:

>>> import numpy as np, pandas as pd
>>> nu = np.geomspace(1, 9, 12)
>>> layers = pd.DataFrame({"source": "made up", "model": "m", "layer": range(12), "nu": nu})
>>> layers["alpha"] = 0.5 - 0.1 * np.log(layers["nu"])
>>> stage2(layers, ["alpha"], ["none", "nu"])[["features", "loo_r2"]].round(2).to_numpy().tolist()
[['none', -0.19], ['nu', 1.0]]
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, permutations

import numpy as np
import pandas as pd
from jaxtyping import Float

from geowall.laws import bootstrap, nulls, ols
from geowall.laws import features as feats
from geowall.laws.groups import each_model, label_of, regression_of, with_all_first
from geowall.paths import GeowallError

# H0, H1 (four variants), H2 and H_full of the paper; then what a function of depth alone does.
HIERARCHY = ("none", *feats.GEOMETRY, "low_rho", feats.FULL)
BASELINES = ("depth_log", "depth_linear", "depth")
TARGETS = ("alpha_k50", "beta_n", "gamma")


def low_rho_pair(layers: pd.DataFrame, clip_percentiles: Sequence[float] = feats.CLIP_PERCENTILES) -> str:
    """Return the two geometric summaries of one model that are least correlated, joined by ``+``."""
    z = feats.regressors(layers, feats.FULL, clip_percentiles)
    rho = np.abs(np.corrcoef(z, rowvar=False))
    i, j = min(combinations(range(len(feats.GEOMETRY)), 2), key=lambda pair: rho[pair])
    return f"{feats.GEOMETRY[i]}+{feats.GEOMETRY[j]}"


def resolve(hypotheses: Sequence[str], pair: str) -> list[str]:
    """Replace ``low_rho`` by the pair that it stands for in one model, without repeats.

    >>> resolve(["nu", "low_rho", "nu"], "d_int+nu")
    ['nu', 'd_int+nu']
    """
    return list(dict.fromkeys(pair if name == "low_rho" else name for name in hypotheses))


def cuts(drop_first_layers: int, without_first: Sequence[int]) -> list[int]:
    """Return how many first layers each look at a claim leaves out: those dropped for good, then more.

    >>> cuts(2, [10, 4])
    [2, 6, 12]
    """
    further = sorted({int(q) for q in without_first if q > 0})
    if not further:
        raise GeowallError(
            "there is no second look at the claims",
            "without_first is empty",
            "name a number of layers, as in [4, 10]",
        )
    return [drop_first_layers, *(drop_first_layers + q for q in further)]


def stage2(
    layers: pd.DataFrame,
    targets: Sequence[str] = TARGETS,
    hypotheses: Sequence[str] = HIERARCHY,
    dropped: Sequence[int] = (0,),
    n_permutations: int = 1000,
    clip_percentiles: Sequence[float] = feats.CLIP_PERCENTILES,
    seed: int = 0,
    n_bootstrap: int = 0,
    block_length: int = 5,
) -> pd.DataFrame:
    """Fit every hypothesis to every target in every model (Zaher 2026, section 4.2 and Tables 1-4).

    ``layers`` is a per-layer table with source, model, layer, the summaries and the targets. ``dropped``
    says how many first layers are left out, one set of fits for each; clip bounds are those of the layers
    that remain, the low-rho pair is that of all layers. R2, leave-1-, -2- and -3-layers-out R2, AIC and BIC
    are those of the paper; ``permutation_p`` and ``shift_p`` are the p-values of the in-sample R2 under the
    nulls ``permutation`` and ``shift`` of :mod:`geowall.laws.nulls`. With ``n_bootstrap`` there are also
    ``r2_from`` to ``loo_to``, the middle 95 % of ``r2`` and ``loo_r2`` over layers drawn in blocks.
    """
    rows, order = [], ["source", "model", "target", "features", "n_layers", "dropped_layers"]
    pairs = {
        key: low_rho_pair(group, clip_percentiles) if "low_rho" in hypotheses else ""
        for key, group in layers.groupby(["source", "model"], sort=False)
    }
    for key, kept in each_model(layers, dropped):
        y = np.column_stack([feats.numbers(kept, target) for target in targets])
        moved = _moved(y, n_permutations, seed)
        picks = bootstrap.rows(len(kept), "block", n_bootstrap, block_length, seed) if n_bootstrap else None
        for features in resolve(hypotheses, pairs[key["source"], key["model"]]):
            design = regression_of(kept, targets[0], features, clip_percentiles)[0]
            fitted = _fit(design, y, moved)
            if picks is not None:
                fitted |= bootstrap.ends(kept, targets, features, picks, clip_percentiles)
            named = [label_of(target, kept) for target in targets]
            row = key | {"target": named, "features": features, "n_layers": len(kept)} | fitted
            rows.append(pd.DataFrame(row))
    table = pd.concat(rows, ignore_index=True)
    return table[[*order, *(column for column in table if column not in order)]]


def _moved(y: np.ndarray, n_permutations: int, seed: int) -> list[dict[str, np.ndarray]]:
    """Return, for every target, its permuted and its shifted draws: the same for all hypotheses."""
    kinds = ("permutation", "shift")
    return [{null: nulls.moved(column, null, n_permutations, seed=seed) for null in kinds} for column in y.T]


def _fit(design: np.ndarray, y: np.ndarray, moved: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    (n, p), ss = design.shape, ols.total(y)
    rss = (ols.residuals(design, y) ** 2).sum(axis=0)
    aic, bic = ols.information(rss, n, p)
    none = np.full(y.shape[1], np.nan)
    f, p_of_f = ols.f_test(ss, rss, 1, p, n) if p > 1 else (none, none)
    left_out = {f"l{k}o_r2" if k > 1 else "loo_r2": ols.leave_k_out_r2(design, y, k) for k in (1, 2, 3)}
    fit = {"r2": 1 - rss / ss} | left_out | {"aic": aic, "bic": bic, "f_vs_h0": f, "p_value": p_of_f}
    if p == 1:
        return fit | {"permutation_p": none, "shift_p": none}
    reached = {
        null: [nulls.p_value(r2, nulls.r2_of_draws(design, draw[null]), exhaustive=null == "shift")
               for r2, draw in zip(fit["r2"], moved, strict=True)]
        for null in ("permutation", "shift")
    }  # fmt: skip
    return fit | {"permutation_p": reached["permutation"], "shift_p": reached["shift"]}


def transfer(
    layers: pd.DataFrame,
    target: str,
    hypotheses: Sequence[str],
    dropped: Sequence[int] = (0,),
    n_bootstrap: int = 500,
    block_length: int = 5,
    clip_percentiles: Sequence[float] = feats.CLIP_PERCENTILES,
    seed: int = 0,
) -> pd.DataFrame:
    """Fit every hypothesis to one model and score it on another (Zaher 2026, Table 5).

    The test model's regressors are z-scored by the mean and deviation of the training model. ``clip`` says
    whose percentiles bound them before the logarithm: the test model's ``own``, which the paper's table
    needs, or those of the ``training`` model, which see nothing of the test model. ``low`` and ``high``
    bound the middle 95 % of a moving-block bootstrap of both models' layers, refitted each time.
    ``level_free_r2`` grants the law the mean exponent of the test model, and asks only for its course;
    ``rms_error`` is what it misses by, in the unit of the target.
    """
    made = []
    for key, train, test in _couples(layers, dropped):
        picks = _both_picks(len(train), len(test), n_bootstrap, block_length, seed)
        for features in hypotheses:
            at_home = in_sample_r2(test, target, features, clip_percentiles)
            for clip, y, errors in carried(train, test, target, features, picks, clip_percentiles):
                row = key | {"target": label_of(target, test), "features": features, "clip": clip}
                r2 = _r2(y, errors)
                row |= {"transfer_r2": float(r2[0]), "test_in_sample_r2": at_home}
                row["level_free_r2"] = float(_r2(y[:1], errors[:1] - errors[0].mean())[0])
                row["rms_error"] = float(np.sqrt((errors[0] ** 2).mean()))
                low, high = bootstrap.middle(r2[1:])
                made.append(row | {"low": low, "high": high})
    order = ["source", "train_model", "test_model", "target", "features", "clip", "dropped_layers"]
    found = ["transfer_r2", "test_in_sample_r2", "low", "high", "level_free_r2", "rms_error"]
    return pd.DataFrame(made)[[*order, *found]]


def _couples(
    layers: pd.DataFrame, dropped: Sequence[int]
) -> Iterator[tuple[dict, pd.DataFrame, pd.DataFrame]]:
    """Yield every ordered pair of models, each without its first layers, where both have enough left."""
    groups = dict(list(layers.groupby(["source", "model"], sort=False)))
    for (source, first), (other, second) in permutations(groups, 2):
        whence = source if source == other else f"{source} to {other}"
        key = {"source": whence, "train_model": first, "test_model": second}
        for q in dropped:
            both = [groups[source, first], groups[other, second]]
            if q == min(dropped) or all((own["layer"] >= q).sum() >= feats.FEWEST for own in both):
                yield key | {"dropped_layers": q}, *(feats.after(own, q) for own in both)


def in_sample_r2(
    layers: pd.DataFrame,
    target: str,
    features: str,
    clip_percentiles: Sequence[float] = feats.CLIP_PERCENTILES,
) -> float:
    """Return the R2 of one hypothesis fitted to one model's layers."""
    design, y = regression_of(layers, target, features, clip_percentiles)
    return float(ols.r2(design, y[:, None])[0])


def _both_picks(
    n_train: int, n_test: int, n_bootstrap: int, block_length: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of both models as they are, then those of every draw of the two."""
    first = bootstrap.rows(n_train, "block", n_bootstrap, block_length, seed)
    second = bootstrap.rows(n_test, "block", n_bootstrap, block_length, seed + 1)
    return with_all_first(first), with_all_first(second)


def _r2(
    y: Float[np.ndarray, "draw layer"], errors: Float[np.ndarray, "draw layer"]
) -> Float[np.ndarray, " draw"]:
    return 1 - (errors**2).sum(axis=-1) / ols.total(y[..., None])[..., 0]


def carried(
    train: pd.DataFrame,
    test: pd.DataFrame,
    target: str,
    features: str,
    picks: tuple[np.ndarray, np.ndarray],
    clip_percentiles: Sequence[float] = feats.CLIP_PERCENTILES,
    clips: Sequence[str] = ("own", "training"),
) -> Iterator[tuple[str, Float[np.ndarray, "draw layer"], Float[np.ndarray, "draw layer"]]]:
    """Fit one hypothesis to the picked layers of one model, and yield what it misses of another's.

    For each of ``clips``: its name, the target at the picked layers of ``test``, and the error of the law
    there. The same picks serve every hypothesis, so that two can be compared draw by draw.
    """
    source, goal = feats.assemble(train, features), feats.assemble(test, features)
    here, there = picks
    x, x_test = source.values[here], goal.values[there]
    limits = feats.bounds(x, clip_percentiles)
    logs = feats.transform(x, source.logged, limits)
    y_train, y = feats.numbers(train, target)[here], feats.numbers(test, target)[there]
    theta = ols.coefficients(feats.design(feats.standardise(logs)), y_train[..., None])
    for clip in clips:
        limits_test = limits if clip == "training" else feats.bounds(x_test, clip_percentiles)
        logs_test = feats.transform(x_test, goal.logged, limits_test)
        yield clip, y, y - (feats.design(feats.standardise(logs, logs_test)) @ theta)[..., 0]


def transfer_gaps(
    layers: pd.DataFrame,
    target: str,
    pairs: Sequence[Sequence[str]],
    dropped: Sequence[int] = (0,),
    n_bootstrap: int = 500,
    block_length: int = 5,
    clip_percentiles: Sequence[float] = feats.CLIP_PERCENTILES,
    seed: int = 0,
) -> pd.DataFrame:
    """Return how much better each first hypothesis transfers than the second, clipped at the training bounds.

    Columns: source, train_model, test_model, target, features, rival, dropped_layers, gap (of transfer
    R2), low, high. The two are scored on the same draws of layers, in blocks.
    """
    made = []
    for key, train, test in _couples(layers, dropped):
        picks = _both_picks(len(train), len(test), n_bootstrap, block_length, seed)
        for features, rival in pairs:
            found = [
                _r2(y, errors)
                for name in (features, rival)
                for _, y, errors in carried(train, test, target, name, picks, clip_percentiles, ["training"])
            ]
            gap = found[0] - found[1]
            low, high = bootstrap.middle(gap[1:])
            row = key | {"target": label_of(target, test), "features": features, "rival": rival}
            made.append(row | {"gap": float(gap[0]), "low": low, "high": high})
    return pd.DataFrame(made)


def clip_sweep(
    layers: pd.DataFrame, target: str, hypotheses: Sequence[str], percentiles: Sequence[float]
) -> pd.DataFrame:
    """Repeat the regression with the features clipped further and further in, at ``q`` and ``100 - q``.

    Columns: source, model, target, features, clip_percentile (0: not clipped), n_layers, r2, loo_r2.
    """
    made = []
    for q in percentiles:
        fits = stage2(layers, [target], hypotheses, n_permutations=1, clip_percentiles=(q, 100 - q))
        made.append(fits.assign(clip_percentile=float(q)))
    columns = ["source", "model", "target", "features", "clip_percentile", "n_layers", "r2", "loo_r2"]
    return pd.concat(made, ignore_index=True)[columns]


def slopes(
    layers: pd.DataFrame,
    target: str,
    feature: str = "kappa_ms",
    dropped: Sequence[int] = (0,),
    n_bootstrap: int = 500,
    block_length: int = 5,
    clip_percentiles: Sequence[float] = feats.CLIP_PERCENTILES,
    seed: int = 0,
) -> pd.DataFrame:
    """Return the change of the target for each unit of ``ln feature``, with block-bootstrap intervals.

    Columns: source, model, target, features, dropped_layers, n_layers, intercept (at the mean of the
    transformed feature), slope, low, high. A law keeps its slope when its first layers are dropped.
    """
    rows = []
    for key, kept in each_model(layers, dropped):
        y, n = feats.numbers(kept, target), len(kept)
        columns = feats.assemble(kept, feature)
        picks = with_all_first(bootstrap.rows(n, "block", n_bootstrap, block_length, seed))
        x = columns.values[picks]
        logs = feats.transform(x, columns.logged, feats.bounds(x, clip_percentiles))
        theta = ols.coefficients(feats.design(logs), y[picks][..., None])[:, 1, 0]
        low, high = bootstrap.middle(theta[1:])
        row = key | {"target": label_of(target, kept), "features": feature, "n_layers": n}
        row |= {"intercept": float(y.mean())}
        rows.append(row | {"slope": float(theta[0]), "low": low, "high": high})
    first = ["source", "model", "target", "features", "dropped_layers", "n_layers"]
    return pd.DataFrame(rows)[[*first, "intercept", "slope", "low", "high"]]
