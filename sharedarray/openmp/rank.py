"""One rank of a block: the constructs that it goes through, one after the other.

Guarantees
    Every item of a loop is run by one rank, once; so is each section, and the block of a `single`.
    A construct that is used where it cannot work (a barrier in a loop or in a critical block, a
    loop left by ``break``) raises RuntimeError in the rank that does so.

Assumptions
    All ranks go through the same constructs in the same order: see `meeting`, which notices if not.

Ownership
    A `Rank` belongs to the thread that runs the body; what ranks share is in the meeting.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

from sharedarray.openmp.loops import (
    Chunk,
    Expand,
    LoopSchedule,
    chunks_of,
    in_parts,
    static_chunks,
)
from sharedarray.openmp.meeting import GLANCE, N_SLOTS, Meeting
from sharedarray.openmp.variables import Places, Variables

__all__ = ["Critical", "Ordered", "Rank", "Single"]


class Rank:
    """One rank of a block.

    Attributes
    ----------
    number : int
        From 0, which is the coordinator.
    pid : int
        The process that it is in.
    inside : list of str
        The critical blocks that it is in.
    loop : str
        The loop that it is in, empty where it is in none.
    turn : Ordered or None
        Of the ordered loop that it is in.
    places : dict
        Where it keeps its variables.
    var : Variables
        The same, as the user sees them.
    """

    def __init__(self, number: int, meeting: Meeting, places: Places) -> None:
        self.number = number
        self.pid = os.getpid()
        self.meeting = meeting
        self.places = places
        self.var = Variables(places)
        self.inside: list[str] = []
        self.loop = ""
        self.turn: Ordered | None = None
        self._n_slots = 0

    def barrier(self) -> None:
        """Meet all ranks."""
        self._begin("barrier")
        self._meet_all()

    def single(self) -> Single:
        """Claim what only one rank does."""
        self._begin("single")
        return Single(self, self.meeting.counters.claim(self._slot()) == 0)

    def run(
        self,
        kind: str,
        n_items: int,
        schedule: LoopSchedule,
        expand: Expand,
        *,
        ordered: bool = False,
        nowait: bool = False,
    ) -> Iterator[Any]:
        """Return an iterator over this rank's part of a loop; it has to be exhausted.

        Parameters
        ----------
        kind : str
            Of the construct.
        n_items : int
            Of the whole loop.
        schedule : LoopSchedule
            Who runs what.
        expand : callable
            Gives what to yield for the items from a start to a stop.
        ordered : bool
            Yield pairs of an item and its `Ordered`.
        nowait : bool
            Do not meet the other ranks at the end.
        """
        self._begin(kind, n_items, schedule, ordered, nowait)
        slot = self._slot() if schedule.is_claimed or ordered else -1
        self.loop = kind
        chunks = self._chunks(schedule, n_items, slot)
        if ordered:
            return self._in_order(chunks, expand, slot, nowait)
        if kind == "forloop":
            chunks = in_parts(chunks, GLANCE)
        return self._in_chunks(chunks, expand, nowait)

    def end(self, where: int) -> None:
        """Leave the block, see `Meeting.end`; raise where it must not end."""
        self._check_loop("the block was left")
        self.meeting.end(self.number, where)

    def _begin(self, kind: str, *facts: object) -> None:
        if self.inside:
            raise RuntimeError(
                f"p.{kind} was met within p.{self.inside[-1]}, which the other ranks may wait for"
            )
        self._check_loop(f"p.{kind} was met")
        self.meeting.meet(self.number, kind, *facts)

    def _check_loop(self, what: str) -> None:
        if self.loop:
            self.meeting.check()  # the body may have caught what has brought it out of the loop
            raise RuntimeError(
                f"{what} within p.{self.loop}, or after it was left before its end: run a loop to "
                "its end (no break), and what all ranks meet outside of it"
            )

    def _slot(self) -> int:
        if self._n_slots == N_SLOTS:
            self._meet_all()
        self._n_slots += 1
        return self._n_slots - 1

    def _meet_all(self) -> None:
        self.meeting.barrier(self.number)
        self._n_slots = 0

    def _chunks(self, schedule: LoopSchedule, n_items: int, slot: int) -> Iterator[Chunk]:
        n_ranks = self.meeting.n_ranks
        if not schedule.is_claimed:
            return static_chunks(schedule, n_items, n_ranks, self.number)
        return self._claimed(chunks_of(schedule, n_items, n_ranks), slot)

    def _claimed(self, chunk_of: Callable[[int], Chunk | None], slot: int) -> Iterator[Chunk]:
        claim = self.meeting.counters.claim
        while (chunk := chunk_of(claim(slot))) is not None:
            yield chunk

    def _in_chunks(self, chunks: Iterator[Chunk], expand: Expand, nowait: bool) -> Iterator[Any]:
        for start, stop in chunks:
            self.meeting.check()
            yield from expand(start, stop)
        self._end_loop(nowait)

    def _in_order(
        self,
        chunks: Iterator[Chunk],
        expand: Expand,
        slot: int,
        nowait: bool,
    ) -> Iterator[Any]:
        for start, stop in chunks:
            self.turn = turn = Ordered(self, slot, start, stop)
            for position, item in enumerate(expand(start, stop), start):
                self.meeting.check()
                turn.starts(position)
                yield item, turn
            turn.pass_on()
        self._end_loop(nowait)

    def _end_loop(self, nowait: bool) -> None:
        self.loop = ""
        self.turn = None
        if not nowait:
            self._meet_all()


class Single:
    """Tell one rank that it is the one; as a ``with`` block, meet all at its end."""

    def __init__(self, rank: Rank, is_chosen: bool) -> None:
        self._rank = rank
        self._is_chosen = is_chosen

    def __bool__(self) -> bool:
        return self._is_chosen

    def __enter__(self) -> bool:
        return self._is_chosen

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        if kind is None:
            self._rank._meet_all()


class Critical:
    """A ``with`` block that one rank at a time is in; called with a name, one of that name."""

    def __init__(self, here: Callable[[], Rank], construct: str, name: str = "") -> None:
        self._here = here
        self._construct = construct
        self._name = name

    def __call__(self, name: str) -> Critical:
        """Return the block of this name."""
        if not isinstance(name, str):
            raise TypeError(f"the name of a critical block must be a str, not {name!r}")
        return Critical(self._here, self._construct, name)

    @property
    def _text(self) -> str:
        return f"{self._construct}({self._name!r})" if self._name else self._construct

    def __enter__(self) -> None:
        rank = self._here()
        if self._text in rank.inside:
            raise RuntimeError(f"p.{self._text} was entered within p.{self._text}")
        rank.meeting.enter(rank.number, self._text)
        rank.inside.append(self._text)

    def __exit__(self, *exc_info: object) -> None:
        rank = self._here()
        rank.inside.remove(self._text)
        rank.meeting.leave(rank.number, self._text)


class Ordered:
    """A ``with`` block that the items of a loop pass in their order; an item may leave it out."""

    def __init__(self, rank: Rank, slot: int, start: int, stop: int) -> None:
        self._rank = rank
        self._slot = slot
        self._start = start
        self._stop = stop
        self._item = start
        self._had_turn = False
        self._has_passed = False

    def starts(self, item: int) -> None:
        """Note which item of the chunk runs."""
        self._item = item
        self._had_turn = False

    def __enter__(self) -> None:
        if self._rank.turn is not self:
            raise RuntimeError("p.ordered was entered after its item")
        if self._had_turn:
            raise RuntimeError(f"p.ordered was entered twice by item {self._item}")
        if self._rank.inside:
            raise RuntimeError(
                f"p.ordered was entered within p.{self._rank.inside[-1]}, which an earlier item "
                "may wait for: enter it within p.ordered instead"
            )
        self._had_turn = True
        self._rank.meeting.await_turn(self._rank.number, self._slot, self._start)

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        if kind is None and self._item + 1 == self._stop:
            self.pass_on()

    def pass_on(self) -> None:
        """Let the next chunk have its turn, once all before this one had theirs."""
        if not self._has_passed:
            self._has_passed = True
            meeting = self._rank.meeting
            meeting.pass_turn(self._rank.number, self._slot, self._start, self._stop)
