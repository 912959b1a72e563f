"""Every exception of the package."""

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
    """Report an exception that a worker raised, in the coordinator.

    The original exception is also the ``__cause__`` where it is raised by a pool.

    Parameters
    ----------
    reason : BaseException
        The exception that the work function raised.
    traceback : str
        The worker's traceback, as text: the frames themselves stay in the worker.

    Attributes
    ----------
    reason : BaseException
        As above.
    traceback : str
        As above.

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

    Parameters
    ----------
    message : str
        What happened to which workers.
    rank, pid, exitcode, signal, items
        As below.

    Attributes
    ----------
    rank : int
        The worker's number; of the first one where several have died.
    pid : int
        Its process.
    exitcode : int or None
        What it gave to `os._exit`, ``-signal`` where a signal killed it, None where somebody else
        has asked the kernel for it first.
    signal : int or None
        What killed it.
    items : tuple of int
        The positions of the items that the dead workers were running.
    reason : ChildProcessError
        The message, as an exception.
    traceback : str
        Empty: a process that dies leaves none.

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
        self.args = (
            message,
            rank,
            pid,
            exitcode,
            signal,
            items,
        )
        self.rank = rank
        self.pid = pid
        self.exitcode = exitcode
        self.signal = signal
        self.items = items

    def __str__(self) -> str:
        return str(self.args[0])


class ParallelException(WorkerException):
    """Report in the coordinator why a `Parallel` block has ended before its end.

    Parameters
    ----------
    reason, traceback
        As for `WorkerException`.
    rank : int
        As below.

    Attributes
    ----------
    rank : int
        Who has failed; the first of them where the ranks do not agree where they are.
    reason : BaseException
        What the rank has raised, the `WorkerDied` of a process that has died, or a RuntimeError
        that says which constructs the ranks have met.
    traceback : str
        The rank's traceback, as text; may be empty.

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
    """Unwind a worker whose map has ended: another item failed, or the coordinator gave up.

    It comes out of `critical` and `ordered`, in worker threads only: processes are killed. Derived
    from BaseException so that a work function's own ``except Exception`` lets it pass.

    Examples
    --------
    >>> from sharedarray import StopProcessGroup
    >>> issubclass(StopProcessGroup, Exception)
    False
    """


class LostExceptionType(UserWarning):
    """Warn that an exception could not travel from a worker process as what it is.

    Its class, or what it holds, does not pickle, or does not unpickle. `WorkerException.reason` is
    then a plain Exception with the name and text of the lost one.

    Examples
    --------
    >>> from sharedarray import LostExceptionType
    >>> issubclass(LostExceptionType, Warning)
    True
    """


class ForkInThreadsWarning(RuntimeWarning):
    """Warn that other threads are running while worker processes are forked.

    A lock that one of them holds at that moment stays locked in the workers for ever. It takes the
    place of the DeprecationWarning of Python 3.12 and later, and comes before anything is forked.

    Examples
    --------
    >>> from sharedarray import ForkInThreadsWarning
    >>> issubclass(ForkInThreadsWarning, RuntimeWarning)
    True
    """


class SharedArrayUnpickleError(pickle.UnpicklingError):
    """Report a pickle that names memory which this process cannot reach.

    Its message says what to send instead.

    Examples
    --------
    >>> import pickle
    >>> from sharedarray import SharedArrayUnpickleError
    >>> issubclass(SharedArrayUnpickleError, pickle.UnpicklingError)
    True
    """
