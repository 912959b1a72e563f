"""The command demo: NumPy and sharedarray side by side, on the same data, in one table."""

from __future__ import annotations

import argparse
import platform
import shutil
import tempfile
from collections.abc import Callable
from time import perf_counter
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sharedarray import config, functions
from sharedarray.cli.commands import Refused, check_memory
from sharedarray.files import fromfile
from sharedarray.memory import creation

__all__ = ["demo"]

# Elements that are generated, or compared, at a time: the scratch stays small beside the sample.
BLOCK = 1 << 20

NOTES = """\
Best of {repeat} runs, by turns, the file in the page cache. sort is in place; copying is not timed.
equal: the same bits. For argsort: the stable order, of which there is one; values ascend, and so
do the indices of equal values. NumPy's time for argsort is that of its default, unstable kind."""

# Arrays of the size of the sample that are there at the same time.
N_ARRAYS = 7


class Operation(NamedTuple):
    """One operation, done by both.

    Attributes
    ----------
    name : str
        As the table shows it.
    numpy, shared : callable
        What is timed.
    equal : callable
        Whether the two results are what they have to be.
    prepare : callable
        Runs before the two, untimed.
    """

    name: str
    numpy: Callable[[], Any]
    shared: Callable[[], Any]
    equal: Callable[[Any, Any], bool]
    prepare: Callable[[], None] = lambda: None


class Row(NamedTuple):
    """One line of the table; times in seconds."""

    name: str
    numpy: float
    shared: float
    is_equal: bool


def demo(args: argparse.Namespace) -> int:
    """Print the table; return 1 if a result differs from NumPy's, else 0."""
    check_memory(args.count * 8 * N_ARRAYS, "give a smaller --count")
    _check_room(args.count * 8)
    # Without a name, so that nothing is left of it whatever ends the process.
    with tempfile.TemporaryFile(prefix="sharedarray-demo-", buffering=0) as file:
        try:
            _write_sample(file, args.count)
        except OSError as error:
            folder = tempfile.gettempdir()
            raise Refused(f"cannot write a sample in {folder!r}: {error.strerror}") from error
        print(
            f"{args.count:,} float64 ({args.count * 8 / 1e9:.2f} GB), "
            f"workers: {config.get_num_workers()}, "
            f"NumPy {np.__version__}, Python {platform.python_version()}\n"
        )
        print(f"{'operation':<10}{'NumPy s':>10}{'sharedarray s':>16}{'ratio':>9}   equal")
        rows = []
        for operation in operations(file):
            rows.append(row := compare(operation, args.repeat))
            print(
                f"{row.name:<10}{row.numpy:>10.3f}{row.shared:>16.3f}"
                f"{row.numpy / row.shared:>8.1f}x   {'yes' if row.is_equal else 'NO'}",
                flush=True,
            )
    print("\n" + NOTES.format(repeat=args.repeat))
    return 0 if all(row.is_equal for row in rows) else 1


def operations(file: IO[bytes]) -> list[Operation]:
    """Return what is compared, on the float64 elements of an open file."""

    def rewound() -> IO[bytes]:
        file.seek(0)
        return file

    data = fromfile.fromfile(rewound())
    private = np.array(data)
    scratch, shared_scratch = np.empty_like(private), creation.empty_like(data)

    def unsort() -> None:
        scratch[:] = private
        shared_scratch[:] = private

    def sort(a: NDArray[Any]) -> NDArray[Any]:
        a.sort()
        return a

    return [
        Operation(
            "fromfile",
            lambda: np.fromfile(rewound()),
            lambda: fromfile.fromfile(rewound()),
            same_bits,
        ),
        Operation(
            "argsort",
            lambda: np.argsort(private),
            lambda: functions.argsort(data),
            lambda _, order: is_stable_argsort(private, order),
        ),
        Operation("sort", lambda: sort(scratch), lambda: sort(shared_scratch), same_bits, unsort),
        Operation("sum", lambda: np.sum(private), lambda: functions.sum(data), same_bits),
    ]


def compare(operation: Operation, repeat: int) -> Row:
    """Time both by turns; return the best times, and whether the results were equal each time."""
    numpy_times, shared_times, is_equal = [], [], True
    for _ in range(repeat):
        operation.prepare()
        expected, seconds = _timed(operation.numpy)
        numpy_times.append(seconds)
        result, seconds = _timed(operation.shared)
        shared_times.append(seconds)
        is_equal = is_equal and operation.equal(expected, result)
        del expected, result  # before the next run, which may have the memory again
    return Row(operation.name, min(numpy_times), min(shared_times), is_equal)


def same_bits(expected: Any, result: Any) -> bool:
    """Return whether two arrays or scalars agree in dtype, shape and every bit."""
    expected, result = np.asarray(expected), np.asarray(result)
    if (expected.dtype, expected.shape) != (result.dtype, result.shape):
        return False
    words = f"u{expected.dtype.itemsize}"
    return np.array_equal(expected.view(words), result.view(words))


def is_stable_argsort(a: NDArray[Any], order: NDArray[np.intp]) -> bool:
    """Return whether `order` is ``np.argsort(a, kind="stable")``, for `a` without NaN.

    There is one permutation that puts the values in order and keeps that of equal values. To check
    for these three properties takes a tenth of the time of NumPy's stable argsort.
    """
    order = np.asarray(order)
    if order.shape != a.shape or order.dtype != np.intp or not _is_permutation(order):
        return False
    for i in range(0, order.size, BLOCK):
        index = order[max(0, i - 1) : i + BLOCK]
        values = a[index]
        ascends = values[:-1] < values[1:]
        ties = (values[:-1] == values[1:]) & (index[:-1] < index[1:])
        if not (ascends | ties).all():
            return False
    return True


def _is_permutation(order: NDArray[np.intp]) -> bool:
    if order.size and not 0 <= int(order.min()) <= int(order.max()) < order.size:
        return False
    seen = np.zeros(order.size, np.bool_)
    seen[order] = True
    return bool(seen.all())


def _timed(function: Callable[[], Any]) -> tuple[Any, float]:
    began = perf_counter()
    result = function()
    return result, perf_counter() - began


def _check_room(nbytes: int) -> None:
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if nbytes > free:
        raise Refused(
            f"the sample takes {nbytes / 1e9:.2f} GB, and {folder!r} has {free / 1e9:.2f} GB free: "
            "give a smaller --count, or another folder by the environment variable TMPDIR"
        )


def _write_sample(file: IO[bytes], count: int) -> None:
    """Write float64 elements, uniform in [0, 1)."""
    random = np.random.default_rng(20)
    for i in range(0, count, BLOCK):
        data = random.random(min(BLOCK, count - i)).view(np.uint8).data
        while data:
            data = data[file.write(data) :]
