r"""One shared mapping and its life: the only importer of mmap.

::

    SharedArray --base--> Block --base--> Segment.bytes --base--> memoryview --> mmap --> memfd
                            \--segment--> Segment --bytes--^
    Segment.leases: {offset: Lease} --weakly--> Block

Guarantees
----------
* A mapping lives exactly as long as an array on it: there is no close, and the memoryview that
  pins it makes ``mmap.close`` raise ``BufferError``.
* A `Segment` dies before it is unmapped, so the registry, which refers to it weakly, never takes
  the next mapping at that address for it.
* Nothing is named: the kernel frees the memory when the last process that maps it ends, however it
  ends.

Assumptions
-----------
* Blocks are made by the allocator only, one `Lease` each.

Who owns what: a `Block` owns its `Segment`; the segment's leases know its blocks only weakly.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import mmap
import os
import sys
import weakref
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sharedarray import forks
from sharedarray.descriptor import Descriptor, opened
from sharedarray.machine import available_memory, total_memory

try:
    import fcntl
    import resource
except ImportError:  # not on Windows: every segment is anonymous there
    fcntl = resource = None  # type: ignore[assignment]

__all__ = [
    "HUGE_PAGE_NBYTES",
    "PAGE_NBYTES",
    "SEALS",
    "Block",
    "Bytes",
    "Lease",
    "Segment",
    "check_size",
    "has_descriptor_to_spare",
    "has_length",
    "is_short_of_descriptors",
    "memfd_name",
    "placed_length",
    "total_nbytes",
]

SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL if fcntl is not None else 0

# The parts of the descriptors that this process may have up to which segments get one: those of one
# block, and slabs, which are few and have many arrays. The rest is the program's.
_SHARE = 1 / 2
_SHARE_OF_SLABS = 3 / 4
# One huge page of x86-64 and of aarch64 with 4 KiB pages.
HUGE_PAGE_NBYTES = 2 << 20
PAGE_NBYTES = mmap.PAGESIZE
# Attempts to map a segment to where a huge page begins; two are the rule.
_MOST_PLACES = 8
# Up to here the machine's memory, whose limits are in files (50 us), is not asked for.
_SURELY_FITS_NBYTES = 64 << 20
# Punches a hole into the memory of all processes that share it.
_MADV_REMOVE = getattr(mmap, "MADV_REMOVE", None)
# In the kernel since 6.3; the os module of Python 3.11 to 3.13 has no name for it.
_MFD_NOEXEC_SEAL = 0x0008

_counter = itertools.count(1)
# The segments that have a descriptor (a forked child inherits set and descriptors), and how many
# descriptors each of them takes.
_with_descriptor: set[weakref.ref[Segment]] = set()
_PER_SEGMENT = 1 if sys.version_info >= (3, 13) else 2


class Bytes(np.ndarray):
    """The bytes of a segment.

    A class of its own, because NumPy skips over a base of the view's own class: a plain view of a
    `Block` on plain bytes would have the bytes as its base, and would not keep the block.
    """

    __slots__ = ()


class Block(np.ndarray):
    """The bytes of one allocation, which every array on them keeps alive.

    Its death frees the allocation. A view of a block has none of the attributes.
    """

    __slots__ = ("offset", "segment", "serial")

    segment: Segment
    offset: int  # of its first byte in the segment
    serial: int  # the number of the allocation, unique in this process and its segments


class Lease(weakref.ref[Block]):
    """A reference to a block that knows its attributes when it has died."""

    __slots__ = ("generation", "offset", "place", "segment", "serial")

    segment: Segment
    offset: int
    serial: int
    generation: int  # `forks.generation()` from before the block was made
    place: Any  # the slab or slot that gets the bytes back; None for a segment of one block


class Segment:
    """One shared mapping, zero when it is made.

    Parameters
    ----------
    nbytes : int
        Its length, at least 1.
    step : int, optional
        The distance between blocks; by default there is one block.
    origin : (id, descriptor), optional
        The segment to map another time: its id and its memfd, which then belongs to this one.
    header_nbytes : int, default 0
        Length of the header of a named segment's file, which has no notes on blocks at its end.

    Attributes
    ----------
    bytes : ndarray of uint8, shape (nbytes,)
        The memory; as long as it lives, so does the mapping.
    address : int
        Where it begins in this process and in every child forked while it lived.
    nbytes, step : int
        As above.
    id : tuple of int
        Process token and counter of its maker: never the same for two segments.
    descriptor : int or None
        The memfd.
    is_fresh : bool
        Whether no array has used it before: its pages come with the first touch.
    mapped_by : int
        The token of the process that has mapped it, from which forked children inherit it.
    leases : dict
        The lease of each live block, by its offset.
    serials : memoryview of int
        The number of each live block, 0 where there is none, in shared memory: unrelated processes
        check it when they attach.
    is_seen : memoryview of int
        1 for each block that a process without a common fork may see, from then on.

    Raises
    ------
    MemoryError
        If the machine has less memory, or the kernel refuses.
    """

    __slots__ = (
        "__weakref__",
        "_descriptor",
        "_mapping",
        "address",
        "bytes",
        "id",
        "is_fresh",
        "is_seen",
        "leases",
        "mapped_by",
        "nbytes",
        "serials",
        "step",
    )

    def __init__(
        self,
        nbytes: int,
        step: int | None = None,
        *,
        origin: tuple[tuple[int, int], Descriptor] | None = None,
        header_nbytes: int = 0,
    ) -> None:
        self.nbytes = nbytes
        self.step = nbytes if step is None else step
        self.leases: dict[int, Lease] = {}
        self.is_fresh = origin is None
        self.mapped_by = forks.process_token()
        n_blocks = nbytes // self.step
        total = header_nbytes + nbytes if header_nbytes else total_nbytes(nbytes, self.step)
        if origin is None:
            if self.step == nbytes:  # the pages of a slab come one by one
                check_size(nbytes)
            self.id = (forks.process_token(), next(_counter))
            name = memfd_name(self.id, nbytes, self.step)
            mapping, self._descriptor = _map(total, name, self.step)
        else:
            self.id, descriptor = origin
            self._descriptor = descriptor
            mapping = _map_shared(descriptor.number, total)
        self._mapping = mapping
        # frombuffer keeps a memoryview, which makes mmap.close() raise BufferError;
        # ndarray(buffer=mapping) would let the mapping close under the array.
        self.bytes: NDArray[np.uint8] = np.frombuffer(
            mapping, np.uint8, nbytes, header_nbytes
        ).view(Bytes)
        self.address: int = self.bytes.__array_interface__["data"][0]
        if header_nbytes:
            self._descriptor = None  # other processes open the file by its name
            tail = memoryview(bytearray(9))
        else:
            tail = memoryview(mapping)[_aligned(nbytes) :]
        if self._descriptor is not None:
            _with_descriptor.add(weakref.ref(self, _with_descriptor.discard))
        self.serials = tail[: 8 * n_blocks].cast("Q")
        self.is_seen = tail[8 * n_blocks : 9 * n_blocks]

    @property
    def descriptor(self) -> int | None:
        """Return the memfd."""
        return None if self._descriptor is None else self._descriptor.number

    def reserve(self, block: Block) -> None:
        """Have the kernel find memory for every page of a block now, or raise MemoryError."""
        start, nbytes = block.offset, block.nbytes
        missing = nbytes if self.is_fresh else 0
        if missing > (available_memory() or missing):
            raise MemoryError(f"{missing} bytes are more than the machine has to spare")
        if self.descriptor is None:
            # Reading a shared page is enough to have it made.
            self.bytes[start : start + nbytes + PAGE_NBYTES - 1 : PAGE_NBYTES].max(initial=0)
            return
        try:
            os.posix_fallocate(self.descriptor, start, max(nbytes, 1))
        except OSError as error:
            raise MemoryError(f"the kernel has no {nbytes} bytes to spare") from error

    # The globals are arguments, because blocks may die after them, at the interpreter's end.
    def clear(
        self, start: int, stop: int, page: int = PAGE_NBYTES, remove: int | None = _MADV_REMOVE
    ) -> None:
        """Give the pages from `start`, where one begins, back to the kernel: zero from then on."""
        if remove is not None and start < stop:
            try:
                self._mapping.madvise(remove, start, -(-(stop - start) // page) * page)
                return
            except OSError:  # a kernel that cannot
                pass
        self.bytes[start:stop] = 0

    def let_go(self) -> None:
        """Do nothing: the memory goes with the last reference."""

    def block(self, offset: int, serial: int) -> Block | None:
        """Return the live block of that number at that offset, if there is one."""
        lease = self.leases.get(offset)
        return None if lease is None or lease.serial != serial else lease()

    def block_at(self, address: int) -> Block | None:
        """Return the live block that has the byte at `address`, which is in this segment."""
        offset = address - self.address
        lease = self.leases.get(offset - offset % self.step)
        return None if lease is None else lease()


def total_nbytes(nbytes: int, step: int) -> int:
    """Return how many bytes a segment uses, the notes on its blocks included."""
    return _aligned(nbytes) + 9 * (nbytes // step)


def has_length(descriptor: int, total: int) -> bool:
    """Return whether a memfd is as long as one that uses `total` bytes: see `placed_length`."""
    length = os.fstat(descriptor).st_size
    return length == total or (length > total >= HUGE_PAGE_NBYTES and length % PAGE_NBYTES == 0)


def memfd_name(segment_id: tuple[int, int], nbytes: int, step: int) -> str:
    """Return the name of a segment's memfd, by which other processes recognize it."""
    return f"sharedarray-{segment_id[0]:016x}-{segment_id[1]:x}-{nbytes:x}-{step:x}"


