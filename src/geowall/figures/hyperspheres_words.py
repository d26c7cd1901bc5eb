"""Sentences of chapter 02 that say where curves stop and who leads, every number computed from its tables.

>>> series([2, 3, 6]), series([0.5], ".0%")
('2, 3 and 6', '50%')
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from geowall.figures.hyperspheres import PAPER, labelled
from geowall.sae.mixtures import TESTED, scene
from geowall.sae.scaling import saturation


def series(values: Sequence[float], form: str = ",.0f") -> str:
    """Numbers as one would read them out."""
    said = [f"{value:{form}}" for value in values]
    return " and ".join(filter(None, [", ".join(said[:-1]), *said[-1:]]))


def relu_of(exponents: pd.DataFrame, column: str) -> pd.DataFrame:
    """A column of ReLU's exponents of L(n), dimension by thickness."""
    plain = exponents[(exponents["floor"] == 0) & (exponents["architecture"] == "relu")]
    return plain.pivot(index="d", columns="thickness", values=column)


def stops(exponents: pd.DataFrame, curves: pd.DataFrame, thickness: float) -> str:
    """Say from which width on ReLU's loss is within 2 % of its best, on thick shells and on spheres."""
    enough, widest = relu_of(exponents, "n_saturation"), relu_of(exponents, "n_high")
    shell, sphere = enough[thickness], enough[0.0]
    times = shell / (2 * shell.index)
    going = sphere.index[sphere == widest[0.0]]
    words = (
        f"In {series(shell.index)} dimensions ReLU's loss on thick shells is within 2 % of its best from "
        f"{series(shell)} latents on, {times.min():.1f} to {times.max():.1f} times $2d$: at $2d$ the steep "
        "fall ends, and the plateau begins later, the later the more dimensions there are. On spheres it is "
        f"{series(sphere)}"
    )
    if len(going):
        words += (
            f"; in {series(going)} dimensions that is the widest we trained, and the loss has not stopped"
        )
    return f"{words}. {living(curves)}"


def living(curves: pd.DataFrame) -> str:
    """Say how many latents of the widest ReLU dictionaries on spheres are alive (median of the seeds)."""
    part = curves[(curves["architecture"] == "relu") & (curves["thickness"] == 0)]
    most = int(part["n_latents"].max())
    live = part[part["n_latents"] == most].groupby("d")["live"].median()
    return f"Of the {most:,} latents of the widest dictionaries on spheres {series(live)} are alive."


def spheres_fate(exponents: pd.DataFrame, curves: pd.DataFrame) -> str:
    """Say in which dimensions ReLU on spheres has stopped at the widths shown, and in which it has not."""
    enough, widest = (relu_of(exponents, name)[0.0] for name in ("n_saturation", "n_high"))
    done, going = enough[enough < widest], enough[enough == widest]
    said = []
    if len(going):
        said.append(f"in {series(going.index)} dimensions {int(widest.max()):,} latents do not stop it")
    if len(done):
        said.append(
            f"in {series(done.index)} dimensions it is within 2 % of its best from {series(done)} latents on"
        )
    return f"{'; '.join(said)}. {living(curves)}"


def slopes(exponents: pd.DataFrame, halves: pd.DataFrame) -> str:
    """Say ReLU's exponents on spheres beside the paper's, and how they change along the range."""
    beta, low, high = (relu_of(exponents, name)[0.0] for name in ("beta", "low", "high"))
    chords = halves[(halves["architecture"] == "relu") & (halves["thickness"] == 0)].set_index("d")
    above = beta.index[low > PAPER]
    below = beta.index[high < PAPER]
    said = ", ".join(f"{beta[d]:.3f} ({low[d]:.3f} to {high[d]:.3f}) for d = {d}" for d in beta.index)
    words = f"On spheres ReLU has $\\beta$ = {said}. {{cite:t}}`michaud2025` report about {PAPER:g} for "
    words += "6 to 8 dimensions and up to ten thousand latents; our interval lies "
    sides = [f"above that for d = {series(above)}"] if len(above) else []
    sides += [f"below it for d = {series(below)}"] if len(below) else []
    words += (" and ".join(sides) if sides else "on both sides of it in every dimension") + ". "
    d = chords.index[-1]
    c = chords.loc[d]
    return words + (
        f"No one number describes the whole curve: in {d} dimensions the slope is {c.beta_low:.3f} from "
        f"{c.n_low:,.0f} to {c.n_middle:,.0f} latents and "
        f"{c.beta_high:.3f} from there to {c.n_high:,.0f}. An exponent is one of its range of widths too."
    )


