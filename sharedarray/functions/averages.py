"""mean, var, std and nanmean."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sharedarray.functions.reductions import NO_VALUE, Reducer, Request, reduced
from sharedarray.functions.sums import has_no_nan, resolved, summed, without_nan
from sharedarray.memory.array import implements
from sharedarray_ops.pool import Pool
from sharedarray_ops.reduce.folding import Fold
from sharedarray_ops.reduce.summation import deviations, unless_flagged

__all__ = ["mean", "nanmean", "quotient", "std", "var"]


@implements(np.mean, np.ndarray.mean)
def mean(
    a: ArrayLike,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: bool = NO_VALUE,
    *,
    where: Any = NO_VALUE,
    pool: Pool | None = None,
) -> Any:
    """Return the mean of the elements of an array, to the same bits as `numpy.mean`.

    Parameters
    ----------
    pool : Pool, optional
        Default: as many threads as `get_num_workers()`.

    Notes
    -----
    Otherwise as `numpy.mean`. In parallel from 64 MiB, float16 and longdouble from 1,048,576
    elements: bool and numbers, without `where`; of all elements, where the array is one-dimensional
    or contiguous, or along some axes. The sum is that of `sum`, and is divided as NumPy does. Extra
    memory: 4 MiB a worker where elements are converted, else none.

    Examples
    --------
    >>> import sharedarray
    >>> float(sharedarray.mean([1, 2, 6]))
    3.0
    """
    return reduced(_MEAN, pool, a, axis, out, keepdims, dtype=dtype, where=where)


@implements(np.var, np.ndarray.var)
def var(
    a: ArrayLike,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    ddof: float = 0,
    keepdims: bool = NO_VALUE,
    *,
    where: Any = NO_VALUE,
    mean: Any = NO_VALUE,
    correction: Any = NO_VALUE,
    pool: Pool | None = None,
) -> Any:
    """Return the variance of the elements of an array, to the same bits as `numpy.var`.

    Parameters
    ----------
    pool : Pool, optional
        Default: as many threads as `get_num_workers()`.

    Notes
    -----
    Otherwise as `numpy.var`. In parallel from 1,048,576 elements: bool and numbers, without `where`
    and `mean`; of all elements, where the array is one-dimensional or contiguous, or along some
    axes. The mean comes first; then each worker computes and sums the squares of the distances from
    it, leaf by leaf of NumPy's summation tree, without the copy of the array that NumPy makes.
    Extra memory: 4 MiB a worker.

    Examples
    --------
    >>> import sharedarray
    >>> float(sharedarray.var([1, 2, 6]))
    4.666666666666667
    """
    options = {"dtype": dtype, "ddof": ddof, "where": where, "mean": mean, "correction": correction}
    return reduced(_VAR, pool, a, axis, out, keepdims, **options)


@implements(np.std, np.ndarray.std)
def std(
    a: ArrayLike,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    ddof: float = 0,
    keepdims: bool = NO_VALUE,
    *,
    where: Any = NO_VALUE,
    mean: Any = NO_VALUE,
    correction: Any = NO_VALUE,
    pool: Pool | None = None,
) -> Any:
    """Return the standard deviation of the elements of an array, to the same bits as `numpy.std`.

    Parameters
    ----------
    pool : Pool, optional
        Default: as many threads as `get_num_workers()`.

    Notes
    -----
    Otherwise as `numpy.std`. In parallel as `var`, whose square root it is.

    Examples
    --------
    >>> import sharedarray
    >>> float(sharedarray.std([1, 1, 7, 7]))
    3.0
    """
    options = {"dtype": dtype, "ddof": ddof, "where": where, "mean": mean, "correction": correction}
    return reduced(_STD, pool, a, axis, out, keepdims, **options)


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
    pool : Pool, optional
        Default: as many threads as `get_num_workers()`.

    Notes
    -----
    Otherwise as `numpy.nanmean`. In parallel as `nansum`, without `out`; bool and integers as in
    `mean`.

    Examples
    --------
    >>> import sharedarray
    >>> float(sharedarray.nanmean([1.0, float("nan"), 2.0]))
    1.5
    """
    how = _MEAN if has_no_nan(a) else _NANMEAN
    return reduced(how, pool, a, axis, out, keepdims, dtype=dtype, where=where)


def quotient(total: NDArray[Any], n: Any, dtype: np.dtype[Any], *, is_scalar: bool) -> NDArray[Any]:
    """Return a total of shape (1,) divided as NumPy divides it, scalars other than arrays."""
    if is_scalar:
        return np.array([dtype.type(total[0] / n)], dtype)
    quotients = total.copy()
    np.true_divide(total, n, out=quotients, casting="unsafe")
    return quotients.astype(dtype)


