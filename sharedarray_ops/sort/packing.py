"""Words that carry a part of each element's key and the element's index, and kernels on them.

A word is ``bits << index_bits | index``. Sorted, words are in the order of the bits, equal ones in
the order of their indices. Elements that agree in the bits that were packed lie next to each other
then (a *run*), and are sorted again by the bits that follow: short runs here, together within a
block, long ones by the whole pool, see `packsort`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sharedarray_ops.plan import Chunk, blocks
from sharedarray_ops.pool import Touch
from sharedarray_ops.sort.columns import Key, block_size
from sharedarray_ops.sort.quicksort import Splitter, partition

__all__ = [
    "BLOCK",
    "LONG_RUN",
    "Field",
    "number",
    "pack",
    "refine",
    "repack",
    "run_start",
    "unpack",
]

# Elements; a block's words and their scratch stay in the second-level cache.
BLOCK = 1 << 18
# A longer run of elements that agree in their packed bits is a task of its own for the pool.
LONG_RUN = BLOCK
# Where more than one in so many elements agrees with the one before, it may well be equal to it.
MANY_TIES = 8
# Refining takes up to 80 bytes for each element in a run: for one in eight no more than the words.
FEW_TIES = 16

Words = NDArray[np.uint64]


class Field(NamedTuple):
    """Which bits of the key words hold: those from `shift` up to, not including, `top`.

    They lie above `index_bits` bits of index.
    """

    top: int
    shift: int
    index_bits: int

    @classmethod
    def below(cls, top: int, index_bits: int) -> Field:
        """Take as many bits below `top` as fit beside the index."""
        return cls(top, max(0, top - (64 - index_bits)), index_bits)

    @property
    def index_mask(self) -> np.uint64:
        """Return the bits of a word that hold the index."""
        return np.uint64((1 << self.index_bits) - 1)


def number(words: Words, chunk: Chunk, block_length: int) -> None:
    """Write the positions of a chunk, which are the argsort of what is in order."""
    for i, j in blocks(*chunk, block_length):
        words[i:j] = np.arange(i, j, dtype=np.uint64)


def pack(
    key: Key,
    words: Words,
    chunk: Chunk,
    field: Field,
    splitter: Splitter | None = None,
    touch: Touch = None,
    block_length: int | None = None,
) -> list[int]:
    """Write the words of a chunk of elements, whose indices are their positions.

    With a splitter, each block is partitioned while it is in cache; returned is how many low words
    each one has. A block has `block_length` elements, by default `BLOCK`.
    """
    step = block_size([column for column, _, _ in key.parts])
    n_low = []
    for i, j in blocks(*chunk, block_length or BLOCK):
        block = words[i:j]
        if touch is not None:
            touch(block)
        for first, last in blocks(i, j, step):
            word = words[first:last]
            key.write(slice(first, last), field.top, field.shift, word)
            word <<= np.uint64(field.index_bits)
            word |= np.arange(first, last, dtype=np.uint64)
        if splitter is not None:
            n_low.append(partition(block, splitter))
    return n_low


def repack(
    key: Key, words: Words, chunk: Chunk, field: Field, block_length: int | None = None
) -> None:
    """Turn a chunk of indices into words, see `pack`."""
    for i, j in blocks(*chunk, block_length or BLOCK):
        word = words[i:j]
        index = word.copy()
        key.write(index.view(np.intp), field.top, field.shift, word)
        word <<= np.uint64(field.index_bits)
        word |= index


def run_start(words: Words, position: int, field: Field) -> int:
    """Return where in sorted words the run of the one at `position` starts."""
    return int(np.searchsorted(words, words[position] & ~field.index_mask))


def unpack(
    key: Key,
    words: Words,
    chunk: Chunk,
    field: Field,
    block_length: int | None = None,
    run_length: int | None = None,
) -> list[Chunk]:
    """Turn the sorted words of a chunk into indices, short runs refined; return the long runs.

    A run of more than `run_length` elements, by default a block, is long. Where there are many
    runs, no more than that are looked at together.
    """
    length = block_length or BLOCK
    longest = run_length or (LONG_RUN if block_length is None else length)
    if not field.shift:
        for i, j in blocks(*chunk, length):
            words[i:j] &= field.index_mask
        return []
    scratch = np.empty(min(chunk.size, max(length, longest)), np.uint64)
    long_runs = []
    for block in _whole_runs(words, chunk, field, length):
        if block.size <= longest:
            refine(key, words[block.slice], field, scratch)
        elif block.size > length or not _refine_few(
            key, words[block.slice], field, scratch, longest
        ):
            for part in _whole_runs(words, block, field, longest):
                if part.size > longest:
                    words[part.slice] &= field.index_mask
                    long_runs.append(part)
                else:
                    refine(key, words[part.slice], field, scratch)
    return long_runs


def _whole_runs(words: Words, chunk: Chunk, field: Field, length: int) -> Iterator[Chunk]:
    """Cut sorted words into blocks of whole runs: of `length` at the most, or a single run."""
    i = chunk.start
    while i < chunk.stop:
        j = min(i + length, chunk.stop)
        if j < chunk.stop:
            rest = words[i : chunk.stop]
            # The block ends where the run that its end would cut starts, or with that run.
            j = i + run_start(rest, j - i, field)
            if j == i:
                j = i + int(np.searchsorted(rest, rest[0] | field.index_mask, "right"))
        yield Chunk(i, j)
        i = j


def _refine_few(key: Key, words: Words, field: Field, scratch: Words, step: int) -> bool:
    """Refine the runs if few elements are in any, or all of a run are equal; else return False."""
    same = _same(words, field, scratch)
    if np.count_nonzero(same) <= words.size // FEW_TIES:
        refine(key, words, field, scratch)
        return True
    index = np.bitwise_and(words, field.index_mask, out=scratch[: words.size]).view(np.intp)
    for i, j in blocks(0, same.size, step):
        equal = key.neighbours_equal(index[i : j + 1], field.shift)
        if np.any(same[i:j] > equal):
            return False
    words &= field.index_mask
    return True


def _same(words: Words, field: Field, scratch: Words) -> NDArray[np.bool_]:
    """Say of each sorted word but the first whether it is in the run of the one before."""
    leading = np.right_shift(words, np.uint64(field.index_bits), out=scratch[: words.size])
    same: NDArray[np.bool_] = leading[1:] == leading[:-1]
    return same


def refine(key: Key, words: Words, field: Field, scratch: Words, line: int = 0) -> None:
    """Turn sorted words into indices, each run in the order of the bits that its words lack.

    Where `line` is given, the words are lines of that length, each sorted on its own.
    """
    if not field.shift:
        words &= field.index_mask
        return
    same = _same(words, field, scratch)
    if line:
        same[line - 1 :: line] = False
    words &= field.index_mask
    top = field.shift
    n_same = int(np.count_nonzero(same))
    if not n_same:
        return
    has_looked = n_same > words.size // MANY_TIES
    if has_looked:  # equal elements are done, how ever long their keys are
        equal = key.neighbours_equal(words.view(np.intp), top)
        if n_same == np.count_nonzero(same & equal):
            return
    position, run = _ties(same)
    if has_looked:
        keep = _unequal_runs(equal[position[1:] - 1], run)
        position, run = position[keep], run[keep]
    while position.size and top:
        index = words[position].view(np.intp)
        run_bits, position_bits = int(run[-1]).bit_length(), index.size.bit_length()
        shift = max(0, top - (64 - run_bits - position_bits))
        if shift and not has_looked:  # equal elements are done, how ever long their keys are
            same = key.neighbours_equal(index, top)
            keep = _unequal_runs(same, run)
            position, run, index = position[keep], run[keep], index[keep]
            has_looked = True
            if not position.size:
                return
        word = np.empty(index.size, np.uint64)
        key.write(index, top, shift, word)
        word |= run << np.uint64(top - shift)
        word <<= np.uint64(position_bits)
        word |= np.arange(word.size, dtype=np.uint64)
        word.sort()
        order = (word & np.uint64((1 << position_bits) - 1)).view(np.intp)
        words[position] = index[order].view(np.uint64)
        word >>= np.uint64(position_bits)
        tied, run = _ties(word[1:] == word[:-1])
        position = position[tied]
        top = shift


def _ties(same: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.uint64]]:
    """Return the positions of elements in runs of two or more, and the number of each one's run.

    `same` says for each element but the first whether it is in the run of the one before.
    """
    first_of_pair = np.flatnonzero(same)
    tied = np.zeros(same.size + 1, np.bool_)
    tied[first_of_pair] = True
    tied[first_of_pair + 1] = True
    position = np.flatnonzero(tied)
    starts_run = ~same[position - 1]
    starts_run[:1] = True  # the one before the first element is the last
    return position, np.cumsum(starts_run, dtype=np.uint64)


def _unequal_runs(same: NDArray[np.bool_], run: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Return which elements are in runs with any two neighbours that are not the same."""
    unequal = np.zeros(int(run[-1]) + 1, np.bool_)
    unequal[run[1:][(run[1:] == run[:-1]) & ~same].view(np.intp)] = True
    keep: NDArray[Any] = unequal[run.view(np.intp)]
    return keep
