"""What functions that create arrays share: `like=`, named segments on which filling fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from sharedarray.memory import named, pages, registry
from sharedarray.memory.array import SharedArray

__all__ = ["as_numpy", "is_foreign", "is_ours", "shortened", "unlinked_on_error"]


def as_numpy(
    function: Callable[..., Any], *args: Any, name: str | None, reserve: bool, **kwargs: Any
) -> SharedArray:
    """Return what NumPy's function returns for an array of another package.

    Raises
    ------
    TypeError
        If options are given that only arrays of ours have.
    """
    if name is not None or reserve:
        raise TypeError(
            f"numpy.{function.__name__} makes an array of another package here, which has no "
            "name= or reserve="
        )
    result: SharedArray = function(*args, **kwargs)  # that package's class; there is no type for it
    return result


def is_foreign(obj: Any) -> bool:
    """Return whether the class of an object has an ``__array_function__`` other than NumPy's."""
    return _protocol(obj) not in (None, *_OUR_PROTOCOLS)


def is_ours(like: Any) -> bool:
    """Return whether `like` asks for an array of ours; otherwise NumPy decides."""
    return like is None or _protocol(like) in _OUR_PROTOCOLS


def _protocol(obj: Any) -> Any:
    return getattr(type(obj), "__array_function__", None)


_OUR_PROTOCOLS = (np.ndarray.__array_function__, SharedArray.__array_function__)


@contextmanager
def unlinked_on_error(name: str | None) -> Iterator[None]:
    """Unlink a new named segment if filling it, in the body of a ``with``, raises."""
    try:
        yield
    except BaseException:
        if name is not None:
            named.unlink(name)
        raise


def shortened(a: SharedArray, n_items: int, name: str | None) -> SharedArray:
    """Return the first items of a new array, the whole pages of the others freed if it is named.

    Programs that attach to the name from then on see these items only.
    """
    result: SharedArray = a[:n_items]
    block = registry.owner(a)
    if name is not None and block is not None and n_items < len(a):
        named.shorten(name, block.segment, n_items)
        pages.give_back(a[n_items:])
    return result
