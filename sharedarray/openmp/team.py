r"""The processes of one block, as their coordinator sees them, who is rank 0 and works as well.

::

    coordinator, rank 0                         ranks 1 to n - 1
    -------------------                         ----------------
    fork()  ----------------------------------> fork() returns there too
    body, constructs                            body, constructs
      waits: look() polls mutex or bell,
             sockets and sentinels
    gather()  <-- results, or a failure ------- leave(): send, os._exit
    end(): kill, reap, close

Guarantees
    Whatever ends a rank before it has left the block, and whatever it raises, comes out of the
    next construct at which the coordinator waits, or of `gather`, as ParallelException. No rank
    but the coordinator comes back from the end of the block. After `end` no process or descriptor
    of the team is left.

Assumptions
    See `processes` and `meeting`.

Ownership
    The contexts of the fork belong to the coordinator. A child keeps its copies of them, so that
    they never end in it: their end would bring back the coordinator's handlers of signals.
"""

from __future__ import annotations

import atexit
import os
import select
import socket
import sys
import warnings
from contextlib import ExitStack, suppress
from time import monotonic
from typing import Any, NoReturn

from sharedarray import config, forks
from sharedarray.errors import ParallelException, WorkerDied
from sharedarray.openmp.counters import ProcessCounters
from sharedarray.openmp.meeting import GLANCE, Meeting, do_nothing
from sharedarray.workers.blas import limited_threads
from sharedarray.workers.crew import NothingYet, Report
from sharedarray.workers.interrupts import signals_blocked
from sharedarray.workers.primitives import TeamPrimitives
from sharedarray.workers.process import (
    Lifeline,
    check_fork,
    forking,
    leave,
    settle_child,
    streams_kept,
)
from sharedarray.workers.processes import ProcessCrew
from sharedarray.workers.reports import Failure
from sharedarray.workers.worker import reseed

__all__ = ["ProcessTeam", "exception_of", "new_team"]

# What never ends in a child.
_kept: list[ExitStack] = []


