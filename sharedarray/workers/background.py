r"""Calls that run beside their caller, in a process or in a thread of their own.

::

    caller                                     child
    ------                                     -----
    background(f, ...)  --- fork ---------->   work: f(...)
    ...                                        result --small--> socket: frame
    collect() <-- poll: socket, sentinel              \-large--> memfd, passed with the frame
                       frames -> outcome       os._exit, waited for or not
    children that have ended are reaped before the next one is started

Guarantees
    A child never waits for its caller: what does not fit into the socket lies in a memfd. However a
    child ends, `wait` tells. An interrupt ends the wait alone: reading and unpickling are done with
    signals held back, so that nothing is lost and the next wait goes on. A child lives as long as
    its process, not as the thread that has started it, and is killed with the process.

Assumptions
    See `processes` and `transport`: one worker, one report. See `threads` for calls in threads.

Ownership
    A child is in `_running` until its outcome is there; handles may be dropped before. The holder
    of a child's `_waiting` alone polls, the holder of both locks alone closes its descriptors;
    `_state` is enough to kill it.
"""

from __future__ import annotations

import math
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from contextvars import Context, copy_context
from numbers import Real
from threading import Lock
from typing import Any, Generic, NoReturn, ParamSpec, TypeVar

from sharedarray import config, forks
from sharedarray.errors import WorkerDied
from sharedarray.workers.arguments import check_func, check_timeout
from sharedarray.workers.crew import NextClaim, NothingYet, Report, worker_exception
from sharedarray.workers.interrupts import call_into, signals_blocked
from sharedarray.workers.process import check_fork
from sharedarray.workers.processes import MAX_TIMEOUT, ProcessCrew
from sharedarray.workers.reports import Failure, Results, text_of_traceback
from sharedarray.workers.threads import ThreadCrew
from sharedarray.workers.worker import Worker, reseed

__all__ = ["BackgroundProcess", "BackgroundThread", "background", "background_by_thread"]

P = ParamSpec("P")
T = TypeVar("T")


