"""Archives of arrays (.npz), which `numpy.savez` writes: their arrays in shared memory.

::

    stored member        |local header|name|extra|npy header|------- data -------|  in the file
                                                             preadv by the workers -> CRC of chunks
    compressed member    zipfile -> piece by piece into the array, CRC of zipfile
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from sharedarray.files.npyformat import Header, bytes_of, read_header
from sharedarray.files.progress import Progress, Reports, reporting_bytes
from sharedarray.functions.pools import numpy_errors, pool_for
from sharedarray.functions.thresholds import MIN_FROMFILE, pays
from sharedarray.memory import creation, pages
from sharedarray_ops.files import checksums, reading
from sharedarray_ops.pool import Pool

if TYPE_CHECKING:
    import zipfile

__all__ = ["NpzFile"]

# Bytes of a compressed member at a time.
PIECE = 1 << 20
# Up to the lengths of name and extra field, which end the part of fixed size.
_LOCAL_HEADER = struct.Struct("<26xHH")
_IS_ENCRYPTED = 1


class NpzFile(Mapping[str, Any]):
    """The arrays of an archive by their names, each read when it is asked for.

    Made by `load`, of the options of which it has `pool` and `progress`. It keeps the file open:
    use it in a ``with`` statement, or call `close`.

    Parameters
    ----------
    file : file object
        Open for reading, a file of its own.
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
    Of members without compression (``numpy.savez``), from 16 MiB on, the data are read in parallel
    straight from where they lie in the file, and then checked against their CRC, in parallel. All
    others are decompressed by the caller, 1 MiB at a time.

    Examples
    --------
    >>> import pathlib, tempfile, numpy, sharedarray
    >>> from sharedarray.files.npy import load
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "two.npz")
    ...     numpy.savez(path, x=[1, 2], y=[0.5])
    ...     with load(path) as archive:
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
        import zipfile  # as NumPy does: not everybody needs it

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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
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
            return self._read(info, member, header)

    def _read(self, info: zipfile.ZipInfo, member: Any, header: Header) -> Any:
        """Read the array of a member whose header has been read."""
        header_nbytes = member.tell()
        out = header.new_array()
        target = bytes_of(out)
        is_plain = not info.compress_type and not info.flag_bits & _IS_ENCRYPTED
        is_whole = info.file_size == header_nbytes + header.nbytes
        with numpy_errors(), reporting_bytes(self._progress, header.nbytes) as reports:
            if is_plain and is_whole and pays(header.nbytes, MIN_FROMFILE):
                self._read_stored(info, header_nbytes, target, pages.populator(out), reports)
            else:
                _read_member(member, target, reports)
        return out

    def _read_stored(
        self,
        info: zipfile.ZipInfo,
        header_nbytes: int,
        target: NDArray[np.uint8],
        touch: Any,
        reports: Reports,
    ) -> None:
        descriptor, pool = self._file.fileno(), pool_for(self._pool)
        local = os.pread(descriptor, _LOCAL_HEADER.size, info.header_offset)
        start = info.header_offset + _LOCAL_HEADER.size + sum(_LOCAL_HEADER.unpack(local))
        before = os.pread(descriptor, header_nbytes, start)
        n_read = reading.read(
            descriptor, start + header_nbytes, target, reports.watching(pool), touch
        )
        if n_read < target.size:
            raise _too_short(target.size, n_read)
        crc = checksums.joined(zlib.crc32(before), checksums.crc32(target, pool), target.size)
        if crc != info.CRC:
            import zipfile

            raise zipfile.BadZipFile(f"Bad CRC-32 for file {info.filename!r}")


def _read_member(member: Any, target: NDArray[np.uint8], reports: Reports) -> None:
    done = 0
    while done < target.size:
        n_read = member.readinto(target[done : done + PIECE].data)
        if not n_read:
            raise _too_short(target.size, done)
        done += n_read
        reports.add(n_read)


def _too_short(n_expected: int, n_found: int) -> ValueError:
    return ValueError(f"EOF: reading array data, expected {n_expected} bytes got {n_found}")
