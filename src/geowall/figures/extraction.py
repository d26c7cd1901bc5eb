"""The figures of chapter 04 that show activations: norms, directions, outliers, and what BOS does to them.

>>> import pandas as pd
>>> rows = {"layer": [0, 1], "site": ["res", "res"], "norm": [1.0, 2.0], "hidden_norm": [1.0, 5.0]}
>>> proof = pd.DataFrame(rows | {"hidden_difference": [0.0, 2.0], "bit_equal": [True, True], "d": [8, 8]})
>>> fig_final_norm(proof).usermeta["name"]
'fig-final-norm'
"""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd

from geowall.figures import theme
from geowall.figures.claim import declutter

KIND_COLOURS = {"res": theme.BLUE, "att": theme.GREEN, "mlp": theme.PURPLE}
KIND_WORDS = {"res": "residual", "att": "attention", "mlp": "MLP"}
TOKEN_COLOURS = {"text": theme.BLUE, "all": theme.ORANGE, "bos": theme.ORANGE}
STATISTICS = {
    "mean_norm": "mean norm",
    "norm_spread": "spread of norms",
    "mean_share": "share of the mean",
    "cosine": "cosine of two tokens",
    "effective_dimension": "effective dimension",
    "top_variance": "variance on one axis",
}


def _layer(table: pd.DataFrame) -> alt.X:
    last = int(table["layer"].max())
    return (
        alt.X("layer:Q", title="layer")
        .scale(domain=[0, last], nice=False, padding=8)
        .axis(grid=False, tickCount=min(last + 1, 7), format="d")
    )


def _colour(field: str, colours: dict[str, str]) -> alt.Color:
    return alt.Color(f"{field}:N", scale=_scale(colours), legend=None)


def _scale(colours: dict[str, str]) -> alt.Scale:
    return alt.Scale(domain=list(colours), range=list(colours.values()))


def fig_final_norm(proof: pd.DataFrame) -> alt.TopLevelMixin:
    """Mean norm after each block, as extracted and as ``hidden_states`` gives it."""
    table = proof[proof["site"] == "res"].sort_values("layer")
    last = table.iloc[-1]
    x = _layer(table)
    tooltip = [
        "layer:Q",
        alt.Tooltip("norm:Q", title="extracted", format=".4f"),
        alt.Tooltip("hidden_norm:Q", title="hidden_states", format=".4f"),
        alt.Tooltip("hidden_difference:Q", title="relative difference", format=".2g"),
    ]
    base = alt.Chart(table).encode(x=x, tooltip=tooltip)
    y = alt.Y("norm:Q", title="mean norm").scale(zero=True)
    ours = base.mark_line(color=theme.BLUE, strokeWidth=2).encode(y=y)
    dots = base.mark_circle(color=theme.BLUE, size=46, opacity=1).encode(y=y)
    rings = base.mark_point(color=theme.ORANGE, size=150, strokeWidth=2).encode(y="hidden_norm:Q")
    words = pd.DataFrame(
        {
            "layer": [last["layer"]] * 2,
            "norm": [last["norm"], last["hidden_norm"]],
            "text": ["the last block's output", "last entry of hidden_states: normed"],
            "who": ["ours", "theirs"],
        }
    )
    label = alt.Chart(words).mark_text(align="right", dx=-14, fontSize=12)
    colour = _colour("who", {"ours": theme.BLUE, "theirs": theme.ORANGE})
    label = label.encode(x=x, y="norm:Q", text="text:N", color=colour)
    chart = (ours + dots + rings + label).properties(width=540, height=240)
    equal, sites = int(proof["bit_equal"].sum()), len(proof)
    same = int((table["hidden_difference"] == 0).sum())
    caption = (
        "Mean norm after each block: extracted (dots) and by `hidden_states` (rings). They agree to the "
        "last bit at "
        f"{same} of {len(table)} layers. The last entry of `hidden_states` has been through the model's "
        "final norm: it differs by "
        f"{last['hidden_difference']:.0%} of the activation's norm. Forward hooks agree to the last bit at "
        f"{equal} of {sites} sites."
    )
    return theme.finish(
        chart, "final-norm", caption=caption, alt=f"Norm against layer. {caption}".replace("`", "")
    )


