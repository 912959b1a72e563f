r"""Large segments kept for the next array, since touching fresh pages costs three times as much.

::

    last array on a large segment dies --keep--> _kept --take--> next array of about that size
                                                    \--too many bytes, release_cache()--> kernel

Guarantees
----------
* At most `limit()` bytes and MAX_SEGMENTS segments are kept, the latest ones.
* No live array of any process is on a kept segment: the allocator keeps only what no forked child
  was born with, and a child forgets what its parent keeps.

Assumptions
-----------
* As in `allocator`: no lock; each step is one operation on a dict, and popping a segment decides
  who of two threads has it.
"""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Callable

from sharedarray import forks
from sharedarray.config import total_memory
from sharedarray.memory.segment import Segment

__all__ = ["keep", "limit", "release_cache", "take"]

# Looking through more than this costs more than the pages of a small segment.
MAX_SEGMENTS = 32
# The part of the memory of the machine that may be kept by default.
DEFAULT_SHARE = 1 / 8
VARIABLE = "SHAREDARRAY_CACHE_BYTES"

_kept: dict[Segment, bool] = {}


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


def take(nbytes: int) -> Segment | None:
    """Return a kept segment for `nbytes` bytes that wastes at most an eighth, or None.

    Its bytes are what the array before has left.
    """
    limit()  # its warning belongs to the caller, not to where an array dies
    for segment in reversed(list(_kept)):
        if nbytes <= segment.nbytes <= nbytes + nbytes // 8 and _kept.pop(segment, False):
            if segment.is_seen[0]:  # by a process that has attached to it: it goes
                continue
            return segment
    return None


def keep(
    segment: Segment,
    kept: dict[Segment, bool] = _kept,
    limit: Callable[[], int] = limit,
    max_segments: int = MAX_SEGMENTS,
) -> None:
    """Keep a segment that no array is on, and let the oldest ones go where that is too much."""
    # What it uses comes as arguments, see `allocator._released`.
    if segment.nbytes > limit():
        return
    segment.is_fresh = False
    kept[segment] = True
    oldest_first = list(kept)
    nbytes = sum(s.nbytes for s in oldest_first)
    for oldest in oldest_first:
        if nbytes <= limit() and len(kept) <= max_segments:
            return
        kept.pop(oldest, None)
        nbytes -= oldest.nbytes


def release_cache() -> None:
    """Give the memory that is kept for the next arrays back to the kernel.

    Notes
    -----
    The memory of large arrays (above 64 KiB) that are gone is kept for the next ones, because fresh
    shared pages cost about three times as much as used ones. At most an eighth of the machine's
    memory is kept, or ``SHAREDARRAY_CACHE_BYTES`` bytes; 0 switches it off.

    Examples
    --------
    >>> import sharedarray
    >>> a = sharedarray.ones(1_000_000)
    >>> del a
    >>> sharedarray.release_cache()
    """
    _kept.clear()


forks.on_fork(in_child=release_cache)
