"""Data by distribution, and the comparison of two ways to do the same work."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable
from functools import lru_cache
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

import sharedarray

IMPLEMENTATIONS = ["numpy", "sharedarray"]
WORKERS = ["1", "all"]

# Sizes of the published figures take minutes and gigabytes: only where they are asked for.
FULL = os.environ.get("SHAREDARRAY_BENCH_FULL") == "1"
PAIRS = 5  # at least
SECONDS = 2.0  # of measuring, at least: what is short is repeated more often

Data = NDArray[Any]


def random(n: int, dtype: np.dtype[Any]) -> Data:
    """Return uniform values: floats in [0, 1), integers over all of their range."""
    rng = np.random.default_rng(20)
    if dtype.kind == "f":
        return rng.random(n).astype(dtype)
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max, n, dtype, endpoint=True)


def ascending(n: int, dtype: np.dtype[Any]) -> Data:
    return np.sort(random(n, dtype))


def descending(n: int, dtype: np.dtype[Any]) -> Data:
    return ascending(n, dtype)[::-1].copy()


def equal(n: int, dtype: np.dtype[Any]) -> Data:
    return np.full(n, random(1, dtype))


def few_distinct(n: int, dtype: np.dtype[Any]) -> Data:
    return random(16, dtype)[np.random.default_rng(21).integers(16, size=n)]


def blocks(n: int, dtype: np.dtype[Any]) -> Data:
    """Return runs of 1,000 values, each one in order."""
    values = random(n, dtype)
    whole = values[: n - n % 1000].reshape(-1, 1000)
    whole.sort(axis=1)
    return values


DISTRIBUTIONS: dict[str, Callable[[int, np.dtype[Any]], Data]] = {
    "random": random,
    "sorted": ascending,
    "reversed": descending,
    "equal": equal,
    "few distinct": few_distinct,
    "blocks": blocks,
}


@lru_cache(maxsize=1)  # asv repeats `setup` before every sample
def data(size: int, dtype: str, distribution: str) -> Data:
    """Return an array of the named distribution; not to be written to."""
    a = DISTRIBUTIONS[distribution](size, np.dtype(dtype))
    a.flags.writeable = False
    return a


@lru_cache(maxsize=1)
def elements(size: int, dtype: str) -> Data:
    """Return random elements of any dtype; not to be written to."""
    rng = np.random.default_rng(22)
    wanted = np.dtype(dtype)
    if wanted.names is not None:
        a = np.zeros(size, wanted)
        for name in wanted.names:
            a[name] = random(size, wanted[name])
    elif wanted.kind == "c":
        a = (rng.normal(size=size) + 1j * rng.normal(size=size)).astype(wanted)
    elif wanted.kind in "SU":
        letter = np.dtype(f"u{1 if wanted.kind == 'S' else 4}")
        letters = rng.integers(97, 123, (size, wanted.itemsize // letter.itemsize), letter)
        a = letters.view(wanted).reshape(-1)
    else:
        a = (
            rng.integers(0, 10**15, size).astype(wanted)
            if wanted.kind == "M"
            else random(size, wanted)
        )
    a.flags.writeable = False
    return a


def skip_unless_full(size: int, limit: int) -> None:
    """Skip a size above `limit`, as asv wants it: by an exception in `setup`."""
    if size > limit and not FULL:
        raise NotImplementedError("set SHAREDARRAY_BENCH_FULL=1")


def set_workers(workers: str) -> None:
    sharedarray.set_num_workers(None if workers == "all" else int(workers))


def ratio(
    of_numpy: Callable[[], Any],
    ours: Callable[[], Any],
    prepare: Callable[[], Any] = lambda: None,
    n_pairs: int = PAIRS,
) -> float:
    """Return how many times as long NumPy takes: the median over pairs, one after the other.

    The times of the two drift together with the machine's clock and its other load, so their ratio
    within a pair is steadier than either. The first pair warms up and does not count.

    More is better, which asv does not know: to `asv continuous` and `asv compare`, a ratio that has
    grown is worse. The configuration keeps ratios out of its list of regressions.
    """

    def seconds_of(work: Callable[[], Any]) -> float:
        prepare()
        began = perf_counter()
        result = work()
        seconds = perf_counter() - began
        del result
        return seconds

    seconds_of(of_numpy), seconds_of(ours)
    ratios: list[float] = []
    total = 0.0
    while len(ratios) < n_pairs or total < SECONDS:
        pair = seconds_of(of_numpy), seconds_of(ours)
        ratios.append(pair[0] / pair[1])
        total += sum(pair)
    return statistics.median(ratios)
