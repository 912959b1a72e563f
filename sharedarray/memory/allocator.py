r"""Blocks of shared bytes: small ones from slabs, large ones from a segment of their own.

::

    allocate(nbytes) --<= 64 KiB--> _SizeClass --> _Slab.recycled or .fresh --> Block, Lease
                     \--larger--> cache.take or Segment --------------------> Block, Lease
    last array on the block dies --> Block dies --> _released(lease) --> _Slab.recycled, cache.keep

Guarantees
----------
* A live block's bytes belong to no other block of this process.
* Bytes that a forked child may see as a live block are never allocated again: they go back to the
  kernel with their whole segment.
* A forked child neither allocates from nor frees into inherited slabs.
* Bytes that an unrelated process has attached to (`is_seen`) are never allocated again. It sets the
  mark before it checks that the block lives; the mark is read here when the bytes are taken again,
  long after the block was noted as dead.
* A segment dies with its last block, except one empty slab of each size class, and the large ones
  that `cache` keeps for the next arrays.

Assumptions
-----------
* Blocks are freed by reference counting or by the garbage collector, which runs at any point of
  any thread, this module's own code included. So there is no lock (the thread that frees might hold
  it); every step is one operation on a list or dict, which is atomic, and a step may find that
  another thread was faster.

Who owns what: a size class owns its slabs with room, a live block's lease its slab. Taking a slab
out of a size class frees nothing that is in use.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np

from sharedarray import forks
from sharedarray.machine import available_memory
from sharedarray.memory import cache, registry
from sharedarray.memory.pages import fill
from sharedarray.memory.segment import PAGE_NBYTES, Block, Lease, Segment

__all__ = ["SLAB_MAX_NBYTES", "SLAB_NBYTES", "Block", "allocate", "new_block"]

# A larger block in a slab would waste up to its own size; in a segment, at most a page.
SLAB_MAX_NBYTES = 64 << 10
SLAB_NBYTES = 1 << 20
# A cache line, so that two workers that write to two blocks never share one; also enough for SIMD.
MIN_BLOCK_NBYTES = 64

# To ask the kernel how much memory there is takes 50 us: for larger segments only.
ASK_NBYTES = 64 << 20

_serials = itertools.count(1)


class _Slab:
    """One segment cut into blocks of one size."""

    __slots__ = ("fresh", "home", "recycled", "segment")

    def __init__(self, home: _SizeClass) -> None:
        self.home = home  # lists it while it has room
        self.segment = Segment(SLAB_NBYTES, step=home.nbytes)
        # Offsets never used, whose bytes are zero, the lowest last; those of freed blocks.
        self.fresh = list(range(0, SLAB_NBYTES, home.nbytes))[::-1]
        self.recycled: list[int] = []

    def take(self) -> tuple[int, bool] | None:
        """Return the offset of a free block and whether it was used before, None if all are."""
        # EAFP throughout: to ask first and pop then would be two steps.
        try:
            while True:
                offset = self.recycled.pop()  # the pages of these are there already
                if not self.segment.is_seen[offset // self.segment.step]:
                    return offset, True
        except IndexError:
            pass
        try:
            offset = self.fresh.pop()
        except IndexError:
            return None
        # Make the page behind the block: NumPy's masked loads reach behind its end, and where there
        # is no page, AMD's processors take 3 us longer to sort it.
        behind = offset + self.segment.step
        if behind % PAGE_NBYTES == 0 and behind < SLAB_NBYTES:
            self.segment.bytes[behind]
        return offset, False


class _SizeClass:
    """The slabs of one size of block that have room."""

    __slots__ = ("nbytes", "spare", "with_room")

    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes
        self.with_room: dict[_Slab, None] = {}
        self.spare: _Slab | None = None

    def take(self) -> tuple[_Slab, int, bool]:
        """Return a slab, the offset of a free block in it, and whether that was used before."""
        while True:
            try:
                slab = next(iter(self.with_room))
            except StopIteration:
                slab = self._new_slab()
            except RuntimeError:  # another thread changed the dict between iter and next
                continue
            taken = slab.take()
            if taken is not None:
                return slab, *taken
            self.with_room.pop(slab, None)
            # 1. this thread finds no room; 2. another frees a block and finds the slab listed;
            # 3. this thread takes it off the list: so check again.
            if slab.recycled:
                self.with_room[slab] = None

    def _new_slab(self) -> _Slab:
        slab = _Slab(self)
        registry.register(slab.segment)
        self.with_room[slab] = None
        return slab

    def give_back(self, slab: _Slab, offset: int) -> None:
        """Let a freed block be taken again."""
        slab.recycled.append(offset)
        self.with_room[slab] = None

    def emptied(self, slab: _Slab) -> None:
        """Keep a slab without blocks as the spare if there is none, else let it go."""
        spare = self.spare
        has_room = slab.fresh or slab.recycled  # not if forked children may see all of it
        if not has_room or slab not in self.with_room:  # in a forked child, none is listed
            self.with_room.pop(slab, None)
            self.spare = None if spare is slab else spare
        elif spare is None or spare.segment.leases or spare not in self.with_room:
            self.spare = slab
        elif spare is not slab:
            # Another thread may have taken a block of it just now: that block's lease keeps the
            # slab, and lists it again when the block dies.
            self.with_room.pop(slab, None)


def _new_size_classes() -> tuple[_SizeClass, ...]:
    """Return the size classes, by the exponents of the powers of two."""
    exponents = range(MIN_BLOCK_NBYTES.bit_length() - 1, SLAB_MAX_NBYTES.bit_length())
    return tuple(_SizeClass(1 << exponent) for exponent in exponents)


_size_classes = _new_size_classes()


def allocate(nbytes: int, *, zeroed: bool = False) -> Block:
    """Return a new block of shared memory.

    Parameters
    ----------
    nbytes : int
        Its length, not negative.
    zeroed : bool, default False
        Whether its bytes must be zero. Otherwise they may be what a freed array of this process has
        left, never another process's.

    Returns
    -------
    Block
        Aligned to 64 bytes. The memory is free again when the last array on it dies.

    Raises
    ------
    MemoryError
        If there is not enough memory.
    """
    # Read before the memory is taken: after a fork from here on it is not recycled.
    generation = forks.generation()
    if nbytes > SLAB_MAX_NBYTES:
        slab, offset, used = None, 0, True
        segment = cache.take(nbytes, Segment)
        if segment is None:
            segment, used = _new_segment(nbytes), False
    else:
        exponent = max(nbytes - 1, MIN_BLOCK_NBYTES - 1).bit_length()
        size_class = _size_classes[exponent - MIN_BLOCK_NBYTES.bit_length() + 1]
        slab, offset, used = size_class.take()
        segment = slab.segment
    if zeroed and used:
        fill(segment.bytes[offset : offset + nbytes], 0)

    block = new_block(segment, offset, nbytes, next(_serials), generation, slab)
    segment.serials[offset // segment.step] = block.serial
    return block


def new_block(
    segment: Segment,
    offset: int,
    nbytes: int,
    serial: int,
    generation: int,
    slab: _Slab | None = None,
) -> Block:
    """Return a block on bytes of a segment, with its lease; the arguments are their attributes."""
    block = np.ndarray.__new__(Block, nbytes, np.uint8, segment.bytes, offset)
    block.segment, block.offset, block.serial = segment, offset, serial
    lease = Lease(block, _released)
    lease.segment, lease.offset, lease.serial = segment, offset, serial
    lease.generation, lease.slab = generation, slab
    segment.leases[offset] = lease
    return block


def _new_segment(nbytes: int) -> Segment:
    """Return a new registered segment; where memory is scarce, the cache is emptied first."""
    if nbytes > ASK_NBYTES and nbytes > (available_memory() or nbytes):
        cache.release_cache()  # a memfd is made even where there is no memory for it
    try:
        segment = Segment(nbytes)
    except MemoryError:
        cache.release_cache()
        segment = Segment(nbytes)
    registry.register(segment)
    return segment


def _released(
    lease: Lease,
    unseen_since: Callable[[int], bool] = forks.unseen_since,
    process_token: Callable[[], int] = forks.process_token,
    keep: Callable[[Segment], None] = cache.keep,
) -> None:
    """Free the bytes of a block that has died."""
    # The functions are arguments, because blocks may die after the module's globals have, at the
    # interpreter's end.
    segment = lease.segment
    leases = segment.leases
    if leases.get(lease.offset) is lease:  # or `reach.adopt` has taken its place already
        del leases[lease.offset]
    # Inherited blocks live on in the parent, those that other processes see in these.
    position = lease.offset // segment.step
    if segment.id[0] == process_token() and not segment.is_seen[position]:
        segment.serials[position] = 0
    slab = lease.slab
    if slab is None:
        if unseen_since(lease.generation) and not segment.is_seen[position]:
            keep(segment)
        return
    # In a forked child, false for every inherited block: nothing goes into inherited slabs.
    if unseen_since(lease.generation):
        slab.home.give_back(slab, lease.offset)
    if not leases:
        slab.home.emptied(slab)


def _forget_inherited() -> None:
    """Start a forked child without slabs: the parent goes on allocating from its own."""
    global _size_classes
    for size_class in _size_classes:
        size_class.with_room.clear()
        size_class.spare = None
    _size_classes = _new_size_classes()


forks.on_fork(in_child=_forget_inherited)
