"""Inputs of the functions: array_likes as ndarrays, dask arrays by a table of names."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["by_dask", "is_dask", "plain", "refuse_dask"]

# The functions for dask arrays. They stand above in the column, so they are imported by name.
_BY_DASK = {
    "argsort": "sharedarray.cluster.dask_sort:argsort",
    "fromfile": "sharedarray.cluster.dask_files:fromfile",
    "sort": "sharedarray.cluster.dask_sort:sort",
    "tofile": "sharedarray.cluster.dask_files:tofile",
}


def plain(a: ArrayLike) -> NDArray[Any]:
    """Return an array_like as an ndarray, without a copy where it is one.

    Raises
    ------
    TypeError
        For masked arrays, whose masks would be lost, and for dask arrays, which may be larger than
        the memory.
    """
    # numpy.ma takes a while to import; until then there are no masked arrays.
    if isinstance(a, getattr(sys.modules.get("numpy.ma"), "MaskedArray", ())):
        raise TypeError(
            "masked arrays are not supported: use a.compressed(), a.filled() or numpy.ma"
        )
    refuse_dask(a)
    return np.asarray(a)


def is_dask(a: Any) -> bool:
    """Return whether an object is a dask array; until dask.array is imported there is none."""
    module = sys.modules.get("dask.array")
    return module is not None and isinstance(a, getattr(module, "Array", ()))


def refuse_dask(a: Any) -> None:
    """Raise TypeError for a dask array, which would be computed here and now."""
    if is_dask(a):
        raise TypeError(
            "dask arrays are not supported by this function: use that of dask.array, such as "
            "dask.array.cumsum, or a.compute() where the array fits into memory"
        )


def by_dask(name: str) -> Any:
    """Return the function of this name for dask arrays."""
    module, _, function = _BY_DASK[name].partition(":")
    return getattr(import_module(module), function)
