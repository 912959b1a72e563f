"""Fault table A: workers that are killed."""

from __future__ import annotations

import signal

import pytest

from tests.workers.faults.scripts import WATCHES, run_fault

# Each phase is a work function that has its process, or another one, killed by `die` or `kill`. Of
# pipes, `inside` lets the others go on, `outside` hears from them.
PHASES = {
    "first item": """
def work(i):
    if i == 0:
        die(i)
""",
    "middle item": """
def work(i):
    if i == 50:
        die(i)
""",
    "last item": """
def work(i):
    if i == 99:
        die(i)
""",
    "the others sleep": """
def work(i):
    if i:
        time.sleep(60)
    die(i)
""",
    "inside critical": """
def work(i):
    if i:
        os.read(inside[0], 1)
        os.write(outside[1], b"x")
        with pool.critical:
            pass
    with pool.critical:
        tell_others()
        hear_others()
        die(i)
""",
    "waiting for critical": """
def work(i):
    if i == 1:
        os.read(inside[0], 1)
        note(i)
        os.write(outside[1], b"x")
    if i == 0:
        with pool.critical:
            os.write(inside[1], b"x")
            os.read(outside[0], 1)
            wait_until(lambda: state_of(victim[1]) == "S")
            os.kill(victim[1], 9)
            time.sleep(60)
    with pool.critical:
        pass
""",
    "inside ordered": """
def work(i):
    if i > 5:
        os.write(outside[1], b"x")
    with pool.ordered:
        if i == 5:
            hear_others()
            die(i)
""",
    "waiting for ordered": """
def work(i):
    if i == 5:
        os.read(outside[0], 1)
        wait_until(lambda: state_of(victim[1]) == "S")
        os.kill(victim[1], 9)
        time.sleep(60)
    if i == 6:
        note(i)
        os.write(outside[1], b"x")
    with pool.ordered:
        pass
""",
}

# With the mutex of the schedule, and outside of any item.
MUTEX_PHASES = {
    "before the next claim": """
def work(i):
    enter = ProcessPrimitives.__enter__
    if i == 20:
        note(i)
        ProcessPrimitives.__enter__ = lambda self: (enter(self), os.kill(os.getpid(), 9))
    if i > 20:
        let_it_claim()
""",
    "after the next claim": """
def work(i):
    if i == 20:
        note(i)
        ProcessPrimitives.__exit__ = lambda *args: os.kill(os.getpid(), 9)
    if i > 20:
        let_it_claim()
""",
    "while others pass their turns": """
def work(i):
    if i == 20:
        note(i)
        ProcessPrimitives.__exit__ = lambda *args: os.kill(os.getpid(), 9)
    else:
        with pool.ordered:
            pass
    if i > 20:
        let_it_claim()
""",
}

KILL = """
from sharedarray.workers.primitives import ProcessPrimitives

victim = sharedarray.zeros(3, int)

def note(i):
    victim[:] = pool.local.rank, os.getpid(), i

def die(i):
    note(i)
    os.kill(os.getpid(), signal.SIGKILL)

def tell_others():
    os.write(inside[1], b"x" * (n_workers - 1))

def hear_others():
    for _ in range(n_workers - 1):
        os.read(outside[0], 1)

def let_it_claim():
    wait_until(lambda: state_of(victim[1]) == "Z")

def uses_every_construct(i):
    with pool.ordered, pool.critical:
        return i

for n_workers in np_list:
    pool = MapReduce(np=n_workers)
    with clean():
        inside, outside = os.pipe(), os.pipe()
        death = expect(WorkerDied, lambda: pool.map(work, range(100), chunksize=1))
        rank, pid, item = victim.tolist()
        check_death(death, rank=rank, pid=pid, exitcode=-9, items=(item,) if runs_item else None)
        assert pool.map(uses_every_construct, range(50)) == list(range(50))
        check_reuse(pool)
        for descriptor in (*inside, *outside):
            os.close(descriptor)
"""


@pytest.mark.parametrize("watch", WATCHES)
@pytest.mark.parametrize("phase", PHASES)
def test_a_killed_worker_ends_the_map_at_once(tmp_path, phase, watch):
    np_list = [2, 5, 13] if "waiting" in phase else [1, 2, 5, 13]
    run_fault(PHASES[phase] + KILL, tmp_path, watch=watch, np_list=np_list, runs_item=True)


