"""One call of `MapReduce.map` or `imap`: the coordinator's side.

::

    sequence  --counter--> claims ---> workers --results of a claim--> run() --> map, imap
    iterator  --grants---> claims -/                    ^                           |
    imap      --grants---> claims -/                    +------ delivered() <-------+

Guarantees
    An iterator is asked for items in the coordinator, one claim for each worker ahead, and only
    while no result waits to be handled. At most `window` granted claims are ahead of their
    delivery. The workers end with `run`, whatever ends it.

Assumptions
    See `crew` for what runs the workers, `worker` for what one does.

Ownership
    The schedule belongs to the workers, all else, the iterator included, to the coordinator.
    Worker processes only read their copies.
"""

from __future__ import annotations

import time
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from contextvars import copy_context
from itertools import islice
from typing import Any, NamedTuple, NoReturn

from sharedarray import config
from sharedarray.errors import StopProcessGroup, WorkerDied
from sharedarray.workers.backend import Backend
from sharedarray.workers.constructs import Schedule
from sharedarray.workers.crew import Crew, NextClaim, NothingYet, Report, worker_exception
from sharedarray.workers.reports import Claim, Failure, Results
from sharedarray.workers.worker import WorkerMap, current_worker, next_size, reseed, run_worker

__all__ = ["MapCall", "Span"]

# Seconds to fetch the items of a claim from an iterator, after the first one.
FETCH_SECONDS = 0.01
# Taken for the length of an iterator: a claim has at most a quarter of a worker's share.
ITERATOR_LENGTH = 1 << 16


class Span(NamedTuple):
    """Which worker ran which items when: what `MapReduce` passes to `trace`.

    Attributes
    ----------
    rank : int
        The worker.
    start, stop : int
        The items.
    began, ended : float
        Seconds of `time.perf_counter`.
    """

    rank: int
    start: int
    stop: int
    began: float
    ended: float


