"""tofile, and what it shares with save: where the bytes go."""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sharedarray.files.handles import has_own_descriptor, is_path, unwrapped
from sharedarray.files.progress import Progress, check_progress, reporting_bytes
from sharedarray.functions.inputs import by_dask, is_dask, plain
from sharedarray.functions.pools import check_pool, numpy_errors, pool_for
from sharedarray.functions.thresholds import MIN_TOFILE, MIN_TOFILE_COPIED, pays
from sharedarray.memory.array import implements
from sharedarray_ops.files import writing
from sharedarray_ops.files.replacing import place_of, replacing
from sharedarray_ops.pool import Caller, Pool

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["output", "tofile", "write_out"]

# Bytes; of fewer the writing itself finds out soon enough whether there is space.
MIN_PREALLOCATED = 1 << 20


@implements(np.ndarray.tofile)
def tofile(
    a: ArrayLike,
    file: Any,
    sep: str = "",
    format: str = "%s",
    *,
    pool: Pool | None = None,
    progress: Progress = None,
) -> None:
    r"""Write an array to a file, in parallel, as `ndarray.tofile` does.

    Parameters
    ----------
    a : array_like or dask.array.Array
        The data, written in C order. Of a dask array each block is written by who computes it, to
        a path that all of them see.
    file : str, bytes, path-like or file object
        The file of a path is replaced by a new one when all is written. A file object must write to
        a file, pipe or socket itself: it is written to at its position, or to its end if it is open
        for appending, and its position is advanced.
    sep : str, default ''
        Not empty: text with this between the items, which NumPy writes.
    format : str, default '%s'
        Of the items of text.
    pool : Pool, optional
        Who works. Default: as many threads as `get_num_workers()`.
    progress : bool or callable, optional
        True shows a bar (tqdm); a callable is called in the caller with the number of bytes done,
        at most 256 times.

    Raises
    ------
    OSError
        From opening or writing; for dtypes with Python objects; if there is not enough space
        (ENOSPC), then before anything is written where the file system can tell.
    TypeError
        For file objects that are no files of their own, such as BytesIO or gzip, for masked arrays,
        and where `ndarray.tofile` raises it.
    ImportError
        If ``progress=True`` and tqdm is not installed.

    See Also
    --------
    fromfile, save, numpy.ndarray.tofile

    Notes
    -----
    In parallel by `sharedarray_ops.files.writing`: from 64 MiB, or from 1 MiB of an array that does
    not lie in C order, which needs 1 MiB of extra memory for each worker. Pipes, sockets and files
    that are open for appending are written to by the caller.

    A path has the old file until the new one is complete, whatever happens meanwhile; the new one
    has its mode, and its owner where that is permitted. A symbolic link stays, and the file that it
    leads to is replaced; other hard links keep the old file. There has to be space for both.
    Devices and FIFOs are written to directly. A file object is written to in place: on an error, it
    has a part. Nothing is forced onto the disk (fsync), as NumPy
    does not: if the machine itself fails within seconds, new and old data may be lost.

    Examples
    --------
    >>> import pathlib, tempfile, sharedarray
    >>> a = sharedarray.array([1, 2, 3], dtype="<i2")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "three.bin")
    ...     sharedarray.tofile(a, path)
    ...     path.read_bytes()
    b'\x01\x00\x02\x00\x03\x00'
    """
    check_pool(pool)
    check_progress(progress)
    if not isinstance(sep, str) or not isinstance(format, str):
        raise TypeError(f"sep and format must be str, not {sep!r} and {format!r}")
    if is_dask(a):
        by_dask("tofile")(a, file, sep, pool=pool, progress=progress)
        return
    array = plain(a)
    if sep:
        with output(file, "tofile") as handle, reporting_bytes(progress, array.nbytes) as reports:
            array.tofile(handle, sep, format)
            reports.add(array.nbytes)
        return
    if array.dtype.hasobject:
        raise OSError("cannot write object arrays to a file in binary mode")
    with output(file, "tofile") as handle:
        write_out(handle, b"", array, pool, progress)


@contextmanager
def output(file: Any, function: str) -> Iterator[Any]:
    """Yield a file object that writes to a descriptor of its own and has nothing in its buffer.

    For a path it is that of a new file, which takes its place when the block ends without an error.
    """
    if not is_path(file):
        yield _checked(file, function)
        return
    path = os.fspath(file)
    place = place_of(path)
    if place is None:
        with open(path, "wb", buffering=0) as handle:  # noqa: PTH123 - bytes paths too
            yield handle
        return
    with replacing(place) as descriptor, open(descriptor, "wb", 0, closefd=False) as handle:
        yield handle


def _checked(file: Any, function: str) -> Any:
    """Check that a file object writes to its own descriptor, and flush it."""
    handle = unwrapped(file)
    if isinstance(handle, io.TextIOWrapper):
        handle.flush()
        if handle.seekable():  # what it has read ahead is dropped
            handle.seek(handle.tell())
        handle = handle.buffer
    if not has_own_descriptor(handle):
        raise TypeError(
            f"{function} writes to files, and {type(file).__name__} is none: what is written to "
            "its descriptor, if it has one, is not what would be written to it (compressed, say). "
            "Use file.write(array.tobytes()), numpy.save for .npy, or a file opened with 'wb'"
        )
    if not handle.writable():
        raise io.UnsupportedOperation("not writable")
    handle.flush()
    return handle


def write_out(
    handle: Any,
    header: bytes,
    array: NDArray[Any],
    pool: Pool | None,
    progress: Progress,
) -> None:
    """Write a header and an array in C order to what `output` yields; move its position behind."""
    min_nbytes = MIN_TOFILE if array.flags.c_contiguous else MIN_TOFILE_COPIED
    workers = pool_for(pool) if pays(array.nbytes, min_nbytes) else Caller()
    n_bytes = len(header) + array.nbytes
    with numpy_errors(), reporting_bytes(progress, array.nbytes) as reports:
        if not _has_position(handle):
            _write_all(handle, np.frombuffer(header, np.uint8))
            for part in writing.in_order(array):
                _write_all(handle, part)
                reports.add(part.size)
            handle.flush()
            return
        start = handle.tell()
        if n_bytes >= MIN_PREALLOCATED:
            writing.preallocate(handle.fileno(), start, n_bytes)
        writing.write(np.frombuffer(header, np.uint8), handle.fileno(), start, Caller())
        writing.write(array, handle.fileno(), start + len(header), reports.watching(workers))
        handle.seek(start + n_bytes)


def _has_position(handle: Any) -> bool:
    """Return whether bytes can be written where one says: to regular files, not at their end.

    Of a descriptor with O_APPEND, pwrite appends, whatever the position.
    """
    descriptor = handle.fileno()
    is_regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
    return is_regular and (
        fcntl is None or not fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_APPEND
    )


def _write_all(handle: Any, part: NDArray[np.uint8]) -> None:
    """Write with the position of the file object, which a raw one may do bit by bit."""
    done = 0
    while done < part.size:
        n_written = handle.write(part[done:].data)
        if n_written is None:
            message = "the stream does not wait until it can be written to: make it blocking"
            raise BlockingIOError(errno.EAGAIN, message)
        done += n_written
