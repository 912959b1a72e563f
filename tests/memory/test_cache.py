"""Large segments that are kept for the next arrays."""

import subprocess
import sys
import weakref

import numpy as np
import pytest

import sharedarray
from sharedarray.memory import allocator, cache, registry
from sharedarray.memory.allocator import allocate
from tests.memory.support import in_child

LARGE = 3 << 20


@pytest.fixture(autouse=True)
def empty_cache():
    cache.release_cache()
    yield
    cache.release_cache()


def freed(nbytes: int) -> weakref.ref:
    """Allocate and free a block; return its segment, which the cache may keep."""
    return weakref.ref(allocate(nbytes).segment)


def test_next_array_of_that_size_has_the_same_memory():
    segment = freed(LARGE)
    assert allocate(LARGE).segment is segment()


@pytest.mark.parametrize(
    ("nbytes", "fits"),
    [(LARGE + 1, False), (LARGE * 8 // 9 + 9, True), (LARGE * 8 // 9 - 9, False)],
)
def test_at_most_an_eighth_is_wasted(nbytes, fits):
    segment = freed(LARGE)
    assert (allocate(nbytes).segment is segment()) is fits


def test_zeros_are_zeros_on_used_memory():
    a = sharedarray.ones(LARGE, "u1")
    address = registry.address_of(a)
    del a
    b = sharedarray.zeros(LARGE, "u1")
    assert registry.address_of(b) == address
    assert not b.any()


def test_bytes_are_bounded(monkeypatch):
    monkeypatch.setattr(cache.keep, "__defaults__", (cache._kept, lambda: 2 * LARGE, 32))
    segments = [freed(LARGE + 4096 * i) for i in range(3)]
    assert [segment() is None for segment in segments] == [True, True, False]
    assert freed(2 * LARGE + 1)() is None


def test_segments_are_bounded():
    nbytes = [(1 << 17) + (i << 15) for i in range(3 * cache.MAX_SEGMENTS)]
    live = [allocate(n) for n in nbytes]
    segments = [weakref.ref(block.segment) for block in live]
    del live
    assert sum(segment() is not None for segment in segments) == cache.MAX_SEGMENTS


def test_release_gives_everything_back():
    segment = freed(LARGE)
    assert segment() is not None
    sharedarray.release_cache()
    assert segment() is None


def test_nothing_that_a_child_may_see_is_used_again():
    block = allocate(LARGE)
    in_child(lambda: None)
    segment = weakref.ref(block.segment)
    del block
    assert segment() is None


def test_child_forgets_what_its_parent_keeps():
    segment = freed(LARGE)

    def check():
        assert segment() is None
        assert registry.find_id(identity) is None

    identity = segment().id
    in_child(check)
    assert segment() is not None


@pytest.mark.parametrize(
    ("value", "kept", "warns"),
    [("0", False, False), ("99999999", True, False), ("much", True, True), ("", True, False)],
)
def test_environment_variable(value, kept, warns):
    code = """
import warnings, weakref
from sharedarray.memory.allocator import allocate
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    block = allocate(1 << 20)
segment = weakref.ref(block.segment)
del block
print(segment() is not None, len(caught))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={cache.VARIABLE: value},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.split() == [str(kept), str(int(warns))]


def test_kept_memory_goes_where_memory_is_short(monkeypatch):
    nbytes = allocator.ASK_NBYTES
    block = allocate(nbytes)
    segment = weakref.ref(block.segment)
    del block
    monkeypatch.setattr(allocator, "available_memory", lambda: 4 * nbytes)
    enough = allocate(2 * nbytes)
    assert segment() is not None
    monkeypatch.setattr(allocator, "available_memory", lambda: nbytes)
    short = allocate(3 * nbytes)
    assert segment() is None
    assert enough.size < short.size


def test_numpy_without_room_gets_what_is_kept(monkeypatch):
    block = allocate(1 << 20)
    segment = weakref.ref(block.segment)
    del block

    def no_room_at_first(shape, *args, **kwargs):
        if segment() is not None:
            raise MemoryError
        return empty(shape, *args, **kwargs)

    empty = np.empty
    monkeypatch.setattr(np, "empty", no_room_at_first)
    assert sharedarray.empty(3).shape == (3,)
