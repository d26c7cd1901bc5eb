"""How a dictionary of latents is shared among features when training is optimal.

Feature i is active with probability ``p_i`` and costs ``L_i(n_i)`` when ``n_i`` latents serve it. Training
minimises ``sum_i p_i L_i(n_i)`` with ``sum_i n_i = d_sae``, so the latents take the ``d_sae`` largest
marginal gains. One frequent manifold can be worth more latents than a million rare features:

>>> discovery(100_000_000, alpha=0.5, beta=0.05).n_discovered
2874009

Model: arXiv 2509.02565 (feature manifolds), after arXiv 2412.07942.
"""

from geowall.allocation.asymptotics import (
    Asymptote,
    Power,
    asymptote,
    continuous_asymptote,
    continuous_discovered,
    continuous_loss,
    power_discovered,
    regime,
)
from geowall.allocation.endless import ZipfAllocation, allocate_zipf
from geowall.allocation.exact import allocate
from geowall.allocation.losses import CONVENTIONS, PowerLoss
from geowall.allocation.manifold import Discovery, discovery
from geowall.allocation.tables import (
    discovery_table,
    heterogeneity_table,
    phase_table,
    regimes_table,
    saturation_table,
    scaling_table,
    sizes,
    window_table,
    worst_beta_table,
)
from geowall.allocation.zetas import partial_zeta, zeta, zeta_tail, zipf

__all__ = [
    "CONVENTIONS",
    "Asymptote",
    "Discovery",
    "Power",
    "PowerLoss",
    "ZipfAllocation",
    "allocate",
    "allocate_zipf",
    "asymptote",
    "continuous_asymptote",
    "continuous_discovered",
    "continuous_loss",
    "discovery",
    "discovery_table",
    "heterogeneity_table",
    "partial_zeta",
    "phase_table",
    "power_discovered",
    "regime",
    "regimes_table",
    "saturation_table",
    "scaling_table",
    "sizes",
    "window_table",
    "worst_beta_table",
    "zeta",
    "zeta_tail",
    "zipf",
]
