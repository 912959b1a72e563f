"""Stable argsort without an argsort: sort integers that carry their own index.

Rank and index of every element are packed into one unsigned word, ``rank >> shift << bits |
index``, the words are sorted in place by `quicksort`, and the low bits are the answer. Stability
is free: the index breaks ties. The output array is the scratch, so nothing else of its size is
allocated.

    survey -> pack -> sort -> unpack, refining short runs -> pack long runs again -> ...

The survey finds the range of the values; what is in order already is only numbered. Packing makes
the first cut of `quicksort` as well, block by block, while the words are in cache. Ranks of 32-bit
and narrower values always fit beside the index. Wider ranks may lose their lowest `shift` bits;
elements that agree in what is left lie next to each other after the sort (a *run*) and are sorted
again by the bits they lost, short runs together within a block, long runs by the whole pool, until
no bit is lost. A long run of equal elements is left as it is. The index has at least as many bits
as any rank loses, so one refinement is enough below 2**32 elements.

The plan for k workers: three passes over the elements beside the passes of the sort, all parallel.
The serial part is one search per chunk border.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sharedarray_ops.keys import Extent, Ranking, extent, ranking
from sharedarray_ops.plan import Chunk, blocks, chunks
from sharedarray_ops.pool import Pool, Touch, n_workers
from sharedarray_ops.quicksort import (
    SMALL,
    Halves,
    Share,
    Splitter,
    choose_splitter,
    partition,
    quicksort,
    sample_positions,
)

__all__ = ["argsort"]

# Elements; a block's words and their scratch stay in the second-level cache.
BLOCK = 1 << 17
# A longer run of elements that agree in their packed bits is a task of its own for the pool.
LONG_RUN = 2 * BLOCK


class _Field(NamedTuple):
    """Which bits of the ranks one round sorts by: those from `shift` up to, not including, `top`.

    Elements of one run agree in all bits from `top` up. The words hold the field above
    `index_bits` bits.
    """

    top: int
    shift: int
    index_bits: int

    @classmethod
    def below(cls, top: int, index_bits: int) -> _Field:
        """Take as many bits below `top` as fit beside the index."""
        return cls(top, max(0, top - (64 - index_bits)), index_bits)

    @property
    def index_mask(self) -> np.uint64:
        """Return the bits of a word that hold the index."""
        return np.uint64((1 << self.index_bits) - 1)


class _Survey(NamedTuple):
    """What one look at a chunk tells.

    `in_order`: no element of it is less than the one before, that of the chunk before included.
    False where there is NaN or NaT, whatever their order.
    """

    extents: list[Extent]
    in_order: bool


class _Task(NamedTuple):
    """A range of the output whose elements are a run so far, and the field to sort it by."""

    run: Chunk
    field: _Field


def argsort(a: NDArray[Any], out: NDArray[np.intp], pool: Pool, touch: Touch = None) -> None:
    """Write the stable argsort of `a` to `out`.

    Parameters
    ----------
    a : ndarray, shape (n,)
        Any dtype that `keys.is_rankable` accepts, any byte order and stride. Not written to.
    out : ndarray of intp, shape (n,)
        Contiguous, in memory that the workers of `pool` share.
    pool : Pool
        Who works.
    touch : callable, optional
        Called on each part of `out` before it is written to.

    Notes
    -----
    Extra memory: about 6 MiB a worker. Needs 64-bit `intp`.
    """
    a, words = a.view(np.ndarray), out.view(np.ndarray).view(np.uint64)
    if a.dtype.kind == "b":  # of a bool that is not 0 or 1, NumPy compares the byte
        a = a.view(np.uint8)
    n, n_chunks = a.size, 4 * n_workers(pool)
    parts = chunks(0, n, n_chunks, align=BLOCK)
    surveys = pool.map(lambda chunk: _survey(a, chunk), parts)
    if all(survey.in_order for survey in surveys):
        pool.map(lambda chunk: _number(words, chunk), parts)
        return
    rank = ranking(a.dtype, (extent for survey in surveys for extent in survey.extents))
    field = _Field.below(rank.n_bits, index_bits=(n - 1).bit_length())
    if n_workers(pool) > 1 and n > SMALL:
        splitter = _splitter(a, rank, field, n_workers(pool))
        found = pool.map(lambda chunk: _pack(a, words, chunk, rank, field, splitter, touch), parts)
        share = Share(0, n, n_workers(pool))
        packed = [Chunk(i, j) for part in parts for i, j in blocks(*part, BLOCK)]
        quicksort(words, pool, Halves(share, packed, [k for n_low in found for k in n_low]))
    else:
        pool.map(lambda chunk: _pack(a, words, chunk, rank, field, None, touch), parts)
        quicksort(words, pool)
    todo = _unpack_run(a, words, Chunk(0, n), rank, field, pool)
    while todo:
        run, field = todo.pop()
        quicksort(words[run.slice], pool)
        todo += _unpack_run(a, words, run, rank, field, pool)


def _unpack_run(
    a: NDArray[Any],
    words: NDArray[np.uint64],
    run: Chunk,
    rank: Ranking,
    field: _Field,
    pool: Pool,
) -> list[_Task]:
    """Unpack the sorted words of a run; return the long runs in it, packed again."""
    n_chunks = 4 * n_workers(pool)
    parts = _whole_runs(words, run, n_chunks, field)
    long_runs = pool.map(lambda part: _unpack(a, words, part, rank, field), parts)
    rest = _Field.below(field.shift, field.index_bits)
    tasks = [_Task(run, rest) for runs in long_runs for run in runs]
    return [task for task in tasks if _pack_again(a, words, task, rank, pool)]


def _pack_again(
    a: NDArray[Any], words: NDArray[np.uint64], task: _Task, rank: Ranking, pool: Pool
) -> bool:
    """Pack a long run for its next round; False where its elements are equal, and so in order."""
    parts = chunks(*task.run, 4 * n_workers(pool), align=BLOCK)
    value = a[words[task.run.start]]
    if all(pool.map(lambda part: _is_all(a, words, part, value), parts)):
        return False
    pool.map(lambda part: _repack(a, words, part, rank, task.field), parts)
    return True


def _is_all(a: NDArray[Any], words: NDArray[np.uint64], chunk: Chunk, value: Any) -> bool:
    """Return whether all elements whose indices a chunk holds are equal to `value`."""
    return all(bool(np.all(a[words[i:j].view(np.intp)] == value)) for i, j in blocks(*chunk, BLOCK))


def _splitter(a: NDArray[Any], rank: Ranking, field: _Field, n_workers: int) -> Splitter:
    """Choose where to cut the words, before they are there, from a sample of the elements."""
    position = sample_positions(a.size)
    sample = np.empty(position.size, np.uint64)
    rank.encode(a[position], sample)
    _pack_field(sample, field)
    sample |= position.view(np.uint64)
    return choose_splitter(sample, n_workers)


def _survey(a: NDArray[Any], chunk: Chunk) -> _Survey:
    """Look at a chunk once, block by block."""
    extents = []
    in_order = True
    for i, j in blocks(*chunk, 4 * BLOCK):
        extents.append(extent(a[i:j]))
        overlapping = a[max(i - 1, 0) : j]
        in_order = in_order and bool(np.all(overlapping[:-1] <= overlapping[1:]))
    return _Survey(extents, in_order)


def _number(words: NDArray[np.uint64], chunk: Chunk) -> None:
    """Write the positions of a chunk, which is the argsort of what is in order."""
    for i, j in blocks(*chunk, BLOCK):
        words[i:j] = np.arange(i, j, dtype=np.uint64)


def _pack(
    a: NDArray[Any],
    words: NDArray[np.uint64],
    chunk: Chunk,
    rank: Ranking,
    field: _Field,
    splitter: Splitter | None,
    touch: Touch,
) -> list[int]:
    """Write the words of the first round: the leading bits of each rank and the position.

    Each block is partitioned while it is in cache; returned is how many low words each one has.
    """
    index = np.arange(chunk.start, chunk.start + BLOCK, dtype=np.uint64)
    n_low = []
    for i, j in blocks(*chunk, BLOCK):
        word = words[i:j]
        if touch is not None:
            touch(word)
        rank.encode(a[i:j], word)
        _pack_field(word, field)
        word |= index[: j - i]
        index += np.uint64(BLOCK)
        if splitter is not None:
            n_low.append(partition(word, splitter))
    return n_low


def _repack(
    a: NDArray[Any], words: NDArray[np.uint64], chunk: Chunk, rank: Ranking, field: _Field
) -> None:
    """Turn the indices of a run into words of a further round."""
    for i, j in blocks(*chunk, BLOCK):
        word = words[i:j]
        index = word.copy()
        rank.encode(a[index.view(np.intp)], word)
        word &= np.uint64((1 << field.top) - 1)
        _pack_field(word, field)
        word |= index


def _pack_field(ranks: NDArray[np.uint64], field: _Field) -> None:
    """Move the field of each rank above the bits of the index."""
    if field.shift:
        ranks >>= np.uint64(field.shift)
    ranks <<= np.uint64(field.index_bits)


def _whole_runs(
    words: NDArray[np.uint64], chunk: Chunk, n_chunks: int, field: _Field
) -> list[Chunk]:
    """Cut sorted words into chunks that no run straddles."""
    parts = chunks(*chunk, n_chunks, align=BLOCK)
    if not field.shift:
        return parts
    starts = {
        chunk.start + _run_start(words[chunk.slice], p.start - chunk.start, field) for p in parts
    }
    cuts = [*sorted(starts), chunk.stop]
    return [Chunk(i, j) for i, j in pairwise(cuts)]


def _run_start(words: NDArray[np.uint64], position: int, field: _Field) -> int:
    """Return where the run of the element at `position` starts."""
    return int(np.searchsorted(words, words[position] & ~field.index_mask))


def _unpack(
    a: NDArray[Any], words: NDArray[np.uint64], chunk: Chunk, rank: Ranking, field: _Field
) -> list[Chunk]:
    """Turn the words of a chunk into indices, short runs refined; return the long runs."""
    if not field.shift:
        for i, j in blocks(*chunk, BLOCK):
            words[i:j] &= field.index_mask
        return []
    long_runs = []
    scratch = np.empty(LONG_RUN, np.uint64)
    i = chunk.start
    while i < chunk.stop:
        j = min(i + BLOCK, chunk.stop)
        if j < chunk.stop:
            rest = words[i : chunk.stop]
            # The block ends where the run that its end would cut starts, or with that run.
            j = i + _run_start(rest, j - i, field)
            if j == i:
                j = i + int(np.searchsorted(rest, rest[0] | field.index_mask, "right"))
        if j - i > LONG_RUN:
            words[i:j] &= field.index_mask
            long_runs.append(Chunk(i, j))
        else:
            _refine(a, words[i:j], rank, field, scratch)
        i = j
    return long_runs


def _refine(
    a: NDArray[Any],
    words: NDArray[np.uint64],
    rank: Ranking,
    field: _Field,
    scratch: NDArray[np.uint64],
) -> None:
    """Turn sorted words into indices, each run in the order of the bits that its words lack."""
    leading = np.right_shift(words, np.uint64(field.index_bits), out=scratch[: words.size])
    same = leading[1:] == leading[:-1]
    words &= field.index_mask
    first_of_pair = np.flatnonzero(same)
    if not first_of_pair.size:
        return
    tied = np.zeros(words.size, np.bool_)
    tied[first_of_pair] = tied[first_of_pair + 1] = True
    position = np.flatnonzero(tied)
    starts_run = ~same[position - 1]
    starts_run[0] = True
    run = np.cumsum(starts_run, dtype=np.uint64)
    index = words[position]
    key = np.empty(index.size, np.uint64)
    rank.encode(a[index.view(np.intp)], key)
    key &= np.uint64((1 << field.shift) - 1)
    run_bits, position_bits = int(run[-1]).bit_length(), index.size.bit_length()
    if run_bits + field.shift + position_bits > 64:  # only where there are 2**32 elements or more
        order = np.lexsort((key, run))
    else:
        key |= run << np.uint64(field.shift)
        key <<= np.uint64(position_bits)
        key |= np.arange(key.size, dtype=np.uint64)
        key.sort()
        order = (key & np.uint64((1 << position_bits) - 1)).view(np.intp)
    words[position] = index[order]
