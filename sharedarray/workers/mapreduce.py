"""MapReduce: run a function over a sequence on several workers, reduce in the coordinator.

::

    coordinator                              workers
    -----------                              -------
    map(func, sequence)  --- MapCall ---->   claim items, func(item) ...
    reduce(result) as they arrive  <------   results of one claim, or the failure of an item
    list of results, in item order

Guarantees
    Results are in the order of the items. An exception of `func` ends the map: no worker starts
    another item, and WorkerException tells the reason. Exceptions of `reduce` and of the iterator
    of items come out as they are.

Assumptions
    See `backend` for what runs workers, `mapcall` for one call, `worker` for what a worker does.
"""

from __future__ import annotations

import operator
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count
from typing import Any, TypeVar

import numpy

from sharedarray import config
from sharedarray.workers.arguments import Progress, check, items_of, reduced, reporting
from sharedarray.workers.backend import (
    Backend,
    ProcessBackend,
    SerialBackend,
    ThreadBackend,
    backend_named,
)
from sharedarray.workers.constructs import Constructs
from sharedarray.workers.mapcall import MapCall, Span
from sharedarray.workers.worker import current_worker, current_workers, number_map

__all__ = ["MapReduce", "MapReduceByThread"]

Self = TypeVar("Self", bound="MapReduce")


