"""Sentences of chapter 09, every number in them computed from the chapter's tables.

>>> around(0.5, -0.1, 0.9), around(-0.724, -0.97, -0.46)
('0.50 [−0.10, 0.90]', '−0.72 [−0.97, −0.46]')
"""

from __future__ import annotations

import pandas as pd

from geowall.figures.laws_words import stopping
from geowall.figures.marks import listed, short, signed, spoken
from geowall.figures.wall_laws import at_k
from geowall.laws.tables import where
from geowall.wall.rules import CAVEAT, FAILED, REPRODUCED, UNTESTED

SIDES = ("partial", "partial_low", "partial_high")
KS = (8, 16, 25)  # sparsities at which the share of a floor is quoted


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


def floors(usual: pd.DataFrame, tracks: pd.DataFrame, kinds: pd.DataFrame, shares: pd.DataFrame) -> str:
    """Say where floors are clear of zero, on what strength, what they follow, and what training does."""
    counts = usual.groupby("model", sort=False)["clear"].agg(["sum", "size"])
    clear = spoken([f"{int(r['sum'])} of {int(r['size'])} ({short(m)})" for m, r in counts.iterrows()])
    six = where(usual, source="published")
    exact, dof = int((six["dof"] == 0).sum()), six["sigma_dof"].max()
    r = {
        name: each(where(tracks, features=features, statistic=statistic, given="none"), form=form)
        for name, features, statistic, form in (
            ("floor", "d_int", "floor", ".2f"), ("least", "least", "floor", ".3f"),
            ("share", "d_int", "floor_share", ".2f"), ("bent", "kappa_ms", "floor_share", ".2f"),
        )
    }  # fmt: skip
    return (
        f"Floors are read at {at_k(usual)}. There the interval of the floor is clear of zero at {clear}. But "
        f"{exact} of the {len(six)} published "
        "curves are exactly determined by their three widths: the law passes through them whatever they are, "
        f"and their intervals are the noise of the other {len(six) - exact} curves, with {dof:.0f} degrees "
        "of freedom, lent to them. Among rival forms of chapter 07, one that stops at a positive error (a "
        f"floor or a soft knee) is best at {stopping(kinds)}.\n\n"
        f"With dimension the floor correlates at {r['floor']}. With the layer's own least error it does at "
        f"{r['least']}: a floor restates the error. As a share of that error, it goes with dimension at "
        f"{r['share']}, and with curvature at {r['bent']}; a wall made of curvature would have that rise. "
        f"And a floor at a matched budget is partly a shortage of training: {training(shares)}"
    )


