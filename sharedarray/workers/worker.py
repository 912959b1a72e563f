"""One map and its workers: the loop each worker runs, and the constructs used inside the loop.

Guarantees
    `critical`, `ordered` and `local` find their worker by a context variable, innermost map of the
    pool first, so nested maps, several pools and several threads on one pool do not mix. Used
    elsewhere they raise RuntimeError.

Assumptions
    See `backend` for who runs, `sync` for what the workers share.

Ownership
    A `Map` is the state of one call of `MapReduce.map`: its schedule belongs to the workers, its
    results and the iterator of its items to the coordinator. A `Worker` belongs to the one who
    runs it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextvars import Context, ContextVar, copy_context
from itertools import takewhile
from operator import getitem
from time import perf_counter
from traceback import format_exception, format_tb
from typing import Any, NamedTuple

import numpy as np

from sharedarray import config
from sharedarray.errors import WorkerException
from sharedarray.workers.backend import Handle
from sharedarray.workers.sync import Claim, Schedule, Stopped

__all__ = ["Critical", "Local", "Map", "Ordered", "current_workers", "number_map"]

# Seconds. Claims grow while a whole claim takes less than the first, and shrink above the second: a
# claim costs some 10 us, and an item that waits for its turn behind a long claim costs parallelism.
SHORT_CLAIM, LONG_CLAIM = 0.5e-3, 5e-3


class _Results(NamedTuple):
    """What the items of one claim gave, in order."""

    start: int
    values: list[Any]


class _Failure(NamedTuple):
    """What an item raised."""

    reason: BaseException
    traceback: str


class Worker:
    """One worker of one map.

    Attributes
    ----------
    context : contextvars.Context
        A copy of the caller's; each item runs in a copy of it, so that none sees what another one
        has set, on whichever worker.
    storage : dict
        What the work function has stored in `local`.
    item : int
        The position of the item that runs.
    had_turn : bool
        Whether that item has entered the ordered block.
    n_maps : int
        How many maps that item has started.
    """

    def __init__(self, owner: Map, rank: int, context: Context) -> None:
        self.map = owner
        self.rank = rank
        self.context = context
        self.storage: dict[str, Any] = {}
        self.item = 0
        self.had_turn = False
        self.n_maps = 0
        self._claim_stop = 0

    def take(self, claim: Claim) -> None:
        """Make the items of a claim those that run next."""
        self.item = claim.start - 1
        self._claim_stop = claim.stop

    def start_next_item(self) -> None:
        """Make the next item the one that runs."""
        self.item += 1
        self.had_turn = False
        self.n_maps = 0
        self.storage.pop("rng", None)

    def pass_turn(self) -> None:
        """Let later items have their turn."""
        is_last = self.item + 1 == self._claim_stop
        self.map.schedule.passed(self.rank, math.inf if is_last else self.item + 1)


_current: ContextVar[Worker | None] = ContextVar("sharedarray_worker", default=None)


def current_workers() -> list[Worker]:
    """Return the worker that the caller is, then the one in whose map that is, and so on."""
    workers = []
    worker = _current.get()
    while worker is not None:
        workers.append(worker)
        worker = worker.map.outer
    return workers


def number_map(home: Worker | None, numbers: Iterator[int]) -> tuple[int, ...]:
    """Return what tells a map from all others of its pool, whatever the schedule is.

    Parameters
    ----------
    home : Worker or None
        The worker that made the pool, None for one that was made outside of all maps.
    numbers : iterator of int
        Numbers the maps that are started where the pool was made.
    """
    inner = list(takewhile(lambda worker: worker is not home, current_workers()))
    if not inner:
        return (next(numbers),)
    inner[0].n_maps += 1
    path = [number for worker in reversed(inner) for number in (worker.item, worker.n_maps)]
    return (*inner[-1].map.number, *path)


class Map:
    """The state of one call of `MapReduce.map`, with `Map.work` for its workers.

    Parameters
    ----------
    pool : object
        The pool whose constructs the workers use.
    func, reduce, star, chunksize
        As for `MapReduce.map`.
    items : Sequence or Iterator
        An iterator is consumed by the coordinator: `window` items before the workers start, one
        more for each result.
    n_items : int or None
        The length of a sequence.
    n_workers : int
        Workers, at least 1.
    window : int
        How many items of an iterator may be ahead of their results.
    in_caller : bool
        Whether the caller is the worker: then `cpu_count()` stays as it is, and KeyboardInterrupt
        is the user's, no failure of an item.
    debug : bool
        Let exceptions of `func` out as they are.
    number : tuple of int
        What tells this map from all others of the pool, on any schedule.
    """

    def __init__(
        self,
        pool: Any,
        func: Callable[..., Any],
        items: Sequence[Any] | Iterator[Any],
        *,
        reduce: Callable[..., Any] | None,
        star: bool,
        chunksize: int | None,
        n_items: int | None,
        n_workers: int,
        window: int,
        in_caller: bool,
        debug: bool,
        number: tuple[int, ...],
    ) -> None:
        self.pool = pool
        self.number = number
        self.outer = _current.get()
        self._func = func
        self._star = star
        self._reduce = reduce
        self._chunksize = chunksize
        self._let_out: tuple[type[BaseException], ...] = (Stopped,)
        if debug:
            self._let_out = (BaseException,)
        elif in_caller:
            self._let_out = (Stopped, KeyboardInterrupt)
        self._results: dict[int, Any] = {}
        self._iterator = items if isinstance(items, Iterator) else None
        self.schedule: Schedule = Schedule(
            n_workers,
            None if isinstance(items, Iterator) else items,
            n_items or 0,
            self.outer.map.schedule if self.outer is not None else None,
        )
        self._contexts = [copy_context() for _ in range(n_workers)]
        if not in_caller:
            share = config.share_for(n_workers)
            for context in self._contexts:
                context.run(config.inherit_share, share)
        self._feed(window)

    # The coordinator's side.

    def handle(self, report: _Results | _Failure) -> None:
        """Take what a worker reports."""
        if isinstance(report, _Failure):
            raise WorkerException(report.reason, report.traceback) from report.reason
        for item, value in enumerate(report.values, report.start):
            self._results[item] = self._reduced(value)
        self._feed(len(report.values))

    def results(self) -> list[Any]:
        """Return all results in the order of the items."""
        if self.schedule.stopped:  # with the map around this one: some items have not run
            raise Stopped
        return [self._results[item] for item in range(len(self._results))]

    def _reduced(self, value: Any) -> Any:
        if self._reduce is None:
            return value
        return self._reduce(*value) if isinstance(value, tuple) else self._reduce(value)

    def _feed(self, n_items: int) -> None:
        """Let the workers have `n_items` more items of an iterator."""
        if self._iterator is None:
            return
        for _ in range(n_items):
            try:
                item = next(self._iterator)
            except StopIteration:
                self._iterator = None
                self.schedule.finish_feeding()
                return
            self.schedule.feed(item)

    # The workers' side.

    def work(self, rank: int, report: Handle) -> None:
        """Run items until there are none: the whole life of a worker."""
        worker = Worker(self, rank, self._contexts[rank])
        worker.context.run(_current.set, worker)
        size = self._chunksize or 1
        try:
            while claim := self.schedule.claim(rank, size):
                began = perf_counter()
                report(_Results(claim.start, self._run_claim(worker, claim, report)))
                if self._chunksize is None:
                    size = self._next_size(size, perf_counter() - began)
        except Stopped:
            self.schedule.stop()  # the map around this one may have stopped: wake who waits here
        finally:
            # Or the context would keep the map, and the map the context.
            worker.context.run(_current.set, None)

    def _run_claim(self, worker: Worker, claim: Claim, report: Handle) -> list[Any]:
        values: list[Any] = []
        worker.take(claim)
        for i in range(claim.first, claim.first + claim.stop - claim.start):
            if self.schedule.stopped:
                raise Stopped
            worker.start_next_item()
            try:
                run = worker.context.copy().run
                item = run(getitem, claim.items, i)
                args = item if self._star else (item,)
                values.append(run(self._func, *args))
            # The worker's boundary: whatever ends an item, SystemExit included, goes to the
            # coordinator.
            except BaseException as error:
                if isinstance(error, self._let_out):
                    raise
                self.schedule.stop()  # at once: the coordinator may be busy with a result
                report(_Failure(error, _own_traceback(error)))
                raise Stopped from None
            worker.pass_turn()
        return values

    def _next_size(self, size: int, seconds: float) -> int:
        if seconds < SHORT_CLAIM:
            return max(1, min(2 * size, self.schedule.n_left // (4 * len(self._contexts))))
        return max(1, size // 2) if seconds > LONG_CLAIM else size


def _own_traceback(error: BaseException) -> str:
    """Return the traceback as text, from the work function on."""
    frames = error.__traceback__
    inner = frames.tb_next if frames is not None else None
    try:
        return "".join(format_exception(type(error), error, inner or frames))
    except BaseException:  # an exception may be of any class, and its attributes run any code
        return f"{''.join(format_tb(inner or frames))}{type(error).__name__}: <unprintable>"


def _worker_of(pool: Any, construct: str) -> Worker:
    """Return the worker of `pool` that the caller is, in the innermost of its maps."""
    for worker in current_workers():
        if worker.map.pool is pool:
            return worker
    raise RuntimeError(
        f"pool.{construct} belongs to the workers: use it in the function that this pool's map "
        "runs, in the thread that runs it"
    )


class Critical:
    """The ``with`` block that one worker at a time is in, see `MapReduce.critical`."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    def __enter__(self) -> None:
        worker = _worker_of(self._pool, "critical")
        ancestors = current_workers()
        worker.map.schedule.enter(ancestors[0], ancestors)

    def __exit__(self, *exc_info: object) -> None:
        _worker_of(self._pool, "critical").map.schedule.leave()


