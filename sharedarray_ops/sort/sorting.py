"""Sort and argsort: which way serves when.

*Numbers* are what `keys.is_rankable` accepts: bool, integers, floats to 64 bits, times. A line is
*long* where all workers together sort it faster than one call of NumPy, see `long_sort`.

============================  ======================================================================
sort of                       way
============================  ======================================================================
numbers, short lines          `lines.sort_lines`: NumPy sorts each line, in one worker
numbers, long lines           `numbers`: all workers sort one line after the other
the same, stable, where       argsort and gather
values differ in their bits
wider elements, descending    argsort and gather, of a long line by all workers; of shorter ones
                              each in one worker, a tile of lines at a time (`lines.order_lines`)
============================  ======================================================================

An argsort is always stable. Lines of `LONG_ARGSORT` elements and more are sorted one after the
other by all workers, shorter ones each in one worker, a tile of lines at a time (`lines`). Of one
line, the first that applies; in ns of CPU an element of 4 million (few: 262,144) float64 in one
worker, and by NumPy's stable argsort (AMD EPYC, NumPy 2.4.6):

============================  ==================================================  =====  =====
argsort of                    way                                                  ours  NumPy
============================  ==================================================  =====  =====
numbers, fewer than `MANY`    `fewsort`, in the caller                               48    110
up to `MAX_MASKS` values      `distinct.argsort_by_masks`                             4     37
what is in order              its positions                                           2      2
up to `MAX_CODES` keys        `distinct.argsort_by_codes` (200 int64)                11     81
other numbers                 `packsort`: words of keys and indices,                 65    171
wider elements                sorted by `quicksort` (complex128)                     67    233
============================  ==================================================  =====  =====
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sharedarray_ops import elementwise
from sharedarray_ops.pool import PRIVATE, Caller, Memory, Pool, Touch
from sharedarray_ops.sort import fewsort, lines, numbers, packsort
from sharedarray_ops.sort.columns import ASCENDING, Column, Direction, columns_of
from sharedarray_ops.sort.distinct import argsort_by_codes, argsort_by_masks
from sharedarray_ops.sort.keys import is_rankable
from sharedarray_ops.sort.packing import number

__all__ = ["LONG_ARGSORT", "MANY", "argsort", "argsort_columns", "long_sort", "sort"]

# Elements of a long line: two workers, NumPy 2.4 with AVX-512.
LONG_SORT = 1 << 20
LONG_SORT_SLOW = 1 << 16  # dtypes that NumPy sorts without SIMD: 8-bit, times
LONG_SORT_HALF = 1 << 18  # float16: there are 65,536 values to count
LONG_WIDE = 1 << 17
LONG_ARGSORT = 1 << 19
# Numbers of which so many leave the cache: from here on two workers are faster than `fewsort`.
MANY = 1 << 19


def long_sort(dtype: np.dtype[Any]) -> int:
    """Return from how many elements on all workers sort one line."""
    if not is_rankable(dtype):
        return LONG_WIDE
    if dtype.char == "e":
        return LONG_SORT_HALF
    has_simd = dtype.kind in "iuf" and dtype.itemsize > 1
    return LONG_SORT if has_simd else LONG_SORT_SLOW


def sort(
    a: NDArray[Any],
    pool: Pool,
    memory: Memory = PRIVATE,
    *,
    out: NDArray[Any] | None = None,
    direction: Direction = ASCENDING,
    stable: bool = False,
) -> None:
    """Sort `a` along its last axis, in place or into `out`.

    Parameters
    ----------
    a, out : ndarray, shape (..., n)
        Any layout and dtype that `columns.is_sortable` accepts. What is written to is in memory
        that the workers share.
    pool, memory
        The workers, and where their scratch is.
    direction : Direction
        What is compared.
    stable : bool
        Whether equal elements keep their order.
    """
    if out is not None:
        if a.ndim == 1 and _goes_by_order(a, pool, stable=stable):
            _gather_in_order(a, out, pool, memory, direction)
            return
        stable = stable and a.ndim > 1  # one line has nothing to keep in order
        elementwise.assign(out, a, pool, memory.populator(out))
        a = out
    is_long = a.shape[-1] >= long_sort(a.dtype)
    if is_rankable(a.dtype) and not (is_long or direction.descending):
        lines.sort_lines(a, pool, kind="stable" if stable else None)
    elif is_long or a.ndim == 1:
        for index in np.ndindex(a.shape[:-1]):
            line = a[index]
            if _goes_by_order(line, pool, stable=stable):
                _gather_in_order(line, None, pool, memory, direction)
            elif line.flags.c_contiguous:
                numbers.sort_numbers(line, pool, descending=direction.descending)
            else:
                dense = memory.empty(line.shape, line.dtype)
                elementwise.copy(line, dense, pool)
                numbers.sort_numbers(dense, pool, descending=direction.descending)
                elementwise.copy(dense, line, pool)
    elif a.shape[-1] <= lines.TILE:
        lines.order_lines(a, pool, direction)
    else:
        pool.map(
            lambda index: _gather_in_order(a[index], None, Caller(), PRIVATE, direction),
            list(np.ndindex(a.shape[:-1])),
        )


def _goes_by_order(line: NDArray[Any], pool: Pool, *, stable: bool) -> bool:
    """Return whether a line is sorted by its argsort."""
    return not is_rankable(line.dtype) or (stable and numbers.needs_order(line, pool))


def _gather_in_order(
    line: NDArray[Any],
    out: NDArray[Any] | None,
    pool: Pool,
    memory: Memory,
    direction: Direction,
) -> None:
    """Write the elements of a line in their order to `out`; None is the line itself."""
    order = memory.empty(line.shape, np.intp)
    argsort(line, order, pool, memory, direction)
    target = memory.empty(line.shape, line.dtype) if out is None else out
    elementwise.gather(line, order, target, pool)
    if out is None:
        elementwise.copy(target, line, pool)


def argsort(
    a: NDArray[Any],
    out: NDArray[np.intp],
    pool: Pool,
    memory: Memory = PRIVATE,
    direction: Direction = ASCENDING,
) -> None:
    """Write the stable argsort of `a` along its last axis to `out`, parameters as for `sort`.

    `a` is not written to; `out` has any layout. Extra memory: about 12 MiB a worker, and less for
    fewer than 34 million elements: a tenth of `out` for all workers together, but at least 1 MiB
    each; 8 bytes for each element of a line that is not contiguous in `out`. Needs 64-bit `intp`.
    """
    a, out = a.view(np.ndarray), out.view(np.ndarray)
    if a.ndim == 1:
        _argsort_line(a, out, pool, memory, direction)
    elif a.shape[-1] >= LONG_ARGSORT:
        for index in np.ndindex(a.shape[:-1]):
            _argsort_line(a[index], out[index], pool, memory, direction)
    elif a.shape[-1] <= lines.TILE:
        lines.argsort_lines(a, out, pool, direction)
    else:
        pool.map(
            lambda index: _argsort_line(a[index], out[index], Caller(), PRIVATE, direction),
            list(np.ndindex(a.shape[:-1])),
        )


def _argsort_line(
    a: NDArray[Any],
    out: NDArray[np.intp],
    pool: Pool,
    memory: Memory,
    direction: Direction,
) -> None:
    dense = out if out.flags.c_contiguous else memory.empty(out.shape, np.intp).view(np.ndarray)
    comparable = None if a.dtype.kind == "V" else a.view(np.uint8) if a.dtype.kind == "b" else a
    touch = memory.populator(dense)
    if comparable is not None and is_rankable(a.dtype) and 0 < a.size < MANY:
        words = dense.view(np.uint64)
        if touch is not None:
            touch(words)
        fewsort.argsort_few(comparable, words, descending=direction.descending)
    else:
        argsort_columns(columns_of(a, direction), dense, pool, touch, comparable)
    if dense is not out:
        elementwise.copy(dense, out, pool)


def argsort_columns(
    columns: Sequence[Column],
    out: NDArray[np.intp],
    pool: Pool,
    touch: Touch = None,
    comparable: NDArray[Any] | None = None,
) -> None:
    """Write the order of elements with these columns to `out`, which is contiguous.

    `touch` is called on each part of `out` before it is written to. `comparable` are the elements
    themselves, where NumPy's ``<=`` orders them as its sort does.
    """
    words = out.view(np.ndarray).view(np.uint64)
    if not words.size:
        return
    if comparable is not None and is_rankable(comparable.dtype):
        descending = columns[0].descending
        if argsort_by_masks(comparable, words, pool, touch, descending=descending):
            return
    plan = packsort.Plan.of(words.size, pool, columns)
    key, in_order = packsort.survey_all(columns, comparable, plan, pool)
    if in_order or not key.n_bits:
        pool.map(lambda chunk: number(words, chunk, plan.block), plan.parts)
    elif not argsort_by_codes(key, words, pool, touch, plan.block):
        packsort.sort_packed(key, words, plan, pool, touch)
