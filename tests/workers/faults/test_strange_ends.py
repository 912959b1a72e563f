"""Fault table A: workers that are stopped, fork, run another program, or close descriptors."""

from __future__ import annotations

import pytest

from tests.workers.faults.scripts import WATCHES, run_fault

STOPPED = """
pids = sharedarray.zeros(2, int)

def work(i):
    pids[i] = os.getpid()
    if i == 0:
        os.kill(os.getpid(), signal.SIGSTOP)
        return "gone on"
    wait_until(lambda: pids[0] and state_of(pids[0]) == "T")
    wait_until(lambda: state_of(os.getppid()) == "S")
    return meanwhile()

pool = MapReduce(np=2)
run = lambda: pool.map(work, range(2))
"""


@pytest.mark.parametrize("watch", WATCHES)
def test_a_stopped_worker_is_waited_for(tmp_path, watch):
    source = """
def meanwhile():
    os.kill(int(pids[0]), signal.SIGCONT)
    return "done"

with clean():
    assert run() == ["gone on", "done"]
"""
    run_fault(STOPPED + source, tmp_path, watch=watch)


@pytest.mark.parametrize("watch", WATCHES)
def test_ctrl_c_ends_a_stopped_worker(tmp_path, watch):
    source = """
def meanwhile():
    os.kill(os.getppid(), signal.SIGINT)
    time.sleep(60)

with clean():
    expect(KeyboardInterrupt, run)
    check_reuse(pool)
"""
    run_fault(STOPPED + source, tmp_path, watch=watch)


@pytest.mark.parametrize("watch", WATCHES)
def test_another_death_ends_a_stopped_worker(tmp_path, watch):
    source = """
def meanwhile():
    os._exit(4)

with clean():
    check_death(expect(WorkerDied, run), exitcode=4, items=(1,))
    check_reuse(pool)
"""
    run_fault(STOPPED + source, tmp_path, watch=watch)


@pytest.mark.parametrize("watch", WATCHES)
def test_a_stopped_worker_can_be_killed(tmp_path, watch):
    source = """
def meanwhile():
    os.kill(int(pids[0]), signal.SIGKILL)
    time.sleep(60)

with clean():
    check_death(expect(WorkerDied, run), pid=None, exitcode=-9, items=(0,))
    check_reuse(pool)
"""
    run_fault(STOPPED + source, tmp_path, watch=watch)


# A process that is not waited for, and that has all descriptors of the worker open, except those
# that the test reads from.
GRANDCHILD = """
grandchild = sharedarray.zeros(1, int)

def leave_terminal():
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(nowhere, number)

def leave_grandchild():
    pid = os.fork()
    if pid == 0:
        leave_terminal()
        time.sleep(20)
        os._exit(0)
    grandchild[0] = pid

def check_grandchild():
    wait_until(lambda: state_of(int(grandchild[0])) == "S")  # it is not ours to kill
    os.kill(int(grandchild[0]), signal.SIGKILL)
    wait_until(lambda: state_of(int(grandchild[0])) in ("", "Z"))
    grandchild[0] = 0
"""


@pytest.mark.parametrize("watch", WATCHES)
@pytest.mark.parametrize(("end", "code"), [("os._exit(5)", 5), ("os.kill(os.getpid(), 9)", -9)])
def test_a_death_is_noticed_though_a_grandchild_lives(tmp_path, end, code, watch):
    source = """
def work(i):
    if i == 5:
        leave_grandchild()
        exec(end)
    return i

for n_workers in (1, 3):
    pool = MapReduce(np=n_workers)
    with clean():
        death = expect(WorkerDied, lambda: pool.map(work, range(100)))
        check_death(death, exitcode=code, items=(5,))
        check_grandchild()
        check_reuse(pool)
"""
    run_fault(GRANDCHILD + source, tmp_path, watch=watch, end=end, code=code)


@pytest.mark.parametrize("watch", WATCHES)
def test_a_death_is_noticed_though_a_grandchild_lives_and_results_keep_coming(tmp_path, watch):
    source = """
def work(i):
    if i == 5:
        leave_grandchild()
        os._exit(5)
    time.sleep(0.01)

pool = MapReduce(np=5)
with clean():
    death = expect(WorkerDied, lambda: pool.map(work, range(2000), chunksize=1))
    check_death(death, exitcode=5, items=(5,))
    check_grandchild()
"""
    run_fault(GRANDCHILD + source, tmp_path, watch=watch)