class Ordered:
    """The ``with`` block that items pass in their order, see `MapReduce.ordered`."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    def __enter__(self) -> None:
        worker = _worker_of(self._pool, "ordered")
        if worker.had_turn:
            raise RuntimeError(f"pool.ordered was entered twice by item {worker.item}")
        if worker.map.schedule.is_inside(current_workers()):
            raise RuntimeError(
                "pool.ordered was entered within pool.critical, which an earlier item may wait "
                "for: enter critical within ordered instead"
            )
        worker.had_turn = True
        worker.map.schedule.await_turn(worker.rank, worker.item)

    def __exit__(self, *exc_info: object) -> None:
        _worker_of(self._pool, "ordered").pass_turn()


class Local:
    """What belongs to the worker that asks, see `MapReduce.local`."""

    _pool: Any

    def __init__(self, pool: Any) -> None:
        object.__setattr__(self, "_pool", pool)

    def __getattr__(self, name: str) -> Any:
        worker = _worker_of(self._pool, "local")
        if name == "rank":
            return worker.rank
        if name == "rng" and name not in worker.storage:
            key = (*worker.map.number, worker.item)
            seeds = np.random.SeedSequence(self._pool.seed, spawn_key=key)
            worker.storage["rng"] = np.random.default_rng(seeds)
        try:
            return worker.storage[name]
        except KeyError:
            raise AttributeError(f"worker {worker.rank} has not set local.{name}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("rank", "rng"):
            raise AttributeError(f"local.{name} is set by the pool")
        _worker_of(self._pool, "local").storage[name] = value

    def __delattr__(self, name: str) -> None:
        getattr(self, name)
        _worker_of(self._pool, "local").storage.pop(name)
