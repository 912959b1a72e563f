"""Where workers wait for each other, and what they note down: threads and processes alike.

Made before the map whose workers use it; a forked worker inherits its pipes and its memory.
"""

from __future__ import annotations

import os
import select
import threading
import time
import weakref

import sharedarray

LIMIT = 20  # seconds


def here():
    """Return who runs: process and thread."""
    return os.getpid(), threading.get_ident()


class Semaphore:
    """Tokens in a pipe; a read of one byte gives a token to one reader."""

    def __init__(self, n_tokens=0):
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        for end in (self._read, self._write):
            weakref.finalize(self, os.close, end)
        self.release(n_tokens)

    def release(self, n_tokens=1):
        os.write(self._write, b"t" * n_tokens)

    def acquire(self, timeout=LIMIT):
        """Take a token; False where there is none for `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while self.wait(max(0, deadline - time.monotonic())):
            try:
                return bool(os.read(self._read, 1))
            except BlockingIOError:  # another one was faster
                continue
        return False

    def wait(self, timeout=LIMIT):
        """Wait until there is a token, and leave it there."""
        poll = select.poll()  # an object of this kind serves one thread at a time
        poll.register(self._read, select.POLLIN)
        return bool(poll.poll(timeout * 1000))

    def __enter__(self):
        assert self.acquire(), "nobody gives the token back"

    def __exit__(self, *exc_info):
        self.release()


class Event:
    """What threading.Event is, in all processes that inherit it."""

    def __init__(self):
        self._token = Semaphore()

    def set(self):
        if not self.is_set():  # or a loop would fill the pipe
            self._token.release()

    def is_set(self):
        return self._token.wait(0)

    def wait(self, timeout=LIMIT):
        return self._token.wait(timeout)


class Barrier:
    """What threading.Barrier is, in all processes that inherit it."""

    def __init__(self, n):
        self._n = n
        self._lock = Semaphore(1)
        self._n_came = sharedarray.zeros(1, int)
        # Two gates: before anyone comes to one again, all have passed the other.
        self._gates = [Semaphore(), Semaphore()]

    def wait(self, timeout=LIMIT):
        with self._lock:
            number = int(self._n_came[0])
            self._n_came[0] += 1
        gate = self._gates[number // self._n % 2]
        if number % self._n == self._n - 1:
            gate.release(self._n)
        if not gate.acquire(timeout):
            raise threading.BrokenBarrierError
        return number % self._n


class Meeting:
    """Where workers wait for each other: until `n` have come, or for a short while.

    What must not happen cannot be waited for. A worker that is alone by right leaves after
    `patience` seconds; where the others can come, all go on as soon as they are there.
    """

    def __init__(self, n, patience=0.2):
        self._n = n
        self._patience = patience
        self._lock = Semaphore(1)
        self._n_here = sharedarray.zeros(1, int)
        self._all_here = Event()

    def attend(self):
        with self._lock:
            self._n_here[0] += 1
            if self._n_here[0] == self._n:
                self._all_here.set()
        self._all_here.wait(self._patience)


class Log:
    """Integers that workers note down, in shared memory.

    Without a lock of its own: where two workers note at the same time, notes are lost.
    """

    def __init__(self, room=2000):
        self._words = sharedarray.zeros(room + 1, int)

    def append(self, number):
        position = int(self._words[0]) + 1
        self._words[position] = number
        self._words[0] = position

    def __iter__(self):
        return iter(self._words[1 : self._words[0] + 1].tolist())

    def __len__(self):
        return int(self._words[0])


class Tally:
    """How often workers did each of some things: one word for each, written without a lock.

    Each thing has to be done by one worker at a time.
    """

    def __init__(self, n_things):
        self.counts = sharedarray.zeros(n_things, int)

    def note(self, thing):
        self.counts[thing] += 1

    @property
    def n_done(self):
        return int(self.counts.astype(bool).sum())

    def done(self):
        return self.counts.nonzero()[0].tolist()
