import gc
import os
import resource
import sys
import threading
import weakref
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharedarray import forks
from sharedarray.memory import allocator, cache, registry, segment, slabs
from sharedarray.memory.allocator import (
    OWN_SEGMENT_MIN_NBYTES,
    SLAB_MAX_NBYTES,
    SLAB_NBYTES,
    allocate,
)
from sharedarray.memory.cache import release_cache
from sharedarray.memory.segment import PAGE_NBYTES, Segment
from tests.memory.support import Child, in_child, run_python

KIB = 1 << 10
MIDDLE = 312 * KIB


@pytest.fixture(autouse=True)
def own_slabs(monkeypatch):
    """Give the test slabs that nothing else has used."""
    release_cache()
    monkeypatch.setattr(allocator, "_size_classes", allocator._new_size_classes())
    yield
    release_cache()


def id_number(segment):
    return segment.id[1]


def address(block):
    return registry.address_of(block)


# sizes


@pytest.mark.parametrize(
    "nbytes",
    [
        *(0, 1, 63, 64, 65, 4096, SLAB_MAX_NBYTES - 1, SLAB_MAX_NBYTES, SLAB_MAX_NBYTES + 1),
        *(MIDDLE, OWN_SEGMENT_MIN_NBYTES - 1, OWN_SEGMENT_MIN_NBYTES, OWN_SEGMENT_MIN_NBYTES + 1),
    ],
)
def test_block_has_its_size_and_is_aligned(nbytes):
    blocks = [allocate(nbytes) for _ in range(3)]
    for number, block in enumerate(blocks):
        assert block.shape == (nbytes,)
        assert block.dtype == np.uint8
        assert address(block) % 64 == 0
        assert address(block) == block.segment.address + block.offset
        block[:] = number
    assert all((block == number).all() for number, block in enumerate(blocks))


@pytest.mark.parametrize(
    "nbytes", [SLAB_MAX_NBYTES, SLAB_MAX_NBYTES + 1, OWN_SEGMENT_MIN_NBYTES - 1]
)
def test_small_and_middle_blocks_share_a_segment(nbytes):
    first, second = [allocate(nbytes) for _ in range(2)]
    assert first.segment is second.segment


def test_large_blocks_have_a_segment_each():
    large = [allocate(OWN_SEGMENT_MIN_NBYTES) for _ in range(2)]
    assert large[0].segment is not large[1].segment
    assert large[0].segment.nbytes == OWN_SEGMENT_MIN_NBYTES


def test_size_class_is_the_next_power_of_two():
    for nbytes, step in [
        (1, 64),
        (64, 64),
        (65, 128),
        (4096, 4096),
        (4097, 8192),
        (MIDDLE, 512 * KIB),
    ]:
        assert allocate(nbytes).segment.step == step


@given(st.lists(st.tuples(st.integers(0, 3 * KIB), st.booleans(), st.integers(0, 50)), max_size=60))
def test_live_blocks_never_overlap(steps):
    live = []
    for number, (nbytes, zeroed, drop) in enumerate(steps):
        block = allocate(nbytes, zeroed=zeroed)
        assert not (zeroed and block.any())
        block[:] = number % 256
        live.append((number, block))
        if drop < len(live):
            del live[drop]
        del block
    for number, block in live:
        assert (block == number % 256).all()


def test_serials_are_unique():
    serials = [allocate(8).serial for _ in range(5)] + [allocate(SLAB_NBYTES).serial]
    assert len(set(serials)) == 6


# freeing


def test_freed_block_is_used_again():
    block = allocate(100)
    where = address(block)
    del block
    assert address(allocate(100)) == where


def test_view_keeps_a_block():
    block = allocate(100)
    where = address(block)
    view = block.view(np.ndarray)[3:5].reshape(2, 1)
    del block
    others = [allocate(100) for _ in range(50)]
    assert where not in map(address, others)
    del view
    assert address(allocate(100)) == where


def test_zeroed_block_is_zero_after_use():
    block = allocate(1000)
    block[:] = 0xAA
    where = address(block)
    del block
    again = allocate(1000, zeroed=True)
    assert address(again) == where
    assert not again.any()


def test_block_not_zeroed_keeps_what_this_process_left():
    block = allocate(1000)
    block[:] = 0xAA
    del block
    assert (allocate(1000) == 0xAA).all()


