"""Where workers run: in processes, in threads, or in the caller itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from sharedarray.workers.crew import Crew, SerialCrew
from sharedarray.workers.primitives import ProcessPrimitives, ThreadPrimitives
from sharedarray.workers.process import check_fork
from sharedarray.workers.processcrew import ProcessCrew
from sharedarray.workers.sync import Schedule
from sharedarray.workers.threadcrew import ThreadCrew

__all__ = ["Backend", "ProcessBackend", "SerialBackend", "ThreadBackend", "backend_named"]


class Backend:
    """A way to run workers; a class is used as it is, without instances.

    Attributes
    ----------
    name : str
        By which a pool may be asked for it.
    is_parallel : bool
        Whether workers run beside the caller.
    primitives : callable
        Makes what the workers need to wait for each other.
    """

    name: ClassVar[str]
    is_parallel: ClassVar[bool]
    primitives: ClassVar[type[ProcessPrimitives] | type[ThreadPrimitives]]

    @staticmethod
    def crew(n_workers: int, schedule: Schedule, settle: Callable[[int], None]) -> Crew:
        """Return the workers of one map, not yet started.

        Parameters
        ----------
        n_workers : int
            Ranks are 0 to ``n_workers - 1``.
        schedule : Schedule
            What they share.
        settle : callable
            What a new process has to do first, called with its rank.
        """
        raise NotImplementedError


class ProcessBackend(Backend):
    """Run workers in processes, forked when a map starts.

    A fork inherits everything: closures, lambdas, private arrays; nothing but results is pickled.
    What a worker changes stays its own, except in shared arrays. A worker that dies ends the map
    with `WorkerDied`; workers die with the coordinator.

    Raises
    ------
    NotImplementedError
        By the first map, on a platform without fork.

    Examples
    --------
    >>> import sharedarray
    >>> sharedarray.MapReduce(sharedarray.ProcessBackend, np=2).map(abs, [-1, 2, -3])
    [1, 2, 3]
    """

    name = "process"
    is_parallel = True
    primitives = ProcessPrimitives

    @staticmethod
    def crew(n_workers: int, schedule: Schedule, settle: Callable[[int], None]) -> Crew:
        """Return processes, not yet forked."""
        check_fork()
        return ProcessCrew(n_workers, schedule.item_of, settle)


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
    primitives = ThreadPrimitives

    @staticmethod
    def crew(n_workers: int, schedule: Schedule, settle: Callable[[int], None]) -> Crew:
        """Return threads, not yet at work."""
        return ThreadCrew(n_workers, schedule.stop)


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
    primitives = ThreadPrimitives

    @staticmethod
    def crew(n_workers: int, schedule: Schedule, settle: Callable[[int], None]) -> Crew:
        """Return the caller."""
        return SerialCrew()


def backend_named(backend: str | type[Backend]) -> type[Backend]:
    """Return the backend of this name, or `backend` itself where it is one."""
    if isinstance(backend, type) and issubclass(backend, Backend):
        return backend
    backends: dict[str, type[Backend]] = {
        b.name: b for b in (ProcessBackend, ThreadBackend, SerialBackend)
    }
    if not isinstance(backend, str):
        raise TypeError(f"backend must be a Backend class or a name, not {backend!r}")
    if backend not in backends:
        raise ValueError(f"backend must be one of {', '.join(backends)}, not {backend!r}")
    return backends[backend]
