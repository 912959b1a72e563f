r"""What the ranks of a block share: barriers, turns, critical blocks, and whether they agree.

::

    rank --meet()--> its words: how many constructs it has met, which, and a hash of all of them
    rank --barrier(), enter(), await_turn()--> waits under the mutex --woken--> goes on
    last rank to wait or to leave  -----> all ranks wait or have left: raises
    last rank at a barrier         -----> compares the words: are all at the same construct?

Guarantees
    No rank waits for ever. A rank notes under the mutex what it waits for, and its waker clears
    the note there. So a rank that is about to wait or to leave, and finds that all others wait or
    have left, knows that no wake-up can come, and raises ParallelException. The death of a rank
    wakes those that wait for it, as `primitives` say. A barrier opens only for ranks that have met
    the same constructs with the same arguments.

Assumptions
    See `primitives` and `counters`. One thread of a rank uses this at a time.

Ownership
    The mutex of the primitives guards the words. Each rank alone writes its kind, count and trail,
    without it; others read them after that rank has taken the mutex to wait. Between two barriers
    each construct that claims has a slot of its own, a counter and a turn, which the last rank at
    a barrier clears.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from sharedarray.errors import ParallelException, StopProcessGroup
from sharedarray.openmp.counters import Counters
from sharedarray.workers.primitives import Primitives

__all__ = ["CHECK_INTERVAL", "N_NAMES", "N_SLOTS", "Team", "do_nothing"]

# Seconds between two checks of the others by a rank that works and does not wait.
CHECK_INTERVAL = 0.1
# Constructs that claim, between two barriers: each slot is a descriptor (1.5 us at entry).
N_SLOTS = 8
# Names of critical blocks.
N_NAMES = 64

KINDS = ("start", "barrier", "forloop", "chunks", "single", "sections")
# The first words, and where the others begin.
_STOPPED, _N_HERE, _ROUND = range(3)
_TURN = 3
_NAME = _TURN + N_SLOTS
_HOLDER = _NAME + N_NAMES
_RANKS = _HOLDER + N_NAMES
# The words of each rank: what it waits for, whether and where it has left, what it has met.
_WAITS, _LEFT, _KIND, _COUNT, _TRAIL = range(5)
_N_WORDS = 5
# What a rank may wait for: nothing, all others, the turn of a slot, a critical block.
_NOTHING, _ALL = range(2)
_FOR_TURN = 2
_FOR_NAME = _FOR_TURN + N_SLOTS


class Team:
    """The state that the ranks of one block share.

    `primitives` is called with the numbers of ranks and of words, `counters` with their number.
    """

    def __init__(
        self,
        primitives: Callable[[int, int], Primitives],
        counters: Callable[[int], Counters],
        n_ranks: int,
    ) -> None:
        self.n_ranks = n_ranks
        self.primitives = primitives(n_ranks, _RANKS + _N_WORDS * n_ranks)
        try:
            self.counters = counters(N_SLOTS)
        except BaseException:
            self.primitives.close()
            raise
        self._words = self.primitives.words
        self._is_broken = False
        self._is_closed = False
        # What a rank of this process has found.
        self.failure: ParallelException | None = None
        # Called where a rank finds that the block has failed; raises.
        self.on_stop: Callable[[], None] = _stop
        # Called by `check`, to look for failures of other ranks.
        self.on_check: Callable[[], None] = do_nothing

    def close(self) -> None:
        """Release descriptors and memory once all other ranks have ended; idempotent."""
        if self._is_closed:
            return
        self._is_closed = True
        self._words = list(self._words)  # an exception's frames may keep this object for long
        self.primitives.close()
        self.counters.close()

    def meet(self, rank: int, kind: str, *facts: object) -> None:
        """Note the next construct of a rank, and the arguments that all ranks must agree on."""
        words, base = self._words, _RANKS + _N_WORDS * rank
        words[base + _KIND] = KINDS.index(kind)
        words[base + _COUNT] += 1
        words[base + _TRAIL] = hash((words[base + _TRAIL], kind, facts))

    @property
    def is_stopped(self) -> bool:
        """Return whether the block has failed."""
        return bool(self._words[_STOPPED])

    def check(self) -> None:
        """Raise if the block has failed."""
        if self._words[_STOPPED]:
            self.on_stop()
        self.on_check()

    def barrier(self, rank: int) -> None:
        """Wait until all ranks are here."""
        words = self._words
        with self._mutex():
            words[_N_HERE] += 1
            if words[_N_HERE] == self.n_ranks:
                self.compare()
                for slot in range(N_SLOTS):
                    words[_TURN + slot] = 0
                self.counters.reset()
                words[_N_HERE] = 0
                words[_ROUND] += 1
                self._wake(_ALL)
                return
            this_round = words[_ROUND]
            while words[_ROUND] == this_round:
                self._wait(rank, _ALL)

    def await_turn(self, rank: int, slot: int, turn: int) -> None:
        """Wait until it is this turn of a slot."""
        with self._mutex():
            while self._words[_TURN + slot] != turn:
                self._wait(rank, _FOR_TURN + slot)

    def pass_turn(self, rank: int, slot: int, turn: int, following: int) -> None:
        """Wait for this turn of a slot, and pass it on to the following one."""
        with self._mutex():
            while self._words[_TURN + slot] != turn:
                self._wait(rank, _FOR_TURN + slot)
            self._words[_TURN + slot] = following
            self._wake(_FOR_TURN + slot)

    def enter(self, rank: int, name: str) -> None:
        """Enter the critical block of this name once no rank is inside."""
        with self._mutex():
            position = self._position(name)
            while self._words[_HOLDER + position]:
                self._wait(rank, _FOR_NAME + position)
            self._words[_HOLDER + position] = rank + 1

    def leave(self, rank: int, name: str) -> None:
        """Leave the critical block of this name, also where the block has failed."""
        if self._is_broken:
            return
        with self._mutex(is_leaving=True):
            position = self._position(name)
            self._words[_HOLDER + position] = 0
            self._wake(_FOR_NAME + position, after=rank)

    def end(self, rank: int, where: int) -> None:
        """Leave the block; `where`, 0 or more, tells its end from other ways out."""
        with self._mutex():
            self._words[_RANKS + _N_WORDS * rank + _LEFT] = 1 + where
            if self._n_stuck() == self.n_ranks and self._n_left() < self.n_ranks:
                self._fail("nobody can go on")

    def stop(self) -> None:
        """Mark the block as failed, and wake the threads that wait (see `primitives.stop`)."""
        self._words[_STOPPED] = 1
        self.primitives.stop()

    def compare(self) -> None:
        """Raise if the ranks have not met the same constructs, or not left at one place."""
        if len({self._of(rank, _TRAIL) for rank in range(self.n_ranks)}) > 1:
            self._fail("the ranks have met different constructs, or with different arguments")
        if len({self._of(rank, _LEFT) for rank in range(self.n_ranks)}) > 1:
            self._fail("some ranks have left the block by return, break or continue, others not")

    @contextmanager
    def _mutex(self, *, is_leaving: bool = False) -> Iterator[None]:
        """Hold the mutex. After an exception nothing here can be used again.

        The exception may have left the mutex held or not, the rank counted at a barrier or not.
        """
        if self._is_broken:
            self.check()
            if self.failure is not None:
                raise self.failure
            raise RuntimeError("the block has failed: an exception came out of a construct of it")
        try:
            with self.primitives:
                if not is_leaving:  # else the exception that leaves the block would be replaced
                    self.check()
                yield
        except BaseException:
            self._is_broken = True
            if not self._is_closed:  # else an interrupt has left this context manager as garbage
                raise

    def _wait(self, rank: int, what: int) -> None:
        """Release the mutex until another rank wakes this one; raise if none can."""
        base = _RANKS + _N_WORDS * rank
        self._words[base + _WAITS] = what
        if self._n_stuck() == self.n_ranks:
            self._fail("nobody can go on")
        self.primitives.wait(rank)
        # Also where no wake-up was meant for it: threads all wake, and may find what they need.
        self._words[base + _WAITS] = _NOTHING
        self.check()

    def _wake(self, what: int, after: int | None = None) -> None:
        """Wake the ranks that wait for `what`, or only the next one after the rank `after`."""
        first = 0 if after is None else after + 1
        ranks = [(first + i) % self.n_ranks for i in range(self.n_ranks)]
        waiting = [rank for rank in ranks if self._of(rank, _WAITS) == what]
        if after is not None:
            del waiting[1:]
        if waiting:
            for rank in waiting:
                self._words[_RANKS + _N_WORDS * rank + _WAITS] = _NOTHING
            self.primitives.wake(waiting)

    def _of(self, rank: int, word: int) -> int:
        return self._words[_RANKS + _N_WORDS * rank + word]

    def _n_stuck(self) -> int:
        return sum(1 for r in range(self.n_ranks) if self._of(r, _WAITS) or self._of(r, _LEFT))

    def _n_left(self) -> int:
        return sum(1 for rank in range(self.n_ranks) if self._of(rank, _LEFT))

    def _position(self, name: str) -> int:
        """Return where the words of a critical block are; forked processes have the same hashes."""
        key = hash(name) | 1
        for position in range(N_NAMES):
            if not self._words[_NAME + position]:
                self._words[_NAME + position] = key
            if self._words[_NAME + position] == key:
                return position
        raise RuntimeError(f"a block may have at most {N_NAMES} names of critical blocks")

    def _fail(self, what: str) -> NoReturn:
        places = [self._place(rank) for rank in range(self.n_ranks)]
        self.stop()
        reason = RuntimeError(f"{what}: {'; '.join(places)}")
        self.failure = ParallelException(reason, "", self._odd_one())
        raise self.failure

    def _odd_one(self) -> int:
        """Return a rank that has left where others have not, or that differs from most."""
        places = [(self._of(r, _LEFT), self._of(r, _TRAIL)) for r in range(self.n_ranks)]
        most = max(places, key=places.count)
        ranks = [r for r, (left, _) in enumerate(places) if left and self._n_left() < self.n_ranks]
        ranks += [r for r, place in enumerate(places) if place != most]
        return ranks[0] if ranks else 0

    def _place(self, rank: int) -> str:
        kind, count = KINDS[self._of(rank, _KIND)], self._of(rank, _COUNT)
        where = f"construct {count} ({kind})" if count else "the start"
        what = self._of(rank, _WAITS)
        if self._of(rank, _LEFT):
            return f"rank {rank} has left the block after {where}"
        if what >= _FOR_NAME:
            return f"rank {rank} waits for a critical block after {where}"
        if what >= _FOR_TURN:
            return f"rank {rank} waits for its turn in {where}"
        return f"rank {rank} is at {where}"


def do_nothing() -> None:
    """Do nothing."""


def _stop() -> NoReturn:
    raise StopProcessGroup
