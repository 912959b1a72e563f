"""``a[...] = x``, ``a[2:] = b``, ``a[mask] = x``, ``a.fill(x)`` and `numpy.copyto` on SharedArrays.

Left to NumPy: small arrays, values that overlap the array or do not fit, and what is no number.
"""

from __future__ import annotations

from types import EllipsisType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sharedarray import config
from sharedarray.functions.calls import numpy_errors, pool_for
from sharedarray.functions.thresholds import MIN_ASSIGN, MIN_ASSIGN_MASK, pays
from sharedarray.functions.ufuncs import can_share, overlaps
from sharedarray.memory import pages
from sharedarray.memory.array import SharedArray, implements
from sharedarray_ops import elementwise, ufuncs
from sharedarray_ops.ufuncs import Flags

__all__ = ["fill"]

_BASIC = (slice, int, EllipsisType, type(None))
_ARRAYS = (np.ndarray, SharedArray, np.memmap)


@implements(np.ndarray.__setitem__)
def _setitem(flags: Flags, self: SharedArray, index: Any, value: Any) -> Any:
    """Do ``self[index] = value``, or return NotImplemented if it is left to NumPy.

    Warnings are added to `flags`.
    """
    keys = index if type(index) is tuple else (index,)
    if all(type(key) is int for key in keys):  # an element, or a part of more dimensions
        return NotImplemented
    plain = self.view(np.ndarray)
    if type(index) in (np.ndarray, SharedArray):
        if index.dtype != np.bool_ or index.shape != self.shape:
            return NotImplemented
        return _assign(flags, plain, value, index.view(np.ndarray))
    if not all(type(key) in _BASIC for key in keys):
        return NotImplemented
    try:
        target = plain[index]
    except IndexError:
        return NotImplemented
    if not isinstance(target, np.ndarray):
        return NotImplemented
    return _assign(flags, target, value, None)


@implements(np.copyto)
def _copyto(dst: Any, src: Any, casting: Any = "same_kind", where: Any = True) -> None:
    """Copy values into an array as `numpy.copyto` does."""
    flags = Flags()
    arrays = [x.view(np.ndarray) if isinstance(x, SharedArray) else x for x in (dst, src, where)]
    if type(dst) is not SharedArray or not _may_copy(arrays[0], arrays[1], casting, arrays[2]):
        done = NotImplemented
    else:
        mask = None if where is True else np.broadcast_to(arrays[2], dst.shape)
        done = _assign(flags, arrays[0], arrays[1], mask, is_copyto=True)
    if done is NotImplemented:
        np.copyto(arrays[0], arrays[1], casting=casting, where=arrays[2])


def _may_copy(dst: NDArray[Any], src: Any, casting: Any, where: Any) -> bool:
    """Return whether NumPy would take the arguments without a warning."""
    if not pays(dst.size, MIN_ASSIGN_MASK) or not isinstance(
        src, (np.ndarray, np.generic, int, float)
    ):
        return False
    if where is not True and not (isinstance(where, np.ndarray) and where.dtype == np.bool_):
        return False
    one = np.empty(0, src.dtype) if isinstance(src, np.ndarray) and src.ndim else src
    flags = Flags()
    try:
        with np.errstate(all="log", call=flags):
            np.copyto(np.empty(0, dst.dtype), one, casting=casting)
        np.broadcast_to(False if where is True else where, dst.shape)
    except (TypeError, ValueError, OverflowError):
        return False
    return not flags and (one is src or np.can_cast(one, dst.dtype, "safe"))


def _assign(
    flags: Flags,
    target: NDArray[Any],
    value: Any,
    mask: NDArray[np.bool_] | None,
    *,
    is_copyto: bool = False,
) -> Any:
    """Set the elements of a plain view, those under a mask, or return NotImplemented."""
    least = (target.nbytes, MIN_ASSIGN) if mask is None else (target.size, MIN_ASSIGN_MASK)
    if not pays(*least):
        return NotImplemented
    if not target.flags.writeable or not can_share(target) or overlaps(target):
        return NotImplemented
    if config.get_num_workers() < 2 or (mask is not None and np.may_share_memory(mask, target)):
        return NotImplemented
    values = _values(flags, target, value)
    if values is None:
        return NotImplemented
    if mask is not None and values.ndim and not is_copyto:
        return _assign_under_mask(target, mask, values)
    try:
        spread = np.broadcast_to(values, target.shape)
    except ValueError:
        return NotImplemented
    with numpy_errors():
        if mask is None and np.can_cast(values.dtype, target.dtype, "safe"):
            elementwise.assign(target, spread, pool_for(None), pages.populator(target))
            return None
        operands = [target, *([spread] if values.ndim else []), *([] if mask is None else [mask])]

        def kernel(out: NDArray[Any], *parts: NDArray[Any]) -> None:
            source = parts[0] if values.ndim else values
            np.copyto(out, source, casting="unsafe", where=True if mask is None else parts[-1])

        flags += ufuncs.apply(kernel, operands, "K", pool_for(None))
    return None


def _assign_under_mask(target: NDArray[Any], mask: NDArray[np.bool_], values: NDArray[Any]) -> Any:
    """Do ``target[mask] = values``, or return NotImplemented."""
    is_flat = target.flags.c_contiguous and mask.flags.c_contiguous and values.ndim == 1
    if not is_flat or not np.can_cast(values.dtype, target.dtype, "safe"):
        return NotImplemented
    with numpy_errors():
        done = ufuncs.assign_where(target.reshape(-1), mask.reshape(-1), values, pool_for(None))
    return None if done else NotImplemented


def _values(flags: Flags, target: NDArray[Any], value: Any) -> NDArray[Any] | None:
    """Return values that do not overlap the target, a scalar in its dtype; None: for NumPy."""
    if isinstance(value, np.ndarray) and value.ndim:
        if type(value) not in _ARRAYS or not can_share(value):
            return None
        if value.dtype.kind == "c" != target.dtype.kind:
            return None  # NumPy has a warning for it
        return None if np.may_share_memory(value, target) else value.view(np.ndarray)
    if not isinstance(value, (int, float, np.generic, np.ndarray)) or np.iscomplexobj(value):
        return None
    if isinstance(value, np.ndarray) and (type(value) not in _ARRAYS or not can_share(value)):
        return None
    one = np.empty((), target.dtype)
    with np.errstate(all="log", call=flags):
        one[()] = value  # for NumPy's own errors
    return one


def fill(array: NDArray[Any], values: Any) -> None:
    """Set a large array to `values`: see `memory.pages.fill`, which calls this by its name."""
    if np.ndim(values) == 0:  # converted once, with NumPy's errors and warnings
        value = np.empty((), array.dtype)
        np.copyto(value, values, casting="unsafe")
        values = value
    with numpy_errors():
        elementwise.assign(array, np.asarray(values), pool_for(None), pages.populator(array))
