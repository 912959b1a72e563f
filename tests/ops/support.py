"""Pools, data and checks that the tests of the algorithms and of the functions share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import product
from typing import Any

import numpy as np
import pytest

from sharedarray import MapReduce
from sharedarray_ops import elementwise
from sharedarray_ops.files import reading
from sharedarray_ops.reduce import summation
from sharedarray_ops.sort import (
    counting,
    distinct,
    lines,
    numbers,
    packing,
    packsort,
    quicksort,
    sorting,
)

# Pools


class BarePool:
    """The least that the protocol asks for."""

    np = 0

    def map(self, func, sequence):
        return [func(item) for item in sequence]


class UnorderedPool:
    """Run the items backwards, or in a random order."""

    def __init__(self, n_workers: int, seed: int | None = None) -> None:
        self.np = n_workers
        self._rng = None if seed is None else np.random.default_rng(seed)

    def map(self, func, sequence):
        items = list(sequence)
        turns = (
            np.arange(len(items))[::-1] if self._rng is None else self._rng.permutation(len(items))
        )
        results: list[Any] = [None] * len(items)
        for i in turns:
            results[i] = func(items[i])
        return results


class RecordingPool(UnorderedPool):
    """Keep the items of every map."""

    def __init__(self, n_workers: int) -> None:
        super().__init__(n_workers)
        self.maps: list[list[Any]] = []

    @property
    def n_items(self) -> list[int]:
        return [len(items) for items in self.maps]

    def map(self, func, sequence):
        self.maps.append(list(sequence))
        return super().map(func, sequence)


POOLS: dict[str, Callable[[], Any]] = {
    "bare": BarePool,
    "backwards-3": lambda: UnorderedPool(3),
    "shuffled-7": lambda: UnorderedPool(7, seed=1),
    "thread-0": lambda: MapReduce("thread", np=0),
    "thread-1": lambda: MapReduce("thread", np=1),
    "thread-2": lambda: MapReduce("thread", np=2),
    "thread-3": lambda: MapReduce("thread", np=3),
    "thread-7": lambda: MapReduce("thread", np=7),
    "serial-3": lambda: MapReduce("serial", np=3),
}
each_pool = pytest.mark.parametrize("pool", [pytest.param(p, id=name) for name, p in POOLS.items()])

# Sizes: with these every level, run, block and chunk is reached by a few hundred elements.

SMALL_SIZES = {
    packsort: {"BLOCK": 16, "MIN_WIDE_BLOCK": 8, "SMALL": 32},
    lines: {"TILE": 50, "MIN_PACKED": 3},
    packing: {"BLOCK": 16, "LONG_RUN": 64},
    counting: {"BLOCK": 48},
    distinct: {"BLOCK": 48, "MIN_SIZE": 40, "MAX_COUNTS": 6, "MAX_CODES": 12, "RUN": 4},
    elementwise: {"CHUNK": 16},
    reading: {"CHUNK": 64},
    quicksort: {"BLOCK": 16, "SMALL": 32, "LEAST": 32, "SAMPLE": 16},
    summation: {"LEAF": 160},
    numbers: {"BLOCK": 16},
    sorting: {"MANY": 0},
}


@contextmanager
def small_sizes() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        for module, sizes in SMALL_SIZES.items():
            for name, size in sizes.items():
                assert hasattr(module, name)
                patch.setattr(module, name, size)
        yield patch


def around(*sizes: int) -> list[int]:
    """Return 0, 1, 2, a prime, and each size with its neighbours."""
    return sorted({0, 1, 2, 3, 127, 1009, *(s + d for s in sizes for d in (-1, 0, 1))})


# Data

INTEGERS = ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"]
FLOATS = ["f2", "f4", "f8"]
TIMES = ["M8[ns]", "M8[D]", "m8[s]", "m8"]
NATIVE = ["?", *INTEGERS, *FLOATS, *TIMES]
# Without unit, NumPy itself forgets the byte order of times: np.zeros(1, ">m8").dtype is "<m8".
SWAPPED = [f">{code}" for code in NATIVE if np.zeros(1, f">{code}").dtype.byteorder == ">"]
RANKABLE = [*NATIVE, *SWAPPED]

_FLOAT_BITS = {  # zeros, denormals, ones, largest, infinities, NaN: quiet, payload, signalling
    "f2": [0, 1, 0x3FF, 0x3C00, 0x7BFF, 0x7C00, 0x7E00, 0x7E55, 0x7C01],
    "f4": [0, 1, 0x7FFFFF, 0x3F800000, 0x7F7FFFFF, 0x7F800000, 0x7FC00000, 0x7FC01234, 0x7F800001],
    "f8": [
        *(0, 1, 0xFFFFFFFFFFFFF, 0x3FF << 52, 0x7FEFFFFFFFFFFFFF, 0x7FF << 52, 0x7FF8 << 48),
        *(0x7FF8000000012345, 0x7FF0000000000001),
    ],
}


def specials(dtype: Any) -> np.ndarray:
    """Return the values that are easily got wrong, in native byte order."""
    dtype = np.dtype(dtype).newbyteorder("=")
    if dtype.kind == "b":
        return np.array([False, True])
    if dtype.kind == "f":
        bits = _FLOAT_BITS[dtype.str[1:]]
        bits = bits + [b | 1 << (8 * dtype.itemsize - 1) for b in bits]
        return np.array(bits, f"u{dtype.itemsize}").view(dtype)
    limits = np.iinfo(f"i{dtype.itemsize}" if dtype.kind in "mM" else dtype)
    values = [limits.min, limits.min + 1, limits.max, limits.max - 1, limits.max // 2, 0, 1]
    values += [-1, -2] if limits.min < 0 else [2]
    return np.array(values, limits.dtype).view(dtype)


def _cast(integers: np.ndarray, dtype: Any) -> np.ndarray:
    """Turn int64 into values of a dtype of about the same distribution."""
    dtype = np.dtype(dtype)
    with np.errstate(all="ignore"):
        if dtype.kind == "b":
            return (integers & 1).astype(np.bool_)
        if dtype.kind in "mM":
            return integers.astype(f"{dtype.str[0]}i8").view(dtype)
        if dtype.kind == "f":
            return (integers / 8).astype(dtype)
        return integers.astype(dtype)


def _in_order(values: np.ndarray, dtype: Any) -> np.ndarray:
    """Give the bytes of native values the order of a dtype, and do not touch the bits."""
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return values
    return values.view(f"u{dtype.itemsize}").astype(f"{dtype.str[0]}u{dtype.itemsize}").view(dtype)


def _bits(n, dtype, rng):
    native = np.dtype(dtype).newbyteorder("=")
    if native.kind == "b":
        return rng.integers(0, 2, n).astype(np.bool_)
    return _in_order(np.frombuffer(rng.bytes(n * native.itemsize), native), dtype).copy()


def _specials(n, dtype, rng):
    return _in_order(rng.choice(specials(dtype), n), dtype)


def _nan_heavy(n, dtype, rng):
    native = np.dtype(dtype).newbyteorder("=")
    values = _bits(n, native, rng).copy()
    kinds = specials(native)
    missing = kinds[np.isnan(kinds)] if native.kind in "fmM" else kinds[:1]
    most = rng.random(n) < 0.9
    values[most] = rng.choice(missing, np.count_nonzero(most))
    return _in_order(values, dtype)


def _zeros(n, dtype, rng):
    values = _cast(rng.integers(-1, 2, n) // 2, dtype)
    if values.dtype.kind == "f":
        values[rng.random(n) < 0.5] *= -1
    return values


def _cluster(n, dtype, rng):
    """Most values close together, in two places, and a few far away: long runs of leading bits."""
    dtype = np.dtype(dtype)
    values = rng.integers(0, 1 << 9, n) + rng.integers(0, 2, n) * (1 << 40)
    far = rng.random(n) < 0.02
    if dtype.kind == "f" and dtype.itemsize == 8:  # clusters of bits, not of numbers
        values[far] = np.float64([-1e300, 1e300]).view(np.int64)[values[far] % 2]
        return _in_order(values.view(np.float64), dtype)
    values[far] = np.array([-(2**63) + 1, 2**63 - 1])[values[far] % 2]
    return _cast(values, dtype)


def _far_from_zero(n, dtype, rng):
    """Numbers of both signs and zeros, with nothing in between."""
    signs = rng.integers(-1, 2, n)
    return _cast(signs * (rng.integers(0, 1000, n) + (1 << 20)), dtype)


def _integers(make):
    return lambda n, dtype, rng: _cast(np.asarray(make(n, rng), np.int64), dtype)


DISTRIBUTIONS: dict[str, Callable[[int, Any, np.random.Generator], np.ndarray]] = {
    "bits": _bits,
    "specials": _specials,
    "nan_heavy": _nan_heavy,
    "zeros": _zeros,
    "cluster": _cluster,
    "far_from_zero": _far_from_zero,
    "random": _integers(lambda n, rng: rng.integers(-(1 << 62), 1 << 62, n)),
    "sorted": _integers(lambda n, rng: np.arange(n) - n // 2),
    "reversed": _integers(lambda n, rng: n // 2 - np.arange(n)),
    "equal": _integers(lambda n, rng: np.full(n, 7)),
    "few": _integers(lambda n, rng: rng.integers(0, 4, n)),
    "organ_pipe": _integers(lambda n, rng: np.minimum(np.arange(n), n - np.arange(n))),
    "blocks": _integers(lambda n, rng: np.arange(n) // 7 * 1000003 % 1009),
    "zipf": _integers(lambda n, rng: rng.zipf(1.3, n) % (1 << 62)),
    "nearly_equal": _integers(lambda n, rng: np.where(np.arange(n) == n // 2, -1, 7)),
}


def sample(distribution: str, n: int, dtype: Any, seed: int = 0) -> np.ndarray:
    with np.errstate(all="ignore"):
        values = DISTRIBUTIONS[distribution](n, dtype, np.random.default_rng([seed, n]))
    assert values.dtype == np.dtype(dtype)
    return values


def strided(a: np.ndarray, step: int) -> np.ndarray:
    """Return the values of `a` as a view that takes every `step`-th element of a larger array."""
    room = np.zeros(a.size * abs(step), a.dtype)
    view = room[::step][: a.size]
    view[:] = a
    return view


def unaligned(a: np.ndarray) -> np.ndarray:
    view = np.zeros(a.nbytes + 1, np.uint8)[1:].view(a.dtype)
    view[:] = a
    assert a.itemsize == 1 or not a.size or not view.flags.aligned
    return view


def cases(pool: Callable[[], Any], sizes: Iterable[int]) -> Iterator[tuple[str, int]]:
    """Yield distributions and sizes: all of them, or a choice where a pass of the pool is dear."""
    if isinstance(pool(), MapReduce):
        return product(("bits", "cluster", "few", "specials"), (0, 1, *list(sizes)[-2:]))
    return product(DISTRIBUTIONS, sizes)


# Checks


def assert_same_bits(result: Any, expected: Any) -> None:
    result, expected = np.asarray(result), np.asarray(expected)
    assert result.dtype == expected.dtype
    assert result.shape == expected.shape
    if result.tobytes() != expected.tobytes():
        where = np.flatnonzero(
            np.ascontiguousarray(result).reshape(-1).view(f"V{result.itemsize}")
            != np.ascontiguousarray(expected).reshape(-1).view(f"V{result.itemsize}")
        )
        first = where[:5]
        pytest.fail(
            f"{where.size} of {result.size} differ, first at {first}: "
            f"{result.reshape(-1)[first]!r}, expected {expected.reshape(-1)[first]!r}"
        )


def sorted_by_default(a: np.ndarray) -> np.ndarray:
    """Return what the default kind promises: -0.0 before +0.0, and NaN with the bits of np.nan."""
    if a.dtype.kind != "f":
        return np.sort(a, kind="stable")
    with np.errstate(invalid="ignore"):
        numbers = a[~np.isnan(a)]
        numbers = numbers[np.lexsort((~np.signbit(numbers), numbers))]
    missing = np.full(a.size - numbers.size, np.nan, a.dtype)
    return np.concatenate([numbers, missing]).astype(a.dtype)


@contextmanager
def unchanged(*arrays: np.ndarray) -> Iterator[None]:
    before = [a.tobytes() for a in arrays]
    yield
    assert [a.tobytes() for a in arrays] == before


GUARD = 64  # bytes, so that what lies between is aligned


@contextmanager
def canaries(n: int, dtype: Any) -> Iterator[np.ndarray]:
    """Give an array of `n` items inside a larger buffer that must not change around it."""
    nbytes = n * np.dtype(dtype).itemsize
    buffer = np.full(nbytes + 2 * GUARD, 0xA5, np.uint8)
    yield buffer[GUARD : GUARD + nbytes].view(dtype)
    assert (buffer[:GUARD] == 0xA5).all()
    assert (buffer[GUARD + nbytes :] == 0xA5).all()


def outcome(call: Callable[[], Any]) -> tuple[str, Any]:
    """Return what a call did: the type of its exception, or its value."""
    try:
        return "returned", call()
    except Exception as error:
        return "raised", type(error)
