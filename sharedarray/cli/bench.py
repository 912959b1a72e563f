"""The command bench, whose benchmarks and tables are in the folder asv_bench of a clone."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

from sharedarray.cli.commands import Refused

__all__ = ["bench"]

# Beside the package in a clone; an installed copy has no such folder.
BENCHMARKS = Path(__file__).resolve().parent.parent.parent / "asv_bench"


def bench(args: argparse.Namespace, version: str) -> int:
    """Print the figures, measured; return 1 if a benchmark failed, else 0."""
    folder = BENCHMARKS if args.benchmarks is None else Path(args.benchmarks).resolve()
    if not (folder / "benchmarks" / "figures.py").is_file():
        raise Refused(
            f"there are no benchmarks in {str(folder)!r}: they are in the folder asv_bench of a "
            "clone of the repository; run this in the clone, or give --benchmarks"
        )
    home = folder if (folder / "report").is_dir() else BENCHMARKS
    if not (home / "report").is_dir():
        raise Refused(f"{str(folder)!r} has no folder report, as asv_bench of a clone has")
    sys.path.insert(0, str(home))
    try:
        table = importlib.import_module("report.table")
    finally:
        sys.path.remove(str(home))
    return int(table.bench(args, folder, version))
