"""Stable argsort without an argsort: sort integers that carry their own index.

Rank and index of every element are packed into one unsigned word, ``rank >> shift << bits |
index``, the words are sorted in place by `quicksort`, and the low bits are the answer. Stability
is free: the index breaks ties. The output array is the scratch, so nothing else of its size is
allocated.

    extent -> pack -> sort -> unpack, refining ties -> refine long runs

Ranks of 32-bit and narrower values always fit beside the index. Wider ranks may lose their lowest
`shift` bits; elements that agree in what is left lie next to each other after the sort (a *run*)
and are sorted again by the bits they lost, short runs together within a block, long runs by the
whole pool, until no bit is lost. The index has at least as many bits as any rank loses, so one
refinement is enough below 2**32 elements.

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
from sharedarray_ops.pool import Pool, n_workers
from sharedarray_ops.quicksort import quicksort

__all__ = ["argsort"]

# Elements; a block's words and their scratch stay in the second-level cache.
BLOCK = 65536
# A longer run of elements that agree in their packed bits is a task of its own for the pool.
LONG_RUN = 4 * BLOCK


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


class _Task(NamedTuple):
    """A range of the output whose elements are a run so far, and the field to sort it by."""

    run: Chunk
    field: _Field


def argsort(a: NDArray[Any], out: NDArray[np.intp], pool: Pool) -> None:
    """Write the stable argsort of `a` to `out`.

    Parameters
    ----------
    a : ndarray, shape (n,)
        Any dtype that `keys.is_rankable` accepts, any byte order and stride. Not written to.
    out : ndarray of intp, shape (n,)
        Contiguous, in memory that the workers of `pool` share.
    pool : Pool
        Who works.

    Notes
    -----
    Extra memory: about 3 MiB a worker. Needs 64-bit `intp`.
    """
    a, words = a.view(np.ndarray), out.view(np.ndarray).view(np.uint64)
    n, n_chunks = a.size, 4 * n_workers(pool)
    parts = chunks(0, n, n_chunks, align=BLOCK)
    rank = ranking(a.dtype, (e for es in pool.map(lambda c: _extents(a, c), parts) for e in es))
    field = _Field.below(rank.n_bits, index_bits=(n - 1).bit_length())
    pool.map(lambda chunk: _pack(a, words, chunk, rank, field), parts)
    todo = [_Task(Chunk(0, n), field)]
    while todo:
        todo += _sort_run(a, words, todo.pop(), rank, pool)


def _sort_run(
    a: NDArray[Any], words: NDArray[np.uint64], task: _Task, rank: Ranking, pool: Pool
) -> list[_Task]:
    """Sort the packed words of a run and unpack them; return the long runs in it, packed again."""
    run, field = task
    n_chunks = 4 * n_workers(pool)
    quicksort(words[run.slice], pool)
    parts = _whole_runs(words, run, n_chunks, field)
    long_runs = pool.map(lambda part: _unpack(a, words, part, rank, field), parts)
    rest = _Field.below(field.shift, field.index_bits)
    tasks = [_Task(run, rest) for runs in long_runs for run in runs]
    for task in tasks:
        parts = chunks(*task.run, n_chunks, align=BLOCK)
        pool.map(lambda part: _repack(a, words, part, rank, rest), parts)
    return tasks


def _extents(a: NDArray[Any], chunk: Chunk) -> list[Extent]:
    """Return the extents of a chunk, block by block so that it is read from memory once."""
    return [extent(a[i:j]) for i, j in blocks(*chunk, 2 * BLOCK)]


def _pack(
    a: NDArray[Any], words: NDArray[np.uint64], chunk: Chunk, rank: Ranking, field: _Field
) -> None:
    """Write the words of the first round: the leading bits of each rank and the position."""
    index = np.arange(chunk.start, chunk.start + BLOCK, dtype=np.uint64)
    for i, j in blocks(*chunk, BLOCK):
        word = words[i:j]
        rank.encode(a[i:j], word)
        _pack_field(word, field)
        word |= index[: j - i]
        index += np.uint64(BLOCK)


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
            _refine(a, words[i:j], rank, field)
        i = j
    return long_runs


def _refine(a: NDArray[Any], words: NDArray[np.uint64], rank: Ranking, field: _Field) -> None:
    """Turn sorted words into indices, each run in the order of the bits that its words lack."""
    leading = words >> np.uint64(field.index_bits)
    same = leading[1:] == leading[:-1]
    words &= field.index_mask
    if not same.any():
        return
    tied = np.zeros(words.size, np.bool_)
    tied[1:] = same
    tied[:-1] |= same
    position = np.flatnonzero(tied)
    index = words[position]
    starts_run = np.append(True, ~same)[position]
    run = np.cumsum(starts_run, dtype=np.uint64)
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
