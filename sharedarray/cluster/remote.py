r"""The far side of a map: a worker in a process that has inherited nothing from the coordinator.

::

    Errand (pool, func, ... once a process) --> FarMap --> run_worker(rank), kept between claims
    claim (bytes)  --run_claim--> the worker of that rank --> report (bytes)

Guarantees
    `run_claim` raises nothing: what an item raises, and what does not pickle, is reported. A rank
    is one worker at a time; what it has stored in `local` it finds again in the same process.

Assumptions
    The coordinator sends a rank its next claim after it has the report of the last one.

Ownership
    A `FarMap` belongs to the errand that it was made of, and ends with it.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextvars import copy_context
from typing import Any, NamedTuple

import numpy as np

from sharedarray import config
from sharedarray.cluster.shipping import dumps, loads
from sharedarray.errors import SharedArrayUnpickleError
from sharedarray.memory.pickling import RESULT
from sharedarray.workers.crew import Report
from sharedarray.workers.process import flush_streams
from sharedarray.workers.reports import Claim, Failure, Results, portable, text_of_traceback
from sharedarray.workers.worker import reseed, run_worker

__all__ = ["Errand", "FarMap", "FarSchedule", "Parcel", "run_claim", "run_packed"]


class Parcel(NamedTuple):
    """One claim on its way to a worker.

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


class Errand:
    """What all claims of one map have in common.

    Parameters
    ----------
    token : str
        The map's, like no other's.
    schedule : type
        The `FarSchedule` of its workers.
    pool, func : bytes
        Pickles.
    star, number, n_workers
        As for `MapCall`.
    is_value : bool
        Whether shared arrays travel with their data.
    has_pool : bool
        Whether `func` refers to the pool.
    """

    def __init__(
        self,
        token: str,
        schedule: type[FarSchedule],
        pool: bytes,
        func: bytes,
        *,
        star: bool,
        number: tuple[int, ...],
        n_workers: int,
        is_value: bool,
        has_pool: bool,
    ) -> None:
        self.token = token
        self.schedule = schedule
        self.pool = pool
        self.func = func
        self.star = star
        self.number = number
        self.n_workers = n_workers
        self.is_value = is_value
        self.has_pool = has_pool
        self.pid = os.getpid()
        self.errors = np.geterr()
        self._map: FarMap | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_map": None}

    def map(self, rank: int) -> FarMap:
        """Return the map that this process takes part in."""
        with _making:
            if self._map is None:
                self._map = FarMap(self)
                if os.getpid() != self.pid:
                    reseed(self._map.pool.seed, (*self.number, rank, 0))
            return self._map


# Two threads of a process may have their first claims at the same time.
_making = threading.Lock()


class FarSchedule:
    """What stands for the schedule of a map in a worker: it has no way to the other workers."""

    def __init__(self, errand: Errand) -> None:
        self.token = errand.token
        self.pid = os.getpid()
        self._is_stopped = False

    @property
    def stopped(self) -> bool:
        """Return whether nobody here may start another item."""
        return self._is_stopped

    def stop(self) -> None:
        """Let no worker of this process start another item."""
        self._is_stopped = True

    def takes(self, rank: int, start: int, before: tuple[int, ...]) -> None:
        """Note that a worker has a claim that starts here, while these others run."""

    def starts(self, rank: int, item: int | None) -> None:
        """Do nothing: the coordinator knows of claims only."""

    def passed(self, rank: int) -> None:
        """Note that no item of the worker's claim wants a turn any more."""

    def await_turn(self, rank: int, item: int) -> None:
        """Raise: nobody knows whose turn it is."""
        raise self._missing("ordered")

    def enter(self) -> None:
        """Raise: nobody keeps the others out."""
        raise self._missing("critical")

    def leave(self) -> None:
        """Do nothing: nobody is inside."""

    def reaches_here(self) -> bool:
        """Return true: `await_turn` and `enter` say themselves what they cannot do."""
        return True

    def _missing(self, construct: str) -> NotImplementedError:
        return NotImplementedError(
            f"pool.{construct} needs workers that can wait for each other, which those of an "
            "Executor cannot: use the process, thread or Dask backend, or combine in `reduce`, "
            "which runs in the coordinator"
        )


