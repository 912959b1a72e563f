r"""What workers need to wait for each other: shared integers, a mutex with wake-ups, a lock.

::

    threads      a list of int       threading.Condition           a flag under the condition
    processes    an anonymous page   a token in a pipe, and one    a token in a second pipe
                 that all inherit    eventfd for each worker

Guarantees
    The holder of a pipe's token holds the mutex: there is one token, and a read of one byte gives
    it to one reader. A dead holder takes the token with it; the coordinator then ends the map, so
    no worker waits for ever (`processes`). Nothing of this has a name in the system.

Assumptions
    Shared integers are aligned words of 64 bits, read and written in one piece.

Ownership
    The coordinator makes the primitives before it starts the workers, and closes them after the
    last one has ended. Children inherit all of it, grandchildren too.
"""

from __future__ import annotations

import errno
import mmap
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, MutableSequence
from contextlib import suppress
from threading import Condition

from sharedarray.descriptor import Descriptor, opened, pipe
from sharedarray.errors import StopProcessGroup
from sharedarray.workers.interrupts import signals_blocked
from sharedarray.workers.process import is_readable, streams_kept

__all__ = [
    "Primitives",
    "ProcessPrimitives",
    "TeamPrimitives",
    "ThreadPrimitives",
]

_TOKEN = b"t"


class Primitives(ABC):
    """What `Schedule` and `Team` are built on; entering it as a context takes the mutex.

    `words` are integers that all workers and the coordinator see, zero at first.
    """

    words: MutableSequence[int]

    @abstractmethod
    def __enter__(self) -> object: ...

    @abstractmethod
    def __exit__(self, *exc_info: object) -> None: ...

    @abstractmethod
    def wait(self, rank: int) -> None:
        """Release the mutex until `wake` is called; at most one thread of a rank."""

    @abstractmethod
    def wake(self, ranks: Iterable[int] | None = None) -> None:
        """Wake all that wait, or at least these ranks; the caller has the mutex."""

    @abstractmethod
    def enter(self, is_stopped: Callable[[], bool]) -> None:
        """Enter the critical block, once no other worker is inside."""

    @abstractmethod
    def leave(self) -> None:
        """Leave the critical block."""

    def stop(self) -> None:  # noqa: B027 - processes are killed
        """Wake all that wait, here or in `enter`, to see that the map has stopped."""

    def release(self) -> None:  # noqa: B027 - likewise
        """Release the mutex where an interrupt has left this thread with it."""

    def close(self) -> None:  # noqa: B027 - threads have nothing in the kernel
        """Free what the kernel keeps for this process; its children keep theirs."""

    def reaches_here(self) -> bool:
        """Return whether the primitives work in this process: children have inherited them."""
        return True


class ThreadPrimitives(Primitives):
    """For the threads of one process."""

    def __init__(self, n_workers: int, n_words: int) -> None:
        self.words: MutableSequence[int] = [0] * n_words
        self._changed = Condition()
        self._is_inside = False
        self._pid = os.getpid()

    def __enter__(self) -> object:
        return self._changed.__enter__()

    def __exit__(self, *exc_info: object) -> None:
        with suppress(RuntimeError):  # an interrupt in `wait` has left it unlocked
            self._changed.release()

    def release(self) -> None:
        """Release the mutex where an interrupt has left this thread with it."""
        with suppress(RuntimeError):  # this thread does not have it
            while True:
                self._changed.release()

    def wait(self, rank: int) -> None:
        """Release the mutex until `wake` is called."""
        self._changed.wait()

    def wake(self, ranks: Iterable[int] | None = None) -> None:
        """Wake all that wait."""
        self._changed.notify_all()

    def enter(self, is_stopped: Callable[[], bool]) -> None:
        """Enter the critical block, once no other worker is inside."""
        with self._changed:
            while self._is_inside:
                if is_stopped():
                    raise StopProcessGroup
                self._changed.wait()
            self._is_inside = True

    def leave(self) -> None:
        """Leave the critical block."""
        with self._changed:
            self._is_inside = False
            self._changed.notify_all()

    def stop(self) -> None:
        """Wake all that wait, here or in `enter`."""
        if self.reaches_here():
            with self._changed:
                self._changed.notify_all()

    def reaches_here(self) -> bool:
        """Return whether this is the process of the threads."""
        return os.getpid() == self._pid


