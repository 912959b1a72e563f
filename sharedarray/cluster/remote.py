r"""A map in processes that have inherited nothing from the coordinator.

::

    RemoteMap (pickled, loaded once in a process) --> run_worker(rank), kept between claims
    SentClaim  --run_claim--> the worker of that rank --> report (bytes)

Guarantees
    `run_claim` raises nothing: what an item raises, and what does not pickle, is reported. Shared
    arrays are the coordinator's own memory in every process of its machine, else the claim fails:
    what is written to a copy would be lost. Processes of other machines ask for the data. A rank
    is one worker at a time; what it has stored in `local` it finds again in the same process.

Assumptions
    The coordinator sends a rank its next claim after it has the report of the last one.

Ownership
    Each process owns its copy of a `RemoteMap`, and in it the workers and the schedule.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict, deque
from collections.abc import Iterator
from contextvars import copy_context
from copy import copy
from typing import Any, NamedTuple

import numpy as np

from sharedarray import config
from sharedarray.cluster.shipping import dumps, loads
from sharedarray.errors import SharedArrayUnpickleError
from sharedarray.machine import host_id
from sharedarray.memory.pickling import REFERENCE, RESULT
from sharedarray.workers.crew import Report
from sharedarray.workers.process import flush_streams
from sharedarray.workers.reports import Claim, Failure, portable, text_of_traceback
from sharedarray.workers.worker import WorkerMap, WorkerSchedule, reseed, run_worker, unsent

__all__ = ["RemoteMap", "RemoteSchedule", "SentClaim", "run_claim", "run_packed"]


class SentClaim(NamedTuple):
    """One claim as it is sent to a worker.

    Attributes
    ----------
    rank : int
        The worker's.
    claim : bytes
        The pickle of a `Claim` with items.
    before : tuple of int
        Where the claims start that other workers run, all of them earlier ones.
    n_beside : int
        How many workers there are on its machine.
    """

    rank: int
    claim: bytes
    before: tuple[int, ...]
    n_beside: int


class RemoteMap(WorkerMap):
    """The map of a remote worker; pool and function are pickles at first.

    Parameters
    ----------
    call : WorkerMap
        The map.
    schedule : type
        The `RemoteSchedule` of its workers.
    token : str
        Unique to this map.
    mode : {REFERENCE, VALUE}
        How shared arrays are pickled, see `sharedarray.memory.pickling`.

    Attributes
    ----------
    has_pool : bool
        Whether the function refers to the pool.
    """

    schedule: RemoteSchedule

    def __init__(
        self, call: WorkerMap, schedule: type[RemoteSchedule], token: str, mode: str
    ) -> None:
        self.star = call.star
        self.number = call.number
        self.n_workers = call.n_workers
        self.token = token
        self.mode = mode
        self.host = host_id()
        pool = copy(call.pool)
        pool.trace = None  # is called in the coordinator
        func, self.has_pool = dumps(call.func, mode, call.pool)
        self._packed = dumps(pool, mode)[0], func
        self._schedule_type = schedule
        self._errors: Any = np.geterr()
        self._pid = os.getpid()
        self._workers: dict[int, tuple[deque[Claim], Iterator[Report]]] = {}
        self._is_loaded = False

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__ | {"_workers": {}, "_is_loaded": False}
        for name in ("pool", "func", "schedule"):
            state.pop(name, None)
        return state

    def report(self, sent: SentClaim) -> Report | None:
        """Run a claim; None where the map has been stopped."""
        self._load(sent.rank)
        claim = loads(sent.claim, self.pool)
        claims, reports = self._workers.get(sent.rank) or self._start_worker(sent)
        self.schedule.takes(sent.rank, claim.start, sent.before)
        claims.append(claim)
        return next(reports, None)

    def _load(self, rank: int) -> None:
        """Unpickle pool and function, unless an earlier claim has done that."""
        with _loading:
            if self._is_loaded:
                return
            pool, func = self._packed
            self.pool = loads(pool)
            self.func = loads(func, self.pool)
            self.schedule = self._schedule_type(self)
            self._is_loaded = True
            if os.getpid() != self._pid:
                reseed(self.pool.seed, (*self.number, rank, 0))

    def _start_worker(self, sent: SentClaim) -> tuple[deque[Claim], Iterator[Report]]:
        claims: deque[Claim] = deque()
        context = copy_context()
        context.run(lambda: np.seterr(**self._errors))
        context.run(config.inherit_share, config.share_for(sent.n_beside))
        reports = run_worker(self, sent.rank, context, lambda size: claims.popleft())
        self._workers[sent.rank] = claims, reports
        return claims, reports


# Two threads of a process may have their first claims at the same time.
_loading = threading.Lock()


class RemoteSchedule(WorkerSchedule):
    """The state that workers of this process share; they cannot reach the others of their map."""

    def __init__(self, remote: RemoteMap) -> None:
        self.token = remote.token
        self.pid = os.getpid()
        self._is_stopped = False

    @property
    def stopped(self) -> bool:
        """Return whether no worker of this process may start another item."""
        return self._is_stopped

    def stop(self) -> None:
        """Let no worker of this process start another item."""
        self._is_stopped = True

    def takes(self, rank: int, start: int, before: tuple[int, ...]) -> None:
        """Note that a worker has a claim that starts here, while these others run."""

    def await_turn(self, rank: int, item: int) -> None:
        """Raise NotImplementedError."""
        raise self._missing("ordered")

    def enter(self) -> None:
        """Raise NotImplementedError."""
        raise self._missing("critical")

    def _missing(self, construct: str) -> NotImplementedError:
        return NotImplementedError(
            f"pool.{construct} needs workers that can wait for each other, which those of an "
            "Executor cannot: use the process, thread or Dask backend, or combine in `reduce`, "
            "which runs in the coordinator"
        )


def run_claim(remote: RemoteMap, sent: SentClaim) -> bytes | None:
    """Run a claim.

    Returns
    -------
    bytes or None
        The pickle of the report; empty where the map has been stopped. None on another machine
        than the coordinator's, which cannot reach its shared memory: the data has to be sent.
    """
    pid = os.getpid()
    report: Report | None
    try:
        report = remote.report(sent)
        return b"" if report is None else _packed(report)
    except SharedArrayUnpickleError as error:
        if remote.mode == REFERENCE and remote.host != host_id():
            return None
        return _packed(Failure(error, text_of_traceback(error)))
    # Unpickling runs any code of the function and the items.
    except BaseException as error:
        if os.getpid() != pid:  # a child of the item that has come back from it
            os._exit(1)
        return _packed(Failure(error, text_of_traceback(error)))
    finally:
        flush_streams()


def run_packed(key: tuple[str, str], remote: bytes, sent: SentClaim) -> bytes | None:
    """Run a claim of a pickled map, which is sent with every claim but loaded once."""
    with _caching:
        loaded = _loaded.pop(key, None)
        if loaded is None:
            loaded = loads(remote)
        _loaded[key] = loaded
        while len(_loaded) > _MAX_LOADED:
            _loaded.popitem(last=False)
    return run_claim(loaded, sent)


# The maps of this process, the latest last; what their functions refer to lives as long.
_loaded: OrderedDict[tuple[str, str], RemoteMap] = OrderedDict()
_caching = threading.Lock()
_MAX_LOADED = 2


def _packed(report: Report) -> bytes:
    """Return the pickle of a report, or of the failure to pickle it."""
    if isinstance(report, Failure):
        return _packed_failure(report)
    try:
        return dumps(report, RESULT)[0]
    except BaseException as error:  # pickling runs any code of the results
        return _packed_failure(
            unsent(report, error, "The result of item", lambda v: dumps(v, RESULT))
        )


def _packed_failure(failure: Failure) -> bytes:
    try:
        data = dumps(failure, RESULT)[0]
        if type(loads(data).reason) is type(failure.reason):
            return data
    except BaseException:  # see `portable`
        pass
    return dumps(portable(failure), RESULT)[0]
