"""The command line: ``python -m sharedarray``.

=========  ========================================================================================
exit code  meaning
=========  ========================================================================================
0          done
1          a result of `demo` differs from NumPy's, a benchmark of `bench` failed
2          the command cannot do what it was asked to; one line on standard error says why
130        Ctrl-C
141        the reader of standard output is gone
=========  ========================================================================================
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
import warnings
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from importlib import metadata
from typing import Any, NoReturn

import numpy as np

from sharedarray import config
from sharedarray.cli import bench, commands, demo

__all__ = ["main", "script"]

PROGRAM = "python -m sharedarray"
MAX_WORKERS = 4096  # more is a slip of the finger: each one is a thread


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments; by default those of the process.

    Returns
    -------
    int
        The exit code.

    Raises
    ------
    SystemExit
        For ``--help``, ``--version`` and arguments that are none.

    Examples
    --------
    >>> from sharedarray.cli.main import main
    >>> main(["info", "--workers", "3"])
    sharedarray ...
    workers            3 (from num_workers)
    ...
    0
    """
    try:
        try:
            return _run(argv)
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()  # here, where a failure still has an exit code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 141
    except (commands.Refused, MemoryError) as error:
        _complain(f"error: {str(error) or type(error).__name__}")
        return 2
    except OSError as error:
        _complain(f"error: {error.strerror or error}")
        return 2
    except RuntimeError as error:
        if str(error) != "can't start new thread":  # it has no class of its own
            raise
        _complain("error: the system starts no more threads: give fewer --workers")
        return 2


def _run(argv: Sequence[str] | None) -> int:
    parser = _parser()
    args = parser.parse_args(argv)
    if args.command is None:
        parser.print_help(sys.stderr)
        return 2
    with nullcontext() if args.workers is None else config.num_workers(args.workers):
        return int(args.run(args))


def _info(args: argparse.Namespace) -> int:
    print(_version())
    config.show_config()
    return 0


def _bench(args: argparse.Namespace) -> int:
    return bench.bench(args, _version())


def _complain(message: str) -> None:
    """Print one line on standard error, whatever the message."""
    with suppress(OSError):
        print(f"{PROGRAM}:", *message.splitlines(), file=sys.stderr)


def _version() -> str:
    try:
        return f"sharedarray {metadata.version('sharedarray-toolkit')}"
    except metadata.PackageNotFoundError:  # run from a folder, without pip
        return "sharedarray, not installed"


class _Parser(argparse.ArgumentParser):
    """A parser that says in one line what is wrong."""

    def error(self, message: str) -> NoReturn:
        _complain(f"error: {message}")
        self.exit(2)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog=PROGRAM,
        description="Sort, argsort and sum large binary files in shared memory, in parallel.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=_version())
    children = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, run, summary, options in (
        ("argsort", commands.argsort, "write the indices that sort a file", INPUT | ORDER),
        ("sort", commands.sort, "write the elements of a file in order", INPUT | SORTED),
        ("sum", commands.sum, "print the sum of the elements of a file", INPUT),
        ("demo", demo.demo, "compare NumPy and sharedarray on a sample, in one table", SAMPLE),
        ("bench", _bench, "measure what is promised about speed, in one table", FIGURES),
        ("info", _info, "print what decides how fast this machine is", {}),
    ):
        child = children.add_parser(name, help=summary, description=summary, allow_abbrev=False)
        child.set_defaults(run=run)
        for flags, settings in (options | WORKERS).items():
            child.add_argument(*flags.split(), **settings)
    return parser


def _number(smallest: int, largest: int | None = None) -> Any:
    """Return what turns an argument into an integer within limits."""
    limits = f"of {smallest} or more" if largest is None else f"from {smallest} to {largest}"

    def number(text: str) -> int:
        with suppress(ValueError):
            value = int(text)
            if smallest <= value and (largest is None or value <= largest):
                return value
        raise argparse.ArgumentTypeError(f"{text!r} is no integer {limits}")

    return number


def _pattern(text: str) -> str:
    """Return a regular expression as it is, if it is one."""
    try:
        re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no regular expression: {error}") from None
    return text


def _dtype(text: str) -> np.dtype[Any]:
    """Return the dtype that an argument names, if files can hold it."""
    try:
        with warnings.catch_warnings(action="ignore"):  # about deprecated spellings
            dtype = np.dtype(text)
    except (TypeError, ValueError, SyntaxError):
        raise argparse.ArgumentTypeError(f"NumPy knows no dtype {text!r}") from None
    if dtype.hasobject:
        raise argparse.ArgumentTypeError(f"a file cannot hold the Python objects of {text!r}")
    if dtype.itemsize == 0 or dtype.subdtype is not None:
        raise argparse.ArgumentTypeError(f"{text!r} is no dtype of single elements with a size")
    return dtype


# The options of the commands: flags -> what argparse is told.
Options = dict[str, dict[str, Any]]

INPUT: Options = {
    "file": {"metavar": "FILE", "help": "elements one after the other, as in memory"},
    "--dtype": {"type": _dtype, "required": True, "help": "of the elements: f8, <i4 ..."},
    "--offset": {
        "type": _number(0),
        "default": 0,
        "metavar": "BYTES",
        "help": "where they begin, default 0",
    },
    "--count": {"type": _number(0), "metavar": "N", "help": "how many, by default all to the end"},
}
ORDER: Options = {
    "-o --output": {"metavar": "ORDER.npy", "required": True, "help": "what to write"},
}
SORTED: Options = {
    "-o --output": {"metavar": "OUT.bin", "required": True, "help": "what to write"},
}
SAMPLE: Options = {
    "--count": {
        "type": _number(1),
        "default": 20_000_000,
        "metavar": "N",
        "help": "elements, default %(default)s",
    },
    "--repeat": {
        "type": _number(1),
        "default": 3,
        "metavar": "N",
        "help": "runs, of which the best counts, default %(default)s",
    },
}
FIGURES: Options = {
    "--quick": {"action": "store_true", "help": "take smaller sizes: minutes instead of a quarter"},
    "--only": {
        "type": _pattern,
        "default": "",
        "metavar": "PATTERN",
        "help": "those with this regular expression in their name or that of the benchmark",
    },
    "--plot": {"metavar": "OUT.png", "help": "draw it as well; needs matplotlib"},
    "--benchmarks": {
        "metavar": "FOLDER",
        "help": "the folder asv_bench of a clone, by default that of the clone this is run from",
    },
}
WORKERS: Options = {
    "-w --workers": {
        "type": _number(0, MAX_WORKERS),
        "metavar": "N",
        "help": "number of workers; 0 runs everything in one thread",
    },
}


def _end(number: int, frame: object) -> NoReturn:
    """End by an exception, which removes what is half-written on its way."""
    sys.exit(128 + number)


def _show_warning(message: Any, *where: Any) -> None:
    _complain(f"warning: {message}")


def script() -> int:
    """Run the command of this process: what touches the whole process is here, not in `main`."""
    warnings.showwarning = _show_warning  # type: ignore[assignment]  # uses the message alone
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:  # nohup ignores it
            signal.signal(number, _end)
    code = main()
    if code:
        # What could not be printed is not tried again at the end of the interpreter.
        with suppress(OSError, AttributeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code
