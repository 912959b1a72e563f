r"""Pieces of sorted blocks on their way to where they are merged: without a copy in a machine.

::

    sorted block --held--> files in memory (memfd)       in a Dask worker, unless it is small
                       \-> private arrays               elsewhere, or if there is no descriptor left
    sent to a worker of this machine:  name, process, descriptor --open /proc/...--> the same file
    sent elsewhere, spilled to disk:   bytes                                     --> private arrays

A worker that fetches pieces opens the connection, and says on it on which machine it is (see
`introduce`); others get bytes. So it is known when a piece is sent which way it goes.

Guarantees
----------
* A piece that has arrived does not depend on its sender any more, see `piece_files`.
* A file cannot be opened if its sender was just lost, or no descriptor is left. Dask hears of a
  lost connection then, asks again, and gets bytes from then on.

Assumptions
-----------
* ``handshake_overrides`` among the arguments of Dask's connections get to the other end, as in
  distributed since 2021. If they do not, all pieces go as bytes.
"""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple
from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray

from sharedarray.cluster.piece_files import File, has_room
from sharedarray_ops.plan import Chunk, chunks
from sharedarray_ops.pool import Pool
from sharedarray_ops.sort.merging import Indexed, Ordered

__all__ = ["Bundle", "can_share", "cut", "dask_worker", "held", "introduce", "sampled"]

# Smaller ones travel in less time than it takes to make and open a file.
MIN_NBYTES = 1 << 18
# Of each block: the more files, the sooner memory is free.
N_FILES = 4
# What a worker says on its connections.
MACHINE = "sharedarray-machine"


class Span(NamedTuple):
    """A part of sorted elements: of private arrays, or of a file."""

    source: Ordered | File
    chunk: Chunk

    def piece(self) -> Ordered:
        """Return the elements, not to be written to."""
        arrays = self.source.arrays() if isinstance(self.source, File) else self.source
        return _sliced(arrays, self.chunk)

    @property
    def nbytes(self) -> int:
        """Return how many bytes the elements have."""
        if isinstance(self.source, File):
            return self.source.layout.nbytes * self.chunk.size // self.source.layout.size
        return sum(a.nbytes for a in self.piece() if a is not None)


class Bundle:
    """Sorted pieces of one block, each of them in one span or more, in the order of the elements.

    The samples are values that are going to be asked for: no file need be mapped for them.
    """

    __slots__ = ("samples", "spans")

    def __init__(self, spans: list[list[Span]], samples: NDArray[Any] | None = None) -> None:
        self.spans = spans
        self.samples = samples

    def piece(self, number: int) -> list[Ordered]:
        """Return the parts of a piece, not to be written to."""
        return [span.piece() for span in self.spans[number]]

    def __sizeof__(self) -> int:
        # Dask decides by this when to spill.
        return sum(span.nbytes for spans in self.spans for span in spans)

    def __reduce__(self) -> Any:
        return _unpacked, _packed(self)


# An array as its dtype and its bytes: NumPy's own pickle forgets the byte order of some.
_Packed = tuple[np.dtype[Any], NDArray[np.uint8]]


def _packed(bundle: Bundle) -> tuple[list[list[list[_Packed | None]]], _Packed | None]:
    """Return all elements of a bundle, and its samples."""

    def pack(a: NDArray[Any] | None) -> _Packed | None:
        return None if a is None else (a.dtype, a.view(np.uint8))

    spans = [[[pack(a) for a in span.piece()] for span in spans] for spans in bundle.spans]
    return spans, pack(bundle.samples)


def _unpacked(spans: list[list[list[_Packed | None]]], samples: _Packed | None) -> Bundle:
    def unpack(packed: _Packed | None) -> Any:
        return None if packed is None else packed[1].view(packed[0])

    pieces = [[Ordered(*map(unpack, arrays)) for arrays in parts] for parts in spans]
    private = [[Span(p, Chunk(0, p.values.size)) for p in parts] for parts in pieces]
    return Bundle(private, unpack(samples))


def held(block: Ordered | Indexed, positions: NDArray[np.int64] | None, pool: Pool) -> Bundle:
    """Return a sorted block as one piece, with the values at these positions as its samples.

    In a Dask worker it is in some files, each of which is free when all its elements are merged.
    """
    size = block.values.size
    n_bytes = sum(a.nbytes for a in block if a is not None)
    if (
        n_bytes >= N_FILES * MIN_NBYTES
        and dask_worker() is not None
        and _machine()
        and has_room(N_FILES)
    ):
        with suppress(OSError):  # no descriptor, seccomp
            files = [File.of(block, part, pool) for part in chunks(0, size, N_FILES)]
            bundle = Bundle([[Span(file, Chunk(0, file.layout.size)) for file in files]])
            bundle.samples = None if positions is None else sampled(bundle, positions)
            return bundle
    ordered = block.ordered(pool) if isinstance(block, Indexed) else block
    samples = None if positions is None else ordered.values[positions]
    return Bundle([[Span(ordered, Chunk(0, size))]], samples)