def fig_norms(norms: pd.DataFrame, positions: pd.DataFrame) -> alt.TopLevelMixin:
    """Norms by layer for each kind of site, with BOS, and by position in the sequence for some layers."""
    table = norms.assign(kind=norms["site"].map(KIND_WORDS))
    x = _layer(table)
    log = alt.Scale(type="log", nice=False, padding=6)
    y = alt.Y("median:Q", title="norm", scale=log).axis(
        values=_octaves(norms["q05"].min(), max(norms["q95"].max(), norms["bos"].max())), format="~g"
    )
    colour = _colour("site", KIND_COLOURS)
    base = alt.Chart(table).encode(x=x, color=colour)
    tooltip = ["layer:Q", "kind:N"]
    tooltip += [alt.Tooltip(f"{c}:Q", format=".3~g") for c in ("q05", "median", "q95", "largest", "bos")]
    band = base.mark_area(opacity=0.3).encode(y=alt.Y("q05:Q", scale=log), y2="q95:Q")
    line = base.mark_line(strokeWidth=2).encode(y=y)
    dots = base.mark_circle(size=30, opacity=1).encode(y=y, tooltip=tooltip)
    bos = base.mark_line(strokeDash=[4, 3], strokeWidth=1.6).encode(y="bos:Q")
    ends = table[table["layer"] == table["layer"].max()].sort_values("median", ascending=False)
    ends = ends.assign(height=declutter(np.log(ends["median"]) - 0.2, 0.22))
    ends["height"] = np.exp(ends["height"])
    label = alt.Chart(ends).mark_text(align="left", dx=8, fontSize=12, fontWeight=600)
    label = label.encode(x=x, y=alt.Y("height:Q", scale=log), text="kind:N", color=colour)
    left = (band + bos + line + dots + label).properties(
        width=278, height=260, title="By layer (dashed: BOS)"
    )
    chart = alt.hconcat(left, _by_position(positions), spacing=14)
    return theme.finish(chart, "norms", **_norms_words(norms, positions))


def _octaves(low: float, high: float) -> list[float]:
    powers = np.arange(np.floor(np.log2(low)), np.ceil(np.log2(high)) + 1)
    step = 1 if len(powers) <= 7 else 2
    return [float(2.0**p) for p in powers[::step]]


def _decades(low: float, high: float) -> list[float]:
    return [float(10.0**p) for p in range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)]


def _chosen_layers(table: pd.DataFrame, count: int = 3) -> list[int]:
    layers = sorted(set(table["layer"]))
    return [layers[round(i)] for i in np.linspace(0, len(layers) - 1, min(count, len(layers)))]


