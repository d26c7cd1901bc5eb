"""What a chart leaves in a notebook: its look, its picture, its size, its refusals."""

from __future__ import annotations

import base64
import json
import re
import struct
import zlib

import altair as alt
import numpy as np
import pandas as pd
import pytest
import vl_convert

from geowall.figures import claim, png, renderer, slim, theme
from geowall.laws import published
from geowall.paths import GeowallError


def table(rows: int = 40) -> pd.DataFrame:
    x = np.arange(rows)
    kind = np.where(x % 2, "odd", "even")
    return pd.DataFrame({"x": x, "y": np.sin(x / 5), "kind": kind, "late": x > rows / 2, "unused": x * np.pi})


def chart(rows: int = 40, width: int = 300, name: str = "demo") -> alt.TopLevelMixin:
    picked = alt.selection_point(fields=["kind"], on="pointerover")
    drawn = (
        alt.Chart(table(rows))
        .mark_point()
        .encode(
            x="x",
            y="y",
            color="kind",
            tooltip=["kind", "y"],
            opacity=alt.when(picked).then(alt.value(1)).otherwise("late"),
        )
    )
    drawn = drawn.add_params(picked).properties(width=width, height=200)
    return theme.finish(drawn, name, caption="Points on $\\sin$.", alt="Points on a sine wave.")


def size(picture: bytes) -> tuple[int, int]:
    return struct.unpack(">II", picture[16:24])


def luminance(colour: str) -> float:
    parts = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("paper", ["#ffffff", "#121212"])
