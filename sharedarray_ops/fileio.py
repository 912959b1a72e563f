"""Read a file into memory, each chunk by the worker that then owns its pages.

`preadv` reads at an offset without moving the file's position, so that workers share one
descriptor, and it reads into the array itself. A file that shrinks while it is read gives fewer
bytes, never a SIGBUS, which a mapping of the file would give.
"""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

from sharedarray_ops.plan import Chunk, blocks
from sharedarray_ops.pool import Pool, Touch

__all__ = ["read"]

# Bytes; large enough to hide the hand-over between workers, small enough to balance them.
CHUNK = 8 << 20


def read(
    descriptor: int, offset: int, out: NDArray[np.uint8], pool: Pool, touch: Touch = None
) -> int:
    """Fill `out` from a regular file and return how many bytes were there.

    Parameters
    ----------
    descriptor : int
        Open for reading; its position is neither used nor moved.
    offset : int
        Where to start, in bytes from the beginning of the file.
    out : ndarray of uint8, shape (n,)
        Contiguous, in memory that the workers of `pool` share.
    pool : Pool
        Who works.
    touch : callable, optional
        Called on each part of `out` before it is written to.

    Returns
    -------
    int
        Bytes read without a gap from the start, fewer than `out` has only where the file ends
        there.
    """
    parts = list(blocks(0, out.size, CHUNK))
    for part, n_read in zip(
        parts,
        pool.map(lambda part: _read(descriptor, offset, out, part, touch), parts),
        strict=True,
    ):
        if n_read < part.size:
            return part.start + n_read
    return out.size


def _read(descriptor: int, offset: int, out: NDArray[np.uint8], part: Chunk, touch: Touch) -> int:
    """Read one part; return how many bytes of it the file has."""
    if touch is not None:
        touch(out[part.slice])
    start = part.start
    while start < part.stop:
        n_read = os.preadv(descriptor, [out[start : part.stop].data], offset + start)
        if n_read == 0:
            break
        start += n_read
    return start - part.start
