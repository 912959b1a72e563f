"""How far a long read or write is, told to a callable or shown by a bar.

::

    worker: kernel(chunk) -> n_bytes        each result arrives in the caller, in any order
    caller: pool.map(..., reduce) -> Reports.add(n_bytes) -> bar or callable, at most 256 times

Everything here runs in the caller, so that it needs no lock and works with processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from sharedarray.workers.mapreduce import MapReduce
from sharedarray.workers.progress import Progress, check_progress
from sharedarray_ops.pool import Pool

Item = TypeVar("Item")
Result = TypeVar("Result")

__all__ = ["Progress", "Reports", "check_progress", "reporting_bytes"]

# How often a callable is called at most where the total is known; where it is not, after how many
# bytes each.
MAX_REPORTS = 256
REPORT_NBYTES = 8 << 20


class Reports:
    """Bytes done so far, told when they have grown by a step. Made by `reporting_bytes`."""

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
        """Return `pool`, such that the results of its maps, bytes or lists of them, are added."""
        return pool if self._tell is None else _WatchedPool(pool, self)


class _WatchedPool:
    """A pool that adds the results to `reports`: as each arrives, where its `map` has `reduce`."""

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
    """Yield what counts bytes, and tells them; what is left is told at the end.

    Parameters
    ----------
    progress : bool or callable, optional
        True shows a bar (tqdm); a callable is called with the number of bytes done, which grows.
        `check_progress` has let it pass.
    n_bytes : int or None
        How many there will be at most, if that is known.

    Notes
    -----
    The exception of a callable comes out as it is, and ends the map that it is told about.
    """
    if progress is True:
        from tqdm.auto import tqdm  # an extra

        with tqdm(total=n_bytes, unit="B", unit_scale=True, unit_divisor=1024) as bar:
            reports = Reports(lambda n_done: bar.update(n_done - bar.n), n_bytes)
            yield reports
            reports.flush()
    else:
        reports = Reports(progress or None, n_bytes)
        yield reports
        reports.flush()
