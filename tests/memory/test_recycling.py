"""When the memory of a freed array is used again: as soon as no process may see the array."""

import os
import signal
import subprocess
import threading

import numpy as np
import pytest

import sharedarray
from sharedarray import MapReduce, WorkerDied, WorkerException, forks
from sharedarray.memory import allocator, cache, registry
from tests.memory.support import Child, in_child

SMALL, MIDDLE, LARGE = 12, 40_000, 1 << 18
SIZES = pytest.mark.parametrize("n", [SMALL, MIDDLE, LARGE])  # slab; slot of a slab; segment


@pytest.fixture(autouse=True)
def fresh_memory(monkeypatch):
    monkeypatch.setattr(allocator, "_size_classes", allocator._new_size_classes())
    cache.release_cache()
    yield
    cache.release_cache()


def place(a):
    block = registry.owner(a)
    return block.segment.id, block.offset


def is_recycled(holder):
    """Free the array in the list; return whether an array after it has its memory."""
    where, n = place(holder[0]), holder[0].size
    holder.clear()
    return any(place(a) == where for a in [sharedarray.empty(n) for _ in range(20)])


def full(n):
    return [sharedarray.full(n, 7.0)]


# forks of our own


def in_map(holder, n_workers=2, **options):
    return MapReduce(np=n_workers).map(lambda i: float(holder[0][i]), range(5), **options)


def in_imap(holder):
    return list(MapReduce(np=2).imap(lambda i: holder[0][i], range(5)))


def in_imap_that_is_closed(holder):
    """Leave the workers where they are to be killed, or to end by themselves, as it happens."""
    results = MapReduce(np=2).imap(lambda i: holder[0][i], range(5))
    assert len(list(results)) == 5
    results.close()


def in_nested_maps(holder):
    MapReduce(np=2).map(lambda i: in_map(holder), range(3))


