r"""The worker processes of one map, as their coordinator sees them.

::

    start()     fork ---------------> worker 0: for report in work(0): send   --\
                fork ---------------> worker 1: ...                           ---\
    receive()   one poll() on the sockets and the sentinels of all workers  <----/
    grant()     ------ claim -------> worker k: next_claim()
    end()       kill, reap, close

Guarantees
    When a worker ends before its work is done, `receive` raises WorkerDied at once: the kernel
    tells of the death, no pipe has to break first. What a dead worker has sent is received before.
    Reports are read one frame at a time: the coordinator holds one at most. After `end`, no
    process, zombie or descriptor of the crew is left.

Assumptions
    See `process` and `transport`.

Ownership
    A crew belongs to the process that started it: in a forked copy of that, `end` does nothing.
"""

from __future__ import annotations

import math
import os
import pickle
import select
import socket
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from signal import Signals
from typing import Any

from sharedarray import config, forks, machine
from sharedarray.errors import WorkerDied
from sharedarray.workers.blas import limited_threads
from sharedarray.workers.crew import NothingYet, Work
from sharedarray.workers.interrupts import signals_blocked
from sharedarray.workers.process import (
    DeathPipe,
    Process,
    close_in_children,
    flush_streams,
    forking,
    run_child,
    streams_kept,
)
from sharedarray.workers.reports import (
    Failure,
    failure_to_load,
    portable,
    text_of_traceback,
)
from sharedarray.workers.transport import (
    CoordinatorEnd,
    Frame,
    PeerGone,
    ProtocolError,
    WorkerEnd,
)
from sharedarray.workers.worker import unsent

__all__ = ["ProcessCrew"]

# Seconds: what a process may need to exit after it has closed its socket, and between two polls
# where the kernel has no sentinels.
EXIT_SECONDS = 0.25
POLL_SECONDS = 0.05
# Seconds; the kernel takes an int of milliseconds.
MAX_TIMEOUT = 1e6


class _Member:
    """A worker: its process, and the coordinator's end of its socket."""

    def __init__(self, rank: int, process: Process, end: CoordinatorEnd) -> None:
        self.rank = rank
        self.process = process
        self.end = end
        self.fault = ""
        self.is_gone = False


