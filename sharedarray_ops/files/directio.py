"""Read past the page cache (O_DIRECT), where the file system lets one.

What is read once and is larger than the memory gains nothing from the page cache, and pushes out of
it what others need. The kernel asks for positions, lengths and addresses that are multiples of a
block, and each file system has its own word for no; so here every refusal ends the direct way
quietly, and the caller goes on through the page cache from where it ended.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

__all__ = ["ALIGN", "read_aligned", "reopened"]

# Bytes; enough for nearly every device. What asks for more refuses, and is read through the cache.
ALIGN = 4096
# Bytes of the buffer of a worker whose part of the array lies askew to the file. Large enough that
# a disk works on several requests at a time.
BOUNCE = 2 << 20


@contextmanager
def reopened(descriptor: int, is_wanted: bool = True) -> Iterator[int | None]:
    """Open the file behind a descriptor once more, for direct reading; None where that fails.

    The flag belongs to an open file, which others may share: it is not set on theirs.
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
        # By this name also files that have lost theirs.
        return os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_CLOEXEC | flag)
    except OSError:  # the file system has no direct reading, or there is no /proc
        return None


def read_aligned(direct: int, offset: int, out: NDArray[np.uint8]) -> int:
    """Fill the beginning of `out` directly, as far as that goes.

    Parameters
    ----------
    direct : int
        From `reopened`.
    offset : int
        Where to start in the file, a multiple of `ALIGN` bytes.
    out : ndarray of uint8, shape (n,)
        Contiguous. Where it starts askew, the bytes go through a buffer of `BOUNCE` bytes.

    Returns
    -------
    int
        Bytes read. Fewer than the whole blocks of `out` where the file ends or its system refuses.
    """
    stop = out.size - out.size % ALIGN
    is_askew = out.ctypes.data % ALIGN != 0
    buffer = _aligned_buffer(min(stop, BOUNCE)) if is_askew else out[:stop]
    done = 0
    while done < stop:
        target = buffer[: stop - done] if is_askew else out[done:stop]
        n_read = _read(direct, offset + done, target)
        if n_read == 0:
            break
        if is_askew:
            out[done : done + n_read] = target[:n_read]
        done += n_read
    return done


def _read(direct: int, offset: int, out: NDArray[np.uint8]) -> int:
    """Read once; 0 at the end of the file and where it is refused."""
    try:
        return os.preadv(direct, [out.data], offset)
    except OSError:
        return 0  # also behind the end of a file; an error of the disk comes back through the cache


def _aligned_buffer(nbytes: int) -> NDArray[np.uint8]:
    room = np.empty(nbytes + ALIGN, np.uint8)
    start = -room.ctypes.data % ALIGN
    return room[start : start + nbytes]
