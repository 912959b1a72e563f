"""Fault table C: signals to the coordinator. Its death by one: `test_coordinator_death`."""

from __future__ import annotations

import os
import pty
import signal

import pytest

from tests.workers.clock import within
from tests.workers.faults.families import check_gone, start_family
from tests.workers.faults.scripts import run_fault
from tests.workers.support import end_script, until_asleep

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform cannot fork")

# Ctrl-C

SLEEPING = """
gather(3)

def work(i):
    all_here()
    time.sleep(60)

pool = MapReduce(np=3)
with clean():
    expect(KeyboardInterrupt, lambda: pool.map(work, range(100)), within=20)
    print("interrupted", flush=True)
check_reuse(pool)
"""


def check_interrupted(process, pids, send):
    until_asleep(process)
    # The exception comes within a second; the interpreter may take a moment to print on.
    with within(2):
        send()
        assert process.stdout.readline() == "interrupted\n"
    assert end_script(process) == ("", "", 0)  # nobody prints anything
    check_gone(pids)


@pytest.mark.parametrize("to", ["the group", "the coordinator"])
def test_one_interrupt_is_enough(tmp_path, to):
    process, pids = start_family(SLEEPING, tmp_path, n=3)
    kill = os.killpg if to == "the group" else os.kill
    check_interrupted(process, pids, lambda: kill(process.pid, signal.SIGINT))


def test_one_ctrl_c_in_a_terminal_is_enough(tmp_path):
    ours, theirs = pty.openpty()
    # The leader of a session without a terminal gets the first one that it opens.
    open_terminal = f"terminal = os.open({os.ttyname(theirs)!r}, os.O_RDWR)"
    try:
        process, pids = start_family(open_terminal + SLEEPING, tmp_path, n=3)
        check_interrupted(process, pids, lambda: os.write(ours, b"\x03"))
    finally:
        os.close(ours)
        os.close(theirs)


def test_ctrl_c_that_nobody_catches_prints_one_traceback(tmp_path):
    source = """
gather(3)
MapReduce(np=3).map(lambda i: all_here() or time.sleep(60), range(3))
"""
    process, pids = start_family(source, tmp_path, n=3)
    until_asleep(process)
    os.killpg(process.pid, signal.SIGINT)
    out, err, code = end_script(process, limit=5)
    assert (out, code) == ("", -signal.SIGINT)
    assert err.count("Traceback (most recent call last)") == 1
    assert err.count("KeyboardInterrupt") == 1
    check_gone(pids)


BUSY_COORDINATORS = {
    "in reduce": "pool.map(lambda i: i or all_here() or i, range(100), lambda i: time.sleep(60))",
    "in the iterator": """
def items():
    yield 0
    yield 1
    time.sleep(60)
pool.map(lambda i: i or all_here(), items())
""",
    "with an iterator of results": """
def consume():
    for i in pool.imap(lambda i: i or all_here() or i, range(100)):
        time.sleep(60)
consume()
""",
    "with results of any size": """
def work(i):
    if i == 20:
        all_here()
        time.sleep(60)
    return bytes(1 << 20)
pool.map(work, range(100))
""",
    "in a nested map": """
def work(i):
    all_here()
    time.sleep(60)
gather(4)
pool.map(lambda _: pool.map(work, range(2)), range(2))
""",
    "in processes of threads": """
from sharedarray import ForkInThreadsWarning
warnings.simplefilter("ignore", ForkInThreadsWarning)
def work(i):
    all_here()
    time.sleep(60)
gather(4)
MapReduceByThread(np=2).map(lambda _: pool.map(work, range(2)), range(2))
""",
}


