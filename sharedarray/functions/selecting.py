"""take, partition and argpartition, as functions, as methods and through NumPy."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sharedarray.functions import argsorting, sorting
from sharedarray.functions.common import check_pool, numpy_errors, plain, pool_for
from sharedarray.functions.thresholds import MIN_ARGPARTITION, MIN_PARTITION, MIN_TAKE, pays
from sharedarray.memory import creation, pages
from sharedarray.memory.array import SharedArray, implements
from sharedarray.memory.registry import is_shared
from sharedarray_ops import elementwise
from sharedarray_ops.pool import Pool
from sharedarray_ops.sort import selecting

__all__ = ["argpartition", "partition", "take"]


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
    """Take elements, or rows of any dimension, by their indices, into shared memory.

    Parameters
    ----------
    a : array_like
        Any shape and dtype.
    indices : array_like of int
        Any shape.
    axis : int or None, default None
        Axis that the indices are of; None takes of the flattened array.
    out : ndarray, optional
        Where to write to, of the shape of the result.
    mode : {'raise', 'wrap', 'clip'}, default 'raise'
        What becomes of indices out of bounds, as for `numpy.take`.
    pool : Pool, optional
        Who works. Default: as many threads as `get_num_workers()`.

    Returns
    -------
    SharedArray
        Of the dtype of `a`, and of its shape with `axis` replaced by the shape of `indices`. A
        scalar where that is none; `out` where it is given; what `numpy.take` returns where the
        dtype has Python objects.

    Raises
    ------
    IndexError
        For an index out of bounds with ``mode='raise'``, before `out` is written to.
    AxisError, TypeError, ValueError
        Where `numpy.take` raises them.

    Notes
    -----
    In parallel: results of 524,288 elements or more, in any mode, of any dtype without Python
    objects; with `out`, if it is C-contiguous, has the dtype of `a` and does not overlap the
    inputs, and is in shared memory where `pool` is given.
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
        is_taken = selecting.take(
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


@implements(np.partition)
def partition(
    a: ArrayLike,
    kth: Any,
    axis: int | None = -1,
    kind: Any = "introselect",
    order: str | list[str] | None = None,
    *,
    pool: Pool | None = None,
) -> Any:
    """Return a copy in shared memory that is partitioned at the elements of some ranks.

    Parameters
    ----------
    a : array_like
        Any shape and dtype.
    kth : int or sequence of int
        Which elements to bring to their places in the order of a sort: what is less goes before
        them, and what is greater behind.
    axis : int or None, default -1
        Axis along which to partition; None partitions the flattened array.
    kind : {'introselect'}, optional
        As for `numpy.partition`.
    order : str or list of str, optional
        Fields to compare first, as for `numpy.partition`.
    pool : Pool, optional
        Who works. Default: as many threads as `get_num_workers()`.

    Returns
    -------
    SharedArray
        Of the dtype of `a`; the arrangement between the places in `kth` is not defined. What
        `numpy.partition` returns where the dtype has Python objects.

    Raises
    ------
    AxisError, TypeError, ValueError
        Where `numpy.partition` raises them.

    See Also
    --------
    argpartition, sort

    Notes
    -----
    At one place, NumPy partitions numbers of 16 bits and more in one SIMD pass, which no way here
    gains upon: in parallel are the copy and, where there are more dimensions, the lanes. At several
    places, and for other dtypes, NumPy needs more time than a parallel `sort`, which has every
    element in its place. From 1,048,576 elements.

    Examples
    --------
    >>> import sharedarray
    >>> sharedarray.partition([4, 1, 3, 2], 0)[0]
    np.int64(1)
    """
    check_pool(pool)
    source = plain(a)
    if source.dtype.hasobject:
        return np.partition(source, kth, axis, kind, order)
    if axis is None:
        source, axis = source.reshape(-1), -1
    n_places = _n_places(source, kth, axis, kind, order)
    if n_places and _is_slow(source.dtype, n_places):
        return sorting.sort(source, axis, pool=pool)
    if n_places:
        workers = pool_for(pool)
        with numpy_errors():
            result = creation.empty(source.shape, source.dtype)
            if source.ndim == 1:
                elementwise.copy(source, result, workers, pages.populator(result))
                result.view(np.ndarray).partition(kth, axis)
            else:
                _partition_lanes(np.partition, source, kth, axis, result, workers)
        return result
    result = creation.copy(source, order="C")
    result.view(np.ndarray).partition(kth, axis, kind, order)
    return result


@implements(np.ndarray.partition)
def _partition_method(
    self: SharedArray,
    kth: Any,
    axis: int = -1,
    kind: Any = "introselect",
    order: str | list[str] | None = None,
) -> None:
    """Partition a SharedArray in place: the method `partition`."""
    array: Any = self.view(np.ndarray)
    n_places = _n_places(array, kth, axis, kind, order) if array.flags.writeable else 0
    if n_places and _is_slow(array.dtype, n_places):
        array = self
        array.sort(axis)
    else:
        array.partition(kth, axis, kind, order)


@implements(np.argpartition, np.ndarray.argpartition)
def argpartition(
    a: ArrayLike,
    kth: Any,
    axis: int | None = -1,
    kind: Any = "introselect",
    order: str | list[str] | None = None,
    *,
    pool: Pool | None = None,
) -> SharedArray:
    """Return the indices that partition an array at some ranks, in shared memory.

    Parameters
    ----------
    a, kth, axis, kind, order, pool
        As for `partition`.

    Returns
    -------
    SharedArray of intp
        Of the shape of `a`, ``(a.size,)`` for ``axis=None``. The arrangement between the places in
        `kth` is not defined.

    Raises
    ------
    AxisError, TypeError, ValueError
        Where `numpy.argpartition` raises them.

    See Also
    --------
    partition, argsort

    Notes
    -----
    In parallel: one-dimensional arrays (or ``axis=None``) of bool, integers, float16 to float64,
    datetime64 and timedelta64 from 1,048,576 elements, from 8,388,608 at one place for numbers of
    16 bits and more, by `sharedarray_ops.sort.selecting`, which finds the elements of the ranks
    first; arrays of more dimensions lane by lane.
    Extra memory: little; room for a copy of `a` is taken, and few of its pages are touched.

    Examples
    --------
    >>> import sharedarray
    >>> sharedarray.argpartition([4, 1, 3, 2], 0)[0]
    np.int64(1)
    """
    check_pool(pool)
    source = plain(a)
    if axis is None:
        source, axis = source.reshape(-1), -1
    n_places = _n_places(source, kth, axis, kind, order)
    is_quick = source.ndim == 1 and not _is_slow(source.dtype, n_places)
    if not n_places or (is_quick and not pays(source.size, MIN_ARGPARTITION)):
        return creation.asarray(np.argpartition(source, kth, axis, kind, order))
    workers = pool_for(pool)
    result: SharedArray
    with numpy_errors():
        if source.ndim > 1:
            result = creation.empty(source.shape, np.intp)
            _partition_lanes(np.argpartition, source, kth, axis, result, workers)
            return result
        ranks = np.unique(np.asarray(kth, np.intp) % source.size).tolist()
        scratch = creation.empty(source.size, selecting.key_dtype(source.dtype))
        pivots = selecting.select(source, ranks, scratch.view(np.ndarray), workers)
        if pivots is None:
            result = argsorting.argsort(source, pool=pool)
        else:
            result = creation.empty(source.shape, np.intp)
            selecting.argpartition(source, pivots, result, workers, pages.populator(result))
    return result


def _n_places(a: NDArray[Any], kth: Any, axis: Any, kind: Any, order: Any) -> int:
    """Return at how many places to partition in parallel; 0 where NumPy does it, or raises."""
    places = np.asarray(kth)
    if (
        not pays(a.size, MIN_PARTITION)
        or order is not None
        or kind != "introselect"
        or a.dtype.hasobject
    ):
        return 0
    if places.ndim > 1 or not places.size or places.dtype.kind not in "iu":
        return 0
    if a.ndim == 1 and not selecting.is_selectable(a.dtype):
        return 0
    try:
        length = a.shape[np.lib.array_utils.normalize_axis_index(axis, a.ndim)]
    except (TypeError, ValueError):
        return 0
    if int(places.min()) < -length or int(places.max()) >= length:
        return 0
    return places.size if a.ndim == 1 or a.size > length else 0


def _is_slow(dtype: np.dtype[Any], n_places: int) -> bool:
    """Return whether NumPy partitions without SIMD, and a sort is quicker."""
    is_simd = dtype.kind in "iuf" and dtype.itemsize in (2, 4, 8) and dtype.isnative
    return selecting.is_selectable(dtype) and (n_places > 1 or not is_simd)


def _partition_lanes(
    function: Any, a: NDArray[Any], kth: Any, axis: int, out: SharedArray, pool: Pool
) -> None:
    """Let each worker call a function of NumPy on lanes of its own."""
    axis %= a.ndim
    cut = max((i for i in range(a.ndim) if i != axis), key=a.shape.__getitem__)
    target = out.view(np.ndarray)
    selecting.apply_along(lambda part: function(part, kth, axis), a, cut, target, cut, pool)
