"""mean, var and std, as functions, as methods and through NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from sharedarray.functions.common import check_pool, numpy_errors, pool_for
from sharedarray.functions.reducing import NO_VALUE, Request, by_numpy, given, requested
from sharedarray.functions.reduction import summed
from sharedarray.memory.array import implements
from sharedarray_ops.pool import Pool
from sharedarray_ops.reduce.folding import Fold
from sharedarray_ops.reduce.reduction import deviations, unless_flagged

__all__ = ["mean", "quotient", "std", "var"]

_FAST = "bBhHiIlLqQfdFD?"
_REAL = "fdgFDG"


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
    a : array_like
        Any shape and dtype that `numpy.mean` takes.
    axis : int or tuple of int, optional
        Axes along which to average. Default: all.
    dtype, out, keepdims, where
        As for `numpy.mean`.
    pool : Pool, optional
        Who works. Default: as many threads as `get_num_workers()`.

    Returns
    -------
    scalar or ndarray
        What `numpy.mean` returns, bit for bit, for any number of workers; only the sign and the
        payload of a NaN may differ.

    Raises
    ------
    AxisError, TypeError, ValueError
        Where `numpy.mean` raises them.

    See Also
    --------
    sum, nanmean, var, std

    Notes
    -----
    In parallel: bool, integers, floats and complex numbers without `where`, from 64 MiB, float16
    and longdouble from 1,048,576 elements; of all elements, where the array is one-dimensional or
    contiguous, or along some axes. The sum is that of `sum`, and is divided as NumPy does.
    Extra memory: 4 MiB a worker where elements are converted; otherwise none to speak of.

    Examples
    --------
    >>> import sharedarray
    >>> float(sharedarray.mean([1, 2, 6]))
    3.0
    """
    check_pool(pool)
    request = None
    if where is NO_VALUE:
        request = requested(a, axis, out, keepdims, kinds="biufc", fast=_FAST)
    if request is not None:
        result = _parallel_mean(request, dtype, pool)
        if result is not None:
            return result
    kwargs = given(keepdims=keepdims, where=where)
    return by_numpy(np.mean, a, axis, dtype, out=out, pool=pool, **kwargs)


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
    a : array_like
        Any shape and dtype that `numpy.var` takes.
    axis : int or tuple of int, optional
        Axes along which the elements vary. Default: all.
    dtype, out, ddof, keepdims, where, mean, correction
        As for `numpy.var`.
    pool : Pool, optional
        Who works. Default: as many threads as `get_num_workers()`.

    Returns
    -------
    scalar or ndarray
        What `numpy.var` returns, bit for bit, for any number of workers; only the sign and the
        payload of a NaN may differ.

    Raises
    ------
    AxisError, TypeError, ValueError
        Where `numpy.var` raises them.

    See Also
    --------
    mean, std

    Notes
    -----
    In parallel: bool, integers, floats and complex numbers without `where` and `mean`, from
    1,048,576 elements; of all elements, where the array is one-dimensional or contiguous, or along
    some axes. The mean comes first; then each worker computes and sums the squares of the distances
    from it, leaf by leaf of NumPy's summation tree, without the copy of the array that NumPy makes.
    Extra memory: 4 MiB a worker.

    Examples
    --------
    >>> import sharedarray
    >>> float(sharedarray.var([1, 2, 6]))
    4.666666666666667
    """
    return _spread(np.var, a, axis, dtype, out, ddof, keepdims, where, mean, correction, pool)


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
    a : array_like
        Any shape and dtype that `numpy.std` takes.
    axis : int or tuple of int, optional
        Axes along which the elements vary. Default: all.
    dtype, out, ddof, keepdims, where, mean, correction
        As for `numpy.std`.
    pool : Pool, optional
        Who works. Default: as many threads as `get_num_workers()`.

    Returns
    -------
    scalar or ndarray
        What `numpy.std` returns, bit for bit, for any number of workers; only the sign and the
        payload of a NaN may differ.

    Raises
    ------
    AxisError, TypeError, ValueError
        Where `numpy.std` raises them.

    See Also
    --------
    mean, var

    Notes
    -----
    In parallel as `var`, whose square root it is.

    Examples
    --------
    >>> import sharedarray
    >>> float(sharedarray.std([1, 1, 7, 7]))
    3.0
    """
    return _spread(np.std, a, axis, dtype, out, ddof, keepdims, where, mean, correction, pool)


class _Dtypes(NamedTuple):
    """In which dtype NumPy adds, and which one the result has."""

    sum: np.dtype[Any]
    result: np.dtype[Any]


def quotient(total: NDArray[Any], n: Any, dtype: np.dtype[Any], *, is_scalar: bool) -> NDArray[Any]:
    """Return a total of shape (1,) divided as NumPy divides it, scalars other than arrays."""
    if is_scalar:
        return np.array([dtype.type(total[0] / n)], dtype)
    quotients = total.copy()
    np.true_divide(total, n, out=quotients, casting="unsafe")
    return quotients.astype(dtype)


