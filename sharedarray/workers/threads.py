"""The worker threads of one map, which are kept between maps.

::

    coordinator                   worker thread
    -----------                   -------------
    start(work)  -------------->  inbox: for report in work(rank, next_claim): put
    receive()    <--------------  queue: (rank, report)
    grant(claim) -------------->  claims
    receive()    <--------------  queue: None for the end of work, sent after the thread has made
                                  itself idle and counted itself in `ended`

Guarantees
    A thread is idle again before the coordinator learns that it has ended its work, so a loop of
    maps starts its threads once. `end` returns after the last worker has ended; after one more
    Ctrl-C it does not wait. Idle threads end before every fork of the process, so that Python does
    not warn of a fork "of a multi-threaded process"; a forked child starts without any.

Assumptions
    The work ends soon after `stop` was called: threads cannot be killed.

Ownership
    This is the only module that starts threads. An idle thread belongs to `_idle`, a busy one to
    its crew.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from operator import length_hint
from queue import Empty, SimpleQueue
from threading import Thread
from time import sleep
from typing import Any

from sharedarray import forks
from sharedarray.workers.crew import Crew, NextClaim, NothingYet, Report, Work
from sharedarray.workers.interrupts import call_into
from sharedarray.workers.reports import Claim

__all__ = ["ThreadCrew"]


class ThreadCrew(Crew):
    """Worker threads, see the module; `end` calls `stop` before it waits for them."""

    def __init__(self, n_workers: int, stop: Callable[[], None]) -> None:
        self._owner = os.getpid()
        self._stop = stop
        self._reports: SimpleQueue[tuple[int, Report] | None] = SimpleQueue()
        self._claims: list[SimpleQueue[Claim | None]] = [SimpleQueue() for _ in range(n_workers)]
        self._ended: list[_Worker] = []
        self._n_started = 0
        self._n_running = 0

    def start(self, work: Work) -> None:
        """Give each of the threads its work."""
        team: list[_Worker] = []
        tasks: Iterator[Any] | None = None
        n_workers = len(self._claims)
        try:
            _reserve(n_workers, team)
            inboxes = [worker.inbox for worker in team]
            tasks = iter(
                [
                    ((rank, work, claims.get, self._reports), self._ended, self._reports)
                    for rank, claims in enumerate(self._claims)
                ]
            )
            self._n_started = self._n_running = n_workers
            # One call of C, see `interrupts`: either all workers have a task or none has.
            deque(map(SimpleQueue.put, inboxes, tasks), maxlen=0)
        except BaseException:  # Ctrl-C included
            if tasks is None or length_hint(tasks):  # no worker has a task
                self._n_started = 0
                _idle.extend(worker for worker in team if worker.is_alive())
            raise

    def receive(self, timeout: float | None) -> tuple[int, Report] | None:
        """Return the rank and the next report of a worker; None when all have ended."""
        while self._n_running:
            try:
                report = self._reports.get(timeout=timeout)
            except Empty:
                raise NothingYet from None
            if report is not None:
                return report
            self._n_running -= 1
        return None

    def grant(self, rank: int, claim: Claim | None) -> None:
        """Give a worker its next claim."""
        self._claims[rank].put(claim)

    def end(self) -> None:
        """Wait for the workers that have not ended, at the end of the items they run."""
        if len(self._ended) >= self._n_started:
            return
        # In a forked copy of the process the threads do not exist; at its end they do not run.
        if os.getpid() != self._owner or sys.is_finalizing():
            return
        self._stop()
        for claims in self._claims:
            claims.put(None)
        # The workers count those that have ended: an interrupt may have lost a report.
        while len(self._ended) < self._n_started:
            self._reports.get()


def _serve(
    rank: int, work: Work, next_claim: NextClaim, reports: SimpleQueue[tuple[int, Report] | None]
) -> None:
    """Run in a worker: pass on what the work reports."""
    for report in work(rank, next_claim):
        reports.put((rank, report))


class _Worker(Thread):
    """A thread that runs one task after the other, and is idle in between."""

    _numbers = count()

    def __init__(self) -> None:
        # Daemon: a thread that waits for work must not keep the interpreter from ending.
        super().__init__(name=f"sharedarray-worker-{next(self._numbers)}", daemon=True)
        self.inbox: SimpleQueue[Any] = SimpleQueue()

    @property
    def is_idle(self) -> bool:
        """Return whether it will be gone before the process forks."""
        return self in _idle or self in _leaving

    def run(self) -> None:
        """Run tasks, until one is None."""
        while task := self.inbox.get():
            args, ended, reports = task
            _serve(*args)
            # An idle worker must not keep its last work, and the arrays in it, alive.
            del task, args
            stays = len(_idle) < _MAX_IDLE
            (_idle if stays else _leaving).append(self)
            ended.append(self)
            reports.put(None)
            del ended, reports
            if not stays:
                return


# An idle thread costs a stack that is hardly touched; more workers than this are no gain.
_MAX_IDLE = max(32, 4 * (os.cpu_count() or 1))
_idle: list[_Worker] = []
# Threads that are ending; at a fork they have to be gone.
_leaving: list[_Worker] = []


def _reserve(n_workers: int, team: list[_Worker]) -> None:
    """Move idle workers to `team`, and add new ones; each is always in one of the lists."""
    for worker in list(_leaving):
        if not worker.is_alive():
            with suppress(ValueError):  # another thread was faster
                _leaving.remove(worker)
    while len(team) < n_workers:
        with suppress(IndexError):
            call_into(team, _idle.pop)
            continue
        worker = _Worker()
        team.append(worker)
        worker.start()


def _dismiss_idle() -> None:
    """End all idle threads and wait until the kernel has none of them."""
    with suppress(IndexError):  # none is left, or another thread was faster
        while True:
            worker = _idle.pop()
            worker.inbox.put(None)
            _leaving.append(worker)
    with suppress(IndexError):
        while True:
            worker = _leaving.pop()
            worker.join()
            # Before Python 3.13 `join` returns while the kernel still has the thread.
            while os.access(f"/proc/self/task/{worker.native_id}", os.F_OK):
                sleep(0)


def _forget_idle() -> None:
    """Start a forked child without workers: threads do not survive a fork."""
    _idle.clear()
    _leaving.clear()


forks.on_fork(before=_dismiss_idle, in_child=_forget_idle)
