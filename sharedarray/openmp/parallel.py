r"""Parallel: a block of code that several ranks run, as in OpenMP.

::

    caller, rank 0                              rank 1 ... n - 1
    --------------                              ----------------
    with Parallel(...) as p:  ---- fork ------> return from __enter__, each in its process
        body: p.forloop, p.barrier ... <------> the same body, synchronized in shared memory
    end of the block  <---- reductions -------- end of the block: send, os._exit
    p.var: combined

Guarantees
    Each rank runs the body once, and only the caller runs what follows it: however another rank
    leaves the block, its process ends there. The block raises ParallelException in the caller if
    another rank raises or dies, or if the ranks meet different constructs or leave the block at
    different places (``return``, ``break``, ``continue``): at the next construct, in a loop after
    0.1 s of work or 32 items, or at the end of the block. An exception of the caller itself comes
    out unchanged. Afterwards no process is left.

Assumptions
    All ranks meet the same constructs in the same order, critical blocks excepted. They may leave
    the block at one place before its end; a ``return`` in a ``finally`` is two. A ``yield`` in the
    block, or a signal handler of a rank that raises just as ``__exit__`` begins, would let a rank
    out of it; such a process ends with the program, and runs no exit function of the caller's.

Decisions
    No thread and no signal handler watches the ranks: the caller checks them where it waits and
    between the items of loops, but not in code of its own. `__exit__` tells places where the block
    is left by the position of its call in the code. Each rank keeps a hash of the constructs that
    it has met, compared at barriers and at the end; the last rank to wait or to leave raises if no
    rank is left to wake it. A counter without a lock numbers the chunks, and the number alone gives
    the chunk, of guided loops too. A reduction without an identity (maximum) starts from the first
    value, which may count more than once.

Ownership
    The `Parallel` belongs to the caller, each `Rank` to the thread that runs the body. `directives`
    has what the body uses, `rank` runs it, `team` is what the ranks share, `blockcrews` starts and
    ends their processes and threads.
"""

from __future__ import annotations

import operator
import os
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any, NoReturn, TypeVar

