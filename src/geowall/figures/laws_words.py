"""Sentences of chapter 07, every number in them computed from the chapter's tables.

>>> counted({"lab-small": (3, 12), "lab-large": (20, 20)})
'3 of 12 (lab-small) and 20 of 20 (lab-large)'
"""

from __future__ import annotations

import math

import pandas as pd
from scipy import stats

from geowall.figures.laws import coefficients as lab_coefficients
from geowall.figures.laws import on_stream, with_series
from geowall.figures.laws_floors import FORMS, outside
from geowall.figures.marks import SITES, signed, spoken
from geowall.laws.scaling.floors import GAO


def counted(found: dict[str, tuple[int, int]]) -> str:
    """Write how many of how many for each name."""
    said = [f"{n} of {of} ({name})" for name, (n, of) in found.items()]
    return said[0] if len(said) == 1 else ", ".join(said[:-1]) + " and " + said[-1]


def _by_series(table: pd.DataFrame, test: pd.Series) -> dict[str, tuple[int, int]]:
    marked = with_series(table).assign(test=test)
    return {name: (int(rows["test"].sum()), len(rows)) for name, rows in marked.groupby("series", sort=True)}


def sparsity(covered: pd.DataFrame, loo: pd.DataFrame, k: float) -> str:
    """Say at which sparsity the lab is read, why, and how good the interpolation is."""
    usual = covered[(covered["architecture"] == "jumprelu") & (covered["schedule"] == "matched")]
    here = usual[usual["k"] == k]
    errors = loo.groupby("model")["log_error"].agg(lambda e: e.abs().median())
    r2 = (
        1
        - (loo["log_error"] ** 2).groupby(loo["model"]).sum()
        / (loo["deviation"] ** 2).groupby(loo["model"]).sum()
    )
    fit = " and ".join(f"{errors[m]:.0%} ({m}, $R^2$ = {r2[m]:.2f})" for m in errors.index)
    where = " and ".join(
        f"{row['l0_from']:.0f} to {row['l0_to']:.0f} ({row['model']})"
        for row in here.to_dict("records")
        if row["l0_from"] < row["l0_to"]
    )
    return (
        "At matched budgets all widths and layers of a model share an $L_0$ range of "
        f"{where or 'nothing'}. The lab's laws are read at **k = {k:g}**; {{numref}}`fig-sparsities` says "
        "why. With a checkpoint left out, interpolation from the others misses "
        f"it by a median of {fit}; with three or four penalties a width that doubles a gap, so it bounds "
        "what the gaps themselves cost."
    )


def training(table: pd.DataFrame) -> str:
    """Say how little the widest dictionaries were trained."""
    matched = table[(table["architecture"] == "jumprelu") & (table["schedule"] == "matched")]
    ends = matched.sort_values("d_sae").groupby("model")
    said = "; ".join(
        f"{model}: from {rows['tokens_per_latent'].iloc[0]:,.0f} tokens a latent at "
        f"{rows['d_sae'].iloc[0]} to {rows['tokens_per_latent'].iloc[-1]:,.0f} at "
        f"{rows['d_sae'].iloc[-1]}, where {rows['dead_share'].iloc[-1]:.0%} of the latents are dead"
        for model, rows in ends
    )
    return (
        f"Budgets are tiny, and at a matched budget a wide dictionary is a less trained one ({said}). "
        "Keep this in mind below: it flattens every curve at its wide end."
    )


def profiles(laws: pd.DataFrame, k: float) -> str:
    """Compare the first layer's exponent with the middle one, published and measured."""
    laws = on_stream(laws)
    paper = laws[(laws["source"] == "published") & (laws["form"] == "no_floor") & (laws["k"] == 50)]
    chords = laws[(laws["form"] == "secant") & (laws["architecture"] == "jumprelu")]
    own = chords[(chords["source"] == "lab") & (chords["k"] == k)]
    gemma = chords[(chords["source"] == "gemma") & (chords["k"] == 50)]
    said = []
    for table in (paper, gemma, own):
        for name, rows in with_series(table).groupby("series", sort=True):
            values = rows.sort_values("layer")["alpha_width"]
            if len(values) > 5:
                said.append(
                    f"{values.iloc[0]:.2f} at layer 0 and {values.median():.2f} at the median ({name})"
                )
    wide = own.assign(half=(own["high"] - own["low"]) / 2)["half"].median()
    return (
        f"Exponents are {', '.join(said)}. The lab's intervals are wide, ±{wide:.2f} at the median, "
        "because its two widths are near each other and its errors were measured on little text."
    )