def _mean(request: Request, dtype: Any) -> Any:
    a = request.a
    # The dtype of the result, and the one in which NumPy adds.
    average = a.dtype.newbyteorder("=") if a.dtype.kind in "fc" else np.dtype(np.float64)
    added = np.dtype(np.float32) if average.char == "e" else average
    if dtype is not None:
        wanted = resolved(a.dtype, dtype)
        if wanted is None:
            return None
        average = added = wanted
    if not request.accepts(average):
        return None
    if a.dtype.char == "e" and request.out is not None:
        return None  # NumPy adds in the output
    if not request.is_whole:
        how = Fold(lambda a, axes: np.mean(a, axis=axes, dtype=dtype, keepdims=True))
        return request.fold(how, average)
    total = summed(request, added)
    if total is None:
        return None
    mean = _quotient(request, total, np.intp(a.size), average)
    return None if mean is None else request.finished(mean)


def _quotient(
    request: Request, total: NDArray[Any], n: Any, dtype: np.dtype[Any]
) -> NDArray[Any] | None:
    """Return the quotient, or None where NumPy warns of it."""
    return unless_flagged(lambda: quotient(total, n, dtype, is_scalar=request.is_scalar))


def _spread(
    function: Callable[..., Any],
    request: Request,
    dtype: Any,
    ddof: Any,
    correction: Any = NO_VALUE,
) -> Any:
    """Return the variance, or its square root."""
    degrees = ddof if correction is NO_VALUE else correction
    if type(ddof) not in (int, float) or type(degrees) not in (int, float):
        return None
    if correction is not NO_VALUE and ddof != 0:  # NumPy refuses both of them
        return None
    if not degrees < prod(request.a.shape[i] for i in request.axes):
        return None
    a = request.a
    native = a.dtype.newbyteorder("=")
    added = np.dtype(np.float64) if a.dtype.kind in "biu" else native
    if dtype is not None:
        wanted = resolved(a.dtype, dtype)
        # Where the distances are of a wider dtype, NumPy converts them before it adds.
        if wanted is None or a.dtype.kind == "c" or np.result_type(native, wanted) != wanted:
            return None
        added = wanted
    if added.kind == "c" and a.dtype.kind != "c":
        return None
    real = np.empty(0, added).real.dtype
    if not request.accepts(real):
        return None
    if not request.is_whole:
        how = Fold(
            lambda a, axes: function(a, axis=axes, dtype=dtype, ddof=degrees, keepdims=True),
            makes_copies=True,
        )
        return request.fold(how, real)
    variance = _variance(request, added, real, degrees)
    if variance is None:
        return None
    return request.finished(np.sqrt(variance) if function is np.std else variance)


def _variance(
    request: Request, dtype: np.dtype[Any], real: np.dtype[Any], ddof: float
) -> NDArray[Any] | None:
    """Return the variance, of shape (1,), as NumPy's `_var` computes it."""
    n = np.intp(request.a.size)
    total = summed(request, dtype)
    if total is None:
        return None
    center = unless_flagged(lambda: quotient(total, n, dtype, is_scalar=False))
    if center is None:
        return None
    squares = summed(request, real, deviations(center))
    return None if squares is None else _quotient(request, squares, np.maximum(n - ddof, 0), real)


def _nanmean(request: Request, dtype: Any) -> Any:
    a = request.a
    if dtype is not None or request.out is not None or not a.dtype.isnative:
        return None
    if not request.is_whole:
        return request.fold(Fold(_means, makes_copies=True), a.dtype)
    total = summed(request, a.dtype, without_nan)
    if total is None:
        return None
    n = request._replace(keepdims=True).fold(Fold(_counts, np.add, makes_copies=True), np.intp)
    if n is None or not n.any():
        return None
    n = n.reshape(-1)
    with np.errstate(invalid="ignore", divide="ignore"):  # as NumPy
        divisor = n[0] if request.is_scalar else n
        mean = quotient(total, divisor, a.dtype, is_scalar=request.is_scalar)
    return request.finished(mean)


def _counts(a: NDArray[Any], axes: tuple[int, ...]) -> NDArray[Any]:
    """Return the numbers of elements that are not NaN."""
    return np.add.reduce(~np.isnan(a), axis=axes, dtype=np.intp, keepdims=True)


def _means(a: NDArray[Any], axes: tuple[int, ...]) -> NDArray[Any] | None:
    """Return means without NaN, None where NumPy warns of having nothing to average."""
    n = _counts(a, axes)
    if not n.all():
        return None
    total: NDArray[Any] = np.add.reduce(without_nan(a), axis=axes, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):  # as NumPy
        np.divide(total, n, out=total, casting="unsafe")
    return total


_MEAN = Reducer(np.mean, _mean, kinds="biufc", simd="bBhHiIlLqQfdFD?", serial=("where",))
_VAR = Reducer(np.var, partial(_spread, np.var), kinds="biufc", serial=("where", "mean"))
_STD = Reducer(np.std, partial(_spread, np.std), kinds="biufc", serial=("where", "mean"))
_NANMEAN = Reducer(np.nanmean, _nanmean, kinds="fc", serial=("where",))