class _Child(ProcessCrew):
    """The process of one call.

    Once it has ended, `outcome` is what the call has returned and what it has raised. The first
    wait has to give the `warning`.
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
            while taken[0] and self.outcome is None and self._has_event(deadline):
                self._take()
        finally:
            if taken and taken[0]:  # without a call: an interrupt after one would skip the release
                self._waiting.release()
        return self.outcome is not None

    def _has_event(self, deadline: float | None) -> bool:
        """Wait until the child has sent something or ended; return whether it has."""
        seconds = None if deadline is None else max(0.0, deadline - time.monotonic())
        if not self._has_sentinels:  # its end is enough: it never waits for the caller
            return self._members[0].process.ends_within(math.inf if seconds is None else seconds)
        return bool(self._poll.poll(None if seconds is None else math.ceil(seconds * 1000)))

    def _take(self) -> None:
        """Take what is there of the report and of the end."""
        with signals_blocked(), self._state:
            try:
                while self.outcome is None:
                    if not self._has_sentinels:  # its end is what `_has_event` has seen
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
        """Set the outcome by the report and the death, and free all."""
        report = self._report
        outcome: tuple[Any, BaseException | None]
        if isinstance(report, Results):
            outcome = report.values[0], None
            if death is not None and not self._is_unwanted:
                self.warning = RuntimeWarning(f"the result is there, but {death}")
        elif isinstance(report, Failure):
            outcome = None, worker_exception(report)
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


# Children without an outcome. Those of its parent are not a forked child's own.
_running: set[_Child] = set()
forks.on_fork(in_child=_running.clear)


def _started(function: Callable[[], Any]) -> _Child:
    """Return a new child that calls a function; an exception leaves nothing behind."""

    def work(rank: int, next_claim: NextClaim) -> Iterator[Report]:
        yield _report_of(function)

    for ended in list(_running):  # so that the kernel forgets them
        ended.collect(0)
    child = _Child()
    try:
        child.start(work)
        _running.add(child)
    except BaseException:  # Ctrl-C included
        child.end()
        _running.discard(child)
        raise
    return child


def _report_of(function: Callable[[], Any]) -> Results | Failure:
    began = time.perf_counter()
    try:
        return Results(0, [function()], began, time.perf_counter())
    except BaseException as error:  # the worker's boundary: SystemExit is reported, too
        return Failure(error, text_of_traceback(error))


class _Handle(Generic[T]):
    """A background call, in a process or a thread."""

    # Until `_expect`.
    _is_waited_for = True
    _name = ""
    _owner = 0

    def _expect(self, function: Callable[..., T]) -> None:
        """Note that the call has to be waited for."""
        self._name = getattr(function, "__qualname__", repr(function))
        self._owner = os.getpid()
        self._is_waited_for = False

    # Arguments, because it may die after the module's globals have, at the interpreter's end.
    def __del__(
        self,
        warn: Callable[..., None] = warnings.warn,
        getpid: Callable[[], int] = os.getpid,
    ) -> None:
        if not self._is_waited_for and self._owner == getpid():
            message = f"nobody has waited for the background call of {self._name}"
            warn(message, ResourceWarning, stacklevel=2, source=self)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a background call does not pickle: it belongs to its process")


class BackgroundProcess(_Handle[T]):
    """A call that runs in a process of its own, made by `background`.

    It has the methods of a `concurrent.futures.Future` that need no helper thread. What needs one,
    callbacks and `concurrent.futures.wait` and `as_completed`, takes a `BackgroundThread`.

    Examples
    --------
    >>> import sharedarray
    >>> call = sharedarray.background(pow, 2, 10)
    >>> call.wait(), call.done(), call.cancel()
    (1024, True, False)
    """

    def __init__(self) -> None:
        self._child: _Child | None = None
        self._value: Any = None  # in debug mode, without a child

    def wait(self, timeout: float | None = None) -> T:
        """Return what the function returns, as often as it is called.

        Parameters
        ----------
        timeout : float, optional
            Seconds to wait; 0 and less: not at all. Default: until the call has ended.

        Returns
        -------
        object
            The same object each time.

        Raises
        ------
        WorkerException
            The function raised; `reason` is its exception, also the ``__cause__``.
        WorkerDied
            The process died.
        concurrent.futures.CancelledError
            The call was cancelled.
        TimeoutError
            It has not ended in time; it goes on, and may be waited for again.
        RuntimeError
            Another process has started the call, and it had not ended when this one was forked.
        """
        value, error = self._concluded(timeout)
        try:
            if error is not None:
                raise error
            return value  # type: ignore[no-any-return]
        finally:
            del self, error  # the exception and this frame would keep each other

    result = wait

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return what `wait` would raise, None where it would return; times out as that does."""
        _, error = self._concluded(timeout)
        try:
            if isinstance(error, CancelledError):
                raise error
            return error
        finally:
            del self, error  # see above

    def done(self) -> bool:
        """Return whether the call has ended, so that `wait` would not wait."""
        return self._child is None or self._child.collect(0)

    def running(self) -> bool:
        """Return whether the call has not ended."""
        return not self.done()

    def cancel(self) -> bool:
        """Kill the process, and return whether that has ended the call."""
        self._is_waited_for = True
        return self._child is not None and self._child.cancel()

    def cancelled(self) -> bool:
        """Return whether `cancel` has ended the call."""
        return self._child is not None and self._child.collect(0) and self._child.is_cancelled

    def _concluded(self, timeout: float | None) -> tuple[Any, BaseException | None]:
        """Return what the function has returned and what it has raised, once it has ended."""
        seconds = _seconds(timeout)
        child = self._child
        if child is None:
            return self._value, None
        if not child.collect(seconds) or child.outcome is None:
            raise TimeoutError(f"the background call of {self._name} goes on after {timeout} s")
        self._is_waited_for = True
        if child.warning is not None:
            warning, child.warning = child.warning, None
            warnings.warn(warning, stacklevel=3)
        return child.outcome


