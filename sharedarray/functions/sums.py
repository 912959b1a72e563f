"""sum, prod and nansum."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sharedarray.functions.calls import numpy_errors, pool_for
from sharedarray.functions.reductions import NO_VALUE, Reducer, Request, reduced
from sharedarray.functions.thresholds import MIN_FASTEST_NBYTES, MIN_SUM
from sharedarray.memory.array import implements
from sharedarray_ops.pool import Pool
from sharedarray_ops.reduce import summation
from sharedarray_ops.reduce.folding import Fold, by_ufunc
from sharedarray_ops.reduce.summation import Terms

__all__ = ["has_no_nan", "nansum", "prod", "resolved", "sum", "summed", "without_nan"]

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
    pool : Pool, optional
        Default: as many threads as `get_num_workers()`.

    Notes
    -----
    Otherwise as `numpy.sum`. In parallel from 2,097,152 elements, 64-bit integers from 128 MiB:
    bool, numbers and timedelta64 without `where`, floats without `initial`; of all elements, where
    the array is one-dimensional or contiguous (integers: any), or along some axes. The bits are
    NumPy's for any number of workers, but for the sign and the payload of a NaN: all elements are
    added along NumPy's own tree of pairwise summation, `sharedarray_ops.reduce.summation`; along
    axes, an array is cut along another one, where each chunk has 256 KiB of adjacent elements or
    more, `sharedarray_ops.reduce.folding`. Overflow and invalid values warn or raise as the
    caller's `numpy.errstate` says. Extra memory: 4 MiB a worker where elements are converted, else
    none. Of a dask array it is Dask's own sum.

    Examples
    --------
    >>> import sharedarray
    >>> int(sharedarray.sum(sharedarray.arange(1_000_000)))
    499999500000
    """
    return reduced(_SUM, pool, a, axis, out, keepdims, dtype=dtype, initial=initial, where=where)


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
    pool : Pool, optional
        Default: as many threads as `get_num_workers()`.

    Notes
    -----
    Otherwise as `numpy.prod`. In parallel from 1,048,576 elements, without `dtype`, `initial` and
    `where`: bool and integers, and along axes floats and complex numbers. NumPy multiplies all
    floats one after the other; any other order gives other bits, so that these are left to NumPy.

    Examples
    --------
    >>> import sharedarray
    >>> int(sharedarray.prod([2, 3, 7]))
    42
    """
    return reduced(_PROD, pool, a, axis, out, keepdims, dtype=dtype, initial=initial, where=where)


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
    pool : Pool, optional
        Default: as many threads as `get_num_workers()`.

    Notes
    -----
    Otherwise as `numpy.nansum`. In parallel from 1,048,576 elements: floats and complex numbers in
    native byte order, without `dtype`, `initial` and `where`; bool and integers as in `sum`. NaN is
    replaced leaf by leaf of NumPy's summation tree, without the copy of the array that NumPy makes.
    Extra memory: 5 MiB a worker.

    Examples
    --------
    >>> import sharedarray
    >>> float(sharedarray.nansum([1.0, float("nan"), 2.0]))
    3.0
    """
    how = _SUM if has_no_nan(a) else _NANSUM
    return reduced(how, pool, a, axis, out, keepdims, dtype=dtype, initial=initial, where=where)


def has_no_nan(a: Any) -> bool:
    """Return whether an array is one of bool or integers."""
    return getattr(getattr(a, "dtype", None), "kind", "O") in "biu"


def without_nan(a: NDArray[Any]) -> NDArray[Any]:
    """Return a copy with zero in place of NaN."""
    copy = a.copy(order="K")
    np.copyto(copy, 0, where=np.isnan(a))
    return copy


def resolved(
    dtype: np.dtype[Any], wanted: Any, default: np.dtype[Any] | None = None
) -> np.dtype[Any] | None:
    """Return the dtype in which to add, None where there is no parallel way for it."""
    try:
        found = np.dtype(wanted)
    except (TypeError, ValueError):  # which NumPy will raise
        return None
    if default is not None and found == default:
        return default
    is_wide = found.char in _WIDE and found.isnative
    return found if is_wide and np.can_cast(dtype, found, "same_kind") else None


