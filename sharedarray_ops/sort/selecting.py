"""Find elements by their rank and by their index, without sorting them.

    sample -> brackets -> each worker counts its chunks around the brackets and extracts what lies
    inside -> the coordinator sorts the few extracted elements

A bracket is a pair of sample values around one rank, so far apart that the element of the rank lies
between them or equals one. Elements equal to an end are counted, not extracted: frequent values
cost nothing. It is one pass, half a nanosecond an element and bracket; each bracket extracts 3 %.

`argpartition` numbers the elements in the order that a partition promises, once the elements at the
wanted ranks, its *pivots*, are known. It is stable: the same for any number of workers.

All of it works on *keys*, which NumPy compares fast and in the order of its sort: the elements in
native byte order, float16 as float32, times as unsigned integers, NaT largest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sharedarray_ops.plan import Chunk, blocks, chunks
from sharedarray_ops.pool import Pool, Touch, n_workers

__all__ = [
    "MAX_BRACKETS",
    "apply_along",
    "argpartition",
    "has_both_zeros",
    "is_selectable",
    "key_dtype",
    "select",
    "take",
]

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


def is_selectable(dtype: np.dtype[Any]) -> bool:
    """Return whether `dtype` has keys: bool, integers, floats to 64 bit, times."""
    return dtype.kind in "biumM" or (dtype.kind == "f" and dtype.itemsize <= 8)


def key_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype of the keys of elements of `dtype`."""
    if dtype.kind in "mM":
        return np.dtype(np.uint64)
    if dtype.kind == "f" and dtype.itemsize == 2:
        return np.dtype(np.float32)
    return np.dtype(np.uint8) if dtype.kind == "b" else dtype.newbyteorder("=")


def _keys(values: NDArray[Any]) -> NDArray[Any]:
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


# Select


def select(
    a: NDArray[Any], ranks: Sequence[int], scratch: NDArray[Any], pool: Pool
) -> NDArray[Any] | None:
    """Return the elements that would be at some positions if the array were sorted.

    Parameters
    ----------
    a : ndarray, shape (n,)
        Any dtype that `is_selectable` accepts, any byte order and stride. Not written to.
    ranks : sequence of int
        One or more ascending positions, ``0 <= rank < n``, each one once.
    scratch : ndarray of key_dtype(a.dtype), shape (n,)
        Contiguous, in memory that the workers share. Few of its pages are touched.
    pool : Pool
        Who works.

    Returns
    -------
    ndarray or None
        One element of the dtype of `a` for each rank. NaN and NaT come last. Where there are zeros
        of both signs, the sign of a zero is not defined. None where selection does not do: there
        are more than MAX_BRACKETS brackets, or the sample has misled.
    """
    a = a.view(np.ndarray)
    n = a.size
    sample = np.sort(_keys(a[_sample_positions(n)]))
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


