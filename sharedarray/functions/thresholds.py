"""The sizes from which functions run in parallel, and the switch that leaves all calls to NumPy.

An operation asks `pays` when it knows its size. ``with numpy_only()`` in the context of the call
comes before ``numpy_only()`` for the process.
"""

from __future__ import annotations

from contextvars import ContextVar, Token

# Elements, unless bytes are named, from which our way wins against one call of NumPy: medians on
# two cores, NumPy 2.4 with AVX-512.

# Lines of numbers have their own table, in `sharedarray_ops.sort.sorting`.
MIN_ARGSORT = 1 << 12  # in the caller: packing alone makes it 2 to 10 times as fast
MIN_LINES = 1 << 17  # of all lines together, if each is shorter than that table asks for
MIN_PARTITION = 1 << 20
MIN_ARGPARTITION = 1 << 23  # at one place, for which NumPy has SIMD
MIN_QUANTILE = 1 << 16  # in the caller: selecting alone makes it 2 to 5 times as fast
MIN_QUANTILE_WORKERS = 1 << 19
MIN_UNIQUE = 1 << 20  # with indices
MIN_UNIQUE_SORTED = 1 << 22  # NumPy sorts as well, and is slower only in finding the first ones
MIN_UNIQUE_INTEGERS = 1 << 14  # in the caller: NumPy looks integers up in a hash table from 2.3 on
MIN_UNIQUE_WORKERS = 1 << 18

MIN_BINCOUNT = 1 << 20
MIN_HISTOGRAM = 1 << 18
MIN_SEARCHSORTED = 1 << 16
MIN_TAKE = 1 << 19

MIN_SUM = 1 << 21
MIN_CUMULATIVE = 1 << 21
# Other reductions: in bytes if NumPy is bound by the memory; in elements if it takes a nanosecond
# and more for each.
MIN_FAST_NBYTES = 1 << 26
MIN_FASTEST_NBYTES = 1 << 27  # in one pass of SIMD: extremes, counts, sums of integers
MIN_SLOW = 1 << 20

# Elementwise functions by their cost for elements of 8 bytes: up to half a nanosecond, about one,
# more. Waking the workers takes 50 us on a quiet machine, 300 us on a busy one. The cheap ones are
# bound by the memory: they gain early with a large new result, whose pages NumPy waits for; late
# and little with memory that is given, or a narrow result.
MIN_CHEAP = 1 << 22
MIN_CHEAP_GIVEN = 1 << 25
MIN_MIDDLE = 1 << 21
MIN_DEAR = 1 << 18
MIN_ASSIGN = 1 << 27  # bytes
MIN_ASSIGN_MASK = 1 << 19

# Files: bytes.
MIN_FROMFILE = 1 << 24
MIN_FILE = 1 << 16  # of several files in the mean: opening a file holds the GIL
MIN_TOFILE = 1 << 26
MIN_TOFILE_COPIED = 1 << 20  # of arrays that are not in C order

_process = False
_context: ContextVar[bool | None] = ContextVar("sharedarray_numpy_only", default=None)


class numpy_only:  # noqa: N801 - called as a function, as `numpy.errstate` is
    """Leave NumPy's functions to NumPy itself, whatever the size of the arrays.

    A call sets it for the process, until the next call; a ``with`` statement for its block, in its
    context (`contextvars`), which other threads do not have unless they run in a copy. Blocks nest.

    Parameters
    ----------
    enabled : bool, default True
        If False, they run in parallel again.

    Notes
    -----
    Functions that return SharedArrays still do. Pools (`MapReduce` ...) work as before; functions
    with a `pool` argument leave the call to NumPy all the same.

    Examples
    --------
    >>> import numpy as np
    >>> import sharedarray
    >>> a = sharedarray.arange(5_000_000)
    >>> with sharedarray.numpy_only():
    ...     first = np.sort(a)
    >>> sharedarray.numpy_only()  # until the next call
    numpy_only(True)
    >>> sharedarray.numpy_only(False)
    numpy_only(False)
    """

    def __init__(self, enabled: bool = True) -> None:
        global _process
        self._enabled = bool(enabled)
        self._before, _process = _process, self._enabled
        self._tokens: list[Token[bool | None]] = []

    def __repr__(self) -> str:
        return f"numpy_only({self._enabled})"

    def __enter__(self) -> None:
        global _process
        if not self._tokens:
            _process = self._before  # a block was meant, not the process
        self._tokens.append(_context.set(self._enabled))

    def __exit__(self, *exception: object) -> None:
        _context.reset(self._tokens.pop())


def is_numpy_only() -> bool:
    """Return whether every call is left to NumPy here."""
    here = _context.get()
    return _process if here is None else here


def pays(size: int, least: int) -> bool:
    """Return whether a parallel way pays: from `least` on, unless it is switched off."""
    return size >= least and not is_numpy_only()
