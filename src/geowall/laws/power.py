"""Could a law be seen here at all? Exponents made by the published law on measured curvature, and tested.

Layers whose curvature hardly varies cannot show that exponents follow it, however true that is. A law of the
steepest published slope is planted on the curvature of the measured layers, noise is added, and the same
leave-one-out regression looks for it. Curvature over two decades is seen, over a twentieth of one it is not:

>>> wide, narrow = np.geomspace(0.01, 1.0, 20), np.geomspace(0.1, 0.112, 20)
>>> power(np.log(wide), -0.1, 0.1, 200), power(np.log(narrow), -0.1, 0.1, 200) < 0.4
(1.0, True)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import permutations

import numpy as np
import pandas as pd
from jaxtyping import Float

from geowall.laws import features as feats
from geowall.laws import ols
from geowall.laws.noise import wobble

ENOUGH = 0.8  # share of true laws that must be seen before not seeing one says anything


def power(
    x: Float[np.ndarray, " layer"], slope: float, sd: float, n_draws: int = 1000, seed: int = 0
) -> float:
    """Return how often ``slope * x`` with noise ``sd`` predicts left-out layers better than their mean."""
    return float((_planted(x, slope, sd, n_draws, seed) > 0).mean())


def _planted(x: np.ndarray, slope: float, sd: float, n_draws: int, seed: int) -> Float[np.ndarray, " draw"]:
    noise = np.random.default_rng(seed).standard_normal((len(x), n_draws))
    return _loo_r2(x, slope * x[:, None] + sd * noise)


def _loo_r2(x: Float[np.ndarray, " layer"], y: Float[np.ndarray, "layer draw"]) -> Float[np.ndarray, " draw"]:
    design = np.column_stack([np.ones_like(x), x])
    left_out = (ols.loo_errors(design, y) ** 2).sum(axis=0)
    return 1 - left_out / ((y - y.mean(axis=0)) ** 2).sum(axis=0)


def _as_low(drawn: Float[np.ndarray, " draw"], measured: float) -> float:
    """Return the share of draws of a true law that are no better than ``measured``, which is one of them."""
    return (1 + int((drawn <= measured).sum())) / (1 + len(drawn))


def of_layers(
    layers: pd.DataFrame,
    slopes: pd.DataFrame,
    target: str = "alpha_width",
    n_draws: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Return the power of every model's layers to show the steepest of the published ``slopes``.

    ``errors`` says how large the noise is: ``wobble``, what neighbouring layers differ by
    (:func:`geowall.laws.noise.wobble`), or ``spread``, all that the measured exponents vary by, which is what
    would have to drown the law if it holds here. Columns: source, model, n_layers, slope, kappa_fold, errors,
    se (of the noise), power, measured (the left-out R2 of the exponents as they are, not clipped), as_low
    (share of the draws, the measured one among them, that are no better), n_draws.
    """
    steep, made = _steepest(slopes), []
    for (source, model), own in layers.groupby(["source", "model"], sort=False):
        x = np.log(own["kappa_ms"].to_numpy(float))
        measured = float(_loo_r2(x, own[target].to_numpy(float)[:, None])[0])
        row = {"source": source, "model": model, "n_layers": len(own), "slope": steep}
        row["kappa_fold"] = float(np.exp(np.ptp(x)))
        for errors, sd in _noises(own, target).items():
            r2 = _planted(x, steep, sd, n_draws, seed)
            found = {"errors": errors, "se": sd, "power": float((r2 > 0).mean()), "measured": measured}
            made.append(row | found | {"as_low": _as_low(r2, measured), "n_draws": n_draws})
    return pd.DataFrame(made)


def _steepest(slopes: pd.DataFrame) -> float:
    return float(slopes.loc[slopes["slope"].abs().idxmax(), "slope"])


def _noises(own: pd.DataFrame, target: str) -> dict[str, float]:
    """Return both sizes of noise of one model: the wobble of its exponents, and all that they vary by."""
    y = own.sort_values("layer")[target].to_numpy(float)
    return {"wobble": wobble(y), "spread": float(y.std(ddof=1))}


