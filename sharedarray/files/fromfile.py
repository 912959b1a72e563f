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

from sharedarray.files.handles import has_own_descriptor, is_path, unwrapped
from sharedarray.files.progress import (
    Progress,
    check_progress,
    reporting_bytes,
)
from sharedarray.files.streams import is_stream, read_stream
from sharedarray.functions.inputs import by_dask
from sharedarray.functions.pools import check_pool, numpy_errors, pool_for
from sharedarray.functions.thresholds import MIN_FROMFILE, pays
from sharedarray.memory import creation, pages
from sharedarray.memory.array import SharedArray
from sharedarray.memory.building import shortened, unlinked_on_error
from sharedarray_ops.files import reading
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
    direct: bool = False,
    chunks: Any = None,
    pool: Pool | None = None,
    progress: Progress = None,
) -> SharedArray:
    """Read an array from a binary file into shared memory, in parallel.

    Parameters
    ----------
    file : str, bytes, path-like or file object
        A file object must read a file, pipe or socket itself: its position is advanced to behind
        what was read.
    dtype : data-type, default float64
        Of one item; without Python objects.
    count : int, default -1
        Items to read; negative: all that are left, of a stream all until it ends.
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
    direct : bool, default False
        Read past the page cache, which pays for files that are read once and are not in it. Where
        the file system refuses, the file is read through the page cache.
    chunks : int, str or tuple, optional
        Returns a dask array with chunks of so many items, see `dask.array.from_array`: each block
        is read when and where it is computed, which has to see the same path. A block that is no
        longer all there raises EOFError.
    pool : Pool, optional
        Who works. Default: as many threads as `get_num_workers()`.
    progress : bool or callable, optional
        True shows a bar (tqdm); a callable is called in the caller with the number of bytes done,
        at most 256 times where it is known how many there will be.

    Returns
    -------
    SharedArray
        Of shape ``(n,)``, with the shape of a subarray dtype appended; `dtype` as given, byte order
        included.

    Raises
    ------
    OSError
        From opening or reading, and for a negative `offset` in a stream.
    EOFError
        See `strict`.
    TypeError
        For file objects that are no files of their own, such as BytesIO or gzip, or are opened in
        text mode, and where `numpy.fromfile` raises it.
    BlockingIOError
        For pipes that do not wait for data.
    ValueError
        Where `numpy.fromfile` raises it: dtypes with objects, items of 0 bytes, positions beyond
        the end of the file.
    ImportError
        If ``progress=True`` and tqdm is not installed.

    See Also
    --------
    fromfiles : many files, one array.

    Notes
    -----
    In parallel from 16 MiB of a regular file, by `sharedarray_ops.files.reading`: `preadv`, a chunk
    of 8 MiB at a time. No extra memory; with `direct` 2 MiB for each worker where the items of the
    array lie at other multiples of 4096 bytes than in the file. A file that shrinks while it is
    read gives what was there.

    Pipes, FIFOs and sockets, which NumPy does not read, are read in the caller: all until the end,
    then the extra memory is 64 MiB, or just `count` items. Opening the path of a FIFO waits for who
    writes to it. Everything else `numpy.fromfile` reads, then it is copied.

    A callable for `progress` that raises ends the reading. A pool that is no `MapReduce` tells how
    far it is when it is done.

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
        refused: dict[str, Any] = {"like": like, "name": name, "reserve": reserve or None}
        return by_dask("fromfile")(  # type: ignore[no-any-return]  # a dask array
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
            **refused,
        )
    where: dict[str, Any] = {"name": name, "reserve": reserve}
    request = None
    if sep != "" or like is not None:
        found = np.fromfile(file, dtype, count, sep, offset, like=like)
        result = _in_shared_memory(found, progress, **where)
    else:
        with _opened(file) as handle:
            wanted, items, skip = np.dtype(dtype), operator.index(count), operator.index(offset)
            status = os.fstat(handle.fileno())
            if is_stream(status):
                result, n_left_over = read_stream(handle, wanted, items, skip, progress, **where)
                request = _Request(wanted, 0, len(result), n_left_over)
            elif (request := _request(handle, status, wanted, items, skip)) and request.is_large:
                out = creation.empty(request.n_items, wanted, **where)
                with unlinked_on_error(name):
                    workers = pool_for(pool)
                    result = _read(handle, request, out, workers, progress, direct, name)
            else:
                found = np.fromfile(handle, dtype, count, offset=offset)
                result = _in_shared_memory(found, progress, **where)
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
    def nbytes(self) -> int:
        """Return how many bytes to read."""
        return self.n_items * self.dtype.itemsize

    @property
    def is_large(self) -> bool:
        """Return whether it pays to read in parallel."""
        return pays(self.nbytes, MIN_FROMFILE)


def _request(
    handle: Any, status: os.stat_result, dtype: np.dtype[Any], count: int, offset: int
) -> _Request | None:
    """Return what to read, or None where NumPy has to: no regular file, or an error to raise."""
    if not stat.S_ISREG(status.st_mode) or dtype.hasobject or not dtype.itemsize:
        return None
    if count > sys.maxsize:
        return None
    start = handle.tell() + offset
    n_bytes = status.st_size - start
    if start < 0 or n_bytes < 0:
        return None
    n_items, n_left_over = divmod(n_bytes, dtype.itemsize)
    return _Request(dtype, start, n_items if count < 0 else min(count, n_items), n_left_over)


def _read(
    handle: Any,
    request: _Request,
    result: SharedArray,
    pool: Pool,
    progress: Progress,
    direct: bool,
    name: str | None,
) -> SharedArray:
    """Read in parallel; move the position of `handle` as NumPy would."""
    itemsize = request.dtype.itemsize
    with numpy_errors(), reporting_bytes(progress, request.nbytes) as reports:
        n_read = reading.read(
            handle.fileno(),
            request.start,
            result.view(np.ndarray).reshape(-1).view(np.uint8),
            reports.watching(pool),
            pages.populator(result),
            direct=direct,
        )
    whole = shortened(result, n_read // itemsize, name)
    handle.seek(request.start + len(whole) * itemsize)
    return whole


def _in_shared_memory(
    found: NDArray[Any], progress: Progress, *, name: str | None, reserve: bool
) -> SharedArray:
    """Copy what NumPy has read at once, and tell how much that was."""
    # In an array of NumPy's own class there is no shared memory to be found.
    make = creation.copy if type(found) is np.ndarray else creation.asarray
    result = make(found, name=name, reserve=reserve)
    if progress is None:
        return result
    with unlinked_on_error(name), reporting_bytes(progress, result.nbytes) as reports:
        reports.add(result.nbytes)
    return result


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


def _opened(file: Any) -> AbstractContextManager[Any]:
    """Open a path; check that a file object reads its own descriptor, and flush it."""
    if is_path(file):
        return open(file, "rb", buffering=0)  # noqa: PTH123 - bytes paths too
    handle = unwrapped(file)
    if not has_own_descriptor(handle):
        raise TypeError(
            f"fromfile reads files, and {type(file).__name__} is none: its descriptor, if it has "
            "one, gives other bytes than it does (compressed ones, say). Use "
            "sharedarray.array(numpy.frombuffer(file.read(), dtype)), or a file opened with 'rb'"
        )
    handle.flush()
    return nullcontext(handle)
