"""What the lab's grids cover, beside Gemma Scope: widths over dimensions, sparsities, and training.

A dictionary of 1,024 latents is wide or narrow by what it has to rebuild. What is found between half and ten
times the dimensions of a model need not hold between seven and four hundred times:

>>> table = pd.DataFrame({"d_model": [100, 2304], "narrow": [64, 16384], "wide": [1024, 2**20]})
>>> ratios(table)[["ratio_low", "ratio_high"]].round(1).to_numpy().tolist()
[[0.6, 10.2], [7.1, 455.1]]
"""

from __future__ import annotations

import json

import pandas as pd

from geowall.laws.scaling.sources import BACKBONE
from geowall.paths import ROOT
from geowall.sae.inventory import D_MODEL

GRID = ["source", "model", "schedule"]
SCOPE = "Gemma Scope"
COLUMNS = [*GRID, "d_model", "n_layers", "narrow", "wide", "ratio_low", "ratio_high", "n_sparsities"]
COLUMNS += ["tokens_narrow", "tokens_wide"]


def d_model(model: str) -> float:
    """Dimensions of a model: of Gemma 2, or what the folder of a lab model says; NaN where neither knows."""
    bare = model.split(" ")[0]
    if bare in D_MODEL:
        return float(D_MODEL[bare])
    path = ROOT / "data" / "lab" / bare / "config.json"
    return float(json.loads(path.read_text())["hidden_size"]) if path.is_file() else float("nan")


def ratios(table: pd.DataFrame) -> pd.DataFrame:
    """Add the narrowest and the widest dictionary over the dimensions of the model."""
    low, high = (table[end] / table["d_model"] for end in ("narrow", "wide"))
    return table.assign(ratio_low=low, ratio_high=high)


def extent(checkpoints: pd.DataFrame, inventory: pd.DataFrame) -> pd.DataFrame:
    """What was trained at every layer: JumpReLU on the residual stream of the lab, and Gemma Scope.

    A width counts where at least half of the layers have it; others are the showcase's.
    Columns: source, model, schedule, d_model, n_layers, narrow, wide (latents), ratio_low, ratio_high (over
    d_model), n_sparsities (median over layers and widths), tokens_narrow, tokens_wide (of training, a latent;
    NaN where it is not in the table).
    """
    own = checkpoints[(checkpoints["site"] == "res") & (checkpoints["architecture"] == "jumprelu")]
    lab = own[own["source"] == "lab"].assign(tokens=own["train_tokens"] / own["d_sae"])
    theirs = inventory[inventory["model"].isin(list(BACKBONE))].rename(columns={"width": "d_sae"})
    theirs = theirs.assign(source="published", schedule="", tokens=float("nan"))
    made = []
    for key, rows in pd.concat([lab, theirs]).groupby(GRID, sort=False):
        reach = rows.groupby("d_sae")["layer"].nunique()
        usual = reach.index[reach >= rows["layer"].nunique() / 2]
        tokens = rows.groupby("d_sae")["tokens"].median()
        row = dict(zip(GRID, key, strict=True)) | {"d_model": d_model(key[1])}
        row |= {"n_layers": rows["layer"].nunique(), "narrow": int(min(usual)), "wide": int(max(usual))}
        row["n_sparsities"] = float(rows.groupby(["layer", "d_sae"]).size().median())
        row |= {"tokens_narrow": float(tokens[min(usual)]), "tokens_wide": float(tokens[max(usual)])}
        made.append(row)
    return ratios(pd.DataFrame(made))[COLUMNS]
