"""Who runs which part of a loop: the arithmetic of OpenMP's schedules.

Integers in, chunks out: nothing here runs, waits or is shared. A *claimed* schedule numbers its
chunks 0, 1, 2 ... in the order of the items, and is asked with numbers that ranks have claimed.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

__all__ = [
    "Chunk",
    "LoopSchedule",
    "UserSchedule",
    "chunks_of",
    "is_schedule",
    "parse_schedule",
    "static_chunks",
]

NAMES = ("static", "dynamic", "guided")
Chunk = tuple[int, int]
# What a user may give: a name, or (name, chunk).
UserSchedule = str | tuple[str, int]


class LoopSchedule(NamedTuple):
    """How the items of a loop are dealt out.

    Attributes
    ----------
    name : {"static", "dynamic", "guided"}
        The rule.
    chunk : int
        The number of items in a chunk, the least one for guided; 0 where the user names none.
    """

    name: str
    chunk: int = 0

    @property
    def is_claimed(self) -> bool:
        """Return whether ranks claim their chunks as they go."""
        return self.name != "static"


def is_schedule(value: object) -> bool:
    """Return whether something can be meant as a schedule only."""
    name = value[0] if isinstance(value, tuple) and len(value) == 2 else value
    return isinstance(name, str) and name in NAMES


def parse_schedule(schedule: UserSchedule) -> LoopSchedule:
    """Return what a user means by a schedule.

    Parameters
    ----------
    schedule : str or tuple
        A name, or ``(name, chunk)``.

    Raises
    ------
    TypeError
        If it is neither, or the chunk is no integer.
    ValueError
        If there is no such schedule, or the chunk is less than 1.
    """
    name, *rest = _as_tuple(schedule)
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


def _as_tuple(schedule: object) -> tuple[Any, ...]:
    if isinstance(schedule, str):
        return (schedule,)
    if isinstance(schedule, tuple | list) and schedule and isinstance(schedule[0], str):
        return tuple(schedule)
    raise TypeError(f"schedule must be a name or (name, chunk), not {schedule!r}")


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
    """Return what gives the chunk of a claimed number, None after the last one.

    It has to be asked with growing numbers.
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

    The sizes follow from the number of a chunk alone, so a counter of chunks is all that is
    shared. Each rank goes through them once, however many it claims: ``2 n_ranks log n_items``
    steps or so, until they have the least size and are computed at once.
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
