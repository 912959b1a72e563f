"""NumPy's functions that create arrays from a shape, with their results in shared memory.

NumPy itself validates: each function lets it make a private array of the wanted layout, no page of
which is ever touched, and allocates shared memory with the same shape, strides and dtype.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike

from sharedarray.memory.array import SharedArray, layout, new_array, refuse_objects
from sharedarray.memory.filling import fill

__all__ = [
    "arange",
    "as_numpy",
    "empty",
    "filled",
    "full",
    "is_foreign",
    "is_ours",
    "ones",
    "zeros",
]

_Order = Literal["C", "F"] | None
_Device = Literal["cpu"] | None


def empty(
    shape: Any,
    dtype: DTypeLike | None = None,
    order: _Order = "C",
    *,
    device: _Device = None,
    like: Any = None,
    name: str | None = None,
    reserve: bool = False,
) -> SharedArray:
    """Allocate a shared array without setting its elements.

    Parameters
    ----------
    shape : int or tuple of int
        The shape.
    dtype : data-type, default float64
        Any dtype without Python objects.
    order : {'C', 'F'}, default 'C'
        Row-major or column-major.
    device : {'cpu'}, optional
        For the array API only.
    like : array_like, optional
        If its class has an ``__array_function__`` of its own, that class's array is returned.
    name : str, optional
        Put it into a new named segment, which other programs of this user reach by `attach`, and
        which is there until `unlink`: zero at first, and with all of its memory.
    reserve : bool, default False
        Have all of its memory now, and MemoryError if there is not so much; by default the kernel
        finds it page by page when it is used, and kills the process where there is none.

    Returns
    -------
    SharedArray
        New memory.

    Raises
    ------
    TypeError
        If the dtype has Python objects or is a StringDType, or the shape is not of integers.
    ValueError
        If a dimension is negative.
    MemoryError
        If there is not enough memory, at once.

    See Also
    --------
    zeros, ones, full, empty_like, numpy.empty

    Notes
    -----
    The elements may be what a freed array of this process has left; they are never data of another
    process.

    Examples
    --------
    >>> import sharedarray
    >>> sharedarray.empty((3, 4), dtype="f4").shape
    (3, 4)
    """
    if not is_ours(like):
        options: dict[str, Any] = {"device": device, "like": like}
        return as_numpy(np.empty, shape, dtype, order, name=name, reserve=reserve, **options)
    refuse_objects(dtype)
    return new_array(
        layout(np.empty, shape, dtype, order, device=device), name=name, reserve=reserve
    )


def zeros(
    shape: Any,
    dtype: DTypeLike | None = None,
    order: _Order = "C",
    *,
    device: _Device = None,
    like: Any = None,
    name: str | None = None,
    reserve: bool = False,
) -> SharedArray:
    """Allocate a shared array of zeros.

    Parameters
    ----------
    shape, dtype, order, device, like
        As in `empty`.
    name, reserve
        As in `empty`.

    Returns
    -------
    SharedArray
        New memory. Above 64 KiB, pages that no array has used before are not touched, so that
        the worker that uses a page first gets it near its CPU.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As `empty`.

    See Also
    --------
    empty, numpy.zeros

    Examples
    --------
    >>> import sharedarray
    >>> sharedarray.zeros(3, dtype=int)
    SharedArray([0, 0, 0])
    """
    if not is_ours(like):
        options: dict[str, Any] = {"device": device, "like": like}
        return as_numpy(np.zeros, shape, dtype, order, name=name, reserve=reserve, **options)
    refuse_objects(dtype)
    return new_array(
        layout(np.empty, shape, dtype, order, device=device),
        zeroed=True,
        name=name,
        reserve=reserve,
    )


def ones(
    shape: Any,
    dtype: DTypeLike | None = None,
    order: _Order = "C",
    *,
    device: _Device = None,
    like: Any = None,
    name: str | None = None,
    reserve: bool = False,
) -> SharedArray:
    """Make a shared array of ones.

    Parameters
    ----------
    shape, dtype, order, device, like
        As in `empty`.
    name, reserve
        As in `empty`.

    Returns
    -------
    SharedArray
        New memory.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As `empty`.

    See Also
    --------
    full, numpy.ones

    Examples
    --------
    >>> import sharedarray
    >>> sharedarray.ones((2, 2))
    SharedArray([[1., 1.],
                 [1., 1.]])
    """
    if not is_ours(like):
        options: dict[str, Any] = {"device": device, "like": like}
        return as_numpy(np.ones, shape, dtype, order, name=name, reserve=reserve, **options)
    refuse_objects(dtype)
    return filled(
        new_array(layout(np.empty, shape, dtype, order, device=device), name=name, reserve=reserve),
        1,
    )


def full(
    shape: Any,
    fill_value: Any,
    dtype: DTypeLike | None = None,
    order: _Order = "C",
    *,
    device: _Device = None,
    like: Any = None,
    name: str | None = None,
    reserve: bool = False,
) -> SharedArray:
    """Make a shared array filled with a value.

    Parameters
    ----------
    shape, order, device, like
        As in `empty`.
    fill_value : scalar or array_like
        What to fill it with, broadcast to the shape.
    dtype : data-type, optional
        Any dtype without Python objects; by default that of ``np.asarray(fill_value)``.
    name, reserve
        As in `empty`.

    Returns
    -------
    SharedArray
        New memory.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As `empty`; ValueError also if `fill_value` does not broadcast to the shape.
    OverflowError
        If `fill_value` is a Python integer out of the dtype's range.

    See Also
    --------
    full_like, zeros, numpy.full

    Examples
    --------
    >>> import sharedarray
    >>> sharedarray.full((2, 3), [1, 2, 3])
    SharedArray([[1, 2, 3],
                 [1, 2, 3]])
    """
    if not is_ours(like):
        options: dict[str, Any] = {"device": device, "like": like}
        return as_numpy(
            np.full, shape, fill_value, dtype, order, name=name, reserve=reserve, **options
        )
    if dtype is None:
        fill_value = np.asarray(fill_value)
        dtype = fill_value.dtype
    refuse_objects(dtype)
    return filled(
        new_array(layout(np.empty, shape, dtype, order, device=device), name=name, reserve=reserve),
        fill_value,
    )


def arange(*args: Any, **kwargs: Any) -> SharedArray:
    """Make a shared array of evenly spaced values.

    ``arange([start,] stop[, step,], dtype=None, *, device=None, like=None, name=None,
    reserve=False)``

    Parameters
    ----------
    start : number, default 0
        The first value.
    stop : number
        Where to end; as a rule it is not in the result.
    step : number, default 1
        The distance between values.
    dtype : data-type, optional
        By default what fits the other arguments.
    device : {'cpu'}, optional
        For the array API only.
    like : array_like, optional
        As in `empty`.
    name, reserve
        As in `empty`.

    Returns
    -------
    SharedArray
        New memory, shape ``(ceil((stop - start) / step),)``.

    Raises
    ------
    TypeError
        If there is no `stop`, or the dtype has Python objects.
    ZeroDivisionError
        If the step is 0.
    ValueError, MemoryError
        If there are more values than an array, or the memory, can hold.

    See Also
    --------
    numpy.arange

    Notes
    -----
    NumPy computes the values, in a private array of the same size that is freed at once.

    Examples
    --------
    >>> import sharedarray
    >>> sharedarray.arange(2, 11, 3)
    SharedArray([2, 5, 8])
    """
    like = kwargs.pop("like", None)
    name, reserve = kwargs.pop("name", None), kwargs.pop("reserve", False)
    if not is_ours(like):
        return as_numpy(np.arange, *args, like=like, name=name, reserve=reserve, **kwargs)
    refuse_objects(kwargs.get("dtype"))
    values = np.arange(*args, **kwargs)
    return filled(new_array(values, name=name, reserve=reserve), values)


def filled(array: SharedArray, values: Any) -> SharedArray:
    """Return an array after having set it to `values`, as NumPy's creation functions do it."""
    fill(array.view(np.ndarray), values)
    return array


def as_numpy(
    function: Callable[..., Any], *args: Any, name: str | None, reserve: bool, **kwargs: Any
) -> SharedArray:
    """Return what NumPy's function returns for an array of another package.

    Raises
    ------
    TypeError
        If options are given that only arrays of ours have.
    """
    if name is not None or reserve:
        raise TypeError(
            f"numpy.{function.__name__} makes an array of another package here, which has no "
            "name= or reserve="
        )
    result: SharedArray = function(*args, **kwargs)  # that package's class; there is no type for it
    return result


def is_foreign(obj: Any) -> bool:
    """Return whether the class of an object has an ``__array_function__`` other than NumPy's."""
    return _protocol(obj) not in (None, *_OUR_PROTOCOLS)


def is_ours(like: Any) -> bool:
    """Return whether `like` asks for an array of ours; else NumPy finds what it asks for."""
    return like is None or _protocol(like) in _OUR_PROTOCOLS


def _protocol(obj: Any) -> Any:
    return getattr(type(obj), "__array_function__", None)


_OUR_PROTOCOLS = (np.ndarray.__array_function__, SharedArray.__array_function__)