@pytest.mark.parametrize("to", ["the group", "the coordinator"])
def test_one_interrupt_is_enough_wherever_the_coordinator_is(tmp_path, to):
    busy = dict(BUSY_COORDINATORS)
    if to == "the coordinator":  # its threads end the items that they run, as documented
        del busy["in processes of threads"]
    source = f"""
def run():
    exec(compile(busy, "busy", "exec"), globals())  # Python exits by SIGINT where a text is run

pool = MapReduce(np=2)
for busy in {list(busy.values())!r}:
    with clean():
        gather(1)
        expect(KeyboardInterrupt, run, within=20)
        everybody = None
        print("interrupted", flush=True)
check_reuse(pool)
"""
    process, pids = start_family(source, tmp_path)
    kill = os.killpg if to == "the group" else os.kill
    for k, name in enumerate(busy):
        if k:
            word, *rest = process.stdout.readline().split() or [""]
            assert word == "ready", (name, word, end_script(process))
            pids += map(int, rest)
        until_asleep(process)
        with within(2):
            kill(process.pid, signal.SIGINT)
            assert process.stdout.readline() == "interrupted\n", (name, end_script(process))
    assert end_script(process) == ("", "", 0)
    check_gone(pids)


def test_interrupts_at_any_time_and_once_more_during_the_cleaning_up(tmp_path):
    # By a timer of the process: its signal takes the way of any other.
    source = """
import random

def strike(number, frame):
    global n_strikes
    n_strikes += 1
    if n_strikes == 1:
        signal.setitimer(signal.ITIMER_REAL, second)
    raise KeyboardInterrupt

def be_interrupted_twice():
    while n_strikes < 2:
        try:
            if n_strikes == 0:
                signal.setitimer(signal.ITIMER_REAL, first)
                pool.map(work, range(1000), chunksize=1)
            time.sleep(0.001)
        except KeyboardInterrupt:
            pass

def work(i):
    time.sleep(0.001 if i < 3 else 60)

random.seed(7)
signal.signal(signal.SIGALRM, strike)
pool = MapReduce(np=3)
# Imports what is imported late: Python warns of files that an interrupt leaves open.
check_reuse(pool)
with clean():
    for k in range(150):
        n_strikes = 0
        # A map of these takes 5 ms to start, 1 ms to end.
        first, second = random.uniform(1e-4, 0.02), random.choice([1e-4, 5e-4, 2e-3])
        try:
            be_interrupted_twice()
        except KeyboardInterrupt:
            pass
        assert not children(), f"time {k}"
        assert not signal.pthread_sigmask(signal.SIG_BLOCK, []), f"time {k}"
check_reuse(pool)
"""
    run_fault(source, tmp_path)


# SIGTERM with a handler


@pytest.mark.parametrize("error", [SystemExit, ValueError])
@pytest.mark.parametrize("handler", ["handler", "partial(handler)", "Handler()", "Handler().run"])
def test_handler_raises_while_a_result_is_unpickled(tmp_path, error, handler):
    source = f"""
from functools import partial

def handler(*_):
    raise {error.__name__}("of the handler")

class Handler:
    def __call__(self, *_):
        handler()
    run = __call__

class Result:
    def __setstate__(self, state):
        if os.getpid() == coordinator:
            os.kill(coordinator, signal.SIGURG)
            for _ in range(1000):
                pass
            raise LookupError("of the result")
    def __getstate__(self):
        return 1

coordinator = os.getpid()
pool = MapReduce(np=2)
error = expect(WorkerException, lambda: pool.map(lambda i: Result(), range(9)))
assert type(error.reason) is LookupError
signal.signal(signal.SIGURG, {handler})
with clean():
    expect({error.__name__}, lambda: pool.map(lambda i: Result(), range(9)))
check_reuse(pool)
"""
    run_fault(source, tmp_path)


