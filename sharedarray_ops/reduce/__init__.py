"""Sums, extremes and other reductions, and cumulative ones."""
