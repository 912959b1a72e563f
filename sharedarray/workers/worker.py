"""One worker of one map: its state, and the loop that it runs.

Guarantees
    A worker runs its items in their order, each in a copy of the caller's context. An exception of
    an item, of any class, is reported and ends the map.

Assumptions
    See `crew` for what runs the loop, `constructs` for what the workers share.

Ownership
    A `Worker` belongs to the thread or process that runs it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextvars import Context, ContextVar
from itertools import takewhile
from operator import getitem
from time import perf_counter
from typing import Any

import numpy as np

from sharedarray.errors import StopProcessGroup
from sharedarray.workers.crew import Report
from sharedarray.workers.reports import Claim, Failure, Results, text_of_traceback

__all__ = [
    "Worker",
    "WorkerMap",
    "WorkerSchedule",
    "current_worker",
    "current_workers",
    "next_size",
    "number_map",
    "reseed",
    "run_worker",
    "unsent",
]

# Seconds. Claims grow while a whole claim takes less than the first, and shrink above the second: a
# claim costs some 10 us, and an item that waits for its turn behind a long claim costs parallelism.
SHORT_CLAIM, LONG_CLAIM = 0.5e-3, 5e-3


class WorkerSchedule:
    """What the workers of a map share, see `Schedule`; here of workers that cannot wait."""

    @property
    def stopped(self) -> bool:
        """Return whether no worker may start another item."""
        raise NotImplementedError

    def stop(self) -> None:
        """Let no worker start another item, and wake those that wait here."""
        raise NotImplementedError

    def starts(self, rank: int, item: int | None) -> None:
        """Note which item a worker runs, or whose result it sends; None for none."""

    def passed(self, rank: int) -> None:
        """Note that no item of the worker's claim wants a turn any more."""

    def await_turn(self, rank: int, item: int) -> None:
        """Wait until no earlier item can want a turn."""
        raise NotImplementedError

    def enter(self) -> None:
        """Enter the critical block, once no other worker is inside."""
        raise NotImplementedError

    def leave(self) -> None:
        """Leave the critical block."""

    def reaches_here(self) -> bool:
        """Return whether `await_turn` and `enter` work in this process, or raise themselves."""
        return True


class WorkerMap:
    """What workers and their crew need of a map, see `MapCall`; by default of a remote one."""

    pool: Any
    func: Callable[..., Any]
    star: bool
    number: tuple[int, ...]
    n_workers: int
    schedule: WorkerSchedule
    outer: Worker | None = None  # that runs the map
    engine: Any = None
    sequence: Any = None
    chunksize: int | None = 1
    let_out: tuple[type[BaseException], ...] = ()  # what comes out of items as it is

    @property
    def n_left(self) -> int:
        """Return how many items of the sequence are not claimed yet."""
        return 0

    def item_of(self, rank: int) -> int | None:
        """Return the item that a worker runs, None where it runs none."""
        return None

    def prepare(self, rank: int) -> None:
        """Give a new process random numbers and a number of workers of its own."""


class Worker:
    """One worker of one map; each item runs in a copy of its context and sees no other's changes.

    Its attributes are what `constructs` and the maps within need.
    """

    def __init__(self, owner: WorkerMap, rank: int, context: Context) -> None:
        self.map = owner
        self.rank = rank
        self.context = context
        self.pid = os.getpid()
        self.storage: dict[str, Any] = {}  # of `local`
        self.inside: list[WorkerSchedule] = []  # whose critical blocks it is in
        # The position of the item that runs, whether it has entered the ordered block, and how many
        # maps it has started.
        self.item = 0
        self.had_turn = False
        self.n_maps = 0
        self._claim_stop = 0

    def run(self, claim: Claim) -> Results | Failure:
        """Run the items of a claim, until one fails."""
        owner = self.map
        values = []
        self._claim_stop = claim.stop
        began = perf_counter()
        for i in range(claim.start, claim.stop):
            if owner.schedule.stopped:
                raise StopProcessGroup
            self._start(i)
            try:
                run = self.context.copy().run
                if claim.items is None:
                    item = run(getitem, owner.sequence, i)
                else:
                    item = claim.items[i - claim.start]
                args = item if owner.star else (item,)
                values.append(run(owner.func, *args))
            except BaseException as error:  # the worker's boundary: SystemExit is reported, too
                if self._lets_out(error):
                    raise
                owner.schedule.stop()  # at once: the coordinator may be busy with a result
                return Failure(error, text_of_traceback(error))
        owner.schedule.passed(self.rank)
        return Results(claim.start, values, began, perf_counter())

    def _lets_out(self, error: BaseException) -> bool:
        """Return whether an exception is no failure of the item."""
        if isinstance(error, StopProcessGroup):
            return self.map.schedule.stopped
        # A process that the item has forked, and that has returned to here, is no worker.
        return isinstance(error, self.map.let_out) or os.getpid() != self.pid

    def _start(self, item: int) -> None:
        self.item = item
        self.had_turn = False
        self.n_maps = 0
        self.storage.pop("rng", None)
        self.map.schedule.starts(self.rank, item)

    def pass_turn(self) -> None:
        """Let the items after its claim have their turn, if this is the last one of it."""
        if self.item + 1 == self._claim_stop:
            self.map.schedule.passed(self.rank)


