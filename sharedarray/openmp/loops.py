"""The loops of a block: which items they have, and which rank runs which part of them.

Integers in, chunks out: nothing here runs, waits or is shared. A *claimed* schedule numbers its
chunks 0, 1, 2 ... in the order of the items; ranks claim the numbers and ask for their chunks.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import repeat
from math import prod
from time import monotonic
from typing import Any, NamedTuple

from sharedarray.workers.arguments import items_of

__all__ = [
    "Chunk",
    "Expand",
    "LoopSchedule",
    "UserSchedule",
    "chunks_of",
    "in_parts",
    "loop_over",
    "parse_schedule",
    "range_of",
    "static_chunks",
]

NAMES = ("static", "dynamic", "guided")
# The most items of a part; to begin a part takes 0.3 us.
MOST = 32

Chunk = tuple[int, int]
# Gives the items from a start to a stop.
Expand = Callable[[int, int], Iterable[Any]]
# What a user may give: a name, or (name, chunk).
UserSchedule = str | tuple[str, int]


class LoopSchedule(NamedTuple):
    """How the ranks share the items of a loop."""

    name: str
    # Items in a chunk, the least number for guided; 0 where the user gives none.
    chunk: int = 0

    @property
    def is_claimed(self) -> bool:
        """Return whether ranks claim their chunks as they go."""
        return self.name != "static"


def parse_schedule(schedule: UserSchedule) -> LoopSchedule:
    """Return the schedule that a user gives; TypeError or ValueError says what is wrong with it."""
    words: Any = (schedule,) if isinstance(schedule, str) else schedule
    if not (isinstance(words, tuple | list) and words and isinstance(words[0], str)):
        raise TypeError(f"schedule must be a name or (name, chunk), not {schedule!r}")
    name, *rest = words
    if name not in NAMES or len(rest) > 1:
        raise ValueError(
            f"schedule must be one of {', '.join(NAMES)}, or (name, chunk), not {schedule!r}"
        )
    if not rest:
        return LoopSchedule(name)
    chunk = operator.index(rest[0])
    if chunk < 1:
        raise ValueError(f"the chunk of a schedule must be at least 1, not {chunk}")
    return LoopSchedule(name, chunk)


def range_of(n: int) -> range:
    """Return ``range(n)``; raise if `n` is no length."""
    length = operator.index(n)
    if length < 0:
        raise ValueError(f"the length of a loop must be 0 or more, not {length}")
    return range(length)


def loop_over(sequences: Sequence[Any]) -> tuple[int, Expand]:
    """Return the number of items, and a function that gives those from a start to a stop."""
    if not sequences:
        raise TypeError("p.forloop needs something to loop over")
    for each in sequences[1:]:
        if _is_schedule(each):  # and not something to collapse the loop with
            raise TypeError(f"a schedule is given by its name: schedule={each!r}")
    all_items = [_items(each) for each in sequences]
    if len(all_items) > 1:
        lengths = [len(items) for items in all_items]
        return prod(lengths), lambda i, j: (_tuple_at(all_items, lengths, k) for k in range(i, j))
    (items,) = all_items
    if isinstance(items, range):
        return len(items), lambda i, j: items[i:j]
    return len(items), lambda i, j: map(operator.getitem, repeat(items), range(i, j))


def _is_schedule(value: object) -> bool:
    """Return whether a value can only be meant as a schedule."""
    name = value[0] if isinstance(value, tuple) and len(value) == 2 else value
    return isinstance(name, str) and name in NAMES


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


def in_parts(chunks: Iterable[Chunk], seconds: float) -> Iterator[Chunk]:
    """Yield chunks, long ones in parts of less than `seconds`, or of `MOST` items.

    Between parts a rank can check the others. The time of a part sets the length of the next one;
    slow items may follow quick ones, so there is a most.
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


def static_chunks(schedule: LoopSchedule, n_items: int, n_ranks: int, rank: int) -> Iterator[Chunk]:
    """Yield the chunks of one rank: one of about equal size, or every `n_ranks`-th one."""
    if not schedule.chunk:
        start, stop = n_items * rank // n_ranks, n_items * (rank + 1) // n_ranks
        if start < stop:
            yield start, stop
        return
    size = schedule.chunk
    for start in range(rank * size, n_items, n_ranks * size):
        yield start, min(start + size, n_items)


def chunks_of(schedule: LoopSchedule, n_items: int, n_ranks: int) -> Callable[[int], Chunk | None]:
    """Return a function from a claimed number to its chunk, None after the last one.

    Call it with growing numbers.
    """
    size = schedule.chunk or 1
    if schedule.name == "guided":
        return _Guided(size, n_items, n_ranks)

    def chunk(number: int) -> Chunk | None:
        start = number * size
        return (start, min(start + size, n_items)) if start < n_items else None

    return chunk


class _Guided:
    """Chunks that shrink with what is left: half of a rank's share of it, and at least `size`.

    The sizes follow from the number of a chunk alone, so ranks share nothing but a counter. Each
    rank walks through the sizes once, however many chunks it claims: ``2 n_ranks log n_items``
    steps or so, until they reach the least size; from there on the chunk is computed at once.
    """

    def __init__(self, size: int, n_items: int, n_ranks: int) -> None:
        self._size = size
        self._n_items = n_items
        self._n_parts = 2 * n_ranks
        self._number = 0  # of the chunk that begins at `_start`
        self._start = 0

    def __call__(self, number: int) -> Chunk | None:
        while self._number < number and (size := self._size_here()) > self._size:
            self._number += 1
            self._start += size
        size = self._size_here() if self._number == number else self._size
        start = self._start + (number - self._number) * self._size
        return (start, min(start + size, self._n_items)) if start < self._n_items else None

    def _size_here(self) -> int:
        return max(self._size, -(-(self._n_items - self._start) // self._n_parts))
