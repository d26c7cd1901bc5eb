"""What a chapter's parameters cell declares, and the check of every value against it before any compute.

The cell is the only place where a parameter is defined. Its annotation gives the type, and its comment opens
with the range of allowed values. The items of a list have the type of the default's items, and more of what
its comment can say is in :mod:`geowall.runs.lists`:

>>> cell = '''
... k: int = 50  # [5, 500] latents; sparsity at which the exponent is read
... source: str = "published"  # {published, lab} where the numbers come from
... betas: list = [0.02, 0.3]  # [0.001, 5] each; decay exponents
... '''
>>> declared = parse(cell)
>>> declared["k"].check("75"), declared["betas"].check([0.5])
(75, [0.5])
>>> declared["k"].check(1000)
Traceback (most recent call last):
...
geowall.runs.parameters.ParameterError: parameter k = 1000 was refused before anything ran
  why: it must be at most 500
  fix: k: int in [5, 500], 50 by default: latents; sparsity at which the exponent is read
"""

from __future__ import annotations

import ast
import difflib
import io
import math
import re
import tokenize
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import yaml

from geowall.paths import RefusedError
from geowall.runs import lists

TYPES = {"int": int, "float": float, "str": str, "bool": bool, "list": list}
PROFILES = ("quick", "full", "gemma")


class ParameterError(RefusedError):
    """A parameter was refused. Nothing has run."""


@dataclass(frozen=True)
class Parameter:
    """One line of a parameters cell: ``name: type = default  # [low, high] or {a, b}, then its meaning``."""

    name: str
    type: type
    default: Any
    low: float = -math.inf
    high: float = math.inf
    choices: tuple[str, ...] = ()
    meaning: str = ""
    shape: lists.Shape = lists.FILLED

    @property
    def item(self) -> type | None:
        """The type of the values that are in range: a list's are its items. None: any."""
        if self.type is not list:
            return self.type
        return lists.item_type(self.default, self.low, self.high, self.choices)

    def __str__(self) -> str:
        """Describe the parameter in one line."""
        allowed = f" in [{self.low:g}, {self.high:g}]" if math.isfinite(self.high) else ""
        allowed = f" in {{{', '.join(self.choices)}}}" if self.choices else allowed
        allowed += f" {self.shape.words}" if self.shape.words else ""
        return f"{self.name}: {self.type.__name__}{allowed}, {self.default!r} by default: {self.meaning}"

    def check(self, value: Any) -> Any:
        """Return ``value`` as this parameter's type, or raise :class:`ParameterError`.

        Text is read as the declared type, as it comes from a command line; see :meth:`check_typed` for
        values that already have a type.
        """
        return self.check_typed(self._read(value) if isinstance(value, str) else value)

    def check_typed(self, value: Any) -> Any:
        """Return ``value``, which must have the declared type and lie in the declared range."""
        if self.type is float and type(value) is int:
            value = float(value)
        if type(value) is not self.type:
            raise self._refused(
                value, f"it is {_kind(value)} where {_KINDS[self.type]} belongs{_hint(value)}"
            )
        if self.type is list:
            value = [float(item) if self.item is float and type(item) is int else item for item in value]
        for item in value if self.type is list else [value]:
            self._check_item(value, item)
        if self.type is list and (why := self.shape.refuses(value)):
            raise self._refused(value, why)
        return value

    def _check_item(self, value: Any, item: Any) -> None:
        if self.item is not None and type(item) is not self.item:
            belongs = _KINDS[self.item]
            raise self._refused(value, f"{item!r} is {_kind(item)} where {belongs} belongs{_hint(item)}")
        if self.choices:
            if str(item) not in self.choices:
                near = difflib.get_close_matches(str(item), self.choices, 1)
                raise self._refused(
                    value, "it is none of the choices" + (f"; did you mean {near[0]}?" if near else "")
                )
        elif self.item in (int, float):
            if not math.isfinite(item):
                raise self._refused(value, "it must be finite")
            if not self.low <= item <= self.high:
                bound = f"at least {self.low:g}" if item < self.low else f"at most {self.high:g}"
                raise self._refused(value, f"it must be {bound}")

    def _read(self, text: str) -> Any:
        if self.type is str:
            return text
        if self.type is bool and text.lower() in ("true", "false"):
            return text.lower() == "true"
        if self.type is list:
            return lists.from_text(text)
        try:
            value = ast.literal_eval(text.strip())
        except (ValueError, SyntaxError):
            return text
        return int(value) if self.type is int and isinstance(value, float) and value.is_integer() else value

    def _refused(self, value: Any, why: str) -> ParameterError:
        return ParameterError(
            f"parameter {self.name} = {value!r} was refused before anything ran", why, str(self)
        )


_KINDS = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", list: "a list"}


def _kind(value: Any) -> str:
    return _KINDS.get(type(value), type(value).__name__)


