r"""Parallel: a block of code that several ranks run, and the constructs that share work among them.

::

    caller, rank 0                              rank 1 ... n - 1
    --------------                              ----------------
    with Parallel(...) as p:  ---- fork ------> come out of the same ``with``, each in its process
        body: p.forloop, p.barrier ... <------> the same body; they meet in shared memory
    end of the block  <---- reductions -------- end of the block: send, os._exit
    p.var: combined

Guarantees
    The body runs once in each rank, and nothing after it in any but the caller: whatever way a
    rank leaves the block by, its process ends there. A rank that raises or dies, that meets other
    constructs than the rest, or leaves the block elsewhere (``return``, ``break``, ``continue``),
    makes the block raise ParallelException in the caller: at the next construct, in a loop after
    0.1 s of work or 32 items, or at the end of the block. The caller's own exception comes out as
    it is. Afterwards no process is left.

Assumptions
    All ranks meet the same constructs in the same order (critical blocks excepted). All may leave
    the block at one place before its end; a ``return`` in a ``finally`` is two. A ``yield`` in the
    block, or a handler of a signal that a rank has set and that raises just as ``__exit__`` begins,
    would let a rank out of it; such a process ends with the program, and runs no function of its
    caller's for the exit.

Decisions
    The caller works as rank 0, so it looks after the others where it waits, and between the items
    of loops; not in code of its own, for no thread and no handler of a signal does. Where a block
    is left is known by which call of ``__exit__`` in its code this is. Ranks find out themselves
    whether they still agree: each keeps a hash of the constructs that it has met, compared at
    barriers and at the end; and the last one to wait or to leave raises if nobody is left to wake
    him. Chunks are claimed by a counter without a lock, and are computed from its number alone,
    guided ones too. A reduction without an identity (maximum) starts from the first value, which
    may count more than once.

Ownership
    The `Parallel` belongs to the caller, each `Rank` to the thread that runs the body. The parts:
    `team` and `threadteam` are who runs, `region` what the body uses, `rank` one rank's way through
    it, `meeting` what the ranks share.
"""

from __future__ import annotations

import operator
import os
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any, NoReturn, TypeVar

from sharedarray import config
from sharedarray.openmp.counters import ThreadCounters
from sharedarray.openmp.meeting import Meeting
from sharedarray.openmp.rank import Rank
from sharedarray.openmp.region import Region
from sharedarray.openmp.team import ProcessTeam, new_team
from sharedarray.openmp.threadteam import run_in_threads
from sharedarray.openmp.variables import (
    Places,
    Private,
    Reduction,
    Shared,
    Variables,
    combined,
    declared,
    of_rank,
    partials,
)
from sharedarray.workers.backend import (
    Backend,
    ProcessBackend,
    SerialBackend,
    ThreadBackend,
    backend_named,
)
from sharedarray.workers.interrupts import block_handlers
from sharedarray.workers.primitives import ThreadPrimitives
from sharedarray.workers.process import leave
from sharedarray.workers.reports import Failure, Results, text_of_traceback

__all__ = ["Parallel", "Private", "Reduction", "Shared"]

Self = TypeVar("Self", bound="Parallel")


