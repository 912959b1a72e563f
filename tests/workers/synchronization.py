"""Synchronization and notes that tests share with workers, in threads and processes alike.

Make them before the map whose workers use them: forked workers inherit their pipes and memory.
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
    """Return the process and the thread of the caller."""
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
        assert self.acquire(), "the token was not given back"

    def __exit__(self, *exc_info):
        self.release()


class Event:
    """threading.Event for all processes that inherit it."""

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
    """threading.Barrier for all processes that inherit it."""

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


class Rendezvous:
    """Let workers wait for each other: until `n` have come, or for `patience` seconds.

    For tests that workers do *not* run at the same time: where they can, they meet here and the
    test fails; where they cannot, each goes on alone after `patience`.
    """

    def __init__(self, n, patience=0.2):
        self._n = n
        self._patience = patience
        self._lock = Semaphore(1)
        self._n_here = sharedarray.zeros(1, int)
        self._all_here = Event()

    def wait(self):
        with self._lock:
            self._n_here[0] += 1
            if self._n_here[0] == self._n:
                self._all_here.set()
        self._all_here.wait(self._patience)


class Log:
    """A list of integers in shared memory, which workers append to.

    It has no lock: of two appends at the same time one may be lost.
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
    """Count how often workers did each of some things: one word for each, without a lock.

    At most one worker at a time may do the same thing.
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
