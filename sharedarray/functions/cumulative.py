"""cumsum and cumprod."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sharedarray.functions.calls import check_pool, numpy_errors, plain, pool_for
from sharedarray.functions.reductions import by_numpy
from sharedarray.functions.thresholds import MIN_CUMULATIVE, pays
from sharedarray.memory import creation, pages
from sharedarray.memory.array import SharedArray, implements, new_array
from sharedarray_ops.pool import Pool
from sharedarray_ops.reduce import scan

__all__ = ["cumprod", "cumsum"]


@implements(np.cumsum, np.ndarray.cumsum)
def cumsum(
    a: ArrayLike,
    axis: int | None = None,
    dtype: Any = None,
    out: Any = None,
    *,
    pool: Pool | None = None,
) -> Any:
    """Return the cumulative sums of an array as a SharedArray, to the same bits as `numpy.cumsum`.

    Parameters
    ----------
    pool : Pool, optional
        Default: as many threads as `get_num_workers()`.

    Notes
    -----
    Otherwise as `numpy.cumsum`; masked arrays are refused. In parallel from 2,097,152 elements,
    without `dtype` and `out`: bool and integers, in two passes; floats and complex numbers along an
    axis of several, line by line, since NumPy adds the elements of a line one after the other. See
    `sharedarray_ops.reduce.scan`. Extra memory: none besides the result.

    Examples
    --------
    >>> import sharedarray
    >>> sharedarray.cumsum([1, 2, 3])
    SharedArray([1, 3, 6])
    """
    return _accumulated(np.cumsum, np.add, a, axis, dtype, out, pool)


@implements(np.cumprod, np.ndarray.cumprod)
def cumprod(
    a: ArrayLike,
    axis: int | None = None,
    dtype: Any = None,
    out: Any = None,
    *,
    pool: Pool | None = None,
) -> Any:
    """Return the cumulative products as a SharedArray, to the same bits as `numpy.cumprod`.

    Parameters
    ----------
    pool : Pool, optional
        Default: as many threads as `get_num_workers()`.

    Notes
    -----
    Otherwise as `numpy.cumprod`; masked arrays are refused. In parallel as `cumsum`.

    Examples
    --------
    >>> import sharedarray
    >>> sharedarray.cumprod([1, 2, 3])
    SharedArray([1, 2, 6])
    """
    return _accumulated(np.cumprod, np.multiply, a, axis, dtype, out, pool)


def _accumulated(
    function: Callable[..., Any],
    ufunc: np.ufunc,
    a: Any,
    axis: Any,
    dtype: Any,
    out: Any,
    pool: Pool | None,
) -> Any:
    check_pool(pool)
    if out is not None:
        return by_numpy(function, a, axis, out, {"dtype": dtype})
    source = plain(a)
    if dtype is None and source.dtype.kind in "biufc":
        if pays(source.size, MIN_CUMULATIVE):
            result = _large(function, ufunc, source, axis, pool)
            if result is not None:
                return result
        elif source.ndim == 1 and (axis is None or (type(axis) is int and axis in (0, -1))):
            # The layout of the result is known: it needs no copy.
            result = new_array(np.empty(source.size, _result_dtype(source.dtype)))
            function(source, axis, out=result.view(np.ndarray))
            return result
    result = function(source, axis, dtype)
    return creation.asarray(result) if not result.dtype.hasobject else result


def _result_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the default dtype of sums and products."""
    if dtype.kind in "fc":
        return dtype.newbyteorder("=")
    return np.dtype(np.uint if dtype.kind == "u" else np.int_)


def _large(
    function: Callable[..., Any], ufunc: np.ufunc, a: NDArray[Any], axis: Any, pool: Pool | None
) -> SharedArray | None:
    """Return the accumulated array, None where NumPy has to do it or to refuse."""
    dtype = _result_dtype(a.dtype)
    if axis is not None and (type(axis) is not int or not -a.ndim <= axis < a.ndim):
        return None
    result = creation.empty(a.size, dtype) if axis is None else creation.empty_like(a, dtype)
    room, touch, is_done = result.view(np.ndarray), pages.populator(result), False
    with numpy_errors():
        if axis is not None and a.size > a.shape[axis]:
            is_done = scan.accumulate_lines(ufunc, a, axis, room, pool_for(pool), touch)
        elif a.dtype.kind in "biu":
            line = a.reshape(-1)
            scan.accumulate_line(ufunc, line, room.reshape(-1), pool_for(pool), touch)
            is_done = True
    if not is_done:
        function(a, axis, out=room)
    return result
