r"""The process of one background call, as its caller sees it.

::

    caller                                     child
    ------                                     -----
    started(work)  --- fork ---------------->  work: f(...)
    ...                                        result --small--> socket: frame
    collect() <-- poll: socket, sentinel              \-large--> memfd, passed with the frame
                       frames -> outcome       os._exit, whether anybody waits or not
    collect_ended(), before the next one is started

Guarantees
    A child never waits for its caller: what does not fit into the socket lies in a memfd. Whatever
    ends a child, `wait` tells. An interrupt ends the wait alone: reading and unpickling are done
    with signals held back, so that nothing is lost and the next wait goes on. A child lives as long
    as its process, not as the thread that has started it, and is killed with the process.

Assumptions
    See `processes` and `transport`: one worker, one report.

Ownership
    A child is in `_running` until its outcome is there; handles may be dropped before. Who holds
    `_waiting` of a child is the only one to poll, who holds both locks the only one to close its
    descriptors; `_state` alone is enough to kill it.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from concurrent.futures import CancelledError
from threading import Lock
from typing import Any

from sharedarray import forks
from sharedarray.errors import WorkerDied, WorkerException
from sharedarray.workers.crew import NothingYet, Report, Work
from sharedarray.workers.interrupts import call_into, signals_blocked
from sharedarray.workers.process import check_fork
from sharedarray.workers.processes import ProcessCrew
from sharedarray.workers.reports import Failure, Results, text_of_traceback
from sharedarray.workers.worker import reseed

__all__ = ["BackgroundChild", "collect_ended", "exception_of", "outcome_of", "started"]


class BackgroundChild(ProcessCrew):
    """The process of one call, see the module.

    Attributes
    ----------
    outcome : tuple or None
        What the call has returned and what it has raised, once it has ended.
    is_cancelled : bool
        Whether it was ended by `cancel`.
    warning : Warning or None
        What the first who waits has to be told.
    """

    def __init__(self) -> None:
        check_fork()
        seed = int.from_bytes(os.urandom(16), "little")
        super().__init__(1, lambda rank: None, lambda rank: reseed(seed, (rank,)))
        self.outcome: tuple[Any, BaseException | None] | None = None
        self.is_cancelled = False
        self.warning: Warning | None = None
        self._report: Report | None = None
        self._is_unwanted = False
        self._waiting = Lock()
        self._state = Lock()

    def collect(self, timeout: float | None) -> bool:
        """Wait until the outcome is there, and return whether it is."""
        if self.outcome is not None:
            return True
        if os.getpid() != self._owner:
            raise RuntimeError("a background call belongs to the process that has started it")
        deadline = None if timeout is None else time.monotonic() + timeout
        taken: list[bool] = []
        try:
            call_into(taken, self._waiting.acquire, timeout != 0, timeout or -1)
            while taken[0] and self.outcome is None and self._happens_before(deadline):
                self._take()
        finally:
            if taken and taken[0]:  # without a call: an interrupt after one would skip the release
                self._waiting.release()
        return self.outcome is not None

    def _happens_before(self, deadline: float | None) -> bool:
        """Wait until the child has sent something or ended, and return whether it has."""
        seconds = None if deadline is None else max(0.0, deadline - time.monotonic())
        if not self._has_sentinels:  # its end is enough: it never waits for us
            return self._members[0].process.ends_within(math.inf if seconds is None else seconds)
        return bool(self._poll.poll(None if seconds is None else math.ceil(seconds * 1000)))

    def _take(self) -> None:
        """Take what is there of the report and of the end."""
        with signals_blocked(), self._state:
            try:
                while self.outcome is None:
                    if not self._has_sentinels:  # its end is what `_happens_before` has seen
                        self._retire(self._members[0])
                    received = self.receive(0)
                    if received is None:
                        self._conclude(None)
                    else:
                        self._report = received[1]
            except NothingYet:
                pass
            except WorkerDied as death:
                self._conclude(death)
            except BaseException as error:  # no room for its descriptors; unpickling runs any code
                self._report = Failure(error, text_of_traceback(error))
                self._conclude(None)

    def _conclude(self, death: WorkerDied | None) -> None:
        """Conclude from the report and the death what the outcome is, and give all back."""
        report = self._report
        outcome: tuple[Any, BaseException | None]
        if isinstance(report, Results):
            outcome = report.values[0], None
            if death is not None and not self._is_unwanted:
                self.warning = RuntimeWarning(f"the result is there, but {death}")
        elif isinstance(report, Failure):
            outcome = None, exception_of(report)
            self.warning = report.warning
        elif self._is_unwanted:
            outcome = None, CancelledError()
            self.is_cancelled = True
        else:
            outcome = None, death
        self._report = None
        self.end()
        _running.discard(self)
        self.outcome = outcome

    def cancel(self) -> bool:
        """Kill the process where it has not ended, and return whether that is what ended it."""
        if not self.collect(0):
            with self._state:
                self._is_unwanted = True
                for member in self._members:
                    member.process.kill()
            self.collect(None)
        return self.is_cancelled


# Whose outcome is not there yet. In a forked child they are not its own.
_running: set[BackgroundChild] = set()
forks.on_fork(in_child=_running.clear)


def started(work: Work) -> BackgroundChild:
    """Return a new child at work, or leave nothing behind."""
    child = BackgroundChild()
    try:
        child.start(work)
        _running.add(child)
    except BaseException:  # Ctrl-C included
        child.end()
        _running.discard(child)
        raise
    return child


def collect_ended() -> None:
    """Fetch the outcomes of all children that have ended, so that the kernel forgets them."""
    for child in list(_running):
        child.collect(0)


def outcome_of(call: Callable[[], Any]) -> Report:
    """Call, and return what there is to report."""
    began = time.perf_counter()
    try:
        return Results(0, [call()], began, time.perf_counter())
    # The worker's boundary: whatever ends the call, SystemExit included, goes to who waits.
    except BaseException as error:
        return Failure(error, text_of_traceback(error))


def exception_of(failure: Failure) -> WorkerException:
    """Return what who waits is told of a failure."""
    exception = WorkerException(failure.reason, failure.traceback)
    exception.__cause__ = failure.reason
    return exception
