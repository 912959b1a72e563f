"""Named segments: arrays in files of /dev/shm, which other programs attach to by name.

::

    empty(shape, name="x") --O_TMPFILE, space, header--> link --> /dev/shm/sharedarray-<uid>-x
    attach("x")            --header--> dtype, shape, order --> SharedArray on the same memory
    unlink("x")            --> the name is gone; the memory when the last process unmaps it

Guarantees
----------
* A name appears with its whole space and its layout, or not at all: no program sees it unfinished,
  and no access fails for lack of memory (SIGBUS).
* Files of other users and symbolic links are never used.

Assumptions
-----------
* Programs of one user trust each other: one that truncates the file kills those that use it.

The file is one of NumPy's .npy format: ``numpy.load(path, mmap_mode="r+")`` reads it too.
"""

from __future__ import annotations

import contextlib
import errno
import io
import math
import os
import re
import stat
import tokenize
import warnings
from typing import Any

import numpy as np
from numpy.lib import format as npy

from sharedarray.descriptor import Descriptor, opened
from sharedarray.machine import available_memory
from sharedarray.memory import registry
from sharedarray.memory.allocator import new_block
from sharedarray.memory.segment import Block, Segment

__all__ = ["FOLDER", "create", "find", "list_named", "name_of", "path_of", "shorten", "unlink"]

# Plain paths: to import pathlib takes 3 ms.
FOLDER = "/dev/shm"
# Of the one block in each.
SERIAL = 1
_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,199}"
_ALIGNMENT = 64  # a cache line

# Shape, whether it is column-major, dtype, length of the header.
_Layout = tuple[tuple[int, ...], bool, np.dtype[Any], int]

# By segment id, which is device and inode of the file.
_names: dict[tuple[int, int], str] = {}


