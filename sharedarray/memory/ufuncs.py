"""What ufuncs and assignment to a SharedArray pass on to NumPy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sharedarray.memory.flags import Flags

__all__ = ["LEAST", "as_given", "may_be_large", "plain_keywords", "set_items"]

# Elements from which on a ufunc may have a parallel way, as `functions` says.
LEAST: dict[Any, int] = {}


def may_be_large(ufunc: Any, method: str, inputs: Sequence[Any], largest: int) -> bool:
    """Return whether it pays to look at a call more closely, whose largest input has that size."""
    least = LEAST.get(ufunc)
    if least is None:
        return False
    if largest >= least or method == "outer":
        return True
    shape = None  # of rows and columns the result has more elements than any of them
    for x in inputs:
        if isinstance(x, np.ndarray):
            if shape is not None and x.shape != shape:
                return True
            shape = x.shape
    return False


def plain_keywords(
    kwargs: dict[str, Any], method: str, shared: type[np.ndarray]
) -> tuple[Any, ...]:
    """Put plain arrays for all of class `shared` among the keyword arguments of a ufunc.

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
        # NumPy does not pass on that it got None, and would complain of an output left out.
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
    """Do ``array[index] = value``.

    Parameters
    ----------
    array, index, value
        As for `ndarray.__setitem__`.
    ours : callable or None
        What is asked first, and returns NotImplemented where it is left to NumPy.
    is_quiet : bool
        Whether there is nothing to be warned of.
    original : callable, optional
        A method to call with the value instead.

    Returns
    -------
    Flags
        What there is to be warned of.
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
