r"""References to shared memory: what the pickle of a SharedArray holds, never an address or data.

::

    reference_to(array) = (tree, segment id, offset, serial, layout ..., origin)
    resolve(reference):
        the segment is mapped here           --serial--> block
        origin is a name                     --/dev/shm--> block
        origin = (process p, descriptor ...) --/proc/p/fd/descriptor--> segment --serial--> block
        with a descriptor (result of a worker, by SCM_RIGHTS)       --> the same

Guarantees
----------
* A reference resolves to the same memory with the same layout, or `SharedArrayUnpickleError` is
  raised. No reference to freed memory is ever taken for one to another array: the name of a memfd
  has the id of its segment, a block has a serial, and both are used once.
* Whatever a reference holds, it reaches nothing outside one live block, and nothing crashes. A
  sealed memfd cannot shrink, so no access is a SIGBUS.
* A process that frees memory which another process has attached to does not use it again
  (`Segment.is_seen`): the kernel takes it back when the last process unmaps it.

Assumptions
-----------
* The sender keeps the array alive until the reference is resolved: a reference owns nothing.
* Attaching to the memory of another process needs Linux, /proc, and the same user.
"""

from __future__ import annotations

import os
import re
from typing import Any, TypeVar

import numpy as np

from sharedarray.descriptor import Descriptor, opened
from sharedarray.errors import SharedArrayUnpickleError
from sharedarray.forks import TREE_TOKEN
from sharedarray.memory import named, registry
from sharedarray.memory.allocator import Block, new_block
from sharedarray.memory.segment import SEALS, Segment, has_length, memfd_name, total_nbytes

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["Unreachable", "adopt", "attach", "reference_to", "resolve"]

_A = TypeVar("_A", bound=np.ndarray)

# Process, descriptor in it, length of the segment, distance between its blocks.
_Origin = tuple[int, int, int, int]

_ADVICE = (
    "The pickle of a SharedArray refers to its memory and holds no data; keep the array, and the "
    "process that pickled it, alive until the pickle is loaded, or pickle the data instead: within "
    'sharedarray.pickling("value"), or of np.asarray(a) or a private copy (a.copy()).'
)
# What dtype.str is without Python objects; np.dtype takes other text, too ("f8,f8", "O").
_PLAIN_DTYPE = r"[<>|=][?biufcmMSUV]\d{1,10}(\[\d{0,10}[A-Za-z]{1,2}\])?"
_MAX_NDIM = 64


class Unreachable(Exception):  # noqa: N818 - SharedArrayUnpickleError is what users see
    """The block cannot be reached; the message says why."""


def reference_to(array: np.ndarray) -> tuple[Any, ...] | None:
    """Return where an array's memory is and how it lies there, None if it is not shared.

    Returns
    -------
    tuple or None
        Tree token, segment id, offset and serial of the block, offset of the first element in
        the block, shape, strides, dtype as `dtype_spec`, whether it is writeable, origin of the
        segment.
    """
    block = registry.owner(array)
    if block is None:
        return None
    start = registry.address_of(array) - registry.address_of(block)
    if array.nbytes == 0 and not 0 <= start <= block.nbytes:
        start = 0  # the place of no elements makes no difference
    return (
        TREE_TOKEN,
        block.segment.id,
        block.offset,
        block.serial,
        start,
        array.shape,
        array.strides,
        dtype_spec(array.dtype),
        array.flags.writeable,
        named.name_of(block.segment) or _origin_of(block.segment),
    )


