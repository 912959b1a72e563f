"""`critical` and `ordered` among the workers of a map on Dask, through its scheduler.

::

    enter / leave    Lock  "<token>"            one for the map
    await_turn       wait for Event "<token>-<start>" of each claim that ran when this one started
    passed           set the Event of this claim

Guarantees
    An item's turn comes when no earlier item can still want one: claims that had ended before this
    one was sent are past, and each of the others has set its event. A task that waits for a turn
    secedes from the thread pool of its Dask worker: otherwise a claim that Dask has moved there
    from a lost worker could not run, while the task in its place waits for it.

Assumptions
    Only maps whose function refers to the pool set events: no other pays for them. A lock whose
    holder is lost comes free after ``distributed.scheduler.locks.lease-timeout``.

Ownership
    Lock and events live in the scheduler; the coordinator has them removed at the end.
"""

from __future__ import annotations

import os
from collections import deque
from typing import Any

from sharedarray.cluster.remote import RemoteMap, RemoteSchedule
from sharedarray.errors import StopProcessGroup

__all__ = ["DaskSchedule", "event_name", "stop_map"]

# Seconds: how long a waiting task keeps its place in the thread pool, and how often it looks
# whether the map has stopped.
SHORT_WAIT, LONG_WAIT = 0.05, 2.0
# The maps that were stopped lately, in a worker process.
_stopped: deque[str] = deque(maxlen=1000)


def event_name(token: str, start: int) -> str:
    """Return the name of the event of a claim."""
    return f"sharedarray-{token}-{start}"


def stop_map(token: str) -> None:
    """Let no worker of this process start another item of a map."""
    _stopped.append(token)


class DaskSchedule(RemoteSchedule):
    """The schedule of a map in the process of a Dask worker."""

    def __init__(self, remote: RemoteMap) -> None:
        super().__init__(remote)
        self._has_pool = remote.has_pool
        # The claim of each rank, until it is past, and those that it has to wait for.
        self._claims: dict[int, tuple[int, tuple[int, ...]]] = {}
        self._lock: Any = None

    @property
    def stopped(self) -> bool:
        """Return whether no worker of this process may start another item."""
        return self._is_stopped or self.token in _stopped

    def takes(self, rank: int, start: int, before: tuple[int, ...]) -> None:
        """Note that a worker has a claim that starts here, while these others run."""
        if self._has_pool:
            self._claims[rank] = start, before

    def passed(self, rank: int) -> None:
        """Let the claims after this one have their turn."""
        claim = self._claims.pop(rank, None)
        if claim is not None:
            _event(event_name(self.token, claim[0])).set()

    def await_turn(self, rank: int, item: int) -> None:
        """Wait until no earlier item can want a turn."""
        self._check_process("ordered")
        start, before = self._claims[rank]
        for other in before:
            self._wait(_event(event_name(self.token, other)))
        self._claims[rank] = start, ()

    def _wait(self, event: Any) -> None:
        if event.wait(timeout=SHORT_WAIT):
            return
        _secede()
        while not event.wait(timeout=LONG_WAIT):
            if self.stopped:
                raise StopProcessGroup

    def enter(self) -> None:
        """Wait until no other worker is inside the critical block, and enter it."""
        self._check_process("critical")
        if self._lock is None:
            self._lock = _distributed().Lock(f"sharedarray-{self.token}")
        while not self._lock.acquire(timeout=LONG_WAIT):
            if self.stopped:
                raise StopProcessGroup

    def leave(self) -> None:
        """Leave the critical block."""
        self._lock.release()

    def _check_process(self, construct: str) -> None:
        if os.getpid() != self.pid:
            raise RuntimeError(
                f"pool.{construct} of a pool on Dask does not reach into processes that were "
                "forked within an item"
            )


def _event(name: str) -> Any:
    return _distributed().Event(name)


def _secede() -> None:
    """Let another task run in the place of this one, which waits."""
    dask = _distributed()
    # Once, and only in the task's own thread.
    has_place = getattr(dask.threadpoolexecutor.thread_state, "proceed", False)
    if has_place and hasattr(dask.worker.thread_state, "key"):
        dask.secede()


def _distributed() -> Any:
    """Return Dask's package, which is not fully typed."""
    import distributed  # an extra

    return distributed
