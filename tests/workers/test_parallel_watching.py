"""Who works on hears of a rank that has failed, and whose failure it was is never lost."""

from __future__ import annotations

import contextlib
import os
import signal
import time

import pytest

from sharedarray import MapReduce, StopProcessGroup, WorkerDied, WorkerException
from sharedarray.workers.loops import in_parts
from sharedarray.workers.parallel import Parallel
from tests.workers.clock import within
from tests.workers.meeting import Event
from tests.workers.regions import SOON, failure_of
from tests.workers.support import each_backend

N = 100_000  # items of 5 ms: nobody waits for the end of such a loop


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
def test_rank_0_hears_in_a_loop(backend, end, loop, schedule):
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
def test_rank_0_hears_where_it_never_waits(backend, end, construct):
    def body(p):
        if p.rank == 1:
            end()
        for _ in range(N):
            with getattr(p, construct):
                time.sleep(0.005)

    assert failure_of(body, 2, backend).rank == 1


@pytest.mark.parametrize("n", [0, 1, 2, 7, 1000])
@pytest.mark.parametrize("seconds", [0.0, float("inf")])
def test_checks_come_between_items(n, seconds):
    seen = []
    chunks = [(5, 5 + n), (1000, 1001), (2000, 2000 + n)]
    for start, stop in in_parts(chunks, lambda: seen.append("check"), seconds):
        seen.extend(range(start, stop))
    items = [item for start, stop in chunks for item in range(start, stop)]
    assert [each for each in seen if each != "check"] == items
    if seconds == 0:
        assert seen[::2] == ["check"] * len(items)
    else:
        assert seen[0] == "check"
        assert seen.count("check") == {0: 1, 1: 3, 2: 4, 7: 5, 1000: 13}[n]


# Whose failure it was


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


# StopProcessGroup comes from a block or map around this one, or is the user's own


@pytest.mark.parametrize("who", [0, 1])
@each_backend
def test_stop_of_the_users_own(backend, who):
    def body(p):
        if p.rank == who:
            raise StopProcessGroup
        p.barrier()

    if who:
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


@each_backend
def test_block_in_a_map_that_fails(backend):
    is_inside = Event()
    pool = MapReduce(backend, np=2)

    def work(i):
        if i == 0:
            is_inside.wait()
            raise ValueError("of the map")

        def inner(q):
            if q.rank == 0:
                is_inside.set()
                with pool.ordered:
                    pass
            q.barrier()

        Parallel(num_threads=2, backend=backend).run(inner)

    with within(SOON), pytest.raises(WorkerException, match="of the map"):
        pool.map(work, range(2), chunksize=1)
