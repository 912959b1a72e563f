"""New arrays, perhaps in named segments, that come about in part or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sharedarray.memory import named, pages, registry
from sharedarray.memory.array import SharedArray

__all__ = ["shortened", "unlinked_on_error"]


@contextmanager
def unlinked_on_error(name: str | None) -> Iterator[None]:
    """Take the name of a new segment away if the block that fills it raises."""
    try:
        yield
    except BaseException:
        if name is not None:
            named.unlink(name)
        raise


def shortened(a: SharedArray, n_items: int, name: str | None) -> SharedArray:
    """Return the first items of a new array; with a name, its segment has no others from then on.

    The memory of the others is free then, whole pages of it.
    """
    result: SharedArray = a[:n_items]
    block = registry.owner(a)
    if name is not None and block is not None and n_items < len(a):
        named.shorten(name, block.segment, n_items)
        pages.give_back(a[n_items:])
    return result
