"""The mode that users set for pickles: shared arrays by reference, or with their data.

::

    with pickling("value"):      in this context
      > pickling("value")        the whole process
      > SHAREDARRAY_PICKLING     the program and those that it starts
      > "reference"

What each mode means is in `sharedarray.memory.pickling`.
"""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token

__all__ = [
    "REFERENCE",
    "VALUE",
    "VARIABLE",
    "by_value",
    "is_by_reference",
    "is_by_value",
    "pickling",
    "setting",
]

REFERENCE, VALUE = "reference", "value"
VARIABLE = "SHAREDARRAY_PICKLING"

_process: str | None = None
_context: ContextVar[str | None] = ContextVar("sharedarray_pickling", default=None)


class pickling:  # noqa: N801 - called as a function, as `numpy.errstate` is
    """Pickle shared arrays by reference, or with their data.

    Called as a function, it holds for the whole process, until the next call; in a ``with``
    statement for the block, in its context (`contextvars`): not in other threads, except in those
    that run in a copy of it. Blocks nest.

    Parameters
    ----------
    mode : {'reference', 'value'}
        ``"reference"``, the default of a process: a pickle refers to the memory, and loads as the
        same memory while that lives. ``"value"``: a pickle holds the data, and loads anywhere, at
        any time, as a new SharedArray.

    Raises
    ------
    ValueError
        If `mode` is neither.

    Notes
    -----
    The environment variable ``SHAREDARRAY_PICKLING`` sets what holds at first.

    With protocol 5 and a ``buffer_callback``, the data of a contiguous array go out of band,
    without a copy. Arrays that are views of one another load as separate ones, as NumPy's do.

    Only pickles that other code makes obey it: `MapReduce`, `Parallel` and `background` share
    memory as ever. The queues of `multiprocessing`, and the pools on them, pickle in a thread of
    their own, so that for these it has to be called as a function.

    Data are pickled in either mode where the pickle is known to be for a file: by `joblib.dump`,
    `joblib.Memory`, `shelve`, ``to_pickle`` of pandas. `pickle.dump` does not say whether it writes
    to a file; set the mode around it. In a worker process, arrays that it has made are pickled
    with their data beside the reference, because it may end before the pickle is loaded; but not
    within ``with sharedarray.pickling("reference")``.

    Examples
    --------
    >>> import pickle
    >>> import sharedarray
    >>> a = sharedarray.arange(3)
    >>> with sharedarray.pickling("value"):
    ...     pickled = pickle.dumps(a)
    >>> del a
    >>> pickle.loads(pickled)
    SharedArray([0, 1, 2])
    >>> sharedarray.pickling("reference")  # until the next call
    pickling('reference')
    """

    def __init__(self, mode: str) -> None:
        global _process
        if mode not in (REFERENCE, VALUE):
            raise ValueError(f"pickling is by 'reference' or 'value', got {mode!r}")
        self._mode = mode
        self._before, _process = _process, mode
        self._tokens: list[Token[str | None]] = []

    def __repr__(self) -> str:
        return f"pickling({self._mode!r})"

    def __enter__(self) -> None:
        global _process
        if not self._tokens:
            _process = self._before  # the block is what was meant
        self._tokens.append(_context.set(self._mode))

    def __exit__(self, *exception: object) -> None:
        _context.reset(self._tokens.pop())


def is_by_value() -> bool:
    """Return whether pickles hold the data here."""
    return (_context.get() or _process or _from_environment()) == VALUE


def is_by_reference() -> bool:
    """Return whether a ``with`` block asks for references alone."""
    return _context.get() == REFERENCE


@contextmanager
def by_value() -> Iterator[None]:
    """Have pickles hold the data in the block; the process is never touched, as `pickling` does."""
    token = _context.set(VALUE)
    try:
        yield
    finally:
        _context.reset(token)


def setting() -> tuple[str, str]:
    """Return the mode here, and what has set it.

    >>> with pickling("value"):
    ...     setting()
    ('value', 'pickling in this context')
    """
    for mode, source in ((_context.get(), "pickling in this context"), (_process, "pickling")):
        if mode is not None:
            return mode, source
    is_given = bool(os.environ.get(VARIABLE, "").strip())
    return _from_environment(), VARIABLE if is_given else "default"


@functools.cache
def _from_environment() -> str:
    """Return the mode that the environment sets, or the default."""
    value = os.environ.get(VARIABLE, "").strip()
    if value in ("", REFERENCE, VALUE):
        return value or REFERENCE
    warnings.warn(
        f"environment variable {VARIABLE}={value!r} is neither 'reference' nor 'value' and is "
        "ignored",
        RuntimeWarning,
        stacklevel=2,
    )
    return REFERENCE
