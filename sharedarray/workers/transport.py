r"""Framed pickles between a worker process and its coordinator.

::

    worker end                                  coordinator end
    ----------                                  ---------------
    send(report) --small--> socket: frame ----> read(): frames --load--> report
                 \--large-> spool (memfd)  \
                            socket: SPOOLED -> load: reads the spool, answers FREE
    receive()  <---- socket: CLAIM, FREE <----- send(claim), flush()

Guarantees
    A worker pickles a report as a whole before it sends any byte of its frame, and unpickles first
    what may not unpickle. The coordinator's end does not block, so no worker keeps it waiting.
    Reports larger than `INLINE_MAX_NBYTES` do not go through the socket but through the worker's
    spool: shared memory without a name, whose pages are reused.

Assumptions
    Both ends belong to one tree of forks, which trusts itself: a pickle may run any code. The
    magic number of a frame only detects what user code has written into the socket.

Ownership
    A worker makes its spool when it first needs one, and sends the descriptor with the frame. It
    owns the bytes in the spool until it sends the frame, the coordinator until it answers FREE.
"""

from __future__ import annotations

import errno
import os
import pickle
import socket
import struct
from array import array
from collections import deque
from collections.abc import Sequence
from typing import Any

from sharedarray.descriptor import Descriptor, above_streams
from sharedarray.memory.pickling import MAX_DESCRIPTORS, TREE, Pickler, is_safe, loading

__all__ = [
    "INLINE_MAX_NBYTES",
    "CoordinatorEnd",
    "Frame",
    "PeerGone",
    "ProtocolError",
    "WorkerEnd",
]

# A larger pickle goes through the spool: about half of what a socket holds before a writer waits.
INLINE_MAX_NBYTES = 1 << 16
# A spool that has grown beyond this gives its pages back after each use.
KEPT_NBYTES = 64 << 20

_MAGIC = b"shdarray"
_HEADER = struct.Struct("<8sBBQ")  # magic, kind, descriptors that come along, bytes that follow
_INLINE, _SPOOLED, _END, _CLAIM, _FREE = range(5)
_READ_NBYTES = 4 * INLINE_MAX_NBYTES
_CLOSE_ON_EXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)  # not on macOS
_DESCRIPTOR_SPACE = (
    socket.CMSG_SPACE((MAX_DESCRIPTORS + 1) * struct.calcsize("i"))
    if hasattr(socket, "CMSG_SPACE")
    else 0
)

Frame = tuple[int, bytes, list[Descriptor]]


class PeerGone(BaseException):
    """The other end is closed."""


class ProtocolError(Exception):
    """The socket has received something that is not a frame."""


