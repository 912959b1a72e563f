"""The exceptions and warnings of the package."""

from __future__ import annotations

import pickle
from traceback import format_exception_only

__all__ = [
    "ForkInThreadsWarning",
    "LostExceptionType",
    "ParallelException",
    "SharedArrayUnpickleError",
    "StopProcessGroup",
    "WorkerDied",
    "WorkerException",
]


class WorkerException(Exception):  # noqa: N818 - the name users know from sharedmem
    """Report an exception of a worker, in the coordinator.

    Pools raise it with the original exception as its ``__cause__``.

    Parameters
    ----------
    reason : BaseException
        The exception that the work function raised; also an attribute.
    traceback : str
        The worker's traceback as text; also an attribute. The frames stay in the worker.

    Examples
    --------
    >>> from sharedarray import WorkerException
    >>> error = WorkerException(ValueError("no such star"), "File 'stars.py', line 7")
    >>> error.reason
    ValueError('no such star')
    >>> print(error)
    ValueError: no such star
    <BLANKLINE>
    Traceback of the worker:
    File 'stars.py', line 7
    """

    reason: BaseException
    traceback: str

    def __init__(self, reason: BaseException, traceback: str) -> None:
        # Both go to Exception.args, from which pickle and copy make the exception again.
        super().__init__(reason, traceback)
        self.reason = reason
        self.traceback = traceback

    def __str__(self) -> str:
        try:
            what = "".join(format_exception_only(self.reason)).rstrip()
        except BaseException:  # an exception may be of any class, and its attributes run any code
            what = f"{type(self.reason).__name__}: <unprintable>"
        return f"{what}\n\nTraceback of the worker:\n{self.traceback.rstrip()}"


class WorkerDied(WorkerException):
    """Report that a worker process ended before its work did.

    All parameters but the message are also attributes. `reason` is a ChildProcessError with the
    message, `traceback` is empty.

    Parameters
    ----------
    message : str
        What happened to which workers.
    rank, pid : int
        The number and the process of the worker, the first one if several have died.
    exitcode : int or None
        Its exit code, ``-signal`` if a signal killed it, None if other code of this process has
        taken it from the kernel.
    signal : int or None
        The signal that killed it.
    items : tuple of int
        The positions of the items that the dead workers were running.

    Examples
    --------
    >>> from sharedarray import WorkerDied, WorkerException
    >>> issubclass(WorkerDied, WorkerException)
    True
    """

    def __init__(
        self,
        message: str,
        rank: int,
        pid: int,
        exitcode: int | None,
        signal: int | None,
        items: tuple[int, ...],
    ) -> None:
        super().__init__(ChildProcessError(message), "")
        # What pickle and copy call the class with.
        self.args = (message, rank, pid, exitcode, signal, items)
        self.rank = rank
        self.pid = pid
        self.exitcode = exitcode
        self.signal = signal
        self.items = items

    def __str__(self) -> str:
        return str(self.args[0])


class ParallelException(WorkerException):
    """Report in the coordinator why a `Parallel` block has failed.

    The parameters are also attributes.

    Parameters
    ----------
    reason : BaseException
        What the rank has raised, the `WorkerDied` of its process, or a RuntimeError that says which
        constructs the ranks have met.
    traceback : str
        The rank's traceback as text; may be empty.
    rank : int
        The rank that has failed; where the ranks do not agree, the first one that differs.

    Examples
    --------
    >>> from sharedarray import ParallelException
    >>> error = ParallelException(ValueError("no such star"), "File 'stars.py', line 7", 1)
    >>> error.rank, error.reason
    (1, ValueError('no such star'))
    """

    def __init__(self, reason: BaseException, traceback: str, rank: int) -> None:
        super().__init__(reason, traceback)
        self.args = (reason, traceback, rank)  # what pickle and copy call the class with
        self.rank = rank

    def __str__(self) -> str:
        if self.traceback:
            return f"rank {self.rank}: {super().__str__()}"
        return str(self.reason)


class StopProcessGroup(BaseException):
    """Unwind a worker thread whose map has ended: another item failed, or the coordinator gave up.

    `critical` and `ordered` raise it; worker processes are killed instead. It derives from
    BaseException so that ``except Exception`` in a work function lets it pass.

    Examples
    --------
    >>> from sharedarray import StopProcessGroup
    >>> issubclass(StopProcessGroup, Exception)
    False
    """


class LostExceptionType(UserWarning):
    """Warn that the exception of a worker process does not pickle or does not unpickle.

    `WorkerException.reason` is then a plain Exception with the name and text of the lost one.

    Examples
    --------
    >>> from sharedarray import LostExceptionType
    >>> issubclass(LostExceptionType, Warning)
    True
    """


class ForkInThreadsWarning(RuntimeWarning):
    """Warn that other threads are running while worker processes are forked.

    A lock that one of them holds at that moment stays locked in the workers for ever. This warning
    replaces the DeprecationWarning of Python 3.12 and later, and comes before the fork.

    Examples
    --------
    >>> from sharedarray import ForkInThreadsWarning
    >>> issubclass(ForkInThreadsWarning, RuntimeWarning)
    True
    """


class SharedArrayUnpickleError(pickle.UnpicklingError):
    """Report a pickle that refers to memory which this process cannot reach.

    The message says what to send instead.

    Examples
    --------
    >>> import pickle
    >>> from sharedarray import SharedArrayUnpickleError
    >>> issubclass(SharedArrayUnpickleError, pickle.UnpicklingError)
    True
    """
