r"""What workers need to wait for each other: shared integers, a mutex with wake-up calls, a lock.

::

    threads      a list of int       threading.Condition           a flag under the condition
    processes    an anonymous page   a token in a pipe, and one    a token in a second pipe
                 that all inherit    eventfd for each worker

Guarantees
    Who holds the token of a pipe holds the mutex: there is one token, and a read of one byte gives
    it to one reader. A dead holder takes the token with it; the coordinator then ends the map, so
    nobody waits for ever (`processes`). Nothing of this has a name.

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
import select
from collections.abc import Callable, Iterable, MutableSequence
from contextlib import suppress
from threading import Condition
from typing import Protocol

from sharedarray.descriptor import Descriptor, opened, pipe
from sharedarray.errors import StopProcessGroup
from sharedarray.workers.interrupts import signals_blocked
from sharedarray.workers.process import streams_kept

__all__ = ["Primitives", "ProcessPrimitives", "TeamPrimitives", "ThreadPrimitives"]

_TOKEN = b"t"


class Primitives(Protocol):
    """What `Schedule` is built on; entering it as a context takes the mutex.

    Attributes
    ----------
    words : MutableSequence of int
        Integers that all workers and the coordinator see, zero at first.
    """

    words: MutableSequence[int]

    def __enter__(self) -> object: ...

    def __exit__(self, *exc_info: object) -> None: ...

    def wait(self, rank: int) -> None:
        """Give up the mutex until somebody calls `wake`; at most one thread of a rank."""

    def wake(self, ranks: Iterable[int] | None = None) -> None:
        """Wake all who wait, or at least these ranks; the caller has the mutex."""

    def enter(self, is_stopped: Callable[[], bool]) -> None:
        """Wait until nobody is inside the critical block, then be."""

    def leave(self) -> None:
        """Leave the critical block."""

    def stop(self) -> None:
        """Wake all who wait, wherever, to see that the map has stopped."""

    def let_go(self) -> None:
        """Give up the mutex where an interrupt has come between taking it and what gives it up."""

    def close(self) -> None:
        """Give back what the kernel keeps."""

    def reaches_here(self) -> bool:
        """Return whether this process is one of those that the primitives work for."""


class ThreadPrimitives:
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

    def let_go(self) -> None:
        """Give up the mutex where an interrupt has come between taking it and what gives it up."""
        with suppress(RuntimeError):  # this thread does not have it
            while True:
                self._changed.release()

    def wait(self, rank: int) -> None:
        """Give up the mutex until somebody calls `wake`."""
        self._changed.wait()

    def wake(self, ranks: Iterable[int] | None = None) -> None:
        """Wake all who wait."""
        self._changed.notify_all()

    def enter(self, is_stopped: Callable[[], bool]) -> None:
        """Wait until nobody is inside the critical block, then be."""
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
        """Wake all who wait, here and for the critical block."""
        if self.reaches_here():
            with self._changed:
                self._changed.notify_all()

    def close(self) -> None:
        """Do nothing."""

    def reaches_here(self) -> bool:
        """Return whether this is the process of the threads."""
        return os.getpid() == self._pid


class ProcessPrimitives:
    """For forked children of the process that makes it."""

    def __init__(self, n_workers: int, n_words: int) -> None:
        # Signals are held back, so that no interrupt loses a descriptor.
        with signals_blocked(), streams_kept():
            self._make(n_workers, n_words)

    def _make(self, n_workers: int, n_words: int) -> None:
        # The words of the schedule, and one for each worker: whether it waits for a wake-up call.
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
        self._bells = [_bell() for _ in range(n_workers)]

    def __enter__(self) -> object:
        return os.read(self._mutex[0].number, 1)

    def __exit__(self, *exc_info: object) -> None:
        os.write(self._mutex[1].number, _TOKEN)

    def wait(self, rank: int) -> None:
        """Give up the mutex until somebody calls `wake`; at most one thread of a rank."""
        self._is_waiting[rank] = 1
        self.__exit__()
        os.read(self._bells[rank][0].number, 8)
        self.__enter__()

    def wake(self, ranks: Iterable[int] | None = None) -> None:
        """Wake all who wait, or those of these ranks who do."""
        for rank in range(len(self._bells)) if ranks is None else ranks:
            if self._is_waiting[rank]:
                self._is_waiting[rank] = 0
                os.write(self._bells[rank][1].number, (1).to_bytes(8, "little"))

    def enter(self, is_stopped: Callable[[], bool]) -> None:
        """Wait until nobody is inside the critical block, then be."""
        os.read(self._critical[0].number, 1)

    def leave(self) -> None:
        """Leave the critical block."""
        os.write(self._critical[1].number, _TOKEN)

    def stop(self) -> None:
        """Do nothing: the coordinator kills those who wait."""

    def let_go(self) -> None:
        """Do nothing: likewise."""

    def close(self) -> None:
        """Give back the page and the descriptors of this process; its children keep theirs."""
        for view in (self._words, self._is_waiting, self._page):
            view.release()
        with signals_blocked():
            for ends in (self._mutex, self._critical, *self._bells):
                for end in ends:
                    end.close()
            # Their objects end here too: an interrupt in that would be lost.
            del ends, end, self._mutex, self._critical, self._bells

    def reaches_here(self) -> bool:
        """Return true: whoever has it has inherited it."""
        return True


class TeamPrimitives(ProcessPrimitives):
    """For a team whose coordinator waits as its children do, and must not wait for dead ones.

    Attributes
    ----------
    look : callable or None
        In the coordinator: called with a descriptor that is to become readable; returns when that
        or something else has happened, and raises where it makes no sense to go on waiting. Nobody
        looks in a child: its coordinator ends it.
    """

    def __init__(self, n_workers: int, n_words: int) -> None:
        super().__init__(n_workers, n_words)
        self.look: Callable[[int], None] | None = None
        self._has_token = False
        # Between a look that finds the token and the read another process may take it, and die.
        os.set_blocking(self._mutex[0].number, False)
        os.set_blocking(self._bells[0][0].number, False)

    def __enter__(self) -> object:
        self._read(self._mutex[0].number, 1)
        self._has_token = True
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._has_token:  # and not where a look in `wait` has raised
            self._has_token = False
            super().__exit__()

    def wait(self, rank: int) -> None:
        """Give up the mutex until somebody calls `wake`; at most one thread of a rank."""
        self._is_waiting[rank] = 1
        self.__exit__()
        self._read(self._bells[rank][0].number, 8)
        self.__enter__()

    def _read(self, number: int, nbytes: int) -> bytes:
        while True:
            try:
                return os.read(number, nbytes)
            except BlockingIOError:
                (self.look or _until_readable)(number)


def _until_readable(number: int) -> None:
    poll = select.poll()  # select.select takes no numbers above 1023
    poll.register(number, select.POLLIN)
    poll.poll()


def _token() -> tuple[Descriptor, Descriptor]:
    """Return a pipe with one token in it."""
    read, write = pipe()
    os.write(write.number, _TOKEN)
    return read, write


def _bell() -> tuple[Descriptor, Descriptor]:
    """Return what is read to wait, and written to wake."""
    if not hasattr(os, "eventfd"):
        return pipe()
    both = opened(os.eventfd, 0, os.EFD_CLOEXEC)
    return both, both
