r"""Large memory kept for the next array, since touching fresh pages costs three times as much.

::

    last array on a large segment dies --keep--> _kept --take--> next array of about that size
                                                    \--too many bytes, release_cache()--> kernel

    recycled(result) --take or numpy.empty--> _Pages --> _Room --> plain array
    last array on the room dies --> room dies --keep--> _kept

Segments of shared arrays, slots of slabs, and private pages of large results are kept, within one
limit. NumPy's allocator gives blocks of 32 MiB and more back to the kernel at once, which makes and
zeroes their pages anew for the next result.

Guarantees
----------
* At most `limit()` bytes and MAX_SEGMENTS segments are kept, the latest ones.
* No live array of any process is on a kept segment: the allocator keeps only what no forked child
  was born with, and a child forgets what its parent keeps.

Assumptions
-----------
* As in `allocator`: no lock; each step is one operation on a dict, and popping a segment decides
  which of two threads has it.
"""

from __future__ import annotations

import functools
import os
import warnings
import weakref
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from sharedarray import forks
from sharedarray.machine import total_memory

__all__ = ["keep", "limit", "recycled", "release_cache", "take"]

# Looking through more than this costs more than the pages of a small segment.
MAX_SEGMENTS = 32
# The part of the memory of the machine that may be kept by default.
DEFAULT_SHARE = 1 / 8
VARIABLE = "SHAREDARRAY_CACHE_BYTES"
# The largest threshold from which glibc's malloc maps each block on its own.
RESULT_MIN_NBYTES = 32 << 20


class Kept(Protocol):
    """What is kept: a segment, a slot of a slab, or private pages."""

    nbytes: int
    is_fresh: bool

    @property
    def is_seen(self) -> Sequence[int]:
        """Return whether another process may see the first block, as its first item."""
        ...

    def let_go(self) -> None:
        """Give the memory back, unless that happens with the last reference."""
        ...


AnyKept = TypeVar("AnyKept", bound=Kept)

_kept: dict[Kept, bool] = {}


@functools.cache
def limit() -> int:
    """Return how many bytes may be kept: as SHAREDARRAY_CACHE_BYTES says, or an eighth of all."""
    text = os.environ.get(VARIABLE, "")
    if text.isdecimal():
        return int(text)
    if text:
        warnings.warn(
            f"{VARIABLE}={text!r} is not a number of bytes; the default is used",
            RuntimeWarning,
            stacklevel=2,
        )
    try:
        return int(total_memory() * DEFAULT_SHARE)
    except NotImplementedError:
        return 0


def take(nbytes: int, kind: type[AnyKept]) -> AnyKept | None:
    """Return kept memory of a kind for `nbytes` bytes that wastes at most an eighth, or None.

    Its bytes are what the array before has left.
    """
    limit()  # its warning belongs to the caller, not to where an array dies
    for memory in reversed(list(_kept)):
        if not isinstance(memory, kind) or not nbytes <= memory.nbytes <= nbytes + nbytes // 8:
            continue
        if not _kept.pop(memory, False):
            continue
        if not memory.is_seen[0]:
            return memory
        memory.let_go()  # a process has attached to it
    return None


def keep(
    memory: Kept,
    kept: dict[Kept, bool] = _kept,
    limit: Callable[[], int] = limit,
    max_segments: int = MAX_SEGMENTS,
) -> None:
    """Keep memory that no array is on, and let the oldest go where that is too much."""
    # What it uses comes as arguments, see `allocator._released`.
    most = limit()
    if memory.nbytes > most:
        memory.let_go()
        return
    memory.is_fresh = False
    kept[memory] = True
    if len(kept) == 1:  # mostly: an array that is made again and again
        return
    oldest_first = list(kept)
    nbytes = sum([m.nbytes for m in oldest_first])
    for oldest in oldest_first:
        if nbytes <= most and len(kept) <= max_segments:
            return
        if kept.pop(oldest, False):
            oldest.let_go()
        nbytes -= oldest.nbytes


def release_cache() -> None:
    """Give the memory that is kept for the next arrays back to the kernel.

    Notes
    -----
    The memory of large arrays (above 64 KiB) that are gone is kept for the next ones, because fresh
    pages cost up to three times as much as used ones; so is the private memory of large results of
    elementwise functions (32 MiB and more). At most an eighth of the machine's memory is kept, or
    ``SHAREDARRAY_CACHE_BYTES`` bytes; 0 switches it off.

    Examples
    --------
    >>> import sharedarray
    >>> a = sharedarray.ones(1_000_000)
    >>> del a
    >>> sharedarray.release_cache()
    """
    for memory in list(_kept):
        if _kept.pop(memory, False):
            memory.let_go()


# The parent goes on keeping it: nothing is given back.
forks.on_fork(in_child=_kept.clear)


class _Room(np.ndarray):
    """The base of all arrays on some private pages; it dies with the last of them."""


class _Pages:
    """Private bytes whose pages are there once they have been used; a forked child has a copy."""

    __slots__ = ("bytes", "is_fresh", "is_seen", "nbytes")

    def __init__(self, nbytes: int) -> None:
        # Of the class of rooms: NumPy takes the base of a base instead, if that is of the class of
        # the new array, and an array on a room would have these bytes as its base.
        self.bytes = np.empty(nbytes, np.uint8).view(_Room)
        self.nbytes = nbytes
        self.is_fresh = True
        self.is_seen = (0,)  # no other process ever attaches to it

    def let_go(self) -> None:
        """Do nothing: the pages go with their bytes."""


def recycled(result: NDArray[Any]) -> NDArray[Any]:
    """Return an array like an unset private result, on memory of an earlier result if there is any.

    Parameters
    ----------
    result : ndarray
        Dense, with positive strides, in memory of its own.

    Returns
    -------
    ndarray
        Of the same shape, strides and dtype, without owning its data; `result` itself below
        `RESULT_MIN_NBYTES`.
    """
    if result.nbytes < RESULT_MIN_NBYTES or not result.flags.owndata:
        return result
    shape, strides, dtype, nbytes = result.shape, result.strides, result.dtype, result.nbytes
    pages = take(nbytes, _Pages)
    if pages is None:
        pages = _Pages(nbytes)
    room = np.ndarray.__new__(_Room, pages.nbytes, np.uint8, pages.bytes)
    weakref.finalize(room, keep, pages).atexit = False
    return np.ndarray(shape, dtype, room, strides=strides)
