"""min, max, ptp, nanmin, nanmax, argmin and argmax."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sharedarray.functions.calls import numpy_errors, pool_for
from sharedarray.functions.reductions import NO_VALUE, Reducer, Request, front, reduced
from sharedarray.functions.thresholds import MIN_FASTEST_NBYTES
from sharedarray.functions.truth import whole_answer
from sharedarray.memory.array import implements
from sharedarray_ops.pool import Pool
from sharedarray_ops.reduce import folding
from sharedarray_ops.reduce.folding import Fold, by_ufunc

__all__ = ["argmax", "argmin", "max", "min", "nanmax", "nanmin", "ptp"]


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
    pool : Pool, optional
        Default: as many threads as `get_num_workers()`.

    Notes
    -----
    Otherwise as `numpy.min`. In parallel from 128 MiB, float16, longdouble and complex numbers, for
    which NumPy has no SIMD loops, from 1,048,576 elements: bool, numbers and times, without
    `initial` and `where`. Arrays are cut along any axis, see `sharedarray_ops.reduce.folding`.
    Where the smallest elements are zeros of both signs, or different NaNs, it may be another one of
    them than NumPy's.

    Examples
    --------
    >>> import sharedarray
    >>> int(sharedarray.min([3, 1, 2]))
    1
    """
    return reduced(_MIN, pool, a, axis, out, keepdims, initial=initial, where=where)


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
    pool : Pool, optional
        Default: as many threads as `get_num_workers()`.

    Notes
    -----
    Otherwise as `numpy.max`. In parallel as `min`.

    Examples
    --------
    >>> import sharedarray
    >>> int(sharedarray.max([3, 1, 2]))
    3
    """
    return reduced(_MAX, pool, a, axis, out, keepdims, initial=initial, where=where)


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
    pool : Pool, optional
        Default: as many threads as `get_num_workers()`.

    Notes
    -----
    Otherwise as `numpy.ptp`. In parallel as `min`, but from 64 MiB. Both extremes are found in one
    pass.

    Examples
    --------
    >>> import sharedarray
    >>> int(sharedarray.ptp([3, 1, 2]))
    2
    """
    return reduced(_PTP, pool, a, axis, out, keepdims)


@implements(np.nanmin)
def nanmin(
    a: ArrayLike,
    axis: Any = None,
    out: Any = None,
    keepdims: bool = NO_VALUE,
    initial: Any = NO_VALUE,
    where: Any = NO_VALUE,
    *,
    pool: Pool | None = None,
) -> Any:
    """Return the smallest element that is not NaN, or the smallest ones along axes.

    Parameters
    ----------
    pool : Pool, optional
        Default: as many threads as `get_num_workers()`.

    Notes
    -----
    Otherwise as `numpy.nanmin`. In parallel from 64 MiB, float16, longdouble and complex numbers
    from 1,048,576 elements: numbers and times, without `initial` and `where`; bool and integers as
    in `min`. Where the smallest elements are zeros of both signs, it may be another one of them
    than NumPy's.

    Examples
    --------
    >>> import sharedarray
    >>> float(sharedarray.nanmin([3.0, float("nan"), 2.0]))
    2.0
    """
    return reduced(_NANMIN, pool, a, axis, out, keepdims, initial=initial, where=where)


@implements(np.nanmax)
def nanmax(
    a: ArrayLike,
    axis: Any = None,
    out: Any = None,
    keepdims: bool = NO_VALUE,
    initial: Any = NO_VALUE,
    where: Any = NO_VALUE,
    *,
    pool: Pool | None = None,
) -> Any:
    """Return the largest element that is not NaN, or the largest ones along axes.

    Parameters
    ----------
    pool : Pool, optional
        Default: as many threads as `get_num_workers()`.

    Notes
    -----
    Otherwise as `numpy.nanmax`. In parallel as `nanmin`.

    Examples
    --------
    >>> import sharedarray
    >>> float(sharedarray.nanmax([3.0, float("nan"), 2.0]))
    3.0
    """
    return reduced(_NANMAX, pool, a, axis, out, keepdims, initial=initial, where=where)


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
    pool : Pool, optional
        Default: as many threads as `get_num_workers()`.

    Notes
    -----
    Otherwise as `numpy.argmin`. In parallel from 64 MiB, float16, longdouble and complex numbers
    from 1,048,576 elements: bool, numbers and times. Workers stop at what cannot be surpassed, as
    NumPy does: the first NaN or NaT, for bool the first False. Extra memory: 4 MiB a worker where
    the array is not C-contiguous.

    Examples
    --------
    >>> import sharedarray
    >>> int(sharedarray.argmin([3, 1, 2, 1]))
    1
    """
    return reduced(_ARGMIN, pool, a, axis, out, keepdims)


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
    pool : Pool, optional
        Default: as many threads as `get_num_workers()`.

    Notes
    -----
    Otherwise as `numpy.argmax`. In parallel as `argmin`.

    Examples
    --------
    >>> import sharedarray
    >>> int(sharedarray.argmax([3, 1, 3, 2]))
    0
    """
    return reduced(_ARGMAX, pool, a, axis, out, keepdims)


