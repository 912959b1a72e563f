"""fromfile: a file, or what comes out of a pipe, into shared memory."""

from __future__ import annotations

import operator
import os
import stat
import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from sharedarray.files.handles import bytes_of, is_path, own_file
from sharedarray.files.progress import Progress, check_progress, reporting_bytes
from sharedarray.files.streams import is_stream, read_stream
from sharedarray.functions.calls import by_dask, check_pool, numpy_errors, pool_for
from sharedarray.functions.thresholds import MIN_FROMFILE, pays
from sharedarray.memory import creation, pages
from sharedarray.memory.array import SharedArray
from sharedarray.memory.building import shortened, unlinked_on_error
from sharedarray_ops.files import reading
from sharedarray_ops.pool import Pool

__all__ = ["fromfile", "in_shared_memory", "read_into"]


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
    direct: bool = False,
    chunks: Any = None,
    pool: Pool | None = None,
    progress: Progress = None,
) -> SharedArray:
    """Read an array from a binary file into shared memory, in parallel.

    Parameters
    ----------
    file : str, bytes, path-like or file object
        A file object must read a file, pipe or socket itself, in binary mode (TypeError).
    strict : bool, default False
        Raise EOFError where NumPy gives a shorter array: fewer than `count` items are left, or part
        of an item is.
    name, reserve
        As in `empty`.
    direct : bool, default False
        Read past the page cache, which pays for files that are read once and are not in it. Where
        the file system refuses, the file is read through the page cache.
    chunks : int, str or tuple, optional
        Return a dask array with chunks of so many items, see `dask.array.from_array`: each block
        is read when and where it is computed, at the same path; EOFError if it has become shorter.
    pool : Pool, optional
        Default: as many threads as `get_num_workers()`.
    progress : bool or callable, optional
        True shows a bar (tqdm); a callable is called in the caller with the number of bytes done,
        at most 256 times if their number is known. Its exception ends the reading.

    Notes
    -----
    Otherwise as `numpy.fromfile`. In parallel from 16 MiB of a regular file: `preadv`, a chunk of
    8 MiB at a time. No extra memory; with `direct` 2 MiB a worker where items lie at other
    multiples of 4096 bytes in memory than in the file. A file that shrinks while it is read gives
    what was there.

    Pipes, FIFOs and sockets, which NumPy does not read, are read in the caller, blocking: `count`
    items, or all until the end, with 64 MiB of extra memory. Everything else, text included, is
    read by `numpy.fromfile` and copied.

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
    check_progress(progress)
    if chunks is not None:
        read = by_dask("fromfile")
        return read(  # type: ignore[no-any-return]  # a dask array
            file,
            dtype,
            count,
            sep,
            offset,
            chunks=chunks,
            strict=strict,
            direct=direct,
            pool=pool,
            progress=progress or None,
            like=like,
            name=name,
            reserve=reserve or None,
        )
    where: dict[str, Any] = {"name": name, "reserve": reserve}
    request = None
    if sep != "" or like is not None:
        found = np.fromfile(file, dtype, count, sep, offset, like=like)
        result = in_shared_memory(found, progress, **where)
    else:
        with _opened(file) as handle:
            wanted, items, skip = np.dtype(dtype), operator.index(count), operator.index(offset)
            status = os.fstat(handle.fileno())
            if is_stream(status):
                result, n_left_over = read_stream(handle, wanted, items, skip, progress, **where)
                request = _Request(wanted, 0, len(result), n_left_over)
            elif (request := _request(handle, status, wanted, items, skip)) and request.is_large:
                result = creation.empty(request.n_items, wanted, **where)
                with unlinked_on_error(name):
                    n_read = read_into(result, handle, request.start, pool, progress, direct=direct)
                    result = shortened(result, n_read // wanted.itemsize, name)
                    # To where NumPy leaves it: behind the last whole item.
                    handle.seek(request.start + len(result) * wanted.itemsize)
            else:
                found = np.fromfile(handle, dtype, count, offset=offset)
                result = in_shared_memory(found, progress, **where)
    if strict:
        with unlinked_on_error(name):
            _check_complete(file, result, request, count)
    return result


class _Request(NamedTuple):
    """What to read of a regular file: items from byte `start` on; `n_left_over` bytes remain."""

    dtype: np.dtype[Any]
    start: int
    n_items: int
    n_left_over: int

    @property
    def is_large(self) -> bool:
        """Return whether it pays to read in parallel."""
        return pays(self.n_items * self.dtype.itemsize, MIN_FROMFILE)


def _request(
    handle: Any, status: os.stat_result, dtype: np.dtype[Any], count: int, offset: int
) -> _Request | None:
    """Return what to read; None if it is left to NumPy: no regular file, or an error to raise."""
    if not stat.S_ISREG(status.st_mode) or dtype.hasobject or not dtype.itemsize:
        return None
    start = handle.tell() + offset
    n_bytes = status.st_size - start
    if count > sys.maxsize or start < 0 or n_bytes < 0:
        return None
    n_items, n_left_over = divmod(n_bytes, dtype.itemsize)
    return _Request(dtype, start, n_items if count < 0 else min(count, n_items), n_left_over)


def read_into(
    out: SharedArray,
    handle: Any,
    start: int,
    pool: Pool | None,
    progress: Progress,
    *,
    direct: bool = False,
) -> int:
    """Fill a new array from byte `start` of a file on, in parallel; return the bytes read."""
    with numpy_errors(), reporting_bytes(progress, out.nbytes) as reports:
        workers, touch = reports.watching(pool_for(pool)), pages.populator(out)
        return reading.read(handle.fileno(), start, bytes_of(out), workers, touch, direct=direct)


def in_shared_memory(
    found: NDArray[Any], progress: Progress, *, name: str | None, reserve: bool
) -> SharedArray:
    """Copy what NumPy has read at once, and report its size."""
    # An array of NumPy's own class is not in shared memory: it need not be looked for.
    make = creation.copy if type(found) is np.ndarray else creation.asarray
    result = make(found, name=name, reserve=reserve)
    if progress is None:
        return result
    with unlinked_on_error(name), reporting_bytes(progress, result.nbytes) as reports:
        reports.add(result.nbytes)
    return result


def _check_complete(file: Any, result: SharedArray, request: _Request | None, count: int) -> None:
    """Raise EOFError if the file has fewer items than asked for, or part of an item."""
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


def _opened(file: Any) -> AbstractContextManager[Any]:
    """Open a path; check and flush a file object."""
    if is_path(file):
        return open(file, "rb", buffering=0)  # noqa: PTH123 - bytes paths too
    instead = "sharedarray.array(numpy.frombuffer(file.read(), dtype))"
    return nullcontext(own_file(file, "fromfile", instead))