def training(shares: pd.DataFrame) -> str:
    """Say what longer training of wide dictionaries does to floors, at sparsities of both schedules."""
    wide = shares.pivot_table(index="k", columns="schedule", values="floor_share")
    at = [k for k in KS if k in wide.index]
    said = {name: spoken([f"{wide.loc[k, name]:.2f}" for k in at]) for name in ("matched", "scaled")}
    rises = (wide.loc[at, ["matched", "scaled"]].diff().iloc[1:] > 0).all(axis=None)
    return (
        f"at k = {spoken([f'{k:g}' for k in at])} it is {said['matched']} of the least error (median layer "
        f"of the model that has both) where all widths train alike, and {said['scaled']} where wide ones "
        f"train longer.{' The share rises with k, so no one number stands for it.' if rises else ''}"
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


def split(parts: pd.DataFrame, tracks: pd.DataFrame) -> str:
    """Say how much of an exponent a floor hides, and which of its parts varies most over layers."""
    by = parts.set_index("model")
    spread = by[["plain_spread", "hidden_spread", "floor_spread"]]
    most = spread.index[spread["plain_spread"] < spread[["hidden_spread", "floor_spread"]].min(axis=1)]
    rest = [name for name in by.index if name not in most]
    rows = where(tracks, features="d_int", given="none")
    r = {s: listed(each.set_index("model")["correlation"].to_dict()) for s, each in rows.groupby("statistic")}
    smaller = (
        f"At {spoken([short(m) for m in most])} the plain exponent varies less than either part, so it is "
        "what is left of two larger numbers. "
    )
    return (
        f"In the median layer the floor hides {listed(by['hidden'].to_dict(), '.0%')} of the exponent "
        f"above it. Over layers the plain exponent varies by {listed(by['plain_spread'].to_dict(), '.3f')} "
        f"(standard deviation), what is hidden by {listed(by['hidden_spread'].to_dict(), '.3f')} and the "
        f"exponent above the floor by {listed(by['floor_spread'].to_dict(), '.3f')}. "
        f"{smaller if len(most) else ''}"
        + (f"At {spoken([short(m) for m in rest])} that cannot be said. " if rest else "")
        + f"With dimension the exponent above the floor correlates at {r['alpha_floor']}, the hidden part at "
        f"{r['attenuation']}."
    )


def theory(covering: pd.DataFrame, controls: pd.DataFrame) -> str:
    """Say what covering a manifold would want of the exponent and the level, and what is there."""
    exponent = where(covering, target="alpha_width")
    wide, bend = (where(exponent, term=t) for t in ("1/d_int", "log kappa_ms"))
    level = where(covering, target="log_level", term="log kappa_ms")
    own = wide["model"].isin(where(wide, source="published")["model"])
    return (
        f"Laws are read at {at_k(covering)}. The exponent's slope on $1/d$, which patches want at 4 and "
        f"single atoms at 2, is {each(wide[own], 'slope')} in Gemma 2. At equal curvature the exponent "
        f"goes with $1/d$ at {each(wide, *SIDES)} (partial correlations), and at equal dimension with "
        f"curvature, which covering wants at zero, at {each(bend, *SIDES)}. Curvature's slope in the "
        f"level, which should be 2 or 0, is {each(level, 'slope')}. The prefactor $A$ itself, the error of "
        "a single latent, lies so far outside the data that its regression repeats the "
        f"exponent's.\n\nDepth is in neither term. {deeper(controls)}"
    )


def deeper(controls: pd.DataFrame) -> str:
    """Say what is left of both terms in Gemma 2 beside a curve in depth, and without the first layers."""
    own = where(controls, source="published")
    said = []
    for (q, given), rows in own.groupby(["dropped_layers", "given"], sort=False):
        if q == 0 and given == "none":
            continue
        wide, bend = (where(rows, term=t) for t in ("1/d_int", "log kappa_ms"))
        named = [
            f"without the first {q} layers" if q else "",
            "beside a curve in depth" if given == "depth" else "",
        ]
        said.append(
            f"{' and '.join(name for name in named if name)}, with $1/d$ at {each(wide, *SIDES)} and with "
            f"curvature at {each(bend, *SIDES)}"
        )
    return f"In Gemma 2 the exponent goes, {'; '.join(said)}."


def learned_theory(covering: pd.DataFrame, controls: pd.DataFrame) -> str:
    """Sum up what goes with the exponent in Gemma 2: where it is clear of zero, and where at equal depth."""
    own = where(covering, target="alpha_width", source="published")
    beside = where(controls, source="published", given="depth", dropped_layers=0)
    wide = where(own, term="1/d_int")
    return (
        f"* **In Gemma 2 the exponent goes with curvature, clear of zero, {_where(own, 'log kappa_ms')}, "
        f"and with dimension {_where(own, '1/d_int')}; beside a curve in depth, with curvature "
        f"{_where(beside, 'log kappa_ms')} and with dimension {_where(beside, '1/d_int')}.** Covering a "
        "manifold would have dimension alone, with a slope of 4 or 2 on $1/d$; it is "
        f"{each(wide, 'slope')}. And chapter 06 finds that what is called curvature answers to other "
        "things: flat clouds read as curved."
    )


def _where(rows: pd.DataFrame, term: str) -> str:
    """Name the models where a term's partial correlation is clear of zero."""
    own = where(rows, term=term)
    clear = own[(own["partial_low"] > 0) | (own["partial_high"] < 0)]
    if clear.empty:
        return "nowhere"
    names = spoken([short(m) for m in clear["model"]])
    return f"at {names}" + (" alone" if len(clear) < len(own) else "")


def regimes(pairs: pd.DataFrame, slopes: pd.DataFrame, signs: pd.DataFrame, finite: pd.DataFrame) -> str:
    """Say what pairings of exponents tell, which of them go in a circle, and what narrow widths do."""
    own, again = pairs[~pairs["restates"]], pairs[pairs["restates"]]
    said, circle = (
        spoken([f"{n} say {name}" for name, n in t["regime"].value_counts().items()]) for t in (own, again)
    )
    whole = where(slopes, tau=1.0).set_index("d_sae").iloc[-1]
    widest = slopes[slopes["d_sae"] == slopes["d_sae"].max()]["slope"]
    benign = where(finite, regime="benign")
    border = where(finite, regime="critical")
    grown = signs[signs["sign"].str.startswith("D(N)")]
    measured = spoken([around(row.value, row.low, row.high) for row in grown.itertuples()])
    reach = int((grown["high"] > benign["exponent"].min()).sum())
    counts = {name: int((signs["says"] == name).sum()) for name in ("pathological", "benign")}
    return (
        f"Of the {len(own)} pairings from frequencies {said}. Of the {len(again)} from $D(N) \\sim "
        f"N^\\delta$ {circle}, but they go in a circle: $\\alpha = (1 + \\beta)/\\delta - 1$ exceeds "
        f"$\\beta$ whenever $\\delta < 1$, whatever $\\beta$ is, and {len(grown)} of the signs above count "
        "that $\\delta$ again. And $\\delta < 1$ is no proof at these widths. In chapter 01 the theory "
        f"itself, between {finite['d_sae_low'].min():,} and {finite['d_sae_high'].max():,} latents, has a "
        f"$\\delta$ of {spoken([f'{v:.2f}' for v in benign['exponent']])} in the benign regime, where it "
        f"ends at 1, and of {spoken([f'{v:.2f}' for v in border['exponent']])} on the border; here it is "
        f"{measured}, and {reach} of the {len(grown)} intervals reach the least of the benign ones.\n\nThe "
        f"slope of frequency against rank runs from {whole['low']:.2f} to {whole['high']:.2f} within the "
        "widest dictionary alone: these are not power laws. Leaving out close latents moves it by "
        f"{widest.max() / widest.min() - 1:.0%} at most. Of the {len(signs)} signs "
        f"{counts['pathological']} say pathological and {counts['benign']} benign."
    )


def learned_regimes(pairs: pd.DataFrame) -> str:
    """Sum up the pairings of alpha and beta."""
    own, again = pairs[~pairs["restates"]], pairs[pairs["restates"]]
    count = own["regime"].value_counts()
    return (
        f"* **The regime is open**: {count.get('undecided', 0)} of the {len(own)} pairings from "
        f"frequencies decide nothing. The {len(again)} from $D(N)$ restate that $D(N)$ grows more slowly "
        "than $N$, which it also does in the benign regime at widths like these."
    )


def learned_verdicts(table: pd.DataFrame) -> str:
    """Count the verdicts, and say which of the papers' printed numbers come out and which do not."""
    counts = table["verdict"].value_counts()
    own = table[table["published_value"].notna() & (table["verdict"] != UNTESTED)]
    off = own[own["verdict"] == FAILED]
    theirs, ours = off[off["source"] == "published"], off[off["source"] != "published"]
    return (
        f"* **Of {len(table)} claims {counts.get(REPRODUCED, 0)} are reproduced, {counts.get(CAVEAT, 0)} "
        f"with a caveat, {counts.get(FAILED, 0)} are not, and {counts.get(UNTESTED, 0)} cannot be tested "
        f"here.** {len(own)} of them have a number in a paper and one here. {len(off)} of these do not "
        f"come out: {len(theirs)} made from what the paper itself publishes "
        f"({'; '.join(theirs['claim']) or 'none'}), and {len(ours)} measured here on the lab or on toy "
        f"data ({'; '.join(ours['claim']) or 'none'}). What the others are taken to mean is what the "
        "caveats are about."
    )
