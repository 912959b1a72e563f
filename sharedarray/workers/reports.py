"""What coordinator and workers send each other: claims down, results and failures up."""

from __future__ import annotations

import io
import linecache
import pickle
import re
import signal
from functools import partial
from traceback import format_exception, format_exception_only, format_tb
from typing import Any, NamedTuple

from sharedarray.errors import LostExceptionType
from sharedarray.memory.pickling import REFERENCE, Pickler

__all__ = [
    "Claim",
    "Failure",
    "Results",
    "failure_to_load",
    "portable",
    "text_of_traceback",
    "with_source",
]

# A frame in the text of a traceback, and the line after it, in an exception group behind bars.
_FRAME = re.compile(r"^((?:[ |+-]*) )File \"(.+)\", line (\d+), in .*\n(?!\1  )", re.MULTILINE)


class Claim(NamedTuple):
    """Items ``start`` to ``stop`` of a map, which one worker runs in order.

    `items` is None where the worker takes them from the map's own sequence.
    """

    start: int
    stop: int
    items: list[Any] | None = None


class Results(NamedTuple):
    """The results of a claim's items, from `start` on.

    `began` and `ended` are seconds of `time.perf_counter`, which all processes of a machine share.
    """

    start: int
    values: list[Any]
    began: float
    ended: float


class Failure(NamedTuple):
    """The exception that an item raised, and its traceback as text.

    `lost_type` names the class of the exception where `reason` only stands for it, else is empty.
    """

    reason: BaseException
    traceback: str
    lost_type: str = ""

    @property
    def warning(self) -> LostExceptionType | None:
        """Return the warning that the class of the exception is lost, None if it is not."""
        if not self.lost_type:
            return None
        return LostExceptionType(
            f"an exception of class {self.lost_type} does not pickle and unpickle: the reason "
            "given is an Exception with its text"
        )


def portable(failure: Failure) -> Failure:
    """Return a failure that pickles and unpickles: with another reason, if this one does not."""
    reason = failure.reason
    try:
        with io.BytesIO() as file:
            Pickler(file, REFERENCE).dump(reason)
            copy = pickle.loads(file.getvalue())
    # Pickling runs any code of the exception: whatever it raises, it has failed.
    except BaseException:
        copy = None
    if type(copy) is type(reason):
        return failure
    name = type(reason).__qualname__
    return failure._replace(reason=Exception(_text_of(reason)), lost_type=name)


def text_of_traceback(error: BaseException) -> str:
    """Return the traceback as text, without the caller's frame."""
    frames = error.__traceback__
    inner = frames.tb_next if frames is not None else None
    try:
        return "".join(format_exception(type(error), error, inner or frames))
    except BaseException:  # an exception may be of any class, and its attributes run any code
        return f"{''.join(format_tb(inner or frames))}{type(error).__name__}: <unprintable>"


def with_source(text: str) -> str:
    """Return the text of a traceback with the source lines that a worker of another engine lacks.

    It has none of what an interpreter or a notebook has defined, nor of files that are not on its
    machine.
    """

    def with_line(frame: re.Match[str]) -> str:
        line = linecache.getline(frame[2], int(frame[3])).strip()
        return f"{frame[0]}{frame[1]}  {line}\n" if line else frame[0]

    return _FRAME.sub(with_line, text)


def failure_to_load(error: BaseException) -> Failure:
    """Return the report of a result that has failed to unpickle, which runs any code.

    What a signal handler has raised meanwhile is raised: it has nothing to do with the result.
    """
    if isinstance(error, KeyboardInterrupt) or _is_of_handler(error):
        raise error
    return Failure(error, text_of_traceback(error))


def _is_of_handler(error: BaseException) -> bool:
    """Return whether a signal handler has raised an exception: the traceback has its code.

    A handler that has replaced itself before it raised is not found.
    """
    handlers = filter(callable, map(signal.getsignal, signal.valid_signals()))
    codes = {_code_of(handler) for handler in handlers} - {None}
    frames = error.__traceback__
    while frames is not None:
        if frames.tb_frame.f_code in codes:
            return True
        frames = frames.tb_next
    return False


def _code_of(handler: Any) -> Any:
    """Return the code object of a handler, None if it is not written in Python."""
    while isinstance(handler, partial):
        handler = handler.func
    return getattr(handler, "__code__", getattr(type(handler).__call__, "__code__", None))


def _text_of(error: BaseException) -> str:
    try:
        return "".join(format_exception_only(error)).rstrip()
    except BaseException:  # see above
        return f"{type(error).__name__}: <unprintable>"
