"""median, percentile and quantile.

NumPy's own code runs, whatever its version, with less to do: of a whole array it is given a
`RankedArray`, which finds the elements of the ranks that the code asks for; along axes, each worker
calls it on lanes of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sharedarray.functions import sorting
from sharedarray.functions.calls import check_pool, numpy_errors, pool_for, refuse_dask
from sharedarray.functions.thresholds import MIN_QUANTILE, MIN_QUANTILE_WORKERS, pays
from sharedarray.memory import creation
from sharedarray.memory.array import SharedArray, implements
from sharedarray_ops.pool import Pool
from sharedarray_ops.sort import selecting
from sharedarray_ops.sort.keys import is_rankable
from sharedarray_ops.sort.lines import apply_along
from sharedarray_ops.sort.numbers import has_both_zeros

__all__ = ["median", "percentile", "quantile"]

_Function = Callable[..., Any]


@implements(np.median)
def median(
    a: ArrayLike,
    axis: Any = None,
    out: Any = None,
    overwrite_input: bool = False,
    keepdims: bool = False,
    *,
    pool: Pool | None = None,
) -> Any:
    """Compute the median, to the same bits as `numpy.median`.

    Parameters
    ----------
    pool : Pool, optional
        Default: as many threads as `get_num_workers()`.

    Notes
    -----
    Otherwise as `numpy.median`. From 65,536 elements in the caller, in parallel from 524,288: bool,
    integers, float16 to float64 and timedelta64; of all elements, where the array is
    one-dimensional or contiguous, or along some axes without `out`. The middle elements are
    selected, `sharedarray_ops.sort.selecting`. Where the middle is zero and there are zeros of both
    signs, NumPy does the work, and may change `a` if `overwrite_input` says so. Extra memory:
    little; room for a copy of `a` is taken, and few of its pages are touched.

    Examples
    --------
    >>> import sharedarray
    >>> sharedarray.median(sharedarray.arange(100_000))
    np.float64(49999.5)
    """
    return _quantiles(np.median, pool, a, (), axis, out, overwrite_input, keepdims=keepdims)


@implements(np.percentile)
def percentile(
    a: ArrayLike,
    q: ArrayLike,
    axis: Any = None,
    out: Any = None,
    overwrite_input: bool = False,
    method: Any = "linear",
    keepdims: bool = False,
    *,
    weights: ArrayLike | None = None,
    pool: Pool | None = None,
    **kwargs: Any,
) -> Any:
    """Compute percentiles, to the same bits as `numpy.percentile`.

    Parameters
    ----------
    pool : Pool, optional
        Default: as many threads as `get_num_workers()`.
    **kwargs
        What the running NumPy takes besides: ``interpolation`` up to NumPy 2.3.

    Notes
    -----
    Otherwise as `numpy.percentile`. In parallel as `median`, with every `method`; not with
    `weights`. More than eight ranks that are not close to each other are found by a parallel sort
    of a copy.

    Examples
    --------
    >>> import sharedarray
    >>> sharedarray.percentile([1, 2, 3, 4, 5], [25, 50])
    array([2., 3.])
    """
    options = {"method": method, "keepdims": keepdims, "weights": weights, **kwargs}
    return _quantiles(np.percentile, pool, a, (q,), axis, out, overwrite_input, **options)


@implements(np.quantile)
def quantile(
    a: ArrayLike,
    q: ArrayLike,
    axis: Any = None,
    out: Any = None,
    overwrite_input: bool = False,
    method: Any = "linear",
    keepdims: bool = False,
    *,
    weights: ArrayLike | None = None,
    pool: Pool | None = None,
    **kwargs: Any,
) -> Any:
    """Compute quantiles, to the same bits as `numpy.quantile`.

    Parameters
    ----------
    pool : Pool, optional
        Default: as many threads as `get_num_workers()`.
    **kwargs
        What the running NumPy takes besides: ``interpolation`` up to NumPy 2.3.

    Notes
    -----
    Otherwise as `numpy.quantile`. In parallel as `percentile`.

    Examples
    --------
    >>> import sharedarray
    >>> sharedarray.quantile([1, 2, 3, 4, 5], 0.25)
    np.float64(2.0)
    """
    options = {"method": method, "keepdims": keepdims, "weights": weights, **kwargs}
    return _quantiles(np.quantile, pool, a, (q,), axis, out, overwrite_input, **options)


def _quantiles(
    function: _Function,
    pool: Pool | None,
    a: Any,
    q: tuple[Any, ...],
    axis: Any,
    out: Any,
    overwrite_input: bool,
    **options: Any,
) -> Any:
    """Call NumPy's function on what stands for the array, or on its lanes, or on itself."""
    check_pool(pool)
    refuse_dask(a)
    given = out
    a, out, *q_plain = (
        x.view(np.ndarray) if isinstance(x, SharedArray) else x for x in (a, out, *q)
    )
    axes = _axes(a, axis, options.get("weights"))
    result: Any = None
    if axes is not None and len(axes) == a.ndim:
        order = _Order(a, pool_for(pool, parallel=pays(a.size, MIN_QUANTILE_WORKERS)))
        with numpy_errors(), suppress(_NotRankedError):
            result = function(RankedArray(a.shape, order), *q_plain, None, out, **options)
        if not order.is_known:
            result = None
    elif axes and out is None:
        with numpy_errors():
            result = _by_lanes(function, a, q_plain, axes, options, pool_for(pool))
    if result is None:
        result = function(a, *q_plain, axis, out, overwrite_input, **options)
    return result if given is None else given


