"""Floating point flags that NumPy noted where its warning would not name the user's line.

NumPy warns at the innermost Python frame. Where that is one of ours, its words are collected by
``np.errstate(all="log", call=Flags())`` instead, and `report` does with them what the caller's
`numpy.errstate` says, at the caller's line.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np

try:
    from numpy._core.umath import _extobj_contextvar, _make_extobj
except ImportError:  # a NumPy to come, whose errstate does it in another way
    _HAS_SETTINGS = False
else:
    _HAS_SETTINGS = True

__all__ = ["QUIET", "Flags", "begin_logging", "end_logging", "report"]

# NumPy's words -> the name of the setting, and the bit of the flag that a callback gets.
_KINDS = {
    "divide by zero": ("divide", 1),
    "overflow": ("over", 2),
    "underflow": ("under", 4),
    "invalid value": ("invalid", 8),
}

# What never has a flag with operands of any dtype: 1 us less for each call.
QUIET = frozenset(
    (
        *(np.less, np.less_equal, np.equal, np.not_equal, np.greater, np.greater_equal),
        *(np.logical_and, np.logical_or, np.logical_xor, np.logical_not, np.signbit),
        *(np.bitwise_and, np.bitwise_or, np.bitwise_xor, np.invert, np.left_shift, np.right_shift),
        *(np.isnan, np.isinf, np.isfinite, np.isnat),
    )
)


class Flags(list[str]):
    """A list that ``np.errstate(call=...)`` can log to."""

    __slots__ = ()
    write = list.append


def begin_logging(flags: Flags) -> Any:
    """Do what entering ``np.errstate(all="log", call=flags)`` does, in a quarter of its 1 us."""
    if not _HAS_SETTINGS:
        settings = np.errstate(all="log", call=flags)
        settings.__enter__()
        return settings
    return _extobj_contextvar.set(_make_extobj(all="log", call=flags))


def end_logging(begun: Any) -> None:
    """Go back to the settings before `begin_logging`, which has returned `begun`."""
    if not _HAS_SETTINGS:
        begun.__exit__(None, None, None)
    else:
        _extobj_contextvar.reset(begun)


def report(lines: Iterable[str], stacklevel: int) -> None:
    """Do what `numpy.errstate` of the caller says.

    Parameters
    ----------
    lines : iterable of str
        As NumPy logs them: "Warning: overflow encountered in exp" and a newline.
    stacklevel : int
        Whose line a warning names, as for `warnings.warn`: 1 is who calls this function.

    Raises
    ------
    FloatingPointError
        Where the setting is 'raise'.
    NameError
        Where the setting is 'call' or 'log' and there is nothing to call.
    """
    found = [_parsed(line) for line in lines]
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


def _parsed(line: str) -> tuple[str, str, str]:
    kind, _, name = line.removeprefix("Warning: ").rstrip("\n").partition(" encountered in ")
    return kind, name, line


def _call(kind: str, name: str, line: str, bits: int, *, is_log: bool) -> None:
    callback: Any = np.geterrcall()
    if callback is None:
        what = (
            f"log specified for {kind} (in {name}) but no object with write method found."
            if is_log
            else f"python callback specified for {kind} (in  {name}) but no function found."
        )
        raise NameError(what)
    if is_log:
        callback.write(line)
    else:
        callback(kind, bits)
