"""searchsorted and digitize."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sharedarray.functions.calls import check_pool, numpy_errors, plain, pool_for
from sharedarray.functions.thresholds import MIN_SEARCHSORTED, pays
from sharedarray.memory import creation, pages
from sharedarray.memory.array import SharedArray, implements
from sharedarray_ops import elementwise
from sharedarray_ops.pool import Pool
from sharedarray_ops.search import searching

__all__ = ["digitize", "searchsorted"]

# Elements of the table for each needle, at most: to see that it is sorted, all of it is read, at
# 0.3 ns an element beside 30 ns and more a needle; with `sorter` it is also put in order, at 5 ns.
MAX_TABLE = 64
MAX_TABLE_WITH_SORTER = 4


@implements(np.searchsorted, np.ndarray.searchsorted)
def searchsorted(
    a: ArrayLike,
    v: ArrayLike,
    side: Literal["left", "right"] = "left",
    sorter: ArrayLike | None = None,
    *,
    pool: Pool | None = None,
) -> Any:
    """Find where to insert values into a sorted array so that it stays sorted.

    Parameters
    ----------
    pool : Pool, optional
        Default: as many threads as `get_num_workers()`.

    Notes
    -----
    Otherwise as `numpy.searchsorted`. In parallel from 65,536 values that are a 64th of `a` or more
    (a quarter with `sorter`): numbers, times, bytes and str. Values that are not in order are
    sorted by their leading bits before the search, block by block, which alone makes it two to
    twenty times as fast. Left to NumPy: an `a` that is not sorted. Extra memory: at most 32 MiB a
    worker, and `a` once more if it is not contiguous, of another dtype or has a `sorter`.

    Examples
    --------
    >>> import sharedarray
    >>> sharedarray.searchsorted([10, 20, 30], [5, 20, 35])
    SharedArray([0, 1, 3])
    """
    check_pool(pool)
    table, needles = plain(a), plain(v)
    order = None if sorter is None else plain(sorter)
    dtype = _common_dtype(table, needles)
    if dtype is None or not _pays(table, needles, order):
        return _shared(np.searchsorted(table, needles, side, order))
    which = _checked(side)
    workers = pool_for(pool)
    with numpy_errors():
        dense = _prepared(table, dtype, order, workers)
        if searching.is_sorted(dense, workers):
            return _search(dense, needles, which, workers)
    return _shared(np.searchsorted(table, needles, which, order))


@implements(np.digitize)
def digitize(
    x: ArrayLike, bins: ArrayLike, right: bool = False, *, pool: Pool | None = None
) -> Any:
    """Return the index of the bin that each value belongs to.

    Parameters
    ----------
    pool : Pool, optional
        Default: as many threads as `get_num_workers()`.

    Notes
    -----
    Otherwise as `numpy.digitize`. In parallel from 65,536 values that are a 64th of `bins` or more:
    bool, integers and floats, by the method and with the extra memory of `searchsorted`. Left to
    NumPy: bins with NaN, and bins that are in order as floats only.

    Examples
    --------
    >>> import sharedarray
    >>> sharedarray.digitize([0.2, 6.4, 3.0], [0.0, 1.0, 2.5, 4.0])
    SharedArray([1, 4, 3])
    """
    check_pool(pool)
    values, edges = plain(x), plain(bins)
    dtype = _common_dtype(values, edges)
    is_parallel = dtype is not None and dtype.kind in "biuf" and _pays(edges, values, None)
    if dtype is None or not is_parallel:
        return _shared(np.digitize(values, edges, right))
    np.digitize(np.empty(0, values.dtype), edges, right)  # for NumPy's own errors
    side: Literal["left", "right"] = "left" if right else "right"
    workers = pool_for(pool)
    with numpy_errors():
        if not np.isnan(edges[[0, -1]]).any():
            # NumPy compares the edges as float64, which may round different ones to the same.
            falls = float(edges[0]) > float(edges[-1])
            if searching.is_sorted(edges[::-1] if falls else edges, workers):
                dense = _prepared(edges[::-1] if falls else edges, dtype, None, workers)
                return _search(dense, values, side, workers, descending=falls)
    return _shared(np.digitize(values, edges, right))


def _common_dtype(a: NDArray[Any], b: NDArray[Any]) -> np.dtype[Any] | None:
    """Return the dtype in which NumPy compares, or None if it is left to NumPy."""
    kinds = a.dtype.kind + b.dtype.kind
    # NumPy has rules of its own for numbers beside str; objects and records need the GIL.
    if not any(set(kinds) <= set(group) for group in ("biufc", "M", "m", "S", "U")):
        return None
    dtype = np.promote_types(a.dtype, b.dtype)
    return dtype if dtype.isnative else dtype.newbyteorder("=")


def _pays(table: NDArray[Any], needles: NDArray[Any], order: NDArray[Any] | None) -> bool:
    """Return whether the arrays can be searched in parallel, and it pays."""
    if table.ndim != 1 or not table.size or not pays(needles.size, MIN_SEARCHSORTED):
        return False
    if order is None:
        return table.size <= MAX_TABLE * needles.size
    return (
        table.size <= MAX_TABLE_WITH_SORTER * needles.size
        and order.shape == table.shape
        and order.dtype.kind in "iu"
        and np.can_cast(order.dtype, np.intp)
        and int(order.min()) >= 0
        and int(order.max()) < table.size
    )


def _checked(side: Any) -> Literal["left", "right"]:
    """Return `side`; raise or warn as NumPy does."""
    return "right" if np.searchsorted(np.zeros(1), np.zeros(1), side)[0] else "left"


def _prepared(
    table: NDArray[Any], dtype: np.dtype[Any], order: NDArray[Any] | None, pool: Pool
) -> NDArray[Any]:
    """Return the table contiguous, of the common dtype and sorted, once for all chunks."""
    if table.dtype != dtype or not (table.flags.c_contiguous and table.flags.aligned):
        dense = creation.empty(table.shape, dtype)
        elementwise.copy(table, dense, pool, pages.populator(dense))
        table = dense.view(np.ndarray)
    if order is None:
        return table
    in_order = creation.empty(table.shape, dtype)
    elementwise.gather(table, order.astype(np.intp, copy=False), in_order, pool)
    return in_order.view(np.ndarray)


def _search(
    table: NDArray[Any],
    needles: NDArray[Any],
    side: Literal["left", "right"],
    pool: Pool,
    *,
    descending: bool = False,
) -> SharedArray:
    result = creation.empty(needles.shape, np.intp)
    flat = result.reshape(-1)
    touch = pages.populator(result)
    searching.searchsorted(
        table, needles.reshape(-1), flat, side, pool, touch, descending=descending
    )
    return result


def _shared(positions: Any) -> Any:
    """Return NumPy's own result: an array as a SharedArray, a scalar as it is."""
    return creation.asarray(positions) if isinstance(positions, np.ndarray) else positions