def _axes(a: Any, axis: Any, weights: Any) -> tuple[int, ...] | None:
    """Return the axes to reduce where there is a parallel way, else None."""
    if type(a) not in (np.ndarray, np.memmap) or not pays(a.size, MIN_QUANTILE):
        return None
    if weights is not None or not is_rankable(a.dtype):
        return None
    try:
        axes: tuple[int, ...] = np.lib.array_utils.normalize_axis_tuple(
            range(a.ndim) if axis is None else axis, a.ndim
        )
    except (TypeError, ValueError):  # which NumPy will raise
        return None
    return axes if len(axes) < a.ndim or a.ndim == 1 or a.flags.forc else None


class _NotRankedError(Exception):
    """NumPy's code wants something of a `RankedArray` that it does not have."""


class _Order:
    """The elements of an array by their rank, found as they are asked for."""

    def __init__(self, a: NDArray[Any], pool: Pool) -> None:
        self._a = a.reshape(-1, order="A")
        self._pool = pool
        self._ranks = np.empty(0, np.intp)
        self._values = self._a[:0]
        self.dtype = a.dtype
        self.size = a.size
        self.is_known = False  # whether elements have been asked for

    def find(self, ranks: NDArray[np.intp]) -> None:
        """Find the elements of ascending ranks in one go."""
        self.is_known = True
        if not ranks.size:
            return
        a = self._a
        scratch = creation.empty(a.size, selecting.key_dtype(a.dtype))
        values = selecting.select(a, ranks.tolist(), scratch.view(np.ndarray), self._pool)
        del scratch
        if values is None:
            values = sorting.sort(a, pool=self._pool).view(np.ndarray)[ranks]
        # NumPy's choice between zeros of both signs depends on how it moves them.
        if a.dtype.kind == "f" and not np.all(values) and has_both_zeros(a, self._pool):
            raise _NotRankedError
        self._ranks, self._values = ranks, values

    def at(self, ranks: NDArray[np.intp]) -> Any:
        """Return the elements of some ranks, a scalar for a 0-d array."""
        wanted = np.unique(ranks)
        if not np.isin(wanted, self._ranks).all():
            self.find(np.union1d(wanted, self._ranks))
        return self._values[np.searchsorted(self._ranks, ranks)]


