"""The header of .npy files, and the memory for what follows it.

Headers are written and parsed by `numpy.lib.format`, through what is public of it.
"""

from __future__ import annotations

import io
import math
import struct
import sys
import tokenize
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from sharedarray.memory.array import SharedArray
from sharedarray.memory.creation import empty

__all__ = ["MAX_HEADER_SIZE", "Header", "bytes_of", "header_of", "read_header"]

# Characters; NumPy's own limit, since to evaluate a longer literal is not safe.
MAX_HEADER_SIZE = 10_000


class Header(NamedTuple):
    """What a header says."""

    shape: tuple[int, ...]
    is_fortran: bool
    dtype: np.dtype[Any]

    @property
    def nbytes(self) -> int:
        """Return how many bytes follow."""
        return math.prod(self.shape) * self.dtype.itemsize

    def new_array(self, name: str | None = None, reserve: bool = False) -> SharedArray:
        """Return an array for what follows."""
        order = "F" if self.is_fortran else "C"
        return empty(self.shape, self.dtype, order, name=name, reserve=reserve)  # type: ignore[arg-type]


def bytes_of(array: SharedArray) -> NDArray[np.uint8]:
    """Return the bytes of a dense array in the order of its memory."""
    return array.view(np.ndarray).reshape(-1, order="A").view(np.uint8)


class _HeaderIsWritten(Exception):  # noqa: N818 - no error
    pass


class _HeaderOnly:
    """A file that keeps what is written first, and ends the writing with it."""

    header = b""

    def write(self, data: bytes) -> None:
        self.header = data
        raise _HeaderIsWritten


def header_of(array: NDArray[Any]) -> bytes:
    """Return what `numpy.save` writes before the data.

    Raises
    ------
    ValueError
        If the elements are Python objects, or of a dtype that a package has defined.
    """
    if array.dtype.hasobject:
        raise ValueError("Object arrays cannot be saved when allow_pickle=False")
    if not type(array.dtype)._legacy:  # as NumPy asks itself
        raise ValueError("User-defined dtypes cannot be saved when allow_pickle=False")
    file = _HeaderOnly()
    with suppress(_HeaderIsWritten):
        # The oldest version of the format that has room for it, which only this function finds.
        npy.write_array(file, array, allow_pickle=False)
    return file.header


def read_header(file: Any, max_header_size: int) -> Header | None:
    """Read a header and move the position of `file` behind it.

    Returns
    -------
    Header or None
        None for what NumPy has to judge: no header, or one of no array of ours.
    """
    try:
        version = npy.read_magic(file)
        if version == (1, 0):
            found = npy.read_array_header_1_0(file, max_header_size)
        elif version == (2, 0):
            found = npy.read_array_header_2_0(file, max_header_size)
        elif version == (3, 0):
            found = _read_header_3_0(file, max_header_size)
        else:
            return None
    except (ValueError, SyntaxError, TypeError, tokenize.TokenError, UnicodeError):
        return None
    header = Header(*found)
    is_odd = header.dtype.hasobject or not header.dtype.itemsize or min(header.shape, default=0) < 0
    return None if is_odd or header.nbytes > sys.maxsize else header


def _read_header_3_0(file: Any, max_header_size: int) -> Any:
    """Read a header in UTF-8, as one of version 2.0, for which there is a public function.

    Letters beyond ASCII are in the names of fields only, and these are string literals, where an
    escape means the same.
    """
    (size,) = struct.unpack("<I", file.read(4))
    text = file.read(size).decode()
    if len(text) > max_header_size or len(text) < 2:
        raise ValueError("too long")
    escaped = text.encode("ascii", "backslashreplace")
    older = io.BytesIO(struct.pack("<I", len(escaped)) + escaped)
    return npy.read_array_header_2_0(older, len(escaped))
