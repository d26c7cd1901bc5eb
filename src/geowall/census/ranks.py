"""How fast latents get rare: firing frequency against rank, and its slope (claim C8 of Michaud et al. 2025).

Two Gemma Scope dictionaries were read over ranks 1e2 to 1e4, slopes -0.74 with 16k latents and -0.57 with
32k. Here the window is the same share of a dictionary at any width, so that widths can be compared; latents
are not features, so the slope is no reading of ``alpha``.

>>> table = pd.DataFrame({"rank": range(1, 1001), "frequency": [r**-0.7 / 9 for r in range(1, 1001)]})
>>> {name: round(value, 2) for name, value in slope(table, 1000).items()}
{'slope': -0.7, 'low': -0.7, 'high': -0.7, 'decades': 1.94}
"""

from __future__ import annotations

import numpy as np
import pandas as pd

WINDOW = (1e2 / 2**14, 1e4 / 2**14)  # the paper's ranks as shares of its narrower dictionary
POINTS = 48  # of a fit, even in log rank: else the rarest tenth of the latents would be all of it
PUBLISHED = pd.DataFrame({"d_sae": [16_384, 32_768], "slope": [-0.74, -0.57]})
OWN = ["model", "layer", "site", "architecture", "schedule", "d_sae", "nominal_l0", "seed", "name"]


def slopes(latents: pd.DataFrame, window: tuple[float, float] = WINDOW) -> pd.DataFrame:
    """A row for each checkpoint of a table of latents: :func:`slope`, and the share of dead latents."""
    rows = []
    for own, table in latents.groupby(OWN, sort=False):
        found = slope(table, int(table["d_sae"].iloc[0]), window)
        rows.append(dict(zip(OWN, own, strict=True)) | found | {"dead_share": float(table["dead"].mean())})
    return pd.DataFrame(rows)


def slope(table: pd.DataFrame, d_sae: int, window: tuple[float, float] = WINDOW) -> dict[str, float]:
    """Slope of log frequency against log rank in a window of ranks, shares of ``d_sae``.

    Returns ``slope``; ``low`` and ``high``, the slopes of the two halves of the window in log rank, steeper
    and flatter (a power law has one slope; counting errors are far smaller than this); and
    ``decades``, how many of rank the window holds once dead latents are left out. NaN where fewer than eight
    live latents are in it.
    """
    live = table[table["frequency"] > 0].sort_values("rank")
    first, last = max(1.0, window[0] * d_sae), min(window[1] * d_sae, float(live["rank"].max() or 0))
    inside = live[(live["rank"] >= first) & (live["rank"] <= last)]
    if len(inside) < 8:
        return dict.fromkeys(("slope", "low", "high", "decades"), float("nan"))
    x, y = np.log(inside["rank"].to_numpy(float)), np.log(inside["frequency"].to_numpy())
    grid = np.linspace(x[0], x[-1], POINTS)
    even, half = np.interp(grid, x, y), POINTS // 2
    parts = [float(np.polyfit(grid[s], even[s], 1)[0]) for s in (slice(None), slice(half), slice(half, None))]
    ends = {"low": min(parts[1:]), "high": max(parts[1:])}
    return {"slope": parts[0], **ends, "decades": float((x[-1] - x[0]) / np.log(10.0))}


def thinned(latents: pd.DataFrame, points: int = 60) -> pd.DataFrame:
    """Some ranks of every checkpoint, even in log rank: what a chart needs."""
    parts = []
    for _, table in latents[latents["frequency"] > 0].groupby(OWN, sort=False):
        ranks = np.unique(np.geomspace(1, len(table), points).round().astype(int))
        parts.append(table.sort_values("rank").iloc[ranks - 1])
    return pd.concat(parts, ignore_index=True)
