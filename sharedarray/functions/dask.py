"""Where the functions turn to Dask: a table of names, each loaded by its first use."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

__all__ = ["by_dask", "is_dask"]

# What dask arrays have a parallel way for, and where it stands: above, so by its name.
_WAYS = {
    "argsort": "sharedarray.cluster.arrays:argsort",
    "fromfile": "sharedarray.cluster.array_files:fromfile",
    "sort": "sharedarray.cluster.arrays:sort",
    "tofile": "sharedarray.cluster.array_files:tofile",
}


def is_dask(a: Any) -> bool:
    """Return whether an object is a dask array; where nobody has imported Dask, there is none."""
    module = sys.modules.get("dask.array")
    return module is not None and isinstance(a, getattr(module, "Array", ()))


def by_dask(name: str) -> Any:
    """Return the function of this name for dask arrays."""
    module, _, function = _WAYS[name].partition(":")
    return getattr(import_module(module), function)
