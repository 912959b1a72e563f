"""Named segments whose arrays never come about."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sharedarray.memory import named

__all__ = ["unlinked_on_error"]


@contextmanager
def unlinked_on_error(name: str | None) -> Iterator[None]:
    """Take the name of a new segment away if the block that fills it raises."""
    try:
        yield
    except BaseException:
        if name is not None:
            named.unlink(name)
        raise
