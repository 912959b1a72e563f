"""`critical`. Its promise has a twin without it, in which updates are lost."""

from __future__ import annotations

import contextlib

import pytest

import sharedarray
from sharedarray import MapReduce
from tests.workers.support import each_backend, reason_of
from tests.workers.synchronization import LIMIT, Event, Rendezvous, Semaphore

nothing = contextlib.nullcontext()


def count_up(pool, block, **options):
    """Let 8 items add 1 in `block`, and meet between reading and writing where they can."""
    counter, rendezvous = sharedarray.zeros(1, int), Rendezvous(2, **options)

    def work(_):
        with block:
            old = int(counter[0])
            rendezvous.wait()
            counter[0] = old + 1

    pool.map(work, range(8), chunksize=1)
    return int(counter[0])


def test_critical_loses_no_update(pool):
    assert count_up(pool, pool.critical) == 8


@pytest.mark.parametrize("np", [2, 3, 7])
@each_backend
def test_without_critical_updates_are_lost(backend, np):
    assert count_up(MapReduce(backend, np), nothing, patience=LIMIT) < 8


@pytest.mark.usefixtures("restless")
def test_critical_holds_one_thread_at_a_time():
    inside, most = 0, 0

    def work(_):
        nonlocal inside, most
        with pool.critical:
            inside += 1
            most = max(most, inside)
            inside -= 1

    pool = MapReduce("thread", 8)
    pool.map(work, range(20_000))
    assert (inside, most) == (0, 1)


@pytest.mark.parametrize("np", [2, 3, 8])
def test_critical_holds_one_process_at_a_time(np):
    counts = sharedarray.zeros(3, int)  # inside, at most inside, entered

    def work(_):
        with pool.critical:
            counts[0] += 1
            counts[1] = max(counts[:2])
            counts[2] += 1
            counts[0] -= 1

    pool = MapReduce("process", np)
    pool.map(work, range(5_000))
    assert counts.tolist() == [0, 1, 5_000]


@each_backend
def test_only_the_block_is_critical(backend):
    # Item 0 goes on after its block; the others need not wait for its end.
    first_is_in, others = Event(), Semaphore()

    def work(i):
        if i == 0:
            with pool.critical:
                first_is_in.set()
                others.acquire(timeout=0.1)  # in vain: they have time to come, and to wait
            return all(others.acquire(timeout=10) for _ in range(5))
        first_is_in.wait()
        with pool.critical:
            pass
        others.release()
        return True

    pool = MapReduce(backend, 2)
    assert all(pool.map(work, range(6), chunksize=1))


def test_critical_is_free_again_after_an_exception(pool):
    def work(i):
        try:
            with pool.critical:
                raise ValueError(i)
        except ValueError as error:
            return error.args[0]

    assert pool.map(work, range(50)) == list(range(50))


def test_critical_is_free_again_in_the_next_map(pool):
    def work(i):
        with pool.critical:
            return 1 // i

    assert isinstance(reason_of(pool, work, range(20)), ZeroDivisionError)
    assert pool.map(work, [1, 1, 1, 1]) == [1] * 4


def test_critical_in_critical(pool):
    def work(_):
        with pool.critical, pool.critical:
            pass

    assert "critical" in str(reason_of(pool, work, range(10)))
    assert isinstance(reason_of(pool, work, range(10)), RuntimeError)


@each_backend
def test_critical_holds_on_after_an_attempt_to_enter_again(backend):
    counter, rendezvous = sharedarray.zeros(1, int), Rendezvous(2)

    def work(_):
        with pool.critical:
            with contextlib.suppress(RuntimeError), pool.critical:
                pytest.fail("entered twice")
            old = int(counter[0])
            rendezvous.wait()
            counter[0] = old + 1

    pool = MapReduce(backend, 2)
    pool.map(work, range(8), chunksize=1)
    assert counter[0] == 8


def test_critical_may_be_entered_many_times_by_an_item(pool):
    def work(_):
        for _ in range(3):
            with pool.critical:
                pass
        return True

    assert all(pool.map(work, range(20)))


def test_critical_gives_nothing_and_swallows_nothing(pool):
    def work(_):
        with pool.critical as given:
            return given

    assert pool.map(work, [1]) == [None]
