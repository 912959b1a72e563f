"""sort, argsort and lexsort, as functions, as methods and through NumPy.

NumPy checks the arguments; `sharedarray_ops.sort.sorting` chooses the algorithm.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from sharedarray.functions.calls import (
    SHARED,
    by_dask,
    check_pool,
    is_dask,
    numpy_errors,
    plain,
    pool_for,
)
from sharedarray.functions.thresholds import MIN_ARGSORT, MIN_LINES, pays
from sharedarray.memory import creation, pages
from sharedarray.memory.array import SharedArray, implements
from sharedarray.memory.registry import is_shared
from sharedarray_ops import elementwise
from sharedarray_ops.pool import Caller, Pool
from sharedarray_ops.sort import sorting
from sharedarray_ops.sort.columns import Direction, columns_of, is_sortable
from sharedarray_ops.sort.keys import is_rankable

__all__ = ["argsort", "lexsort", "requested", "sort"]

_INDEX_DTYPES = ("int64", "int32", "uint64", "uint32")
_HAS_64_BITS = np.intp(0).itemsize == 8
_HAS_DESCENDING = np.lib.NumpyVersion(np.__version__) >= "2.5.0"


@implements(np.sort)
def sort(
    a: ArrayLike,
    axis: int | None = -1,
    kind: Any = None,
    order: str | list[str] | None = None,
    *,
    stable: bool | None = None,
    descending: bool | None = None,
    pool: Pool | None = None,
) -> SharedArray:
    """Return a sorted copy of an array, in shared memory, otherwise as `numpy.sort`.

    Parameters
    ----------
    a : array_like or dask.array.Array
        Of a dask array of one dimension the result is one, with chunks of known sizes:
        `sharedarray.cluster.dask_sort` tells how.
    axis, kind, order, stable
        As for `numpy.sort`.
    descending : bool, optional
        Whether larger elements go first; NaN and NaT come last all the same. As in NumPy 2.5, with
        any NumPy. Not for structured arrays, and not together with `kind`.
    pool : Pool, optional
        Default: as many threads as `get_num_workers()`.

    Raises
    ------
    TypeError
        For dtypes with Python objects, which cannot be in shared memory, and for masked arrays.

    Notes
    -----
    In parallel: numbers along lines of 1,048,576 elements and more, or 65,536 where NumPy has no
    SIMD sort (8-bit values and times; float16: 262,144); wider elements (complex, longdouble, S, U,
    V, structured) from 131,072, and from 4,096 in the same way in the caller; shorter lines from
    131,072 elements in all. `sharedarray_ops.sort.sorting` says which algorithm serves when.

    In long lines of floats the default kind puts -0.0 before +0.0 and gives every NaN the bits of
    `numpy.nan`. Few distinct values may be counted and written anew: an interrupt can leave an
    array that is sorted in place without some of them. Equal wider elements keep their order.

    Extra memory: below 5 MiB a worker for numbers, 9 MiB for float16. Wider elements, and a stable
    sort of floats with NaN or zeros of both signs, take 8 bytes each, and in place a copy as well.

    Examples
    --------
    >>> import sharedarray
    >>> sharedarray.sort([3, 1, 2])
    SharedArray([1, 2, 3])
    """
    check_pool(pool)
    if is_dask(a):
        return by_dask("sort")(  # type: ignore[no-any-return]  # a dask array
            a, axis, kind, order, stable=stable, descending=descending, pool=pool
        )
    source = plain(a)
    if axis is None:
        source, axis = source.reshape(-1), -1
    how = _sort_request(source, axis, kind, order, stable, descending)
    if how is None:
        result = creation.copy(source)
        result.view(np.ndarray).sort(axis, kind, order, **_numpy_options(stable, descending))
        return result
    workers = pool_for(pool, parallel=pays(source.size, MIN_LINES))
    with numpy_errors():
        result = creation.empty_like(source)
        out = np.moveaxis(result.view(np.ndarray), how.axis, -1)
        moved = np.moveaxis(source, how.axis, -1)
        sorting.sort(moved, workers, SHARED, out=out, direction=how.direction, stable=how.stable)
    return result


@implements(np.ndarray.sort)
def _sort_method(
    self: SharedArray,
    axis: int = -1,
    kind: Any = None,
    order: str | list[str] | None = None,
    **kwargs: Any,
) -> None:
    """Sort a SharedArray in place: the method `sort`."""
    plain = self.view(np.ndarray)
    pool = kwargs.pop("pool", None)
    stable, descending = kwargs.get("stable"), kwargs.get("descending")
    check_pool(pool)
    if axis is None or kwargs.keys() - {"stable", "descending"} or not plain.flags.writeable:
        plain.sort(axis, kind, order, **kwargs)  # for NumPy's own error
        return
    how = _sort_request(plain, axis, kind, order, stable, descending)
    if how is None:
        plain.sort(axis, kind, order, **_numpy_options(stable, descending))
        return
    workers = pool_for(pool, parallel=pays(plain.size, MIN_LINES))
    with numpy_errors():
        moved = np.moveaxis(plain, how.axis, -1)
        sorting.sort(moved, workers, SHARED, direction=how.direction, stable=how.stable)


def _sort_request(
    a: NDArray[Any], axis: int, kind: Any, order: Any, stable: Any, descending: Any
) -> Request | None:
    """Return how to sort in our way; None where one call of NumPy does it, and does it as fast.

    Small arrays are left to NumPy at once, which checks the arguments then.
    """
    least = MIN_ARGSORT if a.ndim == 1 else MIN_LINES
    if a.ndim == 1 and is_rankable(a.dtype):
        least = sorting.long_sort(a.dtype)
    is_ours = pays(a.size, least)
    if descending is None and not is_ours:
        return None
    request = requested(np.sort, a, axis, kind, order, stable, descending)
    if not is_sortable(a.dtype) or a.size == 0 or a.ndim == 0:
        return None
    return request if is_ours or request.is_beyond_numpy else None


@implements(np.argsort, np.ndarray.argsort)
def argsort(
    a: ArrayLike,
    axis: int | None = -1,
    kind: Any = None,
    order: str | list[str] | None = None,
    *,
    stable: bool | None = None,
    descending: bool | None = None,
    out: NDArray[Any] | None = None,
    dtype: DTypeLike | None = None,
    pool: Pool | None = None,
) -> Any:
    """Return the indices that sort an array, in shared memory; always stable.

    Otherwise as `numpy.argsort`: for any number of workers as with ``kind="stable"``.

    Parameters
    ----------
    a : array_like or dask.array.Array
        Of a dask array of one dimension the result is one, with chunks of known sizes:
        `sharedarray.cluster.dask_sort` tells how.
    axis, order
        As for `numpy.argsort`.
    kind, stable
        Checked as `numpy.argsort` does, without effect on the result.
    descending : bool, optional
        Whether larger elements go first; equal ones keep their order, NaN and NaT come last. As in
        NumPy 2.5, with any NumPy. Not for structured arrays, and not together with `kind`.
    out : ndarray, optional
        Where the indices go: of the shape of the result, and of `dtype`.
    dtype : data-type, optional
        Of the indices: int64 (the default), int32, uint64 or uint32.
    pool : Pool, optional
        Default: as many threads as `get_num_workers()`.

    Raises
    ------
    TypeError
        For masked arrays; if `out` or `dtype` is not for indices, or they differ.
    ValueError
        If `out` has another shape or is read-only, or `dtype` cannot count the elements.

    Notes
    -----
    In parallel: all dtypes of fixed width, along lines of 524,288 elements and more; shorter lines
    from 131,072 elements in all. From 4,096 elements they are sorted in the same way in the caller.
    `sharedarray_ops.sort.sorting` says which algorithm serves when.

    Extra memory: about 12 MiB a worker; and 8 bytes an element for 32-bit indices, and for an `out`
    that is not contiguous or has not the memory that the workers share.

    Examples
    --------
    >>> import sharedarray
    >>> sharedarray.argsort([3.0, 1.0, 2.0, 1.0])
    SharedArray([1, 3, 2, 0])
    """
    check_pool(pool)
    if is_dask(a):
        wanted: dict[str, Any] = {"stable": stable, "descending": descending, "dtype": dtype}
        return by_dask("argsort")(a, axis, kind, order, **wanted, out=out, pool=pool)
    source = plain(a)
    if axis is None:
        source, axis = source.reshape(-1), -1
    if all(x is None for x in (kind, order, stable, descending, out, dtype)):
        # At once: few elements take 10 to 1000 us.
        if not pays(source.size, MIN_ARGSORT):
            return creation.copy(np.argsort(source, axis, stable=True))
        is_few = source.ndim == 1 and 0 < source.size < sorting.MANY
        if is_few and axis in (-1, 0) and is_rankable(source.dtype) and _HAS_64_BITS:
            result = creation.empty(source.shape, np.intp)
            sorting.argsort(source, result, Caller())
            return result
    how = requested(np.argsort, source, axis, kind, order, stable, descending)
    n_indices = source.shape[how.axis] if source.ndim else 1
    index_dtype = _index_dtype(out, dtype, source.shape or (1,), n_indices)
    least = MIN_ARGSORT if source.ndim == 1 else MIN_LINES
    if not _is_ours(source) or not (pays(source.size, least) or how.is_beyond_numpy):
        found = np.argsort(source, axis, order=order, **_numpy_options(True, descending))
        return _delivered(found, out, index_dtype)
    least = sorting.LONG_ARGSORT if source.ndim == 1 else MIN_LINES
    workers = pool_for(pool, parallel=pays(source.size, least))
    with numpy_errors():
        target = _target(source, out, pool)
        moved = np.moveaxis(source, how.axis, -1)
        moved_target = np.moveaxis(target.view(np.ndarray), how.axis, -1)
        sorting.argsort(moved, moved_target, workers, SHARED, how.direction)
        if out is None:
            if index_dtype == target.dtype:
                return target
            out = creation.empty(target.shape, index_dtype)
        if target is not out:
            # What processes write to private memory is lost.
            writers = workers if pool is None or is_shared(out) else Caller()
            elementwise.assign(out.view(np.ndarray), target.view(np.ndarray), writers)
    return out


def _is_ours(a: NDArray[Any]) -> bool:
    return is_sortable(a.dtype) and a.size > 0 and a.ndim > 0 and _HAS_64_BITS


def _index_dtype(
    out: Any, dtype: DTypeLike | None, shape: tuple[int, ...], n_indices: int
) -> np.dtype[Any]:
    """Return the dtype of the indices, after a check of `out` and `dtype`."""
    if out is not None:
        if not isinstance(out, np.ndarray):
            raise TypeError(f"out must be an array, not {type(out).__name__}")
        if dtype is not None and np.dtype(dtype) != out.dtype:
            raise TypeError(f"out has dtype {out.dtype}, not {np.dtype(dtype)}")
        if out.shape != shape:
            raise ValueError(f"out has shape {out.shape}, the result {shape}")
        if not out.flags.writeable:
            raise ValueError("output array is read-only")
        dtype = out.dtype
    found = np.dtype(np.intp if dtype is None else dtype)
    if found.name not in _INDEX_DTYPES:
        raise TypeError(f"indices of dtype {found}: only {', '.join(_INDEX_DTYPES)} will do")
    if n_indices - 1 > np.iinfo(found).max:
        raise ValueError(f"{n_indices} elements are more than {found} can count")
    return found


def _target(a: NDArray[Any], out: Any, pool: Pool | None) -> NDArray[Any]:
    """Return where the indices are made: in `out` itself, if that is as good as new memory."""
    if (
        out is not None
        and out.dtype == np.intp
        and out.flags.carray
        and (pool is None or is_shared(out))
        and not np.may_share_memory(a, out)
    ):
        return out  # type: ignore[no-any-return]
    return creation.empty(a.shape, np.intp)


def _delivered(found: NDArray[np.intp], out: Any, dtype: np.dtype[Any]) -> Any:
    """Return NumPy's indices in `out`, or in shared memory."""
    if out is None:
        return creation.asarray(found, dtype)
    np.copyto(out, found, casting="same_kind" if out.dtype.kind == "i" else "unsafe")
    return out


