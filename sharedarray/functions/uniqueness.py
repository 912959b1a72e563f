"""unique, as a function and through NumPy; `sharedarray_ops.sort.uniqueness` is the algorithm."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sharedarray.functions.calls import SHARED, check_pool, numpy_errors, plain, pool_for
from sharedarray.functions.thresholds import (
    MIN_UNIQUE,
    MIN_UNIQUE_INTEGERS,
    MIN_UNIQUE_SORTED,
    MIN_UNIQUE_WORKERS,
    pays,
)
from sharedarray.memory import creation
from sharedarray.memory.array import implements
from sharedarray_ops.pool import Pool
from sharedarray_ops.sort import uniqueness

__all__ = ["unique"]

_HASHES = np.lib.NumpyVersion(np.__version__) >= "2.3.0.dev0"
_NO_VALUE: Any = np._NoValue  # NumPy's own mark of an argument left out
_numpy_unique: Any = np.unique  # its stubs know only literal flags


@implements(np.unique)
def unique(
    ar: ArrayLike,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: int | None = None,
    *,
    equal_nan: bool = True,
    sorted: bool = _NO_VALUE,
    pool: Pool | None = None,
) -> Any:
    """Find the unique elements of an array, in shared memory, otherwise as `numpy.unique`.

    Parameters
    ----------
    ar, return_index, return_inverse, return_counts, axis, equal_nan, sorted
        As for `numpy.unique`, which has `sorted` from NumPy 2.3 on.
    pool : Pool, optional
        Default: as many threads as `get_num_workers()`.

    Returns
    -------
    SharedArray or tuple of SharedArray
        Which bits stand for equal values that differ in them, zeros of both signs or NaN, is not
        defined. With Python objects, what NumPy returns.

    Notes
    -----
    In parallel: one-dimensional arrays (or ``axis=None``) of bool, integers, float16 to float64,
    datetime64 and timedelta64; with indices from 1,048,576 elements, without from 4,194,304; from
    16,384, in the caller, for the values of integers alone. `sharedarray_ops.sort.uniqueness` says
    how.

    Extra memory: a copy of `ar`, and another 8 bytes an element where indices are wanted.

    Examples
    --------
    >>> import sharedarray
    >>> sharedarray.unique([3, 1, 2, 3, 1])
    SharedArray([1, 2, 3])
    """
    check_pool(pool)
    source = plain(ar)
    options = {"equal_nan": equal_nan} | ({} if sorted is _NO_VALUE else {"sorted": sorted})
    wanted = (bool(return_index), bool(return_inverse), bool(return_counts))
    found = None
    if _is_parallel(source, axis, *wanted):
        _numpy_unique(np.empty(0, source.dtype), *wanted, axis, **options)  # for its errors
        with numpy_errors():
            found = _unique(source, *wanted, bool(equal_nan), pool)
    if found is None:
        found = _numpy_unique(source, *wanted, axis, **options)
    return tuple(map(_shared, found)) if isinstance(found, tuple) else _shared(found)


def _unique(
    a: NDArray[Any], index: bool, inverse: bool, counts: bool, equal_nan: bool, pool: Pool | None
) -> Any:
    """Return what `unique` does for arguments that have a parallel way; else None."""
    workers = pool_for(pool, parallel=pays(a.size, MIN_UNIQUE_WORKERS))
    wanted = {"index": index, "inverse": inverse, "counts": counts}
    results = uniqueness.unique(a.reshape(-1), workers, SHARED, **wanted, equal_nan=equal_nan)
    if results is None:
        return None
    if inverse:
        results[1 + index] = results[1 + index].reshape(a.shape)
    return tuple(results) if len(results) > 1 else results[0]


def _is_parallel(
    a: NDArray[Any], axis: Any, return_index: bool, return_inverse: bool, return_counts: bool
) -> bool:
    """Return whether there is a parallel way for the array, and it pays."""
    min_size = MIN_UNIQUE if return_index or return_inverse else MIN_UNIQUE_SORTED
    if _HASHES and a.dtype.kind in "iu" and not (return_index or return_inverse or return_counts):
        min_size = MIN_UNIQUE_INTEGERS
    if not pays(a.size, min_size) or not (a.dtype.kind in "biumM" or a.dtype.char in "efd"):
        return False
    return axis is None or (a.ndim == 1 and type(axis) is int and axis in (0, -1))


def _shared(a: Any) -> Any:
    """Put an array into shared memory, if it can be there."""
    return a if a.dtype.hasobject else creation.asarray(a)
