"""The standard streams around a fork."""

from __future__ import annotations

import io
import sys
from contextlib import suppress
from typing import Any

__all__ = ["flush_at_end", "flush_streams", "renew_streams"]

# Of the standard streams of a child's parent.
_old_buffers: list[Any] = []


def flush_streams() -> None:
    """Write out what the standard streams hold."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):  # none, broken, closed
            stream.flush()


def flush_at_end() -> None:
    """Write out what the standard streams hold before `os._exit`, whatever a stream raises."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(BaseException):  # os._exit does not flush; None, closed or broken
            stream.flush()


def renew_streams() -> None:
    """Give the standard streams new buffers: another thread may have locked the old ones."""
    for stream in (sys.stdout, sys.stderr):
        old = getattr(stream, "buffer", None)
        if type(stream) is not io.TextIOWrapper or type(old) is not io.BufferedWriter:
            continue  # not of Python's own making: nothing is known of its locks
        with suppress(OSError, ValueError, AttributeError):  # closed; a raw stream of another kind
            new = io.BufferedWriter(io.FileIO(old.raw.fileno(), "w", closefd=False))
            _old_buffers.append(old)  # its end would flush it
            # In place, since handlers of logging may hold the stream.
            stream.__init__(  # type: ignore[misc]
                new,
                encoding=stream.encoding,
                errors=stream.errors,
                line_buffering=stream.line_buffering,
                write_through=stream.write_through,
            )