def in_maps_of_threads(holder):
    threads = [threading.Thread(target=in_map, args=(holder,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def in_map_that_starts_programs(holder):
    def work(i):
        return holder[0][i], subprocess.run(["true"], check=True).returncode

    MapReduce(np=2).map(work, range(3))


def in_map_on_threads(holder):
    MapReduce("thread", np=2).map(lambda i: holder[0][i], range(5))


HARMLESS = [
    in_map,
    in_imap,
    in_imap_that_is_closed,
    in_nested_maps,
    in_maps_of_threads,
    in_map_that_starts_programs,
    in_map_on_threads,
]


@SIZES
@pytest.mark.filterwarnings("ignore::sharedarray.ForkInThreadsWarning")
@pytest.mark.parametrize("use", HARMLESS)
def test_memory_that_only_workers_have_seen_is_used_again(use, n):
    holder = full(n)
    use(holder)
    assert is_recycled(holder)


@SIZES
def test_many_maps_use_the_same_memory_again_and_again(n):
    def use(i):
        a = sharedarray.full(n, float(i))
        assert pool.map(lambda j: float(a[j]), range(3)) == [i] * 3
        return place(a)

    pool = MapReduce(np=2)
    assert len({use(i) for i in range(20)}) == 1


@SIZES
def test_array_that_is_freed_while_workers_live_is_not_used_again(n):
    holder = full(n)
    results = MapReduce(np=2).imap(lambda i: float(holder[0][i]), range(10))
    assert next(results) == 7
    assert not is_recycled(holder)
    assert set(results) == {7.0}


@SIZES
def test_array_made_while_workers_live_is_used_again(n):
    results = MapReduce(np=2).imap(float, range(10))
    next(results)
    assert is_recycled(full(n))
    results.close()


@SIZES
def test_maps_in_a_child_recycle_what_the_child_has_made(n):
    inherited = full(n)

    def child():
        holder = full(n)
        in_map(holder)
        return is_recycled(holder), is_recycled(inherited)

    assert in_child(child) == (True, False)


# what keeps the memory from being used again


@SIZES
def test_memory_that_a_child_of_the_user_may_see_is_not_used_again(n):
    holder = full(n)

    def child():
        yield float(holder[0].sum())
        yield float(holder[0].sum())

    with Child(child) as other:
        assert other.step() == 7 * n
        in_map(holder)  # does not settle what is not its own
        assert not is_recycled(holder)
        assert is_recycled(full(n))  # made after the fork
        assert other.step() == 7 * n


@SIZES
def test_fork_of_the_user_while_a_map_runs_counts(n):
    holder = full(n)
    results = MapReduce(np=2).imap(lambda i: holder[0][i], range(5))
    next(results)
    with Child(lambda: iter([1])) as other:
        assert list(results)
        assert not is_recycled(holder)
        assert other.step() == 1


@SIZES
@pytest.mark.parametrize("signal_", [signal.SIGKILL, signal.SIGTERM])
def test_worker_that_was_killed_may_have_left_children(n, signal_):
    holder = full(n)

    def work(i):
        os.kill(os.getpid(), signal_)
        return holder[0][i]

    with pytest.raises(WorkerDied):
        MapReduce(np=1).map(work, range(1))
    assert not is_recycled(holder)
    assert is_recycled(full(n))


@SIZES
def test_workers_that_are_killed_because_another_one_fails(n):
    holder = full(n)
    never = os.pipe()

    def work(i):
        if i:
            os.read(never[0], 1)
        else:
            raise ValueError(holder[0][0])

    with pytest.raises(WorkerException):
        MapReduce(np=2).map(work, range(2), chunksize=1)
    for end in never:
        os.close(end)
    assert not is_recycled(holder)
    assert is_recycled(full(n))


@SIZES
@pytest.mark.parametrize("is_nested", [False, True])
def test_worker_that_leaves_a_child_keeps_the_memory_from_being_used_again(n, is_nested):
    holder = full(n)
    go, said = os.pipe(), os.pipe()

    def fork(_):
        if os.fork() == 0:  # it outlives its parent, and has the array
            a = holder[0]
            for end in (go[1], said[0]):
                os.close(end)
            os.read(go[0], 1)
            os.write(said[1], b"7" if (a == 7).all() else b"?")
            os._exit(0)

    def work(i):
        if is_nested:
            MapReduce(np=1).map(fork, range(1))
        else:
            fork(i)

    MapReduce(np=1).map(work, range(1))
    where = place(holder[0])
    holder.clear()
    new = [sharedarray.full(n, 1.0) for _ in range(20)]
    assert where not in map(place, new)
    for end in (go[0], go[1], said[1]):
        os.close(end)
    assert os.read(said[0], 1) == b"7"
    os.close(said[0])


@SIZES
def test_fork_that_fails_leaves_the_memory_to_be_used_again(monkeypatch, n):
    holder = full(n)
    forks_of_crew = []

    def fork():
        forks_of_crew.append(1)
        if len(forks_of_crew) == 2:
            forks._before()  # the hooks run also where the kernel refuses
            forks._after_in_parent()
            raise BlockingIOError("refused")
        return real()

    real = os.fork
    with monkeypatch.context() as patch:
        patch.setattr(os, "fork", fork)
        with pytest.raises(BlockingIOError):
            in_map(holder, 3)
    in_map(holder)
    assert not forks._unsettled
    assert is_recycled(full(n))


# the ledger


def test_recorded_forks_are_settled_one_crew_at_a_time():
    before = forks.generation()
    with forks.recorded() as first:
        in_child(lambda: None)
    middle = forks.generation()
    with forks.recorded() as second:
        in_child(lambda: None)
    assert not forks.unseen_since(before)
    assert not forks.unseen_since(middle)
    assert forks.has_offspring()
    forks.settle(second, are_gone=True)
    assert forks.unseen_since(middle)
    assert not forks.unseen_since(before)
    forks.settle(first, are_gone=True)
    assert forks.unseen_since(before)


def test_crew_that_may_have_left_somebody_counts_as_a_fork_of_the_user():
    before = forks.generation()
    with forks.recorded() as numbers:
        in_child(lambda: None)
    after = forks.generation()
    forks.settle(numbers, are_gone=False)
    assert not forks.unseen_since(before)
    assert forks.unseen_since(after)
    forks.settle(numbers, are_gone=True)  # too late
    assert not forks.unseen_since(before)


def test_fork_of_another_thread_is_not_recorded():
    before = forks.generation()
    with forks.recorded() as numbers:
        thread = threading.Thread(target=in_child, args=(lambda: None,))
        thread.start()
        thread.join()
    assert numbers == []
    assert not forks.unseen_since(before)


def test_process_has_offspring_from_its_first_fork_on():
    def child():
        found = [forks.has_offspring()]
        MapReduce(np=2).map(abs, range(4))
        found.append(forks.has_offspring())
        in_child(lambda: None)
        found.append(forks.has_offspring())
        return found

    assert in_child(child) == [False, False, True]


# what is in it


@pytest.mark.parametrize("n", [SMALL, MIDDLE, LARGE, (1 << 18) - 1000])
@pytest.mark.parametrize("dtype", ["f8", "u1", "M8[s]", "S3"])
def test_zeros_are_zeros_on_memory_that_workers_have_written(n, dtype):
    def place_of_written():
        a = sharedarray.empty(n, dtype)
        pool.map(lambda i: a.view("u1")[i::2].fill(0xAA), range(2))
        return place(a)

    pool = MapReduce(np=2)
    for _ in range(3):
        where = place_of_written()
        b = sharedarray.zeros(n, dtype)
        assert place(b) == where
        assert not b.view("u1").any()
        del b


@SIZES
def test_child_that_frees_and_allocates_writes_into_nothing_of_its_parent(n):
    arrays = [sharedarray.full(n, float(i)) for i in range(5)]
    freed = place(arrays.pop(2))
    kept = [0, 1, 3, 4]

    def child():
        arrays.clear()
        mine = [sharedarray.full(n, -1.0) for _ in range(20)]
        return list(map(place, mine))

    def work(_):
        arrays.clear()
        return [float(a.sum()) for a in [sharedarray.full(n, -1.0) for _ in range(20)]]

    places = in_child(child)
    assert not {segment for segment, _ in places} & {place(a)[0] for a in arrays}
    assert freed not in places
    MapReduce(np=2).map(work, range(3))
    for i, a in zip(kept, arrays, strict=True):
        np.testing.assert_array_equal(a, float(i))
    again = [sharedarray.empty(n) for _ in range(5)]
    assert not set(map(place, again)) & set(map(place, arrays))
    for i, a in zip(kept, arrays, strict=True):
        np.testing.assert_array_equal(a, float(i))