def sparsities(found: pd.DataFrame, k: float, beside: list[float]) -> str:
    """Say why the lab is read at ``k``, and what its floors are there and ``beside``."""
    cells, beyond = (found.groupby("k")[name].sum() for name in ("n_cells", "n_outside"))
    fewest, near = beyond.idxmin(), sorted({*beside, k})
    table = with_series(found[found["k"].isin(near)]).sort_values("k")
    behind = []
    for at, rows in table.groupby("k"):
        some = rows[rows["n_behind"] > 0].sort_values("series")
        said = (
            counted({row.series: (row.n_behind, row.n_layers) for row in some.itertuples()})
            if len(some)
            else "none"
        )
        behind.append(f"at $k$ = {at:g} at {said}")
    others = spoken([f"{beyond[at]} at $k$ = {at:g}" for at in near if at != k])
    shares = "; ".join(
        f"{name} {spoken([f'{share:.0%}' for share in rows['floor_share'].dropna()])}"
        for name, rows in table.groupby("series")
    )
    return (
        f"So $k$ = {k:g} is a choice. Chapters 08 and 09 and `geowall plan` read the lab there too. Over all "
        f"grids {beyond[k]} of {cells[k]} pairs of layer and width then lie beyond their checkpoints; the "
        f"fewest are {beyond[fewest]}, at $k$ = {fewest:g}, and it is {others}. Of the layers, the widest "
        f"dictionary within its checkpoints has a larger error than a narrower one {'; '.join(behind)}. A "
        "floor fitted to such curves is partly one of dictionaries that were not trained out. And the choice "
        f"matters: at $k$ = {spoken([f'{at:g}' for at in near])} the median "
        f"floor over the smallest error is, in this order, {shares}."
    )


def coefficients(laws: pd.DataFrame) -> str:
    """Say how sure the coefficients of the lab's surfaces without a floor are."""
    table = lab_coefficients(laws)
    grids = table.groupby("series", sort=True)
    positive = counted({name: (int((rows["gamma"] > 0).sum()), len(rows)) for name, rows in grids})
    clear = counted({name: (int((rows["gamma_low"] > 0).sum()), len(rows)) for name, rows in grids})
    steep = counted({name: (int((rows["beta_n_high"] < 0).sum()), len(rows)) for name, rows in grids})
    half = {
        name: ((table[f"{name}_high"] - table[f"{name}_low"]) / 2).median() for name in ("beta_n", "gamma")
    }
    few = (
        ""
        if (table["gamma_low"] > 0).mean() > 0.5
        else (
            " Two widths with three or four checkpoints each do not hold four coefficients firmly: where "
            "layers agree on the sign of $\\gamma$, it is their number that shows it, not any one of them."
        )
    )
    return (
        f"How sure is that layer by layer? $\\gamma$ is above zero at {positive} layers. With documents and "
        f"checkpoints drawn again its interval, ±{half['gamma']:.2f} at the median, stays above zero at "
        f"{clear}; that of $\\beta_n$, ±{half['beta_n']:.2f}, stays below zero at {steep} "
        f"({{numref}}`fig-coefficients`).{few}"
    )


