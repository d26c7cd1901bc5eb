"""The claims of the Geometric Wall paper (Zaher et al. 2026): exponents, curvature, transfer, geometry.

>>> len({claim.claim for claim in CLAIMS}) == len(CLAIMS)
True
"""

from __future__ import annotations

from functools import partial

from geowall.wall import claims_floors, claims_profiles, powers
from geowall.wall import geometry_numbers as numbers
from geowall.wall.claims import NONE, ZAHER, Claim, Control
from geowall.wall.evidence import Found, Number, cell, made, nothing
from geowall.wall.geometry_numbers import ALL
from geowall.wall.rules import above, below, same

MODELS = (("gemma-2-2b", "2B"), ("gemma-2-9b", "9B"))
ALPHA = {"source": "published", "target": "alpha_k50", "dropped_layers": 0}
BLOCK = ALPHA | {"features": "kappa_ms", "statistic": "r2", "bootstrap": "block"}
WHOLE = {"source": "published", "dropped_layers": 0}
INVENTORY = "data/published/gemma_scope_checkpoints.csv"
CARRIED = "08/power_transfer"
UNDRAWN = "the paper does not draw the errors of single checkpoints, and they are not in this book"
UNREAD = "Gemma's checkpoints are not in this book: run chapter 05 with --profile gemma"


def over_depth(number: Number, what: str = "lead in left-out R²") -> Control:
    """A curve in depth alone must not do as well."""
    return Control(
        "it does better than a curve in depth alone", "a curve in depth alone does better",
        what, number, above(0),
    )  # fmt: skip


