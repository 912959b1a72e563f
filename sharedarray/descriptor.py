"""A file descriptor that cannot be forgotten."""

from __future__ import annotations

import os
from collections.abc import Callable

__all__ = ["Descriptor", "pipe"]


class Descriptor:
    """A file descriptor that is closed with the object, in each process for itself.

    So an interrupt at any point between its creation and a ``finally`` leaks nothing.

    Attributes
    ----------
    number : int
        The descriptor; -1 when it is closed.
    """

    __slots__ = ("__weakref__", "number")

    def __init__(self, number: int) -> None:
        self.number = number

    # An argument, because it may die after the module's globals have, at the interpreter's end.
    def close(self, close: Callable[[int], None] = os.close) -> None:
        """Close it; once more does nothing."""
        number, self.number = self.number, -1
        if number >= 0:
            close(number)

    __del__ = close


def pipe() -> tuple[Descriptor, Descriptor]:
    """Return the read end and the write end of a new pipe."""
    read, write = map(Descriptor, os.pipe())
    return read, write
