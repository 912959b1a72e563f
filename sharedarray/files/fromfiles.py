"""fromfiles: many files into one array.

::

    caller:  size of each file -> where it ends in the output -> memory
    worker:  chunk of the output -> open, preadv, close the files in it, one after the other
    caller:  bytes found -> close the gaps where files have shrunk meanwhile
"""

from __future__ import annotations

import errno
import operator
import os
import stat
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import DTypeLike, NDArray

from sharedarray.files.handles import bytes_of
from sharedarray.files.progress import Progress, check_progress, reporting_bytes
from sharedarray.files.streams import check_readable
from sharedarray.functions.calls import check_pool, numpy_errors, pool_for
from sharedarray.functions.thresholds import MIN_FILE, MIN_FROMFILE, pays
from sharedarray.memory import creation, pages
from sharedarray.memory.array import SharedArray
from sharedarray.memory.building import shortened, unlinked_on_error
from sharedarray_ops.files import reading
from sharedarray_ops.plan import blocks
from sharedarray_ops.pool import Pool

__all__ = ["fromfiles"]

FileName = str | bytes | os.PathLike[str] | os.PathLike[bytes]


def fromfiles(
    paths: Iterable[FileName],
    dtype: DTypeLike | None = None,
    count: int = -1,
    offset: int = 0,
    *,
    strict: bool = False,
    name: str | None = None,
    reserve: bool = False,
    direct: bool = False,
    pool: Pool | None = None,
    progress: Progress = None,
) -> SharedArray:
    """Read many binary files into one array in shared memory, in parallel.

    Parameters
    ----------
    paths : iterable of str, bytes or path-like
        Regular files, at least one. Their items come in this order.
    dtype : data-type, default float64
        Of one item; without Python objects.
    count : int, default -1
        Items to read of each file; negative: all that it has.
    offset : int, default 0
        Bytes to skip at the start of each file: its header.
    strict : bool, default False
        Raise EOFError for a file that has fewer than `count` items, or a part of an item.
    name, reserve
        As in `empty`.
    direct, pool, progress
        As in `fromfile`.

    Returns
    -------
    SharedArray
        Of shape ``(n,)``, with the shape of a subarray dtype appended; `dtype` as given, byte order
        included. It has the values of
        ``np.concatenate([np.fromfile(path, dtype, count, offset=offset) for path in paths])``.

    Raises
    ------
    OSError
        From opening or reading a file, which it names. Missing and irregular files are found before
        anything is read. For a negative `offset`.
    EOFError
        See `strict`. It names the file.
    TypeError
        If `paths` is one path, or has something else.
    ValueError
        If there are no paths, if `offset` is an item or more beyond the end of a file and `count`
        negative, and for dtypes with Python objects or of 0 bytes.
    ImportError
        If ``progress=True`` and tqdm is not installed.

    See Also
    --------
    fromfile : one file, which may also be a file object or a pipe.

    Notes
    -----
    In parallel from 16 MiB of all files; without a `pool` only if they have 64 KiB in the mean,
    since opening a smaller file takes longer than reading it. The output is cut into chunks of
    8 MiB and at most 64 files. A worker opens one file after the other, so that there may be more
    files than descriptors. All sizes are asked for first; a file of unknown size, as in ``/proc``,
    counts as empty, and one that shrinks while it is read gives what was there. Extra memory: a few
    hundred bytes a path.

    Examples
    --------
    >>> import pathlib, tempfile, sharedarray
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     paths = [pathlib.Path(folder, name) for name in ("a.bin", "b.bin")]
    ...     _ = paths[0].write_bytes(bytes([1, 0, 2, 0]))
    ...     _ = paths[1].write_bytes(bytes([3, 0]))
    ...     sharedarray.fromfiles(paths, dtype="<i2")
    SharedArray([1, 2, 3], dtype=int16)
    """
    check_pool(pool)
    check_progress(progress)
    names, item = _names(paths), np.dtype(dtype)
    count, offset = operator.index(count), operator.index(offset)
    check_readable(item)
    if offset < 0:
        raise OSError(errno.EINVAL, "offset must not be negative: files are read from their start")
    n_items = _n_items(names, item.itemsize, count, offset, strict)
    ends = np.cumsum(n_items) * item.itemsize
    out = creation.empty(int(n_items.sum()), item, name=name, reserve=reserve)
    raw = bytes_of(out)
    are_large = pool is not None or raw.size >= MIN_FILE * len(names)
    is_parallel = are_large and pays(raw.size, MIN_FROMFILE)
    workers = pool_for(pool if is_parallel else None, parallel=is_parallel)
    with unlinked_on_error(name):
        with numpy_errors(), reporting_bytes(progress, raw.size) as reports:
            watched, touch = reports.watching(workers), pages.populator(out)
            n_read = reading.read_files(names, offset, ends, raw, watched, touch, direct=direct)
        n_found = n_read // item.itemsize
        if strict:
            _check_found(names, n_items, n_found)
        n_valid = _closed_up(raw, ends, n_found * item.itemsize)
        return shortened(out, n_valid // item.itemsize, name)


def _names(paths: Iterable[FileName]) -> list[str | bytes]:
    if isinstance(paths, (str, bytes, os.PathLike)):
        raise TypeError("fromfiles reads a list of paths: use fromfile for one")
    names = [os.fspath(path) for path in paths]
    if not names:
        raise ValueError("there are no files to read: fromfiles needs at least one path")
    return names


def _n_items(
    names: Sequence[str | bytes], itemsize: int, count: int, offset: int, strict: bool
) -> NDArray[np.int64]:
    """Open each file and return how many items to read of it."""
    found = []
    for name in names:
        n_bytes = _size(name) - offset
        if n_bytes <= -itemsize and count < 0:  # np.fromfile, too, finds 0 items before that
            raise ValueError(f"offset {offset} is {-n_bytes} bytes beyond the end of {name!r}")
        n_items, n_left_over = divmod(max(0, n_bytes), itemsize)
        if strict and n_items < count:
            raise EOFError(f"expected {count} items, found {n_items} in {name!r}")
        if strict and count < 0 and n_left_over:
            raise EOFError(
                f"expected whole items of {itemsize} bytes, found {n_left_over} bytes more than "
                f"{n_items} items in {name!r}"
            )
        found.append(n_items if count < 0 else min(count, n_items))
    return np.array(found, np.int64)


def _size(name: str | bytes) -> int:
    """Return the size of a regular file that may be read, in bytes."""
    descriptor = os.open(name, os.O_RDONLY | os.O_NONBLOCK)  # which does not wait for a FIFO
    try:
        status = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), name)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.ESPIPE, "fromfiles reads regular files: use fromfile", name)
    return status.st_size


def _check_found(
    names: Sequence[str | bytes], n_expected: NDArray[np.int64], n_found: NDArray[np.int64]
) -> None:
    """Raise EOFError where a file has shrunk."""
    for i in np.flatnonzero(n_found < n_expected)[:1]:
        raise EOFError(
            f"expected {n_expected[i]} items, found {n_found[i]}: {names[i]!r} was truncated"
        )


def _closed_up(raw: NDArray[np.uint8], ends: NDArray[np.int64], n_valid: NDArray[np.int64]) -> int:
    """Move what each file has to the end of those before it; return the bytes of all."""
    starts = np.concatenate([[0], ends[:-1]])
    stop = 0
    for start, size in zip(starts.tolist(), n_valid.tolist(), strict=True):
        if start > stop:
            # NumPy buffers a copy within one array: a block at a time.
            for part in blocks(0, size, reading.CHUNK):
                raw[stop + part.start : stop + part.stop] = raw[start + part.start :][: part.size]
        stop += size
    return stop
