r"""Maps on a Dask cluster.

::

    coordinator          scheduler            Dask workers
    -----------          ---------            ------------
    RemoteMap --submit--> one task      --->  where it is needed, loaded once a process
    claim     --submit--> one task each --->  run_claim(RemoteMap, SentClaim)
    future's callback <---- results <-------  report (bytes)

Guarantees
    See `tasks`. The `RemoteMap` is a task and no scattered data: where the worker that has it is
    lost, Dask makes it again. A rank prefers one thread of one Dask worker and goes elsewhere only
    if that is lost, so what an item stores in `local` is mostly there for the next.

Assumptions
    The cluster imports this package. Dask runs a task again whose worker was lost: items may run
    twice, unless the scheduler is told ``distributed.scheduler.allowed-failures: 0``.
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from itertools import chain, zip_longest
from typing import Any

from sharedarray.cluster import dask_serialization
from sharedarray.cluster.dask_constructs import DaskSchedule, event_name, stop_map
from sharedarray.cluster.remote import RemoteMap, SentClaim, run_claim
from sharedarray.cluster.tasks import PendingClaim, RemoteCrew, TaskBackend
from sharedarray.workers.crew import Crew, Report, Work
from sharedarray.workers.reports import Claim
from sharedarray.workers.worker import WorkerMap

__all__ = ["DaskBackend"]


class DaskBackend(TaskBackend):
    """Run the items of a map on the workers of a Dask cluster.

    Parameters
    ----------
    client : dask.distributed.Client
        Of the cluster; not an asynchronous one. It stays the caller's.
    retries : int, default 0
        How many times a claim is handed out again after Dask has given it up, because the workers
        that ran it were lost. Dask itself gives a lost task to
        ``distributed.scheduler.allowed-failures`` (3) further workers first.

    Raises
    ------
    ImportError
        If Dask is not installed.
    TypeError, ValueError
        If it is no such client, or `retries` is negative.

    Notes
    -----
    A pool that is not told its `np` has a worker for each thread that the cluster has when the
    pool is made: wait for them first (``client.wait_for_workers``). Items are sent as claims, which
    grow while the items prove short. The function is pickled once, by cloudpickle, and loaded once
    by each Dask worker. SharedArrays in it and in the items are the same memory in workers on this
    machine, else the map fails, and copies elsewhere, which are shared there; results come back
    with their data. Times that `trace` sees are of the worker's clock. Of the caller's context
    variables ``np.errstate`` alone reaches the workers. A map within an item runs in the item.

    A result that lay in a worker that was just lost is computed again when Dask gives up fetching
    it, after ``distributed.comm.timeouts.connect`` (30 s) at most.

    `critical` is a lock and `ordered` are events of the scheduler: some milliseconds for an item.
    When a map fails, times out or is interrupted, its tasks are cancelled; a running item ends, and
    no other starts.

    Examples
    --------
    >>> from dask.distributed import Client
    >>> from sharedarray import DaskBackend, MapReduce
    >>> with Client(n_workers=2, threads_per_worker=1) as client:  # doctest: +SKIP
    ...     MapReduce(DaskBackend(client)).map(lambda i: i * i, range(5))
    [0, 1, 4, 9, 16]
    """

    name = "dask"
    # A claim costs some 5 ms, through scheduler and back; see `worker.SHORT_CLAIM`.
    claim_cost = 200.0

    def __init__(self, client: Any, *, retries: int = 0) -> None:
        try:
            from distributed import Client  # an extra
        except ImportError as error:
            raise ImportError(
                "DaskBackend needs Dask: pip install 'sharedarray-toolkit[dask]'"
            ) from error
        if not isinstance(client, Client) or client.asynchronous:
            raise TypeError(
                f"client must be a dask.distributed.Client that is not asynchronous, not {client!r}"
            )
        if retries < 0:
            raise ValueError(f"retries must be 0 or more, not {retries}")
        dask_serialization.register()
        super().__init__(client, "a client of Dask")
        self._retries = retries

    def default_np(self) -> int:
        """Return how many threads the cluster has now, at least 1."""
        self._check_process()
        n_threads: int = sum(self.engine.nthreads().values())
        return max(1, n_threads)

    def crew(self, call: WorkerMap) -> Crew:
        """Return tasks, not yet submitted."""
        self._check_process()
        return _DaskCrew(call, self.engine, self._retries)


class _DaskCrew(RemoteCrew):
    """Tasks of a cluster."""

    def __init__(self, call: WorkerMap, client: Any, retries: int) -> None:
        super().__init__(call, DaskSchedule)
        self._client = client
        # Its futures fetch results by themselves: one from a worker that is just being lost takes
        # long, and the coordinator hears of the others meanwhile.
        self._executor = client.get_executor()
        self._retries = retries
        self._n_lost: dict[int, int] = {}
        self._map_futures: dict[str, Any] = {}
        self._places: list[tuple[str, int]] = []
        self._starts: list[int] = []
        self._name = getattr(call.func, "__name__", type(call.func).__name__)

    def start(self, work: Work) -> None:
        """Pickle the map, and find a place for each rank."""
        super().start(work)
        self._places = _places(self._client.nthreads())

    def _submit(self, remote: RemoteMap, sent: SentClaim, claim: Claim) -> Any:
        future = self._map_futures.get(remote.mode)
        if future is None:
            key = f"{self._name}-map-{self.token}-{remote.mode}"
            future = self._client.submit(_in_worker, remote, key=key, pure=False)
            self._map_futures[remote.mode] = future
        if remote.has_pool:
            self._starts.append(claim.start)
        n_lost = self._n_lost.get(claim.start, 0)
        return self._executor.submit(
            run_claim,
            future,
            sent,
            # What the dashboard shows under the name of the function.
            key=(f"{self._name}-{self.token}", claim.start, n_lost, remote.mode),
            workers=[self._place(sent.rank)[0]] if self._places else None,
            allow_other_workers=bool(self._places),
            pure=False,
        )

    def _place(self, rank: int) -> tuple[str, int]:
        return self._places[rank % len(self._places)]

    def _n_beside(self, rank: int) -> int:
        return self._place(rank)[1] if self._places else 1

    def _lost(self, rank: int, pending: PendingClaim, error: BaseException) -> Report | None:
        start = pending.claim.start
        n_lost = self._n_lost[start] = self._n_lost.get(start, 0) + 1
        if n_lost > self._retries:
            return super()._lost(rank, pending, error)
        self._send(rank, pending.claim, pending.before)
        return None

    def _stop(self) -> None:
        """Cancel what is pending, and stop the workers that run items."""
        with suppress(OSError, TimeoutError):  # the cluster is gone
            self._client.loop.add_callback(_stop_workers, self._client, self.token)
            self._executor.shutdown(wait=False)  # cancels all in one call

    def end(self) -> None:
        """Cancel what is pending, and remove what the scheduler keeps for the map."""
        super().end()
        starts, self._starts = self._starts, []
        self._map_futures.clear()  # what no future refers to, Dask forgets
        if starts:
            self._client.loop.add_callback(_remove_constructs, self._client, self.token, starts)


def _places(n_threads: dict[str, int]) -> list[tuple[str, int]]:
    """Return for each thread its Dask worker, and how many threads of all are on its machine.

    The first thread of each worker comes first, then the second ones.
    """
    n_beside: Counter[str] = Counter()
    for address, n in n_threads.items():
        n_beside[_host(address)] += n
    threads = [[address] * n for address, n in sorted(n_threads.items())]
    places = filter(None, chain(*zip_longest(*threads)))
    return [(address, n_beside[_host(address)]) for address in places]


def _host(address: str) -> str:
    return address.partition("://")[2].rpartition(":")[0]


def _in_worker(remote: RemoteMap) -> RemoteMap:
    """Return a map in the worker that runs this task, ready to send shared arrays."""
    dask_serialization.register()
    return remote


async def _stop_workers(client: Any, token: str) -> None:
    """Stop the map in all workers; one that cannot be reached any more has stopped."""
    with suppress(Exception):  # the cluster may have gone in any way, and nothing waits for this
        await client.run(stop_map, token, asynchronous=True, on_error="ignore")


async def _remove_constructs(client: Any, token: str, starts: list[int]) -> None:
    """Remove the events and the lock of a map from the scheduler."""
    with suppress(Exception):  # as above
        for start in starts:  # one after the other, by one connection
            await client.scheduler.event_clear(name=event_name(token, start))
        await client.scheduler.semaphore_close(name=f"sharedarray-{token}")
