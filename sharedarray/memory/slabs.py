r"""Segments cut into blocks of one size, so that many arrays need few mappings and descriptors.

::

    SizeClass.take --> Slab.recycled or .fresh --> offset of a free block
    small block (<= 64 KiB) dies  --give_back--> Slab.recycled, with its pages
    larger block dies --> its Slot --keep--> cache --take--> next array of that size class
                                               \--let_go: pages to the kernel--> Slab.recycled

A slab is sparse: what no array has touched costs nothing. So it may be large, and a block of it may
be much longer than the array on it. The first slab of a size class is small; further ones have as
many blocks as are in use, so that the number of slabs grows with the logarithm of the arrays.

Guarantees
----------
* A free offset belongs to one thread: it is popped off a list, or is the next of an iterator.
* What a recycled slot of a larger block has is zero; small blocks keep what was in them.

Assumptions
-----------
* Blocks that forked children or unrelated processes have seen are few: their bytes are lost until
  their slab dies, since no process tells another that it has let go of an array.
* As in `allocator`: no lock, each step is one operation on a list or dict.
"""

from __future__ import annotations

import weakref
from typing import Any

from sharedarray.memory import cache, registry
from sharedarray.memory.segment import PAGE_NBYTES, Segment

__all__ = ["SLAB_MAX_NBYTES", "SLAB_NBYTES", "SizeClass", "Slab", "Slot"]

# A small block keeps its pages when it is freed: that wastes at most up to its own size.
SLAB_MAX_NBYTES = 64 << 10
SLAB_NBYTES = 1 << 20
# Of larger blocks, a slab has at least so many; none that is made for its number is longer.
_MIN_BLOCKS = 16
_MAX_SLAB_NBYTES = 1 << 30


class Slab:
    """One segment cut into blocks of one size."""

    __slots__ = ("__weakref__", "fresh", "home", "n_spare", "recycled", "segment")

    def __init__(self, home: SizeClass, n_blocks: int) -> None:
        self.home = home  # lists it while it has room
        nbytes = n_blocks * home.nbytes
        self.segment = Segment(nbytes, step=home.nbytes)
        # As the spare it has used so few of its blocks that all the others are fresh.
        self.n_spare = n_blocks - home.max_spare_nbytes // home.nbytes
        # Offsets never used, whose bytes are zero; those of freed blocks.
        self.fresh: Any = iter(range(0, nbytes, home.nbytes))
        self.recycled: list[int] = []

    def take(self) -> tuple[int, bool] | None:
        """Return the offset of a free block and whether it may be other than zero, None if full."""
        # EAFP throughout: to ask first and pop then would be two steps.
        is_small = self.home.is_small
        try:
            while True:
                offset = self.recycled.pop()
                if not self.segment.is_seen[offset // self.segment.step]:
                    return offset, is_small
        except IndexError:
            pass
        try:
            offset = next(self.fresh)
        except StopIteration:
            return None
        # Make the page behind the block: NumPy's masked loads reach behind its end, and where there
        # is no page, AMD's processors take 3 us longer to sort it.
        behind = offset + self.segment.step
        if is_small and behind % PAGE_NBYTES == 0 and behind < self.segment.nbytes:
            self.segment.bytes[behind]
        return offset, False


class SizeClass:
    """The slabs of one size of block that have room."""

    __slots__ = ("is_small", "max_spare_nbytes", "nbytes", "slabs", "spare", "with_room")

    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes
        self.is_small = nbytes <= SLAB_MAX_NBYTES
        # What has been used of a spare may have pages.
        self.max_spare_nbytes = max(SLAB_NBYTES, 2 * nbytes)
        self.with_room: dict[Slab, None] = {}
        self.spare: Slab | None = None
        self.slabs: list[weakref.ref[Slab]] = []

    def take(self) -> tuple[Slab, int, bool]:
        """Return a slab, the offset of a free block in it, and whether that may not be zero."""
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

    def take_slot(self, nbytes: int) -> Slot:
        """Return a slot for a block of `nbytes` bytes, which is zero if the slot is fresh."""
        slot = cache.take(self.nbytes, Slot)
        if slot is None:
            slab, offset, _ = self.take()
            slot = Slot(slab, offset)
            slot.touched = nbytes
            return slot
        if slot.touched != nbytes:
            slot.fit(nbytes)
        return slot

    def _new_slab(self) -> Slab:
        slabs = [slab for reference in self.slabs if (slab := reference()) is not None]
        n_least = max(SLAB_NBYTES // self.nbytes, _MIN_BLOCKS)
        n_live = sum(len(slab.segment.leases) for slab in slabs)
        try:
            slab = Slab(self, max(n_least, min(n_live, _MAX_SLAB_NBYTES // self.nbytes)))
        except MemoryError:  # a limit of address space
            slab = Slab(self, n_least)
        self.slabs = [weakref.ref(each) for each in (*slabs, slab)]
        registry.register(slab.segment)
        self.with_room[slab] = None
        return slab

    def give_back(self, slab: Slab, offset: int) -> None:
        """Let a freed block be taken again."""
        slab.recycled.append(offset)
        self.with_room[slab] = None

    def emptied(self, slab: Slab) -> None:
        """Keep a slab without blocks as the spare if there is none, else let it go."""
        spare = self.spare
        n_fresh = slab.fresh.__length_hint__()
        has_room = n_fresh or slab.recycled  # not if forked children may see all of it
        # In a forked child, none is listed.
        if n_fresh < slab.n_spare or not has_room or slab not in self.with_room:
            self.with_room.pop(slab, None)
            self.spare = None if spare is slab else spare
        elif spare is slab:
            pass
        elif spare is None or spare.segment.leases or spare not in self.with_room:
            self.spare = slab
        else:
            # Another thread may have taken a block of it just now: that block's lease keeps the
            # slab, and lists it again when the block dies.
            self.with_room.pop(slab, None)


class Slot:
    """The place of a larger block in a slab, which keeps its pages for the next array.

    It has what `cache` asks of the memory that it keeps.

    Parameters
    ----------
    slab : Slab
        The slab.
    offset : int
        The block's.

    Attributes
    ----------
    touched : int
        How many of its bytes may have pages.
    """

    __slots__ = ("is_fresh", "is_seen", "nbytes", "offset", "segment", "slab", "touched")

    def __init__(self, slab: Slab, offset: int) -> None:
        self.slab = slab
        self.segment = slab.segment
        self.offset = offset
        self.nbytes = slab.home.nbytes
        self.is_fresh = True
        position = offset // self.nbytes
        self.is_seen = self.segment.is_seen[position : position + 1]
        self.touched = 0

    def fit(self, nbytes: int) -> None:
        """Note how long the next array is; pages that a much longer one had go to the kernel."""
        if self.touched > nbytes + nbytes // 8:
            self._clear(-(-nbytes // PAGE_NBYTES) * PAGE_NBYTES, self.touched)
            self.touched = nbytes
        self.touched = max(self.touched, nbytes)

    def let_go(self) -> None:
        """Give the pages back to the kernel, and the place to the slab, for good."""
        home = self.slab.home
        if not self.is_seen[0]:  # by a process that goes on to use it
            self._clear(0, self.touched)
            home.give_back(self.slab, self.offset)
        if not self.segment.leases:
            home.emptied(self.slab)

    def _clear(self, start: int, stop: int) -> None:
        self.segment.clear(self.offset + start, self.offset + stop)
