"""nansum, nanmean, nanmin and nanmax, as functions and through NumPy."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sharedarray.functions.common import check_pool, numpy_errors, pool_for
from sharedarray.functions.extrema import max as maximum
from sharedarray.functions.extrema import min as minimum
from sharedarray.functions.reducing import NO_VALUE, Request, by_numpy, given, requested
from sharedarray.functions.reduction import sum as whole_sum
from sharedarray.functions.reduction import summed
from sharedarray.functions.statistics import mean as whole_mean
from sharedarray.functions.statistics import quotient
from sharedarray.memory.array import implements
from sharedarray_ops.pool import Pool
from sharedarray_ops.reduce import folding
from sharedarray_ops.reduce.folding import Fold

__all__ = ["nanmax", "nanmean", "nanmin", "nansum"]

_FAST = "?bBhHiIlLqQfdmM"


@implements(np.nansum)
def nansum(
    a: ArrayLike,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: bool = NO_VALUE,
    initial: Any = NO_VALUE,
    where: Any = NO_VALUE,
    *,
    pool: Pool | None = None,
) -> Any:
    """Sum the elements of an array, NaN as zero, to the same bits as `numpy.nansum`.

    Parameters
    ----------
    a : array_like
        Any shape and dtype that `numpy.nansum` takes.
    axis : int or tuple of int, optional
        Axes to sum along. Default: all.
    dtype, out, keepdims, initial, where
        As for `numpy.nansum`.
    pool : Pool, optional
        Who works. Default: as many threads as `get_num_workers()`.

    Returns
    -------
    scalar or ndarray
        What `numpy.nansum` returns, bit for bit, for any number of workers; only the sign and the
        payload of a NaN may differ.

    Raises
    ------
    AxisError, TypeError, ValueError
        Where `numpy.nansum` raises them.

    See Also
    --------
    sum, nanmean

    Notes
    -----
    In parallel: floats and complex numbers in native byte order and in the default result dtype,
    without `initial` and `where`, from 1,048,576 elements; all others as in `sum`. NaN is replaced
    leaf by leaf of NumPy's summation tree, without the copy of the array that NumPy makes.
    Extra memory: 5 MiB a worker.

    Examples
    --------
    >>> import sharedarray
    >>> float(sharedarray.nansum([1.0, float("nan"), 2.0]))
    3.0
    """
    check_pool(pool)
    request = None
    kwargs = given(keepdims=keepdims, initial=initial, where=where)
    if dtype is None and initial is NO_VALUE and where is NO_VALUE:
        request = requested(a, axis, out, keepdims, kinds="fc")
    if request is not None and request.a.dtype.isnative and request.accepts(request.a.dtype):
        result = _sum_of_numbers(request, pool)
        if result is not None:
            return result
    if getattr(getattr(a, "dtype", None), "kind", "O") in "biu":  # there is no NaN
        return whole_sum(a, axis, dtype, out, **kwargs, pool=pool)
    return by_numpy(np.nansum, a, axis, dtype, out=out, pool=pool, **kwargs)


@implements(np.nanmean)
def nanmean(
    a: ArrayLike,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: bool = NO_VALUE,
    *,
    where: Any = NO_VALUE,
    pool: Pool | None = None,
) -> Any:
    """Return the mean of the elements that are not NaN, to the same bits as `numpy.nanmean`.

    Parameters
    ----------
    a : array_like
        Any shape and dtype that `numpy.nanmean` takes.
    axis : int or tuple of int, optional
        Axes along which to average. Default: all.
    dtype, out, keepdims, where
        As for `numpy.nanmean`.
    pool : Pool, optional
        Who works. Default: as many threads as `get_num_workers()`.

    Returns
    -------
    scalar or ndarray
        What `numpy.nanmean` returns, bit for bit, for any number of workers; only the sign and the
        payload of a NaN may differ.

    Raises
    ------
    AxisError, TypeError, ValueError
        Where `numpy.nanmean` raises them.

    Warns
    -----
    RuntimeWarning
        Where all elements are NaN.

    See Also
    --------
    mean, nansum

    Notes
    -----
    In parallel as `nansum`; all but floats and complex numbers as in `mean`.

    Examples
    --------
    >>> import sharedarray
    >>> float(sharedarray.nanmean([1.0, float("nan"), 2.0]))
    1.5
    """
    check_pool(pool)
    request = None
    kwargs = given(keepdims=keepdims, where=where)
    if dtype is None and where is NO_VALUE and out is None:
        request = requested(a, axis, out, keepdims, kinds="fc")
    if request is not None and request.a.dtype.isnative:
        result = _mean_of_numbers(request, pool)
        if result is not None:
            return result
    if getattr(getattr(a, "dtype", None), "kind", "O") in "biu":
        return whole_mean(a, axis, dtype, out, **kwargs, pool=pool)
    return by_numpy(np.nanmean, a, axis, dtype, out=out, pool=pool, **kwargs)


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
    a : array_like
        Any shape and dtype that `numpy.nanmin` takes.
    axis : int or tuple of int, optional
        Axes along which to look. Default: all.
    out, keepdims, initial, where
        As for `numpy.nanmin`.
    pool : Pool, optional
        Who works. Default: as many threads as `get_num_workers()`.

    Returns
    -------
    scalar or ndarray
        What `numpy.nanmin` returns, for any number of workers. Where the smallest elements are
        zeros of both signs, it may be another one of them.

    Raises
    ------
    AxisError, TypeError, ValueError
        Where `numpy.nanmin` raises them.

    Warns
    -----
    RuntimeWarning
        Where all elements are NaN, which is the result then.

    See Also
    --------
    min, nanmax

    Notes
    -----
    In parallel: numbers, bool and times without `initial` and `where`, from 64 MiB, bool and
    integers as `min` from 128 MiB; float16, longdouble and complex numbers from 1,048,576 elements.
    Extra memory: none to speak of.

    Examples
    --------
    >>> import sharedarray
    >>> float(sharedarray.nanmin([3.0, float("nan"), 2.0]))
    2.0
    """
    return _extreme(np.nanmin, np.fmin, a, axis, out, keepdims, initial, where, pool)


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
    a : array_like
        Any shape and dtype that `numpy.nanmax` takes.
    axis : int or tuple of int, optional
        Axes along which to look. Default: all.
    out, keepdims, initial, where
        As for `numpy.nanmax`.
    pool : Pool, optional
        Who works. Default: as many threads as `get_num_workers()`.

    Returns
    -------
    scalar or ndarray
        What `numpy.nanmax` returns, for any number of workers. Where the largest elements are
        zeros of both signs, it may be another one of them.

    Raises
    ------
    AxisError, TypeError, ValueError
        Where `numpy.nanmax` raises them.

    Warns
    -----
    RuntimeWarning
        Where all elements are NaN, which is the result then.

    See Also
    --------
    max, nanmin

    Notes
    -----
    In parallel as `nanmin`.

    Examples
    --------
    >>> import sharedarray
    >>> float(sharedarray.nanmax([3.0, float("nan"), 2.0]))
    3.0
    """
    return _extreme(np.nanmax, np.fmax, a, axis, out, keepdims, initial, where, pool)


def _without_nan(a: NDArray[Any]) -> NDArray[Any]:
    """Return a copy with zero in place of NaN."""
    copy = a.copy(order="K")
    np.copyto(copy, 0, where=np.isnan(a))
    return copy


def _sum_of_numbers(request: Request, pool: Pool | None) -> Any:
    """Return the sum without NaN, None where NumPy has to tell it or to warn."""
    if not request.is_whole:
        how = Fold(lambda a, axes: np.nansum(a, axis=axes, keepdims=True), makes_copies=True)
        return request.fold(how, request.a.dtype, pool)
    flat = request.flat
    if flat is None:
        return None
    with numpy_errors():
        total = summed(flat, flat.dtype, pool_for(pool), _without_nan)
    if total is None:
        return None
    return request.finished(np.add.reduce(total, keepdims=True))


def _mean_of_numbers(request: Request, pool: Pool | None) -> Any:
    """Return the mean without NaN, None where NumPy has to tell it or to warn."""
    a = request.a
    if not request.is_whole:
        return request.fold(Fold(_means, makes_copies=True), a.dtype, pool)
    flat = request.flat
    if flat is None:
        return None
    count = Fold(_count_numbers, np.add, makes_copies=True)
    with numpy_errors():
        workers = pool_for(pool)
        total = summed(flat, flat.dtype, workers, _without_nan)
        n = np.zeros(1, np.intp)
        plan = folding.cut(flat, (0,), count, workers)
        if total is None or plan is None:
            return None
        folding.fold(count, flat, (0,), plan, n, workers)
    if not n[0]:
        return None
    is_scalar = not request.keepdims
    with np.errstate(invalid="ignore", divide="ignore"):  # as NumPy
        mean = quotient(total, n[0] if is_scalar else n, a.dtype, is_scalar=is_scalar)
    return request.finished(mean)


def _count_numbers(a: NDArray[Any], axes: tuple[int, ...]) -> NDArray[Any]:
    return np.add.reduce(~np.isnan(a), axis=axes, dtype=np.intp, keepdims=True)


def _means(a: NDArray[Any], axes: tuple[int, ...]) -> NDArray[Any] | None:
    """Return means without NaN, None where NumPy warns of having nothing to average."""
    n = _count_numbers(a, axes)
    if not n.all():
        return None
    total: NDArray[Any] = np.add.reduce(_without_nan(a), axis=axes, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):  # as NumPy
        np.divide(total, n, out=total, casting="unsafe")
    return total


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
        request = requested(a, axis, out, keepdims, kinds="biufcmM", fast=_FAST)
    if request is not None and request.a.dtype.kind in "biu":  # there is no NaN
        same = minimum if ufunc is np.fmin else maximum
        return same(a, axis, out, request.keepdims, pool=pool)
    if request is not None:
        how = Fold(lambda a, axes: ufunc.reduce(a, axis=axes, keepdims=True), ufunc)
        result = request.fold(how, ufunc.reduce(np.zeros(1, request.a.dtype)).dtype, pool)
        if result is not None:
            if np.isnan(result).any():
                warnings.warn("All-NaN slice encountered", RuntimeWarning, stacklevel=3)
            return result
    kwargs = given(keepdims=keepdims, initial=initial, where=where)
    return by_numpy(function, a, axis, out=out, pool=pool, **kwargs)