def create(name: str, shape: tuple[int, ...], dtype: np.dtype[Any], *, is_fortran: bool) -> Block:
    """Return the zeroed block of a new named segment; raise as `sharedarray.empty` says."""
    path = path_of(name)
    header = _header(shape, dtype, is_fortran)
    nbytes = math.prod(shape) * dtype.itemsize
    if os.path.lexists(path):  # before taking the space; what decides is the link
        raise _taken(name, path)
    if nbytes > (available_memory() or nbytes):
        raise MemoryError(f"{nbytes} bytes are more than the machine has to spare")
    # It has no name until it is complete.
    descriptor = opened(os.open, FOLDER, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    os.fchmod(descriptor.number, 0o600)
    try:
        os.posix_fallocate(descriptor.number, 0, len(header) + max(1, nbytes))
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
            raise
        message = f"no space for the {nbytes} bytes of a named segment"
        raise OSError(error.errno, message, path) from error
    os.pwrite(descriptor.number, header, 0)
    source = f"/proc/self/fd/{descriptor.number}"
    try:
        # Given a folder, Python calls linkat(), which follows /proc/self/fd; link() does not.
        os.link(source, path, src_dir_fd=descriptor.number, follow_symlinks=True)
    except FileExistsError as error:
        raise _taken(name, path) from error
    return _block(name, descriptor, len(header), nbytes)


def find(name: str) -> tuple[Block, tuple[int, ...], np.dtype[Any], bool]:
    """Return the block of a named segment, with shape, dtype and whether it is column-major.

    Raises as `sharedarray.attach` says.
    """
    descriptor, facts, (shape, is_fortran, dtype, header_nbytes) = _file_of(name)
    nbytes = math.prod(shape) * dtype.itemsize
    if facts.st_size < header_nbytes + nbytes:
        raise ValueError(f"{path_of(name)} is shorter than its header says")
    return _block(name, descriptor, header_nbytes, nbytes), shape, dtype, is_fortran


def shorten(name: str, segment: Segment, n_items: int) -> None:
    """Let programs that attach to a named segment from now on see the first items only.

    Its file keeps its length: programs that are attached already may access all of it.
    """
    # The name may be unlinked by now, and perhaps taken by something else.
    with contextlib.suppress(OSError, ValueError):
        descriptor, facts, (shape, is_fortran, dtype, nbytes) = _file_of(name)
        header = _header((n_items, *shape[1:]), dtype, is_fortran)
        # NumPy leaves room for any number of items, so the header keeps its length.
        if (facts.st_dev, facts.st_ino) == segment.id and len(header) == nbytes:
            os.pwrite(descriptor.number, header, 0)


def _file_of(name: str) -> tuple[Descriptor, os.stat_result, _Layout]:
    """Open the file of a name; return its descriptor, its status and its header."""
    path = path_of(name)
    try:
        descriptor = opened(os.open, path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError as error:
        raise _missing(name, path) from error
    except OSError as error:
        if error.errno == errno.ELOOP:
            message = "a symbolic link, which is not followed: not a segment"
            raise OSError(errno.ELOOP, message, path) from error
        raise
    facts = os.fstat(descriptor.number)
    if facts.st_uid != os.geteuid() or facts.st_mode & 0o077 or not stat.S_ISREG(facts.st_mode):
        message = "the segment belongs to another user, or is open to others"
        raise PermissionError(errno.EACCES, message, path)
    return descriptor, facts, _parse(descriptor.number, path)


def list_named() -> list[str]:
    """Return the names of the segments of this user.

    Returns
    -------
    list of str
        Sorted. A name says nothing about whether any program uses the segment.

    Examples
    --------
    >>> import sharedarray
    >>> "no such name" in sharedarray.list_named()
    False
    """
    prefix = _prefix()
    with contextlib.suppress(OSError), os.scandir(FOLDER) as entries:  # no such folder: no names
        return sorted(entry.name.removeprefix(prefix) for entry in entries if _is_ours(entry))
    return []


def unlink(name: str) -> None:
    """Remove the name of a segment; its memory goes with the last array on it, in any program.

    Parameters
    ----------
    name : str
        As it was given to `empty` and its like.

    Raises
    ------
    FileNotFoundError
        If there is no such segment.
    PermissionError
        If it belongs to another user.

    Examples
    --------
    >>> import sharedarray
    >>> a = sharedarray.full(3, 7, name="docs-unlink")
    >>> sharedarray.unlink("docs-unlink")
    >>> a
    SharedArray([7, 7, 7])
    """
    path = path_of(name)
    try:
        os.unlink(path)  # noqa: PTH108
    except FileNotFoundError as error:
        raise _missing(name, path) from error


def name_of(segment: Segment) -> str | None:
    """Return the name of a segment, None if it has none."""
    return _names.get(segment.id)


def path_of(name: str) -> str:
    """Return the path of the file of a name; raise TypeError or ValueError if it is not a name."""
    if not isinstance(name, str):
        raise TypeError(f"the name of a segment must be a str, not {type(name).__name__}")
    if not re.fullmatch(_NAME, name):
        raise ValueError(
            f"{name!r} is no name for a segment: up to 200 of the characters A-Z a-z 0-9 _ . + -, "
            "the first one a letter, a digit or _"
        )
    return f"{FOLDER}/{_prefix()}{name}"


def _is_ours(entry: os.DirEntry[str]) -> bool:
    with contextlib.suppress(FileNotFoundError):
        if re.fullmatch(re.escape(_prefix()) + _NAME, entry.name):
            facts = entry.stat(follow_symlinks=False)
            return stat.S_ISREG(facts.st_mode) and facts.st_uid == os.geteuid()
    return False


def _taken(name: str, path: str) -> FileExistsError:
    message = f"a segment of the name {name!r} exists: attach to it, or unlink it"
    return FileExistsError(errno.EEXIST, message, path)


def _missing(name: str, path: str) -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, f"there is no segment of the name {name!r}", path)


def _prefix() -> str:
    # With the user: two users may have segments of the same name.
    return f"sharedarray-{os.geteuid()}-"


def _block(name: str, descriptor: Descriptor, header_nbytes: int, nbytes: int) -> Block:
    facts = os.fstat(descriptor.number)
    segment_id = (facts.st_dev, facts.st_ino)
    segment = registry.find_id(segment_id)
    if segment is None:
        segment = Segment(
            max(1, nbytes), origin=(segment_id, descriptor), header_nbytes=header_nbytes
        )
        segment.serials[0] = SERIAL
        _names[segment_id] = name
        registry.register(segment)
    block = segment.block(0, SERIAL)
    if block is None:  # generation -1: never recycled, since other programs see it
        block = new_block(segment, 0, nbytes, SERIAL, generation=-1)
    return block


def _header(shape: tuple[int, ...], dtype: np.dtype[Any], is_fortran: bool) -> bytes:
    file = io.BytesIO()
    try:
        found = npy.descr_to_dtype(npy.dtype_to_descr(dtype))
    except ValueError:  # fields out of order or over each other
        found = None
    if found != dtype or found.type is not dtype.type:
        raise TypeError(f"the file of a named segment has no words for the dtype {dtype}")
    facts = {"descr": npy.dtype_to_descr(dtype), "fortran_order": is_fortran, "shape": shape}
    npy.write_array_header_2_0(file, facts)
    assert file.tell() % _ALIGNMENT == 0  # the format says so
    return file.getvalue()


def _parse(descriptor: int, path: str) -> _Layout:
    try:
        with open(descriptor, "rb", closefd=False) as file:
            if npy.read_magic(file) != (2, 0):
                raise ValueError("another version of the format")
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # that a header is of Python 2
                shape, is_fortran, dtype = npy.read_array_header_2_0(file)
            if dtype.hasobject:
                raise ValueError("its elements are Python objects")
            if min(shape, default=0) < 0:
                raise ValueError(f"there is no array of shape {shape}")
            return shape, is_fortran, dtype, file.tell()
    except (ValueError, EOFError, SyntaxError, tokenize.TokenError, UserWarning) as error:
        raise ValueError(f"{path} is not the file of a named segment: {error}") from error
