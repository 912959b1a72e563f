"""sum, as a function, as a method and through NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from sharedarray.functions.common import MIN_SUM, check_pool, numpy_errors, pool_for
from sharedarray.memory.array import SharedArray, implements
from sharedarray_ops import reduction
from sharedarray_ops.pool import Pool

__all__ = ["sum"]

_NO_VALUE: Any = np._NoValue  # NumPy's own mark of an argument left out


@implements(np.sum, np.ndarray.sum)
def sum(
    a: ArrayLike,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: bool = _NO_VALUE,
    initial: Any = _NO_VALUE,
    where: Any = _NO_VALUE,
    *,
    pool: Pool | None = None,
) -> Any:
    """Sum the elements of an array, to the same bits as `numpy.sum`.

    Parameters
    ----------
    a : array_like
        Any shape and dtype that `numpy.sum` takes.
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

    Notes
    -----
    In parallel: sums of all elements of one-dimensional or contiguous arrays of bool, integers,
    floats and timedelta64 in their default result dtype, without `where`, floats without
    `initial`, from 2,097,152 elements. The array is cut where NumPy's pairwise summation cuts it,
    see `sharedarray_ops.reduction`. Overflow and invalid values warn or raise as the caller's
    `numpy.errstate` says.

    Examples
    --------
    >>> import sharedarray
    >>> int(sharedarray.sum(sharedarray.arange(1_000_000)))
    499999500000
    """
    check_pool(pool)
    given = {"keepdims": keepdims, "initial": initial, "where": where}
    kwargs = {name: value for name, value in given.items() if value is not _NO_VALUE}
    flat = _whole(a, axis, dtype, out, kwargs)
    if flat is None:
        return _numpy_sum(a, axis, dtype, out, kwargs)
    workers = pool_for(pool)
    total: NDArray[Any] | None
    with numpy_errors():
        if flat.dtype.kind == "m":
            total = reduction.sum_times(flat, workers)
        elif flat.dtype.isnative or flat.dtype.kind != "f":
            total = reduction.sum_tree(flat, workers)
        else:
            total = reduction.sum_buffered(flat, workers, np.getbufsize())
    if total is not None and total.dtype == np.float32 and flat.dtype == np.float16:
        with np.errstate(over="ignore"):
            total = total.astype(np.float16) if np.isfinite(total.astype(np.float16)) else None
    if total is None:  # something that only NumPy itself can tell or warn of
        return _numpy_sum(a, axis, dtype, out, kwargs)
    # NumPy itself finishes: output, shape and the start value.
    whole: Any = total.astype(np.add.reduce(flat[:0]).dtype).reshape((1,) * np.ndim(a))
    return _numpy_sum(whole, axis, dtype, out, kwargs)


def _numpy_sum(a: Any, axis: Any, dtype: Any, out: Any, kwargs: dict[str, Any]) -> Any:
    """Call NumPy's own sum: with plain arrays, since SharedArrays would lead back here."""
    arrays = [x.view(np.ndarray) if isinstance(x, SharedArray) else x for x in (a, out)]
    result = np.sum(arrays[0], axis, dtype, arrays[1], **kwargs)
    return result if out is None else out


def _check_arguments(a: Any, axis: Any, dtype: Any, out: Any, kwargs: dict[str, Any]) -> None:
    """Let NumPy raise for bad arguments, by a sum of one element."""
    if isinstance(out, np.ndarray):
        writeable = out.flags.writeable
        out = np.empty_like(out, subok=False)
        out.flags.writeable = writeable
    one: Any = np.zeros((1,) * a.ndim, a.dtype)
    np.sum(one, axis, dtype, out, **kwargs)


def _whole(
    a: Any, axis: Any, dtype: DTypeLike | None, out: Any, kwargs: dict[str, Any]
) -> NDArray[Any] | None:
    """Return the elements in one dimension where `sum` adds all of them in parallel, else None."""
    if type(a) not in (np.ndarray, SharedArray, np.memmap) or a.size < MIN_SUM:
        return None
    if axis is not None and (a.ndim != 1 or (isinstance(axis, tuple) and not axis)):
        return None
    if "where" in kwargs or a.dtype.kind not in "biufm" or not a.flags.aligned:
        return None
    if a.ndim != 1 and not a.flags.forc:
        return None
    _check_arguments(a, axis, dtype, out, kwargs)
    # Floats are added to the start value, which comes first; float16 is rounded after each buffer.
    if a.dtype.kind == "f" and "initial" in kwargs:
        return None
    if a.dtype.char == "e" and not a.dtype.isnative:
        return None
    # Another result dtype makes NumPy convert, buffer by buffer, before it adds.
    result_dtype = np.add.reduce(np.empty(0, a.dtype)).dtype
    if dtype is not None and np.dtype(dtype) != result_dtype:
        return None
    if dtype is None and out is not None and getattr(out, "dtype", None) != result_dtype:
        return None
    flat: NDArray[Any] = a.view(np.ndarray).reshape(-1, order="A")
    return flat