class FarMap:
    """What `Worker` needs of its map, see `MapCall` for the attributes."""

    outer = None
    engine = None
    sequence = None
    let_out: tuple[type[BaseException], ...] = ()
    chunksize = 1
    n_left = 0

    def __init__(self, errand: Errand) -> None:
        self.pool = loads(errand.pool)
        self.func: Callable[..., Any] = loads(errand.func, self.pool)
        self.star = errand.star
        self.number = errand.number
        self.n_workers = errand.n_workers
        self.schedule = errand.schedule(errand)
        self._errors: Any = errand.errors
        self._workers: dict[int, tuple[deque[Claim], Iterator[Report]]] = {}

    def report(self, parcel: Parcel) -> Report | None:
        """Run a claim; None where the map has been stopped."""
        claim = loads(parcel.claim, self.pool)
        claims, reports = self._workers.get(parcel.rank) or self._hire(parcel)
        self.schedule.takes(parcel.rank, claim.start, parcel.before)
        claims.append(claim)
        return next(reports, None)

    def _hire(self, parcel: Parcel) -> tuple[deque[Claim], Iterator[Report]]:
        claims: deque[Claim] = deque()
        context = copy_context()
        context.run(lambda: np.seterr(**self._errors))
        context.run(config.inherit_share, config.share_for(parcel.n_beside))
        reports = run_worker(self, parcel.rank, context, lambda size: claims.popleft())
        self._workers[parcel.rank] = claims, reports
        return claims, reports


def run_claim(errand: Errand, parcel: Parcel) -> bytes | None:
    """Run a claim.

    Returns
    -------
    bytes or None
        The pickle of the report; empty where the map has been stopped. None where shared memory
        cannot be reached from here, so that its data has to be sent.
    """
    pid = os.getpid()
    report: Report | None
    try:
        report = errand.map(parcel.rank).report(parcel)
        return b"" if report is None else _packed(report)
    except SharedArrayUnpickleError as error:
        if not errand.is_value:
            return None
        return _packed(Failure(error, text_of_traceback(error)))
    # Unpickling runs any code of the function and the items.
    except BaseException as error:
        if os.getpid() != pid:  # a child of the item that has come back from it
            os._exit(1)
        return _packed(Failure(error, text_of_traceback(error)))
    finally:
        flush_streams()


def run_packed(token: tuple[str, bool], errand: bytes, parcel: Parcel) -> bytes | None:
    """Run a claim of an errand that is sent with every claim, but loaded once."""
    with _loading:
        loaded = _loaded.pop(token, None)
        if loaded is None:
            loaded = loads(errand)
        _loaded[token] = loaded
        while len(_loaded) > _MAX_LOADED:
            _loaded.popitem(last=False)
    return run_claim(loaded, parcel)


# Errands of this process, the latest last; what the function refers to lives as long.
_loaded: OrderedDict[tuple[str, bool], Errand] = OrderedDict()
_loading = threading.Lock()
_MAX_LOADED = 2


def _packed(report: Report) -> bytes:
    """Return the pickle of a report, or of what keeps it from being pickled."""
    if isinstance(report, Failure):
        return _packed_failure(report)
    try:
        return dumps(report, RESULT)[0]
    except BaseException as error:  # pickling runs any code of the results
        return _packed_failure(_unsent(report, error))


def _packed_failure(failure: Failure) -> bytes:
    try:
        data = dumps(failure, RESULT)[0]
        if type(loads(data).reason) is type(failure.reason):
            return data
    except BaseException:  # see `portable`
        pass
    return dumps(portable(failure), RESULT)[0]


def _unsent(results: Results, error: BaseException) -> Failure:
    """Return the failure of the first item whose result does not travel."""
    found_item, found = results.start, error
    for item, value in enumerate(results.values, results.start):
        try:
            dumps(value, RESULT)
        except BaseException as its_error:  # see `_packed`
            found_item, found = item, its_error
            break
    text = f"The result of item {found_item} does not pickle:\n{text_of_traceback(found)}"
    return Failure(found, text)