def test_handler_of_the_application_runs_in_the_coordinator_only(tmp_path):
    source = """
def handler(number, frame):
    os.write(2, b"" if os.getpid() == coordinator else b"handled by a worker")
    seen.append(time.monotonic())
    if is_raising:
        raise SystemExit(3)

def work(i):
    if i == 5:
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        sent[0] = time.monotonic()
        os.kill(coordinator, signal.SIGTERM)
        if is_raising:
            time.sleep(60)
    return i

coordinator, seen, sent = os.getpid(), [], sharedarray.zeros(1)
pool = MapReduce(np=3)
signal.signal(signal.SIGTERM, handler)
for is_raising in False, True:
    with clean():
        if is_raising:
            assert expect(SystemExit, lambda: pool.map(work, range(100))).code == 3
        else:
            assert pool.map(work, range(100)) == list(range(100))
        (when,) = seen
        assert when >= sent[0]
        check_fast(sent[0], when, within=1)
        seen.clear()
check_reuse(pool)
"""
    run_fault(source, tmp_path)


# signals all the time


@pytest.mark.parametrize("by", ["a flag", "wakeup"])
def test_a_storm_of_signals_does_not_matter(tmp_path, by):
    source = """
def handler(number, frame):
    n_signals[0] += 1

n_signals = [0]
read, write = os.pipe()
os.set_blocking(write, False)
signal.signal(signal.SIGALRM, handler)
if by == "wakeup":
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
pool = MapReduce(np=3)
def work(i):
    with pool.ordered, pool.critical:
        return np.full(1 << 17, i)
def reduce(array):
    return len(set(array.tolist())), int(array[0])
signal.setitimer(signal.ITIMER_REAL, 1e-3, 1e-3)
with clean():
    assert pool.map(work, range(150), reduce) == [(1, i) for i in range(150)]
    assert pool.map(abs, iter(range(3000))) == list(range(3000))
    for _ in range(20):
        assert pool.map(abs, range(5)) == list(range(5))
        failure = expect(WorkerException, lambda: pool.map(lambda i: 1 // 0, range(5)))
        assert type(failure.reason) is ZeroDivisionError
        death = expect(WorkerDied, lambda: pool.map(lambda i: os._exit(3), range(5)))
        assert death.exitcode == 3
signal.setitimer(signal.ITIMER_REAL, 0)
assert n_signals[0] > 20, n_signals
check_reuse(pool)
"""
    run_fault(source, tmp_path, by=by)


# SIGCHLD

CHILD_SIGNALS = {
    "ignored": "signal.signal(signal.SIGCHLD, signal.SIG_IGN)",
    "handled by reaping all": """
def reap(number, frame):
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
signal.signal(signal.SIGCHLD, reap)
""",
    "a thread that waits for all": """
from sharedarray import ForkInThreadsWarning
warnings.simplefilter("ignore", ForkInThreadsWarning)
def wait():
    while not done.is_set():
        try:
            os.wait()
        except ChildProcessError:
            done.wait(0.001)  # it waits for children that are not there yet
done = threading.Event()
threading.Thread(target=wait, daemon=True).start()
""",
    "handled by raising nothing": "signal.signal(signal.SIGCHLD, lambda *_: None)",
}


@pytest.mark.parametrize("watch", ["pidfd", "no pidfd"])
@pytest.mark.parametrize("handling", CHILD_SIGNALS)
def test_whoever_reaps_our_workers_maps_are_right_and_deaths_seen(tmp_path, handling, watch):
    source = """
def work(i):
    if i == 7:
        os._exit(5)
    return i

for n_workers in 1, 3:
    pool = MapReduce(np=n_workers)
    for _ in range(5):
        with clean():
            assert pool.map(lambda i: i, range(50)) == list(range(50))
            assert pool.map(abs, iter(range(50))) == list(range(50))
            death = expect(WorkerDied, lambda: pool.map(work, range(50)))
            assert death.exitcode in statuses, death
            assert death.exitcode is not None or "exit status is unavailable" in str(death)
            failure = expect(WorkerException, lambda: pool.map(lambda i: 1 // 0, range(50)))
            assert type(failure.reason) is ZeroDivisionError
    check_reuse(pool)
"""
    is_stolen = "ignored" in handling
    is_left = "raising" in handling
    statuses = (None,) if is_stolen else (5,) if is_left else (5, None)
    run_fault(CHILD_SIGNALS[handling] + source, tmp_path, watch=watch, statuses=statuses)
