"""argsort and lexsort, as functions, as methods and through NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from sharedarray.functions.common import check_pool, numpy_errors, plain, pool_for
from sharedarray.functions.dask import by_dask, is_dask
from sharedarray.functions.sortargs import Request, numpy_options, numpy_sorts, requested
from sharedarray.functions.thresholds import MIN_ARGSORT, MIN_ARGSORT_WORKERS, MIN_LINES, pays
from sharedarray.memory import creation, pages
from sharedarray.memory.array import SharedArray, implements
from sharedarray.memory.registry import is_shared
from sharedarray_ops import elementwise
from sharedarray_ops.pool import Caller, Pool
from sharedarray_ops.sort import argsorting, fewsort, lines
from sharedarray_ops.sort.columns import columns_of, is_sortable
from sharedarray_ops.sort.keys import is_rankable

__all__ = ["argsort", "lexsort"]

_INDEX_DTYPES = ("int64", "int32", "uint64", "uint32")


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

    Parameters
    ----------
    a : array_like or dask.array.Array
        Any shape and dtype. Of a dask array of one dimension the result is one, with chunks of
        known sizes: `sharedarray.cluster.dask_sort` tells how.
    axis : int or None, default -1
        Axis along which to sort; None sorts the flattened array.
    kind : {'quicksort', 'mergesort', 'heapsort', 'stable'}, optional
        Checked as `numpy.argsort` does; the result is that of 'stable' for each of them.
    order : str or list of str, optional
        Fields to compare first, as for `numpy.argsort`.
    stable : bool, optional
        Checked like `kind`.
    descending : bool, optional
        Whether larger elements go first; equal ones keep their order, NaN and NaT come last. As in
        NumPy 2.5, with any NumPy. Not for structured arrays, and not together with `kind`.
    out : ndarray, optional
        Where the indices go: of the shape of the result, and of `dtype`.
    dtype : data-type, optional
        Of the indices: int64 (the default), int32, uint64 or uint32.
    pool : Pool, optional
        Who works. Default: as many threads as `get_num_workers()`.

    Returns
    -------
    SharedArray of intp
        Of the shape of `a`, ``(a.size,)`` for ``axis=None``; `out` itself where it is given. For
        any number of workers the same as ``numpy.argsort(a, kind="stable")``.

    Raises
    ------
    AxisError, TypeError, ValueError
        Where `numpy.argsort` raises them, before any work.
    TypeError
        For masked arrays; if `out` or `dtype` is not for indices, or they differ.
    ValueError
        If `out` has another shape or is read-only, or there are more elements than `dtype` counts.

    See Also
    --------
    sort, lexsort

    Notes
    -----
    In parallel: all dtypes of fixed width, along lines of 524,288 elements and more; shorter lines
    are shared out, where there are 131,072 elements or more in all. From 4,096 elements they are
    sorted in the same way, in the caller: by packing keys and indices into words, see
    `sharedarray_ops.sort.argsorting`. Extra memory: about 12 MiB a worker; and 8 bytes an element
    where the result is not made in place, for 32-bit indices, and for an `out` that is not
    contiguous or has not the memory that the workers share.

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
    options = (kind, order, stable, descending, out, dtype)
    if all(option is None for option in options):  # at once: few elements take 10 to 1000 us
        if not pays(source.size, MIN_ARGSORT):
            return creation.copy(np.argsort(source, axis, stable=True))
        if source.ndim == 1 and axis in (-1, 0) and _are_few(source):
            result = creation.empty(source.shape, np.intp)
            fewsort.argsort_few(source, result.view(np.ndarray).view(np.uint64))
            return result
    request = requested(np.argsort, source, axis, kind, order, stable, descending)
    n_indices = source.shape[request.axis] if source.ndim else 1
    index_dtype = _index_dtype(out, dtype, source.shape or (1,), n_indices)
    if _is_for_numpy(source, request):
        found = np.argsort(source, axis, order=order, **numpy_options(True, descending))
        return _delivered(found, out, index_dtype)
    least = MIN_ARGSORT_WORKERS if source.ndim == 1 else MIN_LINES
    workers = pool_for(pool, parallel=pays(source.size, least))
    with numpy_errors():
        target = _target(source, out, pool)
        _argsort(source, target.view(np.ndarray), request, workers)
        if out is None and index_dtype == target.dtype:
            return target
        if out is None:
            out = creation.empty(target.shape, index_dtype)
        if target is not out:
            # What processes write to private memory is lost.
            writers = workers if pool is None or is_shared(out) else Caller()
            elementwise.assign(out.view(np.ndarray), target.view(np.ndarray), writers)
    return out


def _is_for_numpy(a: NDArray[Any], request: Request) -> bool:
    """Return whether one call of NumPy does it, and does it as fast."""
    if numpy_sorts(a) or np.intp(0).itemsize != 8:
        return True
    if request.descending and "descending" not in numpy_options(None, True):
        return False
    return not pays(a.size, MIN_ARGSORT if a.ndim == 1 else MIN_LINES)


def _are_few(a: NDArray[Any]) -> bool:
    return (
        0 < a.size < fewsort.MANY
        and np.intp(0).itemsize == 8
        and a.dtype.kind != "b"
        and is_rankable(a.dtype)
    )


def _argsort(a: NDArray[Any], out: NDArray[np.intp], request: Request, pool: Pool) -> None:
    """Write the indices to `out`, which is of the shape of `a`."""
    axis, order, _, descending = request
    a, out = np.moveaxis(a, axis, -1), np.moveaxis(out, axis, -1)
    if a.ndim > 1 and a.shape[-1] < MIN_ARGSORT_WORKERS:
        lines.argsort_lines(a, out, pool, order=order, descending=descending)
        return
    for index in np.ndindex(a.shape[:-1]):
        line, target = a[index], out[index]
        dense = target if target.flags.c_contiguous else creation.empty(line.shape, np.intp)
        touch = pages.populator(dense)
        argsorting.argsort(line, dense, pool, touch, order=order, descending=descending)
        if dense is not target:
            elementwise.copy(dense.view(np.ndarray), target, pool)


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
    """Return NumPy's indices where they are wanted."""
    if out is None:
        return creation.asarray(found, dtype)
    np.copyto(out, found, casting="same_kind" if out.dtype.kind == "i" else "unsafe")
    return out


