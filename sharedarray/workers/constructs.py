"""What the workers of one map share, and what a work function uses of it: critical, ordered, local.

::

    counter of items --claim--> worker --`with pool.ordered`---> turn, in item order
    coordinator     --grant-->         --`with pool.critical`--> one at a time

Guarantees
    Items are claimed in order, each one once. An item's turn comes when no earlier item can still
    want one: all of them were claimed before it, and each has left its ordered block or ended
    without one. A map stops with the map around it: its workers see that before their next item,
    and wake those that wait. A construct finds its worker by a context variable, innermost map of
    the pool first, so nested maps, several pools and several threads on one pool do not mix; used
    elsewhere it raises RuntimeError.

Assumptions
    See `primitives`. A worker that dies ends the map.

Ownership
    The mutex of the primitives guards the words. `pending` has one a worker: the first item of its
    claim, until no item of the claim can want a turn any more. Only the worker writes it, or the
    coordinator while the worker waits for a claim to be granted. A claim is contiguous, so no item
    of another claim can have its turn before its last item has passed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sharedarray.errors import StopProcessGroup
from sharedarray.workers.primitives import Primitives
from sharedarray.workers.reports import Claim
from sharedarray.workers.worker import Worker, WorkerSchedule, current_workers

__all__ = ["Constructs", "Schedule"]

# A worker without an item; larger than any position.
NONE = (1 << 63) - 1

# The first words; after them, `pending` and `current` have one for each worker.
_CLAIMED, _STOPPED, _USES_ORDERED = range(3)
_PENDING = 3


class Schedule(WorkerSchedule):
    """The state that the workers of one map share.

    `make` makes the primitives from the numbers of workers and of words; `claim` gives out
    `n_items`, None where the coordinator grants all claims; `outer` belongs to the map whose worker
    runs this map.
    """

    def __init__(
        self,
        make: Callable[[int, int], Primitives],
        n_workers: int,
        n_items: int | None,
        outer: WorkerSchedule | None = None,
    ) -> None:
        self._n_workers = n_workers
        self._n_items = n_items or 0
        self.is_granted = n_items is None
        self._outer = outer
        self._primitives = make(n_workers, _PENDING + 2 * n_workers)
        self._words = self._primitives.words
        self._current = _PENDING + n_workers
        for word in range(_PENDING, len(self._words)):
            self._words[word] = NONE

    # The coordinator's side.

    def grant(self, rank: int, start: int) -> None:
        """Note that a worker without a claim is going to have one that starts here.

        Without the mutex: no turn comes because of it, and no later item is granted yet.
        """
        self._words[_PENDING + rank] = start

    def stop(self) -> None:
        """Let no worker start another item, and wake those that wait here."""
        self._words[_STOPPED] = 1
        self._primitives.stop()

    @property
    def stopped(self) -> bool:
        """Return whether no worker may start another item."""
        return bool(self._words[_STOPPED]) or (self._outer is not None and self._outer.stopped)

    def item_of(self, rank: int) -> int | None:
        """Return the item that a worker runs, None where it runs none."""
        item = self._words[self._current + rank]
        return None if item == NONE else item

    def close(self) -> None:
        """Give back what the kernel keeps; all workers have ended."""
        self._words = list(self._words)  # an exception's frames may keep this object for long
        self._primitives.close()

    # The workers' side.

    @property
    def n_left(self) -> int:
        """Return how many items are not claimed yet."""
        return self._n_items - self._words[_CLAIMED]

    def claim(self, rank: int, size: int) -> Claim | None:
        """Claim the next `size` items, or what is left; None at the end of the map."""
        with self._primitives:
            if self._words[_USES_ORDERED]:  # see `passed`
                self._primitives.wake()
            if self.stopped or not self.n_left:
                return None
            start = self._words[_CLAIMED]
            stop = start + min(size, self.n_left)
            self._words[_CLAIMED] = stop
            self._words[_PENDING + rank] = start
            return Claim(start, stop)

    def starts(self, rank: int, item: int | None) -> None:
        """Note which item a worker runs, or whose result it sends; None for none."""
        self._words[self._current + rank] = NONE if item is None else item

    def passed(self, rank: int) -> None:
        """Note that no item of the worker's claim wants a turn any more."""
        if not self._words[_USES_ORDERED] and not self.is_granted:
            # Without the mutex, which costs more than a short item. The race: 1. the flag is read
            # here; 2. the first worker that waits sets it, reads `pending` and waits; 3. `pending`
            # is set here, and no worker woken. The next `claim` of this worker wakes all.
            self._words[_PENDING + rank] = NONE
            return
        with self._primitives:
            self._words[_PENDING + rank] = NONE
            self._primitives.wake()

    def await_turn(self, rank: int, item: int) -> None:
        """Wait until no earlier item can want a turn."""
        others = [_PENDING + r for r in range(self._n_workers) if r != rank]
        with self._primitives:
            self._words[_USES_ORDERED] = 1
            while not all(self._words[other] > item for other in others):
                if self.stopped:
                    raise StopProcessGroup
                self._primitives.wait(rank)

    def enter(self) -> None:
        """Enter the critical block, once no other worker is inside."""
        self._primitives.enter(lambda: self.stopped)

    def leave(self) -> None:
        """Leave the critical block."""
        self._primitives.leave()

    def reaches_here(self) -> bool:
        """Return whether `await_turn` and `enter` work in this process."""
        return self._primitives.reaches_here()


