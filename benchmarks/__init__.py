"""Speed as ratios to named peers; the rules are in :mod:`benchmarks.measure`."""
