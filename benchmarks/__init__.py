"""Speed as ratios to named peers; see :mod:`benchmarks.measure` for the rules and ``results.json`` for the
numbers."""
