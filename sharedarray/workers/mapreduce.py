"""MapReduce: run a function over a sequence on several workers, reduce in the coordinator.

::

    coordinator                              workers
    -----------                              -------
    map(func, sequence)  --- Schedule --->   claim items, func(item) ...
    reduce(result) as they arrive  <------   results of one claim, or the failure of an item
    list of results, in item order

Guarantees
    Results are in the order of the items, whatever order they were computed in. An exception of
    `func` ends the map: nobody starts another item, and WorkerException tells the reason.
    Exceptions of `reduce` and of the iterator of items come out as they are.

Assumptions
    See `backend` for who runs, `sync` for what workers share, `worker` for what a worker does.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from itertools import count
from typing import Any, TypeVar

import numpy

from sharedarray import config
from sharedarray.workers.backend import Backend, SerialBackend, ThreadBackend, backend_named
from sharedarray.workers.worker import Critical, Local, Map, Ordered, current_workers, number_map

__all__ = ["MapReduce", "MapReduceByThread"]

Self = TypeVar("Self", bound="MapReduce")


class MapReduce:
    """A pool that maps a function over a sequence and reduces in the coordinator.

    Parameters
    ----------
    backend : {"thread", "serial"} or Backend class, default "thread"
        Who the workers are.
    np : int, optional
        Number of workers; 0 runs everything in the caller. Default: `cpu_count()`.
    seed : int or sequence of int, optional
        From which `local.rng` derives the random numbers of each item. Default: fresh entropy.

    Attributes
    ----------
    np : int
        Number of workers.

    Notes
    -----
    Workers live while `map` runs; the ``with`` block only groups what belongs together. A pool may
    be used for any number of maps, from any thread, and inside a work function.

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
        backend: str | type[Backend] = ThreadBackend,
        np: int | None = None,
        *,
        seed: int | Sequence[int] | None = None,
    ) -> None:
        self._backend = backend_named(backend)
        self.np = operator.index(config.cpu_count() if np is None else np)
        if self.np < 0:
            raise ValueError(f"np must be 0 or a positive number of workers, not {np}")
        if seed is None:
            seed = int.from_bytes(os.urandom(16), "little")
        else:
            numpy.random.SeedSequence(seed)  # a bad seed raises here rather than in a worker
        self.seed = seed
        self._map_numbers = count()
        self._home = next(iter(current_workers()), None)

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
    ) -> list[Any]:
        """Return ``[func(item) for item in sequence]``, computed by the workers.

        Parameters
        ----------
        func : callable
            The work. Any callable, closures included. Each item runs in a copy of the caller's
            context, so that ``np.errstate`` and other context variables hold in it.
        sequence : sequence or iterable
            The items. A sequence is indexed by the workers; its length is read once. Any other
            iterable is consumed in the caller, at most a few items ahead of the workers.
        reduce : callable, optional
            Called in the caller with each result as it arrives, in any order; a tuple is spread
            over its arguments. What it returns takes the place of the result.
        star : bool, default False
            Spread each item over the arguments of `func`: ``func(*item)``.
        minlength : int, default 0
            Run a sequence shorter than this in the caller.
        chunksize : int, optional
            How many items a worker claims at a time. Default: one, and more while items prove
            short.

        Returns
        -------
        list
            The results, in the order of the items.

        Raises
        ------
        WorkerException
            An item raised. `reason` is its exception, also the ``__cause__``; in debug mode the
            exception comes out as it is.
        TypeError, ValueError
            For bad arguments, before any work.

        Notes
        -----
        Results stay in memory until all are there, unless `reduce` returns something smaller.

        Examples
        --------
        >>> from sharedarray import MapReduce
        >>> MapReduce(np=2).map(pow, [(2, 3), (3, 2)], star=True)
        [8, 9]
        """
        if not callable(func):
            raise TypeError(f"func must be callable, not {type(func).__name__}")
        if reduce is not None and not callable(reduce):
            raise TypeError(f"reduce must be callable, not {type(reduce).__name__}")
        if chunksize is not None and operator.index(chunksize) < 1:
            raise ValueError(f"chunksize must be at least 1, not {chunksize}")
        items = _items(sequence)
        n_items = None if isinstance(items, Iterator) else len(items)
        if n_items == 0:
            return []
        backend, n_workers = self._crew(n_items, minlength)
        job = Map(
            self,
            func,
            items,
            reduce=reduce,
            star=star,
            chunksize=chunksize,
            n_items=n_items,
            n_workers=n_workers,
            window=2 * n_workers * (chunksize or 1) if backend.is_parallel else chunksize or 1,
            in_caller=not backend.is_parallel,
            debug=config.get_debug(),
            number=number_map(self._home, self._map_numbers),
        )
        backend.run(n_workers, job.work, job.handle, job.schedule.stop)
        return job.results()

    def _crew(self, n_items: int | None, minlength: int) -> tuple[type[Backend], int]:
        """Choose who runs a map, and how many; `n_items` is None where nobody knows."""
        is_short = n_items is not None and n_items < minlength
        if config.get_debug() or is_short or not self.np or not self._backend.is_parallel:
            return SerialBackend, 1
        return self._backend, self.np if n_items is None else min(self.np, n_items)

    @property
    def critical(self) -> Critical:
        """A ``with`` block that one worker at a time is in.

        Raises
        ------
        RuntimeError
            On entering outside of a map of this pool, or for a second time within the block.

        Examples
        --------
        >>> from sharedarray import MapReduce
        >>> counter = {"n": 0}
        >>> with MapReduce(np=2) as pool:
        ...     def work(i):
        ...         with pool.critical:
        ...             counter["n"] += 1
        ...     _ = pool.map(work, range(100))
        >>> counter
        {'n': 100}
        """
        return Critical(self)

    @property
    def ordered(self) -> Ordered:
        """A ``with`` block that the items pass in their order.

        An item may leave the block out; its turn passes when it ends.

        Raises
        ------
        RuntimeError
            On entering outside of a map of this pool, a second time for one item, or from within
            `critical`, where it would wait for an item that waits for `critical`.

        Examples
        --------
        >>> from sharedarray import MapReduce
        >>> with MapReduce(np=2) as pool:
        ...     def work(i):
        ...         with pool.ordered:
        ...             print(i)
        ...     _ = pool.map(work, range(3))
        0
        1
        2
        """
        return Ordered(self)

    @property
    def local(self) -> Local:
        """What belongs to the worker that asks, for the length of a map.

        `rank` is its number, from 0; `rng` a `numpy.random.Generator` that depends on the pool's
        seed and on the item alone, not on the worker; other attributes are the worker's own to
        set.

        Raises
        ------
        RuntimeError
            Outside of a map of this pool.

        Examples
        --------
        >>> from sharedarray import MapReduce
        >>> draw = lambda pool: pool.map(lambda i: pool.local.rng.integers(100), range(3))
        >>> draw(MapReduce(np=1, seed=7)) == draw(MapReduce(np=3, seed=7))
        True
        """
        return Local(self)

    tls = local


def MapReduceByThread(  # noqa: N802 - the name users know from sharedmem
    np: int | None = None, *, seed: int | Sequence[int] | None = None
) -> MapReduce:
    """Return a `MapReduce` whose workers are threads.

    Parameters
    ----------
    np, seed
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
    return MapReduce(ThreadBackend, np, seed=seed)


def _items(sequence: Iterable[Any]) -> Sequence[Any] | Iterator[Any]:
    """Return a sequence as it is, and an iterator over anything else.

    What has a length and takes an index is a sequence, arrays included; a mapping or a set is not.
    """
    if isinstance(sequence, (Mapping, Set)) or not hasattr(sequence, "__len__"):
        return iter(sequence)
    if not hasattr(sequence, "__getitem__"):
        return iter(sequence)
    return sequence  # type: ignore[return-value]  # duck-typed, arrays are no Sequence
