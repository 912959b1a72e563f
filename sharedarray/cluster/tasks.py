r"""Workers of a map that are tasks of the caller's engine: an executor, a cluster.

::

    grant(rank, claim)  --RemoteMap, SentClaim--> task of the engine: run_claim
    receive()           <--------- queue of (rank, future) <--- the future's callback
    end()               cancel what has not started; stop what can be told

Guarantees
    A rank has one task at a time: of two items that run at the same time, each has a rank of its
    own. A task that ends without a report is a WorkerDied, or the engine's own exception. Where a
    worker of another machine cannot reach shared memory, its claim is sent again with the data, and
    so are all later ones of that rank; where one of this machine cannot, the map fails.

Assumptions
    The engine calls back when a task has ended, whatever has ended it. It belongs to the caller
    and is not shut down here; tasks that run are left to end.
"""

from __future__ import annotations

import concurrent.futures
import os
import time
import uuid
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

import numpy as np

from sharedarray.cluster.remote import RemoteMap, RemoteSchedule, SentClaim
from sharedarray.cluster.shipping import dumps, loads
from sharedarray.errors import WorkerDied
from sharedarray.memory.pickling import REFERENCE, VALUE
from sharedarray.workers.backend import Backend, backend_named
from sharedarray.workers.crew import NothingYet, Report, Work
from sharedarray.workers.primitives import ThreadPrimitives
from sharedarray.workers.reports import (
    Claim,
    Failure,
    failure_to_load,
    text_of_traceback,
    with_source,
)
from sharedarray.workers.worker import WorkerMap

__all__ = ["PendingClaim", "RemoteCrew", "TaskBackend", "TaskCrew"]

# Of which a slice has the same items, and is not copied by element.
_SLICED = (list, tuple, range, np.ndarray)


class PendingClaim(NamedTuple):
    """A claim whose task has not ended, and where the claims start that were pending before it."""

    claim: Claim
    future: Any
    before: tuple[int, ...]


class TaskBackend(Backend):
    """A backend whose workers are tasks of the caller's engine, which errors call by its `kind`."""

    is_parallel = True
    is_granting = True
    primitives = ThreadPrimitives

    def __init__(self, engine: Any, kind: str) -> None:
        self.engine = engine
        self._kind = kind
        self._pid = os.getpid()

    def __reduce__(self) -> Any:
        return backend_named, ("serial",)  # within an item, a map runs in the item

    def _check_process(self) -> None:
        """Raise in a forked copy of the process in which the engine was handed over."""
        if os.getpid() != self._pid:
            raise RuntimeError(
                f"{self._kind} does not live in a forked process, where the threads that serve it "
                "are gone: use it where it was made"
            )