def showcase(agreed: pd.DataFrame) -> str:
    """Say which printed floors lie in our intervals and what a printed floor outside would cost."""
    sigma, dof = agreed["sigma"].iloc[0], agreed["sigma_dof"].iloc[0]
    said = [
        f"{int(agreed['inside'].sum())} of {len(agreed)} printed floors lie in our intervals, whose noise is "
        f"{sigma:.2%} of an error ({dof:.0f} degrees of freedom).",
        _alone(agreed),
    ]
    far = agreed[~agreed["inside"]]
    said += [_outside(row, agreed.drop(place), sigma) for place, row in far.to_dict("index").items()]
    return " ".join(said)


def _alone(agreed: pd.DataFrame) -> str:
    """Say which printed floors lie in an interval without borrowed noise, where there are widths to spare."""
    spare = agreed[agreed["dof"] > 0]
    ends = ", ".join(
        f"{_layer(row)} ({row['low_own']:.3f} to {row['high_own']:.3f}, printed {row['printed']:.3f})"
        for row in spare.to_dict("records")
    )
    exact = len(agreed) - len(spare)
    return (
        f"By the noise of the layer itself {int(spare['inside_own'].sum())} of {len(spare)} do, {ends}; the "
        f"other {exact} have three widths for three parameters and therefore no interval of their own: there "
        "any floor below the smallest error fits, given enough noise."
    )


def _layer(row: dict[str, object]) -> str:
    return f"{row['model'].rsplit('-', 1)[-1].upper()} layer {row['layer']}"


def _outside(row: dict[str, object], others: pd.DataFrame, sigma: float) -> str:
    """Say of a printed floor outside our interval what may part the two."""
    said = (
        f"The exception is {_layer(row)}: "
        f"{row['floor']:.4f} ({row['low']:.4f} to {row['high']:.4f}), printed {row['printed']:.3f}. With "
        f"that floor the curve would miss the points by {row['misfit'] * sigma:.1%} (root mean square), "
        f"{row['misfit']:.0f} times this noise."
    )
    if row["dof"]:
        return said
    apart, slopes = float((others["difference"] ** 2).mean() ** 0.5), others["k_slope"]
    verdict = "holds the printed floor" if row["inside_paper"] else "does not hold the printed floor either"
    return said + (
        f" With {row['n_widths']} widths its interval tells of noise in the points alone, and the paper's "
        "floor is read from one surface over nine sparsities, of which 50 is none. Of what may part the two, "
        "filters and bounds are out (no width is dropped, no bound is met), and errors at other sparsities, "
        "which would show what interpolation costs, are not published. What can be had is how far the two "
        f"floors part at the other layers: {apart:.1%}. With that on top the interval is "
        f"{row['low_paper']:.4f} to {row['high_paper']:.4f}, and {verdict}. It is the printed surface that "
        f"is unlike the others here: its floors go as $k^{{{row['k_slope']:.2f}}}$, elsewhere as "
        f"$k^{{{slopes.max():.2f}}}$ to $k^{{{slopes.min():.2f}}}$."
    )


def planted(known: pd.DataFrame) -> str:
    """Say what three widths can and cannot decide, and what the filters do."""
    noise = known["sigma"].max()
    own = known[~known["filtered"] & (known["sigma"] == noise) & (known["floor_share"] == 0.6)]
    power = ", ".join(f"{row['decided']:.0%} with {row['n_widths']}" for row in own.to_dict("records"))
    made = known[known["filtered"] & (known["floor_share"] == 0) & (known["sigma"] == noise)]
    bias = ", ".join(f"{row['bias']:.0%} with {row['n_widths']}" for row in made.to_dict("records"))
    return (
        f"At {noise:.0%} noise in octaves of width, a floor of 60 % of the last error is told from none "
        f"in {power} widths. Where there is no floor at all, the filters leave curves whose median floor "
        f"is {bias} widths, as a share of the error: dropping what rises keeps what flattens."
    )