@implements(np.lexsort)
def lexsort(keys: Any, axis: int = -1, *, pool: Pool | None = None) -> SharedArray:
    """Return the indices that sort by several keys, in shared memory, as `numpy.lexsort` does.

    Parameters
    ----------
    keys, axis
        As for `numpy.lexsort`: the last key counts most.
    pool : Pool, optional
        Default: as many threads as `get_num_workers()`.

    Notes
    -----
    In parallel: one-dimensional keys of fixed-width dtypes, from 524,288 elements. All keys of an
    element make one wide key, see `sharedarray_ops.sort.columns`: one sort, where NumPy has one for
    each key. Extra memory: about 12 MiB a worker.

    Examples
    --------
    >>> import sharedarray
    >>> sharedarray.lexsort(([1, 2, 0], [7, 5, 7]))
    SharedArray([1, 2, 0])
    """
    check_pool(pool)
    is_array_like = isinstance(keys, list | tuple | np.ndarray)
    arrays = [plain(key) for key in keys] if is_array_like else []
    if not arrays or not _are_ours(arrays):
        return creation.asarray(np.lexsort(tuple(arrays) or keys, axis))
    np.lexsort([np.empty(0)] * len(arrays), axis)
    workers = pool_for(pool, parallel=pays(arrays[0].size, sorting.LONG_ARGSORT))
    with numpy_errors():
        result = creation.empty(arrays[0].shape, np.intp)
        columns = [column for a in reversed(arrays) for column in columns_of(a)]
        sorting.argsort_columns(columns, result, workers, pages.populator(result))
    return result


