"""Sparse autoencoders by the hundred: architectures, training, metrics, and the codes they approximate.

>>> from geowall import sae
>>> from geowall.manifolds import make
>>> members = sae.grid([make("circle")], [4, 8], [sae.Rule("relu", l1=0.1)], seeds=[0])
>>> trained = sae.train(members, sae.Schedule(steps=100, batch=256))
>>> trained.table["n_latents"].tolist(), bool((trained.table["loss"] < 0.5).all())
([4, 8], True)
"""

from geowall.kernels.sae_step import ARCHITECTURES, Rule
from geowall.sae.discovery import features
from geowall.sae.lasso import envelope, lasso_codes, signed_basis_gauge, signed_basis_loss, tiling_loss
from geowall.sae.metrics import evaluate, measure
from geowall.sae.model import Sae
from geowall.sae.rows import Rows
from geowall.sae.scaling import fit_curve
from geowall.sae.schedule import Member, Schedule, grid
from geowall.sae.training import Trained, train

__all__ = [
    "ARCHITECTURES",
    "Member",
    "Rows",
    "Rule",
    "Sae",
    "Schedule",
    "Trained",
    "envelope",
    "evaluate",
    "features",
    "fit_curve",
    "grid",
    "lasso_codes",
    "measure",
    "signed_basis_gauge",
    "signed_basis_loss",
    "tiling_loss",
    "train",
]
