"""The switch between our parallel ways and NumPy itself.

::

    parallel(False)          a ``with`` block, in this context
      > set_parallel(False)  the whole process

`Threshold` is where every operation asks it: a size that no array reaches while it is off, so that
whatever chooses by size chooses NumPy.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["Threshold", "get_parallel", "parallel", "set_parallel"]

_process = True
_context: ContextVar[bool | None] = ContextVar("sharedarray_parallel", default=None)


def set_parallel(enabled: bool) -> None:
    """Set whether NumPy's functions may run in parallel in this process.

    Parameters
    ----------
    enabled : bool
        If False, all calls on arrays are left to NumPy itself, whatever their size. Where results
        are promised to be SharedArrays, they are.

    See Also
    --------
    parallel : The same for a ``with`` block.

    Notes
    -----
    Pools (`MapReduce` ...) work as before: it is about functions of NumPy's that choose for
    themselves, also where they are given a pool.

    Examples
    --------
    >>> from sharedarray.functions.switch import get_parallel, set_parallel
    >>> set_parallel(False)
    >>> get_parallel()
    False
    >>> set_parallel(True)
    """
    global _process
    _process = bool(enabled)


def get_parallel() -> bool:
    """Return whether NumPy's functions may run in parallel here.

    Returns
    -------
    bool

    Examples
    --------
    >>> from sharedarray.functions.switch import get_parallel
    >>> get_parallel()
    True
    """
    here = _context.get()
    return _process if here is None else here


@contextmanager
def parallel(enabled: bool = True) -> Iterator[None]:
    """Let NumPy's functions run in parallel, or not, in a ``with`` block.

    It holds in the context (`contextvars`) of the block: not in other threads, except in those that
    run in a copy of it. Blocks nest.

    Parameters
    ----------
    enabled : bool, default True
        As for `set_parallel`.

    Yields
    ------
    None

    Examples
    --------
    >>> from sharedarray.functions.switch import get_parallel, parallel
    >>> with parallel(False):
    ...     inner = get_parallel()
    >>> inner, get_parallel()
    (False, True)
    """
    token = _context.set(bool(enabled))
    try:
        yield
    finally:
        _context.reset(token)


class Threshold(int):
    """A size from which on something is done; no size reaches it while the switch is off.

    Only comparisons differ from int's. Python asks the right operand first where its class is a
    subclass of the left one's, so that ``size < threshold`` comes here as well, for an int such as
    ``a.size``; a NumPy scalar would compare the numbers.
    """

    __slots__ = ()

    def __le__(self, size: int) -> bool:
        return int(self) <= size and get_parallel()

    def __lt__(self, size: int) -> bool:
        return int(self) < size and get_parallel()

    def __gt__(self, size: int) -> bool:
        return int(self) > size or not get_parallel()

    def __ge__(self, size: int) -> bool:
        return int(self) >= size or not get_parallel()

    __hash__ = int.__hash__
