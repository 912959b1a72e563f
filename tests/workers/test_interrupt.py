"""Ctrl-C. Each test in a fresh Python, in a session of its own, which says when it is ready."""

from __future__ import annotations

import os
import signal

import pytest

from tests.workers.support import end_script, run_script, start_script, until_asleep

# `ready()` has the signal sent; `report(error)` prints what came out, and after how long.
HELPERS = """
ready_at = 0.0

def ready():
    global ready_at
    ready_at = time.perf_counter()
    print("ready", flush=True)

def report(error):
    in_time = time.perf_counter() - ready_at < LONGEST + 1
    print(type(error).__name__, "in time" if in_time else "late", flush=True)

def run(call):
    try:
        call()
    except BaseException as error:
        report(error)
    else:
        print("no exception", flush=True)
    # Nothing comes later, and the pool works.
    time.sleep(0.05)
    assert MapReduce("thread", 2).map(abs, range(-9, 0)) == [*range(9, 0, -1)]
    print("end", flush=True)
"""


def interrupt(source, tmp_path, *, n_signals=1):
    process = start_script(HELPERS + source, tmp_path)
    for _ in range(n_signals):
        line = process.stdout.readline()
        if line != "ready\n":
            out, err, code = end_script(process)
            pytest.fail(f"exit code {code}\n{line}{out}\n{err}")
        until_asleep(process)
        os.kill(process.pid, signal.SIGINT)
    return end_script(process)


def assert_interrupted(source, tmp_path, **options):
    # What is late each time is slow; what is late once has met with a machine that stood still.
    for _ in range(3):
        out, err, code = interrupt(source, tmp_path, **options)
        if "late" not in out:
            break
    assert (out, err, code) == ("KeyboardInterrupt in time\nend\n", "", 0)


def test_while_items_run(tmp_path):
    source = """
LONGEST = 0.3
barrier = threading.Barrier(2)

def work(i):
    if i < 2 and barrier.wait(20) == 0:
        ready()
    time.sleep(LONGEST)

run(lambda: MapReduce("thread", 2).map(work, range(1000)))
"""
    assert_interrupted(source, tmp_path)


@pytest.mark.parametrize("construct", ["ordered", "critical"])
def test_while_workers_wait_for_each_other(tmp_path, construct):
    source = f"""
LONGEST = 0.3
pool = MapReduce("thread", 3)
here = threading.Barrier(3)

def work(i):
    if i == 0:
        with pool.{construct}:
            here.wait(20)
            ready()
            time.sleep(LONGEST)
    elif i < 3:
        here.wait(20)
    if i:
        with pool.{construct}:
            time.sleep(0.001)

run(lambda: pool.map(work, range(100), chunksize=1))
"""
    assert_interrupted(source, tmp_path)


def test_while_workers_wait_for_items_of_a_slow_generator(tmp_path):
    source = """
LONGEST = 0

def generate():
    yield 1
    yield 2
    ready()
    time.sleep(20)

run(lambda: MapReduce("thread", 2).map(abs, generate()))
"""
    assert_interrupted(source, tmp_path)


def test_in_reduce(tmp_path):
    source = """
LONGEST = 0

def reduce(i):
    ready()
    time.sleep(20)

run(lambda: MapReduce("thread", 2).map(abs, range(1000), reduce))
"""
    assert_interrupted(source, tmp_path)


def test_in_a_nested_map(tmp_path):
    """The inner maps end as the outer one does: nobody waits for all of their items."""
    source = """
LONGEST = 0.1
pool = MapReduce("thread", 2)
barrier = threading.Barrier(4)

def work(i):
    if i < 2 and barrier.wait(20) == 0:
        ready()
    time.sleep(LONGEST)

run(lambda: pool.map(lambda _: pool.map(work, range(50), chunksize=1), range(2)))
"""
    assert_interrupted(source, tmp_path)