class WorkerEnd:
    """The worker's end of a socket: blocking."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._spool: int | None = None
        self._is_spool_free = True
        self._is_spool_known = False
        self._claims: deque[Any] = deque()

    def send(self, report: Any, values: list[Any] | None = None) -> None:
        """Send a report, of which `values` are the user's.

        What pickling raises is raised before anything is sent.
        """
        outgoing = _Outgoing(self)
        pickler = Pickler(outgoing, TREE)
        pickler.dump(report)
        descriptors = pickler.descriptors
        del pickler  # and the copies of small arrays in its memo
        if values is not None and not all(map(is_safe, values)):
            outgoing.check()
        if outgoing.spool is None:
            self._send(_INLINE, b"".join(outgoing.parts), descriptors)
            return
        if not self._is_spool_known:
            descriptors.insert(0, outgoing.spool)
        self._is_spool_free = False
        self._is_spool_known = True
        self._send(_SPOOLED, b"", descriptors)

    def end(self, *, has_offspring: bool = False) -> None:
        """Say that no further report will come, and whether the worker leaves children."""
        self._send(_END, b"+" if has_offspring else b"")

    def next_claim(self) -> Any:
        """Return the next claim, None after the last one."""
        while not self._claims:
            self._receive()
        return self._claims.popleft()

    def free_spool(self) -> int:
        """Wait for the coordinator to free the spool; return its descriptor."""
        if self._spool is None:
            self._spool = _new_spool()
        while not self._is_spool_free:
            self._receive()
        os.lseek(self._spool, 0, os.SEEK_SET)
        return self._spool

    def _receive(self) -> None:
        magic, kind, _, nbytes = _HEADER.unpack(self._read(_HEADER.size))
        if magic != _MAGIC:
            raise ProtocolError
        body = self._read(nbytes)
        if kind == _FREE:
            self._is_spool_free = True
        else:
            self._claims.append(pickle.loads(body))

    def _send(self, kind: int, body: bytes, descriptors: Sequence[int] = ()) -> None:
        data = _HEADER.pack(_MAGIC, kind, len(descriptors), len(body)) + body
        try:
            n = socket.send_fds(self._socket, [data], descriptors) if descriptors else 0
            self._socket.sendall(memoryview(data)[n:])
        except OSError as error:  # gone, or user code has closed or replaced the socket
            raise PeerGone from error

    def _read(self, nbytes: int) -> bytearray:
        data = bytearray(nbytes)
        view = memoryview(data)
        try:
            while view:
                n = self._socket.recv_into(view)
                if not n:
                    raise PeerGone
                view = view[n:]
        except OSError as error:  # see above
            raise PeerGone from error
        return data


class _Outgoing:
    """The file that a report is pickled to: in memory, or in the spool once it gets large."""

    def __init__(self, end: WorkerEnd) -> None:
        self.parts: list[bytes] = []
        self.spool: int | None = None
        self._end = end
        self._nbytes = 0

    def write(self, data: Any) -> int:
        """Take bytes, or any buffer, as a file does."""
        view = memoryview(data).cast("B")
        self._nbytes += len(view)
        if self._nbytes <= INLINE_MAX_NBYTES:
            self.parts.append(bytes(view))
            return len(view)
        if self.spool is None:
            self.spool = self._end.free_spool()
            for part in self.parts:
                _write_all(self.spool, memoryview(part))
        _write_all(self.spool, view)
        return len(view)

    def check(self) -> None:
        """Unpickle what was written; raise what the coordinator would meet."""
        if self.spool is None:
            pickle.loads(b"".join(self.parts))
        else:
            _load_spool(self.spool)


class CoordinatorEnd:
    """The coordinator's end of a socket: non-blocking.

    Attributes
    ----------
    socket : socket.socket
        To be polled.
    is_at_end : bool
        Whether the worker's end is closed.
    is_drained : bool
        Whether the last `read` has found nothing.
    has_ended, has_offspring : bool
        Whether the worker has said that no further report will come; that it leaves children.
    """

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self.socket = end
        self.is_at_end = False
        self.is_drained = False
        self.has_ended = False
        self.has_offspring = False
        self._incoming = bytearray()
        self._outgoing = bytearray()
        self._descriptors: deque[Descriptor] = deque()
        self._spool: Descriptor | None = None

    def read(self) -> list[Frame]:
        """Return the frames that are there, at most about `_READ_NBYTES` of them."""
        try:
            data, ancillary, flags, _ = self.socket.recvmsg(
                _READ_NBYTES, _DESCRIPTOR_SPACE, _CLOSE_ON_EXEC
            )
        except BlockingIOError:
            self.is_drained = True
            return []
        except ConnectionResetError:
            data, ancillary, flags = b"", [], 0
        self.is_drained = False
        for _, _, packed in ancillary:
            numbers = array("i", packed[: len(packed) // 4 * 4])
            self._descriptors.extend(map(Descriptor, numbers))
        if flags & socket.MSG_CTRUNC:
            raise OSError(errno.EMFILE, "too many open files for the arrays of a worker")
        self.is_at_end = not data
        self._incoming += data
        frames = []
        while (frame := self._next_frame()) is not None:
            frames.append(frame)
        return frames

    def _next_frame(self) -> Frame | None:
        if not _MAGIC.startswith(self._incoming[: len(_MAGIC)]):
            raise ProtocolError  # at once: the rest of a frame may never come
        if len(self._incoming) < _HEADER.size:
            return None
        _, kind, n_descriptors, nbytes = _HEADER.unpack_from(self._incoming)
        if nbytes > INLINE_MAX_NBYTES or kind > _END:
            raise ProtocolError
        stop = _HEADER.size + nbytes
        if len(self._incoming) < stop:
            return None
        body = bytes(self._incoming[_HEADER.size : stop])
        del self._incoming[:stop]
        if n_descriptors > len(self._descriptors):
            raise ProtocolError
        descriptors = [self._descriptors.popleft() for _ in range(n_descriptors)]
        if kind == _END:
            self.has_ended = True
            self.has_offspring = nbytes > 0
        return kind, body, descriptors

    def load(self, frame: Frame) -> Any:
        """Return the report of a frame, None for the end."""
        kind, body, descriptors = frame
        if kind == _END:
            return None
        if kind == _SPOOLED and self._spool is None:
            self._spool = descriptors.pop(0)
        with loading(descriptors):
            return pickle.loads(body) if kind == _INLINE else self._load_spool()

    def _load_spool(self) -> Any:
        spool = self._spool.number if self._spool is not None else -1
        try:
            return _load_spool(spool)
        finally:
            if os.fstat(spool).st_size > KEPT_NBYTES:
                os.ftruncate(spool, 0)
            self._outgoing += _HEADER.pack(_MAGIC, _FREE, 0, 0)
            self.flush()

    def send(self, claim: Any) -> None:
        """Send a claim, as far as the socket takes it now; see `flush`."""
        try:
            body = pickle.dumps(claim, 5)
        except Exception as error:
            error.add_note(
                f"item {claim.start} comes from an iterator, and has to be pickled for worker "
                "processes; a sequence is inherited"
            )
            raise
        self._outgoing += _HEADER.pack(_MAGIC, _CLAIM, 0, len(body)) + body
        self.flush()

    def flush(self) -> None:
        """Send what is left, as far as the socket takes it now; drop it if the worker is dead."""
        try:
            while self._outgoing:
                n = self.socket.send(memoryview(self._outgoing)[: 4 * _READ_NBYTES])
                del self._outgoing[:n]
        except BlockingIOError:
            pass
        except (BrokenPipeError, ConnectionResetError):
            self._outgoing.clear()

    @property
    def has_unsent(self) -> bool:
        """Return whether something is left for `flush`."""
        return bool(self._outgoing)

    def close(self) -> None:
        """Close the socket and the spool."""
        self.socket.close()
        if self._spool is not None:
            self._spool.close()
            self._spool = None
        self._descriptors.clear()


def _new_spool() -> int:
    try:
        return above_streams(os.memfd_create("sharedarray-spool", os.MFD_CLOEXEC))
    except (AttributeError, OSError):  # another platform, an old kernel, seccomp
        import tempfile  # takes 2 ms, and is rarely needed

        with tempfile.TemporaryFile(buffering=0) as file:
            return above_streams(os.dup(file.fileno()))


def _write_all(descriptor: int, view: memoryview) -> None:
    while view:
        view = view[os.write(descriptor, view) :]


def _load_spool(descriptor: int) -> Any:
    os.lseek(descriptor, 0, os.SEEK_SET)
    with open(descriptor, "rb", closefd=False) as file:
        return pickle.load(file)
