"""What ufuncs and assignments to a `SharedArray` pass on to NumPy, and NumPy's warnings on the way.

NumPy warns at the innermost Python frame. Where that is one of ours, its messages are collected by
``np.errstate(all="log", call=Flags())`` instead, and `report` does with them what the caller's
`numpy.errstate` says, at the caller's line.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from sharedarray_ops.ufuncs import Flags

try:
    from numpy._core.umath import _extobj_contextvar, _make_extobj
except ImportError:  # a future NumPy whose errstate works in another way
    _HAS_SETTINGS = False
else:
    _HAS_SETTINGS = True

__all__ = [
    "LEAST",
    "QUIET",
    "Flags",
    "as_given",
    "begin_logging",
    "end_logging",
    "may_be_large",
    "plain_keywords",
    "report",
    "set_items",
]

# Elements from which on a ufunc may run in parallel; `functions.ufuncs` fills it in.
LEAST: dict[Any, int] = {}

# Ufuncs that raise no floating point flag for operands of any dtype: 1 us less for each call.
QUIET = frozenset(
    (
        *(np.less, np.less_equal, np.equal, np.not_equal, np.greater, np.greater_equal),
        *(np.logical_and, np.logical_or, np.logical_xor, np.logical_not, np.signbit),
        *(np.bitwise_and, np.bitwise_or, np.bitwise_xor, np.invert, np.left_shift, np.right_shift),
        *(np.isnan, np.isinf, np.isfinite, np.isnat),
    )
)

# NumPy's words -> the name of the setting, and the bit of the flag that a callback gets.
_KINDS = {
    "divide by zero": ("divide", 1),
    "overflow": ("over", 2),
    "underflow": ("under", 4),
    "invalid value": ("invalid", 8),
}


def begin_logging(flags: Flags) -> Any:
    """Do what entering ``np.errstate(all="log", call=flags)`` does, in a quarter of its 1 us."""
    if not _HAS_SETTINGS:
        settings = np.errstate(all="log", call=flags)
        settings.__enter__()
        return settings
    return _extobj_contextvar.set(_make_extobj(all="log", call=flags))


def end_logging(begun: Any) -> None:
    """Restore the settings from before `begin_logging`, which returned `begun`."""
    if not _HAS_SETTINGS:
        begun.__exit__(None, None, None)
    else:
        _extobj_contextvar.reset(begun)


def report(lines: Iterable[str], stacklevel: int) -> None:
    """Warn, raise, print or call for what NumPy logged, as the caller's `numpy.errstate` says.

    Parameters
    ----------
    lines : iterable of str
        As NumPy logs them: "Warning: overflow encountered in exp" and a newline.
    stacklevel : int
        Whose line a warning names, as for `warnings.warn`: 1 is the caller of this function.

    Raises
    ------
    FloatingPointError
        Where the setting is 'raise'.
    NameError
        Where the setting is 'call' or 'log' and there is nothing to call.
    """
    found = []
    for line in lines:
        kind, _, name = line.removeprefix("Warning: ").rstrip("\n").partition(" encountered in ")
        found.append((kind, name, line))
    if not found:
        return
    bits = sum({_KINDS[kind][1] for kind, _, _ in found})
    settings: Any = np.geterr()
    for kind, name, line in found:
        setting = settings[_KINDS[kind][0]]
        text = f"{kind} encountered in {name}"
        if setting == "warn":
            warnings.warn(text, RuntimeWarning, stacklevel=stacklevel + 1)
        elif setting == "raise":
            raise FloatingPointError(text)
        elif setting == "print":
            sys.stderr.write(line)
        elif setting in ("call", "log"):
            _call(kind, name, line, bits, is_log=setting == "log")


def _call(kind: str, name: str, line: str, bits: int, *, is_log: bool) -> None:
    callback: Any = np.geterrcall()
    if callback is None:  # NumPy's own texts, blanks included
        raise NameError(
            f"log specified for {kind} (in {name}) but no object with write method found."
            if is_log
            else f"python callback specified for {kind} (in  {name}) but no function found."
        )
    if is_log:
        callback.write(line)
    else:
        callback(kind, bits)


def may_be_large(ufunc: Any, method: str, inputs: Sequence[Any], largest: int) -> bool:
    """Return whether a call may be worth workers, given the size of its largest input."""
    least = LEAST.get(ufunc)
    if least is None:
        return False
    if largest >= least or method == "outer":
        return True
    shape = None  # broadcast inputs make a result of more elements than any of them has
    for x in inputs:
        if isinstance(x, np.ndarray):
            if shape is not None and x.shape != shape:
                return True
            shape = x.shape
    return False


def plain_keywords(
    kwargs: dict[str, Any], method: str, shared: type[np.ndarray]
) -> tuple[Any, ...]:
    """Replace arrays of class `shared` in a ufunc's keyword arguments by plain views.

    Returns
    -------
    tuple
        The outputs as they were given; without one, nothing.
    """
    outs: tuple[Any, ...] = kwargs.get("out", ())
    if outs:
        kwargs["out"] = tuple([x.view(np.ndarray) if isinstance(x, shared) else x for x in outs])
    if "where" in kwargs:
        if isinstance(kwargs["where"], shared):
            kwargs["where"] = kwargs["where"].view(np.ndarray)
        # NumPy leaves out `out=None`, and would warn that `where` comes without an output.
        if method == "__call__":
            kwargs.setdefault("out", None)
    return outs


def as_given(result: Any, given: tuple[Any, ...], plain: tuple[Any, ...]) -> Any:
    """Return a ufunc's result with the outputs that were given in place of their plain views."""
    if result is plain[0]:
        return given[0]
    if isinstance(result, tuple):
        return tuple([as_given(item, given, plain) for item in result])
    return next((g for g, p in zip(given, plain, strict=True) if p is result), result)


def set_items(
    array: np.ndarray,
    index: Any,
    value: Any,
    ours: Callable[..., Any] | None,
    *,
    is_quiet: bool = False,
    original: Callable[..., Any] | None = None,
) -> Flags:
    """Do ``array[index] = value`` and return NumPy's messages.

    Parameters
    ----------
    array, index, value
        As for `ndarray.__setitem__`.
    ours : callable or None
        Tried first; returns NotImplemented for what it leaves to NumPy.
    is_quiet : bool
        Whether no flag can be raised.
    original : callable, optional
        A method to call with the value in place of `ndarray.__setitem__`.
    """
    flags = Flags()
    if ours is not None and ours(flags, array, index, value) is not NotImplemented:
        return flags
    if is_quiet:
        np.ndarray.__setitem__(array, index, value)
        return flags
    with np.errstate(all="log", call=flags):
        if original is None:
            np.ndarray.__setitem__(array, index, value)
        else:
            original(array, value)
    return flags
