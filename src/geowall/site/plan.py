"""The nine chapters of the argument, in order: what each asks, whether or not its page exists yet.

>>> len(PLAN), PLAN[7].name
(9, '08_geometry_regression')
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Planned:
    """A chapter as the book's map shows it."""

    name: str
    title: str
    question: str

    @property
    def number(self) -> int:
        """The chapter's place in the argument."""
        return int(self.name[:2])

    @property
    def docname(self) -> str:
        """Its page, relative to the root of the book and without suffix."""
        return f"book/chapters/{self.name}/{self.name}"


PLAN = (
    Planned(
        "01_capacity_allocation", "Capacity allocation", "How should a dictionary be shared among features?"
    ),
    Planned(
        "02_hyperspheres_and_shells",
        "Hyperspheres and shells",
        "How fast does the error of one manifold fall with latents, and when does it stop?",
    ),
    Planned(
        "03_projection_assumptions",
        "Projection assumptions",
        "Which concepts can each architecture see at all?",
    ),
    Planned(
        "04_activation_extraction",
        "Activation extraction",
        "What do we extract from a language model, what does it cost, and is it right?",
    ),
    Planned(
        "05_checkpoint_census",
        "Checkpoint census",
        "What are the error, sparsity, decoder neighbours and frequencies of every checkpoint?",
    ),
    Planned(
        "06_layer_geometry",
        "Layer geometry",
        "How curved is a layer, in how many dimensions, and do the estimators measure that?",
    ),
    Planned(
        "07_layer_scaling_laws",
        "Layer scaling laws",
        "Which law does each layer follow, with which exponent and floor, and how sure are we?",
    ),
    Planned(
        "08_geometry_regression",
        "The geometry regression",
        "Does a layer's geometry predict its exponent, and does the law transfer between models?",
    ),
    Planned("09_geometric_wall", "The geometric wall", "Is there a wall, and what would change our mind?"),
)
