"""partition and argpartition, as functions, as methods and through NumPy.

`sharedarray_ops.sort.partitioning` chooses the algorithm.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sharedarray.functions.calls import SHARED, check_pool, numpy_errors, plain, pool_for
from sharedarray.functions.thresholds import MIN_ARGPARTITION, MIN_PARTITION, pays
from sharedarray.memory import creation
from sharedarray.memory.array import SharedArray, implements
from sharedarray_ops.pool import Pool
from sharedarray_ops.sort import partitioning, sorting
from sharedarray_ops.sort.keys import is_rankable

__all__ = ["argpartition", "partition"]


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
    """Return a partitioned copy of an array, in shared memory, otherwise as `numpy.partition`.

    Parameters
    ----------
    pool : Pool, optional
        Default: as many threads as `get_num_workers()`.

    Returns
    -------
    SharedArray
        What `numpy.partition` returns where the dtype has Python objects.

    Notes
    -----
    In parallel from 1,048,576 elements: at several places, and of dtypes for which NumPy has no
    SIMD, by a sort; at one place the copy and, of more dimensions, the lanes.

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
    places = _places(source, kth, axis, kind, order)
    if places is None:
        result = creation.copy(source, order="C")
        result.view(np.ndarray).partition(kth, axis, kind, order)
        return result
    workers = pool_for(pool)
    with numpy_errors():
        is_sort = partitioning.sorts(source.dtype, places.size)
        result = creation.empty_like(source, order="K" if is_sort else "C")
        partitioning.partition(source, places, axis, result.view(np.ndarray), workers, SHARED)
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
    places = _places(array, kth, axis, kind, order) if array.flags.writeable else None
    if places is None or not partitioning.sorts(array.dtype, places.size):
        array.partition(kth, axis, kind, order)
        return
    with numpy_errors():
        sorting.sort(np.moveaxis(array, axis, -1), pool_for(None), SHARED)


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
    """Return the indices that partition an array, in shared memory, else as `numpy.argpartition`.

    Parameters
    ----------
    a, kth, axis, kind, order, pool
        As for `partition`.

    Notes
    -----
    In parallel: one-dimensional arrays (or ``axis=None``) of bool, integers, float16 to float64,
    datetime64 and timedelta64 from 1,048,576 elements, from 8,388,608 at one place for numbers of
    16 bits and more, by finding the elements of the ranks first; more dimensions lane by lane.

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
    places = _places(source, kth, axis, kind, order)
    if places is None or (
        source.ndim == 1
        and not partitioning.sorts(source.dtype, places.size)
        and not pays(source.size, MIN_ARGPARTITION)
    ):
        return creation.asarray(np.argpartition(source, kth, axis, kind, order))
    workers = pool_for(pool)
    with numpy_errors():
        result = creation.empty(source.shape, np.intp)
        partitioning.argpartition(source, places, axis, result.view(np.ndarray), workers, SHARED)
    return result


def _places(a: NDArray[Any], kth: Any, axis: Any, kind: Any, order: Any) -> NDArray[np.intp] | None:
    """Return where to partition in our way; None where NumPy does it, or raises."""
    places = np.asarray(kth)
    if (
        not pays(a.size, MIN_PARTITION)
        or order is not None
        or kind != "introselect"
        or a.dtype.hasobject
        or places.ndim > 1
        or not places.size
        or places.dtype.kind not in "iu"
        or (a.ndim == 1 and not is_rankable(a.dtype))
    ):
        return None
    try:
        length = a.shape[np.lib.array_utils.normalize_axis_index(axis, a.ndim)]
    except (TypeError, ValueError):
        return None
    if int(places.min()) < -length or int(places.max()) >= length:
        return None
    return places.astype(np.intp, copy=False) if a.ndim == 1 or a.size > length else None