def summed(
    request: Request, dtype: np.dtype[Any], terms: Terms | None = None
) -> NDArray[Any] | None:
    """Return the sum of all elements, of shape (1,), or None where NumPy has to do it.

    Parameters
    ----------
    request : Request
        Of an array of bool, numbers or timedelta64.
    dtype : dtype
        In which to add: the default for the array, or one that it is converted to.
    terms : callable, optional
        Gives what is to be added in place of elements; of the dtype `dtype`.
    """
    flat = request.flat
    if flat is None:
        return None
    with numpy_errors():
        total = _summed(flat, dtype, pool_for(request.pool), terms)
    if total is None or dtype != np.float16:
        return total
    over = np.geterr()["over"]
    with np.errstate(over="ignore"):
        total = total.astype(dtype)
    # NumPy warns of an infinite sum, or not.
    return total if over == "ignore" or np.isfinite(total).all() else None


def _summed(
    flat: NDArray[Any], dtype: np.dtype[Any], pool: Pool, terms: Terms | None
) -> NDArray[Any] | None:
    if flat.dtype.kind == "m":
        return summation.sum_times(flat, pool)
    is_integer = flat.dtype.kind in "biu" and dtype.kind in "iu"
    if terms is not None or is_integer or flat.dtype == dtype:
        return summation.sum_tree(flat, pool, terms)
    if dtype.char in _WIDE:
        return summation.sum_buffered(flat, pool, np.getbufsize(), dtype)
    return None  # float16 in foreign byte order is rounded after each buffer


def _sum(request: Request, dtype: Any, **start: Any) -> Any:
    a = request.a
    default = np.add.reduce(np.empty(0, a.dtype)).dtype
    wanted = default if dtype is None else resolved(a.dtype, dtype, default)
    if wanted is None or not request.accepts(wanted):
        return None
    if start and (a.dtype.kind in "fc" or wanted.kind not in "ium" or not request.is_whole):
        return None  # floats are added to the start value, which comes first
    if not request.is_whole or request.flat is None:
        if start or a.dtype.kind == "m":
            return None
        how = by_ufunc(np.add, wanted, is_combined=wanted.kind in "iu")
        return request.fold(how, wanted)
    one: Any = np.zeros((1,) * a.ndim, a.dtype)
    np.sum(one, dtype=dtype, **start)  # for NumPy's own errors
    total: Any = summed(request, wanted)
    if total is None:
        return None
    # NumPy itself finishes: the start value, and the zero that it begins with.
    return request.finished(np.sum(total.reshape(one.shape), keepdims=True, **start))


def _prod(request: Request, dtype: Any) -> Any:
    if dtype is not None:
        return None
    dtype = request.a.dtype
    how = by_ufunc(np.multiply, is_combined=dtype.kind in "biu")
    return request.fold(how, np.multiply.reduce(np.ones(1, dtype)).dtype)


def _nansum(request: Request, dtype: Any) -> Any:
    a = request.a
    if dtype is not None or not a.dtype.isnative or not request.accepts(a.dtype):
        return None
    if not request.is_whole:
        how = Fold(lambda a, axes: np.nansum(a, axis=axes, keepdims=True), makes_copies=True)
        return request.fold(how, a.dtype)
    total = summed(request, a.dtype, without_nan)
    return None if total is None else request.finished(np.add.reduce(total, keepdims=True))


_SUM = Reducer(
    np.sum,
    _sum,
    kinds="biufcm",
    least=MIN_SUM,
    simd="lLqQ",
    least_nbytes=MIN_FASTEST_NBYTES,
    serial=("where",),
)
_PROD = Reducer(np.prod, _prod, kinds="biufc", serial=("initial", "where"))
_NANSUM = Reducer(np.nansum, _nansum, kinds="fc", serial=("initial", "where"))
