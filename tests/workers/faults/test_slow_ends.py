"""Fault table A: workers that close their sockets long before they are gone."""

from __future__ import annotations

import pytest

from tests.workers.faults.scripts import WATCHES, run_fault

# The kernel closes the files of a process one by one. It takes its time for memory that nobody else
# has, and the coordinator hears of the socket first where that is closed before.
SLOW_ENDS = """
import mmap, stat
from sharedarray import machine
from sharedarray.workers import processes

NBYTES = 32 << 20
processes.EXIT_SECONDS = 0  # or it would take gibibytes
n_exiting, real = [0], machine.is_exiting

def is_exiting(pid):
    answer = real(pid)
    n_exiting[0] += answer
    return answer

machine.is_exiting = is_exiting

def is_socket(number):
    try:
        return stat.S_ISSOCK(os.fstat(number).st_mode)
    except OSError:
        return False

def end_slowly():
    # On both sides of the socket, in whatever order the kernel closes them.
    (socket,) = filter(is_socket, range(3, 64))
    number = 0
    while number < socket:
        number = os.memfd_create("large")
        os.ftruncate(number, NBYTES)
        with mmap.mmap(number, NBYTES) as pages:
            pages[::4096] = b"x" * (NBYTES // 4096)

def until_met(run):
    # The coordinator may be slower than the kernel.
    n_exiting[0] = n_times = 0
    while not n_exiting[0]:
        with clean():
            run()
        n_times += 1
        assert n_times < 50, "nobody was seen on its way out"
"""


@pytest.mark.parametrize("watch", WATCHES)
def test_a_worker_whose_end_takes_long_has_done_its_work(tmp_path, watch):
    source = """
def work(i):
    end_slowly()
    return i

pool = MapReduce(np=1)

def run():
    assert pool.map(work, [5]) == [5]  # a warning of its death would be an error

until_met(run)
check_reuse(pool)
"""
    run_fault(SLOW_ENDS + source, tmp_path, watch=watch)


@pytest.mark.parametrize("watch", WATCHES)
def test_a_death_that_takes_long_is_named_for_what_it_is(tmp_path, watch):
    source = """
def work(i):
    end_slowly()
    os._exit(3)

pool = MapReduce(np=1)
until_met(lambda: check_death(
    expect(WorkerDied, lambda: pool.map(work, range(2))), exitcode=3, items=(0,)))
check_reuse(pool)
"""
    run_fault(SLOW_ENDS + source, tmp_path, watch=watch)


def test_a_rank_whose_end_takes_long_has_done_its_part(tmp_path):
    source = """
from sharedarray.openmp.parallel import Parallel

ran = sharedarray.zeros(2, int)

def run():
    with Parallel(num_threads=2) as p:
        ran[p.rank] = 1
        if p.rank:
            end_slowly()
    assert ran.tolist() == [1, 1]
    ran[:] = 0

until_met(run)
"""
    run_fault(SLOW_ENDS + source, tmp_path)
