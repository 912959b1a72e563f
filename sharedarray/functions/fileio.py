"""fromfile."""

from __future__ import annotations

import io
import operator
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from sharedarray.functions.common import MIN_FROMFILE, check_pool, numpy_errors, pool_for
from sharedarray.memory import creation, pages
from sharedarray.memory.array import SharedArray
from sharedarray_ops import fileio
from sharedarray_ops.pool import Pool

__all__ = ["fromfile"]


def fromfile(
    file: Any,
    dtype: DTypeLike | None = None,
    count: int = -1,
    sep: str = "",
    offset: int = 0,
    *,
    like: Any = None,
    strict: bool = False,
    name: str | None = None,
    reserve: bool = False,
    pool: Pool | None = None,
) -> SharedArray:
    """Read an array from a binary file into shared memory, in parallel.

    Parameters
    ----------
    file : str, bytes, path-like or file object
        A file object must read a real file itself: its position is advanced to behind what was
        read.
    dtype : data-type, default float64
        Of one item; without Python objects.
    count : int, default -1
        Items to read; negative: all that are left.
    sep : str, default ''
        Not empty: the file is text, which `numpy.fromfile` reads.
    offset : int, default 0
        Bytes to skip, from the start of a path or from the position of a file object.
    like : array_like, optional
        As for `numpy.fromfile`; of no effect unless it is of a foreign array type.
    strict : bool, default False
        Raise EOFError where NumPy gives a shorter array: fewer than `count` items are left, or part
        of an item is.
    name, reserve
        As in `empty`.
    pool : Pool, optional
        Who works. Default: as many threads as `get_num_workers()`.

    Returns
    -------
    SharedArray
        Of shape ``(n,)``, with the shape of a subarray dtype appended; `dtype` as given, byte order
        included.

    Raises
    ------
    OSError
        From opening or reading.
    EOFError
        See `strict`.
    TypeError
        For file objects that are no files of their own, such as BytesIO or gzip, or are opened in
        text mode, and where `numpy.fromfile` raises it.
    ValueError
        Where `numpy.fromfile` raises it: dtypes with objects, items of 0 bytes, positions beyond
        the end of the file.

    Notes
    -----
    In parallel from 16 MiB of a regular file, by `sharedarray_ops.fileio`. Everything else
    `numpy.fromfile` reads, then it is copied. No other extra memory. A file that shrinks while it
    is read gives what was there.

    Examples
    --------
    >>> import pathlib, tempfile, sharedarray
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "three.bin")
    ...     _ = path.write_bytes(bytes([1, 0, 2, 0, 3, 0]))
    ...     sharedarray.fromfile(path, dtype="<i2")
    SharedArray([1, 2, 3], dtype=int16)
    """
    check_pool(pool)
    if sep != "" or like is not None:
        found = np.fromfile(file, dtype, count, sep, offset, like=like)
        result = creation.asarray(found, name=name, reserve=reserve)
        if strict:
            _check_complete(file, result, None, count)
        return result
    with _opened(file) as handle:
        request = _request(handle, np.dtype(dtype), operator.index(count), operator.index(offset))
        if request is None or request.n_items * request.dtype.itemsize < MIN_FROMFILE:
            found = np.fromfile(handle, dtype, count, offset=offset)
            result = creation.asarray(found, name=name, reserve=reserve)
        else:
            out = creation.empty(request.n_items, request.dtype, name=name, reserve=reserve)
            result = _read(handle, request, out, pool_for(pool))
    if strict:
        _check_complete(file, result, request, count)
    return result


class _Request(NamedTuple):
    """What to read of a regular file: items from byte `start` on; `n_left_over` bytes remain."""

    dtype: np.dtype[Any]
    start: int
    n_items: int
    n_left_over: int


def _request(handle: Any, dtype: np.dtype[Any], count: int, offset: int) -> _Request | None:
    """Return what to read, or None where NumPy has to: no regular file, or an error to raise."""
    status = os.fstat(handle.fileno())
    if not stat.S_ISREG(status.st_mode) or dtype.hasobject or not dtype.itemsize:
        return None
    if count > np.iinfo(np.intp).max:
        return None
    start = handle.tell() + offset
    n_bytes = status.st_size - start
    if start < 0 or n_bytes < 0:
        return None
    n_items, n_left_over = divmod(n_bytes, dtype.itemsize)
    return _Request(dtype, start, n_items if count < 0 else min(count, n_items), n_left_over)


def _read(handle: Any, request: _Request, result: SharedArray, pool: Pool) -> SharedArray:
    """Read in parallel; move the position of `handle` as NumPy would."""
    itemsize = request.dtype.itemsize
    with numpy_errors():
        n_read = fileio.read(
            handle.fileno(),
            request.start,
            result.view(np.ndarray).reshape(-1).view(np.uint8),
            pool,
            pages.populator(result),
        )
    whole: SharedArray = result[: n_read // itemsize]
    handle.seek(request.start + len(whole) * itemsize)
    return whole


def _check_complete(file: Any, result: SharedArray, request: _Request | None, count: int) -> None:
    """Raise EOFError where the file has not given all that was asked for."""
    if count >= 0 and len(result) < count:
        raise EOFError(f"expected {count} items of {result.dtype}, found {len(result)} in {file!r}")
    if request is None or count >= 0:
        return
    if len(result) < request.n_items:
        raise EOFError(
            f"expected {request.n_items} items, found {len(result)}: {file!r} was truncated"
        )
    if request.n_left_over:
        raise EOFError(
            f"expected whole items of {request.dtype.itemsize} bytes, found {request.n_left_over} "
            f"bytes more than {request.n_items} items in {file!r}"
        )


@contextmanager
def _opened(file: Any) -> Iterator[Any]:
    """Open a path; check that a file object reads its own descriptor, and flush it."""
    if isinstance(file, (str, bytes, os.PathLike)):
        with open(file, "rb", buffering=0) as handle:  # noqa: PTH123 - bytes paths too
            yield handle
        return
    handle = getattr(file, "file", file)  # what tempfile wraps
    if not isinstance(getattr(handle, "raw", handle), io.FileIO):
        raise TypeError(
            f"fromfile reads files, and {type(file).__name__} is none: its descriptor, if it has "
            "one, gives other bytes than it does (compressed ones, say). Use "
            "sharedarray.array(numpy.frombuffer(file.read(), dtype)), or a file opened with 'rb'"
        )
    handle.flush()
    yield handle
