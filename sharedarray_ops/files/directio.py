"""Read past the page cache (O_DIRECT) where the file system allows it.

A file that is read once gains nothing from the page cache, and evicts what other programs need. The
kernel asks for positions, lengths and addresses that are multiples of a block, and file systems
refuse with errors of their own; so any refusal ends the direct read quietly, and the caller goes on
through the page cache from there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

__all__ = ["ALIGN", "read_aligned", "reopened"]

# Bytes; enough for nearly every device. Others refuse, and are read through the cache.
ALIGN = 4096
# Bytes of a worker's buffer if its part of the array is not aligned as the file is; enough for
# several requests of a disk at a time.
BOUNCE = 2 << 20


@contextmanager
def reopened(descriptor: int, is_wanted: bool = True) -> Iterator[int | None]:
    """Open the file of a descriptor once more, for direct reading; None if that fails.

    The flag belongs to the open file, which other descriptors may share, so it is not set there.
    """
    direct = _open(descriptor) if is_wanted else None
    try:
        yield direct
    finally:
        if direct is not None:
            os.close(direct)


def _open(descriptor: int) -> int | None:
    flag = getattr(os, "O_DIRECT", None)  # Linux
    if flag is None:
        return None
    try:
        # Also of a file that has been unlinked.
        return os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_CLOEXEC | flag)
    except OSError:  # the file system has no direct reading, or there is no /proc
        return None


def read_aligned(direct: int, offset: int, out: NDArray[np.uint8]) -> int:
    """Fill the beginning of `out` directly, as far as possible.

    Parameters
    ----------
    direct : int
        From `reopened`.
    offset : int
        Where to start in the file, a multiple of `ALIGN` bytes.
    out : ndarray of uint8, shape (n,)
        Contiguous. Unaligned, the bytes go through a buffer of `BOUNCE` bytes.

    Returns
    -------
    int
        Bytes read; fewer than the whole blocks of `out` if the file ends or its system refuses.
    """
    stop = out.size - out.size % ALIGN
    is_unaligned = out.ctypes.data % ALIGN != 0
    buffer = _aligned_buffer(min(stop, BOUNCE)) if is_unaligned else out[:stop]
    done = 0
    while done < stop:
        target = buffer[: stop - done] if is_unaligned else out[done:stop]
        n_read = _read(direct, offset + done, target)
        if n_read == 0:
            break
        if is_unaligned:
            out[done : done + n_read] = target[:n_read]
        done += n_read
    return done


def _read(direct: int, offset: int, out: NDArray[np.uint8]) -> int:
    """Read once; 0 at the end of the file and where it is refused."""
    try:
        return os.preadv(direct, [out.data], offset)
    except OSError:
        return 0  # also behind the end of a file; an error of the disk is raised through the cache


def _aligned_buffer(nbytes: int) -> NDArray[np.uint8]:
    room = np.empty(nbytes + ALIGN, np.uint8)
    start = -room.ctypes.data % ALIGN
    return room[start : start + nbytes]
