"""Floors with the documents drawn again: the same curves, fitted to every draw of their errors.

>>> rows = [{"d_sae": n, "l0": l0, "nmse": (n**-0.5 + 0.05) / l0, "spread": 0.01}
...         for n in (64, 128, 256, 512, 1024) for l0 in (8, 32)]
>>> table = pd.DataFrame(rows).assign(source="lab", model="m", layer=0, site="res", architecture="topk")
>>> found = floors(table.assign(schedule="matched"), 16.0, n_bootstrap=50)
>>> bool(found["low"][0] < found["floor"][0] < found["high"][0]), round(float(found["floor"][0]) * 16, 3)
(True, 0.05)
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from geowall.laws.scaling import filters, uncertainty
from geowall.laws.scaling.floors import curve
from geowall.laws.scaling.grid import of_layers


def floors(checkpoints: pd.DataFrame, k: float, n_bootstrap: int = 200, seed: int = 0) -> pd.DataFrame:
    """Return every layer's floor at ``k`` with the middle 95 % of draws of the documents.

    The widths of a curve are those that filter i keeps of the data as measured. Columns: the group, k, floor,
    low, high, share_zero (of the draws whose floor is none).
    """
    made = []
    for key, layer in of_layers(checkpoints, [k], n_bootstrap, seed):
        used = np.flatnonzero(layer.measured[:, 0])
        used = used[filters.falling(layer.log_error[used, 0, 0])]
        if len(used) < 3:
            continue
        found = curve(layer.widths[used].astype(float), layer.log_error[used, 0].T).floor
        least = np.exp(layer.log_error[used, 0].min(axis=0))
        low, high = uncertainty.middle(found[1:])
        none = float((found[1:] < 1e-3 * least[1:]).mean())
        made.append(key | {"k": k, "floor": found[0], "low": low, "high": high, "share_zero": none})
    return pd.DataFrame(made).astype({"low": float, "high": float})
