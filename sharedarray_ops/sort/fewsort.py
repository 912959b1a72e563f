"""Stable argsort of few numbers: what `packsort` does, in one step, in the caller's cache.

The same words, with less around them: calls of Python take as long as the work here. A sample of
the elements says which way is the quickest; each of them is right for all numbers:

==========================  ========================================================================
numbers                     way
==========================  ========================================================================
in order already            their positions
at most 4 distinct ones     `distinct.argsort_by_masks`
ranks of 16 bits            NumPy's radix sort of the ranks, up to `RADIX_SIZE` numbers
at most 24 distinct ones    NumPy's radix sort of codes, up to `RADIX_SIZE` numbers
anything else               words of keys and indices, sorted by NumPy
==========================  ========================================================================
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sharedarray_ops.plan import Chunk, blocks
from sharedarray_ops.pool import Caller
from sharedarray_ops.sort.columns import Column, Key
from sharedarray_ops.sort.distinct import MAX_MASKS, argsort_by_masks
from sharedarray_ops.sort.keys import Ranking, extent, in_order, ranking
from sharedarray_ops.sort.packing import Field, number, pack, unpack

__all__ = ["argsort_few"]

# Elements that are looked at together: their temporaries are the extra memory.
BLOCK = 1 << 16
# Elements of the sample, and distinct values in it below which a tight range may pay for its look.
SAMPLE = 64
DISTINCT = 48
# Codes of so many bits NumPy sorts as quickly by counting, which takes 18 bytes an element: for so
# many of them.
RADIX_BITS = 16
RADIX_SIZE = 1 << 17
# Distinct values in the sample to compare all numbers with (0.15 ns each), if ranks are no codes.
MAX_LEVELS = 24

Words = NDArray[np.uint64]


def argsort_few(values: NDArray[Any], words: Words, *, descending: bool = False) -> None:
    """Write the stable argsort of numbers, at least one and bools as bytes, to `words`.

    Extra memory: about 24 bytes an element, and 4 MiB at the most; 16 bytes more for each element
    of long runs that agree in their leading bits.
    """
    n = values.size
    if in_order(values, descending=descending):
        number(words, Chunk(0, n), BLOCK)
        return
    sample = values[:: n // SAMPLE or 1]
    n_distinct = len(set(sample.tolist()))
    if n_distinct <= MAX_MASKS and argsort_by_masks(
        values, words, Caller(), None, descending=descending, sample=sample
    ):
        return
    parts = list(blocks(0, n, BLOCK))
    extents = [extent(values[part.slice], tight=n_distinct < DISTINCT) for part in parts]
    rank = ranking(extents, descending=descending)
    if not rank.n_bits:
        number(words, Chunk(0, n), BLOCK)
        return
    if n <= RADIX_SIZE:
        codes: NDArray[Any] | None = None
        if rank.n_bits <= RADIX_BITS:
            codes = _ranks(values, rank, words)
        elif n_distinct <= MAX_LEVELS:
            codes = _levels(values, np.unique(sample), descending=descending)
        if codes is not None:
            words[:] = np.argsort(codes, kind="stable")
            return
    key = Key([(Column(values), rank, 0)], rank.n_bits)
    field = Field.below(key.n_bits, (n - 1).bit_length())
    whole = Chunk(0, n)
    pack(key, words, whole, field, block_length=BLOCK)
    words.sort()
    for run in unpack(key, words, whole, field, BLOCK, BLOCK // 4):
        index = words[run.slice].view(np.intp)
        inner = np.empty(run.size, np.uint64)
        argsort_few(values[index], inner, descending=descending)
        index[:] = index[inner.view(np.intp)]


def _ranks(values: NDArray[Any], rank: Ranking, scratch: Words) -> NDArray[np.uint16]:
    """Return the ranks of numbers, of at most 16 bits."""
    codes = np.empty(values.size, np.uint16)
    for i, j in blocks(0, values.size, BLOCK):
        rank.encode(values[i:j], scratch[i:j])
        codes[i:j] = scratch[i:j]
    return codes


def _levels(
    values: NDArray[Any], found: NDArray[Any], *, descending: bool
) -> NDArray[np.uint8] | None:
    """Return how many of the numbers found go before each value; None if one is not among them.

    Also None where there is NaN.
    """
    codes = np.zeros(values.size, np.uint8)
    for i, j in blocks(0, values.size, BLOCK):
        with np.errstate(invalid="ignore"):
            for number in found[:-1]:
                codes[i:j] += values[i:j] > number
            if not np.all(found[codes[i:j]] == values[i:j]):
                return None
    return np.subtract(found.size, codes, out=codes) if descending else codes
