"""Time as tests measure it: seconds for which the whole machine stands still do not count.

A virtual machine that others have pushed aside does nothing for seconds, and its clock goes on.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Stopwatch", "naps", "stopwatch", "within"]


def naps(seconds: float, nap: float = 0.001) -> Iterator[None]:
    """Yield, and sleep in between, until that adds up to so many seconds."""
    for _ in range(round(seconds / nap)):
        yield
        time.sleep(nap)


class Stopwatch:
    """Counts naps in a thread of its own."""

    NAP = 0.01

    def __init__(self) -> None:
        self._n_naps = 0
        self._is_over = threading.Event()

    @property
    def seconds(self) -> float:
        return self._n_naps * self.NAP

    def run(self) -> None:
        while not self._is_over.wait(self.NAP):
            self._n_naps += 1

    def stop(self) -> None:
        self._is_over.set()


@contextmanager
def stopwatch() -> Iterator[Stopwatch]:
    watch = Stopwatch()
    thread = threading.Thread(target=watch.run, name="stopwatch", daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        watch.stop()
        thread.join()


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Assert that the block takes less than so many seconds, and of the processor too.

    That counts where the block is busy in C and lets no other thread take a nap.
    """
    began = time.process_time()
    with stopwatch() as watch:
        yield
    busy = time.process_time() - began
    assert max(watch.seconds, busy) < seconds, f"it took {watch.seconds} s, {busy} of them busy"
