r"""fromiter: what an iterable gives, straight into shared memory.

::

    iterable --numpy.fromiter, a chunk at a time--> private chunk --copy--> shared array
                                                                                | is full
                           pages of the old one go as it is copied  <--  array of 8 times as many

An array that is too large costs nothing: its pages come when they are written to.
"""

from __future__ import annotations

import builtins
import operator
import re
import sys
from collections.abc import Iterable, Iterator, Sized
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from sharedarray.memory import pages
from sharedarray.memory.array import UNSET, SharedArray, layout, new_array, refuse_objects
from sharedarray.memory.building import as_numpy, is_ours, unlinked_on_error
from sharedarray.memory.conversion import asarray

__all__ = ["fromiter"]

# A chunk stays in the second-level cache until it is copied.
CHUNK_NBYTES = 1 << 17
# Room of the first array where the number of items is not known, and how many times as many items
# the next ones have room for. An item is copied again each time the room is used up, so that has
# to be rare.
FIRST_NBYTES = 64 << 20
GROWTH = 8
# Smaller results are copied once more rather than keep a descriptor: a segment has one from 1 MiB
# on, and it is the room that counts.
TRIMMED_NBYTES = 1 << 20
# Bytes that are copied before their old pages are given back.
STEP_NBYTES = 8 << 20

_TOO_SHORT = r"iterator too short: Expected \d+ but iterator had only (\d+) items\."
# Containers that know how many items they will give, and give them once more if need be.
_SIZED: tuple[type, ...] = (list, tuple, range)


def fromiter(
    iter: Iterable[Any],
    dtype: DTypeLike,
    count: int = -1,
    *,
    like: Any = None,
    name: str | None = None,
    reserve: bool = False,
) -> SharedArray:
    """Make a shared array of what an iterable gives, otherwise as `numpy.fromiter`.

    No more items are taken than are needed.

    Parameters
    ----------
    iter, dtype, count, like
        As in `numpy.fromiter`; dtypes with Python objects are refused with a TypeError.
    name, reserve
        As in `empty`.

    Notes
    -----
    Serial, by `numpy.fromiter` with chunks of 128 KiB, which are copied. If the number of items is
    known, by `count` or because `iter` is a list, tuple or range, there is no other extra memory.
    If not, the array has addresses, but not memory, for 64 MiB or up to 8 times as many, and what
    it has outgrown is freed 8 MiB at a time as it is copied; with `name` or `reserve` the result is
    copied so as well. On other systems than Linux that takes as much memory again.

    Examples
    --------
    >>> import sharedarray
    >>> sharedarray.fromiter((i * i for i in range(4)), int)
    SharedArray([0, 1, 4, 9])
    """
    if not is_ours(like):
        return as_numpy(np.fromiter, iter, dtype, count, like=like, name=name, reserve=reserve)
    refuse_objects(dtype)
    dtype, count = np.dtype(dtype), operator.index(count)
    iterator = builtins.iter(iter)
    # NumPy judges dtype and count, without an item.
    pattern = np.fromiter((), dtype, 0 if abs(count) <= sys.maxsize else count)
    n_chunk = max(1, CHUNK_NBYTES // dtype.itemsize)
    if count < -1 or 0 <= count <= n_chunk:
        return asarray(np.fromiter(iterator, dtype, count), name=name, reserve=reserve)
    if count >= 0:
        return _counted(iterator, dtype, count, n_chunk, pattern, name, reserve)
    if isinstance(iter, Sized) and type(iter) in _SIZED and (n_items := len(iter)) > n_chunk:
        try:
            return _counted(iterator, dtype, n_items, n_chunk, pattern, name, reserve)
        except ValueError:
            if len(iter) == n_items:
                raise
            iterator = builtins.iter(iter)  # a list that has shrunk meanwhile
    return _uncounted(iterator, dtype, n_chunk, pattern, name, reserve)


def _counted(
    iterator: Iterator[Any],
    dtype: np.dtype[Any],
    count: int,
    n_chunk: int,
    pattern: NDArray[Any],
    name: str | None,
    reserve: bool,
) -> SharedArray:
    """Take `count` items."""
    out = _new_array(count, pattern, name, reserve)
    with unlinked_on_error(name):
        target, touch = out.view(np.ndarray), pages.populator(out)
        for start in range(0, count, n_chunk):
            n_wanted = min(n_chunk, count - start)
            try:
                chunk = np.fromiter(iterator, dtype, n_wanted)
            except ValueError as error:
                found = re.fullmatch(_TOO_SHORT, str(error))
                if found is None:
                    raise
                message = f"Expected {count} but iterator had only {start + int(found[1])} items."
                raise ValueError(f"iterator too short: {message}") from None
            _put(chunk, target[start : start + n_wanted], touch)
    return out


def _uncounted(
    iterator: Iterator[Any],
    dtype: np.dtype[Any],
    n_chunk: int,
    pattern: NDArray[Any],
    name: str | None,
    reserve: bool,
) -> SharedArray:
    """Take all items."""
    chunk = np.fromiter(islice(iterator, n_chunk), dtype)
    if len(chunk) < n_chunk:
        return asarray(chunk, name=name, reserve=reserve)
    out, n_items = _new_array(max(2 * n_chunk, FIRST_NBYTES // dtype.itemsize), pattern), 0
    target, touch = out.view(np.ndarray), pages.populator(out)
    while len(chunk):
        if n_items + len(chunk) > len(target):
            out = _grown(out, n_items, GROWTH * n_items, pattern)
            target, touch = out.view(np.ndarray), pages.populator(out)
        _put(chunk, target[n_items : n_items + len(chunk)], touch)
        n_items += len(chunk)
        if len(chunk) < n_chunk:
            break  # without asking an exhausted iterator once more
        chunk = np.fromiter(islice(iterator, n_chunk), dtype)
    if name is not None or reserve or target[:n_items].nbytes < TRIMMED_NBYTES:
        return _grown(out, n_items, n_items, pattern, name, reserve)
    result: SharedArray = out[:n_items]
    return result


def _new_array(
    n_items: int, pattern: NDArray[Any], name: str | None = None, reserve: bool = False
) -> SharedArray:
    """Return an array for `n_items` items such as those of `pattern`."""
    like = layout(np.empty, (n_items, *pattern.shape[1:]), pattern.dtype)
    return new_array(like, UNSET, name, reserve)


def _put(chunk: NDArray[Any], target: NDArray[Any], touch: Any) -> None:
    if touch is not None:
        touch(target)
    target[...] = chunk


def _grown(
    old: SharedArray,
    n_items: int,
    n_new: int,
    pattern: NDArray[Any],
    name: str | None = None,
    reserve: bool = False,
) -> SharedArray:
    """Move the first `n_items` items to a larger array; the old one must not be used any more."""
    try:
        out = _new_array(n_new, pattern, name, reserve)
    except MemoryError:
        if n_new == n_items:
            raise
        out = _new_array(2 * n_items, pattern)  # where addresses are scarce, too (RLIMIT_AS)
    source, target = old.view(np.ndarray)[:n_items], out.view(np.ndarray)
    step = max(1, STEP_NBYTES // (source.strides[0] or 1))
    for start in range(0, n_items, step):
        part = source[start : start + step]
        pages.fill(target[start : start + len(part)], part)
        pages.give_back(part)
    return out
