"""Norms, directions and outliers of the activations of every layer, with and without BOS.

Intervals are bootstraps over sequences: the tokens of one sequence share its text and its BOS.

>>> x = np.array([[3.0, 4.0], [6.0, 8.0]])
>>> round(cosine(x), 6)
1.0
"""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import linalg

from geowall.language import hub, reading
from geowall.language.reading import Setting
from geowall.language.sites import Site

QUANTILES = {"q05": 0.05, "q25": 0.25, "median": 0.5, "q75": 0.75, "q95": 0.95}
BINS = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)
MASSIVE_SIZE, MASSIVE_RATIO = 100.0, 1000.0  # Sun et al. 2024: above 100, and 1,000 times the median


def norms(chosen: Setting) -> pd.DataFrame:
    """Quantiles of the norms of text tokens (BOS left out) at every site.

    Columns: ``layer``, ``site``, ``q05``, ``q25``, ``median``, ``q75``, ``q95``, ``largest``, ``bos`` the
    norm of BOS.
    """
    store, rows = reading.store_of(chosen), []
    text = store.index["token"].to_numpy() != reading.packed(chosen).bos
    for site in store.sites:
        values = store.norms(site)
        levels = np.quantile(values[text], list(QUANTILES.values()))
        row = {"layer": site.layer, "site": site.kind, **dict(zip(QUANTILES, levels, strict=True))}
        rows.append(row | {"largest": values[text].max(), "bos": values[~text].mean()})
    return pd.DataFrame(rows)


def positions(chosen: Setting) -> pd.DataFrame:
    """Norm and anisotropy of the residual stream by position in the sequence, BOS in a bin of its own.

    Columns: ``layer``, ``position`` (first of the bin), ``position_end`` (last), ``tokens`` (``bos`` or
    ``text``), ``n_tokens``, ``norm`` (median), ``q25``, ``q75``, ``cosine``.
    """
    store, rows = reading.store_of(chosen), []
    position = store.index["position"].to_numpy()
    edges = [edge for edge in BINS if edge < chosen["context"]] + [chosen["context"]]
    for site in (site for site in store.sites if site.kind == "res"):
        x, size = store.read(site), store.norms(site)
        for first, end in itertools.pairwise(edges):
            inside = (position >= first) & (position < end)
            q25, median, q75 = np.quantile(size[inside], [0.25, 0.5, 0.75])
            row = {"layer": site.layer, "position": first, "position_end": end - 1}
            row |= {"tokens": "bos" if first == 0 else "text", "n_tokens": int(inside.sum())}
            rows.append(row | {"norm": median, "q25": q25, "q75": q75, "cosine": cosine(x[inside])})
    return pd.DataFrame(rows)


def cosine(x: Float[np.ndarray, "token d"]) -> float:
    """Mean cosine between two different tokens: from the length of the mean direction, without pairs."""
    units = x / np.linalg.norm(x, axis=1, keepdims=True)
    total, n = units.sum(0, dtype=np.float64), len(x)
    return float((total @ total - n) / (n * (n - 1))) if n > 1 else float("nan")


def bos_effect(chosen: Setting, n_bootstrap: int, seed: int) -> pd.DataFrame:
    """Every statistic of the residual stream at every layer, with BOS and without, with 95 % intervals.

    Columns: ``layer``, ``tokens`` (``all`` or ``text``), ``statistic``, ``value``, ``low``, ``high``. The
    statistics: ``mean_norm``; ``norm_spread``, the standard deviation of norms over their mean;
    ``mean_share``, the share of the squared norm that lies in the mean; ``cosine`` between two tokens (both
    from pairs of tokens of different sequences, so that a resample's copies of a sequence count for nothing);
    ``effective_dimension``, the participation ratio of the covariance; ``top_variance``, the share of the
    variance on its first axis.
    """
    store, rows = reading.store_of(chosen), []
    sequence = store.index["sequence"].to_numpy()
    text = store.index["token"].to_numpy() != reading.packed(chosen).bos
    for site in (site for site in store.sites if site.kind == "res"):
        x = store.read(site)
        for tokens, keep in (("all", np.ones_like(text)), ("text", text)):
            found = _bootstrapped(x[keep], sequence[keep], n_bootstrap, seed)
            rows += [{"layer": site.layer, "tokens": tokens, **row} for row in found]
    return pd.DataFrame(rows)


