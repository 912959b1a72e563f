"""Arrays that worker processes make and return: adopted if they are large, copied if small."""

import os
import pickle
from collections import namedtuple

import numpy as np
import pytest

import sharedarray
from sharedarray import MapReduce, SharedArray, WorkerException, forks
from sharedarray.memory import registry
from sharedarray.memory.cache import release_cache
from sharedarray.memory.registry import is_shared
from tests.memory.support import in_child, run_python

SMALL, MEDIUM, LARGE = 12, 30_000, 1 << 18  # in a slab; without descriptor; with one
SIZES = pytest.mark.parametrize("n", [SMALL, MEDIUM, LARGE])

Pair = namedtuple("Pair", "x y")


def in_worker(make):
    """Return what `make` returns in a worker process."""
    return MapReduce(np=1).map(lambda _: make(), range(1))[0]


def memory_of(a):
    return registry.owner(a).segment.id


def is_adopted(a):
    return type(a) is SharedArray and is_shared(a) and not is_own(a)


def is_own(a):
    return registry.owner(a).segment.id[0] == forks.process_token()


def assert_is(a, value, n=LARGE):
    assert type(a) is SharedArray
    assert is_shared(a)
    assert a.shape == (n,)
    assert (a == value).all()


# ways to return them


@SIZES
@pytest.mark.parametrize("np_", [1, 2, 5])
@pytest.mark.parametrize("chunksize", [None, 1, 3])
def test_map_returns_what_each_item_has_made(n, np_, chunksize):
    made = MapReduce(np=np_).map(
        lambda i: sharedarray.full(n, float(i)), range(7), chunksize=chunksize
    )
    for i, a in enumerate(made):
        assert_is(a, i, n)
        assert is_adopted(a) == (n == LARGE)
    assert len(set(map(registry.address_of, made))) == 7


@SIZES
@pytest.mark.parametrize("ordered", [True, False])
def test_imap_returns_what_each_item_has_made(n, ordered):
    def work(i):
        return i, sharedarray.full(n, float(i))

    found = {}
    for i, a in MapReduce(np=2).imap(work, range(7), ordered=ordered):
        assert_is(a, i, n)
        found[i] = a
    assert sorted(found) == list(range(7))
    for i, a in found.items():
        assert_is(a, i, n)


@SIZES
def test_items_of_an_iterator(n):
    made = MapReduce(np=2).map(lambda i: sharedarray.full(n, float(i)), iter(range(5)))
    for i, a in enumerate(made):
        assert_is(a, i, n)


@SIZES
def test_reduce_is_given_them(n):
    sums = []
    MapReduce(np=2).map(
        lambda i: sharedarray.full(n, float(i)),
        range(5),
        reduce=lambda a: sums.append((is_shared(a), float(a.mean()))),
    )
    assert sorted(sums) == [(True, i) for i in range(5)]


@pytest.mark.parametrize("n", [SMALL, LARGE])
@pytest.mark.parametrize("backend", ["thread", "serial"])
def test_workers_that_are_no_processes_return_the_array_itself(n, backend):
    made = MapReduce(backend, np=2).map(lambda i: sharedarray.full(n, float(i)), range(3))
    for i, a in enumerate(made):
        assert_is(a, i, n)
        assert is_own(a)


@SIZES
def test_nested_maps(n):
    def outer(i):
        return MapReduce(np=2).map(lambda j: sharedarray.full(n, float(10 * i + j)), range(3))

    for _ in range(5):
        for i, row in enumerate(MapReduce(np=2).map(outer, range(4))):
            for j, a in enumerate(row):
                assert_is(a, 10 * i + j, n)


@SIZES
def test_what_a_child_of_a_worker_has_made(n):
    def work(i):
        def child():
            a = sharedarray.full(n, float(i))
            return in_child(lambda: pickle.dumps(a)), a

        stream, a = child()
        b = pickle.loads(stream)
        return a, b

    for i, (a, b) in enumerate(MapReduce(np=2).map(work, range(3))):
        assert_is(a, i, n)
        assert_is(b, i, n)


@SIZES
def test_exceptions_carry_them(n):
    def work(_):
        raise ValueError(sharedarray.full(n, 3.0))

    with pytest.raises(WorkerException) as caught:
        MapReduce(np=1).map(work, range(1))
    assert_is(caught.value.reason.args[0], 3, n)
    caught.value.__cause__ = None


