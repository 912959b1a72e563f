"""A rank that works learns of one that has failed, and of which rank it was."""

from __future__ import annotations

import contextlib
import os
import signal
import time

import numpy as np
import pytest

import sharedarray
from sharedarray import MapReduce, ParallelException, StopProcessGroup, WorkerDied, WorkerException
from sharedarray.openmp.loops import in_parts
from sharedarray.openmp.parallel import Parallel, Reduction
from sharedarray.openmp.rank import Rank
from tests.openmp.blocks import SOON, failure_of
from tests.workers.clock import within
from tests.workers.support import each_backend
from tests.workers.synchronization import Event

N = 100_000  # items of 5 ms: too many for a test to wait for


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def fail():
    raise ValueError


ENDS = [("process", die), ("process", fail), ("thread", fail)]
each_end = pytest.mark.parametrize(("backend", "end"), ENDS)
LOOPS = {
    "forloop": lambda p, schedule: p.forloop(N, schedule=schedule),
    "collapse": lambda p, schedule: p.forloop(N, 10, schedule=schedule),
    "ordered": lambda p, schedule: p.forloop(N, schedule=schedule, ordered=True),
    "chunks": lambda p, schedule: p.chunks(N, schedule),
}
SCHEDULES = ["static", ("static", 1), "dynamic", ("dynamic", 1000), "guided"]
CASES = [(loop, schedule) for loop in LOOPS for schedule in SCHEDULES]
CASES.remove(("chunks", "static"))  # one slice for each rank


@each_end
@pytest.mark.parametrize(("loop", "schedule"), CASES)
def test_rank_0_learns_in_a_loop(backend, end, loop, schedule):
    def body(p):
        for _ in LOOPS[loop](p, schedule):
            if p.rank == 1:
                end()
            time.sleep(0.005)

    error = failure_of(body, 2, backend)
    assert error.rank == 1
    assert isinstance(error.reason, WorkerDied if end is die else ValueError)


@each_end
@pytest.mark.parametrize("construct", ["critical", "atomic"])
def test_rank_0_learns_where_it_never_waits(backend, end, construct):
    def body(p):
        if p.rank == 1:
            end()
        for _ in range(N):
            with getattr(p, construct):
                time.sleep(0.005)

    assert failure_of(body, 2, backend).rank == 1


@pytest.mark.parametrize("n", [0, 1, 2, 7, 1000])
@pytest.mark.parametrize("seconds", [0.0, float("inf")])
def test_parts_of_chunks(n, seconds):
    chunks = [(5, 5 + n), (1000, 1001), (2000, 2000 + n)]
    parts = list(in_parts(chunks, seconds))
    items = [item for start, stop in chunks for item in range(start, stop)]
    assert [item for start, stop in parts for item in range(start, stop)] == items
    if seconds == 0:
        assert parts == [(item, item + 1) for item in items]
    else:
        assert len(parts) == {0: 1, 1: 3, 2: 4, 7: 5, 1000: 36 + 1 + 32}[n]


@pytest.mark.parametrize("schedule", ["static", ("dynamic", 10**6)])
def test_rank_0_learns_where_slow_items_follow_quick_ones(schedule):
    is_dead = Event()

    def body(p):
        for i in p.forloop(3 * 10**6, schedule=schedule):
            if p.rank:
                is_dead.set()
                die()
            if i > 10**5:
                is_dead.wait()
                time.sleep(0.005)

    assert isinstance(failure_of(body, 2).reason, WorkerDied)


# Which rank has failed


@pytest.mark.parametrize("times", [1, 2])
@each_end
def test_failure_that_is_caught_comes_out_at_the_end(backend, end, times):
    is_there = Event()

    def body(p):
        if p.rank == 1:
            is_there.set()
            end()
        is_there.wait()
        for _ in range(times):
            with contextlib.suppress(Exception):
                p.barrier()

    error = failure_of(body, 2, backend)
    assert error.rank == 1
    assert isinstance(error.reason, WorkerDied if end is die else ValueError)


@each_backend
def test_mismatch_that_is_caught_comes_out_at_the_end(backend):
    def body(p):
        with contextlib.suppress(Exception):
            if p.master:
                p.barrier()
            else:
                p.single().__enter__()
                p.barrier()

    assert "different constructs" in str(failure_of(body, 2, backend))


class Unloadable:
    def __reduce__(self):
        return int, ("no number",)


@pytest.mark.parametrize("how", ["dies", "raises", "does not load"])
def test_failure_that_is_caught_in_a_loop_comes_out_at_the_end(how):
    last = np.frompyfunc(lambda a, b: b, 2, 1, identity=0)
    p = Parallel(Reduction(last, x=np.array(0, object)), num_threads=2)

    def body(p):
        if p.rank == 1:
            if how == "dies":
                die()
            if how == "raises":
                fail()
            p.var.x = Unloadable()
            return
        with contextlib.suppress(Exception):
            for _ in p.forloop(N):
                time.sleep(0.005)

    with within(SOON), pytest.raises(ParallelException) as caught:
        p.run(body)
    assert isinstance(caught.value.reason, WorkerDied if how == "dies" else ValueError)


