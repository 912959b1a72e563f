"""Find the elements of some ranks without sorting.

    sample -> brackets -> each worker counts its chunks around the brackets and extracts what lies
    inside -> the coordinator sorts the few extracted elements

A bracket is a pair of sample values around one rank, so far apart that the element of the rank lies
between them or equals one. Elements equal to an end are counted, not extracted: frequent values
cost nothing. It is one pass, half a nanosecond an element and bracket; each bracket extracts 3 %.

All of it works on *keys*, which NumPy compares fast and in the order of its sort: the elements in
native byte order, float16 as float32, times as unsigned integers, NaT largest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sharedarray_ops.plan import Chunk, blocks, chunks
from sharedarray_ops.pool import Pool, n_workers
from sharedarray_ops.sort.quicksort import sample_positions

__all__ = ["MAX_BRACKETS", "key_dtype", "keys_of", "select"]

# Elements; a block, its keys and their masks stay in the second-level cache.
BLOCK = 1 << 16
# The rank of a sample value is off by about sqrt(n / SAMPLE * n) / 2 of n elements.
SAMPLE = 1 << 14
# Standard deviations of a rank between a bracket's middle and its ends: 1 in 15,000 misses.
WIDTH = 4
# From more brackets on, sorting the array is faster.
MAX_BRACKETS = 8

# What maps int64 to uint64 such that NaT, the smallest of all, becomes the largest.
_TIME_SHIFT = np.uint64(2**63 - 1)


class _Bracket(NamedTuple):
    """A range of sample positions with `ranks` in it; an end is None where there is no sample."""

    low: int | None
    high: int | None
    ranks: tuple[int, ...]


class _Tally(NamedTuple):
    """How many keys are below the low end of a bracket, up to it, inside, at the high end."""

    below: int
    up_to_low: int
    n_inside: int
    at_high: int


def key_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype of the keys of elements of `dtype`."""
    if dtype.kind in "mM":
        return np.dtype(np.uint64)
    if dtype.kind == "f" and dtype.itemsize == 2:
        return np.dtype(np.float32)
    return np.dtype(np.uint8) if dtype.kind == "b" else dtype.newbyteorder("=")


def keys_of(values: NDArray[Any]) -> NDArray[Any]:
    """Return the keys of `values`, which are not copied where they are keys already."""
    if values.dtype.kind in "mM":
        native = values.view(f"{values.dtype.byteorder}i8").astype(np.int64)
        return native.view(np.uint64) + _TIME_SHIFT
    if values.dtype.kind == "b":
        return values.view(np.uint8)
    with np.errstate(invalid="ignore"):  # a signalling NaN is data here
        return values.astype(key_dtype(values.dtype), copy=False)