# what they are


VIEWS = {
    "strided": lambda a: a[::-3],
    "transposed": lambda a: a.reshape(2, -1).T,
    "broadcast": lambda a: np.broadcast_to(a[:3], (2, 3), subok=True),
    "without dimensions": lambda a: a[7, ...],
    "without elements": lambda a: a[:0],
    "byte-swapped": lambda a: a.view(">f8"),
    "structured": lambda a: a.view([("a", "i2"), ("b", ">f4"), ("c", "S2")]),
    "field": lambda a: a.view([("a", "i2"), ("b", ">i4"), ("c", "S2")])["b"],
    "records": lambda a: a.view((np.record, [("a", "u4"), ("b", "V4")])),
    "times": lambda a: a.view("M8[ns]"),
    "unaligned": lambda a: a.view("u1")[1:-7].view("f8"),
}


@SIZES
@pytest.mark.parametrize("name", VIEWS)
def test_views_and_dtypes_arrive_as_they_are(n, name):
    expected = VIEWS[name](sharedarray.arange(float(n)))
    a = in_worker(lambda: VIEWS[name](sharedarray.arange(float(n))))
    assert type(a) is SharedArray
    assert is_shared(a)
    assert (a.shape, a.dtype, a.dtype.type) == (expected.shape, expected.dtype, expected.dtype.type)
    assert a.tobytes() == expected.tobytes()
    if n == LARGE:
        assert a.strides == expected.strides


@SIZES
def test_read_only_stays_read_only(n):
    def make():
        a = sharedarray.ones(n)
        a.flags.writeable = False
        return a

    assert not in_worker(make).flags.writeable


@pytest.mark.parametrize("n", [SMALL, LARGE])
def test_containers(n):
    def make():
        a = sharedarray.arange(float(n))
        return {"pair": Pair(a, a[::-1]), "list": [a + 1, np.asarray(a), None], 5: (a[1:],)}

    found = in_worker(make)
    pair, others, rest = found["pair"], found["list"], found[5]
    assert type(pair) is Pair
    assert [type(a) for a in (*pair, *rest)] == [SharedArray] * 3
    assert [type(a) for a in others] == [np.ndarray, np.ndarray, type(None)]
    assert not any(map(is_shared, others[:2]))
    np.testing.assert_array_equal(pair.y, pair.x[::-1])
    np.testing.assert_array_equal(others[0] - 1, others[1])
    assert rest[0][0] == 1
    if n == LARGE:
        pair.x[1] = 99
        assert (pair.y[-2], rest[0][0]) == (99, 99)


def test_several_views_of_one_array_are_one_memory_also_in_several_results():
    def work(i):
        if i == 0:
            kept.append(sharedarray.arange(float(LARGE)))
        return kept[0][i:]

    kept = []
    made = MapReduce(np=1).map(work, range(5), chunksize=1)
    assert len(set(map(memory_of, made))) == 1
    made[0][4] = -1
    assert [a[4 - i] for i, a in enumerate(made)] == [-1] * 5


def test_more_arrays_in_one_claim_than_the_kernel_passes_on_at_a_time():
    made = MapReduce(np=1).map(
        lambda i: sharedarray.full(1 << 17, float(i)), range(260), chunksize=260
    )
    for i, a in enumerate(made):
        assert_is(a, i, 1 << 17)
    assert sum(map(is_adopted, made)) >= 200


def test_arrays_of_the_coordinator_are_the_same_memory_and_neither_copied_nor_adopted():
    small, large = sharedarray.zeros(SMALL), sharedarray.zeros(LARGE)

    def work(i):
        small[i], large[i] = i, i
        return small[i:], large[::-1]

    for a, b in MapReduce(np=2).map(work, range(4)):
        assert registry.owner(a) is registry.owner(small)
        assert registry.owner(b) is registry.owner(large)
    assert small[:4].tolist() == large[:4].tolist() == [0, 1, 2, 3]


