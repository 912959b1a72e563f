"""Fresh pages: huge ones where the kernel makes them, small ones elsewhere, and nothing lost."""

import errno
import os
import re
import resource
from pathlib import Path

import numpy as np
import pytest

import sharedarray
from sharedarray import machine
from sharedarray.memory import pages, registry, segment
from sharedarray.memory.cache import release_cache
from sharedarray.memory.segment import HUGE_PAGE_NBYTES, PAGE_NBYTES, Segment
from tests.memory.support import in_child

SIZES = [HUGE_PAGE_NBYTES + k for k in (-1, 0, 1)] + [7 * HUGE_PAGE_NBYTES + 12345]
COLLAPSE = 25


@pytest.fixture(autouse=True)
def fresh_memory():
    release_cache()
    yield
    release_cache()


@pytest.fixture
def is_huge_as_expected(monkeypatch):
    """Return what asserts that arrays have their huge pages, as far as the kernel makes any.

    It may refuse one for the moment: where memory is in pieces, or a page is on its way elsewhere.
    """
    refused, madvise = [], pages.madvise()

    def watched(address, nbytes, advice):
        result = madvise(address, nbytes, advice)
        if advice == COLLAPSE and result != 0:
            refused.append(pages.ctypes.get_errno())
        return result

    def check(build, expected=whole_huge_pages):
        for _ in range(5):
            refused.clear()
            a = build()
            if huge_nbytes(a) == (expected(a) if machine.collapses() else 0):
                return a
            assert refused, (huge_nbytes(a), expected(a))
            del a
            release_cache()
        pytest.skip(f"the kernel makes no huge pages now: {refused}")

    monkeypatch.setattr(pages, "madvise", lambda: watched)
    return check


def huge_nbytes(a):
    """Return how many bytes of the segment of an array are mapped by huge pages."""
    address = registry.owner(a).segment.address
    mappings = re.split(
        r"^(?=[0-9a-f]+-[0-9a-f]+ )", Path("/proc/self/smaps").read_text(), flags=re.M
    )
    (mapping,) = [m for m in mappings if m.startswith(f"{address:x}-")]
    return 1024 * int(re.search(r"ShmemPmdMapped: +(\d+) kB", mapping)[1])


def resident(a):
    """Return which pages of an array there are."""
    address = registry.address_of(a)
    first = address - address % PAGE_NBYTES
    found = []
    for each in range(first, address + a.nbytes, PAGE_NBYTES):
        state = pages.ctypes.c_ubyte()
        assert pages.mincore()(each, PAGE_NBYTES, state) == 0
        found.append(state.value & 1)
    return np.array(found, bool)


