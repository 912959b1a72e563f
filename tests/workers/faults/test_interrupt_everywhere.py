"""Ctrl-C at every place of a map of processes where its coordinator can be interrupted."""

from __future__ import annotations

import os

import pytest

from tests.workers.faults.scripts import run_fault
from tests.workers.support import run_script

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform cannot fork")

# A blocked signal goes to a thread that does not block it, and what its handler raises comes out
# in the main thread all the same. OpenBLAS and others have such threads, unknown to Python.
SURROUNDINGS = {
    "alone": """
def send():
    signal.raise_signal(signal.SIGINT)
""",
    "beside another thread": """
import select
from sharedarray import ForkInThreadsWarning
warnings.simplefilter("ignore", ForkInThreadsWarning)
threading.Thread(target=threading.Event().wait, daemon=True).start()

read, write = os.pipe()
for end in read, write:
    os.set_blocking(end, False)
signal.set_wakeup_fd(write, warn_on_full_buffer=False)

def send():
    try:
        os.read(read, 100)
    except BlockingIOError:
        pass
    os.kill(os.getpid(), signal.SIGINT)
    select.select([read], [], [], 5)  # until a thread, whichever, has got it
""",
}

EVERYWHERE = """
import dis, gc
from collections import Counter
from sharedarray import forks
from sharedarray.workers import (
    mapcall, mapreduce, primitives, process, processcrew, sync, transport)

MODULES = forks, mapcall, mapreduce, primitives, process, processcrew, sync, transport
FILES = {module.__file__ for module in MODULES}
# Where Python looks for signals: after calls, at the begin of functions and of rounds.
BOUNDARIES = {number for name, number in dis.opmap.items()
              if name.startswith(("CALL", "RESUME", "JUMP_BACKWARD"))}

coordinator = os.getpid()

class Interrupter:
    # Sends SIGINT at one place of one of the calls that a map makes in these modules.
    def __init__(self, call, place):
        self.n_calls, self.n_places = call, place
        self.has_called = self.has_sent = False
        self.last, self.function, self.where = 0, "", ""

    def trace(self, frame, event, arg):
        if os.getpid() != coordinator:
            sys.settrace(None)
        if frame.f_code.co_filename not in FILES or os.getpid() != coordinator:
            return None
        self.n_calls -= 1
        if self.n_calls:
            return None
        self.has_called = True
        self.function = frame.f_code.co_qualname
        frame.f_trace_opcodes = True
        return self.trace_places

    def trace_places(self, frame, event, arg):
        if event == "opcode":
            self.n_places -= frame.f_code.co_code[self.last] in BOUNDARIES
            self.last = frame.f_lasti
            if not self.n_places:
                self.has_sent = True
                self.where = f"{self.function}, line {frame.f_lineno}"
                sys.settrace(None)
                send()
        return self.trace_places

def open_descriptors():
    return len(os.listdir("/proc/self/fd"))

def check(where):
    if children() or open_descriptors() != n_descriptors:
        gc.collect()
    assert not children(), f"a child is left: {where}"
    assert open_descriptors() == n_descriptors, f"a descriptor is left: {where}"
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, []), f"signals are blocked: {where}"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler, where

warnings.simplefilter("ignore", ResourceWarning)  # of sockets: descriptors are counted
pool = MapReduce(np=2)
pool.map(abs, range(9))
gc.collect()
n_descriptors = open_descriptors()
"""


def run_everywhere(surroundings, source, tmp_path):
    # Hundreds of maps: longer than what other faults take, on a busy machine.
    harness = "from tests.workers.faults.harness import *\n"
    run_script(harness + SURROUNDINGS[surroundings] + EVERYWHERE + source, tmp_path, limit=35)


