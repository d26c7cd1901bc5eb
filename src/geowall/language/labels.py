"""Exact labels of Python source: the class of every token, and coordinates with a known value.

Python's own tokenizer reads each document; a token of the language model takes the label of its first
character that is no space (of its first character, if all are spaces). The coordinates are ordinal manifolds
whose parameter is known: the column in the line, the depth of indentation, the depth of brackets and the
place in the identifier.

>>> label = characters("if x:\\n    my_name = f(1)  # note\\n")
>>> [CLASSES[i] for i in label.token_class[[0, 3, 6, 10, 18, 22, 26]]]
['keyword', 'name', 'indentation', 'name', 'operator', 'number', 'comment']
>>> label.column[10].item(), label.indentation[10].item(), label.in_identifier[13].item()
(4, 1, 3)
>>> label.bracket[22].item(), label.bracket[10].item(), label.in_identifier[22].item()
(1, 0, -1)
"""

from __future__ import annotations

import io
import keyword
import tokenize
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np
import pandas as pd
import torch
from jaxtyping import Int
from torch import Tensor

from geowall.language.corpus import Corpus
from geowall.language.tokens import Packed

CLASSES = ("keyword", "name", "number", "string", "comment", "operator", "indentation", "newline")
MANIFOLDS = ("column", "indentation", "bracket", "in_identifier")
_KIND = {
    tokenize.NUMBER: "number",
    tokenize.STRING: "string",
    tokenize.COMMENT: "comment",
    tokenize.OP: "operator",
    tokenize.NEWLINE: "newline",
    tokenize.NL: "newline",
    **{
        getattr(
            tokenize, name
        ): "string"  # the parts of an f-string have tokens of their own from Python 3.12
        for name in ("FSTRING_START", "FSTRING_MIDDLE", "FSTRING_END")
        if hasattr(tokenize, name)
    },
}


@dataclass(frozen=True)
class Labels:
    """A label of each kind for every token, or every character; -1 where there is none.

    ``token_class`` counts into CLASSES; ``column`` is in characters from the start of the line;
    ``indentation`` and ``bracket`` are depths; ``in_identifier`` is in characters from its start, in names
    that are no keywords.
    """

    token_class: Int[Tensor, "*shape"]
    column: Int[Tensor, "*shape"]
    indentation: Int[Tensor, "*shape"]
    bracket: Int[Tensor, "*shape"]
    in_identifier: Int[Tensor, "*shape"]


def label(packed: Packed, part: Corpus) -> Labels:
    """Label every token [sequence, position] of a packed part of the corpus.

    What Python cannot read (a document that is no Python, the rest of one that breaks off) has a column and
    nothing else.
    """
    made = {field.name: torch.full(packed.ids.shape, -1, dtype=torch.int16) for field in fields(Labels)}
    for index in packed.document.unique().tolist():
        if index < 0:
            continue
        text = part.documents[index].text
        here = packed.document == index
        first = _first_letters(text, packed.start[here].long(), packed.end[here].long())
        known = characters(text)
        for name, values in made.items():
            values[here] = getattr(known, name)[first]
    return Labels(**made)


def table(
    packed: Packed, part: Corpus, places: Int[Tensor, " row"] | Sequence[int] | None = None
) -> pd.DataFrame:
    """The same as a table, a row a token, with where it stands: sequence, position, document and place.

    ``places`` are the wanted tokens, counted over the flattened sequences (those that a store of activations
    keeps, for instance); all but BOS by default.
    """
    labels = label(packed, part)
    flat = torch.nonzero((packed.document >= 0).flatten()).flatten() if places is None else places
    flat = torch.as_tensor(flat).long()
    columns = {
        "sequence": flat // packed.ids.shape[1],
        "position": flat % packed.ids.shape[1],
        "document": packed.document.flatten()[flat],
        "place": packed.place.flatten()[flat],
        **{field.name: getattr(labels, field.name).flatten()[flat] for field in fields(Labels)},
    }
    rows = pd.DataFrame({name: value.numpy() for name, value in columns.items()})
    return rows.assign(token_class=pd.Categorical.from_codes(rows.token_class, CLASSES))


def characters(text: str) -> Labels:
    """Label every character of a Python source; one more stands for its end."""
    lines = io.StringIO(text).readlines() or [""]  # as Python's tokenizer counts them: a form feed ends none
    starts = np.concatenate([[0], np.cumsum([len(line) for line in lines])])
    size = len(text) + 1
    made = {field.name: np.full(size, -1, np.int16) for field in fields(Labels)}
    for start, line in zip(starts, lines, strict=False):
        made["column"][start : start + len(line)] = np.minimum(np.arange(len(line)), 2**15 - 1)
    for token, depth, bracket in _read(text):
        if token.start[0] > len(lines):
            continue
        begin, end = starts[token.start[0] - 1] + token.start[1], _offset(starts, token.end, size)
        _fill(made, token, begin, end, depth, bracket)
        if token.line[: token.start[1]].isspace() and token.type not in (tokenize.DEDENT, tokenize.INDENT):
            made["token_class"][begin - token.start[1] : begin] = CLASSES.index("indentation")
            made["indentation"][begin - token.start[1] : begin] = depth
            made["bracket"][begin - token.start[1] : begin] = bracket
    return Labels(**{name: torch.from_numpy(values) for name, values in made.items()})


def _fill(made: dict[str, np.ndarray], token: tokenize.TokenInfo, begin: int, end: int, *depths: int) -> None:
    """Write the labels of one token of Python's over its characters, and the space before it."""
    kind = _KIND.get(token.type)
    if token.type == tokenize.NAME:
        kind = "keyword" if keyword.iskeyword(token.string) else "name"
    if kind is None:
        return
    made["token_class"][begin:end] = CLASSES.index(kind)
    made["indentation"][begin:end], made["bracket"][begin:end] = depths
    if kind == "name":
        made["in_identifier"][begin:end] = np.arange(end - begin)


def _read(text: str) -> Iterator[tuple[tokenize.TokenInfo, int, int]]:
    """Python's tokens with the depth of indentation and of brackets each stands at, as far as it can read."""
    depth = bracket = 0
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.INDENT:
                depth += 1
            elif token.type == tokenize.DEDENT:
                depth -= 1
            closes = token.type == tokenize.OP and token.string in ")]}"
            bracket = max(0, bracket - closes)  # a bracket stands at the depth around it
            yield token, depth, bracket
            bracket += token.type == tokenize.OP and token.string in "([{"
    except (tokenize.TokenError, IndentationError, SyntaxError):
        return


def _offset(starts: np.ndarray, place: tuple[int, int], size: int) -> int:
    line, column = place
    return min(int(starts[line - 1]) + column, size) if line <= len(starts) else size


def _first_letters(text: str, start: Tensor, end: Tensor) -> Tensor:
    """For each span of characters, its first that is no space, or its first."""
    letters = np.array([not letter.isspace() for letter in text] + [True])
    following = np.where(letters, np.arange(len(letters)), len(letters))
    following = torch.from_numpy(np.minimum.accumulate(following[::-1])[::-1].copy())
    first = following[start]
    return torch.where(first < end, first, start)