def compared(exponents: pd.DataFrame, d: int, thickness: float) -> str:
    """Say what each architecture's exponent does from hollow to thick, over the widths all of them have."""
    part = labelled(exponents[(exponents["floor"] == 0) & (exponents["d"] == d)])
    table = part.set_index(["autoencoder", "thickness"])
    listed = []
    for name in dict.fromkeys(part["autoencoder"]):
        ends = [table.loc[(name, t)] for t in (0.0, thickness)]
        said = [f"{e.beta:.2f} ({e.low:.2f} to {e.high:.2f})" for e in ends]
        listed.append(f"{name} {said[0]} and {said[1]}")
    first = part.iloc[0]
    return (
        f"Fitted over the widths that all of them have, {first.n_low:.0f} to {first.n_high:.0f} latents in "
        f"{d} dimensions, $\\beta$ hollow and thick: {'; '.join(listed)}."
    ).replace("-", "−")


def leads(matched: pd.DataFrame, first: str = "TopK", second: str = "BatchTopK") -> str:
    """Say who is ahead at each L0 and manifold, and where the seeds do not tell."""
    table = labelled(matched.assign(penalty=matched["kind"] + "="))
    table = table[table["autoencoder"].isin([first, second])]
    said = []
    for shape, part in table.groupby("manifold", sort=False):
        wide = part.pivot(index="l0", columns="autoencoder", values=["mse", "low", "high"]).dropna()
        words = []
        for l0, row in wide.iterrows():
            a, b = ({c: row[c, name] for c in ("mse", "low", "high")} for name in (first, second))
            words.append(f"{a['mse']:.3f} against {b['mse']:.3f} at {l0:g} ({_verdict(a, b, first, second)})")
        said.append(f"on the {shape}, {', '.join(words)}")
    return f"{first} against {second}, by active latents: {'; '.join(said)}."


def _verdict(a: Mapping[str, float], b: Mapping[str, float], first: str, second: str) -> str:
    if a["high"] < b["low"]:
        return f"{first} ahead"
    return f"{second} ahead" if b["high"] < a["low"] else "seeds overlap"


def others(falls: pd.DataFrame, curves: pd.DataFrame) -> str:
    """Say what latents past 2 d buy on manifolds that are neither sphere nor shell, and where that ends."""
    table = labelled(falls).set_index(["manifold", "autoencoder"])["fall"]
    best = labelled(curves).groupby(["manifold", "autoencoder", "n_latents"])["loss"].min()
    said = []
    for name in dict.fromkeys(curves["manifold"]):
        ends = []
        for autoencoder, fall in table[name].items():
            losses = best[name, autoencoder]
            ends.append(f"{autoencoder} {fall:.0%} ({losses.index[saturation(losses.to_numpy())]})")
        said.append(f"{name.replace('_', ' ')}: {', '.join(ends)}")
    return (
        f"Past $2d$ and up to {curves['n_latents'].max():,} latents the loss falls by (in brackets, from "
        f"which width on it is within 2 % of its best), {'; '.join(said)}."
    )


