r"""Workers that are tasks of somebody else's engine: an executor, a cluster.

::

    grant(rank, claim)  --errand, parcel--> task of the engine: run_claim
    receive()           <--------- queue of (rank, future) <--- the future's callback
    end()               cancel what has not started; stop what can be told

Guarantees
    One task a rank is under way: of two items that run at the same time, each has a rank of its
    own. A task that ends without a report is a WorkerDied, or the engine's own exception. Where
    shared memory cannot be reached, the claim is sent again with the data, and so are all later
    ones of that rank.

Assumptions
    The engine calls back when a task has ended, whatever has ended it. It belongs to the caller,
    who shuts it down; tasks that run are left to end.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable
from copy import copy
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

import numpy as np

from sharedarray.cluster.remote import Errand, FarSchedule, Parcel
from sharedarray.cluster.shipping import dumps, loads
from sharedarray.errors import WorkerDied
from sharedarray.memory.pickling import REFERENCE, VALUE
from sharedarray.workers.backend import CrewMap
from sharedarray.workers.crew import NothingYet, Report, Work
from sharedarray.workers.reports import (
    Claim,
    Failure,
    failure_to_load,
    text_of_traceback,
    with_source,
)

__all__ = ["Flight", "TaskCrew", "check_process"]

# Of which a slice has the same items, and is not copied by element.
_SLICED = (list, tuple, range, np.ndarray)


class Flight(NamedTuple):
    """A claim under way."""

    claim: Claim
    future: Any
    before: tuple[int, ...]


def check_process(pid: int, what: str) -> None:
    """Raise in a forked copy of the process in which an engine was handed over."""
    if os.getpid() != pid:
        raise RuntimeError(
            f"{what} does not live in a forked process, where the threads that serve it are gone: "
            "use it where it was made"
        )


class TaskCrew:
    """The workers of one map as tasks, see the module.

    Parameters
    ----------
    call : CrewMap
        The map.
    schedule : type
        What the workers have of constructs.
    """

    def __init__(self, call: CrewMap, schedule: type[FarSchedule]) -> None:
        self._call = call
        self._far_schedule = schedule
        self.token = uuid.uuid4().hex
        self._done: SimpleQueue[tuple[int, Any]] = SimpleQueue()
        self._flying: dict[int, Flight] = {}
        self._n_open = call.n_workers
        self._by_value: set[int] = set()
        self._errands: dict[bool, Errand] = {}

    # What an engine does in its own way.

    def _submit(self, errand: Errand, parcel: Parcel, claim: Claim) -> Any:
        """Start a task, and return its future."""
        raise NotImplementedError

    def _reply(self, future: Any) -> Any:
        """Return what a task has returned."""
        return future.result()

    def _is_death(self, error: BaseException) -> bool:
        """Return whether an exception of the engine says that a worker has died."""
        raise NotImplementedError

    def _n_beside(self, rank: int) -> int:
        return self._call.n_workers

    def _stop(self) -> None:
        """Cancel what is under way."""
        for flight in self._flying.values():
            flight.future.cancel()

    # What all have in common.

    def start(self, work: Work) -> None:
        """Make the errand ready; tasks start with their claims."""
        self._errand(is_value=False)

    def _errand(self, *, is_value: bool) -> Errand:
        if is_value not in self._errands:
            call = self._call
            how = VALUE if is_value else REFERENCE
            try:
                func, has_pool = dumps(call.func, how, call.pool)
                pool, _ = dumps(_away(call.pool), how)
            except KeyboardInterrupt:
                raise
            except Exception as error:  # pickling runs any code of what the function refers to
                raise TypeError(
                    f"func cannot be sent to the workers: {error}. Closures and lambdas need "
                    "cloudpickle (pip install cloudpickle), and what they refer to must pickle"
                ) from error
            self._errands[is_value] = Errand(
                self.token,
                self._far_schedule,
                pool,
                func,
                star=call.star,
                number=call.number,
                n_workers=call.n_workers,
                is_value=is_value,
                has_pool=has_pool,
            )
        return self._errands[is_value]

    def grant(self, rank: int, claim: Claim | None) -> None:
        """Send a worker its next claim; None ends its work."""
        if claim is None:
            self._n_open -= 1
            return
        before = tuple(sorted(flight.claim.start for flight in self._flying.values()))
        self._send(rank, claim, before)

    def _send(self, rank: int, claim: Claim, before: tuple[int, ...]) -> None:
        is_value = rank in self._by_value
        parcel = Parcel(rank, self._packed(claim, is_value=is_value), before, self._n_beside(rank))
        try:
            future = self._submit(self._errand(is_value=is_value), parcel, claim)
        except Exception as error:
            if self._is_death(error):
                raise self._death(rank, claim, error) from error
            raise
        self._launched(rank, Flight(claim, future, before))

    def _launched(self, rank: int, flight: Flight) -> None:
        """Note that a task is under way."""
        self._flying[rank] = flight
        flight.future.add_done_callback(_putting(self._done, rank))

    def _packed(self, claim: Claim, *, is_value: bool) -> bytes:
        how = VALUE if is_value else REFERENCE
        items: Any = claim.items
        if items is None:
            sequence = self._call.sequence
            if isinstance(sequence, _SLICED):
                items = sequence[claim.start : claim.stop]
            else:
                items = [sequence[i] for i in range(claim.start, claim.stop)]
        try:
            return dumps(claim._replace(items=items), how, self._call.pool)[0]
        except KeyboardInterrupt:
            raise
        except Exception as error:  # pickling runs any code of the items
            raise TypeError(f"{_items(claim)} cannot be sent to a worker: {error}") from error

    def receive(self, timeout: float | None) -> tuple[int, Report] | None:
        """Return the rank and the next report; None when all have ended.

        Raises
        ------
        NothingYet
            If there is none for `timeout` seconds.
        WorkerDied
            If the engine has lost a worker.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while self._flying or self._n_open:
            seconds = None if deadline is None else max(0.0, deadline - time.monotonic())
            try:
                rank, future = self._done.get(timeout=seconds)
            except Empty:
                raise NothingYet from None
            flight = self._flying.get(rank)
            if flight is None or flight.future is not future:
                continue
            report = self._landed(rank, flight)
            if report is not None:
                return rank, report
        return None

    def _landed(self, rank: int, flight: Flight) -> Report | None:
        """Return the report of a task that has ended; None where there is none, or not yet."""
        try:
            reply = self._reply(flight.future)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # an engine's cancellation may be no Exception
            if self._is_death(error):
                return self._lost(rank, flight, error)
            if flight.future.cancelled():
                raise RuntimeError(
                    f"the task of {_items(flight.claim)} was cancelled, and not by its map: "
                    f"{error!r}"
                ) from error
            return Failure(error, text_of_traceback(error))
        del self._flying[rank]
        return self._report(rank, flight, reply)

    def _report(self, rank: int, flight: Flight, reply: Any) -> Report | None:
        """Return the report in a reply, if there is one."""
        if reply is None:
            self._by_value.add(rank)
            self._send(rank, flight.claim, flight.before)
            return None
        if not reply:  # another item of that process has failed, of which we shall hear
            self._n_open -= 1
            return None
        try:
            report: Report = loads(reply)
        except BaseException as error:
            return failure_to_load(error)
        if isinstance(report, Failure):
            return report._replace(traceback=with_source(report.traceback))
        return report

    def _lost(self, rank: int, flight: Flight, error: BaseException) -> Report | None:
        """Raise for a worker that has died; an engine may send its claim again."""
        raise self._death(rank, flight.claim, error) from error

    def _death(self, rank: int, claim: Claim, error: BaseException) -> WorkerDied:
        message = f"a worker has died while it ran {_items(claim)}: {error}"
        items = tuple(range(claim.start, claim.stop))
        return WorkerDied(message, rank, self._pid_of(error), None, None, items)

    def _pid_of(self, error: BaseException) -> int:
        """Return the process of a worker that has died, 0 where the engine does not tell."""
        return 0

    def end(self) -> None:
        """Cancel what is under way; what runs already is left to end."""
        if self._flying:
            self._stop()
            self._flying.clear()
        self._done = SimpleQueue()  # an exception's frames may keep this object for long

    def abandon(self) -> None:
        """Do what `end` may have left out."""
        self.end()


def _items(claim: Claim) -> str:
    if claim.stop == claim.start + 1:
        return f"item {claim.start}"
    return f"one of the items {claim.start} to {claim.stop - 1}"


def _away(pool: Any) -> Any:
    """Return the pool as it is in a worker: what is called in the caller stays there."""
    pool = copy(pool)
    pool.trace = None
    return pool


def _putting(queue: SimpleQueue[tuple[int, Any]], rank: int) -> Callable[[Any], None]:
    """Return a callback that knows of nothing but the queue: an engine may keep it for long."""
    return lambda future: queue.put((rank, future))