def _aligned(nbytes: int) -> int:
    return (nbytes + 7) & ~7


def _map(nbytes: int, name: str, step: int) -> tuple[mmap.mmap, Descriptor | None]:
    """Return a shared mapping of `nbytes` zero bytes, and its descriptor if it has one."""
    try:
        descriptor = _sealed_memfd(nbytes, name, step)
        if descriptor is None:
            mapping = mmap.mmap(-1, nbytes)
        else:
            mapping = _map_shared(descriptor.number, os.fstat(descriptor.number).st_size)
    except OverflowError as error:
        raise MemoryError(f"{nbytes} bytes are more than an address can count") from error
    except OSError as error:
        if error.errno != errno.ENOMEM:
            raise
        message = f"the kernel refuses a mapping of {nbytes} bytes (see also vm.max_map_count)"
        raise MemoryError(message) from error
    # In a slab of small blocks, one of them would bring the memory of a huge page.
    if min(nbytes, step) >= HUGE_PAGE_NBYTES and hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # a kernel built without huge pages
            mapping.madvise(mmap.MADV_HUGEPAGE)
    return mapping, descriptor


def check_size(nbytes: int) -> None:
    """Raise MemoryError if the machine has less memory."""
    # ftruncate accepts a memfd of 2**62 bytes; the kernel would kill at the first touch that finds
    # no page.
    if nbytes <= _SURELY_FITS_NBYTES:
        return
    try:
        available = total_memory()
    except NotImplementedError:
        return
    if nbytes > available:
        raise MemoryError(f"{nbytes} bytes are more than the {available} of this machine")