def resolve(cls: type[_A], reference: tuple[Any, ...], descriptor: Descriptor | None = None) -> _A:
    """Return the array that `reference_to` described.

    Parameters
    ----------
    cls : type
        The class of the result.
    reference : tuple
        From a pickle, so nothing in it is trusted.
    descriptor : Descriptor, optional
        Of the segment, if its maker has sent one.

    Raises
    ------
    SharedArrayUnpickleError
        If this process cannot reach the memory, or the reference is malformed.
    """
    try:
        *block_parts, start, shape, strides, spec, writeable, origin = reference
        tree, segment_id, offset, serial = block_parts
    except ValueError as error:
        raise _malformed("it does not have ten parts") from error
    block = _find_block(tree, segment_id, offset, serial, origin, descriptor)
    if not isinstance(writeable, bool):
        raise _malformed("the writeable flag is not a bool")
    try:
        dtype = dtype_from(spec)
    # What np.dtype raises for names twice, negative or huge offsets, a shape that is too long ...
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise _malformed("the dtype is not one") from error
    _check_layout(shape, strides, dtype.itemsize, start, block.nbytes)
    try:
        array = np.ndarray.__new__(cls, shape, dtype, block, start, strides)
    except (TypeError, ValueError, OverflowError) as error:  # more elements than can be counted
        raise _malformed("there is no such array") from error
    array.flags.writeable = writeable
    return array


def _find_block(
    tree: Any, segment_id: Any, offset: Any, serial: Any, origin: Any, descriptor: Descriptor | None
) -> Block:
    if not isinstance(tree, bytes) or len(tree) != len(TREE_TOKEN):
        raise _malformed("it names no process tree")
    if not _is_integers(segment_id) or len(segment_id) != 2 or not _is_integers((offset, serial)):
        raise _malformed("it names no block of memory")
    is_named = isinstance(origin, str)
    if origin is not None and not is_named and (not _is_integers(origin) or len(origin) != 4):
        raise _malformed("it does not say where its memory is to be found")
    segment = registry.find_id(segment_id)
    block = None if segment is None else segment.block(offset, serial)
    if block is not None:
        return block
    try:
        if origin is None:
            raise Unreachable("its memory has no descriptor, and is not in this process")
        if is_named:
            return _find_named(segment_id, offset, serial, origin)
        if descriptor is not None:
            return adopt(segment_id, offset, serial, origin[2:], descriptor)
        return attach(segment_id, offset, serial, origin)
    except Unreachable as error:
        where = "" if tree == TREE_TOKEN else ", which was pickled in another tree of processes"
        raise SharedArrayUnpickleError(
            f"the memory of this SharedArray{where} cannot be reached: {error}. {_ADVICE}"
        ) from error


def _find_named(segment_id: tuple[int, int], offset: int, serial: int, name: str) -> Block:
    try:
        block = named.find(name)[0]
    except (OSError, ValueError) as error:
        raise Unreachable(str(error)) from error
    if block.segment.id != segment_id or (offset, serial) != (0, named.SERIAL):
        raise Unreachable(f"the name {name!r} is another segment's now")
    return block


def _check_layout(shape: Any, strides: Any, itemsize: int, start: Any, nbytes: int) -> None:
    """Raise unless all elements are within the `nbytes` of a block."""
    # np.ndarray checks the same again, but takes a length of -1 for "as long as there is room".
    if not _is_integers(shape) or not _is_integers(strides) or not _is_integers((start,)):
        raise _malformed("shape, strides or offset are not integers")
    if len(shape) != len(strides) or len(shape) > _MAX_NDIM or min(shape, default=0) < 0:
        raise _malformed(f"shape {shape} and strides {strides} do not fit together")
    if 0 in shape:
        low = high = start
    else:  # Python's integers: nothing overflows
        spans = [(n - 1) * stride for n, stride in zip(shape, strides, strict=True)]
        low = start + sum(span for span in spans if span < 0)
        high = start + sum(span for span in spans if span > 0) + itemsize
    if low < 0 or high > nbytes:
        raise _malformed(f"bytes {low} to {high} are not within the {nbytes} of the block")


def _is_integers(values: Any) -> bool:
    return isinstance(values, tuple) and all(
        type(value) is int and -(2**64) < value < 2**64 for value in values
    )


def _malformed(why: str) -> SharedArrayUnpickleError:
    return SharedArrayUnpickleError(f"the pickle of a SharedArray is damaged: {why}. {_ADVICE}")


