"""Pickles with shared arrays in them: by reference, or with their data, as a mode says.

::

    mode       a shared array is pickled as                   loaded by
    ---------  ---------------------------------------------  ---------------------------------
    REFERENCE  a reference (see `references`)                 processes that reach its memory
    TREE       a reference, if the coordinator has it or it   the coordinator of forked workers
               has a name; else a reference and a descriptor
               beside the pickle; data, if it is small
    VALUE      data, and a reference that a process of this   workers that may be elsewhere
               machine must be able to resolve
    RESULT     a reference, if the coordinator has made it;   the coordinator of such workers
               else data

The modes are for picklers of this package. What other code pickles (``__reduce_ex__``)::

    data                      within `sharedarray.pickling` by value, and for files: `filepicklers`
    a reference, and data     in a child process, what that has made: it may end before its results
                              are loaded, in the pools of others for one. They load as the same
                              memory while that is reached, else as a copy
    a reference               otherwise: all that a main process sends, what a child has inherited
                              or attached to, named segments

Guarantees
    Data come with a reference: a process that has the memory mapped loads the array itself, not a
    copy. In mode VALUE, every process of its machine does, or raises: what it wrote to a copy would
    be lost. An array that comes with a descriptor is adopted, not copied, and its sender does not
    use the memory again.

Rejected
    To keep what a worker has made until it is fetched, and send a reference alone: by a thread that
    serves descriptors, or by waiting before the process ends. Where the pool is killed, or the
    result is not asked for, one of them waits for ever. Named segments would be left behind.
"""

from __future__ import annotations

import copyreg
import pickle
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Any

import numpy as np

from sharedarray import forks
from sharedarray.descriptor import Descriptor
from sharedarray.errors import SharedArrayUnpickleError
from sharedarray.machine import host_id
from sharedarray.memory import conversion, references, registry
from sharedarray.memory.array import SharedArray, load
from sharedarray.memory.segment import has_descriptor_to_spare

try:
    import resource
except ImportError:  # not on Windows
    resource = None  # type: ignore[assignment]

__all__ = [
    "MAX_DESCRIPTORS",
    "REFERENCE",
    "RESULT",
    "TREE",
    "VALUE",
    "Pickler",
    "is_safe",
    "loading",
    "received_descriptor",
    "reduced",
]

REFERENCE, TREE, VALUE, RESULT = "reference", "tree", "value", "result"

# The kernel passes on 253 at a time.
MAX_DESCRIPTORS = 200

# The descriptors that have come with the pickle that this thread is loading.
_current = threading.local()

_SAFE = (type(None), bool, int, float, complex, str, bytes, SharedArray)


class Pickler(pickle.Pickler):
    """Pickle to a file, shared arrays as a mode says.

    Attributes
    ----------
    descriptors : list of int
        What has to be sent with the pickle, see `loading`.
    """

    def __init__(self, file: Any, mode: str) -> None:
        super().__init__(file, 5)
        self.mode = mode
        self.descriptors: list[int] = []

    def reducer_override(self, obj: Any) -> Any:
        """Return how to pickle an object, see `pickle.Pickler.reducer_override`."""
        cls = type(obj)
        if issubclass(cls, SharedArray):
            return reduced(obj, self.mode, self.descriptors)
        # Importing distributed registers tblib's reducers, which lose attributes of exceptions.
        registered = copyreg.dispatch_table.get(cls)
        if getattr(registered, "__module__", None) == "tblib.pickling_support":
            return obj.__reduce_ex__(5)
        return NotImplemented


def reduced(a: SharedArray, mode: str, descriptors: list[int]) -> Any:
    """Return what ``__reduce__`` would in a mode; `TREE` may append to the descriptors."""
    found = references.reference_to(a)
    block = registry.owner(a)
    if found is None or block is None:
        return a.__reduce_ex__(5)
    segment = block.segment
    is_inherited = segment.mapped_by != forks.process_token()
    is_named = isinstance(found[-1], str)
    is_reached = {
        REFERENCE: True,
        TREE: is_inherited or is_named,
        RESULT: is_inherited,
        VALUE: False,
    }
    if is_reached[mode]:
        return load, found
    descriptor = segment.descriptor if segment.step == segment.nbytes else None
    if mode == TREE and descriptor is not None and len(descriptors) < _max_descriptors():
        segment.is_seen[0] = 1  # not to be used again by this process
        descriptors.append(descriptor)
        return _adopted, (found, len(descriptors) - 1)
    data = a.view(np.ndarray).copy(order="K")
    if mode == VALUE:
        return _found_or_sent, (found, data, host_id())
    return _found_or_copied, (found, data)


@lru_cache(maxsize=1)
def _max_descriptors() -> int:
    """Return how many descriptors one pickle may have."""
    if resource is None:
        return 0
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_DESCRIPTORS if soft < 0 else min(MAX_DESCRIPTORS, soft // 8)


def _found_or_copied(found: tuple[Any, ...], data: np.ndarray) -> SharedArray:
    """Return the array itself if its memory is mapped here, else a new one with its data."""
    if registry.find_id(found[1]) is not None:
        with suppress(SharedArrayUnpickleError):
            return references.resolve(SharedArray, found)
    a = conversion.array(data)
    a.flags.writeable = found[-2]
    return a


def _found_or_sent(found: tuple[Any, ...], data: np.ndarray, host: str) -> SharedArray:
    """Return the array itself on the machine of its memory, a new one with its data elsewhere."""
    if host == host_id():  # what is written to a copy would be lost
        return references.resolve(SharedArray, found)
    return _found_or_copied(found, data)


def _adopted(found: tuple[Any, ...], position: int) -> SharedArray:
    array = references.resolve(SharedArray, found, received_descriptor(position))
    return array if has_descriptor_to_spare() else conversion.array(array)


@contextmanager
def loading(descriptors: list[Descriptor]) -> Iterator[None]:
    """Let a pickle that is loaded in the block find the descriptors that have come with it."""
    outer = getattr(_current, "descriptors", None)  # unpickling may run any code, a map too
    _current.descriptors = descriptors
    try:
        yield
    finally:
        _current.descriptors = outer


def received_descriptor(position: int) -> Descriptor | None:
    """Return a descriptor that has come with the pickle; None where its sender tries to load it."""
    descriptors: list[Descriptor] | None = getattr(_current, "descriptors", None)
    return None if descriptors is None else descriptors[position]


def is_safe(value: Any) -> bool:
    """Return whether a value certainly survives a round trip in `TREE` mode."""
    cls = type(value)
    if cls is tuple:
        return all(map(is_safe, value))
    if cls is np.ndarray or (isinstance(value, np.generic) and cls.__module__ == "numpy"):
        return not value.dtype.hasobject
    return cls in _SAFE
