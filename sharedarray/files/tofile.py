"""tofile, and its writing, which `save` uses, too."""

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

from sharedarray.files.handles import is_path, own_file
from sharedarray.files.progress import Progress, check_progress, reporting_bytes
from sharedarray.functions.calls import by_dask, check_pool, is_dask, numpy_errors, plain, pool_for
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

# Bytes; a shorter write finds out soon enough by itself whether there is space.
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
        Written in C order. Each block of a dask array is written where it is computed, to a path
        that all workers see.
    file : str, bytes, path-like or file object
        A file object must write to a file, pipe or socket itself (TypeError).
    sep, format : str
        Text, with `sep` not empty, is written by NumPy.
    pool : Pool, optional
        Default: as many threads as `get_num_workers()`.
    progress : bool or callable, optional
        True shows a bar (tqdm); a callable is called in the caller with the number of bytes done,
        at most 256 times.

    Notes
    -----
    Otherwise as `numpy.ndarray.tofile`. In parallel from 64 MiB, or from 1 MiB of an array that is
    not in C order, with 1 MiB of extra
    memory a worker. Pipes, sockets and files open for appending are written to by the caller.

    The file of a path is replaced when the new one is complete; it keeps mode, and owner where that
    is permitted. A symbolic link stays, and its target is replaced; other hard links keep the old
    file. Both files need space at once; ENOSPC comes before anything is written where the file
    system can tell. Devices, FIFOs and file objects are written to in place, so that an error
    leaves a part. As with NumPy, nothing is forced onto the disk (fsync).

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
    """Yield a file object that writes to its own descriptor, with nothing in its buffer.

    For a path, that of a new file, which replaces the old one if the block ends without an error.
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
    """Return a file object that writes to its own descriptor, with nothing in its buffer."""
    text = getattr(file, "file", file)
    if isinstance(text, io.TextIOWrapper):
        text.flush()
        if text.seekable():  # drops what it has read ahead
            text.seek(text.tell())
        file = text.buffer
    instead = "file.write(array.tobytes()), numpy.save for .npy"
    handle = own_file(file, function, instead, "wb")
    if not handle.writable():
        raise io.UnsupportedOperation("not writable")
    return handle


def write_out(
    handle: Any,
    header: bytes,
    array: NDArray[Any],
    pool: Pool | None,
    progress: Progress,
) -> None:
    """Write a header and an array in C order to what `output` yields, and move its position."""
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
    """Return whether bytes can be written at a position: a regular file, not open for appending.

    With O_APPEND, pwrite appends, whatever the position.
    """
    descriptor = handle.fileno()
    is_regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
    return is_regular and (
        fcntl is None or not fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_APPEND
    )


def _write_all(handle: Any, part: NDArray[np.uint8]) -> None:
    """Write at the position of a file object; a raw one may write a part at a time."""
    done = 0
    while done < part.size:
        n_written = handle.write(part[done:].data)
        if n_written is None:
            message = "the stream does not wait until it can be written to: make it blocking"
            raise BlockingIOError(errno.EAGAIN, message)
        done += n_written
