"""Progress of a long read or write in bytes.

::

    worker: kernel(chunk) -> n_bytes        each result arrives in the caller, in any order
    caller: pool.map(..., reduce) -> Reports.add(n_bytes) -> bar or callable, at most 256 times

Everything here runs in the caller, so that it needs no lock and works with processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from sharedarray.workers.arguments import Progress, check_progress, reporting
from sharedarray.workers.mapreduce import MapReduce
from sharedarray_ops.pool import Pool

Item = TypeVar("Item")
Result = TypeVar("Result")

__all__ = ["Progress", "Reports", "check_progress", "reporting_bytes"]

# Calls of a callable at most, if the total is known; otherwise bytes between two calls.
MAX_REPORTS = 256
REPORT_NBYTES = 8 << 20


class Reports:
    """Count the bytes done, and tell them when they have grown by a step."""

    def __init__(self, tell: Callable[[int], object] | None, n_bytes: int | None) -> None:
        self.n_done = 0
        self._tell = tell
        self._n_told = 0
        self._step = REPORT_NBYTES if n_bytes is None else -(-n_bytes // MAX_REPORTS)

    def add(self, n_bytes: int) -> None:
        """Count `n_bytes` more as done. For the caller, not for workers."""
        self.n_done += n_bytes
        if self.n_done - self._n_told >= self._step:
            self.flush()

    def flush(self) -> None:
        """Tell what has not been told."""
        if self._tell is not None and self.n_done > self._n_told:
            self._n_told = self.n_done
            self._tell(self.n_done)

    def watching(self, pool: Pool) -> Pool:
        """Return `pool`, with the results of its maps, bytes or lists of them, added here."""
        return pool if self._tell is None else _WatchedPool(pool, self)


class _WatchedPool:
    """A pool that adds its results to `reports`, as each arrives if its `map` has `reduce`."""

    def __init__(self, pool: Any, reports: Reports) -> None:
        self._pool = pool
        self._reports = reports

    @property
    def np(self) -> int:
        n_workers: int = self._pool.np
        return n_workers

    def map(self, func: Callable[[Item], Result], sequence: Sequence[Item], /) -> list[Result]:
        results: list[Result]
        if isinstance(self._pool, MapReduce):
            results = self._pool.map(func, sequence, self._added)
        else:  # all that the protocol promises
            results = [self._added(result) for result in self._pool.map(func, sequence)]
        return results

    def _added(self, n_bytes: Any) -> Any:
        self._reports.add(sum(n_bytes) if isinstance(n_bytes, list) else n_bytes)
        return n_bytes


@contextmanager
def reporting_bytes(progress: Progress, n_bytes: int | None) -> Iterator[Reports]:
    """Yield the `Reports` of `n_bytes` bytes, None if unknown; flush them at the end.

    The exception of a callable ends the map in which it is called, and comes out as it is.
    """
    with reporting(progress, n_bytes, in_bytes=True) as tell:
        reports = Reports(tell if progress else None, n_bytes)
        yield reports
        reports.flush()
