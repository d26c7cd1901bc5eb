"""The claims of the Geometric Wall paper on floors: their size, order and form, and what they go with.

>>> sum("Floor at" in claim.claim for claim in CLAIMS)
6
"""

from __future__ import annotations

from functools import partial

from geowall.wall import floor_numbers, geometry_numbers, powers
from geowall.wall.claims import NONE, ZAHER, Claim, Control
from geowall.wall.evidence import made, nothing
from geowall.wall.floor_numbers import PRINTED, tracked
from geowall.wall.geometry_numbers import LAB
from geowall.wall.profile_numbers import LAYERS
from geowall.wall.rules import above, below, between, held, same

UNDRAWN = "the paper draws its points at k = 50 alone"
EXACT = Control(
    "the fits could fail",
    "three points fix three parameters: the fit cannot fail, and its noise is borrowed",
    "largest misfit", made(floor_numbers.misfit, "07/floors"), above(1e-6),
)  # fmt: skip
SIX = [
    Claim(
        ZAHER, f"Floor at {size} layer {layer}, {widths} widths", "published",
        made(partial(floor_numbers.printed, model=model, layer=layer), PRINTED),
        made(partial(floor_numbers.one, model=model, layer=layer), "07/layer_laws"), held(1e-3),
        "07", "showcase", control,
    )
    for model, size, layer, widths, control in (
        ("gemma-2-2b", "2B", 5, "three", EXACT),
        ("gemma-2-2b", "2B", 12, "five of seven", Control(
            "with the two widths that the paper drops it is the same floor",
            "with the two widths that the paper drops it is another floor", "ratio",
            made(partial(floor_numbers.with_all, model="gemma-2-2b", layer=12), "07/subsets"),
            between(0.95, 1.05),
        )),
        ("gemma-2-2b", "2B", 19, "three", EXACT),
        ("gemma-2-9b", "9B", 9, "three", EXACT),
        ("gemma-2-9b", "9B", 20, "seven", None),
        ("gemma-2-9b", "9B", 31, "three", EXACT),
    )
]  # fmt: skip
PRINTS = [
    *SIX,
    *(
        Claim(
            ZAHER, f"Six floors at k = {k}", "published", NONE, nothing(UNDRAWN), held(1e-3),
            "07", "showcase",
        )
        for k in (32, 64, 75)
    ),
    Claim(
        ZAHER, "The 24 floors are powers of k, largest miss", "published", NONE,
        made(floor_numbers.in_k, PRINTED), below(1e-3), "07", "showcase",
        Control(
            "points at more than one k are drawn, so that it can be seen",
            "they are the paper's form at four k: that they keep to it is no test of it",
            "values of k drawn beyond one", made(floor_numbers.other_k, "07/showcase"), above(0),
        ),
    ),
    *(
        Claim(
            ZAHER, f"Floors fall as {order}, least step", "published",
            made(partial(floor_numbers.printed_step, model=model), PRINTED),
            made(partial(floor_numbers.least_step, model=model), PRINTED, "07/layer_laws"), above(0),
            "07", "showcase", EXACT,
        )
        for model, order in (("gemma-2-2b", "L12, L19, L5"), ("gemma-2-9b", "L20, L31, L9"))
    ),
    Claim(
        ZAHER, "d, κ_ms and floors order layers alike, share", "published", 1.0,
        made(floor_numbers.alike, PRINTED, LAYERS), same(0), "09", "wall-floors",
        Control(
            "they do with the floors fitted here", "not with the floors fitted here", "share of pairs",
            made(floor_numbers.alike_here, "07/layer_laws", LAYERS), above(0.99),
        ),
    ),
    Claim(
        ZAHER, "Filters keep cells, of 212", "published", 193.0, nothing(UNDRAWN), same(0), "07", "showcase",
    ),
    Claim(
        ZAHER, "At k = 50 filters drop, of 29 points", "published",
        made(partial(floor_numbers.dropped, without="kept"), "07/subsets"),
        made(partial(floor_numbers.dropped, without="filtered"), "07/subsets"), same(0), "07", "showcase",
    ),
    Claim(
        ZAHER, "What a floor hides follows Eq. 15, miss", "theory", NONE,
        made(floor_numbers.identity, "07/attenuation"), below(1e-9), "07", "attenuation",
    ),
    Claim(
        ZAHER, "Curvature alone leaves a floor at fixed k", "theory", NONE,
        nothing(
            "the paper gives no proof and no constant, and no dictionary is without end: atoms dense on a "
            "compact manifold would leave no error"
        ),
        above(0), "02", "loss-curves",
    ),
]  # fmt: skip
UNPRINTED = "the errors of Gemma's checkpoints at every sparsity are neither drawn nor in this book"
SPARSITY = [
    *(
        Claim(
            ZAHER, f"Interpolated in sparsity, {size}, R²", "published", there, nothing(UNPRINTED),
            above(0.95), "07", "sparsities",
        )
        for size, there in (("2B", 0.998), ("9B", 0.9996))
    ),
    *(
        Claim(
            ZAHER, f"Interpolated in sparsity, {model}, R²", "lab", there,
            made(partial(geometry_numbers.interpolation, model=model), "07/leave_one_out"), above(0.95),
            "07", "sparsities",
        )
        for model, there in (("lab-small", 0.998), ("lab-large", 0.9996))
    ),
    *(
        Claim(
            ZAHER, f"Cells with such an R² over 0.95, {model}", "lab", there,
            made(partial(geometry_numbers.interpolation, model=model, over=0.95), "07/leave_one_out"),
            above(0.9), "07", "sparsities",
        )
        for model, there in (("lab-small", 0.93), ("lab-large", 0.98))
    ),
]  # fmt: skip
EXIST = [
    Claim(
        ZAHER, "Showcase layers with a clear floor, share", "published", 1.0,
        made(partial(floor_numbers.positive, source="published"), "09/wall_floors"), above(0.5),
        "09", "wall-floors", EXACT,
    ),
    Claim(
        ZAHER, "Layers with a clear floor, share of the lab's", "lab", 1.0,
        made(partial(floor_numbers.positive, **LAB), "09/wall_floors"), above(0.5), "07", "floors",
        Control(
            "the floor stays where training grows with width",
            "where training grows with width the floor shrinks", "change of its share of the least error",
            made(floor_numbers.shrunk_by_training, "07/budgets"), above(-0.05),
        ),
    ),
    Claim(
        ZAHER, "A floor fits best by AIC, share of layers", "published", 5 / 6,
        made(partial(floor_numbers.best_form, source="published"), "07/rivals"), above(0.5),
        "07", "law-forms", power=made(powers.of_published_forms, "07/rivals"),
    ),
    Claim(
        ZAHER, "The same, share of the lab's layers", "lab", 5 / 6,
        made(partial(floor_numbers.best_form, **LAB), "07/rivals"), above(0.5), "07", "law-forms",
        power=made(partial(powers.of_forms, criterion="aic"), "07/planted_families", "09/wall_floors"),
    ),
    Claim(
        ZAHER, "A form that stops fits best by AICc, share", "lab", NONE,
        made(partial(floor_numbers.best_kind, criterion="aicc"), "07/rivals"), above(0.5), "07", "law-forms",
        Control(
            "by AIC, the paper's criterion, forms that stop are best at most layers",
            "by AIC, the paper's criterion, forms that go on are best at most layers", "share that stops",
            made(partial(floor_numbers.best_kind, criterion="aic"), "07/rivals"), above(0.5),
        ),
        made(partial(powers.of_forms, criterion="aicc"), "07/planted_families", "09/wall_floors"),
    ),
]  # fmt: skip
SUMMARIES = (("d_int", "dimension", 0.88), ("kappa_ms", "curvature", 0.82))
SUMMARIES += (("kappa_tv", "tangents", 0.65), ("nu", "heterogeneity", 0.70))
TRACKS = [
    *(
        Claim(
            ZAHER, f"Floors rise with {word}, six layers, r", "published", there,
            tracked("pooled", summary), above(0), "09", "wall-tracks",
        )
        for summary, word, there in SUMMARIES
    ),
    *(
        Claim(
            ZAHER, f"Floors rise with {word} over {model}, r", "lab", there,
            tracked(model, summary), above(0), "09", "wall-tracks",
            Control(
                "as a share of the layer's least error, which the floor restates, they do",
                "as a share of the layer's least error, which the floor restates, they do not", "r",
                tracked(model, summary, "floor_share"), above(0),
            ),
            made(partial(powers.of_floor, model=model), "09/wall_floors") if weak else None,
        )
        for summary, word, there, weak in (
            ("d_int", "dimension", 0.88, False), ("kappa_ms", "curvature", 0.82, True),
        )
        for model in ("lab-small", "lab-large")
    ),
]  # fmt: skip
CLAIMS = [*SPARSITY, *PRINTS, *EXIST, *TRACKS]
