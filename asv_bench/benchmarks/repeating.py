"""By how much repeated measurements of a figure differ: alone, and beside a loaded CPU.

Each is made in a process of its own, as ``python -m sharedarray bench`` does. They take so long
that they run only with SHAREDARRAY_BENCH_FULL=1.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager, nullcontext
from pathlib import Path
from statistics import median

from report.measuring import measure
from report.table import cases

from benchmarks.common import FULL
from benchmarks.figures import FIGURES

TIMES = 5
# Name -> the case in full, and in quick.
RATIOS = {
    in_full.name: (in_full, quick)
    for in_full, quick in zip(cases(FIGURES, False), cases(FIGURES, True), strict=True)
    if in_full.unit == "x"
}
# Busy for half of the time, in turns that are longer than those of the system.
LOAD = """
from time import perf_counter, sleep
while True:
    end = perf_counter() + 0.25
    while perf_counter() < end:
        pass
    sleep(0.25)
"""


class TrackRepeated:
    """From the smallest to the largest of five, in per cent of their median."""

    params = [[*RATIOS], ["full", "quick"], ["nothing", "half a CPU"]]
    param_names = ["figure", "size", "load"]
    unit = "%"
    timeout = 600

    def setup(self, name, size, load):
        if not FULL:
            raise NotImplementedError("set SHAREDARRAY_BENCH_FULL=1")
        if size == "quick" and not RATIOS[name][1].is_smaller:
            raise NotImplementedError("it has one size only")

    def track_range(self, name, size, load):
        with nullcontext() if load == "nothing" else half_a_cpu():
            values = [measured(RATIOS[name][size == "quick"]) for _ in range(TIMES)]
        return (max(values) - min(values)) / median(values) * 100


def measured(case):
    """Return what a new process finds."""
    folder = Path(__file__).resolve().parent.parent
    outcome = measure(folder, case.benchmark, case.params, os.environ)
    if outcome.value is None:
        raise NotImplementedError(outcome.why)
    return outcome.value


@contextmanager
def half_a_cpu():
    """Let another program take one CPU for half of the time."""
    process = subprocess.Popen([sys.executable, "-c", LOAD])
    try:
        yield
    finally:
        process.kill()
        process.wait()
