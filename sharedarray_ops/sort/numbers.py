"""Sort numbers in place: the way for each dtype.

=============================  ===================================================================
dtype                          way
=============================  ===================================================================
bool, 8-bit, float16           `counting_sort`
wider integers                 `quicksort`; `distinct` where there are few distinct values
float32, float64               as integers of their bits, then the negative ones reversed
datetime64, timedelta64        as int64, less one where there is NaT, the smallest of all
foreign byte order             bytes swapped, sorted, and swapped back
=============================  ===================================================================

Values that compare equal but differ in their bits, -0.0 and +0.0 or NaN with different payloads,
have no order of their own in NumPy's default sort. Here -0.0 goes first and every NaN becomes
`numpy.nan`, so that the bits are the same for any number of workers. A stable sort keeps the order
of the input instead: `needs_order` tells where only argsort and a gather can do that.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sharedarray_ops.plan import Chunk, blocks, chunks
from sharedarray_ops.pool import Pool, n_workers
from sharedarray_ops.sort.counting import counting_sort
from sharedarray_ops.sort.distinct import sort_by_counts
from sharedarray_ops.sort.keys import n_before_nan
from sharedarray_ops.sort.quicksort import quicksort

__all__ = ["has_both_zeros", "needs_order", "sort_numbers"]

# Elements.
BLOCK = 65536

_NAT = np.iinfo(np.int64).min


def sort_numbers(a: NDArray[Any], pool: Pool, *, descending: bool = False) -> None:
    """Sort `a` in place: contiguous, of any dtype that `keys.is_rankable` accepts.

    Descending or not, NaN and NaT come last. Extra memory: below 5 MiB a worker, for float16 below
    9 MiB.
    """
    a = a.view(np.ndarray)
    _sort_ascending(a, pool)
    if descending:
        _reverse(a[: n_before_nan(a)], pool)


def _sort_ascending(a: NDArray[Any], pool: Pool) -> None:
    if a.dtype.itemsize == 1 or (a.dtype.kind == "f" and a.dtype.itemsize == 2):
        counting_sort(a, pool)
        if a.dtype.kind == "f":
            _fill(a, Chunk(n_before_nan(a), a.size), a.dtype.type(np.nan), pool)  # of one kind
    elif not a.dtype.isnative:
        _swap_bytes(a, pool)
        try:
            _sort_ascending(a.view(a.dtype.newbyteorder("=")), pool)
        finally:
            _swap_bytes(a, pool)
    elif a.dtype.kind in "mM":
        _sort_times(a.view(np.int64), pool)
    elif a.dtype.kind == "f":
        _sort_floats(a, pool)
    else:
        _sort_integers(a, pool)


def needs_order(a: NDArray[Any], pool: Pool) -> bool:
    """Return whether a stable sort of `a` has equal values to keep in order that differ in bits.

    That is where floats have NaN, or zeros of both signs.
    """
    if a.dtype.kind != "f":
        return False
    a = a.view(np.ndarray)
    parts = chunks(0, a.size, 4 * n_workers(pool), align=BLOCK)
    found = pool.map(lambda part: (_has_nan(a, part), _zero_signs(a, part)), parts)
    return any(has_nan for has_nan, _ in found) or _are_both(signs for _, signs in found)


def has_both_zeros(a: NDArray[Any], pool: Pool) -> bool:
    """Return whether floats have zeros of both signs, which are equal, but not in their bits."""
    a = a.view(np.ndarray)
    return _are_both(
        pool.map(lambda part: _zero_signs(a, part), chunks(0, a.size, 4 * n_workers(pool)))
    )


def _are_both(signs: Iterable[set[bool]]) -> bool:
    return len(set().union(*signs)) == 2


def _has_nan(a: NDArray[Any], part: Chunk) -> bool:
    return any(np.isnan(a[i:j]).any() for i, j in blocks(*part, BLOCK))


def _zero_signs(a: NDArray[Any], part: Chunk) -> set[bool]:
    """Return the signs of the zeros of a part: True for -0.0."""
    signs: set[bool] = set()
    for i, j in blocks(*part, BLOCK):
        values = a[i:j]
        minus = np.signbit(values[np.flatnonzero(values == 0)])
        if minus.size:
            signs.update((bool(minus.any()), bool(minus.all())))
    return signs


def _sort_integers(a: NDArray[Any], pool: Pool) -> None:
    if not sort_by_counts(a, pool):
        quicksort(a, pool)


def _sort_floats(a: NDArray[Any], pool: Pool) -> None:
    """Sort float32 or float64 by their bits, which NumPy does faster than by their values.

    As integers, positive numbers are in order, and NaN without the sign bit after them. Negative
    ones come first and in reverse: -0.0, ..., -inf, NaN with the sign bit.
    """
    bits = a.view(f"i{a.dtype.itemsize}")
    infinities = np.array([-np.inf, np.inf], a.dtype).view(bits.dtype)
    _sort_integers(bits, pool)
    n_signed = int(np.searchsorted(bits, bits.dtype.type(0)))
    n_negative, n_not_nan = np.searchsorted(bits, infinities, "right").tolist()
    _reverse(a[:n_negative], pool)
    n_signed_nan = n_signed - n_negative
    if n_signed_nan:
        for i, j in blocks(n_signed, a.size, BLOCK):
            a[i - n_signed_nan : j - n_signed_nan] = a[i:j].copy()
    where = Chunk(n_not_nan - n_signed_nan, a.size)
    nan = a.dtype.type(np.nan)
    # In the order of their bits, so that the first and the last tell of all in between.
    ends = {int(bits[i]) for i in (where.start, -1)} if where.size else set()
    if n_signed_nan or ends - {int(nan.view(bits.dtype))}:
        _fill(a, where, nan, pool)


def _reverse(a: NDArray[Any], pool: Pool) -> None:
    """Reverse an array in place whose bits are in order."""
    if not a.size or a[:1].tobytes() == a[-1:].tobytes():  # zeros, often
        return

    def kernel(chunk: Chunk) -> None:
        for i, j in blocks(*chunk, BLOCK):
            front, back = a[i:j], a[a.size - j : a.size - i]
            reversed_front = front[::-1].copy()
            front[:] = back[::-1]
            back[:] = reversed_front

    pool.map(kernel, chunks(0, a.size // 2, 4 * n_workers(pool)))


def _fill(a: NDArray[Any], where: Chunk, value: Any, pool: Pool) -> None:
    pool.map(lambda p: a[p.slice].fill(value), chunks(*where, n_workers(pool)))


def _sort_times(integers: NDArray[np.int64], pool: Pool) -> None:
    parts = chunks(0, integers.size, 4 * n_workers(pool))
    has_nat = any(pool.map(lambda p: int(integers[p.slice].min()) == _NAT, parts))
    if has_nat:
        pool.map(lambda p: _add(integers[p.slice], -1), parts)
    try:
        _sort_integers(integers, pool)
    finally:
        if has_nat:
            pool.map(lambda p: _add(integers[p.slice], 1), parts)


def _add(integers: NDArray[np.int64], n: int) -> None:
    np.add(integers, np.int64(n), out=integers)


def _swap_bytes(a: NDArray[Any], pool: Pool) -> None:
    pool.map(lambda p: _swap(a[p.slice]), chunks(0, a.size, 4 * n_workers(pool)))


def _swap(part: NDArray[Any]) -> None:
    part.byteswap(inplace=True)
