"""Every exception of the package."""

from __future__ import annotations

import pickle
from traceback import format_exception_only

__all__ = ["SharedArrayUnpickleError", "WorkerException"]


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
