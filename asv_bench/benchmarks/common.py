"""Data by distribution, and what the parameters of benchmarks mean."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

import sharedarray
from benchmarks.pairs import ratio as ratio

# The first of each is what the pages show until another is chosen.
IMPLEMENTATIONS = ["sharedarray", "numpy"]
WORKERS = ["all", "1"]

# Sizes of the published figures take minutes and gigabytes: only where they are asked for.
FULL = os.environ.get("SHAREDARRAY_BENCH_FULL") == "1"

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