def amplified(chosen: Setting, layer: int, factors: list[float]) -> pd.DataFrame:
    """Statistics of one layer, BOS included, were BOS's activation longer by each of these factors.

    Columns: ``layer``, ``relative_norm`` (of BOS to the mean norm of text), ``statistic``, ``value``, and
    ``text_value``, the same statistic without BOS.
    """
    store, rows = reading.store_of(chosen), []
    sequence = store.index["sequence"].to_numpy()
    is_bos = store.index["token"].to_numpy() == reading.packed(chosen).bos
    x = store.read(Site("res", layer))
    norm = np.linalg.norm(x, axis=1)
    own = norm[is_bos].mean() / norm[~is_bos].mean()
    text = _values(x[~is_bos], sequence[~is_bos])
    for factor in factors:
        values = _values(np.where(is_bos[:, None], np.float32(factor) * x, x), sequence)
        row = {"layer": layer, "relative_norm": float(factor * own)}
        rows += [{**row, "statistic": k, "value": v, "text_value": text[k]} for k, v in values.items()]
    return pd.DataFrame(rows)


def _values(x: np.ndarray, sequence: np.ndarray) -> dict[str, float]:
    """All statistics, without intervals."""
    sums = _sums(x, sequence)
    plain = _moments(sums, np.ones((1, len(sums["count"]))))
    return {name: float(v[0]) for name, v in plain.items()} | _spectrum(*_second_moments(x - x.mean(0)))


def _bootstrapped(
    x: np.ndarray, sequence: np.ndarray, n_bootstrap: int, seed: int
) -> list[dict[str, object]]:
    """Statistics with intervals, from sums over each sequence: a resample is a weighting of sequences."""
    sums, n = _sums(x, sequence), int(sequence.max()) + 1
    draws = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=n_bootstrap)
    spread, whole = _moments(sums, draws), _moments(sums, np.ones((1, n)))
    rows = []
    for name, values in spread.items():
        low, high = np.quantile(values, [0.025, 0.975])
        rows.append({"statistic": name, "value": float(whole[name][0]), "low": low, "high": high})
    return rows + _jackknifed(x, sequence)


def _jackknifed(x: np.ndarray, sequence: np.ndarray, n_blocks: int = 12) -> list[dict]:
    """Statistics of the covariance; leaving out a twelfth of the sequences at a time gives the intervals."""
    blocks = [x[np.isin(sequence, part)] for part in np.array_split(np.unique(sequence), n_blocks)]
    parts = [_second_moments(block - x.mean(0)) for block in blocks if len(block)]
    total = tuple(sum(values) for values in zip(*parts, strict=True))
    value = _spectrum(*total)
    left = [_spectrum(*(a - b for a, b in zip(total, part, strict=True))) for part in parts]
    rows = []
    for name, v in value.items():
        values = np.array([entry[name] for entry in left])
        half = 1.96 * np.sqrt((len(values) - 1) * np.square(values - values.mean()).mean())
        rows.append({"statistic": name, "value": v, "low": v - half, "high": v + half})
    return rows


def _second_moments(x: np.ndarray) -> tuple[int, np.ndarray, np.ndarray]:
    return len(x), x.sum(0, dtype=np.float64), (x.T @ x).astype(np.float64)


