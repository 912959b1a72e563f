r"""Address -> segment, id -> segment, and the question "is this memory shared?".

::

    register(segment) --> _by_address {start: weak segment} --> sorted starts, rebuilt on demand
                     \--> _by_id      {id: weak segment}

Guarantees
----------
* A segment is found from `register` until it dies, and never after: entries refer to it weakly,
  and it dies before its memory is unmapped.
* `is_shared` judges the memory of an array, never its class. An array without bytes, whose address
  may be the end of one block and the start of the next, is shared if one of its bases is a block.

Assumptions
-----------
* Live segments do not overlap.
* Storing to, popping from and copying the keys of a dict are atomic, as is storing a global. There
  is no lock, because entries are removed by garbage collection, at any point of any thread.
"""

from __future__ import annotations

import weakref
from bisect import bisect_right
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sharedarray.memory.segment import Block, Bytes, Segment

__all__ = ["address_of", "find", "find_id", "is_shared", "owner", "register"]

_by_address: dict[int, _Entry] = {}
_by_id: dict[tuple[int, int], _Entry] = {}
# The sorted keys of _by_address, and the state of it that they belong to.
_state = object()
_starts: tuple[object, list[int]] = (_state, [])


class _Entry(weakref.ref[Segment]):
    __slots__ = ("address", "id")

    address: int
    id: tuple[int, int]


def register(segment: Segment) -> None:
    """Make a segment known, as long as it lives."""
    global _state
    entry = _Entry(segment, _remove)
    entry.address = segment.address
    entry.id = segment.id
    _by_id[entry.id] = entry
    _by_address[entry.address] = entry
    # Last: what another thread rebuilds in between has the old state, and is rebuilt again.
    _state = object()


def _remove(
    entry: _Entry,
    by_id: dict[tuple[int, int], _Entry] = _by_id,
    by_address: dict[int, _Entry] = _by_address,
) -> None:
    # Arguments: at the interpreter's end, arrays may die after the module's globals.
    global _state
    by_id.pop(entry.id, None)
    by_address.pop(entry.address, None)
    _state = object()


def find_id(segment_id: tuple[int, int]) -> Segment | None:
    """Return the live segment of an id, None if this process has none."""
    entry = _by_id.get(segment_id)
    return None if entry is None else entry()


def find(address: int) -> Segment | None:
    """Return the live segment with the byte at `address`, None if there is none."""
    global _starts
    built_for, starts = _starts
    state = _state
    if built_for is not state:
        # The state was read before the keys: a change meanwhile makes these starts stale.
        starts = sorted(list(_by_address))  # noqa: C414 - list() is one atomic step, sorted() is not
        _starts = (state, starts)
    position = bisect_right(starts, address)
    entry = _by_address.get(starts[position - 1]) if position else None
    segment = None if entry is None else entry()
    return segment if segment is not None and address - segment.address < segment.nbytes else None


def address_of(array: NDArray[Any]) -> int:
    """Return the address of an array's first element (the one with all indices zero)."""
    address: int = array.__array_interface__["data"][0]
    return address


def is_shared(array: NDArray[Any]) -> bool:
    """Return whether the memory of an array is in a live segment."""
    base: Any = array.base
    # An array keeps its bases alive: mostly one of them is a block, and no address is needed.
    while isinstance(base, np.ndarray):
        if _is_allocated(base):
            return True
        base = base.base
    if base is None:
        return False
    # Another object owns the memory: a memoryview, another library's tensor, as_strided's holder.
    if array.nbytes == 0:
        return _block_of_chain(base) is not None
    return find(address_of(array)) is not None


def owner(array: NDArray[Any]) -> Block | None:
    """Return the block with the memory of an array, None if it is not shared."""
    block = _block_of_chain(array)
    if block is not None or array.nbytes == 0:
        return block
    address = address_of(array)
    segment = find(address)
    return None if segment is None else segment.block_at(address)


def _is_allocated(holder: Any) -> bool:
    """Return whether `holder` is a block as it was allocated, not a view of one."""
    return type(holder) is Block and type(holder.base) is Bytes


def _block_of_chain(holder: Any) -> Block | None:
    """Return the first block among `holder` and its bases."""
    while holder is not None:
        if _is_allocated(holder):
            return holder  # type: ignore[no-any-return]  # a Block, by the line above
        # The base is `obj` of a memoryview, `base` of arrays and of as_strided's holder.
        holder = holder.obj if isinstance(holder, memoryview) else getattr(holder, "base", None)
    return None
