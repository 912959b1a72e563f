import itertools
import random
import sys
import threading

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided

from sharedarray.memory import registry
from sharedarray.memory.cache import release_cache
from sharedarray.memory.creation import array, empty, zeros
from sharedarray.memory.registry import find, find_id, is_shared, owner, register
from sharedarray.memory.segment import Segment


def test_find_covers_a_segment_to_the_byte():
    segment = Segment(5000)
    first, last = segment.address, segment.address + 4999
    assert find(first) is None
    register(segment)
    assert find(first) is find(last) is find(first + 77) is segment
    assert find(first - 1) is not segment
    assert find(last + 1) is not segment
    assert find_id(segment.id) is segment
    known_as = segment.id
    del segment
    assert find(first) is find(last) is find_id(known_as) is None


def test_find_among_many_segments_that_come_and_go():
    rng = random.Random(3)
    live = []
    for _ in range(300):
        segment = Segment(rng.randrange(1, 20_000))
        register(segment)
        live.append(segment)
        if rng.random() < 0.4:
            live.pop(rng.randrange(len(live)))
        del segment
        some = rng.choice(live) if live else None
        if some is not None:
            assert find(some.address + rng.randrange(some.nbytes)) is some
    for segment in live:
        assert find(segment.address) is find(segment.address + segment.nbytes - 1) is segment
    assert find(0) is None
    assert find(2**64) is None


def test_find_while_other_threads_register():
    segment = Segment(5000)
    register(segment)
    missed = []
    done = threading.Event()

    def churn():
        for _ in range(2000):
            other = Segment(100)
            register(other)
            if find(other.address) is not other:
                missed.append("the new one")
        done.set()

    def look():
        while not done.is_set():
            if find(segment.address + 4999) is not segment:
                missed.append("the old one")

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work) for work in (churn, churn, look)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert missed == []


def test_segment_registered_while_the_starts_are_rebuilt_is_found(monkeypatch):
    first, second = Segment(100), Segment(100)
    register(first)

    def racing_sorted(keys):
        result = sorted(keys)
        register(second)  # by another thread, when the keys have been read
        return result

    monkeypatch.setattr(registry, "sorted", racing_sorted, raising=False)
    assert find(first.address) is first
    monkeypatch.undo()
    assert find(second.address) is second


class Borrowed:
    """Give the address of an array, and keep nothing."""

    def __init__(self, a):
        self.__array_interface__ = {**a.__array_interface__, "shape": (0,), "strides": None}


SHARED = {
    "array": lambda a: a,
    "slice": lambda a: a[2:, ::-1],
    "plain view": lambda a: a.view(np.ndarray),
    "asarray": np.asarray,
    "view of a plain view": lambda a: np.asarray(a)[1:].T,
    "dtype view": lambda a: a.view("u1"),
    "memoryview": lambda a: np.frombuffer(memoryview(a), a.dtype),
    "as_strided": lambda a: as_strided(a, (3,), (8,)),
    "broadcast": lambda a: np.broadcast_to(a, (2, *a.shape)),
    "ctypes": lambda a: np.ctypeslib.as_array(np.ctypeslib.as_ctypes(a)),
    "empty slice": lambda a: a[2:2],
    "empty slice at the end": lambda a: a[5:],
    "empty plain view": lambda a: np.asarray(a)[:, :0],
    "empty as_strided": lambda a: as_strided(a, (0,), (8,)),
    "empty memoryview": lambda a: np.asarray(memoryview(a[:0])),
    "empty memoryview at the end": lambda a: np.asarray(memoryview(a.reshape(-1))[a.size :]),
    "memmap": lambda a: a.view(np.ndarray).view(np.memmap),
}

PRIVATE = {
    "array": lambda a: np.ones(3),
    "slice": lambda a: np.ones(3)[1:],
    "copy": lambda a: a.copy(),
    "sum": lambda a: a + a,
    "fancy": lambda a: a[[0, 1]],
    "bytes": lambda a: np.frombuffer(b"12345678"),
    "empty": lambda a: np.empty(0),
    "empty slice": lambda a: np.ones(3)[:0],
    "empty bytes": lambda a: np.frombuffer(b""),
    "empty at a borrowed address": lambda a: np.asarray(Borrowed(a)),
    "copy in spite of its class": lambda a: np.array(a, subok=True),
    "view of that": lambda a: np.array(a, subok=True)[1:],
}


@pytest.mark.parametrize("name", SHARED)
@pytest.mark.parametrize("n_rows", [5, 500, 50_000])
def test_shared(name, n_rows):
    a = zeros((n_rows, 4))
    made = SHARED[name](a)
    assert is_shared(made)
    assert owner(made) is owner(a) is not None


@pytest.mark.parametrize("name", PRIVATE)
def test_private(name):
    a = zeros((5, 4))
    made = PRIVATE[name](a)
    assert not is_shared(made)
    assert owner(made) is None


@pytest.mark.parametrize("shape", [0, (5, 0), (0, 2, 3)])
def test_new_array_without_elements_is_shared(shape):
    assert is_shared(empty(shape))
    assert owner(empty(shape)) is not None


def test_array_without_bytes_belongs_to_its_base_and_not_to_its_neighbour():
    blocks = [empty(8) for _ in range(300)]  # 64 bytes each, many of them in a row
    by_address = sorted(blocks, key=registry.address_of)
    for block, following in itertools.pairwise(by_address):
        end = np.ndarray(0, float, block, offset=64)
        if registry.address_of(end) == registry.address_of(following):
            assert owner(end) is owner(block)
            break
    else:
        pytest.fail("no two blocks side by side")


def test_private_memory_at_the_address_of_a_freed_segment_is_private():
    nbytes = 4 << 20
    for _ in range(20):
        a = empty(nbytes, "u1")
        where = registry.address_of(a)
        del a
        release_cache()
        private = np.empty(nbytes, "u1")  # from mmap, like the segment: mostly the same place
        assert not is_shared(private[1:])
        assert find(where) is None


def test_owner_is_the_block_at_the_address():
    arrays = [array([n]) for n in range(20)]
    for a in arrays:
        block = owner(np.frombuffer(memoryview(a), a.dtype))
        assert block is owner(a)
        assert registry.address_of(block) == registry.address_of(a)
