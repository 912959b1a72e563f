"""sort, as a function, as a method and through NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sharedarray.functions.common import check_pool, numpy_errors, plain, pool_for
from sharedarray.functions.dask import by_dask, is_dask
from sharedarray.functions.sortargs import Request, numpy_options, numpy_sorts, requested
from sharedarray.functions.thresholds import (
    MIN_ARGSORT,
    MIN_LINES,
    MIN_SORT,
    MIN_SORT_HALF,
    MIN_SORT_SLOW,
    pays,
)
from sharedarray.memory import creation, pages
from sharedarray.memory.array import SharedArray, implements
from sharedarray_ops import elementwise
from sharedarray_ops.pool import Pool
from sharedarray_ops.sort import argsorting, lines, sorting
from sharedarray_ops.sort.keys import is_rankable

__all__ = ["sort"]

# From here on bad arguments are found before the array is copied, which takes 2 us.
MIN_CHECKED = 1 << 14


@implements(np.sort)
def sort(
    a: ArrayLike,
    axis: int | None = -1,
    kind: Any = None,
    order: str | list[str] | None = None,
    *,
    stable: bool | None = None,
    descending: bool | None = None,
    pool: Pool | None = None,
) -> SharedArray:
    """Return a sorted copy of an array, in shared memory.

    Parameters
    ----------
    a : array_like or dask.array.Array
        Any shape and any dtype without Python objects. Of a dask array of one dimension the result
        is one, with chunks of known sizes: `sharedarray.cluster.dask_sort` tells how.
    axis : int or None, default -1
        Axis along which to sort; None sorts the flattened array.
    kind : {'quicksort', 'mergesort', 'heapsort', 'stable'}, optional
        As for `numpy.sort`.
    order : str or list of str, optional
        Fields to compare first, as for `numpy.sort`.
    stable : bool, optional
        Whether equal elements keep their order. It shows where they differ in bits: zeros of both
        signs, NaN with different payloads.
    descending : bool, optional
        Whether larger elements go first; NaN and NaT come last all the same. As in NumPy 2.5, with
        any NumPy. Not for structured arrays, and not together with `kind`.
    pool : Pool, optional
        Who works. Default: as many threads as `get_num_workers()`.

    Returns
    -------
    SharedArray
        Of the dtype of `a`, byte order included, in its layout.

    Raises
    ------
    AxisError, TypeError, ValueError
        Where `numpy.sort` raises them, before any work.
    TypeError
        For dtypes with Python objects, which cannot be in shared memory, and for masked arrays.

    See Also
    --------
    argsort

    Notes
    -----
    In parallel: all dtypes of fixed width. Numbers, along lines of 1,048,576 elements and more, or
    65,536 where NumPy has no SIMD sort (8-bit values and times; float16: 262,144); wider elements
    along lines of 131,072 and more, and from 8,192 in the same way in the caller. Shorter lines are
    shared out, where there are 131,072 elements or more in all. `sharedarray_ops.sort.quicksort`,
    `sharedarray_ops.sort.counting` and `sharedarray_ops.sort.lines` describe the algorithms for
    numbers; wider elements (complex, longdouble, S, U, V, structured) are gathered in the order
    that `argsort` finds, and equal ones keep their order.
    The default kind puts -0.0 before +0.0 and gives every NaN the bits of `numpy.nan` in long lines
    of floats, for any number of workers. There, arrays of few distinct values may be counted and
    written anew: an interrupt can leave an array that is sorted in place without some of them.
    Extra memory: below 5 MiB a worker for numbers, 9 MiB for float16. Wider elements take 8 bytes
    each, and in place as much as the array in addition; so does a stable sort of floats with NaN or
    with zeros of both signs.

    Examples
    --------
    >>> import sharedarray
    >>> sharedarray.sort([3, 1, 2])
    SharedArray([1, 2, 3])
    """
    check_pool(pool)
    if is_dask(a):
        return by_dask("sort")(  # type: ignore[no-any-return]  # a dask array
            a, axis, kind, order, stable=stable, descending=descending, pool=pool
        )
    source = plain(a)
    if axis is None:
        source, axis = source.reshape(-1), -1
    if descending is None and _is_short(source):
        request = None
    else:
        request = requested(np.sort, source, axis, kind, order, stable, descending)
    if request is None or _is_for_numpy(source, request):
        result = creation.copy(source)
        result.view(np.ndarray).sort(axis, kind, order, **numpy_options(stable, descending))
        return result
    workers = pool_for(pool, parallel=pays(source.size, MIN_LINES))
    with numpy_errors():
        if source.ndim == 1 and _is_ordered(source, request, workers):
            return _gathered(source, request, workers)
        result = creation.empty_like(source)
        elementwise.assign(result.view(np.ndarray), source, workers, pages.populator(result))
        _sort_in_place(result.view(np.ndarray), request, workers)
    return result


@implements(np.ndarray.sort)
def _sort_method(
    self: SharedArray,
    axis: int = -1,
    kind: Any = None,
    order: str | list[str] | None = None,
    **kwargs: Any,
) -> None:
    """Sort a SharedArray in place: the method `sort`."""
    plain = self.view(np.ndarray)
    pool = kwargs.pop("pool", None)
    stable, descending = kwargs.get("stable"), kwargs.get("descending")
    check_pool(pool)
    if axis is None or kwargs.keys() - {"stable", "descending"} or not plain.flags.writeable:
        plain.sort(axis, kind, order, **kwargs)  # for NumPy's own error
        return
    if descending is None and _is_short(plain):
        request = None
    else:
        request = requested(np.sort, plain, axis, kind, order, stable, descending)
    if request is None or _is_for_numpy(plain, request):
        plain.sort(axis, kind, order, **numpy_options(stable, descending))
        return
    workers = pool_for(pool, parallel=pays(plain.size, MIN_LINES))
    with numpy_errors():
        _sort_in_place(plain, request, workers)


def _is_short(a: NDArray[Any]) -> bool:
    """Return whether NumPy sorts so few elements that it may as well check the arguments then."""
    return a.size < MIN_CHECKED and _is_below_all(a)


def _is_for_numpy(a: NDArray[Any], request: Request) -> bool:
    """Return whether one call of NumPy does it, and does it as fast."""
    if numpy_sorts(a):
        return True
    if request.descending and "descending" not in numpy_options(None, True):
        return False
    return _is_below_all(a)


def _is_below_all(a: NDArray[Any]) -> bool:
    return not pays(a.size, _min_sort(a.dtype) if a.ndim == 1 else MIN_LINES)


def _min_sort(dtype: np.dtype[Any]) -> int:
    """Return from how many elements on one line is sorted in our way."""
    if not is_rankable(dtype):
        return MIN_ARGSORT
    if dtype.char == "e":
        return MIN_SORT_HALF
    has_simd = dtype.kind in "iuf" and dtype.itemsize > 1
    return MIN_SORT if has_simd else MIN_SORT_SLOW


def _sort_in_place(a: NDArray[Any], request: Request, pool: Pool) -> None:
    """Sort an array in shared memory along an axis."""
    moved = np.moveaxis(a, request.axis, -1)
    long = _min_sort(a.dtype) if is_rankable(a.dtype) else MIN_LINES
    if a.ndim == 1 or moved.shape[-1] >= long:
        for index in np.ndindex(moved.shape[:-1]):
            _sort_line(moved[index], request, pool)
    elif is_rankable(a.dtype) and not request.descending:
        lines.sort_lines(moved, pool, kind="stable" if request.stable else None)
    else:
        lines.order_lines(moved, pool, order=request.order, descending=request.descending)


def _sort_line(line: NDArray[Any], request: Request, pool: Pool) -> None:
    """Sort one line in place with all workers."""
    if _is_ordered(line, request, pool):
        elementwise.copy(_gathered(line, request, pool), line, pool)
    elif line.flags.c_contiguous:
        sorting.sort(line, pool, descending=request.descending)
    else:
        dense = creation.empty(line.shape, line.dtype)
        elementwise.copy(line, dense, pool)
        sorting.sort(dense, pool, descending=request.descending)
        elementwise.copy(dense, line, pool)


def _is_ordered(line: NDArray[Any], request: Request, pool: Pool) -> bool:
    """Return whether a line has to be sorted by its argsort."""
    if not is_rankable(line.dtype):
        return True
    return request.stable and sorting.needs_order(line, pool)


def _gathered(line: NDArray[Any], request: Request, pool: Pool) -> SharedArray:
    """Return the elements of a line in their order."""
    order = creation.empty(line.shape, np.intp)
    argsorting.argsort(
        line,
        order,
        pool,
        pages.populator(order),
        order=request.order,
        descending=request.descending,
    )
    result = creation.empty(line.shape, line.dtype)
    elementwise.gather(line, order, result, pool)
    return result