@pytest.mark.parametrize("watch", WATCHES)
@pytest.mark.parametrize("phase", MUTEX_PHASES)
def test_who_dies_with_the_mutex_takes_nobody_along(tmp_path, phase, watch):
    source = MUTEX_PHASES[phase] + KILL
    run_fault(source, tmp_path, watch=watch, np_list=[4], runs_item=None)


def test_killed_with_claims_of_any_size(tmp_path):
    source = """
for n_workers in (1, 2, 5, 13):
    pool = MapReduce(np=n_workers)
    for chunksize in (None, 1, 7, 1000):
        for k in (0, 500, 999):
            with clean():
                death = expect(WorkerDied, lambda: pool.map(
                    lambda i: os.kill(os.getpid(), 9) if i == k else i,
                    range(1000), chunksize=chunksize))
                check_death(death, exitcode=-9, items=(k,))
    check_reuse(pool)
"""
    run_fault(source, tmp_path)


IDLE = {
    "map": """
def items():
    yield from range(3)
    wait_until(lambda: all(busy[:3]))
    kill(children() - set(busy.tolist()))
    yield from range(3, 10)

def work(i):
    busy[i] = os.getpid()
    time.sleep(60 if i < 3 else 0)

run = lambda: pool.map(work, items())
""",
    "imap": """
results = pool.imap(lambda i: i, range(100), chunksize=1)

def run():
    assert next(results) == 0
    for _ in range(2):  # some may only wait for a moment, before they go on
        wait_until(lambda: all(state_of(pid) == "S" for pid in children()))
        time.sleep(0.02)
    kill(children())
    for i, result in enumerate(results, 1):  # what the others have done ahead, perhaps
        assert i == result
""",
}


@pytest.mark.parametrize("watch", WATCHES)
@pytest.mark.parametrize("call", IDLE)
def test_an_idle_worker_is_missed_though_the_others_could_go_on(tmp_path, call, watch):
    source = """
def kill(pids):
    victims.append(pids.pop())
    wait_until(lambda: state_of(victims[0]) == "S")
    os.kill(victims[0], signal.SIGKILL)
    wait_until(lambda: state_of(victims[0]) == "Z")

pool, victims, busy = MapReduce(np=4), [], sharedarray.zeros(10, int)
"""
    check = """
with clean():
    death = expect(WorkerDied, run)
    check_death(death, pid=victims[0], exitcode=-9, items=())
    check_reuse(pool)
"""
    run_fault(source + IDLE[call] + check, tmp_path, watch=watch)


# code that ends a worker -> the signal, and what faulthandler says of it where it is enabled
SIGNALS = {
    "faulthandler._sigsegv()": (signal.SIGSEGV, "Fatal Python error: Segmentation fault"),
    "read_beyond_a_file()": (signal.SIGBUS, "Fatal Python error: Bus error"),
    "os.abort()": (signal.SIGABRT, "Fatal Python error: Aborted"),
    "faulthandler._sigfpe()": (signal.SIGFPE, "Fatal Python error: Floating"),
    "os.kill(os.getpid(), signal.SIGKILL)": (signal.SIGKILL, ""),
    "os.kill(os.getpid(), signal.SIGTERM)": (signal.SIGTERM, ""),
    "os.kill(os.getpid(), signal.SIGINT)": (signal.SIGINT, ""),
    "os.kill(os.getpid(), signal.SIGXCPU)": (signal.SIGXCPU, ""),
    "os.kill(os.getpid(), signal.SIGRTMIN + 3)": (signal.SIGRTMIN + 3, ""),
}

NATIVE_FAULT = """
import faulthandler, mmap

if not is_enabled:
    faulthandler.disable()

def read_beyond_a_file():
    file = os.memfd_create("truncated")
    os.ftruncate(file, 4096)
    pages = mmap.mmap(file, 4096)
    os.ftruncate(file, 0)
    return pages[0]

def work(i):
    if i == 50:
        eval(fault)

pool = MapReduce(np=2)
with clean():
    check_death(expect(WorkerDied, lambda: pool.map(work, range(100))), exitcode=code, items=(50,))
    check_reuse(pool)
"""


@pytest.mark.parametrize("fault", SIGNALS)
def test_whatever_signal_kills_a_worker_is_named(tmp_path, fault):
    code = -int(SIGNALS[fault][0])
    run_fault(NATIVE_FAULT, tmp_path, fault=fault, code=code, is_enabled=False)


