r"""The crews of a block: forked processes, or threads, beside the caller, which works as rank 0.

::

    coordinator, rank 0                         forked ranks 1 to n - 1
    -------------------                         -----------------------
    fork()  ----------------------------------> fork() returns there too
    body, constructs                            body, constructs
      waits: until_readable() polls mutex or eventfd,
             sockets and sentinels
    gather()  <-- results, or a failure ------- leave(): send, os._exit
    end(): kill, reap, close

Guarantees
    A forked rank that raises, or ends before it has left the block for whatever reason, makes the
    next construct at which the coordinator waits, or `gather`, raise ParallelException. Only the
    coordinator returns from the end of the block. After `end` no process or descriptor of the crew
    is left. When a thread fails, the others stop at their next construct or in the one where they
    wait; `run_in_threads` returns or raises after the last one has ended.

Assumptions
    See `processes`, `threads` and `team`. A thread cannot be killed.

Ownership
    The contexts of the fork belong to the coordinator. A child keeps its copies of them for ever:
    their exit would set the coordinator's handlers of signals again.
"""

from __future__ import annotations

import atexit
import os
import select
import socket
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from contextvars import copy_context
from time import monotonic
from typing import Any, NoReturn

from sharedarray import config, forks, machine
from sharedarray.errors import ParallelException, StopProcessGroup, WorkerDied
from sharedarray.openmp.counters import ProcessCounters
from sharedarray.openmp.team import CHECK_INTERVAL, Team, do_nothing
from sharedarray.workers.blas import limited_threads
from sharedarray.workers.crew import NextClaim, NothingYet, Report
from sharedarray.workers.interrupts import signals_blocked
from sharedarray.workers.primitives import TeamPrimitives
from sharedarray.workers.process import (
    DeathPipe,
    check_fork,
    forking,
    is_readable,
    leave,
    prepare_child,
    streams_kept,
)
from sharedarray.workers.processes import ProcessCrew
from sharedarray.workers.reports import Failure, Results, text_of_traceback
from sharedarray.workers.threads import ThreadCrew
from sharedarray.workers.worker import current_workers, reseed

__all__ = ["BlockCrew", "run_in_threads"]

# The contexts that a child never exits.
_kept: list[ExitStack] = []


