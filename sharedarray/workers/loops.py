"""What a loop goes over, by position."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import repeat
from math import prod
from typing import Any

from sharedarray.workers.arguments import items_of

__all__ = ["loop_over", "range_of"]


def range_of(n: int) -> range:
    """Return ``range(n)``, or raise for what is no length."""
    length = operator.index(n)
    if length < 0:
        raise ValueError(f"the length of a loop must be 0 or more, not {length}")
    return range(length)


def loop_over(sequences: Sequence[Any]) -> tuple[int, Callable[[int, int], Iterable[Any]]]:
    """Return the number of items, and what gives those from a start to a stop."""
    if not sequences:
        raise TypeError("p.forloop needs something to loop over")
    all_items = [_items(each) for each in sequences]
    if len(all_items) > 1:
        lengths = [len(items) for items in all_items]
        return prod(lengths), lambda i, j: (_tuple_at(all_items, lengths, k) for k in range(i, j))
    (items,) = all_items
    if isinstance(items, range):
        return len(items), lambda i, j: items[i:j]
    return len(items), lambda i, j: map(operator.getitem, repeat(items), range(i, j))


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