def _parallel_mean(request: Request, dtype: DTypeLike | None, pool: Pool | None) -> Any:
    """Return the mean, or None where NumPy has to tell it, to warn or to refuse."""
    a = request.a
    dtypes = _dtypes_of_mean(a.dtype, dtype)
    if dtypes is None or not request.accepts(dtypes.result):
        return None
    if a.dtype.char == "e" and request.out is not None:
        return None  # NumPy adds in the output
    if not request.is_whole:
        how = Fold(lambda a, axes: np.mean(a, axis=axes, dtype=dtype, keepdims=True))
        return request.fold(how, dtypes.result, pool)
    flat = request.flat
    if flat is None:
        return None
    with numpy_errors():
        total = summed(flat, dtypes.sum, pool_for(pool))
    if total is None:
        return None
    is_scalar = not request.keepdims and request.out is None
    result = unless_flagged(
        lambda: quotient(total, np.intp(a.size), dtypes.result, is_scalar=is_scalar)
    )
    return None if result is None else request.finished(result)


def _dtypes_of_mean(dtype: np.dtype[Any], wanted: DTypeLike | None) -> _Dtypes | None:
    """Return the dtypes of a mean, None where there is no parallel way for them."""
    native = dtype.newbyteorder("=")
    if wanted is None:
        if dtype.kind in "biu":
            return _Dtypes(np.dtype(np.float64), np.dtype(np.float64))
        return _Dtypes(np.dtype(np.float32) if native.char == "e" else native, native)
    resolved = _resolved(wanted)
    if resolved is None or not np.can_cast(dtype, resolved, "same_kind"):
        return None
    return _Dtypes(resolved, resolved)


def _resolved(dtype: DTypeLike) -> np.dtype[Any] | None:
    """Return a dtype in which sums are buffered, None where it is another one, or none at all."""
    try:
        resolved = np.dtype(dtype)
    except (TypeError, ValueError):  # which NumPy will raise
        return None
    return resolved if resolved.char in _REAL and resolved.isnative else None


def _spread(
    function: Callable[..., Any],
    a: Any,
    axis: Any,
    dtype: Any,
    out: Any,
    ddof: Any,
    keepdims: Any,
    where: Any,
    mean: Any,
    correction: Any,
    pool: Pool | None,
) -> Any:
    """Return the variance, or its square root."""
    check_pool(pool)
    request = None
    if where is NO_VALUE and mean is NO_VALUE and type(ddof) in (int, float):
        request = requested(a, axis, out, keepdims, kinds="biufc")
    degrees = ddof if correction is NO_VALUE else correction
    # Both of them are one too many.
    is_usual = type(degrees) in (int, float) and (correction is NO_VALUE or ddof == 0)
    if request is not None and is_usual and degrees < request.n_reduced:
        result = _parallel_spread(function, request, dtype, degrees, pool)
        if result is not None:
            return result
    kwargs = given(keepdims=keepdims, where=where, mean=mean, correction=correction)
    return by_numpy(function, a, axis, dtype, out=out, ddof=ddof, pool=pool, **kwargs)


def _parallel_spread(
    function: Callable[..., Any],
    request: Request,
    dtype: DTypeLike | None,
    ddof: float,
    pool: Pool | None,
) -> Any:
    """Return the variance, or its root; None where NumPy has to tell it, to warn or to refuse."""
    a = request.a
    native = a.dtype.newbyteorder("=")
    added = np.dtype(np.float64) if a.dtype.kind in "biu" else native
    if dtype is not None:
        resolved = _resolved(dtype)
        # Where the distances are of a wider dtype, NumPy converts them before it adds.
        if resolved is None or a.dtype.kind == "c" or np.result_type(native, resolved) != resolved:
            return None
        added = resolved
    if added.kind == "c" and a.dtype.kind != "c":
        return None
    result_dtype = np.empty(0, added).real.dtype
    if not request.accepts(result_dtype):
        return None
    if not request.is_whole:
        how = Fold(
            lambda a, axes: function(a, axis=axes, dtype=dtype, ddof=ddof, keepdims=True),
            makes_copies=True,
        )
        return request.fold(how, result_dtype, pool)
    flat = request.flat
    if flat is None:
        return None
    with numpy_errors():
        variance = _variance(flat, added, ddof, request, pool_for(pool))
    if variance is None:
        return None
    return request.finished(np.sqrt(variance) if function is np.std else variance)


def _variance(
    flat: NDArray[Any], dtype: np.dtype[Any], ddof: float, request: Request, pool: Pool
) -> NDArray[Any] | None:
    """Return the variance, of shape (1,), as NumPy's `_var` computes it."""
    n = np.intp(flat.size)
    total = summed(flat, dtype, pool)
    if total is None:
        return None
    center = unless_flagged(lambda: quotient(total, n, dtype, is_scalar=False))
    if center is None:
        return None
    real = np.empty(0, dtype).real.dtype
    squares = summed(flat, real, pool, deviations(center))
    if squares is None:
        return None
    is_scalar = not request.keepdims and request.out is None
    return unless_flagged(
        lambda: quotient(squares, np.maximum(n - ddof, 0), real, is_scalar=is_scalar)
    )
