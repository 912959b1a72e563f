"""Stable argsort without an argsort: sort integers that carry their own index.

The key of every element, see `columns`, and its index are packed into one unsigned word, ``key >>
shift << bits | index``, the words are sorted in place by `quicksort`, and the low bits are the
answer. Stability is free: the index breaks ties. The output array is the scratch, so nothing else
of its size is allocated.

    survey -> pack -> sort -> unpack, refining short runs -> survey and pack long runs -> ...

The survey finds the range of the values; what is in order already is only numbered. Packing makes
the first cut of `quicksort` as well, block by block, while the words are in cache. Keys of 32-bit
and narrower values always fit beside the index. Of wider ones only the leading bits do; elements
that agree in these lie next to each other after the sort (a *run*) and are sorted again by the bits
that follow, short runs together within a block, long runs by the whole pool. A long run is surveyed
anew, so that bits which its elements have in common take no room: one far outlier, or a prefix of
all strings, costs one round more at most. Equal elements are left as they are.

The plan for k workers: three passes over the elements beside the passes of the sort, all parallel.
The serial part is one search per chunk border.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sharedarray_ops.plan import Chunk, balanced_parts, blocks, chunks
from sharedarray_ops.pool import Pool, Touch, n_workers
from sharedarray_ops.sort import fewsort
from sharedarray_ops.sort.columns import Column, Key, block_size, columns_of, leading, survey
from sharedarray_ops.sort.distinct import argsort_by_codes, argsort_by_masks
from sharedarray_ops.sort.keys import Extent, is_rankable
from sharedarray_ops.sort.packing import BLOCK, Field, pack, repack, run_start, unpack
from sharedarray_ops.sort.quicksort import (
    SMALL,
    Halves,
    Share,
    Splitter,
    choose_splitter,
    quicksort,
    sample_positions,
)

__all__ = ["argsort", "argsort_columns"]

# A worker takes up to 25 bytes for each element of a block of numbers, and up to 100 for wider ones
# and for those in runs: a tenth of the output at the most, where it has so many blocks. In shorter
# blocks than the least, calls of Python take longer than the work.
BLOCKS_PER_WORKER = 32
WIDE_BLOCKS_PER_WORKER = 128
MIN_BLOCK = 1 << 16
MIN_WIDE_BLOCK = 1 << 14
ALIGN = 1 << 12  # elements

Words = NDArray[np.uint64]


class _Lengths(NamedTuple):
    """How many elements a worker looks at together: of a block; of a block of short runs.

    A run that is longer than the second is a task for all workers.
    """

    block: int
    run: int

    @classmethod
    def of(cls, n: int, n_workers: int, columns: Sequence[Column]) -> _Lengths:
        """Return the lengths for `n` elements with these columns."""
        run = max(MIN_WIDE_BLOCK, n // (WIDE_BLOCKS_PER_WORKER * n_workers))
        block = max(MIN_BLOCK, n // (BLOCKS_PER_WORKER * n_workers))
        is_wide = len(columns) != 1 or columns[0].word is not None
        return cls(min(BLOCK, run if is_wide else block), min(BLOCK, run))


class _Survey(NamedTuple):
    """What one look at a chunk tells.

    `in_order`: no element of it goes before the one ahead of it, that of the chunk before included.
    False where there is NaN or NaT, whatever their order, and where that is not known.
    """

    extents: list[list[Extent]]
    in_order: bool


class _Run(NamedTuple):
    """A range of words to be sorted, and what they hold."""

    chunk: Chunk
    key: Key
    field: Field


class _Rest(NamedTuple):
    """A long run of indices, and the columns in which its elements may differ."""

    chunk: Chunk
    columns: list[Column]


def argsort(
    a: NDArray[Any],
    out: NDArray[np.intp],
    pool: Pool,
    touch: Touch = None,
    *,
    order: Sequence[str] = (),
    descending: bool = False,
) -> None:
    """Write the stable argsort of `a` to `out`.

    Parameters
    ----------
    a : ndarray, shape (n,)
        Any dtype that `columns.is_sortable` accepts, any byte order and stride. Not written to.
    out : ndarray of intp, shape (n,)
        Contiguous, in memory that the workers of `pool` share.
    pool : Pool
        Who works.
    touch : callable, optional
        Called on each part of `out` before it is written to.
    order : sequence of str
        Fields to compare first.
    descending : bool
        Whether larger elements go first; equal ones stay in their order, NaN and NaT come last.

    Notes
    -----
    Extra memory: about 12 MiB a worker, and less for fewer than 34 million elements: a tenth of
    `out` for all workers together, but at least 1 MiB each. Needs 64-bit `intp`.
    """
    a = a.view(np.ndarray)
    columns = columns_of(a, order, descending=descending)
    comparable = None if a.dtype.kind == "V" else a.view(np.uint8) if a.dtype.kind == "b" else a
    argsort_columns(columns, out, pool, touch, comparable)


def argsort_columns(
    columns: Sequence[Column],
    out: NDArray[np.intp],
    pool: Pool,
    touch: Touch = None,
    comparable: NDArray[Any] | None = None,
) -> None:
    """Write the order of elements with these columns to `out`, see `argsort`.

    `comparable` are the elements themselves, where NumPy's ``<=`` orders them as its sort does.
    """
    words = out.view(np.ndarray).view(np.uint64)
    n = out.size
    whole = Chunk(0, n)
    if not n:
        return
    descending = any(column.descending for column in columns)
    if comparable is not None and is_rankable(comparable.dtype):
        if n < fewsort.MANY:
            if touch is not None:
                touch(words)
            fewsort.argsort_few(comparable, words, descending=descending)
            return
        if argsort_by_masks(comparable, words, pool, touch, descending=descending):
            return
    index_bits = (n - 1).bit_length()
    lengths = _Lengths.of(n, n_workers(pool), columns)
    length = lengths.block
    parts = chunks(*whole, 4 * n_workers(pool), align=ALIGN)
    first = leading(columns, sample_positions(n), 64 - index_bits)
    surveys = pool.map(lambda chunk: _survey(first, chunk, comparable, length), parts)
    key = _key(columns, [found.extents for found in surveys])
    if not key.n_bits or all(found.in_order for found in surveys):
        pool.map(lambda chunk: _number(words, chunk, length), parts)
        return
    if argsort_by_codes(key, words, pool, touch, length):
        return
    run = _Run(whole, key, Field.below(key.n_bits, index_bits))
    if n_workers(pool) > 1 and n > SMALL:
        _pack_and_sort(words, run, parts, length, pool, touch)
    else:
        pool.map(lambda chunk: pack(key, words, chunk, run.field, None, touch, length), parts)
        quicksort(words, pool)
    rests = _unpack(words, [run], lengths, pool)
    while rests:
        runs = _pack_again(words, rests, index_bits, lengths.run, pool)
        quicksort(words, pool, _shares(runs, n_workers(pool)))
        rests = _unpack(words, runs, lengths, pool)


def _key(columns: Sequence[Column], extents: Sequence[list[list[Extent]]]) -> Key:
    """Join what the chunks tell of each column."""
    joined = [list(chain.from_iterable(found)) for found in zip(*extents, strict=True)]
    return Key.of(columns, joined)


def _survey(
    columns: Sequence[Column], chunk: Chunk, comparable: NDArray[Any] | None, length: int
) -> _Survey:
    """Look at a chunk once, block by block."""
    extents: list[list[Extent]] = [[] for _ in columns]
    in_order = comparable is not None
    descending = any(column.descending for column in columns)
    for i, j in blocks(*chunk, min(length, block_size(columns))):
        for found, new in zip(extents, survey(columns, Chunk(i, j)), strict=True):
            found += new
        if in_order and comparable is not None:
            values = comparable[max(i - 1, 0) : j]
            former, latter = (values[1:], values[:-1]) if descending else (values[:-1], values[1:])
            with np.errstate(invalid="ignore"):
                in_order = bool(np.all(former <= latter))
    return _Survey(extents, in_order)


def _number(words: Words, chunk: Chunk, length: int) -> None:
    """Write the positions of a chunk, which is the argsort of what is in order."""
    for i, j in blocks(*chunk, length):
        words[i:j] = np.arange(i, j, dtype=np.uint64)


def _pack_and_sort(
    words: Words, run: _Run, parts: Sequence[Chunk], length: int, pool: Pool, touch: Touch
) -> None:
    """Pack and sort all elements; the first cut is made while the words are in cache."""
    _, key, field = run
    splitter = _splitter(key, run.chunk.stop, field, n_workers(pool))
    found = pool.map(lambda chunk: pack(key, words, chunk, field, splitter, touch, length), parts)
    packed = [Chunk(i, j) for part in parts for i, j in blocks(*part, length)]
    n_low = [k for counts in found for k in counts]
    share = Share(*run.chunk, n_workers(pool))
    quicksort(words, pool, Halves(share, packed, n_low))


def _splitter(key: Key, n: int, field: Field, n_workers: int) -> Splitter:
    """Choose where to cut the words, before they are there, from a sample of the elements."""
    position = sample_positions(n)
    sample = np.empty(position.size, np.uint64)
    key.write(position, field.top, field.shift, sample)
    sample <<= np.uint64(field.index_bits)
    sample |= position.view(np.uint64)
    return choose_splitter(sample, n_workers)


def _unpack(words: Words, runs: Sequence[_Run], lengths: _Lengths, pool: Pool) -> list[_Rest]:
    """Unpack the sorted words of runs; return the long runs in them, as indices."""
    n_elements = sum(run.chunk.size for run in runs)
    tasks = []
    for run in runs:
        n_chunks = -(-4 * n_workers(pool) * run.chunk.size // n_elements)
        tasks += [(run, part) for part in _whole_runs(words, run, n_chunks)]
    found = pool.map(
        lambda task: unpack(task[0].key, words, task[1], task[0].field, *lengths), tasks
    )
    return [
        _Rest(chunk, [column for column, _, low in run.key.parts if low < run.field.shift])
        for (run, _), long_runs in zip(tasks, found, strict=True)
        for chunk in long_runs
    ]


def _pack_again(
    words: Words, rests: Sequence[_Rest], index_bits: int, length: int, pool: Pool
) -> list[_Run]:
    """Pack long runs of indices, all in the same passes; leave out those of equal elements."""
    index = words.view(np.intp)

    def lead(rest: _Rest) -> int:
        if len(rest.columns) == 1:
            return 1
        sample = index[rest.chunk.slice][sample_positions(rest.chunk.size)]
        return len(leading(rest.columns, sample, 64 - index_bits))

    n_leading = pool.map(lead, rests)
    n_chunks = max(1, 4 * n_workers(pool) // len(rests))
    groups = [chunks(*rest.chunk, n_chunks, align=ALIGN) for rest in rests]
    tasks = [(k, part) for k, group in enumerate(groups) for part in group]

    def look(task: tuple[int, Chunk]) -> list[list[Extent]]:
        k, part = task
        return survey(rests[k].columns[: n_leading[k]], part, index, length)

    found = iter(pool.map(look, tasks))
    keys = [
        _key(rest.columns, [next(found) for _ in group])
        for rest, group in zip(rests, groups, strict=True)
    ]
    fields = [Field.below(key.n_bits, index_bits) for key in keys]
    tasks = [(k, part) for k, part in tasks if keys[k].n_bits]
    pool.map(lambda task: repack(keys[task[0]], words, task[1], fields[task[0]], length), tasks)
    runs = [_Run(r.chunk, key, field) for r, key, field in zip(rests, keys, fields, strict=True)]
    return [run for run in runs if run.key.n_bits]


def _shares(runs: Sequence[_Run], n_workers: int) -> list[Share]:
    """Say into how many shares each long run is cut, so that all workers have as much to sort."""
    counts = balanced_parts([run.chunk.size for run in runs], n_workers)
    return [Share(*run.chunk, n) for run, n in zip(runs, counts, strict=True)]


def _whole_runs(words: Words, run: _Run, n_chunks: int) -> list[Chunk]:
    """Cut sorted words into chunks that no run straddles."""
    start, stop = run.chunk
    parts = chunks(start, stop, n_chunks, align=ALIGN)
    if not run.field.shift:
        return parts
    whole = words[start:stop]
    starts = {start + run_start(whole, part.start - start, run.field) for part in parts}
    return [Chunk(i, j) for i, j in pairwise([*sorted(starts), stop])]
