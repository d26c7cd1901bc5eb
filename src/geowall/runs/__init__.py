"""Runs: from parameters to a folder with an executed page, its tables and its provenance.

A notebook needs one name of this package, ``start``; everything else serves the command line
(``python -m geowall``).
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

# Said by tqdm, which model libraries import, where there are no widgets: a stray line in a page.
warnings.filterwarnings("ignore", message="IProgress not found")

if TYPE_CHECKING:
    from geowall.runs.session import Run


def start(chapter: str, namespace: dict[str, Any]) -> Run:
    """Check a notebook's parameters and open its run: see :func:`geowall.runs.session.start`."""
    # Charts and tables take two seconds to import, which `geowall --help` should not.
    from geowall.runs import session

    return session.start(chapter, namespace)
