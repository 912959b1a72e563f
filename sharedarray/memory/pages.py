"""Have the kernel make many pages in one call, instead of by one page fault each.

Fresh shared pages are small ones unless the system allows huge pages for them: 1 GiB is a quarter
of a million page faults. ``MADV_POPULATE_WRITE`` makes them in two thirds of the time, and lets
other threads run meanwhile.
"""

from __future__ import annotations

import ctypes
import sys
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sharedarray.memory import registry
from sharedarray.memory.segment import PAGE_NBYTES

__all__ = ["give_back", "madvise", "populate", "populator"]

# Linux 5.14; the mmap module has no name for it, and its madvise() keeps the GIL.
_MADV_POPULATE_WRITE = 23
# Makes a hole in the memory of all who share it; only Linux has it.
_MADV_REMOVE = 9


def populator(array: NDArray[Any]) -> Any:
    """Return what is to be called on each part of an array before it is first written to.

    Returns
    -------
    callable or None
        `populate` where the memory of the array is fresh, None where it has pages.
    """
    block = registry.owner(array)
    if block is None or not block.segment.is_fresh or madvise() is None:
        return None
    return populate


def populate(part: NDArray[Any]) -> None:
    """Make the pages of a contiguous part of a shared array; what it holds stays."""
    if not (part.flags.c_contiguous or part.flags.f_contiguous):
        return
    address = registry.address_of(np.asarray(part))
    start = address - address % PAGE_NBYTES
    # Whatever it says, the pages come at the first touch otherwise.
    madvise()(start, address + part.nbytes - start, _MADV_POPULATE_WRITE)


def give_back(part: NDArray[Any]) -> None:
    """Free the whole pages of a contiguous part of a shared array: zero from then on, on Linux."""
    if madvise() is None or not sys.platform.startswith("linux"):
        return
    address = registry.address_of(np.asarray(part))
    start = -(-address // PAGE_NBYTES) * PAGE_NBYTES
    stop = (address + part.nbytes) // PAGE_NBYTES * PAGE_NBYTES
    if start < stop:
        madvise()(start, stop - start, _MADV_REMOVE)


@lru_cache(maxsize=1)
def madvise() -> Any:
    """Return the function of the C library, which lets other threads run; None where it is not."""
    try:
        function = ctypes.CDLL(None).madvise
    except (OSError, AttributeError, TypeError):  # not on Windows
        return None
    function.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    function.restype = ctypes.c_int
    return function