class Parallel(Region):
    """A block that several ranks run at the same time, as in OpenMP.

    Parameters
    ----------
    *variables : Private, Shared or Reduction
        What ``p.var`` has.
    num_threads : int, optional
        Number of ranks; 0 and 1 run the block in the caller alone. Default: `cpu_count()`, which
        is a worker's share inside a worker, so that a block in a block is serial on its own.
    backend : {"process", "thread", "serial"} or Backend class, default "process"
        Who the ranks are. A ``with`` block needs processes; `run` takes each.

    Attributes
    ----------
    rank : int
        Who runs, from 0, the caller.
    num_threads : int
        How many ranks there are.
    var : object
        The variables of the rank that asks, as attributes; after the block those of the caller,
        with the reductions combined.

    Raises
    ------
    TypeError, ValueError
        For bad arguments, before any work.
    ParallelException
        Out of the block, if another rank than the caller raises, exits or dies, or if the ranks
        meet different constructs or leave the block at different places.
    NotImplementedError
        On entering, on a platform without fork.

    Warns
    -----
    ForkInThreadsWarning
        Other threads are running while processes are forked (Python 3.12 and later).

    Notes
    -----
    Each rank inherits all of the caller's variables; what it assigns to them stays its own. What
    ranks are to share lies in shared arrays (`Shared`, or any array made by this package) or comes
    back by a `Reduction`. NumPy's global generator is seeded anew in all ranks but the caller. In
    debug mode the caller runs the block alone.

    A failure of another rank comes out as soon as the caller meets a construct or goes on to the
    next items of a loop, at most 32; in code of its own, such as one long call of NumPy, only after
    it.

    Entering and leaving takes as long as a small `map` (2 ms with 2 ranks, and some 30 ms for each
    GB of private memory in small pages, whose tables are copied), a barrier some 15 us, a chunk of
    a dynamic or guided loop 1 us; a static loop is shared out before it begins. Beside its
    processes a block has 12 descriptors, and 3 for each rank.

    Examples
    --------
    >>> import numpy as np
    >>> from sharedarray import Parallel, Reduction
    >>> with Parallel(Reduction(np.add, pi=0.0), num_threads=2) as p:
    ...     for part in p.chunks(1000):
    ...         x = (np.arange(part.start, part.stop) + 0.5) / 1000
    ...         p.var.pi += (4 / (1 + x * x)).sum() / 1000
    >>> round(float(p.var.pi), 5)
    3.14159
    """

    def __init__(
        self,
        *variables: Private | Shared | Reduction,
        num_threads: int | None = None,
        backend: str | type[Backend] = ProcessBackend,
    ) -> None:
        for each in variables:
            if not isinstance(each, Private | Shared | Reduction):
                raise TypeError(
                    f"variables are declared by Private, Shared or Reduction, not {each!r}"
                )
        names = [name for each in variables for name in each.names]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise TypeError(f"declared more than once: {', '.join(twice)}")
        self._declarations = variables
        self._backend = backend_named(backend)
        if self._backend not in (ProcessBackend, ThreadBackend, SerialBackend):
            raise TypeError(f"a block runs in processes or threads, not by {self._backend!r}")
        self._n_ranks = operator.index(config.cpu_count() if num_threads is None else num_threads)
        if self._n_ranks < 0:
            raise ValueError(f"num_threads must be 0 or a positive number, not {num_threads}")
        super().__init__()
        self._is_running = False
        self._team: ProcessTeam | None = None
        self._first: Places = {}

    def __enter__(self: Self) -> Self:
        if self._backend is ThreadBackend:
            raise RuntimeError(
                "a with block cannot run in threads: give its body to p.run(body) as a function, "
                "or use processes"
            )
        self._check()
        try:
            self._open()
            return self
        except BaseException as error:  # from here on nobody else would end it
            self._shut(error)
            raise

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        try:
            self._shut(error, _place_of_exit())
        finally:
            self._end()  # where Ctrl-C has come before that began

    def run(self, body: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Run ``body(p, *args, **kwargs)`` as the block, on any backend.

        Parameters
        ----------
        body : callable
            The block. Threads run it at the same time in one process: all but its own local
            variables is shared.
        *args, **kwargs
            Passed to it.

        Returns
        -------
        object
            What it returns in rank 0.

        Examples
        --------
        >>> import sharedarray
        >>> a = sharedarray.zeros(4, int)
        >>> def body(p, value):
        ...     for i in p.forloop(4):
        ...         a[i] = value + i
        >>> sharedarray.Parallel(num_threads=2, backend="thread").run(body, 10)
        >>> a
        SharedArray([10, 11, 12, 13])
        """
        if not callable(body):
            raise TypeError(f"body must be callable, not {type(body).__name__}")
        if self._backend is ThreadBackend and self._n_wanted > 1:
            return self._run_in_threads(lambda: body(self, *args, **kwargs))
        self._check()
        try:
            self._open()
            result = body(self, *args, **kwargs)
            self._shut(None)
            return result
        except BaseException as error:  # of the end, too, where Ctrl-C has come before that began
            self._shut(error)
            raise

    def __call__(self, body: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function whose calls `run` it: ``@Parallel(...)`` as a decorator.

        Its attribute `parallel` is this object, which has the results in `var`; one call at a time.

        Examples
        --------
        >>> import numpy as np
        >>> from sharedarray import Parallel, Reduction
        >>> @Parallel(Reduction(np.add, total=0), num_threads=2)
        ... def add_up(p, n):
        ...     for i in p.forloop(n):
        ...         p.var.total += i
        >>> add_up(10)
        >>> int(add_up.parallel.var.total)
        45
        """

        @wraps(body)
        def in_parallel(*args: Any, **kwargs: Any) -> Any:
            return self.run(body, *args, **kwargs)

        in_parallel.parallel = self  # type: ignore[attr-defined]
        return in_parallel

    # How the block begins and ends.

    @property
    def _n_wanted(self) -> int:
        """Return how many ranks a block that begins now would have."""
        if config.get_debug() or not self._backend.is_parallel:
            return 1
        return max(1, self._n_ranks)

    def _check(self) -> None:
        """Raise where no block can begin."""
        if sys.is_finalizing():
            raise RuntimeError("a block cannot start while the interpreter ends")
        if self._is_running:
            raise RuntimeError(
                "this Parallel is running: a block within it, or beside it in another thread, "
                "needs one of its own"
            )

    def _open(self) -> None:
        """Begin a block, in all its processes."""
        self._is_running = True
        self._final = None
        self._first = declared(self._declarations)
        number = 0
        if self._n_wanted == 1:
            meeting = Meeting(ThreadPrimitives, ThreadCounters, 1)
        else:
            self._team = new_team(self._n_wanted)
            number = self._team.fork()
            meeting = self._team.meeting
        self._local.rank = Rank(number, meeting, of_rank(self._first))

    def _shut(self, error: BaseException | None, where: int = 0) -> None:
        """End the block, also one that has not quite begun; only the caller comes back.

        `where` it is left has to be the same for all ranks.
        """
        rank: Rank | None = getattr(self._local, "rank", None)
        team = self._team
        if rank is not None and rank.pid != os.getpid():  # a child that the body has forked
            if rank.number:
                leave(1)
            return
        if team is not None and team.number:
            self._leave(team, error, where)
        try:
            if error is None and rank is not None:
                self._finish(rank, team, where)
        finally:
            try:
                self._end()
            finally:
                self._end()  # where Ctrl-C has come before the first

    def _finish(self, rank: Rank, team: ProcessTeam | None, where: int) -> None:
        """Wait for the other ranks, and combine what they bring."""
        rank.end(where)
        own = partials(rank.places)
        values = [own] if team is None else team.gather(own)
        rank.meeting.compare()
        self._final = Variables(combined(self._first, rank.places, values))

    def _end(self) -> None:
        if self._team is not None:
            if self._team.number:  # a child, whose own handler of a signal has raised at its end
                leave(1)
            self._team.end()
        self._team = None
        self._local.rank = None
        self._is_running = False

    def _leave(self, team: ProcessTeam, error: BaseException | None, where: int) -> NoReturn:
        """End a child, which tells what it brings, or why it has failed."""
        try:
            block_handlers()  # one that the body has set could bring the child back
            try:
                report = _report(self._local.rank, where) if error is None else _failure(error)
            except BaseException as found:  # the worker's boundary
                report = _failure(found)
            team.leave(report)
        finally:
            leave(1)

    def _run_in_threads(self, body: Callable[[], Any]) -> Any:
        self._check()
        try:
            self._is_running = True
            self._final = None
            self._first = declared(self._declarations)
            meeting = Meeting(ThreadPrimitives, ThreadCounters, self._n_wanted)
            ranks = [Rank(i, meeting, of_rank(self._first)) for i in range(meeting.n_ranks)]

            def live(number: int) -> Any:
                self._local.rank = ranks[number]
                try:
                    result = body()
                    ranks[number].end(0)
                    return result
                finally:
                    self._local.rank = None

            results = run_in_threads(meeting, live)
            meeting.compare()
            values = [partials(rank.places) for rank in ranks]
            self._final = Variables(combined(self._first, ranks[0].places, values))
            return results[0]
        finally:
            self._is_running = False


def _place_of_exit() -> int:
    """Return where in its code a ``with`` block is left: at its end is another call of `__exit__`.

    Those in between, of a subclass or an `contextlib.ExitStack`, are passed over.
    """
    frame = sys._getframe().f_back
    while frame is not None and frame.f_code.co_name == "__exit__":
        frame = frame.f_back
    return 0 if frame is None else max(0, frame.f_lasti)


def _report(rank: Rank, where: int) -> Results:
    rank.end(where)
    return Results(rank.number, [partials(rank.places)], 0.0, 0.0)


def _failure(error: BaseException) -> Failure:
    try:
        raise error  # from here, since the text leaves out the frame that has caught it
    except BaseException as again:
        return Failure(again, text_of_traceback(again))
