r"""Large memory kept for the next array, since touching fresh pages costs three times as much.

Segments of shared arrays, and private pages of results, see `results`.

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
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from sharedarray import forks
from sharedarray.config import total_memory

__all__ = ["keep", "limit", "release_cache", "take"]

# Looking through more than this costs more than the pages of a small segment.
MAX_SEGMENTS = 32
# The part of the memory of the machine that may be kept by default.
DEFAULT_SHARE = 1 / 8
VARIABLE = "SHAREDARRAY_CACHE_BYTES"


class Kept(Protocol):
    """What is kept: a segment, or private pages."""

    nbytes: int
    is_fresh: bool

    @property
    def is_seen(self) -> Sequence[int]:
        """Return whether another process may see the first block, as its first item."""
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
        # Not where a process has attached to it: it goes.
        if _kept.pop(memory, False) and not memory.is_seen[0]:
            return memory
    return None


def keep(
    memory: Kept,
    kept: dict[Kept, bool] = _kept,
    limit: Callable[[], int] = limit,
    max_segments: int = MAX_SEGMENTS,
) -> None:
    """Keep memory that no array is on, and let the oldest go where that is too much."""
    # What it uses comes as arguments, see `allocator._released`.
    if memory.nbytes > limit():
        return
    memory.is_fresh = False
    kept[memory] = True
    oldest_first = list(kept)
    nbytes = sum(m.nbytes for m in oldest_first)
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
    _kept.clear()


forks.on_fork(in_child=release_cache)