FITS = [
    Claim(
        ZAHER, f"Curvature fits the exponent at {size}, R²", "published", there,
        cell("08/intervals", "value", model=model, **BLOCK), same(5e-4), "08", "fits",
        over_depth(cell("08/gaps", "gap", model=model, features="kappa_ms", rival="depth", **WHOLE)),
    )
    for (model, size), there in zip(MODELS, (0.979, 0.929), strict=True)
]  # fmt: skip
TRANSFERS = [
    Claim(
        ZAHER, f"{words} to {size}, R²", "published", there,
        cell(
            "08/transfer", "transfer_r2", test_model=model, clip="own", features=features, **WHOLE,
        ), same(1e-3), "08", "transfer",
        Control(
            "curvature transfers better than relative depth", "relative depth transfers better",
            "lead of curvature in R²",
            cell(
                "08/transfer_gaps", "gap",
                test_model=model, features="kappa_ms", rival="depth_relative", **WHOLE,
            ),
            above(0),
        ),
    )
    for features, words, values in (
        ("kappa_ms", "The law transfers", (0.970, 0.920)),
        ("d_int+kappa_ms", "With dimension it transfers", (0.985, 0.933)),
        (ALL, "All four transfer", (0.983, 0.935)),
    )
    for (model, size), there in zip(MODELS, values, strict=True)
]  # fmt: skip
LEFT_OUT = [
    Claim(
        ZAHER, f"{words} {symbol} at {size}, R²", "published", there,
        made(partial(numbers.left_out, model=model, target=target, features=features), "08/stage2"),
        same(1e-3), "08", "hierarchy",
        over_depth(made(
            partial(numbers.left_out, model=model, target=target, features=features, rival="depth"),
            "08/stage2",
        )),
    )
    for words, features, model, size, target, symbol, there in (
        ("All four predict", ALL, *MODELS[0], "alpha_k50", "α", 0.971),
        ("All four predict", ALL, *MODELS[1], "alpha_k50", "α", 0.806),
        ("The least alike two predict", "d_int+nu", *MODELS[0], "alpha_k50", "α", 0.855),
        ("The least alike two predict", "d_int+kappa_ms", *MODELS[1], "alpha_k50", "α", 0.863),
        ("Curvature predicts", "kappa_ms", *MODELS[0], "beta_n", "β_n", 0.777),
        ("Curvature predicts", "kappa_ms", *MODELS[1], "beta_n", "β_n", 0.477),
        ("Curvature predicts", "kappa_ms", *MODELS[0], "gamma", "γ", 0.470),
        ("Curvature predicts", "kappa_ms", *MODELS[1], "gamma", "γ", 0.354),
        ("Tangents, κ_tv, predict", "kappa_tv", *MODELS[1], "beta_n", "β_n", 0.690),
        ("Tangents, κ_tv, predict", "kappa_tv", *MODELS[0], "gamma", "γ", 0.680),
    )
]  # fmt: skip
ALIKE = "errors of neighbouring layers go together, and F takes layers as independent"
NESTED = [
    *(
        Claim(
            ZAHER, f"{words}, F test's p", "published", there,
            cell("09/nested_tests", "p_value", model=model, target=target, step=step), same(within),
            "08", "hierarchy",
            Control(
                "the errors of neighbouring layers are independent, as F takes them to be", ALIKE,
                "their correlation",
                cell("09/nested_tests", "autocorrelation", model=model, target=target, step=step),
                below(0.3),
            ),
        )
        for words, model, target, step, there, within in (
            ("A second summary helps α at 2B", "gemma-2-2b", "alpha_k50", "one to two", 5e-4, 5e-5),
            ("All four beat two for β_n at 9B", "gemma-2-9b", "beta_n", "two to four", 3e-3, 5e-4),
            ("All four beat two for γ at 9B", "gemma-2-9b", "gamma", "two to four", 7e-3, 5e-4),
        )
    ),
    *(
        Claim(
            ZAHER, f"{words} nowhere else, least p", "published", NONE,
            made(partial(numbers.least_p, step=step, but=but), "09/nested_tests"), above(0.05),
            "08", "hierarchy",
        )
        for words, step, but in (
            ("A second summary helps", "one to two", [("gemma-2-2b", "alpha_k50")]),
            ("All four beat two", "two to four", [("gemma-2-9b", "beta_n"), ("gemma-2-9b", "gamma")]),
        )
    ),
]  # fmt: skip
LONG = [
    *(
        Claim(
            ZAHER, f"All four, exponents at several k, {size}, R²", "published", there,
            made(partial(numbers.at_several, model=model), "08/long_format"), same(0.005), "08", "pooled",
            Control(
                "the six sparsities of the paper's sweep give it too",
                "it takes the sparsities of the printed floors; those of the paper's sweep miss it",
                "by, in R²",
                made(partial(numbers.sweep_off, model=model), "08/long_format"), below(0.005),
            ),
        )
        for (model, size), there in zip(MODELS, (0.97, 0.80), strict=True)
    ),
    *(
        Claim(
            ZAHER, f"All four, every checkpoint, {size}, R²", "published", there,
            nothing(UNDRAWN),
            same(0.01), "08", "pooled",
        )
        for (_, size), there in zip(MODELS, (0.90, 0.93), strict=True)
    ),
    Claim(
        ZAHER, "One summary, every checkpoint, least R²", "published", 0.72,
        nothing(UNDRAWN),
        same(0.01), "08", "pooled",
    ),
    *(
        Claim(
            ZAHER, f"All four add to width and k, {model}", "lab", NONE,
            made(partial(numbers.over, model=model, rival="none"), "08/checkpoint_regressions"), above(0),
            "08", "pooled",
            Control(
                "over left-out layers they do better than the error of the narrowest dictionary",
                "over left-out layers the error of the narrowest dictionary does better",
                "lead in R²",
                made(partial(numbers.over, model=model, rival="nmse_narrow"), "08/checkpoint_regressions"),
                above(0),
            ),
            made(partial(powers.of_level, model=model), "08/layers"),
        )
        for model in ("lab-small", "lab-large")
    ),
]  # fmt: skip
LAB = [
    *(
        Claim(
            ZAHER, f"Curvature predicts layers of {model}, R²", "lab", there,
            made(partial(numbers.lab_r2, model=model), "08/intervals"), above(0), "08", "rivals",
            power=made(partial(powers.of_law, table="08/power", model=model), "08/power"),
        )
        for model, there in (("lab-small", 0.976), ("lab-large", 0.869))
    ),
    Claim(
        ZAHER, "The law transfers between lab models, R²", "lab", 0.920,
        made(numbers.lab_transfer, "08/transfer"), above(0), "08", "transfer",
        power=made(partial(powers.of_law, table=CARRIED, level="same"), CARRIED),
    ),
    Claim(
        ZAHER, "Its slope does, whatever the level, R²", "lab", NONE,
        made(partial(numbers.carried, level="free"), CARRIED), above(0), "08", "transfer",
        power=made(partial(powers.of_law, table=CARRIED, level="free"), CARRIED),
    ),
    Claim(
        ZAHER, "Other error metrics move R², by at most", "published", 0.03, nothing(UNREAD), below(0.03),
        "08", "readings",
    ),
    Claim(
        ZAHER, "Other error metrics move the lab's, most", "lab", 0.03,
        made(numbers.metric_shift, "08/readings"), below(0.03), "08", "readings",
        power=made(numbers.most_power, "08/power"),
    ),
    Claim(
        ZAHER, "Other measures of L0 move R², by at most", "published", 0.02, nothing(UNREAD), below(0.02),
        "08", "readings",
    ),
]  # fmt: skip
REGRESSION = [
    Claim(
        ZAHER, "Printed tables follow from the figures, share", "published", 1.0,
        made(numbers.agreeing, "08/printed_against_recomputed"), same(0), "08", "printed",
    ),
    *FITS,
    Claim(
        ZAHER, "Curvature leads the other summaries, R²", "published", 0.056,
        made(numbers.lead, "08/stage2"), same(1e-3), "08", "hierarchy",
        Control(
            "beside depth, with four layers left out, curvature does better than dimension",
            "beside depth, with four layers left out, dimension does better than curvature",
            "lead of curvature at 2B in left-out R²",
            cell(
                "08/gaps", "gap", source="published", model="gemma-2-2b", dropped_layers=4,
                features="depth+kappa_ms", rival="depth+d_int",
            ),
            above(0),
        ),
    ),
    *TRANSFERS,
    Claim(
        ZAHER, "Beats random orders of layers, p", "published", 0.01,
        made(numbers.largest_p, "08/null_tests"), below(0.0101), "08", "nulls",
        Control(
            "the same test seldom finds a link between random walks",
            "the same test finds a link between most pairs of random walks",
            "share of pairs, at the least",
            made(numbers.false_alarms, "08/false_alarms"), below(0.1),
        ),
    ),
    Claim(
        ZAHER, "Holds at every sparsity, least R²", "published", 0.85,
        made(numbers.worst_sweep, "08/sparsity"), same(5e-3), "08", "sparsity",
        over_depth(made(numbers.sweep_lead, "08/sparsity"), "lead in left-out R² where it is least"),
    ),
    *LEFT_OUT, *NESTED, *LONG, *LAB,
]  # fmt: skip
GEOMETRY = [
    Claim(
        ZAHER, "κ_ms answers to curvature before all else", "toy", NONE,
        cell("06/specificity", "ratio", estimator="kappa_ms"), above(1), "06", "responses",
    ),
    Claim(
        ZAHER, "Layers more curved than flat clouds, share", "lab", NONE,
        made(partial(numbers.clearly_curved, surrogate="gaussian"), "06/excess"), above(0.5), "06", "excess",
    ),
    Claim(
        ZAHER, "Ten correlations as printed, share", "published", 1.0,
        made(numbers.drawn_correlations, "08/printed_against_recomputed"), same(0), "08", "printed",
    ),
    Claim(
        ZAHER, "κ_ms and κ_tv are one variable, r", "lab", 0.98,
        cell("06/feature_correlations", "correlation", source="lab", first="kappa_tv", second="kappa_ms"),
        above(0.8), "06", "feature-correlations",
    ),
    Claim(
        ZAHER, "Errors of six checkpoints by four rules", "published", NONE, nothing(UNREAD), same(5e-4),
        "05", "tokens",
    ),
    Claim(
        ZAHER, "Plain mean over trimmed mean is huge", "lab", 85.6,
        made(numbers.mean_over_trimmed, "05/rules"), above(2), "05", "tokens",
    ),
    Claim(
        ZAHER, "844 checkpoints, less doubtful twins", "published", 844.0,
        made(lambda t: Found(float(len(t))), INVENTORY), same(0), "05", "beside-gemma",
        Control(
            "no two differ by one in their names",
            "pairs that differ by one in their names are probably the same",
            "pairs", made(numbers.twins, INVENTORY), below(1),
        ),
    ),
]  # fmt: skip
CLAIMS = [*REGRESSION, *claims_profiles.CLAIMS, *claims_floors.CLAIMS, *GEOMETRY]