@pytest.mark.parametrize("fault", [fault for fault, (_, text) in SIGNALS.items() if text])
def test_faulthandler_prints_the_stack_of_a_worker(tmp_path, fault):
    number, text = SIGNALS[fault]
    run_fault(NATIVE_FAULT, tmp_path, fault=fault, code=-number, is_enabled=True, stderr=text)


@pytest.mark.parametrize("kills", [0, 1])
def test_the_out_of_memory_killer_is_named_where_the_kernel_counts_it(tmp_path, kills):
    source = """
from sharedarray import machine

folder = Path(folder)
machine.CGROUP_ROOT = folder
machine.CGROUP_OF_PROCESS = folder / "cgroup"
machine.CGROUP_OF_PROCESS.write_text("0::/job\\n")
(folder / "job").mkdir(exist_ok=True)

def count(n):
    (folder / "job" / "memory.events").write_text(f"max 3\\noom 1\\noom_kill {n}\\n")

def work(i):
    count(4 + kills)
    os.kill(os.getpid(), signal.SIGKILL)

count(4)  # before the map
with clean():
    death = expect(WorkerDied, lambda: MapReduce(np=1).map(work, range(3)))
    check_death(death, exitcode=-9, items=(0,))
    assert ("by the out-of-memory killer" in str(death)) == bool(kills), death
    assert ("possibly out of memory" in str(death)) == (not kills), death
"""
    run_fault(source, tmp_path, folder=str(tmp_path), kills=kills)


@pytest.mark.parametrize("watch", WATCHES)
def test_all_dead_workers_are_in_one_exception(tmp_path, watch):
    source = """
def work(i):
    if i:
        os.read(go[0], 1)
        codes[pool.local.rank] = 1000 * os.getpid() + pool.local.rank
        os._exit(pool.local.rank)
    return 0

def wait_for_deaths(_):
    os.write(go[1], b"x" * 13)
    wait_until(lambda: all(state_of(pid) == "Z" for pid in children()))

pool = MapReduce(np=13)
codes = sharedarray.zeros(13, int)
with clean():
    go = os.pipe()
    death = expect(
        WorkerDied, lambda: pool.map(work, range(14), reduce=wait_for_deaths, chunksize=1))
    check_death(death, exitcode=death.rank)
    assert sorted(death.items) == list(range(1, 14)), death.items
    for rank in range(13):
        pid, code = divmod(int(codes[rank]), 1000)
        assert f"worker {rank} (pid {pid}) has left with exit code {code}" in str(death), death
    check_reuse(pool)
    for descriptor in go:
        os.close(descriptor)
"""
    run_fault(source, tmp_path, watch=watch)


# He may have sent a large result, or several whose memory comes along.
@pytest.mark.parametrize(
    ("result", "n_items"), [("np.zeros(n_done[0] ** 20)", 3), ("sharedarray.ones(1 << 17)", 6)]
)
@pytest.mark.parametrize("watch", WATCHES)
def test_who_has_done_his_work_is_not_among_the_dead(tmp_path, watch, result, n_items):
    source = """
def work(i):
    here[pool.local.rank] = 1
    wait_until(here.all)
    if pool.local.rank == unlucky:
        os.read(go[0], 1)
        os._exit(3)
    n_done[0] += 1
    return eval(result)

def wait_for_ends(_):
    if not waited:
        waited.append(os.write(go[1], b"x"))
        wait_until(lambda: all(state_of(pid) == "Z" for pid in children()))

for unlucky in (0, 1):
    n_done, here, waited = sharedarray.zeros(1, int), sharedarray.zeros(2, int), []
    with clean():
        go = os.pipe()
        pool = MapReduce(np=2)
        death = expect(
            WorkerDied, lambda: pool.map(work, range(n_items), reduce=wait_for_ends, chunksize=1))
        check_death(death, rank=unlucky, exitcode=3)
        assert str(death).count("pid") == 1, death
        for descriptor in go:
            os.close(descriptor)
"""
    run_fault(source, tmp_path, watch=watch, result=result, n_items=n_items)


def test_workers_that_kill_each_other(tmp_path):
    source = """
from contextlib import suppress

def work(i):
    for pid in children(os.getppid()) - {os.getpid()}:
        with suppress(ProcessLookupError):  # killed by another one, and reaped
            os.kill(pid, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)

pool = MapReduce(np=13)
with clean():
    for _ in range(10):
        check_death(expect(WorkerDied, lambda: pool.map(work, range(100))), exitcode=-9)
    check_reuse(pool)
"""
    run_fault(source, tmp_path)
