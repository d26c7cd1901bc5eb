"""Does the planner know? Wide dictionaries hidden from it, predicted, and compared with simpler rules.

For each layer the widest octaves are hidden, of the layers that teach as well, and what ``geowall plan``
would have said is compared with what was measured. Four rivals know less: the own straight line of the
layer, the mean slope of the others, no further gain at all, and the planner without geometry. A 95 %
interval should hold the truth 95 times of a hundred:

>>> law = lambda i: tuple(0.5 * n ** -(0.2 + 0.01 * i) for n in (64, 128, 256, 512, 1024))
>>> cells = [Cell("m", i, (64, 128, 256, 512, 1024), law(i)) for i in range(5)]
>>> found = holdout(cells, "laws", rules={"no geometry": ()}, octaves=2)
>>> scores(found, ["group"]).set_index("rule").loc["no geometry", "coverage"]
np.float64(1.0)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from geowall.wall.calibrate import Memo, Teachers, cut, hidden, prior_for, teachers_of
from geowall.wall.cells import Cell
from geowall.wall.planner import Mixture, Stretched, mixture
from geowall.wall.prior import NOISE, UNSTRETCHED, Prior, last_saving

RULES = {
    "geometry": ("d_int", "kappa_ms"),
    "curvature": ("kappa_ms",),
    "dimension": ("d_int",),
    "no geometry": (),
}
PLAIN = ("own line", "global exponent", "flat")
COLUMNS = [
    "group",
    "others",
    "rule",
    "model",
    "layer",
    "n_hidden",
    "n_fitted",
    "fitted_to",
    "width",
    "octaves",
]
MADE = ["nmse", "predicted", "low_80", "high_80", "low", "high", "error", "covered", "covered_80"]
MADE += ["covered_plain", "stretch_low", "stretch_high", "log_score"]


def holdout(
    cells: Sequence[Cell],
    group: str,
    octaves: int = 3,
    alone: bool = False,
    rules: Mapping[str, Sequence[str]] = RULES,
    known: Sequence[Cell] = (),
) -> pd.DataFrame:
    """Predict the hidden widths of every cell by every rule; a row a rule, a number hidden and a width.

    Args:
        cells: what is predicted, each in its turn. The others of its model teach, hidden as far.
        group: name of the rows.
        octaves: up to how many of the widest doublings are hidden.
        alone: whether a layer is predicted as if it were the only one of its model, by other models.
        rules: summaries that each planner is given.
        known: cells of other models, for where the model's own are too few.

    Returns:
        COLUMNS, nmse (measured), predicted, low_80, high_80, low, high, error (log predicted over measured),
        covered (by 95 %), covered_80, covered_plain (by the 95 % before stretching), stretch_low,
        stretch_high (of the ends of the 95 %), log_score (log density of the measured log error).
    """
    made, memo = [], {}
    known = [*known, *(cells if alone else ())]
    for cell in cells:
        for n_hidden in range(1, octaves + 1):
            parts = hidden(cell, n_hidden)
            if parts is None:
                continue
            narrow, wide = parts
            table = [cell] if alone else as_then(cell, cells, narrow.widths[-1])
            taught = teachers_of(narrow, table, known)
            own = {"group": group, "others": "layers" if taught.own else "model"}
            own |= {"model": cell.model, "layer": cell.layer, "n_hidden": n_hidden}
            own |= {"n_fitted": len(narrow.widths), "fitted_to": narrow.widths[-1]}
            priors = _priors(narrow, table, known, rules, memo)
            for rule, found, prior in _predictions(narrow, wide.widths, taught, priors):
                made += [own | {"rule": rule} | row for row in _judged(found, wide, prior)]
    if not made:
        return pd.DataFrame(columns=[*COLUMNS, *MADE])
    table = pd.DataFrame(made).assign(octaves=lambda t: np.log2(t["width"] / t["fitted_to"]))
    return table[[*COLUMNS, *MADE]]


def as_then(cell: Cell, cells: Sequence[Cell], width: int) -> list[Cell]:
    """The table as it was when ``cell`` had been measured up to ``width``, its model as far beyond."""
    own = [c for c in cells if c.model == cell.model]
    foreign = [c for c in cells if c.model != cell.model]
    return [*cut(own, width * 2 ** teachers_of(cell, own).reach), *foreign]


def _priors(
    narrow: Cell,
    table: Sequence[Cell],
    known: Sequence[Cell],
    rules: Mapping[str, Sequence[str]],
    memo: Memo,
) -> dict[str, Prior]:
    """The prior of each rule that enough layers teach and whose summaries are known of the cell."""
    made = {}
    for rule, features in rules.items():
        if all(narrow.geometry.get(name, 0) > 0 for name in features):
            prior = prior_for(narrow, table, known, features, memo=memo)
            if prior.n_layers > len(features) + 2 or not features:
                made[rule] = prior
    return made


def _predictions(
    narrow: Cell, widths: Sequence[int], taught: Teachers, priors: Mapping[str, Prior]
) -> Iterator[tuple[str, Mixture | Stretched, Prior | None]]:
    for rule, prior in priors.items():
        yield rule, mixture(narrow, prior, widths), prior
    able = [c for c in taught.cells if len(c.widths) > 1]
    slopes = np.array([np.log(last_saving(c) / np.log(2)) for c in able] or [np.log(0.2)])
    slope, spread = float(np.exp(slopes.mean())), float(slopes.std()) if len(slopes) > 3 else 0.5
    ahead = np.log(np.array(widths, float) / narrow.widths[-1])
    yield "own line", _own_line(narrow, ahead, NOISE), None
    yield "global exponent", _line(narrow, slope, spread * slope, ahead, NOISE), None
    yield "flat", _line(narrow, 0.0, slope, ahead, NOISE), None


def _line(narrow: Cell, slope: float, doubt: float, ahead: np.ndarray, sigma: float) -> Mixture:
    """A straight line from the widest narrow dictionary, its slope uncertain by ``doubt``."""
    z = stats.norm.ppf((np.arange(41) + 0.5) / 41)
    means = narrow.y[-1] - np.outer(ahead, slope + doubt * z)
    return Mixture(means, sigma * float(np.sqrt(2)))


def _own_line(narrow: Cell, ahead: np.ndarray, sigma: float) -> Mixture:
    """The straight line through the layer's own narrow dictionaries, as least squares doubts it."""
    x = narrow.x - narrow.x[-1]
    slope, level = np.polyfit(x, narrow.y, 1)
    left = narrow.y - level - slope * x
    noise = max(sigma, float(np.sqrt((left**2).sum() / max(1, len(x) - 2))))
    doubt = noise / np.sqrt(((x - x.mean()) ** 2).sum())
    z = stats.norm.ppf((np.arange(41) + 0.5) / 41)
    means = (narrow.y.mean() + slope * (ahead - x.mean()))[:, None] + np.outer(ahead - x.mean(), doubt * z)
    return Mixture(means, float(noise * np.sqrt(1 + 1 / len(x))))


