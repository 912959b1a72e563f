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
from contextvars import ContextVar
from time import perf_counter
from traceback import format_exception
from typing import Any, NamedTuple

import numpy as np

from sharedarray import config
from sharedarray.errors import WorkerException
from sharedarray.workers.backend import Handle
from sharedarray.workers.sync import Claim, Schedule, Stopped

__all__ = ["Critical", "Local", "Map", "Ordered"]

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
    storage : dict
        What the work function has stored in `local`.
    item : int
        The position of the item that runs.
    """

    def __init__(self, owner: Map, rank: int, outer: Worker | None) -> None:
        self.map = owner
        self.rank = rank
        self.outer = outer
        self.storage: dict[str, Any] = {}
        self.item = 0
        self.claim_stop = 0
        self.in_critical = False
        self.had_turn = False

    def start_item(self, item: int) -> None:
        """Make `item` the one that runs."""
        self.item = item
        self.had_turn = False
        self.storage.pop("rng", None)

    def pass_turn(self) -> None:
        """Let later items have their turn."""
        last = self.item + 1 == self.claim_stop
        self.map.schedule.passed(self.rank, math.inf if last else self.item + 1)


_current: ContextVar[Worker | None] = ContextVar("sharedarray_worker", default=None)


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
    n_workers : int
        Workers, at least 1.
    window : int
        How many items of an iterator may be ahead of their results.
    share : int or None
        What `cpu_count()` is in a worker; None leaves it as it is.
    debug : bool
        Let exceptions of `func` out as they are.
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
        n_workers: int,
        window: int,
        share: int | None,
        debug: bool,
        seeds: Callable[[int], np.random.SeedSequence],
    ) -> None:
        self.pool = pool
        self._func: Callable[..., Any] = (lambda item: func(*item)) if star else func
        self._reduce = reduce
        self._chunksize = chunksize
        self._n_workers = n_workers
        self._share = share
        self._debug = debug
        self.seeds = seeds
        self._results: dict[int, Any] = {}
        self._iterator = items if isinstance(items, Iterator) else None
        self.schedule = Schedule(n_workers, None if isinstance(items, Iterator) else items)
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
        worker = Worker(self, rank, _current.get())
        token = _current.set(worker)
        try:
            if self._share is not None:
                config.inherit_share(self._share)
            size = self._chunksize or 1
            while claim := self.schedule.claim(rank, size):
                began = perf_counter()
                self._run_claim(worker, claim, report)
                if self._chunksize is None:
                    size = self._next_size(size, perf_counter() - began)
        except Stopped:
            pass
        finally:
            _current.reset(token)

    def _run_claim(self, worker: Worker, claim: Claim, report: Handle) -> None:
        worker.claim_stop = claim.start + len(claim.items)
        values: list[Any] = []
        for i in range(len(claim.items)):
            worker.start_item(claim.start + i)
            try:
                values.append(self._func(claim.items[i]))
            # The worker's boundary: whatever ends an item, SystemExit included, goes to the
            # coordinator.
            except BaseException as error:
                if self._debug or isinstance(error, Stopped):
                    raise
                report(_Failure(error, _own_traceback(error)))
                raise Stopped from None
            worker.pass_turn()
            if self.schedule.stopped:
                raise Stopped
        report(_Results(claim.start, values))

    def _next_size(self, size: int, seconds: float) -> int:
        if seconds < SHORT_CLAIM:
            return max(1, min(2 * size, self.schedule.n_left // (4 * self._n_workers)))
        return max(1, size // 2) if seconds > LONG_CLAIM else size


def _own_traceback(error: BaseException) -> str:
    """Return the traceback as text, from the work function on."""
    frames = error.__traceback__
    inner = frames.tb_next if frames is not None else None
    return "".join(format_exception(type(error), error, inner or frames))


def _worker_of(pool: Any, construct: str) -> Worker:
    """Return the worker of `pool` that the caller is."""
    worker = _current.get()
    while worker is not None and worker.map.pool is not pool:
        worker = worker.outer
    if worker is None:
        raise RuntimeError(
            f"pool.{construct} belongs to the workers: use it in the function that this pool's map "
            "runs, in the thread that runs it"
        )
    return worker


class Critical:
    """The ``with`` block that one worker at a time is in, see `MapReduce.critical`."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    def __enter__(self) -> None:
        worker = _worker_of(self._pool, "critical")
        if worker.in_critical:
            raise RuntimeError("pool.critical was entered within pool.critical by the same worker")
        worker.map.schedule.enter(worker.rank)
        worker.in_critical = True

    def __exit__(self, *exc_info: object) -> None:
        worker = _worker_of(self._pool, "critical")
        worker.in_critical = False
        worker.map.schedule.leave()


class Ordered:
    """The ``with`` block that items pass in their order, see `MapReduce.ordered`."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    def __enter__(self) -> None:
        worker = _worker_of(self._pool, "ordered")
        if worker.had_turn:
            raise RuntimeError(f"pool.ordered was entered twice by item {worker.item}")
        if worker.in_critical:
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
            worker.storage["rng"] = np.random.default_rng(worker.map.seeds(worker.item))
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
