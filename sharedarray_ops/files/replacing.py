"""Replace a file by a new one atomically.

::

    place --O_TMPFILE--> nameless file --> written by the caller --link--> .sharedarray-*.tmp
    place <----------------------------- rename ------------------------------------'

Guarantees
----------
* Opening the place gives the old file or the new one, never a part.
* On any exception the old file is as it was and the new one is gone. A killed process leaves
  nothing, since the file gets its name at the very end; on file systems without nameless files it
  leaves a temporary one.

Assumptions
-----------
* The folder is writable. Hard links to the old file keep the old data.

Nothing is forced onto the disk (fsync), as NumPy's writing does not.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

__all__ = ["place_of", "replacing"]

_Path = TypeVar("_Path", str, bytes)

# Errors of file systems without nameless files, and of kernels that take the flag for O_DIRECTORY.
_NOT_NAMELESS = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT)


def place_of(path: _Path) -> _Path | None:
    """Return the place of the file that a new one would replace, symbolic links followed.

    Parameters
    ----------
    path : str or bytes
        Of a file that need not exist.

    Returns
    -------
    str, bytes or None
        None where `path` is not that of a regular file, but of a device, FIFO or folder, or of a
        file that has lost its name (``/proc/self/fd/3``): it is opened as it is.
    """
    if not os.path.split(path)[1]:  # as open() judges it
        return None
    place = os.path.realpath(path)
    try:
        status = os.stat(path)  # noqa: PTH116 - bytes paths too
    except FileNotFoundError:
        return place
    if not stat.S_ISREG(status.st_mode):
        return None
    try:
        is_same = os.path.samestat(status, os.stat(place))  # noqa: PTH116
    except FileNotFoundError:
        is_same = False
    return place if is_same else None


@contextmanager
def replacing(place: str | bytes) -> Iterator[int]:
    """Yield the descriptor of a new file, which is at `place` when the block has ended.

    Parameters
    ----------
    place : str or bytes
        From `place_of`. The mode of a file that is there is kept, and its owner where that is
        permitted; a new one gets what the umask allows.

    Raises
    ------
    OSError
        If the folder is not there or may not be written to, or the old file may not.
    """
    folder, _ = os.path.split(os.fsencode(place))
    temporary = b"%s/.sharedarray-%s.tmp" % (folder, os.urandom(8).hex().encode())
    _check_writable(place)
    try:
        descriptor, is_nameless = _new_file(folder, temporary, place)
        try:
            _take_over(descriptor, place)
            yield descriptor
            if is_nameless:
                # Without a src_dir_fd, which an absolute path ignores, Python calls link(), which
                # does not follow.
                source = f"/proc/self/fd/{descriptor}"
                os.link(source, temporary, src_dir_fd=descriptor, follow_symlinks=True)
        finally:
            os.close(descriptor)
        os.replace(temporary, place)  # noqa: PTH105
    finally:
        with suppress(FileNotFoundError, NotADirectoryError):
            os.unlink(temporary)  # noqa: PTH108


def _check_writable(place: str | bytes) -> None:
    """Raise what opening an old file for writing raises."""
    with suppress(FileNotFoundError):
        os.close(os.open(place, os.O_WRONLY))


def _new_file(folder: bytes, temporary: bytes, place: str | bytes) -> tuple[int, bool]:
    """Return the descriptor of a new file, and whether it has no name yet."""
    flag = getattr(os, "O_TMPFILE", None)  # Linux
    if flag is not None and os.path.isdir("/proc/self/fd"):  # noqa: PTH112
        try:
            return os.open(folder, os.O_RDWR | flag, 0o666), True
        except OSError as error:
            if error.errno not in _NOT_NAMELESS:
                raise _refused(error, place) from error
    try:
        return os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666), False
    except OSError as error:
        raise _refused(error, place) from error


def _refused(error: OSError, place: str | bytes) -> OSError:
    """Return the error with the path that the user knows."""
    text = os.strerror(error.errno or 0)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        text += (
            ": the file is replaced by a new one, for which its folder has to be writable. "
            "To write into a file as it is, give a file object: open(path, 'r+b')"
        )
    return OSError(error.errno, text, place)


def _take_over(descriptor: int, place: str | bytes) -> None:
    """Give the new file owner and mode of the old one, if there is one."""
    try:
        old = os.stat(place)  # noqa: PTH116
    except FileNotFoundError:
        return
    new = os.fstat(descriptor)
    mode = stat.S_IMODE(old.st_mode)
    if (new.st_uid, new.st_gid) != (old.st_uid, old.st_gid):
        try:
            os.fchown(descriptor, old.st_uid, old.st_gid)
        except PermissionError:
            # Another group must not get the rights that the old one had.
            mode = mode & ~0o070 | (mode & 0o007) << 3
    os.fchmod(descriptor, mode)
