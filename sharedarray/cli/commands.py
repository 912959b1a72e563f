"""The commands that work on files: argsort, sort, sum.

::

    input, checked --> read --> compute --> write beside --> rename over the output

The output and the space for it are there before the work starts. Where a command ends early, what
was at the place of the output is still there, and nothing else is.
"""

from __future__ import annotations

import argparse
import errno
import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sharedarray import config, functions, machine
from sharedarray.files import fromfile
from sharedarray.memory.array import SharedArray
from sharedarray_ops.files.replacing import place_of, replacing
from sharedarray_ops.files.writing import preallocate

__all__ = ["Refused", "argsort", "check_memory", "sort", "sum"]

# Bytes; between two writes of this size a Ctrl-C is heard.
WRITE = 64 << 20

PARTS = "work on parts of the file, by --offset and --count"


class Refused(Exception):  # noqa: N818 - what the command was, not what it met
    """Say in one line why a command cannot do what it was asked to."""


def argsort(args: argparse.Namespace) -> int:
    """Write the indices that sort a file as a .npy file; return the exit code."""
    with _opened(args) as source:
        header = _npy_header(source.count, np.dtype(np.intp))
        nbytes = len(header) + source.count * np.dtype(np.intp).itemsize
        check_memory(source.nbytes + nbytes, PARTS)
        _check_other_file(args.output, source, "the order would replace the data")
        with _replacing(args.output, nbytes) as output:
            report = Report(source)
            a = source.read()
            report.lap("read", source.nbytes)
            order = functions.argsort(a)
            report.lap("argsort", source.nbytes)
            _write(output, memoryview(header))
            _write(output, _bytes(order))
        report.lap("write", nbytes)
    report.print()
    return 0


def sort(args: argparse.Namespace) -> int:
    """Write the sorted elements of a file as bytes; return the exit code."""
    with _opened(args) as source:
        check_memory(source.nbytes, PARTS)
        if not source.is_whole_file:
            _check_other_file(args.output, source, "what is not sorted would be lost")
        with _replacing(args.output, source.nbytes) as output:
            report = Report(source)
            a = source.read()
            report.lap("read", source.nbytes)
            a.sort()
            report.lap("sort", source.nbytes)
            _write(output, _bytes(a))
        report.lap("write", source.nbytes)
    report.print()
    return 0


def sum(args: argparse.Namespace) -> int:
    """Print the sum of the elements of a file; return the exit code."""
    with _opened(args) as source:
        _check_summable(source.dtype)
        check_memory(source.nbytes, PARTS)
        report = Report(source)
        a = source.read()
        report.lap("read", source.nbytes)
        total = functions.sum(a)
        report.lap("sum", source.nbytes)
    report.print()
    print(f"{'result':<8}  {total!s}")  # str() of a NumPy scalar has the digits of its repr()
    return 0


@dataclass(frozen=True)
class Source:
    """What is to be read.

    Attributes
    ----------
    file : io.FileIO
        The input, open.
    name : str
        Its name as messages show it.
    dtype : dtype
        Of one element.
    offset : int
        Where they begin, in bytes.
    count : int
        How many there are to read.
    """

    file: io.FileIO
    name: str
    dtype: np.dtype[Any]
    offset: int
    count: int

    @property
    def nbytes(self) -> int:
        """Return how many bytes there are to read."""
        return self.count * self.dtype.itemsize

    @property
    def is_whole_file(self) -> bool:
        """Return whether nothing of the file is left out."""
        return self.nbytes == os.fstat(self.file.fileno()).st_size

    def read(self) -> SharedArray:
        """Return the elements."""
        try:
            return fromfile.fromfile(
                self.file, self.dtype, self.count, offset=self.offset, strict=True
            )
        except OSError as error:
            raise Refused(f"cannot read {self.name}: {error.strerror}") from error
        except EOFError as error:
            raise Refused(f"{self.name} became shorter while it was read") from error


class Report:
    """The seconds and the rates of a command, step by step."""

    def __init__(self, source: Source) -> None:
        self._lines = [
            f"{source.count:,} elements of {source.dtype}, {source.nbytes / 1e9:.3f} GB, "
            f"workers: {config.get_num_workers()}"
        ]
        self._began = perf_counter()

    def lap(self, step: str, nbytes: int) -> None:
        """End a step that went over so many bytes."""
        now = perf_counter()
        seconds = now - self._began
        self._lines.append(f"{step:<8}{seconds:9.3f} s{nbytes / 1e9 / seconds:9.2f} GB/s")
        self._began = now

    def print(self) -> None:
        """Print all of it."""
        print("\n".join(self._lines))


