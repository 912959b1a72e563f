"""File descriptors that close with their objects, also where an interrupt comes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from itertools import chain, starmap
from typing import Any

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["Descriptor", "above_streams", "opened", "pipe"]


class _Closed(int):
    """A file descriptor that was closed.

    A class of its own, without a finalizer: an interrupt that Python raises in one is lost.
    """

    @property
    def number(self) -> int:
        """Return the descriptor, -1 when it is closed."""
        return -1

    def close(self) -> None:
        """Do nothing more."""


class Descriptor(_Closed):
    """A file descriptor that is closed with the object, in each process separately.

    An int: C code makes it, so no interrupt comes between the system call and the object.
    """

    @property
    def number(self) -> int:
        """Return the descriptor, -1 when it is closed."""
        return int(self)

    # Arguments, since the module's globals may be gone before it, as the interpreter ends.
    def close(
        self, close: Callable[[int], None] = os.close, closed: type[_Closed] = _Closed
    ) -> None:
        """Close it; once more does nothing."""
        if type(self) is not closed:  # a bound method may outlive the change
            self.__class__ = closed  # type: ignore[assignment]
            close(self)

    __del__ = close


def above_streams(number: int) -> int:
    """Return a descriptor, moved if it has the number of a standard stream that is closed."""
    if number > 2:
        return number
    try:
        return fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, 3)
    finally:
        os.close(number)


def opened(function: Callable[..., int], *args: Any) -> Descriptor:
    """Return the `Descriptor` of what a C function such as `os.open` opens."""
    # One C call: no interrupt comes between the system call and the object.
    (descriptor,) = map(Descriptor, starmap(function, (args,)))
    return descriptor


def pipe() -> tuple[Descriptor, Descriptor]:
    """Return the read end and the write end of a new pipe."""
    ends: Iterable[int] = chain.from_iterable(starmap(os.pipe, ((),)))
    read, write = map(Descriptor, ends)
    return read, write