@pytest.mark.parametrize("watch", WATCHES)
def test_a_map_is_not_held_up_by_a_grandchild(tmp_path, watch):
    source = """
def work(i):
    if i == 50:
        leave_grandchild()
    return np.full(size, i)

for n_workers, size in ((1, 1), (3, 1), (2, 100_000)):
    pool = MapReduce(np=n_workers)
    with clean():
        began = time.monotonic()
        results = pool.map(work, range(100))
        check_fast(began)
        assert [array[-1] for array in results] == list(range(100))
        check_grandchild()
        del results
check_reuse(pool)
"""
    run_fault(GRANDCHILD + source, tmp_path, watch=watch)


@pytest.mark.parametrize("watch", WATCHES)
def test_an_exception_is_not_held_up_by_a_grandchild(tmp_path, watch):
    source = """
def work(i):
    leave_grandchild()
    raise ValueError(i)

pool = MapReduce(np=1)
with clean():
    error = expect(WorkerException, lambda: pool.map(work, range(1)))
    assert type(error.reason) is ValueError
    check_grandchild()
check_reuse(pool)
"""
    run_fault(GRANDCHILD + source, tmp_path, watch=watch)


@pytest.mark.parametrize("watch", WATCHES)
def test_a_worker_that_becomes_a_daemon_has_died(tmp_path, watch):
    source = """
def work(i):
    if i == 5:
        if os.fork():
            os._exit(0)
        os.setsid()
        leave_terminal()
        grandchild[0] = os.getpid()
        time.sleep(20)
        os._exit(0)
    return i

pool = MapReduce(np=2)
with clean():
    check_death(expect(WorkerDied, lambda: pool.map(work, range(100))), exitcode=0, items=(5,))
    wait_until(lambda: grandchild[0])
    check_grandchild()
    check_reuse(pool)
"""
    run_fault(GRANDCHILD + source, tmp_path, watch=watch)


@pytest.mark.parametrize("watch", WATCHES)
def test_a_worker_that_becomes_another_program_has_died(tmp_path, watch):
    source = """
pid = sharedarray.zeros(1, int)

def work(i):
    if i == 5:
        pid[0] = os.getpid()
        os.execv("/bin/sleep", ["sleep", "60"])
    return i

for n_workers in (1, 3):
    pool = MapReduce(np=n_workers)
    with clean():
        death = expect(WorkerDied, lambda: pool.map(work, range(100)))
        check_death(death, pid=int(pid[0]), exitcode=-9, items=(5,), by_pool=True)
        assert "another program" in str(death)
        check_reuse(pool)
"""
    run_fault(source, tmp_path, watch=watch)


# A worker that has closed its socket may end by itself before it is killed: a busy machine may take
# longer.
PATIENT = """
from sharedarray.workers import processes
processes.EXIT_SECONDS = 10
"""


def test_another_program_that_ends_well_is_a_death_all_the_same(tmp_path):
    source = """
pool = MapReduce(np=2)
with clean():
    death = expect(WorkerDied, lambda: pool.map(
        lambda i: os.execv("/bin/true", ["true"]) if i == 5 else i, range(100)))
    check_death(death, exitcode=0, items=(5,))
    check_reuse(pool)
"""
    run_fault(PATIENT + source, tmp_path)


@pytest.mark.parametrize("watch", WATCHES)
def test_a_worker_that_closes_all_descriptors_has_died(tmp_path, watch):
    source = """
def work(i):
    if i == 5:
        os.closerange(3, 9999)
        time.sleep(60)
    return i

for n_workers in (1, 3):
    pool = MapReduce(np=n_workers)
    with clean():
        death = expect(WorkerDied, lambda: pool.map(work, range(100)))
        check_death(death, exitcode=-9, items=(5,), by_pool=True)
        assert "closed its socket" in str(death)
        check_reuse(pool)
"""
    run_fault(source, tmp_path, watch=watch)


def test_a_worker_cannot_go_on_without_its_descriptors(tmp_path):
    source = """
pool = MapReduce(np=2)
with clean():
    death = expect(WorkerDied, lambda: pool.map(
        lambda i: os.closerange(3, 9999) if i == 5 else i, range(100)))
    check_death(death, exitcode=1)
    check_reuse(pool)
"""
    run_fault(PATIENT + source, tmp_path)


def test_a_worker_that_writes_into_all_its_sockets_has_died(tmp_path):
    source = """
import stat

def work(i):
    if i == 5:
        for number in map(int, os.listdir("/proc/self/fd")):
            try:
                if stat.S_ISSOCK(os.fstat(number).st_mode):
                    os.write(number, b"something else, of any length")
            except OSError:  # the descriptor of the listing
                pass
    return i

pool = MapReduce(np=2)
with clean():
    death = expect(WorkerDied, lambda: pool.map(work, range(100)))
    check_death(death, by_pool=True)
    assert "written into its socket" in str(death)
    check_reuse(pool)
"""
    run_fault(source, tmp_path)
