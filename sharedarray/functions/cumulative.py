"""cumsum and cumprod, as functions, as methods and through NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sharedarray.functions.inputs import plain
from sharedarray.functions.pools import check_pool, numpy_errors, pool_for
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
    """Return the cumulative sums of an array, to the same bits as `numpy.cumsum`.

    Parameters
    ----------
    a : array_like
        Any shape and dtype that `numpy.cumsum` takes.
    axis : int, optional
        Along which to add. Default: the elements in C order.
    dtype, out
        As for `numpy.cumsum`.
    pool : Pool, optional
        Who works. Default: as many threads as `get_num_workers()`.

    Returns
    -------
    SharedArray
        Of the shape of `a`, or ``(a.size,)``; `out` where it is given. What `numpy.cumsum` returns
        where the dtype has Python objects.

    Raises
    ------
    AxisError, TypeError, ValueError
        Where `numpy.cumsum` raises them.
    TypeError
        For masked arrays.

    See Also
    --------
    sum, cumprod

    Notes
    -----
    In parallel, from 2,097,152 elements, in the default result dtype: bool and integers, in two
    passes; floats and complex numbers along an axis of several, line by line, since NumPy adds the
    elements of a line one after the other. See `sharedarray_ops.reduce.scan`.
    Extra memory: none besides the result; as much once more where `out` is given.

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
    """Return the cumulative products of an array, to the same bits as `numpy.cumprod`.

    Parameters
    ----------
    a : array_like
        Any shape and dtype that `numpy.cumprod` takes.
    axis : int, optional
        Along which to multiply. Default: the elements in C order.
    dtype, out
        As for `numpy.cumprod`.
    pool : Pool, optional
        Who works. Default: as many threads as `get_num_workers()`.

    Returns
    -------
    SharedArray
        Of the shape of `a`, or ``(a.size,)``; `out` where it is given. What `numpy.cumprod` returns
        where the dtype has Python objects.

    Raises
    ------
    AxisError, TypeError, ValueError
        Where `numpy.cumprod` raises them.
    TypeError
        For masked arrays.

    See Also
    --------
    prod, cumsum

    Notes
    -----
    In parallel as `cumsum`.

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
            made = _large(function, ufunc, source, axis, pool)
        else:
            made = _small(function, source, axis)
        if made is not None:
            return made
    result = function(source, axis, dtype)
    return creation.asarray(result) if not result.dtype.hasobject else result


def _small(function: Callable[..., Any], a: NDArray[Any], axis: Any) -> SharedArray | None:
    """Return the accumulated array without a copy, None where its layout has to be found first."""
    if a.ndim != 1 or not (axis is None or (type(axis) is int and axis in (0, -1))):
        return None
    result = new_array(np.empty(a.size, _result_dtype(a.dtype)))
    function(a, axis, out=result.view(np.ndarray))
    return result


def _result_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the default dtype of sums and products."""
    if dtype.kind in "fc":
        return dtype.newbyteorder("=")
    return np.dtype(np.uint if dtype.kind == "u" else np.int_)


def _large(
    function: Callable[..., Any], ufunc: np.ufunc, a: NDArray[Any], axis: Any, pool: Pool | None
) -> SharedArray | None:
    """Return the accumulated array, None where NumPy has to tell it or to refuse."""
    dtype = _result_dtype(a.dtype)
    if axis is not None and (type(axis) is not int or not -a.ndim <= axis < a.ndim):
        return None
    along: int = 0 if axis is None else axis
    result = creation.empty(a.size, dtype) if axis is None else creation.empty_like(a, dtype)
    room, touch, done = result.view(np.ndarray), pages.populator(result), True
    is_line = axis is None or a.size == a.shape[along]
    with numpy_errors():
        if is_line and a.dtype.kind in "biu":
            line = a.reshape(-1)
            scan.accumulate_line(ufunc, line, room.reshape(-1), pool_for(pool), touch)
        elif not is_line:
            done = scan.accumulate_lines(ufunc, a, along, room, pool_for(pool), touch)
    if not done or (is_line and a.dtype.kind not in "biu"):
        function(a, axis, out=room)
    return result