@each_backend
def test_a_difference_that_is_past_is_noticed_at_the_next_barrier(backend):
    def body(p):
        if p.rank == 1:
            p.single()
        p.barrier()

    failure_of(body, 2, backend, match="different constructs")


@each_backend
def test_places_are_told_by_their_number(backend):
    def body(p):
        p.barrier()
        if p.rank == 1:
            p.single()
        p.barrier()

    places = r"rank 0 is at construct 2 \(barrier\); rank 1 is at construct 3 \(barrier\)"
    failure_of(body, 2, backend, match=places)


@each_backend
def test_loop_left_by_break_before_the_end_of_the_block(backend):
    def body(p):
        for _ in p.forloop(10, nowait=True):
            if p.rank:
                break

    failure_of(body, 2, backend, match="was left within")


@each_backend
def test_exception_on_its_way_out_of_critical_is_kept(backend):
    has_failed = Event()
    mine = KeyError("mine")

    def body(p):
        if p.rank == 1:
            has_failed.wait()
            raise ValueError
        with p.critical:
            has_failed.set()
            while not p._here("").team.is_stopped:
                time.sleep(0.001)
            raise mine

    with pytest.raises(KeyError) as caught:
        Parallel(num_threads=2, backend=backend).run(body)
    assert caught.value is mine


class SlowError(ValueError):
    def __reduce__(self):
        time.sleep(0.1)
        return super().__reduce__()


def test_a_rank_that_learns_of_a_failure_does_not_report_it_first():
    def body(p):
        if p.rank == 1:
            raise SlowError
        while True:
            with p.critical:
                pass

    assert isinstance(failure_of(body, 3).reason, SlowError)


def test_exception_out_of_single_does_not_wait():
    never = Event()

    def body(p):
        with p.single():
            if p.master:
                raise ValueError("mine")
            never.wait()

    with within(SOON), pytest.raises(ValueError, match="mine"):
        Parallel(num_threads=2).run(body)


def test_a_handler_of_a_ranks_own_does_not_run_at_its_end(monkeypatch):
    end = Rank.end

    def interrupted(rank, where):
        if rank.number:
            signal.raise_signal(signal.SIGALRM)
        end(rank, where)

    def fail(number, frame):
        raise TimeoutError

    monkeypatch.setattr(Rank, "end", interrupted)
    with Parallel(num_threads=2) as p:
        if p.rank:
            signal.signal(signal.SIGALRM, fail)


def test_a_grandchild_does_not_come_past_the_block():
    after = sharedarray.zeros(1, int)
    pid = os.getpid()
    with Parallel(num_threads=2) as p:
        if p.rank:
            child = os.fork()
            if child:
                os.waitpid(child, 0)
    if os.getpid() != pid:
        after[0] += 1
        os._exit(0)
    assert after[0] == 0


# StopProcessGroup comes from a block or map around this one, or is the user's own


@pytest.mark.parametrize("failing", [0, 1])
@each_backend
def test_stop_of_the_users_own(backend, failing):
    def body(p):
        if p.rank == failing:
            raise StopProcessGroup
        p.barrier()

    if failing:
        assert isinstance(failure_of(body, 3, backend).reason, StopProcessGroup)
    else:
        with pytest.raises(StopProcessGroup):
            Parallel(num_threads=3, backend=backend).run(body)


@pytest.mark.parametrize("construct", ["barrier", "critical"])
@each_backend
def test_block_in_a_block_that_fails(backend, construct):
    is_inside = Event()

    def outer(p):
        if p.rank == 1:
            with p.critical if construct == "critical" else contextlib.nullcontext():
                is_inside.wait()
                raise ValueError("of the outer one")

        def inner(q):
            if q.rank == 0:
                is_inside.set()
                if construct == "critical":
                    with p.critical:
                        pass
                p.barrier()
            q.barrier()

        Parallel(num_threads=2, backend=backend).run(inner)

    error = failure_of(outer, 2, backend)
    assert (error.rank, str(error.reason)) == (1, "of the outer one")


@pytest.mark.parametrize(("backend", "failing"), [("process", 0), ("thread", 0), ("thread", 1)])
def test_block_in_a_map_that_fails(backend, failing):
    is_inside = Event()
    pool = MapReduce(backend, np=2)

    def work(i):
        if i == 0:
            is_inside.wait()
            raise ValueError("of the map")

        def inner(q):
            if q.rank == failing:
                is_inside.set()
                with pool.ordered:
                    pass
            q.barrier()

        Parallel(num_threads=2, backend=backend).run(inner)

    with within(SOON), pytest.raises(WorkerException, match="of the map"):
        pool.map(work, range(2), chunksize=1)
