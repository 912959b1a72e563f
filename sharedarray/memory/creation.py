"""NumPy's functions that create arrays, with their results in shared memory.

NumPy itself validates: it makes a private array of the wanted layout, no page of which is ever
touched, and shared memory is allocated with the same shape, strides and dtype. The functions that
convert data are in `conversion` and `fromiter`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from sharedarray.memory.array import UNSET, ZEROED, SharedArray, layout, new_array, refuse_objects
from sharedarray.memory.building import as_numpy, is_foreign, is_ours
from sharedarray.memory.conversion import array, asarray, attach, copy
from sharedarray.memory.fromiter import fromiter

__all__ = [
    "arange",
    "array",
    "asarray",
    "attach",
    "copy",
    "empty",
    "empty_like",
    "fromiter",
    "full",
    "full_like",
    "ones",
    "ones_like",
    "zeros",
    "zeros_like",
]

_Order = Literal["C", "F"] | None
_LikeOrder = Literal["K", "A", "C", "F"] | None
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
    """Allocate a shared array without setting its elements, otherwise as `numpy.empty`.

    Parameters
    ----------
    shape, dtype, order, device, like
        As in `numpy.empty`; dtypes with Python objects are refused with a TypeError.
    name : str, optional
        Put it into a new named segment, which other programs of this user reach by `attach`, and
        which is there until `unlink`: zero at first, and with all of its memory.
    reserve : bool, default False
        Have all of its memory now, and MemoryError if there is not so much; by default the kernel
        finds it page by page when it is used, and kills the process where there is none.

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
    return _made_of_shape(np.empty, shape, UNSET, dtype, order, device, like, name, reserve)


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
    """Allocate a shared array of zeros, otherwise as `numpy.zeros`.

    Above 64 KiB, pages that no array has used before are not touched, so that the worker that uses
    a page first gets it near its CPU.

    Parameters
    ----------
    shape, dtype, order, device, like, name, reserve
        As in `empty`.

    Examples
    --------
    >>> import sharedarray
    >>> sharedarray.zeros(3, dtype=int)
    SharedArray([0, 0, 0])
    """
    return _made_of_shape(np.zeros, shape, ZEROED, dtype, order, device, like, name, reserve)


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
    """Make a shared array of ones, otherwise as `numpy.ones`; in parallel as `full`.

    Parameters
    ----------
    shape, dtype, order, device, like, name, reserve
        As in `empty`.

    Examples
    --------
    >>> import sharedarray
    >>> sharedarray.ones((2, 2))
    SharedArray([[1., 1.],
                 [1., 1.]])
    """
    return _made_of_shape(np.ones, shape, 1, dtype, order, device, like, name, reserve)


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
    """Make a shared array filled with a value, otherwise as `numpy.full`.

    In parallel from 8 MiB on, in fresh memory from 24 MiB on.

    Parameters
    ----------
    shape, fill_value, dtype, order, device, like
        As in `numpy.full`; dtypes with Python objects are refused with a TypeError.
    name, reserve
        As in `empty`.

    Examples
    --------
    >>> import sharedarray
    >>> sharedarray.full((2, 3), [1, 2, 3])
    SharedArray([[1, 2, 3],
                 [1, 2, 3]])
    """
    if dtype is None and is_ours(like):
        fill_value = np.asarray(fill_value)
        dtype = fill_value.dtype
    return _made_of_shape(np.full, shape, fill_value, dtype, order, device, like, name, reserve)


