"""Sentences of chapter 09, every number in them computed from the chapter's tables.

>>> around(0.5, -0.1, 0.9), around(-0.724, -0.97, -0.46)
('0.50 [−0.10, 0.90]', '−0.72 [−0.97, −0.46]')
"""

from __future__ import annotations

import pandas as pd

from geowall.figures.laws_words import stopping
from geowall.figures.marks import short, signed, spoken
from geowall.laws.tables import where


def around(value: float, low: float, high: float, form: str = ".2f") -> str:
    """Write a number with its interval."""
    return f"{signed(value, form)} [{signed(low, form)}, {signed(high, form)}]"


def each(
    rows: pd.DataFrame, value: str = "correlation", low: str = "low", high: str = "high", form: str = ".2f"
) -> str:
    """Write a number with its interval for each model."""
    cells = zip(rows["model"], rows[value], rows[low], rows[high], strict=True)
    return spoken([f"{around(*ends, form)} ({short(model)})" for model, *ends in cells])


def extent(table: pd.DataFrame) -> str:
    """Say what the lab's grids cover, what Gemma Scope's do, and what that means for floors."""
    lab, theirs = where(table, source="lab"), where(table, source="published")
    said = [
        f"{row.model} ({row.schedule}) {row.narrow:,} to {row.wide:,} latents, {row.ratio_low:.1f} to "
        f"{row.ratio_high:.0f} times its {row.d_model:.0f} dimensions, at {row.n_sparsities:.0f} sparsities "
        f"and {row.tokens_narrow:,.0f} down to {row.tokens_wide:,.0f} tokens a latent"
        for row in lab.itertuples()
    ]
    scope = [
        f"{row.ratio_low:.0f} to {row.ratio_high:.0f} times ({short(row.model)})"
        for row in theirs.itertuples()
    ]
    matched = where(lab, schedule="matched")
    short_of = (matched["tokens_narrow"] / matched["tokens_wide"]).max()
    widest = matched.loc[matched["ratio_high"].idxmax()]
    reached = (
        f"The widest reach such ratios, on {widest['tokens_wide']:,.0f} tokens a latent: what they lack is "
        "training"
        if widest["ratio_high"] >= theirs["ratio_high"].min()
        else "Even the ratios fall short of those"
    )
    return (
        f"How far the lab reaches: {'; '.join(said)}. Gemma Scope's layers have {spoken(scope)}, trained on "
        f"billions of tokens {{cite:p}}`lieberum2024`. {reached}. So floors of the lab are not about Gemma's "
        "regime. And at matched budgets the widest dictionaries have up to "
        f"{short_of:.0f} times fewer tokens a latent than the narrowest: their errors are above what such "
        "dictionaries could reach, and the floors under them are upper bounds."
    )


def floors(usual: pd.DataFrame, tracks: pd.DataFrame, kinds: pd.DataFrame, shares: pd.Series) -> str:
    """Say where floors are clear of zero, on what strength, what they follow, and what training does."""
    counts = usual.groupby("model", sort=False)["clear"].agg(["sum", "size"])
    clear = spoken([f"{int(r['sum'])} of {int(r['size'])} ({short(m)})" for m, r in counts.iterrows()])
    six = where(usual, source="published")
    exact, dof = int((six["dof"] == 0).sum()), six["sigma_dof"].max()
    r = {
        name: each(where(tracks, features=features, statistic=statistic, given="none"), form=form)
        for name, features, statistic, form in (
            ("floor", "d_int", "floor", ".2f"), ("least", "least", "floor", ".3f"),
            ("share", "d_int", "floor_share", ".2f"),
        )
    }  # fmt: skip
    return (
        f"The interval of the floor is clear of zero at {clear}. But {exact} of the {len(six)} published "
        "curves are exactly determined by their three widths: the law passes through them whatever they are, "
        f"and their intervals are the noise of the other {len(six) - exact} curves, with {dof:.0f} degrees "
        "of freedom, lent to them. Among rival forms of chapter 07, one that stops at a positive error (a "
        f"floor or a soft knee) is best at {stopping(kinds)}.\n\n"
        f"With dimension the floor correlates at {r['floor']}. With the layer's own least error it does at "
        f"{r['least']}: a floor restates the error. As a share of that error, it goes with dimension at "
        f"{r['share']}. And a floor at a matched budget is partly a shortage of training: over the least "
        f"error it is {shares['matched']:.2f} (median) where all widths train alike, and "
        f"{shares['scaled']:.2f} where wide ones train longer."
    )


def learned_kinds(kinds: pd.DataFrame) -> str:
    """Sum up whether laws that stop fit the lab better than laws that go on."""
    usual = {"source": "lab", "site": "res", "architecture": "jumprelu", "schedule": "matched"}
    own = where(kinds, **usual).assign(stop=lambda t: t["gap"] > 0).groupby("criterion")["stop"]
    share = own.mean()
    return (
        f"At matched budgets a form that stops fits best at {share['aicc']:.0%} of the lab's layers by AICc "
        f"and at {share['aic']:.0%} by AIC: whether the curves end at a wall is not told by them."
    )


def theory(covering: pd.DataFrame) -> str:
    """Say what covering a manifold would want of the exponent and the level, and what is there."""
    exponent = where(covering, target="alpha_width")
    wide, bend = (where(exponent, term=t) for t in ("1/d_int", "log kappa_ms"))
    level = where(covering, target="log_level", term="log kappa_ms")
    own = wide["model"].isin(where(wide, source="published")["model"])
    sides = "partial", "partial_low", "partial_high"
    return (
        f"The exponent's slope on $1/d$, which patches want at 4 and single atoms at 2, is "
        f"{each(wide[own], 'slope')} in Gemma 2. At equal curvature the exponent goes with $1/d$ at "
        f"{each(wide, *sides)} (partial correlations), and at equal dimension with curvature, which covering "
        f"wants at zero, at {each(bend, *sides)}. Curvature's slope in the level, which should be 2 or 0, is "
        f"{each(level, 'slope')}. So in Gemma 2 curvature stays in the exponent, clear of zero where its "
        "interval says so, and no less than dimension does. The prefactor $A$ itself, the error of a single "
        "latent, lies so far outside the data that its regression repeats the exponent's."
    )


def learned_theory(covering: pd.DataFrame) -> str:
    """Sum up what goes with the exponent in Gemma 2."""
    own = where(covering, target="alpha_width", source="published")
    bend, wide = (where(own, term=t) for t in ("log kappa_ms", "1/d_int"))
    sides = "partial", "partial_low", "partial_high"
    return (
        "* **In Gemma 2 both curvature and dimension go with the exponent.** At equal dimension curvature "
        f"does at {each(bend, *sides)}, at equal curvature $1/d$ does at {each(wide, *sides)}. Covering a "
        "manifold would have only the second, with a slope of 4 or 2; it is "
        f"{each(wide, 'slope')}. And chapter 06 finds that what is called curvature answers to other things: "
        "flat clouds read as curved."
    )