def dtype_spec(dtype: np.dtype[Any]) -> Any:
    """Return a dtype as strings, numbers and tuples, for `dtype_from`.

    It is ``dtype.str`` of a plain dtype; ``(spec, shape)`` of a subarray; ``(names, specs, offsets,
    titles, itemsize, aligned, is_record)`` of a structured dtype; the dtype itself if these do not
    describe it, as one of another package.
    """
    if dtype.isbuiltin == 1 and dtype.kind in "biufc":  # nearly all; saves 2 us of 7
        return dtype.str
    spec: Any
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        spec = (dtype_spec(base), shape)
    elif dtype.names is not None:
        fields = [dtype.fields[name] for name in dtype.names]  # type: ignore[index]
        spec = (
            dtype.names,
            tuple(dtype_spec(field[0]) for field in fields),
            tuple(field[1] for field in fields),
            tuple(field[2] if len(field) == 3 else None for field in fields),  # type: ignore[misc]
            dtype.itemsize,
            dtype.isalignedstruct,
            issubclass(dtype.type, np.record),
        )
    else:
        spec = dtype.str
    try:
        rebuilt = dtype_from(spec)
    except (TypeError, ValueError):
        return dtype
    return spec if rebuilt == dtype and rebuilt.kind == dtype.kind else dtype


def dtype_from(spec: Any) -> np.dtype[Any]:
    """Return the dtype of a `dtype_spec`; NumPy's errors if it is malformed or has objects."""
    if isinstance(spec, np.dtype):
        dtype = spec
    elif isinstance(spec, str):
        if not re.fullmatch(_PLAIN_DTYPE, spec):
            raise ValueError(f"not the text of a dtype: {spec!r}")
        dtype = np.dtype(spec)
    elif isinstance(spec, tuple) and len(spec) == 2:
        base, shape = spec
        if not _is_integers(shape):
            raise TypeError("not the shape of a subarray")
        dtype = np.dtype((dtype_from(base), shape))
    else:
        dtype = _structured(*spec)
    if dtype.hasobject:
        raise TypeError(f"{dtype} has Python objects")
    return dtype


def _structured(
    names: Any, specs: Any, offsets: Any, titles: Any, itemsize: Any, aligned: Any, is_record: Any
) -> np.dtype[Any]:
    if not _is_integers((*offsets, itemsize)) or not len(names) == len(specs) == len(titles):
        raise TypeError("not the fields of a structured dtype")
    if not all(title is None or isinstance(title, str) for title in titles):
        raise TypeError("not the titles of fields")  # np.dtype takes nearly anything for one
    dtype = np.dtype(
        {
            "names": list(names),
            "formats": [dtype_from(spec) for spec in specs],
            "offsets": list(offsets),
            "titles": list(titles),
            "itemsize": itemsize,
        },
        align=aligned is True,
    )
    return np.dtype((np.record, dtype)) if is_record is True else dtype


def _origin_of(segment: Segment) -> _Origin | None:
    """Return where other processes find a segment, None if they cannot."""
    if segment.descriptor is None:
        return None
    return os.getpid(), segment.descriptor, segment.nbytes, segment.step


def attach(segment_id: tuple[int, int], offset: int, serial: int, origin: _Origin) -> Block:
    """Return a block of another process of the same user, or raise `Unreachable`."""
    pid, number, nbytes, step = origin
    if pid == os.getpid():
        raise Unreachable("it has been freed since")
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
    """Return a block of the segment of a descriptor, or raise `Unreachable`.

    Parameters
    ----------
    segment_id, offset, serial
        Of the block.
    lengths : tuple of int
        Length of the segment, distance between its blocks.
    descriptor : Descriptor
        Owned by the segment from now on.
    """
    segment = registry.find_id(segment_id) or _map(segment_id, lengths, descriptor)
    if not 0 <= offset < segment.nbytes or offset % segment.step:
        raise Unreachable("there is no block at that offset")
    block = segment.block(offset, serial)
    if block is not None:
        return block
    position = offset // segment.step
    # Mark what looks alive, then look again: the mark counts only if the block is alive after it.
    # See `allocator` for the other side.
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
