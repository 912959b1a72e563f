r"""Fill memory, and have the kernel make many pages in one call instead of by one fault each.

::

    fill(array, values) --large--> functions.assigning: each worker makes and fills its part
                       \--small--> Populator, numpy.copyto
    Populator:  whole huge pages:  one small page of each by MADV_POPULATE_WRITE, then MADV_COLLAPSE
                the rest:          MADV_POPULATE_WRITE, small pages

Fresh shared pages are small ones where the system has no huge pages in shared memory, the kernel's
default: 1 GiB is a quarter of a million page faults, 0.25 s, and every later pass over it misses
the TLB. ``MADV_COLLAPSE`` (Linux 6.1) is a program's own request, which that setting does not
govern, except ``deny``: 1 GiB takes 0.045 s with two workers. It fails on a range without any page,
therefore the small ones first.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sharedarray.lazy import Later
from sharedarray.memory import registry
from sharedarray.memory.segment import HUGE_PAGE_NBYTES, PAGE_NBYTES

__all__ = ["Populator", "fill", "give_back", "madvise", "mincore", "populator"]

# From here on two threads win over one, waking them included (8 MiB take a few hundred us); in
# fresh memory, for which the kernel has to make pages, they win later.
MIN_PARALLEL_NBYTES = 8 << 20
_MIN_PARALLEL_FRESH_NBYTES = 24 << 20

# Linux 5.14 and 6.1; the mmap module has no names for them, and its madvise() keeps the GIL.
_MADV_POPULATE_WRITE = 23
_MADV_COLLAPSE = 25
# Punches a hole into the memory of all processes that share it.
_MADV_REMOVE = 9

_filling = Later("sharedarray.functions.assigning", for_workers=True)


def fill(array: NDArray[Any], values: Any) -> None:
    """Set a plain array to `values`, broadcast and cast as NumPy's creation functions do it."""
    touch = populator(array) if array.nbytes >= HUGE_PAGE_NBYTES else None
    if array.nbytes >= (MIN_PARALLEL_NBYTES if touch is None else _MIN_PARALLEL_FRESH_NBYTES):
        _filling.fill(array, values)
        return
    if touch is not None:
        touch(array)
    np.copyto(array, values, casting="unsafe")


class Populator:
    """Make the pages of a part of an array before it is first written to.

    Each worker, thread or process, calls it for the parts that it writes.

    Parameters
    ----------
    start, stop : int
        The addresses of the block: a huge page is made only where all of it is in there.
    """

    __slots__ = ("_are_huge", "_start", "_stop")

    def __init__(self, start: int, stop: int) -> None:
        self._start = -(-start // HUGE_PAGE_NBYTES) * HUGE_PAGE_NBYTES
        self._stop = stop // HUGE_PAGE_NBYTES * HUGE_PAGE_NBYTES
        self._are_huge = True

    def __call__(self, part: NDArray[Any]) -> None:
        """Make the pages of a part, if it is contiguous; what it holds stays."""
        if not (part.flags.c_contiguous or part.flags.f_contiguous):
            return
        address = registry.address_of(np.asarray(part))
        start, stop = address - address % PAGE_NBYTES, address + part.nbytes
        # With the huge pages that the part shares with its neighbours: the second worker to come
        # finds them made.
        low = max(self._start, start - start % HUGE_PAGE_NBYTES)
        high = min(self._stop, -(-stop // HUGE_PAGE_NBYTES) * HUGE_PAGE_NBYTES)
        try:
            if low < high and self._are_huge:
                for run in _runs(low, high):
                    _make_huge(*run)
                _populate(start, low)
                start = high
        except BlockingIOError:
            pass  # another worker was at the same page
        except OSError:
            self._are_huge = False
        _populate(start, stop)


def populator(array: NDArray[Any]) -> Populator | None:
    """Return what makes the pages of an array in fresh memory, None where it has pages."""
    block = registry.owner(array)
    if block is None or not block.segment.is_fresh or madvise() is None:
        return None
    start = registry.address_of(block)
    return Populator(start, start + block.nbytes)


def _runs(start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Yield the bounds of ranges without pages: small ones would have to be copied."""
    low = start
    for each in range(start, stop, HUGE_PAGE_NBYTES):
        if _has_pages(each):
            if low < each:
                yield low, each
            low = each + HUGE_PAGE_NBYTES
    if low < stop:
        yield low, stop


def _has_pages(address: int) -> bool:
    """Return whether a huge page was written to; `_make_huge` makes its first small page only."""
    is_resident = ctypes.c_ubyte()
    last = address + HUGE_PAGE_NBYTES - PAGE_NBYTES
    return mincore()(last, PAGE_NBYTES, is_resident) == 0 and is_resident.value & 1 == 1


def _make_huge(start: int, stop: int) -> None:
    """Make huge pages, or raise OSError where the kernel does not: BlockingIOError for now.

    In one call: each one waits until all CPUs have put their fresh pages in order.
    """
    for each in range(start, stop, HUGE_PAGE_NBYTES):
        _populate(each, each + PAGE_NBYTES)
    if madvise()(start, stop - start, _MADV_COLLAPSE) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _populate(start: int, stop: int) -> None:
    """Make small pages where there are none; if the call fails, they come with the first touch."""
    if start < stop:
        madvise()(start, stop - start, _MADV_POPULATE_WRITE)


def give_back(part: NDArray[Any]) -> None:
    """Free the whole pages of a contiguous part of a shared array: zero from then on, on Linux."""
    if madvise() is None:
        return
    address = registry.address_of(np.asarray(part))
    start = -(-address // PAGE_NBYTES) * PAGE_NBYTES
    stop = (address + part.nbytes) // PAGE_NBYTES * PAGE_NBYTES
    if start < stop:
        madvise()(start, stop - start, _MADV_REMOVE)


@lru_cache(maxsize=1)
def madvise() -> Any:
    """Return the C function, which lets other threads run; None on other systems than Linux."""
    return _of_c("madvise", ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


@lru_cache(maxsize=1)
def mincore() -> Any:
    """Return the C function that tells which pages there are."""
    return _of_c("mincore", ctypes.c_void_p, ctypes.c_size_t, ctypes.POINTER(ctypes.c_ubyte))


def _of_c(name: str, *types: Any) -> Any:
    if not sys.platform.startswith("linux"):  # other systems lack these requests
        return None
    try:
        function = getattr(ctypes.CDLL(None, use_errno=True), name)
    except (OSError, AttributeError):
        return None
    function.argtypes = types
    function.restype = ctypes.c_int
    return function