def _by_position(positions: pd.DataFrame) -> alt.LayerChart:
    shown = positions[positions["layer"].isin(_chosen_layers(positions))].copy()
    shown["place"] = shown["position"] + 1  # a logarithmic axis has no zero
    shown["name"] = "layer " + shown["layer"].astype(str)
    edges = sorted(set(shown["place"]))
    names = " : ".join(f"datum.value == {e} ? '{'BOS' if e == 1 else e - 1}'" for e in edges) + " : ''"
    x = alt.X("place:Q", title="position in the sequence").scale(type="log", nice=False, padding=12)
    x = x.axis(values=edges[::2] if len(edges) > 8 else edges, labelExpr=names, grid=False)
    y = alt.Y("norm:Q", title=None).scale(zero=True)
    tooltip = [
        "name:N",
        alt.Tooltip("position:Q", title="from position"),
        alt.Tooltip("position_end:Q", title="to"),
    ]
    tooltip += [alt.Tooltip(f"{c}:Q", format=".3~g") for c in ("q25", "norm", "q75")]
    colour = alt.Color(
        "layer:Q", scale=alt.Scale(scheme="viridis", domain=[0, shown["layer"].max() * 1.6]), legend=None
    )
    base = alt.Chart(shown).encode(x=x, color=colour, detail="name:N")
    text = alt.datum["tokens"] == "text"
    line = base.transform_filter(text).mark_line(strokeWidth=2).encode(y=y)
    whisker = base.mark_rule(strokeWidth=3, opacity=0.35).encode(y="q25:Q", y2="q75:Q")
    dots = base.transform_filter(text).mark_circle(size=32, opacity=1).encode(y=y, tooltip=tooltip)
    bos = (
        base.transform_filter(~text)
        .mark_point(size=60, shape="diamond", strokeWidth=2)
        .encode(y=y, tooltip=tooltip)
    )
    last = shown[shown["position"] == shown["position"].max()]
    label = (
        alt.Chart(last)
        .mark_text(align="right", dy=-12, fontSize=11)
        .encode(x=x, y=y, text="name:N", color=colour)
    )
    panel = line + whisker + dots + bos + label
    return panel.properties(width=178, height=260, title="By position (diamond: BOS)")


def _norms_words(norms: pd.DataFrame, positions: pd.DataFrame) -> dict[str, str]:
    res = norms[norms["site"] == "res"].sort_values("layer")
    first, last = res.iloc[0], res.iloc[-1]
    text = positions[(positions["tokens"] == "text") & (positions["layer"] == res["layer"].max())]
    ratio = res["bos"] / res["median"]
    caption = (
        "*Left:* median norm with the range of the middle 90 % of text tokens. The residual stream grows "
        "from "
        f"{first['median']:.3g} to {last['median']:.3g}; BOS (dashed) is {ratio.min():.2f} to "
        f"{ratio.max():.2f} times as long as "
        f"the median token. *Right:* by position, with quartiles; at the last layer the median goes from "
        f"{text.iloc[0]['norm']:.3g} just after BOS to {text.iloc[-1]['norm']:.3g} at the end."
    )
    return {"caption": caption, "alt": f"Norms by layer and by position. {caption}".replace("*", "")}


def fig_anisotropy(effect: pd.DataFrame, positions: pd.DataFrame) -> alt.TopLevelMixin:
    """Mean cosine between two text tokens by layer, and by layer and position."""
    table = effect[(effect["statistic"] == "cosine") & (effect["tokens"] == "text")]
    x = _layer(table)
    y = alt.Y("value:Q", title="mean cosine between two tokens").scale(zero=True)
    base = alt.Chart(table).encode(x=x)
    band = base.mark_area(opacity=0.3, color=theme.BLUE).encode(y="low:Q", y2="high:Q")
    tooltip = ["layer:Q", *(alt.Tooltip(f"{c}:Q", format=".4f") for c in ("value", "low", "high"))]
    line = base.mark_line(strokeWidth=2, color=theme.BLUE).encode(y=y)
    dots = base.mark_circle(size=36, opacity=1, color=theme.BLUE).encode(y=y, tooltip=tooltip)
    left = (band + line + dots).properties(width=220, height=250, title="All positions")
    cells = positions[positions["tokens"] == "text"].copy()
    span = cells["position"].astype(str) + "–" + cells["position_end"].astype(str)
    cells["place"] = span.where(cells["position"] < cells["position_end"], cells["position"].astype(str))
    order = list(dict.fromkeys(cells.sort_values("position")["place"]))
    colour = alt.Color("cosine:Q", scale=alt.Scale(scheme="viridis"), title="cosine").bin(maxbins=9)
    colour = colour.legend(orient="right", gradientLength=200, format=".2~f")
    heat = (
        alt.Chart(cells)
        .mark_rect()
        .encode(
            x=alt.X("layer:O", title="layer").axis(labelAngle=0, values=_ticks(cells["layer"].max())),
            y=alt.Y("place:N", sort=order[::-1], title="position").axis(domain=False, ticks=False),
            color=colour,
            tooltip=["layer:O", "place:N", alt.Tooltip("cosine:Q", format=".3f"), "n_tokens:Q"],
        )
    )
    right = heat.properties(width=186, height=250, title="By position")
    chart = alt.hconcat(left, right, spacing=16).resolve_scale(color="independent")
    top, bottom = table.loc[table["value"].idxmax()], table.loc[table["value"].idxmin()]
    early = cells[cells["position"] == cells["position"].min()]["cosine"].max()
    caption = (
        f"Mean cosine between two different text tokens: {top['value']:.2f} at layer {top['layer']}, "
        f"{bottom['value']:.2f} at layer "
        f"{bottom['layer']}; the band is a 95 % interval over sequences. Among tokens at the same position "
        "it is largest right "
        f"after BOS, up to {early:.2f}: tokens with little context resemble each other."
    )
    return theme.finish(chart, "anisotropy", caption=caption, alt=f"A line and a heat map. {caption}")


