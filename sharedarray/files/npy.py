"""NumPy's own file format (.npy): its header, and save.

Headers are written and parsed by `numpy.lib.format`, through what is public of it.
"""

from __future__ import annotations

import io
import math
import os
import struct
import sys
import tokenize
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
from numpy.lib import format as npy
from numpy.typing import ArrayLike, NDArray

from sharedarray.files.handles import is_path
from sharedarray.files.progress import Progress, check_progress
from sharedarray.files.tofile import output, write_out
from sharedarray.functions.calls import check_pool, plain
from sharedarray.memory.array import SharedArray
from sharedarray.memory.creation import empty
from sharedarray_ops.pool import Pool

__all__ = ["MAX_HEADER_SIZE", "Header", "read_header", "refuse_pickles", "save"]

# Characters; NumPy's own limit, since to evaluate a longer literal is not safe.
MAX_HEADER_SIZE = 10_000


def save(
    file: Any,
    arr: ArrayLike,
    allow_pickle: bool = False,
    *,
    pool: Pool | None = None,
    progress: Progress = None,
) -> None:
    """Write an array to a file of NumPy's format, in parallel.

    Parameters
    ----------
    allow_pickle : bool, default False
        Only False: Python objects cannot be in shared memory (ValueError).
    pool, progress
        As in `tofile`.

    Notes
    -----
    Otherwise as `numpy.save`, with the same bytes. Files, thresholds and extra memory as in
    `tofile`; an array in Fortran order is written as it lies.

    Examples
    --------
    >>> import pathlib, tempfile, numpy, sharedarray
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     sharedarray.save(pathlib.Path(folder, "three"), sharedarray.arange(3))
    ...     numpy.load(pathlib.Path(folder, "three.npy"))
    array([0, 1, 2])
    """
    check_pool(pool)
    check_progress(progress)
    refuse_pickles(allow_pickle, "save")
    array = plain(arr)
    header = _header_of(array)
    if is_path(file):
        file = os.fspath(file)
        file = file if file.endswith(".npy") else file + ".npy"
    in_file_order = array if array.flags.c_contiguous or not array.flags.f_contiguous else array.T
    with output(file, "save") as handle:
        write_out(handle, header, in_file_order, pool, progress)


def refuse_pickles(allow_pickle: bool, function: str) -> None:
    """Raise ValueError if `allow_pickle` is given."""
    if allow_pickle:
        raise ValueError(
            "Python objects cannot be in shared memory, and a pickle may run any code: "
            f"use numpy.{function}(..., allow_pickle=True)"
        )


class _HeaderIsWritten(Exception):  # noqa: N818 - no error
    pass


class _HeaderOnly:
    """A file that keeps what is written first, and ends the writing with it."""

    header = b""

    def write(self, data: bytes) -> None:
        self.header = data
        raise _HeaderIsWritten


def _header_of(array: NDArray[Any]) -> bytes:
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


def read_header(file: Any, max_header_size: int) -> Header | None:
    """Read a header and move the position of `file` behind it.

    None if it is left to NumPy: no header, or one of Python objects, empty items or nonsense.
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
    """Read a header in UTF-8 as one of version 2.0, for which there is a public function.

    Only names of fields have letters beyond ASCII. They are string literals, where an escape means
    the same.
    """
    (size,) = struct.unpack("<I", file.read(4))
    text = file.read(size).decode()
    if len(text) > max_header_size or len(text) < 2:
        raise ValueError("too long")
    escaped = text.encode("ascii", "backslashreplace")
    older = io.BytesIO(struct.pack("<I", len(escaped)) + escaped)
    return npy.read_array_header_2_0(older, len(escaped))