def run_worker(
    owner: WorkerMap, rank: int, context: Context, next_claim: Callable[[int], Claim | None]
) -> Iterator[Report]:
    """Run the claims that ``next_claim(size)`` returns, until it returns None."""
    worker = Worker(owner, rank, context)
    context.run(_current.set, worker)
    size = owner.chunksize or 1
    try:
        while claim := next_claim(size):
            report = worker.run(claim)
            yield report
            if isinstance(report, Failure):
                return
            if owner.chunksize is None:
                size = next_size(size, report.ended - report.began, owner.n_left // owner.n_workers)
            owner.schedule.starts(rank, None)
    except StopProcessGroup:
        owner.schedule.stop()  # the map around this one may have stopped: wake those that wait here
    finally:
        # Or the context would keep the map, and the map the context.
        context.run(_current.set, None)


def unsent(
    results: Results, error: BaseException, what: str, copy: Callable[[Any], object]
) -> Failure:
    """Return the failure of the first item whose result does not pickle.

    All have raised `error`; ``copy(result)`` tries one, and `what` says what it is.
    """
    number = results.start
    for item, value in enumerate(results.values, results.start):
        try:
            copy(value)
        except BaseException as found:  # pickling runs any code of the results
            number, error = item, found
            break
    text = f"{what} {number} does not pickle and unpickle:\n{text_of_traceback(error)}"
    return Failure(error, text)


def next_size(size: int, seconds: float, n_left: int) -> int:
    """Return how many items to claim after a claim of `size` has taken `seconds`.

    For each worker `n_left` items are left.
    """
    if seconds < SHORT_CLAIM:
        return max(1, min(2 * size, n_left // 4))
    return max(1, size // 2) if seconds > LONG_CLAIM else size


_current: ContextVar[Worker | None] = ContextVar("sharedarray_worker", default=None)


def current_worker() -> Worker | None:
    """Return the worker that the caller runs in, of the innermost map."""
    return _current.get()


def current_workers() -> list[Worker]:
    """Return the worker that the caller runs in, then the one that runs its map, and so on."""
    workers = []
    worker = _current.get()
    while worker is not None:
        workers.append(worker)
        worker = worker.map.outer
    return workers


def number_map(home: Worker | None, numbers: Iterator[int]) -> tuple[int, ...]:
    """Return the number of a new map of a pool, the same in every run.

    The pool was made in the worker `home`, None outside of all maps; the maps that are started
    there too are counted by `numbers`.
    """
    inner = list(takewhile(lambda worker: worker is not home, current_workers()))
    if not inner:
        return (next(numbers),)
    inner[0].n_maps += 1
    path = [number for worker in reversed(inner) for number in (worker.item, worker.n_maps)]
    return (*inner[-1].map.number, *path)


def reseed(seed: int | Sequence[int], key: tuple[int, ...]) -> None:
    """Give NumPy's global generator a stream of its own, by the pool's seed and a key.

    Forked workers would all draw the same.
    """
    if "numpy.random" not in sys.modules:
        return
    seeds = np.random.SeedSequence(seed, spawn_key=key)
    # Not np.random.seed, which takes a lock that another thread may have had at the fork.
    np.random.set_bit_generator(  # type: ignore[attr-defined]  # left out of the stubs
        np.random.MT19937(seeds)
    )