def _map_shared(descriptor: int, nbytes: int) -> mmap.mmap:
    if sys.version_info >= (3, 13):
        return mmap.mmap(descriptor, nbytes, trackfd=False)
    return mmap.mmap(descriptor, nbytes)  # keeps a duplicate of the descriptor


def _sealed_memfd(nbytes: int, name: str, step: int) -> Descriptor | None:
    """Return a memfd of that size, through which other processes can attach; None if refused."""
    is_slab = 2 * step <= nbytes
    if not has_descriptor_to_spare(_SHARE_OF_SLABS if is_slab else _SHARE):
        return None
    try:
        descriptor = _memfd(name)
        os.fchmod(descriptor.number, 0o600)  # 0777 by default, open to others by /proc/<pid>/fd
        os.ftruncate(descriptor.number, nbytes)
        if min(nbytes, step) >= HUGE_PAGE_NBYTES:
            os.ftruncate(descriptor.number, placed_length(descriptor.number, nbytes))
        # No process can make it shorter under our arrays: a SIGBUS at the next touch.
        fcntl.fcntl(descriptor.number, fcntl.F_ADD_SEALS, SEALS)
        # On Python before 3.13 the mapping takes another one, and may not get it.
        os.close(os.dup(descriptor.number))
    # An old kernel, seccomp, vm.memfd_noexec, RLIMIT_NOFILE, RLIMIT_FSIZE, macOS.
    except (OSError, AttributeError):
        return None
    return descriptor


def placed_length(descriptor: int, nbytes: int) -> int:
    """Return how long a memfd has to be for a mapping of it to begin where a huge page does.

    The kernel looks for room from above, and a mapping ends where the room does: pages added to its
    length, which are never touched, move its beginning down. Where it no longer fits, it goes to
    other room, and its end changes: therefore several attempts.
    """
    length = nbytes
    with contextlib.suppress(OSError):  # where address space is scarce
        for _ in range(_MOST_PLACES):
            mapping = _map_shared(descriptor, length)
            address = np.frombuffer(mapping, np.uint8, 1).__array_interface__["data"][0]
            mapping.close()
            distance = address % HUGE_PAGE_NBYTES
            if not distance:
                return length
            length = -(-length // PAGE_NBYTES) * PAGE_NBYTES + distance
            os.ftruncate(descriptor, length)
    return nbytes


def has_descriptor_to_spare(share: float = _SHARE) -> bool:
    """Return whether segments use less than a share of the descriptors that a process may have."""
    if resource is None:
        return False
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft == resource.RLIM_INFINITY or _PER_SEGMENT * len(_with_descriptor) < soft * share


def is_short_of_descriptors() -> bool:
    """Return whether a segment of one block would get no descriptor, where a slab may have one."""
    return hasattr(os, "memfd_create") and resource is not None and not has_descriptor_to_spare()


def _memfd(name: str) -> Descriptor:
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        return opened(os.memfd_create, name, flags | _MFD_NOEXEC_SEAL)
    except OSError as error:
        if error.errno != errno.EINVAL:  # the flag is unknown to kernels before 6.3
            raise
        return opened(os.memfd_create, name, flags)
