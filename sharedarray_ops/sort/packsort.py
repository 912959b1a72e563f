"""Stable argsort without an argsort: sort integers that carry their own index.

The key of every element, see `columns`, and its index are packed into one unsigned word, ``key >>
shift << bits | index``, the words are sorted in place by `quicksort`, and the low bits are the
answer. Stability is free: the index breaks ties. The output array is the scratch, so nothing else
of its size is allocated.

    survey -> pack -> sort -> unpack, refining short runs -> survey and pack long runs -> ...

The survey finds the range of the values, and whether they are in order already. Packing makes the
first cut of `quicksort` as well, block by block, while the words are in cache. Keys of 32-bit and
narrower values always fit beside the index. Of wider ones only the leading bits do; elements that
agree in these lie next to each other after the sort (a *run*) and are sorted again by the bits that
follow, short runs together within a block, long runs by the whole pool. A long run is surveyed
anew, so that bits which its elements have in common take no room: one outlier, or a prefix of all
strings, costs one more round at most. Equal elements are left as they are.

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
from sharedarray_ops.sort.columns import Column, Key, block_size, leading, survey
from sharedarray_ops.sort.keys import Extent, in_order
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

__all__ = ["Plan", "sort_packed", "survey_all"]

# A worker takes up to 25 bytes for each element of a block of numbers, and up to 100 for wider ones
# and for those in runs: a tenth of the output at the most, where it has so many blocks. In shorter
# blocks than the least, calls of Python take longer than the work.
BLOCKS_PER_WORKER = 32
WIDE_BLOCKS_PER_WORKER = 128
MIN_BLOCK = 1 << 16
MIN_WIDE_BLOCK = 1 << 14
ALIGN = 1 << 12  # elements

Words = NDArray[np.uint64]


class Plan(NamedTuple):
    """How elements are cut: into parts that a worker takes at a time.

    It looks at `block` elements together, of short runs at `run`; a longer run is a task for all.
    """

    parts: list[Chunk]
    block: int
    run: int

    @classmethod
    def of(cls, n: int, pool: Pool, columns: Sequence[Column]) -> Plan:
        """Return the plan for elements with these columns."""
        k = n_workers(pool)
        run = min(BLOCK, max(MIN_WIDE_BLOCK, n // (WIDE_BLOCKS_PER_WORKER * k)))
        block = min(BLOCK, max(MIN_BLOCK, n // (BLOCKS_PER_WORKER * k)))
        is_wide = len(columns) != 1 or columns[0].word is not None
        return cls(chunks(0, n, 4 * k, align=ALIGN), run if is_wide else block, run)


class _Run(NamedTuple):
    """A range of words to be sorted, and what they hold."""

    chunk: Chunk
    key: Key
    field: Field


class _Rest(NamedTuple):
    """A long run of indices, and the columns in which its elements may differ."""

    chunk: Chunk
    columns: list[Column]


def survey_all(
    columns: Sequence[Column], comparable: NDArray[Any] | None, plan: Plan, pool: Pool
) -> tuple[Key, bool]:
    """Return the key of all elements, and whether they are in order already.

    False where `comparable` is not given, or has NaN or NaT.
    """
    n = plan.parts[-1].stop
    first = leading(columns, sample_positions(n), 64 - _index_bits(n))
    found = pool.map(lambda chunk: _survey(first, chunk, comparable, plan.block), plan.parts)
    return _key(columns, [extents for extents, _ in found]), all(ordered for _, ordered in found)


def sort_packed(key: Key, words: Words, plan: Plan, pool: Pool, touch: Touch = None) -> None:
    """Write the stable order of elements to `words`, by their key."""
    n = words.size
    run = _Run(Chunk(0, n), key, Field.below(key.n_bits, _index_bits(n)))
    if n_workers(pool) > 1 and n > SMALL:
        _pack_and_sort(words, run, plan, pool, touch)
    else:
        pool.map(
            lambda part: pack(key, words, part, run.field, None, touch, plan.block), plan.parts
        )
        quicksort(words, pool)
    rests = _unpack(words, [run], plan, pool)
    while rests:
        runs = _pack_again(words, rests, plan.run, pool)
        quicksort(words, pool, _shares(runs, n_workers(pool)))
        rests = _unpack(words, runs, plan, pool)


def _index_bits(n: int) -> int:
    return (n - 1).bit_length()


def _key(columns: Sequence[Column], extents: Sequence[list[list[Extent]]]) -> Key:
    """Join what the chunks tell of each column."""
    joined = [list(chain.from_iterable(found)) for found in zip(*extents, strict=True)]
    return Key.of(columns, joined)


def _survey(
    columns: Sequence[Column], chunk: Chunk, comparable: NDArray[Any] | None, length: int
) -> tuple[list[list[Extent]], bool]:
    """Return the extents of each column, and whether no element goes before the one ahead of it.

    That of the chunk before included. Block by block, so that each is read from memory once.
    """
    extents: list[list[Extent]] = [[] for _ in columns]
    descending = any(column.descending for column in columns)
    ordered = comparable is not None
    for i, j in blocks(*chunk, min(length, block_size(columns))):
        for found, new in zip(extents, survey(columns, Chunk(i, j)), strict=True):
            found += new
        if ordered and comparable is not None:
            ordered = in_order(comparable[max(i - 1, 0) : j], descending=descending)
    return extents, ordered


def _pack_and_sort(words: Words, run: _Run, plan: Plan, pool: Pool, touch: Touch) -> None:
    """Pack and sort all elements; the first cut is made while the words are in cache."""
    _, key, field = run
    splitter = _splitter(key, run.chunk.stop, field, n_workers(pool))
    found = pool.map(
        lambda part: pack(key, words, part, field, splitter, touch, plan.block), plan.parts
    )
    packed = [block for part in plan.parts for block in blocks(*part, plan.block)]
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


def _unpack(words: Words, runs: Sequence[_Run], plan: Plan, pool: Pool) -> list[_Rest]:
    """Unpack the sorted words of runs; return the long runs in them, as indices."""
    n_elements = sum(run.chunk.size for run in runs)
    tasks = []
    for run in runs:
        n_chunks = -(-4 * n_workers(pool) * run.chunk.size // n_elements)
        tasks += [(run, part) for part in _whole_runs(words, run, n_chunks)]
    found = pool.map(
        lambda task: unpack(task[0].key, words, task[1], task[0].field, plan.block, plan.run),
        tasks,
    )
    return [
        _Rest(chunk, [column for column, _, low in run.key.parts if low < run.field.shift])
        for (run, _), long_runs in zip(tasks, found, strict=True)
        for chunk in long_runs
    ]


def _pack_again(words: Words, rests: Sequence[_Rest], length: int, pool: Pool) -> list[_Run]:
    """Pack long runs of indices, all in the same passes; leave out those of equal elements."""
    index, index_bits = words.view(np.intp), _index_bits(words.size)

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
