"""Benchmarks of sharedarray beside NumPy, run by asv from the folder above."""
