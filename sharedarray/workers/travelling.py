"""What is special about the pickle of a result: classes with their own way, descriptors beside it.

`transport` does the sending. Other parts of the package say here how their objects travel.
"""

from __future__ import annotations

import pickle
import threading
from collections import ChainMap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import numpy as np

from sharedarray.descriptor import Descriptor
from sharedarray.workers.reports import REGISTERED

try:
    import resource
except ImportError:  # not on Windows
    resource = None  # type: ignore[assignment]

__all__ = [
    "MAX_DESCRIPTORS",
    "dump",
    "is_safe",
    "loading",
    "received_descriptor",
    "send_descriptor",
    "travels_by",
]

# The kernel passes on 253 at a time.
MAX_DESCRIPTORS = 200


@lru_cache(maxsize=1)
def max_descriptors() -> int:
    """Return how many descriptors may go with one result."""
    if resource is None:
        return 0
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_DESCRIPTORS if soft < 0 else min(MAX_DESCRIPTORS, soft // 8)


# Classes that travel up in their own way; see copyreg for what such a function returns.
_reducers: dict[type, Callable[[Any], Any]] = {}
_dispatch_table: ChainMap[type, Callable[[Any], Any]] = ChainMap(_reducers, REGISTERED)


def travels_by(cls: type, reduce: Callable[[Any], Any]) -> None:
    """Pickle objects of a class with `reduce`, as `copyreg.pickle` does, in results only."""
    _reducers[cls] = reduce


_SAFE = (type(None), bool, int, float, complex, str, bytes)


# The report that is being pickled, with its descriptors; those of the one that is being loaded.
_current = threading.local()


def send_descriptor(number: int) -> int | None:
    """Send a descriptor with the result that is being pickled, for a function of `travels_by`.

    Returns
    -------
    int or None
        What `received_descriptor` is to be given; None where the result has too many already.
    """
    descriptors: list[int] = _current.outgoing
    if len(descriptors) >= max_descriptors():
        return None
    descriptors.append(number)
    return len(descriptors) - 1


def received_descriptor(position: int) -> Descriptor | None:
    """Return a descriptor that came with the result that is being loaded, None in its sender."""
    descriptors: list[Descriptor] | None = getattr(_current, "incoming", None)
    return None if descriptors is None else descriptors[position]


def is_safe(value: Any) -> bool:
    """Return whether a value certainly survives a round trip through pickle."""
    cls = type(value)
    if cls is tuple:
        return all(map(is_safe, value))
    if cls is np.ndarray or (isinstance(value, np.generic) and cls.__module__ == "numpy"):
        return not value.dtype.hasobject
    return cls in _SAFE or cls in _reducers


def dump(report: Any, file: Any, descriptors: list[int]) -> None:
    """Pickle to a file, and list the descriptors that have to go with it."""
    outer = getattr(_current, "outgoing", None)  # see `loading`
    _current.outgoing = descriptors
    try:
        pickler = pickle.Pickler(file, 5)
        pickler.dispatch_table = _dispatch_table
        pickler.dump(report)
    finally:
        _current.outgoing = outer


@contextmanager
def loading(descriptors: list[Descriptor]) -> Iterator[None]:
    """Have a pickle that is loaded in the block find the descriptors that came with it."""
    outer = getattr(_current, "incoming", None)  # unpickling may run any code, a map too
    _current.incoming = descriptors
    try:
        yield
    finally:
        _current.incoming = outer
