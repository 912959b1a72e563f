"""min, max, ptp, argmin and argmax, as functions, as methods and through NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sharedarray.functions.common import check_pool, numpy_errors, pool_for
from sharedarray.functions.reducing import NO_VALUE, by_numpy, given, memory, requested
from sharedarray.functions.truth import whole_answer
from sharedarray.memory.array import implements
from sharedarray_ops.pool import Pool
from sharedarray_ops.reduce import folding
from sharedarray_ops.reduce.folding import Fold

__all__ = ["argmax", "argmin", "max", "min", "ptp"]

_FAST = "?bBhHiIlLqQfdmM"  # NumPy has SIMD loops for these

# Elements. What decides among the first ones is found before any worker is woken.
_FRONT = 1 << 14


@implements(np.min, np.amin, np.ndarray.min)
def min(
    a: ArrayLike,
    axis: Any = None,
    out: Any = None,
    keepdims: bool = NO_VALUE,
    initial: Any = NO_VALUE,
    where: Any = NO_VALUE,
    *,
    pool: Pool | None = None,
) -> Any:
    """Return the smallest element of an array, or the smallest ones along axes.

    Parameters
    ----------
    a : array_like
        Any shape and dtype that `numpy.min` takes.
    axis : int or tuple of int, optional
        Axes along which to look. Default: all.
    out, keepdims, initial, where
        As for `numpy.min`.
    pool : Pool, optional
        Who works. Default: as many threads as `get_num_workers()`.

    Returns
    -------
    scalar or ndarray
        What `numpy.min` returns, for any number of workers. Where the smallest elements are zeros
        of both signs, or different NaNs, it may be another one of them.

    Raises
    ------
    AxisError, TypeError, ValueError
        Where `numpy.min` raises them.

    See Also
    --------
    max, argmin, nanmin, ptp

    Notes
    -----
    In parallel: numbers, bool and times without `initial` and `where`, from 128 MiB; float16,
    longdouble and complex numbers, for which NumPy has no SIMD loops, from 1,048,576 elements.
    Arrays are cut along any axis, see `sharedarray_ops.reduce.folding`. Extra memory: none to speak
    of.

    Examples
    --------
    >>> import sharedarray
    >>> int(sharedarray.min([3, 1, 2]))
    1
    """
    return _extreme(np.min, np.minimum, a, axis, out, keepdims, initial, where, pool)


@implements(np.max, np.amax, np.ndarray.max)
def max(
    a: ArrayLike,
    axis: Any = None,
    out: Any = None,
    keepdims: bool = NO_VALUE,
    initial: Any = NO_VALUE,
    where: Any = NO_VALUE,
    *,
    pool: Pool | None = None,
) -> Any:
    """Return the largest element of an array, or the largest ones along axes.

    Parameters
    ----------
    a : array_like
        Any shape and dtype that `numpy.max` takes.
    axis : int or tuple of int, optional
        Axes along which to look. Default: all.
    out, keepdims, initial, where
        As for `numpy.max`.
    pool : Pool, optional
        Who works. Default: as many threads as `get_num_workers()`.

    Returns
    -------
    scalar or ndarray
        What `numpy.max` returns, for any number of workers. Where the largest elements are zeros
        of both signs, or different NaNs, it may be another one of them.

    Raises
    ------
    AxisError, TypeError, ValueError
        Where `numpy.max` raises them.

    See Also
    --------
    min, argmax, nanmax, ptp

    Notes
    -----
    In parallel as `min`.

    Examples
    --------
    >>> import sharedarray
    >>> int(sharedarray.max([3, 1, 2]))
    3
    """
    return _extreme(np.max, np.maximum, a, axis, out, keepdims, initial, where, pool)


@implements(np.ptp)
def ptp(
    a: ArrayLike,
    axis: Any = None,
    out: Any = None,
    keepdims: bool = NO_VALUE,
    *,
    pool: Pool | None = None,
) -> Any:
    """Return the distance from the smallest to the largest element, or distances along axes.

    Parameters
    ----------
    a : array_like
        Any shape and dtype that `numpy.ptp` takes.
    axis : int or tuple of int, optional
        Axes along which to look. Default: all.
    out, keepdims
        As for `numpy.ptp`.
    pool : Pool, optional
        Who works. Default: as many threads as `get_num_workers()`.

    Returns
    -------
    scalar or ndarray
        What `numpy.ptp` returns, bit for bit, for any number of workers; only the sign and the
        payload of a NaN may differ.

    Raises
    ------
    AxisError, TypeError, ValueError
        Where `numpy.ptp` raises them.

    See Also
    --------
    min, max

    Notes
    -----
    In parallel as `min`, but from 64 MiB. Both extremes are found in one pass.

    Examples
    --------
    >>> import sharedarray
    >>> int(sharedarray.ptp([3, 1, 2]))
    2
    """
    check_pool(pool)
    # NumPy puts the maximum into the output first, where there is no room for a date.
    kinds = "iufcmM" if out is None else "iufcm"
    request = requested(a, axis, out, keepdims, kinds=kinds, fast=_FAST)
    if request is not None:
        one = np.zeros(1, request.a.dtype)
        dtype = np.subtract(np.maximum.reduce(one, keepdims=True), one).dtype
        if request.is_whole and request.accepts(dtype) and (flat := request.flat) is not None:
            with numpy_errors():
                low, high = folding.extremes(flat, pool_for(pool))
            return request.finished(np.subtract(high, low))
        result = request.fold(Fold(_ptp), dtype, pool)
        if result is not None:
            return result
    return by_numpy(np.ptp, a, axis, out=out, pool=pool, **given(keepdims=keepdims))


@implements(np.argmin, np.ndarray.argmin)
def argmin(
    a: ArrayLike,
    axis: int | None = None,
    out: Any = None,
    *,
    keepdims: bool = NO_VALUE,
    pool: Pool | None = None,
) -> Any:
    """Return where the smallest element of an array is, or where the smallest along an axis are.

    Parameters
    ----------
    a : array_like
        Any shape and dtype that `numpy.argmin` takes.
    axis : int, optional
        Along which to look. Default: all elements, in C order.
    out, keepdims
        As for `numpy.argmin`.
    pool : Pool, optional
        Who works. Default: as many threads as `get_num_workers()`.

    Returns
    -------
    intp or ndarray of intp
        What `numpy.argmin` returns, for any number of workers: of equal elements the first one, or
        the first NaN or NaT.

    Raises
    ------
    AxisError, TypeError, ValueError
        Where `numpy.argmin` raises them.

    See Also
    --------
    argmax, min

    Notes
    -----
    In parallel: numbers, bool and times, from 64 MiB; float16, longdouble and complex numbers from
    1,048,576 elements. Workers stop at what cannot be surpassed, as NumPy does: the first NaN or
    NaT, for bool the first False. Extra memory: 4 MiB a worker where the array is not C-contiguous.

    Examples
    --------
    >>> import sharedarray
    >>> int(sharedarray.argmin([3, 1, 2, 1]))
    1
    """
    return _place(np.argmin, a, axis, out, keepdims, pool)


@implements(np.argmax, np.ndarray.argmax)
def argmax(
    a: ArrayLike,
    axis: int | None = None,
    out: Any = None,
    *,
    keepdims: bool = NO_VALUE,
    pool: Pool | None = None,
) -> Any:
    """Return where the largest element of an array is, or where the largest along an axis are.

    Parameters
    ----------
    a : array_like
        Any shape and dtype that `numpy.argmax` takes.
    axis : int, optional
        Along which to look. Default: all elements, in C order.
    out, keepdims
        As for `numpy.argmax`.
    pool : Pool, optional
        Who works. Default: as many threads as `get_num_workers()`.

    Returns
    -------
    intp or ndarray of intp
        What `numpy.argmax` returns, for any number of workers: of equal elements the first one, or
        the first NaN or NaT.

    Raises
    ------
    AxisError, TypeError, ValueError
        Where `numpy.argmax` raises them.

    See Also
    --------
    argmin, max

    Notes
    -----
    In parallel as `argmin`.

    Examples
    --------
    >>> import sharedarray
    >>> int(sharedarray.argmax([3, 1, 3, 2]))
    0
    """
    return _place(np.argmax, a, axis, out, keepdims, pool)


def _extreme(
    function: Callable[..., Any],
    ufunc: np.ufunc,
    a: Any,
    axis: Any,
    out: Any,
    keepdims: Any,
    initial: Any,
    where: Any,
    pool: Pool | None,
) -> Any:
    check_pool(pool)
    request = None
    if initial is NO_VALUE and where is NO_VALUE:
        request = requested(a, axis, out, keepdims, kinds="biufcmM", fastest=_FAST)
    if request is not None and request.a.dtype.kind == "b" and request.is_whole:
        if request.accepts(request.a.dtype):  # NumPy stops at what decides
            return whole_answer(np.any if ufunc is np.maximum else np.all, request, pool)
    elif request is not None:
        how = Fold(lambda a, axes: ufunc.reduce(a, axis=axes, keepdims=True), ufunc)
        result = request.fold(how, ufunc.reduce(np.zeros(1, request.a.dtype)).dtype, pool)
        if result is not None:
            return result
    kwargs = given(keepdims=keepdims, initial=initial, where=where)
    return by_numpy(function, a, axis, out=out, pool=pool, **kwargs)


def _ptp(a: Any, axes: tuple[int, ...]) -> Any:
    high = np.maximum.reduce(a, axis=axes, keepdims=True)
    return np.subtract(high, np.minimum.reduce(a, axis=axes, keepdims=True))


def _place(
    function: Callable[..., Any],
    a: Any,
    axis: Any,
    out: Any,
    keepdims: Any,
    pool: Pool | None,
) -> Any:
    check_pool(pool)
    request = None
    if type(axis) is not tuple:
        request = requested(a, axis, out, keepdims, kinds="biufcmM", fast=_FAST)
    if request is not None and request.accepts(np.dtype(np.intp)):
        if request.is_whole:
            return request.finished(_whole_place(function, request.a, pool))
        # NumPy copies, to have the lines adjacent.
        how = Fold(lambda a, axes: function(a, axes[0], keepdims=True), makes_copies=True)
        result = request.fold(how, np.dtype(np.intp), pool, "C")
        if result is not None:
            return result
    return by_numpy(function, a, axis, out=out, pool=pool, **given(keepdims=keepdims))


def _whole_place(function: Callable[..., Any], a: Any, pool: Pool | None) -> Any:
    front = a[: -(-_FRONT * len(a) // a.size)]
    place = int(function(front))
    value = front[np.unravel_index(place, front.shape)]
    if not folding.is_last_word(value, function):
        cell = memory(np.empty(1, np.intp), pool)
        with numpy_errors():
            place = folding.find_extreme(function, a, cell, pool_for(pool))
    return np.array([place], np.intp)
