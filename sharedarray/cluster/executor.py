"""Maps on any `concurrent.futures.Executor`.

::

    ThreadPoolExecutor   the map's own workers, each claim in one of the executor's threads
    any other executor   map and claim as bytes, see `tasks` and `remote`
"""

from __future__ import annotations

import concurrent.futures
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from sharedarray import config
from sharedarray.cluster.remote import RemoteMap, RemoteSchedule, SentClaim, run_packed
from sharedarray.cluster.shipping import dumps
from sharedarray.cluster.tasks import PendingClaim, RemoteCrew, TaskBackend, TaskCrew
from sharedarray.memory.pickling import REFERENCE
from sharedarray.workers.crew import Crew, Report, Work
from sharedarray.workers.reports import Claim
from sharedarray.workers.worker import WorkerMap

__all__ = ["ExecutorBackend"]


class ExecutorBackend(TaskBackend):
    """Run the items of a map as tasks of a `concurrent.futures.Executor`.

    Parameters
    ----------
    executor : concurrent.futures.Executor
        Of any kind: `ProcessPoolExecutor`, `ThreadPoolExecutor`, loky's, mpi4py's
        `MPIPoolExecutor`, that of `client.get_executor()` of Dask. The caller shuts it down.

    Raises
    ------
    TypeError
        If it has no `submit`.

    Notes
    -----
    The function is pickled once, by cloudpickle where it is installed, sent with each claim and
    unpickled once in a process; what is large in it should be a SharedArray, of which a process on
    this machine gets the memory, or fails the map, and one elsewhere a copy. Items are sent as
    claims, which grow while the items prove short. Where a pool is not told its `np`, it is the
    executor's own number of workers, else `cpu_count`. Of the caller's context variables
    ``np.errstate`` alone reaches another process.

    `critical` and `ordered` raise NotImplementedError, except on a `ThreadPoolExecutor`. A map
    within an item runs in the item. When a map fails, times out or is interrupted, claims that
    have not started are cancelled; one that runs in another process is left to end. A process that
    dies is reported as WorkerDied, if the executor tells.

    Examples
    --------
    >>> from concurrent.futures import ThreadPoolExecutor
    >>> from sharedarray import ExecutorBackend, MapReduce
    >>> with ThreadPoolExecutor(2) as executor:
    ...     MapReduce(ExecutorBackend(executor)).map(lambda i: i * i, range(5))
    [0, 1, 4, 9, 16]
    """

    name = "executor"
    # A claim costs some 0.2 ms to a process; see `worker.SHORT_CLAIM`.
    claim_cost = 20.0

    def __init__(self, executor: Any) -> None:
        if not callable(getattr(executor, "submit", None)):
            raise TypeError(f"executor must be an Executor, not {type(executor).__name__}")
        super().__init__(executor, "an executor")

    def default_np(self) -> int:
        """Return how many workers the executor has."""
        for name in ("num_workers", "_max_workers"):  # mpi4py's name, the standard library's
            n_workers = getattr(self.engine, name, None)
            if isinstance(n_workers, int) and n_workers > 0:
                return n_workers
        client: Any = getattr(self.engine, "_client", None)  # of Dask's executor
        if callable(getattr(client, "nthreads", None)):
            n_threads: int = sum(client.nthreads().values())
            return max(1, n_threads)
        return config.cpu_count()

    def crew(self, call: WorkerMap) -> Crew:
        """Return tasks, not yet submitted."""
        self._check_process()
        if _shares_memory(self.engine):
            return _ThreadsCrew(call, self.engine)
        return _ExecutorCrew(call, self.engine)


def _shares_memory(executor: Any) -> bool:
    """Return whether an executor surely runs its tasks in threads of this interpreter."""
    isolated: Any = getattr(concurrent.futures, "InterpreterPoolExecutor", ())  # Python 3.14
    return isinstance(executor, concurrent.futures.ThreadPoolExecutor) and not isinstance(
        executor, isolated
    )


class _ExecutorCrew(RemoteCrew):
    """Tasks of an executor whose workers are elsewhere."""

    def __init__(self, call: WorkerMap, executor: Any) -> None:
        super().__init__(call, RemoteSchedule)
        self._executor = executor
        self._packed_maps: dict[str, bytes] = {}

    def _submit(self, remote: RemoteMap, sent: SentClaim, claim: Claim) -> Any:
        packed = self._packed_maps.get(remote.mode)
        if packed is None:
            packed = self._packed_maps[remote.mode] = dumps(remote, REFERENCE)[0]
        return self._executor.submit(run_packed, (self.token, remote.mode), packed, sent)


class _ThreadsCrew(TaskCrew):
    """Threads of an executor, each of which runs a claim of the map's own workers at a time."""

    def __init__(self, call: WorkerMap, executor: Any) -> None:
        super().__init__(call)
        self._executor = executor
        self._claims: list[deque[Claim | None]] = [deque() for _ in range(call.n_workers)]
        self._reports: list[Iterator[Report]] = []

    def start(self, work: Work) -> None:
        """Make the workers, without running anything."""
        self._reports = [work(rank, claims.popleft) for rank, claims in enumerate(self._claims)]

    def _send(self, rank: int, claim: Claim, before: tuple[int, ...]) -> None:
        self._claims[rank].append(claim)
        future = self._executor.submit(next, self._reports[rank], None)
        self._watch(rank, PendingClaim(claim, future, before))

    def _report(self, rank: int, pending: PendingClaim, reply: Any) -> Report | None:
        if reply is None:  # the map around this one has stopped
            self._n_open -= 1
        return reply  # type: ignore[no-any-return]  # of the worker

    def _stop(self) -> None:
        """Let the threads end the items that they run, and wait for that."""
        self._call.schedule.stop()
        super()._stop()
        concurrent.futures.wait([pending.future for pending in self._pending.values()])

    def end(self) -> None:
        """End the workers."""
        super().end()
        for reports in self._reports:
            with suppress(ValueError):  # interrupted before: it runs still
                reports.close()  # type: ignore[attr-defined]  # a generator
        self._reports = []
