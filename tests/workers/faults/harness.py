"""What a script of the fault tables starts with: CLEAN, REUSE and FAST, as checks.

A fault is caused in a fresh interpreter (`tests.workers.support.start_script`), so that whatever it
breaks is gone with it. The script imports all of this by ``from tests.workers.faults.harness import
*``.
"""

from __future__ import annotations

import faulthandler
import gc
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import sharedarray
from sharedarray import MapReduce, MapReduceByThread, WorkerDied, WorkerException
from sharedarray.memory.cache import release_cache
from tests import SLAB

__all__ = [
    "FAST",
    "MapReduce",
    "MapReduceByThread",
    "Path",
    "TooLate",
    "WorkerDied",
    "WorkerException",
    "check_fast",
    "check_reuse",
    "children",
    "clean",
    "descendants",
    "expect",
    "np",
    "os",
    "sharedarray",
    "signal",
    "sys",
    "threading",
    "time",
    "warnings",
]

FAST = 2.0  # seconds from the fault to the exception
SOON = 1.0  # seconds from the exception until nothing is left
# Programs of tests that run beside this one have named segments, too: theirs are gone soon.
NAMED_SECONDS = 10

faulthandler.enable()


class TooLate(AssertionError):  # noqa: N818 - it says all
    """What was right, but came after its time: `run_fault` looks whether it does so each time."""


def children(pid: int | str = "self") -> set[int]:
    """Return the children of all threads of a process, zombies included."""
    while True:
        found: set[int] = set()
        try:
            for task in Path(f"/proc/{pid}/task").glob("*/children"):
                found.update(map(int, task.read_text().split()))
        except OSError:  # a thread has ended meanwhile: another one has its children
            continue
        return found


def descendants(pid: int) -> set[int]:
    """Return all living descendants of a process."""
    found = children(pid)
    return found.union(*map(descendants, found)) if found else found


def _surroundings() -> dict[str, Any]:
    old_mask = os.umask(0)
    os.umask(old_mask)
    wakeup = signal.set_wakeup_fd(-1) if _is_main() else -1
    if wakeup >= 0:
        signal.set_wakeup_fd(wakeup)
    maps = Path("/proc/self/maps").read_text().splitlines()
    maps = [line for line in maps if not SLAB.search(line)]
    return {
        "descriptors": {fd.name for fd in Path("/proc/self/fd").iterdir() if not _is_slab(fd)},
        "children": children(),
        "threads": {t.name for t in threading.enumerate() if not t.name.startswith("sharedarray-")},
        "mappings": sum("memfd:" in line or "/dev/zero" in line for line in maps),
        "/dev/shm": set(Path("/dev/shm").glob("sharedarray*")),
        "handlers": [signal.getsignal(n) for n in sorted(signal.valid_signals())],
        "blocked signals": signal.pthread_sigmask(signal.SIG_BLOCK, []),
        "wakeup": wakeup,
        "umask": old_mask,
        "folder": Path.cwd(),
    }


def _is_slab(descriptor: Path) -> bool:
    try:
        return SLAB.match(str(descriptor.readlink())) is not None
    except OSError:  # closed, as that of the folder itself
        return True


def _is_main() -> bool:
    return threading.current_thread() is threading.main_thread()


@contextmanager
def clean() -> Iterator[None]:
    """Assert that nothing of what runs in the block is left a second after it."""
    gc.collect()
    release_cache()
    before = _surroundings()
    yield
    ended = time.monotonic()
    n_looks = 0
    while True:
        gc.collect()
        release_cache()
        after = _surroundings()
        before["/dev/shm"] &= after["/dev/shm"]  # names of other programs may go at any time
        left = {k: (before[k], after[k]) for k in before if before[k] != after[k]}
        if not left:
            return
        patience = NAMED_SECONDS if set(left) == {"/dev/shm"} else SOON
        # The machine may have stood still meanwhile.
        is_over = time.monotonic() > ended + patience and n_looks > 20
        assert not is_over, f"left behind (before, after): {left}"
        n_looks += 1
        time.sleep(0.01)


def expect(
    error: type[BaseException], function: Callable[[], Any], *, within: float = FAST
) -> BaseException:
    """Return the exception of that very class that a call raises in time."""
    began = time.monotonic()
    caught: BaseException | None = None
    try:
        result = function()
    except BaseException as other:
        caught = other
    ended = time.monotonic()
    assert caught is not None, f"no {error.__name__}, but {result!r:.200}"
    assert type(caught) is error, f"{type(caught).__name__}: {caught}"
    check_fast(began, ended, within=within)
    return caught


def check_fast(began: float, ended: float | None = None, *, within: float = FAST) -> None:
    """Assert that what began then has ended in time: by now, or when it did."""
    seconds = (time.monotonic() if ended is None else ended) - began
    if seconds >= within:
        raise TooLate(f"it took {seconds:.2f} s")


def check_reuse(pool: MapReduce) -> None:
    """Assert that the pool, and a new one, work."""
    for p in (pool, MapReduce(np=2)):
        assert p.map(lambda i: i * i, range(100)) == [i * i for i in range(100)]
