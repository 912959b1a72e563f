"""Read what has no size and no position: pipes, FIFOs and sockets, from now to their end."""

from __future__ import annotations

import errno
import io
import os
import stat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sharedarray.files.handles import bytes_of
from sharedarray.files.progress import Progress, Reports, reporting_bytes
from sharedarray.memory import creation
from sharedarray.memory.array import SharedArray
from sharedarray.memory.building import shortened, unlinked_on_error

__all__ = ["check_readable", "is_stream", "read_stream"]

# Bytes of private memory at a time while the size is not known.
BLOCK = 64 << 20
# Bytes between two reports of progress.
PIECE = 1 << 20


def check_readable(dtype: np.dtype[Any]) -> None:
    """Raise ValueError for dtypes whose items no file can hold, or have no size."""
    np.fromfile(os.devnull, dtype, 0)  # raises NumPy's own error for those with objects
    if not dtype.itemsize:
        raise ValueError(f"items of {dtype!r} have 0 bytes: nothing says how many there are")


def is_stream(status: os.stat_result) -> bool:
    """Return whether it is the status of a pipe, FIFO or socket."""
    return stat.S_ISFIFO(status.st_mode) or stat.S_ISSOCK(status.st_mode)


def read_stream(
    handle: Any,
    dtype: np.dtype[Any],
    count: int,
    offset: int,
    progress: Progress,
    *,
    name: str | None,
    reserve: bool,
) -> tuple[SharedArray, int]:
    """Read `count` items, or all until the end of the stream if it is negative.

    Parameters
    ----------
    handle : file object
        Reads its own descriptor, or is the file object of a socket.
    dtype, count, offset, progress, name, reserve
        As for `fromfile`; the bytes before `offset` are read and dropped.

    Returns
    -------
    SharedArray, int
        The whole items, and how many bytes were left over.

    Raises
    ------
    OSError
        If `offset` is negative, and from reading.
    BlockingIOError
        If the stream is non-blocking.

    Notes
    -----
    A counted read goes straight into shared memory. Otherwise blocks are kept in private memory
    until the size is known, and freed as they are copied: the extra memory is one block.
    """
    check_readable(dtype)
    if offset < 0:
        raise OSError(errno.ESPIPE, "a stream cannot be read again: offset must not be negative")
    raw = getattr(handle, "raw", handle)
    if isinstance(raw, io.FileIO) and not os.get_blocking(raw.fileno()):
        raise _would_block()
    if count >= 0:
        out = creation.empty(count, dtype, name=name, reserve=reserve)
        with unlinked_on_error(name), reporting_bytes(progress, out.nbytes) as reports:
            _drop(handle, offset)
            n_items, n_left_over = divmod(_fill(handle, bytes_of(out), reports), dtype.itemsize)
            return shortened(out, n_items, name), n_left_over
    with reporting_bytes(progress, None) as reports:
        _drop(handle, offset)
        blocks = _all_blocks(handle, reports)
    n_items, n_left_over = divmod(sum(block.size for block in blocks), dtype.itemsize)
    out = creation.empty(n_items, dtype, name=name, reserve=reserve)
    _move(blocks, bytes_of(out))
    return out, n_left_over


def _drop(handle: Any, n_bytes: int) -> None:
    """Read that many bytes, or to the end."""
    room = np.empty(min(n_bytes, PIECE), np.uint8)
    while n_bytes and (n_dropped := _fill(handle, room[:n_bytes], None)):
        n_bytes -= n_dropped


def _all_blocks(handle: Any, reports: Reports) -> list[NDArray[np.uint8]]:
    """Read to the end; only the last block is not full."""
    blocks = []
    while True:
        block = np.empty(BLOCK, np.uint8)
        n_read = _fill(handle, block, reports)
        blocks.append(block[:n_read])
        if n_read < block.size:
            return blocks


def _move(blocks: list[NDArray[np.uint8]], out: NDArray[np.uint8]) -> None:
    """Copy the beginning of `blocks` to `out`, and free each one when it is copied."""
    blocks.reverse()
    start = 0
    while blocks:
        block = blocks.pop()[: out.size - start]
        out[start : start + block.size] = block
        start += block.size


def _fill(handle: Any, out: NDArray[np.uint8], reports: Reports | None) -> int:
    """Read until `out` is full or the stream ends; return how many bytes came."""
    done = 0
    while done < out.size:
        n_read = handle.readinto(out[done : done + PIECE].data)
        if n_read is None:
            raise _would_block()
        if n_read == 0:
            break
        done += n_read
        if reports is not None:
            reports.add(n_read)
    return done


def _would_block() -> BlockingIOError:
    return BlockingIOError(errno.EAGAIN, "the stream does not wait for data: make it blocking")