def recovered(found: pd.DataFrame) -> str:
    """Say what the lab's own design can find of a planted law, and where its intervals fall short."""
    held = {
        (quantity, fit): f"{rows['coverage'].min():.0%} to {rows['coverage'].max():.0%}"
        for (quantity, fit), rows in found.groupby(["quantity", "fit"])
    }
    noise = found.groupby("fit")["sigma"].first()
    straight = found[found["fit"] == "no_floor"].set_index("quantity")
    n = int(straight["n_curves"].max())
    ends = stats.binom.ppf([0.025, 0.975], n, 0.95) / n
    worst = found.loc[found[found["fit"] == "surface_drawn"]["coverage"].idxmin()]
    why = (
        ""
        if worst["floor_share"]
        else ": a fitted floor cannot be below zero, so that where there is none it "
        "is too large on average, and each draw adds the same again; and residuals are smaller than the "
        "deviations that made them"
    )
    return (
        f"With the noise of the lab's curves, {noise['curve']:.1%} of an error, profile intervals of curves "
        f"hold the floor {held['floor', 'curve']} of the time and the exponent "
        f"{held['alpha_width', 'curve']}. Surfaces are tried at the scatter that the lab's surfaces leave, "
        f"{noise['surface']:.1%}: their profiles hold the floor {held['floor', 'surface']} and the exponent "
        f"{held['alpha_width', 'surface']} of the time. Checkpoints drawn again hold them "
        f"{held['floor', 'surface_drawn']} and {held['alpha_width', 'surface_drawn']}, least where a floor "
        f"of {worst['floor_share']:.0%} is planted{why}. Surfaces therefore have profile intervals here. "
        "Those of $\\beta_n$ and $\\gamma$, documents and checkpoints drawn, hold what is planted "
        f"{straight.loc['beta_n', 'coverage']:.0%} and {straight.loc['gamma', 'coverage']:.0%} of the time "
        f"({n} laws a setting, at which 95 % shows as {ends[0]:.0%} to {ends[1]:.0%} by "
        f"chance). {_seen(found)}"
    )


def _seen(found: pd.DataFrame) -> str:
    """Say how often a planted floor is told from none, at every planted exponent."""
    floor = found[(found["quantity"] == "floor") & (found["floor_share"] > 0)]
    said = _each_planted(floor, "fit", {"curve": "of curves", "surface": "of surfaces"})
    return f"So often is a planted floor told from none: {said}."


def _each_planted(found: pd.DataFrame, column: str, names: dict[str, str]) -> str:
    """Say what share is ``decided`` at each planted exponent and floor, by ``column``."""
    said = []
    for alpha, rows in found.groupby("alpha_width"):
        seen = rows.pivot_table("decided", "floor_share", column)
        each = [
            " and ".join(f"{row[value]:.0%} {name}" for value, name in names.items())
            + (f" (floor {share:.0%} of the error)" if share else " (no floor)")
            for share, row in seen.iterrows()
        ]
        said.append(f"with an exponent of {alpha:g}, {', '.join(each)}")
    return "; ".join(said)


def filters(dropped: pd.DataFrame) -> str:
    """Say how many cells of the lab the filters drop."""
    total = dropped[["n_cells", "n_rising", "n_steepening", "n_curves", "n_disorderly"]].sum()
    return (
        f"In the lab filter i drops {total['n_rising']} of {total['n_cells']} cells, filter ii "
        f"{total['n_steepening']}, and filter iii {total['n_disorderly']} of {total['n_curves']} pairs of "
        "layer and sparsity. Only filter i is used below, unless a figure says otherwise."
    )


