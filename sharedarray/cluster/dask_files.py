"""fromfile and tofile of `dask.array`: every node reads and writes its own parts of one file.

::

    fromfile   path --size, at once--> chunks;  each block: open, preadv its part, close
    tofile     path <--rename-- temporary file <-- each block: open, pwrite its part, close

Guarantees
----------
* A block that is read is complete: if the file has become shorter meanwhile, its task raises
  EOFError.
* The path has the old file or the new one, never a part. On any exception the old file is as it
  was, and the temporary one is gone.

Assumptions
-----------
* The path leads to the same file on all nodes: on a file system that they share.
* For `tofile` this file system has hard links, and the caller is on Linux. If the caller is killed,
  the temporary file stays: its name is ``.sharedarray-*.tmp``, and the nodes need it.
* When a node has closed a file, others find there what it has written, as NFS has it.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from importlib import import_module
from itertools import accumulate, product
from operator import index, mul
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from sharedarray.cluster.dask_sort import check_no_pool, node_pool
from sharedarray.files.handles import is_path
from sharedarray.functions.calls import numpy_errors
from sharedarray_ops.files import reading, writing
from sharedarray_ops.files.replacing import place_of, replacing
from sharedarray_ops.pool import Caller, Pool

__all__ = ["fromfile", "tofile"]


def fromfile(
    file: Any,
    dtype: DTypeLike | None,
    count: int,
    sep: str,
    offset: int,
    *,
    chunks: Any,
    strict: bool,
    direct: bool,
    pool: Pool | None,
    **refused: Any,
) -> Any:
    """Return a dask array each of whose blocks is read by the task that computes it.

    The length is found out at once. `sep`, `pool` and what is `refused` must be left out. Otherwise
    as `sharedarray.fromfile`.

    Raises
    ------
    OSError
        If there is no such file; by a task, if its worker does not see it.
    EOFError
        See `strict`; by a task, if the file has become shorter.
    TypeError
        For file objects, dtypes with objects, and arguments that must be left out.
    ValueError
        If it is no regular file, or `offset` is not in it; for items of 0 bytes.
    """
    check_no_pool(pool)
    refused["sep"] = sep or None
    if given := [name for name, value in refused.items() if value is not None]:
        raise TypeError(f"together with chunks, there is no {', '.join(given)}")
    path = _path(file, "fromfile with chunks reads")
    items = np.dtype(dtype)
    if items.hasobject:
        raise TypeError(f"items of the dtype {items} have Python objects, which are in no file")
    if not items.itemsize:
        raise ValueError(f"items of the dtype {items} have 0 bytes: a file has any number of them")
    count, offset = index(count), index(offset)
    n_items, version = _n_items(path, items, count, offset, strict=strict)
    return _array(path, items, n_items, offset, chunks, direct, version)


def _path(file: Any, what: str) -> str:
    """Return the absolute path: nodes have other working directories."""
    if not is_path(file):
        raise TypeError(f"{what} files by their paths, not {type(file).__name__}")
    # A slash at the end, which abspath and pathlib drop, is what tells a folder.
    return os.path.join(os.getcwd(), os.fsdecode(file))  # noqa: PTH109, PTH118


def _n_items(
    path: str, dtype: np.dtype[Any], count: int, offset: int, *, strict: bool
) -> tuple[int, tuple[int, ...]]:
    """Return how many items to read, and what tells this version of the file from others."""
    status = os.stat(path)  # noqa: PTH116 - a plain path, which every node opens
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"{path!r} is no regular file: its size is not known")
    n_bytes = status.st_size - offset
    if offset < 0 or n_bytes < 0:
        raise ValueError(f"offset {offset} is not in {path!r}, which has {status.st_size} bytes")
    found, n_left_over = divmod(n_bytes, dtype.itemsize)
    if strict and (count > found or (count < 0 and n_left_over)):
        wanted = f"{count} items" if count >= 0 else "whole items"
        raise EOFError(f"expected {wanted} of {dtype}, found {n_bytes} bytes in {path!r}")
    version = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
    return found if count < 0 else min(count, found), version


def _array(
    path: str,
    dtype: np.dtype[Any],
    n_items: int,
    offset: int,
    chunks: Any,
    direct: bool,
    version: tuple[int, ...],
) -> Any:
    array, tokenize = import_module("dask.array"), import_module("dask.base").tokenize
    inner = dtype.shape
    if isinstance(chunks, tuple) and len(chunks) == 1:
        chunks = chunks[0]
    rows = array.core.normalize_chunks((chunks, *inner), (n_items, *inner), dtype=dtype.base)
    read = partial(_read, path, dtype, direct)
    starts = [0, *accumulate(rows[0])]
    name = f"sharedarray-fromfile-{tokenize(path, dtype, offset, rows, direct, version)}"
    graph = {
        (name, i, *(0 for _ in inner)): (read, offset + dtype.itemsize * starts[i], n)
        for i, n in enumerate(rows[0])
    }
    empty = np.empty((0,) * (1 + len(inner)), dtype.base)
    return array.Array(graph, name, rows, meta=empty)


def _read(path: str, dtype: np.dtype[Any], direct: bool, start: int, n_items: int) -> NDArray[Any]:
    """Return items from byte `start` on."""
    block = np.empty(n_items, dtype)
    memory = block.reshape(-1).view(np.uint8) if block.size else np.empty(0, np.uint8)
    # Not blocking, for the path may lead to a FIFO by now.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with numpy_errors():
            n_read = reading.read(descriptor, start, memory, node_pool(), direct=direct)
    finally:
        os.close(descriptor)
    if n_read < memory.size:
        raise EOFError(
            f"expected {memory.size} bytes from byte {start} of {path!r} on, found {n_read}: it "
            "has become shorter since the array was made"
        )
    return block


def tofile(x: Any, file: Any, sep: str, *, pool: Pool | None, progress: Any) -> None:
    """Write a dask array to a file in C order, each block by the task that computes it.

    It returns when all is written and the file of the path replaced. A block that is not whole in
    all axes but the first one is written row by row: ``x.rechunk`` makes long rows of short ones.

    Raises
    ------
    OSError
        From opening and writing, here or on a node, and for dtypes with Python objects.
    TypeError
        For file objects, and if `sep`, `pool` or `progress` is given.
    ValueError
        For devices, FIFOs and folders, and if chunk sizes are unknown.
    """
    check_no_pool(pool)
    if sep or progress:
        raise TypeError("a dask array is written in binary form, and Dask shows the progress")
    path = _path(file, "tofile of a dask array writes")
    if x.dtype.hasobject:
        raise OSError("cannot write object arrays to a file in binary mode")
    if np.isnan(x.size):
        raise ValueError("chunk sizes are unknown: call x.compute_chunk_sizes() first")
    place = place_of(path)
    if place is None:
        raise ValueError(f"{path!r} is no regular file, whose blocks could be written in any order")
    with _new_file(place, x.nbytes) as name:
        _write_blocks(x, name)


@contextmanager
def _new_file(place: str, n_bytes: int) -> Iterator[bytes]:
    """Yield the name of a file of zeros, which replaces `place` when the block has ended."""
    folder, _ = os.path.split(os.fsencode(place))
    name = b"%s/.sharedarray-%s.tmp" % (folder, secrets.token_hex(8).encode())
    try:
        with replacing(place) as descriptor:
            os.ftruncate(descriptor, n_bytes)
            writing.preallocate(descriptor, 0, n_bytes)
            # The nodes open it by this name; it may have none yet (O_TMPFILE).
            source = f"/proc/self/fd/{descriptor}"
            os.link(source, name, src_dir_fd=descriptor, follow_symlinks=True)
            yield name
    finally:
        # Only now: a file whose last name was removed cannot be given one again.
        with suppress(FileNotFoundError, NotADirectoryError):
            os.unlink(name)  # noqa: PTH108


def _write_blocks(x: Any, name: bytes) -> None:
    """Have all blocks written."""
    base, delayed = import_module("dask.base"), import_module("dask.delayed")
    # A name of this call alone: Dask would take the blocks of an earlier call for written.
    key = f"sharedarray-tofile-{base.tokenize(name)}"
    write = partial(_write, name, x.shape)
    starts = [[0, *accumulate(sizes)] for sizes in x.chunks]
    graph: dict[Any, Any] = {}
    for block in product(*(range(len(sizes)) for sizes in x.chunks)):
        origin = [start[i] for start, i in zip(starts, block, strict=True)]
        graph[key, *block] = (partial(write, origin), (x.name, *block))
    graph[key] = (len, list(graph))
    layered = import_module("dask.highlevelgraph").HighLevelGraph
    base.compute(delayed.Delayed(key, layered.from_collections(key, graph, dependencies=[x])))


def _write(name: bytes, shape: Sequence[int], origin: Sequence[int], block: Any) -> int:
    """Write a block of an array of this shape; return how many bytes it has."""
    block = np.asarray(block)
    if not block.size:
        return 0
    # The part of this axis that the block has lies in a row, with all axes after it.
    axis = max(0, block.ndim - 1)
    while axis and block.shape[axis] == shape[axis]:
        axis -= 1
    strides = [block.itemsize * int(np.prod(shape[i + 1 :])) for i in range(block.ndim)]
    first = sum(map(mul, origin, strides))
    pool = Caller() if axis else node_pool()
    descriptor = os.open(name, os.O_WRONLY)
    try:
        with numpy_errors():
            for row in np.ndindex(block.shape[:axis]):
                place = first + sum(map(mul, row, strides))
                writing.write(block[row], descriptor, place, pool)
    finally:
        os.close(descriptor)
    return int(block.nbytes)
