"""bincount and histogram, as functions and through NumPy."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sharedarray.functions.calls import check_pool, numpy_errors, plain, pool_for
from sharedarray.functions.thresholds import MIN_BINCOUNT, MIN_HISTOGRAM, pays
from sharedarray.memory import creation
from sharedarray.memory.array import SharedArray, implements
from sharedarray_ops.pool import Pool
from sharedarray_ops.reduce import folding
from sharedarray_ops.search import binning

__all__ = ["bincount", "histogram"]


@implements(np.bincount)
def bincount(
    x: ArrayLike,
    /,
    weights: ArrayLike | None = None,
    minlength: int = 0,
    *,
    pool: Pool | None = None,
) -> SharedArray:
    """Count how often each value occurs in an array of non-negative integers.

    Parameters
    ----------
    pool : Pool, optional
        Default: as many threads as `get_num_workers()`.

    Notes
    -----
    Otherwise as `numpy.bincount`. In parallel from 1,048,576 elements: values below 131,072 without
    weights. Threads convert and compare side by side but count in turns, since NumPy counts under
    the GIL; processes (``pool=MapReduce()``) count side by side. Left to NumPy: larger values,
    whose counts are not in a cache, and weights, whose sums depend on the order. Extra memory: at
    most 6 MiB a worker.

    Examples
    --------
    >>> import sharedarray
    >>> sharedarray.bincount([0, 1, 1, 3])
    SharedArray([1, 2, 0, 1])
    """
    check_pool(pool)
    values = plain(x)
    if weights is not None or not _is_countable(values):
        # An empty list as it is: as an array it would be one of floats, which NumPy refuses.
        given = values if isinstance(x, np.ndarray) else x
        return creation.asarray(np.bincount(given, _plain_or_as_is(weights), minlength))
    least = np.bincount(values[:0], minlength=minlength).size
    workers = pool_for(pool)
    with numpy_errors():
        counts = binning.bincount(values, workers)
    if counts is None:
        return creation.asarray(np.bincount(values, minlength=minlength))
    result = creation.zeros(max(counts.size, least), np.intp)
    result[: counts.size] = counts
    return result


@implements(np.histogram)
def histogram(
    a: ArrayLike,
    bins: Any = 10,
    range: Any = None,
    density: bool | None = None,
    weights: ArrayLike | None = None,
    *,
    pool: Pool | None = None,
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Count how many elements of an array lie in each bin.

    Parameters
    ----------
    pool : Pool, optional
        Default: as many threads as `get_num_workers()`.

    Notes
    -----
    Otherwise as `numpy.histogram`, bit for bit. In parallel from 262,144 elements: integers and
    floats, with edges as an array also times, into at most 131,072 bins, without weights. Bins by
    the name of a rule are chosen by NumPy. Extra memory: about 2 MiB a worker, and the counts of at
    most 4 chunks a worker.

    Examples
    --------
    >>> import sharedarray
    >>> sharedarray.histogram([1, 2, 1, 4], bins=3)
    (array([2, 1, 1]), array([1., 2., 3., 4.]))
    """
    check_pool(pool)
    source, bins, weights = plain(a), _plain_or_as_is(bins), _plain_or_as_is(weights)
    counted = None
    if weights is None and pays(source.size, MIN_HISTOGRAM) and source.dtype.kind in "iufmM":
        with numpy_errors():
            counted = _counted(source, bins, range, pool)
    if counted is None:
        return np.histogram(source, bins, range, density, weights)
    counts, edges = counted
    if density:
        widths = np.array(np.diff(edges), float)
        return counts / widths / counts.sum(), edges
    return counts, edges


def _plain_or_as_is(a: Any) -> Any:
    return plain(a) if isinstance(a, np.ndarray) else a


def _is_countable(x: NDArray[Any]) -> bool:
    """Return whether values can be counted in parallel, and it pays."""
    if x.ndim != 1 or not pays(x.size, MIN_BINCOUNT) or x.dtype.kind not in "biu":
        return False
    return np.can_cast(x.dtype, np.intp)


def _counted(
    a: NDArray[Any], bins: Any, range: Any, pool: Pool | None
) -> tuple[NDArray[np.intp], NDArray[Any]] | None:
    """Return counts and edges, or None if they are left to NumPy."""
    flat = a.reshape(-1) if a.flags.c_contiguous else a.ravel(order="K")
    if isinstance(bins, str):
        if flat.dtype.kind not in "iuf":
            return None
        # NumPy chooses; its edges for that number of bins are the same.
        n_bins: Any = np.histogram_bin_edges(a, bins, range).size - 1
        return _counted_uniformly(flat, n_bins, range, pool)
    if np.ndim(bins) == 0:
        n_bins = operator.index(bins) if hasattr(bins, "__index__") else 0
        return _counted_uniformly(flat, n_bins, range, pool)
    edges = np.asarray(bins)
    kinds = {flat.dtype.kind, edges.dtype.kind}
    is_comparable = any(kinds <= set(group) for group in ("biuf", "m", "M"))
    if edges.ndim != 1 or edges.size > binning.MAX_COUNTS or not is_comparable:
        return None
    edges = np.histogram(flat[:0], bins, range)[1]  # or NumPy's own errors
    return _counted_between(flat, edges, pool_for(pool)), edges


def _counted_uniformly(
    a: NDArray[Any], n_bins: int, range: Any, pool: Pool | None
) -> tuple[NDArray[np.intp], NDArray[Any]] | None:
    """Return counts in bins of the same width, and the edges; None if they are left to NumPy."""
    if a.dtype.kind not in "iuf" or not 1 <= n_bins <= binning.MAX_COUNTS:
        return None
    if range is None:
        workers = pool_for(pool)
        first, last = (extreme[0] for extreme in folding.extremes(a, workers))
        if a.dtype.kind == "f":
            with np.errstate(over="ignore", invalid="ignore"):
                if not np.isfinite(last - first):
                    return None  # for NumPy's own error, or warning
            if last == 0:
                last = a.max()  # of zeros of both signs, the one that NumPy finds
        edges = np.histogram(np.array([first, last]), n_bins)[1]
    else:
        edges = np.histogram(a[:0], n_bins, range)[1]  # or NumPy's own errors
        first, last = range
        if not (_is_plain_number(first) and _is_plain_number(last)):
            return None
        workers = pool_for(pool)
    if first == last:  # NumPy widens the range so
        first, last = first - 0.5, last + 0.5
    if binning.decided_by_edges(first, last, edges):
        return _counted_between(a, edges, workers), edges
    return binning.histogram(a, n_bins, (first, last), workers), edges


def _counted_between(a: NDArray[Any], edges: NDArray[Any], pool: Pool) -> NDArray[np.intp]:
    """Return how many elements lie between neighbouring edges."""
    if a.dtype.itemsize <= 2:
        return binning.histogram_narrow(a, edges, pool)
    return binning.histogram(a, edges, None, pool)


def _is_plain_number(number: Any) -> bool:
    """Return whether NumPy computes with a number of this type and size as with those of `a`."""
    if isinstance(number, int):
        return abs(number) < 2**63
    return isinstance(number, float | np.integer | np.floating)
