"""Sort and argsort of arrays that have few distinct values: count them, and write them out.

A sample says which values there are; the count proves it, or something else has to sort. Each
worker counts the values of its chunks, the coordinator adds the counts to offsets, and each worker
writes what belongs to its chunks. Two passes over the array, whatever the order of the values.

NumPy's own sorts are quick here, at 0.2 to 10 ns an element, because they stop where all is equal.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sharedarray_ops.plan import Chunk, blocks, chunks
from sharedarray_ops.pool import Pool, Touch, n_workers
from sharedarray_ops.sort.columns import Key
from sharedarray_ops.sort.quicksort import is_crowded, sample_positions

__all__ = ["MAX_MASKS", "MIN_SIZE", "argsort_by_codes", "argsort_by_masks", "sort_by_counts"]

# Elements. Below, the sample costs as much as the sort.
MIN_SIZE = 1 << 16
BLOCK = 1 << 16
# How many distinct values pay: comparisons with each of them for argsort (0.5 ns each) and sort
# (0.1 ns each); codes of one byte.
MAX_MASKS = 4
MAX_COUNTS = 24
MAX_CODES = 256
# Up to here codes are compared with each of them (0.05 ns), not looked up in an array of counts.
MAX_COMPARED = 24
# Elements of a code that are written in one piece, on average: that takes 0.7 us of Python.
RUN = 256
# From here on counting wins over one call of NumPy's sort, whatever the values are.
MIN_WORKERS = 4


def argsort_by_masks(
    values: NDArray[Any],
    words: NDArray[np.uint64],
    pool: Pool,
    touch: Touch,
    *,
    descending: bool,
    sample: NDArray[Any] | None = None,
) -> bool:
    """Write the stable order of few distinct numbers to `words`; False if there are many.

    `values` has numbers that NumPy compares as it sorts them, NaN and NaT last. Which ones there
    are, `sample` tells, which is taken of them unless it is given.
    """
    if sample is None:
        if values.size < MIN_SIZE:
            return False
        sample = values[sample_positions(values.size)]
    found = np.unique(sample)
    if found.size > MAX_MASKS:
        return False
    if descending:
        is_number = found == found
        found = np.concatenate([found[is_number][::-1], found[~is_number]])
    parts = _parts(values.size, pool)
    counts = _proven(pool.map(lambda part: _count(values, part, found), parts), parts)
    if counts is None:
        return False
    starts = _starts(counts)

    def write(k: int) -> None:
        position = starts[k].tolist()
        for i, j in blocks(*parts[k], BLOCK):
            for v, mask in enumerate(_masks(values[i:j], found)):
                index = np.flatnonzero(mask)
                out = words[position[v] : position[v] + index.size].view(np.intp)
                if touch is not None:
                    touch(out)
                np.add(index, i, out=out)
                position[v] += index.size

    pool.map(write, range(len(parts)))
    return True


def argsort_by_codes(
    key: Key, words: NDArray[np.uint64], pool: Pool, touch: Touch, block_length: int
) -> bool:
    """Write the stable order of elements with few distinct keys; False if there are many.

    About so many elements are looked at together, more where there are many keys.
    """
    n = words.size
    if n < MIN_SIZE or key.n_bits > 64:
        return False
    position = sample_positions(n)
    sample = np.empty(position.size, np.uint64)
    key.write(position, key.n_bits, 0, sample)
    found = np.unique(sample)
    if found.size > MAX_CODES:
        return False
    coder = _Coder(key, found, block_length)
    parts = _parts(n, pool)
    counts = _proven(pool.map(coder.count, parts), parts)
    if counts is None:
        return False
    starts = _starts(counts)
    length = max(block_length, RUN * found.size)

    def write(k: int) -> None:
        position = starts[k]
        for i, j in blocks(*parts[k], length):
            codes = coder.codes(i, j)
            index = np.argsort(codes, kind="stable")  # a radix sort of one pass
            index += i
            ends = np.cumsum(coder.histogram(codes)).tolist()
            for v, (start, stop) in enumerate(pairwise([0, *ends])):
                if start < stop:
                    first = int(position[v])
                    out = words[first : first + stop - start].view(np.intp)
                    if touch is not None:
                        touch(out)
                    out[:] = index[start:stop]
                    position[v] += stop - start

    pool.map(write, range(len(parts)))
    return True


def sort_by_counts(a: NDArray[Any], pool: Pool) -> bool:
    """Sort integers with few distinct values in place; False if there are many.

    Two workers leave that to one call of NumPy, and also where a single value is frequent: NumPy
    sorts such data about as fast as the memory delivers them.
    """
    if a.size < MIN_SIZE:
        return False
    sample = np.sort(a[sample_positions(a.size)])
    found = np.unique(sample)
    if n_workers(pool) < MIN_WORKERS and (found.size <= MAX_COUNTS or is_crowded(sample)):
        a.sort()
        return True
    if found.size > MAX_COUNTS:
        return False
    parts = _parts(a.size, pool)
    counts = _proven(pool.map(lambda part: _count(a, part, found), parts), parts)
    if counts is None:
        return False
    if found.size > 1:
        ends = np.cumsum(counts.sum(axis=0))
        pool.map(lambda part: _fill(a, part, found, ends), parts)
    return True


def _parts(n: int, pool: Pool) -> list[Chunk]:
    return chunks(0, n, 4 * n_workers(pool), align=BLOCK)


def _masks(values: NDArray[Any], found: NDArray[Any]) -> Iterator[NDArray[np.bool_]]:
    """Say where each of the values found is."""
    return (values == value if value == value else values != values for value in found)


def _count(values: NDArray[Any], part: Chunk, found: NDArray[Any]) -> NDArray[np.intp] | None:
    """Count each of the values found in a part; None if there are others."""
    counts = np.zeros(found.size, np.intp)
    for i, j in blocks(*part, BLOCK):
        block = [np.count_nonzero(mask) for mask in _masks(values[i:j], found)]
        if sum(block) != j - i:
            return None
        counts += block
    return counts


class _Coder:
    """Turns elements into the positions of their keys among the keys that were found.

    A key is found by a hash of 16 bits, of which there is one for each of them.
    """

    def __init__(self, key: Key, found: NDArray[np.uint64], block_length: int) -> None:
        self.key = key
        self.block_length = block_length
        self.found = found
        self.is_direct = key.n_bits <= 8
        if self.is_direct:
            self.found = np.arange(1 << key.n_bits, dtype=np.uint64)
            return
        self.multiplier = _multiplier(found)
        self.table = np.zeros(1 << 16, np.uint8)
        self.table[self._hash(found.copy())] = np.arange(found.size)

    def _hash(self, keys: NDArray[np.uint64]) -> NDArray[np.uint16]:
        """Return the hashes of keys, which are overwritten."""
        keys *= self.multiplier
        keys >>= np.uint64(48)
        return keys.astype(np.uint16)

    def codes(self, i: int, j: int, keys: NDArray[np.uint64] | None = None) -> NDArray[np.uint8]:
        """Return the codes of a range of elements, whose keys may be given."""
        if keys is None:
            keys = self._keys(i, j)
        return keys.astype(np.uint8) if self.is_direct else self.table[self._hash(keys)]

    def _keys(self, i: int, j: int) -> NDArray[np.uint64]:
        keys = np.empty(j - i, np.uint64)
        self.key.write(slice(i, j), self.key.n_bits, 0, keys)
        return keys

    def count(self, part: Chunk) -> NDArray[np.intp] | None:
        """Count each of the keys found in a part; None if there are others."""
        counts = np.zeros(self.found.size, np.intp)
        for i, j in blocks(*part, self.block_length):
            keys = self._keys(i, j)
            if self.is_direct:  # every key has a code
                counts += self.histogram(keys.astype(np.uint8))
                continue
            codes = self.codes(i, j, keys.copy())
            if not np.array_equal(self.found.take(codes), keys):
                return None
            counts += self.histogram(codes)
        return counts

    def histogram(self, codes: NDArray[np.uint8]) -> NDArray[np.intp]:
        """Count each code."""
        if self.found.size > MAX_COMPARED:
            return np.bincount(codes, minlength=self.found.size)
        codes_found = range(self.found.size)
        return np.array([np.count_nonzero(codes == v) for v in codes_found], np.intp)


def _multiplier(found: NDArray[np.uint64]) -> np.uint64:
    """Return an odd number whose products with the keys differ in their upper 16 bits."""
    rng = np.random.default_rng(0)
    while True:  # for 256 keys every second number will do
        candidate = rng.integers(1 << 63, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
        if np.unique((found * candidate) >> np.uint64(48)).size == found.size:
            return candidate


def _proven(counts: list[NDArray[np.intp] | None], parts: list[Chunk]) -> NDArray[np.intp] | None:
    """Return the counts of all parts, a row each; None if one of them has other values."""
    rows = [row for row in counts if row is not None]
    return np.stack(rows) if len(rows) == len(parts) else None


def _starts(counts: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return where each part's elements of each value begin in the order of all."""
    flat = counts.T.reshape(-1)
    starts = np.cumsum(flat) - flat
    return np.ascontiguousarray(starts.reshape(counts.shape[::-1]).T)


def _fill(a: NDArray[Any], part: Chunk, found: NDArray[Any], ends: NDArray[np.intp]) -> None:
    """Write to a part of the sorted array what belongs there."""
    start = part.start
    for value, end in zip(found, ends.tolist(), strict=True):
        stop = min(end, part.stop)
        if start < stop:
            a[start:stop] = value
            start = stop
