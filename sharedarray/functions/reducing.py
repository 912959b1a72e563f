"""What all reductions have in common: which calls are parallel, and in what form results leave."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sharedarray.functions.common import check_pool, numpy_errors, pool_for
from sharedarray.functions.thresholds import MIN_FAST_NBYTES, MIN_FASTEST_NBYTES, MIN_SLOW, pays
from sharedarray.memory import creation
from sharedarray.memory.array import SharedArray
from sharedarray_ops.pool import Pool
from sharedarray_ops.reduce import folding
from sharedarray_ops.reduce.folding import Fold

__all__ = [
    "NO_VALUE",
    "Request",
    "by_numpy",
    "given",
    "memory",
    "requested",
]

NO_VALUE: Any = np._NoValue  # NumPy's own mark of an argument left out

_ARRAYS = (np.ndarray, SharedArray, np.memmap)


class Request(NamedTuple):
    """A reduction that may be parallel: its arguments are right."""

    a: NDArray[Any]
    axes: tuple[int, ...]
    out: Any
    keepdims: bool

    @property
    def is_whole(self) -> bool:
        """Return whether all axes are reduced."""
        return len(self.axes) == self.a.ndim

    @property
    def n_reduced(self) -> int:
        """Return how many elements go into one of the result."""
        n = 1
        for axis in self.axes:
            n *= self.a.shape[axis]
        return n

    @property
    def flat(self) -> NDArray[Any] | None:
        """Return all elements in one dimension, None where there is no such view."""
        if self.a.ndim == 1:
            return self.a
        return self.a.reshape(-1, order="A") if self.a.flags.forc else None

    def accepts(self, dtype: np.dtype[Any]) -> bool:
        """Return whether the output, if there is one, has the dtype of the result."""
        return self.out is None or self.out.dtype == dtype

    def fold(
        self, how: Fold, dtype: np.dtype[Any], pool: Pool | None, order: Literal["C", "K"] = "K"
    ) -> Any:
        """Return the result chunk by chunk, None where NumPy has to do it."""
        if not self.accepts(dtype):
            return None
        a, axes = self.a, self.axes
        if self.is_whole and how.combine is not None and (flat := self.flat) is not None:
            a, axes = flat, (0,)
        workers = pool_for(pool)
        plan = folding.cut(a, axes, how, workers)
        if plan is None:
            return None
        room = np.empty_like(a[_one_along(a, axes)], dtype, order)
        result = memory(room, pool)
        with numpy_errors():
            if not folding.fold(how, a, axes, plan, result, workers):
                return None
        if result is not room:
            np.copyto(room, result)
        return self.finished(room)

    def finished(self, result: NDArray[Any]) -> Any:
        """Return a result, whose reduced axes have length 1, as NumPy does."""
        if self.is_whole and (self.keepdims or self.out is not None):
            result = result.reshape((1,) * self.a.ndim)
        elif self.is_whole:
            result = result.reshape(())
        if not self.keepdims:
            result = result[tuple(0 if i in self.axes else slice(None) for i in range(result.ndim))]
        if self.out is None:
            return result
        np.copyto(self.out, result)
        return self.out


def requested(
    a: Any,
    axis: Any,
    out: Any,
    keepdims: Any,
    *,
    kinds: str,
    fast: str = "",
    fastest: str = "",
    min_size: int | None = None,
) -> Request | None:
    """Return a call of a reduction in plain form, None where it is left to NumPy.

    It is where the array is small or no plain one, of another kind of dtype, and where there is
    anything unusual about the arguments, which NumPy may refuse. `fast` and `fastest` have the
    dtypes, as characters, that NumPy reduces at about the speed of the memory, and at no less.
    """
    if type(a) not in _ARRAYS or not pays(a.size, MIN_SLOW if min_size is None else min_size):
        return None
    if a.dtype.char in fast and not pays(a.nbytes, MIN_FAST_NBYTES):
        return None
    if a.dtype.char in fastest and not pays(a.nbytes, MIN_FASTEST_NBYTES):
        return None
    if a.dtype.kind not in kinds or not a.flags.aligned:
        return None
    keepdims = False if keepdims is NO_VALUE else keepdims
    axes = _axes(axis, a.ndim)
    if axes is None or type(keepdims) is not bool:
        return None
    if out is not None:
        if type(out) not in _ARRAYS or not out.flags.writeable:
            return None
        kept = (1 if i in axes else n for i, n in enumerate(a.shape))
        left = tuple(n for i, n in enumerate(a.shape) if i not in axes)
        if out.shape != (tuple(kept) if keepdims else left):
            return None
    return Request(a.view(np.ndarray), axes, out, keepdims)


def _axes(axis: Any, ndim: int) -> tuple[int, ...] | None:
    """Return axes as numbers from 0, None where they are wrong, or written in an unusual way."""
    if axis is None:
        return tuple(range(ndim))
    axes = axis if type(axis) is tuple else (axis,)
    if not axes or any(type(i) is not int or not -ndim <= i < ndim for i in axes):
        return None
    numbers = tuple(sorted(i % ndim for i in axes))
    return numbers if len(set(numbers)) == len(numbers) else None


def _one_along(a: NDArray[Any], axes: tuple[int, ...]) -> tuple[slice, ...]:
    """Return the index that leaves one element along each of some axes."""
    return tuple(slice(0, 1) if i in axes else slice(None) for i in range(a.ndim))


def memory(like: NDArray[Any], pool: Pool | None) -> NDArray[Any]:
    """Return memory that the workers share: for threads, the private memory that is there.

    The workers of a pool that was given may be processes.
    """
    return like if pool is None else creation.empty_like(like).view(np.ndarray)


def given(**kwargs: Any) -> dict[str, Any]:
    """Return the arguments that were not left out."""
    return {name: value for name, value in kwargs.items() if value is not NO_VALUE}


def by_numpy(
    function: Callable[..., Any], a: Any, *args: Any, pool: Pool | None, **kwargs: Any
) -> Any:
    """Call NumPy's function, with plain arrays, since SharedArrays would lead back to ours."""
    check_pool(pool)
    out = kwargs.get("out")
    if isinstance(a, SharedArray):
        a = a.view(np.ndarray)
    if isinstance(out, SharedArray):
        kwargs["out"] = out.view(np.ndarray)
    elif out is None:
        kwargs.pop("out", None)  # other libraries' functions may have none
    result = function(a, *args, **kwargs)
    return result if out is None else out
