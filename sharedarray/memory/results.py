r"""Private memory for large results, used again: fresh pages cost as much as the work on them.

NumPy's allocator gives blocks of 32 MiB and more back to the kernel at once, which makes their
pages anew, zeroed, for the next result.

::

    recycled(result) --cache.take or numpy.empty--> _Pages --> _Room --> plain array
    last array on the room dies --> room dies --> _released(lease) --> cache.keep

The memory is kept in `cache`, together with that of shared arrays, within one limit. No other
process sees it: a forked child has a copy.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sharedarray.memory import cache

__all__ = ["MIN_NBYTES", "recycled"]

# The largest threshold from which glibc's malloc maps each block on its own.
MIN_NBYTES = 32 << 20


class _Room(np.ndarray):
    """The base of all arrays on some pages; it dies with the last of them."""


class _Pages:
    """Bytes of which pages are there once they have been used."""

    __slots__ = ("bytes", "is_fresh", "is_seen", "nbytes")

    def __init__(self, nbytes: int) -> None:
        # Of the class of rooms: NumPy takes the base of a base instead, if that is of the class of
        # the new array, and an array on a room would have these bytes as its base.
        self.bytes = np.empty(nbytes, np.uint8).view(_Room)
        self.nbytes = nbytes
        self.is_fresh = True
        self.is_seen = (0,)  # nobody else ever attaches to it


class _Lease(weakref.ref[_Room]):
    """A reference to a room that knows its pages."""

    __slots__ = ("pages",)

    pages: _Pages


_leases: dict[int, _Lease] = {}


def recycled(result: NDArray[Any]) -> NDArray[Any]:
    """Return an array like `result`, which nothing has been written to, where that is worth it.

    Parameters
    ----------
    result : ndarray
        Dense, with positive strides, in memory of its own.

    Returns
    -------
    ndarray
        Of the same shape, strides and dtype, on memory that an earlier result has used if there is
        any; `result` itself below `MIN_NBYTES`. It does not own its data.
    """
    if result.nbytes < MIN_NBYTES or not result.flags.owndata:
        return result
    shape, strides, dtype, nbytes = result.shape, result.strides, result.dtype, result.nbytes
    pages = cache.take(nbytes, _Pages)
    if pages is None:
        pages = _Pages(nbytes)
    room = np.ndarray.__new__(_Room, pages.nbytes, np.uint8, pages.bytes)
    lease = _Lease(room, _released)
    lease.pages = pages
    _leases[id(lease)] = lease
    return np.ndarray(shape, dtype, room, strides=strides)


def _released(
    lease: _Lease,
    leases: dict[int, _Lease] = _leases,
    keep: Callable[[Any], None] = cache.keep,
) -> None:
    # Arguments, because arrays may die after the module's globals have, at the interpreter's end.
    leases.pop(id(lease), None)
    keep(lease.pages)
