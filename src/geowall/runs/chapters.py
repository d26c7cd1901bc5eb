"""The chapters of the book: their notebooks, profiles, order, and what each says about itself.

>>> find("08").name
'08_geometry_regression'
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat

from geowall.paths import ROOT
from geowall.runs import parameters


@dataclass(frozen=True)
class Chapter:
    """A source notebook of the book."""

    name: str
    notebook: Path

    @property
    def about(self) -> dict[str, Any]:
        """What the chapter says of itself: ``after``, ``needs``, ``minutes_to_read``, ``download_mb``."""
        return nbformat.read(self.notebook, as_version=4).metadata.get("geowall", {})

    @property
    def after(self) -> list[str]:
        """Names of the chapters whose tables this one reads."""
        return self.about.get("after", [])

    @property
    def published(self) -> Path:
        """The folder of the committed page, its tables and its provenance."""
        return ROOT / "book" / "chapters" / self.name

    def values(self, given: dict[str, Any]) -> dict[str, Any]:
        """Return every parameter: what is given, and the defaults of the parameters cell."""
        declared = parameters.declared_in(self.notebook)
        return {name: given.get(name, parameter.default) for name, parameter in declared.items()}

    def ask(self, name: str, given: dict[str, Any]) -> Any:
        """Call the function that the notebook's metadata names, ``module:function``, on all parameters.

        ``forecast`` foretells what a run costs; ``preflight`` refuses in seconds what a run cannot have.
        Returns None where the chapter names none.
        """
        if name not in self.about:
            return None
        module, function = self.about[name].split(":")
        return getattr(importlib.import_module(module), function)(self.values(given))

    def resolve(
        self, profile: str, files: dict[str, Any] | None = None, given: dict[str, str] | None = None
    ) -> dict[str, Any]:
        """Return the checked values that differ from the parameters cell: profile, then files, then given."""
        declared = parameters.declared_in(self.notebook)
        return parameters.resolve(
            declared, self.name, profile_of(self.name, profile), files or {}, given or {}
        )


def every() -> list[Chapter]:
    """Return all chapters in the order of the book."""
    return [Chapter(path.stem, path) for path in sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))]


def find(name: str) -> Chapter:
    """Return the chapter whose name or number is given, ``08`` or ``08_geometry_regression``."""
    known = {chapter.name: chapter for chapter in every()}
    wanted = Path(name).stem
    for chapter in known.values():
        if wanted in (chapter.name, chapter.name[:2], chapter.name[:2].lstrip("0")):
            return chapter
    near = difflib.get_close_matches(wanted, known, 1, cutoff=0.3)
    why = f"the chapters are: {', '.join(known)}"
    raise parameters.ParameterError(
        f"there is no chapter {name!r}: nothing ran", why, f"geowall run {near[0][:2] if near else '08'}"
    )


def in_order(chosen: Iterable[Chapter]) -> list[Chapter]:
    """Sort chapters so that each comes after the ones it reads."""
    return sorted(chosen, key=lambda chapter: chapter.name)


def profile_of(chapter: str, profile: str) -> dict[str, Any]:
    """Return what a profile changes in a chapter's parameters cell."""
    if profile not in parameters.PROFILES:
        near = difflib.get_close_matches(profile, parameters.PROFILES, 1)
        why = f"the profiles are: {', '.join(parameters.PROFILES)}"
        raise parameters.ParameterError(
            f"there is no profile {profile!r}: nothing ran", why, f"--profile {near[0] if near else 'quick'}"
        )
    return parameters.read_yaml(ROOT / "notebooks" / "params" / f"{profile}.yaml").get(chapter) or {}
