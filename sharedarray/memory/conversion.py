"""NumPy's functions that make arrays of existing data, with their results in shared memory."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from sharedarray.memory import named
from sharedarray.memory.array import SharedArray, new_array, refuse_objects
from sharedarray.memory.building import as_numpy, is_foreign, is_ours
from sharedarray.memory.registry import owner

__all__ = ["array", "asarray", "attach", "copy"]

_Order = Literal["K", "A", "C", "F"] | None
_Device = Literal["cpu"] | None


def copy(
    a: ArrayLike,
    order: _Order = "K",
    subok: bool = False,
    *,
    name: str | None = None,
    reserve: bool = False,
) -> SharedArray:
    """Copy an array into new shared memory, otherwise as `numpy.copy`.

    In parallel as `full`. If the class of `a` has an ``__array_function__`` of its own, NumPy
    decides what is returned.

    Parameters
    ----------
    a, order
        As in `numpy.copy`; dtypes with Python objects are refused with a TypeError.
    subok : bool, default False
        Makes no difference: the result is a SharedArray.
    name, reserve
        As in `empty`.

    Examples
    --------
    >>> import sharedarray
    >>> sharedarray.copy([3, 1, 2])
    SharedArray([3, 1, 2])
    """
    if is_foreign(a):
        return as_numpy(np.copy, a, order, subok, name=name, reserve=reserve)
    return _copied(np.asarray(a), order, name, reserve)


def array(
    object: Any,
    dtype: DTypeLike | None = None,
    *,
    copy: bool | None = True,
    order: _Order = "K",
    subok: bool = False,
    ndmin: int = 0,
    ndmax: int = 0,
    like: Any = None,
    name: str | None = None,
    reserve: bool = False,
) -> SharedArray:
    """Make a shared array of any data, otherwise as `numpy.array`.

    In parallel as `full`. Data that have to be converted first are, for a moment, in private memory
    as well.

    Parameters
    ----------
    object, dtype, order, ndmin, ndmax, like
        As in `numpy.array`; dtypes with Python objects are refused with a TypeError, and `ndmax`
        needs NumPy 2.4.
    copy : bool or None, default True
        Whether to copy; None copies only if `object` is private or has another dtype or layout
        than wanted; False raises ValueError in these cases.
    subok : bool, default False
        Makes no difference: the result is a SharedArray.
    name, reserve
        As in `empty`.

    Examples
    --------
    >>> import sharedarray
    >>> a = sharedarray.array([[1, 2], [3, 4]], dtype=float)
    >>> a
    SharedArray([[1., 2.],
                 [3., 4.]])
    >>> sharedarray.array(a, copy=None) is a
    True
    """
    only_from_2_4: dict[str, Any] = {"ndmax": ndmax} if ndmax else {}
    options: dict[str, Any] = {"order": order, "ndmin": ndmin, **only_from_2_4}
    if not is_ours(like):
        options |= {"copy": copy, "subok": subok, "like": like}
        return as_numpy(np.array, object, dtype, name=name, reserve=reserve, **options)
    refuse_objects(dtype)
    # False where it is refused; a copy of NumPy's would be private.
    unconverted = None if copy or copy is None else False
    found = np.array(object, dtype, copy=unconverted, **options)
    return _shared(object, found, copy, order, name, reserve)


def asarray(
    a: Any,
    dtype: DTypeLike | None = None,
    order: _Order = None,
    *,
    device: _Device = None,
    copy: bool | None = None,
    like: Any = None,
    name: str | None = None,
    reserve: bool = False,
) -> SharedArray:
    """Return data as a shared array, copied only if need be, otherwise as `numpy.asarray`.

    Parameters
    ----------
    a, dtype, order, device, copy, like, name, reserve
        As in `array` and `numpy.asarray`.

    Returns
    -------
    SharedArray
        `a` itself if it is a SharedArray of that dtype and layout; a view if it is another array
        on shared memory of that dtype and layout; else new memory.

    Examples
    --------
    >>> import sharedarray
    >>> a = sharedarray.asarray([1, 2])
    >>> sharedarray.asarray(a) is a
    True
    """
    if not is_ours(like):
        options: dict[str, Any] = {"device": device, "copy": copy, "like": like}
        return as_numpy(np.asarray, a, dtype, order, name=name, reserve=reserve, **options)
    refuse_objects(dtype)
    unconverted = None if copy or copy is None else False  # as in `array`
    found = np.asarray(a, dtype, order, device=device, copy=unconverted)
    return _shared(a, found, copy, order, name, reserve)


def attach(name: str) -> SharedArray:
    """Return the array in a named segment, which any program of this user has made.

    Parameters
    ----------
    name : str
        As it was given to `empty` or another function that creates arrays.

    Returns
    -------
    SharedArray
        The same memory, of the shape, dtype and order that it was made with.

    Raises
    ------
    FileNotFoundError
        If there is no segment of that name.
    PermissionError
        If it belongs to another user.
    TypeError, ValueError
        If the name is invalid, or the file is not of a named segment.

    See Also
    --------
    list_named, unlink

    Examples
    --------
    >>> import sharedarray
    >>> a = sharedarray.full((2, 3), 7, name="docs-attach")
    >>> sharedarray.attach("docs-attach")
    SharedArray([[7, 7, 7],
                 [7, 7, 7]])
    >>> sharedarray.unlink("docs-attach")
    """
    block, shape, dtype, is_fortran = named.find(name)
    order: Literal["F", "C"] = "F" if is_fortran else "C"
    return np.ndarray.__new__(SharedArray, shape, dtype, block, 0, order=order)


def _shared(
    source: Any,
    found: np.ndarray,
    copy: bool | None,
    order: _Order,
    name: str | None,
    reserve: bool,
) -> SharedArray:
    """Return what NumPy has found in `source` as a shared array, by the rules of `copy`."""
    refuse_objects(found.dtype)
    if not (isinstance(source, np.ndarray) and np.may_share_memory(found, source)):
        order = "K"  # NumPy has converted the data, in the layout that was asked for
    if copy is not None and copy:
        return _copied(found, order, name, reserve)
    block = owner(found)
    if block is not None and name is None:
        if reserve:
            block.segment.reserve(block)
        if isinstance(source, SharedArray) and _same_layout(source, found):
            return source
        return found.view(SharedArray)
    if copy is not None:
        raise ValueError(
            "Unable to avoid copy while creating a shared array as requested: "
            + ("the data are in private memory" if block is None else f"{name!r} is new memory")
            + ". Use copy=None to copy only where it is needed"
        )
    return _copied(found, order, name, reserve)


def _copied(source: np.ndarray, order: _Order, name: str | None, reserve: bool) -> SharedArray:
    if source.dtype.hasobject:
        refuse_objects(source.dtype)
    return new_array(np.empty_like(source, None, order, False), source, name, reserve)


def _same_layout(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and a.strides == b.strides and a.dtype == b.dtype