class ProcessPrimitives(Primitives):
    """For forked children of the process that makes it."""

    _read = staticmethod(os.read)

    def __init__(self, n_workers: int, n_words: int) -> None:
        with signals_blocked(), streams_kept():
            # The words, and one for each worker: whether it waits to be woken.
            try:
                self._page = memoryview(mmap.mmap(-1, 8 * (n_words + n_workers))).cast("q")
            except OSError as error:
                if error.errno != errno.ENOMEM:
                    raise
                raise MemoryError("not enough memory for a page of counters") from error
            self._words = self._page[:n_words]
            self.words: MutableSequence[int] = self._words  # type: ignore[assignment]
            self._is_waiting = self._page[n_words:]
            self._mutex = _token()
            self._critical = _token()
            self._wakeups = [_wakeup() for _ in range(n_workers)]

    def __enter__(self) -> object:
        return self._read(self._mutex[0].number, 1)

    def __exit__(self, *exc_info: object) -> None:
        os.write(self._mutex[1].number, _TOKEN)

    def wait(self, rank: int) -> None:
        """Release the mutex until `wake` is called; at most one thread of a rank."""
        self._is_waiting[rank] = 1
        self.__exit__()
        self._read(self._wakeups[rank][0].number, 8)
        self.__enter__()

    def wake(self, ranks: Iterable[int] | None = None) -> None:
        """Wake all that wait, or those of these ranks that do."""
        for rank in range(len(self._wakeups)) if ranks is None else ranks:
            if self._is_waiting[rank]:
                self._is_waiting[rank] = 0
                os.write(self._wakeups[rank][1].number, (1).to_bytes(8, "little"))

    def enter(self, is_stopped: Callable[[], bool]) -> None:
        """Enter the critical block, once no other worker is inside."""
        os.read(self._critical[0].number, 1)

    def leave(self) -> None:
        """Leave the critical block."""
        os.write(self._critical[1].number, _TOKEN)

    def close(self) -> None:
        """Free the page and the descriptors of this process; its children keep theirs."""
        for view in (self._words, self._is_waiting, self._page):
            view.release()
        with signals_blocked():
            for ends in (self._mutex, self._critical, *self._wakeups):
                for end in ends:
                    end.close()
            # Their finalizers run here, too, where no interrupt is lost.
            del ends, end, self._mutex, self._critical, self._wakeups


class TeamPrimitives(ProcessPrimitives):
    """For a team whose coordinator waits as its children do, and must not wait for dead ones.

    Attributes
    ----------
    until_readable : callable
        Called with a descriptor to wait for; may return before it is readable. Raises in the
        coordinator when a rank has failed or died; children wait until they are killed.
    """

    def __init__(self, n_workers: int, n_words: int) -> None:
        super().__init__(n_workers, n_words)
        self.until_readable: Callable[[int], object] = is_readable
        self._has_token = False
        # Between a poll that finds the token and the read another process may take it, and die.
        os.set_blocking(self._mutex[0].number, False)
        os.set_blocking(self._wakeups[0][0].number, False)

    def __enter__(self) -> object:
        super().__enter__()
        self._has_token = True
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._has_token:  # and not where `until_readable` has raised in `wait`
            self._has_token = False
            super().__exit__()

    def _read(self, number: int, nbytes: int) -> bytes:
        while True:
            try:
                return os.read(number, nbytes)
            except BlockingIOError:
                self.until_readable(number)


def _token() -> tuple[Descriptor, Descriptor]:
    """Return a pipe with one token in it."""
    read, write = pipe()
    os.write(write.number, _TOKEN)
    return read, write


def _wakeup() -> tuple[Descriptor, Descriptor]:
    """Return the descriptors that are read to wait and written to wake."""
    if not hasattr(os, "eventfd"):
        return pipe()
    both = opened(os.eventfd, 0, os.EFD_CLOEXEC)
    return both, both
