"""Run several chapters, two at a time, each in its own process and after the chapters it reads."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from geowall.runs import provenance
from geowall.runs.chapters import Chapter, in_order
from geowall.runs.progress import LINES

SKIPPED = 3  # stands for the exit code of a chapter that was not started


def run_all(
    chosen: list[Chapter], arguments: Callable[[Chapter], list[str]], jobs: int | None = None
) -> dict[str, int]:
    """Run ``python -m geowall *arguments(chapter)`` for each chapter; return the exit codes by name.

    A chapter whose predecessor failed is not started and gets :data:`SKIPPED`.
    """
    # Chapters hold to one thread each, so two share two cores; more would fight over memory.
    workers = jobs or min(2, provenance.cores())
    environment = os.environ | (
        {LINES: "1"} if workers > 1 else {}
    )  # two cannot rewrite one line of a terminal
    done: dict[str, Future[int]] = {}

    def one(chapter: Chapter) -> int:
        if any(done[name].result() for name in chapter.after if name in done):
            return SKIPPED
        command = [sys.executable, "-m", "geowall", *arguments(chapter)]
        return subprocess.run(command, env=environment, check=False).returncode

    with ThreadPoolExecutor(workers) as pool:
        for chapter in in_order(chosen):  # predecessors come first, so waiting for one never starves the pool
            done[chapter.name] = pool.submit(one, chapter)
    return {name: future.result() for name, future in done.items()}