from sharedarray import config
from sharedarray.openmp.blockcrews import BlockCrew, run_in_threads
from sharedarray.openmp.counters import ThreadCounters
from sharedarray.openmp.directives import Directives
from sharedarray.openmp.rank import Rank
from sharedarray.openmp.team import Team
from sharedarray.openmp.variables import (
    Private,
    Reduction,
    Scope,
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


class Parallel(Directives):
    """Run a block of code in several ranks at the same time, as in OpenMP.

    Parameters
    ----------
    *variables : Private, Shared or Reduction
        The attributes of ``p.var``.
    num_threads : int, optional
        Number of ranks; 0 and 1 run the block in the caller alone. Default: `cpu_count()`, in a
        worker its share: a block in a block is serial.
    backend : {"process", "thread", "serial"} or Backend class, default "process"
        What runs the ranks. A ``with`` block needs processes; `run` takes each.

    Attributes
    ----------
    rank : int
        The number of this rank; 0 is the caller.
    num_threads : int
        The number of ranks.
    var : object
        The variables of this rank as attributes; after the block those of the caller, with the
        reductions combined.

    Raises
    ------
    TypeError, ValueError
        For bad arguments, before any work.
    ParallelException
        From the block, if another rank than the caller raises, exits or dies, or if the ranks
        meet different constructs or leave the block at different places.
    NotImplementedError
        On entry, on a platform without fork.

    Warns
    -----
    ForkInThreadsWarning
        Other threads are running while processes are forked (Python 3.12 and later).

    Notes
    -----
    Each rank inherits all variables of the caller; what it assigns to them stays its own. Ranks
    share data in shared arrays (`Shared`, or any array of this package), and return data by a
    `Reduction`. NumPy's global generator is seeded anew in all ranks but the caller. In debug mode
    the caller runs the block alone.

    The caller raises for a failed rank at its next construct, or in a loop within 32 items; not
    during code of its own, such as one long call of NumPy.

    Entering and leaving takes as long as a small `map` (2 ms with 2 ranks, and some 30 ms for each
    GB of private memory in small pages, whose tables are copied), a barrier some 15 us, a chunk of
    a dynamic or guided loop 1 us. Beside its processes a block has 12 descriptors, and 3 for each
    rank.

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
        self._crew: BlockCrew | None = None
        self._first: Scope = {}

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
        except BaseException as error:  # `with` does not call `__exit__` then
            self._shut(error)
            raise

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        try:
            self._shut(error, _place_of_exit())
        finally:
            self._end()  # where Ctrl-C has come before `_shut` began

    def run(self, body: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Run ``body(p, *args, **kwargs)`` as the block, on any backend.

        Parameters
        ----------
        body : callable
            The block. Threads run it in one process and share all but its local variables.
        *args, **kwargs
            Passed to `body`.

        Returns
        -------
        object
            What `body` returns in rank 0.

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
        except BaseException as error:  # of `_shut` too, where Ctrl-C has come before it began
            self._shut(error)
            raise

    def __call__(self, body: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that calls `run` with `body`: ``@Parallel(...)`` as a decorator.

        Its attribute `parallel` is this object, with the results in `var`; one call at a time.

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

    @property
    def _n_wanted(self) -> int:
        """Return how many ranks a block that begins now would have."""
        if config.get_debug() or not self._backend.is_parallel:
            return 1
        return max(1, self._n_ranks)

    def _check(self) -> None:
        """Raise if no block can begin."""
        if sys.is_finalizing():
            raise RuntimeError("a block cannot start while the interpreter ends")
        if self._is_running:
            raise RuntimeError(
                "this Parallel is running: a block within it, or beside it in another thread, "
                "needs one of its own"
            )

    def _begin(self) -> None:
        self._is_running = True
        self._final = None
        self._first = declared(self._declarations)

    def _open(self) -> None:
        """Begin a block, in all its processes."""
        self._begin()
        number = 0
        if self._n_wanted == 1:
            team = Team(ThreadPrimitives, ThreadCounters, 1)
        else:
            self._crew = BlockCrew(self._n_wanted)
            number = self._crew.fork()
            team = self._crew.team
        self._local.rank = Rank(number, team, of_rank(self._first))

    def _shut(self, error: BaseException | None, where: int = 0) -> None:
        """End the block, also one that has not quite begun; only the caller returns.

        `where` the block is left has to be the same for all ranks.
        """
        rank: Rank | None = getattr(self._local, "rank", None)
        crew = self._crew
        if rank is not None and rank.pid != os.getpid():  # a child that the body has forked
            if rank.number:
                leave(1)
            return
        if crew is not None and crew.number:
            self._leave(crew, error, where)
        try:
            if error is None and rank is not None:
                rank.end(where)
                own = partials(rank.scope)
                self._combine(rank, [own] if crew is None else crew.gather(own))
        finally:
            try:
                self._end()
            finally:
                self._end()  # where Ctrl-C has come before the first

    def _combine(self, own: Rank, values: list[tuple[Any, ...]]) -> None:
        """Set the variables that the caller has after the block; `own` is its rank."""
        own.team.compare()
        self._final = Variables(combined(self._first, own.scope, values))

    def _end(self) -> None:
        if self._crew is not None:
            if self._crew.number:  # a child, in which a signal handler of its own has raised
                leave(1)
            self._crew.end()
        self._crew = None
        self._local.rank = None
        self._is_running = False

    def _leave(self, crew: BlockCrew, error: BaseException | None, where: int) -> NoReturn:
        """End a child, after it has sent its reductions or its failure."""
        try:
            block_handlers()  # a handler that the body has set could bring the child back
            try:
                if error is not None:
                    raise error  # here, since the text leaves out the frame that catches it
                rank: Rank = self._local.rank
                rank.end(where)
                report: Results | Failure = Results(rank.number, [partials(rank.scope)], 0.0, 0.0)
            except BaseException as found:  # the worker's boundary
                report = Failure(found, text_of_traceback(found))
            crew.leave(report)
        finally:
            leave(1)

    def _run_in_threads(self, body: Callable[[], Any]) -> Any:
        self._check()
        try:
            self._begin()
            team = Team(ThreadPrimitives, ThreadCounters, self._n_wanted)
            ranks = [Rank(i, team, of_rank(self._first)) for i in range(team.n_ranks)]

            def live(number: int) -> Any:
                self._local.rank = ranks[number]
                try:
                    result = body()
                    ranks[number].end(0)
                    return result
                finally:
                    self._local.rank = None

            results = run_in_threads(team, live)
            self._combine(ranks[0], [partials(rank.scope) for rank in ranks])
            return results[0]
        finally:
            self._is_running = False


def _place_of_exit() -> int:
    """Return where in its code a ``with`` block is left: each way out calls `__exit__` itself.

    Frames between, of a subclass or a `contextlib.ExitStack`, do not count.
    """
    frame = sys._getframe().f_back
    while frame is not None and frame.f_code.co_name == "__exit__":
        frame = frame.f_back
    return 0 if frame is None else max(0, frame.f_lasti)
