"""Time limits of tests, which leave out the seconds for which the whole machine stands still.

A virtual machine that the host does not schedule does nothing for seconds, and its clock goes on.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Stopwatch", "naps", "stopwatch", "within"]


def naps(seconds: float, nap: float = 0.001) -> Iterator[None]:
    """Yield again and again, with a sleep between, until the sleeps add up to `seconds`."""
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
    """Assert that the block takes less than `seconds`, of processor time too.

    Processor time counts where the block is busy in C and the stopwatch's thread cannot run.
    """
    began = time.process_time()
    with stopwatch() as watch:
        yield
    busy = time.process_time() - began
    assert max(watch.seconds, busy) < seconds, f"{watch.seconds} s, {busy} s of the processor"
