"""Run the benchmarks: ``python -m benchmarks [--small] [--only B7]``.

The full suite writes ``benchmarks/results.json``, from which the book's performance page is drawn.
``--small`` is for continuous integration: it writes nothing and fails only when a result is wrong, or when
the upper end of a ratio falls below 0.8 of the one recorded at the same small size (``--small --record``
records it).
"""

from __future__ import annotations

import argparse
import json
import sys
from importlib import import_module
from pathlib import Path

from benchmarks.measure import environment, pin_one_thread

RECORD = Path(__file__).resolve().parent / "results.json"
SUITE = {
    "B1": "b01_sweep",
    "B2": "b02_sparsemax",
    "B3": "b03_evaluation",
    "B4": "b04_neighbours",
    "B5": "b05_dimension",
    "B6": "b06_local_geometry",
    "B7": "b07_allocation",
    "B8": "b08_extraction",
    "B9": "b09_fits",
    "B10": "b10_book",
}  # imported when run: an environment made for one peer need not hold what the others import
TOLERATED = 0.8


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, and record or compare; the exit status says whether all is well."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="small sizes, compared with the record")
    parser.add_argument("--record", action="store_true", help="with --small: write what it is compared with")
    parser.add_argument("--only", choices=sorted(SUITE), help="run one benchmark")
    chosen = parser.parse_args(arguments)
    pin_one_thread()
    rows = [row for name in SUITE if chosen.only in (None, name) for row in _run(name, chosen.small)]
    for row in rows:
        print(describe(row))
    record = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
    if chosen.small and not chosen.record:
        slower = regressions(rows, record.get("small", []))
        print("\n".join(slower), file=sys.stderr, end="\n" if slower else "")
        return 1 if slower else 0
    place = "small" if chosen.small else "results"
    kept = unmeasured(record.get(place, []), rows)
    here = environment()
    versions = record.get("versions", {}) | here["versions"]  # a peer that is missing here measured elsewhere
    rows = sorted(rows + kept, key=lambda row: row["id"])
    record |= {**here, "versions": versions, place: rows}
    RECORD.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return 0


def _run(name: str, small: bool) -> list[dict]:
    return import_module(f"benchmarks.{SUITE[name]}").run(small)


def unmeasured(recorded: list[dict], rows: list[dict]) -> list[dict]:
    """What stays on record: benchmarks that did not run this time, and peers that are not installed here."""
    ran, peers = {row["id"] for row in rows}, {row.get("peer") for row in rows} | {None}
    return [row for row in recorded if row["id"] not in ran or row.get("peer") not in peers]


def regressions(rows: list[dict], recorded: list[dict]) -> list[str]:
    """A line for each ratio whose upper bound is below 0.8 of the recorded one; noisy rows accuse nobody."""
    before = {row["case"]: row["ratio"] for row in recorded if "ratio" in row}
    compared = [row for row in rows if row["case"] in before and not row["noisy"]]
    return [
        f"{row['id']} {row['case']}: at most {row['high']:.3g} times the peer, was {before[row['case']]:.3g}"
        for row in compared
        if row["high"] < TOLERATED * before[row["case"]]
    ]


def describe(row: dict) -> str:
    """One line of a result for the terminal."""
    head = f"{row['id']}  {row['case']}: "
    if "ratio" in row:
        noisy = "  noisy" if row["noisy"] else ""
        which = row.get("limit", "copy")
        limit = f", {row['share_of_limit']:.0%} of the {which} limit" if "share_of_limit" in row else ""
        return f"{head}{row['ratio']:.4g} times ({row['low']:.4g} to {row['high']:.4g}){limit}{noisy}"
    if "slope" in row:
        return f"{head}slope {row['slope']:.2f} ({row['slope_low']:.2f} to {row['slope_high']:.2f})"
    return f"{head}{row['seconds']:.4g} s"


if __name__ == "__main__":
    sys.exit(main())