def floors(table: pd.DataFrame, surfaces: pd.DataFrame, k: float) -> str:
    """Say how many floors are clear of zero, by what, and how near the widest dictionary is to them."""
    whole = surfaces[(surfaces["source"] == "lab") & (surfaces["k"] == k)]
    clear = counted(_by_series(whole, whole["low"] > 1e-3 * whole["floor"]))
    beyond = counted(_by_series(whole, whole["extrapolated"]))
    drawn = counted(_by_series(whole, whole["low_drawn"] > 1e-3 * whole["floor"]))
    own = on_stream(table[(table["source"] == "lab") & (table["k"] == k)])
    share = with_series(own).groupby("series")["floor_share"].median()
    near = ", ".join(f"{value:.0%} ({name})" for name, value in share.items())
    three = int((own["dof"] == 0).sum())
    return (
        f"The profile excludes a floor of zero at {counted(_by_series(own, own['low'] > 0))} layers, and "
        f"the median floor is {near} of the smallest error. {three} of these {len(own)} curves have three "
        "widths and borrow their noise from the others. A surface over all sparsities "
        "({eq}`eq-07-floor` with $A$, $\\alpha$ and $B$ powers or logarithms of $k$), fitted to the "
        f"checkpoints where they lie, has more to explain and the layer's own scatter to go by: its profile "
        f"keeps zero out at {clear} of the layers with four widths, and checkpoints drawn again, whose "
        f"intervals fall short, at {drawn}. At k = {k:g} the surface is an extrapolation at {beyond} layers: "
        "some width there has no checkpoint on one side of $k$, so that its law rests on the form. Curves "
        "use no such width. Read as walls, the floors of curves leave a median of "
        f"{1 - own['floor_share'].median():.0%} of the last error to gain. Whether they are walls is a "
        "question of training, which comes after the next section."
    )


def subsets(table: pd.DataFrame, k: float) -> str:
    """Say for each grid where zero stays outside without the widest or the narrowest, here and at other k."""
    own = on_stream(table[table["source"] == "lab"])
    here = own[own["k"] == k]
    wide = here.pivot_table("floor", ["model", "architecture", "schedule", "layer"], "subset")
    said = []
    for subset in ("without_widest", "without_narrowest"):
        moved = wide[subset] / wide["kept"] - 1
        said.append(
            f"{subset.replace('_', ' the ')} zero stays outside at {outside(here, subset)} layers, and the "
            f"floor moves by {signed(moved.median(), '+.0%')} at the median "
            f"({signed(moved.min(), '+.0%')} to {signed(moved.max(), '+.0%')})"
        )
    words = "; ".join(said)
    elsewhere = " ".join(
        f"At k = {at:g} zero stays outside without the widest at {outside(rows, 'without_widest')}, without "
        f"the narrowest at {outside(rows, 'without_narrowest')}."
        for at, rows in own[own["k"] != k].groupby("k")
    )
    return f"At k = {k:g}, {words}. {elsewhere}{_published_subsets(table)}"


def _published_subsets(table: pd.DataFrame) -> str:
    """Say what leaving widths out, or keeping those that rise, does to the published floors."""
    own = table[table["source"] == "published"]
    said = []
    for (model, layer), rows in own.groupby(["model", "layer"]):
        by = rows.set_index("subset")
        if "without_widest" not in by.index:
            continue
        where = f"{model.rsplit('-', 1)[-1].upper()} layer {layer}"
        ends = {name: f"{r['floor']:.3f} ({r['low']:.3f} to {r['high']:.3f})" for name, r in by.iterrows()}
        rising = int(by.loc["every", "n_widths"] - by.loc["kept", "n_widths"])
        all_of = f", with the {rising} that rise and the paper drops {ends['every']}" if rising else ""
        said.append(
            f"at {where} the floor of the widths that fall is {ends['kept']}{all_of}, without the widest of "
            f"those {ends['without_widest']}, without the narrowest {ends['without_narrowest']}"
        )
    if not said:
        return ""
    return f" Of the published layers two have widths to spare: {'; '.join(said)}."


def sites(table: pd.DataFrame, k: float) -> str:
    """Compare the exponents and floors of the sites of a model."""
    if table.empty:
        return f"No other site has dictionaries to compare with those of the residual stream at k = {k:g}."
    names = table["site"].map(SITES).fillna(table["site"])
    alpha, share = (
        spoken([f"{signed(value, form)} ({name})" for value, name in zip(table[column], names, strict=True)])
        for column, form in (("alpha_width", ".2f"), ("floor_share", ".0%"))
    )
    clear = counted(
        {name: pair for name, *pair in zip(names, table["n_clear"], table["n_floors"], strict=True)}
    )
    return (
        f"The same grid was trained at other sites of {spoken(list(dict.fromkeys(table['model'])))}, which "
        f"*grid* offers above. On equal layers and widths (up to {table['wide'].max()} latents, k = {k:g}) "
        f"the median exponent is {alpha}, the median floor {share} of the smallest error, and "
        f"clear of zero at {clear} layers."
    )