def test_every_colour_of_the_book_reads_on_light_and_on_dark(paper: str) -> None:
    for colour in {*theme.CATEGORY, *theme.MODEL_COLOURS.values()}:
        light, dark = sorted((luminance(colour), luminance(paper)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 3, colour


def test_ink_is_the_pages_own_and_the_background_is_none() -> None:
    config = chart().to_dict()["config"]
    assert config["background"] == "transparent"
    inks = {config["axis"][key] for key in ("labelColor", "titleColor", "domainColor", "tickColor")}
    assert inks == {"currentColor"} == {config["text"]["color"], config["title"]["color"]}


def test_a_bundle_has_specification_picture_and_sentence() -> None:
    data, metadata = renderer.bundle(chart(), ["one", "two"])
    assert set(data) == {"application/vnd.vegalite.v5+json", "image/png", "text/plain"} and metadata == {}
    assert data["text/plain"] == "Points on a sine wave."
    meta = data[renderer.MIME]["usermeta"]
    assert meta["name"] == "fig-demo" and meta["tables"] == ["one", "two"]
    assert "/v6" in data[renderer.MIME]["$schema"]


def test_the_picture_is_small_and_black_on_white() -> None:
    picture = base64.b64decode(renderer.bundle(chart(), [])[0]["image/png"])
    width, _ = size(picture)
    assert 300 * png.PIXEL_RATIO < width <= png.PIXEL_RATIO * theme.MAX_WIDTH and len(picture) < 15_000
    palette = picture[picture.index(b"PLTE") + 4 :]
    count = struct.unpack(">I", picture[picture.index(b"PLTE") - 4 : picture.index(b"PLTE")])[0]
    colours = {tuple(palette[i : i + 3]) for i in range(0, count, 3)}
    assert (255, 255, 255) in colours and min(sum(c) for c in colours) < 30


def test_a_pale_band_among_many_colours_stays_in_the_picture() -> None:
    shades = np.random.default_rng(0).integers(0, 256, (500, 3), dtype=np.uint8)  # as many as edges have
    pixels = np.full((100, 100, 3), 255, np.uint8)
    pixels[:5] = shades.reshape(5, 100, 3)
    pixels[40:60] = band = (228, 236, 247)
    picture = png.encode(pixels)
    palette = picture[picture.index(b"PLTE") + 4 :]
    rows = zlib.decompress(picture[picture.index(b"IDAT") + 4 : picture.index(b"IEND") - 8])
    first = 3 * rows[50 * 101 + 1]
    assert tuple(palette[first : first + 3]) == band


def test_the_same_chart_is_the_same_bytes() -> None:
    assert json.dumps(renderer.bundle(chart(), [])[0]) == json.dumps(renderer.bundle(chart(), [])[0])


def test_names_do_not_depend_on_the_last_digit_of_the_data() -> None:
    noisy = table().assign(y=lambda t: t["y"] * (1 + 1e-13))
    specs = []
    for data in (table(), noisy):
        drawn = alt.Chart(data).mark_line().encode(x="x", y="y").add_params(alt.selection_interval())
        specs.append(slim.slim(drawn.to_dict()))
    assert specs[0] == specs[1]


def test_a_chart_without_caption_is_refused() -> None:
    bare = alt.Chart(table()).mark_point().encode(x="x", y="y")
    with pytest.raises(GeowallError) as refusal:
        renderer.bundle(bare, [])
    assert "theme.finish" in refusal.value.fix


def test_too_many_rows_are_refused_with_the_number() -> None:
    with pytest.raises(GeowallError, match="5,001 rows"):
        renderer.bundle(chart(rows=5001), [])
    assert renderer.bundle(chart(rows=5000), [])


def test_too_wide_a_chart_is_refused() -> None:
    with pytest.raises(GeowallError, match="pixels wide"):
        renderer.bundle(chart(width=620), [])


@pytest.mark.parametrize("panels", [1, 2])
def test_a_readers_chart_that_is_too_wide_gets_narrower_panels(panels: int) -> None:
    panel = alt.Chart(table()).mark_point().encode(x="x", y="y").properties(width=700 // panels)
    wide = alt.hconcat(*[panel] * panels) if panels > 1 else panel
    wide = theme.finish(wide, "demo", caption="Points.", alt="Points on a sine wave.")
    data, _ = renderer.bundle(wide, [], strict=False)
    drawn = size(base64.b64decode(data["image/png"]))[0] / png.PIXEL_RATIO
    assert 0.9 * theme.MAX_WIDTH < drawn <= theme.MAX_WIDTH
    assert data[renderer.MIME]["usermeta"]["shrunk_from"] > 700
    assert "shrunk_from" not in renderer.bundle(chart(), [], strict=False)[0][renderer.MIME]["usermeta"]


def test_a_chart_narrow_by_its_steps_is_shrunk_by_them() -> None:
    steps = alt.Chart(table()).mark_bar().encode(x="x:O", y="y").properties(width=alt.Step(20))
    steps = theme.finish(steps, "demo", caption="Bars.", alt="Bars of a sine wave.")
    data, _ = renderer.bundle(steps, [], strict=False)
    assert size(base64.b64decode(data["image/png"]))[0] <= theme.MAX_WIDTH * png.PIXEL_RATIO


def test_a_readers_own_chart_needs_no_caption() -> None:
    shown = alt.Chart(table()).mark_point().encode(x="x", y="y")._repr_mimebundle_()
    assert set(shown) == {"application/vnd.vegalite.v5+json", "image/png", "text/plain"}


def drawn_by(spec: dict) -> str:
    svg = vl_convert.vegalite_to_svg(json.dumps(spec), vl_version="6.4", allowed_base_urls=[])
    return re.sub(r"-?\d+\.?\d*(?:e-?\d+)?", lambda number: f"{float(number[0]):.3f}", svg)


def test_a_slim_chart_draws_the_same() -> None:
    full = chart().to_dict()
    assert drawn_by(slim.slim(full)) == drawn_by(full)
    assert len(json.dumps(slim.slim(full))) < 0.7 * len(json.dumps(full))


def test_a_slim_chart_keeps_gaps_truths_and_quotes() -> None:
    data = pd.DataFrame(
        {"x": [1, 2, 3], "y": [0.5, None, 2.0], "late": [True, False, True], "name": ['a, "b"', "c\nd", "é"]}
    )
    base = alt.Chart(data).mark_point().encode(x="x", y="y", color="late", text="name", shape="name")
    full = base.to_dict()
    assert isinstance(next(iter(slim.slim(full)["datasets"].values())), str)
    assert drawn_by(slim.slim(full)) == drawn_by(full)


def test_rows_that_are_no_table_are_kept_as_they_are() -> None:
    rows = [{"x": 1, "y": [1, 2]}, {"x": 2, "y": None}]
    spec = {"data": {"name": "d"}, "datasets": {"d": rows}, "encoding": ["x", "y"]}
    assert slim.slim(spec) == spec and slim.n_rows(rows) == 2


def test_large_counts_stay_exact() -> None:
    spec = {"datasets": {"d": [{"n": 2868123.0}, {"n": 123456789012.0}]}, "encoding": "n"}
    assert slim.slim(spec)["datasets"]["d"] == "n\n2868123\n123456789012\n"


@pytest.mark.parametrize("colours", [1, 2, 31, 32, 33, 48, 5000])
def test_a_palette_picture_decodes_to_nearly_the_same_pixels(colours: int) -> None:
    rng = np.random.default_rng(0)
    kinds = rng.integers(0, 256, size=(colours, 3), dtype=np.uint8)
    pixels = kinds[rng.integers(0, colours, size=(97, 64))]
    picture = png.encode(pixels)
    assert size(picture) == (64, 97)
    distinct = len(np.unique(pixels.reshape(-1, 3), axis=0))
    worst = np.abs(_read(picture).astype(int) - pixels).max()
    assert worst == 0 if distinct <= png.COLOURS else worst < 128


def _read(picture: bytes) -> np.ndarray:
    """Decode a palette picture with a reader of our own, three lines of the format's description."""
    chunks = dict(png._chunks(picture))
    palette = np.frombuffer(chunks[b"PLTE"], np.uint8).reshape(-1, 3)
    width, height = size(picture)
    return palette[
        np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, width + 1)[:, 1:]
    ]


def test_a_picture_stored_in_another_way_is_left_alone() -> None:
    other = png.encode(np.zeros((4, 4, 3), np.uint8))
    assert png.shrink(other) == other


def test_the_claim_is_drawn_from_the_published_numbers() -> None:
    layers, showcase = published.read(published.LAYERS), published.read(published.SHOWCASE)
    drawn = claim.fig_claim(layers, showcase)
    caption = drawn.usermeta["caption"]
    r = np.corrcoef(np.log(layers["kappa_ms"]), layers["alpha_k50"])[0, 1]
    assert f"{r:.2f}".replace("-", "−") in caption and f"{len(layers)} layers" in caption
    flattest = layers.loc[layers["alpha_k50"].idxmin()]
    assert f"{1 - 2 ** -flattest['alpha_k50']:.0%} at 9B layer {flattest['layer']}" in caption
    data, _ = renderer.bundle(drawn, [])
    assert size(base64.b64decode(data["image/png"]))[0] <= png.PIXEL_RATIO * theme.MAX_WIDTH


def test_labels_are_pushed_apart_and_no_further() -> None:
    placed = claim.declutter([3.0, 1.0, 1.01, 1.02], gap=0.2)
    assert np.diff(sorted(placed)).min() >= 0.2 - 1e-3
    assert placed[0] == 3.0
    assert np.argsort(placed).tolist() == np.argsort([3.0, 1.0, 1.01, 1.02]).tolist()
