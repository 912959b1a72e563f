"""What a loop goes over, by position."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import repeat
from math import prod
from time import monotonic
from typing import Any

from sharedarray.openmp.schedules import Chunk, is_schedule
from sharedarray.workers.arguments import items_of

__all__ = ["Expand", "in_parts", "loop_over", "range_of"]

# Items of a part; to begin one takes 0.3 us.
MOST = 32
# Gives the items from a start to a stop.
Expand = Callable[[int, int], Iterable[Any]]


def range_of(n: int) -> range:
    """Return ``range(n)``, or raise for what is no length."""
    length = operator.index(n)
    if length < 0:
        raise ValueError(f"the length of a loop must be 0 or more, not {length}")
    return range(length)


def loop_over(sequences: Sequence[Any]) -> tuple[int, Expand]:
    """Return the number of items, and what gives those from a start to a stop."""
    if not sequences:
        raise TypeError("p.forloop needs something to loop over")
    for each in sequences[1:]:
        if is_schedule(each):  # and not something to collapse the loop with
            raise TypeError(f"a schedule is given by its name: schedule={each!r}")
    all_items = [_items(each) for each in sequences]
    if len(all_items) > 1:
        lengths = [len(items) for items in all_items]
        return prod(lengths), lambda i, j: (_tuple_at(all_items, lengths, k) for k in range(i, j))
    (items,) = all_items
    if isinstance(items, range):
        return len(items), lambda i, j: items[i:j]
    return len(items), lambda i, j: map(operator.getitem, repeat(items), range(i, j))


def in_parts(chunks: Iterable[Chunk], seconds: float) -> Iterator[Chunk]:
    """Yield chunks, long ones in parts that take less than so many seconds, or `MOST` items.

    Between them a rank can look after the others. The length of a part goes by the time that the
    last one took: slow items may follow quick ones, so there is a most.
    """
    n = 1
    began = monotonic()
    for start, stop in chunks:
        while start < stop:
            middle = min(start + n, stop)
            yield start, middle
            ended = monotonic()
            if ended - began > seconds / 2:
                n = max(1, (middle - start) // 2)
            elif middle - start == n:
                n = min(2 * n, MOST)
            start, began = middle, ended


def _items(sequence: Any) -> Any:
    if hasattr(type(sequence), "__index__") and not hasattr(type(sequence), "__len__"):
        return range_of(sequence)
    items = items_of(sequence)
    if isinstance(items, Iterator):
        raise TypeError(
            "p.forloop needs a sequence, with a length and indices; of this "
            f"{type(sequence).__name__} each rank would have an iterator of its own"
        )
    return items


def _tuple_at(all_items: list[Any], lengths: list[int], position: int) -> tuple[Any, ...]:
    found = []
    for items, length in zip(reversed(all_items), reversed(lengths), strict=True):
        position, i = divmod(position, length)
        found.append(items[i])
    return tuple(reversed(found))
