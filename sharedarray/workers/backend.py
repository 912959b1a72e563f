"""Where workers run: in processes, in threads, or in the caller itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from sharedarray import config
from sharedarray.lazy import Later
from sharedarray.workers.crew import Crew, SerialCrew
from sharedarray.workers.primitives import ProcessPrimitives, ThreadPrimitives
from sharedarray.workers.process import check_fork
from sharedarray.workers.threads import ThreadCrew
from sharedarray.workers.worker import WorkerMap

if TYPE_CHECKING:
    from sharedarray.workers import processes
else:
    processes = Later("sharedarray.workers.processes", for_workers=True)

__all__ = [
    "Backend",
    "ProcessBackend",
    "SerialBackend",
    "ThreadBackend",
    "backend_named",
]


class Backend:
    """A way to run workers: a class, or an instance that has an executor or a client.

    Attributes
    ----------
    name : str
        The name that `MapReduce` takes.
    is_parallel : bool
        Whether workers run beside the caller.
    primitives : callable
        Makes what the workers need to wait for each other.
    is_granting : bool
        Whether the coordinator grants the items of a sequence, too, rather than workers claiming
        them.
    claim_cost : float
        The cost of a claim, in claims of threads; claims grow accordingly.
    engine : object
        The executor or client of an instance, which a map within must not wait for.
    """

    name: ClassVar[str]
    is_parallel: ClassVar[bool]
    is_granting: ClassVar[bool] = False
    claim_cost: ClassVar[float] = 1.0
    engine: Any = None
    primitives: ClassVar[type[ProcessPrimitives] | type[ThreadPrimitives]]

    # Static methods of a class, or methods of an instance.
    default_np: Callable[[], int] = staticmethod(config.cpu_count)
    crew: Callable[[WorkerMap], Crew]


class ProcessBackend(Backend):
    """Run workers in processes, forked when a map starts.

    A fork inherits everything: closures, lambdas, private arrays; nothing but results is pickled.
    A worker's changes stay its own, except in shared arrays. A worker that dies ends the map
    with `WorkerDied`; workers die with the coordinator.

    Raises
    ------
    NotImplementedError
        On the first map, on a platform without fork.

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
    def crew(call: WorkerMap) -> Crew:
        """Return processes, not yet forked."""
        check_fork()
        return processes.ProcessCrew(call.n_workers, call.item_of, call.prepare)


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
    def crew(call: WorkerMap) -> Crew:
        """Return threads, not yet at work."""
        return ThreadCrew(call.n_workers, call.schedule.stop)


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
    def crew(call: WorkerMap) -> Crew:
        """Return the caller."""
        return SerialCrew()


def backend_named(backend: str | type[Backend] | Backend) -> type[Backend] | Backend:
    """Return the backend of this name, or `backend` itself where it is one."""
    if isinstance(backend, Backend) or (isinstance(backend, type) and issubclass(backend, Backend)):
        return backend
    backends = {each.name: each for each in (ProcessBackend, ThreadBackend, SerialBackend)}
    if not isinstance(backend, str):
        raise TypeError(f"backend must be a Backend or a name, not {backend!r}")
    if backend not in backends:
        raise ValueError(f"backend must be one of {', '.join(backends)}, not {backend!r}")
    return backends[backend]