def of_transfer(
    layers: pd.DataFrame,
    slopes: pd.DataFrame,
    target: str = "alpha_width",
    n_draws: int = 1000,
    clip_percentiles: Sequence[float] = feats.CLIP_PERCENTILES,
    seed: int = 0,
) -> pd.DataFrame:
    """Return how often one law that two models share would be carried from the one to the other.

    The law has the steepest of the published ``slopes`` and one level for both; noise is that of
    :func:`of_layers`, drawn for every layer on its own. The law is fitted to the first model and tried on the
    second, clipped at the bounds of the first, and asked for a transfer R2 above zero. ``level`` says whether
    it has to hit the mean exponent of the second model (``same``) or is granted it (``free``): the draws have
    one level, so what the two rows differ by in ``as_low`` is what another level of the second model does.
    Columns: source, train_model, test_model, slope, errors, level, power, q05 (the R2 that one draw in twenty
    stays below), measured (the R2 of the exponents as they are), as_low (share of the draws, the
    measured one among them, that are no better than it), n_draws.
    """
    steep, made = _steepest(slopes), []
    for key, train, test in _couples(layers):
        x, x_test = _carried_geometry(train, test, clip_percentiles)
        noise, noise_test = _noises(train, target), _noises(test, target)
        real = train[target].to_numpy(float), test[target].to_numpy(float)
        for errors in noise:
            rng = np.random.default_rng(seed)
            y = steep * x[:, None] + noise[errors] * rng.standard_normal((len(x), n_draws))
            y_test = steep * x_test[:, None]
            y_test = y_test + noise_test[errors] * rng.standard_normal((len(x_test), n_draws))
            drawn = _carried_r2(x, y, x_test, y_test)
            for level, seen in _carried_r2(x, real[0][:, None], x_test, real[1][:, None]).items():
                r2, row = drawn[level], key | {"slope": steep, "errors": errors, "level": level}
                row |= {"power": float((r2 > 0).mean()), "q05": float(np.quantile(r2, 0.05))}
                row |= {"measured": float(seen[0]), "as_low": _as_low(r2, float(seen[0]))}
                made.append(row | {"n_draws": n_draws})
    columns = ["source", "train_model", "test_model", "slope", "errors", "level", "power", "q05", "measured"]
    return pd.DataFrame(made, columns=[*columns, "as_low", "n_draws"])


def _couples(layers: pd.DataFrame) -> Iterator[tuple[dict[str, str], pd.DataFrame, pd.DataFrame]]:
    """Yield every ordered pair of models of one source."""
    groups = dict(list(layers.groupby(["source", "model"], sort=False)))
    for (source, first), (other, second) in permutations(groups, 2):
        if source == other:
            key = {"source": source, "train_model": first, "test_model": second}
            yield key, groups[source, first], groups[other, second]


def _carried_geometry(
    train: pd.DataFrame, test: pd.DataFrame, clip_percentiles: Sequence[float]
) -> tuple[Float[np.ndarray, " layer"], Float[np.ndarray, " other"]]:
    """Return the logarithm of both models' curvature, clipped at the bounds of the first."""
    here, there = (feats.assemble(own, "kappa_ms") for own in (train, test))
    limits = feats.bounds(here.values, clip_percentiles)
    return tuple(feats.transform(own.values, own.logged, limits)[:, 0] for own in (here, there))


def _carried_r2(
    x: Float[np.ndarray, " layer"],
    y: Float[np.ndarray, "layer draw"],
    x_test: Float[np.ndarray, " other"],
    y_test: Float[np.ndarray, "other draw"],
) -> dict[str, Float[np.ndarray, " draw"]]:
    """Return the R2 on ``y_test`` of the law fitted to ``y``: as it is, and when granted the mean."""
    theta = ols.coefficients(np.column_stack([np.ones_like(x), x]), y)
    errors = y_test - np.column_stack([np.ones_like(x_test), x_test]) @ theta
    total = ((y_test - y_test.mean(axis=0)) ** 2).sum(axis=0)
    missed = {"same": errors, "free": errors - errors.mean(axis=0)}
    return {level: 1 - (left**2).sum(axis=0) / total for level, left in missed.items()}


def cannot_tell(seen: pd.DataFrame, level: float = 0.05) -> pd.DataFrame:
    """Return the rows of :func:`of_layers` or :func:`of_transfer` that say nothing against a law.

    Under the larger noise a true law is seen less often than :data:`ENOUGH`, and is as far off as what was
    measured in more than ``level`` of the draws.
    """
    return seen[(seen["errors"] == "spread") & (seen["power"] < ENOUGH) & (seen["as_low"] > level)]
