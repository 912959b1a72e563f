"""load: NumPy's files, arrays (.npy) and archives of them (.npz), into shared memory.

::

    array                |npy header|------- data -------|        preadv by the workers
    stored member        |local header|name|extra|npy header|------- data -------|
                                              preadv by the workers -> CRC of chunks
    compressed member    zipfile -> piece by piece into the array, CRC of zipfile
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from sharedarray.files.fromfile import in_shared_memory, read_into
from sharedarray.files.handles import bytes_of, is_path, own_file
from sharedarray.files.npy import MAX_HEADER_SIZE, Header, read_header, refuse_pickles
from sharedarray.files.progress import Progress, check_progress, reporting_bytes
from sharedarray.functions.calls import check_pool, numpy_errors, pool_for
from sharedarray.functions.thresholds import MIN_FROMFILE, pays
from sharedarray.memory import creation
from sharedarray.memory.array import SharedArray
from sharedarray.memory.building import unlinked_on_error
from sharedarray_ops.files import checksums
from sharedarray_ops.pool import Pool

if TYPE_CHECKING:
    import zipfile

__all__ = ["NpzFile", "load"]

# How zip files begin, the second one those without members.
_ARCHIVES = (b"PK\x03\x04", b"PK\x05\x06")
# Bytes of a compressed member at a time.
PIECE = 1 << 20
# Up to the lengths of name and extra field, which end the part of fixed size.
_LOCAL_HEADER = struct.Struct("<26xHH")
_IS_ENCRYPTED = 1


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
        A .npy or .npz file. A file object must read a file itself (TypeError).
    mmap_mode, allow_pickle
        Only the defaults (ValueError).
    name, reserve
        As in `empty`; not for .npz files.
    pool, progress
        As in `fromfile`.

    Returns
    -------
    SharedArray or NpzFile
        An .npz file gives a mapping from names to arrays, which keeps the file open and reads each
        array when it is asked for.

    Notes
    -----
    Otherwise as `numpy.load`. In parallel from 16 MiB, without extra memory, and so each member of
    an .npz file without compression (``numpy.savez``). The rest is read by NumPy and copied.

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
    refuse_pickles(allow_pickle, "load")
    if mmap_mode is not None:
        raise ValueError(
            "load reads into shared memory: for a mapping of the file use numpy.load(file, "
            f"mmap_mode={mmap_mode!r})"
        )
    with ExitStack() as stack:
        handle = file if not is_path(file) else stack.enter_context(open(file, "rb"))  # noqa: PTH123
        handle = own_file(handle, "load", "sharedarray.asarray(numpy.load(file))", sockets=False)
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
        if header is not None and pays(header.nbytes, MIN_FROMFILE):
            return _read(handle, header, pool, progress, name, reserve)
        handle.seek(start)
        found = np.load(handle, allow_pickle=False, max_header_size=max_header_size)
        return in_shared_memory(found, progress, name=name, reserve=reserve)


def _read(
    handle: Any,
    header: Header,
    pool: Pool | None,
    progress: Progress,
    name: str | None,
    reserve: bool,
) -> SharedArray:
    """Read in parallel what follows a header; move the position of `handle` behind it."""
    start = handle.tell()
    n_there = os.fstat(handle.fileno()).st_size - start
    if n_there < header.nbytes:
        raise _not_all_there(header, n_there)
    out = header.new_array(name, reserve)
    with unlinked_on_error(name):
        n_read = read_into(out, handle, start, pool, progress)
        if n_read < header.nbytes:
            raise _not_all_there(header, n_read)
    handle.seek(start + header.nbytes)
    return out


def _not_all_there(header: Header, n_bytes: int) -> ValueError:
    itemsize = header.dtype.itemsize
    return ValueError(
        "Failed to read all data for array. "
        f"Expected {header.shape} = {header.nbytes // itemsize} elements, could only read "
        f"{max(0, n_bytes) // itemsize} elements. (file seems not fully written?)"
    )


class NpzFile(Mapping[str, Any]):
    """The arrays of an archive by their names, each read when it is asked for.

    Made by `load`, whose `pool` and `progress` it uses. It keeps the file open: use it in a
    ``with`` statement, or call `close`.

    Parameters
    ----------
    file : file object
        Open for reading its own descriptor.
    owns_file : bool
        Whether to close it in the end.
    max_header_size, pool, progress
        As for `load`.

    Attributes
    ----------
    files : list of str
        The names, without ``.npy``.
    zip : zipfile.ZipFile or None
        The archive, None when it is closed.

    Raises
    ------
    zipfile.BadZipFile
        If it is no archive; on reading an array, if its CRC is another than it should be.
    KeyError
        On reading, if there is no array of the name.
    ValueError
        On reading, if the array ends early or is of Python objects.

    Notes
    -----
    Members without compression (``numpy.savez``) are read in parallel from 16 MiB, straight from
    where they lie in the file, then their CRC is checked in parallel. Others are decompressed by
    the caller, 1 MiB at a time.

    Examples
    --------
    >>> import pathlib, tempfile, numpy, sharedarray
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "two.npz")
    ...     numpy.savez(path, x=[1, 2], y=[0.5])
    ...     with sharedarray.load(path) as archive:
    ...         print(archive.files, archive["y"])
    ['x', 'y'] [0.5]
    """

    def __init__(
        self,
        file: Any,
        owns_file: bool,
        max_header_size: int,
        pool: Pool | None,
        progress: Progress,
    ) -> None:
        import zipfile  # as NumPy does: not every program needs it

        self.zip: zipfile.ZipFile | None = None
        self._file: Any = file
        self._owns_file = owns_file
        self._max_header_size = max_header_size
        self._pool = pool
        self._progress = progress
        self.zip = zipfile.ZipFile(file)
        members = self.zip.namelist()
        self.files = [name.removesuffix(".npy") for name in members]
        self._members = dict(zip(self.files, members, strict=True)) | {m: m for m in members}

    def __enter__(self) -> NpzFile:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the archive, and the file if `load` has opened it."""
        if self.zip is not None:
            self.zip.close()
            self.zip = None
        if self._owns_file:
            self._file.close()

    __del__ = close

    def __iter__(self) -> Iterator[str]:
        return iter(self.files)

    def __len__(self) -> int:
        return len(self.files)

    def __contains__(self, key: object) -> bool:
        return key in self._members

    def __repr__(self) -> str:
        names = ", ".join(self.files[:5]) + ("..." if len(self.files) > 5 else "")
        return f"NpzFile {getattr(self._file, 'name', 'object')!r} with keys: {names}"

    def __getitem__(self, key: str) -> Any:
        if key not in self._members:
            raise KeyError(f"{key} is not a file in the archive")
        if self.zip is None:
            raise ValueError("the archive is closed")
        info = self.zip.getinfo(self._members[key])
        with self.zip.open(info) as member:
            magic = member.read(npy.MAGIC_LEN - 2)
            member.seek(0)
            if magic != npy.MAGIC_PREFIX:
                return member.read()
            header = read_header(member, self._max_header_size)
            if header is None:
                member.seek(0)
                limit = self._max_header_size
                return creation.asarray(npy.read_array(member, max_header_size=limit))
            out, header_nbytes = header.new_array(), member.tell()
            is_stored = not info.compress_type and not info.flag_bits & _IS_ENCRYPTED
            is_whole = info.file_size == header_nbytes + header.nbytes
            if is_stored and is_whole and pays(header.nbytes, MIN_FROMFILE):
                self._read_stored(info, header_nbytes, out)
            else:
                self._read_member(member, bytes_of(out))
            return out

    def _read_stored(self, info: zipfile.ZipInfo, header_nbytes: int, out: SharedArray) -> None:
        descriptor, target = self._file.fileno(), bytes_of(out)
        local = os.pread(descriptor, _LOCAL_HEADER.size, info.header_offset)
        start = info.header_offset + _LOCAL_HEADER.size + sum(_LOCAL_HEADER.unpack(local))
        before = os.pread(descriptor, header_nbytes, start)
        n_read = read_into(out, self._file, start + header_nbytes, self._pool, self._progress)
        if n_read < out.nbytes:
            raise _too_short(out.nbytes, n_read)
        with numpy_errors():
            data_crc = checksums.crc32(target, pool_for(self._pool))
        if checksums.joined(zlib.crc32(before), data_crc, out.nbytes) != info.CRC:
            import zipfile

            raise zipfile.BadZipFile(f"Bad CRC-32 for file {info.filename!r}")

    def _read_member(self, member: Any, target: NDArray[np.uint8]) -> None:
        with reporting_bytes(self._progress, target.size) as reports:
            done = 0
            while done < target.size:
                n_read = member.readinto(target[done : done + PIECE].data)
                if not n_read:
                    raise _too_short(target.size, done)
                done += n_read
                reports.add(n_read)


def _too_short(n_expected: int, n_found: int) -> ValueError:
    return ValueError(f"EOF: reading array data, expected {n_expected} bytes got {n_found}")
