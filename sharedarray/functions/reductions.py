"""The engine of all reductions, from `sum` to `count_nonzero`.

A reduction is a record, `Reducer`: NumPy's function, the dtypes and sizes for which there is a
parallel way, and this way. `reduced` calls the way where it pays and the arguments are usual, and
NumPy's function otherwise. So each public function is its signature and one call of `reduced`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sharedarray.functions.calls import check_pool, numpy_errors, pool_for
from sharedarray.functions.thresholds import MIN_FAST_NBYTES, MIN_SLOW, pays
from sharedarray.memory import creation
from sharedarray.memory.array import SharedArray
from sharedarray_ops.pool import Pool
from sharedarray_ops.reduce import folding
from sharedarray_ops.reduce.folding import Fold

__all__ = ["NO_VALUE", "Reducer", "Request", "by_numpy", "front", "reduced"]

NO_VALUE: Any = np._NoValue  # NumPy's own mark of an argument left out

# Elements. What decides a search among the first ones is found before any worker is woken.
_FRONT = 1 << 14

_ARRAYS = (np.ndarray, SharedArray, np.memmap)


class Reducer(NamedTuple):
    """One of NumPy's reductions, and how it is done in parallel.

    Attributes
    ----------
    function : callable
        NumPy's.
    way : callable
        ``way(request, **options)`` returns the result, or None where NumPy has to do it: to warn,
        to raise, or since this call has no parallel way.
    kinds : str
        Kinds of dtypes that have a parallel way.
    least : int
        Number of elements from which on it pays.
    simd : str
        Dtypes, as characters, that NumPy reduces at about the speed of the memory.
    least_nbytes : int
        Size in bytes from which on it pays for these.
    serial : tuple of str
        Options that leave the call to NumPy.
    """

    function: Callable[..., Any]
    way: Callable[..., Any]
    kinds: str
    least: int = MIN_SLOW
    simd: str = ""
    least_nbytes: int = MIN_FAST_NBYTES
    serial: tuple[str, ...] = ()


class Request(NamedTuple):
    """A call that may be parallel: the arguments that all reductions have are right."""

    a: NDArray[Any]
    axis: Any
    axes: tuple[int, ...]
    out: Any
    keepdims: bool
    pool: Pool | None

    @property
    def is_whole(self) -> bool:
        """Return whether all axes are reduced."""
        return len(self.axes) == self.a.ndim

    @property
    def is_scalar(self) -> bool:
        """Return whether the result of a whole array is a scalar."""
        return not self.keepdims and self.out is None

    @property
    def flat(self) -> NDArray[Any] | None:
        """Return all elements in one dimension, None where there is no such view."""
        if self.a.ndim == 1:
            return self.a
        return self.a.reshape(-1, order="A") if self.a.flags.forc else None

    def accepts(self, dtype: Any) -> bool:
        """Return whether the output, if there is one, has the dtype of the result."""
        return self.out is None or self.out.dtype == dtype

    def shared(self, like: NDArray[Any]) -> NDArray[Any]:
        """Return memory that the workers share; those of a given pool may be processes."""
        return like if self.pool is None else creation.empty_like(like).view(np.ndarray)

    def fold(self, how: Fold, dtype: Any, order: Literal["C", "K"] = "K") -> Any:
        """Return the result chunk by chunk, None where NumPy has to do it."""
        if not self.accepts(dtype):
            return None
        a, axes = self.a, self.axes
        if self.is_whole and how.combine is not None and (flat := self.flat) is not None:
            a, axes = flat, (0,)
        workers = pool_for(self.pool)
        plan = folding.cut(a, axes, how, workers)
        if plan is None:
            return None
        one_along = tuple(slice(0, 1) if i in axes else slice(None) for i in range(a.ndim))
        room = np.empty_like(a[one_along], dtype, order)
        result = self.shared(room)
        with numpy_errors():
            if not folding.fold(how, a, axes, plan, result, workers):
                return None
        if result is not room:
            np.copyto(room, result)
        return self.finished(room)

    def finished(self, result: NDArray[Any]) -> Any:
        """Return a result, whose reduced axes have length 1, in the form NumPy gives it."""
        if self.is_whole:
            result = result.reshape(() if self.is_scalar else (1,) * self.a.ndim)
        if not self.keepdims:
            result = result[tuple(0 if i in self.axes else slice(None) for i in range(result.ndim))]
        if self.out is None:
            return result
        np.copyto(self.out, result)
        return self.out


def reduced(
    how: Reducer, pool: Pool | None, a: Any, axis: Any, out: Any, keepdims: Any, **options: Any
) -> Any:
    """Reduce an array, in parallel or by NumPy.

    Parameters
    ----------
    how : Reducer
        Which reduction.
    pool : Pool or None
        The workers; None for threads.
    a, axis, out, keepdims
        As the caller gave them, `NO_VALUE` for what was left out.
    **options
        Further arguments of NumPy's function, likewise.
    """
    check_pool(pool)
    given = {name: value for name, value in options.items() if value is not NO_VALUE}
    if type(a) in _ARRAYS and pays(a.size, how.least):
        request = _requested(how, pool, a, axis, out, keepdims)
        if request is not None and given.keys().isdisjoint(how.serial):
            result = how.way(request, **given)
            if result is not None:
                return result
    if keepdims is not NO_VALUE:
        given["keepdims"] = keepdims
    return by_numpy(how.function, a, axis, out, given)


def by_numpy(
    function: Callable[..., Any], a: Any, axis: Any, out: Any, options: dict[str, Any]
) -> Any:
    """Call NumPy's function, with plain arrays, since SharedArrays would lead back to ours."""
    if isinstance(a, SharedArray):
        a = a.view(np.ndarray)
    if out is None:  # not passed on: functions of other libraries may have no `out`
        return function(a, axis, **options)
    function(a, axis, out=out.view(np.ndarray) if isinstance(out, SharedArray) else out, **options)
    return out


def front(a: NDArray[Any]) -> NDArray[Any]:
    """Return the part of an array where a search begins, in the caller."""
    return a[: -(-_FRONT * len(a) // a.size)]


def _requested(
    how: Reducer, pool: Pool | None, a: Any, axis: Any, out: Any, keepdims: Any
) -> Request | None:
    """Return a call in plain form, None for NumPy: small arrays, other dtypes, unusual arguments.

    NumPy may refuse the latter.
    """
    if a.dtype.char in how.simd and not pays(a.nbytes, how.least_nbytes):
        return None
    if a.dtype.kind not in how.kinds or not a.flags.aligned:
        return None
    keepdims = False if keepdims is NO_VALUE else keepdims
    axes = _axes(axis, a.ndim)
    if axes is None or type(keepdims) is not bool:
        return None
    if out is not None:
        if type(out) not in _ARRAYS or not out.flags.writeable:
            return None
        kept = (1 if i in axes else n for i, n in enumerate(a.shape))
        left = (n for i, n in enumerate(a.shape) if i not in axes)
        if out.shape != tuple(kept if keepdims else left):
            return None
    return Request(a.view(np.ndarray), axis, axes, out, keepdims, pool)


def _axes(axis: Any, ndim: int) -> tuple[int, ...] | None:
    """Return axes as numbers from 0, None where they are wrong, or written in an unusual way."""
    if axis is None:
        return tuple(range(ndim))
    axes = axis if type(axis) is tuple else (axis,)
    if not axes or any(type(i) is not int or not -ndim <= i < ndim for i in axes):
        return None
    numbers = tuple(sorted(i % ndim for i in axes))
    return numbers if len(set(numbers)) == len(numbers) else None
