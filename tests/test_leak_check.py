"""Every kind of leak that the fixture in conftest looks for is really found."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from sharedarray.memory.allocator import SLAB_NBYTES, allocate
from sharedarray.memory.cache import release_cache
from tests.conftest import PERSISTENT_WORKERS, Surroundings

linux_only = pytest.mark.skipif(
    not Path("/proc/self/fd").exists(), reason="reads /proc, /dev/shm and forks"
)


@contextmanager
def open_descriptor() -> Iterator[None]:
    fd = os.open(os.devnull, os.O_RDONLY)
    yield
    os.close(fd)


@contextmanager
def live_segment(nbytes: int) -> Iterator[None]:
    release_cache()  # none of that size is taken from there
    block = allocate(nbytes)
    yield
    del block
    release_cache()


@contextmanager
def child(*, zombie: bool) -> Iterator[None]:
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(writer)
        os.read(reader, 1)  # returns when the parent closes its end
        os._exit(0)
    os.close(reader)
    if zombie:
        os.close(writer)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    try:
        yield
    finally:
        if not zombie:
            os.close(writer)
        os.waitpid(pid, 0)


@contextmanager
def running_thread(name: str) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait, name=name)
    thread.start()
    yield
    stop.set()
    thread.join()


@contextmanager
def shared_file() -> Iterator[None]:
    path = Path(f"/dev/shm/sharedarray-leak-check-{os.getpid()}")
    path.touch()
    yield
    path.unlink()


@contextmanager
def warning_filter() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.parametrize(
    ("field", "leak"),
    [
        pytest.param("descriptors", open_descriptor(), marks=linux_only),
        pytest.param("descriptors", live_segment(2 * SLAB_NBYTES), marks=linux_only),
        pytest.param("children", child(zombie=False), marks=linux_only),
        pytest.param("children", child(zombie=True), marks=linux_only),
        pytest.param("shm", shared_file(), marks=linux_only),
        ("threads", running_thread("somebody")),
        ("warning_filters", warning_filter()),
        ("errstate", np.errstate(divide="ignore")),
    ],
)
def test_leak_is_found(field, leak):
    before = Surroundings.now()

    with leak:
        found = before.left_behind(Surroundings.now())

    assert field in found
    assert before.left_behind(Surroundings.now()) == {}


@linux_only
def test_descriptor_number_used_again_is_found():
    with Path(os.devnull).open() as null, Path(__file__).open() as file:
        before = Surroundings.now()
        os.dup2(null.fileno(), file.fileno())

        found = before.left_behind(Surroundings.now())

    assert "descriptors" in found


def test_persistent_worker_is_no_leak():
    before = Surroundings.now()

    with running_thread(PERSISTENT_WORKERS + "0"):
        assert before.left_behind(Surroundings.now()) == {}


def test_slab_is_no_leak():
    before = Surroundings.now()

    with live_segment(nbytes=100):
        assert before.left_behind(Surroundings.now()) == {}