def test_slabs_go_but_for_one_empty_one():
    n_per_slab = SLAB_NBYTES // SLAB_MAX_NBYTES
    blocks = [allocate(SLAB_MAX_NBYTES) for _ in range(5 * n_per_slab)]
    segments = weakref.WeakSet(block.segment for block in blocks)
    assert [s.nbytes // SLAB_NBYTES for s in sorted(segments, key=id_number)] == [1, 1, 2, 4]
    del blocks[::2]
    assert len(segments) == 4
    del blocks
    assert len(segments) == 1
    assert n_pages(next(iter(segments))) <= SLAB_NBYTES // PAGE_NBYTES + 1


def n_pages(segment):
    return os.fstat(segment.descriptor).st_blocks * 512 // PAGE_NBYTES


def n_slabs_of(nbytes):
    (home,) = [home for home in allocator._size_classes if home.nbytes == nbytes]
    return len([slab for reference in home.slabs if (slab := reference()) is not None])


def test_number_of_slabs_grows_with_the_logarithm_of_the_blocks():
    blocks = [allocate(MIDDLE) for _ in range(1000)]
    assert n_slabs_of(512 * KIB) == 7  # 16, 16, 32, 64, 128, 256, 512 blocks
    assert all(block.segment.descriptor is not None for block in blocks)
    del blocks[16:]
    release_cache()
    assert n_slabs_of(512 * KIB) == 1


def test_slab_costs_the_pages_that_its_arrays_touch():
    blocks = [allocate(MIDDLE) for _ in range(16)]
    assert n_pages(blocks[0].segment) <= 1  # the notes on blocks
    for block in blocks:
        block[:] = 1
    assert n_pages(blocks[0].segment) <= 16 * MIDDLE // PAGE_NBYTES + 1


@pytest.mark.parametrize("limit", [0, 1 << 20, 1 << 30])
def test_freed_middle_blocks_cost_no_more_than_the_cache_may_keep(monkeypatch, limit):
    monkeypatch.setattr(cache.keep, "__defaults__", (cache._kept, lambda: limit, 32))
    release_cache()
    blocks = [allocate(MIDDLE) for _ in range(16)]
    for block in blocks:
        block[:] = 1
    used = blocks[0].segment
    del block, blocks[1:]
    n_kept = min(limit // (512 * KIB), 15)
    assert n_pages(used) <= (1 + n_kept) * MIDDLE // PAGE_NBYTES + 1
    release_cache()
    assert n_pages(used) <= MIDDLE // PAGE_NBYTES + 1
    assert (blocks[0] == 1).all()
    again = [allocate(MIDDLE, zeroed=zeroed) for zeroed in (True, False) * 7]
    assert {block.segment for block in again} == {used}
    assert not any(block.any() for block in again)


def test_block_freed_in_the_cache_is_the_next_one_of_its_size_class():
    block = allocate(MIDDLE)
    block[:] = 0xAA
    where = address(block)
    del block
    assert (allocate(MIDDLE) == 0xAA).all()
    larger = allocate(MIDDLE + 40 * KIB, zeroed=True)
    assert address(larger) == where
    assert not larger.any()


def test_much_shorter_block_does_not_keep_the_pages_of_the_one_before():
    block = allocate(512 * KIB)
    block[:] = 1
    used, where = block.segment, address(block)
    del block
    block = allocate(300 * KIB)
    assert address(block) == where
    assert n_pages(used) <= 300 * KIB // PAGE_NBYTES + 1
    assert block.all()


def test_place_of_blocks_is_zero_also_where_the_kernel_cannot_free_pages(monkeypatch):
    def clear(self, start, stop, *, real=segment.Segment.clear):
        real(self, start, stop, remove=None)

    monkeypatch.setattr(segment.Segment, "clear", clear)
    first, second = allocate(MIDDLE), allocate(MIDDLE)
    first[:] = second[:] = 1
    where = address(second)
    del second
    release_cache()
    again = allocate(MIDDLE, zeroed=True)
    assert address(again) == where
    assert not again.any()
    assert first.all()


def test_middle_block_without_a_slab_has_a_segment_of_its_own(monkeypatch):
    class Scarce(Segment):
        def __init__(self, nbytes, step=None, **options):
            if step is not None:
                raise MemoryError("a limit of address space")
            super().__init__(nbytes, step, **options)

    monkeypatch.setattr(slabs, "Segment", Scarce)
    block = allocate(MIDDLE)
    assert block.segment.nbytes == block.segment.step == MIDDLE
    assert block.segment.descriptor is not None


def test_large_blocks_share_slabs_where_descriptors_are_scarce(monkeypatch):
    gc.collect()  # what an earlier test has left in a cycle must not go in between
    n_with = len(segment._with_descriptor) * segment._PER_SEGMENT
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (2 * n_with + 32, 1 << 20))
    blocks = [allocate(3 << 20) for _ in range(60)]
    for number, block in enumerate(blocks):
        block[:: 1 << 19] = number
    assert all(block[0] == block[-1 << 19] == n for n, block in enumerate(blocks))
    assert all(block.segment.descriptor is not None for block in blocks)
    in_slabs = [block.segment.id for block in blocks if block.segment.step < block.segment.nbytes]
    assert len(in_slabs) >= 60 - 16
    assert len(set(in_slabs)) == 3
    del blocks, block
    release_cache()


def test_large_segment_goes_with_its_block():
    block = allocate(SLAB_NBYTES)
    segment, where = weakref.ref(block.segment), address(block)
    assert registry.find(where) is block.segment
    view = block[10:20]
    del block
    assert segment() is not None
    del view
    release_cache()
    assert segment() is None
    assert registry.find(where) is None


# forks


def freed_and_allocated_again(block_of, n=200):
    """Return whether the place of a freed block comes back."""
    where = address(block_of[0])
    block_of.clear()
    keep = [allocate(100) for _ in range(n)]
    return where in map(address, keep)


def test_block_that_a_child_sees_is_not_used_again():
    assert freed_and_allocated_again([allocate(100)])  # without a fork it is

    holder = [allocate(100)]
    holder[0][:] = 1

    def child() -> Iterator[list[int]]:
        yield holder[0].tolist()
        yield holder[0].tolist()

    with Child(child) as watcher:
        before = watcher.step()
        assert not freed_and_allocated_again(holder)
        for new in [allocate(100) for _ in range(200)]:
            new[:] = 2
        assert watcher.step() == before == [1] * 100


def test_block_made_after_the_fork_is_used_again():
    with Child(lambda: iter([None])):
        assert freed_and_allocated_again([allocate(100)])


def test_block_made_or_freed_while_a_fork_is_under_way_is_not_used_again():
    early = [allocate(100)]
    forks._before()  # what the forking thread does, seen from another one
    between, short = [allocate(100)], [allocate(100)]
    assert not freed_and_allocated_again(short)
    assert not freed_and_allocated_again(early)
    forks._after_in_parent()
    assert not freed_and_allocated_again(between)


def test_slab_of_blocks_that_children_saw_goes():
    blocks = [allocate(SLAB_MAX_NBYTES) for _ in range(SLAB_NBYTES // SLAB_MAX_NBYTES)]
    segment = weakref.ref(blocks[0].segment)
    in_child(lambda: None)
    del blocks[1:]
    assert segment() is not None
    del blocks
    assert segment() is None


def test_child_allocates_from_slabs_of_its_own():
    blocks = [allocate(100) for _ in range(10)]
    del blocks[::2]
    inherited = {block.segment.id for block in blocks}

    def child():
        return {allocate(100).segment.id for _ in range(50)} & inherited

    assert in_child(child) == set()


def test_freeing_in_a_child_changes_nothing_in_the_parent():
    holder = [allocate(100)]
    holder[0][:] = 7
    where = address(holder[0])
    inherited = holder[0].segment.id

    def child():
        holder.clear()
        mine = [allocate(100) for _ in range(300)]
        for block in mine:
            block[:] = 9
        return any(block.segment.id == inherited for block in mine)

    assert in_child(child) is False
    assert (holder[0] == 7).all()
    assert where not in [address(allocate(100)) for _ in range(5)]


def test_child_unmaps_inherited_slabs_that_are_free():
    block = allocate(100)
    segment = weakref.ref(block.segment)
    where = block.segment.address
    del block
    assert segment() is not None  # the spare

    def child():
        return segment() is None, registry.find(where) is None

    assert in_child(child) == (True, True)
    assert segment() is not None


def test_child_frees_an_inherited_slab_with_its_last_block():
    blocks = [allocate(100) for _ in range(3)]
    segment = weakref.ref(blocks[0].segment)

    def child():
        alive = [segment() is not None]
        while blocks:
            blocks.pop()
            alive.append(segment() is not None)
        return alive

    assert in_child(child) == [True, True, True, False]


# at the same time


@pytest.mark.parametrize(
    ("n_rounds", "nbytes_of"),
    [(1500, lambda n: 8 << (n % 12)), (200, lambda n: 70_000 + n % 4 * 80_000)],
    ids=["small", "middle"],
)
def test_threads_allocate_and_free_at_the_same_time(n_rounds, nbytes_of):
    n_threads = 4
    start = threading.Barrier(n_threads)
    wrong = []

    def work(rank):
        start.wait()
        live = []
        for number in range(n_rounds):
            block = allocate(nbytes_of(number), zeroed=True)
            if block.any():
                wrong.append((rank, number, "not zero"))
            block[:] = rank + 1
            live.append(block)
            if len(live) > 20:
                block = live.pop(number % 20)
            if (block != rank + 1).any():
                wrong.append((rank, number, "overwritten"))
        wrong.extend((rank, "overwritten") for block in live if (block != rank + 1).any())

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work, args=(rank,)) for rank in range(n_threads)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert wrong == []


def test_room_freed_while_a_slab_is_taken_off_the_list_is_not_lost():
    home = next(home for home in allocator._size_classes if home.nbytes == SLAB_MAX_NBYTES)
    blocks = [allocate(SLAB_MAX_NBYTES) for _ in range(SLAB_NBYTES // SLAB_MAX_NBYTES)]
    slab = next(iter(home.with_room))

    class RacingDict(dict):
        def pop(self, *args):
            blocks.pop()  # another thread frees between "no room" and "off the list"
            home.with_room = plain
            return plain.pop(*args)

    plain = home.with_room
    home.with_room = RacingDict(plain)
    taken = allocate(SLAB_MAX_NBYTES)
    assert taken.segment is slab.segment


def test_blocks_freed_by_the_garbage_collector_inside_the_allocator():
    class Node:
        pass

    def garbage():
        node = Node()
        node.itself, node.block = node, allocate(100)

    live = []
    thresholds = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for number in range(500):
            garbage()
            live.append(allocate(100))
            live[-1][:] = number % 256
    finally:
        gc.set_threshold(*thresholds)
    assert all((block == number % 256).all() for number, block in enumerate(live))


def test_interpreter_ends_in_silence_with_arrays_alive():
    code = """
import sharedarray.memory.creation as c
class Node: pass
node = Node(); node.itself = node; node.a = c.ones(10); node.b = c.ones(1 << 20)
a, b, view = c.ones(5), c.ones(1 << 18), c.ones((3, 3))[1:]
import builtins; builtins.kept = [a, c.ones(7)]
class Late:
    def __init__(self): self.a = c.ones(9)
    def __del__(self): del self.a
late = Late(); late.cycle = late
print("end")
"""
    assert run_python(code) == "end\n"


# limits


def test_many_arrays_live_under_a_low_limit_of_descriptors():
    code = """
from sharedarray.memory.registry import owner
from sharedarray.memory.creation import full, zeros
scalars = [full((), n) for n in range(100_000)]
pages = [full(512, n, "f8") for n in range(10_000)]
middle = [zeros(312 << 7) for n in range(10_000)]
for n, a in enumerate(middle):
    a[n] = n
assert all(a == n for n, a in enumerate(scalars))
assert all((a == n).all() for n, a in enumerate(pages))
assert all(a[n] == n == a.sum() for n, a in enumerate(middle[:50]))
assert not any(owner(a).segment.descriptor is None for a in (*scalars, *pages, *middle))
del scalars[::2], pages[::3], middle[::2]
assert all(a[2 * n + 1] == 2 * n + 1 for n, a in enumerate(middle))
more = [full((), -n) for n in range(50_000)]
assert all(a == 2 * n + 1 for n, a in enumerate(scalars))
assert all(a == -n for n, a in enumerate(more))
print("done")
"""
    assert run_python(code, shell_limits="ulimit -n 256") == "done\n"


def test_nothing_stays_of_many_large_arrays():
    code = """
import os
from pathlib import Path
from sharedarray.memory.cache import release_cache
from sharedarray.memory.segment import PAGE_NBYTES, Segment
from sharedarray.memory.creation import empty, zeros
def state():
    release_cache()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    maps = Path("/proc/self/maps").read_text().count("memfd:sharedarray")
    return pages * 4096 / 2**20, maps, len(os.listdir("/proc/self/fd"))
def use(n):
    for number in range(n):
        a = empty(10_000_000 + 4096 * (number % 9), "u1")
        a[::4096] = 1
        b = a[5:].view("u1")
        del a
use(10)
rss, *before = state()
use(300)
rss_after, *after = state()
print(before == after, rss_after - rss < 20)
"""
    assert run_python(code).split() == ["True", "True"]