def _values(keys: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return the elements whose keys are `keys`."""
    if dtype.kind in "mM":
        return (keys - _TIME_SHIFT).view(dtype.newbyteorder("=")).astype(dtype)
    return keys.view(np.bool_) if dtype.kind == "b" else keys.astype(dtype)


def select(
    a: NDArray[Any], ranks: Sequence[int], scratch: NDArray[Any], pool: Pool
) -> NDArray[Any] | None:
    """Return the elements that would be at some positions if the array were sorted.

    The `ranks` ascend, ``0 <= rank < n``, each one once. `scratch` is contiguous, shape (n,), of
    ``key_dtype(a.dtype)``, in memory that the workers share; few of its pages are touched. NaN and
    NaT come last; the sign of a zero is not defined. None where there are more than MAX_BRACKETS
    brackets, or the sample has misled.
    """
    a = a.view(np.ndarray)
    n = a.size
    sample = np.sort(keys_of(a[sample_positions(n, min(SAMPLE, -(-n // 16)))]))
    numbers = sample[sample == sample]  # not NaN
    # The last rank needs no bracket: the maximum of all is one more look at each block.
    brackets = _brackets([r for r in ranks if r < n - 1], n, sample.size, numbers.size)
    if len(brackets) > MAX_BRACKETS:
        return None
    parts = chunks(0, n, 4 * n_workers(pool), align=BLOCK)
    found = pool.map(lambda part: _extract(a, part, numbers, brackets, scratch), parts)
    n_numbers = sum(n_numbers for _, n_numbers, _ in found)
    keys: list[Any] = []
    starts = [part.start for part in parts]
    for i, bracket in enumerate(brackets):
        tallies = [tallies[i] for *_, tallies in found]
        inside = np.concatenate(
            [scratch[j : j + t.n_inside] for j, t in zip(starts, tallies, strict=True)]
        )
        inside.sort()
        starts = [j + t.n_inside for j, t in zip(starts, tallies, strict=True)]
        total = _Tally(*map(sum, zip(*tallies, strict=True)))
        keys += [
            _look_up(rank, n_numbers, total, bracket, numbers, inside) for rank in bracket.ranks
        ]
    if any(key is None for key in keys):
        return None
    if ranks[-1] == n - 1:
        keys.append(np.max([largest for largest, *_ in found]))
    return _values(np.array(keys, scratch.dtype), a.dtype)


def _brackets(ranks: Sequence[int], n: int, n_sample: int, n_numbers: int) -> list[_Bracket]:
    """Choose the brackets of all ranks, as positions in a sorted sample; overlapping ones joined.

    `n_numbers` is how many sample values come before NaN.
    """
    reach = int(WIDTH * n_sample**0.5 / 2) + 1
    brackets: list[_Bracket] = []
    for rank in ranks:
        middle = rank * n_sample // n
        low = min(middle - reach, n_numbers - 1)
        high = middle + reach
        bracket = _Bracket(low if low >= 0 else None, high if high < n_numbers else None, (rank,))
        last = brackets[-1] if brackets else None
        if last and (last.high is None or bracket.low is None or bracket.low <= last.high):
            brackets[-1] = _Bracket(last.low, bracket.high, (*last.ranks, rank))
        else:
            brackets.append(bracket)
    return brackets


def _extract(
    a: NDArray[Any],
    chunk: Chunk,
    sample: NDArray[Any],
    brackets: list[_Bracket],
    scratch: NDArray[Any],
) -> tuple[Any, int, list[_Tally]]:
    """Write what is inside each bracket to the chunk's part of `scratch`.

    Return the largest key, how many keys are not NaN, and a tally for each bracket.
    """
    n_numbers = 0
    largest = []
    tallies = [[0, 0, 0, 0] for _ in brackets]
    inside: list[list[NDArray[Any]]] = [[] for _ in brackets]
    for i, j in blocks(*chunk, BLOCK):
        keys = keys_of(a[i:j])
        with np.errstate(invalid="ignore"):
            largest.append(keys.max())
            has_nan = keys.dtype.kind == "f" and np.isnan(largest[-1])
            n_numbers += int(np.count_nonzero(keys == keys)) if has_nan else keys.size
            for bracket, tally, extracted in zip(brackets, tallies, inside, strict=True):
                extracted.append(_tally(keys, sample, bracket, tally))
    start = chunk.start
    for tally, extracted in zip(tallies, inside, strict=True):
        np.concatenate(extracted, out=scratch[start : start + tally[2]])
        start += tally[2]
    return np.max(largest), n_numbers, [_Tally(*tally) for tally in tallies]


def _tally(
    keys: NDArray[Any], sample: NDArray[Any], bracket: _Bracket, tally: list[int]
) -> NDArray[Any]:
    """Add a block to the tally of a bracket; return the keys inside."""
    if bracket.high is None:
        is_inside = keys == keys  # not NaN
    else:
        high = sample[bracket.high]
        is_inside = keys < high
        tally[3] += int(np.count_nonzero(keys == high))
    if bracket.low is not None:
        low = sample[bracket.low]
        up_to_low = keys <= low
        tally[0] += int(np.count_nonzero(keys < low))
        tally[1] += int(np.count_nonzero(up_to_low))
        np.greater(is_inside, up_to_low, out=is_inside)
    # Six times as fast as keys[is_inside] where half of the keys are inside.
    inside = keys[np.flatnonzero(is_inside)]
    tally[2] += inside.size
    return inside


def _look_up(
    rank: int,
    n_numbers: int,
    total: _Tally,
    bracket: _Bracket,
    sample: NDArray[Any],
    inside: NDArray[Any],
) -> Any:
    """Return the key of a rank, None where it is outside of its bracket."""
    if rank >= n_numbers:
        return np.nan
    if total.below <= rank < total.up_to_low:
        return sample[bracket.low]
    position = rank - total.up_to_low
    if 0 <= position < total.n_inside:
        return inside[position]
    if 0 <= position - total.n_inside < total.at_high:
        return sample[bracket.high]
    return None
