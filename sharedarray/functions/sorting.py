"""sort and argsort, as functions, as methods and through NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sharedarray.functions.common import (
    MIN_ARGSORT,
    MIN_ARGSORT_WORKERS,
    MIN_SORT,
    MIN_SORT_SLOW,
    check_pool,
    numpy_errors,
    plain,
    pool_for,
)
from sharedarray.memory import creation, pages
from sharedarray.memory.array import SharedArray, implements
from sharedarray_ops import argsorting, elementwise, sorting
from sharedarray_ops.keys import is_rankable
from sharedarray_ops.pool import Pool

__all__ = ["argsort", "sort"]


@implements(np.sort)
def sort(
    a: ArrayLike,
    axis: int | None = -1,
    kind: Any = None,
    order: str | list[str] | None = None,
    *,
    stable: bool | None = None,
    pool: Pool | None = None,
) -> SharedArray:
    """Return a sorted copy of an array, in shared memory.

    Parameters
    ----------
    a : array_like
        Any shape and any dtype without Python objects.
    axis : int or None, default -1
        Axis along which to sort; None sorts the flattened array.
    kind : {'quicksort', 'mergesort', 'heapsort', 'stable'}, optional
        As for `numpy.sort`.
    order : str or list of str, optional
        Fields to compare first, as for `numpy.sort`.
    stable : bool, optional
        Whether equal elements keep their order. It shows where they differ in bits: zeros of both
        signs, NaN with different payloads.
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
    In parallel: one-dimensional arrays (or ``axis=None``) of bool, integers, float16 to float64,
    datetime64 and timedelta64, from 1,048,576 elements, and from 65,536 where NumPy has no SIMD
    sort (8-bit values, float16, times). `sharedarray_ops.quicksort` and
    `sharedarray_ops.counting` describe the algorithms. The default kind puts -0.0 before +0.0 and
    gives every NaN the bits of `numpy.nan`, for any number of workers.
    Extra memory: below 5 MiB a worker; a stable sort of floats with NaN or with zeros of both signs
    takes 16 bytes an element.

    Examples
    --------
    >>> import sharedarray
    >>> sharedarray.sort([3, 1, 2])
    SharedArray([1, 2, 3])
    """
    check_pool(pool)
    source = plain(a)
    if axis is None:
        source, axis = source.reshape(-1), -1
    if not _is_parallel(source, order, _min_sort(source.dtype)):
        result = creation.copy(source)
        result.view(np.ndarray).sort(axis, kind, order, stable=stable)
        return result
    wants_stable = _check_kind(np.sort, source, axis, kind, stable)
    workers = pool_for(pool)
    with numpy_errors():
        result = creation.empty(source.shape, source.dtype)
        elementwise.copy(source, result, workers, pages.populator(result))
        _sort_in_place(result, wants_stable, workers)
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
    stable, pool = kwargs.get("stable"), kwargs.pop("pool", None)
    check_pool(pool)
    if axis is None or kwargs.keys() - {"stable"} or not plain.flags.writeable:
        plain.sort(axis, kind, order, **kwargs)  # for NumPy's own error
    elif not _is_parallel(plain, order, _min_sort(plain.dtype)):
        plain.sort(axis, kind, order, **kwargs)
    else:
        wants_stable = _check_kind(np.sort, plain, axis, kind, stable)
        workers = pool_for(pool)
        with numpy_errors():
            if plain.flags.c_contiguous:
                _sort_in_place(self, wants_stable, workers)
            else:
                dense = creation.empty(plain.shape, plain.dtype)
                elementwise.copy(plain, dense, workers)
                _sort_in_place(dense, wants_stable, workers)
                elementwise.copy(dense, plain, workers)


def _sort_in_place(a: SharedArray, stable: bool, pool: Pool) -> None:
    """Sort a contiguous 1-d array."""
    if stable and sorting.needs_order(a, pool):
        order = creation.empty(a.shape, np.intp)
        argsorting.argsort(a, order, pool)
        result = creation.empty(a.shape, a.dtype)
        elementwise.gather(a, order, result, pool)
        elementwise.copy(result, a, pool)
    else:
        sorting.sort(a, pool)


@implements(np.argsort, np.ndarray.argsort)
def argsort(
    a: ArrayLike,
    axis: int | None = -1,
    kind: Any = None,
    order: str | list[str] | None = None,
    *,
    stable: bool | None = None,
    pool: Pool | None = None,
) -> SharedArray:
    """Return the indices that sort an array, in shared memory; always stable.

    Parameters
    ----------
    a : array_like
        Any shape and dtype.
    axis : int or None, default -1
        Axis along which to sort; None sorts the flattened array.
    kind : {'quicksort', 'mergesort', 'heapsort', 'stable'}, optional
        Checked as `numpy.argsort` does; the result is that of 'stable' for each of them.
    order : str or list of str, optional
        Fields to compare first, as for `numpy.argsort`.
    stable : bool, optional
        Checked like `kind`.
    pool : Pool, optional
        Who works. Default: as many threads as `get_num_workers()`.

    Returns
    -------
    SharedArray of intp
        Of the shape of `a`, ``(a.size,)`` for ``axis=None``. For any number of workers the same as
        ``numpy.argsort(a, kind="stable")``.

    Raises
    ------
    AxisError, TypeError, ValueError
        Where `numpy.argsort` raises them, before any work.
    TypeError
        For masked arrays.

    See Also
    --------
    sort

    Notes
    -----
    In parallel: one-dimensional arrays (or ``axis=None``) of bool, integers, float16 to float64,
    datetime64 and timedelta64, from 524,288 elements. From 8,192 elements they are sorted in the
    same way, in the caller: by packing keys and indices into words, see
    `sharedarray_ops.argsorting`. Extra memory: about 6 MiB a worker.

    Examples
    --------
    >>> import sharedarray
    >>> sharedarray.argsort([3.0, 1.0, 2.0, 1.0])
    SharedArray([1, 3, 2, 0])
    """
    check_pool(pool)
    source = plain(a)
    if axis is None:
        source, axis = source.reshape(-1), -1
    if not _is_parallel(source, order, MIN_ARGSORT) or np.intp(0).itemsize != 8:
        return creation.asarray(_numpy_argsort(source, axis, kind, order, stable))
    _check_kind(np.argsort, source, axis, kind, stable)
    workers = pool_for(pool, parallel=source.size >= MIN_ARGSORT_WORKERS)
    with numpy_errors():
        result = creation.empty(source.shape, np.intp)
        argsorting.argsort(source, result, workers, pages.populator(result))
    return result


def _numpy_argsort(
    a: NDArray[Any], axis: int, kind: Any, order: Any, stable: bool | None
) -> NDArray[np.intp]:
    """Return NumPy's stable argsort, with NumPy's errors for bad arguments."""
    if kind is not None or stable is not None:
        _check_kind(np.argsort, a, axis, kind, stable, order)
    return np.argsort(a, axis, order=order, stable=True)


def _is_parallel(a: NDArray[Any], order: Any, min_size: int) -> bool:
    """Return whether there is a parallel way for the array, and it pays."""
    return a.ndim == 1 and a.size >= min_size and order is None and is_rankable(a.dtype)


def _min_sort(dtype: np.dtype[Any]) -> int:
    """Return from how many elements on `sort` does not leave the work to NumPy."""
    is_slow = dtype.kind in "mM" or dtype.itemsize == 1 or dtype.char == "e"
    return MIN_SORT_SLOW if is_slow else MIN_SORT


def _check_kind(
    function: Callable[..., Any],
    a: NDArray[Any],
    axis: Any,
    kind: Any,
    stable: bool | None,
    order: Any = None,
) -> bool:
    """Let NumPy raise for bad arguments; return whether they ask for a stable sort."""
    function(np.empty((0,) * a.ndim, a.dtype), axis, kind, order, stable=stable)
    letter = kind.decode() if isinstance(kind, bytes) else kind or ""
    return bool(stable) or letter[:1] in tuple("sSmM")
