"""The figures of chapter 01, gathered: a tidy table of :mod:`geowall.allocation` in, a finished chart out.

>>> sorted(name for name in __all__ if name.startswith("fig_"))[:3]
['fig_discovery', 'fig_explorer', 'fig_exponents']
"""

from geowall.figures.allocation_explorer import fig_explorer
from geowall.figures.allocation_manifold import (
    fig_discovery,
    fig_heterogeneity,
    fig_saturation,
    fig_worst_beta,
    heterogeneity_ranges,
)
from geowall.figures.allocation_regimes import (
    fig_exponents,
    fig_phase,
    fig_regimes,
    fig_window_bias,
    regimes_markdown,
)

__all__ = [
    "fig_discovery",
    "fig_explorer",
    "fig_exponents",
    "fig_heterogeneity",
    "fig_phase",
    "fig_regimes",
    "fig_saturation",
    "fig_window_bias",
    "fig_worst_beta",
    "heterogeneity_ranges",
    "regimes_markdown",
]
