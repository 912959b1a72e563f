"""save and load: NumPy's own files (.npy), to and from shared memory."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sharedarray.files.handles import has_own_descriptor, is_path, unwrapped
from sharedarray.files.npyformat import (
    MAX_HEADER_SIZE,
    Header,
    bytes_of,
    header_of,
    read_header,
)
from sharedarray.files.npz import NpzFile
from sharedarray.files.progress import Progress, check_progress, reporting_bytes
from sharedarray.files.tofile import output, write_out
from sharedarray.functions.inputs import plain
from sharedarray.functions.pools import check_pool, numpy_errors, pool_for
from sharedarray.functions.thresholds import MIN_FROMFILE, pays
from sharedarray.memory import creation, pages
from sharedarray.memory.array import SharedArray
from sharedarray.memory.building import unlinked_on_error
from sharedarray_ops.files import reading
from sharedarray_ops.pool import Pool

__all__ = ["load", "save"]

# How zip files begin, the second one those without members.
_ARCHIVES = (b"PK\x03\x04", b"PK\x05\x06")


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
    file : str, path-like or file object
        As for `tofile`; ``.npy`` is appended to a path that does not end so.
    arr : array_like
        The data.
    allow_pickle : bool, default False
        Only False, unlike NumPy's default.
    pool, progress
        As for `tofile`.

    Raises
    ------
    ValueError
        For dtypes with Python objects, and if `allow_pickle` is True.
    OSError, TypeError, ImportError
        As `tofile`.

    See Also
    --------
    load, tofile, numpy.save

    Notes
    -----
    The file has the bytes that `numpy.save` writes. An array in Fortran order is written as it
    lies. All else is as with `tofile`: the file of a path appears when it is complete.

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
    _refuse_pickles(allow_pickle, "save")
    array = plain(arr)
    header = header_of(array)
    if is_path(file):
        file = os.fspath(file)
        file = file if file.endswith(".npy") else file + ".npy"
    in_file_order = array if array.flags.c_contiguous or not array.flags.f_contiguous else array.T
    with output(file, "save") as handle:
        write_out(handle, header, in_file_order, pool, progress)


def load(
    file: Any,
    mmap_mode: None = None,
    allow_pickle: bool = False,
    *,
    max_header_size: int = MAX_HEADER_SIZE,
    name: str | None = None,
    reserve: bool = False,
    pool: Pool | None = None,
    progress: Progress = None,
) -> SharedArray | NpzFile:
    """Read an array from a file of NumPy's format into shared memory, in parallel.

    Parameters
    ----------
    file : str, bytes, path-like or file object
        A .npy or .npz file. A file object must read a file itself: its position is advanced to
        behind the array.
    mmap_mode : None
        Only None: the array is in memory.
    allow_pickle : bool, default False
        Only False.
    max_header_size : int, default 10000
        Characters of the longest header to trust.
    name, reserve
        As in `empty`; not for .npz files.
    pool : Pool, optional
        Who works. Default: as many threads as `get_num_workers()`.
    progress : bool or callable, optional
        True shows a bar (tqdm); a callable is called in the caller with the number of bytes done,
        at most 256 times.

    Returns
    -------
    SharedArray or NpzFile
        The array, of the shape, dtype and order that it was saved with. Of an .npz file a mapping
        from names to arrays, which keeps the file open and reads each when it is asked for.

    Raises
    ------
    EOFError, ValueError
        As `numpy.load`: if the file is empty, of another format, not complete, or of Python
        objects. ValueError also if `mmap_mode` or `allow_pickle` is given, or a `name` for
        an archive.
    OSError
        From opening or reading, and for pipes.
    TypeError
        For file objects that are no files of their own, such as BytesIO or gzip.
    zipfile.BadZipFile
        If an .npz file is damaged.
    MemoryError
        If there is not enough memory.
    ImportError
        If ``progress=True`` and tqdm is not installed.

    See Also
    --------
    save, fromfile, numpy.load

    Notes
    -----
    In parallel from 16 MiB, by `sharedarray_ops.files.reading`, without extra memory. Everything
    else `numpy.load` reads, then it is copied.

    Examples
    --------
    >>> import pathlib, tempfile, numpy, sharedarray
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "three.npy")
    ...     numpy.save(path, [1, 2, 3])
    ...     sharedarray.load(path)
    SharedArray([1, 2, 3])
    """
    check_pool(pool)
    check_progress(progress)
    _refuse_pickles(allow_pickle, "load")
    if mmap_mode is not None:
        raise ValueError(
            "load reads into shared memory: for a mapping of the file use numpy.load(file, "
            f"mmap_mode={mmap_mode!r})"
        )
    with ExitStack() as stack:
        handle = file if not is_path(file) else stack.enter_context(open(file, "rb"))  # noqa: PTH123
        handle = _checked(handle)
        start = handle.tell()
        begin = handle.read(len(_ARCHIVES[0]))
        handle.seek(start)
        if begin in _ARCHIVES:
            if name is not None or reserve:
                raise ValueError("an .npz file may have many arrays: name= and reserve= are of one")
            archive = NpzFile(handle, is_path(file), max_header_size, pool, progress)
            stack.pop_all()  # the archive has the file now
            return archive
        header = read_header(handle, max_header_size)
        if header is None or not pays(header.nbytes, MIN_FROMFILE):
            handle.seek(start)
            found = np.load(handle, allow_pickle=False, max_header_size=max_header_size)
            result = creation.asarray(found, name=name, reserve=reserve)
            with reporting_bytes(progress, result.nbytes) as reports:
                reports.add(result.nbytes)
            return result
        return _read(handle, header, pool_for(pool), progress, name, reserve)


def _refuse_pickles(allow_pickle: bool, function: str) -> None:
    if allow_pickle:
        raise ValueError(
            "Python objects cannot be in shared memory, and a pickle may run any code: "
            f"use numpy.{function}(..., allow_pickle=True)"
        )


def _checked(handle: Any) -> Any:
    """Check that a file object reads its own descriptor, and flush it."""
    handle = unwrapped(handle)
    if not has_own_descriptor(handle, sockets=False):
        raise TypeError(
            f"load reads files, and {type(handle).__name__} is none: its descriptor, if it has "
            "one, gives other bytes than it does (compressed ones, say). Use "
            "sharedarray.asarray(numpy.load(file)), or a file opened with 'rb'"
        )
    handle.flush()
    return handle


def _read(
    handle: Any,
    header: Header,
    pool: Pool,
    progress: Progress,
    name: str | None,
    reserve: bool,
) -> SharedArray:
    """Read in parallel what follows a header; move the position of `handle` behind it."""
    start = handle.tell()
    n_there = os.fstat(handle.fileno()).st_size - start
    if n_there < header.nbytes:
        raise _too_short(header, n_there)
    out = header.new_array(name, reserve)
    with (
        unlinked_on_error(name),
        numpy_errors(),
        reporting_bytes(progress, header.nbytes) as reports,
    ):
        target, touch = bytes_of(out), pages.populator(out)
        n_read = reading.read(handle.fileno(), start, target, reports.watching(pool), touch)
        if n_read < header.nbytes:
            raise _too_short(header, n_read)
    handle.seek(start + header.nbytes)
    return out


def _too_short(header: Header, n_bytes: int) -> ValueError:
    itemsize = header.dtype.itemsize
    return ValueError(
        "Failed to read all data for array. "
        f"Expected {header.shape} = {header.nbytes // itemsize} elements, could only read "
        f"{max(0, n_bytes) // itemsize} elements. (file seems not fully written?)"
    )
