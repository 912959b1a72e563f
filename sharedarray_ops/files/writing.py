"""Write an array to a file in C order, each chunk by a worker.

::

    contiguous       |---- chunk ----|---- chunk ----|-- chunk --|      written from where it lies
    another layout   |tile|tile|tile|tile| ...                          copied to a scratch first

`pwrite` writes at an offset without moving the file's position, so that workers share one
descriptor, and each byte has one writer.
"""

from __future__ import annotations

import ctypes
import errno
import math
import os
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sharedarray_ops.plan import Chunk, blocks, tiles
from sharedarray_ops.pool import Pool

__all__ = ["in_order", "preallocate", "write"]

# Bytes; large enough to hide the hand-over between workers, small enough to balance them.
CHUNK = 8 << 20
# Bytes of a tile, which stay in the second-level cache between the copy and the write.
SCRATCH = 1 << 20

# From linux/falloc.h: the file does not grow by it.
_FALLOC_FL_KEEP_SIZE = 1
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def preallocate(descriptor: int, offset: int, n_bytes: int) -> None:
    """Allocate the space for `n_bytes` bytes of a file before any of them is written.

    Parameters
    ----------
    descriptor : int
        Open for writing.
    offset, n_bytes : int
        Where the space begins, and its length.

    Raises
    ------
    OSError
        If there is not enough (ENOSPC, EDQUOT, EFBIG). Other errors are ignored: not every file
        system can preallocate.
    """
    if not n_bytes or _fallocate() is None:
        return
    error = errno.EINTR
    while error == errno.EINTR:
        failed = _fallocate()(descriptor, _FALLOC_FL_KEEP_SIZE, offset, n_bytes)
        error = ctypes.get_errno() if failed else 0
    if error in _NO_SPACE:
        # Frees what it got before it failed, behind the end of the file.
        os.ftruncate(descriptor, os.fstat(descriptor).st_size)
        raise OSError(error, f"{os.strerror(error)}: not enough for {n_bytes} bytes")


@lru_cache(maxsize=1)
def _fallocate() -> Any:
    # Not os.posix_fallocate: where the file system cannot, glibc writes a byte to each block.
    try:
        function = ctypes.CDLL(None, use_errno=True).fallocate
    except (OSError, AttributeError, TypeError):  # not on macOS or Windows
        return None
    function.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    return function


def write(a: NDArray[Any], descriptor: int, offset: int, pool: Pool) -> None:
    """Write the elements in C order to a regular file.

    Parameters
    ----------
    a : ndarray
        Any shape, layout and dtype without Python objects.
    descriptor : int
        Open for writing, not for appending; its position is neither used nor moved.
    offset : int
        Where to start, in bytes from the beginning of the file.
    pool : Pool
        Who works. The results of its map are bytes.

    Raises
    ------
    OSError
        From writing; other chunks may have been written.
    """
    source = _source(a)
    starts = _starts(source)
    parts = _parts(source)
    n_tiles = max(1, CHUNK // SCRATCH) if source is a else 1
    own = _OwnDescriptor(descriptor)

    def kernel(chunk: Chunk) -> int:
        n_written = 0
        for part in parts[chunk.slice]:
            place = sum(s.start * step for s, step in zip(part, starts, strict=True))
            n_written += _write(own.number, _bytes(source[part]), offset + place)
        return n_written

    try:
        pool.map(kernel, list(blocks(0, len(parts), n_tiles)))
    except KeyboardInterrupt:
        raise  # a second one leaves workers at their chunks: the last one closes it
    except BaseException:
        own.close()
        raise
    own.close()


class _OwnDescriptor:
    """A second descriptor of a file, closed by its last user.

    After an interrupt a worker may still write when the caller closes the first one; the file that
    is opened next gets its number, and must not get the bytes.
    """

    def __init__(self, descriptor: int) -> None:
        self.number = os.dup(descriptor)

    # An argument, since at the interpreter's end the module's globals may be gone before it.
    def close(self, close: Callable[[int], None] = os.close) -> None:
        """Close it; once more does nothing."""
        number, self.number = self.number, -1
        if number >= 0:
            close(number)

    __del__ = close


def in_order(a: NDArray[Any]) -> Iterator[NDArray[np.uint8]]:
    """Yield the bytes of an array in C order, in parts that are written one after the other."""
    source = _source(a)
    return (_bytes(source[part]) for part in _parts(source))


def _source(a: NDArray[Any]) -> NDArray[Any]:
    """Return contiguous elements as bytes, others as they are."""
    return _bytes(a) if a.flags.c_contiguous and a.itemsize else a


def _parts(source: NDArray[Any]) -> Sequence[tuple[slice, ...]]:
    if source.flags.c_contiguous:
        return tiles(source.shape, CHUNK) if source.itemsize else []
    return tiles(source.shape, max(1, SCRATCH // source.itemsize)) if source.itemsize else []


def _starts(source: NDArray[Any]) -> list[int]:
    """Return how many bytes of the file one index of each axis is."""
    return [source.itemsize * math.prod(source.shape[i + 1 :]) for i in range(source.ndim)]


def _bytes(part: NDArray[Any]) -> NDArray[np.uint8]:
    """Return the bytes in C order, copied unless they lie so."""
    return np.ascontiguousarray(part).reshape(-1).view(np.uint8)


def _write(descriptor: int, part: NDArray[np.uint8], offset: int) -> int:
    done = 0
    while done < part.size:
        n_written = os.pwrite(descriptor, part[done:].data, offset + done)
        if n_written == 0:
            raise OSError(errno.EIO, "nothing more can be written")
        done += n_written
    return done