def budgets(table: pd.DataFrame) -> str:
    """Say what scaled budgets change, layer by layer."""
    wide = table.pivot_table(["value", "low", "high"], ["quantity", "layer"], "schedule")
    alpha, share, floor = (wide.loc[name]["value"] for name in ("alpha_width", "floor_share", "floor"))
    rises = int((alpha["scaled"] > alpha["matched"]).sum())
    falls = int((share["scaled"] < share["matched"]).sum())
    zero = int((wide.loc["floor"]["low", "scaled"] <= 0).sum())
    was, now = floor["matched"].median(), floor["scaled"].median()
    verdict = (
        "Part of what looked like a wall was the budget, and these budgets are still small."
        if now < 0.95 * was
        else "On these budgets longer training leaves the floor about where it was."
    )
    few = " One layer is little to go by." if len(floor) == 1 else ""
    return (
        f"With scaled budgets the exponent is larger at {rises} of {len(alpha)} layers that have both "
        f"(median {alpha['matched'].median():.2f} to {alpha['scaled'].median():.2f}). The floor is a "
        f"smaller part of the last error at {falls} of {len(share)} (median "
        f"{share['matched'].median():.0%} to {share['scaled'].median():.0%}) and goes from {was:.3f} to "
        f"{now:.3f}; zero is inside its interval at {zero}. {verdict}{few}"
    )


def _form(name: str) -> str:
    return f"the law with{'out' if name == 'no_floor' else ''} a floor" if "floor" in name else FORMS[name]


def _published(forms: pd.DataFrame) -> str:
    said = []
    for (model, layer), own in forms[forms["source"] == "published"].groupby(["model", "layer"]):
        by = own.sort_values("aicc")
        said.append(
            f"at {model.rsplit('-', 1)[-1].upper()} layer {layer} ({by['n_checkpoints'].iloc[0]} widths) the "
            f"best is {_form(by['form'].iloc[0])}, with {_form(by['form'].iloc[1])} "
            f"{by['aicc_gap'].iloc[1]:.1f} behind"
        )
    if not said:
        return ""
    return " Of the published layers few have widths enough at one sparsity: " + "; ".join(said) + "."


def rivals(forms: pd.DataFrame, kinds: pd.DataFrame) -> str:
    """Say which forms win, by either criterion, and whether those that stop beat those that go on."""
    own = on_stream(forms[forms["source"] == "lab"])
    n = len(own.drop_duplicates(["model", "layer", "architecture", "schedule"]))
    best = {c: own[own[f"{c}_gap"] == 0]["form"].value_counts() for c in ("aic", "aicc")}
    said = {c: ", ".join(f"{_form(name)} {count}" for name, count in v.items()) for c, v in best.items()}
    clear = on_stream(kinds[(kinds["source"] == "lab") & (kinds["criterion"] == "aicc")])["gap"]
    return (
        f"Over {n} layers and grids of the lab the best form by AICc is: {said['aicc']}; by AIC: "
        f"{said['aic']}. The law with a floor has six parameters for as few as "
        f"{int(own['n_checkpoints'].min())} checkpoints, and AICc makes it pay for them. But a soft knee is "
        "a wall too: it stops at a positive error. So compare the best form that stops with the best that "
        f"does not. Of layers and grids, stopping is better at {stopping(kinds)}. The two part by more than "
        f"two (AICc) in favour of stopping at {int((clear > 2).sum())} and of going on at "
        f"{int((clear < -2).sum())}." + _published(forms)
    )


