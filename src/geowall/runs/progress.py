"""Where a run stands: chapter, cell, elapsed, and the time left as the last run of the chapter foretells it.

All of it goes to the terminal; nothing of it reaches a page.

>>> import io
>>> out = io.StringIO()
>>> watch = Progress("08_geometry_regression", [1.0, 3.0], out)
>>> watch.cell(0, 2)
>>> "cell 1/2" in out.getvalue() and "4 s left" in out.getvalue()
True
"""

from __future__ import annotations

import os
import sys
import time
from typing import TextIO

LINES = "GEOWALL_LINES"  # set where several chapters share a terminal, so that none rewrites another's line
_EVERY = 5.0  # seconds between two lines where the output is a file or a pipe


class Progress:
    """A watcher of one chapter's cells: one rewritten line on a terminal, a line now and then elsewhere."""

    def __init__(
        self,
        chapter: str,
        past_seconds: list[float] | None = None,
        out: TextIO | None = None,
        seconds: float | None = None,
    ) -> None:
        """Take the seconds each cell took last time, or what all of them are known to take together."""
        self.chapter, self.past, self.out = chapter, past_seconds or [], out or sys.stderr
        self.whole, self.live = seconds, self.out.isatty() and LINES not in os.environ
        self.began, self.said = time.monotonic(), -_EVERY

    def cell(self, index: int, total: int) -> None:
        """Say that cell ``index`` of ``total`` begins."""
        gone = time.monotonic() - self.began
        left = sum(self.past[index:]) if len(self.past) == total else (self.whole or 0.0) - gone
        told = f", about {duration(left)} left" if left > 0 else ""
        self.say(f"cell {index + 1}/{total}  {duration(gone)}{told}")

    def say(self, text: str) -> None:
        """Rewrite the line of a terminal; elsewhere write a new one if the last is a while ago."""
        now = time.monotonic()
        if self.live or now - self.said >= _EVERY:
            self.said, line = now, f"{self.chapter}  {text}"
            start, end = ("\r\033[K", "") if self.live else ("", "\n")
            print(f"{start}{line}", end=end, file=self.out, flush=True)

    def wait(self) -> None:
        """Say that another process makes this run."""
        print(f"{self.chapter}  waiting: another process is making this very run", file=self.out, flush=True)

    def close(self, message: str) -> None:
        """Replace the line by a last one."""
        start = "\r\033[K" if self.live else ""
        print(f"{start}{self.chapter}  {message}", file=self.out, flush=True)


def duration(seconds: float) -> str:
    """Write a time as a person says it.

    >>> duration(4.2), duration(95), duration(7300)
    ('4 s', '1 min 35 s', '2 h 1 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
