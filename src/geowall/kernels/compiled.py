"""C++ sources of this folder, compiled on first use for the machine at hand, and kept.

There is nothing to install: any ``c++``, ``g++`` or ``clang++`` will do, and where there is none the callers
take their pure-torch path.

>>> library("small_sae.cpp", D_MODEL=3) is library("small_sae.cpp", D_MODEL=3)
True
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import uuid
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent
FLAGS = ["-O3", "-std=c++17", "-fno-math-errno", "-fno-trapping-math", "-fopenmp-simd", "-shared", "-fPIC"]


@cache
def library(source: str, **macros: int) -> ctypes.CDLL | None:
    """Load a source of this folder compiled with the given macros; None where it cannot be compiled.

    ``GEOWALL_NO_COMPILER=1`` in the environment makes every machine one without a compiler.
    """
    compiler = next(filter(None, map(shutil.which, ("c++", "g++", "clang++"))), None)
    if compiler is None or os.environ.get("GEOWALL_NO_COMPILER") == "1":
        return None
    defines = [f"-D{name}={value}" for name, value in sorted(macros.items())]
    key = "\0".join([(FOLDER / source).read_text(), compiler, *FLAGS, *defines, _machine()])
    path = _cache_folder() / f"{Path(source).stem}-{hashlib.sha256(key.encode()).hexdigest()[:20]}.so"
    if not path.exists() and not _compile(compiler, FOLDER / source, defines, path):
        return None
    return ctypes.CDLL(str(path))


def _compile(compiler: str, source: Path, defines: list[str], path: Path) -> bool:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(f".{uuid.uuid4().hex}")
    for tuning in (["-march=native"], ["-mcpu=native"], []):
        command = [compiler, *FLAGS, *tuning, *defines, str(source), "-o", str(beside)]
        if subprocess.run(command, capture_output=True, check=False).returncode == 0:
            beside.replace(path)  # whole or absent, also when two processes compile at once
            return True
    return False


def _cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "geowall"


def _machine() -> str:
    """What ``-march=native`` depends on: a home shared by two kinds of machine must not share libraries."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        return next((line for line in info.read_text().splitlines() if line.startswith("flags")), "")
    return platform.platform() + platform.processor()