def _sample_positions(n: int) -> NDArray[np.intp]:
    """Return at most SAMPLE positions below `n`, without a period (a Weyl sequence)."""
    weyl = np.arange(min(SAMPLE, -(-n // 16)), dtype=np.uint32) * np.uint32(0x9E3779B9)
    return (weyl * (n / 2**32)).astype(np.intp)


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
        keys = _keys(a[i:j])
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


def has_both_zeros(a: NDArray[Any], pool: Pool) -> bool:
    """Return whether floats have zeros of both signs, which are equal, but not in their bits."""
    a = a.view(np.ndarray)
    found = pool.map(lambda part: _zero_signs(a, part), chunks(0, a.size, 4 * n_workers(pool)))
    return len(set().union(*found)) == 2


def _zero_signs(a: NDArray[Any], chunk: Chunk) -> set[bool]:
    signs: set[bool] = set()
    for i, j in blocks(*chunk, BLOCK):
        zeros = np.flatnonzero(a[i:j] == 0)
        signs.update(np.unique(np.signbit(a[i:j][zeros])).tolist())
    return signs


# Argpartition


def argpartition(
    a: NDArray[Any],
    pivots: NDArray[Any],
    out: NDArray[np.intp],
    pool: Pool,
    touch: Touch = None,
) -> None:
    """Write the indices of the elements of `a` to `out`, in the order of a partition at `pivots`.

    First come the elements below the first pivot, then those equal to it, those between it and the
    next, and so on; NaN come last. Indices of one such region ascend.

    Parameters
    ----------
    a, pool
        As for `select`.
    pivots : ndarray
        The elements at the wanted ranks, as `select` returns them.
    out : ndarray of intp, shape (n,)
        Contiguous, in memory that the workers share.
    touch : callable, optional
        Called on each part of `out` before it is written to.
    """
    a, out, keys = a.view(np.ndarray), out.view(np.ndarray), _keys(pivots)
    keys = np.unique(keys[keys == keys])  # NaN have a region anyway
    parts = chunks(0, a.size, 4 * n_workers(pool), align=BLOCK)
    if touch is not None:
        pool.map(lambda part: touch(out[part.slice]), parts)
    counts = np.array(pool.map(lambda part: _count_regions(a, part, keys), parts), np.intp)
    # Region by region, and within each one chunk by chunk.
    ends = np.cumsum(counts.T).reshape(counts.shape[::-1]).T
    tasks = list(zip(parts, (ends - counts).tolist(), strict=True))
    pool.map(lambda task: _write_regions(a, *task, keys, out), tasks)


def _heads(keys: NDArray[Any], pivots: NDArray[Any]) -> list[NDArray[np.bool_]]:
    """Return masks, each one within the next: of the first region, the first two, ..., all."""
    heads = [compare(keys, pivot) for pivot in pivots for compare in (np.less, np.less_equal)]
    if keys.dtype.kind == "f":
        heads.append(~np.isnan(keys))
    heads.append(np.ones(keys.size, np.bool_))
    return heads


def _count_regions(a: NDArray[Any], chunk: Chunk, pivots: NDArray[Any]) -> list[int]:
    """Return how many elements of a chunk each region gets."""
    totals: Any = 0
    for i, j in blocks(*chunk, BLOCK):
        heads = _heads(_keys(a[i:j]), pivots)
        totals = totals + np.array([np.count_nonzero(head) for head in heads])
    return list(np.diff(totals, prepend=0).tolist())


def _write_regions(
    a: NDArray[Any], chunk: Chunk, starts: list[int], pivots: NDArray[Any], out: NDArray[np.intp]
) -> None:
    """Write the indices of a chunk's elements to their regions."""
    starts = list(starts)
    for i, j in blocks(*chunk, BLOCK):
        heads = _heads(_keys(a[i:j]), pivots)
        for k, head in enumerate(heads):
            region = np.flatnonzero(head ^ heads[k - 1] if k else head)
            np.add(region, i, out=out[starts[k] : starts[k] + region.size])
            starts[k] += region.size


# Lanes and indices


def apply_along(
    function: Callable[[NDArray[Any]], Any],
    a: NDArray[Any],
    axis: int,
    out: NDArray[Any],
    out_axis: int,
    pool: Pool,
) -> None:
    """Write ``function(a)`` to `out`, cut along an axis of `a` that the function leaves alone.

    `out_axis` is that axis in `out`, which the workers share.
    """
    target = np.moveaxis(out, out_axis, 0)

    def kernel(chunk: Chunk) -> None:
        part = a[(slice(None),) * axis + (chunk.slice,)]
        target[chunk.slice] = np.moveaxis(np.asarray(function(part)), out_axis, 0)

    pool.map(kernel, chunks(0, a.shape[axis], 4 * n_workers(pool)))


def take(a: NDArray[Any], indices: NDArray[Any], out: NDArray[Any], mode: Any, pool: Pool) -> bool:
    """Write ``np.take(a, indices, axis=1, mode=mode)`` to `out`.

    `a` of shape (l, m, n) and `out` of shape (l, k, n) are C-contiguous and of one dtype. Returns
    whether all is written: with ``mode='raise'`` not where an index is out of bounds.
    """
    n_chunks, length = 4 * n_workers(pool), a.shape[1]
    by_rows = len(a) >= n_chunks
    rows = chunks(0, len(a), n_chunks if by_rows else len(a))
    parts = chunks(0, indices.size, 1 if by_rows else n_chunks)

    def elements(task: tuple[Chunk, Chunk]) -> bool:
        row, part = task
        try:  # NumPy's check and a copy cost less than another look at the indices
            for i, j in blocks(*part, BLOCK):
                out[row.slice, i:j] = np.take(a[row.slice], indices[i:j], 1)
        except IndexError:
            return False
        return True

    def kernel(task: tuple[Chunk, Chunk]) -> bool:
        row, part = task
        for i, j in blocks(*part, part.size if by_rows else BLOCK):
            index = indices[i:j].astype(np.intp, copy=False)
            how = mode
            if mode == "raise":  # with which NumPy would write to a buffer first
                low, high = index.min(), index.max()
                if low < -length or high >= length:
                    return False
                how = "wrap" if low < 0 else "clip"
            np.take(a[row.slice], index, 1, out[row.slice, i:j], how)
        return True

    tasks = [(row, part) for row in rows for part in parts]
    may_copy = mode == "raise" and not by_rows and a.shape[2] == 1
    return all(pool.map(elements if may_copy else kernel, tasks))
