"""Where workers run: in threads, or in the caller itself.

::

    coordinator                   worker thread (kept between maps)
    -----------                   ---------------------------------
    run(n, work, handle) ------>  inbox: work(rank, report)
    handle(report)       <------  queue: whatever `work` reports
    return               <------  queue: None for the end of work, sent after the thread has made
                                  itself idle and counted itself in `ended`

Guarantees
    A thread is idle again before the coordinator hears that it has ended its work, so a loop of
    maps starts its threads once. `run` returns or raises after the last worker has ended; one more
    Ctrl-C while it waits for that leaves the threads to end their items alone. Before every fork
    of the process the idle threads end, so that the fork is not one "of a multi-threaded process"
    on their account; a forked child starts without any.

Assumptions
    `work` returns soon after `stop` was called: threads cannot be killed.

Ownership
    This is the only module that starts threads. An idle thread belongs to `_idle`, a busy one to
    the call of `run` that hired it.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from operator import length_hint
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from time import sleep
from typing import Any, ClassVar

from sharedarray import forks

__all__ = ["Backend", "SerialBackend", "ThreadBackend", "backend_named"]

Handle = Callable[[Any], None]
Work = Callable[[int, Handle], None]


class Backend:
    """A way to run workers; a class is used as it is, without instances.

    Attributes
    ----------
    name : str
        By which a pool may be asked for it.
    is_parallel : bool
        Whether workers run beside the caller.
    """

    name: ClassVar[str]
    is_parallel: ClassVar[bool]

    @staticmethod
    def run(n_workers: int, work: Work, handle: Handle, stop: Callable[[], None]) -> None:
        """Run ``work(rank, report)`` in every worker and pass what they report to `handle`.

        Parameters
        ----------
        n_workers : int
            Ranks are 0 to ``n_workers - 1``.
        work : callable
            Must not raise.
        handle : callable
            Runs in the caller. What it raises ends the run.
        stop : callable
            Called before waiting for the workers where the run ends early.
        """
        raise NotImplementedError


class SerialBackend(Backend):
    """Run every item in the caller.

    ``np=0``, the debug mode and sequences shorter than `minlength` use it, whatever the pool's
    backend is. Breakpoints work, and each construct of a pool does what it does with one worker.

    Examples
    --------
    >>> import sharedarray
    >>> sharedarray.MapReduce(sharedarray.SerialBackend).map(abs, [-1, 2, -3])
    [1, 2, 3]
    """

    name = "serial"
    is_parallel = False

    @staticmethod
    def run(n_workers: int, work: Work, handle: Handle, stop: Callable[[], None]) -> None:
        """Run ``work(0, handle)``."""
        work(0, handle)


class ThreadBackend(Backend):
    """Run workers in threads of this process.

    NumPy releases the GIL in its kernels, so threads that compute in NumPy run at the same time.
    All memory is shared. Threads are kept for the next map.

    Examples
    --------
    >>> import sharedarray
    >>> sharedarray.MapReduce(sharedarray.ThreadBackend, np=2).map(abs, [-1, 2, -3])
    [1, 2, 3]
    """

    name = "thread"
    is_parallel = True

    @staticmethod
    def run(n_workers: int, work: Work, handle: Handle, stop: Callable[[], None]) -> None:
        """Run ``work(rank, report)`` in `n_workers` threads, see `Backend.run`."""
        reports: SimpleQueue[Any] = SimpleQueue()
        ended: list[_Worker] = []
        team: list[_Worker] = []
        tasks: Iterator[Any] | None = None
        try:
            _hire(n_workers, team)
            inboxes = [worker.inbox for worker in team]
            tasks = iter([(work, (rank, reports.put), ended, reports) for rank in range(n_workers)])
            # One call of C, which no Ctrl-C interrupts: either all workers have a task or none has.
            deque(map(SimpleQueue.put, inboxes, tasks), maxlen=0)
            n_running = n_workers
            while n_running:
                report = reports.get()
                if report is None:
                    n_running -= 1
                else:
                    handle(report)
        except BaseException:  # Ctrl-C included: whatever ended the run, its workers end with it
            if tasks is None or length_hint(tasks):  # nobody has a task
                _idle.extend(worker for worker in team if worker.is_alive())
                raise
            stop()
            # What ended is counted by the workers: an interrupt may have lost a report.
            while len(ended) < n_workers:
                reports.get()
            raise


def backend_named(backend: str | type[Backend]) -> type[Backend]:
    """Return the backend of this name, or `backend` itself where it is one."""
    if isinstance(backend, type) and issubclass(backend, Backend):
        return backend
    backends = {b.name: b for b in (SerialBackend, ThreadBackend)}
    if not isinstance(backend, str):
        raise TypeError(f"backend must be a Backend class or a name, not {backend!r}")
    if backend not in backends:
        raise ValueError(f"backend must be one of {', '.join(backends)}, not {backend!r}")
    return backends[backend]


class _Worker(Thread):
    """A thread that does one piece of work after the other, and is idle in between."""

    _numbers = count()

    def __init__(self) -> None:
        # Daemon: a thread that waits for work must not keep the interpreter from ending.
        super().__init__(name=f"sharedarray-worker-{next(self._numbers)}", daemon=True)
        self.inbox: SimpleQueue[Any] = SimpleQueue()

    def dismiss(self) -> None:
        """End the thread after the work that it has."""
        self.inbox.put(None)

    def run(self) -> None:
        """Work until dismissed."""
        while task := self.inbox.get():
            function, args, ended, reports = task
            function(*args)
            # An idle worker must not keep the last work, and the arrays in it, alive.
            del task, function, args
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
# Threads on their way out; at a fork they have to be gone.
_leaving: list[_Worker] = []


def _hire(n_workers: int, team: list[_Worker]) -> None:
    """Add idle workers to `team`, and new ones where there are too few.

    Whatever interrupts it, each worker is in one of the lists.
    """
    for worker in list(_leaving):
        if not worker.is_alive():
            with suppress(ValueError):  # another thread was faster
                _leaving.remove(worker)
    while len(team) < n_workers:
        with suppress(IndexError):
            team.extend(map(list.pop, [_idle]))  # one call of C
            continue
        worker = _Worker()
        team.append(worker)
        worker.start()


def _dismiss_idle() -> None:
    """End all idle threads and wait until the kernel has none of them."""
    with suppress(IndexError):  # none is left, or another thread was faster
        while True:
            worker = _idle.pop()
            worker.dismiss()
            _leaving.append(worker)
    with suppress(IndexError):
        while True:
            worker = _leaving.pop()
            worker.join()
            # Before Python 3.13 `join` returns while the kernel still has the thread.
            while Path(f"/proc/self/task/{worker.native_id}").exists():
                sleep(0)


def _forget_idle() -> None:
    """Start a forked child without workers: threads do not survive a fork."""
    _idle.clear()
    _leaving.clear()


forks.on_fork(before=_dismiss_idle, in_child=_forget_idle)