def _sums(x: np.ndarray, sequence: np.ndarray) -> dict[str, np.ndarray]:
    """Sums over each sequence of activations, directions, norms and squared norms, and the counts."""
    norm = np.linalg.norm(x, axis=1).astype(np.float64)
    starts = np.flatnonzero(np.diff(sequence, prepend=-1))
    columns = {"x": x, "unit": x / norm[:, None], "norm": norm, "square": norm**2, "count": np.ones(len(x))}
    return {name: np.add.reduceat(np.asarray(v, np.float64), starts) for name, v in columns.items()}


def _moments(sums: dict[str, np.ndarray], weights: np.ndarray) -> dict[str, np.ndarray]:
    """Statistics of each weighting of the sequences."""
    total = {name: weights @ values for name, values in sums.items()}
    n = total["count"]
    mean, square = total["norm"] / n, total["square"] / n
    spread = np.sqrt(np.maximum(square - mean**2, 0)) / mean
    pairs = n**2 - weights**2 @ sums["count"] ** 2  # of tokens that lie in different sequences
    found = {"mean_norm": mean, "norm_spread": spread}
    for name, column in (("mean_share", "x"), ("cosine", "unit")):
        own = weights**2 @ np.square(sums[column]).sum(1)
        found[name] = (np.square(total[column]).sum(1) - own) / pairs
    return found | {"mean_share": found["mean_share"] / square}


def _spectrum(count: int, total: np.ndarray, squares: np.ndarray) -> dict[str, float]:
    """Participation ratio of the covariance, and the share of its largest eigenvalue."""
    mean = total / count
    covariance = squares / count - np.outer(mean, mean)
    trace, last = np.trace(covariance), len(covariance) - 1
    top = linalg.eigvalsh(covariance, subset_by_index=[last, last])[0]
    return {
        "effective_dimension": float(trace**2 / np.square(covariance).sum()),
        "top_variance": float(top / trace),
    }


def massive(chosen: Setting, top: int = 3) -> pd.DataFrame:
    """The largest activations of every layer, on BOS and on text, each in a dimension of its own.

    Columns: ``layer``, ``tokens`` (``bos`` or ``text``), ``rank``, ``magnitude``, ``median`` (of all
    magnitudes of these tokens' layer), ``ratio`` of the two, ``dimension``, ``position``, ``token`` (its
    text), ``norm_share`` (of the token's squared norm), ``massive`` by the criterion of
    {cite:t}`sun2024`: above 100 and above 1,000 times the median.
    """
    store, text = reading.store_of(chosen), reading.packed(chosen)
    words = hub.tokenizer(chosen["model"])
    index, rows = store.index, []
    is_bos = index["token"].to_numpy() == text.bos
    for site in (site for site in store.sites if site.kind == "res"):
        x = store.read(site)
        median = float(np.median(np.abs(x[~is_bos])))
        for tokens, keep in (("bos", is_bos), ("text", ~is_bos)):
            for rank, entry in enumerate(_largest(np.abs(x[keep]), top), start=1):
                row, dimension, magnitude = entry
                origin = index[keep].iloc[row]
                rows.append(
                    _about(site, tokens, rank, magnitude, median)
                    | {"dimension": dimension, "position": int(origin["position"])}
                    | {"token": words.decode([int(origin["token"])])}
                    | {"norm_share": float(magnitude**2 / np.square(x[keep][row]).sum())}
                )
    return pd.DataFrame(rows)


def _about(site: Site, tokens: str, rank: int, magnitude: float, median: float) -> dict[str, object]:
    ratio = magnitude / median
    found = {"layer": site.layer, "tokens": tokens, "rank": rank, "magnitude": magnitude, "median": median}
    return found | {"ratio": ratio, "massive": bool(magnitude > MASSIVE_SIZE and ratio > MASSIVE_RATIO)}


def _largest(size: np.ndarray, top: int) -> list[tuple[int, int, float]]:
    """Row, dimension and magnitude of the largest entries, one for each dimension."""
    at = size.argmax(0)
    best = size[at, np.arange(size.shape[1])]
    chosen = np.argsort(best)[::-1][:top]
    return [(int(at[d]), int(d), float(best[d])) for d in chosen]
