"""The corpus, its parts, its tokens and their labels: exact, disjoint, the same everywhere."""

from __future__ import annotations

from dataclasses import replace

import fsspec
import pandas as pd
import pytest
import torch

from geowall.language import corpus, labels, tokens
from geowall.language.corpus import PARTS, Corpus, Document
from geowall.paths import GeowallError

SOURCE = '''"""A module.

Of two paragraphs.
"""
import os\x0c
class Thing(object):  # a comment

    def method(self, first_name=[1, (2, 3)]):
        if first_name is None:
            return f"{self.x}" + \\
                   'end'
\treturn lambda: 0x1F
last = {
    "key": "value",
}
'''


@pytest.fixture(scope="module")
def stdlib() -> Corpus:
    return corpus.load()


@pytest.fixture(scope="module")
def small(stdlib: Corpus):
    part = stdlib.split("geometry")
    part = replace(part, documents=part.documents[:12])
    return part, tokens.train_tokenizer(part, size=600)


def test_parts_are_disjoint_whole_and_known_by_name(stdlib: Corpus):
    parts = {name: stdlib.split(name) for name in PARTS}
    names = [document.name for part in parts.values() for document in part.documents]
    assert sorted(names) == [document.name for document in stdlib.documents]
    assert sum(PARTS.values()) == pytest.approx(1.0)
    for name, part in parts.items():
        assert part.part == name and {corpus.part_of(document.name) for document in part.documents} == {name}
        assert len(part.documents) / len(names) == pytest.approx(PARTS[name], abs=0.05)


def test_the_standard_library_comes_without_tests_and_other_peoples_packages(stdlib: Corpus):
    names = {document.name for document in stdlib.documents}
    assert {"json/decoder.py", "argparse.py", "asyncio/events.py"} <= names and len(names) > 400
    folders = {part for name in names for part in name.split("/")[:-1]}
    assert not folders & corpus.SKIPPED
    assert 5e6 < stdlib.characters < 3e7 and stdlib.version.startswith("Python 3.")


def test_the_fingerprint_sees_every_character_and_every_name(stdlib: Corpus):
    one = Corpus("x", "", (Document("a", "bc"),))
    others = [(Document("ab", "c"),), (Document("a", "bd"),), (Document("a", "bc"), Document("b", ""))]
    assert len({one.sha256, *(Corpus("x", "", documents).sha256 for documents in others)}) == 4
    assert stdlib.sha256 == corpus.load().sha256


def test_a_folder_gives_its_text_files_and_only_those(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "b.txt").write_text("zwei\n", encoding="utf-8")
    (tmp_path / "a.py").write_bytes("# -*- coding: latin-1 -*-\nx = 'é'\n".encode("latin-1"))
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\xff\xfe")
    (tmp_path / "empty.txt").write_text(" \n")
    found = corpus.load(str(tmp_path))
    assert [document.name for document in found.documents] == ["a.py", "deep/b.txt"]
    assert "é" in found.documents[0].text


def test_what_cannot_be_read_is_said_in_three_lines(tmp_path, stdlib: Corpus):
    with pytest.raises(GeowallError, match=r"there is no corpus\n  why: .*\n  fix: "):
        corpus.load(str(tmp_path))
    with pytest.raises(GeowallError, match="use language, held_out"):
        stdlib.split("validation")
    with pytest.raises(GeowallError, match="is empty"):
        Corpus("x", "", (Document("json/decoder.py", "x"),)).split("sae")


def test_a_data_set_is_streamed_until_there_is_enough(tmp_path):
    texts = [f"text {i} " + "x" * 92 for i in range(600)]
    for shard in range(2):
        table = pd.DataFrame({"id": range(300), "text": texts[300 * shard : 300 * (shard + 1)]})
        table.to_parquet(tmp_path / f"{shard}.parquet", row_group_size=64)
    opened = []

    class Watched(type(fsspec.filesystem("file"))):
        def open(self, path, mode="rb", **kw):
            opened.append(path)
            return super().open(path, mode, **kw)

    paths = sorted(str(path) for path in tmp_path.glob("*.parquet"))
    found = list(corpus.rows(Watched(), paths, characters=10_000))
    assert [document.text for document in found] == texts[: len(found)] and 98 <= len(found) <= 102
    assert opened == paths[:1]
    assert len({document.name for document in corpus.rows(Watched(), paths, 10**9)}) == 600


def test_packing_loses_no_character_and_pads_nothing(small):
    part, tokenizer = small
    packed = tokens.pack(part, tokenizer, context=64)
    assert (packed.ids[:, 0] == tokenizer.bos_token_id).all()
    assert (packed.ids[:, 1:] >= len(tokens.SPECIAL)).all() and (packed.document[:, 0] == -1).all()
    stream = [values[:, 1:].flatten() for values in (packed.ids, packed.document, packed.start, packed.end)]
    ids, document, start, end = stream
    total = len(tokens.stream(part, tokenizer))
    assert 0 <= total - len(ids) < 63
    first = part.documents[0].text
    count = int((document == 0).sum())
    assert tokenizer.decode(ids[:count]) == first[: end[count - 1]]
    assert start[0] == 0 and (start[1:count] == end[: count - 1]).all() and first.isascii()
    assert packed.place[:, 1:].flatten()[:count].tolist() == list(range(count))
    assert packed.names[int(document[-1])] == part.documents[int(document[-1])].name


