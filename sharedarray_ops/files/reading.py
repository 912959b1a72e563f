"""Read files into memory, each chunk by the worker that then owns its pages.

::

    output   |---- chunk ----|---- chunk ----|-- chunk --|    cut by bytes, and by number of files
    files    | a     | b |c|      d                  |e|f|    end to end, each from `offset` on

`preadv` reads into the array itself, at an offset without moving the file's position, so that
workers share one descriptor. A file that shrinks meanwhile gives fewer bytes; a mapping of it would
give a SIGBUS.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from sharedarray_ops.files import directio
from sharedarray_ops.plan import Chunk, blocks
from sharedarray_ops.pool import Pool, Touch

__all__ = ["read", "read_files"]

# Bytes; large enough to hide the hand-over between workers, small enough to balance them.
CHUNK = 8 << 20
# Of a chunk, at most: opening small files takes longer than reading them.
MAX_FILES = 64


def read(
    descriptor: int,
    offset: int,
    out: NDArray[np.uint8],
    pool: Pool,
    touch: Touch = None,
    *,
    direct: bool = False,
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
        Who works. The results of its map are bytes.
    touch : callable, optional
        Called on each part of `out` before it is written to.
    direct : bool, default False
        Read past the page cache where that is possible.

    Returns
    -------
    int
        Bytes read without a gap from the start; fewer than `out` has only if the file ends there.
    """
    # Past the page cache, cuts at multiples in the file leave the fewest unaligned ends; through
    # it, cuts at multiples in the array leave the fewest pages that two workers touch.
    lead = offset % CHUNK if direct else 0
    parts = [Chunk(max(0, a), b) for a, b in blocks(-lead, out.size, CHUNK)]
    with directio.reopened(descriptor, direct) as past_cache:

        def fill(part: Chunk) -> int:
            target = out[part.slice]
            if touch is not None:
                touch(target)
            return _fill(descriptor, offset + part.start, target, past_cache)

        results = pool.map(fill, parts)
    for part, n_read in zip(parts, results, strict=True):
        if n_read < part.size:
            return part.start + n_read
    return out.size


def read_files(
    paths: Sequence[str | bytes],
    offset: int,
    ends: NDArray[np.int64],
    out: NDArray[np.uint8],
    pool: Pool,
    touch: Touch = None,
    *,
    direct: bool = False,
) -> NDArray[np.int64]:
    """Fill `out` from regular files, end to end, and return how many bytes each of them had.

    Parameters
    ----------
    paths : sequence of str or bytes
        A worker opens those of its chunk one after the other.
    offset : int
        Where to start in each file, in bytes from its beginning.
    ends : ndarray of int64, shape (n,)
        Where each file ends in `out`, in bytes; they do not decrease, the last one is its size.
    out, pool, touch, direct
        As for `read`. The results of the pool's map are lists of bytes.

    Returns
    -------
    ndarray of int64, shape (n,)
        Bytes read of each file, without a gap from its start; fewer than it has room for only if it
        ends there.
    """
    bounds = [0, *ends.tolist()]

    def fill(part: Chunk) -> list[int]:
        if touch is not None:
            touch(out[part.slice])
        return [
            _fill_from(paths[i], offset + piece.start - bounds[i], out[piece.slice], direct)
            for i, piece in _pieces(bounds, part)
        ]

    parts = list(_parts(bounds))
    found = np.diff(ends, prepend=0)
    for part, results in zip(parts, pool.map(fill, parts), strict=True):
        for (i, piece), n_read in zip(_pieces(bounds, part), results, strict=True):
            if n_read < piece.size:
                found[i] = min(found[i], piece.start + n_read - bounds[i])
    return found


def _parts(bounds: Sequence[int]) -> Iterator[Chunk]:
    """Cut the output where a chunk has enough bytes, or enough files."""
    start, n_files = 0, len(bounds) - 1
    while start < bounds[-1]:
        first = bisect_right(bounds, start) - 1
        stop = min(start + CHUNK, bounds[min(first + MAX_FILES, n_files)])
        yield Chunk(start, stop)
        start = stop


def _pieces(bounds: Sequence[int], part: Chunk) -> Iterator[tuple[int, Chunk]]:
    """Yield each file of a part of the output, by its number, and where it lies in the output."""
    i, start = bisect_right(bounds, part.start) - 1, part.start
    while start < part.stop:
        stop = min(bounds[i + 1], part.stop)
        if start < stop:
            yield i, Chunk(start, stop)
        i, start = i + 1, stop


def _fill_from(path: str | bytes, offset: int, out: NDArray[np.uint8], direct: bool) -> int:
    # Does not wait if the file has become a FIFO since its size was asked for.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        if not direct:  # a microsecond, where the whole file takes five
            return _fill_cached(descriptor, offset, out)
        with directio.reopened(descriptor) as past_cache:
            return _fill(descriptor, offset, out, past_cache)
    finally:
        os.close(descriptor)


def _fill(descriptor: int, offset: int, out: NDArray[np.uint8], past_cache: int | None) -> int:
    """Read one part; return how many bytes of it the file has."""
    done = 0
    if past_cache is not None:
        head = -offset % directio.ALIGN
        done = _fill_cached(descriptor, offset, out[:head])
        if done == head:
            done += directio.read_aligned(past_cache, offset + done, out[done:])
    return done + _fill_cached(descriptor, offset + done, out[done:])


def _fill_cached(descriptor: int, offset: int, out: NDArray[np.uint8]) -> int:
    done = 0
    while done < out.size:
        n_read = os.preadv(descriptor, [out[done:].data], offset + done)
        if n_read == 0:
            break
        done += n_read
    return done
