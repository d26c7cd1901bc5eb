"""Does the planner know? Wide dictionaries hidden from it, predicted, and compared with simpler rules.

For each layer the widest octaves are hidden. The prior is learnt from other layers, which may show theirs.
Four rivals know less: the own straight line of the layer, the mean slope of the others, no further gain at
all, and the planner without geometry. A 95 % interval should hold the truth 95 times of a hundred:

>>> cell = Cell("m", 0, (64, 128, 256), (0.4, 0.3, 0.25))
>>> narrow, wide = hidden(cell, octaves=1)
>>> narrow.widths, wide.widths
((64, 128), (256,))
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from geowall.wall.cells import Cell
from geowall.wall.planner import LEVELS, Mixture, mixture
from geowall.wall.prior import Prior, learn, local_slope

RULES = {
    "geometry": ("d_int", "kappa_ms"),
    "curvature": ("kappa_ms",),
    "dimension": ("d_int",),
    "no geometry": (),
}
PLAIN = ("own line", "global exponent", "flat")
COLUMNS = ["group", "others", "rule", "model", "layer", "n_fitted", "fitted_to", "width", "octaves"]


def hidden(cell: Cell, octaves: float, least: int = 2) -> tuple[Cell, Cell] | None:
    """A cell parted into narrow widths and the ``octaves`` widest, or None if too few remain."""
    limit = cell.widths[-1] / 2**octaves * 1.001
    narrow = [w for w in cell.widths if w <= limit]
    narrow = narrow if len(narrow) >= least else list(cell.widths[: max(1, least)])
    if len(narrow) < least or len(narrow) == len(cell.widths):
        return None
    return cell.up_to(narrow[-1]), cell.beyond(narrow[-1])


def holdout(
    cells: Sequence[Cell],
    group: str,
    octaves: float = 2.0,
    others: str = "layers",
    rules: Mapping[str, Sequence[str]] = RULES,
    least: int = 2,
    teachers: Sequence[Cell] = (),
) -> pd.DataFrame:
    """Predict the hidden widths of every cell by every rule; a row a rule and a hidden width.

    Args:
        cells: what is predicted, each in its turn.
        group: name of the rows.
        octaves: how many of the widest doublings are hidden.
        others: who teaches the prior: ``layers``, the other layers of the same model; ``model``, other models
            alone; ``all``, both.
        rules: summaries that each planner is given.
        least: narrow widths that must remain.
        teachers: further cells that teach and are not predicted.

    Returns:
        COLUMNS, nmse (measured), predicted, low_80, high_80, low, high, error (log predicted over measured),
        covered (by 95 %), covered_80, log_score (log density of the measured log error).
    """
    made, learnt = [], {}
    for cell, narrow, wide in _parted(cells, octaves, least):
        span = float(np.log2(wide.widths[-1] / narrow.widths[-1]))
        taught = [c for c in [*cells, *teachers] if _teaches(c, cell, others)]
        key = (
            cell.model,
            -1 if others == "model" else cell.layer,
            span,
        )  # all layers of a model learn the same elsewhere
        if key not in learnt:
            learnt[key] = {rule: learn(taught, span, features) for rule, features in rules.items()}
        for rule, found in _predictions(narrow, wide.widths, taught, learnt[key]):
            own = {"group": group, "others": others, "rule": rule, "model": cell.model, "layer": cell.layer}
            size = {"n_fitted": len(narrow.widths), "fitted_to": narrow.widths[-1]}
            made.append(_judged(found, wide, narrow.widths[-1]).assign(**own, **size))
    columns = ["nmse", "predicted", "low_80", "high_80", "low", "high", "error", "covered", "covered_80"]
    if not made:
        return pd.DataFrame(columns=[*COLUMNS, *columns, "log_score"])
    return pd.concat(made, ignore_index=True)[[*COLUMNS, *columns, "log_score"]]


def _parted(cells: Sequence[Cell], octaves: float, least: int) -> Iterator[tuple[Cell, Cell, Cell]]:
    for cell in cells:
        parts = hidden(cell, octaves, least)
        if parts is not None:
            yield cell, *parts


def _teaches(other: Cell, cell: Cell, others: str) -> bool:
    own = other.model == cell.model
    if others == "model":
        return not own
    return (others == "all" and not own) or (own and other.layer != cell.layer)


def _predictions(
    narrow: Cell, widths: Sequence[int], taught: Sequence[Cell], priors: Mapping[str, Prior]
) -> Iterator[tuple[str, Mixture]]:
    for rule, prior in priors.items():
        enough = prior.n_layers > len(prior.features) + 2 or not prior.features
        if enough and all(narrow.geometry.get(name, 0) > 0 for name in prior.features):
            yield rule, mixture(narrow, prior, widths)
    slopes = np.log([local_slope(c) for c in taught]) if taught else np.log([0.2])
    slope, spread = float(np.exp(slopes.mean())), float(slopes.std()) if len(slopes) > 3 else 0.5
    ahead, sigma = np.log(np.array(widths, float) / narrow.widths[-1]), next(iter(priors.values())).sigma
    yield "own line", _own_line(narrow, ahead, sigma)
    yield "global exponent", _line(narrow, slope, spread * slope, ahead, sigma)
    yield "flat", _line(narrow, 0.0, slope, ahead, sigma)


def _line(narrow: Cell, slope: float, doubt: float, ahead: np.ndarray, sigma: float) -> Mixture:
    """A straight line from the widest narrow dictionary, its slope uncertain by ``doubt``."""
    z = stats.norm.ppf((np.arange(41) + 0.5) / 41)
    means = narrow.y[-1] - np.outer(ahead, slope + doubt * z)
    return Mixture(means, sigma * float(np.sqrt(2)), np.full(41, 1 / 41))


def _own_line(narrow: Cell, ahead: np.ndarray, sigma: float) -> Mixture:
    """The straight line through the layer's own narrow dictionaries, as least squares doubts it."""
    x = narrow.x - narrow.x[-1]
    slope, level = np.polyfit(x, narrow.y, 1)
    left = narrow.y - level - slope * x
    noise = max(sigma, float(np.sqrt((left**2).sum() / max(1, len(x) - 2))))
    doubt = noise / np.sqrt(((x - x.mean()) ** 2).sum())
    z = stats.norm.ppf((np.arange(41) + 0.5) / 41)
    means = (narrow.y.mean() + slope * (ahead - x.mean()))[:, None] + np.outer(ahead - x.mean(), doubt * z)
    return Mixture(means, float(noise * np.sqrt(1 + 1 / len(x))), np.full(41, 1 / 41))