def _judged(found: Mixture | Stretched, wide: Cell, prior: Prior | None) -> list[dict[str, object]]:
    """A row a hidden width: what was said of it and what was measured."""
    said = {name: np.exp(value) for name, value in found.levels.items()}
    plain = (found.inner if isinstance(found, Stretched) else found).levels
    inside = (plain["low"] <= wide.y) & (wide.y <= plain["high"])
    below, _, _, above = UNSTRETCHED if prior is None else prior.stretch
    density, rows = found.log_density(wide.y), []
    for i, (width, nmse) in enumerate(zip(wide.widths, wide.losses, strict=True)):
        at = {name: float(value[i]) for name, value in said.items()}
        row = {"width": width, "predicted": at.pop("nmse"), **at, "nmse": nmse}
        row |= {"error": float(np.log(row["predicted"] / nmse)), "covered": at["low"] <= nmse <= at["high"]}
        row |= {"covered_80": at["low_80"] <= nmse <= at["high_80"], "covered_plain": bool(inside[i])}
        rows.append(row | {"stretch_low": below, "stretch_high": above, "log_score": float(density[i])})
    return rows


def scores(table: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """How good each rule is: mean size of the log error, its interval over layers, coverage, log score.

    Columns: ``by``, rule, n_predictions, error (mean absolute log error), bias (mean log error), coverage,
    coverage_80, coverage_plain (of the 95 % intervals before stretching), log_score (mean).
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
            coverage_plain=("covered_plain", "mean"),
            log_score=("log_score", "mean"),
        )
    )
    return made.reset_index()


def by_octave(table: pd.DataFrame, by: Sequence[str] = ("model",)) -> pd.DataFrame:
    """Scores by ``by`` and by how many octaves ahead a width was, rounded: :func:`scores`."""
    rounded = table.assign(octaves=table["octaves"].round().astype(int))
    return scores(rounded, [*by, "octaves"]).sort_values([*by, "octaves"], ignore_index=True, kind="stable")


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
