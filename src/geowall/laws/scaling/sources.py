"""Which source a measured table is of, and a name for its models that no published row has.

The same layers of Gemma 2 may stand in one table twice: as the paper drew them (``published``) and as a
reader measured them with the weights (``gemma``). The measured ones are named apart, whatever organisation
stands in front of their name:

>>> found = named(pd.DataFrame({"model": ["google/gemma-2-2b", "lab-small"]}))
>>> found[["source", "model"]].to_numpy().tolist()
[['gemma', 'gemma-2-2b here'], ['lab', 'lab-small']]
>>> backbone_of("gemma-2-2b here", [128, 512]), backbone_of("lab-small", [128, 512])
((16384, 65536), (128, 512))
>>> ks_of("gemma-2-2b here", [8, 16]), ks_of("lab-small", [8, 16])
([16, 25, 32, 50, 64, 75], [8, 16])
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from geowall.paths import GeowallError

PUBLISHED, LAB, GEMMA = "published", "lab", "gemma"
HERE = " here"  # what is measured of a model that the paper has numbers of
# The two widths that every layer of a model of the paper has.
BACKBONE = {"gemma-2-2b": (16384, 65536), "gemma-2-9b": (16384, 131072)}
KS = (16, 25, 32, 50, 64, 75)  # the sparsities at which the paper reads its laws


def named(table: pd.DataFrame) -> pd.DataFrame:
    """Return a measured table with ``source`` and with ``model`` named apart from published rows.

    Models of the paper are ``gemma``; of any other, ``lab`` where the table has no source of its own.
    """
    bare = table["model"].str.rpartition("/")[2].str.removesuffix(HERE)
    theirs = bare.isin(list(BACKBONE))
    own = table["source"] if "source" in table else pd.Series(LAB, table.index)
    return table.assign(model=bare.where(~theirs, bare + HERE), source=own.mask(theirs, GEMMA))


def gathered(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Put measured tables, by the path they were read from, on top of each other.

    The lab's grid is what the chapter compares everything with. Raises
    :class:`~geowall.paths.GeowallError` where no table has it, or where two tables have one model:
    dictionaries of two trainings would be taken for one grid.
    """
    parts = {path: named(table) for path, table in tables.items()}
    seen: dict[str, str] = {}
    for path, part in parts.items():
        for model in part["model"].unique():
            if model in seen:
                why = f"{model} is in {seen[model]} and in {path}"
                fix = "leave one out; of Gemma 2, publish chapter 05 with --profile gemma first"
                raise GeowallError("two tables of one model were not mixed", why, fix)
            seen[model] = path
    whole = pd.concat(parts.values(), ignore_index=True)
    if not (whole["source"] == LAB).any():
        why = f"there are only {', '.join(sorted(seen))}"
        raise GeowallError("no grid of the lab was read", why, "add data/lab/checkpoints.parquet")
    return whole


def backbone_of(model: str, asked: Sequence[int]) -> tuple[int, int]:
    """Return the two widths behind a model's exponent: the paper's for its models, else those asked for."""
    narrow, wide = BACKBONE.get(model.removesuffix(HERE), asked)
    return int(narrow), int(wide)


def ks_of(model: str, asked: Sequence[float]) -> list[float]:
    """Return the sparsities at which a model's laws are read: the paper's for its models."""
    return list(KS if model.removesuffix(HERE) in BACKBONE else asked)
