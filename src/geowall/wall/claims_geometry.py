"""The claims of the Geometric Wall paper (Zaher et al. 2026): exponents, curvature, transfer, floors.

>>> len({claim.claim for claim in CLAIMS}) == len(CLAIMS)
True
"""

from __future__ import annotations

from functools import partial

from geowall.wall import geometry_numbers as numbers
from geowall.wall.claims import NONE, Claim, Control
from geowall.wall.evidence import Found, cell, made
from geowall.wall.geometry_numbers import ALL, PRINTED
from geowall.wall.rules import above, below, between, held, same

PAPER = "zaher2026"
ALPHA = {"source": "published", "target": "alpha_k50", "dropped_layers": 0}
BLOCK = ALPHA | {"features": "kappa_ms", "statistic": "r2", "bootstrap": "block"}
WHOLE = {"source": "published", "dropped_layers": 0}
FITS = [
    Claim(
        PAPER, f"Curvature fits the exponent at {size}, R²", "published", there,
        cell("08/intervals", "value", model=model, **BLOCK), same(5e-4), "08", "fits",
        Control(
            "a curve in depth alone does as well",
            cell("08/gaps", "gap", model=model, features="kappa_ms", rival="depth", **WHOLE),
            above(0),
        ),
    )
    for model, size, there in (("gemma-2-2b", "2B", 0.979), ("gemma-2-9b", "9B", 0.929))
]  # fmt: skip
TRANSFER = WHOLE | {"features": "kappa_ms"}
TRANSFERS = [
    Claim(
        PAPER, f"The law transfers to {size}, R²", "published", there,
        cell("08/transfer", "transfer_r2", test_model=model, clip="own", **TRANSFER), same(1e-3),
        "08", "transfer",
        Control(
            "relative depth transfers as well",
            cell(
                "08/transfer_gaps", "gap",
                test_model=model, features="kappa_ms", rival="depth_relative", **WHOLE,
            ),
            above(0),
        ),
    )
    for model, size, there in (("gemma-2-9b", "9B", 0.920), ("gemma-2-2b", "2B", 0.970))
]  # fmt: skip
COEFFICIENTS = [
    Claim(
        PAPER, f"Curvature predicts {symbol} at {size}, R²", "published", there,
        made(partial(numbers.coefficient, model=model, target=target), "08/stage2"), same(1e-3),
        "08", "hierarchy",
        Control(
            "a curve in depth alone does as well",
            made(partial(numbers.coefficient, model=model, target=target, rival="depth"), "08/stage2"),
            above(0),
        ),
    )
    for model, size, target, symbol, there in (
        ("gemma-2-2b", "2B", "beta_n", "β_n", 0.777),
        ("gemma-2-9b", "9B", "beta_n", "β_n", 0.477),
        ("gemma-2-2b", "2B", "gamma", "γ", 0.470),
        ("gemma-2-9b", "9B", "gamma", "γ", 0.354),
    )
]  # fmt: skip
LONG = [
    *(
        Claim(
            PAPER, f"All four, exponents at all k, {size}, R²", "published", there,
            made(partial(numbers.pooled, model=model), "08/curve_regressions"), same(0.03), "08", "pooled",
            Control(
                "with single rows left out it is more: the layer's other rows give it away",
                made(partial(numbers.pooled, model=model, rows=True), "08/curve_regressions"), below(0.05),
            ),
        )
        for model, size, there in (("gemma-2-2b", "2B", 0.97), ("gemma-2-9b", "9B", 0.80))
    ),
    *(
        Claim(
            PAPER, f"All four, every checkpoint, {model}, R²", "lab", there,
            cell("08/checkpoint_regressions", "row_r2", "", "", model=model, features=ALL), same(0.05),
            "08", "pooled",
            Control(
                "over left-out layers the error of the narrowest dictionary does as well",
                made(partial(numbers.over_narrow, model=model), "08/checkpoint_regressions"), above(0),
            ),
        )
        for model, there in (("lab-small", 0.90), ("lab-large", 0.93))
    ),
]  # fmt: skip
REGRESSION = [
    Claim(
        PAPER, "Printed tables follow from the figures", "published", 1.0,
        made(numbers.agreeing, "08/printed_against_recomputed"), same(0), "08", "printed",
    ),
    *FITS,
    Claim(
        PAPER, "Curvature leads the other summaries, R²", "published", 0.056,
        made(numbers.lead, "08/stage2"), same(1e-3), "08", "hierarchy",
        Control(
            "beside depth, dimension leads curvature once four layers are left out",
            cell(
                "08/gaps", "gap", source="published", model="gemma-2-2b", dropped_layers=4,
                features="depth+kappa_ms", rival="depth+d_int",
            ),
            above(0),
        ),
    ),
    *TRANSFERS,
    Claim(
        PAPER, "Beats random orders of layers, p", "published", 0.01,
        made(numbers.largest_p, "08/null_tests"), below(0.0101), "08", "nulls",
        Control(
            "the same test finds a link between most pairs of random walks",
            made(numbers.false_alarms, "08/false_alarms"), below(0.1),
        ),
    ),
    Claim(
        PAPER, "Holds at every sparsity, least R²", "published", 0.85,
        made(numbers.worst_sweep, "08/sparsity"), same(5e-3), "08", "sparsity",
    ),
    *COEFFICIENTS,
    *LONG,
    *(
        Claim(
            PAPER, f"Curvature predicts layers of {model}, R²", "lab", there,
            made(partial(numbers.lab_r2, model=model), "08/intervals"), above(0), "08", "hierarchy",
            power=cell("08/power", "power", "", "", source="lab", model=model, errors="spread"),
        )
        for model, there in (("lab-small", 0.976), ("lab-large", 0.869))
    ),
    Claim(
        PAPER, "The law transfers between lab models", "lab", 0.920,
        made(numbers.lab_transfer, "08/transfer"), above(0), "08", "transfer",
    ),
]  # fmt: skip
GEOMETRY = [
    Claim(
        PAPER, "κ_ms answers to curvature before all else", "toy", NONE,
        cell("06/specificity", "ratio", estimator="kappa_ms"), above(1), "06", "responses",
    ),
    Claim(
        PAPER, "Layers are more curved than flat clouds", "lab", NONE,
        made(partial(numbers.clearly_curved, surrogate="gaussian"), "06/excess"), above(0.5), "06", "excess",
    ),
    Claim(
        PAPER, "κ_ms and κ_tv are one variable, r", "lab", 0.98,
        cell("06/feature_correlations", "correlation", source="lab", first="kappa_tv", second="kappa_ms"),
        above(0.8), "06", "feature-correlations",
    ),
    Claim(
        PAPER, "Plain mean over trimmed mean is huge", "lab", 85.6,
        made(numbers.mean_over_trimmed, "05/rules"), above(2), "05", "tokens",
    ),
    Claim(
        PAPER, "844 checkpoints, less doubtful twins", "published", 844.0,
        made(lambda t: Found(float(len(t))), "data/published/gemma_scope_checkpoints.csv"), same(0),
        "05", "errors",
        Control(
            "ten pairs differ by one in their names and are probably the same",
            made(numbers.twins, "data/published/gemma_scope_checkpoints.csv"), below(1),
        ),
    ),
]  # fmt: skip
EXACT = Control(
    "three points fix three parameters: the fit cannot fail, and its noise is borrowed",
    made(numbers.misfit, "07/floors"), above(1e-6),
)  # fmt: skip
FLOORS = [
    Claim(
        PAPER, f"Floor at {size} layer {layer}, {widths} widths", "published",
        made(partial(numbers.printed_floor, model=model, layer=layer), PRINTED),
        made(partial(numbers.one_floor, model=model, layer=layer), "07/layer_laws"), held(1e-3),
        "07", "showcase", control,
    )
    for model, size, layer, widths, control in (
        ("gemma-2-2b", "2B", 5, "three", EXACT),
        ("gemma-2-2b", "2B", 12, "five of seven", Control(
            "with the two widths that the paper drops it is another floor",
            made(partial(numbers.with_all, model="gemma-2-2b", layer=12), "07/subsets"), between(0.95, 1.05),
        )),
        ("gemma-2-2b", "2B", 19, "three", EXACT),
        ("gemma-2-9b", "9B", 9, "three", EXACT),
        ("gemma-2-9b", "9B", 20, "seven", None),
        ("gemma-2-9b", "9B", 31, "three", EXACT),
    )
]  # fmt: skip
LAWS = [
    Claim(
        PAPER, "Exponents peak again late, at 2B", "published", 0.158,
        made(partial(numbers.late_peak, model="gemma-2-2b"), "08/layers"), same(5e-4), "08", "layers",
    ),
    *(
        Claim(
            PAPER, f"Interpolated in sparsity, {model}, R²", "lab", there,
            made(partial(numbers.interpolation, model=model), "07/leave_one_out"), above(0.95), "07",
            "exponent-profiles",
            Control(
                "fewer layers and widths pass 0.95 than in the paper",
                made(partial(numbers.interpolation, model=model, over=0.95), "07/leave_one_out"), above(0.9),
            ),
        )
        for model, there in (("lab-small", 0.998), ("lab-large", 0.9996))
    ),
    Claim(
        PAPER, "Chord and surface agree, largest gap", "published", 0.01,
        made(numbers.secant_gap, "07/layer_laws"), below(0.01), "07", "exponent-profiles",
    ),
    Claim(
        PAPER, "Layer 0 has the largest exponent, by", "lab",
        made(partial(numbers.first_less_others, source="published"), "07/layer_laws"),
        made(partial(numbers.first_less_others, source="lab"), "07/layer_laws"), above(0),
        "07", "exponent-profiles",
    ),
    *FLOORS,
    Claim(
        PAPER, "Layers with a clear floor, share of the lab's", "lab", 1.0,
        made(numbers.positive, "09/wall_floors"), above(0.5), "07", "floors",
        Control(
            "where training grows with width the floor shrinks",
            made(numbers.shrunk_by_training, "07/budgets"), above(-0.05),
        ),
    ),
    Claim(
        PAPER, "A floor fits best by AIC, share of layers", "lab", 5 / 6,
        made(numbers.best_form, "07/rivals"), above(0.5), "07", "law-forms",
        power=made(partial(numbers.forms_power, criterion="aic"), "07/planted_families", "09/wall_floors"),
    ),
    Claim(
        PAPER, "A form that stops fits best by AICc, share", "lab", 5 / 6,
        made(partial(numbers.best_kind, criterion="aicc"), "07/rivals"), above(0.5), "07", "law-forms",
        Control(
            "by AIC, the paper's criterion, forms that go on are best at most layers",
            made(partial(numbers.best_kind, criterion="aic"), "07/rivals"), above(0.5),
        ),
        made(partial(numbers.forms_power, criterion="aicc"), "07/planted_families", "09/wall_floors"),
    ),
    *(
        Claim(
            PAPER, f"Floors rise with {word} over six layers, r", "published", there,
            numbers.tracked("pooled", summary), above(0), "09", "wall-tracks",
        )
        for summary, word, there in (("d_int", "dimension", 0.88), ("kappa_ms", "curvature", 0.82))
    ),
    *(
        Claim(
            PAPER, f"Floors rise with {word} over {model}, r", "lab", there,
            numbers.tracked(model, summary), above(0), "09", "wall-tracks",
            Control(
                "as a share of the layer's least error, which the floor restates, they do not",
                numbers.tracked(model, summary, "floor_share"), above(0),
            ),
            made(partial(numbers.floor_power, model=model), "09/wall_floors") if weak else None,
        )
        for summary, word, there, weak in (
            ("d_int", "dimension", 0.88, False), ("kappa_ms", "curvature", 0.82, True),
        )
        for model in ("lab-small", "lab-large")
    ),
]  # fmt: skip
CLAIMS = [*REGRESSION, *LAWS, *GEOMETRY]