class BlockCrew(ProcessCrew):
    """The forked ranks of one block, see the module; `number` is the rank of this process."""

    RESULT = "What is reduced of rank"

    def __init__(self, n_ranks: int) -> None:
        check_fork()
        super().__init__(n_ranks, lambda rank: None, lambda rank: None)
        self.number = 0
        self._primitives: TeamPrimitives | None = None
        self._block = ExitStack()
        self._socket: socket.socket | None = None
        self._results: dict[int, tuple[Any, ...]] = {}
        self._failure: ParallelException | None = None
        self._next_check = 0.0
        self.team = Team(self._make_primitives, ProcessCounters, n_ranks)
        self.team.on_stop = self._raise_failure
        self.team.on_check = self.check

    def _make_primitives(self, n_ranks: int, n_words: int) -> TeamPrimitives:
        self._primitives = TeamPrimitives(n_ranks, n_words)
        self._primitives.until_readable = self.until_readable
        return self._primitives

    def fork(self) -> int:
        """Fork the other ranks; return, in each process, which rank it is."""
        self._n_oom_kills = machine.oom_kills()
        share = config.share_for(self._n_workers)
        seed = int.from_bytes(os.urandom(16), "little")
        with ExitStack() as stack:
            stack.enter_context(forking())
            # With signals held back: an interrupt before `_block` has noted them would lose them.
            self._block.enter_context(limited_threads(share))
            self._block.enter_context(config.num_workers(share))
            stack.enter_context(streams_kept())
            self._forks = stack.enter_context(forks.recorded())
            self._death_pipe = DeathPipe()
            self.__class__ = _ForkedCrew
            for rank in range(1, self._n_workers):
                self._socket = self._fork_worker(rank)
                if self._socket is not None:
                    _kept.extend([stack.pop_all(), self._block])
                    self._settle_rank(rank, share, seed)
                    break
        return self.number

    def _settle_rank(self, rank: int, share: int, seed: int) -> None:
        """Prepare a child for the body of the block; a child that cannot be prepared ends here."""
        self.number = rank
        try:
            if self._death_pipe is not None:
                prepare_child(self._death_pipe)
            if self._primitives is not None:
                self._primitives.until_readable = is_readable
            # The coordinator kills the ranks when it learns of a failure: until then they go on.
            self.team.on_stop = do_nothing
            self.team.on_check = do_nothing
            # A block that is entered and never left ends with the program.
            atexit.register(leave, 1)
            config.set_num_workers(share)  # for threads that start here, without our context
            config.inherit_share(share)
            reseed(seed, (rank,))
        except BaseException:
            with suppress(BaseException):
                sys.excepthook(*sys.exc_info())
            leave(1)

    def leave(self, report: Report) -> NoReturn:
        """End this child, after it has sent its report."""
        exitcode = 1
        try:
            if isinstance(report, Failure):
                self.team.stop()
            if self._socket is not None:
                self._serve(self.number, lambda rank, claims: iter([report]), self._socket)
            exitcode = 0
        finally:
            leave(exitcode)

    def until_readable(self, descriptor: int) -> None:
        """Wait until a descriptor is readable or a rank has sent or ended; raise for a failure."""
        self._poll.register(descriptor, select.POLLIN)
        try:
            self._poll_once(None)
        finally:
            self._poll.unregister(descriptor)
        while self._ready or self._death is not None:
            with suppress(NothingYet):
                self._take_next(0)

    def check(self) -> None:
        """Raise if a rank has failed or died; looks once in `CHECK_INTERVAL`."""
        now = monotonic()
        if now >= self._next_check:
            self._next_check = now + CHECK_INTERVAL
            with suppress(NothingYet):
                while self._take_next(0):
                    pass

    def gather(self, own: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        """Wait until all ranks have left the block; return what each adds to the reductions."""
        while self._take_next(None):
            pass
        return [own, *(self._results[rank] for rank in range(1, self._n_workers))]

    def end(self) -> None:
        """Kill the ranks that are left, and release everything."""
        if os.getpid() != self._owner:
            return
        with signals_blocked():
            super().end()
            self._block.close()
            self.team.close()
            self.__class__ = BlockCrew

    def _take_next(self, timeout: float | None) -> bool:
        """Take the next report, return whether there was one; raise for a failure."""
        try:
            received = self.receive(timeout)
        except WorkerDied as death:
            self._failure = _exception_for(death.rank, Failure(death, ""))
            self.team.stop()  # so that it is raised again where the body catches it and goes on
            raise self._failure from death
        if received is None:
            return False
        rank, report = received
        if isinstance(report, Failure):
            self._failure = _exception_for(rank, report)
            self.team.stop()  # likewise; a rank does not know of a report that fails to unpickle
            raise self._failure
        self._results[rank] = report.values[0]
        return True

    def _raise_failure(self) -> None:
        """Raise why the block has failed, in the coordinator."""
        if self.team.failure is not None:  # what the coordinator has found itself
            raise self.team.failure
        while self._failure is None and self._take_next(None):
            pass
        if self._failure is not None:
            raise self._failure


class _ForkedCrew(BlockCrew):
    """A crew that needs its end, also where Ctrl-C comes just before `Parallel.__exit__` begins.

    A class of its own, since an interrupt that Python raises in a finalizer is lost: a crew that
    has ended has no finalizer.
    """

    def __del__(self) -> None:
        self.end()


def run_in_threads(team: Team, live: Callable[[int], Any]) -> list[Any]:
    """Return ``live(rank)`` of each rank, run at the same time.

    Raises what the caller raises as rank 0, or ParallelException if another rank has raised.
    """
    contexts = [copy_context() for _ in range(team.n_ranks)]
    share = config.share_for(team.n_ranks)
    for context in contexts:
        context.run(config.inherit_share, share)

    def work(number: int, next_claim: NextClaim) -> Iterator[Report]:
        rank = number + 1
        try:
            yield Results(rank, [contexts[rank].run(live, rank)], 0.0, 0.0)
        except BaseException as error:  # the worker's boundary: the coordinator gets all of them
            others_failed = team.is_stopped or contexts[rank].run(_is_in_stopped_map)
            team.stop()
            if isinstance(error, StopProcessGroup) and others_failed:
                return
            yield Failure(error, text_of_traceback(error))

    crew = ThreadCrew(team.n_ranks - 1, team.stop)
    try:
        crew.start(work)
        return _gathered(crew, team, lambda: contexts[0].run(live, 0))
    finally:
        try:
            team.primitives.release()
        finally:
            crew.end()


def _gathered(crew: ThreadCrew, team: Team, live: Callable[[], Any]) -> list[Any]:
    """Run rank 0, then wait for the others."""
    results: dict[int, Any] = {}
    try:
        results[0] = live()
    except StopProcessGroup:
        if not team.is_stopped:  # of a map or block around this one, or the user's own
            raise
    while (received := crew.receive(None)) is not None:
        number, report = received
        if isinstance(report, Failure):
            raise _exception_for(number + 1, report)
        results[number + 1] = report.values[0]
    if team.failure is not None:
        raise team.failure
    if len(results) < team.n_ranks:
        raise StopProcessGroup  # of the map around this block
    return [results[rank] for rank in range(team.n_ranks)]


def _is_in_stopped_map() -> bool:
    return any(worker.map.schedule.stopped for worker in current_workers())


def _exception_for(rank: int, failure: Failure) -> ParallelException:
    """Return what the coordinator raises for the failure of a rank."""
    if isinstance(failure.reason, ParallelException):  # what the rank has found of others
        return failure.reason
    if failure.warning is not None:
        warnings.warn(failure.warning, stacklevel=5)
    exception = ParallelException(failure.reason, failure.traceback, rank)
    exception.__cause__ = failure.reason
    return exception