@implements(np.lexsort)
def lexsort(keys: Any, axis: int = -1, *, pool: Pool | None = None) -> SharedArray:
    """Return the indices that sort by several keys, in shared memory; the last key counts most.

    Parameters
    ----------
    keys : sequence of array_like, or array_like of shape (k, ...)
        Of one shape; any dtypes.
    axis : int, default -1
        Axis along which to sort.
    pool : Pool, optional
        Who works. Default: as many threads as `get_num_workers()`.

    Returns
    -------
    SharedArray of intp
        The same as `numpy.lexsort` for any number of workers.

    Raises
    ------
    AxisError, TypeError, ValueError
        Where `numpy.lexsort` raises them, before any work.

    See Also
    --------
    argsort

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
    if not arrays:
        return creation.asarray(np.lexsort(keys, axis))
    if not _are_sortable(arrays):
        return creation.asarray(np.lexsort(tuple(arrays), axis))
    np.lexsort([np.empty(0)] * len(arrays), axis)
    workers = pool_for(pool, parallel=pays(arrays[0].size, MIN_ARGSORT_WORKERS))
    with numpy_errors():
        result = creation.empty(arrays[0].shape, np.intp)
        columns = [column for a in reversed(arrays) for column in columns_of(a)]
        argsorting.argsort_columns(columns, result, workers, pages.populator(result))
    return result


def _are_sortable(arrays: list[NDArray[Any]]) -> bool:
    return (
        np.intp(0).itemsize == 8
        and all(a.ndim == 1 and a.shape == arrays[0].shape for a in arrays)
        and pays(arrays[0].size, MIN_ARGSORT)
        # Some of the rest NumPy itself orders in another way there.
        and all(is_sortable(a.dtype) and a.dtype.kind in "biufmMS" for a in arrays)
    )