class TaskCrew:
    """The workers of one map as futures, one claim of a rank at a time."""

    def __init__(self, call: WorkerMap) -> None:
        self._call = call
        self._pending: dict[int, PendingClaim] = {}
        self._done: SimpleQueue[tuple[int, Any]] = SimpleQueue()
        self._n_open = call.n_workers

    def _send(self, rank: int, claim: Claim, before: tuple[int, ...]) -> None:
        """Submit a task for a claim, and `_watch` it."""
        raise NotImplementedError

    def _report(self, rank: int, pending: PendingClaim, reply: Any) -> Report | None:
        """Return the report in the result of a task, if there is one."""
        raise NotImplementedError

    def grant(self, rank: int, claim: Claim | None) -> None:
        """Send a worker its next claim; None ends its work."""
        if claim is None:
            self._n_open -= 1
        else:
            self._send(rank, claim, tuple(sorted(p.claim.start for p in self._pending.values())))

    def _watch(self, rank: int, pending: PendingClaim) -> None:
        """Have `receive` hear of the end of a task."""
        self._pending[rank] = pending
        pending.future.add_done_callback(_putting(self._done, rank))

    def receive(self, timeout: float | None) -> tuple[int, Report] | None:
        """Return the rank and the next report, see `Crew`; WorkerDied if a worker was lost."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while self._pending or self._n_open:
            seconds = None if deadline is None else max(0.0, deadline - time.monotonic())
            try:
                rank, future = self._done.get(timeout=seconds)
            except Empty:
                raise NothingYet from None
            pending = self._pending.get(rank)
            if pending is None or pending.future is not future:
                continue
            report = self._result(rank, pending)
            if report is not None:
                return rank, report
        return None

    def _result(self, rank: int, pending: PendingClaim) -> Report | None:
        """Return the report of a task that has ended; None where there is none, or not yet."""
        try:
            reply = pending.future.result()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # an engine's cancellation may be no Exception
            if _is_death(error):
                return self._lost(rank, pending, error)
            if pending.future.cancelled():
                raise RuntimeError(
                    f"the task of {_items(pending.claim)} was cancelled, and not by its map: "
                    f"{error!r}"
                ) from error
            return Failure(error, text_of_traceback(error))
        del self._pending[rank]
        return self._report(rank, pending, reply)

    def _lost(self, rank: int, pending: PendingClaim, error: BaseException) -> Report | None:
        """Raise for a worker that has died; an engine may send its claim again."""
        raise _death(rank, pending.claim, error) from error

    def _stop(self) -> None:
        """Cancel what is pending."""
        for pending in self._pending.values():
            pending.future.cancel()

    def end(self) -> None:
        """Cancel what is pending; what runs already is left to end."""
        if self._pending:
            self._stop()
            self._pending.clear()
        self._done = SimpleQueue()  # an exception's frames may keep this object for long

    def abandon(self) -> None:
        """Do what `end` may have left out."""
        self.end()


class RemoteCrew(TaskCrew):
    """Workers that get the map and their claims as pickles, and constructs from `schedule`."""

    def __init__(self, call: WorkerMap, schedule: type[RemoteSchedule]) -> None:
        super().__init__(call)
        self.token = uuid.uuid4().hex
        self._schedule = schedule
        self._modes: dict[int, str] = {}  # of ranks on other machines
        self._maps: dict[str, RemoteMap] = {}

    def _submit(self, remote: RemoteMap, sent: SentClaim, claim: Claim) -> Any:
        """Start a task, and return its future."""
        raise NotImplementedError

    def _n_beside(self, rank: int) -> int:
        """Return how many workers there are on the machine of one."""
        return self._call.n_workers

    def start(self, work: Work) -> None:
        """Pickle the map; tasks start with their claims."""
        self._remote_map(REFERENCE)

    def _remote_map(self, mode: str) -> RemoteMap:
        if mode not in self._maps:
            try:
                self._maps[mode] = RemoteMap(self._call, self._schedule, self.token, mode)
            except KeyboardInterrupt:
                raise
            except Exception as error:  # pickling runs any code of what the function refers to
                raise TypeError(
                    f"func cannot be sent to the workers: {error}. Closures and lambdas need "
                    "cloudpickle (pip install cloudpickle), and what they refer to must pickle"
                ) from error
        return self._maps[mode]

    def _send(self, rank: int, claim: Claim, before: tuple[int, ...]) -> None:
        mode = self._modes.get(rank, REFERENCE)
        sent = SentClaim(rank, self._packed(claim, mode), before, self._n_beside(rank))
        try:
            future = self._submit(self._remote_map(mode), sent, claim)
        except Exception as error:
            if _is_death(error):
                raise _death(rank, claim, error) from error
            raise
        self._watch(rank, PendingClaim(claim, future, before))

    def _packed(self, claim: Claim, mode: str) -> bytes:
        items: Any = claim.items
        if items is None:
            sequence = self._call.sequence
            if isinstance(sequence, _SLICED):
                items = sequence[claim.start : claim.stop]
            else:
                items = [sequence[i] for i in range(claim.start, claim.stop)]
        try:
            return dumps(claim._replace(items=items), mode, self._call.pool)[0]
        except KeyboardInterrupt:
            raise
        except Exception as error:  # pickling runs any code of the items
            raise TypeError(f"{_items(claim)} cannot be sent to a worker: {error}") from error

    def _report(self, rank: int, pending: PendingClaim, reply: Any) -> Report | None:
        if reply is None:
            self._modes[rank] = VALUE
            self._send(rank, pending.claim, pending.before)
            return None
        if not reply:  # another item of that process has failed, and its report is on the way
            self._n_open -= 1
            return None
        try:
            report: Report = loads(reply)
        except BaseException as error:
            return failure_to_load(error)
        if isinstance(report, Failure):
            return report._replace(traceback=with_source(report.traceback))
        return report


def _is_death(error: BaseException) -> bool:
    """Return whether an exception of the engine says that a worker has died."""
    # By its name, also where Dask runs an executor: importing it would be the larger part of a map.
    is_killed = type(error).__name__ == "KilledWorker"
    return is_killed or isinstance(error, concurrent.futures.BrokenExecutor)


def _death(rank: int, claim: Claim, error: Any) -> WorkerDied:
    message = f"a worker has died while it ran {_items(claim)}: {error}"
    pid = getattr(getattr(error, "last_worker", None), "pid", 0)  # Dask's; others do not tell
    return WorkerDied(message, rank, int(pid), None, None, tuple(range(claim.start, claim.stop)))


def _items(claim: Claim) -> str:
    if claim.stop == claim.start + 1:
        return f"item {claim.start}"
    return f"one of the items {claim.start} to {claim.stop - 1}"


def _putting(queue: SimpleQueue[tuple[int, Any]], rank: int) -> Callable[[Any], None]:
    """Return a callback that refers to nothing but the queue: an engine may keep it for long."""
    return lambda future: queue.put((rank, future))
