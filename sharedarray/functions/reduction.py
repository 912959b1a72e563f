"""sum and prod, as functions, as methods and through NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from sharedarray.functions.common import check_pool, numpy_errors, pool_for
from sharedarray.functions.reducing import NO_VALUE, Request, by_numpy, given, requested
from sharedarray.functions.thresholds import MIN_SUM
from sharedarray.memory.array import implements
from sharedarray_ops.pool import Pool
from sharedarray_ops.reduce import reduction
from sharedarray_ops.reduce.folding import Fold
from sharedarray_ops.reduce.reduction import Terms

__all__ = ["prod", "sum", "summed"]

# What NumPy's ufuncs convert to before they add, buffer by buffer.
_WIDE = "fdgFDG"


@implements(np.sum, np.ndarray.sum)
def sum(
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
    """Sum the elements of an array, to the same bits as `numpy.sum`.

    Parameters
    ----------
    a : array_like
        Any shape and dtype that `numpy.sum` takes. Of a dask array it is Dask's own sum.
    axis : int or tuple of int, optional
        Axes to sum along. Default: all.
    dtype, out, keepdims, initial, where
        As for `numpy.sum`.
    pool : Pool, optional
        Who works. Default: as many threads as `get_num_workers()`.

    Returns
    -------
    scalar or ndarray
        What `numpy.sum` returns, bit for bit, for any number of workers; only the sign and the
        payload of a NaN may differ.

    Raises
    ------
    AxisError, TypeError, ValueError
        Where `numpy.sum` raises them.

    See Also
    --------
    mean, nansum, cumsum

    Notes
    -----
    In parallel: bool, integers, floats, complex numbers and timedelta64, from 2,097,152 elements,
    64-bit integers from 128 MiB, without `where`, floats without `initial`; of all elements, where
    the array is one-dimensional or contiguous (integers: any), or along some axes. All elements are
    added along NumPy's tree of pairwise summation, see `sharedarray_ops.reduce.reduction`; along
    some axes, an array is cut along another one, where each chunk has 256 KiB of adjacent elements
    or more, see `sharedarray_ops.reduce.folding`. Overflow and invalid values warn or raise as the
    caller's `numpy.errstate` says.
    Extra memory: 4 MiB a worker where elements are converted; otherwise none to speak of.

    Examples
    --------
    >>> import sharedarray
    >>> int(sharedarray.sum(sharedarray.arange(1_000_000)))
    499999500000
    """
    check_pool(pool)
    request = None
    if where is NO_VALUE:
        request = requested(
            a, axis, out, keepdims, kinds="biufcm", fastest="lLqQ", min_size=MIN_SUM
        )
    if request is not None:
        result = _parallel_sum(request, dtype, given(initial=initial), pool)
        if result is not None:
            return result
    kwargs = given(keepdims=keepdims, initial=initial, where=where)
    return by_numpy(np.sum, a, axis, dtype, out=out, pool=pool, **kwargs)


@implements(np.prod, np.ndarray.prod)
def prod(
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
    """Multiply the elements of an array, to the same bits as `numpy.prod`.

    Parameters
    ----------
    a : array_like
        Any shape and dtype that `numpy.prod` takes.
    axis : int or tuple of int, optional
        Axes to multiply along. Default: all.
    dtype, out, keepdims, initial, where
        As for `numpy.prod`.
    pool : Pool, optional
        Who works. Default: as many threads as `get_num_workers()`.

    Returns
    -------
    scalar or ndarray
        What `numpy.prod` returns, bit for bit, for any number of workers; only the sign and the
        payload of a NaN may differ.

    Raises
    ------
    AxisError, TypeError, ValueError
        Where `numpy.prod` raises them.

    See Also
    --------
    sum, cumprod

    Notes
    -----
    In parallel, from 1,048,576 elements, in the default result dtype, without `initial` and
    `where`: bool and integers, and floats and complex numbers along some axes. NumPy multiplies all
    floats one after the other, so that any other order gives other bits: that is left to NumPy.
    Extra memory: none to speak of.

    Examples
    --------
    >>> import sharedarray
    >>> int(sharedarray.prod([2, 3, 7]))
    42
    """
    check_pool(pool)
    request = None
    if dtype is None and initial is NO_VALUE and where is NO_VALUE:
        request = requested(a, axis, out, keepdims, kinds="biufc")
    if request is not None:
        how = Fold(
            lambda a, axes: np.multiply.reduce(a, axis=axes, keepdims=True),
            np.multiply if request.a.dtype.kind in "biu" else None,
        )
        result = request.fold(how, np.multiply.reduce(np.ones(1, request.a.dtype)).dtype, pool)
        if result is not None:
            return result
    kwargs = given(keepdims=keepdims, initial=initial, where=where)
    return by_numpy(np.prod, a, axis, dtype, out=out, pool=pool, **kwargs)


def summed(
    flat: NDArray[Any], dtype: np.dtype[Any], pool: Pool, terms: Terms | None = None
) -> NDArray[Any] | None:
    """Return ``np.add.reduce(flat, dtype=dtype, keepdims=True)``, or None where NumPy has to do it.

    Parameters
    ----------
    flat : ndarray, shape (n,)
        Bool, numbers or timedelta64.
    dtype : dtype
        In which to add: the default for `flat`, or one that it is converted to.
    pool : Pool
        Who works.
    terms : callable, optional
        Gives what is to be added in place of elements; of the dtype `dtype`.
    """
    total: NDArray[Any] | None
    if flat.dtype.kind == "m":
        total = reduction.sum_times(flat, pool)
    elif flat.dtype.kind in "biu" and dtype.kind in "iu" and terms is None:
        total = reduction.sum_tree(flat, pool)
    elif terms is not None or flat.dtype == dtype:
        total = reduction.sum_tree(flat, pool, terms)
    elif dtype.char in _WIDE:
        total = reduction.sum_buffered(flat, pool, np.getbufsize(), dtype)
    else:  # float16 in foreign byte order is rounded after each buffer
        return None
    if total is not None and dtype == np.float16:
        over = np.geterr()["over"]
        with np.errstate(over="ignore"):
            total = total.astype(dtype)
        if over != "ignore" and not np.isfinite(total).all():
            return None  # NumPy warns, or not
    return total


def _parallel_sum(
    request: Request, dtype: DTypeLike | None, start: dict[str, Any], pool: Pool | None
) -> Any:
    """Return the sum, or None where NumPy has to tell it, to warn or to refuse."""
    a = request.a
    default = np.add.reduce(np.empty(0, a.dtype)).dtype
    wanted = default if dtype is None else _converted(a.dtype, dtype, default)
    if wanted is None or not request.accepts(wanted):
        return None
    if start and (a.dtype.kind in "fc" or wanted.kind not in "ium" or not request.is_whole):
        return None  # floats are added to the start value, which comes first
    flat = request.flat if request.is_whole else None
    if flat is None:
        return None if start or a.dtype.kind == "m" else _sum_by_chunks(request, wanted, pool)
    one: Any = np.zeros((1,) * a.ndim, a.dtype)
    np.sum(one, dtype=dtype, **start)  # for NumPy's own errors
    with numpy_errors():
        total = summed(flat, wanted, pool_for(pool))
    if total is None:
        return None
    whole: Any = total.reshape((1,) * a.ndim)
    # NumPy itself finishes: the start value, and the zero that it begins with.
    return request.finished(np.sum(whole, keepdims=True, **start))


def _sum_by_chunks(request: Request, dtype: np.dtype[Any], pool: Pool | None) -> Any:
    how = Fold(
        lambda a, axes: np.add.reduce(a, axis=axes, dtype=dtype, keepdims=True),
        np.add if dtype.kind in "iu" else None,
    )
    return request.fold(how, dtype, pool)


def _converted(
    dtype: np.dtype[Any], wanted: DTypeLike, default: np.dtype[Any]
) -> np.dtype[Any] | None:
    """Return the dtype in which to add, None where there is no parallel way for it."""
    try:
        resolved = np.dtype(wanted)
    except (TypeError, ValueError):  # which NumPy will raise
        return None
    if resolved == default:
        return default
    is_wider = resolved.char in _WIDE and resolved.isnative
    return resolved if is_wider and np.can_cast(dtype, resolved, "same_kind") else None
