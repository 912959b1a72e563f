"""any, all and count_nonzero, as functions, as methods and through NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sharedarray.functions.common import check_pool, numpy_errors, pool_for
from sharedarray.functions.reducing import NO_VALUE, Request, by_numpy, given, memory, requested
from sharedarray.memory.array import implements
from sharedarray_ops.pool import Pool
from sharedarray_ops.reduce import folding
from sharedarray_ops.reduce.folding import Fold

__all__ = ["all", "any", "count_nonzero", "whole_answer"]

_FAST = "?bBhHiIlLqQfdFDmM"
# NumPy counts these at the speed of the memory, all others with a call for each element.
_FAST_COUNTS = "hHiIlLqQfd"

# Elements. What decides among the first ones is found before any worker is woken.
_FRONT = 1 << 14


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
    a : array_like
        Any shape and dtype that `numpy.any` takes.
    axis : int or tuple of int, optional
        Axes along which to look. Default: all.
    out, keepdims, where
        As for `numpy.any`.
    pool : Pool, optional
        Who works. Default: as many threads as `get_num_workers()`.

    Returns
    -------
    bool or ndarray of bool
        What `numpy.any` returns, for any number of workers.

    Raises
    ------
    AxisError, TypeError, ValueError
        Where `numpy.any` raises them.

    See Also
    --------
    all, count_nonzero

    Notes
    -----
    In parallel: numbers, bool and times without `where`, from 128 MiB; float16 and longdouble from
    1,048,576 elements. All workers stop at the first element that is true. Extra memory: none to
    speak of.

    Examples
    --------
    >>> import sharedarray
    >>> bool(sharedarray.any([0, 2, 0]))
    True
    """
    return _quantified(np.any, np.logical_or, a, axis, out, keepdims, where, pool)


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
    a : array_like
        Any shape and dtype that `numpy.all` takes.
    axis : int or tuple of int, optional
        Axes along which to look. Default: all.
    out, keepdims, where
        As for `numpy.all`.
    pool : Pool, optional
        Who works. Default: as many threads as `get_num_workers()`.

    Returns
    -------
    bool or ndarray of bool
        What `numpy.all` returns, for any number of workers.

    Raises
    ------
    AxisError, TypeError, ValueError
        Where `numpy.all` raises them.

    See Also
    --------
    any

    Notes
    -----
    In parallel as `any`. All workers stop at the first element that is false.

    Examples
    --------
    >>> import sharedarray
    >>> bool(sharedarray.all([1, 2, 0]))
    False
    """
    return _quantified(np.all, np.logical_and, a, axis, out, keepdims, where, pool)


@implements(np.count_nonzero)
def count_nonzero(
    a: ArrayLike, axis: Any = None, *, keepdims: bool = False, pool: Pool | None = None
) -> Any:
    """Count the elements of an array that are not zero.

    Parameters
    ----------
    a : array_like
        Any shape and dtype that `numpy.count_nonzero` takes.
    axis : int or tuple of int, optional
        Axes along which to count. Default: all.
    keepdims : bool, default False
        As for `numpy.count_nonzero`.
    pool : Pool, optional
        Who works. Default: as many threads as `get_num_workers()`.

    Returns
    -------
    int or ndarray of intp
        What `numpy.count_nonzero` returns, for any number of workers.

    Raises
    ------
    AxisError, TypeError
        Where `numpy.count_nonzero` raises them.

    See Also
    --------
    any, sum

    Notes
    -----
    In parallel: numbers and times, from 128 MiB; float16, longdouble, complex numbers and times
    from 1,048,576 elements; elements of one byte along some axes only. Extra memory: 1 MiB a
    worker.

    Examples
    --------
    >>> import sharedarray
    >>> int(sharedarray.count_nonzero([0, 2, 0, 3]))
    2
    """
    check_pool(pool)
    request = requested(a, axis, None, keepdims, kinds="biufcmM", fastest=_FAST_COUNTS)
    if request is not None and (request.a.itemsize > 1 or not request.is_whole):
        # NumPy's own `count_nonzero` of numbers keeps the GIL; of bools, it takes no time.
        count = _count_whole if request.is_whole else _count
        result = request.fold(Fold(count, np.add, makes_copies=True), np.dtype(np.intp), pool)
        if result is not None:
            # Without `axis`, older versions of NumPy return an int of Python.
            if axis is None and not keepdims:
                return type(np.count_nonzero(np.zeros(1)))(result)
            return result
    return by_numpy(np.count_nonzero, a, axis, keepdims=keepdims, pool=pool)


def _count(a: Any, axes: tuple[int, ...]) -> Any:
    return np.add.reduce(a.astype(np.bool_), axis=axes, dtype=np.intp, keepdims=True)


def _count_whole(a: Any, axes: tuple[int, ...]) -> Any:
    return np.full((1,) * a.ndim, np.count_nonzero(a.astype(np.bool_)), np.intp)


def _quantified(
    function: Callable[..., Any],
    ufunc: np.ufunc,
    a: Any,
    axis: Any,
    out: Any,
    keepdims: Any,
    where: Any,
    pool: Pool | None,
) -> Any:
    check_pool(pool)
    request = None
    if where is NO_VALUE:
        request = requested(a, axis, out, keepdims, kinds="biufcmM", fastest=_FAST)
    if request is not None and request.accepts(np.dtype(np.bool_)):
        if request.is_whole:
            return whole_answer(function, request, pool)
        how = Fold(lambda a, axes: function(a, axis=axes, keepdims=True), ufunc)
        result = request.fold(how, np.dtype(np.bool_), pool)
        if result is not None:
            return result
    kwargs = given(keepdims=keepdims, where=where)
    return by_numpy(function, a, axis, out=out, pool=pool, **kwargs)


def whole_answer(function: Callable[..., Any], request: Request, pool: Pool | None) -> Any:
    """Return what `numpy.any` or `numpy.all` find in a whole array, in the form asked for."""
    flat = request.flat
    a = request.a if flat is None else flat
    decisive = function is np.any
    answer = bool(function(a[: -(-_FRONT * len(a) // a.size)]))
    if answer is not decisive:
        cell = memory(np.empty(1, np.intp), pool)
        with numpy_errors():
            answer = folding.find(function, decisive, a, cell, pool_for(pool))
    return request.finished(np.array([answer]))