def sampled(block: Bundle, positions: NDArray[np.int64]) -> NDArray[Any]:
    """Return the values of a block at these positions."""
    (spans,) = block.spans
    values = np.empty(positions.shape, spans[0].piece().values.dtype)
    for start, span in zip(_starts(spans), spans, strict=True):  # one file is mapped at a time
        here = (positions >= start) & (positions < start + span.chunk.size)
        values[here] = span.piece().values[positions[here] - start]
    return values


def cut(block: Bundle, parts: Sequence[Chunk]) -> Bundle:
    """Return the pieces of a block, without a copy of what is in files.

    Private arrays are copied, so that the memory of each piece is free when it is merged.
    """
    (spans,) = block.spans
    pieces = []
    for part in parts:
        piece = [Span(spans[0].source, Chunk(0, 0))]
        for start, (source, chunk) in zip(_starts(spans), spans, strict=True):
            i, j = max(part.start - start, 0), min(part.stop - start, chunk.size)
            if i < j:
                piece.append(Span(source, Chunk(i, j)))
        pieces.append(piece[1:] or piece)
    return Bundle([list(map(_kept_alone, piece)) for piece in pieces])


def _starts(spans: Sequence[Span]) -> Iterator[int]:
    return accumulate((span.chunk.size for span in spans[:-1]), initial=0)


def _sliced(a: Ordered, chunk: Chunk) -> Ordered:
    values, positions = a
    return Ordered(values[chunk.slice], None if positions is None else positions[chunk.slice])


def _kept_alone(span: Span) -> Span:
    """Return a part that keeps only its own elements in memory, or those of a file."""
    if isinstance(span.source, File):
        return span
    values, positions = span.piece()
    copied = Ordered(values.copy(), None if positions is None else positions.copy())
    return Span(copied, Chunk(0, values.size))


@cache
def _machine() -> str:
    """Return an id of the processes that may open each other's files, "" if unknown."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        spaces = [Path(f"/proc/self/ns/{kind}").stat().st_ino for kind in ("pid", "user")]
        return " ".join(map(str, (boot, *spaces, os.geteuid())))
    except (OSError, AttributeError):  # not on Linux
        return ""


def dask_worker() -> Any:
    """Return the Dask worker that runs this task, None if a scheduler in this process does."""
    try:
        return sys.modules["distributed"].get_worker()
    except (KeyError, ValueError):
        return None


def can_share(n_blocks: int) -> bool:
    """Return whether so many blocks can be in files that all workers of the cluster can open.

    They can if all their addresses are of one machine, and this process could have the files.
    """
    if not _machine() or not has_room(n_blocks * N_FILES):
        return False
    try:
        client = sys.modules["distributed"].default_client()
    except (KeyError, ValueError):
        return False
    if client.asynchronous:
        return False
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    return len({worker["host"] for worker in workers}) == 1


# The workers of this process that have said on which machine they are.
_introduced: WeakSet[Any] = WeakSet()


def introduce() -> None:
    """Have the Dask worker of this task say on its connections on which machine it is."""
    worker = dask_worker()
    if worker is not None and worker not in _introduced and _machine():
        _introduced.add(worker)
        _register()
        worker.loop.add_callback(_say, worker, _machine())


def _say(worker: Any, machine: str) -> None:
    """Name the machine on connections opened from now on, and close idle ones."""
    with suppress(AttributeError, TypeError):  # another version of Dask: pieces go as bytes
        pool = worker.rpc
        told = (pool.connection_args.get("handshake_overrides") or {}) | {MACHINE: machine}
        pool.connection_args = pool.connection_args | {"handshake_overrides": told}
        pool.collect()


def _withdraw() -> None:
    """Have pieces sent as bytes from now on, because files cannot be opened."""
    for worker in list(_introduced):
        worker.loop.add_callback(_say, worker, "")


def _serialize(bundle: Bundle, context: Any = None) -> tuple[dict[str, Any], list[Any]]:
    recipient = (context or {}).get("recipient") or {}
    if _machine() and recipient.get(MACHINE) == _machine():
        spans = [
            [(span.source.reference, span.chunk) for span in spans]  # type: ignore[union-attr]
            for spans in bundle.spans
            if isinstance(spans[0].source, File)
        ]
        if spans:
            return {"files": pickle.dumps((spans, bundle.samples))}, []
    frames: list[pickle.PickleBuffer] = []
    arrays = pickle.dumps(_packed(bundle), 5, buffer_callback=frames.append)
    return {"arrays": arrays}, [frame.raw() for frame in frames]


def _deserialize(header: dict[str, Any], frames: list[Any]) -> Bundle:
    if "files" not in header:
        return _unpacked(*pickle.loads(header["arrays"], buffers=frames))
    pieces, samples = pickle.loads(header["files"])
    try:
        spans = [[Span(File.attached(*of), chunk) for of, chunk in parts] for parts in pieces]
        return Bundle(spans, samples)
    except OSError as error:
        _withdraw()
        # Dask takes any error for final but one of the connection.
        raise ConnectionError(f"a piece cannot be reached: {error}") from error


def _register() -> None:
    from distributed import protocol  # an extra

    dask: Any = protocol  # which does not say what it exports
    dask.dask_serialize.register(Bundle)(_serialize)
    dask.dask_deserialize.register(Bundle)(_deserialize)


# A Dask worker imports this module with the first task, or with the first piece.
if "distributed.protocol" in sys.modules:
    _register()
