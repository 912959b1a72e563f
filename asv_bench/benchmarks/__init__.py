"""Benchmarks for asv, each in a file named for what it measures."""

import sys
from pathlib import Path

# For the package `report` beside this one: asv looks for benchmarks here, and nowhere else.
sys.path.append(str(Path(__file__).resolve().parent.parent))
