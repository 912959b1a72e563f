r"""Blocks of other processes, reached through the descriptor of their segment.

::

    pickle from process p: (segment id, offset, serial, origin = (p, descriptor, lengths))
        --> /proc/p/fd/descriptor --by its name--> the segment --by the serial--> the block
    result of a worker:    the descriptor itself, by SCM_RIGHTS --> the same

Guarantees
----------
* What is attached to is the array that was pickled, alive at that moment. A memfd is known by its
  name, which has the id of the segment, a block by its serial. Nobody can shrink a sealed memfd, so
  no access is a SIGBUS.
* From then on its maker does not use the bytes for another array (`Segment.is_seen`), also when it
  has freed them: they are given back with the last process that maps them.

Assumptions
-----------
* Linux, /proc, and processes of one user.
"""

from __future__ import annotations

import os

from sharedarray.descriptor import Descriptor, opened
from sharedarray.memory import registry
from sharedarray.memory.allocator import Block, new_block
from sharedarray.memory.segment import SEALS, Segment, has_length, memfd_name, total_nbytes

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["Origin", "Unreachable", "adopt", "attach", "origin_of"]

# Process, descriptor in it, length of the segment, distance between its blocks.
Origin = tuple[int, int, int, int]


class Unreachable(Exception):  # noqa: N818 - SharedArrayUnpickleError is what users see
    """The block cannot be reached; the message says why."""


def origin_of(segment: Segment) -> Origin | None:
    """Return where other processes find a segment, None where they cannot."""
    if segment.descriptor is None:
        return None
    return os.getpid(), segment.descriptor, segment.nbytes, segment.step


def attach(segment_id: tuple[int, int], offset: int, serial: int, origin: Origin) -> Block:
    """Return a block of a process of the same user.

    Raises
    ------
    Unreachable
        If the process or the block is gone, or belongs to somebody else.
    """
    pid, number, nbytes, step = origin
    path = f"/proc/{pid}/fd/{number}"
    try:
        name = os.readlink(path)  # noqa: PTH115 - to import pathlib takes 3 ms
        if name != f"/memfd:{memfd_name(segment_id, nbytes, step)} (deleted)":
            raise Unreachable("it has been freed since, or the process that pickled it is gone")
        descriptor = opened(os.open, path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise Unreachable(f"process {pid}, which pickled it, is gone, or has freed it") from error
    except PermissionError as error:
        raise Unreachable(f"process {pid}, which pickled it, belongs to another user") from error
    except OSError as error:
        raise Unreachable(str(error)) from error
    return adopt(segment_id, offset, serial, (nbytes, step), descriptor)


def adopt(
    segment_id: tuple[int, int],
    offset: int,
    serial: int,
    lengths: tuple[int, int],
    descriptor: Descriptor,
) -> Block:
    """Return a block of the segment that a descriptor leads to.

    Parameters
    ----------
    segment_id, offset, serial
        Of the block.
    lengths : tuple of int
        Length of the segment, distance between its blocks.
    descriptor : Descriptor
        Belongs to the segment from now on.

    Raises
    ------
    Unreachable
        If the block is gone, or the descriptor does not lead to such a segment.
    """
    segment = registry.find_id(segment_id) or _map(segment_id, lengths, descriptor)
    if not 0 <= offset < segment.nbytes or offset % segment.step:
        raise Unreachable("there is no block at that offset")
    block = segment.block(offset, serial)
    if block is not None:
        return block
    position = offset // segment.step
    # The mark is set only on what looks alive, and counts only if it still does then: see
    # `allocator` for the other side.
    if segment.serials[position] == serial:
        segment.is_seen[position] = 1
        if segment.serials[position] == serial:
            # Generation -1: never to be recycled by this process.
            return new_block(segment, offset, segment.step, serial, generation=-1)
    raise Unreachable("it has been freed since")


def _map(segment_id: tuple[int, int], lengths: tuple[int, int], descriptor: Descriptor) -> Segment:
    nbytes, step = lengths
    if not 0 < step <= nbytes or not has_length(descriptor.number, total_nbytes(nbytes, step)):
        raise Unreachable("the segment has another length")
    try:
        if fcntl.fcntl(descriptor.number, fcntl.F_GET_SEALS) & SEALS != SEALS:
            raise Unreachable("the segment is not sealed")
        segment = Segment(nbytes, step, origin=(segment_id, descriptor))
    except OSError as error:  # the limits of mappings, of descriptors
        raise Unreachable(str(error)) from error
    registry.register(segment)
    return segment