def _hint(value: Any) -> str:
    """Explain the one trap of YAML that everybody falls into: it reads 1e-3 as text."""
    if isinstance(value, str) and re.fullmatch(r"[-+]?\d+[eE][-+]?\d+", value):
        return f" (YAML reads {value} as text: write {value.replace('e', '.0e').replace('E', '.0e')})"
    return ""


def parse(cell: str) -> dict[str, Parameter]:
    """Read the declarations of a parameters cell, in order."""
    comments = {
        token.start[0]: token.string.lstrip("# ")
        for token in tokenize.generate_tokens(io.StringIO(cell).readline)
        if token.type == tokenize.COMMENT
    }
    declared = {}
    for node in ast.parse(cell).body:
        if not isinstance(node, ast.AnnAssign) or getattr(node.annotation, "id", None) not in TYPES:
            raise ValueError(
                f"a parameters cell holds `name: type = literal  # meaning` alone, not {ast.unparse(node)}"
            )
        default = ast.literal_eval(node.value)
        comment = comments.get(node.end_lineno, "")
        declared[node.target.id] = _declare(node.target.id, TYPES[node.annotation.id], default, comment)
    return declared


def _declare(name: str, kind: type, default: Any, comment: str) -> Parameter:
    interval = re.match(r"\[\s*([-+.\deE]+)\s*,\s*([-+.\deE]+)\s*\]\s*(.*)", comment)
    choices = re.match(r"\{([^}]*)\}\s*(.*)", comment)
    if interval:
        low, high, rest = interval.groups()
        bounds = {"low": float(low), "high": float(high)}
    elif choices:
        bounds = {"choices": tuple(choice.strip() for choice in choices[1].split(","))}
        rest = choices[2]
    else:
        bounds, rest = {}, comment
    shape, meaning = lists.read(rest) if kind is list else (lists.FILLED, rest)
    return Parameter(name, kind, default, meaning=meaning, shape=shape, **bounds)


def declared_in(notebook: Path) -> dict[str, Parameter]:
    """Read the declarations of a notebook's cell tagged ``parameters``."""
    cells = nbformat.read(notebook, as_version=4).cells
    tagged = [cell.source for cell in cells if "parameters" in cell.metadata.get("tags", [])]
    return parse(tagged[0]) if tagged else {}


def refuse_unknown(names: list[str], declared: dict[str, Parameter], chapter: str) -> None:
    """Raise :class:`ParameterError` for the first name that the chapter does not declare."""
    for name in names:
        if name not in declared:
            near = difflib.get_close_matches(name, declared, 1, cutoff=0.4)
            guess = f"did you mean {near[0]}? " if near else ""
            valid = ", ".join(declared) or "none"
            raise ParameterError(
                f"unknown parameter {name!r}: nothing ran",
                f"{guess}{chapter} takes: {valid}",
                f"geowall run {chapter[:2]}" + (f" -p {near[0]}={declared[near[0]].default}" if near else ""),
            )


def resolve(
    declared: dict[str, Parameter],
    chapter: str,
    profile: dict[str, Any],
    files: dict[str, Any],
    given: dict[str, str],
) -> dict[str, Any]:
    """Check a profile's values, a file's and the command line's, each over the one before; return all."""
    checked: dict[str, Any] = {}
    for values, typed in ((profile, True), (files, True), (given, False)):
        refuse_unknown(list(values), declared, chapter)
        for name, value in values.items():
            parameter = declared[name]
            checked[name] = parameter.check_typed(value) if typed else parameter.check(value)
    return checked


def words(text: str) -> list[str]:
    """Split a text at its spaces, but not inside quotes or brackets; quotes around a whole value go.

    >>> words("k=75 betas=[0.1, 0.2] text='some folder'")
    ['k=75', 'betas=[0.1, 0.2]', 'text=some folder']
    """
    found = re.findall(r"""(?:"[^"]*"|'[^']*'|\[[^]]*\]|\S)+""", text)
    return [re.sub(r"""^(\w+=)(["'])((?:(?!\2).)*)\2$""", r"\1\3", word) for word in found]


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping of parameter names to values."""
    what, fix = f"the parameter file {path} was not read: nothing ran", "write `name: value` lines"
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except FileNotFoundError:
        raise ParameterError(what, "there is no such file", "check the path after -f") from None
    except OSError as error:
        raise ParameterError(what, error.strerror or str(error), "name a file after -f") from None
    except (yaml.YAMLError, ValueError) as error:  # a file that is not text, or no YAML
        raise ParameterError(what, " ".join(str(error).split()), fix) from None
    if not isinstance(content, dict):
        raise ParameterError(what, f"it holds {_kind(content)}, not a mapping", fix)
    for name in content:
        if not isinstance(name, str):
            raise ParameterError(what, f"the name {name!r} is {_kind(name)}, not a text", fix)
    return content
