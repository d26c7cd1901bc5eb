"""The claims of the Geometric Wall paper on depth: exponents, errors and summaries from layer to layer.

>>> {claim.paper for claim in CLAIMS}
{'zaher2026'}
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pandas as pd

from geowall.wall import geometry_numbers, profile_numbers
from geowall.wall.claims import NONE, ZAHER, Claim, Control
from geowall.wall.evidence import Found, made
from geowall.wall.profile_numbers import LAYERS, SHOWCASE
from geowall.wall.rules import above, below, between, same

MODELS = (("gemma-2-2b", "2B"), ("gemma-2-9b", "9B"))
MIDDLE = between(0.25, 0.75)  # of the depth
EXPONENTS = [
    *(
        Claim(
            ZAHER, f"Exponent of layer 0 at {size}", "published", there,
            made(partial(profile_numbers.first, model=model), LAYERS), same(0.01), "08", "layers",
            Control(
                "its wide dictionaries reach 50 active latents",
                "its wide dictionaries stop short of 50 active latents: it is extrapolated",
                "such layers", made(partial(profile_numbers.unreached, model=model), LAYERS),
                below(1),
            ),
        )
        for (model, size), there in zip(MODELS, (0.50, 0.66), strict=True)
    ),
    *(
        Claim(
            ZAHER, f"Least exponent at {size}, in mid-depth", "published", 0.11,
            made(partial(profile_numbers.least, model=model), LAYERS), same(5e-3), "08", "layers",
            Control(
                "it lies in mid-depth", "it does not lie in mid-depth", "relative depth",
                made(partial(profile_numbers.least_at, model=model), LAYERS), MIDDLE,
            ),
        )
        for model, size in MODELS
    ),
    *(
        Claim(
            ZAHER, f"Exponents peak again late, at {size}", "published", there,
            made(partial(profile_numbers.late_peak, model=model), LAYERS), same(5e-4), "08", "layers",
            Control(
                "the peak is near 5/6 of the depth", "the peak is not near 5/6 of the depth", "depth",
                made(partial(profile_numbers.late_peak_at, model=model), LAYERS),
                between(5 / 6 - 0.05, 5 / 6 + 0.05),
            ),
        )
        for (model, size), there in zip(MODELS, (0.158, 0.153), strict=True)
    ),
    Claim(
        ZAHER, "That peak is below Gao's exponent, by", "published", 0.03,
        made(profile_numbers.below_gao, LAYERS), same(0.01), "08", "layers",
        Control(
            "exponents above a floor, as Gao's is, are below it too",
            "Gao's exponent is one above a floor, and those of the showcase layers are larger than it",
            "Gao's less theirs", made(profile_numbers.floored_below_gao, "09/wall_floors"), above(0),
        ),
    ),
    Claim(
        ZAHER, "Layer 0 has the largest exponent, by", "lab",
        made(partial(geometry_numbers.first_less_others, source="published"), "07/layer_laws"),
        made(partial(geometry_numbers.first_less_others, source="lab"), "07/layer_laws"), above(0),
        "07", "exponent-profiles",
    ),
    Claim(
        ZAHER, "α(k) is −(β_n + γ ln k), largest miss", "published", NONE,
        made(profile_numbers.identity, LAYERS), below(1e-4), "08", "layers",
    ),
    Claim(
        ZAHER, "Chord and surface agree, largest gap", "published", 0.01,
        made(geometry_numbers.secant_gap, "07/layer_laws"), below(0.01), "07", "exponent-profiles",
    ),
    Claim(
        ZAHER, "Showcase exponents use all widths, gap", "published", NONE,
        made(profile_numbers.all_widths, LAYERS, SHOWCASE), below(0.01), "07", "showcase",
    ),
]  # fmt: skip
ERRORS = [
    Claim(
        ZAHER, "Error peaks in mid-depth, relative depth", "published", NONE,
        made(partial(profile_numbers.inner_peak, column="nmse_c4"), LAYERS), MIDDLE, "08", "layers",
    ),
    Claim(
        ZAHER, "Then it dips, least share", "published", NONE,
        made(partial(profile_numbers.dip, column="nmse_c4"), LAYERS), above(0.05), "08", "layers",
    ),
    Claim(
        ZAHER, "And jumps at the last layer, least ratio", "published", NONE,
        made(partial(profile_numbers.jump, column="nmse_c4"), LAYERS), above(1.1), "08", "layers",
        Control(
            "it does on WikiText", "it does not on WikiText", "ratio",
            made(partial(profile_numbers.jump, column="nmse_wikitext"), LAYERS), above(1.1),
        ),
    ),
    Claim(
        ZAHER, "Errors on two corpora go together, least r", "published", NONE,
        made(profile_numbers.corpora, LAYERS), above(0.9), "08", "layers",
    ),
]  # fmt: skip


def _lab(make: Callable[[pd.DataFrame], Found]) -> Callable[[pd.DataFrame], Found]:
    """Let a number of layers in columns read the long table of chapter 06."""
    return lambda geometry: make(profile_numbers.lab_profiles(geometry))


SHAPES = [
    Claim(
        ZAHER, f"{words} in {where}", source, NONE,
        made(
            partial(measure, column=column) if source == "published"
            else _lab(partial(measure, column=column)), table,
        ), rule, *place,
    )
    for source, where, table, place in (
        ("published", "Gemma 2", LAYERS, ("08", "layers")),
        ("lab", "the lab", "06/layer_geometry", ("06", "profiles")),
    )
    for words, measure, column, rule in (
        ("d_int peaks in mid-depth", profile_numbers.peak, "d_int", MIDDLE),
        ("ν peaks in mid-depth", profile_numbers.peak, "nu", MIDDLE),
        ("κ_ms rises, then stays, range", profile_numbers.plateau, "kappa_ms", between(0.0, 0.25)),
        ("κ_tv rises, then stays, range", profile_numbers.plateau, "kappa_tv", between(0.0, 0.25)),
    )
]  # fmt: skip
CLAIMS = [*EXPONENTS, *ERRORS, *SHAPES]