class ProcessCrew:
    """Worker processes, see the module.

    ``item_of(rank)`` returns the item that a worker runs, or None; a new process calls
    ``prepare(rank)`` first.
    """

    RESULT = "The result of item"  # with its number in the text of an error

    def __init__(
        self,
        n_workers: int,
        item_of: Callable[[int], int | None],
        prepare: Callable[[int], None],
    ) -> None:
        self._n_workers = n_workers
        self._prepare = prepare
        self._item_of = item_of
        self._owner = os.getpid()
        self._members: list[_Member] = []
        self._death_pipe: DeathPipe | None = None
        self._poll = select.poll()
        self._by_descriptor: dict[int, _Member] = {}
        self._ready: deque[tuple[_Member, Frame]] = deque()
        self._n_running = 0
        self._has_sentinels = True
        self._next_poll = 0.0
        self._death: WorkerDied | None = None
        self._n_oom_kills = 0
        self._forks: list[int] = []
        self._are_gone = True

    def start(self, work: Work) -> None:
        """Fork the workers; each sends the reports of ``work(rank, next_claim)``."""
        self._n_oom_kills = machine.oom_kills()
        limited = limited_threads(config.share_for(self._n_workers))
        with forking(), streams_kept(), limited, forks.recorded() as self._forks:
            self._death_pipe = DeathPipe()
            for rank in range(self._n_workers):
                theirs = self._fork_worker(rank)
                if theirs is not None:
                    run_child(partial(self._serve, rank, work, theirs), self._death_pipe)

    def _fork_worker(self, rank: int) -> socket.socket | None:
        """Fork a worker; return the worker's end of its socket in the child, None in the parent."""
        ours, theirs = socket.socketpair()
        close_in_children(ours)
        member = _Member(rank, Process(), CoordinatorEnd(ours))
        self._members.append(member)
        try:
            if member.process.fork():
                return theirs
        except BaseException:
            theirs.close()
            raise
        theirs.close()
        self._n_running += 1
        self._watch(ours.fileno(), member)
        if member.process.sentinel is not None:
            self._watch(member.process.sentinel, member)
        else:
            self._has_sentinels = False
        return None

    def _watch(self, descriptor: int, member: _Member) -> None:
        self._poll.register(descriptor, select.POLLIN)
        self._by_descriptor[descriptor] = member

    def _unwatch(self, descriptor: int) -> None:
        if self._by_descriptor.pop(descriptor, None) is not None:
            self._poll.unregister(descriptor)

    def receive(self, timeout: float | None) -> tuple[int, Any] | None:
        """Return the rank and the next report of a worker; raise WorkerDied if one has died."""
        self._check_owner()
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            while self._ready:
                member, frame = self._ready.popleft()
                try:
                    report = member.end.load(frame)
                except BaseException as error:
                    return member.rank, failure_to_load(error)
                if report is not None:
                    return member.rank, report
            if self._death is not None:
                try:
                    raise self._death
                finally:
                    self._death = None  # or the exception and this frame would keep each other
            if not self._n_running:
                return None
            self._poll_once(deadline)

    def _poll_once(self, deadline: float | None) -> None:
        """Wait for events of the workers, and handle them."""
        seconds = None if deadline is None else max(0.0, deadline - time.monotonic())
        if not self._has_sentinels:
            seconds = POLL_SECONDS if seconds is None else min(seconds, POLL_SECONDS)
        events = self._poll.poll(
            None if seconds is None else math.ceil(min(seconds, MAX_TIMEOUT) * 1000)
        )
        if not events and deadline is not None and time.monotonic() >= deadline:
            raise NothingYet
        ended = []
        if not self._has_sentinels and time.monotonic() >= self._next_poll:
            living = [m for m in self._members if not m.is_gone]
            ended = [m for m in living if m.process.ends_within(0)]
            self._next_poll = time.monotonic() + POLL_SECONDS
        for descriptor, event in events:
            member = self._by_descriptor.get(descriptor)
            if member is None:
                continue
            if event & select.POLLOUT:
                member.end.flush()
                self._want_to_write(member)
            if descriptor == member.process.sentinel:
                ended.append(member)
            elif event & ~select.POLLOUT:
                has_descriptors = self._read(member)
                if member.end.is_at_end:
                    self._unwatch(descriptor)
                    ended.append(member)
                if has_descriptors:  # the others wait, so that there are never many at once
                    break
        for member in ended:
            self._retire(member)

    def _read(self, member: _Member) -> bool:
        """Take what a worker has sent; return whether descriptors have come with it."""
        try:
            frames = member.end.read()
        except ProtocolError:
            member.fault = "something else than this package has written into its socket"
            member.end.is_at_end = True
            return False
        self._ready.extend((member, frame) for frame in frames)
        return any(descriptors for _, _, descriptors in frames)

    def _retire(self, member: _Member) -> None:
        """Reap a worker that has ended or closed its socket, and note if it has died."""
        if member.is_gone:
            return
        if not member.process.ends_within(EXIT_SECONDS):
            if machine.is_exiting(member.process.pid):
                return  # its exit is an event, too
            member.fault = member.fault or "it has closed its socket, or runs another program"
            member.process.kill()
        # What it had sent comes first; a grandchild may still have the socket open. If it is much,
        # the sentinel leads here again.
        while not (member.end.is_at_end or member.end.is_drained):
            self._read(member)
            if self._ready:
                return
        self._reap(member)
        is_fine = member.end.has_ended and not member.fault and member.process.exitcode in (0, None)
        if not is_fine or member.end.has_offspring:
            self._are_gone = False
        if not is_fine and self._death is None:
            self._death = self._deaths_with(member)

    def _reap(self, member: _Member) -> None:
        """Reap a worker and stop watching it."""
        self._unwatch(member.end.socket.fileno())
        if member.process.sentinel is not None:
            self._unwatch(member.process.sentinel)
        member.process.reap()
        member.is_gone = True
        self._n_running -= 1

    def _deaths_with(self, first: _Member) -> WorkerDied:
        """Return the exception for a death and others that have happened with it."""
        dead = [first]
        for member in self._members:
            if not member.is_gone and member.process.ends_within(0):
                self._read(member)
                while not (member.end.is_at_end or member.end.is_drained):
                    self._read(member)
                self._reap(member)
                if not (member.end.has_ended and member.process.exitcode == 0):
                    dead.append(member)
        items = {m.rank: self._item_of(m.rank) for m in dead}
        exitcode = first.process.exitcode
        return WorkerDied(
            "; ".join(self._describe(m, items[m.rank]) for m in dead),
            first.rank,
            first.process.pid,
            exitcode,
            -exitcode if exitcode is not None and exitcode < 0 else None,
            tuple(item for item in items.values() if item is not None),
        )

    def _describe(self, member: _Member, item: int | None) -> str:
        exitcode = member.process.exitcode
        if member.fault:
            what = f"was ended, because {member.fault}"
        elif exitcode is None:
            what = "has died; its exit status is unavailable"
        elif exitcode >= 0:
            what = f"has left with exit code {exitcode}"
        else:
            name = _signal_name(-exitcode)
            what = f"was killed by {name}"
            if name == "SIGKILL":
                is_oom = machine.oom_kills() > self._n_oom_kills
                what += ", by the out-of-memory killer" if is_oom else " (possibly out of memory)"
        where = "" if item is None else f" while it ran item {item}"
        return f"worker {member.rank} (pid {member.process.pid}) {what}{where}"

    def grant(self, rank: int, claim: Any) -> None:
        """Send a worker its next claim, None for the end of its work."""
        self._check_owner()
        member = self._members[rank]
        member.end.send(claim)
        self._want_to_write(member)

    def _want_to_write(self, member: _Member) -> None:
        descriptor = member.end.socket.fileno()
        if descriptor in self._by_descriptor:
            wants = select.POLLIN | (select.POLLOUT if member.end.has_unsent else 0)
            self._poll.modify(descriptor, wants)

    def _check_owner(self) -> None:
        if os.getpid() != self._owner:
            raise RuntimeError("a map goes on only in the process that has started it")

    def end(self) -> None:
        """Kill and reap the workers that are left, and free all that the crew has."""
        if os.getpid() != self._owner:
            return
        with signals_blocked():
            for member in self._members:
                self._are_gone = self._are_gone and member.is_gone
                member.process.kill()
            while self._members:
                member = self._members[-1]
                member.process.reap()
                member.end.close()
                self._members.pop()
            self._n_running = 0
            # A worker that was killed may leave children of its own.
            forks.settle(self._forks, are_gone=self._are_gone)
            self._forks = []
            self._ready.clear()
            if self._death_pipe is not None:
                self._death_pipe.close()
                self._death_pipe = None

    abandon = end

    def _serve(self, rank: int, work: Work, socket: socket.socket) -> None:
        """Run in a worker: send what the work reports."""
        end = WorkerEnd(socket)
        pid = os.getpid()
        try:
            self._prepare(rank)
            for report in work(rank, end.next_claim):
                if os.getpid() != pid:  # forked by the item, and returned from it
                    os._exit(1)
                if isinstance(report, Failure):
                    flush_streams()  # the coordinator kills all workers when it receives it
                    end.send(portable(report))
                    break
                try:
                    end.send(report, report.values)
                except PeerGone:
                    raise
                except BaseException as error:  # pickling runs any code of the results
                    end.send(portable(unsent(report, error, self.RESULT, _copy)))
                    break
            end.end(has_offspring=forks.has_offspring())
        except PeerGone:  # the coordinator has died
            os._exit(1)
        except BaseException as error:  # unpickling runs any code of the items
            if os.getpid() != pid:
                raise
            with suppress(PeerGone):
                end.send(portable(Failure(error, text_of_traceback(error))))


def _signal_name(number: int) -> str:
    try:
        return Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"


def _copy(value: object) -> object:
    return pickle.loads(pickle.dumps(value, 5))
