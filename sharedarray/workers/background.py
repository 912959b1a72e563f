"""Calls that run beside their caller, in a process or in a thread of their own.

See `backgroundchild` for the process and `threads` for the thread.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from contextvars import Context, copy_context
from numbers import Real
from typing import Any, Generic, NoReturn, ParamSpec, TypeVar

from sharedarray import config
from sharedarray.workers.arguments import check_func, check_timeout
from sharedarray.workers.backgroundchild import (
    BackgroundChild,
    collect_ended,
    exception_of,
    outcome_of,
    started,
)
from sharedarray.workers.crew import NextClaim, Report
from sharedarray.workers.processes import MAX_TIMEOUT
from sharedarray.workers.reports import Failure
from sharedarray.workers.threads import ThreadCrew
from sharedarray.workers.worker import Worker

__all__ = ["BackgroundProcess", "BackgroundThread", "background", "background_by_thread"]

P = ParamSpec("P")
T = TypeVar("T")


class _Handle(Generic[T]):
    """What both kinds of calls have in common."""

    # Until there is something to wait for.
    _is_waited_for = True
    _name = ""
    _owner = 0

    def _expect(self, function: Callable[..., T]) -> None:
        """Note that somebody has to wait."""
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

    It has the methods of a `concurrent.futures.Future` that need no helper thread. It is none:
    `concurrent.futures.wait` and `as_completed`, and callbacks, need one; see `BackgroundThread`.

    Examples
    --------
    >>> import sharedarray
    >>> call = sharedarray.background(pow, 2, 10)
    >>> call.wait(), call.done(), call.cancel()
    (1024, True, False)
    """

    def __init__(self) -> None:
        self._child: BackgroundChild | None = None
        self._value: Any = None  # where there is no child: of debug mode

    def wait(self, timeout: float | None = None) -> T:
        """Return what the function returns; more than once where wanted.

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
            The process died, whatever killed it.
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
        """Kill the process, and return whether that has ended the call; False if it was over."""
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
        Any callable, closures included. The process is forked, so it has everything the caller
        has; it runs in a copy of the caller's context.
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
    A call whose handle is dropped goes on to its end. All calls end with the process that has
    started them: at its exit, whoever still runs is killed. The next `background` fetches the
    outcomes of those that have ended, so that neither zombies nor descriptors pile up; a running
    call holds four descriptors, and while it runs, memory of shared arrays that were freed is not
    used again for others. NumPy's global generator is seeded anew in each call. Functions and pools
    in the call use as many workers as they would in the caller.

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
    collect_ended()
    context = _callers_context()

    def work(rank: int, next_claim: NextClaim) -> Iterator[Report]:
        yield outcome_of(lambda: context.run(function, *args, **kwargs))

    handle._child = started(work)
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
        report = outcome_of(lambda: context.run(function, *args, **kwargs))
        if isinstance(report, Failure):
            handle.set_exception(exception_of(report))
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
    """Return a copy of the caller's context in which nobody is a worker of the map around it.

    The call may outlive that map.
    """
    context = Context()
    for variable, value in copy_context().items():
        if not isinstance(value, Worker):
            context.run(variable.set, value)
    return context


def _seconds(timeout: float | None) -> float | None:
    """Return the time to wait: a negative one is over, as for a `concurrent.futures.Future`.

    Longer than anybody waits is for ever, which every clock counts.
    """
    if isinstance(timeout, Real) and timeout < 0:
        return 0.0
    check_timeout(timeout)
    return None if timeout is None or timeout >= MAX_TIMEOUT else float(timeout)