def whole_huge_pages(a):
    """Return how many bytes of an array are huge pages that lie in its segment."""
    block = registry.owner(a).segment
    start = -(-block.address // HUGE_PAGE_NBYTES) * HUGE_PAGE_NBYTES
    stop = (block.address + block.nbytes) // HUGE_PAGE_NBYTES * HUGE_PAGE_NBYTES
    return max(0, stop - start)


@pytest.mark.parametrize("nbytes", SIZES)
def test_pages_are_made_huge_as_far_as_they_are_the_arrays_own(is_huge_as_expected, nbytes):
    def build():
        a = sharedarray.empty(nbytes, "u1")
        pages.populator(a)(a)
        assert resident(a).all()
        return a

    assert not is_huge_as_expected(build).any()


def test_long_segments_begin_on_the_bounds_of_huge_pages():
    held = [Segment(n * HUGE_PAGE_NBYTES // 3) for n in range(3, 40)]
    del held[::3]
    held += [Segment(n * HUGE_PAGE_NBYTES // 4) for n in range(4, 24)]
    assert all(s.address % HUGE_PAGE_NBYTES == 0 for s in held)


def test_scarce_address_space_is_not_spent_on_bounds():
    def child():
        used = int(Path("/proc/self/statm").read_text().split()[0]) * PAGE_NBYTES
        nbytes = 5 * HUGE_PAGE_NBYTES - PAGE_NBYTES
        for spare in (nbytes + HUGE_PAGE_NBYTES // 8, nbytes + 2 * PAGE_NBYTES):
            resource.setrlimit(resource.RLIMIT_AS, (used + spare, resource.RLIM_INFINITY))
            found = Segment(nbytes)
            found.bytes[-1] = 1
            assert found.descriptor is not None
            del found

    in_child(child)


@pytest.mark.parametrize("extra", [PAGE_NBYTES, -PAGE_NBYTES, 1, -1])
def test_length_of_a_memfd_is_what_its_segment_uses_or_pages_more(extra):
    large = Segment(2 * HUGE_PAGE_NBYTES + 1)
    total = segment.total_nbytes(large.nbytes, large.step)
    length = -(-total // PAGE_NBYTES) * PAGE_NBYTES + extra
    descriptor = os.memfd_create("large")
    try:
        os.ftruncate(descriptor, length)
        assert segment.has_length(descriptor, total) is (extra > 0 and extra % PAGE_NBYTES == 0)
        os.ftruncate(descriptor, total)
        assert segment.has_length(descriptor, total)
        os.ftruncate(descriptor, PAGE_NBYTES)
        assert not segment.has_length(descriptor, 100)
    finally:
        os.close(descriptor)
    assert segment.has_length(large.descriptor, total)


@pytest.mark.parametrize("start", [0, 1, PAGE_NBYTES, HUGE_PAGE_NBYTES - 1, HUGE_PAGE_NBYTES + 5])
@pytest.mark.parametrize("length", [1, PAGE_NBYTES, HUGE_PAGE_NBYTES, 3 * HUGE_PAGE_NBYTES])
def test_parts_have_their_pages_and_others_keep_what_they_hold(start, length):
    a = sharedarray.empty(8 * HUGE_PAGE_NBYTES, "u1")
    written = np.arange(0, a.size, HUGE_PAGE_NBYTES // 4)
    a.view(np.ndarray)[written] = written % 251 + 1
    touch = pages.populator(a)
    part = a[start : start + length]
    touch(part)
    assert np.array_equal(np.flatnonzero(a), written)
    later = a[5 * HUGE_PAGE_NBYTES + 3 :]
    touch(later)
    assert np.array_equal(a[written], (written % 251 + 1).astype("u1"))
    assert resident(later).all()


def test_what_has_small_pages_keeps_them(is_huge_as_expected):
    def build():
        a = sharedarray.empty(4 * HUGE_PAGE_NBYTES, "u1")
        a.view(np.ndarray)[: 2 * HUGE_PAGE_NBYTES] = 7
        pages.populator(a)(a)
        return a

    a = is_huge_as_expected(build, lambda a: 2 * HUGE_PAGE_NBYTES)
    assert (a[: 2 * HUGE_PAGE_NBYTES] == 7).all()


@pytest.mark.parametrize(("code", "n_times"), [("EINVAL", 1), ("ENOMEM", 1), ("EAGAIN", 3)])
def test_kernel_that_makes_no_huge_pages_is_asked_once_but_for_now(monkeypatch, code, n_times):
    asked = []
    madvise = pages.madvise()

    def refuse(address, nbytes, advice):
        asked.append(advice)
        if advice != COLLAPSE:
            return madvise(address, nbytes, advice)
        pages.ctypes.set_errno(getattr(errno, code))
        return -1

    monkeypatch.setattr(pages, "madvise", lambda: refuse)
    a = sharedarray.empty(6 * HUGE_PAGE_NBYTES, "u1")
    touch = pages.populator(a)
    for part in np.array_split(a, 3):
        touch(part)
        assert resident(part).all()
    assert asked.count(COLLAPSE) == n_times
    assert huge_nbytes(a) == 0


def test_populator_is_for_fresh_memory_only():
    assert pages.populator(np.empty(1 << 22)) is None
    a = sharedarray.ones(1 << 20)
    del a
    recycled = sharedarray.empty(1 << 20)
    assert pages.populator(recycled) is None


@pytest.mark.parametrize(
    "build",
    [
        lambda n: sharedarray.full(n, 3.0),
        lambda n: sharedarray.copy(np.full(n, 3.0)),
        lambda n: sharedarray.sort(np.full(n, 3.0)),
    ],
    ids=["full", "copy", "sort"],
)
def test_builders_fill_huge_pages(is_huge_as_expected, build):
    assert (is_huge_as_expected(lambda: build(3 << 20)) == 3.0).all()


def test_assignment_to_a_fresh_array_fills_huge_pages(is_huge_as_expected):
    def build():
        a = sharedarray.empty(1 << 25)
        a[...] = 3.0
        return a

    assert (is_huge_as_expected(build) == 3.0).all()