class MapCall(WorkerMap):
    """The state of one map, with `run` for its coordinator and `work` for its workers.

    Parameters
    ----------
    pool, func, star, chunksize, timeout
        The pool, and the arguments of its `map`.
    items, n_items
        A sequence and its length, read once; or an iterator and None.
    n_workers, backend
        At least 1 worker, and what runs it.
    is_lazy : bool
        Whether results are asked for one by one, so that workers must not run far ahead.
    number : tuple of int
        The number of this map in its pool, the same in every run.
    """

    def __init__(
        self,
        pool: Any,
        func: Callable[..., Any],
        items: Sequence[Any] | Iterator[Any],
        *,
        star: bool,
        chunksize: int | None,
        timeout: float | None,
        n_items: int | None,
        n_workers: int,
        backend: type[Backend] | Backend,
        is_lazy: bool,
        number: tuple[int, ...],
    ) -> None:
        self.pool = pool
        self.number = number
        self.func = func
        self.star = star
        self.chunksize = chunksize
        self.n_workers = n_workers
        self.outer = current_worker()
        self.engine = backend.engine
        self._backend = backend
        # 30 years are for ever; no clock counts much longer times.
        self._timeout = None if timeout is None or timeout >= 1e9 else float(timeout)
        self._began = time.monotonic()
        self._iterator = items if isinstance(items, Iterator) else None
        self.sequence = items
        self.n_items = n_items
        if config.get_debug():
            self.let_out = (BaseException,)
        elif not backend.is_parallel:  # the caller is the worker: Ctrl-C is the user's
            self.let_out = (KeyboardInterrupt,)
        is_granted = backend.is_granting or is_lazy or self._iterator is not None
        self.schedule: Schedule = Schedule(
            backend.primitives,
            n_workers,
            None if is_granted else self.n_items,
            self.outer.map.schedule if self.outer is not None else None,
        )
        self._contexts = [copy_context() for _ in range(n_workers)]
        self._share = config.share_for(n_workers)
        if backend.is_parallel:
            for context in self._contexts:
                context.run(config.inherit_share, self._share)
        self._n_done = 0
        # Of granted claims: the number of their items, the size of the next one, the ranks that
        # wait for one, the number of those ahead of delivery, and those that are not granted yet.
        self._n_planned = 0
        self._size = chunksize or 1
        self._idle: deque[int] = deque(range(n_workers) if is_granted else ())
        self._window = 2 * n_workers if backend.is_parallel else 1
        self._n_ahead = 0
        self._fetched: deque[Claim] = deque()
        # The claims that run: shared arrays in them must live until the workers have them.
        self._granted: dict[int, Claim] = {}

    # The coordinator's side.

    def run(self) -> Generator[Results]:
        """Yield the results, as they arrive; raises as `MapReduce.map` does."""
        crew: Crew | None = None
        try:
            crew = self._backend.crew(self)
            crew.start(self.work)
            while True:
                self._grant(crew)
                received = self._receive(crew)
                if received is None:
                    break
                rank, report = received
                if isinstance(report, Failure):
                    self._fail(report)
                else:
                    self._take(rank, report)
                    yield report
                del received, report  # or a large one would be alive when the next is received
            if not self._is_complete:  # the map around this one has stopped
                raise StopProcessGroup
        except WorkerDied as death:
            if not self._is_complete:
                raise
            warnings.warn(f"all results are there, but {death}", RuntimeWarning, stacklevel=3)
        finally:
            # Closed twice, see `interrupts`.
            try:
                if crew is not None:
                    crew.end()
            finally:
                if crew is not None:
                    crew.abandon()
                self.schedule.close()

    def delivered(self) -> None:
        """Note that the user has the results of one claim."""
        self._n_ahead -= 1

    def _take(self, rank: int, results: Results) -> None:
        stop = results.start + len(results.values)
        self._n_done += len(results.values)
        self._granted.pop(rank, None)
        if self.schedule.is_granted:
            self._idle.append(rank)
            if self.chunksize is None and (self._backend.is_granting or self.n_items is not None):
                n_left = ITERATOR_LENGTH if self.n_items is None else self.n_items - self._n_planned
                seconds = (results.ended - results.began) / self._backend.claim_cost
                self._size = next_size(self._size, seconds, n_left // self.n_workers)
        if self.pool.trace is not None:
            self.pool.trace(Span(rank, results.start, stop, results.began, results.ended))

    def _fail(self, failure: Failure) -> None:
        if failure.warning is not None:
            warnings.warn(failure.warning, stacklevel=4)
        raise worker_exception(failure)

    @property
    def _is_complete(self) -> bool:
        if self.schedule.is_granted:
            return self._is_exhausted and self._n_done == self._n_planned
        return self._n_done == self.n_items

    @property
    def _is_exhausted(self) -> bool:
        """Whether all claims are granted."""
        if self.n_items is None:
            return self._iterator is None and not self._fetched
        return self._n_planned == self.n_items

    def _receive(self, crew: Crew) -> tuple[int, Report] | None:
        """Return the next report; fetch items from the iterator while there is none."""
        if self._seconds_left() == 0 and not self._is_complete:
            self._time_out()  # also where reports keep coming
        while self._may_fetch():
            with suppress(NothingYet):
                return crew.receive(0)
            if self._seconds_left() == 0:
                break
            self._fetch()
            self._grant(crew)
        try:
            return crew.receive(self._seconds_left())
        except NothingYet:
            self._time_out()

    def _time_out(self) -> NoReturn:
        raise TimeoutError(f"the results were not there after {self._timeout} s") from None

    def _seconds_left(self) -> float | None:
        if self._timeout is None:
            return None
        return max(0.0, self._began + self._timeout - time.monotonic())

    def _may_fetch(self) -> bool:
        n_spare = self.n_workers if self._backend.is_parallel else 0
        return (
            self._iterator is not None
            and self._n_ahead < self._window
            and len(self._fetched) < n_spare + len(self._idle)
        )

    def _fetch(self) -> None:
        """Take the next claim from the iterator, if there is one."""
        items: list[Any] = []
        latest = time.monotonic() + FETCH_SECONDS
        for item in islice(self._iterator or (), self._size):
            items.append(item)
            # Items that are there must not wait for those that take long.
            if self.chunksize is None and time.monotonic() >= latest:
                break
        else:
            if len(items) < self._size:
                self._iterator = None
        if items:
            self._fetched.append(self._plan(len(items), items))

    def _plan(self, n_items: int, items: list[Any] | None = None) -> Claim:
        start = self._n_planned
        self._n_planned += n_items
        self._n_ahead += 1
        return Claim(start, self._n_planned, items)

    def _grant(self, crew: Crew) -> None:
        """Grant claims to the workers that wait for one."""
        while self._idle and (claim := self._next_claim()) is not None:
            rank = self._idle.popleft()
            self.schedule.grant(rank, claim.start)
            self._granted[rank] = claim
            crew.grant(rank, claim)
        if self._is_exhausted:
            while self._idle:
                crew.grant(self._idle.popleft(), None)

    def _next_claim(self) -> Claim | None:
        """Return the next claim to be granted, None where there is none yet, or no more."""
        if self._fetched:
            return self._fetched.popleft()
        if self.n_items is None or self._is_exhausted or self._n_ahead >= self._window:
            return None
        return self._plan(min(self._size, self.n_items - self._n_planned))

    # The workers' side.

    def work(self, rank: int, next_claim: NextClaim) -> Iterator[Report]:
        """Yield what the worker of that rank has to report."""
        schedule = self.schedule

        def next_of(size: int) -> Claim | None:
            return next_claim() if schedule.is_granted else schedule.claim(rank, size)

        return run_worker(self, rank, self._contexts[rank], next_of)

    @property
    def n_left(self) -> int:
        """Return how many items of the sequence are not claimed yet."""
        return self.schedule.n_left

    def item_of(self, rank: int) -> int | None:
        """Return the item that a worker runs, None where it runs none."""
        return self.schedule.item_of(rank)

    def prepare(self, rank: int) -> None:
        """Give a new process random numbers and a number of workers of its own."""
        reseed(self.pool.seed, (*self.number, rank, 0))
        config.set_num_workers(self._share)  # for threads that start in it, without our context