def _extreme(ufunc: np.ufunc, request: Request) -> Any:
    if request.a.dtype.kind == "b" and request.is_whole:  # NumPy stops at what decides
        return whole_answer(np.any if ufunc is np.maximum else np.all, request)
    dtype = ufunc.reduce(np.zeros(1, request.a.dtype)).dtype
    return request.fold(by_ufunc(ufunc, is_combined=True), dtype)


def _nanextreme(ufunc: np.ufunc, request: Request) -> Any:
    if request.a.dtype.kind in "biu":
        how = _MIN if ufunc is np.fmin else _MAX
        return reduced(how, request.pool, request.a, request.axis, request.out, request.keepdims)
    result = _extreme(ufunc, request)
    if result is not None and np.isnan(result).any():
        warnings.warn("All-NaN slice encountered", RuntimeWarning, stacklevel=4)
    return result


def _ptp(request: Request) -> Any:
    a = request.a
    if request.out is not None and a.dtype.kind == "M":
        return None  # NumPy puts the maximum into the output first, which has no room for a date
    one = np.zeros(1, a.dtype)
    dtype = np.subtract(np.maximum.reduce(one, keepdims=True), one).dtype
    flat = request.flat if request.is_whole else None
    if flat is None or not request.accepts(dtype):
        return request.fold(Fold(_ptp_of_chunk), dtype)
    with numpy_errors():
        low, high = folding.extremes(flat, pool_for(request.pool))
    return request.finished(np.subtract(high, low))


def _ptp_of_chunk(a: Any, axes: tuple[int, ...]) -> Any:
    high = np.maximum.reduce(a, axis=axes, keepdims=True)
    return np.subtract(high, np.minimum.reduce(a, axis=axes, keepdims=True))


def _place(function: Callable[..., Any], request: Request) -> Any:
    if type(request.axis) is tuple or not request.accepts(np.intp):
        return None
    if not request.is_whole:
        # NumPy copies, to have the lines adjacent.
        how = Fold(lambda a, axes: function(a, axes[0], keepdims=True), makes_copies=True)
        return request.fold(how, np.intp, "C")
    first = front(request.a)
    place = int(function(first))
    if not folding.is_last_word(first[np.unravel_index(place, first.shape)], function):
        cell = request.shared(np.empty(1, np.intp))
        with numpy_errors():
            place = folding.find_extreme(function, request.a, cell, pool_for(request.pool))
    return request.finished(np.array([place], np.intp))


# NumPy has SIMD loops for these dtypes.
_reducer = partial(Reducer, kinds="biufcmM", simd="?bBhHiIlLqQfdmM", serial=("initial", "where"))
_MIN = _reducer(np.min, partial(_extreme, np.minimum), least_nbytes=MIN_FASTEST_NBYTES)
_MAX = _reducer(np.max, partial(_extreme, np.maximum), least_nbytes=MIN_FASTEST_NBYTES)
_PTP = _reducer(np.ptp, _ptp, kinds="iufcmM")
_NANMIN = _reducer(np.nanmin, partial(_nanextreme, np.fmin))
_NANMAX = _reducer(np.nanmax, partial(_nanextreme, np.fmax))
_ARGMIN = _reducer(np.argmin, partial(_place, np.argmin))
_ARGMAX = _reducer(np.argmax, partial(_place, np.argmax))