def _judged(found: Mixture, wide: Cell, fitted_to: int) -> pd.DataFrame:
    ends = {name: np.exp(found.quantile(share)) for name, share in LEVELS.items()}
    table = pd.DataFrame(
        {"width": wide.widths, "nmse": wide.losses, **{k: v for k, v in ends.items() if k != "nmse"}}
    )
    table["predicted"] = ends["nmse"]
    table["error"] = np.log(table["predicted"] / table["nmse"])
    table["covered"] = table["nmse"].between(table["low"], table["high"])
    table["covered_80"] = table["nmse"].between(table["low_80"], table["high_80"])
    table["octaves"] = np.log2(table["width"] / fitted_to)
    return table.assign(log_score=found.log_density(wide.y))


def scores(table: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """How good each rule is: mean size of the log error, its interval over layers, coverage, log score.

    Columns: ``by``, rule, n_predictions, error (mean absolute log error), bias (mean log error), coverage,
    coverage_80, log_score (mean).
    """
    keys = [*by, "rule"]
    made = (
        table.assign(size=table["error"].abs())
        .groupby(keys, sort=False)
        .agg(
            n_predictions=("size", "size"),
            error=("size", "mean"),
            bias=("error", "mean"),
            coverage=("covered", "mean"),
            coverage_80=("covered_80", "mean"),
            log_score=("log_score", "mean"),
        )
    )
    return made.reset_index()


def gains(
    table: pd.DataFrame, by: Sequence[str], rule: str, n_bootstrap: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """What ``rule`` gains over every other rule, layers drawn again.

    Columns: ``by``, rule, rival, gain (mean absolute log error of the rival less the rule's; above zero the
    rule is better), low, high (95 %), n_layers.
    """
    rng, made = np.random.default_rng(seed), []
    for key, group in table.groupby(list(by), sort=False):
        sizes = group.assign(size=group["error"].abs()).pivot_table(
            index=["model", "layer"], columns="rule", values="size", sort=False
        )
        if rule not in sizes:
            continue
        for rival in [name for name in sizes.columns if name != rule]:
            gap = (sizes[rival] - sizes[rule]).dropna().to_numpy()
            draws = gap[rng.integers(len(gap), size=(n_bootstrap, len(gap)))].mean(axis=1)
            low, high = np.quantile(draws, [0.025, 0.975])
            row = dict(zip(by, key, strict=True)) | {"rule": rule, "rival": rival, "gain": gap.mean()}
            made.append(row | {"low": low, "high": high, "n_layers": len(gap)})
    return pd.DataFrame(made)
