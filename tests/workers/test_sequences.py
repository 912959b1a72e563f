"""What `map` takes as a sequence, and how it consumes what is none."""

from __future__ import annotations

import gc
import itertools
import threading
from collections import deque

import numpy as np
import pytest

import sharedarray
from sharedarray import MapReduce, WorkerException
from tests.workers.support import PARALLEL, each_backend, make_pool
from tests.workers.synchronization import Barrier, Log, here


class Numbers:
    """A sequence without any base class."""

    def __init__(self, n, *, bad=()):
        self._n = n
        self._bad = bad
        self.len_calls = Log()

    def __len__(self):
        self.len_calls.append(1)
        return self._n

    def __getitem__(self, i):
        if i in self._bad:
            raise LookupError(f"no item {i}")  # the line that a traceback has to show
        return i * 10


class Old:
    """What only has `__getitem__` is iterable by the old protocol, and has no length."""

    def __getitem__(self, i):
        if i == 4:
            raise IndexError
        return i * 10


SEQUENCES = [
    [3, 1, 2],
    (3, 1, 2),
    range(10, 3, -2),
    "hello",
    b"bytes",
    deque([3, 1, 2]),
    memoryview(b"view"),
    np.arange(5.0),
    sharedarray.arange(5),
    Numbers(6),
    Old(),
    {"b": 1, "a": 2},
    {"b": 1, "a": 2}.keys(),
    {"b": 1, "a": 2}.values(),
    {"b": 1, "a": 2}.items(),
    {3, 1, 2},
    frozenset("abc"),
]


@pytest.mark.parametrize("sequence", SEQUENCES, ids=lambda s: type(s).__name__)
def test_every_kind_of_iterable(pool, sequence):
    expected = [sequence[i] for i in range(6)] if isinstance(sequence, Numbers) else list(sequence)
    assert pool.map(lambda x: x, sequence) == expected


LAZY = [
    lambda: (i for i in range(9)),
    lambda: iter([3, 1, 2]),
    lambda: map(str, range(9)),
    lambda: zip("ab", range(2), strict=True),
    lambda: enumerate("abc"),
    lambda: itertools.chain("ab", [1]),
]


@pytest.mark.parametrize("make", LAZY)
def test_every_kind_of_iterator(pool, make):
    assert pool.map(lambda x: x, make()) == list(make())


@pytest.mark.parametrize("n", [0, 1, 2, 5, 13, 14, 15, 100])
@pytest.mark.parametrize("chunksize", [None, 1, 3, 1000])
def test_generators_of_any_length(pool, n, chunksize):
    results = pool.map(lambda i: i * i, (i for i in range(n)), chunksize=chunksize)
    assert results == [i * i for i in range(n)]


def empty_generator():
    yield from ()


EMPTY = [list, tuple, str, bytes, dict, set, frozenset, deque, empty_generator]
EMPTY += [lambda: range(0), lambda: np.empty(0), lambda: np.empty((0, 3)), lambda: Numbers(0)]
EMPTY += [lambda: iter([]), lambda: {}.items(), lambda: sharedarray.empty(0)]


@pytest.mark.parametrize("empty", EMPTY)
def test_empty(pool, empty):
    assert pool.map(lambda x: pytest.fail("called"), empty()) == []


@pytest.mark.parametrize("wrong", [None, 5, 2.5, np.array(5.0), object()])
def test_what_cannot_be_iterated(pool, wrong):
    with pytest.raises(TypeError):
        pool.map(str, wrong)


def test_rows_of_an_array_are_the_items(pool):
    a = np.arange(12.0).reshape(4, 3)
    assert pool.map(np.sum, a) == [3.0, 12.0, 21.0, 30.0]


def test_rows_of_an_array_are_views(sharing):
    a = np.arange(12.0).reshape(4, 3)
    assert all(np.shares_memory(row, a) for row in sharing.map(lambda row: row, a))


def test_rows_of_a_shared_array_are_views_in_processes_too(pool):
    a = sharedarray.arange(12.0).reshape(4, 3)
    assert pool.map(lambda row: row.fill(row.sum()), a) == [None] * 4
    assert a.tolist() == [[i] * 3 for i in (3, 12, 21, 30)]
    assert all(np.shares_memory(row, a) for row in pool.map(lambda row: row, a))


def test_items_of_an_array_are_its_elements(pool):
    assert {type(x) for x in pool.map(lambda x: x, np.arange(3.0))} == {np.float64}


def test_items_are_not_copied(sharing):
    items = [object() for _ in range(20)]
    assert all(a is b for a, b in zip(sharing.map(lambda x: x, items), items, strict=True))


def test_length_is_read_once(pool):
    numbers = Numbers(5)
    assert pool.map(lambda x: x, numbers) == [0, 10, 20, 30, 40]
    assert len(numbers.len_calls) == 1


def test_items_of_a_sequence_are_inherited_by_processes(forked):
    items = [(lambda i=i: i) for i in range(20)]  # which do not pickle
    assert forked.map(lambda item: item(), items) == list(range(20))


