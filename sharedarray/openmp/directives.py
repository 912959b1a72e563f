"""The directives of a block: barrier, single, sections, critical, atomic, ordered, loops.

Guarantees
    Each finds its rank by the calling thread and process, and raises RuntimeError in others. A
    loop checks its arguments before any rank gets an item.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sharedarray.openmp.loops import (
    LoopSchedule,
    UserSchedule,
    loop_over,
    parse_schedule,
    range_of,
)
from sharedarray.openmp.rank import Critical, Ordered, Rank, Single
from sharedarray.openmp.variables import Variables

__all__ = ["Directives"]


class Directives:
    """What the body of a block uses, as attributes of its `Parallel`."""

    def __init__(self) -> None:
        self._local = threading.local()
        self._final: Variables | None = None

    @property
    def _n_wanted(self) -> int:
        """Return how many ranks a block that begins now would have."""
        raise NotImplementedError

    def _here(self, construct: str, *, also_within: bool = False) -> Rank:
        """Return the rank of the calling thread; if `also_within`, in its forked children, too."""
        rank: Rank | None = getattr(self._local, "rank", None)
        if rank is None or not (also_within or rank.pid == os.getpid()):
            raise RuntimeError(
                f"p.{construct} belongs to the ranks: use it in the block, in the thread and the "
                "process that run it"
            )
        return rank

    @property
    def rank(self) -> int:
        """Return the number of this rank, 0 in the caller; also in processes of a map within."""
        return self._here("rank", also_within=True).number

    @property
    def num_threads(self) -> int:
        """Return the number of ranks; outside of the block, how many it will have."""
        rank = getattr(self._local, "rank", None)
        return self._n_wanted if rank is None else rank.team.n_ranks

    @property
    def master(self) -> bool:
        """Return whether this is rank 0, the caller."""
        return self._here("master", also_within=True).number == 0

    @property
    def var(self) -> Variables:
        """Return the variables of this rank as attributes; after the block those of the caller."""
        rank = getattr(self._local, "rank", None)
        if rank is None and self._final is not None:
            return self._final
        return self._here("var").var

    def barrier(self) -> None:
        """Wait for all ranks.

        Raises
        ------
        ParallelException
            If a rank has failed, has met another construct, or has left the block.
        RuntimeError
            Within a loop or a critical block.

        Examples
        --------
        >>> import sharedarray
        >>> a = sharedarray.zeros(2, int)
        >>> with sharedarray.Parallel(num_threads=2) as p:
        ...     a[p.rank] = p.rank + 1
        ...     p.barrier()
        ...     total = int(a.sum())
        >>> total
        3
        """
        self._here("barrier").barrier()

    def single(self) -> Single:
        """Choose the first rank that comes here.

        Returns
        -------
        Single
            True in one rank, False in the others: after ``if p.single():`` the others do not wait.
            ``with p.single() as mine:`` gives the same bool, and all ranks wait at its end; all of
            them run the block, so use ``if mine:`` in it.

        Examples
        --------
        >>> from sharedarray import Parallel, Shared
        >>> with Parallel(Shared(n=0), num_threads=2) as p:
        ...     with p.single() as mine:
        ...         if mine:
        ...             p.var.n += 1
        >>> int(p.var.n)
        1
        """
        return self._here("single").single()

    def sections(self, *functions: Callable[[], Any], nowait: bool = False) -> None:
        """Call each function once, in a rank that is free.

        Parameters
        ----------
        *functions : callable
            Called without arguments; results are dropped.
        nowait : bool, default False
            Do not wait for the other ranks at the end.

        Examples
        --------
        >>> from sharedarray import Parallel, Shared
        >>> with Parallel(Shared(a=[0, 0]), num_threads=2) as p:
        ...     def first():
        ...         p.var.a[0] = 1
        ...     def second():
        ...         p.var.a[1] = 2
        ...     p.sections(first, second)
        >>> p.var.a
        SharedArray([1, 2])
        """
        for function in functions:
            if not callable(function):
                raise TypeError(f"a section must be callable, not {type(function).__name__}")
        one_by_one = LoopSchedule("dynamic", 1)
        for function in self._here("sections").run(
            "sections", len(functions), one_by_one, lambda i, j: functions[i:j], nowait=nowait
        ):
            function()

    @property
    def critical(self) -> Critical:
        """A ``with`` block for one rank at a time.

        ``p.critical(name)`` excludes only blocks of the same name; a block has up to 64 names.

        Raises
        ------
        RuntimeError
            On entering it within itself.
        ParallelException
            If every rank waits for another one.
        """
        return Critical(lambda: self._here("critical"), "critical")

    @property
    def atomic(self) -> Critical:
        """A ``with`` block for the update of a `Shared` value; may stand within `critical`."""
        return Critical(lambda: self._here("atomic"), "atomic")

    @property
    def ordered(self) -> Ordered:
        """A ``with`` block that items of ``p.forloop(..., ordered=True)`` pass in their order.

        Raises
        ------
        RuntimeError
            Outside of such a loop; on entering it twice for an item, or within `critical`.
        """
        turn = self._here("ordered").turn
        if turn is None:
            raise RuntimeError("p.ordered belongs into the loop of p.forloop(..., ordered=True)")
        return turn

    def forloop(
        self,
        *sequences: int | Sequence[Any],
        schedule: UserSchedule = "static",
        ordered: bool = False,
        nowait: bool = False,
    ) -> Iterator[Any]:
        """Return an iterator over the items of a loop that this rank runs.

        Parameters
        ----------
        *sequences : int or sequence
            The items; ``n`` means ``range(n)``. Of several sequences, the items are all tuples with
            one element of each, the last one running fastest (OpenMP's ``collapse``).
        schedule : str or tuple, default "static"
            ``"static"``: each rank runs one part of about equal size, or with ``("static", chunk)``
            every n-th chunk. ``"dynamic"``: ranks claim chunks, of one item or ``("dynamic",
            chunk)``. ``"guided"``: the same with chunks that shrink with what is left.
        ordered : bool, default False
            Yield pairs of an item and a context: items pass ``with ordered:`` in their order.
        nowait : bool, default False
            Do not wait for the other ranks at the end.

        Returns
        -------
        iterator
            Run it to its end: after a ``break`` the next construct raises.

        Raises
        ------
        TypeError, ValueError
            If an argument is no sequence, or no schedule.
        RuntimeError
            Within another loop or a critical block.

        Notes
        -----
        With `nowait`, or after ``if p.single()``, a rank waits for the others once it is 8 claimed
        constructs ahead of them.

        Examples
        --------
        >>> from sharedarray import Parallel, Shared
        >>> with Parallel(Shared(a=[[0] * 3] * 2), num_threads=2) as p:
        ...     for i, j in p.forloop(2, 3, schedule="dynamic"):
        ...         p.var.a[i, j] = 10 * i + j
        >>> p.var.a
        SharedArray([[ 0,  1,  2],
                     [10, 11, 12]])
        """
        rule = parse_schedule(schedule)
        n_items, expand = loop_over(sequences)
        return self._here("forloop").run(
            "forloop", n_items, rule, expand, ordered=bool(ordered), nowait=bool(nowait)
        )

    def chunks(
        self, n: int, schedule: UserSchedule = "static", *, nowait: bool = False
    ) -> Iterator[slice]:
        """Return an iterator over the slices of ``range(n)`` that this rank runs.

        Parameters
        ----------
        n : int
            Length of what is sliced.
        schedule, nowait
            As for `forloop`.

        Returns
        -------
        iterator of slice
            Run it to its end.

        Raises
        ------
        TypeError, ValueError
            If `n` is no length, or `schedule` is none.

        Examples
        --------
        >>> import numpy as np
        >>> from sharedarray import Parallel, Shared
        >>> with Parallel(Shared(a=np.arange(6.0)), num_threads=2) as p:
        ...     for part in p.chunks(6, ("dynamic", 2)):
        ...         p.var.a[part] = np.sqrt(p.var.a[part])
        >>> bool((p.var.a == np.sqrt(np.arange(6.0))).all())
        True
        """
        rule = parse_schedule(schedule)
        length = len(range_of(n))
        return self._here("chunks").run(
            "chunks", length, rule, lambda i, j: (slice(i, j),), nowait=bool(nowait)
        )
