r"""Blocks of shared bytes: small ones from slabs, large ones from a segment of their own.

::

    allocate(nbytes) --<= 64 KiB--> SizeClass.take ---------------------> Block, Lease
                     |--< 1 MiB---> cache.take or SizeClass.take: Slot -> Block, Lease
                     \--larger----> cache.take or Segment --------------> Block, Lease
    last array on the block dies --> Block dies --> _released(lease) --> Slab.recycled, cache.keep

Every block is in a segment with a descriptor, by which any process of this user reaches it. Where
large segments have half of the descriptors that the process may have, large blocks come from slabs,
too; where even slabs get none, memory is anonymous, and references to it do not resolve elsewhere.

Guarantees
----------
* A live block's bytes belong to no other block of this process.
* Bytes that a forked child may see as a live block are never allocated again: they go back to the
  kernel with their whole segment, as do those that an unrelated process has attached to.
* A forked child neither allocates from nor frees into inherited slabs.
* Bytes that an unrelated process has attached to (`is_seen`) are never allocated again. It sets the
  mark before it checks that the block lives; the mark is read here when the bytes are taken again,
  long after the block was noted as dead.
* A segment dies with its last block, except one empty slab of each size class, and those that
  `cache` keeps for the next arrays. Of a slab that lives, freed blocks above 64 KiB cost no memory
  unless `cache` keeps them.

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
from sharedarray.memory.segment import Block, Lease, Segment, check_size, is_short_of_descriptors
from sharedarray.memory.slabs import SLAB_MAX_NBYTES, SLAB_NBYTES, SizeClass, Slab, Slot

__all__ = [
    "OWN_SEGMENT_MIN_NBYTES",
    "SLAB_MAX_NBYTES",
    "SLAB_NBYTES",
    "Block",
    "allocate",
    "new_block",
]

# From here on a block has a segment of its own, which other processes can adopt as it is.
OWN_SEGMENT_MIN_NBYTES = 1 << 20
# A cache line, so that two workers that write to two blocks never share one; also enough for SIMD.
MIN_BLOCK_NBYTES = 64
_MIN_EXPONENT = MIN_BLOCK_NBYTES.bit_length() - 1
# The largest block in a slab, where descriptors are scarce.
_MAX_EXPONENT = 40

# To ask the kernel how much memory there is takes 50 us: for larger segments only.
ASK_NBYTES = 64 << 20

_serials = itertools.count(1)


def _new_size_classes() -> tuple[SizeClass, ...]:
    """Return the size classes, by the exponents of the powers of two."""
    exponents = range(_MIN_EXPONENT, _MAX_EXPONENT + 1)
    return tuple(SizeClass(1 << exponent) for exponent in exponents)


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
    place: Slab | Slot | None = None
    if nbytes <= SLAB_MAX_NBYTES:
        exponent = max(nbytes - 1, MIN_BLOCK_NBYTES - 1).bit_length()
        place, offset, used = _size_classes[exponent - _MIN_EXPONENT].take()
        segment = place.segment
    else:
        own = None if nbytes < OWN_SEGMENT_MIN_NBYTES else _take_segment(nbytes)
        if own is not None:
            segment, offset, used = own, 0, not own.is_fresh
        else:
            try:
                place = _size_classes[(nbytes - 1).bit_length() - _MIN_EXPONENT].take_slot(nbytes)
                segment, offset, used = place.segment, place.offset, not place.is_fresh
            except MemoryError:  # little address space: a slab is much longer than the block
                segment, offset, used = _new_segment(nbytes), 0, False
    if zeroed and used:
        fill(segment.bytes[offset : offset + nbytes], 0)

    block = new_block(segment, offset, nbytes, next(_serials), generation, place)
    segment.serials[offset // segment.step] = block.serial
    return block


def _take_segment(nbytes: int) -> Segment | None:
    """Return a segment for a large block, None where descriptors are scarce."""
    segment = cache.take(nbytes, Segment)
    if segment is not None:
        return segment
    check_size(nbytes)
    if nbytes > ASK_NBYTES and nbytes > (available_memory() or nbytes):
        cache.release_cache()  # a memfd is made even where there is no memory for it
    if is_short_of_descriptors() and nbytes <= 1 << _MAX_EXPONENT:
        return None
    return _new_segment(nbytes)


def new_block(
    segment: Segment,
    offset: int,
    nbytes: int,
    serial: int,
    generation: int,
    place: Slab | Slot | None = None,
) -> Block:
    """Return a block on bytes of a segment, with its lease; the arguments are their attributes."""
    block = np.ndarray.__new__(Block, nbytes, np.uint8, segment.bytes, offset)
    block.segment, block.offset, block.serial = segment, offset, serial
    lease = Lease(block, _released)
    lease.segment, lease.offset, lease.serial = segment, offset, serial
    lease.generation, lease.place = generation, place
    segment.leases[offset] = lease
    return block


def _new_segment(nbytes: int) -> Segment:
    """Return a new registered segment; where memory is scarce, the cache is emptied first."""
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
    keep: Callable[[cache.Kept], None] = cache.keep,
    kind_of_slots: type[Slot] = Slot,
) -> None:
    """Free the bytes of a block that has died."""
    # The functions are arguments, because blocks may die after the module's globals have, at the
    # interpreter's end.
    segment = lease.segment
    leases = segment.leases
    if leases.get(lease.offset) is lease:  # or `references.adopt` has taken its place already
        del leases[lease.offset]
    position = lease.offset // segment.step
    # By processes that go on to use it; one that comes later is noticed when it is taken again.
    is_seen = segment.is_seen[position]
    # Inherited blocks live on in the parent, those that other processes see in these.
    if not is_seen and segment.id[0] == process_token():
        segment.serials[position] = 0
    place = lease.place
    # In a forked child, false for every inherited block: nothing goes into inherited slabs.
    is_unseen = unseen_since(lease.generation)
    if place is None:
        if is_unseen and not is_seen:
            keep(segment)
    elif isinstance(place, kind_of_slots):
        if is_unseen and not is_seen:
            keep(place)
        elif not leases:
            place.slab.home.emptied(place.slab)
    else:
        if is_unseen:
            place.home.give_back(place, lease.offset)
        if not leases:
            place.home.emptied(place)


def _forget_inherited() -> None:
    """Start a forked child without slabs: the parent goes on allocating from its own."""
    global _size_classes
    for size_class in _size_classes:
        size_class.with_room.clear()
        size_class.spare = None
    _size_classes = _new_size_classes()


forks.on_fork(in_child=_forget_inherited)
