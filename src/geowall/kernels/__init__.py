"""Compute kernels: one idea a file, a fast path, and a slow twin of three lines beside it."""
