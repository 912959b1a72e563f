"""Every reduction and elementwise way at every size: none may be slower than NumPy's own call."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np

import sharedarray
from benchmarks.common import data, skip_unless_full

SIZES = [10**k for k in range(9)]
QUICK_SIZE = 10**6
# Seconds: what the dispatch costs beside NumPy's own call, which no size is blamed for.
FIXED = 3e-6
# Calls that are timed together take at least so long, in seconds; pairs of such turns.
TURN = 2e-4
PAIRS = 15


def fill(a, b, out):
    out.fill(1.0)


def add_in_place(a, b, out):
    out += b


OPERATIONS: dict[str, Callable[..., Any]] = {
    "sum": lambda a, b, out: np.sum(a),
    "prod": lambda a, b, out: np.prod(a),
    "min": lambda a, b, out: np.min(a),
    "max": lambda a, b, out: np.max(a),
    "ptp": lambda a, b, out: np.ptp(a),
    "mean": lambda a, b, out: np.mean(a),
    "std": lambda a, b, out: np.std(a),
    "any": lambda a, b, out: np.any(a < 0),
    "count_nonzero": lambda a, b, out: np.count_nonzero(a),
    "argmin": lambda a, b, out: np.argmin(a),
    "nansum": lambda a, b, out: np.nansum(a),
    "nanmean": lambda a, b, out: np.nanmean(a),
    "dot": lambda a, b, out: np.dot(a, b),
    "cumsum": lambda a, b, out: np.cumsum(a),
    "exp": lambda a, b, out: np.exp(a),
    "log": lambda a, b, out: np.log(a),
    "sin": lambda a, b, out: np.sin(a),
    "add": lambda a, b, out: a + b,
    "add into out": lambda a, b, out: np.add(a, b, out=out),
    "add in place": add_in_place,
    "less": lambda a, b, out: a < b,
    "fill": fill,
}


def slowdown(of_numpy: Callable[[], Any], ours: Callable[[], Any]) -> float:
    """Return how many times as long ours takes, beyond the fixed cost: the median over pairs."""

    def turn(work: Callable[[], Any], n_calls: int) -> float:
        began = perf_counter()
        for _ in range(n_calls):
            work()
        return (perf_counter() - began) / n_calls

    n_calls = max(1, round(TURN / max(turn(of_numpy, 2), 1e-8)))
    turn(ours, 2)
    n_pairs = PAIRS if n_calls > 1 else PAIRS // 2
    ratios = []
    for _ in range(n_pairs):
        seconds = turn(of_numpy, n_calls)
        ratios.append((turn(ours, n_calls) - FIXED) / seconds)
    return statistics.median(ratios)


class TrackSweep:
    params = [SIZES, ["f8", "i8"], [*OPERATIONS]]
    param_names = ["size", "dtype", "operation"]
    unit = "x NumPy's time"
    timeout = 600

    def setup(self, size, dtype, operation):
        skip_unless_full(size, QUICK_SIZE)
        values = data(size, dtype, "random")
        self.private = [values.copy() for _ in range(3)]
        self.shared = [sharedarray.array(values) for _ in range(3)]

    def track_slowdown(self, size, dtype, operation):
        run = OPERATIONS[operation]
        with np.errstate(all="ignore"):
            return slowdown(lambda: run(*self.private), lambda: run(*self.shared))
