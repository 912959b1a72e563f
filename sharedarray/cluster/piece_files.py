"""Sorted elements in sealed files in memory (memfd), which other processes open by name.

::

    File.of(elements) --name, process, descriptor--> File.attached --/proc/...--> the same memory

Guarantees
----------
* The memory is free when the last process that has a file open has dropped it, or has died.
* The file that is opened is the right one, and complete: it is known by its name, which is unique,
  and sealed against writes by all processes.

These are no SharedArrays, because a segment is mapped for as long as an array on it lives, and can
be written to in every process. A worker has files of many pieces for long, which are mapped only
while they are merged: mapped pages count as memory of the worker, by which Dask pauses it.
"""

from __future__ import annotations

import errno
import os
import uuid
from pathlib import Path
from typing import Any, Literal, NamedTuple
from weakref import ReferenceType, WeakValueDictionary, ref

import numpy as np
from numpy.typing import NDArray

from sharedarray.descriptor import Descriptor, opened
from sharedarray.memory.pages import Populator
from sharedarray.memory.segment import placed_length
from sharedarray_ops.plan import Chunk
from sharedarray_ops.pool import Pool
from sharedarray_ops.sort.merging import Indexed, Ordered

try:
    import fcntl
    import resource
except ImportError:  # not on Windows: all pieces are private there
    fcntl = resource = None  # type: ignore[assignment]

__all__ = ["File", "files", "has_room"]

# The part of this process's descriptors that files may take, two each: their own, and the one that
# mmap keeps while a file is mapped. Dask needs some for connections.
DESCRIPTORS = 1 / 2
# Of the positions behind the values, for SIMD.
ALIGNMENT = 64
SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE if fcntl is not None else 0


class _Layout(NamedTuple):
    """What is in a file: so many values, and as many positions if these have a dtype."""

    size: int
    values: np.dtype[Any]
    positions: np.dtype[Any] | None

    @property
    def middle(self) -> int:
        """Return at which byte positions begin."""
        return -(-self.size * self.values.itemsize // ALIGNMENT) * ALIGNMENT

    @property
    def nbytes(self) -> int:
        """Return how long the file is."""
        if self.positions is None:
            return self.size * self.values.itemsize
        return self.middle + self.size * self.positions.itemsize

    def arrays(self, memory: NDArray[np.uint8]) -> Ordered:
        """Return the arrays in the bytes of a file."""
        memory = memory.view(np.ndarray)
        return Ordered(
            memory[: self.size * self.values.itemsize].view(self.values),
            None if self.positions is None else memory[self.middle :].view(self.positions),
        )


class File:
    """Sorted elements in a sealed file in memory."""

    def __init__(self, name: str, layout: _Layout, descriptor: Descriptor) -> None:
        self.name = name
        self.layout = layout
        self.descriptor = descriptor
        self._mapped: ReferenceType[NDArray[np.uint8]] | None = None
        files[name] = self

    @classmethod
    def of(cls, block: Ordered | Indexed, part: Chunk, pool: Pool) -> File:
        """Return a new file with a part of a block; OSError if there is no descriptor for it."""
        values, positions = block
        layout = _Layout(part.size, values.dtype, None if positions is None else positions.dtype)
        name = f"sharedarray-piece-{uuid.uuid4().hex}"
        flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
        descriptor = opened(os.memfd_create, name, flags)
        os.fchmod(descriptor, 0o600)  # born 0777, and /proc/<pid>/fd leads others here
        block.write(part, _room(descriptor.number, layout), pool)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, SEALS)
        return cls(name, layout, descriptor)

    @property
    def reference(self) -> tuple[Any, ...]:
        """Return what `attached` finds it by."""
        return self.name, self.layout, os.getpid(), int(self.descriptor)

    @classmethod
    def attached(cls, name: str, layout: _Layout, pid: int, number: int) -> File:
        """Return the file of another process, opened anew if it is not here.

        Raises
        ------
        OSError
            If it is gone, may not be opened, or this process has no descriptor to spare.
        """
        here = files.get(name)
        if here is not None:
            return here
        if not has_room():
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), name)
        # Not blocked by a FIFO that has the number by now.
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
        descriptor = opened(os.open, f"/proc/{pid}/fd/{number}", flags)
        found = str(Path(f"/proc/self/fd/{descriptor.number}").readlink())
        if found != f"/memfd:{name} (deleted)":
            raise FileNotFoundError(f"{name} is gone, its place has {found}")
        return cls(name, layout, descriptor)

    def arrays(self) -> Ordered:
        """Return the elements, read-only; all present users share one mapping."""
        memory = None if self._mapped is None else self._mapped()
        if memory is None:
            memory = _mapped(self.descriptor.number, "r", self.layout.nbytes)
            self._mapped = ref(memory)
        return self.layout.arrays(memory)


def _room(descriptor: int, layout: _Layout) -> Ordered:
    """Return the arrays of a new file to write to, in huge pages where possible."""
    os.ftruncate(descriptor, layout.nbytes)
    os.ftruncate(descriptor, length := placed_length(descriptor, layout.nbytes))
    memory = _mapped(descriptor, "r+", length)[: layout.nbytes]
    start = memory.__array_interface__["data"][0]
    Populator(start, start + layout.nbytes)(memory)
    return layout.arrays(memory)


def _mapped(descriptor: int, mode: Literal["r", "r+"], nbytes: int) -> NDArray[np.uint8]:
    # A memmap, which is the base of all views of it.
    return np.memmap(f"/proc/self/fd/{descriptor}", np.uint8, mode, shape=(nbytes,))


# By their names. Two threads may open a file twice if it arrives in both at once.
files: WeakValueDictionary[str, File] = WeakValueDictionary()


def has_room(n_more: int = 1) -> bool:
    """Return whether this process may have so many files more."""
    if resource is None or not hasattr(os, "memfd_create"):
        return False
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft == resource.RLIM_INFINITY or 2 * (len(files) + n_more) <= soft * DESCRIPTORS
