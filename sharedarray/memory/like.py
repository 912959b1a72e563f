"""NumPy's functions that create arrays like another one, with their results in shared memory."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from sharedarray.memory.array import SharedArray, layout, new_array, refuse_objects
from sharedarray.memory.shapes import as_numpy, filled, is_foreign

__all__ = ["empty_like", "full_like", "ones_like", "zeros_like"]

_Order = Literal["K", "A", "C", "F"] | None
_Device = Literal["cpu"] | None


def empty_like(
    prototype: ArrayLike,
    /,
    dtype: DTypeLike | None = None,
    order: _Order = "K",
    subok: bool = True,
    shape: Any = None,
    *,
    device: _Device = None,
    name: str | None = None,
    reserve: bool = False,
) -> SharedArray:
    """Allocate a shared array like another array without setting its elements.

    Parameters
    ----------
    prototype : array_like
        Its shape and dtype are taken over where the other arguments do not say otherwise.
    dtype : data-type, optional
        Any dtype without Python objects.
    order : {'K', 'A', 'C', 'F'}, default 'K'
        Layout: as near to the prototype's as may be; 'F' if the prototype is Fortran-contiguous,
        else 'C'; row-major; column-major.
    subok : bool, default True
        Makes no difference: the result is a SharedArray.
    shape : int or tuple of int, optional
        The shape.
    device : {'cpu'}, optional
        For the array API only.
    name, reserve
        As in `empty`.

    Returns
    -------
    SharedArray
        New memory. A prototype whose class has an ``__array_function__`` of its own gives what
        NumPy gives.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As `empty`.

    See Also
    --------
    empty, numpy.empty_like

    Examples
    --------
    >>> import numpy as np
    >>> import sharedarray
    >>> sharedarray.empty_like(np.ones((2, 3), "i2"), shape=5).dtype
    dtype('int16')
    """
    if is_foreign(prototype):
        options: dict[str, Any] = {"device": device}
        return as_numpy(
            np.empty_like,
            prototype,
            dtype,
            order,
            subok,
            shape,
            name=name,
            reserve=reserve,
            **options,
        )
    return new_array(
        _layout_like(prototype, dtype, order, shape, device), name=name, reserve=reserve
    )


def zeros_like(
    a: ArrayLike,
    dtype: DTypeLike | None = None,
    order: _Order = "K",
    subok: bool = True,
    shape: Any = None,
    *,
    device: _Device = None,
    name: str | None = None,
    reserve: bool = False,
) -> SharedArray:
    """Allocate a shared array of zeros like another array.

    Parameters
    ----------
    a : array_like
        The prototype.
    dtype, order, subok, shape, device
        As in `empty_like`.
    name, reserve
        As in `empty`.

    Returns
    -------
    SharedArray
        As `empty_like`.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As `empty`.

    See Also
    --------
    zeros, numpy.zeros_like

    Examples
    --------
    >>> import sharedarray
    >>> sharedarray.zeros_like([1, 2])
    SharedArray([0, 0])
    """
    if is_foreign(a):
        options: dict[str, Any] = {"device": device}
        return as_numpy(
            np.zeros_like, a, dtype, order, subok, shape, name=name, reserve=reserve, **options
        )
    return new_array(
        _layout_like(a, dtype, order, shape, device), zeroed=True, name=name, reserve=reserve
    )


def ones_like(
    a: ArrayLike,
    dtype: DTypeLike | None = None,
    order: _Order = "K",
    subok: bool = True,
    shape: Any = None,
    *,
    device: _Device = None,
    name: str | None = None,
    reserve: bool = False,
) -> SharedArray:
    """Make a shared array of ones like another array.

    Parameters
    ----------
    a : array_like
        The prototype.
    dtype, order, subok, shape, device
        As in `empty_like`.
    name, reserve
        As in `empty`.

    Returns
    -------
    SharedArray
        As `empty_like`.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As `empty`.

    See Also
    --------
    ones, numpy.ones_like

    Examples
    --------
    >>> import sharedarray
    >>> sharedarray.ones_like([[0.5], [0.25]])
    SharedArray([[1.],
                 [1.]])
    """
    if is_foreign(a):
        options: dict[str, Any] = {"device": device}
        return as_numpy(
            np.ones_like, a, dtype, order, subok, shape, name=name, reserve=reserve, **options
        )
    return filled(
        new_array(_layout_like(a, dtype, order, shape, device), name=name, reserve=reserve), 1
    )


def full_like(
    a: ArrayLike,
    fill_value: Any,
    dtype: DTypeLike | None = None,
    order: _Order = "K",
    subok: bool = True,
    shape: Any = None,
    *,
    device: _Device = None,
    name: str | None = None,
    reserve: bool = False,
) -> SharedArray:
    """Make a shared array like another array, filled with a value.

    Parameters
    ----------
    a : array_like
        The prototype.
    fill_value : scalar or array_like
        What to fill it with, broadcast to the shape.
    dtype, order, subok, shape, device
        As in `empty_like`.
    name, reserve
        As in `empty`.

    Returns
    -------
    SharedArray
        As `empty_like`.

    Raises
    ------
    TypeError, ValueError, MemoryError, OverflowError
        As `full`.

    See Also
    --------
    full, numpy.full_like

    Examples
    --------
    >>> import sharedarray
    >>> sharedarray.full_like([1, 2], 0.5)  # the dtype is the prototype's
    SharedArray([0, 0])
    """
    if is_foreign(a):
        options: dict[str, Any] = {"device": device}
        return as_numpy(
            np.full_like,
            a,
            fill_value,
            dtype,
            order,
            subok,
            shape,
            name=name,
            reserve=reserve,
            **options,
        )
    return filled(
        new_array(_layout_like(a, dtype, order, shape, device), name=name, reserve=reserve),
        fill_value,
    )


def _layout_like(
    prototype: Any, dtype: DTypeLike | None, order: _Order, shape: Any, device: _Device
) -> np.ndarray:
    """Return what ``np.empty_like`` gives, without looking at its memory."""
    # As a plain array it asks no class; a list is converted once, not for its dtype and again.
    prototype = np.asarray(prototype)
    refuse_objects(prototype.dtype if dtype is None else dtype)
    kwargs = {"order": order, "subok": False, "shape": shape, "device": device}
    like: np.ndarray = layout(np.empty_like, prototype, dtype, **kwargs)
    return like