class RankedArray(np.ndarray):
    """Stand for an array of which NumPy's quantiles look at elements of some ranks only.

    It has the shape and the dtype, but no elements: partitioned, it finds the elements of the
    ranks, and gives these only. So NumPy's own code chooses the ranks, interpolates, and deals with
    NaN, `out` and bad arguments. Anything else that it might do with the elements is an error.
    """

    _order: _Order

    def __new__(cls, shape: tuple[int, ...], order: _Order) -> RankedArray:
        """Make an array of one element in memory, not to be looked at."""
        buffer = bytes(order.dtype.itemsize)
        self = np.ndarray.__new__(cls, shape, order.dtype, buffer, strides=(0,) * len(shape))
        self._order = order
        return self

    def __array_function__(self, func: Any, types: Iterable[type], args: Any, kwargs: Any) -> Any:
        if func in (np.median, np.percentile, np.quantile):
            return super().__array_function__(func, types, args, kwargs)
        if func is np.partition:
            return self._partition_function(*args[1:], **kwargs)
        if func is np.take:
            return self._take_function(*args[1:], **kwargs)
        raise _NotRankedError

    def __array_ufunc__(self, *args: Any, **kwargs: Any) -> Any:
        raise _NotRankedError

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, tuple):
            index = [item for item in index if item is not Ellipsis]
            index = index[0] if len(index) == 1 else None
        if isinstance(index, slice):
            index = np.arange(*index.indices(self._order.size))
        ranks = np.asarray(index)
        if self.ndim != 1 or ranks.dtype.kind not in "iu":
            raise _NotRankedError
        return self._order.at(ranks % self._order.size)

    def flatten(self, order: Any = "C") -> Any:
        """Stand for the elements in one dimension."""
        return RankedArray((self.size,), self._order)

    def partition(self, kth: Any, *args: Any, **kwargs: Any) -> None:
        """Find the elements of the wanted ranks, but for the first, which is rarely read."""
        ranks = np.unique(np.asarray(kth) % self.size)
        self._order.find(ranks[ranks > 0] if ranks.size > 1 else ranks)

    def take(self, indices: Any, *args: Any, **kwargs: Any) -> Any:
        """Return the elements of some ranks."""
        return self[indices]

    def _partition_function(self, kth: Any, *args: Any, **kwargs: Any) -> Any:
        flat = self.flatten()
        flat.partition(kth)
        return flat

    def _take_function(self, indices: Any, axis: Any = None, out: Any = None) -> Any:
        values = np.atleast_1d(self[indices])
        return np.take(
            values.reshape(-1), np.arange(values.size).reshape(np.shape(indices)), 0, out
        )


def _by_lanes(
    function: _Function,
    a: NDArray[Any],
    q: Sequence[Any],
    axes: tuple[int, ...],
    options: dict[str, Any],
    pool: Pool,
) -> Any:
    """Let each worker call NumPy's function on lanes of its own."""
    kept = [i for i in range(a.ndim) if i not in axes]
    cut = max(kept, key=a.shape.__getitem__)
    inner = {**options, "keepdims": False}

    def kernel(part: NDArray[Any]) -> Any:
        return function(part, *q, axes, **inner)

    one = np.asarray(kernel(a[(slice(None),) * cut + (slice(1),)]))
    out_axis = one.ndim - len(kept) + kept.index(cut)
    if one.dtype.hasobject or a.shape[cut] < 2:
        return None
    shape = (*one.shape[:out_axis], a.shape[cut], *one.shape[out_axis + 1 :])
    result = creation.empty(shape, one.dtype).view(np.ndarray)
    apply_along(kernel, a, cut, result, out_axis, pool)
    if options["keepdims"]:
        return np.expand_dims(result, tuple(one.ndim - len(kept) + i for i in axes))
    return result