@pytest.mark.parametrize("pool", ['MapReduce("serial")', 'MapReduce("thread", 0)'])
def test_in_the_serial_backend(tmp_path, pool):
    """The interrupt arrives in the work function, but it is the user's, no failure of the item."""
    source = f"""
LONGEST = 0

def work(i):
    ready()
    time.sleep(20)

run(lambda: {pool}.map(work, range(3)))
"""
    assert_interrupted(source, tmp_path)


def test_in_debug_mode(tmp_path):
    source = """
LONGEST = 0
sharedarray.set_debug(True)

def work(i):
    ready()
    time.sleep(20)

try:
    MapReduce("thread", 2).map(work, range(3))
except KeyboardInterrupt as error:
    sharedarray.set_debug(False)
    report(error)
    print("end")
"""
    assert_interrupted(source, tmp_path)


def test_second_interrupt_does_not_wait_for_the_items(tmp_path):
    source = """
LONGEST = 0
going_on = threading.Event()

def handler(number, frame):
    # The coordinator cleans up after the first; the second is sent then.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Timer(0.1, ready).start()
    raise KeyboardInterrupt

def work(i):
    if i == 0:
        ready()
    going_on.wait(20)

signal.signal(signal.SIGINT, handler)
run(lambda: MapReduce("thread", 2).map(work, range(4)))
"""
    assert_interrupted(source, tmp_path, n_signals=2)


def test_uncaught_interrupt_ends_the_process_with_one_traceback(tmp_path):
    source = """
barrier = threading.Barrier(2)

def work(i):
    if i < 2 and barrier.wait(20) == 0:
        ready()
    time.sleep(0.2)

MapReduce("thread", 2).map(work, range(1000))
"""
    out, err, code = interrupt(source, tmp_path)
    assert code == -signal.SIGINT
    assert out == ""
    assert err.count("Traceback (most recent call last)") == 1
    assert err.rstrip().endswith("KeyboardInterrupt")
    assert err.count("KeyboardInterrupt") == 1


EVERYWHERE = """
import dis
from sharedarray.workers import mapcall, mapreduce
from sharedarray.workers import threads

FILES = {module.__file__ for module in (mapcall, mapreduce, threads)}

def is_boundary(frame, last):
    # Where Python looks for signals: after calls, at the begin of functions and of rounds.
    return dis.opname[frame.f_code.co_code[last]].startswith(("CALL", "RESUME", "JUMP_BACKWARD"))

def interrupt_at(k):
    # Raise KeyboardInterrupt at the k-th place where the coordinator can be interrupted.
    last = {}

    def trace(frame, event, arg):
        nonlocal k
        if frame.f_code.co_filename not in FILES:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            previous, last[frame] = last.get(frame, 0), frame.f_lasti
            k -= is_boundary(frame, previous)
            if k == 0:
                k = -1
                sys.settrace(None)
                raise KeyboardInterrupt
        return trace

    return trace

running, lock = 0, threading.Lock()

def work(i):
    global running
    with lock:
        running += 1
    try:
        with pool.critical:
            time.sleep(0)
        return i
    finally:
        with lock:
            running -= 1

def is_interrupted(k):
    sys.settrace(interrupt_at(k))
    try:
        pool.map(work, range(4), chunksize=1)
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(None)
    return False

pool = MapReduce("thread", 3)
pool.map(abs, range(9))
k = n_in_vain = 0
while n_in_vain < 5:  # beyond the last place, in whatever order the reports come
    k += 1
    n_in_vain = 0 if is_interrupted(k) else n_in_vain + 1
    assert running == 0, f"place {k}: map has returned, and its items run"
    assert pool.map(abs, range(-9, 0)) == list(range(9, 0, -1)), k
print("places" if k > 20 else k)
"""


def test_at_every_place_where_the_coordinator_can_be_interrupted(tmp_path):
    # Nobody hits the few bad microseconds of a map by sending signals.
    assert run_script(EVERYWHERE, tmp_path, limit=20) == "places\n"