def told_apart(found: pd.DataFrame) -> str:
    """Say how often the criteria recognise a planted floor, and how often they see one that is not there."""
    said = _each_planted(found, "criterion", {"aicc": "of layers by AICc", "aic": "by AIC"})
    low = found["alpha_width"].min()
    seen = found[(found["alpha_width"] == low) & (found["floor_share"] > 0)]["decided"].max()
    return (
        "How far is such a count to be trusted? With laws planted on these same checkpoints and the scatter "
        f"that the lab's surfaces leave ({found['sigma'].iloc[0]:.1%} of an error), a form that stops is "
        f"found best at these: {said}. Under an exponent of {low:g} no planted floor is seen at "
        f"more than {seen:.0%} of layers, whatever its size: there a count that finds no floor says little."
    )


def stopping(kinds: pd.DataFrame) -> str:
    """Count the lab's layers and grids where a form that stops is best, by either criterion and by grid."""
    own = on_stream(kinds[kinds["source"] == "lab"])
    said = [
        f"{counted(_by_series(rows, rows['gap'] > 0))} by {name.upper().replace('AICC', 'AICc')}"
        for name, rows in own.groupby("criterion", sort=False)
    ]
    return "; ".join(said)


def learned_published(floors: pd.DataFrame, agreed: pd.DataFrame, split: pd.DataFrame) -> str:
    """Sum up the published half."""
    own, inside = floors[floors["source"] == "published"], int(agreed["inside"].sum())
    share = split[split["source"] == "published"]["share"]
    gao = -(GAO[2] + GAO[3] * math.log(50))
    return (
        f"* **Published floors come out again** at {inside} of {len(own)} layers, within intervals of "
        f"±{((own['high'] - own['low']) / 2 / own['floor']).median():.0%}. Zero is outside "
        f"{int((own['low'] > 0).sum())} of them, on the strength of the form and of borrowed noise: "
        f"{int((own['dof'] == 0).sum())} of the curves are exactly determined.\n"
        f"* **{share.min():.0%} to {share.max():.0%} of these exponents is hidden by the floor**; with it "
        f"they are {own['alpha_width'].min():.2f} to {own['alpha_width'].max():.2f}. The {gao:.2f} that "
        "{cite:t}`gao2024` find at a layer of GPT-4, to which the paper compares its exponents, is a "
        "number of this kind."
    )


def learned_lab(
    floors: pd.DataFrame, surfaces: pd.DataFrame, subsets: pd.DataFrame, budgets: pd.DataFrame,
    kinds: pd.DataFrame, k: float,
) -> str:  # fmt: skip
    """Sum up the lab: do floors exist here, or can it not be decided?"""
    own = on_stream(floors[floors["source"] == "lab"])
    own = own[(own["k"] == k) & (own["schedule"] == "matched")]
    lean = on_stream(subsets[(subsets["source"] == "lab") & (subsets["k"] == k)])
    lean = lean[lean["schedule"] == "matched"]
    lean = lean[lean["subset"] == "without_widest"]
    whole = surfaces[(surfaces["source"] == "lab") & (surfaces["k"] == k)]
    levels = budgets[budgets["quantity"] == "floor"]
    medians, n = levels.groupby("schedule")["value"].median(), levels["layer"].nunique()
    return (
        f"* **At matched budgets the lab levels off** at {counted(_by_series(own, own['low'] > 0))} "
        f"layers, and without the widest dictionary at {counted(_by_series(lean, lean['low'] > 0))}. "
        "By a surface over all sparsities and the layer's own scatter zero is outside at "
        f"{counted(_by_series(whole, whole['low'] > 1e-3 * whole['floor']))}.\n"
        f"* **This does not make it a wall.** At {f'the {n} layers' if n > 1 else 'the one layer'} where "
        f"wide dictionaries were also trained longer, the floor goes from {medians['matched']:.3f} to "
        f"{medians['scaled']:.3f}.\n"
        f"* **Which kind of law it is depends on the grid and on the criterion.** A form that stops at a "
        f"positive error (a floor or a soft knee) is best at {stopping(kinds)}. Whether there is a wall "
        "under converged dictionaries is **undecided** here."
    )