@SIZES
def test_the_coordinator_may_use_them_as_its_own(n):
    a = in_worker(lambda: sharedarray.arange(float(n)))
    assert in_child(lambda: a.__setitem__(2, -7)) is None
    assert a[2] == -7
    MapReduce(np=2).map(lambda i: a.__setitem__(i, 50), range(2))
    assert a[:3].tolist() == [50, 50, -7]
    assert pickle.loads(pickle.dumps(a[1:]))[1] == -7
    a.sort()
    assert a[0] == -7
    assert type(a + 1) is np.ndarray


@SIZES
def test_worker_that_computes_on_does_not_disturb_what_it_has_returned(n):
    def work(i):
        if kept:
            kept.pop()  # its memory is free for the next one
        kept.append(sharedarray.full(n, float(i)))
        return kept[0]

    kept = []
    taken = []
    for i, a in enumerate(MapReduce(np=1).imap(work, range(30), chunksize=1)):
        assert_is(a, i, n)
        taken.append(a)
    for i, a in enumerate(taken):
        assert_is(a, i, n)
    assert len(set(map(registry.address_of, taken))) == 30


def test_worker_that_keeps_an_array_shares_it_with_the_coordinator():
    def work(i):
        if i == 0:
            kept.append(sharedarray.zeros(LARGE))
        else:
            kept[0][i] = i
        return kept[0] if i == 0 else None

    kept = []
    results = MapReduce(np=1).imap(work, range(4), chunksize=1)
    a = next(results)
    assert list(results) == [None] * 3
    assert a[:5].tolist() == [0, 1, 2, 3, 0]


# limits


def refuse_memfd(*args):
    raise OSError("refused")


@SIZES
def test_where_memfd_is_refused_they_are_copied(monkeypatch, n):
    monkeypatch.setattr(os, "memfd_create", refuse_memfd)
    release_cache()
    made = MapReduce(np=2).map(lambda i: sharedarray.full(n, float(i))[::2], range(4))
    for i, a in enumerate(made):
        assert_is(a, i, n // 2)
        assert not is_adopted(a)


@pytest.mark.parametrize("how", ["chunksize=1", "chunksize=50", "chunksize=None"])
def test_more_arrays_than_descriptors_all_arrive(how):
    code = f"""
import sharedarray
made = sharedarray.MapReduce(np=2).map(
    lambda i: sharedarray.full(1 << 17, float(i)), range(200), {how}
)
print(all((a == i).all() for i, a in enumerate(made)))
print({{type(a) for a in made}} == {{sharedarray.SharedArray}})
"""
    assert run_python(code, shell_limits="ulimit -n 64").split() == ["True", "True"]


# what stays


FLAT = """
import gc, os
import sharedarray
from pathlib import Path

def state():
    gc.collect()
    sharedarray.release_cache()
    lines = Path("/proc/self/status").read_text().splitlines()
    kib = next(int(line.split()[1]) for line in lines if line.startswith("RssShmem"))
    maps = Path("/proc/self/maps").read_text().count("memfd:sharedarray")
    return kib / 1024, (maps, len(os.listdir("/proc/self/fd")))

def use(n):
    pool = sharedarray.MapReduce(np=2)
    for _ in range(n):
        made = pool.map(lambda i: (sharedarray.full(1 << 18, i), sharedarray.ones(9)), range(2))
        assert [a.sum() for a, b in made] == [0, 1 << 18]

use(3)
mib, before = state()
use(200)
mib_after, after = state()
print(before == after, mib_after - mib < 10)
"""


def test_nothing_stays_of_many_maps():
    assert run_python(FLAT, timeout=120).split() == ["True", "True"]


def test_memory_goes_with_the_last_view_and_not_before():
    made = MapReduce(np=1).map(lambda i: sharedarray.full(LARGE, float(i)), range(2))
    segment = memory_of(made[1])
    view = made[1][5:]
    del made
    assert_is(view, 1, LARGE - 5)
    del view
    assert registry.find_id(segment) is None


def test_results_that_are_never_taken_leave_nothing():
    # The check is the one that follows each test.
    results = MapReduce(np=2).imap(lambda i: sharedarray.full(LARGE, float(i)), range(50))
    assert_is(next(results), 0)
    results.close()
    with pytest.raises(WorkerException):
        MapReduce(np=2).map(lambda i: sharedarray.full(LARGE, 1 / (i - 20)), range(50))