class MapReduce(Constructs):
    """A pool that maps a function over a sequence and reduces in the coordinator.

    Parameters
    ----------
    backend : {"process", "thread", "serial"} or Backend, default "process"
        What runs the workers: a name, a class, or an `ExecutorBackend` or `DaskBackend`.
    np : int, optional
        Number of workers; 0 runs everything in the caller. Default: `cpu_count()`, or what the
        executor or cluster has.
    seed : int or sequence of int, optional
        From which `local.rng` derives the random numbers of each item. Default: fresh entropy.
    trace : callable, optional
        Called in the caller with ``(rank, start, stop, began, ended)`` for every claim that was
        run: worker, items, and times in seconds of `time.perf_counter`.

    Attributes
    ----------
    np : int
        Number of workers.

    Notes
    -----
    Workers live while `map` runs; the ``with`` block is only for readability. A pool may be used
    for any number of maps, from any thread, and inside a work function.

    Processes are forked when a map starts, so they have everything the caller has: closures,
    lambdas, private arrays. What they change is their own, except in shared arrays; results are
    pickled. On a platform without fork, use the thread backend.

    Examples
    --------
    >>> from sharedarray import MapReduce
    >>> with MapReduce(np=2) as pool:
    ...     pool.map(lambda i: i * i, range(5))
    [0, 1, 4, 9, 16]

    `reduce` runs in the coordinator, so it may write to plain variables:

    >>> total = 0
    >>> def add(n_words, n_letters):
    ...     global total
    ...     total += n_letters
    >>> with MapReduce(np=2) as pool:
    ...     _ = pool.map(lambda text: (len(text.split()), len(text)), ["a b", "cd"], reduce=add)
    >>> total
    5
    """

    def __init__(
        self,
        backend: str | type[Backend] | Backend = ProcessBackend,
        np: int | None = None,
        *,
        seed: int | Sequence[int] | None = None,
        trace: Callable[[Span], object] | None = None,
    ) -> None:
        self._backend = backend_named(backend)
        self.np = operator.index(self._backend.default_np() if np is None else np)
        if self.np < 0:
            raise ValueError(f"np must be 0 or a positive number of workers, not {np}")
        if seed is None:
            seed = int.from_bytes(os.urandom(16), "little")
        else:
            numpy.random.SeedSequence(seed)  # a bad seed raises here rather than in a worker
        if trace is not None and not callable(trace):
            raise TypeError(f"trace must be callable, not {type(trace).__name__}")
        self.seed = seed
        self.trace = trace
        self._map_numbers = count()
        self._home = current_worker()

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_map_numbers": None, "_home": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._map_numbers = count()

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._backend.name!r}, np={self.np})"

    def map(
        self,
        func: Callable[..., Any],
        sequence: Iterable[Any],
        reduce: Callable[..., Any] | None = None,
        star: bool = False,
        minlength: int = 0,
        *,
        chunksize: int | None = None,
        progress: Progress = None,
        timeout: float | None = None,
    ) -> list[Any]:
        """Return ``[func(item) for item in sequence]``, computed by the workers.

        Parameters
        ----------
        func : callable
            Any callable, closures included. Each item runs in a copy of the caller's context, so
            that ``np.errstate`` and other context variables hold.
        sequence : sequence or iterable
            The items. Workers index a sequence; its length is read once. The caller consumes any
            other iterable, at most two claims a worker ahead of the results, and pickles its items
            for worker processes.
        reduce : callable, optional
            Called in the caller with each result as it arrives, in any order; a tuple is spread
            over its arguments. What it returns takes the place of the result.
        star : bool, default False
            Spread each item over the arguments of `func`: ``func(*item)``.
        minlength : int, default 0
            Run a sequence shorter than this in the caller.
        chunksize : int, optional
            Items of a claim. Default: one, and of a sequence more while items prove short.
        progress : bool or callable, optional
            True shows a bar (tqdm); a callable is called in the caller with the number of items
            done, whenever results have arrived.
        timeout : float, optional
            Seconds after which the map fails. Processes are killed; threads, and the caller
            itself, end the items that they run.

        Returns
        -------
        list
            The results, in the order of the items.

        Raises
        ------
        WorkerException
            An item raised. `reason` is its exception, also the ``__cause__``; in debug mode the
            exception comes out as it is.
        WorkerDied
            A worker process died.
        TimeoutError
            The results were not there in time.
        TypeError, ValueError, ImportError
            For bad arguments, before any work.
        BlockingIOError, OSError, MemoryError
            The system has no room for another process, descriptor or page.

        Warns
        -----
        LostExceptionType
            The exception of an item does not pickle.
        ForkInThreadsWarning
            Other threads are running while processes are forked (Python 3.12 and later).
        RuntimeWarning
            A worker process died after it had delivered all its results.

        Notes
        -----
        Results stay in memory until all are there, unless `reduce` returns something smaller.
        Large results pass through shared memory, one at a time for each worker.

        Examples
        --------
        >>> from sharedarray import MapReduce
        >>> MapReduce(np=2).map(pow, [(2, 3), (3, 2)], star=True)
        [8, 9]
        """
        check(func, reduce, chunksize, progress, timeout)
        items = items_of(sequence)
        call = self._call(func, items, star, minlength, chunksize, timeout, is_lazy=False)
        if call is None:
            return []
        parts: dict[int, list[Any]] = {}
        n_done = 0
        reports = call.run()
        try:
            with reporting(progress, call.n_items) as report:
                for results in reports:
                    parts[results.start] = reduced(reduce, results.values)
                    call.delivered()
                    n_done += len(results.values)
                    report(n_done)
                    del results  # or a large one would be alive when the next is received
        finally:
            try:
                reports.close()
            finally:
                reports.close()  # closed twice, see `interrupts`
        return [value for start in sorted(parts) for value in parts[start]]

    def imap(
        self,
        func: Callable[..., Any],
        sequence: Iterable[Any],
        reduce: Callable[..., Any] | None = None,
        star: bool = False,
        minlength: int = 0,
        *,
        chunksize: int | None = None,
        progress: Progress = None,
        timeout: float | None = None,
        ordered: bool = True,
    ) -> Iterator[Any]:
        """Return an iterator over the results, computed as they are asked for.

        Parameters
        ----------
        func, sequence, reduce, star, minlength, chunksize, progress, timeout
            As for `map`; the time runs from the first result asked for.
        ordered : bool, default True
            Results come in the order of the items; if False, as they arrive.

        Returns
        -------
        iterator
            The work starts with the first result that is asked for, and ends when the iterator is
            exhausted, closed or dropped. Workers wait when they are two claims each ahead of it.

        Raises
        ------
        WorkerException, TimeoutError, ...
            As for `map`: for bad arguments at once, else when the iterator is asked.

        Examples
        --------
        >>> from itertools import count, islice
        >>> from sharedarray import MapReduce
        >>> squares = MapReduce(np=2).imap(lambda i: i * i, count())
        >>> list(islice(squares, 5))
        [0, 1, 4, 9, 16]
        >>> squares.close()
        """
        check(func, reduce, chunksize, progress, timeout)
        items = items_of(sequence)

        def results_in_turn() -> Iterator[Any]:
            call = self._call(func, items, star, minlength, chunksize, timeout, is_lazy=True)
            if call is None:
                return
            waiting: dict[int, list[Any]] = {}
            n_done = 0
            reports = call.run()
            try:
                with reporting(progress, call.n_items) as report:
                    for results in reports:
                        waiting[n_done if not ordered else results.start] = results.values
                        while (values := waiting.pop(n_done, None)) is not None:
                            for value in values:
                                yield reduced(reduce, [value])[0]
                            call.delivered()
                            n_done += len(values)
                            report(n_done)
            finally:
                try:
                    reports.close()
                finally:
                    reports.close()  # likewise

        return results_in_turn()

    def _call(
        self,
        func: Callable[..., Any],
        items: Sequence[Any] | Iterator[Any],
        star: bool,
        minlength: int,
        chunksize: int | None,
        timeout: float | None,
        *,
        is_lazy: bool,
    ) -> MapCall | None:
        """Choose the workers of a map; None where there is nothing to run."""
        if sys.is_finalizing():
            raise RuntimeError("a map cannot start while the interpreter ends")
        n_items = None if isinstance(items, Iterator) else len(items)
        if n_items == 0:
            return None
        backend: type[Backend] | Backend = self._backend
        n_workers = self.np
        is_short = n_items is not None and n_items < minlength
        # Its tasks might wait for the worker that waits for them.
        is_within = backend.engine is not None and any(
            worker.map.engine is backend.engine for worker in current_workers()
        )
        if config.get_debug() or is_short or is_within or not self.np or not backend.is_parallel:
            backend, n_workers = SerialBackend, 1
        return MapCall(
            self,
            func,
            items,
            star=star,
            chunksize=chunksize,
            timeout=timeout,
            n_items=n_items,
            n_workers=n_workers if n_items is None else min(n_workers, n_items),
            backend=backend,
            is_lazy=is_lazy,
            number=number_map(self._home, self._map_numbers),
        )


def MapReduceByThread(  # noqa: N802 - the name users know from sharedmem
    np: int | None = None,
    *,
    seed: int | Sequence[int] | None = None,
    trace: Callable[[Span], object] | None = None,
) -> MapReduce:
    """Return a `MapReduce` whose workers are threads.

    Parameters
    ----------
    np, seed, trace
        As for `MapReduce`.

    Returns
    -------
    MapReduce

    Examples
    --------
    >>> from sharedarray import MapReduceByThread
    >>> MapReduceByThread(np=2).map(len, ["ab", "c"])
    [2, 1]
    """
    return MapReduce(ThreadBackend, np, seed=seed, trace=trace)