def _are_ours(arrays: list[NDArray[Any]]) -> bool:
    return (
        _HAS_64_BITS
        and all(a.ndim == 1 and a.shape == arrays[0].shape for a in arrays)
        and pays(arrays[0].size, MIN_ARGSORT)
        # Some of the rest NumPy itself orders in another way there.
        and all(is_sortable(a.dtype) and a.dtype.kind in "biufmMS" for a in arrays)
    )


class Request(NamedTuple):
    """What valid arguments of `sort` and `argsort` mean: the axis is not negative."""

    axis: int
    direction: Direction
    stable: bool

    @property
    def is_beyond_numpy(self) -> bool:
        """Return whether the installed NumPy has no such order."""
        return self.direction.descending and not _HAS_DESCENDING


def requested(
    function: Callable[..., Any],
    a: NDArray[Any],
    axis: Any,
    kind: Any,
    order: Any,
    stable: bool | None,
    descending: bool | None,
) -> Request:
    """Have NumPy's function raise for bad arguments, by a call with no elements."""
    options = _numpy_options(stable, descending)
    function(np.empty((0,) * a.ndim, a.dtype), axis, kind, order, **options)
    if descending is not None and "descending" not in options:
        _check_descending(a.dtype, kind, descending)
    letter = kind.decode() if isinstance(kind, bytes) else kind or ""
    fields = (order,) if isinstance(order, str) else tuple(order or ())
    return Request(
        axis=int(np.lib.array_utils.normalize_axis_index(axis, a.ndim)) if a.ndim else 0,
        direction=Direction(fields, bool(descending)),
        stable=bool(stable) or letter[:1] in tuple("sSmM"),
    )


def _numpy_options(stable: bool | None, descending: bool | None) -> dict[str, Any]:
    """Return the keyword arguments of NumPy's functions, those that the installed one has."""
    has_descending = descending is not None and _HAS_DESCENDING
    return {"stable": stable, **({"descending": descending} if has_descending else {})}


def _check_descending(dtype: np.dtype[Any], kind: Any, descending: bool) -> None:
    """Raise where NumPy 2.5 does, which is the first to have the argument."""
    if kind is not None:
        raise ValueError("`kind` and `descending` cannot be given at the same time: use `stable`")
    if descending and not (is_sortable(dtype) and dtype.kind != "V"):
        raise TypeError(f"there is no descending order of the dtype {dtype}")
