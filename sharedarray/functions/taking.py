"""take, and indexing with a large array of integers: a[order]."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sharedarray.functions.calls import check_pool, numpy_errors, plain, pool_for
from sharedarray.functions.thresholds import MIN_TAKE, pays
from sharedarray.memory import creation, pages
from sharedarray.memory.array import SharedArray, implements
from sharedarray.memory.registry import is_shared
from sharedarray_ops import elementwise, taking
from sharedarray_ops.pool import Pool

__all__ = ["take"]


@implements(np.take, np.ndarray.take)
def take(
    a: ArrayLike,
    indices: ArrayLike,
    axis: int | None = None,
    out: Any = None,
    mode: Any = "raise",
    *,
    pool: Pool | None = None,
) -> Any:
    """Take elements by their indices, into shared memory, otherwise as `numpy.take`.

    Parameters
    ----------
    pool : Pool, optional
        Default: as many threads as `get_num_workers()`.

    Returns
    -------
    SharedArray
        A scalar where the result has no dimension; `out` where it is given; what `numpy.take`
        returns where the dtype has Python objects.

    Notes
    -----
    In parallel: results of 524,288 elements or more, in any mode, of any dtype without Python
    objects; with `out`, if it is C-contiguous, has the dtype of `a` and does not overlap the
    inputs, and is in shared memory where `pool` is given. In mode 'raise', `out` is not written to
    where an index is out of bounds.

    Extra memory: a copy of `a` where it is not C-contiguous, and one of `out` in mode 'raise', as
    NumPy takes; 1 MiB a worker.

    Examples
    --------
    >>> import sharedarray
    >>> sharedarray.take([4.0, 3.0, 5.0], [2, 0, -1])
    SharedArray([5., 4., 5.])
    """
    check_pool(pool)
    source, index = plain(a), np.asarray(indices)
    shape = _taken_shape(source, index, axis, mode)
    if shape is None or not _is_parallel_output(shape, source, index, out, pool):
        return _numpy_take(source, index, axis, out, mode)
    workers = pool_for(pool)
    if axis is None:
        source, axis = source.reshape(-1), 0
    axis = operator.index(axis) % source.ndim
    length, flat = source.shape[axis], index.reshape(-1)
    with numpy_errors():
        # With an index out of bounds, `out` keeps what it has.
        is_direct = out is not None and mode != "raise"
        result = out if is_direct else creation.empty(shape, source.dtype)
        if not source.flags.c_contiguous:
            dense = creation.empty(source.shape, source.dtype)
            elementwise.assign(dense.view(np.ndarray), source, workers, pages.populator(dense))
            source = dense.view(np.ndarray)
        n_rows, n_columns = math.prod(source.shape[:axis]), math.prod(source.shape[axis + 1 :])
        is_taken = taking.take(
            source.reshape(n_rows, length, n_columns),
            flat,
            result.view(np.ndarray).reshape(n_rows, flat.size, n_columns),
            mode,
            workers,
        )
        if not is_taken:
            return _numpy_take(source, index, axis, out, mode)  # for its error
        if out is not None and not is_direct:
            elementwise.assign(out.view(np.ndarray), result.view(np.ndarray), workers)
    return result if out is None else out


def _numpy_take(a: NDArray[Any], index: NDArray[Any], axis: Any, out: Any, mode: Any) -> Any:
    """Call NumPy's own take; put the result into shared memory."""
    if out is not None:
        np.take(a, index, axis, _as_plain(out), mode)
        return out
    result: Any = np.take(a, index, axis, mode=mode)
    return result if not np.ndim(result) or a.dtype.hasobject else creation.asarray(result)


def _taken_shape(a: NDArray[Any], index: NDArray[Any], axis: Any, mode: Any) -> Any:
    """Return the shape of what `take` takes; None for what only NumPy takes, or raises for."""
    is_index = index.dtype.kind in "biu" and np.can_cast(index.dtype, np.intp)
    if not is_index or not a.size or mode not in ("raise", "wrap", "clip"):
        return None
    if axis is None:
        return index.shape
    try:
        axis = np.lib.array_utils.normalize_axis_index(axis, a.ndim)
    except (TypeError, ValueError):
        return None
    return a.shape[:axis] + index.shape + a.shape[axis + 1 :]


def _is_parallel_output(
    shape: tuple[int, ...], a: NDArray[Any], index: NDArray[Any], out: Any, pool: Pool | None
) -> bool:
    """Return whether the workers may write what is taken."""
    if not pays(math.prod(shape), MIN_TAKE) or a.dtype.hasobject:
        return False
    if out is None:
        return True
    if type(out) not in (np.ndarray, SharedArray, np.memmap):
        return False
    may_write = out.shape == shape and out.dtype == a.dtype and out.flags.carray
    if not may_write or np.may_share_memory(out, a) or np.may_share_memory(out, index):
        return False
    return pool is None or is_shared(out)  # the workers of `pool` may be processes


def _as_plain(a: Any) -> Any:
    """View a SharedArray as a plain array: NumPy would lead it back here."""
    return a.view(np.ndarray) if isinstance(a, SharedArray) else a


@implements(np.ndarray.__getitem__)
def _getitem(self: SharedArray, index: NDArray[Any]) -> Any:
    """Return ``self[index]`` in private memory; NotImplemented where that is left to NumPy."""
    if (
        not pays(index.size, MIN_TAKE)
        or index.dtype.kind not in "iu"
        or not np.can_cast(index.dtype, np.intp)
        # Elsewhere the layout of NumPy's result is its own.
        or not (self.flags.c_contiguous and index.flags.c_contiguous)
        or not self.ndim
    ):
        return NotImplemented
    out: NDArray[Any] = np.empty(index.shape + self.shape[1:], self.dtype)
    return take(self, index, 0, out)
