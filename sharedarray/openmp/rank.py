"""One rank of a block, and the constructs that it meets one after the other.

Guarantees
    Each item of a loop, each section, and the block of a `single` runs in one rank, once. A
    construct that cannot work where it is used (a barrier in a loop or in a critical block, a loop
    left by ``break``) raises RuntimeError in that rank.

Assumptions
    All ranks meet the same constructs in the same order; `team` notices if they do not.

Ownership
    A `Rank` belongs to the thread that runs the body; what ranks share is in the `Team`.
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
from sharedarray.openmp.team import CHECK_INTERVAL, N_SLOTS, Team
from sharedarray.openmp.variables import Scope, Variables

__all__ = ["Critical", "Ordered", "Rank", "Single"]


class Rank:
    """One rank of a block; rank 0 is the coordinator."""

    def __init__(self, number: int, team: Team, scope: Scope) -> None:
        self.number = number
        self.pid = os.getpid()
        self.team = team
        self.scope = scope
        self.var = Variables(scope)
        self.inside: list[str] = []  # the critical blocks that it is in
        self.loop = ""  # the kind of the loop that it is in
        self.turn: Ordered | None = None  # of the ordered loop that it is in
        self._n_slots = 0

    def barrier(self) -> None:
        """Wait for all ranks."""
        self._begin("barrier")
        self.wait_for_all()

    def single(self) -> Single:
        """Claim what one rank does."""
        self._begin("single")
        return Single(self, self.team.counters.claim(self._slot()) == 0)

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
        """Return an iterator over this rank's part of a loop, to be run to its end.

        `expand` gives what to yield for the items from a start to a stop. With `ordered`, pairs of
        an item and its `Ordered` are yielded; with `nowait`, the rank does not wait at the end.
        """
        self._begin(kind, n_items, schedule, ordered, nowait)
        slot = self._slot() if schedule.is_claimed or ordered else -1
        self.loop = kind
        chunks = self._chunks(schedule, n_items, slot)
        if ordered:
            return self._in_order(chunks, expand, slot, nowait)
        if kind == "forloop":
            chunks = in_parts(chunks, CHECK_INTERVAL)
        return self._in_chunks(chunks, expand, nowait)

    def end(self, where: int) -> None:
        """Leave the block, see `Team.end`; raise where it must not end."""
        self._check_loop("the block was left")
        self.team.end(self.number, where)

    def wait_for_all(self) -> None:
        """Wait for all ranks, at the end of a construct."""
        self.team.barrier(self.number)
        self._n_slots = 0

    def _begin(self, kind: str, *facts: object) -> None:
        if self.inside:
            raise RuntimeError(
                f"p.{kind} was met within p.{self.inside[-1]}, which the other ranks may wait for"
            )
        self._check_loop(f"p.{kind} was met")
        self.team.meet(self.number, kind, *facts)

    def _check_loop(self, what: str) -> None:
        if self.loop:
            self.team.check()  # the body may have caught what has brought it out of the loop
            raise RuntimeError(
                f"{what} within p.{self.loop}, or after it was left before its end: run a loop to "
                "its end (no break), and what all ranks meet outside of it"
            )

    def _slot(self) -> int:
        if self._n_slots == N_SLOTS:
            self.wait_for_all()
        self._n_slots += 1
        return self._n_slots - 1

    def _chunks(self, schedule: LoopSchedule, n_items: int, slot: int) -> Iterator[Chunk]:
        n_ranks = self.team.n_ranks
        if not schedule.is_claimed:
            return static_chunks(schedule, n_items, n_ranks, self.number)
        return self._claimed(chunks_of(schedule, n_items, n_ranks), slot)

    def _claimed(self, chunk_of: Callable[[int], Chunk | None], slot: int) -> Iterator[Chunk]:
        claim = self.team.counters.claim
        while (chunk := chunk_of(claim(slot))) is not None:
            yield chunk

    def _in_chunks(self, chunks: Iterator[Chunk], expand: Expand, nowait: bool) -> Iterator[Any]:
        for start, stop in chunks:
            self.team.check()
            yield from expand(start, stop)
        self._end_loop(nowait)

    def _in_order(
        self, chunks: Iterator[Chunk], expand: Expand, slot: int, nowait: bool
    ) -> Iterator[Any]:
        for start, stop in chunks:
            self.turn = turn = Ordered(self, slot, start, stop)
            for position, item in enumerate(expand(start, stop), start):
                self.team.check()
                turn.starts(position)
                yield item, turn
            turn.pass_on()
        self._end_loop(nowait)

    def _end_loop(self, nowait: bool) -> None:
        self.loop = ""
        self.turn = None
        if not nowait:
            self.wait_for_all()


class Single:
    """True in the rank that was chosen; as a ``with`` block, all ranks wait at its end."""

    def __init__(self, rank: Rank, is_chosen: bool) -> None:
        self._rank = rank
        self._is_chosen = is_chosen

    def __bool__(self) -> bool:
        return self._is_chosen

    def __enter__(self) -> bool:
        return self._is_chosen

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        if kind is None:
            self._rank.wait_for_all()


class Critical:
    """A ``with`` block for one rank at a time; called with a name, for one in that name."""

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
        rank.team.enter(rank.number, self._text)
        rank.inside.append(self._text)

    def __exit__(self, *exc_info: object) -> None:
        rank = self._here()
        rank.inside.remove(self._text)
        rank.team.leave(rank.number, self._text)


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
        self._rank.team.await_turn(self._rank.number, self._slot, self._start)

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        if kind is None and self._item + 1 == self._stop:
            self.pass_on()

    def pass_on(self) -> None:
        """Give the turn to the next chunk, after those before this one have had theirs."""
        if not self._has_passed:
            self._has_passed = True
            self._rank.team.pass_turn(self._rank.number, self._slot, self._start, self._stop)