def test_items_of_a_generator_are_pickled_for_processes(forked):
    with pytest.raises(Exception, match="pickle") as caught:
        forked.map(lambda item: item(), (lambda: 7 for _ in range(20)))
    assert not isinstance(caught.value, WorkerException)
    assert "iterator" in "".join(caught.value.__notes__)


def test_sequence_that_grows_meanwhile(pool):
    items = [1, 2, 3]
    assert pool.map(lambda x: items.append(x) or x, items) == [1, 2, 3]
    assert set(items) == {1, 2, 3}


def test_sequence_that_reduce_lets_grow(pool):
    items = [1, 2, 3]
    assert pool.map(lambda x: x, items, items.append) == [None] * 3
    assert sorted(items) == [1, 1, 2, 2, 3, 3]


def test_sequence_that_shrinks_meanwhile_is_an_error(pool):
    items = list(range(10))
    with pytest.raises(WorkerException) as caught:
        pool.map(lambda x: items.clear(), items, chunksize=3)
    assert isinstance(caught.value.reason, IndexError)


def test_error_of_getitem_is_that_of_the_item(pool):
    with pytest.raises(WorkerException) as caught:
        pool.map(lambda x: x, Numbers(20, bad={7}))
    assert repr(caught.value.reason) == "LookupError('no item 7')"
    assert "the line that a traceback has to show" in caught.value.traceback
    assert pool.map(lambda x: x, Numbers(3)) == [0, 10, 20]


@each_backend
def test_items_of_a_sequence_are_looked_up_in_the_workers(backend):
    class Where:
        def __len__(self):
            return 4

        def __getitem__(self, i):
            return here()

    assert here() not in MapReduce(backend, 2).map(lambda x: x, Where())


# generators


class Source:
    """Count up, and note how far ahead of the results it was asked for items."""

    def __init__(self, stop=None, error=None):
        self._stop = stop
        self._error = error
        self.n_given = 0
        self.n_reduced = 0
        self.most_ahead = 0
        self.idents = set()

    def __iter__(self):
        return self

    def __next__(self):
        self.idents.add(threading.get_ident())
        if self.n_given == self._stop:
            raise self._error or StopIteration
        self.n_given += 1
        self.most_ahead = max(self.most_ahead, self.n_given - self.n_reduced)
        return self.n_given - 1

    def reduce(self, result):
        self.n_reduced += 1
        return result


@pytest.mark.parametrize("chunksize", [None, 1, 3])
def test_generator_is_consumed_a_few_items_ahead(pool, chunksize):
    source = Source(500)
    results = pool.map(lambda i: i, source, source.reduce, chunksize=chunksize)
    assert results == list(range(500))
    # Two claims a worker; a single one where the caller does the work.
    assert source.most_ahead <= (2 * pool.np or 1) * (chunksize or 1)


@each_backend
def test_generator_feeds_every_worker(backend):
    # The barrier opens only where three items run at the same time.
    barrier = Barrier(3)
    items = (i for i in range(9))
    assert len(MapReduce(backend, 3).map(lambda _: barrier.wait(), items)) == 9


def test_generator_runs_in_the_calling_thread(pool):
    source = Source(100)
    pool.map(lambda i: i, source)
    assert source.idents == {threading.get_ident()}


@pytest.mark.parametrize("n", [0, 1, 3, 50])
@pytest.mark.parametrize("error", [ValueError("v"), KeyboardInterrupt(), SystemExit(1)])
def test_exception_of_a_generator_comes_out_as_it_is(pool, n, error):
    with pytest.raises(type(error)) as caught:
        pool.map(lambda i: i, Source(n, error))
    assert caught.value is error
    assert pool.map(abs, [-1]) == [1]


def test_exception_of_a_generator_while_workers_wait_for_items(parallel):
    source = Source(1, ValueError("v"))
    with pytest.raises(ValueError, match="v"):
        parallel.map(lambda i: i, source)


def test_infinite_generator_ends_with_a_failing_item(pool):
    def work(i):
        if i == 100:
            raise ValueError(i)

    source = Source()
    with pytest.raises(WorkerException, match="100"):
        pool.map(work, source)
    assert source.n_given < 200


def test_infinite_generator_ends_with_reduce(pool):
    def reduce(i):
        if i == 100:
            raise StopIteration(i)

    source = Source()
    with pytest.raises(StopIteration):
        pool.map(lambda i: i, source, reduce)
    assert source.n_given < 200


def test_generator_is_closed_when_a_map_fails(pool):
    closed = []

    def generate():
        try:
            yield from itertools.count()
        finally:
            closed.append(threading.get_ident())

    with pytest.raises(WorkerException):
        pool.map(lambda i: 1 // (3 - i), generate())
    gc.collect()  # the traceback that was caught is part of a cycle
    assert closed == [threading.get_ident()]


@pytest.mark.parametrize("kind", PARALLEL)
def test_hundred_thousand_items_of_a_generator(kind):
    results = make_pool(kind).map(lambda i: i, (i for i in range(100_000)), chunksize=100)
    assert results == list(range(100_000))


def test_map_inside_the_generator(pool):
    def generate():
        for i in range(5):
            yield pool.map(abs, [-i, i])

    assert pool.map(sum, generate()) == [0, 2, 4, 6, 8]