def test_packing_draws_by_seed_and_refuses_too_little(small):
    part, tokenizer = small
    whole = tokens.pack(part, tokenizer, context=128)
    drawn = [tokens.pack(part, tokenizer, context=128, limit=20, seed=seed) for seed in (1, 1, 2)]
    assert torch.equal(drawn[0].ids, drawn[1].ids) and not torch.equal(drawn[0].ids, drawn[2].ids)
    rows = {tuple(row) for row in whole.ids.tolist()}
    assert len(drawn[0]) == 20 and all(tuple(row) in rows for row in drawn[0].ids.tolist())
    assert (drawn[0].place[1:, 1] > drawn[0].place[:-1, 1])[
        drawn[0].document[1:, 1] == drawn[0].document[:-1, 1]
    ].all()
    tiny = Corpus("x", "", (Document("a", "x = 1\n"),))
    with pytest.raises(GeowallError, match="nothing was packed"):
        tokens.pack(tiny, tokenizer, context=64)


def test_a_tokenizer_survives_the_disk(small, tmp_path):
    from transformers import AutoTokenizer

    part, tokenizer = small
    tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)
    text = part.documents[3].text[:2000]
    assert again(text)["input_ids"] == tokenizer(text)["input_ids"]
    assert again(text)["input_ids"][0] == again.bos_token_id == 2 and again.pad_token_id == 0


def at(text: str, piece: str, shift: int = 0) -> dict[str, int | str]:
    """Labels of the character where a piece of a text begins."""
    found = labels.characters(text)
    place = text.index(piece) + shift
    token_class = int(found.token_class[place])
    values = {name: int(getattr(found, name)[place]) for name in labels.MANIFOLDS}
    return {"class": labels.CLASSES[token_class] if token_class >= 0 else "", **values}


@pytest.mark.parametrize(
    ("piece", "shift", "expected"),
    [
        ('"""A', 0, {"class": "string", "column": 0, "indentation": 0, "in_identifier": -1}),
        ("Of two", 0, {"class": "string", "column": 0}),
        ("import", 0, {"class": "keyword"}),
        ("class", 0, {"class": "keyword", "column": 0}),
        ("# a", 4, {"class": "comment", "column": 26, "bracket": 0}),
        ("    def", 2, {"class": "indentation", "column": 2, "indentation": 1}),
        ("first_name=", 6, {"class": "name", "in_identifier": 6, "bracket": 1, "indentation": 1}),
        ("[1", 0, {"class": "operator", "bracket": 1}),
        ("1, (", 0, {"class": "number", "bracket": 2}),
        ("2, 3", 0, {"class": "number", "bracket": 3}),
        (")]):", 0, {"class": "operator", "bracket": 2}),
        ("if first", 0, {"class": "keyword", "indentation": 2, "in_identifier": -1}),
        ("'end'", 0, {"class": "string", "indentation": 3, "column": 19}),
        ('"key"', 0, {"class": "string", "bracket": 1, "indentation": 0}),
    ],
)
def test_each_character_has_the_label_that_python_gives_it(piece: str, shift: int, expected: dict):
    found = at(SOURCE, piece, shift)
    assert {name: found[name] for name in expected} == expected


def test_what_python_cannot_read_keeps_its_columns():
    text = SOURCE.replace("\treturn", "   return")  # fits no indentation
    broken, known, lost = labels.characters(text), text.index("if first"), text.index("last = ")
    assert broken.token_class[known] == labels.CLASSES.index("keyword")
    assert broken.token_class[lost] == -1 and broken.column[lost + 3] == 3
    prose = labels.characters("It's no 'Python\n  at all")
    assert prose.column.tolist()[:3] == [0, 1, 2] and prose.column[18] == 2


def test_tokens_take_the_label_of_their_first_letter(small):
    part, tokenizer = small
    packed = tokens.pack(part, tokenizer, context=64, limit=200)
    found, rows = labels.label(packed, part), labels.table(packed, part)
    assert len(rows) == 200 * 63 and (found.column[:, 0] == -1).all()
    counts = rows.token_class.value_counts()
    assert set(counts.index) == set(labels.CLASSES) and counts["string"] > counts["number"]
    for row in rows.sample(300, random_state=0).itertuples():
        text = part.documents[row.document].text
        start = int(packed.start[row.sequence, row.position])
        piece = text[start : int(packed.end[row.sequence, row.position])]
        first = start + len(piece) - len(piece.lstrip()) if piece.strip() else start
        assert row.column == first - (text.rfind("\n", 0, first) + 1)
        if row.token_class in ("name", "keyword"):
            assert (text[first].isalnum() or text[first] == "_") and (row.in_identifier >= 0) == (
                row.token_class == "name"
            )
        if row.token_class == "indentation":
            assert piece.isspace() and row.column == 0


def test_the_table_of_chosen_places_is_part_of_the_whole(small):
    part, tokenizer = small
    packed = tokens.pack(part, tokenizer, context=64, limit=10)
    places = torch.tensor([1, 5, 64 + 2, 9 * 64 + 63])
    whole = labels.table(packed, part).set_index(["sequence", "position"])
    chosen = labels.table(packed, part, places).set_index(["sequence", "position"])
    pd.testing.assert_frame_equal(chosen, whole.loc[chosen.index])
    assert chosen.index.tolist() == [(0, 1), (0, 5), (1, 2), (9, 63)]
