"""Is a curve trained to its end? The same autoencoders from starts that know more than a random one.

L(n) cannot rise with n at the optimum, and a dictionary of n/2 latents whose latents are split in two has the
loss of n/2 with n of them. JumpReLU under L0 starts as a tiling instead: if training left it for few wide
caps, these are what the penalty and its gradient prefer.

>>> sweep = {"rules": ["relu l1=0.1"], "ds": [3], "thicknesses": [0.0], "n_latents": [16], "seeds": [0]}
>>> table = restarts(sweep, [16], steps=150, batch=128)
>>> table["start"].tolist(), bool((table["loss"] < 0.25).all())
(['random', 'informed'], True)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from geowall.sae.curves import CURVE, Sweep, labels, members_of, trained
from geowall.sae.model import Sae
from geowall.sae.schedule import Member, derive
from geowall.sae.start import narrow, split

COLUMNS = [*CURVE, "n_latents", "seed", "start", "loss", "l0", "live"]


def restarts(sweep: Sweep, widths: Sequence[int], **training: object) -> pd.DataFrame:
    """Two rows for each autoencoder of a sweep at ``widths`` (even): from a random start, and informed.

    Informed is, under L1, a start from the best seed of half the width with every latent split in two, and
    under L0 narrow caps (:func:`geowall.sae.start.narrow`). Columns: ``COLUMNS``.
    """
    wide, half = (
        members_of({**sweep, "n_latents": ns, "bare": True}) for ns in (widths, [n // 2 for n in widths])
    )
    saes = trained(half, training)
    best = _best(half, saes.saes, saes.table)
    starts = {}
    for i, m in enumerate(wide):
        seed = derive(m.seed, "restart", m.n_latents)
        fits = (m.manifold, m.n_latents // 2, m.rule)
        starts[i] = (
            narrow(m.n_latents, m.manifold.d_model, m.rule, seed) if m.rule.l0 else split(best[fits], seed)
        )
    made = {"random": trained(wide, training), "informed": trained(wide, training, starts)}
    parts = []
    for name, sweep_of in made.items():
        named = pd.DataFrame([labels(member) for member in wide]).assign(start=name)
        parts.append(pd.concat([named, sweep_of.table[["n_latents", "seed", "loss", "l0", "live"]]], axis=1))
    return pd.concat(parts, ignore_index=True)[COLUMNS]


def _best(members: Sequence[Member], saes: Sequence[Sae], table: pd.DataFrame) -> Mapping[tuple, Sae]:
    """The autoencoder of least loss for each manifold, width and rule."""
    best: dict[tuple, tuple[float, Sae]] = {}
    for member, sae, loss in zip(members, saes, table["loss"], strict=True):
        key = (member.manifold, member.n_latents, member.rule)
        if key not in best or loss < best[key][0]:
            best[key] = (loss, sae)
    return {key: sae for key, (_, sae) in best.items()}


def gains(table: pd.DataFrame) -> pd.DataFrame:
    """What the informed start gains: a row for each curve and width.

    Columns: ``CURVE``, n_latents, random and informed (best loss over seeds), gain (share of the random
    start's loss that the informed one saves; negative where it is the worse).
    """
    best = table.groupby([*CURVE, "n_latents", "start"], sort=False)["loss"].min().unstack("start")
    best = best.reset_index().rename_axis(columns=None)
    return best.assign(gain=1.0 - best["informed"] / best["random"])