@pytest.mark.parametrize(
    ("surroundings", "items"),
    [("alone", "iter(range(2))"), ("beside another thread", "range(2)")],
)
def test_an_interrupt_leaves_nothing(tmp_path, surroundings, items):
    source = """
def interrupt(call, place):
    interrupter = Interrupter(call, place)
    sys.settrace(interrupter.trace)
    try:
        pool.map(lambda i: i, eval(items), chunksize=1)
    except KeyboardInterrupt:
        assert interrupter.has_sent
    finally:
        sys.settrace(None)
    check(interrupter.where)  # the pool works, or the next map will fail
    return interrupter

call, place, n_sent, n_in_vain = 1, 0, 0, 0
n_done = Counter()
while n_in_vain < 5:  # beyond the last call, in whatever order the reports come
    place += 1
    interrupter = interrupt(call, place)
    function = interrupter.function
    n_sent += interrupter.has_sent
    if not interrupter.has_sent or n_done[function] == 2:  # beyond its last place, or known enough
        n_done[function] += not interrupter.has_sent
        call, place = call + 1, 0
        n_in_vain = 0 if interrupter.has_called else n_in_vain + 1
assert n_sent > 200, n_sent
check_reuse(pool)
"""
    run_everywhere(surroundings, f"items = {items!r}" + source, tmp_path)


def test_a_second_interrupt_leaves_nothing(tmp_path):
    # The first one arrives while the coordinator waits; the second one during its cleaning up.
    source = """
def trace_from(frame):
    # Go on with the second in the calls that are under way.
    while frame is not None:
        if frame.f_code.co_filename in FILES:
            frame.f_trace, frame.f_trace_opcodes = trace, True
        frame = frame.f_back
    sys.settrace(trace)

def trace(frame, event, arg):
    global n_left, where
    if frame.f_code.co_filename not in FILES:
        return None
    frame.f_trace_opcodes = True
    if event == "opcode":
        n_left -= frame.f_code.co_code[last.get(frame, 0)] in BOUNDARIES
        last[frame] = frame.f_lasti
        if n_left == 0:
            n_left = -1
            where = f"place {place}, {frame.f_code.co_qualname}, line {frame.f_lineno}"
            sys.settrace(None)
            send()
    return trace

def handler(number, frame):
    signal.signal(signal.SIGINT, signal.default_int_handler)
    trace_from(frame)
    raise KeyboardInterrupt

def work(i):
    if i == 0:
        os.kill(os.getppid(), signal.SIGINT)
    time.sleep(60)

place = n_sent = 0
n_left = -1
while n_left < 0:
    place += 1
    n_left, last, where = place, {}, ""
    signal.signal(signal.SIGINT, handler)
    try:
        pool.map(work, range(2), chunksize=1)
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(None)
    last.clear()
    check(where)
assert place > 30, place
check_reuse(pool)
"""
    run_everywhere("alone", source, tmp_path)


def test_an_interrupt_while_signals_are_being_blocked_leaves_none_blocked(tmp_path):
    # The system call blocks them, and what Python calls afterwards is the handler of one that came
    # just before.
    source = """
import _signal, ctypes  # what `signal` calls, without Python between
from functools import partial
from operator import call

raise_in_c = partial(ctypes.CDLL(None)["raise"], int(signal.SIGINT))
real = _signal.pthread_sigmask

def pthread_sigmask(how, signals):
    global n_left
    n_left -= bool(signals) and how == signal.SIG_BLOCK
    if n_left or not signals:
        return real(how, signals)
    n_left = -1
    return list(map(call, [raise_in_c, partial(real, how, signals)]))[1]

pool = MapReduce(np=2)
with clean():
    k = n_left = 0
    while n_left <= 0:
        k += 1
        n_left = k
        _signal.pthread_sigmask = pthread_sigmask
        try:
            pool.map(abs, range(4))
        except KeyboardInterrupt:
            assert n_left < 0
        _signal.pthread_sigmask = real
        assert not real(signal.SIG_BLOCK, []), f"signals stay blocked, the {k}th time"
        assert not children()
    assert k > 2, k  # a map starts and ends
check_reuse(pool)
"""
    run_fault(source, tmp_path)
