"""any, all and count_nonzero."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sharedarray.functions.calls import numpy_errors, pool_for
from sharedarray.functions.reductions import NO_VALUE, Reducer, Request, front, reduced
from sharedarray.functions.thresholds import MIN_FASTEST_NBYTES
from sharedarray.memory.array import implements
from sharedarray_ops.pool import Pool
from sharedarray_ops.reduce import folding
from sharedarray_ops.reduce.folding import Fold

__all__ = ["all", "any", "count_nonzero", "whole_answer"]

# Without `axis`, older versions of NumPy return an int of Python.
_Count = type(np.count_nonzero(np.zeros(1)))


@implements(np.any, np.ndarray.any)
def any(
    a: ArrayLike,
    axis: Any = None,
    out: Any = None,
    keepdims: bool = NO_VALUE,
    *,
    where: Any = NO_VALUE,
    pool: Pool | None = None,
) -> Any:
    """Return whether any element of an array is true, or any along axes.

    Parameters
    ----------
    pool : Pool, optional
        Default: as many threads as `get_num_workers()`.

    Notes
    -----
    Otherwise as `numpy.any`. In parallel from 128 MiB, float16 and longdouble from 1,048,576
    elements: bool, numbers and times, without `where`. All workers stop at the first element that
    is true.

    Examples
    --------
    >>> import sharedarray
    >>> bool(sharedarray.any([0, 2, 0]))
    True
    """
    return reduced(_ANY, pool, a, axis, out, keepdims, where=where)


@implements(np.all, np.ndarray.all)
def all(
    a: ArrayLike,
    axis: Any = None,
    out: Any = None,
    keepdims: bool = NO_VALUE,
    *,
    where: Any = NO_VALUE,
    pool: Pool | None = None,
) -> Any:
    """Return whether all elements of an array are true, or all along axes.

    Parameters
    ----------
    pool : Pool, optional
        Default: as many threads as `get_num_workers()`.

    Notes
    -----
    Otherwise as `numpy.all`. In parallel as `any`. All workers stop at the first element that is
    false.

    Examples
    --------
    >>> import sharedarray
    >>> bool(sharedarray.all([1, 2, 0]))
    False
    """
    return reduced(_ALL, pool, a, axis, out, keepdims, where=where)


@implements(np.count_nonzero)
def count_nonzero(
    a: ArrayLike, axis: Any = None, *, keepdims: bool = False, pool: Pool | None = None
) -> Any:
    """Count the elements of an array that are not zero.

    Parameters
    ----------
    pool : Pool, optional
        Default: as many threads as `get_num_workers()`.

    Notes
    -----
    Otherwise as `numpy.count_nonzero`. In parallel from 128 MiB, float16, longdouble, complex
    numbers and times from 1,048,576 elements; elements of one byte along some axes only. Extra
    memory: 1 MiB a worker.

    Examples
    --------
    >>> import sharedarray
    >>> int(sharedarray.count_nonzero([0, 2, 0, 3]))
    2
    """
    return reduced(_COUNT, pool, a, axis, None, keepdims)


def _quantified(function: Callable[..., Any], ufunc: np.ufunc, request: Request) -> Any:
    if request.is_whole:
        return whole_answer(function, request)
    how = Fold(lambda a, axes: function(a, axis=axes, keepdims=True), ufunc)
    return request.fold(how, np.bool_)


def whole_answer(function: Callable[..., Any], request: Request) -> Any:
    """Return what `numpy.any` or `numpy.all` find in a whole array, or None."""
    if not request.accepts(np.bool_):
        return None
    flat = request.flat
    a = request.a if flat is None else flat
    decisive = function is np.any
    answer = bool(function(front(a)))
    if answer is not decisive:
        cell = request.shared(np.empty(1, np.intp))
        with numpy_errors():
            answer = folding.find(function, decisive, a, cell, pool_for(request.pool))
    return request.finished(np.array([answer]))


def _counted(request: Request) -> Any:
    # NumPy's own `count_nonzero` of numbers keeps the GIL; of bools, it takes no time.
    if request.is_whole and request.a.itemsize == 1:
        return None
    count = _count_whole if request.is_whole else _count
    result = request.fold(Fold(count, np.add, makes_copies=True), np.intp)
    if result is None or request.axis is not None or request.keepdims:
        return result
    return _Count(result)


def _count(a: Any, axes: tuple[int, ...]) -> Any:
    return np.add.reduce(a.astype(np.bool_), axis=axes, dtype=np.intp, keepdims=True)


def _count_whole(a: Any, axes: tuple[int, ...]) -> Any:
    return np.full((1,) * a.ndim, np.count_nonzero(a.astype(np.bool_)), np.intp)


_reducer = partial(Reducer, kinds="biufcmM", least_nbytes=MIN_FASTEST_NBYTES, serial=("where",))
_ANY = _reducer(np.any, partial(_quantified, np.any, np.logical_or), simd="?bBhHiIlLqQfdFDmM")
_ALL = _reducer(np.all, partial(_quantified, np.all, np.logical_and), simd="?bBhHiIlLqQfdFDmM")
# NumPy counts these at the speed of the memory, all others with a call for each element.
_COUNT = _reducer(np.count_nonzero, _counted, simd="hHiIlLqQfd")
