"""`ordered`. Its promise has a twin without it, in which the order is lost."""

from __future__ import annotations

import contextlib
import re

import pytest

from sharedarray import MapReduce
from tests.workers.support import each_backend, reason_of
from tests.workers.synchronization import Barrier, Event, Log, Semaphore

nothing = contextlib.nullcontext()


def log_in_order(pool, block, patience=0.05, **options):
    """Let items log themselves; item 0 waits for another to be first, where one can be."""
    somebody, log = Event(), Log()

    def work(i):
        with block:
            if i == 0:
                somebody.wait(patience)
            log.append(i)
            somebody.set()

    pool.map(work, range(20), **options)
    return list(log)


@pytest.mark.parametrize("chunksize", [None, 1, 3, 100])
def test_ordered_keeps_the_order(pool, chunksize):
    assert log_in_order(pool, pool.ordered, chunksize=chunksize) == list(range(20))


@pytest.mark.parametrize("np", [2, 3, 7])
@pytest.mark.parametrize("chunksize", [None, 1, 3])
@each_backend
def test_without_ordered_the_order_is_lost(backend, np, chunksize):
    pool = MapReduce(backend, np)
    assert log_in_order(pool, nothing, patience=5, chunksize=chunksize) != list(range(20))


@each_backend
def test_ordered_waits_for_an_item_that_has_not_come_yet(backend):
    log, somebody = Log(), Event()

    def work(i):
        if i == 0:
            somebody.wait(0.2)  # in vain
        with pool.ordered:
            log.append(i)
            somebody.set()

    pool = MapReduce(backend, 3)
    pool.map(work, range(6), chunksize=1)
    assert list(log) == list(range(6))


@each_backend
def test_only_the_block_is_ordered(backend):
    # Item 0 goes on after its block; the others need not wait for its end.
    others = Semaphore()

    def work(i):
        with pool.ordered:
            pass
        if i:
            others.release()
            return True
        return all(others.acquire(timeout=10) for _ in range(5))

    pool = MapReduce(backend, 2)
    assert all(pool.map(work, range(6), chunksize=1))


@each_backend
def test_items_run_side_by_side_before_their_turn(backend):
    barrier = Barrier(3)

    def work(i):
        barrier.wait()
        with pool.ordered:
            return i

    pool = MapReduce(backend, 3)
    assert pool.map(work, range(9), chunksize=1) == list(range(9))


@pytest.mark.usefixtures("restless")
@pytest.mark.parametrize("chunksize", [None, 1, 3])
def test_ordered_with_a_thousand_items(pool, chunksize):
    log = Log()

    def work(i):
        with pool.ordered:
            log.append(i)

    pool.map(work, range(1000), chunksize=chunksize)
    assert list(log) == list(range(1000))


def test_ordered_with_a_generator(pool):
    log = Log()

    def work(i):
        with pool.ordered:
            log.append(i)

    pool.map(work, (i for i in range(200)))
    assert list(log) == list(range(200))


@pytest.mark.usefixtures("restless")
@pytest.mark.parametrize("chunksize", [None, 1, 3])
@pytest.mark.parametrize(
    "enters",
    [lambda i: i % 2, lambda i: not i % 2, lambda i: i == 999, lambda i: i == 0, lambda i: False],
    ids=["odd", "even", "last", "first", "none"],
)
def test_items_may_skip_ordered(pool, enters, chunksize):
    log = Log()

    def work(i):
        if enters(i):
            with pool.ordered:
                log.append(i)

    pool.map(work, range(1000), chunksize=chunksize)
    assert list(log) == [i for i in range(1000) if enters(i)]


def test_leaving_ordered_by_an_exception_passes_the_turn(pool):
    log = Log()

    def work(i):
        with contextlib.suppress(ValueError), pool.ordered:
            log.append(i)
            raise ValueError

    pool.map(work, range(100))
    assert list(log) == list(range(100))


@pytest.mark.parametrize("k", [0, 5, 19])
def test_exception_in_ordered_ends_the_map(pool, k):
    def work(i):
        with pool.ordered:
            return 1 // (i - k)

    assert isinstance(reason_of(pool, work, range(20), chunksize=1), ZeroDivisionError)
    assert log_in_order(pool, pool.ordered) == list(range(20))


@pytest.mark.parametrize("chunksize", [None, 1, 3])
def test_ordered_twice_in_an_item(pool, chunksize):
    def after_each_other(_):
        with pool.ordered:
            pass
        with pool.ordered:
            pass

    def within(_):
        with pool.ordered, pool.ordered:
            pass

    for work in (after_each_other, within):
        reason = reason_of(pool, work, range(10), chunksize=chunksize)
        assert isinstance(reason, RuntimeError)
        assert "ordered" in str(reason)


def test_ordered_twice_in_turn_after_suppressing(pool):
    log = Log()

    def work(i):
        with pool.ordered:
            with contextlib.suppress(RuntimeError), pool.ordered:
                pytest.fail("entered twice")
            log.append(i)

    pool.map(work, range(100))
    assert list(log) == list(range(100))


def test_ordered_in_critical(pool):
    def work(_):
        with pool.critical, pool.ordered:
            pass

    reason = reason_of(pool, work, range(10))
    assert isinstance(reason, RuntimeError)
    assert re.search("ordered.*critical", str(reason))


def test_critical_in_ordered(pool):
    log = Log()

    def work(i):
        with pool.ordered, pool.critical:
            log.append(i)
        with pool.critical:
            pass

    pool.map(work, range(200))
    assert list(log) == list(range(200))
