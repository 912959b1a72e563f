"""What is read from and written to: paths, file objects, and arrays as bytes."""

from __future__ import annotations

import io
import os
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sharedarray.memory.array import SharedArray

__all__ = ["bytes_of", "is_path", "own_file"]


def is_path(file: Any) -> bool:
    """Return whether it is a path, not a file object."""
    return isinstance(file, (str, bytes, os.PathLike))


def own_file(
    file: Any, function: str, instead: str, mode: str = "rb", *, sockets: bool = True
) -> Any:
    """Return the file object under the wrapper of `tempfile`, flushed.

    Parameters
    ----------
    file : file object
        With a buffer or without.
    function, instead, mode : str
        What the error says: which function needs it, and what to do.
    sockets : bool, default True
        Allow the file objects of sockets.

    Raises
    ------
    TypeError
        If its bytes are not those of its descriptor: gzip has that of the compressed file.
    """
    handle = getattr(file, "file", file)
    # Until socket is imported there are none.
    of_sockets = getattr(sys.modules.get("socket"), "SocketIO", ()) if sockets else ()
    if not isinstance(getattr(handle, "raw", handle), (io.FileIO, of_sockets)):
        raise TypeError(
            f"{function} needs a plain file, and {type(file).__name__} is none: its descriptor, if "
            f"it has one, has other bytes than it has (compressed ones, say). Use {instead}, or a "
            f"file opened with {mode!r}"
        )
    handle.flush()
    return handle


def bytes_of(array: SharedArray) -> NDArray[np.uint8]:
    """Return the bytes of a dense array in the order of its memory."""
    return array.view(np.ndarray).reshape(-1, order="A").view(np.uint8)
