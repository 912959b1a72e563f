"""Paths and file objects: whose descriptor gives the bytes that the object itself would give."""

from __future__ import annotations

import io
import os
import sys
from typing import Any

__all__ = ["has_own_descriptor", "is_path", "unwrapped"]


def is_path(file: Any) -> bool:
    """Return whether it is a path, not a file object."""
    return isinstance(file, (str, bytes, os.PathLike))


def unwrapped(file: Any) -> Any:
    """Return the file object in what `tempfile` has wrapped around it."""
    return getattr(file, "file", file)


def has_own_descriptor(handle: Any, *, sockets: bool = True) -> bool:
    """Return whether a file object is a plain one, with a buffer or without, or that of a socket.

    Those of gzip and the like have the descriptor of another file, with other bytes.
    """
    # Where nobody has imported socket, there is none.
    of_sockets = getattr(sys.modules.get("socket"), "SocketIO", ()) if sockets else ()
    return isinstance(getattr(handle, "raw", handle), (io.FileIO, of_sockets))