def edge(mixture: pd.DataFrame, tokens: int) -> str:
    """Say where discovery stops in the widest mixture and how often training has shown what lies there."""
    wide = mixture[mixture["d_sae"] == mixture["d_sae"].max()]
    middle = wide.median(numeric_only=True)
    found = middle.n_discovered - 1  # the manifold is one of those discovered
    return (
        f"With {int(middle.d_sae):,} latents {found:.0f} discrete features are found; the rarest of them is "
        f"number {middle.last_found:.0f} by frequency, shown {middle.seen_last_found:,.0f} times in "
        f"{tokens:,} training tokens, and {middle.last_found - found:.0f} more frequent ones are missed."
    )


def beyond(table: pd.DataFrame) -> str:
    """Say what wider dictionaries of one seed found in the mixture, beside the prediction."""
    if table.empty:
        return "No wider dictionaries were trained."
    said = [
        f"{int(r.d_sae):,} latents put {int(r.n_on_manifold):,} on the manifold (predicted "
        f"{int(r.predicted_n_on_manifold):,}) and discover {int(r.n_discovered):,} features of "
        f"{int(r.predicted_n_discovered):,}"
        for r in table.itertuples()
    ]
    return f"Wider ones, of one seed each: {'; '.join(said)}."


def rarest(world: Mapping[str, float], tokens: int) -> str:
    """Say how often training and the test show the rarest feature, and how many are shown less than once."""
    p = scene(world).frequencies.double()
    unseen = int((p * tokens < 1).sum())
    words = f"Feature {len(p):,} is shown {float(p[-1]) * tokens:,.1f} times on average"
    if unseen:
        words += f", and {unseen:,} features less than once"
    untested = int((p * TESTED < 1).sum())
    if untested:
        words += f"; the test of {TESTED:,} tokens shows {untested:,} less than once and cannot find them"
    return words + "."


def kept(world: Mapping[str, float], n: int) -> str:
    """Say which share of all activity the most frequent discrete features hold."""
    p = scene(world).frequencies.double()
    share = float(p[:n].sum() / p.sum())
    return f"The {n:,} most frequent of the {len(p):,} hold {share:.1%} of their activity."


def longer(lengths: pd.DataFrame) -> str:
    """Say what longer training changes: starvation, if more tokens find more; mixing, if codes stay mixed."""
    short, long = _ends(lengths)
    of, rarest_found = int(short["predicted_n_discovered"].iloc[0]), long["last_found"].median()
    return (
        f"Trained {int(long['times'].iloc[0])} times as long, {int(short['d_sae'].iloc[0])} latents discover "
        f"{_range(long['n_discovered'])} features instead of {_range(short['n_discovered'])}, of {of} at the "
        f"optimum: {gained(lengths):.0%} of what was missing. Specificity goes from "
        f"{short['specificity'].median():.2f} to {long['specificity'].median():.2f}, and the manifold's "
        f"latents from {_range(short['n_on_manifold'])} to {_range(long['n_on_manifold'])} "
        f"(predicted {int(short['predicted_n_on_manifold'].iloc[0])}). If only being shown counted, the "
        "rarest feature found would have been shown as often in both; it was shown "
        f"{short['seen_last_found'].median():,.0f} and {long['seen_last_found'].median():,.0f} times. As "
        "many as at the optimum need not be the same ones: the optimum takes features in order of "
        f"frequency, and the rarest found after the long training is number {rarest_found:.0f}."
    )


def gained(lengths: pd.DataFrame) -> float:
    """Share of the features that short training missed, and the optimum has, that long training found."""
    short, long = _ends(lengths)
    found = short["n_discovered"].median()
    return float((long["n_discovered"].median() - found) / (short["predicted_n_discovered"].iloc[0] - found))


def _ends(lengths: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    spans = lengths.groupby("times")
    return spans.get_group(lengths["times"].min()), spans.get_group(lengths["times"].max())


def _range(values: pd.Series) -> str:
    low, high = int(values.min()), int(values.max())
    return f"{low}" if low == high else f"{low} to {high}"