def _worker_of(pool: Any, construct: str) -> Worker:
    """Return the worker of `pool` that the caller runs in, of the innermost of its maps."""
    for worker in current_workers():
        if worker.map.pool is pool:
            return worker
    raise RuntimeError(
        f"pool.{construct} belongs to the workers: use it in the function that this pool's map "
        "runs, in the thread that runs it"
    )


def _waiting_worker_of(pool: Any, construct: str) -> Worker:
    """Return that worker; raise in a process forked by a map of threads, whose locks it lacks."""
    worker = _worker_of(pool, construct)
    if not worker.map.schedule.reaches_here():
        raise RuntimeError(
            f"pool.{construct} of a pool of threads does not reach into the processes of a map "
            "within"
        )
    return worker


class _Construct:
    def __init__(self, pool: Any) -> None:
        self._pool = pool


class _Critical(_Construct):
    """The ``with`` block that one worker at a time is in, see `MapReduce.critical`."""

    def __enter__(self) -> None:
        schedule = _waiting_worker_of(self._pool, "critical").map.schedule
        callers = current_workers()
        if any(schedule in caller.inside for caller in callers):
            raise RuntimeError("pool.critical was entered within pool.critical")
        schedule.enter()
        callers[0].inside.append(schedule)

    def __exit__(self, *exc_info: object) -> None:
        schedule = _worker_of(self._pool, "critical").map.schedule
        current_workers()[0].inside.remove(schedule)
        schedule.leave()


class _Ordered(_Construct):
    """The ``with`` block that items pass in their order, see `MapReduce.ordered`."""

    def __enter__(self) -> None:
        worker = _waiting_worker_of(self._pool, "ordered")
        if worker.pid != os.getpid():
            raise RuntimeError(
                "pool.ordered was entered by a process within the worker, which cannot take part "
                "in the order: enter it in the worker itself"
            )
        if worker.had_turn:
            raise RuntimeError(f"pool.ordered was entered twice by item {worker.item}")
        if any(worker.map.schedule in caller.inside for caller in current_workers()):
            raise RuntimeError(
                "pool.ordered was entered within pool.critical, which an earlier item may wait "
                "for: enter critical within ordered instead"
            )
        worker.had_turn = True
        worker.map.schedule.await_turn(worker.rank, worker.item)

    def __exit__(self, *exc_info: object) -> None:
        _worker_of(self._pool, "ordered").pass_turn()


class _Local:
    """The variables of the calling worker, see `MapReduce.local`."""

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


class Constructs:
    """The constructs of a pool, as attributes of it."""

    seed: int | Sequence[int]

    @property
    def critical(self) -> _Critical:
        """A ``with`` block that one worker at a time is in.

        Raises
        ------
        RuntimeError
            On entering outside of a map of this pool, or for a second time within the block.

        Examples
        --------
        >>> import sharedarray
        >>> counter = sharedarray.zeros(1, int)
        >>> with sharedarray.MapReduce(np=2) as pool:
        ...     def work(i):
        ...         with pool.critical:
        ...             counter[0] += 1
        ...     _ = pool.map(work, range(100))
        >>> counter
        SharedArray([100])
        """
        return _Critical(self)

    @property
    def ordered(self) -> _Ordered:
        """A ``with`` block that the items pass in their order.

        An item may leave the block out; its turn passes when it ends.

        Raises
        ------
        RuntimeError
            On entering outside of a map of this pool, a second time for one item, or from within
            `critical`, where it would wait for an item that waits for `critical`.

        Examples
        --------
        >>> from sharedarray import MapReduce
        >>> with MapReduce("thread", np=2) as pool:
        ...     def work(i):
        ...         with pool.ordered:
        ...             print(i)
        ...     _ = pool.map(work, range(3))
        0
        1
        2
        """
        return _Ordered(self)

    @property
    def local(self) -> _Local:
        """The variables of the calling worker, for the length of a map.

        `rank` is its number, from 0; `rng` a `numpy.random.Generator` that depends on the pool's
        seed and the item alone, not on the worker; any other attribute may be set.

        Raises
        ------
        RuntimeError
            Outside of a map of this pool.

        Examples
        --------
        >>> from sharedarray import MapReduce
        >>> draw = lambda pool: pool.map(lambda i: pool.local.rng.integers(100), range(3))
        >>> draw(MapReduce(np=1, seed=7)) == draw(MapReduce(np=3, seed=7))
        True
        """
        return _Local(self)

    tls = local