def arange(*args: Any, **kwargs: Any) -> SharedArray:
    """Make a shared array of evenly spaced values, otherwise as `numpy.arange`.

    ``arange([start,] stop[, step,], dtype=None, *, device=None, like=None, name=None,
    reserve=False)``

    NumPy computes the values, in a private array of the same size that is freed at once.

    Parameters
    ----------
    start, stop, step, dtype, device, like
        As in `numpy.arange`.
    name, reserve
        As in `empty`.

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
    return new_array(values, values, name, reserve)


def empty_like(
    prototype: ArrayLike,
    /,
    dtype: DTypeLike | None = None,
    order: _LikeOrder = "K",
    subok: bool = True,
    shape: Any = None,
    *,
    device: _Device = None,
    name: str | None = None,
    reserve: bool = False,
) -> SharedArray:
    """Allocate an unset shared array like another array, otherwise as `numpy.empty_like`.

    A prototype whose class has an ``__array_function__`` of its own gives what NumPy gives.

    Parameters
    ----------
    prototype, dtype, order, shape, device
        As in `numpy.empty_like`; dtypes with Python objects are refused with a TypeError.
    subok : bool, default True
        Makes no difference: the result is a SharedArray.
    name, reserve
        As in `empty`.

    Examples
    --------
    >>> import numpy as np
    >>> import sharedarray
    >>> sharedarray.empty_like(np.ones((2, 3), "i2"), shape=5).dtype
    dtype('int16')
    """
    return _made_like(
        np.empty_like, prototype, UNSET, dtype, order, subok, shape, device, name, reserve
    )


def zeros_like(
    a: ArrayLike,
    dtype: DTypeLike | None = None,
    order: _LikeOrder = "K",
    subok: bool = True,
    shape: Any = None,
    *,
    device: _Device = None,
    name: str | None = None,
    reserve: bool = False,
) -> SharedArray:
    """Allocate a shared array of zeros like another array, otherwise as `numpy.zeros_like`.

    Parameters
    ----------
    a, dtype, order, subok, shape, device, name, reserve
        As in `empty_like`.

    Examples
    --------
    >>> import sharedarray
    >>> sharedarray.zeros_like([1, 2])
    SharedArray([0, 0])
    """
    return _made_like(np.zeros_like, a, ZEROED, dtype, order, subok, shape, device, name, reserve)


def ones_like(
    a: ArrayLike,
    dtype: DTypeLike | None = None,
    order: _LikeOrder = "K",
    subok: bool = True,
    shape: Any = None,
    *,
    device: _Device = None,
    name: str | None = None,
    reserve: bool = False,
) -> SharedArray:
    """Make a shared array of ones like another array, otherwise as `numpy.ones_like`.

    In parallel as `full`.

    Parameters
    ----------
    a, dtype, order, subok, shape, device, name, reserve
        As in `empty_like`.

    Examples
    --------
    >>> import sharedarray
    >>> sharedarray.ones_like([[0.5], [0.25]])
    SharedArray([[1.],
                 [1.]])
    """
    return _made_like(np.ones_like, a, 1, dtype, order, subok, shape, device, name, reserve)


def full_like(
    a: ArrayLike,
    fill_value: Any,
    dtype: DTypeLike | None = None,
    order: _LikeOrder = "K",
    subok: bool = True,
    shape: Any = None,
    *,
    device: _Device = None,
    name: str | None = None,
    reserve: bool = False,
) -> SharedArray:
    """Make a shared array like another one, filled with a value, otherwise as `numpy.full_like`.

    In parallel as `full`.

    Parameters
    ----------
    a, dtype, order, subok, shape, device, name, reserve
        As in `empty_like`.
    fill_value : scalar or array_like
        As in `numpy.full_like`.

    Examples
    --------
    >>> import sharedarray
    >>> sharedarray.full_like([1, 2], 0.5)  # the dtype is the prototype's
    SharedArray([0, 0])
    """
    return _made_like(
        np.full_like, a, fill_value, dtype, order, subok, shape, device, name, reserve
    )


def _made_of_shape(
    function: Callable[..., Any],
    shape: Any,
    value: Any,
    dtype: DTypeLike | None,
    order: _Order,
    device: _Device,
    like: Any,
    name: str | None,
    reserve: bool,
) -> SharedArray:
    """Return what one of NumPy's functions of a shape returns, in shared memory."""
    if not is_ours(like):
        args = (shape, value) if function is np.full else (shape,)
        options: dict[str, Any] = {"device": device, "like": like}
        return as_numpy(function, *args, dtype, order, name=name, reserve=reserve, **options)
    if dtype is not None:
        refuse_objects(dtype)
    make = np.empty if device is None else partial(np.empty, device=device)
    return new_array(layout(make, shape, dtype, order), value, name, reserve)


def _made_like(
    function: Callable[..., Any],
    a: ArrayLike,
    value: Any,
    dtype: DTypeLike | None,
    order: _LikeOrder,
    subok: bool,
    shape: Any,
    device: _Device,
    name: str | None,
    reserve: bool,
) -> SharedArray:
    """Return what one of NumPy's functions of a prototype returns, in shared memory."""
    if is_foreign(a):
        args = (a, value) if function is np.full_like else (a,)
        args = (*args, dtype, order, subok, shape)
        return as_numpy(function, *args, device=device, name=name, reserve=reserve)
    # As a plain array it asks no class; a list is converted once, not for its dtype and again.
    prototype = np.asarray(a)
    refuse_objects(prototype.dtype if dtype is None else dtype)
    make = np.empty_like if device is None else partial(np.empty_like, device=device)
    return new_array(layout(make, prototype, dtype, order, False, shape), value, name, reserve)