class ProcessTeam(ProcessCrew):
    """The forked ranks of one block, see the module.

    Parameters
    ----------
    n_ranks : int
        Coordinator included.

    Attributes
    ----------
    meeting : Meeting
        What the ranks share.
    number : int
        Which rank this process is.
    """

    RESULT = "What is reduced of rank"

    def __init__(self, n_ranks: int) -> None:
        super().__init__(n_ranks, lambda rank: None, lambda rank: None)
        self.number = 0
        self._primitives: TeamPrimitives | None = None
        self._block = ExitStack()
        self._socket: socket.socket | None = None
        self._results: dict[int, tuple[Any, ...]] = {}
        self._failure: ParallelException | None = None
        self._next_glance = 0.0
        self.meeting = Meeting(self._make_primitives, ProcessCounters, n_ranks)
        self.meeting.on_stop = self._raise_failure
        self.meeting.on_check = self.glance

    def _make_primitives(self, n_ranks: int, n_words: int) -> TeamPrimitives:
        self._primitives = TeamPrimitives(n_ranks, n_words)
        self._primitives.look = self.look
        return self._primitives

    def fork(self) -> int:
        """Fork the other ranks; return, in each process, which rank it is."""
        self._n_oom_kills = config.oom_kills()
        share = config.share_for(self._n_workers)
        seed = int.from_bytes(os.urandom(16), "little")
        with ExitStack() as stack:
            stack.enter_context(forking())
            # With signals held back, or an interrupt could come before they are noted in the block.
            self._block.enter_context(limited_threads(share))
            self._block.enter_context(config.num_workers(share))
            stack.enter_context(streams_kept())
            self._forks = stack.enter_context(forks.recorded())
            self._lifeline = Lifeline()
            self.__class__ = _ForkedTeam
            for rank in range(1, self._n_workers):
                if self._is_born(rank):
                    _kept.extend([stack.pop_all(), self._block])
                    self._settle_here(rank, share, seed)
                    break
        return self.number

    def _is_born(self, rank: int) -> bool:
        """Fork a rank, and return whether this is it."""
        member, theirs = self._enlist(rank)
        try:
            if member.process.fork():
                self._socket = theirs
                return True
        except BaseException:
            theirs.close()
            raise
        theirs.close()
        self._attend(member)
        return False

    def _settle_here(self, rank: int, share: int, seed: int) -> None:
        """Be the child: nothing may come out of here but the body of the block."""
        self.number = rank
        try:
            if self._lifeline is not None:
                settle_child(self._lifeline)
            if self._primitives is not None:
                self._primitives.look = None
            # The coordinator ends the others when it hears of a failure: until then they go on.
            self.meeting.on_stop = do_nothing
            self.meeting.on_check = do_nothing
            # a block that is entered and never left ends with the program
            atexit.register(leave, 1)
            config.set_num_workers(share)  # for threads that start here, without our context
            config.inherit_share(share)
            reseed(seed, (rank,))
        except BaseException:
            with suppress(BaseException):
                sys.excepthook(*sys.exc_info())
            leave(1)

    def leave(self, report: Report) -> NoReturn:
        """Be the child: send the report, and end."""
        exitcode = 1
        try:
            if isinstance(report, Failure):
                self.meeting.stop()
            if self._socket is not None:
                self._serve(self.number, lambda rank, claims: iter([report]), self._socket)
            exitcode = 0
        finally:
            leave(exitcode)

    def look(self, descriptor: int) -> None:
        """Wait until a descriptor is readable or a rank has sent or ended; raise for a failure."""
        self._poll.register(descriptor, select.POLLIN)
        try:
            self._look(None)
        finally:
            self._poll.unregister(descriptor)
        while self._ready or self._death is not None:
            with suppress(NothingYet):
                self._take_next(0)

    def glance(self) -> None:
        """Raise where a rank has failed or died; looks now and then, however often it is called."""
        now = monotonic()
        if now >= self._next_glance:
            self._next_glance = now + GLANCE
            with suppress(NothingYet):
                while self._take_next(0):
                    pass

    def gather(self, own: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        """Wait until all ranks have left the block; return what they bring, in their order.

        Raises
        ------
        ParallelException
            If one has failed or died.
        """
        while self._take_next(None):
            pass
        return [own, *(self._results[rank] for rank in range(1, self._n_workers))]

    def end(self) -> None:
        """Kill who is still there, and give everything back."""
        if os.getpid() != self._owner:
            return
        with signals_blocked():
            super().end()
            self._block.close()
            self.meeting.close()
            self.__class__ = ProcessTeam

    def _take_next(self, timeout: float | None) -> bool:
        """Take the next report, return whether there was one; raise for a failure."""
        try:
            received = self.receive(timeout)
        except WorkerDied as death:
            self._failure = exception_of(death.rank, Failure(death, ""))
            self.meeting.stop()  # so that it comes out again where the body goes on
            raise self._failure from death
        if received is None:
            return False
        rank, report = received
        if isinstance(report, Failure):
            self._failure = exception_of(rank, report)
            self.meeting.stop()  # likewise; the rank may not have known, if it does not unpickle
            raise self._failure
        self._results[rank] = report.values[0]
        return True

    def _raise_failure(self) -> None:
        """Raise why the block has failed, in the coordinator."""
        if self.meeting.failure is not None:  # what the coordinator has found itself
            raise self.meeting.failure
        while self._failure is None and self._take_next(None):
            pass
        if self._failure is not None:
            raise self._failure


class _ForkedTeam(ProcessTeam):
    """A team that has to be ended, also where Ctrl-C comes just before `Parallel.__exit__` begins.

    A class of its own, since an interrupt that Python raises in a finalizer is lost: a team that
    was ended has none.
    """

    def __del__(self) -> None:
        self.end()


def new_team(n_ranks: int) -> ProcessTeam:
    """Return processes, not yet forked; see `check_fork` for what it raises and warns of."""
    check_fork()
    return ProcessTeam(n_ranks)


def exception_of(rank: int, failure: Failure) -> ParallelException:
    """Return what the coordinator raises for the failure of a rank."""
    if isinstance(failure.reason, ParallelException):  # not its own failure, but what it has found
        return failure.reason
    if failure.warning is not None:
        warnings.warn(failure.warning, stacklevel=5)
    exception = ParallelException(failure.reason, failure.traceback, rank)
    exception.__cause__ = failure.reason
    return exception