@contextmanager
def _opened(args: argparse.Namespace) -> Iterator[Source]:
    """Open the input of a command and find out what of it is to be read."""
    path, name = Path(args.file), repr(args.file)
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # asked first: to open a FIFO would wait
            kind = "a directory" if path.is_dir() else "not a regular file"
            raise Refused(f"cannot read {name}: it is {kind}")
        file = path.open("rb", buffering=0)
    except OSError as error:
        raise Refused(f"cannot read {name}: {error.strerror}") from error
    with file:
        size = os.fstat(file.fileno()).st_size
        count = _count(name, size, args)
        yield Source(file, name, args.dtype, args.offset, count)


def _count(name: str, size: int, args: argparse.Namespace) -> int:
    """Return how many elements of a file of `size` bytes are to be read."""
    if args.offset > size:
        raise Refused(f"offset {args.offset} is beyond the end of {name}, which has {size} bytes")
    itemsize = args.dtype.itemsize
    n_items, n_left_over = divmod(size - args.offset, itemsize)
    behind = f" from byte {args.offset} on" if args.offset else ""
    if args.count is None and n_left_over:
        raise Refused(
            f"{name} has {size - args.offset} bytes{behind}, which is no multiple of the "
            f"{itemsize} bytes of {args.dtype}: give another --dtype, --offset or --count"
        )
    if args.count is not None and args.count > n_items:
        raise Refused(
            f"{name} has {n_items} elements of {args.dtype}{behind}, fewer than the {args.count} "
            "of --count"
        )
    return n_items if args.count is None else int(args.count)


def _check_summable(dtype: np.dtype[Any]) -> None:
    try:
        np.add.reduce(np.empty(0, dtype))
    except TypeError as error:
        raise Refused(f"elements of {dtype} cannot be summed") from error


def check_memory(nbytes: int, advice: str) -> None:
    """Refuse what the kernel would end by killing the process."""
    try:
        available = machine.total_memory()
    except NotImplementedError:
        return
    if nbytes > available:
        gib = 2**30
        raise Refused(
            f"this takes {nbytes / gib:.1f} GiB of memory, there are {available / gib:.1f} GiB: "
            f"{advice}"
        )


def _check_other_file(output: str, source: Source, why: str) -> None:
    try:
        is_same = os.path.samestat(Path(output).stat(), os.fstat(source.file.fileno()))
    except OSError:  # no output yet, or one that cannot be written, which is found out later
        return
    if is_same:
        raise Refused(f"cannot write {output!r}: it is the input, and {why}")


def _npy_header(count: int, dtype: np.dtype[Any]) -> bytes:
    """Return what precedes the elements in a .npy file."""
    header = io.BytesIO()
    descr = np.lib.format.dtype_to_descr(dtype)
    np.lib.format.write_array_header_1_0(
        header, {"descr": descr, "fortran_order": False, "shape": (count,)}
    )
    return header.getvalue()


@contextmanager
def _replacing(output: str, nbytes: int) -> Iterator[io.FileIO]:
    """Open a file of `nbytes` that takes the place of the output where the block succeeds."""
    try:
        with (
            replacing(_place(output)) as descriptor,
            io.FileIO(descriptor, "w", closefd=False) as file,
        ):
            preallocate(descriptor, 0, nbytes)  # before the work starts
            yield file
            os.fsync(descriptor)  # a disk may say only now that it has no room
    except OSError as error:
        raise Refused(f"cannot write {output!r}: {error.strerror}") from error


def _place(output: str) -> str:
    """Return the place of the file that `output` leads to."""
    place = place_of(output)
    if place is not None:
        return place
    os.stat(output)  # noqa: PTH116 - an empty path is no folder here
    if Path(output).is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), output)
    # A rename would put a file in the place of the device.
    raise Refused(f"cannot write {output!r}: it is not a regular file")


def _bytes(a: NDArray[Any]) -> memoryview:
    """Return the memory of a contiguous array."""
    return a.view(np.ndarray).view(np.uint8).data


def _write(file: io.FileIO, data: memoryview) -> None:
    while data:
        data = data[file.write(data[:WRITE]) :]
