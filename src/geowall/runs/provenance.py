"""Where a result comes from: sources, versions, device, and what it cost.

>>> sorted(versions())[:2]
['altair', 'geowall']
"""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import sys
from importlib import metadata
from typing import Any

from geowall import __version__
from geowall.paths import ROOT

# The libraries whose version can change a number or a picture.
_LIBRARIES = (
    "altair",
    "nnsight",
    "numba",
    "numpy",
    "pandas",
    "pyarrow",
    "scikit-learn",
    "scipy",
    "tokenizers",
    "torch",
    "transformers",
    "vl-convert-python",
)

# What publishing one chapter changes must not make the next one look as if its sources had changed.
_WRITTEN_BY_PUBLISH = ("README.md", "book/chapters", "book/costs.json", "book/picture.png")


def versions() -> dict[str, str]:
    """Return the versions of Python, of the package and of the libraries that results depend on."""
    found = {name: metadata.version(name) for name in _LIBRARIES}
    return {"python": platform.python_version(), "geowall": __version__, **found}


def device() -> str:
    """Name the device: the GPU where a chapter has loaded torch and finds one, else the processor."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return torch.cuda.get_device_name(0)
    return f"cpu ({platform.machine()})"


def dtype(parameters: dict[str, Any]) -> str:
    """Name the precision: the chapter's own parameter, else what torch was told, else NumPy's default."""
    torch = sys.modules.get("torch")
    default = "float64" if torch is None else str(torch.get_default_dtype()).removeprefix("torch.")
    return str(parameters.get("dtype", default))


def cores() -> int:
    """Return the number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def peak_memory_mb() -> float:
    """Return the largest resident memory of this process so far, in megabytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1024 if sys.platform != "darwin" else 1024**2), 1)


def git_state() -> dict[str, str | bool | None]:
    """Return the commit the tree stands on and whether a file that somebody wrote differs from it."""
    excluded = (f":(exclude){name}" for name in _WRITTEN_BY_PUBLISH)
    sha, changes = _git("rev-parse", "HEAD"), _git("status", "--porcelain", "--", ".", *excluded)
    return {"sha": sha, "dirty": None if changes is None else bool(changes)}


def is_committed(path: str) -> bool:
    """Tell whether git has the file at ``path``, relative to the root, and so can bring it back."""
    return bool(_git("ls-tree", "-r", "--name-only", "HEAD", "--", path))


def _git(*arguments: str) -> str | None:
    """Return what a git command says; None where it fails or there is no git: an archive runs as a clone."""
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
