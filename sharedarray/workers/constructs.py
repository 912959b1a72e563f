"""What a work function uses of its pool: critical, ordered, local.

Guarantees
    Each finds its worker by a context variable, innermost map of the pool first, so nested maps,
    several pools and several threads on one pool do not mix. Used elsewhere they raise
    RuntimeError.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from sharedarray.workers.worker import Worker, current_workers

__all__ = ["Constructs"]


def _worker_of(pool: Any, construct: str) -> Worker:
    """Return the worker of `pool` that the caller is, in the innermost of its maps."""
    for worker in current_workers():
        if worker.map.pool is pool:
            return worker
    raise RuntimeError(
        f"pool.{construct} belongs to the workers: use it in the function that this pool's map "
        "runs, in the thread that runs it"
    )


def _check_reach(worker: Worker, construct: str) -> None:
    """Raise where a process was forked by a map of threads, whose locks it cannot share."""
    if not worker.map.schedule.reaches_here():
        raise RuntimeError(
            f"pool.{construct} of a pool of threads does not reach into the processes of a map "
            "within"
        )


class _Critical:
    """The ``with`` block that one worker at a time is in, see `MapReduce.critical`."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    def __enter__(self) -> None:
        worker = _worker_of(self._pool, "critical")
        _check_reach(worker, "critical")
        schedule = worker.map.schedule
        callers = current_workers()
        if any(schedule in caller.inside for caller in callers):
            raise RuntimeError("pool.critical was entered within pool.critical")
        schedule.enter()
        callers[0].inside.append(schedule)

    def __exit__(self, *exc_info: object) -> None:
        schedule = _worker_of(self._pool, "critical").map.schedule
        current_workers()[0].inside.remove(schedule)
        schedule.leave()


class _Ordered:
    """The ``with`` block that items pass in their order, see `MapReduce.ordered`."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    def __enter__(self) -> None:
        worker = _worker_of(self._pool, "ordered")
        _check_reach(worker, "ordered")
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
        """What belongs to the worker that asks, for the length of a map.

        `rank` is its number, from 0; `rng` a `numpy.random.Generator` that depends on the pool's
        seed and on the item alone, not on the worker; other attributes are the worker's own to
        set.

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
