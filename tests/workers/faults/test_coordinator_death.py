"""Fault table C: the death of the coordinator. No worker survives it, or prints anything."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.workers.faults.families import check_gone, start_family
from tests.workers.faults.scripts import run_fault, state_of
from tests.workers.support import end_script

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform cannot fork")

BUSY = {
    "asleep": "time.sleep(60)",
    "in Python": "while True: pass",
    "in native code": "hashlib.pbkdf2_hmac('sha256', b'', b'', (1 << 31) - 1)",
    "in native code with the GIL": "sum(range(1 << 62))",
    "deaf": """
for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
    signal.signal(number, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
time.sleep(60)
""",
    "stopped": "os.kill(os.getpid(), signal.SIGSTOP)",
    "in a session of their own": "os.setsid(); time.sleep(60)",
    "another user": "os.setuid(65534 if os.getuid() == 0 else os.getuid()); time.sleep(60)",
}


@pytest.mark.parametrize("busy", BUSY)
def test_busy_workers_die_with_the_coordinator(tmp_path, busy):
    source = f"""
import hashlib
gather(3)
def work(i):
    all_here()
    exec({BUSY[busy]!r})
MapReduce(np=3).map(work, range(100))
"""
    process, pids = start_family(source, tmp_path, n=3)
    if busy == "stopped":
        while not all(state_of(pid) == "T" for pid in pids):
            time.sleep(0.001)
    process.kill()
    check_gone(pids)
    assert end_script(process) == ("", "", -signal.SIGKILL)


ENDS = ["SIGKILL", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGSEGV", "SIGALRM"]
# What holds on to the coordinator's descriptors, or is not its child.
FAMILIES = {
    "nested maps": (
        2 + 4 + 8,
        """
faulthandler.disable()  # it would speak of some signals
gather(8)
def work(_):
    all_here()
    time.sleep(60)
outer, middle, inner = MapReduce(np=2), MapReduce(np=2), MapReduce(np=2)
outer.map(lambda _: middle.map(lambda _: inner.map(work, range(2)), range(2)), range(2))
""",
    ),
    "processes of threads": (
        4,
        """
faulthandler.disable()
from sharedarray import ForkInThreadsWarning
warnings.simplefilter("ignore", ForkInThreadsWarning)
gather(4)
def work(_):
    all_here()
    time.sleep(60)
MapReduceByThread(np=2).map(lambda _: MapReduce(np=2).map(work, range(2)), range(2))
""",
    ),
    "two maps at once": (
        5,
        """
faulthandler.disable()
gather(4)
def work(_):
    all_here()
    time.sleep(60)
results = MapReduce(np=2).imap(lambda i: i and work(i) or i, range(5), chunksize=1)
assert next(results) == 0  # now one of these two runs item 1, one has nothing to do
MapReduce(np=3).map(work, range(3), chunksize=1)
""",
    ),
}


@pytest.mark.parametrize("end", ENDS)
def test_all_generations_die_with_the_coordinator(tmp_path, end):
    n, source = FAMILIES["nested maps"]
    check_death(source, n, tmp_path, end)


@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "nested maps"])
def test_all_of_several_maps_die_with_the_coordinator(tmp_path, family):
    n, source = FAMILIES[family]
    check_death(source, n, tmp_path, "SIGKILL")


def check_death(source, n, tmp_path, end):
    process, pids = start_family(source, tmp_path, n=n)
    process.send_signal(signal.Signals[end])
    check_gone(pids)
    assert end_script(process) == ("", "", -signal.Signals[end])


def test_inner_workers_die_with_the_worker_between(tmp_path):
    source = """
pool = MapReduce(np=2)
def work(i):
    all_here()
    time.sleep(60)
def nest(i):
    return pool.map(work, range(2))
with clean():
    gather(4)
    death = expect(WorkerDied, lambda: pool.map(nest, range(2), chunksize=1), within=20)
    assert death.signal == signal.SIGKILL
    everybody = None
check_reuse(pool)
print("end", flush=True)
"""
    process, pids = start_family(source, tmp_path, n=2 + 4)
    parent = {pid: int(stat_of(pid)[1]) for pid in pids}
    os.kill(next(pid for pid in pids if parent[pid] == process.pid), signal.SIGKILL)
    check_gone(pids)
    assert end_script(process) == ("end\n", "", 0)


def stat_of(pid):
    with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123 - as in `state_of`, shorter
        return file.read().rpartition(")")[2].split()


# code of the application that ends the coordinator

LEAVING = {
    "os._exit in reduce": (7, "MapReduce(np=3).map(work, range(9), lambda _: os._exit(leave()))"),
    "os._exit in the iterator": (
        7,
        """
def items():
    yield from (1, 2, 3)
    os._exit(leave())
MapReduce(np=3).map(work, items())
""",
    ),
    "another program in its place": (
        0,
        """
def reduce(_):
    leave()
    os.execv("/bin/true", ["true"])
MapReduce(np=3).map(work, range(9), reduce)
""",
    ),
    "an exception while a thread maps": (
        1,
        """
from sharedarray import ForkInThreadsWarning
warnings.simplefilter("ignore", ForkInThreadsWarning)
sys.stderr = open(os.devnull, "w")  # what says so
run = lambda: MapReduce(np=3).map(work, (1, 2, 3))
threading.Thread(target=run, daemon=True).start()
leave()
raise EOFError
""",
    ),
}


@pytest.mark.parametrize("leaving", LEAVING)
def test_workers_die_where_the_coordinator_leaves_by_itself(tmp_path, leaving):
    exitcode, run = LEAVING[leaving]
    source = """
gather(4)

def work(i):
    if i:
        everybody.wait()
        time.sleep(60)
    return i

def leave():
    everybody.wait()
    print("ready", *children(), flush=True)
    return 7

"""
    process, pids = start_family(source + run, tmp_path, n=3)
    check_gone(pids)
    assert end_script(process, limit=5) == ("", "", exitcode)


def test_other_children_of_the_coordinator_do_not_keep_its_workers_alive(tmp_path):
    source = """
import subprocess
kept = []
gather(4)

def work(i):
    if i:
        everybody.wait()
        time.sleep(60)

def have_children(_):
    everybody.wait()
    workers = children()
    kept.append(subprocess.Popen(["sleep", "60"], close_fds=False))
    if os.fork() == 0:
        time.sleep(60)
    print("ready", *workers, *(children() - workers), flush=True)
    time.sleep(60)

MapReduce(np=3).map(work, range(9), have_children)
"""
    process, pids = start_family(source, tmp_path, n=3 + 2)
    process.kill()
    try:
        check_gone(pids[:3])
        assert all(state_of(pid) not in ("", "Z") for pid in pids[3:])
    finally:
        for pid in pids[3:]:
            os.kill(pid, signal.SIGKILL)
    assert end_script(process) == ("", "", -signal.SIGKILL)


def test_nobody_survives_a_death_at_any_time(tmp_path):
    # Workers that are being forked, write results, end; the script adopts those that are left.
    source = """
import ctypes, random
from tests.workers.clock import naps

PR_SET_CHILD_SUBREAPER = 36
MAPS = [
    lambda: pool.map(lambda i: i, range(20)),
    lambda: pool.map(lambda i: bytes(4 << 20), range(5), len),
    lambda: pool.map(lambda i: inner.map(abs, range(i)), range(5)),
    lambda: pool.map(bytes, (1 << 16 for _ in range(50)), lambda _: time.sleep(0.001)),
]

def coordinate(k):
    try:
        while True:
            MAPS[k % len(MAPS)]()
    finally:
        os._exit(1)

assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
random.seed(3)
pool, inner = MapReduce(np=3), MapReduce(np=2)
for k in range(100):
    coordinator = os.fork() or coordinate(k)
    time.sleep(random.uniform(0, 0.02))
    os.kill(coordinator, signal.SIGKILL)
    for _ in naps(2):
        while children() and os.waitpid(-1, os.WNOHANG)[0]:
            pass
        if not children():
            break
    assert not children(), f"time {k}: {descendants(os.getpid())} live on"
"""
    run_fault(source, tmp_path)


def test_workers_die_that_are_born_as_the_coordinator_dies(tmp_path):
    source = """
import ctypes

def outlive():
    # The first thing that a worker does.
    born.release()
    while os.getppid() == coordinator:
        time.sleep(0.001)

def coordinate():
    global coordinator
    coordinator = os.getpid()
    os.register_at_fork(after_in_child=outlive)
    try:
        MapReduce(np=2).map(lambda i: time.sleep(60), range(2))
    finally:
        os._exit(1)

PR_SET_CHILD_SUBREAPER = 36
assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
born = Semaphore()
coordinator = os.fork() or coordinate()
assert born.acquire() and born.acquire()
os.kill(coordinator, signal.SIGKILL)
n_ended = 0
for _ in naps(2):
    while n_ended < 3 and os.waitpid(-1, os.WNOHANG)[0]:
        n_ended += 1
assert n_ended == 3, f"{descendants(os.getpid())} live on"
"""
    imports = """
from tests.workers.clock import naps
from tests.workers.synchronization import Semaphore
"""
    run_fault(imports + source, tmp_path)