def _ticks(last: int) -> list[int]:
    return list(range(0, last + 1, 1 + last // 8))


def fig_massive(massive: pd.DataFrame) -> alt.TopLevelMixin:
    """The three largest activations of every layer, on BOS and on text, above the median magnitude."""
    table = massive.assign(threshold=massive["median"] * 1000)
    x = _layer(table)
    high = max(table["threshold"].max(), table["magnitude"].max()) * 1.4
    y = alt.Y("magnitude:Q", title="magnitude").scale(
        type="log", domain=[table["median"].min() / 2, high], nice=False
    )
    y = y.axis(format="~g", tickCount=5)
    tooltip = ["layer:Q", "tokens:N", "rank:Q", "dimension:Q", "token:N", "position:Q"]
    tooltip += [alt.Tooltip("magnitude:Q", format=".1f"), alt.Tooltip("ratio:Q", format=".1f")]
    tooltip += [alt.Tooltip("norm_share:Q", format=".1%")]
    base = alt.Chart(table)
    median = base.mark_line(color=theme.GREY, strokeWidth=2).encode(x=x, y="median:Q")
    limit = base.mark_line(color=theme.RED, strokeWidth=1.6, strokeDash=[5, 4]).encode(x=x, y="threshold:Q")
    chart = (median + limit + _massive_labels(table, x) + _marks(table, x, y, tooltip)).properties(
        width=540, height=290
    )
    return theme.finish(chart, "massive", **_massive_words(massive))


def _marks(table: pd.DataFrame, x: alt.X, y: alt.Y, tooltip: list) -> alt.Chart:
    size = alt.Size("rank:O", scale=alt.Scale(domain=[1, 2, 3], range=[70, 34, 16]), legend=None)
    base = alt.Chart(table).mark_point(opacity=0.9, strokeWidth=1.8)
    shape = alt.Shape(
        "tokens:N", scale=alt.Scale(domain=["text", "bos"], range=["circle", "diamond"]), legend=None
    )
    colour = _colour("tokens", {"text": theme.BLUE, "bos": theme.ORANGE})
    return base.encode(x=x, y=y, size=size, shape=shape, color=colour, tooltip=tooltip)


def _massive_labels(table: pd.DataFrame, x: alt.X) -> alt.Chart:
    first, last = table[table["layer"] == 0], table[table["layer"] == table["layer"].max()]
    rows = [
        {"layer": 0, "height": first["median"].iloc[0], "text": "median", "who": "median"},
        {"layer": 0, "height": first["threshold"].iloc[0], "text": "1,000 times the median", "who": "limit"},
    ]
    for tokens, word in (("text", "text"), ("bos", "BOS")):
        best = last[(last["tokens"] == tokens) & (last["rank"] == 1)].iloc[0]
        words = f"{word}, dimension {best['dimension']}"
        rows.append({"layer": best["layer"], "height": best["magnitude"], "text": words, "who": tokens})
    colours = {"median": theme.GREY, "limit": theme.RED, "text": theme.BLUE, "bos": theme.ORANGE}
    labels = pd.DataFrame(rows)
    left = alt.Chart(labels.head(2)).mark_text(align="left", dx=4, dy=16, fontSize=12)
    over = alt.Chart(labels.iloc[[2]]).mark_text(align="right", dy=-16, fontSize=12)
    under = alt.Chart(labels.iloc[[3]]).mark_text(align="right", dy=44, fontSize=12)
    parts = [c.encode(x=x, y="height:Q", text="text:N") for c in (left, over, under)]
    return alt.layer(*(part.encode(color=_colour("who", colours)) for part in parts))


def _massive_words(massive: pd.DataFrame) -> dict[str, str]:
    found, best = massive[massive["massive"]], massive.loc[massive["ratio"].idxmax()]
    share = massive.loc[massive["norm_share"].idxmax()]
    held = massive[massive["rank"] == 1]["dimension"].value_counts()
    rule = (
        "massive by the criterion of {cite:t}`sun2024`: above 100 and above 1,000 times the median (dashed)"
    )
    many = f"{len(found)} of them are {rule}" if len(found) else f"None is {rule}"
    caption = (
        "The three largest activations of each layer, each in its own dimension: circles on text, "
        f"diamonds on BOS. {many}. The "
        f"largest stands {best['ratio']:.0f} times above the median, at layer {best['layer']} in dimension "
        f"{best['dimension']}; one "
        f"dimension holds up to {share['norm_share']:.0%} of a token's squared norm. Dimension "
        f"{held.index[0]} leads in "
        f"{held.iloc[0]} of {int(held.sum())} cases."
    )
    plain = caption.replace("{cite:t}`sun2024`", "Sun and others")
    return {"caption": caption, "alt": f"Dots by layer on a logarithmic axis. {plain}"}


def fig_bos(effect: pd.DataFrame) -> alt.TopLevelMixin:
    """Every statistic by layer, with BOS and without."""
    panels = [_bos_panel(effect, name, first=i == 0) for i, name in enumerate(STATISTICS)]
    rows = [alt.hconcat(*panels[i : i + 3], spacing=14) for i in (0, 3)]
    chart = alt.vconcat(*rows, spacing=12)
    wide = effect.pivot(index=["statistic", "layer"], columns="tokens", values="value")
    change = (wide["all"] / wide["text"] - 1).abs()
    most, least = change.groupby("statistic").max().sort_values(), change.max()
    where = change.idxmax()
    caption = (
        "Each statistic of the residual stream without BOS (blue) and with it (orange); bands are 95 % "
        "intervals. BOS is one "
        f"token of each sequence. It moves {STATISTICS[where[0]]} most: by {least:.1%} at layer {where[1]}; "
        f"{STATISTICS[most.index[0]]} moves least, by {most.iloc[0]:.1%} at most."
    )
    return theme.finish(chart, "bos", caption=caption, alt=f"Six small panels of two lines each. {caption}")


def _bos_panel(effect: pd.DataFrame, name: str, first: bool) -> alt.LayerChart:
    table = effect[effect["statistic"] == name]
    x = _layer(table)
    flat = alt.Scale(zero=False)
    y = alt.Y("value:Q", title=None, scale=flat).axis(tickCount=4)
    colours = {"text": theme.BLUE, "all": theme.ORANGE}
    colour, base = _colour("tokens", colours), alt.Chart(table).encode(x=x)
    band = base.mark_area(opacity=0.3).encode(
        y=alt.Y("low:Q", title=None, scale=flat), y2="high:Q", color=colour
    )
    tooltip = ["layer:Q", "tokens:N"]
    tooltip += [alt.Tooltip(f"{c}:Q", format=".4~g") for c in ("value", "low", "high")]
    dashes = alt.Scale(domain=list(colours), range=[[1, 0], [4, 3]])
    dash = alt.StrokeDash("tokens:N", scale=dashes, legend=None)
    line = base.mark_line(strokeWidth=1.8).encode(y=y, color=colour, strokeDash=dash)
    dots = base.mark_circle(size=20, opacity=1).encode(y=y, color=colour, tooltip=tooltip)
    panel = band + line + dots
    if first:
        for tokens, words, height in (("text", "without BOS", 12), ("all", "with BOS", 27)):
            key = alt.Chart(pd.DataFrame({"text": [words]})).mark_text(
                align="left", fontSize=12, fontWeight=600, color=colours[tokens]
            )
            panel += key.encode(x=alt.value(8), y=alt.value(height), text="text:N")
    title = alt.TitleParams(STATISTICS[name], fontSize=11.5)
    return panel.properties(width=156, height=130, title=title)


def fig_amplified(amplified: pd.DataFrame) -> alt.TopLevelMixin:
    """How each statistic would be off, BOS included, were BOS longer than it is."""
    table = amplified.assign(off=amplified["value"] / amplified["text_value"])
    table["name"] = table["statistic"].map(STATISTICS)
    x = alt.X("relative_norm:Q", title="norm of BOS over the mean norm of text")
    x = x.scale(type="log", nice=False, padding=6).axis(
        grid=False, values=[1, 2, 5, 10, 20, 50, 100], format="~g"
    )
    y = alt.Y("off:Q", title="with BOS over without").scale(type="log", nice=False, padding=8)
    y = y.axis(values=_decades(table["off"].min(), table["off"].max()), format="~g")
    colour = _colour("statistic", dict(zip(STATISTICS, theme.CATEGORY, strict=True)))
    tooltip = ["name:N", alt.Tooltip("relative_norm:Q", format=".3~g"), alt.Tooltip("off:Q", format=".3~g")]
    base = alt.Chart(table).encode(x=x, color=colour)
    line = base.mark_line(strokeWidth=2).encode(y=y)
    dots = base.mark_circle(size=26, opacity=1).encode(y=y, tooltip=tooltip)
    own = table["relative_norm"].min()
    rule = alt.Chart(pd.DataFrame({"relative_norm": [own], "text": ["BOS as it is here"]}))
    mark = rule.mark_rule(strokeDash=[4, 3], opacity=0.6).encode(x=x)
    note = rule.mark_text(align="left", dx=5, fontSize=12).encode(x=x, y=alt.value(10), text="text:N")
    ends = table[table["relative_norm"] == table["relative_norm"].max()].copy()
    gap = np.log(table["off"].max() / table["off"].min()) / 15
    ends["height"] = np.exp(declutter(np.log(ends["off"]), gap))
    label = alt.Chart(ends).mark_text(align="left", dx=8, fontSize=12)
    label = label.encode(x=x, y="height:Q", text="name:N", color=colour)
    chart = (mark + line + dots + note + label).properties(width=400, height=270)
    most = ends.loc[np.log(ends["off"]).abs().idxmax()]
    caption = (
        f"The same activations of layer {int(table['layer'].iloc[0])}, with BOS made longer than it is. At "
        f"{ends['relative_norm'].iloc[0]:.0f} times the norm of text, one token in each sequence "
        "multiplies the "
        f"{STATISTICS[most['statistic']]} by {most['off']:.3g}. A model with a massive BOS needs the mask; "
        "leaving BOS in would "
        f"change what every later chapter measures."
    )
    return theme.finish(chart, "amplified", caption=caption, alt=f"Six lines on logarithmic axes. {caption}")
