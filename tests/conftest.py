"""What holds for every test: nothing is left behind, and hypothesis is set up once."""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from sharedarray.memory import named
from sharedarray.memory.cache import release_cache
from tests import SLAB

settings.register_profile(
    "ci",
    deadline=None,  # the machine may be busy; a hang is faulthandler_timeout's business
    suppress_health_check=[HealthCheck.too_slow],  # see above
    derandomize="CI" in os.environ,  # a pipeline must fail because of its commit, not by chance
    max_examples=50,
)
settings.load_profile("ci")

PERSISTENT_WORKERS = "sharedarray-"  # thread workers live on between maps, by design
SHM = Path("/dev/shm")
# Programs of tests that run beside this one have named segments, too: theirs are gone soon.
NAMED_SECONDS = 10


@dataclass(frozen=True)
class Surroundings:
    """What a test could leave behind. Sets may shrink during a test, but not grow."""

    children: frozenset[str]
    threads: frozenset[str]
    descriptors: frozenset[str]
    shm: frozenset[str]
    warning_filters: tuple[Any, ...]
    errstate: dict[str, str]

    @classmethod
    def now(cls) -> Surroundings:
        return cls(
            children=children(),
            threads=threads(),
            descriptors=descriptors(),
            shm=shared_files(),
            warning_filters=tuple(warnings.filters),
            errstate=np.geterr(),
        )

    def left_behind(self, after: Surroundings) -> dict[str, str]:
        """Return what `after` has too much: name of the field -> what it is."""
        found = {}
        for name in (field.name for field in fields(self)):
            old, new = getattr(self, name), getattr(after, name)
            if isinstance(old, frozenset):
                if extra := new - old:
                    found[name] = ", ".join(sorted(extra))
            elif old != new:
                found[name] = f"{new}, was {old}"
        return found


def children() -> frozenset[str]:
    """Return this process's children, zombies included, without reaping any."""
    # Nearly always there are none, and one system call says so. WNOWAIT leaves a zombie as it is.
    if hasattr(os, "waitid"):
        try:
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return frozenset()
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # the process ended meanwhile
            after_name = stat.read_text(errors="replace").rpartition(")")[2].split()
            parent, start_tick = after_name[1], after_name[19]
            if int(parent) == os.getpid():
                # Name and state would change with exec and exit: they are no part of who it is.
                found.add(f"pid {stat.parent.name} (started at tick {start_tick})")
    return frozenset(found)


def threads() -> frozenset[str]:
    return frozenset(
        f"{thread.name} (ident {thread.ident})"
        for thread in threading.enumerate()
        if not thread.name.startswith(PERSISTENT_WORKERS)
    )


def descriptors() -> frozenset[str]:
    """Return the open descriptors with what they lead to, so that a reused number is noticed.

    Slabs do not count: the allocator keeps an empty one of each size class, by design.
    """
    found = set()
    for number in listing("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the descriptor of the listing itself
            path = f"/proc/self/fd/{number}"
            target = os.readlink(path)  # noqa: PTH115 - Path costs 5 times as much
            if not SLAB.match(target):
                found.add(f"{number} -> {target}")
    return frozenset(found)


def shared_files() -> frozenset[str]:
    # Other programs of the machine come and go there; ours begin with the name of the package.
    folders = {str(SHM), named.FOLDER}
    return frozenset(
        name for folder in folders for name in listing(folder) if name.startswith("sharedarray")
    )


def listing(folder: str) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 - Path costs 5 times as much
    except OSError:  # another platform
        return []


@pytest.fixture(scope="session", autouse=True)
def own_folder_of_names() -> Iterator[None]:
    """Have the named segments of this process apart from those of tests that run beside it."""
    if not SHM.is_dir():
        yield
        return
    folder = tempfile.mkdtemp(prefix="test-", dir=SHM)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(named, "FOLDER", folder)
        yield
    shutil.rmtree(folder)


@pytest.fixture(scope="session", autouse=True)
def signals_as_in_a_terminal() -> Iterator[None]:
    """Ignore no signal that tests send: a shell has what it starts in the background ignore some.

    Programs inherit that from who starts them.
    """
    names = [name for name in ("SIGHUP", "SIGINT", "SIGQUIT") if hasattr(signal, name)]
    ignored = [n for n in map(signal.Signals.__getitem__, names) if is_ignored(n)]
    for number in ignored:
        is_ctrl_c = number == signal.SIGINT
        signal.signal(number, signal.default_int_handler if is_ctrl_c else signal.SIG_DFL)
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


def is_ignored(number: signal.Signals) -> bool:
    return signal.getsignal(number) is signal.SIG_IGN


@pytest.fixture(scope="module", autouse=True)
def end_what_multiprocessing_has_started() -> Iterator[None]:
    """End the process that multiprocessing keeps for good: later tests want no child at all.

    It comes with the clusters and executors of a module, and this fixture ends after theirs.
    """
    yield
    module = sys.modules.get("multiprocessing.resource_tracker")
    if module is not None and module._resource_tracker._pid is not None:
        gc.collect()  # it is told of what is freed, or would be started again for that
        module._resource_tracker._stop()


@pytest.fixture(autouse=True)
def leave_nothing_behind() -> Iterator[None]:
    """Fail a test that leaves a child, thread, descriptor, /dev/shm entry or setting behind.

    Fixtures of a wider scope that the test names are set up before this one, so that what they
    hold counts as there before.
    """
    before = Surroundings.now()
    yield
    found = before.left_behind(Surroundings.now())
    if found:
        release_cache()  # the descriptors of segments that are kept for the next arrays
        found = before.left_behind(Surroundings.now())
    if found:
        gc.collect()  # 50 ms: only where something may hang on a cycle
        release_cache()
        found = before.left_behind(Surroundings.now())
    deadline = time.monotonic() + NAMED_SECONDS
    while set(found) == {"shm"} and time.monotonic() < deadline:
        time.sleep(0.1)
        found = before.left_behind(Surroundings.now())
    if found:
        report = "\n".join(f"  {name}: {what}" for name, what in found.items())
        pytest.fail(f"the test left behind:\n{report}", pytrace=False)