class BackgroundThread(_Handle[T], Future[T]):
    """A call that runs in a thread of its own, made by `background_by_thread`.

    A `concurrent.futures.Future` in every respect, with `wait` as another name of `result`. A
    thread cannot be killed: `cancel` returns False.

    Examples
    --------
    >>> from concurrent.futures import as_completed
    >>> import sharedarray
    >>> calls = [sharedarray.background_by_thread(pow, 2, n) for n in range(4)]
    >>> sorted(call.wait() for call in as_completed(calls))
    [1, 2, 4, 8]
    """

    def result(self, timeout: float | None = None) -> T:
        """Return what the function returns, raise as `BackgroundProcess.wait` does."""
        self._await(timeout)
        try:
            return super().result(0)
        finally:
            del self  # see above

    wait = result

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return what `wait` would raise, None where it would return; times out as that does."""
        self._await(timeout)
        return super().exception(0)

    def _await(self, timeout: float | None) -> None:
        seconds = _seconds(timeout)
        if not self.done() and self._owner != os.getpid():
            raise RuntimeError("a background call belongs to the process that has started it")
        try:
            super().exception(seconds)
        except TimeoutError:
            message = f"the background call of {self._name} goes on after {timeout} s"
            raise TimeoutError(message) from None
        self._is_waited_for = True


def background(
    function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
) -> BackgroundProcess[T]:
    """Start ``function(*args, **kwargs)`` in a process of its own, and go on.

    Parameters
    ----------
    function : callable
        Any callable, closures included: a fork has everything the caller has. It runs in a copy of
        the caller's context.
    *args, **kwargs
        For the function, all of them. They are inherited, not pickled.

    Returns
    -------
    BackgroundProcess
        `wait` returns the result, which is pickled; a shared array that the call has made is
        adopted without a copy.

    Raises
    ------
    TypeError
        If the function is not callable.
    NotImplementedError
        On a platform without fork.
    BlockingIOError, OSError, MemoryError
        The system has no room for another process, descriptor or page.

    Warns
    -----
    LostExceptionType, RuntimeWarning
        By the first wait: the exception does not pickle; the process has died after it had
        delivered its result.
    ForkInThreadsWarning
        Other threads are running while the process is forked (Python 3.12 and later).
    ResourceWarning
        The handle was dropped, and nobody has waited: what the call has raised is lost.

    Notes
    -----
    A call whose handle is dropped goes on to its end. At the exit of the process that has started
    them, calls that still run are killed. The next `background` fetches the outcomes of those that
    have ended, so that neither zombies nor descriptors pile up; a running call holds four
    descriptors, and keeps freed memory of shared arrays from being used again. NumPy's global
    generator is seeded anew in each call. Functions and pools in the call use as many workers as
    they would in the caller.

    In debug mode the function runs at once, in the caller, and its exceptions come out as they are.

    Examples
    --------
    >>> import sharedarray
    >>> power = sharedarray.background(pow, 2, 10)
    >>> other = pow(3, 2)
    >>> power.wait() + other
    1033
    """
    check_func(function)
    handle: BackgroundProcess[T] = BackgroundProcess()
    if config.get_debug():
        handle._value = function(*args, **kwargs)
        return handle
    if sys.is_finalizing():
        raise RuntimeError("a background call cannot start while the interpreter ends")
    context = _callers_context()
    handle._child = _started(lambda: context.run(function, *args, **kwargs))
    handle._expect(function)
    return handle


def background_by_thread(
    function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
) -> BackgroundThread[T]:
    """Start ``function(*args, **kwargs)`` in a thread of its own, and go on.

    Parameters
    ----------
    function, *args, **kwargs
        As for `background`.

    Returns
    -------
    BackgroundThread
        A `concurrent.futures.Future`.

    Raises
    ------
    TypeError
        If the function is not callable.
    RuntimeError
        The system has no room for another thread.

    Warns
    -----
    ResourceWarning
        The handle was dropped, and nobody has waited: what the call has raised is lost.

    Notes
    -----
    The thread shares all memory with the caller, and does not keep the interpreter from ending. It
    is kept for the next call. In debug mode the function runs at once, in the caller.

    Examples
    --------
    >>> import sharedarray
    >>> sharedarray.background_by_thread(sorted, [3, 1, 2], reverse=True).wait()
    [3, 2, 1]
    """
    check_func(function)
    handle: BackgroundThread[T] = BackgroundThread()
    if config.get_debug():
        handle.set_result(function(*args, **kwargs))
        return handle
    handle.set_running_or_notify_cancel()
    context = _callers_context()

    def work(rank: int, next_claim: NextClaim) -> Iterator[Report]:
        report = _report_of(lambda: context.run(function, *args, **kwargs))
        if isinstance(report, Failure):
            handle.set_exception(worker_exception(report))
        else:
            handle.set_result(report.values[0])
        return iter(())

    handle._expect(function)
    try:
        ThreadCrew(1, lambda: None).start(work)
    except BaseException:  # it has not begun
        handle._is_waited_for = True
        raise
    return handle


def _callers_context() -> Context:
    """Return a copy of the caller's context, without the map around it, which may end before."""
    context = Context()
    for variable, value in copy_context().items():
        if not isinstance(value, Worker):
            context.run(variable.set, value)
    return context


def _seconds(timeout: float | None) -> float | None:
    """Return the time to wait: none if it is negative, as for a `concurrent.futures.Future`."""
    if isinstance(timeout, Real) and timeout < 0:
        return 0.0
    check_timeout(timeout)
    return None if timeout is None or timeout >= MAX_TIMEOUT else float(timeout)
